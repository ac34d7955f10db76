//! Naming what was found. The order of the questions is the order of precedence.

use std::time::Duration;

use jiff::Timestamp;
use model::{InstancePhase, Resolution};
use planted::Bug;

use super::{
    CloudView, CreationState, Failure, FailureReason, GroupRoom, MachineView, NodeView,
    Observation, Phase, Policy, PoolView, Record, RemovalStep,
};
use crate::removal;

/// What a step found. Closed: the table answers each one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Situation {
    /// Which machine it is has become known.
    Identified,
    /// The object is to go.
    DeletionRequested,
    /// A removal is under way.
    Removing,
    /// Given up, machine proven gone; the evidence is kept.
    KeepingEvidence,
    /// Given up by an earlier version, which leaves the machine as it is until its time is over.
    LeftFailed,
    /// Given up; the machine has to go.
    GivenUp,
    /// The group cannot be bought for now.
    GroupUnusable,
    /// The group has more records than it may have machines: those too many go first.
    GroupOverfull,
    /// The offering is in back-off until this.
    BackingOff(Timestamp),
    /// Another request to the pool has no answer yet.
    PoolBlocked,
    /// The pool does not exist yet.
    PoolMissing,
    /// No observation fresh enough to be a baseline.
    BaselineStale,
    /// Everything is there to ask for the machine.
    MayAsk,
    /// The intent was recorded and no answer was.
    AnswerLost,
    /// The machine has not appeared yet.
    AwaitingMachine,
    /// The request is proven to have had no effect.
    ProvenAbsent,
    /// More machines appeared than were asked for.
    Ambiguous(usize),
    /// The machine is identified and being built.
    MachineBuilding,
    /// The machine runs.
    MachineRunning,
    /// The machine is proven to have disappeared.
    MachineVanished,
    /// Not running within the deadline, or given up waiting: the reason.
    ProvisioningOverdue(FailureReason, String),
    /// Not Ready within the deadline.
    JoiningOverdue(String),
    /// No Node yet.
    AwaitingNode,
    /// Several Nodes claim the machine, or one contradicts it.
    NodeConflict(String),
    /// The Node is there but does not carry what the group wants.
    NodeBare,
    /// The Node carries everything but is not Ready.
    NodeNotReady,
    /// The Node is Ready and carries everything.
    NodeReady,
    /// The Node was there and is not any more.
    NodeMissing,
    /// The Node is missing, not Ready or not done starting for too long: in words.
    NodeUnhealthy(String),
    /// The cloud does not list the machine although its Node is Ready.
    MachineUnlisted,
    /// Our cordon is left over from a removal that was taken back.
    CordonLeftOver,
}

