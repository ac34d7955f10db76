//! The steps of one plan: minimums, room that is there, new machines; then the reasons of the rest.
//!
//! Pods that no rule ties to others are packed by counts; the others one after the other by the
//! rules, before them. More than one way is tried on the same ground, and the best one kept. What
//! would be planned once its machines are on their way is planned at once: a plan that is made again
//! meanwhile must find room for every pod.

use std::{collections::BTreeMap, sync::Arc};

use model::{HourlyPrice, Pod, PodKey, Resources};

use super::{
    Cause, Coming, Create, Host, Input, Placement, Plan, Report, Steps, bounds,
    by_rules::{Choose, Market, WORTH_PERCENT, Waiting},
    free,
    ground::{Ground, Of},
    kinds::{self, Budget, Kind},
    queue::{Queue, queues},
    refusals,
};
/// A way of packing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Way {
    /// Everything by the rules, also what no rule ties.
    all_by_rules: bool,
    choose: Choose,
}

/// What a way comes to, in the order in which ways are judged.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Cost {
    left: u32,
    unpriced: u32,
    price: HourlyPrice,
    machines: u32,
}

/// Pods up to which every way is tried.
const FEW_PODS: u32 = 25_000;
/// How often a plan is planned again on the machines it buys.
const ROUNDS: usize = 4;

/// Machines bought so far, by kind and cause.
type Bought = BTreeMap<(usize, Cause), u32>;

struct Packing<'a> {
    input: &'a Input,
    kinds: &'a [Kind],
    /// Component by component the largest machine that can be bought.
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

/// In which order queues take turns: indices.
struct Order {
    /// Those that are placed by the rules.
    by_rules: Vec<usize>,
    /// The others.
    free: Vec<usize>,
    /// All of them.
    all: Vec<usize>,
    /// Some would rather have something.
    prefers: bool,
}

impl Order {
    /// What needs a place of its own comes first, what wants to be near others last; else the
    /// largest first, as the queues come.
    fn of(ground: &Ground<'_>, all: &[Waiting]) -> Self {
        let engine = &ground.engine;
        let mut order: Vec<usize> = (0..all.len()).collect();
        order.sort_by_key(|&queue| {
            let Waiting { class, source, .. } = &all[queue];
            let follows = !source.affinity.is_empty() && !engine.may_come_first(*class);
            (follows, !engine.comes_alone(*class))
        });
        let (free, by_rules) = order
            .iter()
            .partition(|&&queue| engine.is_independent(all[queue].class));
        Self {
            by_rules,
            free,
            all: order,
            prefers: all
                .iter()
                .any(|waiting| engine.preferred(waiting.class) > 0),
        }
    }
}

