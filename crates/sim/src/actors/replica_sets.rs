//! ReplicaSets: makes and removes pods until there are as many as wanted, and counts them.

use std::time::Duration;

use runtime::Randomness;
use serde_json::json;

use super::{
    pods::{Known, OwnerOf, PodName, PodsByOwner, by_dispensability, from_template, owner_of},
    turns::{Reconciler, Turns},
};
use crate::{
    config::Range,
    objects::{Key, Object, ReplicaSet},
    observe::Change,
    requests::{REPLICA_SETS, Writer, settled},
};

pub(crate) struct ReplicaSets {
    writer: Writer,
    known: Known<ReplicaSet>,
    pods: PodsByOwner,
    turns: Turns,
}

impl ReplicaSets {
    pub(crate) fn new(writer: Writer, random: Randomness, latency: Range) -> Self {
        Self {
            writer,
            known: Known::default(),
            pods: PodsByOwner::default(),
            turns: Turns::new(random, latency),
        }
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
        settled(
            &self
                .writer
                .merge_status(REPLICA_SETS, &set.key(), &status)
                .await,
        )
    }
}

impl Reconciler for ReplicaSets {
    fn turns(&mut self) -> &mut Turns {
        &mut self.turns
    }

    fn note(&mut self, change: &Change) -> Vec<Key> {
        let key = match change {
            Change::ReplicaSet(seen) => Some(self.known.observe(seen)),
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
}
