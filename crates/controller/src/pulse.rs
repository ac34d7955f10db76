//! Whether the process's loops make progress.
//!
//! Each loop beats when it begins something, and while it waits for something to happen. One that
//! does neither for longer than its limit stands still: only a restart helps. What a loop achieves
//! does not matter here: a cluster or a cloud that is down leaves every loop beating.

use std::{
    collections::BTreeMap,
    future::poll_fn,
    pin::pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use runtime::Clock;

/// A loop that waits beats this often.
const EVERY: Duration = Duration::from_secs(15);
/// A loop that does not beat for longer stands still. Every call of a loop has a shorter deadline.
pub const LIMIT: Duration = Duration::from_mins(3);

/// The loops of the process; clones share them.
#[derive(Clone, Debug)]
pub struct Pulse {
    clock: Clock,
    beats: Arc<Mutex<Beats>>,
}

#[derive(Debug, Default)]
struct Beats {
    next: u64,
    running: BTreeMap<u64, Running>,
}

#[derive(Debug)]
struct Running {
    name: &'static str,
    /// Clock reading ([`Clock::monotonic`]) of the last beat.
    at: Duration,
    limit: Duration,
}

/// A loop that stands still.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Standstill {
    /// Which loop.
    pub name: &'static str,
    /// Since its last beat.
    pub since: Duration,
}

impl Pulse {
    /// No loop runs.
    #[must_use]
    pub fn new(clock: Clock) -> Self {
        Self {
            clock,
            beats: Arc::default(),
        }
    }

    /// A loop begins; it is watched until the [`Beat`] is dropped.
    #[must_use]
    pub fn begin(&self, name: &'static str) -> Beat {
        self.begin_within(name, LIMIT)
    }

    /// A loop with a limit of its own begins.
    #[must_use]
    pub fn begin_within(&self, name: &'static str, limit: Duration) -> Beat {
        let mut beats = self.lock();
        let id = beats.next;
        beats.next += 1;
        let at = self.clock.monotonic();
        beats.running.insert(id, Running { name, at, limit });
        drop(beats);
        Beat {
            pulse: self.clone(),
            name,
            id,
        }
    }

    /// Watches `run`, a loop whose every wait is bounded: being woken is its progress.
    pub async fn periodic(
        &self,
        name: &'static str,
        limit: Duration,
        run: impl Future<Output = ()>,
    ) {
        let beat = self.begin_within(name, limit);
        let mut run = pin!(run);
        poll_fn(|context| {
            beat.beat();
            run.as_mut().poll(context)
        })
        .await;
    }

    /// The loop that has stood still for longest, if one does.
    #[must_use]
    pub fn standstill(&self) -> Option<Standstill> {
        let now = self.clock.monotonic();
        self.lock()
            .running
            .values()
            .filter_map(|running| {
                let since = now.saturating_sub(running.at);
                let name = running.name;
                (since > running.limit).then_some(Standstill { name, since })
            })
            .max_by_key(|standstill| standstill.since)
    }

    /// The loops that run, by name.
    #[must_use]
    pub fn running(&self) -> Vec<&'static str> {
        let mut names: Vec<&'static str> = self.lock().running.values().map(|r| r.name).collect();
        names.sort_unstable();
        names
    }

    fn lock(&self) -> MutexGuard<'_, Beats> {
        self.beats.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One loop's beat.
#[derive(Debug)]
pub struct Beat {
    pulse: Pulse,
    name: &'static str,
    id: u64,
}

impl Beat {
    /// The loop's name.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// The loop makes progress.
    pub fn beat(&self) {
        let now = self.pulse.clock.monotonic();
        if let Some(running) = self.pulse.lock().running.get_mut(&self.id) {
            running.at = now;
        }
    }

    /// Waits for something that may take any time; beats meanwhile.
    pub async fn waiting<T>(&self, wait: impl Future<Output = T>) -> T {
        let mut wait = pin!(wait);
        loop {
            self.beat();
            tokio::select! {
                biased;
                done = &mut wait => {
                    self.beat();
                    return done;
                }
                () = self.pulse.clock.sleep(EVERY) => {}
            }
        }
    }
}

impl Drop for Beat {
    fn drop(&mut self) {
        // A loop that panicked is gone and was not meant to: it is left behind, standing still.
        if !std::thread::panicking() {
            self.pulse.lock().running.remove(&self.id);
        }
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;

    fn pulse() -> (Pulse, Clock) {
        let clock = Clock::starting_at(Timestamp::UNIX_EPOCH, 1.0);
        (Pulse::new(clock.clone()), clock)
    }

    #[tokio::test(start_paused = true)]
    async fn a_loop_that_waits_beats_and_one_that_hangs_is_named() {
        let (pulse, clock) = pulse();
        let (waits, _hangs) = (pulse.begin("waits"), pulse.begin("hangs"));
        waits.waiting(clock.sleep(LIMIT)).await;
        assert_eq!(pulse.standstill(), None);
        waits.waiting(clock.sleep(EVERY)).await;
        let still = pulse.standstill().unwrap();
        assert_eq!((still.name, still.since), ("hangs", LIMIT + EVERY));
        assert_eq!(pulse.running(), ["hangs", "waits"]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_loop_that_ended_is_not_missed_and_one_that_panicked_is() {
        let (pulse, clock) = pulse();
        drop(pulse.begin("ends"));
        let panics = pulse.begin("panics");
        let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(move || {
            let _panics = panics;
            panic!("as planned");
        }));
        assert!(caught.is_err());
        clock.sleep(LIMIT + EVERY).await;
        assert_eq!(pulse.standstill().unwrap().name, "panics");
    }
}
