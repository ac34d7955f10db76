//! Two replicas: who may act when the leader sleeps longer than its lease, or goes.

use std::{sync::Arc, time::Duration};

use serde_json::json;
use vpsie_sim::{Fault, Route, Rule};

use crate::harness::{Harness, Tripwire, all_running, settled, virtually};

async fn until(harness: &Harness, seconds: u64, what: &str, holds: impl Fn() -> bool) {
    for _ in 0..seconds * 10 {
        if holds() {
            return;
        }
        harness.clock.sleep(Duration::from_millis(100)).await;
    }
    panic!("{what}: not within {seconds} s\n{}", harness.picture());
}

/// The leader falls asleep `after` the pods came, for longer than its lease.
fn sleeps(seed: u64, after: Duration) {
    virtually(move || async move {
        let harness = Harness::new(seed).await;
        harness.group("general", 0, 10, json!({})).await;
        let (sleepy, awake): (Arc<Tripwire>, Arc<Tripwire>) = Default::default();
        let first = harness.start_as("first", &sleepy);
        until(&harness, 60, "the first leads", || first.leads()).await;
        let second = harness.start_as("second", &awake);
        harness.deployment("web", 10, "800m", None).await;
        harness.clock.sleep(after).await;
        sleepy.pause();
        until(&harness, 60, "the second leads", || second.leads()).await;
        let took_over = harness.world.kube.journal().last();
        harness.clock.sleep(Duration::from_secs(20)).await;
        sleepy.resume();
        harness.wait(30, "all pods run", all_running(10)).await;
        harness.minutes(10).await;
        assert!(!first.leads());
        assert_eq!((harness.bought(), harness.paid()), (5, 5));
        harness.world.scale("default", "web", 0).await.unwrap();
        harness.wait(60, "all nodes are gone", settled(0)).await;
        assert_eq!((harness.bought(), harness.paid()), (5, 0));
        // What the loser had on its way when it fell asleep was refused.
        let since = harness.world.kube.journal().since(took_over);
        let late: Vec<String> = since
            .iter()
            .filter(|record| record.actor == "first" && record.resource_version.is_some())
            .map(ToString::to_string)
            .collect();
        assert!(late.is_empty(), "{late:#?}");
        first.stop().await;
        second.stop().await;
    });
}

#[test]
fn a_leader_that_sleeps_longer_than_its_lease_before_it_buys_has_no_effect_when_it_wakes() {
    sleeps(301, Duration::from_millis(50));
}

#[test]
fn a_leader_that_sleeps_longer_than_its_lease_while_it_buys_has_no_effect_when_it_wakes() {
    for after in [600, 900, 1000, 1100, 1200] {
        sleeps(302, Duration::from_millis(after));
    }
}

#[test]
fn a_leader_that_sleeps_longer_than_its_lease_while_nodes_join_has_no_effect_when_it_wakes() {
    sleeps(303, Duration::from_secs(150));
}

#[test]
fn a_leader_that_stops_hands_over_at_once_and_nothing_is_bought_twice() {
    virtually(|| async {
        let harness = Harness::new(304).await;
        harness.group("general", 0, 10, json!({})).await;
        let first = harness.start_as("first", &Arc::default());
        until(&harness, 60, "the first leads", || first.leads()).await;
        let second = harness.start_as("second", &Arc::default());
        harness.deployment("web", 10, "800m", None).await;
        harness.clock.sleep(Duration::from_millis(1500)).await;
        first.stop().await;
        until(&harness, 5, "the second leads", || second.leads()).await;
        harness.wait(30, "all pods run", all_running(10)).await;
        harness.minutes(10).await;
        assert_eq!((harness.bought(), harness.paid()), (5, 5));
        second.stop().await;
    });
}

#[test]
fn a_stop_in_the_middle_of_a_purchase_waits_for_its_answer() {
    virtually(|| async {
        let harness = Harness::new(163).await;
        let slow = Fault::Slow {
            by: Duration::from_secs(3),
            after_commit: true,
        };
        harness
            .world
            .cloud
            .faults()
            .add(Rule::on(Route::AddWorker, slow));
        harness.group("general", 0, 4, json!({})).await;
        let replica = harness.start();
        harness.deployment("web", 2, "800m", None).await;
        let asked = || {
            let journal = harness.world.cloud.journal();
            journal
                .iter()
                .any(|request| request.route == Route::AddWorker)
        };
        while !asked() {
            harness.clock.sleep(Duration::from_millis(100)).await;
        }
        replica.stop().await;
        let nodes = harness.world.view().vpsie_nodes;
        let name = nodes
            .keys()
            .next()
            .unwrap()
            .split_once('/')
            .unwrap()
            .1
            .to_owned();
        let api = "autoscaler.vpsie.com/v1alpha1";
        let object = harness
            .world
            .kube
            .get(api, "VPSieNode", "kube-system", &name);
        let state = object.unwrap()["status"]["creation"]["state"].clone();
        assert_eq!(state, "Accepted");
        let replica = harness.start();
        harness.wait(6, "the pods run", all_running(2)).await;
        assert_eq!(harness.bought(), 1);
        replica.stop().await;
    });
}

#[test]
fn a_leader_that_has_just_begun_tells_no_pod_that_nothing_is_sold() {
    virtually(|| async {
        let harness = Harness::new(305).await;
        harness.group("general", 0, 10, json!({})).await;
        harness.deployment("web", 2, "800m", None).await;
        harness
            .wait(1, "the pods are given up on", |view| {
                view.counts().pending == 2
            })
            .await;
        harness.minutes(1).await;
        let replica = harness.start();
        harness.wait(20, "the pods run", all_running(2)).await;
        let refused = |view: &sim::View| {
            let mut decisions = view.decisions.iter();
            decisions.any(|decision| decision.reason == "NotTriggerScaleUp")
        };
        assert!(!harness.world.look(refused), "{}", harness.picture());
        replica.stop().await;
    });
}

#[test]
fn a_leader_that_does_not_know_all_of_the_cluster_yet_buys_and_removes_nothing() {
    virtually(|| async {
        let harness = Harness::new(669).await;
        harness.group("general", 2, 6, json!({})).await;
        let replica = harness.start();
        harness.wait(20, "the minimum serves", settled(2)).await;
        replica.crash();
        let refused = kube_sim::Effect::Refuse {
            code: 500,
            retry_after: None,
        };
        for verb in ["list", "watch"] {
            let reads = kube_sim::Match::resource("vpsienodes").verb(verb);
            let rule = kube_sim::Rule::always(reads, refused.clone());
            harness.world.kube.faults().add(rule);
        }
        let replica = harness.start();
        harness.minutes(5).await;
        assert!(replica.leads());
        assert!(!replica.synced());
        assert_eq!(harness.bought(), 2, "{}", harness.picture());
        harness.world.kube.faults().clear();
        harness.minutes(10).await;
        assert!(settled(2)(&harness.world.view()), "{}", harness.picture());
        assert_eq!(harness.bought(), 2, "{}", harness.picture());
        replica.stop().await;
    });
}
