//! Placing pods: onto what is there, onto what is on its way, onto new machines.
//!
//! Equal pods are placed in one step per node. New machines are chosen greedily: of all groups and
//! offerings, the one that places what is left at the lowest price per share of the work; the
//! same machine is bought as often as it fills up in the same way. Ties: less waste, the preferred
//! type, fewer machines, the name.

use std::{cmp::Ordering, collections::BTreeMap, sync::Arc};

use model::{HourlyPrice, Node, NodeName, NodeState, Pod, PodKey, Resources, SchedulingClass};

use super::{Cause, Choice, Create, Group, Input, Placement, Plan, Report, template};
use crate::reason::{GroupReason, GroupRefusal, PodReason};

/// Pods that can take each other's place.
struct Queue {
    class: Arc<SchedulingClass>,
    /// Sorted; taken from the end.
    pods: Vec<PodKey>,
}

/// Where a node of the packing came from.
enum Origin {
    Existing,
    InFlight(String),
    New { group: usize, choice: usize },
}

struct Bin {
    state: NodeState,
    origin: Origin,
}

struct Bought {
    group: usize,
    choice: usize,
    cause: Cause,
    pods: Vec<PodKey>,
}

/// A kind of machine that can be bought, with what DaemonSets take of it.
struct Kind {
    group: usize,
    choice: usize,
    empty: NodeState,
    price: Option<HourlyPrice>,
}

pub(super) struct Packing<'a> {
    input: &'a Input,
    bins: Vec<Bin>,
    bought: Vec<Bought>,
    kinds: Vec<Kind>,
}

impl<'a> Packing<'a> {
    pub(super) fn new(input: &'a Input) -> Self {
        let mut packing = Self {
            input,
            bins: Vec::new(),
            bought: Vec::new(),
            kinds: Vec::new(),
        };
        packing.add_existing();
        packing.add_in_flight();
        packing.add_kinds();
        packing
    }

    /// Nodes that are there. A joined node of a machine that does not serve yet is planned with
    /// as its template: its taints and readiness are about to change.
    fn add_existing(&mut self) {
        let joining: Vec<&NodeName> = self
            .input
            .groups
            .iter()
            .flat_map(|group| group.in_flight.iter().filter_map(|m| m.node.as_ref()))
            .collect();
        for state in self.input.snapshot.nodes() {
            let node = &state.node;
            let usable =
                node.ready && node.defect.is_none() && !self.input.leaving.contains(&node.name);
            if usable && !joining.contains(&&node.name) {
                self.bins.push(Bin {
                    state: state.clone(),
                    origin: Origin::Existing,
                });
            }
        }
    }

    fn add_in_flight(&mut self) {
        for group in &self.input.groups {
            for machine in &group.in_flight {
                let Some(choice) = group
                    .choices
                    .iter()
                    .find(|choice| choice.offering.id == machine.offering)
                else {
                    continue;
                };
                let name = machine
                    .node
                    .as_ref()
                    .map_or(machine.machine.as_str(), NodeName::as_str);
                let node = template(group, choice, &self.input.limits.reserve, name);
                self.bins.push(Bin {
                    state: self.with_daemon_sets(node),
                    origin: Origin::InFlight(machine.machine.clone()),
                });
            }
        }
    }

    fn add_kinds(&mut self) {
        for (group_index, group) in self.input.groups.iter().enumerate() {
            for (choice_index, choice) in group.choices.iter().enumerate() {
                let name = format!("new-{}-{}", group.key.name, choice.offering.id);
                let node = template(group, choice, &self.input.limits.reserve, &name);
                self.kinds.push(Kind {
                    group: group_index,
                    choice: choice_index,
                    empty: self.with_daemon_sets(node),
                    price: choice.offering.price,
                });
            }
        }
    }

    /// DaemonSet pods take their room before anything else does.
    fn with_daemon_sets(&self, node: Node) -> NodeState {
        let mut state = NodeState::empty(node);
        for class in &self.input.daemon_sets {
            if scheduling::admits(class, &state.node) {
                state.requested.add(&class.requests);
            }
        }
        state
    }

    /// Buys what the minimums ask for, of each group's cheapest offering.
    pub(super) fn reach_minimums(&mut self) {
        for index in 0..self.input.groups.len() {
            let group = &self.input.groups[index];
            for _ in group.serving..group.min_nodes {
                let affordable = self
                    .kinds
                    .iter()
                    .filter(|kind| kind.group == index)
                    .filter(|kind| self.refusal(kind, true).is_none())
                    .min_by(|a, b| self.by_price(a, b));
                let Some(kind) = affordable else { break };
                let (choice, state) = (kind.choice, kind.empty.clone());
                self.buy(index, choice, state, Cause::MinNodes, Vec::new());
            }
        }
    }

