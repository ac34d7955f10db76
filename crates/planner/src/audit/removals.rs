//! An independent look at a plan of removals before any of it begins, in production too.
//!
//! Shares no code with what makes plans: it counts nodes, budgets, room and wishes again, in the
//! plainest way, and asks the checker of every place. A plan that breaks a rule is refused whole;
//! rules are named as in `docs/scale-down.md`.

mod nodes;
mod places;
mod pods;

use std::{collections::BTreeSet, fmt, sync::Arc};

use model::{NodeName, Pod, PodRole};

use crate::removal::plan::{Candidate, Chosen, Input, Plan};

/// A rule that a plan of removals would break.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RemovalViolation {
    /// The rule's name.
    pub rule: &'static str,
    /// The node that the plan would remove; `None` where it is about all of them.
    pub node: Option<NodeName>,
    /// What would break it, in words.
    pub detail: String,
}

impl fmt::Display for RemovalViolation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.node {
            Some(node) => write!(f, "{}: node {node}: {}", self.rule, self.detail),
            None => write!(f, "{}: {}", self.rule, self.detail),
        }
    }
}

impl std::error::Error for RemovalViolation {}

/// Collects what is wrong.
struct Findings(Vec<RemovalViolation>);

impl Findings {
    fn hold(
        &mut self,
        rule: &'static str,
        node: Option<&NodeName>,
        holds: bool,
        detail: impl FnOnce() -> String,
    ) {
        if !holds {
            self.0.push(RemovalViolation {
                rule,
                node: node.cloned(),
                detail: detail(),
            });
        }
    }
}

/// Holds a plan to the rules of removals.
///
/// # Errors
///
/// Every rule that it would break.
pub fn removals(input: &Input<'_>, plan: &Plan) -> Result<(), Vec<RemovalViolation>> {
    if plan.remove.is_empty() {
        return Ok(());
    }
    let mut findings = Findings(Vec::new());
    for chosen in &plan.remove {
        match candidate_of(input, chosen) {
            Ok(candidate) => {
                nodes::judge(input, candidate, &mut findings);
                pods::judge(input, chosen, &mut findings);
            }
            Err(detail) => findings.hold("S5", Some(&chosen.node), false, || detail),
        }
    }
    nodes::judge_all(input, plan, &mut findings);
    pods::judge_budgets(input, plan, &mut findings);
    places::judge(input, plan, &mut findings);
    if findings.0.is_empty() {
        Ok(())
    } else {
        Err(findings.0)
    }
}

/// The one node of the input that a choice names by node, VPSieNode and group.
fn candidate_of<'a>(input: &'a Input<'_>, chosen: &Chosen) -> Result<&'a Candidate, String> {
    let all = input.candidates.iter();
    let same: Vec<&Candidate> = all.filter(|one| one.node == chosen.node).collect();
    let [candidate] = same[..] else {
        return Err(format!("{} nodes of this name are known", same.len()));
    };
    if candidate.machine.as_deref() != Some(chosen.machine.as_str()) {
        return Err(format!("{} does not stand for it", chosen.machine));
    }
    if candidate.group.as_ref() != Some(&chosen.group) {
        return Err(format!("it is not of group {}", chosen.group));
    }
    Ok(candidate)
}

/// Going already, or for certain.
fn is_going(input: &Input<'_>, candidate: &Candidate) -> bool {
    candidate.removal.is_some() || input.leaving.contains(&candidate.node)
}

/// Nodes that go, by this plan or without it.
fn going<'a>(input: &'a Input<'_>, plan: &'a Plan) -> BTreeSet<&'a NodeName> {
    let candidates = input.candidates.iter();
    let before = candidates.filter(|one| is_going(input, one));
    before
        .map(|one| &one.node)
        .chain(input.leaving)
        .chain(plan.remove.iter().map(|chosen| &chosen.node))
        .collect()
}

/// The pods that would have to be evicted.
fn evicted<'a>(input: &'a Input<'_>, node: &'a NodeName) -> impl Iterator<Item = &'a Arc<Pod>> {
    input.cluster.bound.iter().filter(move |pod| {
        pod.node() == Some(node) && pod.role == PodRole::Ordinary && pod.terminating.is_none()
    })
}
