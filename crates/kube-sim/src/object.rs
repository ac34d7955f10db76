//! Reading and writing the parts that every Kubernetes object has.
//!
//! Objects are `serde_json` values; these accessors never fail, they answer empty instead, so
//! that a malformed planted object cannot stop the server.

use jiff::Timestamp;
use serde_json::{Map, Value, json};

/// Text at `metadata.<field>`; empty when absent.
pub(crate) fn meta_str<'a>(object: &'a Value, field: &str) -> &'a str {
    object
        .get("metadata")
        .and_then(|meta| meta.get(field))
        .and_then(Value::as_str)
        .unwrap_or_default()
}

/// `metadata` as a map, created when missing or of another type.
pub(crate) fn meta_mut(object: &mut Value) -> &mut Map<String, Value> {
    child_mut(map_mut(object), "metadata")
}

/// The object as a map; a value of another type is replaced by an empty map.
pub(crate) fn map_mut(value: &mut Value) -> &mut Map<String, Value> {
    if !value.is_object() {
        *value = json!({});
    }
    match value {
        Value::Object(map) => map,
        _ => unreachable_map(),
    }
}

/// The map under `key`, created when missing or of another type.
pub(crate) fn child_mut<'a>(
    map: &'a mut Map<String, Value>,
    key: &str,
) -> &'a mut Map<String, Value> {
    map_mut(map.entry(key).or_insert_with(|| json!({})))
}

#[allow(clippy::unreachable)] // `map_mut` has just made the value a map
fn unreachable_map() -> ! {
    unreachable!("the value was made a map")
}

/// The value at a path of field names.
pub(crate) fn at<'a>(value: &'a Value, path: &[&str]) -> Option<&'a Value> {
    path.iter().try_fold(value, |value, key| value.get(key))
}

/// Text at a path; empty when absent.
pub(crate) fn str_at<'a>(value: &'a Value, path: &[&str]) -> &'a str {
    at(value, path).and_then(Value::as_str).unwrap_or_default()
}

/// Sets a path of field names, making maps on the way.
pub(crate) fn set_at<S: AsRef<str>>(object: &mut Value, path: &[S], value: Value) {
    let Some((last, parents)) = path.split_last() else {
        return;
    };
    let mut map = map_mut(object);
    for key in parents {
        map = child_mut(map, key.as_ref());
    }
    map.insert(last.as_ref().to_owned(), value);
}

/// Strings of a list at `metadata.finalizers`.
pub(crate) fn finalizers(object: &Value) -> Vec<String> {
    at(object, &["metadata", "finalizers"])
        .and_then(Value::as_array)
        .map(|list| {
            list.iter()
                .filter_map(Value::as_str)
                .map(str::to_owned)
                .collect()
        })
        .unwrap_or_default()
}

/// Writes `metadata.finalizers`, removing the field when the list is empty.
pub(crate) fn set_finalizers(object: &mut Value, list: &[String]) {
    let meta = meta_mut(object);
    if list.is_empty() {
        meta.remove("finalizers");
    } else {
        meta.insert("finalizers".to_owned(), json!(list));
    }
}

/// True when a delete has marked the object.
pub(crate) fn is_deleting(object: &Value) -> bool {
    at(object, &["metadata", "deletionTimestamp"]).is_some_and(|value| !value.is_null())
}

/// `metadata.generation`; 0 when absent.
pub(crate) fn generation(object: &Value) -> i64 {
    at(object, &["metadata", "generation"])
        .and_then(Value::as_i64)
        .unwrap_or_default()
}

/// Kubernetes' timestamp: UTC, whole seconds.
pub(crate) fn time(now: Timestamp) -> String {
    Timestamp::from_second(now.as_second())
        .unwrap_or(now)
        .to_string()
}

/// The storage key: `namespace/name`, or `name` of a cluster-scoped object.
pub(crate) fn key_of(namespace: &str, name: &str) -> String {
    if namespace.is_empty() {
        name.to_owned()
    } else {
        format!("{namespace}/{name}")
    }
}

/// Removes nulls from maps, as Kubernetes' typed decoding does.
pub(crate) fn drop_nulls(value: &mut Value) {
    match value {
        Value::Object(map) => {
            map.retain(|_, value| !value.is_null());
            map.values_mut().for_each(drop_nulls);
        }
        Value::Array(items) => items.iter_mut().for_each(drop_nulls),
        _ => {}
    }
}
