//! The node a machine is going to be, before it exists.

use std::{collections::BTreeSet, sync::Arc};

use model::{Labels, Node, NodeName, NodeShape, Resources, label_value};

use super::{Choice, Group};

/// What the system keeps of a machine's capacity. The defaults are a guess on the safe side,
/// used only until a Ready node of the group and offering has shown what is really left.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Reserve {
    /// Thousandths of a CPU.
    pub cpu_milli: i64,
    /// Bytes of memory kept in any case…
    pub memory: i64,
    /// …and this share of it, in percent.
    pub memory_percent: i64,
    /// Share of the disk, in percent.
    pub ephemeral_percent: i64,
    /// Pods a node takes.
    pub pods: i64,
}

impl Default for Reserve {
    fn default() -> Self {
        Self {
            cpu_milli: 100,
            memory: 256 << 20,
            memory_percent: 5,
            ephemeral_percent: 15,
            pods: 110,
        }
    }
}

// What the product puts on its Nodes beside the group's labels; they win over the group's. The keys
// are public: pods select on them.
const MANAGED: &str = "autoscaler.vpsie.com/managed";
pub(super) const NODE_GROUP: &str = "autoscaler.vpsie.com/nodegroup";
pub(super) const NODE_GROUP_NAMESPACE: &str = "autoscaler.vpsie.com/nodegroup-namespace";
const DATACENTER: &str = "autoscaler.vpsie.com/datacenter";
pub(super) const OFFERING: &str = "autoscaler.vpsie.com/offering";

/// The template of one machine of `group` and `choice`, named `name`.
#[must_use]
pub fn template(group: &Group, choice: &Choice, reserve: &Reserve, name: &str) -> Node {
    let mut labels: Labels = group.labels.clone();
    let offering = label_value(choice.offering.id.as_str());
    let datacenter = label_value(&group.datacenter);
    for (key, value) in [
        (MANAGED, "true"),
        (NODE_GROUP, &*group.key.name),
        (NODE_GROUP_NAMESPACE, &*group.key.namespace),
        (DATACENTER, &*datacenter),
        (OFFERING, &*offering),
    ] {
        labels.insert(Arc::from(key), Arc::from(value));
    }
    let mut default = |key: &str, value: &str| {
        labels
            .entry(Arc::from(key))
            .or_insert_with(|| Arc::from(value));
    };
    default("kubernetes.io/hostname", name);
    default("kubernetes.io/os", "linux");
    default("kubernetes.io/arch", "amd64");
    default("node.kubernetes.io/instance-type", &offering);
    default("topology.kubernetes.io/region", &datacenter);
    default("topology.kubernetes.io/zone", &datacenter);
    let (allocatable, features) = match &choice.learned {
        Some(learned) => (learned.allocatable.clone(), learned.features.clone()),
        None => (allocatable(choice, reserve), BTreeSet::new()),
    };
    Node {
        name: NodeName::new(name),
        uid: None,
        shape: Arc::new(NodeShape {
            labels,
            taints: group.taints.clone(),
            unschedulable: false,
            allocatable,
            features,
        }),
        ready: true,
        created_at: None,
        defect: None,
    }
}

fn allocatable(choice: &Choice, reserve: &Reserve) -> Resources {
    let offering = &choice.offering;
    let bytes =
        |amount: u64, unit: u64| i64::try_from(amount.saturating_mul(unit)).unwrap_or(i64::MAX);
    reserve.left_of(&Resources {
        cpu_milli: i64::from(offering.cpus) * 1000,
        memory: bytes(offering.memory_mib, 1 << 20),
        ephemeral: bytes(offering.disk_gib, 1 << 30),
        pods: reserve.pods,
        extended: std::collections::BTreeMap::new(),
    })
}

impl Reserve {
    /// What a machine of this capacity offers to pods.
    #[must_use]
    pub fn left_of(&self, capacity: &Resources) -> Resources {
        let keep = |percent: i64, of: i64| of / 100 * percent;
        let Resources {
            cpu_milli,
            memory,
            ephemeral,
            ..
        } = *capacity;
        Resources {
            cpu_milli: (cpu_milli - self.cpu_milli).max(0),
            memory: (memory - self.memory - keep(self.memory_percent, memory)).max(0),
            ephemeral: (ephemeral - keep(self.ephemeral_percent, ephemeral)).max(0),
            ..capacity.clone()
        }
    }
}

