//! An implementation held against the scheduler, cluster by cluster; what differs is shrunk.

use serde_json::Value;

use crate::{Difference, OracleError, Recorded, Scheduler, Verdicts, shrink};

/// An implementation of the filters: the verdicts for a cluster, or why it gives none.
pub type Engine<'e> = &'e dyn Fn(&Value) -> Result<Verdicts, String>;

/// A cluster on which an implementation differs.
#[derive(Clone, Debug)]
pub struct Mismatch {
    /// The smallest cluster found on which it still differs, and what the scheduler says there.
    pub case: Recorded,
    /// How it differs there; a refusal is a line of its own.
    pub differences: Vec<String>,
}

/// Holds an implementation against the scheduler.
pub struct Comparison<'e> {
    scheduler: Scheduler,
    engine: Engine<'e>,
}

impl<'e> Comparison<'e> {
    /// Between the scheduler's plugins, which are started for it, and `engine`.
    pub fn start(engine: Engine<'e>) -> Result<Self, OracleError> {
        Ok(Self {
            scheduler: Scheduler::start(true)?,
            engine,
        })
    }

    /// Every cluster of these seeds on which the two differ, shrunk.
    pub fn seeds(
        &mut self,
        seeds: impl Iterator<Item = u64>,
    ) -> Result<Vec<Mismatch>, OracleError> {
        let cases: Vec<(u64, Value)> = seeds
            .map(|seed| (seed, crate::cluster(seed).cluster))
            .collect();
        let clusters: Vec<Value> = cases.iter().map(|(_, cluster)| cluster.clone()).collect();
        let answers = self.scheduler.ask_all(&clusters)?;
        let mut mismatches = Vec::new();
        for ((seed, cluster), verdicts) in cases.into_iter().zip(answers) {
            let recorded = Recorded {
                seed,
                cluster,
                verdicts,
            };
            if !differences(&recorded, self.engine).is_empty() {
                mismatches.push(self.shrunk(&recorded));
            }
        }
        Ok(mismatches)
    }

    /// The smallest cluster with a difference, any difference, that cutting leads to.
    pub fn shrunk(&mut self, case: &Recorded) -> Mismatch {
        let engine = self.engine;
        let scheduler = &mut self.scheduler;
        let mut judged = |cluster: &Value| {
            let verdicts = scheduler.ask(cluster).ok()?;
            let case = Recorded {
                seed: case.seed,
                cluster: cluster.clone(),
                verdicts,
            };
            let differences = differences(&case, engine);
            (!differences.is_empty()).then_some(Mismatch { case, differences })
        };
        let smallest = shrink(&case.cluster, &mut |cluster| judged(cluster).is_some());
        judged(&smallest).unwrap_or_else(|| Mismatch {
            case: case.clone(),
            differences: self::differences(case, engine),
        })
    }
}

/// How an implementation differs from what is recorded, in words; empty where it does not.
#[must_use]
pub fn differences(case: &Recorded, engine: Engine<'_>) -> Vec<String> {
    match engine(&case.cluster) {
        Ok(ours) => case
            .verdicts
            .differences(&ours)
            .iter()
            .map(Difference::to_string)
            .collect(),
        Err(reason) => vec![format!("the implementation refuses: {reason}")],
    }
}
