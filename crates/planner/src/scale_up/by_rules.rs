//! Pods whose rules look at other pods, or that would rather have something, placed one after the
//! other: onto room that is there, else onto the machine that costs least to make larger or to buy.
//!
//! New machines stay open while pods come: each is always the cheapest kind of its group that holds
//! what is on it. A preference is worth [`WORTH_PERCENT`] of the price at that step, and no more.

use std::{cmp::Reverse, collections::BTreeMap, sync::Arc};

use model::{HourlyPrice, Resources, SchedulingClass};
use rust_decimal::{Decimal, prelude::ToPrimitive};
use scheduling::ClassId;

use super::{
    ground::{Ground, Of, Open},
    kinds::{Budget, Kind, OF_THE_KIND, asks_for_a_kind, compare_price},
    lane::Lane,
};

/// What a step may cost more for the sake of preferences, in percent.
pub(super) const WORTH_PERCENT: u32 = 5;
/// A machine more is thought to cost more by this part of its price.
const ONE_MORE: i128 = 1000;
/// Groups that a new machine is tried in.
const TRIED: usize = 8;
/// Machines that were opened or grew last: they are looked at first.
const RECENT: usize = 4;
/// Pods of one class that wait.
#[derive(Clone)]
pub(super) struct Waiting {
    /// The class in the engine.
    pub(super) class: ClassId,
    /// What it was compiled from.
    pub(super) source: Arc<SchedulingClass>,
    /// So many are left.
    pub(super) left: u32,
}

/// By what a step is chosen.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Choose {
    /// The lowest price now.
    Cheapest,
    /// The lowest price for each pod that gets room by it.
    ByPod,
}

/// How far pods go.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Reach {
    /// To nodes that are there.
    Existing,
    /// To whatever there is or can be bought.
    Everything,
}

/// What may be bought, and how much more of it.
pub(super) struct Market<'a> {
    kinds: &'a [Kind],
    /// By kind: what one costs, in units of 10⁻⁸; beyond all prices where that is unknown.
    prices: Vec<i128>,
    /// By group: its kinds that may be bought, the cheapest first.
    ladders: Vec<Vec<usize>>,
    /// By kind: its place in its group's ladder.
    rungs: Vec<usize>,
    /// Limits.
    pub(super) budget: Budget,
    choose: Choose,
    /// Machines keep the kind they were opened as: some rule goes by a label of the kind.
    rigid: bool,
    recent: Vec<usize>,
    /// By group: machines opened.
    opened: Vec<u32>,
    /// By queue that was placed, and by kind: whether it takes the pods, resources aside.
    admitted: BTreeMap<usize, Vec<bool>>,
}

/// A way to get room.
#[derive(Clone, Copy)]
enum Way {
    Grow { spot: usize, kind: usize },
    Open { kind: usize },
}

struct Offer {
    way: Way,
    /// What it costs more, in units of 10⁻⁸; beyond all prices where that is unknown.
    price: i128,
    /// The pods that would get room.
    pods: u32,
    /// The weight of the preferences met.
    met: u32,
    /// What stays free there beside one pod more, in millionths of the machine.
    free: i64,
}

/// More than any price.
const UNKNOWN: i128 = 1 << 80;

fn price(kind: &Kind) -> i128 {
    let units = |price: HourlyPrice| (price.amount() * Decimal::from(100_000_000_u32)).to_i128();
    kind.price.and_then(units).unwrap_or(UNKNOWN)
}

