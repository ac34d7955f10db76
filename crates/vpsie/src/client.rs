//! One request to the cloud, with everything that surrounds it: credentials, rate limit, breaker,
//! retries of what may be repeated, classification, and one log line.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use cloud::{Call, CloudError, ErrorClass, Permit};
use http::{HeaderValue, Method, Request, StatusCode};
use jiff::SignedDuration;
use runtime::{Clock, Randomness};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::Value;

use crate::{
    auth::{self, Token, Tokens},
    base_url::{BaseUrl, segment},
    breaker::Breaker,
    classify::{self, Kind, Reply, Verdict},
    credentials::{Credentials, Grant},
    limiter::{Limiter, Priority},
    observer::Observer,
    transport::{Transport, TransportError},
    wire,
};

/// Reads are tried this often.
const TRIES: u32 = 3;
/// The first pause between two tries; doubles, with full jitter.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// What to ask.
#[derive(Clone, Debug)]
pub(crate) struct Ask {
    pub(crate) operation: String,
    pub(crate) method: Method,
    /// With leading slash; segments encoded.
    pub(crate) path: String,
    /// The route's name, without identifiers.
    pub(crate) route: &'static str,
    pub(crate) body: Option<Value>,
    pub(crate) kind: Kind,
    pub(crate) priority: Priority,
    /// May be sent again when no answer came.
    pub(crate) repeatable: bool,
}

/// One call of the caller: however many requests it takes, they end by its deadline.
#[derive(Clone, Debug)]
pub(crate) struct Turn {
    request_id: Arc<str>,
    /// On the monotonic clock.
    deadline: Duration,
    permit: Permit,
}

pub(crate) struct Client {
    transport: Arc<dyn Transport>,
    clock: Clock,
    random: Randomness,
    observer: Arc<dyn Observer>,
    limiter: Limiter,
    breaker: Mutex<Breaker>,
    account: Mutex<Option<Account>>,
    request_timeout: Duration,
    user_agent: HeaderValue,
    skew: Mutex<Option<SignedDuration>>,
}

/// The credentials in force. Replaced whole, so a token never outlives the secret it came from.
#[derive(Clone)]
struct Account {
    credentials: Credentials,
    base: BaseUrl,
    grant: Grant,
    tokens: Arc<Tokens>,
    /// Whether the exchange takes a form (else JSON).
    form: Arc<AtomicBool>,
}

/// How a request proves who asks.
struct Proof {
    header: &'static str,
    scheme: &'static str,
    token: SecretString,
    generation: Option<u64>,
}

/// A request and what must be known to report on it.
struct Sending<'a> {
    turn: &'a Turn,
    operation: &'a str,
    route: &'static str,
    kind: Kind,
    /// What its failure must not repeat.
    secrets: Vec<&'a SecretString>,
}

impl Client {
    pub(crate) fn new(
        transport: Arc<dyn Transport>,
        clock: Clock,
        random: Randomness,
        observer: Arc<dyn Observer>,
        per_minute: u32,
        request_timeout: Duration,
        user_agent: &str,
    ) -> Self {
        Self {
            transport,
            limiter: Limiter::new(clock.clone(), per_minute),
            clock,
            random,
            observer,
            breaker: Mutex::new(Breaker::new()),
            account: Mutex::new(None),
            request_timeout,
            user_agent: HeaderValue::from_str(user_agent)
                .unwrap_or_else(|_| HeaderValue::from_static("vpsie-autoscaler")),
            skew: Mutex::new(None),
        }
    }

    /// Puts `credentials` into force; false: they are the ones in force already, and so are their
    /// tokens.
    pub(crate) fn set_credentials(&self, credentials: Option<&Credentials>) -> bool {
        let mut account = lock(&self.account);
        if account.as_ref().map(|account| &account.credentials) == credentials {
            return false;
        }
        *account = credentials.map(|credentials| Account {
            credentials: credentials.clone(),
            base: credentials.base.clone(),
            grant: credentials.grant.clone(),
            tokens: Arc::default(),
            form: Arc::new(true.into()),
        });
        true
    }

    pub(crate) fn clock(&self) -> &Clock {
        &self.clock
    }

    pub(crate) fn clock_skew(&self) -> Option<i64> {
        lock(&self.skew).map(|skew| skew.as_secs())
    }

    /// Begins a call.
    pub(crate) fn turn(&self, call: &Call) -> Turn {
        Turn {
            request_id: Arc::clone(&call.request_id),
            deadline: self.clock.monotonic().saturating_add(call.timeout),
            permit: call.permit.clone(),
        }
    }

    fn left(&self, turn: &Turn) -> Duration {
        turn.deadline.saturating_sub(self.clock.monotonic())
    }

