//! What a filter says when it says no: one variant a reason, with what is needed to act on it.
//!
//! The names of filters are the scheduler's plugins'; the names of reasons are stable.

mod text;

use model::UnevaluatedRule;
use serde::{Deserialize, Serialize};

/// kube-scheduler's filter plugins, in the order it asks them.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub enum Filter {
    /// `spec.unschedulable`.
    NodeUnschedulable,
    /// `spec.nodeName`.
    NodeName,
    /// Taints.
    TaintToleration,
    /// Node selector and required node affinity.
    NodeAffinity,
    /// Ports of the host.
    NodePorts,
    /// Resources.
    NodeResourcesFit,
    /// Disks and claims that cannot be shared.
    VolumeRestrictions,
    /// How many volumes a node takes.
    NodeVolumeLimits,
    /// Claims and their volumes.
    VolumeBinding,
    /// Zones of volumes.
    VolumeZone,
    /// Topology spread constraints that must hold.
    PodTopologySpread,
    /// Required affinity and anti-affinity between pods.
    InterPodAffinity,
    /// Features that a node must declare.
    NodeDeclaredFeatures,
    /// Claims for devices: never evaluated, always refused.
    DynamicResources,
}

impl Filter {
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
            Self::DynamicResources => "DynamicResources",
        }
    }
}

/// One filter's no.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub enum Failure {
    /// The node is cordoned.
    Unschedulable,
    /// The pod asks for another node by name.
    OtherNode {
        /// The one it asks for.
        wanted: String,
    },
    /// The pod does not tolerate this taint.
    UntoleratedTaint {
        /// `key=value:effect`.
        taint: String,
    },
    /// The node lacks a label that the node selector asks for.
    SelectorMismatch {
        /// `key=value`.
        wanted: String,
        /// The value the node has instead.
        found: Option<String>,
    },
    /// No term of the required node affinity matches.
    AffinityMismatch,
    /// A port of the host is taken.
    PortInUse {
        /// `protocol address:port`, as the pod asks for it.
        port: String,
    },
    /// There is not enough of a resource.
    InsufficientResource {
        /// Which.
        resource: String,
        /// Asked for.
        requested: i64,
        /// Left.
        free: i64,
        /// More than the node has altogether: no other pod stands in the way.
        exceeds_capacity: bool,
    },
    /// A claim of the pod does not let it run here.
    Claim {
        /// The filter that looked.
        filter: Filter,
        /// The claim's name, in the pod's namespace.
        claim: String,
        /// What is wrong with it.
        problem: ClaimProblem,
    },
    /// A pod on the node has a disk mounted that cannot be shared.
    DiskInUse {
        /// Which.
        disk: String,
    },
    /// The node takes no more volumes of a driver.
    TooManyVolumes {
        /// Which.
        driver: String,
        /// Attached now.
        attached: i64,
        /// What the pod would add.
        added: i64,
        /// What the node takes.
        limit: i64,
    },
    /// A running pod on the node uses a claim that was generated for another pod; what the node
    /// has attached cannot be counted.
    UncountableVolumes,
    /// The node lacks a label that a topology spread constraint goes by.
    MissingSpreadKey {
        /// Which.
        key: String,
    },
    /// One more pod here would spread pods too unevenly.
    UnevenSpread {
        /// The constraint's label.
        key: String,
        /// Its value here.
        domain: String,
        /// Pods that count in this domain.
        pods: u32,
        /// Pods in the emptiest domain, as `minDomains` has it.
        minimum: u32,
        /// How many more it may have.
        max_skew: i32,
    },
    /// The node lacks a label that a required affinity goes by.
    MissingAffinityKey {
        /// Which.
        key: String,
    },
    /// The pods that the required affinity asks for are not in this domain.
    NoAffinePod {
        /// The term's label.
        key: String,
        /// Its value here.
        domain: String,
    },
    /// A pod that the required anti-affinity forbids is in this domain.
    ForbiddenPod {
        /// The term's label.
        key: String,
        /// Its value here.
        domain: String,
    },
    /// A running pod's required anti-affinity forbids this pod in its domain.
    ForbiddenByPod {
        /// The term's label.
        key: String,
        /// Its value here.
        domain: String,
    },
    /// The node does not declare a feature that the pod needs.
    MissingFeature {
        /// Which.
        feature: String,
    },
    /// The pod has a rule that is not evaluated: about such a pod there is never a yes.
    NotEvaluated {
        /// Which.
        rule: UnevaluatedRule,
    },
}

