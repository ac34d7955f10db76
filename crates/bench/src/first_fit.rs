//! First fit, decreasing, by price: what anybody would write first, to be compared with.
//!
//! The largest pods come first; each goes onto the first node or machine that takes it, in the order
//! in which they are there or were opened; where none does, the cheapest machine that takes it is
//! opened. The scheduler's filters are the engine's.
//!
//! A machine that is opened late is there for the pods that came early, too: who is spread over
//! nodes has to count it. So the same is done again beside the machines that it opened, until it
//! opens no other, and the checker looks at both results.

use std::{cmp::Reverse, sync::Arc};

use model::{HourlyPrice, Node, NodeName, Pod, PodKey, Resources, SchedulingClass};
use planner::{
    audit,
    scale_up::{Coming, Host, Input, Report, Steps, template},
};
use scheduling::{ClassId, NodeId, Snapshot};

/// How often it is done again at most.
const ROUNDS: usize = 16;

/// What it comes to.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Outcome {
    /// Of all machines opened, an hour.
    pub(crate) price: HourlyPrice,
    /// How many.
    pub(crate) machines: u32,
    /// Pods without a place.
    pub(crate) left: usize,
    /// The checker finds nothing wrong with it.
    pub(crate) is_valid: bool,
    /// What each machine is, in the order in which they were opened.
    opened: Vec<usize>,
}

/// A machine that can be opened.
struct Kind {
    group: usize,
    template: Node,
    price: HourlyPrice,
}

struct Shop<'a> {
    input: &'a Input,
    /// The cheapest first.
    kinds: Vec<Kind>,
    /// The pods that wait, those that are the largest share of the largest machine first.
    pods: Vec<&'a Arc<Pod>>,
}

/// A machine that was opened.
struct Machine {
    kind: usize,
    coming: Coming,
    pods: usize,
}

/// Packs the pods that wait: at once, and again until the machines are those that it began with.
/// The last is `None` where they never are.
pub(crate) fn first_fit_decreasing(input: &Input) -> (Outcome, Option<Outcome>) {
    let shop = Shop::new(input);
    let at_once = shop.pack(&[]);
    let mut outcome = at_once.clone();
    for _ in 0..ROUNDS {
        let again = shop.pack(&outcome.opened);
        if again.opened == outcome.opened {
            return (at_once, Some(again));
        }
        outcome = again;
    }
    (at_once, None)
}

impl<'a> Shop<'a> {
    fn new(input: &'a Input) -> Self {
        let mut kinds = kinds(input);
        kinds.sort_by(|a, b| (a.price, &a.template.name).cmp(&(b.price, &b.template.name)));
        Self {
            pods: decreasing(input, &kinds),
            input,
            kinds,
        }
    }

    /// Packs all pods beside machines that are bought; those that stay empty are given back.
    fn pack(&self, bought: &[usize]) -> Outcome {
        let mut snapshot = Snapshot::of(&self.input.cluster);
        let daemons = snapshot.classes(&self.input.daemon_sets);
        let mut count = vec![0_u32; self.input.groups.len()];
        let mut machines: Vec<Machine> = Vec::new();
        let mut hosts: Vec<(NodeId, Host)> = snapshot
            .nodes()
            .filter_map(|node| Some((node, Host::Node(snapshot.name(node)?.clone()))))
            .collect();
        for &kind in bought {
            count[self.kinds[kind].group] += 1;
            let (node, machine) = self.open(&mut snapshot, &daemons, kind, machines.len());
            hosts.push((node, Host::Coming(machines.len())));
            machines.push(machine);
        }
        let mut placements = Vec::new();
        let mut left = 0;
        for pod in &self.pods {
            let class = snapshot.class(&pod.class);
            let mut taken = hosts.iter().find(|(node, _)| snapshot.fits(class, *node));
            if taken.is_none() {
                for (index, kind) in self.kinds.iter().enumerate() {
                    let group = &self.input.groups[kind.group];
                    if group.existing + count[kind.group] >= group.max_nodes {
                        continue;
                    }
                    snapshot.fork();
                    let (node, machine) = self.open(&mut snapshot, &daemons, index, machines.len());
                    if snapshot.fits(class, node) {
                        snapshot.commit();
                        count[kind.group] += 1;
                        hosts.push((node, Host::Coming(machines.len())));
                        machines.push(machine);
                        taken = hosts.last();
                        break;
                    }
                    snapshot.revert();
                }
            }
            let Some((node, host)) = taken else {
                left += 1;
                continue;
            };
            snapshot.place(*node, class, false);
            if let Host::Coming(index) = host {
                machines[*index].pods += 1;
            }
            placements.push((pod.key.clone(), host.clone()));
        }
        self.outcome(&machines, placements, left)
    }

