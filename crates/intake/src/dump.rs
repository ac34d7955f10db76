//! A whole cluster from a file: what `kubectl get … -o json` (or `yaml`) gives.
//!
//! A `List`, lists of one kind, single objects and several documents in a row are all read. Items
//! are decoded one by one, straight into views; what is wrong with one of them is a [`Problem`]
//! that names it, and the others still count. Only text that cannot be taken apart, a node given
//! twice, and too much of everything are errors.

mod assemble;
mod item;
mod json;
mod problem;
#[cfg(test)]
mod tests;
mod yaml;

use std::{collections::BTreeMap, io, sync::Arc};

use api::{NodeGroup, VPSieNode};
use model::{Disruption, Node, NodeName, Pod, PodKey, SchedulingClass, Surroundings};

use crate::NodeFacts;
use assemble::Assembly;
pub use problem::{Fault, Problem};

/// What was in a dump.
#[derive(Clone, Debug, Default)]
pub struct Dump {
    /// The nodes, by name.
    pub nodes: Vec<Node>,
    /// What there is to know of them besides.
    pub node_facts: BTreeMap<NodeName, NodeFacts>,
    /// The pods that are bound to one of them and have not finished, by name.
    pub bound: Vec<Arc<Pod>>,
    /// The pods that are bound nowhere, by name.
    pub waiting: Vec<Arc<Pod>>,
    /// Namespaces and volumes.
    pub surroundings: Surroundings,
    /// Budgets (none where there are none), controllers and usage. Of a kind of controllers all are
    /// known where the dump has any; else it may have been made without that kind.
    pub disruption: Disruption,
    /// What pauses the whole cluster.
    pub paused: Option<String>,
    /// The pods of each DaemonSet, as classes.
    pub daemon_sets: BTreeMap<PodKey, Arc<SchedulingClass>>,
    /// The NodeGroups, by namespace and name, managed or not.
    pub node_groups: Vec<NodeGroup>,
    /// The VPSieNodes, by namespace and name.
    pub vpsie_nodes: Vec<VPSieNode>,
    /// What was wrong with some objects, in the order of the dump; at most [`MOST_PROBLEMS`].
    pub problems: Vec<Problem>,
    /// How many more problems there were.
    pub further_problems: usize,
    /// Kinds that are not looked at, and how many objects of each there were.
    pub ignored: BTreeMap<String, usize>,
}

/// More problems than this are only counted.
pub const MOST_PROBLEMS: usize = 1000;

/// More bytes than this are not read: a cluster of 5,000 nodes and 150,000 pods has half of it.
pub const MOST_BYTES: u64 = 4 << 30;

/// Why there is no dump.
#[derive(Debug, thiserror::Error)]
pub enum DumpError {
    /// Its bytes cannot be had.
    #[error("cannot read it")]
    Read(#[source] io::Error),
    /// It is too large.
    #[error("it has more than {limit} bytes")]
    TooLarge {
        /// How much is read.
        limit: u64,
    },
    /// Nothing is in it.
    #[error("it is empty")]
    Empty,
    /// It ends in the middle.
    #[error("it is cut off: it ends at line {line}, column {column}, in the middle of an object")]
    Truncated {
        /// The last line, from 1.
        line: usize,
        /// The last column, from 1.
        column: usize,
    },
    /// It is no JSON.
    #[error("it is not JSON at line {line}, column {column}: {what}")]
    NotJson {
        /// The line, from 1.
        line: usize,
        /// The column, from 1.
        column: usize,
        /// What is wrong there.
        what: String,
    },
    /// It is no YAML.
    #[error("it is not YAML: {what}")]
    NotYaml {
        /// What is wrong, and where.
        what: String,
    },
    /// One of its documents is something else than an object.
    #[error("it holds {what} where a Kubernetes object is expected")]
    NotAnObject {
        /// What it is.
        what: &'static str,
    },
    /// A node is in it twice.
    #[error("Node {name} is given twice")]
    NodeTwice {
        /// The node.
        name: String,
    },
}

impl Dump {
    /// Reads to the end of `source`, at most [`MOST_BYTES`].
    pub fn read(source: impl io::Read) -> Result<Self, DumpError> {
        Self::read_at_most(source, MOST_BYTES)
    }

    /// Reads to the end of `source`, at most `limit` bytes.
    pub fn read_at_most(source: impl io::Read, limit: u64) -> Result<Self, DumpError> {
        let mut bytes = Vec::new();
        let mut bounded = io::Read::take(source, limit.saturating_add(1));
        io::Read::read_to_end(&mut bounded, &mut bytes).map_err(DumpError::Read)?;
        if bytes.len() as u64 > limit {
            return Err(DumpError::TooLarge { limit });
        }
        Self::from_slice(&bytes)
    }

    /// Takes a dump apart: JSON where it begins with a brace, else YAML.
    pub fn from_slice(bytes: &[u8]) -> Result<Self, DumpError> {
        let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
        let mut assembly = Assembly::default();
        match bytes.iter().find(|byte| !byte.is_ascii_whitespace()) {
            None => return Err(DumpError::Empty),
            Some(b'{') => json::read(bytes, &mut assembly)?,
            Some(_) => yaml::read(bytes, &mut assembly)?,
        }
        Ok(assembly.finish())
    }
}
