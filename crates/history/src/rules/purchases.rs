//! What is bought: S1 one machine for each record, S3 never above the maximum, S19 not too fast.

use std::collections::VecDeque;

use jiff::Timestamp;

use super::{Rule, broken};
use crate::{
    Violation,
    event::{Errand, Fate, Kind, Origin},
    picture::{Picture, Step, Vm},
};

/// S1: a machine is bought only for a record that waits for one. Machines of one pool cannot be told
/// apart, so they are counted: those that no record names are never more than the records that
/// asked and do not know theirs.
pub(super) struct OneMachineEach;

/// The product asked for it, not a person.
fn by_us(picture: &Picture, origin: Origin) -> bool {
    let Origin::Request(number) = origin else {
        return false;
    };
    let request = picture.requests.get(&number);
    request.is_some_and(|(actor, _, _)| picture.ours.contains(actor))
}

impl Rule for OneMachineEach {
    fn observe(&mut self, picture: &Picture, step: &Step<'_>, found: &mut Vec<Violation>) {
        let Kind::Machine(machine) = &step.event.kind else {
            return;
        };
        let again = picture
            .machines
            .values()
            .any(|other| other.bought_by == machine.bought_by);
        // The cloud made two of one request: no doing of the product.
        if machine.fate != Fate::Bought || again || !by_us(picture, machine.bought_by) {
            return;
        }
        let of_the_pool = |vm: &&Vm| vm.alive && vm.pool == machine.pool;
        let bought = |vm: &Vm| vm.first && by_us(picture, vm.bought_by);
        let named = |uuid: &String| picture.owners.contains_key(uuid);
        let unnamed = picture
            .machines
            .iter()
            .filter(|(uuid, vm)| of_the_pool(vm) && bought(vm) && !named(uuid))
            .filter(|(uuid, vm)| !picture.is_reported(uuid, vm))
            .count();
        // Where a person added one in the same moment, a record may name that one and leave its own,
        // which people are told of then.
        let exchanged = picture
            .machines
            .iter()
            .filter(|(uuid, vm)| of_the_pool(vm) && !bought(vm) && named(uuid))
            .count();
        let waiting = picture
            .records
            .values()
            .filter(|record| {
                record.waits_for_a_machine()
                    && record.creation.as_ref().map(|creation| creation.pool) == machine.pool
            })
            .count();
        if unnamed + 1 > waiting + exchanged {
            broken(
                found,
                "S1",
                picture,
                format!(
                    "machine {} is bought in pool {:?} for {waiting} records that wait, and {unnamed} \
                     others that nobody names are there already",
                    machine.uuid, machine.pool
                ),
            );
        }
    }
}

/// S3: at every request for a machine, the machines and open intents of each group that asks in this
/// pool are at most its maximum; and over all groups at most the cluster's.
pub(super) struct NotAboveMaximum;

/// How long an old maximum may still be acted upon, in seconds.
const SETTLED: i64 = 30;

impl Rule for NotAboveMaximum {
    fn observe(&mut self, picture: &Picture, step: &Step<'_>, found: &mut Vec<Violation>) {
        let Kind::Cloud(request) = &step.event.kind else {
            return;
        };
        let Errand::Create { pool } = request.errand else {
            return;
        };
        if !step.ours {
            return;
        }
        let counts = |group: Option<&str>| {
            picture
                .records
                .values()
                .filter(|record| group.is_none_or(|group| record.group == group))
                .filter(|record| match &record.machine {
                    Some(machine) => picture.is_alive(machine),
                    None => {
                        record.phase != "Failed"
                            && (!record.deleting() || record.creation.is_some())
                    }
                })
                .count()
        };
        for (key, group) in &picture.groups {
            let asks = picture.records.values().any(|record| {
                record.group == *key
                    && record.waits_for_a_machine()
                    && record.creation.as_ref().is_some_and(|creation| {
                        creation.pool == pool && creation.state == "Intended"
                    })
            });
            let most = group
                .bounds_since(picture.ago(SETTLED))
                .map(|bounds| bounds.max)
                .max()
                .unwrap_or_default();
            let count = counts(Some(key));
            if asks && count > most {
                broken(
                    found,
                    "S3",
                    picture,
                    format!(
                        "a machine is asked for in {key}, which has {count} and may have {most}"
                    ),
                );
            }
        }
        let count = counts(None);
        if let Some(most) = picture.limits.machines.filter(|most| count > *most) {
            broken(
                found,
                "S3",
                picture,
                format!("a machine is asked for in a cluster that has {count} and may have {most}"),
            );
        }
    }
}

/// S19: not more requests for machines in any hour than the cap.
#[derive(Default)]
pub(super) struct Rate(VecDeque<Timestamp>);

impl Rule for Rate {
    fn observe(&mut self, picture: &Picture, step: &Step<'_>, found: &mut Vec<Violation>) {
        let Some(most) = picture.limits.creates_per_hour else {
            return;
        };
        let Kind::Cloud(request) = &step.event.kind else {
            return;
        };
        if !step.ours || !matches!(request.errand, Errand::Create { .. }) {
            return;
        }
        let hour = picture.ago(3600);
        self.0.push_back(picture.now);
        while self.0.front().is_some_and(|at| *at <= hour) {
            self.0.pop_front();
        }
        if self.0.len() > most {
            let count = self.0.len();
            broken(
                found,
                "S19",
                picture,
                format!("{count} machines were asked for in an hour; {most} may be"),
            );
        }
    }
}
