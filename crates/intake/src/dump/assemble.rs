//! Objects, put together: equal pods share their class, references are resolved at the end.

mod disruption;

use std::{
    collections::{BTreeMap, BTreeSet, btree_map::Entry},
    sync::Arc,
};

use api::{NodeGroup, VPSieNode};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use model::{
    Budget, Node, NodeName, Pod, PodKey, PodState, SchedulingClass, Surroundings, Upkeep,
    WorkloadKind,
};

use super::{
    Dump, DumpError, MOST_PROBLEMS,
    item::{Identity, Item},
    problem::{Fault, Problem},
};
use crate::{
    DaemonSetView, PodView, Shared,
    storage::{Attachment, attached},
};

#[derive(Default)]
pub(super) struct Assembly {
    dump: Dump,
    nodes: BTreeMap<NodeName, Node>,
    pods: BTreeMap<PodKey, Arc<Pod>>,
    /// Pods that have finished: they count for nothing, but their names are taken.
    finished: BTreeSet<PodKey>,
    classes: Shared<SchedulingClass>,
    upkeeps: Shared<Upkeep>,
    namespaces: BTreeSet<Arc<str>>,
    groups: BTreeMap<PodKey, NodeGroup>,
    machines: BTreeMap<PodKey, VPSieNode>,
    attachments: BTreeMap<Arc<str>, Option<Attachment>>,
    drivers: BTreeSet<Arc<str>>,
    capacities: BTreeSet<PodKey>,
    budgets: BTreeMap<PodKey, Budget>,
    workloads: BTreeSet<(WorkloadKind, PodKey)>,
    configs: BTreeSet<Arc<str>>,
}

fn key(meta: &ObjectMeta) -> PodKey {
    PodKey::new(
        meta.namespace.as_deref().unwrap_or_default(),
        meta.name.as_deref().unwrap_or_default(),
    )
}

fn name(meta: &ObjectMeta) -> Arc<str> {
    Arc::from(meta.name.as_deref().unwrap_or_default())
}

/// The kind of an object and its metadata.
type Named<'a> = (&'static str, &'a ObjectMeta);

impl Assembly {
    /// Something is wrong with an object.
    pub(super) fn note(&mut self, identity: Identity, fault: Fault) {
        self.problem(Problem {
            kind: identity.kind.unwrap_or_default(),
            namespace: identity.namespace,
            name: identity.name,
            fault,
        });
    }

    fn problem(&mut self, problem: Problem) {
        if self.dump.problems.len() < MOST_PROBLEMS {
            self.dump.problems.push(problem);
        } else {
            self.dump.further_problems += 1;
        }
    }

    fn fault(&mut self, (kind, meta): Named<'_>, fault: Fault) {
        self.problem(Problem {
            kind: kind.to_owned(),
            namespace: meta.namespace.clone().unwrap_or_default(),
            name: meta.name.clone().unwrap_or_default(),
            fault,
        });
    }

    fn defect(&mut self, named: Named<'_>, defect: Option<&str>) {
        if let Some(defect) = defect {
            self.fault(named, Fault::Defect(defect.to_owned()));
        }
    }

    /// Whether an object of this kind has a name; if not, that is noted.
    fn has_name(&mut self, named: Named<'_>) -> bool {
        let there = named.1.name.as_ref().is_some_and(|name| !name.is_empty());
        if !there {
            self.fault(named, Fault::NoName);
        }
        there
    }

    /// Adds one object.
    pub(super) fn add(&mut self, item: Item) -> Result<(), DumpError> {
        match item {
            Item::Unordered => {}
            Item::Unknown(kind) => *self.dump.ignored.entry(kind).or_default() += 1,
            Item::Node(view) => {
                let named = ("Node", &view.metadata);
                if self.has_name(named) {
                    let node = view.node();
                    self.defect(named, node.defect.as_deref());
                    if self.nodes.contains_key(&node.name) {
                        let name = node.name.to_string();
                        return Err(DumpError::NodeTwice { name });
                    }
                    let facts = view.facts();
                    self.dump.node_facts.insert(node.name.clone(), facts);
                    self.nodes.insert(node.name.clone(), node);
                }
            }
            Item::Pod(view) => self.pod(&view),
            Item::DaemonSet(view) => self.daemon_set(&view),
            Item::Namespace(view) => {
                let named = ("Namespace", &view.metadata);
                if self.has_name(named) {
                    let (name, labels) = (name(&view.metadata), view.labels());
                    let kept = put(&mut self.dump.surroundings.namespaces, name, labels);
                    self.kept(kept, named);
                }
            }
            Item::NodeGroup(group) => {
                let key = key(&group.metadata);
                if self.has_name(("NodeGroup", &group.metadata)) {
                    match self.groups.entry(key) {
                        Entry::Vacant(place) => {
                            place.insert(*group);
                        }
                        Entry::Occupied(_) => {
                            self.fault(("NodeGroup", &group.metadata), Fault::Twice);
                        }
                    }
                }
            }
            Item::VPSieNode(machine) => {
                let key = key(&machine.metadata);
                if self.has_name(("VPSieNode", &machine.metadata)) {
                    match self.machines.entry(key) {
                        Entry::Vacant(place) => {
                            place.insert(*machine);
                        }
                        Entry::Occupied(_) => {
                            self.fault(("VPSieNode", &machine.metadata), Fault::Twice);
                        }
                    }
                }
            }
            other @ (Item::Config(_) | Item::Budget(_) | Item::Workload(..) | Item::Metrics(_)) => {
                self.disruption(other);
            }
            storage => self.storage(storage),
        }
        Ok(())
    }

    fn kept(&mut self, kept: bool, named: Named<'_>) {
        if !kept {
            self.fault(named, Fault::Twice);
        }
    }

