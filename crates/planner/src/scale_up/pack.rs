//! The steps of one plan: minimums, room that is there, new machines; then the reasons of the rest.
//!
//! Pods that no rule ties to others are packed by counts; the others one after the other by the
//! rules, before them. More than one way is tried on the same ground, and the best one kept. What
//! would be planned once its machines are on their way is planned at once: a plan that is made again
//! meanwhile must find room for every pod. Ways are judged by that, where it can be afforded.

use std::{collections::BTreeMap, sync::Arc};

use model::{HourlyPrice, Pod, PodKey, Resources};

use super::{
    Cause, Coming, Create, Host, Input, Placement, Plan, Report, Steps, bounds,
    by_rules::{Market, Reach, WORTH_PERCENT, Waiting},
    first_fit, free,
    ground::{Ground, Of},
    kinds::{self, Budget, Kind},
    promises::Promises,
    queue::{Queue, queues},
    refusals,
    ways::{LARGE, Measure, Order, SMALL, Way, ways},
};

/// What a way comes to, in the order in which ways are judged.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Cost {
    left: u32,
    unpriced: u32,
    price: HourlyPrice,
    machines: u32,
}

impl Cost {
    /// Every pod is placed and nothing bought.
    fn is_nothing(&self) -> bool {
        self.left == 0 && self.machines == 0
    }
}

/// A way that was tried.
struct Tried {
    way: Way,
    cost: Cost,
    /// The weight of the preferences met.
    met: u64,
    /// The machines that it began with…
    bought: Vec<Machine>,
    /// …and those that it came to.
    needed: Vec<Machine>,
}

/// How often a plan is planned again on the machines it buys.
const ROUNDS: usize = 12;

/// A machine that is bought already.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Machine {
    kind: usize,
    cause: Cause,
    /// The pods it is bought for: queues, and how many of each.
    promised: Vec<(usize, u32)>,
}

struct Packing<'a> {
    input: &'a Input,
    kinds: &'a [Kind],
    /// Component by component the largest machine that can be bought; where none can be, the
    /// largest node.
    whole: Resources,
    /// Kinds that nothing but limits keeps from being bought.
    buyable: Vec<usize>,
}

/// Plans for `pending`.
pub(super) fn pack(input: &Input, pending: &[Arc<Pod>], report: &mut Report) -> Plan {
    let kinds = kinds::kinds(input);
    let mut whole = Resources::default();
    for kind in &kinds {
        whole.raise_to(&kind.free());
    }
    if kinds.is_empty() {
        for node in input.cluster.nodes.values() {
            whole.raise_to(&node.shape.allocatable);
        }
    }
    let packing = Packing {
        input,
        kinds: &kinds,
        buyable: (0..kinds.len())
            .filter(|&kind| kinds::barred(input, &kinds[kind], false).is_none())
            .collect(),
        whole,
    };
    packing.plan(pending, report)
}

