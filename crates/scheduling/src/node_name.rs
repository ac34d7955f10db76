//! NodeName: a pod that names its node runs nowhere else (scheduler plugin `nodename`).

use model::{Node, SchedulingClass};

use crate::Failure;

pub(crate) fn check(class: &SchedulingClass, node: &Node) -> Option<Failure> {
    let wanted = class.node_name.as_ref()?;
    (wanted != &node.name).then(|| Failure::OtherNode {
        wanted: wanted.to_string(),
    })
}
