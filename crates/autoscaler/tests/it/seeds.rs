//! Worlds of twenty nodes in which everything goes wrong at random, seed by seed: load that comes and
//! goes, faults of the cloud and of the API server, people, crashes and changes of the leader. Then
//! it is calm. The whole history is held to S1 to S20, and what must come right in the end to L1 to
//! L7. One seed is one story: `SEED=k` tells it again.

mod chaos;
mod load;
mod people;
mod trouble;

use std::{
    collections::BTreeMap,
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use history::{Fate, History, Kind, Violation};
use sim::{NodeRow, VPSieNodeRow, View, WorldConfig};

use crate::harness::{Harness, asked_number, report, virtually};

use chaos::Chaos;

/// How long it is wild, in minutes.
const WILD: u64 = 40;
/// How long it is calm after that at least, in minutes: what must come right has half an hour.
const CALM: u64 = 36;
/// How long it is calm where something is under way still: L4 gives a deletion an hour.
const LONG_CALM: u64 = 70;

/// What a seed came to.
struct Outcome {
    seed: u64,
    violations: Vec<Violation>,
    report: String,
    /// What was reached, and how often.
    reached: BTreeMap<&'static str, u64>,
    /// Of everything that happened.
    digest: u64,
}

fn tell(seed: u64) -> Outcome {
    virtually(move || async move {
        let flags = [
            "--joining-timeout=6m",
            "--failed-vpsienode-ttl=10m",
            "--unhealthy-timeout=5m",
        ];
        let harness = Harness::with(seed, WorldConfig::default(), &flags).await;
        let mut chaos = Chaos::begin(&harness, seed).await;
        chaos.rage(Duration::from_mins(WILD)).await;
        let calm = chaos.calm_down().await;
        harness.minutes(12).await;
        chaos.release().await;
        harness.minutes(CALM - 12).await;
        for _ in CALM..LONG_CALM {
            if nothing_is_under_way(&harness.world.view()) {
                break;
            }
            harness.minutes(1).await;
        }
        chaos.end().await;
        let mut history = harness.history();
        history.calm = Some(calm);
        history.limits.failed_ttl = Duration::from_mins(10);
        history.limits.creates_per_hour = Some(150);
        let violations = harness.judge(&history);
        let text = if violations.is_empty() {
            String::new()
        } else {
            report(&history, &violations)
        };
        Outcome {
            seed,
            report: text,
            violations,
            reached: reached(&history),
            digest: if seed.is_multiple_of(100) {
                digest(&history)
            } else {
                0
            },
        }
    })
}

/// No machine comes or goes, and no pod waits for one.
fn nothing_is_under_way(view: &View) -> bool {
    let rests = |node: &VPSieNodeRow| node.phase == "Ready" && !node.deleting;
    let cordoned = |node: &NodeRow| node.unschedulable || !node.ready;
    view.vpsie_nodes.values().all(rests)
        && !view.nodes.values().any(cordoned)
        && view
            .pods
            .values()
            .all(|pod| pod.ready || !pod.unschedulable)
}

/// How often the product did what is judged here, so that nobody believes an empty story.
fn reached(history: &History) -> BTreeMap<&'static str, u64> {
    let mut reached: BTreeMap<&'static str, u64> = BTreeMap::new();
    for event in &history.events {
        let ours = history.ours.contains(&event.actor);
        let what = match &event.kind {
            Kind::Commit(commit) if ours => {
                let Some(asked) = &commit.asked else {
                    continue;
                };
                match (
                    asked.verb,
                    commit.resource.as_str(),
                    asked.subresource.as_str(),
                ) {
                    (_, "pods", "eviction") => "evictions",
                    ("delete", "nodes", _) => "nodes deleted",
                    ("delete", "vpsienodes", _) => "removals decided",
                    ("create", "vpsienodes", _) => "records made",
                    _ => continue,
                }
            }
            Kind::Machine(machine) => match machine.fate {
                Fate::Bought => "machines bought",
                Fate::Deleted(_) => "machines deleted",
                Fate::Runs | Fate::Gone => continue,
            },
            Kind::Note(history::Note::Disturbance(_)) => "disturbances",
            Kind::Note(history::Note::Started) => "replicas started",
            _ => continue,
        };
        *reached.entry(what).or_default() += 1;
    }
    reached.insert("events", history.events.len() as u64);
    reached
}

fn digest(history: &History) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    let mut add = |bytes: &[u8]| {
        for byte in bytes {
            hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    };
    for event in &history.events {
        add(&event.seq.to_le_bytes());
        add(&event.at.as_nanosecond().to_le_bytes());
        add(event.actor.as_bytes());
        match &event.kind {
            Kind::Commit(commit) => add(commit.after.as_deref().unwrap_or_default()),
            other => add(format!("{other:?}").as_bytes()),
        }
    }
    hash
}

