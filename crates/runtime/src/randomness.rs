use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use jiff::Timestamp;
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use uuid::Uuid;

/// The only source of randomness: seeded, so that a run can be repeated.
///
/// Clones share one stream; [`Randomness::fork`] makes an independent stream that does not
/// depend on how much of this one was drawn.
#[derive(Clone, Debug)]
pub struct Randomness {
    seed: u64,
    stream: Arc<Mutex<ChaCha8Rng>>,
}

impl Randomness {
    /// The stream that belongs to `seed`.
    #[must_use]
    pub fn seeded(seed: u64) -> Self {
        Self {
            seed,
            stream: Arc::new(Mutex::new(ChaCha8Rng::seed_from_u64(seed))),
        }
    }

    /// A stream seeded by the operating system (for production).
    #[must_use]
    #[allow(clippy::disallowed_methods)] // the one place that may draw unseeded randomness
    pub fn from_os() -> Self {
        let unique = Uuid::new_v4().as_u128();
        Self::seeded((unique >> 64) as u64 ^ unique as u64)
    }

    /// An independent stream for the part of the system named `label`.
    #[must_use]
    pub fn fork(&self, label: &str) -> Self {
        // FNV-1a: stable across platforms and releases, which `std::hash` does not promise.
        let hash = label.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        Self::seeded(self.seed.rotate_left(17) ^ hash)
    }

    /// The seed this stream started from.
    #[must_use]
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// The next 64 random bits.
    #[must_use]
    pub fn next_u64(&self) -> u64 {
        self.stream
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .next_u64()
    }

    /// A number below `bound`; 0 when `bound` is 0.
    #[must_use]
    pub fn below(&self, bound: u64) -> u64 {
        if bound == 0 {
            return 0;
        }
        // The bias of the modulo is below 2^-32 for every bound in use (< 2^32).
        self.next_u64() % bound
    }

    /// True with `probability` (0.0 to 1.0).
    #[must_use]
    pub fn chance(&self, probability: f64) -> bool {
        (self.next_u64() >> 11) as f64 / ((1_u64 << 53) as f64) < probability
    }

    /// A duration uniformly between `low` and `high`, to the millisecond.
    #[must_use]
    pub fn between(&self, low: Duration, high: Duration) -> Duration {
        let span = high.saturating_sub(low).as_millis() as u64;
        low + Duration::from_millis(self.below(span + 1))
    }

    /// A random (version 4) UUID drawn from this stream.
    #[must_use]
    pub fn uuid(&self) -> Uuid {
        let bits = (u128::from(self.next_u64()) << 64) | u128::from(self.next_u64());
        uuid::Builder::from_random_bytes(bits.to_be_bytes()).into_uuid()
    }

    /// A time-ordered (version 7) UUID: request ids sort by when they were made.
    #[must_use]
    pub fn uuid_at(&self, now: Timestamp) -> Uuid {
        let millis = u64::try_from(now.as_millisecond()).unwrap_or_default();
        let mut bytes = [0_u8; 10];
        bytes[..8].copy_from_slice(&self.next_u64().to_be_bytes());
        bytes[8..].copy_from_slice(&(self.next_u64() as u16).to_be_bytes());
        uuid::Builder::from_unix_timestamp_millis(millis, &bytes).into_uuid()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_stream_and_forks_do_not_disturb_it() {
        let (a, b) = (Randomness::seeded(7), Randomness::seeded(7));
        let _ = a.fork("kubelet").next_u64();
        assert_eq!(a.next_u64(), b.next_u64());
        assert_eq!(a.fork("x").uuid(), b.fork("x").uuid());
        assert_ne!(a.fork("x").uuid(), a.fork("y").uuid());
    }

    #[test]
    fn between_stays_within_its_bounds() {
        let random = Randomness::seeded(1);
        let (low, high) = (Duration::from_secs(5), Duration::from_secs(30));
        for _ in 0..1000 {
            let drawn = random.between(low, high);
            assert!(drawn >= low && drawn <= high);
        }
    }
}