impl Situation {
    /// The name, as it appears in logs and the table.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Identified => "Identified",
            Self::DeletionRequested => "DeletionRequested",
            Self::Removing => "Removing",
            Self::KeepingEvidence => "KeepingEvidence",
            Self::LeftFailed => "LeftFailed",
            Self::GivenUp => "GivenUp",
            Self::GroupUnusable => "GroupUnusable",
            Self::GroupOverfull => "GroupOverfull",
            Self::BackingOff(_) => "BackingOff",
            Self::PoolBlocked => "PoolBlocked",
            Self::PoolMissing => "PoolMissing",
            Self::BaselineStale => "BaselineStale",
            Self::MayAsk => "MayAsk",
            Self::AnswerLost => "AnswerLost",
            Self::AwaitingMachine => "AwaitingMachine",
            Self::ProvenAbsent => "ProvenAbsent",
            Self::Ambiguous(_) => "Ambiguous",
            Self::MachineBuilding => "MachineBuilding",
            Self::MachineRunning => "MachineRunning",
            Self::MachineVanished => "MachineVanished",
            Self::ProvisioningOverdue(..) => "ProvisioningOverdue",
            Self::JoiningOverdue(_) => "JoiningOverdue",
            Self::AwaitingNode => "AwaitingNode",
            Self::NodeConflict(_) => "NodeConflict",
            Self::NodeBare => "NodeBare",
            Self::NodeNotReady => "NodeNotReady",
            Self::NodeReady => "NodeReady",
            Self::NodeMissing => "NodeMissing",
            Self::NodeUnhealthy(_) => "NodeUnhealthy",
            Self::MachineUnlisted => "MachineUnlisted",
            Self::CordonLeftOver => "CordonLeftOver",
        }
    }

    /// One of each kind, in order of precedence: what the printed table and its tests enumerate.
    #[must_use]
    pub fn examples() -> Vec<Self> {
        vec![
            Self::Identified,
            Self::DeletionRequested,
            Self::Removing,
            Self::KeepingEvidence,
            Self::LeftFailed,
            Self::GivenUp,
            Self::GroupUnusable,
            Self::GroupOverfull,
            Self::BackingOff(Timestamp::UNIX_EPOCH),
            Self::PoolBlocked,
            Self::PoolMissing,
            Self::BaselineStale,
            Self::MayAsk,
            Self::AnswerLost,
            Self::AwaitingMachine,
            Self::ProvenAbsent,
            Self::Ambiguous(2),
            Self::MachineBuilding,
            Self::MachineRunning,
            Self::MachineVanished,
            Self::ProvisioningOverdue(FailureReason::ProvisioningTimeout, String::new()),
            Self::JoiningOverdue(String::new()),
            Self::AwaitingNode,
            Self::NodeConflict(String::new()),
            Self::NodeBare,
            Self::NodeNotReady,
            Self::NodeReady,
            Self::NodeMissing,
            Self::NodeUnhealthy(String::new()),
            Self::MachineUnlisted,
            Self::CordonLeftOver,
        ]
    }

    pub(super) fn failure(&self) -> Option<Failure> {
        let (reason, message) = match self {
            Self::ProvisioningOverdue(reason, message) => (*reason, message.clone()),
            Self::JoiningOverdue(message) => (FailureReason::JoiningTimeout, message.clone()),
            Self::MachineVanished => (
                FailureReason::NodeNotFound,
                "the machine disappeared from the cloud".to_owned(),
            ),
            _ => return None,
        };
        Some(Failure { reason, message })
    }
}

/// Names what was found.
#[must_use]
pub fn classify(
    record: &Record,
    observed: &Observation,
    now: Timestamp,
    policy: &Policy,
) -> Situation {
    // Whatever follows, a removal above all, has to know which machine it is about.
    if record.machine.is_none() && found(observed) {
        return Situation::Identified;
    }
    if let Some(removal) = &record.removal {
        let keeps = removal.step == RemovalStep::Gone
            && record.phase == Phase::Failed
            && !record.deletion_requested
            && !observed.lists_the_machine()
            && !older(record.failed_at, now, policy.failed_ttl);
        return if keeps {
            Situation::KeepingEvidence
        } else {
            Situation::Removing
        };
    }
    if record.deletion_requested {
        return Situation::DeletionRequested;
    }
    match record.phase {
        Phase::Failed if left_failed(record, observed, now, policy) => Situation::LeftFailed,
        Phase::Failed | Phase::Terminating | Phase::Deleting => Situation::GivenUp,
        // An object that somebody made for a machine that is there already.
        Phase::Pending if record.machine.is_some() => provisioning(record, observed, now, policy),
        Phase::Pending => asking(record, observed, now, policy),
        Phase::Provisioning => provisioning(record, observed, now, policy),
        Phase::Provisioned | Phase::Joining => joining(record, observed, now, policy),
        Phase::Ready => ready(record, observed, now, policy),
    }
}

fn found(observed: &Observation) -> bool {
    matches!(
        &observed.cloud,
        CloudView::Seen {
            resolution: Some(Resolution::Found(_)),
            ..
        }
    )
}

/// A machine that this version gives up is being removed from that step on. One that is not was
/// given up by an earlier version, and taking over deletes nothing: it has the time that version
/// gave it, unless it is gone anyway.
fn left_failed(record: &Record, observed: &Observation, now: Timestamp, policy: &Policy) -> bool {
    let refused = record
        .creation
        .as_ref()
        .is_some_and(|creation| creation.state == CreationState::Rejected);
    // Before the first observation a machine may not be known yet.
    let may_have_one =
        record.machine.is_some() || (observed.cloud == CloudView::Unseen && !refused);
    may_have_one
        && !older(record.failed_at, now, policy.failed_ttl)
        && !removal::vanished(record, observed, policy)
}

fn older(since: Option<Timestamp>, now: Timestamp, limit: Option<Duration>) -> bool {
    match (since, limit) {
        (Some(since), Some(limit)) => age(since, now) >= limit,
        _ => false,
    }
}

