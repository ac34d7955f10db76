//! Why a node stays: a closed list, each with one name in status, Event, metric, log and `explain`.
//!
//! What concerns places, budgets and other removals is said by the joint simulation; its reasons are
//! passed on under their own names. What people do about each is in `table.rs` (printed:
//! `docs/scale-down.md`).

mod table;

use std::fmt;

use jiff::Timestamp;
use model::{GroupKey, PodKey};

pub use table::markdown;

use super::{gate::Shut, simulation::Reason};
use crate::lifecycle::{RemovalCause, RemovalStep};

/// Why a node stays.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Refusal {
    /// The cloud cannot delete a machine by its identity.
    TargetedDeleteUnsupported,
    /// Somebody paused the whole cluster.
    ClusterPaused {
        /// By this annotation.
        by: String,
    },
    /// The product began to lead a short while ago and looks first.
    WarmingUp {
        /// Until then.
        until: Timestamp,
    },
    /// A watch of the product is broken: what it knows of the cluster may be old.
    CacheStale {
        /// What it watches.
        kind: String,
    },
    /// A machine vanished that nobody had named: nothing is removed until a human says so.
    RemovalsStopped {
        /// What was seen.
        why: String,
    },
    /// Too many nodes are not Ready.
    HealthGate {
        /// Of this group; of the whole cluster where it is `None`.
        group: Option<GroupKey>,
        /// How many are not.
        unready: u32,
        /// Of how many.
        nodes: u32,
    },
    /// So many nodes look removable at once that it may be a mistake.
    ManyRemovable {
        /// How many could go together.
        removable: u32,
        /// Of so many Ready ones.
        nodes: u32,
        /// If it is still so then, they go one after the other.
        until: Timestamp,
    },
    /// No VPSieNode stands for it: it is not ours to take.
    NoVPSieNode,
    /// It is a node of the control plane.
    ControlPlane,
    /// It is not Ready: that is a matter of its health, not of what it costs.
    NotReady,
    /// Something in the Node cannot be understood.
    NodeInvalid {
        /// What.
        detail: String,
    },
    /// The leader of this product runs on it.
    OwnLeader,
    /// The node is protected.
    Protected {
        /// By this label or annotation.
        by: String,
    },
    /// The node may go in certain hours only.
    OutsideAllowedHours {
        /// As its user wrote them.
        hours: String,
        /// When they begin, where they ever do.
        until: Option<Timestamp>,
    },
    /// The node may go in certain hours only, and what is written there names none.
    HoursNotUnderstood {
        /// As its user wrote them.
        hours: String,
        /// What is wrong with it.
        why: String,
    },
    /// A startup taint is still on it.
    StartupTaints(String),
    /// Somebody cordoned it, and this pod is still on it.
    HumanCordon(PodKey),
    /// The node became Ready a short while ago.
    NodeTooYoung {
        /// Until then.
        until: Timestamp,
    },
    /// The group is being deleted: its nodes go another way.
    GroupDeleting,
    /// Somebody paused the group.
    GroupPaused,
    /// `scaleDownPolicy.enabled` is false.
    ScaleDownDisabled,
    /// Machines of the group are on their way.
    ScaleUpInProgress,
    /// The group scaled a short while ago.
    CooldownActive {
        /// Until then.
        until: Timestamp,
    },
    /// As many nodes as may go at once are being removed; this is one of them.
    RemovalInProgress(String),
    /// It is being removed itself.
    BeingRemoved {
        /// Why.
        cause: RemovalCause,
        /// How far that has come.
        step: RemovalStep,
    },
    /// It is in use.
    NotUnderutilized {
        /// `cpu` or `memory`.
        resource: &'static str,
        /// By what metrics-server measured, not by what pods ask for.
        measured: bool,
        /// In use, in percent of what is allocatable, rounded down.
        percent: u32,
        /// It must be less than this.
        threshold: u8,
    },
    /// Not unneeded for long enough yet.
    WindowNotOver {
        /// Until then.
        until: Timestamp,
    },
    /// Nobody would make the pod anew.
    BarePod(PodKey),
    /// What made the pod does not exist any more: nobody would make it anew.
    ControllerGone {
        /// The pod.
        pod: PodKey,
        /// `kind/name` of its controller.
        controller: String,
    },
    /// The pod has data on the node itself.
    LocalStorage {
        /// The pod.
        pod: PodKey,
        /// Its volumes.
        volumes: Vec<String>,
    },
    /// A pod of the system without a budget.
    KubeSystemPod(PodKey),
    /// The pod says that it must not be disturbed.
    PodProtected {
        /// The pod.
        pod: PodKey,
        /// The annotation.
        by: String,
        /// Until then, where it ends by itself.
        until: Option<Timestamp>,
    },
    /// The pod says something about its removal that means nothing; so it is not disturbed.
    AnnotationNotUnderstood {
        /// The pod.
        pod: PodKey,
        /// The annotation.
        key: String,
        /// Its value.
        value: String,
    },
    /// The pod is to be left until it has finished.
    OnCompletion(PodKey),
    /// The pod's controller has too few replicas for one to be disturbed.
    ReplicaFloor {
        /// The pod.
        pod: PodKey,
        /// So many it has.
        replicas: u32,
        /// So many it must have.
        floor: u32,
    },
    /// A volume of the pod can be used on this node only.
    PinnedVolume {
        /// The pod.
        pod: PodKey,
        /// The claim, in the pod's namespace.
        claim: String,
    },
    /// Budgets cannot be read, and this pod would have to move.
    BudgetsUnreadable(PodKey),
    /// What the joint simulation says.
    Simulation(Reason),
}

