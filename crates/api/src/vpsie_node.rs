//! `VPSieNode`: one machine, from the decision to buy it until it is proven gone.

use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

use crate::{Condition, node_group::VERSION_PATTERN};

/// What the machine is to be, and, as in the predecessor, which one it turned out to be.
#[derive(
    CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq,
)]
#[kube(
    group = "autoscaler.vpsie.com",
    version = "v1alpha1",
    kind = "VPSieNode",
    plural = "vpsienodes",
    singular = "vpsienode",
    namespaced,
    status = "VPSieNodeStatus",
    shortname = "vn",
    shortname = "vns",
    derive = "PartialEq",
    doc = "One machine of a NodeGroup; the record is written before the machine is bought.",
    printcolumn = r#"{"name":"VPS ID","type":"integer","jsonPath":".spec.vpsieInstanceID"}"#,
    printcolumn = r#"{"name":"Node","type":"string","jsonPath":".status.nodeName"}"#,
    printcolumn = r#"{"name":"Phase","type":"string","jsonPath":".status.phase"}"#,
    printcolumn = r#"{"name":"Instance Type","type":"string","jsonPath":".spec.instanceType"}"#,
    printcolumn = r#"{"name":"NodeGroup","type":"string","jsonPath":".spec.nodeGroupName"}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#
)]
#[serde(rename_all = "camelCase")]
pub struct VPSieNodeSpec {
    /// The machine's number; 0 while unknown, and where the cloud tells none.
    #[serde(
        default,
        rename = "vpsieInstanceID",
        skip_serializing_if = "Option::is_none"
    )]
    #[schemars(extend("default" = 0))]
    pub vpsie_instance_id: Option<i64>,
    /// The offering.
    pub instance_type: String,
    /// The NodeGroup's name; its namespace is this object's.
    pub node_group_name: String,
    /// The datacenter.
    #[serde(rename = "datacenterID")]
    pub datacenter_id: String,
    /// The VPSie Kubernetes cluster (UUID).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resource_identifier: Option<String>,
    /// The VPSie project.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub project: Option<String>,
    /// The operating system image.
    #[serde(default, rename = "osImageID", skip_serializing_if = "Option::is_none")]
    pub os_image_id: Option<String>,
    /// The Kubernetes version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("pattern" = VERSION_PATTERN))]
    pub kubernetes_version: Option<String>,
    /// SSH keys.
    #[serde(default, rename = "sshKeyIDs", skip_serializing_if = "Option::is_none")]
    pub ssh_key_ids: Option<Vec<String>>,
    /// The Node's name, once known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node_name: Option<String>,
    /// The machine's address, once known.
    #[serde(default, rename = "ipAddress", skip_serializing_if = "Option::is_none")]
    pub ip_address: Option<String>,
    /// The machine's IPv6 address, once known.
    #[serde(
        default,
        rename = "ipv6Address",
        skip_serializing_if = "Option::is_none"
    )]
    pub ipv6_address: Option<String>,
    /// The number of the VPSie node group.
    #[serde(
        default,
        rename = "vpsieGroupID",
        skip_serializing_if = "Option::is_none"
    )]
    pub vpsie_group_id: Option<i64>,
    /// The machine's identity (UUID), once known. Whoever holds it owns the machine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vpsie_node_identifier: Option<String>,
}

/// What the machine consists of.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct NodeResources {
    /// Virtual CPUs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu: Option<i64>,
    /// Memory in MiB.
    #[serde(default, rename = "memoryMB", skip_serializing_if = "Option::is_none")]
    pub memory_mb: Option<i64>,
    /// Disk in GiB.
    #[serde(default, rename = "diskGB", skip_serializing_if = "Option::is_none")]
    pub disk_gb: Option<i64>,
    /// Traffic in GiB.
    #[serde(
        default,
        rename = "bandwidthGB",
        skip_serializing_if = "Option::is_none"
    )]
    pub bandwidth_gb: Option<i64>,
}

