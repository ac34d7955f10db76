//! The answer for people: what would be bought and why, what it costs and how near that is to the
//! least possible, where the pods go, and what stays pending for which reason.

use std::{
    collections::BTreeMap,
    io::{self, Write},
};

use model::{HourlyPrice, PodKey};
use planner::reason::{GroupReason, PodReason};
use rust_decimal::{Decimal, RoundingStrategy};

use super::outcome::{Buy, Outcome};
use crate::{explain::words::listed, offline::ReadGroup};

/// Names of one line.
const NAMES: usize = 5;

/// Writes the advice; `groups` are the managed ones.
pub(super) fn write(
    outcome: &Outcome,
    groups: &[&ReadGroup],
    has_catalogue: bool,
    out: &mut impl Write,
) -> io::Result<()> {
    let short: Vec<String> = groups
        .iter()
        .filter_map(|group| below_minimum(group, outcome))
        .collect();
    bought(outcome, short.is_empty(), out)?;
    places(outcome, out)?;
    pending(outcome, out)?;
    let mut mind = short;
    if groups.is_empty() {
        mind.push("There is no managed NodeGroup that could grow.".to_owned());
    } else if has_catalogue {
        mind.extend(groups.iter().flat_map(|group| {
            let problems = group.problems.iter();
            problems.map(|problem| format!("Mind {}: {problem}.", group.input.key))
        }));
    } else {
        let give = "give one with --offerings FILE";
        mind.push(format!(
            "Nothing can be bought without a list of what is sold: {give}."
        ));
    }
    if !mind.is_empty() {
        writeln!(out, "\n{}", mind.join("\n"))?;
    }
    Ok(())
}

/// What would be bought, and what it costs.
fn bought(outcome: &Outcome, has_minimums: bool, out: &mut impl Write) -> io::Result<()> {
    let (placed, pending) = (outcome.placed(), outcome.pending.len());
    let machines = outcome.machines();
    if machines == 0 {
        let why = match (placed, pending) {
            (0, 0) if has_minimums => "no pod is pending, and every group has its minimum".into(),
            (0, 0) => "no pod is pending".to_owned(),
            (1, 0) => "there is room for the pending pod".into(),
            (_, 0) => format!("there is room for all {placed} pending pods"),
            (_, 1) => "no machine may be bought that would take the pod that is left".into(),
            _ => {
                format!("no machine may be bought that would take the {pending} pods that are left")
            }
        };
        return writeln!(out, "Nothing would be bought: {why}.");
    }
    let cost = match outcome.price {
        Some(price) => format!(
            "{price} USD an hour ({} USD a month of 730 hours)",
            monthly(price)
        ),
        None => "a price that is not known".to_owned(),
    };
    writeln!(
        out,
        "{} would be bought for {cost}:",
        counted(machines as usize, "machine")
    )?;
    for buy in &outcome.buy {
        writeln!(
            out,
            "  {} {} of {}{}, {}",
            buy.count,
            buy.offering,
            buy.group,
            priced(buy),
            reason(buy)
        )?;
    }
    if let Some(line) = distance(outcome) {
        writeln!(out, "{line}")?;
    }
    Ok(())
}

/// Dollars a month, in cents.
fn monthly(price: HourlyPrice) -> String {
    format!("{:.2}", price.monthly())
}

fn priced(buy: &Buy) -> String {
    let each = if buy.count > 1 { " each" } else { "" };
    let price = buy.price.map(|price| format!(" at {price} USD/h{each}"));
    price.unwrap_or_default()
}

/// Why it is bought.
fn reason(buy: &Buy) -> String {
    let mut why = Vec::new();
    match buy.for_minimum {
        0 => {}
        some if some == buy.count => why.push("to reach minNodes".to_owned()),
        some => why.push(format!("{some} of them to reach minNodes")),
    }
    if !buy.pods.is_empty() {
        let pods = &buy.pods;
        let verb = if buy.for_minimum == 0 {
            "for"
        } else {
            "the rest for"
        };
        let verb = if buy.for_minimum == buy.count {
            "for"
        } else {
            verb
        };
        why.push(format!("{verb} {}", listed(pods, NAMES)));
    }
    why.join(", ")
}

/// How far the price is from the least possible.
fn distance(outcome: &Outcome) -> Option<String> {
    let (price, bound) = outcome.price.zip(outcome.lower_bound)?;
    if price <= bound {
        return Some("No plan for the same pods can cost less.".to_owned());
    }
    if bound == HourlyPrice::ZERO {
        return None;
    }
    let over = price.amount() / bound.amount() * Decimal::ONE_HUNDRED - Decimal::ONE_HUNDRED;
    Some(format!(
        "No plan for the same pods can cost less than {} USD an hour; this is {:.1} % more.",
        HourlyPrice::new(
            bound
                .amount()
                .round_dp_with_strategy(6, RoundingStrategy::ToZero)
        ),
        over.round_dp(1)
    ))
}

