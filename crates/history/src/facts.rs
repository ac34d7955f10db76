//! Kubernetes objects, as far as the rules look at them, and since when each thing is so.

use std::collections::BTreeMap;

use bytes::Bytes;
use jiff::Timestamp;
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;

use crate::event::Commit;

pub(crate) type Map = BTreeMap<String, String>;

#[derive(Deserialize, Clone, Debug, Default)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Meta {
    pub(crate) name: String,
    pub(crate) namespace: String,
    pub(crate) uid: String,
    pub(crate) labels: Map,
    pub(crate) annotations: Map,
    pub(crate) finalizers: Vec<String>,
    pub(crate) deletion_timestamp: Option<Timestamp>,
    pub(crate) creation_timestamp: Option<Timestamp>,
    pub(crate) owner_references: Vec<Owner>,
    pub(crate) generation: i64,
}

#[derive(Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Owner {
    pub(crate) kind: String,
    pub(crate) uid: String,
    pub(crate) controller: bool,
}

#[derive(Deserialize, Clone, Debug, Default)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Condition {
    #[serde(rename = "type")]
    pub(crate) name: String,
    pub(crate) status: String,
    pub(crate) reason: String,
}

fn holds(conditions: &[Condition], name: &str) -> bool {
    conditions
        .iter()
        .any(|condition| condition.name == name && condition.status == "True")
}

/// Since when something is so: in time, and in the order of events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Since {
    pub(crate) seq: u64,
    pub(crate) at: Timestamp,
}

#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) meta: Meta,
    pub(crate) raw: Bytes,
    pub(crate) ready: bool,
    pub(crate) ready_since: Since,
    /// It was Ready at some time.
    pub(crate) served: bool,
    pub(crate) unschedulable: bool,
    pub(crate) cordon_since: Since,
    /// The cordon was put on by the product.
    pub(crate) cordoned_by_us: bool,
    /// The first sign of protection on it, and since when.
    pub(crate) protection: Option<(String, Since)>,
    pub(crate) born: Since,
}

impl Node {
    pub(crate) fn control_plane(&self) -> bool {
        api::labels::CONTROL_PLANE_ROLES
            .iter()
            .any(|role| self.meta.labels.contains_key(*role))
    }

    /// The namespace and name of its NodeGroup, from its labels.
    pub(crate) fn group(&self) -> Option<String> {
        let name = self.meta.labels.get(api::labels::NODE_GROUP)?;
        let namespace = self.meta.labels.get(api::labels::NODE_GROUP_NAMESPACE)?;
        Some(format!("{namespace}/{name}"))
    }

