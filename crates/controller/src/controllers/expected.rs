//! The cluster as the scheduler will find it once what ends by itself has ended: what pods that
//! wait will be placed on.
//!
//! A Ready node sheds Kubernetes' own taints of one that was not; and a removal that can be taken
//! back is taken back when a pod wants the node, cordon and all. Scale-up counts such room, and
//! scale-down keeps what is counted on.

use std::{collections::BTreeSet, sync::Arc};

use api::labels;
use model::{Cluster, NodeName, NodeShape};
use planner::lifecycle::Record;

use super::vpsie_node::{is_marked, read_record};
use crate::{cluster_state::NodeRow, context::Context};

/// The cluster to come.
pub(super) struct Expected {
    /// Its nodes, and the pods that wait.
    pub(super) cluster: Cluster,
    /// Nodes that go for certain: their room does not count.
    pub(super) leaving: BTreeSet<NodeName>,
}

impl Expected {
    pub(super) fn of(ctx: &Context) -> Self {
        let mut leaving = BTreeSet::new();
        let mut returning = BTreeSet::new();
        for object in ctx.state.vpsie_nodes() {
            let record = read_record(&object);
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
        let mut cluster = ctx.state.cluster();
        for row in ctx.state.nodes() {
            if let Some(shape) = settled(&row, returning.contains(&row.node.name))
                && let Some(node) = cluster.nodes.get_mut(&row.node.name)
            {
                node.shape = shape;
            }
        }
        Self { cluster, leaving }
    }
}

/// The shape to come, where it is another than that of today.
fn settled(row: &NodeRow, returning: bool) -> Option<Arc<NodeShape>> {
    let serving_soon = row.is_about_to_serve();
    let uncordoned = returning && is_marked(row);
    if !serving_soon && !uncordoned {
        return None;
    }
    let mut shape = NodeShape::clone(&row.node.shape);
    shape.taints.retain(|taint| match &*taint.key {
        labels::NOT_READY_TAINT | labels::UNREACHABLE_TAINT => !serving_soon,
        labels::REMOVING_TAINT | labels::UNSCHEDULABLE_TAINT => !uncordoned,
        _ => true,
    });
    shape.unschedulable &= !uncordoned;
    Some(Arc::new(shape))
}
