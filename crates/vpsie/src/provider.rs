//! Managed clusters as a [`CloudProvider`]: what it can do, and which
//! part does it.

use std::{fmt, sync::Arc, time::Duration};

use cloud::{
    BoxFuture, Call, Capabilities, Catalogue, CloudError, CloudProvider, CreateIntent,
    CreateOutcome, Datacenter, DeleteOutcome, DeleteTarget, ErrorClass, Health, PoolRequest, Scope,
};
use model::{ClusterId, DatacenterId, Observation, Offering, Pool};
use runtime::{Clock, Randomness};

use crate::{
    catalogue::Memory, client::Client, credentials::Credentials, limiter::Priority,
    observer::Observer, transport::Transport,
};

/// How to talk to the cloud.
#[derive(Clone, Debug)]
pub struct Options {
    /// Requests in any minute.
    pub requests_per_minute: u32,
    /// One request may take this long.
    pub request_timeout: Duration,
    /// Sent as `User-Agent`.
    pub user_agent: String,
    /// Whether the account's API deletes workers by identity.
    pub targeted_delete: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            requests_per_minute: 100,
            request_timeout: Duration::from_secs(30),
            user_agent: format!("vpsie-autoscaler/{}", env!("CARGO_PKG_VERSION")),
            targeted_delete: true,
        }
    }
}

/// The provider. Without credentials every call answers an [`ErrorClass::Auth`] error.
pub struct Vpsie {
    pub(crate) client: Client,
    pub(crate) options: Options,
    offerings: Memory<Vec<Offering>>,
    datacenters: Memory<Vec<Datacenter>>,
}

impl fmt::Debug for Vpsie {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Vpsie").finish_non_exhaustive()
    }
}

impl Vpsie {
    /// A provider without credentials yet.
    #[must_use]
    pub fn new(
        options: Options,
        transport: Arc<dyn Transport>,
        clock: Clock,
        random: Randomness,
        observer: Arc<dyn Observer>,
    ) -> Arc<Self> {
        Arc::new(Self {
            offerings: Memory::new(clock.clone()),
            datacenters: Memory::new(clock.clone()),
            client: Client::new(
                transport,
                clock,
                random,
                observer,
                options.requests_per_minute,
                options.request_timeout,
                &options.user_agent,
            ),
            options,
        })
    }

    /// Puts credentials into force, or takes them away, for every request from now on. Tokens of
    /// earlier ones are dropped, the catalogue is read anew; the credentials in force already
    /// change nothing.
    pub fn set_credentials(&self, credentials: Option<&Credentials>) {
        if self.client.set_credentials(credentials) {
            self.offerings.expire();
            self.datacenters.expire();
        }
    }
}

/// The managed cluster of a scope.
pub(crate) fn cluster(scope: &Scope) -> Result<&ClusterId, CloudError> {
    match scope {
        Scope::Cluster(cluster) => Ok(cluster),
        Scope::Project { .. } => Err(CloudError::new(
            "using plain machines",
            ErrorClass::Unsupported,
            "this version works with managed clusters only",
        )),
    }
}

impl CloudProvider for Vpsie {
    fn capabilities(&self) -> Capabilities {
        Capabilities {
            targeted_delete: self.options.targeted_delete,
            named_create: false,
            user_data: false,
            pool_in_listing: false,
            one_pool_per_size: true,
        }
    }

    fn health<'a>(&'a self, call: &'a Call) -> BoxFuture<'a, Result<Health, CloudError>> {
        Box::pin(async move {
            let turn = self.client.turn(call);
            self.read(
                &turn,
                "checking the credentials",
                "profile",
                "/profile/user".to_owned(),
                Priority::Catalogue,
            )
            .await?;
            Ok(Health {
                clock_skew_seconds: self.client.clock_skew(),
            })
        })
    }

    fn datacenters<'a>(
        &'a self,
        call: &'a Call,
    ) -> BoxFuture<'a, Result<Vec<Datacenter>, CloudError>> {
        Box::pin(async move {
            let turn = self.client.turn(call);
            let read = Box::pin(self.read_datacenters(&turn));
            let remembered = self.datacenters.get("all", call.timeout, read).await?;
            Ok(remembered.value)
        })
    }

    fn catalogue<'a>(
        &'a self,
        call: &'a Call,
        datacenter: &'a DatacenterId,
    ) -> BoxFuture<'a, Result<Catalogue, CloudError>> {
        Box::pin(async move {
            let turn = self.client.turn(call);
            let read = Box::pin(self.read_offerings(&turn, datacenter));
            let remembered = self
                .offerings
                .get(datacenter.as_str(), call.timeout, read)
                .await?;
            Ok(Catalogue {
                offerings: remembered.value,
                fetched_at: remembered.read_at,
                stale: remembered.stale,
            })
        })
    }

    fn ensure_pool<'a>(
        &'a self,
        call: &'a Call,
        request: &'a PoolRequest,
    ) -> BoxFuture<'a, Result<Pool, CloudError>> {
        Box::pin(async move {
            let cluster = cluster(&request.scope)?;
            let turn = self.client.turn(call);
            self.find_or_make_pool(&turn, cluster, request).await
        })
    }

    fn observe<'a>(
        &'a self,
        call: &'a Call,
        scope: &'a Scope,
    ) -> BoxFuture<'a, Result<Observation, CloudError>> {
        Box::pin(async move {
            let cluster = cluster(scope)?;
            let turn = self.client.turn(call);
            self.observe_cluster(&turn, cluster).await
        })
    }

    fn create<'a>(
        &'a self,
        call: &'a Call,
        intent: &'a CreateIntent,
    ) -> BoxFuture<'a, CreateOutcome> {
        Box::pin(async move {
            match cluster(&intent.scope) {
                Ok(cluster) => {
                    let turn = self.client.turn(call);
                    self.add_worker(&turn, cluster, intent).await
                }
                Err(error) => CreateOutcome::Rejected(error),
            }
        })
    }

    fn delete<'a>(
        &'a self,
        call: &'a Call,
        target: &'a DeleteTarget,
    ) -> BoxFuture<'a, DeleteOutcome> {
        Box::pin(async move {
            match cluster(&target.scope) {
                Ok(cluster) => {
                    let turn = self.client.turn(call);
                    self.delete_worker(&turn, cluster, target).await
                }
                Err(error) => DeleteOutcome::Rejected(error),
            }
        })
    }
}
