//! What the plan stands on: the cluster compiled for the scheduler's filters, every place a pod can
//! go to, and what was placed so far. All of it can be tried and taken back.
//!
//! Places come in the order they are used: nodes that are there, machines on their way and those
//! bought for a minimum, the smallest first, then those that are bought.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
    sync::Arc,
};

use model::{
    HourlyPrice, Node, NodeName, Pod, PodKey, PodRole, PodState, Resources, SchedulingClass,
};
use scheduling::{ClassId, NodeId, Obstacle, Snapshot, TopologyKey};

use super::{
    Cause, Choice, Group, InFlight, Input,
    by_rules::Waiting,
    kinds::{Kind, asks_for_a_kind, is_usable},
    lane::Parts,
    queue::Queue,
    template::{NODE_GROUP, NODE_GROUP_NAMESPACE, OFFERING, template},
};

/// A place for pods.
#[derive(Clone)]
pub(super) struct Spot {
    /// Its node.
    pub(super) node: NodeId,
    /// What it is.
    pub(super) of: Of,
    /// The pods it was bought for: queues, and how many of each.
    pub(super) promised: Vec<(usize, u32)>,
}

/// What a place is.
#[derive(Clone)]
pub(super) enum Of {
    /// A node that is there.
    Existing,
    /// A machine on its way: its VPSieNode, and what it costs.
    InFlight(String, Option<HourlyPrice>),
    /// A machine that is bought.
    Bought {
        /// Its kind.
        kind: usize,
        /// Why.
        cause: Cause,
    },
    /// A machine that is bought, and may still become one of another kind of its group.
    Open(Open),
}

/// A machine whose kind is not settled. Its node in the engine has all the room there can be: what
/// its kind has is looked after here.
#[derive(Clone)]
pub(super) struct Open {
    /// The cheapest kind that holds what is on it.
    pub(super) kind: usize,
    /// The kind whose labels its node in the engine has.
    opened_as: usize,
    /// What pods ask for that were placed on it.
    pub(super) load: Resources,
    /// Queues with pods on it that ask for certain kinds.
    pub(super) queues: Vec<usize>,
}

/// Equal pods that were placed.
#[derive(Clone, Copy)]
pub(super) struct Placed {
    /// Index into the queues.
    pub(super) queue: usize,
    /// Index into the spots.
    pub(super) spot: usize,
    /// So many.
    pub(super) count: u32,
}

/// What a try began with.
struct Mark {
    spots: Vec<Spot>,
    placed: usize,
    named: u32,
}

/// A label that each node has for itself.
pub(super) const HOSTNAME: &str = "kubernetes.io/hostname";

/// Room for anything.
const ENDLESS: i64 = i64::MAX / 4;

pub(super) struct Ground<'a> {
    pub(super) input: &'a Input,
    pub(super) kinds: &'a [Kind],
    pub(super) engine: Snapshot,
    pub(super) spots: Vec<Spot>,
    pub(super) placed: Vec<Placed>,
    /// How many queues there are.
    pub(super) queues: usize,
    /// Spots by the domains of the labels that lanes asked for.
    parts: BTreeMap<Vec<TopologyKey>, Parts>,
    daemons: Vec<ClassId>,
    outposts: Vec<NodeId>,
    /// By kind, as it is while it is open.
    endless: BTreeMap<usize, Node>,
    named: u32,
    opened_from: usize,
    marks: Vec<Mark>,
}

impl<'a> Ground<'a> {
    /// `kinds` are all that can be bought.
    pub(super) fn new(input: &'a Input, kinds: &'a [Kind], queues: &[Queue]) -> Self {
        let mut engine = Snapshot::of(&input.cluster);
        let daemons = engine.classes(&input.daemon_sets);
        let waiting = engine.classes(queues.iter().map(|queue| &queue.class));
        engine.weigh(waiting);
        let mut ground = Self {
            input,
            kinds,
            engine,
            spots: Vec::new(),
            placed: Vec::new(),
            queues: queues.len(),
            parts: BTreeMap::new(),
            daemons,
            outposts: Vec::new(),
            endless: BTreeMap::new(),
            named: 0,
            opened_from: 0,
            marks: Vec::new(),
        };
        ground.add_existing();
        ground.add_in_flight(queues);
        ground.keep_for_nominated();
        ground
    }

