//! A cluster as the predecessor left it: its groups with their status, its VPSieNodes in every
//! phase, its machines and their Nodes. The product takes over what is there.

use std::{collections::BTreeMap, time::Duration};

use api::labels;
use jiff::SignedDuration;
use k8s_openapi::api::core::v1::Node;
use kube::Api;
use serde_json::{Value, json};
use sim::DeploymentOptions;
use vpsie_sim::{InitialGroup, Machine, Phase, Role, Route};

use crate::ground::{Ground, world};

const VERSION: &str = "v1.33.2";
/// Workers that run when the product comes: two in service, one joining, one being taken away.
const RUNNING: usize = 4;

/// What the predecessor wrote of one machine.
struct Left<'a> {
    name: &'a str,
    phase: &'a str,
    /// `None` before it learned which one it is.
    machine: Option<&'a Machine>,
    /// How long ago it was asked for.
    age: SignedDuration,
    /// The guard against a second purchase.
    requested: bool,
}

fn ago(age: SignedDuration) -> String {
    let at = runtime::Clock::system().now() - age;
    api::conditions::seconds(at)
}

fn managed(name: &str, machine: &str) -> Vec<String> {
    vec![
        format!("{}=true", labels::MANAGED),
        format!("{}={name}", labels::NODE_GROUP),
        format!("{}={machine}", labels::VPSIE_NODE),
        format!("{}=HEL", labels::DATACENTER),
        "tier=web".to_owned(),
    ]
}

/// The group with the status that the predecessor gave it.
async fn leave_group(ground: &Ground, pool: i64) -> String {
    let group = json!({
        "apiVersion": "autoscaler.vpsie.com/v1alpha1", "kind": "NodeGroup",
        "metadata": {
            "name": "complete", "namespace": "kube-system",
            "labels": {labels::MANAGED: "true", "app.kubernetes.io/managed-by": "Helm"},
            "finalizers": [labels::NODE_GROUP_FINALIZER],
        },
        "spec": {
            "minNodes": 1, "maxNodes": 20, "datacenterID": "HEL", "offeringIDs": ["a"],
            "resourceIdentifier": ground.stage.world.cluster, "project": "", "kubeSizeID": 101,
            "kubernetesVersion": VERSION, "labels": {"tier": "web"}, "allowMixedInstances": true,
            "scaleUpPolicy": {
                "stabilizationWindowSeconds": 60, "cpuThreshold": 80, "memoryThreshold": 80,
                "enabled": true,
            },
            "scaleDownPolicy": {
                "stabilizationWindowSeconds": 600, "cpuThreshold": 50, "memoryThreshold": 50,
                "enabled": true, "cooldownSeconds": 600,
            },
        },
    });
    ground.apply(&group).await;
    let status = json!({"status": {
        "currentNodes": 9, "desiredNodes": 9, "readyNodes": 1, "vpsieGroupID": pool,
        "nodes": [{"nodeName": "complete-1a2b3c4d", "vpsID": 12345, "instanceType": "a",
            "status": "Provisioning"}],
        "conditions": [
            {"type": "Ready", "status": "False", "lastTransitionTime": ago(SignedDuration::from_hours(1)),
                "lastUpdateTime": ago(SignedDuration::from_hours(1)), "reason": "Reconciling",
                "message": "1/9 nodes ready"},
            {"type": "Scaling", "status": "True", "reason": "ScalingUp", "message": "scaling",
                "lastTransitionTime": ago(SignedDuration::from_hours(1))},
            {"type": "AtMinCapacity", "status": "False"},
        ],
        "lastScaleTime": ago(SignedDuration::from_mins(20)),
        "lastScaleUpTime": ago(SignedDuration::from_mins(20)), "observedGeneration": 7,
    }});
    patch_status(ground, "nodegroup/complete", &status).await;
    let groups: Api<api::NodeGroup> =
        Api::namespaced(ground.plane.client().await.unwrap(), "kube-system");
    groups.get("complete").await.unwrap().metadata.uid.unwrap()
}

async fn patch_status(ground: &Ground, object: &str, status: &Value) {
    let text = status.to_string();
    let arguments = [
        "-n",
        "kube-system",
        "patch",
        object,
        "--subresource=status",
        "--type=merge",
        "-p",
        &text,
    ];
    ground.plane.kubectl(&arguments).await.unwrap();
}

