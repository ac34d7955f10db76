//! The VPSieNode as the planner's record, and back.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use api::{
    CreationRecord, NodeGroup, NodeResources, RemovalRecord, VPSieNode, VPSieNodeStatus,
    conditions::{self, ConditionStatus, seconds, vpsie_node as types},
    labels,
};
use cloud::{OpenOperation, RequestState, Scope};
use jiff::Timestamp;
use model::{
    ClusterId, GroupKey, Hostname, InstanceId, InstancePhase, NodeName, OperationId, PoolId, Role,
};
use planner::lifecycle::{
    Creation, CreationState, Failure, FailureReason, Machine, NodeView, Observation, Phase, Record,
    Removal, RemovalCause, RemovalStep, Situation, Transition,
};
use serde_json::{Value, json};

use crate::controllers::groups::Defaults;

/// The group an object belongs to.
pub(super) fn group_key(object: &VPSieNode) -> GroupKey {
    GroupKey::new(
        object.metadata.namespace.as_deref().unwrap_or_default(),
        &object.spec.node_group_name,
    )
}

/// Where its machine lives.
#[must_use]
pub fn scope_of(object: &VPSieNode, defaults: &Defaults) -> Option<Scope> {
    object
        .spec
        .resource_identifier
        .as_deref()
        .filter(|id| !id.is_empty())
        .map(ClusterId::new)
        .or_else(|| defaults.cluster.clone())
        .map(Scope::Cluster)
}

/// The change that adds our finalizer, where it is missing.
pub(super) fn missing_finalizer(object: &VPSieNode) -> Option<Value> {
    let mut finalizers = object.metadata.finalizers.clone().unwrap_or_default();
    if object.metadata.deletion_timestamp.is_some()
        || finalizers.iter().any(|f| f == labels::VPSIE_NODE_FINALIZER)
    {
        return None;
    }
    finalizers.push(labels::VPSIE_NODE_FINALIZER.into());
    Some(json!({ "metadata": { "finalizers": finalizers } }))
}

/// The change that takes our finalizer away.
pub(super) fn without_finalizer(object: &VPSieNode) -> Value {
    let finalizers: Vec<&String> = object
        .metadata
        .finalizers
        .iter()
        .flatten()
        .filter(|finalizer| *finalizer != labels::VPSIE_NODE_FINALIZER)
        .collect();
    json!({ "metadata": { "finalizers": finalizers } })
}

/// What a create request says besides the size (plain machines).
pub(super) fn settings(group: &NodeGroup) -> BTreeMap<String, String> {
    let mut settings = BTreeMap::new();
    let mut set = |key: &str, value: Option<String>| {
        if let Some(value) = value {
            settings.insert(key.to_owned(), value);
        }
    };
    let spec = &group.spec;
    set("osImageID", spec.os_image_id.clone());
    set("project", spec.project.clone());
    set(
        "sshKeyIDs",
        spec.ssh_key_ids.as_ref().map(|ids| ids.join(",")),
    );
    set("tags", spec.tags.as_ref().map(|tags| tags.join(",")));
    set("notes", spec.notes.clone());
    settings
}

fn time(text: Option<&String>) -> Option<Timestamp> {
    text.and_then(|text| text.parse().ok())
}

fn non_empty(text: Option<&String>) -> Option<&str> {
    text.map(String::as_str).filter(|text| !text.is_empty())
}

/// Reads the record.
#[must_use]
pub fn read(object: &VPSieNode) -> Record {
    let status = object.status.clone().unwrap_or_default();
    let created = object.metadata.creation_timestamp.as_ref().map(|t| t.0);
    let machine = non_empty(object.spec.vpsie_node_identifier.as_ref()).map(|id| Machine {
        instance: InstanceId::new(id),
        hostname: Hostname::new(hostname(object).unwrap_or_default()),
    });
    let phase = phase(&status.phase);
    let failure = (phase == Phase::Failed).then(|| failure(&status));
    // The predecessor told it by the condition alone.
    let failed_at = (phase == Phase::Failed).then(|| {
        time(status.failed_at.as_ref())
            .or_else(|| time(error_condition(&status)?.last_transition_time.as_ref()))
            .or(created)
            .unwrap_or(Timestamp::UNIX_EPOCH)
    });
    Record {
        phase,
        deletion_requested: object.metadata.deletion_timestamp.is_some(),
        creation: creation(object, &status, created),
        machine,
        node: non_empty(status.node_name.as_ref()).map(NodeName::new),
        removal: status.removal.as_ref().and_then(removal),
        failure,
        created_at: created,
        provisioning_at: time(status.created_at.as_ref()),
        provisioned_at: time(status.provisioned_at.as_ref()),
        joined_at: time(status.joined_at.as_ref()),
        ready_at: time(status.ready_at.as_ref()),
        terminating_at: time(status.terminating_at.as_ref()),
        deleted_at: time(status.deleted_at.as_ref()),
        failed_at,
        unhealthy_since: time(status.unhealthy_since.as_ref()),
        unhealthy: error_condition(&status)
            .is_some_and(|condition| condition.reason.as_deref() == Some(NODE_UNHEALTHY)),
    }
}

