//! Pods by domain, for topology spread, and with them the emptiest domain at any time.
//!
//! Only pods on nodes of the group's territory are counted. Domains without pods are not listed:
//! how many there are follows from the territory, so that a new node concerns no group.

use std::collections::BTreeMap;

use super::{
    identities::{Identities, IdentityId},
    keys::{Domain, Keys},
    matchers::{MatcherId, Matchers},
    tally::Tally,
    territories::{Territories, TerritoryId},
};

/// Constraints that count the same pods on the same nodes.
pub(crate) type GroupId = u32;

/// Which pods are counted where; no matcher counts none, as an empty selector does.
type Content = (TerritoryId, Option<MatcherId>);

/// A group with its numbers.
#[derive(Clone, Debug)]
pub(crate) struct Group {
    territory: TerritoryId,
    matcher: Option<MatcherId>,
    pods: Tally,
    /// (pods, domains with so many), of those that have any, ascending. Levels are few.
    levels: Vec<(u32, u32)>,
    /// Domains that have any.
    occupied: u32,
}

impl Group {
    pub(crate) const fn territory(&self) -> TerritoryId {
        self.territory
    }

    /// Pods counted in a domain.
    pub(crate) fn pods(&self, domain: Domain) -> u32 {
        self.pods.get(domain)
    }

    /// Pods in the emptiest of so many domains.
    pub(crate) fn minimum(&self, domains: u32) -> u32 {
        if self.occupied < domains {
            return 0;
        }
        self.levels.first().map_or(0, |&(pods, _)| pods)
    }

    /// As [`Self::minimum`], leaving out one of the domains; `None` where it is the only one.
    pub(crate) fn minimum_beside(&self, domain: Domain, domains: u32) -> Option<u32> {
        let own = self.pods(domain);
        let others = domains.checked_sub(1).filter(|&others| others > 0)?;
        if self.occupied - u32::from(own > 0) < others {
            return Some(0);
        }
        let mut levels = self.levels.iter();
        match levels.next() {
            Some(&(pods, 1)) if pods == own => levels.next().map(|&(pods, _)| pods),
            first => first.map(|&(pods, _)| pods),
        }
    }

    fn level(&self, pods: u32) -> Result<usize, usize> {
        self.levels.binary_search_by_key(&pods, |&(pods, _)| pods)
    }

    fn change(&mut self, domain: Domain, by: impl Fn(u32) -> u32) {
        let (before, after) = self.pods.change(domain, by);
        if before == after {
            return;
        }
        if before > 0
            && let Ok(index) = self.level(before)
        {
            self.levels[index].1 -= 1;
            if self.levels[index].1 == 0 {
                self.levels.remove(index);
            }
        }
        if after > 0 {
            match self.level(after) {
                Ok(index) => self.levels[index].1 += 1,
                Err(index) => self.levels.insert(index, (after, 1)),
            }
        }
        self.occupied = self.occupied + u32::from(after > 0) - u32::from(before > 0);
    }
}

/// All groups.
#[derive(Clone, Debug, Default)]
pub(crate) struct Groups {
    by_content: BTreeMap<Content, GroupId>,
    all: Vec<Group>,
    by_matcher: BTreeMap<MatcherId, Vec<GroupId>>,
}

impl Groups {
    /// The group's id; true where it is new.
    pub(crate) fn intern(
        &mut self,
        territory: TerritoryId,
        matcher: Option<MatcherId>,
    ) -> (GroupId, bool) {
        if let Some(&id) = self.by_content.get(&(territory, matcher)) {
            return (id, false);
        }
        let id = self.all.len() as GroupId;
        self.by_content.insert((territory, matcher), id);
        if let Some(matcher) = matcher {
            self.by_matcher.entry(matcher).or_default().push(id);
        }
        self.all.push(Group {
            territory,
            matcher,
            pods: Tally::default(),
            levels: Vec::new(),
            occupied: 0,
        });
        (id, true)
    }

    pub(crate) fn get(&self, id: GroupId) -> &Group {
        &self.all[id as usize]
    }

    pub(crate) fn len(&self) -> GroupId {
        self.all.len() as GroupId
    }

    /// Tells identities of a new group that it counts them.
    pub(crate) fn link_group(&self, identities: &mut Identities, matchers: &Matchers, id: GroupId) {
        if let Some(matcher) = self.all[id as usize].matcher {
            for &identity in matchers.identities(matcher) {
                identities.get_mut(identity).spread_by.push(id);
            }
        }
    }

    /// Tells a new identity which groups count it.
    pub(crate) fn link_identity(&self, identities: &mut Identities, id: IdentityId) {
        let identity = identities.get_mut(id);
        let mut spread_by: Vec<GroupId> = identity
            .matchers()
            .iter()
            .filter_map(|matcher| self.by_matcher.get(matcher))
            .flatten()
            .copied()
            .collect();
        spread_by.sort_unstable();
        identity.spread_by = spread_by;
    }

    /// Changes how many pods are counted in the node's domain, if the node counts.
    pub(crate) fn change(
        &mut self,
        territories: &Territories,
        keys: &Keys,
        id: GroupId,
        node: usize,
        by: impl Fn(u32) -> u32,
    ) {
        let group = &mut self.all[id as usize];
        if let Some(domain) = territories.get(group.territory).domain(keys, node) {
            group.change(domain, by);
        }
    }

    /// (group, domain, pods) wherever there are any.
    pub(crate) fn numbers(&self) -> impl Iterator<Item = (usize, Domain, u32)> + '_ {
        self.all.iter().enumerate().flat_map(|(id, group)| {
            let pods = group.pods.iter();
            pods.map(move |(domain, pods)| (id, domain, pods))
        })
    }
}
