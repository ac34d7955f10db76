//! Input that is wrong: each is named in a condition or an Event, everything else goes on, and
//! nothing is deleted because of it.

use std::{collections::BTreeMap, time::Duration};

use k8s_openapi::ByteString;
use serde_json::{Value, json};
use sim::{View, WorldConfig};
use vpsie_sim::{Fault, Match, Rule};

use crate::harness::{Harness, all_running, settled, virtually};

/// An Event with this reason whose message has all of `words`.
fn told(reason: &str, words: &[&str]) -> impl Fn(&View) -> bool {
    move |view| {
        view.decisions.iter().any(|decision| {
            decision.reason == reason && words.iter().all(|word| decision.message.contains(word))
        })
    }
}

/// The group's condition Error holds for this reason.
fn in_error(group: &str, reason: &str) -> impl Fn(&View) -> bool {
    let key = format!("kube-system/{group}");
    let wanted = ("True".to_owned(), reason.to_owned());
    move |view| {
        view.groups
            .get(&key)
            .and_then(|group| group.conditions.get("Error"))
            == Some(&wanted)
    }
}

fn without_error(group: &str) -> impl Fn(&View) -> bool {
    let key = format!("kube-system/{group}");
    move |view| {
        let condition = view
            .groups
            .get(&key)
            .and_then(|g| g.conditions.get("Error"));
        condition.is_some_and(|(status, _)| status == "False")
    }
}

/// What a Secret holds.
type Data<'a> = &'a [(&'a str, &'a [u8])];

/// Puts the Secret there, whatever is in it.
fn plant_secret(harness: &Harness, data: Data<'_>) {
    let data: BTreeMap<&str, Value> = data
        .iter()
        .map(|(key, value)| (*key, json!(ByteString(value.to_vec()))))
        .collect();
    harness
        .world
        .kube
        .insert(json!({
            "apiVersion": "v1", "kind": "Secret", "type": "Opaque",
            "metadata": { "name": "vpsie-secret", "namespace": "kube-system" },
            "data": data,
        }))
        .unwrap();
}

fn plant_good_secret(harness: &Harness) {
    let good = harness.world.cloud.config().credentials;
    plant_secret(
        harness,
        &[
            ("clientId", good.client_id.unwrap().as_bytes()),
            ("clientSecret", good.client_secret.unwrap().as_bytes()),
            ("resourceIdentifier", harness.world.cluster.as_bytes()),
        ],
    );
}

