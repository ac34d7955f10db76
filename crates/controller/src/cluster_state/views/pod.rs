//! Pods: what decides where they run, and where they stand.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use jiff::Timestamp;
use k8s_openapi::{api::core::v1::Pod as KubePod, apimachinery::pkg::apis::meta::v1::ObjectMeta};
use kube::Resource;
use model::{
    NodeName, NodeSelectorTerm, Operator, Pod, PodKey, PodRole, PodState, Requirement, Resources,
    SchedulingClass, TaintEffect, Toleration, Uid, UnevaluatedRule,
};
use serde::{Deserialize, de::IgnoredAny};

use super::{Amounts, ConditionView, metadata, resources};

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
    #[allow(clippy::zero_sized_map_values)] // the values are skipped, not held
    volumes: Option<Vec<BTreeMap<String, IgnoredAny>>>,
    resource_claims: Option<Vec<IgnoredAny>>,
    pub(super) host_network: Option<bool>,
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
#[allow(clippy::struct_field_names)] // the API's names
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

impl PodView {
    pub(in crate::cluster_state) fn finished(&self) -> bool {
        matches!(self.status.phase.as_deref(), Some("Succeeded" | "Failed"))
    }

    /// Everything that decides where it can run.
    pub(in crate::cluster_state) fn class(&self) -> SchedulingClass {
        self.spec
            .class(self.metadata.namespace.as_deref().unwrap_or_default())
    }

    pub(in crate::cluster_state) fn pod(&self, key: PodKey, class: Arc<SchedulingClass>) -> Pod {
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
            terminating: meta.deletion_timestamp.as_ref().map(|time| time.0),
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
            Some(condition) if condition.status == "False" => match condition.reason.as_deref() {
                Some("Unschedulable") => PodState::Unschedulable(
                    condition
                        .last_transition_time
                        .unwrap_or(Timestamp::UNIX_EPOCH),
                ),
                Some("SchedulingGated") => PodState::Gated,
                _ => PodState::Waiting,
            },
            _ => PodState::Waiting,
        }
    }
}

impl PodSpecView {
    pub(super) fn class(&self, namespace: &str) -> SchedulingClass {
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
            ..SchedulingClass::default()
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
