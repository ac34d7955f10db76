//! Room that need not be bought: on nodes that are there, on machines on their way and on those
//! bought for a minimum in this very plan.
//!
//! Machines on their way are filled by the same search that chose them: filled in any other way,
//! pods they were bought for might find no place on them, and one would be bought too many.

use std::collections::BTreeMap;

use model::{Node, NodeName, PodState, Resources};

use super::{
    Choice, Group, InFlight, Input, Placement, Report,
    kinds::{Budget, Kind, daemon_sets},
    queue::Queue,
    search::Search,
    template,
};

/// A node that is there.
struct Bin {
    node: Node,
    requested: Resources,
}

/// Machines to come that are alike.
struct Coming {
    kind: Kind,
    /// Where a pod goes that is placed on one of them.
    placements: Vec<Placement>,
}

/// All of it, in the order it is used.
pub(super) struct Room {
    existing: Vec<Bin>,
    coming: Vec<Coming>,
}

impl Room {
    pub(super) fn new(input: &Input) -> Self {
        let mut room = Self {
            existing: Vec::new(),
            coming: Vec::new(),
        };
        let requested = input.cluster.requested();
        room.add_existing(input, &requested);
        for (index, group) in input.groups.iter().enumerate() {
            for machine in group.in_flight.iter().filter(|_| !group.deleting) {
                room.add_in_flight(input, index, machine, &requested);
            }
        }
        room.keep_for_nominated(input);
        room
    }

    /// Nodes that are there. A joined node of a machine that does not serve yet is planned with
    /// as its template: its taints and readiness are about to change.
    fn add_existing(&mut self, input: &Input, requested: &BTreeMap<&NodeName, Resources>) {
        let joining: Vec<&NodeName> = input
            .groups
            .iter()
            .flat_map(|group| group.in_flight.iter().filter_map(|m| m.node.as_ref()))
            .collect();
        for node in input.cluster.nodes.values() {
            if is_usable(input, node) && !joining.contains(&&node.name) {
                self.existing.push(Bin {
                    node: node.clone(),
                    requested: requested.get(&node.name).cloned().unwrap_or_default(),
                });
            }
        }
    }

    fn add_in_flight(
        &mut self,
        input: &Input,
        index: usize,
        machine: &InFlight,
        bound: &BTreeMap<&NodeName, Resources>,
    ) {
        let group = &input.groups[index];
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
        if let Some(bound) = machine.node.as_ref().and_then(|n| bound.get(n)) {
            requested.raise_to(bound);
        }
        let kind = Kind {
            group: index,
            choice: 0,
            node,
            requested,
            price: choice.offering.price,
            preferred: group.preferred.as_ref() == Some(&choice.offering.id),
        };
        let placement = Placement::InFlight(machine.machine.clone());
        self.add_coming(kind, placement, machine.node.is_some());
    }

    /// Machines of one group and offering that have not joined differ by their name only.
    fn add_coming(&mut self, kind: Kind, placement: Placement, distinct: bool) {
        let like = |other: &&mut Coming| {
            let (a, b) = (&other.kind, &kind);
            let shape = |kind: &Kind| {
                let mut shape = model::NodeShape::clone(&kind.node.shape);
                shape.labels.remove("kubernetes.io/hostname");
                shape
            };
            a.group == b.group
                && a.price == b.price
                && a.requested == b.requested
                && shape(a) == shape(b)
        };
        match self.coming.iter_mut().find(like) {
            Some(alike) if !distinct => alike.placements.push(placement),
            _ => self.coming.push(Coming {
                kind,
                placements: vec![placement],
            }),
        }
    }

    /// What the scheduler makes room for is taken, as it is for the scheduler itself.
    fn keep_for_nominated(&mut self, input: &Input) {
        let mut nominated: BTreeMap<&NodeName, Resources> = BTreeMap::new();
        for pod in &input.cluster.waiting {
            if let Some(node) = &pod.nominated
                && pod.terminating.is_none()
                && matches!(pod.state, PodState::Unschedulable(_) | PodState::Waiting)
            {
                nominated.entry(node).or_default().add(&pod.class.requests);
            }
        }
        for bin in &mut self.existing {
            if let Some(kept) = nominated.get(&bin.node.name) {
                bin.requested.add(kept);
            }
        }
    }

    /// A machine bought for a minimum.
    pub(super) fn add_new(&mut self, kind: &Kind, placement: Placement) {
        self.add_coming(kind.clone(), placement, false);
    }

    /// Places what fits.
    pub(super) fn fill(&mut self, queues: &mut [Queue], whole: &Resources, report: &mut Report) {
        self.fill_existing(queues, report);
        self.fill_coming(queues, whole, report);
    }

    fn fill_existing(&mut self, queues: &mut [Queue], report: &mut Report) {
        for queue in queues {
            for bin in &mut self.existing {
                let waiting = queue.waiting();
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
                    let placement = Placement::Existing(bin.node.name.clone());
                    report.pods.insert(pod, placement);
                }
            }
        }
    }

    fn fill_coming(&mut self, queues: &mut [Queue], whole: &Resources, report: &mut Report) {
        if self.coming.is_empty() || queues.iter().all(|queue| queue.pods.is_empty()) {
            return;
        }
        // In the order of the kinds they were chosen from, each with a limit of its own.
        self.coming.sort_by(|a, b| {
            let name = |coming: &Coming| {
                let labels = &coming.kind.node.shape.labels;
                labels.get("autoscaler.vpsie.com/offering").cloned()
            };
            (a.kind.group, name(a)).cmp(&(b.kind.group, name(b)))
        });
        let mut kinds = Vec::new();
        let mut whole = whole.clone();
        for (index, coming) in self.coming.iter().enumerate() {
            let mut kind = coming.kind.clone();
            kind.group = index;
            whole.raise_to(&kind.free());
            kinds.push(kind);
        }
        let budget = Budget {
            groups: self
                .coming
                .iter()
                .map(|coming| u32::try_from(coming.placements.len()).unwrap_or(u32::MAX))
                .collect(),
            cluster: u32::MAX,
        };
        let all: Vec<usize> = (0..kinds.len()).collect();
        let mut open: Vec<&mut Queue> = queues.iter_mut().filter(|q| q.waiting() > 0).collect();
        let waiting: Vec<u32> = open.iter().map(|queue| queue.waiting()).collect();
        let classes: Vec<_> = open.iter().map(|queue| queue.class.clone()).collect();
        let steps = Search::new(classes.iter().collect(), &kinds, &all, &whole)
            .fill_coming(&waiting, &budget);
        for step in steps {
            for _ in 0..step.times {
                let Some(placement) = self.coming[step.kind].placements.pop() else {
                    break;
                };
                for (class, count) in &step.counts {
                    for pod in open[*class].take(*count) {
                        report.pods.insert(pod, placement.clone());
                    }
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
