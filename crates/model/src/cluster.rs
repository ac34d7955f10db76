//! The whole cluster as plain values: what every decision begins from.

use std::{collections::BTreeMap, sync::Arc};

use crate::{Node, NodeName, Pod, Surroundings};

/// Nodes, what is on them, the pods that wait, and what their rules refer to.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Cluster {
    /// The nodes, by name.
    pub nodes: BTreeMap<NodeName, Node>,
    /// The pods that are bound and have not finished; those on nodes that are not there take no
    /// room.
    pub bound: Vec<Arc<Pod>>,
    /// The pods that are bound nowhere, by name.
    pub waiting: Vec<Arc<Pod>>,
    /// Namespaces and volumes.
    pub surroundings: Arc<Surroundings>,
}
