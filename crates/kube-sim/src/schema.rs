//! Structural schemas of custom resources: what a CRD's `openAPIV3Schema` does to objects.
//!
//! A schema is compiled once per CRD version, its CEL rules and patterns included; a document
//! that does not compile is refused as a whole. Compiled, it prunes, defaults and validates
//! values and tells server-side apply how lists merge. It never reads other objects.

mod format;
mod node;
mod references;
mod rules;
mod shape;
mod validate;

use serde_json::Value;

use crate::error::Cause;
use node::Node;

/// One wrong field; the same type the `Status` of a refused request is made from.
pub type FieldError = Cause;

/// How a list merges under server-side apply (`x-kubernetes-list-type`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListKind {
    /// Replaced as a whole.
    Atomic,
    /// Scalars, each once.
    Set,
    /// Objects identified by these keys.
    Map(Vec<String>),
}

/// Why a schema document was refused.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{field}: {detail}")]
pub struct SchemaError {
    /// Path inside the document, e.g. `properties[spec].x-kubernetes-validations[0].rule`.
    pub field: String,
    /// The value found there.
    pub value: Value,
    /// What is wrong with it.
    pub detail: String,
}

impl SchemaError {
    pub(crate) fn new(field: impl Into<String>, value: &Value, detail: impl Into<String>) -> Self {
        Self {
            field: field.into(),
            value: value.clone(),
            detail: detail.into(),
        }
    }

    /// The error as the cause of a refused CRD; `prefix` is the path of the document in it.
    pub fn cause(&self, prefix: &str) -> Cause {
        let field = match (prefix, self.field.as_str()) {
            ("", field) => field.to_owned(),
            (prefix, "") => prefix.to_owned(),
            (prefix, field) => format!("{prefix}.{field}"),
        };
        Cause::invalid(field, &self.value, &self.detail)
    }
}

/// A compiled structural schema of a whole object.
#[derive(Clone, Debug)]
pub struct Schema {
    root: Node,
    has_rules: bool,
}

impl Schema {
    /// Compiles an `openAPIV3Schema` document.
    ///
    /// # Errors
    /// Names the place in the document that is not understood: an unknown type, a pattern or a
    /// CEL rule that does not compile, a rule that names a field the schema does not have.
    pub fn compile(open_api_v3_schema: &Value) -> Result<Self, SchemaError> {
        let mut root = Node::parse(open_api_v3_schema, "")?;
        root.embedded = true;
        let has_rules = root.compile_rules("", true)?;
        Ok(Self { root, has_rules })
    }

    /// Removes fields that the schema does not know; answers their paths, e.g. `spec.x[0].y`.
    pub fn prune(&self, object: &mut Value) -> Vec<String> {
        let mut removed = Vec::new();
        shape::prune(&self.root, object, "", &mut removed);
        removed
    }

    /// Fills defaults in, and drops nulls that a default replaces.
    pub fn default(&self, object: &mut Value) {
        shape::default(&self.root, object);
    }

    /// All that is wrong with `object`; `old` is the object it replaces, for transition rules
    /// and for tolerating what was wrong before and has not changed.
    pub fn validate(&self, object: &Value, old: Option<&Value>) -> Vec<FieldError> {
        let mut errors = Vec::new();
        validate::structural(&self.root, object, old, "", &mut errors);
        if !self.has_rules {
            return errors;
        }
        if errors.iter().any(validate::blocks_rules) {
            errors.push(Cause::new(
                "FieldValueInvalid",
                "<nil>",
                "Invalid value: null: some validation rules were not checked because the object was invalid; correct the existing errors to complete validation",
            ));
            return errors;
        }
        rules::evaluate(&self.root, object, old, &mut errors);
        errors
    }

    /// How the list at a path of field names merges; items of lists are passed through
    /// without a segment of their own, keys of maps take one.
    pub fn list_kind(&self, path: &[&str]) -> ListKind {
        self.root
            .descend(path)
            .map_or(ListKind::Atomic, |node| node.list_kind.clone())
    }

    /// True when the map at this path is replaced as a whole by server-side apply.
    pub fn map_is_atomic(&self, path: &[&str]) -> bool {
        self.root.descend(path).is_some_and(|node| node.atomic_map)
    }

    /// True when the schema says anything about this path.
    pub fn knows(&self, path: &[&str]) -> bool {
        self.root.descend(path).is_some()
    }
}
