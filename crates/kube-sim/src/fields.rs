//! Field sets: which leaves of an object a manager owns, in Kubernetes' `FieldsV1` form.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::{
    lists::{atomic_map, list_kind},
    registry::KindInfo,
    schema::ListKind,
};

/// One step of a path, in the text of `FieldsV1`: `f:name`, `k:{"name":"a"}` or `v:"x"`.
pub(crate) type Step = String;

/// A set of owned paths as a tree.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct FieldSet {
    /// The path that ends here is itself a member.
    pub(crate) own: bool,
    pub(crate) children: BTreeMap<Step, FieldSet>,
}

impl FieldSet {
    /// Reads `FieldsV1`.
    pub(crate) fn parse(fields: &Value) -> Self {
        let mut set = Self::default();
        for (step, inner) in fields.as_object().into_iter().flatten() {
            if step == "." {
                set.own = true;
                continue;
            }
            let mut child = Self::parse(inner);
            if child.children.is_empty() {
                child.own = true;
            }
            set.children.insert(step.clone(), child);
        }
        set
    }

    /// Writes `FieldsV1`.
    pub(crate) fn to_value(&self) -> Value {
        let mut map = Map::new();
        for (step, child) in &self.children {
            let mut inner = child.to_value();
            if child.own && !child.children.is_empty() {
                inner["."] = json!({});
            }
            map.insert(step.clone(), inner);
        }
        Value::Object(map)
    }

    pub(crate) fn is_empty(&self) -> bool {
        !self.own && self.children.is_empty()
    }

    /// Adds every member of `other`.
    pub(crate) fn unite(&mut self, other: &Self) {
        self.own |= other.own;
        for (step, child) in &other.children {
            self.children.entry(step.clone()).or_default().unite(child);
        }
    }

    /// Removes every member of `other`.
    pub(crate) fn subtract(&mut self, other: &Self) {
        if other.own {
            self.own = false;
        }
        for (step, child) in &other.children {
            if let Some(mine) = self.children.get_mut(step) {
                mine.subtract(child);
                if mine.is_empty() {
                    self.children.remove(step);
                }
            }
        }
    }

    /// Members of both.
    pub(crate) fn intersection(&self, other: &Self) -> Self {
        let mut set = Self {
            own: self.own && other.own,
            children: BTreeMap::new(),
        };
        for (step, child) in &self.children {
            if let Some(theirs) = other.children.get(step) {
                let both = child.intersection(theirs);
                if !both.is_empty() {
                    set.children.insert(step.clone(), both);
                }
            }
        }
        set
    }

    /// True when the path is a member or leads to one.
    pub(crate) fn reaches(&self, path: &[Step]) -> bool {
        match path.split_first() {
            None => !self.is_empty(),
            Some((step, rest)) => self
                .children
                .get(step)
                .is_some_and(|child| child.reaches(rest)),
        }
    }

    /// Every member path.
    pub(crate) fn members(&self) -> Vec<Vec<Step>> {
        let mut out = Vec::new();
        self.collect(&mut Vec::new(), &mut out);
        out
    }

    fn collect(&self, path: &mut Vec<Step>, out: &mut Vec<Vec<Step>>) {
        if self.own {
            out.push(path.clone());
        }
        for (step, child) in &self.children {
            path.push(step.clone());
            child.collect(path, out);
            path.pop();
        }
    }

    /// Drops members that are gone from `object`.
    pub(crate) fn keep_present(&mut self, kind: &KindInfo, object: &Value) {
        self.keep(kind, &mut Vec::new(), Some(object));
    }

    fn keep(&mut self, kind: &KindInfo, path: &mut Vec<String>, value: Option<&Value>) {
        let Some(value) = value else {
            *self = Self::default();
            return;
        };
        self.children.retain(|step, child| {
            if let Some(name) = step.strip_prefix("f:") {
                path.push(name.to_owned());
                child.keep(kind, path, value.get(name));
                path.pop();
            } else {
                let found = item_steps(kind, path, value)
                    .into_iter()
                    .find(|(id, _)| id == step)
                    .map(|(_, item)| item);
                child.keep(kind, path, found);
            }
            !child.is_empty()
        });
    }

    /// The leaves of an applied configuration.
    pub(crate) fn of_applied(kind: &KindInfo, object: &Value) -> Self {
        let mut set = Self::default();
        set.add_value(kind, &mut Vec::new(), object, false);
        for step in ["f:apiVersion", "f:kind"] {
            set.children.remove(step);
        }
        strip_server_metadata(&mut set);
        set
    }

