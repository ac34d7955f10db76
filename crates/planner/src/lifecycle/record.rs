//! The durable record of one machine: what the VPSieNode holds.

use std::{collections::BTreeSet, time::Duration};

use jiff::Timestamp;
use model::{Hostname, InstanceId, NodeName, PoolId};

/// The phases. Each says what is awaited.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Hash)]
pub enum Phase {
    /// Decided; nothing was asked of the cloud yet.
    Pending,
    /// Asked for; the machine is awaited.
    Provisioning,
    /// The machine runs.
    Provisioned,
    /// Its Node is awaited.
    Joining,
    /// Its Node is Ready and carries what the group wants on it.
    Ready,
    /// The Node is being emptied and deleted; not taken back.
    Terminating,
    /// The machine is being deleted and its absence proven.
    Deleting,
    /// Given up; the machine is removed at once, the evidence kept for a while.
    Failed,
}

impl Phase {
    /// Every phase, in order of life.
    pub const ALL: [Self; 8] = [
        Self::Pending,
        Self::Provisioning,
        Self::Provisioned,
        Self::Joining,
        Self::Ready,
        Self::Terminating,
        Self::Deleting,
        Self::Failed,
    ];

    /// The name in `status.phase`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pending => "Pending",
            Self::Provisioning => "Provisioning",
            Self::Provisioned => "Provisioned",
            Self::Joining => "Joining",
            Self::Ready => "Ready",
            Self::Terminating => "Terminating",
            Self::Deleting => "Deleting",
            Self::Failed => "Failed",
        }
    }

    /// On the way to Ready: capacity that was bought and will serve pods soon.
    #[must_use]
    pub const fn is_in_flight(self) -> bool {
        matches!(
            self,
            Self::Pending | Self::Provisioning | Self::Provisioned | Self::Joining
        )
    }
}

/// How far one create request has come.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum CreationState {
    /// Recorded; the request follows at once. Found like this at the start of a step, the answer
    /// was lost.
    Intended,
    /// The cloud said yes.
    Accepted,
    /// It may or may not have taken effect.
    Unknown,
    /// The cloud said no; nothing was bought.
    Rejected,
}

/// The write-ahead record of a create request.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Creation {
    /// 1 for the first request.
    pub attempt: u32,
    /// How far it has come.
    pub state: CreationState,
    /// When it was sent, or may have been.
    pub requested_at: Timestamp,
    /// The pool it was sent to.
    pub pool: PoolId,
    /// Machines that existed before the first request of this record.
    pub baseline: BTreeSet<InstanceId>,
    /// What the cloud said last.
    pub message: String,
}

/// The machine that belongs to the record.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Machine {
    /// Its identity at the cloud.
    pub instance: InstanceId,
    /// Its name, in lower case.
    pub hostname: Hostname,
}

/// Why a machine is being taken away.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Hash)]
pub enum RemovalCause {
    /// Nothing but DaemonSet and mirror pods was on it for the whole window.
    Empty,
    /// Little of it was in use for the whole window, and its pods have their place elsewhere.
    Underutilized,
    /// Its Node was not Ready, or not there, for too long: it is replaced.
    Unhealthy,
    /// The VPSieNode, or its group, was deleted.
    Deleted,
    /// It failed.
    Failed,
}

impl RemovalCause {
    /// Every cause.
    pub const ALL: [Self; 5] = [
        Self::Empty,
        Self::Underutilized,
        Self::Unhealthy,
        Self::Deleted,
        Self::Failed,
    ];

    /// The product chose a node that works: it stays as soon as anything speaks against its removal.
    #[must_use]
    pub const fn is_voluntary(self) -> bool {
        matches!(self, Self::Empty | Self::Underutilized)
    }

    /// The name in the status.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Empty => "Empty",
            Self::Underutilized => "Underutilized",
            Self::Unhealthy => "Unhealthy",
            Self::Deleted => "Deleted",
            Self::Failed => "Failed",
        }
    }
}

/// How far a removal has come.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Hash)]
pub enum RemovalStep {
    /// To be cordoned.
    Cordoning,
    /// Cordoned; waiting for pods that were bound meanwhile to show.
    Settling,
    /// Pods are asked to leave.
    Draining,
    /// The pods have left; their volumes are being detached.
    Detaching,
    /// Proven empty; the Node object goes.
    DeletingNode,
    /// The Node object is gone; the machine goes.
    DeletingMachine,
    /// The machine is proven gone.
    Gone,
}

impl RemovalStep {
    /// Every step, in order.
    pub const ALL: [Self; 7] = [
        Self::Cordoning,
        Self::Settling,
        Self::Draining,
        Self::Detaching,
        Self::DeletingNode,
        Self::DeletingMachine,
        Self::Gone,
    ];

    /// Nothing is taken back any more.
    #[must_use]
    pub fn is_final(self) -> bool {
        self >= Self::DeletingNode
    }

    /// The name in the status.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Cordoning => "Cordoning",
            Self::Settling => "Settling",
            Self::Draining => "Draining",
            Self::Detaching => "Detaching",
            Self::DeletingNode => "DeletingNode",
            Self::DeletingMachine => "DeletingMachine",
            Self::Gone => "Gone",
        }
    }
}

/// The record of a removal.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Removal {
    /// Why.
    pub cause: RemovalCause,
    /// How far.
    pub step: RemovalStep,
    /// Since when.
    pub started_at: Timestamp,
    /// When the step began, or its request was last sent.
    pub step_at: Timestamp,
    /// Whether the step's request was sent.
    pub sent: bool,
    /// Since when the machine goes whatever is on it, by the order of whoever deleted the object.
    pub forced_at: Option<Timestamp>,
    /// What holds it up, in words.
    pub message: String,
}

