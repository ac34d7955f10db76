//! What the predecessor did wrong when it took nodes away: refused candidates that were deleted all
//! the same, cordons that stayed, windows that restarts forgot.

use std::{path::Path, time::Duration};

use serde_json::{Value, json};
use vpsie_sim::{Fault, Match, Route, Rule};

use crate::{
    harness::{settled, virtually},
    removal::ground::{
        Act, Ground, OURS, Plan, annotated, budget, deployment, pod, with_spec, workload,
    },
};

/// What must be as it was: the spec of the group, the VPSieNode's spec and phase, the Node's cordon,
/// taints and labels.
fn left_alone(ground: &Ground) -> Value {
    let kube = &ground.harness.world.kube;
    let view = ground.harness.world.view();
    let (key, row) = view
        .vpsie_nodes
        .iter()
        .find(|(_, row)| row.node.as_deref() == Some(&ground.spare))
        .expect("its VPSieNode is there");
    let (namespace, name) = key.split_once('/').unwrap();
    let record = kube.get(OURS, "VPSieNode", namespace, name).unwrap();
    let node = kube.get("v1", "Node", "", &ground.spare).unwrap();
    let group = kube
        .get(OURS, "NodeGroup", "kube-system", "general")
        .unwrap();
    json!({
        "phase": row.phase, "deleting": row.deleting, "record": record["spec"],
        "removal": record["status"]["removal"], "labels": node["metadata"]["labels"],
        "unschedulable": node["spec"]["unschedulable"], "taints": node["spec"]["taints"],
        "group": group["spec"], "machines": ground.harness.world.cloud.ledger().machines_now,
    })
}

/// Case 1. The predecessor's six checks: local storage, a place elsewhere, system pods,
/// anti-affinity, room, protection.
#[test]
fn a_candidate_that_a_check_refuses_is_left_exactly_as_it_was() {
    let apart = json!({"affinity": {"podAntiAffinity": {
        "requiredDuringSchedulingIgnoredDuringExecution": [{
            "topologyKey": "kubernetes.io/hostname",
            "labelSelector": {"matchLabels": {"app": "filler"}}}]}}});
    let web = || deployment("default", "web", 1, "100m");
    let local = json!({"volumes": [{"name": "scratch", "emptyDir": {}}]});
    let here = json!({"nodeSelector": {"kubernetes.io/hostname": "@spare"}});
    let kept = [("cluster-autoscaler.kubernetes.io/safe-to-evict", "false")];
    let checks = [
        ("LocalStorage", with_spec(web(), &local)),
        ("NoPlace", with_spec(web(), &here)),
        ("KubeSystemPod", deployment("kube-system", "dns", 1, "100m")),
        ("NoPlace", with_spec(web(), &apart)),
        ("CapacityBuffer", deployment("default", "web", 1, "800m")),
        ("PodProtected", annotated(web(), &kept)),
        ("BarePod", pod("alone", "100m")),
    ];
    for (seed, (reason, object)) in (111..).zip(checks) {
        virtually(move || async move {
            let ground = Ground::new(seed).await;
            ground.on_spare(&[Act::Apply(object)]).await;
            ground.release(1).await;
            let before = left_alone(&ground);
            ground.harness.minutes(30).await;
            assert!(
                ground.said_to_stay_for(reason),
                "{}",
                ground.harness.picture()
            );
            assert_eq!(left_alone(&ground), before, "{reason}");
            assert_eq!(ground.destructive(), 0);
            ground.replica.stop().await;
        });
    }
}

/// Case 2.
#[test]
fn a_budget_that_allows_none_leaves_no_cordon_and_the_node_goes_once_it_does() {
    virtually(|| async {
        let ground = Ground::new(121).await;
        let limit = |least: u32| budget("default", "web", "web", &json!({"minAvailable": least}));
        ground
            .on_spare(&[
                Act::Apply(deployment("default", "web", 2, "100m")),
                Act::Apply(limit(2)),
            ])
            .await;
        ground.release(1).await;
        for _ in 0..300 {
            ground.harness.clock.sleep(Duration::from_secs(5)).await;
            assert!(ground.serves(&ground.spare), "{}", ground.harness.picture());
        }
        assert_eq!(ground.destructive(), 0);
        assert!(ground.said_to_stay_for("BudgetAllowsNone"));
        ground.act(&[Act::Apply(limit(1))]).await;
        ground.goes(20).await;
        assert_eq!(ground.harness.paid(), 1);
        ground.replica.stop().await;
    });
}

/// Case 4.
#[test]
fn the_node_of_the_leader_stays_until_it_leads_from_elsewhere() {
    virtually(|| async {
        let ground = Ground::with(Plan {
            flags: &["--identity=leader-0", "--pod-namespace=default"],
            ..Plan::of(141)
        })
        .await;
        let leader = workload("StatefulSet", "default", "leader", 1, "100m");
        ground.on_spare(&[Act::Apply(leader)]).await;
        ground.release(1).await;
        ground.harness.minutes(30).await;
        assert!(ground.serves(&ground.spare), "{}", ground.harness.picture());
        assert!(ground.said_to_stay_for("OwnLeader"));
        assert_eq!(ground.destructive(), 0);
        // The pod moves, as if somebody had restarted it.
        let busy = ground.busy.clone();
        ground
            .on(&busy, &[Act::Delete("v1", "Pod", "default", "leader-0")])
            .await;
        ground.goes(20).await;
        assert!(ground.serves(&ground.busy), "{}", ground.harness.picture());
        ground.replica.stop().await;
    });
}

