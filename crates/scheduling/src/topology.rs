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

use std::{collections::BTreeMap, sync::Arc};

use model::{Labels, SchedulingClass, topology::PodTerm};

use counters::{Counted, CounterId, Counters};
use identities::{Identities, IdentityId};
use keys::{KeyId, Keys};
use matchers::{Matcher, MatcherId, Matchers, Scope};
use spread::{Group, GroupId, GroupRule, Groups};

use crate::{class::Class, snapshot::PodsOnNode, view::View};

/// All domains and counters.
#[derive(Clone, Debug, Default)]
pub(crate) struct Topology {
    pub(crate) keys: Keys,
    pub(crate) matchers: Matchers,
    pub(crate) identities: Identities,
    pub(crate) counters: Counters,
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

    /// The group of a spread constraint; true where it is new and its nodes are not known yet.
    pub(crate) fn group(&mut self, rule: GroupRule) -> (GroupId, bool) {
        if let Some(id) = self.groups.find(&rule) {
            return (id, false);
        }
        let matcher = rule.counts().then(|| {
            self.intern_matcher(Matcher {
                scope: Scope::only(&rule.namespace),
                selector: rule.selector.clone(),
            })
        });
        let id = self.groups.add(Group::new(rule, matcher));
        self.groups
            .link_group(&mut self.identities, &self.matchers, id);
        (id, true)
    }

    /// The node joins its domains.
    pub(crate) fn attach(&mut self, node: usize, shape: usize, view: View<'_>) {
        self.keys.attach(node, shape, view);
        self.groups.attach(&self.keys, node, shape, view);
    }

    /// The node, on which nothing is counted any more, leaves its domains.
    pub(crate) fn detach(&mut self, node: usize) {
        self.groups.detach(&self.keys, node);
        self.keys.detach(node);
    }

    /// Counts `count` pods more on the node.
    pub(crate) fn add(
        &mut self,
        node: usize,
        identity: IdentityId,
        owns: &[CounterId],
        terminating: bool,
        count: u32,
    ) {
        let who = self.identities.get(identity);
        for &counter in who.counted_by.iter().chain(owns) {
            self.counters.add(&self.keys, counter, node, count);
        }
        if !terminating {
            for &group in &who.spread_by {
                self.groups
                    .change(&self.keys, group, node, |pods| pods + count);
            }
        }
    }

    /// Counts pods that are there already, for counters and groups from these on.
    pub(crate) fn add_since(
        &mut self,
        counters: CounterId,
        groups: GroupId,
        node: usize,
        class: &Class,
        pods: PodsOnNode,
    ) {
        let who = self.identities.get(class.identity);
        let looking = who.counted_by.iter().chain(&class.owns);
        for &counter in looking.filter(|&&counter| counter >= counters) {
            self.counters.add(&self.keys, counter, node, pods.count);
        }
        let spreading = who.spread_by.iter().filter(|&&group| group >= groups);
        for &group in spreading.filter(|_| !pods.terminating) {
            self.groups
                .change(&self.keys, group, node, |before| before + pods.count);
        }
    }

    /// Counts `count` pods less on the node.
    pub(crate) fn sub(
        &mut self,
        node: usize,
        identity: IdentityId,
        owns: &[CounterId],
        terminating: bool,
        count: u32,
    ) {
        let who = self.identities.get(identity);
        for &counter in who.counted_by.iter().chain(owns) {
            self.counters.sub(&self.keys, counter, node, count);
        }
        if !terminating {
            for &group in &who.spread_by {
                self.groups
                    .change(&self.keys, group, node, |pods| pods.saturating_sub(count));
            }
        }
    }
}
