//! Which machine is whose: machines that are gone, that cannot be told by name, that the cloud
//! denies, and nodes that are nobody's business.

use std::{collections::BTreeSet, time::Duration};

use serde_json::{Value, json};
use sim::WorldConfig;
use vpsie_sim::{Fault, Machine, NodeShape, Origin, Phase, Role, Route, Rule, Span, Timings};

use super::OURS;
use crate::harness::{Harness, all_running, settled, virtually};

/// Requests of `route` that arrived at the cloud.
fn sent(harness: &Harness, route: Route) -> Vec<vpsie_sim::Request> {
    let mut journal = harness.world.cloud.journal();
    journal.retain(|request| request.route == route);
    journal
}

fn machine(harness: &Harness, uuid: &str) -> Machine {
    let mut machines = harness.world.cloud.machines().into_iter();
    machines.find(|machine| machine.uuid == uuid).unwrap()
}

/// The single VPSieNode's name and its machine's UUID.
fn only(harness: &Harness) -> (String, String) {
    let view = harness.world.view();
    assert_eq!(view.vpsie_nodes.len(), 1, "{}", harness.picture());
    let (key, node) = view.vpsie_nodes.first_key_value().unwrap();
    let name = key.split_once('/').unwrap().1.to_owned();
    (name, node.machine.clone().unwrap())
}

/// One node of group `general`, with pods of Deployment `web` on it.
async fn one_node(harness: &Harness) {
    harness.group("general", 0, 4, json!({})).await;
    harness.deployment("web", 2, "800m", None).await;
    harness.wait(20, "all pods run", all_running(2)).await;
}

async fn until(harness: &Harness, minutes: u64, what: &str, holds: impl Fn() -> bool) {
    for _ in 0..minutes * 60 {
        if holds() {
            return;
        }
        harness.clock.sleep(Duration::from_secs(1)).await;
    }
    panic!("{what}: not within {minutes} min\n{}", harness.picture());
}

/// Case 5.
#[test]
fn a_machine_that_a_person_deletes_while_our_delete_is_on_its_way_ends_its_record() {
    virtually(|| async {
        let harness = Harness::new(51).await;
        let replica = harness.start();
        one_node(&harness).await;
        let (_, uuid) = only(&harness);
        let slow = Fault::Slow {
            by: Duration::from_secs(5),
            after_commit: false,
        };
        let rule = Rule::on(Route::DeleteWorker, slow);
        harness.world.cloud.faults().add(rule);
        harness.world.scale("default", "web", 0).await.unwrap();
        until(&harness, 30, "a delete is on its way", || {
            !sent(&harness, Route::DeleteWorker).is_empty()
        })
        .await;
        assert!(harness.world.cloud.human_delete(&uuid));
        harness.wait(20, "its record ends", settled(0)).await;
        let deletes = sent(&harness, Route::DeleteWorker);
        assert!(deletes.iter().all(|request| request.committed.is_empty()));
        assert!(deletes.len() <= 3, "{deletes:#?}");
        assert_eq!(machine(&harness, &uuid).deleted_by, Some(Origin::Human));
        assert_eq!((harness.bought(), harness.paid()), (1, 0));
        replica.stop().await;
    });
}

/// Case 5.
#[test]
fn a_record_that_is_deleted_after_its_machine_vanished_ends_without_a_delete() {
    virtually(|| async {
        let harness = Harness::new(52).await;
        let replica = harness.start();
        one_node(&harness).await;
        let (name, uuid) = only(&harness);
        replica.stop().await;
        harness.world.scale("default", "web", 0).await.unwrap();
        assert!(harness.world.cloud.human_delete(&uuid));
        until(&harness, 5, "the machine is gone", || {
            machine(&harness, &uuid).phase == Phase::Gone
        })
        .await;
        let world = &harness.world;
        world
            .delete(OURS, "VPSieNode", "kube-system", &name)
            .await
            .unwrap();
        let replica = harness.start();
        harness
            .wait(20, "record and Node are gone", |view| {
                view.vpsie_nodes.is_empty() && view.nodes.values().all(|node| node.control_plane)
            })
            .await;
        assert_eq!(sent(&harness, Route::DeleteWorker), []);
        assert_eq!((harness.bought(), harness.paid()), (1, 0));
        replica.stop().await;
    });
}

