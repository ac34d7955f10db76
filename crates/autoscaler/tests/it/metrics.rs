//! Every metric that is exported is set by something that happens, and no other is exported.

use std::{collections::BTreeMap, sync::Arc};

use controller::{
    cloud_state::{CloudState, Pace},
    effects::{Effects, NodeChange},
    leader::{Leader, Leadership, Options, election::Times},
    metrics::{FAMILIES, Metrics},
};
use kube_sim::{Effect, Match};
use model::{NodeName, Uid};
use runtime::Tasks;
use serde_json::json;
use vpsie::Vpsie;
use vpsie_sim::{Fault, Route, Rule};

use crate::harness::{Harness, all_running, settled, virtually};

/// What an eventful story sets.
const IN_A_STORY: [&str; 33] = [
    "nodegroup_nodes",
    "nodegroup_desired_nodes",
    "nodegroup_current_nodes",
    "nodegroup_ready_nodes",
    "nodegroup_min_nodes",
    "nodegroup_max_nodes",
    "vpsienode_phase",
    "vpsienode_phase_transitions",
    "scale_up",
    "scale_up_nodes",
    "scale_up_failures",
    "scale_down",
    "scale_down_failures",
    "scale_down_blocked",
    "scale_down_blocked_nodes",
    "unschedulable_pods",
    "vpsie_api_requests",
    "vpsie_api_latency_seconds",
    "vpsie_api_request_duration_seconds",
    "vpsie_api_errors",
    "vpsie_api_rate_limited",
    "vpsie_api_rate_limit_wait_duration_seconds",
    "vpsie_api_circuit_breaker_state",
    "vpsie_api_circuit_breaker_state_changes",
    "vpsie_api_circuit_breaker_opened",
    "controller_reconcile_duration_seconds",
    "controller_reconcile",
    "controller_reconcile_errors",
    "events_emitted",
    "unowned_machines",
    "leader",
    // Set by the beat of the process.
    "index_rows",
    "informer_age_seconds",
];

/// What is set only when something is wrong with the process itself: each has a test of its own.
const ELSEWHERE: [&str; 5] = [
    "events_dropped",
    "effects_refused",
    "removals_stopped",
    "plans_refused",
    "dry_run_withheld",
];

/// The largest value of each family that has one, histograms by their counts.
fn values(text: &str) -> BTreeMap<String, f64> {
    let mut values: BTreeMap<String, f64> = BTreeMap::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let (series, value) = line.rsplit_once(' ').unwrap();
        let name = series.split('{').next().unwrap();
        let name = name.strip_prefix("vpsie_autoscaler_").unwrap();
        let name = ["_total", "_count", "_sum", "_bucket"]
            .iter()
            .find_map(|suffix| name.strip_suffix(suffix))
            .unwrap_or(name);
        let value: f64 = value.parse().unwrap();
        let largest = values.entry(name.to_owned()).or_default();
        *largest = largest.max(value);
    }
    values
}

#[test]
fn the_exported_families_are_these_and_no_other() {
    let mut named: Vec<&str> = IN_A_STORY.into_iter().chain(ELSEWHERE).collect();
    let mut exported = FAMILIES.to_vec();
    named.sort_unstable();
    exported.sort_unstable();
    assert_eq!(exported, named);
}

