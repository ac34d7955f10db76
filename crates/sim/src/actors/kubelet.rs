//! The kubelets: one actor plays those of all nodes it was told to run. They register their Node,
//! report it, renew its Lease, and start, finish and remove the pods bound to it.
//!
//! A kubelet registers its Node once. Where somebody deletes the Node, the kubelet does not bring
//! it back; where its machine is deleted, it falls silent and its Node stays as it was.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use runtime::{Clock, Randomness};
use serde_json::{Value, json};

use super::{AGAIN, Actor, scheduler::stamp};
use crate::{
    agenda::Agenda,
    config::KubeletConfig,
    objects::{Key, Node, Object, Pod},
    observe::{Change, Seen},
    requests::{LEASES, NODES, PODS, Writer, absent, conflict},
};

/// Annotation on pods that end by themselves: how long they run, in seconds.
pub const RUN_SECONDS: &str = "sim.vpsie.com/run-seconds";

/// To start or stop a kubelet.
#[derive(Clone, Debug)]
pub(crate) enum Order {
    Run(Box<NewNode>),
    Stop(String),
}

/// The node a kubelet registers.
#[derive(Clone, Debug)]
pub(crate) struct NewNode {
    pub(crate) name: String,
    /// The Node without its status.
    pub(crate) object: Value,
    pub(crate) capacity: Value,
    pub(crate) allocatable: Value,
    pub(crate) addresses: Value,
    /// From registration to Ready; `None` never gets there.
    pub(crate) ready_after: Option<Duration>,
}

struct Owned {
    new: NewNode,
    number: u32,
    registered: bool,
    /// UID of the Node, once it is registered.
    uid: String,
    ready: bool,
    next_ip: u32,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stage {
    Admitted,
    Creating,
    Running,
    Over,
    Removing,
}

struct Tracked {
    uid: String,
    node: String,
    stage: Stage,
}

enum Due {
    Register(String),
    Ready(String),
    Lease(String),
    Report(String),
    Correct(String),
    Create(Key, String),
    Start(Key, String),
    Finish(Key, String),
    Remove(Key, String),
}

pub(crate) struct Kubelet {
    writer: Writer,
    clock: Clock,
    random: Randomness,
    config: KubeletConfig,
    owned: BTreeMap<String, Owned>,
    numbers: u32,
    /// Nodes that exist.
    nodes: BTreeSet<String>,
    pods: BTreeMap<String, BTreeMap<Key, Arc<Pod>>>,
    tracked: BTreeMap<Key, Tracked>,
    agenda: Agenda<Due>,
}

impl Kubelet {
    pub(crate) fn new(
        writer: Writer,
        clock: Clock,
        random: Randomness,
        config: KubeletConfig,
    ) -> Self {
        Self {
            writer,
            clock,
            random,
            config,
            owned: BTreeMap::new(),
            numbers: 0,
            nodes: BTreeSet::new(),
            pods: BTreeMap::new(),
            tracked: BTreeMap::new(),
            agenda: Agenda::default(),
        }
    }

    fn order(&mut self, order: Order, now: Duration) {
        match order {
            Order::Run(new) => {
                let name = new.name.clone();
                self.numbers += 1;
                let owned = Owned {
                    new: *new,
                    number: self.numbers,
                    registered: false,
                    uid: String::new(),
                    ready: false,
                    next_ip: 2,
                };
                self.owned.insert(name.clone(), owned);
                self.agenda.enter(now, Due::Register(name));
            }
            Order::Stop(name) => {
                self.owned.remove(&name);
                let bound = self.pods.get(&name).into_iter().flatten();
                for (key, _) in bound {
                    self.tracked.remove(key);
                }
            }
        }
    }

    /// Whether the node has a working kubelet of ours.
    fn works(&self, node: &str) -> bool {
        self.owned.get(node).is_some_and(|owned| owned.ready) && self.nodes.contains(node)
    }

