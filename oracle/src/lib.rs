//! The scheduler itself as the judge of our scheduling: a program of its own filter plugins, clusters
//! that aim at their edges, and what to do where an implementation differs.
//!
//! - [`cluster`] makes small clusters from seeds, [`Scheduler`] asks the real plugins about them.
//! - [`corpus`] is a recorded lot of both, for tests that have no Go toolchain.
//! - [`Comparison`] holds an implementation against them, and [`shrink()`] cuts what differs to the bone.

mod compare;
mod corpus;
mod generator;
mod scheduler;
mod shrink;
mod statistics;
mod verdicts;

pub use compare::{Comparison, Engine, Mismatch, differences};
pub use corpus::{Corpus, Recorded, corpus, record};
pub use generator::{Case, Edge, cluster};
pub use scheduler::Scheduler;
pub use shrink::shrink;
pub use statistics::Statistics;
pub use verdicts::{Difference, FILTERS, NodeVerdict, PodVerdict, Verdicts};

use std::path::PathBuf;

/// The oracle could not be asked, or the corpus not be used.
#[derive(Debug, thiserror::Error)]
pub enum OracleError {
    /// The program could not be built.
    #[error("the scheduler's plugins are not there to be asked")]
    Build(#[from] go_module::BuildError),
    /// The program could not be started or spoken to.
    #[error("could not {0} the program of plugins")]
    Program(&'static str, #[source] std::io::Error),
    /// The program ended in the middle.
    #[error("the program of plugins ended before it answered")]
    Ended,
    /// The program refused a cluster.
    #[error("the plugins cannot judge this cluster: {0}")]
    Refused(String),
    /// An answer, or a line of the corpus, is no JSON of the kind expected.
    #[error("{what} is not what it should be")]
    Json {
        /// Which.
        what: String,
        /// Why not.
        #[source]
        source: serde_json::Error,
    },
    /// A file or folder.
    #[error("could not {verb} {}", path.display())]
    File {
        /// What was tried.
        verb: &'static str,
        /// With what.
        path: PathBuf,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
}
