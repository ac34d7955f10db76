//! The rows, and how views become rows.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    fmt::Debug,
    sync::Arc,
};

use api::{NodeGroup, VPSieNode};
use jiff::Timestamp;
use kube::{Resource, core::DeserializeGuard};
use model::{
    ClusterSnapshot, Labels, Node, NodeName, NodeShape, Pod, PodKey, PodState, SchedulingClass,
    Taint, Uid,
};

use super::{Kind, views};

/// Counters that grow when something a decision could rest on changes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Versions {
    /// Pods.
    pub pods: u64,
    /// The set of pods the scheduler could not place.
    pub unschedulable: u64,
    /// Nodes; heartbeats do not count.
    pub nodes: u64,
    /// DaemonSets.
    pub daemon_sets: u64,
    /// NodeGroups.
    pub node_groups: u64,
    /// VPSieNodes.
    pub vpsie_nodes: u64,
}

/// How much the index holds, and what it went through.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Stats {
    /// Rows, by kind.
    pub rows: BTreeMap<Kind, usize>,
    /// How often a kind's watch had to be built anew, by kind.
    pub rebuilds: BTreeMap<Kind, u64>,
    /// Scheduling classes.
    pub classes: usize,
    /// Stored objects that cannot be decoded.
    pub malformed: usize,
}

/// What is remembered of a Node.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NodeRow {
    /// What decisions need.
    pub node: Node,
    /// Its version, for compare-and-swap writes.
    pub resource_version: String,
    /// Annotations.
    pub annotations: Labels,
    /// Every taint as the API has it, so that a write keeps those of others whole.
    pub taints: Vec<views::TaintView>,
    /// The `kubernetes.io/hostname` label.
    pub hostname: Option<Arc<str>>,
    /// Internal and external addresses.
    pub addresses: Vec<Arc<str>>,
    /// `spec.providerID`.
    pub provider_id: Option<Arc<str>>,
    /// Carries a control-plane label or taint.
    pub control_plane: bool,
    /// Since when Ready is what it is.
    pub ready_since: Option<Timestamp>,
    /// Its deletion was asked for.
    pub deleting: bool,
}

impl NodeRow {
    /// Its identity.
    #[must_use]
    pub fn uid(&self) -> Uid {
        self.node.uid.clone().unwrap_or_else(|| Uid::new(""))
    }

    /// The labels.
    #[must_use]
    pub fn labels(&self) -> &Labels {
        &self.node.shape.labels
    }

    /// One label.
    #[must_use]
    pub fn label(&self, key: &str) -> Option<&str> {
        self.labels().get(key).map(AsRef::as_ref)
    }

    /// One annotation.
    #[must_use]
    pub fn annotation(&self, key: &str) -> Option<&str> {
        self.annotations.get(key).map(AsRef::as_ref)
    }

    /// The taints decisions look at.
    #[must_use]
    pub fn model_taints(&self) -> &[Taint] {
        &self.node.shape.taints
    }

    /// Everything but the version, which changes with every heartbeat.
    fn same_facts(&self, other: &Self) -> bool {
        let strip = |row: &Self| Self {
            resource_version: String::new(),
            ..row.clone()
        };
        strip(self) == strip(other)
    }

    pub(super) fn of(view: &views::NodeView) -> Self {
        let meta = &view.metadata;
        let labels = views::labels(meta.labels.as_ref());
        let taints = view.spec.taints.clone();
        let control_plane = api::labels::CONTROL_PLANE_ROLES.iter().any(|role| {
            labels.contains_key(*role) || taints.iter().any(|taint| taint.key == *role)
        });
        let ready = view.status.conditions.iter().find(|c| c.type_ == "Ready");
        let (allocatable, defect) = view.allocatable();
        Self {
            hostname: labels.get(api::labels::HOSTNAME).cloned(),
            node: Node {
                name: NodeName::new(meta.name.as_deref().unwrap_or_default()),
                uid: meta.uid.as_deref().map(Uid::new),
                shape: Arc::new(NodeShape {
                    labels,
                    taints: taints.iter().filter_map(views::TaintView::model).collect(),
                    unschedulable: view.spec.unschedulable,
                    allocatable,
                }),
                ready: ready.is_some_and(|condition| condition.status == "True"),
                created_at: meta.creation_timestamp.as_ref().map(|time| time.0),
                defect: defect.map(Arc::from),
            },
            resource_version: meta.resource_version.clone().unwrap_or_default(),
            annotations: views::labels(meta.annotations.as_ref()),
            taints,
            addresses: view
                .status
                .addresses
                .iter()
                .filter(|address| address.type_.ends_with("IP"))
                .map(|address| Arc::from(address.address.as_str()))
                .collect(),
            provider_id: view.spec.provider_id.as_deref().map(Arc::from),
            control_plane,
            ready_since: ready.and_then(|condition| condition.last_transition_time),
            deleting: meta.deletion_timestamp.is_some(),
        }
    }
}

