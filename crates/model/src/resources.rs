//! Amounts of what a node has and a pod asks for.

use std::{collections::BTreeMap, fmt, sync::Arc};

use serde::{Deserialize, Serialize};

/// Amounts by resource. All arithmetic saturates; comparisons are per resource.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize)]
pub struct Resources {
    /// Thousandths of a CPU.
    pub cpu_milli: i64,
    /// Bytes of memory.
    pub memory: i64,
    /// Bytes of ephemeral storage.
    pub ephemeral: i64,
    /// Pods.
    pub pods: i64,
    /// Extended resources and huge pages, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub extended: BTreeMap<Arc<str>, i64>,
}

impl Resources {
    /// Adds `other`.
    pub fn add(&mut self, other: &Self) {
        self.combine(other, i64::saturating_add);
    }

    /// Takes `other` away.
    pub fn sub(&mut self, other: &Self) {
        self.combine(other, i64::saturating_sub);
    }

    /// Raises each amount to at least that of `other`.
    pub fn raise_to(&mut self, other: &Self) {
        self.combine(other, i64::max);
    }

    fn combine(&mut self, other: &Self, by: impl Fn(i64, i64) -> i64) {
        self.cpu_milli = by(self.cpu_milli, other.cpu_milli);
        self.memory = by(self.memory, other.memory);
        self.ephemeral = by(self.ephemeral, other.ephemeral);
        self.pods = by(self.pods, other.pods);
        for (name, amount) in &other.extended {
            let mine = self.extended.entry(Arc::clone(name)).or_default();
            *mine = by(*mine, *amount);
        }
    }

    /// The amount of the resource with this name.
    #[must_use]
    pub fn get(&self, name: &str) -> i64 {
        match name {
            "cpu" => self.cpu_milli,
            "memory" => self.memory,
            "ephemeral-storage" => self.ephemeral,
            "pods" => self.pods,
            other => self.extended.get(other).copied().unwrap_or(0),
        }
    }

    /// Whether each requested amount is at most what `room` has. Resources that are not asked for
    /// do not count, even where there is less than none left.
    #[must_use]
    pub fn fits_into(&self, room: &Self) -> bool {
        let fits = |asked: i64, free: i64| asked <= 0 || asked <= free;
        fits(self.cpu_milli, room.cpu_milli)
            && fits(self.memory, room.memory)
            && fits(self.ephemeral, room.ephemeral)
            && fits(self.pods, room.pods)
            && self
                .extended
                .iter()
                .all(|(name, asked)| fits(*asked, room.get(name)))
    }

    /// The largest share of `whole` that any of these amounts is, in millionths.
    #[must_use]
    pub fn dominant_share(&self, whole: &Self) -> i64 {
        let share = |part: i64, whole: i64| {
            if part <= 0 {
                0
            } else if whole <= 0 {
                i64::MAX
            } else {
                i64::try_from(i128::from(part) * 1_000_000 / i128::from(whole)).unwrap_or(i64::MAX)
            }
        };
        let extended = self
            .extended
            .iter()
            .map(|(name, part)| share(*part, whole.get(name)))
            .max()
            .unwrap_or(0);
        share(self.cpu_milli, whole.cpu_milli)
            .max(share(self.memory, whole.memory))
            .max(share(self.ephemeral, whole.ephemeral))
            .max(share(self.pods, whole.pods))
            .max(extended)
    }
}

impl fmt::Display for Resources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cpu={}m memory={}Mi", self.cpu_milli, self.memory >> 20)?;
        for (name, amount) in &self.extended {
            write!(f, " {name}={amount}")?;
        }
        Ok(())
    }
}
