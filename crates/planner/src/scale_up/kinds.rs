//! What can be bought, and how many more machines each limit leaves.
//!
//! A kind is an offering of a group: the node it would become, less what DaemonSets take of it.

use std::cmp::Ordering;

use model::{HourlyPrice, Node, Requirement, Resources, SchedulingClass};
use planted::Bug;

use super::{
    Input,
    ground::HOSTNAME,
    template::{OFFERING, template},
};
use crate::reason::GroupRefusal;

/// Labels that differ between the kinds of a group.
pub(super) const OF_THE_KIND: [&str; 2] = ["node.kubernetes.io/instance-type", OFFERING];

/// A kind of machine.
#[derive(Clone)]
pub(super) struct Kind {
    /// Index into the input's groups.
    pub(super) group: usize,
    /// Index into the group's choices.
    pub(super) choice: usize,
    /// What it would become.
    pub(super) node: Node,
    /// What DaemonSets take of it.
    pub(super) requested: Resources,
    /// What one costs, where known.
    pub(super) price: Option<HourlyPrice>,
    /// It is the group's preferred type.
    pub(super) preferred: bool,
}

impl Kind {
    /// Room for pods on an empty one.
    pub(super) fn free(&self) -> Resources {
        let mut free = self.node.shape.allocatable.clone();
        free.sub(&self.requested);
        free
    }

    /// Whether it has room for what asks for `load`.
    pub(super) fn holds(&self, load: &Resources) -> bool {
        let free = self.free();
        let names = ["pods", "cpu", "memory", "ephemeral-storage"];
        let all = names
            .into_iter()
            .chain(load.extended.keys().map(AsRef::as_ref));
        let mut asked = all.filter(|name| load.get(name) > 0);
        asked.all(|name| load.get(name) <= free.get(name))
    }

    /// What stays free of CPU and memory beside `load` and a pod more, in millionths of the machine
    /// each.
    pub(super) fn left_over(&self, load: &Resources, class: &SchedulingClass) -> i64 {
        let free = self.free();
        let share = |free: i64, load: i64, asked: i64, whole: i64| {
            let left = i128::from(free) - i128::from(load) - i128::from(asked);
            i64::try_from(left.max(0) * 1_000_000 / i128::from(whole.max(1))).unwrap_or(i64::MAX)
        };
        let (whole, asked) = (&self.node.shape.allocatable, &class.requests);
        share(
            free.cpu_milli,
            load.cpu_milli,
            asked.cpu_milli,
            whole.cpu_milli,
        )
        .saturating_add(share(free.memory, load.memory, asked.memory, whole.memory))
    }

    /// How many pods of a class, at most `most`, it has room for beside what asks for `load`.
    pub(super) fn takes(&self, load: &Resources, class: &SchedulingClass, most: u32) -> u32 {
        // Most pods ask for what every machine has, and most machines are full: no sums for those.
        let (has, asked) = (&self.node.shape.allocatable, &class.requests);
        let is_short = |has: i64, used: i64, load: i64, asked: i64| {
            asked > 0 && asked > has.saturating_sub(used).saturating_sub(load)
        };
        let used = &self.requested;
        if is_short(
            has.cpu_milli,
            used.cpu_milli,
            load.cpu_milli,
            asked.cpu_milli,
        ) || is_short(has.memory, used.memory, load.memory, asked.memory)
            || is_short(has.pods, used.pods, load.pods, asked.pods)
        {
            return 0;
        }
        let mut requested = self.requested.clone();
        requested.add(load);
        scheduling::how_many(class, &self.node, &requested, most)
    }
}

/// Whether room on a node that is there counts at all.
pub(super) fn is_usable(input: &Input, node: &Node) -> bool {
    node.ready && node.defect.is_none() && !input.leaving.contains(&node.name)
}

