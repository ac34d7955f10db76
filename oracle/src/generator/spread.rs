//! Topology spread constraints, hard and soft, with every option they have.

use serde_json::{Value, json};

use super::{
    Edge,
    draw::{Draw, push, text},
    frame::{HOSTNAME, World, ZONE},
    nodes,
};

const KEYS: [&str; 16] = [
    ZONE, ZONE, ZONE, ZONE, ZONE, ZONE, HOSTNAME, HOSTNAME, HOSTNAME, HOSTNAME, "rack", "rack",
    "rack", "rack", "disk", "none",
];

pub(super) fn add(world: &mut World, draw: &mut Draw) {
    if draw.percent(75) {
        gather(world, draw);
    }
    let tainted = draw.one(&[0, 30, 50]);
    for node in &mut world.nodes {
        if draw.percent(tainted) {
            nodes::taint(
                node,
                "gpu",
                draw.one(&[
                    "NoSchedule",
                    "NoExecute",
                    "PreferNoSchedule",
                    "PreferNoSchedule",
                ]),
            );
        }
        if draw.percent(12) {
            node["spec"]["unschedulable"] = json!(true);
        }
    }
    for pod in &mut world.pending {
        if draw.percent(45) && pod["spec"]["nodeSelector"].is_null() {
            pod["spec"]["nodeSelector"] = json!({"rack": draw.one(&["r1", "r2"])});
        }
        if draw.percent(20) {
            let toleration = json!({"key": "gpu", "operator": "Exists"});
            push(&mut pod["spec"]["tolerations"], toleration);
        }
        let mut constraints: Vec<Value> = Vec::new();
        for _ in 0..draw.one(&[1, 1, 1, 2, 2, 3]) {
            let constraint = constraint(pod, draw);
            let twice = constraints.iter().any(|other| {
                other["topologyKey"] == constraint["topologyKey"]
                    && other["whenUnsatisfiable"] == constraint["whenUnsatisfiable"]
            });
            if !twice {
                constraints.push(constraint);
            }
        }
        let hard = |constraint: &&Value| constraint["whenUnsatisfiable"] == "DoNotSchedule";
        if constraints.iter().filter(hard).count() > 1 {
            draw.aim(Edge::SpreadSeveral);
        }
        pod["spec"]["topologySpreadConstraints"] = Value::Array(constraints);
    }
}

/// Makes most pods one another's kind and most nodes part of a domain, so that the counts matter.
fn gather(world: &mut World, draw: &Draw) {
    for node in &mut world.nodes {
        let labels = &mut node["metadata"]["labels"];
        for (key, values) in [(ZONE, ["a", "b"]), ("rack", ["r1", "r2"])] {
            if labels[key].is_null() && draw.percent(75) {
                labels[key] = json!(draw.one(&values));
            }
        }
    }
    for pod in world.pods() {
        let metadata = &mut pod["metadata"];
        if draw.percent(80) {
            metadata["namespace"] = json!("a");
        }
        if draw.percent(80) {
            metadata["labels"]["app"] = json!("x");
        }
        if draw.percent(50) {
            metadata["labels"]["rev"] = json!(draw.one(&["1", "2"]));
        }
    }
}

fn constraint(pod: &Value, draw: &mut Draw) -> Value {
    let hard = draw.percent(85);
    let mut constraint = json!({
        "maxSkew": draw.one(&[1, 1, 1, 2, 3]),
        "topologyKey": draw.one(&KEYS),
        "whenUnsatisfiable": if hard { "DoNotSchedule" } else { "ScheduleAnyway" },
    });
    if !hard {
        draw.aim(Edge::SpreadSoft);
    }
    let selector = selector(pod, draw);
    if selector.is_null() {
        if draw.percent(50) {
            constraint["labelSelector"] = Value::Null;
        }
    } else {
        constraint["labelSelector"] = selector;
        if draw.percent(35) {
            match_label_keys(pod, &mut constraint, draw);
        }
    }
    if hard && draw.percent(35) {
        draw.aim(Edge::SpreadMinDomains);
        constraint["minDomains"] = json!(draw.one(&[1, 2, 2, 3, 4]));
    }
    match draw.below(5) {
        0 | 1 => {
            draw.aim(Edge::SpreadAffinityIgnored);
            constraint["nodeAffinityPolicy"] = json!("Ignore");
        }
        2 => {
            draw.aim(Edge::SpreadAffinityHonoured);
            constraint["nodeAffinityPolicy"] = json!("Honor");
        }
        _ => draw.aim(Edge::SpreadAffinityHonoured),
    }
    match draw.below(5) {
        0 | 1 => {
            draw.aim(Edge::SpreadTaintsHonoured);
            constraint["nodeTaintsPolicy"] = json!("Honor");
        }
        2 => constraint["nodeTaintsPolicy"] = json!("Ignore"),
        _ => {}
    }
    constraint
}

fn selector(pod: &Value, draw: &mut Draw) -> Value {
    let own = text(pod, "/metadata/labels/app");
    match draw.below(20) {
        0 => {
            draw.aim(Edge::SpreadNullSelector);
            Value::Null
        }
        1 | 2 => {
            draw.aim(Edge::SpreadEmptySelector);
            json!({})
        }
        3 | 4 => {
            draw.aim(Edge::SpreadExpression);
            json!({"matchExpressions": [{"key": "app", "operator": "Exists"}]})
        }
        5 => {
            draw.aim(Edge::SpreadExpression);
            json!({"matchExpressions": [{"key": "tier", "operator": "NotIn", "values": ["f"]}]})
        }
        6 => {
            draw.aim(Edge::SpreadExpression);
            json!({"matchExpressions": [{"key": "app", "operator": "In", "values": ["x", "y"]}]})
        }
        7 => json!({"matchLabels": {"app": "x", "tier": draw.one(&["f", "b"])}}),
        8 | 9 => {
            draw.aim(Edge::SpreadOthersOnly);
            let other = if own == "x" { "y" } else { "x" };
            json!({"matchLabels": {"app": other}})
        }
        _ if own.is_empty() => json!({"matchLabels": {"app": "x"}}),
        _ => json!({"matchLabels": {"app": own}}),
    }
}

/// As the API server stores them today, merged into the selector; as it did before 1.34, not.
fn match_label_keys(pod: &Value, constraint: &mut Value, draw: &mut Draw) {
    draw.aim(Edge::SpreadMatchLabelKeys);
    let mut keys = vec!["rev"];
    if draw.percent(30) {
        keys.push("none");
    }
    constraint["matchLabelKeys"] = json!(keys);
    let value = text(pod, "/metadata/labels/rev");
    if draw.percent(30) && !value.is_empty() {
        push(
            &mut constraint["labelSelector"]["matchExpressions"],
            json!({"key": "rev", "operator": "In", "values": [value]}),
        );
    }
}
