//! PodDisruptionBudgets: how many pods may be evicted now, as the API server's evictions read them
//! (`pkg/registry/core/pod/storage/eviction.go`).

use std::sync::Arc;

use k8s_openapi::{
    api::policy::v1::PodDisruptionBudget as KubeBudget,
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kube::Resource;
use model::Budget;
use serde::Deserialize;

use crate::{
    metadata::{metadata, object},
    selector::LabelSelectorView,
    storage::unmet,
};

/// What is decoded of a PodDisruptionBudget.
#[derive(Resource, Deserialize, Clone, Debug)]
#[resource(inherit = KubeBudget)]
pub struct BudgetView {
    /// Metadata, without `managedFields`.
    #[serde(deserialize_with = "metadata")]
    pub metadata: ObjectMeta,
    #[serde(default, deserialize_with = "object")]
    spec: BudgetSpecView,
    #[serde(default, deserialize_with = "object")]
    status: BudgetStatusView,
}

#[derive(Deserialize, Clone, Debug, Default)]
#[serde(rename_all = "camelCase", default)]
struct BudgetSpecView {
    selector: Option<LabelSelectorView>,
    unhealthy_pod_eviction_policy: Option<String>,
}

#[derive(Deserialize, Clone, Debug, Default)]
#[serde(rename_all = "camelCase", default)]
struct BudgetStatusView {
    observed_generation: Option<i64>,
    disruptions_allowed: Option<i64>,
    current_healthy: Option<i64>,
    desired_healthy: Option<i64>,
}

impl BudgetView {
    /// The budget, and what in it cannot be read. A selector that is absent or makes no sense
    /// selects no pod; an empty one selects all of the namespace.
    #[must_use]
    pub fn budget(&self) -> (Budget, Option<String>) {
        let (meta, spec, status) = (&self.metadata, &self.spec, &self.status);
        let (selector, defect) = match spec.selector.as_ref().map(LabelSelectorView::model) {
            None => (unmet(), None),
            Some(Ok(selector)) => (selector, None),
            Some(Err(error)) => (unmet(), Some(format!("selector: {error}"))),
        };
        // A status of an earlier spec allows nothing.
        let current =
            status.observed_generation.unwrap_or_default() >= meta.generation.unwrap_or_default();
        let allowed = status.disruptions_allowed.filter(|_| current);
        let desired = status.desired_healthy.unwrap_or_default();
        let budget = Budget {
            namespace: Arc::from(meta.namespace.as_deref().unwrap_or_default()),
            name: Arc::from(meta.name.as_deref().unwrap_or_default()),
            selector,
            allowed: u32::try_from(allowed.unwrap_or_default()).unwrap_or_default(),
            healthy: desired > 0 && status.current_healthy.unwrap_or_default() >= desired,
            unhealthy_always: spec.unhealthy_pod_eviction_policy.as_deref() == Some("AlwaysAllow"),
        };
        (budget, defect)
    }
}

#[cfg(test)]
#[allow(clippy::needless_pass_by_value)] // JSON literals
mod tests {
    use model::Labels;
    use serde_json::{Value, json};

    use super::*;

    fn read(generation: i64, spec: Value, status: Value) -> (Budget, Option<String>) {
        let view: BudgetView = serde_json::from_value(json!({
            "metadata": {"name": "b", "namespace": "shop", "generation": generation},
            "spec": spec, "status": status,
        }))
        .unwrap();
        view.budget()
    }

    fn status(observed: i64, allowed: i64, current: i64, desired: i64) -> Value {
        json!({"observedGeneration": observed, "disruptionsAllowed": allowed,
            "currentHealthy": current, "desiredHealthy": desired})
    }

    #[test]
    fn what_is_allowed_counts_while_the_status_speaks_of_the_present_spec() {
        for (status, allowed) in [
            (status(2, 3, 5, 2), 3),
            (status(3, 3, 5, 2), 3),
            (status(1, 3, 5, 2), 0),
            (status(2, -1, 5, 2), 0),
            (json!({"disruptionsAllowed": 3}), 0),
            (json!(null), 0),
        ] {
            let (budget, defect) = read(2, json!({"selector": {}}), status.clone());
            assert_eq!((budget.allowed, defect), (allowed, None), "{status}");
        }
    }

    #[test]
    fn pods_that_are_not_ready_are_spared_where_enough_are_or_always() {
        let (enough, short) = (status(1, 0, 2, 2), status(1, 0, 1, 2));
        let healthy = |status: &Value| read(1, json!({}), status.clone()).0.healthy;
        assert!(healthy(&enough) && !healthy(&short));
        assert!(!healthy(&status(1, 0, 2, 0)), "none is needed");
        let policy = |text: &str| {
            let spec = json!({"unhealthyPodEvictionPolicy": text});
            read(1, spec, short.clone()).0.unhealthy_always
        };
        assert!(policy("AlwaysAllow") && !policy("IfHealthyBudget"));
    }

    #[test]
    fn an_empty_selector_selects_all_and_one_that_is_absent_or_makes_no_sense_none() {
        let selects = |spec: Value| {
            let (budget, defect) = read(1, spec, json!({}));
            let app = Labels::from([("app".into(), "web".into())]);
            let of = (
                budget.selector.matches(&app),
                budget.selector.matches(&Labels::new()),
            );
            (of, defect)
        };
        assert_eq!(selects(json!({"selector": {}})), ((true, true), None));
        assert_eq!(selects(json!({})), ((false, false), None));
        assert_eq!(selects(json!({"selector": null})), ((false, false), None));
        let web = json!({"selector": {"matchLabels": {"app": "web"}}});
        assert_eq!(selects(web), ((true, false), None));
        let odd = json!({"selector": {"matchExpressions": [{"key": "app", "operator": "Is"}]}});
        let defect = "selector: app: unknown operator \"Is\"".to_owned();
        assert_eq!(selects(odd), ((false, false), Some(defect)));
    }
}
