//! A naive scheduler: binds each pending pod to the node with the most free CPU that takes it, and
//! says of the others why no node does.
//!
//! Knows resources (init containers, sidecars and overhead included), nodeSelector, required node
//! affinity, taints, cordons, host ports and scheduling gates. It has its own reading of these
//! rules and shares no code with the product's filters: the two check each other. It does not
//! preempt, and it ignores preferences, inter-pod affinity and topology spread.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use jiff::Timestamp;
use runtime::{Clock, Randomness};
use serde_json::json;

use super::{AGAIN, Actor, sooner};
use crate::{
    amounts::{self, Amounts},
    config::Range,
    matching::{self, Labels, Taint},
    objects::{Key, Node, Object, Pod, condition},
    observe::{Change, Seen},
    requests::{EVENTS, PODS, Writer, absent, conflict},
};

const NAME: &str = "default-scheduler";

/// A node and what is left of it. Pods may be known before their node is.
#[derive(Default)]
struct Room {
    name: String,
    /// The node exists.
    exists: bool,
    labels: Labels,
    taints: Vec<Taint>,
    unschedulable: bool,
    allocatable: Amounts,
    used: Amounts,
    ports: BTreeMap<(String, i64), u32>,
    pods: usize,
}

impl Room {
    fn free(&self, resource: &str) -> i128 {
        self.allocatable.get(resource).copied().unwrap_or_default()
            - self.used.get(resource).copied().unwrap_or_default()
    }

    fn rank(&self) -> (Reverse<i128>, String) {
        (Reverse(self.free("cpu")), self.name.clone())
    }
}

/// A pod on a node, or about to be.
struct Placed {
    node: String,
    requests: Amounts,
    ports: Vec<(String, i64)>,
}

/// Order of the queue: priority, age, name.
type Turn = (Reverse<i64>, Timestamp, Key);

struct Waiting {
    pod: Arc<Pod>,
    turn: Turn,
    class: u32,
    /// The verdict last written to the pod.
    told: Option<String>,
}

pub(crate) struct Scheduler {
    writer: Writer,
    clock: Clock,
    random: Randomness,
    latency: Range,
    rooms: BTreeMap<String, Room>,
    by_room: BTreeSet<(Reverse<i128>, String)>,
    placed: BTreeMap<Key, Placed>,
    waiting: BTreeMap<Key, Waiting>,
    untried: BTreeSet<Turn>,
    classes: BTreeMap<String, u32>,
    /// Classes that fit nowhere since room was last gained, with the verdict.
    refused: BTreeMap<u32, String>,
    pass_at: Option<Duration>,
}

impl Scheduler {
    pub(crate) fn new(writer: Writer, clock: Clock, random: Randomness, latency: Range) -> Self {
        Self {
            writer,
            clock,
            random,
            latency,
            rooms: BTreeMap::new(),
            by_room: BTreeSet::new(),
            placed: BTreeMap::new(),
            waiting: BTreeMap::new(),
            untried: BTreeSet::new(),
            classes: BTreeMap::new(),
            refused: BTreeMap::new(),
            pass_at: None,
        }
    }

    fn want_pass(&mut self, now: Duration) {
        if self.pass_at.is_none() {
            self.pass_at = Some(now + self.latency.draw(&self.random));
        }
    }

    /// Something may fit now that did not: everyone gets another turn.
    fn gained_room(&mut self, now: Duration) {
        self.refused.clear();
        self.untried
            .extend(self.waiting.values().map(|waiting| waiting.turn.clone()));
        if !self.untried.is_empty() {
            self.want_pass(now);
        }
    }

    fn node(&mut self, seen: &Seen<Node>, now: Duration) {
        let node = seen.object();
        let name = node.key().name;
        let allocatable = node
            .status
            .allocatable
            .iter()
            .filter_map(|(name, value)| Some((name.clone(), amounts::thousandths(value)?)))
            .collect();
        let room = self.rooms.entry(name.clone()).or_default();
        let rank = room.rank();
        if let Seen::Gone(_) = seen {
            room.exists = false;
            self.by_room.remove(&rank);
            if room.pods == 0 {
                self.rooms.remove(&name);
            }
            // The verdicts count nodes.
            self.gained_room(now);
            return;
        }
        let same = room.exists
            && room.labels == *node.labels()
            && room.taints == node.spec.taints
            && room.unschedulable == node.spec.unschedulable
            && room.allocatable == allocatable;
        if same {
            return; // a heartbeat
        }
        room.name = name;
        room.exists = true;
        room.labels.clone_from(node.labels());
        room.taints.clone_from(&node.spec.taints);
        room.unschedulable = node.spec.unschedulable;
        room.allocatable = allocatable;
        let now_ranked = room.rank();
        self.by_room.remove(&rank);
        self.by_room.insert(now_ranked);
        self.gained_room(now);
    }