    fn pod(&mut self, seen: &Seen<Pod>, now: Duration) {
        let pod = seen.object();
        let Some(node) = pod.node() else { return };
        let key = pod.key();
        let bound = self.pods.entry(node.to_owned()).or_default();
        match seen {
            Seen::Gone(_) => {
                bound.remove(&key);
                if bound.is_empty() {
                    self.pods.remove(node);
                }
                self.tracked.remove(&key);
            }
            Seen::Put(_) => {
                bound.insert(key, Arc::clone(pod));
                if self.works(node) {
                    self.sync(pod, now);
                }
            }
        }
    }

    /// Sees to it that what the pod needs next is on the agenda.
    fn sync(&mut self, pod: &Pod, now: Duration) {
        let key = pod.key();
        let uid = pod.uid().to_owned();
        let stage = match self.tracked.get(&key) {
            Some(tracked) if tracked.uid == uid => Some(tracked.stage),
            _ => None,
        };
        let next = if pod.deleting() {
            if stage == Some(Stage::Removing) {
                return;
            }
            let grace = pod.metadata.deletion_grace_period_seconds.unwrap_or(30);
            let grace = Duration::from_secs(u64::try_from(grace).unwrap_or_default());
            let after = self.config.terminate.draw(&self.random).min(grace);
            self.agenda
                .enter(now + after, Due::Remove(key.clone(), uid.clone()));
            Stage::Removing
        } else if stage.is_some() {
            return;
        } else if pod.finished() {
            Stage::Over
        } else if pod.phase() == "Running" {
            self.enter_finish(pod, now);
            Stage::Running
        } else {
            let after = self.config.admit.draw(&self.random);
            self.agenda
                .enter(now + after, Due::Create(key.clone(), uid.clone()));
            Stage::Admitted
        };
        let node = pod.node().unwrap_or_default().to_owned();
        self.tracked.insert(
            key,
            Tracked {
                uid,
                node,
                stage: next,
            },
        );
    }

    /// Sees to every pod bound to `node`.
    fn sync_bound(&mut self, node: &str, now: Duration) {
        let bound = self.pods.get(node).into_iter().flatten();
        let bound: Vec<_> = bound.map(|(_, pod)| Arc::clone(pod)).collect();
        for pod in bound {
            self.sync(&pod, now);
        }
    }

    fn enter_finish(&mut self, pod: &Pod, now: Duration) {
        if pod.spec.restart_policy.as_deref().unwrap_or("Always") == "Always" {
            return;
        }
        let run = pod
            .annotation(RUN_SECONDS)
            .and_then(|seconds| seconds.parse().ok())
            .map_or_else(
                || self.config.job_run.draw(&self.random),
                Duration::from_secs,
            );
        self.agenda
            .enter(now + run, Due::Finish(pod.key(), pod.uid().to_owned()));
    }

    /// The pod, if it is still the one meant and its kubelet works.
    fn current(&self, key: &Key, uid: &str, stage: Stage) -> Option<Arc<Pod>> {
        let tracked = self.tracked.get(key)?;
        if tracked.uid != uid || tracked.stage != stage {
            return None;
        }
        if !self.works(&tracked.node) {
            return None;
        }
        let bound = self.pods.get(&tracked.node)?;
        bound.get(key).filter(|pod| pod.uid() == uid).cloned()
    }

    async fn do_due(&mut self, due: Due, now: Duration) {
        match due {
            Due::Register(node) => self.register(node, now).await,
            Due::Ready(node) => self.become_ready(node, now).await,
            Due::Lease(node) => self.renew(node, now).await,
            Due::Report(node) => {
                self.report(&node).await;
                self.agenda
                    .enter(now + self.config.report_every.0, Due::Report(node));
            }
            Due::Correct(node) => self.report(&node).await,
            Due::Create(key, uid) => self.create(key, uid, now).await,
            Due::Start(key, uid) => self.start(key, uid, now).await,
            Due::Finish(key, uid) => self.finish(key, uid, now).await,
            Due::Remove(key, uid) => self.remove(key, uid, now).await,
        }
    }

