//! Whether a node could go, and why not: a closed list of reasons, each with one name wherever it is
//! shown. [`super::super::refusal::Refusal`] passes them on.

use std::fmt;

use model::{HourlyPrice, NodeName, PodKey, UnevaluatedRule};
use scheduling::Filter;
use serde::{Deserialize, Serialize};

/// What would become of a node.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Verdict {
    /// All its pods find a place elsewhere.
    Removable {
        /// Where: pod by pod, in an order in which they fit.
        moves: Vec<(PodKey, NodeName)>,
        /// Saved per hour, where known.
        savings: Option<HourlyPrice>,
    },
    /// It stays, for every one of these reasons.
    Kept(Vec<Reason>),
}

impl Verdict {
    /// It could go.
    #[must_use]
    pub const fn is_removable(&self) -> bool {
        matches!(self, Self::Removable { .. })
    }
}

/// On how many nodes which filter says no.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Default, Serialize, Deserialize)]
pub struct Refusing {
    /// Nodes that were asked: those that stay and take pods.
    pub nodes: u32,
    /// How many of them refuse by which filter, each counted once.
    pub filters: Vec<(Filter, u32)>,
}

impl fmt::Display for Refusing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "0 of {} nodes", self.nodes)?;
        for (index, (filter, nodes)) in self.filters.iter().enumerate() {
            let before = if index == 0 { ": " } else { ", " };
            write!(f, "{before}{} on {nodes}", filter.name())?;
        }
        Ok(())
    }
}

/// Why a node stays.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub enum Reason {
    /// There is no such node.
    NodeNotFound,
    /// Its group is not managed by this product.
    GroupUnmanaged,
    /// The group has no more Ready nodes than its minimum, those that go before not counted.
    AtMinimum {
        /// The minimum.
        min_nodes: u32,
    },
    /// A pod that waits is about to be placed on it.
    NominatedPod(PodKey),
    /// Something in a pod on it cannot be understood.
    PodInvalid {
        /// The pod.
        pod: PodKey,
        /// What.
        detail: String,
    },
    /// A pod on it uses a rule that is not evaluated.
    RuleNotEvaluated {
        /// The pod.
        pod: PodKey,
        /// Which.
        rule: UnevaluatedRule,
    },
    /// A budget lets none of its pods be evicted.
    BudgetAllowsNone {
        /// The pod on the node.
        pod: PodKey,
        /// The budget, `namespace/name`.
        budget: String,
    },
    /// A pod is under more than one budget: the API server evicts no such pod.
    SeveralBudgets {
        /// The pod.
        pod: PodKey,
        /// The budgets, `namespace/name`.
        budgets: Vec<String>,
    },
    /// Too little room would be left free on the nodes that stay.
    CapacityBuffer {
        /// `cpu` (milli) or `memory` (bytes).
        resource: String,
        /// What must be free there.
        wanted: i64,
        /// What is.
        free: i64,
    },
    /// A pod finds no place on the nodes that stay.
    NoPlace {
        /// The first such pod.
        pod: PodKey,
        /// What says no.
        refusing: Refusing,
    },
    /// It could go alone; but nodes that go before it take the room that one of its pods needs.
    RoomTaken {
        /// The first such pod.
        pod: PodKey,
        /// What says no.
        refusing: Refusing,
    },
    /// It could go alone; but pods of a node that goes before it have their place here.
    TakesPods {
        /// That node.
        of: NodeName,
    },
    /// It could go alone; but what a budget allows is spent by nodes that go before it.
    BudgetSpent {
        /// The budget, `namespace/name`.
        budget: String,
        /// What it allows over the whole set.
        allowed: u32,
    },
    /// It has more pods under a budget than that allows at once: it is drained in waves, with no
    /// other node beside it.
    DrainedAlone {
        /// The budget, `namespace/name`.
        budget: String,
        /// What it allows at once.
        allowed: u32,
    },
    /// As many nodes go as may go at once.
    EnoughAtOnce {
        /// How many that is.
        most: u32,
    },
}

