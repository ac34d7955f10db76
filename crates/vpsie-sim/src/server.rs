//! The simulator itself: the way of a request through faults, rate limit, authentication and the
//! endpoints; and the levers of a person at the control panel.
//!
//! A request is worked on by a task of the server: a caller that goes away, or times out, undoes
//! nothing. No lock is held across a wait.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use jiff::{SignedDuration, Timestamp, fmt::rfc2822::DateTimePrinter};
use runtime::{Clock, Randomness, Tasks};
use tokio::sync::{
    mpsc::{UnboundedReceiver, unbounded_channel},
    oneshot,
};

use crate::{
    config::{Config, Credentials},
    distort::distort,
    fault::{Fault, FaultScript, Faults, RetryAfter},
    journal::{Happening, Order, Outcome, Recording, Request, What},
    ledger::Ledger,
    machine::{Machine, MachineEvent, Origin},
    reply::{Body, Call, Reply, pairs},
    route::Route,
    state::{State, Streams},
};

/// The connection broke before a whole answer arrived.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the connection was lost")]
pub struct ConnectionLost;

/// Marks a response that breaks off half-way; its `Content-Length` is that of the whole.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BreaksOff;

/// A group as it is, whatever the lists say.
#[derive(Clone, PartialEq, Eq, Debug, serde::Serialize)]
pub struct Pool {
    /// Numeric id.
    pub id: i64,
    /// UUID.
    pub identifier: String,
    /// Name.
    pub name: String,
    /// UUID of its cluster.
    pub cluster: String,
    /// Numeric id of its size.
    pub size: i64,
    /// UUIDs of its live workers, oldest first.
    pub workers: Vec<String>,
}

/// The simulated VPSie API; clones share one account.
#[derive(Clone, Debug)]
pub struct VpsieSim(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    clock: Clock,
    tasks: Tasks,
    faults: FaultScript,
    /// The clock's reading at the start of the simulation.
    start: Duration,
    disorder: Randomness,
    state: Mutex<State>,
}

impl VpsieSim {
    /// A simulator whose machines live by `clock`, whose draws come from `random`, and whose work
    /// runs in `tasks` (stopping or aborting them ends it).
    #[must_use]
    pub fn new(config: Config, clock: Clock, random: Randomness, tasks: Tasks) -> Self {
        let faults = FaultScript::new(random.fork("faults"), config.faults.clone());
        let state = State::new(config, Streams::new(&random), clock.now());
        Self(Arc::new(Inner {
            start: clock.monotonic(),
            faults,
            disorder: random,
            state: Mutex::new(state),
            clock,
            tasks,
        }))
    }

    /// Answers one request, in-process. A slow answer takes long on the clock.
    ///
    /// # Errors
    /// [`ConnectionLost`] when a fault breaks the connection, or the server's tasks are aborted.
    /// The request may have been carried out all the same.
    pub async fn handle(
        &self,
        request: http::Request<Bytes>,
    ) -> Result<http::Response<Bytes>, ConnectionLost> {
        let call = self.arrive(&request);
        let (answer, answered) = oneshot::channel();
        let sim = self.clone();
        self.0.tasks.spawn("vpsie request", async move {
            // Nobody listens any more when the caller went away.
            let _ = answer.send(sim.work(call).await);
        });
        answered.await.unwrap_or(Err(ConnectionLost))
    }

    /// Journals a request and decides which faults strike it, in the order of arrival.
    fn arrive(&self, request: &http::Request<Bytes>) -> Call {
        let path = request.uri().path();
        let mut state = self.lock();
        let local = state
            .config
            .prefixes
            .iter()
            .find_map(|prefix| path.strip_prefix(prefix.as_str()));
        let (route, values) = match local {
            Some(local) => Route::find(request.method(), local),
            None => (Route::Unknown, Vec::new()),
        };
        let header = |name: &str| {
            let value = request.headers().get(name)?.to_str().ok()?;
            Some(value.to_owned())
        };
        let seq = state.journal.len() as u64 + 1;
        let at = state.timestamp(state.now);
        state.journal.push(Request {
            seq,
            at,
            method: request.method().to_string(),
            route,
            path: path.to_owned(),
            actor: header("user-agent").unwrap_or_default(),
            request_id: header("x-request-id"),
            status: None,
            outcome: Outcome::InFlight,
            committed: Vec::new(),
        });
        if route.is_write() {
            let body: serde_json::Value =
                serde_json::from_slice(request.body()).unwrap_or_default();
            state.recorded(|| What::Asked {
                seq,
                actor: header("x-sim-actor")
                    .or_else(|| header("user-agent"))
                    .unwrap_or_default(),
                route,
                values: values.clone(),
                machine: body["identifier"].as_str().map(str::to_owned),
            });
        }
        Call {
            seq,
            route,
            values,
            query: request.uri().query().map(pairs).unwrap_or_default(),
            headers: request.headers().clone(),
            body: request.body().clone(),
            faults: self.0.faults.strike(route),
            latency: state.config.latency.draw(&state.streams.latency),
        }
    }

