//! Fault knobs: what goes wrong, for whom, how often.
//!
//! Every fault is one a real API server can show: within one watch events stay ordered and none
//! is repeated or skipped; what a fault breaks is latency, connections, freshness and history.

use std::{
    collections::BTreeSet,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use runtime::Randomness;
use runtime::watch;

use crate::{error::ApiError, request::RequestInfo};

/// Which requests a rule is about. `None` matches everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Match {
    /// The whole actor name.
    pub actor: Option<String>,
    /// A verb, or `write` for create, update, patch, delete and deletecollection.
    pub verb: Option<String>,
    /// Resource, e.g. `pods`; with a subresource as `pods/eviction`.
    pub resource: Option<String>,
    /// Namespace of the request.
    pub namespace: Option<String>,
    /// Name of the object.
    pub name: Option<String>,
}

impl Match {
    /// Requests of one actor.
    pub fn actor(actor: &str) -> Self {
        Self::default().of_actor(actor)
    }

    /// Requests for one resource, `pods` or `pods/status`.
    pub fn resource(resource: &str) -> Self {
        Self {
            resource: Some(resource.to_owned()),
            ..Self::default()
        }
    }

    /// Narrows to one actor.
    #[must_use]
    pub fn of_actor(mut self, actor: &str) -> Self {
        self.actor = Some(actor.to_owned());
        self
    }

    /// Narrows to one verb, or `write`.
    #[must_use]
    pub fn verb(mut self, verb: &str) -> Self {
        self.verb = Some(verb.to_owned());
        self
    }

    /// Narrows to one object name.
    #[must_use]
    pub fn name(mut self, name: &str) -> Self {
        self.name = Some(name.to_owned());
        self
    }

    fn covers(&self, actor: &str, info: &RequestInfo) -> bool {
        let is = |wanted: &Option<String>, actual: &str| {
            wanted.as_deref().is_none_or(|wanted| wanted == actual)
        };
        let resource = match self.resource.as_deref() {
            None => true,
            Some(wanted) => match wanted.split_once('/') {
                Some((resource, sub)) => info.resource == resource && info.subresource == sub,
                None => info.resource == wanted && info.subresource.is_empty(),
            },
        };
        let verb = match self.verb.as_deref() {
            Some("write") => !matches!(info.verb, "get" | "list" | "watch"),
            _ => is(&self.verb, info.verb),
        };
        is(&self.actor, actor)
            && verb
            && resource
            && is(&self.namespace, &info.namespace)
            && is(&self.name, &info.name)
    }
}

/// What goes wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// The server starts on the request this much later.
    Delay(Duration),
    /// The server commits at once and answers this much later.
    DelayResponse(Duration),
    /// Refused before anything is committed. 429 and 503 carry `Retry-After` when given (seconds).
    Refuse {
        /// 403, 409, 429, 500, 503 or 504.
        code: u16,
        /// Seconds to wait.
        retry_after: Option<u64>,
    },
    /// The connection breaks before the request is committed.
    DropRequest,
    /// The request is committed and the connection breaks.
    LoseResponse,
    /// The request is committed; half of the answer arrives, then the connection breaks.
    TruncateResponse,
    /// A list or watch is answered with HTTP 410.
    Gone,
    /// A get or list shows the state this many resourceVersions ago.
    Stale(u64),
    /// A watch delivers everything this much later.
    SlowWatch(Duration),
    /// A watch carries no bookmarks.
    NoBookmarks,
    /// A watch ends after this time.
    CutWatchAfter(Duration),
    /// A watch ends after this time with an ERROR event of code 410.
    ExpireWatchAfter(Duration),
}

/// One rule.
#[derive(Clone, Debug, PartialEq)]
pub struct Rule {
    /// Which requests.
    pub on: Match,
    /// What happens to them.
    pub effect: Effect,
    /// Leave the first so many matching requests alone.
    pub skip: u64,
    /// Act at most so often; `None` for ever.
    pub times: Option<u64>,
    /// Act with this probability (0.0 to 1.0).
    pub probability: f64,
}

impl Rule {
    /// A rule that acts on every matching request.
    pub fn always(on: Match, effect: Effect) -> Self {
        Self {
            on,
            effect,
            skip: 0,
            times: None,
            probability: 1.0,
        }
    }

    /// A rule that acts once.
    pub fn once(on: Match, effect: Effect) -> Self {
        Self::times(on, effect, 1)
    }

