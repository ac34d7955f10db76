//! Taking nodes away and finding every pod on them another place: tentatively, as a fork.

use std::collections::BTreeMap;

use scheduling::{ClassId, Failure, Filter, NodeId, Obstacle, TopologyKey};

use super::{
    board::{Board, amounts},
    room::Amounts,
    verdict::Refusing,
};

/// How often pods are tried in another order before it is said that they find no place.
const ORDERS: usize = 3;

/// Classes, and how many pods of each have to move.
pub(super) type Loads = Vec<(ClassId, u32)>;

/// Equal pods that found a place.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Placed {
    pub(super) class: ClassId,
    pub(super) host: NodeId,
    pub(super) count: u32,
}

/// Pods that find none.
pub(super) struct Refused {
    pub(super) class: ClassId,
    /// So many of the class had found one.
    pub(super) placed: u32,
    pub(super) refusing: Refusing,
}

impl Board<'_> {
    pub(super) fn fork(&mut self) {
        self.snapshot.fork();
        self.marks.push(self.changed.len());
    }

    pub(super) fn commit(&mut self) {
        self.snapshot.commit();
        self.marks.pop();
        if self.marks.is_empty() {
            self.changed.clear();
        }
    }

    pub(super) fn revert(&mut self) {
        self.snapshot.revert();
        let mark = self.marks.pop().unwrap_or(0);
        while self.changed.len() > mark {
            if let Some((host, free)) = self.changed.pop() {
                self.room.set(host, free);
            }
        }
    }

    /// Takes a node away with what is on it.
    pub(super) fn take_away(&mut self, node: NodeId) {
        self.close(node);
        self.snapshot.remove_node(node);
    }

    /// No pod is placed on the node.
    pub(super) fn close(&mut self, node: NodeId) {
        if let Some(place) = self.place(node) {
            let before = self.room.set(place, None);
            self.changed.push((place, before));
        }
    }

    /// Takes [`Self::close`] back, whatever came in between.
    pub(super) fn reopen(&mut self, node: NodeId) {
        if let Some(place) = self.place(node) {
            let free = amounts(&self.snapshot.free(node));
            let before = self.room.set(place, Some(free));
            self.changed.push((place, before));
        }
    }

    /// Places equal pods; nothing is asked.
    pub(super) fn put(&mut self, placed: Placed) {
        let Placed { class, host, count } = placed;
        self.snapshot.place_many(host, class, false, count);
        let takes = self.kinds[class.0 as usize].takes;
        if let Some(place) = self.place(host)
            && let Some(free) = self.room.get(place).copied()
        {
            let left: Amounts = std::array::from_fn(|index| {
                free[index].wrapping_sub(takes[index].wrapping_mul(i64::from(count)))
            });
            self.room.set(place, Some(left));
            self.changed.push((place, Some(free)));
        }
    }

    /// Takes nodes away and places these pods elsewhere, in the order given back. Where that is
    /// done it is left as a fork, to be committed or reverted; where it cannot be, nothing is
    /// changed.
    ///
    /// Large pods are placed first, after them those that want to be near others. The first that
    /// fits, in the order of the hosts, takes them; where some find no place, they come first (or,
    /// if they want to be near others, last) in another try.
    pub(super) fn rehouse(
        &mut self,
        nodes: &[NodeId],
        mut loads: Loads,
    ) -> Result<Vec<Placed>, Box<Refused>> {
        loads.sort_unstable_by(|&(a, _), &(b, _)| {
            let kind = |class: ClassId| &self.kinds[class.0 as usize];
            (kind(a).affine.cmp(&kind(b).affine))
                .then_with(|| kind(b).share.cmp(&kind(a).share))
                .then_with(|| a.cmp(&b))
        });
        let mut first = None;
        for _ in 0..ORDERS {
            self.fork();
            for &node in nodes {
                self.take_away(node);
            }
            let mut placed = Vec::with_capacity(loads.len());
            let stuck = (loads.iter().enumerate()).find_map(|(turn, &(class, count))| {
                let left = self.find_places(class, count, &mut placed);
                (left > 0).then_some((turn, class, count - left))
            });
            let Some((turn, class, done)) = stuck else {
                return Ok(placed);
            };
            if first.is_none() {
                let refusing = self.refusing(class);
                first = Some(Box::new(Refused {
                    class,
                    placed: done,
                    refusing,
                }));
            }
            self.revert();
            let affine = self.kinds[class.0 as usize].affine;
            let to = if affine { loads.len() - 1 } else { 0 };
            if turn == to {
                break;
            }
            let load = loads.remove(turn);
            loads.insert(to, load);
        }
        first.map_or_else(|| Ok(Vec::new()), Err)
    }

    /// Places equal pods where they fit; gives how many find no place.
    fn find_places(&mut self, class: ClassId, count: u32, placed: &mut Vec<Placed>) -> u32 {
        let kind = &self.kinds[class.0 as usize];
        let (needs, reopens) = (kind.needs, kind.reopens);
        let mut left = count;
        let (mut from, mut left_before) = (0, count);
        while left > 0 {
            let Some(place) = self.room.first(from, &needs) else {
                if reopens && left < left_before {
                    (from, left_before) = (0, left);
                    continue;
                }
                break;
            };
            from = place + 1;
            let host = self.hosts[place];
            let count = self.snapshot.how_many(class, host, left);
            if count > 0 {
                let some = Placed { class, host, count };
                self.put(some);
                placed.push(some);
                left -= count;
            }
        }
        left
    }

    /// Which filters say no to a pod of the class now; each host counts once.
    fn refusing(&mut self, class: ClassId) -> Refusing {
        let lost = self.lost_to(class);
        let needs = self.kinds[class.0 as usize].needs;
        let mut counts: BTreeMap<Filter, u32> = BTreeMap::new();
        let mut domains = BTreeMap::new();
        let mut nodes = 0;
        for (place, lost) in lost.iter().enumerate() {
            let Some(free) = self.room.get(place) else {
                continue;
            };
            nodes += 1;
            let filter = match usize::from(*lost) {
                0 if needs.iter().zip(free).any(|(need, free)| need > free) => {
                    Some(Filter::NodeResourcesFit)
                }
                0 => self.refused_by(class, self.hosts[place], &mut domains),
                index => LASTING.get(index - 1).copied(),
            };
            if let Some(filter) = filter {
                *counts.entry(filter).or_default() += 1;
            }
        }
        self.lost.insert(class, lost);
        let mut filters: Vec<(Filter, u32)> = counts.into_iter().collect();
        filters.sort_by_key(|&(filter, nodes)| (std::cmp::Reverse(nodes), filter));
        Refusing { nodes, filters }
    }

    /// A filter that refuses the class on a host that has room. What a rule between pods says of
    /// one node of a domain it says of all.
    fn refused_by(
        &self,
        class: ClassId,
        host: NodeId,
        domains: &mut BTreeMap<(TopologyKey, u32), Option<Filter>>,
    ) -> Option<Filter> {
        let first = || {
            let failures = self.snapshot.failures(class, host);
            failures.first().map(Failure::filter)
        };
        let Obstacle::Domain(key) = self.snapshot.obstacle(class, host)? else {
            return first();
        };
        if self.snapshot.is_hostname(key) && !self.kinds[class.0 as usize].spreads_over_hosts {
            return Some(Filter::InterPodAffinity);
        }
        let domain = self.snapshot.domain(host, key)?;
        *domains.entry((key, domain)).or_insert_with(first)
    }

    /// By host: the filter that refuses the class whatever is placed there. Hosts that are away
    /// when it is first asked refuse nothing.
    fn lost_to(&mut self, class: ClassId) -> Vec<u8> {
        if let Some(lost) = self.lost.remove(&class) {
            return lost;
        }
        let lasting = |&host: &NodeId| {
            if self.snapshot.admits(class, host) {
                return 0;
            }
            let failures = self.snapshot.failures(class, host);
            let mut filters = failures.iter().map(Failure::filter);
            let index = filters.find_map(|filter| LASTING.iter().position(|one| *one == filter));
            index.map_or(0, |index| index as u8 + 1)
        };
        self.hosts.iter().map(lasting).collect()
    }
}

