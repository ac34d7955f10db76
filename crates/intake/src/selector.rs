//! Label selectors and node selectors, as the API writes them.

use std::{collections::BTreeMap, sync::Arc};

use model::{LabelSelector, Labels, NodeSelectorTerm, Operator, Requirement};
use serde::Deserialize;

use crate::metadata::or_default;

/// `matchExpressions`, `matchFields`.
#[derive(Deserialize, Clone, Debug, Default)]
#[serde(default)]
pub(crate) struct ExpressionView {
    key: String,
    operator: String,
    values: Option<Vec<String>>,
}

impl ExpressionView {
    fn model(&self) -> Result<Requirement, String> {
        let operator = Operator::parse(&self.operator)
            .ok_or_else(|| format!("{}: unknown operator {:?}", self.key, self.operator))?;
        Ok(Requirement {
            key: Arc::from(self.key.as_str()),
            operator,
            values: self
                .values
                .iter()
                .flatten()
                .map(|value| Arc::from(value.as_str()))
                .collect(),
        })
    }
}

/// A label selector.
#[derive(Deserialize, Clone, Debug, Default)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct LabelSelectorView {
    match_labels: Option<BTreeMap<String, String>>,
    match_expressions: Option<Vec<ExpressionView>>,
}

impl LabelSelectorView {
    /// In one form for equal selectors; a requirement that makes no sense is named (apimachinery
    /// `LabelSelectorAsSelector`).
    pub(crate) fn model(&self) -> Result<LabelSelector, String> {
        let mut requirements: Vec<Requirement> = self
            .match_labels
            .iter()
            .flatten()
            .map(|(key, value)| equals(key, value))
            .collect();
        for expression in self.match_expressions.iter().flatten() {
            let mut requirement = expression.model()?;
            let takes_values = match requirement.operator {
                Operator::In | Operator::NotIn => true,
                Operator::Exists | Operator::DoesNotExist => false,
                Operator::Gt | Operator::Lt => {
                    let (key, operator) = (&expression.key, &expression.operator);
                    return Err(format!("{key}: unknown operator {operator:?}"));
                }
            };
            if takes_values == requirement.values.is_empty() {
                let (key, operator) = (&expression.key, &expression.operator);
                let many = if takes_values { "no" } else { "some" };
                return Err(format!("{key}: {operator} with {many} values"));
            }
            requirement.values.sort();
            requirement.values.dedup();
            requirements.push(requirement);
        }
        requirements.sort();
        requirements.dedup();
        Ok(LabelSelector { requirements })
    }
}

/// `matchLabels`, `nodeSelector`: one value for a key.
pub(crate) fn equals(key: &str, value: &str) -> Requirement {
    Requirement {
        key: Arc::from(key),
        operator: Operator::In,
        values: vec![Arc::from(value)],
    }
}

/// Adds to a selector that labels of these keys are as the pod's own (`In`), or not (`NotIn`).
/// Keys that the pod lacks are ignored; what the API server merged already changes nothing.
pub(crate) fn merge(
    selector: &mut LabelSelector,
    keys: Option<&Vec<String>>,
    operator: Operator,
    own: &Labels,
) {
    for key in keys.into_iter().flatten() {
        if let Some((key, value)) = own.get_key_value(key.as_str()) {
            selector.requirements.push(Requirement {
                key: Arc::clone(key),
                operator,
                values: vec![Arc::clone(value)],
            });
        }
    }
    selector.requirements.sort();
    selector.requirements.dedup();
}

/// A node selector.
#[derive(Deserialize, Clone, Debug, Default)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct NodeSelectorView {
    #[serde(deserialize_with = "or_default")]
    pub(crate) node_selector_terms: Vec<TermView>,
}

/// A term of a node selector.
#[derive(Deserialize, Clone, Debug, Default)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct TermView {
    match_expressions: Option<Vec<ExpressionView>>,
    match_fields: Option<Vec<ExpressionView>>,
}

impl TermView {
    pub(crate) fn model(&self) -> Result<NodeSelectorTerm, String> {
        let all = |expressions: &Option<Vec<ExpressionView>>| {
            expressions
                .iter()
                .flatten()
                .map(ExpressionView::model)
                .collect::<Result<Vec<_>, _>>()
        };
        Ok(NodeSelectorTerm {
            match_expressions: all(&self.match_expressions)?,
            match_fields: all(&self.match_fields)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn selector(value: Value) -> Result<LabelSelector, String> {
        serde_json::from_value::<LabelSelectorView>(value)
            .unwrap()
            .model()
    }

    #[test]
    fn selectors_that_mean_the_same_are_equal() {
        let labels = selector(json!({"matchLabels": {"b": "2", "a": "1"}})).unwrap();
        let expressions = selector(json!({"matchExpressions": [
            {"key": "b", "operator": "In", "values": ["2", "2"]},
            {"key": "a", "operator": "In", "values": ["1"]},
            {"key": "b", "operator": "In", "values": ["2"]},
        ]}));
        assert_eq!(labels, expressions.unwrap());
        assert_eq!(selector(json!({})).unwrap().requirements, []);
    }

    #[test]
    fn a_requirement_that_makes_no_sense_is_named() {
        for (operator, values, what) in [
            ("Is", json!([]), "k: unknown operator \"Is\""),
            ("Gt", json!(["1"]), "k: unknown operator \"Gt\""),
            ("In", json!([]), "k: In with no values"),
            ("Exists", json!(["1"]), "k: Exists with some values"),
        ] {
            let expression = json!({"key": "k", "operator": operator, "values": values});
            let error = selector(json!({"matchExpressions": [expression]}));
            assert_eq!(error.unwrap_err(), what);
        }
    }
}
