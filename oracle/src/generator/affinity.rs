//! Inter-pod affinity and anti-affinity, of pending pods and of running ones.

use serde_json::{Value, json};

use super::{
    Edge,
    draw::{Draw, push, text},
    frame::{HOSTNAME, World, ZONE},
};

const REQUIRED: &str = "requiredDuringSchedulingIgnoredDuringExecution";

pub(super) fn add(world: &mut World, draw: &mut Draw) {
    if draw.percent(45) {
        first_of_a_group(world, draw);
    }
    for pod in &mut world.running {
        if draw.percent(45) {
            draw.aim(Edge::AntiAffinityOfRunning);
            let terms = terms(pod, draw.one(&[1, 1, 2]), draw);
            pod["spec"]["affinity"]["podAntiAffinity"][REQUIRED] = terms;
        }
        if draw.percent(10) {
            let terms = terms(pod, 1, draw);
            pod["spec"]["affinity"]["podAffinity"][REQUIRED] = terms;
        }
    }
    for pod in &mut world.pending {
        if draw.percent(60) && pod["spec"]["affinity"]["podAffinity"][REQUIRED].is_null() {
            let count = draw.one(&[1, 1, 2, 3]);
            if count > 1 {
                draw.aim(Edge::AffinityAllTerms);
            }
            let terms = terms(pod, count, draw);
            pod["spec"]["affinity"]["podAffinity"][REQUIRED] = terms;
        }
        if draw.percent(45) {
            draw.aim(Edge::AntiAffinity);
            let terms = terms(pod, draw.one(&[1, 1, 2]), draw);
            pod["spec"]["affinity"]["podAntiAffinity"][REQUIRED] = terms;
        }
        if draw.percent(10) {
            let term = term(pod, draw);
            pod["spec"]["affinity"]["podAntiAffinity"]["preferredDuringSchedulingIgnoredDuringExecution"] =
                json!([{"weight": 1, "podAffinityTerm": term}]);
        }
    }
    if draw.percent(15) && !world.running.is_empty() {
        no_namespace(world, draw);
    }
}

/// A running pod wants nobody near whose namespace lacks a label; one that has no object lacks it.
fn no_namespace(world: &mut World, draw: &mut Draw) {
    draw.aim(Edge::AffinityNoNamespace);
    let pending = draw.below(world.pending.len());
    let namespace = text(&world.pending[pending], "/metadata/namespace").to_owned();
    if draw.percent(80) {
        let is_other = |object: &Value| text(object, "/metadata/name") != namespace;
        world.namespaces.retain(is_other);
    }
    let lacking = if draw.percent(50) {
        json!({"key": "team", "operator": "DoesNotExist"})
    } else {
        json!({"key": "team", "operator": "NotIn", "values": ["r"]})
    };
    let term = json!({
        "topologyKey": draw.one(&[ZONE, ZONE, HOSTNAME]), "labelSelector": {},
        "namespaceSelector": {"matchExpressions": [lacking]},
    });
    let running = draw.below(world.running.len());
    let terms = &mut world.running[running]["spec"]["affinity"]["podAntiAffinity"][REQUIRED];
    push(terms, term);
}

/// A pod that wants to be with its own kind, of which there may be none that counts.
fn first_of_a_group(world: &mut World, draw: &mut Draw) {
    draw.aim(Edge::AffinityFirst);
    let key = draw.one(&[ZONE, HOSTNAME, "rack"]);
    let mut term = json!({"topologyKey": key, "labelSelector": {"matchLabels": {"app": "z"}}});
    match draw.below(6) {
        0 => term["namespaces"] = json!(["b"]),
        1 => term["namespaces"] = json!(["a", "b"]),
        2 => term["namespaceSelector"] = json!({"matchLabels": {"team": "r"}}),
        _ => {}
    }
    let mut terms = vec![term];
    if draw.percent(35) {
        terms.push(json!({
            "topologyKey": draw.one(&[ZONE, "rack"]), "labelSelector": {"matchLabels": {"tier": "f"}},
        }));
    }
    let pod = &mut world.pending[0];
    if draw.percent(85) {
        pod["metadata"]["labels"]["app"] = json!("z");
    }
    pod["spec"]["affinity"]["podAffinity"][REQUIRED] = Value::Array(terms);
    if draw.percent(55) && !world.running.is_empty() {
        let chosen = draw.below(world.running.len());
        let other = &mut world.running[chosen];
        other["metadata"]["labels"]["app"] = json!("z");
        let name = text(other, "/spec/nodeName").to_owned();
        let keyless = world
            .nodes
            .iter_mut()
            .find(|node| node["metadata"]["name"] == name.as_str());
        if let Some(node) = keyless
            && draw.percent(65)
            && let Some(labels) = node["metadata"]["labels"].as_object_mut()
        {
            draw.aim(Edge::AffinityKeylessNode);
            labels.remove(key);
        }
    }
}

