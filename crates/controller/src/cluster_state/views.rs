//! What is decoded of Pods, Nodes and DaemonSets, and what it means in the model.
//!
//! Fields that are not named here are never allocated. Quantities are read once, here; what cannot
//! be read becomes a defect of the row, never a panic and never a silent zero.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::Arc,
};

use jiff::Timestamp;
use k8s_openapi::{
    api::{
        apps::v1::DaemonSet as KubeDaemonSet,
        core::v1::{Node as KubeNode, Pod as KubePod},
    },
    apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference, Time},
};
use kube::Resource;
use model::{
    Labels, NodeName, NodeSelectorTerm, Operator, Pod, PodKey, PodRole, PodState, Quantity,
    Requirement, Resources, SchedulingClass, Taint, TaintEffect, Toleration, Uid, UnevaluatedRule,
};
use serde::{
    Deserialize, Deserializer, Serialize,
    de::{IgnoredAny, MapAccess, SeqAccess, Visitor},
};

/// Labels or annotations as the model has them.
pub(super) fn labels(map: Option<&BTreeMap<String, String>>) -> Labels {
    map.into_iter()
        .flatten()
        .map(|(key, value)| (Arc::from(key.as_str()), Arc::from(value.as_str())))
        .collect()
}

type Amounts = BTreeMap<String, Amount>;

/// A quantity as the API writes it; some writers use numbers.
///
/// Decoding it never fails: one bad quantity must not make a whole list unreadable.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Amount(Box<str>);

impl Amount {
    fn quantity(&self) -> Result<Quantity, String> {
        Quantity::parse(&self.0).map_err(|error| error.to_string())
    }
}

impl<'de> Deserialize<'de> for Amount {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct AnyScalar;

        impl<'de> Visitor<'de> for AnyScalar {
            type Value = Amount;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a quantity")
            }

            fn visit_str<E>(self, text: &str) -> Result<Amount, E> {
                Ok(Amount(text.into()))
            }

            fn visit_i64<E>(self, number: i64) -> Result<Amount, E> {
                Ok(Amount(number.to_string().into()))
            }

            fn visit_u64<E>(self, number: u64) -> Result<Amount, E> {
                Ok(Amount(number.to_string().into()))
            }

            fn visit_f64<E>(self, number: f64) -> Result<Amount, E> {
                Ok(Amount(number.to_string().into()))
            }

            fn visit_bool<E>(self, value: bool) -> Result<Amount, E> {
                Ok(Amount(value.to_string().into()))
            }

            fn visit_unit<E>(self) -> Result<Amount, E> {
                Ok(Amount("null".into()))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Amount, A::Error> {
                while list.next_element::<IgnoredAny>()?.is_some() {}
                Ok(Amount("a list".into()))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Amount, A::Error> {
                while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                Ok(Amount("an object".into()))
            }
        }

        deserializer.deserialize_any(AnyScalar)
    }
}

/// Metadata without `managedFields`, which is most of it and never looked at.
fn metadata<'de, D: Deserializer<'de>>(deserializer: D) -> Result<ObjectMeta, D::Error> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Narrow {
        name: Option<String>,
        namespace: Option<String>,
        uid: Option<String>,
        resource_version: Option<String>,
        creation_timestamp: Option<Time>,
        deletion_timestamp: Option<Time>,
        labels: Option<BTreeMap<String, String>>,
        annotations: Option<BTreeMap<String, String>>,
        owner_references: Option<Vec<OwnerReference>>,
    }
    let narrow = Narrow::deserialize(deserializer)?;
    Ok(ObjectMeta {
        name: narrow.name,
        namespace: narrow.namespace,
        uid: narrow.uid,
        resource_version: narrow.resource_version,
        creation_timestamp: narrow.creation_timestamp,
        deletion_timestamp: narrow.deletion_timestamp,
        labels: narrow.labels,
        annotations: narrow.annotations,
        owner_references: narrow.owner_references,
        ..ObjectMeta::default()
    })
}

