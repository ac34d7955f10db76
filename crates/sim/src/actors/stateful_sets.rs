//! StatefulSets: pods with fixed names, made in order and removed in reverse, each waiting for the
//! one before to be Ready unless the policy is `Parallel`. Volumes are not simulated.

use std::{collections::BTreeMap, time::Duration};

use runtime::Randomness;
use serde_json::json;

use super::{
    pods::{Known, OwnerOf, PodName, PodsByOwner, from_template, owner_of},
    turns::{Reconciler, Turns},
};
use crate::{
    config::Range,
    objects::{Key, Object, StatefulSet},
    observe::Change,
    requests::{STATEFUL_SETS, Writer, settled},
};

pub(crate) struct StatefulSets {
    writer: Writer,
    known: Known<StatefulSet>,
    pods: PodsByOwner,
    turns: Turns,
}

impl StatefulSets {
    pub(crate) fn new(writer: Writer, random: Randomness, latency: Range) -> Self {
        Self {
            writer,
            known: Known::default(),
            pods: PodsByOwner::default(),
            turns: Turns::new(random, latency),
        }
    }

    async fn report(&self, set: &StatefulSet) -> bool {
        let count = self.pods.all(set.uid()).count() as i64;
        let alive = self.pods.alive(set.uid());
        let ready = alive.iter().filter(|pod| pod.ready()).count() as i64;
        let known = &set.status;
        if (
            known.replicas,
            known.ready_replicas,
            known.available_replicas,
        ) == (count, ready, ready)
            && known.observed_generation == set.generation()
        {
            return true;
        }
        let status = json!({"replicas": count, "readyReplicas": ready, "availableReplicas": ready,
            "currentReplicas": count, "updatedReplicas": count,
            "observedGeneration": set.generation()});
        settled(
            &self
                .writer
                .merge_status(STATEFUL_SETS, &set.key(), &status)
                .await,
        )
    }
}

impl Reconciler for StatefulSets {
    fn turns(&mut self) -> &mut Turns {
        &mut self.turns
    }

    fn note(&mut self, change: &Change) -> Vec<Key> {
        let key = match change {
            Change::StatefulSet(seen) => Some(self.known.observe(seen)),
            _ => owner_of(&mut self.pods, &self.known, change),
        };
        key.into_iter().collect()
    }

    async fn reconcile(&mut self, key: &Key, now: Duration) -> bool {
        let Some(set) = self.known.objects.get(key).cloned() else {
            return true;
        };
        if set.deleting() {
            return true;
        }
        let uid = set.uid().to_owned();
        let parallel = set.spec.pod_management_policy.as_deref() == Some("Parallel");
        let wanted = set.spec.replicas.unwrap_or(1);
        let pods: BTreeMap<i64, _> = self
            .pods
            .all(&uid)
            .filter_map(|pod| {
                let name = pod.key().name;
                let ordinal = name.strip_prefix(&format!("{}-", key.name))?.parse().ok()?;
                Some((ordinal, pod.clone()))
            })
            .collect();
        let mut taken = true;
        let mut steady = self.pods.on_their_way(&uid, now) == 0;
        for ordinal in 0..wanted {
            let Some(pod) = pods.get(&ordinal) else {
                if !steady {
                    break;
                }
                let name = format!("{}-{ordinal}", key.name);
                let owner = OwnerOf {
                    api_version: "apps/v1",
                    kind: "StatefulSet",
                    key,
                    uid: &uid,
                };
                let mut pod = from_template(&set.spec.template, &owner, PodName::Given(&name));
                pod["metadata"]["labels"]["statefulset.kubernetes.io/pod-name"] = json!(name);
                taken &= self
                    .pods
                    .make(&self.writer, &uid, &key.namespace, &pod, now)
                    .await;
                steady = parallel;
                continue;
            };
            if pod.finished() && !pod.deleting() {
                taken &= self.pods.unmake(&self.writer, pod).await;
            }
            if !parallel && (!pod.ready() || pod.deleting()) {
                steady = false;
            }
        }
        for (_, pod) in pods.range(wanted..).rev() {
            if !pod.deleting() {
                taken &= self.pods.unmake(&self.writer, pod).await;
            }
            if !parallel {
                break;
            }
        }
        taken && self.report(&set).await
    }
}
