//! The provider trait and its types.

use std::{collections::BTreeMap, future::Future, pin::Pin, sync::Arc, time::Duration};

use jiff::Timestamp;
use model::{
    ClusterId, DatacenterId, Hostname, Instance, InstanceId, Observation, Offering, OperationId,
    Pool, PoolId, SizeId,
};

use crate::CloudError;

/// A boxed future, so that the trait stays object safe.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// What every call carries.
#[derive(Clone, Debug)]
pub struct Call {
    /// Sent to the cloud and put into every log line about the call.
    pub request_id: Arc<str>,
    /// The whole call, waiting for the rate limit included, ends after this.
    pub timeout: Duration,
    /// Asked right before a request that changes something goes onto the wire, after all waiting.
    pub permit: Permit,
}

/// Whether the caller may still change anything: a leader that lost its lease while its request
/// waited for the rate limit must not have it sent.
#[derive(Clone)]
pub struct Permit(Arc<dyn Fn() -> bool + Send + Sync>);

impl Permit {
    /// A permit that holds as long as `holds` says so.
    pub fn new(holds: impl Fn() -> bool + Send + Sync + 'static) -> Self {
        Self(Arc::new(holds))
    }

    /// Whether it holds now.
    #[must_use]
    pub fn holds(&self) -> bool {
        (self.0)()
    }
}

impl Default for Permit {
    /// Always holds: for reads, and for callers without competitors.
    fn default() -> Self {
        Self::new(|| true)
    }
}

impl std::fmt::Debug for Permit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Permit").field(&self.holds()).finish()
    }
}

/// What the provider can do; the core must not assume more.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(clippy::struct_excessive_bools)] // independent facts, each read on its own
pub struct Capabilities {
    /// A machine can be deleted by its identity. Without it nothing is ever removed.
    pub targeted_delete: bool,
    /// The caller names the machine, so a lost response is resolved by name.
    pub named_create: bool,
    /// User data is delivered at boot.
    pub user_data: bool,
    /// The listing tells each machine's pool.
    pub pool_in_listing: bool,
    /// A size belongs to one pool per cluster.
    pub one_pool_per_size: bool,
}

/// The part of the account that is observed and bought into as a whole.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Scope {
    /// A managed Kubernetes cluster.
    Cluster(ClusterId),
    /// The plain machines of one project and datacenter.
    Project {
        /// The project's UUID.
        project: Arc<str>,
        /// The datacenter.
        datacenter: DatacenterId,
    },
}

/// A datacenter of the catalogue.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Datacenter {
    /// Its UUID.
    pub id: DatacenterId,
    /// Its display name.
    pub name: String,
    /// False when nothing can be bought there.
    pub active: bool,
}

/// The sizes of one datacenter.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Catalogue {
    /// Sorted by size id.
    pub offerings: Vec<Offering>,
    /// When it was read from the cloud.
    pub fetched_at: Timestamp,
    /// True when the cloud did not answer and an older reading is served.
    pub stale: bool,
}

/// What [`CloudProvider::health`] found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Health {
    /// The cloud's clock minus ours, where it sends its date.
    pub clock_skew_seconds: Option<i64>,
}

/// A pool to look up, or to make where it is missing.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PoolRequest {
    /// Where.
    pub scope: Scope,
    /// The name to give it if it must be made.
    pub name: String,
    /// The size of its machines.
    pub size: SizeId,
}

/// One intent to buy one machine. The caller has recorded it durably before the call.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CreateIntent {
    /// Which intent this is.
    pub operation: OperationId,
    /// Where.
    pub scope: Scope,
    /// The pool to add to (managed mode).
    pub pool: PoolId,
    /// The size wanted.
    pub size: SizeId,
    /// The name to give it, where [`Capabilities::named_create`].
    pub hostname: Option<Hostname>,
    /// Boot data, where [`Capabilities::user_data`].
    pub user_data: Option<Arc<str>>,
    /// Provider-specific settings that were given by the user (image, keys, tags, notes).
    pub settings: BTreeMap<String, String>,
}

/// What is known after the one request of a create.
#[derive(Debug)]
pub enum CreateOutcome {
    /// The cloud took it. The identity is rarely told at once.
    Accepted(Option<InstanceId>),
    /// A machine of this name exists already (named creates only).
    AlreadyExists(Box<Instance>),
    /// The cloud refused; nothing was bought.
    Rejected(CloudError),
    /// No answer that proves anything: a machine may or may not have been bought.
    Unknown(CloudError),
}

/// The machine to delete; the guards must agree with the cloud's own record.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DeleteTarget {
    /// Where.
    pub scope: Scope,
    /// Which machine.
    pub instance: InstanceId,
    /// Its host name as recorded when it was adopted; a machine that answers to another name is
    /// not deleted.
    pub hostname: Hostname,
}

/// What is known after the request of a delete. None of these proves absence: only observation
/// does.
#[derive(Debug)]
pub enum DeleteOutcome {
    /// The cloud took it.
    Accepted,
    /// The cloud says there is no such machine.
    AlreadyGone,
    /// The cloud, or a guard, refused.
    Rejected(CloudError),
    /// No usable answer; may be repeated, because it names its target.
    Unknown(CloudError),
}

/// A cloud that sells machines.
///
/// Contract, checked by [`crate::contract`]: every method ends within `call.timeout`; reads may be
/// retried inside; **`create` puts exactly one creating request on the wire per call** and says
/// [`CreateOutcome::Unknown`] whenever that request may have taken effect without an answer;
/// `delete` names its target by identity and never lets the cloud choose; no error carries a
/// secret.
pub trait CloudProvider: Send + Sync + 'static {
    /// What it can do.
    fn capabilities(&self) -> Capabilities;

    /// A cheap authenticated read.
    fn health<'a>(&'a self, call: &'a Call) -> BoxFuture<'a, Result<Health, CloudError>>;

    /// The datacenters; cached, stale on error.
    fn datacenters<'a>(
        &'a self,
        call: &'a Call,
    ) -> BoxFuture<'a, Result<Vec<Datacenter>, CloudError>>;

    /// The sizes sold in `datacenter`; cached, stale on error.
    fn catalogue<'a>(
        &'a self,
        call: &'a Call,
        datacenter: &'a DatacenterId,
    ) -> BoxFuture<'a, Result<Catalogue, CloudError>>;

    /// Finds the pool of a size, making it where it is missing. Idempotent: looks, creates, looks
    /// again.
    fn ensure_pool<'a>(
        &'a self,
        call: &'a Call,
        request: &'a PoolRequest,
    ) -> BoxFuture<'a, Result<Pool, CloudError>>;

    /// Lists everything in `scope`. A partial answer is an observation with `complete == false`,
    /// not an error; an error means nothing was learnt.
    fn observe<'a>(
        &'a self,
        call: &'a Call,
        scope: &'a Scope,
    ) -> BoxFuture<'a, Result<Observation, CloudError>>;

    /// Buys one machine: exactly one request on the wire.
    fn create<'a>(
        &'a self,
        call: &'a Call,
        intent: &'a CreateIntent,
    ) -> BoxFuture<'a, CreateOutcome>;

    /// Deletes one machine by identity.
    fn delete<'a>(
        &'a self,
        call: &'a Call,
        target: &'a DeleteTarget,
    ) -> BoxFuture<'a, DeleteOutcome>;
}