impl Reason {
    /// The name, the same in status, Event, metric and log.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::NodeNotFound => "NodeNotFound",
            Self::GroupUnmanaged => "GroupUnmanaged",
            Self::AtMinimum { .. } => "AtMinimum",
            Self::NominatedPod(_) => "NominatedPod",
            Self::PodInvalid { .. } => "PodInvalid",
            Self::RuleNotEvaluated { .. } => "RuleNotEvaluated",
            Self::BudgetAllowsNone { .. } => "BudgetAllowsNone",
            Self::SeveralBudgets { .. } => "SeveralBudgets",
            Self::CapacityBuffer { .. } => "CapacityBuffer",
            Self::NoPlace { .. } => "NoPlace",
            Self::RoomTaken { .. } => "RoomTaken",
            Self::TakesPods { .. } => "TakesPods",
            Self::BudgetSpent { .. } => "BudgetSpent",
            Self::DrainedAlone { .. } => "DrainedAlone",
            Self::EnoughAtOnce { .. } => "EnoughAtOnce",
        }
    }

    /// The pod that it names.
    #[must_use]
    pub const fn pod(&self) -> Option<&PodKey> {
        match self {
            Self::NominatedPod(pod)
            | Self::PodInvalid { pod, .. }
            | Self::RuleNotEvaluated { pod, .. }
            | Self::BudgetAllowsNone { pod, .. }
            | Self::SeveralBudgets { pod, .. }
            | Self::NoPlace { pod, .. }
            | Self::RoomTaken { pod, .. } => Some(pod),
            Self::NodeNotFound
            | Self::GroupUnmanaged
            | Self::AtMinimum { .. }
            | Self::CapacityBuffer { .. }
            | Self::TakesPods { .. }
            | Self::BudgetSpent { .. }
            | Self::DrainedAlone { .. }
            | Self::EnoughAtOnce { .. } => None,
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NodeNotFound => f.write_str("there is no such node"),
            Self::GroupUnmanaged => f.write_str("its group is not managed"),
            Self::AtMinimum { min_nodes } => {
                write!(f, "its group keeps {min_nodes} Ready nodes (minNodes)")
            }
            Self::NominatedPod(pod) => write!(f, "pending pod {pod} is about to use it"),
            Self::PodInvalid { pod, detail } => {
                write!(f, "pod {pod} cannot be understood: {detail}")
            }
            Self::RuleNotEvaluated { pod, rule } => write!(
                f,
                "pod {pod} has a rule that is not evaluated: {}",
                rule.plugin()
            ),
            Self::BudgetAllowsNone { pod, budget } => write!(
                f,
                "budget {budget} lets no pod be evicted now, pod {pod} among them"
            ),
            Self::SeveralBudgets { pod, budgets } => write!(
                f,
                "pod {pod} is under more than one budget ({}), so that it cannot be evicted",
                budgets.join(", ")
            ),
            Self::CapacityBuffer {
                resource,
                wanted,
                free,
            } => {
                let unit = if resource == "cpu" { "m" } else { " bytes" };
                write!(
                    f,
                    "{wanted}{unit} of {resource} must be free on the nodes that stay, and \
                     {free}{unit} are"
                )
            }
            Self::NoPlace { pod, refusing } => write!(
                f,
                "pod {pod} finds no place on the nodes that stay: {refusing}"
            ),
            Self::RoomTaken { pod, refusing } => write!(
                f,
                "nodes that go before it take the room that pod {pod} needs: {refusing}"
            ),
            Self::TakesPods { of } => write!(f, "pods of node {of}, which goes, have room here"),
            Self::BudgetSpent { budget, allowed } => write!(
                f,
                "budget {budget} allows {allowed} evictions, which nodes before it use up"
            ),
            Self::DrainedAlone { budget, allowed } => write!(
                f,
                "budget {budget} allows {allowed} evictions at once: it is drained in waves, \
                 with no other node beside it"
            ),
            Self::EnoughAtOnce { most } => write!(f, "no more than {most} nodes go at once"),
        }
    }
}
