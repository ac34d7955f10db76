//! The cluster compiled for many what-ifs: the snapshot, the candidates in the order of their turns
//! with the pods that would have to move, and the hosts in the order in which they are filled.
//!
//! Hosts that are no candidates come first, the fullest of them in front; then candidates, those
//! that are to go last in front. So what is moved gathers where nothing is going to move again.

mod bound;
mod budgets;

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use model::{
    GroupKey, HourlyPrice, Node, NodeName, Pod, PodKey, PodRole, Resources, SchedulingClass,
    TaintEffect,
};
use scheduling::{ClassId, NodeId, Snapshot};

use super::{
    Input, Reason, Verdict,
    order::turn,
    rehouse::Loads,
    room::{Amounts, Room},
};
use crate::removal::awaited;

use bound::{ByNode, place_bound};
pub(super) use budgets::budget_name;
use budgets::{Budgets, judge_pods};

/// A node is no host.
const NO_HOST: u32 = u32::MAX;

/// What is known of a scheduling class.
pub(super) struct Kind {
    /// What a pod takes.
    pub(super) takes: Amounts,
    /// What has to be free for it: nothing of what it does not ask for.
    pub(super) needs: Amounts,
    /// The larger of its shares of the cluster's CPU and memory, in millionths.
    pub(super) share: i64,
    /// It wants to be near other pods.
    pub(super) affine: bool,
    /// A host that is closed to it may be open once more pods are placed.
    pub(super) reopens: bool,
    /// It is spread by hostname.
    pub(super) spreads_over_hosts: bool,
}

/// Equal pods of a candidate: so many of the board's pods from a first one on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Load {
    pub(super) class: ClassId,
    pub(super) first: u32,
    pub(super) count: u32,
}

/// A candidate.
pub(super) struct Seat<'a> {
    pub(super) name: &'a NodeName,
    pub(super) node: NodeId,
    pub(super) group: GroupKey,
    pub(super) price: Option<HourlyPrice>,
    /// What would have to move.
    pub(super) loads: Vec<Load>,
    /// CPU and memory that it asks for.
    pub(super) demand: [i64; 2],
    /// CPU and memory that are free here and count as room.
    pub(super) free: [i64; 2],
    /// (budget, pods under it).
    pub(super) budgets: Vec<(usize, u32)>,
    /// Why it stays, whatever room there is.
    pub(super) refusals: Vec<Reason>,
}

impl Seat<'_> {
    /// How many pods would have to move.
    pub(super) fn pods(&self) -> usize {
        self.loads.iter().map(|load| load.count as usize).sum()
    }
}

/// All of it.
pub(super) struct Board<'a> {
    pub(super) input: &'a Input<'a>,
    pub(super) snapshot: Snapshot,
    /// By class.
    pub(super) kinds: Vec<Kind>,
    /// The candidates, in the order of their turns.
    pub(super) seats: Vec<Seat<'a>>,
    /// Candidates that are not there.
    pub(super) absent: Vec<(NodeName, Reason)>,
    /// The pods that would have to move, by candidate and class.
    pub(super) pods: Vec<&'a Arc<Pod>>,
    /// In the order in which they are filled.
    pub(super) hosts: Vec<NodeId>,
    /// By node.
    pub(super) names: Vec<&'a NodeName>,
    /// By node: its place among the hosts.
    places: Vec<u32>,
    pub(super) room: Room,
    /// CPU and memory that are free on all hosts.
    pub(super) free: [i64; 2],
    /// What to put back into the room: (host, what was free).
    pub(super) changed: Vec<(usize, Option<Amounts>)>,
    pub(super) marks: Vec<usize>,
    /// By class and host, for classes that were refused: the filter that refuses whatever is
    /// placed, plus one.
    pub(super) lost: BTreeMap<ClassId, Vec<u8>>,
}

