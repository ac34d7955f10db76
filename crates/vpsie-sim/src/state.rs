//! The state machine: groups and machines as timelines, so that the state at any moment (now, or
//! as long ago as a stale list shows) is a pure function of the record.
//!
//! A purchase draws the whole timeline of its machine from the seeded stream; deletion, by API or
//! by a person, ends it. Nothing here answers requests or sleeps: moments at which something must
//! be announced are handed out as [`Alarm`]s.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};
use runtime::Randomness;
use rust_decimal::Decimal;
use tokio::sync::mpsc::UnboundedSender;

use crate::{
    account::Account,
    config::{Cluster, Config, CountAt, Datacenter, Size},
    fault::{Fault, Faults},
    journal::{Recording, Request, What},
    ledger::{Bill, Ledger},
    machine::{Join, Machine, MachineEvent, Origin, Phase, Role, VmOrder},
    reply::stamp,
    route::Route,
};

/// A group of workers of one size.
#[derive(Clone, Debug)]
pub(crate) struct Group {
    pub(crate) id: i64,
    pub(crate) identifier: String,
    pub(crate) name: String,
    pub(crate) cluster: String,
    pub(crate) datacenter: String,
    pub(crate) size: Size,
    pub(crate) created: Duration,
    pub(crate) deleted: Option<Duration>,
}

impl Group {
    pub(crate) fn exists_at(&self, at: Duration) -> bool {
        self.created <= at
    }

    pub(crate) fn is_deleted_at(&self, at: Duration) -> bool {
        self.deleted.is_some_and(|deleted| deleted <= at)
    }
}

/// A machine's identity and its timeline, in time since the start of the simulation.
#[derive(Clone, Debug)]
pub(crate) struct Record {
    pub(crate) id: i64,
    pub(crate) uuid: String,
    pub(crate) hostname: String,
    pub(crate) node_name: String,
    pub(crate) role: Role,
    pub(crate) cluster: Option<String>,
    pub(crate) group: Option<i64>,
    pub(crate) datacenter: String,
    pub(crate) size: Size,
    pub(crate) default_ip: String,
    pub(crate) private_ip: String,
    pub(crate) hourly: Decimal,
    pub(crate) origin: Origin,
    pub(crate) deleted_by: Option<Origin>,
    pub(crate) join: Join,
    pub(crate) order: Option<VmOrder>,
    pub(crate) created: Duration,
    pub(crate) listed: Duration,
    pub(crate) running: Option<Duration>,
    pub(crate) deleting: Option<Duration>,
    pub(crate) gone: Option<Duration>,
    announced_running: bool,
    announced_gone: bool,
}

impl Record {
    /// How far it had come at `at`; `None` before it was bought.
    pub(crate) fn phase_at(&self, at: Duration) -> Option<Phase> {
        let reached = |moment: Option<Duration>| moment.is_some_and(|moment| moment <= at);
        if at < self.created {
            None
        } else if reached(self.gone) {
            Some(Phase::Gone)
        } else if reached(self.deleting) {
            Some(Phase::Deleting)
        } else if reached(self.running) {
            Some(Phase::Running)
        } else if self.listed <= at {
            Some(Phase::Creating)
        } else {
            Some(Phase::Queued)
        }
    }

    /// True when lists of the moment `at` have a row for it.
    pub(crate) fn is_listed_at(&self, at: Duration) -> bool {
        match self.phase_at(at) {
            Some(Phase::Creating | Phase::Running) => true,
            // Deleted while it was still queued: it never was in a list.
            Some(Phase::Deleting) => self.listed <= at,
            _ => false,
        }
    }

    /// True while it can be deleted.
    pub(crate) fn lives_at(&self, at: Duration) -> bool {
        matches!(
            self.phase_at(at),
            Some(Phase::Queued | Phase::Creating | Phase::Running)
        )
    }

