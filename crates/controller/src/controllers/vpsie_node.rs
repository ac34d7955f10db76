//! One VPSieNode: observe, take one pure step, write the record, carry out its one effect ([`step`]).
//!
//! Which step that is, `planner::lifecycle` decides; which machine a request led to,
//! `cloud::resolve`; how the two objects translate, [`record`].

mod metadata;
mod observe;
mod record;
mod step;

use std::{sync::Arc, time::Duration};

use api::VPSieNode;
use model::GroupKey;
use planner::audit;
use planner::lifecycle::{
    self, CloudView, FailureReason, MachineView, Phase, Record, RemovalCause, RemovalStep,
    Situation, Transition,
};
use serde_json::json;

pub(super) use metadata::{cordon_of, is_marked};
pub(crate) use record::removal_status;
pub use record::{open_operations, owned_instances, read as read_record, scope_of};
use step::Step;

use crate::{
    context::Context,
    effects::{self, Effects, Error},
    events::About,
};

/// When to look at the object again.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Requeue {
    /// After this long, or when something changes.
    After(Duration),
    /// When something changes.
    OnChange,
}

/// Takes one step for `object`.
pub async fn reconcile(
    ctx: &Context,
    effects: &Effects,
    object: Arc<VPSieNode>,
) -> Result<Requeue, Error> {
    let group_key = record::group_key(&object);
    let group = ctx.group(&group_key);
    if group.is_none() && ctx.group_exists(&group_key) {
        tracing::debug!(group = %group_key, "the group is not managed; left alone");
        return Ok(Requeue::OnChange);
    }
    if let Some(change) = record::missing_finalizer(&object) {
        let written = effects.patch_vpsie_node(&object, change).await?;
        ctx.state.note_vpsie_node(written);
        return Ok(Requeue::After(Duration::ZERO));
    }

    let before = record::read(&object);
    let looked_at = ctx.clock.monotonic();
    let observed = observe::observe(ctx, &object, &before, group.as_ref()).await?;
    let now = ctx.clock.now();
    let transition = lifecycle::step(&before, &observed, now, &ctx.options.lifecycle);
    if let Err(source) = audit::step(&before, &observed, &transition) {
        let name = object.metadata.name.as_deref().unwrap_or_default();
        tracing::error!(vpsie_node = name, violation = %source, ?transition, "the step breaks a rule and is refused");
        ctx.metrics.plan_refused(source.rule);
        return Err(Error::Refused {
            operation: format!("the next step of {name}"),
            source,
        });
    }
    if transition.refresh_cloud
        && let Some(scope) = scope_of(&object, &ctx.defaults())
    {
        ctx.cloud.refresh(&scope);
    }

    let object = write_record(ctx, effects, &object, &before, &transition, &observed).await?;
    report(ctx, &object, &group_key, &before, &transition);
    let wait = transition
        .requeue_after
        .map_or(Requeue::OnChange, Requeue::After);
    match transition.effect.clone() {
        None => Ok(wait),
        Some(effect) => {
            let step = Step {
                ctx,
                effects,
                object: &object,
                record: &transition.record,
                group: group.as_ref(),
                group_key: &group_key,
                observed: &observed,
                aborted: transition.aborted.as_deref(),
                looked_at,
            };
            if effect.is_destructive() && step.is_stale() {
                return Ok(Requeue::After(Duration::ZERO));
            }
            step.carry_out(effect)
                .await
                .map(|next| next.unwrap_or(wait))
        }
    }
}

/// Writes what the step decided, if that differs from what the object says.
async fn write_record(
    ctx: &Context,
    effects: &Effects,
    object: &Arc<VPSieNode>,
    before: &Record,
    transition: &Transition,
    observed: &lifecycle::Observation,
) -> Result<Arc<VPSieNode>, Error> {
    let status = record::status(
        object,
        before,
        transition,
        observed,
        ctx.clock.now(),
        effects.epoch(),
    );
    let written = write_status(ctx, effects, object, &status).await?;
    // What is not stored must not be acted upon: the next step would not know of it.
    let stored = record::read(&written);
    let missing = if stored.creation != transition.record.creation {
        "status.creation"
    } else if stored.removal != transition.record.removal {
        "status.removal"
    } else {
        return Ok(written);
    };
    Err(Error::NotStored {
        object: format!(
            "VPSieNode {}/{}",
            written.metadata.namespace.as_deref().unwrap_or_default(),
            written.metadata.name.as_deref().unwrap_or_default()
        ),
        field: missing,
    })
}

