//! NodeResourcesFit: each requested amount must be free (scheduler plugin `noderesources`, `fit.go`).
//!
//! The pod count is always checked; a resource that is not asked for never is, even on a node that
//! is overcommitted in it.

use model::{Node, Resources, SchedulingClass};

use crate::{Failure, amounts::Amounts, snapshot::ResourceId};

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
    if asked.pods <= 0 && asked.pods > has.pods.saturating_sub(requested.pods) {
        return 0;
    }
    let room = |asked: i64, has: i64, used: i64| times(asked, has.saturating_sub(used));
    let extended = asked
        .extended
        .iter()
        .map(|(name, amount)| room(*amount, has.get(name), requested.get(name)))
        .min()
        .unwrap_or(i64::MAX);
    let fitting = room(asked.pods, has.pods, requested.pods)
        .min(room(asked.cpu_milli, has.cpu_milli, requested.cpu_milli))
        .min(room(asked.memory, has.memory, requested.memory))
        .min(room(asked.ephemeral, has.ephemeral, requested.ephemeral))
        .min(extended);
    u32::try_from(fitting).unwrap_or(u32::MAX).min(most)
}

/// How many times `asked` is in what is free.
fn times(asked: i64, free: i64) -> i64 {
    if asked <= 0 {
        i64::MAX
    } else {
        free.max(0) / asked
    }
}

pub(crate) fn check(class: &SchedulingClass, has: &Resources, free: &Resources) -> Vec<Failure> {
    let asked = &class.requests;
    let names = ["cpu", "memory", "ephemeral-storage"]
        .into_iter()
        .chain(asked.extended.keys().map(AsRef::as_ref));
    let mut failures = Vec::new();
    let mut add = |resource: &str, asked: i64, has: i64, free: i64| {
        if asked > free {
            failures.push(Failure::InsufficientResource {
                resource: resource.to_owned(),
                requested: asked,
                free,
                exceeds_capacity: asked > has,
            });
        }
    };
    add("pods", asked.pods, has.pods, free.pods);
    for name in names {
        if asked.get(name) > 0 {
            add(name, asked.get(name), has.get(name), free.get(name));
        }
    }
    failures
}

/// What a class asks for, by the snapshot's numbers.
#[derive(Clone, Debug, Default)]
pub(crate) struct Request {
    /// What a pod takes.
    pub(crate) takes: Amounts,
    /// What is compared: what is not asked for is less than anything.
    compared: Amounts,
    /// Extended resources a pod takes.
    pub(crate) extended: Vec<(ResourceId, i64)>,
}

impl Request {
    pub(crate) fn new(requests: &Resources, extended: Vec<(ResourceId, i64)>) -> Self {
        let takes = Amounts::of(requests);
        let mut compared = takes;
        for amount in &mut compared.0[Amounts::COMPARED_IF_ASKED] {
            if *amount <= 0 {
                *amount = i64::MIN;
            }
        }
        Self {
            takes,
            compared,
            extended,
        }
    }

    /// Whether it is in what is free.
    pub(crate) fn fits(&self, free: &Amounts, free_extended: &[i64]) -> bool {
        self.compared.within(free)
            && self.extended.iter().all(|&(resource, amount)| {
                amount <= 0 || amount <= free_extended.get(resource as usize).copied().unwrap_or(0)
            })
    }

    /// How many times in a row it is.
    pub(crate) fn at_most(&self, free: &Amounts, free_extended: &[i64]) -> u32 {
        if !self.fits(free, free_extended) {
            return 0;
        }
        let base = self.takes.0.iter().zip(&free.0);
        let extended = self.extended.iter().map(|(resource, amount)| {
            let free = free_extended.get(*resource as usize).copied().unwrap_or(0);
            times(*amount, free)
        });
        let fitting = base
            .map(|(asked, free)| times(*asked, *free))
            .chain(extended)
            .min()
            .unwrap_or(i64::MAX);
        u32::try_from(fitting).unwrap_or(u32::MAX)
    }
}
