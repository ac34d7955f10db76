//! One VPSieNode: observe, take one pure step, write the record, carry out its one effect.
//!
//! Which step that is, `planner::lifecycle` decides; which machine a request led to,
//! `cloud::resolve`; how the two objects translate, [`record`].

mod metadata;
mod observe;
mod record;

use std::{sync::Arc, time::Duration};

use api::{VPSieNode, labels};
use cloud::{
    CloudError, CreateIntent, CreateOutcome, DeleteOutcome, DeleteTarget, ErrorClass, PoolRequest,
};
use model::{GroupKey, OperationId};
use planner::lifecycle::{
    self, Asked, CloudView, Effect, FailureReason, MachineView, Phase, Record, RemovalStep,
    Situation, Transition,
};
use serde_json::json;

pub(crate) use record::removal_status;
pub use record::{open_operations, owned_instances, read as read_record, scope_of};

use crate::{
    context::Context,
    controllers::groups::Group,
    effects::{self, Effects, Error, NodeChange, Why},
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
    let observed = observe::observe(ctx, &object, &before, group.as_ref()).await?;
    let now = ctx.clock.now();
    let transition = lifecycle::step(&before, &observed, now, &ctx.options.lifecycle);
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
            };
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
    if matches!(transition.situation, Situation::Ambiguous(_)) {
        ctx.events.warning(
            about(),
            FailureReason::AmbiguousCreate.name(),
            "machines appeared that cannot be told from others or fit no request; none is adopted until it is clear which is whose",
        );
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
            format!("a {} machine is asked for", object.spec.instance_type),
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

/// One effect of one object.
struct Step<'a> {
    ctx: &'a Context,
    effects: &'a Effects,
    object: &'a Arc<VPSieNode>,
    record: &'a Record,
    group: Option<&'a Group>,
    group_key: &'a GroupKey,
    observed: &'a lifecycle::Observation,
    /// Why a removal was just taken back.
    aborted: Option<&'a str>,
}

