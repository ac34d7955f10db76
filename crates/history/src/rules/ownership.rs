//! Whose a machine is: S2 none without a record, S5 nothing is taken that no record names, S14
//! nothing is forgotten before it is gone, S15 everything by identity, S16 only what is managed.

use jiff::Timestamp;

use super::{Rule, broken};
use crate::{
    Violation,
    event::{Errand, Kind, Origin},
    facts::Object,
    picture::{Picture, Step, after, before, key_of},
};

/// S2: every paid machine that the product bought is named by exactly one record, or is young, or may
/// be that of a record which waits for one, or was reported.
#[derive(Default)]
pub(super) struct NoOrphans {
    next: Option<Timestamp>,
    told: std::collections::BTreeSet<String>,
}

/// How long a machine may be without a record, in seconds.
const ORPHAN: i64 = 15 * 60;

impl NoOrphans {
    fn look(&mut self, picture: &Picture, found: &mut Vec<Violation>) {
        let old = picture.ago(ORPHAN);
        for (uuid, vm) in &picture.machines {
            if !vm.alive || vm.bought.at > old || !vm.first {
                continue;
            }
            let Origin::Request(number) = vm.bought_by else {
                continue;
            };
            let by_us = picture
                .requests
                .get(&number)
                .is_some_and(|(actor, ..)| picture.ours.contains(actor));
            let names = picture
                .records
                .values()
                .filter(|record| record.machine.as_ref() == Some(uuid))
                .count();
            let awaited = picture.records.values().any(|record| {
                record.waits_for_a_machine()
                    && record.creation.as_ref().map(|creation| creation.pool) == vm.pool
            });
            let reported = picture
                .reported
                .iter()
                .any(|message| message.contains(uuid.as_str()) || message.contains(&vm.node));
            let fine = match names {
                0 => awaited || reported,
                1 => true,
                _ => false,
            };
            if by_us && !fine && self.told.insert(uuid.clone()) {
                broken(
                    found,
                    "S2",
                    picture,
                    format!(
                        "machine {uuid} ({}) is paid and {names} records name it",
                        vm.node
                    ),
                );
            }
        }
    }
}

impl Rule for NoOrphans {
    fn observe(&mut self, picture: &Picture, _: &Step<'_>, found: &mut Vec<Violation>) {
        if self.next.is_none_or(|next| next <= picture.now) {
            self.next = Some(after(picture.now, 60));
            self.look(picture, found);
        }
    }

    fn end(&mut self, picture: &Picture, found: &mut Vec<Violation>) {
        self.look(picture, found);
    }
}

/// S5: a machine is deleted, and a node cordoned, emptied or deleted, only if a record of ours names
/// it at that moment; a record's machine never changes, and no machine has two.
pub(super) struct Bound;

impl Bound {
    fn machine(picture: &Picture, machine: &str, found: &mut Vec<Violation>) {
        if picture.record_of_machine(machine).is_none() {
            broken(
                found,
                "S5",
                picture,
                format!("machine {machine} is to be deleted, and no record names it"),
            );
        }
    }

    fn node(picture: &Picture, name: &str, what: &str, found: &mut Vec<Violation>) {
        let Some(record) = picture.record_of_node(name) else {
            broken(
                found,
                "S5",
                picture,
                format!("node {name} is {what}, and no record names it"),
            );
            return;
        };
        let label = picture
            .nodes
            .get(name)
            .and_then(|node| node.meta.labels.get(api::labels::VPSIE_NODE));
        if label.is_some_and(|label| *label != record.meta.name) {
            broken(
                found,
                "S5",
                picture,
                format!(
                    "node {name} is {what} for {}, and is marked as that of {label:?}",
                    record.key()
                ),
            );
        }
        let truth = record
            .machine
            .as_ref()
            .and_then(|machine| picture.machines.get(machine))
            .map(|vm| vm.node.as_str());
        if truth.is_some_and(|truth| truth != name) {
            broken(
                found,
                "S5",
                picture,
                format!(
                    "node {name} is {what} for {}, whose machine is node {truth:?}",
                    record.key()
                ),
            );
        }
    }
}

