//! Pods are spread over domains.

use std::collections::BTreeMap;

use model::{InclusionPolicy, Node, SchedulingClass, SpreadConstraint};

use crate::{
    node,
    world::{Place, World},
};

pub(crate) fn holds(world: &World, class: &SchedulingClass, place: Place) -> bool {
    let here = &world.spots[place.0].node;
    class
        .spread
        .iter()
        .all(|constraint| holds_for(world, class, constraint, here))
}

fn value<'a>(node: &'a Node, constraint: &SpreadConstraint) -> Option<&'a str> {
    node.shape
        .labels
        .get(&*constraint.topology_key)
        .map(AsRef::as_ref)
}

/// A node has domains only if it has those of all constraints, and the pod could use it as far as
/// the constraint cares.
fn counts(class: &SchedulingClass, constraint: &SpreadConstraint, node: &Node) -> bool {
    let asked = |policy| policy == InclusionPolicy::Honor;
    class.spread.iter().all(|one| value(node, one).is_some())
        && (!asked(constraint.node_affinity_policy) || node::selects(class, node))
        && (!asked(constraint.node_taints_policy) || node::tolerates_all(class, node))
}

fn holds_for(
    world: &World,
    class: &SchedulingClass,
    constraint: &SpreadConstraint,
    here: &Node,
) -> bool {
    let Some(mine) = value(here, constraint) else {
        return false;
    };
    // The empty selector counts nobody but the pod itself.
    let counted = |other: &SchedulingClass| {
        let selector = constraint.selector.as_ref();
        other.namespace == class.namespace
            && selector.is_some_and(|s| !s.requirements.is_empty() && s.matches(&other.labels))
    };
    // Domains without pods count, too.
    let mut domains: BTreeMap<&str, i64> = world
        .spots
        .iter()
        .filter(|spot| counts(class, constraint, &spot.node))
        .filter_map(|spot| Some((value(&spot.node, constraint)?, 0)))
        .collect();
    for (number, other) in world.classes.iter().enumerate() {
        if !counted(other) {
            continue;
        }
        for spot in world.spots_of(number) {
            let pods = spot.pods.get(&(number, false)).copied().unwrap_or(0);
            if pods > 0
                && counts(class, constraint, &spot.node)
                && let Some(domain) = value(&spot.node, constraint)
            {
                *domains.entry(domain).or_default() += i64::from(pods);
            }
        }
    }
    let enough =
        i64::try_from(domains.len()).unwrap_or(i64::MAX) >= i64::from(constraint.min_domains);
    let least = domains
        .values()
        .min()
        .copied()
        .filter(|_| enough)
        .unwrap_or(0);
    let itself = constraint
        .selector
        .as_ref()
        .is_some_and(|s| s.matches(&class.labels));
    let there = domains.get(mine).copied().unwrap_or(0) + i64::from(itself);
    there - least <= i64::from(constraint.max_skew)
}
