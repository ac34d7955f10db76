//! Taking one machine away: cordon → settle → look again → Node → machine → proven gone.
//!
//! Everything that can end a machine goes through [`advance`], and a machine can be deleted only
//! with a [`Proof`], which only this module can make. The point of no return is
//! [`RemovalStep::DeletingNode`]: it is entered with a proof and after it nothing is taken back;
//! before it, a voluntary removal ends (and uncordons) as soon as anything speaks against it.

pub mod awaited;
pub mod empty;
mod proof;
pub mod simulation;

use std::time::Duration;

use jiff::Timestamp;
use model::{InstanceId, InstancePhase, PodKey, Resolution, Uid};

pub use proof::Proof;

use crate::lifecycle::{
    CloudView, CreationState, Effect, MachineView, NodeState, NodeView, Observation, Phase, Policy,
    Record, RemovalCause, RemovalStep, Transition,
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
    if result.record.deletion_requested && removal.can_be_taken_back() {
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
        RemovalStep::DeletingNode => delete_the_node(result, observed, vanished, now, policy),
        RemovalStep::DeletingMachine => delete_the_machine(result, observed, now, policy),
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
    )
}

/// The pods that keep a node from being deleted. Those of a kubelet that does not answer and that
/// are overdue do not: only the end of the machine ends them.
fn holding(node: &NodeState) -> impl Iterator<Item = &(PodKey, Uid)> {
    node.pods
        .iter()
        .filter(|(pod, _)| node.ready || !node.overdue.contains(pod))
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
        if step > RemovalStep::Cordoning && node.cordon.is_open() {
            return abort(result, Some(node), "the node was uncordoned");
        }
    }
    match step {
        _ if node.cordon.is_open() => {
            go(result, RemovalStep::Cordoning, now, "");
            result.effect = Some(Effect::Cordon {
                node: node.name.clone(),
                uid: node.uid.clone(),
            });
            result.requeue_after = Some(Duration::from_secs(1));
        }
        RemovalStep::Cordoning => {
            go(result, RemovalStep::Settling, now, "");
            result.requeue_after = Some(policy.cordon_settle);
        }
        RemovalStep::Settling if settling(result, now, policy) => {}
        _ if holding(node).next().is_none() => {
            go(result, RemovalStep::DeletingNode, now, "");
            if result.record.deletion_requested || result.record.phase == Phase::Failed {
                result.requeue_after = Some(Duration::ZERO);
            } else {
                result.effect = Some(Effect::DeleteRecord);
            }
        }
        _ => {
            go(result, RemovalStep::Draining, now, &waiting_for(node));
            result.effect = Some(Effect::Evict {
                pods: holding(node).cloned().collect(),
            });
            result.requeue_after = Some(Duration::from_secs(5));
        }
    }
}

/// Which pods are waited for, the first of them by name.
fn waiting_for(node: &NodeState) -> String {
    let mut pods = holding(node).map(|(pod, _)| pod.to_string());
    let first = pods.next().unwrap_or_default();
    match pods.count() {
        0 => format!("waiting for pod {first} to leave"),
        more => format!("waiting for pod {first} and {more} more to leave"),
    }
}