impl<'a> Board<'a> {
    pub(super) fn new(input: &'a Input<'a>) -> Self {
        let cluster = input.cluster;
        let mut snapshot = Snapshot::empty(Arc::clone(&cluster.surroundings));
        for node in cluster.nodes.values() {
            snapshot.add_node(node.clone());
        }
        snapshot.classes(cluster.waiting.iter().map(|pod| &pod.class));
        let by_node = place_bound(&mut snapshot, &cluster.bound);
        let mut board = Self {
            input,
            kinds: Vec::new(),
            seats: Vec::new(),
            absent: Vec::new(),
            pods: Vec::new(),
            hosts: Vec::new(),
            names: cluster.nodes.keys().collect(),
            places: vec![NO_HOST; cluster.nodes.len()],
            room: Room::new(&[]),
            free: [0; 2],
            changed: Vec::new(),
            marks: Vec::new(),
            lost: BTreeMap::new(),
            snapshot,
        };
        board.seat(&by_node);
        board.host();
        board.settle();
        board
    }

    /// The candidates, each once, with what is on them.
    fn seat(&mut self, by_node: &ByNode) {
        let input = self.input;
        let budgets = Budgets::new(input);
        let mut under: BTreeMap<ClassId, Vec<usize>> = BTreeMap::new();
        let mut known = BTreeSet::new();
        for candidate in &input.candidates {
            if !known.insert(&candidate.node) {
                continue;
            }
            let Some(node) = self.snapshot.node(&candidate.node) else {
                self.absent
                    .push((candidate.node.clone(), Reason::NodeNotFound));
                continue;
            };
            let mut seat = Seat {
                name: &candidate.node,
                node,
                group: candidate.group.clone(),
                price: candidate.price,
                loads: Vec::new(),
                demand: [0; 2],
                free: [0; 2],
                budgets: Vec::new(),
                refusals: Vec::new(),
            };
            match input.groups.get(&candidate.group) {
                None => seat.refusals.push(Reason::GroupUnmanaged),
                Some(group) if group.ready_nodes <= group.min_nodes => {
                    let min_nodes = group.min_nodes;
                    seat.refusals.push(Reason::AtMinimum { min_nodes });
                }
                Some(_) => {}
            }
            let index = node.0 as usize;
            let pods = by_node.begins[index]..by_node.begins[index + 1];
            for &(class, pod) in &by_node.pods[pods] {
                let pod = &input.cluster.bound[pod as usize];
                if pod.role != PodRole::Ordinary || pod.terminating.is_some() {
                    continue;
                }
                let first = u32::try_from(self.pods.len()).unwrap_or(u32::MAX);
                self.pods.push(pod);
                match seat.loads.last_mut() {
                    Some(load) if load.class == class => load.count += 1,
                    _ => seat.loads.push(Load {
                        class,
                        first,
                        count: 1,
                    }),
                }
            }
            for load in &seat.loads {
                let pods = &self.pods[load.first as usize..][..load.count as usize];
                let class = &*pods[0].class;
                let under = under.entry(load.class).or_insert_with(|| budgets.of(class));
                judge_pods(class, pods, under, &budgets, &mut seat.refusals);
                for &budget in &*under {
                    let asks = |pod: &&&Arc<Pod>| !input.budgets[budget].spares(pod.health);
                    let count = pods.iter().filter(asks).count() as u32;
                    if count == 0 {
                        continue;
                    }
                    match seat.budgets.iter_mut().find(|(one, _)| *one == budget) {
                        Some((_, pods)) => *pods += count,
                        None => seat.budgets.push((budget, count)),
                    }
                }
                let requests = &class.requests;
                for (sum, amount) in
                    (seat.demand.iter_mut()).zip([requests.cpu_milli, requests.memory])
                {
                    let amount = amount.max(0).saturating_mul(i64::from(load.count));
                    *sum = sum.saturating_add(amount);
                }
            }
            self.seats.push(seat);
        }
        let mut turns: Vec<_> = (self.seats.iter().enumerate())
            .map(|(index, seat)| (turn(seat), index))
            .collect();
        turns.sort_unstable();
        let turns: Vec<usize> = turns.into_iter().map(|(_, index)| index).collect();
        let mut seats: Vec<Option<Seat<'a>>> = self.seats.drain(..).map(Some).collect();
        self.seats
            .extend(turns.into_iter().filter_map(|index| seats[index].take()));
    }

