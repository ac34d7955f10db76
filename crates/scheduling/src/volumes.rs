//! Volumes that waiting claims could get, by what they are looked up by.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use model::{
    Requirement, Storage,
    storage::{Claim, ClaimRef, Volume},
};

use crate::{
    filters::volume_binding::within_reach,
    view::{HOSTNAME, View},
};

/// A claim's namespace and name.
type ClaimName = (Arc<str>, Arc<str>);

/// Names of volumes that are not in use.
#[derive(Clone, Debug, Default)]
pub(crate) struct FreeVolumes {
    /// Kept for nobody, by storage class.
    by_class: BTreeMap<Arc<str>, Vec<Arc<str>>>,
    /// Kept for a claim, by its namespace and name.
    by_claim: BTreeMap<ClaimName, Vec<Arc<str>>>,
}

impl FreeVolumes {
    pub(crate) fn new(storage: &Storage) -> Self {
        let mut free = Self::default();
        for (name, volume) in &storage.volumes {
            let list = match (&volume.claim, &volume.class) {
                (
                    Some(ClaimRef {
                        namespace, name, ..
                    }),
                    _,
                ) => free
                    .by_claim
                    .entry((Arc::clone(namespace), Arc::clone(name)))
                    .or_default(),
                (None, Some(class)) if volume.available => {
                    free.by_class.entry(Arc::clone(class)).or_default()
                }
                (None, _) => continue,
            };
            list.push(Arc::clone(name));
        }
        free
    }

    /// The volume a claim that waits would get on this node: the one that is kept for it, else the
    /// smallest that fits and is not chosen yet (component-helpers `FindMatchingVolume`).
    pub(crate) fn find(
        &self,
        storage: &Storage,
        namespace: &Arc<str>,
        name: &Arc<str>,
        claim: &Claim,
        node: View<'_>,
        chosen: &BTreeSet<Arc<str>>,
    ) -> Option<Arc<str>> {
        let volume = |name: &Arc<str>| {
            let volume = storage.volumes.get(name)?;
            (!chosen.contains(name) && suits(volume, claim)).then(|| (Arc::clone(name), volume))
        };
        let kept = self
            .by_claim
            .get(&(Arc::clone(namespace), Arc::clone(name)))
            .into_iter()
            .flatten()
            .filter_map(volume)
            // Only volumes of the claim's own class are looked at.
            .find(|(_, volume)| volume.class == claim.class && is_for(volume, claim));
        if let Some((name, volume)) = kept {
            return within_reach(volume, node).then_some(name);
        }
        self.by_class
            .get(claim.class.as_ref()?)?
            .iter()
            .filter_map(volume)
            .filter(|(_, volume)| {
                let modes = &claim.access_modes;
                modes.iter().all(|mode| volume.access_modes.contains(mode))
                    && claim
                        .selector
                        .as_ref()
                        .is_none_or(|selector| selector.matches(&volume.labels))
                    && within_reach(volume, node)
            })
            .min_by_key(|(_, volume)| volume.capacity)
            .map(|(name, _)| name)
    }
}

/// What even a volume that is kept for the claim has to be like.
fn suits(volume: &Volume, claim: &Claim) -> bool {
    volume.capacity >= claim.requested
        && volume.block == claim.block
        && non_empty(volume.attributes_class.as_ref()) == non_empty(claim.attributes_class.as_ref())
        && !volume.deleting
}

fn non_empty(name: Option<&Arc<str>>) -> Option<&Arc<str>> {
    name.filter(|name| !name.is_empty())
}

/// Whether the volume is kept for this very claim.
fn is_for(volume: &Volume, claim: &Claim) -> bool {
    volume
        .claim
        .as_ref()
        .is_some_and(|kept| kept.uid.is_none() || kept.uid == claim.uid)
}

impl FreeVolumes {
    /// Whether what decides about this claim looks at names or hostnames of nodes.
    pub(crate) fn mention_names(
        &self,
        storage: &Storage,
        namespace: &Arc<str>,
        name: &Arc<str>,
        claim: &Claim,
    ) -> bool {
        let by_hostname =
            |requirements: &[Requirement]| requirements.iter().any(|r| &*r.key == HOSTNAME);
        let local = |name: &Arc<str>| {
            storage.volumes.get(name).is_some_and(|volume| {
                let terms = volume.node_affinity.as_deref().unwrap_or_default();
                terms
                    .iter()
                    .any(|term| by_hostname(&term.match_expressions))
            })
        };
        if let Some(name) = &claim.volume {
            // What has moved to CSI is said node by node.
            let volume = storage.volumes.get(name);
            let moves = volume.is_some_and(|volume| volume.in_tree.is_some());
            return local(name) || (moves && !storage.migrated.is_empty());
        }
        let Some(class) = &claim.class else {
            return false;
        };
        let kept = self
            .by_claim
            .get(&(Arc::clone(namespace), Arc::clone(name)));
        claim.selected_node.is_some()
            || kept.into_iter().flatten().any(local)
            || self.by_class.get(class).into_iter().flatten().any(local)
            || storage.classes.get(class).is_some_and(|class| {
                class
                    .allowed_topologies
                    .iter()
                    .any(|term| by_hostname(term))
            })
            || storage.capacities.iter().any(|capacity| {
                let nodes = capacity.nodes.as_ref();
                capacity.class == *class
                    && nodes.is_some_and(|nodes| by_hostname(&nodes.requirements))
            })
    }
}
