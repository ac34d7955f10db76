//! The filters held against facts read off the real scheduler, and the snapshot against its laws.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod cluster;
mod corpus;
mod facts;
mod laws;
mod words;
