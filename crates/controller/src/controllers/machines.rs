//! The loop over the VPSieNodes: who is due, one step each, several at once, never two for one.
//!
//! A work queue of our own instead of kube's `Controller`: that one orders held objects by hash,
//! which would make no two runs equal. Objects are taken in the order of their names.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use futures::{StreamExt as _, future::BoxFuture, stream::FuturesUnordered};
use tokio_util::sync::CancellationToken;

use model::NodeName;

use super::vpsie_node::{self, Requeue};
use crate::{
    cluster_state::Versions,
    context::Context,
    controllers::node_group,
    effects::{Effects, Error},
    events::About,
    pulse::Pulse,
};

type Key = (String, String);
/// After how long it is to be looked at again, and whether the step failed.
type Done = (Key, Duration, bool);

/// Without any change every object is looked at again after this long.
const RESYNC: Duration = Duration::from_mins(10);
/// Changes that come together are worked on together.
const DEBOUNCE: Duration = Duration::from_millis(50);
/// No step takes longer: each of its calls has a deadline, and so have those of the steps that
/// make a pool before it.
const STEP_LIMIT: Duration = Duration::from_mins(30);

/// Runs until `stop`; then the steps under way are finished, so that the answer to a purchase is
/// recorded, and no other is begun.
pub async fn run(ctx: &Context, effects: &Effects, pulse: &Pulse, stop: &CancellationToken) {
    let beat = pulse.begin("machines");
    let mut state_changes = ctx.state.changes();
    let mut cloud_changes = ctx.cloud.changes();
    let mut defaults = ctx.defaults.clone();
    let mut due: BTreeMap<Key, Duration> = BTreeMap::new();
    let mut working: FuturesUnordered<BoxFuture<'_, Done>> = FuturesUnordered::new();
    let mut busy: BTreeSet<Key> = BTreeSet::new();
    // Changed while being worked on: to be looked at again at once.
    let mut dirty: BTreeSet<Key> = BTreeSet::new();
    // Failed, and not tried again before: what a step wrote before it failed is no reason to.
    let mut failed: BTreeMap<Key, Duration> = BTreeMap::new();
    let mut strangers = BTreeSet::new();
    let mut seen = *state_changes.borrow_and_update();
    mark_all(ctx, &mut due, &busy, &mut dirty, &mut failed);
    loop {
        let now = ctx.clock.monotonic();
        let ready: Vec<Key> = due
            .iter()
            .filter(|(key, at)| **at <= now && !busy.contains(*key))
            .map(|(key, _)| key.clone())
            .take(ctx.options.concurrency.saturating_sub(working.len()))
            .filter(|_| !stop.is_cancelled())
            .collect();
        for key in ready {
            due.remove(&key);
            busy.insert(key.clone());
            working.push(Box::pin(work(ctx, effects, pulse, key)));
        }
        let next = due
            .iter()
            .filter(|(key, _)| !busy.contains(*key))
            .map(|(_, at)| *at)
            .min()
            .unwrap_or(now + RESYNC);
        if stop.is_cancelled() && working.is_empty() {
            return;
        }
        beat.waiting(async {
            tokio::select! {
                biased;
                () = stop.cancelled(), if !stop.is_cancelled() => {}
                Some((key, wait, has_failed)) = working.next(), if !working.is_empty() => {
                    busy.remove(&key);
                    let changed = dirty.remove(&key);
                    let wait = if changed && !has_failed { Duration::ZERO } else { wait };
                    let at = ctx.clock.monotonic() + wait;
                    if has_failed {
                        failed.insert(key.clone(), at);
                    } else {
                        failed.remove(&key);
                    }
                    due.insert(key, at);
                }
                Ok(()) = state_changes.changed() => {
                    ctx.clock.sleep(DEBOUNCE).await;
                    let versions = *state_changes.borrow_and_update();
                    // Pods and their budgets alone change nothing here: a removal looks at them anew in
                    // each step.
                    let ignoring_pods = Versions {
                        pods: seen.pods,
                        unschedulable: seen.unschedulable,
                        disruption: seen.disruption,
                        ..versions
                    };
                    if ignoring_pods != seen {
                        look_at_strangers(ctx, &mut strangers);
                        mark_all(ctx, &mut due, &busy, &mut dirty, &mut failed);
                    }
                    seen = versions;
                }
                Ok(()) = cloud_changes.changed() => {
                    cloud_changes.borrow_and_update();
                    mark_all(ctx, &mut due, &busy, &mut dirty, &mut failed);
                }
                Ok(()) = defaults.changed() => {
                    defaults.borrow_and_update();
                    mark_all(ctx, &mut due, &busy, &mut dirty, &mut failed);
                }
                () = ctx.clock.sleep_until(next), if next > now || working.is_empty() => {}
            }
        })
        .await;
    }
}

