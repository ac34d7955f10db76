//! What the NodeGroups of a dump mean, read as the loops read them.

use std::{collections::BTreeMap, sync::Arc};

use api::{NodeGroup, VPSieNode};
use cloud::Scope;
use controller::controllers::groups::{self as live, Defaults, Problem};
use intake::dump::Dump;
use model::{Node, NodeName, Offering};
use planner::scale_up;

use super::Catalogue;

/// A NodeGroup of a dump, managed or not.
#[derive(Clone, Debug)]
pub struct ReadGroup {
    /// The object.
    pub object: Arc<NodeGroup>,
    /// As the planner sees it.
    pub input: scale_up::Group,
    /// What is wrong with it.
    pub problems: Vec<Problem>,
    /// Where its machines live, as far as the object says.
    pub scope: Option<Scope>,
    /// What it may buy, in the user's order.
    pub offerings: Vec<Offering>,
}

impl ReadGroup {
    /// As the loops see it.
    pub(super) fn resolved(&self) -> live::Group {
        live::Group {
            key: self.input.key.clone(),
            object: Arc::clone(&self.object),
            scope: self.scope.clone(),
            offerings: self.offerings.clone(),
            problems: self.problems.clone(),
        }
    }
}

/// The groups of a dump, by namespace and name.
#[must_use]
pub fn groups(dump: &Dump, catalogue: Option<&Catalogue>) -> Vec<ReadGroup> {
    let machines: Vec<Arc<VPSieNode>> = dump.vpsie_nodes.iter().cloned().map(Arc::new).collect();
    let nodes: BTreeMap<&NodeName, &Node> =
        dump.nodes.iter().map(|node| (&node.name, node)).collect();
    let objects = dump.node_groups.iter().cloned();
    objects
        .map(|object| group(Arc::new(object), catalogue, &machines, &nodes))
        .collect()
}

fn group(
    object: Arc<NodeGroup>,
    catalogue: Option<&Catalogue>,
    machines: &[Arc<VPSieNode>],
    nodes: &BTreeMap<&NodeName, &Node>,
) -> ReadGroup {
    let sold = catalogue.map(|catalogue| catalogue.sold_in(&object.spec.datacenter_id));
    let sold = match &sold {
        Some(sold) => Ok(sold.as_slice()),
        None => Err(Problem::CatalogueUnavailable(
            "no offerings were given".into(),
        )),
    };
    let mut group = live::read(object, sold, &Defaults::default());
    // The Secret or a flag may name the VPSie cluster, and neither is in a dump.
    group
        .problems
        .retain(|problem| !matches!(problem, Problem::NoCluster));
    let mut input = live::input(
        &group,
        machines,
        |name| nodes.get(name).map(|node| Node::clone(node)),
        |_| None,
    );
    if let Some(catalogue) = catalogue {
        for choice in &mut input.choices {
            let shown = choice.learned.take();
            choice.learned = catalogue.learned(&choice.offering, shown);
        }
    }
    ReadGroup {
        object: group.object,
        input,
        problems: group.problems,
        scope: group.scope,
        offerings: group.offerings,
    }
}
