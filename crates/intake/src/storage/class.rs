//! StorageClasses.

use std::sync::Arc;

use k8s_openapi::{
    api::storage::v1::StorageClass as KubeClass, apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kube::Resource;
use model::{Operator, Requirement, storage::StorageClass};
use serde::Deserialize;

use super::{driver_of_provisioner, never};
use crate::metadata::{metadata, or_default};

/// What is decoded of a StorageClass.
#[derive(Resource, Deserialize, Clone, Debug)]
#[resource(inherit = KubeClass)]
#[serde(rename_all = "camelCase")]
pub struct ClassView {
    /// Metadata, without `managedFields`.
    #[serde(deserialize_with = "metadata")]
    pub metadata: ObjectMeta,
    #[serde(default, deserialize_with = "or_default")]
    provisioner: String,
    volume_binding_mode: Option<String>,
    allowed_topologies: Option<Vec<TopologyTermView>>,
}

#[derive(Deserialize, Clone, Debug, Default)]
#[serde(rename_all = "camelCase", default)]
struct TopologyTermView {
    match_label_expressions: Option<Vec<TopologyRequirementView>>,
}

#[derive(Deserialize, Clone, Debug, Default)]
#[serde(default)]
struct TopologyRequirementView {
    key: String,
    values: Option<Vec<String>>,
}

impl ClassView {
    /// The class.
    #[must_use]
    pub fn class(&self) -> StorageClass {
        let term = |view: &TopologyTermView| {
            let requirements: Vec<Requirement> = view
                .match_label_expressions
                .iter()
                .flatten()
                .map(|requirement| Requirement {
                    key: Arc::from(requirement.key.as_str()),
                    operator: Operator::In,
                    values: requirement
                        .values
                        .iter()
                        .flatten()
                        .map(|value| Arc::from(value.as_str()))
                        .collect(),
                })
                .collect();
            // An empty term matches no node (component-helpers `MatchTopologySelectorTerms`).
            if requirements.is_empty() {
                vec![never()]
            } else {
                requirements
            }
        };
        StorageClass {
            provisioner: Arc::from(self.provisioner.as_str()),
            waits_for_consumer: self.volume_binding_mode.as_deref() == Some("WaitForFirstConsumer"),
            allowed_topologies: self.allowed_topologies.iter().flatten().map(term).collect(),
            driver: driver_of_provisioner(&self.provisioner).map(Arc::from),
        }
    }
}
