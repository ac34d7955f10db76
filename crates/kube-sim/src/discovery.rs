//! Discovery: which groups, versions and resources are served, in the legacy and the aggregated
//! form, with the version, the health endpoints and the list of root paths.
//!
//! Everything is read from the registry at the time of the request; a CRD shows up at once.

use bytes::Bytes;
use http::{Response, header};
use serde_json::{Value, json};

use crate::{
    error::ApiError,
    registry::{KindInfo, Registry},
};

/// The Kubernetes version the server says it is.
pub(crate) const VERSION: &str = "v1.33.0+sim";

/// Answers a path that names no resource; `None` when the path is none of this module's.
pub(crate) fn respond(registry: &Registry, path: &str, accept: &str) -> Option<Response<Bytes>> {
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    Some(match parts.as_slice() {
        [] => json_answer(200, &root(registry)),
        ["version"] => json_answer(200, &version()),
        ["healthz" | "livez" | "readyz", ..] => answer(200, "text/plain; charset=utf-8", "ok"),
        ["api"] => groups_or(
            registry,
            accept,
            true,
            &json!({
                "kind": "APIVersions", "versions": ["v1"],
                "serverAddressByClientCIDRs": [],
            }),
        ),
        ["apis"] => groups_or(
            registry,
            accept,
            false,
            &json!({
                "kind": "APIGroupList", "apiVersion": "v1",
                "groups": named_groups(registry).iter()
                    .map(|(group, versions)| api_group(group, versions)).collect::<Vec<_>>(),
            }),
        ),
        ["apis", group] => match named_groups(registry)
            .iter()
            .find(|(name, _)| name == group)
        {
            Some((group, versions)) => {
                let mut body = api_group(group, versions);
                body["kind"] = "APIGroup".into();
                body["apiVersion"] = "v1".into();
                json_answer(200, &body)
            }
            None => missing(),
        },
        ["api", version] => resources(registry, "", version),
        ["apis", group, version] => resources(registry, group, version),
        _ => return None,
    })
}

/// A response of a status, a content type and a body.
pub(crate) fn answer(code: u16, content_type: &str, body: impl Into<Bytes>) -> Response<Bytes> {
    let mut response = Response::new(body.into());
    *response.status_mut() = http::StatusCode::from_u16(code).unwrap_or_default();
    if let Ok(value) = content_type.parse() {
        response.headers_mut().insert(header::CONTENT_TYPE, value);
    }
    response
}

pub(crate) fn json_answer(code: u16, body: &Value) -> Response<Bytes> {
    answer(code, "application/json", body.to_string())
}

pub(crate) fn missing() -> Response<Bytes> {
    answer(404, "text/plain; charset=utf-8", "404 page not found\n")
}

fn version() -> Value {
    json!({
        "major": "1", "minor": "33", "gitVersion": VERSION,
        "gitCommit": "0000000000000000000000000000000000000000", "gitTreeState": "clean",
        "buildDate": "1970-01-01T00:00:00Z", "goVersion": "none", "compiler": "rustc",
        "platform": "linux/amd64",
    })
}

fn root(registry: &Registry) -> Value {
    let mut paths = vec!["/api".to_owned(), "/api/v1".to_owned(), "/apis".to_owned()];
    for (group, versions) in named_groups(registry) {
        paths.push(format!("/apis/{group}"));
        paths.extend(
            versions
                .iter()
                .map(|version| format!("/apis/{group}/{version}")),
        );
    }
    for path in [
        "/healthz",
        "/livez",
        "/openapi/v2",
        "/openapi/v3",
        "/readyz",
        "/version",
    ] {
        paths.push(path.to_owned());
    }
    json!({"paths": paths})
}

/// The rank of a version in a list: stable before beta before alpha, higher before lower.
fn rank(version: &str) -> (u8, std::cmp::Reverse<(u64, u64)>, String) {
    let parsed = version.strip_prefix('v').and_then(|text| {
        let at = text
            .find(|c: char| !c.is_ascii_digit())
            .unwrap_or(text.len());
        let major: u64 = text[..at].parse().ok()?;
        let tail = &text[at..];
        if tail.is_empty() {
            return Some((0, major, 0));
        }
        let (stage, minor) = match (tail.strip_prefix("beta"), tail.strip_prefix("alpha")) {
            (Some(minor), _) => (1, minor),
            (None, Some(minor)) => (2, minor),
            (None, None) => return None,
        };
        Some((stage, major, minor.parse().ok()?))
    });
    match parsed {
        Some((stage, major, minor)) => (stage, std::cmp::Reverse((major, minor)), String::new()),
        None => (3, std::cmp::Reverse((0, 0)), version.to_owned()),
    }
}

