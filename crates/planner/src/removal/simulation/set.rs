//! Which nodes go together.
//!
//! In a large cluster they are taken in the order of their turns as long as that works. In a
//! smaller one other orders are tried, too, and among a handful of nodes every set that would save
//! more. What limits how many go at once is applied to the best set then, so that its first nodes
//! go now and the others later.

use std::{cmp::Reverse, collections::BTreeSet};

use model::HourlyPrice;
use rust_decimal::Decimal;

use super::{
    Plan, Reason, Removal,
    board::Board,
    order::Gain,
    picker::{Parcel, Parcels, Picker, Step, Tally},
};

/// Up to so many nodes several orders are tried.
const SEVERAL: usize = 64;
/// So many nodes are tried as the first to go.
const LEADS: usize = 16;
/// Up to so many nodes every set is tried.
const FEW: usize = 8;

/// Chooses among these candidates, given in the order of their turns.
pub(super) fn choose(board: &mut Board<'_>, eligible: &[usize]) -> Plan {
    let (steps, left) = if eligible.len() > SEVERAL {
        walk(board, eligible, true)
    } else {
        search(board, eligible)
    };
    let mut plan = Plan::default();
    for step in steps {
        let seat = &board.seats[step.seat];
        let mut moves = Vec::with_capacity(seat.pods());
        for (parcel, host) in step.moves {
            let pods = &board.pods[parcel.first as usize..][..parcel.count as usize];
            let host = board.names[host.0 as usize];
            moves.extend(pods.iter().map(|pod| (pod.key.clone(), host.clone())));
        }
        plan.removals.push(Removal {
            node: seat.name.clone(),
            moves,
            savings: seat.price,
        });
    }
    for (seat, reason) in left {
        let node = board.seats[seat].name.clone();
        plan.left.entry(node).or_default().push(reason);
    }
    plan
}

/// Takes what can be taken in this order. Where nodes that had taken pods went later, too, the set
/// that came of it is gone through once more, with none of its nodes open to anybody from the
/// start: no pod is moved twice.
fn walk(
    board: &mut Board<'_>,
    order: &[usize],
    limited: bool,
) -> (Vec<Step>, Vec<(usize, Reason)>) {
    board.fork();
    let mut picker = Picker::new(board, limited, true);
    let left = picker.walk(order);
    let (steps, moved_again) = (picker.steps(), picker.moved_again);
    board.revert();
    if !moved_again {
        return (steps, left);
    }
    let first: Vec<usize> = steps.iter().map(|step| step.seat).collect();
    board.fork();
    for &seat in &first {
        board.close(board.seats[seat].node);
    }
    let mut picker = Picker::new(board, limited, false);
    let failed = picker.walk(&first);
    for (seat, _) in failed {
        picker.reopen(seat);
    }
    let picked: BTreeSet<usize> = picker.steps().iter().map(|step| step.seat).collect();
    let mut rest = order.to_vec();
    rest.retain(|seat| !picked.contains(seat));
    let left = picker.walk(&rest);
    let steps = picker.steps();
    board.revert();
    (steps, left)
}

/// Looks for the set that saves most; gives the part of it that may go at once.
fn search(board: &mut Board<'_>, order: &[usize]) -> (Vec<Step>, Vec<(usize, Reason)>) {
    let (mut best, _) = walk(board, order, false);
    for order in other_orders(board, order) {
        let (other, _) = walk(board, &order, false);
        if gain(board, &other) > gain(board, &best) {
            best = other;
        }
    }
    if order.len() > FEW {
        best = led(board, order, best);
    } else {
        best = better_set(board, order, gain(board, &best)).unwrap_or(best);
    }
    let Some(now) = at_once(board, best) else {
        return walk(board, order, true);
    };
    // What else can go goes; of the others it is said why not.
    let mut rest = order.to_vec();
    rest.retain(|seat| now.iter().all(|step| step.seat != *seat));
    board.fork();
    let mut picker = Picker::new(board, true, false);
    picker.replay(&now);
    let left = picker.walk(&rest);
    let steps = picker.steps();
    board.revert();
    (steps, left)
}

fn gain(board: &Board<'_>, steps: &[Step]) -> Gain {
    Gain::of(steps.iter().map(|step| &board.seats[step.seat]))
}

