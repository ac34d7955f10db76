//! CEL rules (`x-kubernetes-validations`): compiled once, evaluated at every place they guard.
//!
//! A rule sees `self`, typed by the schema, and `oldSelf` when the value it replaces can be
//! told; without one, rules that name `oldSelf` are not evaluated. An evaluation that fails is a
//! validation failure. Strings with a time format stay strings.

use std::{
    fmt,
    sync::{Arc, OnceLock},
};

use cel::{
    Context, Env, ExecutionError, Program, Value as CelValue, extensions,
    objects::{Key, Map, OptionalValue},
};
use serde_json::Value;

use super::{
    SchemaError,
    node::{Additional, Node, Type},
    references::{self, References},
    shape::join,
    validate::counterpart,
};
use crate::error::Cause;

fn environment() -> &'static Arc<Env> {
    static ENVIRONMENT: OnceLock<Arc<Env>> = OnceLock::new();
    ENVIRONMENT.get_or_init(|| {
        let mut env = Env::stdlib();
        // Adding an extension fails only when it is added twice.
        let added = env
            .add_extension(extensions::strings)
            .and_then(|()| env.add_extension(extensions::lists));
        debug_assert!(added.is_ok());
        Arc::new(env)
    })
}

/// One compiled rule.
#[derive(Clone)]
pub(super) struct Rule {
    source: String,
    program: Arc<Program>,
    message: String,
    message_expression: Option<Arc<Program>>,
    reason: String,
    field_path: String,
    /// The rule speaks of `oldSelf`.
    transition: bool,
    /// `oldSelf` is an optional value and the rule is evaluated on creation too.
    optional_old: bool,
}

impl fmt::Debug for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Rule").field(&self.source).finish()
    }
}

impl Rule {
    /// Compiles a rule that guards `node`; `path` is its place in the document.
    pub(super) fn compile(
        document: &Value,
        node: &Node,
        root: bool,
        path: &str,
    ) -> Result<Self, SchemaError> {
        let text = |key: &str| document[key].as_str().unwrap_or_default().trim().to_owned();
        let source = text("rule");
        if source.is_empty() {
            return Err(SchemaError::new(
                format!("{path}.rule"),
                &Value::Null,
                "rule is not specified",
            ));
        }
        let optional_old = document["optionalOldSelf"].as_bool().unwrap_or(false);
        let compile =
            |source: &str, key: &str| -> Result<(Arc<Program>, References), SchemaError> {
                let refuse = |why: String| {
                    SchemaError::new(
                        format!("{path}.{key}"),
                        &Value::from(source),
                        format!("compilation failed: {why}"),
                    )
                };
                let program = environment()
                    .compile(source)
                    .map_err(|error| refuse(error.to_string()))?;
                let found = references::check(program.expression(), node, root, optional_old)
                    .map_err(refuse)?;
                Ok((Arc::new(program), found))
            };
        let (program, found) = compile(&source, "rule")?;
        let message_expression = match text("messageExpression").as_str() {
            "" => None,
            source => Some(compile(source, "messageExpression")?.0),
        };
        if optional_old && !found.old_self {
            return Err(SchemaError::new(
                format!("{path}.optionalOldSelf"),
                &Value::from(true),
                "may not be set if oldSelf is not used in rule",
            ));
        }
        let field_path = text("fieldPath");
        if !field_path.is_empty() && !field_path.starts_with(['.', '[']) {
            return Err(SchemaError::new(
                format!("{path}.fieldPath"),
                &Value::from(field_path),
                "must start with a dot or a bracket",
            ));
        }
        let reason = match text("reason").as_str() {
            "" | "FieldValueInvalid" => "FieldValueInvalid",
            "FieldValueForbidden" => "FieldValueForbidden",
            "FieldValueRequired" => "FieldValueRequired",
            "FieldValueDuplicate" => "FieldValueDuplicate",
            other => {
                return Err(SchemaError::new(
                    format!("{path}.reason"),
                    &Value::from(other),
                    "supported values: \"FieldValueInvalid\", \"FieldValueForbidden\", \"FieldValueRequired\", \"FieldValueDuplicate\"",
                ));
            }
        };
        Ok(Self {
            message: match text("message") {
                none if none.is_empty() => format!("failed rule: {source}"),
                message => message,
            },
            source,
            program,
            message_expression,
            reason: reason.to_owned(),
            field_path,
            transition: found.old_self,
            optional_old,
        })
    }

    fn evaluate(
        &self,
        node: &Node,
        value: &Value,
        old: Option<&Value>,
        path: &str,
    ) -> Option<Cause> {
        let old_self = match (self.transition, self.optional_old, old) {
            (false, ..) => None,
            (true, false, None) => return None,
            (true, false, Some(old)) => Some(to_cel(Some(node), old)),
            (true, true, old) => {
                let inner = old.map(|old| to_cel(Some(node), old));
                let optional = inner.map_or_else(OptionalValue::none, OptionalValue::of);
                Some(CelValue::Opaque(Arc::new(optional)))
            }
        };
        let mut context = Context::with_env(Arc::clone(environment()));
        context.add_variable_from_value("self", to_cel(Some(node), value));
        if let Some(old_self) = old_self {
            context.add_variable_from_value("oldSelf", old_self);
        }
        let type_name = node.types.map_or("object", Type::name);
        match self.program.execute(&context) {
            Ok(CelValue::Bool(true)) => None,
            Ok(CelValue::Bool(false)) => {
                let message = self
                    .message_expression
                    .as_ref()
                    .and_then(|program| match program.execute(&context) {
                        Ok(CelValue::String(text)) if !text.trim().is_empty() => {
                            Some(text.trim().to_owned())
                        }
                        _ => None,
                    })
                    .unwrap_or_else(|| self.message.clone());
                let field = match format!("{path}{}", self.field_path) {
                    // A rule on the whole object that names no field.
                    field if field.is_empty() => "<nil>".to_owned(),
                    field => field.strip_prefix('.').unwrap_or(&field).to_owned(),
                };
                Some(self.cause(field, type_name, value, &message))
            }
            Ok(other) => Some(Cause::invalid(
                path,
                &Value::from(type_name),
                &format!(
                    "rule did not evaluate to bool but to {other:?}: {}",
                    self.source
                ),
            )),
            Err(error) => {
                let why = match &error {
                    ExecutionError::NoSuchKey(key) => format!("no such key: {key}"),
                    ExecutionError::DivisionByZero(_) => "division by zero".to_owned(),
                    other => other.to_string(),
                };
                Some(Cause::invalid(
                    path,
                    &Value::from(type_name),
                    &format!("{why} evaluating rule: {}", self.message),
                ))
            }
        }
    }