/// The identities that were deleted last. The answer of an own write may be entered after the
/// watch told of the object's deletion; it must not bring the object back.
#[derive(Debug, Default)]
struct Gone {
    uids: BTreeSet<String>,
    order: VecDeque<String>,
}

impl Gone {
    const KEPT: usize = 1024;

    fn insert(&mut self, uid: &str) {
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

    fn contains(&self, uid: &str) -> bool {
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
                        object: Err(invalid.error.to_string()),
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

    fn sweep(&mut self) {
        let generation = self.generation;
        self.rows.retain(|_, stored| stored.stamp == generation);
        self.listed = true;
    }
}

/// Versions are compared as numbers (a convention every server in use follows; an unreadable one
/// counts as newest, so that nothing is lost).
fn number(version: Option<&str>) -> u64 {
    version.and_then(|v| v.parse().ok()).unwrap_or(u64::MAX)
}

#[derive(Debug)]
struct PodRow {
    stamp: u64,
    pod: Arc<Pod>,
}

#[derive(Debug)]
struct NodeEntry {
    stamp: u64,
    version: u64,
    row: Arc<NodeRow>,
}

#[derive(Debug)]
struct SetRow {
    stamp: u64,
    class: Arc<SchedulingClass>,
}

#[derive(Debug, Default)]
pub(super) struct Index {
    pods: BTreeMap<PodKey, PodRow>,
    pods_on: BTreeMap<NodeName, BTreeSet<PodKey>>,
    waiting: BTreeSet<PodKey>,
    nodes: BTreeMap<NodeName, NodeEntry>,
    sets: BTreeMap<PodKey, SetRow>,
    pub(super) node_groups: Objects<NodeGroup>,
    pub(super) vpsie_nodes: Objects<VPSieNode>,
    classes: BTreeSet<Arc<SchedulingClass>>,
    texts: BTreeSet<Arc<str>>,
    generations: BTreeMap<Kind, u64>,
    listed: BTreeSet<Kind>,
    rebuilds: BTreeMap<Kind, u64>,
    nodes_gone: Gone,
    unschedulable_changed: bool,
    /// Interned classes and texts are looked through for unused ones at this many.
    tidy_at: usize,
}

impl Index {
    pub(super) fn synced(&self) -> bool {
        self.node_groups.listed && self.vpsie_nodes.listed && self.listed.len() == 3
    }

    pub(super) fn rows(&self, kind: Kind) -> usize {
        match kind {
            Kind::Pods => self.pods.len(),
            Kind::Nodes => self.nodes.len(),
            Kind::DaemonSets => self.sets.len(),
            Kind::NodeGroups => self.node_groups.rows.len(),
            Kind::VPSieNodes => self.vpsie_nodes.rows.len(),
        }
    }

    pub(super) fn stats(&self) -> Stats {
        Stats {
            rows: Kind::ALL.map(|kind| (kind, self.rows(kind))).into(),
            rebuilds: self.rebuilds.clone(),
            classes: self.classes.len(),
            malformed: self.node_groups.malformed("").len() + self.vpsie_nodes.malformed("").len(),
        }
    }

    /// The watch of this kind is built anew.
    pub(super) fn rebuilt(&mut self, kind: Kind) {
        *self.rebuilds.entry(kind).or_default() += 1;
    }

    pub(super) fn begin(&mut self, kind: Kind) {
        match kind {
            Kind::NodeGroups => self.node_groups.generation += 1,
            Kind::VPSieNodes => self.vpsie_nodes.generation += 1,
            other => *self.generations.entry(other).or_default() += 1,
        }
    }

    fn generation(&self, kind: Kind) -> u64 {
        self.generations.get(&kind).copied().unwrap_or_default()
    }

    pub(super) fn sweep(&mut self, kind: Kind) {
        let generation = self.generation(kind);
        match kind {
            Kind::NodeGroups => self.node_groups.sweep(),
            Kind::VPSieNodes => self.vpsie_nodes.sweep(),
            Kind::Pods => {
                let gone: Vec<PodKey> = self
                    .pods
                    .iter()
                    .filter(|(_, row)| row.stamp != generation)
                    .map(|(key, _)| key.clone())
                    .collect();
                for key in gone {
                    self.drop_pod(&key);
                }
                self.tidy();
            }
            Kind::Nodes => self.nodes.retain(|_, entry| entry.stamp == generation),
            Kind::DaemonSets => self.sets.retain(|_, row| row.stamp == generation),
        }
        if !matches!(kind, Kind::NodeGroups | Kind::VPSieNodes) {
            self.listed.insert(kind);
        }
    }

    /// Forgets classes and texts that nothing uses any more.
    fn tidy(&mut self) {
        self.classes.retain(|class| Arc::strong_count(class) > 1);
        self.texts.retain(|text| Arc::strong_count(text) > 1);
        self.tidy_at = 2 * (self.classes.len() + self.texts.len()) + 1024;
    }

    fn intern_class(&mut self, class: SchedulingClass) -> Arc<SchedulingClass> {
        if let Some(known) = self.classes.get(&class) {
            return Arc::clone(known);
        }
        if self.classes.len() + self.texts.len() >= self.tidy_at {
            self.tidy();
        }
        let class = Arc::new(class);
        self.classes.insert(Arc::clone(&class));
        class
    }

    fn intern(&mut self, text: &str) -> Arc<str> {
        if let Some(known) = self.texts.get(text) {
            return Arc::clone(known);
        }
        let text: Arc<str> = Arc::from(text);
        self.texts.insert(Arc::clone(&text));
        text
    }

    pub(super) fn put_pod(&mut self, view: &views::PodView) -> bool {
        let namespace = view.metadata.namespace.as_deref().unwrap_or_default();
        let key = PodKey {
            namespace: self.intern(namespace),
            name: Arc::from(view.metadata.name.as_deref().unwrap_or_default()),
        };
        if view.finished() {
            return self.drop_pod(&key);
        }
        let class = self.intern_class(view.class());
        let mut pod = view.pod(key.clone(), class);
        let stamp = self.generation(Kind::Pods);
        let mut before = None;
        if let Some(row) = self.pods.get_mut(&key) {
            row.stamp = stamp;
            if *row.pod == pod {
                return false;
            }
            before = Some(Arc::clone(&row.pod));
        }
        let changed_before = self.unschedulable_changed;
        self.drop_pod(&key);
        if let PodState::Bound(node) = &mut pod.state {
            if let Some((shared, _)) = self.pods_on.get_key_value(node) {
                *node = shared.clone();
            }
            self.pods_on
                .entry(node.clone())
                .or_default()
                .insert(key.clone());
        } else {
            self.waiting.insert(key.clone());
        }
        // What stays unschedulable under the same identity does not change the set.
        let unplaced = |pod: &Pod| {
            matches!(pod.state, PodState::Unschedulable(_))
                .then(|| (pod.uid.clone(), Arc::clone(&pod.class)))
        };
        self.unschedulable_changed =
            changed_before || before.as_deref().and_then(unplaced) != unplaced(&pod);
        self.pods.insert(
            key,
            PodRow {
                stamp,
                pod: Arc::new(pod),
            },
        );
        true
    }

    pub(super) fn remove_pod(&mut self, view: &views::PodView) -> bool {
        let key = PodKey::new(
            view.metadata.namespace.as_deref().unwrap_or_default(),
            view.metadata.name.as_deref().unwrap_or_default(),
        );
        let same = self
            .pods
            .get(&key)
            .is_some_and(|row| Some(row.pod.uid.as_str()) == view.metadata.uid.as_deref());
        same && self.drop_pod(&key)
    }

    fn drop_pod(&mut self, key: &PodKey) -> bool {
        let Some(row) = self.pods.remove(key) else {
            return false;
        };
        self.waiting.remove(key);
        match &row.pod.state {
            PodState::Unschedulable(_) => self.unschedulable_changed = true,
            PodState::Waiting => {}
            PodState::Bound(node) => {
                if let Some(pods) = self.pods_on.get_mut(node) {
                    pods.remove(key);
                    if pods.is_empty() {
                        self.pods_on.remove(node);
                    }
                }
            }
        }
        true
    }

    pub(super) fn take_unschedulable_changed(&mut self) -> bool {
        std::mem::take(&mut self.unschedulable_changed)
    }

    pub(super) fn note_node(&mut self, view: views::NodeView) -> bool {
        let mut row = NodeRow::of(&view);
        if self.nodes_gone.contains(row.uid().as_str()) {
            return false;
        }
        self.share(&mut row);
        let version = number(Some(&row.resource_version));
        let stamp = self.generation(Kind::Nodes);
        if let Some(entry) = self.nodes.get_mut(&row.node.name) {
            entry.stamp = stamp;
            if entry.row.node.uid == row.node.uid {
                if entry.version >= version {
                    return false;
                }
                let unchanged = entry.row.same_facts(&row);
                entry.version = version;
                entry.row = Arc::new(row);
                return !unchanged;
            }
        }
        self.nodes.insert(
            row.node.name.clone(),
            NodeEntry {
                stamp,
                version,
                row: Arc::new(row),
            },
        );
        true
    }

    /// Keys and most values of labels and annotations are the same on every Node: held once.
    fn share(&mut self, row: &mut NodeRow) {
        let mut shared = |labels: &Labels| -> Labels {
            labels
                .iter()
                .map(|(key, value)| (self.intern(key), self.intern(value)))
                .collect()
        };
        let labels = shared(&row.node.shape.labels);
        row.annotations = shared(&row.annotations);
        row.node.shape = Arc::new(NodeShape {
            labels,
            ..NodeShape::clone(&row.node.shape)
        });
    }

    pub(super) fn remove_node(&mut self, view: &views::NodeView) -> bool {
        let name = NodeName::new(view.metadata.name.as_deref().unwrap_or_default());
        let same = self.nodes.get(&name).is_some_and(|entry| {
            entry.row.node.uid.as_ref().map(Uid::as_str) == view.metadata.uid.as_deref()
        });
        if same {
            self.nodes.remove(&name);
        }
        if let Some(uid) = &view.metadata.uid {
            self.nodes_gone.insert(uid);
        }
        same
    }

    pub(super) fn put_daemon_set(&mut self, view: &views::DaemonSetView) -> bool {
        let key = PodKey::new(
            view.metadata.namespace.as_deref().unwrap_or_default(),
            view.metadata.name.as_deref().unwrap_or_default(),
        );
        let class = self.intern_class(view.class());
        let stamp = self.generation(Kind::DaemonSets);
        let before = self.sets.insert(
            key,
            SetRow {
                stamp,
                class: Arc::clone(&class),
            },
        );
        before.is_none_or(|before| before.class != class)
    }

    pub(super) fn remove_daemon_set(&mut self, view: &views::DaemonSetView) -> bool {
        let key = PodKey::new(
            view.metadata.namespace.as_deref().unwrap_or_default(),
            view.metadata.name.as_deref().unwrap_or_default(),
        );
        self.sets.remove(&key).is_some()
    }

    // === Reading ===

    pub(super) fn snapshot(&self) -> ClusterSnapshot {
        ClusterSnapshot::new(
            self.nodes.values().map(|entry| entry.row.node.clone()),
            self.pods_on.iter().flat_map(|(node, keys)| {
                keys.iter()
                    .filter_map(|key| self.pods.get(key))
                    .map(|row| (node.clone(), Arc::clone(&row.pod.class)))
            }),
            self.waiting
                .iter()
                .filter_map(|key| self.pods.get(key))
                .map(|row| Arc::clone(&row.pod))
                .collect(),
        )
    }

    pub(super) fn daemon_sets(&self) -> Vec<Arc<SchedulingClass>> {
        self.sets
            .values()
            .map(|row| Arc::clone(&row.class))
            .collect()
    }

    pub(super) fn unschedulable(&self) -> usize {
        self.waiting
            .iter()
            .filter_map(|key| self.pods.get(key))
            .filter(|row| matches!(row.pod.state, PodState::Unschedulable(_)))
            .count()
    }

    pub(super) fn nominated(&self) -> BTreeSet<NodeName> {
        self.waiting
            .iter()
            .filter_map(|key| self.pods.get(key))
            .filter_map(|row| row.pod.nominated.clone())
            .collect()
    }

    pub(super) fn nodes(&self) -> Vec<Arc<NodeRow>> {
        self.nodes
            .values()
            .map(|entry| Arc::clone(&entry.row))
            .collect()
    }

    pub(super) fn node(&self, name: &NodeName) -> Option<Arc<NodeRow>> {
        self.nodes.get(name).map(|entry| Arc::clone(&entry.row))
    }

    pub(super) fn pods_on(&self, name: &NodeName) -> Vec<Arc<Pod>> {
        self.pods_on
            .get(name)
            .into_iter()
            .flatten()
            .filter_map(|key| self.pods.get(key))
            .map(|row| Arc::clone(&row.pod))
            .collect()
    }
}
