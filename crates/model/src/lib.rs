//! The values every decision is made of: ids, quantities, resources, offerings, machines, pods,
//! nodes and the cluster snapshot.
//!
//! Pure: no I/O, no clock, no randomness, no `k8s_openapi` type. Everything here orders and
//! iterates deterministically.

pub mod ids;
pub mod machine;
pub mod offering;
pub mod price;

pub use ids::{
    ClusterId, DatacenterId, GroupKey, Hostname, InstanceId, NodeName, OfferingId, OperationId,
    PodKey, SizeId, Uid,
};
pub use machine::{Instance, InstancePhase, Observation, Pool, PoolId, Resolution, Role};
pub use offering::Offering;
pub use price::HourlyPrice;
