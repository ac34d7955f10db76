//! The node a machine is going to be, before it exists (requirement D8).

use std::sync::Arc;

use model::{Labels, Node, NodeName, NodeShape, Resources};

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

/// The template of one machine of `group` and `choice`, named `name`.
#[must_use]
pub fn template(group: &Group, choice: &Choice, reserve: &Reserve, name: &str) -> Node {
    let mut labels: Labels = group.labels.clone();
    let mut default = |key: &str, value: &str| {
        labels
            .entry(Arc::from(key))
            .or_insert_with(|| Arc::from(value));
    };
    default("kubernetes.io/hostname", name);
    default("kubernetes.io/os", "linux");
    default("kubernetes.io/arch", "amd64");
    default(
        "node.kubernetes.io/instance-type",
        choice.offering.id.as_str(),
    );
    default("topology.kubernetes.io/region", &group.datacenter);
    default("topology.kubernetes.io/zone", &group.datacenter);
    Node {
        name: NodeName::new(name),
        uid: None,
        shape: Arc::new(NodeShape {
            labels,
            taints: group.taints.clone(),
            unschedulable: false,
            allocatable: choice
                .learned
                .clone()
                .unwrap_or_else(|| allocatable(choice, reserve)),
        }),
        ready: true,
        created_at: None,
        defect: None,
    }
}

fn allocatable(choice: &Choice, reserve: &Reserve) -> Resources {
    let offering = &choice.offering;
    let memory = i64::try_from(offering.memory_mib << 20).unwrap_or(i64::MAX);
    let disk = i64::try_from(offering.disk_gib << 30).unwrap_or(i64::MAX);
    let keep = |percent: i64, of: i64| of / 100 * percent;
    Resources {
        cpu_milli: (i64::from(offering.cpus) * 1000 - reserve.cpu_milli).max(0),
        memory: (memory - reserve.memory - keep(reserve.memory_percent, memory)).max(0),
        ephemeral: (disk - keep(reserve.ephemeral_percent, disk)).max(0),
        pods: reserve.pods,
        extended: std::collections::BTreeMap::new(),
    }
}
