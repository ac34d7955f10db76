//! The nodes that nothing forbids, beside each other and beside the removals that are under way.
//!
//! For each pod of a node that is going room is kept where it could go, and it counts against the
//! budgets it is under: what is chosen now takes nothing that was promised before. Rules between
//! pods see such a pod where it still is.

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use jiff::Timestamp;
use model::{Budget, Cluster, GroupKey, Labels, NodeName, Pod, PodKey, PodState, SchedulingClass};
use planted::Bug;

use super::{
    Candidate, Chosen, Many, Plan, Report,
    facts::{Facts, later},
};
use crate::{
    lifecycle::RemovalCause,
    removal::{
        pods::has_to_move,
        refusal::Refusal,
        simulation::{self, Limits, Reason},
    },
};

/// Up to so many nodes are never many.
const FEW: u32 = 3;

/// What the simulation is asked about.
pub(super) struct Stage<'a> {
    facts: &'a Facts<'a>,
    cluster: Cow<'a, Cluster>,
    leaving: BTreeSet<NodeName>,
    budgets: Vec<Budget>,
    groups: BTreeMap<GroupKey, simulation::Group>,
    /// How many more may go at once.
    limits: Limits,
    /// Nodes that are going have pods that have to move, or count among those at once.
    beside: bool,
}

impl<'a> Stage<'a> {
    /// Beside all removals that are under way, but for those of `own`.
    pub(super) fn of(facts: &'a Facts<'a>, own: &[&Candidate]) -> Self {
        let input = facts.input;
        let mut leaving = facts.away.clone();
        leaving.retain(|node| own.iter().all(|one| one.node != *node));
        let moving = |pod: &Arc<Pod>| {
            has_to_move(pod) && pod.node().is_some_and(|node| leaving.contains(node))
        };
        let mut budgets = input.disruption.budgets.clone().unwrap_or_default();
        let in_waves = spend(
            &mut budgets,
            input.cluster.bound.iter().filter(|pod| moving(pod)),
        );
        let moves = input.cluster.bound.iter().any(moving);
        let cluster = if moves {
            Cow::Owned(with_room_for(input.cluster, moving))
        } else {
            Cow::Borrowed(input.cluster)
        };
        let under_way = |group: Option<&GroupKey>| {
            let all = facts.under_way.iter();
            let same = all.filter(|one| group.is_none() || one.group.as_ref() == group);
            u32::try_from(same.count()).unwrap_or(u32::MAX)
        };
        let groups = input.groups.iter().map(|(key, group)| {
            let facts = simulation::Group {
                ready_nodes: facts.ready(key, own),
                min_nodes: group.min_nodes,
                at_once: group.at_once.saturating_sub(under_way(Some(key))),
            };
            (key.clone(), facts)
        });
        let left = input.settings.at_once.saturating_sub(under_way(None));
        Self {
            groups: groups.collect(),
            limits: Limits {
                at_once: if in_waves { 0 } else { left },
                buffer_percent: input.settings.buffer_percent,
            },
            beside: moves || !facts.under_way.is_empty(),
            facts,
            cluster,
            leaving,
            budgets,
        }
    }

    /// The question about these nodes.
    pub(super) fn input(&self, candidates: &[&Candidate], limits: Limits) -> simulation::Input<'_> {
        let candidates = candidates.iter().filter_map(|candidate| {
            Some(simulation::Candidate {
                node: candidate.node.clone(),
                group: candidate.group.clone()?,
                price: candidate.savings,
            })
        });
        simulation::Input {
            cluster: &self.cluster,
            candidates: candidates.collect(),
            leaving: &self.leaving,
            groups: self.groups.clone(),
            budgets: self.budgets.clone(),
            limits,
        }
    }

    /// How many could go together if any number could be under way at once.
    fn together(&self, candidates: &[&Candidate]) -> u32 {
        let limits = Limits {
            at_once: u32::MAX,
            ..self.limits
        };
        let mut input = self.input(candidates, limits);
        for group in input.groups.values_mut() {
            group.at_once = u32::MAX;
        }
        u32::try_from(simulation::choose(&input).removals.len()).unwrap_or(u32::MAX)
    }

    /// Why a node that would go has to be drained with no other beside it, if it has.
    fn waves(&self, removal: &simulation::Removal) -> Option<Reason> {
        let moving: BTreeSet<&PodKey> = removal.moves.iter().map(|(pod, _)| pod).collect();
        let pods = self.facts.pods(&removal.node).iter();
        let pods: Vec<_> = pods.filter(|pod| moving.contains(&pod.key)).collect();
        self.budgets.iter().find_map(|budget| {
            let count = pods.iter().filter(|pod| asks(budget, pod)).count();
            (count > budget.allowed as usize).then(|| Reason::DrainedAlone {
                budget: format!("{}/{}", budget.namespace, budget.name),
                allowed: budget.allowed,
            })
        })
    }

    /// What the simulation says, in the words of who knows of removals that are under way.
    fn refusal(&self, candidate: &Candidate, reason: Reason) -> Refusal {
        if !matches!(reason, Reason::EnoughAtOnce { .. }) {
            return reason.into();
        }
        let under_way = &self.facts.under_way;
        let same = under_way.iter().find(|one| one.group == candidate.group);
        let machine = same
            .or(under_way.first())
            .and_then(|one| one.machine.clone());
        machine.map_or_else(|| reason.into(), Refusal::RemovalInProgress)
    }
}

/// The API server asks the budget before it evicts the pod.
fn asks(budget: &Budget, pod: &Pod) -> bool {
    budget.namespace == pod.class.namespace
        && !budget.spares(pod.health)
        && budget.selector.matches(&pod.class.labels)
}

