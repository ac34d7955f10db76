//! The scale-down loop: which empty node goes next, and the windows that must have passed.
//!
//! Beginning a removal is one compare-and-swap on the VPSieNode; everything after that is the
//! lifecycle's, step by step, each on facts read anew.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use api::{VPSieNode, conditions::seconds, labels};
use jiff::Timestamp;
use model::{GroupKey, NodeName, PodRole};
use planner::{
    lifecycle::{Phase, Removal, RemovalCause},
    removal::{
        awaited::{Rank, awaited},
        empty::{self, Candidate, Input, Refusal},
    },
};
use serde_json::json;

use super::{
    expected::Expected,
    groups, node_group,
    vpsie_node::{read_record, removal_status},
};
use crate::{
    context::Context,
    effects::{Effects, Error},
    events::About,
    pulse::Beat,
};

/// Without any change everything is looked at again after this long.
const RESYNC: Duration = Duration::from_mins(10);
/// Pods come and go in bursts; a window of minutes does not need faster answers.
const DEBOUNCE: Duration = Duration::from_secs(2);

/// What was counted and told, so that each thing is once and ends when it is over.
#[derive(Default)]
struct Told {
    /// The figures that are exported.
    counted: BTreeSet<(GroupKey, &'static str)>,
    /// What keeps which node.
    blocked: BTreeSet<(NodeName, &'static str)>,
    /// Nodes that stay only because somebody asked for it, and what was said of them.
    kept: BTreeMap<NodeName, String>,
}

/// Runs until dropped.
pub async fn run(ctx: &Context, effects: &Effects, beat: &Beat) {
    let mut changes = ctx.state.changes();
    let mut told = Told::default();
    loop {
        let begun = ctx.clock.monotonic();
        changes.borrow_and_update();
        let outcome = once(ctx, effects, &mut told, beat).await;
        let took = ctx.clock.monotonic().saturating_sub(begun);
        let next = match outcome {
            Ok(next) => {
                ctx.metrics.reconciled("scale-down", took, None);
                next
            }
            Err(error) => {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "scale-down could not go on and is planned anew"
                );
                ctx.metrics.reconciled("scale-down", took, Some("write"));
                error.retry_after()
            }
        };
        beat.waiting(async {
            tokio::select! {
                biased;
                Ok(()) = changes.changed() => {}
                () = ctx.clock.sleep(next) => {}
            }
        })
        .await;
        ctx.clock.sleep(DEBOUNCE).await;
    }
}

async fn once(
    ctx: &Context,
    effects: &Effects,
    told: &mut Told,
    beat: &Beat,
) -> Result<Duration, Error> {
    let input = input(ctx);
    let (plan, report) = empty::plan(&input);
    count_blocked(ctx, &input, &report, told);
    tell_kept(ctx, &input, &report, told);
    let now = ctx.clock.now();
    for name in &plan.window_started {
        beat.beat();
        if let Some(object) = find(ctx, name) {
            let change = json!({ "unneededSince": seconds(now) });
            let written = effects.patch_vpsie_node_status(&object, change).await?;
            ctx.state.note_vpsie_node(written);
        }
    }
    for name in &plan.window_broken {
        beat.beat();
        if let Some(object) = find(ctx, name) {
            let change = json!({ "unneededSince": null });
            let written = effects.patch_vpsie_node_status(&object, change).await?;
            ctx.state.note_vpsie_node(written);
        }
    }
    if let Some(object) = plan.remove.as_deref().and_then(|name| find(ctx, name)) {
        begin(ctx, effects, &object, now).await?;
    }
    Ok(plan.look_again_at.map_or(RESYNC, |at| {
        Duration::try_from(at.duration_since(now))
            .unwrap_or_default()
            .clamp(Duration::from_secs(1), RESYNC)
    }))
}

async fn begin(
    ctx: &Context,
    effects: &Effects,
    object: &Arc<VPSieNode>,
    now: Timestamp,
) -> Result<(), Error> {
    let removal = Removal::new(RemovalCause::Empty, now);
    let change = json!({ "removal": removal_status(&removal, effects.epoch()) });
    let written = effects.patch_vpsie_node_status(object, change).await?;
    let written = ctx.state.note_vpsie_node(written);
    let node = written
        .status
        .as_ref()
        .and_then(|status| status.node_name.clone());
    let group = GroupKey::new(
        written.metadata.namespace.as_deref().unwrap_or_default(),
        &written.spec.node_group_name,
    );
    let message = format!(
        "node {} was empty for the whole window and is removed",
        node.unwrap_or_default()
    );
    ctx.events.normal(
        About::object(written.as_ref()),
        "ScaleDownTriggered",
        message.clone(),
    );
    if let Some(group) = ctx.group(&group) {
        ctx.events.normal(
            About::object(group.object.as_ref()),
            "ScaleDownTriggered",
            message,
        );
        node_group::note_scale_down(ctx, effects, &group.key).await?;
    }
    Ok(())
}

fn find(ctx: &Context, name: &str) -> Option<Arc<VPSieNode>> {
    let (namespace, name) = name.split_once('/')?;
    ctx.state.vpsie_node(namespace, name)
}

/// Why the node of this VPSieNode must stay after all, if anything says so.
#[must_use]
pub fn still_removable(ctx: &Context, object: &VPSieNode) -> Option<String> {
    let machine = format!(
        "{}/{}",
        object.metadata.namespace.as_deref().unwrap_or_default(),
        object.metadata.name.as_deref().unwrap_or_default()
    );
    empty::still_removable(&input(ctx), &machine)
        .err()
        .map(|refusal| format!("{}: {refusal}", refusal.name()))
}

fn count_blocked(ctx: &Context, input: &Input, report: &empty::Report, told: &mut Told) {
    let mut counts: BTreeMap<(GroupKey, &'static str), i64> = BTreeMap::new();
    // A reason that no longer holds counts no node; one of a group that is gone is no figure.
    for (group, reason) in std::mem::take(&mut told.counted) {
        if input.groups.contains_key(&group) {
            counts.insert((group, reason), 0);
        } else {
            ctx.metrics.forget_scale_down_blocked(&group, reason);
        }
    }
    let mut blocked = BTreeSet::new();
    for candidate in &input.candidates {
        for refusal in report.get(&candidate.node).into_iter().flatten() {
            let reason = refusal.name();
            *counts.entry((candidate.group.clone(), reason)).or_default() += 1;
            if !told.blocked.contains(&(candidate.node.clone(), reason)) {
                ctx.metrics.scale_down_refused(&candidate.group, reason);
            }
            blocked.insert((candidate.node.clone(), reason));
        }
    }
    told.blocked = blocked;
    for ((group, reason), count) in &counts {
        ctx.metrics.scale_down_blocked(group, reason, *count);
    }
    told.counted = counts.into_keys().collect();
}

/// Tells, once, that a node would go if nobody had asked that it stays.
fn tell_kept(ctx: &Context, input: &Input, report: &empty::Report, told: &mut Told) {
    let mut kept = BTreeMap::new();
    for candidate in &input.candidates {
        let Some(refusals) = report.get(&candidate.node) else {
            continue;
        };
        if !refusals.iter().all(Refusal::is_asked_for) {
            continue;
        }
        let text = refusals
            .iter()
            .map(|refusal| format!("{}: {refusal}", refusal.name()))
            .collect::<Vec<_>>()
            .join("; ");
        if told.kept.get(&candidate.node) != Some(&text)
            && let Some(object) = find(ctx, &candidate.machine)
        {
            ctx.events.normal(
                About::object(object.as_ref()),
                "ScaleDownBlocked",
                format!("node {} stays: {text}", candidate.node),
            );
        }
        kept.insert(candidate.node.clone(), text);
    }
    told.kept = kept;
}

/// Everything the choice rests on.
#[must_use]
pub fn input(ctx: &Context) -> Input {
    let managed = ctx.groups();
    let mut input = Input {
        now: ctx.clock.now(),
        groups: BTreeMap::new(),
        candidates: Vec::new(),
        targeted_delete: ctx.cloud.capabilities().targeted_delete,
    };
    let objects = ctx.state.vpsie_nodes();
    for group in &managed {
        let spec = &group.object.spec;
        let policy = spec.scale_down_policy.clone().unwrap_or_default();
        let status = group.object.status.clone().unwrap_or_default();
        let mut facts = empty::Group {
            min_nodes: u32::try_from(spec.min_nodes).unwrap_or(0),
            ready_nodes: 0,
            enabled: policy.is_enabled(),
            window: policy.window(),
            cooldown: policy.cooldown(),
            last_scaled_at: status
                .last_scale_time
                .as_ref()
                .and_then(|time| time.parse().ok()),
            in_flight: 0,
            deleting: group.deleting(),
        };
        for object in objects
            .iter()
            .filter(|object| groups::has(&group.key, object))
        {
            let record = read_record(object);
            if record.deletion_requested && record.removal.is_none() {
                continue;
            }
            if record.phase.is_in_flight() {
                facts.in_flight += 1;
            }
            let removing = record.removal.is_some() && record.phase != Phase::Failed;
            let Some(node) = record
                .node
                .clone()
                .filter(|_| record.phase == Phase::Ready || removing)
            else {
                continue;
            };
            let row = ctx.state.node(&node);
            let ready = row.as_ref().is_some_and(|row| row.node.ready);
            if ready && record.removal.is_none() {
                facts.ready_nodes += 1;
            }
            if !ready && !removing {
                continue;
            }
            let pods = ctx.state.pods_on(&node);
            input.candidates.push(Candidate {
                machine: format!(
                    "{}/{}",
                    group.key.namespace,
                    object.metadata.name.as_deref().unwrap_or_default()
                ),
                group: group.key.clone(),
                ready_at: record.ready_at,
                unneeded_since: object
                    .status
                    .as_ref()
                    .and_then(|status| status.unneeded_since.as_ref())
                    .and_then(|time| time.parse().ok()),
                pods: pods
                    .iter()
                    .filter(|pod| pod.role == PodRole::Ordinary)
                    .map(|pod| pod.key.clone())
                    .collect(),
                protected_by: row.as_ref().and_then(|row| protection(row)),
                allowed_hours: row
                    .as_ref()
                    .and_then(|row| row.annotation(labels::SCALE_DOWN_ALLOWED_HOURS))
                    .map(ToOwned::to_owned),
                startup_taints: row
                    .as_ref()
                    .map(|row| startup_taints(row, spec))
                    .unwrap_or_default(),
                awaited_by: None,
                savings: group.price(&object.spec.instance_type),
                removing,
                node,
            });
        }
        input.groups.insert(group.key.clone(), facts);
    }
    note_awaited(ctx, &mut input.candidates);
    input
}

/// Which candidates pods that wait are about to be placed on.
fn note_awaited(ctx: &Context, candidates: &mut [Candidate]) {
    if candidates.is_empty() || !ctx.state.has_waiting() {
        return;
    }
    let rank = |candidate: &Candidate| match (candidate.removing, candidate.pods.is_empty()) {
        (true, _) => Rank::Removing,
        (false, true) => Rank::Empty,
        (false, false) => Rank::Staying,
    };
    let ranks: BTreeMap<NodeName, Rank> = candidates
        .iter()
        .map(|candidate| (candidate.node.clone(), rank(candidate)))
        .collect();
    let Expected { cluster, leaving } = Expected::of(ctx);
    let awaited = awaited(&cluster, &leaving, &ranks);
    for candidate in candidates {
        candidate.awaited_by = awaited.get(&candidate.node).cloned();
    }
}

/// The label or annotation by which somebody protects a node. A value that means nothing
/// protects, too: it was meant to say something.
fn protection(row: &crate::cluster_state::NodeRow) -> Option<String> {
    let says_no = |value: &str| value.trim().eq_ignore_ascii_case("false");
    for key in [
        labels::PROTECTED,
        labels::CA_SCALE_DOWN_DISABLED,
        labels::KARPENTER_DO_NOT_DISRUPT,
        labels::SCALE_DOWN_DISABLED_LABEL,
    ] {
        for value in [row.annotation(key), row.label(key)].into_iter().flatten() {
            if !says_no(value) {
                return Some(format!("{key}={value}"));
            }
        }
    }
    row.annotation(labels::SCALE_DOWN)
        .filter(|value| !value.trim().eq_ignore_ascii_case("enabled"))
        .map(|value| format!("{}={value}", labels::SCALE_DOWN))
}

fn startup_taints(row: &crate::cluster_state::NodeRow, spec: &api::NodeGroupSpec) -> Vec<String> {
    spec.startup_taints
        .iter()
        .flatten()
        .filter(|taint| row.taints.iter().any(|present| present.key == taint.key))
        .map(|taint| taint.key.clone())
        .collect()
}
