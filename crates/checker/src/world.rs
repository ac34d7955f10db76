//! Nodes, and what is on them.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use model::{Node, NodeName, Resources, SchedulingClass, Surroundings};

use crate::{Rule, between_pods, node, spread, volumes};

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
    /// Of the pods that are there, by number.
    pub(crate) classes: Vec<Arc<SchedulingClass>>,
    pub(crate) surroundings: Arc<Surroundings>,
    /// Those with terms of anti-affinity.
    pub(crate) apart: Vec<usize>,
    /// By class: the spots where pods of it are.
    whereabouts: Vec<BTreeSet<usize>>,
    numbers: BTreeMap<Arc<SchedulingClass>, usize>,
    places: BTreeMap<NodeName, Place>,
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
        let place = Place(self.spots.len());
        self.places.entry(node.name.clone()).or_insert(place);
        self.spots.push(Spot {
            node,
            pods: BTreeMap::new(),
            requested: Resources::default(),
        });
        place
    }

    /// The node of this name; the first where there are several.
    #[must_use]
    pub fn find(&self, name: &NodeName) -> Option<Place> {
        self.places.get(name).copied()
    }

    /// The name of the node.
    #[must_use]
    pub fn name(&self, place: Place) -> &str {
        self.spots[place.0].node.name.as_str()
    }

    /// Puts a pod onto a node, whatever that breaks.
    pub fn put(&mut self, class: &Arc<SchedulingClass>, place: Place, terminating: bool) {
        let number = self.number(class);
        self.whereabouts[number].insert(place.0);
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
        self.whereabouts.push(BTreeSet::new());
        self.numbers.insert(Arc::clone(class), number);
        if !class.anti_affinity.is_empty() {
            self.apart.push(number);
        }
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
        rules.extend(volumes::broken(self, class, spot));
        rules.sort_unstable_by_key(|rule| rule.name());
        rules
    }

    /// The spots where pods of the class of this number are.
    pub(crate) fn spots_of(&self, number: usize) -> impl Iterator<Item = &Spot> {
        let spots = self.whereabouts[number].iter();
        spots.map(|index| &self.spots[*index])
    }
}
