//! Taking one machine away: cordon → settle → look again → Node → machine → proven gone.
//!
//! Everything that can end a machine goes through [`advance`], and a machine can be deleted only
//! with a [`Proof`], which only this module can make. The point of no return is
//! [`RemovalStep::DeletingNode`]: it is entered with a proof and after it nothing is taken back;
//! before it, a voluntary removal ends (and uncordons) as soon as anything speaks against it.

pub mod empty;
mod proof;

use std::time::Duration;

use jiff::Timestamp;
use model::Resolution;

pub use proof::Proof;

use crate::lifecycle::{
    CloudView, Cordon, CreationState, Effect, MachineView, NodeState, NodeView, Observation, Phase,
    Policy, Record, RemovalCause, RemovalStep, Transition,
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
                | RemovalStep::DeletingNode
        ) || (removal.step == RemovalStep::DeletingMachine && !removal.sent)
    })
}

/// Takes the next step of the removal in `result.record`, if the observation allows one.
pub(crate) fn advance(
    result: &mut Transition,
    observed: &Observation,
    now: Timestamp,
    policy: &Policy,
) {
    let Some(removal) = result.record.removal.clone() else {
        return;
    };
    result.requeue_after = Some(Duration::from_secs(2));
    // A voluntary removal whose object the user deletes meanwhile becomes an ordered one.
    if result.record.deletion_requested
        && removal.cause == RemovalCause::Empty
        && removal.step < RemovalStep::DeletingNode
    {
        if let Some(removal) = &mut result.record.removal {
            removal.cause = RemovalCause::Deleted;
        }
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
        RemovalStep::Cordoning | RemovalStep::Settling | RemovalStep::Draining
            if vanished && cause != RemovalCause::Empty =>
        {
            go(
                result,
                RemovalStep::DeletingNode,
                now,
                "the machine is gone",
            );
            result.requeue_after = Some(Duration::ZERO);
        }
        RemovalStep::Cordoning | RemovalStep::Settling | RemovalStep::Draining => {
            empty_the_node(result, observed, cause, removal.step, now, policy);
        }
        RemovalStep::DeletingNode => delete_the_node(result, observed, vanished, now),
        RemovalStep::DeletingMachine => delete_the_machine(result, observed, now, policy),
        RemovalStep::Gone => {
            result.effect = Some(if result.record.deletion_requested {
                Effect::RemoveFinalizer
            } else {
                Effect::DeleteRecord
            });
        }
    }
}

