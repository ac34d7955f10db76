//! How a node is emptied: S6 nothing runs on what is taken away, S7 pods leave by eviction within
//! their budgets, S8 wishes are honoured, S12 one thing after the other.

use std::collections::{BTreeMap, BTreeSet};

use super::{Rule, broken};
use crate::{
    Violation,
    event::{Commit, Fate, Kind, Origin},
    facts::{Object, Pod},
    picture::{Picture, Step, before, key_of},
};

/// How old a read may be that a destructive step rests on, in seconds; a change that is younger need
/// not be known.
const FRESH: i64 = 10;

/// S6: when a Node or a machine goes, no ordinary pod is on it; one that came after the last look, of
/// a moment ago, cannot have been known.
pub(super) struct NothingUnderneath;

/// The pods that make it wrong that `actor` takes the node away.
fn underneath<'a>(picture: &'a Picture, node: &'a str, actor: &str) -> Vec<&'a Pod> {
    let look = picture
        .last_read(actor, &format!("pods {node}"))
        .filter(|look| look.at >= picture.ago(FRESH));
    picture
        .pods_on(node)
        .filter(|pod| pod.ordinary())
        .filter(|pod| look.is_none_or(|look| pod.bound < look))
        .collect()
}

fn names(pods: &[&Pod]) -> String {
    let names: Vec<String> = pods.iter().map(|pod| pod.key()).collect();
    names.join(", ")
}

fn forced(picture: &Picture, node: &str) -> bool {
    let record = picture.record_of_node(node);
    record
        .and_then(|record| record.removal.as_ref())
        .is_some_and(|removal| removal.forced_at.is_some())
}

impl Rule for NothingUnderneath {
    fn observe(&mut self, picture: &Picture, step: &Step<'_>, found: &mut Vec<Violation>) {
        let actor = &step.event.actor;
        if let Some(node) = step.node_deleted(picture) {
            let name = &node.meta.name;
            // What ran on a machine that is gone runs no more.
            let gone = picture
                .record_of_node(name)
                .and_then(|record| record.machine.as_ref())
                .is_some_and(|machine| !picture.is_alive(machine));
            let pods = underneath(picture, name, actor);
            if !gone && !forced(picture, name) && !pods.is_empty() {
                let detail = format!("node {name} is deleted under {}", names(&pods));
                broken(found, "S6", picture, detail);
            }
        }
        let Kind::Machine(machine) = &step.event.kind else {
            return;
        };
        let Fate::Deleted(Origin::Request(number)) = machine.fate else {
            return;
        };
        let Some((actor, _, asked)) = picture.requests.get(&number) else {
            return;
        };
        let name = &machine.node;
        if !picture.ours.contains(actor) || forced(picture, name) {
            return;
        }
        let Some(node) = picture.nodes.get(name) else {
            let by_us = picture.departed.get(name).is_some_and(|(_, by_us)| *by_us);
            // Since our own deletion of the Node nothing may have been bound to it.
            let pods = picture.pods_on(name).filter(|pod| pod.ordinary());
            let pods: Vec<&Pod> = pods.filter(|pod| pod.bound < *asked).collect();
            if by_us && !pods.is_empty() {
                let detail = format!("machine {} is deleted under {}", machine.uuid, names(&pods));
                broken(found, "S6", picture, detail);
            }
            return;
        };
        // Its kubelet does not answer, and every pod should have ended: only this ends them.
        let lost = !node.ready
            && node.unschedulable
            && picture
                .pods_on(name)
                .filter(|pod| pod.ordinary())
                .all(Pod::deleting);
        // The request may have been on its way for long, and a moment before it nobody could know.
        let look = picture.last_read(actor, &format!("node {name}"));
        let seen = look.is_some_and(|look| node.born < look && look < *asked);
        let moment = before(asked.at, FRESH);
        let known = node.born < *asked && (seen || node.born.at <= moment);
        if !lost && known {
            let detail = format!(
                "machine {} is deleted while node {name} is there",
                machine.uuid
            );
            broken(found, "S6", picture, detail);
        }
    }
}

