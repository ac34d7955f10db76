//! The cluster of a dump, as the engine judges it: each pod alone against what runs.
//!
//! A machine that a group could get is judged inside the same snapshot, added for as long as it
//! takes: so that spread and affinity see it beside the nodes that are there.

use std::sync::Arc;

use api::NodeGroup;
use controller::controllers::groups::Problem;
use intake::dump::Dump;
use model::{HourlyPrice, Node, NodeName, Pod, SchedulingClass};
use planner::{
    reason::GroupRefusal,
    scale_up::{self, Reserve, template},
};
use scheduling::{ClassId, NodeId, Snapshot};

use crate::offline::{self, Catalogue, ReadGroup, reason::Reason};

/// A machine that a group could get.
pub(super) struct Offer {
    /// The group.
    pub(super) group: String,
    /// The offering, as the group names it.
    pub(super) offering: String,
    /// What one costs, where known.
    pub(super) price: Option<HourlyPrice>,
    /// What it would be; `None` where that is not known.
    template: Option<Node>,
    /// What stands against it whatever the pod.
    barred: Vec<Reason>,
}

/// What stands against a pod, by node and by offer, in the cluster's order; nothing where it fits.
pub(super) struct Verdicts {
    /// By node.
    pub(super) nodes: Vec<Vec<Reason>>,
    /// By offer.
    pub(super) offers: Vec<Vec<Reason>>,
}

/// The cluster.
pub(super) struct Cluster {
    snapshot: Snapshot,
    nodes: Vec<(NodeId, NodeName, Option<Reason>)>,
    daemon_sets: Vec<ClassId>,
    offers: Vec<Offer>,
    /// No catalogue was given, though groups are there.
    pub(super) wants_catalogue: bool,
}

impl Cluster {
    /// The cluster of `dump`, to be asked about the pods of `asked`.
    pub(super) fn new(dump: Dump, asked: &[Arc<Pod>], catalogue: Option<&Catalogue>) -> Self {
        let offers = offers(&dump, catalogue);
        let wants_catalogue = catalogue.is_none() && !dump.node_groups.is_empty();
        let mut snapshot = Snapshot::empty(Arc::new(dump.surroundings));
        let mut nodes = Vec::with_capacity(dump.nodes.len());
        for node in dump.nodes {
            let defect = node.defect.as_ref().map(|defect| Reason::Other {
                name: "NodeInvalid",
                detail: format!("the node cannot be judged: {defect}"),
            });
            let name = node.name.clone();
            nodes.push((snapshot.add_node(node), name, defect));
        }
        // All at once, before anything is placed: each rule that comes later is counted anew.
        snapshot.classes(asked.iter().map(|pod| &pod.class));
        let daemon_sets = snapshot.classes(dump.daemon_sets.values());
        let ids = snapshot.classes(dump.bound.iter().map(|pod| &pod.class));
        for (pod, class) in dump.bound.iter().zip(ids) {
            if let Some(node) = pod.node().and_then(|name| snapshot.node(name)) {
                snapshot.place(node, class, pod.terminating.is_some());
            }
        }
        Self {
            snapshot,
            nodes,
            daemon_sets,
            offers,
            wants_catalogue,
        }
    }

    /// The nodes' names, sorted.
    pub(super) fn nodes(&self) -> impl Iterator<Item = &NodeName> {
        self.nodes.iter().map(|(_, name, _)| name)
    }

    /// What groups could get: by group, in the order of its offerings.
    pub(super) fn offers(&self) -> &[Offer] {
        &self.offers
    }

    /// Judges the pods of a class.
    pub(super) fn judge(&mut self, class: &Arc<SchedulingClass>) -> Verdicts {
        if let Some(defect) = &class.defect {
            let reason = Reason::Other {
                name: "PodInvalid",
                detail: format!("the pod cannot be judged: {defect}"),
            };
            return Verdicts {
                nodes: vec![vec![reason.clone()]; self.nodes.len()],
                offers: vec![vec![reason]; self.offers.len()],
            };
        }
        let class = self.snapshot.class(class);
        let nodes = self.nodes.iter().map(|(node, _, defect)| {
            let failures = self.snapshot.failures(class, *node).into_iter();
            failures.map(Reason::Filter).chain(defect.clone()).collect()
        });
        let nodes = nodes.collect();
        let (snapshot, daemon_sets) = (&mut self.snapshot, &self.daemon_sets);
        let offers = self.offers.iter().map(|offer| {
            let mut reasons = match &offer.template {
                Some(template) => on_new(snapshot, daemon_sets, template, class),
                None => Vec::new(),
            };
            reasons.extend(offer.barred.iter().cloned());
            reasons
        });
        Verdicts {
            nodes,
            offers: offers.collect(),
        }
    }
}

