//! A second look at each step of a machine before its effect is carried out.
//!
//! It does not know how the step was decided: from the record before and after, what was observed
//! and the effect alone it says whether a rule that must never be broken would be. A step it refuses
//! has no effect, in production too; the rules are named as in `docs/scale-down.md`.

use std::fmt;

use crate::lifecycle::{
    CloudView, Cordon, Effect, MachineView, NodeState, NodeView, Observation, Phase, Record,
    RemovalCause, RemovalStep, Transition,
};

/// A rule that a step would break.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StepViolation {
    /// The rule's name.
    pub rule: &'static str,
    /// What would break it, in words.
    pub detail: String,
}

impl fmt::Display for StepViolation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.rule, self.detail)
    }
}

impl std::error::Error for StepViolation {}

type Verdict = Result<(), StepViolation>;

fn hold_to(rule: &'static str, holds: bool, detail: impl FnOnce() -> String) -> Verdict {
    if holds {
        return Ok(());
    }
    Err(StepViolation {
        rule,
        detail: detail(),
    })
}

/// Holds one step to the rules of removals.
///
/// # Errors
///
/// The first rule it would break.
pub fn step(before: &Record, observed: &Observation, transition: &Transition) -> Verdict {
    phases(before, &transition.record)?;
    let after = &transition.record;
    match &transition.effect {
        None
        | Some(
            Effect::EnsurePool
            | Effect::CreateMachine { .. }
            | Effect::Bind { .. }
            | Effect::ApplyNodeMetadata { .. },
        ) => Ok(()),
        Some(Effect::Cordon { node, uid }) => {
            brakes(after, observed, "cordon a node")?;
            let node = known(observed, node.as_str(), uid.as_str())?;
            hold_to("S12", after.removal.is_some(), || {
                format!("node {} is cordoned without a removal", node.name)
            })
        }
        Some(Effect::Uncordon { node, uid }) => {
            let node = known(observed, node.as_str(), uid.as_str())?;
            hold_to("S12", after.removal.is_none(), || {
                format!("node {} is uncordoned while it is removed", node.name)
            })?;
            hold_to("S12", node.cordon != Cordon::Human, || {
                format!("node {} was cordoned by somebody else", node.name)
            })
        }
        Some(Effect::Evict { pods }) => {
            brakes(after, observed, "evict pods")?;
            let node = fresh(observed)?;
            hold_to("S12", !node.cordon.is_open(), || {
                format!(
                    "pods of node {} would leave before it is cordoned",
                    node.name
                )
            })?;
            let kept = observed.keep.is_some() && is_voluntary(after);
            hold_to("S8", !kept, || observed.keep.clone().unwrap_or_default())?;
            for (pod, uid) in pods {
                let there = (node.pods.iter()).any(|one| one.key == *pod && one.uid == *uid);
                hold_to("S15", there && !uid.as_str().is_empty(), || {
                    format!("pod {pod} is not on node {} by that identity", node.name)
                })?;
            }
            Ok(())
        }
        Some(Effect::DeleteRecord) => delete_record(before, after, observed),
        Some(Effect::DeleteNode { node, uid, .. }) => {
            brakes(after, observed, "delete a Node")?;
            let node = known(observed, node.as_str(), uid.as_str())?;
            let node = only_fresh(node)?;
            let gone = machine_is_missing(observed) || listed_as_deleted(observed);
            let rule = if gone { "S14" } else { "S6" };
            hold_to(rule, gone || emptied(node), || {
                format!("node {} is not proven empty", node.name)
            })
        }
        Some(Effect::DeleteMachine {
            instance, hostname, ..
        }) => {
            brakes(after, observed, "delete a machine")?;
            let bound = before.machine.as_ref();
            let same =
                bound.is_some_and(|one| one.instance == *instance && one.hostname == *hostname);
            hold_to("S5", same, || {
                format!("machine {instance} is not the one that the record names")
            })?;
            let listed = match &observed.cloud {
                CloudView::Seen {
                    machine: MachineView::Listed(machine),
                    ..
                } => Some(machine),
                _ => None,
            };
            let agrees = listed.is_some_and(|machine| {
                machine.id == *instance
                    && (hostname.as_str().is_empty() || machine.hostname == *hostname)
            });
            hold_to("S5", agrees, || {
                format!("machine {instance} is not listed by that name")
            })?;
            hold_to("S3", is_final(after), || {
                format!("machine {instance} would go before the point of no return")
            })?;
            match &observed.node {
                NodeView::Absent { fresh } => hold_to("S10", *fresh, || {
                    "the Node's absence was not read anew".to_owned()
                }),
                NodeView::Conflict(detail) => hold_to("S5", false, || detail.clone()),
                NodeView::Present(node) => {
                    let forced = after
                        .removal
                        .as_ref()
                        .is_some_and(|r| r.forced_at.is_some());
                    hold_to("S6", forced || lost(node), || {
                        format!("node {} still runs on machine {instance}", node.name)
                    })
                }
            }
        }
        Some(Effect::RemoveFinalizer) => {
            let gone = after.removal.as_ref().map(|r| r.step) == Some(RemovalStep::Gone);
            hold_to("S14", gone && !observed.lists_the_machine(), || {
                "the machine is not proven gone".to_owned()
            })
        }
    }
}

