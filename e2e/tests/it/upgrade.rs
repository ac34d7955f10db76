//! A cluster as the predecessor left it: its groups with their status, its VPSieNodes in every
//! phase, its machines and their Nodes. The product takes over what is there.

mod left;

use std::{collections::BTreeMap, time::Duration};

use api::labels;
use k8s_openapi::api::core::v1::Node;
use kube::{
    Api, Client,
    api::{ListParams, Patch, PatchParams},
};
use serde_json::json;
use sim::{DeploymentOptions, View};
use vpsie_sim::{InitialGroup, Machine, Phase, Role, Route};

use crate::ground::{Ground, world};
use left::{GROUP, Machines, Place, UNHEARD, WORKERS};

/// Of the product: how long a create may still take effect, and how long a machine must be missing
/// from the listing until it counts as gone.
const SETTLE: Duration = Duration::from_mins(15);
const DISAPPEARANCE: Duration = Duration::from_mins(5);

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

fn phase(view: &View, name: &str) -> Option<String> {
    let node = view.vpsie_nodes.get(&format!("kube-system/{name}"));
    node.map(|node| node.phase.clone())
}

/// Machines that exist or may, and nodes that are ready, as the group's status says.
fn figures(view: &View) -> (i32, i32) {
    let group = &view.groups[&format!("kube-system/{GROUP}")];
    (group.current, group.ready)
}

async fn node(client: &Client, machine: &Machine) -> Node {
    let nodes: Api<Node> = Api::all(client.clone());
    nodes.get(&machine.node_name).await.unwrap()
}

