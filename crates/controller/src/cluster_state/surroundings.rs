//! Namespaces and volumes as rows: what pods' rules refer to besides nodes and pods.
//!
//! The rows are the value that readers get: it is changed in place, and copied only where a reader
//! still holds it. What of it follows from several kinds is worked out when it is read.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use intake::{
    NamespaceView,
    storage::{
        Attachment, AttachmentView, CapacityView, ClaimView, ClassView, CsiNodeView, DriverView,
        VolumeView, attached,
    },
};
use kube::Resource;
use model::{NodeName, Storage, Surroundings, storage::StorageCapacity};

use super::{Kind, texts::Texts};

#[cfg(test)]
mod tests;

/// Namespace and name; cluster-wide kinds have no namespace. Of attachments, node and volume.
type Key = (Arc<str>, Arc<str>);

#[derive(Debug, Default)]
pub(super) struct Rows {
    value: Arc<Surroundings>,
    /// Their names, which are long, are made of just these parts.
    attachments: BTreeSet<Attachment>,
    capacities: BTreeMap<Key, StorageCapacity>,
    /// `value` does not have yet what changed in `attachments`, in `capacities`, or of the volumes
    /// that attachments name.
    behind: bool,
    /// What the lists that run have told of, by kind.
    listing: BTreeMap<Kind, BTreeSet<Key>>,
}

/// Whether a row changed, and what of the object cannot be read.
type Entered = (bool, Option<String>);

/// A kind that becomes rows here.
pub(super) trait Entry: Resource<DynamicType = ()> {
    const KIND: Kind;

    /// What tells it from others; `None` where it is no row.
    fn key(&self, texts: &mut Texts) -> Option<Key> {
        let meta = self.meta();
        Some((
            texts.share(meta.namespace.as_deref().unwrap_or_default()),
            texts.share(meta.name.as_deref().unwrap_or_default()),
        ))
    }

    fn enter(&self, key: Key, rows: &mut Rows, texts: &mut Texts) -> Entered;
}

impl Rows {
    pub(super) fn begin(&mut self, kind: Kind) {
        self.listing.insert(kind, BTreeSet::new());
    }

    pub(super) fn put<E: Entry>(&mut self, view: &E, texts: &mut Texts) -> bool {
        let Some(key) = view.key(texts) else {
            return false;
        };
        if let Some(seen) = self.listing.get_mut(&E::KIND) {
            seen.insert(key.clone());
        }
        let (changed, defect) = view.enter(key, self, texts);
        if changed && let Some(defect) = defect {
            let (kind, meta) = (E::KIND.plural(), view.meta());
            let (namespace, name) = (meta.namespace.as_deref(), meta.name.as_deref());
            tracing::warn!(kind, namespace, name, defect, "not all of it can be read");
        }
        changed
    }

    pub(super) fn remove<E: Entry>(&mut self, view: &E, texts: &mut Texts) -> bool {
        let key = view.key(texts);
        key.is_some_and(|key| self.forget(E::KIND, &key))
    }

    /// The list of this kind is complete: what it did not tell of is gone.
    pub(super) fn sweep(&mut self, kind: Kind) {
        let seen = self.listing.remove(&kind).unwrap_or_default();
        let mut gone = self.keys(kind);
        gone.retain(|key| !seen.contains(key));
        for key in gone {
            self.forget(kind, &key);
        }
        self.pack(kind);
    }

    /// Rows that came in any order leave the nodes of a tree half empty; these kinds have many.
    fn pack(&mut self, kind: Kind) {
        match kind {
            Kind::PersistentVolumeClaims => packed(&mut self.storage().claims),
            Kind::PersistentVolumes => packed(&mut self.storage().volumes),
            Kind::VolumeAttachments => {
                self.attachments = std::mem::take(&mut self.attachments).into_iter().collect();
            }
            _ => {}
        }
    }

