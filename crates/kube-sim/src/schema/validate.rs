//! Structural validation: types, limits, formats and list types, in Kubernetes' words.
//!
//! What is equal to the value it replaces is not judged again (validation ratcheting): an object
//! stored before a schema was tightened can still be changed elsewhere.

use serde_json::Value;

use super::{
    ListKind,
    format::{matches, number},
    node::{Additional, Node, Type},
    shape::join,
};
use crate::error::Cause;

/// True for errors after which Kubernetes does not evaluate CEL rules.
pub(super) fn blocks_rules(cause: &Cause) -> bool {
    matches!(
        cause.reason.as_str(),
        "FieldValueNotSupported"
            | "FieldValueRequired"
            | "FieldValueTooLong"
            | "FieldValueTooMany"
            | "FieldValueTypeInvalid"
    )
}

fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

fn has_type(node: &Node, value: &Value) -> bool {
    if node.int_or_string {
        return value.is_string() || value.is_i64() || value.is_u64();
    }
    match node.types {
        None => true,
        Some(Type::Object) => value.is_object(),
        Some(Type::Array) => value.is_array(),
        Some(Type::String) => value.is_string(),
        Some(Type::Boolean) => value.is_boolean(),
        Some(Type::Number) => value.is_number(),
        Some(Type::Integer) => {
            value.is_i64()
                || value.is_u64()
                || value.as_f64().is_some_and(|float| float.fract() == 0.0)
        }
    }
}

struct Report<'a> {
    path: &'a str,
    errors: &'a mut Vec<Cause>,
}

impl Report<'_> {
    fn invalid(&mut self, value: &Value, detail: &str) {
        // Kubernetes names an object or list by its type rather than printing it.
        let shown = match value {
            Value::Object(_) | Value::Array(_) => Value::from(type_name(value)),
            scalar => scalar.clone(),
        };
        self.refuse(&shown, detail);
    }

    fn refuse(&mut self, shown: &Value, detail: &str) {
        let text = format!("{} in body {detail}", self.path);
        self.errors.push(Cause::invalid(self.path, shown, &text));
    }

    fn wrong_type(&mut self, wanted: &str, value: &Value) {
        let found = type_name(value);
        self.errors.push(Cause::new(
            "FieldValueTypeInvalid",
            self.path,
            format!(
                "Invalid value: {found:?}: {} in body must be of type {wanted}: {found:?}",
                self.path
            ),
        ));
    }

    fn too_many(&mut self, count: usize, limit: u64) {
        self.errors.push(Cause::new(
            "FieldValueTooMany",
            self.path,
            format!(
                "Too many: {count}: must have at most {limit} {}",
                if limit == 1 { "item" } else { "items" }
            ),
        ));
    }
}

/// Validates `value` and everything below it.
pub(super) fn structural(
    node: &Node,
    value: &Value,
    old: Option<&Value>,
    path: &str,
    errors: &mut Vec<Cause>,
) {
    if old == Some(value) {
        return;
    }
    let untyped = node.types.is_none() && !node.int_or_string;
    if value.is_null() && (node.nullable || untyped) {
        return;
    }
    let mut report = Report { path, errors };
    if !has_type(node, value) {
        let whole = node.types == Some(Type::Integer) && !node.format.is_empty();
        if whole && value.is_f64() {
            // A fraction is met by the check of the format first.
            let format = &node.format;
            report.errors.push(Cause::new(
                "FieldValueTypeInvalid",
                path,
                format!(
                    "Invalid value: \"float64\": {path} in body must be of type {format}: \"float64\""
                ),
            ));
            let why =
                format!("Checked value must be of type integer with format {format} in {path}");
            report
                .errors
                .push(Cause::invalid("<nil>", &Value::from(""), &why));
            return;
        }
        let wanted = if node.int_or_string {
            "integer,string"
        } else {
            node.types.map_or("", Type::name)
        };
        report.wrong_type(wanted, value);
        return;
    }
    if !node.enumeration.is_empty() && !node.enumeration.contains(value) {
        let shown: Vec<String> = node
            .enumeration
            .iter()
            .map(|allowed| {
                allowed
                    .as_str()
                    .map_or_else(|| allowed.to_string(), str::to_owned)
            })
            .collect();
        let shown: Vec<&str> = shown.iter().map(String::as_str).collect();
        report.errors.push(Cause::unsupported(path, value, &shown));
    }
    match value {
        Value::String(text) => string(node, value, text, &mut report),
        Value::Number(_) => numeric(node, value, &mut report),
        Value::Array(items) => list(node, value, items, old, &mut report),
        Value::Object(_) => object(node, value, old, &mut report),
        Value::Null | Value::Bool(_) => {}
    }
    combined(node, value, path, errors);
}

fn string(node: &Node, value: &Value, text: &str, report: &mut Report<'_>) {
    let length = text.chars().count() as u64;
    if let Some(max) = node.length.max.filter(|max| length > *max) {
        report.errors.push(Cause::new(
            "FieldValueTooLong",
            report.path,
            format!("Too long: may not be more than {max} bytes"),
        ));
        return;
    }
    if let Some(min) = node.length.min.filter(|min| length < *min) {
        report.invalid(value, &format!("should be at least {min} chars long"));
    }
    if let Some(pattern) = node.pattern.as_ref().filter(|p| !p.is_match(text)) {
        report.invalid(value, &format!("should match '{}'", pattern.as_str()));
    }
    if !matches(&node.format, text) {
        let text = format!(
            "{} in body must be of type {}: {value}",
            report.path, node.format
        );
        report.errors.push(Cause::new(
            "FieldValueTypeInvalid",
            report.path,
            format!("Invalid value: {value}: {text}"),
        ));
    }
}

