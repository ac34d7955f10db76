use http::{Method, StatusCode};
use serde_json::json;
use vpsie_sim::{Cluster, CountAt, Join, MachineEvent, NodeShape, Origin, Phase, Span};

use crate::client::{CLUSTER, Caller, MEDIUM, SMALL, caller, caller_with, drain};

#[tokio::test(start_paused = true)]
async fn a_worker_is_bought_listed_run_deleted_and_gone() {
    let caller = caller();
    let mut events = caller.sim.subscribe();
    let group = caller.group("general", SMALL).await;
    assert_eq!(
        caller.add(group).await,
        (StatusCode::OK, json!({"error": false, "data": true}))
    );
    assert_eq!(
        caller.nodes().await.len(),
        1,
        "a queued worker is not listed"
    );

    caller.pass(31).await;
    let nodes = caller.nodes().await;
    assert_eq!(nodes[1]["status"], "creating");
    assert_eq!(nodes[1]["default_ip"], json!(null));
    assert_eq!(nodes[1]["is_active"], 0);

    caller.pass(240).await;
    let nodes = caller.nodes().await;
    assert_eq!(
        (&nodes[1]["status"], &nodes[1]["is_active"]),
        (&json!("running"), &json!(1))
    );
    let machine = caller.workers().remove(0);
    assert_eq!(nodes[1]["identifier"], json!(machine.uuid));
    assert_eq!(nodes[1]["default_ip"], json!(machine.default_ip));
    assert_eq!(machine.phase, Phase::Running);
    assert!(machine.joins());

    assert_eq!(caller.delete(&machine.uuid).await.1["error"], false);
    let nodes = caller.nodes().await;
    assert_eq!(
        (&nodes[1]["status"], &nodes[1]["is_deleted"]),
        (&json!("deleting"), &json!(1))
    );
    caller.pass(91).await;
    assert_eq!(caller.nodes().await.len(), 1);

    let names: Vec<_> = drain(&mut events)
        .iter()
        .map(|event| match event {
            MachineEvent::Created(_) => "created",
            MachineEvent::Running(machine) => {
                assert!(matches!(machine.join, Join::Ready { .. }));
                "running"
            }
            MachineEvent::Deleting(_) => "deleting",
            MachineEvent::Deleted(_) => "deleted",
        })
        .collect();
    assert_eq!(names, ["created", "running", "deleting", "deleted"]);
}

#[tokio::test(start_paused = true)]
async fn host_names_are_mixed_case_with_a_random_suffix_and_node_names_are_lower_case() {
    let caller = caller();
    let group = caller.group("general", SMALL).await;
    for _ in 0..20 {
        caller.add(group).await;
    }
    let mut names = Vec::new();
    for machine in caller.workers() {
        let suffix = machine
            .hostname
            .strip_prefix("HEL-Kubernetes-49ab-slave-")
            .unwrap();
        assert_eq!(suffix.len(), 4);
        assert!(
            suffix
                .chars()
                .all(|c| c.is_ascii_digit() || ('a'..='f').contains(&c))
        );
        assert_eq!(machine.node_name, machine.hostname.to_lowercase());
        names.push(machine.hostname);
    }
    names.sort();
    names.dedup();
    assert_eq!(names.len(), 20);
}

#[tokio::test(start_paused = true)]
async fn workers_are_absent_from_vm_and_present_in_storages_vms() {
    let caller = caller();
    let group = caller.group("general", SMALL).await;
    caller.add(group).await;
    caller.pass(300).await;
    assert_eq!(caller.get("/vm").await["data"], json!([]));
    assert_eq!(caller.get("/vm/pending").await["data"], json!([]));
    let worker = caller.workers().remove(0);
    assert_eq!(
        caller.get(&format!("/vm/{}", worker.uuid)).await["data"],
        json!(false)
    );
    let list = caller.get("/storages/vms").await;
    assert_eq!(list["total"], json!([{"count": 2}]));
    let row = &list["data"][1];
    assert_eq!(row["hostname"], json!(worker.hostname));
    assert_eq!(row["identifier"], json!(worker.uuid));
}