async fn leave(ground: &Ground, group: &str, pool: i64, left: Left<'_>) {
    let mut object = json!({
        "apiVersion": "autoscaler.vpsie.com/v1alpha1", "kind": "VPSieNode",
        "metadata": {
            "name": left.name, "namespace": "kube-system",
            "labels": {labels::MANAGED: "true", labels::NODE_GROUP: "complete"},
            "finalizers": [labels::VPSIE_NODE_FINALIZER],
            "ownerReferences": [{
                "apiVersion": "autoscaler.vpsie.com/v1alpha1", "kind": "NodeGroup",
                "name": "complete", "uid": group, "controller": true, "blockOwnerDeletion": true,
            }],
        },
        "spec": {
            "vpsieInstanceID": 0, "instanceType": "a", "nodeGroupName": "complete",
            "datacenterID": "HEL", "resourceIdentifier": ground.stage.world.cluster,
            "project": "", "kubernetesVersion": VERSION, "vpsieGroupID": pool,
        },
    });
    if left.requested {
        object["metadata"]["annotations"] = json!({labels::CREATION_REQUESTED: "true"});
    }
    let mut status = json!({"phase": left.phase, "observedGeneration": 2});
    if left.phase != "Pending" {
        status["createdAt"] = json!(ago(left.age));
    }
    if let Some(machine) = left.machine {
        object["spec"]["vpsieNodeIdentifier"] = json!(machine.uuid);
        status["hostname"] = json!(machine.hostname);
        if machine.phase == Phase::Running {
            object["spec"]["ipAddress"] = json!(machine.default_ip);
            object["spec"]["nodeName"] = json!(machine.node_name);
            status["vpsieStatus"] = json!("running");
            status["resources"] =
                json!({"cpu": 2, "memoryMB": 4096, "diskGB": 80, "bandwidthGB": 0});
            status["provisionedAt"] = json!(ago(left.age));
        }
    }
    if matches!(left.phase, "Ready" | "Terminating" | "Deleting") {
        let node = left.machine.map(|machine| machine.node_name.clone());
        status["nodeName"] = json!(node);
        status["joinedAt"] = json!(ago(left.age));
        status["readyAt"] = json!(ago(left.age));
    }
    let mut conditions = vec![
        json!({"type": "VPSReady", "status": "True", "reason": left.phase,
        "lastTransitionTime": ago(left.age), "lastUpdateTime": ago(left.age)}),
    ];
    if left.phase == "Failed" {
        status["lastError"] = json!("no node within 15m0s");
        conditions.push(
            json!({"type": "Error", "status": "True", "reason": "JoiningTimeout",
            "message": "no node", "lastTransitionTime": ago(left.age)}),
        );
    }
    status["conditions"] = json!(conditions);
    ground.apply(&object).await;
    let name = format!("vpsienode/{}", left.name);
    patch_status(ground, &name, &json!({ "status": status })).await;
    if matches!(left.phase, "Terminating" | "Deleting") {
        let arguments = ["-n", "kube-system", "delete", &name, "--wait=false"];
        ground.plane.kubectl(&arguments).await.unwrap();
    }
}

async fn label(ground: &Ground, node: &str, labels: &[String]) {
    let mut arguments = vec!["label", "node", node];
    arguments.extend(labels.iter().map(String::as_str));
    ground.plane.kubectl(&arguments).await.unwrap();
}

fn machine(ground: &Ground, uuid: &str) -> Machine {
    let mut all = ground.stage.world.cloud.machines().into_iter();
    all.find(|machine| machine.uuid == uuid).unwrap()
}

fn writes(ground: &Ground) -> (usize, usize, usize) {
    (
        ground.requests(Route::AddWorker).len(),
        ground.requests(Route::DeleteWorker).len(),
        ground.requests(Route::AddGroup).len(),
    )
}

