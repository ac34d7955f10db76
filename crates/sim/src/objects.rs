//! What the actors read of Kubernetes' objects: only the fields that decide something here.

use std::{collections::BTreeMap, sync::Arc};

use jiff::Timestamp;
use k8s_openapi::{
    api::{
        apps::v1::{
            DaemonSet as KubeDaemonSet, Deployment as KubeDeployment, ReplicaSet as KubeReplicaSet,
            StatefulSet as KubeStatefulSet,
        },
        batch::v1::Job as KubeJob,
        coordination::v1::Lease as KubeLease,
        core::v1::{Event as KubeEvent, Node as KubeNode, Pod as KubePod},
        policy::v1::PodDisruptionBudget as KubeBudget,
    },
    apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference},
};
use kube::Resource;
use model::{NodeShape, SchedulingClass};
use serde::{Deserialize, Deserializer, Serialize, de::Error as _};
use serde_json::Value;

use crate::{
    amounts::{self, Amounts},
    matching::{Labels, NodeSelector, Selector, Taint, Toleration},
};

/// Namespace (empty for cluster-scoped objects) and name.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key {
    pub(crate) namespace: String,
    pub(crate) name: String,
}

impl Key {
    pub(crate) fn new(namespace: &str, name: &str) -> Self {
        Self {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        }
    }
}

impl std::fmt::Display for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// What every object has.
pub(crate) trait Object {
    fn metadata(&self) -> &ObjectMeta;

    fn key(&self) -> Key {
        Key {
            namespace: self.metadata().namespace.clone().unwrap_or_default(),
            name: self.metadata().name.clone().unwrap_or_default(),
        }
    }

    fn uid(&self) -> &str {
        self.metadata().uid.as_deref().unwrap_or_default()
    }

    fn labels(&self) -> &Labels {
        const NONE: &Labels = &Labels::new();
        self.metadata().labels.as_ref().unwrap_or(NONE)
    }

    fn annotation(&self, key: &str) -> Option<&str> {
        self.metadata()
            .annotations
            .as_ref()
            .and_then(|annotations| annotations.get(key))
            .map(String::as_str)
    }

    fn deleting(&self) -> bool {
        self.metadata().deletion_timestamp.is_some()
    }

    fn created(&self) -> Timestamp {
        self.metadata()
            .creation_timestamp
            .as_ref()
            .map_or(Timestamp::UNIX_EPOCH, |time| time.0)
    }

    fn generation(&self) -> i64 {
        self.metadata().generation.unwrap_or_default()
    }

    fn resource_version(&self) -> &str {
        self.metadata()
            .resource_version
            .as_deref()
            .unwrap_or_default()
    }

    /// The owner that controls the object.
    fn controller(&self) -> Option<&OwnerReference> {
        self.metadata()
            .owner_references
            .iter()
            .flatten()
            .find(|owner| owner.controller == Some(true))
    }
}

macro_rules! object {
    ($($kind:ident),*) => {$(
        impl Object for $kind {
            fn metadata(&self) -> &ObjectMeta {
                &self.metadata
            }
        }
    )*};
}
object!(
    Pod,
    Node,
    Deployment,
    ReplicaSet,
    DaemonSet,
    StatefulSet,
    Job,
    Budget,
    Lease,
    Note
);

impl Object for intake::NamespaceView {
    fn metadata(&self) -> &ObjectMeta {
        &self.metadata
    }
}

impl Object for api::NodeGroup {
    fn metadata(&self) -> &ObjectMeta {
        &self.metadata
    }
}

impl Object for api::VPSieNode {
    fn metadata(&self) -> &ObjectMeta {
        &self.metadata
    }
}

/// A condition of any object.
#[derive(Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Condition {
    #[serde(rename = "type")]
    pub(crate) kind: String,
    pub(crate) status: String,
    pub(crate) reason: Option<String>,
    pub(crate) message: Option<String>,
    pub(crate) last_transition_time: Option<String>,
}

