//! How many machines of which kind to buy for the pods that cannot be scheduled.
//!
//! The whole deficit is planned at once over all groups: room that is free now, then machines on
//! their way, then new ones at the lowest price. The plan leaves no
//! choice to whoever carries it out; the report says for every pod where it goes or why not.

mod bounds;
mod by_rules;
mod first_fit;
mod free;
mod ground;
mod kinds;
mod lane;
mod pack;
mod promises;
mod queue;
mod refusals;
mod search;
mod template;
mod ways;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::Arc,
    time::Duration,
};

use jiff::Timestamp;
use model::{
    Cluster, GroupKey, HourlyPrice, Labels, Node, NodeName, Offering, OfferingId, Pod, PodKey,
    PodRole, PodState, Resources, SchedulingClass, Taint,
};
use serde::{Deserialize, Serialize};

pub use template::{Reserve, template};

use crate::reason::{GroupRefusal, PodReason};

/// An offering a group may buy.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Choice {
    /// The offering.
    pub offering: Offering,
    /// What a Ready node of this group and offering really offers to pods, where there is any.
    pub learned: Option<Learned>,
    /// Not to be asked for before then, and why.
    pub backoff: Option<(Timestamp, String)>,
}

/// What only a node that runs tells.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Learned {
    /// What pods may use.
    pub allocatable: Resources,
    /// The features it declares.
    pub features: BTreeSet<Arc<str>>,
}

/// A machine that was decided on and does not serve yet.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct InFlight {
    /// The VPSieNode's name.
    pub machine: String,
    /// Its offering.
    pub offering: OfferingId,
    /// Its Node, where it has joined already (its own shape is not to be relied on yet).
    pub node: Option<NodeName>,
    /// The pods it was bought for, as far as that was recorded: those of them that still wait are
    /// placed there first, so that a later plan finds a place for each as this one did.
    pub pods: Vec<PodKey>,
}

/// A managed group.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Group {
    /// Its key.
    pub key: GroupKey,
    /// `spec.minNodes`.
    pub min_nodes: u32,
    /// `spec.maxNodes`.
    pub max_nodes: u32,
    /// Machines that exist or may exist, whatever their state: what `max_nodes` bounds.
    pub existing: u32,
    /// Machines that serve or will: what `min_nodes` asks for.
    pub serving: u32,
    /// Those of them that do not serve yet.
    pub in_flight: Vec<InFlight>,
    /// What it may buy, in the user's order.
    pub choices: Vec<Choice>,
    /// `spec.preferredInstanceType`.
    pub preferred: Option<OfferingId>,
    /// Labels of its Nodes.
    pub labels: Labels,
    /// Taints of its Nodes.
    pub taints: Vec<Taint>,
    /// Taints that are gone once a Node serves.
    pub startup_taints: Vec<Taint>,
    /// The datacenter.
    pub datacenter: Arc<str>,
    /// `scaleUpPolicy.enabled`.
    pub enabled: bool,
    /// Its deletion was asked for.
    pub deleting: bool,
    /// What makes it unusable.
    pub invalid: Option<String>,
}

/// Limits of the whole cluster and of what counts as a trigger.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Most workers of all groups together; `None` without a limit.
    pub max_workers: Option<u32>,
    /// Pods of lower priority buy nothing.
    pub priority_cutoff: i32,
    /// How long a pod must have been unschedulable.
    pub grace: Duration,
    /// What the system keeps of a machine, until Ready nodes have shown better.
    pub reserve: Reserve,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_workers: None,
            priority_cutoff: -10,
            grace: Duration::ZERO,
            reserve: Reserve::default(),
        }
    }
}

/// Everything the plan rests on.
#[derive(Clone, Debug)]
pub struct Input {
    /// The present instant.
    pub now: Timestamp,
    /// The nodes, what is on them, and the pods that wait.
    pub cluster: Cluster,
    /// Nodes that are being removed: their room does not count.
    pub leaving: BTreeSet<NodeName>,
    /// The managed groups, by key.
    pub groups: Vec<Group>,
    /// The pods of each DaemonSet: they take their share of every node they fit.
    pub daemon_sets: Vec<Arc<SchedulingClass>>,
    /// Limits.
    pub limits: Limits,
}

/// Why machines are bought.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub enum Cause {
    /// For pods that cannot be scheduled.
    PendingPods,
    /// To reach `minNodes`.
    MinNodes,
}

/// Machines to buy.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Create {
    /// For this group.
    pub group: GroupKey,
    /// Of this offering.
    pub offering: OfferingId,
    /// So many.
    pub count: u32,
    /// Why.
    pub cause: Cause,
    /// The price of one, where known.
    pub price: Option<HourlyPrice>,
    /// The pods each machine is bought for: one list per machine.
    pub pods: Vec<Vec<PodKey>>,
}

/// What to do: nothing else, and in this order.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Plan {
    /// Sorted by group, offering and cause.
    pub create: Vec<Create>,
}

impl Plan {
    /// How many machines in all.
    #[must_use]
    pub fn machines(&self) -> u32 {
        self.create.iter().map(|create| create.count).sum()
    }
}

/// Where a pod goes.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Placement {
    /// Onto a node that is there.
    Existing(NodeName),
    /// Onto a machine that is on its way (its VPSieNode).
    InFlight(String),
    /// Onto a new machine.
    New(GroupKey, OfferingId),
    /// Nowhere.
    Left(PodReason),
}

