//! What is known of the cloud: the latest observation of each scope and the catalogue of each
//! datacenter, kept by one loop so that every decision shares the same few requests.
//!
//! Absence is counted here: a machine is missing since the first *complete* observation without
//! it. The count lives in memory only; a restart begins it anew, which can only delay.
//!
//! Without credentials nothing is learnt, and that is no answer of the cloud: it is asked again as
//! soon as there are some.

#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use cloud::{Call, Catalogue, CloudError, CloudProvider, ErrorClass, Permit, Scope};
use futures::future::join_all;
use model::{DatacenterId, InstanceId, Observation};
use planner::collect::Roll;
use runtime::watch;
use runtime::{Clock, Randomness};
use tokio::sync::Notify;

use crate::pulse::Beat;

/// How often the cloud is looked at.
#[derive(Clone, Debug)]
pub struct Pace {
    /// While something is awaited there.
    pub busy: Duration,
    /// While nothing is.
    pub idle: Duration,
    /// Never more often than this, whoever asks.
    pub floor: Duration,
    /// One observation may take this long, waiting for the rate limit included.
    pub timeout: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            busy: Duration::from_secs(10),
            idle: Duration::from_mins(1),
            floor: Duration::from_secs(2),
            timeout: Duration::from_mins(1),
        }
    }
}

/// A machine that belongs to us and is missing from the listing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Absence {
    /// Clock readings ([`Clock::monotonic`]) of the first and the last observation without it.
    since: Duration,
    last: Duration,
    sightings: u32,
}

#[derive(Debug, Default)]
struct ScopeState {
    latest: Option<Arc<Observation>>,
    error: Option<CloudError>,
    defects: Vec<String>,
    absent: BTreeMap<InstanceId, Absence>,
    roll: Arc<Roll>,
    /// Clock readings ([`Clock::monotonic`]).
    looked_at: Option<Duration>,
    wanted: bool,
    busy: bool,
}

#[derive(Debug, Default)]
struct Inner {
    scopes: BTreeMap<Scope, ScopeState>,
    catalogues: BTreeMap<DatacenterId, Arc<Catalogue>>,
    catalogue_errors: BTreeMap<DatacenterId, CloudError>,
    datacenters: Option<Arc<Vec<cloud::Datacenter>>>,
    /// Clock reading ([`Clock::monotonic`]).
    catalogue_read_at: Option<Duration>,
    asked_for_catalogues: bool,
    /// There are credentials, and how many times they came into force.
    credentials: bool,
    era: u64,
    tracked: BTreeMap<Scope, BTreeSet<InstanceId>>,
    watched_datacenters: BTreeSet<DatacenterId>,
}

/// Shared, cheap to clone.
#[derive(Clone)]
pub struct CloudState {
    provider: Arc<dyn CloudProvider>,
    clock: Clock,
    random: Randomness,
    pace: Pace,
    inner: Arc<Mutex<Inner>>,
    wake: Arc<Notify>,
    version: Arc<watch::Sender<u64>>,
}

/// How often the catalogue is asked for; the provider itself caches for longer.
const CATALOGUE_PERIOD: Duration = Duration::from_mins(10);
/// While a catalogue is missing altogether.
const CATALOGUE_RETRY: Duration = Duration::from_secs(15);

impl CloudState {
    /// Nothing known yet, and no credentials in force.
    #[must_use]
    pub fn new(
        provider: Arc<dyn CloudProvider>,
        clock: Clock,
        random: Randomness,
        pace: Pace,
    ) -> Self {
        Self {
            provider,
            clock,
            random,
            pace,
            inner: Arc::default(),
            wake: Arc::default(),
            version: Arc::new(watch::Sender::new(0)),
        }
    }

    /// What the cloud can do.
    #[must_use]
    pub fn capabilities(&self) -> cloud::Capabilities {
        self.provider.capabilities()
    }

