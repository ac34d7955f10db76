//! Pruning and defaulting: what a schema changes in an object before it is validated.

use serde_json::Value;

use super::node::{Additional, Node};

const ENVELOPE: [&str; 3] = ["apiVersion", "kind", "metadata"];

pub(super) fn join(path: &str, name: &str) -> String {
    if path.is_empty() {
        name.to_owned()
    } else {
        format!("{path}.{name}")
    }
}

/// Removes unknown fields below `value`, adding their paths to `removed`.
pub(super) fn prune(node: &Node, value: &mut Value, path: &str, removed: &mut Vec<String>) {
    match value {
        Value::Object(map) => {
            let keep_unknown = node.preserve || matches!(node.additional, Additional::Any);
            map.retain(|name, _| {
                let known = keep_unknown
                    || node.field(name).is_some()
                    || (node.embedded && ENVELOPE.contains(&name.as_str()));
                if !known {
                    removed.push(join(path, name));
                }
                known
            });
            for (name, part) in map.iter_mut() {
                if node.embedded && ENVELOPE.contains(&name.as_str()) {
                    continue;
                }
                if let Some(below) = node.field(name) {
                    prune(below, part, &join(path, name), removed);
                }
            }
        }
        Value::Array(items) => {
            if let Some(below) = &node.items {
                for (index, item) in items.iter_mut().enumerate() {
                    prune(below, item, &format!("{path}[{index}]"), removed);
                }
            }
        }
        _ => {}
    }
}

/// Fills defaults in below `value`.
pub(super) fn default(node: &Node, value: &mut Value) {
    match value {
        Value::Object(map) => {
            // A null of a field that cannot be null and has no default means absent.
            map.retain(|name, part| {
                !part.is_null()
                    || node
                        .field(name)
                        .is_none_or(|below| below.nullable || below.default.is_some())
            });
            for (name, below) in &node.properties {
                let Some(filling) = &below.default else {
                    continue;
                };
                let absent = map
                    .get(name)
                    .is_none_or(|present| present.is_null() && !below.nullable);
                if absent {
                    map.insert(name.clone(), filling.clone());
                }
            }
            if let Additional::Schema(below) = &node.additional
                && let Some(filling) = &below.default
                && !below.nullable
            {
                for part in map.values_mut().filter(|part| part.is_null()) {
                    *part = filling.clone();
                }
            }
            for (name, part) in map.iter_mut() {
                if node.embedded && name == "metadata" {
                    continue;
                }
                if let Some(below) = node.field(name) {
                    default(below, part);
                }
            }
        }
        Value::Array(items) => {
            if let Some(below) = &node.items {
                for item in items {
                    if let (true, false, Some(filling)) =
                        (item.is_null(), below.nullable, &below.default)
                    {
                        *item = filling.clone();
                    }
                    default(below, item);
                }
            }
        }
        _ => {}
    }
}
