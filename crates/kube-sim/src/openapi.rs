//! OpenAPI documents, v3 per group and version and v2 as a whole, made from the registry.
//!
//! They carry what `kubectl` reads: for every kind the operations with their query parameters,
//! and its schema with the kind it belongs to. Custom kinds show their CRD's schema; built-in
//! kinds their envelope only, for clients have those types built in.

use std::collections::BTreeMap;

use base64::Engine as _;
use bytes::Bytes;
use http::Response;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use crate::{
    discovery::{VERSION, answer, json_answer, missing},
    error::ApiError,
    registry::{KindInfo, Registry},
};

/// Clients ask with `@`, which is no legal media type; the answer names the legal one.
const BINARY_TWO_ASKED: &str = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf";
const BINARY_TWO: &str = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf";
const META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta";
const LIST_META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.ListMeta";

/// Answers paths below `/openapi`; `None` for others.
pub(crate) fn respond(registry: &Registry, path: &str, accept: &str) -> Option<Response<Bytes>> {
    let path = path.trim_end_matches('/');
    if path == "/openapi/v2" {
        return Some(if takes_json(accept) {
            json_answer(200, &version_two(registry))
        } else if accept.contains(BINARY_TWO_ASKED) || accept.contains(BINARY_TWO) {
            answer(200, BINARY_TWO, binary_two())
        } else {
            not_acceptable()
        });
    }
    let document = path.strip_prefix("/openapi/v3")?;
    if !takes_json(accept) {
        return Some(not_acceptable());
    }
    if document.is_empty() {
        return Some(json_answer(200, &index(registry)));
    }
    let wanted = document.trim_start_matches('/');
    let found = group_versions(registry).remove(wanted);
    Some(found.map_or_else(missing, |kinds| {
        answer(200, "application/json", version_three(&kinds).to_string())
    }))
}

/// The binary form of version 2, without paths and definitions: `kubectl` checks a `List` with
/// it before sending its items, passes over kinds it does not define, and the server validates
/// every item anyway.
fn binary_two() -> Vec<u8> {
    let field = |number: u8, bytes: &[u8]| -> Vec<u8> {
        // All lengths here are below 128, one byte each.
        let mut out = vec![number << 3 | 2, bytes.len() as u8];
        out.extend_from_slice(bytes);
        out
    };
    let info = [field(1, b"Kubernetes"), field(2, VERSION.as_bytes())].concat();
    [field(1, b"2.0"), field(2, &info), field(8, b"")].concat()
}

fn takes_json(accept: &str) -> bool {
    accept.is_empty()
        || accept.split(',').any(|form| {
            let form = form.split(';').next().unwrap_or_default().trim();
            matches!(form, "application/json" | "*/*" | "application/*")
        })
}

fn not_acceptable() -> Response<Bytes> {
    let error = ApiError::new(
        406,
        "NotAcceptable",
        "only the following media types are accepted: application/json",
    );
    json_answer(406, &error.to_status())
}

/// The kinds by `api/<version>` or `apis/<group>/<version>`.
fn group_versions(registry: &Registry) -> BTreeMap<String, Vec<&KindInfo>> {
    let mut all: BTreeMap<String, Vec<&KindInfo>> = BTreeMap::new();
    for kind in registry.iter() {
        all.entry(prefix(kind)).or_default().push(kind);
    }
    all
}

fn prefix(kind: &KindInfo) -> String {
    if kind.group.is_empty() {
        format!("api/{}", kind.version)
    } else {
        format!("apis/{}/{}", kind.group, kind.version)
    }
}

fn index(registry: &Registry) -> Value {
    let paths: Map<String, Value> = group_versions(registry)
        .into_iter()
        .map(|(name, kinds)| {
            let digest = Sha256::digest(version_three(&kinds).to_string());
            let hash = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(digest);
            let url = format!("/openapi/v3/{name}?hash={hash}");
            (name, json!({"serverRelativeURL": url}))
        })
        .collect();
    json!({"paths": paths})
}

/// The name of a kind's schema: the group reversed, version, kind.
fn schema_name(kind: &KindInfo) -> String {
    if kind.builtin {
        let group = match kind.group.split('.').next() {
            Some("") | None => "core",
            Some(group) => group,
        };
        return format!("io.k8s.api.{group}.{}.{}", kind.version, kind.kind);
    }
    let reversed: Vec<&str> = kind.group.rsplit('.').collect();
    format!("{}.{}.{}", reversed.join("."), kind.version, kind.kind)
}