    fn open(
        &self,
        snapshot: &mut Snapshot,
        daemons: &[ClassId],
        kind: usize,
        number: usize,
    ) -> (NodeId, Machine) {
        let template = &self.kinds[kind].template;
        let name = NodeName::new(format!("{}/{number}", template.name));
        let node = snapshot.add_copy(template, name);
        let mut pods: Vec<Arc<SchedulingClass>> = Vec::new();
        for (daemon, class) in daemons.iter().zip(&self.input.daemon_sets) {
            if snapshot.admits(*daemon, node) {
                snapshot.place(node, *daemon, false);
                pods.push(Arc::clone(class));
            }
        }
        let node_as_it_comes = snapshot.as_node(node);
        let coming = Coming {
            node: node_as_it_comes.unwrap_or_else(|| template.clone()),
            pods,
        };
        let machine = Machine {
            kind,
            coming,
            pods: 0,
        };
        (node, machine)
    }

    /// The checker sees every machine, also those that pods might have gone to and did not.
    fn outcome(
        &self,
        machines: &[Machine],
        placements: Vec<(PodKey, Host)>,
        left: usize,
    ) -> Outcome {
        let coming = machines.iter().map(|machine| machine.coming.clone());
        let report = Report {
            steps: Steps {
                coming: coming.collect(),
                placements,
            },
            ..Report::default()
        };
        let used = machines.iter().filter(|machine| machine.pods > 0);
        let opened: Vec<usize> = used.map(|machine| machine.kind).collect();
        Outcome {
            price: opened.iter().map(|&kind| self.kinds[kind].price).sum(),
            machines: u32::try_from(opened.len()).unwrap_or(u32::MAX),
            left,
            is_valid: audit::placements(self.input, &report).is_empty(),
            opened,
        }
    }
}

/// How many of the pods that wait, in the order of their names, find a place on the nodes that are
/// there.
pub(crate) fn on_existing(input: &Input) -> usize {
    let mut snapshot = Snapshot::of(&input.cluster);
    let Some(first) = snapshot.nodes().next() else {
        return 0;
    };
    let mut placed = 0;
    for pod in &input.cluster.waiting {
        let class = snapshot.class(&pod.class);
        if let Some(node) = snapshot.first_fit(class, first) {
            snapshot.place(node, class, false);
            placed += 1;
        }
    }
    placed
}

fn kinds(input: &Input) -> Vec<Kind> {
    let mut kinds = Vec::new();
    for (index, group) in input.groups.iter().enumerate() {
        for choice in &group.choices {
            let name = format!("{}/{}", group.key, choice.offering.id);
            kinds.push(Kind {
                group: index,
                template: template(group, choice, &input.limits.reserve, &name),
                price: choice.offering.price.unwrap_or_default(),
            });
        }
    }
    kinds
}

/// Equal pods together.
fn decreasing<'a>(input: &'a Input, kinds: &[Kind]) -> Vec<&'a Arc<Pod>> {
    let mut largest = Resources::default();
    for kind in kinds {
        largest.raise_to(&kind.template.shape.allocatable);
    }
    let mut pods: Vec<&Arc<Pod>> = input.cluster.waiting.iter().collect();
    pods.sort_by_cached_key(|pod| {
        let share = pod.class.requests.dominant_share(&largest);
        (Reverse(share), Arc::clone(&pod.class), pod.key.clone())
    });
    pods
}
