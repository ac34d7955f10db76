//! Kinds that are stored whole: ours, of which there are few.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    fmt::Debug,
    sync::Arc,
};

use kube::{Resource, core::DeserializeGuard};

/// The identities that were deleted last. The answer of an own write may be entered after the
/// watch told of the object's deletion; it must not bring the object back.
#[derive(Debug, Default)]
pub(super) struct Gone {
    uids: BTreeSet<String>,
    order: VecDeque<String>,
}

impl Gone {
    const KEPT: usize = 1024;

    pub(super) fn insert(&mut self, uid: &str) {
        if !self.uids.insert(uid.to_owned()) {
            return;
        }
        self.order.push_back(uid.to_owned());
        if self.order.len() > Self::KEPT
            && let Some(oldest) = self.order.pop_front()
        {
            self.uids.remove(&oldest);
        }
    }

    pub(super) fn contains(&self, uid: &str) -> bool {
        self.uids.contains(uid)
    }
}

/// A kind that is stored whole: ours, of which there are few.
#[derive(Debug)]
pub(super) struct Objects<K> {
    rows: BTreeMap<(String, String), Stored<K>>,
    gone: Gone,
    generation: u64,
    listed: bool,
}

#[derive(Debug)]
struct Stored<K> {
    stamp: u64,
    version: u64,
    uid: String,
    object: Result<Arc<K>, String>,
}

impl<K> Default for Objects<K> {
    fn default() -> Self {
        Self {
            rows: BTreeMap::new(),
            gone: Gone::default(),
            generation: 0,
            listed: false,
        }
    }
}

impl<K: Resource<DynamicType = ()> + Debug> Objects<K> {
    /// How many are held, malformed ones included.
    pub(super) fn len(&self) -> usize {
        self.rows.len()
    }

    /// They were listed once.
    pub(super) const fn listed(&self) -> bool {
        self.listed
    }

    /// A list begins.
    pub(super) const fn begin(&mut self) {
        self.generation += 1;
    }

    pub(super) fn values(&self) -> Vec<Arc<K>> {
        self.rows
            .values()
            .filter_map(|stored| stored.object.as_ref().ok().cloned())
            .collect()
    }

    pub(super) fn get(&self, namespace: &str, name: &str) -> Option<Arc<K>> {
        self.rows
            .get(&(namespace.to_owned(), name.to_owned()))
            .and_then(|stored| stored.object.as_ref().ok().cloned())
    }

    pub(super) fn malformed(&self, kind: &str) -> BTreeMap<String, String> {
        self.rows
            .iter()
            .filter_map(|((namespace, name), stored)| {
                let error = stored.object.as_ref().err()?;
                Some((format!("{kind} {namespace}/{name}"), error.clone()))
            })
            .collect()
    }

    pub(super) fn put(&mut self, guarded: DeserializeGuard<K>) -> bool {
        match guarded.0 {
            Ok(object) => self.store(object).1,
            Err(invalid) => {
                let meta = invalid.metadata;
                let key = (
                    meta.namespace.unwrap_or_default(),
                    meta.name.unwrap_or_default(),
                );
                tracing::warn!(namespace = key.0, name = key.1, error = %invalid.error, "a stored object cannot be decoded and is left alone");
                self.rows.insert(
                    key,
                    Stored {
                        stamp: self.generation,
                        version: 0,
                        uid: meta.uid.unwrap_or_default(),
                        object: Err(invalid.error.clone()),
                    },
                );
                true
            }
        }
    }

    /// Enters the answer of an own write and returns what is stored now.
    pub(super) fn note(&mut self, object: K) -> Arc<K> {
        self.store(object).0
    }

    fn store(&mut self, object: K) -> (Arc<K>, bool) {
        let meta = object.meta();
        let key = (
            meta.namespace.clone().unwrap_or_default(),
            meta.name.clone().unwrap_or_default(),
        );
        let uid = meta.uid.clone().unwrap_or_default();
        let version = number(meta.resource_version.as_deref());
        if let Some(stored) = self.rows.get_mut(&key)
            && stored.uid == uid
            && stored.version >= version
            && let Ok(newer) = &stored.object
        {
            stored.stamp = self.generation;
            return (Arc::clone(newer), false);
        }
        // An object that is being deleted and has no finalizer left is gone by the time its
        // version is read.
        let ended = meta.deletion_timestamp.is_some()
            && meta.finalizers.as_ref().is_none_or(Vec::is_empty)
            && meta.deletion_grace_period_seconds.unwrap_or(0) == 0;
        if ended || self.gone.contains(&uid) {
            let held = self.rows.get(&key).is_some_and(|row| row.uid == uid);
            if held {
                self.rows.remove(&key);
            }
            self.gone.insert(&uid);
            return (Arc::new(object), held);
        }
        let object = Arc::new(object);
        self.rows.insert(
            key,
            Stored {
                stamp: self.generation,
                version,
                uid,
                object: Ok(Arc::clone(&object)),
            },
        );
        (object, true)
    }

    pub(super) fn remove(&mut self, guarded: &DeserializeGuard<K>) -> bool {
        let meta = match &guarded.0 {
            Ok(object) => object.meta(),
            Err(invalid) => &invalid.metadata,
        };
        let key = (
            meta.namespace.clone().unwrap_or_default(),
            meta.name.clone().unwrap_or_default(),
        );
        // Late news of an object that was made anew under the same name removes nothing.
        let same = self
            .rows
            .get(&key)
            .is_some_and(|stored| Some(&stored.uid) == meta.uid.as_ref());
        if same {
            self.rows.remove(&key);
        }
        if let Some(uid) = &meta.uid {
            self.gone.insert(uid);
        }
        same
    }

    pub(super) fn sweep(&mut self) {
        let generation = self.generation;
        self.rows.retain(|_, stored| stored.stamp == generation);
        self.listed = true;
    }
}

/// Versions are compared as numbers (a convention every server in use follows; an unreadable one
/// counts as newest, so that nothing is lost).
pub(super) fn number(version: Option<&str>) -> u64 {
    version.and_then(|v| v.parse().ok()).unwrap_or(u64::MAX)
}