    async fn register(&mut self, node: String, now: Duration) {
        let Some(owned) = self.owned.get(&node) else {
            return;
        };
        let key = Key::new("", &node);
        match self.writer.create(NODES, "", &owned.new.object).await {
            Ok(_) => {}
            // A Node of that name exists: the kubelet takes it over.
            Err(error) if conflict(&error) => {}
            Err(error) => {
                tracing::debug!(node, %error, "node not registered");
                self.agenda.enter(now + AGAIN * 5, Due::Register(node));
                return;
            }
        }
        let written = match self
            .writer
            .patch_status(NODES, &key, &self.status(owned, true))
            .await
        {
            Ok(written) => written,
            Err(error) => {
                tracing::debug!(node, %error, "status of the new node not written");
                self.agenda.enter(now + AGAIN, Due::Register(node));
                return;
            }
        };
        let ready_after = owned.new.ready_after;
        self.nodes.insert(node.clone());
        if let Some(owned) = self.owned.get_mut(&node) {
            owned.registered = true;
            written["metadata"]["uid"]
                .as_str()
                .unwrap_or_default()
                .clone_into(&mut owned.uid);
        }
        self.agenda.enter(now, Due::Lease(node.clone()));
        self.agenda
            .enter(now + self.config.report_every.0, Due::Report(node.clone()));
        if let Some(after) = ready_after {
            self.agenda.enter(now + after, Due::Ready(node));
        }
    }

