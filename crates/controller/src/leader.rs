//! Leader election on a Lease, and the guard every effect is made under.
//!
//! [`election`] decides (pure), [`lease`] talks to the API server. A leader's validity ends
//! strictly before another can take over: it counts from the *start* of the last successful
//! renewal, on this process's own monotonic clock; what others wrote is never compared with it.

pub mod election;
mod lease;

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use jiff::Timestamp;
use planted::Bug;
use runtime::Clock;

pub use lease::{Leader, Leadership, Options};

/// This replica does not lead, or not any more.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("this replica does not lead")]
pub struct NotLeader;

/// The right to cause effects, for as long as the lease is renewed. One per term.
#[derive(Clone)]
pub struct LeaderGuard {
    epoch: u64,
    clock: Clock,
    /// Milliseconds on `clock`; 0 once the term is over.
    valid_until: Arc<AtomicU64>,
    /// When the lease was renewed last before this term, by the clock of who held it.
    watched_until: Option<Timestamp>,
}

impl fmt::Debug for LeaderGuard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LeaderGuard")
            .field("epoch", &self.epoch)
            .finish_non_exhaustive()
    }
}

impl LeaderGuard {
    fn new(
        epoch: u64,
        clock: Clock,
        valid_until: Duration,
        watched_until: Option<Timestamp>,
    ) -> Self {
        let guard = Self {
            epoch,
            clock,
            valid_until: Arc::default(),
            watched_until,
        };
        guard.extend(valid_until);
        guard
    }

    /// A guard that is always valid, for a process without leader election.
    fn always(clock: Clock) -> Self {
        Self::new(0, clock, Duration::MAX, None)
    }

    /// The term: grows with every change of leader.
    #[must_use]
    pub const fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Until when somebody led before this term: what was observed over time until then is evidence
    /// still. `None` where nobody is known to have led.
    #[must_use]
    pub const fn watched_until(&self) -> Option<Timestamp> {
        self.watched_until
    }

    /// How long the guard is valid without a renewal.
    pub fn check(&self) -> Result<Duration, NotLeader> {
        if planted::is(Bug::ActWithoutLease) {
            return Ok(Duration::from_mins(1));
        }
        let until = Duration::from_millis(self.valid_until.load(Ordering::SeqCst));
        match until.checked_sub(self.clock.monotonic()) {
            Some(left) if !left.is_zero() => Ok(left),
            _ => Err(NotLeader),
        }
    }

    fn extend(&self, until: Duration) {
        let millis = u64::try_from(until.as_millis()).unwrap_or(u64::MAX);
        self.valid_until.store(millis, Ordering::SeqCst);
    }

    fn end(&self) {
        self.valid_until.store(0, Ordering::SeqCst);
    }
}