/// Amounts by resource; the first one that cannot be read is named.
fn resources(amounts: &Amounts) -> Result<Resources, String> {
    let mut resources = Resources::default();
    for (name, amount) in amounts {
        let quantity = amount
            .quantity()
            .map_err(|error| format!("{name}: {error}"))?;
        match name.as_str() {
            "cpu" => resources.cpu_milli = quantity.milli_ceil(),
            "memory" => resources.memory = quantity.value_ceil(),
            "ephemeral-storage" => resources.ephemeral = quantity.value_ceil(),
            "pods" => resources.pods = quantity.value_ceil(),
            other => {
                resources
                    .extended
                    .insert(Arc::from(other), quantity.value_ceil());
            }
        }
    }
    Ok(resources)
}

// === Pods ===

/// What is decoded of a Pod.
#[derive(Resource, Deserialize, Clone, Debug)]
#[resource(inherit = KubePod)]
pub struct PodView {
    /// Metadata, without `managedFields`.
    #[serde(deserialize_with = "metadata")]
    pub metadata: ObjectMeta,
    #[serde(default)]
    spec: PodSpecView,
    #[serde(default)]
    status: PodStatusView,
}

#[derive(Deserialize, Clone, Debug, Default)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct PodSpecView {
    node_name: Option<String>,
    node_selector: Option<BTreeMap<String, String>>,
    affinity: Option<AffinityView>,
    tolerations: Option<Vec<TolerationView>>,
    containers: Vec<ContainerView>,
    init_containers: Option<Vec<ContainerView>>,
    overhead: Option<Amounts>,
    resources: Option<RequirementsView>,
    priority: Option<i32>,
    topology_spread_constraints: Option<Vec<SpreadView>>,
    volumes: Option<Vec<BTreeMap<String, IgnoredAny>>>,
    resource_claims: Option<Vec<IgnoredAny>>,
    host_network: Option<bool>,
}

#[derive(Deserialize, Clone, Debug, Default)]
#[serde(rename_all = "camelCase", default)]
struct ContainerView {
    resources: Option<RequirementsView>,
    restart_policy: Option<String>,
    ports: Option<Vec<PortView>>,
}

#[derive(Deserialize, Clone, Debug, Default)]
#[serde(default)]
struct RequirementsView {
    requests: Option<Amounts>,
}

#[derive(Deserialize, Clone, Debug, Default)]
#[serde(rename_all = "camelCase", default)]
struct PortView {
    host_port: Option<i32>,
}

#[derive(Deserialize, Clone, Debug, Default)]
#[serde(rename_all = "camelCase", default)]
struct SpreadView {
    when_unsatisfiable: String,
}

#[derive(Deserialize, Clone, Debug, Default)]
#[serde(rename_all = "camelCase", default)]
struct AffinityView {
    node_affinity: Option<NodeAffinityView>,
    pod_affinity: Option<PodAffinityView>,
    pod_anti_affinity: Option<PodAffinityView>,
}

#[derive(Deserialize, Clone, Debug, Default)]
#[serde(default)]
struct PodAffinityView {
    #[serde(rename = "requiredDuringSchedulingIgnoredDuringExecution")]
    required: Option<Vec<IgnoredAny>>,
}

#[derive(Deserialize, Clone, Debug, Default)]
#[serde(default)]
struct NodeAffinityView {
    #[serde(rename = "requiredDuringSchedulingIgnoredDuringExecution")]
    required: Option<NodeSelectorView>,
}

#[derive(Deserialize, Clone, Debug, Default)]
#[serde(rename_all = "camelCase", default)]
struct NodeSelectorView {
    node_selector_terms: Vec<TermView>,
}

#[derive(Deserialize, Clone, Debug, Default)]
#[serde(rename_all = "camelCase", default)]
struct TermView {
    match_expressions: Option<Vec<ExpressionView>>,
    match_fields: Option<Vec<ExpressionView>>,
}

