//! Nodes come, change and go.

use std::{mem, sync::Arc};

use model::{Node, NodeName, NodeShape, Resources};

use super::{Detail, NodeId, PodsOnNode, Slot, Snapshot, undo::Undo};
use crate::{amounts::Amounts, attachments::Mounted};

impl Snapshot {
    /// Adds a node without pods; one of the same name is removed first.
    pub fn add_node(&mut self, node: Node) -> NodeId {
        let volumes = self
            .attachments
            .of_node(&node.name, &self.surroundings.storage);
        let extended = self.extended(&node.shape.allocatable);
        self.insert(Detail {
            extended,
            node,
            hostname: None,
            pods: Vec::new(),
            mounted: Mounted::new(&self.attachments, volumes.as_deref()),
            volumes,
        })
    }

    /// Adds a node that is as `origin` but for its name, which is also its hostname label: a node
    /// to come, of which there may be many. It takes as many volumes as `origin` does.
    pub fn add_copy(&mut self, origin: &Node, name: NodeName) -> NodeId {
        let volumes = self
            .attachments
            .of_node(&origin.name, &self.surroundings.storage);
        let hostname = Arc::from(name.as_str());
        let extended = self.extended(&origin.shape.allocatable);
        self.insert(Detail {
            extended,
            node: Node {
                name,
                ..origin.clone()
            },
            hostname: Some(hostname),
            pods: Vec::new(),
            mounted: Mounted::new(&self.attachments, volumes.as_deref()),
            volumes,
        })
    }

    /// Removes a node and what is on it.
    pub fn remove_node(&mut self, node: NodeId) {
        if let Some(state) = self.extract(node) {
            self.vacant.push(node);
            if !self.marks.is_empty() {
                self.note(Undo::Restore(node, Box::new(state)));
            }
        }
    }

    /// Gives a node another shape; what is on it stays. A copy gets the shape's own hostname label.
    pub fn set_shape(&mut self, node: NodeId, shape: Arc<NodeShape>) {
        if let Some((shape, hostname)) = self.reshape(node, shape, None) {
            self.note(Undo::Shape(node, shape, hostname));
        }
    }

    /// Makes a copy one of another origin; its name, its hostname label and what is on it stay.
    pub fn set_origin(&mut self, node: NodeId, origin: &Node) {
        let hostname = self.detail(node).and_then(|detail| detail.hostname.clone());
        let shape = Arc::clone(&origin.shape);
        if let Some((shape, hostname)) = self.reshape(node, shape, hostname) {
            self.note(Undo::Shape(node, shape, hostname));
        }
    }

    fn insert(&mut self, detail: Detail) -> NodeId {
        if let Some(&before) = self.by_name.get(&detail.node.name) {
            self.remove_node(before);
        }
        let vacant = self.vacant.pop();
        let id = vacant.unwrap_or_else(|| {
            let id = NodeId(self.slots.len() as u32);
            self.slots.push(Slot {
                free: Amounts::default(),
                shape: 0,
                alive: false,
                generation: 0,
            });
            self.details.push(None);
            id
        });
        let slot = Slot {
            free: Amounts::of(&detail.node.shape.allocatable),
            shape: 0,
            alive: true,
            generation: 0,
        };
        self.enter(id, slot, Box::new(detail));
        self.note(Undo::Remove {
            node: id,
            is_new: vacant.is_none(),
        });
        id
    }

    /// Puts a node with its pods into a vacant slot.
    fn enter(&mut self, id: NodeId, mut slot: Slot, detail: Box<Detail>) {
        slot.shape = self.shapes.intern(&detail.node.shape) as u32;
        slot.generation = self.next_generation();
        let (node, shape) = (id.index(), slot.shape as usize);
        self.by_name.insert(detail.node.name.clone(), id);
        self.topology.attach(node, shape, detail.view());
        for pods in &detail.pods {
            self.count(node, *pods);
        }
        self.slots[node] = slot;
        self.details[node] = Some(detail);
    }

    /// Takes a node with its pods out of its slot.
    fn extract(&mut self, id: NodeId) -> Option<(Slot, Box<Detail>)> {
        let node = id.index();
        let detail = self.details.get_mut(node)?.take()?;
        for pods in &detail.pods {
            self.uncount(node, *pods);
        }
        self.topology.detach(node);
        self.by_name.remove(&detail.node.name);
        let slot = self.slots[node].clone();
        self.slots[node].alive = false;
        Some((slot, detail))
    }

    /// Takes back that a node was added, with its slot where that is new, too. What came later is
    /// taken back by now: a new slot is the last.
    pub(super) fn forget(&mut self, id: NodeId, is_new: bool) {
        self.extract(id);
        if is_new {
            self.slots.pop();
            self.details.pop();
        } else {
            self.vacant.push(id);
        }
    }

    /// Takes back that a node was removed.
    pub(super) fn restore(&mut self, id: NodeId, (slot, detail): (Slot, Box<Detail>)) {
        // What was vacated later is taken again by now.
        self.vacant.pop();
        self.enter(id, slot, detail);
    }

    /// Changes a node's shape; gives the one before.
    pub(super) fn reshape(
        &mut self,
        id: NodeId,
        shape: Arc<NodeShape>,
        hostname: Option<Arc<str>>,
    ) -> Option<(Arc<NodeShape>, Option<Arc<str>>)> {
        let (mut slot, mut detail) = self.extract(id)?;
        let before = &detail.node.shape.allocatable;
        slot.free.add(&Amounts::of(before), -1);
        slot.free.add(&Amounts::of(&shape.allocatable), 1);
        let lost = self.extended(before);
        let gained = self.extended(&shape.allocatable);
        let length = detail.extended.len().max(lost.len()).max(gained.len());
        detail.extended.resize(length, 0);
        for (free, lost) in detail.extended.iter_mut().zip(lost) {
            *free = free.wrapping_sub(lost);
        }
        for (free, gained) in detail.extended.iter_mut().zip(gained) {
            *free = free.wrapping_add(gained);
        }
        let before = mem::replace(&mut detail.node.shape, shape);
        let hostname = mem::replace(&mut detail.hostname, hostname);
        self.enter(id, slot, detail);
        Some((before, hostname))
    }

    /// Amounts of extended resources, by their numbers.
    fn extended(&mut self, amounts: &Resources) -> Vec<i64> {
        let mut extended = Vec::new();
        for (name, amount) in &amounts.extended {
            let id = self.resource(name) as usize;
            if extended.len() <= id {
                extended.resize(id + 1, 0);
            }
            extended[id] = *amount;
        }
        extended
    }

    fn next_generation(&mut self) -> u64 {
        self.generation += 1;
        self.generation
    }

    pub(super) fn count(&mut self, node: usize, pods: PodsOnNode) {
        let class = &self.classes[pods.class.index()];
        self.topology.add(node, class, pods);
        for &claim in class.claims.iter().flat_map(|claims| &claims.uses) {
            self.attachments.add_users(claim, pods.count);
        }
    }

    pub(super) fn uncount(&mut self, node: usize, pods: PodsOnNode) {
        let class = &self.classes[pods.class.index()];
        self.topology.sub(node, class, pods);
        for &claim in class.claims.iter().flat_map(|claims| &claims.uses) {
            self.attachments.remove_users(claim, pods.count);
        }
    }
}
