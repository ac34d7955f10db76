//! A cluster on virtual time and short ways to ask it something.

use std::time::Duration;

use bytes::Bytes;
use http::Request;
use jiff::Timestamp;
use kube_sim::KubeSim;
use runtime::{Clock, Randomness};
use serde_json::{Value, json};

pub(crate) struct Cluster {
    pub(crate) sim: KubeSim,
    pub(crate) clock: Clock,
}

pub(crate) const PODS: &str = "/api/v1/namespaces/default/pods";
pub(crate) const MAPS: &str = "/api/v1/namespaces/default/configmaps";
pub(crate) const DEPLOYMENTS: &str = "/apis/apps/v1/namespaces/default/deployments";
pub(crate) const WIDGETS: &str = "/apis/example.com/v1/namespaces/default/widgets";

impl Cluster {
    pub(crate) fn new() -> Self {
        let epoch: Timestamp = "2025-01-01T00:00:00Z".parse().unwrap();
        let clock = Clock::starting_at(epoch, 1.0);
        let sim = KubeSim::new(clock.clone(), Randomness::seeded(7));
        Self { sim, clock }
    }

    pub(crate) fn call(&self, method: &str, path: &str, body: &Value) -> (u16, Value) {
        let kind = match method {
            "APPLY" => "application/apply-patch+yaml",
            "MERGE" => "application/merge-patch+json",
            "JSON" => "application/json-patch+json",
            "STRATEGIC" => "application/strategic-merge-patch+json",
            _ => "application/json",
        };
        let method = match method {
            "APPLY" | "MERGE" | "JSON" | "STRATEGIC" => "PATCH",
            other => other,
        };
        let bytes = if body.is_null() {
            Bytes::new()
        } else {
            Bytes::from(body.to_string())
        };
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("content-type", kind)
            .body(bytes)
            .unwrap();
        let response = self.sim.handle("test", request);
        let code = response.status().as_u16();
        let bytes = response.body().bytes().cloned().unwrap_or_default();
        (code, serde_json::from_slice(&bytes).unwrap_or_default())
    }

    pub(crate) fn get(&self, path: &str) -> (u16, Value) {
        self.call("GET", path, &Value::Null)
    }

    pub(crate) fn post(&self, path: &str, body: &Value) -> (u16, Value) {
        self.call("POST", path, body)
    }

    pub(crate) fn delete(&self, path: &str) -> (u16, Value) {
        self.call("DELETE", path, &Value::Null)
    }

    /// The request must succeed.
    pub(crate) fn ok(&self, method: &str, path: &str, body: &Value) -> Value {
        let (code, answer) = self.call(method, path, body);
        assert!(
            (200..300).contains(&code),
            "{method} {path}: {code} {answer}"
        );
        answer
    }

    pub(crate) async fn settle(&self) {
        self.clock.sleep(Duration::from_secs(3)).await;
    }

    pub(crate) fn names(&self, path: &str) -> Vec<String> {
        let list = self.ok("GET", path, &Value::Null);
        list["items"]
            .as_array()
            .unwrap()
            .iter()
            .map(|item| item["metadata"]["name"].as_str().unwrap().to_owned())
            .collect()
    }
}

pub(crate) fn config_map(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"a": "1"}})
}

pub(crate) fn pod(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": {"app": "web"}},
        "spec": {"containers": [{"name": "c", "image": "nginx:1"}]}})
}

pub(crate) fn deployment(name: &str, replicas: i64) -> Value {
    json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name}, "spec": {
        "replicas": replicas, "selector": {"matchLabels": {"app": name}},
        "template": {"metadata": {"labels": {"app": name}},
            "spec": {"containers": [{"name": "c", "image": "nginx:1"}]}}}})
}

pub(crate) fn widget_definition() -> Value {
    json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "widgets.example.com"}, "spec": {
            "group": "example.com", "scope": "Namespaced",
            "names": {"kind": "Widget", "plural": "widgets", "shortNames": ["wd"]},
            "versions": [{"name": "v1", "served": true, "storage": true,
                "subresources": {"status": {}, "scale": {
                    "specReplicasPath": ".spec.size", "statusReplicasPath": ".status.size"}},
                "schema": {"openAPIV3Schema": {"type": "object", "properties": {
                    "spec": {"type": "object", "required": ["size"], "properties": {
                        "size": {"type": "integer", "minimum": 0},
                        "colour": {"type": "string", "default": "red", "enum": ["red", "blue"]},
                        "parts": {"type": "array", "x-kubernetes-list-type": "map",
                            "x-kubernetes-list-map-keys": ["name"], "items": {"type": "object",
                                "required": ["name"], "properties": {
                                    "name": {"type": "string"}, "weight": {"type": "integer"}}}}}},
                    "status": {"type": "object", "properties": {"size": {"type": "integer"},
                        "note": {"type": "string"}}}}}}}]}})
}

pub(crate) fn widget(name: &str, size: i64) -> Value {
    json!({"apiVersion": "example.com/v1", "kind": "Widget", "metadata": {"name": name}, "spec": {"size": size}})
}

pub(crate) fn running(cluster: &Cluster, name: &str, ready: bool) {
    cluster.ok("POST", PODS, &pod(name));
    cluster.ok(
        "POST",
        &format!("{PODS}/{name}/binding"),
        &json!({
        "apiVersion": "v1", "kind": "Binding", "metadata": {"name": name},
        "target": {"kind": "Node", "name": "n1"}}),
    );
    cluster.ok(
        "MERGE",
        &format!("{PODS}/{name}/status"),
        &json!({"status": {"phase": "Running",
        "conditions": [{"type": "Ready", "status": if ready { "True" } else { "False" }}]}}),
    );
}