#[derive(Deserialize, Clone, Debug, Default)]
#[serde(default)]
struct ExpressionView {
    key: String,
    operator: String,
    values: Option<Vec<String>>,
}

#[derive(Deserialize, Clone, Debug, Default)]
#[serde(default)]
struct TolerationView {
    key: Option<String>,
    operator: Option<String>,
    value: Option<String>,
    effect: Option<String>,
}

#[derive(Deserialize, Clone, Debug, Default)]
#[serde(rename_all = "camelCase", default)]
struct PodStatusView {
    phase: Option<String>,
    nominated_node_name: Option<String>,
    conditions: Option<Vec<ConditionView>>,
}

#[derive(Deserialize, Clone, Debug, Default)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct ConditionView {
    #[serde(rename = "type")]
    pub(super) type_: String,
    pub(super) status: String,
    reason: Option<String>,
    pub(super) last_transition_time: Option<Timestamp>,
}

impl PodView {
    pub(super) fn finished(&self) -> bool {
        matches!(self.status.phase.as_deref(), Some("Succeeded" | "Failed"))
    }

    /// Everything that decides where it can run.
    pub(super) fn class(&self) -> SchedulingClass {
        self.spec
            .class(self.metadata.namespace.as_deref().unwrap_or_default())
    }

    pub(super) fn pod(&self, key: PodKey, class: Arc<SchedulingClass>) -> Pod {
        let meta = &self.metadata;
        let owner = meta
            .owner_references
            .iter()
            .flatten()
            .find(|owner| owner.controller == Some(true));
        let mirror = meta
            .annotations
            .as_ref()
            .is_some_and(|all| all.contains_key("kubernetes.io/config.mirror"));
        let role = if mirror {
            PodRole::Mirror
        } else if owner.is_some_and(|owner| owner.kind == "DaemonSet") {
            PodRole::DaemonSet
        } else {
            PodRole::Ordinary
        };
        Pod {
            key,
            uid: Uid::new(meta.uid.as_deref().unwrap_or_default()),
            class,
            state: self.state(),
            role,
            terminating: meta.deletion_timestamp.is_some(),
            nominated: self
                .status
                .nominated_node_name
                .as_deref()
                .filter(|name| !name.is_empty())
                .map(NodeName::new),
            created_at: meta.creation_timestamp.as_ref().map(|time| time.0),
        }
    }

    fn state(&self) -> PodState {
        if let Some(node) = self
            .spec
            .node_name
            .as_deref()
            .filter(|name| !name.is_empty())
        {
            return PodState::Bound(NodeName::new(node));
        }
        let scheduled = self
            .status
            .conditions
            .iter()
            .flatten()
            .find(|condition| condition.type_ == "PodScheduled");
        match scheduled {
            // Gated pods carry the reason SchedulingGated and wait for somebody else.
            Some(condition)
                if condition.status == "False"
                    && condition.reason.as_deref() == Some("Unschedulable") =>
            {
                PodState::Unschedulable(
                    condition
                        .last_transition_time
                        .unwrap_or(Timestamp::UNIX_EPOCH),
                )
            }
            _ => PodState::Waiting,
        }
    }
}

