//! What a plan costs, against every possible way of sharing out the pods.

use planner::{
    audit,
    scale_up::{InFlight, Input, Placement},
};
use proptest::{prelude::*, strategy::ValueTree, test_runner::TestRunner};
use rust_decimal::Decimal;

use crate::{
    plan,
    scale_up::{class, group, input, offering, pods},
};

/// The lowest price for placing these pods, by trying every partition into machines: each part
/// costs what the cheapest offering that holds it does. `None`: some pod fits nowhere.
fn cheapest(offerings: &[(u32, u64, i64)], asks: &[(i64, i64)]) -> Option<i64> {
    fn part(offerings: &[(u32, u64, i64)], asks: &[(i64, i64)], members: u32) -> Option<i64> {
        let (mut cpu, mut mib) = (0, 0);
        for (index, (ask_cpu, ask_mib)) in asks.iter().enumerate() {
            if members & (1 << index) != 0 {
                cpu += ask_cpu;
                mib += ask_mib;
            }
        }
        offerings
            .iter()
            .filter(|(cpus, gib, _)| {
                cpu <= i64::from(*cpus) * 1000 && mib <= i64::try_from(gib * 1024).unwrap()
            })
            .map(|(_, _, cents)| *cents)
            .min()
    }
    let all = (1_u32 << asks.len()) - 1;
    let mut best = vec![None; all as usize + 1];
    best[0] = Some(0);
    for members in 1..=all {
        // The first member's part is tried in every way; the rest is solved already.
        let first = members & members.wrapping_neg();
        let mut chosen = members;
        while chosen > 0 {
            if chosen & first != 0
                && let (Some(one), Some(rest)) = (
                    part(offerings, asks, chosen),
                    best[(members & !chosen) as usize],
                )
            {
                let cost: i64 = one + rest;
                let before = best[members as usize].unwrap_or(i64::MAX);
                best[members as usize] = Some(before.min(cost));
            }
            chosen = (chosen - 1) & members;
        }
    }
    best[all as usize]
}

fn backlog(offerings: &[(u32, u64, i64)], asks: &[(i64, i64)]) -> Input {
    let choices = offerings
        .iter()
        .enumerate()
        .map(|(index, (cpus, gib, cents))| offering(&format!("o{index}"), *cpus, *gib, *cents))
        .collect();
    let mut waiting = vec![];
    for (index, (cpu, mib)) in asks.iter().enumerate() {
        waiting.extend(pods(&format!("p{index}"), 1, &class(*cpu, *mib)));
    }
    input(vec![group("g", choices)], waiting)
}

fn cents(input: &Input) -> i64 {
    let (plan, report) = plan(input);
    assert_eq!(audit::scale_up(input, &plan), []);
    let price: Decimal = plan
        .create
        .iter()
        .map(|create| create.price.unwrap().times(create.count as usize).amount())
        .sum();
    let bound = report.price_bound.unwrap().amount();
    assert!(
        bound <= price,
        "the bound {bound} is above the price {price}"
    );
    assert!(report.volume_bound <= plan.machines());
    assert!(
        report
            .pods
            .values()
            .all(|placement| matches!(placement, Placement::New(..)))
    );
    i64::try_from(
        (price * Decimal::from(100)).mantissa() / 10_i128.pow((price * Decimal::from(100)).scale()),
    )
    .unwrap()
}

fn asks(most: usize) -> impl Strategy<Value = Vec<(i64, i64)>> {
    prop::collection::vec(
        (1..16_i64, 1..16_i64).prop_map(|(c, m)| (c * 250, m * 512)),
        1..most,
    )
}

fn catalogue() -> impl Strategy<Value = Vec<(u32, u64, i64)>> {
    // The last offering holds any of the pods; prices per unit differ by up to a half.
    (
        prop::collection::vec((1..9_u32, 1..9_u64, 80..160_i64), 0..4),
        100..160_i64,
    )
        .prop_map(|(some, rate)| {
            let mut all: Vec<(u32, u64, i64)> = some
                .into_iter()
                .map(|(cpus, gib, rate)| {
                    (
                        cpus,
                        gib,
                        (i64::from(cpus) * 6 + i64::try_from(gib).unwrap() * 3) * rate / 100,
                    )
                })
                .collect();
            all.push((8, 8, 72 * rate / 100));
            all
        })
}