fn identity(kind: &KindInfo) -> Value {
    json!({"group": kind.group, "version": kind.version, "kind": kind.kind})
}

/// The schemas of a kind and its list. `base` is where references point to.
fn schemas(kind: &KindInfo, base: &str, out: &mut Map<String, Value>) {
    let reference = |name: &str| json!({"$ref": format!("{base}{name}")});
    // Version 2 knows no `allOf` around a reference with a description beside it.
    let described = |name: &str, text: &str| {
        if base.contains("definitions") {
            let mut plain = reference(name);
            plain["description"] = text.into();
            plain
        } else {
            json!({"description": text, "default": {}, "allOf": [reference(name)]})
        }
    };
    let mut document = kind.schema_document.clone().unwrap_or_else(|| {
        json!({
            "description": format!("{} of {}.", kind.kind, kind.api_version()),
            "type": "object", "x-kubernetes-preserve-unknown-fields": true,
        })
    });
    let envelope = [
        (
            "apiVersion",
            json!({"type": "string", "description":
            "APIVersion defines the versioned schema of this representation of an object."}),
        ),
        (
            "kind",
            json!({"type": "string", "description":
            "Kind is the REST resource this object represents."}),
        ),
        ("metadata", described(META, "Standard object's metadata.")),
    ];
    if !document["properties"].is_object() {
        document["properties"] = json!({});
    }
    for (name, schema) in envelope {
        document["properties"][name] = schema;
    }
    document["x-kubernetes-group-version-kind"] = json!([identity(kind)]);
    let name = schema_name(kind);
    let mut list_identity = identity(kind);
    list_identity["kind"] = kind.list_kind.as_str().into();
    let list = json!({
        "description": format!("{} is a list of {}.", kind.list_kind, kind.kind),
        "type": "object", "required": ["items"],
        "properties": {
            "apiVersion": {"type": "string"}, "kind": {"type": "string"},
            "metadata": described(LIST_META, "Standard list metadata."),
            "items": {"type": "array", "items": reference(&name)},
        },
        "x-kubernetes-group-version-kind": [list_identity],
    });
    out.insert(format!("{name}List"), list);
    out.insert(name, document);
}

fn shared_schemas(out: &mut Map<String, Value>) {
    let text = |about: &str| json!({"type": "string", "description": about});
    let map = |about: &str| {
        json!({"type": "object", "description": about,
        "additionalProperties": {"type": "string"}})
    };
    let number = |about: &str| json!({"type": "integer", "format": "int64", "description": about});
    let open = |about: &str| {
        json!({"type": "array", "description": about,
        "items": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}})
    };
    let meta = json!({
        "description": "ObjectMeta is metadata that all persisted resources must have.",
        "type": "object",
        "properties": {
            "annotations": map("Unstructured values that tools keep with the object."),
            "creationTimestamp": {"type": "string", "format": "date-time", "description": "When the object was created, set by the server."},
            "deletionGracePeriodSeconds": number("Seconds until the object may be removed."),
            "deletionTimestamp": {"type": "string", "format": "date-time", "description": "When the object is to be gone, set by the server."},
            "finalizers": {"type": "array", "items": {"type": "string"}, "x-kubernetes-list-type": "set", "x-kubernetes-patch-strategy": "merge", "description": "Must be empty before the object is removed."},
            "generateName": text("Prefix of a name that the server completes."),
            "generation": number("Counts the changes of the wanted state."),
            "labels": map("Keys and values that selectors match."),
            "managedFields": open("Which manager set which fields."),
            "name": text("Unique within a namespace."),
            "namespace": text("The space within which each name must be unique."),
            "ownerReferences": open("Objects this one depends on."),
            "resourceVersion": text("Opaque version of the stored object."),
            "selfLink": text("Unused."),
            "uid": text("Unique in time and space."),
        },
    });
    let list = json!({
        "description": "ListMeta is metadata of lists.",
        "type": "object",
        "properties": {
            "continue": text("Token for the rest of the list."),
            "remainingItemCount": number("Items that follow."),
            "resourceVersion": text("Version of the list."),
            "selfLink": text("Unused."),
        },
    });
    out.insert(META.to_owned(), meta);
    out.insert(LIST_META.to_owned(), list);
}

