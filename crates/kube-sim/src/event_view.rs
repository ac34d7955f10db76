//! The two API forms of one stored Event: core/v1, which is stored, and events.k8s.io/v1.

use serde_json::{Map, Value, json};

use crate::{error::Cause, registry::KindInfo};

/// events.k8s.io field and the core field it is stored as.
const RENAMED: &[(&str, &str)] = &[
    ("note", "message"),
    ("regarding", "involvedObject"),
    ("reportingController", "reportingComponent"),
    ("deprecatedSource", "source"),
    ("deprecatedFirstTimestamp", "firstTimestamp"),
    ("deprecatedLastTimestamp", "lastTimestamp"),
    ("deprecatedCount", "count"),
];

/// True for the events.k8s.io view.
pub(crate) fn is_view(kind: &KindInfo) -> bool {
    kind.group == "events.k8s.io"
}

fn renamed(object: Value, api_version: &str, name: impl Fn(&str) -> String) -> Value {
    let Value::Object(map) = object else {
        return object;
    };
    let mut out: Map<String, Value> = map
        .into_iter()
        .map(|(key, value)| (name(&key), value))
        .collect();
    out.insert("apiVersion".to_owned(), json!(api_version));
    Value::Object(out)
}

/// The stored form of an events.k8s.io object.
pub(crate) fn to_core(object: Value) -> Value {
    renamed(object, "v1", |key| {
        RENAMED
            .iter()
            .find(|(view, _)| *view == key)
            .map_or_else(|| key.to_owned(), |(_, core)| (*core).to_owned())
    })
}

/// The events.k8s.io form of a stored object.
pub(crate) fn from_core(object: Value) -> Value {
    renamed(object, "events.k8s.io/v1", |key| {
        RENAMED
            .iter()
            .find(|(_, core)| *core == key)
            .map_or_else(|| key.to_owned(), |(view, _)| (*view).to_owned())
    })
}

/// What events.k8s.io requires of a new event, on its own form.
pub(crate) fn check_new(object: &Value) -> Vec<Cause> {
    let mut causes = Vec::new();
    for field in [
        "eventTime",
        "reportingController",
        "reportingInstance",
        "action",
        "reason",
    ] {
        if object[field].as_str().unwrap_or_default().is_empty() {
            causes.push(Cause::required(field, ""));
        }
    }
    let kind = &object["type"];
    if kind != "Normal" && kind != "Warning" {
        causes.push(Cause::invalid("type", kind, "must be Normal or Warning"));
    }
    causes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_survives_the_way_through_both_forms() {
        let view = json!({"apiVersion": "events.k8s.io/v1", "kind": "Event", "note": "n", "reason": "R",
            "regarding": {"kind": "Node"}, "deprecatedCount": 2, "reportingController": "c"});
        let core = to_core(view.clone());
        assert_eq!(core["message"], "n");
        assert_eq!(core["involvedObject"]["kind"], "Node");
        assert_eq!(core["count"], 2);
        assert_eq!(from_core(core), view);
    }
}
