//! Workers that no VPSieNode owns: people are told of them, and what is proven ours gets its
//! VPSieNode again ([`adopt`]); and the stop of all removals when a deletion took another machine
//! than the one it named ([`stop`]).
//!
//! What each worker is, and who vanished, `planner::collect` decides from complete observations.
//! Nothing is destroyed here: an orphan goes, if at all, the way of every other machine.

mod adopt;
mod stop;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use api::{VPSieNode, labels};
use cloud::{NodeFacts, NodeMatch, Scope, match_node};
use model::{GroupKey, Hostname, Instance, InstanceId, Observation};
use planner::collect::{self, GroupState, Input, Mark, OpenRequest, Owner, Roll, Verdict};

use super::{
    groups::Group,
    vpsie_node::{read_record, scope_of},
};
use crate::{
    cluster_state::{NodeRow, Versions},
    context::Context,
    effects::{Effects, Error},
    events::About,
    pulse::Beat,
};

/// Without any change everything is looked at again after this long.
const RESYNC: Duration = Duration::from_mins(10);
/// Changes that come together are looked at together.
const DEBOUNCE: Duration = Duration::from_millis(200);
/// So many machines are named in a condition.
const NAMED: usize = 5;

/// The workers of one scope without an owner, as the condition of its groups tells it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Unowned {
    /// What the worst of them is: the reason of its Event.
    pub reason: &'static str,
    /// Who they are.
    pub message: String,
}

/// What one term remembers.
#[derive(Default)]
struct Memory {
    /// Which Event each worker had.
    told: BTreeMap<Scope, BTreeMap<InstanceId, &'static str>>,
    watches: BTreeMap<Scope, stop::Watch>,
    counted: BTreeSet<Scope>,
}

/// What one pass over one scope looks at.
struct View<'a> {
    ctx: &'a Context,
    effects: &'a Effects,
    scope: &'a Scope,
    /// Its managed groups.
    groups: Vec<&'a Group>,
    /// Every VPSieNode, of every scope.
    objects: &'a [Arc<VPSieNode>],
    observation: Arc<Observation>,
    roll: Arc<Roll>,
}

/// Runs until dropped.
pub async fn run(ctx: &Context, effects: &Effects, beat: &Beat) {
    let mut changes = ctx.state.changes();
    let mut cloud_changes = ctx.cloud.changes();
    let mut memory = Memory::default();
    loop {
        let seen = relevant(&changes.borrow_and_update());
        cloud_changes.borrow_and_update();
        let begun = ctx.clock.monotonic();
        let outcome = once(ctx, effects, &mut memory, beat).await;
        let took = ctx.clock.monotonic().saturating_sub(begun);
        let wait = match outcome {
            Ok(()) => {
                ctx.metrics.reconciled("collector", took, None);
                RESYNC
            }
            Err(error) => {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "what was found could not be written and is looked at again"
                );
                ctx.metrics.reconciled("collector", took, Some("write"));
                error.retry_after()
            }
        };
        let until = ctx.clock.monotonic() + wait;
        beat.waiting(async {
            loop {
                tokio::select! {
                    biased;
                    Ok(()) = cloud_changes.changed() => {}
                    Ok(()) = changes.changed() => {
                        if relevant(&changes.borrow_and_update()) == seen {
                            continue;
                        }
                    }
                    () = ctx.clock.sleep_until(until) => {}
                }
                break;
            }
        })
        .await;
        ctx.clock.sleep(DEBOUNCE).await;
    }
}

/// What of the cluster anything here rests on.
fn relevant(versions: &Versions) -> (u64, u64, u64, u64) {
    (
        versions.nodes,
        versions.node_groups,
        versions.vpsie_nodes,
        versions.paused,
    )
}

/// One pass over every scope. What could not be written for one does not keep the others.
async fn once(
    ctx: &Context,
    effects: &Effects,
    memory: &mut Memory,
    beat: &Beat,
) -> Result<(), Error> {
    let groups = ctx.groups();
    let objects = ctx.state.vpsie_nodes();
    let defaults = ctx.defaults();
    let scopes: BTreeSet<Scope> = groups
        .iter()
        .filter_map(|group| group.scope.clone())
        .chain(
            objects
                .iter()
                .filter_map(|object| scope_of(object, &defaults)),
        )
        .collect();
    forget(ctx, memory, &scopes);
    let mut unowned = BTreeMap::new();
    let mut failed = None;
    for scope in &scopes {
        beat.beat();
        let Some((observation, roll)) = ctx.cloud.roll(scope) else {
            continue;
        };
        let view = View {
            ctx,
            effects,
            scope,
            groups: (groups.iter())
                .filter(|group| group.scope.as_ref() == Some(scope))
                .collect(),
            objects: &objects,
            observation,
            roll,
        };
        // The stop first: nothing else must keep it waiting.
        let watch = memory.watches.entry(scope.clone()).or_default();
        let stopped = watch.look(&view).await;
        let verdicts = view.verdicts();
        let told = memory.told.entry(scope.clone()).or_default();
        view.tell(&verdicts, told);
        unowned.insert(scope.clone(), view.described(&verdicts));
        let adopted = adopt::all(&view, &verdicts, beat).await;
        memory.counted.insert(scope.clone());
        for outcome in [stopped, adopted] {
            failed = failed.or(outcome.err());
        }
    }
    if *ctx.unowned.borrow() != unowned {
        ctx.unowned.send_replace(unowned);
    }
    failed.map_or(Ok(()), Err)
}

