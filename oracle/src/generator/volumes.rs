//! What the themes about volumes are made of: claims, volumes, classes.

pub(super) mod binding;
mod ephemeral;
mod in_tree;
pub(super) mod limits;
pub(super) mod zones;

use serde_json::{Value, json};

use super::{
    Edge,
    draw::{Draw, push, text},
    frame::{HOSTNAME, World, ZONE, mount},
};
use in_tree::IN_TREE;

const DRIVER: &str = "csi.a.io";
const EBS: &str = "ebs.csi.aws.com";
const GIB: u64 = 1 << 30;

/// A claim, last of the objects, that the pod uses; its volume is not made.
fn claim<'w>(world: &'w mut World, pod: usize, class: Option<&str>) -> &'w mut Value {
    world.claims += 1;
    let name = format!("c{}", world.claims);
    let namespace = text(&world.pending[pod], "/metadata/namespace").to_owned();
    mount_claim(&mut world.pending[pod], &name);
    put_claim(world, &namespace, &name, class)
}

fn put_claim<'w>(
    world: &'w mut World,
    namespace: &str,
    name: &str,
    class: Option<&str>,
) -> &'w mut Value {
    let size = format!("{}Gi", world.claims);
    let mut claim = json!({
        "apiVersion": "v1", "kind": "PersistentVolumeClaim",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": size}}},
    });
    if let Some(class) = class {
        claim["spec"]["storageClassName"] = json!(class);
    }
    world.others.push(claim);
    last(world)
}

fn last(world: &mut World) -> &mut Value {
    let last = world.others.len() - 1;
    &mut world.others[last]
}

fn mount_claim(pod: &mut Value, name: &str) {
    mount(pod, "persistentVolumeClaim", json!({"claimName": name}));
}

/// A claim bound to a volume of its own, which stands just before it.
fn bound<'w>(world: &'w mut World, pod: usize, draw: &Draw) -> &'w mut Value {
    let size = world.claims as u64 + 1;
    let volume = volume(&format!("v{size}"), size * GIB, "wait", "Bound");
    world.others.push(volume);
    let claim = claim(world, pod, Some("wait"));
    bind(claim, &format!("v{size}"), draw);
    claim
}

fn bind(claim: &mut Value, volume: &str, draw: &Draw) {
    claim["spec"]["volumeName"] = json!(volume);
    claim["metadata"]["annotations"]["pv.kubernetes.io/bind-completed"] =
        json!(draw.one(&["yes", "yes", "", "no"]));
    claim["status"] = json!({"phase": "Bound"});
}

fn volume(name: &str, size: u64, class: &str, phase: &str) -> Value {
    let storage = if size.is_multiple_of(GIB) {
        format!("{}Gi", size / GIB)
    } else {
        size.to_string()
    };
    json!({
        "apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": name},
        "spec": {
            "accessModes": ["ReadWriteOnce"], "capacity": {"storage": storage},
            "storageClassName": class, "csi": {"driver": DRIVER, "volumeHandle": name},
        },
        "status": {"phase": phase},
    })
}

/// What a volume may ask of its node.
fn volume_affinity(names: &[String], draw: &Draw) -> Value {
    let expression = match draw.below(8) {
        0..=3 => json!({"key": ZONE, "operator": "In", "values": draw.some(&["a", "b", "c"], 45)}),
        4 => json!({"key": ZONE, "operator": "NotIn", "values": [draw.one(&["a", "b"])]}),
        5 => json!({"key": "disk", "operator": "Exists"}),
        _ => {
            let name = &names[draw.below(names.len())];
            json!({"key": HOSTNAME, "operator": "In", "values": [name]})
        }
    };
    let mut terms = vec![json!({"matchExpressions": [expression]})];
    if draw.percent(5) {
        // A volume's affinity is asked with labels alone: fields are not looked at.
        terms[0]["matchFields"] = json!([{"key": "metadata.name", "operator": "In", "values": [draw.one(&["n1", "n2"])]}]);
    }
    if draw.percent(20) {
        terms.push(json!({"matchExpressions": [
            {"key": "rack", "operator": "In", "values": ["r1"]}, {"key": "disk", "operator": "Exists"},
        ]}));
    }
    json!({"required": {"nodeSelectorTerms": terms}})
}

/// An unbound claim of a class, which is made where it is not there.
fn waiting<'w>(world: &'w mut World, pod: usize, of: &str, draw: &mut Draw) -> &'w mut Value {
    class(world, of, draw);
    let claim = claim(world, pod, Some(of));
    if draw.percent(50) {
        claim["status"] = json!({"phase": "Pending"});
    }
    claim
}

/// The storage class of that name.
fn class(world: &mut World, name: &str, draw: &Draw) {
    let known =
        |other: &Value| other["kind"] == "StorageClass" && other["metadata"]["name"] == name;
    if world.others.iter().any(known) {
        return;
    }
    let provisioner = match name {
        "local" => "kubernetes.io/no-provisioner",
        "tracked" => "csi.c.io",
        _ => IN_TREE
            .iter()
            .map(|kind| kind.provisioner)
            .find(|provisioner| provisioner.ends_with(name))
            .unwrap_or(DRIVER),
    };
    let mut class = json!({
        "apiVersion": "storage.k8s.io/v1", "kind": "StorageClass",
        "metadata": {"name": name}, "provisioner": provisioner,
    });
    match name {
        // Immediate, by default.
        "usual" => {}
        "now" => class["volumeBindingMode"] = json!("Immediate"),
        _ => class["volumeBindingMode"] = json!("WaitForFirstConsumer"),
    }
    if name == "zonal" {
        let mut terms = vec![json!({"matchLabelExpressions": [
            {"key": ZONE, "values": draw.some(&["a", "b", "c"], 45)},
        ]})];
        match draw.below(4) {
            0 => push(
                &mut terms[0]["matchLabelExpressions"],
                json!({"key": "rack", "values": ["r1"]}),
            ),
            1 => terms.push(json!({"matchLabelExpressions": [{"key": "disk", "values": ["ssd"]}]})),
            _ => {}
        }
        class["allowedTopologies"] = Value::Array(terms);
    }
    world.others.push(class);
}

fn csi_node<'w>(world: &'w mut World, name: &str) -> &'w mut Value {
    let known = |other: &Value| other["kind"] == "CSINode" && other["metadata"]["name"] == name;
    if let Some(position) = world.others.iter().position(known) {
        return &mut world.others[position];
    }
    world.others.push(json!({
        "apiVersion": "storage.k8s.io/v1", "kind": "CSINode",
        "metadata": {"name": name}, "spec": {"drivers": []},
    }));
    last(world)
}

/// A claim that only one pod may use, and perhaps another pod that uses one of that name.
pub(super) fn once(world: &mut World, pod: usize, draw: &mut Draw) {
    draw.aim(Edge::OncePod);
    let claim = bound(world, pod, draw);
    if draw.percent(85) {
        claim["spec"]["accessModes"] = json!(["ReadWriteOncePod"]);
    }
    let name = text(claim, "/metadata/name").to_owned();
    let namespace = text(&world.pending[pod], "/metadata/namespace").to_owned();
    if world.running.is_empty() || draw.percent(35) {
        return;
    }
    let chosen = draw.below(world.running.len());
    let other = &mut world.running[chosen];
    if draw.percent(75) {
        other["metadata"]["namespace"] = json!(namespace);
    }
    mount_claim(other, &name);
}
