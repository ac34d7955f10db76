//! DaemonSets: what each node will carry besides its pods.

use std::sync::Arc;

use api::labels;
use k8s_openapi::{
    api::apps::v1::DaemonSet as KubeDaemonSet, apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kube::Resource;
use model::{SchedulingClass, TaintEffect, Toleration};
use serde::Deserialize;

use crate::{
    metadata::{metadata, object},
    pod::{Origin, PodSpecView},
};

/// What is decoded of a DaemonSet.
#[derive(Resource, Deserialize, Clone, Debug)]
#[resource(inherit = KubeDaemonSet)]
pub struct DaemonSetView {
    /// Metadata, without `managedFields`.
    #[serde(deserialize_with = "metadata")]
    pub metadata: ObjectMeta,
    #[serde(default, deserialize_with = "object")]
    spec: DaemonSetSpecView,
}

#[derive(Deserialize, Clone, Debug, Default)]
#[serde(default)]
struct DaemonSetSpecView {
    #[serde(deserialize_with = "object")]
    template: TemplateView,
}

#[derive(Deserialize, Clone, Debug, Default)]
#[serde(default)]
struct TemplateView {
    #[serde(deserialize_with = "object")]
    metadata: TemplateMetaView,
    #[serde(deserialize_with = "object")]
    spec: PodSpecView,
}

#[derive(Deserialize, Clone, Debug, Default)]
#[serde(default)]
struct TemplateMetaView {
    labels: Option<std::collections::BTreeMap<String, String>>,
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
    /// The class of its pods. Claims that are made together with each pod are left out: they hold
    /// none of them back.
    #[must_use]
    pub fn class(&self) -> SchedulingClass {
        let template = &self.spec.template;
        let mut class = template.spec.class(&Origin::template(
            self.metadata.namespace.as_deref().unwrap_or_default(),
            crate::labels(template.metadata.labels.as_ref()),
        ));
        class
            .tolerations
            .extend(DAEMON_SET_TOLERATIONS.map(|(key, effect)| Toleration {
                key: Arc::from(key),
                exists: true,
                value: Arc::from(""),
                effect: Some(effect),
            }));
        if template.spec.host_network == Some(true) {
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn pods_of_a_daemon_set_tolerate_what_its_controller_lets_them() {
        let class = |host: bool| {
            let view: DaemonSetView = serde_json::from_value(
                json!({"metadata": {"name": "d", "namespace": "kube-system"},
                "spec": {"template": {"metadata": {"labels": {"app": "d"}},
                    "spec": {"hostNetwork": host, "containers": []}}}}),
            )
            .unwrap();
            view.class()
        };
        let tolerates = |class: &SchedulingClass, key: &str| {
            class.tolerations.iter().any(|t| &*t.key == key && t.exists)
        };
        assert!(tolerates(&class(false), "node.kubernetes.io/unschedulable"));
        let network = "node.kubernetes.io/network-unavailable";
        assert!(!tolerates(&class(false), network) && tolerates(&class(true), network));
        assert_eq!(class(true).labels.get("app").map(AsRef::as_ref), Some("d"));
    }
}
