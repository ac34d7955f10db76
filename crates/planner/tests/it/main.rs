//! The planner's decisions as scenarios and laws.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod audit;
mod lifecycle;
mod price;
mod removal;
mod scale_up;