    async fn work(&self, call: Call) -> Result<http::Response<Bytes>, ConnectionLost> {
        let slow = |after: bool| {
            call.faults.find(|fault| match fault {
                Fault::Slow { by, after_commit } if *after_commit == after => Some(*by),
                _ => None,
            })
        };
        let late = call.faults.find(|fault| match fault {
            Fault::LateCommit { by } => Some(*by),
            _ => None,
        });
        self.wait(call.latency + slow(false).unwrap_or_default())
            .await;
        if call.faults.has(&Fault::ResetBeforeCommit) {
            self.finish(&call, None, Outcome::Reset);
            return Err(ConnectionLost);
        }
        if let Some(by) = late {
            self.finish(&call, None, Outcome::Lost);
            let sim = self.clone();
            self.0.tasks.spawn("vpsie late commit", async move {
                sim.0.clock.sleep(by).await;
                sim.carry_out(&call);
            });
            return Err(ConnectionLost);
        }
        let reply = self.carry_out(&call);
        self.wait(call.latency + slow(true).unwrap_or_default())
            .await;
        let outcome = if call.faults.has(&Fault::LostResponseAfterCommit) {
            Outcome::Lost
        } else if call.faults.has(&Fault::Truncated) {
            Outcome::Truncated
        } else {
            Outcome::Answered
        };
        self.finish(&call, Some(reply.status), outcome);
        match outcome {
            Outcome::Lost => Err(ConnectionLost),
            outcome => Ok(self.respond(&call, reply, outcome == Outcome::Truncated)),
        }
    }

    /// Not waiting at all keeps a request without latency in one turn of its task.
    async fn wait(&self, duration: Duration) {
        if !duration.is_zero() {
            self.0.clock.sleep(duration).await;
        }
    }

    /// Decides the answer and lets the request take effect, at this moment.
    fn carry_out(&self, call: &Call) -> Reply {
        let mut state = self.lock();
        let mut reply = decide(&mut state, call);
        let shuffled = state.config.shuffled_rows;
        distort(&mut reply, &call.faults, shuffled, &self.0.disorder);
        if let Some(request) = state.journal.get_mut(call.seq as usize - 1) {
            request.committed.clone_from(&reply.committed);
            let late = request.outcome != Outcome::InFlight;
            if late && !reply.committed.is_empty() {
                let committed = reply.committed.join(", ");
                state.note(&format!(
                    "late commit of request {} [{committed}]",
                    call.seq
                ));
            }
        }
        self.set_alarms(&mut state);
        reply
    }

    fn finish(&self, call: &Call, status: Option<StatusCode>, outcome: Outcome) {
        let mut state = self.lock();
        let Some(request) = state.journal.get_mut(call.seq as usize - 1) else {
            return;
        };
        request.status = status.map(|status| status.as_u16());
        request.outcome = outcome;
        let status = request
            .status
            .map_or_else(|| "-".to_owned(), |s| s.to_string());
        let committed = request.committed.join(", ");
        let line = format!(
            "request {} {} {} {} -> {status} {outcome:?} [{committed}]",
            request.seq, request.method, request.path, request.actor
        );
        tracing::debug!(target: "vpsie_sim", "{line}");
        state.note(&line);
    }

    fn respond(&self, call: &Call, reply: Reply, truncated: bool) -> http::Response<Bytes> {
        let (content_type, body) = match reply.body {
            Body::Json(value) => ("application/json; charset=utf-8", value.to_string()),
            Body::Raw { content_type, text } => (content_type, text),
        };
        let mut bytes = Bytes::from(body);
        let mut response = http::Response::new(Bytes::new());
        *response.status_mut() = reply.status;
        let headers = response.headers_mut();
        let now = self.0.clock.now();
        let shown = now.saturating_add(call.faults.skew()).unwrap_or(now);
        set(headers, header::CONTENT_TYPE, content_type);
        set(headers, header::DATE, &http_date(shown));
        set(headers, header::CONTENT_LENGTH, &bytes.len().to_string());
        if let Some(when) = &reply.retry_after {
            set(headers, header::RETRY_AFTER, when);
        }
        if let Some(id) = call.headers.get("x-request-id") {
            headers.insert("x-request-id", id.clone());
        }
        if truncated {
            bytes.truncate(bytes.len() / 2);
            response.extensions_mut().insert(BreaksOff);
        }
        *response.body_mut() = bytes;
        response
    }

