//! What is known before any node is judged, and what speaks against each node by itself.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use jiff::Timestamp;
use model::{GroupKey, Node, NodeName, Pod};

use super::{Candidate, Group, Input, unneeded};
use crate::{
    lifecycle::{Cordon, RemovalCause, RemovalStep},
    removal::{
        gate::Gate,
        hours::Hours,
        pods::{ByNode, Rules, by_node},
        refusal::Refusal,
        simulation::Reason,
    },
};

/// What a node is judged for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Purpose {
    /// Whether its removal begins.
    Begin,
    /// Whether its removal, which has begun, goes on.
    GoOn,
}

/// The health gate over all workers, of which `ready` says whether they are; one that it does not
/// know is not there. One that was never Ready yet is on its way, and one whose machine goes anyway
/// is gone already: neither is ill.
#[must_use]
pub fn gate(candidates: &[Candidate], ready: impl Fn(&NodeName) -> Option<bool>) -> Gate {
    let workers = candidates.iter().filter(|one| !one.control_plane);
    Gate::of(workers.filter_map(|candidate| {
        let ready = ready(&candidate.node)?;
        let starting = candidate.machine.is_some() && candidate.ready_at.is_none();
        let going = candidate.removal.is_some_and(|(_, step)| step.is_final());
        (!going && (ready || !starting)).then_some((candidate.group.as_ref(), ready))
    }))
}

/// What is known of the whole cluster.
pub(super) struct Facts<'a> {
    pub(super) input: &'a Input<'a>,
    /// Nodes that go for certain, and those whose removal can still be taken back.
    pub(super) away: BTreeSet<NodeName>,
    /// Removals that count among those that may be under way at once.
    pub(super) under_way: Vec<&'a Candidate>,
    /// Ready nodes of ours that are not being removed.
    ready: BTreeMap<&'a GroupKey, u32>,
    pods: ByNode<'a>,
    rules: Rules<'a>,
    gate: Gate,
}

impl<'a> Facts<'a> {
    pub(super) fn of(input: &'a Input<'a>) -> Self {
        let mut away = input.leaving.clone();
        let mut under_way = Vec::new();
        let mut ready: BTreeMap<&GroupKey, u32> = BTreeMap::new();
        for candidate in &input.candidates {
            if let Some(removal) = removal(input, candidate) {
                away.insert(candidate.node.clone());
                under_way.extend(Some(candidate).filter(|_| counts(removal)));
            } else if let (Some(group), Some(_)) = (&candidate.group, &candidate.machine)
                && is_ready(input, candidate)
            {
                *ready.entry(group).or_default() += 1;
            }
        }
        let ready_now = |node: &NodeName| Some(input.cluster.nodes.get(node)?.ready);
        Self {
            rules: Rules::new(
                input.now,
                input.cluster,
                &away,
                input.disruption,
                input.settings,
            ),
            gate: gate(&input.candidates, ready_now),
            pods: by_node(input.cluster),
            input,
            away,
            under_way,
            ready,
        }
    }

    /// The pods on a node that are neither of DaemonSets nor mirror pods, the ending ones included.
    pub(super) fn pods(&self, node: &NodeName) -> &[&'a Arc<Pod>] {
        self.pods.get(node).map_or(&[], Vec::as_slice)
    }

