//! What a plan comes to: machines by group and offering, pods by where they go, money.

use std::collections::BTreeMap;

use model::{GroupKey, HourlyPrice, NodeName, OfferingId, PodKey};
use planner::{
    reason::{GroupRefusal, PodReason},
    scale_up::{Cause, Placement, Plan, Report},
};

use rust_decimal::RoundingStrategy;
use scheduling::Failure;

use crate::offline::reason::Reason;

/// Machines of one offering of a group.
pub(super) struct Buy {
    /// The group.
    pub(super) group: GroupKey,
    /// The offering.
    pub(super) offering: OfferingId,
    /// So many.
    pub(super) count: u32,
    /// So many of them to reach the group's minimum.
    pub(super) for_minimum: u32,
    /// What one costs an hour, where known.
    pub(super) price: Option<HourlyPrice>,
    /// The pods they are bought for.
    pub(super) pods: Vec<PodKey>,
}

/// What a plan comes to.
pub(super) struct Outcome {
    /// By group and offering.
    pub(super) buy: Vec<Buy>,
    /// Pods that find room, by node.
    pub(super) existing: BTreeMap<NodeName, usize>,
    /// Pods that find room, by machine on its way.
    pub(super) in_flight: BTreeMap<String, usize>,
    /// Pods that go onto new machines.
    pub(super) new: usize,
    /// Pods that stay pending, by name.
    pub(super) pending: Vec<(PodKey, PodReason)>,
    /// What is bought costs an hour; `None` where a price is unknown.
    pub(super) price: Option<HourlyPrice>,
    /// What it would cost at least, whatever were bought; `None` where a price is unknown.
    pub(super) lower_bound: Option<HourlyPrice>,
}

impl Outcome {
    pub(super) fn new(plan: &Plan, report: &Report) -> Self {
        let mut outcome = Self {
            buy: Vec::new(),
            existing: BTreeMap::new(),
            in_flight: BTreeMap::new(),
            new: 0,
            pending: Vec::new(),
            price: Some(HourlyPrice::ZERO),
            lower_bound: Some(HourlyPrice::ZERO),
        };
        outcome.buy(plan, report);
        for (pod, placement) in &report.pods {
            match placement {
                Placement::Existing(node) => {
                    *outcome.existing.entry(node.clone()).or_default() += 1;
                }
                Placement::InFlight(machine) => {
                    *outcome.in_flight.entry(machine.clone()).or_default() += 1;
                }
                Placement::New(..) => outcome.new += 1,
                Placement::Left(reason) => outcome.pending.push((pod.clone(), reason.clone())),
            }
        }
        outcome
    }

    fn buy(&mut self, plan: &Plan, report: &Report) {
        let sum = |sum: &mut Option<HourlyPrice>, price: Option<HourlyPrice>| {
            *sum = sum.zip(price).map(|(sum, price)| sum + price);
        };
        let mut buy: BTreeMap<(&GroupKey, &OfferingId), Buy> = BTreeMap::new();
        let mut for_pods = false;
        for create in &plan.create {
            let price = create.price.map(|price| price.times(create.count as usize));
            sum(&mut self.price, price);
            let entry = buy
                .entry((&create.group, &create.offering))
                .or_insert_with(|| Buy {
                    group: create.group.clone(),
                    offering: create.offering.clone(),
                    count: 0,
                    for_minimum: 0,
                    price: create.price,
                    pods: Vec::new(),
                });
            entry.count += create.count;
            entry.pods.extend(create.pods.iter().flatten().cloned());
            match create.cause {
                Cause::MinNodes => {
                    entry.for_minimum += create.count;
                    // They are bought whatever they cost: the cheapest the group has.
                    sum(&mut self.lower_bound, price);
                }
                Cause::PendingPods => for_pods = true,
            }
        }
        if for_pods {
            // Cut off, not rounded: it stays a bound.
            let bound = report.price_bound.map(HourlyPrice::amount);
            let cut = bound.map(|bound| bound.round_dp_with_strategy(8, RoundingStrategy::ToZero));
            sum(&mut self.lower_bound, cut.map(HourlyPrice::new));
        }
        self.buy = buy.into_values().collect();
        for buy in &mut self.buy {
            buy.pods.sort();
        }
    }

    /// How many machines in all.
    pub(super) fn machines(&self) -> u32 {
        self.buy.iter().map(|buy| buy.count).sum()
    }

    /// How many pods get a place.
    pub(super) fn placed(&self) -> usize {
        let there = self.existing.values().chain(self.in_flight.values());
        there.sum::<usize>() + self.new
    }
}

/// A reason, and whose it is where it is not the pod's own.
pub(super) struct Against<'a> {
    /// The group.
    pub(super) group: Option<&'a GroupKey>,
    /// The offering.
    pub(super) offering: Option<&'a OfferingId>,
    /// What it is.
    pub(super) reason: Reason,
}

/// Each single reason why a pod is left, in the planner's order.
pub(super) fn against(reason: &PodReason) -> Vec<Against<'_>> {
    match reason {
        PodReason::NoNodeGroupFits { groups } => {
            let mut all = Vec::new();
            for group in groups.iter() {
                let reasons = match &group.refusal {
                    GroupRefusal::Filters(failures) => {
                        failures.iter().cloned().map(Reason::Filter).collect()
                    }
                    refusal => vec![Reason::Other {
                        name: refusal.name(),
                        detail: refusal.to_string(),
                    }],
                };
                all.extend(reasons.into_iter().map(|reason| Against {
                    group: Some(&group.group),
                    offering: group.offering.as_ref(),
                    reason,
                }));
            }
            all
        }
        // As explain says it.
        PodReason::RuleNotEvaluated { rule } => {
            own(Reason::Filter(Failure::NotEvaluated { rule: *rule }))
        }
        other => own(Reason::Other {
            name: other.name(),
            detail: other.to_string(),
        }),
    }
}

/// The pod's own and only reason.
fn own<'a>(reason: Reason) -> Vec<Against<'a>> {
    vec![Against {
        group: None,
        offering: None,
        reason,
    }]
}
