//! Rules between pods, ports and preferences while packing.

use std::{collections::BTreeMap, sync::Arc};

use model::{
    HostPort, InclusionPolicy, LabelSelector, Labels, Namespaces, Node, NodeName, NodeSelectorTerm,
    NodeShape, Operator, Pod, PodState, PodTerm, Protocol, Requirement, Resources, SchedulingClass,
    SpreadConstraint,
};
use planner::scale_up::{Group, InFlight, Input, Placement, Report};
use proptest::{prelude::*, strategy::ValueTree, test_runner::TestRunner};

use crate::{
    plan,
    scale_up::{class, group, input, offering, pods},
};

const HOSTNAME: &str = "kubernetes.io/hostname";
const ZONE: &str = "topology.kubernetes.io/zone";

fn requirement(key: &str, value: &str) -> Requirement {
    Requirement {
        key: key.into(),
        operator: Operator::In,
        values: vec![value.into()],
    }
}

fn app(name: &str) -> LabelSelector {
    LabelSelector {
        requirements: vec![requirement("app", name)],
    }
}

fn of_app(name: &str, cpu_milli: i64) -> SchedulingClass {
    SchedulingClass {
        labels: Labels::from([("app".into(), name.into())]),
        ..class(cpu_milli, 128)
    }
}

fn term(name: &str, key: &str) -> PodTerm {
    PodTerm {
        selector: Some(app(name)),
        namespaces: Namespaces {
            names: ["default".into()].into(),
            selector: None,
        },
        topology_key: key.into(),
    }
}

fn apart(name: &str, cpu_milli: i64) -> SchedulingClass {
    SchedulingClass {
        anti_affinity: vec![term(name, HOSTNAME)],
        ..of_app(name, cpu_milli)
    }
}

fn spread(name: &str, cpu_milli: i64, key: &str) -> SchedulingClass {
    SchedulingClass {
        spread: vec![constraint(name, key)],
        ..of_app(name, cpu_milli)
    }
}

fn constraint(name: &str, key: &str) -> SpreadConstraint {
    SpreadConstraint {
        topology_key: key.into(),
        max_skew: 1,
        min_domains: 1,
        selector: Some(app(name)),
        node_affinity_policy: InclusionPolicy::Honor,
        node_taints_policy: InclusionPolicy::Ignore,
    }
}

fn near(name: &str, of: &str, cpu_milli: i64, key: &str) -> SchedulingClass {
    SchedulingClass {
        affinity: vec![term(of, key)],
        ..of_app(name, cpu_milli)
    }
}

/// A group in each zone, of three offerings whose prices go with their sizes.
fn zones() -> Vec<Group> {
    ["a", "b", "c"]
        .into_iter()
        .map(|zone| {
            let mut group = group(
                zone,
                vec![
                    offering("small", 2, 4, 10),
                    offering("medium", 4, 8, 19),
                    offering("large", 8, 16, 37),
                ],
            );
            group.labels.insert(ZONE.into(), zone.into());
            group
        })
        .collect()
}

fn running(input: &mut Input, name: &str, zone: &str, classes: &[SchedulingClass]) {
    let shape = NodeShape {
        labels: Labels::from([(ZONE.into(), zone.into()), (HOSTNAME.into(), name.into())]),
        allocatable: Resources {
            cpu_milli: 4000,
            memory: 8 << 30,
            pods: 110,
            ..Resources::default()
        },
        ..NodeShape::default()
    };
    let node = Node {
        name: NodeName::new(name),
        uid: None,
        shape: Arc::new(shape),
        ready: true,
        created_at: None,
        defect: None,
    };
    input.cluster.nodes.insert(node.name.clone(), node);
    for (index, class) in classes.iter().enumerate() {
        let mut pod = Pod::clone(&pods(&format!("on-{name}-{index}"), 1, class)[0]);
        pod.state = PodState::Bound(NodeName::new(name));
        input.cluster.bound.push(Arc::new(pod));
    }
}

