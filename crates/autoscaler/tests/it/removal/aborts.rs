//! What takes a drain back, at any moment before the point of no return: the node takes pods again,
//! and what is still on it serves on.

use std::time::Duration;

use serde_json::{Value, json};

use super::ground::{Act, Ground, OURS, Plan, budget, config, deployment, running, with_spec};
use crate::harness::{settled, virtually};

/// The drain of `spare` has begun and cannot end by itself: the two pods of `first` take ten minutes
/// to end, the two of `second` come after them.
async fn draining(seed: u64, flags: &[&str]) -> Ground {
    let ground = Ground::with(
        Plan {
            flags,
            ..Plan::of(seed)
        }
        .slow(600),
    )
    .await;
    let slow = json!({"terminationGracePeriodSeconds": 600});
    let later = json!({"priorityClassName": "later"});
    let class = json!({"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass",
        "metadata": {"name": "later"}, "value": 100});
    let mut second = with_spec(deployment("default", "second", 2, "100m"), &later);
    second["spec"]["template"]["spec"]["priority"] = json!(100);
    ground.act(&[Act::Apply(class)]).await;
    ground
        .on_spare(&[
            Act::Apply(with_spec(deployment("default", "first", 2, "100m"), &slow)),
            Act::Apply(second),
        ])
        .await;
    ground.release(1).await;
    ground
        .until(15, "the drain has begun", |ground| {
            ground.evicted().len() == 2
        })
        .await;
    assert_eq!(ground.step().as_deref(), Some("Draining"));
    ground
}

/// Within so many seconds the removal is taken back and told of, for a reason that names this; and
/// for twenty minutes what was not asked to leave is undisturbed.
async fn is_taken_back(ground: &Ground, seconds: u64, why: &str) {
    let end = ground.harness.clock.monotonic() + Duration::from_secs(seconds);
    ground
        .until(30, "uncordoned", |ground| {
            ground.step().is_none() && !is_cordoned(ground)
        })
        .await;
    let late = ground.harness.clock.monotonic() > end;
    assert!(
        !late,
        "later than {seconds} s\n{}",
        ground.harness.picture()
    );
    let told = ground.aborted().unwrap_or_default();
    assert!(told.contains(why), "{told:?}\n{}", ground.harness.picture());
}

fn is_cordoned(ground: &Ground) -> bool {
    let view = ground.harness.world.view();
    view.nodes
        .get(&ground.spare)
        .is_none_or(|row| row.unschedulable)
}

/// Nothing more happens to the node and the pods of `second`.
async fn serves_on(ground: &Ground, minutes: u64) {
    let done = ground.destructive();
    ground.harness.minutes(minutes).await;
    let picture = || ground.harness.picture();
    assert_eq!(ground.destructive(), done, "{}", picture());
    assert_eq!(
        ground.pods_on(&ground.spare, "default/second"),
        2,
        "{}",
        picture()
    );
    assert!(ground.serves(&ground.spare), "{}", picture());
    assert_eq!(ground.harness.paid(), 2, "{}", picture());
}

#[test]
fn a_budget_that_comes_in_the_middle_of_a_drain_is_kept_and_ends_it_at_its_deadline() {
    virtually(|| async {
        let ground = draining(3001, &["--drain-timeout=14m"]).await;
        let none = budget("default", "second", "second", &json!({"maxUnavailable": 0}));
        ground.act(&[Act::Apply(none)]).await;
        is_taken_back(&ground, 14 * 60 + 5, "default/second").await;
        assert_eq!(ground.evicted().len(), 2, "{:?}", ground.evicted());
        serves_on(&ground, 20).await;
        ground.replica.stop().await;
    });
}

#[test]
fn a_second_budget_over_a_pod_in_the_middle_of_a_drain_takes_it_back() {
    virtually(|| async {
        let ground = draining(3002, &[]).await;
        let one = |name| budget("default", name, "second", &json!({"maxUnavailable": 1}));
        ground
            .act(&[Act::Apply(one("one")), Act::Apply(one("two"))])
            .await;
        is_taken_back(&ground, 15, "SeveralBudgets").await;
        serves_on(&ground, 20).await;
        ground.replica.stop().await;
    });
}

#[test]
fn protection_of_the_node_in_the_middle_of_a_drain_takes_it_back() {
    virtually(|| async {
        let ground = draining(3003, &[]).await;
        let protected = json!({"annotations": {"autoscaler.vpsie.com/protected": "true"}});
        ground.act(&[Act::Mark("@spare", protected)]).await;
        is_taken_back(&ground, 15, "Protected").await;
        serves_on(&ground, 20).await;
        ground.replica.stop().await;
    });
}

#[test]
fn protection_of_a_pod_in_the_middle_of_a_drain_takes_it_back() {
    virtually(|| async {
        let ground = draining(3004, &[]).await;
        let kept = json!({"karpenter.sh/do-not-disrupt": "true"});
        ground.act(&[Act::Annotate("default/second", kept)]).await;
        is_taken_back(&ground, 15, "PodProtected").await;
        serves_on(&ground, 20).await;
        ground.replica.stop().await;
    });
}

#[test]
fn a_person_who_uncordons_the_node_in_the_middle_of_a_drain_takes_it_back() {
    virtually(|| async {
        let ground = draining(3005, &[]).await;
        ground.act(&[Act::Cordon("@spare", false)]).await;
        is_taken_back(&ground, 15, "uncordoned").await;
        ground.replica.stop().await;
    });
}

