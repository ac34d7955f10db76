//! What changes rarely, remembered: fresh for an hour, stale rather than nothing.

use std::{collections::BTreeMap, future::Future, time::Duration};

use cloud::CloudError;
use runtime::Clock;
use tokio::sync::Mutex;

/// How long an answer counts as fresh.
const FRESH: Duration = Duration::from_secs(3600);

/// A remembered answer.
#[derive(Clone, Debug)]
pub(crate) struct Remembered<T> {
    pub(crate) value: T,
    pub(crate) read_at: jiff::Timestamp,
    pub(crate) stale: bool,
}

/// Remembered answers by key. The lock is held while one is read anew, so that callers share the
/// one request.
#[derive(Debug)]
pub(crate) struct Memory<T> {
    clock: Clock,
    cells: Mutex<BTreeMap<String, (Duration, Remembered<T>)>>,
}

impl<T: Clone> Memory<T> {
    pub(crate) fn new(clock: Clock) -> Self {
        Self {
            clock,
            cells: Mutex::default(),
        }
    }

    /// The value of `key`, read anew when it is not fresh; an old one when that fails.
    pub(crate) async fn get(
        &self,
        key: &str,
        read: impl Future<Output = Result<T, CloudError>>,
    ) -> Result<Remembered<T>, CloudError> {
        let mut cells = self.cells.lock().await;
        let now = self.clock.monotonic();
        if let Some((at, remembered)) = cells.get(key)
            && now.saturating_sub(*at) < FRESH
        {
            return Ok(remembered.clone());
        }
        match read.await {
            Ok(value) => {
                let remembered = Remembered {
                    value,
                    read_at: self.clock.now(),
                    stale: false,
                };
                cells.insert(key.to_owned(), (now, remembered.clone()));
                Ok(remembered)
            }
            Err(error) => match cells.get(key) {
                Some((_, remembered)) => {
                    tracing::warn!(key, %error, "an older catalogue is used");
                    Ok(Remembered {
                        stale: true,
                        ..remembered.clone()
                    })
                }
                None => Err(error),
            },
        }
    }

    /// Forgets everything: another account may have another catalogue.
    pub(crate) async fn clear(&self) {
        self.cells.lock().await.clear();
    }
}
