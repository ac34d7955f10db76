//! What a CEL rule may name: the fields of the schema it guards, and known functions.
//!
//! Kubernetes type-checks rules when a CRD is created, so that a misspelt field is refused then
//! and not on some object later. This walks the expression with the schema as its types; what
//! has no schema of its own (results of functions, untyped places) is not judged further.

use cel::common::ast::{EntryExpr, Expr, IdedExpr};

use super::node::{Additional, Node, Type};

/// What was found in a rule.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct References {
    /// The rule names `oldSelf`.
    pub(super) old_self: bool,
}

const KEYWORDS: [&str; 18] = [
    "true",
    "false",
    "null",
    "in",
    "as",
    "break",
    "const",
    "continue",
    "else",
    "for",
    "function",
    "if",
    "import",
    "let",
    "loop",
    "package",
    "namespace",
    "return",
];

/// Names that stand for types, or for the first part of a function's name.
const GLOBALS: [&str; 17] = [
    "int",
    "uint",
    "double",
    "string",
    "bool",
    "bytes",
    "list",
    "map",
    "type",
    "null_type",
    "dyn",
    "optional",
    "lists",
    "strings",
    "math",
    "google",
    "optional_type",
];

const FUNCTIONS: [&str; 53] = [
    "size",
    "contains",
    "startsWith",
    "endsWith",
    "matches",
    "int",
    "uint",
    "double",
    "string",
    "bool",
    "bytes",
    "dyn",
    "type",
    "has",
    "hasValue",
    "value",
    "or",
    "orValue",
    "of",
    "none",
    "ofNonZeroValue",
    "optMap",
    "optFlatMap",
    "charAt",
    "indexOf",
    "lastIndexOf",
    "lowerAscii",
    "upperAscii",
    "replace",
    "split",
    "join",
    "substring",
    "trim",
    "reverse",
    "format",
    "quote",
    "slice",
    "flatten",
    "range",
    "distinct",
    "sort",
    "sortBy",
    "first",
    "last",
    "optional.of",
    "optional.none",
    "optional.ofNonZeroValue",
    "lists.range",
    "strings.quote",
    "@not_strictly_false",
    "@in",
    "@sortByAssociatedKeys",
    "lists.@sortByAssociatedKeys",
];

/// A property name as rules write it.
pub(super) fn escape(name: &str) -> String {
    if KEYWORDS.contains(&name) {
        return format!("__{name}__");
    }
    name.replace("__", "__underscores__")
        .replace('.', "__dot__")
        .replace('-', "__dash__")
        .replace('/', "__slash__")
}

/// What is known of an expression's value.
#[derive(Clone, Copy)]
enum Known<'a> {
    Schema(&'a Node),
    Anything,
}

struct Walk<'a> {
    scope: Vec<(String, Known<'a>)>,
    found: References,
    /// The guarded node, when it is a whole object with its envelope.
    root: Option<&'a Node>,
}

/// Checks an expression that guards `node`.
pub(super) fn check(
    expression: &IdedExpr,
    node: &Node,
    root: bool,
    optional_old: bool,
) -> Result<References, String> {
    let old = if optional_old {
        Known::Anything
    } else {
        Known::Schema(node)
    };
    let mut walk = Walk {
        scope: vec![
            ("self".to_owned(), Known::Schema(node)),
            ("oldSelf".to_owned(), old),
        ],
        found: References::default(),
        root: root.then_some(node),
    };
    walk.infer(expression)?;
    Ok(walk.found)
}