/// Machines by group.
fn by_group(input: &Input) -> BTreeMap<String, u32> {
    let mut machines = BTreeMap::new();
    for create in &plan(input).0.create {
        *machines.entry(create.group.name.to_string()).or_default() += create.count;
    }
    machines
}

fn machines(input: &Input) -> u32 {
    plan(input).0.machines()
}

fn one_group() -> Vec<Group> {
    zones().into_iter().take(1).collect()
}

fn left(input: &Input) -> Vec<String> {
    let (_, report) = plan(input);
    let texts = report
        .pods
        .into_values()
        .filter_map(|placement| match placement {
            Placement::Left(reason) => Some(reason.to_string()),
            _ => None,
        });
    texts.collect()
}

#[test]
fn replicas_that_keep_apart_get_a_machine_each_and_others_fill_what_those_leave() {
    let mut waiting = pods("db", 5, &apart("db", 500));
    waiting.extend(pods("web", 10, &class(700, 256)));
    let input = input(one_group(), waiting);
    // 9.5 CPUs on five machines of two.
    assert_eq!(machines(&input), 5);
    let (plan, report) = plan(&input);
    assert!(
        plan.create
            .iter()
            .all(|create| create.offering == "small".into())
    );
    assert_eq!(report.steps.placements.len(), 15);
}

#[test]
fn what_runs_keeps_others_off_and_leaves_them_room_elsewhere() {
    let mut input = input(one_group(), pods("db", 3, &apart("db", 500)));
    running(&mut input, "n1", "a", &[apart("db", 500)]);
    running(&mut input, "n2", "a", &[]);
    assert_eq!(machines(&input), 2, "one more goes onto n2");
    // A running pod that wants no such neighbour, though they do not mind it.
    let mut input = crate::scale_up::input(one_group(), pods("web", 1, &of_app("web", 500)));
    let mut shy = of_app("shy", 100);
    shy.anti_affinity = vec![term("web", HOSTNAME)];
    running(&mut input, "n1", "a", &[shy]);
    assert_eq!(machines(&input), 1);
}

#[test]
fn replicas_are_spread_over_zones_as_they_ask() {
    let input = input(zones(), pods("web", 7, &spread("web", 1500, ZONE)));
    let bought = by_group(&input);
    assert_eq!(bought.len(), 3, "{bought:?}");
    let (_, report) = plan(&input);
    let mut by_zone: BTreeMap<String, u32> = BTreeMap::new();
    for placement in report.pods.values() {
        let Placement::New(group, _) = placement else {
            panic!("{placement:?}")
        };
        *by_zone.entry(group.name.to_string()).or_default() += 1;
    }
    let counts: Vec<u32> = by_zone.into_values().collect();
    assert_eq!(counts.iter().sum::<u32>(), 7);
    assert!(counts.iter().max().unwrap() - counts.iter().min().unwrap() <= 1);
}

#[test]
fn a_zone_that_cannot_grow_leaves_pods_with_the_reason() {
    let mut groups = zones();
    groups[2].max_nodes = 0;
    let mut input = input(groups, pods("web", 6, &spread("web", 1500, ZONE)));
    // Zone c is there, and no pod of it fits.
    running(&mut input, "full", "c", &[class(4000, 256)]);
    let left = left(&input);
    assert_eq!(left.len(), 4);
    assert!(left[0].contains("maxSkew"), "{}", left[0]);
    assert!(left[0].contains("maxNodes"), "{}", left[0]);
}

#[test]
fn ports_of_the_host_are_taken_once_a_machine() {
    let mut proxy = class(100, 64);
    proxy.host_ports = vec![HostPort {
        protocol: Protocol::Tcp,
        address: "0.0.0.0".into(),
        port: 443,
    }];
    let mut input = input(one_group(), pods("proxy", 4, &proxy));
    running(&mut input, "n1", "a", std::slice::from_ref(&proxy));
    assert_eq!(machines(&input), 4);
}

