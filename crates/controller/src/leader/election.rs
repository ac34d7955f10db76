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
mod tests;
