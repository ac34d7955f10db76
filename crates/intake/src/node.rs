//! Nodes: what they offer and how they are.

use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::{api::core::v1::Node as KubeNode, apimachinery::pkg::apis::meta::v1::ObjectMeta};
use kube::Resource;
use model::{Labels, Node, NodeName, NodeShape, Resources, Taint, TaintEffect, Uid};
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

/// What there is to know of a Node besides what decides which pods it takes.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct NodeFacts {
    /// Its version, for compare-and-swap writes.
    pub resource_version: String,
    /// Annotations.
    pub annotations: Labels,
    /// Every taint as the API has it, so that a write keeps those of others whole.
    pub taints: Vec<TaintView>,
    /// Internal and external addresses.
    pub addresses: Vec<Arc<str>>,
    /// `spec.providerID`.
    pub provider_id: Option<Arc<str>>,
    /// Carries a control-plane label or taint.
    pub control_plane: bool,
    /// Since when Ready is what it is.
    pub ready_since: Option<Timestamp>,
    /// Its deletion was asked for.
    pub deleting: bool,
}

impl NodeView {
    /// What there is to know besides.
    #[must_use]
    pub fn facts(&self) -> NodeFacts {
        let meta = &self.metadata;
        let taints = &self.spec.taints;
        let control_plane = api::labels::CONTROL_PLANE_ROLES.iter().any(|role| {
            let labels = meta.labels.as_ref();
            labels.is_some_and(|labels| labels.contains_key(*role))
                || taints.iter().any(|taint| taint.key == *role)
        });
        let addresses = self.status.addresses.iter();
        NodeFacts {
            resource_version: meta.resource_version.clone().unwrap_or_default(),
            annotations: labels(meta.annotations.as_ref()),
            taints: taints.clone(),
            addresses: addresses
                .filter(|address| address.type_.ends_with("IP"))
                .map(|address| Arc::from(address.address.as_str()))
                .collect(),
            provider_id: self.spec.provider_id.as_deref().map(Arc::from),
            control_plane,
            ready_since: self
                .ready()
                .and_then(|condition| condition.last_transition_time),
            deleting: meta.deletion_timestamp.is_some(),
        }
    }

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
                taints: self
                    .spec
                    .taints
                    .iter()
                    .filter_map(TaintView::model)
                    .collect(),
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
    fn a_node_of_the_control_plane_is_told_by_label_or_taint_of_either_spelling() {
        let facts = |metadata: Value, taints: Value| {
            let view: NodeView = serde_json::from_value(
                json!({"metadata": metadata, "spec": {"taints": taints}, "status": {"conditions": [
                    {"type": "Ready", "status": "True",
                        "lastTransitionTime": "2026-01-01T00:00:00Z"}]}}),
            )
            .unwrap();
            view.facts()
        };
        let told = json!({"name": "n", "annotations": {"a": "b"},
            "deletionTimestamp": "2026-01-01T00:00:00Z"});
        let plain = facts(told, json!([]));
        assert!(!plain.control_plane && plain.deleting);
        assert_eq!(&*plain.annotations["a"], "b");
        assert_eq!(plain.ready_since, "2026-01-01T00:00:00Z".parse().ok());
        for role in ["control-plane", "master"] {
            let key = format!("node-role.kubernetes.io/{role}");
            assert!(facts(json!({"labels": {&key: ""}}), json!(null)).control_plane);
            let taint = json!([{"key": key, "effect": "NoSchedule"}]);
            assert!(facts(json!({}), taint).control_plane);
        }
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
