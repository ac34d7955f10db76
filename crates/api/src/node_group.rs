//! `NodeGroup`: a set of equal workers with bounds.

use std::collections::BTreeMap;

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    Condition, CostOptimization, MultiRegion, ScaleDownPolicy, ScaleUpPolicy, SpotConfig, Taint,
    labels::MANAGED,
};

/// How machines are made.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum ProvisioningMode {
    /// Workers are added to a VPSie Kubernetes cluster.
    Managed,
    /// Plain machines that join by user data.
    Vm,
}

/// The version pattern of the predecessor: semantic version with a leading `v`.
pub(crate) const VERSION_PATTERN: &str =
    r"^v[0-9]+\.[0-9]+\.[0-9]+(-[0-9A-Za-z.-]+)?(\+[0-9A-Za-z.-]+)?$";

/// What the group is to be.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[kube(
    group = "autoscaler.vpsie.com",
    version = "v1alpha1",
    kind = "NodeGroup",
    plural = "nodegroups",
    singular = "nodegroup",
    namespaced,
    status = "NodeGroupStatus",
    shortname = "ng",
    shortname = "ngs",
    derive = "PartialEq",
    doc = "A group of equal worker nodes with bounds, scaled by the VPSie autoscaler.",
    printcolumn = r#"{"name":"Min","type":"integer","jsonPath":".spec.minNodes"}"#,
    printcolumn = r#"{"name":"Max","type":"integer","jsonPath":".spec.maxNodes"}"#,
    printcolumn = r#"{"name":"Desired","type":"integer","jsonPath":".status.desiredNodes"}"#,
    printcolumn = r#"{"name":"Current","type":"integer","jsonPath":".status.currentNodes"}"#,
    printcolumn = r#"{"name":"Ready","type":"integer","jsonPath":".status.readyNodes"}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#,
    validation = Rule::new("!has(self.status) || !has(self.status.currentNodes) || self.status.currentNodes == 0 || self.spec.datacenterID == oldSelf.spec.datacenterID").message("spec.datacenterID is immutable while the group has nodes"),
    validation = Rule::new("!has(self.status) || !has(self.status.currentNodes) || self.status.currentNodes == 0 || !has(oldSelf.spec.resourceIdentifier) || (has(self.spec.resourceIdentifier) && self.spec.resourceIdentifier == oldSelf.spec.resourceIdentifier)").message("spec.resourceIdentifier is immutable while the group has nodes")
)]
#[serde(rename_all = "camelCase")]
// Rules name their field in the message: `fieldPath` and `reason` are refused by servers before 1.28.
#[x_kube(
    validation = Rule::new("self.minNodes <= self.maxNodes").message("minNodes must not be above maxNodes"),
    validation = Rule::new("!has(self.preferredInstanceType) || self.preferredInstanceType == '' || self.preferredInstanceType in self.offeringIDs").message("preferredInstanceType must be one of offeringIDs"),
    validation = Rule::new("!has(self.provisioningMode) || self.provisioningMode != 'vm' || (has(self.osImageID) && self.osImageID != '')").message("osImageID is required with provisioningMode vm")
)]
pub struct NodeGroupSpec {
    /// Fewest nodes.
    #[schemars(range(min = 0))]
    pub min_nodes: i32,
    /// Most nodes; machines that are on their way or may exist count.
    #[schemars(range(min = 1))]
    pub max_nodes: i32,
    /// The datacenter, by UUID or name.
    #[serde(rename = "datacenterID")]
    #[schemars(length(max = 253))]
    pub datacenter_id: String,
    /// Machine sizes the group may buy, by name or number.
    #[serde(rename = "offeringIDs")]
    #[schemars(length(min = 1, max = 64), inner(length(max = 253)))]
    #[x_kube(validation = Rule::new("self.all(one, self.exists_one(other, one == other))").message("offeringIDs must not repeat an offering"))]
    pub offering_ids: Vec<String>,
    /// The VPSie Kubernetes cluster (UUID). Where absent, the Secret's or the process's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub resource_identifier: Option<String>,
    /// The VPSie project.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub project: Option<String>,
    /// The operating system image (plain machines).
    #[serde(default, rename = "osImageID", skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub os_image_id: Option<String>,
    /// The Kubernetes version, with a leading `v`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("pattern" = VERSION_PATTERN))]
    pub kubernetes_version: Option<String>,
    /// The offering to prefer among equals, and the only one without mixed instances.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub preferred_instance_type: Option<String>,
    /// Whether one group may hold several offerings.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = true))]
    pub allow_mixed_instances: Option<bool>,
    /// Labels of the group's Nodes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub labels: Option<BTreeMap<String, String>>,
    /// Annotations of the group's Nodes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub annotations: Option<BTreeMap<String, String>>,
    /// Taints of the group's Nodes; repaired when changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 100))]
    pub taints: Option<Vec<Taint>>,
    /// Taints put on a Node once, when it joins; something else takes them away.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 100))]
    pub startup_taints: Option<Vec<Taint>>,
    /// When the group grows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scale_up_policy: Option<ScaleUpPolicy>,
    /// When the group shrinks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scale_down_policy: Option<ScaleDownPolicy>,
    /// SSH keys of the machines (plain machines).
    #[serde(default, rename = "sshKeyIDs", skip_serializing_if = "Option::is_none")]
    pub ssh_key_ids: Option<Vec<String>>,
    /// Tags of the machines (plain machines).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tags: Option<Vec<String>>,
    /// Notes on the machines (plain machines).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub notes: Option<String>,
    /// The number of the machine size, for groups of one offering that the catalogue knows by
    /// number only.
    #[serde(
        default,
        rename = "kubeSizeID",
        skip_serializing_if = "Option::is_none"
    )]
    #[schemars(range(min = 1))]
    pub kube_size_id: Option<i64>,
    /// How machines are made; by default `managed` where a cluster is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provisioning_mode: Option<ProvisioningMode>,
    /// Spot machines.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spot_config: Option<SpotConfig>,
    /// Several datacenters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub multi_region: Option<MultiRegion>,
    /// Cost optimization.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cost_optimization: Option<CostOptimization>,
}

