//! The compiled cluster: what kube-scheduler's filters need to know, as numbers, kept up to date
//! with every change, and changeable tentatively.
//!
//! `fork` marks a place in the undo log, `revert` undoes back to it: both cost what was changed in
//! between and nothing else, whatever the cluster's size. What is only looked up (interned strings,
//! compiled classes, domains) is never taken back; it changes no answer.

mod build;
mod classes;
mod digest;
mod nodes;
mod obstacles;
mod pods;
pub(crate) mod preferences;
mod undo;
mod verdicts;

use std::{cell::RefCell, collections::BTreeMap, sync::Arc};

use model::{Node, NodeName, Resources, SchedulingClass, Surroundings};

use crate::{
    amounts::Amounts,
    attachments::{Attachments, ClaimId, DriverId, HandleId, Mounted, NodeVolumes},
    class::Class,
    shapes::Shapes,
    topology::Topology,
    view::View,
    volumes::FreeVolumes,
};

pub use obstacles::{Obstacle, TopologyKey};
use undo::Undo;
use verdicts::Memo;

/// A node of one snapshot. The id of a node that was removed is given again.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct NodeId(pub u32);

impl NodeId {
    const fn index(self) -> usize {
        self.0 as usize
    }
}

/// A scheduling class of one snapshot.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ClassId(pub u32);

impl ClassId {
    const fn index(self) -> usize {
        self.0 as usize
    }
}

/// An extended resource.
pub(crate) type ResourceId = u32;

/// Equal pods to put onto a node when a snapshot is made.
#[derive(Clone, Debug)]
pub struct PlacedPods {
    /// Where. Pods on nodes that are not there do not exist, for no rule.
    pub node: NodeName,
    /// What they are like.
    pub class: Arc<SchedulingClass>,
    /// Their deletion was asked for: they count for everything but topology spread.
    pub terminating: bool,
    /// How many.
    pub count: u32,
}

/// Equal pods on a node.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PodsOnNode {
    /// What they are like.
    pub class: ClassId,
    /// Their deletion was asked for.
    pub terminating: bool,
    /// How many, at least 1.
    pub count: u32,
}

/// What is asked of a node again and again.
#[derive(Clone, Debug)]
struct Slot {
    free: Amounts,
    shape: u32,
    alive: bool,
    /// Never the same again after a change of what the node is.
    generation: u64,
}

/// The rest of a node.
#[derive(Clone, Debug)]
struct Detail {
    node: Node,
    /// Stands for the hostname label of a copy.
    hostname: Option<Arc<str>>,
    /// What is free of extended resources; those beyond the end are not there.
    extended: Vec<i64>,
    pods: Vec<PodsOnNode>,
    volumes: Option<Arc<NodeVolumes>>,
    mounted: Mounted,
}

impl Detail {
    fn view(&self) -> View<'_> {
        View {
            name: self.node.name.as_str(),
            shape: &self.node.shape,
            hostname: self.hostname.as_deref(),
        }
    }
}

/// Nodes and the pods placed on them.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    surroundings: Arc<Surroundings>,
    free_volumes: FreeVolumes,
    classes: Vec<Class>,
    class_ids: BTreeMap<Arc<SchedulingClass>, ClassId>,
    /// Classes by the address of the value they were compiled from, which they keep alive.
    class_addresses: BTreeMap<usize, ClassId>,
    resources: BTreeMap<Arc<str>, ResourceId>,
    topology: Topology,
    attachments: Attachments,
    shapes: Shapes,
    slots: Vec<Slot>,
    details: Vec<Option<Box<Detail>>>,
    by_name: BTreeMap<NodeName, NodeId>,
    vacant: Vec<NodeId>,
    generation: u64,
    undo: Vec<Undo>,
    marks: Vec<usize>,
    memo: RefCell<Memo>,
}

impl Snapshot {
    /// The node of this name.
    #[must_use]
    pub fn node(&self, name: &NodeName) -> Option<NodeId> {
        self.by_name.get(name).copied()
    }