    /// When it started to run, unless its end came first.
    fn started(&self) -> Option<Duration> {
        let end = self.deleting.or(self.gone).unwrap_or(Duration::MAX);
        self.running.filter(|running| *running < end)
    }

    fn paid_until(&self, now: Duration) -> Duration {
        let end = self.deleting.or(self.gone).unwrap_or(now);
        end.min(now)
    }
}

/// Something will have to be announced then.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Alarm {
    pub(crate) at: Duration,
    pub(crate) machine: i64,
}

/// What is bought.
pub(crate) struct Purchase<'a> {
    pub(crate) role: Role,
    pub(crate) cluster: Option<String>,
    pub(crate) group: Option<i64>,
    pub(crate) datacenter: String,
    pub(crate) size: Size,
    /// The host name, where the buyer chooses it.
    pub(crate) hostname: Option<String>,
    pub(crate) order: Option<VmOrder>,
    pub(crate) origin: Origin,
    pub(crate) faults: &'a Faults,
}

/// Independent streams, so that one kind of draw does not move another.
#[derive(Debug)]
pub(crate) struct Streams {
    pub(crate) ids: Randomness,
    pub(crate) timings: Randomness,
    pub(crate) views: Randomness,
    pub(crate) victims: Randomness,
    pub(crate) latency: Randomness,
}

impl Streams {
    pub(crate) fn new(random: &Randomness) -> Self {
        Self {
            ids: random.fork("ids"),
            timings: random.fork("timings"),
            views: random.fork("views"),
            victims: random.fork("victims"),
            latency: random.fork("latency"),
        }
    }
}

/// Everything the simulated service knows.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) config: Config,
    pub(crate) streams: Streams,
    pub(crate) account: Account,
    pub(crate) groups: BTreeMap<i64, Group>,
    pub(crate) machines: BTreeMap<i64, Record>,
    pub(crate) sold_out: BTreeSet<i64>,
    pub(crate) journal: Vec<Request>,
    pub(crate) trace: Vec<String>,
    pub(crate) recording: Option<Recording>,
    pub(crate) subscribers: Vec<UnboundedSender<MachineEvent>>,
    pub(crate) alarms: Vec<Alarm>,
    /// Time since the start of the simulation.
    pub(crate) now: Duration,
    epoch: Timestamp,
    next_group: i64,
    next_machine: i64,
    shown: BTreeMap<Route, Duration>,
}

impl State {
    pub(crate) fn new(config: Config, streams: Streams, epoch: Timestamp) -> Self {
        let mut state = Self {
            config,
            streams,
            account: Account::default(),
            groups: BTreeMap::new(),
            machines: BTreeMap::new(),
            sold_out: BTreeSet::new(),
            journal: Vec::new(),
            trace: Vec::new(),
            recording: None,
            subscribers: Vec::new(),
            alarms: Vec::new(),
            now: Duration::ZERO,
            epoch,
            next_group: 701,
            next_machine: 4801,
            shown: BTreeMap::new(),
        };
        for cluster in state.config.clusters.clone() {
            state.found(&cluster);
        }
        state
    }