    /// How many rows this kind has.
    pub(super) fn count(&self, kind: Kind) -> usize {
        let storage = &self.value.storage;
        match kind {
            Kind::Namespaces => self.value.namespaces.len(),
            Kind::PersistentVolumeClaims => storage.claims.len(),
            Kind::PersistentVolumes => storage.volumes.len(),
            Kind::StorageClasses => storage.classes.len(),
            Kind::CSINodes => storage.limits.len(),
            Kind::CSIDrivers => storage.publishing_drivers.len(),
            Kind::CSIStorageCapacities => self.capacities.len(),
            Kind::VolumeAttachments => self.attachments.len(),
            _ => 0,
        }
    }

    fn keys(&self, kind: Kind) -> Vec<Key> {
        fn named<'a>(names: impl Iterator<Item = &'a Arc<str>>) -> Vec<Key> {
            let nowhere: Arc<str> = Arc::from("");
            names
                .map(|name| (Arc::clone(&nowhere), Arc::clone(name)))
                .collect()
        }
        let storage = &self.value.storage;
        match kind {
            Kind::Namespaces => named(self.value.namespaces.keys()),
            Kind::PersistentVolumeClaims => storage.claims.keys().cloned().collect(),
            Kind::PersistentVolumes => named(storage.volumes.keys()),
            Kind::StorageClasses => named(storage.classes.keys()),
            Kind::CSINodes => {
                let nodes = storage.limits.keys();
                let names: Vec<Arc<str>> = nodes.map(|node| Arc::from(node.as_str())).collect();
                named(names.iter())
            }
            Kind::CSIDrivers => named(storage.publishing_drivers.iter()),
            Kind::CSIStorageCapacities => self.capacities.keys().cloned().collect(),
            Kind::VolumeAttachments => {
                let key = |a: &Attachment| (Arc::from(a.node.as_str()), Arc::clone(&a.volume));
                self.attachments.iter().map(key).collect()
            }
            _ => Vec::new(),
        }
    }

    fn forget(&mut self, kind: Kind, key: &Key) -> bool {
        let name = &key.1;
        match kind {
            Kind::Namespaces => self.edit().namespaces.remove(name).is_some(),
            Kind::PersistentVolumeClaims => self.storage().claims.remove(key).is_some(),
            Kind::PersistentVolumes => {
                self.behind = true;
                self.storage().volumes.remove(name).is_some()
            }
            Kind::StorageClasses => self.storage().classes.remove(name).is_some(),
            Kind::CSINodes => {
                let node = NodeName::new(name);
                let storage = self.storage();
                storage.migrated.remove(&node);
                storage.limits.remove(&node).is_some()
            }
            Kind::CSIDrivers => self.storage().publishing_drivers.remove(name),
            Kind::CSIStorageCapacities => {
                self.behind = true;
                self.capacities.remove(key).is_some()
            }
            Kind::VolumeAttachments => {
                let count = self.attachments.len();
                let node = &*key.0;
                self.attachments
                    .retain(|a| a.volume != *name || a.node.as_str() != node);
                self.behind = true;
                self.attachments.len() < count
            }
            _ => false,
        }
    }

    fn edit(&mut self) -> &mut Surroundings {
        Arc::make_mut(&mut self.value)
    }

    fn storage(&mut self) -> &mut Storage {
        &mut self.edit().storage
    }

    /// The value as it is now; the same one as long as nothing changed.
    pub(super) fn read(&mut self) -> Arc<Surroundings> {
        if std::mem::take(&mut self.behind) {
            let attached = attached(&self.attachments, &self.value.storage.volumes);
            if attached != self.value.storage.attached {
                self.storage().attached = attached;
            }
            if !self.capacities.values().eq(&self.value.storage.capacities) {
                self.storage().capacities = self.capacities.values().cloned().collect();
            }
        }
        Arc::clone(&self.value)
    }
}

fn packed<K: Ord, V>(rows: &mut BTreeMap<K, V>) {
    *rows = std::mem::take(rows).into_iter().collect();
}

impl Entry for NamespaceView {
    const KIND: Kind = Kind::Namespaces;

    fn enter(&self, (_, name): Key, rows: &mut Rows, texts: &mut Texts) -> Entered {
        let labels = self.labels();
        let changed = rows.value.namespaces.get(&name) != Some(&labels);
        if changed {
            rows.edit().namespaces.insert(name, texts.labels(&labels));
        }
        (changed, None)
    }
}

