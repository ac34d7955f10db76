//! Who was there: the workers of one scope, from complete observations only.
//!
//! It remembers since when and how often each was seen without an owner, and since when each is
//! missing. It lives in memory; a restart begins anew, which can only delay. Machines that
//! VPSieNodes own are known from the start: whatever is missing at the first look is noticed.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use jiff::Timestamp;
use model::{Hostname, InstanceId, InstancePhase, Observation, Role};

/// Sightings without an owner count when they are at least this far apart.
pub const SIGHTING_GAP: Duration = Duration::from_mins(1);
/// What is missing for so long is forgotten, unless somebody owns it.
const FORGET: Duration = Duration::from_hours(1);

/// How often a worker was seen without an owner, without a break.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Sightings {
    /// Readings of a monotonic clock at the first and the last of them…
    since: Duration,
    last: Duration,
    /// …and at the last that was counted.
    counted: Duration,
    /// How many, [`SIGHTING_GAP`] apart.
    pub count: u32,
}

impl Sightings {
    /// From the first to the last.
    #[must_use]
    pub const fn age(&self) -> Duration {
        self.last.saturating_sub(self.since)
    }
}

/// Since when a worker is missing, without a break.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Absence {
    /// When the first observation without it was there.
    pub since: Timestamp,
    /// How many there were.
    pub sightings: u32,
    /// Reading of a monotonic clock at the first.
    begun: Duration,
}

/// A worker.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Worker {
    /// Its name; empty for one that was never listed.
    pub hostname: Hostname,
    /// What it was doing when it was last listed.
    pub phase: Option<InstancePhase>,
    /// When the observations began that listed it first and last; `None`: none did since this
    /// process began.
    pub listed: Option<(Timestamp, Timestamp)>,
    /// Seen without an owner.
    pub unowned: Option<Sightings>,
    /// Missing, or listed as being deleted.
    pub missing: Option<Absence>,
}

/// The workers of one scope.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Roll {
    workers: BTreeMap<InstanceId, Worker>,
}

impl Roll {
    /// Takes in one complete observation. `owned` are the machines of VPSieNodes in this scope;
    /// `arrived` and `at` are when the answer was there, by the calendar and by a monotonic clock.
    pub fn note(
        &mut self,
        observation: &Observation,
        owned: &BTreeSet<InstanceId>,
        arrived: Timestamp,
        at: Duration,
    ) {
        let began = observation.started_at;
        for id in owned {
            self.workers.entry(id.clone()).or_insert_with(|| Worker {
                hostname: Hostname::new(""),
                phase: None,
                listed: None,
                unowned: None,
                missing: None,
            });
        }
        let mut there = BTreeSet::new();
        for instance in &observation.instances {
            // One that is being deleted is as good as gone.
            if instance.role == Role::ControlPlane || instance.phase == InstancePhase::Deleting {
                continue;
            }
            there.insert(&instance.id);
            let worker = self
                .workers
                .entry(instance.id.clone())
                .or_insert_with(|| Worker {
                    hostname: instance.hostname.clone(),
                    phase: None,
                    listed: None,
                    unowned: None,
                    missing: None,
                });
            worker.hostname = instance.hostname.clone();
            worker.phase = Some(instance.phase);
            worker.listed = Some((worker.listed.map_or(began, |(first, _)| first), began));
            worker.missing = None;
            worker.unowned = if owned.contains(&instance.id) {
                None
            } else {
                Some(seen_again(worker.unowned, at))
            };
        }
        for (id, worker) in &mut self.workers {
            if there.contains(id) {
                continue;
            }
            worker.unowned = None;
            let absence = worker.missing.get_or_insert(Absence {
                since: arrived,
                sightings: 0,
                begun: at,
            });
            absence.sightings = absence.sightings.saturating_add(1);
        }
        self.workers.retain(|id, worker| {
            let long = worker
                .missing
                .is_some_and(|absence| at.saturating_sub(absence.begun) >= FORGET);
            owned.contains(id) || !long
        });
    }

    /// Everybody.
    #[must_use]
    pub const fn workers(&self) -> &BTreeMap<InstanceId, Worker> {
        &self.workers
    }

    /// How long and how often this worker was seen without an owner.
    #[must_use]
    pub fn unowned(&self, id: &InstanceId) -> Option<Sightings> {
        self.workers.get(id)?.unowned
    }
}

fn seen_again(before: Option<Sightings>, at: Duration) -> Sightings {
    let Some(before) = before else {
        return Sightings {
            since: at,
            last: at,
            counted: at,
            count: 1,
        };
    };
    let counts = at.saturating_sub(before.counted) >= SIGHTING_GAP;
    Sightings {
        since: before.since,
        last: at,
        counted: if counts { at } else { before.counted },
        count: before.count.saturating_add(u32::from(counts)),
    }
}
