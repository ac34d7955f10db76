//! What became of the create requests, judged by set difference from complete observations.
//!
//! Workers of one pool are interchangeable, so which of two requests gets which of two machines
//! does not matter; how many do. A machine is adopted only when every new one can be accounted for
//! by a request of ours; otherwise none is.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use jiff::Timestamp;
use model::{Instance, InstanceId, InstancePhase, Observation, OperationId, Resolution, Role};

/// What is known of one create request.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum RequestState {
    /// The cloud said yes.
    Accepted,
    /// It may or may not have taken effect (lost answer, or a crash after the intent was
    /// recorded).
    Unknown,
}

/// A create request that has no machine yet.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OpenOperation {
    /// Which.
    pub id: OperationId,
    /// Accepted or unknown.
    pub state: RequestState,
    /// Machines that existed before it was sent: never its own.
    pub baseline: BTreeSet<InstanceId>,
    /// When it was (or, after a crash, may have been) sent.
    pub requested_at: Timestamp,
    /// (virtual CPUs, memory in MiB) of the size asked for.
    pub shape: Option<(u32, u64)>,
    /// The identity, where the cloud told it at once.
    pub instance: Option<InstanceId>,
    /// The machine is meant to serve; else it would be deleted as soon as it is known. Machines are
    /// interchangeable, so those that are meant to serve come first.
    pub wanted: bool,
}

/// Judges every open operation of one scope against `observation`.
///
/// `owned` are the machines that belong to someone already (one VPSieNode each). `quarantine` is
/// how long an unanswered request may still take effect; it must exceed the server's worst
/// completion after a client timeout plus the worst pause of a leader.
///
/// Properties (tested): no machine is given to two operations; no machine of a baseline, of
/// `owned`, of the control plane or of another shape is given to anyone; from an incomplete
/// observation nothing is ever proven absent; more new machines than requests gives no adoption
/// at all to the requests concerned.
#[must_use]
pub fn resolve(
    operations: &[OpenOperation],
    owned: &BTreeSet<InstanceId>,
    observation: &Observation,
    now: Timestamp,
    quarantine: Duration,
) -> BTreeMap<OperationId, Resolution> {
    let mut result = BTreeMap::new();
    let mut taken: BTreeSet<&InstanceId> = owned.iter().collect();

    // Identities the cloud told at once need no inference.
    let (told, mut open): (Vec<_>, Vec<_>) = operations
        .iter()
        .partition(|operation| operation.instance.is_some());
    for operation in told {
        let Some(id) = &operation.instance else {
            continue;
        };
        let verdict = if observation.instance(id).is_some() {
            taken.insert(id);
            Resolution::Found(id.clone())
        } else {
            Resolution::StillPending
        };
        result.insert(operation.id.clone(), verdict);
    }

    // Those that are wanted first; then accepted ones, whose will come for certain; then the oldest.
    open.sort_by_key(|operation| {
        (
            !operation.wanted,
            operation.state,
            operation.requested_at,
            operation.id.clone(),
        )
    });
    let candidates: Vec<&Instance> = observation
        .instances
        .iter()
        .filter(|instance| {
            instance.role == Role::Worker
                && instance.phase != InstancePhase::Deleting
                && !taken.contains(&instance.id)
        })
        .collect();

    // Requests and candidates that could belong together form groups; within one, count.
    for group in groups(&open, &candidates) {
        let surplus = group.candidates.len() > group.operations.len();
        let mut free: Vec<&Instance> = group.candidates.clone();
        for operation in &group.operations {
            let verdict = if surplus {
                Resolution::Ambiguous(
                    group
                        .candidates
                        .iter()
                        .filter(|candidate| could_be(operation, candidate))
                        .map(|candidate| candidate.id.clone())
                        .collect(),
                )
            } else if let Some(at) = free.iter().position(|c| could_be(operation, c)) {
                Resolution::Found(free.remove(at).id.clone())
            } else {
                waiting(operation, observation, now, quarantine)
            };
            let verdict = match verdict {
                Resolution::Ambiguous(ids) if ids.is_empty() => {
                    waiting(operation, observation, now, quarantine)
                }
                other => other,
            };
            result.insert(operation.id.clone(), verdict);
        }
    }
    result
}

fn could_be(operation: &OpenOperation, instance: &Instance) -> bool {
    let shape_agrees = match (operation.shape, instance.shape) {
        (Some(asked), Some(seen)) => asked == seen,
        _ => true,
    };
    shape_agrees && !operation.baseline.contains(&instance.id)
}

fn waiting(
    operation: &OpenOperation,
    observation: &Observation,
    now: Timestamp,
    quarantine: Duration,
) -> Resolution {
    let elapsed = |until: Timestamp| {
        Duration::try_from(until.duration_since(operation.requested_at)).unwrap_or_default()
    };
    // The observation itself must have begun after the quarantine: an old one proves nothing.
    let settled = elapsed(observation.started_at) >= quarantine && elapsed(now) >= quarantine;
    if operation.state == RequestState::Unknown && observation.complete && settled {
        Resolution::ProvenAbsent
    } else {
        Resolution::StillPending
    }
}

struct Group<'a> {
    operations: Vec<&'a OpenOperation>,
    candidates: Vec<&'a Instance>,
}

/// Connected components of "this request could have bought that machine".
fn groups<'a>(operations: &[&'a OpenOperation], candidates: &[&'a Instance]) -> Vec<Group<'a>> {
    let mut groups: Vec<Group<'a>> = Vec::new();
    for operation in operations {
        let mut merged = Group {
            operations: vec![*operation],
            candidates: candidates
                .iter()
                .copied()
                .filter(|candidate| could_be(operation, candidate))
                .collect(),
        };
        let (touching, apart): (Vec<_>, Vec<_>) = groups.into_iter().partition(|group| {
            group.candidates.iter().any(|seen| {
                merged
                    .candidates
                    .iter()
                    .any(|candidate| candidate.id == seen.id)
            })
        });
        groups = apart;
        for group in touching.into_iter().rev() {
            merged.operations.splice(0..0, group.operations);
            for candidate in group.candidates {
                if !merged.candidates.iter().any(|seen| seen.id == candidate.id) {
                    merged.candidates.push(candidate);
                }
            }
        }
        // Keep the order of preference that the caller sorted by.
        merged
            .operations
            .sort_by_key(|operation| operations.iter().position(|other| other.id == operation.id));
        merged.candidates.sort_by(|a, b| a.id.cmp(&b.id));
        groups.push(merged);
    }
    groups
}