    pub(crate) fn mark(&self) -> Option<&String> {
        self.meta.annotations.get(api::labels::CORDONED_BY)
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Pod {
    pub(crate) meta: Meta,
    pub(crate) raw: Bytes,
    pub(crate) node: Option<String>,
    pub(crate) bound: Since,
    pub(crate) phase: String,
    pub(crate) ready: bool,
    pub(crate) unschedulable: Option<Since>,
    /// What forbids its eviction, and since when.
    pub(crate) protection: Option<(String, Since)>,
    pub(crate) local_volume: bool,
    pub(crate) priority: i64,
    pub(crate) born: Since,
}

impl Pod {
    pub(crate) fn key(&self) -> String {
        format!("{}/{}", self.meta.namespace, self.meta.name)
    }

    pub(crate) fn controller(&self) -> Option<&Owner> {
        self.meta
            .owner_references
            .iter()
            .find(|owner| owner.controller)
    }

    pub(crate) fn finished(&self) -> bool {
        matches!(self.phase.as_str(), "Succeeded" | "Failed")
    }

    /// Neither of a DaemonSet nor a mirror pod, and not finished.
    pub(crate) fn ordinary(&self) -> bool {
        !self.finished()
            && !self
                .meta
                .annotations
                .contains_key("kubernetes.io/config.mirror")
            && self
                .controller()
                .is_none_or(|owner| owner.kind != "DaemonSet" && owner.kind != "Node")
    }

    pub(crate) fn deleting(&self) -> bool {
        self.meta.deletion_timestamp.is_some()
    }

    /// Its eviction was allowed in so many words.
    pub(crate) fn may_be_evicted(&self) -> bool {
        [SAFE_TO_EVICT, "autoscaler.vpsie.com/safe-to-evict"]
            .iter()
            .filter_map(|key| self.meta.annotations.get(*key))
            .any(|value| value.trim().eq_ignore_ascii_case("true"))
    }
}

/// Cluster Autoscaler's annotation on pods.
pub(crate) const SAFE_TO_EVICT: &str = "cluster-autoscaler.kubernetes.io/safe-to-evict";

#[derive(Clone, Debug)]
pub(crate) struct Budget {
    pub(crate) meta: Meta,
    selector: Option<Selector>,
    pub(crate) allowed: i64,
    pub(crate) always_evicts_unhealthy: bool,
    pub(crate) healthy: i64,
    pub(crate) desired: i64,
}

impl Budget {
    pub(crate) fn covers(&self, pod: &Pod) -> bool {
        self.meta.namespace == pod.meta.namespace
            && self
                .selector
                .as_ref()
                .is_some_and(|selector| selector.matches(&pod.meta.labels))
    }
}

#[derive(Deserialize, Clone, Debug, Default)]
#[serde(rename_all = "camelCase", default)]
struct Selector {
    match_labels: Map,
    match_expressions: Vec<Expression>,
}

#[derive(Deserialize, Clone, Debug, Default)]
#[serde(default)]
struct Expression {
    key: String,
    operator: String,
    values: Vec<String>,
}

impl Selector {
    fn matches(&self, labels: &Map) -> bool {
        self.match_labels
            .iter()
            .all(|(key, value)| labels.get(key) == Some(value))
            && self.match_expressions.iter().all(|expression| {
                let value = labels.get(&expression.key);
                let listed = value.is_some_and(|value| expression.values.contains(value));
                match expression.operator.as_str() {
                    "In" => listed,
                    "NotIn" => !listed,
                    "Exists" => value.is_some(),
                    "DoesNotExist" => value.is_none(),
                    _ => false,
                }
            })
    }
}

/// What a NodeGroup asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Bounds {
    pub(crate) min: usize,
    pub(crate) max: usize,
    pub(crate) managed: bool,
}

#[derive(Clone, Debug)]
pub(crate) struct Group {
    pub(crate) meta: Meta,
    pub(crate) bounds: Bounds,
    /// What it asked for before, and until when.
    pub(crate) earlier: Vec<(Bounds, Timestamp)>,
    pub(crate) cooldown: i64,
    pub(crate) desired: i64,
    /// It cannot grow, by its own word: the reason.
    pub(crate) trouble: Option<String>,
}

impl Group {
    /// What it asked for at any time from `from` on.
    pub(crate) fn bounds_since(&self, from: Timestamp) -> impl Iterator<Item = Bounds> {
        let earlier = self.earlier.iter().filter(move |(_, until)| *until >= from);
        earlier.map(|(bounds, _)| *bounds).chain([self.bounds])
    }
}

/// How far a removal has come.
#[derive(Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Removal {
    pub(crate) cause: String,
    pub(crate) step: String,
    pub(crate) started_at: String,
    pub(crate) sent: bool,
    pub(crate) forced_at: Option<String>,
}

impl Removal {
    /// The product chose the node; nobody ordered it and nothing is wrong with it.
    pub(crate) fn voluntary(&self) -> bool {
        !matches!(self.cause.as_str(), "Deleted" | "Failed" | "Unhealthy")
    }

    /// It is not taken back any more.
    pub(crate) fn is_final(&self) -> bool {
        matches!(
            self.step.as_str(),
            "DeletingNode" | "DeletingMachine" | "Gone"
        )
    }
}

/// The request that buys a machine.
#[derive(Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Creation {
    pub(crate) attempt: i64,
    pub(crate) state: String,
    #[serde(rename = "poolID")]
    pub(crate) pool: i64,
}

/// A VPSieNode.
#[derive(Clone, Debug)]
pub(crate) struct Record {
    pub(crate) meta: Meta,
    /// `namespace/name`.
    pub(crate) group: String,
    pub(crate) phase: String,
    pub(crate) phase_since: Since,
    pub(crate) machine: Option<String>,
    pub(crate) node: Option<String>,
    pub(crate) removal: Option<Removal>,
    pub(crate) creation: Option<Creation>,
    pub(crate) born: Since,
    pub(crate) by_us: bool,
}

impl Record {
    pub(crate) fn key(&self) -> String {
        format!("{}/{}", self.meta.namespace, self.meta.name)
    }

