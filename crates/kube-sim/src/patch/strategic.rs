//! Strategic merge patch: maps merge, lists merge by key where the API type says so.

use serde_json::{Map, Value};

use crate::{
    error::{ApiError, ApiResult},
    lists::{Strategy, retains_keys, strategy},
    object::map_mut,
    registry::KindInfo,
};

const DIRECTIVE: &str = "$patch";
const RETAIN: &str = "$retainKeys";
const DELETE_PRIMITIVE: &str = "$deleteFromPrimitiveList/";
const ORDER: &str = "$setElementOrder/";

/// Merges `patch` into `object`.
pub(super) fn merge(kind: &KindInfo, object: &mut Value, patch: &Value) -> ApiResult<()> {
    merge_value(kind, &mut Vec::new(), object, patch)
}

fn merge_value<'p>(
    kind: &KindInfo,
    path: &mut Vec<&'p str>,
    target: &mut Value,
    patch: &'p Value,
) -> ApiResult<()> {
    let Value::Object(fields) = patch else {
        *target = patch.clone();
        return Ok(());
    };
    match fields.get(DIRECTIVE).and_then(Value::as_str) {
        Some("replace") => {
            *target = without_directives(patch);
            return Ok(());
        }
        Some("delete") => {
            *target = Value::Object(Map::new());
            return Ok(());
        }
        Some("merge") | None => {}
        Some(other) => {
            return Err(ApiError::bad_request(format!(
                "unknown patch directive {other:?} at {}",
                path.join(".")
            )));
        }
    }
    let map = map_mut(target);
    if let Some(retain) = fields.get(RETAIN).and_then(Value::as_array)
        && retains_keys(path)
    {
        map.retain(|key, _| retain.iter().any(|kept| kept == key));
    }
    for (key, value) in fields {
        if key == DIRECTIVE || key == RETAIN {
            continue;
        }
        if let Some(field) = key.strip_prefix(DELETE_PRIMITIVE) {
            if let (Some(Value::Array(list)), Some(remove)) = (map.get_mut(field), value.as_array())
            {
                list.retain(|item| !remove.contains(item));
            }
            continue;
        }
        if key.starts_with(ORDER) {
            continue;
        }
        if value.is_null() {
            map.remove(key);
            continue;
        }
        // Replacing what is not there does nothing.
        let replaces = value.get(DIRECTIVE).and_then(Value::as_str) == Some("replace");
        if replaces && !map.contains_key(key) {
            continue;
        }
        path.push(key);
        let slot = map.entry(key.clone()).or_insert(Value::Null);
        match value {
            Value::Array(items) => merge_list(kind, path, slot, items)?,
            Value::Object(_) if !slot.is_object() => {
                let mut fresh = Value::Object(Map::new());
                merge_value(kind, path, &mut fresh, value)?;
                *slot = fresh;
            }
            _ => merge_value(kind, path, slot, value)?,
        }
        let emptied = value.get(DIRECTIVE).and_then(Value::as_str) == Some("delete");
        path.pop();
        if emptied {
            map.remove(key);
        }
    }
    for (key, order) in fields {
        if let (Some(field), Some(order)) = (key.strip_prefix(ORDER), order.as_array()) {
            path.push(field);
            if let Some(Value::Array(list)) = map.get_mut(field) {
                sort_like(list, order, strategy(kind, path));
            }
            path.pop();
        }
    }
    Ok(())
}

fn merge_list<'p>(
    kind: &KindInfo,
    path: &mut Vec<&'p str>,
    slot: &mut Value,
    items: &'p [Value],
) -> ApiResult<()> {
    let replaces = items
        .iter()
        .any(|item| item.get(DIRECTIVE).and_then(Value::as_str) == Some("replace"));
    if replaces {
        *slot = items
            .iter()
            .filter(|item| item.get(DIRECTIVE).is_none())
            .map(without_directives)
            .collect();
        return Ok(());
    }
    match strategy(kind, path) {
        Strategy::Replace => {
            *slot = items.iter().map(without_directives).collect();
            Ok(())
        }
        Strategy::Unite => {
            let mut list = slot.as_array().cloned().unwrap_or_default();
            for item in items {
                if !list.contains(item) {
                    list.push(item.clone());
                }
            }
            *slot = Value::Array(list);
            Ok(())
        }
        Strategy::MergeBy(merge_key) => {
            let before = slot.as_array().cloned().unwrap_or_default();
            let mut list = slot.as_array().cloned().unwrap_or_default();
            for item in items {
                let Some(id) = item.get(merge_key) else {
                    return Err(ApiError::bad_request(format!(
                        "map: {item} does not contain declared merge key: {merge_key}"
                    )));
                };
                let found = list.iter().position(|live| live.get(merge_key) == Some(id));
                let delete = item.get(DIRECTIVE).and_then(Value::as_str) == Some("delete");
                match (found, delete) {
                    (Some(_), true) => list.retain(|live| live.get(merge_key) != Some(id)),
                    (None, true) => {}
                    (Some(at), false) => merge_value(kind, path, &mut list[at], item)?,
                    (None, false) => {
                        let mut fresh = Value::Object(Map::new());
                        merge_value(kind, path, &mut fresh, item)?;
                        list.push(fresh);
                    }
                }
            }
            *slot = Value::Array(in_order(list, items, &before, merge_key));
            Ok(())
        }
    }
}

