//! Failures in words: what is in the way, so that a reader knows what to change.

use std::fmt;

use super::{ClaimProblem, Failure};

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unschedulable => f.write_str("the node is unschedulable"),
            Self::OtherNode { wanted } => write!(f, "the pod asks for node {wanted}"),
            Self::UntoleratedTaint { taint } => write!(f, "taint {taint} is not tolerated"),
            Self::SelectorMismatch {
                wanted,
                found: None,
            } => write!(
                f,
                "the node selector asks for {wanted}, a label the node lacks"
            ),
            Self::SelectorMismatch {
                wanted,
                found: Some(found),
            } => write!(
                f,
                "the node selector asks for {wanted}, the node has {found:?}"
            ),
            Self::AffinityMismatch => {
                f.write_str("no term of the required node affinity matches the node")
            }
            Self::PortInUse { port } => write!(f, "host port {port} is taken by a running pod"),
            Self::InsufficientResource {
                resource,
                requested,
                free,
                exceeds_capacity,
            } => {
                let asked = Amount(resource, *requested);
                let free = Amount(resource, *free);
                write!(f, "insufficient {resource}: {asked} asked, {free} free")?;
                if *exceeds_capacity {
                    f.write_str(" (more than the node has altogether)")?;
                }
                Ok(())
            }
            Self::Claim { claim, problem, .. } => write!(f, "claim {claim} {problem}"),
            Self::DiskInUse { disk } => write!(
                f,
                "{disk} is mounted by a running pod and cannot be mounted twice on one node"
            ),
            Self::TooManyVolumes {
                driver,
                attached,
                added,
                limit,
            } => write!(
                f,
                "the node takes {limit} volumes of {driver}: {attached} are attached, {added} would be added"
            ),
            Self::UncountableVolumes => f.write_str(
                "a running pod uses a claim that belongs to another pod, so the volumes attached \
                 here cannot be counted",
            ),
            Self::MissingSpreadKey { key } => write!(
                f,
                "the node lacks the label {key} that a topology spread constraint goes by"
            ),
            Self::UnevenSpread {
                key,
                domain,
                pods,
                minimum,
                max_skew,
            } => write!(
                f,
                "{key}={domain} has {pods} of these pods and the emptiest domain {minimum}: \
                 one more would exceed maxSkew {max_skew}"
            ),
            Self::MissingAffinityKey { key } => write!(
                f,
                "the node lacks the label {key} that the required pod affinity goes by"
            ),
            Self::NoAffinePod { key, domain } => write!(
                f,
                "no pod that the required pod affinity asks for runs in {key}={domain}"
            ),
            Self::ForbiddenPod { key, domain } => write!(
                f,
                "a pod that the required pod anti-affinity forbids runs in {key}={domain}"
            ),
            Self::ForbiddenByPod { key, domain } => write!(
                f,
                "the required pod anti-affinity of a pod running in {key}={domain} forbids this pod"
            ),
            Self::MissingFeature { feature } => {
                write!(f, "the node does not declare the feature {feature}")
            }
            Self::NotEvaluated { rule } => {
                write!(f, "the pod uses {}, which is not evaluated", rule.plugin())
            }
        }
    }
}

impl fmt::Display for ClaimProblem {
    /// A predicate: what follows `claim data-0`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotFound => f.write_str("does not exist"),
            Self::Lost => f.write_str("has lost its volume"),
            Self::Deleting => f.write_str("is being deleted"),
            Self::OfAnotherPod => f.write_str("belongs to another pod"),
            Self::Unbound => f.write_str("is not bound, and binding does not wait for a pod"),
            Self::NoClass => f.write_str("names neither a volume nor a storage class"),
            Self::ClassNotFound { class } => {
                write!(f, "is of storage class {class}, which does not exist")
            }
            Self::VolumeNotFound { volume } => {
                write!(f, "is bound to volume {volume}, which does not exist")
            }
            Self::VolumeElsewhere { volume } => write!(
                f,
                "is bound to volume {volume}, whose node affinity does not match the node"
            ),
            Self::OtherZone { volume, wanted } => write!(
                f,
                "is bound to volume {volume} with {wanted}, which the node has not"
            ),
            Self::SelectedNode { node } => {
                write!(f, "is getting its volume for node {node}")
            }
            Self::NoVolume { class } => write!(
                f,
                "finds no free volume that fits, and storage class {class} provisions none"
            ),
            Self::OtherTopology { class } => write!(
                f,
                "finds no free volume that fits, and storage class {class} does not provision for this node"
            ),
            Self::NoCapacity { class } => write!(
                f,
                "is larger than what storage class {class} has left for this node"
            ),
            Self::InUse => f.write_str("is for a single pod (ReadWriteOncePod) and already used"),
        }
    }
}

/// An amount in the unit people write for its resource.
struct Amount<'a>(&'a str, i64);

impl fmt::Display for Amount<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(resource, amount) = *self;
        let bytes = matches!(resource, "memory" | "ephemeral-storage")
            || resource.starts_with("hugepages-");
        match resource {
            "cpu" if amount % 1000 == 0 => write!(f, "{}", amount / 1000),
            "cpu" => write!(f, "{amount}m"),
            _ if bytes && amount != 0 && amount % (1 << 30) == 0 => write!(f, "{}Gi", amount >> 30),
            _ if bytes && amount.unsigned_abs() >= 1 << 20 => write!(f, "{}Mi", amount >> 20),
            _ => write!(f, "{amount}"),
        }
    }
}
