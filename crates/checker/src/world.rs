//! Nodes, and what is on them.

use std::{collections::BTreeMap, sync::Arc};

use model::{Node, NodeName, Resources, SchedulingClass, Surroundings};

use crate::{Rule, between_pods, node, spread};

/// A node of one world.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Place(pub(crate) usize);

/// Pods are told apart by nothing but their class and whether they are ending.
pub(crate) type Kind = (usize, bool);

#[derive(Clone, Debug)]
pub(crate) struct Spot {
    pub(crate) node: Node,
    /// How many of each kind.
    pub(crate) pods: BTreeMap<Kind, u32>,
    /// What they ask for.
    pub(crate) requested: Resources,
}

/// A cluster that grows as a plan is carried out.
#[derive(Clone, Debug, Default)]
pub struct World {
    pub(crate) spots: Vec<Spot>,
    pub(crate) classes: Vec<Arc<SchedulingClass>>,
    pub(crate) surroundings: Arc<Surroundings>,
    numbers: BTreeMap<Arc<SchedulingClass>, usize>,
}

impl World {
    /// A world without nodes.
    #[must_use]
    pub fn new(surroundings: Arc<Surroundings>) -> Self {
        Self {
            surroundings,
            ..Self::default()
        }
    }

    /// Adds a node without pods.
    pub fn add(&mut self, node: Node) -> Place {
        self.spots.push(Spot {
            node,
            pods: BTreeMap::new(),
            requested: Resources::default(),
        });
        Place(self.spots.len() - 1)
    }

    /// The node of this name.
    #[must_use]
    pub fn find(&self, name: &NodeName) -> Option<Place> {
        let found = self.spots.iter().position(|spot| spot.node.name == *name);
        found.map(Place)
    }

    /// The name of the node.
    #[must_use]
    pub fn name(&self, place: Place) -> &str {
        self.spots[place.0].node.name.as_str()
    }

    /// Puts a pod onto a node, whatever that breaks.
    pub fn put(&mut self, class: &Arc<SchedulingClass>, place: Place, terminating: bool) {
        let number = self.number(class);
        let spot = &mut self.spots[place.0];
        *spot.pods.entry((number, terminating)).or_default() += 1;
        spot.requested.add(&class.requests);
    }

    fn number(&mut self, class: &Arc<SchedulingClass>) -> usize {
        if let Some(number) = self.numbers.get(class) {
            return *number;
        }
        let number = self.classes.len();
        self.classes.push(Arc::clone(class));
        self.numbers.insert(Arc::clone(class), number);
        number
    }

    /// The rules that a pod of `class` would break on the node, beside all pods that are there.
    #[must_use]
    pub fn broken(&self, class: &SchedulingClass, place: Place) -> Vec<Rule> {
        let spot = &self.spots[place.0];
        let mut rules: Vec<Rule> = node::broken(class, spot, &self.classes).collect();
        if !spread::holds(self, class, place) {
            rules.push(Rule::PodTopologySpread);
        }
        if !between_pods::holds(self, class, place) {
            rules.push(Rule::InterPodAffinity);
        }
        rules.sort_unstable_by_key(|rule| rule.name());
        rules
    }

    /// Every kind of pod with the node it is on and how many there are.
    pub(crate) fn pods(&self) -> impl Iterator<Item = (&Spot, &SchedulingClass, bool, u32)> {
        self.spots.iter().flat_map(move |spot| {
            let pods = spot.pods.iter();
            pods.map(move |((number, terminating), count)| {
                (spot, self.classes[*number].as_ref(), *terminating, *count)
            })
        })
    }
}
