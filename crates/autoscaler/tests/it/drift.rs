//! Clusters and clouds that are not as they should be: resource definitions of an older version,
//! listings that lack machines, machines that are not what was bought, kubelets that are gone.

use std::time::Duration;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::{
    Api,
    api::{DeleteParams, PostParams},
    core::ObjectMeta,
};
use serde_json::{Value, json};
use sim::View;
use vpsie_sim::{Fault, Match, Route, Rule};

use crate::harness::{Harness, all_running, settled, virtually};

const API: &str = "autoscaler.vpsie.com/v1alpha1";

fn heard(view: &View, reason: &str) -> bool {
    view.decisions.iter().any(|d| d.reason == reason)
}

fn creates(harness: &Harness) -> usize {
    let journal = harness.world.cloud.journal();
    journal
        .iter()
        .filter(|request| request.route == Route::AddWorker)
        .count()
}

/// The first VPSieNode: its name, machine and Node.
fn first(harness: &Harness) -> (String, String, String) {
    let view = harness.world.view();
    let (key, row) = view.vpsie_nodes.first_key_value().unwrap();
    let name = key.split_once('/').unwrap().1.to_owned();
    (
        name,
        row.machine.clone().unwrap(),
        row.node.clone().unwrap(),
    )
}

/// Puts a definition of VPSieNodes in place that does not know our fields of the status.
async fn install_an_older_definition(harness: &Harness) {
    let api: Api<CustomResourceDefinition> = Api::all(harness.world.client("admin"));
    let mut crd = json!(api.get("vpsienodes.autoscaler.vpsie.com").await.unwrap());
    let status =
        &mut crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["status"];
    let fields = status["properties"].as_object_mut().unwrap();
    for field in ["creation", "removal", "unneededSince", "failedAt"] {
        fields.remove(field).unwrap();
    }
    let mut older: CustomResourceDefinition = serde_json::from_value(crd).unwrap();
    let name = "vpsienodes.autoscaler.vpsie.com";
    api.delete(name, &DeleteParams::default()).await.unwrap();
    harness.minutes(1).await;
    older.metadata = ObjectMeta {
        name: Some(name.into()),
        ..ObjectMeta::default()
    };
    older.status = None;
    api.create(&PostParams::default(), &older).await.unwrap();
    harness.minutes(1).await;
}

#[test]
fn under_a_definition_that_drops_the_intent_nothing_is_bought_and_the_reason_is_told() {
    virtually(|| async {
        let harness = Harness::new(201).await;
        install_an_older_definition(&harness).await;
        harness.group("general", 0, 4, json!({})).await;
        let replica = harness.start();
        harness.deployment("web", 2, "800m", None).await;
        harness
            .wait(5, "people are told", |view| heard(view, "CRDOutdated"))
            .await;
        harness.minutes(30).await;
        assert_eq!((harness.bought(), creates(&harness)), (0, 0));
        replica.stop().await;
    });
}

#[test]
fn a_ready_node_is_kept_though_the_listing_lacks_its_machine() {
    virtually(|| async {
        let harness = Harness::new(202).await;
        harness.group("general", 4, 6, json!({})).await;
        let replica = harness.start();
        harness.wait(30, "four nodes", settled(4)).await;
        harness.deployment("web", 8, "800m", None).await;
        harness.wait(15, "all pods run", all_running(8)).await;
        let (name, machine, node) = first(&harness);
        harness.hide(&[&machine]);
        harness.minutes(60).await;
        assert_eq!(harness.world.counts().running, 8, "{}", harness.picture());
        assert!(harness.world.view().nodes.contains_key(&node));
        let object = harness
            .world
            .kube
            .get(API, "VPSieNode", "kube-system", &name);
        let conditions = object.unwrap()["status"]["conditions"].to_string();
        assert!(conditions.contains("MachineUnlisted"), "{conditions}");
        harness.hide(&[]);
        harness.minutes(10).await;
        assert_eq!((harness.bought(), harness.paid()), (4, 4));
        assert!(settled(4)(&harness.world.view()), "{}", harness.picture());
        replica.stop().await;
    });
}