/// S7: the product deletes no pod; its evictions name the UID and give the pod the time it asks for;
/// those of a higher priority leave after those of a lower one, as kubelets end them;
/// none is granted while the pod's budget allows none; a pod under two budgets stays.
#[derive(Default)]
pub(super) struct Evictions {
    /// What each budget allowed before the request that changed it last: request, allowed.
    before: BTreeMap<String, (u64, i64)>,
}

impl Rule for Evictions {
    fn observe(&mut self, picture: &Picture, step: &Step<'_>, found: &mut Vec<Violation>) {
        let Some(commit) = step.commit() else {
            return;
        };
        let Some(asked) = &commit.asked else {
            return;
        };
        let key = key_of(commit);
        if commit.resource == "poddisruptionbudgets"
            && let Some(budget) = picture.budgets.get(&key)
        {
            self.before
                .insert(key.clone(), (asked.request, budget.allowed));
        }
        if !step.ours || commit.resource != "pods" {
            return;
        }
        if asked.verb.starts_with("delete") {
            let detail = format!("pod {key} is deleted, not evicted");
            broken(found, "S7", picture, detail);
            return;
        }
        let Some(pod) = step.evicted(picture).filter(|pod| !pod.deleting()) else {
            return;
        };
        if !asked.by_uid {
            broken(
                found,
                "S7",
                picture,
                format!("pod {key} is evicted by name"),
            );
        }
        if let Some(lower) = passed_over(picture, pod) {
            let detail = format!("pod {key} is evicted before pod {lower} of a lower priority");
            broken(found, "S7", picture, detail);
        }
        if let Some((given, own)) = hurried(commit) {
            let detail = format!("pod {key} is given {given} s to end, and asks for {own}");
            broken(found, "S7", picture, detail);
        }
        let budgets: Vec<_> = picture.budgets_of(pod).collect();
        if let [first, second, ..] = budgets.as_slice() {
            let (first, second) = (&first.meta.name, &second.meta.name);
            let detail = format!("pod {key} is evicted under budgets {first} and {second}");
            broken(found, "S7", picture, detail);
        }
        let [budget] = budgets.as_slice() else {
            return;
        };
        // Pods that do not run yet, and unready ones where the policy says so, spend nothing.
        let spends = pod.phase == "Running"
            && (pod.ready
                || !(budget.always_evicts_unhealthy
                    || budget.healthy >= budget.desired && budget.desired > 0));
        let name = format!("{}/{}", budget.meta.namespace, budget.meta.name);
        let allowed = match self.before.get(&name) {
            Some((request, allowed)) if *request == asked.request => *allowed,
            _ => budget.allowed,
        };
        if spends && allowed <= 0 {
            let detail = format!("pod {key} is evicted while budget {name} allows {allowed}");
            broken(found, "S7", picture, detail);
        }
    }
}

/// A pod of a lower priority that is on the same node and stays.
fn passed_over(picture: &Picture, pod: &Pod) -> Option<String> {
    let beside = picture.pods.values().filter(|one| one.node == pod.node);
    let mut lower = beside.filter(|one| one.priority < pod.priority && one.ordinary());
    lower.find(|one| !one.deleting()).map(Pod::key)
}

/// How long the pod is given, and how long it asks for, where the first is less.
fn hurried(commit: &Commit) -> Option<(i64, i64)> {
    let pod: serde_json::Value = serde_json::from_slice(commit.after.as_deref()?).ok()?;
    let own = &pod["spec"]["terminationGracePeriodSeconds"];
    let own = own.as_i64().unwrap_or(30);
    let given = pod["metadata"]["deletionGracePeriodSeconds"].as_i64()?;
    (given < own).then_some((given, own))
}

/// S8: until the first eviction of a removal that nobody ordered, nothing on the node or its pods
/// says that it must stay.
#[derive(Default)]
pub(super) struct Wishes {
    /// Removals that have evicted: UID of the record, start of the removal.
    begun: BTreeSet<(String, String)>,
}

