//! The checker: it sees every rule broken, and never a rule broken that is not.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use model::{
    GroupKey, Labels, NodeSelectorTerm, Operator, PodKey, PodState, Requirement, SchedulingClass,
    Taint, TaintEffect, Toleration,
};
use planner::{
    audit::{self, Violation},
    scale_up::{Cause, Group, Input, Plan},
};
use proptest::prelude::*;

use crate::{
    plan,
    scale_up::{class, group, input, offering, pods},
};

type Spoil = Box<dyn Fn(&mut Input, &mut Plan)>;

fn sound() -> (Input, Plan) {
    let mut g = group("g", vec![offering("small", 2, 4, 10)]);
    g.max_nodes = 3;
    let mut input = input(vec![g], pods("p", 6, &class(1000, 256)));
    input.limits.max_workers = Some(3);
    let (plan, _) = plan(&input);
    assert_eq!(
        (audit::scale_up(&input, &plan), plan.machines()),
        (vec![], 3)
    );
    (input, plan)
}

fn violations(spoil: impl FnOnce(&mut Input, &mut Plan)) -> Vec<Violation> {
    let (mut input, mut plan) = sound();
    spoil(&mut input, &mut plan);
    audit::scale_up(&input, &plan)
}

#[test]
fn every_rule_that_a_plan_breaks_is_named() {
    let key = || GroupKey::new("kube-system", "g");
    let pod = |name: &str| PodKey::new("default", name);
    let soon = Timestamp::UNIX_EPOCH
        .saturating_add(Duration::from_secs(1))
        .unwrap();
    let cases: Vec<(Spoil, Violation)> = vec![
        (
            Box::new(|_, plan| plan.create[0].group = GroupKey::new("other", "g")),
            Violation::UnknownGroup(GroupKey::new("other", "g")),
        ),
        (
            Box::new(|_, plan| plan.create[0].offering = "huge".into()),
            Violation::UnknownOffering(key(), "huge".into()),
        ),
        (
            Box::new(|input, _| input.groups[0].enabled = false),
            Violation::GroupNotBuyable(key()),
        ),
        (
            Box::new(|input, _| input.groups[0].deleting = true),
            Violation::GroupNotBuyable(key()),
        ),
        (
            Box::new(|input, _| input.groups[0].invalid = Some("broken".into())),
            Violation::GroupNotBuyable(key()),
        ),
        (
            Box::new(move |input, _| {
                input.groups[0].choices[0].backoff = Some((soon, "OutOfStock".into()));
            }),
            Violation::InBackOff(key(), "small".into()),
        ),
        (
            Box::new(|input, _| input.groups[0].existing = 1),
            Violation::AboveMaximum {
                group: key(),
                machines: 4,
                max_nodes: 3,
            },
        ),
        (
            Box::new(|input, _| input.limits.max_workers = Some(2)),
            Violation::AboveClusterLimit {
                machines: 3,
                max_workers: 2,
            },
        ),
        (
            Box::new(|_, plan| plan.create[0].cause = Cause::MinNodes),
            Violation::BeyondMinimum {
                group: key(),
                bought: 3,
                missing: 0,
            },
        ),
        (
            Box::new(|_, plan| plan.create[0].pods[0].clear()),
            Violation::Purposeless(key()),
        ),
        (
            Box::new(|_, plan| {
                let pod = plan.create[0].pods[0][0].clone();
                plan.create[0].pods[1][0] = pod;
            }),
            Violation::PodTwice(pod("p-000")),
        ),
        (
            Box::new(|_, plan| plan.create[0].pods[0][0] = PodKey::new("default", "ghost")),
            Violation::NotPending(pod("ghost")),
        ),
        (
            Box::new(|_, plan| plan.create[0].count = 1),
            Violation::CountMismatch(key()),
        ),
        (
            Box::new(|_, plan| {
                let more = plan.create[0].pods[1].remove(0);
                plan.create[0].pods[0].push(more);
            }),
            Violation::Overfull {
                group: key(),
                resource: "cpu".into(),
            },
        ),
        (
            Box::new(|input, _| input.daemon_sets = vec![Arc::new(class(1, 0))]),
            Violation::Overfull {
                group: key(),
                resource: "cpu".into(),
            },
        ),
        (
            Box::new(|input, _| {
                input.groups[0].taints = vec![Taint {
                    key: "dedicated".into(),
                    value: "".into(),
                    effect: TaintEffect::NoExecute,
                }];
            }),
            Violation::Misplaced {
                pod: pod("p-000"),
                group: key(),
                rule: "it does not tolerate the group's taints",
            },
        ),
    ];
    for (spoil, expected) in cases {
        let found = violations(spoil);
        assert!(found.contains(&expected), "{expected}: {found:?}");
    }
}

