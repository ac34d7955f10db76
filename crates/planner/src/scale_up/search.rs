//! Which machines to buy for what is left: counts in, counts out.
//!
//! Greedy by price per share of the work, and by most work per machine where limits are tight;
//! small problems look a step ahead over every kind; at the end machines are merged or replaced by
//! cheaper ones. Of all solutions the best is taken: most pods placed, lowest price, least waste,
//! the preferred type, fewer machines, the name.

mod first_fit;

use std::{cmp::Ordering, collections::BTreeMap, rc::Rc, sync::Arc};

use model::{HourlyPrice, Resources, SchedulingClass};
use rust_decimal::{Decimal, prelude::ToPrimitive};

use super::kinds::{Budget, Kind, compare_price};

/// A kind, with what of the question does not change while machines fill up.
struct Offer<'a> {
    /// Index into the kinds.
    kind: usize,
    of: &'a Kind,
    /// Room for pods on an empty one.
    free: Resources,
    /// What one costs, in units of 10⁻¹², where known.
    price: Option<i128>,
    /// Which classes it takes, resources aside.
    admits: Vec<bool>,
}

/// What one machine takes.
#[derive(Debug)]
struct Filled {
    /// (class, pods), classes without pods left out.
    counts: Vec<(usize, u32)>,
    pods: u32,
    /// The dominant share of the largest machine, in millionths, at least one per pod so that
    /// pods without requests count too.
    work: i64,
    /// What stays unused of CPU and memory, in millionths of the largest machine.
    waste: i64,
}

/// Machines of one kind that are filled in the same way.
#[derive(Clone, Debug)]
pub(super) struct Step {
    /// Index into the kinds.
    pub(super) kind: usize,
    /// (class, pods) of each.
    pub(super) counts: Vec<(usize, u32)>,
    /// So many.
    pub(super) times: u32,
}

#[derive(Clone)]
struct Chosen {
    offer: usize,
    filled: Rc<Filled>,
    times: u32,
}

struct Solution {
    cost: Cost,
    state: State,
}

impl Solution {
    /// The better one; the first of equals.
    fn min(self, other: Self) -> Self {
        if other.cost < self.cost { other } else { self }
    }
}

/// What a solution is judged by, in this order: less is better.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Cost {
    left: u32,
    unpriced: u32,
    price: HourlyPrice,
    waste: i128,
    not_preferred: u32,
    machines: u32,
    names: Vec<(usize, u32)>,
}

#[derive(Clone, Copy)]
enum Score {
    Price,
    Work,
}

/// Classes × kinds up to which every solution on the way is polished.
const SMALL: usize = 1 << 11;
/// Classes × kinds up to which other first machines are tried at all.
const LARGE: usize = 1 << 16;
/// Classes × kinds up to which every order is tried.
const HUGE: usize = 1 << 20;
/// How many machines are chosen by looking ahead.
const ROUNDS: usize = 6;
/// How many machines are merged into one at most.
const MERGED: usize = 12;
/// How many machines are looked at for that; equal full ones need no second look.
const POLISHED: usize = 400;

pub(super) struct Search<'a> {
    classes: Vec<&'a Arc<SchedulingClass>>,
    offers: Vec<Offer<'a>>,
    /// The offers, the cheapest first.
    by_price: Vec<usize>,
    whole: Resources,
    /// Orders in which classes are put onto a machine: no single one packs well in every mix.
    orders: Vec<Order>,
}

/// How classes take turns on a machine.
#[derive(PartialEq, Eq)]
enum Order {
    /// One after the other, as many of each as fit.
    InTurn(Vec<usize>),
    /// From both ends, pod by pod: what wants most CPU for its memory while more of the CPU is
    /// free, what wants most memory while more of the memory is.
    Balanced(Vec<usize>),
}

