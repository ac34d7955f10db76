//! Gathering what one step may look at: the index, the latest observation of the cloud, and, for
//! steps that destroy something, reads made for them alone.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use api::VPSieNode;
use cloud::{NodeFacts, NodeMatch, Scope, Windows, match_node};
use jiff::Timestamp;
use model::{
    Hostname, Instance, InstancePhase, NodeName, OperationId, Pod, PodRole, Resolution, Role,
};
use planner::{
    lifecycle::{
        CloudView, CreateView, CreationState, GroupRoom, MachineView, NodeState, NodeView,
        Observation, PoolView, Record, Resident,
    },
    removal,
};
use planted::Bug;

use super::{metadata, record};
use crate::{
    cluster_state::NodeRow,
    context::Context,
    controllers::{
        brakes,
        groups::{self, Group},
        scale_down, scale_up,
    },
    effects::Error,
};

pub(super) async fn observe(
    ctx: &Context,
    object: &Arc<VPSieNode>,
    before: &Record,
    group: Option<&Group>,
) -> Result<Observation, Error> {
    let scope = record::scope_of(object, &ctx.defaults());
    let cloud = scope.as_ref().map_or(CloudView::Unseen, |scope| {
        cloud_view(ctx, object, before, scope)
    });
    let node = node_view(ctx, object, before, group, &cloud).await?;
    Ok(Observation {
        create: create_view(ctx, object, before, group, scope.as_ref()),
        keep: keep(ctx, object, before),
        hold: may_destroy(before)
            .then(|| brakes::hold(ctx, &record::group_key(object)))
            .flatten(),
        replace_later: brakes::replace_later(ctx, object, before, group),
        force_after: brakes::force_after(ctx, object),
        cloud,
        node,
    })
}

/// What speaks against a voluntary removal besides the node's pods.
fn keep(ctx: &Context, object: &VPSieNode, before: &Record) -> Option<String> {
    let removal = before.removal.as_ref()?;
    let settled = !removal.cause.is_voluntary() || removal.step.is_final();
    if settled || planted::is(Bug::SkipRecheck) {
        return None;
    }
    scale_down::still_removable(ctx, object)
}

/// Something of it could be destroyed in one of the next steps: what holds that has to be known.
fn may_destroy(before: &Record) -> bool {
    before.removal.is_some() || !before.is_wanted() || before.unhealthy_since.is_some()
}

fn create_view(
    ctx: &Context,
    object: &VPSieNode,
    before: &Record,
    group: Option<&Group>,
    scope: Option<&Scope>,
) -> CreateView {
    // Only a record that may still ask needs this; the rest of it costs a look at every other one.
    if before.machine.is_some() || !before.phase.is_in_flight() {
        return CreateView {
            group_usable: false,
            room: GroupRoom::Enough,
            pool: PoolView::Missing,
            blocked: false,
            backoff_until: None,
            baseline: BTreeSet::new(),
            baseline_at: None,
        };
    }
    let latest = scope.and_then(|scope| ctx.cloud.latest(scope));
    let offering = group.and_then(|group| group.offering(&object.spec.instance_type));
    let pool = match (scope, offering) {
        (Some(scope), Some(offering)) => ctx.pool_of(scope, &offering.size),
        _ => None,
    };
    let blocked = pool.as_ref().is_some_and(|pool| {
        let objects = ctx.state.vpsie_nodes();
        let doubtful: Vec<_> = objects
            .iter()
            .filter(|other| other.metadata.uid != object.metadata.uid)
            .filter(|other| {
                let other = record::read(other);
                // Once its time is over, what appears is told apart by that.
                other.awaits_a_machine(ctx.clock.now(), ctx.options.lifecycle.settle)
                    && other.creation.is_some_and(|creation| {
                        creation.pool == pool.id && creation.state == CreationState::Unknown
                    })
            })
            .collect();
        if doubtful.is_empty() {
            return false;
        }
        // A request proven to have had no effect is in nobody's way: else two of them, as a leader
        // leaves them that dies at the wrong moment, would wait for each other.
        let resolutions = match (scope, &latest) {
            (Some(scope), Some(latest)) => resolutions(ctx, scope, latest),
            _ => BTreeMap::new(),
        };
        doubtful
            .iter()
            .any(|other| resolutions.get(&operation(other)) != Some(&Resolution::ProvenAbsent))
    });
    let waiting_until = before
        .creation
        .as_ref()
        .filter(|creation| creation.state == CreationState::Rejected)
        .and_then(|creation| {
            let wait = Duration::from_secs(30);
            creation.requested_at.checked_add(wait).ok()
        });
    let backoff = group.and_then(|group| {
        scale_up::backoff(ctx, group, &object.spec.instance_type).map(|(until, _)| until)
    });
    CreateView {
        group_usable: group.is_some_and(Group::usable) && offering.is_some(),
        room: group.map_or(GroupRoom::Enough, |group| room(ctx, object, group)),
        pool: pool.map_or(PoolView::Missing, |pool| PoolView::Ready(pool.id)),
        blocked,
        backoff_until: waiting_until.max(backoff),
        baseline: latest
            .as_ref()
            .map(|latest| latest.ids())
            .unwrap_or_default(),
        baseline_at: latest.map(|latest| latest.started_at),
    }
}

