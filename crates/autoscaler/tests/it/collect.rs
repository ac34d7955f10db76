//! Machines that no VPSieNode owns, and deletions that take another machine than the one they name.

use std::{collections::BTreeMap, time::Duration};

use kube::{
    Api,
    api::{DeleteParams, Patch, PatchParams},
};
use serde_json::{Value, json};
use sim::View;
use vpsie_sim::{Fault, Origin, Route, Rule};

use crate::harness::{Harness, all_running, settled, virtually};

const OURS: &str = "autoscaler.vpsie.com/v1alpha1";
const STOPPED: &str = "autoscaler.vpsie.com/removals-stopped";

fn heard(view: &View, reason: &str) -> bool {
    view.decisions.iter().any(|d| d.reason == reason)
}

/// Status and reason of a condition of the group `general`.
fn condition(view: &View, type_: &str) -> (String, String) {
    view.groups["kube-system/general"]
        .conditions
        .get(type_)
        .cloned()
        .unwrap_or_default()
}

fn deletes(harness: &Harness) -> usize {
    let journal = harness.world.cloud.journal();
    journal
        .iter()
        .filter(|request| request.route == Route::DeleteWorker)
        .count()
}

fn evictions(harness: &Harness) -> usize {
    let records = harness.world.kube.journal().records();
    records
        .iter()
        .filter(|record| record.subresource == "eviction")
        .count()
}

/// Machines whose deletion an API request brought about.
fn deleted_by_us(harness: &Harness) -> usize {
    let machines = harness.world.cloud.machines();
    machines
        .iter()
        .filter(|machine| matches!(machine.deleted_by, Some(Origin::Api(_))))
        .count()
}

fn groups(harness: &Harness) -> Api<api::NodeGroup> {
    Api::namespaced(harness.world.client("human"), "kube-system")
}

fn machines(harness: &Harness) -> Api<api::VPSieNode> {
    Api::namespaced(harness.world.client("human"), "kube-system")
}

/// A person takes the stop off the group.
async fn release(harness: &Harness, group: &str) {
    let change = json!({ "metadata": { "annotations": { STOPPED: null } } });
    groups(harness)
        .patch(group, &PatchParams::default(), &Patch::Merge(change))
        .await
        .unwrap();
}

fn annotation(harness: &Harness, group: &str) -> Option<String> {
    let object = harness
        .world
        .kube
        .get(OURS, "NodeGroup", "kube-system", group)
        .unwrap();
    object["metadata"]["annotations"][STOPPED]
        .as_str()
        .map(ToOwned::to_owned)
}

/// VPSieNodes that serve, by name: machine and Node.
fn owned(harness: &Harness) -> BTreeMap<String, (String, String)> {
    let view = harness.world.view();
    let one = |(key, node): (&String, &sim::VPSieNodeRow)| {
        let name = key.split_once('/')?.1.to_owned();
        let serves = node.phase == "Ready" && !node.deleting;
        serves
            .then(|| Some((name, (node.machine.clone()?, node.node.clone()?))))
            .flatten()
    };
    view.vpsie_nodes.iter().filter_map(one).collect()
}

/// Three nodes with two pods each, and room for more of them.
async fn three_nodes(harness: &Harness) {
    harness.group("general", 0, 8, json!({})).await;
    harness.group("other", 0, 2, json!({})).await;
}

/// A person deletes one VPSieNode, and the cloud takes another machine instead. The name of the one
/// that was deleted, and the machine that was named.
async fn wrong_victim(harness: &Harness) -> (String, String) {
    let fault = Fault::DeletesAnotherWorker;
    let rule = Rule::on(Route::DeleteWorker, fault);
    harness.world.cloud.faults().add(rule);
    harness.excuse("S5", "the cloud deletes a machine that no request named");
    harness.excuse("S6", "the cloud deletes a machine that no request named");
    let (name, (machine, _)) = owned(harness).pop_first().unwrap();
    harness
        .world
        .delete(OURS, "VPSieNode", "kube-system", &name)
        .await
        .unwrap();
    (name, machine)
}

/// The machine that the cloud took although another was named.
fn taken(harness: &Harness, named: &str) -> String {
    let machines = harness.world.cloud.machines();
    let taken = machines
        .iter()
        .find(|machine| machine.deleted_by.is_some() && machine.uuid != named);
    taken.unwrap().uuid.clone()
}