    fn storage(&mut self, item: Item) {
        match item {
            Item::Claim(view) => {
                let named = ("PersistentVolumeClaim", &view.metadata);
                if self.has_name(named) {
                    let (claim, defect) = view.claim();
                    let key = key(&view.metadata);
                    let claims = &mut self.dump.surroundings.storage.claims;
                    let kept = put(claims, (key.namespace, key.name), claim);
                    self.kept(kept, named);
                    self.defect(named, defect.as_deref());
                }
            }
            Item::Volume(view) => {
                let named = ("PersistentVolume", &view.metadata);
                if self.has_name(named) {
                    let (volume, defect) = view.volume();
                    let volumes = &mut self.dump.surroundings.storage.volumes;
                    let kept = put(volumes, name(&view.metadata), volume);
                    self.kept(kept, named);
                    self.defect(named, defect.as_deref());
                }
            }
            Item::Class(view) => {
                let named = ("StorageClass", &view.metadata);
                if self.has_name(named) {
                    let classes = &mut self.dump.surroundings.storage.classes;
                    let kept = put(classes, name(&view.metadata), view.class());
                    self.kept(kept, named);
                }
            }
            Item::CsiNode(view) => {
                let named = ("CSINode", &view.metadata);
                if self.has_name(named) {
                    let storage = &mut self.dump.surroundings.storage;
                    let node = NodeName::new(name(&view.metadata));
                    let kept = put(&mut storage.limits, node.clone(), view.limits());
                    let migrated = view.migrated();
                    if kept && !migrated.is_empty() {
                        storage.migrated.insert(node, migrated);
                    }
                    self.kept(kept, named);
                }
            }
            Item::Driver(view) => {
                let named = ("CSIDriver", &view.metadata);
                if self.has_name(named) {
                    let name = name(&view.metadata);
                    let kept = self.drivers.insert(Arc::clone(&name));
                    if kept && view.publishes_capacity() {
                        let storage = &mut self.dump.surroundings.storage;
                        storage.publishing_drivers.insert(name);
                    }
                    self.kept(kept, named);
                }
            }
            Item::Capacity(view) => {
                let named = ("CSIStorageCapacity", &view.metadata);
                if self.has_name(named) {
                    let (capacity, defect) = view.capacity();
                    let kept = self.capacities.insert(key(&view.metadata));
                    if kept {
                        self.dump.surroundings.storage.capacities.push(capacity);
                    }
                    self.kept(kept, named);
                    self.defect(named, defect.as_deref());
                }
            }
            Item::Attachment(view) => {
                let named = ("VolumeAttachment", &view.metadata);
                if self.has_name(named) {
                    let name = name(&view.metadata);
                    let kept = put(&mut self.attachments, name, view.attachment());
                    self.kept(kept, named);
                }
            }
            _ => {}
        }
    }

    fn pod(&mut self, view: &PodView) {
        let named = ("Pod", &view.metadata);
        if !self.has_name(named) {
            return;
        }
        let namespace = view.metadata.namespace.as_deref().unwrap_or_default();
        let namespace = if let Some(known) = self.namespaces.get(namespace) {
            Arc::clone(known)
        } else {
            let new: Arc<str> = Arc::from(namespace);
            self.namespaces.insert(Arc::clone(&new));
            new
        };
        let key = PodKey {
            namespace,
            name: name(&view.metadata),
        };
        if self.pods.contains_key(&key) || self.finished.contains(&key) {
            return self.fault(named, Fault::Twice);
        }
        if view.finished() {
            self.finished.insert(key);
            return;
        }
        let class = self.classes.one(view.class());
        self.defect(named, class.defect.as_deref());
        let upkeep = self.upkeeps.one(view.upkeep());
        let pod = Arc::new(view.pod(key.clone(), class, upkeep));
        self.pods.insert(key, pod);
    }

    fn daemon_set(&mut self, view: &DaemonSetView) {
        let named = ("DaemonSet", &view.metadata);
        if self.has_name(named) {
            let class = self.classes.one(view.class());
            let defect = class.defect.clone();
            let kept = put(&mut self.dump.daemon_sets, key(&view.metadata), class);
            self.kept(kept, named);
            self.defect(named, defect.as_deref());
        }
    }

    /// The dump.
    pub(super) fn finish(mut self) -> Dump {
        for (key, pod) in std::mem::take(&mut self.pods) {
            match &pod.state {
                PodState::Bound(node) if self.nodes.contains_key(node) => {
                    self.dump.bound.push(pod);
                }
                PodState::Bound(node) => {
                    let fault = Fault::UnknownNode(node.to_string());
                    self.problem(Problem {
                        kind: "Pod".to_owned(),
                        namespace: key.namespace.to_string(),
                        name: key.name.to_string(),
                        fault,
                    });
                }
                PodState::Unschedulable(_) | PodState::Waiting | PodState::Gated => {
                    self.dump.waiting.push(pod);
                }
            }
        }
        let Surroundings { storage, .. } = &mut self.dump.surroundings;
        storage.attached = attached(self.attachments.values().flatten(), &storage.volumes);
        self.dump.nodes = self.nodes.into_values().collect();
        self.dump.disruption.budgets = Some(self.budgets.into_values().collect());
        self.dump.node_groups = self.groups.into_values().collect();
        self.dump.vpsie_nodes = self.machines.into_values().collect();
        self.dump
    }
}

/// Whether there was none of this key before.
fn put<K: Ord, V>(map: &mut BTreeMap<K, V>, key: K, value: V) -> bool {
    match map.entry(key) {
        Entry::Vacant(place) => {
            place.insert(value);
            true
        }
        Entry::Occupied(_) => false,
    }
}