    /// What the kubelet says of its node.
    fn status(&self, owned: &Owned, whole: bool) -> Value {
        let now = stamp(&self.clock);
        let condition = |kind: &str, status: bool, reason: &str, message: &str| {
            json!({"type": kind, "status": if status { "True" } else { "False" },
                "reason": reason, "message": message, "lastHeartbeatTime": now})
        };
        let ready = if owned.ready {
            condition(
                "Ready",
                true,
                "KubeletReady",
                "kubelet is posting ready status",
            )
        } else {
            condition(
                "Ready",
                false,
                "KubeletNotReady",
                "container runtime network not ready: NetworkReady=false reason:NetworkPluginNotReady",
            )
        };
        let mut status = json!({"conditions": [
            condition("MemoryPressure", false, "KubeletHasSufficientMemory", "kubelet has sufficient memory available"),
            condition("DiskPressure", false, "KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
            condition("PIDPressure", false, "KubeletHasSufficientPID", "kubelet has sufficient PID available"),
            ready,
        ]});
        if whole {
            for condition in status["conditions"].as_array_mut().into_iter().flatten() {
                condition["lastTransitionTime"] = json!(now);
            }
            status["capacity"] = owned.new.capacity.clone();
            status["allocatable"] = owned.new.allocatable.clone();
            status["addresses"] = owned.new.addresses.clone();
            status["nodeInfo"] = json!({
                "architecture": "amd64", "operatingSystem": "linux",
                "kubeletVersion": self.config.version, "kubeProxyVersion": "",
                "osImage": "Ubuntu 24.04 LTS", "kernelVersion": "6.8.0",
                "containerRuntimeVersion": "containerd://2.0.0",
                "machineID": owned.new.name, "systemUUID": owned.new.name, "bootID": owned.new.name,
            });
        }
        status
    }

    async fn become_ready(&mut self, node: String, now: Duration) {
        let Some(owned) = self.owned.get_mut(&node) else {
            return;
        };
        owned.ready = true;
        let mut status = self
            .owned
            .get(&node)
            .map(|owned| self.status(owned, false))
            .unwrap_or_default();
        status["conditions"][3]["lastTransitionTime"] = json!(stamp(&self.clock));
        match self
            .writer
            .patch_status(NODES, &Key::new("", &node), &status)
            .await
        {
            Ok(_) => self.sync_bound(&node, now),
            Err(error) if absent(&error) => {}
            Err(error) => {
                tracing::debug!(node, %error, "readiness not written");
                if let Some(owned) = self.owned.get_mut(&node) {
                    owned.ready = false;
                }
                self.agenda.enter(now + AGAIN, Due::Ready(node));
            }
        }
    }

    async fn renew(&mut self, node: String, now: Duration) {
        let Some(owned) = self.owned.get(&node).filter(|owned| owned.registered) else {
            return;
        };
        let every = self.config.lease_every.0;
        if self.nodes.contains(&node) {
            let key = Key::new("kube-node-lease", &node);
            let time = self
                .clock
                .now()
                .strftime("%Y-%m-%dT%H:%M:%S%.6fZ")
                .to_string();
            let spec = json!({"holderIdentity": node, "renewTime": time,
                "leaseDurationSeconds": every.as_secs() * 4});
            let mut written = self
                .writer
                .merge(LEASES, &key, &json!({ "spec": spec }))
                .await;
            if written.as_ref().is_err_and(absent) {
                let lease = json!({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
                    "metadata": {"name": node, "namespace": "kube-node-lease", "ownerReferences": [
                        {"apiVersion": "v1", "kind": "Node", "name": node, "uid": owned.uid}]},
                    "spec": spec});
                written = self.writer.create(LEASES, "kube-node-lease", &lease).await;
            }
            if let Err(error) = written {
                tracing::debug!(node, %error, "lease not renewed");
            }
        }
        self.agenda.enter(now + every, Due::Lease(node));
    }

    async fn report(&self, node: &str) {
        let Some(owned) = self.owned.get(node) else {
            return;
        };
        if self.nodes.contains(node) {
            let status = self.status(owned, false);
            let key = Key::new("", node);
            if let Err(error) = self.writer.patch_status(NODES, &key, &status).await {
                tracing::debug!(node, %error, "node not reported");
            }
        }
    }

    async fn create(&mut self, key: Key, uid: String, now: Duration) {
        let Some(pod) = self.current(&key, &uid, Stage::Admitted) else {
            return;
        };
        let time = stamp(&self.clock);
        let containers: Vec<_> = pod
            .spec
            .containers
            .iter()
            .map(|container| {
                json!({
                    "name": container.name, "image": container.image, "imageID": "", "ready": false,
                    "started": false, "restartCount": 0,
                    "state": {"waiting": {"reason": "ContainerCreating"}},
                })
            })
            .collect();
        let status = json!({
            "phase": "Pending", "startTime": time, "hostIP": self.host_ip(&pod),
            "containerStatuses": containers,
            "conditions": [
                {"type": "Initialized", "status": "True", "lastTransitionTime": time},
                {"type": "Ready", "status": "False", "reason": "ContainersNotReady", "lastTransitionTime": time},
                {"type": "ContainersReady", "status": "False", "reason": "ContainersNotReady", "lastTransitionTime": time},
            ],
        });
        if self.patch_pod(&key, &status).await {
            self.step(&key, Stage::Creating);
            let after = self.config.start.draw(&self.random);
            self.agenda.enter(now + after, Due::Start(key, uid));
        } else {
            self.agenda.enter(now + AGAIN, Due::Create(key, uid));
        }
    }

    fn host_ip(&self, pod: &Pod) -> Value {
        let addresses = pod
            .node()
            .and_then(|node| self.owned.get(node))
            .map(|owned| &owned.new.addresses);
        addresses
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .find(|address| address["type"] == "InternalIP")
            .map_or(Value::Null, |address| address["address"].clone())
    }

    async fn start(&mut self, key: Key, uid: String, now: Duration) {
        let Some(pod) = self.current(&key, &uid, Stage::Creating) else {
            return;
        };
        let time = stamp(&self.clock);
        let host_ip = self.host_ip(&pod);
        let ip = if pod.spec.host_network {
            host_ip
        } else {
            let owned = pod.node().and_then(|node| self.owned.get_mut(node));
            owned.map_or(Value::Null, |owned| {
                owned.next_ip += 1;
                let (number, host) = (owned.number, owned.next_ip);
                json!(format!(
                    "10.{}.{}.{}",
                    100 + number / 256 % 100,
                    number % 256,
                    1 + host % 254
                ))
            })
        };
        let containers: Vec<_> = pod
            .spec
            .containers
            .iter()
            .map(|container| {
                json!({
                    "name": container.name, "image": container.image, "imageID": container.image,
                    "containerID": format!("containerd://{uid}"), "ready": true, "started": true,
                    "restartCount": 0, "state": {"running": {"startedAt": time}},
                })
            })
            .collect();
        let status = json!({
            "phase": "Running", "podIP": ip, "podIPs": [{"ip": ip}],
            "containerStatuses": containers,
            "conditions": [
                {"type": "Ready", "status": "True", "reason": null, "lastTransitionTime": time},
                {"type": "ContainersReady", "status": "True", "reason": null, "lastTransitionTime": time},
            ],
        });
        if self.patch_pod(&key, &status).await {
            self.step(&key, Stage::Running);
            self.enter_finish(&pod, now);
        } else {
            self.agenda.enter(now + AGAIN, Due::Start(key, uid));
        }
    }

    async fn finish(&mut self, key: Key, uid: String, now: Duration) {
        let Some(pod) = self.current(&key, &uid, Stage::Running) else {
            return;
        };
        let time = stamp(&self.clock);
        let containers: Vec<_> = pod.spec.containers.iter().map(|container| json!({
            "name": container.name, "image": container.image, "imageID": container.image,
            "ready": false, "started": false, "restartCount": 0,
            "state": {"terminated": {"exitCode": 0, "reason": "Completed", "finishedAt": time}},
        })).collect();
        let status = json!({
            "phase": "Succeeded", "containerStatuses": containers,
            "conditions": [
                {"type": "Ready", "status": "False", "reason": "PodCompleted", "lastTransitionTime": time},
                {"type": "ContainersReady", "status": "False", "reason": "PodCompleted", "lastTransitionTime": time},
            ],
        });
        if self.patch_pod(&key, &status).await {
            self.step(&key, Stage::Over);
        } else {
            self.agenda.enter(now + AGAIN, Due::Finish(key, uid));
        }
    }

    async fn remove(&mut self, key: Key, uid: String, now: Duration) {
        if self.current(&key, &uid, Stage::Removing).is_none() {
            return;
        }
        match self.writer.delete(PODS, &key, Some(&uid), Some(0)).await {
            Ok(_) => {}
            Err(error) if absent(&error) || conflict(&error) => {}
            Err(error) => {
                tracing::debug!(pod = %key, %error, "pod not removed");
                self.agenda.enter(now + AGAIN, Due::Remove(key, uid));
            }
        }
    }

    /// Whether the matter is settled: written, or the pod is gone.
    async fn patch_pod(&self, key: &Key, status: &Value) -> bool {
        match self.writer.patch_status(PODS, key, status).await {
            Ok(_) => true,
            Err(error) => {
                tracing::debug!(pod = %key, %error, "pod status not written");
                absent(&error)
            }
        }
    }

    fn step(&mut self, key: &Key, stage: Stage) {
        if let Some(tracked) = self.tracked.get_mut(key) {
            tracked.stage = stage;
        }
    }

    fn node(&mut self, seen: &Seen<Node>, now: Duration) {
        let name = seen.object().key().name;
        match seen {
            Seen::Gone(_) => {
                self.nodes.remove(&name);
            }
            Seen::Put(_) => {
                if self.nodes.insert(name.clone()) && self.works(&name) {
                    self.sync_bound(&name, now);
                }
                // Somebody else has judged the node: the kubelet says what is true.
                let says = seen.object().ready();
                let known = self.owned.get(&name).filter(|owned| owned.registered);
                if known.is_some_and(|owned| owned.ready && !says) {
                    self.agenda.enter(now + AGAIN, Due::Correct(name));
                }
            }
        }
    }
}

impl Actor for Kubelet {
    fn observe(&mut self, change: Change, now: Duration) {
        match change {
            Change::Order(order) => self.order(order, now),
            Change::Pod(seen) => self.pod(&seen, now),
            Change::Node(seen) => self.node(&seen, now),
            _ => {}
        }
    }

    async fn act(&mut self, now: Duration) -> Option<Duration> {
        while let Some(due) = self.agenda.due(now) {
            self.do_due(due, now).await;
        }
        self.agenda.next()
    }
}