fn mark_all(
    ctx: &Context,
    due: &mut BTreeMap<Key, Duration>,
    busy: &BTreeSet<Key>,
    dirty: &mut BTreeSet<Key>,
    failed: &mut BTreeMap<Key, Duration>,
) {
    track(ctx);
    let now = ctx.clock.monotonic();
    let keys: BTreeSet<Key> = ctx
        .state
        .vpsie_nodes()
        .iter()
        .map(|object| {
            (
                object.metadata.namespace.clone().unwrap_or_default(),
                object.metadata.name.clone().unwrap_or_default(),
            )
        })
        .collect();
    due.retain(|key, _| keys.contains(key));
    failed.retain(|key, _| keys.contains(key));
    for key in keys {
        if busy.contains(&key) {
            dirty.insert(key);
        } else {
            let at = failed.get(&key).map_or(now, |at| now.max(*at));
            due.insert(key, at);
        }
    }
}

async fn work(ctx: &Context, effects: &Effects, pulse: &Pulse, key: Key) -> Done {
    let _beat = pulse.begin_within("step of a machine", STEP_LIMIT);
    let Some(object) = ctx.state.vpsie_node(&key.0, &key.1) else {
        return (key, RESYNC, false);
    };
    let begun = ctx.clock.monotonic();
    let about = About::object(object.as_ref());
    let outcome = vpsie_node::reconcile(ctx, effects, object).await;
    let took = ctx.clock.monotonic().saturating_sub(begun);
    let has_failed = outcome.is_err();
    let wait = match outcome {
        Ok(Requeue::After(wait)) => {
            ctx.metrics.reconciled("vpsienode", took, None);
            wait.max(Duration::from_millis(20))
        }
        Ok(Requeue::OnChange) => {
            ctx.metrics.reconciled("vpsienode", took, None);
            RESYNC
        }
        // Told already; nothing failed.
        Err(error @ Error::DryRun { .. }) => {
            ctx.metrics.reconciled("vpsienode", took, None);
            error.retry_after()
        }
        Err(error) => {
            tracing::warn!(
                namespace = key.0,
                name = key.1,
                error = &error as &dyn std::error::Error,
                "the step failed and is tried again"
            );
            ctx.metrics.reconciled("vpsienode", took, Some("step"));
            if let Some(reason) = error.told_as() {
                ctx.events.warning(about, reason, error.to_string());
            }
            error.retry_after()
        }
    };
    (key, wait, has_failed)
}

/// A Node that is nobody's yet may be a machine that is awaited. It is to carry its marks before
/// pods land on it, so the cloud is looked at now and not at the next turn.
fn look_at_strangers(ctx: &Context, known: &mut BTreeSet<NodeName>) {
    let strangers: BTreeSet<NodeName> = ctx
        .state
        .nodes()
        .iter()
        .filter(|row| !row.control_plane && row.label(api::labels::VPSIE_NODE).is_none())
        .map(|row| row.node.name.clone())
        .collect();
    let new = !strangers.is_subset(known);
    *known = strangers;
    if !new {
        return;
    }
    let defaults = ctx.defaults();
    let awaiting: BTreeSet<_> = ctx
        .state
        .vpsie_nodes()
        .iter()
        .filter(|object| vpsie_node::read_record(object).phase.is_in_flight())
        .filter_map(|object| vpsie_node::scope_of(object, &defaults))
        .collect();
    for scope in awaiting {
        ctx.cloud.refresh(&scope);
    }
}

/// Tells the cloud state which machines are ours and what is awaited where.
fn track(ctx: &Context) {
    let defaults = ctx.defaults();
    let mut machines: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
    let mut busy = BTreeSet::new();
    for object in ctx.state.vpsie_nodes() {
        let Some(scope) = vpsie_node::scope_of(&object, &defaults) else {
            continue;
        };
        let record = vpsie_node::read_record(&object);
        if vpsie_node::awaits_cloud(&record) {
            busy.insert(scope.clone());
        }
        let owned = machines.entry(scope).or_default();
        if let Some(machine) = record.machine {
            owned.insert(machine.instance);
        }
    }
    let mut datacenters = BTreeSet::new();
    for group in ctx.groups() {
        if let Some(scope) = &group.scope {
            machines.entry(scope.clone()).or_default();
        }
        datacenters.insert(node_group::datacenter(&group));
    }
    ctx.cloud.track(machines, &busy, datacenters);
}
