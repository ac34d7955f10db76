//! The rules of the election, without any I/O.
//!
//! Events in, what to do out. All times are readings of the candidate's own monotonic clock.

use std::time::Duration;

/// The lease as the API server has it. Its times are opaque: only *that* it changed counts.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Record {
    /// Who holds it; empty when nobody does.
    pub holder: String,
    /// `renewTime`, as text.
    pub renewed: String,
    /// `leaseTransitions`: the epoch.
    pub transitions: u64,
    /// The object's version, for compare-and-swap.
    pub version: String,
}

/// The election's times.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Times {
    /// A lease that did not change for so long is free.
    pub lease_duration: Duration,
    /// A leader's validity after the start of its last successful renewal; shorter than
    /// `lease_duration`.
    pub renew_deadline: Duration,
    /// Between two tries.
    pub retry_period: Duration,
}

impl Default for Times {
    fn default() -> Self {
        Self {
            lease_duration: Duration::from_secs(15),
            renew_deadline: Duration::from_secs(10),
            retry_period: Duration::from_secs(2),
        }
    }
}

/// Times with which two replicas could lead at once, or nobody for long.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum BadTimes {
    /// The old leader's guard would outlive the lease.
    #[error("the renew deadline must be shorter than the lease duration, by a tenth at least")]
    DeadlineTooLong,
    /// One slow answer would end the term.
    #[error("the retry period must be more than zero and at most half the renew deadline")]
    RetryTooLong,
}

impl Times {
    /// Refuses times that are not safe: the clocks of two replicas may differ in rate by 10 %.
    pub fn validate(&self) -> Result<(), BadTimes> {
        if self.renew_deadline + self.lease_duration / 10 > self.lease_duration {
            Err(BadTimes::DeadlineTooLong)
        } else if self.retry_period.is_zero() || self.retry_period * 2 > self.renew_deadline {
            Err(BadTimes::RetryTooLong)
        } else {
            Ok(())
        }
    }
}

/// What a candidate should send next.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Try {
    /// Nothing: somebody else holds the lease.
    Wait,
    /// The lease does not exist: create it, in this term.
    Create(u64),
    /// Take the lease that has this record, in the term after its.
    Acquire(Record),
    /// Renew the lease that has this record.
    Renew(Record),
}

/// One candidate's view.
#[derive(Clone, Debug)]
pub struct Election {
    identity: String,
    times: Times,
    /// The record last seen and since when it has not changed.
    seen: Option<(Record, Duration)>,
    /// Since when a lease that was there before is missing.
    missing: Option<Duration>,
    /// While leading: the epoch and until when it is valid.
    term: Option<(u64, Duration)>,
}

impl Election {
    /// A candidate that knows nothing.
    #[must_use]
    pub const fn new(identity: String, times: Times) -> Self {
        Self {
            identity,
            times,
            seen: None,
            missing: None,
            term: None,
        }
    }

    /// Who holds the lease, as far as is known.
    #[must_use]
    pub fn holder(&self) -> &str {
        self.seen.as_ref().map_or("", |(record, _)| &record.holder)
    }

    /// The lease was read at `now`; decides what to send.
    pub fn observed(&mut self, now: Duration, record: Option<Record>) -> Try {
        let Some(record) = record else {
            let Some((last, _)) = &self.seen else {
                return Try::Create(1);
            };
            // Somebody deleted the lease. Who led may believe so until its guard runs out; only
            // that replica may make it anew before.
            let since = *self.missing.get_or_insert(now);
            let free = last.holder.is_empty() || self.leads();
            return if free || now.saturating_sub(since) >= self.times.lease_duration {
                Try::Create(last.transitions + 1)
            } else {
                Try::Wait
            };
        };
        self.missing = None;
        let since = match &self.seen {
            // Versions differ with every write; so does any real renewal.
            Some((known, since)) if known.version == record.version => *since,
            _ => now,
        };
        self.seen = Some((record.clone(), since));
        if record.holder == self.identity && self.term.is_some() {
            return Try::Renew(record);
        }
        let expired = now.saturating_sub(since) >= self.times.lease_duration;
        // Our own name from an earlier life counts like anybody else's: that process may still be
        // running.
        if record.holder.is_empty() || expired {
            Try::Acquire(record)
        } else {
            Try::Wait
        }
    }

