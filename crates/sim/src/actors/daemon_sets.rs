//! DaemonSets: one pod per eligible node, pinned to it by node affinity, with the tolerations that
//! Kubernetes gives such pods.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use runtime::Randomness;
use serde_json::{Value, json};

use super::{
    pods::{Known, OwnerOf, PodName, PodsByOwner, from_template, owner_of},
    turns::{Reconciler, Turns},
};
use crate::{
    config::Range,
    matching::{self, Toleration},
    objects::{DaemonSet, Key, Node, Object, Pod, PodSpec},
    observe::{Change, Seen},
    requests::{DAEMON_SETS, Writer, settled},
};

/// Conditions of a node that never keep a DaemonSet's pod away.
const TOLERATED: [(&str, &str); 6] = [
    ("node.kubernetes.io/not-ready", "NoExecute"),
    ("node.kubernetes.io/unreachable", "NoExecute"),
    ("node.kubernetes.io/disk-pressure", "NoSchedule"),
    ("node.kubernetes.io/memory-pressure", "NoSchedule"),
    ("node.kubernetes.io/pid-pressure", "NoSchedule"),
    ("node.kubernetes.io/unschedulable", "NoSchedule"),
];

pub(crate) struct DaemonSets {
    writer: Writer,
    known: Known<DaemonSet>,
    nodes: BTreeMap<String, Arc<Node>>,
    pods: PodsByOwner,
    turns: Turns,
}

impl DaemonSets {
    pub(crate) fn new(writer: Writer, random: Randomness, latency: Range) -> Self {
        Self {
            writer,
            known: Known::default(),
            nodes: BTreeMap::new(),
            pods: PodsByOwner::default(),
            turns: Turns::new(random, latency),
        }
    }

    async fn report(&self, set: &DaemonSet, spec: &PodSpec, tolerations: &[Toleration]) -> bool {
        let desired = self
            .nodes
            .iter()
            .filter(|(name, node)| eligible(name, node, spec, tolerations))
            .count();
        let alive = self.pods.alive(set.uid());
        let ready = alive.iter().filter(|pod| pod.ready()).count();
        let status = json!({
            "observedGeneration": set.generation(), "desiredNumberScheduled": desired,
            "currentNumberScheduled": alive.len(), "updatedNumberScheduled": alive.len(),
            "numberReady": ready, "numberAvailable": ready,
            "numberUnavailable": desired.saturating_sub(ready), "numberMisscheduled": 0,
        });
        let same = status
            .as_object()
            .into_iter()
            .flatten()
            .all(|(field, value)| set.status.get(field).unwrap_or(&json!(0)) == value);
        if same {
            return true;
        }
        settled(
            &self
                .writer
                .merge_status(DAEMON_SETS, &set.key(), &status)
                .await,
        )
    }
}

fn own_tolerations(spec: &PodSpec) -> Vec<Toleration> {
    let network = ("node.kubernetes.io/network-unavailable", "NoSchedule");
    TOLERATED
        .into_iter()
        .chain(spec.host_network.then_some(network))
        .map(|(key, effect)| Toleration::of(key, effect))
        .collect()
}

fn eligible(name: &str, node: &Node, spec: &PodSpec, tolerations: &[Toleration]) -> bool {
    !node.deleting()
        && matching::contains(node.labels(), &spec.node_selector)
        && spec
            .required_nodes()
            .is_none_or(|required| required.matches(name, node.labels()))
        // A node that is not ready yet is waited for on the node.
        && !node.spec.taints.iter().any(|taint| {
            matches!(taint.effect.as_str(), "NoSchedule" | "NoExecute")
                && taint.key != "node.kubernetes.io/not-ready"
                && taint.key != "node.kubernetes.io/unreachable"
                && !tolerations.iter().any(|t| t.tolerates(taint))
        })
}

/// Adds the node's name to every alternative of the required node affinity.
fn pin(spec: &mut Value, node: &str) {
    let field = json!({"key": "metadata.name", "operator": "In", "values": [node]});
    let required = &mut spec["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
        ["nodeSelectorTerms"];
    match required.as_array_mut() {
        Some(terms) => {
            for term in terms {
                term["matchFields"] = json!([field]);
            }
        }
        None => *required = json!([{ "matchFields": [field] }]),
    }
}

/// The node a DaemonSet's pod is on or meant for.
fn pinned_to(pod: &Pod) -> Option<String> {
    pod.node()
        .map(str::to_owned)
        .or_else(|| pod.spec.required_nodes()?.pinned().map(str::to_owned))
}

impl Reconciler for DaemonSets {
    fn turns(&mut self) -> &mut Turns {
        &mut self.turns
    }

    fn note(&mut self, change: &Change) -> Vec<Key> {
        match change {
            Change::DaemonSet(seen) => vec![self.known.observe(seen)],
            Change::Node(seen) => {
                let node = seen.object();
                let name = node.key().name;
                let before = match seen {
                    Seen::Put(_) => self.nodes.insert(name, Arc::clone(node)),
                    Seen::Gone(_) => {
                        self.nodes.remove(&name);
                        None
                    }
                };
                // Heartbeats decide nothing.
                if before.is_some_and(|before| {
                    before.labels() == node.labels() && before.spec.taints == node.spec.taints
                }) {
                    return Vec::new();
                }
                self.known.objects.keys().cloned().collect()
            }
            _ => owner_of(&mut self.pods, &self.known, change)
                .into_iter()
                .collect(),
        }
    }

    async fn reconcile(&mut self, key: &Key, now: Duration) -> bool {
        let Some(set) = self.known.objects.get(key).cloned() else {
            return true;
        };
        if set.deleting() {
            return true;
        }
        let uid = set.uid().to_owned();
        let spec: PodSpec =
            serde_json::from_value(set.spec.template["spec"].clone()).unwrap_or_default();
        let tolerations: Vec<_> = spec
            .tolerations
            .iter()
            .cloned()
            .chain(own_tolerations(&spec))
            .collect();
        let eligible: BTreeSet<&String> = self
            .nodes
            .iter()
            .filter(|(name, node)| eligible(name, node, &spec, &tolerations))
            .map(|(name, _)| name)
            .collect();
        let mut covered = BTreeSet::new();
        let mut surplus = Vec::new();
        for pod in self.pods.alive(&uid) {
            let node = pinned_to(&pod);
            let wanted = node.as_ref().is_some_and(|node| eligible.contains(node));
            let first = wanted && node.is_some_and(|node| covered.insert(node));
            if !first || pod.finished() {
                surplus.push(pod);
            }
        }
        // A pod that was made is on one of these nodes; which one shows when it is seen.
        let missing: Vec<String> = if self.pods.on_their_way(&uid, now) == 0 {
            eligible
                .into_iter()
                .filter(|node| !covered.contains(*node))
                .cloned()
                .collect()
        } else {
            Vec::new()
        };
        let owner = OwnerOf {
            api_version: "apps/v1",
            kind: "DaemonSet",
            key,
            uid: &uid,
        };
        let mut taken = true;
        for node in missing {
            let mut pod = from_template(&set.spec.template, &owner, PodName::Drawn);
            pin(&mut pod["spec"], &node);
            pod["spec"]["tolerations"] = json!(tolerations);
            taken &= self
                .pods
                .make(&self.writer, &uid, &key.namespace, &pod, now)
                .await;
        }
        for pod in surplus {
            taken &= self.pods.unmake(&self.writer, &pod).await;
        }
        taken && self.report(&set, &spec, &tolerations).await
    }
}
