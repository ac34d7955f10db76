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
pub(crate) fn from_core(mut object: Value) -> Value {
    // In this form they may be missing.
    for field in ["reportingComponent", "reportingInstance"] {
        if object[field] == json!("") {
            crate::object::map_mut(&mut object).remove(field);
        }
    }
    renamed(object, "events.k8s.io/v1", |key| {
        RENAMED
            .iter()
            .find(|(_, core)| *core == key)
            .map_or_else(|| key.to_owned(), |(view, _)| (*view).to_owned())
    })
}

/// What events.k8s.io requires of a new event, on its own form.
pub(crate) fn check_new(object: &Value) -> Vec<Cause> {
    let text = |field: &str| object[field].as_str().unwrap_or_default();
    let kind = text("type");
    let about = object["regarding"]["namespace"]
        .as_str()
        .unwrap_or_default();
    let namespace = object["metadata"]["namespace"].as_str().unwrap_or_default();
    let nowhere = (about.is_empty() && !matches!(namespace, "" | "default")).then(|| {
        let why = "does not match event.namespace";
        Cause::invalid("involvedObject.namespace", &json!(""), why)
    });
    let odd = || Cause::invalid("type", &json!(""), &format!("has invalid value: {kind}"));
    // Without a time it is held to little more than an event of the core group.
    if text("eventTime").is_empty() {
        let mut causes = vec![Cause::required("eventTime", "")];
        causes.extend(nowhere);
        if kind != "Normal" && kind != "Warning" {
            causes.push(odd());
        }
        return causes;
    }
    let mut causes: Vec<Cause> = [
        "reportingController",
        "reportingInstance",
        "action",
        "reason",
    ]
    .iter()
    .filter(|field| text(field).is_empty())
    .map(|field| Cause::required(*field, ""))
    .chain(nowhere)
    .collect();
    if kind != "Normal" && kind != "Warning" {
        causes.push(odd());
    }
    causes
}

/// Fields of a stored event that are there, empty as they may be.
pub(crate) const ALWAYS: &[&str] = &[
    "eventTime",
    "firstTimestamp",
    "lastTimestamp",
    "reportingComponent",
    "reportingInstance",
    "source",
];

/// Fills those fields.
pub(crate) fn fill_always(event: &mut Value) {
    let map = crate::object::map_mut(event);
    for field in ALWAYS {
        let empty = match *field {
            "source" => json!({}),
            "reportingComponent" | "reportingInstance" => json!(""),
            _ => Value::Null,
        };
        map.entry(*field).or_insert(empty);
    }
}

/// What a change through events.k8s.io may not touch: everything but the series.
pub(crate) fn check_change(new: &Value, old: &Value) -> Vec<Cause> {
    [
        "involvedObject",
        "reason",
        "message",
        "type",
        "eventTime",
        "action",
        "reportingComponent",
        "reportingInstance",
    ]
    .iter()
    .filter(|field| new[**field] != old[**field])
    .map(|field| Cause::invalid(*field, &new[*field], "field is immutable"))
    .collect()
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
