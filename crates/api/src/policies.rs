//! The policies a NodeGroup carries, shared with AutoscalerConfig.

use std::{collections::BTreeMap, time::Duration};

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

fn seconds(value: Option<i32>, default: u64) -> Duration {
    Duration::from_secs(value.map_or(default, |v| u64::try_from(v).unwrap_or(0)))
}

fn percent(value: Option<i32>, default: u8) -> u8 {
    value.map_or(default, |v| {
        u8::try_from(v.clamp(0, 100)).unwrap_or(default)
    })
}

/// When a group grows.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct ScaleUpPolicy {
    /// Seconds the thresholds must be exceeded. Pods that cannot be scheduled do not wait for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0), extend("default" = 60))]
    pub stabilization_window_seconds: Option<i32>,
    /// Percent of CPU in use above which the group grows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 100), extend("default" = 80))]
    pub cpu_threshold: Option<i32>,
    /// Percent of memory in use above which the group grows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 100), extend("default" = 80))]
    pub memory_threshold: Option<i32>,
    /// `false` stops growth beyond the minimum.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = true))]
    pub enabled: Option<bool>,
}

impl ScaleUpPolicy {
    /// Whether the group may grow beyond its minimum.
    #[must_use]
    pub fn is_enabled(&self) -> bool {
        self.enabled.unwrap_or(true)
    }
}

/// When a group shrinks.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct ScaleDownPolicy {
    /// Seconds a node must be unneeded without a break.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0), extend("default" = 600))]
    pub stabilization_window_seconds: Option<i32>,
    /// Percent of CPU in use below which a node is unneeded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 100), extend("default" = 50))]
    pub cpu_threshold: Option<i32>,
    /// Percent of memory in use below which a node is unneeded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 100), extend("default" = 50))]
    pub memory_threshold: Option<i32>,
    /// `false` stops every voluntary removal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = true))]
    pub enabled: Option<bool>,
    /// Seconds without removals after the group grew or shrank.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0), extend("default" = 600))]
    pub cooldown_seconds: Option<i32>,
}

impl ScaleDownPolicy {
    /// Whether nodes may be removed voluntarily.
    #[must_use]
    pub fn is_enabled(&self) -> bool {
        self.enabled.unwrap_or(true)
    }

    /// Percent of CPU in use below which a node is unneeded.
    #[must_use]
    pub fn cpu_percent(&self) -> u8 {
        percent(self.cpu_threshold, 50)
    }

    /// Percent of memory in use below which a node is unneeded.
    #[must_use]
    pub fn memory_percent(&self) -> u8 {
        percent(self.memory_threshold, 50)
    }

    /// How long a node must be unneeded.
    #[must_use]
    pub fn window(&self) -> Duration {
        seconds(self.stabilization_window_seconds, 600)
    }

    /// The pause after the group grew or shrank.
    #[must_use]
    pub fn cooldown(&self) -> Duration {
        seconds(self.cooldown_seconds, 600)
    }
}

/// Spot machines. The cloud sells none: `enabled: true` is answered with a condition.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct SpotConfig {
    /// Whether spot machines are wanted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = false))]
    pub enabled: Option<bool>,
    /// Largest share of spot machines, in percent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 100), extend("default" = 80))]
    pub max_spot_percentage: Option<i32>,
    /// Whether ordinary machines replace spot machines that are not to be had.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = true))]
    pub fallback_to_on_demand: Option<bool>,
    /// Grace period before an interruption.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = "120s"))]
    pub interruption_grace_period: Option<String>,
    /// Largest interruption rate accepted, in percent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 100), extend("default" = 20))]
    pub allowed_interruption_rate: Option<i32>,
}

/// Several datacenters; of use to groups of plain machines.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct MultiRegion {
    /// Whether machines are spread.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = false))]
    pub enabled: Option<bool>,
    /// The datacenters.
    #[serde(
        default,
        rename = "datacenterIDs",
        skip_serializing_if = "Option::is_none"
    )]
    pub datacenter_ids: Option<Vec<String>>,
    /// `balanced`, `weighted` or `primary-backup`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = "balanced", "enum" = ["balanced", "weighted", "primary-backup"]))]
    pub distribution_strategy: Option<String>,
    /// Weights by datacenter.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weighted_distribution: Option<BTreeMap<String, i32>>,
    /// The primary datacenter.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub primary_datacenter: Option<String>,
    /// Fewest nodes in each.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0), extend("default" = 1))]
    pub min_nodes_per_region: Option<i32>,
}

/// Cost optimization by rebalancing.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct CostOptimization {
    /// Whether costs are watched.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = true))]
    pub enabled: Option<bool>,
    /// `auto`, `manual`, `aggressive` or `conservative`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = "auto", "enum" = ["auto", "manual", "aggressive", "conservative"]))]
    pub strategy: Option<String>,
    /// How often, as a duration.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = "24h"))]
    pub optimization_interval: Option<String>,
    /// Least monthly savings worth a change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = 10))]
    pub min_monthly_savings: Option<serde_json::Number>,
    /// Largest performance impact accepted, in percent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 100), extend("default" = 5))]
    pub max_performance_impact: Option<i32>,
    /// Whether a person approves each change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = false))]
    pub require_approval: Option<bool>,
}
