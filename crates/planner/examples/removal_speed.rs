//! How long the joint simulation of removals takes; prints a line of JSON for each cluster.
//!
//! `cargo run --release -p planner --example removal_speed -- [only]`
//!
//! `equal`: 2,000 equal nodes with 40 equal pods each, of 1 % (peers' RunOnceScaleDown). `mixed`:
//! 64, 300, 700, 1,000 and 5,000 nodes of three sizes with 30 pods each, 10 to 90 % full, in three
//! zones and two pools; of the workloads a fifth stays apart by hostname, a fifth spreads over
//! zones, a fifth asks for a pool, and each has a budget. `stuck`: as `mixed`, but every node has a
//! pod that keeps apart from its likes by hostname, so that none can go. `one`: one node of 100
//! with 1,000 pods. `plan`: the whole plan for 1,000 and 5,000 nodes as in `mixed`, the rules of
//! groups, nodes and pods included, every node taken as unneeded; `still`: whether one node of 100
//! with 1,000 pods may still go.
//! Each is repeated `ROUNDS` times (5); the least and the median are told.
#![allow(clippy::unwrap_used, clippy::disallowed_methods)] // A measurement needs the wall clock.

use std::{
    collections::{BTreeMap, BTreeSet},
    hint::black_box,
    sync::Arc,
    time::Instant,
};

use jiff::Timestamp;
use model::{
    Cluster, Controller, Disruption, GroupKey, HourlyPrice, InclusionPolicy, LabelSelector, Labels,
    Namespaces, Node, NodeName, NodeShape, Operator, Pod, PodKey, PodRole, PodState, PodTerm,
    Requirement, Resources, SchedulingClass, SpreadConstraint, Uid, Upkeep, WorkloadKind,
    Workloads,
};
use planner::{
    lifecycle::{Cordon, RemovalCause, RemovalStep},
    removal::{
        plan::{self, Brakes, Settings},
        simulation::{Budget, Candidate, Group, Input, Limits, choose, judge, scan},
    },
};
use rust_decimal::Decimal;

const HOSTNAME: &str = "kubernetes.io/hostname";
const ZONE: &str = "topology.kubernetes.io/zone";

/// Numbers that are the same in every run (SplitMix64).
struct Draws(u64);

impl Draws {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) % limit as u64) as usize
    }
}

fn label(key: &str, value: &str) -> (Arc<str>, Arc<str>) {
    (Arc::from(key), Arc::from(value))
}

fn requirement(key: &str, value: &str) -> Requirement {
    Requirement {
        key: key.into(),
        operator: Operator::In,
        values: vec![value.into()],
    }
}

fn app(index: usize) -> LabelSelector {
    LabelSelector {
        requirements: vec![requirement("app", &format!("app-{index}"))],
    }
}

