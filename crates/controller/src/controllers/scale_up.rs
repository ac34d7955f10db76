//! The scale-up loop: cluster → plan → audit → VPSieNodes.
//!
//! It runs when the set of unschedulable pods, the groups or the machines change, gathers what
//! comes together, and carries out whole plans only. Carrying out means writing VPSieNodes; their
//! names are derived from the set of nodes the group has, so that of two leaders that decide on
//! the same state only one can succeed.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use api::{VPSieNode, VPSieNodeSpec, labels};
use cloud::Scope;
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::core::ObjectMeta;
use model::PodKey;
use planner::{
    audit,
    lifecycle::{FailureReason, Phase},
    scale_up::{self, Cause, Create, Input, Placement, Plan, Report},
};

use super::{
    expected::Expected,
    groups::{self, Group},
    node_group,
    vpsie_node::read_record,
};
use crate::{
    context::Context,
    effects::{Effects, Error},
    events::About,
    pulse::Beat,
};

/// Bytes of the list of pods that a machine is bought for.
const MOST_LISTED: usize = 16 << 10;
/// Without any change a plan is made again after this long.
const RESYNC: Duration = Duration::from_mins(5);
/// While the catalogues have not been asked for.
const NOT_ASKED_YET: Duration = Duration::from_millis(200);

/// Runs until dropped.
pub async fn run(ctx: &Context, effects: &Effects, beat: &Beat) {
    let mut changes = ctx.state.changes();
    let mut cloud_changes = ctx.cloud.changes();
    let mut told = BTreeMap::new();
    loop {
        let begun = ctx.clock.monotonic();
        changes.borrow_and_update();
        cloud_changes.borrow_and_update();
        let next = match once(ctx, effects, &mut told, beat).await {
            Ok(next) => {
                let took = ctx.clock.monotonic().saturating_sub(begun);
                ctx.metrics.reconciled("scale-up", took, None);
                next
            }
            Err(error) => {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "the scale-up was not carried out and is planned anew"
                );
                let took = ctx.clock.monotonic().saturating_sub(begun);
                ctx.metrics.reconciled("scale-up", took, Some("write"));
                error.retry_after()
            }
        };
        let seen = *changes.borrow();
        beat.waiting(async {
            loop {
                tokio::select! {
                    biased;
                    Ok(()) = changes.changed() => {
                        let now = *changes.borrow_and_update();
                        // Pods that only run or go change no plan by themselves.
                        let mut ignoring = now;
                        (ignoring.pods, ignoring.disruption) = (seen.pods, seen.disruption);
                        if ignoring == seen {
                            continue;
                        }
                    }
                    Ok(()) = cloud_changes.changed() => {
                        cloud_changes.borrow_and_update();
                        if ctx.state.unschedulable() == 0 {
                            continue;
                        }
                    }
                    () = ctx.clock.sleep(next) => {}
                }
                break;
            }
        })
        .await;
        batch(ctx, &mut changes).await;
    }
}

/// Waits until no pod became unschedulable for a while: pods of one burst are planned together.
async fn batch(
    ctx: &Context,
    changes: &mut runtime::watch::Receiver<crate::cluster_state::Versions>,
) {
    let deadline = ctx.clock.monotonic() + ctx.options.batch_max;
    let mut pods = changes.borrow_and_update().unschedulable;
    let mut quiet_at = ctx.clock.monotonic() + ctx.options.batch_idle;
    while ctx.clock.monotonic() < quiet_at.min(deadline) {
        tokio::select! {
            biased;
            Ok(()) = changes.changed() => {
                let now = changes.borrow_and_update().unschedulable;
                if now != pods {
                    pods = now;
                    quiet_at = ctx.clock.monotonic() + ctx.options.batch_idle;
                }
            }
            () = ctx.clock.sleep_until(quiet_at.min(deadline)) => {}
        }
    }
}

/// One plan, carried out. Returns when to plan again although nothing changes.
async fn once(
    ctx: &Context,
    effects: &Effects,
    told: &mut BTreeMap<PodKey, String>,
    beat: &Beat,
) -> Result<Duration, Error> {
    let groups = ctx.groups();
    // A leader that has just begun does not tell pods that nothing is sold, nor buys of one group
    // before it knows what another sells.
    let may_buy = groups.iter().any(|group| !group.deleting());
    if may_buy && !ctx.cloud.has_asked_for_catalogues() {
        return Ok(NOT_ASKED_YET);
    }
    let input = input(ctx, &groups);
    ctx.metrics.unschedulable(ctx.state.unschedulable());
    let (plan, report) = scale_up::plan(&input);
    let violations = audit::scale_up(&input, &plan);
    if !violations.is_empty() {
        let violations: Vec<String> = violations.iter().map(ToString::to_string).collect();
        tracing::error!(?violations, ?plan, "the plan breaks a rule and is refused");
        ctx.metrics.plan_refused("scale-up");
        return Ok(Duration::from_secs(30));
    }
    tell(ctx, &input, &report, told);
    let unplaced = report.unplaced();
    if *ctx.unplaced.borrow() != unplaced {
        ctx.unplaced.send_replace(unplaced);
    }
    if !plan.create.is_empty() {
        tracing::info!(
            machines = plan.machines(),
            volume_bound = report.volume_bound,
            "scale-up planned"
        );
    }
    carry_out(ctx, effects, &groups, &plan, beat).await?;
    let now = ctx.clock.now();
    Ok(report.look_again_at.map_or(RESYNC, |at| {
        Duration::try_from(at.duration_since(now))
            .unwrap_or_default()
            .clamp(Duration::from_secs(1), RESYNC)
    }))
}

