//! Workers that vanished around a deletion that named another one.
//!
//! The cloud's way to delete by identity is known from one client only, and its other ways let the
//! cloud choose the victim. Should a delete ever take another machine, the next one must not be
//! sent: that is all this decides. It cannot tell what a person deleted at the same time from what
//! the cloud did, so that counts, too.

use std::{collections::BTreeMap, time::Duration};

use jiff::Timestamp;
use model::{Hostname, InstanceId, InstancePhase};

use super::{Roll, Worker};

/// After the named machine is proven gone, others are watched for this long.
const AFTERMATH: Duration = Duration::from_mins(5);
/// Missing from so many complete observations in a row is vanished.
const SIGHTINGS: u32 = 2;

/// The deletion of one machine was asked for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DeleteRequest {
    /// The machine it named.
    pub instance: InstanceId,
    /// Its name.
    pub hostname: Hostname,
    /// When it was first sent.
    pub sent_at: Timestamp,
    /// When the machine was proven gone.
    pub gone_at: Option<Timestamp>,
}

impl DeleteRequest {
    /// Whatever vanishes later has nothing to do with it.
    #[must_use]
    pub fn ends_at(&self) -> Timestamp {
        self.gone_at
            .and_then(|at| at.saturating_add(AFTERMATH).ok())
            .unwrap_or(Timestamp::MAX)
    }
}

/// What the VPSieNodes say of a worker.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Standing {
    /// Its own deletion was asked for.
    pub named: bool,
    /// Since when it serves.
    pub serves_since: Option<Timestamp>,
    /// Since when something is wrong with it (its Node is not Ready, the cloud does not list it, it
    /// is being taken away): it may have vanished then.
    pub ill_since: Option<Timestamp>,
    /// The name its VPSieNode recorded.
    pub hostname: Option<Hostname>,
}

/// A worker that vanished although another one was named.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Bystander {
    /// The worker.
    pub instance: InstanceId,
    /// Its name.
    pub hostname: Hostname,
    /// The machine that was to be deleted.
    pub named: InstanceId,
    /// Its name.
    pub named_hostname: Hostname,
}

/// Who vanished around which request. A worker that was still being made may fail by itself and
/// does not count.
#[must_use]
pub fn bystanders(
    requests: &[DeleteRequest],
    roll: &Roll,
    standings: &BTreeMap<InstanceId, Standing>,
) -> Vec<Bystander> {
    let unknown = Standing::default();
    let mut found = Vec::new();
    for (id, worker) in roll.workers() {
        let standing = standings.get(id).unwrap_or(&unknown);
        if standing.named || requests.iter().any(|request| request.instance == *id) {
            continue;
        }
        // The latest request is the likeliest.
        let blamed = requests
            .iter()
            .filter(|request| vanished_around(worker, standing, request))
            .max_by_key(|request| request.sent_at);
        if let Some(request) = blamed {
            let recorded = standing.hostname.clone();
            found.push(Bystander {
                instance: id.clone(),
                hostname: recorded.unwrap_or_else(|| worker.hostname.clone()),
                named: request.instance.clone(),
                named_hostname: request.hostname.clone(),
            });
        }
    }
    found
}

fn vanished_around(worker: &Worker, standing: &Standing, request: &DeleteRequest) -> bool {
    let Some(absence) = worker.missing else {
        return false;
    };
    if absence.sightings < SIGHTINGS || absence.since <= request.sent_at {
        return false;
    }
    // What this process did not see itself, the VPSieNode says.
    let recorded = standing
        .serves_since
        .is_some_and(|since| since <= request.sent_at);
    let Some((first, last)) = worker.listed else {
        let well = standing.ill_since.is_none_or(|at| at > request.sent_at);
        return recorded && well;
    };
    // One that is still being built may fail by itself.
    let served = matches!(
        worker.phase,
        Some(InstancePhase::Running | InstancePhase::Stopped)
    );
    let before = first <= request.sent_at || recorded;
    served && before && last <= request.ends_at()
}