#[test]
fn a_pod_that_stopped_waiting_buys_nothing() {
    let found = violations(|input, _| {
        let waiting: Vec<_> = input
            .cluster
            .waiting
            .iter()
            .map(|pod| {
                let mut pod = model::Pod::clone(pod);
                pod.state = PodState::Waiting;
                Arc::new(pod)
            })
            .collect();
        input.cluster.waiting = waiting;
    });
    assert_eq!(found.len(), 6);
    assert!(found.iter().all(|v| matches!(v, Violation::NotPending(_))));
}

#[test]
fn a_daemon_set_is_counted_only_where_it_runs_for_certain() {
    // The machines are full: a DaemonSet pod more, and the plan would be refused.
    let asks = |key: &str, operator, values: &[&str]| {
        let mut class = class(100, 64);
        class.required_terms = Some(vec![NodeSelectorTerm {
            match_expressions: vec![Requirement {
                key: key.into(),
                operator,
                values: values.iter().map(|value| Arc::from(*value)).collect(),
            }],
            ..NodeSelectorTerm::default()
        }]);
        class
    };
    for class in [
        asks("tier", Operator::NotIn, &[]),
        asks("tier", Operator::Exists, &[]),
        asks("kubernetes.io/os", Operator::In, &["windows"]),
        asks("node.kubernetes.io/instance-type", Operator::In, &["large"]),
        asks("kubernetes.io/hostname", Operator::DoesNotExist, &[]),
    ] {
        assert_eq!(
            violations(|input, _| input.daemon_sets = vec![Arc::new(class.clone())]),
            [],
            "{class:?}"
        );
    }
    let everywhere = asks("tier", Operator::DoesNotExist, &[]);
    assert_ne!(
        violations(|input, _| input.daemon_sets = vec![Arc::new(everywhere)]),
        []
    );
}

const KEYS: [&str; 6] = [
    "tier",
    "rank",
    "kubernetes.io/hostname",
    "kubernetes.io/os",
    "node.kubernetes.io/instance-type",
    "autoscaler.vpsie.com/nodegroup",
];
const VALUES: [&str; 7] = ["a", "b", "3", "7", "linux", "o0", "g0"];

fn requirement() -> impl Strategy<Value = Requirement> {
    let operator = prop::sample::select(vec![
        Operator::In,
        Operator::NotIn,
        Operator::Exists,
        Operator::DoesNotExist,
        Operator::Gt,
        Operator::Lt,
    ]);
    let values = prop::collection::vec(prop::sample::select(VALUES.to_vec()), 0..3);
    (prop::sample::select(KEYS.to_vec()), operator, values).prop_map(|(key, operator, values)| {
        Requirement {
            key: key.into(),
            operator,
            values: values.into_iter().map(Arc::from).collect(),
        }
    })
}

fn effect() -> impl Strategy<Value = TaintEffect> {
    prop::sample::select(vec![
        TaintEffect::NoSchedule,
        TaintEffect::PreferNoSchedule,
        TaintEffect::NoExecute,
    ])
}

