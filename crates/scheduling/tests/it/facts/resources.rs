//! NodePorts and NodeResourcesFit; how requests come about is the intake's part (F13 to F16).

use model::{Protocol, Resources, SchedulingClass};
use scheduling::{Failure, Filter};

use crate::cluster::{Cluster, node, node_with, pod, port};

fn with_port(protocol: Protocol, address: &str) -> SchedulingClass {
    pod("a", "", |class| {
        class.host_ports = vec![port(protocol, address, 80)];
    })
}

#[test]
fn f10_only_the_unspecified_ipv4_address_stands_for_all() {
    let clash = |taken: (Protocol, &str), wanted: (Protocol, &str)| {
        let cluster = Cluster::of([node("n1", "")]).runs("n1", with_port(taken.0, taken.1));
        cluster.hosts(with_port(wanted.0, wanted.1)).is_empty()
    };
    let tcp = Protocol::Tcp;
    assert!(clash((tcp, "0.0.0.0"), (tcp, "10.0.0.1")));
    assert!(clash((tcp, "10.0.0.1"), (tcp, "0.0.0.0")));
    assert!(clash((tcp, "10.0.0.1"), (tcp, "10.0.0.1")));
    assert!(clash((tcp, "::"), (tcp, "0.0.0.0")));
    assert!(clash((tcp, ""), (tcp, "10.0.0.1")));
    assert!(!clash((tcp, "10.0.0.1"), (tcp, "10.0.0.2")));
    assert!(!clash((tcp, "::"), (tcp, "10.0.0.1")));
    assert!(!clash((tcp, "0.0.0.0"), (Protocol::Udp, "0.0.0.0")));
    let other = pod("a", "", |class| {
        class.host_ports = vec![port(tcp, "0.0.0.0", 81)];
    });
    let cluster = Cluster::of([node("n1", "")]).runs("n1", with_port(tcp, "0.0.0.0"));
    assert_eq!(cluster.hosts(other), ["n1"]);
}

#[test]
fn a_port_of_a_pod_that_ends_is_taken_and_named() {
    let cluster = Cluster::of([node("n1", "")]).ends("n1", with_port(Protocol::Udp, "0.0.0.0"));
    let reasons = cluster.reasons(with_port(Protocol::Udp, "10.0.0.1"), "n1");
    assert_eq!(reasons[0].filter(), Filter::NodePorts);
    assert_eq!(
        reasons[0].to_string(),
        "host port UDP 10.0.0.1:80 is taken by a running pod"
    );
}

fn asking(cpu_milli: i64, memory: i64) -> SchedulingClass {
    pod("a", "", |class| {
        (class.requests.cpu_milli, class.requests.memory) = (cpu_milli, memory);
    })
}

#[test]
fn f11_what_is_not_asked_for_is_not_compared_but_pods_always_are() {
    let small = |pods| {
        node_with("n1", "", |shape| {
            shape.allocatable = Resources {
                cpu_milli: 1000,
                memory: 100,
                pods,
                ..Resources::default()
            };
        })
    };
    let cluster = Cluster::of([small(3)]).runs("n1", asking(0, 500));
    assert_eq!(cluster.hosts(asking(1000, 0)), ["n1"]);
    assert!(cluster.hosts(asking(1001, 0)).is_empty());
    assert!(cluster.hosts(asking(0, 1)).is_empty());
    let cluster = Cluster::of([small(3)]).runs("n1", asking(2000, 0));
    assert_eq!(cluster.hosts(asking(0, 100)), ["n1"]);
    let cluster = Cluster::of([small(1)]).runs("n1", asking(0, 0));
    assert_eq!(cluster.refusals(asking(0, 0)), [[Filter::NodeResourcesFit]]);
}

#[test]
fn f12_what_is_missing_from_allocatable_is_none_pods_included() {
    let bare = node_with("n1", "", |shape| shape.allocatable = Resources::default());
    let mut gpu = asking(0, 0);
    gpu.requests.extended.insert("example.com/gpu".into(), 1);
    let names: Vec<String> = Cluster::of([bare])
        .reasons(gpu, "n1")
        .into_iter()
        .map(|failure| match failure {
            Failure::InsufficientResource { resource, .. } => resource,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(names, ["pods", "example.com/gpu"]);
}

#[test]
fn a_request_beyond_all_bounds_is_taken_back_without_a_trace() {
    let cluster = Cluster::of([node("n1", "")])
        .runs("n1", asking(0, i64::MAX))
        .runs("n1", asking(0, i64::MAX));
    let mut snapshot = cluster.snapshot();
    let node = snapshot.nodes().next().unwrap();
    let before = snapshot.free(node);
    let class = snapshot.class(&std::sync::Arc::new(asking(1, i64::MAX)));
    snapshot.fork();
    snapshot.place_many(node, class, false, 3);
    snapshot.revert();
    assert_eq!(snapshot.free(node), before);
}

#[test]
fn f16_pods_on_nodes_that_are_not_there_do_not_exist() {
    let cluster = Cluster::of([node("n1", "")]).runs("gone", with_port(Protocol::Tcp, ""));
    assert_eq!(cluster.hosts(with_port(Protocol::Tcp, "")), ["n1"]);
}
