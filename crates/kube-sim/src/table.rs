//! Tables: objects as rows of printed columns, as `kubectl get` asks for them.
//!
//! Custom kinds print their `additionalPrinterColumns`, built-in kinds the columns that
//! Kubernetes prints. Ages are counted to the `now` given; nothing here reads a clock.

mod age;
mod cluster;
mod path;
mod pods;
mod workloads;

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::registry::KindInfo;
use path::JsonPath;

/// What of the object goes with its row (`includeObject`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Include {
    /// Nothing.
    None,
    /// Its metadata, as `PartialObjectMetadata`.
    #[default]
    Metadata,
    /// All of it.
    Object,
}

/// One column: name, type, format, priority (1 prints only with `-o wide`).
#[derive(Clone, Copy)]
struct Column(&'static str, &'static str, &'static str, u8);

impl Column {
    fn definition(self) -> Value {
        json!({"name": self.0, "type": self.1, "format": self.2, "description": "", "priority": self.3})
    }
}

const NAME: Column = Column("Name", "string", "name", 0);
const AGE: Column = Column("Age", "string", "", 0);

/// How one built-in kind is printed.
struct Printer {
    columns: &'static [Column],
    row: fn(&Value, Timestamp) -> Vec<Value>,
}

const GENERIC: Printer = Printer {
    columns: &[NAME, AGE],
    row: |object, now| vec![name(object), age::created(object, now)],
};

fn printer(kind: &KindInfo) -> Printer {
    match kind.storage.as_str() {
        "/pods" => pods::PODS,
        "/nodes" => cluster::NODES,
        "/namespaces" => cluster::NAMESPACES,
        "/events" => cluster::EVENTS,
        "/secrets" => cluster::SECRETS,
        "/configmaps" => cluster::CONFIG_MAPS,
        "/services" => cluster::SERVICES,
        "/serviceaccounts" => cluster::SERVICE_ACCOUNTS,
        "/persistentvolumeclaims" => cluster::CLAIMS,
        "/persistentvolumes" => cluster::VOLUMES,
        "coordination.k8s.io/leases" => cluster::LEASES,
        "storage.k8s.io/storageclasses" => cluster::STORAGE_CLASSES,
        "scheduling.k8s.io/priorityclasses" => cluster::PRIORITY_CLASSES,
        "apiextensions.k8s.io/customresourcedefinitions"
        | "rbac.authorization.k8s.io/roles"
        | "rbac.authorization.k8s.io/clusterroles" => cluster::CREATED_AT,
        "apps/deployments" => workloads::DEPLOYMENTS,
        "apps/replicasets" | "/replicationcontrollers" => workloads::REPLICA_SETS,
        "apps/statefulsets" => workloads::STATEFUL_SETS,
        "apps/daemonsets" => workloads::DAEMON_SETS,
        "batch/jobs" => workloads::JOBS,
        "batch/cronjobs" => workloads::CRON_JOBS,
        "policy/poddisruptionbudgets" => workloads::BUDGETS,
        _ => GENERIC,
    }
}

/// A `Table` of the objects, without list metadata. Later events of a watch may go without the
/// column definitions.
pub(crate) fn table(
    kind: &KindInfo,
    objects: &[&Value],
    now: Timestamp,
    include: Include,
    with_columns: bool,
) -> Value {
    let (columns, cells): (Vec<Value>, Vec<Vec<Value>>) = if kind.builtin {
        let printer = printer(kind);
        (
            printer
                .columns
                .iter()
                .map(|column| column.definition())
                .collect(),
            objects
                .iter()
                .map(|object| (printer.row)(object, now))
                .collect(),
        )
    } else {
        custom(kind, objects, now)
    };
    let rows: Vec<Value> = objects
        .iter()
        .zip(cells)
        .map(|(object, cells)| match include {
            Include::None => json!({"cells": cells, "object": null}),
            Include::Object => json!({"cells": cells, "object": object}),
            Include::Metadata => json!({"cells": cells, "object": {
                "kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1",
                "metadata": object.get("metadata"),
            }}),
        })
        .collect();
    json!({
        "kind": "Table", "apiVersion": "meta.k8s.io/v1", "metadata": {},
        "columnDefinitions": if with_columns { Value::from(columns) } else { Value::Null },
        "rows": rows,
    })
}

fn custom(kind: &KindInfo, objects: &[&Value], now: Timestamp) -> (Vec<Value>, Vec<Vec<Value>>) {
    let age = [json!({"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"})];
    let columns: &[Value] = if kind.printer_columns.is_empty() {
        &age
    } else {
        &kind.printer_columns
    };
    let text = |column: &Value, key: &str| column[key].as_str().unwrap_or_default().to_owned();
    let definitions = std::iter::once(NAME.definition())
        .chain(columns.iter().map(|column| {
            json!({
                "name": text(column, "name"), "type": text(column, "type"),
                "format": text(column, "format"), "description": text(column, "description"),
                "priority": column["priority"].as_u64().unwrap_or(0),
            })
        }))
        .collect();
    let paths: Vec<(Option<JsonPath>, String)> = columns
        .iter()
        .map(|column| {
            (
                JsonPath::parse(&text(column, "jsonPath")).ok(),
                text(column, "type"),
            )
        })
        .collect();
    let rows = objects
        .iter()
        .map(|object| {
            std::iter::once(name(object))
                .chain(paths.iter().map(|(path, kind)| {
                    let found = path.as_ref().and_then(|path| path.first(object));
                    found.map_or(Value::Null, |found| cell(kind, found, now))
                }))
                .collect()
        })
        .collect();
    (definitions, rows)
}

fn cell(kind: &str, value: &Value, now: Timestamp) -> Value {
    match kind {
        "integer" => value
            .as_i64()
            .or_else(|| value.as_f64().map(|float| float as i64))
            .map_or(Value::Null, Value::from),
        "number" => value.as_f64().map_or(Value::Null, Value::from),
        "boolean" => value.as_bool().map_or(Value::Null, Value::from),
        "date" => match value.as_str().map(str::parse::<Timestamp>) {
            Some(Ok(time)) => age::between(time, now).into(),
            Some(Err(_)) => "<invalid>".into(),
            None => Value::Null,
        },
        _ => match value {
            Value::String(_) => value.clone(),
            Value::Null => "<nil>".into(),
            other => other.to_string().into(),
        },
    }
}

fn name(object: &Value) -> Value {
    crate::object::meta_str(object, "name").into()
}

/// Text at a path, or a placeholder.
fn text_or(object: &Value, path: &[&str], absent: &str) -> Value {
    match crate::object::str_at(object, path) {
        "" => absent.into(),
        text => text.into(),
    }
}

fn number(object: &Value, path: &[&str]) -> i64 {
    crate::object::at(object, path)
        .and_then(Value::as_i64)
        .unwrap_or_default()
}

fn items<'a>(object: &'a Value, path: &[&str]) -> impl Iterator<Item = &'a Value> + use<'a> {
    crate::object::at(object, path)
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
}

