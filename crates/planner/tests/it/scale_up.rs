use std::{collections::BTreeSet, sync::Arc, time::Duration};

use jiff::Timestamp;
use model::{
    Cluster, GroupKey, HourlyPrice, Labels, Node, NodeName, NodeShape, Offering, Operator, Pod,
    PodKey, PodRole, PodState, Requirement, Resources, SchedulingClass, Taint, TaintEffect, Uid,
    UnevaluatedRule,
};
use planner::{
    audit,
    reason::{GroupRefusal, PodReason},
    scale_up::{Cause, Choice, Group, InFlight, Input, Learned, Limits, Placement},
};
use proptest::prelude::*;

use rust_decimal::Decimal;

use crate::plan;

const NOW: Timestamp = Timestamp::UNIX_EPOCH;

pub(crate) fn offering(id: &str, cpus: u32, gib: u64, cents: i64) -> Choice {
    Choice {
        offering: Offering {
            id: id.into(),
            size: id.into(),
            cpus,
            memory_mib: gib * 1024,
            disk_gib: 80,
            price: Some(HourlyPrice::new(Decimal::new(cents, 2))),
        },
        learned: Some(Learned {
            allocatable: Resources {
                cpu_milli: i64::from(cpus) * 1000,
                memory: i64::try_from(gib << 30).unwrap(),
                ephemeral: 80 << 30,
                pods: 110,
                ..Resources::default()
            },
            ..Learned::default()
        }),
        backoff: None,
    }
}

pub(crate) fn group(name: &str, choices: Vec<Choice>) -> Group {
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

pub(crate) fn class(cpu_milli: i64, mib: i64) -> SchedulingClass {
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

pub(crate) fn pods(prefix: &str, count: usize, class: &SchedulingClass) -> Vec<Arc<Pod>> {
    let class = Arc::new(class.clone());
    (0..count)
        .map(|index| {
            Arc::new(Pod {
                key: PodKey::new("default", format!("{prefix}-{index:03}")),
                uid: Uid::new(format!("{prefix}-{index}")),
                class: Arc::clone(&class),
                state: PodState::Unschedulable(NOW),
                role: PodRole::Ordinary,
                terminating: None,
                nominated: None,
                created_at: None,
                started_at: None,
                health: model::PodHealth::Ready,
                upkeep: Arc::default(),
            })
        })
        .collect()
}

pub(crate) fn input(groups: Vec<Group>, waiting: Vec<Arc<Pod>>) -> Input {
    Input {
        now: NOW,
        cluster: Cluster {
            waiting,
            ..Cluster::default()
        },
        leaving: BTreeSet::new(),
        groups,
        daemon_sets: vec![],
        limits: Limits::default(),
    }
}

fn add_node(input: &mut Input, node: Node) {
    input.cluster.nodes.insert(node.name.clone(), node);
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
        pods: vec![],
    }];
    let mut input = input(vec![g], pods("p", 8, &class(500, 256)));
    add_node(&mut input, node("n1", 1000));
    // 2 fit n1, 4 the machine on its way, 2 are left for one new machine.
    let (plan, report) = plan(&input);
    assert_eq!(plan.machines(), 1);
    let on = |wanted: fn(&Placement) -> bool| report.pods.values().filter(|p| wanted(p)).count();
    assert_eq!(on(|p| matches!(p, Placement::Existing(_))), 2);
    assert_eq!(on(|p| matches!(p, Placement::InFlight(_))), 4);
    // The room of a node that is leaving does not count.
    input.leaving.insert(NodeName::new("n1"));
    assert_eq!(machines(&input), 1);
    let (_, report) = crate::plan(&input);
    assert!(
        !report
            .pods
            .values()
            .any(|p| matches!(p, Placement::Existing(_)))
    );
}