fn terms(pod: &Value, count: usize, draw: &mut Draw) -> Value {
    (0..count).map(|_| term(pod, draw)).collect()
}

fn term(pod: &Value, draw: &mut Draw) -> Value {
    let mut term =
        json!({"topologyKey": draw.one(&[ZONE, ZONE, HOSTNAME, HOSTNAME, "rack", "disk"])});
    let selector = selector(draw);
    if selector.is_null() {
        if draw.percent(50) {
            term["labelSelector"] = Value::Null;
        }
    } else {
        term["labelSelector"] = selector;
        if draw.percent(20) {
            label_keys(pod, &mut term, draw);
        }
    }
    match draw.below(20) {
        0 | 1 => term["namespaces"] = json!([draw.one(&["a", "b"])]),
        2 | 3 => {
            draw.aim(Edge::AffinityAllNamespaces);
            term["namespaceSelector"] = json!({});
        }
        4..=7 => {
            draw.aim(Edge::AffinityNamespaceLabels);
            term["namespaceSelector"] = namespace_selector(draw);
        }
        8 | 9 => {
            draw.aim(Edge::AffinityNamespaceUnion);
            term["namespaces"] = json!([draw.one(&["a", "b"])]);
            term["namespaceSelector"] = namespace_selector(draw);
        }
        10 => {
            term["namespaces"] = json!([]);
            term["namespaceSelector"] = Value::Null;
        }
        _ => {}
    }
    term
}

fn namespace_selector(draw: &Draw) -> Value {
    match draw.below(6) {
        0 | 3 | 4 => json!({"matchLabels": {"kubernetes.io/metadata.name": draw.one(&["a", "b"])}}),
        1 => json!({"matchExpressions": [{"key": "team", "operator": "DoesNotExist"}]}),
        2 => json!({"matchExpressions": [{"key": "team", "operator": "NotIn", "values": ["r"]}]}),
        _ => json!({"matchLabels": {"team": draw.one(&["r", "s"])}}),
    }
}

fn selector(draw: &mut Draw) -> Value {
    match draw.below(16) {
        0 => {
            draw.aim(Edge::AffinityNullSelector);
            Value::Null
        }
        1 => json!({}),
        2 => json!({"matchExpressions": [{"key": "app", "operator": "Exists"}]}),
        3 => json!({"matchExpressions": [{"key": "tier", "operator": "DoesNotExist"}]}),
        4 => json!({"matchExpressions": [{"key": "app", "operator": "NotIn", "values": ["y"]}]}),
        5 => json!({"matchLabels": {"app": "x", "tier": draw.one(&["f", "b"])}}),
        6 | 7 => json!({"matchLabels": {"tier": draw.one(&["f", "b"])}}),
        8 => json!({"matchExpressions": [{"key": "rev", "operator": "In", "values": ["1"]}]}),
        _ => json!({"matchLabels": {"app": draw.one(&["x", "x", "y"])}}),
    }
}

/// As stored: merged into the selector, where the pod has the label.
fn label_keys(pod: &Value, term: &mut Value, draw: &mut Draw) {
    draw.aim(Edge::AffinityLabelKeys);
    let (field, operator) = draw.one(&[("matchLabelKeys", "In"), ("mismatchLabelKeys", "NotIn")]);
    let known = term["labelSelector"].to_string();
    let key = draw.one(&["rev", "tier"]);
    if known.contains(key) {
        return;
    }
    term[field] = json!([key]);
    let value = text(pod, &format!("/metadata/labels/{key}"));
    if !value.is_empty() {
        push(
            &mut term["labelSelector"]["matchExpressions"],
            json!({"key": key, "operator": operator, "values": [value]}),
        );
    }
}