/// Filters whose answer no placement changes.
const LASTING: [Filter; 8] = [
    Filter::NodeUnschedulable,
    Filter::NodeName,
    Filter::TaintToleration,
    Filter::NodeAffinity,
    Filter::VolumeBinding,
    Filter::VolumeZone,
    Filter::NodeDeclaredFeatures,
    Filter::DynamicResources,
];

#[cfg(test)]
mod tests {
    use std::{
        collections::{BTreeMap, BTreeSet},
        sync::Arc,
    };

    use model::{
        Cluster, GroupKey, Node, NodeShape, Pod, PodKey, PodRole, PodState, Resources,
        SchedulingClass, Uid,
    };

    use super::*;
    use crate::removal::simulation::{Candidate, Group, Input, Limits};

    fn cluster() -> Cluster {
        let amounts = |cpu_milli, pods| Resources {
            cpu_milli,
            pods,
            ..Resources::default()
        };
        let mut cluster = Cluster::default();
        for (index, name) in ["a", "b", "c"].into_iter().enumerate() {
            let node = Node {
                name: name.into(),
                uid: None,
                shape: Arc::new(NodeShape {
                    allocatable: amounts(1000, 10),
                    ..NodeShape::default()
                }),
                ready: true,
                created_at: None,
                defect: None,
            };
            cluster.nodes.insert(node.name.clone(), node);
            let class = Arc::new(SchedulingClass {
                requests: amounts(100 + index as i64, 1),
                ..SchedulingClass::default()
            });
            for copy in 0..3 {
                cluster.bound.push(Arc::new(Pod {
                    key: PodKey::new("default", format!("{name}-{copy}")),
                    uid: Uid::new(format!("{name}-{copy}")),
                    class: Arc::clone(&class),
                    state: PodState::Bound(name.into()),
                    role: PodRole::Ordinary,
                    terminating: None,
                    nominated: None,
                    created_at: None,
                    started_at: None,
                    health: model::PodHealth::Ready,
                    upkeep: Arc::default(),
                }));
            }
        }
        cluster
    }