pub(crate) fn condition<'a>(conditions: &'a [Condition], kind: &str) -> Option<&'a Condition> {
    conditions.iter().find(|condition| condition.kind == kind)
}

// === Pods ===

#[derive(Resource, Clone, Debug)]
#[resource(inherit = KubePod)]
pub(crate) struct Pod {
    pub(crate) metadata: ObjectMeta,
    pub(crate) spec: PodSpec,
    pub(crate) status: PodStatus,
    /// What `checker` judges it by; `None` where that cannot be read.
    pub(crate) class: Option<Arc<SchedulingClass>>,
}

impl<'de> Deserialize<'de> for Pod {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        struct Plain {
            metadata: ObjectMeta,
            #[serde(default)]
            spec: PodSpec,
            #[serde(default)]
            status: PodStatus,
        }
        let object = Value::deserialize(deserializer)?;
        let plain = Plain::deserialize(&object).map_err(D::Error::custom)?;
        Ok(Self {
            metadata: plain.metadata,
            spec: plain.spec,
            status: plain.status,
            class: class_of(&object),
        })
    }
}

/// Nothing here provides volumes, so no pod waits for one.
fn class_of(pod: &Value) -> Option<Arc<SchedulingClass>> {
    let mut class = intake::PodView::deserialize(pod).ok()?.class();
    class.claims.clear();
    class.disks.clear();
    Some(Arc::new(class))
}

#[derive(Deserialize, Clone, Debug, Default)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct PodSpec {
    pub(crate) node_name: Option<String>,
    pub(crate) node_selector: Labels,
    affinity: Option<Affinity>,
    pub(crate) tolerations: Vec<Toleration>,
    pub(crate) containers: Vec<Container>,
    init_containers: Vec<Container>,
    overhead: BTreeMap<String, Value>,
    resources: Option<Requirements>,
    pub(crate) priority: Option<i64>,
    pub(crate) scheduler_name: Option<String>,
    pub(crate) scheduling_gates: Vec<Value>,
    pub(crate) restart_policy: Option<String>,
    pub(crate) host_network: bool,
}

#[derive(Deserialize, Clone, Debug, Default)]
#[serde(rename_all = "camelCase", default)]
struct Affinity {
    node_affinity: Option<NodeAffinity>,
}

#[derive(Deserialize, Clone, Debug, Default)]
#[serde(rename_all = "camelCase", default)]
struct NodeAffinity {
    #[serde(rename = "requiredDuringSchedulingIgnoredDuringExecution")]
    required: Option<NodeSelector>,
}

#[derive(Deserialize, Clone, Debug, Default)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Container {
    pub(crate) name: String,
    pub(crate) image: String,
    resources: Option<Requirements>,
    restart_policy: Option<String>,
    ports: Vec<Port>,
}

impl Container {
    /// An init container that goes on running beside the others.
    fn is_sidecar(&self) -> bool {
        self.restart_policy.as_deref() == Some("Always")
    }
}

#[derive(Deserialize, Clone, Debug, Default)]
#[serde(default)]
struct Requirements {
    requests: BTreeMap<String, Value>,
}

#[derive(Deserialize, Clone, Debug, Default)]
#[serde(rename_all = "camelCase", default)]
struct Port {
    #[serde(rename = "hostPort")]
    of_host: Option<i64>,
    protocol: Option<String>,
    #[serde(rename = "hostIP")]
    host_ip: Option<String>,
}

/// A port that a pod takes of its node.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(crate) struct HostPort {
    pub(crate) number: i64,
    pub(crate) protocol: String,
    /// `None` is every address.
    pub(crate) address: Option<String>,
}

impl HostPort {
    pub(crate) fn clashes(&self, other: &Self) -> bool {
        (self.number, &self.protocol) == (other.number, &other.protocol)
            && (self.address.is_none() || other.address.is_none() || self.address == other.address)
    }
}

