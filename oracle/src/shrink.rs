//! Cuts a JSON value to the smallest that still has a property: objects first, then what is in them.
//!
//! It knows nothing of clusters but what must stay so that an object is one.

use serde_json::Value;

/// Where a part of a value is.
#[derive(Clone, Debug)]
enum Step {
    Field(String),
    Item(usize),
}

/// The smallest value that the cuts lead to for which `still` holds, as it does for `cluster`.
pub fn shrink(cluster: &Value, still: &mut dyn FnMut(&Value) -> bool) -> Value {
    let mut smallest = cluster.clone();
    halves(&mut smallest, still);
    while pass(&mut smallest, still) {}
    smallest
}

/// Leaves out runs of objects, long ones first.
fn halves(cluster: &mut Value, still: &mut dyn FnMut(&Value) -> bool) {
    let mut run = items(cluster).len() / 2;
    while run > 1 {
        let mut start = 0;
        while start < items(cluster).len() {
            let mut candidate = cluster.clone();
            if let Some(items) = candidate["items"].as_array_mut() {
                let end = (start + run).min(items.len());
                items.drain(start..end);
            }
            if still(&candidate) {
                *cluster = candidate;
            } else {
                start += run;
            }
        }
        run /= 2;
    }
}

fn items(cluster: &Value) -> &[Value] {
    cluster["items"]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default()
}

/// Tries to leave out each part once; true where something went.
fn pass(smallest: &mut Value, still: &mut dyn FnMut(&Value) -> bool) -> bool {
    let mut paths = Vec::new();
    parts(smallest, &mut Vec::new(), &mut paths);
    let mut shrunk = false;
    // From the end, so that the places of what is still to be tried stay.
    for path in paths.iter().rev() {
        let mut candidate = smallest.clone();
        if remove(&mut candidate, path) && still(&candidate) {
            *smallest = candidate;
            shrunk = true;
        }
    }
    shrunk
}

/// Every part that may go, those that hold others before these.
fn parts(value: &Value, path: &mut Vec<Step>, found: &mut Vec<Vec<Step>>) {
    let steps: Vec<(Step, &Value)> = match value {
        Value::Array(items) => items
            .iter()
            .enumerate()
            .map(|(index, item)| (Step::Item(index), item))
            .collect(),
        Value::Object(fields) => fields
            .iter()
            .filter(|(name, _)| !stays(name, path.len()))
            .map(|(name, field)| (Step::Field(name.clone()), field))
            .collect(),
        _ => Vec::new(),
    };
    for (step, part) in steps {
        path.push(step);
        let needed = match (path.len(), &path[path.len() - 1]) {
            (1, _) => true,
            (3, Step::Field(name)) => name == "metadata",
            _ => false,
        };
        if !needed {
            found.push(path.clone());
        }
        parts(part, path, found);
        path.pop();
    }
}

/// What makes an object one: of the list its kind and items, of an object its kind, name, namespace.
fn stays(name: &str, depth: usize) -> bool {
    match depth {
        0 => name != "items",
        2 => matches!(name, "apiVersion" | "kind"),
        3 => matches!(name, "name" | "namespace"),
        _ => false,
    }
}

fn remove(value: &mut Value, path: &[Step]) -> bool {
    let Some((last, way)) = path.split_last() else {
        return false;
    };
    let mut place = value;
    for step in way {
        let next = match step {
            Step::Field(name) => place.get_mut(name),
            Step::Item(index) => place.get_mut(*index),
        };
        let Some(next) = next else { return false };
        place = next;
    }
    match (last, place) {
        (Step::Field(name), Value::Object(fields)) => fields.remove(name).is_some(),
        (Step::Item(index), Value::Array(items)) if *index < items.len() => {
            items.remove(*index);
            true
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_the_property_does_not_need_goes_and_what_makes_an_object_stays() {
        let pod = |name: &str, cpu: &str| {
            json!({
                "apiVersion": "v1", "kind": "Pod",
                "metadata": {"name": name, "namespace": "a", "labels": {"app": "x"}},
                "spec": {"containers": [
                    {"name": "c", "resources": {"requests": {"cpu": cpu, "memory": "1"}}},
                    {"name": "d"},
                ]},
            })
        };
        let cluster = json!({
            "apiVersion": "v1", "kind": "List",
            "items": [pod("p", "1"), pod("q", "2"), pod("r", "3")],
        });
        let two = |cluster: &Value| {
            let items = cluster["items"].as_array().unwrap();
            items
                .iter()
                .any(|item| item["spec"]["containers"][0]["resources"]["requests"]["cpu"] == "2")
        };
        let smallest = shrink(&cluster, &mut |cluster| two(cluster));
        assert_eq!(
            smallest,
            json!({
                "apiVersion": "v1", "kind": "List",
                "items": [{
                    "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "q", "namespace": "a"},
                    "spec": {"containers": [{"resources": {"requests": {"cpu": "2"}}}]},
                }],
            })
        );
    }
}
