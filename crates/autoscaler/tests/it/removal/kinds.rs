//! What is on a node that goes: each kind of pod and of budget, and what becomes of it.

use std::{cell::Cell, time::Duration};

use serde_json::{Value, json};

use super::ground::{Act, Ground, Plan, budget, deployment, pod, running, with_spec, workload};
use crate::harness::virtually;

/// The UID of a pod.
fn uid(ground: &Ground, namespace: &str, name: &str) -> Option<String> {
    let kube = &ground.harness.world.kube;
    let pod = kube.get("v1", "Pod", namespace, name)?;
    Some(pod["metadata"]["uid"].as_str()?.to_owned())
}

#[test]
fn a_stateful_sets_pod_is_made_anew_elsewhere_under_its_name_and_the_node_goes() {
    virtually(|| async {
        let ground = Ground::new(4001).await;
        let db = workload("StatefulSet", "default", "db", 2, "100m");
        ground.on_spare(&[Act::Apply(db)]).await;
        let before = uid(&ground, "default", "db-0");
        assert!(before.is_some());
        ground.release(1).await;
        ground.goes(20).await;
        let view = ground.harness.world.view();
        for name in ["default/db-0", "default/db-1"] {
            assert_eq!(view.pods[name].node.as_ref(), Some(&ground.busy));
            assert_eq!(view.pods[name].phase, "Running");
        }
        assert_ne!(uid(&ground, "default", "db-0"), before);
        ground.replica.stop().await;
    });
}

#[test]
fn a_jobs_pod_is_made_anew_elsewhere_and_the_job_completes() {
    virtually(|| async {
        let ground = Ground::new(4002).await;
        let mut job = workload("Job", "default", "report", 2, "100m");
        // It would take an hour.
        job["spec"]["template"]["metadata"]["annotations"] =
            json!({"sim.vpsie.com/run-seconds": "3600"});
        ground.on_spare(&[Act::Apply(job)]).await;
        ground.release(1).await;
        ground.goes(20).await;
        assert_eq!(ground.evicted().len(), 2, "{:?}", ground.evicted());
        let kube = &ground.harness.world.kube;
        let succeeded = || {
            let job = kube.get("batch/v1", "Job", "default", "report").unwrap();
            job["status"]["succeeded"].as_i64().unwrap_or_default()
        };
        ground
            .until(90, "the job completes", |_| succeeded() == 2)
            .await;
        ground.replica.stop().await;
    });
}

#[test]
fn pods_of_a_lower_priority_leave_before_those_of_a_higher_one() {
    virtually(|| async {
        let ground = Ground::new(4021).await;
        let of = |name, priority| {
            let deployment = deployment("default", name, 2, "100m");
            Act::Apply(with_spec(deployment, &json!({ "priority": priority })))
        };
        ground
            .on_spare(&[of("a-high", 1000), of("b-low", 10)])
            .await;
        ground.release(1).await;
        ground.goes(20).await;
        let evicted = ground.evicted();
        let high: Vec<bool> = evicted.iter().map(|pod| pod.contains("a-high")).collect();
        assert_eq!(high, [false, false, true, true], "{evicted:?}");
        ground.replica.stop().await;
    });
}

#[test]
fn pods_of_daemon_sets_and_mirror_pods_keep_no_node_and_are_not_evicted() {
    virtually(|| async {
        let ground = Ground::new(4003).await;
        let mirror = running(
            "static-web",
            &json!({"annotations": {"kubernetes.io/config.mirror": "hash"}}),
            &json!({}),
        );
        let web = deployment("default", "web", 1, "100m");
        ground
            .on_spare(&[Act::Apply(web), Act::Insert(mirror)])
            .await;
        let daemons = |view: &sim::View, node: &str| {
            let on_node = |pod: &&sim::PodRow| pod.daemon && pod.node.as_deref() == Some(node);
            view.pods.values().filter(on_node).count()
        };
        assert_eq!(daemons(&ground.harness.world.view(), &ground.spare), 1);
        ground.release(1).await;
        ground.goes(20).await;
        let evicted = ground.evicted();
        assert_eq!(evicted.len(), 1, "{evicted:?}");
        assert!(evicted[0].starts_with("default/web-"), "{evicted:?}");
        ground.replica.stop().await;
    });
}

#[test]
fn a_pod_that_is_ending_refuses_nothing_and_is_waited_for() {
    virtually(|| async {
        let ground = Ground::with(Plan::of(4004).slow(240)).await;
        let slow = json!({"terminationGracePeriodSeconds": 240});
        let pods = deployment("default", "ending", 1, "100m");
        ground.on_spare(&[Act::Apply(with_spec(pods, &slow))]).await;
        ground.act(&[Act::Scale("ending", 0)]).await;
        ground.release(1).await;
        ground
            .until(3, "a removal begins beside it", |ground| {
                ground.step().is_some()
            })
            .await;
        let view = ground.harness.world.view();
        let ends = |view: &sim::View| {
            view.pods
                .keys()
                .any(|key| key.starts_with("default/ending"))
        };
        assert!(ends(&view), "{}", ground.harness.picture());
        let early = Cell::new(false);
        ground
            .until(20, "the node goes", |ground| {
                let view = ground.harness.world.view();
                let there = view.nodes.contains_key(&ground.spare);
                early.set(early.get() || !there && ends(&view));
                !there
            })
            .await;
        assert!(!early.get(), "the node went before the pod was gone");
        assert_eq!(ground.evicted(), [""; 0]);
        ground.replica.stop().await;
    });
}

