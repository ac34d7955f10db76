//! The account's state, behind one lock.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use runtime::{Clock, Randomness};
use serde::Serialize;
use tokio::sync::mpsc;

use crate::{Config, Credentials, Join, Machine, MachineEvent, Origin, Phase};

/// A request that arrived.
#[derive(Clone, Debug, Serialize)]
pub struct Request {
    /// Its number, from 1.
    pub seq: u64,
    /// When it arrived.
    pub at: Timestamp,
    /// The method.
    pub method: String,
    /// The route's name, by which faults select.
    pub route: &'static str,
    /// The path.
    pub path: String,
    /// The caller's `X-Request-Id`.
    pub request_id: Option<String>,
    /// The status of the answer.
    pub status: u16,
    /// What became of the answer.
    pub outcome: Outcome,
}

/// What became of an answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub enum Outcome {
    /// Sent.
    Answered,
    /// The request had its effect, the answer was lost.
    Lost,
    /// The connection broke before anything happened.
    Reset,
    /// Cut short.
    Truncated,
}

/// A node group of a cluster.
#[derive(Clone, Debug)]
pub(crate) struct Pool {
    pub(crate) id: i64,
    pub(crate) uuid: String,
    pub(crate) name: String,
    pub(crate) cluster: String,
    pub(crate) size: i64,
    pub(crate) deleted: bool,
    pub(crate) created_at: Timestamp,
}

#[derive(Debug)]
pub(crate) struct World {
    pub(crate) machines: BTreeMap<i64, Machine>,
    pub(crate) pools: BTreeMap<i64, Pool>,
    pub(crate) caps: BTreeMap<String, Option<u32>>,
    pub(crate) sold_out: BTreeSet<i64>,
    pub(crate) credentials: Credentials,
    pub(crate) tokens: BTreeMap<String, Timestamp>,
    pub(crate) journal: Vec<Request>,
    pub(crate) trace: Vec<(Timestamp, String)>,
    pub(crate) prices: BTreeMap<i64, rust_decimal::Decimal>,
    pub(crate) listeners: Vec<mpsc::UnboundedSender<MachineEvent>>,
    pub(crate) recent: std::collections::VecDeque<Timestamp>,
    next: i64,
}

impl World {
    pub(crate) fn new(config: &Config, clock: &Clock, random: &Randomness) -> Self {
        let random = random.fork("masters");
        let mut world = Self {
            machines: BTreeMap::new(),
            pools: BTreeMap::new(),
            caps: config
                .clusters
                .iter()
                .map(|cluster| (cluster.id.clone(), cluster.worker_cap))
                .collect(),
            sold_out: BTreeSet::new(),
            credentials: config.credentials.clone(),
            tokens: BTreeMap::new(),
            journal: Vec::new(),
            trace: Vec::new(),
            prices: config.sizes.iter().map(|size| (size.id, size.hourly)).collect(),
            listeners: Vec::new(),
            recent: std::collections::VecDeque::new(),
            next: 1000,
        };
        for cluster in &config.clusters {
            for index in 0..cluster.masters {
                let id = world.next_id();
                world.machines.insert(
                    id,
                    Machine {
                        id,
                        uuid: random.uuid().to_string(),
                        hostname: format!("{}-master-main-{index}", cluster.name),
                        address: format!("10.255.0.{}", index + 1),
                        cluster: cluster.id.clone(),
                        pool: None,
                        size: config.sizes.first().map_or(0, |size| size.id),
                        master: true,
                        phase: Phase::Running,
                        origin: Origin::Initial,
                        join: Join::Ready,
                        undying: false,
                        created_at: clock.now(),
                        deleted_at: None,
                    },
                );
            }
        }
        world
    }

    pub(crate) fn next_id(&mut self) -> i64 {
        self.next += 1;
        self.next
    }

    pub(crate) fn machine(&self, uuid: &str) -> Option<&Machine> {
        self.machines.values().find(|machine| machine.uuid == uuid)
    }

    pub(crate) fn machine_mut(&mut self, uuid: &str) -> Option<&mut Machine> {
        self.machines.values_mut().find(|machine| machine.uuid == uuid)
    }

    /// Machines that the plan counts.
    pub(crate) fn workers(&self, cluster: &str) -> usize {
        self.machines
            .values()
            .filter(|machine| {
                machine.cluster == cluster
                    && !machine.master
                    && !matches!(machine.phase, Phase::Deleting | Phase::Gone)
            })
            .count()
    }

    pub(crate) fn note(&mut self, at: Timestamp, line: String) {
        self.trace.push((at, line));
    }

    pub(crate) fn tell(&mut self, event: &MachineEvent) {
        self.listeners
            .retain(|listener| listener.send(event.clone()).is_ok());
    }
}