impl Packing<'_> {
    fn plan(&self, pending: &[Arc<Pod>], report: &mut Report) -> Plan {
        let mut queues = queues(pending, &self.whole);
        let mut ground = Ground::new(self.input, self.kinds, &queues);
        let waiting: Vec<Waiting> = queues
            .iter()
            .map(|queue| Waiting {
                class: ground.engine.class(&queue.class),
                source: Arc::clone(&queue.class),
                left: queue.waiting(),
            })
            .collect();
        let order = Order::of(&ground, &waiting);
        let all = self.pack(&mut ground, &waiting, &order);
        self.note_bounds(&ground, &all, report);
        report.preferences = preferences(&ground, &all);
        let plan = self.tell(&ground, &all, &mut queues, report);
        let budget = self.budget(&needed(&ground));
        for (queue, waiting) in queues.iter().zip(&all) {
            if queue.pods.is_empty() {
                continue;
            }
            let reason = refusals::of(&mut ground, waiting, &budget, report);
            for pod in &queue.pods {
                let placement = Placement::Left(reason.clone());
                report.pods.insert(pod.clone(), placement);
            }
        }
        plan
    }

    /// What the minimums ask for, of each group's cheapest offering.
    fn minimums(&self) -> Vec<Machine> {
        let mut bought = Vec::new();
        let mut budget = Budget::new(self.input);
        for (index, group) in self.input.groups.iter().enumerate() {
            let wanted = group.min_nodes.saturating_sub(group.serving);
            let count = wanted.min(budget.left(index));
            let cheapest = (0..self.kinds.len())
                .filter(|&kind| self.kinds[kind].group == index)
                .filter(|&kind| kinds::barred(self.input, &self.kinds[kind], true).is_none())
                .min_by(|&a, &b| {
                    let (of_a, of_b) = (&self.kinds[a], &self.kinds[b]);
                    kinds::compare_price(of_a.price, of_b.price)
                        .then(of_b.preferred.cmp(&of_a.preferred))
                        .then(a.cmp(&b))
                });
            if let Some(kind) = cheapest {
                budget.spend(index, count);
                bought.extend((0..count).map(|_| Machine {
                    kind,
                    cause: Cause::MinNodes,
                    promised: Vec::new(),
                }));
            }
        }
        bought
    }

    /// What may be bought beside this.
    fn budget(&self, bought: &[Machine]) -> Budget {
        let mut budget = Budget::new(self.input);
        for machine in bought {
            budget.spend(self.kinds[machine.kind].group, 1);
        }
        budget
    }

    /// Packs in the way that is best: most pods placed, lowest price, within what they are worth the
    /// most preferences met, fewest machines.
    fn pack(&self, ground: &mut Ground<'_>, waiting: &[Waiting], order: &Order) -> Vec<Waiting> {
        // Where nothing can be bought, the nodes are what is chosen from.
        let choices = match self.buyable.len() {
            0 => ground.spots.len(),
            some => some,
        };
        let effort = order.effort(waiting, choices);
        let ways = ways(order, effort, self.buyable.is_empty());
        // Once more with what is bought on its way, until nothing has to be added.
        let rounds = if order.is_tied() { ROUNDS } else { 0 };
        let of = (waiting, order);
        let mut tried: Vec<Tried> = Vec::new();
        if let [way] = ways[..] {
            let (all, one) = self.stand(ground, of, way, self.minimums(), rounds);
            if one.cost.left == 0 || waiting.len() == 1 || effort > LARGE {
                return all;
            }
            ground.revert();
            tried.push(one);
        } else {
            let at_first = if effort <= SMALL { rounds } else { 0 };
            let ways = ways.into_iter().map(|way| (way, self.minimums()));
            tried = self.try_all(ground, of, ways, at_first);
            if at_first < rounds {
                tried = self.try_all(ground, of, finalists(order, tried), rounds - 1);
            }
        }
        // Where not all can be placed, there are places for more of the small ones.
        if let Some(best) = best(order, &tried)
            && best.cost.left > 0
        {
            let way = best.way;
            let ways = Measure::ALL.map(|measure| {
                let smallest_first = Way {
                    first_fit: false,
                    tightest_first: false,
                    smallest_first: Some(measure),
                    ..way
                };
                (smallest_first, self.minimums())
            });
            tried.extend(self.try_all(ground, of, ways, rounds));
        }
        let Some(best) = best(order, &tried) else {
            return waiting.to_vec();
        };
        let (all, _) = self.stand(ground, of, best.way, best.bought.clone(), 0);
        all
    }

    /// Tries ways, each beside some machines, and takes all back.
    fn try_all(
        &self,
        ground: &mut Ground<'_>,
        of: (&[Waiting], &Order),
        ways: impl IntoIterator<Item = (Way, Vec<Machine>)>,
        rounds: usize,
    ) -> Vec<Tried> {
        let mut tried = Vec::new();
        for (way, bought) in ways {
            let (_, one) = self.stand(ground, of, way, bought, rounds);
            ground.revert();
            // No other way can be better.
            let is_best = one.cost.is_nothing() && !of.1.prefers;
            tried.push(one);
            if is_best {
                break;
            }
        }
        tried
    }

    /// Packs beside machines that are bought already, and again beside those that this buys, until
    /// it buys no other, at most so many times. In the end pods keep the machines that are bought
    /// for them: so will those of the next plan.
    fn stand(
        &self,
        ground: &mut Ground<'_>,
        (waiting, order): (&[Waiting], &Order),
        mut way: Way,
        mut bought: Vec<Machine>,
        rounds: usize,
    ) -> (Vec<Waiting>, Tried) {
        let mut round = 0;
        loop {
            ground.fork();
            let mut all = waiting.to_vec();
            self.go(ground, &mut all, order, way, &bought);
            let mut needed = needed(ground);
            if !way.first_fit {
                needed.sort();
            }
            let is_enough = ground.opened().is_empty();
            let stands = is_enough && !way.anew && needed == bought;
            if stands || round == rounds {
                let (met, _) = preferences(ground, &all);
                let tried = Tried {
                    way,
                    cost: self.cost(&needed, &all),
                    met,
                    bought,
                    needed,
                };
                return (all, tried);
            }
            ground.revert();
            way.anew &= !is_enough || needed.len() != bought.len();
            bought = needed;
            round += 1;
        }
    }

    /// What is left, and what is bought for pods.
    fn cost(&self, needed: &[Machine], all: &[Waiting]) -> Cost {
        let mut cost = Cost {
            left: all.iter().map(|waiting| waiting.left).sum(),
            unpriced: 0,
            price: HourlyPrice::ZERO,
            machines: 0,
        };
        let for_pods = |machine: &&Machine| machine.cause == Cause::PendingPods;
        for machine in needed.iter().filter(for_pods) {
            match self.kinds[machine.kind].price {
                Some(price) => cost.price = cost.price + price,
                None => cost.unpriced += 1,
            }
            cost.machines += 1;
        }
        cost
    }

    /// Places what can be placed, and buys for it, beside machines that are bought already.
    fn go(
        &self,
        ground: &mut Ground<'_>,
        all: &mut [Waiting],
        order: &Order,
        way: Way,
        bought: &[Machine],
    ) {
        for machine in bought {
            let spot = ground.buy(machine.kind, machine.cause);
            if !way.anew {
                ground.spots[spot].promised.clone_from(&machine.promised);
            }
        }
        if !way.keeps_their_order() {
            ground.order_coming(way.largest_first);
        }
        ground.begin_opening();
        let budget = self.budget(bought);
        let (by_rules, free) = order.turns(way);
        let (by_rules, free) = (by_rules.as_slice(), free.as_slice());
        if way.first_fit {
            Promises::of(ground, by_rules).keep(ground, all);
            first_fit::place(ground, all, by_rules, &self.buyable, budget);
            return;
        }
        let mut market = Market::new(ground, &self.buyable, budget, way.choose);
        // What the scheduler does at once; then evenly over all domains that can be had, then over
        // those that are there.
        let mut promises = Promises::of(ground, by_rules);
        promises.keep(ground, all);
        place_all(&mut market, ground, all, by_rules, Reach::Existing);
        promises.keep(ground, all);
        if by_rules.iter().any(|&queue| all[queue].left > 0) {
            let growing: Vec<usize> = self.growing(&market.budget);
            ground.add_outposts(&growing);
            place_all(&mut market, ground, all, by_rules, Reach::Everything);
            ground.remove_outposts();
            place_all(&mut market, ground, all, by_rules, Reach::Everything);
        }
        market.settle(ground);
        free::fill_existing(ground, all, free);
        free::fill_coming(ground, all, free, &self.whole);
        let limits = (&mut market.budget, &self.whole);
        free::buy(ground, all, free, &self.buyable, limits);
    }

    /// The kinds that more can be bought of.
    fn growing(&self, budget: &Budget) -> Vec<usize> {
        let kinds = self.buyable.iter().copied();
        kinds
            .filter(|&kind| budget.left(self.kinds[kind].group) > 0)
            .collect()
    }

    fn note_bounds(&self, ground: &Ground<'_>, all: &[Waiting], report: &mut Report) {
        let mut by_kind: BTreeMap<usize, Vec<(&Resources, u32)>> = BTreeMap::new();
        let mut on_new = vec![0_u32; all.len()];
        for placed in &ground.placed {
            if let Of::Bought {
                kind,
                cause: Cause::PendingPods,
            } = ground.spots[placed.spot].of
            {
                on_new[placed.queue] += placed.count;
                let requests = &all[placed.queue].source.requests;
                by_kind
                    .entry(kind)
                    .or_default()
                    .push((requests, placed.count));
            }
        }
        report.volume_bound = by_kind
            .iter()
            .map(|(kind, requests)| bounds::machines(&self.kinds[*kind].free(), requests))
            .sum();
        let buyable: Vec<&Kind> = self.buyable.iter().map(|&kind| &self.kinds[kind]).collect();
        let classes = all.iter().map(|waiting| waiting.source.as_ref());
        let placed = classes.zip(on_new).filter(|(_, count)| *count > 0);
        report.price_bound = bounds::price(&buyable, placed);
    }

    /// Gives pods their places by name, and says what to buy.
    fn tell(
        &self,
        ground: &Ground<'_>,
        all: &[Waiting],
        queues: &mut [Queue],
        report: &mut Report,
    ) -> Plan {
        let mut steps = Steps::default();
        let mut hosts: Vec<Host> = Vec::with_capacity(ground.spots.len());
        let pods_before = ground.pods_before(all);
        for (spot, pods) in ground.spots.iter().zip(pods_before) {
            let Some(node) = ground.engine.as_node(spot.node) else {
                continue;
            };
            let host = if matches!(spot.of, Of::Existing) {
                Host::Node(node.name)
            } else {
                steps.coming.push(Coming { node, pods });
                Host::Coming(steps.coming.len() - 1)
            };
            hosts.push(host);
        }
        let mut machines: BTreeMap<usize, Vec<PodKey>> = BTreeMap::new();
        for placed in &ground.placed {
            let placement = match &ground.spots[placed.spot].of {
                Of::Existing => match &hosts[placed.spot] {
                    Host::Node(name) => Placement::Existing(name.clone()),
                    Host::Coming(_) => continue,
                },
                Of::InFlight(machine, _) => Placement::InFlight(machine.clone()),
                Of::Bought { kind, .. } => self.placement(*kind),
                Of::Open(open) => self.placement(open.kind),
            };
            for pod in queues[placed.queue].take(placed.count) {
                report.pods.insert(pod.clone(), placement.clone());
                let host = hosts[placed.spot].clone();
                steps.placements.push((pod.clone(), host));
                machines.entry(placed.spot).or_default().push(pod);
            }
        }
        report.steps = steps;
        let mut plan: BTreeMap<(usize, Cause), Create> = BTreeMap::new();
        for (index, spot) in ground.spots.iter().enumerate() {
            let Of::Bought { kind, cause } = spot.of else {
                continue;
            };
            let pods = machines.remove(&index).unwrap_or_default();
            if cause == Cause::PendingPods && pods.is_empty() {
                continue;
            }
            let of = &self.kinds[kind];
            let group = &self.input.groups[of.group];
            let create = plan.entry((kind, cause)).or_insert_with(|| Create {
                group: group.key.clone(),
                offering: group.choices[of.choice].offering.id.clone(),
                count: 0,
                cause,
                price: of.price,
                pods: Vec::new(),
            });
            create.count += 1;
            create.pods.push(if cause == Cause::MinNodes {
                Vec::new()
            } else {
                pods
            });
        }
        // Kinds are ordered by group and offering, so the plan is.
        Plan {
            create: plan.into_values().collect(),
        }
    }

    fn placement(&self, kind: usize) -> Placement {
        let of = &self.kinds[kind];
        let group = &self.input.groups[of.group];
        let offering = &group.choices[of.choice].offering.id;
        Placement::New(group.key.clone(), offering.clone())
    }
}