/// The groups except core, with their versions, preferred first.
fn named_groups(registry: &Registry) -> Vec<(&str, Vec<&str>)> {
    registry
        .groups()
        .into_iter()
        .filter(|(group, _)| !group.is_empty())
        .map(|(group, mut versions)| {
            versions.sort_by_key(|version| rank(version));
            (group, versions)
        })
        .collect()
}

fn api_group(group: &str, versions: &[&str]) -> Value {
    let entry =
        |version: &str| json!({"groupVersion": format!("{group}/{version}"), "version": version});
    json!({
        "name": group,
        "versions": versions.iter().map(|version| entry(version)).collect::<Vec<_>>(),
        "preferredVersion": versions.first().map(|version| entry(version)),
    })
}

/// A subresource: name, the kind of its body (group, version, kind; empty for the parent's),
/// verbs.
type Sub = (
    String,
    (&'static str, &'static str, &'static str),
    &'static [&'static str],
);

fn subresources(kind: &KindInfo) -> Vec<Sub> {
    const CHANGE: &[&str] = &["get", "patch", "update"];
    let mut subs: Vec<Sub> = Vec::new();
    if kind.status {
        subs.push(("status".to_owned(), ("", "", ""), CHANGE));
    }
    if kind.scale.is_some() {
        subs.push(("scale".to_owned(), ("autoscaling", "v1", "Scale"), CHANGE));
    }
    for name in &kind.subresources {
        let (body, verbs): (_, &[&str]) = match name.as_str() {
            "eviction" => (("policy", "v1", "Eviction"), &["create"]),
            "binding" => (("", "v1", "Binding"), &["create"]),
            "finalize" => (("", "", ""), &["update"]),
            _ => (("", "", ""), CHANGE),
        };
        subs.push((name.clone(), body, verbs));
    }
    subs.sort();
    subs
}

fn resources(registry: &Registry, group: &str, version: &str) -> Response<Bytes> {
    let kinds: Vec<&KindInfo> = registry
        .iter()
        .map(AsRef::as_ref)
        .filter(|kind: &&KindInfo| kind.group == group && kind.version == version)
        .collect();
    let Some(first) = kinds.first() else {
        let known = registry
            .iter()
            .any(|kind| kind.builtin && kind.group == group);
        return if known {
            json_answer(404, &ApiError::no_such_resource().to_status())
        } else {
            missing()
        };
    };
    let mut list = Vec::new();
    for kind in &kinds {
        let mut entry = json!({
            "name": kind.plural, "singularName": kind.singular, "namespaced": kind.namespaced,
            "kind": kind.kind, "verbs": kind.verbs,
        });
        if !kind.short_names.is_empty() {
            entry["shortNames"] = json!(kind.short_names);
        }
        if !kind.categories.is_empty() {
            entry["categories"] = json!(kind.categories);
        }
        list.push(entry);
        for (name, (body_group, body_version, body_kind), verbs) in subresources(kind) {
            let mut entry = json!({
                "name": format!("{}/{name}", kind.plural), "singularName": "",
                "namespaced": kind.namespaced, "verbs": verbs,
                "kind": if body_kind.is_empty() { &kind.kind } else { body_kind },
            });
            if !body_kind.is_empty() && body_group != kind.group {
                entry["group"] = body_group.into();
                entry["version"] = body_version.into();
            }
            list.push(entry);
        }
    }
    let mut body = json!({
        "kind": "APIResourceList", "groupVersion": first.api_version(), "resources": list,
    });
    // The core group answers in a form from before lists had versions.
    if !group.is_empty() {
        body["apiVersion"] = json!("v1");
    }
    json_answer(200, &body)
}

/// The first aggregated version that `accept` names before plain JSON.
fn aggregated(accept: &str) -> Option<&'static str> {
    for form in accept.split(',') {
        let parts: Vec<&str> = form.split(';').map(str::trim).collect();
        if parts.contains(&"as=APIGroupDiscoveryList") && parts.contains(&"g=apidiscovery.k8s.io") {
            for version in ["v2", "v2beta1"] {
                if parts.contains(&format!("v={version}").as_str())
                    && parts[0] == "application/json"
                {
                    return Some(version);
                }
            }
        } else if matches!(parts.as_slice(), ["application/json" | "*/*", ..]) {
            return None;
        }
    }
    None
}

fn groups_or(registry: &Registry, accept: &str, core: bool, legacy: &Value) -> Response<Bytes> {
    let mut response = match aggregated(accept) {
        None => json_answer(200, legacy),
        Some(form) => {
            let content_type =
                format!("application/json;g=apidiscovery.k8s.io;v={form};as=APIGroupDiscoveryList");
            answer(
                200,
                &content_type,
                group_discovery(registry, core, form).to_string(),
            )
        }
    };
    response
        .headers_mut()
        .insert(header::VARY, header::HeaderValue::from_static("Accept"));
    response
}

