//! What a NodeGroup's status says, computed whole from its machines; the group's figures go to the
//! metrics on the way.

use std::{collections::BTreeMap, sync::Arc};

use api::{
    Backoff, GroupNode, NodeGroupStatus, VPSieNode,
    conditions::{self, node_group as types, seconds},
};
use model::HourlyPrice;
use planner::lifecycle::{FailureReason, Phase, Record};

use crate::{
    context::Context,
    controllers::{
        groups::{self, Group, Problem},
        scale_up,
    },
    metrics::GroupFigures,
};

/// Why a condition of a group is what it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Reason {
    /// By the name of what is wrong with the group.
    Problem(&'static str),
    /// By the name of why it could not take pods.
    Refusal(&'static str),
    NoPodUnplaced,
    /// By the name of what the worst of the workers without an owner is.
    Unowned(&'static str),
    NoneUnowned,
    AnotherMachineVanished,
    NotStopped,
    VPSieAPIError,
    ClusterCapacityLimitReached,
    NodeProvisioningFailed,
    ValidationFailed,
    Reconciling,
    ScalingUp,
    ScalingDown,
    ScalingComplete,
    AtMinimumCapacity,
    AtMaximumCapacity,
}

impl Reason {
    const fn name(self) -> &'static str {
        match self {
            Self::Problem(name) | Self::Refusal(name) | Self::Unowned(name) => name,
            Self::NoneUnowned => "NoneUnowned",
            Self::AnotherMachineVanished => "AnotherMachineVanished",
            Self::NotStopped => "NotStopped",
            Self::NoPodUnplaced => "NoPodUnplaced",
            Self::VPSieAPIError => "VPSieAPIError",
            Self::ClusterCapacityLimitReached => "ClusterCapacityLimitReached",
            Self::NodeProvisioningFailed => "NodeProvisioningFailed",
            Self::ValidationFailed => "ValidationFailed",
            Self::Reconciling => "Reconciling",
            Self::ScalingUp => "ScalingUp",
            Self::ScalingDown => "ScalingDown",
            Self::ScalingComplete => "ScalingComplete",
            Self::AtMinimumCapacity => "AtMinimumCapacity",
            Self::AtMaximumCapacity => "AtMaximumCapacity",
        }
    }
}

pub(super) fn of(
    ctx: &Context,
    group: &Group,
    machines: &[(Arc<VPSieNode>, Record)],
) -> NodeGroupStatus {
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
    let mut set = |type_: &str, holds: bool, reason: Reason, message: &str| {
        conditions::set_condition(&mut all, type_, holds.into(), reason.name(), message, now);
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
        (true, Reason::Problem(problem.name()), text)
    } else if let Some(cloud) = cloud {
        (true, Reason::VPSieAPIError, cloud)
    } else if let Some(backoff) = status.backoffs.iter().flatten().next() {
        let reason = if backoff.reason == FailureReason::CapacityLimitReached.name() {
            Reason::ClusterCapacityLimitReached
        } else {
            Reason::NodeProvisioningFailed
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
        (false, Reason::Reconciling, String::new())
    } else {
        (true, Reason::Problem(group.problems[0].name()), text)
    };
    set(types::ERROR, wrong, reason, &message);
    let complete =
        figures.ready == figures.desired && figures.desired >= figures.min && figures.removing == 0;
    let (ready, why) = if !fatal.is_empty() {
        (false, Reason::ValidationFailed)
    } else if complete {
        (true, Reason::ScalingComplete)
    } else {
        (false, Reason::Reconciling)
    };
    set(
        types::READY,
        ready,
        why,
        &format!("{} of {} nodes are Ready", figures.ready, figures.desired),
    );
    let scaling = figures.in_flight > 0 || figures.removing > 0;
    let scaling_reason = match (figures.in_flight > 0, figures.removing > 0) {
        (true, _) => Reason::ScalingUp,
        (false, true) => Reason::ScalingDown,
        (false, false) => Reason::ScalingComplete,
    };
    set(types::SCALING, scaling, scaling_reason, "");
    let at_min = figures.current <= figures.min;
    set(
        types::AT_MIN_CAPACITY,
        at_min,
        if at_min {
            Reason::AtMinimumCapacity
        } else {
            Reason::Reconciling
        },
        "",
    );
    let at_max = figures.current >= figures.max;
    set(
        types::AT_MAX_CAPACITY,
        at_max,
        if at_max {
            Reason::AtMaximumCapacity
        } else {
            Reason::Reconciling
        },
        "",
    );
    let unplaced = ctx.unplaced.borrow().get(&group.key).cloned();
    if let Some(unplaced) = unplaced {
        let message = unplaced.to_string();
        let reason = Reason::Refusal(unplaced.refusal.name());
        set(types::PODS_UNPLACED, true, reason, &message);
    } else if all.iter().any(|one| one.type_ == types::PODS_UNPLACED) {
        conditions::set_condition(
            &mut all,
            types::PODS_UNPLACED,
            false.into(),
            Reason::NoPodUnplaced.name(),
            "",
            now,
        );
    }
    for (type_, found, over) in [
        (
            types::UNOWNED_MACHINES,
            unowned(ctx, group),
            Reason::NoneUnowned,
        ),
        (
            types::REMOVALS_STOPPED,
            stopped(ctx, group),
            Reason::NotStopped,
        ),
    ] {
        match found {
            Known::Holds(reason, message) => {
                conditions::set_condition(
                    &mut all,
                    type_,
                    true.into(),
                    reason.name(),
                    &message,
                    now,
                );
            }
            // What was never the case is not mentioned.
            Known::Over if all.iter().any(|one| one.type_ == type_) => {
                conditions::set_condition(&mut all, type_, false.into(), over.name(), "", now);
            }
            Known::Over | Known::Unknown => {}
        }
    }
    status.conditions = Some(all);
}

/// What is known of something that is told only once it was the case.
enum Known {
    Unknown,
    Holds(Reason, String),
    Over,
}

/// The workers of the group's VPSie cluster that no VPSieNode owns.
fn unowned(ctx: &Context, group: &Group) -> Known {
    let all = ctx.unowned.borrow();
    let found = group.scope.as_ref().and_then(|scope| all.get(scope));
    match found {
        None => Known::Unknown,
        Some(None) => Known::Over,
        Some(Some(found)) => Known::Holds(Reason::Unowned(found.reason), found.message.clone()),
    }
}

/// Why nothing is removed in the group's VPSie cluster until a person says so.
fn stopped(ctx: &Context, group: &Group) -> Known {
    match groups::stopped(&ctx.groups()).remove(&group.key) {
        None => Known::Over,
        Some(why) => Known::Holds(Reason::AnotherMachineVanished, why),
    }
}
