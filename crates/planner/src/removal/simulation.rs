//! The joint simulation of removals: which nodes could go, where every pod of them would find its
//! place, and which of them go together.
//!
//! Every pod is placed by the scheduler's own filters on nodes that stay, beside all that runs
//! there, beside the pods that wait for that room and beside those that removals chosen before have
//! moved: no two nodes count on the same free room. Nothing is ever placed on a new machine, nor on
//! a node that is cordoned, not Ready or leaving. Whether a node may be touched at all (protection,
//! windows, hours, kinds of pods) is decided elsewhere, before it becomes a candidate here.

mod board;
mod order;
mod picker;
mod rehouse;
mod room;
mod set;
mod verdict;

use std::collections::{BTreeMap, BTreeSet};

pub use model::Budget;
use model::{Cluster, GroupKey, HourlyPrice, NodeName, PodKey};
use serde::{Deserialize, Serialize};

pub use verdict::{Reason, Refusing, Verdict};

use board::Board;

/// Everything the simulation rests on.
#[derive(Clone, Debug)]
pub struct Input<'a> {
    /// The cluster as it is expected: see [`super::awaited`].
    pub cluster: &'a Cluster,
    /// The nodes that may go, as far as each by itself is concerned; the order plays no part.
    pub candidates: Vec<Candidate>,
    /// Nodes whose room does not count, besides those that are cordoned, not Ready or not
    /// understood: they leave.
    pub leaving: &'a BTreeSet<NodeName>,
    /// The groups of the candidates.
    pub groups: BTreeMap<GroupKey, Group>,
    /// Every PodDisruptionBudget.
    pub budgets: Vec<Budget>,
    /// What holds for the whole set.
    pub limits: Limits,
}

/// A node that may go.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Candidate {
    /// The node.
    pub node: NodeName,
    /// Its group.
    pub group: GroupKey,
    /// What it costs, where that is known: saved by its removal.
    pub price: Option<HourlyPrice>,
}

/// A group of candidates.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Group {
    /// Ready nodes that are not being removed.
    pub ready_nodes: u32,
    /// Never fewer Ready nodes than this.
    pub min_nodes: u32,
    /// How many more of its nodes may be under way at once.
    pub at_once: u32,
}

/// What holds for the whole set.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Limits {
    /// How many nodes may go at once.
    pub at_once: u32,
    /// Free CPU and memory on the nodes that stay, in percent of what the pods to move ask for,
    /// must be at least this (requirement E8, capacity buffer); 0 asks for nothing.
    pub buffer_percent: u32,
}

impl Limits {
    /// A fifth more room than is needed.
    pub const DEFAULT_BUFFER_PERCENT: u32 = 120;
    /// Neither limit.
    pub const NONE: Self = Self {
        at_once: u32::MAX,
        buffer_percent: 0,
    };
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            at_once: 1,
            buffer_percent: Self::DEFAULT_BUFFER_PERCENT,
        }
    }
}

/// A node that goes, and where its pods can be.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Removal {
    /// The node.
    pub node: NodeName,
    /// Where each of its pods finds its place once the removals before it are done; in this order.
    /// No pod is moved to a node that goes, too.
    pub moves: Vec<(PodKey, NodeName)>,
    /// Saved per hour, where known.
    pub savings: Option<HourlyPrice>,
}

/// The nodes that go together.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Plan {
    /// In the order in which they may go one after the other; all at once is no worse.
    pub removals: Vec<Removal>,
    /// Why each of the other candidates is not among them.
    pub left: BTreeMap<NodeName, Vec<Reason>>,
}

impl Plan {
    /// What is saved per hour, as far as prices are known.
    #[must_use]
    pub fn savings(&self) -> HourlyPrice {
        self.removals.iter().filter_map(|one| one.savings).sum()
    }

    /// How many pods have to move.
    #[must_use]
    pub fn disruptions(&self) -> usize {
        self.removals.iter().map(|one| one.moves.len()).sum()
    }
}

/// What is known of every candidate.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Scan {
    /// What would become of it if it went alone.
    pub alone: BTreeMap<NodeName, Verdict>,
    /// Those that go together.
    pub plan: Plan,
}

/// Judges every candidate by itself and chooses the set to go: empty nodes first, then by the money
/// saved for each pod that has to move, as many as room and limits allow. In small clusters the
/// set is the one that saves most; of it, the first so many go.
#[must_use]
pub fn scan(input: &Input<'_>) -> Scan {
    let mut board = Board::new(input);
    let verdicts: Vec<Verdict> = (0..board.seats.len())
        .map(|seat| board.judge(seat))
        .collect();
    let eligible: Vec<usize> = (0..verdicts.len())
        .filter(|&seat| verdicts[seat].is_removable())
        .collect();
    let mut plan = set::choose(&mut board, &eligible);
    let mut alone = BTreeMap::new();
    for (seat, verdict) in board.seats.iter().zip(verdicts) {
        if let Verdict::Kept(reasons) = &verdict {
            plan.left.insert(seat.name.clone(), reasons.clone());
        }
        alone.insert(seat.name.clone(), verdict);
    }
    for (node, reason) in &board.absent {
        let reasons = vec![reason.clone()];
        plan.left.insert(node.clone(), reasons.clone());
        alone.insert(node.clone(), Verdict::Kept(reasons));
    }
    Scan { alone, plan }
}

/// Judges every candidate by itself.
#[must_use]
pub fn alone(input: &Input<'_>) -> BTreeMap<NodeName, Verdict> {
    let mut board = Board::new(input);
    let mut alone = BTreeMap::new();
    for seat in 0..board.seats.len() {
        alone.insert(board.seats[seat].name.clone(), board.judge(seat));
    }
    for (node, reason) in &board.absent {
        alone.insert(node.clone(), Verdict::Kept(vec![reason.clone()]));
    }
    alone
}

/// Chooses the set to go, without judging each candidate by itself: the set of [`scan`] but for
/// small clusters' sake, at a part of its cost.
#[must_use]
pub fn choose(input: &Input<'_>) -> Plan {
    let mut board = Board::new(input);
    let eligible: Vec<usize> = (0..board.seats.len())
        .filter(|&seat| board.seats[seat].refusals.is_empty())
        .collect();
    let mut plan = set::choose(&mut board, &eligible);
    for seat in &board.seats {
        if !seat.refusals.is_empty() {
            plan.left.insert(seat.name.clone(), seat.refusals.clone());
        }
    }
    let absent = board.absent.iter();
    plan.left
        .extend(absent.map(|(node, reason)| (node.clone(), vec![reason.clone()])));
    plan
}

/// Judges one candidate by itself; `None` where it is none.
#[must_use]
pub fn judge(input: &Input<'_>, node: &NodeName) -> Option<Verdict> {
    let mut board = Board::new(input);
    if let Some(seat) = board.seats.iter().position(|seat| seat.name == node) {
        return Some(board.judge(seat));
    }
    let mut absent = board.absent.iter();
    let (_, reason) = absent.find(|(name, _)| name == node)?;
    Some(Verdict::Kept(vec![reason.clone()]))
}
