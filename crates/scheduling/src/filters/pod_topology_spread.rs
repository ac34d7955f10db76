//! PodTopologySpread: one more pod must not make its domain too full beside the emptiest (scheduler
//! plugin `podtopologyspread`, constraints with `DoNotSchedule`).
//!
//! A node that does not count is judged all the same, by what its domain has on nodes that do.

use crate::{
    Failure,
    class::{Class, Spread},
    snapshot::Snapshot,
    topology::{
        keys::{Domain, KeyId},
        territories::Territory,
    },
};

pub(crate) fn check(snapshot: &Snapshot, class: &Class, node: usize) -> Vec<Failure> {
    class
        .spread
        .iter()
        .filter_map(|spread| failure(snapshot, spread, node))
        .collect()
}

pub(crate) fn passes(snapshot: &Snapshot, class: &Class, node: usize) -> bool {
    class.spread.iter().all(|spread| {
        look(snapshot, spread, node)
            .is_some_and(|(_, pods, minimum)| is_even(spread, pods, minimum))
    })
}

/// How many equal pods in a row would pass, given that one does.
pub(crate) fn at_most(snapshot: &Snapshot, class: &Class, node: usize) -> u32 {
    let topology = snapshot.topology();
    let most = |spread: &Spread| {
        let group = topology.groups.get(spread.group);
        let territory = topology.territories.get(group.territory());
        if !spread.counts_itself {
            return None;
        }
        // On a node that does not count, what is placed changes no number.
        let domain = territory.domain(&topology.keys, node)?;
        let minimum = if has_too_few(territory, spread) {
            0
        } else {
            // The domain itself may be the emptiest one, but is not for longer than the others let
            // it; without others it is for ever.
            group.minimum_beside(domain, territory.domains())?
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

/// The label of the first constraint that says no, where the node has it.
pub(crate) fn blocked_by(snapshot: &Snapshot, class: &Class, node: usize) -> Option<KeyId> {
    let topology = snapshot.topology();
    class.spread.iter().find_map(|spread| {
        let (_, pods, minimum) = look(snapshot, spread, node)?;
        let group = topology.groups.get(spread.group);
        let key = topology.territories.get(group.territory()).key();
        (!is_even(spread, pods, minimum)).then_some(key)
    })
}

/// Whether a constraint holds for a pod that is to come to the node, or for those that are there.
pub(crate) fn is_kept(snapshot: &Snapshot, spread: &Spread, node: usize, is_there: bool) -> bool {
    look(snapshot, spread, node).is_some_and(|(_, pods, minimum)| {
        let own = u32::from(is_there && spread.counts_itself);
        is_even(spread, pods.saturating_sub(own), minimum)
    })
}

/// What the emptiest domain counts as, by constraint.
pub(crate) fn minimums(snapshot: &Snapshot, class: &Class) -> impl Iterator<Item = u32> {
    class.spread.iter().map(|spread| minimum(snapshot, spread))
}

/// The node's domain, the pods counted there and in the emptiest; `None` where it has no such
/// label.
fn look(snapshot: &Snapshot, spread: &Spread, node: usize) -> Option<(Domain, u32, u32)> {
    let topology = snapshot.topology();
    let group = topology.groups.get(spread.group);
    let territory = topology.territories.get(group.territory());
    let domain = topology.keys.of(territory.key(), node)?;
    Some((domain, group.pods(domain), minimum(snapshot, spread)))
}

fn minimum(snapshot: &Snapshot, spread: &Spread) -> u32 {
    let topology = snapshot.topology();
    let group = topology.groups.get(spread.group);
    let territory = topology.territories.get(group.territory());
    if has_too_few(territory, spread) {
        0
    } else {
        group.minimum(territory.domains())
    }
}

/// With fewer domains than it wants the emptiest counts as empty.
fn has_too_few(territory: &Territory, spread: &Spread) -> bool {
    i64::from(territory.domains()) < i64::from(spread.min_domains)
}

fn is_even(spread: &Spread, pods: u32, minimum: u32) -> bool {
    i64::from(pods) + i64::from(spread.matches_itself) - i64::from(minimum)
        <= i64::from(spread.max_skew)
}

fn failure(snapshot: &Snapshot, spread: &Spread, node: usize) -> Option<Failure> {
    let topology = snapshot.topology();
    let group = topology.groups.get(spread.group);
    let key = topology.territories.get(group.territory()).key();
    let name = topology.keys.name(key).to_string();
    let Some((domain, pods, minimum)) = look(snapshot, spread, node) else {
        return Some(Failure::MissingSpreadKey { key: name });
    };
    (!is_even(spread, pods, minimum)).then(|| Failure::UnevenSpread {
        key: name,
        domain: topology.keys.value(key, domain).to_string(),
        pods,
        minimum,
        max_skew: spread.max_skew,
    })
}