/// What was found for every pod that waits.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Report {
    /// By pod.
    pub pods: BTreeMap<PodKey, Placement>,
    /// The smallest number of machines of the kinds bought that could hold the pods they are
    /// bought for, by the volume of each resource alone.
    pub volume_bound: u32,
    /// What room for those pods costs an hour at least, on whatever kinds; `None` where a price
    /// is unknown.
    pub price_bound: Option<HourlyPrice>,
    /// The weights of the preferences that are met where pods are placed, and of all they have.
    pub preferences: (u64, u64),
    /// How the pods were placed.
    pub steps: Steps,
    /// When something that holds pods back ends by itself.
    pub look_again_at: Option<Timestamp>,
}

/// The placements of a plan one by one: each is right beside those before it.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Steps {
    /// Machines that do not serve yet: those on their way, whether their node has joined or not,
    /// and those that are bought.
    pub coming: Vec<Coming>,
    /// Which pod goes where.
    pub placements: Vec<(PodKey, Host)>,
}

/// A machine that does not serve yet.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Coming {
    /// What it is going to be.
    pub node: Node,
    /// What is on it, or will be as soon as it serves: the pods of DaemonSets, and of what has
    /// joined those that are bound to it.
    pub pods: Vec<Arc<SchedulingClass>>,
}

/// Where a step puts a pod.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Host {
    /// On a node that is there.
    Node(NodeName),
    /// On one of [`Steps::coming`].
    Coming(usize),
}

/// The pods that are left, as one group sees them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Unplaced {
    /// How many this group refused.
    pub pods: usize,
    /// Why most of them, and the first of those.
    pub refusal: GroupRefusal,
    /// It.
    pub example: PodKey,
}

impl fmt::Display for Unplaced {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            pods,
            refusal,
            example,
        } = self;
        match pods {
            1 => write!(f, "pod {example} waits: {refusal}"),
            _ => write!(f, "{pods} pods wait, {example} among them: {refusal}"),
        }
    }
}

impl Report {
    /// What each group refused of the pods that are left.
    #[must_use]
    pub fn unplaced(&self) -> BTreeMap<GroupKey, Unplaced> {
        let mut by_group: BTreeMap<&GroupKey, BTreeMap<&str, (usize, &GroupRefusal, &PodKey)>> =
            BTreeMap::new();
        for (pod, placement) in &self.pods {
            let Placement::Left(PodReason::NoNodeGroupFits { groups }) = placement else {
                continue;
            };
            for same in groups.chunk_by(|a, b| a.group == b.group) {
                let [first, ..] = same else { continue };
                let reasons = by_group.entry(&first.group).or_default();
                let name = first.refusal.name();
                let reason = reasons.entry(name).or_insert((0, &first.refusal, pod));
                reason.0 += 1;
            }
        }
        let mut unplaced = BTreeMap::new();
        for (group, reasons) in by_group {
            let pods = reasons.values().map(|(pods, ..)| pods).sum();
            if let Some((_, refusal, example)) = reasons.into_values().max_by_key(|r| r.0) {
                unplaced.insert(
                    group.clone(),
                    Unplaced {
                        pods,
                        refusal: refusal.clone(),
                        example: example.clone(),
                    },
                );
            }
        }
        unplaced
    }

    fn look_again(&mut self, at: Timestamp) {
        self.look_again_at = Some(self.look_again_at.map_or(at, |before| before.min(at)));
    }
}

/// Plans the whole deficit.
#[must_use]
pub fn plan(input: &Input) -> (Plan, Report) {
    let mut report = Report::default();
    let pending = triggers(input, &mut report);
    let plan = pack::pack(input, &pending, &mut report);
    (plan, report)
}

/// The pods that count.
fn triggers(input: &Input, report: &mut Report) -> Vec<Arc<Pod>> {
    let mut pending = Vec::new();
    for pod in &input.cluster.waiting {
        let PodState::Unschedulable(since) = &pod.state else {
            continue;
        };
        if pod.terminating.is_some() {
            continue;
        }
        // A nominated pod waits for its victims, as long as there is the node they are on.
        if let Some(node) = &pod.nominated
            && let Some(host) = input.cluster.nodes.get(node)
            && kinds::is_usable(input, host)
        {
            let placement = Placement::Existing(node.clone());
            report.pods.insert(pod.key.clone(), placement);
            continue;
        }
        match refuse(input, pod, *since) {
            Some(reason) => {
                if let PodReason::GracePeriod { until } = &reason {
                    report.look_again(*until);
                }
                report.pods.insert(pod.key.clone(), Placement::Left(reason));
            }
            None => pending.push(Arc::clone(pod)),
        }
    }
    pending
}

fn refuse(input: &Input, pod: &Pod, since: Timestamp) -> Option<PodReason> {
    if let Some(detail) = &pod.class.defect {
        return Some(PodReason::PodInvalid {
            detail: detail.to_string(),
        });
    }
    // Its node is named already: another machine gets a pod of its own.
    if pod.role == PodRole::DaemonSet {
        return Some(PodReason::DaemonSetPod);
    }
    if let Some(rule) = pod.class.unevaluated.first() {
        return Some(PodReason::RuleNotEvaluated { rule: *rule });
    }
    if pod.class.priority < input.limits.priority_cutoff {
        return Some(PodReason::PriorityBelowCutoff {
            priority: pod.class.priority,
        });
    }
    let until = since.saturating_add(input.limits.grace).unwrap_or(since);
    (until > input.now).then_some(PodReason::GracePeriod { until })
}
