//! Which nodes go, and why every other stays: pure, over the cluster as it is expected.
//!
//! Each node is judged by itself first: its group, its own signs, what it has in use and since when,
//! and each pod on it. Those that nothing forbids are judged together by the joint simulation, which
//! finds a place for each of their pods; as many of them go as may go at once.
//!
//! In use is the larger of what pods ask for and what metrics-server measured, each as a share of
//! what is allocatable. Pods of DaemonSets, mirror pods and pods that are ending are not counted:
//! they leave with their node. A node with no other pods is unneeded whatever was measured.

mod explain;
mod facts;
mod joint;
mod unneeded;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use jiff::{Timestamp, tz::TimeZone};
use model::{Cluster, Disruption, GroupKey, HourlyPrice, NodeName, PodKey};
use planted::Bug;

use super::{
    awaited::{Rank, awaited},
    pods,
    refusal::Refusal,
    simulation::{self, Limits, Reason, Verdict},
};
use crate::lifecycle::{Cordon, RemovalCause, RemovalStep};

pub use explain::{Alone, Explained, explain};

pub use facts::gate;
use facts::{Facts, Purpose};
use joint::Stage;

/// Everything the choice rests on.
#[derive(Clone, Debug)]
pub struct Input<'a> {
    /// The present instant.
    pub now: Timestamp,
    /// The cluster as it is expected: see [`super::awaited`].
    pub cluster: &'a Cluster,
    /// Nodes that go for certain.
    pub leaving: &'a BTreeSet<NodeName>,
    /// Budgets, controllers and usage.
    pub disruption: &'a Disruption,
    /// The managed groups.
    pub groups: BTreeMap<GroupKey, Group>,
    /// Every node of the cluster, ours or not, each once.
    pub candidates: Vec<Candidate>,
    /// What the user set.
    pub settings: &'a Settings,
    /// What holds everything up.
    pub brakes: Brakes,
}

/// The group of a candidate. How many Ready nodes it has follows from the candidates.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Group {
    /// Never fewer Ready nodes than this.
    pub min_nodes: u32,
    /// `scaleDownPolicy.enabled`.
    pub enabled: bool,
    /// `scaleDownPolicy.stabilizationWindowSeconds`.
    pub window: Duration,
    /// `scaleDownPolicy.cooldownSeconds`: after a scale-up or a removal in the group, and after a
    /// node became Ready.
    pub cooldown: Duration,
    /// When the group last grew or shrank.
    pub last_scaled_at: Option<Timestamp>,
    /// Machines of the group that are on their way.
    pub in_flight: u32,
    /// The group is being deleted: its nodes go another way.
    pub deleting: bool,
    /// Somebody paused it.
    pub paused: bool,
    /// `scaleDownPolicy.cpuThreshold`, in percent.
    pub cpu_threshold: u8,
    /// `scaleDownPolicy.memoryThreshold`, in percent.
    pub memory_threshold: u8,
    /// How many of its nodes may be under way at once.
    pub at_once: u32,
}

/// A node of the cluster.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Candidate {
    /// The node.
    pub node: NodeName,
    /// The VPSieNode that stands for it, `namespace/name`.
    pub machine: Option<String>,
    /// Its group.
    pub group: Option<GroupKey>,
    /// The group is managed by this product.
    pub managed: bool,
    /// When it became Ready first.
    pub ready_at: Option<Timestamp>,
    /// The durable start of the unbroken window, where one is running.
    pub unneeded_since: Option<Timestamp>,
    /// Somebody protected it: the label or annotation that says so.
    pub protected_by: Option<String>,
    /// The hours in which it may go, as its user wrote them.
    pub allowed_hours: Option<String>,
    /// Startup taints that are still on it.
    pub startup_taints: Vec<String>,
    /// It is of the control plane, by label or by static pods.
    pub control_plane: bool,
    /// Who cordoned it.
    pub cordon: Cordon,
    /// The leader of this product runs on it.
    pub own: bool,
    /// Saved per hour by its removal, where known.
    pub savings: Option<HourlyPrice>,
    /// Its removal is under way.
    pub removal: Option<(RemovalCause, RemovalStep)>,
}

