//! The four resources that every pod and node has, side by side.
//!
//! Sums wrap, as the scheduler's own do: an absurd request of a running pod then has the same
//! effect here as there, and taking it away again is exact.

use model::Resources;

/// Pods, CPU, memory, ephemeral storage.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Amounts(pub(crate) [i64; 4]);

impl Amounts {
    /// All but the pods.
    pub(crate) const COMPARED_IF_ASKED: std::ops::Range<usize> = 1..4;

    pub(crate) fn of(resources: &Resources) -> Self {
        Self([
            resources.pods,
            resources.cpu_milli,
            resources.memory,
            resources.ephemeral,
        ])
    }

    pub(crate) fn add(&mut self, other: &Self, times: i64) {
        for (mine, other) in self.0.iter_mut().zip(&other.0) {
            *mine = mine.wrapping_add(other.wrapping_mul(times));
        }
    }

    pub(crate) fn within(&self, other: &Self) -> bool {
        self.0
            .iter()
            .zip(&other.0)
            .all(|(mine, other)| mine <= other)
    }
}