fn node(index: usize, cpu_milli: i64, memory: i64) -> Node {
    let name = format!("node-{index:05}");
    Node {
        name: NodeName::new(&name),
        uid: None,
        shape: Arc::new(NodeShape {
            labels: Labels::from([
                label(HOSTNAME, &name),
                label(ZONE, ["a", "b", "c"][index % 3]),
                label("pool", ["blue", "green"][index / 3 % 2]),
            ]),
            allocatable: Resources {
                cpu_milli,
                memory,
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

fn pod(index: usize, class: &Arc<SchedulingClass>, node: &NodeName) -> Arc<Pod> {
    Arc::new(Pod {
        key: PodKey::new(&class.namespace, format!("pod-{index:06}")),
        uid: Uid::new(format!("{index}")),
        class: Arc::clone(class),
        state: PodState::Bound(node.clone()),
        role: PodRole::Ordinary,
        terminating: None,
        nominated: None,
        created_at: None,
        started_at: None,
        health: model::PodHealth::Ready,
        upkeep: Arc::new(Upkeep {
            controller: Some(Controller {
                kind: "ReplicaSet".into(),
                name: "app".into(),
                uid: Uid::new(owner(&class.labels)),
            }),
            ..Upkeep::default()
        }),
    })
}

fn owner(labels: &Labels) -> String {
    labels
        .get("app")
        .map(ToString::to_string)
        .unwrap_or_default()
}

/// Everything of one cluster.
struct World {
    cluster: Cluster,
    prices: BTreeMap<NodeName, HourlyPrice>,
    budgets: Vec<Budget>,
}

fn equal(nodes: usize) -> World {
    let class = Arc::new(SchedulingClass {
        namespace: "default".into(),
        requests: Resources {
            cpu_milli: 100,
            memory: 100 << 20,
            pods: 1,
            ..Resources::default()
        },
        ..SchedulingClass::default()
    });
    let mut cluster = Cluster::default();
    for index in 0..nodes {
        let node = node(index, 10_000, 10_000 << 20);
        for pods in 0..40 {
            cluster
                .bound
                .push(pod(index * 40 + pods, &class, &node.name));
        }
        cluster.nodes.insert(node.name.clone(), node);
    }
    let price = HourlyPrice::new(Decimal::new(137, 4));
    World {
        prices: (cluster.nodes.keys())
            .map(|name| (name.clone(), price))
            .collect(),
        cluster,
        budgets: vec![],
    }
}

fn workload(index: usize, draws: &mut Draws) -> Arc<SchedulingClass> {
    let mut class = SchedulingClass {
        namespace: format!("team-{}", index % 20).into(),
        labels: Labels::from([label("app", &format!("app-{index}"))]),
        requests: Resources {
            cpu_milli: 50 + draws.below(8) as i64 * 50,
            memory: (128 + draws.below(8) as i64 * 128) << 20,
            pods: 1,
            ..Resources::default()
        },
        ..SchedulingClass::default()
    };
    match index % 5 {
        0 => {
            class.anti_affinity = vec![PodTerm {
                selector: Some(app(index)),
                namespaces: Namespaces {
                    names: [Arc::clone(&class.namespace)].into(),
                    selector: None,
                },
                topology_key: HOSTNAME.into(),
            }];
        }
        1 => {
            class.spread = vec![SpreadConstraint {
                topology_key: ZONE.into(),
                max_skew: 5,
                min_domains: 1,
                selector: Some(app(index)),
                node_affinity_policy: InclusionPolicy::Honor,
                node_taints_policy: InclusionPolicy::Ignore,
            }];
        }
        2 => {
            class.node_selector = vec![requirement("pool", ["blue", "green"][index / 5 % 2])];
        }
        _ => {}
    }
    Arc::new(class)
}

fn mixed(nodes: usize, per_node: usize) -> World {
    let mut draws = Draws(nodes as u64);
    let workloads: Vec<_> = (0..nodes.max(500) / 5)
        .map(|index| workload(index, &mut draws))
        .collect();
    let mut world = World {
        cluster: Cluster::default(),
        prices: BTreeMap::new(),
        budgets: vec![],
    };
    let mut replicas = vec![0_u32; workloads.len()];
    let mut serial = 0;
    for index in 0..nodes {
        let size = draws.below(3);
        let node = node(index, 8_000 << size, (16 << size) << 30);
        let used = 10 + draws.below(80) as i64;
        let mut left = (8_000_i64 << size) * used / 100;
        let mut here = BTreeSet::new();
        for _ in 0..per_node * 4 {
            if here.len() >= per_node * 2 {
                break;
            }
            let kind = draws.below(workloads.len());
            let class = &workloads[kind];
            let pool = &node.shape.labels["pool"];
            let wrong = (class.node_selector.iter()).any(|r| r.values[0] != *pool);
            if wrong || class.requests.cpu_milli > left || !here.insert(kind) {
                continue;
            }
            left -= class.requests.cpu_milli;
            replicas[kind] += 1;
            world.cluster.bound.push(pod(serial, class, &node.name));
            serial += 1;
        }
        let price = HourlyPrice::new(Decimal::new(137 << size, 4));
        world.prices.insert(node.name.clone(), price);
        world.cluster.nodes.insert(node.name.clone(), node);
    }
    for (index, class) in workloads.iter().enumerate() {
        // A quarter of them, rounded up, may be away; a few allow nothing.
        let allowed = if index % 50 == 49 {
            0
        } else {
            replicas[index].div_ceil(4)
        };
        world.budgets.push(Budget {
            namespace: Arc::clone(&class.namespace),
            name: format!("app-{index}").into(),
            selector: app(index),
            allowed,
            healthy: false,
            unhealthy_always: false,
        });
    }
    world
}

/// A pod of one workload on every node.
fn apart_everywhere(world: &mut World) {
    let mut class = SchedulingClass::clone(&workload(100_000, &mut Draws(0)));
    class.requests.cpu_milli = 10;
    let class = Arc::new(class);
    for (index, name) in world.cluster.nodes.keys().enumerate() {
        let pod = pod(1_000_000 + index, &class, name);
        world.cluster.bound.push(pod);
    }
}

fn input<'a>(world: &'a World, leaving: &'a BTreeSet<NodeName>, limits: Limits) -> Input<'a> {
    let group = GroupKey::new("default", "all");
    let nodes = world.cluster.nodes.len() as u32;
    Input {
        cluster: &world.cluster,
        candidates: (world.prices.iter())
            .map(|(node, price)| Candidate {
                node: node.clone(),
                group: group.clone(),
                price: Some(*price),
            })
            .collect(),
        leaving,
        groups: [(
            group,
            Group {
                ready_nodes: nodes,
                min_nodes: 1,
                at_once: u32::MAX,
            },
        )]
        .into(),
        budgets: world.budgets.clone(),
        limits,
    }
}

/// What [`plan::plan`] looks at besides the cluster.
fn disruption(world: &World) -> Disruption {
    let pods = world.cluster.bound.iter();
    let owners = pods.map(|pod| (Uid::new(owner(&pod.class.labels)), 3));
    let sets = Workloads {
        replicas: owners.collect(),
        complete: true,
    };
    Disruption {
        budgets: Some(world.budgets.clone()),
        workloads: [(WorkloadKind::ReplicaSet, sets)].into(),
        usage: BTreeMap::new(),
    }
}

fn plan_input<'a>(
    world: &'a World,
    leaving: &'a BTreeSet<NodeName>,
    disruption: &'a Disruption,
    settings: &'a Settings,
) -> plan::Input<'a> {
    let key = GroupKey::new("default", "all");
    let minutes = std::time::Duration::from_mins;
    let group = plan::Group {
        min_nodes: 1,
        enabled: true,
        window: minutes(10),
        cooldown: minutes(10),
        last_scaled_at: None,
        in_flight: 0,
        deleting: false,
        paused: false,
        cpu_threshold: 50,
        memory_threshold: 50,
        at_once: u32::MAX,
    };
    let candidate = |(node, price): (&NodeName, &HourlyPrice)| plan::Candidate {
        node: node.clone(),
        machine: Some(format!("default/{node}")),
        group: Some(key.clone()),
        managed: true,
        ready_at: Some(Timestamp::UNIX_EPOCH),
        unneeded_since: None,
        protected_by: None,
        allowed_hours: None,
        startup_taints: vec![],
        control_plane: false,
        cordon: Cordon::None,
        own: false,
        savings: Some(*price),
        removal: None,
    };
    plan::Input {
        now: Timestamp::from_second(1_000_000).unwrap(),
        cluster: &world.cluster,
        leaving,
        disruption,
        candidates: world.prices.iter().map(candidate).collect(),
        groups: [(key.clone(), group)].into(),
        settings,
        brakes: Brakes {
            // Many look removable, and it has been seen.
            many_since: Some(Timestamp::UNIX_EPOCH),
            ..Brakes::default()
        },
    }
}

fn time_plans(wanted: impl Fn(&str) -> bool) {
    let leaving = BTreeSet::new();
    let settings = Settings {
        assume_unneeded: true,
        ..Settings::default()
    };
    for nodes in [1000, 5000] {
        if !wanted("plan") {
            continue;
        }
        let world = mixed(nodes, 30);
        let disruption = disruption(&world);
        let input = plan_input(&world, &leaving, &disruption, &settings);
        let (least, median, (plan, report)) = time(|| plan::plan(&input));
        let mut reasons: BTreeMap<&str, usize> = BTreeMap::new();
        for refusal in report.values().flatten() {
            *reasons.entry(refusal.name()).or_default() += 1;
        }
        println!(
            "{}",
            serde_json::json!({
                "workload": "plan", "nodes": nodes, "pods": world.cluster.bound.len(),
                "removed": plan.remove.len(), "removable": plan.many.map(|many| many.removable),
                "left": reasons, "leastMillis": least, "medianMillis": median,
            })
        );
    }
    if wanted("still") {
        let world = mixed(100, 7);
        let disruption = disruption(&world);
        let mut input = plan_input(&world, &leaving, &disruption, &settings);
        input.candidates[50].removal = Some((RemovalCause::Underutilized, RemovalStep::Settling));
        let machine = input.candidates[50].machine.clone().unwrap();
        let (least, median, still) = time(|| plan::still_removable(&input, &machine));
        println!(
            "{}",
            serde_json::json!({
                "workload": "still", "nodes": 100, "pods": world.cluster.bound.len(),
                "removable": still.is_ok(), "leastMillis": least, "medianMillis": median,
            })
        );
    }
}

/// The least and the median of some rounds, in milliseconds.
fn time<T>(mut what: impl FnMut() -> T) -> (f64, f64, T) {
    let rounds = std::env::var("ROUNDS").map_or(5, |text| text.parse().unwrap());
    let mut times = Vec::new();
    let mut last = None;
    for _ in 0..rounds {
        drop(last.take());
        let begun = Instant::now();
        last = Some(black_box(what()));
        times.push(begun.elapsed().as_secs_f64() * 1e3);
    }
    times.sort_by(f64::total_cmp);
    (times[0], times[times.len() / 2], last.unwrap())
}

fn main() {
    let only = std::env::args().nth(1);
    let wanted = |name: &str| only.as_ref().is_none_or(|only| only == name);
    time_plans(wanted);
    let leaving = BTreeSet::new();
    if wanted("equal") {
        let world = equal(2000);
        let input = input(&world, &leaving, Limits::NONE);
        let (least, median, plan) = time(|| choose(&input));
        println!(
            "{}",
            serde_json::json!({
                "workload": "equal", "nodes": 2000, "pods": world.cluster.bound.len(),
                "removed": plan.removals.len(), "moved": plan.disruptions(),
                "saved": plan.savings().to_string(), "leastMillis": least, "medianMillis": median,
            })
        );
    }
    for (workload, nodes) in [
        ("mixed", 64),
        ("mixed", 300),
        ("mixed", 700),
        ("mixed", 1000),
        ("mixed", 5000),
        ("stuck", 1000),
        ("stuck", 5000),
    ] {
        if !wanted(workload) {
            continue;
        }
        let mut world = mixed(nodes, 30);
        if workload == "stuck" {
            apart_everywhere(&mut world);
        }
        let limits = Limits {
            at_once: u32::MAX,
            ..Limits::default()
        };
        let input = input(&world, &leaving, limits);
        let (least, median, scan) = time(|| scan(&input));
        let mut reasons: BTreeMap<&str, usize> = BTreeMap::new();
        for reason in scan.plan.left.values().flatten() {
            *reasons.entry(reason.name()).or_default() += 1;
        }
        let alone = scan.alone.values().filter(|verdict| verdict.is_removable());
        println!(
            "{}",
            serde_json::json!({
                "workload": workload, "nodes": nodes, "pods": world.cluster.bound.len(),
                "alone": alone.count(), "removed": scan.plan.removals.len(),
                "moved": scan.plan.disruptions(), "saved": scan.plan.savings().to_string(),
                "left": reasons, "leastMillis": least, "medianMillis": median,
            })
        );
    }
    if wanted("one") {
        let world = mixed(100, 7);
        let input = input(&world, &leaving, Limits::default());
        let name = NodeName::new("node-00050");
        let (least, median, verdict) = time(|| judge(&input, &name));
        println!(
            "{}",
            serde_json::json!({
                "workload": "one", "nodes": 100, "pods": world.cluster.bound.len(),
                "removable": verdict.unwrap().is_removable(),
                "leastMillis": least, "medianMillis": median,
            })
        );
    }
}
