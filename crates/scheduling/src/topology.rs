//! What rules between pods need to know, kept up to date with every placement: how many pods of a
//! kind run in each domain of a label.
//!
//! Pods are told apart by namespace and labels alone ([`identities`]); which rules look at which
//! pods is worked out once, when either is first seen. A placement then only bumps numbers.

pub(crate) mod counters;
pub(crate) mod identities;
pub(crate) mod keys;
pub(crate) mod matchers;
pub(crate) mod spread;
mod tally;
pub(crate) mod territories;

use std::{collections::BTreeMap, sync::Arc};

use model::{LabelSelector, Labels, SchedulingClass, topology::PodTerm};

use counters::{Counted, CounterId, Counters};
use identities::{Identities, IdentityId};
use keys::{KeyId, Keys};
use matchers::{Matcher, MatcherId, Matchers, Scope};
use spread::{GroupId, Groups};
use territories::{Territories, TerritoryId};

use crate::{class::Class, snapshot::PodsOnNode, view::View};

/// All domains and counters.
#[derive(Clone, Debug, Default)]
pub(crate) struct Topology {
    pub(crate) keys: Keys,
    pub(crate) matchers: Matchers,
    pub(crate) identities: Identities,
    pub(crate) counters: Counters,
    pub(crate) territories: Territories,
    pub(crate) groups: Groups,
}

/// Whose terms a matcher belongs to: namespaces that do not exist are told apart by it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    /// To the pod that is being placed: its terms select existing namespaces.
    Incoming,
    /// To a pod that runs: its terms are asked with the labels of the new pod's namespace, which
    /// are none where there is no such namespace.
    Running,
}

impl Topology {
    /// The identity of pods of this class.
    pub(crate) fn identity(&mut self, class: &SchedulingClass) -> IdentityId {
        let (id, new) = self.identities.intern(&class.namespace, &class.labels);
        if new {
            let matched = self.matchers.matching(&class.namespace, &class.labels);
            for &matcher in &matched {
                self.matchers.add_identity(matcher, id);
            }
            self.identities.set_matchers(id, matched);
            self.counters.link_identity(&mut self.identities, id);
            self.groups.link_identity(&mut self.identities, id);
        }
        id
    }

    /// The matcher of a term.
    pub(crate) fn matcher(
        &mut self,
        term: &PodTerm,
        side: Side,
        namespaces: &BTreeMap<Arc<str>, Labels>,
    ) -> MatcherId {
        let matcher = Matcher::of(term, side, namespaces);
        self.intern_matcher(matcher)
    }

    fn intern_matcher(&mut self, matcher: Matcher) -> MatcherId {
        let (id, new) = self.matchers.intern(matcher);
        if new {
            for identity in self.identities.candidates(self.matchers.get(id)) {
                let (namespace, labels) = self.identities.who(identity);
                if self.matchers.get(id).matches(namespace, labels) {
                    self.matchers.add_identity(id, identity);
                    self.identities.add_matcher(identity, id);
                }
            }
        }
        id
    }

    /// The counter of pods that all these matchers match, by domains of `key`.
    pub(crate) fn matching(&mut self, mut matchers: Vec<MatcherId>, key: KeyId) -> CounterId {
        matchers.sort_unstable();
        matchers.dedup();
        let (id, new) = self.counters.intern(Counted::Matching(matchers), key);
        if new {
            self.counters
                .link_counter(&mut self.identities, &self.matchers, id);
        }
        id
    }

    /// The counter of pods that own an anti-affinity term with this matcher, by domains of `key`.
    pub(crate) fn owners(&mut self, matcher: MatcherId, key: KeyId) -> CounterId {
        let (id, new) = self.counters.intern(Counted::Owners(matcher), key);
        if new {
            self.counters
                .link_counter(&mut self.identities, &self.matchers, id);
        }
        id
    }

    /// The group of a spread constraint: pods of this namespace and selector in this territory.
    pub(crate) fn group(
        &mut self,
        territory: TerritoryId,
        namespace: &Arc<str>,
        selector: Option<&LabelSelector>,
    ) -> GroupId {
        // Without requirements no running pod is counted, yet domains are.
        let selector = selector.filter(|selector| !selector.requirements.is_empty());
        let matcher = selector.map(|selector| {
            self.intern_matcher(Matcher {
                scope: Scope::only(namespace),
                selector: Some(selector.clone()),
            })
        });
        let (id, new) = self.groups.intern(territory, matcher);
        if new {
            self.groups
                .link_group(&mut self.identities, &self.matchers, id);
        }
        id
    }

    /// The node joins its domains.
    pub(crate) fn attach(&mut self, node: usize, shape: usize, view: View<'_>) {
        self.keys.attach(node, shape, view);
        self.territories.attach(&self.keys, node, shape, view);
    }

    /// The node, on which nothing is counted any more, leaves its domains.
    pub(crate) fn detach(&mut self, node: usize) {
        self.territories.detach(&self.keys, node);
        self.keys.detach(node);
    }

    /// Counts pods that have come to the node.
    pub(crate) fn add(&mut self, node: usize, class: &Class, pods: PodsOnNode) {
        self.add_since((0, 0), node, class, pods);
    }

    /// As [`Self::add`], for the counters and groups from these on.
    pub(crate) fn add_since(
        &mut self,
        (counters, groups): (CounterId, GroupId),
        node: usize,
        class: &Class,
        pods: PodsOnNode,
    ) {
        let who = self.identities.get(class.identity);
        let looking = who.counted_by.iter().chain(&class.owns);
        for &counter in looking.filter(|&&counter| counter >= counters) {
            self.counters.add(&self.keys, counter, node, pods.count);
        }
        if pods.terminating {
            return;
        }
        for &group in who.spread_by.iter().filter(|&&group| group >= groups) {
            let more = |before| before + pods.count;
            self.groups
                .change(&self.territories, &self.keys, group, node, more);
        }
    }

    /// Takes back [`Self::add`].
    pub(crate) fn sub(&mut self, node: usize, class: &Class, pods: PodsOnNode) {
        let who = self.identities.get(class.identity);
        for &counter in who.counted_by.iter().chain(&class.owns) {
            self.counters.sub(&self.keys, counter, node, pods.count);
        }
        if pods.terminating {
            return;
        }
        for &group in &who.spread_by {
            let less = |before: u32| before.saturating_sub(pods.count);
            self.groups
                .change(&self.territories, &self.keys, group, node, less);
        }
    }
}