prop_compose! {
    fn any_class()(
        cpu in 0..3000_i64, mib in 0..3000_i64, gpus in prop::option::weighted(0.1, 0..3_i64),
        selector in prop::collection::vec(requirement(), 0..2),
        terms in prop::option::weighted(0.4, prop::collection::vec(
            (prop::collection::vec(requirement(), 0..3), prop::option::weighted(0.1, requirement())),
            0..3,
        )),
        tolerations in prop::collection::vec((
            prop::sample::select(vec!["", "tier"]), any::<bool>(),
            prop::sample::select(vec!["", "a"]), prop::option::of(effect()),
        ), 0..3),
    ) -> SchedulingClass {
        let mut class = class(cpu, mib);
        if let Some(gpus) = gpus {
            class.requests.extended.insert("example.com/gpu".into(), gpus);
        }
        class.node_selector = selector;
        class.required_terms = terms.map(|terms| terms.into_iter().map(|(expressions, field)| {
            NodeSelectorTerm {
                match_expressions: expressions,
                match_fields: field.into_iter().map(|mut field| {
                    field.key = "metadata.name".into();
                    field
                }).collect(),
            }
        }).collect());
        class.tolerations = tolerations.into_iter().map(|(key, exists, value, effect)| Toleration {
            key: key.into(), exists, value: value.into(), effect,
        }).collect();
        class
    }
}

prop_compose! {
    fn any_group(index: usize)(
        max in 0..8_u32, existing in 0..3_u32, min in 0..4_u32,
        choices in prop::collection::vec(
            (1..9_u32, 1..17_u64, prop::option::weighted(0.9, 1..60_i64), any::<bool>()), 0..4,
        ),
        labels in prop::collection::vec(
            (prop::sample::select(KEYS.to_vec()), prop::sample::select(VALUES.to_vec())), 0..3,
        ),
        taint in prop::option::weighted(0.3, (prop::sample::select(vec!["", "a"]), effect())),
        enabled in prop::bool::weighted(0.9),
    ) -> Group {
        let choices = choices.into_iter().enumerate().map(|(i, (cpus, gib, cents, learned))| {
            let mut choice = offering(&format!("o{i}"), cpus, gib, cents.unwrap_or(1));
            if cents.is_none() {
                choice.offering.price = None;
            }
            if !learned {
                choice.learned = None;
            }
            choice
        }).collect();
        let mut g = group(&format!("g{index}"), choices);
        g.max_nodes = max;
        g.existing = existing;
        g.serving = existing;
        g.min_nodes = min.min(max);
        g.labels = labels.into_iter().map(|(k, v)| (k.into(), v.into())).collect::<Labels>();
        g.taints = taint.into_iter().map(|(value, effect)| Taint {
            key: "tier".into(), value: value.into(), effect,
        }).collect();
        g.enabled = enabled;
        g
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]

    /// The checker refuses whole plans: seeing ghosts would stop every scale-up.
    #[test]
    fn no_plan_of_the_planner_is_refused(
        a in any_group(0), b in any_group(1),
        asks in prop::collection::vec((1..15_usize, any_class()), 1..5),
        daemon_sets in prop::collection::vec(any_class(), 0..3),
        max_workers in prop::option::of(0..10_u32),
    ) {
        let mut waiting = vec![];
        for (index, (count, class)) in asks.iter().enumerate() {
            waiting.extend(pods(&format!("p{index}"), *count, class));
        }
        let mut input = input(vec![a, b], waiting);
        input.limits.max_workers = max_workers;
        input.daemon_sets = daemon_sets.into_iter().map(Arc::new).collect();
        let (plan, report) = plan(&input);
        let violations = audit::scale_up(&input, &plan);
        prop_assert!(violations.is_empty(), "{:?}", violations);
        // Every pod that counts is accounted for, and every bound holds.
        prop_assert_eq!(report.pods.len(), input.cluster.waiting.len());
        prop_assert!(report.volume_bound <= plan.machines());
        let priced: Option<Vec<_>> = plan.create.iter()
            .filter(|create| create.cause == Cause::PendingPods)
            .map(|create| create.price.map(|price| price.times(create.count as usize)))
            .collect();
        if let (Some(priced), Some(bound)) = (priced, report.price_bound) {
            prop_assert!(bound <= priced.into_iter().sum());
        }
        prop_assert_eq!(crate::plan(&input), (plan, report));
    }
}