impl<'a> Search<'a> {
    /// `classes` come largest first; `buyable` are indices into `kinds`, which are ordered by name.
    pub(super) fn new(
        classes: Vec<&'a Arc<SchedulingClass>>,
        kinds: &'a [Kind],
        buyable: &[usize],
        whole: &Resources,
    ) -> Self {
        let offers: Vec<Offer<'_>> = buyable
            .iter()
            .map(|&kind| Offer {
                kind,
                of: &kinds[kind],
                free: kinds[kind].free(),
                price: kinds[kind].price.and_then(units),
                admits: classes
                    .iter()
                    .map(|class| {
                        let Kind {
                            node, requested, ..
                        } = &kinds[kind];
                        scheduling::how_many(class, node, requested, 1) > 0
                            && scheduling::admits(class, node)
                    })
                    .collect(),
            })
            .collect();
        let mut by_price: Vec<usize> = (0..offers.len()).collect();
        by_price.sort_by(|&a, &b| compare_price(offers[a].of.price, offers[b].of.price));
        Self {
            orders: orders(&classes, whole),
            classes,
            offers,
            by_price,
            whole: whole.clone(),
        }
    }

    /// What to buy for `waiting` pods of each class.
    ///
    /// A plan is made again before its machines serve, and then only their kinds are known. A
    /// solution whose pods would not find their places again is not taken: one machine too many
    /// would follow. The plain greedy ones always do, step by step.
    pub(super) fn buy(&self, waiting: &[u32], budget: &Budget) -> Vec<Step> {
        let Some(best) = self.best(waiting, budget) else {
            return Vec::new();
        };
        if self.is_found_again(&best, waiting) {
            return self.steps(&best.state);
        }
        let plain = (0..self.orders.len())
            .flat_map(|order| [(order, Score::Price), (order, Score::Work)])
            .map(|(order, score)| self.greedy(self.start(order, waiting, budget), score))
            .chain([self.first_fit(waiting, budget)])
            .map(|state| Solution {
                cost: self.cost(&state),
                state,
            })
            .reduce(Solution::min);
        plain.map_or_else(Vec::new, |plain| self.steps(&plain.state))
    }

    /// Which of the machines that come anyway take what; each kind's group is its own limit.
    pub(super) fn fill_coming(&self, waiting: &[u32], budget: &Budget) -> Vec<Step> {
        self.any(waiting, budget, 0)
            .map_or_else(Vec::new, |found| self.steps(&found.state))
    }

    /// Whether as many pods find a place when nothing but the kinds of the machines is known.
    fn is_found_again(&self, solution: &Solution, waiting: &[u32]) -> bool {
        let mut kinds: Vec<Kind> = Vec::new();
        let mut limits: Vec<u32> = Vec::new();
        for (offer, count) in &solution.cost.names {
            let mut kind = self.offers[*offer].of.clone();
            kind.group = kinds.len();
            kinds.push(kind);
            limits.push(*count);
        }
        let budget = Budget {
            groups: limits,
            cluster: u32::MAX,
        };
        let all: Vec<usize> = (0..kinds.len()).collect();
        Search::new(self.classes.clone(), &kinds, &all, &self.whole)
            .any(waiting, &budget, solution.cost.left)
            .is_none_or(|again| again.cost.left <= solution.cost.left)
    }

    fn steps(&self, state: &State) -> Vec<Step> {
        state
            .chosen
            .iter()
            .map(|chosen| Step {
                kind: self.offers[chosen.offer].kind,
                counts: chosen.filled.counts.clone(),
                times: chosen.times,
            })
            .collect()
    }

    /// A solution that leaves at most `enough`, the first one found; else the one that leaves
    /// least. Cost does not matter.
    fn any(&self, waiting: &[u32], budget: &Budget, enough: u32) -> Option<Solution> {
        let mut least: Option<Solution> = None;
        for order in 0..self.orders.len() {
            let start = self.start(order, waiting, budget);
            for score in [Score::Price, Score::Work] {
                let state = self.greedy(start.clone(), score);
                let cost = self.cost(&state);
                let found = Solution { cost, state };
                if found.cost.left <= enough {
                    return Some(found);
                }
                least = Some(match least {
                    Some(least) => least.min(found),
                    None => found,
                });
            }
        }
        let searched = self.search(waiting, budget, self.effort().max(LARGE))?;
        Some(match least {
            Some(least) => least.min(searched),
            None => searched,
        })
    }

    /// The best solution.
    fn best(&self, waiting: &[u32], budget: &Budget) -> Option<Solution> {
        self.search(waiting, budget, self.effort())
    }