impl Step<'_> {
    /// The object, for the audit log.
    fn name(&self) -> String {
        let meta = &self.object.metadata;
        format!(
            "{}/{}",
            meta.namespace.as_deref().unwrap_or_default(),
            meta.name.as_deref().unwrap_or_default()
        )
    }

    /// Why it is done, for the audit log: what takes the machine away, else what it is bought for.
    fn reason(&self) -> &str {
        if let Some(failure) = &self.record.failure {
            return failure.reason.name();
        }
        if let Some(removal) = &self.record.removal {
            return removal.cause.name();
        }
        let annotations = self.object.metadata.annotations.as_ref();
        annotations
            .and_then(|all| all.get(labels::CREATION_REASON))
            .map_or(labels::creation_reason::MANUAL, String::as_str)
    }

    /// `Some` overrides when to look again.
    async fn carry_out(&self, effect: Effect) -> Result<Option<Requeue>, Error> {
        match effect {
            Effect::EnsurePool => self.ensure_pool().await,
            Effect::CreateMachine { pool } => self.create_machine(pool).await,
            Effect::Bind { instance } => self.bind(&instance).await,
            Effect::ApplyNodeMetadata {
                node,
                uid,
                startup_taints,
            } => self.apply_metadata(&node, &uid, startup_taints).await,
            Effect::Cordon { node, uid } => self.cordon(&node, &uid, true).await,
            Effect::Uncordon { node, uid } => self.cordon(&node, &uid, false).await,
            Effect::Evict { pods } => self.evict(&pods).await,
            Effect::DeleteRecord => {
                let reason = self.reason();
                self.effects.delete_vpsie_node(self.object, reason).await?;
                Ok(None)
            }
            Effect::DeleteNode { node, uid, proof } => {
                let machine = &self.name();
                self.effects
                    .delete_node(&node, &uid, &proof, machine)
                    .await?;
                Ok(Some(Requeue::After(Duration::from_secs(1))))
            }
            Effect::DeleteMachine {
                instance,
                hostname,
                proof,
            } => self.delete_machine(instance, hostname, &proof).await,
            Effect::RemoveFinalizer => {
                let change = record::without_finalizer(self.object);
                self.effects.patch_vpsie_node(self.object, change).await?;
                self.ctx.metrics.scaled_down(self.group_key);
                Ok(Some(Requeue::OnChange))
            }
        }
    }

    async fn ensure_pool(&self) -> Result<Option<Requeue>, Error> {
        let (Some(group), Some(scope)) = (self.group, self.scope()) else {
            return Ok(None);
        };
        let Some(offering) = group.offering(&self.object.spec.instance_type) else {
            return Ok(None);
        };
        let request = PoolRequest {
            scope: scope.clone(),
            name: format!("{}-{}", group.key.name, offering.id),
            size: offering.size.clone(),
        };
        // One at a time per process: two groups of one size share the pool.
        let _one_at_a_time = self.ctx.pools.lock().await;
        if self.ctx.pool_of(&scope, &offering.size).is_none() {
            let why = Why {
                machine: &self.name(),
                reason: self.reason(),
            };
            match self.effects.ensure_pool(&request, why).await {
                Ok(pool) => self.ctx.note_pool(&scope, pool),
                Err(Error::Cloud(error)) => return self.refused(&error).await.map(Some),
                Err(error) => return Err(error),
            }
        }
        Ok(Some(Requeue::After(Duration::ZERO)))
    }

    fn scope(&self) -> Option<cloud::Scope> {
        scope_of(self.object, &self.ctx.defaults())
    }

    /// The intent is durable; exactly one request follows, and its answer is recorded.
    async fn create_machine(&self, pool: model::PoolId) -> Result<Option<Requeue>, Error> {
        let (Some(group), Some(scope), Some(creation)) =
            (self.group, self.scope(), self.record.creation.as_ref())
        else {
            return Ok(None);
        };
        let Some(offering) = group.offering(&self.object.spec.instance_type) else {
            return Ok(None);
        };
        let uid = self.object.metadata.uid.clone().unwrap_or_default();
        let intent = CreateIntent {
            operation: OperationId::new(format!("{uid}/{}", creation.attempt)),
            scope: scope.clone(),
            pool,
            size: offering.size.clone(),
            hostname: None,
            user_data: None,
            settings: record::settings(&group.object),
        };
        let why = Why {
            machine: &self.name(),
            reason: self.reason(),
        };
        let outcome = self.effects.create_machine(&intent, why).await?;
        self.ctx.cloud.refresh(&scope);
        let (answer, wait) = match outcome {
            CreateOutcome::Accepted(id) => (Asked::Accepted(id), Duration::from_secs(5)),
            CreateOutcome::AlreadyExists(instance) => {
                (Asked::Accepted(Some(instance.id)), Duration::ZERO)
            }
            CreateOutcome::Unknown(error) => {
                tracing::warn!(%error, operation = %intent.operation, "no usable answer to a create");
                (Asked::Unknown(error.to_string()), Duration::from_secs(5))
            }
            CreateOutcome::Rejected(error) => refusal(&error),
        };
        self.answer(&answer).await?;
        if let Asked::Accepted(Some(instance)) = &answer {
            return self.bind(instance).await;
        }
        Ok(Some(Requeue::After(wait)))
    }

    /// The pool could not be made: treated like a refused create, nothing was bought.
    async fn refused(&self, error: &CloudError) -> Result<Requeue, Error> {
        let (answer, wait) = refusal(error);
        let mut record = self.record.clone();
        record.provisioning_at.get_or_insert(self.ctx.clock.now());
        if let Asked::Refused { reason, message } = answer {
            record.phase = Phase::Failed;
            record.failed_at.get_or_insert(self.ctx.clock.now());
            record.failure = Some(lifecycle::Failure { reason, message });
        }
        self.store(&record).await?;
        Ok(Requeue::After(wait))
    }

    async fn answer(&self, answer: &Asked) -> Result<(), Error> {
        let record = lifecycle::answered(self.record, answer, self.ctx.clock.now());
        self.store(&record).await
    }

    async fn store(&self, record: &Record) -> Result<(), Error> {
        let transition = Transition {
            situation: Situation::AwaitingMachine,
            record: record.clone(),
            effect: None,
            requeue_after: None,
            refresh_cloud: false,
            aborted: None,
        };
        let written = write_record(
            self.ctx,
            self.effects,
            self.object,
            self.record,
            &transition,
            self.observed,
        )
        .await?;
        report(self.ctx, &written, self.group_key, self.record, &transition);
        Ok(())
    }

    /// Records whose machine it is. Under one lock, on a verdict made from the newest index: two
    /// objects can never be given the same machine.
    async fn bind(&self, wanted: &model::InstanceId) -> Result<Option<Requeue>, Error> {
        let Some(scope) = self.scope() else {
            return Ok(None);
        };
        let _one_at_a_time = self.ctx.binding.lock().await;
        let taken = owned_instances(&self.ctx.state.vpsie_nodes());
        if taken.contains(wanted) {
            return Ok(Some(Requeue::After(Duration::ZERO)));
        }
        let latest = self.ctx.cloud.latest(&scope);
        let instance = latest.as_ref().and_then(|seen| seen.instance(wanted));
        let change = record::identity(
            wanted,
            instance.and_then(|instance| instance.numeric_id),
            instance.and_then(|instance| instance.addresses.first().map(String::as_str)),
        );
        let newest = self.ctx.newest(self.object);
        let written = self.effects.patch_vpsie_node(&newest, change).await?;
        self.ctx.state.note_vpsie_node(written);
        Ok(Some(Requeue::After(Duration::ZERO)))
    }

    async fn apply_metadata(
        &self,
        node: &model::NodeName,
        uid: &model::Uid,
        startup_taints: bool,
    ) -> Result<Option<Requeue>, Error> {
        let (Some(group), Some(row)) = (self.group, self.ctx.state.node(node)) else {
            return Ok(None);
        };
        let wanted = metadata::wanted(group, self.object);
        let present = metadata::Present::of(&row);
        let Some(change) = metadata::change(&wanted, &present, startup_taints) else {
            return Ok(None);
        };
        let written = self
            .effects
            .patch_node(
                node,
                uid,
                &row.resource_version,
                change,
                NodeChange::Metadata,
            )
            .await?;
        self.ctx.state.note_node(written);
        Ok(Some(Requeue::After(Duration::ZERO)))
    }

    async fn cordon(
        &self,
        node: &model::NodeName,
        uid: &model::Uid,
        cordon: bool,
    ) -> Result<Option<Requeue>, Error> {
        let Some(row) = self.ctx.fresh_node(node).await? else {
            return Ok(None);
        };
        let owner = self.object.metadata.uid.as_deref().unwrap_or_default();
        let machine = &self.name();
        let (change, what) = if cordon {
            let reason = self.reason();
            let what = NodeChange::Cordon(Why { machine, reason });
            (metadata::cordon(&row, owner), what)
        } else {
            let reason = self.aborted.unwrap_or("nothing removes it");
            let what = NodeChange::Uncordon(Why { machine, reason });
            (metadata::uncordon(&row), what)
        };
        if let Some(change) = change {
            let written = self
                .effects
                .patch_node(node, uid, &row.resource_version, change, what)
                .await?;
            self.ctx.state.note_node(written);
        }
        Ok(None)
    }

    async fn evict(&self, pods: &[(model::PodKey, model::Uid)]) -> Result<Option<Requeue>, Error> {
        let why = Why {
            machine: &self.name(),
            reason: self.reason(),
        };
        let mut failed = None;
        for (pod, uid) in pods {
            match self.effects.evict(pod, uid, why).await {
                Ok(()) => {}
                Err(Error::Budget { message, .. }) => {
                    self.ctx.events.normal(
                        About::object(self.object.as_ref()),
                        "NodeDraining",
                        format!("waiting for the budget of pod {pod}: {message}"),
                    );
                }
                Err(Error::Conflict { .. } | Error::NotFound { .. }) => {}
                Err(error @ Error::NotLeading { .. }) => return Err(error),
                // One pod that cannot be evicted does not keep the others.
                Err(error) => failed = failed.or(Some(error)),
            }
        }
        failed.map_or(Ok(None), Err)
    }

    async fn delete_machine(
        &self,
        instance: model::InstanceId,
        hostname: model::Hostname,
        proof: &planner::removal::Proof,
    ) -> Result<Option<Requeue>, Error> {
        let Some(scope) = self.scope() else {
            return Ok(None);
        };
        let target = DeleteTarget {
            scope: scope.clone(),
            instance,
            hostname,
        };
        let outcome = self
            .effects
            .delete_machine(&target, proof, &self.name())
            .await?;
        self.ctx.cloud.refresh(&scope);
        match outcome {
            DeleteOutcome::Accepted | DeleteOutcome::AlreadyGone => Ok(None),
            DeleteOutcome::Rejected(error) | DeleteOutcome::Unknown(error) => {
                self.ctx.events.warning(
                    About::object(self.object.as_ref()),
                    "VPSDeleteFailed",
                    error.to_string(),
                );
                Ok(Some(Requeue::After(Duration::from_secs(30))))
            }
        }
    }
}

/// What a refusal means for the machine, and how long to wait.
fn refusal(error: &CloudError) -> (Asked, Duration) {
    let lasting = |reason| {
        (
            Asked::Refused {
                reason,
                message: error.to_string(),
            },
            Duration::ZERO,
        )
    };
    match error.class {
        ErrorClass::Quota { .. } => lasting(FailureReason::CapacityLimitReached),
        ErrorClass::OutOfStock => lasting(FailureReason::OutOfStock),
        ErrorClass::Conflict
        | ErrorClass::InvalidRequest
        | ErrorClass::NotFound
        | ErrorClass::Unsupported => lasting(FailureReason::VPSieAPIError),
        ErrorClass::RateLimited { after } => (
            Asked::Later {
                message: error.to_string(),
                after,
            },
            after.unwrap_or(Duration::from_secs(30)),
        ),
        ErrorClass::Transient
        | ErrorClass::Auth
        | ErrorClass::CircuitOpen
        | ErrorClass::Withheld
        | ErrorClass::ContractDrift
        | ErrorClass::Ambiguous => (
            Asked::Later {
                message: error.to_string(),
                after: None,
            },
            Duration::from_secs(30),
        ),
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
