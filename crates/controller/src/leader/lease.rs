//! The election's conversation with the API server.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::{
    api::coordination::v1::{Lease, LeaseSpec},
    apimachinery::pkg::apis::meta::v1::MicroTime,
};
use kube::{Api, Client, api::PostParams, core::ObjectMeta};
use runtime::watch;
use runtime::{Clock, Randomness};
use tokio_util::sync::CancellationToken;

use super::{
    LeaderGuard,
    election::{Election, Record, Times, Try},
};

/// No call of the election takes longer.
const TIMEOUT: Duration = Duration::from_secs(3);

/// How to be elected.
#[derive(Clone, Debug)]
pub struct Options {
    /// Without election every replica believes it leads; for single replicas only.
    pub enabled: bool,
    /// The Lease's namespace.
    pub namespace: String,
    /// The Lease's name.
    pub name: String,
    /// This replica's name; unique among replicas.
    pub identity: String,
    /// The times.
    pub times: Times,
}

/// Where this replica stands.
#[derive(Clone, Debug)]
pub enum Leadership {
    /// Another replica leads, or nobody yet.
    Standby,
    /// This one does, under this guard.
    Leading(LeaderGuard),
    /// It did, and lost it: the process should end.
    Lost,
}

/// One candidate.
#[derive(Debug)]
pub struct Leader {
    api: Option<Api<Lease>>,
    clock: Clock,
    random: Randomness,
    options: Options,
    state: watch::Sender<Leadership>,
}

impl Leader {
    /// A candidate. `client` must not retry by itself: a retry inside would outlive the deadline.
    #[must_use]
    pub fn new(client: Client, clock: Clock, random: Randomness, options: Options) -> Self {
        let api = options
            .enabled
            .then(|| Api::namespaced(client, &options.namespace));
        Self {
            api,
            clock,
            random,
            options,
            state: watch::Sender::new(Leadership::Standby),
        }
    }

    /// Follows this replica's standing.
    #[must_use]
    pub fn subscribe(&self) -> watch::Receiver<Leadership> {
        self.state.subscribe()
    }

