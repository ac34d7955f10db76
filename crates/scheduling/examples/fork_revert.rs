//! How long it takes to fork, add a node with pods, and revert, in clusters of different sizes;
//! prints one line of JSON.
//!
//! `cargo run --release -p scheduling --example fork_revert -- [nodes…]`
//!
//! The pods added are of different classes, a third of them with anti-affinity by hostname, a third
//! with a spread constraint by zone; each node of the cluster runs pods of them, too.
#![allow(clippy::unwrap_used, clippy::disallowed_methods)] // A measurement needs the wall clock.

use std::{hint::black_box, sync::Arc, time::Instant};

use model::{
    InclusionPolicy, LabelSelector, Labels, Node, NodeName, NodeShape, Operator, PodTerm,
    Requirement, Resources, SchedulingClass, SpreadConstraint, Surroundings,
};
use scheduling::{ClassId, PlacedPods, Snapshot};

const HOSTNAME: &str = "kubernetes.io/hostname";
const ZONE: &str = "topology.kubernetes.io/zone";
const CLASSES: usize = 30;
const ROUNDS: usize = 20_000;

fn node(index: usize) -> Node {
    let name = format!("node-{index:06}");
    let label = |key: &str, value: &str| (Arc::from(key), Arc::from(value));
    Node {
        name: NodeName::new(&name),
        uid: None,
        shape: Arc::new(NodeShape {
            labels: Labels::from([
                label(HOSTNAME, &name),
                label(ZONE, ["a", "b", "c"][index % 3]),
                label("kubernetes.io/arch", "amd64"),
                label("kubernetes.io/os", "linux"),
                label("node.kubernetes.io/instance-type", "small"),
                label("topology.kubernetes.io/region", "r"),
            ]),
            allocatable: Resources {
                cpu_milli: 16_000,
                memory: 64 << 30,
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

fn class(index: usize) -> Arc<SchedulingClass> {
    let app: Arc<str> = format!("app-{index}").into();
    let selector = LabelSelector {
        requirements: vec![Requirement {
            key: "app".into(),
            operator: Operator::In,
            values: vec![Arc::clone(&app)],
        }],
    };
    let mut class = SchedulingClass {
        namespace: "default".into(),
        labels: Labels::from([("app".into(), app)]),
        requests: Resources {
            cpu_milli: 100 + index as i64,
            memory: 128 << 20,
            pods: 1,
            ..Resources::default()
        },
        ..SchedulingClass::default()
    };
    match index % 3 {
        0 => {
            let mut term = PodTerm {
                selector: Some(selector),
                topology_key: HOSTNAME.into(),
                ..PodTerm::default()
            };
            term.namespaces.names.insert("default".into());
            class.anti_affinity = vec![term];
        }
        1 => {
            class.spread = vec![SpreadConstraint {
                topology_key: ZONE.into(),
                max_skew: 1,
                min_domains: 1,
                selector: Some(selector),
                node_affinity_policy: InclusionPolicy::Honor,
                node_taints_policy: InclusionPolicy::Ignore,
            }];
        }
        _ => {}
    }
    Arc::new(class)
}

/// The least and the median time of one round, in microseconds.
fn measure(snapshot: &mut Snapshot, classes: &[ClassId], pods: usize, new: &Node) -> [f64; 2] {
    let mut times: Vec<u128> = Vec::with_capacity(20);
    for _ in 0..20 {
        let start = Instant::now();
        for round in 0..ROUNDS / 20 {
            snapshot.fork();
            // Every other one as a copy, which needs a hostname of its own.
            let node = if round % 2 == 0 {
                snapshot.add_node(new.clone())
            } else {
                snapshot.add_copy(new, new.name.clone())
            };
            for index in 0..pods {
                snapshot.place(node, classes[index % classes.len()], false);
            }
            black_box(&mut *snapshot).revert();
        }
        times.push(start.elapsed().as_nanos() * 20 / ROUNDS as u128);
    }
    times.sort_unstable();
    [times[0], times[times.len() / 2]].map(|time| time as f64 / 1000.0)
}

fn main() {
    let mut sizes: Vec<usize> = std::env::args()
        .skip(1)
        .map(|text| text.parse().unwrap())
        .collect();
    if sizes.is_empty() {
        sizes = vec![1000, 10_000, 100_000];
    }
    let classes: Vec<_> = (0..CLASSES).map(class).collect();
    let mut results = Vec::new();
    for size in sizes {
        let pods = (0..size).flat_map(|index| {
            let classes = &classes;
            (0..3).map(move |offset| PlacedPods {
                node: NodeName::new(format!("node-{index:06}")),
                class: Arc::clone(&classes[(index + offset * 7) % CLASSES]),
                terminating: false,
                count: 1,
            })
        });
        let start = Instant::now();
        let mut snapshot =
            Snapshot::new((0..size).map(node), pods, Arc::new(Surroundings::default()));
        let ids = snapshot.classes(&classes);
        let built = start.elapsed().as_millis();
        let digest = snapshot.digest();
        let new = node(size);
        let times: Vec<String> = [0, 1, 30]
            .map(|pods| {
                let [least, median] = measure(&mut snapshot, &ids, pods, &new);
                format!(r#"{{"pods":{pods},"minimum_us":{least:.2},"median_us":{median:.2}}}"#)
            })
            .into();
        let same = snapshot.digest() == digest;
        results.push(format!(
            r#"{{"nodes":{size},"built_ms":{built},"added":[{}],"digest_equal":{same}}}"#,
            times.join(",")
        ));
    }
    println!(r#"{{"workload":"W8","results":[{}]}}"#, results.join(","));
}