/// The write-ahead record of the request that buys the machine.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct CreationRecord {
    /// 1 for the first request.
    pub attempt: i32,
    /// `Intended`, `Accepted`, `Unknown` or `Rejected`.
    #[schemars(extend("enum" = ["Intended", "Accepted", "Unknown", "Rejected"]))]
    pub state: String,
    /// When it was sent, or may have been.
    #[schemars(extend("format" = "date-time"))]
    pub requested_at: String,
    /// The number of the VPSie node group it was sent to.
    #[serde(rename = "poolID")]
    pub pool_id: i64,
    /// Machines that existed before the first request: never this one.
    #[serde(default)]
    pub baseline: Vec<String>,
    /// The leader's term.
    #[serde(default)]
    pub epoch: i64,
    /// What the cloud said last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// How far the removal of the machine has come.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct RemovalRecord {
    /// `Empty`, `Underutilized`, `Unhealthy`, `Deleted` or `Failed`.
    #[schemars(extend("enum" = ["Empty", "Underutilized", "Unhealthy", "Deleted", "Failed"]))]
    pub cause: String,
    /// `Cordoning`, `Settling`, `Draining`, `Detaching`, `DeletingNode`, `DeletingMachine` or `Gone`.
    #[schemars(extend("enum" = ["Cordoning", "Settling", "Draining", "Detaching", "DeletingNode", "DeletingMachine", "Gone"]))]
    pub step: String,
    /// Since when.
    #[schemars(extend("format" = "date-time"))]
    pub started_at: String,
    /// When the step began, or its request was last sent.
    #[schemars(extend("format" = "date-time"))]
    pub step_at: String,
    /// Whether the step's request was sent.
    #[serde(default)]
    pub sent: bool,
    /// Since when the machine goes whatever is on it, by the order of whoever deleted the object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("format" = "date-time"))]
    pub forced_at: Option<String>,
    /// The leader's term.
    #[serde(default)]
    pub epoch: i64,
    /// What holds it up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// Where the machine stands.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct VPSieNodeStatus {
    /// `Pending`, `Provisioning`, `Provisioned`, `Joining`, `Ready`, `Terminating`, `Deleting` or
    /// `Failed`; empty before the first step.
    #[serde(default)]
    #[schemars(extend("enum" = ["", "Pending", "Provisioning", "Provisioned", "Joining", "Ready", "Terminating", "Deleting", "Failed"]))]
    pub phase: String,
    /// The Node's name, once joined.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node_name: Option<String>,
    /// The machine's state in the cloud's words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vpsie_status: Option<String>,
    /// The machine's host name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hostname: Option<String>,
    /// What the machine consists of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<NodeResources>,
    /// When it was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("format" = "date-time"))]
    pub created_at: Option<String>,
    /// When it ran.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("format" = "date-time"))]
    pub provisioned_at: Option<String>,
    /// When its Node appeared.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("format" = "date-time"))]
    pub joined_at: Option<String>,
    /// When its Node was Ready.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("format" = "date-time"))]
    pub ready_at: Option<String>,
    /// When its removal became final.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("format" = "date-time"))]
    pub terminating_at: Option<String>,
    /// When the deletion of the machine began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("format" = "date-time"))]
    pub deleted_at: Option<String>,
    /// When it was given up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("format" = "date-time"))]
    pub failed_at: Option<String>,
    /// Conditions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Option<Vec<Condition>>,
    /// What went wrong last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_error: Option<String>,
    /// The generation this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// The request that buys the machine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub creation: Option<CreationRecord>,
    /// Its removal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub removal: Option<RemovalRecord>,
    /// The start of the unbroken window in which nothing needed the node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("format" = "date-time"))]
    pub unneeded_since: Option<String>,
    /// Since when the Node of a machine in service is missing, not Ready, or not done starting.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("format" = "date-time"))]
    pub unhealthy_since: Option<String>,
}