async fn write_status(
    ctx: &Context,
    effects: &Effects,
    object: &Arc<VPSieNode>,
    status: &api::VPSieNodeStatus,
) -> Result<Arc<VPSieNode>, Error> {
    let old = json!(object.status.clone().unwrap_or_default());
    let Some(change) = effects::merge_diff(&old, &json!(status)) else {
        return Ok(Arc::clone(object));
    };
    let written = effects.patch_vpsie_node_status(object, change).await?;
    Ok(ctx.state.note_vpsie_node(written))
}

/// Tells people what changed: phase changes and their reasons, once each.
fn report(
    ctx: &Context,
    object: &VPSieNode,
    group: &GroupKey,
    before: &Record,
    transition: &Transition,
) {
    let (from, to) = (before.phase, transition.record.phase);
    let about = || About::object(object);
    let name = object.metadata.name.as_deref().unwrap_or_default();
    if let Some(why) = &transition.aborted {
        ctx.metrics.scale_down_failed(group, "Aborted");
        ctx.events.normal(
            about(),
            "ScaleDownAborted",
            format!("the removal of {name} was taken back: {why}"),
        );
    }
    let forced = |record: &Record| record.removal.as_ref().and_then(|r| r.forced_at);
    if forced(before).is_none() && forced(&transition.record).is_some() {
        ctx.events.warning(
            about(),
            "RemovalForced",
            format!("the machine of {name} goes now, whatever is on it, as was ordered"),
        );
    }
    let replaced = transition
        .record
        .removal
        .as_ref()
        .filter(|_| before.removal.is_none());
    if replaced.is_some_and(|removal| removal.cause == RemovalCause::Unhealthy) {
        ctx.events.warning(
            about(),
            "NodeUnhealthy",
            format!("the machine of {name} is taken away: its node was not Ready for too long"),
        );
    }
    if let Some(question) = &transition.asks {
        let reason = FailureReason::AmbiguousCreate.name();
        ctx.events.warning(about(), reason, question.clone());
    }
    if let Situation::NodeConflict(detail) = &transition.situation {
        ctx.events.warning(about(), "NodeConflict", detail.clone());
    }
    if from == to {
        return;
    }
    ctx.metrics.phase_changed(group, from.name(), to.name());
    match to {
        Phase::Pending => {}
        Phase::Provisioning => ctx.events.normal(
            about(),
            "NodeProvisioning",
            format!(
                "a machine of the offering {} is asked for",
                object.spec.instance_type
            ),
        ),
        Phase::Provisioned => {
            ctx.events
                .normal(about(), "NodeProvisioned", "the machine runs");
        }
        Phase::Joining => {}
        Phase::Ready => {
            let node = transition.record.node.as_ref();
            ctx.events.normal(
                about(),
                "NodeReady",
                format!("node {} is Ready", node.map_or("", |node| node.as_str())),
            );
        }
        Phase::Terminating => {
            ctx.events
                .normal(about(), "NodeTerminating", "the node is being removed");
        }
        Phase::Deleting => ctx.events.normal(
            about(),
            "VPSDeleting",
            "the node is gone; the machine is being deleted",
        ),
        Phase::Failed => {
            let failure = transition.record.failure.clone();
            let (reason, message) =
                failure.map_or(("Failed", String::new()), |f| (f.reason.name(), f.message));
            ctx.metrics.scale_up_failed(group, reason);
            ctx.events.warning(
                about(),
                "NodeProvisioningFailed",
                format!("{reason}: {message}"),
            );
        }
    }
}

/// Whether something is awaited from the cloud for this record: its scope is observed more often.
#[must_use]
pub fn awaits_cloud(record: &Record) -> bool {
    record.phase.is_in_flight()
        || record.has_open_request()
        || record
            .removal
            .as_ref()
            .is_some_and(|removal| removal.step == RemovalStep::DeletingMachine)
}

/// The machine's facts for the status, where the latest observation has them.
pub(crate) fn listed(view: &CloudView) -> Option<&model::Instance> {
    match view {
        CloudView::Seen {
            machine: MachineView::Listed(instance),
            ..
        } => Some(instance),
        _ => None,
    }
}
