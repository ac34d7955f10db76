//! The transition table: the one place that says which phase follows which.

use std::fmt::Write as _;

use super::{Phase, RemovalCause, Situation};

/// What is to be done in a situation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Action {
    /// Nothing; look again soon.
    Wait,
    /// Nothing; take the next step at once.
    Continue,
    /// Make the pool.
    EnsurePool,
    /// Observe the cloud anew.
    RefreshCloud,
    /// Record the intent, then ask for the machine.
    Ask,
    /// Record that the answer was lost.
    MarkUnknown,
    /// Record which machine it is.
    Bind,
    /// Put the group's metadata on the node.
    ApplyMetadata,
    /// Record the node.
    Join,
    /// Undo our cordon.
    Uncordon,
    /// Begin to remove the machine.
    StartRemoval(RemovalCause),
    /// Begin to remove the machine, as soon as its group can do without it.
    Replace,
    /// Take the next step of the removal.
    AdvanceRemoval,
    /// Nothing until something changes.
    Rest,
}

impl Action {
    /// The name, as the printed table shows it.
    #[must_use]
    pub fn name(self) -> String {
        match self {
            Self::StartRemoval(cause) => format!("StartRemoval({})", cause.name()),
            other => format!("{other:?}"),
        }
    }
}

/// Which phase follows `phase` in `situation`, and what is to be done.
///
/// Situations that cannot arise in a phase leave it as it is and wait: a record written by
/// another version must never make this one act on a guess.
#[must_use]
pub const fn transition(phase: Phase, situation: &Situation) -> (Phase, Action) {
    use Action as A;
    use Phase as P;
    use Situation as S;
    match (phase, situation) {
        (_, S::Identified) => (phase, A::Bind),
        // A removal, once begun, goes on whatever the phase.
        (_, S::Removing) => (phase, A::AdvanceRemoval),
        (P::Failed, S::DeletionRequested) => (P::Failed, A::StartRemoval(RemovalCause::Deleted)),
        (_, S::DeletionRequested) => (P::Terminating, A::StartRemoval(RemovalCause::Deleted)),
        (P::Failed, S::KeepingEvidence | S::LeftFailed) => (P::Failed, A::Wait),
        (P::Failed | P::Terminating | P::Deleting, S::GivenUp) => {
            (phase, A::StartRemoval(RemovalCause::Failed))
        }

        // Asking for the machine.
        (
            P::Pending | P::Provisioning,
            S::GroupUnusable | S::GroupOverfull | S::BackingOff(_) | S::PoolBlocked,
        ) => (phase, A::Wait),
        (P::Pending | P::Provisioning, S::PoolMissing) => (phase, A::EnsurePool),
        (P::Pending | P::Provisioning, S::BaselineStale) => (phase, A::RefreshCloud),
        (P::Pending | P::Provisioning, S::MayAsk) | (P::Provisioning, S::ProvenAbsent) => {
            (P::Provisioning, A::Ask)
        }
        (P::Provisioning, S::AnswerLost) => (P::Provisioning, A::MarkUnknown),
        (P::Provisioning, S::AwaitingMachine | S::Ambiguous(_) | S::MachineBuilding) => {
            (P::Provisioning, A::Wait)
        }
        (P::Pending, S::MachineBuilding | S::MachineRunning) => (P::Provisioning, A::Continue),
        (P::Provisioning, S::MachineRunning) => (P::Provisioned, A::Continue),
        (P::Pending | P::Provisioning, S::ProvisioningOverdue(..)) => {
            (P::Failed, A::StartRemoval(RemovalCause::Failed))
        }

        // Waiting for the node.
        (P::Provisioned | P::Joining, S::AwaitingNode | S::NodeConflict(_)) => {
            (P::Joining, A::Wait)
        }
        (P::Provisioned | P::Joining, S::NodeBare) => (P::Joining, A::ApplyMetadata),
        (P::Provisioned | P::Joining, S::NodeNotReady) => (P::Joining, A::Join),
        (P::Provisioned | P::Joining, S::NodeReady) => (P::Ready, A::Join),
        (P::Provisioned | P::Joining, S::JoiningOverdue(_)) => {
            (P::Failed, A::StartRemoval(RemovalCause::Failed))
        }
        (
            P::Pending | P::Provisioning | P::Provisioned | P::Joining | P::Ready,
            S::MachineVanished,
        ) => (P::Failed, A::StartRemoval(RemovalCause::Failed)),

        // In service.
        (P::Ready, S::NodeBare) => (P::Ready, A::ApplyMetadata),
        (P::Ready, S::CordonLeftOver) => (P::Ready, A::Uncordon),
        (P::Ready, S::NodeReady) => (P::Ready, A::Rest),
        (P::Ready, S::NodeUnhealthy(_)) => (P::Ready, A::Replace),
        (P::Ready, S::NodeNotReady | S::NodeMissing | S::NodeConflict(_) | S::MachineUnlisted) => {
            (P::Ready, A::Wait)
        }

        (_, _) => (phase, A::Wait),
    }
}

/// The table as Markdown: every phase in every situation that changes it or makes something
/// happen.
#[must_use]
pub fn markdown() -> String {
    let mut text =
        String::from("| Phase | Situation | Next phase | Action |\n| --- | --- | --- | --- |\n");
    for phase in Phase::ALL {
        for situation in Situation::examples() {
            let (next, action) = transition(phase, &situation);
            if next == phase && action == Action::Wait {
                continue;
            }
            let _ = writeln!(
                text,
                "| {} | {} | {} | {} |",
                phase.name(),
                situation.name(),
                next.name(),
                action.name()
            );
        }
    }
    text
}
