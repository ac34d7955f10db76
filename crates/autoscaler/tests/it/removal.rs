//! Removals that are interrupted, ordered by people, or meet pods on the way.

mod aborts;
pub mod ground;
mod joint;
mod kinds;
mod refusals;

use std::time::Duration;

use serde_json::json;
use vpsie_autoscaler::Replica;
use vpsie_sim::{Fault, Route, Rule};

use crate::harness::{Harness, all_running, settled, virtually};

const OURS: &str = "autoscaler.vpsie.com/v1alpha1";

/// The single VPSieNode's name and its Node's.
fn only_node(harness: &Harness) -> (String, String) {
    let view = harness.world.view();
    assert_eq!(view.vpsie_nodes.len(), 1, "{}", harness.picture());
    let (key, node) = view.vpsie_nodes.first_key_value().unwrap();
    let name = key.split_once('/').unwrap().1.to_owned();
    (name, node.node.clone().unwrap())
}

/// A group that buys a node for one pod.
async fn one_node(seed: u64) -> (Harness, Replica, String) {
    let harness = Harness::new(seed).await;
    harness.group("general", 0, 4, json!({})).await;
    let replica = harness.start();
    harness.deployment("web", 1, "800m", None).await;
    harness.wait(20, "the pod runs", all_running(1)).await;
    let (_, node) = only_node(&harness);
    (harness, replica, node)
}

/// The pod goes, and its node is about to.
async fn cordoned(harness: &Harness, node: &str) {
    harness.world.scale("default", "web", 0).await.unwrap();
    harness
        .wait(20, "the node is cordoned", |view| {
            view.nodes.get(node).is_some_and(|row| row.unschedulable)
        })
        .await;
}

#[test]
fn a_pod_that_lands_after_the_cordon_takes_the_removal_back_and_the_node_stays() {
    virtually(|| async {
        let (harness, replica, node) = one_node(201).await;
        cordoned(&harness, &node).await;
        // Bound before the scheduler heard of the cordon.
        let pod = json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": { "name": "late", "namespace": "default" },
            "spec": { "nodeName": node, "containers": [{
                "name": "main", "image": "registry.example/app:1",
                "resources": { "requests": { "cpu": "100m" } },
            }] },
        });
        harness.world.apply(&pod).await.unwrap();
        harness
            .wait(2, "uncordoned", |view| {
                view.nodes.get(&node).is_some_and(|row| !row.unschedulable)
            })
            .await;
        harness.minutes(20).await;
        let view = harness.world.view();
        let said = view
            .decisions
            .iter()
            .any(|d| d.reason == "ScaleDownAborted");
        assert!(said, "{}", harness.picture());
        assert!(view.nodes.contains_key(&node), "{}", harness.picture());
        assert_eq!(view.pods["default/late"].phase, "Running");
        assert_eq!((harness.bought(), harness.paid()), (1, 1));
        replica.stop().await;
    });
}

#[test]
fn a_node_stays_for_a_pod_that_the_scheduler_has_not_looked_at_again() {
    virtually(|| async {
        let (harness, replica, node) = one_node(204).await;
        // Its scheduler gave up on it while the node was full, and is slow to look again.
        let pod = json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": { "name": "slow", "namespace": "default" },
            "spec": { "schedulerName": "slow", "containers": [{
                "name": "main", "image": "registry.example/app:1",
                "resources": { "requests": { "cpu": "800m" } },
            }] },
            "status": { "phase": "Pending", "conditions": [{
                "type": "PodScheduled", "status": "False", "reason": "Unschedulable",
                "lastTransitionTime": "2026-01-05T08:00:00Z",
            }] },
        });
        harness.world.scale("default", "web", 0).await.unwrap();
        harness.world.kube.insert(pod).unwrap();
        harness.minutes(40).await;
        let view = harness.world.view();
        assert!(view.nodes.contains_key(&node), "{}", harness.picture());
        assert!(!view.nodes[&node].unschedulable, "{}", harness.picture());
        assert_eq!((harness.bought(), harness.paid()), (1, 1));
        harness
            .world
            .delete("v1", "Pod", "default", "slow")
            .await
            .unwrap();
        let gone = |view: &sim::View| view.vpsie_nodes.is_empty();
        harness.wait(30, "the node is removed", gone).await;
        replica.stop().await;
    });
}