impl From<Reason> for Refusal {
    fn from(reason: Reason) -> Self {
        Self::Simulation(reason)
    }
}

impl Refusal {
    /// The name, the same in status, Event, metric and log.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::TargetedDeleteUnsupported => "TargetedDeleteUnsupported",
            Self::ClusterPaused { .. } => "ClusterPaused",
            Self::WarmingUp { .. } => "WarmingUp",
            Self::CacheStale { .. } => "CacheStale",
            Self::RemovalsStopped { .. } => "RemovalsStopped",
            Self::HealthGate { .. } => "HealthGate",
            Self::ManyRemovable { .. } => "ManyRemovable",
            Self::NoVPSieNode => "NoVPSieNode",
            Self::ControlPlane => "ControlPlane",
            Self::NotReady => "NotReady",
            Self::NodeInvalid { .. } => "NodeInvalid",
            Self::OwnLeader => "OwnLeader",
            Self::Protected { .. } => "Protected",
            Self::OutsideAllowedHours { .. } => "OutsideAllowedHours",
            Self::HoursNotUnderstood { .. } => "HoursNotUnderstood",
            Self::StartupTaints(_) => "StartupTaints",
            Self::HumanCordon(_) => "HumanCordon",
            Self::NodeTooYoung { .. } => "NodeTooYoung",
            Self::GroupDeleting => "GroupDeleting",
            Self::GroupPaused => "GroupPaused",
            Self::ScaleDownDisabled => "ScaleDownDisabled",
            Self::ScaleUpInProgress => "ScaleUpInProgress",
            Self::CooldownActive { .. } => "CooldownActive",
            Self::RemovalInProgress(_) => "RemovalInProgress",
            Self::BeingRemoved { .. } => "BeingRemoved",
            Self::NotUnderutilized { .. } => "NotUnderutilized",
            Self::WindowNotOver { .. } => "WindowNotOver",
            Self::BarePod(_) => "BarePod",
            Self::ControllerGone { .. } => "ControllerGone",
            Self::LocalStorage { .. } => "LocalStorage",
            Self::KubeSystemPod(_) => "KubeSystemPod",
            Self::PodProtected { .. } => "PodProtected",
            Self::AnnotationNotUnderstood { .. } => "AnnotationNotUnderstood",
            Self::OnCompletion(_) => "OnCompletion",
            Self::ReplicaFloor { .. } => "ReplicaFloor",
            Self::PinnedVolume { .. } => "PinnedVolume",
            Self::BudgetsUnreadable(_) => "BudgetsUnreadable",
            Self::Simulation(reason) => reason.name(),
        }
    }

    /// The pod that it names.
    #[must_use]
    pub const fn pod(&self) -> Option<&PodKey> {
        match self {
            Self::HumanCordon(pod)
            | Self::BarePod(pod)
            | Self::ControllerGone { pod, .. }
            | Self::LocalStorage { pod, .. }
            | Self::KubeSystemPod(pod)
            | Self::PodProtected { pod, .. }
            | Self::AnnotationNotUnderstood { pod, .. }
            | Self::OnCompletion(pod)
            | Self::ReplicaFloor { pod, .. }
            | Self::PinnedVolume { pod, .. }
            | Self::BudgetsUnreadable(pod) => Some(pod),
            Self::Simulation(reason) => reason.pod(),
            _ => None,
        }
    }

    /// Somebody asked that the node stays; it goes once they take that back.
    #[must_use]
    pub const fn is_asked_for(&self) -> bool {
        matches!(
            self,
            Self::ClusterPaused { .. }
                | Self::GroupPaused
                | Self::Protected { .. }
                | Self::OutsideAllowedHours { .. }
                | Self::HoursNotUnderstood { .. }
                | Self::PodProtected { .. }
                | Self::AnnotationNotUnderstood { .. }
        )
    }

    /// When it ends by itself, where that is known.
    #[must_use]
    pub const fn ends_at(&self) -> Option<Timestamp> {
        match self {
            Self::WarmingUp { until }
            | Self::ManyRemovable { until, .. }
            | Self::NodeTooYoung { until }
            | Self::CooldownActive { until }
            | Self::WindowNotOver { until } => Some(*until),
            Self::OutsideAllowedHours { until, .. } | Self::PodProtected { until, .. } => *until,
            _ => None,
        }
    }
}

