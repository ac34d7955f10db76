//! What no plan could do better than: machines by volume, and money.

use std::collections::BTreeMap;

use model::{HourlyPrice, Resources, SchedulingClass};
use rust_decimal::{Decimal, RoundingStrategy};

use super::kinds::Kind;

/// Into how many parts a machine is cut when asking which pods cannot share one.
const PARTS: i128 = 24;

/// The least number of machines with `free` room each that hold these requests, each so often:
/// by volume of each resource, counting that a pod cannot be split (dual feasible functions: a pod
/// of more than a third of a machine counts as half of one, of more than a quarter as a third, …).
pub(super) fn machines(free: &Resources, requests: &[(&Resources, u32)]) -> u32 {
    let mut names: Vec<&str> = vec!["cpu", "memory", "ephemeral-storage", "pods"];
    for (asked, _) in requests {
        names.extend(asked.extended.keys().map(AsRef::as_ref));
    }
    names.sort_unstable();
    names.dedup();
    let mut most = 0;
    for name in names {
        let size = i128::from(free.get(name));
        if size <= 0 {
            continue;
        }
        for parts in 0..PARTS {
            most = most.max(bound(size, parts, name, requests));
        }
    }
    u32::try_from(most).unwrap_or(u32::MAX)
}

fn bound(size: i128, parts: i128, name: &str, requests: &[(&Resources, u32)]) -> i128 {
    // Sums of x/size and of m/parts.
    let (mut exact, mut steps) = (0_i128, 0_i128);
    for (asked, times) in requests {
        let asked = i128::from(asked.get(name).max(0));
        let times = i128::from(*times);
        let cut = asked * (parts + 1);
        if parts == 0 || cut % size == 0 {
            exact += asked * times;
        } else {
            steps += cut / size * times;
        }
    }
    let parts = parts.max(1);
    (exact * parts + steps * size + size * parts - 1) / (size * parts)
}

/// The least that room for these pods can cost an hour, each class on the kinds that take it:
/// per resource, each unit at the price of the kind that sells it cheapest; at least the cheapest
/// machine for the most demanding pod. `None` where a price is unknown.
pub(super) fn price<'a>(
    kinds: &[&Kind],
    placed: impl IntoIterator<Item = (&'a SchedulingClass, u32)>,
) -> Option<HourlyPrice> {
    let cheapest_first = |price_of: &dyn Fn(&Kind) -> Option<Decimal>| {
        let priced = kinds
            .iter()
            .filter_map(|&kind| Some((price_of(kind)?, kind)));
        let mut order: Vec<(Decimal, &Kind)> = priced.collect();
        order.sort_by_key(|(price, _)| *price);
        order
    };
    let whole = |kind: &Kind| Some(kind.price?.amount());
    let by_machine = cheapest_first(&whole);
    let by_unit: Vec<(&str, Vec<(Decimal, &Kind)>)> = ["cpu", "memory", "pods"]
        .into_iter()
        .map(|name| {
            let unit = |kind: &Kind| {
                let free = kind.free().get(name);
                whole(kind).filter(|_| free > 0)?.checked_div(free.into())
            };
            (name, cheapest_first(&unit))
        })
        .collect();
    let unpriced: Vec<&&Kind> = kinds.iter().filter(|kind| kind.price.is_none()).collect();
    let mut least = Decimal::ZERO;
    let mut sums: BTreeMap<&str, Decimal> = BTreeMap::new();
    for (class, count) in placed {
        let takes = |kind: &Kind| scheduling::fits(class, &kind.node, &kind.requested);
        if unpriced.iter().any(|kind| takes(kind)) {
            return None;
        }
        let first = |order: &[(Decimal, &Kind)]| {
            let taker = order.iter().find(|(_, kind)| takes(kind));
            taker.map(|(price, _)| *price)
        };
        least = least.max(first(&by_machine).unwrap_or_default());
        for (name, order) in &by_unit {
            let asked = Decimal::from(class.requests.get(name).max(0));
            if let Some(unit) = first(order)
                && let Some(cost) = unit
                    .checked_mul(asked)
                    .and_then(|cost| cost.checked_mul(Decimal::from(count)))
            {
                let sum = sums.entry(name).or_default();
                *sum = sum.saturating_add(cost);
            }
        }
    }
    let most = sums.values().copied().max().unwrap_or_default().max(least);
    Some(HourlyPrice::new(
        most.round_dp_with_strategy(8, RoundingStrategy::ToZero),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cpu(cpu_milli: i64) -> Resources {
        Resources {
            cpu_milli,
            pods: 1,
            ..Resources::default()
        }
    }

    fn room(cpu_milli: i64) -> Resources {
        Resources {
            cpu_milli,
            pods: 110,
            ..Resources::default()
        }
    }

    #[test]
    fn pods_that_cannot_share_a_machine_are_not_thought_to() {
        assert_eq!(machines(&room(2000), &[(&cpu(500), 120)]), 30);
        // Three of them fill a machine but for a gap that no fourth fits.
        assert_eq!(machines(&room(1900), &[(&cpu(500), 200)]), 67);
        assert_eq!(machines(&room(2000), &[(&cpu(1001), 5)]), 5);
        assert_eq!(machines(&room(2000), &[(&cpu(1000), 5)]), 3);
        assert_eq!(machines(&room(2000), &[(&cpu(0), 111)]), 2, "pod count");
        assert_eq!(machines(&room(2000), &[]), 0);
    }
}
