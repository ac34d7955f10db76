//! What a world is made of: part of every scenario file, with defaults for all of it.

use std::{collections::BTreeMap, time::Duration};

use jiff::SignedDuration;
use runtime::Randomness;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use serde_json::Value;

/// A length of time, written as `30s`, `5m` or `1h 30m`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span(pub Duration);

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let signed: SignedDuration = text
            .parse()
            .map_err(|error| D::Error::custom(format!("{text:?} is no duration: {error}")))?;
        Duration::try_from(signed)
            .map(Self)
            .map_err(|_| D::Error::custom(format!("{text:?} is negative")))
    }
}

impl Serialize for Span {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let signed = SignedDuration::try_from(self.0).unwrap_or(SignedDuration::MAX);
        serializer.serialize_str(&format!("{signed:#}"))
    }
}

impl std::fmt::Display for Span {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{:#}",
            SignedDuration::try_from(self.0).unwrap_or(SignedDuration::MAX)
        )
    }
}

/// A length of time drawn uniformly between two, to the millisecond.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub struct Range {
    /// The shortest.
    pub least: Span,
    /// The longest.
    pub most: Span,
}

impl Range {
    /// From milliseconds.
    #[must_use]
    pub const fn millis(least: u64, most: u64) -> Self {
        Self {
            least: Span(Duration::from_millis(least)),
            most: Span(Duration::from_millis(most)),
        }
    }

    pub(crate) fn draw(&self, random: &Randomness) -> Duration {
        random.between(self.least.0, self.most.0)
    }
}

/// The world.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct WorldConfig {
    /// The cloud.
    pub cloud: vpsie_sim::Config,
    /// UUID of the cloud's cluster that this world's Kubernetes runs on; the first by default.
    /// Its masters and workers are the world's nodes.
    pub cluster: Option<String>,
    /// Further nodes that exist from the beginning and are no machines of the cloud.
    pub nodes: Vec<StaticNode>,
    /// DaemonSets that exist from the beginning.
    pub daemon_sets: Vec<DaemonSetConfig>,
    /// Further objects that exist from the beginning, created in this order.
    pub objects: Vec<Value>,
    /// What the Secret `kube-system/vpsie-secret` holds; where absent, the cloud's credentials
    /// and its first cluster. Empty makes no Secret.
    pub secret: Option<BTreeMap<String, String>>,
    /// Where the cloud is served, for the Secret's `url`; where absent, the Secret names none.
    pub cloud_url: Option<String>,
    /// Which actors play.
    pub actors: ActorsConfig,
    /// How soon the scheduler looks after a change.
    pub scheduling: Range,
    /// How soon workload controllers act after a change.
    pub controllers: Range,
    /// The kubelets.
    pub kubelet: KubeletConfig,
    /// How machines become nodes.
    pub machines: MachinesConfig,
    /// How nodes are judged.
    pub node_lifecycle: NodeLifecycleConfig,
    /// Everything that happens is kept, for [`crate::World::history`].
    pub recorded: bool,
}

impl Default for WorldConfig {
    fn default() -> Self {
        Self {
            cloud: vpsie_sim::Config::default(),
            cluster: None,
            nodes: Vec::new(),
            daemon_sets: vec![DaemonSetConfig::default()],
            objects: Vec::new(),
            secret: None,
            cloud_url: None,
            actors: ActorsConfig::default(),
            scheduling: Range::millis(5, 50),
            controllers: Range::millis(5, 30),
            kubelet: KubeletConfig::default(),
            machines: MachinesConfig::default(),
            node_lifecycle: NodeLifecycleConfig::default(),
            recorded: false,
        }
    }
}

/// A node that is no machine of the cloud.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct StaticNode {
    /// Its name.
    pub name: String,
    /// Has the control plane's label and taint.
    pub control_plane: bool,
    /// CPUs.
    pub cpus: u32,
    /// Memory in MiB.
    pub memory_mib: u64,
    /// Further labels.
    pub labels: BTreeMap<String, String>,
}

impl Default for StaticNode {
    fn default() -> Self {
        Self {
            name: String::new(),
            control_plane: false,
            cpus: 4,
            memory_mib: 8192,
            labels: BTreeMap::new(),
        }
    }
}

