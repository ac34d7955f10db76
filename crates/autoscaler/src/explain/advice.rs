//! The answer for people: first what it comes to, then the nodes that are refused alike, then what
//! the groups could get. Equal pods are answered once.

use std::{
    collections::BTreeMap,
    io::{self, Write},
    sync::Arc,
};

use jiff::Timestamp;
use model::{Pod, PodState, SchedulingClass};

use super::{
    cluster::{Cluster, Offer, Verdicts},
    words::{kind, listed, short, together},
};
use crate::offline::reason::Reason;

/// Names of one line.
const NAMES: usize = 5;

/// Reasons of the headline.
const REASONS: usize = 4;

/// Writes the advice on each pod, equal ones together.
pub(super) fn write(
    cluster: &mut Cluster,
    asked: &[Arc<Pod>],
    out: &mut impl Write,
) -> io::Result<()> {
    if asked.is_empty() {
        return writeln!(out, "No pod is pending.");
    }
    let mut alike: Vec<Vec<&Pod>> = Vec::new();
    let mut places: BTreeMap<(&SchedulingClass, String), usize> = BTreeMap::new();
    for pod in asked {
        // Not since when: replicas are seldom of one second.
        let standing = standing_apart(pod, None);
        let place = *places.entry((&pod.class, standing)).or_insert(alike.len());
        match alike.get_mut(place) {
            Some(pods) => pods.push(pod),
            None => alike.push(vec![pod]),
        }
    }
    for (index, pods) in alike.iter().enumerate() {
        if index > 0 {
            writeln!(out)?;
        }
        if let Some(pod) = pods.first() {
            let verdicts = cluster.judge(&pod.class);
            advise(cluster, pods, pod, &verdicts, out)?;
        }
    }
    Ok(())
}

fn advise(
    cluster: &Cluster,
    pods: &[&Pod],
    pod: &Pod,
    verdicts: &Verdicts,
    out: &mut impl Write,
) -> io::Result<()> {
    let names: Vec<_> = pods.iter().map(|pod| &pod.key).collect();
    if let [name] = names.as_slice() {
        writeln!(out, "Pod {name}: {}.", standing(pods))?;
    } else {
        let names = listed(&names, NAMES);
        writeln!(out, "Pods {names}, which are alike: {}.", standing(pods))?;
    }
    if let Some(defect) = &pod.class.defect {
        return writeln!(
            out,
            "It cannot be judged, and nothing is bought for it: {defect}."
        );
    }
    writeln!(out, "{}", on_nodes(cluster, pod, verdicts))?;
    writeln!(out, "{}", on_groups(cluster, verdicts))?;

    let nodes = cluster.nodes().zip(&verdicts.nodes);
    let nodes = grouped(nodes.map(|(name, reasons)| (name.to_string(), reasons)));
    if !nodes.is_empty() {
        writeln!(out, "\nNodes:")?;
        for (names, reasons) in nodes {
            writeln!(
                out,
                "  {}: {}",
                listed(&names, NAMES),
                said(&reasons, "fits")
            )?;
        }
    }
    let offers = cluster.offers().iter().zip(&verdicts.offers);
    let offers = grouped(offers.map(|(offer, reasons)| {
        (
            format!("{} {}{}", offer.group, offer.offering, priced(offer)),
            reasons,
        )
    }));
    if !offers.is_empty() {
        writeln!(out, "\nNew machines, by group and offering:")?;
        for (names, reasons) in offers {
            writeln!(
                out,
                "  {}: {}",
                listed(&names, NAMES),
                said(&reasons, "would take it")
            )?;
        }
    }
    Ok(())
}

/// Where equal pods stand.
fn standing(pods: &[&Pod]) -> String {
    let since = pods.iter().filter_map(|pod| match &pod.state {
        PodState::Unschedulable(since) if *since != Timestamp::UNIX_EPOCH => Some(*since),
        _ => None,
    });
    let earliest = since.min();
    pods.first()
        .map(|pod| standing_apart(pod, earliest))
        .unwrap_or_default()
}

/// Where a pod stands; since when, others say.
fn standing_apart(pod: &Pod, since: Option<Timestamp>) -> String {
    let mut text = match (&pod.state, since) {
        (PodState::Unschedulable(_), None) => "unschedulable".to_owned(),
        (PodState::Unschedulable(_), Some(since)) => format!("unschedulable since {since}"),
        (PodState::Gated, _) => {
            "held by its scheduling gates, until those are removed the scheduler does not look at it"
                .to_owned()
        }
        (PodState::Waiting | PodState::Bound(_), _) => "not scheduled yet".to_owned(),
    };
    if let Some(node) = &pod.nominated {
        text.push_str(", the scheduler makes room for it on ");
        text.push_str(node.as_str());
    }
    if pod.terminating.is_some() {
        text.push_str(", being deleted");
    }
    text
}

