//! DaemonSets: what each node will carry besides its pods.

use std::sync::Arc;

use api::labels;
use k8s_openapi::{
    api::apps::v1::DaemonSet as KubeDaemonSet, apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kube::Resource;
use model::{SchedulingClass, TaintEffect, Toleration};
use serde::Deserialize;

use super::{metadata, pod::PodSpecView};

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
    (labels::NOT_READY_TAINT, TaintEffect::NoExecute),
    (labels::UNREACHABLE_TAINT, TaintEffect::NoExecute),
    ("node.kubernetes.io/disk-pressure", TaintEffect::NoSchedule),
    (
        "node.kubernetes.io/memory-pressure",
        TaintEffect::NoSchedule,
    ),
    ("node.kubernetes.io/pid-pressure", TaintEffect::NoSchedule),
    (labels::UNSCHEDULABLE_TAINT, TaintEffect::NoSchedule),
];

impl DaemonSetView {
    /// The class of its pods.
    pub(in crate::cluster_state) fn class(&self) -> SchedulingClass {
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