/// What stands against a pod on a machine that is not there yet.
fn on_new(
    snapshot: &mut Snapshot,
    daemon_sets: &[ClassId],
    template: &Node,
    class: ClassId,
) -> Vec<Reason> {
    snapshot.fork();
    let node = snapshot.add_node(template.clone());
    for &daemon in daemon_sets {
        if snapshot.admits(daemon, node) {
            snapshot.place(node, daemon, false);
        }
    }
    let failures = snapshot.failures(class, node);
    snapshot.revert();
    failures.into_iter().map(Reason::Filter).collect()
}

/// What the groups of a dump could get.
fn offers(dump: &Dump, catalogue: Option<&Catalogue>) -> Vec<Offer> {
    if catalogue.is_none() {
        return dump.node_groups.iter().flat_map(unknown).collect();
    }
    let groups = offline::groups(dump, catalogue);
    groups.iter().flat_map(of_group).collect()
}

fn of_group(group: &ReadGroup) -> Vec<Offer> {
    let mut offers = Vec::new();
    let input = &group.input;
    let barred = barred(&group.object, input);
    for choice in &input.choices {
        // No node and no label's value can be called so: nobody can ask for it by name.
        let name = format!("new/{}/{}", input.key, choice.offering.id);
        offers.push(Offer {
            group: input.key.to_string(),
            offering: choice.offering.id.to_string(),
            price: choice.offering.price,
            template: Some(template(input, choice, &Reserve::default(), &name)),
            barred: barred.clone(),
        });
    }
    for problem in &group.problems {
        if let Problem::OfferingUnknown { offering, .. } = problem {
            offers.push(Offer {
                group: input.key.to_string(),
                offering: offering.clone(),
                price: None,
                template: None,
                barred: vec![Reason::Other {
                    name: problem.name(),
                    detail: problem.to_string(),
                }],
            });
        }
    }
    offers
}

/// What keeps a group from getting any machine. Back-offs are the controller's own and in no dump.
fn barred(object: &NodeGroup, group: &scale_up::Group) -> Vec<Reason> {
    let mut reasons = Vec::new();
    if !object.is_managed() {
        reasons.push(Reason::Other {
            name: "NotManaged",
            detail: format!("its label {} is not \"true\"", api::labels::MANAGED),
        });
    }
    let refusals = [
        group
            .invalid
            .clone()
            .map(|detail| GroupRefusal::Invalid { detail }),
        group.deleting.then_some(GroupRefusal::Deleting),
        (!group.enabled).then_some(GroupRefusal::ScaleUpDisabled),
        (group.existing >= group.max_nodes).then_some(GroupRefusal::MaxNodesReached {
            max_nodes: group.max_nodes,
        }),
    ];
    reasons.extend(refusals.into_iter().flatten().map(|refusal| Reason::Other {
        name: refusal.name(),
        detail: refusal.to_string(),
    }));
    reasons
}

/// The offerings of a group, where nobody said what they are.
fn unknown(object: &NodeGroup) -> impl Iterator<Item = Offer> {
    let (namespace, name) = object.key();
    let group = format!("{namespace}/{name}");
    let spec = &object.spec;
    let only = (!spec.mixes_instances()).then(|| {
        let preferred = spec.preferred_instance_type.as_ref();
        preferred.or(spec.offering_ids.first())
    });
    let offered = spec
        .offering_ids
        .iter()
        .filter(move |offering| only.is_none_or(|only| only == Some(*offering)));
    offered.map(move |offering| Offer {
        group: group.clone(),
        offering: offering.clone(),
        price: None,
        template: None,
        barred: vec![Reason::Other {
            name: "OfferingsUnknown",
            detail: "what this offering has is not known: give a list with --offerings".into(),
        }],
    })
}
