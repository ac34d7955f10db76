//! The cluster as one value that can be changed tentatively.
//!
//! `fork` is O(1): it marks a place in the undo log. `revert` undoes back to the last mark,
//! `commit` keeps the changes (and hands them to the mark before). Sums per node are kept
//! incrementally; a property test holds them against a recount.

use std::{collections::BTreeMap, sync::Arc};

use crate::{Node, NodeName, NodeShape, Pod, Resources, SchedulingClass};

/// A node and what is placed on it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NodeState {
    /// The node.
    pub node: Node,
    /// The sum of the requests placed on it.
    pub requested: Resources,
    /// How many pods are placed on it, by class. Pods of equal classes are interchangeable here.
    pub classes: BTreeMap<Arc<SchedulingClass>, u32>,
}

impl NodeState {
    /// A node with nothing on it.
    #[must_use]
    pub fn empty(node: Node) -> Self {
        Self {
            node,
            requested: Resources::default(),
            classes: BTreeMap::new(),
        }
    }

    /// What is left.
    #[must_use]
    pub fn free(&self) -> Resources {
        let mut free = self.node.shape.allocatable.clone();
        free.sub(&self.requested);
        free
    }

    /// Follows one change of `classes`. Where an absurd request has driven the sum to the end of
    /// its range, only a recount is exact: taking the request away again would take too much.
    fn resum(&mut self, change: impl FnOnce(&mut Resources)) {
        let was_exact = !self.requested.is_saturated();
        change(&mut self.requested);
        if !was_exact || self.requested.is_saturated() {
            self.requested = Resources::sum(
                self.classes
                    .iter()
                    .map(|(class, count)| (&class.requests, *count)),
            );
        }
    }
}

/// The undo log's entries: how to take a change back.
#[derive(Clone, Debug)]
enum Undo {
    TakeFrom(NodeName, Arc<SchedulingClass>),
    PutOn(NodeName, Arc<SchedulingClass>),
    RemoveNode(NodeName),
    RestoreNode(Box<NodeState>),
    SetShape(NodeName, Arc<NodeShape>),
}

/// Nodes with what is on them, and the pods that wait.
#[derive(Clone, Debug, Default)]
pub struct ClusterSnapshot {
    nodes: BTreeMap<NodeName, NodeState>,
    waiting: Vec<Arc<Pod>>,
    undo: Vec<Undo>,
    marks: Vec<usize>,
}

impl ClusterSnapshot {
    /// A snapshot of these nodes, the pods bound to them, and the pods that wait. Pods bound to a
    /// node that is not there take no room.
    #[must_use]
    pub fn new(
        nodes: impl IntoIterator<Item = Node>,
        bound: impl IntoIterator<Item = (NodeName, Arc<SchedulingClass>)>,
        mut waiting: Vec<Arc<Pod>>,
    ) -> Self {
        waiting.sort_by(|a, b| a.key.cmp(&b.key));
        let mut snapshot = Self {
            nodes: nodes
                .into_iter()
                .map(|node| (node.name.clone(), NodeState::empty(node)))
                .collect(),
            waiting,
            ..Self::default()
        };
        for (node, class) in bound {
            snapshot.put(&node, &class);
        }
        snapshot
    }

    /// The nodes, by name.
    pub fn nodes(&self) -> impl Iterator<Item = &NodeState> {
        self.nodes.values()
    }

    /// The node of this name.
    #[must_use]
    pub fn node(&self, name: &NodeName) -> Option<&NodeState> {
        self.nodes.get(name)
    }

    /// The pods that are bound nowhere, by name.
    #[must_use]
    pub fn waiting(&self) -> &[Arc<Pod>] {
        &self.waiting
    }

    /// Begins a tentative change.
    pub fn fork(&mut self) {
        self.marks.push(self.undo.len());
    }

    /// Keeps what was changed since the last [`ClusterSnapshot::fork`].
    pub fn commit(&mut self) {
        self.marks.pop();
        if self.marks.is_empty() {
            self.undo.clear();
        }
    }

