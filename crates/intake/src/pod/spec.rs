//! A pod's specification, as a scheduling class.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use model::{
    Labels, Preferences, Resources, SchedulingClass, SpreadConstraint, TaintEffect, Toleration,
    UnevaluatedRule,
};
use serde::{Deserialize, de::IgnoredAny};

use super::{
    PodStatusView, affinity::AffinityView, ports::PortView, requests::RequirementsView,
    spread::SpreadView, volumes::VolumeView,
};
use crate::{
    amounts::Amounts,
    metadata::{filled, or_default},
    selector::equals,
};

/// What is decoded of a pod's specification.
#[derive(Deserialize, Clone, Debug, Default)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct PodSpecView {
    pub(super) node_name: Option<String>,
    node_selector: Option<BTreeMap<String, String>>,
    affinity: Option<AffinityView>,
    tolerations: Option<Vec<TolerationView>>,
    #[serde(deserialize_with = "or_default")]
    pub(super) containers: Vec<ContainerView>,
    pub(super) init_containers: Option<Vec<ContainerView>>,
    pub(super) overhead: Option<Amounts>,
    pub(super) resources: Option<RequirementsView>,
    priority: Option<i32>,
    topology_spread_constraints: Option<Vec<SpreadView>>,
    pub(super) volumes: Option<Vec<VolumeView>>,
    resource_claims: Option<Vec<IgnoredAny>>,
    pub(crate) host_network: Option<bool>,
    host_users: Option<bool>,
    pub(super) termination_grace_period_seconds: Option<i64>,
}

#[derive(Deserialize, Clone, Debug, Default)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct ContainerView {
    pub(super) name: String,
    pub(super) resources: Option<RequirementsView>,
    restart_policy: Option<String>,
    restart_policy_rules: Option<Vec<RestartRuleView>>,
    pub(super) ports: Option<Vec<PortView>>,
}

#[derive(Deserialize, Clone, Debug, Default)]
#[serde(default)]
struct RestartRuleView {
    action: String,
}

impl ContainerView {
    /// Of an init container: it runs on beside what starts after it.
    pub(super) fn is_sidecar(&self) -> bool {
        self.restart_policy.as_deref() == Some("Always")
    }

    fn restarts_all(&self) -> bool {
        self.restart_policy_rules
            .iter()
            .flatten()
            .any(|rule| rule.action == "RestartAllContainers")
    }
}

#[derive(Deserialize, Clone, Debug, Default)]
#[serde(default)]
struct TolerationView {
    key: Option<String>,
    operator: Option<String>,
    value: Option<String>,
    effect: Option<String>,
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

/// What a specification is of.
pub(crate) struct Origin<'a> {
    /// The namespace.
    pub(super) namespace: &'a str,
    /// The labels of the pod, or of the pods to come.
    pub(super) labels: Labels,
    /// Name and UID of the pod; none of a template.
    pub(super) pod: Option<(&'a str, &'a str)>,
    /// The status of a bound pod.
    pub(super) running: Option<&'a PodStatusView>,
}

impl<'a> Origin<'a> {
    /// A workload's template.
    pub(crate) const fn template(namespace: &'a str, labels: Labels) -> Self {
        Self {
            namespace,
            labels,
            pod: None,
            running: None,
        }
    }
}

/// What could not be read; the first is kept.
#[derive(Default)]
struct Defect(Option<String>);

impl Defect {
    fn note(&mut self, error: Option<String>) {
        if self.0.is_none() {
            self.0 = error;
        }
    }

    /// The value, or what stands for it.
    fn or<T>(&mut self, read: Result<T, String>, instead: T) -> T {
        match read {
            Ok(value) => value,
            Err(error) => {
                self.note(Some(error));
                instead
            }
        }
    }

    /// The values that could be read.
    fn kept<T>(&mut self, (values, error): (Vec<T>, Option<String>)) -> Vec<T> {
        self.note(error);
        values
    }
}

