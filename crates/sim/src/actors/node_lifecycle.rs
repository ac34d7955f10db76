//! Judges nodes: one whose Lease is not renewed becomes Unknown; taints follow the Ready condition
//! and the cordon; pods that do not tolerate a NoExecute taint are deleted; pods of a node that is
//! no more are removed.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use runtime::Clock;
use serde_json::{Value, json};

use super::{AGAIN, Actor, scheduler::stamp, sooner, turns::Queue};
use crate::{
    agenda::Agenda,
    config::NodeLifecycleConfig,
    matching::Taint,
    objects::{Key, Node, Object, Pod},
    observe::{Change, Seen},
    requests::{NODES, PODS, Writer, absent, conflict},
};

const NOT_READY: &str = "node.kubernetes.io/not-ready";
const UNREACHABLE: &str = "node.kubernetes.io/unreachable";
const UNSCHEDULABLE: &str = "node.kubernetes.io/unschedulable";

enum Due {
    /// A pod on a node with a NoExecute taint.
    Evict { pod: Key, uid: String, node: String },
    /// A pod of a node that does not exist.
    Orphan { pod: Key, uid: String, node: String },
}

pub(crate) struct NodeLifecycle {
    writer: Writer,
    clock: Clock,
    config: NodeLifecycleConfig,
    nodes: BTreeMap<String, Arc<Node>>,
    /// When a sign of life was last seen.
    alive: BTreeMap<String, Duration>,
    pods: BTreeMap<String, BTreeMap<Key, Arc<Pod>>>,
    /// Pods on the agenda, by UID.
    entered: BTreeSet<String>,
    agenda: Agenda<Due>,
    taints: Queue,
    look_at: Option<Duration>,
}

impl NodeLifecycle {
    pub(crate) fn new(writer: Writer, clock: Clock, config: NodeLifecycleConfig) -> Self {
        Self {
            writer,
            clock,
            config,
            nodes: BTreeMap::new(),
            alive: BTreeMap::new(),
            pods: BTreeMap::new(),
            entered: BTreeSet::new(),
            agenda: Agenda::default(),
            taints: Queue::default(),
            look_at: None,
        }
    }

    fn node(&mut self, seen: &Seen<Node>, now: Duration) {
        let node = seen.object();
        let name = node.key().name;
        match seen {
            Seen::Put(_) => {
                self.alive.entry(name.clone()).or_insert(now);
                self.look_at.get_or_insert(now + self.config.every.0);
                if desired_taints(node) != node.spec.taints {
                    self.taints.want(node.key(), now);
                }
                self.nodes.insert(name.clone(), Arc::clone(node));
            }
            Seen::Gone(_) => {
                self.nodes.remove(&name);
                self.alive.remove(&name);
            }
        }
        let bound: Vec<_> = self
            .pods
            .get(&name)
            .into_iter()
            .flatten()
            .map(|(_, pod)| Arc::clone(pod))
            .collect();
        for pod in bound {
            self.threaten(&pod, now);
        }
    }

    /// Enters a pod that must go, when it must.
    fn threaten(&mut self, pod: &Pod, now: Duration) {
        let Some(node_name) = pod.node() else { return };
        if pod.deleting() && self.nodes.contains_key(node_name) {
            return;
        }
        let uid = pod.uid().to_owned();
        if self.entered.contains(&uid) {
            return;
        }
        let (key, node) = (pod.key(), node_name.to_owned());
        match self.nodes.get(node_name) {
            None => {
                let at = now + self.config.orphans_after.0;
                self.agenda.enter(
                    at,
                    Due::Orphan {
                        pod: key,
                        uid: uid.clone(),
                        node,
                    },
                );
            }
            Some(known) => {
                let Some(after) = tolerated_for(pod, &known.spec.taints) else {
                    return;
                };
                self.agenda.enter(
                    now + after,
                    Due::Evict {
                        pod: key,
                        uid: uid.clone(),
                        node,
                    },
                );
            }
        }
        self.entered.insert(uid);
    }

    fn pod(&mut self, seen: &Seen<Pod>, now: Duration) {
        let pod = seen.object();
        let Some(node) = pod.node().map(str::to_owned) else {
            return;
        };
        match seen {
            Seen::Put(_) => {
                self.pods
                    .entry(node)
                    .or_default()
                    .insert(pod.key(), Arc::clone(pod));
                self.threaten(pod, now);
            }
            Seen::Gone(_) => {
                self.entered.remove(pod.uid());
                if let Some(pods) = self.pods.get_mut(&node) {
                    pods.remove(&pod.key());
                    if pods.is_empty() {
                        self.pods.remove(&node);
                    }
                }
            }
        }
    }

