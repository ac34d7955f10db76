//! Nodes, in JSON (docs/explain.md describes it, and it is stable) and for people: what keeps each of
//! them, what to do about that, and what would be saved. Nodes that are kept alike are told of once.

use std::{
    collections::BTreeMap,
    io::{self, Write},
};

use jiff::Timestamp;
use model::{GroupKey, HourlyPrice, NodeName, PodKey};
use planner::removal::refusal::Refusal;
use serde::Serialize;

use super::{
    answer::VERSION,
    fate::{Fate, Fates, RefusalRow},
    words::{listed, money},
};

/// Names of one line.
const NAMES: usize = 5;

/// Pods that are spelled out where several are kept alike.
const PODS: usize = 3;

/// A node in JSON.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct NodeRow<'a> {
    node: &'a str,
    group: Option<String>,
    removable: bool,
    reasons: Vec<RefusalRow>,
    savings: Option<String>,
    unneeded_since: Option<String>,
    moves: Vec<MoveRow>,
    waits: Vec<RefusalRow>,
}

#[derive(Serialize)]
struct MoveRow {
    pod: String,
    node: String,
}

impl<'a> NodeRow<'a> {
    /// What is said of one node.
    pub(super) fn new(node: &'a NodeName, fate: &Fate) -> Self {
        let group = fate.owner.as_ref().filter(|_| fate.is_ours);
        Self {
            node: node.as_str(),
            group: group.map(ToString::to_string),
            removable: fate.is_removable(),
            reasons: fate.refusals.iter().map(RefusalRow::from).collect(),
            savings: fate.price.map(|price| price.to_string()),
            unneeded_since: fate.unneeded_since.map(|since| since.to_string()),
            moves: (fate.moves.iter())
                .map(|(pod, node)| MoveRow {
                    pod: pod.to_string(),
                    node: node.to_string(),
                })
                .collect(),
            waits: fate.waits.iter().map(RefusalRow::from).collect(),
        }
    }
}

/// Writes the answer on one line.
pub(super) fn write(fates: &Fates, asked: &[NodeName], out: &mut impl Write) -> io::Result<()> {
    write!(out, "{{\"version\":{VERSION},\"nodes\":[")?;
    for (index, (node, fate)) in found(fates, asked).enumerate() {
        if index > 0 {
            out.write_all(b",")?;
        }
        serde_json::to_writer(&mut *out, &NodeRow::new(node, fate))?;
    }
    out.write_all(b"]}\n")
}

fn found<'a>(
    fates: &'a Fates,
    asked: &'a [NodeName],
) -> impl Iterator<Item = (&'a NodeName, &'a Fate)> {
    let asked = asked.iter();
    asked.filter_map(|node| fates.nodes.get_key_value(node))
}

/// Writes the advice on each node, those that are kept alike together.
pub(super) fn advise(fates: &Fates, asked: &[NodeName], out: &mut impl Write) -> io::Result<()> {
    type Alike<'a> = (
        Option<&'a GroupKey>,
        &'a [Refusal],
        Option<Timestamp>,
        Option<HourlyPrice>,
    );
    as_of(fates, out)?;
    if asked.is_empty() {
        return writeln!(out, "\nThere is no node.");
    }
    let mut kept: Vec<(Vec<&NodeName>, &Fate)> = Vec::new();
    let mut places: BTreeMap<Alike<'_>, usize> = BTreeMap::new();
    let mut going = Vec::new();
    for (node, fate) in found(fates, asked) {
        if fate.is_removable() {
            going.push((node, fate));
            continue;
        }
        let group = fate.owner.as_ref().filter(|_| fate.is_ours);
        let alike = (
            group,
            fate.refusals.as_slice(),
            fate.unneeded_since,
            fate.price,
        );
        let place = *places.entry(alike).or_insert(kept.len());
        match kept.get_mut(place) {
            Some((nodes, _)) => nodes.push(node),
            None => kept.push((vec![node], fate)),
        }
    }
    for (node, fate) in going {
        writeln!(out)?;
        removable(fates, node, fate, out)?;
    }
    for (nodes, fate) in kept {
        writeln!(out)?;
        stays(&nodes, fate, out)?;
    }
    let ours = || found(fates, asked).filter(|(_, fate)| fate.is_ours);
    if ours().next().is_some() && ours().all(|(_, fate)| fate.price.is_none()) {
        writeln!(
            out,
            "\nWhat would be saved is not known: give a list of prices with --offerings FILE."
        )?;
    }
    Ok(())
}

