//! The whole cluster as plain values: what every decision begins from.

use std::{collections::BTreeMap, sync::Arc};

use crate::{Node, NodeName, Pod, Resources, Surroundings};

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

impl Cluster {
    /// What the pods on each node ask for, by node; empty nodes are left out.
    #[must_use]
    pub fn requested(&self) -> BTreeMap<&NodeName, Resources> {
        let mut sums: BTreeMap<&NodeName, Resources> = BTreeMap::new();
        for pod in &self.bound {
            if let Some((name, _)) = pod.node().and_then(|name| self.nodes.get_key_value(name)) {
                sums.entry(name).or_default().add(&pod.class.requests);
            }
        }
        sums
    }
}
