//! How long one scale-up plan takes at the size the product is made for; prints one line of JSON.
//!
//! `cargo run --release -p planner --example scale_up_speed -- [nodes] [pods] [pending] [groups] [workloads]`
//!
//! `workloads` is how many different kinds of pods wait, and how many run.
#![allow(clippy::unwrap_used, clippy::disallowed_methods)] // A measurement needs the wall clock.

use std::{collections::BTreeSet, sync::Arc, time::Instant};

use jiff::Timestamp;
use model::{
    Cluster, GroupKey, HourlyPrice, Labels, Node, NodeName, NodeShape, Offering, Operator, Pod,
    PodKey, PodRole, PodState, Requirement, Resources, SchedulingClass, Uid,
};
use planner::{
    audit,
    scale_up::{Choice, Group, Input, Limits, Placement, plan},
};
use rust_decimal::Decimal;

const OFFERINGS: u32 = 5;

fn class(workload: i64, pool: Option<&str>) -> Arc<SchedulingClass> {
    let mut class = SchedulingClass {
        namespace: format!("team-{}", workload % 20).into(),
        requests: Resources {
            cpu_milli: 50 + (workload * 37) % 1900,
            memory: (64 + (workload * 91) % 3500) << 20,
            pods: 1,
            ..Resources::default()
        },
        ..SchedulingClass::default()
    };
    if let Some(pool) = pool {
        class.node_selector = vec![Requirement {
            key: "pool".into(),
            operator: Operator::In,
            values: vec![pool.into()],
        }];
    }
    Arc::new(class)
}

fn groups(count: usize) -> Vec<Group> {
    (0..count)
        .map(|index| Group {
            key: GroupKey::new("kube-system", format!("group-{index:03}")),
            min_nodes: 0,
            max_nodes: 500,
            existing: 10,
            serving: 10,
            in_flight: vec![],
            choices: (1..=OFFERINGS)
                .map(|size| Choice {
                    offering: Offering {
                        id: format!("size-{size}").into(),
                        size: format!("{size}").into(),
                        cpus: 1 << size,
                        memory_mib: 2048 << size,
                        disk_gib: 80,
                        price: Some(HourlyPrice::new(Decimal::new(
                            i64::from(100 + size) << size,
                            4,
                        ))),
                    },
                    learned: None,
                    backoff: None,
                })
                .collect(),
            preferred: None,
            labels: Labels::from([("pool".into(), format!("pool-{}", index % 10).into())]),
            taints: vec![],
            startup_taints: vec![],
            datacenter: "hel".into(),
            enabled: true,
            deleting: false,
            invalid: None,
        })
        .collect()
}

/// Nodes with the room of their pods and a little more, the pods that run and those that wait.
fn cluster(nodes: usize, pods: usize, pending: usize, workloads: i64) -> Cluster {
    let per_node = pods / nodes.max(1);
    let name = |index: usize| NodeName::new(format!("node-{index:05}"));
    let classes: Vec<Arc<SchedulingClass>> = (0..workloads)
        .map(|workload| class(workload, None))
        .collect();
    let rows = (0..nodes).map(|index| Node {
        name: name(index),
        uid: None,
        shape: Arc::new(NodeShape {
            labels: Labels::from([
                ("pool".into(), format!("pool-{}", index % 10).into()),
                ("kubernetes.io/hostname".into(), name(index).as_str().into()),
            ]),
            allocatable: Resources {
                cpu_milli: 1010 * i64::try_from(per_node).unwrap(),
                memory: i64::try_from(per_node << 31).unwrap(),
                pods: 110,
                ..Resources::default()
            },
            ..NodeShape::default()
        }),
        ready: true,
        created_at: None,
        defect: None,
    });
    let pod = |prefix: &str, index: usize, class: &Arc<SchedulingClass>, state: PodState| {
        Arc::new(Pod {
            key: PodKey::new("default", format!("{prefix}-{index:06}")),
            uid: Uid::new(format!("{index}")),
            class: Arc::clone(class),
            state,
            role: PodRole::Ordinary,
            terminating: None,
            nominated: None,
            created_at: None,
        })
    };
    let bound = (0..nodes * per_node).map(|index| {
        let state = PodState::Bound(name(index / per_node.max(1)));
        pod("running", index, &classes[index % classes.len()], state)
    });
    let waiting_classes: Vec<Arc<SchedulingClass>> = (0..workloads)
        .map(|workload| class(workload * 3 + 700, Some(&format!("pool-{}", workload % 10))))
        .collect();
    let waiting = (0..pending)
        .map(|index| {
            let class = &waiting_classes[index % waiting_classes.len()];
            let state = PodState::Unschedulable(Timestamp::UNIX_EPOCH);
            pod("pending", index, class, state)
        })
        .collect();
    Cluster {
        nodes: rows.map(|node| (node.name.clone(), node)).collect(),
        bound: bound.collect(),
        waiting,
        ..Cluster::default()
    }
}

fn main() {
    let mut arguments = std::env::args().skip(1).map(|text| text.parse().unwrap());
    let mut size = |default: usize| arguments.next().unwrap_or(default);
    let (nodes, pods, pending, group_count) = (size(1000), size(30_000), size(1000), size(20));
    let workloads = i64::try_from(size(200)).unwrap();
    let begun = Instant::now();
    let cluster = cluster(nodes, pods, pending, workloads);
    let built = begun.elapsed();
    let input = Input {
        now: Timestamp::UNIX_EPOCH,
        cluster,
        leaving: BTreeSet::new(),
        groups: groups(group_count),
        daemon_sets: (0..5).map(|workload| class(workload, None)).collect(),
        limits: Limits::default(),
    };
    let begun = Instant::now();
    let (chosen, report) = plan(&input);
    let planned = begun.elapsed();
    let begun = Instant::now();
    let violations = audit::scale_up(&input, &chosen);
    let audited = begun.elapsed();
    let price: HourlyPrice = chosen
        .create
        .iter()
        .filter_map(|create| create.price.map(|price| price.times(create.count as usize)))
        .sum();
    let on = |wanted: fn(&Placement) -> bool| report.pods.values().filter(|p| wanted(p)).count();
    println!(
        "{}",
        serde_json::json!({
            "nodes": nodes,
            "pods": pods,
            "pending": pending,
            "workloads": workloads,
            "groups": group_count,
            "kinds": group_count * OFFERINGS as usize,
            "clusterMillis": built.as_secs_f64() * 1e3,
            "planMillis": planned.as_secs_f64() * 1e3,
            "auditMillis": audited.as_secs_f64() * 1e3,
            "machines": chosen.machines(),
            "volumeBound": report.volume_bound,
            "hourlyPrice": price.to_string(),
            "priceBound": report.price_bound.map(|bound| bound.to_string()),
            "onExisting": on(|p| matches!(p, Placement::Existing(_))),
            "onNew": on(|p| matches!(p, Placement::New(..))),
            "left": on(|p| matches!(p, Placement::Left(_))),
            "violations": violations.len(),
        })
    );
}
