//! Cuts what nodes have to what their pods and one pending pod ask for: exactly, or a unit less.
//!
//! The sums are the generator's own reckoning. They aim; the scheduler says what holds.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{
    Edge,
    draw::Draw,
    frame::World,
    resources::{DISK, GPU, HUGE},
};

const NANO: i128 = 1_000_000_000;
const MILLI: i128 = 1_000_000;

pub(super) fn cut(world: &mut World, draw: &mut Draw) {
    let World {
        nodes,
        running,
        pending,
        ..
    } = world;
    for node in nodes {
        let name = node["metadata"]["name"].clone();
        let mut used = BTreeMap::new();
        let mut places = 0;
        for pod in running.iter() {
            let finished = matches!(
                pod["status"]["phase"].as_str(),
                Some("Succeeded" | "Failed")
            );
            if pod["spec"]["nodeName"] == name && !finished {
                places += 1;
                add(&mut used, &requests(pod, true));
            }
        }
        let asked = requests(&pending[draw.below(pending.len())], false);
        let allocatable = allocatable(&used, &asked, places, draw);
        if draw.percent(10) {
            draw.aim(Edge::MissingAllocatable);
            node["status"] = json!({"capacity": allocatable});
        } else {
            node["status"]["allocatable"] = allocatable;
        }
    }
}

fn allocatable(used: &Amounts, asked: &Amounts, places: usize, draw: &mut Draw) -> Value {
    let mut allocatable = json!({
        "cpu": "64", "memory": "64Gi", "pods": "110", DISK: "100Gi", GPU: "64", HUGE: "1Gi",
    });
    let candidates: Vec<&str> = ["cpu", "memory", DISK, GPU, HUGE]
        .into_iter()
        .filter(|name| amount(used, name) + amount(asked, name) > 0)
        .collect();
    for _ in 0..draw.one(&[1, 1, 1, 2]) {
        if candidates.is_empty() {
            break;
        }
        // Most rules about requests show in CPU.
        let name = if candidates[0] == "cpu" && draw.percent(40) {
            "cpu"
        } else {
            draw.one(&candidates)
        };
        let (used, asked) = (amount(used, name), amount(asked, name));
        let unit = if name == "cpu" { MILLI } else { NANO };
        let size = match draw.below(20) {
            0..=7 => used + asked,
            8..=14 => used + asked - unit,
            15..=18 => {
                draw.aim(Edge::Overcommitted);
                used - unit
            }
            _ => {
                draw.aim(Edge::MissingAllocatable);
                if let Some(fields) = allocatable.as_object_mut() {
                    fields.remove(name);
                }
                continue;
            }
        };
        allocatable[name] = json!(written(name, size.max(0), draw));
    }
    // What others have too much of, and the pod does not ask for.
    let idle: Vec<&str> = candidates
        .into_iter()
        .filter(|name| amount(asked, name) == 0)
        .collect();
    if !idle.is_empty() && draw.percent(40) {
        draw.aim(Edge::Overcommitted);
        let name = draw.one(&idle);
        let unit = if name == "cpu" { MILLI } else { NANO };
        allocatable[name] = json!(written(name, (amount(used, name) - unit).max(0), draw));
    }
    match draw.below(20) {
        0 | 1 => allocatable["pods"] = json!(places.to_string()),
        2..=4 => allocatable["pods"] = json!((places + 1).to_string()),
        5 => {
            draw.aim(Edge::MissingAllocatable);
            if let Some(fields) = allocatable.as_object_mut() {
                fields.remove("pods");
            }
        }
        _ => {}
    }
    allocatable
}

fn written(name: &str, size: i128, draw: &Draw) -> String {
    if name == "cpu" {
        let milli = size / MILLI;
        return if milli % 1000 == 0 {
            (milli / 1000).to_string()
        } else {
            format!("{milli}m")
        };
    }
    let units = size / NANO;
    if name == "memory" && units > 0 && draw.percent(10) {
        // Rounded up to the same.
        return format!("{}m", units * 1000 - 500);
    }
    if units > 0 && units % 1024 == 0 {
        format!("{}Ki", units / 1024)
    } else {
        units.to_string()
    }
}

type Amounts = BTreeMap<String, i128>;

fn amount(amounts: &Amounts, name: &str) -> i128 {
    amounts.get(name).copied().unwrap_or_default()
}

fn add(sum: &mut Amounts, more: &Amounts) {
    for (name, size) in more {
        *sum.entry(name.clone()).or_default() += size;
    }
}

fn larger(left: &mut Amounts, right: &Amounts) {
    for (name, size) in right {
        let known = left.entry(name.clone()).or_default();
        *known = (*known).max(*size);
    }
}

