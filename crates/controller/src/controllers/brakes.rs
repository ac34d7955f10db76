//! What holds removals: pauses, the health gate, a term that has only begun, a machine that went
//! instead of another. Every step of a machine asks here, whoever began it.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use api::{VPSieNode, labels};
use model::GroupKey;
use planner::{
    lifecycle::{Hold, Record},
    removal::gate::Gate,
};

use super::{
    groups::{self, Group},
    vpsie_node::read_record,
};
use crate::context::Context;

/// Why nothing may be destroyed in this group now.
#[must_use]
pub fn hold(ctx: &Context, group: &GroupKey) -> Option<Hold> {
    if let Some(until) = warming_up(ctx) {
        return Some(Hold {
            why: format!("WarmingUp: this replica leads since a moment ago; not before {until}"),
            takes_back: false,
        });
    }
    let object = ctx.state.node_group(group);
    let paused = object.and_then(|object| intake::pause(object.metadata.annotations.as_ref()));
    let why = if let Some(by) = ctx.state.cluster_paused() {
        format!("ClusterPaused: everything is paused by {by}")
    } else if let Some(by) = paused {
        format!("GroupPaused: group {group} is paused by {by}")
    } else if let Some(why) = stopped(ctx, group) {
        format!("RemovalsStopped: {why}")
    } else if let Some(shut) = gate(ctx).shut_for(group) {
        format!("HealthGate: {shut}")
    } else {
        return None;
    };
    Some(Hold {
        why,
        takes_back: true,
    })
}

/// Until when a term that has begun a moment ago destroys nothing.
#[must_use]
pub fn warming_up(ctx: &Context) -> Option<jiff::Timestamp> {
    let until = ctx.led_since().saturating_add(ctx.options.warm_up).ok()?;
    (until > ctx.clock.now()).then_some(until)
}

/// Why nothing is removed in the VPSie cluster of this group until a person says so.
#[must_use]
pub fn stopped(ctx: &Context, group: &GroupKey) -> Option<String> {
    let all = ctx.groups();
    let scope = all.iter().find(|one| one.key == *group)?.scope.clone();
    all.iter().filter(|one| one.scope == scope).find_map(|one| {
        let annotations = one.object.metadata.annotations.as_ref()?;
        annotations.get(labels::REMOVALS_STOPPED).cloned()
    })
}

/// The health gate over all workers that are, or were, in service: those on their way, and those whose
/// machine goes anyway, are not ill.
#[must_use]
pub fn gate(ctx: &Context) -> Arc<Gate> {
    ctx.gate(|| count(ctx))
}

fn count(ctx: &Context) -> Gate {
    let machines = ctx.state.vpsie_nodes();
    let records: BTreeMap<_, _> = machines
        .iter()
        .map(|object| (object, read_record(object)))
        .filter_map(|(object, record)| Some((record.node.clone()?, (object, record))))
        .collect();
    let nodes = ctx.state.nodes();
    let counted: Vec<(Option<GroupKey>, bool)> = nodes
        .iter()
        .filter(|row| !row.control_plane)
        .filter_map(|row| {
            let Some((object, record)) = records.get(&row.node.name) else {
                return Some((None, row.node.ready));
            };
            let going = record.removal.as_ref().is_some_and(|r| r.step.is_final());
            if going || record.ready_at.is_none() {
                return None;
            }
            let namespace = object.metadata.namespace.as_deref().unwrap_or_default();
            let group = GroupKey::new(namespace, &object.spec.node_group_name);
            Some((Some(group), row.node.ready))
        })
        .collect();
    Gate::of(
        counted
            .iter()
            .map(|(group, ready)| (group.as_ref(), *ready)),
    )
}

/// Why an unhealthy node of this group is not taken away yet: its replacement comes first, where
/// there is room for one.
#[must_use]
pub fn replace_later(
    ctx: &Context,
    object: &VPSieNode,
    record: &Record,
    group: Option<&Group>,
) -> Option<String> {
    record.unhealthy_since?;
    let group = group?;
    if !group.usable()
        || !group
            .object
            .spec
            .scale_up_policy
            .as_ref()
            .is_none_or(api::ScaleUpPolicy::is_enabled)
    {
        return None;
    }
    let (mut serving, mut existing) = (0_i64, 0_i64);
    for other in ctx.state.vpsie_nodes() {
        if !groups::has(&group.key, &other) {
            continue;
        }
        let record = read_record(&other);
        existing += i64::from(record.may_be_billed());
        let ready = record.node.as_ref().and_then(|node| ctx.state.node(node));
        let serves = record.is_wanted()
            && !record.phase.is_in_flight()
            && other.metadata.uid != object.metadata.uid
            && ready.is_some_and(|row| row.node.ready);
        serving += i64::from(serves);
    }
    let spec = &group.object.spec;
    let (least, most) = (i64::from(spec.min_nodes), i64::from(spec.max_nodes));
    (serving < least && existing < most).then(|| {
        format!("its group has {serving} Ready nodes besides it and keeps {least}; another one is awaited")
    })
}

/// After how long the machine of an object that is being deleted goes whatever is on it, as who
/// deletes it, or its group, ordered.
#[must_use]
pub fn force_after(ctx: &Context, object: &VPSieNode) -> Option<Duration> {
    let said = |annotations: Option<&BTreeMap<String, String>>| {
        let text = annotations?.get(labels::FORCE_AFTER)?.trim().to_owned();
        match text.parse::<jiff::SignedDuration>() {
            Ok(after) => Duration::try_from(after).ok(),
            Err(error) => {
                tracing::warn!(annotation = labels::FORCE_AFTER, text, %error, "a duration is expected; it has no effect");
                None
            }
        }
    };
    object.metadata.deletion_timestamp.as_ref()?;
    if let Some(after) = said(object.metadata.annotations.as_ref()) {
        return Some(after);
    }
    let key = GroupKey::new(
        object.metadata.namespace.as_deref().unwrap_or_default(),
        &object.spec.node_group_name,
    );
    let group = ctx.state.node_group(&key)?;
    group.metadata.deletion_timestamp.as_ref()?;
    said(group.metadata.annotations.as_ref())
}
