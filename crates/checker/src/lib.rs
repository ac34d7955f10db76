//! Whether what a plan says about pods and nodes can be: each placement against each rule that must
//! hold, told in the plainest way there is.
//!
//! Pure. It shares no code with what makes plans, counts everything anew for every question, and
//! knows nothing but the rules: [`World::broken`] names those that a pod would break on a node beside
//! all that are there, [`replay`] puts a plan's pods where it says, one after the other. All that is
//! kept besides is where the pods of each class are.

mod between_pods;
mod node;
mod spread;
mod volumes;
mod world;

use std::{fmt, sync::Arc};

use model::{PodKey, SchedulingClass};

pub use world::{Place, World};

/// A rule that must hold, by the name of the scheduler's plugin that holds it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Rule {
    /// A cordoned node takes no pods.
    NodeUnschedulable,
    /// A pod that names its node goes to no other.
    NodeName,
    /// Taints must be tolerated.
    TaintToleration,
    /// Node selector and required node affinity.
    NodeAffinity,
    /// A port of the host is taken once.
    NodePorts,
    /// Nothing beyond what a node has.
    NodeResourcesFit,
    /// A disk or a claim that one pod has for itself.
    VolumeRestrictions,
    /// A node attaches only so many volumes.
    NodeVolumeLimits,
    /// Each claim has a volume within reach, or can get one.
    VolumeBinding,
    /// Volumes are used in their zone.
    VolumeZone,
    /// Pods are spread over domains.
    PodTopologySpread,
    /// Pods near each other and apart.
    InterPodAffinity,
    /// Features the node must declare.
    NodeDeclaredFeatures,
}

impl Rule {
    /// Every rule.
    pub const ALL: [Self; 13] = [
        Self::NodeUnschedulable,
        Self::NodeName,
        Self::TaintToleration,
        Self::NodeAffinity,
        Self::NodePorts,
        Self::NodeResourcesFit,
        Self::VolumeRestrictions,
        Self::NodeVolumeLimits,
        Self::VolumeBinding,
        Self::VolumeZone,
        Self::PodTopologySpread,
        Self::InterPodAffinity,
        Self::NodeDeclaredFeatures,
    ];

    /// The plugin's name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::NodeUnschedulable => "NodeUnschedulable",
            Self::NodeName => "NodeName",
            Self::TaintToleration => "TaintToleration",
            Self::NodeAffinity => "NodeAffinity",
            Self::NodePorts => "NodePorts",
            Self::NodeResourcesFit => "NodeResourcesFit",
            Self::VolumeRestrictions => "VolumeRestrictions",
            Self::NodeVolumeLimits => "NodeVolumeLimits",
            Self::VolumeBinding => "VolumeBinding",
            Self::VolumeZone => "VolumeZone",
            Self::PodTopologySpread => "PodTopologySpread",
            Self::InterPodAffinity => "InterPodAffinity",
            Self::NodeDeclaredFeatures => "NodeDeclaredFeatures",
        }
    }
}

/// A pod that a plan puts onto a node that it must not be put on.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Violation {
    /// The pod.
    pub pod: PodKey,
    /// Where the plan puts it.
    pub node: String,
    /// The rules it breaks there, in the order of their names.
    pub rules: Vec<Rule>,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rules: Vec<&str> = self.rules.iter().map(|rule| rule.name()).collect();
        write!(f, "pod {} on {}: {}", self.pod, self.node, rules.join(", "))
    }
}

/// Puts pods where a plan says, one after the other, and answers what was wrong with it. A pod that
/// breaks a rule is put there all the same: what follows may rest on it.
pub fn replay<'a>(
    world: &mut World,
    plan: impl IntoIterator<Item = (&'a PodKey, &'a Arc<SchedulingClass>, Place)>,
) -> Vec<Violation> {
    let mut violations = Vec::new();
    for (pod, class, place) in plan {
        let rules = world.broken(class, place);
        if !rules.is_empty() {
            violations.push(Violation {
                pod: pod.clone(),
                node: world.name(place).to_owned(),
                rules,
            });
        }
        world.put(class, place, false);
    }
    violations
}
