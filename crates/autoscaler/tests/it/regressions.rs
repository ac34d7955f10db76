//! The predecessor's defects as scenarios, by their numbers in its catalogue of regressions.
//!
//! | Case | What must hold | Tests |
//! |---|---|---|
//! | 1 | a blocked candidate is left as it was | `removals::a_candidate_that_a_check_refuses_is_left_exactly_as_it_was`, and each refusal in `crate::removal::refusals` |
//! | 2 | a budget without allowance leaves no cordon, deletes nothing, is tried again | `removals::a_budget_that_allows_none_leaves_no_cordon_and_the_node_goes_once_it_does` |
//! | 3 | killed at every step | `killed_again_and_again_all_through_a_story_it_ends_with_exactly_the_right_machines`, `crate::crash` |
//! | 4 | the controller's own node | `removals::the_node_of_the_leader_stays_until_it_leads_from_elsewhere` |
//! | 5 | machines that are gone, unnamed, denied | `identity` |
//! | 6 | a node that appears after its group was deleted | `a_machine_that_appears_after_its_group_was_deleted_is_removed` |
//! | 7 | nodes joining at once, foreign and control-plane nodes | `identity` |
//! | 8 | a failed VPSieNode, a cap of the cloud | `a_failed_vpsie_node_stands_in_the_way_of_no_scale_up`, `a_cap_of_the_cloud_is_backed_off_from_and_named_by_group_and_pods`, `an_offering_that_is_sold_out_is_backed_off_from_and_named_by_group_and_pods` |
//! | 9 | one pod, five groups | `one_pending_pod_with_five_matching_groups_buys_one_node_with_two_replicas_too`, `one_pending_pod_with_five_matching_groups_buys_one_node_when_the_answer_is_lost_too` |
//! | 10 | 500 pods in one decision | `five_hundred_pending_pods_are_one_decision_bounded_by_the_maximum`, `two_hundred_pods_and_ambiguous_creates_never_exceed_a_maximum`, `two_hundred_pods_and_ambiguous_creates_end_within_one_machine_of_the_volume_bound` |
//! | 11 | `false` and `0` survive | `a_users_false_and_zero_survive_a_hundred_reconciles` |
//! | 12 | edits of the AutoscalerConfig | `an_autoscaler_config_that_is_made_and_edited_changes_nothing_that_users_set_in_node_groups` |
//! | 13 | the VPSie API is away for an hour | `removals::an_hour_without_the_cloud_removes_nothing_and_is_recovered_from` (no webhook is served that could stop answering) |
//! | 14 | the drain of a StatefulSet ends | `removals::a_stateful_sets_drain_ends_once_its_pod_runs_elsewhere_under_its_name` |
//! | 15 | no removal before a full window after a restart | `removals::a_restart_in_the_middle_of_a_window_removes_nothing_before_the_window_is_full` |
//! | 16 | labels and taints at Ready | `labels_and_taints_of_the_group_are_on_the_node_before_it_counts_as_ready_and_are_repaired` |
//! | 17 | equal names in two namespaces | `equal_names_in_two_namespaces_are_two_groups` |
//! | 18 | other Nodes can be deleted while the product is down | `removals::nodes_of_others_can_be_deleted_while_the_product_is_down_and_beside_it` |

mod identity;
mod removals;

use std::time::Duration;

use serde_json::{Value, json};
use sim::View;
use vpsie_sim::{Fault, Machine, Role, Route, Rule};

use crate::harness::{Harness, all_running, settled, virtually};

const OURS: &str = "autoscaler.vpsie.com/v1alpha1";

/// Lives of the product until it is killed, in seconds. Before its lease has run out the next one
/// can do nothing; in the longest there is time for all that removes a machine.
const LIVES: [u64; 4] = [25, 40, 20, 95];

/// Waits until `holds`, while the product is killed again and again and started anew; how often
/// it was killed.
async fn killed_again_and_again(
    harness: &Harness,
    minutes: u64,
    what: &str,
    holds: impl Fn(&View) -> bool,
) -> u32 {
    let deadline = harness.clock.monotonic() + Duration::from_secs(minutes * 60);
    let mut kills = 0;
    for life in LIVES.into_iter().cycle() {
        let replica = harness.start();
        let life = Duration::from_secs(life);
        let held = harness.world.wait_until(life, &holds).await;
        replica.crash();
        if held {
            break;
        }
        kills += 1;
        assert!(
            harness.clock.monotonic() < deadline,
            "{what}: not within {minutes} minutes and {kills} kills\n{}",
            harness.picture()
        );
    }
    kills
}

