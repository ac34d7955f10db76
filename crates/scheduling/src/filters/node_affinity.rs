//! NodeAffinity: the node selector and, beside it, one term of the required affinity must match
//! (scheduler plugin `nodeaffinity`; component-helpers `nodeaffinity`).

use model::{NodeSelectorTerm, Requirement, SchedulingClass};

use crate::{Failure, view::View};

pub(crate) fn check(class: &SchedulingClass, node: View<'_>) -> Vec<Failure> {
    let mut failures = Vec::new();
    if let Some(unmet) = unmet(&class.node_selector, node) {
        failures.push(Failure::SelectorMismatch {
            wanted: format!("{}={}", unmet.key, unmet.values.join(",")),
            found: node.label(&unmet.key).map(str::to_owned),
        });
    }
    if !is_affine(class.required_terms.as_deref(), node) {
        failures.push(Failure::AffinityMismatch);
    }
    failures
}

/// Whether both match.
pub(crate) fn matches(
    node_selector: &[Requirement],
    required_terms: Option<&[NodeSelectorTerm]>,
    node: View<'_>,
) -> bool {
    unmet(node_selector, node).is_none() && is_affine(required_terms, node)
}

/// Terms are alternatives; a list without any matches nothing.
pub(crate) fn is_affine(terms: Option<&[NodeSelectorTerm]>, node: View<'_>) -> bool {
    terms.is_none_or(|terms| {
        terms
            .iter()
            .any(|term| term.matches_by(node.name, |key| node.label(key)))
    })
}

fn unmet<'r>(selector: &'r [Requirement], node: View<'_>) -> Option<&'r Requirement> {
    selector.iter().find(|r| !r.matches(node.label(&r.key)))
}