/// Reports each pod that is left, once per reason.
fn tell(ctx: &Context, input: &Input, report: &Report, told: &mut BTreeMap<PodKey, String>) {
    told.retain(|pod, _| report.pods.contains_key(pod));
    for pod in &input.cluster.waiting {
        let Some(Placement::Left(reason)) = report.pods.get(&pod.key) else {
            continue;
        };
        let message = format!("{}: {reason}", reason.name());
        if told.get(&pod.key) == Some(&message) {
            continue;
        }
        ctx.events.normal(
            About::pod(&pod.key.namespace, &pod.key.name, pod.uid.as_str()),
            "NotTriggerScaleUp",
            message.clone(),
        );
        told.insert(pod.key.clone(), message);
    }
}

async fn carry_out(
    ctx: &Context,
    effects: &Effects,
    groups: &[Group],
    plan: &Plan,
    beat: &Beat,
) -> Result<(), Error> {
    for create in &plan.create {
        let Some(group) = groups.iter().find(|group| group.key == create.group) else {
            continue;
        };
        let pods: Vec<String> = create
            .pods
            .iter()
            .flatten()
            .map(ToString::to_string)
            .collect();
        let why = match create.cause {
            Cause::MinNodes => "to reach minNodes".to_owned(),
            Cause::PendingPods => format!(
                "for {} pending pods ({}{})",
                pods.len(),
                pods.iter().take(3).cloned().collect::<Vec<_>>().join(", "),
                if pods.len() > 3 { ", …" } else { "" }
            ),
        };
        let price = create.price.map_or_else(
            || "price unknown".to_owned(),
            |price| format!("{} USD/h", price.times(create.count as usize)),
        );
        ctx.events.normal(
            About::object(group.object.as_ref()),
            "ScaleUpTriggered",
            format!("{} × {} {why}; {price}", create.count, create.offering),
        );
        for pods in create.pods.iter().flatten().take(50) {
            tracing::debug!(pod = %pods, group = %create.group, "a machine is bought for this pod");
        }
        for pods in &create.pods {
            beat.beat();
            let object = node_object(ctx, group, create, pods);
            let created = match effects.create_vpsie_node(&object, &why).await {
                // Each is told, as each would be made.
                Err(Error::DryRun { .. }) => continue,
                answer => answer?,
            };
            ctx.state.note_vpsie_node(created);
        }
        node_group::note_scale_up(ctx, effects, &group.key).await?;
        ctx.metrics
            .scaled_up(&create.group, u64::from(create.count));
    }
    Ok(())
}

/// The VPSieNode of one machine. Its name depends on the group and on the nodes it has: a leader
/// that decides on an older set derives a name that is taken already.
fn node_object(ctx: &Context, group: &Group, create: &Create, pods: &[PodKey]) -> VPSieNode {
    let meta = &group.object.metadata;
    let mut existing: Vec<String> = ctx
        .state
        .vpsie_nodes()
        .iter()
        .filter(|object| groups::has(&group.key, object))
        .filter_map(|object| object.metadata.uid.clone())
        .collect();
    existing.sort();
    let mut salt = 0_u32;
    let name = loop {
        let name = format!(
            "{}-{}",
            group.key.name.chars().take(240).collect::<String>(),
            suffix(meta.uid.as_deref().unwrap_or_default(), &existing, salt)
        );
        // Only a hash collision with a node of the set itself can be taken here.
        if ctx.state.vpsie_node(&group.key.namespace, &name).is_none() {
            break name;
        }
        salt += 1;
    };
    let reason = match create.cause {
        Cause::MinNodes => labels::creation_reason::INITIAL,
        Cause::PendingPods => labels::creation_reason::METRICS,
    };
    let mut annotations = BTreeMap::from([(labels::CREATION_REASON.into(), reason.into())]);
    if !pods.is_empty() {
        annotations.insert(labels::BOUGHT_FOR.into(), listed(pods));
    }
    machine_object(group, &name, create.offering.as_str(), annotations)
}