impl PodSpecView {
    /// Everything that decides where such a pod can run.
    pub(crate) fn class(&self, origin: &Origin<'_>) -> SchedulingClass {
        let mut defect = Defect::default();
        let (namespace, own) = (origin.namespace, &origin.labels);
        let requests = self.requests(origin.running);
        let requests = defect.or(
            requests,
            Resources {
                pods: 1,
                ..Resources::default()
            },
        );
        let mut class = SchedulingClass {
            namespace: Arc::from(namespace),
            requests,
            node_selector: self
                .node_selector
                .iter()
                .flatten()
                .map(|(key, value)| equals(key, value))
                .collect(),
            tolerations: self
                .tolerations
                .iter()
                .flatten()
                .filter_map(TolerationView::model)
                .collect(),
            // A pod that names a node is bound to it.
            node_name: match origin.pod {
                None => filled(self.node_name.as_ref()).map(Into::into),
                Some(_) => None,
            },
            priority: self.priority.unwrap_or_default(),
            host_ports: defect.or(self.host_ports(), Vec::new()),
            spread: self.spread(own, &mut defect),
            features: self.features(),
            preferences: self.preferences(namespace, own),
            unevaluated: self.unevaluated(),
            ..SchedulingClass::default()
        };
        if let Some(affinity) = &self.affinity {
            class.required_terms = affinity.required_nodes().map(|read| defect.kept(read));
            class.affinity = defect.kept(affinity.required_near(namespace, own));
            class.anti_affinity = defect.kept(affinity.required_apart(namespace, own));
        }
        for volume in self.volumes.iter().flatten() {
            class.claims.extend(volume.claim(origin.pod));
            class.disks.extend(volume.disk().cloned());
            defect.note(volume.defect());
        }
        class.labels = origin.labels.clone();
        class.defect = defect.0.map(Arc::from);
        class
    }

    fn spread(&self, own: &Labels, defect: &mut Defect) -> Vec<SpreadConstraint> {
        let mut constraints = Vec::new();
        let views = self.topology_spread_constraints.iter().flatten();
        for view in views.filter(|view| view.is_required()) {
            match view.model(own) {
                Ok(constraint) => constraints.push(constraint),
                Err(error) => defect.note(Some(error)),
            }
        }
        constraints
    }

    fn preferences(&self, namespace: &str, own: &Labels) -> Preferences {
        let views = self.topology_spread_constraints.iter().flatten();
        let spread = views
            .filter(|view| view.is_preferred())
            .filter_map(|view| view.model(own).ok())
            .collect();
        match &self.affinity {
            Some(affinity) => Preferences {
                nodes: affinity.preferred_nodes(),
                near: affinity.preferred_near(namespace, own),
                apart: affinity.preferred_apart(namespace, own),
                spread,
            },
            None => Preferences {
                spread,
                ..Preferences::default()
            },
        }
    }

    /// Features of kubelets that it cannot do without (component-helpers `nodedeclaredfeatures`,
    /// `InferForPodScheduling`, of what is on by default in Kubernetes 1.36).
    fn features(&self) -> BTreeSet<Arc<str>> {
        let restarts_all = self
            .containers
            .iter()
            .chain(self.init_containers.iter().flatten())
            .any(ContainerView::restarts_all);
        let own_users = self.host_network == Some(true) && self.host_users == Some(false);
        [
            (restarts_all, "RestartAllContainersOnContainerExits"),
            (own_users, "UserNamespacesHostNetworkSupport"),
        ]
        .into_iter()
        .filter(|(needed, _)| *needed)
        .map(|(_, feature)| Arc::from(feature))
        .collect()
    }

    /// Claims for devices are never evaluated.
    fn unevaluated(&self) -> BTreeSet<UnevaluatedRule> {
        let claims = self.resource_claims.iter().flatten();
        claims.map(|_| UnevaluatedRule::ResourceClaims).collect()
    }
}