    /// Starts the timers for what was scheduled since the last call.
    fn set_alarms(&self, state: &mut State) {
        for alarm in std::mem::take(&mut state.alarms) {
            let sim = self.clone();
            self.0.tasks.spawn("vpsie machine", async move {
                // With a scaled clock a timer may fire a rounding error too early.
                while sim.elapsed() < alarm.at {
                    sim.0.clock.sleep_until(sim.0.start + alarm.at).await;
                }
                sim.lock().wake(alarm.machine);
            });
        }
    }

    fn elapsed(&self) -> Duration {
        self.0.clock.monotonic().saturating_sub(self.0.start)
    }

    /// The state, brought to the present moment.
    fn lock(&self) -> MutexGuard<'_, State> {
        let mut state = self.0.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.now = state.now.max(self.elapsed());
        state
    }

    pub(crate) fn tasks(&self) -> &Tasks {
        &self.0.tasks
    }
}

/// What a test or the world can see and do besides calling the API.
impl VpsieSim {
    /// Every machine there ever was, oldest first, control planes included: the truth.
    #[must_use]
    pub fn machines(&self) -> Vec<Machine> {
        let state = self.lock();
        let machines = state.machines.values();
        machines.map(|record| state.machine(record)).collect()
    }

    /// The groups of a cluster that are not deleted, oldest first.
    #[must_use]
    pub fn pools(&self, cluster: &str) -> Vec<Pool> {
        let state = self.lock();
        let groups = state.groups.values();
        groups
            .filter(|group| group.cluster == cluster && !group.is_deleted_at(state.now))
            .map(|group| Pool {
                id: group.id,
                identifier: group.identifier.clone(),
                name: group.name.clone(),
                cluster: group.cluster.clone(),
                size: group.size.id,
                workers: state
                    .live_workers(cluster)
                    .filter(|record| record.group == Some(group.id))
                    .map(|record| record.uuid.clone())
                    .collect(),
            })
            .collect()
    }

    /// What happens to machines from now on. Machines that are there from the start are not
    /// announced.
    #[must_use]
    pub fn subscribe(&self) -> UnboundedReceiver<MachineEvent> {
        let (sender, receiver) = unbounded_channel();
        self.lock().subscribers.push(sender);
        receiver
    }

    /// The fault rules.
    #[must_use]
    pub fn faults(&self) -> &FaultScript {
        &self.0.faults
    }

    /// Every request so far, in the order of arrival.
    #[must_use]
    pub fn journal(&self) -> Vec<Request> {
        self.lock().journal.clone()
    }

    /// What was paid so far.
    #[must_use]
    pub fn ledger(&self) -> Ledger {
        self.lock().ledger()
    }

    /// Everything that happened, a line each; equal for equal seeds and equal requests.
    #[must_use]
    pub fn trace(&self) -> Vec<String> {
        self.lock().trace.clone()
    }

    /// From now on keeps every request that may change something and whatever becomes of machines,
    /// numbered by `order`.
    pub fn record(&self, order: Order) {
        self.lock().recording = Some(Recording::new(order));
    }

    /// What was kept since [`Self::record`].
    #[must_use]
    pub fn recorded(&self) -> Vec<Happening> {
        let state = self.lock();
        let kept = state.recording.as_ref();
        kept.map_or_else(Vec::new, |recording| recording.happenings.clone())
    }

    /// The settings in force.
    #[must_use]
    pub fn config(&self) -> Config {
        self.lock().config.clone()
    }

    /// Changes settings from now on (prices, shapes, limits, sizes on offer). Clusters and groups
    /// added here do not get their initial machines.
    pub fn reconfigure(&self, change: impl FnOnce(&mut Config)) {
        change(&mut self.lock().config);
    }

    /// A person adds a worker at the control panel. The worker cap does not hinder them. `None`
    /// when the cluster has no such group.
    pub fn human_add_worker(&self, cluster: &str, pool: i64) -> Option<Machine> {
        let mut state = self.lock();
        let group = state.live_group(cluster, pool)?;
        let id = state.buy_worker(&group, Origin::Human, &Faults::default());
        self.set_alarms(&mut state);
        state.machines.get(&id).map(|record| state.machine(record))
    }

    /// A person adds a group at the control panel. `None` when the cluster or the size is unknown.
    pub fn human_add_group(&self, cluster: &str, name: &str, size: i64) -> Option<i64> {
        let mut state = self.lock();
        let cluster = state.cluster(cluster)?.clone();
        let size = state.size_in(&cluster.datacenter, size)?.clone();
        Some(state.add_group(&cluster, name, size))
    }

