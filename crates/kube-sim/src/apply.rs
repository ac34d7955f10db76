//! Server-side apply and field ownership (`metadata.managedFields`).
//!
//! Decides, from the live object, the managers' field sets and an applied configuration, what the
//! new object is, who owns what, and which other managers stand against it. Reads no clock.

use serde_json::{Value, json};

use crate::{
    error::{ApiError, ApiResult},
    event_view,
    fields::{FieldSet, Step, compare, item_steps, print_path},
    lists::{atomic_map, list_kind},
    object::{at, map_mut, meta_mut},
    registry::KindInfo,
    schema::ListKind,
};

/// Who writes, how and when.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Writer<'a> {
    pub(crate) manager: &'a str,
    /// Empty for the main resource.
    pub(crate) subresource: &'a str,
    /// Timestamp in Kubernetes' form.
    pub(crate) time: &'a str,
}

/// One entry of `managedFields`.
#[derive(Clone, Debug)]
struct Entry {
    manager: String,
    operation: String,
    api_version: String,
    subresource: String,
    time: String,
    set: FieldSet,
}

impl Entry {
    fn same_writer(&self, operation: &str, api_version: &str, writer: &Writer<'_>) -> bool {
        self.manager == writer.manager
            && self.operation == operation
            && self.subresource == writer.subresource
            && (operation == "Apply" || self.api_version == api_version)
    }

    fn describe(&self) -> String {
        let mut text = format!("{:?}", self.manager);
        if !self.subresource.is_empty() {
            text = format!("{text} with subresource {:?}", self.subresource);
        }
        if self.operation == "Update" {
            text = format!("{text} using {}", self.api_version);
        }
        text
    }
}

fn entries(object: &Value) -> Vec<Entry> {
    let text = |entry: &Value, field: &str| entry[field].as_str().unwrap_or_default().to_owned();
    at(object, &["metadata", "managedFields"])
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .map(|entry| Entry {
            manager: text(entry, "manager"),
            operation: text(entry, "operation"),
            api_version: text(entry, "apiVersion"),
            subresource: text(entry, "subresource"),
            time: text(entry, "time"),
            set: FieldSet::parse(&entry["fieldsV1"]),
        })
        .collect()
}

fn write_entries(object: &mut Value, mut entries: Vec<Entry>) {
    entries.retain(|entry| !entry.set.is_empty());
    // Kubernetes' order: appliers first, then by time and name.
    entries.sort_by(|a, b| {
        (&a.operation, &a.time, &a.manager).cmp(&(&b.operation, &b.time, &b.manager))
    });
    let list: Vec<Value> = entries
        .into_iter()
        .map(|entry| {
            let mut value = json!({
                "manager": entry.manager,
                "operation": entry.operation,
                "apiVersion": entry.api_version,
                "fieldsType": "FieldsV1",
                "fieldsV1": entry.set.to_value(),
            });
            if !entry.time.is_empty() {
                value["time"] = json!(entry.time);
            }
            if !entry.subresource.is_empty() {
                value["subresource"] = json!(entry.subresource);
            }
            value
        })
        .collect();
    let meta = meta_mut(object);
    if list.is_empty() {
        meta.remove("managedFields");
    } else {
        meta.insert("managedFields".to_owned(), Value::Array(list));
    }
}

/// Takes out of an event what is there only because it always is.
fn without_empty(event: &mut Value) {
    let map = map_mut(event);
    for field in event_view::ALWAYS {
        let empty = match map.get(*field) {
            Some(Value::String(text)) => text.is_empty(),
            Some(Value::Object(inner)) => inner.is_empty(),
            other => other.is_none_or(Value::is_null),
        };
        if empty {
            map.remove(*field);
        }
    }
}

