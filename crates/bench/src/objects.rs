//! Kubernetes objects as JSON, one at a time: the only place where nodes, pods and groups of
//! fixtures are made.

use serde_json::{Map, Value, json};

/// When everything in a fixture happened.
const LONG_AGO: &str = "2026-01-01T00:00:00Z";

/// The datacenter of every fixture.
pub(crate) const DATACENTER: &str = "bench";

/// The label of zones.
pub(crate) const ZONE: &str = "topology.kubernetes.io/zone";

/// The label of hostnames.
pub(crate) const HOSTNAME: &str = "kubernetes.io/hostname";

/// What a node has or a pod asks for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Amounts {
    /// Thousandths of a CPU.
    pub(crate) cpu: i64,
    /// Bytes of memory.
    pub(crate) memory: i64,
    /// Pods; not for what pods ask for.
    pub(crate) pods: i64,
}

impl Amounts {
    /// What a pod asks for.
    pub(crate) const fn ask(cpu: i64, memory: i64) -> Self {
        Self {
            cpu,
            memory,
            pods: 0,
        }
    }

    fn json(self) -> Value {
        let mut json = json!({"cpu": format!("{}m", self.cpu), "memory": self.memory.to_string()});
        if self.pods > 0 {
            json["pods"] = self.pods.to_string().into();
        }
        json
    }
}

/// A Ready node; its hostname is its name.
pub(crate) fn node(name: &str, zone: &str, labels: &Value, room: Amounts) -> Value {
    let mut all = json!({
        HOSTNAME: name, ZONE: zone,
        "kubernetes.io/arch": "amd64", "kubernetes.io/os": "linux",
    });
    merge(&mut all, labels);
    json!({
        "apiVersion": "v1", "kind": "Node",
        "metadata": {"name": name, "uid": name, "labels": all, "creationTimestamp": LONG_AGO},
        "status": {
            "allocatable": room.json(), "capacity": room.json(),
            "conditions": [{"type": "Ready", "status": "True"}],
        },
    })
}

/// A pod, `rules` merged into its `spec`.
fn pod(name: &str, labels: &Value, ask: Amounts, rules: &Value) -> Value {
    let mut spec = json!({"containers": [{"name": "main", "resources": {"requests": ask.json()}}]});
    merge(&mut spec, rules);
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"namespace": "default", "name": name, "uid": name, "labels": labels,
            "creationTimestamp": LONG_AGO},
        "spec": spec,
    })
}

/// A pod that the scheduler could not place.
pub(crate) fn pending(name: &str, labels: &Value, ask: Amounts, rules: &Value) -> Value {
    let mut pod = pod(name, labels, ask, rules);
    pod["status"] = json!({"phase": "Pending", "conditions": [{
        "type": "PodScheduled", "status": "False", "reason": "Unschedulable",
        "lastTransitionTime": LONG_AGO,
    }]});
    pod
}

/// A pod that runs on `node`, as one of the replicas of `owner`.
pub(crate) fn running(
    name: &str,
    node: &str,
    owner: &str,
    labels: &Value,
    ask: Amounts,
    rules: &Value,
) -> Value {
    let mut pod = pod(name, labels, ask, rules);
    pod["metadata"]["ownerReferences"] = json!([{
        "apiVersion": "apps/v1", "kind": "ReplicaSet", "name": owner, "uid": owner,
        "controller": true,
    }]);
    pod["spec"]["nodeName"] = node.into();
    pod["status"] = json!({"phase": "Running"});
    pod
}

/// A DaemonSet that wants every node.
pub(crate) fn daemon_set(name: &str, ask: Amounts) -> Value {
    let labels = json!({"app": name});
    json!({
        "apiVersion": "apps/v1", "kind": "DaemonSet",
        "metadata": {"namespace": "default", "name": name, "uid": name},
        "spec": {"selector": {"matchLabels": labels}, "template": {
            "metadata": {"labels": labels},
            "spec": {"containers": [{"name": "main", "resources": {"requests": ask.json()}}]},
        }},
    })
}

/// A PodDisruptionBudget that lets so many pods be evicted now.
pub(crate) fn budget(name: &str, selected: &Value, allowed: u32) -> Value {
    json!({
        "apiVersion": "policy/v1", "kind": "PodDisruptionBudget",
        "metadata": {"namespace": "default", "name": name},
        "spec": {"maxUnavailable": allowed, "selector": {"matchLabels": selected}},
        "status": {"disruptionsAllowed": allowed},
    })
}

/// A managed group that may buy `offerings`.
pub(crate) fn group(name: &str, labels: &Value, offerings: &[String], most: u32) -> Value {
    json!({
        "apiVersion": "autoscaler.vpsie.com/v1alpha1", "kind": "NodeGroup",
        "metadata": {"namespace": "kube-system", "name": name,
            "labels": {"autoscaler.vpsie.com/managed": "true"}},
        "spec": {
            "minNodes": 0, "maxNodes": most, "datacenterID": DATACENTER,
            "offeringIDs": offerings, "labels": labels,
            "resourceIdentifier": "00000000-0000-0000-0000-000000000001",
        },
    })
}

/// An offering, in the form that `--offerings` takes. What it has is all for pods, unless
/// `kept` is taken off.
pub(crate) fn offering(id: &str, has: Amounts, kept: Amounts, price: &str) -> Value {
    let left = Amounts {
        cpu: has.cpu - kept.cpu,
        memory: has.memory - kept.memory,
        pods: has.pods,
    };
    json!({
        "id": id, "capacity": has.json(), "allocatable": left.json(),
        "hourlyPrice": price, "datacenters": [DATACENTER],
    })
}

/// A spread constraint that must hold.
pub(crate) fn spread(key: &str, selected: &Value) -> Value {
    json!({"topologySpreadConstraints": [{
        "maxSkew": 1, "topologyKey": key, "whenUnsatisfiable": "DoNotSchedule",
        "labelSelector": {"matchLabels": selected},
    }]})
}

/// A term of pod affinity or anti-affinity.
pub(crate) fn term(key: &str, selected: &Value) -> Value {
    json!({"topologyKey": key, "labelSelector": {"matchLabels": selected}})
}

/// Required pod affinity.
pub(crate) fn near(key: &str, selected: &Value) -> Value {
    json!({"affinity": {"podAffinity": {
        "requiredDuringSchedulingIgnoredDuringExecution": [term(key, selected)]}}})
}

/// Required pod anti-affinity.
pub(crate) fn apart(key: &str, selected: &Value) -> Value {
    json!({"affinity": {"podAntiAffinity": {
        "requiredDuringSchedulingIgnoredDuringExecution": [term(key, selected)]}}})
}

/// No rules.
pub(crate) fn none() -> Value {
    Value::Object(Map::new())
}

fn merge(into: &mut Value, from: &Value) {
    if let (Some(into), Some(from)) = (into.as_object_mut(), from.as_object()) {
        for (key, value) in from {
            into.insert(key.clone(), value.clone());
        }
    }
}
