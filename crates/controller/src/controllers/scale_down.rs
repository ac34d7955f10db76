//! The scale-down loop: which nodes go next, the windows that must have passed, and what is told of
//! those that stay.
//!
//! Beginning a removal is one compare-and-swap on the VPSieNode; everything after that is the
//! lifecycle's, step by step, each on facts read anew.

pub mod facts;
mod telling;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use api::{VPSieNode, conditions::seconds};
use jiff::Timestamp;
use model::{Cluster, Disruption, GroupKey, NodeName};
use planner::{
    audit,
    lifecycle::{Removal, RemovalCause},
    removal::{
        plan::{self, Brakes, Chosen, Input, Many},
        refusal::Refusal,
    },
};
use planted::Bug;
use serde_json::json;

use super::{brakes, expected::Expected, groups, node_group, vpsie_node::removal_status};
use crate::{
    cluster_state::usage::{self, UsageLog},
    context::Context,
    effects::{Effects, Error},
    events::About,
    pulse::Beat,
};
use telling::Told;

/// Without any change everything is looked at again after this long.
const RESYNC: Duration = Duration::from_mins(10);
/// Pods come and go in bursts; a window of minutes does not need faster answers.
const DEBOUNCE: Duration = Duration::from_secs(2);

/// What the loop remembers from one round to the next; a restart loses nothing that matters.
#[derive(Default)]
struct Memory {
    told: Told,
    /// Since when many nodes look removable at once. A new leader waits anew.
    many: Option<Many>,
    usage: UsageLog,
    /// When usage was asked for last.
    asked_at: Option<Duration>,
}

/// Runs until dropped.
pub async fn run(ctx: &Context, effects: &Effects, beat: &Beat) {
    let mut changes = ctx.state.changes();
    let mut memory = Memory::default();
    loop {
        let begun = ctx.clock.monotonic();
        changes.borrow_and_update();
        if memory.asked_at.is_none_or(|at| at + usage::POLL <= begun) {
            let answer = ctx.read_usage().await;
            memory.usage.note(&answer);
            memory.asked_at = Some(begun);
            if let Ok(usage) = answer {
                ctx.state.note_usage(usage);
            }
        }
        let outcome = once(ctx, effects, &mut memory, beat).await;
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
                () = ctx.clock.sleep(next.min(usage::POLL)) => {}
            }
        })
        .await;
        ctx.clock.sleep(DEBOUNCE).await;
    }
}

async fn once(
    ctx: &Context,
    effects: &Effects,
    memory: &mut Memory,
    beat: &Beat,
) -> Result<Duration, Error> {
    forget_windows(ctx, effects, beat).await?;
    let picture = Picture::of(ctx);
    let input = picture.input(ctx, memory.many.as_ref().map(|many| many.since));
    let (plan, report) = plan::plan(&input);
    if let Err(violations) = audit::removals(&input, &plan) {
        let violations: Vec<String> = violations.iter().map(ToString::to_string).collect();
        tracing::error!(?violations, ?plan, "the plan breaks a rule and is refused");
        ctx.metrics.plan_refused("removals");
        return Ok(Duration::from_secs(30));
    }
    telling::many(ctx, memory.many.as_ref(), plan.many.as_ref());
    memory.many.clone_from(&plan.many);
    memory.told.tell(ctx, &input, &report);
    let now = input.now;
    for (names, since) in [
        (&plan.window_started, Some(seconds(now))),
        (&plan.window_broken, None),
    ] {
        for name in names {
            beat.beat();
            if let Some(object) = find(ctx, name) {
                let change = json!({ "unneededSince": since });
                note(ctx, effects, &object, change).await?;
            }
        }
    }
    for chosen in &plan.remove {
        beat.beat();
        if let Some(object) = find(ctx, &chosen.machine) {
            begin(ctx, effects, &object, chosen, now).await?;
        }
    }
    memory
        .told
        .write(ctx, effects, &input, &report, beat)
        .await?;
    let next = plan.look_again_at.map_or(RESYNC, |at| {
        Duration::try_from(at.duration_since(now))
            .unwrap_or_default()
            .clamp(Duration::from_secs(1), RESYNC)
    });
    // That a watch is open again changes nothing by itself.
    Ok(if input.brakes.stale.is_some() {
        next.min(brakes::FRESH)
    } else {
        next
    })
}

/// Nobody watched for a while before this term: windows that began before it have to begin anew.
async fn forget_windows(ctx: &Context, effects: &Effects, beat: &Beat) -> Result<(), Error> {
    let Some(from) = ctx
        .windows_count_from()
        .filter(|_| !planted::is(Bug::TrustOldWindows))
    else {
        return Ok(());
    };
    for object in ctx.state.vpsie_nodes() {
        let since = (object.status.as_ref()).and_then(|status| status.unneeded_since.as_ref());
        if since.is_some_and(|since| since.parse::<Timestamp>().is_ok_and(|since| since < from)) {
            beat.beat();
            note(ctx, effects, &object, json!({ "unneededSince": null })).await?;
        }
    }
    Ok(())
}

