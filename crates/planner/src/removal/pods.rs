//! Which pods may not be moved, by what they are themselves: bare ones, those with data on the node,
//! those of the system, and those of which people say so. Pods of DaemonSets, mirror pods and pods
//! that are ending never refuse. Where a pod could go is asked elsewhere.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use jiff::Timestamp;
use model::{Budget, Cluster, Disruption, NodeName, NodeSelectorTerm, Pod, PodRole, WorkloadKind};

use super::{
    awaited,
    plan::Settings,
    refusal::Refusal,
    wishes::{Wishes, kept_volumes},
};

/// The namespace of the system's own pods.
const KUBE_SYSTEM: &str = "kube-system";

/// A pod that has to move where its node goes.
pub(super) fn has_to_move(pod: &Pod) -> bool {
    pod.role == PodRole::Ordinary && pod.terminating.is_none()
}

/// What the pods of a cluster are judged by.
pub(super) struct Rules<'a> {
    now: Timestamp,
    cluster: &'a Cluster,
    disruption: &'a Disruption,
    settings: &'a Settings,
    /// Those of the system's namespace.
    system: Vec<&'a Budget>,
    /// Nodes that could use a volume.
    hosts: Vec<&'a NodeName>,
}

impl<'a> Rules<'a> {
    /// Rules for pods of this cluster; volumes are of no use on nodes that leave.
    pub(super) fn new(
        now: Timestamp,
        cluster: &'a Cluster,
        leaving: &BTreeSet<NodeName>,
        disruption: &'a Disruption,
        settings: &'a Settings,
    ) -> Self {
        let budgets = disruption.budgets.iter().flatten();
        let nodes = cluster.nodes.values();
        Self {
            now,
            cluster,
            disruption,
            settings,
            system: (budgets.filter(|budget| &*budget.namespace == KUBE_SYSTEM)).collect(),
            hosts: (nodes.filter(|node| awaited::is_host(node)))
                .map(|node| &node.name)
                .filter(|name| !leaving.contains(*name))
                .collect(),
        }
    }

    /// Everything that forbids to move this pod off its node.
    pub(super) fn judge(&self, pod: &Pod, node: &NodeName, refusals: &mut Vec<Refusal>) {
        if !has_to_move(pod) {
            return;
        }
        let wishes = Wishes::of(pod, self.now);
        refusals.extend(wishes.refusals);
        if !wishes.may_go {
            self.judge_kind(pod, refusals);
        }
        if self.disruption.budgets.is_none() {
            refusals.push(Refusal::BudgetsUnreadable(pod.key.clone()));
        }
        refusals.extend(self.floor(pod));
        self.judge_volumes(pod, node, refusals);
    }

    /// What a permission lifts.
    fn judge_kind(&self, pod: &Pod, refusals: &mut Vec<Refusal>) {
        let key = || pod.key.clone();
        if self.settings.respect_bare_pods {
            refusals.extend(self.bare(pod));
        }
        if self.settings.respect_local_storage {
            let volumes = kept_volumes(pod);
            if !volumes.is_empty() {
                refusals.push(Refusal::LocalStorage {
                    pod: key(),
                    volumes,
                });
            }
        }
        let covered = |pod: &Pod| {
            let mut budgets = self.system.iter();
            budgets.any(|budget| budget.selector.matches(&pod.class.labels))
        };
        if self.settings.respect_kube_system && &*pod.key.namespace == KUBE_SYSTEM && !covered(pod)
        {
            refusals.push(Refusal::KubeSystemPod(key()));
        }
    }

    /// Nobody would make it anew.
    fn bare(&self, pod: &Pod) -> Option<Refusal> {
        let Some(controller) = &pod.upkeep.controller else {
            return Some(Refusal::BarePod(pod.key.clone()));
        };
        let kind = WorkloadKind::ALL
            .into_iter()
            .find(|kind| kind.name() == &*controller.kind)?;
        let known = self.disruption.workloads.get(&kind)?;
        let gone = known.complete && !known.replicas.contains_key(&controller.uid);
        gone.then(|| Refusal::ControllerGone {
            pod: pod.key.clone(),
            controller: format!("{}/{}", controller.kind, controller.name),
        })
    }

    /// Too few replicas for one to be disturbed. A Job has no replicas that stand in for each other.
    fn floor(&self, pod: &Pod) -> Option<Refusal> {
        let floor = self.settings.min_replicas;
        let controller = pod.upkeep.controller.as_ref().filter(|_| floor > 0)?;
        let kind = WorkloadKind::ALL
            .into_iter()
            .filter(|kind| *kind != WorkloadKind::Job)
            .find(|kind| kind.name() == &*controller.kind)?;
        let known = self.disruption.workloads.get(&kind)?;
        let replicas = *known.replicas.get(&controller.uid)?;
        (replicas < floor).then(|| Refusal::ReplicaFloor {
            pod: pod.key.clone(),
            replicas,
            floor,
        })
    }

    /// Volumes that this node can use and no other that stays.
    fn judge_volumes(&self, pod: &Pod, node: &NodeName, refusals: &mut Vec<Refusal>) {
        let storage = &self.cluster.surroundings.storage;
        for claim in &pod.class.claims {
            let key = (Arc::clone(&pod.class.namespace), Arc::clone(&claim.name));
            let volume = (storage.claims.get(&key))
                .filter(|claim| claim.is_bound())
                .and_then(|claim| claim.volume.as_ref())
                .and_then(|volume| storage.volumes.get(volume));
            let Some(terms) = volume.and_then(|volume| volume.node_affinity.as_deref()) else {
                continue;
            };
            let mut others = self.hosts.iter().filter(|host| **host != node);
            if self.reaches(terms, node) && !others.any(|host| self.reaches(terms, host)) {
                refusals.push(Refusal::PinnedVolume {
                    pod: pod.key.clone(),
                    claim: claim.name.to_string(),
                });
            }
        }
    }

    fn reaches(&self, terms: &[NodeSelectorTerm], node: &NodeName) -> bool {
        (self.cluster.nodes.get(node)).is_some_and(|node| {
            let mut terms = terms.iter();
            terms.any(|term| term.matches(node.name.as_str(), &node.shape.labels))
        })
    }
}

/// The pods of each node: those of DaemonSets and mirror pods left out.
pub(super) type ByNode<'a> = BTreeMap<&'a NodeName, Vec<&'a Arc<Pod>>>;

/// What is on the nodes, those that are ending included.
pub(super) fn by_node(cluster: &Cluster) -> ByNode<'_> {
    let mut by_node = ByNode::new();
    for pod in cluster
        .bound
        .iter()
        .filter(|pod| pod.role == PodRole::Ordinary)
    {
        if let Some(node) = pod.node() {
            by_node.entry(node).or_default().push(pod);
        }
    }
    by_node
}
