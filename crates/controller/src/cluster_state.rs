//! The cluster as the product remembers it: a narrow, interned index fed by watches.
//!
//! No full Pod is ever stored: objects are decoded into views that have only what decisions need,
//! and views become rows of [`index`]. One task per kind applies events as they come; readers take
//! snapshots. Own writes enter the index at once ([`ClusterState::note_vpsie_node`] and its like),
//! so that no decision is made twice because a watch lags.

mod disruption;
mod heard;
mod index;
mod node_row;
mod objects;
mod stream;
mod surroundings;
#[cfg(test)]
mod tests;
mod texts;
mod unknown;
pub mod usage;
pub mod views;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use api::{NodeGroup, VPSieNode};
use k8s_openapi::api::core::v1::Node as KubeNode;
use model::{Cluster, Disruption, GroupKey, NodeName, Pod, SchedulingClass, Surroundings, Usage};
use runtime::watch;
use runtime::{Clock, Randomness, Tasks};

use crate::pulse::Pulse;

pub use heard::Kind;
use index::Index;
pub use index::{Stats, Versions};
pub use node_row::NodeRow;

/// How the watches are kept.
#[derive(Clone, Debug)]
pub struct Options {
    /// Objects per page of a list.
    pub page_size: u32,
    /// How long one watch request lasts.
    pub watch_timeout: Duration,
    /// A kind nothing was heard of for longer is listed anew. API servers send a bookmark about
    /// once a minute.
    pub stale_after: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            // Small pages keep the peak of a list low: 14 instead of 37 MiB at 30,000 pods.
            page_size: 50,
            watch_timeout: Duration::from_mins(4),
            stale_after: Duration::from_secs(290),
        }
    }
}

/// Shared, cheap to clone.
#[derive(Clone, Debug)]
pub struct ClusterState {
    clock: Clock,
    random: Randomness,
    options: Options,
    index: Arc<Mutex<Index>>,
    versions: Arc<watch::Sender<Versions>>,
    heard: heard::Heard,
}

impl ClusterState {
    /// An empty index.
    #[must_use]
    pub fn new(clock: Clock, random: Randomness, options: Options) -> Self {
        Self {
            heard: heard::Heard::new(clock.clone()),
            clock,
            random,
            options,
            index: Arc::default(),
            versions: Arc::new(watch::Sender::new(Versions::default())),
        }
    }

    /// Starts a watch for every kind; each beats in `pulse`.
    pub fn spawn(&self, client: &kube::Client, tasks: &Tasks, pulse: &Pulse) {
        let client = self.heard.listen(client.clone());
        stream::spawn(self, &client, tasks, pulse);
    }

    /// Every kind was listed once, or cannot be read ([`ClusterState::unknown_kinds`]).
    #[must_use]
    pub fn synced(&self) -> bool {
        self.lock().synced()
    }

    /// Waits for [`ClusterState::synced`].
    pub async fn wait_synced(&self) {
        let mut changes = self.changes();
        while !self.synced() {
            if changes.changed().await.is_err() {
                return;
            }
        }
    }