/// A label selector or a map of labels, as printed; `<none>` when empty.
fn selector(value: Option<&Value>) -> String {
    let Some(value) = value else {
        return "<none>".to_owned();
    };
    let labels = if value.get("matchLabels").is_some() || value.get("matchExpressions").is_some() {
        value.get("matchLabels")
    } else {
        Some(value)
    };
    let mut parts: Vec<String> = labels
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
        .map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default()))
        .collect();
    for expression in items(value, &["matchExpressions"]) {
        let key = expression["key"].as_str().unwrap_or_default();
        let values: Vec<&str> = items(expression, &["values"])
            .filter_map(Value::as_str)
            .collect();
        parts.push(match expression["operator"].as_str().unwrap_or_default() {
            "In" => format!("{key} in ({})", values.join(",")),
            "NotIn" => format!("{key} notin ({})", values.join(",")),
            "DoesNotExist" => format!("!{key}"),
            _ => key.to_owned(),
        });
    }
    if parts.is_empty() {
        "<none>".to_owned()
    } else {
        parts.join(",")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn selectors_print_as_kubernetes_prints_them() {
        assert_eq!(selector(Some(&json!({}))), "<none>");
        assert_eq!(selector(Some(&json!({"a": "b", "c": "d"}))), "a=b,c=d");
        let both = json!({"matchLabels": {"a": "b"}, "matchExpressions": [
            {"key": "x", "operator": "In", "values": ["1", "2"]}, {"key": "y", "operator": "DoesNotExist"}]});
        assert_eq!(selector(Some(&both)), "a=b,x in (1,2),!y");
    }
}
