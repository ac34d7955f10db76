//! What the API server fills in when an object is stored, as far as filters see it: some of the
//! recorded clusters leave it out, a real dump never does (`pkg/apis/core/v1/defaults.go`).

use std::collections::BTreeMap;

use model::Quantity;
use serde_json::{Value, json};

type Amounts = BTreeMap<String, Quantity>;

/// The cluster as an API server would give it.
pub(crate) fn cluster(cluster: &Value) -> Value {
    let mut cluster = cluster.clone();
    for object in cluster["items"].as_array_mut().into_iter().flatten() {
        match object["kind"].as_str() {
            Some("Namespace") => namespace(object),
            Some("Pod") => pod(&mut object["spec"]),
            _ => {}
        }
    }
    cluster
}

fn namespace(object: &mut Value) {
    let name = object["metadata"]["name"].clone();
    object["metadata"]["labels"]["kubernetes.io/metadata.name"] = name;
}

/// `SetDefaults_Pod`, with `defaultHugePagePodLimits` and `defaultPodRequests`.
fn pod(spec: &mut Value) {
    for list in ["containers", "initContainers"] {
        for container in spec[list].as_array_mut().into_iter().flatten() {
            let limits = amounts(&container["resources"]["limits"]);
            fill(&mut container["resources"]["requests"], &limits);
        }
    }
    let is_given = |of: &str| !amounts(&spec["resources"][of]).is_empty();
    if !is_given("limits") && !is_given("requests") {
        return;
    }
    let requested = amounts(&spec["resources"]["requests"]);
    let mut pages = aggregate(spec, "limits");
    pages.retain(|name, _| name.starts_with("hugepages-") && !requested.contains_key(name));
    fill(&mut spec["resources"]["limits"], &pages);
    let limits = amounts(&spec["resources"]["limits"]);
    if limits.is_empty() {
        return;
    }
    let mut requests = aggregate(spec, "requests");
    requests.retain(|name, _| matches!(name.as_str(), "cpu" | "memory"));
    let into = &mut spec["resources"]["requests"];
    fill(into, &requests);
    fill(into, &limits);
}

fn amounts(value: &Value) -> Amounts {
    let amounts = value.as_object().into_iter().flatten();
    amounts
        .map(|(name, amount)| {
            let text = amount.as_str().map_or(amount.to_string(), str::to_owned);
            (name.clone(), Quantity::parse(&text).unwrap())
        })
        .collect()
}

/// Adds what is not there.
fn fill(into: &mut Value, amounts: &Amounts) {
    for (name, amount) in amounts {
        if into[name].is_null() {
            into[name] = json!(amount.to_string());
        }
    }
}

/// The larger of what all containers and sidecars want together, and what each init container
/// wants beside the sidecars before it.
fn aggregate(spec: &Value, of: &str) -> Amounts {
    let (mut sum, mut sidecars, mut peak) = (Amounts::new(), Amounts::new(), Amounts::new());
    let add = |sum: &mut Amounts, more: &Amounts| {
        for (name, amount) in more {
            let sum = sum.entry(name.clone()).or_default();
            *sum = *sum + *amount;
        }
    };
    for container in spec["containers"].as_array().into_iter().flatten() {
        add(&mut sum, &amounts(&container["resources"][of]));
    }
    for container in spec["initContainers"].as_array().into_iter().flatten() {
        let mut own = amounts(&container["resources"][of]);
        if container["restartPolicy"] == "Always" {
            add(&mut sum, &own);
            add(&mut sidecars, &own);
            own.clone_from(&sidecars);
        } else {
            add(&mut own, &sidecars);
        }
        for (name, amount) in own {
            let peak = peak.entry(name).or_default();
            *peak = amount.max(*peak);
        }
    }
    for (name, amount) in peak {
        let sum = sum.entry(name).or_default();
        *sum = amount.max(*sum);
    }
    sum
}
