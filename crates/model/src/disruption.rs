//! What the removal of a node looks at besides where its pods could run: who makes a pod anew, which
//! budgets it is under, and how much of a node is in use.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{LabelSelector, NodeName, Uid};

/// What removal has to know of a pod; equal for all replicas of a workload.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct Upkeep {
    /// Who makes the pod anew elsewhere: the owner reference with `controller: true`.
    pub controller: Option<Controller>,
    /// Volumes with data on the node itself, by name: `hostPath`, and `emptyDir` that is not in
    /// memory.
    pub local_volumes: Vec<Arc<str>>,
    /// Annotations by which people speak about the pod's removal, as they wrote them; only the
    /// known keys are kept.
    pub wishes: BTreeMap<Arc<str>, Arc<str>>,
    /// `spec.terminationGracePeriodSeconds` (30 s where it is not given).
    pub grace: Duration,
}

impl Default for Upkeep {
    fn default() -> Self {
        Self {
            controller: None,
            local_volumes: Vec::new(),
            wishes: BTreeMap::new(),
            grace: Duration::from_secs(30),
        }
    }
}

/// The controller of a pod.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct Controller {
    /// Its kind, as `ReplicaSet`.
    pub kind: Arc<str>,
    /// Its name; the namespace is the pod's.
    pub name: Arc<str>,
    /// Its identity.
    pub uid: Uid,
}

/// How far a pod has come, as the API server's evictions tell it apart.
#[derive(
    Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize,
)]
pub enum PodHealth {
    /// Its phase is still `Pending`: no budget counts for it.
    Starting,
    /// It runs, and is not Ready.
    Unready,
    /// It is Ready.
    #[default]
    Ready,
}

/// A PodDisruptionBudget.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Budget {
    /// The namespace: that of the pods, too.
    pub namespace: Arc<str>,
    /// The name.
    pub name: Arc<str>,
    /// Which pods; without requirements all of the namespace.
    pub selector: LabelSelector,
    /// How many of them may be evicted now (`status.disruptionsAllowed`; none while the status does
    /// not speak of the present spec).
    pub allowed: u32,
    /// More of them than needed are healthy, or just as many, and some are needed
    /// (`currentHealthy ≥ desiredHealthy > 0`).
    pub healthy: bool,
    /// `spec.unhealthyPodEvictionPolicy` is `AlwaysAllow`.
    pub unhealthy_always: bool,
}

impl Budget {
    /// A pod of this health is evicted whatever is allowed, as the API server does
    /// (`pkg/registry/core/pod/storage/eviction.go`).
    #[must_use]
    pub fn spares(&self, health: PodHealth) -> bool {
        match health {
            PodHealth::Starting => true,
            PodHealth::Unready => self.unhealthy_always || self.healthy,
            PodHealth::Ready => false,
        }
    }
}

/// A kind of controller whose objects are known one by one, so that a missing one is known to be
/// gone.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub enum WorkloadKind {
    /// `apps/v1`.
    ReplicaSet,
    /// `v1`.
    ReplicationController,
    /// `apps/v1`.
    StatefulSet,
    /// `batch/v1`.
    Job,
}

impl WorkloadKind {
    /// Every kind.
    pub const ALL: [Self; 4] = [
        Self::ReplicaSet,
        Self::ReplicationController,
        Self::StatefulSet,
        Self::Job,
    ];

    /// The name in an owner reference.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::ReplicaSet => "ReplicaSet",
            Self::ReplicationController => "ReplicationController",
            Self::StatefulSet => "StatefulSet",
            Self::Job => "Job",
        }
    }
}

/// The controllers of one kind.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Workloads {
    /// `spec.replicas` (`parallelism` of a Job), by identity.
    pub replicas: BTreeMap<Uid, u32>,
    /// All of them are known: one that is not here does not exist.
    pub complete: bool,
}

/// What a node has in use, by metrics-server.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Usage {
    /// CPU in milli.
    pub cpu_milli: i64,
    /// Memory in bytes.
    pub memory: i64,
    /// When it was measured.
    pub at: Timestamp,
}

/// Everything that removals look at besides the cluster.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Disruption {
    /// The budgets, by namespace and name; `None` where they cannot be read.
    pub budgets: Option<Vec<Budget>>,
    /// The controllers, by kind; a kind that is missing cannot be read.
    pub workloads: BTreeMap<WorkloadKind, Workloads>,
    /// What nodes have in use; empty where metrics-server does not answer.
    pub usage: BTreeMap<NodeName, Usage>,
}
