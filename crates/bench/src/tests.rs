//! The workloads in small: that they are what they say, and that what is measured holds.

use std::collections::BTreeSet;

use planner::scale_up::{Host, Placement};
use serde_json::Value;

use crate::{
    Settings, backlogs, engine,
    first_fit::first_fit_decreasing,
    fixture::Fixture,
    fixtures::{self, Sizes},
    outcome::{Checked, Timed, check, run},
    removals,
};

const ONCE: Settings = Settings {
    repeats: 1,
    no_check: false,
};

fn line(fixture: &Fixture, what: Timed) -> Value {
    let input = fixture.input().unwrap();
    serde_json::to_value(run(&fixture.name, &input, what, ONCE)).unwrap()
}

#[test]
fn every_fixture_is_read_without_a_problem() {
    let sizes = Sizes {
        nodes: 3,
        running: 30,
        pods: 5,
        groups: 2,
        workloads: 4,
    };
    for (fixture, nodes, bound, waiting) in [
        (fixtures::diverse(23), 0, 0, 23),
        (fixtures::preferring(7), 0, 0, 7),
        (fixtures::two_shapes(2), 0, 0, 102),
        (fixtures::lone(2), 0, 0, 100),
        (fixtures::evenly_idle(3), 3, 120, 0),
        (fixtures::hopeless(3, 9), 3, 3, 9),
        (fixtures::mixed_backlog(3, 45), 3, 3, 45),
        (fixtures::last_fits(4), 4, 3, 1),
        (fixtures::forked(3), 4, 9, 30),
        (fixtures::cluster(sizes), 3, 30, 5),
    ] {
        let dump = fixture.values().unwrap();
        let counts = (dump.nodes.len(), dump.bound.len(), dump.waiting.len());
        assert_eq!(counts, (nodes, bound, waiting), "{}", fixture.name);
        assert!(dump.ignored.is_empty(), "{}", fixture.name);
        let input = fixture.input().unwrap();
        for group in &input.groups {
            assert_eq!(group.invalid, None, "{}", fixture.name);
            assert!(!group.choices.is_empty(), "{}", fixture.name);
        }
    }
    let mixed = fixtures::mixed(12).values().unwrap();
    assert!(mixed.bound.len() > 12 * 5);
}

#[test]
fn the_diverse_pods_are_the_peers() {
    let input = fixtures::diverse(1000).input().unwrap();
    assert_eq!(input.groups.len(), 3);
    let choices = &input.groups[0].choices;
    assert_eq!(choices.len(), 400);
    let third = &choices[2];
    let price = third.offering.price.unwrap();
    // 3 CPUs and 6 GiB.
    assert_eq!(price.to_string(), "0.9442450944");
    let room = &third.learned.as_ref().unwrap().allocatable;
    assert_eq!(
        (room.cpu_milli, room.memory, room.pods),
        (2900, (6 << 30) - (10 << 20), 30)
    );
    let waiting = &input.cluster.waiting;
    let count = |wanted: fn(&model::SchedulingClass) -> bool| {
        waiting.iter().filter(|pod| wanted(&pod.class)).count()
    };
    assert_eq!(count(|class| class.spread.len() == 1), 400);
    assert_eq!(count(|class| class.affinity.len() == 1), 200);
    assert_eq!(count(|class| class.anti_affinity.len() == 1), 200);
    let asks: BTreeSet<(i64, i64)> = waiting
        .iter()
        .map(|pod| {
            (
                pod.class.requests.cpu_milli,
                pod.class.requests.memory >> 20,
            )
        })
        .collect();
    assert_eq!(asks.len(), 30);
    // With seed 42 the first draws are 5, 87 and 68 of a hundred.
    let first = waiting.iter().find(|pod| &*pod.key.name == "generic-00000");
    let first = &first.unwrap().class;
    assert_eq!(
        first.labels.get("my-label").map(|value| &**value),
        Some("f")
    );
}

