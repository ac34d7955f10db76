use std::{collections::BTreeSet, sync::Arc, time::Duration};

use jiff::Timestamp;
use model::{
    ClusterSnapshot, GroupKey, HourlyPrice, Labels, Node, NodeName, NodeShape, Offering, Operator,
    Pod, PodKey, PodRole, PodState, Requirement, Resources, SchedulingClass, Taint, TaintEffect,
    Uid, UnevaluatedRule,
};
use planner::{
    audit,
    reason::{GroupRefusal, PodReason},
    scale_up::{Cause, Choice, Group, InFlight, Input, Limits, Placement, plan},
};
use proptest::prelude::*;
use rust_decimal::Decimal;

const NOW: Timestamp = Timestamp::UNIX_EPOCH;

fn offering(id: &str, cpus: u32, gib: u64, cents: i64) -> Choice {
    Choice {
        offering: Offering {
            id: id.into(),
            size: id.into(),
            cpus,
            memory_mib: gib * 1024,
            disk_gib: 80,
            price: Some(HourlyPrice::new(Decimal::new(cents, 2))),
        },
        learned: Some(Resources {
            cpu_milli: i64::from(cpus) * 1000,
            memory: i64::try_from(gib << 30).unwrap(),
            ephemeral: 80 << 30,
            pods: 110,
            ..Resources::default()
        }),
        backoff: None,
    }
}

fn group(name: &str, choices: Vec<Choice>) -> Group {
    Group {
        key: GroupKey::new("kube-system", name),
        min_nodes: 0,
        max_nodes: 100,
        existing: 0,
        serving: 0,
        in_flight: vec![],
        choices,
        preferred: None,
        labels: Labels::from([("group".into(), name.into())]),
        taints: vec![],
        startup_taints: vec![],
        datacenter: "hel".into(),
        enabled: true,
        deleting: false,
        invalid: None,
    }
}

fn class(cpu_milli: i64, mib: i64) -> SchedulingClass {
    SchedulingClass {
        namespace: "default".into(),
        requests: Resources {
            cpu_milli,
            memory: mib << 20,
            pods: 1,
            ..Resources::default()
        },
        ..SchedulingClass::default()
    }
}

fn on_group(mut class: SchedulingClass, name: &str) -> SchedulingClass {
    class.node_selector = vec![Requirement {
        key: "group".into(),
        operator: Operator::In,
        values: vec![name.into()],
    }];
    class
}

fn pods(prefix: &str, count: usize, class: &SchedulingClass) -> Vec<Arc<Pod>> {
    let class = Arc::new(class.clone());
    (0..count)
        .map(|index| {
            Arc::new(Pod {
                key: PodKey::new("default", format!("{prefix}-{index:03}")),
                uid: Uid::new(format!("{prefix}-{index}")),
                class: Arc::clone(&class),
                state: PodState::Unschedulable(NOW),
                role: PodRole::Ordinary,
                terminating: false,
                nominated: None,
                created_at: None,
            })
        })
        .collect()
}

fn input(groups: Vec<Group>, waiting: Vec<Arc<Pod>>) -> Input {
    Input {
        now: NOW,
        snapshot: ClusterSnapshot::new([], [], waiting),
        leaving: BTreeSet::new(),
        groups,
        daemon_sets: vec![],
        limits: Limits::default(),
    }
}

fn machines(input: &Input) -> u32 {
    let (plan, _) = plan(input);
    assert_eq!(audit::scale_up(input, &plan), []);
    plan.machines()
}

#[test]
fn one_pending_pod_that_matches_five_groups_buys_one_machine() {
    let groups = (0..5)
        .map(|i| group(&format!("g{i}"), vec![offering("small", 2, 4, 10 - i)]))
        .collect();
    let input = input(groups, pods("p", 1, &class(500, 512)));
    let (plan, report) = plan(&input);
    assert_eq!(plan.machines(), 1);
    assert_eq!(
        plan.create[0].group,
        GroupKey::new("kube-system", "g4"),
        "the cheapest"
    );
    assert!(matches!(
        report.pods.values().next(),
        Some(Placement::New(..))
    ));
}

#[test]
fn two_hundred_pods_over_two_groups_are_one_decision_within_the_volume_bound_plus_one() {
    let groups = vec![
        group("a", vec![offering("small", 2, 4, 10)]),
        group("b", vec![offering("large", 8, 16, 38)]),
    ];
    let mut waiting = pods("x", 120, &on_group(class(500, 512), "a"));
    waiting.extend(pods("y", 80, &on_group(class(1000, 1024), "b")));
    let input = input(groups, waiting);
    let (plan, report) = plan(&input);
    assert_eq!(audit::scale_up(&input, &plan), []);
    let count = |name: &str| {
        let key = GroupKey::new("kube-system", name);
        plan.create
            .iter()
            .filter(|c| c.group == key)
            .map(|c| c.count)
            .sum::<u32>()
    };
    assert_eq!((count("a"), count("b")), (30, 10));
    assert!(report.volume_bound <= plan.machines());
    assert_eq!(report.pods.len(), 200);
}