/// Every purchase goes wrong in this way for six hours.
fn six_hours_of(seed: u64, fault: Fault, min: u32) -> (usize, usize) {
    virtually(move || async move {
        let harness = Harness::new(seed).await;
        let rule = Rule::on(Route::AddWorker, fault).always();
        harness.world.cloud.faults().add(rule);
        harness.group("general", min, 2, json!({})).await;
        let replica = harness.start();
        harness.deployment("web", 1, "800m", Some("general")).await;
        harness.minutes(360).await;
        let told = ["AmbiguousCreate", "MachineNotOurs"];
        let view = harness.world.view();
        let told = told.iter().any(|reason| heard(&view, reason));
        assert!(told, "{}", harness.picture());
        replica.stop().await;
        (creates(&harness), harness.paid())
    })
}

#[test]
fn machines_of_the_wrong_size_are_not_bought_beyond_the_maximum() {
    assert_eq!(six_hours_of(203, Fault::WrongSize, 0), (2, 2));
}

/// Either both are there at the first look and neither is adopted, or the first is.
#[test]
fn double_machines_are_not_bought_for_ever() {
    let (creates, paid) = six_hours_of(204, Fault::DuplicateMachine, 1);
    assert!(creates <= 2 && paid <= 4, "{creates} {paid}");
}

#[test]
fn a_request_that_the_predecessor_left_open_blocks_nothing_for_long_and_can_be_deleted() {
    virtually(|| async {
        let harness = Harness::new(205).await;
        harness.group("general", 0, 6, json!({})).await;
        let replica = harness.start();
        harness.deployment("web", 1, "800m", None).await;
        harness.wait(20, "a pod runs", all_running(1)).await;
        let group = harness
            .world
            .kube
            .get(API, "NodeGroup", "kube-system", "general");
        let pool = group.unwrap()["status"]["vpsieGroupID"].clone();
        assert!(pool.is_i64(), "{pool}");
        let left: Value = json!({
            "apiVersion": API, "kind": "VPSieNode",
            "metadata": {
                "name": "general-old1", "namespace": "kube-system",
                "annotations": { "autoscaler.vpsie.com/creation-requested": "true" },
                "finalizers": ["vpsienode.autoscaler.vpsie.com/finalizer"],
                "labels": {
                    "autoscaler.vpsie.com/managed": "true",
                    "autoscaler.vpsie.com/nodegroup": "general",
                },
            },
            "spec": {
                "instanceType": harness.size(0), "nodeGroupName": "general",
                "datacenterID": harness.datacenter(),
                "vpsieGroupID": pool, "vpsieInstanceID": 0,
            },
            "status": { "phase": "Provisioning", "createdAt": "2026-01-05T08:05:00Z" },
        });
        harness.world.kube.insert(left).unwrap();
        harness.world.scale("default", "web", 4).await.unwrap();
        harness.wait(40, "all pods run", all_running(4)).await;
        harness
            .wait(90, "the request is given up", |view| {
                !view.vpsie_nodes.contains_key("kube-system/general-old1")
            })
            .await;
        assert_eq!((harness.bought(), harness.paid()), (2, 2));
        replica.stop().await;
    });
}

#[test]
fn labels_that_the_api_server_refuses_are_told_and_do_not_hang_the_machine() {
    virtually(|| async {
        let harness = Harness::new(206).await;
        let labels = json!({ "labels": { "pool": "general", "team": "a b" } });
        harness.group("general", 1, 6, labels).await;
        let replica = harness.start();
        harness
            .wait(10, "people are told", |view| heard(view, "WriteRefused"))
            .await;
        harness
            .wait(30, "the machine is given up", |view| {
                heard(view, "NodeProvisioningFailed")
            })
            .await;
        assert!(harness.paid() <= 1, "{}", harness.picture());
        replica.stop().await;
    });
}

