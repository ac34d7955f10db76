//! The rows, and how views become rows.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use api::{NodeGroup, VPSieNode};
use intake::Shared;
use model::{
    Cluster, NodeName, NodeShape, Pod, PodKey, PodState, SchedulingClass, Surroundings, Uid, Upkeep,
};

use super::{
    Kind,
    disruption::{self, Fact},
    node_row::NodeRow,
    objects::{Gone, Objects, number},
    surroundings::{self, Entry},
    texts::Texts,
    unknown, views,
};

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
    /// Labels of namespaces.
    pub namespaces: u64,
    /// Volumes, claims, and what decides about them.
    pub storage: u64,
    /// Budgets, and the controllers of pods: what removals look at, and nothing else does.
    pub disruption: u64,
    /// What pauses the whole cluster.
    pub paused: u64,
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
    /// Those of `pods` that are bound, by node and name, and those that are not.
    pods_on: BTreeMap<NodeName, Vec<Arc<Pod>>>,
    waiting: BTreeMap<PodKey, Arc<Pod>>,
    nodes: BTreeMap<NodeName, NodeEntry>,
    sets: BTreeMap<PodKey, SetRow>,
    pub(super) node_groups: Objects<NodeGroup>,
    pub(super) vpsie_nodes: Objects<VPSieNode>,
    classes: Shared<SchedulingClass>,
    upkeeps: Shared<Upkeep>,
    texts: Texts,
    surroundings: surroundings::Rows,
    pub(super) disruption: disruption::Rows,
    generations: BTreeMap<Kind, u64>,
    listed: BTreeSet<Kind>,
    /// Kinds that may not be read, or that the server does not have.
    unknown: BTreeSet<Kind>,
    rebuilds: BTreeMap<Kind, u64>,
    nodes_gone: Gone,
    unschedulable_changed: bool,
}

/// Where the pod of this name is among those of a node, or belongs.
fn find(pods: &[Arc<Pod>], key: &PodKey) -> Result<usize, usize> {
    pods.binary_search_by(|pod| pod.key.cmp(key))
}

impl Index {
    pub(super) fn synced(&self) -> bool {
        Kind::ALL.into_iter().all(|kind| match kind {
            Kind::NodeGroups => self.node_groups.listed(),
            Kind::VPSieNodes => self.vpsie_nodes.listed(),
            other => self.listed.contains(&other) || self.unknown.contains(&other),
        })
    }

    /// A kind that some can be done without was refused; whether that is news.
    pub(super) fn refused(&mut self, kind: Kind) -> bool {
        self.disruption.refused(kind);
        self.unknown.insert(kind)
    }

    pub(super) fn unknown(&self) -> Vec<Kind> {
        self.unknown.iter().copied().collect()
    }

    pub(super) fn rows(&self, kind: Kind) -> usize {
        match kind {
            Kind::Pods => self.pods.len(),
            Kind::Nodes => self.nodes.len(),
            Kind::DaemonSets => self.sets.len(),
            Kind::NodeGroups => self.node_groups.len(),
            Kind::VPSieNodes => self.vpsie_nodes.len(),
            other if other.is_of_disruption() => self.disruption.count(other),
            other => self.surroundings.count(other),
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
            Kind::NodeGroups => self.node_groups.begin(),
            Kind::VPSieNodes => self.vpsie_nodes.begin(),
            Kind::Pods | Kind::Nodes | Kind::DaemonSets => {
                *self.generations.entry(kind).or_default() += 1;
            }
            other if other.is_of_disruption() => self.disruption.begin(other),
            other => self.surroundings.begin(other),
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
            other => {
                if other.is_of_disruption() {
                    self.disruption.sweep(other);
                } else {
                    self.surroundings.sweep(other);
                }
                self.unknown.remove(&other);
            }
        }
        if !matches!(kind, Kind::NodeGroups | Kind::VPSieNodes) {
            self.listed.insert(kind);
        }
    }

    /// Forgets what rows had in common and nothing uses any more.
    fn tidy(&mut self) {
        self.classes.tidy();
        self.upkeeps.tidy();
        self.texts.tidy();
    }

