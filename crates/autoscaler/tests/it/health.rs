//! What `/healthz` stands for: every loop of a replica, leading or not, beats on, whatever cluster
//! and cloud do.

use std::sync::Arc;

use serde_json::json;
use vpsie_sim::{Fault, Match, Rule};

use crate::harness::{Harness, Tripwire, all_running, virtually};

const ALWAYS: [&str; 23] = [
    "credentials",
    "election",
    "events",
    "figures",
    "terms",
    "watch autoscalerconfigs",
    "watch csidrivers",
    "watch csinodes",
    "watch csistoragecapacities",
    "watch daemonsets",
    "watch jobs",
    "watch namespaces",
    "watch nodegroups",
    "watch nodes",
    "watch persistentvolumeclaims",
    "watch persistentvolumes",
    "watch poddisruptionbudgets",
    "watch pods",
    "watch replicasets",
    "watch replicationcontrollers",
    "watch statefulsets",
    "watch storageclasses",
    "watch volumeattachments",
];
const LEADING: [&str; 6] = [
    "cloud",
    "collector",
    "machines",
    "node groups",
    "scale-down",
    "scale-up",
];

fn sorted(names: &[&[&'static str]]) -> Vec<&'static str> {
    let mut names = names.concat();
    names.sort_unstable();
    names
}

#[test]
fn every_loop_of_a_leader_and_of_a_standby_beats_for_hours() {
    virtually(|| async {
        let harness = Harness::new(671).await;
        harness.group("general", 0, 6, json!({})).await;
        let leader = harness.start_as("first", &Arc::default());
        harness.deployment("web", 2, "800m", None).await;
        harness.wait(20, "all pods run", all_running(2)).await;
        let standby = harness.start_as("second", &Arc::default());
        for _ in 0..180 {
            harness.minutes(1).await;
            assert_eq!((leader.standstill(), standby.standstill()), (None, None));
        }
        let machines: &[&str] = &["watch vpsienodes"];
        assert_eq!(standby.loops(), sorted(&[&ALWAYS, machines]));
        assert_eq!(leader.loops(), sorted(&[&ALWAYS, machines, &LEADING]));
        leader.stop().await;
        standby.stop().await;
    });
}

#[test]
fn a_cloud_that_does_not_answer_leaves_every_loop_beating() {
    virtually(|| async {
        let harness = Harness::new(672).await;
        harness.group("general", 0, 6, json!({})).await;
        let slow = Fault::Slow {
            by: std::time::Duration::from_hours(1),
            after_commit: false,
        };
        let faults = harness.world.cloud.faults();
        faults.add(Rule::on(Match::Any, slow).always());
        let replica = harness.start();
        harness.deployment("web", 2, "800m", None).await;
        for _ in 0..120 {
            harness.minutes(1).await;
            assert_eq!(replica.standstill(), None);
        }
        replica.stop().await;
    });
}

#[test]
fn an_api_server_that_does_not_answer_leaves_every_loop_beating() {
    virtually(|| async {
        let harness = Harness::new(673).await;
        harness.group("general", 0, 6, json!({})).await;
        let (sleepy, awake): (Arc<Tripwire>, Arc<Tripwire>) = Default::default();
        let leader = harness.start_as("first", &awake);
        harness.deployment("web", 2, "800m", None).await;
        harness.wait(20, "all pods run", all_running(2)).await;
        let standby = harness.start_as("second", &sleepy);
        harness.minutes(2).await;
        sleepy.pause();
        for _ in 0..60 {
            harness.minutes(1).await;
            assert_eq!(standby.standstill(), None);
        }
        leader.stop().await;
        standby.stop().await;
    });
}