#[derive(Deserialize, Clone, Debug, Default)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct PodStatus {
    pub(crate) phase: Option<String>,
    pub(crate) conditions: Vec<Condition>,
}

impl PodSpec {
    /// The node selector of the required node affinity.
    pub(crate) fn required_nodes(&self) -> Option<&NodeSelector> {
        self.affinity
            .as_ref()
            .and_then(|affinity| affinity.node_affinity.as_ref())
            .and_then(|affinity| affinity.required.as_ref())
    }

    /// What the pod reserves on its node, one piece of `pods` included: the larger of what the
    /// containers and sidecars need together and what any init container needs beside the
    /// sidecars started before it, plus the overhead. Pod-level requests stand above those of the
    /// containers.
    pub(crate) fn requests(&self) -> Result<Amounts, String> {
        let of = |container: &Container| {
            container
                .resources
                .as_ref()
                .map_or_else(|| Ok(Amounts::new()), |r| amounts::read(&r.requests))
        };
        let (mut sidecars, mut peak) = (Amounts::new(), Amounts::new());
        for container in &self.init_containers {
            let mut need = of(container)?;
            amounts::add(&mut need, &sidecars);
            if container.is_sidecar() {
                sidecars.clone_from(&need);
            }
            amounts::raise(&mut peak, &need);
        }
        let mut total = sidecars;
        for container in &self.containers {
            amounts::add(&mut total, &of(container)?);
        }
        amounts::raise(&mut total, &peak);
        if let Some(pod_level) = &self.resources {
            total.extend(amounts::read(&pod_level.requests)?);
        }
        amounts::add(&mut total, &amounts::read(&self.overhead)?);
        total.insert("pods".to_owned(), 1000);
        total.retain(|_, amount| *amount != 0);
        Ok(total)
    }

    /// The ports that the containers and sidecars take of the node.
    pub(crate) fn host_ports(&self) -> Vec<HostPort> {
        let sidecars = self.init_containers.iter().filter(|c| c.is_sidecar());
        let containers = self.containers.iter().chain(sidecars);
        let mut taken: Vec<_> = containers
            .flat_map(|container| &container.ports)
            .filter_map(|port| {
                let address = port.host_ip.clone();
                Some(HostPort {
                    number: port.of_host.filter(|number| *number > 0)?,
                    protocol: port.protocol.clone().unwrap_or_else(|| "TCP".to_owned()),
                    address: address.filter(|ip| !ip.is_empty() && ip != "0.0.0.0"),
                })
            })
            .collect();
        taken.sort();
        taken.dedup();
        taken
    }
}

impl Pod {
    pub(crate) fn phase(&self) -> &str {
        self.status.phase.as_deref().unwrap_or("Pending")
    }

    pub(crate) fn finished(&self) -> bool {
        matches!(self.phase(), "Succeeded" | "Failed")
    }

    pub(crate) fn ready(&self) -> bool {
        condition(&self.status.conditions, "Ready").is_some_and(|ready| ready.status == "True")
    }

    pub(crate) fn node(&self) -> Option<&str> {
        self.spec
            .node_name
            .as_deref()
            .filter(|name| !name.is_empty())
    }
}

// === Nodes ===

#[derive(Resource, Clone, Debug)]
#[resource(inherit = KubeNode)]
pub(crate) struct Node {
    pub(crate) metadata: ObjectMeta,
    pub(crate) spec: NodeSpec,
    pub(crate) status: NodeStatus,
    /// What `checker` judges it by; `None` where that cannot be read.
    pub(crate) shape: Option<Arc<NodeShape>>,
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        struct Plain {
            metadata: ObjectMeta,
            #[serde(default)]
            spec: NodeSpec,
            #[serde(default)]
            status: NodeStatus,
        }
        let object = Value::deserialize(deserializer)?;
        let plain = Plain::deserialize(&object).map_err(D::Error::custom)?;
        let view = intake::NodeView::deserialize(&object).ok();
        Ok(Self {
            metadata: plain.metadata,
            spec: plain.spec,
            status: plain.status,
            shape: view.map(|view| view.node().shape),
        })
    }
}