    /// The size of the question.
    fn effort(&self) -> usize {
        self.offers.len() * self.classes.len()
    }

    fn search(&self, waiting: &[u32], budget: &Budget, effort: usize) -> Option<Solution> {
        if self.offers.is_empty() || self.classes.is_empty() {
            return None;
        }
        // The first two orders are the best of the five in most mixes.
        let orders = if effort <= HUGE {
            self.orders.len()
        } else {
            self.orders.len().min(2)
        };
        let starts = (0..orders).map(|order| self.start(order, waiting, budget));
        let plain = starts.map(|start| {
            let by_price = self.judge(self.greedy(start.clone(), Score::Price), effort);
            let by_work = self.judge(self.greedy(start.clone(), Score::Work), effort);
            (by_price.min(by_work), start)
        });
        let mut solutions: Vec<(Solution, State)> = plain.collect();
        solutions.sort_by(|a, b| a.0.cost.cmp(&b.0.cost));
        // Looking ahead in every order pays, where it can be afforded.
        let looked_at = match effort {
            _ if effort <= SMALL => solutions.len(),
            _ if effort <= LARGE => 1,
            _ => 0,
        };
        for (solution, start) in solutions.iter_mut().take(looked_at) {
            self.look_ahead(solution, start.clone(), effort);
        }
        let first_fit = self.judge(self.first_fit(waiting, budget), effort);
        let best = solutions
            .into_iter()
            .map(|(solution, _)| solution)
            .chain([first_fit])
            .reduce(Solution::min);
        let mut state = best?.state;
        self.merge(&mut state);
        Some(Solution {
            cost: self.cost(&state),
            state,
        })
    }

    /// Nothing bought yet; classes are put onto machines in this order.
    fn start(&self, order: usize, waiting: &[u32], budget: &Budget) -> State {
        State {
            order,
            remaining: waiting.to_vec(),
            budget: budget.clone(),
            fills: self
                .offers
                .iter()
                .map(|offer| Rc::new(self.fill(offer, order, waiting)))
                .collect(),
            chosen: Vec::new(),
        }
    }

    fn judge(&self, mut state: State, effort: usize) -> Solution {
        if effort <= SMALL {
            self.merge(&mut state);
        }
        Solution {
            cost: self.cost(&state),
            state,
        }
    }

    /// Tries other first machines, and again after the best of them, as long as that gets better.
    fn look_ahead(&self, best: &mut Solution, mut prefix: State, effort: usize) {
        let candidates = (LARGE / effort.max(1)).clamp(2, 64);
        for _ in 0..ROUNDS {
            let mut better: Option<State> = None;
            for offer in self.promising(&prefix, candidates) {
                for once in [true, false] {
                    let mut first = prefix.clone();
                    self.take(&mut first, offer, once);
                    let tried = self.judge(self.greedy(first.clone(), Score::Price), effort);
                    if tried.cost < best.cost {
                        *best = tried;
                        better = Some(first);
                    }
                }
            }
            let Some(next) = better else { break };
            prefix = next;
        }
    }

    /// What one machine takes of `remaining`.
    fn fill(&self, offer: &Offer<'_>, order: usize, remaining: &[u32]) -> Filled {
        let mut counts = Vec::new();
        let mut machine = Filling {
            offer,
            requested: offer.of.requested.clone(),
        };
        match &self.orders[order] {
            Order::InTurn(order) => {
                for &index in order {
                    let count = machine.put(index, self.classes[index], remaining[index]);
                    if count > 0 {
                        counts.push((index, count));
                    }
                }
            }
            Order::Balanced(order) => {
                counts = self.fill_from_both_ends(&mut machine, order, remaining);
            }
        }
        self.measure(offer, counts)
    }

    /// What a machine comes to that takes these pods.
    fn measure(&self, offer: &Offer<'_>, counts: Vec<(usize, u32)>) -> Filled {
        let pods = counts.iter().map(|(_, count)| count).sum();
        let sum = self.sum(&counts);
        Filled {
            pods,
            work: sum.dominant_share(&self.whole).max(i64::from(pods)),
            waste: self.waste(&offer.free, &sum),
            counts,
        }
    }

    fn sum(&self, counts: &[(usize, u32)]) -> Resources {
        let requests = counts.iter();
        Resources::sum(requests.map(|(index, count)| (&self.classes[*index].requests, *count)))
    }

