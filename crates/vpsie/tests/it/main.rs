//! The provider against the simulated API: the contract suite in every variant of the API that the
//! sources describe, the quirks one by one, and the network.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]
#![allow(unreachable_pub)] // modules of one test binary

mod contract;
mod harness;
mod hostile;
mod login;
mod network;
mod pace;
mod quirks;
mod scripted;
