//! Pods by domain, for topology spread: only nodes that a constraint counts, and with them the
//! emptiest domain at any time.
//!
//! Which nodes count depends on the constraint and, by its policies, on the pod's node affinity and
//! tolerations; constraints that agree in all of it share a group.

use std::{collections::BTreeMap, sync::Arc};

use model::{LabelSelector, NodeSelectorTerm, Requirement, Toleration};

use super::{
    identities::{Identities, IdentityId},
    keys::{Domain, KeyId, Keys},
    matchers::{MatcherId, Matchers},
};
use crate::{
    filters::{node_affinity, taint_toleration},
    view::View,
};

/// A group.
pub(crate) type GroupId = u32;

/// What makes two constraints count the same pods on the same nodes.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct GroupRule {
    pub(crate) namespace: Arc<str>,
    pub(crate) selector: Option<LabelSelector>,
    pub(crate) key: KeyId,
    /// Of all constraints of the pod: nodes that lack one do not count for any.
    pub(crate) keys: Vec<KeyId>,
    /// Node selector and required affinity, where they are honoured.
    pub(crate) affinity: Option<(Vec<Requirement>, Option<Vec<NodeSelectorTerm>>)>,
    /// Tolerations, where taints are honoured.
    pub(crate) tolerations: Option<Vec<Toleration>>,
    /// Names of nodes play a part: equal shapes need not be equal here.
    pub(crate) named: bool,
}

