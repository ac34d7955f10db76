//! A value whose changes are waited for, as `tokio::sync::watch` has it, but repeatable.
//!
//! tokio's channel wakes its receivers in a random order (it spreads them over shards by an
//! unseeded generator); here they wake in the order in which they began to wait. Everything that
//! several tasks wait for goes through this.

use std::{
    fmt,
    ops::Deref,
    sync::{
        Arc, PoisonError, RwLock, RwLockReadGuard,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use tokio::sync::Notify;

/// The sender is gone: nothing will change any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Closed;

impl fmt::Display for Closed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the sender is gone")
    }
}

impl std::error::Error for Closed {}

struct Shared<T> {
    value: RwLock<T>,
    version: AtomicU64,
    closed: AtomicBool,
    changed: Notify,
}

impl<T> Shared<T> {
    fn read(&self) -> Ref<'_, T> {
        Ref(self.value.read().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The value, held for reading: not longer than a statement, and never over an `await`.
#[derive(Debug)]
pub struct Ref<'a, T>(RwLockReadGuard<'a, T>);

impl<T> Deref for Ref<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

/// Changes the value. Dropping it closes the channel.
pub struct Sender<T>(Arc<Shared<T>>);

/// Reads the value and waits for changes. A clone has seen what its original has.
pub struct Receiver<T> {
    shared: Arc<Shared<T>>,
    seen: u64,
}

/// A sender, and a receiver that has seen `value`.
pub fn channel<T>(value: T) -> (Sender<T>, Receiver<T>) {
    let sender = Sender::new(value);
    let receiver = sender.subscribe();
    (sender, receiver)
}

impl<T> Sender<T> {
    /// A sender nobody listens to yet.
    #[must_use]
    pub fn new(value: T) -> Self {
        Self(Arc::new(Shared {
            value: RwLock::new(value),
            version: AtomicU64::new(0),
            closed: AtomicBool::new(false),
            changed: Notify::new(),
        }))
    }

    /// A receiver that has seen the present value.
    #[must_use]
    pub fn subscribe(&self) -> Receiver<T> {
        Receiver {
            shared: Arc::clone(&self.0),
            seen: self.0.version.load(Ordering::SeqCst),
        }
    }

    /// Changes the value in place; receivers are told whether or not it differs.
    pub fn send_modify(&self, change: impl FnOnce(&mut T)) {
        {
            let mut value = self.0.value.write().unwrap_or_else(PoisonError::into_inner);
            change(&mut value);
            self.0.version.fetch_add(1, Ordering::SeqCst);
        }
        self.0.changed.notify_waiters();
    }

    /// Replaces the value and returns the one before.
    pub fn send_replace(&self, value: T) -> T {
        let mut value = value;
        self.send_modify(|held| std::mem::swap(held, &mut value));
        value
    }

    /// The present value.
    #[must_use]
    pub fn borrow(&self) -> Ref<'_, T> {
        self.0.read()
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        self.0.closed.store(true, Ordering::SeqCst);
        self.0.changed.notify_waiters();
    }
}

impl<T> Receiver<T> {
    /// The present value; whether it was seen does not change.
    #[must_use]
    pub fn borrow(&self) -> Ref<'_, T> {
        self.shared.read()
    }

    /// The present value, which counts as seen from now on.
    pub fn borrow_and_update(&mut self) -> Ref<'_, T> {
        let value = self.shared.read();
        self.seen = self.shared.version.load(Ordering::SeqCst);
        value
    }

    /// The present value counts as seen.
    pub fn mark_unchanged(&mut self) {
        self.seen = self.shared.version.load(Ordering::SeqCst);
    }

    /// Whether there is a change that was not seen.
    #[must_use]
    pub fn has_changed(&self) -> bool {
        self.shared.version.load(Ordering::SeqCst) != self.seen
    }

    /// Waits for a change that was not seen, which counts as seen then. May be dropped at any
    /// time without losing a change.
    pub async fn changed(&mut self) -> Result<(), Closed> {
        loop {
            // Made before the look: a change in between wakes it.
            let changed = self.shared.changed.notified();
            let version = self.shared.version.load(Ordering::SeqCst);
            if version != self.seen {
                self.seen = version;
                return Ok(());
            }
            if self.shared.closed.load(Ordering::SeqCst) {
                return Err(Closed);
            }
            changed.await;
        }
    }
}

impl<T> Clone for Receiver<T> {
    fn clone(&self) -> Self {
        Self {
            shared: Arc::clone(&self.shared),
            seen: self.seen,
        }
    }
}

impl<T: fmt::Debug> fmt::Debug for Sender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Sender").field(&*self.borrow()).finish()
    }
}

impl<T: fmt::Debug> fmt::Debug for Receiver<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Receiver").field(&*self.borrow()).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use crate::Tasks;

    #[tokio::test(start_paused = true)]
    async fn receivers_wake_in_the_order_in_which_they_began_to_wait() {
        let sender = Sender::new(0);
        let (tasks, order) = (Tasks::new(), Arc::new(Mutex::new(Vec::new())));
        for number in 0..50 {
            let (mut receiver, order) = (sender.subscribe(), Arc::clone(&order));
            tasks.spawn("waits", async move {
                receiver.changed().await.unwrap();
                order.lock().unwrap().push(number);
            });
        }
        tokio::task::yield_now().await;
        sender.send_replace(1);
        tasks.join().await;
        assert_eq!(*order.lock().unwrap(), (0..50).collect::<Vec<_>>());
    }

    #[tokio::test(start_paused = true)]
    async fn a_change_before_the_wait_is_not_lost_and_counts_once() {
        let (sender, mut receiver) = channel(0);
        assert_eq!(sender.send_replace(7), 0);
        assert!(receiver.has_changed());
        receiver.changed().await.unwrap();
        assert_eq!(*receiver.borrow(), 7);
        sender.send_modify(|value| *value += 1);
        assert_eq!(*receiver.borrow_and_update(), 8);
        assert!(!receiver.has_changed());
        drop(sender);
        assert_eq!(receiver.changed().await, Err(Closed));
    }
}