    async fn judge(&mut self, now: Duration) {
        let silent: Vec<_> = self
            .nodes
            .values()
            .filter(|node| {
                let last = self.alive.get(&node.key().name).copied().unwrap_or(now);
                now.saturating_sub(last) > self.config.grace.0
                    && node.ready_status() != Some("Unknown")
            })
            .cloned()
            .collect();
        for node in silent {
            let key = node.key();
            let time = stamp(&self.clock);
            let unknown: Vec<Value> = ["Ready", "MemoryPressure", "DiskPressure", "PIDPressure"]
                .iter()
                .map(|kind| {
                    json!({"type": kind, "status": "Unknown", "reason": "NodeStatusUnknown",
                    "message": "Kubelet stopped posting node status.", "lastTransitionTime": time})
                })
                .collect();
            if let Err(error) = self
                .writer
                .patch_status(NODES, &key, &json!({ "conditions": unknown }))
                .await
            {
                tracing::debug!(node = key.name, %error, "node not judged");
                continue;
            }
            let bound: Vec<_> = self
                .pods
                .get(&key.name)
                .into_iter()
                .flatten()
                .map(|(_, pod)| Arc::clone(pod))
                .collect();
            for pod in bound.iter().filter(|pod| pod.ready()) {
                let status = json!({"conditions": [{"type": "Ready", "status": "False",
                    "reason": "NodeNotReady", "lastTransitionTime": time}]});
                if let Err(error) = self.writer.patch_status(PODS, &pod.key(), &status).await {
                    tracing::debug!(pod = %pod.key(), %error, "pod not judged");
                }
            }
        }
    }

    async fn write_taints(&mut self, key: &Key, now: Duration) {
        let Some(node) = self.nodes.get(&key.name) else {
            return;
        };
        let mut desired = desired_taints(node);
        if desired == node.spec.taints {
            return;
        }
        let time = stamp(&self.clock);
        for taint in &mut desired {
            if taint.effect == "NoExecute" && taint.time_added.is_none() {
                taint.time_added = Some(time.clone());
            }
        }
        let patch = json!({
            "metadata": {"resourceVersion": node.resource_version()},
            "spec": {"taints": desired},
        });
        match self.writer.merge(NODES, key, &patch).await {
            Ok(_) => {}
            Err(error) if absent(&error) => {}
            // Somebody else wrote the node: its news comes, or the next look sees to it.
            Err(error) if conflict(&error) => self.taints.want(key.clone(), now + AGAIN / 5),
            Err(error) => {
                tracing::debug!(node = key.name, %error, "taints not written");
                self.taints.want(key.clone(), now + AGAIN);
            }
        }
    }

    async fn do_due(&mut self, due: Due, now: Duration) {
        let (pod, uid, node, orphan) = match due {
            Due::Evict { pod, uid, node } => (pod, uid, node, false),
            Due::Orphan { pod, uid, node } => (pod, uid, node, true),
        };
        self.entered.remove(&uid);
        let Some(known) = self
            .pods
            .get(&node)
            .and_then(|pods| pods.get(&pod))
            .cloned()
        else {
            return;
        };
        if known.uid() != uid {
            return;
        }
        let still = match self.nodes.get(&node) {
            None => orphan,
            Some(node) => {
                !orphan && !known.deleting() && tolerated_for(&known, &node.spec.taints).is_some()
            }
        };
        if !still {
            self.threaten(&known, now);
            return;
        }
        let grace = orphan.then_some(0);
        match self.writer.delete(PODS, &pod, Some(&uid), grace).await {
            Ok(_) => {}
            Err(error) if absent(&error) || conflict(&error) => {}
            Err(error) => {
                tracing::debug!(pod = %pod, %error, "pod not removed");
                let again = if orphan {
                    Due::Orphan { pod, uid, node }
                } else {
                    Due::Evict { pod, uid, node }
                };
                self.agenda.enter(now + AGAIN, again);
            }
        }
    }
}

