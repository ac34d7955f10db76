//! VolumeBinding: every claim has its volume within the node's reach, or can get one there.

use std::{collections::BTreeSet, sync::Arc};

use model::{
    Node, NodeSelectorTerm, SchedulingClass, Storage,
    storage::{Claim, ClaimRef, StorageClass, Volume},
};

use super::may_use;

/// A class that makes no volumes names this one.
const NOBODY: &str = "kubernetes.io/no-provisioner";

pub(crate) fn holds(storage: &Storage, class: &SchedulingClass, node: &Node) -> bool {
    let mut waiting: Vec<(&Arc<str>, &Claim)> = Vec::new();
    for used in &class.claims {
        let claim = storage.claim(&class.namespace, &used.name);
        let usable = |claim: &&Claim| !claim.lost && !claim.deleting && may_use(used, claim);
        let Some(claim) = claim.filter(usable) else {
            return false;
        };
        let holds = match &claim.volume {
            Some(volume) if claim.bind_completed => is_within_reach(storage, volume, node),
            // The controller is to bind it first.
            Some(_) => false,
            None => {
                waiting.push((&used.name, claim));
                class_of(storage, claim).is_some_and(|class| class.waits_for_consumer)
            }
        };
        if !holds {
            return false;
        }
    }
    // The smallest claim chooses first.
    waiting.sort_by_key(|(_, claim)| claim.requested);
    let mut taken: BTreeSet<&Arc<str>> = BTreeSet::new();
    waiting.into_iter().all(|(name, claim)| {
        // With a node chosen for it, a volume is about to be made for it there.
        if let Some(chosen) = &claim.selected_node {
            return *chosen == node.name && can_be_made(storage, claim, node);
        }
        let kept_for_it = |kept: &ClaimRef| {
            kept.namespace == class.namespace
                && kept.name == *name
                && (kept.uid.is_none() || kept.uid == claim.uid)
        };
        let found = find(storage, claim, node, &taken, kept_for_it);
        taken.extend(found);
        found.is_some() || can_be_made(storage, claim, node)
    })
}

fn class_of<'s>(storage: &'s Storage, claim: &Claim) -> Option<&'s StorageClass> {
    storage.classes.get(claim.class.as_ref()?)
}

/// A volume that is there and that this claim would get: the one kept for it, be it out of reach;
/// else the smallest that will do.
fn find<'s>(
    storage: &'s Storage,
    claim: &Claim,
    node: &Node,
    taken: &BTreeSet<&Arc<str>>,
    kept_for_it: impl Fn(&ClaimRef) -> bool,
) -> Option<&'s Arc<str>> {
    let will_do = |volume: &Volume| {
        volume.class == claim.class
            && volume.capacity >= claim.requested
            && volume.block == claim.block
            && volume.attributes_class == claim.attributes_class
            && !volume.deleting
    };
    let in_reach = |volume: &Volume| selects(volume.node_affinity.as_deref(), node);
    let volumes = || {
        let volumes = storage.volumes.iter();
        volumes.filter(|(name, volume)| !taken.contains(name) && will_do(volume))
    };
    let kept = volumes().find(|(_, volume)| volume.claim.as_ref().is_some_and(&kept_for_it));
    if let Some((name, volume)) = kept {
        return in_reach(volume).then_some(name);
    }
    let is_free = |volume: &Volume| {
        let modes = &volume.access_modes;
        let selector = claim.selector.as_ref();
        volume.claim.is_none()
            && volume.available
            && claim.access_modes.iter().all(|mode| modes.contains(mode))
            && selector.is_none_or(|selector| selector.matches(&volume.labels))
            && in_reach(volume)
    };
    volumes()
        .filter(|(_, volume)| is_free(volume))
        .min_by_key(|(_, volume)| volume.capacity)
        .map(|(name, _)| name)
}

/// The class has somebody who makes volumes, makes them for this node, and has room for this one.
fn can_be_made(storage: &Storage, claim: &Claim, node: &Node) -> bool {
    let Some(class) = class_of(storage, claim) else {
        return false;
    };
    let labels = &node.shape.labels;
    let value = |key: &str| labels.get(key).map(AsRef::as_ref);
    let maker = &*class.provisioner;
    let topologies = &class.allowed_topologies;
    let for_this_node = topologies.is_empty()
        || topologies.iter().any(|term| {
            !term.is_empty() && term.iter().all(|wanted| wanted.matches(value(&wanted.key)))
        });
    let has_room = || {
        storage.capacities.iter().any(|capacity| {
            let largest = capacity.maximum_volume_size.or(capacity.capacity);
            let nodes = capacity.nodes.as_ref();
            Some(&capacity.class) == claim.class.as_ref()
                && largest.is_some_and(|largest| claim.requested <= largest)
                && nodes.is_some_and(|nodes| nodes.matches(labels))
        })
    };
    let says_how_much = storage.publishing_drivers.contains(maker) && claim.requested > 0;
    !maker.is_empty() && maker != NOBODY && for_this_node && (!says_how_much || has_room())
}

/// A bound volume is there and can be attached to the node, as what its plugin has become on it.
fn is_within_reach(storage: &Storage, volume: &Arc<str>, node: &Node) -> bool {
    let Some(volume) = storage.volumes.get(volume) else {
        return false;
    };
    let moved = volume.in_tree.as_ref().filter(|in_tree| {
        let plugins = storage.migrated.get(&node.name);
        plugins.is_some_and(|plugins| plugins.contains(&in_tree.plugin))
    });
    let terms = match moved {
        Some(in_tree) => &in_tree.node_affinity,
        None => &volume.node_affinity,
    };
    selects(terms.as_deref(), node)
}

/// A volume's terms are asked of labels alone, without the node's name.
fn selects(terms: Option<&[NodeSelectorTerm]>, node: &Node) -> bool {
    let labels = &node.shape.labels;
    terms.is_none_or(|terms| terms.iter().any(|term| term.matches("", labels)))
}