    fn by_price(&self, a: &Kind, b: &Kind) -> Ordering {
        compare_price(a.price, b.price)
            .then_with(|| self.preferred(b).cmp(&self.preferred(a)))
            .then_with(|| self.name(a).cmp(&self.name(b)))
    }

    fn choice(&self, kind: &Kind) -> &'a Choice {
        &self.input.groups[kind.group].choices[kind.choice]
    }

    fn preferred(&self, kind: &Kind) -> bool {
        self.input.groups[kind.group].preferred.as_ref() == Some(&self.choice(kind).offering.id)
    }

    fn name(&self, kind: &Kind) -> (&'a str, &'a str, &'a str) {
        let key = &self.input.groups[kind.group].key;
        (
            &key.namespace,
            &key.name,
            self.choice(kind).offering.id.as_str(),
        )
    }

    /// Why no machine of this kind may be bought now.
    fn refusal(&self, kind: &Kind, for_minimum: bool) -> Option<GroupRefusal> {
        let group = &self.input.groups[kind.group];
        if let Some(detail) = &group.invalid {
            return Some(GroupRefusal::Invalid {
                detail: detail.clone(),
            });
        }
        if group.deleting {
            return Some(GroupRefusal::Deleting);
        }
        if !group.enabled && !for_minimum {
            return Some(GroupRefusal::ScaleUpDisabled);
        }
        if let Some((until, reason)) = &self.choice(kind).backoff
            && *until > self.input.now
        {
            return Some(GroupRefusal::BackingOff {
                reason: reason.clone(),
                until: *until,
            });
        }
        if group.existing + self.bought_by(kind.group) >= group.max_nodes {
            return Some(GroupRefusal::MaxNodesReached {
                max_nodes: group.max_nodes,
            });
        }
        let existing: u32 = self.input.groups.iter().map(|group| group.existing).sum();
        let bought = u32::try_from(self.bought.len()).unwrap_or(u32::MAX);
        match self.input.limits.max_workers {
            Some(max_workers) if existing + bought >= max_workers => {
                Some(GroupRefusal::ClusterLimitReached { max_workers })
            }
            _ => None,
        }
    }

    fn bought_by(&self, group: usize) -> u32 {
        let count = self.bought.iter().filter(|b| b.group == group).count();
        u32::try_from(count).unwrap_or(u32::MAX)
    }

    fn buy(
        &mut self,
        group: usize,
        choice: usize,
        state: NodeState,
        cause: Cause,
        pods: Vec<PodKey>,
    ) {
        self.bins.push(Bin {
            state,
            origin: Origin::New { group, choice },
        });
        self.bought.push(Bought {
            group,
            choice,
            cause,
            pods,
        });
    }

    pub(super) fn place(&mut self, pending: &[Arc<Pod>], report: &mut Report) {
        let mut queues = self.queues(pending);
        self.fill_present(&mut queues, report);
        report.volume_bound = self.volume_bound(&queues);
        while queues.iter().any(|queue| !queue.pods.is_empty()) {
            let Some((kind, filled)) = self.best(&queues) else {
                break;
            };
            // The same machine again and again, as long as it is filled in the same way.
            loop {
                self.take(&mut queues, kind, &filled, report);
                let again = fill(&self.kinds[kind].empty, &queues);
                if again.counts != filled.counts || self.refusal(&self.kinds[kind], false).is_some()
                {
                    break;
                }
            }
        }
        for queue in &queues {
            if queue.pods.is_empty() {
                continue;
            }
            let reason = self.explain(&queue.class, report);
            for pod in &queue.pods {
                report
                    .pods
                    .insert(pod.clone(), Placement::Left(reason.clone()));
            }
        }
    }

    /// Equal pods together, the hardest to place first.
    fn queues(&self, pending: &[Arc<Pod>]) -> Vec<Queue> {
        let mut by_class: BTreeMap<Arc<SchedulingClass>, Vec<PodKey>> = BTreeMap::new();
        for pod in pending {
            by_class
                .entry(Arc::clone(&pod.class))
                .or_default()
                .push(pod.key.clone());
        }
        let whole = self.largest();
        let mut queues: Vec<Queue> = by_class
            .into_iter()
            .map(|(class, mut pods)| {
                pods.sort_by(|a, b| b.cmp(a));
                Queue { class, pods }
            })
            .collect();
        queues.sort_by_key(|queue| {
            (
                std::cmp::Reverse(queue.class.requests.dominant_share(&whole)),
                Arc::clone(&queue.class),
            )
        });
        queues
    }

    fn largest(&self) -> Resources {
        let mut whole = Resources::default();
        for kind in &self.kinds {
            whole.raise_to(&kind.empty.free());
        }
        whole
    }

    fn fill_present(&mut self, queues: &mut [Queue], report: &mut Report) {
        for queue in queues {
            for bin in &mut self.bins {
                while !queue.pods.is_empty()
                    && scheduling::fits(&queue.class, &bin.state.node, &bin.state.requested)
                {
                    let Some(pod) = queue.pods.pop() else { break };
                    bin.state.requested.add(&queue.class.requests);
                    let placement = match &bin.origin {
                        Origin::Existing => Placement::Existing(bin.state.node.name.clone()),
                        Origin::InFlight(machine) => Placement::InFlight(machine.clone()),
                        Origin::New { group, choice } => {
                            let group = &self.input.groups[*group];
                            Placement::New(
                                group.key.clone(),
                                group.choices[*choice].offering.id.clone(),
                            )
                        }
                    };
                    report.pods.insert(pod, placement);
                }
                if queue.pods.is_empty() {
                    break;
                }
            }
        }
    }

    /// The kind that places most for its price, and what it takes.
    fn best(&self, queues: &[Queue]) -> Option<(usize, Filled)> {
        let whole = self.largest();
        let mut best: Option<(usize, Filled)> = None;
        for (index, kind) in self.kinds.iter().enumerate() {
            if self.refusal(kind, false).is_some() {
                continue;
            }
            let filled = fill(&kind.empty, queues);
            if filled.pods == 0 {
                continue;
            }
            let better = best.as_ref().is_none_or(|(other, other_filled)| {
                let other = &self.kinds[*other];
                // Price for the same work: price_a × work_b against price_b × work_a.
                let (work_a, work_b) = (filled.work(&whole), other_filled.work(&whole));
                let cost = match (kind.price, other.price) {
                    (Some(a), Some(b)) => (a.amount() * rust_decimal::Decimal::from(work_b))
                        .cmp(&(b.amount() * rust_decimal::Decimal::from(work_a))),
                    (a, b) => compare_price(a, b).then(work_b.cmp(&work_a)),
                };
                cost.then_with(|| {
                    waste(&kind.empty, &filled).cmp(&waste(&other.empty, other_filled))
                })
                .then_with(|| self.preferred(other).cmp(&self.preferred(kind)))
                .then_with(|| other_filled.pods.cmp(&filled.pods))
                .then_with(|| self.name(kind).cmp(&self.name(other)))
                    == Ordering::Less
            });
            if better {
                best = Some((index, filled));
            }
        }
        best
    }

    fn take(&mut self, queues: &mut [Queue], kind: usize, filled: &Filled, report: &mut Report) {
        let (group, choice) = (self.kinds[kind].group, self.kinds[kind].choice);
        let mut state = self.kinds[kind].empty.clone();
        let key = self.input.groups[group].key.clone();
        let offering = self.input.groups[group].choices[choice].offering.id.clone();
        let mut pods = Vec::new();
        for (queue, count) in queues.iter_mut().zip(&filled.counts) {
            for _ in 0..*count {
                let Some(pod) = queue.pods.pop() else { break };
                state.requested.add(&queue.class.requests);
                report
                    .pods
                    .insert(pod.clone(), Placement::New(key.clone(), offering.clone()));
                pods.push(pod);
            }
        }
        self.buy(group, choice, state, Cause::PendingPods, pods);
    }

    /// Why pods of `class` are left, group by group.
    fn explain(&self, class: &SchedulingClass, report: &mut Report) -> PodReason {
        if self.input.groups.is_empty() {
            return PodReason::NoNodeGroup;
        }
        let mut groups: Vec<GroupReason> = Vec::new();
        for (index, group) in self.input.groups.iter().enumerate() {
            if group.choices.is_empty() {
                groups.push(GroupReason {
                    group: group.key.clone(),
                    offering: None,
                    refusal: no_choice(group),
                });
            }
            for kind in self.kinds.iter().filter(|kind| kind.group == index) {
                let failures = scheduling::failures(class, &kind.empty.node, &kind.empty.requested);
                let refusal = if failures.is_empty() {
                    self.refusal(kind, false)
                } else {
                    Some(GroupRefusal::Filters(failures))
                };
                let Some(refusal) = refusal else { continue };
                if let GroupRefusal::BackingOff { until, .. } = &refusal {
                    report.look_again_at =
                        Some(report.look_again_at.map_or(*until, |at| at.min(*until)));
                }
                groups.push(GroupReason {
                    group: group.key.clone(),
                    offering: Some(self.choice(kind).offering.id.clone()),
                    refusal,
                });
            }
        }
        PodReason::NoNodeGroupFits { groups }
    }

    fn volume_bound(&self, queues: &[Queue]) -> u32 {
        let whole = self.largest();
        let mut sum = Resources::default();
        for queue in queues {
            let placeable = self.kinds.iter().any(|kind| {
                scheduling::fits(&queue.class, &kind.empty.node, &kind.empty.requested)
            });
            if placeable {
                for _ in &queue.pods {
                    sum.add(&queue.class.requests);
                }
            }
        }
        let share = sum.dominant_share(&whole);
        u32::try_from(share.saturating_add(999_999) / 1_000_000).unwrap_or(u32::MAX)
    }

    pub(super) fn into_plan(self) -> Plan {
        let mut plan: BTreeMap<(usize, usize, Cause), Create> = BTreeMap::new();
        for bought in self.bought {
            let group = &self.input.groups[bought.group];
            let offering = &group.choices[bought.choice].offering;
            let create = plan
                .entry((bought.group, bought.choice, bought.cause))
                .or_insert_with(|| Create {
                    group: group.key.clone(),
                    offering: offering.id.clone(),
                    count: 0,
                    cause: bought.cause,
                    price: offering.price,
                    pods: Vec::new(),
                });
            create.count += 1;
            create.pods.push(bought.pods);
        }
        let mut create: Vec<Create> = plan.into_values().collect();
        create.sort_by(|a, b| {
            (&a.group, &a.offering, a.cause).cmp(&(&b.group, &b.offering, b.cause))
        });
        Plan { create }
    }
}