    pub(crate) fn deleting(&self) -> bool {
        self.meta.deletion_timestamp.is_some()
    }

    /// A machine was asked for, or may have been, and which it is is not known.
    pub(crate) fn waits_for_a_machine(&self) -> bool {
        self.machine.is_none() && self.creation.is_some()
    }

    pub(crate) fn in_flight(&self) -> bool {
        matches!(
            self.phase.as_str(),
            "" | "Pending" | "Provisioning" | "Provisioned" | "Joining"
        )
    }

    pub(crate) fn voluntary_removal(&self) -> Option<&Removal> {
        self.removal.as_ref().filter(|removal| removal.voluntary())
    }
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Lease {
    pub(crate) holder: String,
    /// Seconds.
    pub(crate) lasts: i64,
}

#[derive(Clone, Debug)]
pub(crate) struct Told {
    pub(crate) about: String,
    pub(crate) about_kind: String,
    pub(crate) reason: String,
    pub(crate) message: String,
}

/// A decoded object.
#[derive(Clone, Debug)]
pub(crate) enum Object {
    Node(Node),
    Pod(Pod),
    Budget(Budget),
    Group(Group),
    Record(Record),
    Lease(Lease),
    Told(Told),
    Workload,
    Namespace(Bytes),
}

fn read<T: DeserializeOwned + Default>(bytes: &[u8]) -> T {
    // A field of an unexpected type makes the object an empty one, and rules that need it fail.
    serde_json::from_slice(bytes).unwrap_or_default()
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Wire<Spec, Status> {
    metadata: Meta,
    spec: Spec,
    status: Status,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct NodeSpec {
    unschedulable: bool,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct NodeStatus {
    conditions: Vec<Condition>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct PodSpec {
    node_name: Option<String>,
    priority: i64,
    volumes: Vec<BTreeMap<String, Value>>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct PodStatus {
    phase: String,
    conditions: Vec<Condition>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct BudgetSpec {
    selector: Option<Selector>,
    unhealthy_pod_eviction_policy: Option<String>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct BudgetStatus {
    disruptions_allowed: i64,
    current_healthy: i64,
    desired_healthy: i64,
    observed_generation: i64,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct GroupSpec {
    min_nodes: i64,
    max_nodes: i64,
    scale_down_policy: Option<ScaleDown>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct ScaleDown {
    cooldown_seconds: Option<i64>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct GroupStatus {
    desired_nodes: i64,
    conditions: Vec<Condition>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct RecordSpec {
    node_group_name: String,
    node_name: Option<String>,
    vpsie_node_identifier: Option<String>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct RecordStatus {
    phase: String,
    node_name: Option<String>,
    creation: Option<Creation>,
    removal: Option<Removal>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct LeaseSpec {
    holder_identity: Option<String>,
    lease_duration_seconds: Option<i64>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct EventWire {
    involved_object: Involved,
    reason: String,
    message: String,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Involved {
    kind: String,
    namespace: String,
    name: String,
}

/// Keeps the beginning of what has not changed.
fn since<T: PartialEq>(old: Option<(T, Since)>, new: &T, now: Since) -> Since {
    match old {
        Some((value, since)) if value == *new => since,
        _ => now,
    }
}

fn text(value: Option<String>) -> Option<String> {
    value.filter(|text| !text.is_empty())
}

pub(crate) fn node(raw: &Bytes, old: Option<&Node>, now: Since, ours: bool) -> Node {
    let wire: Wire<NodeSpec, NodeStatus> = read(raw);
    let old = old.filter(|old| old.meta.uid == wire.metadata.uid);
    let ready = holds(&wire.status.conditions, "Ready");
    let unschedulable = wire.spec.unschedulable;
    let sign = node_protection(&wire.metadata);
    let cordon_since = since(
        old.map(|old| (old.unschedulable, old.cordon_since)),
        &unschedulable,
        now,
    );
    Node {
        raw: raw.clone(),
        ready,
        ready_since: since(old.map(|old| (old.ready, old.ready_since)), &ready, now),
        served: ready || old.is_some_and(|old| old.served),
        unschedulable,
        cordon_since,
        cordoned_by_us: if cordon_since == now {
            unschedulable && ours
        } else {
            old.is_some_and(|old| old.cordoned_by_us)
        },
        protection: keep(old.and_then(|old| old.protection.as_ref()), sign, now),
        born: old.map_or(now, |old| old.born),
        meta: wire.metadata,
    }
}

fn keep(old: Option<&(String, Since)>, new: Option<String>, now: Since) -> Option<(String, Since)> {
    let new = new?;
    let since = old
        .filter(|(sign, _)| *sign == new)
        .map_or(now, |(_, since)| *since);
    Some((new, since))
}

fn is_true(value: &str) -> bool {
    value.trim().eq_ignore_ascii_case("true")
}

fn node_protection(meta: &Meta) -> Option<String> {
    use api::labels::{
        CA_SCALE_DOWN_DISABLED, KARPENTER_DO_NOT_DISRUPT, PROTECTED, SCALE_DOWN,
        SCALE_DOWN_DISABLED_LABEL,
    };
    let annotated = [PROTECTED, CA_SCALE_DOWN_DISABLED, KARPENTER_DO_NOT_DISRUPT]
        .into_iter()
        .find(|key| {
            meta.annotations
                .get(*key)
                .is_some_and(|value| is_true(value))
        });
    let labelled = [PROTECTED, SCALE_DOWN_DISABLED_LABEL]
        .into_iter()
        .find(|key| meta.labels.get(*key).is_some_and(|value| is_true(value)));
    let disabled = meta
        .annotations
        .get(SCALE_DOWN)
        .is_some_and(|value| value.trim().eq_ignore_ascii_case("disabled"))
        .then_some(SCALE_DOWN);
    annotated.or(labelled).or(disabled).map(str::to_owned)
}

fn pod_protection(meta: &Meta) -> Option<String> {
    let yes = [
        "karpenter.sh/do-not-disrupt",
        "karpenter.sh/do-not-evict",
        "autoscaler.vpsie.com/do-not-disrupt",
        "autoscaler.vpsie.com/protected",
    ];
    let no = [SAFE_TO_EVICT, "autoscaler.vpsie.com/safe-to-evict"];
    let by_yes = yes.into_iter().find(|key| {
        meta.annotations
            .get(*key)
            .is_some_and(|value| is_true(value))
    });
    let by_no = no.into_iter().find(|key| {
        let value = meta.annotations.get(*key);
        value.is_some_and(|value| value.trim().eq_ignore_ascii_case("false"))
    });
    by_yes.or(by_no).map(str::to_owned)
}

pub(crate) fn pod(raw: &Bytes, old: Option<&Pod>, now: Since) -> Pod {
    let wire: Wire<PodSpec, PodStatus> = read(raw);
    let old = old.filter(|old| old.meta.uid == wire.metadata.uid);
    let node = text(wire.spec.node_name);
    let unschedulable = node.is_none()
        && wire.status.conditions.iter().any(|condition| {
            condition.name == "PodScheduled"
                && condition.status == "False"
                && condition.reason == "Unschedulable"
        });
    let local = |volume: &BTreeMap<String, Value>| {
        volume.contains_key("hostPath")
            || volume.get("emptyDir").is_some_and(|dir| {
                let medium = dir["medium"].as_str().unwrap_or_default();
                !(medium == "Memory" || medium.starts_with("HugePages"))
            })
    };
    Pod {
        raw: raw.clone(),
        bound: since(old.map(|old| (old.node.clone(), old.bound)), &node, now),
        unschedulable: unschedulable.then(|| old.and_then(|old| old.unschedulable).unwrap_or(now)),
        node,
        ready: holds(&wire.status.conditions, "Ready"),
        protection: keep(
            old.and_then(|old| old.protection.as_ref()),
            pod_protection(&wire.metadata),
            now,
        ),
        local_volume: wire.spec.volumes.iter().any(local),
        priority: wire.spec.priority,
        phase: wire.status.phase,
        born: old.map_or(now, |old| old.born),
        meta: wire.metadata,
    }
}

pub(crate) fn budget(raw: &Bytes) -> Budget {
    let wire: Wire<BudgetSpec, BudgetStatus> = read(raw);
    let seen = wire.status.observed_generation >= wire.metadata.generation;
    Budget {
        selector: wire.spec.selector,
        allowed: if seen {
            wire.status.disruptions_allowed
        } else {
            0
        },
        always_evicts_unhealthy: wire.spec.unhealthy_pod_eviction_policy.as_deref()
            == Some("AlwaysAllow"),
        healthy: wire.status.current_healthy,
        desired: wire.status.desired_healthy,
        meta: wire.metadata,
    }
}

pub(crate) fn group(raw: &Bytes, old: Option<&Group>, now: Since) -> Group {
    let wire: Wire<GroupSpec, GroupStatus> = read(raw);
    let count = |number: i64| usize::try_from(number).unwrap_or_default();
    let bounds = Bounds {
        min: count(wire.spec.min_nodes),
        max: count(wire.spec.max_nodes),
        managed: wire
            .metadata
            .labels
            .get(api::labels::MANAGED)
            .map(String::as_str)
            == Some("true"),
    };
    let old = old.filter(|old| old.meta.uid == wire.metadata.uid);
    let mut earlier = old.map_or_else(Vec::new, |old| old.earlier.clone());
    if let Some(old) = old.filter(|old| old.bounds != bounds) {
        earlier.push((old.bounds, now.at));
    }
    let trouble = wire
        .status
        .conditions
        .iter()
        .find(|condition| condition.name == "Error" && condition.status == "True");
    Group {
        bounds,
        earlier,
        cooldown: wire
            .spec
            .scale_down_policy
            .and_then(|policy| policy.cooldown_seconds)
            .unwrap_or(600),
        desired: wire.status.desired_nodes,
        trouble: trouble.map(|condition| condition.reason.clone()),
        meta: wire.metadata,
    }
}

pub(crate) fn record(raw: &Bytes, old: Option<&Record>, now: Since, ours: bool) -> Record {
    let wire: Wire<RecordSpec, RecordStatus> = read(raw);
    let old = old.filter(|old| old.meta.uid == wire.metadata.uid);
    let phase = wire.status.phase;
    Record {
        group: format!("{}/{}", wire.metadata.namespace, wire.spec.node_group_name),
        phase_since: since(
            old.map(|old| (old.phase.clone(), old.phase_since)),
            &phase,
            now,
        ),
        phase,
        machine: text(wire.spec.vpsie_node_identifier),
        node: text(wire.status.node_name).or_else(|| text(wire.spec.node_name)),
        removal: wire.status.removal,
        creation: wire.status.creation,
        born: old.map_or(now, |old| old.born),
        by_us: old.map_or(ours, |old| old.by_us),
        meta: wire.metadata,
    }
}

pub(crate) fn lease(raw: &Bytes) -> Lease {
    let wire: Wire<LeaseSpec, Value> = read(raw);
    Lease {
        holder: wire.spec.holder_identity.unwrap_or_default(),
        lasts: wire.spec.lease_duration_seconds.unwrap_or(15),
    }
}

pub(crate) fn told(raw: &Bytes) -> Told {
    let wire: EventWire = read(raw);
    let involved = wire.involved_object;
    Told {
        about: format!("{}/{}", involved.namespace, involved.name),
        about_kind: involved.kind,
        reason: wire.reason,
        message: wire.message,
    }
}

/// What a commit comes to, in a few words.
pub(crate) fn gist(commit: &Commit) -> String {
    let Some(after) = &commit.after else {
        return "gone".to_owned();
    };
    let value: Value = serde_json::from_slice(after).unwrap_or_default();
    let word = |path: &str| {
        let found = value.pointer(path);
        found.map_or_else(String::new, |found| match found {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        })
    };
    let deleting = if word("/metadata/deletionTimestamp").is_empty() {
        ""
    } else {
        " deleting"
    };
    match commit.resource.as_str() {
        "vpsienodes" => format!(
            "phase={} machine={} node={} creation={}#{} removal={}:{} {}{deleting}",
            word("/status/phase"),
            word("/spec/vpsieNodeIdentifier"),
            word("/status/nodeName"),
            word("/status/creation/state"),
            word("/status/creation/attempt"),
            word("/status/removal/cause"),
            word("/status/removal/step"),
            word("/status/removal/message"),
        ),
        "nodes" => format!("unschedulable={}{deleting}", word("/spec/unschedulable")),
        "pods" => format!(
            "node={} phase={}{deleting}",
            word("/spec/nodeName"),
            word("/status/phase")
        ),
        "poddisruptionbudgets" => format!("allowed={}", word("/status/disruptionsAllowed")),
        "nodegroups" => format!(
            "{}..{}{deleting}",
            word("/spec/minNodes"),
            word("/spec/maxNodes")
        ),
        "events" => format!("{}: {}", word("/reason"), word("/message")),
        _ => deleting.to_owned(),
    }
}
