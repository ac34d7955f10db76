//! Forged plans: each breaks one rule, and the audit names it.

use planner::{
    audit::RemovalViolation,
    removal::plan::{Chosen, Many},
};

use super::*;

fn case() -> Case {
    Case::of(&["n1", "n2"])
        .foreign("host")
        .runs("p", "n1", 100)
        .runs("q", "n2", 100)
}

fn chosen(case: &Case, node: &str) -> Chosen {
    let pods = case.cluster.bound.iter();
    let pods = pods.filter(|pod| pod.node() == Some(&node.into()));
    let moves: Vec<_> = pods
        .filter(|pod| pod.role == PodRole::Ordinary && pod.terminating.is_none())
        .map(|pod| (pod.key.clone(), NodeName::from("host")))
        .collect();
    Chosen {
        machine: format!("kube-system/{node}"),
        node: node.into(),
        group: key("g"),
        cause: RemovalCause::Underutilized,
        moves,
        savings: None,
    }
}

fn forged(nodes: &[&str], case: &Case) -> Plan {
    Plan {
        remove: nodes.iter().map(|node| chosen(case, node)).collect(),
        ..Plan::default()
    }
}

fn rules(case: &Case, plan: &Plan) -> Vec<&'static str> {
    let Err(violations) = removals(&case.input(), plan) else {
        return vec![];
    };
    for violation in &violations {
        assert!(violation.to_string().starts_with(violation.rule));
    }
    let mut rules: Vec<&str> = violations.iter().map(|one| one.rule).collect();
    rules.dedup();
    rules
}

#[test]
fn a_plan_that_breaks_nothing_passes() {
    let case = case();
    assert_eq!(rules(&case, &forged(&["n1"], &case)), [""; 0]);
    assert_eq!(rules(&case, &Plan::default()), [""; 0]);
}

type Spoil = fn(&mut Case);
type Forge = fn(&mut Plan);

#[test]
fn every_rule_that_a_plan_of_removals_breaks_is_named() {
    let nothing: Forge = |_| {};
    let same: Spoil = |_| {};
    let cases: Vec<(&str, Spoil, Forge)> = vec![
        (
            "S2",
            |case| {
                case.brakes.stopped.insert(key("g"), "n9".into());
            },
            nothing,
        ),
        ("S4", |case| case.group().min_nodes = 2, nothing),
        (
            "S4",
            |case| {
                case.group().min_nodes = 1;
                case.node("n2").ready = false;
            },
            nothing,
        ),
        ("S5", same, |plan| {
            plan.remove[0].machine = "kube-system/n2".into();
        }),
        ("S5", same, |plan| plan.remove[0].group = key("h")),
        ("S5", same, |plan| plan.remove[0].node = "n9".into()),
        ("S5", same, |plan| plan.remove[0].machine = "host".into()),
        ("S5", |case| case.brakes.targeted_delete = false, nothing),
        (
            "S5",
            |case| case.on("n1").removal = Some((RemovalCause::Failed, RemovalStep::Draining)),
            nothing,
        ),
        ("S5", |case| case.node("n1").ready = false, nothing),
        ("S6", same, |plan| {
            plan.remove[0].cause = RemovalCause::Empty;
        }),
        ("S6", same, |plan| {
            plan.remove[0].cause = RemovalCause::Deleted;
        }),
        (
            "S7",
            |case| {
                case.budget("web", 0);
            },
            nothing,
        ),
        (
            "S7",
            |case| {
                case.budget("web", 9);
                case.budget("web", 9);
            },
            nothing,
        ),
        ("S7", |case| case.disruption.budgets = None, nothing),
        (
            "S8",
            |case| case.on("n1").protected_by = Some("l".into()),
            nothing,
        ),
        (
            "S8",
            |case| wish(first(case), "karpenter.sh/do-not-disrupt", "true"),
            nothing,
        ),
        (
            "S8",
            |case| wish(first(case), "autoscaler.vpsie.com/do-not-disrupt", "1h"),
            nothing,
        ),
        (
            "S8",
            |case| wish(first(case), "autoscaler.vpsie.com/safe-to-evict", "False "),
            nothing,
        ),
        (
            "S8",
            |case| wish(first(case), "autoscaler.vpsie.com/protected", "what"),
            nothing,
        ),
        ("S8", |case| upkeep(first(case)).controller = None, nothing),
        (
            "S8",
            |case| {
                case.disruption
                    .workloads
                    .get_mut(&WorkloadKind::ReplicaSet)
                    .unwrap()
                    .replicas
                    .clear();
            },
            nothing,
        ),
        (
            "S8",
            |case| upkeep(first(case)).local_volumes = vec!["data".into()],
            nothing,
        ),
        (
            "S8",
            |case| class(first(case)).namespace = "kube-system".into(),
            nothing,
        ),
        ("S9", same, |plan| plan.remove[0].moves.clear()),
        ("S9", same, |plan| {
            let again = plan.remove[0].moves[0].clone();
            plan.remove[0].moves.push(again);
        }),
        ("S9", same, |plan| plan.remove[0].moves[0].1 = "n1".into()),
        ("S9", same, |plan| plan.remove[0].moves[0].1 = "n9".into()),
        (
            "S9",
            |case| Arc::make_mut(&mut case.node("host").shape).unschedulable = true,
            nothing,
        ),
        (
            "S9",
            |case| {
                case.leaving.insert("host".into());
                case.settings.at_once = 9;
            },
            nothing,
        ),
        (
            "S9",
            |case| {
                case.run("r", "host", 950);
                case.settings.buffer_percent = 0;
            },
            nothing,
        ),
        (
            "S6",
            |case| case.brakes.stale = Some("pods".into()),
            nothing,
        ),
        (
            "S10",
            |case| case.brakes.warming_up_until = Some(at(1001)),
            nothing,
        ),
        ("S12", |case| case.on("n1").cordon = Cordon::Human, nothing),
        ("S16", |case| case.on("n1").managed = false, nothing),
        ("S16", |case| case.groups.clear(), nothing),
        ("S16", |case| case.on("n1").control_plane = true, nothing),
        ("S17", |case| case.settings.at_once = 0, nothing),
        ("S17", |case| case.on("n2").removal = DRAINING, nothing),
        ("S17", |case| case.group().at_once = 0, nothing),
        ("S17", same, |plan| {
            plan.many = Some(Many {
                removable: 9,
                nodes: 9,
                since: at(1000),
            });
        }),
        ("S18", |case| case.group().in_flight = 1, nothing),
        (
            "S18",
            |case| case.group().last_scaled_at = Some(at(401)),
            nothing,
        ),
        ("S20", ill, nothing),
        (
            "S20",
            |case| {
                ill(case);
                for index in 0..2 {
                    case.on(&format!("i{index}")).group = Some(key("g"));
                }
                for index in 2..5 {
                    case.node(&format!("i{index}")).ready = true;
                }
            },
            nothing,
        ),
        ("E1", |case| case.on("n1").unneeded_since = None, nothing),
        (
            "E1",
            |case| case.on("n1").unneeded_since = Some(at(401)),
            nothing,
        ),
        ("E2", |case| case.group().enabled = false, nothing),
        ("E2", |case| case.group().paused = true, nothing),
        ("E2", |case| case.group().deleting = true, nothing),
        (
            "E2",
            |case| case.brakes.paused = Some("a note".into()),
            nothing,
        ),
        ("E2", |case| case.on("n1").own = true, nothing),
        ("E8", |case| case.on("n1").ready_at = Some(at(401)), nothing),
        (
            "E8",
            |case| case.on("n1").startup_taints = vec!["agent".into()],
            nothing,
        ),
        (
            "E8",
            |case| {
                case.run("r", "host", 890);
                Arc::make_mut(&mut case.node("n2").shape).unschedulable = true;
            },
            nothing,
        ),
    ];
    for (index, (rule, spoil, forge)) in cases.into_iter().enumerate() {
        let case = case().with(spoil);
        let mut plan = forged(&["n1"], &case);
        forge(&mut plan);
        let found = rules(&case, &plan);
        assert!(found.contains(&rule), "{index}: {rule}: {found:?}");
        // Some bring another with them.
        let beside = match rule {
            "S9" | "S8" | "S5" | "S17" => 2,
            _ => 1,
        };
        assert!(found.len() <= beside, "{index}: {rule}: {found:?}");
    }
}

