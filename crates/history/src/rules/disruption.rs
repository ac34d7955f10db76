//! When nodes may go: S4 never below the minimum, S17 few at once, S18 not while the group grows, S20
//! not while the cluster is unwell.

use super::{Rule, broken};
use crate::{
    Violation,
    facts::{Node, Record, Since},
    picture::{Picture, Step, after},
};

/// How long something may be so before it must be known, in seconds.
const KNOWN: i64 = 15;

/// S4: a removal that nobody ordered leaves the group its minimum of Ready nodes, unless the node was
/// not Ready itself.
pub(super) struct NotBelowMinimum;

/// The node serves, or did until a moment ago.
fn healthy(picture: &Picture, record: &Record) -> bool {
    let node = record
        .node
        .as_ref()
        .and_then(|name| picture.nodes.get(name));
    node.is_some_and(|node| node.ready || (node.served && node.ready_since.at > picture.ago(KNOWN)))
}

impl Rule for NotBelowMinimum {
    fn observe(&mut self, picture: &Picture, step: &Step<'_>, found: &mut Vec<Violation>) {
        let Some(record) = step.removal_begun(picture) else {
            return;
        };
        let Some(group) = picture.groups.get(&record.group) else {
            return;
        };
        let left = picture
            .records
            .values()
            .filter(|other| other.group == record.group && other.meta.uid != record.meta.uid)
            .filter(|other| other.phase == "Ready" && !other.deleting() && other.removal.is_none())
            .filter(|other| healthy(picture, other))
            .count();
        let least = group
            .bounds_since(picture.ago(KNOWN))
            .map(|bounds| bounds.min)
            .min()
            .unwrap_or_default();
        if healthy(picture, record) && left < least {
            broken(
                found,
                "S4",
                picture,
                format!(
                    "{} goes and leaves {left} Ready nodes; {} keeps {least}",
                    record.key(),
                    record.group
                ),
            );
        }
    }
}

/// S17: removals that nobody ordered are few at once, in the cluster and in each group.
pub(super) struct FewAtOnce;

impl Rule for FewAtOnce {
    fn observe(&mut self, picture: &Picture, step: &Step<'_>, found: &mut Vec<Violation>) {
        let Some(record) = step.removal_begun(picture) else {
            return;
        };
        let open = picture
            .records
            .values()
            .filter(|other| other.meta.uid != record.meta.uid)
            // Once its Node is gone it disturbs nobody any more.
            .filter(|other| {
                (other.node.as_ref()).is_some_and(|node| picture.nodes.contains_key(node))
            })
            .filter(|other| {
                other.voluntary_removal().is_some_and(|removal| {
                    !matches!(removal.step.as_str(), "DeletingMachine" | "Gone")
                })
            })
            .count();
        let workers = picture.workers().count();
        let most = picture.limits.removals_at_once.max(workers.div_ceil(10));
        if open + 1 > most {
            broken(
                found,
                "S17",
                picture,
                format!(
                    "{} goes beside {open} others; {most} may at once",
                    record.key()
                ),
            );
        }
    }
}

/// S18: no removal that nobody ordered begins while machines of the group are on their way, nor
/// within the cooldown after it grew.
pub(super) struct NotWhileGrowing;

impl Rule for NotWhileGrowing {
    fn observe(&mut self, picture: &Picture, step: &Step<'_>, found: &mut Vec<Violation>) {
        let Some(record) = step.removal_begun(picture) else {
            return;
        };
        let known = picture.ago(KNOWN);
        let coming = picture.records.values().find(|other| {
            other.group == record.group
                && other.meta.uid != record.meta.uid
                && other.in_flight()
                && !other.deleting()
                && other.born.at <= known
        });
        if let Some(coming) = coming {
            broken(
                found,
                "S18",
                picture,
                format!("{} goes while {} is on its way", record.key(), coming.key()),
            );
        }
        let Some(group) = picture.groups.get(&record.group) else {
            return;
        };
        let Some(grown) = picture.grown.get(&record.group) else {
            return;
        };
        let until = after(*grown, group.cooldown - KNOWN);
        if until > picture.now && *grown <= known {
            broken(
                found,
                "S18",
                picture,
                format!(
                    "{} goes, and its group grew at {grown}, less than {} s ago",
                    record.key(),
                    group.cooldown
                ),
            );
        }
    }
}

/// S20: with more than 45 % and more than 3 workers not Ready, or more than a fifth (rounded up) of
/// a group's, nothing is evicted, and no Node and no machine is deleted. Workers whose end was decided
/// for good before are not counted: they are not ill.
pub(super) struct HealthGate;

/// How long a node may be not Ready before it must be known, in seconds.
const NOTICED: i64 = 30;

pub(super) fn is_shut<'a>(
    picture: &Picture,
    nodes: impl Iterator<Item = &'a Node>,
    cluster: bool,
) -> Option<(usize, usize)> {
    let noticed = picture.ago(NOTICED);
    let known = |since: Since| since.at <= noticed;
    let mut all = 0;
    let mut unready = 0;
    for node in nodes {
        all += 1;
        unready += usize::from(!node.ready && known(node.ready_since));
    }
    let shut = if cluster {
        unready > 3 && unready * 100 > all * 45
    } else {
        unready > all.div_ceil(5)
    };
    shut.then_some((unready, all))
}

impl Rule for HealthGate {
    fn observe(&mut self, picture: &Picture, step: &Step<'_>, found: &mut Vec<Violation>) {
        let (what, node) = if let Some(pod) = step.evicted(picture) {
            (format!("pod {} is evicted", pod.key()), pod.node.clone())
        } else if let Some(node) = step.node_deleted(picture) {
            let name = node.meta.name.clone();
            (format!("node {name} is deleted"), Some(name))
        } else if let Some(machine) = step.machine_deletion() {
            let node = picture.machines.get(machine).map(|vm| vm.node.clone());
            (format!("machine {machine} is deleted"), node)
        } else {
            return;
        };
        let record = node.as_ref().and_then(|node| picture.record_of_node(node));
        // Whoever ordered that it goes whatever is on it ordered this, too.
        let forced = record
            .and_then(|record| record.removal.as_ref())
            .is_some_and(|removal| removal.forced_at.is_some());
        if forced {
            return;
        }
        if let Some((unready, all)) = is_shut(picture, picture.workers(), true) {
            broken(
                found,
                "S20",
                picture,
                format!("{what} while {unready} of {all} workers are not Ready"),
            );
            return;
        }
        let Some(group) = record.map(|record| record.group.clone()) else {
            return;
        };
        let members = picture
            .workers()
            .filter(|node| node.group().as_deref() == Some(group.as_str()));
        if let Some((unready, all)) = is_shut(picture, members, false) {
            broken(
                found,
                "S20",
                picture,
                format!("{what} while {unready} of {all} nodes of {group} are not Ready"),
            );
        }
    }
}
