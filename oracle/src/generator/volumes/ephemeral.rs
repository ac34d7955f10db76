//! Volumes that live as long as their pod.

use serde_json::json;

use super::{
    super::{
        Edge,
        draw::{Draw, text},
        frame::{World, ZONE, mount},
    },
    GIB, bind, class, put_claim, volume, volume_affinity,
};

/// One of the pods.
#[derive(Clone, Copy)]
pub(super) enum Pod {
    Running(usize),
    Pending(usize),
}

/// A volume that lives as long as its pod, with the claim that its controller made, or did not yet.
pub(super) fn add(world: &mut World, pod: Pod, draw: &mut Draw) {
    draw.aim(Edge::Ephemeral);
    world.claims += 1;
    let class_name = draw.one(&["wait", "wait", "zonal", "now"]);
    class(world, class_name, draw);
    let size = format!("{}Gi", world.claims);
    let object = match pod {
        Pod::Running(index) => &mut world.running[index],
        Pod::Pending(index) => &mut world.pending[index],
    };
    let number = object["spec"]["volumes"].as_array().map_or(0, Vec::len);
    let pod_name = text(object, "/metadata/name").to_owned();
    let name = format!("{pod_name}-v{number}");
    let namespace = text(object, "/metadata/namespace").to_owned();
    let uid = format!("u-{pod_name}");
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
        if draw.percent(30) {
            // Nobody looks at it: zones are asked for claims that are named only.
            bound["metadata"]["labels"][ZONE] = json!("a");
        }
        world.others.push(bound);
    }
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
