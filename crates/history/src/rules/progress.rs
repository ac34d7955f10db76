//! What must come right once nothing disturbs any more: L1 to L7. Judged only where the history says
//! from when it is calm.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use super::{Rule, broken};
use crate::{
    Violation,
    event::{Kind, Note, Origin},
    picture::{Picture, Step, after},
};

const MINUTE: i64 = 60;
/// Until everything has converged.
const BOUND: i64 = 30 * MINUTE;

/// It has been calm for so many seconds.
fn calm_for(picture: &Picture, seconds: i64) -> bool {
    picture
        .calm
        .is_some_and(|calm| after(calm, seconds) <= picture.now)
}

/// L1: half an hour into the calm, every machine that the product bought has its record, every record
/// of a group is Ready, and each group has between its bounds.
pub(super) struct Converges;

impl Rule for Converges {
    fn observe(&mut self, _: &Picture, _: &Step<'_>, _: &mut Vec<Violation>) {}

    fn end(&mut self, picture: &Picture, found: &mut Vec<Violation>) {
        if !calm_for(picture, BOUND) {
            return;
        }
        for record in picture.records.values() {
            // What the calm itself began (a removal, a purchase for what remained) may be under way.
            let young = after(record.phase_since.at, BOUND) > picture.now;
            if record.phase != "Ready" && record.phase != "Failed" && !young {
                let detail = format!(
                    "{} is {:?} since {}",
                    record.key(),
                    record.phase,
                    record.phase_since.at
                );
                broken(found, "L1", picture, detail);
            }
        }
        for (uuid, vm) in &picture.machines {
            let by_request = matches!(vm.bought_by, Origin::Request(_));
            let named = picture.record_of_machine(uuid).is_some();
            if vm.alive
                && by_request
                && !named
                && !picture.is_reported(uuid, vm)
                && after(vm.bought.at, BOUND) <= picture.now
            {
                let detail = format!("machine {uuid} ({}) is paid and nobody's", vm.node);
                broken(found, "L1", picture, detail);
            }
        }
        for (key, group) in picture
            .groups
            .iter()
            .filter(|(_, group)| group.bounds.managed)
        {
            let serving = picture
                .records
                .values()
                .filter(|record| record.group == *key && record.phase == "Ready")
                .count();
            let settled = picture
                .records
                .values()
                .filter(|record| record.group == *key)
                .all(|record| record.phase == "Ready" && record.removal.is_none());
            if settled && usize::try_from(group.desired) != Ok(serving) {
                let detail = format!("{key} wants {} and has {serving}", group.desired);
                broken(found, "L1", picture, detail);
            }
            if serving > group.bounds.max {
                // A lowered maximum takes nothing away by itself.
                let lowered = group
                    .earlier
                    .iter()
                    .any(|(bounds, _)| bounds.max >= serving);
                if !lowered {
                    let detail = format!("{key} has {serving} and may have {}", group.bounds.max);
                    broken(found, "L1", picture, detail);
                }
            }
        }
    }
}

/// L2: a failed record is cleaned up within its time and five minutes, machine included; one of which
/// nobody can tell which machine it bought waits for people, who have been told.
pub(super) struct FailedCleaned;

impl Rule for FailedCleaned {
    fn observe(&mut self, _: &Picture, _: &Step<'_>, _: &mut Vec<Violation>) {}

    fn end(&mut self, picture: &Picture, found: &mut Vec<Violation>) {
        let Some(calm) = picture.calm else {
            return;
        };
        let kept = picture.limits.failed_ttl.as_secs() as i64 + 5 * MINUTE;
        for record in picture.records.values() {
            let since = record.phase_since.at.max(calm);
            let told = picture.told.get(&format!("VPSieNode {}", record.key()));
            let waits = told.is_some_and(|reasons| reasons.contains("AmbiguousCreate"));
            if record.phase == "Failed" && !waits && after(since, kept) < picture.now {
                let detail = format!(
                    "{} has failed since {}",
                    record.key(),
                    record.phase_since.at
                );
                broken(found, "L2", picture, detail);
            }
        }
    }
}

/// L3: for a pod that finds no node, within half a minute and the batching a machine is on its way,
/// or the product says why not.
#[derive(Default)]
pub(super) struct PodsServed {
    told: BTreeSet<String>,
    /// When a machine was on its way last: one that does not come has to be noticed first.
    coming: Option<Timestamp>,
}

/// Half a minute, the longest batch, and what the scheduler takes to say so.
const SERVED: i64 = 45;

impl PodsServed {
    fn look(&mut self, picture: &Picture, found: &mut Vec<Violation>) {
        let Some(calm) = picture.calm else {
            return;
        };
        let coming = picture
            .records
            .values()
            .any(crate::facts::Record::in_flight);
        if coming {
            self.coming = Some(picture.now);
            return;
        }
        for pod in picture.pods.values() {
            let Some(since) = pod.unschedulable else {
                continue;
            };
            let since = since.at.max(calm).max(self.coming.unwrap_or(calm));
            let said = picture.told.contains_key(&format!("Pod {}", pod.key()));
            if !pod.deleting()
                && !said
                && after(since, SERVED) < picture.now
                && self.told.insert(pod.meta.uid.clone())
            {
                let detail = format!("pod {} finds no node since {since}", pod.key());
                broken(found, "L3", picture, detail);
            }
        }
    }
}

impl Rule for PodsServed {
    fn observe(&mut self, picture: &Picture, step: &Step<'_>, found: &mut Vec<Violation>) {
        if matches!(&step.event.kind, Kind::Commit(commit) if commit.resource == "leases") {
            self.look(picture, found);
        }
    }