impl NodeGroup {
    /// Namespace and name; both empty on an object that was never stored.
    #[must_use]
    pub fn key(&self) -> (&str, &str) {
        (
            self.metadata.namespace.as_deref().unwrap_or_default(),
            self.metadata.name.as_deref().unwrap_or_default(),
        )
    }

    /// Whether the group carries the managed label with exactly the value `true`.
    #[must_use]
    pub fn is_managed(&self) -> bool {
        let labels = self.metadata.labels.as_ref();
        labels
            .and_then(|all| all.get(MANAGED))
            .is_some_and(|value| value == "true")
    }
}

impl NodeGroupSpec {
    /// Whether one group may hold several offerings (default: yes).
    #[must_use]
    pub fn mixes_instances(&self) -> bool {
        self.allow_mixed_instances.unwrap_or(true)
    }

    /// Plain machines are asked for explicitly.
    #[must_use]
    pub fn is_vm_mode(&self) -> bool {
        self.provisioning_mode == Some(ProvisioningMode::Vm)
    }
}

/// One node of the group.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct GroupNode {
    /// The VPSieNode's or Node's name.
    pub node_name: String,
    /// The machine's number; 0 where the cloud tells none.
    #[serde(rename = "vpsID")]
    pub vps_id: i64,
    /// The offering.
    pub instance_type: String,
    /// The phase.
    pub status: String,
    /// When the machine was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("format" = "date-time"))]
    pub created_at: Option<String>,
    /// When its Node was Ready.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("format" = "date-time"))]
    pub ready_at: Option<String>,
    /// Its address.
    #[serde(default, rename = "ipAddress", skip_serializing_if = "Option::is_none")]
    pub ip_address: Option<String>,
}

/// An offering that is not asked for at present.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Backoff {
    /// The offering.
    pub offering: String,
    /// Why.
    pub reason: String,
    /// Until when.
    #[schemars(extend("format" = "date-time"))]
    pub until: String,
}

/// What the group is.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct NodeGroupStatus {
    /// Machines that exist or may.
    #[serde(default)]
    pub current_nodes: i32,
    /// Machines wanted: the VPSieNodes that are meant to serve.
    #[serde(default)]
    pub desired_nodes: i32,
    /// Nodes that are Ready.
    #[serde(default)]
    pub ready_nodes: i32,
    /// The number of the VPSie node group of the first offering.
    #[serde(
        default,
        rename = "vpsieGroupID",
        skip_serializing_if = "Option::is_none"
    )]
    pub vpsie_group_id: Option<i64>,
    /// The nodes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nodes: Option<Vec<GroupNode>>,
    /// Conditions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Option<Vec<Condition>>,
    /// When the group last grew or shrank.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("format" = "date-time"))]
    pub last_scale_time: Option<String>,
    /// When it last grew.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("format" = "date-time"))]
    pub last_scale_up_time: Option<String>,
    /// When it last shrank.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("format" = "date-time"))]
    pub last_scale_down_time: Option<String>,
    /// The generation this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Dollars per hour of the machines that exist, or `unknown`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hourly_cost: Option<String>,
    /// Dollars per month of 730 hours, or `unknown`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub monthly_cost: Option<String>,
    /// Offerings that are not asked for at present.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backoffs: Option<Vec<Backoff>>,
}
