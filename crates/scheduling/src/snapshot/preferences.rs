//! What pods would rather have: how much of it a node would give them.
//!
//! A preference is met or it is not, and counts with its weight; a spread constraint that may be
//! broken counts as the heaviest. Nothing here forbids anything. Only classes that are asked for
//! are compiled: most running pods prefer something, and nobody asks about them.

use std::sync::Arc;

use model::{NodeSelectorTerm, SchedulingClass};

use super::{ClassId, NodeId, Snapshot};
use crate::{
    class::Spread,
    filters::pod_topology_spread,
    topology::{Side, counters::CounterId, keys::KeyId},
};

/// The weight of a constraint that is better kept; that of terms is 1 to 100.
const OF_CONSTRAINT: u32 = 100;

/// The preferences of a class, compiled.
#[derive(Clone, Debug)]
pub(crate) struct Weighed {
    nodes: Vec<(u32, NodeSelectorTerm)>,
    near: Vec<Term>,
    apart: Vec<Term>,
    spread: Vec<Spread>,
}

#[derive(Clone, Copy, Debug)]
struct Term {
    weight: u32,
    counter: CounterId,
    matches_itself: bool,
}

impl Snapshot {
    /// Makes ready to answer for the preferences of these classes; what is placed is counted once
    /// for all of them.
    pub fn weigh(&mut self, classes: impl IntoIterator<Item = ClassId>) {
        let (counters, groups) = (self.topology.counters.len(), self.topology.groups.len());
        for class in classes {
            let Some(class_of) = self.classes.get(class.index()) else {
                continue;
            };
            let source = Arc::clone(&class_of.source);
            if class_of.weighed.is_none() && !source.preferences.is_empty() {
                let weighed = self.compile_preferences(class, &source);
                self.classes[class.index()].weighed = Some(Box::new(weighed));
            }
        }
        self.count_anew(counters, groups);
    }

    /// The weights of all that pods of the class prefer; nothing before [`Snapshot::weigh`].
    #[must_use]
    pub fn preferred(&self, class: ClassId) -> u32 {
        let Some(weighed) = self.weighed(class) else {
            return 0;
        };
        let terms = weighed.near.iter().chain(&weighed.apart);
        let constraints = u32::try_from(weighed.spread.len()).unwrap_or(u32::MAX);
        let nodes = weighed.nodes.iter().map(|(weight, _)| *weight);
        nodes.chain(terms.map(|term| term.weight)).fold(
            constraints.saturating_mul(OF_CONSTRAINT),
            u32::saturating_add,
        )
    }

    /// The weights of what a pod of the class would find met on the node: one that is to come, or
    /// one that is there already.
    #[must_use]
    pub fn preference(&self, class: ClassId, node: NodeId, is_there: bool) -> u32 {
        let (Some(weighed), Some(detail)) = (self.weighed(class), self.detail(node)) else {
            return 0;
        };
        let view = detail.view();
        let nodes = weighed
            .nodes
            .iter()
            .filter(|(_, term)| term.matches_by(view.name, |key| view.label(key)))
            .map(|(weight, _)| *weight);
        let others = |term: &&Term| {
            let (keys, counters) = (&self.topology.keys, &self.topology.counters);
            let pods = counters.at(keys, term.counter, node.index());
            pods > u32::from(is_there && term.matches_itself)
        };
        let near = weighed.near.iter().filter(others);
        let apart = weighed.apart.iter().filter(|term| !others(term));
        let spread = weighed
            .spread
            .iter()
            .filter(|spread| pod_topology_spread::is_kept(self, spread, node.index(), is_there));
        nodes
            .chain(near.chain(apart).map(|term| term.weight))
            .chain(spread.map(|_| OF_CONSTRAINT))
            .fold(0, u32::saturating_add)
    }

    fn weighed(&self, class: ClassId) -> Option<&Weighed> {
        self.classes.get(class.index())?.weighed.as_deref()
    }

    fn compile_preferences(&mut self, class: ClassId, source: &SchedulingClass) -> Weighed {
        let preferences = &source.preferences;
        let identity = self.classes[class.index()].identity;
        let weight = |weight: i32| u32::try_from(weight).unwrap_or(0);
        let mut terms = |terms: &[(i32, model::PodTerm)]| {
            let compiled = terms.iter().map(|(of, term)| {
                let matcher = self.matcher(term, Side::Incoming);
                let key = self.key(&term.topology_key);
                let own = self.topology.identities.get(identity);
                Term {
                    weight: weight(*of),
                    matches_itself: own.is_matched_by(matcher),
                    counter: self.topology.matching(vec![matcher], key),
                }
            });
            compiled.collect::<Vec<Term>>()
        };
        let (near, apart) = (terms(&preferences.near), terms(&preferences.apart));
        let mut spread = Vec::new();
        for constraint in &preferences.spread {
            // Each by itself: a node without the label of another one counts all the same.
            let keys: [KeyId; 1] = [self.key(&constraint.topology_key)];
            spread.push(self.constraint(source, constraint, &keys));
        }
        Weighed {
            nodes: preferences
                .nodes
                .iter()
                .map(|(of, term)| (weight(*of), term.clone()))
                .collect(),
            near,
            apart,
            spread,
        }
    }
}
