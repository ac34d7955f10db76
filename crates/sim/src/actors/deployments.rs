//! Deployments: one ReplicaSet per template, the newest scaled to the wanted number, the others
//! scaled away as the new pods become available (all at once with `Recreate`).

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use runtime::{Clock, Randomness};
use serde_json::{Value, json};

use super::{
    pods::{Known, OwnerOf},
    scheduler::stamp,
    turns::{Reconciler, Turns},
};
use crate::{
    config::Range,
    objects::{Deployment, Key, Object, ReplicaSet, WorkloadStatus, condition},
    observe::Change,
    requests::{DEPLOYMENTS, REPLICA_SETS, Writer},
};

const REVISION: &str = "deployment.kubernetes.io/revision";
const HASH: &str = "pod-template-hash";

pub(crate) struct Deployments {
    writer: Writer,
    clock: Clock,
    known: Known<Deployment>,
    sets: BTreeMap<String, BTreeMap<Key, Arc<ReplicaSet>>>,
    turns: Turns,
}

impl Deployments {
    pub(crate) fn new(writer: Writer, clock: Clock, random: Randomness, latency: Range) -> Self {
        Self {
            writer,
            clock,
            known: Known::default(),
            sets: BTreeMap::new(),
            turns: Turns::new(random, latency),
        }
    }

    /// Does the next step of the roll-out of `key`, if one is due.
    async fn roll_out(&mut self, key: &Key) -> Result<(), kube::Error> {
        let Some(deployment) = self.known.objects.get(key).cloned() else {
            return Ok(());
        };
        if deployment.deleting() {
            return Ok(());
        }
        let sets: Vec<_> = self
            .sets
            .get(deployment.uid())
            .into_iter()
            .flat_map(BTreeMap::values)
            .filter(|set| !set.deleting())
            .cloned()
            .collect();
        let hash = hash_of(&deployment.spec.template);
        let name = format!("{}-{hash}", key.name);
        let current = sets.iter().find(|set| set.key().name == name);
        let others = sets.iter().filter(|set| set.key().name != name);
        let wanted = deployment.spec.replicas.unwrap_or(1);
        if !deployment.spec.paused {
            let recreate = deployment
                .spec
                .strategy
                .as_ref()
                .is_some_and(|strategy| strategy.kind.as_deref() == Some("Recreate"));
            let old_pods = others.clone().any(|set| set.status.replicas > 0);
            let (may_start, may_stop) = if recreate {
                (!old_pods, true)
            } else {
                (
                    true,
                    current.is_some_and(|set| set.status.available_replicas >= wanted),
                )
            };
            if may_stop {
                for set in others.clone().filter(|set| set.spec.replicas != Some(0)) {
                    self.scale(&set.key(), 0).await?;
                }
            }
            match current {
                Some(set) if set.spec.replicas != Some(wanted) && (may_start || wanted == 0) => {
                    self.scale(&set.key(), wanted).await?;
                }
                None => {
                    let replicas = if may_start { wanted } else { 0 };
                    self.create(&deployment, &hash, replicas, sets.len())
                        .await?;
                }
                Some(_) => {}
            }
        }
        self.report(&deployment, current, &sets).await
    }

    async fn scale(&self, set: &Key, replicas: i64) -> Result<(), kube::Error> {
        let patch = json!({"spec": {"replicas": replicas}});
        self.writer.merge(REPLICA_SETS, set, &patch).await?;
        Ok(())
    }

    async fn create(
        &self,
        deployment: &Deployment,
        hash: &str,
        replicas: i64,
        earlier: usize,
    ) -> Result<(), kube::Error> {
        let key = deployment.key();
        let owner = OwnerOf {
            api_version: "apps/v1",
            kind: "Deployment",
            key: &key,
            uid: deployment.uid(),
        };
        let mut template = deployment.spec.template.clone();
        template["metadata"]["labels"][HASH] = json!(hash);
        let mut labels = deployment.spec.selector.match_labels.clone();
        labels.insert(HASH.to_owned(), hash.to_owned());
        let set = json!({
            "apiVersion": "apps/v1", "kind": "ReplicaSet",
            "metadata": {
                "name": format!("{}-{hash}", key.name), "namespace": key.namespace,
                "labels": template["metadata"]["labels"],
                "annotations": {REVISION: (earlier + 1).to_string()},
                "ownerReferences": [owner.reference()],
            },
            "spec": {"replicas": replicas, "selector": {"matchLabels": labels}, "template": template},
        });
        let made = self.writer.create(REPLICA_SETS, &key.namespace, &set).await;
        match made {
            Err(error) if crate::requests::conflict(&error) => Ok(()),
            other => other.map(drop),
        }
    }

