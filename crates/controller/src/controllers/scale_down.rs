//! The scale-down loop: which empty node goes next, and the windows that must have passed.
//!
//! Beginning a removal is one compare-and-swap on the VPSieNode; everything after that is the
//! lifecycle's, step by step, each on facts read anew.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use api::{VPSieNode, conditions::seconds, labels};
use jiff::Timestamp;
use model::{GroupKey, PodRole};
use planner::{
    lifecycle::{Phase, Removal, RemovalCause},
    removal::empty::{self, Candidate, Input},
};
use serde_json::json;

use super::{
    node_group,
    vpsie_node::{read_record, removal_status},
};
use crate::{
    context::Context,
    effects::{Effects, Error},
    events::About,
};

/// Without any change everything is looked at again after this long.
const RESYNC: Duration = Duration::from_mins(10);
/// Pods come and go in bursts; a window of minutes does not need faster answers.
const DEBOUNCE: Duration = Duration::from_secs(2);

/// Runs until dropped.
pub async fn run(ctx: &Context, effects: &Effects) {
    let mut changes = ctx.state.changes();
    loop {
        let begun = ctx.clock.monotonic();
        changes.borrow_and_update();
        let outcome = once(ctx, effects).await;
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
        tokio::select! {
            biased;
            Ok(()) = changes.changed() => {}
            () = ctx.clock.sleep(next) => {}
        }
        ctx.clock.sleep(DEBOUNCE).await;
    }
}

async fn once(ctx: &Context, effects: &Effects) -> Result<Duration, Error> {
    let input = input(ctx);
    let (plan, report) = empty::plan(&input);
    count_blocked(ctx, &input, &report);
    let now = ctx.clock.now();
    for name in &plan.window_started {
        if let Some(object) = find(ctx, name) {
            let change = json!({ "unneededSince": seconds(now) });
            let written = effects.patch_vpsie_node_status(&object, change).await?;
            ctx.state.note_vpsie_node(written);
        }
    }
    for name in &plan.window_broken {
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

fn count_blocked(ctx: &Context, input: &Input, report: &empty::Report) {
    let mut counts: BTreeMap<(GroupKey, &'static str), i64> = BTreeMap::new();
    for candidate in &input.candidates {
        for refusal in report.get(&candidate.node).into_iter().flatten() {
            *counts
                .entry((candidate.group.clone(), refusal.name()))
                .or_default() += 1;
        }
    }
    for ((group, reason), count) in counts {
        ctx.metrics.scale_down_blocked(&group, reason, count);
    }
}

/// Everything the choice rests on.
#[must_use]
pub fn input(ctx: &Context) -> Input {
    let groups = ctx.groups();
    let nominated = ctx.state.nominated();
    let mut input = Input {
        now: ctx.clock.now(),
        groups: BTreeMap::new(),
        candidates: Vec::new(),
        targeted_delete: ctx.cloud.provider().capabilities().targeted_delete,
    };
    let objects = ctx.state.vpsie_nodes();
    for group in &groups {
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
        for object in objects.iter().filter(|object| {
            object.metadata.namespace.as_deref() == Some(&*group.key.namespace)
                && object.spec.node_group_name == *group.key.name
        }) {
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
                startup_taints: row
                    .as_ref()
                    .map(|row| startup_taints(row, spec))
                    .unwrap_or_default(),
                nominated: nominated
                    .contains(&node)
                    .then(|| model::PodKey::new("", "a pod that was nominated to the node")),
                savings: group.price(&object.spec.instance_type),
                removing,
                node,
            });
        }
        input.groups.insert(group.key.clone(), facts);
    }
    input
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
