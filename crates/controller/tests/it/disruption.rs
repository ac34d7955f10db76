//! What removals look at, from its watches and from metrics-server; what happens where it may not
//! be read.

#![allow(clippy::needless_pass_by_value)] // JSON literals

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use api::AutoscalerConfig;
use controller::cluster_state::{
    Kind, Versions,
    usage::{UsageError, read_usage},
};
use k8s_openapi::api::{apps::v1::ReplicaSet, core::v1::Pod};
use kube::{
    Api, Client,
    api::{DeleteParams, Patch, PatchParams, PostParams},
    client::Body,
};
use kube_sim::{Effect, Match, Rule};
use model::{NodeName, Uid, WorkloadKind};
use runtime::Clock;
use serde_json::{Value, json};

use crate::{
    cluster_state::World,
    server::{Server, pod},
};

fn labels() -> Value {
    json!({"matchLabels": {"app": "web"}})
}

fn template() -> Value {
    json!({"metadata": {"labels": {"app": "web"}},
        "spec": {"containers": [{"name": "c", "image": "i"}]}})
}

fn object(api: &str, kind: &str, spec: Value) -> Value {
    json!({"apiVersion": api, "kind": kind,
        "metadata": {"name": "web", "namespace": "default"}, "spec": spec})
}

fn config(paused: &str) -> Value {
    json!({"apiVersion": "autoscaler.vpsie.com/v1alpha1", "kind": "AutoscalerConfig",
        "metadata": {"name": "default", "annotations": {"autoscaler.vpsie.com/paused": paused}},
        "spec": {}})
}

/// One object of each kind that removals look at.
fn one_of_each() -> Vec<Value> {
    let set = json!({"replicas": 3, "selector": labels(), "template": template()});
    let mut stateful = set.clone();
    stateful["serviceName"] = json!("web");
    let mut old = set.clone();
    old["selector"] = json!({"app": "web"});
    let mut job = template();
    job["spec"]["restartPolicy"] = json!("Never");
    vec![
        object(
            "policy/v1",
            "PodDisruptionBudget",
            json!({"maxUnavailable": 1, "selector": labels()}),
        ),
        object("apps/v1", "ReplicaSet", set),
        object("v1", "ReplicationController", old),
        object("apps/v1", "StatefulSet", stateful),
        object(
            "batch/v1",
            "Job",
            json!({"parallelism": 3, "template": job}),
        ),
        config("true"),
    ]
}

fn kinds() -> impl Iterator<Item = Kind> {
    Kind::ALL.into_iter().filter(|kind| kind.is_of_disruption())
}

fn versions(world: &World) -> Versions {
    *world.state.changes().borrow()
}

fn counts(world: &World) -> BTreeMap<Kind, usize> {
    let rows = world.state.stats().rows;
    kinds().map(|kind| (kind, rows[&kind])).collect()
}

#[tokio::test(start_paused = true)]
async fn what_is_there_and_what_comes_is_known_and_told() {
    let world = World::synced(Server::new()).await;
    let none = world.state.disruption();
    assert_eq!(none.budgets, Some(vec![]));
    assert!(
        WorkloadKind::ALL
            .iter()
            .all(|kind| none.workloads[kind].complete)
    );
    assert_eq!(world.state.cluster_paused(), None);

    let before = versions(&world);
    for object in one_of_each() {
        world.server.sim.insert(object).unwrap();
    }
    world.sleep(1).await;
    let after = versions(&world);
    let expected = Versions {
        disruption: before.disruption + 5,
        paused: before.paused + 1,
        ..before
    };
    assert_eq!(after, expected, "and nothing else");
    assert_eq!(counts(&world), kinds().map(|kind| (kind, 1)).collect());
    let value = world.state.disruption();
    assert_eq!(value.budgets.iter().flatten().count(), 1);
    for kind in WorkloadKind::ALL {
        let wanted: Vec<u32> = value.workloads[&kind].replicas.values().copied().collect();
        assert_eq!(wanted, [3], "{kind:?}");
    }
    assert!(Arc::ptr_eq(&value, &world.state.disruption()));
    assert!(world.state.cluster_paused().is_some());
}

