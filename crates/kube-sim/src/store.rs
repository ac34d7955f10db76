//! Objects, the global resourceVersion, and a bounded history per resource.
//!
//! Objects are kept as their JSON bytes with a small index of what selectors and the garbage
//! collector ask for: a list or a watch then copies bytes and parses nothing. The history gives
//! watches their events and lists the state of an older resourceVersion.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::{Arc, OnceLock},
};

use bytes::Bytes;
use serde_json::Value;

use crate::{
    object::{finalizers, is_deleting, key_of, meta_mut, meta_str},
    registry::{KindInfo, Registry},
    selector::{FieldSelector, LabelSelector, field_value},
};

/// One version of one object.
#[derive(Debug)]
pub(crate) struct Stored {
    pub(crate) key: String,
    pub(crate) name: String,
    pub(crate) namespace: String,
    pub(crate) uid: String,
    pub(crate) api_version: String,
    pub(crate) rv: u64,
    pub(crate) bytes: Bytes,
    pub(crate) labels: BTreeMap<String, String>,
    /// Values of the storage kind's `selectable_fields`, in their order.
    pub(crate) fields: Vec<String>,
    /// UIDs of its owners.
    pub(crate) owners: Vec<String>,
    pub(crate) deleting: bool,
    pub(crate) finalizers: Vec<String>,
}

impl Stored {
    fn new(kind: &KindInfo, value: &Value, rv: u64) -> Self {
        let (name, namespace) = (meta_str(value, "name"), meta_str(value, "namespace"));
        let labels = crate::object::at(value, &["metadata", "labels"])
            .and_then(Value::as_object)
            .into_iter()
            .flatten()
            .filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned())))
            .collect();
        Self {
            key: key_of(namespace, name),
            name: name.to_owned(),
            namespace: namespace.to_owned(),
            uid: meta_str(value, "uid").to_owned(),
            api_version: value["apiVersion"].as_str().unwrap_or_default().to_owned(),
            rv,
            bytes: Bytes::from(value.to_string()),
            labels,
            fields: kind
                .selectable_fields
                .iter()
                .map(|path| field_value(value, path))
                .collect(),
            owners: owner_uids(value),
            deleting: is_deleting(value),
            finalizers: finalizers(value),
        }
    }

    /// The object as a value.
    pub(crate) fn value(&self) -> Value {
        serde_json::from_slice(&self.bytes).unwrap_or_default()
    }
}

fn owner_uids(value: &Value) -> Vec<String> {
    crate::object::at(value, &["metadata", "ownerReferences"])
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(|owner| owner["uid"].as_str())
        .map(str::to_owned)
        .collect()
}

/// What happened to an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    Added,
    Modified,
    Deleted,
}

/// One entry of a resource's history.
#[derive(Debug)]
pub(crate) struct Event {
    pub(crate) rv: u64,
    pub(crate) change: Change,
    /// The object after the change; of a deletion, its last state with the deletion's version.
    pub(crate) object: Arc<Stored>,
    pub(crate) previous: Option<Arc<Stored>>,
    /// The plain JSON watch line, built once and shared by all watchers that see it unchanged.
    pub(crate) line: OnceLock<Bytes>,
}

/// All objects of one storage, with their history.
#[derive(Debug)]
pub(crate) struct Resource {
    pub(crate) objects: BTreeMap<String, Arc<Stored>>,
    pub(crate) history: VecDeque<Arc<Event>>,
    /// Events up to and including this version were dropped from the history.
    pub(crate) compacted: u64,
    pub(crate) changed: runtime::watch::Sender<u64>,
}

impl Default for Resource {
    fn default() -> Self {
        Self {
            objects: BTreeMap::new(),
            history: VecDeque::new(),
            compacted: 0,
            changed: runtime::watch::Sender::new(0),
        }
    }
}

/// What a list or a watch selects.
#[derive(Clone, Debug, Default)]
pub(crate) struct Selection {
    /// Empty: all namespaces.
    pub(crate) namespace: String,
    pub(crate) labels: LabelSelector,
    pub(crate) fields: FieldSelector,
}