    /// Changes whenever something a decision could rest on does.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<Versions> {
        self.versions.subscribe()
    }

    /// How long nothing was heard of each kind, and how many rows it has.
    #[must_use]
    pub fn ages(&self) -> BTreeMap<&'static str, (Duration, usize)> {
        let index = self.lock();
        Kind::ALL
            .iter()
            .map(|kind| (kind.plural(), (self.heard.age(*kind), index.rows(*kind))))
            .collect()
    }

    /// A kind of which no watch has been open for longer than `at_most`, nor was it listed: what is
    /// held may be as old. One that may not be read at all is not meant.
    #[must_use]
    pub fn stale(&self, at_most: Duration) -> Option<Kind> {
        let (kind, deaf) = self.heard.deaf()?;
        (deaf > at_most).then_some(kind)
    }

    /// How much is held and how often a watch had to be built anew.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.lock().stats()
    }

    /// Kinds that may not be read, or that the server does not have, though without them some is
    /// done ([`Kind::without`]). What those of the surroundings decide is not known:
    /// [`ClusterState::cluster`] marks the pods it matters to.
    #[must_use]
    pub fn unknown_kinds(&self) -> Vec<Kind> {
        self.lock().unknown()
    }

    /// Namespaces and volumes; the same value as long as nothing of it changes.
    #[must_use]
    pub fn surroundings(&self) -> Arc<Surroundings> {
        self.lock().surroundings()
    }

    /// Budgets, controllers and usage; the same value as long as nothing of it changes. A kind that
    /// may not be read is missing.
    #[must_use]
    pub fn disruption(&self) -> Arc<Disruption> {
        self.lock().disruption.read()
    }

    /// What pauses the whole cluster.
    #[must_use]
    pub fn cluster_paused(&self) -> Option<String> {
        self.lock().disruption.paused()
    }

    /// Enters what nodes have in use, all of them ([`usage::read_usage`]). It wakes nobody: who
    /// asks is who looks at it.
    pub fn note_usage(&self, usage: BTreeMap<NodeName, Usage>) {
        self.lock().disruption.note_usage(usage);
    }

    /// The nodes, what is on them, the pods that wait, and what their rules refer to. Pods that
    /// wait have a rule marked as not evaluated where it asks for a kind that is not known.
    #[must_use]
    pub fn cluster(&self) -> Cluster {
        self.lock().cluster()
    }

    /// The pods of each DaemonSet, as classes.
    #[must_use]
    pub fn daemon_sets(&self) -> Vec<Arc<SchedulingClass>> {
        self.lock().daemon_sets()
    }

    /// How many pods the scheduler could not place.
    #[must_use]
    pub fn unschedulable(&self) -> usize {
        self.lock().unschedulable()
    }

    /// The NodeGroups, by namespace and name, managed or not.
    #[must_use]
    pub fn node_groups(&self) -> Vec<Arc<NodeGroup>> {
        self.lock().node_groups.values()
    }

    /// The NodeGroup of this name.
    #[must_use]
    pub fn node_group(&self, key: &GroupKey) -> Option<Arc<NodeGroup>> {
        self.lock().node_groups.get(&key.namespace, &key.name)
    }

    /// The VPSieNodes, by namespace and name.
    #[must_use]
    pub fn vpsie_nodes(&self) -> Vec<Arc<VPSieNode>> {
        self.lock().vpsie_nodes.values()
    }

    /// The VPSieNode of this name.
    #[must_use]
    pub fn vpsie_node(&self, namespace: &str, name: &str) -> Option<Arc<VPSieNode>> {
        self.lock().vpsie_nodes.get(namespace, name)
    }

    /// Stored objects that cannot be decoded: what is wrong with each. They are left alone.
    #[must_use]
    pub fn malformed(&self) -> BTreeMap<String, String> {
        let index = self.lock();
        let mut all = index.node_groups.malformed("NodeGroup");
        all.extend(index.vpsie_nodes.malformed("VPSieNode"));
        all
    }

    /// The Nodes, by name.
    #[must_use]
    pub fn nodes(&self) -> Vec<Arc<NodeRow>> {
        self.lock().nodes()
    }

    /// A pod is bound nowhere.
    #[must_use]
    pub fn has_waiting(&self) -> bool {
        self.lock().has_waiting()
    }

    /// The Node of this name.
    #[must_use]
    pub fn node(&self, name: &NodeName) -> Option<Arc<NodeRow>> {
        self.lock().node(name)
    }

    /// The pods bound to this node that have not finished, by name.
    #[must_use]
    pub fn pods_on(&self, name: &NodeName) -> Vec<Arc<Pod>> {
        self.lock().pods_on(name)
    }

    /// Enters the answer of an own write; older news of the object is ignored from now on.
    pub fn note_vpsie_node(&self, object: VPSieNode) -> Arc<VPSieNode> {
        let stored = self.lock().vpsie_nodes.note(object);
        self.bump(|versions| versions.vpsie_nodes += 1);
        stored
    }

    /// As [`ClusterState::note_vpsie_node`].
    pub fn note_node_group(&self, object: NodeGroup) -> Arc<NodeGroup> {
        let stored = self.lock().node_groups.note(object);
        self.bump(|versions| versions.node_groups += 1);
        stored
    }

    /// As [`ClusterState::note_vpsie_node`].
    pub fn note_node(&self, object: KubeNode) {
        if self.lock().note_node(&views::NodeView::from(object)) {
            self.bump(|versions| versions.nodes += 1);
        }
    }

    fn bump(&self, change: impl FnOnce(&mut Versions)) {
        self.versions.send_modify(change);
    }

    fn lock(&self) -> MutexGuard<'_, Index> {
        self.index.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