    fn cause(&self, field: String, type_name: &str, value: &Value, message: &str) -> Cause {
        match self.reason.as_str() {
            "FieldValueForbidden" => Cause::forbidden(field, message),
            "FieldValueRequired" => Cause::required(field, message),
            "FieldValueDuplicate" => Cause::new(
                "FieldValueDuplicate",
                field,
                format!("Duplicate value: {type_name:?}"),
            ),
            // An object or a list is not shown.
            _ if value.is_object() || value.is_array() => Cause::new(
                "FieldValueInvalid",
                field,
                format!("Invalid value: {message}"),
            ),
            _ => Cause::invalid(field, value, message),
        }
    }
}

/// Evaluates all rules of a valid object.
pub(super) fn evaluate(node: &Node, value: &Value, old: Option<&Value>, errors: &mut Vec<Cause>) {
    below(node, value, old, "", errors);
}

fn below(node: &Node, value: &Value, old: Option<&Value>, path: &str, errors: &mut Vec<Cause>) {
    if !node.rules_below || value.is_null() {
        return;
    }
    let unchanged = old == Some(value);
    for rule in &node.rules {
        // An unchanged value is not judged again, except by rules about the change itself.
        if !unchanged || rule.transition {
            errors.extend(rule.evaluate(node, value, old, path));
        }
    }
    match value {
        Value::Object(map) => {
            for (name, part) in map {
                let before = old.and_then(|old| old.get(name));
                if let Some(property) = node.properties.get(name) {
                    below(property, part, before, &join(path, name), errors);
                } else if let Additional::Schema(schema) = &node.additional {
                    below(schema, part, before, &format!("{path}[{name}]"), errors);
                }
            }
        }
        Value::Array(items) => {
            if let Some(schema) = &node.items {
                for (index, item) in items.iter().enumerate() {
                    let before = counterpart(node, item, old);
                    below(schema, item, before, &format!("{path}[{index}]"), errors);
                }
            }
        }
        _ => {}
    }
}

/// A value as CEL sees it through its schema: numbers get the schema's type, property names
/// are escaped, and fields that the schema does not name are not visible.
fn to_cel(node: Option<&Node>, value: &Value) -> CelValue {
    let wanted = node.and_then(|node| node.types);
    match value {
        Value::Null => CelValue::Null,
        Value::Bool(flag) => CelValue::Bool(*flag),
        Value::String(text) => CelValue::String(Arc::new(text.clone())),
        Value::Number(number) => match (wanted, number.as_i64(), number.as_f64()) {
            (Some(Type::Number), _, Some(float)) | (_, None, Some(float)) => CelValue::Float(float),
            (_, Some(integer), _) => CelValue::Int(integer),
            (_, None, None) => CelValue::Null,
        },
        Value::Array(items) => {
            let schema = node.and_then(|node| node.items.as_deref());
            CelValue::List(Arc::new(
                items.iter().map(|item| to_cel(schema, item)).collect(),
            ))
        }
        Value::Object(map) => {
            let entries = map.iter().filter_map(|(name, part)| {
                let (key, schema) = match node {
                    None => (name.clone(), None),
                    Some(node) => visible(node, name)?,
                };
                let part = match (node, name.as_str()) {
                    (Some(node), "metadata") if node.embedded => metadata(part),
                    _ => to_cel(schema, part),
                };
                Some((Key::from(key), part))
            });
            CelValue::Map(Map {
                map: Arc::new(entries.collect()),
            })
        }
    }
}

fn visible<'a>(node: &'a Node, name: &str) -> Option<(String, Option<&'a Node>)> {
    if let Some(property) = node.properties.get(name) {
        return Some((references::escape(name), Some(property)));
    }
    match &node.additional {
        Additional::Schema(schema) => Some((name.to_owned(), Some(schema.as_ref()))),
        Additional::Any => Some((name.to_owned(), None)),
        Additional::Pruned if node.embedded => ["apiVersion", "kind", "metadata"]
            .contains(&name)
            .then(|| (name.to_owned(), None)),
        // Below an untyped place everything is visible as it is.
        Additional::Pruned => {
            (node.properties.is_empty() && node.types.is_none()).then(|| (name.to_owned(), None))
        }
    }
}

/// Rules see only the names of an object's metadata.
fn metadata(value: &Value) -> CelValue {
    let entries = ["name", "generateName"].iter().filter_map(|name| {
        let text = value.get(*name)?.as_str()?;
        Some((Key::from(*name), CelValue::from(text)))
    });
    CelValue::Map(Map {
        map: Arc::new(entries.collect()),
    })
}