/// Items of the patch in its order and items it does not name in theirs; where both were there
/// before, as before, else what the patch adds comes first.
fn in_order(list: Vec<Value>, patch: &[Value], before: &[Value], key: &str) -> Vec<Value> {
    let place = |items: &[Value], item: &Value| {
        items
            .iter()
            .position(|other| other.get(key) == item.get(key))
    };
    let (mut named, others): (Vec<Value>, Vec<Value>) = list
        .into_iter()
        .partition(|item| place(patch, item).is_some());
    named.sort_by_key(|item| place(patch, item));
    let mut out = Vec::with_capacity(named.len() + others.len());
    let mut others = others.into_iter().peekable();
    for item in named {
        if let Some(own) = place(before, &item) {
            while let Some(other) = others.next_if(|other| place(before, other) < Some(own)) {
                out.push(other);
            }
        }
        out.push(item);
    }
    out.extend(others);
    out
}

/// Orders the items named in `order` as there; items not named keep their place after the named
/// item they followed.
fn sort_like(list: &mut Vec<Value>, order: &[Value], strategy: Strategy) {
    let position = |item: &Value| {
        order.iter().position(|wanted| match strategy {
            Strategy::MergeBy(key) => wanted.get(key).is_some() && wanted.get(key) == item.get(key),
            _ => wanted == item,
        })
    };
    let mut last = 0;
    let mut keyed: Vec<(usize, Value)> = Vec::with_capacity(list.len());
    for item in list.drain(..) {
        if let Some(at) = position(&item) {
            last = at;
        }
        keyed.push((position(&item).unwrap_or(last), item));
    }
    keyed.sort_by_key(|(at, _)| *at);
    list.extend(keyed.into_iter().map(|(_, item)| item));
}

fn without_directives(value: &Value) -> Value {
    match value {
        Value::Object(map) => map
            .iter()
            .filter(|(key, value)| !key.starts_with('$') && !value.is_null())
            .map(|(key, value)| (key.clone(), without_directives(value)))
            .collect(),
        Value::Array(items) => items.iter().map(without_directives).collect(),
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::registry::Registry;

    fn merged(object: Value, patch: &Value) -> Value {
        let registry = Registry::builtin();
        let kind = registry.get("apps", "v1", "deployments").unwrap();
        let mut object = object;
        merge(kind, &mut object, patch).unwrap();
        object
    }

    fn containers(object: &Value) -> &Value {
        &object["spec"]["template"]["spec"]["containers"]
    }

    fn pod(list: &Value) -> Value {
        json!({"spec": {"template": {"spec": {"containers": list}}}})
    }

    #[test]
    fn containers_merge_by_name_and_are_deleted_by_directive() {
        let live =
            pod(&json!([{"name": "a", "image": "1", "tty": true}, {"name": "b", "image": "1"}]));
        let out = merged(live.clone(), &pod(&json!([{"name": "a", "image": "2"}])));
        assert_eq!(
            containers(&out),
            &json!([{"name": "a", "image": "2", "tty": true}, {"name": "b", "image": "1"}])
        );
        let out = merged(
            live.clone(),
            &pod(&json!([{"name": "a", "$patch": "delete"}])),
        );
        assert_eq!(containers(&out), &json!([{"name": "b", "image": "1"}]));
        let out = merged(live, &pod(&json!([{"name": "c"}, {"$patch": "replace"}])));
        assert_eq!(containers(&out), &json!([{"name": "c"}]));
    }

    #[test]
    fn element_order_and_primitive_deletion_are_obeyed() {
        let live = json!({"metadata": {"finalizers": ["x", "y"]}, "spec": {"template": {"spec": {"containers": [{"name": "a"}, {"name": "b"}]}}}});
        let out = merged(
            live,
            &json!({
                "metadata": {"$deleteFromPrimitiveList/finalizers": ["x"], "finalizers": ["z"]},
                "spec": {"template": {"spec": {"$setElementOrder/containers": [{"name": "b"}, {"name": "a"}]}}},
            }),
        );
        assert_eq!(out["metadata"]["finalizers"], json!(["y", "z"]));
        assert_eq!(containers(&out), &json!([{"name": "b"}, {"name": "a"}]));
    }

    #[test]
    fn retain_keys_drops_what_is_not_named() {
        let live = json!({"spec": {"strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1}}}});
        let out = merged(
            live,
            &json!({"spec": {"strategy": {"$retainKeys": ["type"], "type": "Recreate"}}}),
        );
        assert_eq!(out["spec"]["strategy"], json!({"type": "Recreate"}));
    }
}
