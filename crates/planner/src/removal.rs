//! Taking one machine away: cordon → settle → look again → evict → detach → Node → machine → proven
//! gone.
//!
//! Everything that can end a machine goes through [`advance`], and a machine can be deleted only
//! with a [`Proof`], which only this module can make. The point of no return is
//! [`RemovalStep::DeletingNode`]: it is entered with a proof and after it nothing is taken back;
//! before it, a voluntary removal ends (and uncordons) as soon as anything speaks against it.

pub mod awaited;
mod emptying;
mod ending;
pub mod gate;
pub mod hours;
pub mod plan;
mod pods;
mod proof;
pub mod refusal;
pub mod simulation;
pub mod wishes;

use std::time::Duration;

use jiff::Timestamp;
use planted::Bug;

pub use proof::Proof;

use crate::lifecycle::{
    CloudView, Effect, MachineView, NodeState, NodeView, Observation, Phase, Policy, Record,
    RemovalCause, RemovalStep, Transition,
};

/// Whether the step of `record` rests on facts that must be read anew for it (design: re-check on
/// fresh state), not taken from the index.
#[must_use]
pub fn wants_fresh_facts(record: &Record) -> bool {
    record.removal.as_ref().is_some_and(|removal| {
        matches!(
            removal.step,
            RemovalStep::Cordoning
                | RemovalStep::Settling
                | RemovalStep::Draining
                | RemovalStep::Detaching
                | RemovalStep::DeletingNode
                | RemovalStep::DeletingMachine
        )
    })
}

/// Takes the next step of the removal in `result.record`, if the observation allows one. While
/// something holds all removals, nothing is destroyed: what can be taken back is where that may
/// last, and everything else waits.
pub(crate) fn advance(
    result: &mut Transition,
    observed: &Observation,
    now: Timestamp,
    policy: &Policy,
) {
    let Some(hold) = &observed.hold else {
        return unheld(result, observed, now, policy);
    };
    let Some(removal) = result.record.removal.clone() else {
        return;
    };
    if hold.takes_back && removal.can_be_taken_back() && !result.record.deletion_requested {
        let node = match &observed.node {
            NodeView::Present(node) if node.fresh => Some(node),
            NodeView::Absent { fresh: true } => None,
            // What has to be undone is not known yet.
            _ => return,
        };
        return abort(result, node, &hold.why);
    }
    let before = result.record.clone();
    unheld(result, observed, now, policy);
    let ends_the_record =
        result.effect == Some(Effect::DeleteRecord) && removal.step == RemovalStep::Gone;
    if !ends_the_record && result.effect.as_ref().is_some_and(Effect::is_destructive) {
        result.record = before;
        result.effect = None;
        result.requeue_after = Some(Duration::from_secs(10));
        wait(result, &hold.why);
    }
}

fn unheld(result: &mut Transition, observed: &Observation, now: Timestamp, policy: &Policy) {
    let Some(removal) = result.record.removal.clone() else {
        return;
    };
    result.requeue_after = Some(Duration::from_secs(2));
    // A removal of our own whose object the user deletes meanwhile becomes an ordered one.
    let ordered = result.record.deletion_requested && removal.can_be_taken_back();
    if let Some(removal) = &mut result.record.removal {
        if ordered {
            removal.cause = RemovalCause::Deleted;
        }
        let due = observed
            .force_after
            .filter(|_| result.record.deletion_requested);
        if removal.forced_at.is_none() && due.is_some_and(|due| age(removal.started_at, now) >= due)
        {
            removal.forced_at = Some(now);
        }
    }
    if ordered {
        result.record.phase = Phase::Terminating;
    }
    let cause = result
        .record
        .removal
        .as_ref()
        .map_or(removal.cause, |removal| removal.cause);
    let vanished = vanished(&result.record, observed, policy);
    match removal.step {
        // Nothing on a machine that is proven gone can leave any more; waiting for its pods would
        // be waiting for ever.
        step if !step.is_final() && vanished && !cause.is_voluntary() => {
            go(
                result,
                RemovalStep::DeletingNode,
                now,
                "the machine is gone",
            );
            result.requeue_after = Some(Duration::ZERO);
        }
        RemovalStep::Cordoning
        | RemovalStep::Settling
        | RemovalStep::Draining
        | RemovalStep::Detaching => {
            emptying::empty_the_node(result, observed, cause, removal.step, now, policy);
        }
        RemovalStep::DeletingNode => {
            ending::delete_the_node(result, observed, vanished, now, policy);
        }
        RemovalStep::DeletingMachine => ending::delete_the_machine(result, observed, now, policy),
        // It was not gone: it is taken away again.
        RemovalStep::Gone if observed.lists_the_machine() => {
            go(
                result,
                RemovalStep::DeletingMachine,
                now,
                "the machine is listed again",
            );
            result.requeue_after = Some(Duration::ZERO);
        }
        RemovalStep::Gone => {
            result.effect = Some(if result.record.deletion_requested {
                Effect::RemoveFinalizer
            } else {
                Effect::DeleteRecord
            });
        }
    }
}