    /// Changes whenever an observation or a catalogue arrived.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.version.subscribe()
    }

    /// An id by which logs, the audit log and the cloud's own tell one request from another.
    #[must_use]
    pub fn request_id(&self) -> Arc<str> {
        self.random.uuid_at(self.clock.now()).to_string().into()
    }

    /// A call with a request id of its own.
    #[must_use]
    pub fn call(&self, timeout: Duration) -> Call {
        Call {
            request_id: self.request_id(),
            timeout,
            permit: Permit::default(),
        }
    }

    /// Which machines are ours, by scope (their absence is counted), which scopes something is
    /// awaited in, and which datacenters' catalogues are needed.
    pub fn track(
        &self,
        machines: BTreeMap<Scope, BTreeSet<InstanceId>>,
        busy: &BTreeSet<Scope>,
        datacenters: BTreeSet<DatacenterId>,
    ) {
        let mut inner = self.lock();
        let scopes: BTreeSet<Scope> = machines.keys().cloned().collect();
        inner.scopes.retain(|scope, _| scopes.contains(scope));
        for scope in scopes {
            let is_busy = busy.contains(&scope);
            let state = inner.scopes.entry(scope).or_default();
            if is_busy && !state.busy {
                self.wake.notify_one();
            }
            state.busy = is_busy;
        }
        if datacenters != inner.watched_datacenters || inner.tracked.len() != machines.len() {
            self.wake.notify_one();
        }
        inner.tracked = machines;
        inner.watched_datacenters = datacenters;
    }

    /// Asks for a newer observation than the present one.
    pub fn refresh(&self, scope: &Scope) {
        if let Some(state) = self.lock().scopes.get_mut(scope) {
            state.wanted = true;
            self.wake.notify_one();
        }
    }

    /// The latest complete observation of `scope`.
    #[must_use]
    pub fn latest(&self, scope: &Scope) -> Option<Arc<Observation>> {
        self.lock()
            .scopes
            .get(scope)
            .and_then(|state| state.latest.clone())
    }

    /// The latest complete observation of `scope`, and who was there how often up to it.
    #[must_use]
    pub fn roll(&self, scope: &Scope) -> Option<(Arc<Observation>, Arc<Roll>)> {
        let inner = self.lock();
        let state = inner.scopes.get(scope)?;
        Some((state.latest.clone()?, Arc::clone(&state.roll)))
    }

    /// Since when and how often `instance` was missing from complete observations, without a
    /// break.
    #[must_use]
    pub fn missing(&self, scope: &Scope, instance: &InstanceId) -> Option<(Duration, u32)> {
        self.lock()
            .scopes
            .get(scope)
            .and_then(|state| state.absent.get(instance))
            .map(|absence| {
                let since = absence.last.saturating_sub(absence.since);
                (since, absence.sightings)
            })
    }

    /// Why the latest pass over `scope` taught nothing, or not everything.
    #[must_use]
    pub fn trouble(&self, scope: &Scope) -> Option<String> {
        let inner = self.lock();
        let state = inner.scopes.get(scope)?;
        match &state.error {
            Some(error) => Some(error.to_string()),
            None if state.defects.is_empty() => None,
            None => Some(state.defects.join("; ")),
        }
    }

    /// The sizes sold in `datacenter`.
    #[must_use]
    pub fn catalogue(&self, datacenter: &DatacenterId) -> Option<Arc<Catalogue>> {
        self.lock().catalogues.get(datacenter).cloned()
    }

    /// Other credentials are in force now, or none. What failed before is asked again at once.
    pub fn note_credentials(&self, in_force: bool) {
        let mut inner = self.lock();
        inner.credentials = in_force;
        if !in_force {
            return;
        }
        inner.era += 1;
        inner.catalogue_read_at = None;
        for state in inner.scopes.values_mut() {
            state.wanted = true;
            if state.error.is_some() {
                state.looked_at = None;
            }
        }
        self.wake.notify_one();
    }

    /// The catalogues have been asked for at least once with credentials in force, whatever came
    /// of it.
    #[must_use]
    pub fn has_asked_for_catalogues(&self) -> bool {
        self.lock().asked_for_catalogues
    }

    /// Why the catalogue of `datacenter` could not be read.
    #[must_use]
    pub fn catalogue_error(&self, datacenter: &DatacenterId) -> Option<CloudError> {
        self.lock().catalogue_errors.get(datacenter).cloned()
    }

    /// Observes until dropped. Run it only while leading: a standby spends no request.
    pub async fn run(&self, beat: &Beat) {
        loop {
            let now = self.clock.monotonic();
            let (due, next) = self.due(now);
            if due.is_empty() && next > now {
                let pause = next.saturating_sub(now).max(Duration::from_millis(100));
                beat.waiting(async {
                    tokio::select! {
                        biased;
                        () = self.wake.notified() => {}
                        () = self.clock.sleep(pause) => {}
                    }
                })
                .await;
                continue;
            }
            beat.beat();
            join_all(due.iter().map(|scope| self.observe(scope))).await;
            let catalogues_at = self.lock().catalogues_at();
            if catalogues_at.is_some_and(|at| at <= self.clock.monotonic()) {
                self.read_catalogues(beat).await;
            }
        }
    }

    /// The scopes to look at now, and when there is something to do that is not one of them.
    fn due(&self, now: Duration) -> (Vec<Scope>, Duration) {
        let inner = self.lock();
        let mut due = Vec::new();
        let mut next = now + self.pace.idle;
        next = next.min(inner.catalogues_at().unwrap_or(next));
        for (scope, state) in &inner.scopes {
            let at = match state.looked_at {
                None => now,
                Some(looked_at) if state.wanted => looked_at + self.pace.floor,
                Some(looked_at) if state.busy => looked_at + self.pace.busy,
                Some(looked_at) => looked_at + self.pace.idle,
            };
            if at <= now {
                due.push(scope.clone());
            } else {
                next = next.min(at);
            }
        }
        (due, next)
    }

    async fn observe(&self, scope: &Scope) {
        let era = {
            let mut inner = self.lock();
            if let Some(state) = inner.scopes.get_mut(scope) {
                state.wanted = false;
            }
            inner.era
        };
        let call = self.call(self.pace.timeout);
        let began = self.clock.monotonic();
        let outcome = self.provider.observe(&call, scope).await;
        let mut inner = self.lock();
        let tracked = inner.tracked.get(scope).cloned().unwrap_or_default();
        let same_credentials = inner.era == era;
        let Some(state) = inner.scopes.get_mut(scope) else {
            return;
        };
        // Asked with credentials that are out of force by now: it is asked anew.
        if outcome.is_ok() || same_credentials {
            state.looked_at = Some(self.clock.monotonic());
        }
        match outcome {
            Ok(observation) => {
                state.error = None;
                state.defects.clone_from(&observation.defects);
                if observation.complete {
                    count_absences(&mut state.absent, &tracked, &observation, began);
                    let arrived = self.clock.now();
                    Arc::make_mut(&mut state.roll).note(&observation, &tracked, arrived, began);
                    state.latest = Some(Arc::new(observation));
                }
            }
            Err(error) => {
                tracing::warn!(
                    request_id = %call.request_id,
                    error = %error,
                    class = error.class.name(),
                    "the cloud could not be observed"
                );
                state.error = Some(error);
            }
        }
        drop(inner);
        self.version.send_modify(|version| *version += 1);
    }

    async fn read_catalogues(&self, beat: &Beat) {
        beat.beat();
        let (watched, era) = {
            let inner = self.lock();
            (inner.watched_datacenters.clone(), inner.era)
        };
        let call = self.call(self.pace.timeout);
        let datacenters = self.provider.datacenters(&call).await.ok().map(Arc::new);
        for datacenter in &watched {
            beat.beat();
            let call = self.call(self.pace.timeout);
            let outcome = match resolve_datacenter(datacenters.as_deref(), datacenter) {
                Ok(id) => self.provider.catalogue(&call, &id).await,
                Err(error) => Err(error),
            };
            let mut inner = self.lock();
            match outcome {
                Ok(catalogue) => {
                    inner.catalogue_errors.remove(datacenter);
                    inner
                        .catalogues
                        .insert(datacenter.clone(), Arc::new(catalogue));
                }
                Err(error) => {
                    tracing::warn!(%datacenter, %error, "the catalogue could not be read");
                    inner.catalogue_errors.insert(datacenter.clone(), error);
                }
            }
        }
        let mut inner = self.lock();
        if datacenters.is_some() {
            inner.datacenters = datacenters;
        }
        if inner.era == era {
            inner.catalogue_read_at = Some(self.clock.monotonic());
            inner.asked_for_catalogues |= inner.credentials;
        }
        drop(inner);
        self.version.send_modify(|version| *version += 1);
    }

    /// The datacenters, once they could be read.
    #[must_use]
    pub fn datacenters(&self) -> Option<Arc<Vec<cloud::Datacenter>>> {
        self.lock().datacenters.clone()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    /// When the catalogues are to be asked for: the beginning of time where they never were.
    fn catalogues_at(&self) -> Option<Duration> {
        let mut watched = self.watched_datacenters.iter().peekable();
        watched.peek()?;
        let missing = watched.any(|datacenter| !self.catalogues.contains_key(datacenter));
        let period = if missing {
            CATALOGUE_RETRY
        } else {
            CATALOGUE_PERIOD
        };
        Some(
            self.catalogue_read_at
                .map_or(Duration::ZERO, |at| at + period),
        )
    }
}