#[test]
fn every_family_is_set_by_an_eventful_story() {
    virtually(|| async {
        let flags = ["--joining-timeout=5m", "--vpsie-rate-limit=8"];
        let harness = Harness::with(651, sim::WorldConfig::default(), &flags).await;
        let mut largest: BTreeMap<String, f64> = BTreeMap::new();
        let mut look = |text: String| {
            for (name, value) in values(&text) {
                let seen = largest.entry(name).or_default();
                *seen = seen.max(value);
            }
        };
        let faults = harness.world.cloud.faults();
        faults.add(Rule::on(Route::AddWorker, Fault::NeverJoins));
        let conflict = Effect::Refuse {
            code: 500,
            retry_after: None,
        };
        let writes = Match::resource("vpsienodes").verb("create");
        harness
            .world
            .kube
            .faults()
            .add(kube_sim::Rule::once(writes, conflict));
        harness.group("general", 1, 6, json!({})).await;
        let replica = harness.start();
        harness.deployment("web", 4, "800m", None).await;
        harness
            .wait(10, "a machine is on its way", |view| {
                !view.vpsie_nodes.is_empty()
            })
            .await;
        look(replica.metrics());
        harness.wait(60, "all pods run", all_running(4)).await;
        // A worker of a person's, and a cloud that is unwell.
        let cluster = &harness.world.cluster;
        let size = harness.world.cloud.config().datacenters[0].sizes[0].id;
        let pool = harness
            .world
            .cloud
            .human_add_group(cluster, "by-hand", size)
            .unwrap();
        harness.world.cloud.human_add_worker(cluster, pool).unwrap();
        harness.minutes(5).await;
        look(replica.metrics());
        let unwell = faults.add(Rule::on(vpsie_sim::Match::Any, Fault::Html500).always());
        harness.minutes(5).await;
        faults.remove(unwell);
        harness.minutes(5).await;
        // A removal that is taken back, then those that are not.
        harness.world.scale("default", "web", 0).await.unwrap();
        harness
            .wait(20, "a node is cordoned", |view| {
                view.nodes.values().any(|row| row.unschedulable)
            })
            .await;
        let view = harness.world.view();
        let cordoned = view.nodes.iter().find(|(_, row)| row.unschedulable);
        let keep = json!({ "apiVersion": "v1", "kind": "Node", "metadata": {
            "name": cordoned.unwrap().0,
            "annotations": { "autoscaler.vpsie.com/protected": "true" },
        } });
        harness.world.apply(&keep).await.unwrap();
        harness.wait(60, "one node is left", settled(1)).await;
        look(replica.metrics());
        for name in IN_A_STORY {
            let value = largest.get(name).copied().unwrap_or_default();
            assert!(value > 0.0, "{name} was never set\n{largest:#?}");
        }

        // A group that is gone leaves no figures behind.
        let group = "autoscaler.vpsie.com/v1alpha1";
        harness
            .world
            .delete(group, "NodeGroup", "kube-system", "general")
            .await
            .unwrap();
        harness
            .wait(60, "the group is gone", |view| view.groups.is_empty())
            .await;
        harness.minutes(1).await;
        let left: Vec<String> = replica
            .metrics()
            .lines()
            .filter(|line| line.contains("nodegroup=\"general\"") && !line.contains("_total{"))
            .map(ToOwned::to_owned)
            .collect();
        assert!(left.is_empty(), "{left:#?}");
        replica.stop().await;
    });
}

#[test]
fn a_write_that_is_refused_for_want_of_leadership_is_counted() {
    virtually(|| async {
        let harness = Harness::new(652).await;
        let client = harness.world.kube.client("late", "kube-system");
        let (clock, random) = (harness.clock.clone(), harness.random.fork("late"));
        let leader = Leader::new(
            client.clone(),
            clock.clone(),
            random.fork("election"),
            Options {
                enabled: true,
                namespace: "kube-system".into(),
                name: "lease".into(),
                identity: "late".into(),
                times: Times::default(),
            },
        );
        let standing = leader.subscribe();
        let campaign = Tasks::new();
        let stop = campaign.stop_token();
        campaign.spawn("election", async move { leader.run(stop).await });
        let guard = loop {
            if let Leadership::Leading(guard) = &*standing.borrow() {
                break guard.clone();
            }
            clock.sleep(std::time::Duration::from_secs(1)).await;
        };
        let metrics = Metrics::new();
        let provider = Vpsie::new(
            harness.args.provider(),
            Arc::new(vpsie_autoscaler::demo::InProcess::new(
                harness.world.cloud.clone(),
            )),
            clock.clone(),
            random.fork("provider"),
            Arc::new(vpsie::Silent),
        );
        let cloud = CloudState::new(provider.clone(), clock.clone(), random, Pace::default());
        let effects = Effects::new(
            client,
            provider,
            cloud,
            guard,
            clock,
            metrics.clone(),
            false,
        );
        campaign.stop();
        campaign.join().await;
        let node = NodeName::new("n");
        let change = json!({ "spec": { "unschedulable": true } });
        let refused = effects
            .patch_node(&node, &Uid::new("u"), "1", change, NodeChange::Metadata)
            .await;
        assert!(refused.is_err());
        let counted = "vpsie_autoscaler_effects_refused_total 1\n";
        assert!(metrics.render().contains(counted));
    });
}

#[test]
fn what_the_audit_refuses_is_counted_by_its_rule() {
    let metrics = Metrics::new();
    metrics.plan_refused("S6");
    let counted = "vpsie_autoscaler_plans_refused_total{rule=\"S6\"} 1\n";
    assert!(metrics.render().contains(counted), "{}", metrics.render());
}