#[cfg(test)]
mod tests {
    use model::{GroupKey, Offering};

    use super::super::Learned;

    use super::*;

    fn group() -> Group {
        Group {
            key: GroupKey::new("kube-system", "general"),
            min_nodes: 0,
            max_nodes: 1,
            existing: 0,
            serving: 0,
            in_flight: vec![],
            choices: vec![],
            preferred: None,
            labels: Labels::from([
                ("team".into(), "web".into()),
                ("topology.kubernetes.io/zone".into(), "rack-7".into()),
                ("autoscaler.vpsie.com/nodegroup".into(), "forged".into()),
            ]),
            taints: vec![],
            startup_taints: vec![],
            datacenter: "Hel 1".into(),
            enabled: true,
            deleting: false,
            invalid: None,
        }
    }

    fn choice() -> Choice {
        Choice {
            offering: Offering {
                id: "small/2cpu".into(),
                size: "7".into(),
                cpus: 2,
                memory_mib: 4096,
                disk_gib: 80,
                price: None,
            },
            learned: None,
            backoff: None,
        }
    }

    #[test]
    fn a_template_has_the_labels_its_node_is_going_to_have() {
        let node = template(&group(), &choice(), &Reserve::default(), "new-1");
        let label = |key: &str| node.shape.labels.get(key).map(AsRef::as_ref);
        for (key, value) in [
            ("autoscaler.vpsie.com/managed", "true"),
            // The product's own labels win over the group's…
            ("autoscaler.vpsie.com/nodegroup", "general"),
            ("autoscaler.vpsie.com/nodegroup-namespace", "kube-system"),
            ("autoscaler.vpsie.com/offering", "small-2cpu"),
            ("autoscaler.vpsie.com/datacenter", "Hel-1"),
            ("node.kubernetes.io/instance-type", "small-2cpu"),
            ("topology.kubernetes.io/region", "Hel-1"),
            // …and the group's over the defaults.
            ("topology.kubernetes.io/zone", "rack-7"),
            ("kubernetes.io/hostname", "new-1"),
            ("kubernetes.io/os", "linux"),
            ("kubernetes.io/arch", "amd64"),
            ("team", "web"),
        ] {
            assert_eq!(label(key), Some(value), "{key}");
        }
    }

    #[test]
    fn what_the_system_keeps_is_taken_off_until_a_node_has_shown_better() {
        let guessed = template(&group(), &choice(), &Reserve::default(), "new-1");
        let room = &guessed.shape.allocatable;
        assert_eq!(
            (
                room.cpu_milli,
                room.memory >> 20,
                room.ephemeral >> 30,
                room.pods
            ),
            (1900, 4096 - 256 - 205, 68, 110)
        );
        let mut choice = choice();
        choice.learned = Some(Learned {
            allocatable: Resources {
                cpu_milli: 1930,
                ..Resources::default()
            },
            features: BTreeSet::from(["Feature".into()]),
        });
        let learned = template(&group(), &choice, &Reserve::default(), "new-1");
        assert_eq!(learned.shape.allocatable.cpu_milli, 1930);
        assert!(learned.shape.features.contains("Feature"));
    }

    #[test]
    fn absurd_sizes_of_a_catalogue_are_cut_and_never_overflow() {
        let mut choice = choice();
        choice.offering.cpus = u32::MAX;
        choice.offering.memory_mib = u64::MAX;
        choice.offering.disk_gib = u64::MAX;
        let node = template(&group(), &choice, &Reserve::default(), "new-1");
        assert!(node.shape.allocatable.memory > 0);
        choice.offering.memory_mib = 0;
        choice.offering.cpus = 0;
        let node = template(&group(), &choice, &Reserve::default(), "new-1");
        assert_eq!(node.shape.allocatable.cpu_milli, 0);
        assert_eq!(node.shape.allocatable.memory, 0);
    }
}