impl Rule for Wishes {
    fn observe(&mut self, picture: &Picture, step: &Step<'_>, found: &mut Vec<Violation>) {
        let Some(node) = step.evicted(picture).and_then(|pod| pod.node.as_ref()) else {
            return;
        };
        let Some(record) = picture.record_of_node(node) else {
            return;
        };
        let Some(removal) = record.voluntary_removal() else {
            return;
        };
        let id = (record.meta.uid.clone(), removal.started_at.clone());
        if !self.begun.insert(id) {
            return;
        }
        let actor = &step.event.actor;
        let look = picture.last_read(actor, &format!("pods {node}"));
        let known = |since: crate::facts::Since| look.is_none_or(|look| since < look);
        if let Some((sign, since)) = picture
            .nodes
            .get(node)
            .and_then(|node| node.protection.as_ref())
            && known(*since)
        {
            let detail = format!("node {node} is emptied, and {sign} protects it");
            broken(found, "S8", picture, detail);
        }
        for pod in picture
            .pods_on(node)
            .filter(|pod| pod.ordinary() && !pod.deleting())
        {
            let key = pod.key();
            if let Some((sign, since)) = &pod.protection
                && known(*since)
            {
                let detail = format!("node {node} is emptied, and {sign} protects pod {key}");
                broken(found, "S8", picture, detail);
            }
            if pod.may_be_evicted() || !known(pod.bound) {
                continue;
            }
            let owned = pod
                .controller()
                .is_some_and(|owner| picture.workloads.contains(&owner.uid));
            if !owned {
                let detail = format!("node {node} is emptied, and pod {key} has no controller");
                broken(found, "S8", picture, detail);
            }
            let excused = pod
                .meta
                .annotations
                .contains_key("cluster-autoscaler.kubernetes.io/safe-to-evict-local-volumes");
            if pod.local_volume && !excused {
                let detail = format!("node {node} is emptied, and pod {key} has local data");
                broken(found, "S8", picture, detail);
            }
        }
    }
}

/// S12: cordon, evict, delete the Node, delete the machine, in this order; a machine goes only while
/// its removal is recorded; a human's cordon is never undone.
pub(super) struct Sequence;

impl Rule for Sequence {
    fn observe(&mut self, picture: &Picture, step: &Step<'_>, found: &mut Vec<Violation>) {
        if let Some(pod) = step.evicted(picture)
            && let Some(name) = &pod.node
            && let Some(node) = picture.nodes.get(name)
            && !node.unschedulable
            && node.cordon_since.at <= picture.ago(FRESH)
        {
            let detail = format!("pod {} is evicted from {name}, which takes pods", pod.key());
            broken(found, "S12", picture, detail);
        }
        if let Some(node) = step.node_deleted(picture) {
            let name = &node.meta.name;
            let gone = picture
                .record_of_node(name)
                .and_then(|record| record.machine.as_ref())
                .is_some_and(|machine| !picture.is_alive(machine));
            if !gone && !node.unschedulable && node.cordon_since.at <= picture.ago(FRESH) {
                let detail = format!("node {name} is deleted while it takes pods");
                broken(found, "S12", picture, detail);
            }
        }
        if let Some(machine) = step.machine_deletion()
            && let Some(record) = picture.record_of_machine(machine)
            && record.removal.is_none()
        {
            let detail = format!(
                "machine {machine} is deleted; {} says nothing of it",
                record.key()
            );
            broken(found, "S12", picture, detail);
        }
        if let Some(Object::Node(after)) = &step.object
            && step.ours
            && !after.unschedulable
            && let Some(before) = picture.nodes.get(&after.meta.name)
            && before.unschedulable
            && !before.cordoned_by_us
        {
            let detail = format!(
                "{} is uncordoned, and somebody else cordoned it",
                after.meta.name
            );
            broken(found, "S12", picture, detail);
        }
    }
}