/// Takes what these pods spend off the budgets; says whether a node with more of them than one
/// allows is among those that are going: it is drained in waves, with no other beside it.
fn spend<'p>(budgets: &mut [Budget], pods: impl Iterator<Item = &'p Arc<Pod>>) -> bool {
    let mut spent: BTreeMap<(usize, Option<&NodeName>), u32> = BTreeMap::new();
    for pod in pods {
        for (index, budget) in budgets.iter().enumerate() {
            if asks(budget, pod) {
                *spent.entry((index, pod.node())).or_default() += 1;
            }
        }
    }
    let mut in_waves = false;
    let allowed: Vec<u32> = budgets.iter().map(|budget| budget.allowed).collect();
    for ((index, _), pods) in spent {
        in_waves |= pods > allowed[index];
        budgets[index].allowed = budgets[index].allowed.saturating_sub(pods);
    }
    in_waves
}

/// The cluster in which a place is kept for each of these pods: one that waits and asks for as much,
/// yet is of no concern to rules between pods.
fn with_room_for(cluster: &Cluster, moving: impl Fn(&Arc<Pod>) -> bool) -> Cluster {
    let mut cluster = cluster.clone();
    let moving = cluster.bound.iter().filter(|pod| moving(pod));
    let kept = moving.map(|pod| {
        let mut kept = Pod::clone(pod);
        kept.state = PodState::Waiting;
        kept.nominated = None;
        kept.class = Arc::new(SchedulingClass {
            labels: Labels::new(),
            spread: Vec::new(),
            affinity: Vec::new(),
            anti_affinity: Vec::new(),
            claims: Vec::new(),
            disks: Vec::new(),
            ..SchedulingClass::clone(&pod.class)
        });
        Arc::new(kept)
    });
    cluster.waiting.extend(kept);
    cluster
}

/// Chooses among the nodes that nothing forbids. Those that could not even go alone are named.
pub(super) fn choose(
    facts: &Facts<'_>,
    eligible: &[&Candidate],
    plan: &mut Plan,
    report: &mut Report,
) -> BTreeSet<NodeName> {
    let stage = Stage::of(facts, &[]);
    let mut scan = simulation::scan(&stage.input(eligible, stage.limits));
    let by_name: BTreeMap<&NodeName, &Candidate> =
        eligible.iter().map(|one| (&one.node, *one)).collect();
    if let Some((many, until)) = brake(&stage, eligible, &scan) {
        let held = until > facts.input.now;
        if held {
            for (node, _) in scan.alone.iter().filter(|(_, one)| one.is_removable()) {
                let refusal = Refusal::ManyRemovable {
                    removable: many.removable,
                    nodes: many.nodes,
                    until,
                };
                scan.plan.left.remove(node);
                report.insert(node.clone(), vec![refusal]);
            }
            scan.plan.removals.clear();
        }
        plan.many = Some(many);
    }
    for removal in scan.plan.removals {
        let candidate = by_name.get(&removal.node);
        let Some((machine, group)) =
            candidate.and_then(|one| Some((one.machine.clone()?, one.group.clone()?)))
        else {
            continue;
        };
        if stage.beside
            && let Some(reason) = stage.waves(&removal)
        {
            report.insert(removal.node, vec![reason.into()]);
            continue;
        }
        // A pod that is ending is waited for, like those that move.
        let cause = if facts.pods(&removal.node).is_empty() {
            RemovalCause::Empty
        } else {
            RemovalCause::Underutilized
        };
        plan.remove.push(Chosen {
            machine,
            group,
            cause,
            node: removal.node,
            moves: removal.moves,
            savings: removal.savings,
        });
    }
    for (node, reasons) in scan.plan.left {
        if let Some(candidate) = by_name.get(&node) {
            let refusals = reasons.into_iter();
            let refusals = refusals.map(|reason| stage.refusal(candidate, reason));
            report.insert(node, refusals.collect());
        }
    }
    let alone = scan.alone.into_iter();
    alone
        .filter(|(_, verdict)| !verdict.is_removable())
        .map(|(node, _)| node)
        .collect()
}

/// Whether so many nodes look removable at once that it may be a mistake, and until when nothing
/// goes then: another window, the longest of theirs.
fn brake(
    stage: &Stage<'_>,
    eligible: &[&Candidate],
    scan: &simulation::Scan,
) -> Option<(Many, Timestamp)> {
    let alone = scan.alone.values().filter(|verdict| verdict.is_removable());
    let alone = u32::try_from(alone.count()).unwrap_or(u32::MAX);
    // No more can go together than alone, which is known already.
    many(stage, eligible, alone)?;
    many(stage, eligible, stage.together(eligible))
}

/// What is remembered where so many of the eligible nodes can go that it may be a mistake, and until
/// when nothing goes then.
pub(super) fn many(
    stage: &Stage<'_>,
    eligible: &[&Candidate],
    removable: u32,
) -> Option<(Many, Timestamp)> {
    let input = stage.facts.input;
    let nodes = input.cluster.nodes.values();
    let ready = nodes.filter(|node| node.ready).count();
    let nodes = u32::try_from(ready).unwrap_or(u32::MAX);
    let most = u64::from(nodes) * u64::from(input.settings.many_percent);
    if planted::is(Bug::BelieveMany) || removable <= FEW || u64::from(removable) * 100 <= most {
        return None;
    }
    let since = input.brakes.many_since.unwrap_or(input.now);
    let windows = eligible.iter().filter_map(|one| stage.facts.group(one));
    let window = windows.map(|group| group.window).max().unwrap_or_default();
    let many = Many {
        removable,
        nodes,
        since,
    };
    Some((many, later(since, window)))
}