/// Gives queues turns until nothing more moves: whoever wants to be near pods that come later has
/// another one.
fn place_all<'a>(
    market: &mut Market<'a>,
    ground: &mut Ground<'a>,
    all: &mut [Waiting],
    queues: &[usize],
    reach: Reach,
) {
    let mut before = None;
    loop {
        let left: u32 = queues.iter().map(|&queue| all[queue].left).sum();
        if left == 0 || before == Some(left) {
            break;
        }
        before = Some(left);
        for &queue in queues {
            market.place(ground, all, queue, reach);
        }
    }
}

/// The machines that the plan buys, but those that got no pod.
fn needed(ground: &Ground<'_>) -> Vec<Machine> {
    let mut promised: Vec<BTreeMap<usize, u32>> = vec![BTreeMap::new(); ground.spots.len()];
    for placed in &ground.placed {
        *promised[placed.spot].entry(placed.queue).or_default() += placed.count;
    }
    let machines = ground.spots.iter().zip(promised);
    machines
        .filter_map(|(spot, promised)| match spot.of {
            Of::Bought { kind, cause } if cause == Cause::MinNodes || !promised.is_empty() => {
                Some(Machine {
                    kind,
                    cause,
                    promised: promised.into_iter().collect(),
                })
            }
            _ => None,
        })
        .collect()
}