#[test]
fn where_not_all_can_be_placed_there_are_places_for_more_small_ones() {
    let mut waiting = pods("large", 1, &class(3000, 128));
    waiting.extend(pods("small", 4, &class(1000, 128)));
    let placed = |input: &Input| {
        let (_, report) = plan(input);
        let placements = report.pods.values();
        placements
            .filter(|to| !matches!(to, Placement::Left(_)))
            .count()
    };
    // On a node, with nothing to buy…
    let mut beside_a_node = input(vec![], waiting.clone());
    add_node(&mut beside_a_node, node("n1", 4000));
    assert_eq!(placed(&beside_a_node), 4);
    // …and on the one machine that may be bought.
    let mut one = group("g", vec![offering("o", 4, 8, 10)]);
    one.max_nodes = 1;
    assert_eq!(placed(&input(vec![one], waiting)), 4);
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
        NOW.saturating_add(Duration::from_mins(1)).unwrap(),
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
fn a_pod_that_uses_a_rule_that_is_never_evaluated_is_left_alone() {
    let mut affine = class(500, 256);
    affine.unevaluated.insert(UnevaluatedRule::ResourceClaims);
    let (plan, report) = plan(&input(
        vec![group("g", vec![offering("small", 2, 4, 10)])],
        pods("p", 3, &affine),
    ));
    assert_eq!(plan.machines(), 0);
    assert!(report.pods.values().all(|placement| matches!(
        placement,
        Placement::Left(PodReason::RuleNotEvaluated {
            rule: UnevaluatedRule::ResourceClaims
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

fn node(name: &str, cpu_milli: i64) -> Node {
    Node {
        name: NodeName::new(name),
        uid: None,
        shape: Arc::new(NodeShape {
            allocatable: Resources {
                cpu_milli,
                memory: 16 << 30,
                pods: 110,
                ..Resources::default()
            },
            ..NodeShape::default()
        }),
        ready: true,
        created_at: None,
        defect: None,
    }
}

fn changed(pods: Vec<Arc<Pod>>, change: impl Fn(&mut Pod)) -> Vec<Arc<Pod>> {
    pods.into_iter()
        .map(|pod| {
            let mut pod = Pod::clone(&pod);
            change(&mut pod);
            Arc::new(pod)
        })
        .collect()
}

fn small() -> Vec<Group> {
    vec![group("g", vec![offering("small", 2, 4, 10)])]
}

#[test]
fn only_pods_the_scheduler_gave_up_on_buy_machines() {
    let pods = || pods("p", 4, &class(500, 256));
    let of = |change: fn(&mut Pod)| machines(&input(small(), changed(pods(), change)));
    assert_eq!(of(|_| {}), 1);
    assert_eq!(
        of(|pod| pod.state = PodState::Waiting),
        0,
        "gated or not tried yet"
    );
    assert_eq!(of(|pod| pod.terminating = Some(Timestamp::UNIX_EPOCH)), 0);
    assert_eq!(of(|pod| pod.role = PodRole::DaemonSet), 0);
}

#[test]
fn a_pod_of_a_daemon_set_says_why_no_machine_helps_it() {
    let waiting = changed(pods("p", 1, &class(500, 256)), |pod| {
        pod.role = PodRole::DaemonSet;
    });
    let (_, report) = plan(&input(small(), waiting));
    assert!(matches!(
        report.pods.values().next(),
        Some(Placement::Left(PodReason::DaemonSetPod))
    ));
}

#[test]
fn pods_below_the_cut_off_or_within_grace_wait_and_the_plan_says_until_when() {
    let mut idle = class(500, 256);
    idle.priority = -11;
    assert_eq!(machines(&input(small(), pods("p", 1, &idle))), 0);
    idle.priority = -10;
    assert_eq!(
        machines(&input(small(), pods("p", 1, &idle))),
        1,
        "exactly at it"
    );

    let mut patient = input(small(), pods("p", 1, &class(500, 256)));
    patient.limits.grace = Duration::from_secs(30);
    let (nothing, report) = plan(&patient);
    assert_eq!(nothing.machines(), 0);
    let until = NOW.saturating_add(Duration::from_secs(30)).unwrap();
    assert_eq!(report.look_again_at, Some(until));
    patient.now = until;
    assert_eq!(machines(&patient), 1);
}

#[test]
fn a_nominated_pod_waits_for_its_victims_and_its_room_is_not_given_away() {
    let mut waiting = changed(pods("a", 1, &class(1000, 256)), |pod| {
        pod.nominated = Some(NodeName::new("n1"));
    });
    waiting.extend(pods("b", 1, &class(1000, 256)));
    let mut input = input(small(), waiting);
    add_node(&mut input, node("n1", 1500));
    let (plan, report) = plan(&input);
    assert_eq!(plan.machines(), 1, "for the other one");
    assert_eq!(
        report.pods[&PodKey::new("default", "a-000")],
        Placement::Existing(NodeName::new("n1"))
    );
    // Where the node is gone or going, the nomination means nothing.
    input.leaving.insert(NodeName::new("n1"));
    let (plan, _) = crate::plan(&input);
    assert_eq!(
        plan.create[0].pods,
        [[
            PodKey::new("default", "a-000"),
            PodKey::new("default", "b-000")
        ]]
    );
}

#[test]
fn nothing_is_placed_on_nodes_that_cannot_be_relied_on() {
    for spoil in [
        (|node: &mut Node| node.ready = false) as fn(&mut Node),
        |node| node.defect = Some("it reports no capacity".into()),
        |node| Arc::make_mut(&mut node.shape).unschedulable = true,
    ] {
        let mut input = input(small(), pods("p", 1, &class(500, 256)));
        let mut spoiled = node("n1", 8000);
        assert_eq!(
            {
                let mut sound = input.clone();
                add_node(&mut sound, spoiled.clone());
                machines(&sound)
            },
            0
        );
        spoil(&mut spoiled);
        add_node(&mut input, spoiled);
        assert_eq!(machines(&input), 1);
    }
}

#[test]
fn a_machine_that_joined_but_does_not_serve_yet_counts_what_is_bound_to_it() {
    let mut g = small().remove(0);
    g.existing = 1;
    g.serving = 1;
    g.in_flight = vec![InFlight {
        machine: "g-1".into(),
        offering: "small".into(),
        node: Some(NodeName::new("n1")),
        pods: vec![],
    }];
    let mut input = input(vec![g], pods("p", 2, &class(1000, 256)));
    add_node(&mut input, node("n1", 2000));
    assert_eq!(machines(&input), 0, "two fit the machine on its way");
    let bound = changed(pods("b", 1, &class(1000, 256)), |pod| {
        pod.state = PodState::Bound(NodeName::new("n1"));
    });
    input.cluster.bound.extend(bound);
    assert_eq!(machines(&input), 1, "one pod was bound to it already");
}

#[test]
fn a_machine_on_its_way_of_an_offering_listed_no_more_is_not_forgotten() {
    let mut g = small().remove(0);
    g.existing = 1;
    g.serving = 1;
    g.in_flight = vec![InFlight {
        machine: "g-1".into(),
        offering: "retired".into(),
        node: None,
        pods: vec![],
    }];
    assert_eq!(
        machines(&input(vec![g.clone()], pods("p", 4, &class(500, 256)))),
        0
    );
    // A group that is being deleted takes its machines with it.
    g.deleting = true;
    let groups = vec![g, group("h", vec![offering("small", 2, 4, 10)])];
    assert_eq!(machines(&input(groups, pods("p", 4, &class(500, 256)))), 1);
}

#[test]
fn pods_may_ask_for_the_labels_the_product_puts_on_its_nodes() {
    let mut wants = class(500, 256);
    wants.node_selector = vec![Requirement {
        key: "autoscaler.vpsie.com/nodegroup".into(),
        operator: Operator::In,
        values: vec!["b".into()],
    }];
    let groups = ["a", "b"]
        .map(|name| group(name, vec![offering("small", 2, 4, 10)]))
        .to_vec();
    let (plan, _) = plan(&input(groups, pods("p", 1, &wants)));
    assert_eq!(&*plan.create[0].group.name, "b");
}

#[test]
fn a_preferred_type_decides_only_between_equals() {
    let mut g = group("g", vec![offering("a", 2, 4, 10), offering("b", 2, 4, 10)]);
    let bought = |g: &Group| {
        plan(&input(vec![g.clone()], pods("p", 1, &class(500, 256))))
            .0
            .create[0]
            .offering
            .to_string()
    };
    assert_eq!(bought(&g), "a", "the name");
    g.preferred = Some("b".into());
    assert_eq!(bought(&g), "b");
    g.choices[1] = offering("b", 2, 4, 11);
    assert_eq!(bought(&g), "a", "a price is not paid for a preference");
}

#[test]
fn a_thousand_pods_that_fit_nowhere_share_one_reason_and_its_text_stays_short() {
    let groups: Vec<Group> = (0..40)
        .map(|i| {
            group(
                &format!("g{i:02}"),
                vec![offering("a", 2, 4, 10), offering("b", 2, 4, 10)],
            )
        })
        .collect();
    let (plan, report) = plan(&input(groups, pods("p", 1000, &class(64_000, 256))));
    assert_eq!(plan.machines(), 0);
    let reasons: Vec<_> = report
        .pods
        .values()
        .map(|placement| match placement {
            Placement::Left(reason @ PodReason::NoNodeGroupFits { groups }) => {
                assert_eq!(groups.len(), 80);
                (reason, Arc::as_ptr(groups))
            }
            other => panic!("{other:?}"),
        })
        .collect();
    assert!(
        reasons
            .iter()
            .all(|(_, shared)| std::ptr::eq(*shared, reasons[0].1))
    );
    let text = reasons[0].0.to_string();
    assert!(
        text.starts_with(
            "kube-system/g00 (a, b): insufficient cpu: 64 asked, 2 free \
             (more than the node has altogether); kube-system/g01"
        ),
        "{text}"
    );
    assert!(text.ends_with("; and 34 more"), "{text}");
    assert!(text.len() < 1000, "{}", text.len());
}

#[test]
fn a_plan_in_full_reads_as_expected() {
    let mut web = group(
        "web",
        vec![offering("small", 2, 4, 10), offering("large", 8, 16, 38)],
    );
    web.min_nodes = 1;
    let mut batch = group("batch", vec![offering("large", 8, 16, 38)]);
    batch.max_nodes = 1;
    let mut waiting = pods("web", 5, &on_group(class(500, 512), "web"));
    waiting.extend(pods("job", 3, &on_group(class(4000, 4096), "batch")));
    let input = input(vec![batch, web], waiting);
    let (plan, report) = plan(&input);
    assert_eq!(audit::scale_up(&input, &plan), []);
    insta::assert_json_snapshot!(serde_json::json!({
        "plan": plan,
        "pods": report.pods.iter().map(|(pod, placement)| {
            (pod.to_string(), serde_json::to_value(placement).unwrap())
        }).collect::<serde_json::Map<_, _>>(),
        "volumeBound": report.volume_bound,
        "priceBound": report.price_bound,
    }));
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
        prop_assert_eq!(crate::plan(&input), (plan, report));
    }
}