    fn place(&mut self, key: Key, placed: Placed) {
        let room = self.rooms.entry(placed.node.clone()).or_default();
        let rank = room.rank();
        amounts::add(&mut room.used, &placed.requests);
        for port in &placed.ports {
            *room.ports.entry(port.clone()).or_default() += 1;
        }
        room.pods += 1;
        if room.exists {
            let ranked = room.rank();
            self.by_room.remove(&rank);
            self.by_room.insert(ranked);
        }
        self.placed.insert(key, placed);
    }

    /// Whether the pod was on a node.
    fn release(&mut self, key: &Key) -> bool {
        let Some(placed) = self.placed.remove(key) else {
            return false;
        };
        if let Some(room) = self.rooms.get_mut(&placed.node) {
            let rank = room.rank();
            amounts::subtract(&mut room.used, &placed.requests);
            for port in &placed.ports {
                if let Some(count) = room.ports.get_mut(port) {
                    *count -= 1;
                    if *count == 0 {
                        room.ports.remove(port);
                    }
                }
            }
            room.pods -= 1;
            if room.exists {
                let ranked = room.rank();
                self.by_room.remove(&rank);
                self.by_room.insert(ranked);
            } else if room.pods == 0 {
                self.rooms.remove(&placed.node);
            }
        }
        true
    }

    fn forget_waiting(&mut self, key: &Key) {
        if let Some(waiting) = self.waiting.remove(key) {
            self.untried.remove(&waiting.turn);
        }
    }

    fn pod(&mut self, seen: &Seen<Pod>, now: Duration) {
        let pod = seen.object();
        let key = pod.key();
        let over = matches!(seen, Seen::Gone(_)) || pod.finished();
        if over {
            self.forget_waiting(&key);
            if self.release(&key) {
                self.gained_room(now);
            }
        } else if let Some(node) = pod.node() {
            self.forget_waiting(&key);
            if self
                .placed
                .get(&key)
                .is_none_or(|placed| placed.node != node)
            {
                self.release(&key);
                // What is on a node already counts for what can be read of it.
                let requests = pod.spec.requests().unwrap_or_default();
                let ports = pod.spec.host_ports();
                let node = node.to_owned();
                self.place(
                    key,
                    Placed {
                        node,
                        requests,
                        ports,
                    },
                );
            }
        } else if pod.deleting()
            || !pod.spec.scheduling_gates.is_empty()
            || pod.spec.scheduler_name.as_deref().unwrap_or(NAME) != NAME
        {
            self.forget_waiting(&key);
        } else if !self.placed.contains_key(&key) {
            self.queue(key, pod, now);
        }
    }

    fn queue(&mut self, key: Key, pod: &Arc<Pod>, now: Duration) {
        let signature = json!([
            pod.spec
                .requests()
                .map_or_else(|bad| bad, |requests| format!("{requests:?}")),
            pod.spec.node_selector,
            pod.spec.required_nodes(),
            pod.spec.tolerations,
            pod.spec.host_ports(),
        ])
        .to_string();
        let fresh = self.classes.len() as u32;
        let class = *self.classes.entry(signature).or_insert(fresh);
        let turn = (
            Reverse(pod.spec.priority.unwrap_or_default()),
            pod.created(),
            key.clone(),
        );
        let told = condition(&pod.status.conditions, "PodScheduled")
            .filter(|scheduled| scheduled.status == "False")
            .and_then(|scheduled| scheduled.message.clone());
        let before = self.waiting.insert(
            key,
            Waiting {
                pod: Arc::clone(pod),
                turn: turn.clone(),
                class,
                told,
            },
        );
        if before.is_none_or(|before| before.class != class || before.turn != turn) {
            self.untried.insert(turn);
            self.want_pass(now);
        }
    }

    /// The node for a pod, or why there is none.
    fn choose(&self, pod: &Pod) -> Result<Placed, String> {
        let requests = pod
            .spec
            .requests()
            .map_err(|resource| format!("the pod's request of {resource} is not a quantity"))?;
        let ports = pod.spec.host_ports();
        let cpu = requests.get("cpu").copied().unwrap_or_default();
        for (Reverse(free), name) in &self.by_room {
            if *free < cpu {
                break; // nodes come by free CPU
            }
            let Some(room) = self.rooms.get(name) else {
                continue;
            };
            if obstacles(room, pod, &requests, &ports).is_empty() {
                let node = name.clone();
                return Ok(Placed {
                    node,
                    requests,
                    ports,
                });
            }
        }
        Err(self.verdict(pod, &requests, &ports))
    }

    fn verdict(&self, pod: &Pod, requests: &Amounts, ports: &[(String, i64)]) -> String {
        if self.by_room.is_empty() {
            return "no nodes available to schedule pods".to_owned();
        }
        let mut counts: BTreeMap<String, usize> = BTreeMap::new();
        for room in self.rooms.values().filter(|room| room.exists) {
            for obstacle in obstacles(room, pod, requests, ports) {
                *counts.entry(obstacle).or_default() += 1;
            }
        }
        let mut reasons: Vec<_> = counts
            .into_iter()
            .map(|(reason, count)| format!("{count} {reason}"))
            .collect();
        reasons.sort();
        format!(
            "0/{} nodes are available: {}.",
            self.by_room.len(),
            reasons.join(", ")
        )
    }

