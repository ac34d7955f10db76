//! Requests of every kind on containers, init containers, sidecars and pods, and what running pods
//! report about theirs. `tight` cuts the nodes to fit.

use serde_json::{Value, json};

use super::{
    Edge,
    draw::{Draw, push},
    frame::World,
};

pub(super) const GPU: &str = "example.com/gpu";
pub(super) const HUGE: &str = "hugepages-2Mi";
pub(super) const DISK: &str = "ephemeral-storage";

pub(super) fn add(world: &mut World, draw: &mut Draw) {
    for pod in &mut world.running {
        if draw.percent(85) {
            spec(pod, draw);
            if draw.percent(50) {
                resized(pod, draw);
            }
        }
    }
    for pod in &mut world.pending {
        if draw.percent(7) {
            draw.aim(Edge::NothingAsked);
            continue;
        }
        spec(pod, draw);
        if draw.percent(8) {
            draw.aim(Edge::PendingStatusIgnored);
            pod["status"] =
                json!({"phase": "Pending", "containerStatuses": [reported("c", "2", "2")]});
        }
    }
}

fn spec(pod: &mut Value, draw: &mut Draw) {
    pod["spec"]["containers"][0]["resources"] = requirements(draw);
    for number in 1..draw.one(&[1, 1, 2, 3]) {
        let container = json!({
            "name": format!("c{number}"), "image": "i", "resources": requirements(draw),
        });
        push(&mut pod["spec"]["containers"], container);
    }
    for number in 0..draw.one(&[0, 0, 1, 2, 2, 3]) {
        let mut container = json!({
            "name": format!("s{number}"), "image": "i", "resources": requirements(draw),
        });
        if draw.percent(50) {
            draw.aim(Edge::Sidecars);
            container["restartPolicy"] = json!("Always");
        } else {
            draw.aim(Edge::InitContainers);
        }
        push(&mut pod["spec"]["initContainers"], container);
    }
    if draw.percent(20) {
        draw.aim(Edge::Overhead);
        pod["spec"]["overhead"] = match draw.below(3) {
            0 => json!({"cpu": "50m"}),
            1 => json!({"memory": "10Mi"}),
            _ => json!({"cpu": "10m", "memory": "500m"}),
        };
    }
    if draw.percent(25) {
        draw.aim(Edge::PodLevel);
        // An API server sums requests below a milli before it rounds them, and then refuses the pod.
        let spec = pod["spec"].to_string();
        let odd = spec.contains("00u\"") || spec.contains("0.1m");
        let mut resources = match draw.below(6) {
            4 | 5 if !odd => json!({"limits": {"cpu": "3"}}),
            0 | 1 | 4 | 5 => json!({"requests": {"cpu": "3"}}),
            // Huge pages of a container become limits of the pod, and those its other requests.
            2 if !(odd && spec.contains(HUGE)) => json!({"requests": {"memory": "3Gi"}}),
            _ => json!({"requests": {"cpu": "3", "memory": "3Gi"}}),
        };
        if draw.percent(20) {
            resources["requests"][HUGE] = json!("32Mi");
            resources["limits"][HUGE] = json!("32Mi");
            // Huge pages are never asked for alone.
            resources["requests"]["cpu"] = json!("3");
            draw.aim(Edge::HugePages);
        }
        pod["spec"]["resources"] = resources;
    }
}

