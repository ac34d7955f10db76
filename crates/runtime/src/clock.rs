use std::{future::Future, sync::Arc, time::Duration};

use jiff::{SignedDuration, Timestamp};

/// The only source of time: timestamps, durations, sleeping and timeouts.
///
/// *Product time* is what the product believes the time is. For [`Clock::system`] it is the
/// wall clock; for [`Clock::starting_at`] it starts at a given instant and runs `speed` times as
/// fast as tokio's clock. On a paused tokio runtime that makes it virtual time.
///
/// Invariant: timers (`sleep`, `timeout`, `monotonic`) never read the wall clock, so a stepped
/// wall clock moves timestamps but no deadline.
#[derive(Clone, Debug)]
pub struct Clock(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    start: tokio::time::Instant,
    /// `None`: timestamps follow the wall clock.
    epoch: Option<Timestamp>,
    speed: f64,
}

/// A [`Clock::timeout`] ran out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Elapsed;

impl std::fmt::Display for Elapsed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("deadline has elapsed")
    }
}

impl std::error::Error for Elapsed {}

// `Clock` is the one place that may read the process's clocks.
#[allow(clippy::disallowed_methods)]
impl Clock {
    /// The wall clock, at real speed.
    #[must_use]
    pub fn system() -> Self {
        Self(Arc::new(Inner {
            start: tokio::time::Instant::now(),
            epoch: None,
            speed: 1.0,
        }))
    }

    /// Product time starts at `epoch` now and runs `speed` times as fast as tokio's clock.
    /// With `speed` 1 on a paused runtime this is virtual time.
    #[must_use]
    pub fn starting_at(epoch: Timestamp, speed: f64) -> Self {
        Self(Arc::new(Inner {
            start: tokio::time::Instant::now(),
            epoch: Some(epoch),
            speed: if speed.is_finite() && speed > 0.0 {
                speed
            } else {
                1.0
            },
        }))
    }

    /// The present instant, in product time.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        match self.0.epoch {
            None => Timestamp::now(),
            Some(epoch) => epoch
                .saturating_add(SignedDuration::try_from(self.monotonic()).unwrap_or_default())
                .unwrap_or(epoch),
        }
    }

    /// Product time that has passed since this clock was made; never goes backwards.
    #[must_use]
    pub fn monotonic(&self) -> Duration {
        self.0.start.elapsed().mul_f64(self.0.speed)
    }

    /// Sleeps for `duration` of product time.
    pub async fn sleep(&self, duration: Duration) {
        tokio::time::sleep(self.real(duration)).await;
    }

    /// Sleeps until [`Clock::monotonic`] is at least `at`.
    pub async fn sleep_until(&self, at: Duration) {
        self.sleep(at.saturating_sub(self.monotonic())).await;
    }

    /// Runs `future` for at most `limit` of product time.
    pub async fn timeout<F: Future>(
        &self,
        limit: Duration,
        future: F,
    ) -> Result<F::Output, Elapsed> {
        tokio::time::timeout(self.real(limit), future)
            .await
            .map_err(|_| Elapsed)
    }

    /// How long `duration` of product time takes on tokio's clock.
    #[must_use]
    pub fn real(&self, duration: Duration) -> Duration {
        if (self.0.speed - 1.0).abs() < f64::EPSILON {
            return duration;
        }
        Duration::try_from_secs_f64(duration.as_secs_f64() / self.0.speed).unwrap_or(Duration::MAX)
    }

    /// How many times faster than tokio's clock product time runs.
    #[must_use]
    pub fn speed(&self) -> f64 {
        self.0.speed
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods)] // the clock is held against tokio's own
mod tests {
    use super::*;

    const EPOCH: Timestamp = Timestamp::UNIX_EPOCH;

    #[tokio::test(start_paused = true)]
    async fn virtual_time_moves_only_by_sleeping() {
        let clock = Clock::starting_at(EPOCH, 1.0);
        clock.sleep(Duration::from_hours(1)).await;
        assert_eq!(clock.now().as_second(), 3600);
        assert_eq!(clock.monotonic(), Duration::from_hours(1));
    }

    #[tokio::test(start_paused = true)]
    async fn a_scaled_clock_runs_that_much_faster() {
        let clock = Clock::starting_at(EPOCH, 60.0);
        let real = tokio::time::Instant::now();
        clock.sleep(Duration::from_mins(10)).await;
        assert_eq!(real.elapsed(), Duration::from_secs(10));
        assert_eq!(clock.now().as_second(), 600);
    }

    #[tokio::test(start_paused = true)]
    async fn a_timeout_is_in_product_time() {
        let clock = Clock::starting_at(EPOCH, 10.0);
        let slow = clock.sleep(Duration::from_secs(31));
        assert_eq!(
            clock.timeout(Duration::from_secs(30), slow).await,
            Err(Elapsed)
        );
    }
}
