//! A naive scheduler: binds each pending pod to the node with the most free CPU that takes it, and
//! says of the others why no node does.
//!
//! It has its own reading of the rules that look at one node ([`room`]), and asks `checker` for those
//! that look at other pods ([`rules`]); it shares no code with the product's filters, so a wrong yes of
//! theirs shows as a pod that never runs. It does not preempt, and ignores preferences and volumes.

mod reports;
mod room;
mod rules;

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use intake::NamespaceView;
use jiff::Timestamp;
use model::SchedulingClass;
use runtime::{Clock, Randomness};
use serde_json::json;

use self::{
    room::{Room, obstacles},
    rules::Rules,
};
use super::{AGAIN, Actor, sooner};
use crate::{
    amounts::{self, Amounts},
    config::Range,
    objects::{HostPort, Key, Node, Object, Pod, condition},
    observe::{Change, Seen},
    requests::{PODS, Writer, absent, conflict},
};

const NAME: &str = "default-scheduler";

/// A pod on a node, or about to be.
struct Placed {
    node: String,
    requests: Amounts,
    ports: Vec<HostPort>,
    class: Arc<SchedulingClass>,
    /// Its deletion was asked for.
    ending: bool,
}

/// Order of the queue: priority, age, name.
type Turn = (Reverse<i64>, Timestamp, Key);

struct Waiting {
    pod: Arc<Pod>,
    turn: Turn,
    sort: u32,
    /// The verdict last written to the pod.
    told: Option<String>,
}

/// Pods of one sort fit nowhere.
struct Refusal {
    verdict: String,
    class: Arc<SchedulingClass>,
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
    /// Numbers of the sorts of pods that are told apart.
    sorts: BTreeMap<(String, Arc<SchedulingClass>), u32>,
    /// Sorts that fit nowhere since room was last gained.
    refused: BTreeMap<u32, Refusal>,
    rules: Rules,
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
            sorts: BTreeMap::new(),
            refused: BTreeMap::new(),
            rules: Rules::default(),
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

    /// A pod was placed or is ending: pods whose rules look at others get another turn.
    fn pods_moved(&mut self, now: Duration) {
        let refused = self.refused.iter();
        let again: BTreeSet<u32> = refused
            .filter(|(_, refusal)| rules::looks_at_others(&refusal.class))
            .map(|(sort, _)| *sort)
            .collect();
        if again.is_empty() {
            return;
        }
        self.refused.retain(|sort, _| !again.contains(sort));
        let waiting = self.waiting.values();
        let turns = waiting.filter(|waiting| again.contains(&waiting.sort));
        self.untried
            .extend(turns.map(|waiting| waiting.turn.clone()));
        self.want_pass(now);
    }

