//! Past the point of no return: the Node object, the machine, and the proof that it is gone.

use std::time::Duration;

use jiff::Timestamp;
use model::{InstanceId, InstancePhase, Resolution};
use planted::Bug;

use super::{Proof, age, go, unlisted, wait};
use crate::lifecycle::{
    CloudView, CreationState, Effect, MachineView, NodeView, Observation, Phase, Policy, Record,
    RemovalStep, Transition,
};

/// Deletes the Node object, with a proof.
pub(super) fn delete_the_node(
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
                let last_resort =
                    Proof::unreachable(node).or_else(|| Proof::forced(&result.record));
                match (Proof::drained(node), last_resort) {
                    (Ok(proof), _) => proof,
                    // The machine goes first: only its end ends what is on it.
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

/// Deletes the machine, with a proof, until it is proven gone.
pub(super) fn delete_the_machine(
    result: &mut Transition,
    observed: &Observation,
    now: Timestamp,
    policy: &Policy,
) {
    // A kubelet that restarted may have registered the Node anew: it is emptied again.
    if let NodeView::Present(_) = &observed.node {
        return go(
            result,
            RemovalStep::Cordoning,
            now,
            "the node registered again",
        );
    }
    if !matches!(observed.node, NodeView::Absent { fresh: true }) {
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
            planted::is(Bug::BelieveTheAnswer)
                || unlisted(observed, policy.absence, policy)
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
        .filter(|_| !planted::is(Bug::ForgetMachine))
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
            let question = format!(
                "one of these machines may be the one that was bought: {}; delete what is not \
                 wanted at the cloud, or this object to leave them alone",
                shown(machines)
            );
            wait(result, &question);
            result.asks = Some(question);
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
