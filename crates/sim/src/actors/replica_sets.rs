//! ReplicaSets: makes and removes pods until there are as many as wanted, and counts them.

use std::time::Duration;

use runtime::Randomness;
use serde_json::json;

use super::{
    AGAIN, Actor,
    pods::{
        Known, OwnerOf, PodName, PodsByOwner, Queue, by_dispensability, from_template, owner_of,
    },
};
use crate::{
    config::Range,
    objects::{Key, Object, ReplicaSet},
    observe::Change,
    requests::{REPLICA_SETS, Writer, absent},
};

pub(crate) struct ReplicaSets {
    writer: Writer,
    random: Randomness,
    latency: Range,
    known: Known<ReplicaSet>,
    pods: PodsByOwner,
    queue: Queue,
}

impl ReplicaSets {
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

    /// Whether everything that was to be written was taken.
    async fn reconcile(&mut self, key: &Key, now: Duration) -> bool {
        let Some(set) = self.known.objects.get(key).cloned() else {
            return true;
        };
        if set.deleting() {
            return true;
        }
        let uid = set.uid().to_owned();
        let mut alive = self.pods.alive(&uid);
        // Pods that have ended are replaced.
        alive.retain(|pod| !pod.finished());
        let wanted = usize::try_from(set.spec.replicas.unwrap_or(1)).unwrap_or_default();
        let have = alive.len() + self.pods.on_their_way(&uid, now);
        let mut taken = true;
        if have < wanted {
            let owner = OwnerOf {
                api_version: "apps/v1",
                kind: "ReplicaSet",
                key,
                uid: &uid,
            };
            let pod = from_template(&set.spec.template, &owner, PodName::Drawn);
            for _ in have..wanted {
                taken = self
                    .pods
                    .make(&self.writer, &uid, &key.namespace, &pod, now)
                    .await;
                if !taken {
                    break;
                }
            }
        } else if alive.len() > wanted {
            by_dispensability(&mut alive);
            for pod in &alive[..alive.len() - wanted] {
                taken &= self.pods.unmake(&self.writer, pod).await;
            }
        }
        taken && self.report(&set).await
    }

    async fn report(&self, set: &ReplicaSet) -> bool {
        let alive = self.pods.alive(set.uid());
        let count = alive.iter().filter(|pod| !pod.finished()).count() as i64;
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
        let status = json!({"replicas": count, "fullyLabeledReplicas": count, "readyReplicas": ready,
            "availableReplicas": ready, "observedGeneration": set.generation()});
        match self
            .writer
            .merge_status(REPLICA_SETS, &set.key(), &status)
            .await
        {
            Ok(_) => true,
            Err(error) => absent(&error),
        }
    }
}

impl Actor for ReplicaSets {
    fn observe(&mut self, change: Change, now: Duration) {
        let key = match &change {
            Change::ReplicaSet(seen) => Some(self.known.observe(seen)),
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
