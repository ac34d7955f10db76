//! How long a dump of 1,000 nodes and 30,000 pods takes to read:
//! `cargo run --release --locked -p intake --example dump_speed`. With a file's name, that file.

use std::error::Error;

use intake::dump::Dump;
use runtime::Clock;
use serde_json::{Value, json};

/// A pod with what clusters put into it, most of it nothing decisions need.
fn pod(number: usize) -> Value {
    let app = number % 300;
    let environment: Vec<Value> = (0..10)
        .map(|i| json!({"name": format!("SETTING_{i}"), "value": "x".repeat(60)}))
        .collect();
    let node = format!("hel-kubernetes-worker-{:04}", number % 1000);
    let condition = |name: &str| {
        json!({"lastProbeTime": null, "lastTransitionTime": "2026-01-01T00:00:00Z",
            "status": "True", "type": name})
    };
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "creationTimestamp": "2026-01-01T00:00:00Z",
            "generateName": format!("app-{app}-5d4f8c7b9-"),
            "labels": {"app": format!("app-{app}"), "pod-template-hash": "5d4f8c7b9"},
            "name": format!("app-{app}-5d4f8c7b9-{number:05}"),
            "namespace": format!("team-{}", app % 20),
            "ownerReferences": [{"apiVersion": "apps/v1", "blockOwnerDeletion": true,
                "controller": true, "kind": "ReplicaSet", "name": format!("app-{app}-5d4f8c7b9"),
                "uid": format!("{app:036}")}],
            "resourceVersion": number.to_string(),
            "uid": format!("{number:036}"),
        },
        "spec": {
            "affinity": {"podAntiAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [
                {"podAffinityTerm": {"labelSelector": {"matchLabels": {"app": format!("app-{app}")}},
                    "topologyKey": "kubernetes.io/hostname"}, "weight": 100}]}},
            "containers": [{"env": environment, "image": "registry.example.com/team/image:1.2.3",
                "imagePullPolicy": "IfNotPresent", "name": "main",
                "ports": [{"containerPort": 8080, "name": "http", "protocol": "TCP"}],
                "resources": {"limits": {"memory": "256Mi"},
                    "requests": {"cpu": format!("{}m", 50 + app), "memory": "128Mi"}},
                "volumeMounts": [{"mountPath": "/var/run/secrets", "name": "token"}]}],
            "nodeName": node,
            "tolerations": [{"effect": "NoExecute", "key": "node.kubernetes.io/not-ready",
                "operator": "Exists", "tolerationSeconds": 300}],
            "volumes": [{"name": "token", "projected": {"defaultMode": 420, "sources": [
                {"serviceAccountToken": {"expirationSeconds": 3607, "path": "token"}}]}}],
        },
        "status": {
            "conditions": [condition("Initialized"), condition("Ready"), condition("PodScheduled")],
            "containerStatuses": [{"allocatedResources": {"cpu": format!("{}m", 50 + app),
                    "memory": "128Mi"}, "containerID": format!("containerd://{number:064}"),
                "name": "main", "ready": true, "resources": {"limits": {"memory": "256Mi"},
                    "requests": {"cpu": format!("{}m", 50 + app), "memory": "128Mi"}},
                "restartCount": 0, "started": true}],
            "phase": "Running", "podIP": "10.0.0.1", "qosClass": "Burstable",
        },
    })
}

fn node(number: usize) -> Value {
    let name = format!("hel-kubernetes-worker-{number:04}");
    let images: Vec<Value> = (0..40)
        .map(|i| json!({"names": [format!("registry.example.com/image-{i}@sha256:{i:064}")], "sizeBytes": i}))
        .collect();
    json!({"apiVersion": "v1", "kind": "Node",
        "metadata": {"labels": {"kubernetes.io/hostname": name}, "name": name, "uid": name},
        "status": {"allocatable": {"cpu": "16", "memory": "64Gi", "pods": "110"}, "images": images,
            "conditions": [{"status": "True", "type": "Ready"}]}})
}

fn main() -> Result<(), Box<dyn Error>> {
    let text = if let Some(path) = std::env::args_os().nth(1) {
        std::fs::read(path)?
    } else {
        // Written one by one: an allocator that had to hold all of them is not a fresh one.
        let mut text = br#"{"apiVersion": "v1", "items": ["#.to_vec();
        for item in (0..1000).map(node).chain((0..30_000).map(pod)) {
            serde_json::to_writer_pretty(&mut text, &item)?;
            text.push(b',');
        }
        text.pop();
        text.extend_from_slice(br#"], "kind": "List"}"#);
        text
    };
    let clock = Clock::system();
    for _ in 0..3 {
        let begun = clock.monotonic();
        let dump = Dump::from_slice(&text)?;
        let took = clock.monotonic().saturating_sub(begun);
        println!(
            "{} MiB, {} nodes, {} pods, {} problems: {} ms",
            text.len() >> 20,
            dump.nodes.len(),
            dump.bound.len() + dump.waiting.len(),
            dump.problems.len() + dump.further_problems,
            took.as_millis(),
        );
    }
    Ok(())
}