/// The best of the ways that were tried.
fn best<'t>(order: &Order, tried: &'t [Tried]) -> Option<&'t Tried> {
    let least = tried.iter().map(|one| &one.cost).min()?;
    let worth = if order.prefers { WORTH_PERCENT } else { 0 };
    let is_worth_it = |cost: &Cost| {
        (cost.left, cost.unpriced) == (least.left, least.unpriced)
            && cost.price.times(100) <= least.price.times(100 + worth as usize)
    };
    let kept = tried.iter().filter(|one| is_worth_it(&one.cost));
    kept.min_by(|a, b| b.met.cmp(&a.met).then_with(|| a.cost.cmp(&b.cost)))
}

/// The ways that may be the best once they stand: the best at first sight, and the best that is not
/// first fit, which looks cheaper at first sight than it is.
fn finalists(order: &Order, tried: Vec<Tried>) -> Vec<(Way, Vec<Machine>)> {
    let (first_fit, others): (Vec<Tried>, Vec<Tried>) =
        tried.into_iter().partition(|one| one.way.first_fit);
    let mut finalists = Vec::new();
    if let Some(best) = best(order, &others) {
        finalists.push((best.way, best.needed.clone()));
        let is_cheaper = |one: &&Tried| one.cost < best.cost;
        let first_fit = first_fit.iter().find(is_cheaper);
        finalists.extend(first_fit.map(|one| (one.way, one.needed.clone())));
    }
    if !order.by_rules.is_empty() {
        let anew = finalists.clone().into_iter();
        finalists.extend(anew.map(|(way, needed)| (Way { anew: true, ..way }, needed)));
    }
    finalists
}

/// The weights of the preferences that are met, and of all there are, of the pods placed.
fn preferences(ground: &Ground<'_>, all: &[Waiting]) -> (u64, u64) {
    let (mut met, mut asked) = (0, 0);
    for placed in &ground.placed {
        let (class, node) = (all[placed.queue].class, ground.spots[placed.spot].node);
        let preferred = u64::from(ground.engine.preferred(class));
        if preferred > 0 {
            let count = u64::from(placed.count);
            met += count * u64::from(ground.engine.preference(class, node, true));
            asked += count * preferred;
        }
    }
    (met, asked)
}
