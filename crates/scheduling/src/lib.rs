//! kube-scheduler's filters over the model: would this pod be put on that node?
//!
//! Pure. [`fits`] answers fast; [`failures`] names every filter that says no, with its detail.
//! One file per filter, named as the scheduler's plugin.

mod node_affinity;
mod node_name;
mod node_resources_fit;
mod node_unschedulable;
mod taint_toleration;

use std::fmt;

use model::{Node, Resources, SchedulingClass, UnevaluatedRule};
use serde::{Deserialize, Serialize};

/// kube-scheduler's plugins this crate evaluates.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub enum Filter {
    /// `spec.unschedulable`.
    NodeUnschedulable,
    /// `spec.nodeName`.
    NodeName,
    /// Taints.
    TaintToleration,
    /// Node selector and required node affinity.
    NodeAffinity,
    /// Resources.
    NodeResourcesFit,
}

impl Filter {
    /// The plugin's name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::NodeUnschedulable => "NodeUnschedulable",
            Self::NodeName => "NodeName",
            Self::TaintToleration => "TaintToleration",
            Self::NodeAffinity => "NodeAffinity",
            Self::NodeResourcesFit => "NodeResourcesFit",
        }
    }
}

/// One filter's no.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub enum Failure {
    /// The node is cordoned.
    Unschedulable,
    /// The pod asks for another node by name.
    OtherNode {
        /// The one it asks for.
        wanted: String,
    },
    /// The pod does not tolerate this taint.
    UntoleratedTaint {
        /// `key=value:effect`.
        taint: String,
    },
    /// The node selector or the required affinity does not match.
    AffinityMismatch,
    /// There is not enough of a resource.
    InsufficientResource {
        /// Which.
        resource: String,
        /// Asked for.
        requested: i64,
        /// Left.
        free: i64,
        /// More than the node has altogether: no other pod stands in the way.
        exceeds_capacity: bool,
    },
}

impl Failure {
    /// The filter that says so.
    #[must_use]
    pub const fn filter(&self) -> Filter {
        match self {
            Self::Unschedulable => Filter::NodeUnschedulable,
            Self::OtherNode { .. } => Filter::NodeName,
            Self::UntoleratedTaint { .. } => Filter::TaintToleration,
            Self::AffinityMismatch => Filter::NodeAffinity,
            Self::InsufficientResource { .. } => Filter::NodeResourcesFit,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unschedulable => f.write_str("the node is unschedulable"),
            Self::OtherNode { wanted } => write!(f, "the pod asks for node {wanted}"),
            Self::UntoleratedTaint { taint } => write!(f, "taint {taint} is not tolerated"),
            Self::AffinityMismatch => f.write_str("the node selector or affinity does not match"),
            Self::InsufficientResource {
                resource,
                requested,
                free,
                exceeds_capacity,
            } => {
                let asked = Amount(resource, *requested);
                let free = Amount(resource, *free);
                write!(f, "insufficient {resource}: {asked} asked, {free} free")?;
                if *exceeds_capacity {
                    f.write_str(" (more than the node has altogether)")?;
                }
                Ok(())
            }
        }
    }
}

/// An amount in the unit people write for its resource.
struct Amount<'a>(&'a str, i64);

impl fmt::Display for Amount<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(resource, amount) = *self;
        let bytes = matches!(resource, "memory" | "ephemeral-storage")
            || resource.starts_with("hugepages-");
        match resource {
            "cpu" if amount % 1000 == 0 => write!(f, "{}", amount / 1000),
            "cpu" => write!(f, "{amount}m"),
            _ if bytes && amount != 0 && amount % (1 << 30) == 0 => write!(f, "{}Gi", amount >> 30),
            _ if bytes && amount.unsigned_abs() >= 1 << 20 => write!(f, "{}Mi", amount >> 20),
            _ => write!(f, "{amount}"),
        }
    }
}

/// The rules of `class` that this crate does not evaluate: about such a pod it says nothing.
pub fn unevaluated(class: &SchedulingClass) -> impl Iterator<Item = UnevaluatedRule> + '_ {
    class.unevaluated.iter().copied()
}

/// Whether the scheduler would put a pod of `class` on `node`, of which `requested` is taken.
#[must_use]
pub fn fits(class: &SchedulingClass, node: &Node, requested: &Resources) -> bool {
    node_resources_fit::fits(class, node, requested) && admits(class, node)
}

/// As [`fits`], but for the resources: what does not change while a node fills up.
#[must_use]
pub fn admits(class: &SchedulingClass, node: &Node) -> bool {
    node_unschedulable::check(class, node).is_none()
        && node_name::check(class, node).is_none()
        && taint_toleration::check(class, node).is_none()
        && node_affinity::check(class, node).is_none()
}

/// How many pods of `class`, at most `most`, the resources of `node` take beside `requested`. The
/// other filters are not asked: see [`admits`].
#[must_use]
pub fn how_many(class: &SchedulingClass, node: &Node, requested: &Resources, most: u32) -> u32 {
    node_resources_fit::how_many(class, node, requested, most)
}

/// Every filter's no.
#[must_use]
pub fn failures(class: &SchedulingClass, node: &Node, requested: &Resources) -> Vec<Failure> {
    let mut failures: Vec<Failure> = [
        node_unschedulable::check(class, node),
        node_name::check(class, node),
        taint_toleration::check(class, node),
        node_affinity::check(class, node),
    ]
    .into_iter()
    .flatten()
    .collect();
    failures.extend(node_resources_fit::check(class, node, requested));
    failures
}

#[cfg(test)]
mod tests;