#[test]
fn a_pod_that_would_fit_a_cordoned_node_takes_the_removal_back_and_buys_nothing() {
    virtually(|| async {
        let (harness, replica, node) = one_node(205).await;
        cordoned(&harness, &node).await;
        harness.world.scale("default", "web", 1).await.unwrap();
        harness.wait(5, "the pod runs again", all_running(1)).await;
        harness.minutes(20).await;
        assert_eq!(only_node(&harness).1, node);
        assert_eq!((harness.bought(), harness.paid()), (1, 1));
        replica.stop().await;
    });
}

#[test]
fn a_deleted_group_with_pods_on_it_is_drained_and_ends_with_nothing_paid() {
    virtually(|| async {
        let harness = Harness::new(202).await;
        harness.group("general", 0, 4, json!({})).await;
        let replica = harness.start();
        harness.deployment("web", 4, "800m", None).await;
        harness.wait(20, "all pods run", all_running(4)).await;
        harness
            .world
            .delete(OURS, "NodeGroup", "kube-system", "general")
            .await
            .unwrap();
        harness
            .wait(60, "group and nodes are gone", |view| {
                view.groups.is_empty() && view.vpsie_nodes.is_empty()
            })
            .await;
        assert_eq!((harness.bought(), harness.paid()), (2, 0));
        let evictions = harness.world.kube.journal().records();
        let evictions = evictions
            .iter()
            .filter(|record| record.subresource == "eviction" && record.code < 300)
            .count();
        assert!(evictions >= 4, "{evictions} evictions");
        assert_eq!(harness.world.counts().running, 0);
        replica.stop().await;
    });
}

#[test]
fn a_pause_holds_up_a_removal_that_a_person_ordered_and_it_goes_on_after_it() {
    virtually(|| async {
        let (harness, replica, node) = one_node(204).await;
        let (name, _) = only_node(&harness);
        let budget = |allowed: u32| {
            json!({"apiVersion": "policy/v1", "kind": "PodDisruptionBudget",
                "metadata": {"name": "web", "namespace": "default"},
                "spec": {"maxUnavailable": allowed,
                    "selector": {"matchLabels": {"app": "web"}}}})
        };
        harness.world.apply(&budget(0)).await.unwrap();
        let world = &harness.world;
        world
            .delete(OURS, "VPSieNode", "kube-system", &name)
            .await
            .unwrap();
        let is_cordoned =
            |view: &sim::View| view.nodes.get(&node).is_some_and(|row| row.unschedulable);
        harness.wait(10, "it is cordoned", is_cordoned).await;
        harness.minutes(2).await;
        harness.pause_group(true).await;
        harness.clock.sleep(Duration::from_secs(10)).await;
        // Nothing but the pause keeps the pod from here on.
        world.apply(&budget(1)).await.unwrap();
        harness.minutes(30).await;
        let view = world.view();
        assert!(view.nodes.contains_key(&node), "{}", harness.picture());
        assert!(
            view.pods
                .values()
                .any(|pod| pod.ready && pod.node.as_ref() == Some(&node) && !pod.daemon)
        );
        harness.pause_group(false).await;
        let gone = |view: &sim::View| !view.nodes.contains_key(&node);
        harness.wait(30, "its Node is gone", gone).await;
        harness.wait(20, "the pod runs again", all_running(1)).await;
        replica.stop().await;
    });
}

/// An empty node whose Node is gone; the cloud takes long to list its machine, which is looked at
/// before it is asked to go. Returns the name of the machine's Node.
async fn waiting_for_a_slow_cloud(seed: u64) -> (Harness, Replica, String) {
    let (harness, replica, node) = one_node(seed).await;
    cordoned(&harness, &node).await;
    let slow = Fault::Slow {
        by: Duration::from_secs(20),
        after_commit: false,
    };
    let rule = Rule::on(vpsie_sim::Match::Reads, slow).always();
    harness.world.cloud.faults().add(rule);
    let gone = |view: &sim::View| !view.nodes.contains_key(&node);
    harness.wait(10, "its Node is gone", gone).await;
    harness.clock.sleep(Duration::from_secs(5)).await;
    assert_eq!(deletions(&harness), 0, "{}", harness.picture());
    (harness, replica, node)
}