/// Case 5.
#[test]
fn a_record_that_is_deleted_before_its_machine_is_identified_leaves_no_machine_behind() {
    virtually(|| async {
        let harness = Harness::new(53).await;
        let rule = Rule::on(Route::AddWorker, Fault::LostResponseAfterCommit);
        harness.world.cloud.faults().add(rule);
        harness.group("general", 0, 4, json!({})).await;
        let replica = harness.start();
        harness.deployment("web", 1, "800m", None).await;
        until(&harness, 5, "a machine is bought", || harness.bought() == 1).await;
        let view = harness.world.view();
        let (key, node) = view.vpsie_nodes.first_key_value().unwrap();
        assert_eq!(node.machine, None, "{}", harness.picture());
        harness.world.scale("default", "web", 0).await.unwrap();
        let (namespace, name) = key.split_once('/').unwrap();
        let world = &harness.world;
        world
            .delete(OURS, "VPSieNode", namespace, name)
            .await
            .unwrap();
        harness.minutes(1).await;
        harness.wait(60, "the record is gone", settled(0)).await;
        assert_eq!(
            (harness.bought(), harness.paid()),
            (1, 0),
            "{}",
            harness.picture()
        );
        replica.stop().await;
    });
}

/// Case 5.
#[test]
fn machines_that_are_listed_without_identity_are_looked_up_and_without_that_none_is_deleted() {
    virtually(|| async {
        let mut config = WorldConfig::default();
        config.cloud.node_shape = NodeShape::Sdk;
        let harness = Harness::with(54, config, &[]).await;
        let replica = harness.start();
        one_node(&harness).await;
        let cloud = &harness.world.cloud;
        let cluster = &harness.world.cluster;
        let size = cloud.config().datacenters[0].sizes[1].id;
        let pool = cloud.human_add_group(cluster, "by-hand", size).unwrap();
        let theirs = cloud.human_add_worker(cluster, pool).unwrap().uuid;
        harness.minutes(10).await;
        let rule = Rule::on(Route::ListStorageVms, Fault::MissingUuid).always();
        let rule = cloud.faults().add(rule);
        harness.world.scale("default", "web", 0).await.unwrap();
        harness.minutes(45).await;
        assert!(cloud.faults().struck(rule) > 0);
        assert_eq!(harness.paid(), 2, "{}", harness.picture());
        assert_eq!(harness.world.view().vpsie_nodes.len(), 1);
        cloud.faults().clear();
        harness.wait(60, "its record ends", settled(0)).await;
        assert_eq!((harness.bought(), harness.paid()), (2, 1));
        assert!(machine(&harness, &theirs).is_paid());
        replica.stop().await;
    });
}

/// Case 5.
#[test]
fn a_machine_whose_name_is_written_in_another_case_than_its_nodes_is_matched_and_removed() {
    virtually(|| async {
        let harness = Harness::new(55).await;
        harness.group("general", 0, 4, json!({})).await;
        let replica = harness.start();
        harness.deployment("web", 2, "800m", None).await;
        harness
            .wait(10, "the machine is known", |view| {
                view.vpsie_nodes.values().any(|node| node.machine.is_some())
            })
            .await;
        // So that the Node can be marked before anybody sees it.
        replica.stop().await;
        let (_, uuid) = only(&harness);
        let bought = machine(&harness, &uuid);
        assert_ne!(bought.hostname, bought.node_name);
        harness
            .wait(10, "the machine joined", |view| {
                view.nodes.contains_key(&bought.node_name)
            })
            .await;
        let shouted = bought.hostname.to_uppercase();
        let marked = json!({
            "apiVersion": "v1", "kind": "Node",
            "metadata": {
                "name": bought.node_name, "labels": { "kubernetes.io/hostname": shouted },
            },
        });
        harness.world.apply(&marked).await.unwrap();
        let replica = harness.start();
        harness.wait(15, "all pods run", all_running(2)).await;
        harness.wait(15, "one node", settled(1)).await;
        let row = harness.world.view().vpsie_nodes.into_values().next();
        assert_eq!(row.unwrap().node, Some(bought.node_name.clone()));
        harness.world.scale("default", "web", 0).await.unwrap();
        harness.wait(30, "its record ends", settled(0)).await;
        assert!(!harness.world.view().nodes.contains_key(&bought.node_name));
        assert_eq!((harness.bought(), harness.paid()), (1, 0));
        replica.stop().await;
    });
}

fn denied(message: &str) -> Fault {
    let message = message.to_owned();
    Fault::NotFound404 { message }
}

