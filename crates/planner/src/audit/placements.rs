//! Whether every step of a plan is right beside those before it, by the checker's own rules.

use std::{collections::BTreeMap, sync::Arc};

use checker::{Place, Violation, World};
use model::{NodeName, PodKey, PodState, SchedulingClass};

use crate::scale_up::{Host, Input, Report, Steps};

/// The steps that break a rule of the scheduler; none for a plan whose pods can all run where it
/// counts on.
#[must_use]
pub fn placements(input: &Input, report: &Report) -> Vec<Violation> {
    let Steps { coming, placements } = &report.steps;
    let cluster = &input.cluster;
    let mut world = World::new(Arc::clone(&cluster.surroundings));
    // A node that joined and does not serve yet is as it is going to be.
    let to_come: Vec<Place> = coming
        .iter()
        .map(|one| world.add(one.node.clone()))
        .collect();
    let mut nodes: BTreeMap<&NodeName, Place> = BTreeMap::new();
    for node in cluster.nodes.values() {
        if world.find(&node.name).is_none() {
            nodes.insert(&node.name, world.add(node.clone()));
        }
    }
    for (one, place) in coming.iter().zip(&to_come) {
        for class in &one.pods {
            world.put(class, *place, false);
        }
    }
    for pod in &cluster.bound {
        if let Some(place) = pod.node().and_then(|name| nodes.get(name)) {
            world.put(&pod.class, *place, pod.terminating.is_some());
        }
    }
    let mut waiting: BTreeMap<&PodKey, &Arc<SchedulingClass>> = BTreeMap::new();
    for pod in &cluster.waiting {
        waiting.insert(&pod.key, &pod.class);
        if let Some(place) = pod.nominated.as_ref().and_then(|name| nodes.get(name))
            && pod.terminating.is_none()
            && matches!(pod.state, PodState::Unschedulable(_) | PodState::Waiting)
        {
            world.put(&pod.class, *place, false);
        }
    }
    let steps = placements.iter().filter_map(|(pod, host)| {
        let place = match host {
            Host::Node(name) => nodes.get(name),
            Host::Coming(index) => to_come.get(*index),
        };
        Some((pod, *waiting.get(pod)?, *place?))
    });
    checker::replay(&mut world, steps)
}
