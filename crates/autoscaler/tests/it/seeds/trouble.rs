//! What goes wrong by itself: faults of the cloud and of the API server, each for a while.

use std::time::Duration;

use jiff::SignedDuration;
use kube_sim::{Effect, Match};
use runtime::Randomness;
use vpsie_sim::{Fault, RetryAfter, Route, Rule};

use super::chaos::disturb;
use crate::harness::Harness;

pub(super) struct Trouble<'a> {
    harness: &'a Harness,
    random: Randomness,
}

impl<'a> Trouble<'a> {
    pub(super) fn new(harness: &'a Harness, random: Randomness) -> Self {
        Self { harness, random }
    }

    fn pick<T: Clone>(&self, from: &[T]) -> T {
        from[self.random.below(from.len() as u64) as usize].clone()
    }

    pub(super) async fn make(&mut self) {
        let what = match self.random.below(10) {
            0..4 => self.cloud(),
            4..8 => self.kubernetes(),
            8 => self.watches(),
            _ => self.outage().await,
        };
        disturb(self.harness, what);
    }

    fn cloud(&self) -> String {
        let seconds = |most: u64| Duration::from_secs(1 + self.random.below(most));
        let creates = [
            Fault::LostResponseAfterCommit,
            Fault::ResetBeforeCommit,
            Fault::LateCommit { by: seconds(110) },
            Fault::Slow {
                by: seconds(60),
                after_commit: true,
            },
            Fault::Truncated,
            Fault::Html502 { after_commit: true },
            Fault::ErrorTrue200 {
                message: "Something went wrong".into(),
            },
            Fault::NeverAppears,
            Fault::StuckCreating,
            Fault::NeverJoins,
            Fault::JoinsNotReady,
            Fault::FailsAndDisappears,
            Fault::BusinessText500 {
                message: "Worker nodes count exceeds the allowed limit 9".into(),
            },
        ];
        let deletes = [
            Fault::LostResponseAfterCommit,
            Fault::ResetBeforeCommit,
            Fault::DeleteAnswersSuccessButStays,
            Fault::Html502 { after_commit: true },
            Fault::Html500,
        ];
        let reads = [
            Fault::Html500,
            Fault::Truncated,
            Fault::EmptyListAlthough,
            Fault::PartialPage,
            Fault::ShuffledRows,
            Fault::MissingUuid,
            Fault::NumbersAsStrings,
            Fault::WrongTypes,
            Fault::RateLimited {
                retry_after: RetryAfter::Seconds(20),
            },
            Fault::Unauthorized,
            Fault::ClockSkew {
                by: SignedDuration::from_mins(3),
            },
            Fault::Slow {
                by: seconds(40),
                after_commit: false,
            },
        ];
        let (rule, fault) = match self.random.below(3) {
            0 => {
                let fault = self.pick(&creates);
                (Rule::on(Route::AddWorker, fault.clone()), fault)
            }
            1 => {
                let fault = self.pick(&deletes);
                (Rule::on(Route::DeleteWorker, fault.clone()), fault)
            }
            _ => {
                let fault = self.pick(&reads);
                (Rule::on(vpsie_sim::Match::Reads, fault.clone()), fault)
            }
        };
        let times = 1 + self.random.below(4);
        self.harness.world.cloud.faults().add(rule.times(times));
        format!("{times} times at the cloud: {fault:?}")
    }

    fn kubernetes(&self) -> String {
        let millis = |most: u64| Duration::from_millis(1 + self.random.below(most));
        let effects = [
            Effect::Delay(millis(20_000)),
            Effect::DelayResponse(millis(20_000)),
            Effect::Refuse {
                code: 409,
                retry_after: None,
            },
            Effect::Refuse {
                code: 429,
                retry_after: Some(3),
            },
            Effect::Refuse {
                code: 500,
                retry_after: None,
            },
            Effect::Refuse {
                code: 503,
                retry_after: Some(2),
            },
            Effect::Refuse {
                code: 403,
                retry_after: None,
            },
            Effect::DropRequest,
            Effect::LoseResponse,
            Effect::TruncateResponse,
        ];
        let effect = self.pick(&effects);
        let resources = [
            "vpsienodes",
            "vpsienodes/status",
            "nodes",
            "pods/eviction",
            "nodegroups/status",
            "leases",
            "pods",
        ];
        let resource = self.pick(&resources);
        let verb = if self.random.chance(0.7) {
            "write"
        } else {
            self.pick(&["get", "list"])
        };
        let mut names = Vec::new();
        let times = 1 + self.random.below(5);
        // Only the product's requests: the world around it goes on.
        for actor in self.harness.actors() {
            let on = Match::resource(resource).of_actor(&actor).verb(verb);
            let rule = kube_sim::Rule::times(on, effect.clone(), times);
            self.harness.world.kube.faults().add(rule);
            names.push(actor);
        }
        format!("{times} times at {verb} {resource}: {effect:?}")
    }

    fn watches(&self) -> String {
        let faults = self.harness.world.kube.faults();
        let resources = [
            "nodes",
            "pods",
            "vpsienodes",
            "nodegroups",
            "poddisruptionbudgets",
        ];
        let resource = self.pick(&resources);
        let on = || Match::resource(resource).verb("watch");
        match self.random.below(5) {
            0 => {
                faults.cut_watches(on());
                format!("watches of {resource} are cut")
            }
            1 => {
                faults.expire_watches(on());
                format!("watches of {resource} expire")
            }
            2 => {
                self.harness.world.kube.compact();
                faults.cut_watches(on());
                format!("the past is forgotten, and watches of {resource} cut")
            }
            3 => {
                for actor in self.harness.actors() {
                    let gone = kube_sim::Rule::times(on().of_actor(&actor), Effect::Gone, 2);
                    faults.add(gone);
                }
                faults.cut_watches(on());
                format!("watches of {resource} are answered with 410")
            }
            _ => {
                let by = Duration::from_millis(self.random.below(15_000));
                for actor in self.harness.actors() {
                    let slow = Effect::SlowWatch(by);
                    faults.add(kube_sim::Rule::times(on().of_actor(&actor), slow, 1));
                }
                faults.cut_watches(on());
                format!("watches of {resource} are {by:?} late")
            }
        }
    }

    async fn outage(&self) -> String {
        let faults = self.harness.world.kube.faults();
        let length = Duration::from_secs(1 + self.random.below(45));
        faults.stop();
        self.harness.clock.sleep(length).await;
        faults.restart();
        format!("the API server was away for {length:?}")
    }

    /// No more faults.
    pub(super) fn end(&self) {
        self.harness.world.kube.faults().clear();
        self.harness.world.kube.faults().restart();
        self.harness.world.cloud.faults().clear();
    }
}