/// What the user set for the whole cluster.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Settings {
    /// How many nodes may be under way at once (`maxConcurrentScaleDowns`).
    pub at_once: u32,
    /// Free CPU and memory on the nodes that stay, in percent of what the pods to move ask for.
    pub buffer_percent: u32,
    /// Pods of controllers with fewer replicas are not disturbed.
    pub min_replicas: u32,
    /// Pods with data on the node keep it.
    pub respect_local_storage: bool,
    /// Pods of the system without a budget keep their node.
    pub respect_kube_system: bool,
    /// Pods without a controller keep their node.
    pub respect_bare_pods: bool,
    /// Older measurements of usage are not looked at.
    pub usage_max_age: Duration,
    /// Above so many percent of the Ready nodes that look removable at once nothing goes for
    /// another window.
    pub many_percent: u32,
    /// Where hours name no time zone.
    pub time_zone: TimeZone,
    /// The evidence of a node being unneeded is taken as given: the rules of safety alone answer.
    pub assume_unneeded: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            at_once: 1,
            buffer_percent: Limits::DEFAULT_BUFFER_PERCENT,
            min_replicas: 0,
            respect_local_storage: true,
            respect_kube_system: true,
            respect_bare_pods: true,
            usage_max_age: Duration::from_mins(5),
            many_percent: 30,
            time_zone: TimeZone::UTC,
            assume_unneeded: false,
        }
    }
}

/// What holds everything up.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Brakes {
    /// The provider can delete by identity.
    pub targeted_delete: bool,
    /// What pauses the whole cluster.
    pub paused: Option<String>,
    /// The product began to lead a short while ago.
    pub warming_up_until: Option<Timestamp>,
    /// The kind of objects whose watch is broken.
    pub stale: Option<String>,
    /// Groups in which another machine than the one that was named vanished: what was seen.
    pub stopped: BTreeMap<GroupKey, String>,
    /// Since when so many nodes look removable at once: [`Many::since`] of the last plan.
    pub many_since: Option<Timestamp>,
}

impl Default for Brakes {
    /// None but that of a provider that cannot delete by identity.
    fn default() -> Self {
        Self {
            targeted_delete: true,
            paused: None,
            warming_up_until: None,
            stale: None,
            stopped: BTreeMap::new(),
            many_since: None,
        }
    }
}

/// What follows.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Plan {
    /// Nodes to remove, in the order in which they go; all at once is no worse.
    pub remove: Vec<Chosen>,
    /// Windows that begin now, by VPSieNode: to be recorded durably.
    pub window_started: Vec<String>,
    /// Windows that are broken, by VPSieNode: the record is cleared.
    pub window_broken: Vec<String>,
    /// The next instant at which something that keeps a node ends by itself.
    pub look_again_at: Option<Timestamp>,
    /// So many nodes look removable at once that it may be a mistake: to be remembered, and told.
    pub many: Option<Many>,
}

/// A node that goes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Chosen {
    /// The VPSieNode, `namespace/name`.
    pub machine: String,
    /// The node.
    pub node: NodeName,
    /// Its group.
    pub group: GroupKey,
    /// Empty or underutilized.
    pub cause: RemovalCause,
    /// Where each of its pods finds its place, one after the other.
    pub moves: Vec<(PodKey, NodeName)>,
    /// Saved per hour, where known.
    pub savings: Option<HourlyPrice>,
}

/// Many nodes look removable at once.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Many {
    /// How many could go together.
    pub removable: u32,
    /// Of so many Ready ones.
    pub nodes: u32,
    /// Since when it has been so.
    pub since: Timestamp,
}

/// Why each node stays: every reason that is known. Nodes without an entry are chosen.
pub type Report = BTreeMap<NodeName, Vec<Refusal>>;

/// How often nodes are chosen anew without one that would be taken back.
const ROUNDS: u32 = 4;