/// Where the pods go.
fn places(outcome: &Outcome, out: &mut impl Write) -> io::Result<()> {
    let placed = outcome.placed();
    if placed == 0 {
        return Ok(());
    }
    let mut places = Vec::new();
    if !outcome.existing.is_empty() {
        let nodes: Vec<_> = outcome.existing.keys().collect();
        let pods: usize = outcome.existing.values().sum();
        places.push(format!(
            "{pods} on nodes that are there ({})",
            listed(&nodes, NAMES)
        ));
    }
    if !outcome.in_flight.is_empty() {
        let machines: Vec<_> = outcome.in_flight.keys().collect();
        let pods: usize = outcome.in_flight.values().sum();
        places.push(format!(
            "{pods} on machines on their way ({})",
            listed(&machines, NAMES)
        ));
    }
    if outcome.new > 0 {
        places.push(format!("{} on new machines", outcome.new));
    }
    let all = placed + outcome.pending.len();
    let verb = if placed == 1 { "gets" } else { "get" };
    writeln!(
        out,
        "{placed} of {} {verb} a place: {}.",
        counted(all, "pending pod"),
        places.join(", ")
    )
}

/// What stays pending, pods of one reason together.
fn pending(outcome: &Outcome, out: &mut impl Write) -> io::Result<()> {
    let mut by_reason: BTreeMap<&PodReason, Vec<&PodKey>> = BTreeMap::new();
    for (pod, reason) in &outcome.pending {
        by_reason.entry(reason).or_default().push(pod);
    }
    let mut by_reason: Vec<_> = by_reason.into_iter().collect();
    by_reason.sort_by(|a, b| a.1.cmp(&b.1));
    if by_reason.is_empty() {
        return Ok(());
    }
    let count = outcome.pending.len();
    let verb = if count == 1 { "stays" } else { "stay" };
    writeln!(out, "\n{} {verb} pending:", counted(count, "pod"))?;
    for (reason, pods) in by_reason {
        let pods = listed(&pods, NAMES);
        let PodReason::NoNodeGroupFits { groups } = reason else {
            writeln!(out, "  {pods}: {reason}")?;
            continue;
        };
        writeln!(out, "  {pods}: no group can take it")?;
        // Offerings of one group that are refused alike are named together.
        let alike = |a: &GroupReason, b: &GroupReason| a.group == b.group && a.refusal == b.refusal;
        for same in groups.chunk_by(alike) {
            let offerings: Vec<_> = same
                .iter()
                .filter_map(|one| one.offering.as_ref())
                .collect();
            let Some(first) = same.first() else { continue };
            let separator = if offerings.is_empty() { "" } else { " " };
            let offerings = listed(&offerings, NAMES);
            writeln!(
                out,
                "    {}{separator}{offerings}: {}",
                first.group, first.refusal
            )?;
        }
    }
    Ok(())
}

/// A group that has too few machines and cannot get them.
fn below_minimum(group: &ReadGroup, outcome: &Outcome) -> Option<String> {
    let input = &group.input;
    let own = outcome.buy.iter().filter(|buy| buy.group == input.key);
    let bought: u32 = own.map(|buy| buy.count).sum();
    let will_have = input.serving.saturating_add(bought);
    let min = input.min_nodes;
    (will_have < min && !input.deleting).then(|| {
        format!(
            "{} would have {will_have} of the {min} nodes that its minNodes asks for.",
            input.key
        )
    })
}

fn counted(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_distance_to_the_least_possible_price_is_told_where_both_are_known() {
        let price = |cents: i64| Some(HourlyPrice::new(Decimal::new(cents, 2)));
        let told = |price, lower_bound| {
            distance(&Outcome {
                buy: Vec::new(),
                existing: BTreeMap::new(),
                in_flight: BTreeMap::new(),
                new: 0,
                pending: Vec::new(),
                price,
                lower_bound,
            })
        };
        let least = "No plan for the same pods can cost less";
        assert_eq!(told(price(5), price(5)), Some(format!("{least}.")));
        assert_eq!(
            told(price(9), price(8)),
            Some(format!(
                "{least} than 0.08 USD an hour; this is 12.5 % more."
            ))
        );
        assert_eq!(told(price(9), price(0)), None);
        assert_eq!(told(price(9), None), None);
        assert_eq!(told(None, price(8)), None);
    }
}