#[test]
fn pods_that_want_to_be_together_are_in_one_zone() {
    let input = input(zones(), pods("ring", 9, &near("ring", "ring", 1500, ZONE)));
    let bought = by_group(&input);
    assert_eq!(bought.len(), 1, "{bought:?}");
    assert_eq!(left(&input), [""; 0]);
}

#[test]
fn who_wants_to_be_near_pods_that_wait_too_is_placed_after_them() {
    // The smaller ones would come later by size, the near ones need them first.
    let mut waiting = pods("a-cache", 2, &near("cache", "web", 1500, ZONE));
    waiting.extend(pods("web", 1, &of_app("web", 200)));
    let only = input(zones(), waiting);
    assert_eq!(left(&only), [""; 0]);
    assert_eq!(by_group(&only).len(), 1);
    // On one machine.
    let mut waiting = pods("a-cache", 2, &near("cache", "web", 1500, HOSTNAME));
    waiting.extend(pods("web", 1, &of_app("web", 200)));
    let only = input(zones(), waiting);
    assert_eq!((left(&only).len(), machines(&only)), (0, 1));
}

#[test]
fn near_pods_that_run_nowhere_is_a_reason() {
    let input = input(one_group(), pods("p", 1, &near("p", "ghost", 500, ZONE)));
    let left = left(&input);
    assert!(left[0].contains("affinity"), "{}", left[0]);
}

#[test]
fn machines_on_their_way_take_the_pods_they_were_bought_for_by_every_rule() {
    let mut waiting = pods("db", 4, &apart("db", 1200));
    waiting.extend(pods("web", 9, &spread("web", 600, HOSTNAME)));
    waiting.extend(pods("zoned", 5, &spread("zoned", 900, ZONE)));
    let input = input(zones(), waiting);
    let (plan, report) = plan(&input);
    assert!(plan.machines() > 0);
    assert!(
        report
            .pods
            .values()
            .all(|p| matches!(p, Placement::New(..)))
    );
    let again = crate::plan(&bought(&input)).0;
    assert_eq!(again.machines(), 0);
}

/// The machines of the plan, on their way.
fn bought(input: &Input) -> Input {
    let (plan, _) = plan(input);
    let mut after = input.clone();
    for create in &plan.create {
        let mut groups = after.groups.iter_mut();
        let group = groups.find(|group| group.key == create.group).unwrap();
        for pods in &create.pods {
            group.in_flight.push(InFlight {
                machine: format!("m-{:03}", (group.existing * 37) % 101),
                offering: create.offering.clone(),
                node: None,
                pods: pods.clone(),
            });
            group.existing += 1;
            group.serving += 1;
        }
        group.in_flight.sort_by(|a, b| a.machine.cmp(&b.machine));
    }
    after
}

#[test]
fn a_preference_chooses_among_equal_prices_and_buys_nothing_dear() {
    let prefers = |zone: &str, weight| {
        let mut class = class(1500, 256);
        class.preferences.nodes = vec![(
            weight,
            NodeSelectorTerm {
                match_expressions: vec![requirement(ZONE, zone)],
                match_fields: vec![],
            },
        )];
        class
    };
    let only = input(zones(), pods("p", 4, &prefers("b", 1)));
    assert_eq!(by_group(&only).into_keys().collect::<Vec<_>>(), ["b"]);
    let (_, report) = plan(&only);
    assert_eq!(report.preferences, (4, 4));
    // The same where zone b costs a tenth more: not worth it.
    let mut groups = zones();
    groups[1].choices = vec![offering("small", 2, 4, 11)];
    let dear = input(groups, pods("p", 4, &prefers("b", 100)));
    assert!(!by_group(&dear).contains_key("b"));
}

