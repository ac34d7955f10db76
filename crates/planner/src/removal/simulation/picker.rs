//! Choosing nodes one after the other, each beside all that are chosen before.

use std::collections::{BTreeMap, VecDeque};

use model::GroupKey;
use planted::Bug;
use scheduling::{ClassId, NodeId};

use super::{
    Reason,
    board::{Board, Seat, budget_name},
    rehouse::{Loads, Placed},
};

/// Equal pods of one candidate and where they go.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Parcel {
    /// Whose they are.
    pub(super) seat: usize,
    pub(super) class: ClassId,
    /// The first of them among the board's pods.
    pub(super) first: u32,
    pub(super) count: u32,
}

/// One node that goes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Step {
    pub(super) seat: usize,
    /// In the order in which they are placed.
    pub(super) moves: Vec<(Parcel, NodeId)>,
}

/// What the nodes chosen so far use up of what holds for all of them.
#[derive(Clone, Debug, Default)]
pub(super) struct Tally {
    /// What may be under way at once counts, too.
    limited: bool,
    nodes: u32,
    /// One that is drained in waves is among them.
    in_waves: bool,
    groups: BTreeMap<GroupKey, u32>,
    /// By budget.
    evicted: BTreeMap<usize, u32>,
    demand: [i64; 2],
    free: [i64; 2],
}

impl Tally {
    pub(super) fn new(limited: bool) -> Self {
        Self {
            limited,
            ..Self::default()
        }
    }

    /// Whether a node may be one of them.
    pub(super) fn admits(&self, board: &Board<'_>, seat: &Seat<'_>) -> Result<(), Reason> {
        let input = board.input;
        let most = input.limits.at_once;
        if self.limited && self.nodes >= most {
            return Err(Reason::EnoughAtOnce { most });
        }
        let Some(group) = input.groups.get(&seat.group) else {
            return Err(Reason::GroupUnmanaged);
        };
        let gone = self.groups.get(&seat.group).copied().unwrap_or(0);
        if group.ready_nodes.saturating_sub(gone) <= group.min_nodes {
            let min_nodes = group.min_nodes;
            return Err(Reason::AtMinimum { min_nodes });
        }
        if self.limited && gone >= group.at_once {
            return Err(Reason::EnoughAtOnce {
                most: group.at_once,
            });
        }
        if self.in_waves {
            return Err(Reason::EnoughAtOnce { most: 1 });
        }
        if self.nodes > 0
            && let Some(reason) = waves(board, seat)
        {
            return Err(reason);
        }
        for &(budget, pods) in seat.budgets.iter().filter(|_| self.nodes > 0) {
            let allowed = input.budgets[budget].allowed;
            let evicted = self.evicted.get(&budget).copied().unwrap_or(0);
            if pods > allowed.saturating_sub(evicted) {
                let budget = budget_name(input, budget);
                return Err(Reason::BudgetSpent { budget, allowed });
            }
        }
        let [free, demand] = self.with(seat);
        board.lacks_buffer(free, demand).map_or(Ok(()), Err)
    }

    pub(super) fn add(&mut self, board: &Board<'_>, seat: &Seat<'_>) {
        [self.free, self.demand] = self.with(seat);
        self.nodes += 1;
        self.in_waves = waves(board, seat).is_some();
        *self.groups.entry(seat.group.clone()).or_default() += 1;
        for &(budget, pods) in &seat.budgets {
            *self.evicted.entry(budget).or_default() += pods;
        }
    }

    fn with(&self, seat: &Seat<'_>) -> [[i64; 2]; 2] {
        let sum = |a: [i64; 2], b: [i64; 2]| [a[0].saturating_add(b[0]), a[1].saturating_add(b[1])];
        [sum(self.free, seat.free), sum(self.demand, seat.demand)]
    }
}

/// Why a node has to be drained with no other beside it, if it has.
pub(super) fn waves(board: &Board<'_>, seat: &Seat<'_>) -> Option<Reason> {
    seat.budgets.iter().find_map(|&(budget, pods)| {
        let allowed = board.input.budgets[budget].allowed;
        (pods > allowed).then(|| Reason::DrainedAlone {
            budget: budget_name(board.input, budget),
            allowed,
        })
    })
}

/// The choice as it grows. What it places stays on the board until its caller takes that back.
pub(super) struct Picker<'p, 'a> {
    board: &'p mut Board<'a>,
    tally: Tally,
    /// A node that has got pods of others may go, too; they are moved again then.
    again: bool,
    /// Some have been.
    pub(super) moved_again: bool,
    picked: Vec<usize>,
    /// Every move; those that were made again are struck out.
    journal: Vec<Option<(Parcel, NodeId)>>,
    /// Moves to a node, by their places in the journal.
    lodged: BTreeMap<NodeId, Vec<usize>>,
}

impl<'p, 'a> Picker<'p, 'a> {
    pub(super) fn new(board: &'p mut Board<'a>, limited: bool, again: bool) -> Self {
        Self {
            board,
            tally: Tally::new(limited),
            again,
            moved_again: false,
            picked: Vec::new(),
            journal: Vec::new(),
            lodged: BTreeMap::new(),
        }
    }

