//! Nodes beside each other, in time and in space: what one has to wait for because of another, and
//! what all wait for.

use std::{cell::RefCell, collections::BTreeSet, time::Duration};

use kube_sim::{Effect, Match, Rule};
use serde_json::json;

use super::ground::{Act, Ground, Plan, budget, deployment, running, with_spec};
use crate::harness::{Harness, settled, virtually};

/// The reasons for which nodes are kept now.
fn reasons(ground: &Ground) -> BTreeSet<String> {
    let metrics = ground.replica.metrics();
    let counted = metrics.lines().filter_map(|line| {
        let rest = line.strip_prefix("vpsie_autoscaler_scale_down_blocked_nodes{")?;
        let (labels, count) = rest.rsplit_once("} ")?;
        let reason = labels.split("reason=\"").nth(1)?.split('"').next()?;
        (count != "0").then(|| reason.to_owned())
    });
    counted.collect()
}

/// Releases the group, once every window is over, and waits until it is at its minimum; every reason
/// that was told on the way.
async fn told_until_settled(ground: &Ground, minutes: u64) -> BTreeSet<String> {
    let seen = RefCell::new(BTreeSet::new());
    ground.harness.minutes(3).await;
    ground.release(1).await;
    ground
        .until(minutes, "one node is left", |ground| {
            seen.borrow_mut().extend(reasons(ground));
            settled(1)(&ground.harness.world.view())
        })
        .await;
    assert_eq!(ground.harness.paid(), 1, "{}", ground.harness.picture());
    seen.into_inner()
}

#[test]
fn two_nodes_go_one_after_the_other_and_the_second_says_what_it_waits_for() {
    virtually(|| async {
        let ground = Ground::with(
            Plan {
                nodes: 3,
                ..Plan::of(5001)
            }
            .slow(120),
        )
        .await;
        let other = ground.others[0].clone();
        let pods = |name| [Act::Apply(deployment("default", name, 1, "100m"))];
        ground.on_spare(&pods("web")).await;
        ground.on(&other, &pods("api")).await;
        let seen = told_until_settled(&ground, 30).await;
        for reason in [
            "EnoughAtOnce",
            "BeingRemoved",
            "CooldownActive",
            "RemovalInProgress",
        ] {
            assert!(seen.contains(reason), "{reason}: {seen:?}");
        }
        ground.replica.stop().await;
    });
}

#[test]
fn a_budget_that_one_node_spends_keeps_the_other_until_it_is_met_again() {
    virtually(|| async {
        let ground = Ground::with(
            Plan {
                nodes: 3,
                flags: &["--max-concurrent-scale-downs=3"],
                ..Plan::of(5002)
            }
            .slow(60),
        )
        .await;
        let other = ground.others[0].clone();
        ground
            .on_spare(&[Act::Apply(deployment("default", "web", 1, "100m"))])
            .await;
        ground.on(&other, &[Act::Scale("web", 2)]).await;
        let one = budget("default", "web", "web", &json!({"maxUnavailable": 1}));
        ground.act(&[Act::Apply(one)]).await;
        let seen = told_until_settled(&ground, 30).await;
        assert!(seen.contains("BudgetSpent"), "{seen:?}");
        ground.replica.stop().await;
    });
}

#[test]
fn a_node_that_is_drained_in_waves_waits_until_it_is_the_only_one() {
    virtually(|| async {
        let ground = Ground::with(
            Plan {
                nodes: 3,
                flags: &["--max-concurrent-scale-downs=3"],
                ..Plan::of(5003)
            }
            .slow(60),
        )
        .await;
        let other = ground.others[0].clone();
        ground
            .on_spare(&[Act::Apply(deployment("default", "web", 3, "100m"))])
            .await;
        ground
            .on(
                &other,
                &[Act::Apply(deployment("default", "api", 1, "100m"))],
            )
            .await;
        let one = budget("default", "web", "web", &json!({"maxUnavailable": 1}));
        ground.act(&[Act::Apply(one)]).await;
        let seen = told_until_settled(&ground, 40).await;
        assert!(seen.contains("DrainedAlone"), "{seen:?}");
        ground.replica.stop().await;
    });
}

