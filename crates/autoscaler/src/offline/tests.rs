//! A dump as the planner gets it.

use model::NodeName;
use serde_json::{Value, json};

use super::*;

const SMALL: &str =
    r#"[{"id": "small", "capacity": {"cpu": "2", "memory": "4Gi"}, "hourlyPrice": "0.01"}]"#;

fn read(items: &[Value]) -> Dump {
    let text = json!({"kind": "List", "apiVersion": "v1", "items": items}).to_string();
    let dump = Dump::from_slice(text.as_bytes()).unwrap();
    assert!(dump.problems.is_empty(), "{:?}", dump.problems);
    dump
}

fn given(items: &[Value], offerings: Option<&str>) -> Input {
    let catalogue = offerings.map(|text| Catalogue::read(text).unwrap());
    input(read(items), catalogue.as_ref())
}

fn group(name: &str, managed: &str) -> Value {
    json!({"apiVersion": "autoscaler.vpsie.com/v1alpha1", "kind": "NodeGroup",
        "metadata": {"name": name, "namespace": "any",
            "labels": {"autoscaler.vpsie.com/managed": managed}},
        "spec": {"minNodes": 0, "maxNodes": 9, "datacenterID": "hel", "offeringIDs": ["small"]}})
}

fn machine(name: &str, status: &Value) -> Value {
    json!({"apiVersion": "autoscaler.vpsie.com/v1alpha1", "kind": "VPSieNode",
        "metadata": {"name": name, "namespace": "any"},
        "spec": {"nodeGroupName": "ours", "instanceType": "small", "datacenterID": "hel"},
        "status": status})
}

fn node(name: &str, taints: &[&str], cordoned: bool) -> Value {
    let ours = taints.contains(&"autoscaler.vpsie.com/removing");
    let mark = ours.then(|| json!({"autoscaler.vpsie.com/cordoned-by": "the machine"}));
    let taints = taints
        .iter()
        .map(|key| json!({"key": key, "effect": "NoSchedule"}));
    json!({"apiVersion": "v1", "kind": "Node",
        "metadata": {"name": name, "annotations": mark},
        "spec": {"unschedulable": cordoned, "taints": taints.collect::<Vec<_>>()},
        "status": {"allocatable": {"cpu": "1900m", "memory": "3Gi", "pods": "110"},
            "conditions": [{"type": "Ready", "status": "True"}]}})
}

fn removal(cause: &str, step: &str) -> Value {
    let time = "2026-01-01T00:00:00Z";
    json!({"cause": cause, "step": step, "startedAt": time, "stepAt": time})
}

#[test]
fn managed_groups_count_with_the_machines_they_have_and_wait_for() {
    let input = given(
        &[
            group("ours", "true"),
            group("theirs", "false"),
            machine("a", &json!({"phase": "Ready", "nodeName": "n"})),
            machine("b", &json!({"phase": "Joining", "nodeName": "joined"})),
            machine("c", &json!({"phase": "Provisioning"})),
            node("n", &[], false),
            node("joined", &["node.kubernetes.io/not-ready"], false),
        ],
        Some(SMALL),
    );
    assert_eq!(input.groups.len(), 1);
    let group = &input.groups[0];
    assert_eq!((group.existing, group.serving), (3, 3));
    assert_eq!(group.invalid, None, "no dump names the VPSie cluster");
    let in_flight: Vec<_> = group
        .in_flight
        .iter()
        .map(|one| {
            (
                one.machine.as_str(),
                one.node.as_ref().map(NodeName::as_str),
            )
        })
        .collect();
    assert_eq!(in_flight, [("b", Some("joined")), ("c", None)]);
    let shown = group.choices[0].learned.as_ref().unwrap();
    assert_eq!(shown.allocatable.memory, 3 << 30, "as its Ready node shows");
}

#[test]
fn what_the_file_states_of_an_offering_wins_over_what_its_nodes_show() {
    let stated = "- {id: small, capacity: {cpu: 2}, allocatable: {cpu: 1500m}}";
    let items = [
        group("ours", "true"),
        machine("a", &json!({"phase": "Ready", "nodeName": "n"})),
        node("n", &[], false),
    ];
    let input = given(&items, Some(stated));
    let shown = input.groups[0].choices[0].learned.as_ref().unwrap();
    assert_eq!(shown.allocatable.cpu_milli, 1500);
}

#[test]
fn without_a_catalogue_groups_are_there_and_say_why_they_cannot_grow() {
    let input = given(&[group("ours", "true")], None);
    assert!(input.groups[0].choices.is_empty());
    let why = input.groups[0].invalid.as_deref().unwrap();
    assert!(why.contains("no offerings were given"), "{why}");
}

#[test]
fn nodes_are_as_they_will_be_once_what_ends_by_itself_has_ended() {
    let removing = "autoscaler.vpsie.com/removing";
    let unschedulable = "node.kubernetes.io/unschedulable";
    let removed = |node: &str, removal: &Value| {
        let status = json!({"phase": "Ready", "nodeName": node, "removal": removal});
        machine(node, &status)
    };
    let input = given(
        &[
            group("ours", "true"),
            node(
                "serving-soon",
                &["node.kubernetes.io/unreachable", "other"],
                false,
            ),
            node("returning", &[removing, unschedulable], true),
            node("cordoned-by-a-human", &[unschedulable], true),
            node("leaving", &[removing], true),
            removed("returning", &removal("Empty", "Draining")),
            removed("cordoned-by-a-human", &removal("Empty", "Cordoning")),
            removed("leaving", &removal("Empty", "DeletingNode")),
        ],
        Some(SMALL),
    );
    let shape = |name: &str| {
        let node = &input.cluster.nodes[&NodeName::new(name)];
        let taints: Vec<String> = node
            .shape
            .taints
            .iter()
            .map(|t| t.key.to_string())
            .collect();
        (taints, node.shape.unschedulable)
    };
    assert_eq!(shape("serving-soon"), (vec!["other".to_owned()], false));
    assert_eq!(shape("returning"), (vec![], false));
    assert_eq!(
        shape("cordoned-by-a-human"),
        (vec![unschedulable.to_owned()], true)
    );
    let leaving: Vec<&str> = input.leaving.iter().map(NodeName::as_str).collect();
    assert_eq!(leaving, ["leaving"]);
}

#[test]
fn every_pod_that_waits_counts_now_but_those_that_are_gated() {
    let pod = |name: &str, condition: Value| {
        json!({"apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": name, "namespace": "a",
                "creationTimestamp": "2026-01-01T11:00:00Z"},
            "spec": {"containers": [{"name": "c"}]}, "status": {"conditions": [condition]}})
    };
    let condition = |reason: &str| {
        json!({"type": "PodScheduled", "status": "False", "reason": reason,
            "lastTransitionTime": "2026-01-01T10:00:00Z"})
    };
    let input = given(
        &[
            pod("a", condition("Unschedulable")),
            pod("b", json!({})),
            pod("c", condition("SchedulingGated")),
        ],
        None,
    );
    assert_eq!(input.now, "2026-01-01T11:00:00Z".parse().unwrap());
    let counts = input
        .cluster
        .waiting
        .iter()
        .map(|pod| matches!(pod.state, PodState::Unschedulable(since) if since <= input.now));
    assert_eq!(counts.collect::<Vec<_>>(), [true, true, false]);
}
