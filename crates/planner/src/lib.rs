//! Every decision of the product, as pure functions: values in, plan and report out.
//!
//! No I/O, no clock, no randomness: the same input gives the same bytes.

pub mod audit;
pub mod collect;
pub mod lifecycle;
pub mod reason;
pub mod removal;
pub mod scale_up;
