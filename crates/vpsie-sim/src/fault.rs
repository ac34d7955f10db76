//! Faults and the script that decides which request meets which.
//!
//! A rule matches requests by route, lets some pass, and then fires for a number of times, each
//! time with a probability drawn from the seeded stream. All rules that fire for one request act on
//! it together; where two contradict, the one added first wins.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use jiff::SignedDuration;
use runtime::Randomness;
use serde::{Deserialize, Serialize};

use crate::route::{Match, Route};

/// What goes wrong.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Fault {
    /// The request takes effect, then the connection breaks.
    LostResponseAfterCommit,
    /// The connection breaks before anything happened.
    ResetBeforeCommit,
    /// The connection breaks at once; the request takes effect this much later.
    LateCommit {
        /// How much later.
        #[serde(with = "jiff::fmt::serde::unsigned_duration::friendly::compact::required")]
        by: Duration,
    },
    /// The answer takes long.
    Slow {
        /// How long.
        #[serde(with = "jiff::fmt::serde::unsigned_duration::friendly::compact::required")]
        by: Duration,
        /// The wait is after the request took effect, not before.
        #[serde(default)]
        after_commit: bool,
    },
    /// The answer breaks off half-way; the request took effect.
    Truncated,
    /// 429; nothing happened.
    RateLimited {
        /// What it says about when to come again.
        #[serde(default)]
        retry_after: RetryAfter,
    },
    /// 401; nothing happened and no token was harmed.
    Unauthorized,
    /// Every issued token expires just before this request is looked at.
    TokenExpiresNow,
    /// An HTML page with status 500; nothing happened.
    Html500,
    /// A proxy's HTML page with status 502; the request took effect or not.
    Html502 {
        /// The request took effect behind the proxy.
        #[serde(default)]
        after_commit: bool,
    },
    /// Status 500 with a business message; nothing happened.
    BusinessText500 {
        /// The message.
        message: String,
    },
    /// Status 200 with `error: true`; nothing happened.
    ErrorTrue200 {
        /// The message.
        message: String,
    },
    /// Status 404 about an object that is there; nothing happened.
    NotFound404 {
        /// The message.
        message: String,
    },
    /// A create is accepted and no machine comes.
    NeverAppears,
    /// The machine is listed and stays in creation for ever.
    StuckCreating,
    /// The machine runs and never becomes a Node.
    NeverJoins,
    /// The machine's Node stays NotReady for ever.
    JoinsNotReady,
    /// The machine's Node has another name than its host name.
    JoinsUnderAnotherName,
    /// The machine gets the host name of the last one that is gone.
    ReusesHostname,
    /// One create buys two machines.
    DuplicateMachine,
    /// The machine has another size than its group.
    WrongSize,
    /// The machine vanishes while it is being built.
    FailsAndDisappears,
    /// A delete is answered with success and the machine stays.
    DeleteAnswersSuccessButStays,
    /// A delete of a worker takes another worker of the cluster, where there is one.
    DeletesAnotherWorker,
    /// A list is empty although objects exist.
    EmptyListAlthough,
    /// A list lacks half of its rows.
    PartialPage,
    /// Rows come in a random order.
    ShuffledRows,
    /// Rows lack their UUID.
    MissingUuid,
    /// Numbers are strings and booleans are numbers.
    NumbersAsStrings,
    /// `data` is of a wrong type altogether.
    WrongTypes,
    /// The login answers in the other shape.
    AuthShapeChange,
    /// `Date` and token expiry are off.
    ClockSkew {
        /// By how much (negative: behind).
        by: SignedDuration,
    },
    /// `data` is arrays nested this deep.
    DeepBody {
        /// How deep.
        depth: u32,
    },
    /// The answer is padded to this size.
    HugeBody {
        /// How many bytes.
        bytes: u64,
    },
}

/// What a 429 says about when to come again.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum RetryAfter {
    /// So many seconds.
    Seconds(u64),
    /// An HTTP date so many seconds ahead.
    Date(u64),
    /// No header.
    Missing,
    /// Something no client should believe.
    Absurd,
}

impl Default for RetryAfter {
    fn default() -> Self {
        Self::Seconds(30)
    }
}

/// When a fault strikes.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Rule {
    /// Which requests it is about: a route's name, `reads`, `writes` or `*`.
    pub route: Match,
    /// The first matching request that it may strike, counted from 1 when the rule is added.
    #[serde(default = "one")]
    pub nth: u64,
    /// How often it strikes; `null`: without end.
    #[serde(default = "once")]
    pub times: Option<u64>,
    /// With which probability it strikes a request it may strike.
    #[serde(default = "certain")]
    pub probability: f64,
    /// What goes wrong.
    pub fault: Fault,
}

fn one() -> u64 {
    1
}

#[allow(clippy::unnecessary_wraps)] // serde wants the field's type
fn once() -> Option<u64> {
    Some(1)
}

fn certain() -> f64 {
    1.0
}

impl Rule {
    /// `fault` strikes the next request of `route`, once.
    #[must_use]
    pub fn on(route: impl Into<Match>, fault: Fault) -> Self {
        Self {
            route: route.into(),
            nth: one(),
            times: once(),
            probability: certain(),
            fault,
        }
    }

    /// The first request struck is the `nth` from now (from 1).
    #[must_use]
    pub fn nth(mut self, nth: u64) -> Self {
        self.nth = nth;
        self
    }

    /// It strikes so often.
    #[must_use]
    pub fn times(mut self, times: u64) -> Self {
        self.times = Some(times);
        self
    }