fn group_discovery(registry: &Registry, core: bool, form: &str) -> Value {
    let groups = if core {
        vec![("", vec!["v1"])]
    } else {
        named_groups(registry)
    };
    let items: Vec<Value> = groups
        .iter()
        .map(|(group, versions)| {
            let versions: Vec<Value> = versions
                .iter()
                .map(|version| {
                    let resources: Vec<Value> = registry
                        .iter()
                        .filter(|kind| kind.group == *group && kind.version == *version)
                        .map(|kind| resource_discovery(kind))
                        .collect();
                    json!({"version": version, "freshness": "Current", "resources": resources})
                })
                .collect();
            let mut metadata = json!({});
            if !group.is_empty() {
                metadata["name"] = (*group).into();
            }
            json!({"metadata": metadata, "versions": versions})
        })
        .collect();
    json!({
        "kind": "APIGroupDiscoveryList", "apiVersion": format!("apidiscovery.k8s.io/{form}"),
        "metadata": {}, "items": items,
    })
}

fn resource_discovery(kind: &KindInfo) -> Value {
    let own = json!({"group": kind.group, "version": kind.version, "kind": kind.kind});
    let mut entry = json!({
        "resource": kind.plural, "singularResource": kind.singular, "responseKind": own,
        "scope": if kind.namespaced { "Namespaced" } else { "Cluster" }, "verbs": kind.verbs,
    });
    if !kind.short_names.is_empty() {
        entry["shortNames"] = json!(kind.short_names);
    }
    if !kind.categories.is_empty() {
        entry["categories"] = json!(kind.categories);
    }
    let subs: Vec<Value> = subresources(kind)
        .into_iter()
        .map(|(name, (group, version, body), verbs)| {
            let response = if body.is_empty() {
                own.clone()
            } else {
                json!({"group": group, "version": version, "kind": body})
            };
            json!({"subresource": name, "responseKind": response, "verbs": verbs})
        })
        .collect();
    if !subs.is_empty() {
        entry["subresources"] = subs.into();
    }
    entry
}

#[cfg(test)]
mod tests {
    use super::*;

    fn get(path: &str, accept: &str) -> (u16, String, Value) {
        let response = respond(&Registry::builtin(), path, accept).unwrap();
        let content_type = response.headers()[header::CONTENT_TYPE]
            .to_str()
            .unwrap()
            .to_owned();
        let body = serde_json::from_slice(response.body()).unwrap_or_default();
        (response.status().as_u16(), content_type, body)
    }

    #[test]
    fn resources_are_listed_with_their_subresources() {
        let (code, _, body) = get("/api/v1", "application/json");
        assert_eq!((code, &body["groupVersion"]), (200, &json!("v1")));
        let list = body["resources"].as_array().unwrap();
        let find = |name: &str| list.iter().find(|entry| entry["name"] == name).unwrap();
        assert_eq!(find("pods")["shortNames"], json!(["po"]));
        assert_eq!(find("pods/eviction")["group"], json!("policy"));
        assert_eq!(find("nodes")["namespaced"], json!(false));
        let (_, _, body) = get("/apis/apps/v1", "");
        let list = body["resources"].as_array().unwrap();
        assert!(
            list.iter().any(
                |entry| entry["name"] == "deployments/scale" && entry["group"] == "autoscaling"
            )
        );
        assert_eq!(get("/apis/nothing.example/v1", "").0, 404);
    }

    #[test]
    fn aggregated_discovery_is_sent_to_who_asks_for_it() {
        let accept = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList,application/json";
        let (_, content_type, body) = get("/apis", accept);
        assert!(content_type.contains("v=v2;as=APIGroupDiscoveryList"));
        assert!(
            body["items"]
                .as_array()
                .unwrap()
                .iter()
                .any(|group| group["metadata"]["name"] == "apps")
        );
        let (_, content_type, body) = get("/apis", "application/json");
        assert_eq!(
            (content_type.as_str(), &body["kind"]),
            ("application/json", &json!("APIGroupList"))
        );
    }

    #[test]
    fn stable_versions_come_first_and_higher_ones_before_lower() {
        let mut versions = vec!["v1alpha1", "v1", "v2beta1", "foo", "v2", "v10"];
        versions.sort_by_key(|version| rank(version));
        assert_eq!(versions, ["v10", "v2", "v1", "v2beta1", "v1alpha1", "foo"]);
    }
}
