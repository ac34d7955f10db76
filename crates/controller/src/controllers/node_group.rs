//! NodeGroups: finalizer, deletion, status. The status is computed whole and written only where it
//! differs.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use api::{
    Backoff, GroupNode, NodeGroup, NodeGroupStatus, VPSieNode,
    conditions::{self, node_group as types, seconds},
    labels,
};
use model::{DatacenterId, GroupKey, HourlyPrice, InstanceId, InstancePhase, Role};
use planner::lifecycle::{Phase, Record};
use serde_json::json;

use super::{
    groups::{Group, Problem},
    scale_up,
    vpsie_node::{owned_instances, read_record},
};
use crate::{
    context::Context,
    effects::{self, Effects, Error},
    events::About,
    metrics::GroupFigures,
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
    let mut told: BTreeMap<GroupKey, String> = BTreeMap::new();
    let mut counted: Option<BTreeSet<GroupKey>> = None;
    let mut unowned = BTreeSet::new();
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
        report_unowned(ctx, &groups, &mut unowned);
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
    let status = status(ctx, group, &machines);
    write_status(ctx, effects, &group.object, &status).await
}

fn machines(ctx: &Context, key: &GroupKey) -> Vec<(Arc<VPSieNode>, Record)> {
    ctx.state
        .vpsie_nodes()
        .into_iter()
        .filter(|object| {
            object.metadata.namespace.as_deref() == Some(&*key.namespace)
                && object.spec.node_group_name == *key.name
        })
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
        let status = status(ctx, group, machines);
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

/// Reports workers that belong to nobody, once each: made by hand, or by a request that came to
/// nothing in the end. They cost money and are never touched.
fn report_unowned(ctx: &Context, groups: &[Group], told: &mut BTreeSet<InstanceId>) {
    let objects = ctx.state.vpsie_nodes();
    let owned = owned_instances(&objects);
    let (now, settle) = (ctx.clock.now(), ctx.options.lifecycle.settle);
    let awaiting = objects
        .iter()
        .any(|object| read_record(object).awaits_a_machine(now, settle));
    let mut seen = BTreeSet::new();
    for group in groups {
        let Some(latest) = group
            .scope
            .as_ref()
            .and_then(|scope| ctx.cloud.latest(scope))
        else {
            continue;
        };
        for instance in &latest.instances {
            let foreign = instance.role != Role::ControlPlane
                && instance.phase != InstancePhase::Deleting
                && !owned.contains(&instance.id);
            // While a request is open it may still turn out to be ours.
            if !foreign || !seen.insert(instance.id.clone()) || awaiting {
                continue;
            }
            if told.insert(instance.id.clone()) {
                ctx.events.normal(
                    About::object(group.object.as_ref()),
                    "UnownedMachine",
                    format!(
                        "worker {} ({}) belongs to no VPSieNode; it is left alone",
                        instance.hostname, instance.id
                    ),
                );
            }
        }
    }
    ctx.metrics.unowned(seen.len());
    told.retain(|id| seen.contains(id));
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

fn status(ctx: &Context, group: &Group, machines: &[(Arc<VPSieNode>, Record)]) -> NodeGroupStatus {
    let now = ctx.clock.now();
    let mut status = group.object.status.clone().unwrap_or_default();
    let mut figures = GroupFigures {
        min: i64::from(group.object.spec.min_nodes),
        max: i64::from(group.object.spec.max_nodes),
        ..GroupFigures::default()
    };
    let mut phases: BTreeMap<Phase, i64> = Phase::ALL.into_iter().map(|p| (p, 0)).collect();
    let mut cost = Some(HourlyPrice::ZERO);
    let mut nodes = Vec::new();
    for (object, record) in machines {
        *phases.entry(record.phase).or_default() += 1;
        let billed = record.may_be_billed();
        figures.current += i64::from(billed);
        let leaving =
            record.deletion_requested || record.removal.is_some() || record.phase == Phase::Failed;
        figures.desired += i64::from(!leaving);
        figures.removing += i64::from(record.removal.is_some() && record.phase != Phase::Failed);
        figures.failed += i64::from(record.phase == Phase::Failed);
        figures.in_flight += i64::from(record.phase.is_in_flight());
        let node_ready = record.phase == Phase::Ready
            && record
                .node
                .as_ref()
                .and_then(|node| ctx.state.node(node))
                .is_some_and(|row| row.node.ready);
        figures.ready += i64::from(node_ready);
        if billed {
            let price = group.price(&object.spec.instance_type);
            cost = cost.zip(price).map(|(sum, price)| sum + price);
        }
        nodes.push(group_node(object, record));
    }
    nodes.sort_by(|a, b| a.node_name.cmp(&b.node_name));
    ctx.metrics.group(&group.key, figures);
    for (phase, count) in phases {
        ctx.metrics.phase(&group.key, phase, count);
    }
    let count = |value: i64| i32::try_from(value).unwrap_or(i32::MAX);
    status.current_nodes = count(figures.current);
    status.desired_nodes = count(figures.desired);
    status.ready_nodes = count(figures.ready);
    status.nodes = (!nodes.is_empty()).then_some(nodes);
    let unknown = || "unknown".to_owned();
    status.hourly_cost = Some(cost.map_or_else(unknown, |cost| cost.to_string()));
    status.monthly_cost = Some(cost.map_or_else(unknown, |cost| {
        cost.monthly().round_dp(2).normalize().to_string()
    }));
    status.vpsie_group_id = group
        .scope
        .as_ref()
        .zip(group.offerings.first())
        .and_then(|(scope, offering)| ctx.pool_of(scope, &offering.size))
        .map(|pool| pool.id.0)
        .or(status.vpsie_group_id);
    status.backoffs = backoffs(ctx, group);
    status.observed_generation = group.object.metadata.generation;
    set_conditions(ctx, group, &mut status, figures, now);
    status
}

fn group_node(object: &VPSieNode, record: &Record) -> GroupNode {
    let status = object.status.clone().unwrap_or_default();
    GroupNode {
        node_name: record
            .node
            .as_ref()
            .map(ToString::to_string)
            .or_else(|| object.metadata.name.clone())
            .unwrap_or_default(),
        vps_id: object.spec.vpsie_instance_id.unwrap_or_default(),
        instance_type: object.spec.instance_type.clone(),
        status: record.phase.name().into(),
        created_at: status.created_at,
        ready_at: status.ready_at,
        ip_address: object.spec.ip_address.clone(),
    }
}

fn backoffs(ctx: &Context, group: &Group) -> Option<Vec<Backoff>> {
    let all: Vec<Backoff> = group
        .offerings
        .iter()
        .filter_map(|offering| {
            let (until, reason) = scale_up::backoff(ctx, group, offering.id.as_str())?;
            Some(Backoff {
                offering: offering.id.to_string(),
                reason,
                until: seconds(until),
            })
        })
        .collect();
    (!all.is_empty()).then_some(all)
}

fn set_conditions(
    ctx: &Context,
    group: &Group,
    status: &mut NodeGroupStatus,
    figures: GroupFigures,
    now: jiff::Timestamp,
) {
    let mut all = status.conditions.take().unwrap_or_default();
    let mut set = |type_: &str, holds: bool, reason: &str, message: &str| {
        conditions::set_condition(&mut all, type_, holds.into(), reason, message, now);
    };
    let fatal: Vec<&Problem> = group.problems.iter().filter(|p| p.is_fatal()).collect();
    let text = group
        .problems
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join("; ");
    let cloud = group
        .scope
        .as_ref()
        .and_then(|scope| ctx.cloud.trouble(scope));
    let (wrong, reason, message) = if let Some(problem) = fatal.first() {
        (true, problem.name(), text)
    } else if let Some(cloud) = cloud {
        (true, "VPSieAPIError", cloud)
    } else if let Some(backoff) = status.backoffs.iter().flatten().next() {
        let reason = if backoff.reason == "CapacityLimitReached" {
            "ClusterCapacityLimitReached"
        } else {
            "NodeProvisioningFailed"
        };
        (
            true,
            reason,
            format!(
                "{} is not asked for before {}: {}",
                backoff.offering, backoff.until, backoff.reason
            ),
        )
    } else if group.problems.is_empty() {
        (false, "Reconciling", String::new())
    } else {
        (true, group.problems[0].name(), text)
    };
    set(types::ERROR, wrong, reason, &message);
    let complete =
        figures.ready == figures.desired && figures.desired >= figures.min && figures.removing == 0;
    let (ready, why) = if !fatal.is_empty() {
        (false, "ValidationFailed")
    } else if complete {
        (true, "ScalingComplete")
    } else {
        (false, "Reconciling")
    };
    set(
        types::READY,
        ready,
        why,
        &format!("{} of {} nodes are Ready", figures.ready, figures.desired),
    );
    let scaling = figures.in_flight > 0 || figures.removing > 0;
    let scaling_reason = match (figures.in_flight > 0, figures.removing > 0) {
        (true, _) => "ScalingUp",
        (false, true) => "ScalingDown",
        (false, false) => "ScalingComplete",
    };
    set(types::SCALING, scaling, scaling_reason, "");
    let at_min = figures.current <= figures.min;
    set(
        types::AT_MIN_CAPACITY,
        at_min,
        if at_min {
            "AtMinimumCapacity"
        } else {
            "Reconciling"
        },
        "",
    );
    let at_max = figures.current >= figures.max;
    set(
        types::AT_MAX_CAPACITY,
        at_max,
        if at_max {
            "AtMaximumCapacity"
        } else {
            "Reconciling"
        },
        "",
    );
    status.conditions = Some(all);
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
