//! Nodes: what they offer and how they are.

use std::sync::Arc;

use k8s_openapi::{api::core::v1::Node as KubeNode, apimachinery::pkg::apis::meta::v1::ObjectMeta};
use kube::Resource;
use model::{Resources, Taint, TaintEffect};
use serde::{Deserialize, Serialize};

use super::{Amounts, ConditionView, metadata, resources};

/// What is decoded of a Node.
#[derive(Resource, Deserialize, Clone, Debug)]
#[resource(inherit = KubeNode)]
pub struct NodeView {
    /// Metadata, without `managedFields`.
    #[serde(deserialize_with = "metadata")]
    pub metadata: ObjectMeta,
    #[serde(default)]
    pub(in crate::cluster_state) spec: NodeSpecView,
    #[serde(default)]
    pub(in crate::cluster_state) status: NodeStatusView,
}

#[derive(Deserialize, Clone, Debug, Default)]
#[serde(rename_all = "camelCase", default)]
pub(in crate::cluster_state) struct NodeSpecView {
    pub(in crate::cluster_state) unschedulable: bool,
    pub(in crate::cluster_state) taints: Vec<TaintView>,
    #[serde(rename = "providerID")]
    pub(in crate::cluster_state) provider_id: Option<String>,
}

/// A taint as the API has it.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct TaintView {
    /// The key.
    pub key: String,
    /// The value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// The effect.
    pub effect: String,
    /// When it was added.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_added: Option<String>,
}

impl TaintView {
    pub(in crate::cluster_state) fn model(&self) -> Option<Taint> {
        Some(Taint {
            key: Arc::from(self.key.as_str()),
            value: Arc::from(self.value.as_deref().unwrap_or_default()),
            effect: TaintEffect::parse(&self.effect)?,
        })
    }
}

#[derive(Deserialize, Clone, Debug, Default)]
#[serde(rename_all = "camelCase", default)]
pub(in crate::cluster_state) struct NodeStatusView {
    allocatable: Option<Amounts>,
    capacity: Option<Amounts>,
    pub(in crate::cluster_state) conditions: Vec<ConditionView>,
    pub(in crate::cluster_state) addresses: Vec<AddressView>,
}

#[derive(Deserialize, Clone, Debug, Default)]
#[serde(default)]
pub(in crate::cluster_state) struct AddressView {
    #[serde(rename = "type")]
    pub(in crate::cluster_state) type_: String,
    pub(in crate::cluster_state) address: String,
}

impl NodeView {
    /// What pods may use; where that is unknown or unreadable, nothing, and why.
    pub(in crate::cluster_state) fn allocatable(&self) -> (Resources, Option<String>) {
        let Some(amounts) = self
            .status
            .allocatable
            .as_ref()
            .or(self.status.capacity.as_ref())
        else {
            return (Resources::default(), Some("it reports no capacity".into()));
        };
        match resources(amounts) {
            Ok(resources) => (resources, None),
            Err(error) => (Resources::default(), Some(error)),
        }
    }
}

impl From<KubeNode> for NodeView {
    /// The answer of an own write, in the form the watches use.
    fn from(node: KubeNode) -> Self {
        let metadata = node.metadata.clone();
        serde_json::to_value(node)
            .and_then(serde_json::from_value)
            .unwrap_or_else(|_| Self {
                metadata,
                spec: NodeSpecView::default(),
                status: NodeStatusView::default(),
            })
    }
}
