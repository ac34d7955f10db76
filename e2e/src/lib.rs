//! The product against a real Kubernetes control plane: real API server, scheduler and controllers,
//! built from their released sources, in processes of their own.
//!
//! Unlike everything else in this workspace it lives in real time. Nothing here is part of the
//! product; nothing here decides anything.

pub mod control_plane;
pub mod disruption;
pub mod product;
pub mod rights;
pub mod stage;

pub use control_plane::{
    Audit, AuditEntry, Component, ControlPlane, ControlPlaneError, Lifecycle, Output, Settings,
    User,
};
pub use product::Product;
pub use stage::Stage;
