//! The status of PodDisruptionBudgets: how many pods are expected, healthy and may be disrupted.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use jiff::{SignedDuration, Timestamp};
use runtime::{Clock, Randomness};
use serde_json::{Value, json};

use super::{
    pods::Known,
    scheduler::stamp,
    turns::{Reconciler, Turns},
};
use crate::{
    config::Range,
    objects::{Budget, BudgetStatus, Key, Object, Pod, ReplicaSet, StatefulSet},
    observe::{Change, Seen},
    requests::{BUDGETS, Writer, settled},
};

/// How long an eviction that was granted may take until the pod is seen to be deleted.
const GRANTED: SignedDuration = SignedDuration::from_mins(2);

pub(crate) struct Disruption {
    writer: Writer,
    clock: Clock,
    known: Known<Budget>,
    replica_sets: Known<ReplicaSet>,
    stateful_sets: Known<StatefulSet>,
    pods: BTreeMap<Key, Arc<Pod>>,
    turns: Turns,
}

impl Disruption {
    pub(crate) fn new(writer: Writer, clock: Clock, random: Randomness, latency: Range) -> Self {
        Self {
            writer,
            clock,
            known: Known::default(),
            replica_sets: Known::default(),
            stateful_sets: Known::default(),
            pods: BTreeMap::new(),
            turns: Turns::new(random, latency),
        }
    }

    fn covered<'a>(&'a self, budget: &'a Budget) -> impl Iterator<Item = &'a Arc<Pod>> {
        let namespace = budget.key().namespace;
        let from = Key::new(&namespace, "");
        self.pods
            .range(from..)
            .take_while(move |(key, _)| key.namespace == namespace)
            .map(|(_, pod)| pod)
            .filter(|pod| {
                let selector = budget.spec.selector.as_ref();
                selector.is_some_and(|selector| selector.matches(pod.labels())) && !pod.finished()
            })
    }

    /// How many pods the controllers of these pods want.
    fn scale(&self, pods: &[&Arc<Pod>]) -> i64 {
        let mut wanted: BTreeMap<&str, i64> = BTreeMap::new();
        for pod in pods {
            let owner = pod
                .controller()
                .map_or_else(|| pod.uid(), |owner| owner.uid.as_str());
            let replicas = self
                .replica_sets
                .key_of(owner)
                .and_then(|key| self.replica_sets.objects.get(key))
                .map(|set| set.spec.replicas)
                .or_else(|| {
                    let key = self.stateful_sets.key_of(owner)?;
                    Some(self.stateful_sets.objects.get(key)?.spec.replicas)
                });
            match replicas {
                Some(replicas) => {
                    wanted.insert(owner, replicas.unwrap_or(1));
                }
                None => *wanted.entry(owner).or_default() += 1,
            }
        }
        wanted.values().sum()
    }

    fn status(&self, budget: &Budget, now: Timestamp) -> BudgetStatus {
        let pods: Vec<_> = self.covered(budget).collect();
        let (expected, desired) = match (&budget.spec.max_unavailable, &budget.spec.min_available) {
            (Some(most), _) => {
                let scale = self.scale(&pods);
                (scale, (scale - share(most, scale)).max(0))
            }
            (None, Some(least @ Value::String(_))) => {
                let scale = self.scale(&pods);
                (scale, share(least, scale))
            }
            (None, Some(least)) => (pods.len() as i64, share(least, 0)),
            (None, None) => (pods.len() as i64, 1),
        };
        let disrupted: BTreeMap<_, _> = budget
            .status
            .disrupted_pods
            .iter()
            .filter(|(name, since)| {
                let key = Key::new(&budget.key().namespace, name);
                let there = self.pods.get(&key).is_some_and(|pod| !pod.deleting());
                let fresh = since
                    .parse::<Timestamp>()
                    .is_ok_and(|since| now.duration_since(since) < GRANTED);
                there && fresh
            })
            .map(|(name, since)| (name.clone(), since.clone()))
            .collect();
        let healthy = pods
            .iter()
            .filter(|pod| pod.ready() && !pod.deleting())
            .filter(|pod| !disrupted.contains_key(&pod.key().name))
            .count() as i64;
        BudgetStatus {
            observed_generation: budget.generation(),
            expected_pods: expected,
            current_healthy: healthy,
            desired_healthy: desired,
            disruptions_allowed: if expected > 0 {
                (healthy - desired).max(0)
            } else {
                0
            },
            disrupted_pods: disrupted,
        }
    }
}

