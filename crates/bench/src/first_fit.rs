//! First fit, decreasing, by price: what anybody would write first, to be compared with.
//!
//! The largest pods come first; each goes onto the first node or machine that takes it, in the order
//! in which they are there or were opened; where none does, the cheapest machine that takes it is
//! opened. The scheduler's filters are the engine's.

use std::{cmp::Reverse, collections::BTreeMap, sync::Arc};

use model::{HourlyPrice, Node, NodeName, Pod, Resources};
use planner::scale_up::{Input, template};
use scheduling::{NodeId, Snapshot};

/// What it comes to.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Outcome {
    /// Of all machines opened, an hour.
    pub(crate) price: HourlyPrice,
    /// How many.
    pub(crate) machines: u32,
    /// Pods without a place.
    pub(crate) left: usize,
}

/// A machine that can be opened.
struct Kind {
    group: usize,
    template: Node,
    price: HourlyPrice,
}

/// Packs the pods that wait.
pub(crate) fn first_fit_decreasing(input: &Input) -> Outcome {
    let mut kinds = kinds(input);
    kinds.sort_by(|a, b| (a.price, &a.template.name).cmp(&(b.price, &b.template.name)));
    let mut open: BTreeMap<usize, u32> = BTreeMap::new();
    let mut snapshot = Snapshot::of(&input.cluster);
    let mut machines: Vec<NodeId> = snapshot.nodes().collect();
    let daemons = snapshot.classes(&input.daemon_sets);
    let mut outcome = Outcome::default();
    for pod in decreasing(input, &kinds) {
        let class = snapshot.class(&pod.class);
        let taken = machines.iter().find(|node| snapshot.fits(class, **node));
        if let Some(node) = taken.copied() {
            snapshot.place(node, class, false);
            continue;
        }
        let mut opened = false;
        for kind in &kinds {
            let count = open.entry(kind.group).or_default();
            let group = &input.groups[kind.group];
            if group.existing + *count >= group.max_nodes {
                continue;
            }
            snapshot.fork();
            let name = NodeName::new(format!("{}/{}", kind.template.name, machines.len()));
            let node = snapshot.add_copy(&kind.template, name);
            for daemon in &daemons {
                if snapshot.admits(*daemon, node) {
                    snapshot.place(node, *daemon, false);
                }
            }
            if snapshot.fits(class, node) {
                snapshot.commit();
                snapshot.place(node, class, false);
                machines.push(node);
                *count += 1;
                outcome.machines += 1;
                outcome.price = outcome.price + kind.price;
                opened = true;
                break;
            }
            snapshot.revert();
        }
        outcome.left += usize::from(!opened);
    }
    outcome
}

/// How many of the pods that wait, in the order of their names, find a place on the nodes that are
/// there.
pub(crate) fn on_existing(input: &Input) -> usize {
    let mut snapshot = Snapshot::of(&input.cluster);
    let Some(first) = snapshot.nodes().next() else {
        return 0;
    };
    let mut placed = 0;
    for pod in &input.cluster.waiting {
        let class = snapshot.class(&pod.class);
        if let Some(node) = snapshot.first_fit(class, first) {
            snapshot.place(node, class, false);
            placed += 1;
        }
    }
    placed
}

fn kinds(input: &Input) -> Vec<Kind> {
    let mut kinds = Vec::new();
    for (index, group) in input.groups.iter().enumerate() {
        for choice in &group.choices {
            let name = format!("{}/{}", group.key, choice.offering.id);
            kinds.push(Kind {
                group: index,
                template: template(group, choice, &input.limits.reserve, &name),
                price: choice.offering.price.unwrap_or_default(),
            });
        }
    }
    kinds
}

/// The pods that wait, those that are the largest share of the largest machine first.
fn decreasing<'a>(input: &'a Input, kinds: &[Kind]) -> Vec<&'a Arc<Pod>> {
    let mut largest = Resources::default();
    for kind in kinds {
        largest.raise_to(&kind.template.shape.allocatable);
    }
    let mut pods: Vec<&Arc<Pod>> = input.cluster.waiting.iter().collect();
    pods.sort_by_cached_key(|pod| {
        let share = pod.class.requests.dominant_share(&largest);
        (Reverse(share), pod.key.clone())
    });
    pods
}
