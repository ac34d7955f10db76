//! The plain cluster that themes then add to: nodes in zones, pods with a few labels, namespaces.

use serde_json::{Value, json};

use super::{
    Edge,
    draw::{Draw, push},
};

pub(super) const ZONE: &str = "topology.kubernetes.io/zone";
pub(super) const REGION: &str = "topology.kubernetes.io/region";
pub(super) const BETA_ZONE: &str = "failure-domain.beta.kubernetes.io/zone";
pub(super) const BETA_REGION: &str = "failure-domain.beta.kubernetes.io/region";
pub(super) const HOSTNAME: &str = "kubernetes.io/hostname";

/// The objects of a cluster while it is made.
pub(super) struct World {
    pub(super) nodes: Vec<Value>,
    /// With a node name; some are finished or on a node that does not exist.
    pub(super) running: Vec<Value>,
    pub(super) pending: Vec<Value>,
    pub(super) namespaces: Vec<Value>,
    /// Everything about volumes.
    pub(super) others: Vec<Value>,
    /// How many claims there are; each has a size of its own.
    pub(super) claims: usize,
}

impl World {
    /// Every pod, the running ones first.
    pub(super) fn pods(&mut self) -> impl Iterator<Item = &mut Value> {
        self.running.iter_mut().chain(&mut self.pending)
    }

    /// The nodes' names.
    pub(super) fn names(&self) -> Vec<String> {
        (1..=self.nodes.len())
            .map(|number| format!("n{number}"))
            .collect()
    }
}

pub(super) fn world(draw: &mut Draw) -> World {
    let nodes = draw.one(&[1, 2, 2, 3, 3, 3, 4, 4, 5, 6]);
    let running = draw.one(&[0, 1, 2, 3, 3, 4, 4, 5, 6, 7, 10]);
    let pending = draw.one(&[1, 1, 2, 2, 3]);
    let mut world = World {
        nodes: (1..=nodes).map(|number| node(number, draw)).collect(),
        running: Vec::new(),
        pending: Vec::new(),
        namespaces: Vec::new(),
        others: Vec::new(),
        claims: 0,
    };
    for number in 1..=running {
        let pod = running_pod(number, nodes, draw);
        world.running.push(pod);
    }
    for number in 1..=pending {
        let mut pod = pod(&format!("q{number}"), draw);
        if draw.percent(30) {
            pod["status"] = json!({"phase": "Pending"});
        }
        world.pending.push(pod);
    }
    world.namespaces = namespaces(draw);
    world
}

fn node(number: usize, draw: &mut Draw) -> Value {
    let name = format!("n{number}");
    let mut labels = json!({});
    if draw.percent(85) {
        labels[HOSTNAME] = json!(name);
    } else if draw.percent(50) {
        draw.aim(Edge::SharedHostname);
        labels[HOSTNAME] = json!("n1");
    }
    if draw.percent(80) {
        labels[ZONE] = json!(draw.one(&["a", "b", "c"]));
    }
    for (key, share, values) in [
        ("disk", 50, ["ssd", "hdd"]),
        ("rack", 60, ["r1", "r2"]),
        ("tier", 30, ["", "x"]),
    ] {
        if draw.percent(share) {
            labels[key] = json!(draw.one(&values));
        }
    }
    let mut node = json!({
        "apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": labels},
        "status": {"allocatable": {"cpu": "8", "memory": "16Gi", "pods": "110"}},
    });
    if draw.percent(8) {
        draw.aim(Edge::NotReady);
        node["status"]["conditions"] = json!([{"type": "Ready", "status": "False"}]);
    }
    node
}

/// A pod with labels, in a namespace, of one container.
fn pod(name: &str, draw: &Draw) -> Value {
    let mut labels = json!({});
    if draw.percent(90) {
        labels["app"] = json!(draw.one(&["x", "x", "y"]));
    }
    if draw.percent(50) {
        labels["tier"] = json!(draw.one(&["f", "b"]));
    }
    if draw.percent(40) {
        labels["rev"] = json!(draw.one(&["1", "2"]));
    }
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name, "namespace": draw.one(&["a", "a", "b"]), "labels": labels},
        "spec": {"containers": [{"name": "c", "image": "i"}]},
    })
}

fn running_pod(number: usize, nodes: usize, draw: &mut Draw) -> Value {
    let mut pod = pod(&format!("p{number}"), draw);
    pod["spec"]["nodeName"] = json!(format!("n{}", 1 + draw.below(nodes)));
    pod["status"] = json!({"phase": "Running"});
    match draw.below(100) {
        0..=7 => {
            draw.aim(Edge::BoundPending);
            pod["status"]["phase"] = json!("Pending");
        }
        8..=13 => {
            draw.aim(Edge::Finished);
            pod["status"]["phase"] = json!(draw.one(&["Succeeded", "Failed"]));
        }
        14..=18 => {
            draw.aim(Edge::UnknownNode);
            pod["spec"]["nodeName"] = json!("gone");
        }
        19..=33 => {
            draw.aim(Edge::TerminatingHolds);
            draw.aim(Edge::SpreadTerminating);
            draw.aim(Edge::AffinityTerminating);
            pod["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
            pod["metadata"]["deletionGracePeriodSeconds"] = json!(30);
        }
        _ => {}
    }
    pod
}

fn namespaces(draw: &Draw) -> Vec<Value> {
    let mut namespaces = Vec::new();
    for name in ["a", "b"] {
        if draw.percent(8) {
            continue;
        }
        let mut labels = json!({});
        if draw.percent(60) {
            labels["team"] = json!(draw.one(&["r", "s"]));
        }
        // The API server adds its name; a file written by hand may lack it.
        if draw.percent(50) {
            labels["kubernetes.io/metadata.name"] = json!(name);
        }
        namespaces.push(json!({
            "apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels},
        }));
    }
    namespaces
}

/// One more volume of a pod, named by how many it has.
pub(super) fn mount(pod: &mut Value, source: &str, value: Value) {
    let volumes = &mut pod["spec"]["volumes"];
    let number = volumes.as_array().map_or(0, Vec::len);
    let mut volume = json!({"name": format!("v{number}")});
    volume[source] = value;
    push(volumes, volume);
}