impl Entry for ClaimView {
    const KIND: Kind = Kind::PersistentVolumeClaims;

    fn enter(&self, key: Key, rows: &mut Rows, texts: &mut Texts) -> Entered {
        let (mut claim, defect) = self.claim();
        let changed = rows.value.storage.claims.get(&key) != Some(&claim);
        if changed {
            texts.claim(&mut claim);
            rows.storage().claims.insert(key, claim);
        }
        (changed, defect)
    }
}

impl Entry for VolumeView {
    const KIND: Kind = Kind::PersistentVolumes;

    fn enter(&self, (_, name): Key, rows: &mut Rows, texts: &mut Texts) -> Entered {
        let (mut volume, defect) = self.volume();
        let changed = rows.value.storage.volumes.get(&name) != Some(&volume);
        if changed {
            texts.volume(&mut volume);
            rows.behind = true;
            rows.storage().volumes.insert(name, volume);
        }
        (changed, defect)
    }
}

impl Entry for ClassView {
    const KIND: Kind = Kind::StorageClasses;

    fn enter(&self, (_, name): Key, rows: &mut Rows, _: &mut Texts) -> Entered {
        let class = self.class();
        let changed = rows.value.storage.classes.get(&name) != Some(&class);
        if changed {
            rows.storage().classes.insert(name, class);
        }
        (changed, None)
    }
}

impl Entry for CsiNodeView {
    const KIND: Kind = Kind::CSINodes;

    fn enter(&self, (_, name): Key, rows: &mut Rows, texts: &mut Texts) -> Entered {
        let node = NodeName::new(&name);
        let (limits, migrated) = (self.limits(), self.migrated());
        let known = &rows.value.storage;
        let same = known.limits.get(&node) == Some(&limits)
            && known
                .migrated
                .get(&node)
                .into_iter()
                .flatten()
                .eq(&migrated);
        if same {
            return (false, None);
        }
        let storage = rows.storage();
        if migrated.is_empty() {
            storage.migrated.remove(&node);
        } else {
            let shared = migrated.iter().map(|plugin| texts.share(plugin)).collect();
            storage.migrated.insert(node.clone(), shared);
        }
        let limits = limits
            .into_iter()
            .map(|(driver, limit)| (texts.share(&driver), limit))
            .collect();
        storage.limits.insert(node, limits);
        (true, None)
    }
}

impl Entry for DriverView {
    const KIND: Kind = Kind::CSIDrivers;

    fn enter(&self, (_, name): Key, rows: &mut Rows, _: &mut Texts) -> Entered {
        let publishes = self.publishes_capacity();
        let drivers = &rows.value.storage.publishing_drivers;
        if drivers.contains(&name) == publishes {
            return (false, None);
        }
        let drivers = &mut rows.storage().publishing_drivers;
        if publishes {
            drivers.insert(name);
        } else {
            drivers.remove(&name);
        }
        (true, None)
    }
}

impl Entry for CapacityView {
    const KIND: Kind = Kind::CSIStorageCapacities;

    fn enter(&self, key: Key, rows: &mut Rows, texts: &mut Texts) -> Entered {
        let (mut capacity, defect) = self.capacity();
        let changed = rows.capacities.get(&key) != Some(&capacity);
        if changed {
            texts.capacity(&mut capacity);
            rows.behind = true;
            rows.capacities.insert(key, capacity);
        }
        (changed, defect)
    }
}

impl Entry for AttachmentView {
    const KIND: Kind = Kind::VolumeAttachments;

    fn key(&self, texts: &mut Texts) -> Option<Key> {
        let attachment = self.attachment()?;
        let node = texts.share(attachment.node.as_str());
        Some((node, texts.share(&attachment.volume)))
    }

    fn enter(&self, _: Key, rows: &mut Rows, texts: &mut Texts) -> Entered {
        let Some(mut attachment) = self.attachment() else {
            return (false, None);
        };
        texts.attachment(&mut attachment);
        let new = rows.attachments.insert(attachment);
        rows.behind |= new;
        (new, None)
    }
}
