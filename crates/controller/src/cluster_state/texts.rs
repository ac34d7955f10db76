//! Texts that many rows have in common, each held once.

use std::{collections::BTreeSet, sync::Arc};

use intake::storage::Attachment;
use model::{
    Labels, NodeName, NodeSelectorTerm, Requirement, Uid, Upkeep,
    storage::{Claim, StorageCapacity, Volume},
};

/// The texts in use.
#[derive(Debug, Default)]
pub(super) struct Texts {
    known: BTreeSet<Arc<str>>,
    /// They are looked through for unused ones at this many.
    tidy_at: usize,
}

impl Texts {
    /// The one copy of `text`.
    pub(super) fn share(&mut self, text: &str) -> Arc<str> {
        if let Some(known) = self.known.get(text) {
            return Arc::clone(known);
        }
        self.make_room();
        let text: Arc<str> = Arc::from(text);
        self.known.insert(Arc::clone(&text));
        text
    }

    /// Puts the one copy in the place of `text`.
    fn replace(&mut self, text: &mut Arc<str>) {
        if let Some(known) = self.known.get(&**text) {
            *text = Arc::clone(known);
        } else {
            self.make_room();
            self.known.insert(Arc::clone(text));
        }
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.known.len()
    }

    fn make_room(&mut self) {
        if self.known.len() >= self.tidy_at {
            self.tidy();
        }
    }

    /// Forgets what nothing uses any more.
    pub(super) fn tidy(&mut self) {
        self.known.retain(|text| Arc::strong_count(text) > 1);
        self.tidy_at = 2 * self.known.len() + 1024;
    }

    /// Keys and most values of labels are the same on many objects.
    pub(super) fn labels(&mut self, labels: &Labels) -> Labels {
        labels
            .iter()
            .map(|(key, value)| (self.share(key), self.share(value)))
            .collect()
    }

    /// What a claim is about is named by other rows too.
    pub(super) fn claim(&mut self, claim: &mut Claim) {
        let own = [
            &mut claim.volume,
            &mut claim.class,
            &mut claim.attributes_class,
        ];
        for text in own.into_iter().flatten() {
            self.replace(text);
        }
        self.uid(&mut claim.uid);
        if let Some(node) = &mut claim.selected_node {
            self.node(node);
        }
        for requirement in claim.selector.iter_mut().flat_map(|s| &mut s.requirements) {
            self.requirement(requirement);
        }
    }

    /// Few kinds of controllers and few wishes, on many pods.
    pub(super) fn upkeep(&mut self, upkeep: &mut Upkeep) {
        if let Some(controller) = &mut upkeep.controller {
            self.replace(&mut controller.kind);
        }
        for volume in &mut upkeep.local_volumes {
            self.replace(volume);
        }
        upkeep.local_volumes.shrink_to_fit();
        upkeep.wishes = self.labels(&upkeep.wishes);
    }

    pub(super) fn volume(&mut self, volume: &mut Volume) {
        volume.labels = self.labels(&volume.labels);
        let own = [&mut volume.class, &mut volume.attributes_class];
        for text in own.into_iter().flatten() {
            self.replace(text);
        }
        if let Some(claim) = &mut volume.claim {
            self.replace(&mut claim.namespace);
            self.replace(&mut claim.name);
            self.uid(&mut claim.uid);
        }
        if let Some(handle) = &mut volume.handle {
            self.replace(&mut handle.driver);
        }
        if let Some(in_tree) = &mut volume.in_tree {
            self.replace(&mut in_tree.plugin);
            if let Some(terms) = &mut in_tree.node_affinity {
                self.terms(terms);
            }
        }
        if let Some(terms) = &mut volume.node_affinity {
            self.terms(terms);
        }
    }

    pub(super) fn capacity(&mut self, capacity: &mut StorageCapacity) {
        self.replace(&mut capacity.class);
        for requirement in capacity.nodes.iter_mut().flat_map(|s| &mut s.requirements) {
            self.requirement(requirement);
        }
    }

    pub(super) fn attachment(&mut self, attachment: &mut Attachment) {
        self.node(&mut attachment.node);
        self.replace(&mut attachment.attacher);
        self.replace(&mut attachment.volume);
    }

    fn node(&mut self, node: &mut NodeName) {
        *node = NodeName::from(self.share(node.as_str()));
    }

    fn uid(&mut self, uid: &mut Option<Uid>) {
        if let Some(uid) = uid {
            *uid = Uid::from(self.share(uid.as_str()));
        }
    }

    fn terms(&mut self, terms: &mut Vec<NodeSelectorTerm>) {
        terms.shrink_to_fit();
        for term in terms {
            term.match_expressions.shrink_to_fit();
            for requirement in term
                .match_expressions
                .iter_mut()
                .chain(&mut term.match_fields)
            {
                self.requirement(requirement);
            }
        }
    }

    fn requirement(&mut self, requirement: &mut Requirement) {
        self.replace(&mut requirement.key);
        requirement.values.shrink_to_fit();
        for value in &mut requirement.values {
            self.replace(value);
        }
    }
}
