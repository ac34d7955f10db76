//! NodeGroups: finalizer, deletion, status. The status is computed whole ([`status`]) and written
//! only where it differs.

mod status;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use api::{NodeGroup, NodeGroupStatus, VPSieNode, conditions::seconds, labels};
use model::{DatacenterId, GroupKey};
use planner::lifecycle::Record;
use serde_json::json;

use super::{
    groups::{self, Group, Problem},
    vpsie_node::read_record,
};
use crate::{
    context::Context,
    effects::{self, Effects, Error},
    events::About,
    pulse::Beat,
};

/// Without any change every group is looked at again after this long.
const RESYNC: Duration = Duration::from_mins(10);
/// How often a lost race for the status is run again.
const SCALING_TRIES: u32 = 5;
/// Nodes change one by one; the status follows them in strides.
const DEBOUNCE: Duration = Duration::from_millis(200);

/// Runs until dropped.
pub async fn run(ctx: &Context, effects: &Effects, beat: &Beat) {
    let mut changes = ctx.state.changes();
    let mut cloud_changes = ctx.cloud.changes();
    let mut defaults = ctx.defaults.clone();
    let mut unplaced = ctx.unplaced.subscribe();
    let mut told: BTreeMap<GroupKey, String> = BTreeMap::new();
    let mut counted: Option<BTreeSet<GroupKey>> = None;
    let mut unowned = ctx.unowned.subscribe();
    loop {
        changes.borrow_and_update();
        let groups = ctx.groups();
        let keys: BTreeSet<GroupKey> = groups.iter().map(|group| group.key.clone()).collect();
        if counted.as_ref() != Some(&keys) {
            tracing::info!(managed = keys.len(), "node groups");
            for gone in counted.iter().flatten().filter(|key| !keys.contains(*key)) {
                ctx.metrics.forget_group(gone);
            }
            counted = Some(keys);
        }
        told.retain(|key, _| groups.iter().any(|group| group.key == *key));
        let mut wait = RESYNC;
        for group in &groups {
            beat.beat();
            let begun = ctx.clock.monotonic();
            let outcome = reconcile(ctx, effects, group, &mut told, beat).await;
            let took = ctx.clock.monotonic().saturating_sub(begun);
            match outcome {
                Ok(()) => ctx.metrics.reconciled("nodegroup", took, None),
                Err(error) => {
                    tracing::warn!(
                        group = %group.key,
                        error = &error as &dyn std::error::Error,
                        "the group could not be brought up to date and is tried again"
                    );
                    ctx.metrics.reconciled("nodegroup", took, Some("write"));
                    if let Some(reason) = error.told_as() {
                        let about = About::object(group.object.as_ref());
                        ctx.events.warning(about, reason, error.to_string());
                    }
                    wait = wait.min(error.retry_after());
                }
            }
        }
        beat.waiting(async {
            tokio::select! {
                biased;
                Ok(()) = changes.changed() => {}
                Ok(()) = cloud_changes.changed() => { cloud_changes.borrow_and_update(); }
                Ok(()) = defaults.changed() => { defaults.borrow_and_update(); }
                Ok(()) = unplaced.changed() => { unplaced.borrow_and_update(); }
                Ok(()) = unowned.changed() => { unowned.borrow_and_update(); }
                () = ctx.clock.sleep(wait) => {}
            }
        })
        .await;
        ctx.clock.sleep(DEBOUNCE).await;
    }
}

async fn reconcile(
    ctx: &Context,
    effects: &Effects,
    group: &Group,
    told: &mut BTreeMap<GroupKey, String>,
    beat: &Beat,
) -> Result<(), Error> {
    let machines = machines(ctx, &group.key);
    if group.deleting() {
        return delete(ctx, effects, group, &machines, beat).await;
    }
    // Before the first write: what is wrong with the group may be why the write is refused.
    report(ctx, group, told);
    if let Some(change) = missing_finalizer(&group.object) {
        let written = effects.patch_node_group(&group.object, change).await?;
        ctx.state.note_node_group(written);
        return Ok(());
    }
    let status = status::of(ctx, group, &machines);
    write_status(ctx, effects, &group.object, &status).await
}

fn machines(ctx: &Context, key: &GroupKey) -> Vec<(Arc<VPSieNode>, Record)> {
    ctx.state
        .vpsie_nodes()
        .into_iter()
        .filter(|object| groups::has(key, object))
        .map(|object| {
            let record = read_record(&object);
            (object, record)
        })
        .collect()
}

