//! What a URL and a method ask for: verb, resource, object, subresource and parameters.

use std::collections::BTreeMap;

use http::Method;

use crate::error::{ApiError, ApiResult};

/// A decoded request line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct RequestInfo {
    /// Kubernetes verb: get, list, watch, create, update, patch, delete, deletecollection.
    pub(crate) verb: &'static str,
    pub(crate) group: String,
    pub(crate) version: String,
    pub(crate) resource: String,
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) subresource: String,
    pub(crate) query: BTreeMap<String, String>,
}

impl RequestInfo {
    /// Decodes a request; `None` when the path names no resource (discovery, health, …).
    pub(crate) fn parse(method: &Method, path: &str, query: &str) -> ApiResult<Option<Self>> {
        let parts: Vec<String> = path
            .split('/')
            .filter(|part| !part.is_empty())
            .map(|part| percent_decode(part, false))
            .collect();
        let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
        let (group, version, mut rest): (&str, &str, &[&str]) = match parts.as_slice() {
            ["api", version, rest @ ..] if !rest.is_empty() => ("", version, rest),
            ["apis", group, version, rest @ ..] if !rest.is_empty() => (group, version, rest),
            _ => return Ok(None),
        };
        let mut info = Self {
            group: group.to_owned(),
            version: version.to_owned(),
            query: parse_query(query),
            ..Self::default()
        };
        let mut legacy_watch = false;
        if let ["watch", tail @ ..] = rest {
            legacy_watch = true;
            rest = tail;
        }
        // `/namespaces/x` and its own subresources name the namespace itself.
        if let ["namespaces", namespace, tail @ ..] = rest
            && !tail.is_empty()
            && !(group.is_empty() && matches!(tail, ["status" | "finalize"]))
        {
            (*namespace).clone_into(&mut info.namespace);
            rest = tail;
        }
        match rest {
            [resource] => (*resource).clone_into(&mut info.resource),
            [resource, name, sub @ ..] if sub.len() <= 1 => {
                (*resource).clone_into(&mut info.resource);
                (*name).clone_into(&mut info.name);
                if let [sub] = sub {
                    (*sub).clone_into(&mut info.subresource);
                }
            }
            _ => return Err(ApiError::no_such_resource()),
        }
        let watching = legacy_watch
            || info
                .query
                .get("watch")
                .is_some_and(|flag| flag != "false" && flag != "0");
        info.verb = match (method.as_str(), info.name.is_empty()) {
            // Only lists are watched; of one object the flag is ignored.
            ("GET" | "HEAD", nameless) if watching && (nameless || legacy_watch) => "watch",
            ("GET" | "HEAD", true) => "list",
            ("GET" | "HEAD", false) => "get",
            ("POST", _) => "create",
            ("PUT", false) => "update",
            ("PATCH", false) => "patch",
            ("DELETE", false) => "delete",
            ("DELETE", true) => "deletecollection",
            _ => return Err(ApiError::method_not_allowed()),
        };
        if info.verb == "watch" && !info.name.is_empty() {
            let selector = format!("metadata.name={}", info.name);
            info.name.clear();
            info.query.insert("fieldSelector".to_owned(), selector);
        }
        Ok(Some(info))
    }

    /// A query parameter; empty when absent.
    pub(crate) fn param(&self, name: &str) -> &str {
        self.query.get(name).map_or("", String::as_str)
    }

    /// A boolean query parameter.
    pub(crate) fn flag(&self, name: &str) -> bool {
        matches!(self.param(name), "true" | "1")
    }

    /// True when nothing may be stored.
    pub(crate) fn dry_run(&self) -> ApiResult<bool> {
        match self.param("dryRun") {
            "" => Ok(false),
            "All" => Ok(true),
            other => Err(ApiError::bad_request(format!(
                "invalid dry-run option: Unsupported value: {other:?}: supported values: \"All\""
            ))),
        }
    }

    /// The writer's name in managedFields: `fieldManager`, or the actor.
    pub(crate) fn manager<'a>(&'a self, actor: &'a str) -> &'a str {
        match self.param("fieldManager") {
            "" => actor,
            manager => manager,
        }
    }
}

fn parse_query(query: &str) -> BTreeMap<String, String> {
    query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            (percent_decode(key, true), percent_decode(value, true))
        })
        .collect()
}

fn percent_decode(text: &str, plus_is_blank: bool) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let hex = bytes
            .get(at + 1..at + 3)
            .and_then(|pair| std::str::from_utf8(pair).ok())
            .and_then(|pair| u8::from_str_radix(pair, 16).ok());
        match (bytes[at], hex) {
            (b'%', Some(byte)) => {
                out.push(byte);
                at += 2;
            }
            (b'+', _) if plus_is_blank => out.push(b' '),
            (byte, _) => out.push(byte),
        }
        at += 1;
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn get(path: &str, query: &str) -> RequestInfo {
        RequestInfo::parse(&Method::GET, path, query)
            .unwrap()
            .unwrap()
    }

    #[test]
    fn urls_name_verb_resource_and_object() {
        let info = get(
            "/api/v1/namespaces/default/pods",
            "labelSelector=a%3Db%2Cc&limit=5",
        );
        assert_eq!((info.verb, info.resource.as_str()), ("list", "pods"));
        assert_eq!(info.namespace, "default");
        assert_eq!(info.param("labelSelector"), "a=b,c");
        let info = get("/api/v1/namespaces/default", "");
        assert_eq!(
            (info.resource.as_str(), info.name.as_str()),
            ("namespaces", "default")
        );
        let info = get("/api/v1/namespaces/default/status", "");
        assert_eq!(
            (info.resource.as_str(), info.subresource.as_str()),
            ("namespaces", "status")
        );
        let info = get("/apis/apps/v1/namespaces/x/deployments/d/scale", "");
        assert_eq!(
            (info.group.as_str(), info.subresource.as_str()),
            ("apps", "scale")
        );
        assert_eq!(get("/api/v1/pods", "watch=true").verb, "watch");
        assert!(
            RequestInfo::parse(&Method::GET, "/apis/apps/v1", "")
                .unwrap()
                .is_none()
        );
    }
}
