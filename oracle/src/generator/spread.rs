//! Topology spread constraints, hard and soft, with every option they have.

use serde_json::{Value, json};

use super::{
    Edge,
    draw::{Draw, push, text},
    frame::{HOSTNAME, World, ZONE},
    nodes,
};

pub(super) fn add(world: &mut World, draw: &mut Draw) {
    for node in &mut world.nodes {
        if draw.percent(20) {
            nodes::taint(
                node,
                "gpu",
                draw.one(&["NoSchedule", "NoExecute", "PreferNoSchedule"]),
            );
        }
        if draw.percent(12) {
            node["spec"]["unschedulable"] = json!(true);
        }
    }
    for pod in &mut world.pending {
        if draw.percent(35) && pod["spec"]["nodeSelector"].is_null() {
            pod["spec"]["nodeSelector"] = json!({"rack": draw.one(&["r1", "r2"])});
        }
        if draw.percent(25) {
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

fn constraint(pod: &Value, draw: &mut Draw) -> Value {
    let hard = draw.percent(85);
    let mut constraint = json!({
        "maxSkew": draw.one(&[1, 1, 1, 2, 3]),
        "topologyKey": draw.one(&[ZONE, ZONE, HOSTNAME, "rack", "disk", "none"]),
        "whenUnsatisfiable": if hard { "DoNotSchedule" } else { "ScheduleAnyway" },
    });
    if !hard {
        draw.aim(Edge::SpreadSoft);
    }
    let selector = selector(pod, draw);
    if !selector.is_null() {
        constraint["labelSelector"] = selector;
        if draw.percent(25) {
            match_label_keys(pod, &mut constraint, draw);
        }
    }
    if hard && draw.percent(35) {
        draw.aim(Edge::SpreadMinDomains);
        constraint["minDomains"] = json!(draw.one(&[1, 2, 2, 3, 4]));
    }
    match draw.below(5) {
        0 => {
            draw.aim(Edge::SpreadAffinityIgnored);
            constraint["nodeAffinityPolicy"] = json!("Ignore");
        }
        1 => {
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
    if draw.percent(50) && !value.is_empty() {
        push(
            &mut constraint["labelSelector"]["matchExpressions"],
            json!({"key": "rev", "operator": "In", "values": [value]}),
        );
    }
}
