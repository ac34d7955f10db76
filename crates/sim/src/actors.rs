//! The parts a cluster plays by itself. Each actor keeps what it must know from the news it hears,
//! and acts on it level-triggered: after every batch of news and whenever its agenda says so.

pub(crate) mod daemon_sets;
pub(crate) mod deployments;
pub(crate) mod disruption;
pub(crate) mod jobs;
pub(crate) mod kubelet;
pub(crate) mod machines;
pub(crate) mod node_lifecycle;
pub(crate) mod pods;
pub(crate) mod replica_sets;
pub(crate) mod scheduler;
pub(crate) mod stateful_sets;
pub(crate) mod turns;

use std::{future::Future, time::Duration};

use runtime::{Clock, Tasks};
use tokio::sync::mpsc::UnboundedReceiver;

use crate::observe::Change;

/// How soon an actor tries again what the API server did not take.
pub(crate) const AGAIN: Duration = Duration::from_secs(1);

/// One actor.
pub(crate) trait Actor: Send + 'static {
    /// Takes note of a change; decides nothing.
    fn observe(&mut self, change: Change, now: Duration);

    /// Does what is due at `now`; returns when it wants to be called again at the latest.
    fn act(&mut self, now: Duration) -> impl Future<Output = Option<Duration>> + Send;
}

/// Plays `actor` until the set of tasks ends.
pub(crate) fn play<A: Actor>(
    name: &'static str,
    mut actor: A,
    mut news: UnboundedReceiver<Change>,
    clock: &Clock,
    tasks: &Tasks,
) {
    let clock = clock.clone();
    tasks.spawn(name, async move {
        let mut next = None;
        loop {
            tokio::select! {
                biased;
                change = news.recv() => {
                    let Some(change) = change else { return };
                    actor.observe(change, clock.monotonic());
                    while let Ok(change) = news.try_recv() {
                        actor.observe(change, clock.monotonic());
                    }
                }
                () = wait(&clock, next) => {}
            }
            next = actor.act(clock.monotonic()).await;
        }
    });
}

async fn wait(clock: &Clock, until: Option<Duration>) {
    match until {
        Some(until) => clock.sleep_until(until).await,
        None => std::future::pending().await,
    }
}

/// The earlier of two wishes to be called.
pub(crate) fn sooner(a: Option<Duration>, b: Option<Duration>) -> Option<Duration> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}
