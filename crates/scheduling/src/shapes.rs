//! Shapes: what nodes that differ only in name, hostname and amounts have in common.
//!
//! What the filters that look at the node alone say of a class is kept by shape. A cluster has many
//! nodes and few shapes only if hostnames are left out; a class that asks for names or hostnames is
//! marked so (`Class::named`) and asked node by node.

use std::{cmp::Ordering, collections::BTreeMap, sync::Arc};

use model::NodeShape;

use crate::view::HOSTNAME;

/// How many shapes are found again by their address alone.
const RECENT: usize = 8;

/// All shapes.
#[derive(Clone, Debug, Default)]
pub(crate) struct Shapes {
    by_content: BTreeMap<Content, usize>,
    /// The last ones, found without a look at their content. They are kept alive, so that an
    /// address stays theirs.
    recent: [Option<(Arc<NodeShape>, usize)>; RECENT],
    next: usize,
}

impl Shapes {
    /// The number of this shape.
    pub(crate) fn intern(&mut self, shape: &Arc<NodeShape>) -> usize {
        let known = self.recent.iter().flatten();
        if let Some((_, id)) = known
            .into_iter()
            .find(|(known, _)| Arc::ptr_eq(known, shape))
        {
            return *id;
        }
        let next = self.by_content.len();
        let id = *self
            .by_content
            .entry(Content(Arc::clone(shape)))
            .or_insert(next);
        self.recent[self.next] = Some((Arc::clone(shape), id));
        self.next = (self.next + 1) % RECENT;
        id
    }
}

/// A shape, compared by what filters see of it.
#[derive(Clone, Debug)]
struct Content(Arc<NodeShape>);

impl Ord for Content {
    fn cmp(&self, other: &Self) -> Ordering {
        let (a, b) = (&*self.0, &*other.0);
        a.unschedulable
            .cmp(&b.unschedulable)
            .then_with(|| a.taints.cmp(&b.taints))
            .then_with(|| a.features.cmp(&b.features))
            .then_with(|| labels(a).cmp(labels(b)))
    }
}

fn labels(shape: &NodeShape) -> impl Iterator<Item = (&Arc<str>, &Arc<str>)> {
    shape.labels.iter().filter(|(key, _)| &***key != HOSTNAME)
}

impl PartialOrd for Content {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Content {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Content {}
