//! The truth at one moment of a history: what there is, since when, and who brought it about.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use jiff::{SignedDuration, Timestamp};

use crate::{
    History, Limits,
    event::{CloudRequest, Commit, Errand, Event, Fate, Kind, Note, Origin},
    facts::{self, Budget, Group, Lease, Node, Object, Pod, Record, Since},
};

/// A machine at the cloud.
#[derive(Clone, Debug)]
pub(crate) struct Vm {
    pub(crate) node: String,
    pub(crate) pool: Option<i64>,
    pub(crate) bought_by: Origin,
    pub(crate) bought: Since,
    /// It is paid.
    pub(crate) alive: bool,
    /// The only one, or the first, of the request that bought it.
    pub(crate) first: bool,
}

/// Who leads.
#[derive(Clone, Debug)]
pub(crate) struct Leader {
    pub(crate) actor: String,
    pub(crate) holder: String,
    pub(crate) renewed: Timestamp,
    /// It leads since.
    pub(crate) since: Since,
    pub(crate) lasts: SignedDuration,
}

/// An event and what it says, before it is part of the picture.
pub(crate) struct Step<'a> {
    pub(crate) event: &'a Event,
    pub(crate) ours: bool,
    /// The object as it is after a commit; `None` when it is gone.
    pub(crate) object: Option<Object>,
}

/// Everything that is so.
#[derive(Debug)]
pub struct Picture {
    /// The time of the latest event.
    pub(crate) now: Timestamp,
    pub(crate) seq: u64,
    pub(crate) ours: BTreeSet<String>,
    people: BTreeSet<String>,
    pub(crate) limits: Limits,
    pub(crate) calm: Option<Timestamp>,
    pub(crate) nodes: BTreeMap<String, Node>,
    pub(crate) pods: BTreeMap<String, Pod>,
    pub(crate) budgets: BTreeMap<String, Budget>,
    pub(crate) groups: BTreeMap<String, Group>,
    pub(crate) records: BTreeMap<String, Record>,
    /// UIDs of workloads.
    pub(crate) workloads: BTreeSet<String>,
    pub(crate) namespaces: BTreeMap<String, Bytes>,
    pub(crate) machines: BTreeMap<String, Vm>,
    /// Requests to the cloud by number: who, what, when.
    pub(crate) requests: BTreeMap<u64, (String, Errand, Since)>,
    pub(crate) leader: Option<Leader>,
    /// The latest reads of the present state by actor and what was read: `node NAME`, `pods NAME`.
    pub(crate) reads: BTreeMap<(String, String), Since>,
    /// Nodes that were deleted: when, and whether by the product.
    pub(crate) departed: BTreeMap<String, (Since, bool)>,
    /// Names under which a Node ever registered.
    pub(crate) registered: BTreeSet<String>,
    /// Machines that were ever named by a record: by which UIDs and of which group.
    pub(crate) owners: BTreeMap<String, Vec<(String, String)>>,
    /// What the product told about objects: `Kind namespace/name` and the reasons.
    pub(crate) told: BTreeMap<String, BTreeSet<String>>,
    /// Machines that the product told it leaves alone.
    pub(crate) reported: Vec<String>,
    pub(crate) disturbed: Timestamp,
    /// When records were made in each group by the product.
    pub(crate) grown: BTreeMap<String, Timestamp>,
}

impl Picture {
    pub(crate) fn new(history: &History) -> Self {
        Self {
            now: Timestamp::MIN,
            seq: 0,
            ours: history.ours.clone(),
            people: history.people.clone(),
            limits: history.limits.clone(),
            calm: history.calm,
            nodes: BTreeMap::new(),
            pods: BTreeMap::new(),
            budgets: BTreeMap::new(),
            groups: BTreeMap::new(),
            records: BTreeMap::new(),
            workloads: BTreeSet::new(),
            namespaces: BTreeMap::new(),
            machines: BTreeMap::new(),
            requests: BTreeMap::new(),
            leader: None,
            reads: BTreeMap::new(),
            departed: BTreeMap::new(),
            registered: BTreeSet::new(),
            owners: BTreeMap::new(),
            told: BTreeMap::new(),
            reported: Vec::new(),
            disturbed: Timestamp::MIN,
            grown: BTreeMap::new(),
        }
    }

