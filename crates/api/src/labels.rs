//! Every label, annotation, taint and finalizer the product reads or writes.

/// Label `"true"` on NodeGroups, VPSieNodes and Nodes: without exactly this value a NodeGroup is
/// ignored.
pub const MANAGED: &str = "autoscaler.vpsie.com/managed";
/// Label on VPSieNodes and Nodes: the NodeGroup's name.
pub const NODE_GROUP: &str = "autoscaler.vpsie.com/nodegroup";
/// Label on Nodes: the NodeGroup's namespace, so that equal names stay apart.
pub const NODE_GROUP_NAMESPACE: &str = "autoscaler.vpsie.com/nodegroup-namespace";
/// Label on Nodes: the VPSieNode's name.
pub const VPSIE_NODE: &str = "autoscaler.vpsie.com/vpsienode";
/// Label on Nodes: the datacenter, as the group names it.
pub const DATACENTER: &str = "autoscaler.vpsie.com/datacenter";
/// Label on Nodes: the offering, as the group names it.
pub const OFFERING: &str = "autoscaler.vpsie.com/offering";
/// Label `"true"` on Nodes, set by users: never scaled down.
pub const SCALE_DOWN_DISABLED_LABEL: &str = "autoscaler.vpsie.com/scale-down-disabled";

/// Annotation `"true"` on Nodes and Pods, set by users: never scaled down.
pub const PROTECTED: &str = "autoscaler.vpsie.com/protected";
/// Annotation `"disabled"` on Nodes, set by users: never scaled down.
pub const SCALE_DOWN: &str = "autoscaler.vpsie.com/scale-down";
/// Annotation on Nodes, set by users: `HH:MM-HH:MM` in which scale-down is allowed.
pub const SCALE_DOWN_ALLOWED_HOURS: &str = "autoscaler.vpsie.com/scale-down-allowed-hours";
/// Annotation on Nodes and VPSieNodes: why the machine was bought.
pub const CREATION_REASON: &str = "autoscaler.vpsie.com/creation-reason";
/// Annotation on VPSieNodes: the pods the machine was bought for, `namespace/name` with commas between.
/// While it is on its way, those that still wait are counted as placed on it.
pub const BOUGHT_FOR: &str = "autoscaler.vpsie.com/bought-for";
/// Annotation on Nodes: the machine's identity at the cloud.
pub const VPS_ID: &str = "autoscaler.vpsie.com/vps-id";
/// Annotation on VPSieNodes of the predecessor: a create request was sent.
pub const CREATION_REQUESTED: &str = "autoscaler.vpsie.com/creation-requested";
/// Annotation on Nodes: the keys of labels, annotations and taints that the group put there, so
/// that they can be taken away again when the group drops them.
pub const APPLIED: &str = "autoscaler.vpsie.com/applied";
/// Annotation `"true"` on Nodes: the startup taints were put on once.
pub const STARTUP_TAINTS_APPLIED: &str = "autoscaler.vpsie.com/startup-taints-applied";
/// Annotation on VPSieNodes and NodeGroups, set by users who delete them: this long after the
/// removal began (`10m`, `0s`) the machine goes whatever is still on it.
pub const FORCE_AFTER: &str = "autoscaler.vpsie.com/force-after";
/// Annotation on NodeGroups, set by the product: nothing is removed in the VPSie cluster of the group
/// until a person takes it away. The value says why.
pub const REMOVALS_STOPPED: &str = "autoscaler.vpsie.com/removals-stopped";
/// Annotation on Nodes: our cordon; the UID of the VPSieNode that is being removed.
pub const CORDONED_BY: &str = "autoscaler.vpsie.com/cordoned-by";
/// Taint `NoSchedule` on a node that is being removed.
pub const REMOVING_TAINT: &str = "autoscaler.vpsie.com/removing";