#[tokio::test(start_paused = true)]
async fn a_controller_that_goes_and_a_pause_that_ends_are_followed() {
    let server = Server::new();
    for object in one_of_each() {
        server.sim.insert(object).unwrap();
    }
    let world = World::synced(server).await;
    let sets: Api<ReplicaSet> = Api::default_namespaced(world.server.client("user"));
    let uid = Uid::new(sets.get("web").await.unwrap().metadata.uid.unwrap());
    let known = world.state.disruption();
    assert_eq!(known.workloads[&WorkloadKind::ReplicaSet].replicas[&uid], 3);

    sets.delete("web", &DeleteParams::background())
        .await
        .unwrap();
    let configs: Api<AutoscalerConfig> = Api::all(world.server.client("user"));
    let off = json!({"metadata": {"annotations": {"autoscaler.vpsie.com/paused": "False "}}});
    configs
        .patch("default", &PatchParams::default(), &Patch::Merge(off))
        .await
        .unwrap();
    world.sleep(1).await;
    let value = world.state.disruption();
    assert!(
        value.workloads[&WorkloadKind::ReplicaSet]
            .replicas
            .is_empty()
    );
    assert_eq!(world.state.cluster_paused(), None);
}

#[tokio::test(start_paused = true)]
async fn kinds_that_may_not_be_read_hold_nothing_up_and_are_not_taken_for_empty() {
    for code in [403, 404] {
        let server = Server::new();
        for object in one_of_each() {
            server.sim.insert(object).unwrap();
        }
        let faults = server.sim.faults().clone();
        for kind in kinds() {
            let lists = Match::resource(kind.plural()).of_actor("controller");
            let refuse = Effect::Refuse {
                code,
                retry_after: None,
            };
            faults.add(Rule::always(lists, refuse));
        }
        let begun = server.clock.monotonic();
        let world = World::synced(server).await;
        let took = world.server.clock.monotonic().saturating_sub(begun);
        assert!(took < Duration::from_secs(5), "{took:?}");
        assert_eq!(world.state.unknown_kinds(), kinds().collect::<Vec<_>>());
        let value = world.state.disruption();
        assert_eq!(value.budgets, None);
        assert!(value.workloads.is_empty());
        assert_eq!(world.state.cluster_paused(), None);

        // The right is granted while the product runs.
        let before = versions(&world);
        faults.clear();
        world.sleep(31).await;
        assert_eq!(world.state.unknown_kinds(), []);
        assert_eq!(counts(&world), kinds().map(|kind| (kind, 1)).collect());
        assert!(world.state.cluster_paused().is_some());
        let after = versions(&world);
        assert!(after.disruption > before.disruption, "who waits is woken");
        assert!(after.paused > before.paused);
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_is_decided_before_budgets_are_listed() {
    let server = Server::new();
    let faults = server.sim.faults().clone();
    let lists = Match::resource("poddisruptionbudgets").verb("list");
    let held = faults.add(Rule::always(lists, Effect::DropRequest));
    let world = World::begin(server);
    world.sleep(60).await;
    assert!(!world.state.synced());
    faults.remove(held);
    world.sleep(31).await;
    assert!(world.state.synced());
}

#[tokio::test(start_paused = true)]
async fn a_pod_that_becomes_ready_is_news_of_its_health_and_what_says_nothing_new_is_none() {
    let server = Server::new();
    let api: Api<Pod> = Api::default_namespaced(server.client("kubelet"));
    let new = serde_json::from_value(pod("p", Some("n1"))).unwrap();
    api.create(&PostParams::default(), &new).await.unwrap();
    let world = World::synced(server).await;
    let tell = async |status: Value| {
        let before = versions(&world);
        let patch = Patch::Merge(json!({"status": status}));
        api.patch_status("p", &PatchParams::default(), &patch)
            .await
            .unwrap();
        world.sleep(1).await;
        let after = versions(&world);
        let pods = after.pods - before.pods;
        assert_eq!(
            Versions {
                pods: before.pods,
                ..after
            },
            before
        );
        pods
    };
    let ready = |beat: &str| {
        json!({"phase": "Running", "startTime": "2026-01-01T00:00:00Z", "conditions": [
            {"type": "Ready", "status": "True", "lastProbeTime": beat}]})
    };
    assert_eq!(tell(ready("2026-01-01T00:00:01Z")).await, 1);
    assert_eq!(tell(ready("2026-01-01T00:00:02Z")).await, 0);
    let pods = world.state.pods_on(&NodeName::new("n1"));
    assert_eq!(pods[0].health, model::PodHealth::Ready);
    assert!(pods[0].started_at.is_some());
}

// === Usage ===

/// A server that answers every request with `answer`, and what it was asked.
fn answering(code: u16, answer: String) -> (Client, Arc<Mutex<Vec<String>>>) {
    let asked = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&asked);
    let service = tower::service_fn(move |request: http::Request<Body>| {
        log.lock().unwrap().push(request.uri().to_string());
        let response = http::Response::builder()
            .status(code)
            .body(Body::from(answer.clone().into_bytes()));
        async move { response }
    });
    (Client::new(service, "default"), asked)
}

#[tokio::test(start_paused = true)]
async fn usage_is_asked_of_metrics_server_and_what_cannot_be_read_is_left_out() {
    let metrics = |name: &str, cpu: &str| {
        json!({"metadata": {"name": name, "creationTimestamp": "2026-01-01T00:00:09Z"},
            "timestamp": "2026-01-01T00:00:00Z", "window": "20s",
            "usage": {"cpu": cpu, "memory": "1Gi"}})
    };
    let items = json!([metrics("a", "1500m"), metrics("b", "lots")]);
    let list = json!({"kind": "NodeMetricsList", "apiVersion": "metrics.k8s.io/v1beta1",
        "metadata": {}, "items": items});
    let (client, asked) = answering(200, list.to_string());
    let world = World::synced(Server::new()).await;
    let usage = read_usage(&client, &world.server.clock).await.unwrap();
    assert_eq!(
        *asked.lock().unwrap(),
        ["/apis/metrics.k8s.io/v1beta1/nodes"]
    );
    let before = versions(&world);
    world.state.note_usage(usage);
    let known = world.state.disruption();
    let used = &known.usage[&NodeName::new("a")];
    assert_eq!((used.cpu_milli, used.memory), (1500, 1 << 30));
    assert_eq!(known.usage.len(), 1);
    assert_eq!(versions(&world), before, "nobody is woken");
}

/// metrics-server's kind, as far as a list of it goes.
fn metrics_kind() -> Value {
    let anything = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
    json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "nodes.metrics.k8s.io"},
        "spec": {"group": "metrics.k8s.io", "scope": "Cluster",
            "names": {"kind": "NodeMetrics", "plural": "nodes", "singular": "node",
                "listKind": "NodeMetricsList"},
            "versions": [{"name": "v1beta1", "served": true, "storage": true,
                "schema": {"openAPIV3Schema": anything}}]}})
}

