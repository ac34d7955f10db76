//! The oracle's own laws. What needs Go is run when asked for: `README.md` says how.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod corpus;
mod generator;
mod plugins;
