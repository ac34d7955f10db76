//! One request to the cloud, with everything that surrounds it: credentials, rate limit, breaker,
//! retries of what may be repeated, classification, and one log line.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use cloud::{Call, CloudError, ErrorClass};
use http::{HeaderValue, Method, Request, StatusCode};
use jiff::SignedDuration;
use runtime::{Clock, Randomness};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::Value;

use crate::{
    auth::{self, Token, Tokens},
    base_url::BaseUrl,
    breaker::Breaker,
    classify::{self, Kind, Verdict},
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
    base: BaseUrl,
    grant: Grant,
    tokens: Arc<Tokens>,
    /// Whether the exchange takes a form (else JSON).
    form: Arc<std::sync::atomic::AtomicBool>,
}

/// How a request proves who asks.
struct Proof {
    header: &'static str,
    value: SecretString,
    generation: Option<u64>,
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

    pub(crate) fn set_credentials(&self, credentials: Option<&Credentials>) {
        *lock(&self.account) = credentials.map(|credentials| Account {
            base: credentials.base.clone(),
            grant: credentials.grant.clone(),
            tokens: Arc::default(),
            form: Arc::new(true.into()),
        });
    }

    pub(crate) fn clock(&self) -> &Clock {
        &self.clock
    }

    pub(crate) fn clock_skew(&self) -> Option<i64> {
        lock(&self.skew).map(|skew| skew.as_secs())
    }

