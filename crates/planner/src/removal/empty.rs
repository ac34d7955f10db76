//! Choosing an empty node to take away: the first slice of scale-down.
//!
//! A node is unneeded while nothing but DaemonSet and mirror pods is on it. It becomes a candidate
//! once that has lasted for the whole stabilization window without a break, and is taken only when
//! nothing forbids it. One removal at a time, over the whole cluster.

use std::{collections::BTreeMap, fmt, time::Duration};

use jiff::Timestamp;
use model::{GroupKey, HourlyPrice, NodeName, PodKey};

/// The group of a candidate.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Group {
    /// Never fewer Ready nodes than this.
    pub min_nodes: u32,
    /// Ready nodes that are not being removed.
    pub ready_nodes: u32,
    /// `scaleDownPolicy.enabled`.
    pub enabled: bool,
    /// `scaleDownPolicy.stabilizationWindowSeconds`.
    pub window: Duration,
    /// `scaleDownPolicy.cooldownSeconds`: after a scale-up or a removal in the group, and after a
    /// node became Ready.
    pub cooldown: Duration,
    /// When the group last grew or shrank.
    pub last_scaled_at: Option<Timestamp>,
    /// Machines of the group that are on their way.
    pub in_flight: u32,
    /// The group is being deleted: its nodes go another way.
    pub deleting: bool,
}

/// A node of ours.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Candidate {
    /// The VPSieNode's name.
    pub machine: String,
    /// The node.
    pub node: NodeName,
    /// Its group.
    pub group: GroupKey,
    /// When it became Ready.
    pub ready_at: Option<Timestamp>,
    /// The durable start of the unbroken window, where one is running.
    pub unneeded_since: Option<Timestamp>,
    /// Pods on it that are neither DaemonSet nor mirror pods and have not finished.
    pub pods: Vec<PodKey>,
    /// Somebody protected it: the label or annotation that says so.
    pub protected_by: Option<String>,
    /// The hours in which it may go, as its user wrote them.
    pub allowed_hours: Option<String>,
    /// Startup taints that are still on it.
    pub startup_taints: Vec<String>,
    /// A pod that waits and is about to be placed here: see [`super::awaited`].
    pub awaited_by: Option<PodKey>,
    /// Saved per hour by its removal, where known.
    pub savings: Option<HourlyPrice>,
    /// It is being removed already.
    pub removing: bool,
}

/// Why a node stays.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Refusal {
    /// A pod is on it.
    NotEmpty(PodKey),
    /// Not empty for long enough yet.
    WindowNotOver {
        /// Until then.
        until: Timestamp,
    },
    /// The group has no more Ready nodes than its minimum.
    AtMinimum {
        /// The minimum.
        min_nodes: u32,
    },
    /// The group scaled a short while ago.
    CooldownActive {
        /// Until then.
        until: Timestamp,
    },
    /// The node became Ready a short while ago.
    NodeTooYoung {
        /// Until then.
        until: Timestamp,
    },
    /// Machines of the group are on their way.
    ScaleUpInProgress,
    /// Scale-down is disabled for the group.
    ScaleDownDisabled,
    /// The node is protected.
    Protected {
        /// By this label or annotation.
        by: String,
    },
    /// The node may go in certain hours only, and this version does not evaluate hours.
    AllowedHoursNotEvaluated {
        /// As its user wrote them.
        hours: String,
    },
    /// Startup taints are still on it.
    StartupTaints(String),
    /// A pod that waits is about to be placed on it.
    NominatedPod(PodKey),
    /// Another node is being removed.
    RemovalInProgress(String),
    /// The group is being deleted.
    GroupDeleting,
    /// Its group is not managed by this product.
    GroupUnmanaged,
    /// The cloud cannot delete a machine by its identity.
    TargetedDeleteUnsupported,
}

