//! NodeVolumeLimits: a node takes only so many volumes of a driver (scheduler plugin
//! `nodevolumelimits`).
//!
//! Counted are distinct volumes: those of the pods on the node, and beside them those attached
//! without a pod. One that is attached without a pod and wanted by the new pod counts twice, as it
//! does there.

use std::collections::BTreeMap;

use crate::{ClaimProblem, Failure, Filter, class::Class, snapshot::Snapshot};

pub(crate) fn check(snapshot: &Snapshot, class: &Class, node: usize) -> Vec<Failure> {
    let Some(claims) = &class.claims else {
        return Vec::new();
    };
    let say = |claim: &str, problem| Failure::Claim {
        filter: Filter::NodeVolumeLimits,
        claim: claim.to_owned(),
        problem,
    };
    let missing = claims
        .missing
        .iter()
        .map(|used| say(&used.name, ClaimProblem::NotFound));
    let foreign = claims
        .foreign
        .iter()
        .map(|name| say(name, ClaimProblem::OfAnotherPod));
    let mut failures: Vec<Failure> = missing.chain(foreign).collect();
    if failures.is_empty() {
        failures.extend(excess(snapshot, class, node));
    }
    failures
}

pub(crate) fn passes(snapshot: &Snapshot, class: &Class, node: usize) -> bool {
    class.claims.as_ref().is_none_or(|claims| {
        claims.missing.is_empty()
            && claims.foreign.is_empty()
            && excess(snapshot, class, node).is_empty()
    })
}

fn excess(snapshot: &Snapshot, class: &Class, node: usize) -> Vec<Failure> {
    let (Some(claims), Some(volumes)) = (&class.claims, snapshot.volumes_of(node)) else {
        return Vec::new();
    };
    if claims.attaches.is_empty() || volumes.limits.is_empty() {
        return Vec::new();
    }
    let mut used = Vec::new();
    for running in snapshot
        .classes_on(node)
        .filter_map(|running| running.claims.as_ref())
    {
        if !running.foreign.is_empty() {
            return vec![Failure::UncountableVolumes];
        }
        used.extend_from_slice(&running.attaches);
    }
    used.sort_unstable();
    used.dedup();
    let mut added: BTreeMap<u32, i64> = BTreeMap::new();
    for handle in &claims.attaches {
        if used.binary_search(handle).is_err() {
            *added.entry(snapshot.driver(*handle)).or_default() += 1;
        }
    }
    let mut failures = Vec::new();
    for (&driver, &limit) in &volumes.limits {
        let Some(&added) = added.get(&driver) else {
            continue;
        };
        let without_pod = volumes
            .attached
            .iter()
            .filter(|handle| used.binary_search(handle).is_err());
        let attached = used
            .iter()
            .chain(without_pod)
            .filter(|handle| snapshot.driver(**handle) == driver)
            .count() as i64;
        if attached + added > limit {
            failures.push(Failure::TooManyVolumes {
                driver: snapshot.driver_name(driver).to_string(),
                attached,
                added,
                limit,
            });
        }
    }
    failures
}