#[tokio::test(start_paused = true)]
async fn a_server_that_has_the_metrics_api_is_asked_and_one_that_has_not_says_so() {
    let server = Server::new();
    let client = server.client("controller");
    let error = read_usage(&client, &server.clock).await.unwrap_err();
    assert!(matches!(error, UsageError::Absent(404)), "{error:?}");
    server.sim.insert(metrics_kind()).unwrap();
    let of_node = json!({"apiVersion": "metrics.k8s.io/v1beta1", "kind": "NodeMetrics",
        "metadata": {"name": "n1"}, "timestamp": "2026-01-01T00:00:00Z", "window": "20s",
        "usage": {"cpu": "12345678n", "memory": "64Mi"}});
    server.sim.insert(of_node).unwrap();
    let usage = read_usage(&client, &server.clock).await.unwrap();
    assert_eq!(usage[&NodeName::new("n1")].cpu_milli, 13);
}

#[tokio::test(start_paused = true)]
async fn a_cluster_without_metrics_server_and_one_that_does_not_answer_are_told_apart() {
    let clock = Clock::starting_at("2026-01-01T00:00:00Z".parse().unwrap(), 1.0);
    for code in [404, 503, 403] {
        let (client, _) = answering(code, "no".into());
        let error = read_usage(&client, &clock).await.unwrap_err();
        assert!(matches!(error, UsageError::Absent(status) if status == code));
    }
    let (client, _) = answering(200, r#"{"items": 7}"#.into());
    let error = read_usage(&client, &clock).await.unwrap_err();
    assert!(matches!(error, UsageError::Decode(_)), "{error:?}");
    let (client, _) = answering(200, " ".repeat(17 << 20));
    let error = read_usage(&client, &clock).await.unwrap_err();
    assert!(matches!(error, UsageError::TooLarge(_)), "{error:?}");

    let silent = tower::service_fn(|_: http::Request<Body>| {
        std::future::pending::<Result<http::Response<Body>, std::convert::Infallible>>()
    });
    let client = Client::new(silent, "default");
    let error = read_usage(&client, &clock).await.unwrap_err();
    assert!(matches!(error, UsageError::Timeout(_)), "{error:?}");
}