/// Each serving machine belongs to its VPSieNode, and its Node says so; no other Node does.
async fn assert_adopted(
    ground: &Ground,
    client: &Client,
    machines: &Machines,
    foreign: &[&Machine],
) {
    let view = ground.stage.world.view();
    for (name, machine) in machines.serving() {
        let row = &view.vpsie_nodes[&format!("kube-system/{name}")];
        let (uuid, joined) = (machine.uuid.as_str(), machine.node_name.as_str());
        assert_eq!(row.machine.as_deref(), Some(uuid), "{name}");
        assert_eq!(row.node.as_deref(), Some(joined), "{name}");
        let labels = node(client, machine).await.metadata.labels.unwrap();
        assert_eq!(labels[labels::VPSIE_NODE], name);
        assert_eq!(labels[labels::NODE_GROUP], GROUP);
        assert_eq!(labels["tier"], "web");
    }
    for machine in foreign {
        let found = node(client, machine).await;
        let labels = found.metadata.labels.unwrap_or_default();
        assert!(
            !labels.contains_key(labels::VPSIE_NODE),
            "{}",
            machine.node_name
        );
        assert_ne!(
            found.spec.unwrap().unschedulable,
            Some(true),
            "{}",
            machine.node_name
        );
    }
    let groups: Api<api::NodeGroup> = Api::namespaced(client.clone(), "kube-system");
    let group = groups.get(GROUP).await.unwrap();
    let finalizers = vec![labels::NODE_GROUP_FINALIZER.to_owned()];
    assert_eq!(group.metadata.finalizers, Some(finalizers));
    let pool = ground.stage.world.cloud.pools(&ground.stage.world.cluster)[0].id;
    assert_eq!(group.status.unwrap().vpsie_group_id, Some(pool));
    let nodes: Api<api::VPSieNode> = Api::namespaced(client.clone(), "kube-system");
    for left in nodes.list(&ListParams::default()).await.unwrap() {
        let finalizers = vec![labels::VPSIE_NODE_FINALIZER.to_owned()];
        assert_eq!(left.metadata.finalizers, Some(finalizers));
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Go and minutes: e2e/README.md"]
async fn what_the_predecessor_left_is_taken_over_without_buying_or_deleting_a_machine() {
    let mut config = world((10_000, 10_000), (15_000, 15_000), (1000, 1000));
    config.cloud.clusters[0].groups = vec![InitialGroup {
        name: GROUP.into(),
        size: 101,
        workers: WORKERS,
    }];
    let mut ground = Ground::set(config, 46, &[]).await;
    let client = ground.plane.client().await.unwrap();
    let cluster = ground.stage.world.cluster.clone();
    let pool = ground.stage.world.cloud.pools(&cluster)[0].id;
    let add = |ground: &Ground| {
        let cloud = &ground.stage.world.cloud;
        cloud.human_add_worker(&cluster, pool).unwrap()
    };
    let mut workers = ground.stage.world.cloud.machines();
    workers.retain(|machine| machine.role == Role::Worker && machine.phase == Phase::Running);
    // One the predecessor bought, and one that a person looks after.
    let (provisioned, by_hand) = (add(&ground), add(&ground));
    let place = |ground: &Ground| Place {
        cluster: cluster.clone(),
        pool,
        now: ground.stage.world.clock.now(),
    };
    let group = place(&ground).leave_group(&client).await;
    ground
        .until("the nodes are there", 60, |_, view| {
            view.counts().nodes_ready >= WORKERS as usize
        })
        .await;
    ground
        .until("a machine runs and has not joined", 60, |ground, _| {
            machine(ground, &provisioned.uuid).phase == Phase::Running
        })
        .await;
    // What the create brought of which the predecessor never heard again.
    let (building, unheard) = (add(&ground), add(&ground));
    let mut workers = workers.into_iter();
    let mut next = || workers.next().unwrap();
    let machines = Machines {
        ready: next(),
        named: next(),
        joining: next(),
        failed: next(),
        terminating: next(),
        provisioned: machine(&ground, &provisioned.uuid),
        building,
    };
    let left_at = ground.now();
    machines.leave(&client, &place(&ground), &group).await;
    // The predecessor's nodes work: three pods on each.
    let options = DeploymentOptions {
        node_selector: BTreeMap::from([("tier".into(), "web".into())]),
        ..DeploymentOptions::default()
    };
    ground.deploy("web", 6, "500m", &options).await;
    ground.all_run(6, 60).await;

    let began = ground.now();
    ground.start();
    ground
        .until("everything that can be is Ready", 90, |_, view| {
            let mut serving = machines.serving().into_iter();
            serving.all(|(name, _)| phase(view, name).as_deref() == Some("Ready"))
        })
        .await;
    let adopted = ground.now().saturating_sub(began);
    // Five serve. Three more count, because they are or may be paid for: the one that was given up
    // has its machine; the create that was never heard of may still bring one; and that the one
    // being deleted is gone is not proven yet.
    ground
        .until("the group's status is right", 30, |_, view| {
            figures(view) == (8, 5)
        })
        .await;
    let unheard_until = left_at + SETTLE.saturating_sub(UNHEARD.unsigned_abs());
    assert!(ground.now() < unheard_until.min(began + DISAPPEARANCE));
    assert_eq!(writes(&ground), (0, 0, 0), "bought, deleted, pools");
    let foreign = [&by_hand, &unheard, &machines.terminating, &machines.failed];
    assert_adopted(&ground, &client, &machines, &foreign).await;
    // Then nothing can come of that create any more.
    ground
        .until(
            "the create that was never heard of counts no more",
            180,
            |_, view| figures(view) == (7, 5),
        )
        .await;
    assert!(ground.now() >= unheard_until, "too soon");
    assert_eq!(writes(&ground), (0, 0, 0), "bought, deleted, pools");
    assert_adopted(&ground, &client, &machines, &foreign).await;

    // What the predecessor had decided is carried out: one more, and one less.
    ground.kill();
    machines
        .leave_decided(&client, &place(&ground), &group)
        .await;
    let began = ground.now();
    ground.start();
    ground
        .until("one is bought and one removed", 180, |_, view| {
            phase(view, "complete-pending").as_deref() == Some("Ready")
                && phase(view, "complete-terminating").is_none()
        })
        .await;
    assert_eq!(writes(&ground), (1, 1, 0), "bought, deleted, pools");
    assert!(!machine(&ground, &machines.terminating.uuid).is_paid());

    // Six nodes with room for three pods each: two more pods need one more.
    let scaled = ground.now();
    ground.scale("web", 20).await;
    ground.all_run(20, 120).await;
    let up = ground.now().saturating_sub(scaled);
    assert_eq!(writes(&ground), (2, 1, 0), "bought, deleted, pools");
    // A machine that nobody asked to delete is believed to be gone only after minutes; then its
    // object goes, which until then is the one removal that there may be at a time.
    ground
        .until(
            "the vanished machine is believed to be gone",
            360,
            |_, view| phase(view, "complete-deleting").is_none() && figures(view) == (8, 7),
        )
        .await;
    assert!(ground.now() >= began + DISAPPEARANCE, "too soon");
    let quick = json!({"spec": {"minNodes": 5, "scaleDownPolicy": {
        "stabilizationWindowSeconds": 5, "cooldownSeconds": 5}}});
    let groups: Api<api::NodeGroup> = Api::namespaced(client.clone(), "kube-system");
    let (how, quick) = (PatchParams::default(), Patch::Merge(quick));
    groups.patch(GROUP, &how, &quick).await.unwrap();
    ground.scale("web", 0).await;
    let scaled = ground.now();
    // One after the other, each until its machine is proven gone; what counts in the end are the
    // nodes in service and the machine that was given up.
    ground
        .until("five nodes are left", 240, |_, view| {
            let mut all = view.vpsie_nodes.values();
            figures(view) == (6, 5) && all.all(|node| !node.deleting)
        })
        .await;
    let down = ground.now().saturating_sub(scaled);
    println!(
        "{}",
        json!({
            "test": "upgrade", "adopted": machines.serving().len(),
            "adoptedSeconds": adopted.as_secs(), "scaleUpSeconds": up.as_secs(),
            "scaleDownSeconds": down.as_secs(), "boughtDeletedPools": writes(&ground),
        })
    );
    for kept in [&by_hand, &unheard, &machines.failed] {
        assert!(machine(&ground, &kept.uuid).is_paid(), "{}", kept.hostname);
    }
    assert_eq!(ground.unsafe_deletions, Vec::<String>::new());
    // The one that was to go, and all but five of the seven that served.
    assert_eq!(writes(&ground), (2, 3, 0), "bought, deleted, pools");
    assert_eq!(ground.ends, 0, "it ended by itself");
}
