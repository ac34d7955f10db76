//! Every misfortune of the cloud: the story ends right, or the object says what is wrong, and a
//! bounded number of requests was sent.

use std::time::Duration;

use serde_json::json;
use sim::View;
use vpsie_sim::{Fault, Match, RetryAfter, Route, Rule};

use crate::harness::{Harness, all_running, settled, virtually};

/// A create with this fault on its first request: at the end all pods run on as many machines as
/// they need, and nothing is paid for twice.
fn ends_right(seed: u64, fault: Fault) {
    ends_right_with(seed, vec![Rule::on(Route::AddWorker, fault)]);
}

#[test]
fn a_lost_create_response_buys_no_second_machine() {
    ends_right(101, Fault::LostResponseAfterCommit);
}

#[test]
fn a_create_that_never_arrived_is_asked_for_again() {
    ends_right(102, Fault::ResetBeforeCommit);
}

/// Each is doubtful until the quarantine is over; proven to have had no effect, none is in the way
/// of another.
#[test]
fn creates_of_one_pool_that_never_arrived_do_not_wait_for_each_other() {
    virtually(|| async {
        let harness = Harness::new(118).await;
        harness.world.cloud.faults().add(Rule {
            times: Some(4),
            ..Rule::on(Route::AddWorker, Fault::ResetBeforeCommit)
        });
        harness.group("general", 0, 6, json!({})).await;
        let replica = harness.start();
        harness.deployment("web", 8, "800m", None).await;
        // Five minutes of quarantine and the boot; the deadline of a purchase is ten.
        harness.minutes(7).await;
        assert_eq!(harness.bought(), 4, "{}", harness.picture());
        harness.wait(15, "all pods run", all_running(8)).await;
        assert_eq!((harness.bought(), harness.paid()), (4, 4));
        replica.stop().await;
    });
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

/// A fault of the cloud that must leave no trace in the end.
fn ends_right_with(seed: u64, rules: Vec<Rule>) {
    virtually(move || async move {
        let flags = ["--joining-timeout=5m"];
        let harness = Harness::with(seed, sim::WorldConfig::default(), &flags).await;
        for rule in rules {
            harness.world.cloud.faults().add(rule);
        }
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

fn rate_limited() -> Fault {
    Fault::RateLimited {
        retry_after: RetryAfter::Seconds(45),
    }
}

/// Requests of `route` that arrived at the cloud.
fn sent(harness: &Harness, route: Route) -> Vec<vpsie_sim::Request> {
    let mut journal = harness.world.cloud.journal();
    journal.retain(|request| request.route == route);
    journal
}

fn heard(view: &View, reason: &str) -> bool {
    view.decisions
        .iter()
        .any(|decision| decision.reason == reason)
}

#[test]
fn a_429_to_a_create_is_waited_out_as_long_as_it_says() {
    virtually(|| async {
        let harness = Harness::new(110).await;
        let rule = Rule::on(Route::AddWorker, rate_limited());
        harness.world.cloud.faults().add(rule);
        harness.group("general", 0, 6, json!({})).await;
        let replica = harness.start();
        harness.deployment("web", 4, "800m", None).await;
        harness.wait(40, "all pods run", all_running(4)).await;
        let creates = sent(&harness, Route::AddWorker);
        let refused = creates.iter().find(|r| r.status == Some(429)).unwrap().at;
        let next = creates.iter().find(|r| r.at > refused).unwrap().at;
        let wait = next.duration_since(refused);
        assert!(wait.as_secs() >= 45, "{wait}");
        assert_eq!((harness.bought(), creates.len()), (2, 3));
        let given_up = heard(&harness.world.view(), "NodeProvisioningFailed");
        assert!(!given_up, "{}", harness.picture());
        replica.stop().await;
    });
}

#[test]
fn a_429_to_reads_is_waited_out() {
    ends_right_with(
        111,
        vec![Rule::on(Match::Reads, rate_limited()).nth(3).times(5)],
    );
}

#[test]
fn an_error_page_to_a_create_that_had_no_effect_is_overcome() {
    ends_right(112, Fault::Html500);
}

#[test]
fn an_error_page_of_a_proxy_to_a_create_that_took_effect_buys_no_second_machine() {
    ends_right(113, Fault::Html502 { after_commit: true });
}

#[test]
fn a_proxy_that_swallowed_a_create_is_overcome() {
    ends_right(
        114,
        Fault::Html502 {
            after_commit: false,
        },
    );
}

#[test]
fn a_refusal_dressed_as_success_is_not_taken_for_a_machine() {
    ends_right(
        115,
        Fault::ErrorTrue200 {
            message: "Something went wrong".into(),
        },
    );
}

#[test]
fn a_create_that_takes_effect_and_is_answered_minutes_later_buys_no_second_machine() {
    ends_right(
        116,
        Fault::Slow {
            by: Duration::from_secs(200),
            after_commit: true,
        },
    );
}

#[test]
fn a_create_that_takes_effect_minutes_after_its_connection_broke_buys_no_second_machine() {
    ends_right(
        117,
        Fault::LateCommit {
            by: Duration::from_secs(90),
        },
    );
}

#[test]
fn an_answer_that_breaks_off_buys_no_second_machine() {
    ends_right(118, Fault::Truncated);
}

#[test]
fn reads_that_break_off_or_come_from_a_broken_proxy_delete_nothing() {
    let broken = |fault| Rule::on(Match::Reads, fault).always().probability(0.1);
    ends_right_with(
        119,
        vec![
            broken(Fault::Truncated),
            broken(Fault::Html500),
            broken(Fault::Html502 { after_commit: true }),
        ],
    );
}

#[test]
fn a_token_refused_once_is_fetched_anew() {
    ends_right(120, Fault::Unauthorized);
}

#[test]
fn a_machine_whose_node_stays_not_ready_is_replaced_and_removed() {
    ends_right(121, Fault::JoinsNotReady);
}

#[test]
fn a_machine_that_vanishes_while_it_is_built_is_replaced() {
    ends_right(122, Fault::FailsAndDisappears);
}

#[test]
fn tokens_that_expire_in_the_middle_are_fetched_anew() {
    virtually(|| async {
        let harness = Harness::new(123).await;
        harness.group("general", 0, 6, json!({})).await;
        let replica = harness.start();
        for round in 1..=4 {
            harness.world.cloud.expire_tokens();
            let name = format!("web{round}");
            harness.deployment(&name, 2, "800m", None).await;
            harness.world.cloud.expire_tokens();
            harness
                .wait(20, "all pods run", all_running(2 * round))
                .await;
        }
        assert_eq!(harness.bought(), 4, "{}", harness.picture());
        let logins = sent(&harness, Route::Login).len();
        assert!(logins <= 12, "{logins} logins");
        replica.stop().await;
    });
}

#[test]
fn a_cap_that_the_cloud_names_is_told_and_not_run_against() {
    virtually(|| async {
        let harness = Harness::new(124).await;
        let message = "Worker nodes count exceeds the allowed limit 1".to_owned();
        let fault = Fault::BusinessText500 { message };
        let rule = Rule::on(Route::AddWorker, fault).always();
        harness.world.cloud.faults().add(rule);
        harness.group("general", 0, 6, json!({})).await;
        let replica = harness.start();
        harness.deployment("web", 4, "800m", None).await;
        harness
            .wait(10, "the group says so", |view| {
                let error = view.groups["kube-system/general"].conditions.get("Error");
                error.is_some_and(|(status, reason)| {
                    status == "True" && reason == "ClusterCapacityLimitReached"
                })
            })
            .await;
        harness.minutes(60).await;
        let told = harness.world.view().decisions.iter().any(|decision| {
            decision.message.contains("CapacityLimitReached")
                || decision.reason.contains("CapacityLimitReached")
        });
        assert!(told, "{}", harness.picture());
        let creates = sent(&harness, Route::AddWorker).len();
        assert!((1..=30).contains(&creates), "{creates} creates in an hour");
        assert_eq!(harness.bought(), 0);
        harness.world.cloud.faults().clear();
        harness.wait(60, "all pods run", all_running(4)).await;
        assert_eq!(harness.bought(), 2, "{}", harness.picture());
        replica.stop().await;
    });
}

#[test]
fn a_cap_lowered_in_the_middle_stops_the_growth_until_it_is_lifted() {
    virtually(|| async {
        let harness = Harness::new(125).await;
        harness.group("general", 0, 6, json!({})).await;
        let replica = harness.start();
        harness.deployment("web", 2, "800m", None).await;
        harness.wait(20, "two pods run", all_running(2)).await;
        let cluster = harness.world.cluster.clone();
        harness.world.cloud.set_worker_cap(&cluster, Some(2));
        harness.world.scale("default", "web", 8).await.unwrap();
        harness.minutes(60).await;
        assert_eq!(harness.paid(), 2, "{}", harness.picture());
        assert_eq!(harness.world.counts().running, 4, "{}", harness.picture());
        let creates = sent(&harness, Route::AddWorker).len();
        assert!(creates <= 30, "{creates} creates in an hour");
        harness.world.cloud.set_worker_cap(&cluster, None);
        harness.wait(60, "all pods run", all_running(8)).await;
        assert_eq!(harness.paid(), 4, "{}", harness.picture());
        replica.stop().await;
    });
}

/// One request buys two: which of them is ours cannot be told, so neither is adopted and neither is
/// deleted; the pods get a node from another request, and people are told of both.
#[test]
fn of_two_machines_for_one_request_none_is_adopted_or_deleted_and_the_pods_get_another() {
    virtually(|| async {
        let harness = Harness::new(126).await;
        let rule = Rule::on(Route::AddWorker, Fault::DuplicateMachine);
        harness.world.cloud.faults().add(rule);
        harness.group("general", 0, 6, json!({})).await;
        let replica = harness.start();
        harness.deployment("web", 2, "800m", Some("general")).await;
        harness
            .wait(15, "people are told", |view| heard(view, "AmbiguousCreate"))
            .await;
        harness.wait(60, "all pods run", all_running(2)).await;
        harness.minutes(60).await;
        let machines = harness.world.cloud.machines();
        let deleted = machines.iter().filter(|m| m.deleted_by.is_some()).count();
        assert_eq!(deleted, 0, "{}", harness.picture());
        assert!(harness.bought() <= 3, "{}", harness.picture());
        let told = heard(&harness.world.view(), "MachineNotOurs");
        assert!(told, "{}", harness.picture());
        replica.stop().await;
    });
}

/// A person adds a worker of this size, to a pool of their own.
fn add_by_hand(harness: &Harness, size: usize) -> String {
    let cluster = &harness.world.cluster;
    let cloud = &harness.world.cloud;
    let size = cloud.config().datacenters[0].sizes[size].id;
    let pool = cloud.human_add_group(cluster, "by-hand", size).unwrap();
    let machine = harness.world.cloud.human_add_worker(cluster, pool).unwrap();
    machine.uuid
}

fn is_paid(harness: &Harness, uuid: &str) -> bool {
    let machines = harness.world.cloud.machines();
    machines
        .iter()
        .any(|machine| machine.uuid == uuid && machine.is_paid())
}

#[test]
fn a_worker_that_a_person_added_is_reported_and_never_touched() {
    virtually(|| async {
        let harness = Harness::new(127).await;
        harness.group("general", 1, 6, json!({})).await;
        let replica = harness.start();
        harness.wait(15, "one node", settled(1)).await;
        let uuid = add_by_hand(&harness, 0);
        harness
            .wait(15, "reported", |view| heard(view, "MachineNotOurs"))
            .await;
        harness.minutes(120).await;
        assert!(is_paid(&harness, &uuid), "{}", harness.picture());
        assert_eq!(harness.paid(), 2, "{}", harness.picture());
        replica.stop().await;
    });
}

/// Up and down again, with a worker of a person's added while the only create is unanswered; its
/// UUID.
async fn adds_while_a_create_is_open(harness: &Harness, size: usize) -> String {
    let rule = Rule::on(Route::AddWorker, Fault::LostResponseAfterCommit);
    harness.world.cloud.faults().add(rule);
    harness.group("general", 0, 6, json!({})).await;
    let replica = harness.start();
    harness.deployment("web", 2, "800m", Some("general")).await;
    harness
        .wait(10, "a create is open", |view| {
            view.vpsie_nodes.values().any(|n| n.phase == "Provisioning")
        })
        .await;
    let uuid = add_by_hand(harness, size);
    harness.wait(60, "all pods run", all_running(2)).await;
    harness.world.scale("default", "web", 0).await.unwrap();
    harness.minutes(180).await;
    replica.stop().await;
    uuid
}

#[test]
fn a_worker_of_another_size_that_a_person_adds_while_a_create_is_open_is_never_touched() {
    virtually(|| async {
        let harness = Harness::new(128).await;
        let uuid = adds_while_a_create_is_open(&harness, 1).await;
        assert!(is_paid(&harness, &uuid), "{}", harness.picture());
        assert_eq!(harness.paid(), 1, "{}", harness.picture());
    });
}

/// The lists tell neither who bought a machine nor in which pool it is: of two workers of one size
/// from one moment, the first that is listed is taken for ours. The other one stays in its place.
#[test]
fn of_our_worker_and_an_equal_one_that_a_person_adds_at_the_same_time_one_is_kept() {
    virtually(|| async {
        let harness = Harness::new(128).await;
        adds_while_a_create_is_open(&harness, 0).await;
        assert_eq!(harness.paid(), 1, "{}", harness.picture());
        let told = heard(&harness.world.view(), "MachineNotOurs");
        assert!(told, "{}", harness.picture());
    });
}

#[test]
fn a_ready_machine_that_a_person_deleted_is_replaced_and_its_node_removed() {
    virtually(|| async {
        let harness = Harness::new(129).await;
        harness.group("general", 1, 6, json!({})).await;
        let replica = harness.start();
        harness.wait(15, "one node", settled(1)).await;
        harness.deployment("web", 2, "800m", None).await;
        harness.wait(15, "all pods run", all_running(2)).await;
        let (uuid, node) = {
            let view = harness.world.view();
            let node = view.vpsie_nodes.values().next().unwrap();
            (node.machine.clone().unwrap(), node.node.clone().unwrap())
        };
        assert!(harness.world.cloud.human_delete(&uuid));
        harness
            .wait(30, "the Node object is gone", |view| {
                !view.nodes.contains_key(&node)
            })
            .await;
        harness.wait(40, "all pods run again", all_running(2)).await;
        harness.minutes(40).await;
        assert_eq!(harness.paid(), 1, "{}", harness.picture());
        assert_eq!(harness.bought(), 2, "{}", harness.picture());
        replica.stop().await;
    });
}

#[test]
fn a_delete_that_is_answered_and_not_done_is_repeated_at_intervals_until_it_is_done() {
    virtually(|| async {
        let harness = Harness::new(130).await;
        let fault = Fault::DeleteAnswersSuccessButStays;
        let rule = Rule::on(Route::DeleteWorker, fault).always();
        harness.world.cloud.faults().add(rule);
        harness.group("general", 0, 6, json!({})).await;
        let replica = harness.start();
        harness.deployment("web", 2, "800m", None).await;
        harness.wait(15, "all pods run", all_running(2)).await;
        harness.world.scale("default", "web", 0).await.unwrap();
        harness.minutes(120).await;
        assert_eq!(harness.paid(), 1, "{}", harness.picture());
        let left = harness.world.view().vpsie_nodes;
        assert!(
            left.len() == 1 && left.values().all(|node| node.deleting),
            "the record stays while the machine does\n{}",
            harness.picture()
        );
        let deletes = sent(&harness, Route::DeleteWorker).len();
        assert!((2..=130).contains(&deletes), "{deletes} deletes");
        harness.world.cloud.faults().clear();
        harness.wait(30, "all nodes are gone", settled(0)).await;
        assert_eq!(harness.paid(), 0, "{}", harness.picture());
        replica.stop().await;
    });
}