impl PodSpecView {
    fn class(&self, namespace: &str) -> SchedulingClass {
        let (requests, mut defect) = match self.requests() {
            Ok(requests) => (requests, None),
            Err(error) => {
                let one = Resources {
                    pods: 1,
                    ..Resources::default()
                };
                (one, Some(error))
            }
        };
        let mut terms_of = |terms: &[TermView]| {
            let mut all = Vec::new();
            for term in terms {
                match term.model() {
                    Ok(term) => all.push(term),
                    Err(error) => defect = Some(error),
                }
            }
            all
        };
        let required_terms = self
            .affinity
            .as_ref()
            .and_then(|affinity| affinity.node_affinity.as_ref())
            .and_then(|affinity| affinity.required.as_ref())
            .map(|selector| terms_of(&selector.node_selector_terms));
        SchedulingClass {
            namespace: Arc::from(namespace),
            requests,
            node_selector: self
                .node_selector
                .iter()
                .flatten()
                .map(|(key, value)| Requirement {
                    key: Arc::from(key.as_str()),
                    operator: Operator::In,
                    values: vec![Arc::from(value.as_str())],
                })
                .collect(),
            required_terms,
            tolerations: self
                .tolerations
                .iter()
                .flatten()
                .filter_map(TolerationView::model)
                .collect(),
            node_name: None,
            priority: self.priority.unwrap_or_default(),
            unevaluated: self.unevaluated(),
            defect: defect.map(Arc::from),
        }
    }

    /// The larger of what runs at once and the start-up peak, plus overhead, and one pod
    /// (component-helpers `resource.PodRequests`). Restartable init containers (sidecars) run on
    /// beside everything that starts after them. Pod-level requests, where set, stand for their
    /// resource.
    fn requests(&self) -> Result<Resources, String> {
        let of = |container: &ContainerView| -> Result<Resources, String> {
            container
                .resources
                .as_ref()
                .and_then(|r| r.requests.as_ref())
                .map_or_else(|| Ok(Resources::default()), resources)
        };
        let mut running = Resources::default();
        for container in &self.containers {
            running.add(&of(container)?);
        }
        let mut sidecars = Resources::default();
        let mut peak = Resources::default();
        for container in self.init_containers.iter().flatten() {
            let mut needed = of(container)?;
            if container.restart_policy.as_deref() == Some("Always") {
                running.add(&needed);
                sidecars.add(&needed);
                peak.raise_to(&sidecars);
            } else {
                needed.add(&sidecars);
                peak.raise_to(&needed);
            }
        }
        running.raise_to(&peak);
        if let Some(pod_level) = self.resources.as_ref().and_then(|r| r.requests.as_ref()) {
            let stated = resources(pod_level)?;
            if pod_level.contains_key("cpu") {
                running.cpu_milli = stated.cpu_milli;
            }
            if pod_level.contains_key("memory") {
                running.memory = stated.memory;
            }
            running.extended.extend(stated.extended);
        }
        if let Some(overhead) = &self.overhead {
            running.add(&resources(overhead)?);
        }
        running.pods = 1;
        Ok(running)
    }

    fn unevaluated(&self) -> BTreeSet<UnevaluatedRule> {
        let mut rules = BTreeSet::new();
        let required = |affinity: Option<&PodAffinityView>| {
            affinity.is_some_and(|a| a.required.as_ref().is_some_and(|terms| !terms.is_empty()))
        };
        if let Some(affinity) = &self.affinity
            && (required(affinity.pod_affinity.as_ref())
                || required(affinity.pod_anti_affinity.as_ref()))
        {
            rules.insert(UnevaluatedRule::InterPodAffinity);
        }
        if self
            .topology_spread_constraints
            .iter()
            .flatten()
            .any(|constraint| constraint.when_unsatisfiable == "DoNotSchedule")
        {
            rules.insert(UnevaluatedRule::PodTopologySpread);
        }
        let has_ports = |ports: &[PortView]| {
            !ports.is_empty() && self.host_network == Some(true)
                || ports.iter().any(|port| port.host_port.unwrap_or(0) > 0)
        };
        let all_containers = self
            .containers
            .iter()
            .chain(self.init_containers.iter().flatten());
        if all_containers
            .filter_map(|container| container.ports.as_deref())
            .any(has_ports)
        {
            rules.insert(UnevaluatedRule::NodePorts);
        }
        // Volumes of these kinds are the same on every node; every other kind may depend on it.
        let anywhere = [
            "configMap",
            "secret",
            "emptyDir",
            "downwardAPI",
            "projected",
            "hostPath",
            "name",
            "nfs",
            "image",
            "gitRepo",
        ];
        if self
            .volumes
            .iter()
            .flatten()
            .any(|volume| volume.keys().any(|kind| !anywhere.contains(&kind.as_str())))
        {
            rules.insert(UnevaluatedRule::Volumes);
        }
        if self
            .resource_claims
            .as_ref()
            .is_some_and(|claims| !claims.is_empty())
        {
            rules.insert(UnevaluatedRule::ResourceClaims);
        }
        rules
    }
}