    /// Sets up what a cluster has from the start.
    fn found(&mut self, cluster: &Cluster) {
        let faults = Faults::default();
        let mut initial = Vec::new();
        for index in 0..cluster.masters {
            let suffix = match index {
                0 => "main".to_owned(),
                index => format!("{index:04x}"),
            };
            initial.push(self.buy(&Purchase {
                role: Role::Master,
                cluster: Some(cluster.identifier.clone()),
                group: None,
                datacenter: cluster.datacenter.clone(),
                size: Size {
                    id: 0,
                    name: "control-plane".into(),
                    identifier: String::new(),
                    cpu: 2,
                    ram_mb: 4096,
                    disk_gb: 80,
                    price: Decimal::ZERO,
                    hourly_price: None,
                },
                hostname: Some(format!("{}-master-{suffix}", cluster.name)),
                order: None,
                origin: Origin::Initial,
                faults: &faults,
            }));
        }
        for wanted in &cluster.groups {
            let Some(size) = self.size_in(&cluster.datacenter, wanted.size).cloned() else {
                tracing::warn!(
                    cluster = cluster.name,
                    group = wanted.name,
                    size = wanted.size,
                    "no such size in the cluster's datacenter; the group is left out"
                );
                continue;
            };
            let group = self.add_group(cluster, &wanted.name, size.clone());
            for _ in 0..wanted.workers {
                initial.push(self.buy(&Purchase {
                    role: Role::Worker,
                    cluster: Some(cluster.identifier.clone()),
                    group: Some(group),
                    datacenter: cluster.datacenter.clone(),
                    size: size.clone(),
                    hostname: None,
                    order: None,
                    origin: Origin::Initial,
                    faults: &faults,
                }));
            }
        }
        // What is there from the start has run all along.
        for id in initial {
            if let Some(record) = self.machines.get_mut(&id) {
                record.listed = Duration::ZERO;
                record.running = Some(Duration::ZERO);
                record.announced_running = true;
                record.join = Join::Ready {
                    register: Duration::ZERO,
                    ready: Duration::ZERO,
                };
            }
        }
        self.alarms.clear();
    }

    /// The wall time of a moment.
    pub(crate) fn timestamp(&self, at: Duration) -> Timestamp {
        let since = SignedDuration::try_from(at).unwrap_or_default();
        self.epoch.saturating_add(since).unwrap_or(self.epoch)
    }

    pub(crate) fn cluster(&self, identifier: &str) -> Option<&Cluster> {
        let clusters = &self.config.clusters;
        clusters
            .iter()
            .find(|cluster| cluster.identifier == identifier)
    }

    pub(crate) fn datacenter(&self, identifier: &str) -> Option<&Datacenter> {
        let datacenters = &self.config.datacenters;
        datacenters
            .iter()
            .find(|datacenter| datacenter.identifier == identifier)
    }

    /// The size with this numeric id in a datacenter.
    pub(crate) fn size_in(&self, datacenter: &str, id: i64) -> Option<&Size> {
        let sizes = &self.datacenter(datacenter)?.sizes;
        sizes.iter().find(|size| size.id == id)
    }

    /// Live workers of a cluster, in the truth of this moment.
    pub(crate) fn live_workers(&self, cluster: &str) -> impl Iterator<Item = &Record> {
        self.machines.values().filter(move |record| {
            record.role == Role::Worker
                && record.cluster.as_deref() == Some(cluster)
                && record.lives_at(self.now)
        })
    }

    /// How many workers the API says there were at `at`, of one group or of the whole cluster.
    pub(crate) fn counted_workers(&self, cluster: &str, group: Option<i64>, at: Duration) -> usize {
        let counted = |record: &&Record| {
            record.role == Role::Worker
                && record.cluster.as_deref() == Some(cluster)
                && (group.is_none() || record.group == group)
                && match self.config.count_at {
                    CountAt::Accept => record.lives_at(at),
                    CountAt::Listing => record.lives_at(at) && record.is_listed_at(at),
                }
        };
        self.machines.values().filter(counted).count()
    }

    /// The moment that this read of a list shows.
    pub(crate) fn view(&mut self, route: Route) -> Duration {
        let staleness = &self.config.staleness;
        let lag = staleness.lag.draw(&self.streams.views);
        let mut at = self.now.saturating_sub(lag);
        if staleness.monotonic {
            let shown = self.shown.entry(route).or_default();
            at = at.max(*shown);
            *shown = at;
        }
        at
    }

    pub(crate) fn add_group(&mut self, cluster: &Cluster, name: &str, size: Size) -> i64 {
        let id = self.next_group;
        self.next_group += 1;
        let group = Group {
            id,
            identifier: self.streams.ids.uuid().to_string(),
            name: name.to_owned(),
            cluster: cluster.identifier.clone(),
            datacenter: cluster.datacenter.clone(),
            size,
            created: self.now,
            deleted: None,
        };
        self.groups.insert(id, group);
        id
    }

