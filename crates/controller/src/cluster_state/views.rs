//! What is decoded of the watched kinds: crate `intake` decides it, and what it means in the model.

pub use intake::{DaemonSetView, NodeView, PodView, TaintView};

/// A Node or a pod list read anew, as rows.
pub mod fresh {
    use std::sync::Arc;

    use k8s_openapi::api::core::v1::Node as KubeNode;

    use super::{NodeView, PodView};
    use crate::cluster_state::NodeRow;

    /// The row of a Node that was just read.
    #[must_use]
    pub fn node(node: KubeNode) -> NodeRow {
        NodeRow::of(&NodeView::from(node))
    }

    /// What of a pod that was just read counts as being on its node.
    #[must_use]
    pub fn pod(view: &PodView) -> Option<model::Pod> {
        (!view.finished()).then(|| {
            let (class, upkeep) = (Arc::new(view.class()), Arc::new(view.upkeep()));
            view.pod(view.key(), class, upkeep)
        })
    }
}