#[test]
fn pods_that_would_rather_be_apart_do_not_buy_a_machine_each() {
    let mut shy = of_app("shy", 200);
    shy.preferences.apart = vec![(100, term("shy", HOSTNAME))];
    let input = input(one_group(), pods("shy", 10, &shy));
    assert_eq!(
        machines(&input),
        1,
        "ten times 200m on one machine of two CPUs"
    );
    // Room that is there is used as they like it.
    let mut free = input.clone();
    for name in ["n1", "n2"] {
        running(&mut free, name, "a", &[]);
    }
    let (_, report) = plan(&free);
    let on = |name: &str| {
        let there = Placement::Existing(NodeName::new(name));
        report.pods.values().filter(|p| **p == there).count()
    };
    assert!(on("n1") > 0 && on("n2") > 0);
}

fn any_class() -> impl Strategy<Value = SchedulingClass> {
    let name = prop::sample::select(vec!["x", "y", "z"]);
    let key = prop::sample::select(vec![HOSTNAME, ZONE]);
    (0..8_u8, name.clone(), name, key, 1..16_i64).prop_map(|(rule, name, other, key, size)| {
        let cpu = size * 125;
        match rule {
            0 => apart(name, cpu),
            1 => spread(name, cpu, key),
            2 => near(name, name, cpu, ZONE),
            3 => near(name, other, cpu, key),
            4 => {
                let mut both = spread(name, cpu, HOSTNAME);
                both.spread.push(constraint(name, ZONE));
                both
            }
            5 => {
                let mut shy = of_app(name, cpu);
                shy.preferences.apart = vec![(50, term(other, key))];
                shy.preferences.spread = vec![constraint(name, ZONE)];
                shy
            }
            6 => SchedulingClass {
                anti_affinity: vec![term(other, key)],
                ..of_app(name, cpu)
            },
            _ => of_app(name, cpu),
        }
    })
}

fn backlog() -> impl Strategy<Value = Input> {
    let zone = prop::sample::select(vec!["a", "b"]);
    let classes = prop::collection::vec((any_class(), 1..6_usize), 1..8);
    let there = prop::collection::vec((any_class(), zone), 0..3);
    (classes, there).prop_map(|(classes, there)| {
        let mut waiting = Vec::new();
        for (index, (class, count)) in classes.iter().enumerate() {
            waiting.extend(pods(&format!("c{index}"), *count, class));
        }
        let mut input = input(zones(), waiting);
        for (index, (class, zone)) in there.iter().enumerate() {
            let classes = std::slice::from_ref(class);
            running(&mut input, &format!("n{index}"), zone, classes);
        }
        input
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// What every plan is held to besides is in `plan`.
    #[test]
    fn mixes_of_rules_are_placed_rightly(input in backlog()) {
        let (chosen, report) = plan(&input);
        prop_assert_eq!(report.pods.len(), input.cluster.waiting.len());
        prop_assert_eq!(&plan(&input), &(chosen.clone(), report.clone()), "the same again");
        prop_assert!(report.volume_bound <= chosen.machines());
        let price: model::HourlyPrice = chosen
            .create
            .iter()
            .filter_map(|create| create.price.map(|price| price.times(create.count as usize)))
            .sum();
        prop_assert!(report.price_bound.is_none_or(|bound| bound <= price));
    }
}

#[test]
fn what_is_on_its_way_is_not_bought_again_by_any_rule() {
    let mut runner = TestRunner::deterministic();
    let mut again = 0;
    for _ in 0..1000 {
        let input = backlog().new_tree(&mut runner).unwrap().current();
        let left = |report: &Report| {
            let pods = report.pods.values();
            pods.filter(|placement| matches!(placement, Placement::Left(_)))
                .count()
        };
        let before = left(&plan(&input).1);
        let (chosen, after) = plan(&bought(&input));
        // What was left may find a place beside what is on its way; nothing else is bought for.
        let bought_for: usize = chosen
            .create
            .iter()
            .flat_map(|c| &c.pods)
            .map(Vec::len)
            .sum();
        if bought_for > before.saturating_sub(left(&after)) {
            again += 1;
        }
    }
    // A pod that was left and has a place now may take it from one that had it.
    assert!(
        again <= 2,
        "{again} of 1,000 backlogs were bought for twice"
    );
}