/// The condition reason of a node that does not count as serving any more.
const NODE_UNHEALTHY: &str = "NodeUnhealthy";

/// The host name of its machine: where that was not recorded, its Node's name.
fn hostname(object: &VPSieNode) -> Option<&str> {
    let status = object.status.as_ref();
    non_empty(status.and_then(|status| status.hostname.as_ref()))
        .or_else(|| non_empty(object.spec.node_name.as_ref()))
        .or_else(|| non_empty(status.and_then(|status| status.node_name.as_ref())))
}

/// The machine of an object that names it by its host name alone, as the predecessor's do where
/// the cloud told it nothing else. It is the one worker of that name, if nobody else owns it.
#[must_use]
pub(super) fn named_instance<'a>(
    object: &VPSieNode,
    owned: &BTreeSet<InstanceId>,
    latest: &'a model::Observation,
) -> Option<&'a InstanceId> {
    if non_empty(object.spec.vpsie_node_identifier.as_ref()).is_some() {
        return None;
    }
    let name = Hostname::new(hostname(object)?);
    let mut of_that_name = latest.instances.iter().filter(|one| one.hostname == name);
    let (one, None) = (of_that_name.next()?, of_that_name.next()) else {
        return None;
    };
    (one.role == Role::Worker && !owned.contains(&one.id)).then_some(&one.id)
}

fn phase(name: &str) -> Phase {
    Phase::ALL
        .into_iter()
        .find(|phase| phase.name() == name)
        .unwrap_or(Phase::Pending)
}

fn error_condition(status: &VPSieNodeStatus) -> Option<&api::Condition> {
    status.conditions.iter().flatten().find(|condition| {
        condition.type_ == types::ERROR && condition.status == ConditionStatus::True
    })
}

fn failure(status: &VPSieNodeStatus) -> Failure {
    let reason = error_condition(status).and_then(|condition| condition.reason.clone());
    Failure {
        reason: FailureReason::ALL
            .into_iter()
            .find(|known| Some(known.name()) == reason.as_deref())
            .unwrap_or(FailureReason::VPSieAPIError),
        message: status.last_error.clone().unwrap_or_default(),
    }
}

/// A create of the predecessor left only an annotation: whether it took effect is unknown, and
/// which machines were there before is not recorded either, so nothing is ever adopted for it.
fn creation(
    object: &VPSieNode,
    status: &VPSieNodeStatus,
    created: Option<Timestamp>,
) -> Option<Creation> {
    let Some(stored) = &status.creation else {
        let annotated = object
            .metadata
            .annotations
            .as_ref()
            .is_some_and(|all| all.contains_key(labels::CREATION_REQUESTED));
        return annotated.then(|| Creation {
            attempt: 1,
            state: CreationState::Unknown,
            requested_at: time(status.created_at.as_ref())
                .or(created)
                .unwrap_or(Timestamp::UNIX_EPOCH),
            pool: PoolId(object.spec.vpsie_group_id.unwrap_or_default()),
            baseline: BTreeSet::new(),
            message: "asked for by an earlier version".into(),
        });
    };
    Some(Creation {
        attempt: u32::try_from(stored.attempt).unwrap_or(1),
        state: match stored.state.as_str() {
            "Intended" => CreationState::Intended,
            "Accepted" => CreationState::Accepted,
            "Rejected" => CreationState::Rejected,
            _ => CreationState::Unknown,
        },
        requested_at: stored
            .requested_at
            .parse()
            .unwrap_or_else(|_| created.unwrap_or(Timestamp::UNIX_EPOCH)),
        pool: PoolId(stored.pool_id),
        baseline: stored.baseline.iter().map(InstanceId::new).collect(),
        message: stored.message.clone().unwrap_or_default(),
    })
}

fn removal(stored: &RemovalRecord) -> Option<Removal> {
    let cause = RemovalCause::ALL
        .into_iter()
        .find(|cause| cause.name() == stored.cause)?;
    let step = RemovalStep::ALL
        .into_iter()
        .find(|step| step.name() == stored.step)?;
    Some(Removal {
        cause,
        step,
        started_at: stored.started_at.parse().ok()?,
        step_at: stored.step_at.parse().ok()?,
        sent: stored.sent,
        forced_at: time(stored.forced_at.as_ref()),
        message: stored.message.clone().unwrap_or_default(),
    })
}

