//! Faults by script: which request meets which misfortune.

use std::sync::{Arc, Mutex, PoisonError};

use runtime::Randomness;
use serde::{Deserialize, Serialize};

/// A misfortune.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Fault {
    /// The request has its effect, the answer is lost.
    LostResponse,
    /// The connection breaks before anything happens.
    Reset,
    /// 429, with this `Retry-After` if any.
    RateLimited(Option<String>),
    /// 500 with a page instead of JSON.
    Html500,
    /// 502 with a page, after the effect.
    Html502AfterCommit,
    /// 500 with a business message.
    Business500(String),
    /// 200 with `error: true`.
    ErrorTrue200(String),
    /// The answer takes so many seconds; the effect comes first.
    Slow(u64),
    /// The effect comes so many seconds after the caller gave up.
    LateCommit(u64),
    /// The answer is cut short.
    Truncated,
    /// Accepted, and no machine ever appears.
    NeverAppears,
    /// The machine is never finished.
    StuckCreating,
    /// The machine runs and never joins.
    NeverJoins,
    /// The machine joins and stays NotReady.
    JoinsNotReady,
    /// Two machines from one request.
    Duplicate,
    /// The list is empty although it should not be.
    EmptyList,
    /// Entries lack their UUIDs.
    MissingUuid,
    /// The delete answers success and does nothing.
    DeleteDoesNothing,
    /// 401 once.
    Unauthorized,
    /// Every token ends now.
    TokensExpire,
    /// A body of absurd depth.
    AbsurdBody,
    /// A body whose fields have the wrong types.
    WrongTypes,
}

/// When a fault strikes.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Rule {
    /// The route's name (`add-worker`, `cluster`, `groups`, …), or `*`.
    pub route: String,
    /// The misfortune.
    pub fault: Fault,
    /// Requests of the route to let pass first.
    #[serde(default)]
    pub skip: u32,
    /// How often it strikes; for ever where absent.
    #[serde(default)]
    pub times: Option<u32>,
    /// How likely it strikes, in percent.
    #[serde(default = "always")]
    pub percent: u8,
}

const fn always() -> u8 {
    100
}

/// The script. Clones share it.
#[derive(Clone, Debug)]
pub struct Faults {
    rules: Arc<Mutex<Vec<Rule>>>,
    random: Randomness,
}

impl Faults {
    pub(crate) fn new(random: Randomness) -> Self {
        Self {
            rules: Arc::default(),
            random,
        }
    }

    /// Adds a rule; earlier rules are asked first.
    pub fn add(&self, rule: Rule) {
        self.lock().push(rule);
    }

    /// `fault` strikes the next request to `route`.
    pub fn once(&self, route: &str, fault: Fault) {
        self.add(Rule {
            route: route.into(),
            fault,
            skip: 0,
            times: Some(1),
            percent: 100,
        });
    }

    /// `fault` strikes every request to `route`.
    pub fn always(&self, route: &str, fault: Fault) {
        self.add(Rule {
            route: route.into(),
            fault,
            skip: 0,
            times: None,
            percent: 100,
        });
    }

    /// All is well from now on.
    pub fn clear(&self) {
        self.lock().clear();
    }

    pub(crate) fn strike(&self, route: &str) -> Option<Fault> {
        let mut rules = self.lock();
        let at = rules.iter_mut().position(|rule| {
            if (rule.route != route && rule.route != "*") || rule.times == Some(0) {
                return false;
            }
            if rule.skip > 0 {
                rule.skip -= 1;
                return false;
            }
            rule.percent >= 100 || self.random.below(100) < u64::from(rule.percent)
        })?;
        if let Some(times) = &mut rules[at].times {
            *times -= 1;
        }
        Some(rules[at].fault.clone())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Rule>> {
        self.rules.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
