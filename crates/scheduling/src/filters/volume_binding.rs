//! VolumeBinding: every claim has its volume within reach of the node, or can get one there
//! (scheduler plugin `volumebinding`; component-helpers `storage/volume`).
//!
//! Placements change nothing here: a volume that one pod would get is not taken from the next.

use std::{collections::BTreeSet, sync::Arc};

use model::{
    NodeName, NodeSelectorTerm, SchedulingClass, Storage,
    storage::{Claim, ClaimUse, StorageClass, Volume},
};

use super::node_affinity;
use crate::{ClaimProblem, Failure, Filter, view::View, volumes::FreeVolumes};

/// The class's provisioner when nothing provisions.
const NO_PROVISIONER: &str = "kubernetes.io/no-provisioner";

pub(crate) fn check(
    class: &SchedulingClass,
    storage: &Storage,
    free: &FreeVolumes,
    node: View<'_>,
) -> Vec<Failure> {
    let say = |name: &Arc<str>, problem| Failure::Claim {
        filter: Filter::VolumeBinding,
        claim: name.to_string(),
        problem,
    };
    let mut failures = Vec::new();
    let mut bound = Vec::new();
    let mut waiting = Vec::new();
    for used in &class.claims {
        match state(class, storage, used) {
            State::Refused(problem) => failures.push(say(&used.name, problem)),
            State::Bound(claim) => bound.push((&used.name, claim)),
            State::Waiting(claim) => waiting.push((&used.name, claim)),
        }
    }
    if !failures.is_empty() {
        return failures;
    }
    for (name, claim) in bound {
        failures.extend(reach(storage, claim, node).map(|problem| say(name, problem)));
    }
    let mut chosen = BTreeSet::new();
    // The smallest is served first; each takes the smallest volume that fits.
    waiting.sort_by_key(|(_, claim)| claim.requested);
    for (name, claim) in waiting {
        let volume = match &claim.selected_node {
            Some(selected) if selected.as_str() != node.name => {
                let node = selected.to_string();
                failures.push(say(name, ClaimProblem::SelectedNode { node }));
                continue;
            }
            // Provisioning is under way: existing volumes are out of the question.
            Some(_) => None,
            None => free.find(storage, &class.namespace, name, claim, node, &chosen),
        };
        match volume {
            Some(volume) => {
                chosen.insert(volume);
            }
            None => {
                failures.extend(provision(storage, claim, node).map(|problem| say(name, problem)));
            }
        }
    }
    failures
}

/// How far a claim is.
enum State<'a> {
    /// No node will do.
    Refused(ClaimProblem),
    /// It has its volume.
    Bound(&'a Claim),
    /// It gets its volume where its pod goes.
    Waiting(&'a Claim),
}

fn state<'a>(class: &SchedulingClass, storage: &'a Storage, used: &ClaimUse) -> State<'a> {
    let Some(claim) = storage.claim(&class.namespace, &used.name) else {
        return State::Refused(ClaimProblem::NotFound);
    };
    if claim.lost {
        return State::Refused(ClaimProblem::Lost);
    }
    if claim.deleting {
        return State::Refused(ClaimProblem::Deleting);
    }
    if !owned(used, claim) {
        return State::Refused(ClaimProblem::OfAnotherPod);
    }
    if claim.is_bound() {
        return State::Bound(claim);
    }
    let Some(name) = claim.class.as_ref().filter(|name| !name.is_empty()) else {
        return State::Refused(ClaimProblem::Unbound);
    };
    match storage.classes.get(name) {
        None => State::Refused(ClaimProblem::ClassNotFound {
            class: name.to_string(),
        }),
        // One that names its volume is bound by the controller, whatever its class says.
        Some(class) if class.waits_for_consumer && claim.volume.is_none() => State::Waiting(claim),
        Some(_) => State::Refused(ClaimProblem::Unbound),
    }
}

/// Whether a generated claim was generated for the pod that uses it.
pub(crate) fn owned(used: &ClaimUse, claim: &Claim) -> bool {
    used.owner.is_none() || used.owner == claim.owner
}

fn reach(storage: &Storage, claim: &Claim, node: View<'_>) -> Option<ClaimProblem> {
    let name = claim.volume.as_ref()?;
    match storage.volumes.get(name) {
        None => Some(ClaimProblem::VolumeNotFound {
            volume: name.to_string(),
        }),
        Some(volume) if !is_reached(storage, volume, node) => Some(ClaimProblem::VolumeElsewhere {
            volume: name.to_string(),
        }),
        Some(_) => None,
    }
}

/// Whether a bound volume can be attached to the node, whose plugin for it may have moved to CSI.
fn is_reached(storage: &Storage, volume: &Volume, node: View<'_>) -> bool {
    let migrated = volume.in_tree.as_ref().filter(|in_tree| {
        !storage.migrated.is_empty()
            && storage
                .migrated
                .get(&NodeName::new(node.name))
                .is_some_and(|plugins| plugins.contains(&in_tree.plugin))
    });
    match migrated {
        Some(in_tree) => matches(in_tree.node_affinity.as_deref(), node),
        None => within_reach(volume, node),
    }
}

/// Whether the volume itself can be attached to the node.
pub(crate) fn within_reach(volume: &Volume, node: View<'_>) -> bool {
    matches(volume.node_affinity.as_deref(), node)
}

/// A volume's terms go by labels: a name in them is compared with the empty one.
fn matches(terms: Option<&[NodeSelectorTerm]>, node: View<'_>) -> bool {
    node_affinity::is_affine(terms, View { name: "", ..node })
}

/// Why no volume can be made for this claim.
fn provision(storage: &Storage, claim: &Claim, node: View<'_>) -> Option<ClaimProblem> {
    let name = claim.class.as_ref()?;
    let class = storage.classes.get(name)?;
    if class.provisioner.is_empty() || &*class.provisioner == NO_PROVISIONER {
        return Some(ClaimProblem::NoVolume {
            class: name.to_string(),
        });
    }
    if !reachable(class, node) {
        return Some(ClaimProblem::OtherTopology {
            class: name.to_string(),
        });
    }
    if !storage.publishing_drivers.contains(&class.provisioner) || claim.requested == 0 {
        return None;
    }
    let sufficient = storage.capacities.iter().any(|capacity| {
        capacity.class == *name
            && capacity
                .maximum_volume_size
                .or(capacity.capacity)
                .is_some_and(|limit| limit >= claim.requested)
            && capacity
                .nodes
                .as_ref()
                .is_some_and(|nodes| nodes.matches_by(|key| node.label(key)))
    });
    (!sufficient).then(|| ClaimProblem::NoCapacity {
        class: name.to_string(),
    })
}

/// Whether the class makes volumes for this node; a term without requirements selects none.
fn reachable(class: &StorageClass, node: View<'_>) -> bool {
    class.allowed_topologies.is_empty()
        || class
            .allowed_topologies
            .iter()
            .any(|term| !term.is_empty() && term.iter().all(|r| r.matches(node.label(&r.key))))
}
