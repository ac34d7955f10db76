//! Claims and volumes: bound, waiting, lost; zones; how many a node may attach.

use serde_json::{Value, json};

use super::{
    Edge,
    draw::{Draw, push, text},
    frame::{BETA_REGION, BETA_ZONE, HOSTNAME, REGION, World, ZONE, mount},
};

const DRIVER: &str = "csi.a.io";
pub(super) const EBS: &str = "ebs.csi.aws.com";
const EBS_IN_TREE: &str = "kubernetes.io/aws-ebs";
const GIB: u64 = 1 << 30;

// === Binding ===

pub(super) fn binding(world: &mut World, draw: &mut Draw) {
    migrated(world, draw);
    for index in 0..world.pending.len() {
        if draw.percent(10) {
            continue;
        }
        match draw.below(50) {
            0..=10 => bound_somewhere(world, index, draw),
            11..=13 => bound_by_halves(world, index, draw),
            14 | 15 => {
                draw.aim(Edge::ClaimMissing);
                mount_claim(&mut world.pending[index], "missing");
            }
            16 | 17 => lost(world, index, draw),
            18 | 19 => {
                draw.aim(Edge::ClaimDeleted);
                let claim = bound(world, index, draw);
                claim["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
            }
            20 | 21 => classless(world, index, draw),
            22 | 23 => {
                draw.aim(Edge::Immediate);
                let class = draw.one(&["now", "usual"]);
                waiting(world, index, class, draw);
            }
            24..=33 => free_volumes(world, index, draw),
            34..=38 => {
                draw.aim(Edge::AllowedTopologies);
                waiting(world, index, "zonal", draw);
            }
            39..=41 => {
                draw.aim(Edge::SelectedNode);
                let class = draw.one(&["wait", "wait", "zonal", "local"]);
                let name = format!("n{}", 1 + draw.below(world.nodes.len()));
                let claim = waiting(world, index, class, draw);
                claim["metadata"]["annotations"]["volume.kubernetes.io/selected-node"] =
                    json!(name);
                if class == "local" {
                    // Not looked at, though it would do.
                    volume_for_last_claim(world, "local", draw);
                }
            }
            42..=46 => capacity(world, index, draw),
            _ => ephemeral(world, index, draw),
        }
    }
}

/// Nodes whose plugin for EBS has moved to CSI.
fn migrated(world: &mut World, draw: &Draw) {
    if !draw.percent(15) {
        return;
    }
    for name in world.names() {
        if draw.percent(50) {
            let node = csi_node(world, &name);
            node["metadata"]["annotations"]["storage.alpha.kubernetes.io/migrated-plugins"] =
                json!("kubernetes.io/aws-ebs,kubernetes.io/gce-pd");
        }
    }
    for node in &mut world.nodes {
        if draw.percent(40) {
            node["metadata"]["labels"]["topology.ebs.csi.aws.com/zone"] =
                json!(draw.one(&["a", "b"]));
        }
    }
}

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
    if draw.percent(20) {
        terms.push(json!({"matchExpressions": [
            {"key": "rack", "operator": "In", "values": ["r1"]}, {"key": "disk", "operator": "Exists"},
        ]}));
    }
    json!({"required": {"nodeSelectorTerms": terms}})
}

fn bound_somewhere(world: &mut World, pod: usize, draw: &mut Draw) {
    draw.aim(Edge::BoundAffinity);
    let names = world.names();
    bound(world, pod, draw);
    let before = world.others.len() - 2;
    let volume = &mut world.others[before];
    if draw.percent(90) {
        volume["spec"]["nodeAffinity"] = volume_affinity(&names, draw);
    }
    if draw.percent(25) {
        draw.aim(Edge::MigratedTopology);
        if let Some(spec) = volume["spec"].as_object_mut() {
            spec.remove("csi");
        }
        volume["spec"]["awsElasticBlockStore"] = json!({"volumeID": format!("vol-{pod}")});
        let key = draw.one(&[ZONE, ZONE, BETA_ZONE]);
        volume["spec"]["nodeAffinity"] = json!({"required": {"nodeSelectorTerms": [
            {"matchExpressions": [{"key": key, "operator": "In", "values": [draw.one(&["a", "b"])]}]},
        ]}});
    }
}

