//! The control plane itself: it starts, takes what is ours, behaves as one, and leaves nothing.

use std::{path::Path, time::Duration};

use e2e::{Audit, AuditEntry, Component, ControlPlane, ControlPlaneError, Settings};
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::{
    Api,
    api::{DeleteParams, EvictParams, ListParams, PostParams, Preconditions},
};
use runtime::Clock;
use serde_json::json;

use crate::{deployment, until};

async fn plane() -> ControlPlane {
    ControlPlane::start(Settings::default()).await.unwrap()
}

async fn logged(audit: &Audit, what: &str, is: impl Fn(&AuditEntry) -> bool) -> AuditEntry {
    until(what, async || {
        audit.entries().unwrap().into_iter().find(&is)
    })
    .await
}

fn is_running(pid: u32) -> bool {
    Path::new(&format!("/proc/{pid}")).exists()
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Go and minutes: e2e/README.md"]
async fn nothing_is_left_of_a_dropped_control_plane() {
    let plane = plane().await;
    let pids = plane.pids();
    assert_eq!(pids.len(), Component::ALL.len());
    assert!(pids.values().all(|pid| is_running(*pid)));
    // What a machine must have to spare for each.
    let mib = plane.memory() >> 20;
    assert!((100..1500).contains(&mib), "{mib} MiB");
    let directory = plane.directory().to_owned();
    assert!(directory.exists());
    drop(plane);
    for (component, pid) in pids {
        assert!(!is_running(pid), "{component} still runs");
    }
    assert!(!directory.exists());
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Go and minutes: e2e/README.md"]
async fn a_pod_without_room_is_marked_unschedulable() {
    let plane = plane().await;
    plane
        .apply(&deployment("web", 2).to_string())
        .await
        .unwrap();
    let pods: Api<Pod> = Api::default_namespaced(plane.client().await.unwrap());
    let marked = until("two pods are unschedulable", async || {
        let all = pods.list(&ListParams::default()).await.unwrap().items;
        let marked = all.into_iter().filter_map(|pod| {
            let conditions = pod.status?.conditions?;
            conditions
                .into_iter()
                .find(|condition| condition.type_ == "PodScheduled")
        });
        let marked: Vec<_> = marked.collect();
        (marked.len() == 2).then_some(marked)
    })
    .await;
    for condition in marked {
        assert_eq!(condition.status, "False");
        assert_eq!(condition.reason.as_deref(), Some("Unschedulable"));
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Go and minutes: e2e/README.md"]
async fn the_api_server_comes_back_with_everything_it_knew() {
    let mut plane = plane().await;
    plane.install().await.unwrap();
    plane
        .apply(&deployment("web", 1).to_string())
        .await
        .unwrap();
    let before = plane.pids();
    let client = plane.client().await.unwrap();
    let pods: Api<Pod> = Api::default_namespaced(client);

    plane.stop(Component::ApiServer);
    assert!(!is_running(before[&Component::ApiServer]));
    assert!(pods.list(&ListParams::default()).await.is_err());
    plane.start_component(Component::ApiServer).await.unwrap();

    // The same client works again, at the same address, and the controllers go on.
    plane.kubectl(&["get", "nodegroups", "-A"]).await.unwrap();
    plane
        .kubectl(&["scale", "deployment/web", "--replicas=3"])
        .await
        .unwrap();
    until("the Deployment is scaled", async || {
        let list = pods.list(&ListParams::default()).await.ok()?;
        (list.items.len() == 3).then_some(())
    })
    .await;
    let after = plane.pids();
    assert_ne!(before[&Component::ApiServer], after[&Component::ApiServer]);
    assert_eq!(before[&Component::Etcd], after[&Component::Etcd]);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Go and minutes: e2e/README.md"]
async fn everything_stops_and_starts_again_with_what_was_stored() {
    let mut plane = plane().await;
    plane
        .apply(&deployment("web", 1).to_string())
        .await
        .unwrap();
    plane.stop_all();
    assert!(plane.pids().is_empty());
    plane.start_all().await.unwrap();
    plane.kubectl(&["get", "deployment/web"]).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Go and minutes: e2e/README.md"]
async fn a_service_account_has_its_rights_and_no_other_and_the_audit_log_says_so() {
    let plane = plane().await;
    plane.install().await.unwrap();
    let user = "system:serviceaccount:kube-system:vpsie-autoscaler";
    let kubeconfig = plane
        .service_account_kubeconfig("kube-system", "vpsie-autoscaler")
        .await
        .unwrap();
    plane
        .kubectl_with(&kubeconfig, &["get", "nodes"])
        .await
        .unwrap();
    let refused = plane
        .kubectl_with(&kubeconfig, &["-n", "kube-system", "get", "secrets"])
        .await
        .unwrap_err();
    assert!(
        refused.to_string().contains("cannot list resource"),
        "{refused}"
    );

    let audit = plane.audit();
    let allowed = logged(&audit, "the list of nodes", |entry| {
        entry.user == user && entry.resource == "nodes"
    })
    .await;
    assert_eq!((allowed.verb.as_str(), allowed.code), ("list", 200));
    assert_eq!(allowed.decision, "allow");
    let forbidden = logged(&audit, "the list of secrets", |entry| {
        entry.user == user && entry.resource == "secrets"
    })
    .await;
    assert_eq!((forbidden.verb.as_str(), forbidden.code), ("list", 403));
    assert_eq!(forbidden.namespace, "kube-system");
    assert_eq!(forbidden.decision, "forbid");
    assert_eq!(forbidden.reason, "Forbidden");
    assert!(allowed.received <= forbidden.received);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Go and minutes: e2e/README.md"]
async fn evictions_and_deletions_are_logged_with_what_they_asked() {
    let plane = plane().await;
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a", "namespace": "default"},
        "spec": {"containers": [{"name": "main", "image": "registry.example/main:1"}]},
    });
    plane.apply(&pod.to_string()).await.unwrap();
    let pods: Api<Pod> = Api::default_namespaced(plane.client().await.unwrap());
    let other = DeleteParams {
        preconditions: Some(Preconditions {
            uid: Some("another".into()),
            resource_version: None,
        }),
        ..DeleteParams::default()
    };
    pods.delete("a", &other).await.unwrap_err();
    pods.evict("a", &EvictParams::default()).await.unwrap();
    let audit = plane.audit();
    let deletion = logged(&audit, "the deletion", |entry| {
        entry.verb == "delete" && entry.resource == "pods"
    })
    .await;
    assert_eq!((deletion.code, deletion.reason.as_str()), (409, "Conflict"));
    let asked = deletion.request.unwrap();
    assert_eq!(asked["preconditions"]["uid"], "another");
    let eviction = logged(&audit, "the eviction", |entry| {
        entry.subresource == "eviction"
    })
    .await;
    assert_eq!((eviction.name.as_str(), eviction.code), ("a", 201));
    assert_eq!(eviction.request.unwrap()["metadata"]["name"], "a");
    assert_eq!(eviction.response.unwrap()["status"], "Success");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Go and minutes: e2e/README.md"]
async fn a_watch_from_compacted_history_is_told_that_it_is_gone() {
    let mut plane = plane().await;
    let client = plane.client().await.unwrap();
    let pods: Api<Pod> = Api::default_namespaced(client);
    let old = pods.list(&ListParams::default()).await.unwrap();
    let version = old.metadata.resource_version.unwrap();
    plane
        .apply(&deployment("web", 1).to_string())
        .await
        .unwrap();
    plane.compact().await.unwrap();
    plane.restart(Component::ApiServer).await.unwrap();
    let path = format!("--raw=/api/v1/pods?watch=true&timeoutSeconds=5&resourceVersion={version}");
    let told = match plane.kubectl(&["get", &path]).await {
        Ok(output) => output.stdout,
        Err(error) => error.to_string(),
    };
    assert!(told.contains("too old resource version"), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Go and minutes: e2e/README.md"]
async fn a_component_that_does_not_start_is_named_with_its_last_words() {
    let settings = Settings {
        flags: vec![(Component::Scheduler, "--no-such-flag".into())],
        ..Settings::default()
    };
    let Err(error) = ControlPlane::start(settings).await else {
        panic!("it started");
    };
    assert!(matches!(error, ControlPlaneError::Ended { .. }), "{error}");
    let text = error.to_string();
    assert!(text.contains("kube-scheduler ended"), "{text}");
    assert!(text.contains("unknown flag: --no-such-flag"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Go and minutes: e2e/README.md"]
async fn a_silent_node_is_unknown_after_the_grace_that_was_asked_for() {
    let mut settings = Settings::default();
    settings.lifecycle.monitor_grace = Duration::from_secs(6);
    settings.lifecycle.monitor_period = Duration::from_secs(1);
    let plane = ControlPlane::start(settings).await.unwrap();
    let nodes: Api<Node> = Api::all(plane.client_of("world").await.unwrap());
    let now = Clock::system().now().to_string();
    let node: Node = serde_json::from_value(json!({
        "apiVersion": "v1", "kind": "Node", "metadata": {"name": "mute"},
        "status": {"conditions": [{
            "type": "Ready", "status": "True", "reason": "KubeletReady",
            "lastHeartbeatTime": now, "lastTransitionTime": now,
        }]},
    }))
    .unwrap();
    nodes.create(&PostParams::default(), &node).await.unwrap();
    let clock = Clock::system();
    until("the node is Unknown", async || {
        let node = nodes.get("mute").await.unwrap();
        let conditions = node.status?.conditions?;
        let ready = conditions.iter().find(|c| c.type_ == "Ready")?;
        (ready.status == "Unknown").then_some(())
    })
    .await;
    // Half of the components' own 50 s, with room for a loaded machine.
    assert!(clock.monotonic() < Duration::from_secs(25));
}