    /// Takes back what was changed since the last [`ClusterSnapshot::fork`].
    pub fn revert(&mut self) {
        let Some(mark) = self.marks.pop() else {
            return;
        };
        while self.undo.len() > mark {
            match self.undo.pop() {
                Some(Undo::TakeFrom(node, class)) => self.take(&node, &class),
                Some(Undo::PutOn(node, class)) => {
                    self.put(&node, &class);
                    true
                }
                Some(Undo::RemoveNode(name)) => self.nodes.remove(&name).is_some(),
                Some(Undo::RestoreNode(state)) => {
                    self.nodes.insert(state.node.name.clone(), *state).is_none()
                }
                Some(Undo::SetShape(name, shape)) => {
                    let state = self.nodes.get_mut(&name);
                    state.map(|state| state.node.shape = shape).is_some()
                }
                None => break,
            };
        }
    }

    /// Places one pod of `class` on `node`.
    pub fn place(&mut self, node: &NodeName, class: &Arc<SchedulingClass>) {
        if self.put(node, class) {
            self.note(Undo::TakeFrom(node.clone(), Arc::clone(class)));
        }
    }

    /// Takes one pod of `class` off `node`.
    pub fn displace(&mut self, node: &NodeName, class: &Arc<SchedulingClass>) {
        if self.take(node, class) {
            self.note(Undo::PutOn(node.clone(), Arc::clone(class)));
        }
    }

    /// Adds a node; one of the same name is replaced.
    pub fn add_node(&mut self, node: Node) {
        self.remove_node(&node.name.clone());
        let name = node.name.clone();
        self.nodes.insert(name.clone(), NodeState::empty(node));
        self.note(Undo::RemoveNode(name));
    }

    /// Gives a node another shape; what is on it stays.
    pub fn set_shape(&mut self, name: &NodeName, shape: Arc<NodeShape>) {
        if let Some(state) = self.nodes.get_mut(name) {
            let before = std::mem::replace(&mut state.node.shape, shape);
            self.note(Undo::SetShape(name.clone(), before));
        }
    }

    /// Removes a node and what is on it.
    pub fn remove_node(&mut self, name: &NodeName) {
        if let Some(state) = self.nodes.remove(name) {
            self.note(Undo::RestoreNode(Box::new(state)));
        }
    }

    fn note(&mut self, undo: Undo) {
        if !self.marks.is_empty() {
            self.undo.push(undo);
        }
    }

    fn put(&mut self, node: &NodeName, class: &Arc<SchedulingClass>) -> bool {
        let Some(state) = self.nodes.get_mut(node) else {
            return false;
        };
        *state.classes.entry(Arc::clone(class)).or_default() += 1;
        state.resum(|sum| sum.add(&class.requests));
        true
    }

