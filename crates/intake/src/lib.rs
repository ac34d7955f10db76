//! Kubernetes objects, read narrowly, as the model's values.
//!
//! A view names the few fields that decide something; fields that are not named are skipped and
//! never allocated. Quantities are read once, here; what cannot be read becomes a defect of the
//! row, never a panic and never a silent zero. Nothing here does I/O: watches (crate
//! `controller`) and dumps ([`dump`]) bring the text.

mod amounts;
mod daemon_set;
pub mod dump;
mod metadata;
mod namespace;
mod node;
mod pod;
mod selector;
pub mod storage;

pub use daemon_set::DaemonSetView;
pub use metadata::labels;
pub use namespace::NamespaceView;
pub use node::{NodeView, TaintView};
pub use pod::PodView;
