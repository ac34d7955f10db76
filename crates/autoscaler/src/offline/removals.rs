//! A cluster from a dump as the loop that removes nodes sees the live one.
//!
//! Nodes and groups are read by the loop's own function. What no dump tells is left out: the flags of
//! `run`, the node of the replica that leads and since when it leads, and for how long many nodes have
//! looked removable.

use std::{collections::BTreeMap, sync::Arc};

use api::VPSieNode;
use controller::{
    cluster_state::NodeRow,
    controllers::{
        expected::Expected,
        groups::{Group as Resolved, stopped},
        scale_down::facts::facts,
    },
};
use intake::dump::Dump;
use jiff::Timestamp;
use model::{Cluster, Disruption, GroupKey, Node};
use planner::removal::plan::{Brakes, Candidate, Group, Input, Settings};

use super::{ReadGroup, is_marked};

/// Everything the choice of nodes to remove rests on.
#[derive(Clone, Debug)]
pub struct Removals {
    /// The instant at which it is asked.
    pub now: Timestamp,
    /// The cluster as it will be once what ends by itself has ended.
    pub expected: Expected,
    /// Budgets, controllers and usage.
    pub disruption: Disruption,
    /// The managed groups.
    pub groups: BTreeMap<GroupKey, Group>,
    /// Every node.
    pub candidates: Vec<Candidate>,
    /// What holds everything up.
    pub brakes: Brakes,
}

impl Removals {
    /// Of a dump whose groups are `groups`.
    #[must_use]
    pub fn new(dump: Dump, groups: &[ReadGroup], now: Timestamp) -> Self {
        let managed: Vec<Resolved> = groups
            .iter()
            .filter(|group| group.object.is_managed())
            .map(ReadGroup::resolved)
            .collect();
        let machines: Vec<Arc<VPSieNode>> = dump.vpsie_nodes.into_iter().map(Arc::new).collect();
        let facts_of = dump.node_facts;
        let rows: Vec<Arc<NodeRow>> = dump
            .nodes
            .iter()
            .map(|node| {
                let facts = facts_of.get(&node.name).cloned().unwrap_or_default();
                Arc::new(NodeRow::new(node.clone(), facts))
            })
            .collect();
        let nodes = dump.nodes.into_iter();
        let cluster = Cluster {
            nodes: nodes.map(|node| (node.name.clone(), node)).collect(),
            bound: dump.bound,
            waiting: dump.waiting,
            surroundings: Arc::new(dump.surroundings),
        };
        let is_ours = |node: &Node| is_marked(node, facts_of.get(&node.name));
        let (groups, candidates) = facts(&managed, &machines, &rows, None);
        Self {
            now,
            expected: Expected::new(cluster, &machines, is_ours),
            disruption: dump.disruption,
            groups,
            candidates,
            brakes: Brakes {
                paused: dump.paused,
                stopped: stopped(&managed),
                ..Brakes::default()
            },
        }
    }

    /// As if nothing had changed for long: no cooldown runs, and every Ready node has been Ready for
    /// long enough. What nodes have in use is a matter of [`Settings::assume_unneeded`].
    #[must_use]
    pub fn settled(mut self) -> Self {
        for group in self.groups.values_mut() {
            group.cooldown = std::time::Duration::ZERO;
        }
        for candidate in &mut self.candidates {
            let node = self.expected.cluster.nodes.get(&candidate.node);
            if node.is_some_and(|node| node.ready) {
                candidate.ready_at.get_or_insert(self.now);
            }
        }
        self
    }

    /// The planner's input.
    #[must_use]
    pub fn input<'a>(&'a self, settings: &'a Settings) -> Input<'a> {
        Input {
            now: self.now,
            cluster: &self.expected.cluster,
            leaving: &self.expected.leaving,
            disruption: &self.disruption,
            groups: self.groups.clone(),
            candidates: self.candidates.clone(),
            settings,
            brakes: self.brakes.clone(),
        }
    }
}

/// The newest measurement of a dump: about the time at which it was taken.
#[must_use]
pub(crate) fn measured_at(dump: &Dump) -> Option<Timestamp> {
    dump.disruption.usage.values().map(|usage| usage.at).max()
}
