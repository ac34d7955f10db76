//! The audit log: one line for each scaling action, before it is sent, that says what, why and
//! under which id.

use std::{
    collections::BTreeMap,
    fmt::Debug,
    sync::{Arc, Mutex},
};

use serde_json::json;
use tracing::{
    Event, Level, Subscriber,
    field::{Field, Visit},
};
use tracing_subscriber::{
    Layer,
    layer::{Context, SubscriberExt as _},
};
use vpsie_sim::Route;

use crate::harness::{Harness, all_running, settled, virtually};

type Line = BTreeMap<&'static str, String>;

#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<Line>>>);

struct Fields<'a>(&'a mut Line);

impl Visit for Fields<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.0.insert(field.name(), format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name(), value.to_owned());
    }
}

impl<S: Subscriber> Layer<S> for Lines {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        if event.metadata().target() != "audit" {
            return;
        }
        let mut line = Line::new();
        event.record(&mut Fields(&mut line));
        line.insert("level", event.metadata().level().to_string());
        self.0.lock().unwrap().push(line);
    }
}

impl Lines {
    fn of(&self, decision: &str) -> Vec<Line> {
        let lines = self.0.lock().unwrap();
        let of_this = |line: &&Line| line.get("decision").is_some_and(|d| d == decision);
        lines.iter().filter(of_this).cloned().collect()
    }
}

/// Requests of the product that the API server took, by verb and resource.
fn writes(harness: &Harness, verb: &str, resource: &str, subresource: &str) -> usize {
    let journal = harness.world.kube.journal().records();
    journal
        .iter()
        .filter(|record| {
            record.actor == "vpsie-autoscaler"
                && record.verb == verb
                && record.resource == resource
                && record.subresource == subresource
        })
        .count()
}

#[test]
fn each_scaling_action_leaves_one_line_that_says_what_why_and_under_which_id() {
    virtually(|| async {
        let lines = Lines::default();
        // With one subscriber alone, a place that another test's thread comes to first is switched
        // off for this one, too.
        let _second = tracing::Dispatch::new(tracing_subscriber::registry());
        let subscriber = tracing_subscriber::registry().with(lines.clone());
        let _here = tracing::subscriber::set_default(subscriber);
        let harness = Harness::new(661).await;
        harness.group("general", 0, 6, json!({})).await;
        let replica = harness.start();
        harness.deployment("web", 4, "800m", None).await;
        harness.wait(20, "all pods run", all_running(4)).await;
        // One removal that is taken back, one that is not, and a group that goes with its pods.
        harness.world.scale("default", "web", 2).await.unwrap();
        harness
            .wait(30, "a node is cordoned", |view| {
                view.nodes.values().any(|row| row.unschedulable)
            })
            .await;
        let view = harness.world.view();
        let cordoned = view.nodes.iter().find(|(_, row)| row.unschedulable);
        let node = cordoned.unwrap().0.clone();
        let mark = |annotations: serde_json::Value| {
            json!({ "apiVersion": "v1", "kind": "Node",
                "metadata": { "name": node, "annotations": annotations } })
        };
        let protected = mark(json!({ "autoscaler.vpsie.com/protected": "true" }));
        harness.world.apply(&protected).await.unwrap();
        harness
            .wait(10, "uncordoned", |view| {
                view.nodes.values().all(|row| !row.unschedulable)
            })
            .await;
        harness.world.apply(&mark(json!({}))).await.unwrap();
        harness.wait(30, "one node is left", settled(1)).await;
        let group = "autoscaler.vpsie.com/v1alpha1";
        harness
            .world
            .delete(group, "NodeGroup", "kube-system", "general")
            .await
            .unwrap();
        harness.wait(60, "nothing is left", settled(0)).await;
        replica.stop().await;

        let cloud = harness.world.cloud.journal();
        let sent = |route| cloud.iter().filter(|r| r.route == route).count();
        let cordons = lines.of("cordon node").len();
        assert_eq!((cordons, lines.of("uncordon node").len()), (3, 1));
        for (decision, done) in [
            (
                "create VPSieNode",
                writes(&harness, "create", "vpsienodes", ""),
            ),
            (
                "delete VPSieNode",
                writes(&harness, "delete", "vpsienodes", ""),
            ),
            ("evict pod", writes(&harness, "create", "pods", "eviction")),
            ("delete node", writes(&harness, "delete", "nodes", "")),
            ("create machine", sent(Route::AddWorker)),
            ("delete machine", sent(Route::DeleteWorker)),
        ] {
            let told = lines.of(decision);
            assert!(done > 0, "{decision}");
            assert_eq!(told.len(), done, "{decision}: {told:#?}");
        }
        let all = lines.0.lock().unwrap();
        for line in all.iter() {
            for field in [
                "object",
                "decision",
                "reason",
                "request_id",
                "vpsie_node",
                "epoch",
            ] {
                let value = line.get(field).map_or("", String::as_str);
                assert!(!value.is_empty(), "{field} of {line:?}");
            }
            assert_eq!(line["level"], Level::INFO.to_string());
        }
        let ids: std::collections::BTreeSet<&String> =
            all.iter().map(|line| &line["request_id"]).collect();
        assert_eq!(ids.len(), all.len(), "an id stands for one action");
    });
}
