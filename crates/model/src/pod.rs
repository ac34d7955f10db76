//! Pods, split into what equal pods share ([`SchedulingClass`]) and what is each one's own.

use std::{collections::BTreeSet, sync::Arc};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{
    NodeName, PodKey, Resources, Uid,
    disruption::{PodHealth, Upkeep},
    selector::{Labels, NodeSelectorTerm, Requirement, Toleration},
    storage::{ClaimUse, InlineDisk},
    topology::{PodTerm, Preferences, SpreadConstraint},
};

/// A rule of a pod that cannot be evaluated: that never is, or that looks at what may not be read.
/// Such a pod is left alone: no machine is bought on a guess.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub enum UnevaluatedRule {
    /// Required pod affinity or anti-affinity, where namespaces may not be read.
    InterPodAffinity,
    /// A volume, where what storage there is may not be read.
    Volumes,
    /// A claim for a device.
    ResourceClaims,
}

impl UnevaluatedRule {
    /// The name of kube-scheduler's plugin that evaluates it.
    #[must_use]
    pub const fn plugin(self) -> &'static str {
        match self {
            Self::InterPodAffinity => "InterPodAffinity",
            Self::Volumes => "VolumeBinding",
            Self::ResourceClaims => "DynamicResources",
        }
    }
}

/// The protocol of a port.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
    /// SCTP.
    Sctp,
}

/// A port of the host that a pod takes.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct HostPort {
    /// The protocol.
    pub protocol: Protocol,
    /// The address; `0.0.0.0`, where none is given, clashes with every other.
    pub address: Arc<str>,
    /// The port.
    pub port: u16,
}

/// Everything that decides where a pod can run; equal for all replicas of a workload.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize)]
pub struct SchedulingClass {
    /// The namespace.
    pub namespace: Arc<str>,
    /// Labels: other pods' rules, and its own, select by them.
    pub labels: Labels,
    /// Requests: the larger of the running sum and the start-up peak, plus overhead; one pod.
    pub requests: Resources,
    /// `spec.nodeSelector`, as requirements.
    pub node_selector: Vec<Requirement>,
    /// Required node affinity: one of these terms; `None` where there is none (an empty list
    /// matches nothing).
    pub required_terms: Option<Vec<NodeSelectorTerm>>,
    /// Tolerations.
    pub tolerations: Vec<Toleration>,
    /// `spec.nodeName` of a pod that is not bound by the scheduler (DaemonSet templates).
    pub node_name: Option<NodeName>,
    /// Priority.
    pub priority: i32,
    /// Ports of the host it takes.
    pub host_ports: Vec<HostPort>,
    /// Spread constraints that must hold (`DoNotSchedule`).
    pub spread: Vec<SpreadConstraint>,
    /// Required pod affinity: a pod must match all terms at once.
    pub affinity: Vec<PodTerm>,
    /// Required pod anti-affinity: no pod may match any term.
    pub anti_affinity: Vec<PodTerm>,
    /// Claims it uses, in the order of its volumes.
    pub claims: Vec<ClaimUse>,
    /// Disks it mounts without a claim.
    pub disks: Vec<InlineDisk>,
    /// Features that its node must declare (`status.declaredFeatures`).
    pub features: BTreeSet<Arc<str>>,
    /// What it would rather have.
    pub preferences: Preferences,
    /// Rules that are not evaluated.
    pub unevaluated: BTreeSet<UnevaluatedRule>,
    /// Something in the pod cannot be understood: what.
    pub defect: Option<Arc<str>>,
}

/// Who looks after a pod, as far as removal is concerned.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub enum PodRole {
    /// An ordinary pod.
    Ordinary,
    /// Of a DaemonSet: one per node, leaves with it.
    DaemonSet,
    /// A static pod's mirror: leaves with its node.
    Mirror,
}

/// Where a pod stands.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum PodState {
    /// The scheduler could not place it, since then.
    Unschedulable(Timestamp),
    /// Not bound, and the scheduler has not given up on it.
    Waiting,
    /// Scheduling gates hold it: the scheduler does not look at it.
    Gated,
    /// Bound to a node.
    Bound(NodeName),
}

/// One pod that has not finished.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Pod {
    /// Its name.
    pub key: PodKey,
    /// Its identity.
    pub uid: Uid,
    /// What it shares with its equals.
    pub class: Arc<SchedulingClass>,
    /// Where it stands.
    pub state: PodState,
    /// Who looks after it.
    pub role: PodRole,
    /// Its deletion was asked for: by then, its grace period included, it should have ended.
    pub terminating: Option<Timestamp>,
    /// `status.nominatedNodeName`: the scheduler is making room for it there.
    pub nominated: Option<NodeName>,
    /// When it was created.
    pub created_at: Option<Timestamp>,
    /// When its node began with it (`status.startTime`).
    pub started_at: Option<Timestamp>,
    /// How far it has come.
    pub health: PodHealth,
    /// What its removal has to look at.
    pub upkeep: Arc<Upkeep>,
}

impl Pod {
    /// The node it is bound to.
    #[must_use]
    pub const fn node(&self) -> Option<&NodeName> {
        match &self.state {
            PodState::Bound(node) => Some(node),
            PodState::Unschedulable(_) | PodState::Waiting | PodState::Gated => None,
        }
    }
}
