//! W5 and W9: which nodes could go, and which go together.
//!
//! Beside it, on the same engine, what a search for the longest prefix finds: nodes in the order of
//! how few pods they have, at most a hundred of them, the longest prefix found by halving that can go
//! together (Karpenter's multi-node consolidation, without replacements).

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;
use checker::{Place, World, replay};
use model::{GroupKey, HourlyPrice, NodeName, Pod, PodKey, PodRole};
use planner::{
    removal::simulation::{Budget, Candidate, Group, Input, Limits, Plan, Verdict, choose, scan},
    scale_up,
};
use serde::Serialize;

use crate::{
    Settings,
    budgets::budgets,
    fixture::Fixture,
    memory,
    outcome::Checked,
    stopwatch::{Times, millis, timed},
};

/// What a node is of its group's offerings.
const SIZE: &str = "node.kubernetes.io/instance-type";

/// Most candidates that a prefix is looked for in.
const PREFIX: usize = 100;

/// What is timed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Timed {
    /// Choosing the set.
    Choose,
    /// Judging every candidate by itself, and choosing the set.
    Scan,
}

/// A line; `docs/benchmarks.md` says what each field is.
#[derive(Clone, PartialEq, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Line {
    workload: String,
    nodes: usize,
    pods: usize,
    repeats: usize,
    millis: f64,
    min_millis: f64,
    candidates: usize,
    /// Those that could go alone; only of a scan.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) removable: Option<usize>,
    pub(crate) removed: usize,
    pub(crate) moved: usize,
    hourly_price: String,
    hourly_savings: String,
    prefix: Prefix,
    input_rss_mib: Option<f64>,
    peak_rss_mib: Option<f64>,
    pub(crate) checker: Checked,
}

/// What the search for a prefix finds.
#[derive(Clone, PartialEq, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Prefix {
    removed: usize,
    hourly_savings: String,
    millis: f64,
}

/// Runs a workload.
pub(crate) fn run(fixture: &Fixture, what: Timed, settings: Settings) -> Result<Line> {
    let read = fixture.input()?;
    let nothing = BTreeSet::new();
    let candidates = candidates(&read);
    let input = Input {
        cluster: &read.cluster,
        groups: groups(&candidates),
        candidates,
        leaving: &nothing,
        budgets: budgets(&fixture.dump)?,
        limits: Limits::NONE,
    };
    let input_rss_mib = memory::resident();
    memory::forget_peak();
    let mut times = Times::default();
    let mut removable = None;
    let mut plan = Plan::default();
    for _ in 0..settings.repeats.max(1) {
        let time = match what {
            Timed::Choose => {
                let (chosen, time) = timed(|| choose(&input));
                plan = chosen;
                time
            }
            Timed::Scan => {
                let (scanned, time) = timed(|| scan(&input));
                let alone = scanned.alone.values();
                removable = Some(alone.filter(|verdict| verdict.is_removable()).count());
                plan = scanned.plan;
                time
            }
        };
        times.push(time);
    }
    let peak_rss_mib = memory::peak();
    let all = input.candidates.iter().filter_map(|one| one.price);
    Ok(Line {
        workload: fixture.name.clone(),
        nodes: read.cluster.nodes.len(),
        pods: read.cluster.bound.len(),
        repeats: settings.repeats,
        millis: millis(times.median()),
        min_millis: millis(times.least()),
        candidates: input.candidates.len(),
        removable,
        removed: plan.removals.len(),
        moved: plan.disruptions(),
        hourly_price: all.sum::<HourlyPrice>().to_string(),
        hourly_savings: plan.savings().to_string(),
        prefix: longest_prefix(&input),
        input_rss_mib,
        peak_rss_mib,
        checker: if settings.no_check {
            Checked::Word("skipped")
        } else {
            check(&input, &plan)
        },
    })
}

/// Every node, at the price of what it is.
fn candidates(read: &scale_up::Input) -> Vec<Candidate> {
    let group = read.groups.first();
    let nodes = read.cluster.nodes.values().map(|node| {
        let size = node.shape.labels.get(SIZE);
        let choice = group.and_then(|group| {
            let mut choices = group.choices.iter();
            choices.find(|choice| size.is_some_and(|size| choice.offering.id.as_str() == &**size))
        });
        Candidate {
            node: node.name.clone(),
            group: group.map_or_else(|| GroupKey::new("", ""), |group| group.key.clone()),
            price: choice.and_then(|choice| choice.offering.price),
        }
    });
    nodes.collect()
}

