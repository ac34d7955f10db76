//! The custom resources `autoscaler.vpsie.com/v1alpha1`, field for field as the predecessor stored
//! them, and every well-known name in one place.
//!
//! Optional fields are optional in the types, booleans and numbers included: a user's `false` or
//! `0` is never confused with an absent value, and defaults live in the schema and in the
//! accessors. Fields the predecessor did not have are additive.

// `KubeSchema` expands to a copy of each type inside a block, which no path reaches.
#![allow(unreachable_pub)]

pub mod autoscaler_config;
pub mod conditions;
pub mod core;
pub mod crds;
pub mod labels;
pub mod node_group;
pub mod policies;
pub mod vpsie_node;

pub use autoscaler_config::{
    AutoscalerConfig, AutoscalerConfigSpec, AutoscalerConfigStatus, GlobalSettings,
    NodeGroupDefaults,
};
pub use conditions::{Condition, ConditionStatus, set_condition};
pub use core::{Taint, TaintEffect};
pub use node_group::{
    Backoff, GroupNode, NodeGroup, NodeGroupSpec, NodeGroupStatus, ProvisioningMode,
};
pub use policies::{CostOptimization, MultiRegion, ScaleDownPolicy, ScaleUpPolicy, SpotConfig};
pub use vpsie_node::{
    CreationRecord, NodeResources, RemovalRecord, VPSieNode, VPSieNodeSpec, VPSieNodeStatus,
};