/// Chooses the nodes to remove.
#[must_use]
pub fn plan(input: &Input<'_>) -> (Plan, Report) {
    let facts = Facts::of(input);
    let (mut plan, mut report) = (Plan::default(), Report::new());
    let mut eligible = Vec::new();
    for candidate in &input.candidates {
        if let Some((cause, step)) = facts::removal(input, candidate) {
            let refusals = vec![Refusal::BeingRemoved { cause, step }];
            report.insert(candidate.node.clone(), refusals);
            continue;
        }
        track_window(&facts, candidate, &mut plan);
        let refusals = facts.refusals(candidate, Purpose::Begin);
        if refusals.is_empty() {
            eligible.push(candidate);
        } else {
            report.insert(candidate.node.clone(), refusals);
        }
    }
    for round in 1..=ROUNDS {
        for candidate in &eligible {
            report.remove(&candidate.node);
        }
        plan.remove.clear();
        if eligible.is_empty() {
            break;
        }
        let not_even_alone = joint::choose(&facts, &eligible, &mut plan, &mut report);
        let refused = confirm(input, &mut plan);
        let Some((first, _)) = refused.first().cloned() else {
            break;
        };
        // Where the pods of those after it go may rest on where its pods would have gone: they are
        // chosen anew without it.
        report.extend(
            refused
                .into_iter()
                .map(|(node, refusal)| (node, vec![refusal])),
        );
        eligible.retain(|one| one.node != first && !not_even_alone.contains(&one.node));
        if round == ROUNDS {
            break;
        }
    }
    let refusals = report.values().flatten();
    plan.look_again_at = refusals.filter_map(Refusal::ends_at).min();
    (plan, report)
}

/// What must not have changed while the node of this VPSieNode settles and is drained: everything
/// but the window, the cooldown, what it has in use and how many go at once. Its own removal does
/// not speak against it; nor does, once its pods are asked to leave, a budget that they spend.
pub fn still_removable(input: &Input<'_>, machine: &str) -> Result<(), Refusal> {
    let candidates = input.candidates.iter();
    let mut same = candidates.filter(|candidate| candidate.machine.as_deref() == Some(machine));
    let candidate = same.next().ok_or(Refusal::NoVPSieNode)?;
    let facts = Facts::of(input);
    let first = facts.refusals(candidate, Purpose::GoOn).into_iter().next();
    let refusal = first.or_else(|| displaced(&facts, candidate));
    refusal.map_or(Ok(()), Err)
}

/// Leaves out of a plan what would be taken back as soon as it has begun, and what comes after that:
/// why, the first one first. Where pods that wait, and those of several nodes, find their places
/// depends on the order in which they are placed; it is another one once removals are under way.
fn confirm(input: &Input<'_>, plan: &mut Plan) -> Vec<(NodeName, Refusal)> {
    if planted::is(Bug::CountRoomTwice) {
        return Vec::new();
    }
    let mut begun = input.clone();
    let mut kept: Vec<Chosen> = Vec::new();
    let mut refused: Vec<(NodeName, Refusal)> = Vec::new();
    for chosen in std::mem::take(&mut plan.remove) {
        if let Some((_, refusal)) = refused.first() {
            refused.push((chosen.node, refusal.clone()));
            continue;
        }
        let step = Some((chosen.cause, RemovalStep::Cordoning));
        // It must not rest on the others' going, either: theirs may be taken back.
        let against_it_alone = if kept.is_empty() {
            None
        } else {
            let mut alone = input.clone();
            note_removal(&mut alone, &chosen, step);
            against(&alone, &Facts::of(&alone), &chosen)
        };
        note_removal(&mut begun, &chosen, step);
        let facts = Facts::of(&begun);
        let refusal = |chosen: &Chosen| against(&begun, &facts, chosen);
        let speaks_against = against_it_alone.or_else(|| refusal(&chosen)).or_else(|| {
            let before = kept.iter().find(|before| refusal(before).is_some());
            before.map(|before| Refusal::RemovalInProgress(before.machine.clone()))
        });
        match speaks_against {
            None => kept.push(chosen),
            Some(refusal) => {
                note_removal(&mut begun, &chosen, None);
                refused.push((chosen.node, refusal));
            }
        }
    }
    plan.remove = kept;
    refused
}