impl<'a> Walk<'a> {
    fn infer(&mut self, expression: &IdedExpr) -> Result<Known<'a>, String> {
        match &expression.expr {
            Expr::Unspecified | Expr::Literal(_) => Ok(Known::Anything),
            Expr::Ident(name) => self.ident(name),
            Expr::Select(select) => {
                let operand = self.infer(&select.operand)?;
                self.select(operand, &select.field)
            }
            Expr::Call(call) => {
                if let Some(target) = &call.target {
                    self.infer(target)?;
                }
                let args: Vec<Known<'a>> = call
                    .args
                    .iter()
                    .map(|arg| self.infer(arg))
                    .collect::<Result<_, _>>()?;
                let name = call.func_name.as_str();
                let operator = name.contains('_') && !name.contains(|c: char| c.is_alphanumeric());
                if !operator && !FUNCTIONS.contains(&name) {
                    return Err(format!(
                        "undeclared reference to '{name}' (in container '')"
                    ));
                }
                Ok(match (name, args.as_slice()) {
                    ("_[_]", [Known::Schema(node), _]) => element(node),
                    ("_?_:_", [_, first, _]) => *first,
                    _ => Known::Anything,
                })
            }
            Expr::List(list) => {
                for element in &list.elements {
                    self.infer(element)?;
                }
                Ok(Known::Anything)
            }
            Expr::Map(map) => self.entries(map.entries.iter().map(|entry| &entry.expr)),
            Expr::Struct(made) => self.entries(made.entries.iter().map(|entry| &entry.expr)),
            Expr::Comprehension(loops) => {
                let range = self.infer(&loops.iter_range)?;
                let depth = self.scope.len();
                let one = match range {
                    Known::Schema(node) if node.items.is_some() => element(node),
                    _ => Known::Anything,
                };
                if let Some(second) = &loops.iter_var2 {
                    let value = match range {
                        Known::Schema(node) => element(node),
                        Known::Anything => Known::Anything,
                    };
                    self.scope.push((loops.iter_var.clone(), Known::Anything));
                    self.scope.push((second.clone(), value));
                } else {
                    self.scope.push((loops.iter_var.clone(), one));
                }
                self.infer(&loops.accu_init)?;
                self.scope.push((loops.accu_var.clone(), Known::Anything));
                for part in [&loops.loop_cond, &loops.loop_step, &loops.result] {
                    self.infer(part)?;
                }
                self.scope.truncate(depth);
                Ok(Known::Anything)
            }
        }
    }

    fn entries<'e>(
        &mut self,
        entries: impl Iterator<Item = &'e EntryExpr>,
    ) -> Result<Known<'a>, String> {
        for entry in entries {
            match entry {
                EntryExpr::StructField(field) => {
                    self.infer(&field.value)?;
                }
                EntryExpr::MapEntry(entry) => {
                    self.infer(&entry.key)?;
                    self.infer(&entry.value)?;
                }
            }
        }
        Ok(Known::Anything)
    }

    fn ident(&mut self, name: &str) -> Result<Known<'a>, String> {
        let name = name.strip_prefix('.').unwrap_or(name);
        if let Some((found, known)) = self.scope.iter().rev().find(|(known, _)| known == name) {
            self.found.old_self |= found == "oldSelf";
            return Ok(*known);
        }
        if GLOBALS.contains(&name) {
            return Ok(Known::Anything);
        }
        Err(format!(
            "undeclared reference to '{name}' (in container '')"
        ))
    }

    fn select(&self, operand: Known<'a>, field: &str) -> Result<Known<'a>, String> {
        let Known::Schema(node) = operand else {
            return Ok(Known::Anything);
        };
        let envelope = node.embedded || self.root.is_some_and(|root| std::ptr::eq(root, node));
        if let Some((_, property)) = node
            .properties
            .iter()
            .find(|(name, _)| escape(name) == field)
        {
            return Ok(if envelope && field == "metadata" {
                Known::Anything
            } else {
                Known::Schema(property)
            });
        }
        if envelope && ["apiVersion", "kind", "metadata"].contains(&field) {
            return Ok(Known::Anything);
        }
        match &node.additional {
            Additional::Schema(value) => return Ok(Known::Schema(value)),
            Additional::Any => return Ok(Known::Anything),
            Additional::Pruned => {}
        }
        match node.types {
            None if node.properties.is_empty() => Ok(Known::Anything),
            None | Some(Type::Object) => Err(format!("undefined field '{field}'")),
            Some(other) => Err(format!(
                "type '{}' does not support field selection",
                other.name()
            )),
        }
    }
}

fn element(node: &Node) -> Known<'_> {
    if let Some(items) = &node.items {
        return Known::Schema(items);
    }
    match &node.additional {
        Additional::Schema(value) => Known::Schema(value),
        _ => Known::Anything,
    }
}