    /// Nodes that are there. A joined node of a machine that does not serve yet is planned with
    /// as its template: its taints and readiness are about to change.
    fn add_existing(&mut self) {
        let joining: Vec<&NodeName> = self
            .input
            .groups
            .iter()
            .flat_map(|group| group.in_flight.iter().filter_map(|m| m.node.as_ref()))
            .collect();
        for node in self.input.cluster.nodes.values() {
            if is_usable(self.input, node)
                && !joining.contains(&&node.name)
                && let Some(id) = self.engine.node(&node.name)
            {
                self.spots.push(Spot {
                    node: id,
                    of: Of::Existing,
                    promised: Vec::new(),
                });
            }
        }
    }

    fn add_in_flight(&mut self, queues: &[Queue]) {
        let mut queue_of: BTreeMap<&PodKey, usize> = BTreeMap::new();
        for (index, queue) in queues.iter().enumerate() {
            queue_of.extend(queue.pods.iter().map(|pod| (pod, index)));
        }
        let input = self.input;
        let mut templates: BTreeMap<(usize, &str), Node> = BTreeMap::new();
        for (index, group) in input.groups.iter().enumerate() {
            for machine in group.in_flight.iter().filter(|_| !group.deleting) {
                let Some(choice) = shape_of(input, group, machine) else {
                    continue;
                };
                let offering = choice.offering.id.as_str();
                let joined = machine.node.as_ref().filter(|name| {
                    let there = self.engine.node(name);
                    there.is_some()
                });
                let node = if let Some(name) = joined {
                    let node = template(group, choice, &input.limits.reserve, name.as_str());
                    self.turn_into(name, &node)
                } else {
                    let origin = templates.entry((index, offering)).or_insert_with(|| {
                        let name = format!("new/{}/{offering}", group.key);
                        template(group, choice, &input.limits.reserve, &name)
                    });
                    // What its node is going to be called is not known yet.
                    let name = format!("{}/{}", group.key, machine.machine);
                    add(&mut self.engine, origin, NodeName::new(name))
                };
                self.add_daemons(node, joined);
                self.spots.push(Spot {
                    node,
                    of: Of::InFlight(machine.machine.clone(), choice.offering.price),
                    promised: promised(machine, &queue_of),
                });
            }
        }
    }

    /// Puts machines that are to come into the order in which they are used: the same for one that
    /// is on its way and one that is bought now, so that a later plan uses them alike.
    pub(super) fn order_coming(&mut self, largest_first: bool) {
        let first = self
            .spots
            .iter()
            .position(|spot| !matches!(spot.of, Of::Existing))
            .unwrap_or(self.spots.len());
        self.parts.clear();
        let engine = &self.engine;
        self.spots[first..].sort_by_cached_key(|spot| {
            let free = engine.free(spot.node);
            let label = |key: &str| engine.label(spot.node, key).map(str::to_owned);
            let sign = if largest_first { -1 } else { 1 };
            (
                (sign * free.cpu_milli, sign * free.memory),
                label(NODE_GROUP_NAMESPACE),
                label(NODE_GROUP),
                label(OFFERING),
                engine.name(spot.node).cloned(),
            )
        });
    }

    /// The node becomes like its template, with what is bound to it.
    fn turn_into(&mut self, name: &NodeName, template: &Node) -> NodeId {
        match self.engine.node(name) {
            Some(node) => {
                self.engine.set_shape(node, Arc::clone(&template.shape));
                node
            }
            None => self.engine.add_node(template.clone()),
        }
    }