/// Every kind of every group, by group and offering: an index is also the rank of the name.
pub(super) fn kinds(input: &Input) -> Vec<Kind> {
    let mut kinds = Vec::new();
    for (group_index, group) in input.groups.iter().enumerate() {
        for (choice_index, choice) in group.choices.iter().enumerate() {
            // No node and no label's value can be called so: nobody can ask for it by name.
            let name = format!("new/{}/{}", group.key, choice.offering.id);
            let node = template(group, choice, &input.limits.reserve, &name);
            kinds.push(Kind {
                group: group_index,
                choice: choice_index,
                requested: daemon_sets(input, &node),
                node,
                price: choice.offering.price,
                preferred: group.preferred.as_ref() == Some(&choice.offering.id),
            });
        }
    }
    let name = |kind: &Kind| {
        let group = &input.groups[kind.group];
        (&group.key, &group.choices[kind.choice].offering.id)
    };
    kinds.sort_by(|a, b| name(a).cmp(&name(b)));
    kinds
}

/// What the pods of DaemonSets that run on `node` ask for.
pub(super) fn daemon_sets(input: &Input, node: &Node) -> Resources {
    let mut requested = Resources::default();
    for class in &input.daemon_sets {
        if scheduling::admits(class, node) {
            requested.add(&class.requests);
        }
    }
    requested
}

/// How many more machines may be bought.
#[derive(Clone)]
pub(super) struct Budget {
    /// By group.
    pub(super) groups: Vec<u32>,
    /// In all.
    pub(super) cluster: u32,
}

impl Budget {
    pub(super) fn new(input: &Input) -> Self {
        let left = |most: u32, existing: u32| most.saturating_sub(existing);
        let existing = input
            .groups
            .iter()
            .fold(0_u32, |sum, group| sum.saturating_add(group.existing));
        Self {
            groups: input
                .groups
                .iter()
                .map(|group| {
                    let more = u32::from(planted::is(Bug::ExceedMaximum));
                    left(group.max_nodes.saturating_add(more), group.existing)
                })
                .collect(),
            cluster: input
                .limits
                .max_workers
                .map_or(u32::MAX, |most| left(most, existing)),
        }
    }

    /// How many more of `group`.
    pub(super) fn left(&self, group: usize) -> u32 {
        self.groups[group].min(self.cluster)
    }

    pub(super) fn spend(&mut self, group: usize, machines: u32) {
        self.groups[group] = self.groups[group].saturating_sub(machines);
        self.cluster = self.cluster.saturating_sub(machines);
    }
}

/// Why no machine of this kind may be bought, limits aside.
pub(super) fn barred(input: &Input, kind: &Kind, for_minimum: bool) -> Option<GroupRefusal> {
    let group = &input.groups[kind.group];
    let choice = &group.choices[kind.choice];
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
    match &choice.backoff {
        Some((until, reason)) if *until > input.now => Some(GroupRefusal::BackingOff {
            reason: reason.clone(),
            until: *until,
        }),
        _ => None,
    }
}

/// Which limit leaves nothing for `group`.
pub(super) fn exhausted(input: &Input, budget: &Budget, group: usize) -> Option<GroupRefusal> {
    if budget.groups[group] == 0 {
        return Some(GroupRefusal::MaxNodesReached {
            max_nodes: input.groups[group].max_nodes,
        });
    }
    match input.limits.max_workers {
        Some(max_workers) if budget.cluster == 0 => {
            Some(GroupRefusal::ClusterLimitReached { max_workers })
        }
        _ => None,
    }
}

/// Known prices before unknown ones.
pub(super) fn compare_price(a: Option<HourlyPrice>, b: Option<HourlyPrice>) -> Ordering {
    match (a, b) {
        (Some(a), Some(b)) => a.cmp(&b),
        (Some(_), None) => Ordering::Less,
        (None, Some(_)) => Ordering::Greater,
        (None, None) => Ordering::Equal,
    }
}

/// Whether its node must be of certain kinds: it asks for what differs between those of a group.
pub(super) fn asks_for_a_kind(class: &SchedulingClass) -> bool {
    let of_kind = |requirements: &[Requirement]| {
        let mut keys = requirements.iter().map(|requirement| &*requirement.key);
        keys.any(|key| OF_THE_KIND.contains(&key) || key == HOSTNAME)
    };
    !class.features.is_empty()
        || class.node_name.is_some()
        || of_kind(&class.node_selector)
        || class
            .required_terms
            .iter()
            .flatten()
            .any(|term| !term.match_fields.is_empty() || of_kind(&term.match_expressions))
}
