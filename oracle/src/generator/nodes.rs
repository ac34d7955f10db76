//! What a node is, and which pods want or stand it: taints, cordons, node affinity, features.

use serde_json::{Value, json};

use super::{
    Edge,
    draw::{Draw, push},
    frame::{World, ZONE},
};

const CORDONED: &str = "node.kubernetes.io/unschedulable";

// === Taints ===

pub(super) fn taints(world: &mut World, draw: &mut Draw) {
    for node in &mut world.nodes {
        for key in draw.some(&["dedicated", "gpu", ""], 40) {
            if key.is_empty() {
                continue;
            }
            let mut taint = json!({"key": key, "effect": effect(draw)});
            if draw.percent(60) {
                taint["value"] = json!(draw.one(&["a", "b", ""]));
            }
            if taint["effect"] == "PreferNoSchedule" {
                draw.aim(Edge::TaintPreferred);
            }
            push(&mut node["spec"]["taints"], taint);
        }
    }
    for pod in &mut world.pending {
        for _ in 0..draw.one(&[0, 1, 1, 2, 3]) {
            let toleration = toleration(draw);
            push(&mut pod["spec"]["tolerations"], toleration);
        }
    }
}

/// A taint where the node has none of its key yet.
pub(super) fn taint(node: &mut Value, key: &str, effect: &str) {
    let taints = &mut node["spec"]["taints"];
    let known = taints
        .as_array()
        .is_some_and(|taints| taints.iter().any(|taint| taint["key"] == key));
    if !known {
        push(taints, json!({"key": key, "value": "a", "effect": effect}));
    }
}

fn effect(draw: &Draw) -> &'static str {
    draw.one(&["NoSchedule", "NoSchedule", "NoExecute", "PreferNoSchedule"])
}

fn toleration(draw: &mut Draw) -> Value {
    let mut toleration = json!({});
    if draw.percent(12) {
        draw.aim(Edge::TolerationAll);
        toleration["operator"] = json!("Exists");
    } else {
        toleration["key"] = json!(draw.one(&["dedicated", "gpu"]));
        if draw.percent(30) {
            toleration["operator"] = json!("Exists");
        } else {
            if draw.percent(50) {
                toleration["operator"] = json!("Equal");
            }
            let value = draw.one(&["a", "b", ""]);
            if value.is_empty() {
                draw.aim(Edge::TolerationEmptyValue);
            } else {
                toleration["value"] = json!(value);
            }
        }
    }
    if draw.percent(60) {
        toleration["effect"] = json!(effect(draw));
        if toleration["effect"] == "NoExecute" && draw.percent(60) {
            draw.aim(Edge::TolerationSeconds);
            toleration["tolerationSeconds"] = json!(draw.one(&[0, 30, -1]));
        }
    }
    toleration
}

// === Cordons ===

pub(super) fn cordons(world: &mut World, draw: &mut Draw) {
    draw.aim(Edge::Cordoned);
    for node in &mut world.nodes {
        if draw.percent(50) {
            node["spec"]["unschedulable"] = json!(true);
        }
        if draw.percent(40) {
            let effect = draw.one(&["NoSchedule", "NoSchedule", "NoExecute"]);
            push(
                &mut node["spec"]["taints"],
                json!({"key": CORDONED, "effect": effect}),
            );
        }
    }
    for pod in &mut world.pending {
        let toleration = match draw.below(8) {
            0 | 1 => json!({"key": CORDONED, "operator": "Exists", "effect": "NoSchedule"}),
            2 => json!({"key": CORDONED, "operator": "Exists"}),
            3 => json!({"key": CORDONED, "effect": "NoSchedule"}),
            4 => json!({"key": CORDONED, "operator": "Exists", "effect": "NoExecute"}),
            5 => json!({"key": CORDONED, "value": "x", "effect": "NoSchedule"}),
            6 => json!({"operator": "Exists", "effect": draw.one(&["NoSchedule", "NoExecute"])}),
            _ => continue,
        };
        push(&mut pod["spec"]["tolerations"], toleration);
    }
}

// === Node affinity ===

const NUMBERS: [&str; 9] = [
    "5",
    "05",
    "7",
    "6",
    "3.5",
    "abc",
    "9223372036854775807",
    "9223372036854775808",
    "",
];

