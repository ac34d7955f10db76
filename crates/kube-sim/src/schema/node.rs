//! The compiled form of one place in a schema, read from the document with all its limits.

use std::collections::BTreeMap;

use regex::Regex;
use serde_json::{Map, Value};

use super::{ListKind, SchemaError, rules::Rule};

/// JSON types a schema may ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Type {
    Object,
    Array,
    String,
    Integer,
    Number,
    Boolean,
}

impl Type {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Object => "object",
            Self::Array => "array",
            Self::String => "string",
            Self::Integer => "integer",
            Self::Number => "number",
            Self::Boolean => "boolean",
        }
    }
}

/// What may stand under names that `properties` does not list.
#[derive(Clone, Debug)]
pub(super) enum Additional {
    /// Nothing; such fields are pruned.
    Pruned,
    /// Anything.
    Any,
    /// Values of this schema: the object is a map.
    Schema(Box<Node>),
}

/// A bound of a number, with whether the bound itself is excluded.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bound {
    pub(super) value: f64,
    pub(super) exclusive: bool,
}

/// Smallest and largest count; `None` means no limit.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Count {
    pub(super) min: Option<u64>,
    pub(super) max: Option<u64>,
}

/// One place in a schema.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) types: Option<Type>,
    pub(super) int_or_string: bool,
    pub(super) nullable: bool,
    pub(super) preserve: bool,
    /// An object with apiVersion, kind and metadata of its own.
    pub(super) embedded: bool,
    pub(super) default: Option<Value>,
    pub(super) properties: BTreeMap<String, Node>,
    pub(super) required: Vec<String>,
    pub(super) additional: Additional,
    pub(super) items: Option<Box<Node>>,
    pub(super) list_kind: ListKind,
    pub(super) atomic_map: bool,
    pub(super) unique_items: bool,
    pub(super) enumeration: Vec<Value>,
    pub(super) pattern: Option<Regex>,
    pub(super) format: String,
    pub(super) minimum: Option<Bound>,
    pub(super) maximum: Option<Bound>,
    pub(super) multiple_of: Option<f64>,
    pub(super) length: Count,
    pub(super) item_count: Count,
    pub(super) property_count: Count,
    pub(super) all_of: Vec<Node>,
    pub(super) any_of: Vec<Node>,
    pub(super) one_of: Vec<Node>,
    pub(super) not: Option<Box<Node>>,
    pub(super) rules: Vec<Rule>,
    /// There are rules here or below.
    pub(super) rules_below: bool,
    /// Rules as written, until [`Node::compile_rules`].
    pub(super) rule_documents: Vec<Value>,
}

fn flag(document: &Map<String, Value>, key: &str) -> bool {
    document.get(key).and_then(Value::as_bool).unwrap_or(false)
}

fn flag_of(part: &Value, key: &str) -> bool {
    part.get(key).and_then(Value::as_bool).unwrap_or(false)
}

fn child(path: &str, segment: &str) -> String {
    if path.is_empty() {
        segment.to_owned()
    } else {
        format!("{path}.{segment}")
    }
}

fn count(document: &Map<String, Value>, min: &str, max: &str) -> Count {
    let read = |key| {
        document.get(key).and_then(|value: &Value| {
            value
                .as_u64()
                .or_else(|| value.as_f64().filter(|v| *v >= 0.0).map(|v| v as u64))
        })
    };
    Count {
        min: read(min),
        max: read(max),
    }
}

fn bound(document: &Map<String, Value>, key: &str, exclusive: &str) -> Option<Bound> {
    Some(Bound {
        value: document.get(key)?.as_f64()?,
        exclusive: flag(document, exclusive),
    })
}

fn nodes(document: &Map<String, Value>, key: &str, path: &str) -> Result<Vec<Node>, SchemaError> {
    document
        .get(key)
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .enumerate()
        .map(|(index, part)| Node::parse(part, &child(path, &format!("{key}[{index}]"))))
        .collect()
}

fn strings(value: Option<&Value>) -> Vec<String> {
    value
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .map(str::to_owned)
        .collect()
}

