//! InterPodAffinity: required affinity and anti-affinity, the pod's own and that of running pods
//! (scheduler plugin `interpodaffinity`).
//!
//! A running pod helps only where it matches all affinity terms at once; anti-affinity terms forbid
//! one by one. The first pod of a group that asks for its own kind may run anywhere.

use crate::{Failure, class::Class, snapshot::Snapshot, topology::counters::CounterId};

pub(crate) fn check(snapshot: &Snapshot, class: &Class, node: usize) -> Vec<Failure> {
    let topology = snapshot.topology();
    let place = |counter: CounterId| {
        let key = topology.counters.key(counter);
        let domain = topology.keys.of(key, node)?;
        let value = topology.keys.value(key, domain);
        Some((topology.keys.name(key).to_string(), value.to_string()))
    };
    let mut failures = affinity(snapshot, class, node);
    let occupied = |counter: &&CounterId| topology.counters.at(&topology.keys, **counter, node) > 0;
    let forbidden = class.forbids.iter().filter(occupied);
    failures.extend(
        forbidden
            .filter_map(|counter| place(*counter))
            .map(|(key, domain)| Failure::ForbiddenPod { key, domain }),
    );
    let refused_by = &topology.identities.get(class.identity).refused_by;
    let forbidding = refused_by.iter().filter(occupied);
    failures.extend(
        forbidding
            .filter_map(|counter| place(*counter))
            .map(|(key, domain)| Failure::ForbiddenByPod { key, domain }),
    );
    failures.sort();
    failures.dedup();
    failures
}

fn affinity(snapshot: &Snapshot, class: &Class, node: usize) -> Vec<Failure> {
    let topology = snapshot.topology();
    let Some(near) = &class.near else {
        return Vec::new();
    };
    let mut missing = Vec::new();
    let mut absent = Vec::new();
    for &counter in &near.counters {
        let key = topology.counters.key(counter);
        let name = topology.keys.name(key);
        match topology.keys.of(key, node) {
            None => missing.push(Failure::MissingAffinityKey {
                key: name.to_string(),
            }),
            Some(domain) if topology.counters.in_domain(counter, domain) == 0 => {
                absent.push(Failure::NoAffinePod {
                    key: name.to_string(),
                    domain: topology.keys.value(key, domain).to_string(),
                });
            }
            Some(_) => {}
        }
    }
    if missing.is_empty() && is_first(snapshot, class) {
        return Vec::new();
    }
    missing.extend(absent);
    missing
}

/// It asks for its own kind, and no such pod runs anywhere.
fn is_first(snapshot: &Snapshot, class: &Class) -> bool {
    let counters = &snapshot.topology().counters;
    class.near.as_ref().is_some_and(|near| {
        near.matches_itself
            && near
                .counters
                .iter()
                .all(|&counter| counters.is_empty(counter))
    })
}

pub(crate) fn passes(snapshot: &Snapshot, class: &Class, node: usize) -> bool {
    let topology = snapshot.topology();
    let (keys, counters) = (&topology.keys, &topology.counters);
    let free = |counters_of: &[CounterId]| {
        counters_of
            .iter()
            .all(|&counter| counters.at(keys, counter, node) == 0)
    };
    if !free(&class.forbids) || !free(&topology.identities.get(class.identity).refused_by) {
        return false;
    }
    let Some(near) = &class.near else {
        return true;
    };
    near.counters
        .iter()
        .all(|&counter| counters.at(keys, counter, node) > 0)
        || (is_first(snapshot, class)
            && near
                .counters
                .iter()
                .all(|&counter| keys.of(counters.key(counter), node).is_some()))
}

/// Pods that forbid their own kind come one to a domain.
pub(crate) fn at_most(snapshot: &Snapshot, class: &Class, node: usize) -> u32 {
    let keys = &snapshot.topology().keys;
    let alone = class
        .apart_by
        .iter()
        .any(|&key| keys.of(key, node).is_some());
    if alone { 1 } else { u32::MAX }
}