/// Case 3. In the tests of `crash` the product dies once, at each of its writes; here it dies all
/// through the story.
#[test]
fn killed_again_and_again_all_through_a_story_it_ends_with_exactly_the_right_machines() {
    virtually(|| async {
        let harness = Harness::new(3).await;
        harness.group("general", 2, 10, json!({})).await;
        harness.deployment("web", 20, "400m", None).await;
        let kills = killed_again_and_again(&harness, 60, "all pods run", all_running(20)).await;
        assert!(kills >= 4, "{kills} kills");
        assert_eq!(
            (harness.bought(), harness.paid()),
            (5, 5),
            "{}",
            harness.picture()
        );
        harness.world.scale("default", "web", 0).await.unwrap();
        let kills = killed_again_and_again(&harness, 120, "to the minimum", settled(2)).await;
        assert!(kills >= 4, "{kills} kills");
        let replica = harness.start();
        harness.minutes(20).await;
        assert!(harness.world.look(settled(2)), "{}", harness.picture());
        // Had a second victim been taken, the minimum would have been bought again.
        assert_eq!(
            (harness.bought(), harness.paid()),
            (5, 2),
            "{}",
            harness.picture()
        );
        replica.stop().await;
    });
}

/// Case 8.
#[test]
fn a_failed_vpsie_node_stands_in_the_way_of_no_scale_up() {
    virtually(|| async {
        let flags = ["--joining-timeout=5m"];
        let harness = Harness::with(8, sim::WorldConfig::default(), &flags).await;
        let other = json!({ "offeringIDs": [harness.size(1)] });
        harness.group("unlucky", 0, 1, json!({})).await;
        harness.group("other", 0, 1, other).await;
        let rule = Rule::on(Route::AddWorker, Fault::NeverJoins);
        harness.world.cloud.faults().add(rule);
        let replica = harness.start();
        harness.deployment("web", 1, "800m", Some("unlucky")).await;
        harness.wait(20, "it failed", a_failed_one).await;
        harness.deployment("api", 1, "800m", Some("other")).await;
        harness
            .wait(8, "the other group grows", all_on("default/api", 1))
            .await;
        assert!(harness.world.look(a_failed_one), "{}", harness.picture());
        // Its evidence is kept for half an hour; the group's only place is not.
        harness.wait(15, "its own group too", all_running(2)).await;
        assert!(harness.world.look(a_failed_one), "{}", harness.picture());
        assert_eq!(
            (harness.bought(), harness.paid()),
            (3, 2),
            "{}",
            harness.picture()
        );
        replica.stop().await;
    });
}

fn a_failed_one(view: &View) -> bool {
    view.vpsie_nodes.values().any(|node| node.phase == "Failed")
}

/// So many pods whose names begin like this run.
fn all_on(prefix: &'static str, pods: usize) -> impl Fn(&View) -> bool {
    move |view| {
        let running = view
            .pods
            .iter()
            .filter(|(name, pod)| name.starts_with(prefix) && pod.phase == "Running");
        running.count() == pods
    }
}

