//! Two nodes to try removals on: `busy`, which is in use, and `spare`, which the story is about. What
//! a story does is said as values, so that a table of stories stays a table.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use kube::api::{Api, Patch, PatchParams};
use serde_json::{Value, json};
use sim::{View, WorldConfig};
use vpsie_autoscaler::Replica;
use vpsie_sim::{Fault, Route, Rule};

use crate::harness::{Harness, Tripwire, settled};

pub const OURS: &str = "autoscaler.vpsie.com/v1alpha1";

/// Something that people do. In objects, `@spare` and `@busy` stand for the names of the nodes.
#[derive(Clone, Debug)]
pub enum Act {
    /// Applies an object.
    Apply(Value),
    /// Puts an object there as it is.
    Insert(Value),
    /// Deletes an object: API version, kind, namespace, name.
    Delete(&'static str, &'static str, &'static str, &'static str),
    /// Applies group `general` with these fields in its spec and these annotations.
    Group(Value, Value),
    /// Applies group `general` without the label that makes it ours.
    Unmanage,
    /// Scales a Deployment of namespace `default`.
    Scale(&'static str, u32),
    /// Cordons a node, or uncordons it.
    Cordon(&'static str, bool),
    /// Writes metadata of a Node: everything that was written so before is taken away.
    Mark(&'static str, Value),
    /// Writes annotations on all pods whose `namespace/name` begins so.
    Annotate(&'static str, Value),
    /// The status of a Node is this as far as it goes, whatever any rule says of it.
    NodeStatus(&'static str, Value),
    /// Changes the status of all pods whose `namespace/name` begins so.
    PodStatus(&'static str, Value),
    /// The kubelet of the node falls silent.
    Silence(&'static str),
    /// No machine that is bought from now on ever joins.
    NeverJoin,
    /// So many minutes pass.
    Wait(u64),
}

/// The world, the product in it, and the names of the nodes.
pub struct Ground {
    pub harness: Harness,
    pub replica: Replica,
    pub busy: String,
    pub spare: String,
    /// Further nodes without any pod.
    pub others: Vec<String>,
    change: Value,
}

pub struct Plan<'a> {
    pub seed: u64,
    pub nodes: u32,
    pub flags: &'a [&'a str],
    pub group: Value,
    pub world: WorldConfig,
    /// Before the product starts.
    pub before: fn(&Harness),
    /// What stops the first replica.
    pub tripwire: Arc<Tripwire>,
}

impl Plan<'_> {
    pub fn of(seed: u64) -> Self {
        Self {
            seed,
            nodes: 2,
            flags: &[],
            group: json!({}),
            world: WorldConfig::default(),
            before: |_| (),
            tripwire: Arc::default(),
        }
    }

    /// Pods take this long to end.
    pub fn slow(mut self, seconds: u64) -> Self {
        let millis = seconds * 1000;
        self.world.kubelet.terminate = sim::Range::millis(millis, millis);
        self
    }
}

impl Ground {
    pub async fn new(seed: u64) -> Self {
        Self::with(Plan::of(seed)).await
    }

    /// As many nodes as the group keeps; on `busy` a pod of Deployment `filler` that uses more than
    /// half of it.
    pub async fn with(plan: Plan<'_>) -> Self {
        let harness = Harness::with(plan.seed, plan.world, plan.flags).await;
        harness
            .group("general", plan.nodes, 6, plan.group.clone())
            .await;
        (plan.before)(&harness);
        let replica = harness.start_with(&plan.tripwire);
        let count = usize::try_from(plan.nodes).unwrap();
        harness.wait(20, "the minimum", settled(count)).await;
        let view = harness.world.view();
        let mut nodes: Vec<String> = view
            .vpsie_nodes
            .values()
            .filter_map(|row| row.node.clone())
            .collect();
        nodes.sort();
        let mut nodes = nodes.into_iter();
        let ground = Self {
            busy: nodes.next().unwrap(),
            spare: nodes.next().unwrap(),
            others: nodes.collect(),
            harness,
            replica,
            change: plan.group,
        };
        let busy = ground.busy.clone();
        ground
            .on(
                &busy,
                &[Act::Apply(deployment("default", "filler", 1, "1000m"))],
            )
            .await;
        ground
    }

    /// The same ground, with another replica.
    pub fn again(harness: Harness, replica: Replica, busy: String, spare: String) -> Self {
        Self {
            replica,
            harness,
            busy,
            spare,
            others: vec![],
            change: json!({}),
        }
    }

    /// The acts, while no other node takes pods, until no pod waits any more.
    pub async fn on(&self, node: &str, acts: &[Act]) {
        let world = &self.harness.world;
        let nodes: Vec<String> = world
            .view()
            .vpsie_nodes
            .values()
            .filter_map(|row| row.node.clone())
            .filter(|name| name != node)
            .collect();
        for other in &nodes {
            world.cordon(other, true).await.unwrap();
        }
        self.act(acts).await;
        // Controllers have made their pods by then.
        self.harness.clock.sleep(Duration::from_secs(2)).await;
        self.harness
            .wait(10, "pods are where they should be", |view| {
                view.counts().pending == 0
            })
            .await;
        for other in &nodes {
            world.cordon(other, false).await.unwrap();
        }
    }

    /// The acts, with their pods on `spare`.
    pub async fn on_spare(&self, acts: &[Act]) {
        let spare = self.spare.clone();
        self.on(&spare, acts).await;
    }

    fn named(&self, object: &Value) -> Value {
        let text = object.to_string();
        let text = text
            .replace("@spare", &self.spare)
            .replace("@busy", &self.busy);
        serde_json::from_str(&text).unwrap()
    }

    fn node(&self, name: &str) -> String {
        match name {
            "@spare" => self.spare.clone(),
            "@busy" => self.busy.clone(),
            other => other.to_owned(),
        }
    }

    pub async fn act(&self, acts: &[Act]) {
        for act in acts {
            self.take(act).await;
        }
    }

    async fn take(&self, act: &Act) {
        let world = &self.harness.world;
        match act {
            Act::Apply(object) => world.apply(&self.named(object)).await.unwrap(),
            Act::Insert(object) => world.kube.insert(self.named(object)).unwrap(),
            Act::Delete(version, kind, namespace, name) => {
                world.delete(version, kind, namespace, name).await.unwrap();
            }
            Act::Group(change, annotations) => self.group(1, change, annotations).await,
            Act::Unmanage => {
                let group = self.described(1, &json!({}), &json!({}), "false");
                world.apply(&group).await.unwrap();
            }
            Act::Scale(name, replicas) => {
                world.scale("default", name, *replicas).await.unwrap();
            }
            Act::Cordon(node, cordoned) => {
                world.cordon(&self.node(node), *cordoned).await.unwrap();
            }
            Act::Mark(node, metadata) => {
                let mut object = json!({"apiVersion": "v1", "kind": "Node",
                    "metadata": metadata});
                object["metadata"]["name"] = json!(self.node(node));
                world.apply(&object).await.unwrap();
            }
            Act::Annotate(prefix, annotations) => {
                for (namespace, name) in self.pods(prefix) {
                    let object = json!({"apiVersion": "v1", "kind": "Pod", "metadata":
                        {"namespace": namespace, "name": name, "annotations": annotations}});
                    world.apply(&object).await.unwrap();
                }
            }
            Act::NodeStatus(node, status) => {
                let mut object = world.kube.get("v1", "Node", "", &self.node(node)).unwrap();
                for (field, value) in status.as_object().into_iter().flatten() {
                    object["status"][field] = value.clone();
                }
                world.kube.insert(object).unwrap();
            }
            Act::PodStatus(prefix, status) => {
                for (namespace, name) in self.pods(prefix) {
                    let pods: Api<k8s_openapi::api::core::v1::Pod> =
                        Api::namespaced(world.client(sim::PEOPLE), &namespace);
                    let patch = Patch::Strategic(json!({ "status": status }));
                    pods.patch_status(&name, &PatchParams::default(), &patch)
                        .await
                        .unwrap();
                }
            }
            Act::Silence(node) => world.silence(&self.node(node)),
            Act::NeverJoin => {
                let rule = Rule::on(Route::AddWorker, Fault::NeverJoins).always();
                world.cloud.faults().add(rule);
            }
            Act::Wait(minutes) => self.harness.minutes(*minutes).await,
        }
    }

    fn pods(&self, prefix: &str) -> Vec<(String, String)> {
        let view = self.harness.world.view();
        let keys = view.pods.keys().filter(|key| key.starts_with(prefix));
        keys.map(|key| {
            let (namespace, name) = key.split_once('/').unwrap();
            (namespace.to_owned(), name.to_owned())
        })
        .collect()
    }

    /// Applies group `general`.
    pub async fn group(&self, min: u32, change: &Value, annotations: &Value) {
        let group = self.described(min, change, annotations, "true");
        self.harness.world.apply(&group).await.unwrap();
    }

    fn described(&self, min: u32, change: &Value, annotations: &Value, managed: &str) -> Value {
        let harness = &self.harness;
        let mut spec = json!({
            "minNodes": min, "maxNodes": 6,
            "datacenterID": harness.datacenter(), "offeringIDs": [harness.size(0)],
            "labels": { "pool": "general" },
            "scaleDownPolicy": { "stabilizationWindowSeconds": 60, "cooldownSeconds": 30 },
        });
        for change in [&self.change, change] {
            for (field, value) in change.as_object().into_iter().flatten() {
                spec[field] = value.clone();
            }
        }
        json!({"apiVersion": OURS, "kind": "NodeGroup", "metadata": {
                "name": "general", "namespace": "kube-system", "annotations": annotations,
                "labels": { "autoscaler.vpsie.com/managed": managed },
            }, "spec": spec})
    }

    /// From now on the group wants one node fewer, or more of them, than it has.
    pub async fn release(&self, min: u32) {
        self.group(min, &json!({}), &json!({})).await;
    }

    /// The step of the removal of `spare`, where one is under way.
    pub fn step(&self) -> Option<String> {
        let view = self.harness.world.view();
        let (key, _) = view
            .vpsie_nodes
            .iter()
            .find(|(_, row)| row.node.as_deref() == Some(&self.spare))?;
        let (namespace, name) = key.split_once('/')?;
        let object = self
            .harness
            .world
            .kube
            .get(OURS, "VPSieNode", namespace, name)?;
        Some(object["status"]["removal"]["step"].as_str()?.to_owned())
    }

    /// Waits for a moment, looking ten times a second.
    pub async fn until(&self, minutes: u64, what: &str, holds: impl Fn(&Self) -> bool) {
        let end = self.harness.clock.monotonic() + Duration::from_secs(minutes * 60);
        while !holds(self) {
            let now = self.harness.clock.monotonic();
            let picture = || self.harness.picture();
            assert!(
                now < end,
                "{what}: not within {minutes} minutes\n{}",
                picture()
            );
            self.harness.clock.sleep(Duration::from_millis(100)).await;
        }
    }

    /// What the product did that ends something: evictions, deletions of Nodes, deletions of machines.
    pub fn destructive(&self) -> usize {
        let records = self.harness.world.kube.journal().records();
        let writes = records.iter().filter(|record| {
            record.actor == "vpsie-autoscaler"
                && record.code < 300
                && (record.subresource == "eviction"
                    || record.verb == "delete" && record.resource == "nodes")
        });
        let requests = self.harness.world.cloud.journal();
        let deletes = requests
            .iter()
            .filter(|request| request.route == Route::DeleteWorker);
        writes.count() + deletes.count()
    }

    /// Names of pods that the product evicted.
    pub fn evicted(&self) -> Vec<String> {
        let records = self.harness.world.kube.journal().records();
        records
            .into_iter()
            .filter(|record| {
                record.actor == "vpsie-autoscaler"
                    && record.subresource == "eviction"
                    && record.code < 300
            })
            .map(|record| format!("{}/{}", record.namespace, record.name))
            .collect()
    }

    /// Whether the node is there, Ready and takes pods.
    pub fn serves(&self, node: &str) -> bool {
        let view = self.harness.world.view();
        let row = view.nodes.get(node);
        row.is_some_and(|row| row.ready && !row.unschedulable)
    }

    /// The metric of nodes that are kept for this reason.
    pub fn kept_for(&self, reason: &str) -> bool {
        let figure = format!(
            "vpsie_autoscaler_scale_down_blocked_nodes{{nodegroup=\"general\",\
             namespace=\"kube-system\",reason=\"{reason}\"}} "
        );
        let metrics = self.replica.metrics();
        let mut lines = metrics.lines();
        lines.any(|line| line.strip_prefix(&figure).is_some_and(|count| count != "0"))
    }

    /// Whether an Event said that `spare` stays for this reason.
    pub fn said_to_stay_for(&self, reason: &str) -> bool {
        let (stays, named) = (format!("node {} stays:", self.spare), format!(" {reason}:"));
        self.harness.world.view().decisions.iter().any(|decision| {
            decision.reason == "ScaleDownBlocked"
                && decision.message.contains(&stays)
                && decision.message.contains(&named)
        })
    }

    /// Waits until `spare` and its machine are gone and everything that should run does.
    pub async fn goes(&self, minutes: u64) {
        let gone = |view: &View| {
            let mut records = view.vpsie_nodes.values();
            !view.nodes.contains_key(&self.spare)
                && records.all(|row| row.node.as_ref() != Some(&self.spare))
                && view.counts().pending == 0
        };
        self.harness.wait(minutes, "the node goes", gone).await;
    }

    /// Why the last removal was taken back.
    pub fn aborted(&self) -> Option<String> {
        let view = self.harness.world.view();
        let mut told = view.decisions.iter();
        told.find(|decision| decision.reason == "ScaleDownAborted")
            .map(|decision| decision.message.clone())
    }

    /// Pods of this prefix on this node that are not on their way out.
    pub fn pods_on(&self, node: &str, prefix: &str) -> usize {
        let view = self.harness.world.view();
        let pods = view.pods.iter().filter(|(key, pod)| {
            key.starts_with(prefix) && !pod.deleting && pod.node.as_deref() == Some(node)
        });
        pods.count()
    }
}

/// A Deployment whose pods ask for `cpu` each.
pub fn deployment(namespace: &str, name: &str, replicas: u32, cpu: &str) -> Value {
    workload("Deployment", namespace, name, replicas, cpu)
}

/// A workload whose pods ask for `cpu` each.
pub fn workload(kind: &str, namespace: &str, name: &str, replicas: u32, cpu: &str) -> Value {
    let (version, mut spec) = match kind {
        "Job" => (
            "batch/v1",
            json!({"completions": replicas, "parallelism": replicas}),
        ),
        _ => (
            "apps/v1",
            json!({"replicas": replicas, "selector": {"matchLabels": {"app": name}}}),
        ),
    };
    spec["template"] = json!({"metadata": {"labels": {"app": name}}, "spec": pod_spec(cpu)});
    if kind == "Job" {
        spec["template"]["spec"]["restartPolicy"] = json!("Never");
    }
    if kind == "StatefulSet" {
        spec["serviceName"] = json!(name);
    }
    json!({"apiVersion": version, "kind": kind,
        "metadata": {"name": name, "namespace": namespace}, "spec": spec})
}

/// A workload with this merged into the spec of its pods.
pub fn with_spec(mut workload: Value, change: &Value) -> Value {
    for (field, value) in change.as_object().into_iter().flatten() {
        workload["spec"]["template"]["spec"][field] = value.clone();
    }
    workload
}

/// A workload whose pods have these annotations.
pub fn annotated(mut workload: Value, annotations: &[(&str, &str)]) -> Value {
    let annotations: BTreeMap<&str, &str> = annotations.iter().copied().collect();
    workload["spec"]["template"]["metadata"]["annotations"] = json!(annotations);
    workload
}

fn pod_spec(cpu: &str) -> Value {
    json!({"containers": [{"name": "main", "image": "registry.example/app:1",
        "resources": {"requests": {"cpu": cpu, "memory": "64Mi"}}}]})
}

/// A pod that nobody made.
pub fn pod(name: &str, cpu: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Pod", "spec": pod_spec(cpu),
        "metadata": {"name": name, "namespace": "default", "labels": {"app": name}}})
}

/// A pod that runs on `spare`, with this merged into its metadata and its spec.
pub fn running(name: &str, metadata: &Value, spec: &Value) -> Value {
    let mut pod = pod(name, "100m");
    for (part, change) in [("metadata", metadata), ("spec", spec)] {
        for (field, value) in change.as_object().into_iter().flatten() {
            pod[part][field] = value.clone();
        }
    }
    pod["spec"]["nodeName"] = json!("@spare");
    pod["status"] = json!({"phase": "Running", "conditions": [
        {"type": "PodScheduled", "status": "True"}, {"type": "Ready", "status": "True"}]});
    pod
}

/// A budget over the pods of `app`.
pub fn budget(namespace: &str, name: &str, app: &str, limit: &Value) -> Value {
    let mut budget = json!({"apiVersion": "policy/v1", "kind": "PodDisruptionBudget",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"selector": {"matchLabels": {"app": app}}}});
    for (field, value) in limit.as_object().into_iter().flatten() {
        budget["spec"][field] = value.clone();
    }
    budget
}

/// The AutoscalerConfig of the cluster, with these annotations.
pub fn config(annotations: &Value) -> Value {
    json!({"apiVersion": OURS, "kind": "AutoscalerConfig", "spec": {},
        "metadata": {"name": "default", "annotations": annotations}})
}