/// A VPSieNode of `group` as it is before anything is known of its machine.
pub(super) fn machine_object(
    group: &Group,
    name: &str,
    offering: &str,
    annotations: BTreeMap<String, String>,
) -> VPSieNode {
    let spec = &group.object.spec;
    let cluster = match &group.scope {
        Some(Scope::Cluster(cluster)) => Some(cluster.to_string()),
        _ => spec.resource_identifier.clone(),
    };
    let mut object = VPSieNode::new(
        name,
        VPSieNodeSpec {
            instance_type: offering.to_owned(),
            node_group_name: group.key.name.to_string(),
            datacenter_id: spec.datacenter_id.clone(),
            resource_identifier: cluster,
            project: spec.project.clone(),
            os_image_id: spec.os_image_id.clone(),
            kubernetes_version: spec.kubernetes_version.clone(),
            ssh_key_ids: spec.ssh_key_ids.clone(),
            ..VPSieNodeSpec::default()
        },
    );
    object.metadata = ObjectMeta {
        name: Some(name.to_owned()),
        namespace: Some(group.key.namespace.to_string()),
        labels: Some(BTreeMap::from([
            (labels::MANAGED.into(), "true".into()),
            (labels::NODE_GROUP.into(), group.key.name.to_string()),
        ])),
        annotations: Some(annotations),
        finalizers: Some(vec![labels::VPSIE_NODE_FINALIZER.into()]),
        owner_references: Some(vec![OwnerReference {
            api_version: "autoscaler.vpsie.com/v1alpha1".into(),
            kind: "NodeGroup".into(),
            name: group.key.name.to_string(),
            uid: group.object.metadata.uid.clone().unwrap_or_default(),
            controller: Some(true),
            block_owner_deletion: Some(true),
        }]),
        ..ObjectMeta::default()
    };
    object
}

/// The pods a machine is bought for, as `namespace/name` with commas between; what is too much for
/// an object is left out.
fn listed(pods: &[PodKey]) -> String {
    let mut list = String::new();
    for pod in pods {
        let name = pod.to_string();
        if list.len() + name.len() + 1 > MOST_LISTED {
            break;
        }
        if !list.is_empty() {
            list.push(',');
        }
        list.push_str(&name);
    }
    list
}

/// Eight hexadecimal digits of FNV-1a over the group's identity and its nodes'.
fn suffix(group: &str, existing: &[String], salt: u32) -> String {
    let salt = salt.to_string();
    let parts = std::iter::once(group)
        .chain(existing.iter().map(String::as_str))
        .chain(std::iter::once(salt.as_str()));
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for part in parts {
        for byte in part.bytes().chain([0]) {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
    format!("{:08x}", (hash ^ (hash >> 32)) as u32)
}

/// Everything the plan rests on.
#[must_use]
pub fn input(ctx: &Context, groups: &[Group]) -> Input {
    let objects = ctx.state.vpsie_nodes();
    let Expected { cluster, leaving } = Expected::of(ctx);
    Input {
        now: ctx.clock.now(),
        cluster,
        leaving,
        groups: groups
            .iter()
            .map(|group| group_input(ctx, group, &objects))
            .collect(),
        daemon_sets: ctx.state.daemon_sets(),
        limits: ctx.options.limits.clone(),
    }
}

fn group_input(ctx: &Context, group: &Group, objects: &[Arc<VPSieNode>]) -> scale_up::Group {
    groups::input(
        group,
        objects,
        |name| ctx.state.node(name).map(|row| row.node.clone()),
        |offering| backoff(ctx, group, offering),
    )
}

/// Until when an offering is not asked for, and why: from the failed machines whose evidence is
/// still there. A worker limit of the plan holds for the whole cluster, everything else for the
/// offering in its group; a success afterwards ends it.
#[must_use]
pub fn backoff(ctx: &Context, group: &Group, offering: &str) -> Option<(Timestamp, String)> {
    let defaults = ctx.defaults();
    let objects = ctx.state.vpsie_nodes();
    let same = |object: &VPSieNode| {
        groups::has(&group.key, object) && object.spec.instance_type == offering
    };
    let failed = |object: &&Arc<VPSieNode>| {
        object
            .status
            .as_ref()
            .is_some_and(|status| status.phase == Phase::Failed.name())
    };
    let mut failures: Vec<(Timestamp, FailureReason)> = Vec::new();
    for object in objects.iter().filter(failed) {
        let record = read_record(object);
        let (Some(failure), Some(at)) = (&record.failure, record.failed_at) else {
            continue;
        };
        // Nothing was asked for: the offering has not failed.
        if failure.reason == FailureReason::GroupUnusable {
            continue;
        }
        let cluster_wide = failure.reason == FailureReason::CapacityLimitReached
            && super::vpsie_node::scope_of(object, &defaults) == group.scope;
        if same(object) || cluster_wide {
            failures.push((at, failure.reason));
        }
    }
    if failures.is_empty() {
        return None;
    }
    let last_success = objects
        .iter()
        .filter(|object| same(object))
        .filter_map(|object| read_record(object).ready_at)
        .max();
    failures.retain(|(at, _)| last_success.is_none_or(|success| *at > success));
    failures.sort_unstable();
    let (last, reason) = *failures.last()?;
    let doublings = u32::try_from(failures.len() - 1)
        .unwrap_or(u32::MAX)
        .min(10);
    let wait = (ctx.options.backoff * 2_u32.pow(doublings)).min(ctx.options.backoff_max);
    let until = last.saturating_add(wait).unwrap_or(last);
    (until > ctx.clock.now()).then(|| (until, reason.name().to_owned()))
}