#[test]
fn a_machine_whose_size_its_group_no_longer_offers_before_it_is_bought_makes_room_for_another() {
    virtually(|| async {
        let harness = Harness::new(207).await;
        let replica = harness.start();
        harness.group("general", 0, 6, json!({})).await;
        harness.deployment("first", 1, "1500m", None).await;
        harness.wait(20, "the first pod runs", all_running(1)).await;
        harness.minutes(2).await;
        // Without a look at the cloud there is no baseline, so the next machine stays Pending.
        let rule = Rule::on(Match::Reads, Fault::Html500).always();
        harness.world.cloud.faults().add(rule);
        harness.minutes(1).await;
        harness.deployment("web", 1, "1500m", None).await;
        harness
            .wait(3, "a machine is wanted", |view| {
                view.vpsie_nodes
                    .values()
                    .any(|node| node.phase == "Pending")
            })
            .await;
        let other = json!({ "offeringIDs": [harness.size(1)] });
        harness.group("general", 0, 6, other).await;
        harness.world.cloud.faults().clear();
        harness.wait(60, "both pods run", all_running(2)).await;
        assert_eq!(harness.bought(), 2, "{}", harness.picture());
        replica.stop().await;
    });
}

#[test]
fn one_machine_that_is_awaited_costs_few_requests() {
    virtually(|| async {
        let harness = Harness::new(208).await;
        let rule = Rule::on(Route::AddWorker, Fault::StuckCreating);
        harness.world.cloud.faults().add(rule);
        harness.group("general", 0, 6, json!({})).await;
        let replica = harness.start();
        harness.deployment("web", 1, "800m", None).await;
        harness.minutes(2).await;
        let before = harness.world.cloud.journal().len();
        harness.minutes(5).await;
        let requests = harness.world.cloud.journal().len() - before;
        assert!(requests <= 5 * 15, "{requests} requests in five minutes");
        replica.stop().await;
    });
}

#[test]
fn pods_that_a_dead_kubelet_leaves_behind_do_not_hold_the_machine_which_goes_before_its_node() {
    virtually(|| async {
        let harness = Harness::new(209).await;
        harness.group("general", 0, 6, json!({})).await;
        let replica = harness.start();
        harness.deployment("web", 2, "800m", None).await;
        harness.wait(20, "the pods run", all_running(2)).await;
        let (name, machine, node) = first(&harness);
        harness.world.silence(&node);
        harness.minutes(3).await;
        harness
            .world
            .delete(API, "VPSieNode", "kube-system", &name)
            .await
            .unwrap();
        let machine_goes = |harness: &Harness| {
            let machines = harness.world.cloud.machines();
            let row = machines.iter().find(|row| row.uuid == machine);
            row.is_none_or(|row| !row.is_paid())
        };
        for _ in 0..120 {
            harness.clock.sleep(Duration::from_secs(30)).await;
            let gone = !harness.world.view().nodes.contains_key(&node);
            assert!(!gone || machine_goes(&harness), "{}", harness.picture());
        }
        assert!(machine_goes(&harness), "{}", harness.picture());
        assert!(!harness.world.view().nodes.contains_key(&node));
        harness
            .wait(30, "the pods run elsewhere", all_running(2))
            .await;
        assert_eq!(harness.paid(), 1, "{}", harness.picture());
        replica.stop().await;
    });
}

#[test]
fn a_human_who_uncordons_a_node_that_is_being_removed_gets_it_back_whole() {
    virtually(|| async {
        let harness = Harness::new(210).await;
        harness.group("general", 0, 6, json!({})).await;
        let replica = harness.start();
        harness.deployment("web", 1, "800m", None).await;
        harness.wait(20, "the pod runs", all_running(1)).await;
        let (_, _, node) = first(&harness);
        harness.world.scale("default", "web", 0).await.unwrap();
        let read = || harness.world.kube.get("v1", "Node", "", &node);
        loop {
            harness.clock.sleep(Duration::from_millis(200)).await;
            if read().unwrap()["spec"]["unschedulable"] == json!(true) {
                break;
            }
        }
        harness.world.cordon(&node, false).await.unwrap();
        harness.clock.sleep(Duration::from_secs(8)).await;
        let shown = read().unwrap().to_string();
        assert!(!shown.contains("/removing"), "{shown}");
        assert!(!shown.contains("cordoned-by"), "{shown}");
        replica.stop().await;
    });
}
