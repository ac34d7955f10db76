//! The steps of one plan: minimums, room that is there, new machines; then the reasons of the rest.
//!
//! Pods that no rule ties to others are packed by counts; the others one after the other by the
//! rules, before them. More than one way is tried on the same ground, and the best one kept. What
//! would be planned once its machines are on their way is planned at once: a plan that is made again
//! meanwhile must find room for every pod.

use std::{collections::BTreeMap, sync::Arc};

use model::{HourlyPrice, Pod, PodKey, Resources};

use scheduling::{ClassId, Snapshot};

use super::{
    Cause, Coming, Create, Host, Input, Placement, Plan, Report, Steps, bounds,
    by_rules::{Choose, Market, Reach, WORTH_PERCENT, Waiting},
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
    /// Machines stay of the kind they were opened as, the cheapest for the pod that opened them.
    rigid: bool,
    /// Machines to come are used the largest first.
    largest_first: bool,
    /// What may go to fewer places comes first, whatever its size.
    tightest_first: bool,
}

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

/// Classes × kinds up to which more than one way is tried…
const LARGE: usize = 1 << 16;
/// …and every one.
const SMALL: usize = 1 << 12;
/// How often a plan is planned again on the machines it buys.
const ROUNDS: usize = 8;

/// A machine that is bought already.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Machine {
    kind: usize,
    cause: Cause,
    /// The pods it is bought for: queues, and how many of each.
    promised: Vec<(usize, u32)>,
}

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
    /// By queue: how freely it may be placed.
    freedom: Vec<Freedom>,
    /// By queue: it wants to be near others.
    follows: Vec<bool>,
    /// Some would rather have something.
    prefers: bool,
}

/// How freely pods may be placed, the least first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Freedom {
    /// Each needs a place of its own.
    Alone,
    /// Some rule goes node by node.
    ByNode,
    /// Some rule goes by larger domains.
    ByDomain,
    /// No rule.
    Free,
}

impl Freedom {
    fn of(engine: &Snapshot, class: ClassId) -> Self {
        if engine.comes_alone(class) {
            return Self::Alone;
        }
        let keys = engine.topology_keys(class);
        match keys.iter().any(|&key| engine.is_hostname(key)) {
            true => Self::ByNode,
            false if keys.is_empty() => Self::Free,
            false => Self::ByDomain,
        }
    }
}

impl Order {
    fn of(ground: &Ground<'_>, all: &[Waiting]) -> Self {
        let engine = &ground.engine;
        let queues: Vec<usize> = (0..all.len()).collect();
        let (free, by_rules) = queues
            .iter()
            .partition(|&&queue| engine.is_independent(all[queue].class));
        let follows = |waiting: &Waiting| {
            !waiting.source.affinity.is_empty() && !engine.may_come_first(waiting.class)
        };
        Self {
            by_rules,
            free,
            all: queues,
            freedom: all
                .iter()
                .map(|waiting| Freedom::of(engine, waiting.class))
                .collect(),
            follows: all.iter().map(follows).collect(),
            prefers: all
                .iter()
                .any(|waiting| engine.preferred(waiting.class) > 0),
        }
    }

    /// Something is not a matter of counts alone.
    fn is_tied(&self) -> bool {
        self.prefers || !self.by_rules.is_empty()
    }