impl Node {
    /// Reads the document; its CEL rules are compiled by [`Node::compile_rules`] later, when
    /// the whole shape is known.
    pub(super) fn parse(document: &Value, path: &str) -> Result<Self, SchemaError> {
        let Value::Object(map) = document else {
            return Err(SchemaError::new(path, document, "must be an object"));
        };
        let types = match map.get("type").and_then(Value::as_str) {
            None | Some("") => None,
            Some("object") => Some(Type::Object),
            Some("array") => Some(Type::Array),
            Some("string") => Some(Type::String),
            Some("integer") => Some(Type::Integer),
            Some("number") => Some(Type::Number),
            Some("boolean") => Some(Type::Boolean),
            Some(_) => {
                return Err(SchemaError::new(
                    child(path, "type"),
                    &map["type"],
                    "must be one of array, boolean, integer, number, object, string",
                ));
            }
        };
        let mut properties = BTreeMap::new();
        for (name, part) in map
            .get("properties")
            .and_then(Value::as_object)
            .into_iter()
            .flatten()
        {
            let at = child(path, &format!("properties[{name}]"));
            let node = Self::parse(part, &at)?;
            let free = flag_of(part, "x-kubernetes-int-or-string")
                || flag_of(part, "x-kubernetes-preserve-unknown-fields");
            if node.types.is_none() && !free && types == Some(Type::Object) {
                return Err(SchemaError::new(
                    child(&at, "type"),
                    &Value::from(""),
                    "must not be empty for specified object fields",
                ));
            }
            properties.insert(name.clone(), node);
        }
        let additional = match map.get("additionalProperties") {
            Some(Value::Bool(true)) => Additional::Any,
            Some(part @ Value::Object(_)) => Additional::Schema(Box::new(Self::parse(
                part,
                &child(path, "additionalProperties"),
            )?)),
            _ => Additional::Pruned,
        };
        let pattern = match map.get("pattern") {
            Some(value @ Value::String(text)) => Some(Regex::new(text).map_err(|error| {
                let at = child(path, "pattern");
                SchemaError::new(
                    at,
                    value,
                    format!("must be a valid regular expression, but isn't: {error}"),
                )
            })?),
            _ => None,
        };
        let items = match map.get("items") {
            Some(part) => Some(Box::new(Self::parse(part, &child(path, "items"))?)),
            None if types == Some(Type::Array) && !path.is_empty() => {
                return Err(SchemaError::new(
                    child(path, "items"),
                    &Value::Null,
                    "must be specified",
                ));
            }
            None => None,
        };
        let keys = strings(map.get("x-kubernetes-list-map-keys"));
        let list_kind = match map.get("x-kubernetes-list-type").and_then(Value::as_str) {
            Some("set") => ListKind::Set,
            Some("map") if keys.is_empty() => {
                return Err(SchemaError::new(
                    child(path, "x-kubernetes-list-map-keys"),
                    &Value::Null,
                    "must not be empty if x-kubernetes-list-type is map",
                ));
            }
            Some("map") => ListKind::Map(keys),
            _ => ListKind::Atomic,
        };
        let int_or_string = flag(map, "x-kubernetes-int-or-string");
        let preserve = flag(map, "x-kubernetes-preserve-unknown-fields");
        Ok(Self {
            types,
            int_or_string,
            nullable: flag(map, "nullable"),
            preserve,
            embedded: flag(map, "x-kubernetes-embedded-resource"),
            default: map.get("default").filter(|value| !value.is_null()).cloned(),
            properties,
            required: strings(map.get("required")),
            additional,
            items,
            list_kind,
            atomic_map: map.get("x-kubernetes-map-type").and_then(Value::as_str) == Some("atomic"),
            unique_items: flag(map, "uniqueItems"),
            enumeration: map
                .get("enum")
                .and_then(Value::as_array)
                .cloned()
                .unwrap_or_default(),
            pattern,
            format: map
                .get("format")
                .and_then(Value::as_str)
                .unwrap_or_default()
                .to_owned(),
            minimum: bound(map, "minimum", "exclusiveMinimum"),
            maximum: bound(map, "maximum", "exclusiveMaximum"),
            multiple_of: map
                .get("multipleOf")
                .and_then(Value::as_f64)
                .filter(|value| *value > 0.0),
            length: count(map, "minLength", "maxLength"),
            item_count: count(map, "minItems", "maxItems"),
            property_count: count(map, "minProperties", "maxProperties"),
            all_of: nodes(map, "allOf", path)?,
            any_of: nodes(map, "anyOf", path)?,
            one_of: nodes(map, "oneOf", path)?,
            not: map
                .get("not")
                .map(|part| Self::parse(part, &child(path, "not")).map(Box::new))
                .transpose()?,
            rules: Vec::new(),
            rules_below: false,
            rule_documents: map
                .get("x-kubernetes-validations")
                .and_then(Value::as_array)
                .cloned()
                .unwrap_or_default(),
        })
    }

    /// Compiles the rules here and below; answers whether there are any.
    pub(super) fn compile_rules(&mut self, path: &str, root: bool) -> Result<bool, SchemaError> {
        let documents = std::mem::take(&mut self.rule_documents);
        let mut any = !documents.is_empty();
        for (index, document) in documents.iter().enumerate() {
            let at = child(path, &format!("x-kubernetes-validations[{index}]"));
            let rule = Rule::compile(document, self, root, &at)?;
            self.rules.push(rule);
        }
        for (name, node) in &mut self.properties {
            any |= node.compile_rules(&child(path, &format!("properties[{name}]")), false)?;
        }
        if let Additional::Schema(node) = &mut self.additional {
            any |= node.compile_rules(&child(path, "additionalProperties"), false)?;
        }
        if let Some(items) = &mut self.items {
            any |= items.compile_rules(&child(path, "items"), false)?;
        }
        self.rules_below = any;
        Ok(any)
    }

    /// The node of a field: a property, or the value of a map.
    pub(super) fn field(&self, name: &str) -> Option<&Self> {
        self.properties.get(name).or(match &self.additional {
            Additional::Schema(node) => Some(node.as_ref()),
            Additional::Any | Additional::Pruned => None,
        })
    }

    /// Follows field names, passing through the items of lists.
    pub(super) fn descend(&self, path: &[&str]) -> Option<&Self> {
        path.iter().try_fold(self, |mut node, name| {
            while let Some(items) = &node.items {
                node = items;
            }
            node.field(name)
        })
    }
}