#[test]
fn a_bare_pod_that_lands_in_the_middle_of_a_drain_takes_it_back() {
    virtually(|| async {
        let ground = draining(3006, &[]).await;
        let mut late = running("late", &json!({}), &json!({}));
        late.as_object_mut().unwrap().remove("status");
        ground.act(&[Act::Apply(late)]).await;
        is_taken_back(&ground, 15, "BarePod").await;
        serves_on(&ground, 20).await;
        assert_eq!(ground.pods_on(&ground.spare, "default/late"), 1);
        ground.replica.stop().await;
    });
}

#[test]
fn a_scale_up_that_begins_in_the_middle_of_a_drain_takes_it_back() {
    virtually(|| async {
        let ground = draining(3007, &["--joining-timeout=3h"]).await;
        // It fits no node there is, this one emptied neither.
        let large = deployment("default", "large", 1, "1880m");
        ground
            .act(&[
                Act::NeverJoin,
                Act::Apply(with_spec(
                    large,
                    &json!({"nodeSelector": {"pool": "general"}}),
                )),
            ])
            .await;
        is_taken_back(&ground, 60, "").await;
        let told = ground.aborted().unwrap_or_default();
        let named = told.contains("ScaleUpInProgress") || told.contains("NominatedPod");
        assert!(named, "{told}");
        ground.replica.stop().await;
    });
}

#[test]
fn a_drain_that_takes_too_long_is_taken_back_and_the_pods_that_are_left_serve_on() {
    virtually(|| async {
        let ground = draining(3008, &["--drain-timeout=5m"]).await;
        is_taken_back(&ground, 5 * 60 + 5, "not drained within").await;
        // It is not begun again at once: the group has just been tried.
        assert_eq!(ground.pods_on(&ground.spare, "default/second"), 2);
        assert!(ground.serves(&ground.spare), "{}", ground.harness.picture());
        assert_eq!(ground.evicted().len(), 2, "{:?}", ground.evicted());
        ground.replica.stop().await;
    });
}

#[test]
fn a_node_that_is_not_ready_any_more_in_the_middle_of_a_drain_is_not_emptied_for_money() {
    virtually(|| async {
        let ground = draining(3009, &[]).await;
        ground.act(&[Act::Silence("@spare")]).await;
        ground
            .until(5, "the removal is taken back", |ground| {
                ground.step().is_none()
            })
            .await;
        let told = ground.aborted().unwrap_or_default();
        assert!(told.contains("not Ready"), "{told}");
        let done = ground.destructive();
        // It may come back until it counts as ill.
        ground.harness.minutes(12).await;
        assert_eq!(ground.destructive(), done, "{}", ground.harness.picture());
        assert_eq!(ground.harness.paid(), 2);
        ground.replica.stop().await;
    });
}

#[test]
fn a_group_that_is_deleted_in_the_middle_of_a_drain_turns_it_into_an_ordered_one() {
    virtually(|| async {
        let ground = draining(3010, &[]).await;
        ground
            .act(&[Act::Delete(OURS, "NodeGroup", "kube-system", "general")])
            .await;
        ground
            .harness
            .wait(90, "group and nodes are gone", |view| {
                view.groups.is_empty() && view.vpsie_nodes.is_empty()
            })
            .await;
        assert_eq!(ground.harness.paid(), 0, "{}", ground.harness.picture());
        assert_eq!(ground.aborted(), None, "it was not taken back");
        ground.replica.stop().await;
    });
}

/// Pauses as soon as the removal of `spare` is in this step; nothing is destroyed later than ten
/// seconds after that while the pause lasts, and once it is over the node goes.
fn pauses(seed: u64, step: &'static str, pause: fn(bool) -> Act) {
    virtually(move || async move {
        let ground = Ground::with(Plan::of(seed).slow(20)).await;
        ground
            .on_spare(&[Act::Apply(deployment("default", "web", 2, "100m"))])
            .await;
        ground.release(1).await;
        ground
            .until(15, step, |ground| ground.step().as_deref() == Some(step))
            .await;
        ground.act(&[pause(true)]).await;
        ground.harness.clock.sleep(Duration::from_secs(10)).await;
        let done = ground.destructive();
        ground.harness.minutes(20).await;
        let picture = || format!("{step}\n{}", ground.harness.picture());
        assert_eq!(ground.destructive(), done, "{}", picture());
        let returns = ["Cordoning", "Settling", "Draining"].contains(&step);
        if returns {
            assert!(ground.serves(&ground.spare), "{}", picture());
            assert_eq!(ground.step(), None, "{}", picture());
        }
        ground.act(&[pause(false)]).await;
        ground.goes(20).await;
        ground.harness.wait(10, "one node", settled(1)).await;
        assert_eq!(ground.harness.paid(), 1, "{}", picture());
        ground.replica.stop().await;
    });
}

fn of_group(paused: bool) -> Act {
    // The minimum stays what it is.
    Act::Group(json!({"minNodes": 1}), pause(paused))
}

fn of_cluster(paused: bool) -> Act {
    Act::Apply(config(&pause(paused)))
}

fn pause(paused: bool) -> Value {
    if paused {
        json!({"autoscaler.vpsie.com/paused": "true"})
    } else {
        json!({})
    }
}

#[test]
fn a_pause_of_the_group_is_honoured_within_ten_seconds_in_every_step() {
    for (seed, step) in (3101..).zip(["Settling", "Draining", "DeletingNode", "DeletingMachine"]) {
        pauses(seed, step, of_group);
    }
}

#[test]
fn a_pause_of_the_cluster_is_honoured_within_ten_seconds_in_every_step() {
    for (seed, step) in (3201..).zip(["Settling", "Draining", "DeletingNode", "DeletingMachine"]) {
        pauses(seed, step, of_cluster);
    }
}
