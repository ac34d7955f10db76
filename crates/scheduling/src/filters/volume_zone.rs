//! VolumeZone: zone and region labels of a claim's volume must agree with the node's (scheduler
//! plugin `volumezone`).
//!
//! Generic ephemeral volumes are not looked at. A node with none of the four labels is one of a
//! cluster without zones, and takes any volume.

use model::{SchedulingClass, Storage};

use crate::{ClaimProblem, Failure, Filter, view::View};

const BETA_ZONE: &str = "failure-domain.beta.kubernetes.io/zone";
const BETA_REGION: &str = "failure-domain.beta.kubernetes.io/region";
const ZONE: &str = "topology.kubernetes.io/zone";
const REGION: &str = "topology.kubernetes.io/region";
const LABELS: [&str; 4] = [BETA_ZONE, BETA_REGION, ZONE, REGION];

pub(crate) fn check(class: &SchedulingClass, storage: &Storage, node: View<'_>) -> Vec<Failure> {
    let has_zone = LABELS.iter().any(|key| node.label(key).is_some());
    let mut failures = Vec::new();
    for used in class.claims.iter().filter(|used| used.owner.is_none()) {
        let Some(problem) = problem(class, storage, &used.name, has_zone, node) else {
            continue;
        };
        failures.push(Failure::Claim {
            filter: Filter::VolumeZone,
            claim: used.name.to_string(),
            problem,
        });
    }
    failures
}

fn problem(
    class: &SchedulingClass,
    storage: &Storage,
    name: &std::sync::Arc<str>,
    has_zone: bool,
    node: View<'_>,
) -> Option<ClaimProblem> {
    let Some(claim) = storage.claim(&class.namespace, name) else {
        return Some(ClaimProblem::NotFound);
    };
    let Some(bound) = claim.volume.as_ref().filter(|name| !name.is_empty()) else {
        let Some(class) = claim.class.as_ref().filter(|name| !name.is_empty()) else {
            return Some(ClaimProblem::NoClass);
        };
        return match storage.classes.get(class) {
            None => Some(ClaimProblem::ClassNotFound {
                class: class.to_string(),
            }),
            Some(class) if class.waits_for_consumer => None,
            Some(_) => Some(ClaimProblem::Unbound),
        };
    };
    let Some(volume) = storage.volumes.get(bound) else {
        return Some(ClaimProblem::VolumeNotFound {
            volume: bound.to_string(),
        });
    };
    if !has_zone {
        return None;
    }
    LABELS.iter().find_map(|key| {
        let value = volume.labels.get(*key)?;
        let mut zones = value.split("__").map(str::trim);
        if zones.clone().any(str::is_empty) {
            // A list that cannot be read is no constraint.
            return None;
        }
        let found = node.label(key).or_else(|| node.label(current(key)));
        let agrees = found.is_some_and(|found| zones.any(|zone| zone == found));
        (!agrees).then(|| ClaimProblem::OtherZone {
            volume: bound.to_string(),
            wanted: format!("{key}={value}"),
        })
    })
}

/// The label that took the place of a beta one.
fn current(key: &str) -> &str {
    match key {
        BETA_ZONE => ZONE,
        BETA_REGION => REGION,
        other => other,
    }
}