/// The removal as the status has it.
pub(crate) fn removal_status(removal: &Removal, epoch: u64) -> RemovalRecord {
    RemovalRecord {
        cause: removal.cause.name().into(),
        step: removal.step.name().into(),
        started_at: removal.started_at.to_string(),
        step_at: removal.step_at.to_string(),
        sent: removal.sent,
        forced_at: removal.forced_at.map(|at| at.to_string()),
        epoch: i64::try_from(epoch).unwrap_or_default(),
        message: Some(removal.message.clone()).filter(|message| !message.is_empty()),
    }
}

/// The status that says what a step decided. Fields the step does not speak of stay as they are.
pub(super) fn status(
    object: &VPSieNode,
    before: &Record,
    transition: &Transition,
    observed: &Observation,
    now: Timestamp,
    epoch: u64,
) -> VPSieNodeStatus {
    let record = &transition.record;
    let mut status = object.status.clone().unwrap_or_default();
    record.phase.name().clone_into(&mut status.phase);
    if let Some(node) = &record.node {
        status.node_name = Some(node.to_string());
    }
    let stamp = |slot: &mut Option<String>, at: Option<Timestamp>| {
        if slot.is_none() {
            *slot = at.map(seconds);
        }
    };
    stamp(&mut status.created_at, record.provisioning_at);
    stamp(&mut status.provisioned_at, record.provisioned_at);
    stamp(&mut status.joined_at, record.joined_at);
    stamp(&mut status.ready_at, record.ready_at);
    stamp(&mut status.terminating_at, record.terminating_at);
    stamp(&mut status.deleted_at, record.deleted_at);
    stamp(&mut status.failed_at, record.failed_at);
    if before.unhealthy_since != record.unhealthy_since {
        status.unhealthy_since = record.unhealthy_since.map(seconds);
    }
    if before.creation != record.creation {
        status.creation = record.creation.as_ref().map(|creation| CreationRecord {
            attempt: i32::try_from(creation.attempt).unwrap_or(i32::MAX),
            state: format!("{:?}", creation.state),
            requested_at: creation.requested_at.to_string(),
            pool_id: creation.pool.0,
            baseline: creation.baseline.iter().map(ToString::to_string).collect(),
            epoch: i64::try_from(epoch).unwrap_or_default(),
            message: Some(creation.message.clone()).filter(|message| !message.is_empty()),
        });
    }
    if before.removal != record.removal {
        status.removal = record
            .removal
            .as_ref()
            .map(|removal| removal_status(removal, epoch));
        if record.removal.is_none() {
            status.unneeded_since = None;
        }
    }
    if let Some(instance) = super::listed(&observed.cloud) {
        // The host name is a guard of the delete: once recorded it is not replaced by another.
        if status.hostname.is_none() {
            status.hostname = Some(instance.hostname.to_string());
        }
        status.vpsie_status = Some(
            match instance.phase {
                InstancePhase::Queued => "queued",
                InstancePhase::Creating => "creating",
                InstancePhase::Running => "running",
                InstancePhase::Stopped => "stopped",
                InstancePhase::Deleting => "deleting",
            }
            .into(),
        );
        if let Some((cpus, memory)) = instance.shape {
            let resources = status.resources.get_or_insert_with(NodeResources::default);
            resources.cpu = Some(i64::from(cpus));
            resources.memory_mb = i64::try_from(memory).ok();
        }
    }
    status.last_error = record
        .failure
        .as_ref()
        .map(|failure| failure.message.clone())
        .or(status.last_error);
    set_conditions(&mut status, record, transition, observed, now);
    status.observed_generation = object.metadata.generation;
    status
}

fn set_conditions(
    status: &mut VPSieNodeStatus,
    record: &Record,
    transition: &Transition,
    observed: &Observation,
    now: Timestamp,
) {
    let mut all = status.conditions.take().unwrap_or_default();
    let mut set = |type_: &str, holds: bool, reason: &str, message: &str| {
        conditions::set_condition(&mut all, type_, holds.into(), reason, message, now);
    };
    let runs = super::listed(&observed.cloud).map_or(
        record.provisioned_at.is_some() && record.deleted_at.is_none(),
        |instance| instance.phase == InstancePhase::Running,
    );
    set(
        types::VPS_READY,
        runs,
        if runs { "Provisioned" } else { "Provisioning" },
        "",
    );
    set(
        types::NODE_JOINED,
        record.joined_at.is_some(),
        if record.joined_at.is_some() {
            "Joined"
        } else {
            "Joining"
        },
        "",
    );
    let ready = matches!(&observed.node, NodeView::Present(node) if node.ready);
    set(
        types::NODE_READY,
        ready,
        if ready { "Ready" } else { "NotReady" },
        "",
    );
    let (wrong, reason, message) = trouble(record, transition, observed);
    set(types::ERROR, wrong, reason, &message);
    status.conditions = Some(all);
}

