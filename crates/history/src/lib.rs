//! Whether what happened was allowed: the invariants S1 to S20 and L1 to L7, held against the whole
//! history of a world.
//!
//! A [`History`] is everything that happened in one order: commits and reads at the Kubernetes API,
//! requests to the cloud and what became of machines, and what was done to the replicas. [`check`]
//! plays it through a [`Picture`] of the truth and asks each rule about each event. The rules know
//! what the product must not do, and nothing of how it decides: the only code they share with it is
//! what decodes Kubernetes objects.

mod event;
mod facts;
mod picture;
mod rules;
#[cfg(test)]
mod tale;
#[cfg(test)]
mod tests;

use std::{collections::BTreeSet, fmt, time::Duration};

use jiff::Timestamp;

pub use event::{
    Asked, CloudRequest, Commit, Errand, Event, Fate, Kind, Machine, Note, Origin, Read,
};
pub use picture::Picture;
pub use rules::NAMES;

/// Bounds that no object of the cluster states.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Removals that nobody ordered, at once over the whole cluster: this many, or a tenth of the
    /// workers (rounded up) where that is more.
    pub removals_at_once: usize,
    /// Machines bought in any hour; `None`: any number.
    pub creates_per_hour: Option<usize>,
    /// Machines over all groups; `None`: any number.
    pub machines: Option<usize>,
    /// How long a failed record is kept as evidence.
    pub failed_ttl: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            removals_at_once: 1,
            creates_per_hour: None,
            machines: None,
            failed_ttl: Duration::from_mins(30),
        }
    }
}

/// All that happened.
#[derive(Clone, Debug, Default)]
pub struct History {
    /// The actors that are people and their tools.
    pub people: BTreeSet<String>,
    /// The actors that are the product.
    pub ours: BTreeSet<String>,
    /// Bounds that no object states.
    pub limits: Limits,
    /// From then on nothing disturbs: no fault, no crash, no human, no change of the load. What must
    /// come right in the end is judged from here; without it, it is not judged.
    pub calm: Option<Timestamp>,
    /// When the history ends, where that is later than its last event.
    pub end: Option<Timestamp>,
    /// The events, in order.
    pub events: Vec<Event>,
}

/// A rule that was broken.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Violation {
    /// The rule: `S1` to `S20`, `L1` to `L7`.
    pub rule: &'static str,
    /// The event at which it shows.
    pub seq: u64,
    /// When.
    pub at: Timestamp,
    /// Who did what to what.
    pub detail: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} at {} ({}): {}",
            self.rule, self.at, self.seq, self.detail
        )
    }
}

/// Holds every rule against the history.
#[must_use]
pub fn check(history: &History) -> Vec<Violation> {
    let mut picture = Picture::new(history);
    let mut rules = rules::all();
    let mut found = Vec::new();
    for event in &history.events {
        let step = picture.see(event);
        for rule in &mut rules {
            rule.observe(&picture, &step, &mut found);
        }
        picture.apply(step);
    }
    if let Some(end) = history.end {
        picture.now = picture.now.max(end);
    }
    for rule in &mut rules {
        rule.end(&picture, &mut found);
    }
    found
}

impl History {
    /// What happened right before and at the violation, a line each: what `before` names, and the
    /// commits and requests of the product.
    #[must_use]
    pub fn around(&self, violation: &Violation, before: usize) -> String {
        let end = self
            .events
            .partition_point(|event| event.seq <= violation.seq);
        let mut lines: Vec<String> = self.events[..end]
            .iter()
            .rev()
            .filter(|event| event.tells(&self.ours))
            .take(before)
            .map(ToString::to_string)
            .collect();
        lines.reverse();
        lines.join("\n")
    }
}
