//! Amounts of what a node has and a pod asks for.

use std::{collections::BTreeMap, fmt, sync::Arc};

use serde::{Deserialize, Serialize};

/// Amounts by resource. All arithmetic saturates; comparisons are per resource. Arithmetic leaves no
/// extended resource of amount zero behind, so that equal amounts are equal values.
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
            if *mine == 0 {
                self.extended.remove(name);
            }
        }
    }

    /// Whether an amount stands at the end of its range, where sums are not exact any more.
    #[must_use]
    pub fn is_saturated(&self) -> bool {
        let end = |amount: i64| amount == i64::MAX || amount == i64::MIN;
        end(self.cpu_milli)
            || end(self.memory)
            || end(self.ephemeral)
            || end(self.pods)
            || self.extended.values().any(|amount| end(*amount))
    }

    /// The sum of `parts`, each taken so many times: exact, and cut to the range only at the end.
    #[must_use]
    pub fn sum<'a>(parts: impl IntoIterator<Item = (&'a Self, u32)>) -> Self {
        let (mut cpu, mut memory, mut ephemeral, mut pods) = (0_i128, 0_i128, 0_i128, 0_i128);
        let mut extended: BTreeMap<&Arc<str>, i128> = BTreeMap::new();
        for (part, times) in parts {
            let times = i128::from(times);
            cpu += i128::from(part.cpu_milli) * times;
            memory += i128::from(part.memory) * times;
            ephemeral += i128::from(part.ephemeral) * times;
            pods += i128::from(part.pods) * times;
            for (name, amount) in &part.extended {
                *extended.entry(name).or_default() += i128::from(*amount) * times;
            }
        }
        Self {
            cpu_milli: cut(cpu),
            memory: cut(memory),
            ephemeral: cut(ephemeral),
            pods: cut(pods),
            extended: extended
                .into_iter()
                .filter(|(_, amount)| *amount != 0)
                .map(|(name, amount)| (Arc::clone(name), cut(amount)))
                .collect(),
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

fn cut(amount: i128) -> i64 {
    i64::try_from(amount).unwrap_or(if amount > 0 { i64::MAX } else { i64::MIN })
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

#[cfg(test)]
mod tests {
    use super::*;

    fn gpus(count: i64) -> Resources {
        Resources {
            cpu_milli: 100,
            extended: BTreeMap::from([("example.com/gpu".into(), count)]),
            ..Resources::default()
        }
    }

    #[test]
    fn what_is_added_and_taken_away_again_leaves_no_trace() {
        let mut sum = Resources::default();
        sum.add(&gpus(2));
        sum.sub(&gpus(2));
        assert_eq!(sum, Resources::default());
    }

    #[test]
    fn the_dominant_share_is_the_largest_of_all_resources() {
        let whole = Resources {
            cpu_milli: 1000,
            memory: 100,
            ..Resources::default()
        };
        let part = Resources {
            cpu_milli: 250,
            memory: 50,
            ..Resources::default()
        };
        assert_eq!(part.dominant_share(&whole), 500_000);
        assert_eq!(gpus(1).dominant_share(&whole), i64::MAX);
        assert_eq!(Resources::default().dominant_share(&whole), 0);
    }

    #[test]
    fn a_sum_is_exact_and_cut_only_at_the_end() {
        let most = Resources {
            memory: i64::MAX,
            ..Resources::default()
        };
        let least = Resources {
            memory: -i64::MAX,
            ..Resources::default()
        };
        assert_eq!(Resources::sum([(&most, 3), (&least, 3)]).memory, 0);
        assert!(Resources::sum([(&most, 3)]).is_saturated());
    }
}
