use std::time::Duration;

use http::{Method, StatusCode};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use vpsie_sim::{
    ConnectionLost, Fault, Join, MachineEvent, Match, Outcome, Phase, RetryAfter, Route, Rule,
};

use crate::client::{CLUSTER, Caller, SMALL, TOKEN, caller, drain, request};

fn with_group() -> (Caller, i64) {
    let caller = caller();
    let group = caller
        .sim
        .human_add_group(CLUSTER, "general", SMALL)
        .unwrap();
    (caller, group)
}

/// A caller with two running workers.
async fn with_workers() -> (Caller, i64) {
    let (caller, group) = with_group();
    for _ in 0..3 {
        caller.add(group).await;
    }
    caller.pass(300).await;
    (caller, group)
}

async fn try_add(caller: &Caller, group: i64) -> Result<StatusCode, ConnectionLost> {
    let path = format!("/k8s/cluster/byId/{CLUSTER}/add/slave/group/{group}");
    let response = caller.send(request(Method::POST, &path, None)).await?;
    Ok(response.status())
}

#[tokio::test(start_paused = true)]
async fn a_lost_response_commits_and_breaks_the_connection() {
    let (caller, group) = with_group();
    caller.fault(Route::AddWorker, Fault::LostResponseAfterCommit);
    assert_eq!(try_add(&caller, group).await, Err(ConnectionLost));
    assert_eq!(caller.live(), 1);
    let journal = caller.sim.journal();
    assert_eq!(
        (journal[0].outcome, journal[0].status),
        (Outcome::Lost, Some(200))
    );
    let uuid = &caller.workers()[0].uuid;
    assert_eq!(journal[0].committed, [format!("create {uuid}")]);
    assert_eq!(try_add(&caller, group).await, Ok(StatusCode::OK));
}

#[tokio::test(start_paused = true)]
async fn a_reset_breaks_the_connection_and_commits_nothing() {
    let (caller, group) = with_group();
    caller.fault(Route::AddWorker, Fault::ResetBeforeCommit);
    assert_eq!(try_add(&caller, group).await, Err(ConnectionLost));
    assert_eq!(caller.live(), 0);
    caller.pass(1000).await;
    assert_eq!(caller.live(), 0);
    assert_eq!(caller.sim.journal()[0].outcome, Outcome::Reset);
}

#[tokio::test(start_paused = true)]
async fn a_late_commit_takes_effect_after_the_connection_broke() {
    let (caller, group) = with_group();
    let by = Duration::from_mins(2);
    caller.fault(Route::AddWorker, Fault::LateCommit { by });
    assert_eq!(try_add(&caller, group).await, Err(ConnectionLost));
    caller.pass(119).await;
    assert_eq!(caller.live(), 0);
    caller.pass(2).await;
    assert_eq!(caller.live(), 1);
    assert_eq!(caller.sim.journal()[0].committed.len(), 1);
    assert!(
        caller
            .sim
            .trace()
            .iter()
            .any(|line| line.contains("late commit of request 1"))
    );
}

#[tokio::test(start_paused = true)]
async fn slow_answers_take_long_before_or_after_the_commit() {
    for (after_commit, committed_at_once) in [(false, 0), (true, 1)] {
        let (caller, group) = with_group();
        let by = Duration::from_secs(45);
        caller.fault(Route::AddWorker, Fault::Slow { by, after_commit });
        let gave_up = caller
            .clock
            .timeout(Duration::from_secs(30), try_add(&caller, group))
            .await;
        assert!(gave_up.is_err());
        assert_eq!(caller.live(), committed_at_once);
        // The server goes on although nobody waits any more.
        caller.pass(16).await;
        assert_eq!(caller.live(), 1);
        assert_eq!(caller.sim.journal()[0].outcome, Outcome::Answered);
    }
}

