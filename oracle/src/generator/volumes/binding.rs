//! Claims in every state: bound, bound by halves, lost, waiting for a volume or for capacity.

use serde_json::{Value, json};

use super::{
    super::{
        Edge,
        draw::{Draw, text},
        frame::{BETA_ZONE, World, ZONE},
    },
    GIB, bound, claim, class, csi_node,
    ephemeral::{self, Pod},
    last, mount_claim, volume, volume_affinity, waiting,
};

pub(in super::super) fn add(world: &mut World, draw: &mut Draw) {
    for index in 0..world.pending.len() {
        if draw.percent(5) {
            continue;
        }
        match draw.below(64) {
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
            24..=42 => free_volumes(world, index, draw),
            43..=46 => {
                draw.aim(Edge::AllowedTopologies);
                waiting(world, index, "zonal", draw);
            }
            47..=50 => {
                draw.aim(Edge::SelectedNode);
                let class = draw.one(&["wait", "zonal", "local", "local"]);
                let name = format!("n{}", 1 + draw.below(world.nodes.len()));
                let claim = waiting(world, index, class, draw);
                claim["metadata"]["annotations"]["volume.kubernetes.io/selected-node"] =
                    json!(name);
                if class == "local" {
                    // Not looked at, though it would do.
                    volume_for_last_claim(world, "local", true, draw);
                }
            }
            51..=60 => capacity(world, index, draw),
            _ => ephemeral::add(world, Pod::Pending(index), draw),
        }
        if draw.percent(4) {
            mounted_twice(&mut world.pending[index]);
        }
    }
    migrated(world, draw);
}

/// The claim that the pod mounts last, once more: waiting, it asks for a volume each time.
fn mounted_twice(pod: &mut Value) {
    let last = pod["spec"]["volumes"]
        .as_array()
        .and_then(|volumes| volumes.last());
    let claim = last.map(|volume| text(volume, "/persistentVolumeClaim/claimName").to_owned());
    if let Some(claim) = claim
        && !claim.is_empty()
    {
        mount_claim(pod, &claim);
    }
}