const PATCH_TYPES: [&str; 4] = [
    "application/apply-patch+yaml",
    "application/apply-patch+cbor",
    "application/json-patch+json",
    "application/merge-patch+json",
];

/// Operations on a kind: method, action, query parameters.
const ON_LIST: [(&str, &str, &[&str]); 3] = [
    (
        "get",
        "list",
        &[
            "allowWatchBookmarks",
            "continue",
            "fieldSelector",
            "labelSelector",
            "limit",
            "resourceVersion",
            "resourceVersionMatch",
            "sendInitialEvents",
            "timeoutSeconds",
            "watch",
        ],
    ),
    (
        "post",
        "post",
        &["dryRun", "fieldManager", "fieldValidation"],
    ),
    (
        "delete",
        "deletecollection",
        &[
            "continue",
            "dryRun",
            "fieldSelector",
            "gracePeriodSeconds",
            "labelSelector",
            "limit",
            "propagationPolicy",
            "resourceVersion",
        ],
    ),
];
const ON_ONE: [(&str, &str, &[&str]); 4] = [
    ("get", "get", &[]),
    ("put", "put", &["dryRun", "fieldManager", "fieldValidation"]),
    (
        "patch",
        "patch",
        &["dryRun", "fieldManager", "fieldValidation", "force"],
    ),
    (
        "delete",
        "delete",
        &["dryRun", "gracePeriodSeconds", "propagationPolicy"],
    ),
];

fn parameter(name: &str, three: bool) -> Value {
    let kind = match name {
        "allowWatchBookmarks" | "force" | "sendInitialEvents" | "watch" => "boolean",
        "gracePeriodSeconds" | "limit" | "timeoutSeconds" => "integer",
        _ => "string",
    };
    let mut parameter = json!({"name": name, "in": "query", "uniqueItems": true});
    if three {
        parameter["schema"] = json!({"type": kind, "uniqueItems": true});
    } else {
        parameter["type"] = kind.into();
    }
    parameter
}

fn operation(kind: &KindInfo, action: &str, queries: &[&str], three: bool) -> Value {
    let name = schema_name(kind);
    let name = if action == "list" {
        format!("{name}List")
    } else {
        name
    };
    let reference = if three {
        json!({"$ref": format!("#/components/schemas/{name}")})
    } else {
        json!({"$ref": format!("#/definitions/{name}")})
    };
    let mut operation = json!({
        "description": format!("{action} {}", kind.kind),
        "parameters": queries.iter().map(|query| parameter(query, three)).collect::<Vec<_>>(),
        "x-kubernetes-action": action,
        "x-kubernetes-group-version-kind": identity(kind),
    });
    if three {
        operation["responses"] = json!({"200": {"description": "OK",
            "content": {"application/json": {"schema": reference}}}});
        let body: Map<String, Value> = match action {
            "patch" => PATCH_TYPES
                .iter()
                .map(|media| ((*media).to_owned(), json!({"schema": {"type": "object"}})))
                .collect(),
            "post" | "put" => Map::from_iter([("*/*".to_owned(), json!({"schema": reference}))]),
            _ => Map::new(),
        };
        if !body.is_empty() {
            operation["requestBody"] = json!({"content": body, "required": true});
        }
    } else {
        operation["produces"] = json!(["application/json"]);
        operation["responses"] = json!({"200": {"description": "OK", "schema": reference}});
        if action == "patch" {
            operation["consumes"] = json!(PATCH_TYPES);
        }
        if let (true, Some(list)) = (
            matches!(action, "patch" | "post" | "put"),
            operation["parameters"].as_array_mut(),
        ) {
            list.push(json!({"name": "body", "in": "body", "required": true, "schema": {"type": "object"}}));
        }
    }
    operation
}

