//! Topology spread constraints (kube-scheduler `filterTopologySpreadConstraints`).

use std::sync::Arc;

use model::{InclusionPolicy, Labels, Operator, SpreadConstraint};
use serde::Deserialize;

use crate::selector::{LabelSelectorView, merge};

#[derive(Deserialize, Clone, Debug, Default)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct SpreadView {
    when_unsatisfiable: String,
    topology_key: String,
    max_skew: Option<i32>,
    min_domains: Option<i32>,
    label_selector: Option<LabelSelectorView>,
    match_label_keys: Option<Vec<String>>,
    node_affinity_policy: Option<String>,
    node_taints_policy: Option<String>,
}

impl SpreadView {
    /// It must hold.
    pub(super) fn is_required(&self) -> bool {
        self.when_unsatisfiable == "DoNotSchedule"
    }

    /// It is only better held.
    pub(super) fn is_preferred(&self) -> bool {
        self.when_unsatisfiable == "ScheduleAnyway"
    }

    /// The constraint of a pod with these labels.
    pub(super) fn model(&self, own: &Labels) -> Result<SpreadConstraint, String> {
        let key = &self.topology_key;
        let max_skew = self.max_skew.unwrap_or(1);
        if max_skew < 1 {
            return Err(format!("spread over {key}: maxSkew {max_skew} is below 1"));
        }
        let mut selector = match &self.label_selector {
            Some(selector) => Some(
                selector
                    .model()
                    .map_err(|error| format!("spread over {key}: {error}"))?,
            ),
            None => None,
        };
        if let Some(selector) = &mut selector {
            merge(selector, self.match_label_keys.as_ref(), Operator::In, own);
        }
        let policy = |named: Option<&String>, default| match named.map(String::as_str) {
            None => default,
            Some("Honor") => InclusionPolicy::Honor,
            Some(_) => InclusionPolicy::Ignore,
        };
        Ok(SpreadConstraint {
            topology_key: Arc::from(key.as_str()),
            max_skew,
            min_domains: self.min_domains.unwrap_or(1).max(1),
            selector,
            node_affinity_policy: policy(
                self.node_affinity_policy.as_ref(),
                InclusionPolicy::Honor,
            ),
            node_taints_policy: policy(self.node_taints_policy.as_ref(), InclusionPolicy::Ignore),
        })
    }
}