    pub(super) fn put_pod(&mut self, view: &views::PodView) -> bool {
        let namespace = view.metadata.namespace.as_deref().unwrap_or_default();
        let key = PodKey {
            namespace: self.texts.share(namespace),
            name: Arc::from(view.metadata.name.as_deref().unwrap_or_default()),
        };
        if view.finished() {
            return self.drop_pod(&key);
        }
        let class = self.classes.one(view.class());
        let texts = &mut self.texts;
        let upkeep = self
            .upkeeps
            .one_with(view.upkeep(), |upkeep| texts.upkeep(upkeep));
        let mut pod = view.pod(key.clone(), class, upkeep);
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
        if let PodState::Bound(node) = &mut pod.state
            && let Some((shared, _)) = self.pods_on.get_key_value(node)
        {
            *node = shared.clone();
        }
        // What stays unschedulable under the same identity does not change the set.
        let unplaced = |pod: &Pod| {
            matches!(pod.state, PodState::Unschedulable(_))
                .then(|| (pod.uid.clone(), Arc::clone(&pod.class)))
        };
        self.unschedulable_changed =
            changed_before || before.as_deref().and_then(unplaced) != unplaced(&pod);
        let pod = Arc::new(pod);
        match &pod.state {
            PodState::Bound(node) => {
                let pods = self.pods_on.entry(node.clone()).or_default();
                match find(pods, &key) {
                    Ok(at) => pods[at] = Arc::clone(&pod),
                    Err(at) => pods.insert(at, Arc::clone(&pod)),
                }
            }
            PodState::Unschedulable(_) | PodState::Waiting | PodState::Gated => {
                self.waiting.insert(key.clone(), Arc::clone(&pod));
            }
        }
        self.pods.insert(key, PodRow { stamp, pod });
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
            PodState::Waiting | PodState::Gated => {}
            PodState::Bound(node) => {
                if let Some(pods) = self.pods_on.get_mut(node) {
                    if let Ok(at) = find(pods, key) {
                        pods.remove(at);
                    }
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

    pub(super) fn note_node(&mut self, view: &views::NodeView) -> bool {
        let mut row = NodeRow::of(view);
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
        let labels = self.texts.labels(&row.node.shape.labels);
        row.annotations = self.texts.labels(&row.annotations);
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
        let class = self.classes.one(view.class());
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

    pub(super) fn put_surrounding<E: Entry>(&mut self, view: &E) -> bool {
        self.surroundings.put(view, &mut self.texts)
    }

    pub(super) fn remove_surrounding<E: Entry>(&mut self, view: &E) -> bool {
        self.surroundings.remove(view, &mut self.texts)
    }

    pub(super) fn put_fact<F: Fact>(&mut self, view: &F) -> bool {
        self.disruption.put(view)
    }

    pub(super) fn remove_fact<F: Fact>(&mut self, view: &F) -> bool {
        self.disruption.remove(view)
    }

    // === Reading ===

    pub(super) fn surroundings(&mut self) -> Arc<Surroundings> {
        self.surroundings.read()
    }

    pub(super) fn cluster(&mut self) -> Cluster {
        let surroundings = self.surroundings();
        let nodes = self.nodes.values().map(|entry| entry.row.node.clone());
        let bound = self.pods_on.values().flatten();
        let mut cluster = Cluster {
            nodes: nodes.map(|node| (node.name.clone(), node)).collect(),
            bound: bound.map(Arc::clone).collect(),
            waiting: self.waiting.values().map(Arc::clone).collect(),
            surroundings,
        };
        unknown::mark(&mut cluster, &self.unknown);
        cluster
    }

    pub(super) fn daemon_sets(&self) -> Vec<Arc<SchedulingClass>> {
        self.sets
            .values()
            .map(|row| Arc::clone(&row.class))
            .collect()
    }

    pub(super) fn unschedulable(&self) -> usize {
        self.waiting
            .values()
            .filter(|pod| matches!(pod.state, PodState::Unschedulable(_)))
            .count()
    }

    pub(super) fn has_waiting(&self) -> bool {
        !self.waiting.is_empty()
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
        self.pods_on.get(name).cloned().unwrap_or_default()
    }
}
