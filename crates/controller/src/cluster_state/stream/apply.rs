//! How the events of each kind change the index, and which version they count for.

use kube::core::DeserializeGuard;

use super::super::{Kind, Versions, disruption::Fact, index::Index, surroundings::Entry, views};

/// How a kind's events change the index.
pub(super) trait Apply<K>: Copy + Send + Sync + 'static {
    fn begin(self, index: &mut Index);
    /// Whether anything a decision could rest on changed.
    fn put(self, index: &mut Index, object: K) -> bool;
    fn remove(self, index: &mut Index, object: K) -> bool;
    fn done(self, index: &mut Index) -> bool;
    fn bump(self, versions: &mut Versions);
}

#[derive(Clone, Copy)]
pub(super) struct OfPods;

impl Apply<views::PodView> for OfPods {
    fn begin(self, index: &mut Index) {
        index.begin(Kind::Pods);
    }
    fn put(self, index: &mut Index, object: views::PodView) -> bool {
        index.put_pod(&object)
    }
    fn remove(self, index: &mut Index, object: views::PodView) -> bool {
        index.remove_pod(&object)
    }
    fn done(self, index: &mut Index) -> bool {
        index.sweep(Kind::Pods);
        true
    }
    fn bump(self, versions: &mut Versions) {
        versions.pods += 1;
    }
}

#[derive(Clone, Copy)]
pub(super) struct OfNodes;

impl Apply<views::NodeView> for OfNodes {
    fn begin(self, index: &mut Index) {
        index.begin(Kind::Nodes);
    }
    fn put(self, index: &mut Index, object: views::NodeView) -> bool {
        index.note_node(&object)
    }
    fn remove(self, index: &mut Index, object: views::NodeView) -> bool {
        index.remove_node(&object)
    }
    fn done(self, index: &mut Index) -> bool {
        index.sweep(Kind::Nodes);
        true
    }
    fn bump(self, versions: &mut Versions) {
        versions.nodes += 1;
    }
}

#[derive(Clone, Copy)]
pub(super) struct OfDaemonSets;

impl Apply<views::DaemonSetView> for OfDaemonSets {
    fn begin(self, index: &mut Index) {
        index.begin(Kind::DaemonSets);
    }
    fn put(self, index: &mut Index, object: views::DaemonSetView) -> bool {
        index.put_daemon_set(&object)
    }
    fn remove(self, index: &mut Index, object: views::DaemonSetView) -> bool {
        index.remove_daemon_set(&object)
    }
    fn done(self, index: &mut Index) -> bool {
        index.sweep(Kind::DaemonSets);
        true
    }
    fn bump(self, versions: &mut Versions) {
        versions.daemon_sets += 1;
    }
}

#[derive(Clone, Copy)]
pub(super) struct OfNodeGroups;

impl Apply<DeserializeGuard<api::NodeGroup>> for OfNodeGroups {
    fn begin(self, index: &mut Index) {
        index.begin(Kind::NodeGroups);
    }
    fn put(self, index: &mut Index, object: DeserializeGuard<api::NodeGroup>) -> bool {
        index.node_groups.put(object)
    }
    fn remove(self, index: &mut Index, object: DeserializeGuard<api::NodeGroup>) -> bool {
        index.node_groups.remove(&object)
    }
    fn done(self, index: &mut Index) -> bool {
        index.sweep(Kind::NodeGroups);
        true
    }
    fn bump(self, versions: &mut Versions) {
        versions.node_groups += 1;
    }
}

#[derive(Clone, Copy)]
pub(super) struct OfVPSieNodes;

impl Apply<DeserializeGuard<api::VPSieNode>> for OfVPSieNodes {
    fn begin(self, index: &mut Index) {
        index.begin(Kind::VPSieNodes);
    }
    fn put(self, index: &mut Index, object: DeserializeGuard<api::VPSieNode>) -> bool {
        index.vpsie_nodes.put(object)
    }
    fn remove(self, index: &mut Index, object: DeserializeGuard<api::VPSieNode>) -> bool {
        index.vpsie_nodes.remove(&object)
    }
    fn done(self, index: &mut Index) -> bool {
        index.sweep(Kind::VPSieNodes);
        true
    }
    fn bump(self, versions: &mut Versions) {
        versions.vpsie_nodes += 1;
    }
}

#[derive(Clone, Copy)]
pub(super) struct OfSurroundings;

impl<E: Entry> Apply<E> for OfSurroundings {
    fn begin(self, index: &mut Index) {
        index.begin(E::KIND);
    }
    fn put(self, index: &mut Index, object: E) -> bool {
        index.put_surrounding(&object)
    }
    fn remove(self, index: &mut Index, object: E) -> bool {
        index.remove_surrounding(&object)
    }
    fn done(self, index: &mut Index) -> bool {
        index.sweep(E::KIND);
        true
    }
    fn bump(self, versions: &mut Versions) {
        if E::KIND.is_of_storage() {
            versions.storage += 1;
        } else {
            versions.namespaces += 1;
        }
    }
}

#[derive(Clone, Copy)]
pub(super) struct OfDisruption;

impl<F: Fact> Apply<F> for OfDisruption {
    fn begin(self, index: &mut Index) {
        index.begin(F::KIND);
    }
    fn put(self, index: &mut Index, object: F) -> bool {
        index.put_fact(&object)
    }
    fn remove(self, index: &mut Index, object: F) -> bool {
        index.remove_fact(&object)
    }
    fn done(self, index: &mut Index) -> bool {
        index.sweep(F::KIND);
        true
    }
    fn bump(self, versions: &mut Versions) {
        if F::KIND == Kind::AutoscalerConfigs {
            versions.paused += 1;
        } else {
            versions.disruption += 1;
        }
    }
}