/// A DaemonSet in `kube-system` that tolerates everything, such as a network agent.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct DaemonSetConfig {
    /// Its name.
    pub name: String,
    /// CPU request.
    pub cpu: String,
    /// Memory request.
    pub memory: String,
}

impl Default for DaemonSetConfig {
    fn default() -> Self {
        Self {
            name: "cni".to_owned(),
            cpu: "50m".to_owned(),
            memory: "64Mi".to_owned(),
        }
    }
}

/// Which actors play; all by default.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct ActorsConfig {
    /// Binds pods.
    pub scheduler: bool,
    /// Deployments, ReplicaSets, DaemonSets, StatefulSets, Jobs.
    pub workloads: bool,
    /// Kubelets.
    pub kubelet: bool,
    /// Machines of the cloud become nodes (needs the kubelets).
    pub machines: bool,
    /// Judges nodes by their leases.
    pub node_lifecycle: bool,
    /// Budgets' status.
    pub disruption: bool,
    /// Counts for [`crate::World::counts`].
    pub tally: bool,
}

impl Default for ActorsConfig {
    fn default() -> Self {
        Self {
            scheduler: true,
            workloads: true,
            kubelet: true,
            machines: true,
            node_lifecycle: true,
            disruption: true,
            tally: true,
        }
    }
}

/// How kubelets behave.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct KubeletConfig {
    /// The version they report.
    pub version: String,
    /// Between two renewals of a node's Lease.
    pub lease_every: Span,
    /// Between two reports of a node's status in which nothing changed.
    pub report_every: Span,
    /// From the binding of a pod to its containers being created.
    pub admit: Range,
    /// From there to Running and Ready.
    pub start: Range,
    /// From the deletion of a pod to its end; never longer than its grace period.
    pub terminate: Range,
    /// How long pods run that end by themselves, unless an annotation says.
    pub job_run: Range,
}

impl Default for KubeletConfig {
    fn default() -> Self {
        Self {
            version: "v1.33.1".to_owned(),
            lease_every: Span(Duration::from_secs(10)),
            report_every: Span(Duration::from_mins(5)),
            admit: Range::millis(50, 300),
            start: Range::millis(1000, 4000),
            terminate: Range::millis(500, 2000),
            job_run: Range::millis(30_000, 60_000),
        }
    }
}

/// How machines become nodes.
///
/// A node's capacity is the machine's size less what its kernel keeps of the memory; what it
/// offers to pods is its capacity less the kubelet's reserve.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct MachinesConfig {
    /// Share of the memory that the kernel keeps, in percent.
    pub kernel_memory_percent: u64,
    /// CPU that the kubelet reserves, in thousandths.
    pub reserved_cpu_milli: u64,
    /// Memory that the kubelet reserves and evicts at, in MiB.
    pub reserved_memory_mib: u64,
    /// Share of the disk that the kubelet evicts at, in percent.
    pub reserved_disk_percent: u64,
    /// Pods a node takes.
    pub pods: u64,
}

impl Default for MachinesConfig {
    fn default() -> Self {
        Self {
            kernel_memory_percent: 3,
            reserved_cpu_milli: 60,
            reserved_memory_mib: 100,
            reserved_disk_percent: 10,
            pods: 110,
        }
    }
}

/// How nodes are judged.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct NodeLifecycleConfig {
    /// Between two looks at the leases.
    pub every: Span,
    /// After how long without renewal a node is Unknown.
    pub grace: Span,
    /// After how long the pods of a node that does not exist are removed.
    pub orphans_after: Span,
}

impl Default for NodeLifecycleConfig {
    fn default() -> Self {
        Self {
            every: Span(Duration::from_secs(5)),
            grace: Span(Duration::from_secs(40)),
            orphans_after: Span(Duration::from_secs(40)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_reads_what_it_writes() {
        for text in ["30s", "5m", "1h 30m", "500ms"] {
            let span: Span = serde_json::from_value(Value::from(text)).unwrap();
            let again: Span = serde_json::from_value(Value::from(span.to_string())).unwrap();
            assert_eq!(span, again, "{text}");
        }
        assert!(serde_json::from_value::<Span>(Value::from("-3s")).is_err());
        assert!(serde_json::from_value::<Span>(Value::from("soon")).is_err());
    }
}