    /// Reads what an event says.
    pub(crate) fn see<'a>(&mut self, event: &'a Event) -> Step<'a> {
        self.now = event.at;
        self.seq = event.seq;
        let ours = self.ours.contains(&event.actor);
        let object = match &event.kind {
            Kind::Commit(commit) => self.decode(commit, ours),
            _ => None,
        };
        Step {
            event,
            ours,
            object,
        }
    }

    fn since(&self) -> Since {
        Since {
            seq: self.seq,
            at: self.now,
        }
    }

    fn decode(&self, commit: &Commit, ours: bool) -> Option<Object> {
        let raw = commit.after.as_ref()?;
        let key = key_of(commit);
        let now = self.since();
        Some(match commit.resource.as_str() {
            "nodes" => Object::Node(facts::node(raw, self.nodes.get(&commit.name), now, ours)),
            "pods" => Object::Pod(facts::pod(raw, self.pods.get(&key), now)),
            "poddisruptionbudgets" => Object::Budget(facts::budget(raw)),
            "nodegroups" => Object::Group(facts::group(raw, self.groups.get(&key), now)),
            "vpsienodes" => Object::Record(facts::record(raw, self.records.get(&key), now, ours)),
            "leases" => Object::Lease(facts::lease(raw)),
            "events" => Object::Told(facts::told(raw)),
            "namespaces" => Object::Namespace(raw.clone()),
            _ => Object::Workload,
        })
    }

    /// Makes it part of the picture.
    pub(crate) fn apply(&mut self, step: Step<'_>) {
        let now = self.since();
        let actor = &step.event.actor;
        match &step.event.kind {
            Kind::Commit(commit) => {
                if self.people.contains(actor) {
                    self.disturbed = now.at;
                }
                match step.object {
                    Some(object) => self.put(commit, object, actor, step.ours),
                    None => self.remove(commit, step.ours),
                }
            }
            Kind::Read(read) => {
                if read.current && matches!(read.code, 200 | 404) && read.verb != "watch" {
                    let what = match (read.resource.as_str(), read.name.as_str()) {
                        ("nodes", name) if !name.is_empty() => format!("node {name}"),
                        ("pods", "") => match read.fields.strip_prefix("spec.nodeName=") {
                            Some(node) => {
                                format!("pods {}", node.split(',').next().unwrap_or_default())
                            }
                            None => return,
                        },
                        _ => return,
                    };
                    self.reads.insert((actor.clone(), what), now);
                }
            }
            Kind::Cloud(CloudRequest { number, errand }) => {
                self.requests
                    .insert(*number, (actor.clone(), errand.clone(), now));
            }
            Kind::Machine(machine) => {
                let first = !matches!(machine.bought_by, Origin::Request(_))
                    || !self
                        .machines
                        .values()
                        .any(|other| other.bought_by == machine.bought_by);
                let vm = self
                    .machines
                    .entry(machine.uuid.clone())
                    .or_insert_with(|| Vm {
                        node: machine.node.clone(),
                        pool: machine.pool,
                        bought_by: machine.bought_by,
                        bought: now,
                        alive: true,
                        first,
                    });
                match machine.fate {
                    Fate::Bought | Fate::Runs => {}
                    Fate::Deleted(by) => {
                        vm.alive = false;
                        if by == Origin::Person {
                            self.disturbed = now.at;
                        }
                    }
                    Fate::Gone => vm.alive = false,
                }
            }
            Kind::Note(note) => {
                if *note == Note::Ended
                    && self
                        .leader
                        .as_ref()
                        .is_some_and(|leader| leader.actor == *actor)
                {
                    self.leader = None;
                }
                self.disturbed = now.at;
            }
        }
    }

    fn put(&mut self, commit: &Commit, object: Object, actor: &str, ours: bool) {
        let key = key_of(commit);
        let now = self.since();
        match object {
            Object::Node(node) => {
                self.registered.insert(commit.name.clone());
                self.nodes.insert(commit.name.clone(), node);
            }
            Object::Pod(pod) => {
                self.pods.insert(key, pod);
            }
            Object::Budget(budget) => {
                self.budgets.insert(key, budget);
            }
            Object::Group(group) => {
                self.groups.insert(key, group);
            }
            Object::Record(record) => {
                if !self.records.contains_key(&key) && ours {
                    self.grown.insert(record.group.clone(), now.at);
                }
                if let Some(machine) = &record.machine {
                    let owner = (record.meta.uid.clone(), record.group.clone());
                    let owners = self.owners.entry(machine.clone()).or_default();
                    if !owners.contains(&owner) {
                        owners.push(owner);
                    }
                }
                self.records.insert(key, record);
            }
            Object::Lease(lease) => self.led(lease, actor, ours),
            Object::Told(told) => {
                if ours {
                    let about = format!("{} {}", told.about_kind, told.about);
                    if told.about_kind == "NodeGroup" || told.reason == "AmbiguousCreate" {
                        self.reported.push(told.message.clone());
                    }
                    self.told.entry(about).or_default().insert(told.reason);
                }
            }
            Object::Workload => {
                self.workloads.insert(commit.uid.clone());
            }
            Object::Namespace(raw) => {
                self.namespaces.insert(commit.name.clone(), raw);
            }
        }
    }

    fn led(&mut self, lease: Lease, actor: &str, ours: bool) {
        if !ours {
            return;
        }
        if lease.holder.is_empty() {
            self.leader = None;
            return;
        }
        let now = self.since();
        let since = self
            .leader
            .as_ref()
            .filter(|leader| leader.holder == lease.holder)
            .map_or(now, |leader| leader.since);
        self.leader = Some(Leader {
            actor: actor.to_owned(),
            holder: lease.holder,
            renewed: now.at,
            since,
            lasts: SignedDuration::from_secs(lease.lasts),
        });
    }

    fn remove(&mut self, commit: &Commit, ours: bool) {
        let key = key_of(commit);
        match commit.resource.as_str() {
            "nodes" => {
                self.nodes.remove(&commit.name);
                self.departed
                    .insert(commit.name.clone(), (self.since(), ours));
            }
            "pods" => {
                self.pods.remove(&key);
            }
            "poddisruptionbudgets" => {
                self.budgets.remove(&key);
            }
            "nodegroups" => {
                self.groups.remove(&key);
            }
            "vpsienodes" => {
                self.records.remove(&key);
            }
            "leases" => self.leader = None,
            "namespaces" => {
                self.namespaces.remove(&commit.name);
            }
            "events" => {}
            _ => {
                self.workloads.remove(&commit.uid);
            }
        }
    }

    // === Questions ===

    /// A moment this long ago.
    pub(crate) fn ago(&self, seconds: i64) -> Timestamp {
        before(self.now, seconds)
    }

    /// The pods on a node, finished ones too.
    pub(crate) fn pods_on<'a>(&'a self, node: &'a str) -> impl Iterator<Item = &'a Pod> {
        self.pods
            .values()
            .filter(move |pod| pod.node.as_deref() == Some(node))
    }

    /// The record whose Node this is: by what it says, else by what its machine is called.
    pub(crate) fn record_of_node(&self, node: &str) -> Option<&Record> {
        let named = self
            .records
            .values()
            .find(|record| record.node.as_deref() == Some(node));
        named.or_else(|| {
            self.records.values().find(|record| {
                let machine = record.machine.as_ref();
                machine
                    .and_then(|machine| self.machines.get(machine))
                    .is_some_and(|vm| vm.node == node)
            })
        })
    }

    pub(crate) fn record_of_machine(&self, machine: &str) -> Option<&Record> {
        self.records
            .values()
            .find(|record| record.machine.as_deref() == Some(machine))
    }

    pub(crate) fn is_alive(&self, machine: &str) -> bool {
        self.machines.get(machine).is_some_and(|vm| vm.alive)
    }

    /// The budgets over a pod.
    pub(crate) fn budgets_of<'a>(&'a self, pod: &'a Pod) -> impl Iterator<Item = &'a Budget> {
        self.budgets.values().filter(|budget| budget.covers(pod))
    }

    /// The latest time that `actor` read `what` as it was.
    pub(crate) fn last_read(&self, actor: &str, what: &str) -> Option<Since> {
        let key = (actor.to_owned(), what.to_owned());
        self.reads.get(&key).copied()
    }

    /// Workers that have been in service and are not past the point of no return.
    pub(crate) fn workers(&self) -> impl Iterator<Item = &Node> {
        self.nodes
            .values()
            .filter(|node| node.served && !node.control_plane())
            .filter(|node| {
                let record = self.record_of_node(&node.meta.name);
                let removal = record.and_then(|record| record.removal.as_ref());
                removal.is_none_or(|removal| !removal.is_final())
            })
    }

    /// People were told of a machine that belongs to no record.
    pub(crate) fn is_reported(&self, uuid: &str, vm: &Vm) -> bool {
        let of_it = |message: &String| message.contains(uuid) || message.contains(&vm.node);
        self.reported.iter().any(of_it)
    }

    /// Nothing has disturbed for so many seconds, and somebody leads.
    pub(crate) fn quiet_for(&self, seconds: i64) -> bool {
        self.disturbed <= self.ago(seconds)
            && self
                .leader
                .as_ref()
                .is_some_and(|leader| leader.since.at <= self.ago(seconds))
    }
}