fn no_choice(group: &Group) -> GroupRefusal {
    GroupRefusal::Invalid {
        detail: group
            .invalid
            .clone()
            .unwrap_or_else(|| "it may buy no offering".into()),
    }
}

/// Known prices before unknown ones.
fn compare_price(a: Option<HourlyPrice>, b: Option<HourlyPrice>) -> Ordering {
    match (a, b) {
        (Some(a), Some(b)) => a.cmp(&b),
        (Some(_), None) => Ordering::Less,
        (None, Some(_)) => Ordering::Greater,
        (None, None) => Ordering::Equal,
    }
}

/// What one machine takes from the queues.
#[derive(PartialEq, Eq)]
struct Filled {
    counts: Vec<u32>,
    pods: u32,
    sum: Resources,
}

impl Filled {
    /// How much work that is: the dominant share of the largest machine, in millionths, at least
    /// one per pod so that pods without requests count too.
    fn work(&self, whole: &Resources) -> i64 {
        self.sum.dominant_share(whole).max(i64::from(self.pods))
    }
}

fn fill(empty: &NodeState, queues: &[Queue]) -> Filled {
    let mut requested = empty.requested.clone();
    let mut filled = Filled {
        counts: Vec::with_capacity(queues.len()),
        pods: 0,
        sum: Resources::default(),
    };
    for queue in queues {
        let mut count = 0;
        if !queue.pods.is_empty() && scheduling::admits(&queue.class, &empty.node) {
            let most = u32::try_from(queue.pods.len()).unwrap_or(u32::MAX);
            while count < most && scheduling::fits(&queue.class, &empty.node, &requested) {
                requested.add(&queue.class.requests);
                filled.sum.add(&queue.class.requests);
                count += 1;
            }
        }
        filled.pods += count;
        filled.counts.push(count);
    }
    filled
}

/// The mean of the unused shares of CPU and memory, in millionths.
fn waste(empty: &NodeState, filled: &Filled) -> i64 {
    let has = &empty.node.shape.allocatable;
    let share = |used: i64, has: i64| {
        if has <= 0 {
            0
        } else {
            1_000_000 - used.saturating_mul(1_000_000) / has
        }
    };
    i64::midpoint(
        share(filled.sum.cpu_milli, has.cpu_milli),
        share(filled.sum.memory >> 10, has.memory >> 10),
    )
}