fn paths(kind: &KindInfo, three: bool, out: &mut Map<String, Value>) {
    let base = format!("/{}", prefix(kind));
    let collection = if kind.namespaced {
        format!("{base}/namespaces/{{namespace}}/{}", kind.plural)
    } else {
        format!("{base}/{}", kind.plural)
    };
    let place = |name: &str| {
        let mut place = json!({"name": name, "in": "path", "required": true, "uniqueItems": true});
        if three {
            place["schema"] = json!({"type": "string", "uniqueItems": true});
        } else {
            place["type"] = "string".into();
        }
        place
    };
    let item = |operations: &[(&str, &str, &[&str])], places: &[&str]| {
        let mut item: Map<String, Value> = operations
            .iter()
            .filter(|(_, action, _)| !kind.is_review() || *action == "post")
            .map(|(method, action, queries)| {
                (
                    (*method).to_owned(),
                    operation(kind, action, queries, three),
                )
            })
            .collect();
        let places: Vec<Value> = places.iter().map(|name| place(name)).collect();
        if !places.is_empty() {
            item.insert("parameters".to_owned(), places.into());
        }
        Value::from(item)
    };
    let namespace: &[&str] = if kind.namespaced { &["namespace"] } else { &[] };
    out.insert(collection.clone(), item(&ON_LIST, namespace));
    if kind.is_review() {
        return;
    }
    let named: Vec<&str> = std::iter::once("name")
        .chain(namespace.iter().copied())
        .collect();
    out.insert(format!("{collection}/{{name}}"), item(&ON_ONE, &named));
    if kind.status {
        out.insert(
            format!("{collection}/{{name}}/status"),
            item(&ON_ONE[..3], &named),
        );
    }
    if kind.namespaced {
        out.insert(format!("{base}/{}", kind.plural), item(&ON_LIST[..1], &[]));
    }
}

fn version_three(kinds: &[&KindInfo]) -> Value {
    let (mut all_paths, mut all_schemas) = (Map::new(), Map::new());
    shared_schemas(&mut all_schemas);
    for kind in kinds {
        paths(kind, true, &mut all_paths);
        schemas(kind, "#/components/schemas/", &mut all_schemas);
    }
    json!({
        "openapi": "3.0.0",
        "info": {"title": "Kubernetes", "version": VERSION},
        "paths": all_paths,
        "components": {"schemas": all_schemas},
    })
}

fn version_two(registry: &Registry) -> Value {
    let (mut all_paths, mut definitions) = (Map::new(), Map::new());
    shared_schemas(&mut definitions);
    for kind in registry.iter() {
        paths(kind, false, &mut all_paths);
        schemas(kind, "#/definitions/", &mut definitions);
    }
    json!({
        "swagger": "2.0",
        "info": {"title": "Kubernetes", "version": VERSION},
        "paths": all_paths,
        "definitions": definitions,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(path: &str) -> Value {
        let response = respond(&Registry::builtin(), path, "application/json").unwrap();
        assert_eq!(response.status(), 200, "{path}");
        serde_json::from_slice(response.body()).unwrap()
    }

    #[test]
    fn every_document_of_the_index_exists_and_its_references_resolve() {
        let index = body("/openapi/v3");
        let paths = index["paths"].as_object().unwrap();
        assert!(paths.contains_key("api/v1") && paths.contains_key("apis/apps/v1"));
        for name in paths.keys() {
            let document = body(&format!("/openapi/v3/{name}"));
            let text = document.to_string();
            for part in text.split("\"#/components/schemas/").skip(1) {
                let name = part.split('"').next().unwrap();
                assert!(
                    document["components"]["schemas"].get(name).is_some(),
                    "{name}"
                );
            }
        }
    }

    #[test]
    fn a_patch_says_that_fields_can_be_validated() {
        let document = body("/openapi/v3/apis/apps/v1");
        let patch =
            &document["paths"]["/apis/apps/v1/namespaces/{namespace}/deployments/{name}"]["patch"];
        assert_eq!(
            patch["x-kubernetes-group-version-kind"]["kind"],
            json!("Deployment")
        );
        assert!(
            patch["parameters"]
                .as_array()
                .unwrap()
                .iter()
                .any(|p| p["name"] == "fieldValidation")
        );
    }

    #[test]
    fn forms_that_are_not_served_are_refused() {
        for (path, accept, code) in [
            ("/openapi/v2", BINARY_TWO, 200),
            ("/openapi/v2", BINARY_TWO_ASKED, 200),
            ("/openapi/v2", "text/html", 406),
            (
                "/openapi/v3/api/v1",
                "application/com.github.proto-openapi.spec.v3.v1.0+protobuf",
                406,
            ),
            ("/openapi/v3/api/v9", "application/json", 404),
        ] {
            let response = respond(&Registry::builtin(), path, accept).unwrap();
            assert_eq!(response.status(), code, "{path} {accept}");
        }
    }
}
