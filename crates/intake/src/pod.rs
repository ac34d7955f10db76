//! Pods: what decides where they run, and where they stand.

mod affinity;
mod ports;
mod requests;
mod spec;
mod spread;
mod upkeep;
mod volumes;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::{api::core::v1::Pod as KubePod, apimachinery::pkg::apis::meta::v1::ObjectMeta};
use kube::Resource;
use model::{
    NodeName, NodeSelectorTerm, Operator, Pod, PodHealth, PodKey, PodRole, PodState,
    SchedulingClass, Uid, Upkeep,
};
use serde::Deserialize;

use crate::amounts::Amounts;
use crate::metadata::{ConditionView, annotation, controller, filled, labels, metadata, object};
use requests::{ContainerStatusView, RequirementsView};
pub(crate) use spec::{Origin, PodSpecView};

/// What is decoded of a Pod.
#[derive(Resource, Deserialize, Clone, Debug)]
#[resource(inherit = KubePod)]
pub struct PodView {
    /// Metadata, without `managedFields`.
    #[serde(deserialize_with = "metadata")]
    pub metadata: ObjectMeta,
    #[serde(default, deserialize_with = "object")]
    spec: PodSpecView,
    #[serde(default, deserialize_with = "object")]
    status: PodStatusView,
}

/// What is decoded of a pod's status.
#[derive(Deserialize, Clone, Debug, Default)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct PodStatusView {
    phase: Option<String>,
    start_time: Option<Timestamp>,
    nominated_node_name: Option<String>,
    conditions: Option<Vec<ConditionView>>,
    container_statuses: Option<Vec<ContainerStatusView>>,
    init_container_statuses: Option<Vec<ContainerStatusView>>,
    resources: Option<RequirementsView>,
    allocated_resources: Option<Amounts>,
}

impl PodStatusView {
    /// The kubelet has refused its resize for good (component-helpers `IsPodResizeInfeasible`).
    fn infeasible(&self) -> bool {
        self.conditions
            .iter()
            .flatten()
            .find(|condition| condition.type_ == "PodResizePending")
            .is_some_and(|condition| condition.reason.as_deref() == Some("Infeasible"))
    }
}

impl PodView {
    /// It has ended, and counts for nothing any more.
    #[must_use]
    pub fn finished(&self) -> bool {
        matches!(self.status.phase.as_deref(), Some("Succeeded" | "Failed"))
    }

    /// Its name.
    #[must_use]
    pub fn key(&self) -> PodKey {
        PodKey::new(
            self.metadata.namespace.as_deref().unwrap_or_default(),
            self.metadata.name.as_deref().unwrap_or_default(),
        )
    }

    /// Everything that decides where it can run.
    #[must_use]
    pub fn class(&self) -> SchedulingClass {
        let meta = &self.metadata;
        let bound = self.node();
        let mut class = self.spec.class(&Origin {
            namespace: meta.namespace.as_deref().unwrap_or_default(),
            labels: labels(meta.labels.as_ref()),
            pod: meta
                .name
                .as_deref()
                .map(|name| (name, meta.uid.as_deref().unwrap_or_default())),
            running: bound.map(|_| &self.status),
        });
        if let Some(node) = bound
            && self.role() == PodRole::DaemonSet
        {
            forget_own_node(&mut class, node);
        }
        class
    }

    /// The pod, which shares `class` and `upkeep` with its equals.
    #[must_use]
    pub fn pod(&self, key: PodKey, class: Arc<SchedulingClass>, upkeep: Arc<Upkeep>) -> Pod {
        let meta = &self.metadata;
        Pod {
            key,
            uid: Uid::new(meta.uid.as_deref().unwrap_or_default()),
            class,
            state: self.state(),
            role: self.role(),
            terminating: meta.deletion_timestamp.as_ref().map(|time| time.0),
            nominated: filled(self.status.nominated_node_name.as_ref()).map(NodeName::new),
            created_at: meta.creation_timestamp.as_ref().map(|time| time.0),
            started_at: self.status.start_time,
            health: self.health(),
            upkeep,
        }
    }

    /// As the API server's evictions see it. A bound pod of which nothing is told, as no server
    /// stores it, counts as Ready: budgets count for it.
    fn health(&self) -> PodHealth {
        let conditions = self.status.conditions.iter().flatten();
        let mut ready = conditions.filter(|condition| condition.type_ == "Ready");
        match (self.status.phase.as_deref(), ready.next()) {
            (Some("Pending"), _) => PodHealth::Starting,
            (_, Some(condition)) if condition.status == "True" => PodHealth::Ready,
            (Some(_), _) | (None, Some(_)) => PodHealth::Unready,
            (None, None) if self.node().is_none() => PodHealth::Starting,
            (None, None) => PodHealth::Ready,
        }
    }

    /// The node it is bound to.
    fn node(&self) -> Option<&str> {
        filled(self.spec.node_name.as_ref())
    }

    fn role(&self) -> PodRole {
        let meta = &self.metadata;
        if annotation(meta, "kubernetes.io/config.mirror").is_some() {
            PodRole::Mirror
        } else if controller(meta).is_some_and(|owner| owner.kind == "DaemonSet") {
            PodRole::DaemonSet
        } else {
            PodRole::Ordinary
        }
    }

    fn state(&self) -> PodState {
        if let Some(node) = self.node() {
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

/// The DaemonSet controller pins each pod to its node by name, which would make every one of them
/// a class of its own. A bound one is never placed anew, so the pin says nothing.
fn forget_own_node(class: &mut SchedulingClass, node: &str) {
    let is_pin = |term: &NodeSelectorTerm| {
        matches!(&*term.match_fields, [field] if &*field.key == "metadata.name"
            && field.operator == Operator::In
            && matches!(&*field.values, [name] if &**name == node))
    };
    let Some(terms) = &mut class.required_terms else {
        return;
    };
    if !terms.iter().all(is_pin) {
        return;
    }
    for term in terms.iter_mut() {
        term.match_fields.clear();
    }
    // A term without any requirement would match nothing.
    if terms.iter().any(|term| term.match_expressions.is_empty()) {
        class.required_terms = None;
    }
}
