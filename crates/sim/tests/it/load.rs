//! The actors at a size at which a careless loop would show.

use std::time::Duration;

use serde_json::json;
use sim::{DeploymentOptions, WorldConfig};

use crate::{until, world};

#[tokio::test(start_paused = true)]
async fn a_thousand_pods_that_fit_nowhere_are_judged_as_one() {
    let nodes: serde_json::Value = (0..50)
        .map(|number| json!({"name": format!("n{number:03}"), "cpus": 2}))
        .collect();
    let config = WorldConfig {
        nodes: serde_json::from_value(nodes).unwrap(),
        daemon_sets: Vec::new(),
        ..WorldConfig::default()
    };
    let (world, _tasks) = world(1, config).await;
    until(&world, "all nodes are ready", |view| {
        view.counts().nodes_ready == 50
    })
    .await;
    world.clock.sleep(Duration::from_secs(5)).await;
    let plain = DeploymentOptions::default();
    world
        .create_deployment("default", "big", 1000, "4", "64Mi", &plain)
        .await
        .unwrap();
    let told = world
        .wait_until(Duration::from_mins(5), |view| {
            view.counts().unschedulable == 1000
        })
        .await;
    assert!(told, "{:?}", world.counts());
    // Nothing changes, so each pod is told once.
    world.clock.sleep(Duration::from_mins(5)).await;
    let verdicts = world
        .kube
        .journal()
        .records()
        .iter()
        .filter(|r| r.actor == "kube-scheduler" && r.subresource == "status")
        .count();
    assert_eq!(verdicts, 1000);
}