#[test]
fn a_missing_or_malformed_secret_is_told_and_the_mended_one_is_picked_up() {
    virtually(|| async {
        let config = WorldConfig {
            secret: Some(BTreeMap::new()),
            ..WorldConfig::default()
        };
        let harness = Harness::with(201, config, &[]).await;
        harness.group("general", 1, 3, json!({})).await;
        let replica = harness.start();
        harness
            .wait(
                2,
                "the missing Secret is told",
                told("CredentialsInvalid", &["vpsie-secret", "does not exist"]),
            )
            .await;
        let wrong: [(Data<'_>, &str); 4] = [
            (&[("colour", b"blue")], "has neither"),
            (&[("clientId", b"somebody")], "not the key clientSecret"),
            (&[("token", b"with\x07bell")], "token is not printable"),
            (
                &[("token", b"fine"), ("url", b"http://not.safe")],
                "https://",
            ),
        ];
        for (data, word) in wrong {
            plant_secret(&harness, data);
            harness
                .wait(
                    2,
                    "the malformed Secret is told",
                    told("CredentialsInvalid", &["kube-system/vpsie-secret", word]),
                )
                .await;
        }
        assert!(replica.leads());
        assert_eq!(harness.bought(), 0);
        plant_good_secret(&harness);
        harness.wait(15, "the minimum is there", settled(1)).await;
        // Taken away again: what is there stays.
        plant_secret(&harness, &[]);
        harness.minutes(20).await;
        assert_eq!(harness.paid(), 1, "{}", harness.picture());
        assert!(harness.world.look(settled(1)), "{}", harness.picture());
        plant_good_secret(&harness);
        harness.deployment("web", 3, "800m", None).await;
        harness.wait(20, "all pods run", all_running(3)).await;
        replica.stop().await;
    });
}

#[test]
fn a_secret_that_comes_late_is_used_at_once_and_no_pod_was_told_that_nothing_is_sold() {
    virtually(|| async {
        let config = WorldConfig {
            secret: Some(BTreeMap::new()),
            ..WorldConfig::default()
        };
        let harness = Harness::with(203, config, &[]).await;
        harness.group("general", 0, 3, json!({})).await;
        let replica = harness.start();
        harness.deployment("web", 1, "800m", None).await;
        harness.minutes(10).await;
        assert!(replica.leads());
        plant_good_secret(&harness);
        // It is looked for every few seconds, and nothing else is waited for.
        let limit = Duration::from_secs(10);
        let bought = harness
            .world
            .wait_until(limit, |view| !view.vpsie_nodes.is_empty());
        assert!(bought.await, "{}", harness.picture());
        harness.wait(10, "the pod runs", all_running(1)).await;
        let told = told("NotTriggerScaleUp", &[]);
        assert!(!harness.world.look(told), "{}", harness.picture());
        replica.stop().await;
    });
}

#[test]
fn a_group_with_its_minimum_above_its_maximum_is_named_and_the_others_work() {
    virtually(|| async {
        let harness = Harness::new(202).await;
        harness.group("good", 1, 3, json!({})).await;
        // As a cluster has it whose definition came without the rule: stored, and past validation.
        harness.group("bad", 2, 2, json!({})).await;
        let mut bad = harness
            .world
            .kube
            .get(
                "autoscaler.vpsie.com/v1alpha1",
                "NodeGroup",
                "kube-system",
                "bad",
            )
            .unwrap();
        bad["spec"]["minNodes"] = json!(5);
        harness.world.kube.insert(bad).unwrap();
        let replica = harness.start();
        harness
            .wait(
                5,
                "the group is named",
                told("ValidationFailed", &["minNodes (5)", "maxNodes (2)"]),
            )
            .await;
        harness
            .wait(5, "and says so", in_error("bad", "MinNodesAboveMaxNodes"))
            .await;
        harness.wait(15, "the other group works", settled(1)).await;
        harness.deployment("web", 3, "800m", None).await;
        harness.wait(20, "all pods run", all_running(3)).await;
        assert!(
            harness
                .world
                .view()
                .vpsie_nodes
                .values()
                .all(|node| node.group == "kube-system/good")
        );
        replica.stop().await;
    });
}

#[test]
fn an_unknown_offering_or_datacenter_is_named_and_the_others_work() {
    virtually(|| async {
        let harness = Harness::new(203).await;
        harness
            .group("size", 1, 3, json!({ "offeringIDs": ["no-such-size"] }))
            .await;
        harness
            .group("place", 1, 3, json!({ "datacenterID": "no-such-place" }))
            .await;
        let replica = harness.start();
        harness
            .wait(
                5,
                "the offering is named",
                in_error("size", "OfferingUnknown"),
            )
            .await;
        harness
            .wait(
                5,
                "the datacenter is named",
                in_error("place", "DatacenterUnknown"),
            )
            .await;
        for name in ["no-such-size", "no-such-place"] {
            harness
                .wait(1, "an Event names it", told("ValidationFailed", &[name]))
                .await;
        }
        harness.group("good", 1, 3, json!({})).await;
        harness.wait(15, "the good group works", settled(1)).await;
        // Mended, the group works too.
        harness.group("size", 1, 3, json!({})).await;
        harness.wait(15, "the mended one works", settled(2)).await;
        assert!(harness.world.look(without_error("size")));
        replica.stop().await;
    });
}

fn stray_node(name: &str, labels: &Value, status: &Value) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Node",
        "metadata": { "name": name, "labels": labels },
        "spec": {}, "status": status,
    })
}

#[test]
fn quantities_that_do_not_parse_and_nodes_without_capacity_stop_nothing() {
    virtually(|| async {
        let harness = Harness::new(204).await;
        harness.group("general", 1, 4, json!({})).await;
        let amounts = json!({ "cpu": "plenty", "memory": "1Zi", "pods": "-3" });
        let strays = [
            (
                "odd",
                json!({ "capacity": amounts, "allocatable": amounts }),
            ),
            ("bare", json!({})),
        ];
        for (name, status) in &strays {
            let node = stray_node(name, &json!({ "kubernetes.io/hostname": name }), status);
            harness.world.kube.insert(node).unwrap();
        }
        harness
            .world
            .kube
            .insert(json!({
                "apiVersion": "v1", "kind": "Pod",
                "metadata": { "name": "odd", "namespace": "default" },
                "spec": {
                    "schedulerName": "default-scheduler",
                    "containers": [{
                        "name": "main", "image": "registry.example/app:1",
                        "resources": { "requests": { "cpu": "a lot", "memory": "64Mi" } },
                    }],
                },
                "status": {
                    "phase": "Pending",
                    "conditions": [{
                        "type": "PodScheduled", "status": "False", "reason": "Unschedulable",
                        "lastTransitionTime": "2026-01-05T08:00:00Z",
                    }],
                },
            }))
            .unwrap();
        let replica = harness.start();
        harness.wait(15, "the minimum is there", settled(1)).await;
        harness.deployment("web", 3, "800m", None).await;
        harness
            .wait(20, "the other pods run", |view| view.counts().running == 3)
            .await;
        harness
            .wait(5, "the pod is named", |view| {
                view.decisions.iter().any(|decision| {
                    decision.object == "Pod default/odd" && decision.message.contains("a lot")
                })
            })
            .await;
        harness.world.scale("default", "web", 0).await.unwrap();
        harness.wait(60, "back to the minimum", settled(1)).await;
        let view = harness.world.view();
        for (name, _) in strays {
            assert!(view.nodes.contains_key(name), "{}", harness.picture());
        }
        assert!(view.pods.contains_key("default/odd"));
        replica.stop().await;
    });
}

