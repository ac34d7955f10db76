//! What holds removals: pauses, the health gate, a term that has only begun, a machine that went
//! instead of another. Every step of a machine asks here, whoever began it.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use api::{VPSieNode, labels};
use model::{GroupKey, NodeName};
use planner::{
    lifecycle::{Hold, Record},
    removal::{gate::Gate, plan, refusal::Refusal},
};
use planted::Bug;

use super::{
    groups::{self, Group},
    scale_down::{described, facts::facts},
    vpsie_node::read_record,
};
use crate::{cluster_state::ClusterState, context::Context};

/// Why nothing may be destroyed in this group now.
#[must_use]
pub fn hold(ctx: &Context, group: &GroupKey) -> Option<Hold> {
    let warming_up = warming_up(ctx).map(|until| Refusal::WarmingUp { until });
    let stale = || stale(ctx).map(|kind| Refusal::CacheStale { kind });
    let (refusal, takes_back) = match warming_up.or_else(stale) {
        Some(passing) => (passing, false),
        None => (lasting(ctx, group)?, true),
    };
    Some(Hold {
        why: described(&refusal),
        takes_back,
    })
}

/// What may hold for long.
fn lasting(ctx: &Context, group: &GroupKey) -> Option<Refusal> {
    paused(&ctx.state, group)
        .filter(|_| !planted::is(Bug::IgnorePause))
        .or_else(|| stopped(ctx, group))
}

/// Who paused the group, if anybody did.
pub fn paused(state: &ClusterState, group: &GroupKey) -> Option<Refusal> {
    if let Some(by) = state.cluster_paused() {
        return Some(Refusal::ClusterPaused { by });
    }
    let object = state.node_group(group)?;
    intake::pause(object.metadata.annotations.as_ref()).map(|_| Refusal::GroupPaused)
}

fn stopped(ctx: &Context, group: &GroupKey) -> Option<Refusal> {
    if let Some(why) = groups::stopped(&ctx.groups()).remove(group) {
        return Some(Refusal::RemovalsStopped { why });
    }
    gate(ctx).shut_for(group).map(Refusal::from)
}

/// Until when a term that has begun a moment ago destroys nothing.
#[must_use]
pub fn warming_up(ctx: &Context) -> Option<jiff::Timestamp> {
    let until = ctx.led_since().saturating_add(ctx.options.warm_up).ok()?;
    (until > ctx.clock.now() && !planted::is(Bug::SkipWarmUp)).then_some(until)
}

/// What is destroyed rests on facts that are at most this old. Where the API server is slower than
/// that, or a watch is broken for longer, nothing is.
pub const FRESH: Duration = Duration::from_secs(8);

/// The kind of objects of which what is known may be too old to destroy something by it.
pub fn stale(ctx: &Context) -> Option<String> {
    let kind = ctx.state.stale(FRESH)?;
    (!planted::is(Bug::TrustTheCache)).then(|| kind.plural().to_owned())
}

/// The health gate over the nodes as they are now.
fn gate(ctx: &Context) -> Arc<Gate> {
    ctx.gate(|| {
        let nodes = ctx.state.nodes();
        let (_, candidates) = facts(&ctx.groups(), &ctx.state.vpsie_nodes(), &nodes, None);
        let ready = |name: &NodeName| Some(ctx.state.node(name)?.node.ready);
        plan::gate(&candidates, ready)
    })
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
    if planted::is(Bug::RemoveBeforeReplacing) {
        return None;
    }
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