/// Users name a datacenter by its UUID or by its name; a name nobody has is an error that says so.
fn resolve_datacenter(
    known: Option<&Vec<cloud::Datacenter>>,
    asked: &DatacenterId,
) -> Result<DatacenterId, CloudError> {
    let Some(known) = known else {
        return Ok(asked.clone());
    };
    known
        .iter()
        .find(|datacenter| {
            datacenter.id.as_str().eq_ignore_ascii_case(asked.as_str())
                || datacenter.name.eq_ignore_ascii_case(asked.as_str())
        })
        .map(|datacenter| datacenter.id.clone())
        .ok_or_else(|| {
            CloudError::new(
                format!("looking up datacenter {asked}"),
                ErrorClass::NotFound,
                "the cloud has no datacenter of this id or name",
            )
        })
}

fn count_absences(
    absent: &mut BTreeMap<InstanceId, Absence>,
    tracked: &BTreeSet<InstanceId>,
    observation: &Observation,
    began: Duration,
) {
    let listed = observation.ids();
    absent.retain(|id, _| tracked.contains(id) && !listed.contains(id));
    for id in tracked.difference(&listed) {
        let absence = absent.entry(id.clone()).or_insert(Absence {
            since: began,
            last: began,
            sightings: 0,
        });
        absence.last = began;
        absence.sightings += 1;
    }
}