#[test]
fn a_delete_that_takes_another_machine_stops_all_removals_until_a_person_says_so() {
    virtually(|| async {
        let harness = Harness::new(801).await;
        three_nodes(&harness).await;
        let replica = harness.start();
        harness.deployment("web", 6, "800m", None).await;
        harness.wait(20, "three nodes", settled(3)).await;
        harness.wait(20, "all pods run", all_running(6)).await;
        let (name, named) = wrong_victim(&harness).await;
        let sent = || deletes(&harness) > 0;
        while !sent() {
            harness.clock.sleep(Duration::from_secs(1)).await;
        }
        // Two looks at the cloud, ten seconds apart, and what it takes to answer and to write.
        harness.clock.sleep(Duration::from_secs(30)).await;
        let victim = taken(&harness, &named);
        for group in ["general", "other"] {
            let why = annotation(&harness, group).unwrap_or_default();
            assert!(why.contains(&victim) && why.contains(&named), "{why}");
        }
        harness
            .wait(2, "the condition says so", |view| {
                condition(view, "RemovalsStopped").0 == "True"
            })
            .await;
        assert!(heard(&harness.world.view(), "RemovalsStopped"));
        assert!(replica.metrics().contains("removals_stopped{scope="));
        // Another deletion that a person orders meanwhile goes as far as the stop lets it.
        let (second, _) = owned(&harness).pop_last().unwrap();
        harness
            .world
            .delete(OURS, "VPSieNode", "kube-system", &second)
            .await
            .unwrap();
        harness.minutes(60).await;
        assert_eq!(deletes(&harness), 1, "{}", harness.picture());
        assert_eq!(deleted_by_us(&harness), 1, "{}", harness.picture());
        let view = harness.world.view();
        assert!(
            view.vpsie_nodes
                .contains_key(&format!("kube-system/{name}"))
        );
        assert_eq!(condition(&view, "RemovalsStopped").0, "True");

        release(&harness, "other").await;
        harness.minutes(10).await;
        assert_eq!(deletes(&harness), 1, "one group still says so");
        release(&harness, "general").await;
        harness
            .wait(40, "what was ordered is done", |view| {
                !view
                    .vpsie_nodes
                    .contains_key(&format!("kube-system/{name}"))
                    && !view
                        .vpsie_nodes
                        .contains_key(&format!("kube-system/{second}"))
            })
            .await;
        harness.wait(40, "all pods run again", all_running(6)).await;
        harness.minutes(60).await;
        let view = harness.world.view();
        let stopped = condition(&view, "RemovalsStopped");
        assert_eq!(stopped, ("False".to_owned(), "NotStopped".to_owned()));
        assert_eq!(
            annotation(&harness, "general"),
            None,
            "it is not said twice"
        );
        replica.stop().await;
    });
}

#[test]
fn the_stop_is_found_by_the_next_leader_where_the_first_died_right_after_the_delete() {
    virtually(|| async {
        let harness = Harness::new(802).await;
        three_nodes(&harness).await;
        let first = harness.start();
        harness.deployment("web", 6, "800m", None).await;
        harness.wait(20, "three nodes", settled(3)).await;
        harness.wait(20, "all pods run", all_running(6)).await;
        let (_, named) = wrong_victim(&harness).await;
        while deletes(&harness) == 0 {
            harness.clock.sleep(Duration::from_millis(500)).await;
        }
        first.stop().await;
        let victim = taken(&harness, &named);
        assert_eq!(annotation(&harness, "general"), None);
        harness.minutes(3).await;
        let next = harness.start();
        harness.minutes(2).await;
        let why = annotation(&harness, "general").unwrap_or_default();
        assert!(why.contains(&victim), "{why}\n{}", harness.picture());
        harness.minutes(30).await;
        assert_eq!(deletes(&harness), 1, "{}", harness.picture());
        release(&harness, "general").await;
        release(&harness, "other").await;
        harness.wait(60, "all pods run again", all_running(6)).await;
        harness.minutes(60).await;
        assert_eq!(
            annotation(&harness, "general"),
            None,
            "{}",
            harness.picture()
        );
        next.stop().await;
    });
}

#[test]
fn ordinary_removals_of_many_machines_at_once_stop_nothing() {
    virtually(|| async {
        let harness = Harness::new(803).await;
        three_nodes(&harness).await;
        let replica = harness.start();
        harness.deployment("web", 6, "800m", None).await;
        harness.wait(20, "three nodes", settled(3)).await;
        let partial = Rule::on(Route::GetCluster, Fault::PartialPage);
        let faults = harness.world.cloud.faults();
        faults.add(partial.always().probability(0.3));
        harness.world.scale("default", "web", 2).await.unwrap();
        harness.minutes(60).await;
        for name in ["general", "other"] {
            harness
                .world
                .delete(OURS, "NodeGroup", "kube-system", name)
                .await
                .unwrap();
        }
        harness
            .wait(120, "everything is gone", |view| {
                view.groups.is_empty() && view.vpsie_nodes.is_empty()
            })
            .await;
        let view = harness.world.view();
        assert!(!heard(&view, "RemovalsStopped"), "{}", harness.picture());
        assert_eq!(harness.paid(), 0);
        replica.stop().await;
    });
}

