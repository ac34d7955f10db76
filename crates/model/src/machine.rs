//! What the cloud reports: machines, pools and whole observations.

use std::{collections::BTreeSet, fmt};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{Hostname, InstanceId, SizeId};

/// A pool of equal workers at the cloud (VPSie: a node group of one size).
///
/// Both ids are kept: `…/add/slave/group/{id}` takes the numeric one, deletion the UUID.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PoolId(pub i64);

impl fmt::Display for PoolId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// A pool as the cloud lists it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Pool {
    /// The numeric id.
    pub id: PoolId,
    /// The name, which need not be ours: a size has one pool per cluster, whoever made it.
    pub name: String,
    /// The size of every machine in the pool.
    pub size: SizeId,
    /// How many machines the cloud counts in it (may lead or lag the listing).
    pub count: Option<u32>,
}

/// What a machine is for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub enum Role {
    /// Runs workloads.
    Worker,
    /// Runs the control plane; never touched.
    ControlPlane,
    /// The cloud did not say; treated as untouchable.
    Unknown,
}

/// How far a machine has come.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub enum InstancePhase {
    /// Accepted, waiting for capacity.
    Queued,
    /// Being built: no address yet.
    Creating,
    /// Powered on.
    Running,
    /// Powered off, suspended or locked.
    Stopped,
    /// The cloud marks it deleted but still lists it (and may still bill it).
    Deleting,
}

/// One machine as the cloud lists it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Instance {
    /// The durable identity.
    pub id: InstanceId,
    /// The number some endpoints use; 0 is never a valid one.
    pub numeric_id: Option<i64>,
    /// The host name, in lower case.
    pub hostname: Hostname,
    /// Addresses, main one first.
    pub addresses: Vec<String>,
    /// Worker or control plane.
    pub role: Role,
    /// How far it has come.
    pub phase: InstancePhase,
    /// The pool, where the listing tells it (managed listings do not).
    pub pool: Option<PoolId>,
    /// (virtual CPUs, memory in MiB), where the listing tells it.
    pub shape: Option<(u32, u64)>,
    /// When the cloud says it was created.
    pub created_at: Option<Timestamp>,
}

/// Everything the cloud listed of one scope (cluster or project), in one pass: the only read that
/// decisions rest on.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Observation {
    /// Machines, by id.
    pub instances: Vec<Instance>,
    /// Pools, by id.
    pub pools: Vec<Pool>,
    /// False when any page or part was missing, undecodable or contradictory: then nothing may
    /// be declared absent on its strength.
    pub complete: bool,
    /// When the first request of the pass was sent.
    pub started_at: Timestamp,
    /// What was wrong when `complete` is false; names endpoints, never bodies.
    pub defects: Vec<String>,
}

impl Observation {
    /// The machine with this id.
    #[must_use]
    pub fn instance(&self, id: &InstanceId) -> Option<&Instance> {
        self.instances.iter().find(|instance| &instance.id == id)
    }

    /// The pool with this id.
    #[must_use]
    pub fn pool(&self, id: PoolId) -> Option<&Pool> {
        self.pools.iter().find(|pool| pool.id == id)
    }

    /// The ids of all machines listed.
    #[must_use]
    pub fn ids(&self) -> BTreeSet<InstanceId> {
        self.instances
            .iter()
            .map(|instance| instance.id.clone())
            .collect()
    }
}

/// What became of one create request, judged from a later observation.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Resolution {
    /// This machine is the one.
    Found(InstanceId),
    /// Not there yet; may still come.
    StillPending,
    /// The quarantine has passed with complete observations and nothing came: it may be asked
    /// for again.
    ProvenAbsent,
    /// More machines appeared than were asked for: none is adopted.
    Ambiguous(Vec<InstanceId>),
}