/// Whether the group has more records than it may have machines, as when its maximum was lowered in
/// the middle of a growth, and whether this one is among those too many: of those that have no
/// machine the youngest are, first those that asked for none.
fn room(ctx: &Context, object: &VPSieNode, group: &Group) -> GroupRoom {
    let most = usize::try_from(group.object.spec.max_nodes).unwrap_or(0);
    let objects = ctx.state.vpsie_nodes();
    let same = objects.iter().filter(|one| groups::has(&group.key, one));
    if same.clone().count() <= most {
        return GroupRoom::Enough;
    }
    let rank = |one: &VPSieNode, record: &Record| {
        let meta = &one.metadata;
        (
            record.machine.is_none(),
            !record.has_open_request(),
            meta.creation_timestamp.as_ref().map(|at| at.0),
            meta.name.clone(),
        )
    };
    let claims = |one: &Arc<VPSieNode>| {
        let record = record::read(one);
        record.may_be_billed().then(|| rank(one, &record))
    };
    let mut ranks: Vec<_> = same.filter_map(claims).collect();
    ranks.sort_unstable();
    let own = rank(object, &record::read(object));
    match ranks.binary_search(&own) {
        _ if ranks.len() <= most => GroupRoom::Enough,
        Ok(before) | Err(before) if before < most => GroupRoom::Overfull,
        _ => GroupRoom::Surplus,
    }
}

fn cloud_view(ctx: &Context, object: &VPSieNode, before: &Record, scope: &Scope) -> CloudView {
    let Some(latest) = ctx.cloud.latest(scope) else {
        return CloudView::Unseen;
    };
    let resolution = named(ctx, object, before, &latest).or_else(|| {
        before
            .has_open_request()
            .then(|| resolutions(ctx, scope, &latest).remove(&operation(object)))
            .flatten()
    });
    let machine = match &before.machine {
        None => MachineView::NotBound,
        Some(machine) => match latest.instance(&machine.instance) {
            Some(instance) => MachineView::Listed(instance.clone()),
            None => match ctx.cloud.missing(scope, &machine.instance) {
                Some((since, sightings)) => MachineView::Missing { since, sightings },
                None => MachineView::Missing {
                    since: Duration::ZERO,
                    sightings: 0,
                },
            },
        },
    };
    CloudView::Seen {
        started_at: latest.started_at,
        resolution,
        machine,
    }
}

/// What the object itself says of a machine whose identity it does not have.
fn named(
    ctx: &Context,
    object: &VPSieNode,
    before: &Record,
    latest: &model::Observation,
) -> Option<Resolution> {
    if before.machine.is_some() {
        return None;
    }
    let owned = record::owned_instances(&ctx.state.vpsie_nodes());
    let instance = record::named_instance(object, &owned, latest)?;
    Some(Resolution::Found(instance.clone()))
}

