//! Kubernetes objects, read narrowly, as the model's values.
//!
//! A view names the few fields that decide something; fields that are not named are skipped and
//! never allocated. Quantities are read once, here; what cannot be read becomes a defect of the
//! row, never a panic and never a silent zero. Nothing here does I/O: watches (crate
//! `controller`) and dumps ([`dump`]) bring the text.

mod amounts;
mod budget;
mod config;
mod daemon_set;
pub mod dump;
mod metadata;
mod metrics;
mod namespace;
mod node;
mod pod;
mod selector;
mod shared;
pub mod storage;
mod workload;

pub use budget::BudgetView;
pub use config::{ConfigView, pause};
pub use daemon_set::DaemonSetView;
pub use metadata::labels;
pub use metrics::{NodeMetricsList, NodeMetricsView};
pub use namespace::NamespaceView;
pub use node::{NodeFacts, NodeView, TaintView};
pub use pod::PodView;
pub use shared::Shared;
pub use workload::{Workload, WorkloadObject, WorkloadView};