#[derive(Deserialize, Clone, Debug, Default)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct NodeSpec {
    pub(crate) taints: Vec<Taint>,
    pub(crate) unschedulable: bool,
}

#[derive(Deserialize, Clone, Debug, Default)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct NodeStatus {
    pub(crate) allocatable: BTreeMap<String, Value>,
    pub(crate) conditions: Vec<Condition>,
}

impl Node {
    pub(crate) fn ready(&self) -> bool {
        self.ready_status() == Some("True")
    }

    pub(crate) fn ready_status(&self) -> Option<&str> {
        condition(&self.status.conditions, "Ready").map(|ready| ready.status.as_str())
    }
}

#[derive(Resource, Deserialize, Clone, Debug)]
#[resource(inherit = KubeLease)]
pub(crate) struct Lease {
    pub(crate) metadata: ObjectMeta,
    #[serde(default)]
    pub(crate) spec: LeaseSpec,
}

#[derive(Deserialize, Clone, Debug, Default)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct LeaseSpec {
    pub(crate) renew_time: Option<String>,
}

// === Workloads ===

#[derive(Resource, Deserialize, Clone, Debug)]
#[resource(inherit = KubeDeployment)]
pub(crate) struct Deployment {
    pub(crate) metadata: ObjectMeta,
    #[serde(default)]
    pub(crate) spec: WorkloadSpec,
    #[serde(default)]
    pub(crate) status: WorkloadStatus,
}

#[derive(Resource, Deserialize, Clone, Debug)]
#[resource(inherit = KubeReplicaSet)]
pub(crate) struct ReplicaSet {
    pub(crate) metadata: ObjectMeta,
    #[serde(default)]
    pub(crate) spec: WorkloadSpec,
    #[serde(default)]
    pub(crate) status: WorkloadStatus,
}

#[derive(Resource, Deserialize, Clone, Debug)]
#[resource(inherit = KubeStatefulSet)]
pub(crate) struct StatefulSet {
    pub(crate) metadata: ObjectMeta,
    #[serde(default)]
    pub(crate) spec: WorkloadSpec,
    #[serde(default)]
    pub(crate) status: WorkloadStatus,
}

#[derive(Resource, Deserialize, Clone, Debug)]
#[resource(inherit = KubeDaemonSet)]
pub(crate) struct DaemonSet {
    pub(crate) metadata: ObjectMeta,
    #[serde(default)]
    pub(crate) spec: WorkloadSpec,
    #[serde(default)]
    pub(crate) status: Value,
}

#[derive(Resource, Deserialize, Clone, Debug)]
#[resource(inherit = KubeJob)]
pub(crate) struct Job {
    pub(crate) metadata: ObjectMeta,
    #[serde(default)]
    pub(crate) spec: JobSpec,
    #[serde(default)]
    pub(crate) status: JobStatus,
}

/// What Deployments, ReplicaSets, StatefulSets and DaemonSets have in common.
#[derive(Deserialize, Clone, Debug, Default)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct WorkloadSpec {
    pub(crate) replicas: Option<i64>,
    pub(crate) paused: bool,
    pub(crate) selector: Selector,
    pub(crate) template: Value,
    pub(crate) pod_management_policy: Option<String>,
    pub(crate) strategy: Option<Strategy>,
}

#[derive(Deserialize, Clone, Debug, Default)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Strategy {
    #[serde(rename = "type")]
    pub(crate) kind: Option<String>,
}

#[derive(Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct WorkloadStatus {
    pub(crate) observed_generation: i64,
    pub(crate) replicas: i64,
    pub(crate) ready_replicas: i64,
    pub(crate) available_replicas: i64,
    pub(crate) updated_replicas: i64,
    pub(crate) conditions: Vec<Condition>,
}

