//! The rules, each a small machine fed event by event; a file for each family.

mod disruption;
mod drain;
mod leadership;
mod ownership;
mod phases;
mod placement;
mod progress;
mod purchases;

use crate::{
    Violation,
    picture::{Picture, Step},
};

/// A rule. `picture` is what was so right before the event.
pub(crate) trait Rule {
    /// Something happens.
    fn observe(&mut self, picture: &Picture, step: &Step<'_>, found: &mut Vec<Violation>);

    /// Nothing happens any more.
    fn end(&mut self, _picture: &Picture, _found: &mut Vec<Violation>) {}
}

/// The names of all rules, in their order.
pub const NAMES: [&str; 27] = [
    "S1", "S2", "S3", "S4", "S5", "S6", "S7", "S8", "S9", "S10", "S11", "S12", "S13", "S14", "S15",
    "S16", "S17", "S18", "S19", "S20", "L1", "L2", "L3", "L4", "L5", "L6", "L7",
];

pub(crate) fn all() -> Vec<Box<dyn Rule>> {
    vec![
        Box::new(purchases::OneMachineEach),
        Box::new(ownership::NoOrphans::default()),
        Box::new(purchases::NotAboveMaximum),
        Box::new(disruption::NotBelowMinimum),
        Box::new(ownership::Bound),
        Box::new(drain::NothingUnderneath),
        Box::new(drain::Evictions::default()),
        Box::new(drain::Wishes::default()),
        Box::new(placement::PlaceForEach::default()),
        Box::new(leadership::FreshFacts::default()),
        Box::new(leadership::SingleWriter),
        Box::new(drain::Sequence),
        Box::new(phases::Edges),
        Box::new(ownership::ProvenGone),
        Box::new(ownership::Identity),
        Box::new(ownership::ManagedOnly),
        Box::new(disruption::FewAtOnce),
        Box::new(disruption::NotWhileGrowing),
        Box::new(purchases::Rate::default()),
        Box::new(disruption::HealthGate),
        Box::new(progress::Converges),
        Box::new(progress::FailedCleaned),
        Box::new(progress::PodsServed::default()),
        Box::new(progress::DeletionsEnd),
        Box::new(progress::NoCordonLeft::default()),
        Box::new(progress::MinimumKept),
        Box::new(progress::Awake::default()),
    ]
}

pub(crate) fn broken(
    found: &mut Vec<Violation>,
    rule: &'static str,
    picture: &Picture,
    detail: String,
) {
    found.push(Violation {
        rule,
        seq: picture.seq,
        at: picture.now,
        detail,
    });
}
