//! The labels of the families, and what a label's value may be.

use model::GroupKey;
use prometheus_client::encoding::EncodeLabelSet;

/// Longer label values are cut.
const MAX_LABEL: usize = 100;

/// A label value: `[A-Za-z0-9_.-]`, anything else becomes `_`, at most 100 characters, never
/// empty.
#[must_use]
pub(super) fn sanitize(value: &str) -> String {
    let clean: String = value
        .chars()
        .take(MAX_LABEL)
        .map(|c| match c {
            'A'..='Z' | 'a'..='z' | '0'..='9' | '_' | '.' | '-' => c,
            _ => '_',
        })
        .collect();
    if clean.is_empty() {
        "unknown".into()
    } else {
        clean
    }
}

macro_rules! labels {
    ($($name:ident { $($field:ident),+ })+) => {$(
        #[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
        pub(super) struct $name { $(pub(super) $field: String),+ }
    )+};
}

labels! {
    GroupLabels { nodegroup, namespace }
    StateLabels { nodegroup, namespace, state }
    PhaseLabels { phase, nodegroup, namespace }
    ReasonLabels { nodegroup, namespace, reason }
    RequestLabels { method, status }
    MethodLabels { method }
    ErrorLabels { method, error_type }
    ControllerLabels { controller }
    ResultLabels { controller, result }
    ControllerErrorLabels { controller, error_type }
    BreakerLabels { state }
    BreakerChangeLabels { from_state, to_state }
    TransitionLabels { from_phase, to_phase, nodegroup, namespace }
    EventLabels { event_type, reason }
    KindLabels { kind }
    RuleLabels { rule }
    ScopeLabels { scope }
    UnownedLabels { scope, kind }
}

pub(super) fn group_labels(group: &GroupKey) -> GroupLabels {
    GroupLabels {
        nodegroup: sanitize(&group.name),
        namespace: sanitize(&group.namespace),
    }
}

pub(super) fn reason_labels(group: &GroupKey, reason: &str) -> ReasonLabels {
    ReasonLabels {
        nodegroup: sanitize(&group.name),
        namespace: sanitize(&group.namespace),
        reason: sanitize(reason),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn label_values_are_sanitized_and_bounded() {
        assert_eq!(sanitize("kube-system/ng é"), "kube-system_ng__");
        assert_eq!(sanitize(""), "unknown");
        assert_eq!(sanitize(&"x".repeat(300)).len(), 100);
    }
}
