//! A resolved group as the planner sees it: what its nodes are like, how many machines it has, and
//! what those of each offering have shown.
//!
//! From objects alone: the loop that buys and what explains a dump read groups by this.

use std::{collections::BTreeMap, sync::Arc};

use api::{VPSieNode, labels};
use jiff::Timestamp;
use model::{Node, NodeName, PodKey};
use planner::{
    lifecycle::Phase,
    scale_up::{self, Choice, InFlight, Learned},
};

use super::{Group, allowed_offerings, has};
use crate::controllers::{node_group::model_taint, vpsie_node::read_record};

/// What the planner needs of a group. `objects` are the machines of all groups, `node` looks up a
/// Node, and `backoff` says until when an offering of this group is not asked for, and why.
pub fn input(
    group: &Group,
    objects: &[Arc<VPSieNode>],
    node: impl Fn(&NodeName) -> Option<Node>,
    backoff: impl Fn(&str) -> Option<(Timestamp, String)>,
) -> scale_up::Group {
    let mut input = described(group);
    let mut learned: BTreeMap<String, Learned> = BTreeMap::new();
    for object in objects.iter().filter(|object| has(&group.key, object)) {
        let record = read_record(object);
        if record.may_be_billed() {
            input.existing += 1;
        }
        let leaving = record.deletion_requested
            || record.removal.is_some()
            || matches!(
                record.phase,
                Phase::Failed | Phase::Terminating | Phase::Deleting
            );
        if leaving {
            continue;
        }
        // What has been ill for too long is replaced.
        if record.unhealthy {
            continue;
        }
        input.serving += 1;
        if record.phase.is_in_flight() {
            input.in_flight.push(InFlight {
                machine: object.metadata.name.clone().unwrap_or_default(),
                offering: object.spec.instance_type.as_str().into(),
                node: record.node.clone(),
                pods: bought_for(object),
            });
        } else if let Some(node) = record.node.as_ref().and_then(&node)
            && node.ready
            && node.defect.is_none()
        {
            learned
                .entry(object.spec.instance_type.clone())
                .or_insert_with(|| Learned {
                    allocatable: node.shape.allocatable.clone(),
                    features: node.shape.features.clone(),
                });
        }
    }
    input.choices = allowed_offerings(group)
        .into_iter()
        .map(|offering| Choice {
            learned: learned.get(offering.id.as_str()).cloned(),
            backoff: backoff(offering.id.as_str()),
            offering,
        })
        .collect();
    input
}

/// What the object says by itself: no machine, no choice.
fn described(group: &Group) -> scale_up::Group {
    let spec = &group.object.spec;
    scale_up::Group {
        key: group.key.clone(),
        min_nodes: u32::try_from(spec.min_nodes).unwrap_or(0),
        max_nodes: u32::try_from(spec.max_nodes).unwrap_or(0),
        existing: 0,
        serving: 0,
        in_flight: Vec::new(),
        choices: Vec::new(),
        preferred: spec.preferred_instance_type.as_deref().map(Into::into),
        labels: spec
            .labels
            .iter()
            .flatten()
            .map(|(key, value)| (Arc::from(key.as_str()), Arc::from(value.as_str())))
            .collect(),
        taints: spec.taints.iter().flatten().map(model_taint).collect(),
        startup_taints: spec
            .startup_taints
            .iter()
            .flatten()
            .map(model_taint)
            .collect(),
        datacenter: Arc::from(spec.datacenter_id.as_str()),
        enabled: spec
            .scale_up_policy
            .as_ref()
            .is_none_or(api::ScaleUpPolicy::is_enabled),
        deleting: group.deleting(),
        invalid: group
            .problems
            .iter()
            .find(|problem| problem.is_fatal())
            .map(ToString::to_string),
    }
}

/// The pods that an object says its machine was bought for.
fn bought_for(object: &VPSieNode) -> Vec<PodKey> {
    let annotations = object.metadata.annotations.as_ref();
    let list = annotations.and_then(|all| all.get(labels::BOUGHT_FOR));
    list.into_iter()
        .flat_map(|list| list.split(','))
        .filter_map(|pod| pod.split_once('/'))
        .map(|(namespace, name)| PodKey::new(namespace, name))
        .collect()
}