/// What is known of the open requests of one scope.
fn resolutions(
    ctx: &Context,
    scope: &Scope,
    latest: &model::Observation,
) -> BTreeMap<OperationId, Resolution> {
    let objects = ctx.state.vpsie_nodes();
    let shape = |object: &VPSieNode| {
        let offering = ctx
            .group(&record::group_key(object))?
            .offering(&object.spec.instance_type)?
            .clone();
        Some((offering.cpus, offering.memory_mib))
    };
    let operations = record::open_operations(&objects, scope, &ctx.defaults(), shape);
    let owned = record::owned_instances(&objects);
    cloud::resolve(
        &operations,
        &owned,
        latest,
        ctx.clock.now(),
        &Windows {
            quarantine: ctx.options.lifecycle.quarantine,
            settle: ctx.options.lifecycle.settle,
            watched_since: ctx.since,
        },
    )
}

/// The request of an object, as it is told apart from others.
fn operation(object: &VPSieNode) -> OperationId {
    OperationId::new(object.metadata.uid.as_deref().unwrap_or_default())
}

/// The Node of the record: the one it joined as, else the one that matches its machine.
async fn node_view(
    ctx: &Context,
    object: &VPSieNode,
    before: &Record,
    group: Option<&Group>,
    cloud: &CloudView,
) -> Result<NodeView, Error> {
    let fresh = removal::wants_fresh_facts(before);
    let found = match ours(ctx, object, before) {
        Some(name) => Some(name),
        None => match matched(ctx, before, cloud) {
            NodeMatch::Conflict { detail, .. } => return Ok(NodeView::Conflict(detail)),
            NodeMatch::Matched(name) => Some(name),
            NodeMatch::None => None,
        },
    };
    // A machine that joined under a name is looked for under that name; one that did not, under
    // the name it would join as.
    let name = found.or_else(|| before.node.clone()).or_else(|| {
        before
            .machine
            .as_ref()
            .filter(|machine| !machine.hostname.as_str().is_empty())
            .map(|machine| NodeName::new(machine.hostname.as_str()))
    });
    let Some(name) = name else {
        return Ok(NodeView::Absent { fresh });
    };
    let row = if fresh {
        ctx.fresh_node(&name).await?.map(Arc::new)
    } else {
        ctx.state.node(&name)
    };
    let Some(row) = row else {
        return Ok(NodeView::Absent { fresh });
    };
    if row.control_plane {
        return Ok(NodeView::Conflict(format!(
            "node {name} belongs to the control plane"
        )));
    }
    let owner = row.label(api::labels::VPSIE_NODE);
    if owner.is_some_and(|owner| Some(owner) != object.metadata.name.as_deref()) {
        return Ok(NodeView::Conflict(format!(
            "node {name} belongs to VPSieNode {}",
            owner.unwrap_or_default()
        )));
    }
    let pods = if fresh {
        ctx.fresh_pods(&name).await?
    } else {
        ctx.state
            .pods_on(&name)
            .iter()
            .map(|pod| pod.as_ref().clone())
            .collect()
    };
    let now = ctx.clock.now();
    let fresh = fresh && (!rests_on_places(before) || knows_all(ctx, &name, &pods));
    Ok(NodeView::Present(state(
        ctx, &row, object, group, &pods, fresh, now,
    )))
}

/// The removal rests on a place for each pod of the node.
fn rests_on_places(before: &Record) -> bool {
    let removal = before.removal.as_ref();
    removal.is_some_and(|removal| removal.cause.is_voluntary() && !removal.step.is_final())
        && !planted::is(Bug::SkipRecheck)
}

/// The index has every one of these pods. One that it lacks was not counted with when places were
/// looked for: it is waited for.
fn knows_all(ctx: &Context, node: &NodeName, pods: &[Pod]) -> bool {
    let known = ctx.state.pods_on(node);
    let mut ordinary = pods.iter().filter(|pod| pod.role == PodRole::Ordinary);
    ordinary.all(|pod| known.iter().any(|one| one.uid == pod.uid))
}

/// The Node the record joined as, where it carries our mark: matched once, it is not guessed again.
fn ours(ctx: &Context, object: &VPSieNode, before: &Record) -> Option<NodeName> {
    let name = before.node.clone()?;
    let row = ctx.state.node(&name)?;
    (row.label(api::labels::VPSIE_NODE) == object.metadata.name.as_deref()).then_some(name)
}