/// Case 13.
#[test]
fn an_hour_without_the_cloud_removes_nothing_and_is_recovered_from() {
    virtually(|| async {
        let ground = Ground::new(131).await;
        ground
            .on_spare(&[Act::Apply(deployment("default", "web", 2, "100m"))])
            .await;
        let faults = ground.harness.world.cloud.faults();
        faults.add(Rule::on(Match::Any, Fault::Html500).always());
        ground.release(1).await;
        for _ in 0..60 {
            ground.harness.minutes(1).await;
            assert_eq!(ground.replica.standstill(), None);
        }
        assert_eq!(ground.harness.paid(), 2, "{}", ground.harness.picture());
        let deletes = ground.harness.world.cloud.journal();
        let deletes = deletes
            .iter()
            .filter(|one| one.route == Route::DeleteWorker);
        let done = deletes.filter(|one| !one.committed.is_empty()).count();
        assert_eq!(done, 0, "no machine went");
        ground.harness.world.cloud.faults().clear();
        ground.goes(60).await;
        ground
            .harness
            .wait(60, "one node is left", settled(1))
            .await;
        assert_eq!(ground.harness.paid(), 1, "{}", ground.harness.picture());
        ground.replica.stop().await;
    });
}

/// Case 14. The predecessor waited for a pod of that name to be gone, and it never was.
#[test]
fn a_stateful_sets_drain_ends_once_its_pod_runs_elsewhere_under_its_name() {
    virtually(|| async {
        let ground = Ground::with(Plan::of(142).slow(30)).await;
        let db = workload("StatefulSet", "default", "db", 1, "100m");
        ground.on_spare(&[Act::Apply(db)]).await;
        ground.release(1).await;
        ground.goes(15).await;
        let view = ground.harness.world.view();
        assert_eq!(view.pods["default/db-0"].node.as_ref(), Some(&ground.busy));
        assert_eq!(view.pods["default/db-0"].phase, "Running");
        assert_eq!(ground.evicted(), ["default/db-0"]);
        ground.replica.stop().await;
    });
}

/// Case 15.
#[test]
fn a_restart_in_the_middle_of_a_window_removes_nothing_before_the_window_is_full() {
    virtually(|| async {
        let window = json!({"scaleDownPolicy":
            {"stabilizationWindowSeconds": 1800, "cooldownSeconds": 0}});
        let mut ground = Ground::with(Plan {
            group: window,
            ..Plan::of(151)
        })
        .await;
        ground
            .on_spare(&[Act::Apply(deployment("default", "web", 1, "100m"))])
            .await;
        ground.release(1).await;
        let begun = ground.harness.clock.monotonic();
        for _ in 0..5 {
            ground.harness.minutes(4).await;
            let next = ground.harness.start();
            std::mem::replace(&mut ground.replica, next).crash();
        }
        assert_eq!(ground.destructive(), 0, "{}", ground.harness.picture());
        ground
            .until(40, "the drain begins", |ground| ground.destructive() > 0)
            .await;
        let took = ground.harness.clock.monotonic().saturating_sub(begun);
        // The window began with the node, a little before it was released.
        assert!(took >= Duration::from_mins(28), "{took:?}");
        ground.goes(20).await;
        ground.replica.stop().await;
    });
}

/// Case 18. Deletions of Nodes are nobody's business but their owner's: nothing that is installed
/// stands in their way.
#[test]
fn nodes_of_others_can_be_deleted_while_the_product_is_down_and_beside_it() {
    let manifests = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/manifests");
    for entry in std::fs::read_dir(manifests).unwrap() {
        let text = std::fs::read_to_string(entry.unwrap().path()).unwrap();
        assert!(!text.contains("WebhookConfiguration"), "{text}");
    }
    virtually(|| async {
        let mut ground = Ground::new(181).await;
        let add = |ground: &Ground| {
            let world = &ground.harness.world;
            let pool = world.cloud.pools(&world.cluster)[0].id;
            world.cloud.human_add_worker(&world.cluster, pool).unwrap();
        };
        add(&ground);
        add(&ground);
        let ready = |count: usize| {
            move |view: &sim::View| {
                let workers = view
                    .nodes
                    .values()
                    .filter(|row| row.ready && !row.control_plane);
                workers.count() == count
            }
        };
        ground.harness.wait(20, "they join", ready(4)).await;
        let ours = [ground.busy.clone(), ground.spare.clone()];
        let view = ground.harness.world.view();
        let foreign: Vec<String> = view
            .nodes
            .iter()
            .filter(|(name, row)| !row.control_plane && !ours.contains(name))
            .map(|(name, _)| name.clone())
            .collect();
        let world = &ground.harness.world;
        world.delete("v1", "Node", "", &foreign[0]).await.unwrap();
        let next = ground.harness.start();
        std::mem::replace(&mut ground.replica, next).crash();
        let world = &ground.harness.world;
        world.delete("v1", "Node", "", &foreign[1]).await.unwrap();
        ground.harness.wait(1, "both are gone", ready(2)).await;
        ground.harness.minutes(30).await;
        assert_eq!(ground.harness.paid(), 4, "no machine of another is touched");
        assert_eq!(ground.destructive(), 0);
        ground.replica.stop().await;
    });
}