    /// The hosts, in the order in which they are filled.
    fn host(&mut self) {
        let turns: BTreeMap<NodeId, usize> = (self.seats.iter().enumerate())
            .map(|(turn, seat)| (seat.node, turn))
            .collect();
        let mut hosts = Vec::new();
        for node in self.input.cluster.nodes.values() {
            let open = awaited::is_host(node)
                && !node.shape.unschedulable
                && !self.input.leaving.contains(&node.name);
            let Some(id) = self.snapshot.node(&node.name).filter(|_| open) else {
                continue;
            };
            // Of those that stay the fullest is first, of the others the last to go.
            let rank = match turns.get(&id) {
                Some(&turn) => (true, Reverse(turn as u64)),
                None => (
                    false,
                    Reverse(fullness(&node.shape.allocatable, &self.snapshot.free(id))),
                ),
            };
            hosts.push((rank, id));
        }
        hosts.sort_unstable();
        self.hosts = hosts.into_iter().map(|(_, node)| node).collect();
        for (place, host) in self.hosts.iter().enumerate() {
            self.places[host.0 as usize] = place as u32;
        }
    }

    /// Places the pods that wait; then nothing changes any more but by what-ifs.
    fn settle(&mut self) {
        let cluster = self.input.cluster;
        let settled = awaited::settle(&mut self.snapshot, &self.hosts, &cluster.waiting);
        let mut wanted: BTreeMap<&NodeName, &PodKey> = BTreeMap::new();
        for (node, pod) in &settled {
            wanted.entry(node).or_insert(pod);
        }
        let free: Vec<Amounts> = (self.hosts.iter())
            .map(|&host| amounts(&self.snapshot.free(host)))
            .collect();
        for (host, [_, cpu, memory, _]) in self.hosts.iter().zip(&free) {
            // What is free there is no room for the pods of others.
            let node = cluster.nodes.get(self.names[host.0 as usize]);
            if node.is_some_and(is_control_plane) {
                continue;
            }
            self.free[0] = self.free[0].saturating_add((*cpu).max(0));
            self.free[1] = self.free[1].saturating_add((*memory).max(0));
        }
        for seat in &mut self.seats {
            if let Some(pod) = wanted.get(seat.name) {
                seat.refusals.push(Reason::NominatedPod((*pod).clone()));
            }
            let place = self.places[seat.node.0 as usize];
            if place != NO_HOST {
                let [_, cpu, memory, _] = free[place as usize];
                seat.free = [cpu.max(0), memory.max(0)];
            }
        }
        self.room = Room::new(&free);
        let whole = (cluster.nodes.values()).fold([0_i64; 2], |[cpu, memory], node| {
            let has = &node.shape.allocatable;
            [
                cpu.saturating_add(has.cpu_milli),
                memory.saturating_add(has.memory),
            ]
        });
        self.kinds = (0..)
            .map_while(|id| self.snapshot.source(ClassId(id)))
            .map(|class| kind(class, whole))
            .collect();
    }

    /// The place of a node among the hosts.
    pub(super) fn place(&self, node: NodeId) -> Option<usize> {
        let place = self.places[node.0 as usize];
        (place != NO_HOST).then_some(place as usize)
    }