/// How often the cloud was asked to delete a machine.
fn deletions(harness: &Harness) -> usize {
    let asked = harness.world.cloud.journal().into_iter();
    asked
        .filter(|request| request.route == Route::DeleteWorker)
        .count()
}

#[test]
fn a_pause_holds_up_a_deletion_that_waits_for_a_slow_cloud() {
    virtually(|| async {
        let (harness, replica, _) = waiting_for_a_slow_cloud(206).await;
        harness.pause_group(true).await;
        harness.minutes(10).await;
        assert_eq!((deletions(&harness), harness.paid()), (0, 1));
        harness.pause_group(false).await;
        let gone = |view: &sim::View| view.vpsie_nodes.is_empty();
        harness.wait(20, "it is gone", gone).await;
        assert_eq!(harness.paid(), 0, "{}", harness.picture());
        replica.stop().await;
    });
}

#[test]
fn a_node_that_registers_again_holds_up_the_deletion_that_waits_for_a_slow_cloud() {
    virtually(|| async {
        let (harness, replica, node) = waiting_for_a_slow_cloud(207).await;
        let again = json!({
            "apiVersion": "v1", "kind": "Node",
            "metadata": {"name": node, "labels": {"kubernetes.io/hostname": node}},
            "spec": {}, "status": {"conditions": [{"type": "Ready", "status": "True"}]},
        });
        harness.world.kube.insert(again).unwrap();
        harness.clock.sleep(Duration::from_secs(25)).await;
        assert_eq!(deletions(&harness), 0, "{}", harness.picture());
        let gone = |view: &sim::View| view.vpsie_nodes.is_empty();
        harness.wait(20, "it is gone", gone).await;
        assert_eq!(harness.paid(), 0, "{}", harness.picture());
        replica.stop().await;
    });
}

#[test]
fn an_unhealthy_node_goes_once_another_one_serves_in_its_place() {
    virtually(|| async {
        let flags = ["--unhealthy-timeout=1m"];
        let harness = Harness::with(205, sim::WorldConfig::default(), &flags).await;
        harness.group("general", 6, 8, json!({})).await;
        let replica = harness.start();
        harness.wait(20, "six nodes", settled(6)).await;
        let ready = |view: &sim::View| {
            let of_group = view.nodes.values().filter(|row| row.group.is_some());
            of_group.filter(|row| row.ready).count()
        };
        let view = harness.world.view();
        let mut all = view.nodes.iter();
        let ill = all.find(|(_, row)| row.group.is_some()).unwrap().0;
        harness.world.silence(ill);
        let gone = |view: &sim::View| !view.nodes.contains_key(ill);
        harness.wait(30, "its Node is gone", gone).await;
        assert_eq!(ready(&harness.world.view()), 6, "{}", harness.picture());
        harness.wait(10, "six nodes again", settled(6)).await;
        assert_eq!((harness.bought(), harness.paid()), (7, 6));
        replica.stop().await;
    });
}

#[test]
fn a_deleted_vpsie_node_is_drained_removed_and_replaced() {
    virtually(|| async {
        let harness = Harness::new(203).await;
        harness.group("general", 1, 4, json!({})).await;
        let replica = harness.start();
        harness.wait(20, "one node", settled(1)).await;
        harness.deployment("web", 2, "800m", None).await;
        harness.wait(20, "all pods run", all_running(2)).await;
        let (name, node) = only_node(&harness);
        harness
            .world
            .delete(OURS, "VPSieNode", "kube-system", &name)
            .await
            .unwrap();
        harness
            .wait(40, "its Node is gone", |view| {
                !view.nodes.contains_key(&node)
            })
            .await;
        harness.wait(40, "one node again", settled(1)).await;
        harness.wait(20, "all pods run again", all_running(2)).await;
        harness.minutes(10).await;
        assert_ne!(only_node(&harness).1, node);
        assert_eq!((harness.bought(), harness.paid()), (2, 1));
        replica.stop().await;
    });
}