    /// The pods of DaemonSets that run on a node to come; those that are there already are known by
    /// their labels.
    fn add_daemons(&mut self, node: NodeId, joined: Option<&NodeName>) {
        let mut there: Vec<&Arc<Pod>> = match joined {
            Some(name) => {
                let bound = self.input.cluster.bound.iter();
                bound
                    .filter(|pod| pod.role == PodRole::DaemonSet && pod.node() == Some(name))
                    .collect()
            }
            None => Vec::new(),
        };
        for (class, &daemon) in self.input.daemon_sets.iter().zip(&self.daemons) {
            if let Some(found) = there.iter().position(|pod| is_of(&pod.class, class)) {
                there.remove(found);
            } else if self.engine.admits(daemon, node) {
                self.engine.place(node, daemon, false);
            }
        }
    }

    /// What the scheduler makes room for is taken, as it is for the scheduler itself.
    fn keep_for_nominated(&mut self) {
        for pod in &self.input.cluster.waiting {
            if let Some(node) = pod.nominated.as_ref().and_then(|n| self.engine.node(n))
                && pod.terminating.is_none()
                && matches!(pod.state, PodState::Unschedulable(_) | PodState::Waiting)
            {
                let class = self.engine.class(&pod.class);
                self.engine.place(node, class, false);
            }
        }
    }

    fn new_name(&mut self, kind: usize) -> NodeName {
        self.named += 1;
        // No node and no label's value can be called so: nobody can ask for it by name.
        NodeName::new(format!("{}/{}", self.kinds[kind].node.name, self.named))
    }

    /// Buys a machine of this kind; the spot's index.
    pub(super) fn buy(&mut self, kind: usize, cause: Cause) -> usize {
        let name = self.new_name(kind);
        let node = add(&mut self.engine, &self.kinds[kind].node, name);
        self.add_daemons(node, None);
        self.spots.push(Spot {
            node,
            of: Of::Bought { kind, cause },
            promised: Vec::new(),
        });
        self.spots.len() - 1
    }

    /// Buys a machine that is of this kind for the time being; the spot's index.
    pub(super) fn open(&mut self, kind: usize) -> usize {
        let name = self.new_name(kind);
        let of_kind = &self.kinds[kind].node;
        let origin = self
            .endless
            .entry(kind)
            .or_insert_with(|| without_end(of_kind, self.kinds));
        let node = add(&mut self.engine, origin, name);
        self.add_daemons(node, None);
        self.spots.push(Spot {
            node,
            of: Of::Open(Open {
                kind,
                opened_as: kind,
                load: Resources::default(),
                queues: Vec::new(),
            }),
            promised: Vec::new(),
        });
        self.spots.len() - 1
    }

    /// Counts the domains that these kinds' groups could have as if they had a node already, which
    /// takes no pod: who is spread over zones is spread over those that can be bought in, too.
    pub(super) fn add_outposts(&mut self, buyable: &[usize]) {
        let mut groups = BTreeSet::new();
        for &kind in buyable {
            let of = &self.kinds[kind];
            if groups.insert(of.group) {
                let mut shape = model::NodeShape::clone(&of.node.shape);
                // Only as a place among others: as a node it would be the emptiest for ever.
                shape.labels.remove(HOSTNAME);
                shape.allocatable = Resources::default();
                let node = self.engine.add_node(Node {
                    name: NodeName::new(format!("outpost/{}", of.node.name)),
                    shape: Arc::new(shape),
                    ..of.node.clone()
                });
                self.outposts.push(node);
            }
        }
    }

    /// Takes back [`Ground::add_outposts`].
    pub(super) fn remove_outposts(&mut self) {
        for node in self.outposts.drain(..) {
            self.engine.remove_node(node);
        }
    }

    /// Settles what an open machine is.
    pub(super) fn settle(&mut self, spot: usize, kind: usize) {
        let Spot {
            node,
            of: Of::Open(open),
            ..
        } = &self.spots[spot]
        else {
            return;
        };
        let (node, opened_as) = (*node, open.opened_as);
        self.engine.set_origin(node, &self.kinds[kind].node);
        if self.kinds[opened_as].requested != self.kinds[kind].requested {
            for &daemon in &self.daemons {
                self.engine.displace(node, daemon, false);
            }
            self.add_daemons(node, None);
        }
        self.spots[spot].of = Of::Bought {
            kind,
            cause: Cause::PendingPods,
        };
    }