    fn end(&mut self, picture: &Picture, found: &mut Vec<Violation>) {
        self.look(picture, found);
    }
}

/// L4: no deletion of a record or a group takes more than an hour.
pub(super) struct DeletionsEnd;

impl Rule for DeletionsEnd {
    fn observe(&mut self, _: &Picture, _: &Step<'_>, _: &mut Vec<Violation>) {}

    fn end(&mut self, picture: &Picture, found: &mut Vec<Violation>) {
        let Some(calm) = picture.calm else {
            return;
        };
        let records = picture
            .records
            .iter()
            .map(|(key, record)| (key, &record.meta));
        let groups = picture
            .groups
            .iter()
            .filter(|(_, group)| group.bounds.managed)
            .map(|(key, group)| (key, &group.meta));
        for (key, meta) in records.chain(groups) {
            let since = meta.deletion_timestamp.map(|since| since.max(calm));
            if since.is_some_and(|since| after(since, 60 * MINUTE) < picture.now) {
                let detail = format!("{key} is being deleted since {:?}", meta.deletion_timestamp);
                broken(found, "L4", picture, detail);
            }
        }
    }
}

/// L5: no node stays cordoned by us without an operation that wants it, for longer than a minute after
/// somebody leads.
#[derive(Default)]
pub(super) struct NoCordonLeft {
    since: BTreeMap<String, Timestamp>,
    next: Option<Timestamp>,
}

impl NoCordonLeft {
    fn look(&mut self, picture: &Picture, found: &mut Vec<Violation>) {
        for (name, node) in &picture.nodes {
            let wanted = picture
                .record_of_node(name)
                .is_some_and(|record| record.removal.is_some() || record.deleting());
            if node.mark().is_none() || wanted {
                self.since.remove(name);
                continue;
            }
            let since = *self.since.entry(name.clone()).or_insert(picture.now);
            if picture.quiet_for(2 * MINUTE) && after(since, 2 * MINUTE) <= picture.now {
                let detail =
                    format!("node {name} is cordoned by us since {since}, and nothing wants it");
                broken(found, "L5", picture, detail);
                self.since.insert(name.clone(), Timestamp::MAX);
            }
        }
    }
}

impl Rule for NoCordonLeft {
    fn observe(&mut self, picture: &Picture, _: &Step<'_>, found: &mut Vec<Violation>) {
        if self.next.is_none_or(|next| next <= picture.now) {
            self.next = Some(after(picture.now, 10));
            self.look(picture, found);
        }
    }

    fn end(&mut self, picture: &Picture, found: &mut Vec<Violation>) {
        self.look(picture, found);
    }
}

/// L6: half an hour into the calm each group has its minimum of Ready nodes, or says what hinders it.
pub(super) struct MinimumKept;

impl Rule for MinimumKept {
    fn observe(&mut self, _: &Picture, _: &Step<'_>, _: &mut Vec<Violation>) {}

    fn end(&mut self, picture: &Picture, found: &mut Vec<Violation>) {
        if !calm_for(picture, BOUND) {
            return;
        }
        for (key, group) in &picture.groups {
            if !group.bounds.managed || group.meta.deletion_timestamp.is_some() {
                continue;
            }
            let ready = picture
                .records
                .values()
                .filter(|record| record.group == *key && record.phase == "Ready")
                .filter_map(|record| picture.nodes.get(record.node.as_ref()?))
                .filter(|node| node.ready)
                .count();
            if ready < group.bounds.min && group.trouble.is_none() {
                let detail = format!(
                    "{key} has {ready} Ready nodes and keeps {}",
                    group.bounds.min
                );
                broken(found, "L6", picture, detail);
            }
        }
    }
}

/// L7: a replica that lives asks for each resource it ever watched at least every ten minutes: the
/// server ends watches sooner, and one that has gone deaf is begun again.
#[derive(Default)]
pub(super) struct Awake {
    /// By replica and resource: when it was last asked for.
    asked: BTreeMap<(String, String), Timestamp>,
    /// Replicas that live no more; what they asked for may arrive all the same.
    ended: BTreeSet<String>,
}

const DEAF: i64 = 10 * MINUTE;

impl Rule for Awake {
    fn observe(&mut self, _: &Picture, step: &Step<'_>, _: &mut Vec<Violation>) {
        let actor = &step.event.actor;
        match &step.event.kind {
            Kind::Read(read)
                if step.ours
                    && !self.ended.contains(actor)
                    && matches!(read.verb, "watch" | "list")
                    && read.fields.is_empty() =>
            {
                let key = (actor.clone(), read.resource.clone());
                self.asked.insert(key, step.event.at);
            }
            Kind::Note(Note::Ended) => {
                self.asked.retain(|(replica, _), _| replica != actor);
                self.ended.insert(actor.clone());
            }
            _ => {}
        }
    }

    fn end(&mut self, picture: &Picture, found: &mut Vec<Violation>) {
        if !calm_for(picture, DEAF) {
            return;
        }
        for ((actor, resource), at) in &self.asked {
            if after(*at, DEAF) < picture.now {
                let detail = format!("{actor} has not asked for {resource} since {at}");
                broken(found, "L7", picture, detail);
            }
        }
    }
}