    /// Buys one machine: it exists, and is paid, from here. Answers its numeric id.
    pub(crate) fn buy(&mut self, purchase: &Purchase<'_>) -> i64 {
        let id = self.next_machine;
        self.next_machine += 1;
        let uuid = self.streams.ids.uuid().to_string();
        let hostname = self.hostname(purchase);
        let random = &self.streams.timings;
        let timings = &self.config.timings;
        // Every purchase draws the same number of times, whatever goes wrong with it.
        let listed = self.now + timings.queued.draw(random);
        let running = listed + timings.creating.draw(random);
        let (register, ready) = (timings.joining.draw(random), timings.readying.draw(random));
        let faults = purchase.faults;
        let fails = faults.has(&Fault::FailsAndDisappears);
        let join = if faults.has(&Fault::NeverJoins) {
            Join::Never
        } else if faults.has(&Fault::JoinsNotReady) {
            Join::NotReady { register }
        } else {
            Join::Ready { register, ready }
        };
        let size = if faults.has(&Fault::WrongSize) {
            self.another_size(&purchase.datacenter, &purchase.size)
        } else {
            purchase.size.clone()
        };
        let node_name = if faults.has(&Fault::JoinsUnderAnotherName) {
            format!("ip-10-100-{}-{}", id / 250 % 250, id % 250)
        } else {
            hostname.to_lowercase()
        };
        let record = Record {
            id,
            uuid,
            hostname,
            node_name,
            role: purchase.role,
            cluster: purchase.cluster.clone(),
            group: purchase.group,
            datacenter: purchase.datacenter.clone(),
            hourly: size.per_hour(),
            size,
            // 198.18.0.0/15 is set aside for simulations.
            default_ip: format!("198.18.{}.{}", id / 250 % 250, id % 250 + 1),
            private_ip: format!("10.100.{}.{}", id / 250 % 250, id % 250 + 1),
            origin: purchase.origin,
            deleted_by: None,
            join,
            order: purchase.order.clone(),
            created: self.now,
            listed,
            running: (!fails && !faults.has(&Fault::StuckCreating)).then_some(running),
            deleting: None,
            gone: fails.then(|| listed + running.saturating_sub(listed) / 2),
            announced_running: false,
            announced_gone: false,
        };
        for at in [record.running, record.gone].into_iter().flatten() {
            self.alarms.push(Alarm { at, machine: id });
        }
        let machine = self.machine(&record);
        self.machines.insert(id, record);
        if purchase.origin != Origin::Initial {
            self.announce(&MachineEvent::Created(machine));
        }
        id
    }

    /// Another size of the same datacenter; the same when it has no other.
    fn another_size(&self, datacenter: &str, size: &Size) -> Size {
        let others = self
            .datacenter(datacenter)
            .into_iter()
            .flat_map(|d| &d.sizes);
        let mut others = others.filter(|other| other.id != size.id);
        others.next().unwrap_or(size).clone()
    }

    fn hostname(&self, purchase: &Purchase<'_>) -> String {
        if let Some(hostname) = &purchase.hostname {
            return hostname.clone();
        }
        let gone = |record: &&Record| {
            record.cluster == purchase.cluster && record.phase_at(self.now) == Some(Phase::Gone)
        };
        if purchase.faults.has(&Fault::ReusesHostname)
            && let Some(last) = self.machines.values().filter(gone).max_by_key(|r| r.gone)
        {
            return last.hostname.clone();
        }
        let cluster = purchase.cluster.as_deref().and_then(|id| self.cluster(id));
        let prefix = cluster.map_or("Kubernetes", |cluster| cluster.name.as_str());
        loop {
            let hostname = format!("{prefix}-slave-{:04x}", self.streams.ids.below(0x1_0000));
            let taken = |record: &Record| record.hostname == hostname;
            if !self.machines.values().any(taken) {
                return hostname;
            }
        }
    }