/// A number, or a share of `whole` in percent, rounded up.
fn share(value: &Value, whole: i64) -> i64 {
    match value {
        Value::Number(number) => number.as_i64().unwrap_or_default(),
        Value::String(text) => {
            let percent: i64 = text.trim_end_matches('%').parse().unwrap_or_default();
            (whole * percent + 99).div_euclid(100)
        }
        _ => 0,
    }
}

impl Reconciler for Disruption {
    fn turns(&mut self) -> &mut Turns {
        &mut self.turns
    }

    fn note(&mut self, change: &Change) -> Vec<Key> {
        let namespace = match change {
            Change::Budget(seen) => {
                return vec![self.known.observe(seen)];
            }
            Change::ReplicaSet(seen) => self.replica_sets.observe(seen).namespace,
            Change::StatefulSet(seen) => self.stateful_sets.observe(seen).namespace,
            Change::Pod(seen) => {
                let pod = seen.object();
                match seen {
                    Seen::Put(_) => self.pods.insert(pod.key(), Arc::clone(pod)),
                    Seen::Gone(_) => self.pods.remove(&pod.key()),
                };
                pod.key().namespace
            }
            _ => return Vec::new(),
        };
        self.known
            .objects
            .range(Key::new(&namespace, "")..)
            .take_while(|(key, _)| key.namespace == namespace)
            .map(|(key, _)| key.clone())
            .collect()
    }

    async fn reconcile(&mut self, key: &Key, now: Duration) -> bool {
        let Some(budget) = self.known.objects.get(key).cloned() else {
            return true;
        };
        let status = self.status(&budget, self.clock.now());
        if !status.disrupted_pods.is_empty() {
            let again = Duration::try_from(GRANTED).unwrap_or_default();
            self.turns.at(key.clone(), now + again);
        }
        if status == budget.status {
            return true;
        }
        let allowed = status.disruptions_allowed > 0;
        // A merge patch removes by null.
        let mut disrupted = json!(status.disrupted_pods);
        for name in budget.status.disrupted_pods.keys() {
            if !status.disrupted_pods.contains_key(name) {
                disrupted[name] = Value::Null;
            }
        }
        let patch = json!({
            "metadata": {"resourceVersion": budget.resource_version()},
            "status": {
                "observedGeneration": status.observed_generation,
                "expectedPods": status.expected_pods, "currentHealthy": status.current_healthy,
                "desiredHealthy": status.desired_healthy,
                "disruptionsAllowed": status.disruptions_allowed, "disruptedPods": disrupted,
                "conditions": [{
                    "type": "DisruptionAllowed", "status": if allowed { "True" } else { "False" },
                    "reason": if allowed { "SufficientPods" } else { "InsufficientPods" },
                    "message": "", "observedGeneration": status.observed_generation,
                    "lastTransitionTime": stamp(&self.clock),
                }],
            },
        });
        settled(&self.writer.merge_at(BUDGETS, key, "status", &patch).await)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_a_number_or_a_percentage_rounded_up() {
        assert_eq!(share(&json!(3), 10), 3);
        assert_eq!(share(&json!("30%"), 10), 3);
        assert_eq!(share(&json!("25%"), 10), 3);
        assert_eq!(share(&json!("0%"), 10), 0);
    }
}
