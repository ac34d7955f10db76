//! A simulator of the VPSie API: what the service would answer, from a state machine on the
//! world's clock and a seed.
//!
//! It is called in-process ([`VpsieSim::handle`], without sockets, in virtual time) or over
//! HTTP ([`VpsieSim::serve`]); both take the same path. Behaviour follows what real clients of the
//! API were seen to rely on; where the sources contradict each other, [`Config`] switches between
//! the variants. It knows nothing of Kubernetes: machines that boot are announced by
//! [`MachineEvent`]s, and whoever plays the kubelet makes Nodes of them.

mod account;
mod config;
mod distort;
mod endpoints;
mod fault;
mod journal;
mod ledger;
mod machine;
mod reply;
mod route;
mod rows;
mod serve;
mod server;
mod state;

pub use config::{
    Cluster, Config, CountAt, Credentials, Datacenter, HOURS_PER_MONTH, InitialGroup, Login,
    LoginEncoding, LoginShape, NodeShape, PriceEncoding, Project, RateLimit, Size, Span, Staleness,
    Timings,
};
pub use fault::{Fault, FaultScript, RetryAfter, Rule, RuleId};
pub use journal::{Happening, Order, Outcome, Request, What};
pub use ledger::{Bill, Ledger};
pub use machine::{Join, Machine, MachineEvent, Origin, Phase, Role, VmOrder};
pub use route::{Match, Route, UnknownRoute};
pub use server::{ConnectionLost, Pool, VpsieSim};