/// The cloud sells no more from some moment on, and again in the end: the requests are few, and
/// the group and the pods say why.
fn backs_off(
    seed: u64,
    reason: &'static str,
    condition: &'static str,
    sell: fn(&Harness, bool) -> (),
) {
    virtually(move || async move {
        let harness = Harness::new(seed).await;
        harness.group("general", 0, 6, json!({})).await;
        let replica = harness.start();
        harness.deployment("web", 2, "800m", None).await;
        harness.wait(20, "two pods run", all_running(2)).await;
        sell(&harness, false);
        let creates = || {
            let journal = harness.world.cloud.journal();
            journal
                .iter()
                .filter(|request| request.route == Route::AddWorker)
                .count()
        };
        let (before, asked) = (harness.world.cloud.journal().len(), creates());
        harness.world.scale("default", "web", 6).await.unwrap();
        harness.minutes(1).await;
        let (now, records) = (creates() - asked, harness.world.view().vpsie_nodes.len());
        assert!(now <= 6 && records <= 6, "{now} creates, {records} records");
        harness
            .wait(5, "the group says so", |view| {
                let error = view.groups["kube-system/general"].conditions.get("Error");
                error == Some(&("True".to_owned(), condition.to_owned()))
            })
            .await;
        harness
            .wait(5, "the pods say so", |view| {
                view.decisions.iter().any(|decision| {
                    decision.object.starts_with("Pod default/web")
                        && decision.reason == "NotTriggerScaleUp"
                        && decision.message.contains(reason)
                })
            })
            .await;
        harness
            .wait(1, "the group says whom it could not take", |view| {
                let unplaced = view.groups["kube-system/general"]
                    .conditions
                    .get("PodsUnplaced");
                unplaced == Some(&("True".to_owned(), "BackingOff".to_owned()))
            })
            .await;
        let group = harness
            .world
            .kube
            .get(OURS, "NodeGroup", "kube-system", "general")
            .unwrap();
        assert_eq!(group["status"]["backoffs"][0]["reason"], reason);
        harness.minutes(60).await;
        let (all, asked) = (
            harness.world.cloud.journal().len() - before,
            creates() - asked,
        );
        assert!((1..=15).contains(&asked), "{asked} creates in an hour");
        assert!(all < 900, "{all} requests in an hour");
        let records = harness.world.view().vpsie_nodes.len();
        assert!(records <= 8, "{records} records\n{}", harness.picture());
        assert_eq!((harness.bought(), harness.paid()), (1, 1));
        sell(&harness, true);
        harness.wait(60, "all pods run", all_running(6)).await;
        assert_eq!(harness.paid(), 3, "{}", harness.picture());
        replica.stop().await;
    });
}

/// Case 8.
#[test]
fn a_cap_of_the_cloud_is_backed_off_from_and_named_by_group_and_pods() {
    let reason = "CapacityLimitReached";
    backs_off(
        81,
        reason,
        "ClusterCapacityLimitReached",
        |harness, sold| {
            let cap = (!sold).then_some(1);
            let cloud = &harness.world.cloud;
            cloud.set_worker_cap(&harness.world.cluster, cap);
        },
    );
}

/// Case 8.
#[test]
fn an_offering_that_is_sold_out_is_backed_off_from_and_named_by_group_and_pods() {
    backs_off(
        82,
        "OutOfStock",
        "NodeProvisioningFailed",
        |harness, sold| {
            let cloud = &harness.world.cloud;
            let size = cloud.config().datacenters[0].sizes[0].id;
            cloud.set_sold_out(size, !sold);
        },
    );
}

/// Case 9.
#[test]
fn one_pending_pod_with_five_matching_groups_buys_one_node_when_the_answer_is_lost_too() {
    virtually(|| async {
        let harness = Harness::new(91).await;
        for name in ["a", "b", "c", "d", "e"] {
            harness.group(name, 0, 3, json!({})).await;
        }
        let rule = Rule::on(Route::AddWorker, Fault::LostResponseAfterCommit);
        let rule = harness.world.cloud.faults().add(rule);
        let replica = harness.start();
        harness.deployment("web", 1, "500m", None).await;
        harness.wait(20, "the pod runs", all_running(1)).await;
        assert_eq!(harness.world.cloud.faults().struck(rule), 1);
        harness.minutes(30).await;
        assert_eq!(
            (harness.bought(), harness.paid()),
            (1, 1),
            "{}",
            harness.picture()
        );
        replica.stop().await;
    });
}

/// The most machines of this kind that were paid for at one moment.
fn most_at_once(harness: &Harness, of: impl Fn(&Machine) -> bool) -> usize {
    let mut machines = harness.world.cloud.machines();
    machines.retain(|machine| machine.role == Role::Worker && of(machine));
    let paid_at = |at| {
        let paid = machines.iter().filter(|machine| {
            machine.created_at <= at && machine.deleted_at.is_none_or(|deleted| deleted > at)
        });
        paid.count()
    };
    let moments = machines.iter().map(|machine| paid_at(machine.created_at));
    moments.max().unwrap_or(0)
}

