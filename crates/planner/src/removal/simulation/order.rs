//! In which order nodes go: empty ones first, then by the money saved for each pod that has to
//! move.

use std::cmp::{Ordering, Reverse};

use model::HourlyPrice;
use rust_decimal::Decimal;

use super::board::Seat;

/// What a node's turn depends on; the least goes first.
pub(super) type Turn<'a> = (
    bool,
    Reverse<Option<Decimal>>,
    Reverse<Option<HourlyPrice>>,
    usize,
    &'a str,
);

/// The turn of a node. One whose price is not known comes after those whose is; between equals
/// the one with fewer pods, then the name decides.
pub(super) fn turn<'a>(seat: &Seat<'a>) -> Turn<'a> {
    let pods = seat.pods();
    let saved = seat.price.map(HourlyPrice::amount);
    let per_pod = saved.and_then(|saved| saved.checked_div(Decimal::from(pods.max(1))));
    (
        pods > 0,
        Reverse(per_pod),
        Reverse(seat.price),
        pods,
        seat.name.as_str(),
    )
}

/// What is good about a set: the money it saves, how many nodes that is, how few pods move.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Gain {
    pub(super) money: HourlyPrice,
    pub(super) nodes: usize,
    pub(super) pods: usize,
}

impl Gain {
    pub(super) fn of<'s, 'a: 's>(seats: impl IntoIterator<Item = &'s Seat<'a>>) -> Self {
        let mut gain = Self::default();
        for seat in seats {
            gain.money = gain.money + seat.price.unwrap_or_default();
            gain.nodes += 1;
            gain.pods += seat.pods();
        }
        gain
    }
}

impl Ord for Gain {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.money, self.nodes, Reverse(self.pods)).cmp(&(
            other.money,
            other.nodes,
            Reverse(other.pods),
        ))
    }
}

impl PartialOrd for Gain {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