    /// Takes what it can, in this order; gives why it does not take the others. A node that is
    /// drained in waves goes only where no other does.
    pub(super) fn walk(&mut self, order: &[usize]) -> Vec<(usize, Reason)> {
        let mut left = Vec::new();
        let mut in_waves = Vec::new();
        for &seat in order {
            match waves(self.board, &self.board.seats[seat]) {
                Some(reason) => in_waves.push((seat, reason)),
                None => left.extend(self.add(seat).err().map(|reason| (seat, reason))),
            }
        }
        for (seat, reason) in in_waves {
            if self.picked.is_empty() {
                left.extend(self.add(seat).err().map(|reason| (seat, reason)));
            } else {
                left.push((seat, reason));
            }
        }
        left
    }

    /// Takes a node if it may go and its pods find places.
    fn add(&mut self, seat: usize) -> Result<(), Reason> {
        let this = &self.board.seats[seat];
        self.tally.admits(self.board, this)?;
        let node = this.node;
        let lodged = self.lodged.get(&node).cloned().unwrap_or_default();
        if !self.again
            && let Some((parcel, _)) = lodged.iter().find_map(|&index| self.journal[index])
        {
            let of = self.board.seats[parcel.seat].name.clone();
            return Err(Reason::TakesPods { of });
        }
        let mut parcels = Parcels::default();
        for load in &this.loads {
            parcels.add(Parcel {
                seat,
                class: load.class,
                first: load.first,
                count: load.count,
            });
        }
        for &(parcel, _) in lodged
            .iter()
            .filter_map(|&index| self.journal[index].as_ref())
        {
            parcels.add(parcel);
        }
        match self.board.rehouse(&[node], parcels.loads()) {
            Err(refused) => {
                let pod = parcels.pod(refused.class, refused.placed);
                let pod = pod.and_then(|pod| self.board.pods.get(pod as usize));
                let refusing = refused.refusing;
                Err(pod.map_or(Reason::NodeNotFound, |pod| Reason::RoomTaken {
                    pod: pod.key.clone(),
                    refusing,
                }))
            }
            Ok(placed) => {
                if planted::is(Bug::CountRoomTwice) {
                    self.board.revert();
                } else {
                    self.board.commit();
                }
                self.moved_again |= !lodged.is_empty();
                self.lodged.remove(&node);
                for index in lodged {
                    self.journal[index] = None;
                }
                for placed in placed {
                    parcels.take(placed, |parcel| self.note(parcel, placed.host));
                }
                self.note_pick(seat);
                Ok(())
            }
        }
    }

    /// Lets a node that was closed take pods.
    pub(super) fn reopen(&mut self, seat: usize) {
        self.board.reopen(self.board.seats[seat].node);
    }

    /// Does again what was found before.
    pub(super) fn replay(&mut self, steps: &[Step]) {
        for step in steps {
            self.board.take_away(self.board.seats[step.seat].node);
            for &(parcel, host) in &step.moves {
                let Parcel { class, count, .. } = parcel;
                self.board.put(Placed { class, host, count });
                self.note(parcel, host);
            }
            self.note_pick(step.seat);
        }
    }

    fn note(&mut self, parcel: Parcel, host: NodeId) {
        let lodged = self.lodged.entry(host).or_default();
        lodged.push(self.journal.len());
        self.journal.push(Some((parcel, host)));
    }

    fn note_pick(&mut self, seat: usize) {
        self.tally.add(self.board, &self.board.seats[seat]);
        self.picked.push(seat);
    }

    /// What was chosen: every pod with the last place it was given.
    pub(super) fn steps(&self) -> Vec<Step> {
        let mut moves: BTreeMap<usize, Vec<(Parcel, NodeId)>> = BTreeMap::new();
        for (parcel, host) in self.journal.iter().flatten() {
            moves.entry(parcel.seat).or_default().push((*parcel, *host));
        }
        let step = |&seat: &usize| Step {
            seat,
            moves: moves.get(&seat).cloned().unwrap_or_default(),
        };
        self.picked.iter().map(step).collect()
    }
}

/// Pods that have to move, by class.
#[derive(Default)]
pub(super) struct Parcels {
    by_class: BTreeMap<ClassId, VecDeque<Parcel>>,
}

impl Parcels {
    pub(super) fn add(&mut self, parcel: Parcel) {
        self.by_class
            .entry(parcel.class)
            .or_default()
            .push_back(parcel);
    }

    pub(super) fn loads(&self) -> Loads {
        let count = |parcels: &VecDeque<Parcel>| parcels.iter().map(|one| one.count).sum();
        self.by_class
            .iter()
            .map(|(&class, parcels)| (class, count(parcels)))
            .collect()
    }

    /// The pod of a class that comes after so many.
    fn pod(&self, class: ClassId, mut after: u32) -> Option<u32> {
        for parcel in self.by_class.get(&class)? {
            if after < parcel.count {
                return Some(parcel.first + after);
            }
            after -= parcel.count;
        }
        None
    }

    /// Hands out the pods that found a place, parcel by parcel.
    pub(super) fn take(&mut self, placed: Placed, mut each: impl FnMut(Parcel)) {
        let Some(parcels) = self.by_class.get_mut(&placed.class) else {
            return;
        };
        let mut left = placed.count;
        while left > 0
            && let Some(first) = parcels.front_mut()
        {
            let count = left.min(first.count);
            each(Parcel { count, ..*first });
            left -= count;
            first.first += count;
            first.count -= count;
            if first.count == 0 {
                parcels.pop_front();
            }
        }
    }
}