    fn fill_from_both_ends(
        &self,
        machine: &mut Filling<'_, '_>,
        order: &[usize],
        remaining: &[u32],
    ) -> Vec<(usize, u32)> {
        let mut counts = vec![0_u32; self.classes.len()];
        let mut ends = order;
        while let (Some(&first), Some(&last)) = (ends.first(), ends.last()) {
            let from_front = machine.has_more_cpu_than_memory();
            let index = if from_front { first } else { last };
            let most = u32::from(counts[index] < remaining[index]);
            if machine.put(index, self.classes[index], most) > 0 {
                counts[index] += 1;
            } else if from_front {
                ends = &ends[1..];
            } else {
                ends = &ends[..ends.len() - 1];
            }
        }
        let indexed = counts.into_iter().enumerate();
        indexed.filter(|(_, count)| *count > 0).collect()
    }

    fn waste(&self, free: &Resources, used: &Resources) -> i64 {
        let share = |free: i64, used: i64, whole: i64| {
            if whole <= 0 {
                return 0;
            }
            let unused = i128::from(free.max(0)) - i128::from(used);
            i64::try_from(unused.max(0) * 1_000_000 / i128::from(whole)).unwrap_or(i64::MAX)
        };
        share(free.cpu_milli, used.cpu_milli, self.whole.cpu_milli).saturating_add(share(
            free.memory,
            used.memory,
            self.whole.memory,
        ))
    }

    /// Buys the best kind as often as it fills in the same way, until nothing can be placed.
    fn greedy(&self, mut state: State, score: Score) -> State {
        loop {
            self.refresh(&mut state);
            let best = (0..self.offers.len())
                .filter(|&offer| self.can_take(&state, offer))
                .min_by(|&a, &b| self.compare(&state, a, b, score));
            let Some(offer) = best else { return state };
            self.take(&mut state, offer, false);
        }
    }

    fn can_take(&self, state: &State, offer: usize) -> bool {
        state.fills[offer].pods > 0 && state.budget.left(self.offers[offer].of.group) > 0
    }

    /// The kinds worth trying first.
    fn promising(&self, state: &State, most: usize) -> Vec<usize> {
        let mut offers: Vec<usize> = (0..self.offers.len())
            .filter(|&offer| self.can_take(state, offer))
            .collect();
        offers.sort_by(|&a, &b| self.compare(state, a, b, Score::Price));
        offers.truncate(most);
        offers
    }

    /// What a kind takes is the same as before, unless too little is left of what it took.
    fn refresh(&self, state: &mut State) {
        for (index, offer) in self.offers.iter().enumerate() {
            let still = state.fills[index]
                .counts
                .iter()
                .all(|(class, count)| *count <= state.remaining[*class]);
            if !still {
                state.fills[index] = Rc::new(self.fill(offer, state.order, &state.remaining));
            }
        }
    }

    fn compare(&self, state: &State, a: usize, b: usize, score: Score) -> Ordering {
        let (fill_a, fill_b) = (&state.fills[a], &state.fills[b]);
        let (of_a, of_b) = (self.offers[a].of, self.offers[b].of);
        // Price for the same work: price_a × work_b against price_b × work_a.
        let price = || match (self.offers[a].price, self.offers[b].price) {
            (Some(a), Some(b)) => {
                let (work_a, work_b) = (i128::from(fill_a.work), i128::from(fill_b.work));
                (a.saturating_mul(work_b)).cmp(&b.saturating_mul(work_a))
            }
            _ => compare_price(of_a.price, of_b.price).then(fill_b.work.cmp(&fill_a.work)),
        };
        let first = match score {
            Score::Price => price(),
            Score::Work => fill_b
                .pods
                .cmp(&fill_a.pods)
                .then(fill_b.work.cmp(&fill_a.work))
                .then_with(price),
        };
        first
            .then(fill_a.waste.cmp(&fill_b.waste))
            .then(of_b.preferred.cmp(&of_a.preferred))
            .then(fill_b.pods.cmp(&fill_a.pods))
            .then(a.cmp(&b))
    }

