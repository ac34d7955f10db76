//! Room that need not be bought: on nodes that are there, on machines on their way and on those
//! bought for a minimum in this very plan.

use std::collections::BTreeMap;

use model::{Node, NodeName, PodState, Resources};

use super::{
    Choice, Group, InFlight, Input, Placement, Report, kinds::Kind, kinds::daemon_sets,
    queue::Queue, template,
};

/// A node with room.
struct Bin {
    node: Node,
    requested: Resources,
    /// Where a pod goes that is placed here.
    placement: Placement,
}

/// All of it, in the order it is used.
pub(super) struct Room {
    bins: Vec<Bin>,
}

impl Room {
    pub(super) fn new(input: &Input) -> Self {
        let mut room = Self { bins: Vec::new() };
        room.add_existing(input);
        for group in input.groups.iter().filter(|group| !group.deleting) {
            for machine in &group.in_flight {
                room.add_in_flight(input, group, machine);
            }
        }
        room.keep_for_nominated(input);
        room
    }

    /// Nodes that are there. A joined node of a machine that does not serve yet is planned with
    /// as its template: its taints and readiness are about to change.
    fn add_existing(&mut self, input: &Input) {
        let joining: Vec<&NodeName> = input
            .groups
            .iter()
            .flat_map(|group| group.in_flight.iter().filter_map(|m| m.node.as_ref()))
            .collect();
        for state in input.snapshot.nodes() {
            let node = &state.node;
            if is_usable(input, node) && !joining.contains(&&node.name) {
                self.bins.push(Bin {
                    node: node.clone(),
                    requested: state.requested.clone(),
                    placement: Placement::Existing(node.name.clone()),
                });
            }
        }
    }

    fn add_in_flight(&mut self, input: &Input, group: &Group, machine: &InFlight) {
        let Some(choice) = shape_of(input, group, machine) else {
            return;
        };
        let name = machine
            .node
            .as_ref()
            .map_or(machine.machine.as_str(), NodeName::as_str);
        let node = template(group, choice, &input.limits.reserve, name);
        let mut requested = daemon_sets(input, &node);
        // Pods may be bound to it before it counts as serving; DaemonSets' are among them.
        if let Some(state) = machine.node.as_ref().and_then(|n| input.snapshot.node(n)) {
            requested.raise_to(&state.requested);
        }
        self.bins.push(Bin {
            node,
            requested,
            placement: Placement::InFlight(machine.machine.clone()),
        });
    }

    /// What the scheduler makes room for is taken, as it is for the scheduler itself.
    fn keep_for_nominated(&mut self, input: &Input) {
        let mut nominated: BTreeMap<&NodeName, Resources> = BTreeMap::new();
        for pod in input.snapshot.waiting() {
            if let Some(node) = &pod.nominated
                && !pod.terminating
                && matches!(pod.state, PodState::Unschedulable(_) | PodState::Waiting)
            {
                nominated.entry(node).or_default().add(&pod.class.requests);
            }
        }
        for bin in &mut self.bins {
            if let Some(kept) = nominated.get(&bin.node.name) {
                bin.requested.add(kept);
            }
        }
    }

    /// A machine bought for a minimum.
    pub(super) fn add_new(&mut self, kind: &Kind, placement: Placement) {
        self.bins.push(Bin {
            node: kind.node.clone(),
            requested: kind.requested.clone(),
            placement,
        });
    }

    /// Places what fits.
    pub(super) fn fill(&mut self, queues: &mut [Queue], report: &mut Report) {
        for queue in queues {
            for bin in &mut self.bins {
                let waiting = u32::try_from(queue.pods.len()).unwrap_or(u32::MAX);
                if waiting == 0 {
                    break;
                }
                // Most nodes are full; that is quicker to see than what labels and taints say.
                let count = scheduling::how_many(&queue.class, &bin.node, &bin.requested, waiting);
                if count == 0 || !scheduling::admits(&queue.class, &bin.node) {
                    continue;
                }
                for pod in queue.take(count) {
                    bin.requested.add(&queue.class.requests);
                    report.pods.insert(pod, bin.placement.clone());
                }
            }
        }
    }
}

/// Whether room on `node` counts at all.
pub(super) fn is_usable(input: &Input, node: &Node) -> bool {
    node.ready && node.defect.is_none() && !input.leaving.contains(&node.name)
}

/// What a machine on its way is going to be like. An offering that its group lists no more may
/// still be listed by another; failing that it counts as the smallest its group has: too little
/// room is bought again later, but no room at all would be bought twice now.
fn shape_of<'a>(input: &'a Input, group: &'a Group, machine: &InFlight) -> Option<&'a Choice> {
    let same = |choice: &&Choice| choice.offering.id == machine.offering;
    group
        .choices
        .iter()
        .find(same)
        .or_else(|| {
            input
                .groups
                .iter()
                .filter(|other| other.datacenter == group.datacenter)
                .find_map(|other| other.choices.iter().find(same))
        })
        .or_else(|| {
            group
                .choices
                .iter()
                .min_by_key(|choice| (choice.offering.cpus, choice.offering.memory_mib))
        })
}