/// Tells these seeds side by side, some of them twice; panics with what was broken.
fn tell_all(seeds: &[u64]) {
    let next = AtomicU64::new(0);
    let outcomes: Mutex<Vec<Outcome>> = Mutex::default();
    let work = || {
        while let Some(seed) = seeds.get(next.fetch_add(1, Ordering::SeqCst) as usize) {
            let outcome = tell(*seed);
            if seed.is_multiple_of(100) {
                let again = tell(*seed);
                assert_eq!(
                    outcome.digest, again.digest,
                    "seed {seed} tells two stories"
                );
            }
            eprintln!("seed {seed}: {:?}\n{}", outcome.reached, outcome.report);
            outcomes.lock().unwrap().push(outcome);
        }
    };
    let threads = std::thread::available_parallelism()
        .map_or(1, usize::from)
        .min(4);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(work);
        }
    });
    let outcomes = outcomes.into_inner().unwrap();
    assert_eq!(
        outcomes.len(),
        seeds.len(),
        "a story ended in a panic of its own"
    );
    let mut reached: BTreeMap<&'static str, u64> = BTreeMap::new();
    let mut broken: BTreeMap<&'static str, Vec<u64>> = BTreeMap::new();
    for outcome in &outcomes {
        for (what, count) in &outcome.reached {
            *reached.entry(what).or_default() += count;
        }
        for violation in &outcome.violations {
            let seeds = broken.entry(violation.rule).or_default();
            if !seeds.contains(&outcome.seed) {
                seeds.push(outcome.seed);
            }
        }
    }
    eprintln!("{} seeds: {reached:?}", outcomes.len());
    assert!(broken.is_empty(), "broken, and by which seeds: {broken:#?}");
}

/// The seeds that the environment asks for: one by `SEED`, or so many by `SEEDS` from `FROM` on.
fn wanted(count: u64) -> Vec<u64> {
    if let Some(seed) = asked_number("SEED") {
        return vec![seed];
    }
    let from = asked_number("FROM").unwrap_or_default();
    (from..from + asked_number("SEEDS").unwrap_or(count)).collect()
}

/// Seeds that once broke a rule, and what was wrong then.
const KEPT: &[(u64, &str)] = &[
    (
        3,
        "a failed record that waits for a person, who had been told, was held against L2",
    ),
    (119, "a failed record waited for a person and told nobody"),
    (
        132,
        "a record may name the machine that a person added in the same moment: S1 counted both",
    ),
    (
        169,
        "L3 did not forgive a machine that was on its way and did not come",
    ),
    (
        211,
        "a maximum lowered in the middle of a growth did not stop what was asked for again",
    ),
    (
        218,
        "S1 counted a machine that people had been told is nobody's",
    ),
    (
        613,
        "under a slow API server pods were evicted on facts that were eleven seconds old",
    ),
    (
        618,
        "S17 counted a removal whose Node was gone, the answer to whose deletion was not",
    ),
    (
        622,
        "a record that had got its machine by a write whose answer was lost got another one",
    ),
    (
        738,
        "the audit counted nodes as ill that were going for good, and refused what was right",
    ),
    (
        1186,
        "a deletion that waited for a slow cloud took the machine of a Node that had registered since",
    ),
    (
        1234,
        "L7 heard a dead replica's request, which had been delayed, and missed the next one",
    ),
    (
        1294,
        "S9 took what replaced a pod of a lost node for what replaced an evicted one",
    ),
    (
        2282,
        "after an outage, while the watch of pods was not back, pods were evicted that were known to nobody",
    ),
    (
        2514,
        "S10 held a delayed request of the leader before against the one that had begun a moment ago",
    ),
];

#[test]
fn whatever_happens_no_rule_is_broken_and_all_comes_right_in_the_end() {
    tell_all(&wanted(2));
}

#[test]
#[ignore = "tells fifteen stories: a minute where it is optimised, five where it is not"]
fn seeds_that_once_broke_a_rule_break_none() {
    let seeds: Vec<u64> = KEPT.iter().map(|(seed, _)| *seed).collect();
    tell_all(&seeds);
}

/// The same for many seeds; `SEEDS` says how many.
#[test]
#[ignore = "tells 2,000 stories: hours on two cores"]
fn whatever_happens_no_rule_is_broken_and_all_comes_right_in_the_end_for_2000_seeds() {
    tell_all(&wanted(2000));
}
