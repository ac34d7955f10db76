//! TaintToleration: every `NoSchedule` and `NoExecute` taint must be tolerated; the first that is
//! not is named (scheduler plugin `tainttoleration`).

use model::{Node, SchedulingClass};

use crate::Failure;

pub(crate) fn check(class: &SchedulingClass, node: &Node) -> Option<Failure> {
    node.shape
        .taints
        .iter()
        .filter(|taint| taint.effect.repels())
        .find(|taint| !class.tolerations.iter().any(|t| t.tolerates(taint)))
        .map(|taint| Failure::UntoleratedTaint {
            taint: format!("{}={}:{:?}", taint.key, taint.value, taint.effect),
        })
}
