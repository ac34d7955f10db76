//! Nodes: what they offer and how they are.

use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::{api::core::v1::Node as KubeNode, apimachinery::pkg::apis::meta::v1::ObjectMeta};
use kube::Resource;
use model::{Node, NodeName, NodeShape, Resources, Taint, TaintEffect, Uid};
use serde::{Deserialize, Serialize};

use crate::{
    amounts::{Amounts, Exact},
    metadata::{ConditionView, labels, metadata, object, or_default},
};

/// What is decoded of a Node.
#[derive(Resource, Deserialize, Clone, Debug)]
#[resource(inherit = KubeNode)]
pub struct NodeView {
    /// Metadata, without `managedFields`.
    #[serde(deserialize_with = "metadata")]
    pub metadata: ObjectMeta,
    #[serde(default, deserialize_with = "object")]
    spec: NodeSpecView,
    #[serde(default, deserialize_with = "object")]
    status: NodeStatusView,
}

#[derive(Deserialize, Clone, Debug, Default)]
#[serde(rename_all = "camelCase", default)]
struct NodeSpecView {
    #[serde(deserialize_with = "or_default")]
    unschedulable: bool,
    #[serde(deserialize_with = "or_default")]
    taints: Vec<TaintView>,
    #[serde(rename = "providerID")]
    provider_id: Option<String>,
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
    /// As decisions see it; one of an unknown effect does nothing.
    #[must_use]
    pub fn model(&self) -> Option<Taint> {
        Some(Taint {
            key: Arc::from(self.key.as_str()),
            value: Arc::from(self.value.as_deref().unwrap_or_default()),
            effect: TaintEffect::parse(&self.effect)?,
        })
    }
}

#[derive(Deserialize, Clone, Debug, Default)]
#[serde(rename_all = "camelCase", default)]
struct NodeStatusView {
    allocatable: Option<Amounts>,
    capacity: Option<Amounts>,
    #[serde(deserialize_with = "or_default")]
    conditions: Vec<ConditionView>,
    #[serde(deserialize_with = "or_default")]
    addresses: Vec<AddressView>,
    #[serde(deserialize_with = "or_default")]
    declared_features: Vec<String>,
}

#[derive(Deserialize, Clone, Debug, Default)]
#[serde(default)]
struct AddressView {
    #[serde(rename = "type")]
    type_: String,
    address: String,
}

impl NodeView {
    /// What decisions need of it.
    #[must_use]
    pub fn node(&self) -> Node {
        let meta = &self.metadata;
        let (allocatable, defect) = self.allocatable();
        Node {
            name: NodeName::new(meta.name.as_deref().unwrap_or_default()),
            uid: meta.uid.as_deref().map(Uid::new),
            shape: Arc::new(NodeShape {
                labels: labels(meta.labels.as_ref()),
                taints: self.taints().iter().filter_map(TaintView::model).collect(),
                unschedulable: self.spec.unschedulable,
                allocatable,
                features: self
                    .status
                    .declared_features
                    .iter()
                    .map(|feature| Arc::from(feature.as_str()))
                    .collect(),
            }),
            ready: self
                .ready()
                .is_some_and(|condition| condition.status == "True"),
            created_at: meta.creation_timestamp.as_ref().map(|time| time.0),
            defect: defect.map(Arc::from),
        }
    }

    /// Every taint as the API has it.
    #[must_use]
    pub fn taints(&self) -> &[TaintView] {
        &self.spec.taints
    }

    /// `spec.providerID`.
    #[must_use]
    pub fn provider_id(&self) -> Option<&str> {
        self.spec.provider_id.as_deref()
    }

    /// Internal and external addresses, in the order of the status.
    pub fn ip_addresses(&self) -> impl Iterator<Item = &str> {
        self.status
            .addresses
            .iter()
            .filter(|address| address.type_.ends_with("IP"))
            .map(|address| address.address.as_str())
    }

    /// Since when Ready is what it is.
    #[must_use]
    pub fn ready_since(&self) -> Option<Timestamp> {
        self.ready()
            .and_then(|condition| condition.last_transition_time)
    }

    fn ready(&self) -> Option<&ConditionView> {
        self.status
            .conditions
            .iter()
            .find(|condition| condition.type_ == "Ready")
    }

    /// What pods may use; where that is unknown or unreadable, nothing, and why.
    fn allocatable(&self) -> (Resources, Option<String>) {
        let status = &self.status;
        let Some(amounts) = status.allocatable.as_ref().or(status.capacity.as_ref()) else {
            return (Resources::default(), Some("it reports no capacity".into()));
        };
        match Exact::read(Some(amounts)) {
            Ok(exact) => (exact.resources(), None),
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

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn node(value: Value) -> Node {
        serde_json::from_value::<NodeView>(value).unwrap().node()
    }

    #[test]
    fn a_node_says_what_it_has_and_what_it_can_do() {
        let read = node(json!({
            "metadata": {"name": "n", "labels": {"zone": "a"}},
            "spec": {"taints": null, "unschedulable": true},
            "status": {"allocatable": {"cpu": "1500m", "memory": "1Ki", "pods": "10"},
                "declaredFeatures": ["B", "A"],
                "conditions": [{"type": "Ready", "status": "True"}]},
        }));
        assert!(read.ready && read.shape.unschedulable && read.defect.is_none());
        assert_eq!(read.shape.allocatable.cpu_milli, 1500);
        let features: Vec<&str> = read.shape.features.iter().map(AsRef::as_ref).collect();
        assert_eq!(features, ["A", "B"]);
    }

    #[test]
    fn an_empty_allocatable_is_nothing_and_an_absent_one_is_the_capacity() {
        let empty = node(json!({"metadata": {"name": "n"},
            "status": {"allocatable": {}, "capacity": {"cpu": "1"}}}));
        assert_eq!(empty.shape.allocatable, Resources::default());
        assert!(empty.defect.is_none());
        let absent = node(json!({"metadata": {"name": "n"}, "status": {"capacity": {"cpu": "1"}}}));
        assert_eq!(absent.shape.allocatable.cpu_milli, 1000);
    }
}
