//! What the scheduler tells: the condition of a pod that waits, and Events.

use serde_json::json;

use super::{NAME, Scheduler, stamp};
use crate::{
    objects::{Key, Object, Pod, condition},
    requests::{EVENTS, PODS},
};

impl Scheduler {
    /// Writes to a pod why it waits, unless it was told that already.
    pub(super) async fn tell(&mut self, key: &Key, pod: &Pod, verdict: &String) {
        let told = self
            .waiting
            .get(key)
            .and_then(|waiting| waiting.told.as_ref());
        if told == Some(verdict) {
            return;
        }
        let since = condition(&pod.status.conditions, "PodScheduled")
            .filter(|scheduled| scheduled.status == "False")
            .and_then(|scheduled| scheduled.last_transition_time.clone())
            .unwrap_or_else(|| stamp(&self.clock));
        let status = json!({"conditions": [{
            "type": "PodScheduled", "status": "False", "reason": "Unschedulable",
            "message": verdict, "lastTransitionTime": since, "lastProbeTime": null,
        }]});
        match self.writer.patch_status(PODS, key, &status).await {
            Ok(_) => {
                self.event(key, pod, "Warning", "FailedScheduling", verdict)
                    .await;
                if let Some(waiting) = self.waiting.get_mut(key) {
                    waiting.told = Some(verdict.clone());
                }
            }
            Err(error) => tracing::debug!(pod = %key, %error, "verdict not written"),
        }
    }

    pub(super) async fn event(
        &self,
        key: &Key,
        pod: &Pod,
        level: &str,
        reason: &str,
        message: &str,
    ) {
        let now = stamp(&self.clock);
        let event = json!({
            "apiVersion": "v1", "kind": "Event",
            "metadata": {
                "name": format!("{}.{:016x}", key.name, self.random.next_u64()),
                "namespace": key.namespace,
            },
            "involvedObject": {
                "apiVersion": "v1", "kind": "Pod", "name": key.name, "namespace": key.namespace,
                "uid": pod.uid(), "resourceVersion": pod.resource_version(),
            },
            "type": level, "reason": reason, "message": message,
            "firstTimestamp": now, "lastTimestamp": now, "count": 1,
            "source": {"component": NAME}, "reportingComponent": NAME, "reportingInstance": "",
        });
        if let Err(error) = self.writer.create(EVENTS, &key.namespace, &event).await {
            tracing::debug!(pod = %key, reason, %error, "event not written");
        }
    }
}