/// In one line, whether a node takes it, or why none does: the most frequent reasons first.
fn on_nodes(cluster: &Cluster, pod: &Pod, verdicts: &Verdicts) -> String {
    let total = verdicts.nodes.len();
    let fitting: Vec<_> = cluster
        .nodes()
        .zip(&verdicts.nodes)
        .filter(|(_, reasons)| reasons.is_empty())
        .map(|(name, _)| name)
        .collect();
    if total == 0 {
        return "There is no node.".to_owned();
    }
    if !fitting.is_empty() {
        let there = listed(&fitting, NAMES);
        let advice = match pod.state {
            PodState::Unschedulable(_) | PodState::Waiting => {
                ": the scheduler should place it by itself, and no machine is needed"
            }
            PodState::Gated | PodState::Bound(_) => "",
        };
        let (count, verb) = (
            fitting.len(),
            if fitting.len() == 1 { "has" } else { "have" },
        );
        return format!("{count} of {total} nodes {verb} room for it ({there}){advice}.");
    }
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for reasons in &verdicts.nodes {
        let mut said: Vec<String> = reasons.iter().map(short).collect();
        said.sort();
        said.dedup();
        for reason in said {
            *counts.entry(reason).or_default() += 1;
        }
    }
    let mut counts: Vec<(String, usize)> = counts.into_iter().collect();
    counts.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    let more = counts.len().saturating_sub(REASONS);
    let mut reasons: Vec<String> = counts
        .into_iter()
        .take(REASONS)
        .map(|(reason, count)| format!("{reason} ({count})"))
        .collect();
    if more > 0 {
        reasons.push(format!("{more} more reasons"));
    }
    let none = if total == 1 {
        "The only node does not take it".to_owned()
    } else {
        format!("None of {total} nodes takes it")
    };
    format!("{none}: {}.", reasons.join(", "))
}

/// In one line, whether a new machine would take it.
fn on_groups(cluster: &Cluster, verdicts: &Verdicts) -> String {
    if cluster.offers().is_empty() {
        return "There is no NodeGroup that could grow.".to_owned();
    }
    if cluster.wants_catalogue {
        return "Whether a new machine would take it cannot be said without a list of what can be \
                bought: give one with --offerings FILE."
            .to_owned();
    }
    let mut taking: Vec<&Offer> = cluster
        .offers()
        .iter()
        .zip(&verdicts.offers)
        .filter(|(_, reasons)| reasons.is_empty())
        .map(|(offer, _)| offer)
        .collect();
    // The cheapest first, unknown prices last.
    taking.sort_by_key(|offer| (offer.price.is_none(), offer.price));
    let Some((best, rest)) = taking.split_first() else {
        return "No group can get a machine that would take it.".to_owned();
    };
    let others = match rest.len() {
        0 => String::new(),
        1 => ", as would one other kind of machine".to_owned(),
        more => format!(", as would {more} other kinds of machine"),
    };
    format!(
        "A new {} of {}{} would take it{others}.",
        best.offering,
        best.group,
        priced(best)
    )
}

/// A price, where it is known.
fn priced(offer: &Offer) -> String {
    let price = offer.price.map(|price| format!(" ({price} USD/h)"));
    price.unwrap_or_default()
}

/// Names with equal kinds of reasons, together: those that fit first, then the most frequent.
pub(super) fn grouped<'a>(
    rows: impl Iterator<Item = (String, &'a Vec<Reason>)>,
) -> Vec<(Vec<String>, Vec<&'a Vec<Reason>>)> {
    type Group<'a> = (Vec<String>, Vec<&'a Vec<Reason>>);
    let mut groups: BTreeMap<Vec<String>, Group<'a>> = BTreeMap::new();
    for (name, reasons) in rows {
        let (names, all) = groups
            .entry(reasons.iter().map(kind).collect())
            .or_default();
        names.push(name);
        all.push(reasons);
    }
    let mut groups: Vec<_> = groups.into_values().collect();
    groups.sort_by_key(|(names, all)| {
        let refused = all.first().is_some_and(|reasons| !reasons.is_empty());
        (
            refused,
            std::cmp::Reverse(names.len()),
            names.first().cloned(),
        )
    });
    groups
}

/// What is said of all of a group: one reason after the other.
pub(super) fn said(all: &[&Vec<Reason>], fits: &str) -> String {
    let reasons = all.first().map_or(0, |reasons| reasons.len());
    if reasons == 0 {
        return fits.to_owned();
    }
    let words: Vec<String> = (0..reasons)
        .map(|index| {
            let same: Vec<&Reason> = all
                .iter()
                .filter_map(|reasons| reasons.get(index))
                .collect();
            together(&same)
        })
        .collect();
    words.join("; ")
}
