//! An API server with our kinds, and a clock.

use jiff::Timestamp;
use kube_sim::KubeSim;
use runtime::{Clock, Randomness};
use serde_json::{Value, json};

pub(crate) struct Server {
    pub(crate) sim: KubeSim,
    pub(crate) clock: Clock,
}

impl Server {
    pub(crate) fn new() -> Self {
        let clock = Clock::starting_at("2026-01-01T00:00:00Z".parse::<Timestamp>().unwrap(), 1.0);
        let sim = KubeSim::new(clock.clone(), Randomness::seeded(7).fork("server"));
        for crd in api::crds::crds() {
            sim.insert(serde_json::to_value(crd).unwrap()).unwrap();
        }
        sim.journal().take();
        Self { sim, clock }
    }

    pub(crate) fn pod(&self, name: &str, node: Option<&str>) {
        self.sim.insert(pod(name, node)).unwrap();
    }

    pub(crate) fn client(&self, actor: &str) -> kube::Client {
        self.sim.client(actor, "default")
    }

    /// How many requests of this verb for this resource `actor` made.
    pub(crate) fn requests(&self, actor: &str, verb: &str, resource: &str) -> usize {
        self.sim
            .journal()
            .records()
            .iter()
            .filter(|record| {
                record.actor == actor && record.verb == verb && record.resource == resource
            })
            .count()
    }
}

pub(crate) fn pod(name: &str, node: Option<&str>) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {
            "nodeName": node,
            "containers": [{"name": "c", "image": "i",
                "resources": {"requests": {"cpu": "100m", "memory": "64Mi"}}}],
        },
    })
}

pub(crate) fn node(name: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Node",
        "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name}},
        "status": {"capacity": {"cpu": "2", "memory": "4Gi", "pods": "110"},
            "allocatable": {"cpu": "2", "memory": "4Gi", "pods": "110"}},
    })
}

pub(crate) fn machine(name: &str) -> Value {
    json!({
        "apiVersion": "autoscaler.vpsie.com/v1alpha1", "kind": "VPSieNode",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"instanceType": "s", "nodeGroupName": "g", "datacenterID": "d"},
    })
}