/// What is wrong with a node in service, and what its replacement waits for.
fn unhealthy(what: &str, observed: &Observation) -> String {
    let hold = observed.hold.as_ref().map(|hold| &hold.why);
    match hold.or(observed.replace_later.as_ref()) {
        Some(why) => format!("{what}; it is not removed yet: {why}"),
        None => what.to_owned(),
    }
}

/// What is wrong, if anything; the same names as in Events.
fn trouble(
    record: &Record,
    transition: &Transition,
    observed: &Observation,
) -> (bool, &'static str, String) {
    if let Some(failure) = &record.failure {
        return (true, failure.reason.name(), failure.message.clone());
    }
    match &transition.situation {
        Situation::Ambiguous(count) => (
            true,
            FailureReason::AmbiguousCreate.name(),
            format!(
                "{count} machines appeared that cannot be told from others or fit no request; none is adopted"
            ),
        ),
        Situation::NodeConflict(detail) => (true, "NodeConflict", detail.clone()),
        Situation::NodeUnhealthy(what) => (true, NODE_UNHEALTHY, unhealthy(what, observed)),
        Situation::NodeMissing => (true, "NodeMissing", "the Node object is gone".into()),
        Situation::MachineUnlisted => (
            true,
            "MachineUnlisted",
            "the cloud does not list the machine, whose Node is Ready; it is kept".into(),
        ),
        Situation::GroupUnusable => (
            true,
            FailureReason::GroupUnusable.name(),
            "its group does not offer its size, or cannot be used".into(),
        ),
        Situation::BackingOff(until) => (true, "BackingOff", format!("not before {until}")),
        Situation::PoolBlocked => (
            true,
            "PoolBlocked",
            "another request to the node group of the cloud has no answer yet".into(),
        ),
        _ => match record
            .creation
            .as_ref()
            .map(|creation| (creation.state, &creation.message))
        {
            Some((CreationState::Rejected, message)) if record.machine.is_none() => {
                (true, "VPSieAPIError", message.clone())
            }
            Some((CreationState::Unknown, message)) if record.machine.is_none() => {
                (true, "AnswerLost", message.clone())
            }
            _ => (false, "", String::new()),
        },
    }
}

/// The create requests of one scope that have no machine yet.
#[must_use]
pub fn open_operations(
    objects: &[Arc<VPSieNode>],
    scope: &Scope,
    defaults: &Defaults,
    shape: impl Fn(&VPSieNode) -> Option<(u32, u64)>,
) -> Vec<OpenOperation> {
    objects
        .iter()
        .filter(|object| scope_of(object, defaults).as_ref() == Some(scope))
        .filter_map(|object| {
            let record = read(object);
            if !record.has_open_request() {
                return None;
            }
            // Without a baseline nothing can be told apart: such a request adopts nothing.
            object.status.as_ref()?.creation.as_ref()?;
            let wanted = record.is_wanted();
            let creation = record.creation?;
            Some(OpenOperation {
                wanted,
                id: OperationId::new(object.metadata.uid.as_deref()?),
                state: match creation.state {
                    CreationState::Accepted => RequestState::Accepted,
                    _ => RequestState::Unknown,
                },
                baseline: creation.baseline,
                requested_at: creation.requested_at,
                shape: shape(object),
                instance: None,
            })
        })
        .collect()
}

/// The machines that belong to an object.
#[must_use]
pub fn owned_instances(objects: &[Arc<VPSieNode>]) -> BTreeSet<InstanceId> {
    objects
        .iter()
        .filter_map(|object| non_empty(object.spec.vpsie_node_identifier.as_ref()))
        .map(InstanceId::new)
        .collect()
}
/// The change of the spec that records whose machine it is.
pub(super) fn identity(
    instance: &InstanceId,
    numeric: Option<i64>,
    address: Option<&str>,
) -> Value {
    let mut spec = json!({ "vpsieNodeIdentifier": instance.as_str() });
    if let Some(numeric) = numeric {
        spec["vpsieInstanceID"] = json!(numeric);
    }
    if let Some(address) = address {
        spec["ipAddress"] = json!(address);
    }
    json!({ "spec": spec })
}
