//! The kinds the server knows, built-in and defined by CRDs, and how a URL names them.
//!
//! One [`KindInfo`] describes one served version of one resource. Everything else in the crate
//! (routing, defaulting, discovery, tables, OpenAPI) reads this table; nothing else lists kinds.

mod builtin;

use std::{collections::BTreeMap, sync::Arc};

use serde_json::Value;

use crate::schema::Schema;

/// Where a `scale` subresource finds its numbers in the parent object, as paths of field names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScalePaths {
    /// Path of the wanted count, e.g. `["spec", "replicas"]`.
    pub spec_replicas: Vec<String>,
    /// Path of the observed count.
    pub status_replicas: Vec<String>,
    /// Path of the selector (an object of built-ins, a string of CRDs), when there is one.
    pub selector: Option<Vec<String>>,
}

/// One served version of one resource.
#[derive(Clone, Debug)]
pub struct KindInfo {
    /// API group; empty for core.
    pub group: String,
    /// Version, e.g. `v1`.
    pub version: String,
    /// Kind, e.g. `Pod`.
    pub kind: String,
    /// Kind of its list, e.g. `PodList`.
    pub list_kind: String,
    /// Resource name in URLs, e.g. `pods`.
    pub plural: String,
    /// Singular name, e.g. `pod`.
    pub singular: String,
    /// Short names, e.g. `po`.
    pub short_names: Vec<String>,
    /// Categories, e.g. `all`.
    pub categories: Vec<String>,
    /// True when objects live in a namespace.
    pub namespaced: bool,
    /// True when `/status` is served and isolated.
    pub status: bool,
    /// Present when `/scale` is served.
    pub scale: Option<ScalePaths>,
    /// Further subresources, e.g. `eviction`, `binding`.
    pub subresources: Vec<String>,
    /// Verbs served on the main resource.
    pub verbs: Vec<String>,
    /// `group/plural` under which objects are stored; two kinds may share one storage.
    pub storage: String,
    /// True for kinds of Kubernetes itself, false for those of a CRD.
    pub builtin: bool,
    /// Field selectors beyond `metadata.name` and `metadata.namespace`, as dotted paths.
    pub selectable_fields: Vec<String>,
    /// The compiled schema of a CRD version.
    pub schema: Option<Arc<Schema>>,
    /// The `openAPIV3Schema` document of a CRD version.
    pub schema_document: Option<Value>,
    /// `additionalPrinterColumns` of a CRD version.
    pub printer_columns: Vec<Value>,
}

impl KindInfo {
    /// `group/version`, or `version` for core.
    pub fn api_version(&self) -> String {
        if self.group.is_empty() {
            self.version.clone()
        } else {
            format!("{}/{}", self.group, self.version)
        }
    }

    /// `plural.group`, or `plural` for core: how error messages name the resource.
    pub fn qualified_resource(&self) -> String {
        qualify(&self.plural, &self.group)
    }

    /// `Kind.group`, or `Kind` for core: how validation messages name the kind.
    pub fn qualified_kind(&self) -> String {
        qualify(&self.kind, &self.group)
    }

    /// True when creates are answered but nothing is stored (reviews).
    pub fn is_review(&self) -> bool {
        self.group == "authorization.k8s.io"
    }
}

fn qualify(name: &str, group: &str) -> String {
    if group.is_empty() {
        name.to_owned()
    } else {
        format!("{name}.{group}")
    }
}

/// All kinds, sorted by group, version and plural name.
#[derive(Clone, Debug, Default)]
pub struct Registry {
    kinds: BTreeMap<(String, String, String), Arc<KindInfo>>,
}

impl Registry {
    /// The kinds of Kubernetes itself.
    pub fn builtin() -> Self {
        let mut registry = Self::default();
        for kind in builtin::kinds() {
            registry.insert(kind);
        }
        registry
    }

    /// Adds or replaces one kind.
    pub fn insert(&mut self, kind: KindInfo) {
        let key = (
            kind.group.clone(),
            kind.version.clone(),
            kind.plural.clone(),
        );
        self.kinds.insert(key, Arc::new(kind));
    }

    /// Removes every version of a resource that a CRD defined.
    pub fn remove_custom(&mut self, group: &str, plural: &str) {
        self.kinds
            .retain(|_, kind| kind.builtin || kind.group != group || kind.plural != plural);
    }

    /// The kind served under this group, version and plural name.
    pub fn get(&self, group: &str, version: &str, plural: &str) -> Option<&Arc<KindInfo>> {
        // A three-part owned key is built per lookup; requests are far rarer than events.
        self.kinds
            .get(&(group.to_owned(), version.to_owned(), plural.to_owned()))
    }

    /// The kind with this `apiVersion` and `kind`.
    pub fn by_kind(&self, api_version: &str, kind: &str) -> Option<&Arc<KindInfo>> {
        let (group, version) = split_api_version(api_version);
        self.kinds
            .values()
            .find(|info| info.group == group && info.version == version && info.kind == kind)
    }

    /// The first kind stored under `storage` (`group/plural`).
    pub fn by_storage(&self, storage: &str) -> Option<&Arc<KindInfo>> {
        self.kinds.values().find(|info| info.storage == storage)
    }

    /// All kinds in order of group, version, plural.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<KindInfo>> {
        self.kinds.values()
    }

    /// All groups (core is the empty string) with their versions, sorted.
    pub fn groups(&self) -> BTreeMap<&str, Vec<&str>> {
        let mut groups: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for kind in self.kinds.values() {
            let versions = groups.entry(&kind.group).or_default();
            if !versions.contains(&kind.version.as_str()) {
                versions.push(&kind.version);
            }
        }
        groups
    }
}

/// Splits `group/version`; core has an empty group.
pub fn split_api_version(api_version: &str) -> (&str, &str) {
    api_version.split_once('/').unwrap_or(("", api_version))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_builtin_kind_is_found_by_url_and_by_kind() {
        let registry = Registry::builtin();
        for kind in registry.iter() {
            assert!(
                registry
                    .get(&kind.group, &kind.version, &kind.plural)
                    .is_some()
            );
            assert!(
                registry
                    .by_kind(&kind.api_version(), &kind.kind)
                    .is_some_and(|found| found.plural == kind.plural)
            );
        }
    }
}
