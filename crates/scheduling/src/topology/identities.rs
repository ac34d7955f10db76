//! What other pods' rules see of a pod: its namespace and labels. Classes that differ in anything
//! else share an identity.

use std::{collections::BTreeMap, sync::Arc};

use model::Labels;

use super::{
    counters::CounterId,
    matchers::{Asked, MatcherId, Pair},
    spread::GroupId,
};

/// An identity.
pub(crate) type IdentityId = u32;

/// All identities.
#[derive(Clone, Debug, Default)]
pub(crate) struct Identities {
    by_content: BTreeMap<(Arc<str>, Labels), IdentityId>,
    all: Vec<Identity>,
    by_label: BTreeMap<Pair, Vec<IdentityId>>,
}

/// One of them, with what looks at it.
#[derive(Clone, Debug)]
pub(crate) struct Identity {
    namespace: Arc<str>,
    labels: Labels,
    /// Ascending.
    matchers: Vec<MatcherId>,
    /// Counters of pods that match something.
    pub(crate) counted_by: Vec<CounterId>,
    /// Counters of pods whose anti-affinity forbids it.
    pub(crate) refused_by: Vec<CounterId>,
    /// Spread groups that count it.
    pub(crate) spread_by: Vec<GroupId>,
}

impl Identity {
    pub(crate) fn is_matched_by(&self, matcher: MatcherId) -> bool {
        self.matchers.binary_search(&matcher).is_ok()
    }

    pub(crate) fn matchers(&self) -> &[MatcherId] {
        &self.matchers
    }
}

impl Identities {
    /// The identity's id; true where it is new.
    pub(crate) fn intern(&mut self, namespace: &Arc<str>, labels: &Labels) -> (IdentityId, bool) {
        let content = (Arc::clone(namespace), labels.clone());
        if let Some(&id) = self.by_content.get(&content) {
            return (id, false);
        }
        let id = self.all.len() as IdentityId;
        for (key, value) in labels {
            self.by_label
                .entry((Arc::clone(key), Arc::clone(value)))
                .or_default()
                .push(id);
        }
        self.all.push(Identity {
            namespace: Arc::clone(namespace),
            labels: labels.clone(),
            matchers: Vec::new(),
            counted_by: Vec::new(),
            refused_by: Vec::new(),
            spread_by: Vec::new(),
        });
        self.by_content.insert(content, id);
        (id, true)
    }

    pub(crate) fn get(&self, id: IdentityId) -> &Identity {
        &self.all[id as usize]
    }

    pub(crate) fn get_mut(&mut self, id: IdentityId) -> &mut Identity {
        &mut self.all[id as usize]
    }

    pub(crate) fn who(&self, id: IdentityId) -> (&Arc<str>, &Labels) {
        let identity = self.get(id);
        (&identity.namespace, &identity.labels)
    }

    /// `matchers` come in order.
    pub(crate) fn set_matchers(&mut self, id: IdentityId, matchers: Vec<MatcherId>) {
        self.all[id as usize].matchers = matchers;
    }

    /// Ids only grow, so that the order holds.
    pub(crate) fn add_matcher(&mut self, id: IdentityId, matcher: MatcherId) {
        self.all[id as usize].matchers.push(matcher);
    }

    /// Identities that a matcher could match.
    pub(crate) fn candidates(&self, matcher: Asked<'_>) -> Vec<IdentityId> {
        match matcher.anchors() {
            None => (0..self.all.len() as IdentityId).collect(),
            Some(anchors) => {
                let mut candidates: Vec<IdentityId> = anchors
                    .iter()
                    .filter_map(|anchor| self.by_label.get(anchor))
                    .flatten()
                    .copied()
                    .collect();
                candidates.sort_unstable();
                candidates.dedup();
                candidates
            }
        }
    }
}
