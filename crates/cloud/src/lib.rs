//! The cloud as the product sees it: one object-safe trait, its error classes, the pure functions
//! that read an observation, and the contract suite every provider must pass.
//!
//! Two provisioning modes stand behind the trait: *managed* clusters, where a
//! worker is added to a pool and gets neither name nor user data from us, and plain *machines*,
//! which take both. [`Capabilities`] says which; the core never assumes.

pub mod contract;
mod error;
mod matching;
mod provider;
mod resolve;

pub use error::{CloudError, ErrorClass};
pub use matching::{NodeFacts, NodeMatch, match_node};
pub use provider::{
    BoxFuture, Call, Capabilities, Catalogue, CloudProvider, CreateIntent, CreateOutcome,
    Datacenter, DeleteOutcome, DeleteTarget, Health, Permit, PoolRequest, Scope,
};
pub use resolve::{OpenOperation, RequestState, Windows, resolve};