/// Two hundred pods over two groups of these sizes and maxima, with half of the first creates
/// ambiguous; ends with at most `most` machines, and a group never has more than its maximum.
fn two_hundred_pods(seed: u64, groups: [(usize, u32); 2], most: usize) {
    virtually(move || async move {
        let harness = Harness::new(seed).await;
        let names = ["a", "b"];
        for (name, (size, max)) in names.into_iter().zip(groups) {
            let offering = json!({ "offeringIDs": [harness.size(size)] });
            harness.group(name, 0, max, offering).await;
        }
        let faults = harness.world.cloud.faults();
        let lost = [1, 3, 4, 7].map(|nth| {
            faults.add(Rule::on(Route::AddWorker, Fault::LostResponseAfterCommit).nth(nth))
        });
        faults.add(Rule::on(Route::AddWorker, Fault::ResetBeforeCommit).nth(6));
        let replica = harness.start();
        harness.deployment("web", 200, "100m", None).await;
        harness.wait(60, "all pods run", all_running(200)).await;
        harness.minutes(10).await;
        assert!(lost.iter().all(|rule| faults.struck(*rule) == 1));
        assert!(harness.bought() <= most, "{}", harness.picture());
        assert_eq!(
            harness.bought(),
            harness.paid(),
            "none in vain\n{}",
            harness.picture()
        );
        let view = harness.world.view();
        for (name, (_, max)) in names.into_iter().zip(groups) {
            let of_group = |machine: &Machine| {
                view.vpsie_nodes.values().any(|node| {
                    node.group == format!("kube-system/{name}")
                        && node.machine.as_ref() == Some(&machine.uuid)
                })
            };
            let at_once = most_at_once(&harness, of_group);
            assert!(at_once <= max as usize, "{at_once} of {name}");
        }
        if groups[0].0 != groups[1].0 {
            // Machines that belong to no record have their size all the same.
            let sizes = harness.world.cloud.config().datacenters[0].sizes.clone();
            for (size, max) in groups {
                let at_once = most_at_once(&harness, |machine| machine.size == sizes[size].id);
                assert!(at_once <= max as usize, "{at_once} of {}", sizes[size].name);
            }
        }
        replica.stop().await;
    });
}

/// Case 10. A small machine has 1890m for pods: by volume, 20 CPUs take eleven of them.
#[test]
fn two_hundred_pods_and_ambiguous_creates_end_within_one_machine_of_the_volume_bound() {
    two_hundred_pods(101, [(0, 12), (0, 12)], 11 + 1);
}

/// Case 10. Five small ones with 18 pods each and three medium ones with 38 are just enough.
#[test]
fn two_hundred_pods_and_ambiguous_creates_never_exceed_a_maximum() {
    two_hundred_pods(102, [(0, 5), (1, 3)], 5 + 3);
}