    /// Adds the leaves under a value; with `containers`, maps and lists themselves too.
    fn add_value(
        &mut self,
        kind: &KindInfo,
        path: &mut Vec<String>,
        value: &Value,
        containers: bool,
    ) {
        let names: Vec<&str> = path.iter().map(String::as_str).collect();
        match value {
            // A struct that is there without anything in it.
            Value::Object(map) if containers && map.is_empty() && is_struct(kind, &names) => {}
            Value::Object(map) if !map.is_empty() && !atomic_map(kind, &names) => {
                if containers && !is_struct(kind, &names) {
                    self.own = true;
                }
                for (key, inner) in map {
                    path.push(key.clone());
                    self.children
                        .entry(format!("f:{key}"))
                        .or_default()
                        .add_value(kind, path, inner, containers);
                    path.pop();
                }
            }
            Value::Array(items) if !items.is_empty() => {
                let steps = item_steps(kind, path, value);
                if steps.len() != items.len() {
                    self.own = true; // atomic
                    return;
                }
                // A list that is always there, empty as it may be, is nobody's as such.
                if containers && !(kind.builtin && names.last() == Some(&"containers")) {
                    self.own = true;
                }
                for (step, item) in steps {
                    let child = self.children.entry(step).or_default();
                    child.own = true;
                    if item.is_object() {
                        child.add_value(kind, path, item, containers);
                    }
                }
            }
            _ => self.own = true,
        }
    }
}

/// Struct-valued fields of built-in kinds are never absent, so no manager owns them as such.
fn is_struct(kind: &KindInfo, path: &[&str]) -> bool {
    match path {
        [] | ["metadata"] => true,
        _ if !kind.builtin => false,
        ["source"] => kind.kind == "Event",
        [
            ..,
            "spec" | "status" | "template" | "strategy" | "updateStrategy",
        ]
        | [.., "template", "metadata"] => true,
        _ => false,
    }
}

/// The items of a set or map list with their steps; empty for an atomic list or wrong items.
pub(crate) fn item_steps<'v>(
    kind: &KindInfo,
    path: &[String],
    list: &'v Value,
) -> Vec<(Step, &'v Value)> {
    let Some(items) = list.as_array() else {
        return Vec::new();
    };
    let names: Vec<&str> = path.iter().map(String::as_str).collect();
    match list_kind(kind, &names) {
        ListKind::Atomic => Vec::new(),
        ListKind::Set => items
            .iter()
            .filter(|item| !item.is_object() && !item.is_array())
            .map(|item| (format!("v:{item}"), item))
            .collect(),
        ListKind::Map(keys) => items
            .iter()
            .filter_map(|item| Some((key_step(&keys, item)?, item)))
            .collect(),
    }
}

fn key_step(keys: &[String], item: &Value) -> Option<Step> {
    let mut id: BTreeMap<&str, Value> = BTreeMap::new();
    for key in keys {
        let value = match item.get(key) {
            Some(value) => value.clone(),
            None if key == "protocol" => json!("TCP"),
            None => continue,
        };
        id.insert(key, value);
    }
    if id.is_empty() {
        return None;
    }
    serde_json::to_string(&id).ok().map(|id| format!("k:{id}"))
}

/// What a write changed, as leaf sets.
#[derive(Debug, Default)]
pub(crate) struct Difference {
    /// Added or with another value.
    pub(crate) changed: FieldSet,
    pub(crate) removed: FieldSet,
}

/// Compares two versions of an object, server-owned metadata left out.
pub(crate) fn compare(kind: &KindInfo, old: &Value, new: &Value) -> Difference {
    let mut difference = Difference::default();
    walk(
        kind,
        &mut Vec::new(),
        old,
        new,
        &mut difference.changed,
        &mut difference.removed,
    );
    for set in [&mut difference.changed, &mut difference.removed] {
        set.children.remove("f:apiVersion");
        set.children.remove("f:kind");
        strip_server_metadata(set);
    }
    difference
}