    /// What stands in the way of one more pod of a class.
    pub(super) fn obstacle(
        &self,
        class: ClassId,
        source: &SchedulingClass,
        spot: usize,
    ) -> Option<Obstacle> {
        let Spot { node, of, .. } = &self.spots[spot];
        match of {
            Of::Open(open) if self.room(open, source, 1) == 0 => Some(Obstacle::Node),
            _ => self.engine.obstacle(class, *node),
        }
    }

    /// How many pods of a class, at most `most`, go there one after the other.
    pub(super) fn how_many(
        &self,
        class: ClassId,
        source: &SchedulingClass,
        spot: usize,
        most: u32,
    ) -> u32 {
        let Spot { node, of, .. } = &self.spots[spot];
        let most = match of {
            Of::Open(open) => self.room(open, source, most),
            _ => most,
        };
        self.engine.how_many(class, *node, most)
    }

    /// What would stay free there beside one pod more, in millionths; only machines that are bought
    /// for these pods are told apart by it.
    pub(super) fn left_over(&self, source: &SchedulingClass, spot: usize) -> i64 {
        match &self.spots[spot].of {
            Of::Open(open) => self.kinds[open.kind].left_over(&open.load, source),
            _ => 0,
        }
    }

    fn room(&self, open: &Open, source: &SchedulingClass, most: u32) -> u32 {
        self.kinds[open.kind].takes(&open.load, source, most)
    }

    /// Machines that are bought from now on are those of this try.
    pub(super) fn begin_opening(&mut self) {
        self.opened_from = self.spots.len();
    }

    /// The spots of the machines that were bought in this try.
    pub(super) fn opened(&self) -> Range<usize> {
        self.opened_from..self.spots.len()
    }

    /// Places pods of a queue.
    pub(super) fn place(
        &mut self,
        (queue, class): (usize, ClassId),
        source: &SchedulingClass,
        spot: usize,
        count: u32,
    ) {
        let Spot { node, of, .. } = &mut self.spots[spot];
        if let Of::Open(open) = of {
            open.load.add(&Resources::sum([(&source.requests, count)]));
            if asks_for_a_kind(source) && !open.queues.contains(&queue) {
                open.queues.push(queue);
            }
        }
        self.engine.place_many(*node, class, false, count);
        self.placed.push(Placed { queue, spot, count });
    }

    /// What `look` says of a machine of this kind, were it opened.
    pub(super) fn if_open<T>(
        &mut self,
        kind: usize,
        look: impl FnOnce(&Snapshot, NodeId) -> T,
    ) -> T {
        self.engine.fork();
        let spot = self.open(kind);
        let answer = look(&self.engine, self.spots[spot].node);
        self.engine.revert();
        self.spots.truncate(spot);
        self.named -= 1;
        answer
    }

    /// Whether a machine of this kind, were it bought, would take a pod.
    pub(super) fn would_take(&mut self, kind: usize, class: ClassId) -> bool {
        self.engine.fork();
        let spot = self.buy(kind, Cause::PendingPods);
        let fits = self.engine.fits(class, self.spots[spot].node);
        self.engine.revert();
        self.spots.truncate(spot);
        self.named -= 1;
        fits
    }

    /// Keeps spots apart by the domains of these labels.
    pub(super) fn follow(&mut self, keys: &[TopologyKey]) {
        if !self.parts.contains_key(keys) {
            self.parts.insert(keys.to_vec(), Parts::default());
        }
        if let Some(parts) = self.parts.get_mut(keys) {
            parts.follow(&self.engine, keys, &self.spots);
        }
    }

    /// The spots by the domains of these labels, as they were followed.
    pub(super) fn parts(&self, keys: &[TopologyKey]) -> &[Vec<usize>] {
        self.parts.get(keys).map_or(&[], Parts::spots)
    }

    /// Begins something that may be taken back.
    pub(super) fn fork(&mut self) {
        self.engine.fork();
        self.marks.push(Mark {
            spots: self.spots.clone(),
            placed: self.placed.len(),
            named: self.named,
        });
    }

