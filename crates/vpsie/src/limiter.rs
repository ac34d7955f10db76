//! At most so many requests in any minute, of which writes come first.
//!
//! A sliding window: a request goes out at once unless the last minute has been used up, so a
//! burst is fast and still never exceeds the limit. After a 429 the limit is halved and grows back
//! slowly; `Retry-After` closes the window until it has passed.

use std::{
    collections::VecDeque,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use runtime::Clock;

const WINDOW: Duration = Duration::from_mins(1);
/// The limit grows back by one request each of these.
const RECOVERY: Duration = Duration::from_secs(10);
/// `Retry-After` is not honoured beyond this: an absurd value must not stop the product.
const LONGEST_PENALTY: Duration = Duration::from_mins(5);

/// Who waits for whom when the window is full.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Priority {
    /// Creates and deletes, and logging in for them.
    Write,
    /// Observations.
    Observe,
    /// The catalogue.
    Catalogue,
}

impl Priority {
    /// The share of the window that is kept free for higher priorities, in percent.
    const fn reserve(self) -> usize {
        match self {
            Self::Write => 0,
            Self::Observe => 20,
            Self::Catalogue => 40,
        }
    }
}

#[derive(Debug)]
pub(crate) struct Limiter {
    clock: Clock,
    most: usize,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    sent: VecDeque<Duration>,
    limit: usize,
    grown_at: Duration,
    closed_until: Duration,
}

impl Limiter {
    pub(crate) fn new(clock: Clock, per_minute: u32) -> Self {
        let most = usize::try_from(per_minute.max(1)).unwrap_or(1);
        Self {
            clock,
            most,
            state: Mutex::new(State {
                sent: VecDeque::new(),
                limit: most,
                grown_at: Duration::ZERO,
                closed_until: Duration::ZERO,
            }),
        }
    }

    /// Waits for a place in the window and takes it; returns how long that took.
    pub(crate) async fn acquire(&self, priority: Priority) -> Duration {
        let begun = self.clock.monotonic();
        while let Some(wait) = self.try_acquire(priority) {
            self.clock.sleep(wait).await;
        }
        self.clock.monotonic().saturating_sub(begun)
    }

    /// `None` when a place was taken, else how long to wait before trying again.
    fn try_acquire(&self, priority: Priority) -> Option<Duration> {
        let now = self.clock.monotonic();
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.closed_until > now {
            return Some(state.closed_until.saturating_sub(now));
        }
        while state.limit < self.most && now.saturating_sub(state.grown_at) >= RECOVERY {
            state.limit += 1;
            state.grown_at += RECOVERY;
        }
        while state
            .sent
            .front()
            .is_some_and(|at| now.saturating_sub(*at) >= WINDOW)
        {
            state.sent.pop_front();
        }
        let places = state.limit - state.limit * priority.reserve() / 100;
        if state.sent.len() < places.max(1) {
            state.sent.push_back(now);
            return None;
        }
        // The place that frees next for this priority.
        let index = state.sent.len() - places.max(1);
        let frees_at = state.sent.get(index).copied().unwrap_or(now) + WINDOW;
        Some(frees_at.saturating_sub(now).max(Duration::from_millis(10)))
    }

    /// The cloud said: too many.
    pub(crate) fn refused(&self, retry_after: Option<Duration>) {
        let now = self.clock.monotonic();
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.limit = (state.limit / 2).max(1);
        state.grown_at = now;
        let penalty = retry_after
            .unwrap_or(Duration::from_secs(5))
            .min(LONGEST_PENALTY);
        state.closed_until = state.closed_until.max(now + penalty);
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn no_minute_ever_has_more_requests_than_allowed_and_a_burst_is_not_delayed() {
        let clock = Clock::starting_at(Timestamp::UNIX_EPOCH, 1.0);
        let limiter = Limiter::new(clock.clone(), 100);
        let mut sent = Vec::new();
        for _ in 0..350 {
            limiter.acquire(Priority::Write).await;
            sent.push(clock.monotonic());
        }
        assert_eq!(sent[99], Duration::ZERO);
        for (index, at) in sent.iter().enumerate().skip(100) {
            assert!(at.saturating_sub(sent[index - 100]) >= WINDOW);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn reads_leave_room_for_writes() {
        let clock = Clock::starting_at(Timestamp::UNIX_EPOCH, 1.0);
        let limiter = Limiter::new(clock.clone(), 10);
        for _ in 0..8 {
            assert_eq!(limiter.acquire(Priority::Observe).await, Duration::ZERO);
        }
        assert_eq!(limiter.acquire(Priority::Write).await, Duration::ZERO);
        assert!(limiter.acquire(Priority::Observe).await >= Duration::from_secs(59));
    }

    #[tokio::test(start_paused = true)]
    async fn retry_after_is_honoured_and_an_absurd_one_is_capped() {
        let clock = Clock::starting_at(Timestamp::UNIX_EPOCH, 1.0);
        let limiter = Limiter::new(clock.clone(), 100);
        limiter.refused(Some(Duration::from_secs(7)));
        assert_eq!(
            limiter.acquire(Priority::Write).await,
            Duration::from_secs(7)
        );
        limiter.refused(Some(Duration::from_secs(1 << 40)));
        assert_eq!(limiter.acquire(Priority::Write).await, LONGEST_PENALTY);
    }

    #[tokio::test(start_paused = true)]
    async fn a_refusal_halves_the_limit_which_grows_back_slowly() {
        let clock = Clock::starting_at(Timestamp::UNIX_EPOCH, 1.0);
        let limiter = Limiter::new(clock.clone(), 100);
        let at_once = async || {
            let now = clock.monotonic();
            let mut count = 0;
            while limiter.try_acquire(Priority::Write).is_none() {
                count += 1;
            }
            assert_eq!(clock.monotonic(), now);
            count
        };
        limiter.refused(Some(Duration::from_secs(1)));
        clock.sleep(Duration::from_secs(1)).await;
        assert_eq!(at_once().await, 50);
        clock.sleep(Duration::from_mins(4)).await;
        assert_eq!(at_once().await, 74);
        clock.sleep(Duration::from_mins(10)).await;
        assert_eq!(at_once().await, 100);
    }
}
