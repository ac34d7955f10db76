//! A cluster from a dump as the loop that buys sees the live one: what the planner is given, and
//! what each group means.
//!
//! `explain` and `simulate` answer from it, and so can any program that has a dump at hand. What no
//! dump tells is left out: back-offs after failed purchases, and the flags of `run`.

mod catalogue;
mod groups;
pub(crate) mod live;
pub(crate) mod reason;
mod removals;
pub(crate) mod sources;

use std::sync::Arc;

use api::{VPSieNode, labels};
use controller::controllers::expected::Expected;
use intake::{NodeFacts, dump::Dump};
use jiff::Timestamp;
use model::{Cluster, Node, Pod, PodState};
use planner::scale_up::{Input, Limits};

pub use catalogue::{Catalogue, OfferingsError};
pub use groups::{ReadGroup, groups};
pub use removals::Removals;
pub(crate) use removals::measured_at;

/// What the planner is given: the managed groups of every namespace, machines in flight, the pods
/// of DaemonSets, nodes as they will be once what ends by itself has ended.
///
/// Without a catalogue no group can grow. Pods that the scheduler has not judged yet count as
/// unschedulable; the time is that of the last pod that became so.
#[must_use]
pub fn input(dump: Dump, catalogue: Option<&Catalogue>) -> Input {
    let groups = groups(&dump, catalogue)
        .into_iter()
        .filter(|group| group.object.is_managed())
        .map(|group| group.input)
        .collect();
    let machines: Vec<Arc<VPSieNode>> = dump.vpsie_nodes.into_iter().map(Arc::new).collect();
    let waiting: Vec<Arc<Pod>> = dump.waiting.into_iter().map(judged).collect();
    let now = now(&waiting);
    let nodes = dump.nodes.into_iter();
    let cluster = Cluster {
        nodes: nodes.map(|node| (node.name.clone(), node)).collect(),
        bound: dump.bound,
        waiting,
        surroundings: Arc::new(dump.surroundings),
    };
    let facts = dump.node_facts;
    let is_ours = |node: &Node| is_marked(node, facts.get(&node.name));
    let Expected { cluster, leaving } = Expected::new(cluster, &machines, is_ours);
    Input {
        now,
        cluster,
        leaving,
        groups,
        daemon_sets: dump.daemon_sets.into_values().collect(),
        limits: Limits::default(),
    }
}

/// An instant at which every pod that waits counts.
fn now(waiting: &[Arc<Pod>]) -> Timestamp {
    let since = waiting.iter().filter_map(|pod| match pod.state {
        PodState::Unschedulable(since) => Some(since),
        PodState::Waiting | PodState::Gated | PodState::Bound(_) => None,
    });
    since.max().unwrap_or(Timestamp::UNIX_EPOCH)
}

/// A pod the scheduler has not looked at yet, as if it had and found no place.
fn judged(pod: Arc<Pod>) -> Arc<Pod> {
    if pod.state != PodState::Waiting {
        return pod;
    }
    Arc::new(Pod {
        state: PodState::Unschedulable(pod.created_at.unwrap_or(Timestamp::UNIX_EPOCH)),
        ..Pod::clone(&pod)
    })
}

/// The product cordoned it. Without the annotation, its taint says so only while the node is
/// schedulable.
fn is_marked(node: &Node, facts: Option<&NodeFacts>) -> bool {
    let annotated = facts.is_some_and(|facts| facts.annotations.contains_key(labels::CORDONED_BY));
    let mut taints = node.shape.taints.iter();
    let tainted = taints.any(|taint| &*taint.key == labels::REMOVING_TAINT);
    annotated || tainted && !node.shape.unschedulable
}

#[cfg(test)]
mod tests;