/// At which instant it is judged, by what evidence, and what holds all of them up.
pub(super) fn as_of(fates: &Fates, out: &mut impl Write) -> io::Result<()> {
    let given = if fates.evidence.is_assumed {
        "; windows, cooldowns and what is in use are taken as given"
    } else {
        ""
    };
    writeln!(out, "As of {}{given}.", fates.at)?;
    if let Some(many) = &fates.many {
        writeln!(
            out,
            "{} of {} Ready nodes look removable at once: before the first of them goes, that has to \
             last for another window.",
            many.removable, many.nodes
        )?;
    }
    Ok(())
}

fn removable(fates: &Fates, node: &NodeName, fate: &Fate, out: &mut impl Write) -> io::Result<()> {
    writeln!(out, "Node {node}{} could go.", of_group(fate))?;
    standing(fate, out)?;
    match fate.moves.as_slice() {
        [] => writeln!(out, "  No pod has to move.")?,
        [(pod, to)] => writeln!(out, "  Pod {pod} would move to {to}.")?,
        moves => {
            let mut by_node: BTreeMap<&NodeName, Vec<&PodKey>> = BTreeMap::new();
            for (pod, to) in moves {
                by_node.entry(to).or_default().push(pod);
            }
            writeln!(out, "  {} pods would move:", moves.len())?;
            for (to, pods) in by_node {
                writeln!(out, "    to {to}: {}", listed(&pods, NAMES))?;
            }
        }
    }
    if fates.together.contains_key(node) {
        return Ok(());
    }
    // That many look removable has been said of all of them.
    let of_all = |refusal: &&Refusal| matches!(refusal, Refusal::ManyRemovable { .. });
    for refusal in fate.waits.iter().filter(|refusal| !of_all(refusal)) {
        writeln!(out, "  Others go before it, {}: {refusal}.", refusal.name())?;
    }
    Ok(())
}

fn stays(nodes: &[&NodeName], fate: &Fate, out: &mut impl Write) -> io::Result<()> {
    let group = of_group(fate);
    let names = listed(nodes, NAMES);
    let (node, stays, is) = match nodes {
        [_] => ("Node", "stays", "is"),
        _ => ("Nodes", "stay", "are"),
    };
    if fate.is_going() {
        writeln!(out, "{node} {names}{group} {is} on the way out.")?;
    } else if fate.is_ours {
        writeln!(out, "{node} {names}{group} {stays}.")?;
    } else {
        writeln!(out, "{node} {names} {stays}, not being ours.")?;
    }
    standing(fate, out)?;
    for alike in fate.refusals.chunk_by(|a, b| a.name() == b.name()) {
        let Some(first) = alike.first() else { continue };
        writeln!(out, "  {}: {first}", first.name())?;
        let rest = alike.get(1..).unwrap_or_default();
        for refusal in rest.iter().take(PODS - 1) {
            writeln!(out, "    and {refusal}")?;
        }
        if let Some(more) = rest.len().checked_sub(PODS - 1).filter(|more| *more > 0) {
            writeln!(out, "    and {more} more")?;
        }
        writeln!(out, "    What to do: {}.", first.remedy())?;
    }
    Ok(())
}

fn of_group(fate: &Fate) -> String {
    let group = fate.owner.as_ref().filter(|_| fate.is_ours);
    group.map_or_else(String::new, |group| format!(" of {group}"))
}

/// Since when it is unneeded, and what would be saved.
fn standing(fate: &Fate, out: &mut impl Write) -> io::Result<()> {
    let since = fate.unneeded_since.filter(|_| fate.is_ours);
    match (since, fate.price.map(money)) {
        (Some(since), Some(money)) => {
            writeln!(
                out,
                "  Unneeded since {since}. Without it {money} would be saved."
            )
        }
        (Some(since), None) => writeln!(out, "  Unneeded since {since}."),
        (None, Some(money)) => writeln!(out, "  Without it {money} would be saved."),
        (None, None) => Ok(()),
    }
}
