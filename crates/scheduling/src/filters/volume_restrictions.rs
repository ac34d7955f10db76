//! VolumeRestrictions: disks that only one pod of a node can mount, and claims that only one pod of
//! the cluster can use (scheduler plugin `volumerestrictions`).

use model::storage::{DiskId, InlineDisk};

use crate::{ClaimProblem, Failure, Filter, class::Class, snapshot::Snapshot};

pub(crate) fn check(snapshot: &Snapshot, class: &Class, node: usize) -> Vec<Failure> {
    let mut failures = Vec::new();
    for disk in &class.source.disks {
        if is_mounted(snapshot, disk, node) {
            failures.push(Failure::DiskInUse {
                disk: describe(&disk.id),
            });
        }
    }
    let Some(claims) = &class.claims else {
        return failures;
    };
    let say = |claim: &str, problem| Failure::Claim {
        filter: Filter::VolumeRestrictions,
        claim: claim.to_owned(),
        problem,
    };
    let missing = claims.missing.iter().filter(|used| used.owner.is_none());
    failures.extend(missing.map(|used| say(&used.name, ClaimProblem::NotFound)));
    let used = claims
        .exclusive
        .iter()
        .filter(|(id, _)| snapshot.users(*id) > 0);
    failures.extend(used.map(|(_, name)| say(name, ClaimProblem::InUse)));
    failures
}

pub(crate) fn passes(snapshot: &Snapshot, class: &Class, node: usize) -> bool {
    let mounted = class
        .source
        .disks
        .iter()
        .any(|disk| is_mounted(snapshot, disk, node));
    !mounted
        && class.claims.as_ref().is_none_or(|claims| {
            claims.missing.iter().all(|used| used.owner.is_some())
                && claims
                    .exclusive
                    .iter()
                    .all(|(id, _)| snapshot.users(*id) == 0)
        })
}

/// Equal pods mount equal disks and use equal claims.
pub(crate) fn at_most(class: &Class) -> u32 {
    let disks = &class.source.disks;
    let alone = disks.iter().any(|a| disks.iter().any(|b| conflict(a, b)))
        || class
            .claims
            .as_ref()
            .is_some_and(|claims| !claims.exclusive.is_empty());
    if alone { 1 } else { u32::MAX }
}

fn is_mounted(snapshot: &Snapshot, disk: &InlineDisk, node: usize) -> bool {
    snapshot.classes_on(node).any(|running| {
        running
            .source
            .disks
            .iter()
            .any(|other| conflict(disk, other))
    })
}

/// Whether two pods of one node cannot mount these.
fn conflict(a: &InlineDisk, b: &InlineDisk) -> bool {
    let shared = a.read_only && b.read_only;
    match (&a.id, &b.id) {
        (DiskId::Ebs(a), DiskId::Ebs(b)) => a == b,
        (DiskId::Gce(a), DiskId::Gce(b)) | (DiskId::Iscsi(a), DiskId::Iscsi(b)) => {
            a == b && !shared
        }
        (
            DiskId::Rbd {
                monitors: a_monitors,
                pool: a_pool,
                image: a_image,
            },
            DiskId::Rbd {
                monitors: b_monitors,
                pool: b_pool,
                image: b_image,
            },
        ) => {
            a_monitors
                .iter()
                .any(|monitor| b_monitors.contains(monitor))
                && a_pool == b_pool
                && a_image == b_image
                && !shared
        }
        _ => false,
    }
}

fn describe(id: &DiskId) -> String {
    match id {
        DiskId::Ebs(id) => format!("EBS volume {id}"),
        DiskId::Gce(id) => format!("GCE disk {id}"),
        DiskId::AzureDisk(id) => format!("Azure disk {id}"),
        DiskId::Cinder(id) => format!("Cinder volume {id}"),
        DiskId::Portworx(id) => format!("Portworx volume {id}"),
        DiskId::Iscsi(id) => format!("iSCSI target {id}"),
        DiskId::Rbd { pool, image, .. } => format!("RBD image {pool}/{image}"),
    }
}
