//! How many volumes a node may attach, and who has attached what.

use serde_json::json;

use super::{
    super::{
        Edge,
        draw::{Draw, push, text},
        frame::{World, mount},
    },
    DRIVER, EBS, GIB, bind, class, csi_node,
    ephemeral::{self, Pod},
    in_tree::{IN_TREE, InTree},
    mount_claim, put_claim, volume, waiting,
};

pub(in super::super) fn add(world: &mut World, draw: &mut Draw) {
    draw.aim(Edge::LimitAbsent);
    let in_tree = if draw.percent(60) {
        IN_TREE[0]
    } else {
        draw.one(&IN_TREE)
    };
    for name in world.names() {
        if draw.percent(15) {
            continue;
        }
        let counts = [draw.one(&[0, 1, 1, 2, 2, 3]), draw.one(&[0, 1, 1, 2])];
        let node = csi_node(world, &name);
        for (driver, count) in [DRIVER, in_tree.driver].into_iter().zip(counts) {
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
    shared_claims(world, in_tree, draw);
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
            let (_, old) = in_tree.provisioner.split_at("kubernetes.io/".len());
            let class = draw.one(&["wait", old, "now"]);
            waiting(world, index, class, draw);
        }
        if draw.percent(12) {
            draw.aim(Edge::LimitInTree);
            let id = draw.one(&["vol-1", "vol-2"]);
            mount(
                &mut world.pending[index],
                in_tree.source,
                in_tree.volume(id),
            );
        }
        if draw.percent(8) {
            ephemeral::add(world, Pod::Pending(index), draw);
        }
    }
    for index in 0..world.running.len() {
        if draw.percent(8) {
            draw.aim(Edge::LimitInTree);
            let id = draw.one(&["vol-1", "vol-2"]);
            mount(
                &mut world.running[index],
                in_tree.source,
                in_tree.volume(id),
            );
        }
        if draw.percent(8) {
            ephemeral::add(world, Pod::Running(index), draw);
        }
    }
    attachments(world, in_tree.driver, draw);
}

/// Claims h1 to h5 in both namespaces: volumes of the driver, some with one handle; two in-tree.
fn shared_claims(world: &mut World, in_tree: InTree, draw: &mut Draw) {
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
                let id = match in_tree.driver {
                    EBS => draw.one(&["vol-1", "vol-2", "aws://a/vol-1"]),
                    _ => draw.one(&["vol-1", "vol-2"]),
                };
                volume["spec"][in_tree.source] = in_tree.volume(id);
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
fn attachments(world: &mut World, in_tree: &str, draw: &Draw) {
    let used = used(world);
    let volumes: Vec<String> = world
        .others
        .iter()
        .filter(|other| other["kind"] == "PersistentVolume")
        .map(|volume| text(volume, "/metadata/name").to_owned())
        .collect();
    if volumes.is_empty() {
        return;
    }
    let mut known = Vec::new();
    for number in 0..draw.one(&[0, 1, 2, 2, 3, 4]) {
        let (volume, node) = if !used.is_empty() && draw.percent(60) {
            used[draw.below(used.len())].clone()
        } else {
            let node = format!("n{}", 1 + draw.below(world.nodes.len()));
            (volumes[draw.below(volumes.len())].clone(), node)
        };
        if known.contains(&(volume.clone(), node.clone())) {
            continue;
        }
        let attacher = if draw.percent(30) { in_tree } else { DRIVER };
        world.others.push(json!({
            "apiVersion": "storage.k8s.io/v1", "kind": "VolumeAttachment",
            "metadata": {"name": format!("a{number}")},
            "spec": {
                "attacher": attacher, "nodeName": node, "source": {"persistentVolumeName": volume},
            },
            "status": {"attached": draw.percent(70)},
        }));
        known.push((volume, node));
    }
}

/// The volumes that running pods use, and on which node.
fn used(world: &World) -> Vec<(String, String)> {
    let mut used = Vec::new();
    for pod in &world.running {
        for mounted in pod["spec"]["volumes"].as_array().into_iter().flatten() {
            let claim = world.others.iter().find(|other| {
                other["kind"] == "PersistentVolumeClaim"
                    && other["metadata"]["namespace"] == pod["metadata"]["namespace"]
                    && other["metadata"]["name"] == mounted["persistentVolumeClaim"]["claimName"]
            });
            let volume = claim.map_or("", |claim| text(claim, "/spec/volumeName"));
            if !volume.is_empty() {
                used.push((volume.to_owned(), text(pod, "/spec/nodeName").to_owned()));
            }
        }
    }
    used
}
