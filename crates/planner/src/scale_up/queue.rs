//! Pods that can take each other's place, waiting together.

use std::{collections::BTreeMap, sync::Arc};

use model::{Pod, PodKey, Resources, SchedulingClass};

/// Pods of one class.
pub(super) struct Queue {
    /// Their class.
    pub(super) class: Arc<SchedulingClass>,
    /// Sorted backwards: the first by name is taken first, from the end.
    pub(super) pods: Vec<PodKey>,
}

impl Queue {
    /// How many wait.
    pub(super) fn waiting(&self) -> u32 {
        u32::try_from(self.pods.len()).unwrap_or(u32::MAX)
    }

    /// Takes the first `count`, or as many as there are.
    pub(super) fn take(&mut self, count: u32) -> Vec<PodKey> {
        let count = usize::try_from(count).unwrap_or(usize::MAX);
        let mut taken = self
            .pods
            .split_off(self.pods.len() - count.min(self.pods.len()));
        taken.reverse();
        taken
    }
}

/// Equal pods together, the largest of a `whole` machine first, so that the gaps they leave are
/// filled by smaller ones.
pub(super) fn queues(pending: &[Arc<Pod>], whole: &Resources) -> Vec<Queue> {
    // Apart by amounts first: comparing whole classes is dear.
    type ByClass = BTreeMap<Arc<SchedulingClass>, Vec<PodKey>>;
    let mut by_amounts: BTreeMap<(i64, i64), ByClass> = BTreeMap::new();
    for pod in pending {
        let requests = &pod.class.requests;
        let alike = by_amounts
            .entry((requests.cpu_milli, requests.memory))
            .or_default();
        if let Some(pods) = alike.get_mut(&pod.class) {
            pods.push(pod.key.clone());
        } else {
            alike.insert(Arc::clone(&pod.class), vec![pod.key.clone()]);
        }
    }
    let mut queues: Vec<Queue> = by_amounts
        .into_values()
        .flatten()
        .map(|(class, mut pods)| {
            pods.sort_by(|a, b| b.cmp(a));
            Queue { class, pods }
        })
        .collect();
    queues.sort_by_cached_key(|queue| {
        (
            std::cmp::Reverse(queue.class.requests.dominant_share(whole)),
            Arc::clone(&queue.class),
        )
    });
    queues
}