fn groups(candidates: &[Candidate]) -> BTreeMap<GroupKey, Group> {
    let mut groups: BTreeMap<GroupKey, Group> = BTreeMap::new();
    for candidate in candidates {
        let group = groups.entry(candidate.group.clone()).or_insert(Group {
            ready_nodes: 0,
            min_nodes: 0,
            at_once: u32::MAX,
        });
        group.ready_nodes += 1;
    }
    groups
}

fn longest_prefix(input: &Input<'_>) -> Prefix {
    // Those that could not go alone are no candidates there either.
    let alone = scan(input).alone;
    let could_go = |one: &&Candidate| alone.get(&one.node).is_some_and(Verdict::is_removable);
    let mut pods: BTreeMap<&NodeName, usize> = BTreeMap::new();
    for pod in &input.cluster.bound {
        if let Some(node) = pod.node() {
            *pods.entry(node).or_default() += 1;
        }
    }
    let mut order: Vec<&Candidate> = input.candidates.iter().filter(could_go).collect();
    order.sort_by_key(|one| (pods.get(&one.node).copied().unwrap_or(0), &one.node));
    order.truncate(PREFIX);
    let (best, time) = timed(|| {
        let mut best = Plan::default();
        let (mut least, mut most) = (1, order.len());
        while least <= most {
            let middle = least.midpoint(most);
            let tried = Input {
                candidates: order[..middle].iter().copied().cloned().collect(),
                groups: input.groups.clone(),
                budgets: input.budgets.clone(),
                ..*input
            };
            let plan = choose(&tried);
            if plan.removals.len() == middle {
                best = plan;
                least = middle + 1;
            } else {
                most = middle - 1;
            }
        }
        best
    });
    Prefix {
        removed: best.removals.len(),
        hourly_savings: best.savings().to_string(),
        millis: millis(time),
    }
}

/// What is wrong with a plan, judged once all of it is done: every pod of what goes is moved once,
/// to what stays, where it breaks no rule, and no budget is overdrawn.
fn check(input: &Input<'_>, plan: &Plan) -> Checked {
    let cluster = input.cluster;
    let mut wrong = Vec::new();
    let gone: BTreeSet<&NodeName> = plan.removals.iter().map(|one| &one.node).collect();
    let mut world = World::new(cluster.surroundings.clone());
    let mut places: BTreeMap<&NodeName, Place> = BTreeMap::new();
    for (name, node) in &cluster.nodes {
        if !gone.contains(name) {
            places.insert(name, world.add(node.clone()));
        }
    }
    let mut moving: BTreeMap<&PodKey, &Pod> = BTreeMap::new();
    for pod in &cluster.bound {
        let Some(node) = pod.node() else { continue };
        if let Some(place) = places.get(node) {
            world.put(&pod.class, *place, pod.terminating.is_some());
        } else if pod.role == PodRole::Ordinary {
            moving.insert(&pod.key, pod);
        }
    }
    let mut allowed: Vec<(&Budget, u32)> = input
        .budgets
        .iter()
        .map(|budget| (budget, budget.allowed))
        .collect();
    let mut moves = Vec::new();
    for (key, to) in plan.removals.iter().flat_map(|one| &one.moves) {
        let Some(place) = places.get(to) else {
            wrong.push(format!(
                "{key} is moved to {to}, which goes or is not there"
            ));
            continue;
        };
        let Some(pod) = moving.remove(key) else {
            wrong.push(format!("{key} is moved twice or for nothing"));
            continue;
        };
        for (budget, left) in &mut allowed {
            let covers = budget.namespace == pod.class.namespace
                && budget.selector.matches(&pod.class.labels);
            if covers && *left == 0 {
                wrong.push(format!("{key} overdraws the budget {}", budget.name));
            }
            *left = left.saturating_sub(u32::from(covers));
        }
        moves.push((&pod.key, &pod.class, *place));
    }
    wrong.extend(moving.keys().map(|key| format!("{key} is not moved")));
    let broken = replay(&mut world, moves).into_iter();
    Checked::of(
        wrong
            .into_iter()
            .chain(broken.map(|violation| violation.to_string())),
    )
}