/// The machine is gone although nobody asked for that: it was listed once, is missing from
/// complete observations for long enough, and no Node of it is Ready. A kubelet that reports is
/// worth more than a listing that may lack rows; one that never was listed may be on its way.
#[must_use]
pub fn vanished(record: &Record, observed: &Observation, policy: &Policy) -> bool {
    let listed_once = record
        .machine
        .as_ref()
        .is_some_and(|machine| !machine.hostname.as_str().is_empty());
    let may_live = match &observed.node {
        NodeView::Present(node) => node.ready,
        NodeView::Conflict(_) => true,
        NodeView::Absent { .. } => false,
    };
    listed_once && !may_live && unlisted(observed, policy.disappearance, policy)
}

/// The machine is missing from complete observations for at least `limit`.
pub(crate) fn unlisted(observed: &Observation, limit: Duration, policy: &Policy) -> bool {
    matches!(
        &observed.cloud,
        CloudView::Seen {
            machine: MachineView::Missing { since, sightings },
            ..
        } if *since >= limit && *sightings >= policy.sightings
            || planted::is(Bug::BelieveOneAbsence) && *sightings >= 1
    )
}

fn go(result: &mut Transition, step: RemovalStep, now: Timestamp, message: &str) {
    if let Some(removal) = &mut result.record.removal {
        if removal.step != step {
            removal.step = step;
            removal.step_at = now;
            removal.sent = false;
        }
        message.clone_into(&mut removal.message);
    }
    let phase = match step {
        RemovalStep::DeletingNode => Phase::Terminating,
        RemovalStep::DeletingMachine | RemovalStep::Gone => Phase::Deleting,
        RemovalStep::Cordoning
        | RemovalStep::Settling
        | RemovalStep::Draining
        | RemovalStep::Detaching => return,
    };
    // A failed machine keeps saying so until it is gone.
    if result.record.phase != Phase::Failed {
        result.record.phase = phase;
        match phase {
            Phase::Terminating => result.record.terminating_at.get_or_insert(now),
            _ => result.record.deleted_at.get_or_insert(now),
        };
    }
}

fn wait(result: &mut Transition, message: &str) {
    if let Some(removal) = &mut result.record.removal {
        message.clone_into(&mut removal.message);
    }
}

/// Ends a removal that nobody ordered: the record forgets it, then our cordon is undone.
fn abort(result: &mut Transition, node: Option<&NodeState>, why: &str) {
    result.record.removal = None;
    result.aborted(why);
    let undo = |node: &&NodeState| node.cordon.is_marked() && !planted::is(Bug::LeaveCordoned);
    if let Some(node) = node.filter(undo) {
        result.effect = Some(Effect::Uncordon {
            node: node.name.clone(),
            uid: node.uid.clone(),
        });
    }
}

fn age(since: Timestamp, now: Timestamp) -> Duration {
    Duration::try_from(now.duration_since(since)).unwrap_or_default()
}
