//! NodeVolumeLimits: a node takes only so many volumes of a driver (scheduler plugin
//! `nodevolumelimits`).
//!
//! Counted are distinct volumes: those of the pods on the node, and beside them those attached
//! without a pod. One that is attached without a pod and wanted by the new pod counts twice, as it
//! does there.

use crate::{
    ClaimProblem, Failure, Filter, attachments::DriverId, class::Class, snapshot::Snapshot,
};

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
    let (Some(claims), Some((volumes, mounted))) = (&class.claims, snapshot.volumes_of(node))
    else {
        return Vec::new();
    };
    if claims.attaches.is_empty() || volumes.limits.is_empty() {
        return Vec::new();
    }
    if mounted.is_uncountable() {
        return vec![Failure::UncountableVolumes];
    }
    let excess = |(&driver, &limit): (&DriverId, &i64)| {
        let new = claims
            .attaches
            .iter()
            .filter(|&&handle| snapshot.driver(handle) == driver && !mounted.uses(handle));
        let (attached, added) = (mounted.distinct(driver), new.count() as i64);
        (added > 0 && attached + added > limit).then(|| Failure::TooManyVolumes {
            driver: snapshot.driver_name(driver).to_string(),
            attached,
            added,
            limit,
        })
    };
    volumes.limits.iter().filter_map(excess).collect()
}
