//! An independent look at a scale-up plan before it is carried out, in production too.
//!
//! Shares no code with the planner or the filters: bounds and placements are counted again, in the
//! plainest way. A plan that breaks a rule is refused whole.

mod machine;
mod placements;

use std::{collections::BTreeMap, fmt};

use model::{GroupKey, Pod, PodKey, PodState};

pub use placements::placements;

use crate::scale_up::{Cause, Create, Group, Input, Plan};

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
        machines: u64,
        /// `spec.maxNodes`.
        max_nodes: u32,
    },
    /// The cluster would exceed its maximum.
    AboveClusterLimit {
        /// Machines it would have.
        machines: u64,
        /// The limit.
        max_workers: u32,
    },
    /// More is bought for the minimum than it lacks.
    BeyondMinimum {
        /// The group.
        group: GroupKey,
        /// Bought for it.
        bought: u64,
        /// What it lacks.
        missing: u32,
    },
    /// A machine is bought for nothing.
    Purposeless(GroupKey),
    /// A pod is counted on for two machines.
    PodTwice(PodKey),
    /// A machine is bought for a pod that does not wait for one.
    NotPending(PodKey),
    /// A machine is bought for a pod that may not run there.
    Misplaced {
        /// The pod.
        pod: PodKey,
        /// The group.
        group: GroupKey,
        /// What keeps it off.
        rule: &'static str,
    },
    /// The count and the list of machines disagree.
    CountMismatch(GroupKey),
    /// The pods of one machine ask for more than it can have.
    Overfull {
        /// The group.
        group: GroupKey,
        /// The resource.
        resource: String,
    },
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownGroup(group) => write!(f, "{group} is no group of the input"),
            Self::UnknownOffering(group, offering) => {
                write!(f, "{group} may not buy {offering}")
            }
            Self::GroupNotBuyable(group) => write!(f, "{group} must not grow"),
            Self::InBackOff(group, offering) => write!(f, "{group}: {offering} is in back-off"),
            Self::AboveMaximum {
                group,
                machines,
                max_nodes,
            } => write!(f, "{group} would have {machines} machines of {max_nodes}"),
            Self::AboveClusterLimit {
                machines,
                max_workers,
            } => write!(
                f,
                "the cluster would have {machines} workers of {max_workers}"
            ),
            Self::BeyondMinimum {
                group,
                bought,
                missing,
            } => write!(
                f,
                "{group}: {bought} bought for its minimum, which lacks {missing}"
            ),
            Self::Purposeless(group) => write!(f, "{group}: a machine without a pod"),
            Self::PodTwice(pod) => write!(f, "{pod} is counted on twice"),
            Self::NotPending(pod) => write!(f, "{pod} does not wait for a machine"),
            Self::Misplaced { pod, group, rule } => write!(f, "{pod} on {group}: {rule}"),
            Self::CountMismatch(group) => write!(f, "{group}: count and machines disagree"),
            Self::Overfull { group, resource } => {
                write!(
                    f,
                    "{group}: a machine has too little {resource} for its pods"
                )
            }
        }
    }
}

/// Every rule `plan` breaks; none for a plan that may be carried out.
#[must_use]
pub fn scale_up(input: &Input, plan: &Plan) -> Vec<Violation> {
    let mut violations = Vec::new();
    let waiting: BTreeMap<&PodKey, &Pod> = input
        .cluster
        .waiting
        .iter()
        .map(|pod| (&pod.key, pod.as_ref()))
        .collect();
    let mut seen: BTreeMap<&PodKey, u32> = BTreeMap::new();
    for create in &plan.create {
        if usize::try_from(create.count) != Ok(create.pods.len()) {
            violations.push(Violation::CountMismatch(create.group.clone()));
        }
        for machine in &create.pods {
            if create.cause == Cause::PendingPods && machine.is_empty() {
                violations.push(Violation::Purposeless(create.group.clone()));
            }
            for pod in machine {
                *seen.entry(pod).or_default() += 1;
                if !waiting.get(pod).is_some_and(|pod| is_waiting(pod)) {
                    violations.push(Violation::NotPending(pod.clone()));
                }
            }
        }
        match input.groups.iter().find(|group| group.key == create.group) {
            Some(group) => purchase(input, group, create, &waiting, &mut violations),
            None => violations.push(Violation::UnknownGroup(create.group.clone())),
        }
    }
    limits(input, plan, &mut violations);
    for (pod, count) in seen {
        if count > 1 {
            violations.push(Violation::PodTwice(pod.clone()));
        }
    }
    violations
}

fn is_waiting(pod: &Pod) -> bool {
    matches!(pod.state, PodState::Unschedulable(_))
        && pod.terminating.is_none()
        && pod.class.unevaluated.is_empty()
        && pod.class.defect.is_none()
}

/// One purchase by itself.
fn purchase(
    input: &Input,
    group: &Group,
    create: &Create,
    waiting: &BTreeMap<&PodKey, &Pod>,
    violations: &mut Vec<Violation>,
) {
    let shut = create.cause == Cause::PendingPods && !group.enabled;
    if group.invalid.is_some() || group.deleting || shut {
        violations.push(Violation::GroupNotBuyable(create.group.clone()));
    }
    let same = group
        .choices
        .iter()
        .find(|choice| choice.offering.id == create.offering);
    let Some(choice) = same else {
        violations.push(Violation::UnknownOffering(
            create.group.clone(),
            create.offering.to_string(),
        ));
        return;
    };
    if let Some((until, _)) = &choice.backoff
        && *until > input.now
    {
        violations.push(Violation::InBackOff(
            create.group.clone(),
            create.offering.to_string(),
        ));
    }
    for machine in &create.pods {
        let mut classes = Vec::new();
        for key in machine {
            let Some(pod) = waiting.get(key) else {
                continue;
            };
            classes.push(pod.class.as_ref());
            if let Some(rule) = machine::kept_off(&pod.class, group) {
                violations.push(Violation::Misplaced {
                    pod: key.clone(),
                    group: group.key.clone(),
                    rule,
                });
            }
        }
        if let Some(resource) = machine::overfull(input, group, choice, &classes) {
            violations.push(Violation::Overfull {
                group: group.key.clone(),
                resource,
            });
        }
    }
}

/// All purchases together.
fn limits(input: &Input, plan: &Plan, violations: &mut Vec<Violation>) {
    let mut in_all = 0_u64;
    for group in &input.groups {
        let bought = |for_minimum: bool| -> u64 {
            plan.create
                .iter()
                .filter(|create| create.group == group.key)
                .filter(|create| (create.cause == Cause::MinNodes) == for_minimum)
                .map(|create| u64::from(create.count))
                .sum()
        };
        let (for_minimum, for_pods) = (bought(true), bought(false));
        let missing = group.min_nodes.saturating_sub(group.serving);
        if for_minimum > u64::from(missing) {
            violations.push(Violation::BeyondMinimum {
                group: group.key.clone(),
                bought: for_minimum,
                missing,
            });
        }
        let machines = u64::from(group.existing) + for_minimum + for_pods;
        if for_minimum + for_pods > 0 && machines > u64::from(group.max_nodes) {
            violations.push(Violation::AboveMaximum {
                group: group.key.clone(),
                machines,
                max_nodes: group.max_nodes,
            });
        }
        in_all += machines;
    }
    if let Some(max_workers) = input.limits.max_workers
        && !plan.create.is_empty()
        && in_all > u64::from(max_workers)
    {
        violations.push(Violation::AboveClusterLimit {
            machines: in_all,
            max_workers,
        });
    }
}
