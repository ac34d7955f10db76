//! Values that many rows have in common, each held once.

use std::{collections::BTreeSet, sync::Arc};

/// The values in use.
#[derive(Clone, Debug)]
pub struct Shared<T> {
    known: BTreeSet<Arc<T>>,
    /// They are looked through for unused ones at this many.
    tidy_at: usize,
}

impl<T> Default for Shared<T> {
    fn default() -> Self {
        Self {
            known: BTreeSet::new(),
            tidy_at: 0,
        }
    }
}

impl<T: Ord> Shared<T> {
    /// The one copy of `value`.
    pub fn one(&mut self, value: T) -> Arc<T> {
        self.one_with(value, |_| {})
    }

    /// As [`Self::one`]; a value that was not known is made ready for a long stay first, which must
    /// leave it equal.
    pub fn one_with(&mut self, mut value: T, ready: impl FnOnce(&mut T)) -> Arc<T> {
        if let Some(known) = self.known.get(&value) {
            return Arc::clone(known);
        }
        if self.known.len() >= self.tidy_at {
            self.tidy();
        }
        ready(&mut value);
        let value = Arc::new(value);
        self.known.insert(Arc::clone(&value));
        value
    }

    /// Forgets what nothing uses any more.
    pub fn tidy(&mut self) {
        self.known.retain(|value| Arc::strong_count(value) > 1);
        self.tidy_at = 2 * self.known.len() + 1024;
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.known.len()
    }

    /// There is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.known.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_values_are_one_and_those_out_of_use_are_forgotten() {
        let mut shared = Shared::default();
        let (first, second) = (shared.one(1), shared.one(1));
        assert!(Arc::ptr_eq(&first, &second));
        for value in 0..10_000 {
            shared.one(value);
        }
        assert!(shared.len() < 3000, "{}", shared.len());
        assert!(Arc::ptr_eq(&first, &shared.one(1)));
    }
}
