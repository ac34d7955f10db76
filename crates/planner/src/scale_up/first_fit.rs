//! First fit, decreasing, by price, under all rules: the plainest way to pack, beside which no other
//! is to cost more.
//!
//! Each pod goes onto the first node or machine that takes it, else onto a new one of the cheapest
//! kind that does. Preferences are not looked at.

use std::sync::Arc;

use super::{
    Cause,
    by_rules::Waiting,
    ground::Ground,
    kinds::{Budget, compare_price},
};

/// Places what can be placed of these queues, in their order.
pub(super) fn place(
    ground: &mut Ground<'_>,
    all: &mut [Waiting],
    queues: &[usize],
    buyable: &[usize],
    mut budget: Budget,
) {
    let kinds = ground.kinds;
    let mut ladder = buyable.to_vec();
    ladder.sort_by(|&a, &b| compare_price(kinds[a].price, kinds[b].price));
    let mut before = None;
    loop {
        let left: u32 = queues.iter().map(|&queue| all[queue].left).sum();
        // Who wants to be near pods that come later has another turn.
        if left == 0 || before == Some(left) {
            return;
        }
        before = Some(left);
        for &queue in queues {
            place_queue(ground, all, queue, &ladder, &mut budget);
        }
    }
}

fn place_queue(
    ground: &mut Ground<'_>,
    all: &mut [Waiting],
    queue: usize,
    ladder: &[usize],
    budget: &mut Budget,
) {
    let (class, source) = (all[queue].class, Arc::clone(&all[queue].source));
    // A pod more may open a place that was closed by a rule; one that is full stays full.
    let is_free = ground.engine.is_independent(class);
    let mut from = 0;
    while all[queue].left > 0 {
        let mut spots = from..ground.spots.len();
        let spot = spots
            .find(|&spot| ground.obstacle(class, &source, spot).is_none())
            .or_else(|| {
                let kind = ladder.iter().copied().find(|&kind| {
                    let of = &ground.kinds[kind];
                    budget.left(of.group) > 0
                        && scheduling::fits(&source, &of.node, &of.requested)
                        && ground.would_take(kind, class)
                })?;
                budget.spend(ground.kinds[kind].group, 1);
                Some(ground.buy(kind, Cause::PendingPods))
            });
        let Some(spot) = spot else { return };
        let most = if is_free { all[queue].left } else { 1 };
        let count = ground.how_many(class, &source, spot, most);
        if count == 0 {
            return;
        }
        ground.place((queue, class), &source, spot, count);
        all[queue].left -= count;
        if is_free {
            from = spot;
        }
    }
}
