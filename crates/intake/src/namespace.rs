//! Namespaces: their labels, which rules between pods select by.

use k8s_openapi::{
    api::core::v1::Namespace as KubeNamespace, apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kube::Resource;
use model::Labels;
use serde::Deserialize;

use crate::metadata::{labels, metadata};

/// What is decoded of a Namespace.
#[derive(Resource, Deserialize, Clone, Debug)]
#[resource(inherit = KubeNamespace)]
pub struct NamespaceView {
    /// Metadata, without `managedFields`.
    #[serde(deserialize_with = "metadata")]
    pub metadata: ObjectMeta,
}

impl NamespaceView {
    /// Its labels; its name is one of them, whether or not it was stored yet.
    #[must_use]
    pub fn labels(&self) -> Labels {
        let mut labels = labels(self.metadata.labels.as_ref());
        let name = self.metadata.name.as_deref().unwrap_or_default();
        labels.insert("kubernetes.io/metadata.name".into(), name.into());
        labels
    }
}
