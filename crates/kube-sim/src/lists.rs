//! How lists and maps of built-in kinds merge: by key, as sets, or as a whole.
//!
//! From the `patchMergeKey`/`patchStrategy` and `listType`/`listMapKey`/`mapType` markers of the
//! Kubernetes API types. Kinds of CRDs answer from their own schema.

use crate::{registry::KindInfo, schema::ListKind};

/// How strategic merge patch treats a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Strategy {
    /// The patch's list replaces the object's.
    Replace,
    /// Items are merged by this key.
    MergeBy(&'static str),
    /// Scalars are united.
    Unite,
}

fn last_two<'a>(path: &[&'a str]) -> (&'a str, &'a str) {
    let last = path.last().copied().unwrap_or_default();
    let parent = path.iter().rev().nth(1).copied().unwrap_or_default();
    (parent, last)
}

/// The strategic merge strategy of the list at a path of field names.
pub(crate) fn strategy(kind: &KindInfo, path: &[&str]) -> Strategy {
    use Strategy::{MergeBy, Replace, Unite};
    let (parent, last) = last_two(path);
    match (parent, last) {
        ("metadata", "finalizers") | ("spec", "podCIDRs") => Unite,
        ("metadata", "ownerReferences") => MergeBy("uid"),
        (_, "conditions") if kind.kind != "CustomResourceDefinition" => MergeBy("type"),
        (
            _,
            "containers"
            | "initContainers"
            | "ephemeralContainers"
            | "env"
            | "volumes"
            | "imagePullSecrets"
            | "schedulingGates"
            | "resourceClaims"
            | "secrets"
            | "webhooks",
        ) => MergeBy("name"),
        (_, "ports") if kind.kind == "Service" => MergeBy("port"),
        (_, "ports") if kind.kind == "Endpoints" || kind.kind == "EndpointSlice" => Replace,
        (_, "ports") => MergeBy("containerPort"),
        (_, "volumeMounts") => MergeBy("mountPath"),
        (_, "volumeDevices") => MergeBy("devicePath"),
        (_, "hostAliases" | "podIPs" | "hostIPs") => MergeBy("ip"),
        (_, "topologySpreadConstraints") => MergeBy("topologyKey"),
        ("status", "addresses") => MergeBy("type"),
        _ => Replace,
    }
}

/// How the list at a path merges in server-side apply.
pub(crate) fn list_kind(kind: &KindInfo, path: &[&str]) -> ListKind {
    let keys =
        |names: &[&str]| ListKind::Map(names.iter().map(|name| (*name).to_owned()).collect());
    if path.first() == Some(&"metadata") {
        return match last_two(path).1 {
            "ownerReferences" => keys(&["uid"]),
            "finalizers" => ListKind::Set,
            _ => ListKind::Atomic,
        };
    }
    if let Some(schema) = &kind.schema {
        return schema.list_kind(path);
    }
    if !kind.builtin {
        return ListKind::Atomic;
    }
    let (parent, last) = last_two(path);
    match (parent, last) {
        (_, "ports") if kind.kind == "Service" => keys(&["port", "protocol"]),
        (_, "ports") if kind.kind == "Endpoints" || kind.kind == "EndpointSlice" => {
            ListKind::Atomic
        }
        (_, "ports") => keys(&["containerPort", "protocol"]),
        (_, "topologySpreadConstraints") => keys(&["topologyKey", "whenUnsatisfiable"]),
        (_, "accessModes" | "drop" | "add" | "supplementalGroups") => ListKind::Atomic,
        ("status", "hostIPs") => ListKind::Atomic,
        _ => match strategy(kind, path) {
            Strategy::MergeBy(key) => keys(&[key]),
            Strategy::Unite => ListKind::Set,
            Strategy::Replace => ListKind::Atomic,
        },
    }
}

/// True when the map at a path is owned and replaced as a whole in server-side apply.
pub(crate) fn atomic_map(kind: &KindInfo, path: &[&str]) -> bool {
    if path == ["metadata", "ownerReferences"] {
        return true;
    }
    if let Some(schema) = &kind.schema {
        return path.first() != Some(&"metadata") && schema.map_is_atomic(path);
    }
    if !kind.builtin {
        return false;
    }
    matches!(
        path.last().copied().unwrap_or_default(),
        "nodeSelector"
            | "selector"
            | "labelSelector"
            | "namespaceSelector"
            | "secretKeyRef"
            | "configMapKeyRef"
            | "fieldRef"
            | "resourceFieldRef"
            | "involvedObject"
            | "regarding"
            | "claimRef"
            | "targetRef"
            | "roleRef"
            | "nodeSelectorTerms"
            | "requiredDuringSchedulingIgnoredDuringExecution"
    ) && path.first() != Some(&"metadata")
}

/// True when a strategic merge patch of this map keeps only the fields named in `$retainKeys`.
pub(crate) fn retains_keys(path: &[&str]) -> bool {
    matches!(last_two(path), (_, "volumes" | "strategy"))
}