/// What is remembered, and exported, of scopes that are nobody's any more.
fn forget(ctx: &Context, memory: &mut Memory, scopes: &BTreeSet<Scope>) {
    memory.told.retain(|scope, _| scopes.contains(scope));
    memory.watches.retain(|scope, _| scopes.contains(scope));
    for gone in memory.counted.difference(scopes) {
        ctx.metrics.forget_scope(&text(gone), &Verdict::KINDS);
    }
    memory.counted.retain(|scope| scopes.contains(scope));
}

/// A scope as a label of metrics has it.
fn text(scope: &Scope) -> String {
    match scope {
        Scope::Cluster(cluster) => cluster.to_string(),
        Scope::Project {
            project,
            datacenter,
        } => format!("{project}.{datacenter}"),
    }
}

/// The reason of the Event that tells of it; nothing is told of what is awaited.
const fn event(verdict: &Verdict) -> Option<&'static str> {
    match verdict {
        Verdict::NotOurs(_) => Some("MachineNotOurs"),
        Verdict::Orphan(_) => Some("MachineOrphaned"),
        Verdict::Awaited(_) => None,
    }
}

impl View<'_> {
    /// What each worker without an owner is.
    fn verdicts(&self) -> BTreeMap<InstanceId, Verdict> {
        let owners = owners(self.ctx, self.objects);
        let owned: BTreeSet<&InstanceId> =
            (owners.iter().filter_map(|owner| owner.instance.as_ref())).collect();
        let unowned: BTreeMap<&str, &Instance> = (self.observation.instances.iter())
            .filter(|instance| !owned.contains(&instance.id))
            .map(|instance| (instance.id.as_str(), instance))
            .collect();
        let marks = marks(self.ctx, &unowned);
        let groups = (marks.iter())
            .filter_map(|mark| mark.group.clone())
            .filter_map(|key| Some((key.clone(), self.group_state(&key)?)))
            .collect();
        collect::judge(&Input {
            observation: &self.observation,
            roll: &self.roll,
            owners: &owners,
            marks: &marks,
            groups: &groups,
            targeted_delete: self.ctx.cloud.capabilities().targeted_delete,
        })
    }

    fn group_state(&self, key: &GroupKey) -> Option<GroupState> {
        let object = self.ctx.state.node_group(key)?;
        let group = self.ctx.group(key);
        let held = if object.metadata.deletion_timestamp.is_some() {
            Some(format!("NodeGroup {key} is being deleted"))
        } else if intake::pause(object.metadata.annotations.as_ref()).is_some() {
            Some(format!("NodeGroup {key} is paused"))
        } else if let Some(by) = self.ctx.state.cluster_paused() {
            Some(format!("everything is paused by {by}"))
        } else if group
            .as_ref()
            .is_some_and(|group| group.scope.as_ref() != Some(self.scope))
        {
            Some(format!("NodeGroup {key} is of another VPSie cluster"))
        } else {
            None
        };
        Some(GroupState {
            managed: group.is_some(),
            held,
        })
    }

    /// One Event for each worker and what it is, on its group or the first of the scope.
    fn tell(
        &self,
        verdicts: &BTreeMap<InstanceId, Verdict>,
        told: &mut BTreeMap<InstanceId, &'static str>,
    ) {
        told.retain(|id, _| verdicts.contains_key(id));
        for kind in Verdict::KINDS {
            let count = verdicts
                .values()
                .filter(|verdict| verdict.kind() == kind)
                .count();
            self.ctx.metrics.unowned(&text(self.scope), kind, count);
        }
        for (id, verdict) in verdicts {
            let Some(reason) = event(verdict).filter(|reason| told.get(id) != Some(reason)) else {
                continue;
            };
            let of_it = |group: &&&Group| matches!(verdict, Verdict::Orphan(orphan) if orphan.group == group.key);
            let Some(group) = self.groups.iter().find(of_it).or(self.groups.first()) else {
                continue;
            };
            let about = About::object(group.object.as_ref());
            let message = format!(
                "worker {} belongs to no VPSieNode: {verdict}",
                self.name(id)
            );
            match verdict {
                Verdict::Orphan(_) => self.ctx.events.warning(about, reason, message),
                _ => self.ctx.events.normal(about, reason, message),
            }
            told.insert(id.clone(), reason);
        }
    }

    /// As the condition has it: the orphans first.
    fn described(&self, verdicts: &BTreeMap<InstanceId, Verdict>) -> Option<Unowned> {
        let mut shown: Vec<_> = (verdicts.iter())
            .filter_map(|(id, verdict)| Some((event(verdict)?, id, verdict)))
            .collect();
        shown.sort_by_key(|(_, id, verdict)| (!matches!(verdict, Verdict::Orphan(_)), *id));
        let (reason, ..) = shown.first()?;
        let mut named: Vec<String> = (shown.iter().take(NAMED))
            .map(|(_, id, verdict)| format!("{} is {verdict}", self.name(id)))
            .collect();
        if shown.len() > NAMED {
            named.push(format!("and {} more", shown.len() - NAMED));
        }
        let message = format!(
            "{} workers belong to no VPSieNode: {}",
            shown.len(),
            named.join("; ")
        );
        Some(Unowned { reason, message })
    }

    /// A worker as people can find it.
    fn name(&self, id: &InstanceId) -> String {
        match self.observation.instance(id) {
            Some(instance) => format!("{} ({id})", instance.hostname),
            None => id.to_string(),
        }
    }
}