#[test]
fn pods_that_have_finished_keep_no_node_whoever_made_them() {
    virtually(|| async {
        let ground = Ground::new(4005).await;
        let mut done = running("done", &json!({}), &json!({"restartPolicy": "Never"}));
        done["status"] = json!({"phase": "Succeeded"});
        ground.act(&[Act::Insert(done)]).await;
        ground.release(1).await;
        ground.goes(20).await;
        assert_eq!(ground.evicted(), [""; 0]);
        ground.replica.stop().await;
    });
}

/// Ready pods of `web`.
fn available(ground: &Ground) -> usize {
    let view = ground.harness.world.view();
    let pods = view.pods.iter().filter(|(key, pod)| {
        key.starts_with("default/web-") && pod.phase == "Running" && pod.ready && !pod.deleting
    });
    pods.count()
}

/// `pods` of Deployment `web` under a budget on `spare`: the node goes, all of them end up running
/// elsewhere, and never fewer than `least` are available.
fn holds(seed: u64, pods: u32, limit: Value, least: usize) {
    virtually(move || async move {
        let ground = Ground::with(Plan::of(seed).slow(15)).await;
        let web = deployment("default", "web", pods, "100m");
        ground.on_spare(&[Act::Apply(web)]).await;
        // Those that fit on the busy node have no part in it; here all are on the spare one.
        assert_eq!(ground.pods_on(&ground.spare, "default/web"), pods as usize);
        let web = budget("default", "web", "web", &limit);
        ground.act(&[Act::Apply(web)]).await;
        ground.harness.clock.sleep(Duration::from_secs(5)).await;
        ground.release(1).await;
        let fewest = Cell::new(usize::MAX);
        ground
            .until(30, "the node goes", |ground| {
                fewest.set(fewest.get().min(available(ground)));
                !ground
                    .harness
                    .world
                    .view()
                    .nodes
                    .contains_key(&ground.spare)
            })
            .await;
        assert!(fewest.get() >= least, "{} were left", fewest.get());
        assert_eq!(ground.evicted().len(), pods as usize);
        ground
            .until(5, "all run again", |ground| {
                available(ground) == pods as usize
            })
            .await;
        ground.replica.stop().await;
    });
}

#[test]
fn a_budget_by_min_available_is_held_all_through_the_drain() {
    holds(4101, 3, json!({"minAvailable": 2}), 2);
}

#[test]
fn a_budget_by_max_unavailable_is_held_all_through_the_drain() {
    holds(4102, 4, json!({"maxUnavailable": 2}), 2);
}

#[test]
fn a_budget_in_percent_is_held_all_through_the_drain() {
    holds(4103, 5, json!({"minAvailable": "60%"}), 3);
}

#[test]
fn more_pods_than_a_budget_allows_at_once_leave_in_waves() {
    holds(4104, 6, json!({"maxUnavailable": 1}), 5);
}

/// A pod that is not Ready under a budget of which too few others are: by default the budget keeps
/// it, and where the budget says so it goes.
fn unhealthy(seed: u64, policy: Option<&'static str>, goes: bool) {
    virtually(move || async move {
        let ground = Ground::new(seed).await;
        let web = deployment("default", "web", 1, "100m");
        let mut budget = budget("default", "web", "web", &json!({"minAvailable": 1}));
        if let Some(policy) = policy {
            budget["spec"]["unhealthyPodEvictionPolicy"] = json!(policy);
        }
        let ill = json!({"conditions": [{"type": "Ready", "status": "False"}]});
        ground
            .on_spare(&[Act::Apply(web), Act::Apply(budget)])
            .await;
        ground.act(&[Act::PodStatus("default/web", ill)]).await;
        ground.release(1).await;
        if goes {
            ground.goes(20).await;
        } else {
            ground.harness.minutes(20).await;
            assert!(ground.serves(&ground.spare), "{}", ground.harness.picture());
            assert!(ground.said_to_stay_for("BudgetAllowsNone"));
            assert_eq!(ground.evicted(), [""; 0]);
        }
        ground.replica.stop().await;
    });
}

#[test]
fn an_unhealthy_pod_stays_where_its_budget_is_not_met() {
    unhealthy(4201, None, false);
}

#[test]
fn an_unhealthy_pod_goes_where_its_budget_lets_it_always() {
    unhealthy(4202, Some("AlwaysAllow"), true);
}

#[test]
fn a_permission_lets_a_bare_pod_go_for_good() {
    virtually(|| async {
        let ground = Ground::new(4301).await;
        let mut alone = pod("alone", "100m");
        alone["metadata"]["annotations"] =
            json!({"cluster-autoscaler.kubernetes.io/safe-to-evict": "true"});
        ground.on_spare(&[Act::Apply(alone)]).await;
        ground.release(1).await;
        ground.goes(20).await;
        assert_eq!(ground.evicted(), ["default/alone"]);
        ground.replica.stop().await;
    });
}
