//! In which form objects are answered: whole, metadata only, or as a table for people.

use bytes::Bytes;
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::{
    error::{ApiError, ApiResult},
    event_view,
    object::{map_mut, set_at},
    registry::KindInfo,
    store::Stored,
    table::{Include, table},
    watch::line_of,
};

/// The form a client asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    Object,
    Metadata,
    Table(Include),
}

/// Metadata of a list.
#[derive(Clone, Debug, Default)]
pub(crate) struct ListMeta {
    pub(crate) rv: u64,
    pub(crate) continue_token: Option<String>,
    pub(crate) remaining: Option<usize>,
}

impl ListMeta {
    fn to_value(&self) -> Value {
        let mut meta = json!({"resourceVersion": self.rv.to_string()});
        if let Some(token) = &self.continue_token {
            meta["continue"] = json!(token);
        }
        if let Some(remaining) = self.remaining {
            meta["remainingItemCount"] = json!(remaining);
        }
        meta
    }
}

impl Form {
    /// The first form of an `Accept` header that this server speaks.
    pub(crate) fn parse(accept: &str, include_object: &str) -> ApiResult<Self> {
        if accept.trim().is_empty() {
            return Ok(Self::Object);
        }
        for clause in accept.split(',') {
            let mut parts = clause.split(';').map(str::trim);
            let media = parts.next().unwrap_or_default();
            let mut form = None;
            let mut version = None;
            for part in parts {
                match part.split_once('=') {
                    Some(("as", value)) => form = Some(value),
                    Some(("v", value)) => version = Some(value),
                    _ => {}
                }
            }
            if !matches!(media, "application/json" | "*/*" | "application/*") {
                continue;
            }
            match (form, version) {
                (None, _) => return Ok(Self::Object),
                (Some("Table"), Some("v1")) => {
                    return Ok(Self::Table(match include_object {
                        "None" => Include::None,
                        "Object" => Include::Object,
                        _ => Include::Metadata,
                    }));
                }
                (Some("PartialObjectMetadata" | "PartialObjectMetadataList"), Some("v1")) => {
                    return Ok(Self::Metadata);
                }
                _ => {}
            }
        }
        let mut error = ApiError::new(
            406,
            "NotAcceptable",
            "only the following media types are accepted: application/json, application/yaml, application/vnd.kubernetes.protobuf",
        );
        if !accept.contains("as=") {
            error.details = json!({});
        }
        Err(error)
    }

    /// One object, given in the form of `kind`.
    pub(crate) fn single(self, kind: &KindInfo, object: Value, now: Timestamp) -> Value {
        self.one(kind, object, now, true)
    }

    fn one(self, kind: &KindInfo, object: Value, now: Timestamp, columns: bool) -> Value {
        match self {
            Self::Object => object,
            Self::Metadata => partial(&object),
            Self::Table(include) => {
                let mut table = table(kind, &[&object], now, include, columns);
                let version = object["metadata"]["resourceVersion"].clone();
                table["metadata"] = json!({"resourceVersion": version});
                table
            }
        }
    }

    /// A list of objects as a JSON body.
    pub(crate) fn list<'a>(
        self,
        kind: &KindInfo,
        items: impl Iterator<Item = &'a Stored>,
        meta: &ListMeta,
        now: Timestamp,
    ) -> Bytes {
        match self {
            Self::Object => {
                let mut body = format!(
                    "{{\"apiVersion\":{:?},\"kind\":{:?},\"metadata\":{},\"items\":[",
                    kind.api_version(),
                    kind.list_kind,
                    meta.to_value()
                )
                .into_bytes();
                for (index, item) in items.enumerate() {
                    if index > 0 {
                        body.push(b',');
                    }
                    if kind.builtin {
                        // Items of typed lists do not repeat what the list says.
                        let mut object = view(kind, item);
                        let map = map_mut(&mut object);
                        map.remove("apiVersion");
                        map.remove("kind");
                        body.extend_from_slice(object.to_string().as_bytes());
                    } else {
                        body.extend_from_slice(&view_bytes(kind, item));
                    }
                }
                body.extend_from_slice(b"]}");
                Bytes::from(body)
            }
            Self::Metadata => {
                let items: Vec<Value> = items.map(|item| partial(&view(kind, item))).collect();
                Bytes::from(
                    json!({
                        "apiVersion": "meta.k8s.io/v1",
                        "kind": "PartialObjectMetadataList",
                        "metadata": meta.to_value(),
                        "items": items,
                    })
                    .to_string(),
                )
            }
            Self::Table(include) => {
                let objects: Vec<Value> = items.map(|item| view(kind, item)).collect();
                let objects: Vec<&Value> = objects.iter().collect();
                let mut table = table(kind, &objects, now, include, true);
                table["metadata"] = meta.to_value();
                Bytes::from(table.to_string())
            }
        }
    }

    /// One line of a watch; `rv` replaces the object's own resourceVersion, and a table names
    /// its columns only when `columns` is set.
    pub(crate) fn watch_line(
        self,
        kind: &KindInfo,
        change: &str,
        stored: &Stored,
        rv: Option<u64>,
        now: Timestamp,
        columns: bool,
    ) -> Bytes {
        if self == Self::Object && rv.is_none() {
            let object = view_bytes(kind, stored);
            let mut line = Vec::with_capacity(object.len() + 40);
            line.extend_from_slice(b"{\"type\":\"");
            line.extend_from_slice(change.as_bytes());
            line.extend_from_slice(b"\",\"object\":");
            line.extend_from_slice(&object);
            line.extend_from_slice(b"}\n");
            return Bytes::from(line);
        }
        let mut object = view(kind, stored);
        if let Some(rv) = rv {
            set_at(
                &mut object,
                &["metadata", "resourceVersion"],
                json!(rv.to_string()),
            );
        }
        line_of(change, &self.one(kind, object, now, columns))
    }

    /// The object of a bookmark.
    pub(crate) fn bookmark(self, kind: &KindInfo, metadata: &Value) -> Value {
        match self {
            Self::Object => {
                json!({"kind": kind.kind, "apiVersion": kind.api_version(), "metadata": metadata})
            }
            Self::Metadata => {
                json!({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": metadata})
            }
            Self::Table(_) => json!({
                "kind": "Table", "apiVersion": "meta.k8s.io/v1", "columnDefinitions": [],
                "metadata": {"resourceVersion": metadata["resourceVersion"]},
                "rows": [{"cells": [], "object": {
                    "kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": metadata}}],
            }),
        }
    }
}

fn partial(object: &Value) -> Value {
    json!({
        "kind": "PartialObjectMetadata",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": object["metadata"],
    })
}

/// A stored object as `kind` shows it.
pub(crate) fn view(kind: &KindInfo, stored: &Stored) -> Value {
    as_kind(kind, stored.value())
}

/// An object in stored form as `kind` shows it.
pub(crate) fn as_kind(kind: &KindInfo, mut object: Value) -> Value {
    if object["kind"] == json!("Status") && kind.kind != "Status" {
        return object;
    }
    if event_view::is_view(kind) {
        return event_view::from_core(object);
    }
    if object["apiVersion"] != json!(kind.api_version()) {
        object["apiVersion"] = json!(kind.api_version());
    }
    object
}

fn view_bytes(kind: &KindInfo, stored: &Stored) -> Bytes {
    if stored.api_version == kind.api_version() {
        stored.bytes.clone()
    } else {
        Bytes::from(view(kind, stored).to_string())
    }
}
