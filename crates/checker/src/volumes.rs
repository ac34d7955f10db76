//! Volumes: where they are, who else has them, how many a node takes.
//!
//! Each rule reads the claims anew. Placements take no volumes away: of two pods that wait for one
//! free volume, each is told that it can have it, as the scheduler tells each by itself.

mod binding;
mod limits;
mod restrictions;
mod zone;

use model::{
    SchedulingClass,
    storage::{Claim, ClaimUse},
};

use crate::{
    Rule,
    world::{Spot, World},
};

pub(crate) fn broken(
    world: &World,
    class: &SchedulingClass,
    spot: &Spot,
) -> impl Iterator<Item = Rule> {
    let storage = &world.surroundings.storage;
    let node = &spot.node;
    [
        (
            Rule::VolumeRestrictions,
            restrictions::holds(world, class, spot),
        ),
        (Rule::NodeVolumeLimits, limits::holds(world, class, spot)),
        (Rule::VolumeBinding, binding::holds(storage, class, node)),
        (Rule::VolumeZone, zone::holds(storage, class, node)),
    ]
    .into_iter()
    .filter_map(|(rule, holds)| (!holds).then_some(rule))
}

/// A claim that was generated for a pod is that pod's only.
fn may_use(used: &ClaimUse, claim: &Claim) -> bool {
    used.owner.is_none() || used.owner == claim.owner
}

/// The claims that the pod itself names; of generated ones some rules know nothing.
fn named(class: &SchedulingClass) -> impl Iterator<Item = &ClaimUse> {
    class.claims.iter().filter(|used| used.owner.is_none())
}