    /// Campaigns, then renews, until the lease is lost or `stop` is called. On `stop` the lease is
    /// released: call it only when nothing of this replica acts any more.
    pub async fn run(&self, stop: CancellationToken) {
        let Some(api) = &self.api else {
            let guard = LeaderGuard::always(self.clock.clone());
            self.state.send_replace(Leadership::Leading(guard));
            stop.cancelled().await;
            return;
        };
        let mut election = Election::new(self.options.identity.clone(), self.options.times);
        let mut guard: Option<LeaderGuard> = None;
        loop {
            let turn = self.turn(api, &mut election, &mut guard);
            // A term that runs out while a call hangs must end on time.
            match self.clock.timeout(TIMEOUT * 2, turn).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::warn!(%error, "the lease could not be written"),
                Err(_) => tracing::warn!("no answer about the lease"),
            }
            if election.lost(self.clock.monotonic()) {
                if let Some(guard) = &guard {
                    guard.end();
                }
                tracing::error!(identity = self.options.identity, "leadership lost");
                self.state.send_replace(Leadership::Lost);
                return;
            }
            // A standby only reads, so it may look more often: a released lease is taken within a
            // second.
            let retry = self.options.times.retry_period;
            let pause = if election.leads() { retry } else { retry / 4 };
            let pause = pause + self.random.between(Duration::ZERO, pause / 10);
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                () = self.clock.sleep(pause) => {}
            }
        }
        if let Some(guard) = guard {
            guard.end();
            self.release(api, &election).await;
        }
    }

    async fn turn(
        &self,
        api: &Api<Lease>,
        election: &mut Election,
        guard: &mut Option<LeaderGuard>,
    ) -> Result<(), LeaseError> {
        let found = self
            .clock
            .timeout(TIMEOUT, api.get_opt(&self.options.name))
            .await??;
        let begun = self.clock.monotonic();
        let next = election.observed(begun, found.as_ref().map(record));
        let (lease, create) = match next {
            Try::Wait => return Ok(()),
            Try::Create(term) => (self.lease(None, term), true),
            Try::Acquire(seen) => (self.lease(found.as_ref(), seen.transitions + 1), false),
            Try::Renew(seen) => (self.lease(found.as_ref(), seen.transitions), false),
        };
        let params = PostParams::default();
        let written = if create {
            self.clock
                .timeout(TIMEOUT, api.create(&params, &lease))
                .await?
        } else {
            self.clock
                .timeout(TIMEOUT, api.replace(&self.options.name, &params, &lease))
                .await?
        };
        let written = match written {
            Ok(written) => written,
            // Somebody was faster: look again next time.
            Err(kube::Error::Api(status)) if status.code == 409 => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        let (epoch, valid_until) = election.succeeded(begun, record(&written));
        if let Some(guard) = guard.as_ref().filter(|guard| guard.epoch() == epoch) {
            guard.extend(valid_until);
        } else {
            tracing::info!(identity = self.options.identity, epoch, "leading");
            let watched_until = found
                .as_ref()
                .and_then(|lease| lease.spec.as_ref()?.renew_time.as_ref())
                .map(|time| time.0);
            let clock = self.clock.clone();
            let new = LeaderGuard::new(epoch, clock, valid_until, watched_until);
            if let Some(old) = guard.replace(new.clone()) {
                old.end();
            }
            self.state.send_replace(Leadership::Leading(new));
        }
        Ok(())
    }

    fn lease(&self, found: Option<&Lease>, transitions: u64) -> Lease {
        let now = self.clock.now();
        let acquired = found
            .and_then(|lease| lease.spec.as_ref())
            .filter(|spec| spec.holder_identity.as_deref() == Some(&self.options.identity))
            .and_then(|spec| spec.acquire_time.clone());
        let seconds = self.options.times.lease_duration.as_secs();
        Lease {
            metadata: ObjectMeta {
                name: Some(self.options.name.clone()),
                namespace: Some(self.options.namespace.clone()),
                resource_version: found.and_then(|l| l.metadata.resource_version.clone()),
                ..found
                    .map(|lease| lease.metadata.clone())
                    .unwrap_or_default()
            },
            spec: Some(LeaseSpec {
                holder_identity: Some(self.options.identity.clone()),
                lease_duration_seconds: i32::try_from(seconds).ok(),
                acquire_time: acquired.or(Some(MicroTime(now))),
                renew_time: Some(MicroTime(now)),
                lease_transitions: i32::try_from(transitions).ok(),
                ..LeaseSpec::default()
            }),
        }
    }

    /// Gives the lease away so that a standby takes it at once.
    async fn release(&self, api: &Api<Lease>, election: &Election) {
        if !election.leads() {
            return;
        }
        let found = self
            .clock
            .timeout(TIMEOUT, api.get_opt(&self.options.name))
            .await;
        let Ok(Ok(Some(mut lease))) = found else {
            return;
        };
        if record(&lease).holder != self.options.identity {
            return;
        }
        if let Some(spec) = &mut lease.spec {
            spec.holder_identity = Some(String::new());
            spec.lease_duration_seconds = Some(1);
            spec.renew_time = Some(MicroTime(self.clock.now()));
        }
        let params = PostParams::default();
        let call = api.replace(&self.options.name, &params, &lease);
        if let Ok(Err(error)) = self.clock.timeout(TIMEOUT, call).await {
            tracing::warn!(%error, "the lease was not released; it will expire");
        }
    }
}

fn record(lease: &Lease) -> Record {
    let spec = lease.spec.clone().unwrap_or_default();
    Record {
        holder: spec.holder_identity.unwrap_or_default(),
        renewed: spec
            .renew_time
            .map_or(Timestamp::UNIX_EPOCH, |time| time.0)
            .to_string(),
        transitions: u64::try_from(spec.lease_transitions.unwrap_or(0)).unwrap_or_default(),
        version: lease.metadata.resource_version.clone().unwrap_or_default(),
    }
}

#[derive(Debug, thiserror::Error)]
enum LeaseError {
    #[error("no answer in time")]
    Timeout(#[from] runtime::Elapsed),
    #[error(transparent)]
    Kubernetes(#[from] kube::Error),
}