#[test]
fn two_shapes_need_no_more_machines_than_the_peer_takes() {
    // Two large and eighteen small ones would fit a machine, or twenty small ones.
    let line = line(&fixtures::two_shapes(40), Timed::Plan);
    assert_eq!(line["left"], 0, "{line}");
    // As the peer packs: ten large ones with a small one, then twenty small ones.
    let most: u64 = 4 + (2000 - 4_u64).div_ceil(20);
    assert!(line["machines"].as_u64().unwrap() <= most, "{line}");
    assert_eq!(line["checker"], "ok");
}

#[test]
fn lone_pods_fill_their_machines_exactly() {
    let line = line(&fixtures::lone(20), Timed::Decision);
    assert_eq!(line["left"], 0, "{line}");
    assert_eq!(line["machines"], 20);
    assert_eq!(line["hourlyPrice"], "20");
    assert_eq!(line["gap"], 0.0);
    assert_eq!(line["utilisation"]["cpuMean"], 1.0);
    assert_eq!(line["checker"], "ok");
}

#[test]
fn pods_that_wait_are_put_where_there_is_room_and_nowhere_else() {
    let hopeless = line(&fixtures::hopeless(3, 50), Timed::Placing);
    assert_eq!(
        (&hopeless["left"], &hopeless["onExisting"]),
        (&50.into(), &0.into())
    );
    let fixture = fixtures::mixed_backlog(3, 100);
    let mixed = line(&fixture, Timed::Placing);
    let placed = mixed["onExisting"].as_u64().unwrap();
    assert!(placed > 0, "{mixed}");
    assert!(
        placed <= 100 && mixed["firstFitOnExisting"].as_u64() > Some(0),
        "{mixed}"
    );
    assert_eq!(mixed["machines"], 0);
    assert_eq!(mixed["checker"], "ok");
}

#[test]
fn evenly_idle_nodes_go_until_the_others_are_full() {
    let fixture = fixtures::evenly_idle(20);
    let line = removals::run(&fixture, removals::Timed::Choose, ONCE).unwrap();
    assert_eq!((line.removed, line.moved), (12, 480));
    assert_eq!(line.checker, Checked::Word("ok"));
}

#[test]
fn nodes_of_all_degrees_are_judged_and_go_together() {
    let fixture = fixtures::mixed(40);
    let line = removals::run(&fixture, removals::Timed::Scan, ONCE).unwrap();
    assert!(line.removable.unwrap() >= line.removed);
    assert!(line.removed > 3, "{line:?}");
    assert_eq!(line.checker, Checked::Word("ok"));
}

#[test]
fn only_the_last_node_takes_the_lonely_pod() {
    let found = engine::first_fit(&fixtures::last_fits(9), 1).unwrap();
    assert_eq!(found.on, Some("node-000008".into()));
}

#[test]
fn a_reverted_fork_leaves_the_snapshot_as_it_was() {
    let forked = engine::fork_revert(&fixtures::forked(6), 1).unwrap();
    assert!(forked.digest_equal);
    let pods: Vec<usize> = forked.added.iter().map(|added| added.pods).collect();
    assert_eq!(pods, [0, 1, 30]);
}

#[test]
fn a_plan_that_breaks_a_rule_or_tells_two_stories_is_found_out() {
    let input = fixtures::lone(2).input().unwrap();
    let (plan, report) = planner::scale_up::plan(&input);
    assert!(check(&input, &plan, &report).passes());
    let mut overfull = report.clone();
    for (_, host) in &mut overfull.steps.placements {
        *host = Host::Coming(0);
    }
    let Checked::Broken(rules) = check(&input, &plan, &overfull) else {
        panic!("all pods on one machine");
    };
    assert!(rules[0].contains("NodeResourcesFit"), "{rules:?}");
    let mut forgetful = report;
    forgetful.steps.placements.pop();
    assert!(!check(&input, &plan, &forgetful).passes());
}