fn age(since: Timestamp, now: Timestamp) -> Duration {
    Duration::try_from(now.duration_since(since)).unwrap_or_default()
}

/// May the machine be asked for now?
fn asking(record: &Record, observed: &Observation, now: Timestamp, policy: &Policy) -> Situation {
    let create = &observed.create;
    if overdue(record, now, policy) {
        let message = record
            .creation
            .as_ref()
            .map(|creation| creation.message.clone())
            .filter(|message| !message.is_empty())
            .unwrap_or_else(|| "the cloud took no request within the deadline".into());
        return Situation::ProvisioningOverdue(FailureReason::VPSieAPIError, message);
    }
    if !create.group_usable {
        let limit = Some(policy.provisioning_timeout);
        return if record.creation.is_none() && older(record.created_at, now, limit) {
            Situation::ProvisioningOverdue(
                FailureReason::GroupUnusable,
                "its group does not offer its size, or cannot be used".into(),
            )
        } else {
            Situation::GroupUnusable
        };
    }
    match create.room {
        GroupRoom::Enough => {}
        GroupRoom::Overfull => return Situation::GroupOverfull,
        GroupRoom::Surplus => {
            return Situation::ProvisioningOverdue(
                FailureReason::GroupUnusable,
                "its group may have no more machines".into(),
            );
        }
    }
    if let Some(until) = create.backoff_until.filter(|until| *until > now) {
        return Situation::BackingOff(until);
    }
    if create.pool == PoolView::Missing {
        return match create.baseline_at {
            Some(_) => Situation::PoolMissing,
            None => Situation::BaselineStale,
        };
    }
    if create.blocked {
        return Situation::PoolBlocked;
    }
    match create.baseline_at {
        Some(at) if age(at, now) <= policy.baseline_age => Situation::MayAsk,
        _ => Situation::BaselineStale,
    }
}

fn overdue(record: &Record, now: Timestamp, policy: &Policy) -> bool {
    older(
        record.provisioning_at,
        now,
        Some(policy.provisioning_timeout),
    )
}

fn provisioning(
    record: &Record,
    observed: &Observation,
    now: Timestamp,
    policy: &Policy,
) -> Situation {
    let timeout = |message: &str| {
        Situation::ProvisioningOverdue(FailureReason::ProvisioningTimeout, message.to_owned())
    };
    if record.machine.is_some() {
        return match &observed.cloud {
            CloudView::Seen {
                machine: MachineView::Listed(instance),
                ..
            } if instance.phase == InstancePhase::Running => Situation::MachineRunning,
            // What has registered its Node runs, whatever the last observation saw.
            _ if matches!(observed.node, NodeView::Present(_)) => Situation::MachineRunning,
            _ if removal::vanished(record, observed, policy) => Situation::MachineVanished,
            _ if overdue(record, now, policy) => {
                timeout("the machine did not run within the deadline")
            }
            _ => Situation::MachineBuilding,
        };
    }
    let Some(creation) = &record.creation else {
        return asking(record, observed, now, policy);
    };
    match creation.state {
        CreationState::Intended | CreationState::Unknown if planted::is(Bug::AskAgain) => {
            return asking(record, observed, now, policy);
        }
        CreationState::Intended => return Situation::AnswerLost,
        CreationState::Rejected => return asking(record, observed, now, policy),
        CreationState::Accepted | CreationState::Unknown => {}
    }
    let resolution = match &observed.cloud {
        CloudView::Seen { resolution, .. } => resolution.as_ref(),
        CloudView::Unseen => None,
    };
    match resolution {
        Some(Resolution::ProvenAbsent) if creation.attempt >= policy.attempts => {
            Situation::ProvisioningOverdue(
                FailureReason::VPSieAPIError,
                format!("{} requests had no effect", creation.attempt),
            )
        }
        Some(Resolution::ProvenAbsent) => match asking(record, observed, now, policy) {
            Situation::MayAsk => Situation::ProvenAbsent,
            other => other,
        },
        Some(Resolution::Ambiguous(machines)) if overdue(record, now, policy) => {
            Situation::ProvisioningOverdue(
                FailureReason::AmbiguousCreate,
                format!(
                    "{} machines appeared that cannot be told from others or fit no request; \
                     none was adopted",
                    machines.len()
                ),
            )
        }
        Some(Resolution::Ambiguous(machines)) => Situation::Ambiguous(machines.len()),
        Some(Resolution::StillPending | Resolution::Found(_)) | None
            if overdue(record, now, policy) =>
        {
            timeout("no machine appeared within the deadline")
        }
        Some(Resolution::StillPending | Resolution::Found(_)) | None => Situation::AwaitingMachine,
    }
}

