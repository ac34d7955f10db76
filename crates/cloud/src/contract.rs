//! The contract suite: what every provider must do, each promise of [`CloudProvider`] as one named
//! case that runs against any provider through a [`Harness`].
//!
//! A case holds, is violated, or does not apply (the provider's [`Capabilities`] exclude it, or the
//! harness cannot stage it). Each wants a fresh harness; none knows which provider it drives.

mod creates;
mod deletes;
mod pools;
mod reads;
mod secrets;

use std::{
    fmt::Debug,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use model::{
    DatacenterId, Hostname, Instance, InstanceId, OperationId, Pool, PoolId, Role, SizeId,
};
use runtime::Clock;

use crate::{
    BoxFuture, Call, Capabilities, CloudError, CloudProvider, CreateIntent, CreateOutcome,
    DeleteOutcome, DeleteTarget, ErrorClass, PoolRequest, Scope,
};

/// Which requests a disturbance hits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Target {
    /// The requests that [`CloudProvider::observe`] makes.
    Observe,
    /// The requests that read the catalogue and the datacenters.
    Catalogue,
    /// The request that buys a machine.
    Create,
    /// The request that deletes a machine.
    Delete,
    /// The request that makes a pool.
    MakePool,
    /// Every request, the renewal of credentials included.
    Everything,
}

/// What goes wrong.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Disturbance {
    /// The request takes effect; the connection breaks before the answer.
    AnswerLost,
    /// The connection breaks before anything happens.
    ConnectionReset,
    /// A gateway answers 502 with a page of HTML; nothing happens.
    ServerError,
    /// The request takes effect; a gateway answers 502 with a page of HTML.
    ServerErrorAfterEffect,
    /// No answer for much longer than any deadline; nothing happens.
    Hangs,
    /// Refused as one too many.
    RateLimited,
    /// Refused for want of valid credentials.
    Unauthorized,
    /// The answer is cut in the middle.
    Truncated,
    /// Lists come back empty although there are objects.
    EmptyLists,
    /// The refusal repeats the credentials it was sent.
    EchoesCredentials,
}

/// A machine as the cloud really has it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Truth {
    /// Its identity.
    pub id: InstanceId,
    /// Its host name.
    pub hostname: Hostname,
    /// Part of the control plane.
    pub control_plane: bool,
}

/// A cloud to test against: one provider, the truth behind it, and hands to disturb it.
pub trait Harness: Send + Sync {
    /// The provider under test.
    fn provider(&self) -> Arc<dyn CloudProvider>;
    /// The clock both sides run on; the suite waits on it.
    fn clock(&self) -> Clock;
    /// The scope to work in; exists, with no worker in it.
    fn scope(&self) -> Scope;
    /// A scope of the same kind that does not exist.
    fn missing_scope(&self) -> Scope;
    /// The datacenter to ask for offerings.
    fn datacenter(&self) -> DatacenterId;
    /// Two different sizes that can be bought.
    fn sizes(&self) -> [SizeId; 2];
    /// Disturbs the next `times` requests of `target`; false: this cloud cannot be made to do that.
    fn disturb(&self, target: Target, what: Disturbance, times: u32) -> bool;
    /// Sells no more of `size`; false: cannot be staged.
    fn sell_out(&self, size: &SizeId) -> bool;
    /// Allows this many workers in the scope; false: cannot be staged.
    fn cap_workers(&self, limit: u32) -> bool;
    /// A person adds a machine of `pool` at the control panel.
    fn human_adds(&self, pool: PoolId) -> bool;
    /// The machines that exist and are not being deleted.
    fn machines(&self) -> Vec<Truth>;
    /// How many requests that buy a machine have reached the wire.
    fn create_requests(&self) -> usize;
    /// How many requests of any kind have reached the wire.
    fn requests(&self) -> usize;
    /// Texts that no error may contain.
    fn secrets(&self) -> Vec<String>;
    /// The longest time from an accepted create to its appearance in a listing, and from an
    /// accepted delete to its disappearance.
    fn settle_time(&self) -> Duration;
}

/// How a case went.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// The provider kept its promise.
    Held,
    /// There was nothing to test.
    NotApplicable(&'static str),
}

/// A broken promise.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{case}: {detail}")]
pub struct Violation {
    /// The case's name.
    pub case: &'static str,
    /// What was seen instead.
    pub detail: String,
}

type Outcome = Result<Verdict, String>;
type Run = for<'a> fn(&'a World<'a>) -> BoxFuture<'a, Outcome>;

/// One promise.
#[derive(Clone, Copy)]
pub struct Case {
    /// The promise, as a sentence in snake case.
    pub name: &'static str,
    run: Run,
}

impl Debug for Case {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

impl Case {
    /// Runs it against `harness`, which no other case has used.
    pub async fn run(&self, harness: &dyn Harness) -> Result<Verdict, Violation> {
        let world = World {
            harness,
            provider: harness.provider(),
            calls: AtomicU64::new(0),
        };
        (self.run)(&world).await.map_err(|detail| Violation {
            case: self.name,
            detail,
        })
    }
}

/// Every promise, in a fixed order.
#[must_use]
pub fn cases() -> Vec<Case> {
    [
        reads::CASES,
        pools::CASES,
        creates::CASES,
        deletes::CASES,
        secrets::CASES,
    ]
    .concat()
}

/// `cases_of![function, …]`: cases, each named after its function.
macro_rules! cases_of {
    ($($name:ident),+ $(,)?) => {
        &[$($crate::contract::Case {
            name: stringify!($name),
            run: |world| Box::pin($name(world)),
        }),+]
    };
}

/// Fails the case with what was seen, unless the condition holds.
macro_rules! promise {
    ($held:expr, $($seen:tt)+) => {
        if !$held {
            return Err(format!($($seen)+));
        }
    };
}

/// Leaves the case when the harness or the provider cannot do what it is about.
macro_rules! applies {
    ($possible:expr, $why:expr) => {
        if !$possible {
            return Ok($crate::contract::Verdict::NotApplicable($why));
        }
    };
}

pub(crate) use {applies, cases_of, promise};

/// The harness with the calls that cases have in common.
pub(crate) struct World<'a> {
    pub(crate) harness: &'a dyn Harness,
    pub(crate) provider: Arc<dyn CloudProvider>,
    calls: AtomicU64,
}

