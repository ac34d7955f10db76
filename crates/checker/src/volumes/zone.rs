//! VolumeZone: zones and regions on a volume's labels are the node's.

use model::{Node, SchedulingClass, Storage, storage::Volume};

use super::named;

/// Each label with the one that took its place.
const LABELS: [(&str, &str); 4] = [
    (
        "failure-domain.beta.kubernetes.io/zone",
        "topology.kubernetes.io/zone",
    ),
    (
        "failure-domain.beta.kubernetes.io/region",
        "topology.kubernetes.io/region",
    ),
    ("topology.kubernetes.io/zone", "topology.kubernetes.io/zone"),
    (
        "topology.kubernetes.io/region",
        "topology.kubernetes.io/region",
    ),
];

pub(crate) fn holds(storage: &Storage, class: &SchedulingClass, node: &Node) -> bool {
    let label = |key: &str| node.shape.labels.get(key);
    // A node that tells nothing of zones is in a cluster that has none.
    let has_zones = LABELS.iter().any(|(key, _)| label(key).is_some());
    let agrees = |volume: &Volume| {
        LABELS.iter().all(|(key, current)| {
            let Some(zones) = volume.labels.get(*key).and_then(|text| zones(text)) else {
                return true;
            };
            let own = label(key).or_else(|| label(current));
            own.is_some_and(|own| zones.contains(&&**own))
        })
    };
    named(class).all(|used| {
        let Some(claim) = storage.claim(&class.namespace, &used.name) else {
            return false;
        };
        if let Some(volume) = &claim.volume {
            let volume = storage.volumes.get(volume);
            return volume.is_some_and(|volume| !has_zones || agrees(volume));
        }
        // Without a volume it has to be one that waits for its pod.
        let class = claim.class.as_ref();
        let class = class.and_then(|name| storage.classes.get(name));
        class.is_some_and(|class| class.waits_for_consumer)
    })
}

/// The zones of a list like `a__b`; a list with an empty place in it says nothing.
fn zones(text: &str) -> Option<Vec<&str>> {
    let zones: Vec<&str> = text.split("__").map(str::trim).collect();
    (!zones.contains(&"")).then_some(zones)
}
