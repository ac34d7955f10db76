//! The rules that look at other pods too, asked of `checker`: the world is built when a pod comes to
//! which one of them could matter, grows with each placement, and is built anew after anything else.

use std::{collections::BTreeMap, sync::Arc};

use checker::{Place, Rule, World};
use model::{Labels, Node, NodeName, SchedulingClass, Surroundings};

use super::{Placed, room::Room};

#[derive(Default)]
pub(super) struct Rules {
    surroundings: Arc<Surroundings>,
    /// How many of the placed pods want to be apart from others.
    repellers: usize,
    world: Option<World>,
}

impl Rules {
    /// A namespace has these labels now, or is gone; false: nothing changed.
    pub(super) fn namespace(&mut self, name: &str, labels: Option<Labels>) -> bool {
        if self.surroundings.namespaces.get(name) == labels.as_ref() {
            return false;
        }
        let namespaces = &mut Arc::make_mut(&mut self.surroundings).namespaces;
        match labels {
            Some(labels) => namespaces.insert(name.into(), labels),
            None => namespaces.remove(name),
        };
        self.outdated();
        true
    }

    /// Something changed that a world cannot follow.
    pub(super) fn outdated(&mut self) {
        self.world = None;
    }

    pub(super) fn put(&mut self, pod: &Placed) {
        self.repellers += usize::from(repels(pod));
        if let Some(world) = &mut self.world {
            put(world, pod);
        }
    }

    pub(super) fn taken_away(&mut self, pod: &Placed) {
        self.repellers -= usize::from(repels(pod));
        self.outdated();
    }

    /// No rule that looks at other pods can keep a pod of this class from anywhere.
    fn are_idle(&self, class: &SchedulingClass) -> bool {
        self.repellers == 0
            && !looks_at_others(class)
            && class.anti_affinity.is_empty()
            && class.host_ports.is_empty()
            && class.features.is_empty()
    }

    /// To be called before [`Self::broken`] is asked about pods of this class.
    pub(super) fn prepare<'a>(
        &mut self,
        class: &SchedulingClass,
        rooms: &BTreeMap<String, Room>,
        placed: impl Iterator<Item = &'a Placed>,
    ) {
        if self.world.is_some() || self.are_idle(class) {
            return;
        }
        let mut world = World::new(Arc::clone(&self.surroundings));
        for room in rooms.values().filter(|room| room.exists) {
            world.add(Node {
                name: NodeName::new(&room.name),
                uid: None,
                shape: room.shape.clone().unwrap_or_default(),
                ready: true,
                created_at: None,
                defect: None,
            });
        }
        for pod in placed {
            put(&mut world, pod);
        }
        self.world = Some(world);
    }

    /// Why a pod of this class must not be on the node, beside all that are there.
    pub(super) fn broken(&self, class: &SchedulingClass, node: &str) -> Option<String> {
        if self.are_idle(class) {
            return None;
        }
        let world = self.world.as_ref()?;
        let broken = world.broken(class, find(world, node)?);
        // kube-scheduler names the first in the order of its plugins.
        let turn = |rule: &Rule| Rule::ALL.iter().position(|one| one == rule);
        broken.into_iter().min_by_key(turn).map(words)
    }
}

/// Whether the rules of pods of this class can hold on a node for the first time because a pod was
/// placed somewhere, or is ending.
pub(super) fn looks_at_others(class: &SchedulingClass) -> bool {
    !class.affinity.is_empty() || !class.spread.is_empty()
}

fn repels(pod: &Placed) -> bool {
    !pod.class.anti_affinity.is_empty()
}

fn find(world: &World, node: &str) -> Option<Place> {
    world.find(&NodeName::new(node))
}

/// What is on a node that is not there is nowhere.
fn put(world: &mut World, pod: &Placed) {
    if let Some(place) = find(world, &pod.node) {
        world.put(&pod.class, place, pod.ending);
    }
}

/// kube-scheduler's words, where it has some for the rule as a whole.
fn words(rule: Rule) -> String {
    match rule {
        Rule::NodePorts => "node(s) didn't have free ports for the requested pod ports".to_owned(),
        Rule::PodTopologySpread => {
            "node(s) didn't match pod topology spread constraints".to_owned()
        }
        Rule::InterPodAffinity => {
            "node(s) didn't match pod affinity/anti-affinity rules".to_owned()
        }
        other => format!("node(s) didn't pass {}", other.name()),
    }
}