/// Updates ownership after a write that was not an apply.
///
/// A client may empty `managedFields`; anything else it sends there is ignored.
pub(crate) fn track_update(
    kind: &KindInfo,
    old: Option<&Value>,
    new: &mut Value,
    writer: &Writer<'_>,
) {
    let reset = at(new, &["metadata", "managedFields"])
        .and_then(Value::as_array)
        .is_some_and(|list| list.is_empty() || list.iter().all(|entry| entry == &json!({})));
    let mut managers = match old {
        Some(old) if !reset => entries(old),
        _ => Vec::new(),
    };
    // Nobody's fields are tracked until somebody applies: so it is after a create that owned
    // nothing, and after a reset.
    if old.is_some() && managers.is_empty() {
        meta_mut(new).remove("managedFields");
        return;
    }
    let empty = json!({});
    let difference = if event_view::is_view(kind) {
        // Fields are called as the writer calls them.
        let form = |object: &Value| {
            let mut object = object.clone();
            without_empty(&mut object);
            event_view::from_core(object)
        };
        compare(kind, &form(old.unwrap_or(&empty)), &form(new))
    } else if kind.builtin && kind.kind == "Event" {
        let mut plain = new.clone();
        without_empty(&mut plain);
        compare(kind, old.unwrap_or(&empty), &plain)
    } else {
        compare(kind, old.unwrap_or(&empty), new)
    };
    let mut gone = difference.removed.clone();
    gone.unite(&difference.changed);
    let api_version = kind.api_version();
    let mut found = false;
    for entry in &mut managers {
        if entry.same_writer("Update", &api_version, writer) {
            found = true;
            entry.set.subtract(&difference.removed);
            entry.set.unite(&difference.changed);
            if !difference.changed.is_empty() || !difference.removed.is_empty() {
                writer.time.clone_into(&mut entry.time);
            }
        } else {
            entry.set.subtract(&gone);
        }
    }
    if !found && !difference.changed.is_empty() {
        managers.push(Entry {
            manager: writer.manager.to_owned(),
            operation: "Update".to_owned(),
            api_version,
            subresource: writer.subresource.to_owned(),
            time: writer.time.to_owned(),
            set: difference.changed,
        });
    }
    write_entries(new, managers);
}

/// The object that an apply results in, with ownership written.
pub(crate) fn apply(
    kind: &KindInfo,
    live: Option<&Value>,
    applied: &Value,
    writer: &Writer<'_>,
    force: bool,
) -> ApiResult<Value> {
    let empty = json!({"apiVersion": kind.api_version(), "kind": kind.kind});
    let base = live.unwrap_or(&empty);
    let mut managers = live.map(entries).unwrap_or_default();
    if let Some(live) = live
        && managers.is_empty()
    {
        // What was there before the first apply belongs to whoever wrote it.
        managers.push(Entry {
            manager: "before-first-apply".to_owned(),
            operation: "Update".to_owned(),
            api_version: kind.api_version(),
            subresource: String::new(),
            time: writer.time.to_owned(),
            set: compare(kind, &empty, live).changed,
        });
    }
    let new_set = FieldSet::of_applied(kind, applied);
    let api_version = kind.api_version();
    let own = managers
        .iter()
        .position(|entry| entry.same_writer("Apply", &api_version, writer));
    let old_set = own.map(|at| managers[at].set.clone()).unwrap_or_default();

    let mut merged = base.clone();
    merge_value(kind, &mut Vec::new(), &mut merged, applied);

    // What this manager no longer applies and nobody else owns goes away.
    let mut abandoned = old_set;
    abandoned.subtract(&new_set);
    let mut kept = new_set.clone();
    for (index, entry) in managers.iter().enumerate() {
        if Some(index) != own {
            kept.unite(&entry.set);
        }
    }
    remove_members(
        kind,
        &mut Vec::new(),
        &mut merged,
        &abandoned,
        &kept,
        &mut Vec::new(),
    );

    let changed = compare(kind, base, &merged).changed.intersection(&new_set);
    let mut conflicts: Vec<(usize, Vec<Step>)> = Vec::new();
    for (index, entry) in managers.iter().enumerate() {
        if Some(index) == own {
            continue;
        }
        for path in entry.set.intersection(&changed).members() {
            conflicts.push((index, path));
        }
    }
    if !conflicts.is_empty() && !force {
        return Err(conflict(&managers, &conflicts));
    }
    for (index, entry) in managers.iter_mut().enumerate() {
        if Some(index) != own {
            entry.set.subtract(&changed);
            entry.set.keep_present(kind, &merged);
        }
    }
    match own {
        Some(at) => {
            let entry = &mut managers[at];
            if entry.set != new_set {
                writer.time.clone_into(&mut entry.time);
            }
            entry.set = new_set;
            entry.api_version = api_version;
        }
        None => managers.push(Entry {
            manager: writer.manager.to_owned(),
            operation: "Apply".to_owned(),
            api_version,
            subresource: writer.subresource.to_owned(),
            time: writer.time.to_owned(),
            set: new_set,
        }),
    }
    write_entries(&mut merged, managers);
    Ok(merged)
}

