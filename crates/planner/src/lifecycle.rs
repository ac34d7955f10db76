//! The life of one machine, from the decision to buy it until it is proven gone.
//!
//! `step` looks at the durable record (the VPSieNode) and at what was observed, names the
//! [`Situation`], and lets the one table ([`table::transition`]) say which phase follows and what
//! is to be done. It performs nothing: effects are values, at most one a step, and the record that
//! comes back is written *before* its effect is carried out.

mod observation;
mod record;
mod situation;
mod table;

use std::{collections::BTreeSet, time::Duration};

use jiff::Timestamp;
use model::{Hostname, InstanceId, NodeName, PodKey, PoolId, Resolution, Uid};

pub use observation::{
    CloudView, Cordon, CreateView, GroupRoom, Hold, MachineView, NodeState, NodeView, Observation,
    PoolView, Resident,
};
pub use record::{
    Creation, CreationState, Failure, FailureReason, Machine, Phase, Record, Removal, RemovalCause,
    RemovalStep,
};
pub use situation::{Situation, classify};
pub use table::{Action, markdown, transition};

use crate::removal;

/// Deadlines and windows; every one is a flag of the process.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Policy {
    /// From the first request until the machine runs (default 10 min).
    pub provisioning_timeout: Duration,
    /// From a running machine until its node is Ready (default 15 min).
    pub joining_timeout: Duration,
    /// How long an unanswered create may still take effect (default 300 s); see
    /// `cloud::resolve`.
    pub quarantine: Duration,
    /// How long an accepted create may still take effect before it counts as never coming
    /// (default 15 min, the longest window any client of the cloud waits).
    pub settle: Duration,
    /// How many times a machine is asked for again after the request was proven lost.
    pub attempts: u32,
    /// How fresh an observation must be to serve as the baseline of a create.
    pub baseline_age: Duration,
    /// Between cordoning a node and looking again (default 5 s).
    pub cordon_settle: Duration,
    /// How long the evidence of a failure is kept; `None` keeps it for ever (default 30 min).
    pub failed_ttl: Option<Duration>,
    /// Before the same delete is sent again while the machine is still listed.
    pub delete_retry: Duration,
    /// A machine is gone after this long without it in complete observations…
    pub absence: Duration,
    /// …of which there were at least this many.
    pub sightings: u32,
    /// The same for a machine whose deletion nobody asked for: a listing may lack rows for a while.
    pub disappearance: Duration,
    /// From the beginning of a removal that nobody ordered until its pods and volumes have left;
    /// then it is taken back (default 15 min).
    pub drain_timeout: Duration,
    /// How long an ordered removal waits for volumes to be detached once the pods have left
    /// (default 6 min, after which Kubernetes detaches by force).
    pub detach_timeout: Duration,
    /// How long a node in service may be missing or not Ready before it is replaced (default 15 min).
    pub unhealthy_timeout: Duration,
    /// How long a node in service may have startup taints before it is replaced (default 30 min).
    pub startup_timeout: Duration,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            provisioning_timeout: Duration::from_mins(10),
            joining_timeout: Duration::from_mins(15),
            quarantine: Duration::from_mins(5),
            settle: Duration::from_mins(15),
            attempts: 3,
            baseline_age: Duration::from_secs(10),
            cordon_settle: Duration::from_secs(5),
            failed_ttl: Some(Duration::from_mins(30)),
            delete_retry: Duration::from_mins(1),
            absence: Duration::from_secs(30),
            sightings: 2,
            disappearance: Duration::from_mins(5),
            drain_timeout: Duration::from_mins(15),
            detach_timeout: Duration::from_mins(6),
            unhealthy_timeout: Duration::from_mins(15),
            startup_timeout: Duration::from_mins(30),
        }
    }
}