/// The most money first, whatever has to move; the most money for the room it takes.
fn other_orders(board: &Board<'_>, order: &[usize]) -> [Vec<usize>; 2] {
    let mut by_money = order.to_vec();
    by_money.sort_by_key(|&seat| (Reverse(board.seats[seat].price), seat));
    let mut by_room = order.to_vec();
    by_room.sort_by_cached_key(|&seat| {
        let this = &board.seats[seat];
        let share = |index: usize| {
            let millionths = i128::from(this.demand[index]) * 1_000_000;
            millionths / i128::from(board.free[index].max(1))
        };
        let room = Decimal::from_i128_with_scale(share(0).max(share(1)).clamp(0, 1 << 80), 0);
        let saved = this.price.map(HourlyPrice::amount);
        let per_room = saved.and_then(|saved| saved.checked_div(room + Decimal::ONE));
        (Reverse(per_room), seat)
    });
    [by_money, by_room]
}

/// Whether more is gained where one that is not in the best set goes first: the dearest of them are
/// tried, one after the other.
fn led(board: &mut Board<'_>, order: &[usize], mut best: Vec<Step>) -> Vec<Step> {
    let mut leads = order.to_vec();
    leads.retain(|seat| best.iter().all(|step| step.seat != *seat));
    leads.sort_by_key(|&seat| (Reverse(board.seats[seat].price), seat));
    for lead in leads.into_iter().take(LEADS) {
        let mut led = vec![lead];
        led.extend(order.iter().copied().filter(|seat| *seat != lead));
        let (other, _) = walk(board, &led, false);
        if gain(board, &other) > gain(board, &best) {
            best = other;
        }
    }
    best
}

/// The best of all sets that gain more than that, if there is one.
fn better_set(board: &mut Board<'_>, order: &[usize], than: Gain) -> Option<Vec<Step>> {
    let members = |set: u32| {
        let all = order.iter().enumerate();
        all.filter(move |(index, _)| set & (1 << index) != 0)
            .map(|(_, seat)| *seat)
    };
    let mut sets: Vec<(Reverse<Gain>, u32)> = (1..1_u32 << order.len())
        .map(|set| {
            let gain = Gain::of(members(set).map(|seat| &board.seats[seat]));
            (Reverse(gain), set)
        })
        .filter(|(gain, _)| gain.0 > than)
        .collect();
    sets.sort_unstable();
    sets.into_iter().find_map(|(_, set)| {
        let seats: Vec<usize> = members(set).collect();
        together(board, &seats)
    })
}

/// Takes these nodes away all at once, if that is possible.
fn together(board: &mut Board<'_>, seats: &[usize]) -> Option<Vec<Step>> {
    let mut tally = Tally::new(false);
    let mut parcels = Parcels::default();
    let mut nodes = Vec::new();
    for &seat in seats {
        let this = &board.seats[seat];
        tally.admits(board, this).ok()?;
        tally.add(board, this);
        nodes.push(this.node);
        for load in &this.loads {
            parcels.add(Parcel {
                seat,
                class: load.class,
                first: load.first,
                count: load.count,
            });
        }
    }
    let placed = board.rehouse(&nodes, parcels.loads()).ok()?;
    board.revert();
    let mut steps: Vec<Step> = (seats.iter())
        .map(|&seat| Step {
            seat,
            moves: Vec::new(),
        })
        .collect();
    for placed in placed {
        parcels.take(placed, |parcel| {
            if let Some(step) = steps.iter_mut().find(|step| step.seat == parcel.seat) {
                step.moves.push((parcel, placed.host));
            }
        });
    }
    holds(board, &steps).then_some(steps)
}

/// The first nodes of a set, as many as may go at once; `None` where the pods of those alone would
/// not find their places.
fn at_once(board: &mut Board<'_>, steps: Vec<Step>) -> Option<Vec<Step>> {
    let mut in_turn = steps.clone();
    in_turn.sort_by_key(|step| step.seat);
    let mut tally = Tally::new(true);
    in_turn.retain(|step| {
        let seat = &board.seats[step.seat];
        let admitted = tally.admits(board, seat).is_ok();
        if admitted {
            tally.add(board, seat);
        }
        admitted
    });
    if holds(board, &in_turn) {
        return Some(in_turn);
    }
    (in_turn.len() == steps.len()).then_some(steps)
}

/// Whether the nodes can go one after the other as it is said, each pod fitting at its turn.
fn holds(board: &mut Board<'_>, steps: &[Step]) -> bool {
    board.fork();
    let holds = steps.iter().all(|step| {
        board.take_away(board.seats[step.seat].node);
        step.moves.iter().all(|&(parcel, host)| {
            let Parcel { class, count, .. } = parcel;
            let fits = board.snapshot.how_many(class, host, count) == count;
            if fits {
                board.put(super::rehouse::Placed { class, host, count });
            }
            fits
        })
    });
    board.revert();
    holds
}