impl Rule for Bound {
    fn observe(&mut self, picture: &Picture, step: &Step<'_>, found: &mut Vec<Violation>) {
        if let Some(machine) = step.machine_deletion() {
            Self::machine(picture, machine, found);
        }
        if let Some(pod) = step.evicted(picture)
            && let Some(node) = &pod.node
        {
            Self::node(picture, node, "emptied", found);
        }
        if let Some(node) = step.node_deleted(picture) {
            Self::node(picture, &node.meta.name, "deleted", found);
        }
        if let Some(Object::Node(node)) = &step.object
            && step.ours
            && node.unschedulable
            && picture
                .nodes
                .get(&node.meta.name)
                .is_some_and(|before| !before.unschedulable)
        {
            Self::node(picture, &node.meta.name, "cordoned", found);
        }
        if let Some((before, record)) = step.record(picture)
            && let Some(machine) = &record.machine
        {
            let earlier = before.and_then(|before| before.machine.as_ref());
            if earlier.is_some_and(|earlier| earlier != machine) {
                broken(
                    found,
                    "S5",
                    picture,
                    format!(
                        "{} changes its machine from {earlier:?} to {machine}",
                        record.key()
                    ),
                );
            }
            let other = picture.record_of_machine(machine);
            if let Some(other) = other.filter(|other| other.meta.uid != record.meta.uid) {
                broken(
                    found,
                    "S5",
                    picture,
                    format!(
                        "{} takes machine {machine}, which is that of {}",
                        record.key(),
                        other.key()
                    ),
                );
            }
        }
    }
}

/// S14: the finalizer of a record goes only when its machine is paid no more.
pub(super) struct ProvenGone;

impl Rule for ProvenGone {
    fn observe(&mut self, picture: &Picture, step: &Step<'_>, found: &mut Vec<Violation>) {
        let Some(commit) = step.own("vpsienodes") else {
            return;
        };
        let Some(before) = picture.records.get(&key_of(commit)) else {
            return;
        };
        let holds = |finalizers: &[String]| {
            finalizers
                .iter()
                .any(|name| name == api::labels::VPSIE_NODE_FINALIZER)
        };
        let released = match &step.object {
            Some(Object::Record(record)) => !holds(&record.meta.finalizers),
            _ => true,
        };
        if !holds(&before.meta.finalizers) || !released {
            return;
        }
        if let Some(machine) = before
            .machine
            .as_ref()
            .filter(|machine| picture.is_alive(machine))
        {
            broken(
                found,
                "S14",
                picture,
                format!(
                    "{} is let go while its machine {machine} is paid",
                    before.key()
                ),
            );
        }
    }
}

/// S15: deletions and evictions name the UID, changes the version, the cloud is told which machine.
pub(super) struct Identity;

impl Rule for Identity {
    fn observe(&mut self, picture: &Picture, step: &Step<'_>, found: &mut Vec<Violation>) {
        if let Kind::Cloud(request) = &step.event.kind
            && step.ours
        {
            match &request.errand {
                Errand::DeleteAny | Errand::Delete { machine: None } => {
                    let detail = format!("the cloud is asked for {:?}", request.errand);
                    broken(found, "S15", picture, detail);
                }
                _ => {}
            }
        }
        let Some(commit) = step.commit().filter(|_| step.ours) else {
            return;
        };
        let Some(asked) = &commit.asked else {
            return;
        };
        let resource = commit.resource.as_str();
        let judged = matches!(resource, "nodes" | "pods" | "vpsienodes" | "nodegroups");
        let wanting = match (asked.verb, asked.subresource.as_str()) {
            ("delete", _) | (_, "eviction") => !asked.by_uid,
            ("patch" | "update", _) => !asked.by_version,
            ("deletecollection", _) => true,
            _ => false,
        };
        if judged && wanting {
            broken(
                found,
                "S15",
                picture,
                format!(
                    "{} {resource} {} names no identity",
                    asked.verb,
                    key_of(commit)
                ),
            );
        }
    }
}

/// S16: nothing is written to a group that is not managed, nor to what belongs to one.
pub(super) struct ManagedOnly;

/// How long a group may still be taken for managed, in seconds.
const SETTLED: i64 = 30;

impl Rule for ManagedOnly {
    fn observe(&mut self, picture: &Picture, step: &Step<'_>, found: &mut Vec<Violation>) {
        let Some(commit) = step.commit().filter(|_| step.ours) else {
            return;
        };
        let key = key_of(commit);
        let group = match commit.resource.as_str() {
            "nodegroups" => Some(key.clone()),
            "vpsienodes" => match &step.object {
                Some(Object::Record(record)) => Some(record.group.clone()),
                _ => picture.records.get(&key).map(|record| record.group.clone()),
            },
            "nodes" => picture
                .record_of_node(&commit.name)
                .map(|record| record.group.clone()),
            _ => None,
        };
        let Some(group) = group.and_then(|key| picture.groups.get(&key)) else {
            return;
        };
        let settled = before(picture.now, SETTLED);
        if !group.bounds_since(settled).any(|bounds| bounds.managed) {
            broken(
                found,
                "S16",
                picture,
                format!(
                    "{} {key} is written to, and its group {} is not managed",
                    commit.resource, group.meta.name
                ),
            );
        }
    }
}