    /// Asks, until the turn's deadline at most.
    pub(crate) async fn ask(&self, turn: &Turn, ask: Ask) -> Result<Reply, CloudError> {
        let mut pause = FIRST_PAUSE;
        let mut tries = 1;
        loop {
            let sent = AtomicBool::new(false);
            let once = self.once(turn, &ask, &sent);
            let outcome = match self.clock.timeout(self.left(turn), once).await {
                Ok(outcome) => outcome,
                Err(_) => Err(timed_out(&ask, sent.load(Ordering::SeqCst))),
            };
            let error = match outcome {
                Ok(reply) => return Ok(reply),
                Err(error) => error,
            };
            let again = ask.repeatable
                && tries < TRIES
                && matches!(
                    error.class,
                    ErrorClass::Transient | ErrorClass::RateLimited { .. } | ErrorClass::Ambiguous
                );
            let wait = match error.class {
                ErrorClass::RateLimited { after: Some(after) } => after,
                _ => self.random.between(Duration::ZERO, pause),
            };
            if !again || wait >= self.left(turn) {
                return Err(error);
            }
            self.clock.sleep(wait).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
            tries += 1;
        }
    }

    /// One request, and once more after a renewed login when the first was refused with 401: that
    /// is said before anything is done, so even a create may be repeated after it.
    async fn once(&self, turn: &Turn, ask: &Ask, sent: &AtomicBool) -> Result<Reply, CloudError> {
        let account = lock(&self.account).clone().ok_or_else(|| {
            CloudError::new(&ask.operation, ErrorClass::Auth, "there are no credentials")
        })?;
        // Asked before as well, so that nobody waits for a place only to be turned away.
        if !lock(&self.breaker).would_admit(self.clock.monotonic()) {
            return Err(circuit_open(ask));
        }
        let waited = self.limiter.acquire(ask.priority).await;
        if waited > Duration::from_millis(10) {
            self.observer.waited(ask.method.as_str(), waited);
        }
        let (admitted, change) = lock(&self.breaker).admit(self.clock.monotonic());
        self.told(change);
        if !admitted {
            return Err(circuit_open(ask));
        }
        let proof = self.proof(turn, &account, ask, None).await?;
        let generation = proof.generation;
        permitted(turn, ask)?;
        sent.store(true, Ordering::SeqCst);
        match self.send(turn, &account, ask, &proof).await {
            Err(error)
                if error.class == ErrorClass::Auth
                    && error.status != Some(403)
                    && generation.is_some() =>
            {
                sent.store(false, Ordering::SeqCst);
                let proof = self.proof(turn, &account, ask, generation).await?;
                self.limiter.acquire(ask.priority).await;
                permitted(turn, ask)?;
                sent.store(true, Ordering::SeqCst);
                self.send(turn, &account, ask, &proof).await
            }
            outcome => outcome,
        }
    }

    async fn proof(
        &self,
        turn: &Turn,
        account: &Account,
        ask: &Ask,
        refused: Option<u64>,
    ) -> Result<Proof, CloudError> {
        match &account.grant {
            Grant::VpsieAuth(token) => Ok(Proof {
                header: "vpsie-auth",
                scheme: "",
                token: token.clone(),
                generation: None,
            }),
            Grant::Bearer(token) => Ok(bearer(token, None)),
            Grant::Client { id, secret } => {
                // Whoever comes while somebody logs in waits here and finds the token made.
                let mut state = account.tokens.state.lock().await;
                if let Some(token) = state.usable(self.clock.now(), refused) {
                    return Ok(bearer(&token.value, Some(token.generation)));
                }
                if let Some(error) = state.refusal(self.clock.monotonic()) {
                    return Err(error);
                }
                let generation = state.next_generation();
                match self
                    .login(turn, account, ask.priority, (id, secret), generation)
                    .await
                {
                    Ok(token) => {
                        state.logged_in(token.clone());
                        Ok(bearer(&token.value, Some(token.generation)))
                    }
                    Err(error) => {
                        if error.class == ErrorClass::Auth {
                            state.refused(self.clock.monotonic(), &error);
                        }
                        Err(error)
                    }
                }
            }
        }
    }

