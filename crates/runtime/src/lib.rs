//! The seams by which the whole system runs in virtual time, bit for bit repeatable:
//! [`Clock`], [`Randomness`] and [`Tasks`] (spawning).
//!
//! Production, the demo and the simulated world use the same three types; only how they are
//! constructed differs. `clippy.toml` bans the direct calls everywhere else.

mod clock;
mod randomness;
mod tasks;
pub mod watch;

pub use clock::{Clock, Elapsed};
pub use randomness::Randomness;
pub use tasks::Tasks;