#[tokio::test(start_paused = true)]
async fn requests_and_answers_travel_as_long_as_told() {
    let caller = crate::client::caller_with(|config| {
        config.latency = serde_json::from_value(json!({"low": "20ms", "high": "200ms"})).unwrap();
    });
    let group = caller
        .sim
        .human_add_group(CLUSTER, "general", SMALL)
        .unwrap();
    let start = caller.clock.monotonic();
    // The caller gives up while the request is still on its way.
    let gave_up = caller
        .clock
        .timeout(Duration::from_millis(19), try_add(&caller, group))
        .await;
    assert!(gave_up.is_err());
    assert_eq!(caller.live(), 0);
    assert_eq!(try_add(&caller, group).await, Ok(StatusCode::OK));
    let passed = caller.clock.monotonic().saturating_sub(start);
    assert!(
        passed >= Duration::from_millis(40) && passed <= Duration::from_millis(440),
        "{passed:?}"
    );
    caller.pass(1).await;
    assert_eq!(caller.live(), 2);
}

#[tokio::test(start_paused = true)]
async fn rate_limiting_says_when_in_every_way() {
    let (caller, _) = with_group();
    for (retry_after, expected) in [
        (RetryAfter::Seconds(17), Some("17")),
        (RetryAfter::Date(60), Some("Thu, 01 Jan 2026 00:01:00 GMT")),
        (RetryAfter::Missing, None),
        (RetryAfter::Absurd, Some("99999999999999")),
    ] {
        caller.fault(Route::ListClusters, Fault::RateLimited { retry_after });
        let response = caller
            .send(request(Method::GET, "/k8s/cluster/all", None))
            .await
            .unwrap();
        assert_eq!(response.status(), StatusCode::TOO_MANY_REQUESTS);
        let header = response
            .headers()
            .get("retry-after")
            .map(|value| value.to_str().unwrap());
        assert_eq!(header, expected);
    }
}

#[tokio::test(start_paused = true)]
async fn proxy_pages_are_html_and_may_hide_a_commit() {
    let (caller, group) = with_group();
    for (fault, status, commits) in [
        (Fault::Html500, 500, 0),
        (
            Fault::Html502 {
                after_commit: false,
            },
            502,
            0,
        ),
        (Fault::Html502 { after_commit: true }, 502, 1),
    ] {
        caller.fault(Route::AddWorker, fault);
        let path = format!("/k8s/cluster/byId/{CLUSTER}/add/slave/group/{group}");
        let response = caller
            .send(request(Method::POST, &path, None))
            .await
            .unwrap();
        assert_eq!(response.status(), status);
        assert_eq!(response.headers()["content-type"], "text/html");
        assert!(serde_json::from_slice::<Value>(response.body()).is_err());
        assert_eq!(caller.live(), commits);
    }
}

