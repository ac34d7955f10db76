//! The cluster as the scheduler will find it once what ends by itself has ended: what pods that
//! wait will be placed on.
//!
//! A Ready node sheds Kubernetes' own taints of one that was not; and a removal that can be taken
//! back is taken back when a pod wants the node, cordon and all. Scale-up counts such room, and
//! scale-down keeps what is counted on. From objects alone, so that a dump is read as the live
//! cluster is.

use std::{collections::BTreeSet, sync::Arc};

use api::{VPSieNode, labels};
use model::{Cluster, Node, NodeName, NodeShape};
use planner::lifecycle::Record;

use super::vpsie_node::{is_marked, read_record};
use crate::context::Context;

/// The cluster to come.
#[derive(Clone, Debug)]
pub struct Expected {
    /// Its nodes, and the pods that wait.
    pub cluster: Cluster,
    /// Nodes that go for certain: their room does not count.
    pub leaving: BTreeSet<NodeName>,
}

impl Expected {
    pub(super) fn of(ctx: &Context) -> Self {
        let is_ours =
            |node: &Node| (ctx.state.node(&node.name)).is_some_and(|row| is_marked(row.as_ref()));
        Self::new(ctx.state.cluster(), &ctx.state.vpsie_nodes(), is_ours)
    }

    /// What becomes of `cluster`, whose machines are `machines`; `is_ours` says whether the
    /// product cordoned a node.
    #[must_use]
    pub fn new(
        mut cluster: Cluster,
        machines: &[Arc<VPSieNode>],
        is_ours: impl Fn(&Node) -> bool,
    ) -> Self {
        let mut leaving = BTreeSet::new();
        let mut returning = BTreeSet::new();
        for object in machines {
            let record = read_record(object);
            let fate = match &record {
                Record {
                    deletion_requested: false,
                    removal: None,
                    ..
                } => continue,
                Record {
                    deletion_requested: false,
                    removal: Some(removal),
                    ..
                } if removal.can_be_taken_back() => &mut returning,
                _ => &mut leaving,
            };
            fate.extend(record.node);
        }
        for node in cluster.nodes.values_mut() {
            let uncordoned = returning.contains(&node.name) && is_ours(node);
            if let Some(shape) = settled(node, uncordoned) {
                node.shape = shape;
            }
        }
        Self { cluster, leaving }
    }
}

/// The shape to come, where it is another than that of today.
fn settled(node: &Node, uncordoned: bool) -> Option<Arc<NodeShape>> {
    let serving_soon = is_about_to_serve(node);
    if !serving_soon && !uncordoned {
        return None;
    }
    let mut shape = NodeShape::clone(&node.shape);
    shape.taints.retain(|taint| match &*taint.key {
        labels::NOT_READY_TAINT | labels::UNREACHABLE_TAINT => !serving_soon,
        labels::REMOVING_TAINT | labels::UNSCHEDULABLE_TAINT => !uncordoned,
        _ => true,
    });
    shape.unschedulable &= !uncordoned;
    Some(Arc::new(shape))
}

/// The kubelet reports a Ready node, and the controller that takes the taint of one that was not
/// away has not heard of it yet: after an outage of the API server that takes a minute. Another
/// machine would have to wait for the same.
fn is_about_to_serve(node: &Node) -> bool {
    let own = [labels::NOT_READY_TAINT, labels::UNREACHABLE_TAINT];
    let mut taints = node.shape.taints.iter();
    node.ready && taints.any(|taint| own.contains(&&*taint.key))
}