    /// Deletes a machine: paid until here, listed for a while longer. False when it does not live.
    pub(crate) fn delete(&mut self, id: i64, by: Origin) -> bool {
        let now = self.now;
        let Some(record) = self
            .machines
            .get_mut(&id)
            .filter(|record| record.lives_at(now))
        else {
            return false;
        };
        let gone = now + self.config.timings.deleting.draw(&self.streams.timings);
        record.deleting = Some(now);
        record.gone = Some(gone);
        record.deleted_by = Some(by);
        let record = record.clone();
        self.alarms.push(Alarm {
            at: gone,
            machine: id,
        });
        self.announce(&MachineEvent::Deleting(self.machine(&record)));
        true
    }

    /// Announces what has come due for a machine.
    pub(crate) fn wake(&mut self, id: i64) {
        let now = self.now;
        let Some(record) = self.machines.get_mut(&id) else {
            return;
        };
        let phase = record.phase_at(now);
        let runs = phase == Some(Phase::Running) && !record.announced_running;
        let gone = phase == Some(Phase::Gone) && !record.announced_gone;
        record.announced_running |= runs;
        record.announced_gone |= gone;
        let record = record.clone();
        if runs {
            self.announce(&MachineEvent::Running(self.machine(&record)));
        }
        if gone {
            self.announce(&MachineEvent::Deleted(self.machine(&record)));
        }
    }

    fn announce(&mut self, event: &MachineEvent) {
        let machine = event.machine();
        self.note(&format!(
            "machine {} {} {} {:?}",
            event.name(),
            machine.hostname,
            machine.uuid,
            machine.origin
        ));
        self.recorded(|| What::Machine(Box::new(event.clone())));
        self.subscribers
            .retain(|subscriber| subscriber.send(event.clone()).is_ok());
    }

    /// Keeps what happened, where somebody wants it.
    pub(crate) fn recorded(&mut self, what: impl FnOnce() -> What) {
        let at = self.timestamp(self.now);
        if let Some(recording) = &mut self.recording {
            recording.push(at, what());
        }
    }

    /// Adds a line to the trace.
    pub(crate) fn note(&mut self, what: &str) {
        self.trace.push(format!("{} {what}", stamp(self.now)));
    }

    /// The truth about a machine at this moment.
    pub(crate) fn machine(&self, record: &Record) -> Machine {
        let past = |moment: Option<Duration>| {
            let moment = moment.filter(|moment| *moment <= self.now)?;
            Some(self.timestamp(moment))
        };
        Machine {
            uuid: record.uuid.clone(),
            id: record.id,
            hostname: record.hostname.clone(),
            node_name: record.node_name.clone(),
            role: record.role,
            cluster: record.cluster.clone(),
            pool: record.group,
            size: record.size.id,
            cpu: record.size.cpu,
            ram_mb: record.size.ram_mb,
            disk_gb: record.size.disk_gb,
            hourly_price: record.hourly,
            default_ip: record.default_ip.clone(),
            private_ip: record.private_ip.clone(),
            phase: record.phase_at(self.now).unwrap_or(Phase::Queued),
            created_at: self.timestamp(record.created),
            running_at: past(record.started()),
            deleted_at: past(record.deleting),
            gone_at: past(record.gone),
            origin: record.origin,
            deleted_by: record.deleted_by,
            join: record.join,
            order: record.order.clone(),
        }
    }

    /// What everything has cost until now.
    pub(crate) fn ledger(&self) -> Ledger {
        let mut ledger = Ledger::default();
        for record in self
            .machines
            .values()
            .filter(|record| record.role != Role::Master)
        {
            ledger.add(Bill {
                uuid: record.uuid.clone(),
                hostname: record.hostname.clone(),
                origin: record.origin,
                paid: record.paid_until(self.now).saturating_sub(record.created),
                hourly: record.hourly,
                cost: Decimal::ZERO,
                running: record.lives_at(self.now),
            });
        }
        ledger
    }
}