#[tokio::test(start_paused = true)]
async fn the_three_node_shapes_have_the_fields_of_their_sources() {
    for (shape, present, absent) in [
        (
            NodeShape::Sdk,
            vec!["id", "node_type", "private_ip"],
            vec!["identifier", "status", "role"],
        ),
        (
            NodeShape::Goas,
            vec!["identifier", "status", "role", "ip"],
            vec!["id", "node_type"],
        ),
        (
            NodeShape::Union,
            vec!["id", "identifier", "status", "node_type", "is_deleted"],
            vec![],
        ),
    ] {
        let caller = caller_with(|config| config.node_shape = shape);
        let group = caller.group("general", SMALL).await;
        caller.add(group).await;
        caller.pass(60).await;
        for node in caller.nodes().await {
            assert!(
                present.iter().all(|key| node.get(key).is_some()),
                "{shape:?} {node}"
            );
            assert!(
                absent.iter().all(|key| node.get(key).is_none()),
                "{shape:?} {node}"
            );
            assert!(node.get("groupId").is_none(), "no shape tells the group");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_worker_cap_is_a_500_in_the_words_of_the_api() {
    let caller = caller_with(|config| {
        config.clusters[0].worker_cap = Some(2);
    });
    let group = caller.group("general", SMALL).await;
    caller.add(group).await;
    caller.add(group).await;
    let refused = json!({
        "error": true, "code": 500,
        "message": "Worker nodes count exceeds the allowed limit 2", "type": false
    });
    assert_eq!(
        caller.add(group).await,
        (StatusCode::INTERNAL_SERVER_ERROR, refused)
    );
    assert_eq!(caller.live(), 2);
    // A deletion makes room as soon as it is accepted.
    caller.delete(&caller.workers()[0].uuid).await;
    assert_eq!(caller.add(group).await.0, StatusCode::OK);
}

#[tokio::test(start_paused = true)]
async fn adding_can_answer_an_object_instead_of_true() {
    let caller = caller_with(|config| config.add_answers_object = true);
    let wish = json!({"clusterIdentifier": CLUSTER, "groupName": "g", "KubeSizeID": SMALL});
    let (_, answer) = caller.post("/k8s/cluster/add/group", wish).await;
    let group = answer["data"]["groupId"].as_i64().unwrap();
    let (_, answer) = caller.add(group).await;
    let worker = caller.workers().remove(0);
    assert_eq!(answer["data"]["identifier"], json!(worker.uuid));
    assert_eq!(answer["data"]["hostname"], json!(worker.hostname));
    assert_eq!(worker.origin, Origin::Api(2));
}

#[tokio::test(start_paused = true)]
async fn adding_to_an_unknown_group_or_cluster_buys_nothing() {
    let caller = caller();
    let group = caller.group("general", SMALL).await;
    assert_eq!(caller.add(group + 1).await.1["message"], "Group not found");
    let path = format!("/k8s/cluster/byId/nowhere/add/slave/group/{group}");
    let (_, answer) = caller.call(Method::POST, &path, None).await;
    assert_eq!(
        (&answer["error"], &answer["message"]),
        (&json!(true), &json!("Cluster not found"))
    );
    // The UUID of the group is not what this path wants.
    let uuid = caller.sim.pools(CLUSTER)[0].identifier.clone();
    let path = format!("/k8s/cluster/byId/{CLUSTER}/add/slave/group/{uuid}");
    assert_eq!(
        caller.call(Method::POST, &path, None).await.1["error"],
        true
    );
    assert_eq!(caller.live(), 0);
}

#[tokio::test(start_paused = true)]
async fn without_a_group_the_worker_lands_in_the_default_one() {
    let caller = caller();
    let path = format!("/k8s/cluster/byId/{CLUSTER}/add/slave");
    assert_eq!(
        caller.call(Method::POST, &path, None).await.1["error"],
        true,
        "there is none"
    );
    let first = caller.group("first", SMALL).await;
    let second = caller.group("second", MEDIUM).await;
    assert_eq!(
        caller.call(Method::POST, &path, None).await.1["error"],
        false
    );
    assert_eq!(
        caller.post(&path, json!({"groupId": second})).await.1["error"],
        false
    );
    let pools: Vec<_> = caller.workers().iter().map(|worker| worker.pool).collect();
    assert_eq!(pools, [Some(first), Some(second)]);
}

#[tokio::test(start_paused = true)]
async fn a_delete_removes_exactly_the_worker_it_names() {
    let caller = caller();
    let group = caller.group("general", SMALL).await;
    for _ in 0..5 {
        caller.add(group).await;
    }
    let target = caller.workers()[3].uuid.clone();
    caller.delete(&target).await;
    let deleted: Vec<_> = caller
        .workers()
        .into_iter()
        .filter(|worker| !worker.is_paid())
        .map(|worker| worker.uuid)
        .collect();
    assert_eq!(deleted, [target]);
}

#[tokio::test(start_paused = true)]
async fn masters_and_unknown_workers_are_not_deleted() {
    let caller = caller();
    let group = caller.group("general", SMALL).await;
    caller.add(group).await;
    let master = caller.sim.machines()[0].clone();
    assert!(master.hostname.contains("-master-"));
    let (status, answer) = caller.delete(&master.uuid).await;
    assert_eq!(
        (status, &answer["error"]),
        (StatusCode::BAD_REQUEST, &json!(true))
    );
    let missing = json!({"error": true, "message": "Node not found"});
    assert_eq!(
        caller.delete("no-such-node").await,
        (StatusCode::OK, missing.clone())
    );
    assert_eq!(caller.delete("").await.1, missing);
    // Twice, and under another cluster.
    let worker = caller.workers()[0].uuid.clone();
    let path = "/k8s/cluster/byId/another/delete/slave";
    assert_eq!(
        caller.remove(path, json!({"identifier": worker})).await.1,
        missing
    );
    assert_eq!(caller.delete(&worker).await.1["error"], false);
    assert_eq!(caller.delete(&worker).await.1, missing);
    assert_eq!(caller.sim.machines()[0].phase, Phase::Running);
}

#[tokio::test(start_paused = true)]
async fn reduce_lets_the_api_pick_the_victim() {
    let victims = async |seed| {
        let caller = crate::client::seeded(seed, |_| {});
        let group = caller.group("general", SMALL).await;
        let other = caller.group("other", MEDIUM).await;
        for _ in 0..4 {
            caller.add(group).await;
            caller.add(other).await;
        }
        let path = format!("/k8s/cluster/byId/{CLUSTER}/reduce/slave");
        caller.remove(&path, json!({"groupId": group})).await;
        let reduced: Vec<_> = deleted(&caller);
        assert_eq!(reduced.len(), 1);
        assert!(reduced[0].is_multiple_of(2), "a worker of the group");
        let path = format!("/k8s/cluster/byId/{CLUSTER}/reduce");
        caller.call(Method::DELETE, &path, None).await;
        assert_eq!(deleted(&caller).len(), 2);
        reduced[0]
    };
    let mut seen = std::collections::BTreeSet::new();
    for seed in 0..12 {
        seen.insert(victims(seed).await);
    }
    assert!(seen.len() > 1, "the victim is not a fixed one");
}

fn deleted(caller: &Caller) -> Vec<usize> {
    let workers = caller.workers();
    (0..workers.len())
        .filter(|index| !workers[*index].is_paid())
        .collect()
}

#[tokio::test(start_paused = true)]
async fn reduce_of_an_empty_group_is_refused() {
    let caller = caller();
    let group = caller.group("general", SMALL).await;
    let path = format!("/k8s/cluster/byId/{CLUSTER}/reduce/slave");
    assert_eq!(
        caller.remove(&path, json!({"groupId": group})).await.1["error"],
        true
    );
    assert_eq!(
        caller.remove(&path, json!({})).await.1["message"],
        "Group not found"
    );
}

#[tokio::test(start_paused = true)]
async fn counts_rise_at_acceptance_or_at_listing() {
    for (count_at, at_once) in [(CountAt::Accept, 1), (CountAt::Listing, 0)] {
        let caller = caller_with(|config| config.count_at = count_at);
        let group = caller.group("general", SMALL).await;
        caller.add(group).await;
        assert_eq!(caller.groups().await[0]["nodes_count"], at_once);
        let clusters = caller.get("/k8s/cluster/all").await;
        assert_eq!(clusters["data"][0]["slaveCount"], at_once);
        assert_eq!(clusters["data"][0]["managerCount"], 1);
        caller.pass(31).await;
        assert_eq!(caller.groups().await[0]["nodes_count"], 1);
    }
}

#[tokio::test(start_paused = true)]
async fn lists_lag_behind_writes_when_told_so() {
    let caller = caller_with(|config| {
        config.staleness.lag = Span::seconds(20, 20);
        config.timings.queued = Span::seconds(0, 0);
    });
    caller.pass(60).await;
    let group = caller.group("general", SMALL).await;
    assert_eq!(
        caller.groups().await.len(),
        0,
        "even the group is not there yet"
    );
    caller.add(group).await;
    caller.pass(19).await;
    assert_eq!(caller.nodes().await.len(), 1);
    caller.pass(1).await;
    assert_eq!(caller.nodes().await.len(), 2);
    assert_eq!(caller.groups().await.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_later_read_shows_no_earlier_moment_unless_told_so() {
    for monotonic in [true, false] {
        let caller = caller_with(|config| {
            config.staleness.lag = Span::seconds(0, 30);
            config.staleness.monotonic = monotonic;
            config.timings.queued = Span::seconds(0, 0);
        });
        let group = caller.group("general", SMALL).await;
        let mut went_back = false;
        let mut former = 0;
        for _ in 0..40 {
            caller.add(group).await;
            let now = caller.nodes().await.len();
            went_back |= now < former;
            former = now;
            caller.pass(2).await;
        }
        assert_eq!(went_back, !monotonic);
    }
}

#[tokio::test(start_paused = true)]
async fn an_unknown_cluster_is_success_with_false() {
    let caller = caller();
    let answer = caller.get("/k8s/cluster/byId/unknown").await;
    assert_eq!(answer, json!({"error": false, "data": false}));
}

#[tokio::test(start_paused = true)]
async fn initial_machines_run_from_the_start_and_are_not_announced() {
    let groups = json!([{"name": "base", "size": SMALL, "workers": 2}]);
    let caller = caller_with(|config| {
        config.clusters = vec![Cluster {
            masters: 3,
            groups: serde_json::from_value(groups).unwrap(),
            ..Cluster::default()
        }];
    });
    let mut events = caller.sim.subscribe();
    let machines = caller.sim.machines();
    assert_eq!(machines.len(), 5);
    assert!(
        machines
            .iter()
            .all(|machine| machine.phase == Phase::Running)
    );
    assert!(
        machines
            .iter()
            .all(|machine| machine.origin == Origin::Initial)
    );
    assert_eq!(caller.nodes().await.len(), 5);
    caller.pass(1000).await;
    assert_eq!(drain(&mut events), []);
}

#[tokio::test(start_paused = true)]
async fn strict_mode_wants_delete_statistic_and_knows_its_fields() {
    let caller = caller_with(|config| config.strict = true);
    let group = caller.group("general", SMALL).await;
    caller.add(group).await;
    let uuid = caller.workers()[0].uuid.clone();
    assert_eq!(
        caller.delete(&uuid).await.0,
        StatusCode::INTERNAL_SERVER_ERROR
    );
    let path = format!("/k8s/cluster/byId/{CLUSTER}/delete/slave");
    let statistic = json!({"reason": "scale-down", "note": ""});
    let surplus = json!({"identifier": uuid, "deleteStatistic": statistic, "force": true});
    assert_eq!(
        caller.remove(&path, surplus).await.0,
        StatusCode::BAD_REQUEST
    );
    let right = json!({"identifier": uuid, "deleteStatistic": statistic});
    assert_eq!(caller.remove(&path, right).await.1["error"], false);
}