impl Packing<'_> {
    fn plan(&self, pending: &[Arc<Pod>], report: &mut Report) -> Plan {
        let mut queues = queues(pending, &self.whole);
        let mut ground = Ground::new(self.input, self.kinds);
        let waiting: Vec<Waiting> = queues
            .iter()
            .map(|queue| Waiting {
                class: ground.engine.class(&queue.class),
                source: Arc::clone(&queue.class),
                left: queue.waiting(),
            })
            .collect();
        let order = Order::of(&ground, &waiting);
        let minimums = self.minimums();
        let way = self.best_way(&mut ground, &waiting, &order, &minimums);
        let mut all = waiting.clone();
        ground.fork();
        self.go(&mut ground, &mut all, &order, way, &minimums);
        if !order.by_rules.is_empty() || way.all_by_rules {
            // Once more with what is bought on its way, until it is all that is needed.
            let mut bought = minimums;
            for _ in 0..ROUNDS {
                let needed = needed(&ground);
                if needed == bought {
                    break;
                }
                bought = needed;
                ground.revert();
                ground.fork();
                all.clone_from(&waiting);
                self.go(&mut ground, &mut all, &order, way, &bought);
            }
        }
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
    fn minimums(&self) -> Bought {
        let mut bought = Bought::new();
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
            if let Some(kind) = cheapest.filter(|_| count > 0) {
                budget.spend(index, count);
                bought.insert((kind, Cause::MinNodes), count);
            }
        }
        bought
    }

    /// What may be bought beside this.
    fn budget(&self, bought: &Bought) -> Budget {
        let mut budget = Budget::new(self.input);
        for ((kind, _), count) in bought {
            budget.spend(self.kinds[*kind].group, *count);
        }
        budget
    }

    /// The way that is best: most pods placed, lowest price, within what they are worth the most
    /// preferences met, fewest machines.
    fn best_way(
        &self,
        ground: &mut Ground<'_>,
        waiting: &[Waiting],
        order: &Order,
        minimums: &Bought,
    ) -> Way {
        let ways = ways(order, waiting);
        let mut tried: Vec<(Way, Cost, u64)> = Vec::new();
        for &way in ways.iter().filter(|_| ways.len() > 1) {
            let mut all = waiting.to_vec();
            ground.fork();
            self.go(ground, &mut all, order, way, minimums);
            let (met, _) = preferences(ground, &all);
            tried.push((way, cost(ground, &all), met));
            ground.revert();
        }
        let least = tried.iter().map(|(_, cost, _)| cost).min().cloned();
        let worth = if order.prefers { WORTH_PERCENT } else { 0 };
        let is_worth_it = |cost: &Cost| {
            least.as_ref().is_some_and(|least| {
                (cost.left, cost.unpriced) == (least.left, least.unpriced)
                    && cost.price.times(100) <= least.price.times(100 + worth as usize)
            })
        };
        tried
            .iter()
            .filter(|(_, cost, _)| is_worth_it(cost))
            .min_by(|(_, a, a_met), (_, b, b_met)| b_met.cmp(a_met).then_with(|| a.cmp(b)))
            .map_or(ways[0], |(way, ..)| *way)
    }

    /// Places what can be placed, and buys for it, beside machines that are bought already.
    fn go(
        &self,
        ground: &mut Ground<'_>,
        all: &mut [Waiting],
        order: &Order,
        way: Way,
        bought: &Bought,
    ) {
        for (&(kind, cause), &count) in bought {
            for _ in 0..count {
                ground.buy(kind, cause);
            }
        }
        ground.order_coming();
        let budget = self.budget(bought);
        let mut market = Market::new(ground, &self.buyable, budget, way.choose);
        let (by_rules, free) = if way.all_by_rules {
            (&order.all, &[][..])
        } else {
            (&order.by_rules, order.free.as_slice())
        };
        // Whoever wants to be near pods that come later has another turn.
        let mut before = None;
        loop {
            let left: u32 = by_rules.iter().map(|&queue| all[queue].left).sum();
            if left == 0 || before == Some(left) {
                break;
            }
            before = Some(left);
            for &queue in by_rules {
                market.place(ground, all, queue);
            }
        }
        market.settle(ground, all);
        free::fill_existing(ground, all, free);
        free::fill_coming(ground, all, free, &self.whole);
        let limits = (&mut market.budget, &self.whole);
        free::buy(ground, all, free, &self.buyable, limits);
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

/// The ways worth trying.
fn ways(order: &Order, waiting: &[Waiting]) -> Vec<Way> {
    let way = |all_by_rules, choose| Way {
        all_by_rules,
        choose,
    };
    if order.by_rules.is_empty() && !order.prefers {
        return vec![way(false, Choose::Cheapest)];
    }
    let pods = waiting
        .iter()
        .fold(0_u32, |sum, waiting| sum.saturating_add(waiting.left));
    if pods > FEW_PODS {
        return vec![way(true, Choose::Cheapest)];
    }
    let mut ways = Vec::new();
    if !order.free.is_empty() {
        ways.push(way(false, Choose::Cheapest));
        if !order.by_rules.is_empty() {
            ways.push(way(false, Choose::ByPod));
        }
    }
    ways.extend([way(true, Choose::Cheapest), way(true, Choose::ByPod)]);
    ways
}

/// The machines that the plan buys, but those that got no pod.
fn needed(ground: &Ground<'_>) -> Bought {
    let mut used = vec![false; ground.spots.len()];
    for placed in &ground.placed {
        used[placed.spot] = true;
    }
    let mut bought = Bought::new();
    for (spot, used) in ground.spots.iter().zip(used) {
        if let Of::Bought { kind, cause } = spot.of
            && (used || cause == Cause::MinNodes)
        {
            *bought.entry((kind, cause)).or_default() += 1;
        }
    }
    bought
}

fn cost(ground: &Ground<'_>, all: &[Waiting]) -> Cost {
    let mut cost = Cost {
        left: all.iter().map(|waiting| waiting.left).sum(),
        unpriced: 0,
        price: HourlyPrice::ZERO,
        machines: 0,
    };
    for ((kind, _), count) in needed(ground) {
        match ground.kinds[kind].price {
            Some(price) => cost.price = cost.price + price.times(count as usize),
            None => cost.unpriced += count,
        }
        cost.machines += count;
    }
    cost
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
