//! The history of a world: what both servers kept and what was noted besides, in one order.

use std::{
    collections::BTreeSet,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use history::{CloudRequest, Commit, Errand, Event, Fate, History, Kind, Machine, Note, Origin};
use jiff::Timestamp;
use kube_sim::{Entry, KubeSim};
use vpsie_sim::{Happening, MachineEvent, Route, VpsieSim, What};

use crate::PEOPLE;

/// Gives all that happens its number.
#[derive(Clone, Debug, Default)]
pub(crate) struct Recorder {
    order: Arc<AtomicU64>,
    notes: Arc<Mutex<Vec<Event>>>,
}

/// What the rules look at.
fn keeps(group: &str, resource: &str, namespace: &str) -> bool {
    matches!(
        (group, resource),
        (
            "",
            "nodes" | "pods" | "namespaces" | "events" | "replicationcontrollers"
        ) | ("policy", "poddisruptionbudgets")
            | ("apps", "replicasets" | "statefulsets" | "daemonsets")
            | ("batch", "jobs")
            | (
                "autoscaler.vpsie.com",
                "nodegroups" | "vpsienodes" | "autoscalerconfigs"
            )
    ) || (resource == "leases" && namespace != "kube-node-lease")
}

impl Recorder {
    pub(crate) fn begin(&self, kube: &KubeSim) {
        kube.record(Arc::clone(&self.order), keeps);
    }

    pub(crate) fn listen(&self, cloud: &VpsieSim) {
        cloud.record(Arc::clone(&self.order));
    }

    pub(crate) fn note(&self, at: Timestamp, actor: &str, note: Note) {
        let seq = self.order.fetch_add(1, Ordering::SeqCst);
        let mut notes = self.notes.lock().unwrap_or_else(PoisonError::into_inner);
        notes.push(Event {
            seq,
            at,
            actor: actor.to_owned(),
            kind: Kind::Note(note),
        });
    }

    pub(crate) fn history(
        &self,
        kube: &KubeSim,
        cloud: &VpsieSim,
        now: Timestamp,
        ours: BTreeSet<String>,
    ) -> History {
        let mut events: Vec<Event> = kube.recorded().into_iter().filter_map(entry).collect();
        events.extend(cloud.recorded().into_iter().map(happening));
        let notes = self.notes.lock().unwrap_or_else(PoisonError::into_inner);
        events.extend(notes.iter().cloned());
        events.sort_by_key(|event| event.seq);
        History {
            people: BTreeSet::from([PEOPLE.to_owned()]),
            ours,
            end: Some(now),
            events,
            ..History::default()
        }
    }
}

/// The scheduler's Events are many and say nothing of the product.
fn entry(entry: Entry) -> Option<Event> {
    Some(match entry {
        Entry::Commit(commit) => {
            let asked = commit.asked;
            let actor = asked.as_ref().map(|asked| asked.actor.clone());
            if commit.resource == "events" && actor.as_deref() == Some("kube-scheduler") {
                return None;
            }
            Event {
                seq: commit.order,
                at: commit.at,
                actor: actor.unwrap_or_else(|| "kube-apiserver".to_owned()),
                kind: Kind::Commit(Commit {
                    asked: asked.map(|asked| history::Asked {
                        request: asked.number,
                        sent: asked.sent,
                        verb: asked.verb,
                        subresource: asked.subresource.clone(),
                        by_uid: asked.by_uid,
                        by_version: asked.by_version,
                    }),
                    group: commit.group,
                    resource: commit.resource,
                    namespace: commit.namespace,
                    name: commit.name,
                    uid: commit.uid,
                    before: commit.before,
                    after: commit.after,
                }),
            }
        }
        Entry::Read(read) => Event {
            seq: read.order,
            at: read.at,
            actor: read.asked.actor.clone(),
            kind: Kind::Read(history::Read {
                verb: read.asked.verb,
                resource: read.resource,
                name: read.name,
                fields: read.fields,
                current: read.current,
                code: read.code,
            }),
        },
    })
}

fn happening(happening: Happening) -> Event {
    let (actor, kind) = match happening.what {
        What::Asked {
            seq,
            actor,
            route,
            values,
            machine,
        } => {
            let pool = || values.get(1).and_then(|pool| pool.parse().ok());
            let errand = match route {
                Route::AddWorker => Errand::Create {
                    pool: pool().unwrap_or_default(),
                },
                Route::DeleteWorker => Errand::Delete { machine },
                Route::ReduceGroup | Route::ReduceCluster => Errand::DeleteAny,
                other => Errand::Other(other.name()),
            };
            let request = CloudRequest {
                number: seq,
                errand,
            };
            (actor, Kind::Cloud(request))
        }
        What::Machine(event) => {
            let machine = event.machine();
            let fate = match &*event {
                MachineEvent::Created(_) => Fate::Bought,
                MachineEvent::Running(_) => Fate::Runs,
                MachineEvent::Deleting(machine) => {
                    Fate::Deleted(machine.deleted_by.map_or(Origin::Nobody, origin))
                }
                MachineEvent::Deleted(_) => Fate::Gone,
            };
            let machine = Machine {
                uuid: machine.uuid.clone(),
                node: machine.node_name.clone(),
                pool: machine.pool,
                bought_by: origin(machine.origin),
                fate,
            };
            ("vpsie".to_owned(), Kind::Machine(machine))
        }
    };
    Event {
        seq: happening.order,
        at: happening.at,
        actor,
        kind,
    }
}

const fn origin(origin: vpsie_sim::Origin) -> Origin {
    match origin {
        vpsie_sim::Origin::Api(number) => Origin::Request(number),
        vpsie_sim::Origin::Human => Origin::Person,
        vpsie_sim::Origin::Initial => Origin::Nobody,
    }
}