    /// The group of a node that is ours to take.
    pub(super) fn group(&self, candidate: &Candidate) -> Option<&'a Group> {
        let key = candidate.group.as_ref().filter(|_| candidate.managed)?;
        candidate.machine.as_ref()?;
        self.input.groups.get(key)
    }

    /// Ready nodes of ours in a group that are not being removed; of those that are, these.
    pub(super) fn ready(&self, group: &GroupKey, own: &[&Candidate]) -> u32 {
        let others = self.ready.get(group).copied().unwrap_or(0);
        let own = own.iter().filter(|one| one.group.as_ref() == Some(group));
        let own = own.filter(|one| removal(self.input, one).is_some());
        let own = own.filter(|one| is_ready(self.input, one)).count();
        others.saturating_add(u32::try_from(own).unwrap_or(u32::MAX))
    }

    fn node(&self, candidate: &Candidate) -> Option<&'a Node> {
        self.input.cluster.nodes.get(&candidate.node)
    }

    /// Nothing on the node needs it: evidence that a window counts.
    pub(super) fn is_unneeded(&self, candidate: &Candidate) -> bool {
        let ready = self
            .node(candidate)
            .filter(|node| node.ready && node.defect.is_none());
        let Some((node, group)) = ready.zip(self.group(candidate)) else {
            return false;
        };
        self.in_use(candidate, node, group).is_empty()
    }

    fn in_use(&self, candidate: &Candidate, node: &Node, group: &Group) -> Vec<Refusal> {
        let Input {
            disruption,
            settings,
            now,
            ..
        } = self.input;
        let usage = disruption.usage.get(&candidate.node);
        let pods = self.pods(&candidate.node);
        unneeded::in_use(node, pods, usage, group, settings, *now)
    }

    /// Everything that speaks against the node by itself.
    pub(super) fn refusals(&self, candidate: &Candidate, purpose: Purpose) -> Vec<Refusal> {
        let mut refusals = Vec::new();
        self.judge_brakes(candidate, purpose, &mut refusals);
        let Some(node) = self.node(candidate) else {
            refusals.push(Reason::NodeNotFound.into());
            return refusals;
        };
        self.judge_node(candidate, node, &mut refusals);
        if let Some(group) = self.group(candidate) {
            self.judge_group(candidate, node, group, purpose, &mut refusals);
            for pod in self.pods(&candidate.node) {
                self.rules.judge(pod, &candidate.node, &mut refusals);
            }
        }
        refusals
    }

    /// What holds more than this node up.
    fn judge_brakes(&self, candidate: &Candidate, purpose: Purpose, refusals: &mut Vec<Refusal>) {
        let brakes = &self.input.brakes;
        if !brakes.targeted_delete {
            refusals.push(Refusal::TargetedDeleteUnsupported);
        }
        if let Some(by) = brakes.paused.clone() {
            refusals.push(Refusal::ClusterPaused { by });
        }
        // A removal that has begun waits for these, and is not taken back for them.
        if purpose == Purpose::Begin {
            let until = brakes
                .warming_up_until
                .filter(|until| *until > self.input.now);
            refusals.extend(until.map(|until| Refusal::WarmingUp { until }));
            let kind = brakes.stale.clone();
            refusals.extend(kind.map(|kind| Refusal::CacheStale { kind }));
        }
        let group = candidate.group.as_ref();
        if let Some(why) = group.and_then(|group| brakes.stopped.get(group)).cloned() {
            refusals.push(Refusal::RemovalsStopped { why });
        }
        let shut = group.map_or_else(|| self.gate.shut(), |group| self.gate.shut_for(group));
        refusals.extend(shut.map(Refusal::from));
    }

    /// What the node itself says.
    fn judge_node(&self, candidate: &Candidate, node: &Node, refusals: &mut Vec<Refusal>) {
        if candidate.machine.is_none() {
            refusals.push(Refusal::NoVPSieNode);
        }
        let group = candidate.group.as_ref().filter(|_| candidate.managed);
        if !group.is_some_and(|group| self.input.groups.contains_key(group)) {
            refusals.push(Reason::GroupUnmanaged.into());
        }
        if candidate.control_plane {
            refusals.push(Refusal::ControlPlane);
        }
        if candidate.own {
            refusals.push(Refusal::OwnLeader);
        }
        if !node.ready {
            refusals.push(Refusal::NotReady);
        }
        if let Some(detail) = &node.defect {
            let detail = detail.to_string();
            refusals.push(Refusal::NodeInvalid { detail });
        }
        if let Some(by) = candidate.protected_by.clone() {
            refusals.push(Refusal::Protected { by });
        }
        if let Some(hours) = &candidate.allowed_hours {
            refusals.extend(self.outside(hours));
        }
        if let Some(taint) = candidate.startup_taints.first() {
            refusals.push(Refusal::StartupTaints(taint.clone()));
        }
        if candidate.cordon == Cordon::Human
            && let Some(pod) = self.pods(&candidate.node).first()
        {
            refusals.push(Refusal::HumanCordon(pod.key.clone()));
        }
    }

    fn outside(&self, text: &str) -> Option<Refusal> {
        let (now, hours) = (self.input.now, text.to_owned());
        match Hours::parse(text, &self.input.settings.time_zone) {
            Ok(parsed) if parsed.contain(now) => None,
            Ok(parsed) => Some(Refusal::OutsideAllowedHours {
                hours,
                until: parsed.begin_after(now),
            }),
            Err(error) => Some(Refusal::HoursNotUnderstood {
                hours,
                why: error.to_string(),
            }),
        }
    }

    /// What its group says, and how long it has been what it is.
    fn judge_group(
        &self,
        candidate: &Candidate,
        node: &Node,
        group: &Group,
        purpose: Purpose,
        refusals: &mut Vec<Refusal>,
    ) {
        if group.deleting {
            refusals.push(Refusal::GroupDeleting);
        }
        if group.paused {
            refusals.push(Refusal::GroupPaused);
        }
        if !group.enabled {
            refusals.push(Refusal::ScaleDownDisabled);
        }
        // What has begun does not count against itself.
        let own: &[&Candidate] = match purpose {
            Purpose::Begin => &[],
            Purpose::GoOn => &[candidate],
        };
        let ready = (candidate.group.as_ref()).map_or(0, |key| self.ready(key, own));
        if ready <= group.min_nodes {
            let min_nodes = group.min_nodes;
            refusals.push(Reason::AtMinimum { min_nodes }.into());
        }
        if group.in_flight > 0 {
            refusals.push(Refusal::ScaleUpInProgress);
        }
        if let Some(until) = match candidate.ready_at {
            Some(at) => self.until(at, group.cooldown),
            // Nobody knows since when: as if since now.
            None => Some(later(self.input.now, group.cooldown)),
        } {
            refusals.push(Refusal::NodeTooYoung { until });
        }
        if purpose == Purpose::GoOn {
            return;
        }
        let scaled = group.last_scaled_at;
        if let Some(until) = scaled.and_then(|at| self.until(at, group.cooldown)) {
            refusals.push(Refusal::CooldownActive { until });
        }
        if self.input.settings.assume_unneeded {
            return;
        }
        let in_use = self.in_use(candidate, node, group);
        if in_use.is_empty() {
            refusals.extend(self.window(candidate, group));
        }
        refusals.extend(in_use);
    }

    /// One sample is no window: the start is recorded first, even of a window of nothing.
    fn window(&self, candidate: &Candidate, group: &Group) -> Option<Refusal> {
        let until = match candidate.unneeded_since {
            Some(since) => self.until(since, group.window)?,
            None => later(self.input.now, group.window),
        };
        Some(Refusal::WindowNotOver { until })
    }

    fn until(&self, since: Timestamp, wait: Duration) -> Option<Timestamp> {
        Some(later(since, wait)).filter(|until| *until > self.input.now)
    }
}

/// A wait beyond the end of time never ends; it must not count as over.
pub(super) fn later(since: Timestamp, wait: Duration) -> Timestamp {
    since.checked_add(wait).unwrap_or(Timestamp::MAX)
}

fn is_ready(input: &Input<'_>, candidate: &Candidate) -> bool {
    let node = input.cluster.nodes.get(&candidate.node);
    node.is_some_and(|node| node.ready)
}

/// How far the removal of a node has come; one that goes for certain is to be cordoned at least.
pub(super) fn removal(
    input: &Input<'_>,
    candidate: &Candidate,
) -> Option<(RemovalCause, RemovalStep)> {
    let leaves = input.leaving.contains(&candidate.node);
    let ordered = leaves.then_some((RemovalCause::Deleted, RemovalStep::Cordoning));
    candidate.removal.or(ordered)
}

/// What failed is taken away whenever that can be done; it does not keep others.
fn counts((cause, step): (RemovalCause, RemovalStep)) -> bool {
    cause != RemovalCause::Failed && step != RemovalStep::Gone
}