/// Nodes whose plugin for EBS has moved to CSI, where a volume is of it.
fn migrated(world: &mut World, draw: &Draw) {
    let of_ebs = |other: &Value| other["spec"]["awsElasticBlockStore"].is_object();
    if !world.others.iter().any(of_ebs) || draw.percent(20) {
        return;
    }
    for name in world.names() {
        if draw.percent(60) {
            let node = csi_node(world, &name);
            node["metadata"]["annotations"]["storage.alpha.kubernetes.io/migrated-plugins"] =
                json!("kubernetes.io/aws-ebs,kubernetes.io/gce-pd");
        }
    }
    for node in &mut world.nodes {
        if draw.percent(65) {
            node["metadata"]["labels"]["topology.ebs.csi.aws.com/zone"] =
                json!(draw.one(&["a", "b"]));
        }
    }
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
    if draw.percent(30) {
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
    if phase == "Bound" || draw.percent(40) {
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

/// One claim or two of a class without provisioner, and volumes that just do, or just do not.
fn free_volumes(world: &mut World, pod: usize, draw: &mut Draw) {
    draw.aim(Edge::Static);
    let claims = draw.one(&[1, 1, 2, 2]);
    if claims == 2 {
        draw.aim(Edge::StaticSeveral);
        if draw.percent(35) {
            contested(world, pod, draw);
            return;
        }
    }
    let class = draw.one(&["local", "local", "local", "wait", "zonal"]);
    for _ in 0..claims {
        waiting(world, pod, class, draw);
        // With two, mostly nothing is wrong but for who gets which.
        let spoil = claims == 1 || draw.percent(40);
        volume_for_last_claim(world, class, spoil, draw);
    }
}

/// Two claims and two volumes: the smaller claim takes the smaller volume, be it the only one that the
/// larger could have.
fn contested(world: &mut World, pod: usize, draw: &mut Draw) {
    draw.aim(Edge::StaticOrder);
    waiting(world, pod, "local", draw);
    waiting(world, pod, "local", draw);
    let number = world.claims as u64;
    let size = number * GIB;
    // The smaller of the two volumes is mostly the one that both want.
    let other_size = size + draw.one(&[GIB / 4, GIB / 4, GIB / 4, 0]) - GIB / 8;
    let mut wanted = volume(&format!("v{}", number - 1), size, "local", "Available");
    let other = volume(&format!("v{number}"), other_size, "local", "Available");
    let claim = last(world);
    if draw.percent(50) {
        claim["spec"]["selector"] = json!({"matchLabels": {"kind": "fast"}});
        wanted["metadata"]["labels"]["kind"] = json!("fast");
    } else {
        let modes = json!(["ReadWriteOnce", "ReadOnlyMany"]);
        claim["spec"]["accessModes"] = modes.clone();
        wanted["spec"]["accessModes"] = modes;
    }
    if draw.percent(25) {
        wanted["spec"]["nodeAffinity"] = volume_affinity(&world.names(), draw);
    }
    world.others.extend([wanted, other]);
    if draw.percent(50)
        && let Some(mounts) = world.pending[pod]["spec"]["volumes"].as_array_mut()
    {
        mounts.reverse();
    }
}

/// A volume for the claim that was made last, with at most one thing wrong.
fn volume_for_last_claim(world: &mut World, class: &str, spoil: bool, draw: &mut Draw) {
    let names = world.names();
    let number = world.claims as u64;
    let claim = last(world);
    // No two volumes are of one size.
    let size = number * GIB;
    let mut volume = volume(&format!("v{number}"), size, class, "Available");
    if draw.percent(25) {
        volume["spec"]["nodeAffinity"] = volume_affinity(&names, draw);
    }
    match if spoil { draw.below(32) } else { 99 } {
        99 => {}
        0 | 1 => volume["spec"]["capacity"]["storage"] = json!((size - 1).to_string()),
        2 => volume["spec"]["capacity"]["storage"] = json!((size + GIB / 2).to_string()),
        3 => volume["spec"]["accessModes"] = json!(["ReadOnlyMany"]),
        4 => volume["spec"]["accessModes"] = json!(["ReadWriteMany", "ReadWriteOnce"]),
        5 => claim["spec"]["accessModes"] = json!(["ReadWriteOnce", "ReadOnlyMany"]),
        6 => volume["spec"]["storageClassName"] = json!("other"),
        7 => volume["spec"]["volumeMode"] = json!("Block"),
        8 => claim["spec"]["volumeMode"] = json!("Block"),
        9 | 10 => {
            claim["spec"]["selector"] = json!({"matchLabels": {"kind": "fast"}});
            volume["metadata"]["labels"]["kind"] = json!(draw.one(&["fast", "slow", "slow"]));
        }
        11 | 12 => volume["status"]["phase"] = json!(draw.one(&["Pending", "Released", "Bound"])),
        13 | 14 => volume["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z"),
        15 => volume["spec"]["volumeAttributesClassName"] = json!("gold"),
        16 => {
            claim["spec"]["volumeAttributesClassName"] = json!("gold");
            if draw.percent(50) {
                volume["spec"]["volumeAttributesClassName"] = json!("gold");
            }
        }
        17..=26 => {
            draw.aim(Edge::Prebound);
            prebind(claim, &mut volume, draw);
            if volume["spec"]["nodeAffinity"].is_null() && draw.percent(35) {
                volume["spec"]["nodeAffinity"] = volume_affinity(&names, draw);
            }
        }
        _ => {
            if volume["spec"]["nodeAffinity"].is_null() {
                volume["spec"]["nodeAffinity"] = volume_affinity(&names, draw);
            }
        }
    }
    let before = world.others.len() - 1;
    world.others.insert(before, volume);
}

/// Reserves the volume for the claim, or for one that is nearly it.
fn prebind(claim: &mut Value, volume: &mut Value, draw: &Draw) {
    let metadata = &claim["metadata"];
    volume["spec"]["claimRef"] =
        json!({"namespace": metadata["namespace"], "name": metadata["name"]});
    match draw.below(9) {
        0 | 1 => volume["spec"]["claimRef"]["name"] = json!("other"),
        2 | 3 => volume["spec"]["claimRef"]["namespace"] = json!("c"),
        4 | 5 => {
            claim["metadata"]["uid"] = json!("u1");
            volume["spec"]["claimRef"]["uid"] = json!(draw.one(&["u1", "u2", "u2"]));
        }
        // Neither phase nor class nor modes of a volume reserved for it matter.
        6 => volume["status"]["phase"] = json!("Released"),
        7 => volume["spec"]["accessModes"] = json!(["ReadOnlyMany"]),
        _ => {}
    }
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
        let limit = if bytes < size { size } else { size - 1 };
        let mut capacity = json!({
            "apiVersion": "storage.k8s.io/v1", "kind": "CSIStorageCapacity",
            "metadata": {"name": format!("s{}-{number}", world.claims), "namespace": "kube-system"},
            "storageClassName": if draw.percent(78) { "tracked" } else { "other" },
        });
        if draw.percent(90) {
            capacity["capacity"] = json!(bytes.to_string());
        }
        if draw.percent(45) {
            capacity["maximumVolumeSize"] = json!(draw.one(&[limit, limit, size]).to_string());
        }
        match draw.below(8) {
            0 | 1 => {}
            2 => capacity["nodeTopology"] = json!({}),
            3 => {
                capacity["nodeTopology"] = json!({"matchExpressions": [{"key": ZONE, "operator": "In", "values": ["a", "b"]}]});
            }
            _ => capacity["nodeTopology"]["matchLabels"][ZONE] = json!(draw.one(&["a", "b"])),
        }
        world.others.push(capacity);
    }
}
