//! Label and field selectors: parsing as apimachinery does, and matching.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::{
    error::{ApiError, ApiResult},
    registry::KindInfo,
};

/// One requirement on a label.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Requirement {
    In(String, Vec<String>),
    NotIn(String, Vec<String>),
    Exists(String),
    Absent(String),
    Greater(String, i64),
    Less(String, i64),
}

/// A parsed label selector; empty selects everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct LabelSelector(Vec<Requirement>);

impl LabelSelector {
    /// Parses the query form: `a=b,c!=d,e in (f,g),h notin (i),j,!k`.
    pub(crate) fn parse(text: &str) -> ApiResult<Self> {
        let bad =
            |why: String| ApiError::bad_request(format!("unable to parse requirement: {why}"));
        let mut requirements = Vec::new();
        if text.trim_end().ends_with(',') {
            return Err(ApiError::bad_request(
                "found '', expected: identifier after ','",
            ));
        }
        for part in split_outside_parentheses(text) {
            let part = part.trim();
            if part.is_empty() {
                continue;
            }
            requirements.push(Self::requirement(part).map_err(bad)?);
        }
        Ok(Self(requirements))
    }

    fn requirement(part: &str) -> Result<Requirement, String> {
        let label = |key: &str| -> Result<String, String> {
            let key = key.trim();
            crate::names::check_qualified(key).map_or_else(
                || Ok(key.to_owned()),
                |why| Err(format!("<nil>: Invalid value: {key:?}: {why}")),
            )
        };
        if let Some(key) = part.strip_prefix('!') {
            return Ok(Requirement::Absent(label(key)?));
        }
        if let Some(open) = part.find('(') {
            let close = part
                .rfind(')')
                .ok_or_else(|| format!("found {part:?}, expected: ')'"))?;
            let values: Vec<String> = part[open + 1..close]
                .split(',')
                .map(|value| value.trim().to_owned())
                .collect();
            let mut head = part[..open].split_whitespace();
            let key = label(head.next().unwrap_or_default())?;
            return match head.next() {
                Some("in") => Ok(Requirement::In(key, values)),
                Some("notin") => Ok(Requirement::NotIn(key, values)),
                other => Err(format!(
                    "found '{}', expected: in, notin, =, ==, !=, gt, lt",
                    other.unwrap_or_default()
                )),
            };
        }
        for (operator, negative) in [("!=", true), ("==", false), ("=", false)] {
            if let Some((key, value)) = part.split_once(operator) {
                let value = value.trim();
                if let Some(why) = crate::names::check_label_value(value) {
                    return Err(format!(
                        "values[0][{}]: Invalid value: {value:?}: {why}",
                        key.trim()
                    ));
                }
                let key = label(key)?;
                let values = vec![value.to_owned()];
                return Ok(if negative {
                    Requirement::NotIn(key, values)
                } else {
                    Requirement::In(key, values)
                });
            }
        }
        for (operator, greater) in [('>', true), ('<', false)] {
            if let Some((key, value)) = part.split_once(operator) {
                let bound = value.trim().parse().map_err(|_| {
                    format!("values[0]: Invalid value: {:?}: for 'Gt', 'Lt' operators, the value must be an integer", value.trim())
                })?;
                let key = label(key)?;
                return Ok(if greater {
                    Requirement::Greater(key, bound)
                } else {
                    Requirement::Less(key, bound)
                });
            }
        }
        if let [_, "in" | "notin", found] = part.split_whitespace().collect::<Vec<_>>()[..] {
            return Err(format!("found '{found}' expected: '('"));
        }
        Ok(Requirement::Exists(label(part)?))
    }

    /// Reads a `metav1.LabelSelector` object. An empty object selects everything.
    pub(crate) fn from_object(selector: &Value) -> Self {
        let mut requirements = Vec::new();
        if let Some(labels) = selector.get("matchLabels").and_then(Value::as_object) {
            for (key, value) in labels {
                let value = value.as_str().unwrap_or_default().to_owned();
                requirements.push(Requirement::In(key.clone(), vec![value]));
            }
        }
        for item in selector
            .get("matchExpressions")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
        {
            let key = item["key"].as_str().unwrap_or_default().to_owned();
            let values = item["values"]
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(Value::as_str)
                .map(str::to_owned)
                .collect();
            requirements.push(match item["operator"].as_str().unwrap_or_default() {
                "In" => Requirement::In(key, values),
                "NotIn" => Requirement::NotIn(key, values),
                "DoesNotExist" => Requirement::Absent(key),
                _ => Requirement::Exists(key),
            });
        }
        Self(requirements)
    }

    /// True when nothing is required.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// True when the labels meet every requirement.
    pub(crate) fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        self.0.iter().all(|requirement| match requirement {
            Requirement::In(key, values) => {
                labels.get(key).is_some_and(|value| values.contains(value))
            }
            Requirement::NotIn(key, values) => {
                labels.get(key).is_none_or(|value| !values.contains(value))
            }
            Requirement::Exists(key) => labels.contains_key(key),
            Requirement::Absent(key) => !labels.contains_key(key),
            Requirement::Greater(key, bound) => integer(labels, key).is_some_and(|v| v > *bound),
            Requirement::Less(key, bound) => integer(labels, key).is_some_and(|v| v < *bound),
        })
    }
}

