//! The world at a glance: who is pending, running, ready, and what was last said about it. Kept
//! from the same news that the actors hear.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use jiff::Timestamp;
use runtime::Clock;
use runtime::watch;
use serde::Serialize;

use crate::{
    actors::Actor,
    objects::{Node, Note, Object, Pod, condition},
    observe::{Change, Seen, Shared, lock},
};

/// How many decisions are kept.
const DECISIONS: usize = 200;

/// The state of the world's objects, as last told. Keys are `namespace/name`.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct View {
    /// Pods.
    pub pods: BTreeMap<String, PodRow>,
    /// Nodes, by name.
    pub nodes: BTreeMap<String, NodeRow>,
    /// NodeGroups.
    pub groups: BTreeMap<String, GroupRow>,
    /// VPSieNodes.
    pub vpsie_nodes: BTreeMap<String, VPSieNodeRow>,
    /// What was said in Events, newest first; the scheduler's own are left out.
    pub decisions: VecDeque<Decision>,
}

/// A pod.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PodRow {
    /// Its phase.
    pub phase: String,
    /// Ready.
    pub ready: bool,
    /// The scheduler found no node for it.
    pub unschedulable: bool,
    /// On its way out.
    pub deleting: bool,
    /// Its node.
    pub node: Option<String>,
    /// Belongs to a DaemonSet.
    pub daemon: bool,
}

/// A node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeRow {
    /// Ready.
    pub ready: bool,
    /// Cordoned.
    pub unschedulable: bool,
    /// Runs the control plane.
    pub control_plane: bool,
    /// Its NodeGroup, from its labels.
    pub group: Option<String>,
}

/// A NodeGroup.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct GroupRow {
    /// Fewest nodes.
    pub min: i32,
    /// Most nodes.
    pub max: i32,
    /// Machines that exist or may, as its status says.
    pub current: i32,
    /// Ready nodes, as its status says.
    pub ready: i32,
    /// Managed by the product.
    pub managed: bool,
    /// Conditions by type: status and reason.
    pub conditions: BTreeMap<String, (String, String)>,
}

/// A VPSieNode.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct VPSieNodeRow {
    /// Its NodeGroup (`namespace/name`).
    pub group: String,
    /// Its phase.
    pub phase: String,
    /// UUID of its machine, once known.
    pub machine: Option<String>,
    /// Its Node, once known.
    pub node: Option<String>,
    /// On its way out.
    pub deleting: bool,
}

/// Something that was said in an Event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Decision {
    /// When it was heard.
    pub at: Timestamp,
    /// `Kind namespace/name`.
    pub object: String,
    /// `Normal` or `Warning`.
    pub level: String,
    /// The reason.
    pub reason: String,
    /// The message.
    pub message: String,
    /// How often it was said.
    pub count: i64,
    /// Who said it.
    pub from: String,
}

/// How many there are of what.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Counts {
    /// Pods in phase Pending.
    pub pending: usize,
    /// Of these, those for which the scheduler found no node.
    pub unschedulable: usize,
    /// Pods in phase Running.
    pub running: usize,
    /// Running pods that are Ready.
    pub ready: usize,
    /// Pods that have ended.
    pub finished: usize,
    /// Ready nodes that run no control plane.
    pub nodes_ready: usize,
    /// Other nodes that run no control plane.
    pub nodes_not_ready: usize,
}

impl View {
    /// Counts pods (those of DaemonSets and those being deleted left out) and workers.
    #[must_use]
    pub fn counts(&self) -> Counts {
        let mut counts = Counts::default();
        for pod in self
            .pods
            .values()
            .filter(|pod| !pod.daemon && !pod.deleting)
        {
            match pod.phase.as_str() {
                "Running" => {
                    counts.running += 1;
                    counts.ready += usize::from(pod.ready);
                }
                "Succeeded" | "Failed" => counts.finished += 1,
                _ => {
                    counts.pending += 1;
                    counts.unschedulable += usize::from(pod.unschedulable);
                }
            }
        }
        for node in self.nodes.values().filter(|node| !node.control_plane) {
            counts.nodes_ready += usize::from(node.ready);
            counts.nodes_not_ready += usize::from(!node.ready);
        }
        counts
    }

    /// VPSieNodes of each NodeGroup by phase.
    #[must_use]
    pub fn phases(&self) -> BTreeMap<String, BTreeMap<String, usize>> {
        let mut phases: BTreeMap<String, BTreeMap<String, usize>> = BTreeMap::new();
        for key in self.groups.keys() {
            phases.entry(key.clone()).or_default();
        }
        for node in self.vpsie_nodes.values() {
            let of_group = phases.entry(node.group.clone()).or_default();
            *of_group.entry(node.phase.clone()).or_default() += 1;
        }
        phases
    }
}