/// Asks for the deletion of every VPSieNode; the finalizer goes when all are proven gone.
async fn delete(
    ctx: &Context,
    effects: &Effects,
    group: &Group,
    machines: &[(Arc<VPSieNode>, Record)],
    beat: &Beat,
) -> Result<(), Error> {
    for (object, record) in machines {
        beat.beat();
        if !record.deletion_requested {
            let reason = "the NodeGroup is being deleted";
            match effects.delete_vpsie_node(object, reason).await {
                Ok(()) | Err(Error::NotFound { .. }) => {}
                Err(error) => return Err(error),
            }
        }
    }
    if !machines.is_empty() {
        let status = status::of(ctx, group, machines);
        return write_status(ctx, effects, &group.object, &status).await;
    }
    let finalizers: Vec<&String> = group
        .object
        .metadata
        .finalizers
        .iter()
        .flatten()
        .filter(|finalizer| *finalizer != labels::NODE_GROUP_FINALIZER)
        .collect();
    if group
        .object
        .metadata
        .finalizers
        .as_ref()
        .map_or(0, Vec::len)
        != finalizers.len()
    {
        let change = json!({ "metadata": { "finalizers": finalizers } });
        match effects.patch_node_group(&group.object, change).await {
            Ok(_) | Err(Error::NotFound { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn missing_finalizer(object: &NodeGroup) -> Option<serde_json::Value> {
    let mut finalizers = object.metadata.finalizers.clone().unwrap_or_default();
    if finalizers.iter().any(|f| f == labels::NODE_GROUP_FINALIZER) {
        return None;
    }
    finalizers.push(labels::NODE_GROUP_FINALIZER.into());
    Some(json!({ "metadata": { "finalizers": finalizers } }))
}

/// One Event for each new set of problems.
fn report(ctx: &Context, group: &Group, told: &mut BTreeMap<GroupKey, String>) {
    let lasting: Vec<String> = group
        .problems
        .iter()
        .filter(|problem| !matches!(problem, Problem::CatalogueUnavailable(_)))
        .map(|problem| format!("{}: {problem}", problem.name()))
        .collect();
    let text = lasting.join("; ");
    if told.get(&group.key) != Some(&text) {
        if !text.is_empty() {
            ctx.events.warning(
                About::object(group.object.as_ref()),
                "ValidationFailed",
                text.clone(),
            );
        }
        told.insert(group.key.clone(), text);
    }
}

async fn write_status(
    ctx: &Context,
    effects: &Effects,
    object: &Arc<NodeGroup>,
    status: &NodeGroupStatus,
) -> Result<(), Error> {
    let old = json!(object.status.clone().unwrap_or_default());
    if let Some(change) = effects::merge_diff(&old, &json!(status)) {
        let written = effects.patch_node_group_status(object, change).await?;
        ctx.state.note_node_group(written);
    }
    Ok(())
}

/// Records that the group grew now: cooldowns count from it.
pub async fn note_scale_up(ctx: &Context, effects: &Effects, key: &GroupKey) -> Result<(), Error> {
    note_scaling(ctx, effects, key, "lastScaleUpTime").await
}

/// Records that the group shrinks now.
pub async fn note_scale_down(
    ctx: &Context,
    effects: &Effects,
    key: &GroupKey,
) -> Result<(), Error> {
    note_scaling(ctx, effects, key, "lastScaleDownTime").await
}

async fn note_scaling(
    ctx: &Context,
    effects: &Effects,
    key: &GroupKey,
    field: &str,
) -> Result<(), Error> {
    let now = seconds(ctx.clock.now());
    let mut change = json!({ "lastScaleTime": now, field: now });
    // The status loop writes the same object: whoever comes second looks again.
    for _ in 0..SCALING_TRIES {
        let Some(object) = ctx.state.node_group(key) else {
            return Ok(());
        };
        // The first status must be whole: its counts are required.
        if object.status.is_none() {
            for count in ["currentNodes", "desiredNodes", "readyNodes"] {
                change[count] = json!(0);
            }
        }
        match effects
            .patch_node_group_status(&object, change.clone())
            .await
        {
            Ok(written) => {
                ctx.state.note_node_group(written);
                return Ok(());
            }
            Err(Error::Conflict { .. }) => ctx.clock.sleep(DEBOUNCE).await,
            Err(Error::NotFound { .. }) => return Ok(()),
            Err(error) => return Err(error),
        }
    }
    tracing::warn!(group = %key, field, "the time of scaling was not recorded");
    Ok(())
}

/// The datacenter a group buys in.
#[must_use]
pub fn datacenter(group: &Group) -> DatacenterId {
    DatacenterId::new(&group.object.spec.datacenter_id)
}

/// A taint of a group as the model has it.
#[must_use]
pub fn model_taint(taint: &api::Taint) -> model::Taint {
    model::Taint {
        key: Arc::from(taint.key.as_str()),
        value: Arc::from(taint.value.as_deref().unwrap_or_default()),
        effect: match taint.effect {
            api::TaintEffect::NoSchedule => model::TaintEffect::NoSchedule,
            api::TaintEffect::PreferNoSchedule => model::TaintEffect::PreferNoSchedule,
            api::TaintEffect::NoExecute => model::TaintEffect::NoExecute,
        },
    }
}
