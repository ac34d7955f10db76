//! Pods that no rule ties to others: how they fill what is there and what is to come, by counts.
//!
//! Machines on their way are filled by the same search that chose them: filled in any other way,
//! pods they were bought for might find no place on them, and one would be bought too many.

use std::sync::Arc;

use model::{HourlyPrice, Resources, SchedulingClass};

use super::{
    Cause,
    by_rules::Waiting,
    ground::{Ground, Of},
    kinds::{Budget, Kind},
    search::{Search, Step},
};

/// Machines to come that are alike.
struct Alike {
    kind: Kind,
    /// Indices into the spots.
    spots: Vec<usize>,
}

/// Places pods of these queues on nodes that are there.
pub(super) fn fill_existing(ground: &mut Ground<'_>, all: &mut [Waiting], queues: &[usize]) {
    let existing = ground
        .spots
        .iter()
        .position(|spot| !matches!(spot.of, Of::Existing));
    let existing = existing.unwrap_or(ground.spots.len());
    for &queue in queues {
        let source = Arc::clone(&all[queue].source);
        for spot in 0..existing {
            let Waiting { class, left, .. } = all[queue];
            if left == 0 {
                break;
            }
            let count = ground.how_many(class, &source, spot, left);
            if count > 0 {
                ground.place((queue, class), &source, spot, count);
                all[queue].left -= count;
            }
        }
    }
}

/// Places pods of these queues on machines that come anyway.
pub(super) fn fill_coming(
    ground: &mut Ground<'_>,
    all: &mut [Waiting],
    queues: &[usize],
    whole: &Resources,
) {
    let queues = waiting(all, queues);
    let mut alike = alike(ground);
    if alike.is_empty() || queues.is_empty() {
        return;
    }
    let mut kinds = Vec::new();
    let mut whole = whole.clone();
    for (index, alike) in alike.iter().enumerate() {
        let mut kind = alike.kind.clone();
        // Each has a limit of its own.
        kind.group = index;
        whole.raise_to(&kind.free());
        kinds.push(kind);
    }
    let budget = Budget {
        groups: alike
            .iter()
            .map(|alike| u32::try_from(alike.spots.len()).unwrap_or(u32::MAX))
            .collect(),
        cluster: u32::MAX,
    };
    let every: Vec<usize> = (0..kinds.len()).collect();
    let (classes, counts) = asked(all, &queues);
    let steps =
        Search::new(classes.iter().collect(), &kinds, &every, &whole).fill_coming(&counts, &budget);
    for step in steps {
        let most = step.times;
        carry_out(ground, all, &queues, &step, most, |_| {
            alike[step.kind].spots.pop()
        });
    }
}

/// Buys for pods of these queues.
pub(super) fn buy(
    ground: &mut Ground<'_>,
    all: &mut [Waiting],
    queues: &[usize],
    buyable: &[usize],
    (budget, whole): (&mut Budget, &Resources),
) {
    let queues = waiting(all, queues);
    let (classes, counts) = asked(all, &queues);
    let steps =
        Search::new(classes.iter().collect(), ground.kinds, buyable, whole).buy(&counts, budget);
    for step in steps {
        budget.spend(ground.kinds[step.kind].group, step.times);
        carry_out(ground, all, &queues, &step, step.times, |ground| {
            Some(ground.buy(step.kind, Cause::PendingPods))
        });
    }
}

/// Those of the queues that have pods left.
fn waiting(all: &[Waiting], queues: &[usize]) -> Vec<usize> {
    let left = queues.iter().copied();
    left.filter(|&queue| all[queue].left > 0).collect()
}

fn asked(all: &[Waiting], queues: &[usize]) -> (Vec<Arc<SchedulingClass>>, Vec<u32>) {
    queues
        .iter()
        .map(|&queue| (Arc::clone(&all[queue].source), all[queue].left))
        .unzip()
}

fn carry_out(
    ground: &mut Ground<'_>,
    all: &mut [Waiting],
    queues: &[usize],
    step: &Step,
    times: u32,
    mut spot: impl FnMut(&mut Ground<'_>) -> Option<usize>,
) {
    for _ in 0..times {
        let Some(spot) = spot(ground) else { return };
        for (class, count) in &step.counts {
            let queue = queues[*class];
            let Waiting { class, left, .. } = all[queue];
            let source = Arc::clone(&all[queue].source);
            let count = (*count).min(left);
            ground.place((queue, class), &source, spot, count);
            all[queue].left -= count;
        }
    }
}

/// Machines to come, those together that differ by their name only (copies of one template share
/// its shape), in the order of their offerings'
/// names, as the kinds are that they were chosen from.
fn alike(ground: &Ground<'_>) -> Vec<Alike> {
    let mut found: Vec<(Option<String>, Alike)> = Vec::new();
    for (index, spot) in ground.spots.iter().enumerate() {
        let price: Option<HourlyPrice> = match &spot.of {
            Of::Existing | Of::Open(_) => continue,
            Of::InFlight(_, price) => *price,
            Of::Bought { kind, .. } => ground.kinds[*kind].price,
        };
        let Some(origin) = ground.engine.origin(spot.node) else {
            continue;
        };
        let mut requested = origin.shape.allocatable.clone();
        requested.sub(&ground.engine.free(spot.node));
        let label = |key: &str| ground.engine.label(spot.node, key).map(str::to_owned);
        let is_like = |(_, other): &&mut (Option<String>, Alike)| {
            other.kind.price == price
                && other.kind.requested == requested
                && other.kind.node.shape == origin.shape
        };
        match found.iter_mut().find(is_like) {
            Some((_, alike)) => alike.spots.push(index),
            None => found.push((
                label(super::template::OFFERING),
                Alike {
                    kind: Kind {
                        group: 0,
                        choice: 0,
                        node: origin.clone(),
                        requested,
                        price,
                        preferred: false,
                    },
                    spots: vec![index],
                },
            )),
        }
    }
    for (_, alike) in &mut found {
        // The last is taken first.
        alike.spots.reverse();
    }
    let group = |alike: &Alike| {
        let labels = &alike.kind.node.shape.labels;
        let label = |key: &str| labels.get(key).cloned();
        (
            label(super::template::NODE_GROUP_NAMESPACE),
            label(super::template::NODE_GROUP),
        )
    };
    found.sort_by_cached_key(|(offering, alike)| (group(alike), offering.clone()));
    found.into_iter().map(|(_, alike)| alike).collect()
}
