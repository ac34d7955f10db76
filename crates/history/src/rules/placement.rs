//! S9: when a node begins to be emptied, every pod on it has a place on the others, by rules that
//! share no code with the planner's; and what replaces an evicted pod does not wait for long.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use checker::{Place, World};
use model::{NodeName, Pod as ModelPod};

use super::{Rule, broken};
use crate::{
    Violation,
    event::Kind,
    facts::{Node, Object, Pod, Since},
    picture::{Picture, Step, after, key_of},
};

/// How young a change may be that need not be known, in seconds.
const FRESH: i64 = 10;
/// How long what replaces an evicted pod may find no node, in seconds.
const WAIT: i64 = 120;

/// S9.
#[derive(Default)]
pub(super) struct PlaceForEach {
    /// Removals that have evicted: UID of the record, start of the removal.
    begun: BTreeSet<(String, String)>,
    /// Evictions in a calm world: the controller of the pod, when.
    evicted: Vec<(String, Since)>,
    told: BTreeSet<String>,
}

impl PlaceForEach {
    fn begins(&mut self, picture: &Picture, step: &Step<'_>, found: &mut Vec<Violation>) {
        let Some(pod) = step.evicted(picture) else {
            return;
        };
        let Some(node) = pod.node.as_deref() else {
            return;
        };
        let Some(record) = picture.record_of_node(node) else {
            return;
        };
        let Some(removal) = record.voluntary_removal() else {
            return;
        };
        if let Some(owner) = pod.controller()
            && picture.calm.is_some_and(|calm| calm <= picture.now)
        {
            self.evicted.push((
                owner.uid.clone(),
                Since {
                    seq: picture.seq,
                    at: picture.now,
                },
            ));
        }
        let id = (record.meta.uid.clone(), removal.started_at.clone());
        if !self.begun.insert(id) {
            return;
        }
        // What changed a moment ago need not be known: then the older state will do.
        let homeless = |exact: bool| place(picture, node, exact);
        if let (Some(pods), Some(_)) = (homeless(true), homeless(false)) {
            let detail = format!("node {node} is emptied, and no place is found for {pods}");
            broken(found, "S9", picture, detail);
        }
    }

    /// What somebody else takes away later is not what the product evicted: its replacement waits for
    /// other reasons.
    fn taken_by_others(&mut self, picture: &Picture, step: &Step<'_>) {
        let commit = step.commit().filter(|commit| commit.resource == "pods");
        let Some(commit) = commit.filter(|_| !step.ours) else {
            return;
        };
        let going = match &step.object {
            Some(Object::Pod(after)) => after.deleting(),
            _ => commit.after.is_none(),
        };
        let before = picture.pods.get(&key_of(commit));
        let before = before.filter(|pod| going && !pod.deleting() && !pod.finished());
        if let Some(owner) = before.and_then(Pod::controller) {
            self.evicted.retain(|(uid, _)| *uid != owner.uid);
        }
    }

    fn late(&mut self, picture: &Picture, found: &mut Vec<Violation>) {
        if self.evicted.is_empty() {
            return;
        }
        for pod in picture.pods.values() {
            let Some(since) = pod.unschedulable else {
                continue;
            };
            let Some(owner) = pod.controller() else {
                continue;
            };
            let replaces = self
                .evicted
                .iter()
                .any(|(uid, at)| *uid == owner.uid && *at < pod.born);
            if replaces
                && after(since.at, WAIT) < picture.now
                && self.told.insert(pod.meta.uid.clone())
            {
                let detail = format!(
                    "pod {} replaces an evicted one and finds no node since {}",
                    pod.key(),
                    since.at
                );
                broken(found, "S9", picture, detail);
            }
        }
    }
}

impl Rule for PlaceForEach {
    fn observe(&mut self, picture: &Picture, step: &Step<'_>, found: &mut Vec<Violation>) {
        self.begins(picture, step, found);
        self.taken_by_others(picture, step);
        // Leases are renewed every few seconds: often enough to look.
        if matches!(&step.event.kind, Kind::Commit(commit) if commit.resource == "leases") {
            self.late(picture, found);
        }
    }

    fn end(&mut self, picture: &Picture, found: &mut Vec<Violation>) {
        self.late(picture, found);
    }
}

