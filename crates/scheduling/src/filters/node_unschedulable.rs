//! NodeUnschedulable: a cordoned node takes only pods that tolerate the taint Kubernetes gives it
//! (scheduler plugin `nodeunschedulable`).

use std::sync::Arc;

use model::{SchedulingClass, Taint, TaintEffect};

use crate::{Failure, view::View};

const TAINT: &str = "node.kubernetes.io/unschedulable";

pub(crate) fn check(class: &SchedulingClass, node: View<'_>) -> Option<Failure> {
    if !node.shape.unschedulable {
        return None;
    }
    let taint = Taint {
        key: Arc::from(TAINT),
        value: Arc::from(""),
        effect: TaintEffect::NoSchedule,
    };
    let tolerated = class.tolerations.iter().any(|t| t.tolerates(&taint));
    (!tolerated).then_some(Failure::Unschedulable)
}