    async fn report(
        &self,
        deployment: &Deployment,
        current: Option<&Arc<ReplicaSet>>,
        sets: &[Arc<ReplicaSet>],
    ) -> Result<(), kube::Error> {
        let wanted = deployment.spec.replicas.unwrap_or(1);
        let sum = |of: fn(&WorkloadStatus) -> i64| -> i64 {
            sets.iter().map(|set| of(&set.status)).sum()
        };
        let (replicas, ready) = (sum(|s| s.replicas), sum(|s| s.ready_replicas));
        let available = sum(|s| s.available_replicas);
        let updated = current.map_or(0, |set| set.status.replicas);
        // The default budget of a rolling update: a quarter may be unavailable.
        let enough = available >= wanted - wanted / 4;
        let done = updated == wanted && available == wanted && replicas == wanted;
        let conditions = [
            if enough {
                (
                    "Available",
                    "True",
                    "MinimumReplicasAvailable",
                    "Deployment has minimum availability.",
                )
            } else {
                (
                    "Available",
                    "False",
                    "MinimumReplicasUnavailable",
                    "Deployment does not have minimum availability.",
                )
            },
            if done {
                (
                    "Progressing",
                    "True",
                    "NewReplicaSetAvailable",
                    "ReplicaSet has successfully progressed.",
                )
            } else {
                (
                    "Progressing",
                    "True",
                    "ReplicaSetUpdated",
                    "ReplicaSet is progressing.",
                )
            },
        ];
        let same = deployment.status.observed_generation == deployment.generation()
            && (deployment.status.replicas, deployment.status.ready_replicas) == (replicas, ready)
            && deployment.status.available_replicas == available
            && deployment.status.updated_replicas == updated
            && conditions.iter().all(|(kind, status, reason, _)| {
                condition(&deployment.status.conditions, kind).is_some_and(|known| {
                    known.status == *status && known.reason.as_deref() == Some(*reason)
                })
            });
        if same {
            return Ok(());
        }
        let now = stamp(&self.clock);
        let conditions: Vec<_> = conditions
            .iter()
            .map(|(kind, status, reason, message)| {
                let since = condition(&deployment.status.conditions, kind)
                    .filter(|known| known.status == *status)
                    .and_then(|known| known.last_transition_time.clone())
                    .unwrap_or_else(|| now.clone());
                json!({"type": kind, "status": status, "reason": reason, "message": message,
                    "lastTransitionTime": since, "lastUpdateTime": now})
            })
            .collect();
        let status = json!({
            "observedGeneration": deployment.generation(), "replicas": replicas,
            "updatedReplicas": updated, "readyReplicas": ready, "availableReplicas": available,
            "unavailableReplicas": (wanted - available).max(0), "conditions": conditions,
        });
        self.writer
            .merge_status(DEPLOYMENTS, &deployment.key(), &status)
            .await?;
        Ok(())
    }
}

/// Ten characters that belong to a template.
fn hash_of(template: &Value) -> String {
    const ALPHABET: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
    let mut hash = template
        .to_string()
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
    let mut text = String::new();
    for _ in 0..10 {
        text.push(char::from(
            ALPHABET[(hash % ALPHABET.len() as u64) as usize],
        ));
        hash /= ALPHABET.len() as u64;
    }
    text
}

impl Reconciler for Deployments {
    fn turns(&mut self) -> &mut Turns {
        &mut self.turns
    }

    fn note(&mut self, change: &Change) -> Vec<Key> {
        let key = match change {
            Change::Deployment(seen) => Some(self.known.observe(seen)),
            Change::ReplicaSet(seen) => {
                let set = seen.object();
                let owner = set.controller().map(|owner| owner.uid.clone());
                owner.and_then(|owner| {
                    let sets = self.sets.entry(owner.clone()).or_default();
                    match seen {
                        crate::observe::Seen::Put(_) => sets.insert(set.key(), Arc::clone(set)),
                        crate::observe::Seen::Gone(_) => sets.remove(&set.key()),
                    };
                    if sets.is_empty() {
                        self.sets.remove(&owner);
                    }
                    self.known.key_of(&owner).cloned()
                })
            }
            _ => None,
        };
        key.into_iter().collect()
    }

    async fn reconcile(&mut self, key: &Key, _: Duration) -> bool {
        match self.roll_out(key).await {
            Ok(()) => true,
            Err(error) => {
                tracing::debug!(deployment = %key, %error, "not reconciled");
                false
            }
        }
    }
}
