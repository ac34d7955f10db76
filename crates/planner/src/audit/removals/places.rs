//! The rules about where pods go: every pod has a place that the checker accepts, on a node that
//! stays, and enough is left free.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use checker::{Place, World};
use model::{NodeName, Pod, PodKey, TaintEffect};

use super::{Findings, evicted, going};
use crate::removal::plan::{Input, Plan};

/// All removals, one after the other.
pub(super) fn judge(input: &Input<'_>, plan: &Plan, findings: &mut Findings) {
    let going = going(input, plan);
    buffer(input, plan, &going, findings);
    let mut moved: BTreeMap<&PodKey, &NodeName> = BTreeMap::new();
    let mut gone: BTreeSet<&NodeName> = BTreeSet::new();
    for chosen in &plan.remove {
        let pods: BTreeMap<&PodKey, &Arc<Pod>> = evicted(input, &chosen.node)
            .map(|pod| (&pod.key, pod))
            .collect();
        let named: BTreeSet<&PodKey> = chosen.moves.iter().map(|(pod, _)| pod).collect();
        let same = named.iter().eq(pods.keys()) && named.len() == chosen.moves.len();
        findings.hold("S9", Some(&chosen.node), same, || {
            "not each of its pods has one place".into()
        });
        gone.insert(&chosen.node);
        if chosen.moves.is_empty() {
            continue;
        }
        let (mut world, places) = world(input, &gone, &moved);
        for (key, to) in &chosen.moves {
            let stays = input.cluster.nodes.get(to).is_some_and(|node| {
                let open = node.ready && node.defect.is_none() && !node.shape.unschedulable;
                open && !going.contains(to)
            });
            findings.hold("S9", Some(&chosen.node), stays, || {
                format!("pod {key} would go to {to}, which takes none")
            });
            let (Some(pod), Some(place)) = (pods.get(key), places.get(to)) else {
                continue;
            };
            let broken = world.broken(&pod.class, *place);
            findings.hold("S9", Some(&chosen.node), broken.is_empty(), || {
                let rules: Vec<&str> = broken.iter().map(|rule| rule.name()).collect();
                format!("pod {key} on {to}: {}", rules.join(", "))
            });
            world.put(&pod.class, *place, false);
            moved.insert(&pod.key, to);
        }
    }
}

/// The nodes that are not gone, with what runs there, and what was moved there before.
fn world<'a>(
    input: &'a Input<'_>,
    gone: &BTreeSet<&NodeName>,
    moved: &BTreeMap<&PodKey, &NodeName>,
) -> (World, BTreeMap<&'a NodeName, Place>) {
    let mut world = World::new(Arc::clone(&input.cluster.surroundings));
    let mut places = BTreeMap::new();
    for (name, node) in &input.cluster.nodes {
        if !gone.contains(name) {
            places.insert(name, world.add(node.clone()));
        }
    }
    for pod in &input.cluster.bound {
        let at = moved.get(&pod.key).copied().or(pod.node());
        if let Some(place) = at.and_then(|node| places.get(node)) {
            world.put(&pod.class, *place, pod.terminating.is_some());
        }
    }
    (world, places)
}

/// More is left free than the pods ask for, by as much as is wanted.
fn buffer(input: &Input<'_>, plan: &Plan, going: &BTreeSet<&NodeName>, findings: &mut Findings) {
    let mut free: BTreeMap<&NodeName, [i128; 2]> = (input.cluster.nodes.values())
        .filter(|node| node.ready && node.defect.is_none() && !node.shape.unschedulable)
        .filter(|node| !going.contains(&node.name))
        // Room that ordinary pods do not get is none.
        .filter(|node| {
            let roles = [
                "node-role.kubernetes.io/control-plane",
                "node-role.kubernetes.io/master",
            ];
            let mut taints = node.shape.taints.iter();
            !taints.any(|taint| {
                taint.effect != TaintEffect::PreferNoSchedule && roles.contains(&&*taint.key)
            })
        })
        .map(|node| {
            let has = &node.shape.allocatable;
            (&node.name, [has.cpu_milli.into(), has.memory.into()])
        })
        .collect();
    let asks = |pod: &Pod| {
        let asks = &pod.class.requests;
        [i128::from(asks.cpu_milli), i128::from(asks.memory)]
    };
    for pod in &input.cluster.bound {
        if let Some(free) = pod.node().and_then(|node| free.get_mut(node)) {
            let [cpu, memory] = asks(pod);
            *free = [free[0] - cpu, free[1] - memory];
        }
    }
    for (index, resource) in ["cpu", "memory"].into_iter().enumerate() {
        let free: i128 = free.values().map(|free| free[index].max(0)).sum();
        let nodes = plan.remove.iter().map(|chosen| &chosen.node);
        let asked: i128 = nodes
            .flat_map(|node| evicted(input, node))
            .map(|pod| asks(pod)[index].max(0))
            .sum();
        let percent = i128::from(input.settings.buffer_percent);
        findings.hold("E8", None, free * 100 >= asked * percent, || {
            format!("{asked} of {resource} would move, and {free} is free")
        });
    }
}