impl Removal {
    /// Nobody ordered it and the point of no return is ahead: it ends, and uncordons, as soon as
    /// anything speaks against it.
    #[must_use]
    pub fn can_be_taken_back(&self) -> bool {
        let ordered = matches!(self.cause, RemovalCause::Deleted | RemovalCause::Failed);
        !ordered && !self.step.is_final()
    }

    /// A removal that begins now.
    #[must_use]
    pub const fn new(cause: RemovalCause, now: Timestamp) -> Self {
        Self {
            cause,
            step: RemovalStep::Cordoning,
            started_at: now,
            step_at: now,
            sent: false,
            forced_at: None,
            message: String::new(),
        }
    }
}

/// Why a machine was given up. The names are condition reasons.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Hash)]
pub enum FailureReason {
    /// Not running within the deadline.
    ProvisioningTimeout,
    /// Its Node was not Ready within the deadline.
    JoiningTimeout,
    /// The plan allows no more workers.
    CapacityLimitReached,
    /// The size is not to be had here now.
    OutOfStock,
    /// The cloud refused for another lasting reason.
    VPSieAPIError,
    /// More machines appeared than were asked for; none was adopted.
    AmbiguousCreate,
    /// The machine disappeared.
    NodeNotFound,
    /// Its group, or its size in the group, could not be used any more before it was asked for.
    GroupUnusable,
}

impl FailureReason {
    /// Every reason.
    pub const ALL: [Self; 8] = [
        Self::ProvisioningTimeout,
        Self::JoiningTimeout,
        Self::CapacityLimitReached,
        Self::OutOfStock,
        Self::VPSieAPIError,
        Self::AmbiguousCreate,
        Self::NodeNotFound,
        Self::GroupUnusable,
    ];

    /// The condition reason.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::ProvisioningTimeout => "ProvisioningTimeout",
            Self::JoiningTimeout => "JoiningTimeout",
            Self::CapacityLimitReached => "CapacityLimitReached",
            Self::OutOfStock => "OutOfStock",
            Self::VPSieAPIError => "VPSieAPIError",
            Self::AmbiguousCreate => "AmbiguousCreate",
            Self::NodeNotFound => "NodeNotFound",
            Self::GroupUnusable => "GroupUnusable",
        }
    }
}

/// A failure and what was known of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Failure {
    /// Why.
    pub reason: FailureReason,
    /// In words.
    pub message: String,
}

/// Everything durable about one machine.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Record {
    /// Where it stands.
    pub phase: Phase,
    /// The object's deletion was asked for.
    pub deletion_requested: bool,
    /// The create request, once there was one.
    pub creation: Option<Creation>,
    /// The machine, once identified.
    pub machine: Option<Machine>,
    /// The Node, once joined.
    pub node: Option<NodeName>,
    /// The removal, once begun.
    pub removal: Option<Removal>,
    /// Why it was given up.
    pub failure: Option<Failure>,
    /// When the object was written.
    pub created_at: Option<Timestamp>,
    /// When the machine was first asked for (`status.createdAt`).
    pub provisioning_at: Option<Timestamp>,
    /// When it ran.
    pub provisioned_at: Option<Timestamp>,
    /// When its Node appeared.
    pub joined_at: Option<Timestamp>,
    /// When its Node was Ready.
    pub ready_at: Option<Timestamp>,
    /// When its removal became final.
    pub terminating_at: Option<Timestamp>,
    /// When the deletion of the machine began.
    pub deleted_at: Option<Timestamp>,
    /// When it was given up.
    pub failed_at: Option<Timestamp>,
    /// Since when the Node of a machine in service is missing, not Ready, or not done starting.
    pub unhealthy_since: Option<Timestamp>,
    /// That has lasted for too long: the machine does not count as serving any more.
    pub unhealthy: bool,
}

impl Record {
    /// The record of a VPSieNode that was just written.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            phase: Phase::Pending,
            deletion_requested: false,
            creation: None,
            machine: None,
            node: None,
            removal: None,
            failure: None,
            created_at: None,
            provisioning_at: None,
            provisioned_at: None,
            joined_at: None,
            ready_at: None,
            terminating_at: None,
            deleted_at: None,
            failed_at: None,
            unhealthy_since: None,
            unhealthy: false,
        }
    }

    /// A machine exists, or may: what bounds must count.
    #[must_use]
    pub fn may_be_billed(&self) -> bool {
        if self.is_gone() {
            return false;
        }
        self.phase != Phase::Failed || self.machine.is_some() || self.has_open_request()
    }

    /// Whatever was bought for it is proven gone, or proven never to come: it claims nothing more.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        self.removal
            .as_ref()
            .is_some_and(|removal| removal.step == RemovalStep::Gone)
    }

    /// The machine is meant to serve; else it would be deleted as soon as it is known.
    #[must_use]
    pub fn is_wanted(&self) -> bool {
        self.removal.is_none() && !self.deletion_requested && self.phase != Phase::Failed
    }

    /// A request was sent, or may have been, whose machine is not known yet.
    #[must_use]
    pub fn has_open_request(&self) -> bool {
        self.machine.is_none()
            && !self.is_gone()
            && self
                .creation
                .as_ref()
                .is_some_and(|creation| creation.state != CreationState::Rejected)
    }

    /// The machine of an open request may still appear: `settle` after it was sent it will not.
    #[must_use]
    pub fn awaits_a_machine(&self, now: Timestamp, settle: Duration) -> bool {
        self.has_open_request()
            && self.creation.as_ref().is_some_and(|creation| {
                // A time beyond the calendar's end never comes.
                let until = creation.requested_at.saturating_add(settle);
                until.is_ok_and(|until| until > now)
            })
    }
}

impl Default for Record {
    fn default() -> Self {
        Self::new()
    }
}