#[test]
fn preferences_are_scored_by_where_pods_are() {
    // Alone in its zone, on its node, and in the first zone: all that it prefers.
    let alone = line(&fixtures::preferring(1), Timed::BothPreferences);
    assert_eq!(alone["left"], 0, "{alone}");
    let score = alone["preferenceScore"].as_f64().unwrap();
    assert!(score >= 11.0 / 12.0 - 1e-3, "{alone}");
    // Two of three zones' worth of company at least: the weight of 10 cannot be met by all.
    let many = line(&fixtures::preferring(40), Timed::BothPreferences);
    assert!(many["preferenceScore"].as_f64().unwrap() < 0.9, "{many}");
    assert_eq!(many["checker"], "ok");
}

#[test]
fn first_fit_opens_the_cheapest_machine_that_takes_the_pod() {
    let (outcome, again) = first_fit_decreasing(&fixtures::lone(3).input().unwrap());
    assert_eq!((outcome.machines, outcome.left), (3, 0));
    assert!(outcome.is_valid);
    assert_eq!(again.as_ref(), Some(&outcome));
    assert_eq!(outcome.price.to_string(), "3");
    // One pod alone gets the smallest instance type that takes it.
    let input = fixtures::diverse(1).input().unwrap();
    let ask = &input.cluster.waiting[0].class.requests;
    let (outcome, _) = first_fit_decreasing(&input);
    assert_eq!(outcome.machines, 1);
    let fits =
        |room: &model::Resources| room.cpu_milli >= ask.cpu_milli && room.memory >= ask.memory;
    let mut choices = input.groups[0].choices.iter();
    let smallest = choices.find(|choice| fits(&choice.learned.as_ref().unwrap().allocatable));
    assert_eq!(Some(outcome.price), smallest.unwrap().offering.price);
}

#[test]
fn backlogs_without_rules_cost_no_more_than_first_fit_takes() {
    let summary = backlogs::run(1, 10, true, false).unwrap();
    assert!(summary.pods > 100);
    assert_eq!(summary.above_first_fit, [] as [u64; 0]);
    assert_eq!(summary.checker, Checked::Word("ok"));
}

#[test]
fn backlogs_with_rules_cost_no_more_than_first_fit_takes_once_it_stands() {
    // First fit, done once, leaves pods that are spread over nodes together on few of them.
    for seed in [121, 137, 171] {
        let input = fixtures::backlog(seed, false).input().unwrap();
        let (at_once, again) = first_fit_decreasing(&input);
        assert!(!at_once.is_valid && again.unwrap().is_valid);
        let summary = backlogs::run(seed, 1, false, false).unwrap();
        assert_eq!(summary.above_first_fit, [] as [u64; 0]);
        assert_eq!(summary.left, summary.first_fit_left);
        assert_eq!(summary.checker, Checked::Word("ok"));
    }
}

#[test]
fn an_exported_fixture_reads_as_the_one_that_was_built() {
    let directory = tempfile::tempdir().unwrap();
    let built = fixtures::diverse(40);
    built.write(directory.path()).unwrap();
    let path = |suffix: &str| directory.path().join(format!("W1-40{suffix}"));
    let read = Fixture::read(&path(".json"), Some(&path(".offerings.json"))).unwrap();
    let (built, read) = (built.input().unwrap(), read.input().unwrap());
    assert_eq!(built.cluster, read.cluster);
    assert_eq!(built.groups, read.groups);
    let (_, report) = planner::scale_up::plan(&read);
    assert!(
        !report
            .pods
            .values()
            .any(|to| matches!(to, Placement::Existing(_)))
    );
}

#[test]
fn a_fixture_with_anything_wrong_in_it_measures_nothing() {
    let mut fixture = fixtures::hopeless(1, 2);
    let text = String::from_utf8(fixture.dump.clone()).unwrap();
    fixture.dump = text.replacen("2000000", "plenty", 1).into_bytes();
    let error = format!("{:#}", fixture.input().unwrap_err());
    assert!(error.contains("1 problems"), "{error}");
}