#[test]
fn two_nodes_whose_hostnames_differ_in_case_only_are_a_conflict_and_neither_is_touched() {
    virtually(|| async {
        let harness = Harness::new(205).await;
        harness.group("general", 1, 3, json!({})).await;
        let replica = harness.start();
        harness
            .wait(10, "the machine is known", |view| {
                view.vpsie_nodes.values().any(|node| node.machine.is_some())
            })
            .await;
        let row = harness
            .world
            .view()
            .vpsie_nodes
            .into_values()
            .next()
            .unwrap();
        assert_eq!(row.node, None, "the machine has not joined yet");
        // Both are there before either can be taken for the machine's own.
        replica.stop().await;
        let uuid = row.machine.unwrap();
        let machines = harness.world.cloud.machines();
        let machine = machines.iter().find(|m| m.uuid == uuid).unwrap();
        let shouted = machine.hostname.to_uppercase();
        assert_ne!(shouted, machine.hostname);
        harness
            .world
            .kube
            .insert(stray_node(
                "double",
                &json!({ "kubernetes.io/hostname": shouted }),
                &json!({ "capacity": { "cpu": "2", "memory": "4Gi", "pods": "110" } }),
            ))
            .unwrap();
        let hostname = machine.node_name.clone();
        harness
            .wait(10, "the machine joined", |view| {
                view.nodes.contains_key(&hostname)
            })
            .await;
        let replica = harness.start();
        harness
            .wait(
                10,
                "the conflict is told",
                told("NodeConflict", &["double"]),
            )
            .await;
        harness.minutes(5).await;
        let view = harness.world.view();
        assert_eq!(harness.paid(), 1, "{}", harness.picture());
        assert!(view.nodes.contains_key("double") && view.nodes.contains_key(&hostname));
        assert!(view.nodes.values().all(|node| node.group.is_none()));
        assert!(
            view.vpsie_nodes
                .values()
                .all(|node| !node.deleting && node.node.is_none())
        );
        harness
            .world
            .delete("v1", "Node", "", "double")
            .await
            .unwrap();
        harness
            .wait(10, "the machine's own is adopted", settled(1))
            .await;
        assert_eq!(harness.bought(), 1, "{}", harness.picture());
        replica.stop().await;
    });
}

/// Every read meets `fault` for a while. `reason`: what the group's Error condition says then.
fn survives(seed: u64, fault: Fault, reason: Option<&'static str>) {
    virtually(move || async move {
        let harness = Harness::new(seed).await;
        harness.group("general", 1, 4, json!({})).await;
        let replica = harness.start();
        harness.deployment("web", 3, "800m", None).await;
        harness.wait(20, "all pods run", all_running(3)).await;
        harness.wait(10, "two nodes", settled(2)).await;
        let begun = harness.world.cloud.journal().len();
        let faults = harness.world.cloud.faults();
        let rule = faults.add(Rule::on(Match::Reads, fault).always());
        // Nothing that is read says that the machines are gone.
        harness.minutes(10).await;
        assert!(faults.struck(rule) > 0);
        if let Some(reason) = reason {
            harness
                .wait(10, "the group says so", in_error("general", reason))
                .await;
        }
        harness.minutes(20).await;
        assert_eq!(harness.paid(), 2, "{}", harness.picture());
        assert!(harness.world.look(settled(2)), "{}", harness.picture());
        assert!(harness.world.look(all_running(3)));
        let requests = harness.world.cloud.journal().len() - begun;
        assert!(requests < 1000, "{requests} requests in half an hour");
        faults.clear();
        harness.deployment("more", 2, "800m", None).await;
        harness.wait(30, "the new pods run", all_running(5)).await;
        harness
            .wait(10, "the error is over", without_error("general"))
            .await;
        harness.minutes(1).await;
        assert_eq!(harness.paid(), 3, "{}", harness.picture());
        replica.stop().await;
    });
}

#[test]
fn truncated_bodies_are_an_error_and_delete_nothing() {
    survives(211, Fault::Truncated, Some("VPSieAPIError"));
}

#[test]
fn bodies_of_wrong_types_are_an_error_and_delete_nothing() {
    survives(212, Fault::WrongTypes, Some("VPSieAPIError"));
}

#[test]
fn bodies_nested_too_deep_are_an_error_and_delete_nothing() {
    survives(213, Fault::DeepBody { depth: 5_000 }, Some("VPSieAPIError"));
}

#[test]
fn rows_without_identity_are_an_error_and_delete_nothing() {
    survives(214, Fault::MissingUuid, None);
}

#[test]
fn empty_lists_although_machines_exist_delete_nothing() {
    survives(215, Fault::EmptyListAlthough, None);
}

#[test]
fn numbers_as_strings_delete_nothing() {
    survives(216, Fault::NumbersAsStrings, None);
}
