//! The custom resources against their checked-in definitions and a corpus of stored objects.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod corpus;
mod generated;
mod predecessor;
mod rules;