    async fn pass(&mut self, now: Duration) {
        while let Some((_, _, key)) = self.untried.pop_first() {
            let Some(waiting) = self.waiting.get(&key) else {
                continue;
            };
            let pod = Arc::clone(&waiting.pod);
            let class = waiting.class;
            let choice = match self.refused.get(&class) {
                Some(verdict) => Err(verdict.clone()),
                None => self.choose(&pod),
            };
            match choice {
                Ok(placed) => self.bind(key, &pod, placed, now).await,
                Err(verdict) => {
                    self.refused.insert(class, verdict.clone());
                    self.tell(&key, &pod, verdict).await;
                }
            }
        }
    }

    async fn bind(&mut self, key: Key, pod: &Pod, placed: Placed, now: Duration) {
        let node = placed.node.clone();
        let turn = self.waiting.get(&key).map(|waiting| waiting.turn.clone());
        self.place(key.clone(), placed);
        let body = json!({
            "apiVersion": "v1", "kind": "Binding",
            "metadata": {"name": key.name, "namespace": key.namespace, "uid": pod.uid()},
            "target": {"apiVersion": "v1", "kind": "Node", "name": node},
        });
        match self.writer.post(PODS, &key, "binding", &body).await {
            Ok(_) => {
                self.waiting.remove(&key);
                let message = format!("Successfully assigned {key} to {node}");
                self.event(&key, pod, "Normal", "Scheduled", &message).await;
            }
            Err(error) => {
                tracing::debug!(pod = %key, node, %error, "not bound");
                self.release(&key);
                if absent(&error) || conflict(&error) {
                    // Gone, or bound by someone else: the news will say.
                    self.waiting.remove(&key);
                } else {
                    self.untried.extend(turn);
                    self.pass_at = sooner(self.pass_at, Some(now + AGAIN));
                }
            }
        }
    }

    async fn tell(&mut self, key: &Key, pod: &Pod, verdict: String) {
        let told = self
            .waiting
            .get(key)
            .and_then(|waiting| waiting.told.as_ref());
        if told == Some(&verdict) {
            return;
        }
        let since = condition(&pod.status.conditions, "PodScheduled")
            .filter(|scheduled| scheduled.status == "False")
            .and_then(|scheduled| scheduled.last_transition_time.clone())
            .unwrap_or_else(|| stamp(&self.clock));
        let status = json!({"conditions": [{
            "type": "PodScheduled", "status": "False", "reason": "Unschedulable",
            "message": verdict, "lastTransitionTime": since, "lastProbeTime": null,
        }]});
        match self.writer.patch_status(PODS, key, &status).await {
            Ok(_) => {
                self.event(key, pod, "Warning", "FailedScheduling", &verdict)
                    .await;
                if let Some(waiting) = self.waiting.get_mut(key) {
                    waiting.told = Some(verdict);
                }
            }
            Err(error) => tracing::debug!(pod = %key, %error, "verdict not written"),
        }
    }

    async fn event(&self, key: &Key, pod: &Pod, level: &str, reason: &str, message: &str) {
        let now = stamp(&self.clock);
        let event = json!({
            "apiVersion": "v1", "kind": "Event",
            "metadata": {
                "name": format!("{}.{:016x}", key.name, self.random.next_u64()),
                "namespace": key.namespace,
            },
            "involvedObject": {
                "apiVersion": "v1", "kind": "Pod", "name": key.name, "namespace": key.namespace,
                "uid": pod.uid(), "resourceVersion": pod.resource_version(),
            },
            "type": level, "reason": reason, "message": message,
            "firstTimestamp": now, "lastTimestamp": now, "count": 1,
            "source": {"component": NAME}, "reportingComponent": NAME, "reportingInstance": "",
        });
        if let Err(error) = self.writer.create(EVENTS, &key.namespace, &event).await {
            tracing::debug!(pod = %key, reason, %error, "event not written");
        }
    }
}

/// Why a node does not take a pod; empty when it does. The words are kube-scheduler's.
fn obstacles(room: &Room, pod: &Pod, requests: &Amounts, ports: &[(String, i64)]) -> Vec<String> {
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
    if ports.iter().any(|port| room.ports.contains_key(port)) {
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

/// The present instant as Kubernetes writes it.
pub(crate) fn stamp(clock: &Clock) -> String {
    clock.now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

impl Actor for Scheduler {
    fn observe(&mut self, change: Change, now: Duration) {
        match change {
            Change::Node(seen) => self.node(&seen, now),
            Change::Pod(seen) => self.pod(&seen, now),
            _ => {}
        }
    }

    async fn act(&mut self, now: Duration) -> Option<Duration> {
        if self.pass_at.is_some_and(|at| at <= now) {
            self.pass_at = None;
            self.pass(now).await;
        }
        self.pass_at
    }
}

#[cfg(test)]
mod tests {
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
        room.ports.insert(("TCP".to_owned(), 80), 1);
        assert_eq!(why(&room, &pod).len(), 1);
    }
}
