//! The stop: a deletion took another machine than the one it named, so nothing more is removed in
//! that VPSie cluster until a person says so.
//!
//! It is written on every managed NodeGroup of the scope, so that it outlives this process; what
//! holds removals reads it there (`groups::stopped`). Who was there before is taken from the VPSieNodes, so
//! that a restart in between loses no one that is ours; of other people's workers only this process
//! knows.

use std::collections::{BTreeMap, BTreeSet};

use api::{
    VPSieNode,
    conditions::{ConditionStatus, seconds, vpsie_node as types},
    labels,
};
use jiff::Timestamp;
use model::InstanceId;
use planner::{
    collect::{DeleteRequest, Standing, bystanders},
    lifecycle::{Record, RemovalStep},
};
use serde_json::json;

use super::{View, text};
use crate::{
    controllers::vpsie_node::{read_record, scope_of},
    effects::Error,
    events::About,
};

/// A request is remembered for so long after it is over.
const REMEMBERED: jiff::SignedDuration = jiff::SignedDuration::from_mins(10);

/// The deletions of one scope, and who vanished around them.
#[derive(Default)]
pub(super) struct Watch {
    requests: BTreeMap<InstanceId, DeleteRequest>,
    /// Whose deletion was asked for, as long as they are remembered at all.
    named: BTreeSet<InstanceId>,
    /// Who was reported: once a person has looked, it is not said again.
    reported: BTreeSet<InstanceId>,
    /// Why everything is to be stopped, until that is written on every group.
    unwritten: Option<String>,
}

impl Watch {
    /// Looks who vanished, and stops removals if somebody did.
    pub(super) async fn look(&mut self, view: &View<'_>) -> Result<(), Error> {
        let now = view.ctx.clock.now();
        let standings = self.note(view, now);
        let requests: Vec<DeleteRequest> = self.requests.values().cloned().collect();
        for one in bystanders(&requests, &view.roll, &standings) {
            if !self.reported.insert(one.instance.clone()) {
                continue;
            }
            let why = format!(
                "{} ({}) vanished after the deletion of {} ({}); {}",
                one.instance,
                one.hostname,
                one.named,
                one.named_hostname,
                seconds(now)
            );
            tracing::error!(scope = text(view.scope), why, "removals stop");
            self.unwritten.get_or_insert_with(|| why.clone());
            for group in &view.groups {
                view.ctx.events.warning(
                    About::object(group.object.as_ref()),
                    "RemovalsStopped",
                    format!(
                        "{why}: nothing is removed in this VPSie cluster until the annotation {} is \
                         taken off every NodeGroup of it",
                        labels::REMOVALS_STOPPED
                    ),
                );
            }
        }
        let written = self.write(view).await;
        let groups = view.ctx.groups();
        let mut same = (groups.iter()).filter(|group| group.scope.as_ref() == Some(view.scope));
        let stopped = same.any(|group| group.stop().is_some());
        view.ctx
            .metrics
            .removals_stopped(&text(view.scope), stopped);
        written
    }

    async fn write(&mut self, view: &View<'_>) -> Result<(), Error> {
        let Some(why) = self.unwritten.clone() else {
            return Ok(());
        };
        for group in &view.groups {
            let Some(object) = view.ctx.state.node_group(&group.key) else {
                continue;
            };
            let annotations = object.metadata.annotations.as_ref();
            if annotations.is_some_and(|all| all.contains_key(labels::REMOVALS_STOPPED)) {
                continue;
            }
            let change =
                json!({ "metadata": { "annotations": { labels::REMOVALS_STOPPED: why } } });
            match view.effects.patch_node_group(&object, change).await {
                Ok(written) => {
                    view.ctx.state.note_node_group(written);
                }
                Err(Error::NotFound { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        self.unwritten = None;
        Ok(())
    }

    /// Takes in what the VPSieNodes say; what each says of its machine.
    fn note(&mut self, view: &View<'_>, now: Timestamp) -> BTreeMap<InstanceId, Standing> {
        let defaults = view.ctx.defaults();
        let mut standings = BTreeMap::new();
        for object in view.objects {
            if scope_of(object, &defaults).as_ref() != Some(view.scope) {
                continue;
            }
            let record = read_record(object);
            let Some(machine) = record.machine.clone() else {
                continue;
            };
            if let Some(removal) = &record.removal {
                if removal.sent {
                    let request = DeleteRequest {
                        instance: machine.instance.clone(),
                        hostname: machine.hostname.clone(),
                        sent_at: removal.step_at,
                        gone_at: None,
                    };
                    self.requests
                        .entry(machine.instance.clone())
                        .or_insert(request);
                }
                if removal.sent || removal.step >= RemovalStep::DeletingMachine {
                    self.named.insert(machine.instance.clone());
                }
                if removal.step == RemovalStep::Gone
                    && let Some(request) = self.requests.get_mut(&machine.instance)
                {
                    request.gone_at.get_or_insert(removal.step_at);
                }
            }
            let standing = Standing {
                named: false,
                serves_since: record.ready_at,
                ill_since: ill_since(object, &record),
                hostname: Some(machine.hostname).filter(|name| !name.as_str().is_empty()),
            };
            standings.insert(machine.instance, standing);
        }
        for request in self.requests.values_mut() {
            if !standings.contains_key(&request.instance) {
                request.gone_at.get_or_insert(now);
            }
        }
        self.requests.retain(|_, request| {
            let until = request.ends_at().saturating_add(REMEMBERED);
            until.is_ok_and(|until| until > now) || request.gone_at.is_none()
        });
        let known = view.roll.workers();
        let remembered = |id: &InstanceId| known.contains_key(id) || standings.contains_key(id);
        self.named.retain(remembered);
        self.reported.retain(remembered);
        for id in &self.named {
            standings.entry(id.clone()).or_default().named = true;
        }
        standings
    }
}

/// Since when something is wrong with a machine that serves, as far as its VPSieNode says.
fn ill_since(object: &VPSieNode, record: &Record) -> Option<Timestamp> {
    let conditions = object
        .status
        .iter()
        .flat_map(|status| status.conditions.iter().flatten());
    let error = conditions
        .filter(|one| one.type_ == types::ERROR && one.status == ConditionStatus::True)
        .find_map(|one| one.last_transition_time.as_ref()?.parse().ok());
    let removed = record.removal.as_ref().map(|removal| removal.started_at);
    [record.unhealthy_since, error, removed]
        .into_iter()
        .flatten()
        .min()
}
