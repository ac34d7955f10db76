//! NodeDeclaredFeatures: a node must declare every feature that the pod needs (scheduler plugin
//! `nodedeclaredfeatures`, on by default since 1.36).

use model::SchedulingClass;

use crate::{Failure, view::View};

pub(crate) fn check(class: &SchedulingClass, node: View<'_>) -> Option<Failure> {
    class
        .features
        .iter()
        .find(|feature| !node.shape.features.contains(*feature))
        .map(|feature| Failure::MissingFeature {
            feature: feature.to_string(),
        })
}
