//! What people write on a Node to keep it: the node stays and takes pods as long as it is there,
//! and goes once it is not.

use serde_json::{Value, json};

use crate::harness::{Harness, settled, virtually};

const PREFIX: &str = "autoscaler.vpsie.com";

/// The single node's name.
fn only_node(harness: &Harness) -> String {
    let view = harness.world.view();
    assert_eq!(view.vpsie_nodes.len(), 1, "{}", harness.picture());
    view.vpsie_nodes
        .values()
        .next()
        .unwrap()
        .node
        .clone()
        .unwrap()
}

async fn write(harness: &Harness, node: &str, metadata: Value) {
    let mut object = json!({ "apiVersion": "v1", "kind": "Node", "metadata": metadata });
    object["metadata"]["name"] = json!(node);
    harness.world.apply(&object).await.unwrap();
}

/// A node of a group that wants none any more, kept by `metadata` alone, for an hour; then
/// `metadata` is taken away.
fn keeps_its_node_until_it_is_removed(seed: u64, metadata: Value, reason: &'static str) {
    virtually(move || async move {
        let harness = Harness::new(seed).await;
        harness.group("general", 1, 4, json!({})).await;
        let replica = harness.start();
        harness.wait(20, "one node", settled(1)).await;
        let node = only_node(&harness);
        write(&harness, &node, metadata).await;
        harness.group("general", 0, 4, json!({})).await;
        harness.minutes(60).await;
        let view = harness.world.view();
        let row = view.nodes.get(&node);
        assert!(
            row.is_some_and(|row| row.ready && !row.unschedulable),
            "{}",
            harness.picture()
        );
        assert_eq!((harness.bought(), harness.paid()), (1, 1));
        let told: Vec<&str> = view
            .decisions
            .iter()
            .filter(|decision| decision.reason == "ScaleDownBlocked")
            .map(|decision| decision.message.as_str())
            .collect();
        assert_eq!(told.len(), 1, "{told:?}");
        assert!(told[0].contains(reason), "{told:?}");
        let figure = format!(
            "vpsie_autoscaler_scale_down_blocked_nodes{{nodegroup=\"general\",\
             namespace=\"kube-system\",reason=\"{reason}\"}}"
        );
        assert!(replica.metrics().contains(&format!("{figure} 1\n")));

        write(&harness, &node, json!({})).await;
        harness.wait(20, "the node goes", settled(0)).await;
        assert_eq!((harness.bought(), harness.paid()), (1, 0));
        assert!(replica.metrics().contains(&format!("{figure} 0\n")));
        replica.stop().await;
    });
}

#[test]
fn a_node_with_the_protected_annotation_stays_until_that_is_removed() {
    let metadata = json!({ "annotations": { format!("{PREFIX}/protected"): "true" } });
    keeps_its_node_until_it_is_removed(601, metadata, "Protected");
}

#[test]
fn a_node_with_the_scale_down_disabled_label_stays_until_that_is_removed() {
    let metadata = json!({ "labels": { format!("{PREFIX}/scale-down-disabled"): "true" } });
    keeps_its_node_until_it_is_removed(602, metadata, "Protected");
}

#[test]
fn a_node_with_the_scale_down_annotation_stays_until_that_is_removed() {
    let metadata = json!({ "annotations": { format!("{PREFIX}/scale-down"): "disabled" } });
    keeps_its_node_until_it_is_removed(603, metadata, "Protected");
}

#[test]
fn a_node_with_allowed_hours_stays_outside_them_until_they_are_removed() {
    let hours = json!({ format!("{PREFIX}/scale-down-allowed-hours"): "22:00-06:00" });
    let metadata = json!({ "annotations": hours });
    keeps_its_node_until_it_is_removed(604, metadata, "OutsideAllowedHours");
}

#[test]
fn a_node_goes_in_its_allowed_hours() {
    virtually(|| async {
        let harness = Harness::new(607).await;
        harness.group("general", 1, 4, json!({})).await;
        let replica = harness.start();
        harness.wait(20, "one node", settled(1)).await;
        let node = only_node(&harness);
        let hours = json!({ format!("{PREFIX}/scale-down-allowed-hours"): "00:00-23:59" });
        write(&harness, &node, json!({ "annotations": hours })).await;
        harness.group("general", 0, 4, json!({})).await;
        harness.wait(20, "the node goes", settled(0)).await;
        assert_eq!((harness.bought(), harness.paid()), (1, 0));
        replica.stop().await;
    });
}

#[test]
fn a_group_that_gives_its_nodes_allowed_hours_keeps_them_all() {
    virtually(|| async {
        let harness = Harness::new(605).await;
        let hours = json!({ format!("{PREFIX}/scale-down-allowed-hours"): "22:00-06:00" });
        let annotations = json!({ "annotations": hours });
        harness.group("general", 2, 4, annotations.clone()).await;
        let replica = harness.start();
        harness.wait(20, "two nodes", settled(2)).await;
        let mut fewer = annotations;
        fewer["minNodes"] = json!(0);
        harness.group("general", 0, 4, fewer).await;
        harness.minutes(60).await;
        assert!(settled(2)(&harness.world.view()), "{}", harness.picture());
        assert!(
            harness
                .world
                .view()
                .nodes
                .values()
                .all(|row| !row.unschedulable)
        );
        harness.group("general", 0, 4, json!({})).await;
        harness.wait(30, "both nodes go", settled(0)).await;
        assert_eq!((harness.bought(), harness.paid()), (2, 0));
        replica.stop().await;
    });
}

#[test]
fn protection_that_comes_while_the_node_settles_takes_the_removal_back() {
    virtually(|| async {
        let harness = Harness::new(606).await;
        harness.group("general", 1, 4, json!({})).await;
        let replica = harness.start();
        harness.wait(20, "one node", settled(1)).await;
        let node = only_node(&harness);
        harness.group("general", 0, 4, json!({})).await;
        harness
            .wait(20, "the node is cordoned", |view| {
                view.nodes.get(&node).is_some_and(|row| row.unschedulable)
            })
            .await;
        let hours = json!({ format!("{PREFIX}/scale-down-allowed-hours"): "22:00-06:00" });
        write(&harness, &node, json!({ "annotations": hours })).await;
        harness
            .wait(5, "uncordoned", |view| {
                view.nodes.get(&node).is_some_and(|row| !row.unschedulable)
            })
            .await;
        harness.minutes(30).await;
        assert_eq!(only_node(&harness), node);
        assert_eq!((harness.bought(), harness.paid()), (1, 1));
        replica.stop().await;
    });
}