/// `volumeName` without the annotation, or the annotation alone.
fn bound_by_halves(world: &mut World, pod: usize, draw: &mut Draw) {
    draw.aim(Edge::BoundAnnotation);
    let claim = bound(world, pod, draw);
    if draw.percent(65) {
        if let Some(metadata) = claim["metadata"].as_object_mut() {
            metadata.remove("annotations");
        }
        if draw.percent(50) {
            claim["status"]["phase"] = json!("Pending");
        }
    } else {
        if let Some(spec) = claim["spec"].as_object_mut() {
            spec.remove("volumeName");
        }
        claim["status"]["phase"] = json!("Pending");
        class(world, "wait", draw);
    }
}

fn lost(world: &mut World, pod: usize, draw: &mut Draw) {
    draw.aim(Edge::ClaimLost);
    let phase = draw.one(&["Lost", "Lost", "Bound"]);
    let claim = bound(world, pod, draw);
    claim["status"]["phase"] = json!(phase);
    if draw.percent(85) {
        // The volume that stands before the claim.
        let before = world.others.len() - 2;
        world.others.remove(before);
    }
}

fn classless(world: &mut World, pod: usize, draw: &mut Draw) {
    draw.aim(Edge::ClassMissing);
    match draw.below(4) {
        0 => {
            claim(world, pod, Some(""));
        }
        1 => {
            claim(world, pod, None);
        }
        2 => {
            // The class in the annotation of old goes first.
            let claim = claim(world, pod, None);
            claim["metadata"]["annotations"]["volume.beta.kubernetes.io/storage-class"] =
                json!("wait");
            class(world, "wait", draw);
        }
        _ => {
            claim(world, pod, Some("missing"));
        }
    }
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
        "ebs" => EBS_IN_TREE,
        _ => DRIVER,
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

/// One claim or two of a class without provisioner, and volumes that just do, or just do not.
fn free_volumes(world: &mut World, pod: usize, draw: &mut Draw) {
    draw.aim(Edge::Static);
    let claims = draw.one(&[1, 1, 2]);
    if claims == 2 {
        draw.aim(Edge::StaticSeveral);
    }
    let class = draw.one(&["local", "local", "local", "wait", "zonal"]);
    for _ in 0..claims {
        waiting(world, pod, class, draw);
        volume_for_last_claim(world, class, draw);
    }
}

/// A volume for the claim that was made last, with at most one thing wrong.
fn volume_for_last_claim(world: &mut World, class: &str, draw: &mut Draw) {
    let names = world.names();
    let number = world.claims as u64;
    let name = format!("v{number}");
    // No two volumes are of one size.
    let size = match draw.below(10) {
        0 | 1 => number * GIB - 1,
        2 => number * GIB + GIB / 2,
        _ => number * GIB,
    };
    let mut volume = volume(&name, size, class, "Available");
    if draw.percent(60) {
        volume["spec"]["nodeAffinity"] = volume_affinity(&names, draw);
    }
    let claim = last(world);
    let claimed = json!({
        "namespace": claim["metadata"]["namespace"], "name": claim["metadata"]["name"],
    });
    match draw.below(22) {
        0 => volume["spec"]["accessModes"] = json!(["ReadOnlyMany"]),
        1 => volume["spec"]["accessModes"] = json!(["ReadWriteMany", "ReadWriteOnce"]),
        2 => claim["spec"]["accessModes"] = json!(["ReadWriteOnce", "ReadOnlyMany"]),
        3 => volume["spec"]["storageClassName"] = json!("other"),
        4 => volume["spec"]["volumeMode"] = json!("Block"),
        5 => claim["spec"]["volumeMode"] = json!("Block"),
        6 => {
            claim["spec"]["selector"] = json!({"matchLabels": {"kind": "fast"}});
            volume["metadata"]["labels"]["kind"] = json!(draw.one(&["fast", "slow"]));
        }
        7 => volume["status"]["phase"] = json!(draw.one(&["Pending", "Released", "Bound"])),
        8 => volume["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z"),
        9 => volume["spec"]["volumeAttributesClassName"] = json!("gold"),
        10 => {
            claim["spec"]["volumeAttributesClassName"] = json!("gold");
            if draw.percent(50) {
                volume["spec"]["volumeAttributesClassName"] = json!("gold");
            }
        }
        11..=15 => {
            draw.aim(Edge::Prebound);
            volume["spec"]["claimRef"] = claimed;
            match draw.below(6) {
                0 => volume["spec"]["claimRef"]["name"] = json!("other"),
                1 => volume["spec"]["claimRef"]["namespace"] = json!("c"),
                2 => {
                    claim["metadata"]["uid"] = json!("u1");
                    volume["spec"]["claimRef"]["uid"] = json!(draw.one(&["u1", "u2"]));
                }
                // Neither phase nor class nor modes of a volume reserved for it matter.
                3 => volume["status"]["phase"] = json!("Released"),
                4 => volume["spec"]["accessModes"] = json!(["ReadOnlyMany"]),
                _ => {}
            }
        }
        _ => {}
    }
    let before = world.others.len() - 1;
    world.others.insert(before, volume);
}

/// A driver that publishes what it has left.
fn capacity(world: &mut World, pod: usize, draw: &mut Draw) {
    draw.aim(Edge::Capacity);
    waiting(world, pod, "tracked", draw);
    let size = world.claims as u64 * GIB;
    let known = |other: &Value| other["kind"] == "CSIDriver";
    if !world.others.iter().any(known) && draw.percent(90) {
        let mut driver = json!({
            "apiVersion": "storage.k8s.io/v1", "kind": "CSIDriver",
            "metadata": {"name": "csi.c.io"}, "spec": {"storageCapacity": true},
        });
        match draw.below(20) {
            0 => driver["spec"] = json!({"storageCapacity": false}),
            1 => driver["spec"] = json!({}),
            _ => {}
        }
        world.others.push(driver);
    }
    for number in 0..draw.one(&[0, 1, 1, 2, 2]) {
        let bytes = draw.one(&[size, size, size - 1, size * 2]);
        let mut capacity = json!({
            "apiVersion": "storage.k8s.io/v1", "kind": "CSIStorageCapacity",
            "metadata": {"name": format!("s{}-{number}", world.claims), "namespace": "kube-system"},
            "storageClassName": if draw.percent(90) { "tracked" } else { "other" },
        });
        if draw.percent(90) {
            capacity["capacity"] = json!(bytes.to_string());
        }
        if draw.percent(30) {
            capacity["maximumVolumeSize"] = json!(draw.one(&[size, size - 1, size]).to_string());
        }
        match draw.below(8) {
            0 => {}
            1 | 2 => capacity["nodeTopology"] = json!({}),
            3 => {
                capacity["nodeTopology"] = json!({"matchExpressions": [{"key": ZONE, "operator": "In", "values": ["a", "b"]}]});
            }
            _ => capacity["nodeTopology"]["matchLabels"][ZONE] = json!(draw.one(&["a", "b"])),
        }
        world.others.push(capacity);
    }
}

/// A volume that lives as long as its pod, with the claim that its controller made, or did not yet.
fn ephemeral(world: &mut World, pod: usize, draw: &mut Draw) {
    draw.aim(Edge::Ephemeral);
    world.claims += 1;
    let class_name = draw.one(&["wait", "wait", "zonal", "now"]);
    class(world, class_name, draw);
    let size = format!("{}Gi", world.claims);
    let object = &mut world.pending[pod];
    let number = object["spec"]["volumes"].as_array().map_or(0, Vec::len);
    let name = format!("{}-v{number}", text(object, "/metadata/name"));
    let namespace = text(object, "/metadata/namespace").to_owned();
    let uid = format!("u-{pod}");
    object["metadata"]["uid"] = json!(uid);
    mount(
        object,
        "ephemeral",
        json!({"volumeClaimTemplate": {"spec": {
            "accessModes": ["ReadWriteOnce"], "storageClassName": class_name,
            "resources": {"requests": {"storage": size}},
        }}}),
    );
    if draw.percent(20) {
        return;
    }
    let owner = draw.one(&[true, true, true, false]);
    let bind_it = draw.percent(30);
    let volume_number = world.claims as u64;
    if bind_it {
        let name = format!("v{volume_number}");
        let mut bound = volume(&name, volume_number * GIB, class_name, "Bound");
        bound["spec"]["nodeAffinity"] = volume_affinity(&world.names(), draw);
        world.others.push(bound);
    }
    let pod_name = text(&world.pending[pod], "/metadata/name").to_owned();
    let claim = put_claim(world, &namespace, &name, Some(class_name));
    if owner || draw.percent(50) {
        let uid = if owner { uid } else { "u-other".to_owned() };
        claim["metadata"]["ownerReferences"] = json!([{
            "apiVersion": "v1", "kind": "Pod", "name": pod_name, "uid": uid, "controller": true,
        }]);
    }
    if bind_it {
        bind(claim, &format!("v{volume_number}"), draw);
    }
}

// === Zones ===

pub(super) fn zones(world: &mut World, draw: &mut Draw) {
    for node in &mut world.nodes {
        let Some(labels) = node["metadata"]["labels"].as_object_mut() else {
            continue;
        };
        if draw.percent(30) {
            labels.remove(ZONE);
        }
        for (key, share) in [(REGION, 35), (BETA_ZONE, 25), (BETA_REGION, 10)] {
            if draw.percent(share) {
                labels.insert(key.to_owned(), json!(draw.one(&["a", "b"])));
            }
        }
    }
    for index in 0..world.pending.len() {
        if draw.percent(15) {
            continue;
        }
        draw.aim(Edge::ZoneKeys);
        for _ in 0..draw.one(&[1, 1, 2]) {
            bound(world, index, draw);
            let before = world.others.len() - 2;
            let labels = &mut world.others[before]["metadata"]["labels"];
            let value = match draw.below(5) {
                0 => {
                    draw.aim(Edge::ZoneList);
                    "a__b"
                }
                1 => {
                    draw.aim(Edge::ZoneList);
                    draw.one(&["b__c", "a____b", "c__a"])
                }
                _ => draw.one(&["a", "b"]),
            };
            match draw.below(8) {
                0 | 1 => labels[REGION] = json!(value),
                2 | 3 => {
                    draw.aim(Edge::ZoneBeta);
                    labels[draw.one(&[BETA_ZONE, BETA_ZONE, BETA_REGION])] = json!(value);
                }
                4 => {
                    labels[ZONE] = json!(value);
                    labels[REGION] = json!(draw.one(&["a", "b"]));
                }
                _ => labels[ZONE] = json!(value),
            }
        }
    }
}

// === Attach limits ===

pub(super) fn limits(world: &mut World, draw: &mut Draw) {
    draw.aim(Edge::LimitAbsent);
    for name in world.names() {
        if draw.percent(15) {
            continue;
        }
        let counts = [draw.one(&[0, 1, 1, 2, 2, 3]), draw.one(&[0, 1, 1, 2])];
        let node = csi_node(world, &name);
        for (driver, count) in [DRIVER, EBS].into_iter().zip(counts) {
            if draw.percent(15) {
                continue;
            }
            let mut entry = json!({"name": driver, "nodeID": name, "topologyKeys": []});
            match draw.below(10) {
                0 => {}
                1 => entry["allocatable"] = json!({}),
                _ => entry["allocatable"] = json!({"count": count}),
            }
            push(&mut node["spec"]["drivers"], entry);
        }
    }
    shared_claims(world, draw);
    let namespaces = ["a", "b"];
    for pod in world.running.iter_mut().chain(&mut world.pending) {
        if draw.percent(25) || !namespaces.contains(&text(pod, "/metadata/namespace")) {
            continue;
        }
        for name in draw.some(&["h1", "h2", "h3", "h4", "h5"], 25) {
            mount_claim(pod, name);
        }
    }
    for index in 0..world.pending.len() {
        if draw.percent(20) {
            draw.aim(Edge::LimitUnprovisioned);
            let class = draw.one(&["wait", "ebs", "now"]);
            waiting(world, index, class, draw);
        }
        if draw.percent(12) {
            draw.aim(Edge::LimitInTree);
            let id = draw.one(&["vol-1", "vol-2"]);
            mount(
                &mut world.pending[index],
                "awsElasticBlockStore",
                json!({"volumeID": id}),
            );
        }
    }
    attachments(world, draw);
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

/// Claims h1 to h5 in both namespaces: volumes of the driver, some with one handle; two in-tree.
fn shared_claims(world: &mut World, draw: &mut Draw) {
    draw.aim(Edge::LimitShared);
    draw.aim(Edge::LimitInTree);
    let used: Vec<&str> = ["a", "b"]
        .into_iter()
        .filter(|namespace| {
            world
                .running
                .iter()
                .chain(&world.pending)
                .any(|pod| text(pod, "/metadata/namespace") == *namespace)
        })
        .collect();
    for number in 1..=5 {
        for namespace in &used {
            if draw.percent(4) {
                continue;
            }
            world.claims += 1;
            let name = format!("v-{namespace}{number}");
            let mut volume = volume(&name, world.claims as u64 * GIB, "wait", "Bound");
            if number < 4 {
                volume["spec"]["csi"]["volumeHandle"] = json!(format!("handle-{number}"));
            } else {
                if let Some(spec) = volume["spec"].as_object_mut() {
                    spec.remove("csi");
                }
                let id = draw.one(&["vol-1", "vol-2", "aws://a/vol-1"]);
                volume["spec"]["awsElasticBlockStore"] = json!({"volumeID": id});
            }
            if draw.percent(95) {
                world.others.push(volume);
            }
            let claim = put_claim(world, namespace, &format!("h{number}"), Some("wait"));
            bind(claim, &name, draw);
        }
    }
    if draw.percent(80) {
        class(world, "wait", draw);
    }
}

/// Attachments that pods account for, and some that none does.
fn attachments(world: &mut World, draw: &Draw) {
    let volumes: Vec<(String, bool)> = world
        .others
        .iter()
        .filter(|other| other["kind"] == "PersistentVolume")
        .map(|volume| {
            let name = text(volume, "/metadata/name").to_owned();
            (name, volume["spec"]["csi"].is_null())
        })
        .collect();
    if volumes.is_empty() {
        return;
    }
    for number in 0..draw.one(&[0, 1, 1, 2, 3]) {
        let (volume, in_tree) = &volumes[draw.below(volumes.len())];
        let attacher = match (in_tree, draw.percent(90)) {
            (false, true) => DRIVER,
            _ => EBS,
        };
        let node = format!("n{}", 1 + draw.below(world.nodes.len()));
        world.others.push(json!({
            "apiVersion": "storage.k8s.io/v1", "kind": "VolumeAttachment",
            "metadata": {"name": format!("a{number}")},
            "spec": {
                "attacher": attacher, "nodeName": node, "source": {"persistentVolumeName": volume},
            },
            "status": {"attached": draw.percent(70)},
        }));
    }
}

// === For one pod only ===

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