#[test]
fn the_cheapest_mix_wins_not_the_first_offering() {
    let mixed = vec![offering("large", 8, 16, 50), offering("small", 2, 4, 10)];
    assert_eq!(
        machines(&input(
            vec![group("g", mixed)],
            pods("p", 4, &class(2000, 1024))
        )),
        4,
        "four small at 0.40 beat one large at 0.50"
    );
}

#[test]
fn room_that_is_there_and_machines_on_their_way_are_used_first() {
    let mut g = group("g", vec![offering("small", 2, 4, 10)]);
    g.existing = 2;
    g.serving = 2;
    g.in_flight = vec![InFlight {
        machine: "g-1".into(),
        offering: "small".into(),
        node: None,
    }];
    let mut input = input(vec![g], pods("p", 8, &class(500, 256)));
    input.snapshot.add_node(Node {
        name: NodeName::new("n1"),
        uid: None,
        shape: Arc::new(NodeShape {
            allocatable: Resources {
                cpu_milli: 1000,
                memory: 4 << 30,
                pods: 110,
                ..Resources::default()
            },
            ..NodeShape::default()
        }),
        ready: true,
        created_at: None,
        defect: None,
    });
    // 2 fit n1, 4 the machine on its way, 2 are left for one new machine.
    let (plan, report) = plan(&input);
    assert_eq!(plan.machines(), 1);
    let on = |wanted: fn(&Placement) -> bool| report.pods.values().filter(|p| wanted(p)).count();
    assert_eq!(on(|p| matches!(p, Placement::Existing(_))), 2);
    assert_eq!(on(|p| matches!(p, Placement::InFlight(_))), 4);
    // The room of a node that is leaving does not count.
    input.leaving.insert(NodeName::new("n1"));
    assert_eq!(machines(&input), 1);
    let (_, report) = planner::scale_up::plan(&input);
    assert!(
        !report
            .pods
            .values()
            .any(|p| matches!(p, Placement::Existing(_)))
    );
}

#[test]
fn bounds_hold_and_say_why() {
    let mut g = group("g", vec![offering("small", 2, 4, 10)]);
    g.max_nodes = 3;
    g.existing = 1;
    let mut input = input(vec![g], pods("p", 40, &class(500, 256)));
    let (plan, report) = plan(&input);
    assert_eq!(plan.machines(), 2);
    assert!(report.pods.values().any(|placement| matches!(
        placement,
        Placement::Left(PodReason::NoNodeGroupFits { groups })
            if matches!(groups[0].refusal, GroupRefusal::MaxNodesReached { max_nodes: 3 })
    )));
    input.limits.max_workers = Some(2);
    assert_eq!(machines(&input), 1);
}

#[test]
fn the_minimum_is_reached_without_pods_and_its_machines_are_used() {
    let mut g = group(
        "g",
        vec![offering("large", 8, 16, 38), offering("small", 2, 4, 10)],
    );
    g.min_nodes = 2;
    g.enabled = false;
    let (minimum, _) = plan(&input(vec![g.clone()], vec![]));
    assert_eq!(
        (minimum.machines(), minimum.create[0].cause),
        (2, Cause::MinNodes)
    );
    assert_eq!(minimum.create[0].offering, "small".into());
    g.enabled = true;
    assert_eq!(machines(&input(vec![g], pods("p", 8, &class(500, 256)))), 2);
}

#[test]
fn an_offering_in_back_off_gives_way_to_the_next_in_the_same_plan() {
    let mut cheap = offering("small", 2, 4, 10);
    cheap.backoff = Some((
        NOW.saturating_add(Duration::from_secs(60)).unwrap(),
        "OutOfStock".into(),
    ));
    let dear = offering("large", 8, 16, 90);
    let (plan, _) = plan(&input(
        vec![group("g", vec![cheap, dear])],
        pods("p", 1, &class(500, 256)),
    ));
    assert_eq!(plan.create[0].offering, "large".into());
}