impl Refusal {
    /// The name, the same in status, event, metric and log.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::NotEmpty(_) => "NotEmpty",
            Self::WindowNotOver { .. } => "WindowNotOver",
            Self::AtMinimum { .. } => "AtMinimum",
            Self::CooldownActive { .. } => "CooldownActive",
            Self::NodeTooYoung { .. } => "NodeTooYoung",
            Self::ScaleUpInProgress => "ScaleUpInProgress",
            Self::ScaleDownDisabled => "ScaleDownDisabled",
            Self::Protected { .. } => "Protected",
            Self::AllowedHoursNotEvaluated { .. } => "AllowedHoursNotEvaluated",
            Self::StartupTaints(_) => "StartupTaints",
            Self::NominatedPod(_) => "NominatedPod",
            Self::RemovalInProgress(_) => "RemovalInProgress",
            Self::GroupDeleting => "GroupDeleting",
            Self::GroupUnmanaged => "GroupUnmanaged",
            Self::TargetedDeleteUnsupported => "TargetedDeleteUnsupported",
        }
    }

    /// Somebody asked that the node stays; it goes once they take that back.
    #[must_use]
    pub const fn is_asked_for(&self) -> bool {
        matches!(
            self,
            Self::Protected { .. } | Self::AllowedHoursNotEvaluated { .. }
        )
    }

    /// When it ends by itself, where that is known.
    const fn ends_at(&self) -> Option<Timestamp> {
        match self {
            Self::WindowNotOver { until }
            | Self::CooldownActive { until }
            | Self::NodeTooYoung { until } => Some(*until),
            Self::NotEmpty(_)
            | Self::AtMinimum { .. }
            | Self::ScaleUpInProgress
            | Self::ScaleDownDisabled
            | Self::Protected { .. }
            | Self::AllowedHoursNotEvaluated { .. }
            | Self::StartupTaints(_)
            | Self::NominatedPod(_)
            | Self::RemovalInProgress(_)
            | Self::GroupDeleting
            | Self::GroupUnmanaged
            | Self::TargetedDeleteUnsupported => None,
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotEmpty(pod) => write!(f, "pod {pod} is on it"),
            Self::WindowNotOver { until } => {
                write!(
                    f,
                    "it has not been empty for the whole window; not before {until}"
                )
            }
            Self::AtMinimum { min_nodes } => {
                write!(f, "its group keeps {min_nodes} Ready nodes (minNodes)")
            }
            Self::CooldownActive { until } => {
                write!(f, "its group scaled a short while ago; not before {until}")
            }
            Self::NodeTooYoung { until } => {
                write!(f, "it became Ready a short while ago; not before {until}")
            }
            Self::ScaleUpInProgress => f.write_str("machines of its group are on their way"),
            Self::ScaleDownDisabled => f.write_str("scaleDownPolicy.enabled is false"),
            Self::Protected { by } => write!(f, "it is protected by {by}"),
            Self::AllowedHoursNotEvaluated { hours } => write!(
                f,
                "it may go in the hours {hours} only; this version does not evaluate hours, so \
                 that it stays until the annotation is removed"
            ),
            Self::StartupTaints(taint) => write!(f, "startup taint {taint} is still on it"),
            Self::NominatedPod(pod) => write!(f, "pending pod {pod} is about to use it"),
            Self::RemovalInProgress(other) => write!(f, "{other} is being removed"),
            Self::GroupDeleting => f.write_str("its group is being deleted"),
            Self::GroupUnmanaged => f.write_str("its group is not managed"),
            Self::TargetedDeleteUnsupported => {
                f.write_str("the cloud cannot delete a machine by its identity")
            }
        }
    }
}

/// Everything the choice rests on.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Input {
    /// The present instant.
    pub now: Timestamp,
    /// The managed groups.
    pub groups: BTreeMap<GroupKey, Group>,
    /// Every Ready node of ours.
    pub candidates: Vec<Candidate>,
    /// The provider can delete by identity.
    pub targeted_delete: bool,
}

/// What follows.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Plan {
    /// Remove this one (the VPSieNode's name).
    pub remove: Option<String>,
    /// Windows that begin now: to be recorded durably.
    pub window_started: Vec<String>,
    /// Windows that are broken: the record is cleared.
    pub window_broken: Vec<String>,
    /// The next instant at which a window or a cooldown ends.
    pub look_again_at: Option<Timestamp>,
}

/// Why each node stays.
pub type Report = BTreeMap<NodeName, Vec<Refusal>>;

