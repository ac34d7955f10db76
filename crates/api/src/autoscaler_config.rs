//! `AutoscalerConfig`: settings of the whole cluster. Defined and served; this version of the
//! product reads only its annotation that pauses everything.

use std::collections::BTreeMap;

use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

use crate::{
    CostOptimization, ScaleDownPolicy, ScaleUpPolicy, SpotConfig, Taint,
    node_group::VERSION_PATTERN,
};

/// The settings. Only the object named `default` counts.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[kube(
    group = "autoscaler.vpsie.com",
    version = "v1alpha1",
    kind = "AutoscalerConfig",
    plural = "autoscalerconfigs",
    singular = "autoscalerconfig",
    status = "AutoscalerConfigStatus",
    shortname = "asc",
    derive = "PartialEq",
    doc = "Settings of the autoscaler for the whole cluster; only the object named default counts. Accepted and stored; this version reads only its annotation autoscaler.vpsie.com/paused.",
    printcolumn = r#"{"name":"MaxWorkers","type":"integer","jsonPath":".spec.globalSettings.maxClusterWorkers"}"#,
    printcolumn = r#"{"name":"MinNodes","type":"integer","jsonPath":".spec.nodeGroupDefaults.minNodes"}"#,
    printcolumn = r#"{"name":"MaxNodes","type":"integer","jsonPath":".spec.nodeGroupDefaults.maxNodes"}"#,
    printcolumn = r#"{"name":"DynamicCreation","type":"boolean","jsonPath":".spec.globalSettings.enableDynamicNodeGroupCreation"}"#,
    printcolumn = r#"{"name":"Active","type":"boolean","jsonPath":".status.active"}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#
)]
#[serde(rename_all = "camelCase")]
pub struct AutoscalerConfigSpec {
    /// What dynamic NodeGroups start from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node_group_defaults: Option<NodeGroupDefaults>,
    /// Limits and timeouts of the cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub global_settings: Option<GlobalSettings>,
}

/// What dynamic NodeGroups start from.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct NodeGroupDefaults {
    /// Fewest nodes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0), extend("default" = 1))]
    pub min_nodes: Option<i32>,
    /// Most nodes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1), extend("default" = 10))]
    pub max_nodes: Option<i32>,
    /// The namespace they are made in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = "default"))]
    pub namespace: Option<String>,
    /// The datacenter.
    #[serde(
        default,
        rename = "datacenterID",
        skip_serializing_if = "Option::is_none"
    )]
    pub datacenter_id: Option<String>,
    /// Machine sizes.
    #[serde(
        default,
        rename = "offeringIDs",
        skip_serializing_if = "Option::is_none"
    )]
    pub offering_ids: Option<Vec<String>>,
    /// The VPSie Kubernetes cluster.
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
    /// The number of the machine size.
    #[serde(
        default,
        rename = "kubeSizeID",
        skip_serializing_if = "Option::is_none"
    )]
    #[schemars(range(min = 1))]
    pub kube_size_id: Option<i64>,
    /// Labels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub labels: Option<BTreeMap<String, String>>,
    /// Taints.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub taints: Option<Vec<Taint>>,
    /// SSH keys.
    #[serde(default, rename = "sshKeyIDs", skip_serializing_if = "Option::is_none")]
    pub ssh_key_ids: Option<Vec<String>>,
    /// Tags.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tags: Option<Vec<String>>,
    /// Notes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub notes: Option<String>,
    /// When groups grow.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scale_up_policy: Option<ScaleUpPolicy>,
    /// When groups shrink.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scale_down_policy: Option<ScaleDownPolicy>,
    /// Cost optimization.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cost_optimization: Option<CostOptimization>,
    /// Spot machines.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spot_config: Option<SpotConfig>,
}

/// Limits and timeouts of the cluster.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct GlobalSettings {
    /// Pause between scale-ups.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = 60))]
    pub scale_up_cooldown_seconds: Option<i32>,
    /// Pause between scale-downs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = 300))]
    pub scale_down_cooldown_seconds: Option<i32>,
    /// Scale-ups at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1), extend("default" = 1))]
    pub max_concurrent_scale_ups: Option<i32>,
    /// Scale-downs at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1), extend("default" = 1))]
    pub max_concurrent_scale_downs: Option<i32>,
    /// Most workers of the cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0), extend("default" = 10))]
    pub max_cluster_workers: Option<i32>,
    /// How long a pod may be unschedulable before it counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = 30))]
    pub unschedulable_pod_grace_period_seconds: Option<i32>,
    /// Whether NodeGroups are made for pods that fit none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = true))]
    pub enable_dynamic_node_group_creation: Option<bool>,
    /// Whether the rebalancer runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = false))]
    pub enable_rebalancing: Option<bool>,
    /// How long a machine may take until its Node is Ready.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 60), extend("default" = 600))]
    pub node_ready_timeout_seconds: Option<i32>,
    /// How long an eviction may take.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = 120))]
    pub pod_eviction_timeout_seconds: Option<i32>,
}

/// What became of the settings.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct AutoscalerConfigStatus {
    /// The generation this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// When it was read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("format" = "date-time"))]
    pub last_updated: Option<String>,
    /// Whether it is in force.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub active: Option<bool>,
    /// In words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}