#[test]
fn a_pod_that_uses_a_rule_not_evaluated_yet_is_left_alone() {
    let mut affine = class(500, 256);
    affine
        .unevaluated
        .insert(UnevaluatedRule::PodTopologySpread);
    let (plan, report) = plan(&input(
        vec![group("g", vec![offering("small", 2, 4, 10)])],
        pods("p", 3, &affine),
    ));
    assert_eq!(plan.machines(), 0);
    assert!(report.pods.values().all(|placement| matches!(
        placement,
        Placement::Left(PodReason::RuleNotEvaluated {
            rule: UnevaluatedRule::PodTopologySpread
        })
    )));
}

#[test]
fn taints_of_the_group_keep_pods_away_that_do_not_tolerate_them() {
    let mut g = group("g", vec![offering("small", 2, 4, 10)]);
    g.taints = vec![Taint {
        key: "dedicated".into(),
        value: "web".into(),
        effect: TaintEffect::NoSchedule,
    }];
    let (plan, report) = plan(&input(vec![g], pods("p", 1, &class(500, 256))));
    assert_eq!(plan.machines(), 0);
    let text = match report.pods.values().next().unwrap() {
        Placement::Left(reason) => reason.to_string(),
        other => panic!("{other:?}"),
    };
    assert_eq!(
        text,
        "kube-system/g (small): taint dedicated=web:NoSchedule is not tolerated"
    );
}

#[test]
fn daemon_set_pods_take_their_share_of_every_new_machine() {
    let mut input = input(
        vec![group("g", vec![offering("small", 2, 4, 10)])],
        pods("p", 4, &class(500, 256)),
    );
    assert_eq!(machines(&input), 1);
    input.daemon_sets = vec![Arc::new(class(100, 64))];
    assert_eq!(machines(&input), 2);
}

#[test]
fn a_group_that_cannot_be_bought_for_says_why_and_the_others_go_on() {
    let mut broken = group("a", vec![]);
    broken.invalid = Some("spec.minNodes (3) is above spec.maxNodes (1)".into());
    let groups = vec![
        broken.clone(),
        group("b", vec![offering("small", 2, 4, 10)]),
    ];
    assert_eq!(machines(&input(groups, pods("p", 1, &class(500, 256)))), 1);
    let (_, report) = plan(&input(vec![broken], pods("p", 1, &class(500, 256))));
    let Placement::Left(reason) = report.pods.values().next().unwrap() else {
        panic!("placed")
    };
    assert!(reason.to_string().contains("spec.minNodes (3)"));
}

#[test]
fn the_checker_sees_a_plan_that_breaks_a_bound() {
    let mut g = group("g", vec![offering("small", 2, 4, 10)]);
    g.max_nodes = 1;
    let input = input(vec![g], pods("p", 1, &class(500, 256)));
    let (mut plan, _) = plan(&input);
    plan.create[0].count = 2;
    let violations = audit::scale_up(&input, &plan);
    assert!(
        violations
            .iter()
            .any(|v| matches!(v, audit::Violation::AboveMaximum { .. }))
    );
    assert!(
        violations
            .iter()
            .any(|v| matches!(v, audit::Violation::CountMismatch(_)))
    );
}

prop_compose! {
    fn any_group(index: usize)(
        max in 0..6_u32, existing in 0..4_u32, min in 0..4_u32,
        choices in prop::collection::vec((1..9_u32, 1..17_u64, 1..60_i64), 0..3),
        enabled in prop::bool::weighted(0.9),
    ) -> Group {
        let mut g = group(&format!("g{index}"), choices.into_iter().enumerate()
            .map(|(i, (cpus, gib, cents))| offering(&format!("o{i}"), cpus, gib, cents)).collect());
        g.max_nodes = max;
        g.existing = existing;
        g.serving = existing;
        g.min_nodes = min.min(max);
        g.enabled = enabled;
        g
    }
}

proptest! {
    #[test]
    fn every_plan_passes_the_independent_checker_and_is_repeatable(
        a in any_group(0), b in any_group(1),
        asks in prop::collection::vec((1..40_usize, 1..5000_i64, 1..9000_i64), 0..4),
        max_workers in prop::option::of(0..10_u32),
    ) {
        let mut waiting = vec![];
        for (index, (count, cpu, mib)) in asks.iter().enumerate() {
            waiting.extend(pods(&format!("p{index}"), *count, &class(*cpu, *mib)));
        }
        let mut input = input(vec![a, b], waiting);
        input.limits.max_workers = max_workers;
        let (plan, report) = plan(&input);
        let violations = audit::scale_up(&input, &plan);
        // A cluster that is above its limit already only must not grow.
        prop_assert!(violations.is_empty(), "{:?}", violations);
        prop_assert_eq!(planner::scale_up::plan(&input), (plan, report));
    }
}