    fn take(&mut self, node: &NodeName, class: &Arc<SchedulingClass>) -> bool {
        let Some(state) = self.nodes.get_mut(node) else {
            return false;
        };
        let Some(count) = state.classes.get_mut(class) else {
            return false;
        };
        *count -= 1;
        if *count == 0 {
            state.classes.remove(class);
        }
        state.resum(|sum| sum.sub(&class.requests));
        true
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn node(index: usize) -> Node {
        Node {
            name: NodeName::new(format!("n{index}")),
            uid: None,
            shape: Arc::new(NodeShape::default()),
            ready: true,
            created_at: None,
            defect: None,
        }
    }

    /// Ordinary classes, one with an extended resource and one that asks for everything there is.
    fn class(index: i64) -> Arc<SchedulingClass> {
        let mut requests = Resources {
            cpu_milli: 100 * (index + 1),
            pods: 1,
            ..Resources::default()
        };
        match index {
            2 => {
                requests.extended.insert("example.com/gpu".into(), 1);
            }
            3 => requests.memory = i64::MAX,
            _ => {}
        }
        Arc::new(SchedulingClass {
            requests,
            ..SchedulingClass::default()
        })
    }

    #[derive(Clone, Debug)]
    enum Change {
        Place(usize, i64),
        Displace(usize, i64),
        Add(usize),
        Remove(usize),
        Reshape(usize, i64),
        Fork,
        Commit,
        Revert,
    }

    fn change() -> impl Strategy<Value = Change> {
        prop_oneof![
            4 => (0..6_usize, 0..4_i64).prop_map(|(n, c)| Change::Place(n, c)),
            2 => (0..6_usize, 0..4_i64).prop_map(|(n, c)| Change::Displace(n, c)),
            1 => (0..6_usize).prop_map(Change::Add),
            1 => (0..6_usize).prop_map(Change::Remove),
            1 => (0..6_usize, 0..4_i64).prop_map(|(n, c)| Change::Reshape(n, c)),
            1 => Just(Change::Fork),
            1 => Just(Change::Commit),
            1 => Just(Change::Revert),
        ]
    }

    /// A change that sets and takes no mark.
    fn plain() -> impl Strategy<Value = Change> {
        change().prop_filter("marks stay", |c| {
            !matches!(c, Change::Fork | Change::Commit | Change::Revert)
        })
    }

    fn apply(snapshot: &mut ClusterSnapshot, change: &Change) {
        let name = |index: &usize| NodeName::new(format!("n{index}"));
        match change {
            Change::Place(n, c) => snapshot.place(&name(n), &class(*c)),
            Change::Displace(n, c) => snapshot.displace(&name(n), &class(*c)),
            Change::Add(n) => snapshot.add_node(node(*n)),
            Change::Remove(n) => snapshot.remove_node(&name(n)),
            Change::Reshape(n, c) => {
                let allocatable = class(*c).requests.clone();
                let shape = NodeShape {
                    allocatable,
                    ..NodeShape::default()
                };
                snapshot.set_shape(&name(n), Arc::new(shape));
            }
            Change::Fork => snapshot.fork(),
            Change::Commit => snapshot.commit(),
            Change::Revert => snapshot.revert(),
        }
    }

    proptest! {
        #[test]
        fn forking_changing_and_reverting_is_the_identity(
            before in prop::collection::vec(change(), 0..30),
            tentative in prop::collection::vec(plain(), 0..30),
        ) {
            let mut snapshot = ClusterSnapshot::new((0..3).map(node), [], Vec::new());
            for change in &before {
                apply(&mut snapshot, change);
            }
            let expected = snapshot.nodes.clone();
            snapshot.fork();
            for change in &tentative {
                apply(&mut snapshot, change);
            }
            snapshot.revert();
            prop_assert_eq!(snapshot.nodes, expected);
        }

        #[test]
        fn a_committed_inner_change_is_still_taken_back_by_the_outer_revert(
            outer in prop::collection::vec(plain(), 0..10),
            inner in prop::collection::vec(plain(), 0..10),
        ) {
            let mut snapshot = ClusterSnapshot::new((0..3).map(node), [], Vec::new());
            let expected = snapshot.nodes.clone();
            snapshot.fork();
            for change in &outer {
                apply(&mut snapshot, change);
            }
            snapshot.fork();
            for change in &inner {
                apply(&mut snapshot, change);
            }
            let changed = snapshot.nodes.clone();
            snapshot.commit();
            prop_assert_eq!(&snapshot.nodes, &changed);
            snapshot.revert();
            prop_assert_eq!(snapshot.nodes, expected);
        }

        #[test]
        fn sums_equal_a_recount(changes in prop::collection::vec(change(), 0..60)) {
            let mut snapshot = ClusterSnapshot::new((0..3).map(node), [], Vec::new());
            for change in &changes {
                apply(&mut snapshot, change);
            }
            for state in snapshot.nodes() {
                let recount = Resources::sum(
                    state.classes.iter().map(|(class, count)| (&class.requests, *count)),
                );
                prop_assert_eq!(&state.requested, &recount);
            }
        }
    }

    #[test]
    fn what_happens_to_a_node_that_is_not_there_is_no_change() {
        let mut snapshot = ClusterSnapshot::new([node(0)], [], Vec::new());
        let before = snapshot.nodes.clone();
        snapshot.place(&NodeName::new("ghost"), &class(0));
        snapshot.displace(&NodeName::new("n0"), &class(0));
        snapshot.remove_node(&NodeName::new("ghost"));
        snapshot.revert();
        assert_eq!(snapshot.nodes, before);
    }

    #[test]
    fn a_node_that_is_replaced_and_reverted_has_its_pods_again() {
        let mut snapshot =
            ClusterSnapshot::new([node(0)], [(NodeName::new("n0"), class(1))], Vec::new());
        snapshot.fork();
        snapshot.add_node(node(0));
        assert_eq!(
            snapshot.node(&NodeName::new("n0")).unwrap().requested.pods,
            0
        );
        snapshot.revert();
        let state = snapshot.node(&NodeName::new("n0")).unwrap();
        assert_eq!((state.requested.pods, state.requested.cpu_milli), (1, 200));
    }
}
