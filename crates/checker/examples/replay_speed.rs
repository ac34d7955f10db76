//! How long plans take to be looked over; prints one line of JSON for each.
//!
//! `cargo run --release -p checker --example replay_speed`
#![allow(clippy::unwrap_used, clippy::disallowed_methods)] // A measurement needs the wall clock.

use std::{sync::Arc, time::Instant};

use checker::{Place, World, replay};
use model::{
    InclusionPolicy, LabelSelector, Labels, Namespaces, Node, NodeName, NodeShape, Operator,
    PodKey, PodTerm, Requirement, Resources, SchedulingClass, SpreadConstraint,
};

const HOSTNAME: &str = "kubernetes.io/hostname";
const ZONE: &str = "topology.kubernetes.io/zone";
const VALUES: usize = 7;

fn world(nodes: usize) -> (World, Vec<Place>) {
    let mut world = World::default();
    let mut places = Vec::new();
    for number in 0..nodes {
        let name = format!("node-{number:04}");
        let zone = format!("zone-{}", number % 3);
        let mut labels: Labels = (0..6)
            .map(|label| (format!("label-{label}").into(), "value".into()))
            .collect();
        labels.insert(HOSTNAME.into(), name.as_str().into());
        labels.insert(ZONE.into(), zone.as_str().into());
        places.push(world.add(Node {
            name: NodeName::new(&name),
            uid: None,
            shape: Arc::new(NodeShape {
                labels,
                allocatable: Resources {
                    cpu_milli: 64_000,
                    memory: 256 << 30,
                    pods: 110,
                    ..Resources::default()
                },
                ..NodeShape::default()
            }),
            ready: true,
            created_at: None,
            defect: None,
        }));
    }
    (world, places)
}

/// Pods that ask for CPU and memory, and carry one of a few values of a label.
fn plain(kind: usize) -> SchedulingClass {
    SchedulingClass {
        namespace: "default".into(),
        labels: [("my-label".into(), format!("{}", kind % VALUES).into())].into(),
        requests: Resources {
            cpu_milli: 100 + 10 * (kind as i64 % 150),
            memory: (100 + kind as i64 % 400) << 20,
            pods: 1,
            ..Resources::default()
        },
        ..SchedulingClass::default()
    }
}

fn of_value(value: usize) -> LabelSelector {
    LabelSelector {
        requirements: vec![Requirement {
            key: "my-label".into(),
            operator: Operator::In,
            values: vec![format!("{value}").into()],
        }],
    }
}

fn term(value: usize, key: &str) -> PodTerm {
    PodTerm {
        selector: Some(of_value(value)),
        namespaces: Namespaces {
            names: ["default".into()].into(),
            selector: None,
        },
        topology_key: key.into(),
    }
}

/// A fifth each: plain, spread over zones, over hosts, near its own kind in a zone, apart from it.
fn ruled(pod: usize) -> SchedulingClass {
    let (rule, value) = (pod % 5, pod / 5 % VALUES);
    let spread = |key: &str| SpreadConstraint {
        topology_key: key.into(),
        max_skew: 1,
        min_domains: 1,
        selector: Some(of_value(value)),
        node_affinity_policy: InclusionPolicy::Honor,
        node_taints_policy: InclusionPolicy::Ignore,
    };
    let mut class = plain(value);
    match rule {
        0 => {}
        1 => class.spread = vec![spread(ZONE)],
        2 => class.spread = vec![spread(HOSTNAME)],
        3 => class.affinity = vec![term(value, ZONE)],
        _ => class.anti_affinity = vec![term(value, HOSTNAME)],
    }
    class
}

/// Puts each pod onto the next node in turn, whether or not it may be there: the questions are the
/// same.
fn measure(name: &str, nodes: usize, pods: usize, class: impl Fn(usize) -> SchedulingClass) {
    let (mut world, places) = world(nodes);
    let keys: Vec<PodKey> = (0..pods)
        .map(|pod| PodKey::new("default", format!("pod-{pod}")))
        .collect();
    let classes: Vec<Arc<SchedulingClass>> = (0..pods).map(|pod| Arc::new(class(pod))).collect();
    let plan = keys.iter().zip(&classes).zip(places.iter().cycle());
    let started = Instant::now();
    let violations = replay(
        &mut world,
        plan.map(|((key, class), place)| (key, class, *place)),
    );
    let seconds = started.elapsed().as_secs_f64();
    println!(
        "{{\"plan\":\"{name}\",\"nodes\":{nodes},\"pods\":{pods},\"violations\":{},\"seconds\":{seconds:.3}}}",
        violations.len()
    );
}

fn main() {
    measure("plain, 30 classes", 2_595, 51_000, |pod| plain(pod % 30));
    measure("plain, many classes", 2_595, 51_000, plain);
    measure("a fifth each", 2_000, 10_000, ruled);
    measure("a fifth each", 4_000, 20_000, ruled);
}