    fn assert_room(board: &Board<'_>) {
        for (place, &host) in board.hosts.iter().enumerate() {
            let there = board.snapshot.name(host).is_some();
            let free = there.then(|| amounts(&board.snapshot.free(host)));
            assert_eq!(board.room.get(place).copied(), free);
        }
    }

    #[test]
    fn the_room_is_what_the_snapshot_says_is_free_whatever_is_done_and_taken_back() {
        let cluster = cluster();
        let leaving = BTreeSet::new();
        let group = GroupKey::new("default", "workers");
        let candidate = |name: &str| Candidate {
            node: name.into(),
            group: group.clone(),
            price: None,
        };
        let facts = Group {
            ready_nodes: 3,
            min_nodes: 0,
            at_once: 3,
        };
        let input = Input {
            cluster: &cluster,
            candidates: ["a", "b", "c"].map(candidate).into(),
            leaving: &leaving,
            groups: BTreeMap::from([(group.clone(), facts)]),
            budgets: vec![],
            limits: Limits::NONE,
        };
        let mut board = Board::new(&input);
        assert_room(&board);
        let before = board.snapshot.digest();
        let loads = |board: &Board<'_>, seat: usize| -> Loads {
            let loads = board.seats[seat].loads.iter();
            loads.map(|load| (load.class, load.count)).collect()
        };
        board.fork();
        let some = loads(&board, 0);
        assert!(board.rehouse(&[board.seats[0].node], some).is_ok());
        assert_room(&board);
        board.commit();
        // Ten times as many as there are find no place: nothing is changed.
        let many = loads(&board, 1)
            .into_iter()
            .map(|(class, count)| (class, count * 10));
        let many = many.collect();
        assert!(board.rehouse(&[board.seats[1].node], many).is_err());
        assert_room(&board);
        board.revert();
        assert_room(&board);
        assert_eq!(board.snapshot.digest(), before);
    }
}