    /// What would become of a candidate alone.
    pub(super) fn judge(&mut self, seat: usize) -> Verdict {
        let this = &self.seats[seat];
        let mut reasons = this.refusals.clone();
        reasons.extend(self.lacks_buffer(this.free, this.demand));
        let (node, savings) = (this.node, this.price);
        let loads: Loads = (this.loads.iter())
            .map(|load| (load.class, load.count))
            .collect();
        let verdict = match self.rehouse(&[node], loads) {
            Err(refused) => {
                let load = self.seats[seat].loads.iter();
                let mut load = load.filter(|load| load.class == refused.class);
                if let Some(load) = load.next() {
                    let pod = &self.pods[(load.first + refused.placed) as usize];
                    reasons.push(Reason::NoPlace {
                        pod: pod.key.clone(),
                        refusing: refused.refusing,
                    });
                }
                return Verdict::Kept(reasons);
            }
            Ok(_) if !reasons.is_empty() => Verdict::Kept(reasons),
            Ok(placed) => {
                let mut next: BTreeMap<ClassId, u32> = (self.seats[seat].loads.iter())
                    .map(|load| (load.class, load.first))
                    .collect();
                let mut moves = Vec::new();
                for one in placed {
                    let first = next.entry(one.class).or_default();
                    let pods = &self.pods[*first as usize..][..one.count as usize];
                    *first += one.count;
                    let host = self.names[one.host.0 as usize];
                    moves.extend(pods.iter().map(|pod| (pod.key.clone(), host.clone())));
                }
                Verdict::Removable { moves, savings }
            }
        };
        self.revert();
        verdict
    }

    /// Whether too little is free if this room goes and this has to move.
    pub(super) fn lacks_buffer(&self, gone: [i64; 2], demand: [i64; 2]) -> Option<Reason> {
        let percent = i128::from(self.input.limits.buffer_percent);
        (0..2).find_map(|index| {
            let wanted = (i128::from(demand[index]) * percent).div_euclid(100)
                + i128::from((i128::from(demand[index]) * percent).rem_euclid(100) > 0);
            let free = self.free[index].saturating_sub(gone[index]);
            (wanted > i128::from(free)).then(|| Reason::CapacityBuffer {
                resource: ["cpu", "memory"][index].into(),
                wanted: i64::try_from(wanted).unwrap_or(i64::MAX),
                free,
            })
        })
    }
}

/// A taint keeps pods from the node, as from those of the control plane.
fn is_control_plane(node: &Node) -> bool {
    const ROLES: [&str; 2] = [
        "node-role.kubernetes.io/control-plane",
        "node-role.kubernetes.io/master",
    ];
    let mut taints = node.shape.taints.iter();
    taints
        .any(|taint| taint.effect != TaintEffect::PreferNoSchedule && ROLES.contains(&&*taint.key))
}

fn kind(class: &SchedulingClass, whole: [i64; 2]) -> Kind {
    let takes = amounts(&class.requests);
    let needs = [0, 1, 2, 3].map(|index| {
        // The number of pods is always compared; what is not asked for never is.
        if index > 0 && takes[index] <= 0 {
            i64::MIN
        } else {
            takes[index]
        }
    });
    let share = |amount: i64, whole: i64| {
        let share = i128::from(amount.max(0)) * 1_000_000_000 / i128::from(whole.max(1));
        i64::try_from(share).unwrap_or(i64::MAX)
    };
    Kind {
        share: share(takes[1], whole[0]).max(share(takes[2], whole[1])),
        affine: !class.affinity.is_empty(),
        reopens: !class.affinity.is_empty() || !class.spread.is_empty(),
        spreads_over_hosts: (class.spread.iter())
            .any(|constraint| &*constraint.topology_key == "kubernetes.io/hostname"),
        takes,
        needs,
    }
}

pub(super) fn amounts(resources: &Resources) -> Amounts {
    [
        resources.pods,
        resources.cpu_milli,
        resources.memory,
        resources.ephemeral,
    ]
}

/// How full a node is in the resource it has least left of, in millionths.
fn fullness(has: &Resources, free: &Resources) -> u64 {
    let part = |has: i64, free: i64| {
        let used = has.saturating_sub(free).clamp(0, has.max(0));
        u64::try_from(i128::from(used) * 1_000_000 / i128::from(has.max(1))).unwrap_or(0)
    };
    part(has.cpu_milli, free.cpu_milli).max(part(has.memory, free.memory))
}