/// Keeps the [`View`].
pub(crate) struct Tally {
    pub(crate) view: Shared<View>,
    pub(crate) changed: Arc<watch::Sender<u64>>,
    pub(crate) clock: Clock,
}

impl Actor for Tally {
    fn observe(&mut self, change: Change, _: Duration) {
        let mut view = lock(&self.view);
        match &change {
            Change::Pod(seen) => update(&mut view.pods, seen, pod_row),
            Change::Node(Seen::Put(node)) => {
                view.nodes.insert(node.key().name, node_row(node));
            }
            Change::Node(Seen::Gone(node)) => {
                view.nodes.remove(&node.key().name);
            }
            Change::NodeGroup(seen) => update(&mut view.groups, seen, group_row),
            Change::VPSieNode(seen) => update(&mut view.vpsie_nodes, seen, vpsie_node_row),
            Change::Event(Seen::Put(note)) => {
                if let Some(decision) = decision(note, self.clock.now()) {
                    view.decisions.push_front(decision);
                    view.decisions.truncate(DECISIONS);
                }
            }
            _ => {}
        }
        drop(view);
        self.changed.send_modify(|version| *version += 1);
    }

    async fn act(&mut self, _: Duration) -> Option<Duration> {
        None
    }
}

fn update<K: Object, R>(rows: &mut BTreeMap<String, R>, seen: &Seen<K>, row: fn(&K) -> R) {
    let key = seen.object().key().to_string();
    match seen {
        Seen::Put(object) => rows.insert(key, row(object)),
        Seen::Gone(_) => rows.remove(&key),
    };
}

fn pod_row(pod: &Pod) -> PodRow {
    PodRow {
        phase: pod.phase().to_owned(),
        ready: pod.ready(),
        unschedulable: pod.node().is_none()
            && condition(&pod.status.conditions, "PodScheduled")
                .is_some_and(|scheduled| scheduled.reason.as_deref() == Some("Unschedulable")),
        deleting: pod.deleting(),
        node: pod.node().map(str::to_owned),
        daemon: pod
            .controller()
            .is_some_and(|owner| owner.kind == "DaemonSet"),
    }
}

fn node_row(node: &Node) -> NodeRow {
    let labels = node.labels();
    let group = labels.get(api::labels::NODE_GROUP).map(|name| {
        let namespace = labels.get(api::labels::NODE_GROUP_NAMESPACE);
        format!("{}/{name}", namespace.map_or("", String::as_str))
    });
    NodeRow {
        ready: node.ready(),
        unschedulable: node.spec.unschedulable,
        control_plane: api::labels::CONTROL_PLANE_ROLES
            .iter()
            .any(|role| labels.contains_key(*role)),
        group,
    }
}

fn group_row(group: &api::NodeGroup) -> GroupRow {
    let status = group.status.clone().unwrap_or_default();
    GroupRow {
        min: group.spec.min_nodes,
        max: group.spec.max_nodes,
        current: status.current_nodes,
        ready: status.ready_nodes,
        managed: group.labels().get(api::labels::MANAGED).map(String::as_str) == Some("true"),
        conditions: status
            .conditions
            .iter()
            .flatten()
            .filter_map(|condition| {
                let value = serde_json::to_value(condition).ok()?;
                let text = |field: &str| value[field].as_str().unwrap_or_default().to_owned();
                Some((text("type"), (text("status"), text("reason"))))
            })
            .collect(),
    }
}

fn vpsie_node_row(node: &api::VPSieNode) -> VPSieNodeRow {
    let key = node.key();
    let some = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
    let status = node.status.clone().unwrap_or_default();
    VPSieNodeRow {
        group: format!("{}/{}", key.namespace, node.spec.node_group_name),
        phase: some(&status.phase).unwrap_or_else(|| "Pending".to_owned()),
        machine: node.spec.vpsie_node_identifier.as_deref().and_then(some),
        node: status
            .node_name
            .as_deref()
            .or(node.spec.node_name.as_deref())
            .and_then(some),
        deleting: node.deleting(),
    }
}

fn decision(note: &Note, at: Timestamp) -> Option<Decision> {
    let from = note
        .reporting_component
        .clone()
        .filter(|component| !component.is_empty())
        .or_else(|| note.source.as_ref()?.component.clone())
        .unwrap_or_default();
    if from == "default-scheduler" {
        return None;
    }
    let involved = &note.involved_object;
    let text = |field: &Option<String>| field.clone().unwrap_or_default();
    let namespace = involved
        .namespace
        .as_deref()
        .filter(|namespace| !namespace.is_empty());
    let place = namespace.map_or_else(String::new, |namespace| format!("{namespace}/"));
    Some(Decision {
        at,
        object: format!("{} {place}{}", text(&involved.kind), text(&involved.name)),
        level: text(&note.level),
        reason: text(&note.reason),
        message: text(&note.message),
        count: note.count.unwrap_or(1),
        from,
    })
}
