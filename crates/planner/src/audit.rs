//! An independent look at a scale-up plan before it is carried out, in production too.
//!
//! Shares no code with the planner or the filters: bounds and placements are counted again, in the
//! plainest way. A plan that breaks a rule is refused whole.

mod machine;
mod placements;
mod removals;
mod step;

use std::{fmt, sync::Arc};

use model::{GroupKey, Pod, PodKey, PodState, SchedulingClass};

pub use placements::placements;
pub use removals::{RemovalViolation, removals};
pub use step::{StepViolation, step};

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
    let (pods, twice) = look_up(input, plan);
    let mut pods = pods.into_iter();
    for create in &plan.create {
        if usize::try_from(create.count) != Ok(create.pods.len()) {
            violations.push(Violation::CountMismatch(create.group.clone()));
        }
        let mut machines: Vec<Vec<(&PodKey, &Pod)>> = Vec::with_capacity(create.pods.len());
        for machine in &create.pods {
            if create.cause == Cause::PendingPods && machine.is_empty() {
                violations.push(Violation::Purposeless(create.group.clone()));
            }
            let mut known = Vec::with_capacity(machine.len());
            for (key, pod) in machine.iter().zip(&mut pods) {
                if !pod.is_some_and(is_waiting) {
                    violations.push(Violation::NotPending(key.clone()));
                }
                known.extend(pod.map(|pod| (key, pod)));
            }
            machines.push(known);
        }
        match input.groups.iter().find(|group| group.key == create.group) {
            Some(group) => purchase(input, group, create, &machines, &mut violations),
            None => violations.push(Violation::UnknownGroup(create.group.clone())),
        }
    }
    limits(input, plan, &mut violations);
    violations.extend(twice.into_iter().cloned().map(Violation::PodTwice));
    violations
}

/// The pods that the plan names, in its order, as far as there are such pods, and those that it
/// names more than once. Both lists are sorted and gone through side by side: there may be many.
fn look_up<'a>(input: &'a Input, plan: &'a Plan) -> (Vec<Option<&'a Pod>>, Vec<&'a PodKey>) {
    let machines = plan.create.iter().flat_map(|create| &create.pods);
    let mut named: Vec<(usize, &PodKey)> = machines.flatten().enumerate().collect();
    named.sort_by_key(|(_, key)| *key);
    let mut waiting: Vec<&Pod> = input.cluster.waiting.iter().map(AsRef::as_ref).collect();
    waiting.sort_by_key(|pod| &pod.key);
    let mut waiting = waiting.into_iter().peekable();
    let mut found = vec![None; named.len()];
    let mut twice: Vec<&PodKey> = Vec::new();
    let mut before: Option<&PodKey> = None;
    for (index, key) in named {
        if before == Some(key) && twice.last() != Some(&key) {
            twice.push(key);
        }
        before = Some(key);
        while waiting.next_if(|pod| pod.key < *key).is_some() {}
        found[index] = waiting.peek().copied().filter(|pod| pod.key == *key);
    }
    (found, twice)
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
    machines: &[Vec<(&PodKey, &Pod)>],
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
    let daemons = machine::daemons(input, group);
    for machine in machines {
        // Equal pods are next to each other, and looked at together.
        let alike = machine.chunk_by(|(_, a), (_, b)| Arc::ptr_eq(&a.class, &b.class));
        let mut classes: Vec<(&SchedulingClass, usize)> = Vec::new();
        for pods in alike {
            let Some((_, first)) = pods.first() else {
                continue;
            };
            classes.push((&first.class, pods.len()));
            if let Some(rule) = machine::kept_off(&first.class, group) {
                violations.extend(pods.iter().map(|(key, _)| Violation::Misplaced {
                    pod: PodKey::clone(key),
                    group: group.key.clone(),
                    rule,
                }));
            }
        }
        if let Some(resource) = machine::overfull(input, choice, &daemons, &classes) {
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
