//! The PodDisruptionBudgets of a dump, which the planner's own reader passes over.

use std::{collections::BTreeMap, sync::Arc};

use anyhow::{Context, Result};
use model::{LabelSelector, Operator, Requirement};
use planner::removal::simulation::Budget;
use serde::Deserialize;

#[derive(Deserialize)]
struct List {
    items: Vec<Object>,
}

#[derive(Deserialize)]
struct Object {
    kind: String,
    metadata: Metadata,
    #[serde(default)]
    spec: Spec,
    #[serde(default)]
    status: Status,
}

#[derive(Deserialize)]
struct Metadata {
    #[serde(default)]
    namespace: Arc<str>,
    name: Arc<str>,
}

#[derive(Deserialize, Default)]
struct Spec {
    #[serde(default)]
    selector: serde_json::Value,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase")]
struct Status {
    #[serde(default)]
    disruptions_allowed: u32,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Selector {
    #[serde(default)]
    match_labels: BTreeMap<Arc<str>, Arc<str>>,
}

/// Those of a `List` in JSON; their selectors must be plain labels.
pub(crate) fn budgets(dump: &[u8]) -> Result<Vec<Budget>> {
    let list: List = serde_json::from_slice(dump).context("the dump is no List in JSON")?;
    let budgets = list.items.into_iter();
    let budgets = budgets.filter(|object| object.kind == "PodDisruptionBudget");
    budgets
        .map(|object| {
            let Metadata { namespace, name } = object.metadata;
            let selector: Selector = serde_json::from_value(object.spec.selector)
                .with_context(|| format!("PodDisruptionBudget {namespace}/{name}: selector"))?;
            let labels = selector.match_labels.into_iter();
            let requirements = labels.map(|(key, value)| Requirement {
                key,
                operator: Operator::In,
                values: vec![value],
            });
            Ok(Budget {
                namespace,
                name,
                selector: LabelSelector {
                    requirements: requirements.collect(),
                },
                allowed: object.status.disruptions_allowed,
                healthy: false,
                unhealthy_always: false,
            })
        })
        .collect()
}
