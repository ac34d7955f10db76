//! Pods that keep the machines that were bought for them.

use std::sync::Arc;

use super::{by_rules::Waiting, ground::Ground};

/// Pods of one queue on a machine that was bought for them.
struct Promise {
    spot: usize,
    count: u32,
}

/// By queue, as they take turns.
pub(super) struct Promises(Vec<(usize, Vec<Promise>)>);

impl Promises {
    /// In the order in which the queues take turns, as the pods were placed that are promised.
    pub(super) fn of(ground: &Ground<'_>, turns: &[usize]) -> Self {
        let mut by_queue: Vec<Vec<Promise>> = (0..ground.queues).map(|_| Vec::new()).collect();
        for (spot, of) in ground.spots.iter().enumerate() {
            for &(queue, count) in &of.promised {
                by_queue[queue].push(Promise { spot, count });
            }
        }
        // Those without a turn come last.
        let mut rank = vec![usize::MAX; ground.queues];
        for (turn, &queue) in turns.iter().enumerate() {
            rank[queue] = turn;
        }
        let queues = by_queue.into_iter().enumerate();
        let mut promises: Vec<(usize, Vec<Promise>)> = queues
            .filter(|(_, promises)| !promises.is_empty())
            .collect();
        promises.sort_by_key(|(queue, _)| rank[*queue]);
        Self(promises)
    }

    /// Puts pods there as far as they still fit. Rules between pods may ask for another order than
    /// that of the machines; each queue is through before the next, as it was when they were bought.
    pub(super) fn keep(&mut self, ground: &mut Ground<'_>, all: &mut [Waiting]) {
        loop {
            let mut moved = false;
            for (queue, promises) in &mut self.0 {
                while keep(ground, all, *queue, promises) {
                    moved = true;
                }
            }
            if !moved {
                break;
            }
        }
    }
}

/// Once through the machines of a queue; whether any pod found its place.
fn keep(
    ground: &mut Ground<'_>,
    all: &mut [Waiting],
    queue: usize,
    promises: &mut Vec<Promise>,
) -> bool {
    let source = Arc::clone(&all[queue].source);
    let mut moved = false;
    promises.retain_mut(|Promise { spot, count }| {
        let Waiting { class, left, .. } = all[queue];
        let placed = ground.how_many(class, &source, *spot, left.min(*count));
        if placed > 0 {
            ground.place((queue, class), &source, *spot, placed);
            all[queue].left -= placed;
            *count -= placed;
            moved = true;
        }
        *count > 0 && all[queue].left > 0
    });
    moved
}
