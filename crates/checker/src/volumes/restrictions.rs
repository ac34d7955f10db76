//! VolumeRestrictions: disks that one pod has for itself on a node, claims that one pod has for
//! itself in the cluster.

use model::{
    SchedulingClass,
    storage::{AccessMode, DiskId, InlineDisk},
};

use super::named;
use crate::world::{Spot, World};

pub(crate) fn holds(world: &World, class: &SchedulingClass, spot: &Spot) -> bool {
    let taken = |disk: &InlineDisk| {
        let mut pods = spot.pods.keys().map(|(number, _)| &world.classes[*number]);
        pods.any(|other| other.disks.iter().any(|theirs| excludes(disk, theirs)))
    };
    let free = named(class).all(|used| {
        let storage = &world.surroundings.storage;
        let claim = storage.claim(&class.namespace, &used.name);
        claim.is_some_and(|claim| {
            !claim.access_modes.contains(&AccessMode::ReadWriteOncePod)
                || !is_used(world, class, &used.name)
        })
    });
    free && !class.disks.iter().any(taken)
}

/// A pod somewhere uses the claim.
fn is_used(world: &World, class: &SchedulingClass, claim: &str) -> bool {
    world.classes.iter().any(|other| {
        other.namespace == class.namespace && named(other).any(|used| &*used.name == claim)
    })
}

/// Two pods of a node cannot have both. Of some kinds they can if both only read.
fn excludes(mine: &InlineDisk, theirs: &InlineDisk) -> bool {
    let writes = !mine.read_only || !theirs.read_only;
    match (&mine.id, &theirs.id) {
        (DiskId::Ebs(_), _) => mine.id == theirs.id,
        (DiskId::Gce(_) | DiskId::Iscsi(_), _) => mine.id == theirs.id && writes,
        (
            DiskId::Rbd {
                monitors,
                pool,
                image,
            },
            DiskId::Rbd {
                monitors: others,
                pool: other_pool,
                image: other_image,
            },
        ) => {
            let same_cluster = monitors.iter().any(|monitor| others.contains(monitor));
            same_cluster && (pool, image) == (other_pool, other_image) && writes
        }
        _ => false,
    }
}
