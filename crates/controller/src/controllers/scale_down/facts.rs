//! What the choice of nodes to remove rests on, from objects: the loop that removes and what explains
//! a dump read nodes and groups by this.

use std::{collections::BTreeMap, sync::Arc};

use api::{NodeGroupSpec, VPSieNode, labels};
use model::{GroupKey, NodeName, PodKey};
use planner::{
    lifecycle::{Phase, Record, RemovalCause, RemovalStep},
    removal::plan::{Candidate, Group},
};
use planted::Bug;

use crate::{
    cluster_state::NodeRow,
    controllers::{
        groups::{self, Group as Resolved},
        vpsie_node::{cordon_of, read_record},
    },
};

/// Every node as a candidate, and the groups they are of. `machines` are the VPSieNodes of all
/// groups, `own` is the node on which the leader of the product runs.
#[must_use]
pub fn facts(
    managed: &[Resolved],
    machines: &[Arc<VPSieNode>],
    nodes: &[Arc<NodeRow>],
    own: Option<&NodeName>,
) -> (BTreeMap<GroupKey, Group>, Vec<Candidate>) {
    let records: Vec<(&Arc<VPSieNode>, Record)> = machines
        .iter()
        .map(|object| (object, read_record(object)))
        .collect();
    let by_node: BTreeMap<&NodeName, &(&Arc<VPSieNode>, Record)> = records
        .iter()
        .filter_map(|pair| Some((pair.1.node.as_ref()?, pair)))
        .collect();
    let resolved: BTreeMap<&GroupKey, &Resolved> =
        managed.iter().map(|group| (&group.key, group)).collect();
    let candidates = nodes
        .iter()
        .map(|row| {
            let of = by_node.get(&row.node.name).copied();
            candidate(row, of, &resolved, own)
        })
        .collect();
    let groups = managed
        .iter()
        .map(|group| (group.key.clone(), described(group, &records)))
        .collect();
    (groups, candidates)
}

fn candidate(
    row: &NodeRow,
    of: Option<&(&Arc<VPSieNode>, Record)>,
    resolved: &BTreeMap<&GroupKey, &Resolved>,
    own: Option<&NodeName>,
) -> Candidate {
    let node = row.node.name.clone();
    let key = of.map(|(object, _)| {
        let namespace = object.metadata.namespace.as_deref().unwrap_or_default();
        GroupKey::new(namespace, &object.spec.node_group_name)
    });
    let group = key.as_ref().and_then(|key| resolved.get(key)).copied();
    let status = of.and_then(|(object, _)| object.status.as_ref());
    Candidate {
        machine: of.map(|(object, _)| {
            format!(
                "{}/{}",
                object.metadata.namespace.as_deref().unwrap_or_default(),
                object.metadata.name.as_deref().unwrap_or_default()
            )
        }),
        managed: group.is_some(),
        ready_at: of.and_then(|(_, record)| record.ready_at),
        unneeded_since: status
            .and_then(|status| status.unneeded_since.as_ref())
            .and_then(|time| time.parse().ok()),
        protected_by: protection(row),
        allowed_hours: row
            .annotation(labels::SCALE_DOWN_ALLOWED_HOURS)
            .map(ToOwned::to_owned),
        startup_taints: group
            .map(|group| startup_taints(row, &group.object.spec))
            .unwrap_or_default(),
        control_plane: row.control_plane,
        cordon: cordon_of(row),
        own: own == Some(&node),
        savings: of.and_then(|(object, _)| group?.price(&object.spec.instance_type)),
        removal: of.and_then(|(_, record)| under_way(record)),
        group: key,
        node,
    }
}

/// The removal of the machine, where one is under way or ordered.
fn under_way(record: &Record) -> Option<(RemovalCause, RemovalStep)> {
    if let Some(removal) = &record.removal {
        return Some((removal.cause, removal.step));
    }
    let cause = match record.phase {
        _ if record.deletion_requested => RemovalCause::Deleted,
        Phase::Failed | Phase::Terminating | Phase::Deleting => RemovalCause::Failed,
        Phase::Pending
        | Phase::Provisioning
        | Phase::Provisioned
        | Phase::Joining
        | Phase::Ready => return None,
    };
    Some((cause, RemovalStep::Cordoning))
}

fn described(group: &Resolved, records: &[(&Arc<VPSieNode>, Record)]) -> Group {
    let spec = &group.object.spec;
    let policy = spec.scale_down_policy.clone().unwrap_or_default();
    let in_flight = records
        .iter()
        .filter(|(object, record)| {
            groups::has(&group.key, object) && record.is_wanted() && record.phase.is_in_flight()
        })
        .count();
    Group {
        min_nodes: u32::try_from(spec.min_nodes)
            .unwrap_or(0)
            .saturating_sub(u32::from(planted::is(Bug::UndercutMinimum))),
        enabled: policy.is_enabled(),
        window: policy.window(),
        cooldown: policy.cooldown(),
        last_scaled_at: group
            .object
            .status
            .as_ref()
            .and_then(|status| status.last_scale_time.as_ref())
            .and_then(|time| time.parse().ok()),
        in_flight: u32::try_from(in_flight).unwrap_or(u32::MAX),
        deleting: group.deleting(),
        paused: intake::pause(group.object.metadata.annotations.as_ref()).is_some(),
        cpu_threshold: policy.cpu_percent(),
        memory_threshold: policy.memory_percent(),
        at_once: u32::MAX,
    }
}

/// The label or annotation by which somebody protects a node. A value that means nothing
/// protects, too: it was meant to say something.
fn protection(row: &NodeRow) -> Option<String> {
    let says_no = |value: &str| value.trim().eq_ignore_ascii_case("false");
    for key in [
        labels::PROTECTED,
        labels::CA_SCALE_DOWN_DISABLED,
        labels::KARPENTER_DO_NOT_DISRUPT,
        labels::SCALE_DOWN_DISABLED_LABEL,
    ] {
        for value in [row.annotation(key), row.label(key)].into_iter().flatten() {
            if !says_no(value) {
                return Some(format!("{key}={value}"));
            }
        }
    }
    row.annotation(labels::SCALE_DOWN)
        .filter(|value| !value.trim().eq_ignore_ascii_case("enabled"))
        .map(|value| format!("{}={value}", labels::SCALE_DOWN))
}

/// Startup taints of the group that are still on the node.
#[must_use]
pub fn startup_taints(row: &NodeRow, spec: &NodeGroupSpec) -> Vec<String> {
    spec.startup_taints
        .iter()
        .flatten()
        .filter(|taint| row.taints.iter().any(|present| present.key == taint.key))
        .map(|taint| taint.key.clone())
        .collect()
}

/// The node on which this pod runs.
#[must_use]
pub fn node_of(cluster: &model::Cluster, pod: &PodKey) -> Option<NodeName> {
    let mut bound = cluster.bound.iter();
    bound.find(|one| one.key == *pod)?.node().cloned()
}