    /// A person deletes a machine at the control panel. False when there is no such live machine.
    pub fn human_delete(&self, uuid: &str) -> bool {
        let mut state = self.lock();
        let found = state.machines.values().find(|record| record.uuid == uuid);
        let Some(id) = found.map(|record| record.id) else {
            return false;
        };
        let deleted = state.delete(id, Origin::Human);
        self.set_alarms(&mut state);
        deleted
    }

    /// Sets how many workers a cluster may have at once. Workers above it stay.
    pub fn set_worker_cap(&self, cluster: &str, cap: Option<u32>) {
        let mut state = self.lock();
        let clusters = state.config.clusters.iter_mut();
        for found in clusters.filter(|found| found.identifier == cluster) {
            found.worker_cap = cap;
        }
    }

    /// Sells a size (by numeric id) no more, or again.
    pub fn set_sold_out(&self, size: i64, sold_out: bool) {
        let mut state = self.lock();
        if sold_out {
            state.sold_out.insert(size);
        } else {
            state.sold_out.remove(&size);
        }
    }

    /// Every issued access token expires now.
    pub fn expire_tokens(&self) {
        self.lock().account.expire_all();
    }

    /// No credential is accepted any more, issued tokens included.
    pub fn revoke_credentials(&self) {
        self.rotate_credentials(Credentials {
            token: None,
            client_id: None,
            client_secret: None,
            ..self.config().credentials
        });
    }

    /// Only these credentials are accepted from now on; issued tokens expire.
    pub fn rotate_credentials(&self, credentials: Credentials) {
        let mut state = self.lock();
        state.config.credentials = credentials;
        state.account.expire_all();
    }
}

/// What this request is answered, and what it changes.
fn decide(state: &mut State, call: &Call) -> Reply {
    let faults = &call.faults;
    if faults.has(&Fault::TokenExpiresNow) {
        state.account.expire_all();
    }
    let instead = faults.find(|fault| match fault {
        Fault::RateLimited { retry_after } => Some(Reply::rate_limited(retry_after_text(
            *retry_after,
            state.timestamp(state.now),
        ))),
        Fault::Unauthorized => Some(Reply::unauthorized()),
        Fault::Html500 => Some(Reply::html(StatusCode::INTERNAL_SERVER_ERROR)),
        Fault::Html502 {
            after_commit: false,
        } => Some(Reply::html(StatusCode::BAD_GATEWAY)),
        Fault::BusinessText500 { message } => Some(Reply::failure(
            StatusCode::INTERNAL_SERVER_ERROR,
            message.clone(),
        )),
        Fault::ErrorTrue200 { message } => Some(Reply::failure_with_200(message.clone())),
        Fault::NotFound404 { message } => {
            Some(Reply::failure(StatusCode::NOT_FOUND, message.clone()))
        }
        _ => None,
    });
    if let Some(instead) = instead {
        return instead;
    }
    let now = state.now;
    if let Some(limit) = state.config.rate_limit.clone()
        && let Err(wait) = state.account.count(limit.per_minute, now)
    {
        let wait = wait.as_millis().div_ceil(1000) as u64;
        let kind = match limit.retry_after {
            RetryAfter::Seconds(_) => RetryAfter::Seconds(wait),
            RetryAfter::Date(_) => RetryAfter::Date(wait),
            other => other,
        };
        return Reply::rate_limited(retry_after_text(kind, state.timestamp(now)));
    }
    let known = call.route == Route::Login
        || state
            .account
            .admits(&call.headers, &state.config.credentials, now);
    if !known {
        return Reply::unauthorized();
    }
    let reply = state.dispatch(call);
    if faults.has(&Fault::Html502 { after_commit: true }) {
        return Reply {
            committed: reply.committed,
            ..Reply::html(StatusCode::BAD_GATEWAY)
        };
    }
    reply
}

/// The `Retry-After` of a 429 sent at `now`.
fn retry_after_text(kind: RetryAfter, now: Timestamp) -> Option<String> {
    match kind {
        RetryAfter::Seconds(seconds) => Some(seconds.to_string()),
        RetryAfter::Date(seconds) => Some(http_date(
            now.saturating_add(SignedDuration::from_secs(seconds as i64))
                .unwrap_or(now),
        )),
        RetryAfter::Missing => None,
        RetryAfter::Absurd => Some("99999999999999".to_owned()),
    }
}

fn set(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}

/// An HTTP date (RFC 9110); years beyond its four digits are written as the epoch.
fn http_date(at: Timestamp) -> String {
    DateTimePrinter::new()
        .timestamp_to_rfc9110_string(&at)
        .unwrap_or_else(|_| "Thu, 01 Jan 1970 00:00:00 GMT".to_owned())
}