#[test]
fn plans_cost_within_a_percent_of_the_optimum() {
    let mut runner = TestRunner::deterministic();
    let (mut found, mut optimum) = (0, 0);
    for _ in 0..400 {
        let offerings = catalogue().new_tree(&mut runner).unwrap().current();
        let asks = asks(8).new_tree(&mut runner).unwrap().current();
        let best = cheapest(&offerings, &asks).unwrap();
        let price = cents(&backlog(&offerings, &asks));
        assert!(
            price >= best,
            "cheaper than possible: {offerings:?} {asks:?}"
        );
        assert!(
            price * 2 <= best * 3,
            "{price} where {best} would do: {offerings:?} {asks:?}"
        );
        found += price;
        optimum += best;
    }
    assert!(found * 100 <= optimum * 101, "{found} against {optimum}");
}

#[test]
fn a_big_machine_is_bought_where_small_ones_would_cost_more_in_all() {
    // Seven of one CPU: four small ones (2 CPUs at 10) cost 40, one large (8 CPUs at 38) 38.
    let offerings = [(2, 8, 10), (8, 32, 38)];
    assert_eq!(cents(&backlog(&offerings, &[(1000, 512); 7])), 38);
    assert_eq!(cents(&backlog(&offerings, &[(1000, 512); 6])), 30);
}

#[test]
fn more_pods_are_placed_rather_than_cheaper_ones_where_the_group_is_small() {
    let mut input = backlog(&[(2, 8, 10), (8, 32, 60)], &[(1000, 512); 8]);
    input.groups[0].max_nodes = 1;
    let (plan, report) = plan(&input);
    assert_eq!(audit::scale_up(&input, &plan), []);
    assert_eq!(plan.create[0].offering, "o1".into());
    assert!(
        report
            .pods
            .values()
            .all(|placement| matches!(placement, Placement::New(..)))
    );
}

#[test]
fn an_offering_without_a_price_is_the_last_resort_and_leaves_the_bound_open() {
    let mut input = backlog(&[(2, 8, 10), (8, 32, 60)], &[(1000, 512), (4000, 512)]);
    input.groups[0].choices[1].offering.price = None;
    let (plan, report) = plan(&input);
    let bought: Vec<_> = plan
        .create
        .iter()
        .map(|create| {
            (
                create.offering.as_str(),
                create.count,
                create.price.is_some(),
            )
        })
        .collect();
    // The large one must be bought; what fits beside is free.
    assert_eq!(bought, [("o1", 1, false)]);
    assert_eq!(report.price_bound, None);
}

/// The machines of the plan, on their way: nothing of them is known but their kind.
fn bought(input: &Input) -> Input {
    let (plan, _) = plan(input);
    let mut after = input.clone();
    for create in &plan.create {
        let group = after
            .groups
            .iter_mut()
            .find(|group| group.key == create.group)
            .unwrap();
        for _ in 0..create.count {
            group.in_flight.push(InFlight {
                machine: format!("m-{:03}", (group.existing * 37) % 101),
                offering: create.offering.clone(),
                node: None,
                pods: vec![],
            });
            group.existing += 1;
            group.serving += 1;
        }
        group.in_flight.sort_by(|a, b| a.machine.cmp(&b.machine));
    }
    after
}

#[test]
fn what_is_on_its_way_is_not_bought_again() {
    let mut runner = TestRunner::deterministic();
    let mut again = 0;
    for most in [4, 8, 16, 40] {
        for _ in 0..200 {
            let offerings = catalogue().new_tree(&mut runner).unwrap().current();
            let asks = asks(most).new_tree(&mut runner).unwrap().current();
            let after = bought(&backlog(&offerings, &asks));
            if plan(&after).0.machines() > 0 {
                again += 1;
            }
        }
    }
    assert_eq!(again, 0, "of 800 backlogs were bought for twice");
}