/// What a pod takes, rounded up as the scheduler counts it.
fn requests(pod: &Value, running: bool) -> Amounts {
    let infeasible = pod["status"]["conditions"][0]["reason"] == "Infeasible";
    let effective = |spec: Amounts, report: &Value| {
        if !running || report["resources"].is_null() {
            return spec;
        }
        let mut seen = if infeasible { Amounts::new() } else { spec };
        larger(&mut seen, &read(&report["resources"]["requests"]));
        larger(&mut seen, &read(&report["allocatedResources"]));
        seen
    };
    let container = |container: &Value, reports: &Value| {
        let mut spec = read(&container["resources"]["limits"]);
        spec.extend(read(&container["resources"]["requests"]));
        let reports = reports.as_array().map(Vec::as_slice).unwrap_or_default();
        let report = reports
            .iter()
            .find(|report| report["name"] == container["name"]);
        match report {
            Some(report) => effective(spec, report),
            None => spec,
        }
    };
    let mut sum = Amounts::new();
    for each in list(&pod["spec"]["containers"]) {
        add(
            &mut sum,
            &container(each, &pod["status"]["containerStatuses"]),
        );
    }
    let (mut beside, mut first) = (Amounts::new(), Amounts::new());
    for each in list(&pod["spec"]["initContainers"]) {
        if each["restartPolicy"] == "Always" {
            let size = container(each, &pod["status"]["initContainerStatuses"]);
            add(&mut sum, &size);
            add(&mut beside, &size);
            larger(&mut first, &beside);
        } else {
            let mut size = container(each, &Value::Null);
            add(&mut size, &beside);
            larger(&mut first, &size);
        }
    }
    larger(&mut sum, &first);
    let mut whole = read(&pod["spec"]["resources"]["limits"]);
    whole.extend(read(&pod["spec"]["resources"]["requests"]));
    let kept: Vec<String> = whole.keys().cloned().collect();
    let mut whole = effective(whole, &pod["status"]);
    whole.retain(|name, _| kept.contains(name));
    sum.extend(whole);
    add(&mut sum, &read(&pod["spec"]["overhead"]));
    for (name, size) in &mut sum {
        let unit = if name == "cpu" { MILLI } else { NANO };
        *size = (*size + unit - 1) / unit * unit;
    }
    sum
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

/// Amounts in billionths, rounded up to thousandths as they are when stored.
fn read(amounts: &Value) -> Amounts {
    let Some(amounts) = amounts.as_object() else {
        return Amounts::new();
    };
    let pairs = amounts.iter().filter_map(|(name, size)| {
        let size = billionths(size.as_str()?)?;
        Some((name.clone(), (size + MILLI - 1) / MILLI * MILLI))
    });
    pairs.collect()
}

/// A quantity, of those that the generator writes.
fn billionths(text: &str) -> Option<i128> {
    match text {
        "1e-1" => return Some(NANO / 10),
        "1e6" => return Some(NANO * 1_000_000),
        _ => {}
    }
    let end = text
        .find(|letter: char| !letter.is_ascii_digit() && letter != '.')
        .unwrap_or(text.len());
    let (digits, suffix) = text.split_at(end);
    let scale = match suffix {
        "u" => 1_000,
        "m" => MILLI,
        "" => NANO,
        "M" => NANO * 1_000_000,
        "Ki" => NANO << 10,
        "Mi" => NANO << 20,
        "Gi" => NANO << 30,
        _ => return None,
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let ten = 10_i128.checked_pow(u32::try_from(fraction.len()).ok()?)?;
    let number: i128 = format!("{whole}{fraction}").parse().ok()?;
    Some(number * scale / ten)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_are_read_in_billionths() {
        assert_eq!(billionths("1500m"), Some(1_500 * MILLI));
        assert_eq!(billionths("0.3"), Some(300 * MILLI));
        assert_eq!(billionths("0.1Ki"), Some(102_400 * MILLI));
        assert_eq!(billionths("3x"), None);
    }

    #[test]
    fn a_sidecar_counts_beside_the_init_containers_that_come_later() {
        let pod = json!({"spec": {
            "containers": [{"resources": {"requests": {"cpu": "100m"}}}],
            "initContainers": [
                {"restartPolicy": "Always", "resources": {"requests": {"cpu": "50m"}}},
                {"resources": {"requests": {"cpu": "300m"}}},
            ],
            "overhead": {"cpu": "1m"},
        }});
        assert_eq!(requests(&pod, false)["cpu"], 351 * MILLI);
    }
}
