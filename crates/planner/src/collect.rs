//! Workers that no VPSieNode owns, and workers that vanish although nobody asked for it.
//!
//! From complete observations of one scope, the VPSieNodes and the Nodes, [`judge`] says of each
//! worker without an owner what it is: somebody else's, awaited, or an orphan of ours. It never
//! deletes: an orphan is proven by its Node, and gets its VPSieNode again, so that its life goes on
//! in the one state machine. [`bystanders`] says which deletion took another machine than the one
//! it named.

mod bystanders;
mod roll;
mod verdict;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use model::{GroupKey, Hostname, Instance, InstanceId, InstancePhase, NodeName, Observation, Role};
use planted::Bug;

pub use bystanders::{Bystander, DeleteRequest, Standing, bystanders};
pub use roll::{Absence, Roll, SIGHTING_GAP, Sightings, Worker};
pub use verdict::{Awaited, NotOurs, Orphan, Verdict, markdown};

/// How often a worker without an owner must be seen, [`SIGHTING_GAP`] apart, before anything is
/// said of it or done about it.
pub const SIGHTINGS: u32 = 3;
/// How long a worker must be without an owner before it gets its VPSieNode again: a VPSieNode that
/// is being restored comes back by itself.
pub const ORPHAN_AGE: Duration = Duration::from_mins(15);

/// A VPSieNode, as far as it may own a machine.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Owner {
    /// `namespace/name`.
    pub record: String,
    /// The machine it owns.
    pub instance: Option<InstanceId>,
    /// Without an identity: the name it knows its machine by.
    pub hostname: Option<Hostname>,
    /// Its create request may still lead to a machine.
    pub awaits: Option<OpenRequest>,
}

/// A create request whose machine is not known, and may still come.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OpenRequest {
    /// Machines that existed before it: never its own.
    pub baseline: BTreeSet<InstanceId>,
    /// (virtual CPUs, memory in MiB) of the size asked for.
    pub shape: Option<(u32, u64)>,
}

impl OpenRequest {
    fn could_be(&self, instance: &Instance) -> bool {
        let shape_agrees = match (self.shape, instance.shape) {
            (Some(asked), Some(seen)) => asked == seen,
            _ => true,
        };
        shape_agrees && !self.baseline.contains(&instance.id)
    }
}

/// What a Node says of the machine it runs on: the marks that the product puts on.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Mark {
    /// The Node.
    pub node: NodeName,
    /// The identity it carries (annotation `vps-id`).
    pub instance: InstanceId,
    /// It carries the label `managed` as `true`.
    pub managed: bool,
    /// The VPSieNode's name.
    pub record: Option<String>,
    /// The group's namespace and name, where both are there.
    pub group: Option<GroupKey>,
    /// The offering, as a label has it.
    pub offering: Option<String>,
    /// What says that it runs on another machine than it claims, in words.
    pub contradicted: Option<String>,
}

/// A NodeGroup that a mark may name. One that does not exist is not among them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct GroupState {
    /// It is managed, in a namespace that counts.
    pub managed: bool,
    /// Why nothing is taken back into it now, in words: it is paused, being deleted, of another
    /// VPSie cluster.
    pub held: Option<String>,
}

/// Everything that one judgement rests on.
#[derive(Clone, Debug)]
pub struct Input<'a> {
    /// The latest complete observation of the scope.
    pub observation: &'a Observation,
    /// How long and how often its workers were seen without an owner.
    pub roll: &'a Roll,
    /// Every VPSieNode, of every scope.
    pub owners: &'a [Owner],
    /// Every Node that carries an identity.
    pub marks: &'a [Mark],
    /// The groups that marks name.
    pub groups: &'a BTreeMap<GroupKey, GroupState>,
    /// The provider deletes by identity. Without that nothing is taken back either: it could never
    /// be removed again.
    pub targeted_delete: bool,
}

/// What each worker without an owner is.
#[must_use]
pub fn judge(input: &Input<'_>) -> BTreeMap<InstanceId, Verdict> {
    let owned: BTreeSet<&InstanceId> = input
        .owners
        .iter()
        .filter_map(|owner| owner.instance.as_ref())
        .collect();
    input
        .observation
        .instances
        .iter()
        .filter(|instance| {
            instance.role != Role::ControlPlane
                && instance.phase != InstancePhase::Deleting
                && !owned.contains(&instance.id)
        })
        .map(|instance| (instance.id.clone(), verdict(input, instance)))
        .collect()
}

fn verdict(input: &Input<'_>, instance: &Instance) -> Verdict {
    if instance.role == Role::Unknown {
        return Verdict::NotOurs(NotOurs::RoleUnknown);
    }
    let claims = |owner: &&Owner| {
        let by_name =
            owner.instance.is_none() && owner.hostname.as_ref() == Some(&instance.hostname);
        by_name
            || owner
                .awaits
                .as_ref()
                .is_some_and(|open| open.could_be(instance))
    };
    if let Some(owner) = input.owners.iter().find(claims) {
        return Verdict::Awaited(Awaited::OpenRequest {
            record: owner.record.clone(),
        });
    }
    let seen = input.roll.unowned(&instance.id);
    let sightings = seen.map_or(0, |seen| seen.count);
    let not_ours = match proof(input, instance) {
        Ok(orphan) => return Verdict::Orphan(orphan),
        Err(why) => why,
    };
    // A machine that a person is just making, or a listing that lags: nothing is said of it yet.
    if sightings < SIGHTINGS {
        return Verdict::Awaited(Awaited::Young { sightings });
    }
    Verdict::NotOurs(not_ours)
}

/// That the machine was ours: exactly one Node carries its identity and all of our marks, nothing
/// contradicts it, and the VPSieNode that it names is gone.
fn proof(input: &Input<'_>, instance: &Instance) -> Result<Orphan, NotOurs> {
    let mut claims = input
        .marks
        .iter()
        .filter(|mark| mark.instance == instance.id);
    let Some(mark) = claims.next() else {
        return Err(NotOurs::NoNode);
    };
    let node = mark.node.clone();
    if let Some(other) = claims.next() {
        let other = other.node.clone();
        return Err(NotOurs::ClaimedTwice { node, other });
    }
    if let Some(detail) = mark.contradicted.clone()
        && !planted::is(Bug::AdoptContradicted)
    {
        return Err(NotOurs::NodeContradicts { node, detail });
    }
    let (true, Some(record), Some(group), Some(offering)) =
        (mark.managed, &mark.record, &mark.group, &mark.offering)
    else {
        return Err(NotOurs::MarksIncomplete { node });
    };
    let name = format!("{}/{record}", group.namespace);
    if input.owners.iter().any(|owner| owner.record == name) {
        return Err(NotOurs::RecordExists { record: name });
    }
    let held = match input.groups.get(group) {
        None => {
            return Err(NotOurs::GroupGone {
                group: group.clone(),
            });
        }
        Some(state) if !state.managed => {
            return Err(NotOurs::GroupNotManaged {
                group: group.clone(),
            });
        }
        Some(_) if !input.targeted_delete => {
            Some("the provider cannot delete a machine by its identity".to_owned())
        }
        Some(state) => state.held.clone(),
    };
    let ripe = input
        .roll
        .unowned(&instance.id)
        .is_some_and(|seen| seen.count >= SIGHTINGS && seen.age() >= ORPHAN_AGE)
        || planted::is(Bug::AdoptAtOnce);
    Ok(Orphan {
        record: record.clone(),
        group: group.clone(),
        node,
        offering: offering.clone(),
        held,
        ripe,
    })
}
