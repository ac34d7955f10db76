//! The answers: does it fit, why not, how many.

use std::sync::Arc;

use model::{NodeShape, SchedulingClass, UnevaluatedRule};

use super::{ClassId, NodeId, Snapshot};
use crate::{
    Failure,
    class::Class,
    filters::{
        self, inter_pod_affinity, node_declared_features, node_ports, node_resources_fit,
        node_volume_limits, pod_topology_spread, volume_binding, volume_restrictions, volume_zone,
    },
};

/// What the filters say that look at the node alone, by class.
#[derive(Clone, Debug, Default)]
pub(super) struct Memo {
    rows: Vec<Row>,
}

#[derive(Clone, Debug, Default)]
struct Row {
    /// By shape: 0 is not asked yet, 1 is no, 2 is yes.
    shapes: Vec<u8>,
    /// By node, for classes that go by names: the node's generation and, in the lowest bit, yes.
    nodes: Vec<u64>,
}

/// The rules of a class about which there is never a yes.
fn refused(class: &SchedulingClass) -> impl Iterator<Item = UnevaluatedRule> + '_ {
    class.unevaluated.iter().copied()
}

impl Snapshot {
    /// Whether kube-scheduler would put a pod of this class, beside all that are placed, on this
    /// node. False where either is unknown. Whether the node is ready plays no part, as it plays none
    /// there, nor do defects of what was read: those are for the caller to look at.
    #[must_use]
    pub fn fits(&self, class: ClassId, node: NodeId) -> bool {
        let (Some(class_of), Some(slot)) = (
            self.classes.get(class.index()),
            self.slots.get(node.index()).filter(|slot| slot.alive),
        ) else {
            return false;
        };
        let extended = if class_of.request.extended.is_empty() {
            &[][..]
        } else {
            self.detail(node).map_or(&[][..], |detail| &detail.extended)
        };
        class_of.request.fits(&slot.free, extended)
            && self.passes_pods(class_of, node.index())
            && self.admits(class, node)
            && self.passes_mounts(class_of, node.index())
    }

    /// As [`Snapshot::fits`], leaving out resources and whatever else depends on the pods placed:
    /// what stays as it is while a node fills up.
    #[must_use]
    pub fn admits(&self, class: ClassId, node: NodeId) -> bool {
        let (Some(class_of), Some(slot)) = (
            self.classes.get(class.index()),
            self.slots.get(node.index()).filter(|slot| slot.alive),
        ) else {
            return false;
        };
        let mut memo = self.memo.borrow_mut();
        if memo.rows.len() <= class.index() {
            memo.rows.resize_with(self.classes.len(), Row::default);
        }
        let row = &mut memo.rows[class.index()];
        if class_of.named {
            let index = node.index();
            if row.nodes.len() <= index {
                row.nodes.resize(self.slots.len(), 0);
            }
            if row.nodes[index] >> 1 != slot.generation {
                let admitted = self.ask_node(class_of, node);
                row.nodes[index] = slot.generation << 1 | u64::from(admitted);
            }
            return row.nodes[index] & 1 == 1;
        }
        let index = slot.shape as usize;
        if row.shapes.len() <= index {
            row.shapes.resize(index + 1, 0);
        }
        if row.shapes[index] == 0 {
            row.shapes[index] = 1 + u8::from(self.ask_node(class_of, node));
        }
        row.shapes[index] == 2
    }

    /// How many pods of the class, at most `most`, would be accepted on the node one after the
    /// other, each beside those before it.
    #[must_use]
    pub fn how_many(&self, class: ClassId, node: NodeId, most: u32) -> u32 {
        if most == 0 || !self.fits(class, node) {
            return 0;
        }
        let class = &self.classes[class.index()];
        let index = node.index();
        let extended = self.detail(node).map_or(&[][..], |detail| &detail.extended);
        let mut count = class
            .request
            .at_most(&self.slots[index].free, extended)
            .min(most);
        if count > 1 && class.looks_at_pods {
            count = count
                .min(node_ports::at_most(class))
                .min(volume_restrictions::at_most(class))
                .min(inter_pod_affinity::at_most(self, class, index))
                .min(pod_topology_spread::at_most(self, class, index));
        }
        count
    }

    /// The first node, in the order of ids from `from` on, on which a pod of the class fits. Equal
    /// pods placed one after the other need not look again at nodes that have refused one for want
    /// of room.
    #[must_use]
    pub fn first_fit(&self, class: ClassId, from: NodeId) -> Option<NodeId> {
        (from.0..self.slots.len() as u32)
            .map(NodeId)
            .find(|&node| self.fits(class, node))
    }

    /// The nodes on which a pod of the class fits, by id.
    pub fn fitting(&self, class: ClassId) -> impl Iterator<Item = NodeId> + '_ {
        self.nodes().filter(move |&node| self.fits(class, node))
    }

    /// Every reason of every filter against a pod of this class on this node, each filter asked by
    /// itself; empty exactly where it fits, or where either is unknown.
    #[must_use]
    pub fn failures(&self, class: ClassId, node: NodeId) -> Vec<Failure> {
        let (Some(class), Some(detail)) = (self.classes.get(class.index()), self.detail(node))
        else {
            return Vec::new();
        };
        let (index, view) = (node.index(), detail.view());
        let source = &class.source;
        let storage = &self.surroundings.storage;
        let mut failures = filters::check_node(source, view);
        failures.extend(node_ports::check(self, class, index));
        let shape: &Arc<NodeShape> = &detail.node.shape;
        failures.extend(node_resources_fit::check(
            source,
            &shape.allocatable,
            &self.free(node),
        ));
        failures.extend(volume_restrictions::check(self, class, index));
        failures.extend(node_volume_limits::check(self, class, index));
        failures.extend(volume_binding::check(
            source,
            storage,
            &self.free_volumes,
            view,
        ));
        failures.extend(volume_zone::check(source, storage, view));
        failures.extend(pod_topology_spread::check(self, class, index));
        failures.extend(inter_pod_affinity::check(self, class, index));
        failures.extend(node_declared_features::check(source, view));
        failures.extend(refused(source).map(|rule| Failure::NotEvaluated { rule }));
        failures
    }

    /// Asks the filters that look at the node alone.
    fn ask_node(&self, class: &Class, node: NodeId) -> bool {
        let storage = &self.surroundings.storage;
        refused(&class.source).next().is_none()
            && self.detail(node).is_some_and(|detail| {
                filters::admits(&class.source, storage, &self.free_volumes, detail.view())
            })
    }

    /// Asks the rules between pods: a few numbers each.
    fn passes_pods(&self, class: &Class, node: usize) -> bool {
        if !class.looks_at_pods {
            let refused_by = &self.topology.identities.get(class.identity).refused_by;
            return refused_by.is_empty() || inter_pod_affinity::passes(self, class, node);
        }
        inter_pod_affinity::passes(self, class, node)
            && pod_topology_spread::passes(self, class, node)
    }

    /// Asks the filters that go through the pods on the node.
    pub(super) fn passes_mounts(&self, class: &Class, node: usize) -> bool {
        !class.looks_at_pods
            || (node_ports::passes(self, class, node)
                && volume_restrictions::passes(self, class, node)
                && node_volume_limits::passes(self, class, node))
    }
}