/// What is to be done, after the record is written. One request to the outside world each.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Effect {
    /// Make the pool of this machine's size exist.
    EnsurePool,
    /// Buy one machine: the intent is in the record.
    CreateMachine {
        /// The pool to add to.
        pool: PoolId,
    },
    /// Record in the object which machine is its own.
    Bind {
        /// The machine.
        instance: InstanceId,
    },
    /// Put the group's labels, taints and annotations on the node.
    ApplyNodeMetadata {
        /// The node.
        node: NodeName,
        /// Its identity: another node of that name is left alone.
        uid: Uid,
        /// Whether the startup taints are due (once, when the node joins).
        startup_taints: bool,
    },
    /// Cordon and taint the node, marked as ours.
    Cordon {
        /// The node.
        node: NodeName,
        /// Its identity.
        uid: Uid,
    },
    /// Undo our cordon; never a human's.
    Uncordon {
        /// The node.
        node: NodeName,
        /// Its identity.
        uid: Uid,
    },
    /// Ask these pods to leave, through the eviction subresource, each by its UID.
    Evict {
        /// The pods.
        pods: Vec<(PodKey, Uid)>,
    },
    /// Ask for this VPSieNode's deletion: from here the removal is not taken back.
    DeleteRecord,
    /// Delete the Node object.
    DeleteNode {
        /// The node.
        node: NodeName,
        /// Its identity.
        uid: Uid,
        /// Why it may go.
        proof: removal::Proof,
    },
    /// Delete the machine.
    DeleteMachine {
        /// Which.
        instance: InstanceId,
        /// The name it must answer to.
        hostname: Hostname,
        /// Why it may go.
        proof: removal::Proof,
    },
    /// Let the object go: the machine is proven gone.
    RemoveFinalizer,
}

impl Effect {
    /// Something that was there is not any more, or serves no more.
    #[must_use]
    pub const fn is_destructive(&self) -> bool {
        match self {
            Self::Cordon { .. }
            | Self::Evict { .. }
            | Self::DeleteRecord
            | Self::DeleteNode { .. }
            | Self::DeleteMachine { .. } => true,
            Self::EnsurePool
            | Self::CreateMachine { .. }
            | Self::Bind { .. }
            | Self::ApplyNodeMetadata { .. }
            | Self::Uncordon { .. }
            | Self::RemoveFinalizer => false,
        }
    }
}

/// The outcome of one step.
#[derive(Clone, PartialEq, Debug)]
pub struct Transition {
    /// What was found; also what `explain`, events and logs name.
    pub situation: Situation,
    /// The record to write first.
    pub record: Record,
    /// Then this, once the write has succeeded.
    pub effect: Option<Effect>,
    /// When to look again although nothing changes.
    pub requeue_after: Option<Duration>,
    /// A newer observation of the cloud is wanted before the next step.
    pub refresh_cloud: bool,
    /// A voluntary removal was taken back: why.
    pub aborted: Option<String>,
    /// What only a person can decide, in words.
    pub asks: Option<String>,
}

impl Transition {
    pub(crate) fn aborted(&mut self, why: &str) {
        self.aborted = Some(why.to_owned());
    }
}

const SOON: Duration = Duration::from_secs(10);

/// Decides the next step of one machine.
#[must_use]
pub fn step(
    record: &Record,
    observed: &Observation,
    now: Timestamp,
    policy: &Policy,
) -> Transition {
    let situation = classify(record, observed, now, policy);
    let (phase, action) = transition(record.phase, &situation);
    let mut next = record.clone();
    next.unhealthy_since = situation::unhealthy_since(record, observed, now);
    next.unhealthy = matches!(situation, Situation::NodeUnhealthy(_));
    enter(&mut next, phase, &situation, now);
    let mut result = Transition {
        situation,
        record: next,
        effect: None,
        requeue_after: Some(SOON),
        refresh_cloud: false,
        aborted: None,
        asks: None,
    };
    if matches!(result.situation, Situation::Ambiguous(_)) {
        result.asks = Some(
            "machines appeared that cannot be told from others or fit no request; none is adopted \
             until it is clear which is whose"
                .to_owned(),
        );
    }
    act(action, &mut result, observed, now, policy);
    result
}

/// Moves `record` into `phase`, stamping the predecessor's timestamps once.
fn enter(record: &mut Record, phase: Phase, situation: &Situation, now: Timestamp) {
    if record.phase == phase {
        return;
    }
    record.phase = phase;
    let stamp = match phase {
        Phase::Pending => return,
        Phase::Provisioning => &mut record.provisioning_at,
        Phase::Provisioned => &mut record.provisioned_at,
        Phase::Joining => return,
        Phase::Ready => &mut record.ready_at,
        Phase::Terminating => &mut record.terminating_at,
        Phase::Deleting => &mut record.deleted_at,
        Phase::Failed => {
            record.failure = situation.failure();
            &mut record.failed_at
        }
    };
    stamp.get_or_insert(now);
}