fn matched(ctx: &Context, before: &Record, cloud: &CloudView) -> NodeMatch {
    let Some(machine) = &before.machine else {
        return NodeMatch::None;
    };
    let instance = match cloud {
        CloudView::Seen {
            machine: MachineView::Listed(instance),
            ..
        } => instance.clone(),
        // Not listed (any more): its recorded name still says which Node is its.
        _ if !machine.hostname.as_str().is_empty() => Instance {
            id: machine.instance.clone(),
            numeric_id: None,
            hostname: machine.hostname.clone(),
            addresses: Vec::new(),
            role: Role::Worker,
            phase: InstancePhase::Running,
            pool: None,
            shape: None,
            created_at: None,
        },
        _ => return NodeMatch::None,
    };
    let wanted = &instance.hostname;
    let facts: Vec<NodeFacts> = ctx
        .state
        .nodes()
        .iter()
        .filter(|row| {
            Hostname::new(row.node.name.as_str()) == *wanted
                || row
                    .hostname
                    .as_ref()
                    .is_some_and(|name| Hostname::new(name) == *wanted)
        })
        .map(|row| NodeFacts {
            name: row.node.name.clone(),
            hostname_label: row.hostname.as_ref().map(ToString::to_string),
            addresses: row.addresses.iter().map(ToString::to_string).collect(),
            provider_id: row.provider_id.as_ref().map(ToString::to_string),
            control_plane: row.control_plane,
        })
        .collect();
    match_node(&instance, &facts)
}

fn state(
    ctx: &Context,
    row: &NodeRow,
    object: &VPSieNode,
    group: Option<&Group>,
    pods: &[Pod],
    fresh: bool,
    now: Timestamp,
) -> NodeState {
    let startup_taints_applied =
        row.annotation(api::labels::STARTUP_TAINTS_APPLIED) == Some("true");
    // Without its group nothing is known of what should be on the node: what is there stays.
    let metadata_applied = group.is_none_or(|group| {
        let wanted = metadata::wanted(group, object);
        metadata::change(
            &wanted,
            &metadata::Present::of(row),
            !startup_taints_applied,
        )
        .is_none()
    });
    let ordinary = || pods.iter().filter(|pod| pod.role == PodRole::Ordinary);
    NodeState {
        name: row.node.name.clone(),
        uid: row.uid(),
        ready: row.node.ready,
        metadata_applied,
        startup_taints_applied,
        cordon: metadata::cordon_of(row),
        pods: ordinary()
            .map(|pod| Resident {
                key: pod.key.clone(),
                uid: pod.uid.clone(),
                priority: pod.class.priority,
                terminating: pod.terminating.is_some(),
                overdue: pod.terminating.is_some_and(|due| is_overdue(due, now)),
            })
            .collect(),
        ready_since: row.ready_since,
        starting: group.map_or_else(Vec::new, |group| {
            scale_down::facts::startup_taints(row, &group.object.spec)
        }),
        attached: attached(ctx, row, pods),
        fresh,
    }
}

/// A pod that should have ended this long ago is not being ended by anybody.
const OVERDUE: Duration = Duration::from_secs(30);

fn is_overdue(due: Timestamp, now: Timestamp) -> bool {
    due.saturating_add(OVERDUE).is_ok_and(|due| due <= now)
}

/// What is attached to the node and used by no pod that stays with it, as `driver handle`.
fn attached(ctx: &Context, row: &NodeRow, pods: &[Pod]) -> Vec<String> {
    let surroundings = ctx.state.surroundings();
    let storage = &surroundings.storage;
    let Some(attached) = storage.attached.get(&row.node.name) else {
        return Vec::new();
    };
    let staying: BTreeSet<_> = pods
        .iter()
        .filter(|pod| pod.role != PodRole::Ordinary)
        .flat_map(|pod| (pod.class.claims.iter()).map(move |claim| (pod, claim)))
        .filter_map(|(pod, claim)| storage.claim(&pod.class.namespace, &claim.name))
        .filter_map(|claim| storage.volumes.get(claim.volume.as_ref()?)?.handle.as_ref())
        .map(|handle| &handle.handle)
        .collect();
    (attached.iter())
        .filter(|volume| !staying.contains(&volume.handle))
        .map(|volume| format!("{} {}", volume.driver, volume.handle))
        .collect()
}