    async fn login(
        &self,
        turn: &Turn,
        account: &Account,
        priority: Priority,
        (id, secret): (&SecretString, &SecretString),
        generation: u64,
    ) -> Result<Token, CloudError> {
        let operation = "logging in";
        let known = account.form.load(Ordering::SeqCst);
        let mut last = None;
        for form in [known, !known] {
            self.limiter.acquire(priority).await;
            let (kind, body) = auth::login_body(form, id, secret);
            let (method, path) = auth::LOGIN;
            let request = self.request(turn, account, &method, path, Some((kind, body.into())));
            let sending = Sending {
                turn,
                operation,
                route: "login",
                kind: Kind::Read,
                secrets: vec![id, secret],
            };
            match self.exchange(sending, request).await {
                Ok(reply) => {
                    if let Some((value, expires)) = wire::token(&reply.data) {
                        account.form.store(form, Ordering::SeqCst);
                        let skew = lock(&self.skew).unwrap_or_default();
                        let now = self.clock.now();
                        return Ok(Token::new(value, expires.as_deref(), now, skew, generation));
                    }
                    last = Some(CloudError::new(
                        operation,
                        ErrorClass::Auth,
                        "the answer holds no token",
                    ));
                }
                // Another encoding changes nothing about an unreachable or unwilling server.
                Err(error)
                    if matches!(
                        error.class,
                        ErrorClass::Transient | ErrorClass::RateLimited { .. }
                    ) =>
                {
                    return Err(error);
                }
                Err(error) => last = Some(error),
            }
        }
        let mut error =
            last.unwrap_or_else(|| CloudError::new(operation, ErrorClass::Auth, "refused"));
        error.class = ErrorClass::Auth;
        Err(error)
    }

    async fn send(
        &self,
        turn: &Turn,
        account: &Account,
        ask: &Ask,
        proof: &Proof,
    ) -> Result<Reply, CloudError> {
        let body = ask
            .body
            .as_ref()
            .map(|body| ("application/json", Bytes::from(body.to_string())));
        let mut request = self.request(turn, account, &ask.method, &ask.path, body);
        let value = format!("{}{}", proof.scheme, proof.token.expose_secret());
        if let Ok(mut value) = HeaderValue::from_str(&value) {
            value.set_sensitive(true);
            request.headers_mut().insert(proof.header, value);
        }
        let mut secrets = vec![&proof.token];
        if let Grant::Client { id, secret } = &account.grant {
            secrets.extend([id, secret]);
        }
        let sending = Sending {
            turn,
            operation: &ask.operation,
            route: ask.route,
            kind: ask.kind,
            secrets,
        };
        self.exchange(sending, request).await
    }

