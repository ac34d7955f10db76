use std::{
    collections::BTreeMap,
    future::Future,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::task::AbortHandle;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::Instrument as _;

/// The only place that spawns: a set of tasks that can be asked to stop, waited for, or aborted.
///
/// Aborting the set of a replica is how the simulated world crashes it: every task disappears at
/// its next await point, and with them everything the replica knew.
#[derive(Clone, Debug, Default)]
pub struct Tasks {
    tracker: TaskTracker,
    stop: CancellationToken,
    handles: Arc<Mutex<Handles>>,
}

#[derive(Debug, Default)]
struct Handles {
    next: u64,
    running: BTreeMap<u64, AbortHandle>,
}

impl Tasks {
    /// An empty set.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Runs `future` as a task of this set, in a span that carries `name`.
    #[allow(clippy::disallowed_methods)] // the one place that may spawn
    pub fn spawn<F>(&self, name: &'static str, future: F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let handles = Arc::clone(&self.handles);
        let mut guard = self.handles.lock().unwrap_or_else(PoisonError::into_inner);
        let id = guard.next;
        guard.next += 1;
        let task = async move {
            future.await;
            handles
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .running
                .remove(&id);
        };
        let handle = tokio::spawn(
            self.tracker
                .track_future(task.instrument(tracing::info_span!("task", name))),
        );
        guard.running.insert(id, handle.abort_handle());
    }

    /// The token that tells the tasks of this set to stop.
    #[must_use]
    pub fn stop_token(&self) -> CancellationToken {
        self.stop.clone()
    }

    /// Resolves once [`Tasks::stop`] was called.
    pub async fn stopped(&self) {
        self.stop.cancelled().await;
    }

    /// Asks every task to stop at its next safe point.
    pub fn stop(&self) {
        self.stop.cancel();
    }

    /// Waits until every task has ended.
    pub async fn join(&self) {
        self.tracker.close();
        self.tracker.wait().await;
    }

    /// Drops every task at its current await point, as a crash would.
    pub fn abort(&self) {
        let mut guard = self.handles.lock().unwrap_or_else(PoisonError::into_inner);
        for handle in std::mem::take(&mut guard.running).into_values() {
            handle.abort();
        }
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods)] // the clock is held against tokio's own
mod tests {
    use std::{
        sync::atomic::{AtomicBool, Ordering},
        time::Duration,
    };

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn an_aborted_task_does_nothing_more() {
        let tasks = Tasks::new();
        let ran = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&ran);
        tasks.spawn("late", async move {
            tokio::time::sleep(Duration::from_secs(1)).await;
            flag.store(true, Ordering::SeqCst);
        });
        tasks.abort();
        tasks.join().await;
        assert!(!ran.load(Ordering::SeqCst));
    }

    #[tokio::test(start_paused = true)]
    async fn join_waits_for_tasks_that_were_asked_to_stop() {
        let tasks = Tasks::new();
        let token = tasks.stop_token();
        tasks.spawn("polite", async move { token.cancelled().await });
        tasks.stop();
        tasks.join().await;
    }
}