/// The taints a node should have: its own, and those that its condition calls for.
fn desired_taints(node: &Node) -> Vec<Taint> {
    let condition = match node.ready_status() {
        Some("True") => None,
        Some("Unknown") => Some(UNREACHABLE),
        _ => Some(NOT_READY),
    };
    let wanted = |taint: &Taint| match taint.key.as_str() {
        NOT_READY | UNREACHABLE => Some(taint.key.as_str()) == condition,
        UNSCHEDULABLE => node.spec.unschedulable,
        _ => true,
    };
    let mut taints: Vec<_> = node
        .spec
        .taints
        .iter()
        .filter(|t| wanted(t))
        .cloned()
        .collect();
    let mut add = |key: &str, effect: &str| {
        if !taints
            .iter()
            .any(|taint| taint.key == key && taint.effect == effect)
        {
            taints.push(Taint {
                key: key.to_owned(),
                effect: effect.to_owned(),
                ..Taint::default()
            });
        }
    };
    if let Some(key) = condition {
        add(key, "NoSchedule");
        add(key, "NoExecute");
    }
    if node.spec.unschedulable {
        add(UNSCHEDULABLE, "NoSchedule");
    }
    taints
}

/// How long the pod may stay on a node with these taints; `None`: for ever.
fn tolerated_for(pod: &Pod, taints: &[Taint]) -> Option<Duration> {
    taints
        .iter()
        .filter(|taint| taint.effect == "NoExecute")
        .filter_map(|taint| {
            let mut matching = pod
                .spec
                .tolerations
                .iter()
                .filter(|t| t.tolerates(taint))
                .peekable();
            if matching.peek().is_none() {
                return Some(0);
            }
            // Without seconds a toleration is for ever; of several the shortest counts.
            matching.filter_map(|toleration| toleration.seconds).min()
        })
        .map(|seconds| Duration::from_secs(u64::try_from(seconds).unwrap_or_default()))
        .min()
}

impl Actor for NodeLifecycle {
    fn observe(&mut self, change: Change, now: Duration) {
        match change {
            Change::Node(seen) => self.node(&seen, now),
            Change::Pod(seen) => self.pod(&seen, now),
            Change::Lease(Seen::Put(lease)) if lease.spec.renew_time.is_some() => {
                self.alive.insert(lease.key().name, now);
            }
            _ => {}
        }
    }

    async fn act(&mut self, now: Duration) -> Option<Duration> {
        for key in self.taints.take(now) {
            self.write_taints(&key, now).await;
        }
        if self.look_at.is_some_and(|at| at <= now) {
            self.look_at = (!self.nodes.is_empty()).then_some(now + self.config.every.0);
            self.judge(now).await;
        }
        while let Some(due) = self.agenda.due(now) {
            self.do_due(due, now).await;
        }
        sooner(sooner(self.taints.next(), self.look_at), self.agenda.next())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(ready: &str, unschedulable: bool) -> Node {
        serde_json::from_value(json!({
            "metadata": {"name": "a"},
            "spec": {"unschedulable": unschedulable, "taints": [
                {"key": NOT_READY, "effect": "NoSchedule"}, {"key": "own", "effect": "NoSchedule"}]},
            "status": {"conditions": [{"type": "Ready", "status": ready}]},
        }))
        .unwrap()
    }

    fn keys(node: &Node) -> Vec<String> {
        let taints = desired_taints(node);
        taints
            .iter()
            .map(|taint| format!("{}:{}", taint.key, taint.effect))
            .collect()
    }

    #[test]
    fn a_ready_node_keeps_only_its_own_taints() {
        assert_eq!(keys(&node("True", false)), ["own:NoSchedule"]);
    }

    #[test]
    fn an_unreachable_and_cordoned_node_is_tainted_for_both() {
        assert_eq!(
            keys(&node("Unknown", true)),
            [
                "own:NoSchedule".to_owned(),
                format!("{UNREACHABLE}:NoSchedule"),
                format!("{UNREACHABLE}:NoExecute"),
                format!("{UNSCHEDULABLE}:NoSchedule"),
            ]
        );
    }

    #[test]
    fn a_pod_stays_as_long_as_its_toleration_says() {
        let taints = desired_taints(&node("Unknown", false));
        let pod = |tolerations: Value| -> Pod {
            serde_json::from_value(json!({"metadata": {}, "spec": {"tolerations": tolerations}}))
                .unwrap()
        };
        assert_eq!(
            tolerated_for(&pod(json!([])), &taints),
            Some(Duration::ZERO)
        );
        let limited = json!([{"key": UNREACHABLE, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300}]);
        assert_eq!(
            tolerated_for(&pod(limited), &taints),
            Some(Duration::from_mins(5))
        );
        assert_eq!(
            tolerated_for(&pod(json!([{"operator": "Exists"}])), &taints),
            None
        );
    }
}
