//! Whether a plan, its report and the steps that the checker replays tell the same story.

use std::collections::{BTreeMap, BTreeSet};

use model::{GroupKey, NodeName, OfferingId, PodKey};
use planner::scale_up::{Host, Input, Placement, Plan, Report, template};

/// A host, in an order.
type Place<'a> = (Option<&'a NodeName>, usize);

const fn place(host: &Host) -> Place<'_> {
    match host {
        Host::Node(name) => (Some(name), 0),
        Host::Coming(index) => (None, *index),
    }
}

/// A machine by what it is and the pods on it.
type Machine<'a> = (&'a GroupKey, &'a OfferingId, BTreeSet<&'a PodKey>);

/// Where they differ.
pub(crate) fn differences(input: &Input, plan: &Plan, report: &Report) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut on: BTreeMap<Place<'_>, BTreeSet<&PodKey>> = BTreeMap::new();
    let mut stepped: BTreeMap<&PodKey, &Host> = BTreeMap::new();
    for (pod, host) in &report.steps.placements {
        if stepped.insert(pod, host).is_some() {
            wrong.push(format!("{pod} is placed by two steps"));
        }
        on.entry(place(host)).or_default().insert(pod);
    }
    let hosts = stepped.clone();
    let nominated = input.cluster.waiting.iter();
    let nominated: BTreeSet<&PodKey> = nominated
        .filter(|pod| pod.nominated.is_some())
        .map(|pod| &pod.key)
        .collect();
    for (pod, placement) in &report.pods {
        let agrees = match (placement, stepped.remove(pod)) {
            (Placement::Left(_), None)
            | (Placement::InFlight(_) | Placement::New(..), Some(Host::Coming(_))) => true,
            (Placement::Existing(_), None) => nominated.contains(pod),
            (Placement::Existing(node), Some(Host::Node(name))) => node == name,
            _ => false,
        };
        if !agrees {
            wrong.push(format!("{pod} goes elsewhere by its step"));
        }
    }
    wrong.extend(
        stepped
            .keys()
            .map(|pod| format!("{pod} is placed and not reported")),
    );
    // Each machine that is bought is one of those to come, with its pods on it and of its shape.
    let mut bought: Vec<Machine<'_>> = Vec::new();
    for create in &plan.create {
        let machines = create.pods.iter().filter(|pods| !pods.is_empty());
        bought
            .extend(machines.map(|pods| (&create.group, &create.offering, pods.iter().collect())));
    }
    let mut unseen: BTreeSet<usize> = (0..report.steps.coming.len()).collect();
    for (group, offering, pods) in bought {
        let host = pods.first().and_then(|pod| hosts.get(*pod));
        let there = host.and_then(|host| Some((*host, on.get(&place(host))?)));
        let Some((Host::Coming(index), there)) = there else {
            wrong.push(format!(
                "{group}: a machine whose pods are placed elsewhere"
            ));
            continue;
        };
        if *there != pods || !unseen.remove(index) {
            wrong.push(format!(
                "{group}: a machine with other pods than its steps put there"
            ));
        }
        let group = input.groups.iter().find(|one| &one.key == group);
        let shape = group.and_then(|group| {
            let mut choices = group.choices.iter();
            let choice = choices.find(|choice| &choice.offering.id == offering)?;
            let node = &report.steps.coming.get(*index)?.node;
            let name = node.shape.labels.get("kubernetes.io/hostname")?;
            let wanted = template(group, choice, &input.limits.reserve, name);
            Some(wanted.shape == node.shape)
        });
        if shape != Some(true) {
            wrong.push(format!("machine {index} is not what {offering} gives"));
        }
    }
    wrong
}