/// Case 12.
#[test]
fn an_autoscaler_config_that_is_made_and_edited_changes_nothing_that_users_set_in_node_groups() {
    virtually(|| async {
        let harness = Harness::new(12).await;
        let change = json!({
            "allowMixedInstances": false, "labels": { "pool": "general", "tier": "web" },
            "annotations": { "team": "blue" }, "tags": ["one"], "notes": "mine",
            "scaleUpPolicy": { "enabled": true, "stabilizationWindowSeconds": 0 },
            "scaleDownPolicy": { "enabled": false, "cooldownSeconds": 0 },
        });
        harness.group("general", 0, 3, change).await;
        harness.group("bare", 0, 2, json!({ "labels": {} })).await;
        let read = |name: &str| {
            let kube = &harness.world.kube;
            kube.get(OURS, "NodeGroup", "kube-system", name).unwrap()
        };
        let names = ["general", "bare"];
        let before = names.map(read);
        let config = |defaults: Value, settings: Value| {
            json!({
                "apiVersion": OURS, "kind": "AutoscalerConfig",
                "metadata": { "name": "default" },
                "spec": { "nodeGroupDefaults": defaults, "globalSettings": settings },
            })
        };
        let replica = harness.start();
        harness.deployment("web", 2, "800m", None).await;
        harness.wait(15, "all pods run", all_running(2)).await;
        let made = config(
            json!({
                "minNodes": 2, "maxNodes": 9, "offeringIDs": [harness.size(2)],
                "labels": { "tier": "default" }, "tags": ["all"], "notes": "theirs",
                "scaleDownPolicy": { "enabled": true, "cooldownSeconds": 600 },
            }),
            json!({ "maxClusterWorkers": 1, "scaleDownCooldownSeconds": 900 }),
        );
        harness.world.apply(&made).await.unwrap();
        harness.minutes(10).await;
        let edited = config(
            json!({ "minNodes": 1, "maxNodes": 2, "taints": [{ "key": "x", "effect": "NoSchedule" }] }),
            json!({ "enableDynamicNodeGroupCreation": true, "enableRebalancing": true }),
        );
        harness.world.apply(&edited).await.unwrap();
        harness.world.scale("default", "web", 4).await.unwrap();
        harness.wait(15, "all pods run", all_running(4)).await;
        harness.minutes(30).await;
        for (name, before) in names.into_iter().zip(before) {
            let now = read(name);
            assert_eq!(now["spec"], before["spec"]);
            let generation = |group: &Value| group["metadata"]["generation"].clone();
            assert_eq!(
                generation(&now),
                generation(&before),
                "no write to the spec"
            );
            let fields = now["metadata"]["managedFields"].as_array().unwrap();
            let wrote_spec: Vec<&Value> = fields
                .iter()
                .filter(|entry| !entry["fieldsV1"]["f:spec"].is_null())
                .map(|entry| &entry["manager"])
                .collect();
            assert_eq!(wrote_spec, ["world"]);
            // The finalizer, once.
            let journal = harness.world.kube.journal().records();
            let writes = journal.iter().filter(|record| {
                record.is_write()
                    && record.actor == "vpsie-autoscaler"
                    && record.resource == "nodegroups"
                    && record.subresource.is_empty()
                    && record.name == name
            });
            assert_eq!(writes.count(), 1);
        }
        assert_eq!(harness.world.view().groups.len(), 2, "none was made");
        replica.stop().await;
    });
}

/// Case 9.
#[test]
fn one_pending_pod_with_five_matching_groups_buys_one_node_with_two_replicas_too() {
    virtually(|| async {
        let harness = Harness::new(9).await;
        for name in ["a", "b", "c", "d", "e"] {
            harness.group(name, 0, 3, json!({})).await;
        }
        let (one, two) = (harness.start(), harness.start());
        harness.deployment("web", 1, "500m", None).await;
        harness.wait(15, "the pod runs", all_running(1)).await;
        harness.minutes(10).await;
        assert_eq!(harness.bought(), 1);
        one.stop().await;
        two.stop().await;
    });
}

/// Case 10.
#[test]
fn five_hundred_pending_pods_are_one_decision_bounded_by_the_maximum() {
    virtually(|| async {
        let harness = Harness::new(10).await;
        harness.group("general", 0, 12, json!({})).await;
        let replica = harness.start();
        harness.deployment("web", 500, "500m", None).await;
        harness
            .wait(30, "all nodes there are", |view| {
                view.vpsie_nodes.len() == 12
                    && view.vpsie_nodes.values().all(|n| n.phase == "Ready")
            })
            .await;
        harness.minutes(10).await;
        assert_eq!(
            (harness.bought(), harness.paid()),
            (12, 12),
            "{}",
            harness.picture()
        );
        replica.stop().await;
    });
}

/// Case 11.
#[test]
fn a_users_false_and_zero_survive_a_hundred_reconciles() {
    virtually(|| async {
        let harness = Harness::new(11).await;
        let policy = json!({
            "scaleDownPolicy": { "enabled": false, "cooldownSeconds": 0 },
            "allowMixedInstances": false,
        });
        harness.group("general", 1, 3, policy).await;
        let replica = harness.start();
        harness.wait(15, "one node", settled(1)).await;
        let read = || {
            let api = "autoscaler.vpsie.com/v1alpha1";
            let group = harness
                .world
                .kube
                .get(api, "NodeGroup", "kube-system", "general");
            group.unwrap()
        };
        let before = read()["spec"].clone();
        assert_eq!(before["allowMixedInstances"], false);
        assert_eq!(before["scaleDownPolicy"]["enabled"], false);
        assert_eq!(before["scaleDownPolicy"]["cooldownSeconds"], 0);
        let reconciles = || {
            let text = replica.metrics();
            let line = text.lines().find(|line| {
                line.contains("reconcile") && line.contains("_count") && line.contains("nodegroup")
            });
            let count = line.and_then(|line| line.rsplit(' ').next()?.parse::<f64>().ok());
            count.unwrap_or_else(|| panic!("{text}"))
        };
        let begun = reconciles();
        harness.deployment("web", 1, "100m", None).await;
        for round in 0..120 {
            harness
                .world
                .scale("default", "web", 1 + round % 2)
                .await
                .unwrap();
            harness.clock.sleep(Duration::from_secs(10)).await;
        }
        assert!(reconciles() - begun >= 100.0, "{}", reconciles() - begun);
        assert_eq!(read()["spec"], before);
        replica.stop().await;
    });
}