    fn request(
        &self,
        turn: &Turn,
        account: &Account,
        method: &Method,
        path: &str,
        body: Option<(&'static str, Bytes)>,
    ) -> Request<Bytes> {
        let mut request = Request::new(Bytes::new());
        *request.method_mut() = method.clone();
        if let Ok(uri) = account.base.join(path).parse() {
            *request.uri_mut() = uri;
        }
        let headers = request.headers_mut();
        headers.insert("user-agent", self.user_agent.clone());
        headers.insert("accept", HeaderValue::from_static("application/json"));
        if let Ok(id) = HeaderValue::from_str(&turn.request_id) {
            headers.insert("x-request-id", id);
        }
        if let Some((kind, bytes)) = body {
            headers.insert("content-type", HeaderValue::from_static(kind));
            *request.body_mut() = bytes;
        }
        request
    }

    /// One request on the wire, its answer judged, everybody told.
    async fn exchange(
        &self,
        sending: Sending<'_>,
        request: Request<Bytes>,
    ) -> Result<Reply, CloudError> {
        let Sending {
            turn,
            operation,
            route,
            kind,
            secrets,
        } = sending;
        let method = request.method().clone();
        let begun = self.clock.monotonic();
        let sent = self.transport.send(request);
        // Never beyond the deadline, so that silence is counted here and not only by the caller.
        let limit = self.request_timeout.min(self.left(turn));
        let answer = match self.clock.timeout(limit, sent).await {
            Ok(answer) => answer,
            Err(_) => Err(TransportError::Broken("timed out".into())),
        };
        let took = self.clock.monotonic().saturating_sub(begun);
        let (status, id, outcome) = match answer {
            Ok(response) => {
                self.note_skew(&response);
                let judged = classify::judge(
                    kind,
                    response.status(),
                    response.headers(),
                    response.body(),
                    self.clock.now(),
                );
                let id = response
                    .headers()
                    .get("x-request-id")
                    .and_then(|value| value.to_str().ok())
                    .map(|id| id.chars().take(100).collect::<String>());
                (Some(response.status()), id, judged)
            }
            Err(error) => (None, None, Err(unanswered(kind, &error))),
        };
        let class = outcome.as_ref().err().map(|verdict| verdict.class.name());
        self.observer.request(
            method.as_str(),
            route,
            status.as_ref().map(StatusCode::as_u16),
            took,
            class,
        );
        let unwell = outcome.as_ref().is_err_and(|verdict| verdict.unwell);
        let change = if unwell {
            lock(&self.breaker).failed(self.clock.monotonic())
        } else {
            lock(&self.breaker).succeeded()
        };
        self.told(change);
        match outcome {
            Ok(reply) => {
                tracing::debug!(
                    request_id = %turn.request_id,
                    cloud_request_id = id,
                    %method,
                    route,
                    took_ms = took.as_millis() as u64,
                    "the cloud answered"
                );
                Ok(reply)
            }
            Err(verdict) => {
                if let ErrorClass::RateLimited { after } = verdict.class {
                    self.limiter.refused(after);
                }
                let mut error =
                    CloudError::new(operation, verdict.class, &mask(&verdict.message, &secrets));
                error.status = status.map(|status| status.as_u16());
                error.request_id = id.map(|id| mask(&id, &secrets));
                tracing::warn!(
                    request_id = %turn.request_id,
                    cloud_request_id = error.request_id,
                    %method,
                    route,
                    status = error.status,
                    class = error.class.name(),
                    %error,
                    "the cloud refused or failed"
                );
                Err(error)
            }
        }
    }

    fn note_skew<B>(&self, response: &http::Response<B>) {
        let date = response
            .headers()
            .get("date")
            .and_then(|value| value.to_str().ok())
            .and_then(classify::http_date);
        if let Some(date) = date {
            *lock(&self.skew) = Some(date.duration_since(self.clock.now()));
        }
    }

    fn told(&self, change: crate::breaker::Change) {
        if let Some((from, to)) = change {
            tracing::warn!(from, to, "the circuit breaker changed");
            self.observer.breaker(from, to);
        }
    }
}

fn bearer(token: &SecretString, generation: Option<u64>) -> Proof {
    Proof {
        header: "authorization",
        scheme: "Bearer ",
        token: token.clone(),
        generation,
    }
}

/// The cloud's words never carry our secrets on, even if it should repeat them.
fn mask(message: &str, secrets: &[&SecretString]) -> String {
    let mut secrets: Vec<&str> = secrets
        .iter()
        .map(|secret| secret.expose_secret())
        .filter(|secret| !secret.is_empty())
        .collect();
    // The longest first: one may be part of another.
    secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
    secrets.iter().fold(message.to_owned(), |text, secret| {
        text.replace(secret, "[redacted]")
            .replace(&segment(secret), "[redacted]")
    })
}

/// A write goes out only while its caller may still change anything; all waiting is over here.
fn permitted(turn: &Turn, ask: &Ask) -> Result<(), CloudError> {
    if ask.kind == Kind::Read || turn.permit.holds() {
        return Ok(());
    }
    Err(CloudError::new(
        &ask.operation,
        ErrorClass::Withheld,
        "the right to change anything ended before the request was sent",
    ))
}

fn circuit_open(ask: &Ask) -> CloudError {
    CloudError::new(
        &ask.operation,
        ErrorClass::CircuitOpen,
        "the cloud failed repeatedly; nothing is sent for a while",
    )
}

/// The deadline passed: before the request was `sent`, nothing can have happened.
fn timed_out(ask: &Ask, sent: bool) -> CloudError {
    let (class, message) = match ask.kind {
        Kind::Write if sent => (ErrorClass::Ambiguous, "no answer in time"),
        Kind::Read if sent => (ErrorClass::Transient, "no answer in time"),
        _ => (ErrorClass::Transient, "not sent in time"),
    };
    CloudError::new(&ask.operation, class, message)
}

fn unanswered(kind: Kind, error: &TransportError) -> Verdict {
    let class = match (kind, error) {
        // Without a connection nothing was sent, write or not.
        (_, TransportError::Connect(_)) | (Kind::Read, TransportError::Broken(_)) => {
            ErrorClass::Transient
        }
        (Kind::Read, TransportError::TooLarge) => ErrorClass::ContractDrift,
        (Kind::Write, _) => ErrorClass::Ambiguous,
    };
    Verdict {
        class,
        message: error.to_string(),
        unwell: !matches!(error, TransportError::TooLarge),
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_masked_as_they_are_and_as_they_were_encoded() {
        let (id, secret): (SecretString, SecretString) = ("a+b".into(), "a+b/c=".into());
        let words = "got a+b/c= and clientId=a%2Bb&clientSecret=a%2Bb%2Fc%3D, not b/c";
        assert_eq!(
            mask(words, &[&id, &secret]),
            "got [redacted] and clientId=[redacted]&clientSecret=[redacted], not b/c"
        );
        assert_eq!(mask("nothing to hide", &[&"".into()]), "nothing to hide");
    }
}
