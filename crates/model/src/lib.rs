//! The values every decision is made of: ids, quantities, resources, offerings, machines, pods,
//! nodes and the cluster.
//!
//! Pure: no I/O, no clock, no randomness, no `k8s_openapi` type. Everything here orders and
//! iterates deterministically.

pub mod cluster;
pub mod disruption;
pub mod ids;
pub mod machine;
pub mod node;
pub mod offering;
pub mod pod;
pub mod price;
pub mod quantity;
pub mod resources;
pub mod selector;
pub mod storage;
pub mod surroundings;
pub mod topology;

pub use cluster::Cluster;
pub use disruption::{
    Budget, Controller, Disruption, PodHealth, Upkeep, Usage, WorkloadKind, Workloads,
};
pub use ids::{
    ClusterId, DatacenterId, GroupKey, Hostname, InstanceId, NodeName, OfferingId, OperationId,
    PodKey, SizeId, Uid,
};
pub use machine::{Instance, InstancePhase, Observation, Pool, PoolId, Resolution, Role};
pub use node::{Node, NodeShape};
pub use offering::Offering;
pub use pod::{HostPort, Pod, PodRole, PodState, Protocol, SchedulingClass, UnevaluatedRule};
pub use price::HourlyPrice;
pub use quantity::{Quantity, QuantityError};
pub use resources::Resources;
pub use selector::{
    Labels, NodeSelectorTerm, Operator, Requirement, Taint, TaintEffect, Toleration, label_value,
};
pub use storage::Storage;
pub use surroundings::Surroundings;
pub use topology::{
    InclusionPolicy, LabelSelector, Namespaces, PodTerm, Preferences, SpreadConstraint,
};
