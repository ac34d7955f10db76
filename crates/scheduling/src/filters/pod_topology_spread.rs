//! PodTopologySpread: one more pod must not make its domain too full beside the emptiest (scheduler
//! plugin `podtopologyspread`, constraints with `DoNotSchedule`).
//!
//! A node that does not count is judged all the same, by what its domain has on nodes that do.

use crate::{
    Failure,
    class::{Class, Spread},
    snapshot::Snapshot,
};

pub(crate) fn check(snapshot: &Snapshot, class: &Class, node: usize) -> Vec<Failure> {
    class
        .spread
        .iter()
        .filter_map(|spread| failure(snapshot, spread, node))
        .collect()
}

pub(crate) fn passes(snapshot: &Snapshot, class: &Class, node: usize) -> bool {
    let topology = snapshot.topology();
    class.spread.iter().all(|spread| {
        let group = topology.groups.get(spread.group);
        topology.keys.of(group.key(), node).is_some_and(|domain| {
            is_even(
                spread,
                group.pods(domain),
                group.minimum(spread.min_domains),
            )
        })
    })
}

/// How many equal pods in a row would pass, given that one does.
pub(crate) fn at_most(snapshot: &Snapshot, class: &Class, node: usize) -> u32 {
    let topology = snapshot.topology();
    let most = |spread: &Spread| {
        let group = topology.groups.get(spread.group);
        let domain = topology.keys.of(group.key(), node)?;
        if !spread.counts_itself || !group.counts_node(node) {
            // What is placed here changes no number.
            return None;
        }
        let minimum = if group.has_fewer_domains(spread.min_domains) {
            0
        } else {
            // The domain itself may be the emptiest one, but is not for longer than the others let
            // it; without others it is for ever.
            group.minimum_beside(domain)?
        };
        let most = i64::from(minimum) + i64::from(spread.max_skew) - i64::from(group.pods(domain));
        Some(u32::try_from(most).unwrap_or(0))
    };
    class
        .spread
        .iter()
        .filter_map(most)
        .min()
        .unwrap_or(u32::MAX)
}

fn is_even(spread: &Spread, pods: u32, minimum: u32) -> bool {
    i64::from(pods) + i64::from(spread.matches_itself) - i64::from(minimum)
        <= i64::from(spread.max_skew)
}

fn failure(snapshot: &Snapshot, spread: &Spread, node: usize) -> Option<Failure> {
    let topology = snapshot.topology();
    let group = topology.groups.get(spread.group);
    let key = topology.keys.name(group.key());
    let Some(domain) = topology.keys.of(group.key(), node) else {
        return Some(Failure::MissingSpreadKey {
            key: key.to_string(),
        });
    };
    let (pods, minimum) = (group.pods(domain), group.minimum(spread.min_domains));
    (!is_even(spread, pods, minimum)).then(|| Failure::UnevenSpread {
        key: key.to_string(),
        domain: topology.keys.value(group.key(), domain).to_string(),
        pods,
        minimum,
        max_skew: spread.max_skew,
    })
}