/// Why the removal of this node, which has begun, would be taken back.
fn against(begun: &Input<'_>, facts: &Facts<'_>, chosen: &Chosen) -> Option<Refusal> {
    let mut same = (begun.candidates.iter()).filter(|one| one.node == chosen.node);
    same.next().and_then(|one| displaced(facts, one))
}

fn note_removal(
    input: &mut Input<'_>,
    chosen: &Chosen,
    removal: Option<(RemovalCause, RemovalStep)>,
) {
    let mut candidates = input.candidates.iter_mut();
    if let Some(candidate) = candidates.find(|one| one.node == chosen.node) {
        candidate.removal = removal;
    }
}

/// Why a node whose removal is under way is needed where it is, if it is: by a pod that waits, or
/// by those on it.
fn displaced(facts: &Facts<'_>, candidate: &Candidate) -> Option<Refusal> {
    if let Some(refusal) = wanted(facts, candidate) {
        return Some(refusal);
    }
    if !(facts.pods(&candidate.node).iter()).any(|pod| pods::has_to_move(pod)) {
        return None;
    }
    let limits = Limits {
        buffer_percent: facts.input.settings.buffer_percent,
        ..Limits::NONE
    };
    let stage = Stage::of(facts, &[candidate]);
    let refusal = match simulation::judge(&stage.input(&[candidate], limits), &candidate.node)? {
        Verdict::Removable { .. } => return None,
        Verdict::Kept(reasons) => {
            let removal = facts::removal(facts.input, candidate);
            let draining = removal.is_some_and(|(_, step)| step >= RemovalStep::Draining);
            let mut reasons = reasons.into_iter();
            // A drain spends its budgets itself.
            reasons.find(|one| !(draining && matches!(one, Reason::BudgetAllowsNone { .. })))?
        }
    };
    // With those beside it whose removal can be taken back, too, its pods may find their places in
    // another order.
    let removals = facts.under_way.iter().copied();
    let together: Vec<&Candidate> = removals.filter(|one| is_voluntary(one)).collect();
    if together.len() > 1 {
        let stage = Stage::of(facts, &together);
        let found = simulation::choose(&stage.input(&together, limits)).removals;
        if found.len() == together.len() {
            return None;
        }
    }
    Some(refusal.into())
}

/// Its removal can be taken back.
fn is_voluntary(candidate: &Candidate) -> bool {
    (candidate.removal)
        .is_some_and(|(cause, step)| cause.is_voluntary() && step < RemovalStep::DeletingNode)
}

/// A pod that waits and would be placed on this node, were its removal taken back.
fn wanted(facts: &Facts<'_>, candidate: &Candidate) -> Option<Refusal> {
    let input = facts.input;
    if input.cluster.waiting.is_empty() {
        return None;
    }
    let rank = |one: &Candidate| match facts::removal(input, one) {
        Some(_) => Rank::Removing,
        None if facts.pods(&one.node).is_empty() => Rank::Empty,
        None => Rank::Staying,
    };
    let ranks: BTreeMap<NodeName, Rank> = (input.candidates.iter())
        .map(|one| (one.node.clone(), rank(one)))
        .collect();
    let mut awaited = awaited(input.cluster, input.leaving, &ranks);
    let pod = awaited.remove(&candidate.node)?;
    Some(Reason::NominatedPod(pod).into())
}

/// Whether a window begins or is broken: written down only then.
fn track_window(facts: &Facts<'_>, candidate: &Candidate, plan: &mut Plan) {
    let Some(machine) = facts.group(candidate).and(candidate.machine.as_ref()) else {
        return;
    };
    match (facts.is_unneeded(candidate), candidate.unneeded_since) {
        (true, None) => plan.window_started.push(machine.clone()),
        (false, Some(_)) => plan.window_broken.push(machine.clone()),
        _ => {}
    }
}