impl<'a> Market<'a> {
    /// `buyable` are the kinds that nothing but limits keeps from being bought.
    pub(super) fn new(
        ground: &Ground<'a>,
        buyable: &[usize],
        budget: Budget,
        choose: Choose,
    ) -> Self {
        let kinds = ground.kinds;
        let mut ladders = vec![Vec::new(); ground.input.groups.len()];
        for &kind in buyable {
            ladders[kinds[kind].group].push(kind);
        }
        for ladder in &mut ladders {
            ladder.sort_by(|&a, &b| {
                let size = |kind: usize| Reverse(kinds[kind].free().cpu_milli);
                compare_price(kinds[a].price, kinds[b].price)
                    .then(kinds[b].preferred.cmp(&kinds[a].preferred))
                    .then(size(a).cmp(&size(b)))
                    .then(a.cmp(&b))
            });
        }
        let mut rungs = vec![0; kinds.len()];
        for ladder in &ladders {
            for (rung, &kind) in ladder.iter().enumerate() {
                rungs[kind] = rung;
            }
        }
        Self {
            kinds,
            prices: kinds.iter().map(price).collect(),
            ladders,
            rungs,
            budget,
            choose,
            rigid: OF_THE_KIND.iter().any(|label| ground.engine.goes_by(label)),
            recent: Vec::new(),
            opened: vec![0; ground.input.groups.len()],
            admitted: BTreeMap::new(),
        }
    }

    /// Kinds of one group differ in a few labels only; who asks for none of them need not be asked
    /// of each.
    fn admissions(&self, source: &SchedulingClass) -> Vec<bool> {
        let mut of_group: BTreeMap<usize, bool> = BTreeMap::new();
        let each = asks_for_a_kind(source);
        let kinds = self.kinds.iter();
        kinds
            .map(|kind| {
                let ask = || scheduling::admits(source, &kind.node);
                if each {
                    ask()
                } else {
                    *of_group.entry(kind.group).or_insert_with(ask)
                }
            })
            .collect()
    }

    /// Places as many pods of a queue as it can: on nodes that are there, or anywhere, and then buys
    /// for them where it must.
    pub(super) fn place(
        &mut self,
        ground: &mut Ground<'a>,
        all: &mut [Waiting],
        queue: usize,
        reach: Reach,
    ) {
        let (class, source) = (all[queue].class, Arc::clone(&all[queue].source));
        if !self.admitted.contains_key(&queue) {
            self.admitted.insert(queue, self.admissions(&source));
        }
        let mut lane = Lane::new(ground, class, &source);
        // Each pod where it is liked best: what it would rather have changes with every one.
        let prefers = ground.engine.preferred(class) > 0;
        while all[queue].left > 0 {
            let most = if prefers { 1 } else { all[queue].left };
            let spot = match reach {
                Reach::Existing => lane.room(ground, true),
                Reach::Everything => lane
                    .room(ground, false)
                    .or_else(|| self.recent_room(ground, &lane))
                    .or_else(|| self.make_room(ground, &mut lane, queue, most)),
            };
            let Some(spot) = spot else { return };
            let count = ground.how_many(class, &source, spot, most);
            if count == 0 {
                return;
            }
            ground.place((queue, class), &source, spot, count);
            all[queue].left -= count;
        }
    }

    /// A machine that grew a moment ago may have room that the lane has passed.
    fn recent_room(&self, ground: &Ground<'_>, lane: &Lane<'_>) -> Option<usize> {
        let fits = |spot: &usize| ground.obstacle(lane.class, lane.source, *spot).is_none();
        self.recent.iter().rev().copied().find(fits)
    }

    fn note_recent(&mut self, spot: usize) {
        self.recent.retain(|&other| other != spot);
        self.recent.push(spot);
        if self.recent.len() > RECENT {
            self.recent.remove(0);
        }
    }

    /// Takes the best way to get room for a pod; the spot that has it.
    fn make_room(
        &mut self,
        ground: &mut Ground<'a>,
        lane: &mut Lane<'_>,
        queue: usize,
        left: u32,
    ) -> Option<usize> {
        let mut offers = self.growths(ground, lane, queue, left);
        let cheapest = offers.iter().map(|offer| offer.price).min();
        // Nothing is cheaper than a machine that grows for nothing.
        if cheapest.is_none_or(|price| price > 0) {
            offers.extend(self.openings(ground, lane, queue, left));
        }
        let best = self.choose_of(&offers)?;
        let spot = match best {
            Way::Grow { spot, kind } => {
                if let Of::Open(open) = &mut ground.spots[spot].of {
                    open.kind = kind;
                }
                spot
            }
            Way::Open { kind } => {
                self.budget.spend(self.kinds[kind].group, 1);
                self.opened[self.kinds[kind].group] += 1;
                ground.open(kind)
            }
        };
        self.note_recent(spot);
        Some(spot)
    }