fn numeric(node: &Node, value: &Value, report: &mut Report<'_>) {
    let Some(figure) = value.as_f64() else {
        return;
    };
    let integer = node.types == Some(Type::Integer);
    if integer
        && node.format == "int32"
        && value.as_i64().is_none_or(|v| i32::try_from(v).is_err())
        && figure.abs() > f64::from(i32::MAX)
    {
        report.invalid(value, "must be of type int32: \"int64\"");
    }
    if let Some(bound) = node.minimum {
        let limit = number(bound.value);
        if bound.exclusive && figure <= bound.value {
            report.invalid(value, &format!("should be greater than {limit}"));
        } else if !bound.exclusive && figure < bound.value {
            report.invalid(
                value,
                &format!("should be greater than or equal to {limit}"),
            );
        }
    }
    if let Some(bound) = node.maximum {
        let limit = number(bound.value);
        if bound.exclusive && figure >= bound.value {
            report.invalid(value, &format!("should be less than {limit}"));
        } else if !bound.exclusive && figure > bound.value {
            report.invalid(value, &format!("should be less than or equal to {limit}"));
        }
    }
    if let Some(step) = node.multiple_of
        && (figure / step).fract() != 0.0
    {
        report.invalid(value, &format!("should be a multiple of {}", number(step)));
    }
}

/// The item of the old list that has the same keys, for lists that have keys.
pub(super) fn counterpart<'a>(
    node: &Node,
    item: &Value,
    old: Option<&'a Value>,
) -> Option<&'a Value> {
    let ListKind::Map(keys) = &node.list_kind else {
        return None;
    };
    old?.as_array()?
        .iter()
        .find(|other| keys.iter().all(|key| other.get(key) == item.get(key)))
}

fn list(node: &Node, value: &Value, items: &[Value], old: Option<&Value>, report: &mut Report<'_>) {
    let count = items.len() as u64;
    if let Some(max) = node.item_count.max.filter(|max| count > *max) {
        report.too_many(items.len(), max);
    }
    if let Some(min) = node.item_count.min.filter(|min| count < *min) {
        report.refuse(
            &Value::from(count),
            &format!("should have at least {min} items"),
        );
    }
    let repeated = |index: usize| items[..index].contains(&items[index]);
    if node.unique_items && (0..items.len()).any(repeated) {
        report.invalid(value, "shouldn't contain duplicates");
    }
    for (index, item) in items.iter().enumerate() {
        let at = format!("{}[{index}]", report.path);
        let duplicate = match &node.list_kind {
            ListKind::Atomic => None,
            ListKind::Set => repeated(index).then(|| item.clone()),
            ListKind::Map(keys) => {
                let identity = |item: &Value| -> Value {
                    keys.iter()
                        .filter_map(|key| Some((key.clone(), item.get(key)?.clone())))
                        .collect::<serde_json::Map<_, _>>()
                        .into()
                };
                let own = identity(item);
                items[..index]
                    .iter()
                    .any(|other| identity(other) == own)
                    .then_some(own)
            }
        };
        if let Some(shown) = duplicate {
            report.errors.push(Cause::new(
                "FieldValueDuplicate",
                &at,
                format!("Duplicate value: {shown}"),
            ));
        }
        if let Some(below) = &node.items {
            structural(
                below,
                item,
                counterpart(node, item, old),
                &at,
                report.errors,
            );
        }
    }
}

fn object(node: &Node, value: &Value, old: Option<&Value>, report: &mut Report<'_>) {
    let Some(map) = value.as_object() else {
        return;
    };
    let count = map.len() as u64;
    if let Some(max) = node.property_count.max.filter(|max| count > *max) {
        report.too_many(map.len(), max);
    }
    if let Some(min) = node.property_count.min.filter(|min| count < *min) {
        report.refuse(
            &Value::from(count),
            &format!("should have at least {min} properties"),
        );
    }
    for name in &node.required {
        if !map.contains_key(name) {
            report
                .errors
                .push(Cause::required(join(report.path, name), ""));
        }
    }
    for (name, part) in map {
        let before = old.and_then(|old| old.get(name));
        if let Some(below) = node.properties.get(name) {
            // The server validates the metadata of whole objects by rules of its own.
            if !(node.embedded && name == "metadata") {
                structural(below, part, before, &join(report.path, name), report.errors);
            }
        } else if let Additional::Schema(below) = &node.additional {
            structural(below, part, before, &join(report.path, name), report.errors);
        }
    }
}

fn combined(node: &Node, value: &Value, path: &str, errors: &mut Vec<Cause>) {
    let holds = |part: &Node| {
        let mut found = Vec::new();
        structural(part, value, None, path, &mut found);
        found.is_empty()
    };
    let shown = match value {
        Value::Object(_) | Value::Array(_) => Value::from(type_name(value)),
        scalar => scalar.clone(),
    };
    let mut refuse = |text: &str| {
        errors.push(Cause::invalid(path, &shown, &format!("{path:?} {text}")));
    };
    if !node.any_of.is_empty() && !node.any_of.iter().any(holds) {
        refuse("must validate at least one schema (anyOf)");
    }
    if !node.one_of.is_empty() {
        match node.one_of.iter().filter(|part| holds(part)).count() {
            1 => {}
            0 => refuse("must validate one and only one schema (oneOf). Found none valid"),
            found => refuse(&format!(
                "must validate one and only one schema (oneOf). Found {found} valid alternatives"
            )),
        }
    }
    if node.not.as_deref().is_some_and(holds) {
        refuse("must not validate the schema (not)");
    }
    if !node.all_of.iter().all(holds) {
        refuse("must validate all the schemas (allOf)");
        for part in &node.all_of {
            structural(part, value, None, path, errors);
        }
    }
}