fn walk(
    kind: &KindInfo,
    path: &mut Vec<String>,
    old: &Value,
    new: &Value,
    changed: &mut FieldSet,
    removed: &mut FieldSet,
) {
    if old == new {
        return;
    }
    let names: Vec<&str> = path.iter().map(String::as_str).collect();
    match (old, new) {
        (Value::Object(before), Value::Object(after)) if !atomic_map(kind, &names) => {
            for (key, value) in after {
                let step = format!("f:{key}");
                path.push(key.clone());
                if let Some(previous) = before.get(key) {
                    let mut inner = (FieldSet::default(), FieldSet::default());
                    walk(kind, path, previous, value, &mut inner.0, &mut inner.1);
                    attach(changed, &step, &inner.0);
                    attach(removed, &step, &inner.1);
                } else {
                    let mut added = FieldSet::default();
                    added.add_value(kind, path, value, true);
                    attach(changed, &step, &added);
                }
                path.pop();
            }
            for (key, value) in before {
                if !after.contains_key(key) {
                    path.push(key.clone());
                    removed
                        .children
                        .entry(format!("f:{key}"))
                        .or_default()
                        .add_value(kind, path, value, true);
                    path.pop();
                }
            }
        }
        (Value::Array(before), Value::Array(after)) => {
            let (old_items, new_items) = (item_steps(kind, path, old), item_steps(kind, path, new));
            let keyed = (old_items.len(), new_items.len()) == (before.len(), after.len())
                && !(before.is_empty() && after.is_empty());
            if !keyed {
                changed.own = true;
                return;
            }
            for (step, value) in &new_items {
                if let Some((_, previous)) = old_items.iter().find(|(id, _)| id == step) {
                    let mut inner = (FieldSet::default(), FieldSet::default());
                    walk(kind, path, previous, value, &mut inner.0, &mut inner.1);
                    attach(changed, step, &inner.0);
                    attach(removed, step, &inner.1);
                } else {
                    let child = changed.children.entry(step.clone()).or_default();
                    child.own = true;
                    if value.is_object() {
                        child.add_value(kind, path, value, true);
                    }
                }
            }
            for (step, value) in &old_items {
                if !new_items.iter().any(|(id, _)| id == step) {
                    let child = removed.children.entry(step.clone()).or_default();
                    child.own = true;
                    if value.is_object() {
                        child.add_value(kind, path, value, true);
                    }
                }
            }
        }
        _ => changed.add_value(kind, path, new, true),
    }
}

fn attach(set: &mut FieldSet, step: &str, inner: &FieldSet) {
    if !inner.is_empty() {
        set.children
            .entry(step.to_owned())
            .or_default()
            .unite(inner);
    }
}

/// Metadata that the server writes is owned by nobody.
fn strip_server_metadata(set: &mut FieldSet) {
    if let Some(meta) = set.children.get_mut("f:metadata") {
        for field in [
            "name",
            "namespace",
            "creationTimestamp",
            "selfLink",
            "uid",
            "generation",
            "managedFields",
            "resourceVersion",
            "deletionTimestamp",
            "deletionGracePeriodSeconds",
        ] {
            meta.children.remove(&format!("f:{field}"));
        }
        meta.own = false;
        if meta.is_empty() {
            set.children.remove("f:metadata");
        }
    }
}

/// A path as conflict messages print it: `.spec.containers[name="a"].image`.
pub(crate) fn print_path(path: &[Step]) -> String {
    path.iter()
        .map(|step| {
            if let Some(name) = step.strip_prefix("f:") {
                format!(".{name}")
            } else if let Some(keys) = step.strip_prefix("k:") {
                let keys: BTreeMap<String, Value> = serde_json::from_str(keys).unwrap_or_default();
                let pairs: Vec<String> = keys
                    .iter()
                    .map(|(key, value)| format!("{key}={value}"))
                    .collect();
                format!("[{}]", pairs.join(","))
            } else {
                format!("[={}]", step.strip_prefix("v:").unwrap_or(step))
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::Registry;

    #[test]
    fn field_sets_round_trip_and_name_list_items_by_key() {
        let registry = Registry::builtin();
        let kind = registry.get("", "v1", "pods").unwrap();
        let set = FieldSet::of_applied(
            kind,
            &json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "x", "labels": {"a": "b"}},
                    "spec": {"containers": [{"name": "c", "image": "i"}], "nodeSelector": {"k": "v"}}}),
        );
        let expected = json!({
            "f:metadata": {"f:labels": {"f:a": {}}},
            "f:spec": {"f:containers": {"k:{\"name\":\"c\"}": {".": {}, "f:image": {}, "f:name": {}}}, "f:nodeSelector": {}},
        });
        assert_eq!(set.to_value(), expected);
        assert_eq!(FieldSet::parse(&expected), set);
        let paths: Vec<String> = set.members().iter().map(|path| print_path(path)).collect();
        assert!(paths.contains(&".spec.containers[name=\"c\"].image".to_owned()));
    }
}