impl Selection {
    pub(crate) fn matches(&self, stored: &Stored) -> bool {
        (self.namespace.is_empty() || self.namespace == stored.namespace)
            && self.labels.matches(&stored.labels)
            && self
                .fields
                .matches(&stored.name, &stored.namespace, &stored.fields)
    }

    /// True when labels or fields restrict the result.
    pub(crate) fn is_selective(&self) -> bool {
        !self.labels.is_empty() || !self.fields.is_empty()
    }
}

/// One page of objects.
pub(crate) struct Page {
    pub(crate) items: Vec<Arc<Stored>>,
    /// Key of the last item when more follow.
    pub(crate) last: Option<String>,
}

/// Everything the server holds.
#[derive(Debug)]
pub(crate) struct Store {
    pub(crate) registry: Registry,
    pub(crate) rv: u64,
    pub(crate) resources: BTreeMap<String, Resource>,
    /// uid → storage and key of the living object.
    pub(crate) by_uid: BTreeMap<String, (String, String)>,
    /// uid of an owner → storage and key of its dependents.
    pub(crate) dependents: BTreeMap<String, BTreeSet<(String, String)>>,
    /// What the collector has to look at.
    pub(crate) work: Vec<crate::write::Work>,
    /// Everything that happened, where somebody wants it.
    pub(crate) tape: crate::journal::Tape,
    /// Events kept per resource.
    pub(crate) history_limit: usize,
}

impl Store {
    pub(crate) fn new() -> Self {
        Self {
            registry: Registry::builtin(),
            rv: 1,
            resources: BTreeMap::new(),
            by_uid: BTreeMap::new(),
            dependents: BTreeMap::new(),
            work: Vec::new(),
            tape: crate::journal::Tape::default(),
            history_limit: 10_000,
        }
    }

    pub(crate) fn get(&self, kind: &KindInfo, namespace: &str, name: &str) -> Option<Arc<Stored>> {
        let key = key_of(namespace, name);
        self.resources
            .get(&kind.storage)?
            .objects
            .get(&key)
            .cloned()
    }

    /// The kind whose fields and form are stored under `storage`.
    pub(crate) fn storage_kind(&self, kind: &Arc<KindInfo>) -> Arc<KindInfo> {
        self.registry
            .by_storage(&kind.storage)
            .map_or_else(|| Arc::clone(kind), Arc::clone)
    }

    /// Stores a new or changed object under the next resourceVersion.
    pub(crate) fn put(&mut self, kind: &Arc<KindInfo>, mut value: Value) -> Arc<Stored> {
        let stored = self.stamp(kind, &mut value);
        self.by_uid.insert(
            stored.uid.clone(),
            (kind.storage.clone(), stored.key.clone()),
        );
        let resource = self.resources.entry(kind.storage.clone()).or_default();
        let previous = resource
            .objects
            .insert(stored.key.clone(), Arc::clone(&stored));
        if let Some(previous) = &previous {
            self.unlink(&kind.storage, previous);
        }
        for owner in &stored.owners {
            self.dependents
                .entry(owner.clone())
                .or_default()
                .insert((kind.storage.clone(), stored.key.clone()));
        }
        let change = if previous.is_some() {
            Change::Modified
        } else {
            Change::Added
        };
        self.record(&kind.storage, change, &stored, previous);
        stored
    }

    /// Removes an object; `value` is the last state that its watchers see.
    pub(crate) fn remove(&mut self, kind: &Arc<KindInfo>, mut value: Value) -> Arc<Stored> {
        let stored = self.stamp(kind, &mut value);
        let resource = self.resources.entry(kind.storage.clone()).or_default();
        let previous = resource.objects.remove(&stored.key);
        if let Some(previous) = &previous {
            self.unlink(&kind.storage, previous);
        }
        self.by_uid.remove(&stored.uid);
        self.record(&kind.storage, Change::Deleted, &stored, previous);
        stored
    }

    fn stamp(&mut self, kind: &Arc<KindInfo>, value: &mut Value) -> Arc<Stored> {
        self.rv += 1;
        meta_mut(value).insert("resourceVersion".to_owned(), self.rv.to_string().into());
        let stored_as = self.storage_kind(kind);
        Arc::new(Stored::new(&stored_as, value, self.rv))
    }