/// Case 5.
#[test]
fn a_cluster_that_the_cloud_denies_while_its_machines_run_loses_none_of_them() {
    for message in ["Cluster not found", "Not found"] {
        virtually(move || async move {
            let harness = Harness::new(56).await;
            let replica = harness.start();
            one_node(&harness).await;
            harness.deployment("more", 2, "800m", None).await;
            harness.wait(20, "all pods run", all_running(4)).await;
            harness.wait(20, "two nodes", settled(2)).await;
            let faults = harness.world.cloud.faults();
            let rule = faults.add(Rule::on(Route::GetCluster, denied(message)).always());
            harness.minutes(20).await;
            assert!(faults.struck(rule) > 0);
            assert!(harness.world.look(settled(2)), "{}", harness.picture());
            assert!(harness.world.look(all_running(4)), "{}", harness.picture());
            // A removal that falls into that time keeps its record.
            harness.world.scale("default", "web", 0).await.unwrap();
            harness.world.scale("default", "more", 0).await.unwrap();
            harness.minutes(30).await;
            assert_eq!(harness.paid(), 2, "{}", harness.picture());
            assert_eq!(harness.world.view().vpsie_nodes.len(), 2);
            faults.clear();
            harness.wait(60, "all nodes are gone", settled(0)).await;
            assert_eq!((harness.bought(), harness.paid()), (2, 0));
            replica.stop().await;
        });
    }
}

/// Case 5.
#[test]
fn a_delete_that_is_answered_not_found_while_the_machine_is_listed_is_repeated() {
    virtually(|| async {
        let harness = Harness::new(57).await;
        let replica = harness.start();
        one_node(&harness).await;
        let faults = harness.world.cloud.faults();
        let rule = Rule::on(Route::DeleteWorker, denied("Node not found")).always();
        let rule = faults.add(rule);
        harness.world.scale("default", "web", 0).await.unwrap();
        harness.minutes(60).await;
        let struck = faults.struck(rule);
        assert!((2..=60).contains(&struck), "{struck} deletes in an hour");
        assert_eq!(harness.paid(), 1, "{}", harness.picture());
        assert_eq!(
            harness.world.view().vpsie_nodes.len(),
            1,
            "the record stays"
        );
        faults.clear();
        harness.wait(20, "its record ends", settled(0)).await;
        assert_eq!((harness.bought(), harness.paid()), (1, 0));
        replica.stop().await;
    });
}

/// What the product wrote to the Node of this name.
fn writes_to(harness: &Harness, node: &str) -> Vec<String> {
    let records = harness.world.kube.journal().records();
    let writes = records.iter().filter(|record| {
        record.is_write()
            && record.actor == "vpsie-autoscaler"
            && record.resource == "nodes"
            && record.name == node
    });
    writes.map(ToString::to_string).collect()
}

fn control_plane(harness: &Harness) -> Machine {
    let mut machines = harness.world.cloud.machines().into_iter();
    machines
        .find(|machine| machine.role == Role::Master)
        .unwrap()
}

