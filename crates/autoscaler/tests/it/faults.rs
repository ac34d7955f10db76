//! Every misfortune of the cloud: the story ends right, or the object says what is wrong, and a
//! bounded number of requests was sent.

use serde_json::json;
use vpsie_sim::{Fault, Route, Rule};

use crate::harness::{Harness, all_running, settled, virtually};

/// A create with this fault on its first request: at the end all pods run on as many machines as
/// they need, and nothing is paid for twice.
fn ends_right(seed: u64, fault: Fault) {
    virtually(move || async move {
        let harness =
            Harness::with(seed, sim::WorldConfig::default(), &["--joining-timeout=5m"]).await;
        harness
            .world
            .cloud
            .faults()
            .add(Rule::on(Route::AddWorker, fault));
        harness.group("general", 0, 6, json!({})).await;
        let replica = harness.start();
        harness.deployment("web", 4, "800m", None).await;
        harness.wait(40, "all pods run", all_running(4)).await;
        harness.minutes(45).await;
        assert_eq!(harness.paid(), 2, "{}", harness.picture());
        harness.world.scale("default", "web", 0).await.unwrap();
        harness.wait(90, "all nodes are gone", settled(0)).await;
        assert_eq!(harness.paid(), 0, "{}", harness.picture());
        let requests = harness.world.cloud.journal().len();
        assert!(requests < 4000, "{requests} requests");
        replica.stop().await;
    });
}

#[test]
fn a_lost_create_response_buys_no_second_machine() {
    ends_right(101, Fault::LostResponseAfterCommit);
}

#[test]
fn a_create_that_never_arrived_is_asked_for_again() {
    ends_right(102, Fault::ResetBeforeCommit);
}

#[test]
fn a_machine_that_never_joins_is_replaced_and_removed() {
    ends_right(103, Fault::NeverJoins);
}

#[test]
fn a_machine_that_is_never_finished_is_replaced_and_removed() {
    ends_right(104, Fault::StuckCreating);
}

#[test]
fn a_machine_that_never_appears_is_asked_for_again() {
    ends_right(105, Fault::NeverAppears);
}
