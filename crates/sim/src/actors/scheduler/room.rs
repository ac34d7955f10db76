//! A node, what is left of it, and whether a pod fits there as far as the node alone is concerned:
//! resources (init containers, sidecars and overhead included), selectors and affinity, taints, the
//! cordon, ports of the host. An own reading, which shares no code with the product's filters.

use std::{cmp::Reverse, sync::Arc};

use model::NodeShape;

use crate::{
    amounts::Amounts,
    matching::{self, Labels, Taint},
    objects::{HostPort, Pod},
};

/// A node and what is left of it. Pods may be known before their node is.
#[derive(Default)]
pub(super) struct Room {
    pub(super) name: String,
    /// The node exists.
    pub(super) exists: bool,
    pub(super) labels: Labels,
    pub(super) taints: Vec<Taint>,
    pub(super) unschedulable: bool,
    pub(super) allocatable: Amounts,
    pub(super) used: Amounts,
    pub(super) ports: Vec<HostPort>,
    pub(super) pods: usize,
    /// All this as `checker` reads it.
    pub(super) shape: Option<Arc<NodeShape>>,
}

impl Room {
    fn free(&self, resource: &str) -> i128 {
        self.allocatable.get(resource).copied().unwrap_or_default()
            - self.used.get(resource).copied().unwrap_or_default()
    }

    pub(super) fn rank(&self) -> (Reverse<i128>, String) {
        (Reverse(self.free("cpu")), self.name.clone())
    }
}

/// Why a node does not take a pod; empty when it does. The words are kube-scheduler's.
pub(super) fn obstacles(
    room: &Room,
    pod: &Pod,
    requests: &Amounts,
    ports: &[HostPort],
) -> Vec<String> {
    let spec = &pod.spec;
    let cordon = Taint {
        key: "node.kubernetes.io/unschedulable".to_owned(),
        effect: "NoSchedule".to_owned(),
        ..Taint::default()
    };
    if room.unschedulable && !spec.tolerations.iter().any(|t| t.tolerates(&cordon)) {
        return vec!["node(s) were unschedulable".to_owned()];
    }
    if let Some(taint) = matching::repelled_by(&room.taints, &spec.tolerations) {
        let value = taint.value.as_deref().unwrap_or_default();
        return vec![format!(
            "node(s) had untolerated taint(s) {{{}: {value}}}",
            taint.key
        )];
    }
    let affine = matching::contains(&room.labels, &spec.node_selector)
        && spec
            .required_nodes()
            .is_none_or(|required| required.matches(&room.name, &room.labels));
    if !affine {
        return vec!["node(s) didn't match Pod's node affinity/selector".to_owned()];
    }
    let taken = |port: &HostPort| room.ports.iter().any(|taken| taken.clashes(port));
    if ports.iter().any(taken) {
        return vec!["node(s) didn't have free ports for the requested pod ports".to_owned()];
    }
    requests
        .iter()
        .filter(|(resource, amount)| room.free(resource) < **amount)
        .map(|(resource, _)| match resource.as_str() {
            "pods" => "Too many pods".to_owned(),
            other => format!("Insufficient {other}"),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod(spec: &serde_json::Value) -> Pod {
        serde_json::from_value(json!({"metadata": {"name": "p"}, "spec": spec})).unwrap()
    }

    fn room(cpu: i128) -> Room {
        Room {
            name: "a".to_owned(),
            allocatable: [("cpu".to_owned(), cpu), ("pods".to_owned(), 110_000)].into(),
            ..Room::default()
        }
    }

    fn why(room: &Room, pod: &Pod) -> Vec<String> {
        obstacles(
            room,
            pod,
            &pod.spec.requests().unwrap(),
            &pod.spec.host_ports(),
        )
    }

    #[test]
    fn a_node_without_enough_cpu_is_named_in_the_schedulers_words() {
        let pod = pod(&json!({"containers": [{"resources": {"requests": {"cpu": "2"}}}]}));
        assert_eq!(why(&room(1000), &pod), ["Insufficient cpu"]);
        assert!(why(&room(2000), &pod).is_empty());
    }

    #[test]
    fn a_cordoned_node_takes_only_pods_that_tolerate_the_cordon() {
        let cordoned = Room {
            unschedulable: true,
            ..room(1000)
        };
        assert_eq!(
            why(&cordoned, &pod(&json!({}))),
            ["node(s) were unschedulable"]
        );
        let tolerant = pod(&json!({"tolerations": [{"operator": "Exists"}]}));
        assert!(why(&cordoned, &tolerant).is_empty());
    }

    #[test]
    fn a_host_port_is_taken_once() {
        let mut room = room(1000);
        let pod = pod(&json!({"containers": [{"ports": [{"hostPort": 80}]}]}));
        assert!(why(&room, &pod).is_empty());
        room.ports = pod.spec.host_ports();
        assert_eq!(why(&room, &pod).len(), 1);
    }
}
