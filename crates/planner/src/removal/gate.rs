//! The health gate: whether so many nodes are not Ready that nothing destructive may be done
//! (requirement E7). What looks like many dead nodes is more often a network that is cut, or an API
//! server that hears of nobody.

use std::{collections::BTreeMap, fmt};

use model::GroupKey;
use planted::Bug;

/// Above so many percent of the cluster's nodes it is shut …
const CLUSTER_PERCENT: u64 = 45;
/// … if they are more than so many.
const CLUSTER_NODES: u32 = 3;
/// Above so many percent of a group's nodes, rounded up, it is shut.
const GROUP_PERCENT: u64 = 20;

/// How many nodes are not Ready, and of how many.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
struct Count {
    unready: u32,
    nodes: u32,
}

impl Count {
    fn add(&mut self, ready: bool) {
        self.nodes += 1;
        self.unready += u32::from(!ready);
    }
}

/// What the nodes of a cluster, and of each group, look like.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Gate {
    cluster: Count,
    groups: BTreeMap<GroupKey, Count>,
}

/// Why the gate is shut.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Shut {
    /// Too many of this group; of the whole cluster where it is `None`.
    pub group: Option<GroupKey>,
    /// So many are not Ready.
    pub unready: u32,
    /// Of so many.
    pub nodes: u32,
}

impl fmt::Display for Shut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {} nodes of ", self.unready, self.nodes)?;
        match &self.group {
            Some(group) => write!(f, "group {group} are not Ready"),
            None => f.write_str("the cluster are not Ready"),
        }
    }
}

impl Gate {
    /// The gate of a cluster with these nodes, each with its group and whether it is Ready. Those
    /// that were never Ready yet are on their way, not ill: they are left out by who asks.
    #[must_use]
    pub fn of<'a>(nodes: impl IntoIterator<Item = (Option<&'a GroupKey>, bool)>) -> Self {
        let mut gate = Self::default();
        if planted::is(Bug::IgnoreHealthGate) {
            return gate;
        }
        for (group, ready) in nodes {
            gate.cluster.add(ready);
            let Some(group) = group else {
                continue;
            };
            match gate.groups.get_mut(group) {
                Some(count) => count.add(ready),
                None => gate.groups.entry(group.clone()).or_default().add(ready),
            }
        }
        gate
    }

    /// Why nothing destructive may happen to a node of no group.
    #[must_use]
    pub fn shut(&self) -> Option<Shut> {
        let Count { unready, nodes } = self.cluster;
        let share = u64::from(unready) * 100 > u64::from(nodes) * CLUSTER_PERCENT;
        (share && unready > CLUSTER_NODES).then_some(Shut {
            group: None,
            unready,
            nodes,
        })
    }

    /// Why nothing destructive may happen in this group: too many of the cluster, or of the group.
    #[must_use]
    pub fn shut_for(&self, group: &GroupKey) -> Option<Shut> {
        self.shut().or_else(|| self.of_group(group))
    }

    fn of_group(&self, group: &GroupKey) -> Option<Shut> {
        let Count { unready, nodes } = *self.groups.get(group)?;
        let most = (u64::from(nodes) * GROUP_PERCENT).div_ceil(100);
        (u64::from(unready) > most).then(|| Shut {
            group: Some(group.clone()),
            unready,
            nodes,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gate(group: Option<&str>, unready: u32, ready: u32) -> Gate {
        let key = group.map(|name| GroupKey::new("kube-system", name));
        let ill = (0..unready).map(|_| (key.as_ref(), false));
        let well = (0..ready).map(|_| (key.as_ref(), true));
        Gate::of(ill.chain(well))
    }

    #[test]
    fn more_than_45_percent_and_more_than_three_nodes_of_the_cluster_shut_it() {
        for (unready, ready, shut) in [
            (0, 0, false),
            (3, 0, false), // all of them, but three
            (4, 5, false), // 44.4 %
            (4, 4, true),
            (9, 11, false), // 45 % exactly
            (10, 12, true), // 45.45 %
            (4, 0, true),
        ] {
            let found = gate(None, unready, ready).shut();
            assert_eq!(found.is_some(), shut, "{unready} of {}", unready + ready);
        }
    }

    #[test]
    fn more_than_a_fifth_of_a_group_rounded_up_shuts_it() {
        for (unready, ready, shut) in [
            (1, 0, false),
            (2, 0, true),
            (1, 4, false), // 20 % exactly
            (2, 3, true),
            (2, 4, false), // a fifth of six is 1.2, rounded up two
            (3, 3, true),
            (2, 8, false),
            (3, 8, false), // of eleven: 2.2, rounded up three
            (3, 7, true),
        ] {
            let group = GroupKey::new("kube-system", "g");
            let found = gate(Some("g"), unready, ready).shut_for(&group);
            assert_eq!(found.is_some(), shut, "{unready} of {}", unready + ready);
        }
    }

    #[test]
    fn what_is_wrong_in_one_group_shuts_it_for_that_group() {
        let (ill, well) = (GroupKey::new("a", "ill"), GroupKey::new("a", "well"));
        let nodes = [(&ill, false), (&ill, false), (&well, true), (&well, true)];
        let gate = Gate::of(nodes.map(|(group, ready)| (Some(group), ready)));
        assert_eq!(gate.shut_for(&well), None);
        let shut = gate.shut_for(&ill).unwrap();
        assert_eq!(
            shut.to_string(),
            "2 of 2 nodes of group a/ill are not Ready"
        );
        assert_eq!(gate.shut(), None);
    }
}
