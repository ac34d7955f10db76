//! The CustomResourceDefinitions, generated from the types.
//!
//! No property is `nullable`, as in the predecessor: the API server then drops an explicit `null`
//! (a template that rendered nothing) and applies the default, so a rule never meets a `null`.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool,
};
use kube::CustomResourceExt as _;

use crate::{AutoscalerConfig, NodeGroup, VPSieNode};

/// All three, sorted by name.
#[must_use]
pub fn crds() -> Vec<CustomResourceDefinition> {
    let mut all = vec![AutoscalerConfig::crd(), NodeGroup::crd(), VPSieNode::crd()];
    for version in all.iter_mut().flat_map(|crd| &mut crd.spec.versions) {
        let schema = version.schema.as_mut();
        if let Some(root) = schema.and_then(|schema| schema.open_api_v3_schema.as_mut()) {
            refuse_null(root);
        }
    }
    all
}

fn refuse_null(schema: &mut JSONSchemaProps) {
    schema.nullable = None;
    for property in schema
        .properties
        .iter_mut()
        .flat_map(|all| all.values_mut())
    {
        refuse_null(property);
    }
    if let Some(JSONSchemaPropsOrArray::Schema(items)) = &mut schema.items {
        refuse_null(items);
    }
    if let Some(JSONSchemaPropsOrBool::Schema(values)) = &mut schema.additional_properties {
        refuse_null(values);
    }
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
        .flat_map(|crd| ["---\n".to_owned(), document(crd)])
        .collect()
}

fn document(crd: &CustomResourceDefinition) -> String {
    // The types serialize by construction; an empty document would be caught by the test that
    // compares the checked-in files.
    serde_saphyr::to_string(crd).unwrap_or_default()
}
