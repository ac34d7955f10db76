//! What the filters say about a cluster, as `explain` writes it too, and how two answers differ.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

/// kube-scheduler's default filters that are asked, sorted.
pub const FILTERS: [&str; 13] = [
    "InterPodAffinity",
    "NodeAffinity",
    "NodeDeclaredFeatures",
    "NodeName",
    "NodePorts",
    "NodeResourcesFit",
    "NodeUnschedulable",
    "NodeVolumeLimits",
    "PodTopologySpread",
    "TaintToleration",
    "VolumeBinding",
    "VolumeRestrictions",
    "VolumeZone",
];

/// The verdict for every pending pod, sorted by namespace and name. Fields beyond these are ignored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdicts {
    /// Of this format: 1.
    pub version: u32,
    /// One for each pending pod.
    #[serde(default)]
    pub pods: Vec<PodVerdict>,
}

/// Where one pod fits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PodVerdict {
    /// `namespace/name`.
    pub pod: String,
    /// Every node, sorted by name.
    pub nodes: Vec<NodeVerdict>,
}

/// Whether one pod fits on one node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeVerdict {
    /// The node's name.
    pub node: String,
    /// Whether no filter refuses.
    pub fits: bool,
    /// Every filter that refuses, sorted.
    pub filters: Vec<String>,
}

/// One point on which two answers differ.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Difference {
    /// The pod or the pair of pod and node is answered for by one only.
    Missing {
        /// The pod, and the node.
        pair: (String, String),
        /// Whether the scheduler answered for it.
        known_to_scheduler: bool,
    },
    /// One filter.
    Filter {
        /// The pod, and the node.
        pair: (String, String),
        /// Which filter.
        filter: String,
        /// Whether the scheduler's filter refuses.
        refused_by_scheduler: bool,
    },
    /// `fits` does not say what `filters` says.
    Contradiction {
        /// The pod, and the node.
        pair: (String, String),
    },
}

impl std::fmt::Display for Difference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Missing {
                pair: (pod, node),
                known_to_scheduler,
            } => {
                let who = if *known_to_scheduler {
                    "scheduler"
                } else {
                    "implementation"
                };
                write!(f, "only the {who} answers for {pod} on {node}")
            }
            Self::Filter {
                pair: (pod, node),
                filter,
                refused_by_scheduler,
            } => {
                let verb = if *refused_by_scheduler {
                    "refuses"
                } else {
                    "admits"
                };
                write!(
                    f,
                    "{filter} {verb} {pod} on {node}, the implementation does not"
                )
            }
            Self::Contradiction { pair: (pod, node) } => {
                write!(
                    f,
                    "the implementation's `fits` contradicts its `filters` for {pod} on {node}"
                )
            }
        }
    }
}

impl Verdicts {
    /// Where `ours` differs from this, which the scheduler gave.
    #[must_use]
    pub fn differences(&self, ours: &Self) -> Vec<Difference> {
        let (real, given) = (self.by_pair(), ours.by_pair());
        let pairs: BTreeSet<_> = real.keys().chain(given.keys()).copied().collect();
        let mut differences = Vec::new();
        for (pod, node) in pairs {
            let pair = || (pod.to_owned(), node.to_owned());
            let (Some(real), Some(given)) = (real.get(&(pod, node)), given.get(&(pod, node)))
            else {
                differences.push(Difference::Missing {
                    pair: pair(),
                    known_to_scheduler: real.contains_key(&(pod, node)),
                });
                continue;
            };
            let refusing: BTreeSet<&String> = real.filters.iter().collect();
            let ours: BTreeSet<&String> = given.filters.iter().collect();
            for filter in refusing.symmetric_difference(&ours) {
                differences.push(Difference::Filter {
                    pair: pair(),
                    filter: (*filter).clone(),
                    refused_by_scheduler: refusing.contains(filter),
                });
            }
            if given.fits != given.filters.is_empty() {
                differences.push(Difference::Contradiction { pair: pair() });
            }
        }
        differences
    }

    fn by_pair(&self) -> BTreeMap<(&str, &str), &NodeVerdict> {
        let pairs = self.pods.iter().flat_map(|pod| {
            let nodes = pod.nodes.iter();
            nodes.map(|node| ((pod.pod.as_str(), node.node.as_str()), node))
        });
        pairs.collect()
    }
}