/// While the product is away somebody takes a VPSieNode out of the API server, finalizer and all.
async fn lose(harness: &Harness, name: &str) {
    let api = machines(harness);
    api.delete(name, &DeleteParams::default()).await.unwrap();
    let change = json!({ "metadata": { "finalizers": [] } });
    api.patch(name, &PatchParams::default(), &Patch::Merge(change))
        .await
        .unwrap();
}

/// Three full nodes, one of which lost its VPSieNode: its name, machine and Node.
async fn one_orphan(harness: &Harness) -> (vpsie_autoscaler::Replica, String, String, String) {
    harness.group("general", 0, 8, json!({})).await;
    let replica = harness.start();
    harness.deployment("web", 6, "800m", None).await;
    harness.wait(20, "three nodes", settled(3)).await;
    harness.wait(20, "all pods run", all_running(6)).await;
    let (name, (machine, node)) = owned(harness).pop_first().unwrap();
    replica.stop().await;
    lose(harness, &name).await;
    harness.minutes(1).await;
    assert_eq!(harness.world.view().vpsie_nodes.len(), 2);
    (harness.start(), name, machine, node)
}

#[test]
fn an_orphan_is_told_of_and_gets_its_vpsie_node_again_and_its_pods_notice_nothing() {
    virtually(|| async {
        let harness = Harness::new(804).await;
        let (replica, name, machine, node) = one_orphan(&harness).await;
        let key = format!("kube-system/{name}");
        for minute in 0..60 {
            harness.minutes(1).await;
            let view = harness.world.view();
            assert_eq!(view.counts().running, 6, "{}", harness.picture());
            if minute == 3 {
                assert!(heard(&view, "MachineOrphaned"), "{}", harness.picture());
                let unowned = condition(&view, "UnownedMachines");
                assert_eq!(unowned, ("True".to_owned(), "MachineOrphaned".to_owned()));
                let counted = "unowned_machines{scope=";
                let text = replica.metrics();
                let line = text.lines().find(|line| {
                    line.contains(counted) && line.contains("orphan") && line.ends_with(" 1")
                });
                assert!(line.is_some(), "{text}");
            }
            if minute < 13 {
                assert!(
                    !view.vpsie_nodes.contains_key(&key),
                    "{}",
                    harness.picture()
                );
            }
        }
        let view = harness.world.view();
        assert!(heard(&view, "MachineAdopted"), "{}", harness.picture());
        let again = &view.vpsie_nodes[&key];
        assert_eq!(again.phase, "Ready", "{}", harness.picture());
        assert_eq!(again.machine.as_deref(), Some(&*machine));
        assert_eq!(again.node.as_deref(), Some(&*node));
        assert_eq!(condition(&view, "UnownedMachines").0, "False");
        assert_eq!((harness.bought(), harness.paid()), (3, 3));
        assert_eq!((evictions(&harness), deletes(&harness)), (0, 0));

        // Its life goes on: whoever deletes it has it drained and removed.
        harness
            .world
            .delete(OURS, "VPSieNode", "kube-system", &name)
            .await
            .unwrap();
        harness
            .wait(40, "it is gone", |view| {
                !view.vpsie_nodes.contains_key(&key)
            })
            .await;
        let machines = harness.world.cloud.machines();
        let gone = machines.iter().find(|one| one.uuid == machine).unwrap();
        assert!(gone.deleted_by.is_some());
        harness.wait(40, "all pods run again", all_running(6)).await;
        replica.stop().await;
    });
}

#[test]
fn a_crash_in_the_middle_of_an_adoption_is_completed_by_the_next_leader() {
    virtually(|| async {
        let harness = Harness::new(805).await;
        let (replica, name, machine, node) = one_orphan(&harness).await;
        replica.stop().await;
        // As it is between the two writes.
        let object: Value = json!({
            "apiVersion": OURS, "kind": "VPSieNode",
            "metadata": {
                "name": name, "namespace": "kube-system",
                "annotations": { "autoscaler.vpsie.com/creation-reason": "adopted" },
                "finalizers": ["vpsienode.autoscaler.vpsie.com/finalizer"],
                "labels": {
                    "autoscaler.vpsie.com/managed": "true",
                    "autoscaler.vpsie.com/nodegroup": "general",
                },
            },
            "spec": {
                "instanceType": harness.size(0), "nodeGroupName": "general",
                "datacenterID": harness.datacenter(),
                "vpsieNodeIdentifier": machine,
                "resourceIdentifier": harness.world.cluster,
            },
        });
        harness.world.kube.insert(object).unwrap();
        let next = harness.start();
        let key = format!("kube-system/{name}");
        harness
            .wait(3, "it serves again", |view| {
                view.vpsie_nodes
                    .get(&key)
                    .is_some_and(|one| one.phase == "Ready" && one.node.as_deref() == Some(&*node))
            })
            .await;
        harness.minutes(30).await;
        assert_eq!(harness.world.counts().running, 6, "{}", harness.picture());
        assert_eq!((harness.bought(), harness.paid()), (3, 3));
        assert_eq!((evictions(&harness), deletes(&harness)), (0, 0));
        next.stop().await;
    });
}