    /// The lowest price; within what preferences are worth, the most preferred.
    fn choose_of(&self, offers: &[Offer]) -> Option<Way> {
        let opens = |offer: &Offer| matches!(offer.way, Way::Open { .. });
        let each = |offer: &Offer| {
            // At about one price rather no machine more.
            let more = if opens(offer) {
                offer.price / ONE_MORE
            } else {
                0
            };
            let pods = match self.choose {
                Choose::Cheapest => 1,
                Choose::ByPod => i128::from(offer.pods.max(1)),
            };
            (offer.price + more, pods)
        };
        let dearer = |a: &Offer, b: &Offer| {
            let ((a, of_a), (b, of_b)) = (each(a), each(b));
            (a * of_b).cmp(&(b * of_a))
        };
        let (least, of_least) = offers.iter().min_by(|a, b| dearer(a, b)).map(each)?;
        let is_worth_it = |offer: &Offer| {
            let (price, of) = each(offer);
            price * of_least * 100 <= least * of * i128::from(100 + WORTH_PERCENT)
        };
        let kept = offers.iter().filter(|offer| is_worth_it(offer));
        let best = kept.min_by(|a, b| {
            let price = b.met.cmp(&a.met).then(dearer(a, b));
            price
                .then(opens(a).cmp(&opens(b)))
                .then(a.free.cmp(&b.free))
        });
        best.map(|offer| offer.way)
    }