impl Step<'_> {
    pub(crate) fn commit(&self) -> Option<&Commit> {
        match &self.event.kind {
            Kind::Commit(commit) => Some(commit),
            _ => None,
        }
    }

    /// A commit of the product to this resource.
    pub(crate) fn own(&self, resource: &str) -> Option<&Commit> {
        self.commit()
            .filter(|commit| self.ours && commit.resource == resource)
    }

    /// An eviction by the product that was granted: the pod it strikes.
    pub(crate) fn evicted<'a>(&self, picture: &'a Picture) -> Option<&'a Pod> {
        let commit = self.own("pods")?;
        let asked = commit.asked.as_ref()?;
        if asked.subresource != "eviction" {
            return None;
        }
        picture.pods.get(&key_of(commit))
    }

    /// The deletion of a Node by the product.
    pub(crate) fn node_deleted<'a>(&self, picture: &'a Picture) -> Option<&'a Node> {
        let commit = self.own("nodes")?;
        if commit.asked.as_ref()?.verb != "delete" {
            return None;
        }
        picture.nodes.get(&commit.name)
    }

    /// A request of the product for the end of a machine.
    pub(crate) fn machine_deletion(&self) -> Option<&str> {
        match &self.event.kind {
            Kind::Cloud(CloudRequest {
                errand: Errand::Delete { machine },
                ..
            }) if self.ours => machine.as_deref(),
            _ => None,
        }
    }

    /// The product writes to a record: what it was and what it is.
    pub(crate) fn record<'a>(
        &'a self,
        picture: &'a Picture,
    ) -> Option<(Option<&'a Record>, &'a Record)> {
        match &self.object {
            Some(Object::Record(after)) if self.ours => {
                Some((picture.records.get(&after.key()), after))
            }
            _ => None,
        }
    }

    /// The product begins a removal that nobody ordered.
    pub(crate) fn removal_begun<'a>(&'a self, picture: &'a Picture) -> Option<&'a Record> {
        let (before, after) = self.record(picture)?;
        let begun = after.voluntary_removal().is_some()
            && before.is_none_or(|before| before.removal.is_none());
        begun.then_some(after)
    }
}

pub(crate) fn key_of(commit: &Commit) -> String {
    if commit.namespace.is_empty() {
        commit.name.clone()
    } else {
        format!("{}/{}", commit.namespace, commit.name)
    }
}

/// A moment this long before.
pub(crate) fn before(at: Timestamp, seconds: i64) -> Timestamp {
    at.saturating_sub(SignedDuration::from_secs(seconds))
        .unwrap_or(Timestamp::MIN)
}

/// A moment this long after.
pub(crate) fn after(at: Timestamp, seconds: i64) -> Timestamp {
    at.saturating_add(SignedDuration::from_secs(seconds))
        .unwrap_or(Timestamp::MAX)
}