fn first(case: &mut Case) -> &mut Pod {
    Arc::get_mut(&mut case.cluster.bound[0]).unwrap()
}

/// Five nodes that are not Ready beside three that are.
fn ill(case: &mut Case) {
    for index in 0..5 {
        let name = format!("i{index}");
        *case = case.clone().foreign(&name);
        case.node(&name).ready = false;
    }
}

#[test]
fn what_two_nodes_break_together_is_named() {
    let wide = || {
        case().with(|case| {
            case.settings.at_once = 9;
        })
    };
    let both = |case: &Case| rules(case, &forged(&["n1", "n2"], case));
    assert_eq!(both(&wide()), [""; 0]);
    assert_eq!(
        both(&wide().with(|case| case.settings.at_once = 1)),
        ["S17"]
    );
    assert_eq!(both(&wide().with(|case| case.group().at_once = 1)), ["S17"]);
    assert_eq!(
        both(&wide().with(|case| case.group().min_nodes = 1)),
        ["S4"]
    );
    let budget = |allowed| wide().with(|case| case.budget("web", allowed).allowed = allowed);
    assert_eq!(both(&budget(2)), [""; 0]);
    assert_eq!(both(&budget(1)), ["S7"]);
    // Two pods under one of one are waves, which one node alone may make.
    let waves = budget(1).runs("p2", "n1", 10);
    assert_eq!(rules(&waves, &forged(&["n1"], &waves)), [""; 0]);
    let beside = waves.with(|case| case.on("n2").removal = DRAINING);
    assert_eq!(rules(&beside, &forged(&["n1"], &beside)), ["S7"]);
    // Each fits alone, both do not.
    let tight = wide()
        .runs("r", "host", 850)
        .with(|case| case.settings.buffer_percent = 0);
    assert_eq!(both(&tight), ["S9"]);
    // No pod goes to a node that goes, too.
    let case = wide();
    let mut plan = forged(&["n1", "n2"], &case);
    plan.remove[0].moves[0].1 = "n2".into();
    assert_eq!(rules(&case, &plan), ["S9"]);
    let plan = forged(&["n1", "n1"], &case);
    assert_eq!(rules(&case, &plan)[0], "S5");
}

#[test]
fn a_violation_says_of_which_node_it_is() {
    let violation = RemovalViolation {
        rule: "S8",
        node: Some("n1".into()),
        detail: "it is protected".into(),
    };
    assert_eq!(violation.to_string(), "S8: node n1: it is protected");
}