impl GroupRule {
    /// Without requirements no running pod is counted, yet domains are.
    pub(crate) fn counts(&self) -> bool {
        self.selector
            .as_ref()
            .is_some_and(|selector| !selector.requirements.is_empty())
    }

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

/// A domain with nodes that count.
#[derive(Clone, Copy, Debug, Default)]
struct Load {
    nodes: u32,
    pods: u32,
}

/// A group with its numbers.
#[derive(Clone, Debug)]
pub(crate) struct Group {
    rule: Arc<GroupRule>,
    matcher: Option<MatcherId>,
    /// By node: it counts.
    counts: Vec<bool>,
    /// By shape, where names play no part.
    admits_shape: Vec<Option<bool>>,
    /// By domain.
    loads: Vec<Load>,
    /// How many domains have so many pods.
    levels: BTreeMap<u32, u32>,
    /// Domains with nodes that count.
    domains: u32,
}

impl Group {
    pub(crate) fn new(rule: GroupRule, matcher: Option<MatcherId>) -> Self {
        Self {
            rule: Arc::new(rule),
            matcher,
            counts: Vec::new(),
            admits_shape: Vec::new(),
            loads: Vec::new(),
            levels: BTreeMap::new(),
            domains: 0,
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

    fn enter(&mut self, pods: u32) {
        *self.levels.entry(pods).or_default() += 1;
    }

    fn leave(&mut self, pods: u32) {
        if let Some(domains) = self.levels.get_mut(&pods) {
            *domains -= 1;
            if *domains == 0 {
                self.levels.remove(&pods);
            }
        }
    }

    fn attach(&mut self, keys: &Keys, node: usize, shape: usize, view: View<'_>) {
        let has_keys = self
            .rule
            .keys
            .iter()
            .all(|&key| keys.of(key, node).is_some());
        let counts = has_keys && self.admits(shape, view);
        if self.counts.len() <= node {
            self.counts.resize(node + 1, false);
        }
        self.counts[node] = counts;
        let Some(domain) = keys.of(self.rule.key, node).filter(|_| counts) else {
            return;
        };
        let domain = domain as usize;
        if self.loads.len() <= domain {
            self.loads.resize(domain + 1, Load::default());
        }
        self.loads[domain].nodes += 1;
        if self.loads[domain].nodes == 1 {
            self.domains += 1;
            self.enter(self.loads[domain].pods);
        }
    }

    fn detach(&mut self, keys: &Keys, node: usize) {
        if !self.counts_node(node) {
            return;
        }
        self.counts[node] = false;
        let Some(domain) = keys.of(self.rule.key, node) else {
            return;
        };
        let load = &mut self.loads[domain as usize];
        load.nodes -= 1;
        let Load { nodes, pods } = *load;
        if nodes == 0 {
            self.domains -= 1;
            self.leave(pods);
        }
    }

    /// Whether the node counts.
    pub(crate) fn counts_node(&self, node: usize) -> bool {
        self.counts.get(node).copied().unwrap_or(false)
    }

    pub(crate) fn key(&self) -> KeyId {
        self.rule.key
    }

    /// Pods counted in a domain.
    pub(crate) fn pods(&self, domain: Domain) -> u32 {
        self.loads.get(domain as usize).map_or(0, |load| load.pods)
    }

    /// Pods in the emptiest domain; with fewer domains than `least` it counts as empty.
    pub(crate) fn minimum(&self, least: i32) -> u32 {
        if i64::from(self.domains) < i64::from(least) {
            return 0;
        }
        self.levels.keys().next().copied().unwrap_or(0)
    }

    /// As [`Self::minimum`], leaving one counted domain out; `None` where there is no other.
    pub(crate) fn minimum_beside(&self, domain: Domain) -> Option<u32> {
        let own = self.pods(domain);
        let mut levels = self.levels.iter();
        match levels.next() {
            Some((&pods, &1)) if pods == own => levels.next().map(|(&pods, _)| pods),
            first => first.map(|(&pods, _)| pods),
        }
    }

    /// Fewer domains than this count.
    pub(crate) fn has_fewer_domains(&self, least: i32) -> bool {
        i64::from(self.domains) < i64::from(least)
    }
}

/// All groups.
#[derive(Clone, Debug, Default)]
pub(crate) struct Groups {
    by_content: BTreeMap<Arc<GroupRule>, GroupId>,
    all: Vec<Group>,
    by_matcher: BTreeMap<MatcherId, Vec<GroupId>>,
}

impl Groups {
    pub(crate) fn find(&self, rule: &GroupRule) -> Option<GroupId> {
        self.by_content.get(rule).copied()
    }

    pub(crate) fn add(&mut self, group: Group) -> GroupId {
        let id = self.all.len() as GroupId;
        self.by_content.insert(Arc::clone(&group.rule), id);
        if let Some(matcher) = group.matcher {
            self.by_matcher.entry(matcher).or_default().push(id);
        }
        self.all.push(group);
        id
    }

    pub(crate) fn get(&self, id: GroupId) -> &Group {
        &self.all[id as usize]
    }

    pub(crate) fn len(&self) -> GroupId {
        self.all.len() as GroupId
    }

    /// Tells identities of a new group that it counts them.
    pub(crate) fn link_group(&self, identities: &mut Identities, matchers: &Matchers, id: GroupId) {
        if let Some(matcher) = self.all[id as usize].matcher {
            for &identity in matchers.identities(matcher) {
                identities.get_mut(identity).spread_by.push(id);
            }
        }
    }

    /// Tells a new identity which groups count it.
    pub(crate) fn link_identity(&self, identities: &mut Identities, id: IdentityId) {
        let identity = identities.get_mut(id);
        let mut spread_by: Vec<GroupId> = identity
            .matchers()
            .iter()
            .filter_map(|matcher| self.by_matcher.get(matcher))
            .flatten()
            .copied()
            .collect();
        spread_by.sort_unstable();
        identity.spread_by = spread_by;
    }

    pub(crate) fn attach(&mut self, keys: &Keys, node: usize, shape: usize, view: View<'_>) {
        for group in &mut self.all {
            group.attach(keys, node, shape, view);
        }
    }

    pub(crate) fn attach_group(
        &mut self,
        keys: &Keys,
        id: GroupId,
        node: usize,
        shape: usize,
        view: View<'_>,
    ) {
        self.all[id as usize].attach(keys, node, shape, view);
    }

    pub(crate) fn detach(&mut self, keys: &Keys, node: usize) {
        for group in &mut self.all {
            group.detach(keys, node);
        }
    }

    /// Changes how many pods are counted in the node's domain, if the node counts.
    pub(crate) fn change(
        &mut self,
        keys: &Keys,
        id: GroupId,
        node: usize,
        by: impl Fn(u32) -> u32,
    ) {
        let group = &mut self.all[id as usize];
        if !group.counts_node(node) {
            return;
        }
        let Some(domain) = keys.of(group.rule.key, node) else {
            return;
        };
        let load = &mut group.loads[domain as usize];
        let before = load.pods;
        load.pods = by(before);
        let after = load.pods;
        if before != after {
            group.leave(before);
            group.enter(after);
        }
    }

    /// (group, domain, nodes, pods) wherever there are any.
    pub(crate) fn numbers(&self) -> impl Iterator<Item = (usize, usize, u32, u32)> + '_ {
        self.all.iter().enumerate().flat_map(|(id, group)| {
            let loads = group.loads.iter().enumerate();
            loads
                .filter(|(_, load)| load.nodes > 0 || load.pods > 0)
                .map(move |(domain, load)| (id, domain, load.nodes, load.pods))
        })
    }
}
