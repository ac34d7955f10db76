//! The simulator seen from its callers: endpoints, data rules, faults, the panel, and HTTP.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod account;
mod catalogue;
mod client;
mod faults;
mod groups;
mod odd_requests;
mod over_http;
mod panel;
mod plain_machines;
mod repeatability;
mod workers;