/// What is wrong with a claim.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub enum ClaimProblem {
    /// There is no such claim.
    NotFound,
    /// Its volume is gone for good.
    Lost,
    /// It is being deleted.
    Deleting,
    /// It was not generated for this pod.
    OfAnotherPod,
    /// It should be bound without a pod's doing, and is not.
    Unbound,
    /// It names neither volume nor storage class.
    NoClass,
    /// Its storage class does not exist.
    ClassNotFound {
        /// The class.
        class: String,
    },
    /// Its volume does not exist.
    VolumeNotFound {
        /// The volume.
        volume: String,
    },
    /// Its volume cannot be reached from this node.
    VolumeElsewhere {
        /// The volume.
        volume: String,
    },
    /// Its volume is in another zone or region.
    OtherZone {
        /// The volume.
        volume: String,
        /// The volume's label, `key=value`.
        wanted: String,
    },
    /// Its volume is being made for another node.
    SelectedNode {
        /// The node.
        node: String,
    },
    /// No free volume fits, and its class makes none.
    NoVolume {
        /// The class.
        class: String,
    },
    /// No free volume fits, and its class makes none that this node could reach.
    OtherTopology {
        /// The class.
        class: String,
    },
    /// The storage that this node can reach has too little room left.
    NoCapacity {
        /// The class.
        class: String,
    },
    /// Another pod uses it, and it is for one pod only (`ReadWriteOncePod`).
    InUse,
}

impl ClaimProblem {
    /// The reason's name.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::NotFound => "ClaimNotFound",
            Self::Lost => "ClaimLost",
            Self::Deleting => "ClaimDeleting",
            Self::OfAnotherPod => "ClaimOfAnotherPod",
            Self::Unbound => "ClaimUnbound",
            Self::NoClass => "ClaimWithoutClass",
            Self::ClassNotFound { .. } => "StorageClassNotFound",
            Self::VolumeNotFound { .. } => "VolumeNotFound",
            Self::VolumeElsewhere { .. } => "VolumeElsewhere",
            Self::OtherZone { .. } => "VolumeInOtherZone",
            Self::SelectedNode { .. } => "VolumeForOtherNode",
            Self::NoVolume { .. } => "NoFreeVolume",
            Self::OtherTopology { .. } => "StorageNotReachable",
            Self::NoCapacity { .. } => "InsufficientStorage",
            Self::InUse => "ClaimInUse",
        }
    }
}

impl Failure {
    /// The filter that says so.
    #[must_use]
    pub const fn filter(&self) -> Filter {
        match self {
            Self::Unschedulable => Filter::NodeUnschedulable,
            Self::OtherNode { .. } => Filter::NodeName,
            Self::UntoleratedTaint { .. } => Filter::TaintToleration,
            Self::SelectorMismatch { .. } | Self::AffinityMismatch => Filter::NodeAffinity,
            Self::PortInUse { .. } => Filter::NodePorts,
            Self::InsufficientResource { .. } => Filter::NodeResourcesFit,
            Self::Claim { filter, .. } => *filter,
            Self::DiskInUse { .. } => Filter::VolumeRestrictions,
            Self::TooManyVolumes { .. } | Self::UncountableVolumes => Filter::NodeVolumeLimits,
            Self::MissingSpreadKey { .. } | Self::UnevenSpread { .. } => Filter::PodTopologySpread,
            Self::MissingAffinityKey { .. }
            | Self::NoAffinePod { .. }
            | Self::ForbiddenPod { .. }
            | Self::ForbiddenByPod { .. } => Filter::InterPodAffinity,
            Self::MissingFeature { .. } => Filter::NodeDeclaredFeatures,
            Self::NotEvaluated { rule } => match rule {
                UnevaluatedRule::InterPodAffinity => Filter::InterPodAffinity,
                UnevaluatedRule::Volumes => Filter::VolumeBinding,
                UnevaluatedRule::ResourceClaims => Filter::DynamicResources,
            },
        }
    }

    /// The reason's name.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::Unschedulable => "Unschedulable",
            Self::OtherNode { .. } => "OtherNode",
            Self::UntoleratedTaint { .. } => "UntoleratedTaint",
            Self::SelectorMismatch { .. } => "SelectorMismatch",
            Self::AffinityMismatch => "AffinityMismatch",
            Self::PortInUse { .. } => "PortInUse",
            Self::InsufficientResource { .. } => "InsufficientResource",
            Self::Claim { problem, .. } => problem.name(),
            Self::DiskInUse { .. } => "DiskInUse",
            Self::TooManyVolumes { .. } => "TooManyVolumes",
            Self::UncountableVolumes => "UncountableVolumes",
            Self::MissingSpreadKey { .. } => "MissingSpreadKey",
            Self::UnevenSpread { .. } => "UnevenSpread",
            Self::MissingAffinityKey { .. } => "MissingAffinityKey",
            Self::NoAffinePod { .. } => "NoAffinePod",
            Self::ForbiddenPod { .. } => "ForbiddenPod",
            Self::ForbiddenByPod { .. } => "ForbiddenByPod",
            Self::MissingFeature { .. } => "MissingFeature",
            Self::NotEvaluated { .. } => "NotEvaluated",
        }
    }
}