/// Tries to find a place for all pods that have to leave `node`; who is left over, if anybody.
/// Unless `exact`, what changed a moment ago has not happened.
fn place(picture: &Picture, node: &str, exact: bool) -> Option<String> {
    let old = |since: Since| exact || since.at <= picture.ago(FRESH);
    let remains = |other: &Node| {
        let removed = picture
            .record_of_node(&other.meta.name)
            .is_some_and(|record| record.removal.is_some() || record.deleting());
        let ready = other.ready || !old(other.ready_since);
        let open = !other.unschedulable || !old(other.cordon_since);
        other.meta.name != node && ready && open && !removed && !other.control_plane()
    };
    let nodes: Vec<&Node> = picture.nodes.values().collect();
    let known: Vec<&Pod> = picture
        .pods
        .values()
        .filter(|pod| pod.node.is_some() && !pod.finished())
        .filter(|pod| old(pod.bound) || pod.node.as_deref() == Some(node))
        .collect();
    let parts = nodes
        .iter()
        .map(|node| &node.raw)
        .chain(known.iter().map(|pod| &pod.raw))
        .chain(picture.namespaces.values());
    let mut text = b"{\"kind\":\"List\",\"apiVersion\":\"v1\",\"items\":[".to_vec();
    for (index, part) in parts.enumerate() {
        if index > 0 {
            text.push(b',');
        }
        text.extend_from_slice(part);
    }
    text.extend_from_slice(b"]}");
    let dump = match intake::dump::Dump::from_slice(&text) {
        Ok(dump) => dump,
        Err(error) => return Some(format!("anything: the picture cannot be read ({error})")),
    };
    let leaving: BTreeMap<String, &Pod> = known
        .iter()
        .filter(|pod| pod.node.as_deref() == Some(node))
        .filter(|pod| pod.ordinary() && !pod.deleting())
        .map(|pod| (pod.key(), *pod))
        .collect();
    let mut world = World::new(Arc::new(dump.surroundings.clone()));
    let mut places: Vec<Place> = Vec::new();
    for row in &dump.nodes {
        let name = row.name.as_str();
        let mut row = row.clone();
        let stays = picture.nodes.get(name).is_some_and(remains);
        // A cordon that need not be known is none.
        if stays && row.shape.unschedulable {
            let mut shape = (*row.shape).clone();
            shape.unschedulable = false;
            shape
                .taints
                .retain(|taint| &*taint.key != "node.kubernetes.io/unschedulable");
            row.shape = Arc::new(shape);
        }
        let place = world.add(row);
        if stays {
            places.push(place);
        }
    }
    let mut moving: Vec<&Arc<ModelPod>> = Vec::new();
    for pod in &dump.bound {
        let key = pod.key.to_string();
        if leaving.contains_key(&key) {
            moving.push(pod);
            continue;
        }
        let on = pod_node(picture, &key);
        if let Some(place) = on.and_then(|name| world.find(&NodeName::new(name))) {
            world.put(&pod.class, place, pod.terminating.is_some());
        }
    }
    let left = search(&world, &places, &moving);
    left.map(|pod| pod.key.to_string())
}

fn pod_node<'a>(picture: &'a Picture, key: &str) -> Option<&'a str> {
    picture.pods.get(key)?.node.as_deref()
}

/// Several orders of pods and of nodes; the first in which all find a place ends the search. Who was
/// left over in the last, otherwise.
fn search<'a>(
    world: &World,
    places: &[Place],
    moving: &[&'a Arc<ModelPod>],
) -> Option<&'a Arc<ModelPod>> {
    let mut orders: Vec<Vec<&'a Arc<ModelPod>>> = Vec::new();
    let mut by_size = moving.to_vec();
    by_size.sort_by_key(|pod| std::cmp::Reverse(pod.class.requests.clone()));
    orders.push(by_size.clone());
    orders.push(moving.to_vec());
    by_size.reverse();
    orders.push(by_size);
    for turn in 0..moving.len().min(12) {
        let mut turned = moving.to_vec();
        turned.rotate_left(turn);
        orders.push(turned);
    }
    let mut left = None;
    for order in orders {
        for backwards in [false, true] {
            let mut trial = world.clone();
            left = order.iter().copied().find(|pod| {
                let fits = |place: &&Place| trial.broken(&pod.class, **place).is_empty();
                let place = if backwards {
                    places.iter().rev().find(fits)
                } else {
                    places.iter().find(fits)
                };
                match place.copied() {
                    Some(place) => {
                        trial.put(&pod.class, place, false);
                        false
                    }
                    None => true,
                }
            });
            left?;
        }
    }
    left
}
