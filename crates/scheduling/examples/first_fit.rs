//! How long it takes to find the only node on which a pod fits, when it is the last of thousands;
//! prints one line of JSON.
//!
//! `cargo run --release -p scheduling --example first_fit -- [nodes]`
//!
//! Every node but the last runs a pod whose anti-affinity, by hostname, forbids the next of its
//! kind.
#![allow(clippy::unwrap_used, clippy::disallowed_methods)] // A measurement needs the wall clock.

use std::{hint::black_box, sync::Arc, time::Instant};

use model::{
    LabelSelector, Labels, Node, NodeName, NodeShape, Operator, PodTerm, Requirement, Resources,
    SchedulingClass, Surroundings,
};
use scheduling::{NodeId, PlacedPods, Snapshot};

const HOSTNAME: &str = "kubernetes.io/hostname";

fn node(index: usize) -> Node {
    let name = format!("node-{index:06}");
    Node {
        name: NodeName::new(&name),
        uid: None,
        shape: Arc::new(NodeShape {
            labels: Labels::from([
                (HOSTNAME.into(), name.as_str().into()),
                ("kubernetes.io/arch".into(), "amd64".into()),
                ("kubernetes.io/os".into(), "linux".into()),
            ]),
            allocatable: Resources {
                cpu_milli: 4000,
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

fn lonely() -> Arc<SchedulingClass> {
    let mut term = PodTerm {
        selector: Some(LabelSelector {
            requirements: vec![Requirement {
                key: "app".into(),
                operator: Operator::In,
                values: vec!["lonely".into()],
            }],
        }),
        topology_key: HOSTNAME.into(),
        ..PodTerm::default()
    };
    term.namespaces.names.insert("default".into());
    Arc::new(SchedulingClass {
        namespace: "default".into(),
        labels: Labels::from([("app".into(), "lonely".into())]),
        requests: Resources {
            cpu_milli: 100,
            memory: 128 << 20,
            pods: 1,
            ..Resources::default()
        },
        anti_affinity: vec![term],
        ..SchedulingClass::default()
    })
}

fn main() {
    let nodes: usize = std::env::args()
        .nth(1)
        .map_or(5001, |text| text.parse().unwrap());
    let class = lonely();
    let pods = (0..nodes - 1).map(|index| PlacedPods {
        node: NodeName::new(format!("node-{index:06}")),
        class: Arc::clone(&class),
        terminating: false,
        count: 1,
    });
    let mut snapshot = Snapshot::new(
        (0..nodes).map(node),
        pods,
        Arc::new(Surroundings::default()),
    );
    let id = snapshot.class(&class);
    let last = Some(NodeId(nodes as u32 - 1));
    let mut times: Vec<u128> = (0..500)
        .map(|_| {
            let start = Instant::now();
            let found = black_box(&snapshot).first_fit(id, NodeId(0));
            let time = start.elapsed().as_nanos();
            assert_eq!(found, last);
            time
        })
        .collect();
    times.sort_unstable();
    println!(
        r#"{{"workload":"W7","nodes":{nodes},"minimum_us":{:.2},"median_us":{:.2}}}"#,
        times[0] as f64 / 1000.0,
        times[times.len() / 2] as f64 / 1000.0,
    );
}
