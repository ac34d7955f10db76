//! Emptying a node: cordon, settle, look again, ask pods to leave band by band, wait for their
//! volumes. All of it can be taken back; [`super::advance`] says when it must be.

use std::time::Duration;

use jiff::Timestamp;
use planted::Bug;

use super::{abort, age, go, wait};
use crate::lifecycle::{
    Effect, NodeState, NodeView, Observation, Phase, Policy, RemovalCause, RemovalStep, Resident,
    Transition,
};

/// Takes the next step up to the point of no return.
pub(super) fn empty_the_node(
    result: &mut Transition,
    observed: &Observation,
    cause: RemovalCause,
    step: RemovalStep,
    now: Timestamp,
    policy: &Policy,
) {
    let node = match &observed.node {
        NodeView::Present(node) => node,
        NodeView::Conflict(detail) => {
            wait(result, detail);
            result.requeue_after = Some(Duration::from_secs(30));
            return;
        }
        NodeView::Absent { fresh: false } => return,
        NodeView::Absent { fresh: true } if cause.is_voluntary() => {
            return abort(result, None, "the node disappeared");
        }
        NodeView::Absent { fresh: true } if cause == RemovalCause::Unhealthy => {
            return finish(result, now);
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
    if let Some(why) = objection(result, observed, node, cause, step, now, policy) {
        if planted::is(Bug::DeleteAfterFailedDrain) {
            return finish(result, now);
        }
        if planted::is(Bug::UncordonThenDelete) {
            let removal = result.record.removal.clone();
            abort(result, Some(node), &why);
            result.record.removal = removal;
            return go(result, RemovalStep::DeletingNode, now, "");
        }
        return abort(result, Some(node), &why);
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
        _ if is_forced(result) => finish(result, now),
        _ if holding(node).next().is_some() => drain(result, node, now),
        _ if detaching(result, node, cause, now, policy) => {}
        _ => finish(result, now),
    }
}

/// What speaks against going on with a removal that nobody ordered.
fn objection(
    result: &Transition,
    observed: &Observation,
    node: &NodeState,
    cause: RemovalCause,
    step: RemovalStep,
    now: Timestamp,
    policy: &Policy,
) -> Option<String> {
    let removal = result.record.removal.as_ref()?;
    let overdue = || {
        let waited = age(removal.started_at, now);
        (waited >= policy.drain_timeout).then(|| {
            let why = if node.pods.is_empty() {
                removal.message.clone()
            } else {
                waiting_for(node)
            };
            format!("not drained within {} s: {why}", waited.as_secs())
        })
    };
    match cause {
        RemovalCause::Deleted | RemovalCause::Failed => None,
        RemovalCause::Unhealthy => {
            (node.ready && node.starting.is_empty()).then(|| "the node is Ready again".to_owned())
        }
        RemovalCause::Empty | RemovalCause::Underutilized => {
            if let Some(why) = &observed.keep {
                return Some(why.clone());
            }
            // Another matter, with other patience: it is replaced if it does not come back.
            if !node.ready {
                return Some("the node is not Ready any more".to_owned());
            }
            if cause == RemovalCause::Empty
                && let Some(pod) = node.pods.first()
            {
                return Some(format!("pod {} is on the node", pod.key));
            }
            if step > RemovalStep::Cordoning && node.cordon.is_open() {
                return Some("the node was uncordoned".to_owned());
            }
            overdue()
        }
    }
}

/// Asks the pods of the lowest priority to leave; those of a higher one are asked once they have
/// gone.
fn drain(result: &mut Transition, node: &NodeState, now: Timestamp) {
    go(result, RemovalStep::Draining, now, &waiting_for(node));
    let lowest = holding(node).map(|pod| pod.priority).min();
    let pods: Vec<_> = holding(node)
        .filter(|pod| Some(pod.priority) == lowest || planted::is(Bug::AllBandsAtOnce))
        .filter(|pod| !pod.terminating)
        .map(|pod| (pod.key.clone(), pod.uid.clone()))
        .collect();
    if !pods.is_empty() {
        result.effect = Some(Effect::Evict { pods });
    }
    result.requeue_after = Some(Duration::from_secs(5));
}

/// Waits for the volumes of the pods that have left. A machine that is replaced or was ordered away
/// does not wait for ever: Kubernetes detaches by force, too.
fn detaching(
    result: &mut Transition,
    node: &NodeState,
    cause: RemovalCause,
    now: Timestamp,
    policy: &Policy,
) -> bool {
    let attached = node.attached.first();
    let Some(volume) = attached.filter(|_| !planted::is(Bug::SkipDetach)) else {
        return false;
    };
    let message = match node.attached.len() - 1 {
        0 => format!("waiting for volume {volume} to be detached"),
        more => format!("waiting for volume {volume} and {more} more to be detached"),
    };
    go(result, RemovalStep::Detaching, now, &message);
    let waited = result.record.removal.as_ref().map(|r| age(r.step_at, now));
    let over = waited.is_some_and(|waited| waited >= policy.detach_timeout);
    result.requeue_after = Some(Duration::from_secs(5));
    cause.is_voluntary() || !over
}

/// Nothing is taken back from here on.
fn finish(result: &mut Transition, now: Timestamp) {
    go(result, RemovalStep::DeletingNode, now, "");
    if result.record.deletion_requested || result.record.phase == Phase::Failed {
        result.requeue_after = Some(Duration::ZERO);
    } else {
        result.effect = Some(Effect::DeleteRecord);
    }
}

fn is_forced(result: &Transition) -> bool {
    let removal = result.record.removal.as_ref();
    removal.is_some_and(|removal| removal.forced_at.is_some())
}

/// The pods that keep a node from being deleted. Those of a kubelet that does not answer and that
/// are overdue do not: only the end of the machine ends them.
fn holding(node: &NodeState) -> impl Iterator<Item = &Resident> {
    (node.pods.iter()).filter(|pod| node.ready || !pod.overdue)
}

/// Which pods are waited for: first one that should have ended long ago, else the first by name.
fn waiting_for(node: &NodeState) -> String {
    let stuck = holding(node).find(|pod| pod.overdue);
    let Some(first) = stuck.or_else(|| holding(node).next()) else {
        return String::new();
    };
    let more = match holding(node).count() - 1 {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let stuck = if first.overdue {
        ", which should have ended long ago,"
    } else {
        ""
    };
    format!("waiting for pod {}{stuck}{more} to leave", first.key)
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
