//! NodeAffinity: the node selector and, beside it, one term of the required affinity must match
//! (scheduler plugin `nodeaffinity`; component-helpers `nodeaffinity`).

use model::{Node, SchedulingClass};

use crate::Failure;

pub(crate) fn check(class: &SchedulingClass, node: &Node) -> Option<Failure> {
    let labels = &node.shape.labels;
    let selected = class
        .node_selector
        .iter()
        .all(|r| r.matches(labels.get(&*r.key).map(AsRef::as_ref)));
    // Terms are alternatives; a list without any matches nothing.
    let affine = class
        .required_terms
        .as_ref()
        .is_none_or(|terms| terms.iter().any(|t| t.matches(node.name.as_str(), labels)));
    (!(selected && affine)).then_some(Failure::AffinityMismatch)
}