pub(super) fn affinity(world: &mut World, draw: &mut Draw) {
    for node in &mut world.nodes {
        if draw.percent(75) {
            node["metadata"]["labels"]["gen"] = json!(draw.one(&NUMBERS));
        }
    }
    let names = world.names();
    for pod in &mut world.pending {
        let (mut selected, mut required) = (draw.percent(35), draw.percent(75));
        if !selected && !required {
            (selected, required) = (draw.percent(50), true);
        }
        if selected {
            pod["spec"]["nodeSelector"] = match draw.below(4) {
                0 => json!({"disk": draw.one(&["ssd", "hdd"])}),
                1 => json!({"tier": draw.one(&["", "x"])}),
                2 => json!({"disk": "ssd", "rack": "r1"}),
                _ => {
                    let mut selector = json!({});
                    selector[ZONE] = json!(draw.one(&["a", "b"]));
                    selector
                }
            };
        }
        if required {
            let terms = terms(&names, draw);
            pod["spec"]["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
                ["nodeSelectorTerms"] = Value::Array(terms);
        }
        if selected && required {
            draw.aim(Edge::SelectorAndAffinity);
        }
        if draw.percent(10) {
            pod["spec"]["affinity"]["nodeAffinity"]["preferredDuringSchedulingIgnoredDuringExecution"] =
                json!([{"weight": 1, "preference": {"matchExpressions": [expression(draw)]}}]);
        }
    }
}

fn terms(names: &[String], draw: &mut Draw) -> Vec<Value> {
    if draw.percent(22) {
        return named_terms(names, draw);
    }
    let mut terms = Vec::new();
    for _ in 0..draw.one(&[1, 1, 2, 2, 3]) {
        let mut term = json!({});
        match draw.below(20) {
            0 => draw.aim(Edge::EmptyTerm),
            1 | 2 => {
                draw.aim(Edge::FieldMixed);
                term["matchFields"] = json!([field(draw.one(&["In", "NotIn"]), names, draw)]);
                if draw.percent(50) {
                    term["matchExpressions"] = json!([expression(draw)]);
                }
            }
            3 | 4 => {
                // The value is no integer: the term is skipped.
                draw.aim(Edge::ComparisonSkipped);
                let operator = draw.one(&["Gt", "Lt"]);
                let value = draw.one(&["abc", "3.5", "9223372036854775808"]);
                term["matchExpressions"] =
                    json!([{"key": "gen", "operator": operator, "values": [value]}]);
            }
            _ => {
                for _ in 0..draw.one(&[1, 1, 2]) {
                    let drawn = expression(draw);
                    push(&mut term["matchExpressions"], drawn);
                }
            }
        }
        terms.push(term);
    }
    terms
}

/// Terms of which all, or all but one, name nodes.
fn named_terms(names: &[String], draw: &mut Draw) -> Vec<Value> {
    draw.aim(Edge::FieldNames);
    let mut terms = Vec::new();
    for _ in 0..draw.one(&[1, 2, 2, 3]) {
        let mut term = json!({"matchFields": [field("In", names, draw)]});
        if draw.percent(20) {
            // Two names at once are none.
            let second = field("In", names, draw);
            push(&mut term["matchFields"], second);
        }
        if draw.percent(35) {
            term["matchExpressions"] = json!([expression(draw)]);
        }
        terms.push(term);
    }
    if draw.percent(25) {
        let drawn = expression(draw);
        terms.push(json!({"matchExpressions": [drawn]}));
    }
    terms
}

fn field(operator: &str, names: &[String], draw: &Draw) -> Value {
    let name = if draw.percent(10) {
        "gone"
    } else {
        &names[draw.below(names.len())]
    };
    json!({"key": "metadata.name", "operator": operator, "values": [name]})
}

fn expression(draw: &mut Draw) -> Value {
    let (key, values) = draw.one(&[
        ("disk", ["ssd", "hdd"]),
        ("rack", ["r1", "r2"]),
        ("tier", ["", "x"]),
        (ZONE, ["a", "b"]),
        ("none", ["a", "b"]),
    ]);
    match draw.below(10) {
        0..=2 => json!({"key": key, "operator": "In", "values": draw.some(&values, 50)}),
        3 | 4 => {
            draw.aim(Edge::NegativeExpression);
            json!({"key": key, "operator": "NotIn", "values": draw.some(&values, 30)})
        }
        5 => json!({"key": key, "operator": "Exists"}),
        6 => {
            draw.aim(Edge::NegativeExpression);
            json!({"key": key, "operator": "DoesNotExist"})
        }
        _ => {
            draw.aim(Edge::Comparison);
            let operator = draw.one(&["Gt", "Lt"]);
            let value = draw.one(&["4", "5", "6", "05", "9223372036854775806"]);
            json!({"key": "gen", "operator": operator, "values": [value]})
        }
    }
}

// === Features ===

const RESTARTS: &str = "RestartAllContainersOnContainerExits";

pub(super) fn features(world: &mut World, draw: &mut Draw) {
    draw.aim(Edge::RestartAll);
    for node in &mut world.nodes {
        match draw.below(5) {
            0 | 1 => node["status"]["declaredFeatures"] = json!([RESTARTS]),
            2 => node["status"]["declaredFeatures"] = json!(["Other", RESTARTS]),
            3 => node["status"]["declaredFeatures"] = json!(["RestartAllContainers"]),
            _ => {}
        }
    }
    for pod in &mut world.pending {
        let action = match draw.below(6) {
            0 => continue,
            1 => "Restart",
            _ => "RestartAllContainers",
        };
        let container = json!({
            "name": "r", "image": "i", "restartPolicy": "Never",
            "restartPolicyRules": [{"action": action, "exitCodes": {"operator": "In", "values": [7]}}],
        });
        let list = if draw.percent(30) {
            "initContainers"
        } else {
            "containers"
        };
        push(&mut pod["spec"][list], container);
    }
}