    /// Buys machines of one kind: one, or as many as fill in the same way.
    fn take(&self, state: &mut State, offer: usize, once: bool) {
        let filled = Rc::clone(&state.fills[offer]);
        let group = self.offers[offer].of.group;
        let alike = filled
            .counts
            .iter()
            .map(|(class, count)| state.remaining[*class] / count)
            .min()
            .unwrap_or(0);
        let times = if once { 1 } else { alike }.min(state.budget.left(group));
        for (class, count) in &filled.counts {
            state.remaining[*class] -= count * times;
        }
        state.budget.spend(group, times);
        state.chosen.push(Chosen {
            offer,
            filled,
            times,
        });
        self.refresh(state);
    }

    fn cost(&self, state: &State) -> Cost {
        let mut names: BTreeMap<usize, u32> = BTreeMap::new();
        let mut cost = Cost {
            left: state.remaining.iter().sum(),
            unpriced: 0,
            price: HourlyPrice::ZERO,
            waste: 0,
            not_preferred: 0,
            machines: 0,
            names: Vec::new(),
        };
        for chosen in &state.chosen {
            let of = self.offers[chosen.offer].of;
            match of.price {
                Some(price) => cost.price = cost.price + price.times(chosen.times as usize),
                None => cost.unpriced += chosen.times,
            }
            cost.waste += i128::from(chosen.filled.waste) * i128::from(chosen.times);
            cost.not_preferred += if of.preferred { 0 } else { chosen.times };
            cost.machines += chosen.times;
            *names.entry(chosen.offer).or_default() += chosen.times;
        }
        cost.names = names.into_iter().collect();
        cost
    }

    /// Puts the pods of the emptiest machines, one to a dozen, onto a single one where that is
    /// better, until it is not.
    fn merge(&self, state: &mut State) {
        let mut machines: Vec<Chosen> = Vec::new();
        for chosen in &state.chosen {
            for _ in 0..chosen.times {
                machines.push(Chosen {
                    times: 1,
                    ..chosen.clone()
                });
            }
        }
        if machines.len() > POLISHED {
            return;
        }
        machines.sort_by(|a, b| {
            b.filled
                .work
                .cmp(&a.filled.work)
                .then(a.offer.cmp(&b.offer))
        });
        let mut changed = false;
        while let Some((from, merged)) = self.better_merge(&machines, state.order, &state.budget) {
            for gone in machines.drain(from..) {
                let group = self.offers[gone.offer].of.group;
                state.budget.groups[group] = state.budget.groups[group].saturating_add(1);
                state.budget.cluster = state.budget.cluster.saturating_add(1);
            }
            state.budget.spend(self.offers[merged.offer].of.group, 1);
            let place = machines.partition_point(|m| m.filled.work >= merged.filled.work);
            machines.insert(place, merged);
            changed = true;
        }
        if changed {
            state.chosen = machines;
        }
    }

    /// The first suffix of `machines` that one machine can stand for at less cost.
    fn better_merge(
        &self,
        machines: &[Chosen],
        order: usize,
        budget: &Budget,
    ) -> Option<(usize, Chosen)> {
        let mut pods = vec![0_u32; self.classes.len()];
        let mut count = 0;
        let mut asked = Resources::default();
        let mut old: Merit = (HourlyPrice::ZERO, 0, 0, 0);
        let mut freed: BTreeMap<usize, u32> = BTreeMap::new();
        for (from, machine) in machines.iter().enumerate().rev().take(MERGED) {
            let of = self.offers[machine.offer].of;
            let price = of.price?;
            for (class, number) in &machine.filled.counts {
                pods[*class] += number;
                count += number;
            }
            asked.add(&self.sum(&machine.filled.counts));
            *freed.entry(of.group).or_default() += 1;
            old.0 = old.0 + price;
            old.1 += i128::from(machine.filled.waste);
            old.2 += u32::from(!of.preferred);
            old.3 += 1;
            let is_enough = |asked: i64, free: i64| asked <= 0 || asked <= free;
            let has_room = |free: &Resources| {
                is_enough(asked.cpu_milli, free.cpu_milli)
                    && is_enough(asked.memory, free.memory)
                    && is_enough(asked.pods, free.pods)
            };
            let is_left = |group: usize| freed.contains_key(&group) || budget.groups[group] > 0;
            let mut best: Option<(Merit, usize, Filled)> = None;
            for &index in &self.by_price {
                let offer = &self.offers[index];
                let Some(price) = offer.of.price.filter(|price| *price <= old.0) else {
                    break;
                };
                if best.as_ref().is_some_and(|best| best.0.0 < price) {
                    break;
                }
                if !has_room(&offer.free) || !is_left(offer.of.group) {
                    continue;
                }
                let filled = self.fill(offer, order, &pods);
                let not_preferred = u32::from(!offer.of.preferred);
                let new = (price, i128::from(filled.waste), not_preferred, 1);
                let is_better = |(cost, of, _): &(_, usize, _)| (&new, index) < (cost, *of);
                if filled.pods == count && new < old && best.as_ref().is_none_or(is_better) {
                    best = Some((new, index, filled));
                }
            }
            if let Some((_, offer, filled)) = best {
                let merged = Chosen {
                    offer,
                    filled: Rc::new(filled),
                    times: 1,
                };
                return Some((from, merged));
            }
        }
        None
    }
}