fn conflict(managers: &[Entry], conflicts: &[(usize, Vec<Step>)]) -> ApiError {
    let message = match conflicts {
        [(index, path)] => format!(
            "Apply failed with 1 conflict: conflict with {}: {}",
            managers[*index].describe(),
            print_path(path)
        ),
        many => {
            let mut blocks: Vec<(usize, Vec<String>)> = Vec::new();
            for (index, path) in many {
                let line = format!("- {}", print_path(path));
                match blocks.iter_mut().find(|(seen, _)| seen == index) {
                    Some((_, lines)) => lines.push(line),
                    None => blocks.push((*index, vec![line])),
                }
            }
            let blocks: Vec<String> = blocks
                .into_iter()
                .map(|(index, lines)| {
                    format!(
                        "conflicts with {}:\n{}",
                        managers[index].describe(),
                        lines.join("\n")
                    )
                })
                .collect();
            format!(
                "Apply failed with {} conflicts: {}",
                many.len(),
                blocks.join("\n")
            )
        }
    };
    let causes: Vec<Value> = conflicts
        .iter()
        .map(|(index, path)| {
            json!({
                "reason": "FieldManagerConflict",
                "message": format!("conflict with {}", managers[*index].describe()),
                "field": print_path(path),
            })
        })
        .collect();
    let mut error = ApiError::new(409, "Conflict", message);
    error.details = json!({"causes": causes});
    error
}

fn merge_value(kind: &KindInfo, path: &mut Vec<String>, live: &mut Value, applied: &Value) {
    let names: Vec<&str> = path.iter().map(String::as_str).collect();
    match applied {
        Value::Object(fields) if !atomic_map(kind, &names) => {
            let live = map_mut(live);
            for (key, value) in fields {
                path.push(key.clone());
                merge_value(
                    kind,
                    path,
                    live.entry(key.clone()).or_insert(Value::Null),
                    value,
                );
                path.pop();
            }
        }
        Value::Array(items) => match list_kind(kind, &names) {
            ListKind::Atomic => *live = applied.clone(),
            ListKind::Set => {
                let mut list = live.as_array().cloned().unwrap_or_default();
                for item in items {
                    if !list.contains(item) {
                        list.push(item.clone());
                    }
                }
                *live = Value::Array(list);
            }
            ListKind::Map(_) => {
                let steps = item_steps(kind, path, applied);
                if steps.len() != items.len() {
                    *live = applied.clone();
                    return;
                }
                let known: Vec<Step> = item_steps(kind, path, live)
                    .into_iter()
                    .map(|(step, _)| step)
                    .collect();
                let mut list = live.as_array().cloned().unwrap_or_default();
                for (step, item) in steps {
                    if let Some(found) = known.iter().position(|id| *id == step) {
                        merge_value(kind, path, &mut list[found], item);
                    } else {
                        let mut fresh = json!({});
                        merge_value(kind, path, &mut fresh, item);
                        list.push(fresh);
                    }
                }
                *live = Value::Array(list);
            }
        },
        other => *live = other.clone(),
    }
}

