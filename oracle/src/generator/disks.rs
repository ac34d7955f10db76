//! Inline disks that only one pod, or only readers, may use on a node; and claims for one pod only.

use serde_json::{Value, json};

use super::{
    Edge,
    draw::Draw,
    frame::{World, mount},
    volumes,
};

pub(super) fn add(world: &mut World, draw: &mut Draw) {
    let kinds = draw.some(&["ebs", "gce", "iscsi", "rbd"], 40);
    for pod in world.pods() {
        for kind in &kinds {
            if draw.percent(70) {
                disk(pod, kind, draw);
            }
        }
    }
    for index in 0..world.pending.len() {
        if draw.percent(40) {
            volumes::once(world, index, draw);
        }
    }
}

fn disk(pod: &mut Value, kind: &str, draw: &mut Draw) {
    let (source, mut disk) = match kind {
        "ebs" => {
            draw.aim(Edge::DiskEbs);
            let id = draw.one(&["vol-1", "vol-2"]);
            ("awsElasticBlockStore", json!({"volumeID": id}))
        }
        "gce" => {
            draw.aim(Edge::DiskReaders);
            let name = draw.one(&["disk-1", "disk-2"]);
            ("gcePersistentDisk", json!({"pdName": name}))
        }
        "iscsi" => {
            draw.aim(Edge::DiskReaders);
            let name = draw.one(&["iqn.2026-01.io.x:1", "iqn.2026-01.io.x:2"]);
            let portal = draw.one(&["10.0.0.1", "10.0.0.2"]);
            let lun = draw.one(&[0, 1]);
            (
                "iscsi",
                json!({"targetPortal": portal, "iqn": name, "lun": lun}),
            )
        }
        _ => {
            draw.aim(Edge::DiskReaders);
            let monitors = draw.some(&["m1", "m2", "m3"], 40);
            let mut disk = json!({"monitors": monitors, "image": draw.one(&["i1", "i1", "i2"])});
            // The pool is "rbd" where none is named.
            match draw.below(4) {
                0 => disk["pool"] = json!("rbd"),
                1 => disk["pool"] = json!("p2"),
                _ => {}
            }
            ("rbd", disk)
        }
    };
    if draw.percent(55) {
        disk["readOnly"] = json!(true);
    }
    mount(pod, source, disk);
}