impl From<Shut> for Refusal {
    fn from(shut: Shut) -> Self {
        let Shut {
            group,
            unready,
            nodes,
        } = shut;
        Self::HealthGate {
            group,
            unready,
            nodes,
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TargetedDeleteUnsupported => {
                f.write_str("the cloud cannot delete a machine by its identity")
            }
            Self::ClusterPaused { by } => write!(f, "the cluster is paused by {by}"),
            Self::WarmingUp { until } => write!(
                f,
                "this replica began to lead a short while ago; not before {until}"
            ),
            Self::CacheStale { kind } => write!(
                f,
                "the watch of {kind} is broken: what is known of them may be old"
            ),
            Self::RemovalsStopped { why } => write!(
                f,
                "removals are stopped until somebody takes that back: {why}"
            ),
            Self::HealthGate {
                group,
                unready,
                nodes,
            } => {
                write!(f, "{unready} of {nodes} nodes ")?;
                match group {
                    Some(group) => write!(f, "of group {group} are not Ready"),
                    None => f.write_str("of the cluster are not Ready"),
                }
            }
            Self::ManyRemovable {
                removable,
                nodes,
                until,
            } => write!(
                f,
                "{removable} of {nodes} Ready nodes look removable at once, which may be a \
                 mistake; not before {until}"
            ),
            Self::NoVPSieNode => f.write_str("no VPSieNode stands for it"),
            Self::ControlPlane => f.write_str("it is a node of the control plane"),
            Self::NotReady => f.write_str("it is not Ready"),
            Self::NodeInvalid { detail } => write!(f, "it cannot be understood: {detail}"),
            Self::OwnLeader => f.write_str("the leader of this product runs on it"),
            Self::Protected { by } => write!(f, "it is protected by {by}"),
            Self::OutsideAllowedHours { hours, until } => {
                write!(f, "it may go in the hours {hours} only")?;
                until.map_or(Ok(()), |until| write!(f, "; not before {until}"))
            }
            Self::HoursNotUnderstood { hours, why } => write!(
                f,
                "it may go in certain hours only, and {hours:?} names none: {why}"
            ),
            Self::StartupTaints(taint) => write!(f, "startup taint {taint} is still on it"),
            Self::HumanCordon(pod) => write!(
                f,
                "somebody cordoned it, and pod {pod} is still on it: it is left to them"
            ),
            Self::NodeTooYoung { until } => {
                write!(f, "it became Ready a short while ago; not before {until}")
            }
            Self::GroupDeleting => f.write_str("its group is being deleted"),
            Self::GroupPaused => f.write_str("its group is paused"),
            Self::ScaleDownDisabled => f.write_str("scaleDownPolicy.enabled is false"),
            Self::ScaleUpInProgress => f.write_str("machines of its group are on their way"),
            Self::CooldownActive { until } => {
                write!(f, "its group scaled a short while ago; not before {until}")
            }
            Self::RemovalInProgress(other) => write!(f, "{other} is being removed"),
            Self::BeingRemoved { cause, step } => {
                write!(f, "it is being removed ({}, {})", cause.name(), step.name())
            }
            Self::NotUnderutilized {
                resource,
                measured,
                percent,
                threshold,
            } => {
                let by = if *measured {
                    "are in use"
                } else {
                    "are asked for by pods"
                };
                write!(
                    f,
                    "{percent} % of its {resource} {by}; it must be less than {threshold} %"
                )
            }
            Self::WindowNotOver { until } => write!(
                f,
                "it has not been unneeded for the whole window; not before {until}"
            ),
            Self::BarePod(pod) => {
                write!(f, "pod {pod} has no controller: nobody would make it anew")
            }
            Self::ControllerGone { pod, controller } => write!(
                f,
                "{controller} of pod {pod} does not exist any more: nobody would make it anew"
            ),
            Self::LocalStorage { pod, volumes } => {
                write!(f, "pod {pod} has data on the node: {}", volumes.join(", "))
            }
            Self::KubeSystemPod(pod) => {
                write!(f, "pod {pod} is of the system, and no budget covers it")
            }
            Self::PodProtected { pod, by, until } => {
                write!(f, "pod {pod} is not to be disturbed ({by})")?;
                until.map_or(Ok(()), |until| write!(f, "; not before {until}"))
            }
            Self::AnnotationNotUnderstood { pod, key, value } => write!(
                f,
                "pod {pod} has {key}={value:?}, which means nothing; so it is not disturbed"
            ),
            Self::OnCompletion(pod) => write!(f, "pod {pod} is to be left until it has finished"),
            Self::ReplicaFloor {
                pod,
                replicas,
                floor,
            } => write!(
                f,
                "pod {pod} is one of {replicas} replicas; those of fewer than {floor} are not \
                 disturbed"
            ),
            Self::PinnedVolume { pod, claim } => write!(
                f,
                "the volume of claim {claim} of pod {pod} can be used on this node only"
            ),
            Self::BudgetsUnreadable(pod) => write!(
                f,
                "PodDisruptionBudgets cannot be read, and pod {pod} may be under one"
            ),
            Self::Simulation(reason) => reason.fmt(f),
        }
    }
}
