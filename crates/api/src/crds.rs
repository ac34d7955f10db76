//! The CustomResourceDefinitions, generated from the types.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt as _;

use crate::{AutoscalerConfig, NodeGroup, VPSieNode};

/// All three, sorted by name.
#[must_use]
pub fn crds() -> Vec<CustomResourceDefinition> {
    vec![AutoscalerConfig::crd(), NodeGroup::crd(), VPSieNode::crd()]
}

/// The file of one definition: its name and its YAML.
#[must_use]
pub fn files() -> Vec<(String, String)> {
    crds()
        .iter()
        .map(|crd| {
            let name = crd.metadata.name.clone().unwrap_or_default();
            let plural = name.split('.').next().unwrap_or(&name);
            (format!("autoscaler.vpsie.com_{plural}.yaml"), document(crd))
        })
        .collect()
}

/// All definitions as one YAML stream.
#[must_use]
pub fn yaml() -> String {
    crds()
        .iter()
        .map(|crd| format!("---\n{}", document(crd)))
        .collect()
}

fn document(crd: &CustomResourceDefinition) -> String {
    // The types serialize by construction; an empty document would be caught by the test that
    // compares the checked-in files.
    serde_saphyr::to_string(crd).unwrap_or_default()
}