/// Chooses at most one node to remove.
///
/// Order: most money saved first (unknown last), then the longest unneeded, then by name.
#[must_use]
pub fn plan(input: &Input) -> (Plan, Report) {
    let mut plan = Plan::default();
    let mut report = Report::new();
    let mut eligible: Vec<&Candidate> = Vec::new();
    let removing = input.candidates.iter().find(|candidate| candidate.removing);
    for candidate in &input.candidates {
        if candidate.removing {
            continue;
        }
        track_window(candidate, &mut plan);
        let mut refusals = refusals(input, candidate);
        if let Some(other) = removing {
            refusals.push(Refusal::RemovalInProgress(other.machine.clone()));
        }
        if refusals.is_empty() {
            eligible.push(candidate);
        }
        for until in refusals.iter().filter_map(Refusal::ends_at) {
            plan.look_again_at = Some(plan.look_again_at.map_or(until, |at| at.min(until)));
        }
        if !refusals.is_empty() {
            report.insert(candidate.node.clone(), refusals);
        }
    }
    eligible.sort_by(|a, b| {
        b.savings
            .cmp(&a.savings)
            .then_with(|| a.unneeded_since.cmp(&b.unneeded_since))
            .then_with(|| a.node.cmp(&b.node))
    });
    plan.remove = eligible.first().map(|candidate| candidate.machine.clone());
    (plan, report)
}

/// What must not have changed while the node settles: everything but the window, which is over.
pub fn still_removable(input: &Input, machine: &str) -> Result<(), Refusal> {
    let Some(candidate) = input.candidates.iter().find(|c| c.machine == machine) else {
        return Err(Refusal::GroupUnmanaged);
    };
    // Its own cordon counts as the one removal that is under way.
    refusals(input, candidate)
        .into_iter()
        .find(|refusal| !matches!(refusal, Refusal::WindowNotOver { .. }))
        .map_or(Ok(()), Err)
}

fn track_window(candidate: &Candidate, plan: &mut Plan) {
    match (candidate.pods.is_empty(), candidate.unneeded_since) {
        (true, None) => plan.window_started.push(candidate.machine.clone()),
        (false, Some(_)) => plan.window_broken.push(candidate.machine.clone()),
        _ => {}
    }
}

fn refusals(input: &Input, candidate: &Candidate) -> Vec<Refusal> {
    let mut refusals = Vec::new();
    if !input.targeted_delete {
        refusals.push(Refusal::TargetedDeleteUnsupported);
    }
    if let Some(pod) = candidate.pods.first() {
        refusals.push(Refusal::NotEmpty(pod.clone()));
    }
    if let Some(by) = &candidate.protected_by {
        refusals.push(Refusal::Protected { by: by.clone() });
    }
    if let Some(hours) = &candidate.allowed_hours {
        let hours = hours.clone();
        refusals.push(Refusal::AllowedHoursNotEvaluated { hours });
    }
    if let Some(taint) = candidate.startup_taints.first() {
        refusals.push(Refusal::StartupTaints(taint.clone()));
    }
    if let Some(pod) = &candidate.awaited_by {
        refusals.push(Refusal::NominatedPod(pod.clone()));
    }
    let Some(group) = input.groups.get(&candidate.group) else {
        refusals.push(Refusal::GroupUnmanaged);
        return refusals;
    };
    if group.deleting {
        refusals.push(Refusal::GroupDeleting);
    }
    if !group.enabled {
        refusals.push(Refusal::ScaleDownDisabled);
    }
    // A node that is being removed is not counted among the Ready ones any more.
    let spare = group.ready_nodes + u32::from(candidate.removing);
    if spare <= group.min_nodes {
        refusals.push(Refusal::AtMinimum {
            min_nodes: group.min_nodes,
        });
    }
    if group.in_flight > 0 {
        refusals.push(Refusal::ScaleUpInProgress);
    }
    let until = |since: Timestamp, wait: Duration| {
        // A wait beyond the end of time never ends; it must not count as over.
        Some(since.checked_add(wait).unwrap_or(Timestamp::MAX)).filter(|until| *until > input.now)
    };
    if let Some(until) = group
        .last_scaled_at
        .and_then(|at| until(at, group.cooldown))
        && !candidate.removing
    {
        refusals.push(Refusal::CooldownActive { until });
    }
    match candidate.ready_at.map(|at| until(at, group.cooldown)) {
        Some(Some(until)) => refusals.push(Refusal::NodeTooYoung { until }),
        Some(None) => {}
        None => refusals.push(Refusal::NodeTooYoung {
            until: input
                .now
                .saturating_add(group.cooldown)
                .unwrap_or(input.now),
        }),
    }
    if candidate.pods.is_empty() {
        let since = candidate.unneeded_since.unwrap_or(input.now);
        if let Some(until) = until(since, group.window) {
            refusals.push(Refusal::WindowNotOver { until });
        } else if candidate.unneeded_since.is_none() {
            // A zero window still wants its start recorded first.
            refusals.push(Refusal::WindowNotOver { until: input.now });
        }
    }
    refusals
}
