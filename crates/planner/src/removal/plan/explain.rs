//! What people are told who ask: each node judged by itself, whatever goes before it, and which nodes
//! could go together if any number might. By the same facts and the same simulation as the plan.

use std::collections::BTreeMap;

use model::{HourlyPrice, NodeName, PodKey};

use super::{
    Candidate, Input, Many,
    facts::{self, Facts, Purpose},
    joint::{self, Stage},
};
use crate::removal::{
    refusal::Refusal,
    simulation::{self, Limits, Verdict},
};

/// What is said of all nodes.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Explained {
    /// Every candidate.
    pub nodes: BTreeMap<NodeName, Alone>,
    /// Those that could go together if any number might, and what each saves, where known.
    pub together: BTreeMap<NodeName, Option<HourlyPrice>>,
    /// So many look removable at once that another window is waited for.
    pub many: Option<Many>,
}

/// What is said of a node by itself.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Alone {
    /// Everything that speaks against its going; nothing where it could.
    pub refusals: Vec<Refusal>,
    /// Where each of its pods would find its place, one after the other, if it could go.
    pub moves: Vec<(PodKey, NodeName)>,
    /// Why it waits for others, if it could go.
    pub waits: Vec<Refusal>,
}

/// Judges every node as if no other went but those that are being removed: how many may go at once,
/// and which goes first, plays no part. Of nodes of ours that something else keeps it is said, too,
/// whether their pods would find their places; that costs a simulation for each.
#[must_use]
pub fn explain(input: &Input<'_>) -> Explained {
    let facts = Facts::of(input);
    let stage = Stage::of(&facts, &[]);
    let limits = Limits {
        buffer_percent: input.settings.buffer_percent,
        ..Limits::NONE
    };
    let mut told = Explained::default();
    let (mut eligible, mut kept) = (Vec::new(), Vec::new());
    for candidate in &input.candidates {
        let refusals = if let Some((cause, step)) = facts::removal(input, candidate) {
            vec![Refusal::BeingRemoved { cause, step }]
        } else {
            let refusals = facts.refusals(candidate, Purpose::Begin);
            if refusals.is_empty() {
                eligible.push(candidate);
            } else if facts.group(candidate).is_some() {
                kept.push(candidate);
            }
            refusals
        };
        let said = told.nodes.entry(candidate.node.clone()).or_default();
        said.refusals = refusals;
    }
    if !kept.is_empty() {
        let verdicts = simulation::alone(&stage.input(&kept, limits));
        note(&mut told, verdicts);
    }
    if !eligible.is_empty() {
        joined(&stage, &eligible, limits, &mut told);
    }
    told
}

/// Those that nothing keeps, alone and beside each other.
fn joined(stage: &Stage<'_>, eligible: &[&Candidate], limits: Limits, told: &mut Explained) {
    let scan = simulation::scan(&stage.input(eligible, limits));
    note(told, scan.alone);
    let removals = scan.plan.removals.into_iter();
    told.together = removals.map(|one| (one.node, one.savings)).collect();
    let count = u32::try_from(told.together.len()).unwrap_or(u32::MAX);
    let many = joint::many(stage, eligible, count);
    for (node, reasons) in scan.plan.left {
        if let Some(said) = told
            .nodes
            .get_mut(&node)
            .filter(|said| said.refusals.is_empty())
        {
            said.waits = reasons.into_iter().map(Refusal::Simulation).collect();
        }
    }
    let Some((many, until)) = many else {
        return;
    };
    for said in told.nodes.values_mut() {
        if said.refusals.is_empty() {
            let refusal = Refusal::ManyRemovable {
                removable: many.removable,
                nodes: many.nodes,
                until,
            };
            said.waits.insert(0, refusal);
        }
    }
    told.many = Some(many);
}

/// Adds what the simulation says.
fn note(told: &mut Explained, verdicts: BTreeMap<NodeName, Verdict>) {
    for (node, verdict) in verdicts {
        let said = told.nodes.entry(node).or_default();
        match verdict {
            Verdict::Removable { moves, .. } if said.refusals.is_empty() => said.moves = moves,
            Verdict::Removable { .. } => {}
            Verdict::Kept(reasons) => {
                for refusal in reasons.into_iter().map(Refusal::Simulation) {
                    if !said.refusals.contains(&refusal) {
                        said.refusals.push(refusal);
                    }
                }
            }
        }
    }
}
