//! The steps of one plan: minimums, room that is there, new machines; then the reasons of the rest.

use std::{collections::BTreeMap, sync::Arc};

use model::{Pod, PodKey, Resources, SchedulingClass};

use super::{
    Cause, Create, Input, Placement, Plan, Report, bounds,
    kinds::{self, Budget, Kind},
    queue::{Queue, queues},
    room::Room,
    search::Search,
};
use crate::reason::{GroupReason, GroupRefusal, PodReason};

/// One new machine.
struct Bought {
    kind: usize,
    cause: Cause,
    pods: Vec<PodKey>,
}

pub(super) struct Packing<'a> {
    input: &'a Input,
    kinds: Vec<Kind>,
    /// Component by component the largest machine that can be bought.
    whole: Resources,
    budget: Budget,
    room: Room,
    bought: Vec<Bought>,
}

impl<'a> Packing<'a> {
    pub(super) fn new(input: &'a Input) -> Self {
        let kinds = kinds::kinds(input);
        let mut whole = Resources::default();
        for kind in &kinds {
            whole.raise_to(&kind.free());
        }
        Self {
            input,
            kinds,
            whole,
            budget: Budget::new(input),
            room: Room::new(input),
            bought: Vec::new(),
        }
    }

    fn placement(&self, kind: &Kind) -> Placement {
        let group = &self.input.groups[kind.group];
        let offering = &group.choices[kind.choice].offering.id;
        Placement::New(group.key.clone(), offering.clone())
    }

    fn barred(&self, kind: &Kind, for_minimum: bool) -> Option<GroupRefusal> {
        let group = &self.input.groups[kind.group];
        kinds::barred(self.input, group, &group.choices[kind.choice], for_minimum)
    }

    /// Buys what the minimums ask for, of each group's cheapest offering.
    pub(super) fn reach_minimums(&mut self) {
        for (index, group) in self.input.groups.iter().enumerate() {
            let wanted = group.min_nodes.saturating_sub(group.serving);
            let count = wanted.min(self.budget.left(index));
            let cheapest = (0..self.kinds.len())
                .filter(|&kind| self.kinds[kind].group == index)
                .filter(|&kind| self.barred(&self.kinds[kind], true).is_none())
                .min_by(|&a, &b| {
                    let (a_kind, b_kind) = (&self.kinds[a], &self.kinds[b]);
                    kinds::compare_price(a_kind.price, b_kind.price)
                        .then(b_kind.preferred.cmp(&a_kind.preferred))
                        .then(a.cmp(&b))
                });
            let Some(kind) = cheapest else { continue };
            self.budget.spend(index, count);
            for _ in 0..count {
                let placement = self.placement(&self.kinds[kind]);
                self.room.add_new(&self.kinds[kind], placement);
                self.bought.push(Bought {
                    kind,
                    cause: Cause::MinNodes,
                    pods: Vec::new(),
                });
            }
        }
    }

    pub(super) fn place(&mut self, pending: &[Arc<Pod>], report: &mut Report) {
        let mut queues = queues(pending, &self.whole);
        self.room.fill(&mut queues, &self.whole, report);
        queues.retain(|queue| !queue.pods.is_empty());
        self.buy(&mut queues, report);
        for queue in queues.iter().filter(|queue| !queue.pods.is_empty()) {
            let reason = self.explain(&queue.class, report);
            for pod in &queue.pods {
                report
                    .pods
                    .insert(pod.clone(), Placement::Left(reason.clone()));
            }
        }
    }

