//! NodeName: a pod that names its node runs nowhere else (scheduler plugin `nodename`).

use model::SchedulingClass;

use crate::{Failure, view::View};

pub(crate) fn check(class: &SchedulingClass, node: View<'_>) -> Option<Failure> {
    let wanted = class.node_name.as_ref()?;
    (wanted.as_str() != node.name).then(|| Failure::OtherNode {
        wanted: wanted.to_string(),
    })
}