impl TermView {
    fn model(&self) -> Result<NodeSelectorTerm, String> {
        let all = |expressions: &Option<Vec<ExpressionView>>| {
            expressions
                .iter()
                .flatten()
                .map(ExpressionView::model)
                .collect::<Result<Vec<_>, _>>()
        };
        Ok(NodeSelectorTerm {
            match_expressions: all(&self.match_expressions)?,
            match_fields: all(&self.match_fields)?,
        })
    }
}

impl ExpressionView {
    fn model(&self) -> Result<Requirement, String> {
        let operator = Operator::parse(&self.operator)
            .ok_or_else(|| format!("{}: unknown operator {:?}", self.key, self.operator))?;
        Ok(Requirement {
            key: Arc::from(self.key.as_str()),
            operator,
            values: self
                .values
                .iter()
                .flatten()
                .map(|value| Arc::from(value.as_str()))
                .collect(),
        })
    }
}

impl TolerationView {
    /// A toleration of an unknown effect or operator tolerates nothing.
    fn model(&self) -> Option<Toleration> {
        let effect = match self.effect.as_deref() {
            None | Some("") => None,
            Some(effect) => Some(TaintEffect::parse(effect)?),
        };
        let exists = match self.operator.as_deref() {
            None | Some("" | "Equal") => false,
            Some("Exists") => true,
            Some(_) => return None,
        };
        Some(Toleration {
            key: Arc::from(self.key.as_deref().unwrap_or_default()),
            exists,
            value: Arc::from(self.value.as_deref().unwrap_or_default()),
            effect,
        })
    }
}

// === DaemonSets ===

/// What is decoded of a DaemonSet.
#[derive(Resource, Deserialize, Clone, Debug)]
#[resource(inherit = KubeDaemonSet)]
pub struct DaemonSetView {
    /// Metadata, without `managedFields`.
    #[serde(deserialize_with = "metadata")]
    pub metadata: ObjectMeta,
    spec: DaemonSetSpecView,
}

#[derive(Deserialize, Clone, Debug, Default)]
#[serde(default)]
struct DaemonSetSpecView {
    template: TemplateView,
}

#[derive(Deserialize, Clone, Debug, Default)]
#[serde(default)]
struct TemplateView {
    spec: PodSpecView,
}

/// Tolerations the DaemonSet controller gives every pod (Kubernetes documentation, "DaemonSet",
/// section on taints and tolerations).
const DAEMON_SET_TOLERATIONS: [(&str, TaintEffect); 6] = [
    ("node.kubernetes.io/not-ready", TaintEffect::NoExecute),
    ("node.kubernetes.io/unreachable", TaintEffect::NoExecute),
    ("node.kubernetes.io/disk-pressure", TaintEffect::NoSchedule),
    (
        "node.kubernetes.io/memory-pressure",
        TaintEffect::NoSchedule,
    ),
    ("node.kubernetes.io/pid-pressure", TaintEffect::NoSchedule),
    ("node.kubernetes.io/unschedulable", TaintEffect::NoSchedule),
];