/// Annotation on NodeGroups, and on the AutoscalerConfig `default` for the whole cluster, set by
/// users: nothing is removed. Every value but `"false"` pauses.
pub const PAUSED: &str = "autoscaler.vpsie.com/paused";
/// Annotation on Pods, set by users: `"false"` keeps the pod's node, `"true"` lets it go.
pub const SAFE_TO_EVICT: &str = "autoscaler.vpsie.com/safe-to-evict";
/// Annotation on Pods, set by users: `"true"`, or a duration from the pod's start, keeps its node.
pub const DO_NOT_DISRUPT: &str = "autoscaler.vpsie.com/do-not-disrupt";

/// Kubernetes' taint of a node that is not Ready.
pub const NOT_READY_TAINT: &str = "node.kubernetes.io/not-ready";
/// Kubernetes' taint of a node whose kubelet is silent.
pub const UNREACHABLE_TAINT: &str = "node.kubernetes.io/unreachable";
/// Kubernetes' taint of a cordoned node.
pub const UNSCHEDULABLE_TAINT: &str = "node.kubernetes.io/unschedulable";

/// Cluster Autoscaler's annotation `"true"` on Nodes: never scaled down.
pub const CA_SCALE_DOWN_DISABLED: &str = "cluster-autoscaler.kubernetes.io/scale-down-disabled";
/// Cluster Autoscaler's annotation on Pods: `"false"` keeps the pod's node, `"true"` lets it go.
pub const CA_SAFE_TO_EVICT: &str = "cluster-autoscaler.kubernetes.io/safe-to-evict";
/// Cluster Autoscaler's annotation on Pods: names, with commas between, of local volumes whose data
/// may be lost.
pub const CA_SAFE_LOCAL_VOLUMES: &str =
    "cluster-autoscaler.kubernetes.io/safe-to-evict-local-volumes";
/// Karpenter's annotation `"true"` on Nodes and Pods (there, a duration too): never disrupted.
pub const KARPENTER_DO_NOT_DISRUPT: &str = "karpenter.sh/do-not-disrupt";
/// Karpenter's annotation on Pods, before 0.32.
pub const KARPENTER_DO_NOT_EVICT: &str = "karpenter.sh/do-not-evict";
/// The annotations of Pods by which people speak about their removal.
pub const POD_WISHES: [&str; 7] = [
    PROTECTED,
    SAFE_TO_EVICT,
    DO_NOT_DISRUPT,
    CA_SAFE_TO_EVICT,
    CA_SAFE_LOCAL_VOLUMES,
    KARPENTER_DO_NOT_DISRUPT,
    KARPENTER_DO_NOT_EVICT,
];

/// Finalizer of NodeGroups.
pub const NODE_GROUP_FINALIZER: &str = "nodegroup.autoscaler.vpsie.com/finalizer";
/// Finalizer of VPSieNodes.
pub const VPSIE_NODE_FINALIZER: &str = "vpsienode.autoscaler.vpsie.com/finalizer";

/// Kubernetes' label of the instance type; set where absent, never overwritten.
pub const INSTANCE_TYPE: &str = "node.kubernetes.io/instance-type";
/// Kubernetes' label of the region; set where absent, never overwritten.
pub const REGION: &str = "topology.kubernetes.io/region";
/// Kubernetes' label of the zone; set where absent, never overwritten.
pub const ZONE: &str = "topology.kubernetes.io/zone";
/// Kubernetes' label of the host name.
pub const HOSTNAME: &str = "kubernetes.io/hostname";
/// Kubernetes' label of the operating system.
pub const OS: &str = "kubernetes.io/os";
/// Both spellings of the control-plane role label.
pub const CONTROL_PLANE_ROLES: [&str; 2] = [
    "node-role.kubernetes.io/control-plane",
    "node-role.kubernetes.io/master",
];

/// Values of [`CREATION_REASON`].
pub mod creation_reason {
    /// Pods were pending or utilization was high.
    pub const METRICS: &str = "metrics";
    /// A person made the VPSieNode.
    pub const MANUAL: &str = "manual";
    /// The group was below its minimum.
    pub const INITIAL: &str = "initial";
    /// The machine was there, and its VPSieNode was gone.
    pub const ADOPTED: &str = "adopted";
}