    /// Those that are placed by the rules, as they take turns; the others by counts.
    fn turns(&self, way: Way) -> (Vec<usize>, &[usize]) {
        let (mut by_rules, free) = if way.all_by_rules {
            (self.all.clone(), &[][..])
        } else {
            (self.by_rules.clone(), self.free.as_slice())
        };
        by_rules.sort_by_key(|&queue| {
            let freedom = way.tightest_first.then_some(self.freedom[queue]);
            (self.follows[queue], freedom)
        });
        (by_rules, free)
    }
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
        let mut bought = self.minimums();
        let ways = ways(&order, waiting.len() * self.kinds.len());
        let (mut all, way) = self.pack(&mut ground, &waiting, &order, &ways, &bought);
        if order.is_tied() {
            // Once more with what is bought on its way, until nothing has to be added.
            for _ in 0..ROUNDS {
                let needed = needed(&ground);
                if ground.opened().is_empty() && needed == bought {
                    break;
                }
                bought = needed;
                ground.revert();
                (all, _) = self.pack(&mut ground, &waiting, &order, &[way], &bought);
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

    /// Packs in the way that is best, beside machines that are bought already: most pods placed,
    /// lowest price, within what they are worth the most preferences met, fewest machines.
    fn pack(
        &self,
        ground: &mut Ground<'_>,
        waiting: &[Waiting],
        order: &Order,
        ways: &[Way],
        bought: &[Machine],
    ) -> (Vec<Waiting>, Way) {
        let mut tried: Vec<(Way, Cost, u64)> = Vec::new();
        for &way in ways {
            let mut all = waiting.to_vec();
            ground.fork();
            self.go(ground, &mut all, order, way, bought);
            let cost = cost(ground, &all);
            // There is no other way, or none can be better.
            if ways.len() == 1 || (cost.is_nothing() && !order.prefers) {
                return (all, way);
            }
            let (met, _) = preferences(ground, &all);
            tried.push((way, cost, met));
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
        let best = tried
            .iter()
            .filter(|(_, cost, _)| is_worth_it(cost))
            .min_by(|(_, a, a_met), (_, b, b_met)| b_met.cmp(a_met).then_with(|| a.cmp(b)));
        let mut all = waiting.to_vec();
        ground.fork();
        let way = best.map_or(ways[0], |(way, ..)| *way);
        self.go(ground, &mut all, order, way, bought);
        (all, way)
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
            ground.spots[spot].promised.clone_from(&machine.promised);
        }
        ground.order_coming(way.largest_first);
        ground.begin_opening();
        let budget = self.budget(bought);
        let mut market = Market::new(ground, &self.buyable, budget, (way.choose, way.rigid));
        let (by_rules, free) = order.turns(way);
        let by_rules = by_rules.as_slice();
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

/// The ways worth trying, the likeliest first.
fn ways(order: &Order, effort: usize) -> Vec<Way> {
    let plain = Way {
        all_by_rules: false,
        choose: Choose::Cheapest,
        rigid: false,
        largest_first: false,
        tightest_first: true,
    };
    if !order.is_tied() {
        return vec![plain];
    }
    let all_by_rules = Way {
        all_by_rules: true,
        ..plain
    };
    if effort > LARGE {
        return vec![all_by_rules];
    }
    let mut ways = vec![all_by_rules];
    if !order.free.is_empty() {
        ways.push(plain);
    }
    let by_pod = |way: &Way| Way {
        choose: Choose::ByPod,
        ..*way
    };
    ways.extend(ways.clone().iter().map(by_pod));
    // First fit, decreasing: nothing is to cost more than that.
    ways.push(Way {
        rigid: true,
        tightest_first: false,
        ..all_by_rules
    });
    if effort <= SMALL {
        for change in [
            |way: &Way| Way {
                tightest_first: false,
                ..*way
            },
            |way: &Way| Way {
                largest_first: true,
                ..*way
            },
        ] {
            ways.extend(ways.clone().iter().map(change));
        }
    }
    ways
}

/// Pods on the machines that were bought for them: (spot, queue, count).
struct Promises(Vec<(usize, usize, u32)>);

impl Promises {
    /// In the order in which the queues take turns, as the pods were placed that are promised.
    fn of(ground: &Ground<'_>, turns: &[usize]) -> Self {
        let mut rank = vec![usize::MAX; ground.queues];
        for (turn, &queue) in turns.iter().enumerate() {
            rank[queue] = turn;
        }
        let spots = ground.spots.iter().enumerate();
        let promises = spots.flat_map(|(index, spot)| {
            let promised = spot.promised.iter();
            promised.map(move |&(queue, count)| (index, queue, count))
        });
        let mut promises: Vec<(usize, usize, u32)> = promises.collect();
        promises.sort_by_key(|&(spot, queue, _)| (rank[queue], spot));
        Self(promises)
    }

    /// Puts pods there as far as they still fit. Rules between pods may ask for another order than
    /// that of the machines.
    fn keep(&mut self, ground: &mut Ground<'_>, all: &mut [Waiting]) {
        loop {
            let mut moved = false;
            self.0.retain_mut(|(spot, queue, promised)| {
                let Waiting { class, left, .. } = all[*queue];
                let source = Arc::clone(&all[*queue].source);
                let count = ground.how_many(class, &source, *spot, left.min(*promised));
                if count > 0 {
                    ground.place((*queue, class), &source, *spot, count);
                    all[*queue].left -= count;
                    *promised -= count;
                    moved = true;
                }
                *promised > 0 && all[*queue].left > 0
            });
            if !moved {
                break;
            }
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
    let mut machines: Vec<Machine> = machines
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
        .collect();
    machines.sort();
    machines
}

/// What is left, and what was bought in this try.
fn cost(ground: &Ground<'_>, all: &[Waiting]) -> Cost {
    let mut cost = Cost {
        left: all.iter().map(|waiting| waiting.left).sum(),
        unpriced: 0,
        price: HourlyPrice::ZERO,
        machines: 0,
    };
    for spot in &ground.spots[ground.opened()] {
        let Of::Bought { kind, .. } = spot.of else {
            continue;
        };
        match ground.kinds[kind].price {
            Some(price) => cost.price = cost.price + price,
            None => cost.unpriced += 1,
        }
        cost.machines += 1;
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
