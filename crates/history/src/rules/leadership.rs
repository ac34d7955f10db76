//! Who may act and on what knowledge: S10 fresh facts, S11 one writer.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::{Rule, broken};
use crate::{
    Violation,
    event::Kind,
    facts::Since,
    picture::{Leader, Picture, Step, after, key_of},
};

/// S10: evictions, deletions of Nodes and the decision that a machine ends rest on reads of the
/// present state that are at most ten seconds older. What was decided and recorded may be asked for
/// again. How old the caches are is not in a history. Who begins to lead destroys nothing before it has
/// held the lease for as long as that lasts.
#[derive(Default)]
pub(super) struct FreshFacts {
    /// Machines whose end was recorded as asked for, and when.
    decided: BTreeMap<String, Timestamp>,
}

/// In seconds.
const FRESH: i64 = 10;

/// By whom something is destroyed that leads since a moment ago.
fn beginner(picture: &Picture) -> Option<&Leader> {
    let leader = picture.leader.as_ref()?;
    let until = leader.since.at.checked_add(leader.lasts).ok()?;
    (picture.now < until).then_some(leader)
}

fn is_fresh(picture: &Picture, step: &Step<'_>, what: &str) -> bool {
    let sent = step
        .commit()
        .and_then(|commit| commit.asked.as_ref())
        .map_or(picture.now, |asked| asked.sent);
    let read = picture.last_read(&step.event.actor, what);
    read.is_some_and(|read: Since| after(read.at, FRESH) >= sent)
}

impl Rule for FreshFacts {
    fn observe(&mut self, picture: &Picture, step: &Step<'_>, found: &mut Vec<Violation>) {
        let struck = step
            .evicted(picture)
            .and_then(|pod| Some((pod.node.clone()?, format!("pod {} is evicted", pod.key()))))
            .or_else(|| {
                let node = step.node_deleted(picture)?;
                let name = node.meta.name.clone();
                let what = format!("node {name} is deleted");
                Some((name, what))
            });
        let ends = (step.machine_deletion()).map(|machine| format!("machine {machine} is deleted"));
        let what = struck.as_ref().map(|(_, what)| what).or(ends.as_ref());
        // A request of whoever led before may be on its way still; S11 is about those.
        let beginner = beginner(picture).filter(|leader| leader.actor == step.event.actor);
        if let (Some(what), Some(leader)) = (what, beginner) {
            let detail = format!(
                "{what} by {}, which leads since {}",
                leader.actor, leader.since.at
            );
            broken(found, "S10", picture, detail);
        }
        if let Some((node, what)) = struck {
            for read in [format!("node {node}"), format!("pods {node}")] {
                if !is_fresh(picture, step, &read) {
                    let detail = format!("{what}, and {read} was not read anew for it");
                    broken(found, "S10", picture, detail);
                }
            }
        }
        if let Some((_, record)) = step.record(picture)
            && let Some(machine) = &record.machine
        {
            if record.removal.as_ref().is_some_and(|removal| removal.sent) {
                self.decided.entry(machine.clone()).or_insert(picture.now);
            } else {
                self.decided.remove(machine);
            }
        }
        if let Some(machine) = step.machine_deletion()
            && self
                .decided
                .get(machine)
                .is_none_or(|decided| after(*decided, FRESH) >= picture.now)
        {
            let mut names: Vec<&str> = Vec::new();
            let vm = picture.machines.get(machine);
            names.extend(vm.map(|vm| vm.node.as_str()));
            let record = picture.record_of_machine(machine);
            names.extend(record.and_then(|record| record.node.as_deref()));
            let registered = names.iter().any(|name| picture.registered.contains(*name));
            let fresh = names
                .iter()
                .any(|name| is_fresh(picture, step, &format!("node {name}")));
            if registered && !fresh {
                let detail =
                    format!("machine {machine} is deleted, and its Node was not read anew");
                broken(found, "S10", picture, detail);
            }
        }
    }
}

/// S11: whoever writes held the lease when the request was sent, and nobody else had it by then.
pub(super) struct SingleWriter;

impl Rule for SingleWriter {
    fn observe(&mut self, picture: &Picture, step: &Step<'_>, found: &mut Vec<Violation>) {
        let actor = &step.event.actor;
        let (sent, what) = match &step.event.kind {
            Kind::Commit(commit) if step.ours => {
                let Some(asked) = &commit.asked else {
                    return;
                };
                if matches!(commit.resource.as_str(), "leases" | "events") {
                    return;
                }
                let what = format!("{} {} {}", asked.verb, commit.resource, key_of(commit));
                (asked.sent, what)
            }
            Kind::Cloud(request) if step.ours => (picture.now, format!("{:?}", request.errand)),
            _ => return,
        };
        // Without an election there is nothing to hold.
        let Some(leader) = &picture.leader else {
            return;
        };
        if leader.actor != *actor {
            if leader.since.at < sent {
                let detail = format!(
                    "{actor} writes ({what}), and {} leads since {}",
                    leader.actor, leader.since.at
                );
                broken(found, "S11", picture, detail);
            }
            return;
        }
        let until = leader
            .renewed
            .saturating_add(leader.lasts)
            .unwrap_or(picture.now);
        if sent > until {
            let detail = format!("{actor} writes ({what}), and its lease ended at {until}");
            broken(found, "S11", picture, detail);
        }
    }
}
