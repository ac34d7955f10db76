//! What slows removals down or stops them: evidence that nobody watched, pauses, a dry run, many
//! nodes at once.

use std::time::Duration;

use serde_json::json;
use sim::View;

use crate::harness::{Harness, all_running, settled, virtually};

/// A group with a window of ten minutes whose node is empty, and its window running.
async fn window_running(seed: u64) -> (Harness, vpsie_autoscaler::Replica) {
    let harness = Harness::new(seed).await;
    let policy = json!({ "stabilizationWindowSeconds": 600, "cooldownSeconds": 0 });
    harness
        .group("general", 0, 4, json!({ "scaleDownPolicy": policy }))
        .await;
    let replica = harness.start();
    harness.deployment("web", 1, "800m", None).await;
    harness.wait(20, "the pod runs", all_running(1)).await;
    harness.world.scale("default", "web", 0).await.unwrap();
    harness.minutes(6).await;
    assert_eq!(harness.paid(), 1, "{}", harness.picture());
    (harness, replica)
}

#[test]
fn a_window_of_evidence_survives_a_restart() {
    virtually(|| async {
        let (harness, replica) = window_running(601).await;
        replica.crash();
        let replica = harness.start();
        harness.minutes(7).await;
        assert_eq!(harness.paid(), 0, "{}", harness.picture());
        replica.stop().await;
    });
}

#[test]
fn a_window_that_nobody_watched_for_a_while_begins_anew() {
    virtually(|| async {
        let (harness, replica) = window_running(602).await;
        replica.crash();
        harness.minutes(8).await;
        let replica = harness.start();
        harness.minutes(9).await;
        assert_eq!(harness.paid(), 1, "{}", harness.picture());
        harness.minutes(5).await;
        assert_eq!(harness.paid(), 0, "{}", harness.picture());
        replica.stop().await;
    });
}

/// Ten pods, four on a node.
async fn half_empty(harness: &Harness) {
    harness.group("general", 0, 8, json!({})).await;
    harness.deployment("web", 10, "400m", Some("general")).await;
}

fn cordoned(view: &View) -> bool {
    view.nodes.values().any(|row| row.unschedulable)
}

/// Six of the ten pods are gone, and a drain has begun.
async fn draining(seed: u64) -> (Harness, vpsie_autoscaler::Replica) {
    let harness = Harness::new(seed).await;
    half_empty(&harness).await;
    let replica = harness.start();
    harness.wait(30, "all pods run", all_running(10)).await;
    harness.world.scale("default", "web", 4).await.unwrap();
    harness.wait(20, "a node is cordoned", cordoned).await;
    (harness, replica)
}

#[test]
fn a_dry_run_decides_everything_and_changes_nothing() {
    virtually(|| async {
        let harness = Harness::with(603, sim::WorldConfig::default(), &["--dry-run"]).await;
        half_empty(&harness).await;
        let replica = harness.start();
        harness.minutes(30).await;
        let metrics = replica.metrics();
        let withheld = |text: &str| {
            let line = text
                .lines()
                .find(|line| line.starts_with("vpsie_autoscaler_dry_run_withheld_total"));
            line.and_then(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
        };
        assert!(withheld(&metrics).unwrap_or(0.0) > 0.0, "{metrics}");
        let writes = harness
            .world
            .kube
            .journal()
            .committed_writes("vpsie-autoscaler");
        assert_eq!((writes, harness.bought()), (0, 0), "{}", harness.picture());
        let asked: Vec<_> = (harness.world.cloud.journal().into_iter())
            .filter(|request| request.route.is_write())
            .collect();
        assert!(asked.is_empty(), "{asked:?}");
        replica.stop().await;
    });
}

#[test]
fn nodes_that_little_of_is_in_use_are_drained_one_after_the_other() {
    virtually(|| async {
        let harness = Harness::new(604).await;
        half_empty(&harness).await;
        let replica = harness.start();
        harness.wait(30, "all pods run", all_running(10)).await;
        let before = harness.paid();
        assert!(before >= 3, "{}", harness.picture());
        harness.world.scale("default", "web", 3).await.unwrap();
        harness.wait(90, "one node is left", settled(1)).await;
        assert!(
            all_running(3)(&harness.world.view()),
            "{}",
            harness.picture()
        );
        harness.minutes(30).await;
        assert_eq!(harness.paid(), 1, "{}", harness.picture());
        replica.stop().await;
    });
}

#[test]
fn a_new_leader_goes_on_with_a_drain_once_it_has_held_the_lease_for_its_whole_time() {
    virtually(|| async {
        let (harness, replica) = draining(607).await;
        let before = harness.paid();
        replica.crash();
        let replica = harness.start();
        harness.clock.sleep(Duration::from_secs(10)).await;
        assert!(cordoned(&harness.world.view()), "{}", harness.picture());
        let taken_back = |view: &View| {
            view.decisions
                .iter()
                .any(|one| one.reason == "ScaleDownAborted")
        };
        let fewer = |view: &View| view.vpsie_nodes.len() < before;
        harness.wait(10, "the node goes", fewer).await;
        assert!(!taken_back(&harness.world.view()), "{}", harness.picture());
        replica.stop().await;
    });
}

#[test]
fn a_pause_ends_a_drain_within_ten_seconds_and_nothing_goes_while_it_lasts() {
    virtually(|| async {
        let (harness, replica) = draining(605).await;
        harness.pause_group(true).await;
        harness.clock.sleep(Duration::from_secs(10)).await;
        assert!(!cordoned(&harness.world.view()), "{}", harness.picture());
        let paid = harness.paid();
        harness.minutes(60).await;
        assert_eq!(harness.paid(), paid, "{}", harness.picture());
        harness.pause_group(false).await;
        let fewer = |view: &View| view.vpsie_nodes.len() < paid;
        harness.wait(60, "it goes on", fewer).await;
        replica.stop().await;
    });
}
