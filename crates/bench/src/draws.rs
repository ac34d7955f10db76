//! The numbers that the peers' fixtures are drawn with.
//!
//! Karpenter's benchmark draws from Go's `math/rand`, seeded with 42. That generator is additive:
//! each output is the sum of the ones 607 and 273 before it, so that its first 607 outputs, which
//! are kept as data, are the whole of it.

const LENGTH: usize = 607;
const TAP: usize = 273;

/// A stream of draws.
pub(crate) struct Draws {
    /// The last outputs, the oldest at `next` once all of them were given.
    recent: Vec<u64>,
    next: usize,
    /// The kept outputs were all given.
    wrapped: bool,
}

impl Draws {
    /// The stream that belongs to seed 42.
    pub(crate) fn seed_42() -> Self {
        let kept = include_str!("../data/draws.txt");
        let lines = kept.lines().filter(|line| !line.starts_with('#'));
        let recent: Vec<u64> = lines
            .filter_map(|line| u64::from_str_radix(line, 16).ok())
            .collect();
        debug_assert_eq!(recent.len(), LENGTH);
        Self {
            recent,
            next: 0,
            wrapped: false,
        }
    }

    fn next(&mut self) -> u64 {
        if self.wrapped {
            let tap = self.recent[(self.next + LENGTH - TAP) % LENGTH];
            self.recent[self.next] = self.recent[self.next].wrapping_add(tap);
        }
        let drawn = self.recent[self.next];
        self.next = (self.next + 1) % LENGTH;
        self.wrapped |= self.next == 0;
        drawn
    }

    /// A number below `bound` (Go's `Int31n`), which is above zero.
    pub(crate) fn below(&mut self, bound: u32) -> usize {
        let range = 1_u32 << 31;
        loop {
            let drawn = (self.next() >> 32) as u32 & (range - 1);
            // The last, incomplete round of remainders is drawn again.
            if bound.is_power_of_two() || drawn < range - range % bound {
                return (drawn % bound) as usize;
            }
        }
    }

    /// One of `values`.
    pub(crate) fn one<T: Copy>(&mut self, values: &[T]) -> T {
        values[self.below(values.len() as u32)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_are_those_of_go_with_the_same_seed() {
        let mut draws = Draws::seed_42();
        assert_eq!([100; 3].map(|bound| draws.below(bound)), [5, 87, 68]);
        for _ in 3..9999 {
            draws.below(7);
        }
        assert_eq!([7, 5, 6, 8].map(|bound| draws.below(bound)), [4, 4, 5, 3]);
        let mut draws = Draws::seed_42();
        let twenty_hundredth = (0..2000).map(|_| draws.next()).last();
        assert_eq!(twenty_hundredth, Some(0x8dfc_94bc_2a37_d214));
    }
}