/// The VPSieNodes, as far as they may own machines.
fn owners(ctx: &Context, objects: &[Arc<VPSieNode>]) -> Vec<Owner> {
    let (now, settle) = (ctx.clock.now(), ctx.options.lifecycle.settle);
    let owner = |object: &Arc<VPSieNode>| {
        let record = read_record(object);
        let meta = &object.metadata;
        let namespace = meta.namespace.as_deref().unwrap_or_default();
        let awaits = record.awaits_a_machine(now, settle).then(|| {
            let group = ctx.group(&GroupKey::new(namespace, &object.spec.node_group_name));
            let offering = (group.as_ref())
                .and_then(|group| group.offering(&object.spec.instance_type))
                .map(|offering| (offering.cpus, offering.memory_mib));
            OpenRequest {
                baseline: (record.creation.as_ref())
                    .map(|creation| creation.baseline.clone())
                    .unwrap_or_default(),
                shape: offering,
            }
        });
        let status = object.status.as_ref();
        let hostname = [
            status.and_then(|status| status.hostname.as_ref()),
            object.spec.node_name.as_ref(),
            status.and_then(|status| status.node_name.as_ref()),
        ];
        Owner {
            record: format!("{namespace}/{}", meta.name.as_deref().unwrap_or_default()),
            instance: record.machine.map(|machine| machine.instance),
            hostname: (hostname.into_iter().flatten())
                .find(|name| !name.is_empty())
                .map(Hostname::new),
            awaits,
        }
    };
    objects.iter().map(owner).collect()
}

/// The Nodes that carry the identity of one of these machines.
fn marks(ctx: &Context, machines: &BTreeMap<&str, &Instance>) -> Vec<Mark> {
    if machines.is_empty() {
        return Vec::new();
    }
    let rows = ctx.state.nodes();
    let mark = |row: &Arc<NodeRow>| {
        let instance = machines.get(row.annotation(labels::VPS_ID)?)?;
        let label = |key| row.label(key).filter(|text| !text.is_empty());
        Some(Mark {
            node: row.node.name.clone(),
            instance: instance.id.clone(),
            managed: row.label(labels::MANAGED) == Some("true"),
            record: label(labels::VPSIE_NODE).map(ToOwned::to_owned),
            group: label(labels::NODE_GROUP_NAMESPACE)
                .zip(label(labels::NODE_GROUP))
                .map(|(namespace, name)| GroupKey::new(namespace, name)),
            offering: label(labels::OFFERING).map(ToOwned::to_owned),
            contradicted: contradiction(row, instance, &rows),
        })
    };
    rows.iter().filter_map(mark).collect()
}

/// What says that this Node does not run on the machine whose identity it carries.
fn contradiction(row: &NodeRow, instance: &Instance, rows: &[Arc<NodeRow>]) -> Option<String> {
    let facts: Vec<NodeFacts> = rows
        .iter()
        .map(|row| NodeFacts {
            name: row.node.name.clone(),
            hostname_label: row.hostname.as_ref().map(ToString::to_string),
            addresses: row.addresses.iter().map(ToString::to_string).collect(),
            provider_id: row.provider_id.as_ref().map(ToString::to_string),
            control_plane: row.control_plane,
        })
        .collect();
    match match_node(instance, &facts) {
        NodeMatch::Matched(name) if name == row.node.name => None,
        NodeMatch::Matched(name) => Some(format!("the machine runs Node {name}")),
        NodeMatch::None => Some(format!("the machine's host name is {}", instance.hostname)),
        NodeMatch::Conflict { detail, .. } => Some(detail),
    }
}