/// Case 16.
#[test]
fn labels_and_taints_of_the_group_are_on_the_node_before_it_counts_as_ready_and_are_repaired() {
    virtually(|| async {
        let harness = Harness::new(16).await;
        let wanted = json!({
            "labels": { "tier": "web" },
            "taints": [{ "key": "dedicated", "value": "web", "effect": "NoSchedule" }],
        });
        harness.group("general", 1, 3, wanted).await;
        let replica = harness.start();
        let marked = |node: &str| {
            let Some(node) = harness.world.kube.get("v1", "Node", "", node) else {
                return false;
            };
            let taints = node["spec"]["taints"]
                .as_array()
                .cloned()
                .unwrap_or_default();
            node["metadata"]["labels"]["tier"] == "web"
                && taints.iter().any(|taint| taint["key"] == "dedicated")
        };
        let node = loop {
            harness.clock.sleep(Duration::from_millis(50)).await;
            let view = harness.world.view();
            let Some(row) = view.vpsie_nodes.values().next() else {
                continue;
            };
            let node = row.node.clone().unwrap_or_default();
            if row.phase == "Ready" {
                assert!(marked(&node), "Ready and bare");
                break node;
            }
        };
        let tampered = json!({
            "apiVersion": "v1", "kind": "Node",
            "metadata": { "name": node, "labels": { "tier": "tampered" } },
        });
        harness.world.apply(&tampered).await.unwrap();
        assert!(!marked(&node), "tampered with");
        harness.clock.sleep(Duration::from_secs(30)).await;
        assert!(marked(&node), "repaired");
        replica.stop().await;
    });
}

/// Case 17.
#[test]
fn equal_names_in_two_namespaces_are_two_groups() {
    virtually(|| async {
        let harness = Harness::with(
            17,
            sim::WorldConfig::default(),
            &["--namespaces=kube-system,team"],
        )
        .await;
        harness.world.create_namespace("team").await.unwrap();
        harness.group("general", 1, 3, json!({})).await;
        harness
            .world
            .apply(&json!({
                "apiVersion": "autoscaler.vpsie.com/v1alpha1", "kind": "NodeGroup",
                "metadata": {
                    "name": "general", "namespace": "team",
                    "labels": { "autoscaler.vpsie.com/managed": "true" },
                },
                "spec": {
                    "minNodes": 2, "maxNodes": 3, "datacenterID": harness.datacenter(),
                    "offeringIDs": [harness.size(0)],
                },
            }))
            .await
            .unwrap();
        let replica = harness.start();
        harness.wait(15, "one and two nodes", settled(3)).await;
        let of = |namespace: &str| {
            harness
                .world
                .view()
                .vpsie_nodes
                .values()
                .filter(|node| node.group == format!("{namespace}/general"))
                .count()
        };
        assert_eq!((of("kube-system"), of("team")), (1, 2));
        replica.stop().await;
    });
}

/// Case 6.
#[test]
fn a_machine_that_appears_after_its_group_was_deleted_is_removed() {
    virtually(|| async {
        let harness = Harness::new(6).await;
        harness.group("general", 1, 3, json!({})).await;
        let replica = harness.start();
        harness
            .wait(5, "asked for", |view| {
                view.vpsie_nodes
                    .values()
                    .any(|node| node.phase == "Provisioning")
            })
            .await;
        harness
            .world
            .delete(
                "autoscaler.vpsie.com/v1alpha1",
                "NodeGroup",
                "kube-system",
                "general",
            )
            .await
            .unwrap();
        harness
            .wait(60, "group and node are gone", |view| {
                view.groups.is_empty() && view.vpsie_nodes.is_empty()
            })
            .await;
        assert_eq!(harness.paid(), 0, "{}", harness.picture());
        replica.stop().await;
    });
}
