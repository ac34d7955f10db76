//! The whole product in a whole world, in virtual time; and the process as a user meets it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(clippy::format_push_string)] // a picture for a failed assertion
#![allow(missing_docs, unreachable_pub)]

/// Whole worlds are made of small pieces of text: a fifth of their time is the allocator's.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

mod audit;
mod bad_input;
mod brakes;
mod canary;
mod collect;
mod command_line;
mod crash;
mod drift;
mod explain;
mod faults;
mod harness;
mod health;
mod kubectl;
mod leadership;
mod metrics;
mod offline;
mod planted;
mod process;
mod protection;
mod regressions;
mod removal;
mod scenarios;
mod seeds;
mod simulate;
mod story;
mod upgrade;
