//! Carrying out the one effect of a step, and recording what the cloud answered.

use std::{sync::Arc, time::Duration};

use api::{VPSieNode, labels};
use cloud::{
    CloudError, CreateIntent, CreateOutcome, DeleteOutcome, DeleteTarget, ErrorClass, PoolRequest,
};
use futures::StreamExt as _;
use model::{GroupKey, Hostname, OperationId};
use planner::lifecycle::{
    self, Asked, Effect, FailureReason, NodeView, Phase, Record, Situation, Transition,
};
use planted::Bug;

use super::{Requeue, metadata, owned_instances, record, report, scope_of, write_record};
use crate::{
    cluster_state::NodeRow,
    context::Context,
    controllers::{brakes, groups::Group},
    effects::{Effects, Error, NodeChange, Why},
    events::About,
};

/// So many pods are asked to leave at once.
const EVICTIONS: usize = 10;

/// One effect of one object.
pub(super) struct Step<'a> {
    pub(super) ctx: &'a Context,
    pub(super) effects: &'a Effects,
    pub(super) object: &'a Arc<VPSieNode>,
    pub(super) record: &'a Record,
    pub(super) group: Option<&'a Group>,
    pub(super) group_key: &'a GroupKey,
    pub(super) observed: &'a lifecycle::Observation,
    /// Why a removal was just taken back.
    pub(super) aborted: Option<&'a str>,
    /// When what it rests on began to be read, on this process's clock.
    pub(super) looked_at: Duration,
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

    /// What it rests on is too old to destroy something by it.
    pub(super) fn is_stale(&self) -> bool {
        let age = self.ctx.clock.monotonic().saturating_sub(self.looked_at);
        age > brakes::FRESH
    }

    /// `Some` overrides when to look again.
    pub(super) async fn carry_out(&self, effect: Effect) -> Result<Option<Requeue>, Error> {
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
            asks: None,
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
        // A write whose answer was lost has given it one meanwhile: that one it keeps.
        if record::read(&newest).machine.is_none() {
            let written = self.effects.patch_vpsie_node(&newest, change).await?;
            self.ctx.state.note_vpsie_node(written);
        }
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
        // Side by side: each answer may take a while, and budgets say how many may leave at once.
        let asked = pods.iter().map(|(pod, uid)| async move {
            // While others were waited for, the facts may have grown old; the next step has new ones.
            if self.is_stale() {
                return (pod, Ok(()));
            }
            (pod, self.effects.evict(pod, uid, why).await)
        });
        let asked: Vec<_> = asked.collect();
        let answers: Vec<_> = futures::stream::iter(asked)
            .buffered(EVICTIONS)
            .collect()
            .await;
        let mut failed = None;
        for (pod, answer) in answers {
            match answer {
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
        let mut target = DeleteTarget {
            scope: scope.clone(),
            instance,
            hostname,
        };
        if planted::is(Bug::DeleteNewest)
            && let Some(latest) = self.ctx.cloud.latest(&scope)
            && let Some(newest) = latest.instances.iter().max_by_key(|one| one.numeric_id)
        {
            target.instance = newest.id.clone();
            target.hostname = newest.hostname.clone();
        }
        let outcome = self
            .effects
            .delete_machine(&target, proof, &self.name(), self.stands(&target.hostname))
            .await?;
        self.ctx.cloud.refresh(&scope);
        match outcome {
            // It waited, and what it rests on is no longer so: another look tells.
            DeleteOutcome::Rejected(error) if error.class == ErrorClass::Withheld => {
                Ok(Some(Requeue::After(Duration::from_secs(1))))
            }
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

    /// Whether a deletion still rests on what was observed, asked when its request is sent at last:
    /// of the Nodes that go by the machine's name nothing else is known by then, what is known is
    /// not old, and nobody paused the group.
    fn stands(&self, hostname: &Hostname) -> impl Fn() -> bool + Send + Sync + 'static {
        let seen: Vec<_> = match &self.observed.node {
            NodeView::Present(node) => vec![(node.uid.clone(), node.ready)],
            NodeView::Absent { .. } | NodeView::Conflict(_) => Vec::new(),
        };
        let joined_as = self.record.node.clone();
        let (state, group) = (self.ctx.state.clone(), self.group_key.clone());
        let hostname = hostname.clone();
        move || {
            let named = |row: &&Arc<NodeRow>| {
                let names = [Some(row.node.name.as_str()), row.hostname.as_deref()];
                Some(&row.node.name) == joined_as.as_ref()
                    || names
                        .into_iter()
                        .flatten()
                        .any(|name| Hostname::new(name) == hostname)
            };
            let rows = state.nodes();
            let known = rows.iter().filter(named);
            let same = known
                .map(|row| (row.uid(), row.node.ready))
                .eq(seen.iter().cloned());
            let knows = || state.stale(brakes::FRESH).is_none();
            let paused = || brakes::paused(&state, &group).is_some();
            planted::is(Bug::SendAnyway) || (same && knows() && !paused())
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
        ErrorClass::RateLimited { .. } | ErrorClass::Transient
            if planted::is(Bug::GiveUpAtOnce) =>
        {
            lasting(FailureReason::VPSieAPIError)
        }
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