    /// Takes back what was done since the last [`Ground::fork`].
    pub(super) fn revert(&mut self) {
        self.engine.revert();
        if let Some(mark) = self.marks.pop() {
            self.spots = mark.spots;
            self.placed.truncate(mark.placed);
            self.named = mark.named;
        }
        self.outposts.clear();
        self.parts.clear();
    }

    /// The pods that were on each spot before any were placed.
    pub(super) fn pods_before(&self, all: &[Waiting]) -> Vec<Vec<Arc<SchedulingClass>>> {
        let mut placed: BTreeMap<(usize, ClassId), u32> = BTreeMap::new();
        for one in &self.placed {
            *placed.entry((one.spot, all[one.queue].class)).or_default() += one.count;
        }
        let before = self.spots.iter().enumerate().map(|(index, spot)| {
            let mut before = Vec::new();
            if !matches!(spot.of, Of::Existing) {
                for pods in self.engine.pods(spot.node) {
                    let placed = placed
                        .get(&(index, pods.class))
                        .filter(|_| !pods.terminating);
                    let count = pods.count.saturating_sub(placed.copied().unwrap_or(0));
                    let source = self.engine.source(pods.class).into_iter();
                    before.extend(source.cycle().take(count as usize).map(Arc::clone));
                }
            }
            before
        });
        before.collect()
    }
}

/// A node to come like `origin`. Its name is its hostname, unless the group's labels say otherwise.
fn add(engine: &mut Snapshot, origin: &Node, name: NodeName) -> NodeId {
    let hostname = origin.shape.labels.get(HOSTNAME).map(AsRef::as_ref);
    if hostname == Some(origin.name.as_str()) {
        return engine.add_copy(origin, name);
    }
    engine.add_node(Node {
        name,
        ..origin.clone()
    })
}

/// Those of the pods a machine was bought for that still wait.
fn promised(machine: &InFlight, queue_of: &BTreeMap<&PodKey, usize>) -> Vec<(usize, u32)> {
    let mut promised: BTreeMap<usize, u32> = BTreeMap::new();
    for queue in machine.pods.iter().filter_map(|pod| queue_of.get(pod)) {
        *promised.entry(*queue).or_default() += 1;
    }
    promised.into_iter().collect()
}

/// Whether a pod of a DaemonSet is one of this template: its labels say so, with more of its own.
fn is_of(pod: &SchedulingClass, template: &SchedulingClass) -> bool {
    pod.namespace == template.namespace
        && template
            .labels
            .iter()
            .all(|(key, value)| pod.labels.get(key) == Some(value))
}

/// A node like this one, with no end of every resource that some kind has.
fn without_end(node: &Node, kinds: &[Kind]) -> Node {
    let extended = kinds
        .iter()
        .flat_map(|kind| kind.node.shape.allocatable.extended.keys())
        .map(|name| (Arc::clone(name), ENDLESS))
        .collect();
    let mut shape = model::NodeShape::clone(&node.shape);
    shape.allocatable = Resources {
        cpu_milli: ENDLESS,
        memory: ENDLESS,
        ephemeral: ENDLESS,
        pods: ENDLESS,
        extended,
    };
    Node {
        shape: Arc::new(shape),
        ..node.clone()
    }
}

/// What a machine on its way is going to be like. An offering that its group lists no more may
/// still be listed by another; failing that it counts as the smallest its group has: too little
/// room is bought again later, but no room at all would be bought twice now.
fn shape_of<'a>(input: &'a Input, group: &'a Group, machine: &InFlight) -> Option<&'a Choice> {
    let same = |choice: &&Choice| choice.offering.id == machine.offering;
    group
        .choices
        .iter()
        .find(same)
        .or_else(|| {
            input
                .groups
                .iter()
                .filter(|other| other.datacenter == group.datacenter)
                .find_map(|other| other.choices.iter().find(same))
        })
        .or_else(|| {
            group
                .choices
                .iter()
                .min_by_key(|choice| (choice.offering.cpus, choice.offering.memory_mib))
        })
}
