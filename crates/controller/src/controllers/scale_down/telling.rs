//! What is told of nodes that stay: a metric for each reason, an Event when people ask for it or a
//! node begins to be kept, and a condition on the VPSieNode of a node that little of is in use.
//!
//! Nothing is written while nothing changes: a condition follows the reasons' names, not figures in
//! their words.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
};

use api::conditions::{self, ConditionStatus, vpsie_node as types};
use model::{GroupKey, NodeName};
use planner::removal::{
    plan::{Candidate, Input, Many, Report},
    refusal::Refusal,
};
use serde_json::json;

use super::{described, find, note};
use crate::{
    context::Context,
    effects::{Effects, Error},
    events::About,
    pulse::Beat,
};

/// What was counted and told, so that each thing is once and ends when it is over.
#[derive(Default)]
pub(super) struct Told {
    /// The figures that are exported.
    counted: BTreeSet<(GroupKey, &'static str)>,
    /// What keeps which node.
    blocked: BTreeSet<(NodeName, &'static str)>,
    /// Nodes that little of is in use and that something else keeps, and what was said of them.
    kept: BTreeMap<NodeName, Vec<&'static str>>,
}

/// What keeps a node that little of is in use: nothing where it is in use, or nothing keeps it. A node
/// that is only coming is not kept.
fn keeping<'r>(candidate: &Candidate, refusals: &'r [Refusal]) -> Option<Vec<&'r Refusal>> {
    let in_use = |refusal: &Refusal| {
        matches!(
            refusal,
            Refusal::NotUnderutilized { .. } | Refusal::BeingRemoved { .. }
        )
    };
    if candidate.ready_at.is_none() || refusals.iter().any(in_use) {
        return None;
    }
    let passing = |refusal: &&Refusal| {
        !matches!(
            refusal,
            Refusal::WindowNotOver { .. }
                | Refusal::NodeTooYoung { .. }
                | Refusal::CooldownActive { .. }
                | Refusal::RemovalInProgress(_)
                | Refusal::WarmingUp { .. }
                | Refusal::CacheStale { .. }
        )
    };
    let lasting: Vec<&Refusal> = refusals.iter().filter(passing).collect();
    (!lasting.is_empty()).then_some(lasting)
}

impl Told {
    /// Metrics and Events.
    pub(super) fn tell(&mut self, ctx: &Context, input: &Input<'_>, report: &Report) {
        self.count(ctx, input, report);
        let mut kept = BTreeMap::new();
        for candidate in input.candidates.iter().filter(|one| one.managed) {
            let refusals = report.get(&candidate.node).map_or(&[][..], Vec::as_slice);
            let Some(lasting) = keeping(candidate, refusals) else {
                continue;
            };
            let names: Vec<&'static str> = lasting.iter().map(|refusal| refusal.name()).collect();
            if self.kept.get(&candidate.node) != Some(&names)
                && let Some(object) = candidate
                    .machine
                    .as_deref()
                    .and_then(|name| find(ctx, name))
            {
                ctx.events.normal(
                    About::object(object.as_ref()),
                    "ScaleDownBlocked",
                    format!("node {} stays: {}", candidate.node, listed(&lasting)),
                );
            }
            kept.insert(candidate.node.clone(), names);
        }
        self.kept = kept;
    }

