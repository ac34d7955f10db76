//! TaintToleration: every `NoSchedule` and `NoExecute` taint must be tolerated; the first that is
//! not is named (scheduler plugin `tainttoleration`).

use model::{SchedulingClass, Taint, Toleration};

use crate::{Failure, view::View};

pub(crate) fn check(class: &SchedulingClass, node: View<'_>) -> Option<Failure> {
    untolerated(&class.tolerations, node).map(|taint| Failure::UntoleratedTaint {
        taint: format!("{}={}:{:?}", taint.key, taint.value, taint.effect),
    })
}

/// The first taint that keeps pods with these tolerations away.
pub(crate) fn untolerated<'a>(tolerations: &[Toleration], node: View<'a>) -> Option<&'a Taint> {
    node.shape
        .taints
        .iter()
        .filter(|taint| taint.effect.repels())
        .find(|taint| !tolerations.iter().any(|t| t.tolerates(taint)))
}