fn joining(record: &Record, observed: &Observation, now: Timestamp, policy: &Policy) -> Situation {
    if removal::vanished(record, observed, policy) {
        return Situation::MachineVanished;
    }
    let late = older(record.provisioned_at, now, Some(policy.joining_timeout));
    match &observed.node {
        NodeView::Present(node) if node.metadata_applied && node.ready => Situation::NodeReady,
        NodeView::Present(node) if late && node.ready => Situation::JoiningOverdue(format!(
            "node {} could not be given what its group puts on nodes",
            node.name
        )),
        NodeView::Present(node) if late => {
            Situation::JoiningOverdue(format!("node {} did not become Ready", node.name))
        }
        NodeView::Present(node) if !node.metadata_applied => Situation::NodeBare,
        NodeView::Conflict(detail) if late => Situation::JoiningOverdue(detail.clone()),
        NodeView::Absent { .. } if late => {
            Situation::JoiningOverdue("no node joined within the deadline".into())
        }
        NodeView::Present(_) => Situation::NodeNotReady,
        NodeView::Conflict(detail) => Situation::NodeConflict(detail.clone()),
        NodeView::Absent { .. } => Situation::AwaitingNode,
    }
}

fn ready(record: &Record, observed: &Observation, now: Timestamp, policy: &Policy) -> Situation {
    if removal::vanished(record, observed, policy) {
        return Situation::MachineVanished;
    }
    if let Some(what) = unhealthy(record, observed, now, policy) {
        return Situation::NodeUnhealthy(what);
    }
    match &observed.node {
        NodeView::Absent { .. } => Situation::NodeMissing,
        NodeView::Conflict(detail) => Situation::NodeConflict(detail.clone()),
        NodeView::Present(node) if node.cordon.is_marked() && !planted::is(Bug::LeaveCordoned) => {
            Situation::CordonLeftOver
        }
        NodeView::Present(node) if !node.metadata_applied => Situation::NodeBare,
        NodeView::Present(node) if node.ready => {
            if removal::unlisted(observed, policy.disappearance, policy) {
                Situation::MachineUnlisted
            } else {
                Situation::NodeReady
            }
        }
        NodeView::Present(_) => Situation::NodeNotReady,
    }
}

/// What is wrong with a node in service, and has been for too long.
fn unhealthy(
    record: &Record,
    observed: &Observation,
    now: Timestamp,
    policy: &Policy,
) -> Option<String> {
    let lasting = |limit| older(record.unhealthy_since, now, Some(limit));
    match &observed.node {
        NodeView::Absent { .. } if lasting(policy.unhealthy_timeout) => {
            Some("the Node object is gone".to_owned())
        }
        NodeView::Present(node) if !node.ready && lasting(policy.unhealthy_timeout) => {
            Some(format!("node {} is not Ready", node.name))
        }
        NodeView::Present(node) if node.ready && lasting(policy.startup_timeout) => {
            let taint = node.starting.first()?;
            Some(format!(
                "node {} still has startup taint {taint}",
                node.name
            ))
        }
        _ => None,
    }
}

/// Since when a node in service is not what it should be, as far as this observation goes.
pub(super) fn unhealthy_since(
    record: &Record,
    observed: &Observation,
    now: Timestamp,
) -> Option<Timestamp> {
    if record.phase != Phase::Ready {
        return None;
    }
    let begun = match &observed.node {
        NodeView::Absent { .. } => now,
        NodeView::Present(node) if !node.ready => node.ready_since.map_or(now, |at| at.min(now)),
        NodeView::Present(node) if !node.starting.is_empty() => now,
        NodeView::Present(_) => return None,
        // Which node it is has to be known before its state says anything.
        NodeView::Conflict(_) => return record.unhealthy_since,
    };
    Some(record.unhealthy_since.unwrap_or(begun))
}