    /// Open machines that could be larger.
    fn growths(
        &self,
        ground: &mut Ground<'a>,
        lane: &mut Lane<'_>,
        queue: usize,
        left: u32,
    ) -> Vec<Offer> {
        if self.rigid {
            return Vec::new();
        }
        let source = lane.source;
        let grown = |ground: &Ground<'_>, spot: usize| match &ground.spots[spot].of {
            Of::Open(open) => self.grown(open, source, queue, left),
            _ => None,
        };
        let mut spots = lane.growable(ground, |ground, spot| grown(ground, spot).is_some());
        let passes = |spot: &usize| {
            let node = ground.spots[*spot].node;
            ground.engine.fits(lane.class, node)
        };
        for &spot in self.recent.iter().rev() {
            if !spots.contains(&spot) && passes(&spot) {
                spots.push(spot);
            }
        }
        let class = lane.class;
        let offers = spots.into_iter().filter_map(|spot| {
            let (kind, pods, price) = grown(ground, spot)?;
            let node = ground.spots[spot].node;
            let Of::Open(open) = &ground.spots[spot].of else {
                return None;
            };
            Some(Offer {
                free: self.kinds[kind].left_over(&open.load, source),
                way: Way::Grow { spot, kind },
                price,
                pods: pods.min(ground.engine.how_many(class, node, left)),
                met: ground.engine.preference(class, node, false),
            })
        });
        offers.collect()
    }

    /// The kind that an open machine would best become to take a pod more: with it, how many more
    /// it takes, and what it costs more.
    fn grown(
        &self,
        open: &Open,
        source: &SchedulingClass,
        queue: usize,
        left: u32,
    ) -> Option<(usize, u32, i128)> {
        let now = self.prices[open.kind];
        let ladder = &self.ladders[self.kinds[open.kind].group];
        let larger = ladder
            .iter()
            .skip(self.rungs[open.kind] + 1)
            .filter_map(|&kind| {
                let of = &self.kinds[kind];
                let pods = of.takes(&open.load, source, left);
                let admitted = || self.takes_all(kind, open.queues.iter().chain([&queue]));
                (pods > 0 && admitted()).then(|| (kind, pods, self.prices[kind] - now))
            });
        self.pick(larger)
    }

    /// The first, or the best for each pod.
    fn pick(
        &self,
        mut kinds: impl Iterator<Item = (usize, u32, i128)>,
    ) -> Option<(usize, u32, i128)> {
        match self.choose {
            Choose::Cheapest => kinds.next(),
            Choose::ByPod => kinds.min_by(|(_, a_pods, a), (_, b_pods, b)| {
                (a * i128::from(*b_pods)).cmp(&(b * i128::from(*a_pods)))
            }),
        }
    }

    /// Whether a kind takes pods of all these queues, resources aside.
    fn takes_all<'q>(&self, kind: usize, queues: impl IntoIterator<Item = &'q usize>) -> bool {
        queues.into_iter().all(|queue| {
            let kinds = self.admitted.get(queue);
            kinds.is_some_and(|kinds| kinds[kind])
        })
    }

    /// New machines, one a group, the cheapest first.
    fn openings(
        &self,
        ground: &mut Ground<'a>,
        lane: &Lane<'_>,
        queue: usize,
        left: u32,
    ) -> Vec<Offer> {
        let suited = |group: usize, left: u32| {
            let kinds = self.ladders[group].iter().filter_map(|&kind| {
                let of = &self.kinds[kind];
                let pods = of.takes(&Resources::default(), lane.source, left);
                (pods > 0 && self.takes_all(kind, [&queue]))
                    .then(|| (kind, pods, self.prices[kind]))
            });
            self.pick(kinds)
        };
        let mut groups: Vec<(usize, (usize, u32, i128))> = (0..self.ladders.len())
            .filter(|&group| self.budget.left(group) > 0)
            .filter_map(|group| suited(group, left).map(|best| (group, best)))
            .collect();
        groups.sort_by(|(_, (a, a_pods, a_price)), (_, (b, b_pods, b_price))| {
            let each = (a_price * i128::from(*b_pods)).cmp(&(b_price * i128::from(*a_pods)));
            let of_each = match self.choose {
                Choose::Cheapest => a_price.cmp(b_price),
                Choose::ByPod => each,
            };
            // At one price evenly: what comes later may ask for any of them.
            let of = |kind: usize| self.opened[self.kinds[kind].group];
            let opened = of(*a).cmp(&of(*b));
            of_each.then(opened).then(a.cmp(b))
        });
        let prefers = ground.engine.preferred(lane.class) > 0;
        let mut offers = Vec::new();
        for (group, (kind, _, _)) in groups.into_iter().take(TRIED) {
            let (most, met) = ground.if_open(kind, |engine, node| {
                let most = engine.how_many(lane.class, node, left);
                (most, engine.preference(lane.class, node, false))
            });
            // Rules may let fewer in than there is room for.
            if most > 0
                && let Some((kind, pods, price)) = suited(group, most)
            {
                offers.push(Offer {
                    free: self.kinds[kind].left_over(&Resources::default(), lane.source),
                    way: Way::Open { kind },
                    price,
                    pods,
                    met,
                });
                if !prefers && self.choose == Choose::Cheapest {
                    break;
                }
            }
        }
        offers
    }

    /// Settles every open machine as the cheapest kind of its group that holds what is on it.
    pub(super) fn settle(&self, ground: &mut Ground<'a>) {
        for spot in 0..ground.spots.len() {
            let Of::Open(open) = &ground.spots[spot].of else {
                continue;
            };
            let ladder = &self.ladders[self.kinds[open.kind].group];
            let cheapest = ladder.iter().copied().find(|&kind| {
                let of = &self.kinds[kind];
                !self.rigid && of.holds(&open.load) && self.takes_all(kind, &open.queues)
            });
            let kind = cheapest.unwrap_or(open.kind);
            ground.settle(spot, kind);
        }
    }
}