impl World<'_> {
    /// How long a call of the suite may take.
    const TIMEOUT: Duration = Duration::from_secs(30);

    pub(crate) fn capabilities(&self) -> Capabilities {
        self.provider.capabilities()
    }

    pub(crate) fn call(&self) -> Call {
        self.call_within(Self::TIMEOUT)
    }

    pub(crate) fn call_within(&self, timeout: Duration) -> Call {
        let number = self.calls.fetch_add(1, Ordering::Relaxed);
        Call {
            request_id: Arc::from(format!("contract-{number}")),
            timeout,
            permit: crate::Permit::default(),
        }
    }

    /// Waits until everything accepted so far shows in listings.
    pub(crate) async fn settle(&self) {
        self.harness.clock().sleep(self.harness.settle_time()).await;
    }

    pub(crate) async fn pool_of(&self, size: &SizeId) -> Result<Pool, String> {
        let request = PoolRequest {
            scope: self.harness.scope(),
            name: format!("contract-{size}"),
            size: size.clone(),
        };
        self.provider
            .ensure_pool(&self.call(), &request)
            .await
            .map_err(|error| format!("no pool of size {size}: {}", shown(&error)))
    }

    pub(crate) fn intent(&self, pool: &Pool, name: &str) -> CreateIntent {
        let capabilities = self.capabilities();
        CreateIntent {
            operation: OperationId::new(name),
            scope: self.harness.scope(),
            pool: pool.id,
            size: pool.size.clone(),
            hostname: capabilities.named_create.then(|| Hostname::new(name)),
            user_data: capabilities.user_data.then(|| Arc::from("#cloud-config\n")),
            settings: std::collections::BTreeMap::new(),
        }
    }

    pub(crate) async fn create(&self, pool: &Pool, name: &str) -> CreateOutcome {
        self.provider
            .create(&self.call(), &self.intent(pool, name))
            .await
    }

    /// Buys a machine, waits until it is listed, and returns the record of the listing.
    pub(crate) async fn bought(&self, pool: &Pool, name: &str) -> Result<Instance, String> {
        let before = self.workers().await?;
        match self.create(pool, name).await {
            CreateOutcome::Accepted(_) => {}
            other => return Err(format!("an undisturbed create gave {other:?}")),
        }
        self.settle().await;
        self.workers()
            .await?
            .into_iter()
            .find(|instance| !before.iter().any(|known| known.id == instance.id))
            .ok_or_else(|| "the machine bought never appears in a listing".to_owned())
    }

    pub(crate) async fn observe(&self) -> Result<model::Observation, CloudError> {
        self.provider
            .observe(&self.call(), &self.harness.scope())
            .await
    }

    /// The workers of a complete observation.
    pub(crate) async fn workers(&self) -> Result<Vec<Instance>, String> {
        let observation = self.observe().await.map_err(|error| shown(&error))?;
        promise!(
            observation.complete,
            "an undisturbed observation is not complete: {:?}",
            observation.defects
        );
        Ok(observation
            .instances
            .into_iter()
            .filter(|instance| instance.role == Role::Worker)
            .collect())
    }

    pub(crate) fn target(&self, instance: &Instance) -> DeleteTarget {
        DeleteTarget {
            scope: self.harness.scope(),
            instance: instance.id.clone(),
            hostname: instance.hostname.clone(),
        }
    }

    pub(crate) async fn delete(&self, target: &DeleteTarget) -> DeleteOutcome {
        self.provider.delete(&self.call(), target).await
    }

    /// The workers that really exist.
    pub(crate) fn true_workers(&self) -> Vec<Truth> {
        self.harness
            .machines()
            .into_iter()
            .filter(|machine| !machine.control_plane)
            .collect()
    }

    /// True when a call that began at `began` ended within `timeout` (and a tick of scheduling).
    pub(crate) fn in_time(&self, began: Duration, timeout: Duration) -> bool {
        let took = self.harness.clock().monotonic().saturating_sub(began);
        took <= timeout + Duration::from_secs(1)
    }
}

pub(crate) fn shown(error: &CloudError) -> String {
    format!("{} ({})", error, error.class.name())
}

/// The error of a refused or unresolved create.
pub(crate) fn create_error(outcome: &CreateOutcome) -> Option<&CloudError> {
    match outcome {
        CreateOutcome::Rejected(error) | CreateOutcome::Unknown(error) => Some(error),
        CreateOutcome::Accepted(_) | CreateOutcome::AlreadyExists(_) => None,
    }
}

/// The class with which a create was refused.
pub(crate) fn refusal(outcome: &CreateOutcome) -> Option<ErrorClass> {
    match outcome {
        CreateOutcome::Rejected(error) => Some(error.class),
        _ => None,
    }
}
