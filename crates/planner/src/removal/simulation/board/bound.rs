//! What is bound, placed on the snapshot and sorted by node and class.

use std::sync::Arc;

use model::Pod;
use scheduling::{ClassId, NodeId, Snapshot};

/// The pods by node, those of one class side by side.
pub(super) struct ByNode {
    /// By node: its part of `pods`.
    pub(super) begins: Vec<usize>,
    /// (class, index among the bound pods).
    pub(super) pods: Vec<(ClassId, u32)>,
}

/// Places what is bound; gives it by node.
pub(super) fn place_bound(snapshot: &mut Snapshot, bound: &[Arc<Pod>]) -> ByNode {
    let classes = snapshot.classes(bound.iter().map(|pod| &pod.class));
    let nodes: Vec<Option<NodeId>> = bound
        .iter()
        .map(|pod| pod.node().and_then(|name| snapshot.node(name)))
        .collect();
    let mut begins = vec![0; snapshot.node_count() + 1];
    for node in nodes.iter().flatten() {
        begins[node.0 as usize + 1] += 1;
    }
    for index in 1..begins.len() {
        begins[index] += begins[index - 1];
    }
    let mut pods = vec![(ClassId(0), 0); begins.last().copied().unwrap_or(0)];
    let mut next = begins.clone();
    for (index, (node, class)) in nodes.iter().zip(classes).enumerate() {
        if let Some(node) = node {
            let next = &mut next[node.0 as usize];
            pods[*next] = (class, u32::try_from(index).unwrap_or(u32::MAX));
            *next += 1;
        }
    }
    for (node, part) in begins.windows(2).enumerate() {
        let pods = &mut pods[part[0]..part[1]];
        // In the order they came, where they are equal.
        pods.sort_unstable();
        for same in pods.chunk_by(|(a, _), (b, _)| a == b) {
            let is_ending = |(_, pod): &&(ClassId, u32)| bound[*pod as usize].terminating.is_some();
            let ending = same.iter().filter(is_ending).count() as u32;
            let (node, class) = (NodeId(node as u32), same[0].0);
            snapshot.place_many(node, class, false, same.len() as u32 - ending);
            snapshot.place_many(node, class, true, ending);
        }
    }
    ByNode { begins, pods }
}
