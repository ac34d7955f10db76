//! StatefulSets: pods with fixed names, made in order and removed in reverse, each waiting for the
//! one before to be Ready unless the policy is `Parallel`. Volumes are not simulated.

use std::{collections::BTreeMap, time::Duration};

use runtime::Randomness;
use serde_json::json;

use super::{
    AGAIN, Actor,
    pods::{Known, OwnerOf, PodName, PodsByOwner, Queue, from_template, owner_of},
};
use crate::{
    config::Range,
    objects::{Key, Object, StatefulSet},
    observe::Change,
    requests::{STATEFUL_SETS, Writer, absent},
};

pub(crate) struct StatefulSets {
    writer: Writer,
    random: Randomness,
    latency: Range,
    known: Known<StatefulSet>,
    pods: PodsByOwner,
    queue: Queue,
}

impl StatefulSets {
    pub(crate) fn new(writer: Writer, random: Randomness, latency: Range) -> Self {
        Self {
            writer,
            random,
            latency,
            known: Known::default(),
            pods: PodsByOwner::default(),
            queue: Queue::default(),
        }
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
        match self
            .writer
            .merge_status(STATEFUL_SETS, &set.key(), &status)
            .await
        {
            Ok(_) => true,
            Err(error) => absent(&error),
        }
    }
}

impl Actor for StatefulSets {
    fn observe(&mut self, change: Change, now: Duration) {
        let key = match &change {
            Change::StatefulSet(seen) => Some(self.known.observe(seen)),
            _ => owner_of(&mut self.pods, &self.known, &change),
        };
        if let Some(key) = key {
            self.queue.want(key, now + self.latency.draw(&self.random));
        }
    }

    async fn act(&mut self, now: Duration) -> Option<Duration> {
        for key in self.queue.take(now) {
            if !self.reconcile(&key, now).await {
                self.queue.want(key, now + AGAIN);
            }
        }
        self.queue.next()
    }
}
