//! The API server goes away, for a moment and for long, and its watch history with it, while the
//! product buys and while it removes.

use std::{collections::BTreeMap, time::Duration};

use e2e::{Component, product};
use serde_json::json;
use sim::DeploymentOptions;
use vpsie_sim::Route;

use crate::ground::{Ground, group, world};

/// Pods that want a node each.
const CPU: &str = "1500m";

/// For how long the API server is away in the long outages.
fn outage() -> Duration {
    let text = std::env::var("VPSIE_E2E_OUTAGE_SECONDS");
    Duration::from_secs(text.map_or(45, |text| text.parse().unwrap()))
}

async fn ground(seed: u64) -> Ground {
    let config = world((2000, 4000), (1000, 2000), (1000, 2000));
    // A request whose answer was lost is waited for; the simulator takes no time for one.
    let mut ground = Ground::set(config, seed, &["--create-quarantine=20s"]).await;
    ground.start();
    let quick = json!({
        "scaleUpPolicy": {"stabilizationWindowSeconds": 5},
        "scaleDownPolicy": {"stabilizationWindowSeconds": 5, "cooldownSeconds": 5, "enabled": true},
    });
    let general = group("general", "small-2cpu-4gb", 20, &quick);
    ground.apply(&general).await;
    ground.group_is_known("general").await;
    ground
}

/// The API server is away for so long; `None` is a restart.
async fn away(ground: &mut Ground, how_long: Option<Duration>) {
    match how_long {
        None => ground.plane.restart(Component::ApiServer).await.unwrap(),
        Some(how_long) => {
            ground.plane.stop(Component::ApiServer);
            ground.sleep(how_long).await;
            let started = ground.plane.start_component(Component::ApiServer);
            started.await.unwrap();
        }
    }
}

/// The pods are as many as asked for, and so are the machines, each of them owned.
async fn settled(ground: &mut Ground, pods: u32) {
    let count = pods as usize;
    let what = format!("{pods} pods run on {pods} machines");
    ground
        .until(&what, 240, |ground, view| {
            let counts = view.counts();
            (counts.running, counts.pending) == (count, 0)
                && ground.paid().len() == count
                && view.vpsie_nodes.len() == count
                && view.vpsie_nodes.values().all(|node| node.phase == "Ready")
        })
        .await;
    ground.assert_owned();
}

async fn an_outage_of_both_kinds(seed: u64, how_long: Option<Duration>) {
    let mut ground = ground(seed).await;
    let options = DeploymentOptions::default();
    ground.deploy("web", 5, CPU, &options).await;
    ground
        .until("the first of five is bought", 60, |ground, _| {
            !ground.requests(Route::AddWorker).is_empty()
        })
        .await;
    let asked = ground.requests(Route::AddWorker).len();
    let began = ground.now();
    away(&mut ground, how_long).await;
    settled(&mut ground, 5).await;
    let up = ground.now().saturating_sub(began);
    assert_eq!(ground.bought().len(), 5);

    let pods = |ground: &Ground| {
        ground.stage.world.look(|view| {
            let mine = view.pods.iter().filter(|(_, pod)| !pod.daemon);
            mine.map(|(name, _)| name.clone()).collect::<Vec<_>>()
        })
    };
    ground.scale("web", 2).await;
    ground
        .until("a removal is under way", 90, |_, view| {
            view.nodes
                .values()
                .any(|node| node.unschedulable && !node.control_plane)
        })
        .await;
    let began = ground.now();
    let remaining = pods(&ground);
    away(&mut ground, how_long).await;
    settled(&mut ground, 2).await;
    let down = ground.now().saturating_sub(began);
    // Nobody was moved: the nodes that went were empty.
    let mut last = pods(&ground);
    last.retain(|pod| !remaining.contains(pod));
    println!(
        "{}",
        json!({
            "test": "outage", "secondsAway": how_long.map_or(0, |away| away.as_secs()),
            "askedBefore": asked, "scaleUpSettledSeconds": up.as_secs(),
            "removalSettledSeconds": down.as_secs(), "productEnded": ground.ends,
            "bought": ground.bought().len(), "paid": ground.paid().len(),
        })
    );
    assert_eq!(last, Vec::<String>::new(), "pods that were replaced");
    assert_eq!(ground.unsafe_deletions, Vec::<String>::new());
    assert_eq!(ground.bought().len(), 5);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Go and minutes: e2e/README.md"]
async fn a_restart_of_the_api_server_during_purchases_and_removals_does_no_harm() {
    an_outage_of_both_kinds(43, None).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Go and minutes: e2e/README.md"]
async fn a_long_outage_of_the_api_server_during_purchases_and_removals_does_no_harm() {
    an_outage_of_both_kinds(44, Some(outage())).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Go and minutes: e2e/README.md"]
async fn informers_go_on_after_the_history_they_watched_is_gone() {
    let mut ground = ground(45).await;
    let options = DeploymentOptions::default();
    ground.deploy("web", 2, CPU, &options).await;
    settled(&mut ground, 2).await;
    let lists = |ground: &Ground| -> BTreeMap<String, usize> {
        let entries = ground.plane.audit().entries().unwrap();
        let mine = entries
            .into_iter()
            .filter(|entry| entry.user == product::USER && entry.code == 200)
            // A page that goes on is no list of its own.
            .filter(|entry| entry.verb == "list" && !entry.uri.contains("continue="));
        let mut lists = BTreeMap::new();
        for entry in mine {
            *lists.entry(entry.resource).or_default() += 1;
        }
        lists
    };
    let before = lists(&ground);
    ground.plane.compact().await.unwrap();
    // Time for news of other kinds, so that what the informers heard last is older than the
    // history that the new process begins with.
    ground.sleep(Duration::from_secs(3)).await;
    let restarted = ground.plane.restart(Component::ApiServer);
    restarted.await.unwrap();
    let began = ground.now();
    // Up, which needs the pods, and down, which needs the nodes and the pods on them.
    ground.scale("web", 4).await;
    settled(&mut ground, 4).await;
    let up = ground.now().saturating_sub(began);
    ground.scale("web", 1).await;
    settled(&mut ground, 1).await;
    let after = lists(&ground);
    println!(
        "{}",
        json!({
            "test": "compaction", "listsBefore": before, "listsAfter": after,
            "scaleUpSeconds": up.as_secs(), "productEnded": ground.ends,
        })
    );
    // The same process all the time: its informers were told that their history is gone, and
    // listed anew.
    assert_eq!(ground.ends, 0);
    for kind in ["pods", "nodes", "nodegroups", "vpsienodes", "daemonsets"] {
        assert!(after[kind] > before[kind], "{kind}: {before:?} {after:?}");
    }
    assert_eq!(ground.unsafe_deletions, Vec::<String>::new());
    assert_eq!(ground.bought().len(), 4);
}