/// Two pods that want to be apart, and one node that could take one of them: the pods of two nodes
/// never count on it both, and one of the nodes stays.
#[test]
fn two_nodes_never_count_on_the_same_room() {
    virtually(|| async {
        let ground = Ground::with(Plan {
            nodes: 3,
            flags: &["--max-concurrent-scale-downs=3"],
            ..Plan::of(5004)
        })
        .await;
        let other = ground.others[0].clone();
        let apart = json!({"affinity": {"podAntiAffinity": {
            "requiredDuringSchedulingIgnoredDuringExecution": [{
                "topologyKey": "kubernetes.io/hostname",
                "labelSelector": {"matchLabels": {"app": "web"}}}]}}});
        let web = deployment("default", "web", 1, "100m");
        ground.on_spare(&[Act::Apply(with_spec(web, &apart))]).await;
        ground.on(&other, &[Act::Scale("web", 2)]).await;
        ground.harness.minutes(3).await;
        ground.release(1).await;
        let seen = RefCell::new(BTreeSet::new());
        ground
            .until(20, "one of them goes", |ground| {
                seen.borrow_mut().extend(reasons(ground));
                settled(2)(&ground.harness.world.view())
            })
            .await;
        let seen = seen.into_inner();
        let told = seen.contains("RoomTaken") || seen.contains("TakesPods");
        assert!(told, "{seen:?}");
        ground.harness.minutes(30).await;
        assert_eq!(ground.harness.paid(), 2, "{}", ground.harness.picture());
        assert!(ground.kept_for("NoPlace"), "{:?}", reasons(&ground));
        assert_eq!(ground.harness.world.counts().pending, 0);
        assert_eq!(ground.harness.bought(), 3);
        ground.replica.stop().await;
    });
}

#[test]
fn many_nodes_that_look_removable_at_once_wait_another_window_and_then_go_one_by_one() {
    virtually(|| async {
        let ground = Ground::with(Plan {
            nodes: 6,
            group: json!({"scaleDownPolicy":
                {"stabilizationWindowSeconds": 600, "cooldownSeconds": 30}}),
            ..Plan::of(5005)
        })
        .await;
        // The first window passes while the group keeps them.
        ground.harness.minutes(12).await;
        ground.release(1).await;
        ground.harness.minutes(9).await;
        assert!(ground.kept_for("ManyRemovable"), "{:?}", reasons(&ground));
        assert_eq!(ground.harness.paid(), 6, "{}", ground.harness.picture());
        assert_eq!(ground.destructive(), 0);
        let view = ground.harness.world.view();
        let told = view
            .decisions
            .iter()
            .any(|one| one.reason == "ManyRemovable");
        assert!(told, "{}", ground.harness.picture());
        ground.harness.wait(60, "they go", settled(1)).await;
        assert_eq!(ground.harness.paid(), 1);
        ground.replica.stop().await;
    });
}

#[test]
fn a_new_leader_destroys_nothing_before_its_first_lease_is_over() {
    virtually(|| async {
        let ground = Ground::new(5006).await;
        ground
            .on_spare(&[Act::Apply(deployment("default", "web", 1, "100m"))])
            .await;
        // The window of evidence is over when the next one begins to lead.
        ground.harness.minutes(3).await;
        let Ground {
            harness,
            replica,
            busy,
            spare,
            ..
        } = ground;
        replica.stop().await;
        harness.group("general", 1, 6, json!({})).await;
        let replica = harness.start();
        let ground = Ground::again(harness, replica, busy, spare);
        ground
            .until(1, "it waits", |ground| ground.kept_for("WarmingUp"))
            .await;
        ground.harness.clock.sleep(Duration::from_secs(12)).await;
        assert!(ground.serves(&ground.spare), "{}", ground.harness.picture());
        assert_eq!(ground.destructive(), 0);
        ground.goes(5).await;
        ground.replica.stop().await;
    });
}

