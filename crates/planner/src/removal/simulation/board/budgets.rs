//! Which budgets pods are under, and what speaks against moving them at all.

use std::{collections::BTreeMap, sync::Arc};

use model::{Pod, PodHealth, SchedulingClass, UnevaluatedRule};

use super::super::{Input, Reason};

/// The budgets, by namespace.
pub(super) struct Budgets<'a> {
    input: &'a Input<'a>,
    by_namespace: BTreeMap<&'a str, Vec<usize>>,
}

impl<'a> Budgets<'a> {
    pub(super) fn new(input: &'a Input<'a>) -> Self {
        let mut by_namespace: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
        for (index, budget) in input.budgets.iter().enumerate() {
            let budgets = by_namespace.entry(&*budget.namespace).or_default();
            budgets.push(index);
        }
        Self {
            input,
            by_namespace,
        }
    }

    /// The budgets that pods of a class are under.
    pub(super) fn of(&self, class: &SchedulingClass) -> Vec<usize> {
        let budgets = self.by_namespace.get(&*class.namespace);
        let budgets = budgets.into_iter().flatten().copied();
        budgets
            .filter(|&index| self.input.budgets[index].selector.matches(&class.labels))
            .collect()
    }
}

/// A budget by name.
pub(in super::super) fn budget_name(input: &Input<'_>, budget: usize) -> String {
    let budget = &input.budgets[budget];
    format!("{}/{}", budget.namespace, budget.name)
}

/// What speaks against moving these equal pods at all.
pub(super) fn judge_pods(
    class: &SchedulingClass,
    pods: &[&Arc<Pod>],
    under: &[usize],
    budgets: &Budgets<'_>,
    refusals: &mut Vec<Reason>,
) {
    for pod in pods {
        let key = || pod.key.clone();
        if let Some(detail) = &class.defect {
            refusals.push(Reason::PodInvalid {
                pod: key(),
                detail: detail.to_string(),
            });
        }
        let rule = UnevaluatedRule::ResourceClaims;
        if class.unevaluated.contains(&rule) {
            refusals.push(Reason::RuleNotEvaluated { pod: key(), rule });
        }
        let input = budgets.input;
        // The API server asks no budget about a pod that has not begun to run.
        if pod.health == PodHealth::Starting {
            continue;
        }
        match under {
            [] => {}
            [budget] if input.budgets[*budget].allowed > 0 => {}
            [budget] if input.budgets[*budget].spares(pod.health) => {}
            [budget] => refusals.push(Reason::BudgetAllowsNone {
                pod: key(),
                budget: budget_name(input, *budget),
            }),
            several => refusals.push(Reason::SeveralBudgets {
                pod: key(),
                budgets: several.iter().map(|one| budget_name(input, *one)).collect(),
            }),
        }
    }
}
