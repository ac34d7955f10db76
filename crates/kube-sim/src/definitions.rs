//! CustomResourceDefinitions: what applying one adds to the registry.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::{
    error::Cause,
    object::{at, meta_mut, meta_str, set_at, str_at},
    registry::{KindInfo, Registry, ScalePaths},
    schema::Schema,
};

const CLEANUP: &str = "customresourcecleanup.apiextensions.k8s.io";

const VERBS: &[&str] = &[
    "delete",
    "deletecollection",
    "get",
    "list",
    "patch",
    "create",
    "update",
    "watch",
];

/// True for the kind of CRDs.
pub(crate) fn is_definition(kind: &KindInfo) -> bool {
    kind.group == "apiextensions.k8s.io" && kind.kind == "CustomResourceDefinition"
}

/// Fills the names and conversion that CRDs default.
pub(crate) fn default(definition: &mut Value) {
    let kind = str_at(definition, &["spec", "names", "kind"]).to_owned();
    for (field, value) in [
        ("listKind", format!("{kind}List")),
        ("singular", kind.to_lowercase()),
    ] {
        if str_at(definition, &["spec", "names", field]).is_empty() {
            set_at(definition, &["spec", "names", field], json!(value));
        }
    }
    if at(definition, &["spec", "conversion"]).is_none() {
        set_at(
            definition,
            &["spec", "conversion"],
            json!({"strategy": "None"}),
        );
    }
}

/// The kinds of all served versions, or what is wrong with their schemas.
pub(crate) fn kinds(definition: &Value) -> Result<Vec<KindInfo>, Vec<Cause>> {
    let spec = &definition["spec"];
    let names = &spec["names"];
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let list = |value: &Value| -> Vec<String> {
        value
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .map(str::to_owned)
            .collect()
    };
    let (group, plural) = (text(&spec["group"]), text(&names["plural"]));
    let mut kinds = Vec::new();
    let mut causes = Vec::new();
    for (index, version) in spec["versions"]
        .as_array()
        .into_iter()
        .flatten()
        .enumerate()
    {
        let document = at(version, &["schema", "openAPIV3Schema"]).cloned();
        let path = format!("spec.versions[{index}].schema.openAPIV3Schema");
        let schema = match &document {
            None => {
                causes.push(Cause::required(path, ""));
                None
            }
            Some(document) => match Schema::compile(document) {
                Ok(schema) => Some(Arc::new(schema)),
                Err(error) => {
                    causes.push(error.cause(&path));
                    None
                }
            },
        };
        if version["served"] != json!(true) {
            continue;
        }
        let dotted = |path: &Value| -> Vec<String> {
            text(path)
                .trim_start_matches('.')
                .split('.')
                .map(str::to_owned)
                .collect()
        };
        kinds.push(KindInfo {
            version: text(&version["name"]),
            kind: text(&names["kind"]),
            list_kind: text(&names["listKind"]),
            singular: text(&names["singular"]),
            short_names: list(&names["shortNames"]),
            categories: list(&names["categories"]),
            namespaced: spec["scope"] == json!("Namespaced"),
            status: at(version, &["subresources", "status"]).is_some(),
            scale: at(version, &["subresources", "scale"]).map(|scale| ScalePaths {
                spec_replicas: dotted(&scale["specReplicasPath"]),
                status_replicas: dotted(&scale["statusReplicasPath"]),
                selector: scale.get("labelSelectorPath").map(dotted),
            }),
            subresources: Vec::new(),
            verbs: VERBS.iter().map(|verb| (*verb).to_owned()).collect(),
            storage: format!("{group}/{plural}"),
            builtin: false,
            selectable_fields: version["selectableFields"]
                .as_array()
                .into_iter()
                .flatten()
                .map(|field| text(&field["jsonPath"]).trim_start_matches('.').to_owned())
                .collect(),
            schema,
            schema_document: document,
            printer_columns: version["additionalPrinterColumns"]
                .as_array()
                .cloned()
                .unwrap_or_default(),
            group: group.clone(),
            plural: plural.clone(),
        });
    }
    if causes.is_empty() {
        Ok(kinds)
    } else {
        Err(causes)
    }
}

/// Writes what the CRD controllers write: the clean-up finalizer and an accepted status.
pub(crate) fn establish(definition: &mut Value, now: &str) {
    let mut finalizers = crate::object::finalizers(definition);
    if !finalizers.iter().any(|name| name == CLEANUP) && !crate::object::is_deleting(definition) {
        finalizers.push(CLEANUP.to_owned());
        crate::object::set_finalizers(definition, &finalizers);
    }
    let stored: Vec<Value> = definition["spec"]["versions"]
        .as_array()
        .into_iter()
        .flatten()
        .filter(|version| version["storage"] == json!(true))
        .map(|version| version["name"].clone())
        .collect();
    let condition = |kind: &str, reason: &str, message: &str| json!({"type": kind, "status": "True", "reason": reason, "message": message, "lastTransitionTime": now});
    let mut status = definition["status"].clone();
    if status["conditions"].as_array().is_none_or(Vec::is_empty) {
        status = json!({
            "conditions": [
                condition("NamesAccepted", "NoConflicts", "no conflicts found"),
                condition("Established", "InitialNamesAccepted", "the initial names have been accepted"),
            ],
        });
    }
    status["acceptedNames"] = definition["spec"]["names"].clone();
    status["storedVersions"] = json!(stored);
    definition["status"] = status;
    meta_mut(definition);
}

/// Replaces the kinds of this CRD in the registry.
pub(crate) fn register(registry: &mut Registry, definition: &Value, kinds: Vec<KindInfo>) {
    unregister(registry, definition);
    for kind in kinds {
        registry.insert(kind);
    }
}

/// Removes the kinds of this CRD from the registry.
pub(crate) fn unregister(registry: &mut Registry, definition: &Value) {
    let (plural, group) = meta_str(definition, "name")
        .split_once('.')
        .unwrap_or_default();
    registry.remove_custom(group, plural);
}

/// The name of the clean-up finalizer.
pub(crate) fn cleanup_finalizer() -> &'static str {
    CLEANUP
}