/// Of machines that one may stand for: price, waste, those that are not preferred, how many.
type Merit = (HourlyPrice, i128, u32, u32);

/// What a price comes to in units of 10⁻¹².
fn units(price: HourlyPrice) -> Option<i128> {
    (price.amount() * Decimal::from(1_000_000_000_000_u64)).to_i128()
}

/// A machine that is being filled.
struct Filling<'a, 'b> {
    offer: &'a Offer<'b>,
    requested: Resources,
}

impl Filling<'_, '_> {
    /// Puts as many pods as fit, at most `most`; how many.
    fn put(&mut self, index: usize, class: &SchedulingClass, most: u32) -> u32 {
        if most == 0 || !self.offer.admits[index] {
            return 0;
        }
        let count = scheduling::how_many(class, &self.offer.of.node, &self.requested, most);
        match count {
            0 => {}
            1 => self.requested.add(&class.requests),
            _ => self
                .requested
                .add(&Resources::sum([(&class.requests, count)])),
        }
        count
    }

    fn has_more_cpu_than_memory(&self) -> bool {
        let has = &self.offer.of.node.shape.allocatable;
        let free = |has: i64, used: i64| i128::from(has) - i128::from(used);
        // Free share of the CPU against free share of the memory.
        free(has.cpu_milli, self.requested.cpu_milli) * i128::from(has.memory)
            >= free(has.memory, self.requested.memory) * i128::from(has.cpu_milli)
    }
}

/// A solution under way.
#[derive(Clone)]
struct State {
    /// Index into the orders.
    order: usize,
    remaining: Vec<u32>,
    budget: Budget,
    /// What one machine of each offer would take of what remains.
    fills: Vec<Rc<Filled>>,
    chosen: Vec<Chosen>,
}

/// As they come (by the largest share of any resource), by CPU, by memory, by both together, and
/// from both ends of CPU against memory.
fn orders(classes: &[&Arc<SchedulingClass>], whole: &Resources) -> Vec<Order> {
    let share = |amount: i64, whole: i64| {
        if whole <= 0 {
            0
        } else {
            i128::from(amount) * 1_000_000 / i128::from(whole)
        }
    };
    let cpu = |class: &SchedulingClass| share(class.requests.cpu_milli, whole.cpu_milli);
    let memory = |class: &SchedulingClass| share(class.requests.memory, whole.memory);
    let by = |key: &dyn Fn(&SchedulingClass) -> i128| {
        let mut order: Vec<usize> = (0..classes.len()).collect();
        order.sort_by_key(|&index| std::cmp::Reverse(key(classes[index])));
        order
    };
    let ratio = |class: &SchedulingClass| cpu(class) * 1_000_000 / memory(class).max(1);
    let mut orders = vec![
        Order::InTurn((0..classes.len()).collect()),
        Order::Balanced(by(&ratio)),
        Order::InTurn(by(&cpu)),
        Order::InTurn(by(&memory)),
        Order::InTurn(by(&|class| cpu(class) + memory(class))),
    ];
    orders.dedup();
    if classes.len() < 2 {
        orders.truncate(1);
    }
    orders
}