impl DaemonSetView {
    /// The class of its pods.
    pub(super) fn class(&self) -> SchedulingClass {
        let namespace = self.metadata.namespace.as_deref().unwrap_or_default();
        let mut class = self.spec.template.spec.class(namespace);
        class
            .tolerations
            .extend(DAEMON_SET_TOLERATIONS.map(|(key, effect)| Toleration {
                key: Arc::from(key),
                exists: true,
                value: Arc::from(""),
                effect: Some(effect),
            }));
        if self.spec.template.spec.host_network == Some(true) {
            class.tolerations.push(Toleration {
                key: Arc::from("node.kubernetes.io/network-unavailable"),
                exists: true,
                value: Arc::from(""),
                effect: Some(TaintEffect::NoSchedule),
            });
        }
        class
    }
}

// === Nodes ===

/// What is decoded of a Node.
#[derive(Resource, Deserialize, Clone, Debug)]
#[resource(inherit = KubeNode)]
pub struct NodeView {
    /// Metadata, without `managedFields`.
    #[serde(deserialize_with = "metadata")]
    pub metadata: ObjectMeta,
    #[serde(default)]
    pub(super) spec: NodeSpecView,
    #[serde(default)]
    pub(super) status: NodeStatusView,
}

#[derive(Deserialize, Clone, Debug, Default)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct NodeSpecView {
    pub(super) unschedulable: bool,
    pub(super) taints: Vec<TaintView>,
    #[serde(rename = "providerID")]
    pub(super) provider_id: Option<String>,
}

/// A taint as the API has it.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct TaintView {
    /// The key.
    pub key: String,
    /// The value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// The effect.
    pub effect: String,
    /// When it was added.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_added: Option<String>,
}

impl TaintView {
    pub(super) fn model(&self) -> Option<Taint> {
        Some(Taint {
            key: Arc::from(self.key.as_str()),
            value: Arc::from(self.value.as_deref().unwrap_or_default()),
            effect: TaintEffect::parse(&self.effect)?,
        })
    }
}

#[derive(Deserialize, Clone, Debug, Default)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct NodeStatusView {
    allocatable: Option<Amounts>,
    capacity: Option<Amounts>,
    pub(super) conditions: Vec<ConditionView>,
    pub(super) addresses: Vec<AddressView>,
}

#[derive(Deserialize, Clone, Debug, Default)]
#[serde(default)]
pub(super) struct AddressView {
    #[serde(rename = "type")]
    pub(super) type_: String,
    pub(super) address: String,
}

impl NodeView {
    /// What pods may use; where that is unknown or unreadable, nothing, and why.
    pub(super) fn allocatable(&self) -> (Resources, Option<String>) {
        let Some(amounts) = self
            .status
            .allocatable
            .as_ref()
            .or(self.status.capacity.as_ref())
        else {
            return (Resources::default(), Some("it reports no capacity".into()));
        };
        match resources(amounts) {
            Ok(resources) => (resources, None),
            Err(error) => (Resources::default(), Some(error)),
        }
    }
}

impl From<KubeNode> for NodeView {
    /// The answer of an own write, in the form the watches use.
    fn from(node: KubeNode) -> Self {
        let metadata = node.metadata.clone();
        serde_json::to_value(node)
            .and_then(serde_json::from_value)
            .unwrap_or_else(|_| Self {
                metadata,
                spec: NodeSpecView::default(),
                status: NodeStatusView::default(),
            })
    }
}

/// A Node or a pod list read anew, as rows.
pub mod fresh {
    use super::{KubeNode, NodeView, PodView};
    use crate::cluster_state::NodeRow;

    /// The row of a Node that was just read.
    #[must_use]
    pub fn node(node: KubeNode) -> NodeRow {
        NodeRow::of(&NodeView::from(node))
    }

    /// What of a pod that was just read counts as being on its node.
    #[must_use]
    pub fn pod(view: &PodView) -> Option<model::Pod> {
        if view.finished() {
            return None;
        }
        let key = model::PodKey::new(
            view.metadata.namespace.as_deref().unwrap_or_default(),
            view.metadata.name.as_deref().unwrap_or_default(),
        );
        Some(view.pod(key, std::sync::Arc::new(view.class())))
    }
}
