//! NodeVolumeLimits: a node attaches only so many volumes of a driver.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use model::{SchedulingClass, Storage, storage::Claim};

use super::may_use;
use crate::world::{Spot, World};

/// What is attached: a driver's volume.
type Attached = (Arc<str>, Disk);

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Disk {
    /// By its handle.
    Made(Arc<str>),
    /// Not made yet: by namespace and name of the claim it is for.
    ToCome(Arc<str>, Arc<str>),
}

pub(crate) fn holds(world: &World, class: &SchedulingClass, spot: &Spot) -> bool {
    let storage = &world.surroundings.storage;
    let missing = class.claims.iter().any(|used| {
        let claim = storage.claim(&class.namespace, &used.name);
        claim.is_none()
    });
    let Some(mut coming) = attached(storage, class).filter(|_| !missing) else {
        return false;
    };
    let name = &spot.node.name;
    let limits: BTreeMap<&Arc<str>, i64> = storage
        .limits
        .get(name)
        .into_iter()
        .flatten()
        .filter_map(|(driver, limit)| Some((driver, (*limit)?)))
        .collect();
    if coming.is_empty() || limits.is_empty() {
        return true;
    }
    let mut of_pods: BTreeSet<Attached> = BTreeSet::new();
    for (number, _) in spot.pods.keys() {
        // Where it cannot be told what a pod has, it cannot be told what there is room for.
        let Some(theirs) = attached(storage, &world.classes[*number]) else {
            return false;
        };
        of_pods.extend(theirs);
    }
    coming.retain(|volume| !of_pods.contains(volume));
    // What is attached without a pod counts beside, also where the pod to come wants that very
    // volume.
    let handles = storage.attached.get(name).into_iter().flatten();
    let all_there: BTreeSet<Attached> = handles
        .map(|volume| {
            let disk = Disk::Made(Arc::clone(&volume.handle));
            (Arc::clone(&volume.driver), disk)
        })
        .chain(of_pods)
        .collect();
    let count = |volumes: &BTreeSet<Attached>, driver: &Arc<str>| {
        volumes.iter().filter(|(of, _)| of == driver).count() as i64
    };
    limits.into_iter().all(|(driver, limit)| {
        let new = count(&coming, driver);
        new == 0 || count(&all_there, driver) + new <= limit
    })
}

/// The volumes that a pod has attached, each once. Claims that are not there have none; `None` with
/// a claim that is another pod's.
fn attached(storage: &Storage, class: &SchedulingClass) -> Option<BTreeSet<Attached>> {
    let mut all = BTreeSet::new();
    for used in &class.claims {
        let Some(claim) = storage.claim(&class.namespace, &used.name) else {
            continue;
        };
        if !may_use(used, claim) {
            return None;
        }
        all.extend(volume_of(storage, claim, || {
            Disk::ToCome(Arc::clone(&class.namespace), Arc::clone(&used.name))
        }));
    }
    for volume in class.disks.iter().filter_map(|disk| disk.id.handle()) {
        all.insert((volume.driver, Disk::Made(volume.handle)));
    }
    Some(all)
}

/// The volume that a claim names, if anybody attaches it; where there is none, one that its class is
/// going to make.
fn volume_of(storage: &Storage, claim: &Claim, to_come: impl Fn() -> Disk) -> Option<Attached> {
    let volume = claim.volume.as_ref();
    if let Some(volume) = volume.and_then(|name| storage.volumes.get(name)) {
        let volume = volume.handle.clone()?;
        return Some((volume.driver, Disk::Made(volume.handle)));
    }
    let class = storage.classes.get(claim.class.as_ref()?)?;
    Some((class.driver.clone()?, to_come()))
}
