//! NodeResourcesFit: each requested amount must be free (scheduler plugin `noderesources`, `fit.go`).
//!
//! The pod count is always checked; a resource that is not asked for never is, even on a node that
//! is overcommitted in it.

use model::{Node, Resources, SchedulingClass};

use crate::Failure;

pub(crate) fn fits(class: &SchedulingClass, node: &Node, requested: &Resources) -> bool {
    let has = &node.shape.allocatable;
    let asked = &class.requests;
    let room = |asked: i64, has: i64, used: i64| asked <= 0 || asked <= has.saturating_sub(used);
    asked.pods <= has.pods.saturating_sub(requested.pods)
        && room(asked.cpu_milli, has.cpu_milli, requested.cpu_milli)
        && room(asked.memory, has.memory, requested.memory)
        && room(asked.ephemeral, has.ephemeral, requested.ephemeral)
        && asked
            .extended
            .iter()
            .all(|(name, amount)| room(*amount, has.get(name), requested.get(name)))
}

/// How many pods of `class`, at most `most`, fit one after the other: what [`fits`] would say so
/// many times, in one division per resource.
pub(crate) fn how_many(
    class: &SchedulingClass,
    node: &Node,
    requested: &Resources,
    most: u32,
) -> u32 {
    let has = &node.shape.allocatable;
    let asked = &class.requests;
    let times = |asked: i64, has: i64, used: i64| {
        if asked <= 0 {
            i64::MAX
        } else {
            has.saturating_sub(used).max(0) / asked
        }
    };
    if asked.pods <= 0 && asked.pods > has.pods.saturating_sub(requested.pods) {
        return 0;
    }
    let extended = asked
        .extended
        .iter()
        .map(|(name, amount)| times(*amount, has.get(name), requested.get(name)))
        .min()
        .unwrap_or(i64::MAX);
    let fitting = times(asked.pods, has.pods, requested.pods)
        .min(times(asked.cpu_milli, has.cpu_milli, requested.cpu_milli))
        .min(times(asked.memory, has.memory, requested.memory))
        .min(times(asked.ephemeral, has.ephemeral, requested.ephemeral))
        .min(extended);
    u32::try_from(fitting).unwrap_or(u32::MAX).min(most)
}

pub(crate) fn check(class: &SchedulingClass, node: &Node, requested: &Resources) -> Vec<Failure> {
    let has = &node.shape.allocatable;
    let asked = &class.requests;
    let names = ["cpu", "memory", "ephemeral-storage"]
        .into_iter()
        .chain(asked.extended.keys().map(AsRef::as_ref));
    let mut failures = Vec::new();
    let mut add = |resource: &str, asked: i64, has: i64, used: i64| {
        let free = has.saturating_sub(used);
        if asked > free {
            failures.push(Failure::InsufficientResource {
                resource: resource.to_owned(),
                requested: asked,
                free,
                exceeds_capacity: asked > has,
            });
        }
    };
    add("pods", asked.pods, has.pods, requested.pods);
    for name in names {
        if asked.get(name) > 0 {
            add(name, asked.get(name), has.get(name), requested.get(name));
        }
    }
    failures
}