/// Case 7.
#[test]
fn nodes_that_join_two_groups_in_one_moment_are_each_claimed_once_and_foreign_ones_never() {
    virtually(|| async {
        let mut config = WorldConfig::default();
        config.cloud.timings = Timings {
            queued: Span::seconds(10, 10),
            creating: Span::seconds(60, 60),
            joining: Span::seconds(30, 30),
            readying: Span::seconds(10, 10),
            ..Timings::default()
        };
        let harness = Harness::with(71, config, &[]).await;
        // Both buy the same size: their machines come from one pool.
        for name in ["a", "b"] {
            harness.group(name, 0, 3, json!({})).await;
        }
        let replica = harness.start();
        harness.deployment("a", 4, "800m", Some("a")).await;
        harness.deployment("b", 4, "800m", Some("b")).await;
        until(&harness, 5, "four are bought", || harness.bought() == 4).await;
        // A person's machine of another size, and a node that is no machine of the cloud at all.
        let cloud = &harness.world.cloud;
        let cluster = &harness.world.cluster;
        let size = cloud.config().datacenters[0].sizes[1].id;
        let pool = cloud.human_add_group(cluster, "by-hand", size).unwrap();
        let theirs = cloud.human_add_worker(cluster, pool).unwrap();
        // Ours run and have not joined.
        harness.clock.sleep(Duration::from_secs(85)).await;
        let stranger = json!({
            "apiVersion": "v1", "kind": "Node",
            "metadata": { "name": "stranger", "labels": { "kubernetes.io/hostname": "stranger" } },
            "spec": {}, "status": { "addresses": [{ "type": "InternalIP", "address": "10.9.9.9" }] },
        });
        harness.world.kube.insert(stranger).unwrap();
        harness.wait(15, "all pods run", all_running(8)).await;
        harness.wait(5, "four nodes", settled(4)).await;
        let view = harness.world.view();
        let mut claimed = BTreeSet::new();
        for row in view.vpsie_nodes.values() {
            let node = row.node.clone().unwrap();
            let machine = machine(&harness, row.machine.as_ref().unwrap());
            assert_eq!(machine.node_name, node);
            assert_eq!(view.nodes[&node].group.as_ref(), Some(&row.group));
            assert!(claimed.insert(node), "{}", harness.picture());
        }
        for group in ["a", "b"] {
            let group = format!("kube-system/{group}");
            let rows = view.vpsie_nodes.values();
            assert_eq!(rows.filter(|row| row.group == group).count(), 2);
        }
        harness.world.scale("default", "a", 0).await.unwrap();
        harness.world.scale("default", "b", 0).await.unwrap();
        harness.wait(60, "ours are gone", settled(0)).await;
        let nodes = harness.world.view().nodes;
        let foreign = [
            "stranger".to_owned(),
            theirs.node_name,
            control_plane(&harness).node_name,
        ];
        for name in &foreign {
            assert_eq!(writes_to(&harness, name), [""; 0]);
            assert!(nodes.contains_key(name), "{name}\n{}", harness.picture());
            let node = harness.world.kube.get("v1", "Node", "", name).unwrap();
            let text = json!([
                node["metadata"]["labels"],
                node["metadata"]["annotations"],
                node["spec"]
            ]);
            assert!(!text.to_string().contains("autoscaler.vpsie.com"), "{text}");
        }
        assert_eq!(nodes.len(), foreign.len());
        assert_eq!((harness.bought(), harness.paid()), (5, 1));
        assert!(machine(&harness, &theirs.uuid).is_paid());
        replica.stop().await;
    });
}

/// Case 7.
#[test]
fn a_control_plane_node_is_never_touched_even_when_a_record_claims_it_and_is_deleted() {
    virtually(|| async {
        let harness = Harness::new(72).await;
        let master = control_plane(&harness);
        harness
            .wait(5, "the control plane is there", |view| {
                view.nodes.contains_key(&master.node_name)
            })
            .await;
        let ours = |what: &str| format!("autoscaler.vpsie.com/{what}");
        let labels: Value = [
            (ours("managed"), "true"),
            (ours("nodegroup"), "general"),
            (ours("nodegroup-namespace"), "kube-system"),
            (ours("vpsienode"), "false-claim"),
        ]
        .into_iter()
        .collect();
        let marked = json!({
            "apiVersion": "v1", "kind": "Node",
            "metadata": { "name": master.node_name, "labels": labels },
        });
        harness.world.apply(&marked).await.unwrap();
        let replica = harness.start();
        one_node(&harness).await;
        let claim = json!({
            "apiVersion": OURS, "kind": "VPSieNode",
            "metadata": {
                "name": "false-claim", "namespace": "kube-system",
                "labels": { ours("managed"): "true", ours("nodegroup"): "general" },
            },
            "spec": {
                "nodeGroupName": "general", "instanceType": harness.size(0),
                "datacenterID": harness.datacenter(), "resourceIdentifier": harness.world.cluster,
                "vpsieInstanceID": master.id, "vpsieNodeIdentifier": master.uuid,
                "nodeName": master.node_name,
            },
        });
        harness.world.apply(&claim).await.unwrap();
        harness.minutes(10).await;
        let world = &harness.world;
        world
            .delete(OURS, "VPSieNode", "kube-system", "false-claim")
            .await
            .unwrap();
        world.scale("default", "web", 0).await.unwrap();
        harness
            .wait(30, "the honest one is gone", |view| {
                view.vpsie_nodes
                    .keys()
                    .all(|name| name.ends_with("false-claim"))
            })
            .await;
        harness.minutes(60).await;
        assert_eq!(
            writes_to(&harness, &master.node_name),
            [""; 0],
            "{}",
            harness.picture()
        );
        let deletes = sent(&harness, Route::DeleteWorker);
        assert_eq!(deletes.len(), 1, "the honest one's\n{deletes:#?}");
        assert_eq!(control_plane(&harness).deleted_at, None);
        assert_eq!((harness.bought(), harness.paid()), (1, 0));
        replica.stop().await;
    });
}
