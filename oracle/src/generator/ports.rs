//! Host ports: few numbers, several addresses and protocols, on containers of all kinds.

use serde_json::{Value, json};

use super::{
    Edge,
    draw::{Draw, push},
    frame::World,
};

pub(super) fn add(world: &mut World, draw: &mut Draw) {
    for pod in world.pods() {
        if draw.percent(12) {
            continue;
        }
        let network = draw.percent(20);
        if network {
            draw.aim(Edge::PortHostNetwork);
            pod["spec"]["hostNetwork"] = json!(true);
        }
        let mut taken = Vec::new();
        for _ in 0..draw.one(&[1, 2, 2, 3]) {
            let port = port(network, &mut taken, draw);
            if let Some(port) = port {
                place(pod, port, draw);
            }
        }
    }
}

/// A port that the pod does not name yet: an API server takes none twice.
fn port(network: bool, taken: &mut Vec<(u16, &str, &str)>, draw: &mut Draw) -> Option<Value> {
    let number = draw.one(&[80_u16, 80, 80, 81]);
    let protocol = draw.one(&["TCP", "TCP", "TCP", "UDP", "SCTP"]);
    let address = draw.one(&[
        "", "", "", "0.0.0.0", "0.0.0.0", "10.0.0.1", "10.0.0.1", "10.0.0.2", "::",
    ]);
    if taken
        .iter()
        .any(|(other, kind, _)| (*other, *kind) == (number, protocol))
    {
        return None;
    }
    taken.push((number, protocol, address));
    let mut port = json!({"containerPort": number});
    if network {
        if draw.percent(50) {
            port["hostPort"] = json!(number);
        }
    } else if draw.percent(92) {
        port["hostPort"] = json!(number);
        if draw.percent(30) {
            port["containerPort"] = json!(8080);
        }
    }
    if protocol != "TCP" || draw.percent(60) {
        port["protocol"] = json!(protocol);
    }
    draw.aim(Edge::PortProtocol);
    if !address.is_empty() {
        draw.aim(Edge::PortAddress);
        port["hostIP"] = json!(address);
    }
    Some(port)
}

fn place(pod: &mut Value, port: Value, draw: &mut Draw) {
    let number = pod["spec"]["initContainers"].as_array().map_or(0, Vec::len);
    match draw.below(10) {
        0 | 1 => {
            draw.aim(Edge::PortInit);
            let container = json!({"name": format!("i{number}"), "image": "i", "ports": [port]});
            push(&mut pod["spec"]["initContainers"], container);
        }
        2 | 3 => {
            draw.aim(Edge::PortInit);
            let container = json!({
                "name": format!("i{number}"), "image": "i", "restartPolicy": "Always", "ports": [port],
            });
            push(&mut pod["spec"]["initContainers"], container);
        }
        _ => push(&mut pod["spec"]["containers"][0]["ports"], port),
    }
}
