//! Label requirements, node selectors, taints and tolerations, as values.

use std::{collections::BTreeMap, sync::Arc};

use serde::{Deserialize, Serialize};

/// Labels or annotations.
pub type Labels = BTreeMap<Arc<str>, Arc<str>>;

/// How a requirement compares.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub enum Operator {
    /// The value is one of the values.
    In,
    /// The label is absent, or its value is none of the values.
    NotIn,
    /// The label is present.
    Exists,
    /// The label is absent.
    DoesNotExist,
    /// The value is a larger integer.
    Gt,
    /// The value is a smaller integer.
    Lt,
}

impl Operator {
    /// The operator of this name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Some(match name {
            "In" => Self::In,
            "NotIn" => Self::NotIn,
            "Exists" => Self::Exists,
            "DoesNotExist" => Self::DoesNotExist,
            "Gt" => Self::Gt,
            "Lt" => Self::Lt,
            _ => return None,
        })
    }
}

/// One requirement on a label or a field.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct Requirement {
    /// The label's or field's key.
    pub key: Arc<str>,
    /// How it compares.
    pub operator: Operator,
    /// With what.
    pub values: Vec<Arc<str>>,
}

impl Requirement {
    /// Whether a label of this value (`None`: absent) meets the requirement.
    #[must_use]
    pub fn matches(&self, value: Option<&str>) -> bool {
        let listed = |value: &str| self.values.iter().any(|v| v.as_ref() == value);
        match self.operator {
            Operator::In => value.is_some_and(listed),
            Operator::NotIn => value.is_none_or(|value| !listed(value)),
            Operator::Exists => value.is_some(),
            Operator::DoesNotExist => value.is_none(),
            Operator::Gt => self.compare(value, |value, bound| value > bound),
            Operator::Lt => self.compare(value, |value, bound| value < bound),
        }
    }

    /// Whether it has as many values as its operator takes (apimachinery `labels.NewRequirement`).
    fn is_well_formed(&self) -> bool {
        match self.operator {
            Operator::In | Operator::NotIn => !self.values.is_empty(),
            Operator::Exists | Operator::DoesNotExist => self.values.is_empty(),
            Operator::Gt | Operator::Lt => self.values.len() == 1,
        }
    }

    /// `Gt` and `Lt` take exactly one integer and match only integers
    /// (apimachinery `labels.Requirement.Matches`).
    fn compare(&self, value: Option<&str>, by: impl Fn(i64, i64) -> bool) -> bool {
        let [bound] = self.values.as_slice() else {
            return false;
        };
        match (value.and_then(|v| v.parse::<i64>().ok()), bound.parse()) {
            (Some(value), Ok(bound)) => by(value, bound),
            _ => false,
        }
    }
}

/// One term of a node selector: all its requirements must hold. A term without any matches
/// nothing (`core/v1` NodeSelectorTerm), nor does one with a requirement that makes no sense.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize)]
pub struct NodeSelectorTerm {
    /// On the node's labels.
    pub match_expressions: Vec<Requirement>,
    /// On the node's fields; only `metadata.name` exists.
    pub match_fields: Vec<Requirement>,
}

impl NodeSelectorTerm {
    /// Whether a node of this name and these labels is selected.
    #[must_use]
    pub fn matches(&self, name: &str, labels: &Labels) -> bool {
        self.matches_by(name, |key| labels.get(key).map(AsRef::as_ref))
    }

    /// As [`Self::matches`], for labels that are looked up.
    #[must_use]
    pub fn matches_by<'a>(&self, name: &str, label: impl Fn(&str) -> Option<&'a str>) -> bool {
        if self.match_expressions.is_empty() && self.match_fields.is_empty() {
            return false;
        }
        self.match_expressions
            .iter()
            .all(|r| r.is_well_formed() && r.matches(label(&r.key)))
            && self.match_fields.iter().all(|r| {
                // Fields take one value and the two set operators only (component-helpers
                // nodeaffinity: anything else is a parse error, and the term never matches).
                r.key.as_ref() == "metadata.name"
                    && r.values.len() == 1
                    && matches!(r.operator, Operator::In | Operator::NotIn)
                    && r.matches(Some(name))
            })
    }
}

/// What a taint does.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub enum TaintEffect {
    /// New pods are not scheduled.
    NoSchedule,
    /// New pods are scheduled elsewhere if possible.
    PreferNoSchedule,
    /// New pods are not scheduled, running ones are evicted.
    NoExecute,
}

impl TaintEffect {
    /// The effect of this name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Some(match name {
            "NoSchedule" => Self::NoSchedule,
            "PreferNoSchedule" => Self::PreferNoSchedule,
            "NoExecute" => Self::NoExecute,
            _ => return None,
        })
    }

    /// Keeps pods away that do not tolerate it.
    #[must_use]
    pub const fn repels(self) -> bool {
        matches!(self, Self::NoSchedule | Self::NoExecute)
    }
}

