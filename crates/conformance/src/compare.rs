//! Where two answers differ: the smallest parts, by path.

use serde_json::Value;

/// One place at which two values differ.
#[derive(Clone, Debug, PartialEq)]
pub struct Difference {
    /// JSON pointer.
    pub path: String,
    /// What the first has there, if anything.
    pub recorded: Option<Value>,
    /// What the second has there, if anything.
    pub played: Option<Value>,
}

impl std::fmt::Display for Difference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let text = |value: &Option<Value>| {
            value
                .as_ref()
                .map_or_else(|| "(absent)".to_owned(), ToString::to_string)
        };
        write!(
            f,
            "{}: recorded {}, played {}",
            self.path,
            text(&self.recorded),
            text(&self.played)
        )
    }
}

/// All differences, in the order of their paths.
#[must_use]
pub fn differences(recorded: &Value, played: &Value) -> Vec<Difference> {
    let mut out = Vec::new();
    compare("", Some(recorded), Some(played), &mut out);
    out
}

fn compare(
    path: &str,
    recorded: Option<&Value>,
    played: Option<&Value>,
    out: &mut Vec<Difference>,
) {
    match (recorded, played) {
        (Some(Value::Object(first)), Some(Value::Object(second))) => {
            for (key, value) in first {
                compare(&below(path, key), Some(value), second.get(key), out);
            }
            for (key, value) in second {
                if !first.contains_key(key) {
                    compare(&below(path, key), None, Some(value), out);
                }
            }
        }
        (Some(Value::Array(first)), Some(Value::Array(second))) => {
            for index in 0..first.len().max(second.len()) {
                let path = below(path, &index.to_string());
                compare(&path, first.get(index), second.get(index), out);
            }
        }
        (first, second) if first != second => out.push(Difference {
            path: path.to_owned(),
            recorded: first.cloned(),
            played: second.cloned(),
        }),
        _ => {}
    }
}

fn below(path: &str, key: &str) -> String {
    format!("{path}/{}", key.replace('~', "~0").replace('/', "~1"))
}