#[test]
fn an_orphan_of_a_paused_group_waits_and_one_without_our_labels_is_nobodys() {
    virtually(|| async {
        let harness = Harness::new(806).await;
        let (replica, name, machine, node) = one_orphan(&harness).await;
        let pause = |value: Value| {
            let annotations = json!({ "autoscaler.vpsie.com/paused": value });
            Patch::Merge(json!({ "metadata": { "annotations": annotations } }))
        };
        let params = PatchParams::default();
        let group = groups(&harness);
        group
            .patch("general", &params, &pause(json!("true")))
            .await
            .unwrap();
        harness.minutes(60).await;
        let key = format!("kube-system/{name}");
        assert!(!harness.world.view().vpsie_nodes.contains_key(&key));
        // Somebody takes the node out of the product's hands.
        let nodes: Api<k8s_openapi::api::core::v1::Node> = Api::all(harness.world.client("human"));
        let unmanaged =
            json!({ "metadata": { "labels": { "autoscaler.vpsie.com/managed": null } } });
        nodes
            .patch(&node, &params, &Patch::Merge(unmanaged))
            .await
            .unwrap();
        group
            .patch("general", &params, &pause(Value::Null))
            .await
            .unwrap();
        harness.minutes(60).await;
        let view = harness.world.view();
        assert!(
            !view.vpsie_nodes.contains_key(&key),
            "{}",
            harness.picture()
        );
        let unowned = condition(&view, "UnownedMachines");
        assert_eq!(unowned, ("True".to_owned(), "MachineNotOurs".to_owned()));
        assert_eq!(view.counts().running, 6, "{}", harness.picture());
        let machines = harness.world.cloud.machines();
        let it = machines.iter().find(|one| one.uuid == machine).unwrap();
        assert!(it.is_paid() && deletes(&harness) == 0);
        replica.stop().await;
    });
}

#[test]
fn a_foreign_machine_is_told_of_once_and_never_touched_and_the_condition_ends_with_it() {
    virtually(|| async {
        let harness = Harness::new(807).await;
        harness.group("general", 1, 6, json!({})).await;
        let replica = harness.start();
        harness.wait(15, "one node", settled(1)).await;
        let cluster = harness.world.cluster.clone();
        let cloud = harness.world.cloud.clone();
        let size = cloud.config().datacenters[0].sizes[0].id;
        let pool = cloud.human_add_group(&cluster, "by-hand", size).unwrap();
        let foreign = cloud.human_add_worker(&cluster, pool).unwrap().uuid;
        harness.minutes(60).await;
        let view = harness.world.view();
        let told: Vec<_> = (view.decisions.iter())
            .filter(|d| d.reason == "MachineNotOurs")
            .collect();
        assert_eq!(told.len(), 1, "{}", harness.picture());
        assert_eq!(told[0].count, 1);
        assert!(told[0].message.contains(&foreign), "{}", told[0].message);
        let unowned = condition(&view, "UnownedMachines");
        assert_eq!(unowned, ("True".to_owned(), "MachineNotOurs".to_owned()));
        let machines = cloud.machines();
        let it = machines.iter().find(|one| one.uuid == foreign).unwrap();
        assert!(it.is_paid() && deletes(&harness) == 0);
        assert!(cloud.human_delete(&foreign));
        harness
            .wait(5, "the condition ends", |view| {
                condition(view, "UnownedMachines").0 == "False"
            })
            .await;
        replica.stop().await;
    });
}

#[test]
fn the_machine_of_a_request_without_an_answer_is_not_called_foreign() {
    virtually(|| async {
        let harness = Harness::new(808).await;
        let rule = Rule::on(Route::AddWorker, Fault::LostResponseAfterCommit);
        harness.world.cloud.faults().add(rule.times(3));
        harness.group("general", 0, 6, json!({})).await;
        let replica = harness.start();
        harness.deployment("web", 6, "800m", None).await;
        harness.wait(60, "all pods run", all_running(6)).await;
        harness.minutes(30).await;
        let view = harness.world.view();
        for reason in ["MachineNotOurs", "MachineOrphaned", "MachineAdopted"] {
            assert!(!heard(&view, reason), "{}", harness.picture());
        }
        assert_eq!((harness.bought(), harness.paid()), (3, 3));
        replica.stop().await;
    });
}
