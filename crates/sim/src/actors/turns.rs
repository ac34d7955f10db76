//! Controllers that look at one object at a time: soon after they heard of a change that concerns
//! it, and again while the API server does not take what they write.

use std::{collections::BTreeMap, future::Future, time::Duration};

use runtime::Randomness;

use super::{AGAIN, Actor};
use crate::{config::Range, objects::Key, observe::Change};

/// An actor that brings one object after the other to what it should be.
pub(crate) trait Reconciler: Send + 'static {
    /// Takes note of a change; the objects it concerns.
    fn note(&mut self, change: &Change) -> Vec<Key>;

    /// Looks at one object; whether everything that was to be written was taken.
    fn reconcile(&mut self, key: &Key, now: Duration) -> impl Future<Output = bool> + Send;

    /// Whose turn it is.
    fn turns(&mut self) -> &mut Turns;
}

impl<R: Reconciler> Actor for R {
    fn observe(&mut self, change: Change, now: Duration) {
        for key in self.note(&change) {
            self.turns().soon(key, now);
        }
    }

    async fn act(&mut self, now: Duration) -> Option<Duration> {
        for key in self.turns().queue.take(now) {
            if !self.reconcile(&key, now).await {
                self.turns().at(key, now + AGAIN);
            }
        }
        self.turns().queue.next()
    }
}

/// The objects that wait for a look. One that is heard of waits a little, as it does in a real
/// controller, so that several changes make one look.
pub(crate) struct Turns {
    queue: Queue,
    random: Randomness,
    latency: Range,
}

impl Turns {
    pub(crate) fn new(random: Randomness, latency: Range) -> Self {
        Self {
            queue: Queue::default(),
            random,
            latency,
        }
    }

    /// A look at `key`, at `at` or earlier.
    pub(crate) fn at(&mut self, key: Key, at: Duration) {
        self.queue.want(key, at);
    }

    fn soon(&mut self, key: Key, now: Duration) {
        self.queue.want(key, now + self.latency.draw(&self.random));
    }
}

/// Which objects want a look, and when.
#[derive(Default)]
pub(crate) struct Queue {
    due: BTreeMap<Key, Duration>,
}

impl Queue {
    /// A look at `key`, at `at` or earlier.
    pub(crate) fn want(&mut self, key: Key, at: Duration) {
        let due = self.due.entry(key).or_insert(at);
        *due = at.min(*due);
    }

    /// Every key that is due at `now`, by name.
    pub(crate) fn take(&mut self, now: Duration) -> Vec<Key> {
        let due: Vec<_> = self
            .due
            .iter()
            .filter(|(_, at)| **at <= now)
            .map(|(key, _)| key.clone())
            .collect();
        for key in &due {
            self.due.remove(key);
        }
        due
    }

    /// When the next look is wanted.
    pub(crate) fn next(&self) -> Option<Duration> {
        self.due.values().min().copied()
    }
}