fn act(
    action: Action,
    result: &mut Transition,
    observed: &Observation,
    now: Timestamp,
    policy: &Policy,
) {
    match action {
        Action::Wait => {}
        Action::Continue => result.requeue_after = Some(Duration::ZERO),
        Action::EnsurePool => result.effect = Some(Effect::EnsurePool),
        Action::RefreshCloud => {
            result.refresh_cloud = true;
            result.requeue_after = Some(Duration::from_secs(1));
        }
        Action::Ask => ask(result, observed, now),
        Action::MarkUnknown => {
            if let Some(creation) = &mut result.record.creation {
                creation.state = CreationState::Unknown;
                creation.message = "no answer was recorded".into();
            }
        }
        Action::Bind => {
            if let CloudView::Seen {
                resolution: Some(Resolution::Found(instance)),
                ..
            } = &observed.cloud
            {
                result.effect = Some(Effect::Bind {
                    instance: instance.clone(),
                });
            }
        }
        Action::ApplyMetadata | Action::Join => {
            if let NodeView::Present(node) = &observed.node {
                result.record.node.get_or_insert_with(|| node.name.clone());
                result.record.joined_at.get_or_insert(now);
                if !node.metadata_applied {
                    result.effect = Some(Effect::ApplyNodeMetadata {
                        node: node.name.clone(),
                        uid: node.uid.clone(),
                        startup_taints: !node.startup_taints_applied,
                    });
                }
            }
        }
        Action::Uncordon => {
            if let NodeView::Present(node) = &observed.node {
                result.effect = Some(Effect::Uncordon {
                    node: node.name.clone(),
                    uid: node.uid.clone(),
                });
            }
        }
        Action::StartRemoval(cause) => {
            if result.record.removal.is_none() {
                result.record.removal = Some(Removal::new(cause, now));
            }
            result.requeue_after = Some(Duration::ZERO);
        }
        Action::Replace => {
            if observed.replace_later.is_none() && observed.hold.is_none() {
                result.record.removal = Some(Removal::new(RemovalCause::Unhealthy, now));
                result.requeue_after = Some(Duration::ZERO);
            }
        }
        Action::AdvanceRemoval => removal::advance(result, observed, now, policy),
        Action::Rest => result.requeue_after = None,
    }
}

/// Records the intent to buy one machine and asks for it.
fn ask(result: &mut Transition, observed: &Observation, now: Timestamp) {
    let PoolView::Ready(pool) = observed.create.pool else {
        return;
    };
    let attempt = result
        .record
        .creation
        .as_ref()
        .map_or(1, |creation| creation.attempt + 1);
    // What was asked for before may still come: its machines stay candidates of this record, so
    // the first baseline is kept for as long as a request could be outstanding.
    let baseline: BTreeSet<InstanceId> = match &result.record.creation {
        Some(earlier) if earlier.state != CreationState::Rejected => earlier.baseline.clone(),
        _ => observed.create.baseline.clone(),
    };
    result.record.creation = Some(Creation {
        attempt,
        state: CreationState::Intended,
        requested_at: now,
        pool,
        baseline,
        message: String::new(),
    });
    result.effect = Some(Effect::CreateMachine { pool });
}

/// What the one create request of an intent led to, in the words of the lifecycle.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Asked {
    /// Taken; the identity where the cloud told it.
    Accepted(Option<InstanceId>),
    /// No answer that proves anything.
    Unknown(String),
    /// Refused, and asking again later may help.
    Later {
        /// In the cloud's words.
        message: String,
        /// Not before this long.
        after: Option<Duration>,
    },
    /// Refused for good: this offering is not to be had here now.
    Refused {
        /// Why.
        reason: FailureReason,
        /// In the cloud's words.
        message: String,
    },
}

/// Writes the answer of a create request into the record.
#[must_use]
pub fn answered(record: &Record, answer: &Asked, now: Timestamp) -> Record {
    let mut next = record.clone();
    let Some(creation) = &mut next.creation else {
        return next;
    };
    match answer {
        Asked::Accepted(_) => {
            creation.state = CreationState::Accepted;
            creation.message = String::new();
        }
        Asked::Unknown(message) => {
            creation.state = CreationState::Unknown;
            creation.message.clone_from(message);
        }
        Asked::Later { message, .. } => {
            creation.state = CreationState::Rejected;
            creation.message.clone_from(message);
        }
        Asked::Refused { reason, message } => {
            creation.state = CreationState::Rejected;
            creation.message.clone_from(message);
            next.phase = Phase::Failed;
            next.failed_at.get_or_insert(now);
            next.failure = Some(Failure {
                reason: *reason,
                message: message.clone(),
            });
        }
    }
    next
}
