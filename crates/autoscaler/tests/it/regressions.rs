//! The predecessor's defects as scenarios, by their numbers in its catalogue of regressions.

use std::time::Duration;

use serde_json::json;

use crate::harness::{Harness, all_running, settled, virtually};

/// Case 9.
#[test]
fn one_pending_pod_with_five_matching_groups_buys_one_node_with_two_replicas_too() {
    virtually(|| async {
        let harness = Harness::new(9).await;
        for name in ["a", "b", "c", "d", "e"] {
            harness.group(name, 0, 3, json!({})).await;
        }
        let (one, two) = (harness.start(), harness.start());
        harness.deployment("web", 1, "500m", None).await;
        harness.wait(15, "the pod runs", all_running(1)).await;
        harness.minutes(10).await;
        assert_eq!(harness.bought(), 1);
        one.stop().await;
        two.stop().await;
    });
}

/// Case 10.
#[test]
fn five_hundred_pending_pods_are_one_decision_bounded_by_the_maximum() {
    virtually(|| async {
        let harness = Harness::new(10).await;
        harness.group("general", 0, 12, json!({})).await;
        let replica = harness.start();
        harness.deployment("web", 500, "500m", None).await;
        harness
            .wait(30, "all nodes there are", |view| {
                view.vpsie_nodes.len() == 12
                    && view.vpsie_nodes.values().all(|n| n.phase == "Ready")
            })
            .await;
        harness.minutes(10).await;
        assert_eq!(
            (harness.bought(), harness.paid()),
            (12, 12),
            "{}",
            harness.picture()
        );
        replica.stop().await;
    });
}

/// Case 11.
#[test]
fn a_users_false_and_zero_survive_a_hundred_reconciles() {
    virtually(|| async {
        let harness = Harness::new(11).await;
        let policy = json!({
            "scaleDownPolicy": { "enabled": false, "cooldownSeconds": 0 },
            "allowMixedInstances": false,
        });
        harness.group("general", 1, 3, policy).await;
        let replica = harness.start();
        harness.wait(15, "one node", settled(1)).await;
        for round in 0..10_u32 {
            harness
                .deployment(&format!("d{round}"), 1, "100m", None)
                .await;
            harness.minutes(2).await;
        }
        let dump = harness.world.kube.dump().to_string();
        assert!(dump.contains(r#""allowMixedInstances":false"#));
        assert!(dump.contains(r#""cooldownSeconds":0"#));
        assert!(dump.contains(r#""enabled":false"#));
        replica.stop().await;
    });
}

/// Case 16.
#[test]
fn labels_and_taints_of_the_group_are_on_the_node_before_it_counts_as_ready_and_are_repaired() {
    virtually(|| async {
        let harness = Harness::new(16).await;
        let wanted = json!({
            "labels": { "tier": "web" },
            "taints": [{ "key": "dedicated", "value": "web", "effect": "NoSchedule" }],
        });
        harness.group("general", 1, 3, wanted).await;
        let replica = harness.start();
        harness.wait(15, "one node", settled(1)).await;
        let node = harness
            .world
            .view()
            .vpsie_nodes
            .values()
            .next()
            .unwrap()
            .node
            .clone()
            .unwrap();
        let marked = |harness: &Harness, node: &str| {
            let dump = harness.world.kube.dump().to_string();
            dump.contains(r#""tier":"web""#) && dump.contains("dedicated") && dump.contains(node)
        };
        assert!(marked(&harness, &node));
        harness
            .world
            .apply(&json!({
                "apiVersion": "v1", "kind": "Node",
                "metadata": { "name": node, "labels": { "tier": "tampered" } },
            }))
            .await
            .unwrap();
        harness.clock.sleep(Duration::from_secs(30)).await;
        assert!(marked(&harness, &node), "repaired");
        replica.stop().await;
    });
}

/// Case 17.
#[test]
fn equal_names_in_two_namespaces_are_two_groups() {
    virtually(|| async {
        let harness = Harness::with(
            17,
            sim::WorldConfig::default(),
            &["--namespaces=kube-system,team"],
        )
        .await;
        harness.world.create_namespace("team").await.unwrap();
        harness.group("general", 1, 3, json!({})).await;
        harness
            .world
            .apply(&json!({
                "apiVersion": "autoscaler.vpsie.com/v1alpha1", "kind": "NodeGroup",
                "metadata": {
                    "name": "general", "namespace": "team",
                    "labels": { "autoscaler.vpsie.com/managed": "true" },
                },
                "spec": {
                    "minNodes": 2, "maxNodes": 3, "datacenterID": harness.datacenter(),
                    "offeringIDs": [harness.size(0)],
                },
            }))
            .await
            .unwrap();
        let replica = harness.start();
        harness.wait(15, "one and two nodes", settled(3)).await;
        let of = |namespace: &str| {
            harness
                .world
                .view()
                .vpsie_nodes
                .values()
                .filter(|node| node.group == format!("{namespace}/general"))
                .count()
        };
        assert_eq!((of("kube-system"), of("team")), (1, 2));
        replica.stop().await;
    });
}

/// Case 6.
#[test]
fn a_machine_that_appears_after_its_group_was_deleted_is_removed() {
    virtually(|| async {
        let harness = Harness::new(6).await;
        harness.group("general", 1, 3, json!({})).await;
        let replica = harness.start();
        harness
            .wait(5, "asked for", |view| {
                view.vpsie_nodes
                    .values()
                    .any(|node| node.phase == "Provisioning")
            })
            .await;
        harness
            .world
            .delete(
                "autoscaler.vpsie.com/v1alpha1",
                "NodeGroup",
                "kube-system",
                "general",
            )
            .await
            .unwrap();
        harness
            .wait(60, "group and node are gone", |view| {
                view.groups.is_empty() && view.vpsie_nodes.is_empty()
            })
            .await;
        assert_eq!(harness.paid(), 0, "{}", harness.picture());
        replica.stop().await;
    });
}