    /// A create, acquire or renew whose request was begun at `begun` succeeded with `record`.
    pub fn succeeded(&mut self, begun: Duration, record: Record) -> (u64, Duration) {
        let valid_until = begun + self.times.renew_deadline;
        let epoch = record.transitions;
        self.missing = None;
        self.seen = Some((record, begun));
        self.term = Some((epoch, valid_until));
        (epoch, valid_until)
    }

    /// Whether the term ended, by time or because another took over.
    pub fn lost(&mut self, now: Duration) -> bool {
        let Some((epoch, valid_until)) = self.term else {
            return false;
        };
        let taken = self.seen.as_ref().is_some_and(|(record, _)| {
            record.holder != self.identity || record.transitions != epoch
        });
        let lost = taken || now >= valid_until;
        if lost {
            self.term = None;
        }
        lost
    }

    /// Whether this candidate leads, as far as it knows.
    #[must_use]
    pub const fn leads(&self) -> bool {
        self.term.is_some()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A server with compare-and-swap and candidates whose clocks run at different rates, whose
    /// requests take time, and which pause.
    #[derive(Default)]
    struct Server {
        record: Option<Record>,
        writes: u64,
    }

    impl Server {
        fn write(
            &mut self,
            expected: Option<&str>,
            holder: &str,
            transitions: u64,
        ) -> Option<Record> {
            if self.record.as_ref().map(|r| r.version.as_str()) != expected {
                return None;
            }
            self.writes += 1;
            let record = Record {
                holder: holder.into(),
                renewed: self.writes.to_string(),
                transitions,
                version: self.writes.to_string(),
            };
            self.record = Some(record.clone());
            Some(record)
        }
    }

    #[derive(Clone, Copy, Debug)]
    struct Turn {
        who: usize,
        gap_ms: u64,
        request_ms: u64,
        lose_answer: bool,
        crash: bool,
    }

    fn turn() -> impl Strategy<Value = Turn> {
        (
            0..3_usize,
            0..9000_u64,
            0..3000_u64,
            prop::bool::weighted(0.1),
            prop::bool::weighted(0.05),
        )
            .prop_map(|(who, gap_ms, request_ms, lose_answer, crash)| Turn {
                who,
                gap_ms,
                request_ms,
                lose_answer,
                crash,
            })
    }

    proptest! {
        /// However requests are delayed, answers lost and candidates paused or restarted, two
        /// guards are never valid at one instant. Clocks run up to 10 % fast or slow.
        #[test]
        fn two_guards_are_never_valid_at_once(
            turns in prop::collection::vec(turn(), 1..200),
            rates in prop::array::uniform3(900..1100_u64),
        ) {
            let times = Times::default();
            let mut server = Server::default();
            let mut now_ms = 0_u64;
            let local = |rate: u64, ms: u64| Duration::from_millis(ms * rate / 1000);
            let mut candidates: Vec<Election> =
                (0..3).map(|i| Election::new(format!("c{i}"), times)).collect();
            // Validity in true time, by candidate.
            let mut valid_until = [0_u64; 3];
            for turn in turns {
                now_ms += turn.gap_ms;
                let (i, rate) = (turn.who, rates[turn.who]);
                if turn.crash {
                    candidates[i] = Election::new(format!("c{i}"), times);
                    valid_until[i] = 0;
                }
                if candidates[i].lost(local(rate, now_ms)) {
                    valid_until[i] = 0;
                }
                let begun = local(rate, now_ms);
                let next = candidates[i].observed(begun, server.record.clone());
                let name = format!("c{i}");
                let answer = match &next {
                    Try::Wait => None,
                    Try::Create(term) => server.write(None, &name, *term),
                    Try::Acquire(r) => server.write(Some(&r.version), &name, r.transitions + 1),
                    Try::Renew(r) => server.write(Some(&r.version), &name, r.transitions),
                };
                let begun_true = now_ms;
                now_ms += turn.request_ms;
                if let Some(record) = answer && !turn.lose_answer {
                    let (_, until) = candidates[i].succeeded(begun, record);
                    let lasts = until.saturating_sub(begun).as_millis() as u64 * 1000 / rate;
                    valid_until[i] = begun_true + lasts;
                }
                let leaders = valid_until.iter().filter(|until| **until > now_ms).count();
                prop_assert!(leaders <= 1, "{valid_until:?} at {now_ms}");
            }
        }
    }

    #[test]
    fn a_lease_is_taken_only_when_it_did_not_change_for_its_duration_on_the_own_clock() {
        let times = Times::default();
        let mut election = Election::new("b".into(), times);
        let record = |version: &str| Record {
            holder: "a".into(),
            renewed: "2000-01-01".into(),
            transitions: 3,
            version: version.into(),
        };
        let at = Duration::from_secs;
        assert_eq!(
            election.observed(at(100), Some(record("1"))),
            Try::Wait,
            "however old it looks"
        );
        assert_eq!(election.observed(at(114), Some(record("2"))), Try::Wait);
        assert_eq!(election.observed(at(128), Some(record("2"))), Try::Wait);
        assert_eq!(
            election.observed(at(129), Some(record("2"))),
            Try::Acquire(record("2"))
        );
        let mut free = record("3");
        free.holder.clear();
        assert_eq!(
            election.observed(at(130), Some(free.clone())),
            Try::Acquire(free)
        );
    }

    #[test]
    fn a_lease_somebody_deleted_is_made_anew_only_by_its_leader_or_after_its_duration() {
        let at = Duration::from_secs;
        let record = Record {
            holder: "a".into(),
            transitions: 3,
            version: "7".into(),
            ..Record::default()
        };
        let mut leader = Election::new("a".into(), Times::default());
        leader.succeeded(at(0), record.clone());
        assert_eq!(leader.observed(at(2), None), Try::Create(4));

        let mut standby = Election::new("b".into(), Times::default());
        assert_eq!(standby.observed(at(0), Some(record)), Try::Wait);
        assert_eq!(standby.observed(at(2), None), Try::Wait);
        assert_eq!(standby.observed(at(16), None), Try::Wait);
        assert_eq!(standby.observed(at(17), None), Try::Create(4));

        let mut newcomer = Election::new("c".into(), Times::default());
        assert_eq!(newcomer.observed(at(0), None), Try::Create(1));
    }

    #[test]
    fn times_that_would_let_two_lead_are_refused() {
        let times = Times::default();
        assert_eq!(times.validate(), Ok(()));
        let long = Times {
            renew_deadline: times.lease_duration,
            ..times
        };
        assert_eq!(long.validate(), Err(BadTimes::DeadlineTooLong));
        let rare = Times {
            retry_period: times.renew_deadline,
            ..times
        };
        assert_eq!(rare.validate(), Err(BadTimes::RetryTooLong));
    }

    #[test]
    fn a_term_ends_with_its_deadline_or_when_another_holds_the_lease() {
        let at = Duration::from_secs;
        let own = Record {
            holder: "a".into(),
            transitions: 1,
            version: "1".into(),
            ..Record::default()
        };
        let mut election = Election::new("a".into(), Times::default());
        election.succeeded(at(0), own.clone());
        assert!(!election.lost(at(9)));
        assert!(election.lost(at(10)), "validity counts from the request");
        assert!(!election.leads());

        election.succeeded(at(20), own.clone());
        let other = Record {
            holder: "b".into(),
            transitions: 2,
            version: "2".into(),
            ..Record::default()
        };
        election.observed(at(21), Some(other));
        assert!(election.lost(at(21)));
    }

    #[test]
    fn our_own_name_from_an_earlier_life_is_not_taken_for_ours() {
        let mut election = Election::new("a".into(), Times::default());
        let record = Record {
            holder: "a".into(),
            version: "1".into(),
            ..Record::default()
        };
        assert_eq!(election.observed(Duration::ZERO, Some(record)), Try::Wait);
    }
}