fn settling(result: &mut Transition, now: Timestamp, policy: &Policy) -> bool {
    let Some(removal) = &result.record.removal else {
        return false;
    };
    let waited = age(removal.step_at, now);
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
    if let Some(node) = node.filter(|node| node.cordon.is_marked()) {
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
    policy: &Policy,
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
            let asked = result.record.removal.as_ref().is_some_and(|r| r.sent);
            // A kubelet that reports contradicts any listing.
            let fenced = asked && !node.ready && ended(&result.record, observed, now, policy);
            let proof = if vanished || fenced {
                Proof::vanished()
            } else {
                match (Proof::drained(node), Proof::unreachable(node)) {
                    (Ok(proof), _) => proof,
                    (Err(_), Some(proof)) => {
                        return ask_to_delete(result, observed, proof, now, policy);
                    }
                    // A pod was bound in the last moment, or somebody uncordoned: empty it again.
                    (Err(why), None) => return go(result, RemovalStep::Cordoning, now, &why),
                }
            };
            result.effect = Some(Effect::DeleteNode {
                node: node.name.clone(),
                uid: node.uid.clone(),
                proof,
            });
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
    result.requeue_after = Some(Duration::from_secs(10));
    let CloudView::Seen {
        started_at,
        resolution,
        ..
    } = &observed.cloud
    else {
        return;
    };
    let Some(bound) = result.record.machine.clone() else {
        return settle_open_request(result, resolution.as_ref(), *started_at, now, policy);
    };
    // A machine that was never listed may still be on its way to the listing.
    let settled = result
        .record
        .creation
        .as_ref()
        .is_none_or(|creation| age(creation.requested_at, *started_at) >= policy.settle);
    let could_be_coming = bound.hostname.as_str().is_empty() && !settled;
    if ended(&result.record, observed, now, policy) && !could_be_coming {
        go(result, RemovalStep::Gone, now, "");
        result.requeue_after = Some(Duration::ZERO);
    } else {
        let proof = Proof::without_node(&result.record);
        ask_to_delete(result, observed, proof, now, policy);
    }
}

/// The machine of a removal has ended: absent for long enough, or listed as deleted for very long.
/// Absence that we asked for is believed sooner than one that nobody did.
fn ended(record: &Record, observed: &Observation, now: Timestamp, policy: &Policy) -> bool {
    match record.removal.as_ref().filter(|removal| removal.sent) {
        None => unlisted(observed, policy.disappearance, policy),
        Some(removal) => {
            let deleted = matches!(
                &observed.cloud,
                CloudView::Seen {
                    machine: MachineView::Listed(machine),
                    ..
                } if machine.phase == InstancePhase::Deleting
            );
            unlisted(observed, policy.absence, policy)
                || (deleted && age(removal.step_at, now) >= policy.settle)
        }
    }
}

/// Asks for the deletion of the machine while it is listed, again only after a while.
fn ask_to_delete(
    result: &mut Transition,
    observed: &Observation,
    proof: Proof,
    now: Timestamp,
    policy: &Policy,
) {
    let (Some(bound), Some(removal)) = (result.record.machine.clone(), &mut result.record.removal)
    else {
        return;
    };
    let due = !removal.sent || age(removal.step_at, now) >= policy.delete_retry;
    if !due || !observed.lists_the_machine() {
        return;
    }
    removal.sent = true;
    removal.step_at = now;
    result.effect = Some(Effect::DeleteMachine {
        instance: bound.instance,
        hostname: bound.hostname,
        proof,
    });
}

fn age(since: Timestamp, now: Timestamp) -> Duration {
    Duration::try_from(now.duration_since(since)).unwrap_or_default()
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
    let settled = age(creation.requested_at, observed_at) >= policy.settle;
    match resolution {
        Some(Resolution::Found(instance)) => {
            result.effect = Some(Effect::Bind {
                instance: instance.clone(),
            });
        }
        Some(Resolution::ProvenAbsent) => go(result, RemovalStep::Gone, now, ""),
        // Somebody has to look: these machines are paid, and one of them may be what this record
        // bought. Until they are gone, or the object is deleted, it counts as a machine.
        Some(Resolution::Ambiguous(machines)) if !settled || !result.record.deletion_requested => {
            wait(
                result,
                &format!(
                    "one of these machines may be the one that was bought: {}; delete what is not \
                     wanted at the cloud, or this object to leave them alone",
                    shown(machines)
                ),
            );
        }
        Some(Resolution::Ambiguous(machines)) => go(
            result,
            RemovalStep::Gone,
            now,
            &format!("left alone: {}", shown(machines)),
        ),
        Some(Resolution::StillPending) if settled => {
            go(result, RemovalStep::Gone, now, "no machine appeared");
        }
        // Asked for by an earlier version, which did not record what there was before.
        None if settled => go(
            result,
            RemovalStep::Gone,
            now,
            "which machine was meant cannot be told; none was touched",
        ),
        Some(Resolution::StillPending) | None => {
            wait(result, "a machine that was asked for may still appear");
        }
    }
}

fn shown(machines: &[InstanceId]) -> String {
    let names: Vec<&str> = machines.iter().map(InstanceId::as_str).collect();
    names.join(", ")
}