/// Writes to the status of a VPSieNode. In a dry run nothing is, and the round goes on.
async fn note(
    ctx: &Context,
    effects: &Effects,
    object: &VPSieNode,
    change: serde_json::Value,
) -> Result<bool, Error> {
    match effects.patch_vpsie_node_status(object, change).await {
        Ok(written) => {
            ctx.state.note_vpsie_node(written);
            Ok(true)
        }
        Err(Error::DryRun { .. }) => Ok(false),
        Err(error) => Err(error),
    }
}

async fn begin(
    ctx: &Context,
    effects: &Effects,
    object: &Arc<VPSieNode>,
    chosen: &Chosen,
    now: Timestamp,
) -> Result<(), Error> {
    let removal = Removal::new(chosen.cause, now);
    let change = json!({ "removal": removal_status(&removal, effects.epoch()) });
    tracing::info!(
        node = %chosen.node,
        machine = chosen.machine,
        cause = chosen.cause.name(),
        moves = ?chosen.moves,
        "a node is to be removed"
    );
    let message = message(chosen);
    ctx.events.normal(
        About::object(object.as_ref()),
        "ScaleDownTriggered",
        message.clone(),
    );
    if !note(ctx, effects, object, change).await? {
        return Ok(());
    }
    if let Some(group) = ctx.group(&chosen.group) {
        ctx.events.normal(
            About::object(group.object.as_ref()),
            "ScaleDownTriggered",
            message,
        );
        node_group::note_scale_down(ctx, effects, &group.key).await?;
    }
    Ok(())
}

/// What is done, why, and what it saves, in words.
fn message(chosen: &Chosen) -> String {
    let why = match (chosen.cause, chosen.moves.len()) {
        (RemovalCause::Empty, _) => "was empty for the whole window".to_owned(),
        (_, 1) => "was hardly used for the whole window; its pod finds its place elsewhere".into(),
        (_, pods) => format!(
            "was hardly used for the whole window; its {pods} pods find their places elsewhere"
        ),
    };
    let saved = chosen
        .savings
        .map_or_else(String::new, |price| format!("; {price} USD/h are saved"));
    format!("node {} {why}; it is removed{saved}", chosen.node)
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
    let picture = Picture::of(ctx);
    plan::still_removable(&picture.input(ctx, None), &machine)
        .err()
        // It goes all the same: a moment later its own deletion is ordered.
        .filter(|refusal| *refusal != Refusal::GroupDeleting)
        .map(|refusal| described(&refusal))
}

/// A refusal as it is told everywhere: its name, and what it is about.
pub(super) fn described(refusal: &Refusal) -> String {
    format!("{}: {refusal}", refusal.name())
}

/// The cluster at one instant, and all that is said about its nodes.
struct Picture {
    expected: Expected,
    disruption: Arc<Disruption>,
    groups: BTreeMap<GroupKey, plan::Group>,
    candidates: Vec<plan::Candidate>,
    stopped: BTreeMap<GroupKey, String>,
}

impl Picture {
    fn of(ctx: &Context) -> Self {
        let expected = Expected::of(ctx);
        let own = own_node(ctx, &expected.cluster);
        let managed = ctx.groups();
        let (groups, candidates) = facts::facts(
            &managed,
            &ctx.state.vpsie_nodes(),
            &ctx.state.nodes(),
            own.as_ref(),
        );
        Self {
            expected,
            disruption: ctx.state.disruption(),
            groups,
            candidates,
            stopped: groups::stopped(&managed),
        }
    }

    fn input<'a>(&'a self, ctx: &'a Context, many_since: Option<Timestamp>) -> Input<'a> {
        Input {
            now: ctx.clock.now(),
            cluster: &self.expected.cluster,
            leaving: &self.expected.leaving,
            disruption: &self.disruption,
            groups: self.groups.clone(),
            candidates: self.candidates.clone(),
            settings: &ctx.options.removals,
            brakes: Brakes {
                targeted_delete: ctx.cloud.capabilities().targeted_delete,
                paused: ctx.state.cluster_paused(),
                warming_up_until: brakes::warming_up(ctx),
                stale: brakes::stale(ctx),
                stopped: self.stopped.clone(),
                many_since,
            },
        }
    }
}

/// The node that this replica runs on.
fn own_node(ctx: &Context, cluster: &Cluster) -> Option<NodeName> {
    facts::node_of(cluster, ctx.options.own_pod.as_ref()?)
        .filter(|_| !planted::is(Bug::RemoveOwnNode))
}