    fn count(&mut self, ctx: &Context, input: &Input<'_>, report: &Report) {
        let mut counts: BTreeMap<(GroupKey, &'static str), i64> = BTreeMap::new();
        // A reason that no longer holds counts no node; one of a group that is gone is no figure.
        for (group, reason) in std::mem::take(&mut self.counted) {
            if input.groups.contains_key(&group) {
                counts.insert((group, reason), 0);
            } else {
                ctx.metrics.forget_scale_down_blocked(&group, reason);
            }
        }
        let mut blocked = BTreeSet::new();
        for candidate in input.candidates.iter().filter(|one| one.managed) {
            let Some(group) = &candidate.group else {
                continue;
            };
            // Several pods may have the same thing against it: the node counts once.
            let reasons: BTreeSet<&'static str> = report
                .get(&candidate.node)
                .into_iter()
                .flatten()
                .map(Refusal::name)
                .collect();
            for reason in reasons {
                *counts.entry((group.clone(), reason)).or_default() += 1;
                if !self.blocked.contains(&(candidate.node.clone(), reason)) {
                    ctx.metrics.scale_down_refused(group, reason);
                }
                blocked.insert((candidate.node.clone(), reason));
            }
        }
        self.blocked = blocked;
        for ((group, reason), count) in &counts {
            ctx.metrics.scale_down_blocked(group, reason, *count);
        }
        self.counted = counts.into_keys().collect();
    }

    /// The condition on each VPSieNode that has to change.
    pub(super) async fn write(
        &self,
        ctx: &Context,
        effects: &Effects,
        input: &Input<'_>,
        report: &Report,
        beat: &Beat,
    ) -> Result<(), Error> {
        for candidate in input.candidates.iter().filter(|one| one.managed) {
            let Some(object) = candidate
                .machine
                .as_deref()
                .and_then(|name| find(ctx, name))
            else {
                continue;
            };
            let refusals = report.get(&candidate.node).map_or(&[][..], Vec::as_slice);
            let lasting = keeping(candidate, refusals);
            let mut all = object
                .status
                .as_ref()
                .and_then(|status| status.conditions.clone())
                .unwrap_or_default();
            let present = all
                .iter()
                .find(|one| one.type_ == types::SCALE_DOWN_BLOCKED);
            let reason = lasting.as_ref().and_then(|lasting| lasting.first());
            let same = match (present, reason) {
                (None, None) => true,
                (Some(present), None) => present.status == ConditionStatus::False,
                (None, Some(_)) => false,
                (Some(present), Some(reason)) => {
                    present.status == ConditionStatus::True
                        && present.reason.as_deref() == Some(reason.name())
                }
            };
            if same {
                continue;
            }
            beat.beat();
            let (reason, message) = match &lasting {
                Some(lasting) => (
                    lasting.first().map_or("", |one| one.name()),
                    listed(lasting),
                ),
                None => ("NothingKeepsIt", String::new()),
            };
            conditions::set_condition(
                &mut all,
                types::SCALE_DOWN_BLOCKED,
                lasting.is_some().into(),
                reason,
                &message,
                input.now,
            );
            match note(ctx, effects, &object, json!({ "conditions": all })).await {
                // Whoever wrote first is right; the next round looks again.
                Ok(_) | Err(Error::Conflict { .. } | Error::NotFound { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// How many refusals are spelled out.
const SPELLED_OUT: usize = 5;

fn listed(refusals: &[&Refusal]) -> String {
    let mut text = refusals
        .iter()
        .take(SPELLED_OUT)
        .map(|refusal| described(refusal))
        .collect::<Vec<_>>()
        .join("; ");
    if let Some(more) = refusals
        .len()
        .checked_sub(SPELLED_OUT)
        .filter(|more| *more > 0)
    {
        let _ = write!(text, "; and {more} more");
    }
    text
}

/// Many nodes look removable at once: told to the groups when it begins, and when it ends.
pub(super) fn many(ctx: &Context, before: Option<&Many>, now: Option<&Many>) {
    let text = match (before, now) {
        (None, Some(many)) => format!(
            "{} of {} Ready nodes look removable at once: nothing is removed until that has lasted for \
             another window; {} on a group, or on the AutoscalerConfig default, stops it for good",
            many.removable,
            many.nodes,
            api::labels::PAUSED
        ),
        _ => return,
    };
    for group in ctx.groups() {
        ctx.events.warning(
            About::object(group.object.as_ref()),
            "ManyRemovable",
            text.clone(),
        );
    }
}