    fn namespace(&mut self, seen: &Seen<NamespaceView>, now: Duration) {
        let name = seen.object().key().name;
        let labels = match seen {
            Seen::Put(namespace) => Some(namespace.labels()),
            Seen::Gone(_) => None,
        };
        if self.rules.namespace(&name, labels) {
            self.gained_room(now);
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
            self.rules.outdated();
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
            && room.allocatable == allocatable
            && room.shape == node.shape;
        if same {
            return; // a heartbeat
        }
        room.name = name;
        room.exists = true;
        room.labels.clone_from(node.labels());
        room.taints.clone_from(&node.spec.taints);
        room.unschedulable = node.spec.unschedulable;
        room.allocatable = allocatable;
        room.shape.clone_from(&node.shape);
        self.rules.outdated();
        let now_ranked = room.rank();
        self.by_room.remove(&rank);
        self.by_room.insert(now_ranked);
        self.gained_room(now);
    }

    fn place(&mut self, key: Key, placed: Placed) {
        let room = self.rooms.entry(placed.node.clone()).or_default();
        let rank = room.rank();
        amounts::add(&mut room.used, &placed.requests);
        room.ports.extend(placed.ports.iter().cloned());
        room.pods += 1;
        self.rules.put(&placed);
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
        self.rules.taken_away(&placed);
        if let Some(room) = self.rooms.get_mut(&placed.node) {
            let rank = room.rank();
            amounts::subtract(&mut room.used, &placed.requests);
            for port in &placed.ports {
                if let Some(taken) = room.ports.iter().position(|taken| taken == port) {
                    room.ports.swap_remove(taken);
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
            self.bound(key, pod, node, now);
        } else if pod.deleting()
            || !pod.spec.scheduling_gates.is_empty()
            || pod.spec.scheduler_name.as_deref().unwrap_or(NAME) != NAME
        {
            self.forget_waiting(&key);
        } else if !self.placed.contains_key(&key) {
            self.queue(key, pod, now);
        }
    }

    /// What is on a node already counts for what can be read of it.
    fn bound(&mut self, key: Key, pod: &Pod, node: &str, now: Duration) {
        let class = pod.class.clone().unwrap_or_default();
        let ending = pod.deleting();
        let known = self.placed.get(&key).filter(|placed| placed.node == node);
        // Of what is known of it no more can change: a pod that is bound is read a little
        // differently, by what it has and not by what it wanted.
        let relabelled = known.is_some_and(|placed| placed.class.labels != class.labels);
        if known.is_some_and(|placed| placed.ending == ending) && !relabelled {
            return;
        }
        self.release(&key);
        let placed = Placed {
            node: node.to_owned(),
            requests: pod.spec.requests().unwrap_or_default(),
            ports: pod.spec.host_ports(),
            class,
            ending,
        };
        self.place(key, placed);
        if relabelled {
            self.gained_room(now);
        } else {
            self.pods_moved(now);
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
        let fresh = self.sorts.len() as u32;
        let class = pod.class.clone().unwrap_or_default();
        let sort = *self.sorts.entry((signature, class)).or_insert(fresh);
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
                sort,
                told,
            },
        );
        if before.is_none_or(|before| before.sort != sort || before.turn != turn) {
            self.untried.insert(turn);
            self.want_pass(now);
        }
    }

    /// The node for a pod, or why there is none.
    fn choose(&mut self, pod: &Pod) -> Result<Placed, String> {
        let requests = pod
            .spec
            .requests()
            .map_err(|resource| format!("the pod's request of {resource} is not a quantity"))?;
        let class = pod.class.clone();
        let wanted = Placed {
            node: String::new(),
            requests,
            ports: pod.spec.host_ports(),
            class: class.ok_or("the pod's rules cannot be read")?,
            ending: false,
        };
        self.rules
            .prepare(&wanted.class, &self.rooms, self.placed.values());
        let cpu = wanted.requests.get("cpu").copied().unwrap_or_default();
        for (Reverse(free), name) in &self.by_room {
            if *free < cpu {
                break; // nodes come by free CPU
            }
            let Some(room) = self.rooms.get(name) else {
                continue;
            };
            if self.against(room, pod, &wanted).is_empty() {
                let node = name.clone();
                return Ok(Placed { node, ..wanted });
            }
        }
        Err(self.verdict(pod, &wanted))
    }

    /// Why a node does not take a pod; empty when it does.
    fn against(&self, room: &Room, pod: &Pod, wanted: &Placed) -> Vec<String> {
        let plain = obstacles(room, pod, &wanted.requests, &wanted.ports);
        if !plain.is_empty() {
            return plain;
        }
        let broken = self.rules.broken(&wanted.class, &room.name);
        broken.into_iter().collect()
    }

    fn verdict(&self, pod: &Pod, wanted: &Placed) -> String {
        if self.by_room.is_empty() {
            return "no nodes available to schedule pods".to_owned();
        }
        let mut counts: BTreeMap<String, usize> = BTreeMap::new();
        for room in self.rooms.values().filter(|room| room.exists) {
            for obstacle in self.against(room, pod, wanted) {
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
        let mut again = Vec::new();
        while let Some(turn) = self.untried.pop_first() {
            let (_, _, key) = &turn;
            let Some(waiting) = self.waiting.get(key) else {
                continue;
            };
            let pod = Arc::clone(&waiting.pod);
            let sort = waiting.sort;
            let choice = match self.refused.get(&sort) {
                Some(refusal) => Err(refusal.verdict.clone()),
                None => self.choose(&pod),
            };
            match choice {
                Ok(placed) => {
                    if self.bind(key, &pod, placed).await {
                        self.pods_moved(now);
                    } else {
                        again.push(turn);
                    }
                }
                Err(verdict) => {
                    let class = pod.class.clone().unwrap_or_default();
                    self.tell(key, &pod, &verdict).await;
                    self.refused.insert(sort, Refusal { verdict, class });
                }
            }
        }
        if !again.is_empty() {
            self.untried.extend(again);
            self.pass_at = sooner(self.pass_at, Some(now + AGAIN));
        }
    }

    /// False: it is to be tried again.
    async fn bind(&mut self, key: &Key, pod: &Pod, placed: Placed) -> bool {
        let node = placed.node.clone();
        self.place(key.clone(), placed);
        let body = json!({
            "apiVersion": "v1", "kind": "Binding",
            "metadata": {"name": key.name, "namespace": key.namespace, "uid": pod.uid()},
            "target": {"apiVersion": "v1", "kind": "Node", "name": node},
        });
        match self.writer.post(PODS, key, "binding", &body).await {
            Ok(_) => {
                self.waiting.remove(key);
                let message = format!("Successfully assigned {key} to {node}");
                self.event(key, pod, "Normal", "Scheduled", &message).await;
                true
            }
            Err(error) => {
                tracing::debug!(pod = %key, node, %error, "not bound");
                self.release(key);
                // Gone, or bound by someone else: the news will say.
                let settled = absent(&error) || conflict(&error);
                if settled {
                    self.waiting.remove(key);
                }
                settled
            }
        }
    }
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
            Change::Namespace(seen) => self.namespace(&seen, now),
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
