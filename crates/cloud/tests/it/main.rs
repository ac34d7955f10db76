//! The contract suite against a provider that can be made to break each promise, and the laws of
//! [`cloud::resolve`].
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]
#![allow(unreachable_pub)] // modules of one test binary

mod reference;
mod resolve;
mod suite;
