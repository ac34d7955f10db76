//! Territories: the nodes that count for a topology spread constraint, and the domains they make up.
//!
//! Which nodes count depends on the pod's topology keys and, by the constraint's policies, on its
//! node affinity and tolerations, but not on which pods are counted: a handful of territories serve
//! the constraints of a whole cluster.

use std::{collections::BTreeMap, sync::Arc};

use model::{NodeSelectorTerm, Requirement, Toleration};

use super::keys::{Domain, KeyId, Keys};
use crate::{
    filters::{node_affinity, taint_toleration},
    view::View,
};

/// A territory.
pub(crate) type TerritoryId = u32;

/// What makes the same nodes count.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Rule {
    /// The constraint's own key.
    pub(crate) key: KeyId,
    /// Of all constraints of the pod, ascending: nodes that lack one do not count for any.
    pub(crate) keys: Vec<KeyId>,
    /// Node selector and required affinity, where they are honoured.
    pub(crate) affinity: Option<(Vec<Requirement>, Option<Vec<NodeSelectorTerm>>)>,
    /// Tolerations, where taints are honoured.
    pub(crate) tolerations: Option<Vec<Toleration>>,
    /// Names of nodes play a part: equal shapes need not be equal here.
    pub(crate) named: bool,
}

impl Rule {
    fn admits(&self, view: View<'_>) -> bool {
        let affine = self.affinity.as_ref().is_none_or(|(selector, terms)| {
            node_affinity::matches(selector, terms.as_deref(), view)
        });
        affine
            && self.tolerations.as_ref().is_none_or(|tolerations| {
                taint_toleration::untolerated(tolerations, view).is_none()
            })
    }
}

/// A territory, as it is.
#[derive(Clone, Debug)]
pub(crate) struct Territory {
    rule: Arc<Rule>,
    /// By node: it counts.
    counts: Vec<bool>,
    /// By shape, where names play no part.
    admits_shape: Vec<Option<bool>>,
    /// By domain: nodes that count.
    nodes: Vec<u32>,
    /// Domains with such nodes.
    domains: u32,
}

impl Territory {
    /// Whether the node counts.
    pub(crate) fn counts(&self, node: usize) -> bool {
        self.counts.get(node).copied().unwrap_or(false)
    }

    pub(crate) const fn domains(&self) -> u32 {
        self.domains
    }

    pub(crate) fn key(&self) -> KeyId {
        self.rule.key
    }

    /// The node's domain, if it counts.
    pub(crate) fn domain(&self, keys: &Keys, node: usize) -> Option<Domain> {
        if self.counts(node) {
            keys.of(self.rule.key, node)
        } else {
            None
        }
    }

    fn admits(&mut self, shape: usize, view: View<'_>) -> bool {
        if self.rule.named {
            return self.rule.admits(view);
        }
        if let Some(known) = self.admits_shape.get(shape).copied().flatten() {
            return known;
        }
        let admits = self.rule.admits(view);
        if self.admits_shape.len() <= shape {
            self.admits_shape.resize(shape + 1, None);
        }
        self.admits_shape[shape] = Some(admits);
        admits
    }

    fn attach(&mut self, keys: &Keys, node: usize, shape: usize, view: View<'_>) {
        let mut wanted = self.rule.keys.iter();
        let has_keys = wanted.all(|&key| keys.of(key, node).is_some());
        let counts = has_keys && self.admits(shape, view);
        if self.counts.len() <= node {
            self.counts.resize(node + 1, false);
        }
        self.counts[node] = counts;
        if let Some(domain) = self.domain(keys, node) {
            let domain = domain as usize;
            if self.nodes.len() <= domain {
                self.nodes.resize(domain + 1, 0);
            }
            self.nodes[domain] += 1;
            self.domains += u32::from(self.nodes[domain] == 1);
        }
    }

    fn detach(&mut self, keys: &Keys, node: usize) {
        if let Some(domain) = self.domain(keys, node) {
            self.counts[node] = false;
            self.nodes[domain as usize] -= 1;
            self.domains -= u32::from(self.nodes[domain as usize] == 0);
        }
    }
}

/// All territories.
#[derive(Clone, Debug, Default)]
pub(crate) struct Territories {
    by_rule: BTreeMap<Arc<Rule>, TerritoryId>,
    all: Vec<Territory>,
}

impl Territories {
    /// The territory's id; true where it is new and its nodes are not known yet.
    pub(crate) fn intern(&mut self, rule: Rule) -> (TerritoryId, bool) {
        if let Some(&id) = self.by_rule.get(&rule) {
            return (id, false);
        }
        let id = self.all.len() as TerritoryId;
        let rule = Arc::new(rule);
        self.all.push(Territory {
            rule: Arc::clone(&rule),
            counts: Vec::new(),
            admits_shape: Vec::new(),
            nodes: Vec::new(),
            domains: 0,
        });
        self.by_rule.insert(rule, id);
        (id, true)
    }

    pub(crate) fn get(&self, id: TerritoryId) -> &Territory {
        &self.all[id as usize]
    }

    pub(crate) fn attach(&mut self, keys: &Keys, node: usize, shape: usize, view: View<'_>) {
        for territory in &mut self.all {
            territory.attach(keys, node, shape, view);
        }
    }

    pub(crate) fn attach_to(
        &mut self,
        id: TerritoryId,
        keys: &Keys,
        node: usize,
        shape: usize,
        view: View<'_>,
    ) {
        self.all[id as usize].attach(keys, node, shape, view);
    }

    pub(crate) fn detach(&mut self, keys: &Keys, node: usize) {
        for territory in &mut self.all {
            territory.detach(keys, node);
        }
    }

    /// (territory, domain, nodes) wherever there are any.
    pub(crate) fn numbers(&self) -> impl Iterator<Item = (usize, usize, u32)> + '_ {
        self.all.iter().enumerate().flat_map(|(id, territory)| {
            let nodes = territory.nodes.iter().enumerate();
            nodes
                .filter(|(_, nodes)| **nodes > 0)
                .map(move |(domain, nodes)| (id, domain, *nodes))
        })
    }
}