fn phase(view: &sim::View, name: &str) -> Option<String> {
    let node = view.vpsie_nodes.get(&format!("kube-system/{name}"));
    node.map(|node| node.phase.clone())
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Go and minutes: e2e/README.md"]
async fn what_the_predecessor_left_is_taken_over_without_buying_or_deleting_a_machine() {
    let mut config = world((10_000, 10_000), (15_000, 15_000), (1000, 1000));
    config.cloud.clusters[0].groups = vec![InitialGroup {
        name: "complete".into(),
        size: 101,
        workers: RUNNING as u32,
    }];
    let mut ground = Ground::set(config, 46, &[]).await;
    let cluster = ground.stage.world.cluster.clone();
    let pool = ground.stage.world.cloud.pools(&cluster)[0].id;
    let add = |ground: &Ground| {
        let cloud = &ground.stage.world.cloud;
        cloud.human_add_worker(&cluster, pool).unwrap()
    };
    // Bought before the product came: one runs and has not joined, one a person looks after.
    let (provisioned, by_hand) = (add(&ground), add(&ground));
    let mut running = ground.stage.world.cloud.machines();
    running.retain(|machine| machine.role == Role::Worker && machine.phase == Phase::Running);
    assert_eq!(running.len(), RUNNING);
    ground
        .until("the nodes are there", 60, |_, view| {
            view.counts().nodes_ready == RUNNING
        })
        .await;

    let group = leave_group(&ground, pool).await;
    for (number, machine) in running[..2].iter().enumerate() {
        let name = format!("complete-ready{number}");
        label(&ground, &machine.node_name, &managed("complete", &name)).await;
    }
    // The predecessor's nodes work: three pods on each.
    let options = DeploymentOptions {
        node_selector: BTreeMap::from([("tier".into(), "web".into())]),
        ..DeploymentOptions::default()
    };
    ground.deploy("web", 6, "500m", &options).await;
    ground.all_run(6, 60).await;
    ground
        .until("a machine runs and has not joined", 60, |ground, _| {
            machine(ground, &provisioned.uuid).phase == Phase::Running
        })
        .await;
    let provisioned = machine(&ground, &provisioned.uuid);
    let (building, nameless) = (add(&ground), add(&ground));
    let hour = SignedDuration::from_hours(1);
    let moment = SignedDuration::from_secs(30);
    let mut vanished = running[0].clone();
    vanished.uuid = "3f2b0a7e-0000-4000-8000-000000000005".into();
    vanished.hostname = "HEL-Kubernetes-49ab-slave-gone".into();
    vanished.node_name = vanished.hostname.to_lowercase();
    for (name, phase, machine, age, requested) in [
        ("complete-ready0", "Ready", Some(&running[0]), hour, true),
        ("complete-ready1", "Ready", Some(&running[1]), hour, false),
        (
            "complete-joining",
            "Joining",
            Some(&running[2]),
            moment,
            true,
        ),
        (
            "complete-provisioned",
            "Provisioned",
            Some(&provisioned),
            moment,
            true,
        ),
        (
            "complete-building",
            "Provisioning",
            Some(&building),
            moment,
            true,
        ),
        // Asked for, and never learned which machine it is: nearly given up.
        (
            "complete-nameless",
            "Provisioning",
            None,
            SignedDuration::from_secs(540),
            true,
        ),
        ("complete-deleting", "Deleting", Some(&vanished), hour, true),
        ("complete-failed", "Failed", Some(&vanished), moment, true),
    ] {
        let left = Left {
            name,
            phase,
            machine,
            age,
            requested,
        };
        leave(&ground, &group, pool, left).await;
    }

    let began = ground.now();
    ground.start();
    let live = [
        ("complete-ready0", &running[0]),
        ("complete-ready1", &running[1]),
        ("complete-joining", &running[2]),
        ("complete-provisioned", &provisioned),
        ("complete-building", &building),
    ];
    ground
        .until("everything that can be is Ready", 90, |_, view| {
            live.iter()
                .all(|(name, _)| phase(view, name).as_deref() == Some("Ready"))
        })
        .await;
    let adopted = ground.now().saturating_sub(began);
    ground
        .until("the one without a machine is given up", 120, |_, view| {
            phase(view, "complete-nameless").is_none_or(|phase| phase == "Failed")
        })
        .await;
    ground
        .until("the group's status is right", 60, |_, view| {
            let group = &view.groups["kube-system/complete"];
            group.ready == 5
        })
        .await;
    ground.sleep(Duration::from_secs(5)).await;
    assert_eq!(writes(&ground), (0, 0, 0), "bought, deleted, pools");
    let nodes: Api<Node> = Api::all(ground.plane.client().await.unwrap());
    for (name, machine) in live {
        let row = ground.stage.world.view().vpsie_nodes[&format!("kube-system/{name}")].clone();
        assert_eq!(
            row.machine.as_deref(),
            Some(machine.uuid.as_str()),
            "{name}"
        );
        assert_eq!(
            row.node.as_deref(),
            Some(machine.node_name.as_str()),
            "{name}"
        );
        let node = nodes.get(&machine.node_name).await.unwrap();
        let labels = node.metadata.labels.unwrap();
        assert_eq!(labels[labels::VPSIE_NODE], name);
        assert_eq!(labels[labels::NODE_GROUP], "complete");
        assert_eq!(labels["tier"], "web");
    }
    for machine in [&by_hand, &nameless, &running[3]] {
        let node = nodes.get(&machine.node_name).await.unwrap();
        let labels = node.metadata.labels.unwrap_or_default();
        assert!(
            !labels.contains_key(labels::VPSIE_NODE),
            "{}",
            machine.node_name
        );
    }
    let groups: Api<api::NodeGroup> =
        Api::namespaced(ground.plane.client().await.unwrap(), "kube-system");
    let status = groups.get("complete").await.unwrap().status.unwrap();
    assert_eq!(status.vpsie_group_id, Some(pool));
    assert_eq!(status.ready_nodes, 5);
    let waiting = status.current_nodes - 5;
    // Those without a machine count until it is proven that there is none.
    assert!((0..=3).contains(&waiting), "{} nodes", status.current_nodes);

    // What was decided is carried out: one more, and one less.
    ground.kill();
    let (pending, terminating) = ("complete-pending", "complete-terminating");
    label(
        &ground,
        &running[3].node_name,
        &managed("complete", terminating),
    )
    .await;
    for (name, phase, machine) in [
        (pending, "Pending", None),
        (terminating, "Terminating", Some(&running[3])),
    ] {
        let left = Left {
            name,
            phase,
            machine,
            age: hour,
            requested: false,
        };
        leave(&ground, &group, pool, left).await;
    }
    ground.start();
    ground
        .until("one is bought and one removed", 180, |_, view| {
            phase(view, pending).as_deref() == Some("Ready") && phase(view, terminating).is_none()
        })
        .await;
    assert_eq!(writes(&ground), (1, 1, 0), "bought, deleted, pools");
    assert!(!machine(&ground, &running[3].uuid).is_paid());

    // Six nodes with room for three pods each: two more pods need one more.
    let began = ground.now();
    ground.scale("web", 20).await;
    ground.all_run(20, 120).await;
    let up = ground.now().saturating_sub(began);
    assert_eq!(writes(&ground), (2, 1, 0), "bought, deleted, pools");
    let quick = json!({"spec": {"scaleDownPolicy": {"stabilizationWindowSeconds": 5,
        "cooldownSeconds": 5}}})
    .to_string();
    let arguments = [
        "-n",
        "kube-system",
        "patch",
        "nodegroup/complete",
        "--type=merge",
        "-p",
        &quick,
    ];
    ground.plane.kubectl(&arguments).await.unwrap();
    ground.scale("web", 0).await;
    let began = ground.now();
    ground
        .until("one node is left", 180, |_, view| {
            let names = view.vpsie_nodes.values();
            names.filter(|node| node.phase == "Ready").count() == 1
                && view
                    .vpsie_nodes
                    .values()
                    // One whose machine has vanished waits minutes for the proof.
                    .all(|node| !node.deleting || node.machine.as_ref() == Some(&vanished.uuid))
        })
        .await;
    let down = ground.now().saturating_sub(began);
    println!(
        "{}",
        json!({
            "test": "upgrade", "adopted": live.len(), "adoptedSeconds": adopted.as_secs(),
            "scaleUpSeconds": up.as_secs(), "scaleDownSeconds": down.as_secs(),
            "boughtDeletedPools": writes(&ground),
        })
    );
    for kept in [&by_hand, &nameless] {
        assert!(machine(&ground, &kept.uuid).is_paid(), "{}", kept.hostname);
    }
    assert_eq!(ground.unsafe_deletions, Vec::<String>::new());
    assert_eq!(writes(&ground), (2, 7, 0), "bought, deleted, pools");
    assert_eq!(ground.ends, 0, "it ended by itself");
}
