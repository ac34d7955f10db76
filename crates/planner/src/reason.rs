//! Why not: the closed list of reasons a scale-up is not made for a pod or by a group.
//!
//! One name each, the same in Events, conditions, metrics, logs and explanations.

use std::{fmt, sync::Arc};

use jiff::Timestamp;
use model::{GroupKey, OfferingId, UnevaluatedRule};
use scheduling::Failure;
use serde::{Deserialize, Serialize};

/// Why a pending pod is left alone.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub enum PodReason {
    /// It uses a rule that this version does not evaluate.
    RuleNotEvaluated {
        /// Which.
        rule: UnevaluatedRule,
    },
    /// Something in it cannot be understood.
    PodInvalid {
        /// What.
        detail: String,
    },
    /// It is not important enough to buy machines for.
    PriorityBelowCutoff {
        /// Its priority.
        priority: i32,
    },
    /// It belongs to a DaemonSet, which wants it on a node that is there.
    DaemonSetPod,
    /// It was unschedulable for too short a time.
    GracePeriod {
        /// Until then.
        until: Timestamp,
    },
    /// There is no managed group.
    NoNodeGroup,
    /// No group can take it: each group's reason.
    NoNodeGroupFits {
        /// By group and, where it matters, offering; shared by all pods of a class.
        groups: Arc<[GroupReason]>,
    },
}

/// How many groups' reasons are spelled out in a text; the value holds all of them.
const SPELLED_OUT: usize = 6;

impl PodReason {
    /// The name.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::RuleNotEvaluated { .. } => "RuleNotEvaluated",
            Self::PodInvalid { .. } => "PodInvalid",
            Self::PriorityBelowCutoff { .. } => "PriorityBelowCutoff",
            Self::DaemonSetPod => "DaemonSetPod",
            Self::GracePeriod { .. } => "GracePeriod",
            Self::NoNodeGroup => "NoNodeGroup",
            Self::NoNodeGroupFits { .. } => "NoNodeGroupFits",
        }
    }
}

impl fmt::Display for PodReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::RuleNotEvaluated { rule } => write!(
                f,
                "the pod uses {}, which this version does not evaluate; no machine is bought on a guess",
                rule.plugin()
            ),
            Self::PodInvalid { detail } => write!(f, "the pod cannot be understood: {detail}"),
            Self::PriorityBelowCutoff { priority } => {
                write!(f, "its priority {priority} is below the cut-off")
            }
            Self::DaemonSetPod => f.write_str(
                "its DaemonSet wants it on a node that is there; another machine would not help it",
            ),
            Self::GracePeriod { until } => write!(f, "not before {until}"),
            Self::NoNodeGroup => f.write_str("there is no managed node group"),
            Self::NoNodeGroupFits { groups } => {
                // Offerings of one group that are refused alike are named together.
                let alike: Vec<&[GroupReason]> = groups
                    .chunk_by(|a, b| a.group == b.group && a.refusal == b.refusal)
                    .collect();
                for (index, same) in alike.iter().take(SPELLED_OUT).enumerate() {
                    let [first, ..] = same else { continue };
                    let separator = if index == 0 { "" } else { "; " };
                    write!(f, "{separator}{}", first.group)?;
                    let offerings: Vec<&str> = same
                        .iter()
                        .filter_map(|reason| reason.offering.as_ref().map(OfferingId::as_str))
                        .collect();
                    if !offerings.is_empty() {
                        write!(f, " ({})", offerings.join(", "))?;
                    }
                    write!(f, ": {}", first.refusal)?;
                }
                match alike.len().saturating_sub(SPELLED_OUT) {
                    0 => Ok(()),
                    more => write!(f, "; and {more} more"),
                }
            }
        }
    }
}

/// Why one group (with one offering) cannot take a pod.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub struct GroupReason {
    /// The group.
    pub group: GroupKey,
    /// The offering, where the reason is its own.
    pub offering: Option<OfferingId>,
    /// Why.
    pub refusal: GroupRefusal,
}

impl fmt::Display for GroupReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.offering {
            Some(offering) => write!(f, "{} ({offering}): {}", self.group, self.refusal),
            None => write!(f, "{}: {}", self.group, self.refusal),
        }
    }
}

/// Why a group does not grow.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub enum GroupRefusal {
    /// The scheduler's filters say no to its template.
    Filters(Vec<Failure>),
    /// It has as many machines as it may.
    MaxNodesReached {
        /// `spec.maxNodes`.
        max_nodes: u32,
    },
    /// The cluster has as many workers as it may.
    ClusterLimitReached {
        /// The limit.
        max_workers: u32,
    },
    /// The offering failed a short while ago.
    BackingOff {
        /// Why.
        reason: String,
        /// Until then.
        until: Timestamp,
    },
    /// `scaleUpPolicy.enabled` is false.
    ScaleUpDisabled,
    /// It is being deleted.
    Deleting,
    /// It cannot be bought for: what is wrong with it.
    Invalid {
        /// What.
        detail: String,
    },
}

impl GroupRefusal {
    /// The name.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Filters(_) => "Filters",
            Self::MaxNodesReached { .. } => "MaxNodesReached",
            Self::ClusterLimitReached { .. } => "ClusterLimitReached",
            Self::BackingOff { .. } => "BackingOff",
            Self::ScaleUpDisabled => "ScaleUpDisabled",
            Self::Deleting => "Deleting",
            Self::Invalid { .. } => "Invalid",
        }
    }
}

impl fmt::Display for GroupRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Filters(failures) => {
                for (index, failure) in failures.iter().enumerate() {
                    let separator = if index == 0 { "" } else { ", " };
                    write!(f, "{separator}{failure}")?;
                }
                Ok(())
            }
            Self::MaxNodesReached { max_nodes } => {
                write!(f, "it has its {max_nodes} nodes (maxNodes)")
            }
            Self::ClusterLimitReached { max_workers } => {
                write!(f, "the cluster has its {max_workers} workers")
            }
            Self::BackingOff { reason, until } => write!(f, "{reason}; not before {until}"),
            Self::ScaleUpDisabled => f.write_str("scaleUpPolicy.enabled is false"),
            Self::Deleting => f.write_str("it is being deleted"),
            Self::Invalid { detail } => f.write_str(detail),
        }
    }
}
