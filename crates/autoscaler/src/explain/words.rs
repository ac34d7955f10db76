//! Reasons in few words: for a headline over all nodes, and for nodes that are refused alike.

use model::HourlyPrice;
use scheduling::Failure;

use crate::offline::reason::Reason;

/// The reason in a few words, as a headline counts it.
pub(super) fn short(reason: &Reason) -> String {
    let Reason::Filter(failure) = reason else {
        return reason.detail();
    };
    match failure {
        Failure::Unschedulable => "cordoned".into(),
        Failure::OtherNode { wanted } => format!("not the node {wanted} it asks for"),
        Failure::UntoleratedTaint { taint } => format!("taint {taint} not tolerated"),
        Failure::SelectorMismatch { wanted, .. } => format!("no label {wanted}"),
        Failure::AffinityMismatch => "required node affinity does not match".into(),
        Failure::PortInUse { port } => format!("host port {port} taken"),
        Failure::InsufficientResource {
            resource,
            exceeds_capacity: false,
            ..
        } => format!("not enough {resource} free"),
        Failure::InsufficientResource { resource, .. } => format!("too small in {resource}"),
        Failure::DiskInUse { disk } => format!("{disk} mounted already"),
        Failure::TooManyVolumes { driver, .. } => format!("no more volumes of {driver}"),
        Failure::UncountableVolumes => "volumes that cannot be counted".into(),
        Failure::MissingSpreadKey { key } => format!("no label {key} to spread over"),
        Failure::UnevenSpread { key, .. } => format!("uneven spread over {key}"),
        Failure::MissingAffinityKey { key } => format!("no label {key} for pod affinity"),
        Failure::NoAffinePod { key, .. } => format!("required pod affinity within {key}"),
        Failure::ForbiddenPod { key, .. } => format!("own pod anti-affinity within {key}"),
        Failure::ForbiddenByPod { key, .. } => {
            format!("pod anti-affinity of running pods within {key}")
        }
        Failure::Claim { .. } | Failure::MissingFeature { .. } | Failure::NotEvaluated { .. } => {
            failure.to_string()
        }
    }
}

/// What reasons that read alike have in common: numbers and names of a single node left out.
pub(super) fn kind(reason: &Reason) -> String {
    match reason {
        Reason::Filter(Failure::InsufficientResource { requested, .. }) => {
            format!("{} {requested}", short(reason))
        }
        Reason::Filter(Failure::UnevenSpread { max_skew, .. }) => {
            format!("{} {max_skew}", short(reason))
        }
        Reason::Filter(_) => short(reason),
        Reason::Other { name, detail } if *name == "PodInvalid" => detail.clone(),
        Reason::Other { name, .. } => (*name).to_owned(),
    }
}

/// Reasons of one kind in words that are true of all of them; the first of them where they are
/// equal.
pub(super) fn together(reasons: &[&Reason]) -> String {
    let Some((first, rest)) = reasons.split_first() else {
        return String::new();
    };
    if rest.iter().all(|reason| reason == first) {
        return first.detail();
    }
    let Reason::Filter(failure) = first else {
        return first.detail();
    };
    match failure {
        Failure::InsufficientResource {
            resource,
            requested,
            exceeds_capacity,
            ..
        } => {
            let free = reasons.iter().filter_map(|reason| match reason {
                Reason::Filter(Failure::InsufficientResource { free, .. }) => Some(*free),
                _ => None,
            });
            let best = Failure::InsufficientResource {
                resource: resource.clone(),
                requested: *requested,
                free: free.max().unwrap_or_default(),
                exceeds_capacity: false,
            };
            let beyond = if *exceeds_capacity {
                " (more than any of them has altogether)"
            } else {
                ""
            };
            format!("{best} at best{beyond}")
        }
        Failure::SelectorMismatch { wanted, .. } => {
            format!("the node selector asks for {wanted}, which none of them has")
        }
        Failure::TooManyVolumes { driver, .. } => format!("no more volumes of {driver} fit"),
        Failure::UnevenSpread { key, max_skew, .. } => {
            format!("one more in its {key} would exceed maxSkew {max_skew}")
        }
        Failure::NoAffinePod { key, .. } => {
            format!("no pod that the required pod affinity asks for runs in its {key}")
        }
        Failure::ForbiddenPod { key, .. } => {
            format!("a pod that the required pod anti-affinity forbids runs in its {key}")
        }
        Failure::ForbiddenByPod { key, .. } => {
            format!("the required pod anti-affinity of a pod in its {key} forbids this pod")
        }
        _ => short(first),
    }
}

/// The first few names, and how many more there are.
pub(crate) fn listed<T: ToString>(names: &[T], few: usize) -> String {
    let shown: Vec<String> = names.iter().take(few).map(ToString::to_string).collect();
    match names.len().saturating_sub(few) {
        0 => match shown.split_last() {
            Some((last, rest)) if !rest.is_empty() => format!("{} and {last}", rest.join(", ")),
            _ => shown.join(", "),
        },
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

/// A price by the hour and by the month.
pub(super) fn money(price: HourlyPrice) -> String {
    let hours = HourlyPrice::HOURS_PER_MONTH;
    let month = price.monthly();
    format!("{price} USD an hour ({month:.2} USD a month of {hours} hours)")
}
