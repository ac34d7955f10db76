//! What changes rarely, remembered: fresh for an hour, stale rather than nothing.
//!
//! Callers at once share one read of a key; none waits longer than it said it would, and after a
//! failed read the old value is served for a while without asking.

use std::{
    collections::BTreeMap,
    future::Future,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use cloud::{CloudError, ErrorClass};
use runtime::Clock;

/// How long an answer counts as fresh.
const FRESH: Duration = Duration::from_hours(1);
/// How long an old answer is served without asking, after asking failed.
const PAUSE: Duration = Duration::from_mins(1);

/// A remembered answer.
#[derive(Clone, Debug)]
pub(crate) struct Remembered<T> {
    pub(crate) value: T,
    pub(crate) read_at: jiff::Timestamp,
    pub(crate) stale: bool,
}

/// Remembered answers by key.
#[derive(Debug)]
pub(crate) struct Memory<T> {
    clock: Clock,
    cells: Mutex<BTreeMap<String, Arc<Cell<T>>>>,
}

#[derive(Debug)]
struct Cell<T> {
    /// Held while one caller reads for all.
    flight: tokio::sync::Mutex<()>,
    held: Mutex<Held<T>>,
}

#[derive(Debug)]
struct Held<T> {
    answer: Option<Remembered<T>>,
    /// Until when (monotonic) it is served as it is.
    serve_until: Duration,
}

impl<T: Clone> Memory<T> {
    pub(crate) fn new(clock: Clock) -> Self {
        Self {
            clock,
            cells: Mutex::default(),
        }
    }

    /// The value of `key`, read anew within `limit` when it is not fresh; an old one when that
    /// fails.
    pub(crate) async fn get(
        &self,
        key: &str,
        limit: Duration,
        read: impl Future<Output = Result<T, CloudError>>,
    ) -> Result<Remembered<T>, CloudError> {
        let cell = self.cell(key);
        if let Some(answer) = cell.served(self.clock.monotonic()) {
            return Ok(answer);
        }
        let flight = async {
            let _flight = cell.flight.lock().await;
            // Somebody else may have read it while this caller waited.
            if let Some(answer) = cell.served(self.clock.monotonic()) {
                return Ok(answer);
            }
            let value = read.await?;
            let answer = Remembered {
                value,
                read_at: self.clock.now(),
                stale: false,
            };
            let mut held = cell.held();
            held.answer = Some(answer.clone());
            held.serve_until = self.clock.monotonic() + FRESH;
            Ok(answer)
        };
        let error = match self.clock.timeout(limit, flight).await {
            Ok(Ok(answer)) => return Ok(answer),
            Ok(Err(error)) => error,
            Err(_) => CloudError::new(
                format!("reading the catalogue of {key}"),
                ErrorClass::Transient,
                "no answer in time",
            ),
        };
        let mut held = cell.held();
        let Some(answer) = held.answer.as_mut() else {
            return Err(error);
        };
        tracing::warn!(key, %error, "an older catalogue is used");
        answer.stale = true;
        let answer = answer.clone();
        held.serve_until = self.clock.monotonic() + PAUSE;
        Ok(answer)
    }

    /// Nothing counts as fresh any more: another account may have other prices.
    pub(crate) fn expire(&self) {
        let cells = self.cells.lock().unwrap_or_else(PoisonError::into_inner);
        for cell in cells.values() {
            cell.held().serve_until = Duration::ZERO;
        }
    }

    fn cell(&self, key: &str) -> Arc<Cell<T>> {
        let mut cells = self.cells.lock().unwrap_or_else(PoisonError::into_inner);
        let cell = cells.entry(key.to_owned()).or_insert_with(|| {
            Arc::new(Cell {
                flight: tokio::sync::Mutex::default(),
                held: Mutex::new(Held {
                    answer: None,
                    serve_until: Duration::ZERO,
                }),
            })
        });
        Arc::clone(cell)
    }
}

impl<T: Clone> Cell<T> {
    fn held(&self) -> std::sync::MutexGuard<'_, Held<T>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn served(&self, now: Duration) -> Option<Remembered<T>> {
        let held = self.held();
        held.answer.clone().filter(|_| now < held.serve_until)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    const LIMIT: Duration = Duration::from_secs(10);

    fn memory() -> (Clock, Memory<u32>) {
        let clock = Clock::starting_at(jiff::Timestamp::UNIX_EPOCH, 1.0);
        (clock.clone(), Memory::new(clock))
    }

    fn broken() -> CloudError {
        CloudError::new("reading", ErrorClass::Transient, "broken")
    }

    #[tokio::test(start_paused = true)]
    async fn callers_at_once_share_one_read() {
        let (clock, memory) = memory();
        let reads = AtomicU32::new(0);
        let read = || async {
            clock.sleep(Duration::from_secs(1)).await;
            Ok(reads.fetch_add(1, Ordering::SeqCst))
        };
        let (a, b) = tokio::join!(
            memory.get("key", LIMIT, read()),
            memory.get("key", LIMIT, read())
        );
        assert_eq!((a.unwrap().value, b.unwrap().value), (0, 0));
        assert_eq!(reads.load(Ordering::SeqCst), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn an_old_value_is_served_when_the_read_fails_and_is_not_asked_for_at_once_again() {
        let (clock, memory) = memory();
        memory.get("key", LIMIT, async { Ok(7) }).await.unwrap();
        clock.sleep(FRESH).await;
        let old = memory.get("key", LIMIT, async { Err(broken()) }).await;
        assert!(old.is_ok_and(|old| old.stale && old.value == 7));
        let again = memory.get("key", LIMIT, async { Ok(8) }).await.unwrap();
        assert!(again.stale && again.value == 7);
        clock.sleep(PAUSE).await;
        let fresh = memory.get("key", LIMIT, async { Ok(8) }).await.unwrap();
        assert!(!fresh.stale && fresh.value == 8);
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_waits_longer_than_its_own_limit_for_the_read_of_another() {
        let (clock, memory) = memory();
        let slow = memory.get("key", LIMIT, async {
            clock.sleep(Duration::from_secs(9)).await;
            Ok(1)
        });
        let impatient = async {
            let begun = clock.monotonic();
            let limit = Duration::from_secs(2);
            let outcome = memory.get("key", limit, async { Ok(2) }).await;
            assert_eq!(clock.monotonic().saturating_sub(begun), limit);
            outcome
        };
        let (slow, impatient) = tokio::join!(slow, impatient);
        assert!(slow.is_ok());
        assert!(impatient.is_err());
    }
}
