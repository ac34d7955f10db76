//! Faults that change what an answer says, not what happened.

use runtime::Randomness;
use serde_json::{Value, json};

use crate::{
    fault::{Fault, Faults},
    reply::{Body, Reply},
};

/// No answer is padded beyond this, so that a scenario cannot exhaust the memory.
const LARGEST: u64 = 256 << 20;

/// Applies the faults that strike this answer; `shuffled` is the configured disorder of rows.
pub(crate) fn distort(reply: &mut Reply, faults: &Faults, shuffled: bool, random: &Randomness) {
    let Body::Json(body) = &mut reply.body else {
        return;
    };
    if (shuffled || faults.has(&Fault::ShuffledRows))
        && let Some(rows) = rows(body)
    {
        for last in (1..rows.len()).rev() {
            rows.swap(last, random.below(last as u64 + 1) as usize);
        }
    }
    if faults.has(&Fault::EmptyListAlthough)
        && let Some(rows) = rows(body)
    {
        rows.clear();
    }
    if faults.has(&Fault::PartialPage)
        && let Some(rows) = rows(body)
    {
        rows.truncate(rows.len() / 2);
    }
    if faults.has(&Fault::MissingUuid)
        && let Some(rows) = rows(body)
    {
        for row in rows.iter_mut().filter_map(Value::as_object_mut) {
            row.remove("identifier");
        }
    }
    if faults.has(&Fault::WrongTypes) && body.get("data").is_some() {
        body["data"] = match &body["data"] {
            Value::Array(_) => json!({"0": "unexpected"}),
            Value::Object(_) => json!(["unexpected"]),
            _ => json!({"unexpected": [1, 2]}),
        };
    }
    if faults.has(&Fault::NumbersAsStrings) {
        retype(body);
    }
    let deep = faults.find(|fault| match fault {
        Fault::DeepBody { depth } => Some(*depth as usize),
        _ => None,
    });
    if let Some(depth) = deep {
        reply.body = Body::Raw {
            content_type: "application/json",
            text: format!(
                r#"{{"error":false,"data":{}{}}}"#,
                "[".repeat(depth),
                "]".repeat(depth)
            ),
        };
        return;
    }
    let huge = faults.find(|fault| match fault {
        Fault::HugeBody { bytes } => Some(*bytes),
        _ => None,
    });
    if let Some(bytes) = huge
        && let Some(object) = body.as_object_mut()
    {
        let padding = "x".repeat(bytes.min(LARGEST) as usize);
        object.insert("padding".to_owned(), Value::String(padding));
    }
}

/// The rows of a list answer, wherever this API keeps them.
fn rows(body: &mut Value) -> Option<&mut Vec<Value>> {
    let data = body.get_mut("data")?;
    if data.is_array() {
        return data.as_array_mut();
    }
    let key = if data.get("nodes").is_some() {
        "nodes"
    } else {
        "rows"
    };
    data.get_mut(key)?.as_array_mut()
}

fn retype(value: &mut Value) {
    match value {
        Value::Number(number) => *value = Value::String(number.to_string()),
        Value::Bool(flag) => *value = Value::from(u8::from(*flag)),
        Value::Array(items) => items.iter_mut().for_each(retype),
        Value::Object(fields) => fields.values_mut().for_each(retype),
        Value::Null | Value::String(_) => {}
    }
}
