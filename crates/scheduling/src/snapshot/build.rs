//! A snapshot from scratch.

use std::sync::Arc;

use model::{Cluster, Node, Surroundings};

use super::{PlacedPods, Snapshot};
use crate::{topology::matchers::Matchers, volumes::FreeVolumes};

impl Snapshot {
    /// The snapshot of a cluster: its nodes, by name, and what is bound to them. The classes of the
    /// pods that wait are compiled, too.
    #[must_use]
    pub fn of(cluster: &Cluster) -> Self {
        let mut snapshot = Self::empty(Arc::clone(&cluster.surroundings));
        for node in cluster.nodes.values() {
            snapshot.add_node(node.clone());
        }
        snapshot.classes(cluster.waiting.iter().map(|pod| &pod.class));
        let ids = snapshot.classes(cluster.bound.iter().map(|pod| &pod.class));
        for (pod, class) in cluster.bound.iter().zip(ids) {
            if let Some(node) = pod.node().and_then(|name| snapshot.node(name)) {
                snapshot.place(node, class, pod.terminating.is_some());
            }
        }
        snapshot
    }

    /// A snapshot of these nodes (one of a name that came before takes its place) with the pods on
    /// them.
    ///
    /// Classes that are going to be asked about are best compiled before anything is placed, with
    /// [`Snapshot::classes`]: a class that brings a new rule later has all pods counted again.
    #[must_use]
    pub fn new(
        nodes: impl IntoIterator<Item = Node>,
        pods: impl IntoIterator<Item = PlacedPods>,
        surroundings: Arc<Surroundings>,
    ) -> Self {
        let mut snapshot = Self::empty(surroundings);
        for node in nodes {
            snapshot.add_node(node);
        }
        let pods: Vec<PlacedPods> = pods.into_iter().collect();
        let ids = snapshot.classes(pods.iter().map(|pods| &pods.class));
        for (pods, class) in pods.iter().zip(ids) {
            if let Some(node) = snapshot.node(&pods.node) {
                snapshot.place_many(node, class, pods.terminating, pods.count);
            }
        }
        snapshot
    }

    /// A snapshot without nodes.
    #[must_use]
    pub fn empty(surroundings: Arc<Surroundings>) -> Self {
        let mut snapshot = Self {
            free_volumes: FreeVolumes::new(&surroundings.storage),
            ..Self::default()
        };
        snapshot.topology.matchers = Matchers::new(&surroundings.namespaces);
        snapshot.surroundings = surroundings;
        snapshot
    }
}
