//! The filters, one file each, named as the scheduler's plugins.
//!
//! Those that look at the node alone (and at volumes, which no placement changes) take a `View` of it and
//! are asked once for each class and shape; the others read the snapshot's numbers. `check` names
//! every reason, `passes` answers fast, `at_most` says how many equal pods in a row would pass.

pub(crate) mod inter_pod_affinity;
pub(crate) mod node_affinity;
pub(crate) mod node_declared_features;
pub(crate) mod node_name;
pub(crate) mod node_ports;
pub(crate) mod node_resources_fit;
pub(crate) mod node_unschedulable;
pub(crate) mod node_volume_limits;
pub(crate) mod pod_topology_spread;
pub(crate) mod taint_toleration;
pub(crate) mod volume_binding;
pub(crate) mod volume_restrictions;
pub(crate) mod volume_zone;

use model::{SchedulingClass, Storage};

use crate::{Failure, view::View, volumes::FreeVolumes};

/// What the node's own properties say, but for features and volumes.
pub(crate) fn check_node(class: &SchedulingClass, node: View<'_>) -> Vec<Failure> {
    let mut failures = Vec::new();
    failures.extend(node_unschedulable::check(class, node));
    failures.extend(node_name::check(class, node));
    failures.extend(taint_toleration::check(class, node));
    failures.extend(node_affinity::check(class, node));
    failures
}

/// Whether the filters that no placement changes let the pod pass.
pub(crate) fn admits(
    class: &SchedulingClass,
    storage: &Storage,
    free: &FreeVolumes,
    node: View<'_>,
) -> bool {
    check_node(class, node).is_empty()
        && node_declared_features::check(class, node).is_none()
        && (class.claims.is_empty()
            || (volume_binding::check(class, storage, free, node).is_empty()
                && volume_zone::check(class, storage, node).is_empty()))
}
