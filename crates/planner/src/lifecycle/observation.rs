//! What one step may look at: values only, gathered by the caller.

use std::{collections::BTreeSet, time::Duration};

use jiff::Timestamp;
use model::{Instance, InstanceId, InstancePhase, NodeName, PodKey, PoolId, Resolution, Uid};

/// The pool a machine would be added to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PoolView {
    /// It exists.
    Ready(PoolId),
    /// It has to be made first.
    Missing,
}

/// How a group with this record stands to its maximum, which may have been lowered since the record
/// was made.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum GroupRoom {
    /// It has at most as many machines and records as it may.
    Enough,
    /// It has more; others than this one are too many.
    Overfull,
    /// It has more, and this one is too many.
    Surplus,
}

/// Whether a machine may be asked for now.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CreateView {
    /// The group is managed, valid, not being deleted, and its offering resolves.
    pub group_usable: bool,
    /// The group and its maximum.
    pub room: GroupRoom,
    /// The pool.
    pub pool: PoolView,
    /// Another request to this pool has no answer yet: its machine could not be told from ours.
    pub blocked: bool,
    /// The offering is not to be asked for before this.
    pub backoff_until: Option<Timestamp>,
    /// Every machine that exists, from an observation fresh enough.
    pub baseline: BTreeSet<InstanceId>,
    /// When that observation began; `None` without a complete one.
    pub baseline_at: Option<Timestamp>,
}

/// The record's own machine in the latest observation.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum MachineView {
    /// The record has none.
    NotBound,
    /// It is listed.
    Listed(Instance),
    /// It is missing from complete observations, without a break.
    Missing {
        /// For how long.
        since: Duration,
        /// How many observations.
        sightings: u32,
    },
}

/// The cloud, as far as this record is concerned.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum CloudView {
    /// Not observed yet, or only in part.
    Unseen,
    /// From a complete observation.
    Seen {
        /// When the observation began.
        started_at: Timestamp,
        /// The verdict on the open request.
        resolution: Option<Resolution>,
        /// The machine.
        machine: MachineView,
    },
}

/// Who cordoned a node.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Cordon {
    /// Schedulable.
    None,
    /// Schedulable again by somebody else's hand; our mark and taint are still on it.
    Undone,
    /// Cordoned, with our mark.
    Ours,
    /// Cordoned without our mark.
    Human,
}

impl Cordon {
    /// New pods can land on the node.
    #[must_use]
    pub const fn is_open(self) -> bool {
        matches!(self, Self::None | Self::Undone)
    }

    /// Something of ours is to be taken off when the node stays.
    #[must_use]
    pub const fn is_marked(self) -> bool {
        matches!(self, Self::Undone | Self::Ours)
    }
}

/// A pod that has to leave before its node may go.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Resident {
    /// Its name.
    pub key: PodKey,
    /// Its identity.
    pub uid: Uid,
    /// Its priority: pods of low priority are asked to leave first.
    pub priority: i32,
    /// It was asked to leave.
    pub terminating: bool,
    /// It should have left long ago: the kubelet does not answer for it.
    pub overdue: bool,
}

/// The Node that runs on the machine.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NodeState {
    /// Its name.
    pub name: NodeName,
    /// Its identity.
    pub uid: Uid,
    /// Its Ready condition is True.
    pub ready: bool,
    /// Since when that condition is what it is.
    pub ready_since: Option<Timestamp>,
    /// Startup taints of its group that are still on it.
    pub starting: Vec<String>,
    /// It carries the labels, taints and annotations the group wants.
    pub metadata_applied: bool,
    /// The startup taints were put on once.
    pub startup_taints_applied: bool,
    /// Schedulable or not.
    pub cordon: Cordon,
    /// Pods that are neither DaemonSet nor mirror pods and have not finished.
    pub pods: Vec<Resident>,
    /// Volumes that are attached to it and that no pod that stays with it uses.
    pub attached: Vec<String>,
    /// The facts come from a read of the API server made for this step, not from the index.
    pub fresh: bool,
}

/// What is known of the Node.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum NodeView {
    /// No Node has the machine's name.
    Absent {
        /// Confirmed by a read made for this step.
        fresh: bool,
    },
    /// Several claim it, or one contradicts it.
    Conflict(String),
    /// This one.
    Present(NodeState),
}

impl Observation {
    /// The record's own machine is in the latest observation, and not as one that was deleted.
    #[must_use]
    pub fn lists_the_machine(&self) -> bool {
        matches!(
            &self.cloud,
            CloudView::Seen {
                machine: MachineView::Listed(machine),
                ..
            } if machine.phase != InstancePhase::Deleting
        )
    }
}

/// Everything one step may look at.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Observation {
    /// Whether a machine may be asked for.
    pub create: CreateView,
    /// The cloud.
    pub cloud: CloudView,
    /// The Node.
    pub node: NodeView,
    /// Something forbids taking this node voluntarily now (its group is at the minimum, a pod would
    /// find no place…), in words.
    pub keep: Option<String>,
    /// Nothing may be destroyed now.
    pub hold: Option<Hold>,
    /// Why an unhealthy node is not replaced yet, in words.
    pub replace_later: Option<String>,
    /// Whoever deletes the object orders that the machine goes this long after the removal began,
    /// whatever is on it.
    pub force_after: Option<Duration>,
}

/// Why nothing may be destroyed now.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Hold {
    /// In words: the name of the reason, and what it is about.
    pub why: String,
    /// It may last: a removal that can be taken back is.
    pub takes_back: bool,
}
