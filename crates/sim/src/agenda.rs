//! What an actor means to do later: entries by due time, in the order they were entered.

use std::{collections::BTreeMap, time::Duration};

/// A queue of entries by [`runtime::Clock::monotonic`] time; equal times keep their order.
#[derive(Debug)]
pub(crate) struct Agenda<T> {
    entries: BTreeMap<(Duration, u64), T>,
    entered: u64,
}

impl<T> Default for Agenda<T> {
    fn default() -> Self {
        Self {
            entries: BTreeMap::new(),
            entered: 0,
        }
    }
}

impl<T> Agenda<T> {
    /// Enters `entry`, due at `at`.
    pub(crate) fn enter(&mut self, at: Duration, entry: T) {
        self.entries.insert((at, self.entered), entry);
        self.entered += 1;
    }

    /// The next entry that is due at `now`.
    pub(crate) fn due(&mut self, now: Duration) -> Option<T> {
        let first = self.entries.first_entry()?;
        (first.key().0 <= now).then(|| first.remove())
    }

    /// When the next entry is due.
    pub(crate) fn next(&self) -> Option<Duration> {
        self.entries.keys().next().map(|(at, _)| *at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_come_by_time_and_then_in_the_order_they_were_entered() {
        let mut agenda = Agenda::default();
        let second = Duration::from_secs(1);
        agenda.enter(second * 2, "c");
        agenda.enter(second, "a");
        agenda.enter(second, "b");
        assert_eq!(agenda.next(), Some(second));
        assert_eq!(agenda.due(Duration::ZERO), None);
        assert_eq!(agenda.due(second), Some("a"));
        assert_eq!(agenda.due(second), Some("b"));
        assert_eq!(agenda.due(second), None);
        assert_eq!(agenda.due(second * 3), Some("c"));
        assert_eq!(agenda.next(), None);
    }
}
