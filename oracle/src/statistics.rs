//! How often each filter refuses, over many verdicts.

use std::collections::BTreeMap;

use crate::{FILTERS, Verdicts};

/// Counts over the verdicts of many clusters, by pod and node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Statistics {
    /// Clusters counted.
    pub clusters: u64,
    /// Pairs of a pending pod and a node.
    pub pairs: u64,
    /// Pairs that fit.
    pub fits: u64,
    refusals: BTreeMap<String, u64>,
}

impl Statistics {
    /// Counts one more cluster.
    pub fn add(&mut self, verdicts: &Verdicts) {
        self.clusters += 1;
        for node in verdicts.pods.iter().flat_map(|pod| &pod.nodes) {
            self.pairs += 1;
            self.fits += u64::from(node.fits);
            for filter in &node.filters {
                *self.refusals.entry(filter.clone()).or_default() += 1;
            }
        }
    }

    /// In what share of the pairs a filter refuses, from 0 to 1.
    #[must_use]
    pub fn share(&self, filter: &str) -> f64 {
        let refusals = self.refusals.get(filter).copied().unwrap_or_default();
        refusals as f64 / self.pairs.max(1) as f64
    }
}

impl std::fmt::Display for Statistics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let fits = self.fits as f64 / self.pairs.max(1) as f64;
        writeln!(
            f,
            "{} clusters, {} pairs of pod and node",
            self.clusters, self.pairs
        )?;
        writeln!(f, "{:22} {:6.2} %", "fits", fits * 100.0)?;
        for filter in FILTERS {
            writeln!(f, "{filter:22} {:6.2} %", self.share(filter) * 100.0)?;
        }
        Ok(())
    }
}