    /// It strikes without end.
    #[must_use]
    pub fn always(mut self) -> Self {
        self.times = None;
        self
    }

    /// It strikes with this probability (0.0 to 1.0).
    #[must_use]
    pub fn probability(mut self, probability: f64) -> Self {
        self.probability = probability;
        self
    }
}

/// Names a rule that was added.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct RuleId(u64);

/// The rules in force.
#[derive(Debug)]
pub struct FaultScript {
    random: Randomness,
    armed: Mutex<Armed>,
}

#[derive(Debug, Default)]
struct Armed {
    next: u64,
    rules: Vec<ArmedRule>,
}

#[derive(Debug)]
struct ArmedRule {
    id: RuleId,
    rule: Rule,
    seen: u64,
    struck: u64,
}

impl FaultScript {
    pub(crate) fn new(random: Randomness, rules: Vec<Rule>) -> Self {
        let script = Self {
            random,
            armed: Mutex::default(),
        };
        for rule in rules {
            script.add(rule);
        }
        script
    }

    /// Adds a rule; it counts requests from now.
    pub fn add(&self, rule: Rule) -> RuleId {
        let mut armed = self.lock();
        let id = RuleId(armed.next);
        armed.next += 1;
        armed.rules.push(ArmedRule {
            id,
            rule,
            seen: 0,
            struck: 0,
        });
        id
    }

    /// Removes a rule.
    pub fn remove(&self, id: RuleId) {
        self.lock().rules.retain(|armed| armed.id != id);
    }

    /// Removes every rule.
    pub fn clear(&self) {
        self.lock().rules.clear();
    }

    /// How often the rule has struck; 0 when it was removed.
    #[must_use]
    pub fn struck(&self, id: RuleId) -> u64 {
        let armed = self.lock();
        let found = armed.rules.iter().find(|armed| armed.id == id);
        found.map_or(0, |armed| armed.struck)
    }

    /// The faults that strike this request.
    pub(crate) fn strike(&self, route: Route) -> Faults {
        let mut faults = Vec::new();
        for armed in &mut self.lock().rules {
            if !armed.rule.route.covers(route) {
                continue;
            }
            armed.seen += 1;
            let left = armed.rule.times.is_none_or(|times| armed.struck < times);
            if armed.seen < armed.rule.nth || !left {
                continue;
            }
            // A certain rule draws nothing, so that adding one does not move the others.
            if armed.rule.probability < 1.0 && !self.random.chance(armed.rule.probability) {
                continue;
            }
            armed.struck += 1;
            faults.push(armed.rule.fault.clone());
        }
        Faults(faults)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Armed> {
        self.armed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The faults that strike one request, in the order of their rules.
#[derive(Clone, Debug, Default)]
pub(crate) struct Faults(pub(crate) Vec<Fault>);

impl Faults {
    pub(crate) fn has(&self, fault: &Fault) -> bool {
        self.0.contains(fault)
    }

    /// The first that `choose` recognises.
    pub(crate) fn find<T>(&self, choose: impl Fn(&Fault) -> Option<T>) -> Option<T> {
        self.0.iter().find_map(choose)
    }

    /// By how much `Date` and expiry are off.
    pub(crate) fn skew(&self) -> SignedDuration {
        self.find(|fault| match fault {
            Fault::ClockSkew { by } => Some(*by),
            _ => None,
        })
        .unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn script() -> FaultScript {
        FaultScript::new(Randomness::seeded(1), Vec::new())
    }

    fn strikes(script: &FaultScript, route: Route, calls: usize) -> Vec<bool> {
        (0..calls)
            .map(|_| !script.strike(route).0.is_empty())
            .collect()
    }

    #[test]
    fn a_rule_strikes_the_nth_call_and_so_often_as_told() {
        let script = script();
        let id = script.add(Rule::on(Route::AddWorker, Fault::Truncated).nth(2).times(2));
        assert_eq!(
            strikes(&script, Route::AddWorker, 5),
            [false, true, true, false, false]
        );
        assert_eq!(strikes(&script, Route::GetCluster, 3), [false; 3]);
        assert_eq!(script.struck(id), 2);
    }

    #[test]
    fn a_probability_strikes_about_that_share_and_repeats_with_its_seed() {
        let run = || {
            let script = script();
            script.add(
                Rule::on(Match::Reads, Fault::Html500)
                    .always()
                    .probability(0.25),
            );
            strikes(&script, Route::GetCluster, 1000)
        };
        let struck = run().into_iter().filter(|struck| *struck).count();
        assert!((200..300).contains(&struck), "{struck}");
        assert_eq!(run(), run());
    }

    #[test]
    fn a_rule_reads_from_a_scenario_file() {
        let rule: Rule = serde_json::from_value(serde_json::json!({
            "route": "add-worker", "nth": 3, "fault": {"slow": {"by": "90s", "afterCommit": true}}
        }))
        .unwrap();
        assert_eq!(
            rule,
            Rule::on(
                Route::AddWorker,
                Fault::Slow {
                    by: Duration::from_secs(90),
                    after_commit: true
                }
            )
            .nth(3)
        );
        let rule: Rule = serde_json::from_value(serde_json::json!({
            "route": "*", "times": null, "probability": 0.1,
            "fault": {"rateLimited": {"retryAfter": {"date": 20}}}
        }))
        .unwrap();
        assert_eq!(rule.times, None);
        assert!(
            serde_json::from_value::<Rule>(
                serde_json::json!({"route": "nowhere", "fault": "truncated"})
            )
            .is_err()
        );
    }
}