#[derive(Deserialize, Clone, Debug, Default)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct JobSpec {
    pub(crate) parallelism: Option<i64>,
    pub(crate) completions: Option<i64>,
    pub(crate) suspend: bool,
    pub(crate) template: Value,
}

#[derive(Deserialize, Clone, Debug, Default)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct JobStatus {
    pub(crate) start_time: Option<String>,
    pub(crate) completion_time: Option<String>,
    pub(crate) active: i64,
    pub(crate) succeeded: i64,
    pub(crate) failed: i64,
    pub(crate) ready: i64,
}

// === Budgets and events ===

#[derive(Resource, Deserialize, Clone, Debug)]
#[resource(inherit = KubeBudget)]
pub(crate) struct Budget {
    pub(crate) metadata: ObjectMeta,
    #[serde(default)]
    pub(crate) spec: BudgetSpec,
    #[serde(default)]
    pub(crate) status: BudgetStatus,
}

#[derive(Deserialize, Clone, Debug, Default)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct BudgetSpec {
    /// A null selector matches nothing, an empty one everything.
    pub(crate) selector: Option<Selector>,
    pub(crate) min_available: Option<Value>,
    pub(crate) max_unavailable: Option<Value>,
}

#[derive(Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct BudgetStatus {
    pub(crate) observed_generation: i64,
    pub(crate) expected_pods: i64,
    pub(crate) current_healthy: i64,
    pub(crate) desired_healthy: i64,
    pub(crate) disruptions_allowed: i64,
    pub(crate) disrupted_pods: BTreeMap<String, String>,
}

/// A Kubernetes Event.
#[derive(Resource, Deserialize, Clone, Debug)]
#[resource(inherit = KubeEvent)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Note {
    pub(crate) metadata: ObjectMeta,
    #[serde(default)]
    pub(crate) reason: Option<String>,
    #[serde(default)]
    pub(crate) message: Option<String>,
    #[serde(default, rename = "type")]
    pub(crate) level: Option<String>,
    #[serde(default)]
    pub(crate) involved_object: Involved,
    #[serde(default)]
    pub(crate) count: Option<i64>,
    #[serde(default)]
    pub(crate) reporting_component: Option<String>,
    #[serde(default)]
    pub(crate) source: Option<Source>,
}

#[derive(Deserialize, Clone, Debug, Default)]
#[serde(default)]
pub(crate) struct Source {
    pub(crate) component: Option<String>,
}

#[derive(Deserialize, Clone, Debug, Default)]
#[serde(default)]
pub(crate) struct Involved {
    pub(crate) kind: Option<String>,
    pub(crate) namespace: Option<String>,
    pub(crate) name: Option<String>,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_sidecar_counts_beside_the_containers_and_beside_later_init_containers() {
        let spec: PodSpec = serde_json::from_value(json!({
            "initContainers": [
                {"name": "sidecar", "restartPolicy": "Always", "resources": {"requests": {"cpu": "100m"}}},
                {"name": "init", "resources": {"requests": {"cpu": "1"}}}],
            "containers": [{"name": "main", "resources": {"requests": {"cpu": "500m"}}}],
            "overhead": {"cpu": "50m"},
        }))
        .unwrap();
        let requests = spec.requests().unwrap();
        assert_eq!(requests.get("cpu"), Some(&1150));
        assert_eq!(requests.get("pods"), Some(&1000));
    }

    #[test]
    fn a_request_that_cannot_be_read_is_named() {
        let spec: PodSpec = serde_json::from_value(
            json!({"containers": [{"name": "main", "resources": {"requests": {"cpu": "lots"}}}]}),
        )
        .unwrap();
        assert_eq!(spec.requests(), Err("cpu".to_owned()));
    }
}
