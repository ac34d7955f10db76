//! An independent look at a scale-up plan before it is carried out, in production too.
//!
//! Shares no code with the planner or the filters: bounds and placements are counted again, in the
//! plainest way. A plan that breaks a rule is refused whole.

use std::{collections::BTreeMap, fmt};

use model::{GroupKey, PodKey};

use crate::scale_up::{Cause, Input, Plan};

/// A rule a plan breaks.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Violation {
    /// It buys for a group that is not in the input.
    UnknownGroup(GroupKey),
    /// It buys an offering the group may not buy.
    UnknownOffering(GroupKey, String),
    /// It buys for a group that is unusable, or not to grow.
    GroupNotBuyable(GroupKey),
    /// It buys an offering that is in back-off.
    InBackOff(GroupKey, String),
    /// The group would exceed its maximum.
    AboveMaximum {
        /// The group.
        group: GroupKey,
        /// Machines it would have.
        machines: u32,
        /// `spec.maxNodes`.
        max_nodes: u32,
    },
    /// The cluster would exceed its maximum.
    AboveClusterLimit {
        /// Machines it would have.
        machines: u32,
        /// The limit.
        max_workers: u32,
    },
    /// A machine is bought for nothing.
    Purposeless(GroupKey),
    /// A pod is counted on for two machines.
    PodTwice(PodKey),
    /// The count and the list of machines disagree.
    CountMismatch(GroupKey),
    /// The pods of one machine ask for more than it can have.
    Overfull {
        /// The group.
        group: GroupKey,
        /// The resource.
        resource: &'static str,
    },
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}

/// Every rule `plan` breaks; none for a plan that may be carried out.
#[must_use]
pub fn scale_up(input: &Input, plan: &Plan) -> Vec<Violation> {
    let mut violations = Vec::new();
    let mut bought: BTreeMap<&GroupKey, u32> = BTreeMap::new();
    let mut seen: BTreeMap<&PodKey, u32> = BTreeMap::new();
    for create in &plan.create {
        *bought.entry(&create.group).or_default() += create.count;
        if usize::try_from(create.count) != Ok(create.pods.len()) {
            violations.push(Violation::CountMismatch(create.group.clone()));
        }
        for machine in &create.pods {
            if create.cause == Cause::PendingPods && machine.is_empty() {
                violations.push(Violation::Purposeless(create.group.clone()));
            }
            for pod in machine {
                *seen.entry(pod).or_default() += 1;
            }
        }
        let Some(group) = input.groups.iter().find(|group| group.key == create.group) else {
            violations.push(Violation::UnknownGroup(create.group.clone()));
            continue;
        };
        if group.invalid.is_some()
            || group.deleting
            || (create.cause == Cause::PendingPods && !group.enabled)
        {
            violations.push(Violation::GroupNotBuyable(create.group.clone()));
        }
        let Some(choice) = group
            .choices
            .iter()
            .find(|choice| choice.offering.id == create.offering)
        else {
            violations.push(Violation::UnknownOffering(
                create.group.clone(),
                create.offering.to_string(),
            ));
            continue;
        };
        if choice
            .backoff
            .as_ref()
            .is_some_and(|(until, _)| *until > input.now)
        {
            violations.push(Violation::InBackOff(
                create.group.clone(),
                create.offering.to_string(),
            ));
        }
        // No pod set may ask for more than the bare machine has, whatever the system reserves.
        for machine in &create.pods {
            let (mut cpu, mut memory) = (0_i64, 0_i64);
            for pod in machine {
                let class = input.snapshot.waiting().iter().find(|p| &p.key == pod);
                if let Some(class) = class.map(|pod| &pod.class) {
                    cpu = cpu.saturating_add(class.requests.cpu_milli.max(0));
                    memory = memory.saturating_add(class.requests.memory.max(0));
                }
            }
            let learned = choice.learned.as_ref();
            let has_cpu =
                learned.map_or(i64::from(choice.offering.cpus) * 1000, |has| has.cpu_milli);
            let has_memory = learned.map_or(
                i64::try_from(choice.offering.memory_mib).unwrap_or(i64::MAX) << 20,
                |has| has.memory,
            );
            for (asked, has, resource) in [(cpu, has_cpu, "cpu"), (memory, has_memory, "memory")] {
                if asked > has {
                    violations.push(Violation::Overfull {
                        group: create.group.clone(),
                        resource,
                    });
                }
            }
        }
    }
    for (key, count) in &bought {
        if let Some(group) = input.groups.iter().find(|group| &&group.key == key)
            && group.existing + count > group.max_nodes
        {
            violations.push(Violation::AboveMaximum {
                group: (*key).clone(),
                machines: group.existing + count,
                max_nodes: group.max_nodes,
            });
        }
    }
    let machines =
        input.groups.iter().map(|g| g.existing).sum::<u32>() + bought.values().sum::<u32>();
    if let Some(max_workers) = input.limits.max_workers
        && machines > max_workers
        && !bought.is_empty()
    {
        violations.push(Violation::AboveClusterLimit {
            machines,
            max_workers,
        });
    }
    violations.extend(
        seen.iter()
            .filter(|(_, count)| **count > 1)
            .map(|(pod, _)| Violation::PodTwice((*pod).clone())),
    );
    violations
}
