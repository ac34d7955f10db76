//! Which pods a rule is about: namespaces and a label selector, interned, found by a label they ask
//! for instead of tried one by one.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use model::{LabelSelector, Labels, Operator, topology::PodTerm};

use super::{Side, identities::IdentityId};

/// A matcher.
pub(crate) type MatcherId = u32;

/// In which namespaces.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Scope {
    all: bool,
    names: BTreeSet<Arc<str>>,
    /// Also namespaces that do not exist.
    missing: bool,
}

impl Scope {
    pub(crate) fn only(namespace: &Arc<str>) -> Self {
        Self {
            all: false,
            names: BTreeSet::from([Arc::clone(namespace)]),
            missing: false,
        }
    }
}

/// Namespaces and labels; a selector that is absent matches nothing.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Matcher {
    pub(crate) scope: Scope,
    pub(crate) selector: Option<LabelSelector>,
}

/// A label with its value.
pub(crate) type Pair = (Arc<str>, Arc<str>);

/// All matchers.
#[derive(Clone, Debug, Default)]
pub(crate) struct Matchers {
    by_content: BTreeMap<Arc<Matcher>, MatcherId>,
    all: Vec<Entry>,
    /// Matchers that ask for one of a few labels, by each.
    by_label: BTreeMap<Pair, Vec<MatcherId>>,
    /// The others.
    unanchored: Vec<MatcherId>,
    /// Namespaces there are; see [`Scope::missing`].
    existing: Arc<BTreeSet<Arc<str>>>,
}

#[derive(Clone, Debug)]
struct Entry {
    matcher: Arc<Matcher>,
    existing: Arc<BTreeSet<Arc<str>>>,
    /// Identities it matches.
    identities: Vec<IdentityId>,
}

/// A matcher with what it takes to ask it.
#[derive(Clone, Copy)]
pub(crate) struct Asked<'a> {
    matcher: &'a Matcher,
    existing: &'a BTreeSet<Arc<str>>,
}

impl Matcher {
    /// The namespaces of a term are worked out here, once: they are part of the surroundings.
    pub(crate) fn of(term: &PodTerm, side: Side, namespaces: &BTreeMap<Arc<str>, Labels>) -> Self {
        let mut scope = Scope {
            all: false,
            names: term.namespaces.names.clone(),
            missing: false,
        };
        if let Some(selector) = &term.namespaces.selector {
            let nameless = selector.matches(&Labels::new());
            // The scheduler asks a term of the incoming pod for no labels at all, after it has
            // listed the namespaces that the selector matches: one that matches no labels matches
            // every namespace (`mergeAffinityTermNamespacesIfNotEmpty` forgets the selector on a
            // copy of the term).
            if selector.requirements.is_empty() || (side == Side::Incoming && nameless) {
                scope.all = true;
                scope.names.clear();
            } else {
                let selected = namespaces
                    .iter()
                    .filter(|(_, labels)| selector.matches(labels))
                    .map(|(name, _)| Arc::clone(name));
                scope.names.extend(selected);
                scope.missing = nameless;
            }
        }
        Self {
            scope,
            selector: term.selector.clone(),
        }
    }

    /// Labels of which a pod must have one.
    pub(crate) fn anchors(&self) -> Option<Vec<Pair>> {
        let selector = self.selector.as_ref()?;
        let anchor = selector
            .requirements
            .iter()
            .filter(|r| r.operator == Operator::In)
            .min_by_key(|r| r.values.len())?;
        Some(
            anchor
                .values
                .iter()
                .map(|value| (Arc::clone(&anchor.key), Arc::clone(value)))
                .collect(),
        )
    }
}

impl Asked<'_> {
    pub(crate) fn matches(self, namespace: &Arc<str>, labels: &Labels) -> bool {
        let scope = &self.matcher.scope;
        let in_scope = scope.all
            || scope.names.contains(namespace)
            || (scope.missing && !self.existing.contains(namespace));
        in_scope
            && self
                .matcher
                .selector
                .as_ref()
                .is_some_and(|selector| selector.matches(labels))
    }

    pub(crate) fn anchors(self) -> Option<Vec<Pair>> {
        self.matcher.anchors()
    }
}

impl Matchers {
    pub(crate) fn new(namespaces: &BTreeMap<Arc<str>, Labels>) -> Self {
        Self {
            existing: Arc::new(namespaces.keys().cloned().collect()),
            ..Self::default()
        }
    }

    /// The matcher's id; true where it is new.
    pub(crate) fn intern(&mut self, matcher: Matcher) -> (MatcherId, bool) {
        if let Some(&id) = self.by_content.get(&matcher) {
            return (id, false);
        }
        let id = self.all.len() as MatcherId;
        match matcher.anchors() {
            Some(anchors) => {
                for anchor in anchors {
                    self.by_label.entry(anchor).or_default().push(id);
                }
            }
            None => self.unanchored.push(id),
        }
        let matcher = Arc::new(matcher);
        self.all.push(Entry {
            matcher: Arc::clone(&matcher),
            existing: Arc::clone(&self.existing),
            identities: Vec::new(),
        });
        self.by_content.insert(matcher, id);
        (id, true)
    }

    pub(crate) fn get(&self, id: MatcherId) -> Asked<'_> {
        let entry = &self.all[id as usize];
        Asked {
            matcher: &entry.matcher,
            existing: &entry.existing,
        }
    }

    /// The matchers that match pods of this namespace and these labels, in order.
    pub(crate) fn matching(&self, namespace: &Arc<str>, labels: &Labels) -> Vec<MatcherId> {
        let anchored = labels
            .iter()
            .filter_map(|(key, value)| self.by_label.get(&(Arc::clone(key), Arc::clone(value))))
            .flatten();
        let mut matching: Vec<MatcherId> = anchored
            .chain(&self.unanchored)
            .copied()
            .filter(|&id| self.get(id).matches(namespace, labels))
            .collect();
        matching.sort_unstable();
        matching.dedup();
        matching
    }

    pub(crate) fn add_identity(&mut self, id: MatcherId, identity: IdentityId) {
        self.all[id as usize].identities.push(identity);
    }

    /// The identities it matches.
    pub(crate) fn identities(&self, id: MatcherId) -> &[IdentityId] {
        &self.all[id as usize].identities
    }
}