    /// A rule that acts `times` times.
    pub fn times(on: Match, effect: Effect, times: u64) -> Self {
        Self {
            times: Some(times),
            ..Self::always(on, effect)
        }
    }

    /// Leaves the first `skip` matching requests alone.
    #[must_use]
    pub fn after(mut self, skip: u64) -> Self {
        self.skip = skip;
        self
    }

    /// Acts with a probability only.
    #[must_use]
    pub fn with_probability(mut self, probability: f64) -> Self {
        self.probability = probability;
        self
    }
}

/// Identifies an installed rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RuleId(u64);

#[derive(Debug)]
struct Installed {
    id: RuleId,
    rule: Rule,
    seen: u64,
    acted: u64,
}

/// How running watches are ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Cut,
    Expire,
}

#[derive(Debug, Default)]
struct State {
    rules: Vec<Installed>,
    next_rule: u64,
    held: BTreeSet<String>,
    /// Order in which running watches were told to end: signal number, whom, how.
    ends: Vec<(u64, Match, End)>,
}

/// The knobs; clones share them.
#[derive(Clone, Debug)]
pub struct Faults(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    state: Mutex<State>,
    random: Randomness,
    stopped: AtomicBool,
    lenient: AtomicBool,
    /// Bumped whenever running watches must look at the knobs again.
    signal: watch::Sender<u64>,
}

/// What the rules do to one request.
#[derive(Clone, Debug, Default)]
pub(crate) struct Verdict {
    /// When the request arrived, where it is worked on later.
    pub(crate) arrived: Option<jiff::Timestamp>,
    pub(crate) delay: Duration,
    pub(crate) delay_response: Duration,
    pub(crate) refuse: Option<ApiError>,
    pub(crate) drop_request: bool,
    pub(crate) lose_response: bool,
    pub(crate) truncate: bool,
    pub(crate) stale: u64,
    pub(crate) slow_watch: Duration,
    pub(crate) no_bookmarks: bool,
    pub(crate) end_watch: Option<(Duration, End)>,
}

