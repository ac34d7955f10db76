//! Jobs: as many pods at a time as `parallelism` allows until `completions` have succeeded. Pods
//! never fail in this world unless somebody deletes them; those are made anew.

use std::time::Duration;

use runtime::{Clock, Randomness};
use serde_json::json;

use super::{
    pods::{Known, OwnerOf, PodName, PodsByOwner, from_template, owner_of},
    scheduler::stamp,
    turns::{Reconciler, Turns},
};
use crate::{
    config::Range,
    objects::{Job, Key, Object},
    observe::Change,
    requests::{JOBS, Writer, settled},
};

pub(crate) struct Jobs {
    writer: Writer,
    clock: Clock,
    known: Known<Job>,
    pods: PodsByOwner,
    turns: Turns,
}

impl Jobs {
    pub(crate) fn new(writer: Writer, clock: Clock, random: Randomness, latency: Range) -> Self {
        Self {
            writer,
            clock,
            known: Known::default(),
            pods: PodsByOwner::default(),
            turns: Turns::new(random, latency),
        }
    }

    async fn report(&self, job: &Job, succeeded: i64, failed: i64, completions: usize) -> bool {
        let alive = self.pods.alive(job.uid());
        let active = alive.iter().filter(|pod| !pod.finished()).count() as i64;
        let ready = alive.iter().filter(|pod| pod.ready()).count() as i64;
        let done = succeeded >= completions as i64;
        let known = &job.status;
        if (known.active, known.succeeded, known.failed, known.ready)
            == (active, succeeded, failed, ready)
            && known.start_time.is_some()
            && !done
        {
            return true;
        }
        let now = stamp(&self.clock);
        let mut status = json!({"active": active, "succeeded": succeeded, "failed": failed,
            "ready": ready, "startTime": known.start_time.clone().unwrap_or_else(|| now.clone())});
        if done {
            status["completionTime"] = json!(now);
            status["conditions"] = json!(["SuccessCriteriaMet", "Complete"].map(|kind| json!({
                "type": kind, "status": "True", "reason": "CompletionsReached",
                "message": "Reached expected number of succeeded pods",
                "lastTransitionTime": now, "lastProbeTime": now})));
        }
        settled(&self.writer.merge_status(JOBS, &job.key(), &status).await)
    }
}

impl Reconciler for Jobs {
    fn turns(&mut self) -> &mut Turns {
        &mut self.turns
    }

    fn note(&mut self, change: &Change) -> Vec<Key> {
        let key = match change {
            Change::Job(seen) => Some(self.known.observe(seen)),
            _ => owner_of(&mut self.pods, &self.known, change),
        };
        key.into_iter().collect()
    }

    async fn reconcile(&mut self, key: &Key, now: Duration) -> bool {
        let Some(job) = self.known.objects.get(key).cloned() else {
            return true;
        };
        if job.deleting() || job.status.completion_time.is_some() {
            return true;
        }
        let uid = job.uid().to_owned();
        let count = |phase: &str| {
            self.pods
                .all(&uid)
                .filter(|pod| pod.phase() == phase)
                .count()
        };
        let (succeeded, failed) = (count("Succeeded"), count("Failed"));
        let completions = usize::try_from(job.spec.completions.unwrap_or(1)).unwrap_or_default();
        let parallelism = usize::try_from(job.spec.parallelism.unwrap_or(1)).unwrap_or_default();
        let mut active = self.pods.alive(&uid);
        active.retain(|pod| !pod.finished());
        let wanted = if job.spec.suspend {
            0
        } else {
            parallelism.min(completions.saturating_sub(succeeded))
        };
        let have = active.len() + self.pods.on_their_way(&uid, now);
        let mut taken = true;
        let owner = OwnerOf {
            api_version: "batch/v1",
            kind: "Job",
            key,
            uid: &uid,
        };
        let mut pod = from_template(&job.spec.template, &owner, PodName::Drawn);
        pod["metadata"]["labels"]["batch.kubernetes.io/job-name"] = json!(key.name);
        for _ in have..wanted {
            taken &= self
                .pods
                .make(&self.writer, &uid, &key.namespace, &pod, now)
                .await;
        }
        for pod in active.iter().skip(wanted) {
            taken &= self.pods.unmake(&self.writer, pod).await;
        }
        taken
            && self
                .report(&job, succeeded as i64, failed as i64, completions)
                .await
    }
}
