//! The edges that the generator aims at: where implementations of the scheduler's filters go wrong.
//!
//! Each is a rule of the scheduler that was predicted from its source and seen in its answers. A
//! cluster says which of them it was drawn for, and a test that all are reached.

macro_rules! edges {
    ($($(#[doc = $text:literal])+ $name:ident,)+) => {
        /// A rule at which a cluster aims.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Edge {
            $($(#[doc = $text])+ $name,)+
        }

        impl Edge {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$name,)+];

            /// The rule in words.
            #[must_use]
            pub fn text(self) -> &'static str {
                match self {
                    $(Self::$name => concat!($($text,)+).trim_ascii(),)+
                }
            }
        }
    };
}

edges! {
    // === Spreading ===
    /// An empty selector counts no pod, though it matches the pod itself.
    SpreadEmptySelector,
    /// A null selector counts no pod.
    SpreadNullSelector,
    /// `Exists`, `In` and `NotIn` select like everywhere.
    SpreadExpression,
    /// Only nodes with the keys of all hard constraints count, for each of them.
    SpreadSeveral,
    /// The keys of soft constraints do not matter.
    SpreadSoft,
    /// `minDomains` counts the domains that the inclusion policies leave in.
    SpreadMinDomains,
    /// `nodeAffinityPolicy: Ignore` counts nodes that the pod may not go to.
    SpreadAffinityIgnored,
    /// Nodes that the pod's node affinity excludes count for nothing by default, but are judged.
    SpreadAffinityHonoured,
    /// `nodeTaintsPolicy: Honor` looks at NoSchedule and NoExecute taints only, and not at cordons.
    SpreadTaintsHonoured,
    /// Terminating pods do not count.
    SpreadTerminating,
    /// Keys of `matchLabelKeys`, merged into the selector or not; those that the pod lacks are ignored.
    SpreadMatchLabelKeys,
    /// The pod counts itself only if it matches its own selector.
    SpreadOthersOnly,
    // === Inter-pod affinity ===
    /// A running pod helps only if it matches all required terms.
    AffinityAllTerms,
    /// A matching pod on a node without the topology key does not exist for affinity.
    AffinityKeylessNode,
    /// The first of a group fits where all keys exist, if it matches its own terms.
    AffinityFirst,
    /// An empty namespace selector is every namespace.
    AffinityAllNamespaces,
    /// Listed namespaces and selected ones together.
    AffinityNamespaceUnion,
    /// Namespaces are selected by their labels; one without an object has none.
    AffinityNamespaceLabels,
    /// Running pods keep away from namespaces without some label, and the new pod's has no object.
    AffinityNoNamespace,
    /// A null label selector matches no pod.
    AffinityNullSelector,
    /// `matchLabelKeys` and `mismatchLabelKeys` act through the merged selector only.
    AffinityLabelKeys,
    /// Each anti-affinity term counts by itself; a node without the key passes.
    AntiAffinity,
    /// A running pod's anti-affinity is asked with the new pod's labels and its namespace's.
    AntiAffinityOfRunning,
    /// Two nodes with one hostname label are one domain.
    SharedHostname,
    /// Terminating pods count for affinity and anti-affinity.
    AffinityTerminating,
    // === Ports ===
    /// No address and `0.0.0.0` clash with all; `::` is an address like others.
    PortAddress,
    /// Protocols never clash with each other; none is TCP.
    PortProtocol,
    /// Sidecars take host ports, plain init containers do not.
    PortInit,
    /// The host's network makes every container port a host port.
    PortHostNetwork,
    // === Resources ===
    /// Only resources that are asked for are compared: on an overcommitted node others still fit.
    Overcommitted,
    /// A pod that asks for nothing needs a free place among the pods only.
    NothingAsked,
    /// What allocatable does not name is 0, `pods` included.
    MissingAllocatable,
    /// Memory is summed exactly and rounded up to bytes once for the pod.
    HalfByte,
    /// CPU below a milli is rounded up for each container.
    BelowMilli,
    /// Running pods count with the largest of spec, actual and allocated resources.
    Resized,
    /// A resize that is infeasible leaves the spec out; one that is deferred does not.
    ResizeInfeasible,
    /// Allocated without actual resources is ignored.
    AllocatedOnly,
    /// The pending pod counts with its spec only.
    PendingStatusIgnored,
    /// Requests of the pod replace those of its containers only for the resources they name.
    PodLevel,
    /// Actual resources of a running pod as a whole.
    PodLevelResized,
    /// Overhead comes on top of everything.
    Overhead,
    /// Init containers run one after another, before the others.
    InitContainers,
    /// Sidecars add up, and run beside the init containers that come later.
    Sidecars,
    /// Limits stand in for requests that are not given.
    LimitsOnly,
    /// Extended resources: those asked for as 0 are skipped, those a node lacks are 0 there.
    Extended,
    /// Huge pages are resources of their own.
    HugePages,
    /// Ephemeral storage is compared as memory is.
    EphemeralStorage,
    /// Bound pods in phase Pending hold their resources.
    BoundPending,
    /// Succeeded and failed pods do not exist.
    Finished,
    /// Pods on unknown nodes do not exist.
    UnknownNode,
    /// Terminating pods hold what they have.
    TerminatingHolds,
    // === Nodes ===
    /// `Gt` and `Lt` compare 64-bit integers; what is none matches nothing.
    Comparison,
    /// A term whose own value is no integer is skipped, the other terms still work.
    ComparisonSkipped,
    /// `NotIn` and `DoesNotExist` hold where the key is missing.
    NegativeExpression,
    /// An empty term matches no node.
    EmptyTerm,
    /// Terms that all name nodes give the set of names up front.
    FieldNames,
    /// `matchFields` beside expressions, and `NotIn` names.
    FieldMixed,
    /// nodeSelector and required affinity must both hold.
    SelectorAndAffinity,
    /// `Equal` without a value tolerates a taint without one.
    TolerationEmptyValue,
    /// A toleration without a key, with `Exists`, tolerates everything of its effect.
    TolerationAll,
    /// How long a taint is tolerated does not matter.
    TolerationSeconds,
    /// `PreferNoSchedule` never blocks.
    TaintPreferred,
    /// A cordoned node asks for a toleration of its taint with effect NoSchedule.
    Cordoned,
    /// No filter looks at conditions.
    NotReady,
    /// A rule that restarts all containers needs a node that declares it.
    RestartAll,
    // === Volumes ===
    /// A node without any zone or region label passes; with any, the volume's key must be there.
    ZoneKeys,
    /// A volume's beta label matches a node's label of today, not the reverse.
    ZoneBeta,
    /// `a__b` is a list of zones.
    ZoneList,
    /// Bound is volumeName with the annotation, whatever its value.
    BoundAnnotation,
    /// A bound volume's node affinity must match.
    BoundAffinity,
    /// A claim that is missing fails several filters at once.
    ClaimMissing,
    /// A lost claim, or one whose volume is gone.
    ClaimLost,
    /// A claim that is being deleted.
    ClaimDeleted,
    /// A class that is missing, or none at all.
    ClassMissing,
    /// Immediate binding that has not happened.
    Immediate,
    /// Waiting claims take free volumes by size, class, modes, selector and affinity.
    Static,
    /// Each waiting claim of a pod needs its own volume.
    StaticSeveral,
    /// The smallest waiting claim chooses first, in whatever order the pod mounts them.
    StaticOrder,
    /// A volume reserved for a claim, or for another.
    Prebound,
    /// A class with topologies provisions only there.
    AllowedTopologies,
    /// The annotation with the selected node: only there, and by provisioning.
    SelectedNode,
    /// Storage capacity counts if the driver publishes it.
    Capacity,
    /// Ephemeral volumes: the claim must be the pod's own.
    Ephemeral,
    /// The in-tree volume's labels are translated where its plugin has moved to CSI.
    MigratedTopology,
    /// One ReadWriteOncePod user is enough, anywhere on a known node.
    OncePod,
    /// Volumes are counted once by handle, from pods and from attachments.
    LimitShared,
    /// Claims not yet provisioned count for their class's driver.
    LimitUnprovisioned,
    /// In-tree volumes count for their CSI driver, inline ones too.
    LimitInTree,
    /// No count is no limit, 0 is none at all.
    LimitAbsent,
    /// Two users of one EBS volume conflict, even readers.
    DiskEbs,
    /// GCE disks, iSCSI and RBD may be shared by readers.
    DiskReaders,
}
