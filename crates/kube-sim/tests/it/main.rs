//! The server as its clients see it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]
#![allow(clippy::wildcard_imports)] // the support module is this binary's vocabulary

mod conformance;
mod control;
mod kubectl;
mod lists;
mod objects;
mod patches;
mod schema;
mod support;
mod watches;
