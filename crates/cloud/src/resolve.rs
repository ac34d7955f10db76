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
use planted::Bug;

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

/// How long requests are waited for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Windows {
    /// How long an unanswered request may still take effect; it must exceed the server's worst
    /// completion after a client timeout plus the worst pause of a leader.
    pub quarantine: Duration,
    /// How long an accepted request may still take effect: a machine that is not there after
    /// this is not its.
    pub settle: Duration,
    /// Since when this process has watched the clock and the cloud. The quarantine of an older
    /// request is counted from here: a clock that differs between two leaders proves nothing.
    pub watched_since: Timestamp,
}

/// Judges every open operation of one scope against `observation`.
///
/// `owned` are the machines that belong to someone already (one VPSieNode each).
///
/// Properties (tested): no machine is given to two operations; no machine of a baseline, of
/// `owned`, of the control plane or of another shape is given to anyone; from an incomplete
/// observation nothing is ever proven absent; more new machines than requests gives no adoption
/// at all to the requests concerned. A machine that came while a request was waited for and that
/// fits no request is [`Resolution::Ambiguous`] for it once the quarantine is over: it may be
/// what the request bought, and must be neither adopted nor forgotten.
#[must_use]
pub fn resolve(
    operations: &[OpenOperation],
    owned: &BTreeSet<InstanceId>,
    observation: &Observation,
    now: Timestamp,
    windows: &Windows,
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
    let (candidates, others): (Vec<&Instance>, Vec<&Instance>) = observation
        .instances
        .iter()
        .filter(|instance| {
            instance.role != Role::ControlPlane
                && instance.phase != InstancePhase::Deleting
                && !taken.contains(&instance.id)
        })
        .partition(|instance| instance.role == Role::Worker);
    let open: Vec<Open<'_>> = open
        .into_iter()
        .map(|operation| Open::new(operation, operations, windows.settle))
        .collect();
    let strays: Vec<&Instance> = candidates
        .iter()
        .copied()
        .filter(|candidate| !open.iter().any(|open| open.could_be(candidate)))
        .chain(others)
        .collect();

    // Requests and candidates that could belong together form groups; within one, count.
    for group in groups(&open, &candidates) {
        let surplus =
            group.candidates.len() > group.operations.len() && !planted::is(Bug::AdoptAnyone);
        let mut free: Vec<&Instance> = group.candidates.clone();
        for open in &group.operations {
            let meant = group.candidates.iter().filter(|c| open.could_be(c));
            let verdict = if surplus && meant.clone().next().is_some() {
                ambiguous(meant.copied())
            } else if !surplus && let Some(at) = free.iter().position(|c| open.could_be(c)) {
                Resolution::Found(free.remove(at).id.clone())
            } else {
                open.waiting(&strays, observation, now, windows)
            };
            result.insert(open.operation.id.clone(), verdict);
        }
    }
    result
}

fn ambiguous<'a>(machines: impl Iterator<Item = &'a Instance>) -> Resolution {
    let mut ids: Vec<InstanceId> = machines.map(|machine| machine.id.clone()).collect();
    ids.sort();
    Resolution::Ambiguous(ids)
}

/// An open operation, and what is known of its time.
struct Open<'a> {
    operation: &'a OpenOperation,
    /// Baselines of requests that were sent when this one could not take effect any more: what is
    /// in none of them came too late to be its.
    later: Vec<&'a BTreeSet<InstanceId>>,
}

impl<'a> Open<'a> {
    fn new(operation: &'a OpenOperation, all: &'a [OpenOperation], settle: Duration) -> Self {
        let until = operation.requested_at.saturating_add(settle).ok();
        let later = all
            .iter()
            .filter(|other| until.is_some_and(|until| other.requested_at >= until))
            .map(|other| &other.baseline)
            .collect();
        Self { operation, later }
    }

    /// It came when this request could have bought it.
    fn in_time(&self, instance: &Instance) -> bool {
        !self.operation.baseline.contains(&instance.id)
            && self.later.iter().all(|later| later.contains(&instance.id))
    }

    fn shape_agrees(&self, instance: &Instance) -> bool {
        match (self.operation.shape, instance.shape) {
            (Some(asked), Some(seen)) => asked == seen,
            _ => true,
        }
    }

    fn could_be(&self, instance: &Instance) -> bool {
        let agrees = self.shape_agrees(instance) && self.in_time(instance);
        agrees || planted::is(Bug::AdoptAnyone)
    }

    fn waiting(
        &self,
        strays: &[&Instance],
        observation: &Observation,
        now: Timestamp,
        windows: &Windows,
    ) -> Resolution {
        let since = self.operation.requested_at.max(windows.watched_since);
        // The observation itself must have begun after the quarantine: an old one proves nothing.
        let over = [observation.started_at, now].into_iter().all(|until| {
            Duration::try_from(until.duration_since(since)).unwrap_or_default()
                >= windows.quarantine
        });
        if !over {
            return Resolution::StillPending;
        }
        // The cloud said yes, and something else than what was asked for has come; or something
        // of which nobody knows what it is.
        let accepted = self.operation.state == RequestState::Accepted;
        let mut meant = strays
            .iter()
            .copied()
            .filter(|stray| self.in_time(stray) && (accepted || stray.role == Role::Unknown))
            .peekable();
        if meant.peek().is_some() {
            ambiguous(meant)
        } else if accepted || !observation.complete {
            Resolution::StillPending
        } else {
            Resolution::ProvenAbsent
        }
    }
}

struct Group<'a> {
    operations: Vec<&'a Open<'a>>,
    candidates: Vec<&'a Instance>,
}

/// Connected components of "this request could have bought that machine".
fn groups<'a>(operations: &'a [Open<'a>], candidates: &[&'a Instance]) -> Vec<Group<'a>> {
    let mut groups: Vec<Group<'a>> = Vec::new();
    for operation in operations {
        let mut merged = Group {
            operations: vec![operation],
            candidates: candidates
                .iter()
                .copied()
                .filter(|candidate| operation.could_be(candidate))
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
        merged.operations.sort_by_key(|open| {
            operations
                .iter()
                .position(|other| other.operation.id == open.operation.id)
        });
        merged.candidates.sort_by(|a, b| a.id.cmp(&b.id));
        groups.push(merged);
    }
    groups
}