impl Faults {
    pub(crate) fn new(random: Randomness) -> Self {
        Self(Arc::new(Inner {
            state: Mutex::default(),
            random,
            stopped: AtomicBool::new(false),
            lenient: AtomicBool::new(false),
            signal: watch::Sender::new(0),
        }))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn bump(&self) -> u64 {
        let mut now = 0;
        self.0.signal.send_modify(|signal| {
            *signal += 1;
            now = *signal;
        });
        now
    }

    /// Installs a rule.
    pub fn add(&self, rule: Rule) -> RuleId {
        let mut state = self.lock();
        let id = RuleId(state.next_rule);
        state.next_rule += 1;
        state.rules.push(Installed {
            id,
            rule,
            seen: 0,
            acted: 0,
        });
        id
    }

    /// Removes a rule.
    pub fn remove(&self, id: RuleId) {
        self.lock().rules.retain(|installed| installed.id != id);
    }

    /// Removes all rules and releases held watches; a stopped server stays stopped.
    pub fn clear(&self) {
        {
            let mut state = self.lock();
            state.rules.clear();
            state.held.clear();
        }
        self.bump();
    }

    /// How often a rule has acted.
    pub fn acted(&self, id: RuleId) -> u64 {
        self.lock()
            .rules
            .iter()
            .find(|installed| installed.id == id)
            .map_or(0, |installed| installed.acted)
    }

    /// Quantities in pods and nodes are stored unchecked.
    pub fn set_lenient(&self, lenient: bool) {
        self.0.lenient.store(lenient, Ordering::SeqCst);
    }

    pub(crate) fn lenient(&self) -> bool {
        self.0.lenient.load(Ordering::SeqCst)
    }

    /// Stops the server: running watches break, every request fails to connect.
    pub fn stop(&self) {
        self.0.stopped.store(true, Ordering::SeqCst);
        self.bump();
    }

    /// Starts a stopped server again; nothing stored is lost.
    pub fn restart(&self) {
        self.0.stopped.store(false, Ordering::SeqCst);
        self.bump();
    }

    /// True while stopped.
    pub fn stopped(&self) -> bool {
        self.0.stopped.load(Ordering::SeqCst)
    }

    /// Ends the running watches that match, without an error.
    pub fn cut_watches(&self, on: Match) {
        self.end_watches(on, End::Cut);
    }

    /// Ends the running watches that match with an ERROR event of code 410.
    pub fn expire_watches(&self, on: Match) {
        self.end_watches(on, End::Expire);
    }

    fn end_watches(&self, on: Match, how: End) {
        // The order matters: a watch that starts after this signal is not ended by it.
        let number = *self.0.signal.borrow() + 1;
        self.lock().ends.push((number, on, how));
        self.bump();
    }

    /// Running and new watches of a resource deliver nothing until released.
    pub fn hold_watches(&self, resource: &str) {
        self.lock().held.insert(resource.to_owned());
        self.bump();
    }

    /// Held watches of a resource go on where they stood.
    pub fn release_watches(&self, resource: &str) {
        self.lock().held.remove(resource);
        self.bump();
    }

    pub(crate) fn held(&self, resource: &str) -> bool {
        self.lock().held.contains(resource)
    }

    pub(crate) fn signals(&self) -> watch::Receiver<u64> {
        self.0.signal.subscribe()
    }

    /// Whether a watch that started at signal `since` was told to end.
    pub(crate) fn ended(&self, since: u64, actor: &str, info: &RequestInfo) -> Option<End> {
        self.lock()
            .ends
            .iter()
            .find(|(number, on, _)| *number > since && on.covers(actor, info))
            .map(|(_, _, how)| *how)
    }

    /// Consults the rules for one request, in their order; each that acts is counted.
    pub(crate) fn judge(&self, actor: &str, info: &RequestInfo) -> Verdict {
        let mut verdict = Verdict::default();
        let mut state = self.lock();
        for installed in &mut state.rules {
            let rule = &installed.rule;
            if !rule.on.covers(actor, info) || !concerns(&rule.effect, info.verb) {
                continue;
            }
            installed.seen += 1;
            if installed.seen <= rule.skip
                || rule.times.is_some_and(|times| installed.acted >= times)
                || (rule.probability < 1.0 && !self.0.random.chance(rule.probability))
            {
                continue;
            }
            installed.acted += 1;
            match rule.effect {
                Effect::Delay(by) => verdict.delay += by,
                Effect::DelayResponse(by) => verdict.delay_response += by,
                Effect::Refuse { code, retry_after } => {
                    verdict.refuse = Some(refusal(code, retry_after, info));
                }
                Effect::DropRequest => verdict.drop_request = true,
                Effect::LoseResponse => verdict.lose_response = true,
                Effect::TruncateResponse => verdict.truncate = true,
                Effect::Gone => {
                    verdict.refuse = Some(ApiError::expired(
                        "The resourceVersion for the provided watch is too old.",
                    ));
                }
                Effect::Stale(versions) => verdict.stale = verdict.stale.max(versions),
                Effect::SlowWatch(by) => verdict.slow_watch += by,
                Effect::NoBookmarks => verdict.no_bookmarks = true,
                Effect::CutWatchAfter(after) => verdict.end_watch = Some((after, End::Cut)),
                Effect::ExpireWatchAfter(after) => verdict.end_watch = Some((after, End::Expire)),
            }
        }
        verdict
    }
}

/// Watch effects concern watches, staleness reads; the rest concerns every request.
fn concerns(effect: &Effect, verb: &str) -> bool {
    match effect {
        Effect::Gone => matches!(verb, "list" | "watch"),
        Effect::Stale(_) => matches!(verb, "get" | "list"),
        Effect::SlowWatch(_)
        | Effect::NoBookmarks
        | Effect::CutWatchAfter(_)
        | Effect::ExpireWatchAfter(_) => verb == "watch",
        _ => true,
    }
}

fn refusal(code: u16, retry_after: Option<u64>, info: &RequestInfo) -> ApiError {
    let (reason, message) = match code {
        403 => ("Forbidden", "forbidden by an injected fault".to_owned()),
        409 => (
            "Conflict",
            format!(
                "Operation cannot be fulfilled on {} {:?}: the object has been modified; please apply your changes to the latest version and try again",
                info.resource, info.name
            ),
        ),
        429 => (
            "TooManyRequests",
            "Too many requests, please try again later.".to_owned(),
        ),
        503 => (
            "ServiceUnavailable",
            "the server is currently unable to handle the request".to_owned(),
        ),
        504 => (
            "Timeout",
            "Timeout: request did not complete within the allotted timeout".to_owned(),
        ),
        _ => (
            "InternalError",
            "Internal error occurred: etcdserver: request timed out".to_owned(),
        ),
    };
    let mut error = ApiError::new(code, reason, message);
    if let Some(seconds) = retry_after {
        error.details = serde_json::json!({ "retryAfterSeconds": seconds });
    }
    error
}
