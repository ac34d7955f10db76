//! The controller's parts against an in-memory API server, in virtual time.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod cluster_state;
mod disruption;
mod leader;
mod server;
mod surroundings;