    /// The nodes, by id: in the order they came, removed ones left out.
    pub fn nodes(&self) -> impl Iterator<Item = NodeId> + '_ {
        let slots = self.slots.iter().enumerate();
        slots
            .filter(|(_, slot)| slot.alive)
            .map(|(index, _)| NodeId(index as u32))
    }

    /// How many nodes there are.
    #[must_use]
    pub fn node_count(&self) -> usize {
        self.by_name.len()
    }

    /// The node's name; `None` where it was removed.
    #[must_use]
    pub fn name(&self, node: NodeId) -> Option<&NodeName> {
        self.detail(node).map(|detail| &detail.node.name)
    }

    /// The node as it was added; a copy has its origin's shape, hostname label included.
    #[must_use]
    pub fn origin(&self, node: NodeId) -> Option<&Node> {
        self.detail(node).map(|detail| &detail.node)
    }

    /// The node as it stands for itself: a copy with its own hostname label.
    #[must_use]
    pub fn as_node(&self, node: NodeId) -> Option<Node> {
        let detail = self.detail(node)?;
        let mut own = detail.node.clone();
        if let Some(hostname) = &detail.hostname {
            let labels = &mut Arc::make_mut(&mut own.shape).labels;
            labels.insert(Arc::from(crate::view::HOSTNAME), Arc::clone(hostname));
        }
        Some(own)
    }

    /// The value of a node's label.
    #[must_use]
    pub fn label(&self, node: NodeId, key: &str) -> Option<&str> {
        self.detail(node)?.view().label(key)
    }

    /// The pods on a node.
    #[must_use]
    pub fn pods(&self, node: NodeId) -> &[PodsOnNode] {
        self.detail(node).map_or(&[], |detail| &detail.pods)
    }

    /// What is left on a node; less than nothing where it is overcommitted.
    #[must_use]
    pub fn free(&self, node: NodeId) -> Resources {
        let Some(detail) = self.detail(node) else {
            return Resources::default();
        };
        let [pods, cpu_milli, memory, ephemeral] = self.slots[node.index()].free.0;
        let amount = |id: ResourceId| detail.extended.get(id as usize).copied().unwrap_or(0);
        Resources {
            cpu_milli,
            memory,
            ephemeral,
            pods,
            extended: self
                .resources
                .iter()
                .map(|(name, id)| (Arc::clone(name), amount(*id)))
                .filter(|(_, amount)| *amount != 0)
                .collect(),
        }
    }

    /// What a class was compiled from.
    #[must_use]
    pub fn source(&self, class: ClassId) -> Option<&Arc<SchedulingClass>> {
        self.classes.get(class.index()).map(|class| &class.source)
    }

    /// What rules refer to besides nodes and pods.
    #[must_use]
    pub fn surroundings(&self) -> &Arc<Surroundings> {
        &self.surroundings
    }

    fn detail(&self, node: NodeId) -> Option<&Detail> {
        self.details.get(node.index())?.as_deref()
    }

    pub(crate) fn topology(&self) -> &Topology {
        &self.topology
    }

    /// The classes of the pods on a node, each once or twice.
    pub(crate) fn classes_on(&self, node: usize) -> impl Iterator<Item = &Class> + '_ {
        self.pods(NodeId(node as u32))
            .iter()
            .map(|pods| &self.classes[pods.class.index()])
    }

    /// What a node takes of volumes and what is mounted there; `None` where nobody said what it
    /// takes.
    pub(crate) fn volumes_of(&self, node: usize) -> Option<(&NodeVolumes, &Mounted)> {
        let detail = self.detail(NodeId(node as u32))?;
        Some((detail.volumes.as_deref()?, &detail.mounted))
    }

    pub(crate) fn users(&self, claim: ClaimId) -> u32 {
        self.attachments.users(claim)
    }

    pub(crate) fn driver(&self, handle: HandleId) -> DriverId {
        self.attachments.driver(handle)
    }

    pub(crate) fn driver_name(&self, driver: DriverId) -> &Arc<str> {
        self.attachments.driver_name(driver)
    }
}
