//! Pods by domain, for affinity and anti-affinity: those that match terms, and those that own one.

use std::collections::BTreeMap;

use super::{
    identities::{Identities, IdentityId},
    keys::{Domain, KeyId, Keys},
    matchers::{MatcherId, Matchers},
    tally::Tally,
};

/// A counter.
pub(crate) type CounterId = u32;

/// Which pods are counted.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Counted {
    /// Those that all of these match.
    Matching(Vec<MatcherId>),
    /// Those with an anti-affinity term of this matcher.
    Owners(MatcherId),
}

/// All counters.
#[derive(Clone, Debug, Default)]
pub(crate) struct Counters {
    by_content: BTreeMap<(Counted, KeyId), CounterId>,
    all: Vec<Counter>,
    /// By the first matcher.
    by_matcher: BTreeMap<MatcherId, Vec<CounterId>>,
}

#[derive(Clone, Debug)]
struct Counter {
    counted: Counted,
    key: KeyId,
    pods: Tally,
    /// In all domains: pods on nodes without the label are in none.
    total: u64,
}

impl Counters {
    /// The counter's id; true where it is new.
    pub(crate) fn intern(&mut self, counted: Counted, key: KeyId) -> (CounterId, bool) {
        let content = (counted, key);
        if let Some(&id) = self.by_content.get(&content) {
            return (id, false);
        }
        let id = self.all.len() as CounterId;
        let first = match &content.0 {
            Counted::Matching(matchers) => matchers.first().copied(),
            Counted::Owners(matcher) => Some(*matcher),
        };
        if let Some(first) = first {
            self.by_matcher.entry(first).or_default().push(id);
        }
        self.all.push(Counter {
            counted: content.0.clone(),
            key,
            pods: Tally::default(),
            total: 0,
        });
        self.by_content.insert(content, id);
        (id, true)
    }

    pub(crate) fn len(&self) -> CounterId {
        self.all.len() as CounterId
    }

    /// Tells identities of a new counter that it looks at them.
    pub(crate) fn link_counter(
        &self,
        identities: &mut Identities,
        matchers: &Matchers,
        id: CounterId,
    ) {
        match &self.all[id as usize].counted {
            Counted::Matching(all) => {
                let Some(first) = all.first() else {
                    return;
                };
                for &identity in matchers.identities(*first) {
                    let identity = identities.get_mut(identity);
                    if all.iter().all(|&matcher| identity.is_matched_by(matcher)) {
                        identity.counted_by.push(id);
                    }
                }
            }
            Counted::Owners(matcher) => {
                for &identity in matchers.identities(*matcher) {
                    identities.get_mut(identity).refused_by.push(id);
                }
            }
        }
    }

    /// Tells a new identity which counters look at it.
    pub(crate) fn link_identity(&self, identities: &mut Identities, id: IdentityId) {
        let identity = identities.get_mut(id);
        let (mut counted_by, mut refused_by) = (Vec::new(), Vec::new());
        for matcher in identity.matchers() {
            for &counter in self.by_matcher.get(matcher).into_iter().flatten() {
                match &self.all[counter as usize].counted {
                    Counted::Matching(all) => {
                        if all.iter().all(|&matcher| identity.is_matched_by(matcher)) {
                            counted_by.push(counter);
                        }
                    }
                    Counted::Owners(_) => refused_by.push(counter),
                }
            }
        }
        // In order, as later counters are appended.
        counted_by.sort_unstable();
        identity.counted_by = counted_by;
        identity.refused_by = refused_by;
    }

    pub(crate) fn add(&mut self, keys: &Keys, id: CounterId, node: usize, count: u32) {
        let counter = &mut self.all[id as usize];
        let Some(domain) = keys.of(counter.key, node) else {
            return;
        };
        counter.pods.change(domain, |pods| pods + count);
        counter.total += u64::from(count);
    }

    pub(crate) fn sub(&mut self, keys: &Keys, id: CounterId, node: usize, count: u32) {
        let counter = &mut self.all[id as usize];
        let Some(domain) = keys.of(counter.key, node) else {
            return;
        };
        counter
            .pods
            .change(domain, |pods| pods.saturating_sub(count));
        counter.total = counter.total.saturating_sub(u64::from(count));
    }

    pub(crate) fn key(&self, id: CounterId) -> KeyId {
        self.all[id as usize].key
    }

    pub(crate) fn is_empty(&self, id: CounterId) -> bool {
        self.total(id) == 0
    }

    /// Pods in all domains.
    pub(crate) fn total(&self, id: CounterId) -> u64 {
        self.all[id as usize].total
    }

    pub(crate) fn in_domain(&self, id: CounterId, domain: Domain) -> u32 {
        self.all[id as usize].pods.get(domain)
    }

    /// Pods counted in the node's domain; none where it is in no domain.
    pub(crate) fn at(&self, keys: &Keys, id: CounterId, node: usize) -> u32 {
        keys.of(self.key(id), node)
            .map_or(0, |domain| self.in_domain(id, domain))
    }

    /// (counter, domain, pods) wherever there are any.
    pub(crate) fn numbers(&self) -> impl Iterator<Item = (usize, Domain, u32)> + '_ {
        self.all.iter().enumerate().flat_map(|(id, counter)| {
            let pods = counter.pods.iter();
            pods.map(move |(domain, pods)| (id, domain, pods))
        })
    }
}
