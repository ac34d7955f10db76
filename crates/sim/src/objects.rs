//! What the actors read of Kubernetes' objects: only the fields that decide something here.

mod node;
mod pod;

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::{
    api::{
        apps::v1::{
            DaemonSet as KubeDaemonSet, Deployment as KubeDeployment, ReplicaSet as KubeReplicaSet,
            StatefulSet as KubeStatefulSet,
        },
        batch::v1::Job as KubeJob,
        core::v1::Event as KubeEvent,
        policy::v1::PodDisruptionBudget as KubeBudget,
    },
    apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference},
};
use kube::Resource;
use serde::Deserialize;
use serde_json::Value;

use crate::matching::{Labels, Selector};

pub(crate) use node::{Lease, Node};
pub(crate) use pod::{HostPort, Pod, PodSpec};

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