    fn unlink(&mut self, storage: &str, stored: &Stored) {
        for owner in &stored.owners {
            if let Some(set) = self.dependents.get_mut(owner) {
                set.remove(&(storage.to_owned(), stored.key.clone()));
                if set.is_empty() {
                    self.dependents.remove(owner);
                }
            }
        }
    }

    fn record(
        &mut self,
        storage: &str,
        change: Change,
        object: &Arc<Stored>,
        previous: Option<Arc<Stored>>,
    ) {
        self.tape
            .changed(storage, change, object, previous.as_deref());
        let (limit, rv) = (self.history_limit, self.rv);
        let resource = self.resources.entry(storage.to_owned()).or_default();
        resource.history.push_back(Arc::new(Event {
            rv,
            change,
            object: Arc::clone(object),
            previous,
            line: OnceLock::new(),
        }));
        while resource.history.len() > limit {
            if let Some(dropped) = resource.history.pop_front() {
                resource.compacted = dropped.rv;
            }
        }
        resource.changed.send_replace(rv);
    }

    /// Forgets all history: every older watch and continue token is expired.
    pub(crate) fn compact(&mut self) {
        for resource in self.resources.values_mut() {
            resource.history.clear();
            resource.compacted = self.rv;
        }
    }

    /// The events of a resource after `rv`; `None` when some of them were dropped.
    pub(crate) fn events_after(&self, storage: &str, rv: u64) -> Option<Vec<Arc<Event>>> {
        let Some(resource) = self.resources.get(storage) else {
            return Some(Vec::new());
        };
        if rv < resource.compacted {
            return None;
        }
        let start = resource.history.partition_point(|event| event.rv <= rv);
        Some(resource.history.range(start..).cloned().collect())
    }

    /// Objects of a storage as they were at `rv`, after `start`, at most `limit` of them.
    /// `None` when the history does not reach back to `rv`.
    pub(crate) fn page(
        &self,
        storage: &str,
        selection: &Selection,
        rv: u64,
        start: Option<&str>,
        limit: usize,
    ) -> Option<Page> {
        let mut page = Page {
            items: Vec::new(),
            last: None,
        };
        let Some(resource) = self.resources.get(storage) else {
            return Some(page);
        };
        // What each object touched since `rv` was at `rv`.
        let mut overlay: BTreeMap<&str, Option<&Arc<Stored>>> = BTreeMap::new();
        if rv < self.rv {
            if rv < resource.compacted {
                return None;
            }
            let from = resource.history.partition_point(|event| event.rv <= rv);
            for event in resource.history.range(from..) {
                overlay
                    .entry(event.object.key.as_str())
                    .or_insert(event.previous.as_ref());
            }
        }
        let prefix = if selection.namespace.is_empty() {
            String::new()
        } else {
            format!("{}/", selection.namespace)
        };
        let begin = match start {
            Some(start) if start >= prefix.as_str() => std::ops::Bound::Excluded(start),
            _ => std::ops::Bound::Included(prefix.as_str()),
        };
        let bounds = (begin, std::ops::Bound::Unbounded);
        let mut live = resource
            .objects
            .range::<str, _>(bounds)
            .map(|(key, stored)| (key.as_str(), stored))
            .filter(|(key, _)| !overlay.contains_key(key))
            .peekable();
        let mut old = overlay
            .range::<str, _>(bounds)
            .filter_map(|(key, stored)| Some((*key, (*stored)?)))
            .peekable();
        loop {
            let next = match (live.peek(), old.peek()) {
                (Some(a), Some(b)) if a.0 <= b.0 => live.next(),
                (_, Some(_)) => old.next(),
                (Some(_), None) => live.next(),
                (None, None) => None,
            };
            let Some((key, stored)) = next else { break };
            if !key.starts_with(&prefix) {
                break;
            }
            if !selection.matches(stored) {
                continue;
            }
            if page.items.len() == limit {
                page.last = page.items.last().map(|last| last.key.clone());
                break;
            }
            page.items.push(Arc::clone(stored));
        }
        Some(page)
    }
}