/// Asking for the object's deletion is the point of no return of a removal that nobody ordered.
fn delete_record(before: &Record, after: &Record, observed: &Observation) -> Verdict {
    if after.removal.as_ref().map(|removal| removal.step) == Some(RemovalStep::Gone) {
        return Ok(());
    }
    brakes(after, observed, "give a machine up")?;
    // Recorded before on facts that were fresh then; from there the removal counts as ordered.
    let decided = (before.removal.as_ref()).is_some_and(|removal| removal.step.is_final());
    if decided || machine_is_missing(observed) {
        return Ok(());
    }
    let voluntary = before
        .removal
        .as_ref()
        .is_some_and(|r| r.cause.is_voluntary());
    if !voluntary && matches!(observed.node, NodeView::Absent { fresh: true }) {
        return Ok(());
    }
    let node = fresh(observed)?;
    hold_to("S6", emptied(node) || (!voluntary && lost(node)), || {
        format!("node {} is not proven empty", node.name)
    })?;
    hold_to("S8", !voluntary || observed.keep.is_none(), || {
        observed.keep.clone().unwrap_or_default()
    })
}

/// Phases only move as the table allows; a removal, once final, stays so.
fn phases(before: &Record, after: &Record) -> Verdict {
    use Phase as P;
    let allowed = before.phase == after.phase
        || matches!(
            (before.phase, after.phase),
            (P::Pending, P::Provisioning)
                | (P::Provisioning, P::Provisioned)
                | (P::Provisioned, P::Joining)
                | (P::Provisioned | P::Joining, P::Ready)
                | (
                    P::Pending | P::Provisioning | P::Provisioned | P::Joining | P::Ready,
                    P::Failed | P::Terminating
                )
                // What never had a Node skips a phase; a Node that registered again goes back.
                | (P::Ready | P::Terminating, P::Deleting)
                | (P::Deleting, P::Terminating)
        );
    hold_to("S13", allowed, || {
        format!(
            "{} would follow {}",
            after.phase.name(),
            before.phase.name()
        )
    })?;
    let ended = before.removal.as_ref().is_some_and(|r| r.step.is_final());
    hold_to("S12", !ended || after.removal.is_some(), || {
        "a removal would be taken back after the point of no return".to_owned()
    })
}

fn brakes(after: &Record, observed: &Observation, what: &str) -> Verdict {
    let held = observed.hold.as_ref();
    hold_to("S20", held.is_none(), || {
        format!("{what}: {}", held.map_or("", |hold| &hold.why))
    })?;
    hold_to("S12", after.removal.is_some(), || {
        format!("{what}: nothing is being removed")
    })
}

fn known<'a>(
    observed: &'a Observation,
    name: &str,
    uid: &str,
) -> Result<&'a NodeState, StepViolation> {
    match &observed.node {
        NodeView::Present(node)
            if node.name.as_str() == name && node.uid.as_str() == uid && !uid.is_empty() =>
        {
            Ok(node)
        }
        _ => Err(StepViolation {
            rule: "S15",
            detail: format!("node {name} was not observed by that identity"),
        }),
    }
}

fn fresh(observed: &Observation) -> Result<&NodeState, StepViolation> {
    match &observed.node {
        NodeView::Present(node) => only_fresh(node),
        NodeView::Absent { .. } | NodeView::Conflict(_) => Err(StepViolation {
            rule: "S10",
            detail: "the Node was not observed".to_owned(),
        }),
    }
}

fn only_fresh(node: &NodeState) -> Result<&NodeState, StepViolation> {
    hold_to("S10", node.fresh, || {
        format!("node {} was not read anew", node.name)
    })
    .map(|()| node)
}

fn emptied(node: &NodeState) -> bool {
    node.fresh && !node.cordon.is_open() && node.pods.is_empty()
}

/// Its kubelet does not answer, and every pod on it should have ended.
fn lost(node: &NodeState) -> bool {
    node.fresh && !node.ready && !node.cordon.is_open() && node.pods.iter().all(|pod| pod.overdue)
}

fn is_voluntary(record: &Record) -> bool {
    record
        .removal
        .as_ref()
        .is_some_and(|removal| removal.cause.is_voluntary())
}

fn is_final(record: &Record) -> bool {
    (record.removal.as_ref()).is_some_and(|removal| removal.step.is_final())
        && (record.deletion_requested
            || record.phase == Phase::Failed
            || record.removal.as_ref().is_some_and(|removal| {
                matches!(removal.cause, RemovalCause::Deleted | RemovalCause::Failed)
            }))
}

fn machine_is_missing(observed: &Observation) -> bool {
    matches!(
        &observed.cloud,
        CloudView::Seen {
            machine: MachineView::Missing { sightings, .. },
            ..
        } if *sightings >= 2
    )
}

fn listed_as_deleted(observed: &Observation) -> bool {
    matches!(
        &observed.cloud,
        CloudView::Seen {
            machine: MachineView::Listed(machine),
            ..
        } if machine.phase == model::InstancePhase::Deleting
    )
}
