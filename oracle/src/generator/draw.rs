//! Draws for one cluster, from one seed.

use std::collections::BTreeSet;

use runtime::Randomness;
use serde_json::Value;

use super::Edge;

/// The stream of one cluster, and the edges that were drawn for it.
pub(super) struct Draw {
    random: Randomness,
    pub(super) edges: BTreeSet<Edge>,
}

impl Draw {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            random: Randomness::seeded(seed),
            edges: BTreeSet::new(),
        }
    }

    /// Below `bound`.
    pub(super) fn below(&self, bound: usize) -> usize {
        self.random.below(bound as u64) as usize
    }

    /// True in so many of a hundred cases.
    pub(super) fn percent(&self, share: u64) -> bool {
        self.random.below(100) < share
    }

    /// One of these.
    pub(super) fn one<T: Copy>(&self, choices: &[T]) -> T {
        choices[self.below(choices.len())]
    }

    /// Some of these, each with the same chance; at least one.
    pub(super) fn some<T: Copy>(&self, choices: &[T], share: u64) -> Vec<T> {
        let drawn: Vec<T> = choices
            .iter()
            .copied()
            .filter(|_| self.percent(share))
            .collect();
        if drawn.is_empty() {
            return vec![self.one(choices)];
        }
        drawn
    }

    /// Notes an edge.
    pub(super) fn aim(&mut self, edge: Edge) {
        self.edges.insert(edge);
    }
}

/// Appends to a list, which is made where there is none.
pub(super) fn push(list: &mut Value, item: Value) {
    match list {
        Value::Array(items) => items.push(item),
        other => *other = Value::Array(vec![item]),
    }
}

/// A string field, empty where there is none.
pub(super) fn text<'v>(value: &'v Value, path: &str) -> &'v str {
    value.pointer(path).and_then(Value::as_str).unwrap_or("")
}