    /// Asks, within `call.timeout` altogether.
    pub(crate) async fn ask(&self, call: &Call, ask: Ask) -> Result<Value, CloudError> {
        let begun = self.clock.monotonic();
        let mut pause = FIRST_PAUSE;
        let mut tries = 1;
        loop {
            let left = call
                .timeout
                .saturating_sub(self.clock.monotonic().saturating_sub(begun));
            let outcome = match self.clock.timeout(left, self.once(call, &ask)).await {
                Ok(outcome) => outcome,
                Err(_) => Err(self.timed_out(&ask)),
            };
            let error = match outcome {
                Ok(value) => return Ok(value),
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
            let left = call
                .timeout
                .saturating_sub(self.clock.monotonic().saturating_sub(begun));
            if !again || wait >= left {
                return Err(error);
            }
            self.clock.sleep(wait).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
            tries += 1;
        }
    }

    fn timed_out(&self, ask: &Ask) -> CloudError {
        let class = match ask.kind {
            Kind::Read => ErrorClass::Transient,
            Kind::Write => ErrorClass::Ambiguous,
        };
        CloudError::new(&ask.operation, class, "no answer in time")
    }

    /// One request, and once more after a renewed login when the first was refused with 401: that
    /// is said before anything is done, so even a create may be repeated after it.
    async fn once(&self, call: &Call, ask: &Ask) -> Result<Value, CloudError> {
        let account = lock(&self.account).clone().ok_or_else(|| {
            CloudError::new(&ask.operation, ErrorClass::Auth, "there are no credentials")
        })?;
        let waited = self.limiter.acquire(ask.priority).await;
        if waited > Duration::from_millis(10) {
            self.observer.waited(ask.method.as_str(), waited);
        }
        let (admitted, change) = lock(&self.breaker).admit(self.clock.monotonic());
        self.told(change);
        if !admitted {
            return Err(CloudError::new(
                &ask.operation,
                ErrorClass::CircuitOpen,
                "the cloud failed repeatedly; nothing is sent for a while",
            ));
        }
        let proof = self.proof(call, &account, ask, None).await?;
        if ask.kind == Kind::Write && !call.permit.holds() {
            return Err(CloudError::new(
                &ask.operation,
                ErrorClass::Withheld,
                "the right to change anything ended before the request was sent",
            ));
        }
        let generation = proof.generation;
        match self.send(call, &account, ask, &proof).await {
            Err(error) if error.class == ErrorClass::Auth && generation.is_some() => {
                let proof = self.proof(call, &account, ask, generation).await?;
                self.limiter.acquire(ask.priority).await;
                self.send(call, &account, ask, &proof).await
            }
            outcome => outcome,
        }
    }

    async fn proof(
        &self,
        call: &Call,
        account: &Account,
        ask: &Ask,
        refused: Option<u64>,
    ) -> Result<Proof, CloudError> {
        match &account.grant {
            Grant::VpsieAuth(token) => Ok(Proof {
                header: "vpsie-auth",
                value: token.clone(),
                generation: None,
            }),
            Grant::Bearer(token) => Ok(bearer(token, None)),
            Grant::Client { id, secret } => {
                // Whoever comes while somebody logs in waits here and finds the token made.
                let mut current = account.tokens.current.lock().await;
                let now = self.clock.now();
                if let Some(token) = Tokens::usable(current.as_ref(), now, refused) {
                    return Ok(bearer(&token.value, Some(token.generation)));
                }
                let generation = current.as_ref().map_or(1, |token| token.generation + 1);
                let token = self
                    .login(call, account, ask.priority, (id, secret), generation)
                    .await?;
                *current = Some(token.clone());
                Ok(bearer(&token.value, Some(token.generation)))
            }
        }
    }

    async fn login(
        &self,
        call: &Call,
        account: &Account,
        priority: Priority,
        (id, secret): (&SecretString, &SecretString),
        generation: u64,
    ) -> Result<Token, CloudError> {
        use std::sync::atomic::Ordering;
        let operation = "logging in";
        let known = account.form.load(Ordering::SeqCst);
        let mut last = None;
        for form in [known, !known] {
            self.limiter.acquire(priority).await;
            let (kind, body) = auth::login_body(form, id, secret);
            let (method, path) = auth::LOGIN;
            let request = self.request(call, account, &method, path, Some((kind, body.into())));
            match self
                .exchange(call, operation, "login", Kind::Read, request)
                .await
            {
                Ok(data) => {
                    if let Some((value, expires)) = wire::token(&data) {
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
        call: &Call,
        account: &Account,
        ask: &Ask,
        proof: &Proof,
    ) -> Result<Value, CloudError> {
        let body = ask
            .body
            .as_ref()
            .map(|body| ("application/json", Bytes::from(body.to_string())));
        let mut request = self.request(call, account, &ask.method, &ask.path, body);
        if let Ok(mut value) = HeaderValue::from_str(proof.value.expose_secret()) {
            value.set_sensitive(true);
            request.headers_mut().insert(proof.header, value);
        }
        self.exchange(call, &ask.operation, ask.route, ask.kind, request)
            .await
    }

    fn request(
        &self,
        call: &Call,
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
        if let Ok(id) = HeaderValue::from_str(&call.request_id) {
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
        call: &Call,
        operation: &str,
        route: &'static str,
        kind: Kind,
        request: Request<Bytes>,
    ) -> Result<Value, CloudError> {
        let method = request.method().clone();
        let begun = self.clock.monotonic();
        let sent = self.transport.send(request);
        let answer = match self.clock.timeout(self.request_timeout, sent).await {
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
            Ok(data) => {
                tracing::debug!(request_id = %call.request_id, %method, route, "the cloud answered");
                Ok(data)
            }
            Err(verdict) => {
                if let ErrorClass::RateLimited { after } = verdict.class {
                    self.limiter.refused(after);
                }
                let mut error =
                    CloudError::new(operation, verdict.class, &self.mask(&verdict.message));
                error.status = status.map(|status| status.as_u16());
                error.request_id = id;
                tracing::warn!(
                    request_id = %call.request_id,
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

    /// The cloud's words never carry our secrets on, even if it should repeat them.
    fn mask(&self, message: &str) -> String {
        let account = lock(&self.account).clone();
        let secrets = match account.map(|account| account.grant) {
            Some(Grant::VpsieAuth(token) | Grant::Bearer(token)) => vec![token],
            Some(Grant::Client { id, secret }) => vec![id, secret],
            None => vec![],
        };
        secrets.iter().fold(message.to_owned(), |text, secret| {
            match secret.expose_secret() {
                "" => text,
                secret => text.replace(secret, "[redacted]"),
            }
        })
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
        value: format!("Bearer {}", token.expose_secret()).into(),
        generation,
    }
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