fn integer(labels: &BTreeMap<String, String>, key: &str) -> Option<i64> {
    labels.get(key)?.parse().ok()
}

fn split_outside_parentheses(text: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    let (mut depth, mut start) = (0_usize, 0);
    for (at, character) in text.char_indices() {
        match character {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            ',' if depth == 0 => {
                parts.push(&text[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&text[start..]);
    parts
}

/// What a field requirement compares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Field {
    Name,
    Namespace,
    /// Index into the storage kind's `selectable_fields`.
    Indexed(usize),
}

/// A parsed field selector; empty selects everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct FieldSelector(Vec<(Field, bool, String)>);

impl FieldSelector {
    /// Parses `a=b,c!=d`; fields the kind does not offer are refused with 400.
    ///
    /// `stored` is the kind whose `selectable_fields` the store indexes: for events.k8s.io
    /// that is the core Event.
    pub(crate) fn parse(text: &str, kind: &KindInfo, stored: &KindInfo) -> ApiResult<Self> {
        let mut requirements = Vec::new();
        for part in text
            .split(',')
            .map(str::trim)
            .filter(|part| !part.is_empty())
        {
            let (path, equal, value) = if let Some((path, value)) = part.split_once("!=") {
                (path, false, value)
            } else if let Some((path, value)) = part.split_once("==") {
                (path, true, value)
            } else if let Some((path, value)) = part.split_once('=') {
                (path, true, value)
            } else {
                return Err(ApiError::bad_request(format!(
                    "invalid selector: '{text}'; can't understand '{part}'"
                )));
            };
            let path = path.trim();
            let position = kind
                .selectable_fields
                .iter()
                .position(|field| field == path)
                .and_then(|_| {
                    let core = core_event_field(path);
                    stored
                        .selectable_fields
                        .iter()
                        .position(|field| *field == core)
                });
            let field = match (path, position) {
                ("metadata.name", _) => Field::Name,
                ("metadata.namespace", _) if kind.namespaced || kind.builtin => Field::Namespace,
                (_, Some(index)) => Field::Indexed(index),
                _ => {
                    return Err(ApiError::bad_request(
                        if kind.builtin && kind.selectable_fields.is_empty() {
                            format!(
                                "{path:?} is not a known field selector: only \"metadata.name\", \"metadata.namespace\""
                            )
                        } else {
                            format!("field label not supported: {path}")
                        },
                    ));
                }
            };
            requirements.push((field, equal, value.trim().replace('\\', "")));
        }
        Ok(Self(requirements))
    }

    /// True when nothing is required.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// True when the object's name, namespace and indexed fields meet every requirement.
    pub(crate) fn matches(&self, name: &str, namespace: &str, fields: &[String]) -> bool {
        self.0.iter().all(|(field, equal, value)| {
            let actual = match field {
                Field::Name => name,
                Field::Namespace => namespace,
                Field::Indexed(index) => fields.get(*index).map_or("", String::as_str),
            };
            (actual == value) == *equal
        })
    }
}

/// The core Event's name of an events.k8s.io field; other paths are returned as they are.
fn core_event_field(path: &str) -> String {
    match path.strip_prefix("regarding.") {
        Some(rest) => format!("involvedObject.{rest}"),
        None if path == "reportingController" => "reportingComponent".to_owned(),
        None => path.to_owned(),
    }
}

/// The value a field selector sees at a dotted path.
pub(crate) fn field_value(object: &Value, path: &str) -> String {
    if path == "source" {
        let component = crate::object::str_at(object, &["source", "component"]);
        let fallback = crate::object::str_at(object, &["reportingComponent"]);
        return if component.is_empty() {
            fallback
        } else {
            component
        }
        .to_owned();
    }
    let value = path
        .trim_start_matches('.')
        .split('.')
        .try_fold(object, |value, key| value.get(key));
    match value {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Bool(flag)) => flag.to_string(),
        Some(Value::Number(number)) => number.to_string(),
        // Booleans and numbers of typed objects read as their zero value.
        _ if path.ends_with("unschedulable") || path.ends_with("hostNetwork") => "false".to_owned(),
        _ if path == "status.replicas" || path == "status.successful" => "0".to_owned(),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect()
    }

    #[test]
    fn every_operator_of_a_label_selector_selects_as_documented() {
        let a = labels(&[("app", "web"), ("tier", "2")]);
        for (text, expected) in [
            ("app=web", true),
            ("app==web,tier=2", true),
            ("app!=web", false),
            ("missing!=web", true),
            ("app in (web,db)", true),
            ("app notin (web,db)", false),
            ("app", true),
            ("!app", false),
            ("!other", true),
            ("tier>1", true),
            ("tier<2", false),
            ("", true),
        ] {
            assert_eq!(
                LabelSelector::parse(text).unwrap().matches(&a),
                expected,
                "{text}"
            );
        }
        assert!(LabelSelector::parse("a b c").is_err());
    }
}