/// Removes the members of `gone` that `kept` does not reach.
fn remove_members(
    kind: &KindInfo,
    path: &mut Vec<String>,
    value: &mut Value,
    gone: &FieldSet,
    kept: &FieldSet,
    steps: &mut Vec<Step>,
) {
    for (step, child) in &gone.children {
        steps.push(step.clone());
        let keep = kept.reaches(steps);
        if let Some(name) = step.strip_prefix("f:") {
            if child.own && !keep {
                if let Value::Object(map) = value {
                    map.remove(name);
                }
            } else if let Some(inner) = value.get_mut(name) {
                path.push(name.to_owned());
                remove_members(kind, path, inner, child, kept, steps);
                path.pop();
                // A map that only this manager filled disappears with its last field.
                let emptied = match value.get(name) {
                    Some(Value::Object(map)) => map.is_empty(),
                    Some(Value::Array(list)) => list.is_empty(),
                    _ => false,
                };
                if emptied
                    && !keep
                    && let Value::Object(map) = value
                {
                    map.remove(name);
                }
            }
        } else {
            let found = item_steps(kind, path, value)
                .iter()
                .position(|(id, _)| id == step);
            if let (Some(at), Value::Array(list)) = (found, &mut *value) {
                if child.own && !keep {
                    list.remove(at);
                } else {
                    remove_members(kind, path, &mut list[at], child, kept, steps);
                }
            }
        }
        steps.pop();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::Registry;

    fn writer(manager: &str) -> Writer<'_> {
        Writer {
            manager,
            subresource: "",
            time: "2024-01-01T00:00:00Z",
        }
    }

    fn config_map(data: &Value) -> Value {
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}, "data": data})
    }

    #[test]
    fn two_appliers_share_an_object_and_conflict_only_on_values() {
        let registry = Registry::builtin();
        let kind = registry.get("", "v1", "configmaps").unwrap();
        let one = apply(
            kind,
            None,
            &config_map(&json!({"a": "1", "b": "1"})),
            &writer("one"),
            false,
        )
        .unwrap();
        let two = apply(
            kind,
            Some(&one),
            &config_map(&json!({"b": "1", "c": "2"})),
            &writer("two"),
            false,
        )
        .unwrap();
        assert_eq!(two["data"], json!({"a": "1", "b": "1", "c": "2"}));
        let error = apply(
            kind,
            Some(&two),
            &config_map(&json!({"b": "9"})),
            &writer("two"),
            false,
        )
        .unwrap_err();
        assert_eq!(
            error.message,
            "Apply failed with 1 conflict: conflict with \"one\": .data.b"
        );
        let forced = apply(
            kind,
            Some(&two),
            &config_map(&json!({"b": "9"})),
            &writer("two"),
            true,
        )
        .unwrap();
        // c was abandoned by its only owner; a stays.
        assert_eq!(forced["data"], json!({"a": "1", "b": "9"}));
    }

    #[test]
    fn an_update_takes_fields_over_without_conflict_and_shields_them() {
        let registry = Registry::builtin();
        let kind = registry.get("", "v1", "configmaps").unwrap();
        let one = apply(
            kind,
            None,
            &config_map(&json!({"a": "1"})),
            &writer("one"),
            false,
        )
        .unwrap();
        let mut updated = one.clone();
        updated["data"]["a"] = json!("2");
        track_update(kind, Some(&one), &mut updated, &writer("kubectl"));
        let error = apply(
            kind,
            Some(&updated),
            &config_map(&json!({"a": "1"})),
            &writer("one"),
            false,
        )
        .unwrap_err();
        assert_eq!(
            error.message,
            "Apply failed with 1 conflict: conflict with \"kubectl\" using v1: .data.a"
        );
    }
}