#[test]
fn while_budgets_cannot_be_read_no_node_with_pods_goes() {
    virtually(|| async {
        let forbid = |harness: &Harness| {
            let budgets = Match::resource("poddisruptionbudgets").of_actor("vpsie-autoscaler");
            let refuse = Effect::Refuse {
                code: 403,
                retry_after: None,
            };
            harness
                .world
                .kube
                .faults()
                .add(Rule::always(budgets, refuse));
        };
        let ground = Ground::with(Plan {
            before: forbid,
            ..Plan::of(5007)
        })
        .await;
        ground
            .on_spare(&[Act::Apply(deployment("default", "web", 1, "100m"))])
            .await;
        ground.release(1).await;
        ground.harness.minutes(25).await;
        assert!(ground.serves(&ground.spare), "{}", ground.harness.picture());
        assert!(
            ground.kept_for("BudgetsUnreadable"),
            "{:?}",
            reasons(&ground)
        );
        assert!(ground.said_to_stay_for("BudgetsUnreadable"));
        assert_eq!(ground.destructive(), 0);
        ground.harness.world.kube.faults().clear();
        ground.goes(30).await;
        ground.replica.stop().await;
    });
}

#[test]
fn while_the_watch_of_pods_is_broken_nothing_goes() {
    virtually(|| async {
        let ground = Ground::new(5010).await;
        ground.harness.minutes(3).await;
        let faults = ground.harness.world.kube.faults();
        let pods = || Match::resource("pods").of_actor("vpsie-autoscaler");
        let refuse = Effect::Refuse {
            code: 500,
            retry_after: None,
        };
        for verb in ["list", "watch"] {
            faults.add(Rule::always(pods().verb(verb), refuse.clone()));
        }
        faults.cut_watches(pods());
        ground.harness.clock.sleep(Duration::from_secs(10)).await;
        ground.release(1).await;
        ground.harness.minutes(10).await;
        assert!(ground.kept_for("CacheStale"), "{:?}", reasons(&ground));
        assert!(ground.serves(&ground.spare), "{}", ground.harness.picture());
        assert_eq!(ground.destructive(), 0);
        faults.clear();
        ground.goes(5).await;
        ground.replica.stop().await;
    });
}

/// The index has not heard of it, so that nobody looked for a place for it.
#[test]
fn a_pod_that_only_a_fresh_read_shows_holds_up_a_removal() {
    virtually(|| async {
        let ground = Ground::new(5011).await;
        ground
            .on_spare(&[Act::Apply(deployment("default", "web", 1, "100m"))])
            .await;
        ground.harness.minutes(3).await;
        let kube = &ground.harness.world.kube;
        kube.faults().hold_watches("pods");
        let mut late = running("late", &json!({}), &json!({}));
        late["spec"]["nodeName"] = json!(ground.spare);
        kube.insert(late).unwrap();
        ground.release(1).await;
        let begun = |ground: &Ground| ground.step().is_some();
        ground.until(3, "its removal has begun", begun).await;
        ground.harness.minutes(2).await;
        assert!(ground.serves(&ground.spare), "{}", ground.harness.picture());
        assert_eq!(ground.evicted(), [""; 0], "{}", ground.harness.picture());
        kube.faults().release_watches("pods");
        let back = |ground: &Ground| ground.step().is_none() && ground.serves(&ground.spare);
        ground.until(1, "it is taken back", back).await;
        assert_eq!(ground.evicted(), [""; 0], "{}", ground.harness.picture());
        let why = ground.aborted().unwrap();
        assert!(why.contains("default/late"), "{why}");
        ground.replica.stop().await;
    });
}

#[test]
fn an_idle_worker_that_a_person_added_is_nobodys_to_take() {
    virtually(|| async {
        let ground = Ground::new(5008).await;
        let cloud = &ground.harness.world.cloud;
        let cluster = &ground.harness.world.cluster;
        let pool = cloud.pools(cluster)[0].id;
        cloud.human_add_worker(cluster, pool).unwrap();
        let joined = |view: &sim::View| view.nodes.values().filter(|row| row.ready).count() >= 4;
        ground.harness.wait(20, "it joins", joined).await;
        ground.release(1).await;
        ground.goes(20).await;
        ground.harness.minutes(40).await;
        assert_eq!(ground.harness.paid(), 2, "{}", ground.harness.picture());
        ground.replica.stop().await;
    });
}