/// A taint of a node.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct Taint {
    /// The key.
    pub key: Arc<str>,
    /// The value; empty where absent.
    pub value: Arc<str>,
    /// The effect.
    pub effect: TaintEffect,
}

/// A toleration of a pod.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct Toleration {
    /// The key; empty (with `exists`) tolerates every key.
    pub key: Arc<str>,
    /// Operator `Exists`: the value does not matter.
    pub exists: bool,
    /// The value, for `Equal`.
    pub value: Arc<str>,
    /// The effect; `None` tolerates every one.
    pub effect: Option<TaintEffect>,
}

impl Toleration {
    /// Whether it tolerates `taint` (`core/v1` Toleration.ToleratesTaint).
    #[must_use]
    pub fn tolerates(&self, taint: &Taint) -> bool {
        self.effect.is_none_or(|effect| effect == taint.effect)
            && (self.key.is_empty() || self.key == taint.key)
            && (self.exists || (!self.key.is_empty() && self.value == taint.value))
    }
}

/// `text` as a label's value: at most 63 letters, digits, `-`, `_` and `.`, beginning and ending
/// with a letter or digit (Kubernetes documentation, "Labels and Selectors").
#[must_use]
pub fn label_value(text: &str) -> String {
    let clean: String = text
        .chars()
        .take(63)
        .map(|c| {
            if c.is_ascii_alphanumeric() || "-_.".contains(c) {
                c
            } else {
                '-'
            }
        })
        .collect();
    clean
        .trim_matches(|c: char| !c.is_ascii_alphanumeric())
        .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn requirement(operator: Operator, values: &[&str]) -> Requirement {
        Requirement {
            key: "k".into(),
            operator,
            values: values.iter().map(|v| Arc::from(*v)).collect(),
        }
    }

    #[test]
    fn requirements_compare_as_kubernetes_does() {
        assert!(requirement(Operator::In, &["a", "b"]).matches(Some("b")));
        assert!(!requirement(Operator::In, &["a"]).matches(None));
        assert!(requirement(Operator::NotIn, &["a"]).matches(None));
        assert!(!requirement(Operator::NotIn, &["a"]).matches(Some("a")));
        assert!(requirement(Operator::Exists, &[]).matches(Some("")));
        assert!(requirement(Operator::DoesNotExist, &[]).matches(None));
        assert!(requirement(Operator::Gt, &["5"]).matches(Some("6")));
        assert!(!requirement(Operator::Gt, &["5"]).matches(Some("x")));
        assert!(!requirement(Operator::Lt, &["5", "6"]).matches(Some("1")));
        assert!(requirement(Operator::Lt, &["5"]).matches(Some("-1")));
    }

    #[test]
    fn an_empty_term_matches_nothing() {
        assert!(!NodeSelectorTerm::default().matches("n", &Labels::new()));
    }

    #[test]
    fn a_term_with_a_requirement_that_makes_no_sense_matches_nothing() {
        for (operator, values) in [
            (Operator::In, &[][..]),
            (Operator::NotIn, &[]),
            (Operator::Exists, &["a"]),
            (Operator::DoesNotExist, &["a"]),
            (Operator::Gt, &["1", "2"]),
            (Operator::Lt, &[]),
        ] {
            let term = NodeSelectorTerm {
                match_expressions: vec![requirement(operator, values)],
                ..NodeSelectorTerm::default()
            };
            for labels in [Labels::new(), Labels::from([("k".into(), "a".into())])] {
                assert!(!term.matches("n", &labels), "{operator:?} {values:?}");
            }
        }
    }

    #[test]
    fn fields_select_by_name_only() {
        let mut field = requirement(Operator::In, &["n1"]);
        field.key = "metadata.name".into();
        let term = NodeSelectorTerm {
            match_fields: vec![field],
            ..NodeSelectorTerm::default()
        };
        assert!(term.matches("n1", &Labels::new()));
        assert!(!term.matches("n2", &Labels::new()));
    }

    #[test]
    fn tolerations_match_key_value_and_effect() {
        let taint = Taint {
            key: "dedicated".into(),
            value: "web".into(),
            effect: TaintEffect::NoSchedule,
        };
        let toleration = |key: &str, exists, value: &str, effect| Toleration {
            key: key.into(),
            exists,
            value: value.into(),
            effect,
        };
        assert!(toleration("", true, "", None).tolerates(&taint));
        assert!(
            toleration("dedicated", false, "web", Some(TaintEffect::NoSchedule)).tolerates(&taint)
        );
        assert!(!toleration("dedicated", false, "db", None).tolerates(&taint));
        assert!(!toleration("dedicated", true, "", Some(TaintEffect::NoExecute)).tolerates(&taint));
        assert!(!toleration("", false, "web", None).tolerates(&taint));
    }
}
