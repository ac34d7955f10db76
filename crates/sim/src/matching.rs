//! Label selectors, node selectors, taints and tolerations, as the simulated controllers and the
//! simulated scheduler read them. Shares no code with the product's filters.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Labels of an object.
pub(crate) type Labels = BTreeMap<String, String>;

/// One expression of a label or node selector.
#[derive(Deserialize, Serialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(default)]
pub(crate) struct Expression {
    key: String,
    operator: String,
    values: Vec<String>,
}

impl Expression {
    fn matches(&self, value: Option<&str>) -> bool {
        let listed = value.is_some_and(|value| self.values.iter().any(|v| v == value));
        match self.operator.as_str() {
            "In" => listed,
            "NotIn" => !listed,
            "Exists" => value.is_some(),
            "DoesNotExist" => value.is_none(),
            "Gt" | "Lt" => {
                let numbers = value
                    .and_then(|value| value.parse::<i64>().ok())
                    .zip(self.values.first().and_then(|v| v.parse::<i64>().ok()));
                numbers.is_some_and(|(have, bound)| match self.operator.as_str() {
                    "Gt" => have > bound,
                    _ => have < bound,
                })
            }
            _ => false,
        }
    }
}

/// A LabelSelector. An empty one matches everything.
#[derive(Deserialize, Serialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Selector {
    pub(crate) match_labels: Labels,
    match_expressions: Vec<Expression>,
}

impl Selector {
    pub(crate) fn matches(&self, labels: &Labels) -> bool {
        contains(labels, &self.match_labels)
            && self
                .match_expressions
                .iter()
                .all(|e| e.matches(labels.get(&e.key).map(String::as_str)))
    }
}

/// Whether `labels` has every entry of `wanted`.
pub(crate) fn contains(labels: &Labels, wanted: &Labels) -> bool {
    wanted
        .iter()
        .all(|(key, value)| labels.get(key) == Some(value))
}

/// The required node selector of a pod's node affinity: its terms are alternatives.
#[derive(Deserialize, Serialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct NodeSelector {
    node_selector_terms: Vec<NodeSelectorTerm>,
}

#[derive(Deserialize, Serialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase", default)]
struct NodeSelectorTerm {
    match_expressions: Vec<Expression>,
    match_fields: Vec<Expression>,
}

impl NodeSelector {
    /// The node that the selector names, if it names one.
    pub(crate) fn pinned(&self) -> Option<&str> {
        let fields = self
            .node_selector_terms
            .iter()
            .flat_map(|term| &term.match_fields);
        fields
            .filter(|field| field.key == "metadata.name" && field.operator == "In")
            .find_map(|field| field.values.first().map(String::as_str))
    }

    /// Whether one term matches; a term without expressions and fields matches nothing.
    pub(crate) fn matches(&self, node: &str, labels: &Labels) -> bool {
        self.node_selector_terms.iter().any(|term| {
            (!term.match_expressions.is_empty() || !term.match_fields.is_empty())
                && term
                    .match_expressions
                    .iter()
                    .all(|e| e.matches(labels.get(&e.key).map(String::as_str)))
                && term
                    .match_fields
                    .iter()
                    .all(|e| e.matches((e.key == "metadata.name").then_some(node)))
        })
    }
}

/// A taint of a node.
#[derive(Deserialize, Serialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Taint {
    pub(crate) key: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) value: Option<String>,
    pub(crate) effect: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) time_added: Option<String>,
}

/// A toleration of a pod.
#[derive(Deserialize, Serialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Toleration {
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    operator: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    effect: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[serde(rename = "tolerationSeconds")]
    pub(crate) seconds: Option<i64>,
}

impl Toleration {
    /// Tolerates `key` with any value.
    pub(crate) fn of(key: &str, effect: &str) -> Self {
        Self {
            key: Some(key.to_owned()),
            operator: Some("Exists".to_owned()),
            effect: Some(effect.to_owned()),
            ..Self::default()
        }
    }

    /// Tolerates every taint.
    pub(crate) fn everything() -> Self {
        Self {
            operator: Some("Exists".to_owned()),
            ..Self::default()
        }
    }

    pub(crate) fn tolerates(&self, taint: &Taint) -> bool {
        let text = |field: &Option<String>| field.clone().unwrap_or_default();
        let (key, effect) = (text(&self.key), text(&self.effect));
        if !effect.is_empty() && effect != taint.effect {
            return false;
        }
        let exists = self.operator.as_deref() == Some("Exists");
        if key.is_empty() {
            return exists;
        }
        key == taint.key && (exists || text(&self.value) == taint.value.clone().unwrap_or_default())
    }
}

/// The first taint that keeps a pod with these tolerations from being placed.
pub(crate) fn repelled_by<'a>(
    taints: &'a [Taint],
    tolerations: &[Toleration],
) -> Option<&'a Taint> {
    taints.iter().find(|taint| {
        matches!(taint.effect.as_str(), "NoSchedule" | "NoExecute")
            && !tolerations.iter().any(|t| t.tolerates(taint))
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn selector(value: serde_json::Value) -> NodeSelector {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn an_empty_node_selector_term_matches_nothing() {
        let labels = Labels::new();
        assert!(!selector(json!({"nodeSelectorTerms": [{}]})).matches("a", &labels));
        assert!(!selector(json!({"nodeSelectorTerms": []})).matches("a", &labels));
    }

    #[test]
    fn a_pod_can_be_pinned_to_a_node_by_its_name() {
        let pinned = selector(json!({"nodeSelectorTerms": [{"matchFields": [
            {"key": "metadata.name", "operator": "In", "values": ["a"]}]}]}));
        assert!(pinned.matches("a", &Labels::new()));
        assert!(!pinned.matches("b", &Labels::new()));
    }

    #[test]
    fn a_toleration_without_a_key_tolerates_everything_of_its_effect() {
        let all: Toleration = serde_json::from_value(json!({"operator": "Exists"})).unwrap();
        let taint = Taint {
            key: "k".to_owned(),
            effect: "NoExecute".to_owned(),
            ..Taint::default()
        };
        assert!(all.tolerates(&taint));
        assert!(Toleration::of("k", "NoExecute").tolerates(&taint));
        assert!(!Toleration::of("k", "NoSchedule").tolerates(&taint));
        assert_eq!(repelled_by(std::slice::from_ref(&taint), &[]), Some(&taint));
    }
}