/// The machine was listed once and is missing from complete observations for long enough. One
/// that never was listed may still be on its way.
#[must_use]
pub fn vanished(record: &Record, observed: &Observation, policy: &Policy) -> bool {
    let listed_once = record
        .machine
        .as_ref()
        .is_some_and(|machine| !machine.hostname.as_str().is_empty());
    listed_once
        && matches!(
            &observed.cloud,
            CloudView::Seen {
                machine: MachineView::Missing { since, sightings },
                ..
            } if *since >= policy.absence && *sightings >= policy.sightings
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
        RemovalStep::Cordoning | RemovalStep::Settling | RemovalStep::Draining => return,
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

/// Up to the point of no return.
fn empty_the_node(
    result: &mut Transition,
    observed: &Observation,
    cause: RemovalCause,
    step: RemovalStep,
    now: Timestamp,
    policy: &Policy,
) {
    let voluntary = cause == RemovalCause::Empty;
    let node = match &observed.node {
        NodeView::Present(node) => node,
        NodeView::Conflict(detail) => {
            wait(result, detail);
            result.requeue_after = Some(Duration::from_secs(30));
            return;
        }
        NodeView::Absent { fresh: false } => return,
        NodeView::Absent { fresh: true } if voluntary => {
            return abort(result, None, "the node disappeared");
        }
        NodeView::Absent { fresh: true } => {
            return go(
                result,
                RemovalStep::DeletingMachine,
                now,
                "no node to delete",
            );
        }
    };
    if !node.fresh {
        return;
    }
    if voluntary {
        if let Some(why) = &observed.keep {
            return abort(result, Some(node), why);
        }
        if let Some((pod, _)) = node.pods.first() {
            return abort(result, Some(node), &format!("pod {pod} is on the node"));
        }
        if step > RemovalStep::Cordoning && node.cordon == Cordon::None {
            return abort(result, Some(node), "the node was uncordoned");
        }
    }
    match (step, node.cordon) {
        (_, Cordon::None) => {
            go(result, RemovalStep::Cordoning, now, "");
            result.effect = Some(Effect::Cordon {
                node: node.name.clone(),
                uid: node.uid.clone(),
            });
            result.requeue_after = Some(Duration::from_secs(1));
        }
        (RemovalStep::Cordoning, _) => {
            go(result, RemovalStep::Settling, now, "");
            result.requeue_after = Some(policy.cordon_settle);
        }
        (RemovalStep::Settling, _) if settling(result, now, policy) => {}
        _ if node.pods.is_empty() => {
            go(result, RemovalStep::DeletingNode, now, "");
            if result.record.deletion_requested || result.record.phase == Phase::Failed {
                result.requeue_after = Some(Duration::ZERO);
            } else {
                result.effect = Some(Effect::DeleteRecord);
            }
        }
        _ => {
            go(
                result,
                RemovalStep::Draining,
                now,
                &format!("waiting for {} pods to leave", node.pods.len()),
            );
            result.effect = Some(Effect::Evict {
                pods: node.pods.clone(),
            });
            result.requeue_after = Some(Duration::from_secs(5));
        }
    }
}

fn settling(result: &mut Transition, now: Timestamp, policy: &Policy) -> bool {
    let Some(removal) = &result.record.removal else {
        return false;
    };
    let waited = Duration::try_from(now.duration_since(removal.step_at)).unwrap_or_default();
    if waited >= policy.cordon_settle {
        return false;
    }
    result.requeue_after = Some(policy.cordon_settle.saturating_sub(waited));
    true
}

/// Ends a voluntary removal: the record forgets it, then our cordon is undone.
fn abort(result: &mut Transition, node: Option<&NodeState>, why: &str) {
    result.record.removal = None;
    result.aborted(why);
    if let Some(node) = node.filter(|node| node.cordon == Cordon::Ours) {
        result.effect = Some(Effect::Uncordon {
            node: node.name.clone(),
            uid: node.uid.clone(),
        });
    }
}

fn delete_the_node(
    result: &mut Transition,
    observed: &Observation,
    vanished: bool,
    now: Timestamp,
) {
    // The point of no return is durable only once the object's own deletion is: a failed machine
    // is exempt, its record outlives it as evidence.
    if !result.record.deletion_requested && result.record.phase != Phase::Failed {
        result.effect = Some(Effect::DeleteRecord);
        return;
    }
    match &observed.node {
        NodeView::Absent { fresh: true } => {
            go(result, RemovalStep::DeletingMachine, now, "");
            result.requeue_after = Some(Duration::ZERO);
        }
        NodeView::Conflict(detail) => {
            wait(result, detail);
            result.requeue_after = Some(Duration::from_secs(30));
        }
        NodeView::Present(node) if node.fresh => {
            let proof = if vanished {
                Ok(Proof::vanished())
            } else {
                Proof::drained(node)
            };
            match proof {
                Ok(proof) => {
                    result.effect = Some(Effect::DeleteNode {
                        node: node.name.clone(),
                        uid: node.uid.clone(),
                        proof,
                    });
                }
                // A pod was bound in the last moment, or somebody uncordoned: empty it again.
                Err(why) => {
                    go(result, RemovalStep::Cordoning, now, &why);
                }
            }
        }
        NodeView::Present(_) | NodeView::Absent { fresh: false } => {}
    }
}

fn delete_the_machine(
    result: &mut Transition,
    observed: &Observation,
    now: Timestamp,
    policy: &Policy,
) {
    let sent = result.record.removal.as_ref().is_some_and(|r| r.sent);
    // A kubelet that restarted may have registered the Node anew: it is emptied again.
    if let NodeView::Present(_) = &observed.node {
        return go(
            result,
            RemovalStep::Cordoning,
            now,
            "the node registered again",
        );
    }
    if !sent && !matches!(observed.node, NodeView::Absent { fresh: true }) {
        return;
    }
    result.refresh_cloud = true;
    result.requeue_after = Some(Duration::from_secs(10));
    let CloudView::Seen {
        started_at,
        resolution,
        machine,
    } = &observed.cloud
    else {
        return;
    };
    let Some(bound) = result.record.machine.clone() else {
        return settle_open_request(result, resolution.as_ref(), *started_at, now, policy);
    };
    match machine {
        MachineView::NotBound => {}
        MachineView::Missing { since, sightings } => {
            // A machine that was never listed may still be on its way to the listing.
            let settled = result.record.creation.as_ref().is_none_or(|creation| {
                let waited = started_at.duration_since(creation.requested_at);
                Duration::try_from(waited).unwrap_or_default() >= policy.settle
            });
            let could_be_coming = bound.hostname.as_str().is_empty() && !settled;
            if *since >= policy.absence && *sightings >= policy.sightings && !could_be_coming {
                go(result, RemovalStep::Gone, now, "");
                result.requeue_after = Some(Duration::ZERO);
            }
        }
        MachineView::Listed(_) => {
            let due = result.record.removal.as_ref().is_none_or(|removal| {
                let waited =
                    Duration::try_from(now.duration_since(removal.step_at)).unwrap_or_default();
                !removal.sent || waited >= policy.delete_retry
            });
            if !due {
                return;
            }
            let proof = Proof::without_node(&result.record);
            if let Some(removal) = &mut result.record.removal {
                removal.sent = true;
                removal.step_at = now;
            }
            result.effect = Some(Effect::DeleteMachine {
                instance: bound.instance,
                hostname: bound.hostname,
                proof,
            });
        }
    }
}

/// No machine is known; one that was asked for may still come.
fn settle_open_request(
    result: &mut Transition,
    resolution: Option<&Resolution>,
    observed_at: Timestamp,
    now: Timestamp,
    policy: &Policy,
) {
    let Some(creation) = result
        .record
        .creation
        .clone()
        .filter(|creation| creation.state != CreationState::Rejected)
    else {
        go(result, RemovalStep::Gone, now, "");
        result.requeue_after = Some(Duration::ZERO);
        return;
    };
    if creation.state == CreationState::Intended {
        if let Some(creation) = &mut result.record.creation {
            creation.state = CreationState::Unknown;
            creation.message = "no answer was recorded".into();
        }
        return;
    }
    let settled = Duration::try_from(observed_at.duration_since(creation.requested_at))
        .unwrap_or_default()
        >= policy.settle;
    match resolution {
        Some(Resolution::Found(instance)) => {
            result.effect = Some(Effect::Bind {
                instance: instance.clone(),
            });
        }
        Some(Resolution::ProvenAbsent) => go(result, RemovalStep::Gone, now, ""),
        Some(Resolution::Ambiguous(machines)) if settled => go(
            result,
            RemovalStep::Gone,
            now,
            &format!(
                "{} machines could have been meant; none was touched",
                machines.len()
            ),
        ),
        Some(Resolution::StillPending | Resolution::Ambiguous(_)) if settled => {
            go(result, RemovalStep::Gone, now, "no machine appeared");
        }
        _ => wait(result, "a machine that was asked for may still appear"),
    }
}