    /// New machines for what is left.
    fn buy(&mut self, queues: &mut [Queue], report: &mut Report) {
        let buyable: Vec<usize> = (0..self.kinds.len())
            .filter(|&kind| self.budget.left(self.kinds[kind].group) > 0)
            .filter(|&kind| self.barred(&self.kinds[kind], false).is_none())
            .collect();
        let waiting: Vec<u32> = queues.iter().map(Queue::waiting).collect();
        let classes: Vec<Arc<SchedulingClass>> = queues
            .iter()
            .map(|queue| Arc::clone(&queue.class))
            .collect();
        let steps = Search::new(classes.iter().collect(), &self.kinds, &buyable, &self.whole)
            .buy(&waiting, &self.budget);

        let mut placed = vec![0_u32; classes.len()];
        let mut by_kind: BTreeMap<usize, Vec<(&Resources, u32)>> = BTreeMap::new();
        for step in &steps {
            let kind = &self.kinds[step.kind];
            let placement = self.placement(kind);
            for (class, count) in &step.counts {
                placed[*class] += count * step.times;
                by_kind
                    .entry(step.kind)
                    .or_default()
                    .push((&classes[*class].requests, count * step.times));
            }
            for _ in 0..step.times {
                let mut pods = Vec::new();
                for (class, count) in &step.counts {
                    for pod in queues[*class].take(*count) {
                        report.pods.insert(pod.clone(), placement.clone());
                        pods.push(pod);
                    }
                }
                self.bought.push(Bought {
                    kind: step.kind,
                    cause: Cause::PendingPods,
                    pods,
                });
            }
            self.budget.spend(kind.group, step.times);
        }
        report.volume_bound = by_kind
            .iter()
            .map(|(kind, requests)| bounds::machines(&self.kinds[*kind].free(), requests))
            .sum();
        let buyable: Vec<&Kind> = buyable.iter().map(|&kind| &self.kinds[kind]).collect();
        let placed = classes.iter().map(AsRef::as_ref).zip(placed);
        report.price_bound = bounds::price(&buyable, placed.filter(|(_, count)| *count > 0));
    }

    /// Why pods of `class` are left, group by group.
    fn explain(&self, class: &SchedulingClass, report: &mut Report) -> PodReason {
        if self.input.groups.is_empty() {
            return PodReason::NoNodeGroup;
        }
        let mut groups: Vec<GroupReason> = Vec::new();
        for group in self.input.groups.iter().filter(|g| g.choices.is_empty()) {
            groups.push(GroupReason {
                group: group.key.clone(),
                offering: None,
                refusal: GroupRefusal::Invalid {
                    detail: group
                        .invalid
                        .clone()
                        .unwrap_or_else(|| "it may buy no offering".into()),
                },
            });
        }
        for kind in &self.kinds {
            let failures = scheduling::failures(class, &kind.node, &kind.requested);
            let refusal = if failures.is_empty() {
                self.barred(kind, false)
                    .or_else(|| kinds::exhausted(self.input, &self.budget, kind.group))
            } else {
                Some(GroupRefusal::Filters(failures))
            };
            let Some(refusal) = refusal else { continue };
            if let GroupRefusal::BackingOff { until, .. } = &refusal {
                report.look_again(*until);
            }
            let group = &self.input.groups[kind.group];
            groups.push(GroupReason {
                group: group.key.clone(),
                offering: Some(group.choices[kind.choice].offering.id.clone()),
                refusal,
            });
        }
        groups.sort_by(|a, b| (&a.group, &a.offering).cmp(&(&b.group, &b.offering)));
        PodReason::NoNodeGroupFits {
            groups: Arc::from(groups),
        }
    }

    pub(super) fn into_plan(self) -> Plan {
        let mut plan: BTreeMap<(usize, Cause), Create> = BTreeMap::new();
        for bought in self.bought {
            let kind = &self.kinds[bought.kind];
            let group = &self.input.groups[kind.group];
            let create = plan
                .entry((bought.kind, bought.cause))
                .or_insert_with(|| Create {
                    group: group.key.clone(),
                    offering: group.choices[kind.choice].offering.id.clone(),
                    count: 0,
                    cause: bought.cause,
                    price: kind.price,
                    pods: Vec::new(),
                });
            create.count += 1;
            create.pods.push(bought.pods);
        }
        // Kinds are ordered by group and offering, so the plan is.
        Plan {
            create: plan.into_values().collect(),
        }
    }
}