#[tokio::test(start_paused = true)]
async fn business_texts_come_as_500_and_as_200() {
    let (caller, group) = with_group();
    let message = "Worker nodes count exceeds the allowed limit 5".to_owned();
    caller.fault(
        Route::AddWorker,
        Fault::BusinessText500 {
            message: message.clone(),
        },
    );
    caller.fault(
        Route::AddWorker,
        Fault::ErrorTrue200 {
            message: message.clone(),
        },
    );
    // Both rules see the first request: the first one wins, and both are used up.
    let (status, answer) = caller.add(group).await;
    assert_eq!(
        (status.as_u16(), answer["message"].as_str()),
        (500, Some(message.as_str()))
    );
    caller.fault(
        Route::AddWorker,
        Fault::ErrorTrue200 {
            message: message.clone(),
        },
    );
    let (status, answer) = caller.add(group).await;
    assert_eq!((status.as_u16(), &answer["error"]), (200, &json!(true)));
    assert_eq!(caller.live(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_truncated_answer_is_half_of_what_its_length_promises() {
    let (caller, group) = with_group();
    caller.fault(Route::AddWorker, Fault::Truncated);
    let path = format!("/k8s/cluster/byId/{CLUSTER}/add/slave/group/{group}");
    let response = caller
        .send(request(Method::POST, &path, None))
        .await
        .unwrap();
    let promised: usize = response.headers()["content-length"]
        .to_str()
        .unwrap()
        .parse()
        .unwrap();
    assert_eq!(response.body().len(), promised / 2);
    assert!(serde_json::from_slice::<Value>(response.body()).is_err());
    assert_eq!(caller.live(), 1);
    assert_eq!(caller.sim.journal()[0].outcome, Outcome::Truncated);
}

#[tokio::test(start_paused = true)]
async fn a_create_can_be_accepted_and_nothing_come_of_it() {
    let (caller, group) = with_group();
    caller.fault(Route::AddWorker, Fault::NeverAppears);
    assert_eq!(caller.add(group).await.1["data"], true);
    caller.pass(10_000).await;
    assert_eq!((caller.workers().len(), caller.nodes().await.len()), (0, 1));
}

#[tokio::test(start_paused = true)]
async fn a_machine_can_be_stuck_in_creation_and_is_paid_meanwhile() {
    let (caller, group) = with_group();
    let mut events = caller.sim.subscribe();
    caller.fault(Route::AddWorker, Fault::StuckCreating);
    caller.add(group).await;
    caller.pass(10_000).await;
    let machine = caller.workers().remove(0);
    assert_eq!(machine.phase, Phase::Creating);
    assert_eq!(caller.sim.ledger().paid.as_secs(), 10_000);
    assert_eq!(drain(&mut events).len(), 1);
    // It can still be deleted.
    caller.delete(&machine.uuid).await;
    caller.pass(100).await;
    assert_eq!(caller.workers()[0].phase, Phase::Gone);
}

#[tokio::test(start_paused = true)]
async fn joining_fails_in_three_ways_that_the_events_tell() {
    let (caller, group) = with_group();
    let mut events = caller.sim.subscribe();
    for fault in [
        Fault::NeverJoins,
        Fault::JoinsNotReady,
        Fault::JoinsUnderAnotherName,
    ] {
        caller.fault(Route::AddWorker, fault);
        caller.add(group).await;
    }
    caller.pass(1000).await;
    let mut booted: Vec<_> = drain(&mut events)
        .into_iter()
        .filter_map(|event| match event {
            MachineEvent::Running(machine) => Some(machine),
            _ => None,
        })
        .collect();
    booted.sort_by_key(|machine| machine.id);
    // One request met each rule.
    assert_eq!(booted.len(), 3);
    assert_eq!(booted[0].join, Join::Never);
    assert!(matches!(booted[1].join, Join::NotReady { .. }));
    assert!(booted[2].joins());
    assert_ne!(booted[2].node_name, booted[2].hostname.to_lowercase());
    assert!(!booted[0].joins() && !booted[1].joins());
}

#[tokio::test(start_paused = true)]
async fn one_post_can_buy_two_machines() {
    let (caller, group) = with_group();
    caller.fault(Route::AddWorker, Fault::DuplicateMachine);
    caller.add(group).await;
    assert_eq!(caller.live(), 2);
    assert_eq!(caller.sim.journal()[0].committed.len(), 2);
    let origins: Vec<_> = caller
        .workers()
        .iter()
        .map(|worker| worker.origin)
        .collect();
    assert_eq!(origins[0], origins[1]);
}

#[tokio::test(start_paused = true)]
async fn a_machine_can_have_another_size_than_its_group() {
    let (caller, group) = with_group();
    caller.fault(Route::AddWorker, Fault::WrongSize);
    caller.add(group).await;
    let machine = caller.workers().remove(0);
    assert_eq!(machine.pool, Some(group));
    assert_ne!(machine.size, SMALL);
    assert_ne!(machine.cpu, 2);
}

#[tokio::test(start_paused = true)]
async fn a_machine_can_vanish_while_it_is_built() {
    let (caller, group) = with_group();
    let mut events = caller.sim.subscribe();
    caller.fault(Route::AddWorker, Fault::FailsAndDisappears);
    caller.add(group).await;
    caller.pass(32).await;
    assert_eq!(caller.nodes().await.len(), 2, "it was listed");
    caller.pass(300).await;
    assert_eq!(caller.nodes().await.len(), 1);
    let machine = caller.workers().remove(0);
    assert_eq!((machine.phase, machine.deleted_by), (Phase::Gone, None));
    assert!(machine.running_at.is_none());
    let paid = caller.sim.ledger().paid;
    caller.pass(1000).await;
    assert_eq!(caller.sim.ledger().paid, paid);
    assert!(matches!(
        drain(&mut events)[..],
        [MachineEvent::Created(_), MachineEvent::Deleted(_)]
    ));
}

#[tokio::test(start_paused = true)]
async fn a_host_name_can_come_back() {
    let (caller, group) = with_group();
    caller.add(group).await;
    caller.delete(&caller.workers()[0].uuid).await;
    caller.pass(100).await;
    caller.fault(Route::AddWorker, Fault::ReusesHostname);
    caller.add(group).await;
    let workers = caller.workers();
    assert_eq!(workers[0].hostname, workers[1].hostname);
    assert_ne!(workers[0].uuid, workers[1].uuid);
}

#[tokio::test(start_paused = true)]
async fn a_delete_can_succeed_and_the_machine_stay() {
    let (caller, _) = with_workers().await;
    caller.fault(Route::DeleteWorker, Fault::DeleteAnswersSuccessButStays);
    let uuid = caller.workers()[0].uuid.clone();
    assert_eq!(caller.delete(&uuid).await.1["error"], false);
    caller.pass(1000).await;
    assert_eq!(caller.workers()[0].phase, Phase::Running);
    caller.delete(&uuid).await;
    caller.pass(100).await;
    assert_eq!(caller.workers()[0].phase, Phase::Gone);
}

#[tokio::test(start_paused = true)]
async fn a_delete_can_take_another_worker_than_the_one_it_names() {
    let (caller, _) = with_workers().await;
    caller.fault(Route::DeleteWorker, Fault::DeletesAnotherWorker);
    let uuid = caller.workers()[0].uuid.clone();
    assert_eq!(caller.delete(&uuid).await.1["error"], false);
    caller.pass(100).await;
    let workers = caller.workers();
    let gone: Vec<&str> = workers
        .iter()
        .filter(|worker| worker.phase == Phase::Gone)
        .map(|worker| worker.uuid.as_str())
        .collect();
    assert_eq!(gone.len(), 1);
    assert_ne!(gone[0], uuid);
}

#[tokio::test(start_paused = true)]
async fn lists_can_be_empty_or_lack_rows_while_the_counts_stand() {
    let (caller, _) = with_workers().await;
    let path = format!("/k8s/cluster/byId/{CLUSTER}");
    caller.fault(Route::GetCluster, Fault::EmptyListAlthough);
    let answer = caller.get(&path).await;
    assert_eq!(answer["data"]["nodes"], json!([]));
    assert_eq!(answer["data"]["slaveCount"], 3);
    caller.fault(Route::GetCluster, Fault::PartialPage);
    assert_eq!(caller.nodes().await.len(), 2);
    assert_eq!(caller.nodes().await.len(), 4);
    caller.fault(Route::ListStorageVms, Fault::EmptyListAlthough);
    let answer = caller.get("/storages/vms").await;
    assert_eq!(answer["data"], json!([]));
    assert_eq!(answer["total"], json!([{"count": 4}]));
}

#[tokio::test(start_paused = true)]
async fn an_object_that_is_there_can_be_denied_with_404() {
    let (caller, _) = with_workers().await;
    let message = "Cluster not found".to_owned();
    let denied = Fault::NotFound404 { message };
    caller.fault(Route::GetCluster, denied);
    let path = format!("/k8s/cluster/byId/{CLUSTER}");
    let request = request(Method::GET, &path, None);
    let response = caller.send(request).await.unwrap();
    assert_eq!(response.status(), StatusCode::NOT_FOUND);
    let answer: Value = serde_json::from_slice(response.body()).unwrap();
    assert_eq!(answer["message"], "Cluster not found");
    assert_eq!(caller.nodes().await.len(), 4);
}

#[tokio::test(start_paused = true)]
async fn rows_can_come_in_any_order() {
    let (caller, group) = with_workers().await;
    for _ in 0..10 {
        caller.add(group).await;
    }
    caller.pass(40).await;
    let sorted = caller.nodes().await;
    caller.fault(Route::GetCluster, Fault::ShuffledRows);
    let shuffled = caller.nodes().await;
    assert_ne!(sorted, shuffled);
    assert_eq!(sorted.len(), shuffled.len());
    assert!(shuffled.iter().all(|row| sorted.contains(row)));
}

#[tokio::test(start_paused = true)]
async fn rows_can_lack_their_uuid() {
    let (caller, _) = with_workers().await;
    caller.fault(Route::GetCluster, Fault::MissingUuid);
    let cluster = caller.get(&format!("/k8s/cluster/byId/{CLUSTER}")).await;
    assert_eq!(cluster["data"]["identifier"], CLUSTER);
    let nodes = cluster["data"]["nodes"].as_array().unwrap();
    assert!(nodes.iter().all(|node| node.get("identifier").is_none()));
}

#[tokio::test(start_paused = true)]
async fn types_can_be_odd_or_plain_wrong() {
    let (caller, _) = with_workers().await;
    let path = format!("/k8s/cluster/byId/{CLUSTER}");
    caller.fault(Route::GetCluster, Fault::NumbersAsStrings);
    let answer = caller.get(&path).await;
    assert_eq!(
        (&answer["error"], &answer["data"]["slaveCount"]),
        (&json!(0), &json!("3"))
    );
    caller.fault(Route::GetCluster, Fault::WrongTypes);
    assert!(caller.get(&path).await["data"].is_array());
    caller.fault(Route::ListGroups, Fault::WrongTypes);
    let groups = format!("/k8s/node/groups/byClusterId/{CLUSTER}");
    assert!(caller.get(&groups).await["data"].is_object());
}

#[tokio::test(start_paused = true)]
async fn bodies_can_be_absurd() {
    let (caller, _) = with_group();
    caller.fault(Route::GetProfile, Fault::DeepBody { depth: 100_000 });
    let response = caller
        .send(request(Method::GET, "/profile/user", None))
        .await
        .unwrap();
    assert!(response.body().len() > 200_000);
    assert!(
        serde_json::from_slice::<Value>(response.body()).is_err(),
        "too deep to decode"
    );
    caller.fault(Route::GetProfile, Fault::HugeBody { bytes: 11 << 20 });
    let response = caller
        .send(request(Method::GET, "/profile/user", None))
        .await
        .unwrap();
    assert!(response.body().len() > 11 << 20);
}

#[tokio::test(start_paused = true)]
async fn the_servers_clock_can_be_off() {
    let (caller, _) = with_group();
    let by = SignedDuration::from_mins(-7);
    caller
        .sim
        .faults()
        .add(Rule::on(Match::Any, Fault::ClockSkew { by }).always());
    let mut login = request(
        Method::POST,
        "/auth/from/api",
        Some(json!({"clientId": "simulated-client", "clientSecret": "simulated-client-secret"})),
    );
    login.headers_mut().remove("vpsie-auth");
    let response = caller.send(login).await.unwrap();
    assert_eq!(response.headers()["date"], "Wed, 31 Dec 2025 23:53:00 GMT");
    let answer: Value = serde_json::from_slice(response.body()).unwrap();
    let expires: Timestamp = answer["accessToken"]["expires"]
        .as_str()
        .unwrap()
        .parse()
        .unwrap();
    assert_eq!(expires.to_string(), "2026-01-01T00:53:00Z");
}

#[tokio::test(start_paused = true)]
async fn rules_are_counted_removed_and_cleared() {
    let (caller, group) = with_group();
    let faults = caller.sim.faults();
    let id = faults.add(
        Rule::on(Match::Writes, Fault::ResetBeforeCommit)
            .nth(2)
            .always(),
    );
    assert_eq!(try_add(&caller, group).await, Ok(StatusCode::OK));
    assert_eq!(try_add(&caller, group).await, Err(ConnectionLost));
    assert_eq!(try_add(&caller, group).await, Err(ConnectionLost));
    assert_eq!(faults.struck(id), 2);
    assert_eq!(caller.nodes().await.len(), 1, "reads are not struck");
    faults.remove(id);
    assert_eq!(try_add(&caller, group).await, Ok(StatusCode::OK));
    faults.add(Rule::on(Match::Any, Fault::ResetBeforeCommit).always());
    faults.clear();
    assert_eq!(try_add(&caller, group).await, Ok(StatusCode::OK));
}

#[tokio::test(start_paused = true)]
async fn a_crashed_server_breaks_every_connection() {
    let (caller, group) = with_group();
    let by = Duration::from_secs(10);
    caller.fault(
        Route::AddWorker,
        Fault::Slow {
            by,
            after_commit: false,
        },
    );
    let crash = async {
        caller.pass(5).await;
        caller.tasks.abort();
    };
    let (answer, ()) = tokio::join!(try_add(&caller, group), crash);
    assert_eq!(answer, Err(ConnectionLost));
    assert_eq!(caller.live(), 0);
    assert!(!TOKEN.is_empty());
}