/// What one container asks for.
fn requirements(draw: &mut Draw) -> Value {
    let mut requests = json!({});
    let mut limits = json!({});
    if draw.percent(65) {
        let amount = draw.one(&[
            "100m", "200m", "0.3", "150m", "0.1m", "100u", "250500u", "0",
        ]);
        if amount.contains('u') || amount == "0.1m" {
            draw.aim(Edge::BelowMilli);
        }
        if draw.percent(15) {
            draw.aim(Edge::LimitsOnly);
            limits["cpu"] = json!(amount);
        } else {
            requests["cpu"] = json!(amount);
        }
    }
    if draw.percent(60) {
        let amount = draw.one(&[
            "64Mi", "100M", "128Mi", "500m", "1500m", "1", "0.1Ki", "1e6",
        ]);
        if amount.contains('m') || amount == "0.1Ki" {
            draw.aim(Edge::HalfByte);
        }
        if draw.percent(15) {
            draw.aim(Edge::LimitsOnly);
            limits["memory"] = json!(amount);
        } else {
            requests["memory"] = json!(amount);
        }
    }
    if draw.percent(25) {
        draw.aim(Edge::EphemeralStorage);
        requests[DISK] = json!(draw.one(&["1Gi", "500M", "1500m"]));
    }
    if draw.percent(25) {
        draw.aim(Edge::Extended);
        let amount = draw.one(&["0", "0", "1", "2"]);
        limits[GPU] = json!(amount);
        if draw.percent(50) {
            requests[GPU] = json!(amount);
        }
    }
    if draw.percent(12) {
        draw.aim(Edge::HugePages);
        limits[HUGE] = json!(draw.one(&["2Mi", "4Mi"]));
        if requests["cpu"].is_null() && limits["cpu"].is_null() {
            requests["cpu"] = json!("100m");
        }
    }
    let mut resources = json!({});
    for (name, amounts) in [("requests", requests), ("limits", limits)] {
        if amounts != json!({}) {
            resources[name] = amounts;
        }
    }
    resources
}

/// What a running pod reports after a resize, or while one is pending.
fn resized(pod: &mut Value, draw: &mut Draw) {
    let mut statuses = Vec::new();
    let amounts = ["50m", "100m", "200m", "400m", "1"];
    for list in ["containers", "initContainers"] {
        let containers = pod["spec"][list].as_array().cloned().unwrap_or_default();
        let mut reports = Vec::new();
        for container in containers {
            let name = container["name"].as_str().unwrap_or_default();
            let (actual, allocated) = (draw.one(&amounts), draw.one(&amounts));
            let mut report = reported(name, actual, allocated);
            match draw.below(6) {
                0 => {
                    draw.aim(Edge::AllocatedOnly);
                    report["resources"] = Value::Null;
                }
                1 => report["allocatedResources"] = Value::Null,
                2 => continue,
                _ => {
                    draw.aim(Edge::Resized);
                    if draw.percent(40) {
                        report["resources"]["requests"]["memory"] = json!("256Mi");
                    }
                    if draw.percent(20) {
                        report["allocatedResources"] = json!({"memory": "300Mi"});
                    }
                }
            }
            reports.push(without_nulls(report));
        }
        if !reports.is_empty() {
            statuses.push((list, reports));
        }
    }
    for (list, reports) in statuses {
        let field = if list == "containers" {
            "containerStatuses"
        } else {
            "initContainerStatuses"
        };
        pod["status"][field] = Value::Array(reports);
    }
    if !pod["spec"]["resources"]["requests"].is_null() {
        draw.aim(Edge::PodLevelResized);
        let amounts = ["2", "3", "3001m", "4"];
        if draw.percent(75) {
            pod["status"]["resources"] = json!({"requests": {"cpu": draw.one(&amounts)}});
        }
        if draw.percent(60) {
            pod["status"]["allocatedResources"] = json!({"cpu": draw.one(&amounts)});
        }
    }
    if draw.percent(60) {
        draw.aim(Edge::ResizeInfeasible);
        let reason = draw.one(&["Infeasible", "Deferred"]);
        pod["status"]["conditions"] =
            json!([{"type": "PodResizePending", "status": "True", "reason": reason}]);
    }
}

fn reported(name: &str, actual: &str, allocated: &str) -> Value {
    json!({
        "name": name, "image": "i", "imageID": "", "ready": true, "restartCount": 0,
        "resources": {"requests": {"cpu": actual}}, "allocatedResources": {"cpu": allocated},
    })
}

fn without_nulls(mut value: Value) -> Value {
    if let Some(fields) = value.as_object_mut() {
        fields.retain(|_, field| !field.is_null());
    }
    value
}
