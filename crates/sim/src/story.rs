//! Plays a scenario on the clock of a world, tells how it goes, and judges how it ended.
//!
//! It knows nothing of the product: whoever plays a story starts the product beside it. It writes
//! nothing but the scenario's own steps.

use std::{collections::BTreeMap, time::Duration};

use jiff::Timestamp;
use rust_decimal::Decimal;
use serde::Serialize;
use serde_json::{Value, json};
use tokio::sync::mpsc::UnboundedSender;
use vpsie_sim::{Machine, Origin, Role};

use crate::{
    scenario::{Action, Expectation, Moment, Scenario, Step, Victim},
    view::{Counts, Decision, NodeRow, View},
    world::{ApiServer, World, WorldError},
};

/// How often the story looks at the world.
const LOOK: Duration = Duration::from_secs(1);
/// How many decisions a [`Progress`] shows.
const DECISIONS: usize = 12;

/// How a story goes at a moment.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Progress {
    /// The world's time.
    pub at: Timestamp,
    /// Seconds since the beginning.
    pub elapsed_seconds: u64,
    /// Pods and nodes.
    pub counts: Counts,
    /// NodeGroups by `namespace/name`.
    pub groups: BTreeMap<String, GroupProgress>,
    /// Workers that are paid.
    pub machines: usize,
    /// Dollars an hour for them.
    pub per_hour: Decimal,
    /// Dollars so far.
    pub cost: Decimal,
    /// What was last done, and when (seconds since the beginning).
    pub last_step: Option<(u64, String)>,
    /// What was last said in Events, newest first.
    pub decisions: Vec<Decision>,
}

/// A NodeGroup at a moment.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct GroupProgress {
    /// Fewest nodes.
    pub min: i32,
    /// Most nodes.
    pub max: i32,
    /// VPSieNodes by phase.
    pub phases: BTreeMap<String, usize>,
}

/// How a story ended.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Verdict {
    /// The scenario's name.
    pub scenario: String,
    /// Everything expected came true.
    pub passed: bool,
    /// What did not.
    pub failures: Vec<String>,
    /// Seconds of the world's time.
    pub elapsed_seconds: u64,
    /// When all pods ran for the first time, in seconds from the beginning.
    pub all_pods_running_after_seconds: Option<u64>,
    /// Most pods that ran at once.
    pub pods_running_at_most: usize,
    /// Workers bought through the API.
    pub machines_bought: usize,
    /// Most workers there were at once.
    pub machines_at_once: usize,
    /// Workers that are still paid.
    pub machines_left: usize,
    /// Dollars spent.
    pub cost: Decimal,
    /// Dollars that an hour costs less than it did when it cost most.
    pub saved_per_hour: Decimal,
    /// Requests the cloud got.
    pub cloud_requests: usize,
}

/// Plays `scenario` in `world`, telling `progress` once in `every` of the world's time.
pub async fn play<K: ApiServer>(
    world: &World<K>,
    scenario: &Scenario,
    progress: Option<&UnboundedSender<Progress>>,
    every: Duration,
) -> Verdict {
    let mut play = Play {
        world,
        scenario,
        began: world.clock.monotonic(),
        since: Duration::ZERO,
        done: 0,
        waited: false,
        last_step: None,
        failures: Vec::new(),
        broken: std::collections::BTreeSet::new(),
        all_running: None,
        most_running: 0,
        most_machines: 0,
        most_per_hour: Decimal::ZERO,
        said: std::collections::BTreeSet::new(),
        reached: std::collections::BTreeSet::new(),
        ran: BTreeMap::new(),
        recorded: std::collections::BTreeSet::new(),
    };
    for manifest in &scenario.manifests {
        if let Err(error) = world.apply(manifest).await {
            play.failures.push(described(&error));
        }
    }
    let mut told = None::<Duration>;
    let mut holds_since = None;
    loop {
        let elapsed = play.elapsed();
        play.take_steps().await;
        let view = world.view();
        let machines = workers(world);
        play.watch(&view, &machines);
        let over = play.done == scenario.steps.len();
        let holds = over && play.unmet(&view, &machines).is_empty();
        holds_since = holds.then(|| holds_since.unwrap_or(elapsed));
        let settled = holds_since.is_some_and(|since| elapsed >= since + scenario.settle.0);
        let end = settled || elapsed >= scenario.limit.0;
        if let Some(progress) = progress
            && (end || told.is_none_or(|told| elapsed >= told + every))
        {
            told = Some(elapsed);
            // Whoever has stopped listening misses nothing.
            let _ = progress.send(play.progress(&view));
        }
        if end {
            return play.verdict(&view, &machines);
        }
        world.clock.sleep(LOOK).await;
    }
}

struct Play<'a, K> {
    world: &'a World<K>,
    scenario: &'a Scenario,
    began: Duration,
    /// What the steps' times count from.
    since: Duration,
    done: usize,
    /// The moment that the next step waits for has come.
    waited: bool,
    last_step: Option<(u64, String)>,
    failures: Vec<String>,
    /// Expectations that were broken on the way.
    broken: std::collections::BTreeSet<String>,
    all_running: Option<Duration>,
    most_running: usize,
    most_machines: usize,
    most_per_hour: Decimal,
    /// Events heard: reason and message.
    said: std::collections::BTreeSet<(String, String)>,
    /// Numbers of the expectations whose count was reached once.
    reached: std::collections::BTreeSet<usize>,
    /// Where pods ran that are to be left alone.
    ran: BTreeMap<String, String>,
    /// Every VPSieNode that ever was.
    recorded: std::collections::BTreeSet<String>,
}

impl<K: ApiServer> Play<'_, K> {
    fn elapsed(&self) -> Duration {
        self.world.clock.monotonic().saturating_sub(self.began)
    }

    async fn take_steps(&mut self) {
        while let Some(step) = self.scenario.steps.get(self.done) {
            if let Some(moment) = step.once
                && !self.waited
            {
                if !has_come(moment, &self.world.view()) {
                    return;
                }
                self.waited = true;
                self.since = self.elapsed();
            }
            if self.elapsed() < self.since + step.at.0 {
                return;
            }
            if let Err(problem) = self.take(step).await {
                let number = self.done + 1;
                self.failures.push(format!("step {number}: {problem}"));
            }
            self.last_step = Some((self.elapsed().as_secs(), summary(&step.action)));
            self.done += 1;
            self.waited = false;
        }
    }

    async fn take(&self, step: &Step) -> Result<(), String> {
        let world = self.world;
        let told = |result: Result<(), WorldError>| result.map_err(|error| described(&error));
        match &step.action {
            Action::CreateDeployment {
                namespace,
                name,
                replicas,
                cpu,
                memory,
                options,
            } => {
                told(world.create_namespace(namespace).await)?;
                let made =
                    world.create_deployment(namespace, name, *replicas, cpu, memory, options);
                told(made.await)
            }
            Action::Scale {
                namespace,
                name,
                replicas,
            } => told(world.scale(namespace, name, *replicas).await),
            Action::Delete {
                api_version,
                kind,
                namespace,
                name,
            } => told(world.delete(api_version, kind, namespace, name).await),
            Action::Apply { manifest } => told(world.apply(manifest).await),
            Action::Node {
                of,
                cordoned,
                annotations,
            } => {
                let view = world.view();
                let mut pods = view
                    .pods
                    .iter()
                    .filter(|(key, _)| key.starts_with(of.as_str()));
                let node = pods.find_map(|(_, pod)| pod.node.clone());
                let node = node.ok_or_else(|| format!("no pod {of}* has a node"))?;
                if let Some(annotations) = annotations {
                    told(world.apply(&annotated(&node, annotations)).await)?;
                }
                match cordoned {
                    Some(cordoned) => told(world.cordon(&node, *cordoned).await),
                    None => Ok(()),
                }
            }
            Action::DrainedNode { annotations } => {
                let view = world.view();
                let node = drained(&view).ok_or("no node is drained")?;
                told(world.apply(&annotated(node, annotations)).await)
            }
            Action::Annotate { pods, annotations } => {
                for key in world.view().pods.keys() {
                    if let Some((namespace, name)) = key.split_once('/')
                        && key.starts_with(pods.as_str())
                    {
                        let metadata = json!({"namespace": namespace, "name": name,
                            "annotations": annotations});
                        told(world.apply(&object("Pod", &metadata)).await)?;
                    }
                }
                Ok(())
            }
            Action::Fault(rule) => {
                world.cloud.faults().add(rule.clone());
                Ok(())
            }
            Action::ClearFaults => {
                world.cloud.faults().clear();
                Ok(())
            }
            Action::HumanAdd { size } => self.human_add(*size),
            Action::HumanDelete { which } => {
                let mut paid = workers(world);
                paid.retain(Machine::is_paid);
                let victim = match which {
                    Victim::Oldest => paid.first(),
                    Victim::Newest => paid.last(),
                };
                let uuid = &victim.ok_or("there is no worker to delete")?.uuid;
                if world.cloud.human_delete(uuid) {
                    Ok(())
                } else {
                    Err(format!("worker {uuid} could not be deleted"))
                }
            }
            Action::WorkerCap { cap } => {
                world.cloud.set_worker_cap(&world.cluster, *cap);
                Ok(())
            }
            Action::SoldOut { size, sold_out } => {
                world.cloud.set_sold_out(*size, *sold_out);
                Ok(())
            }
            Action::ExpireTokens => {
                world.cloud.expire_tokens();
                Ok(())
            }
        }
    }

    fn human_add(&self, size: i64) -> Result<(), String> {
        let cloud = &self.world.cloud;
        let cluster = &self.world.cluster;
        let pool = cloud
            .pools(cluster)
            .iter()
            .find(|pool| pool.size == size)
            .map(|pool| pool.id)
            .or_else(|| cloud.human_add_group(cluster, "by-hand", size))
            .ok_or_else(|| format!("there is no size {size}"))?;
        cloud
            .human_add_worker(cluster, pool)
            .map(drop)
            .ok_or_else(|| format!("no worker could be added to group {pool}"))
    }

    /// Notes what can only be seen on the way.
    fn watch(&mut self, view: &View, machines: &[Machine]) {
        let counts = view.counts();
        self.most_running = self.most_running.max(counts.running);
        if self.all_running.is_none() && has_come(Moment::AllPodsRunning, view) {
            self.all_running = Some(self.elapsed());
        }
        let paid = machines.iter().filter(|machine| machine.is_paid()).count();
        self.most_machines = self.most_machines.max(paid);
        let hourly = self.world.cloud.ledger().hourly_now;
        self.most_per_hour = self.most_per_hour.max(hourly);
        self.said.extend(
            view.decisions
                .iter()
                .map(|decision| (decision.reason.clone(), decision.message.clone())),
        );
        self.recorded.extend(view.vpsie_nodes.keys().cloned());
        for (number, expected) in self.scenario.expect.iter().enumerate() {
            let broken = match expected {
                Expectation::PodsUndisturbed(prefix) => undisturbed(&mut self.ran, prefix, view),
                Expectation::AvailableAtLeast { pods, count } => {
                    let ready = available(view, pods);
                    if ready >= *count {
                        self.reached.insert(number);
                    }
                    (self.reached.contains(&number) && ready < *count).then(|| {
                        format!("{ready} pods {pods}* are Ready, {count} at least expected")
                    })
                }
                Expectation::MachinesBoughtAtMost(most) => {
                    let bought = bought(machines);
                    (bought > *most)
                        .then(|| format!("{bought} machines were bought, {most} at most expected"))
                }
                Expectation::MachinesAtOnceAtMost(most) => (paid > *most)
                    .then(|| format!("{paid} machines at once, {most} at most expected")),
                Expectation::HumanMachinesKept => machines
                    .iter()
                    .find(|machine| {
                        machine.origin == Origin::Human
                            && matches!(machine.deleted_by, Some(Origin::Api(_)))
                    })
                    .map(|machine| {
                        format!(
                            "{}, which a person had added, was deleted",
                            machine.hostname
                        )
                    }),
                _ => None,
            };
            self.broken.extend(broken);
        }
    }

    /// What is expected at the end and does not hold.
    fn unmet(&self, view: &View, machines: &[Machine]) -> Vec<String> {
        let unmet = |expected: &Expectation| self.problem(expected, view, machines);
        self.scenario.expect.iter().filter_map(unmet).collect()
    }

    fn problem(&self, expected: &Expectation, view: &View, machines: &[Machine]) -> Option<String> {
        let counts = view.counts();
        match expected {
            Expectation::AllPodsRunningBy(limit) => match self.all_running {
                Some(at) if at <= limit.0 => None,
                Some(at) => Some(format!(
                    "all pods ran after {} s, {limit} expected",
                    at.as_secs()
                )),
                None => Some(format!("all pods never ran; {limit} expected")),
            },
            Expectation::AllPodsRunning => {
                (counts.pending > 0).then(|| format!("{} pods are pending", counts.pending))
            }
            Expectation::PodsPending(wanted) => (counts.pending != *wanted)
                .then(|| format!("{} pods are pending, {wanted} expected", counts.pending)),
            Expectation::GroupsAtMinimum => at_minimum(view).err().or_else(|| {
                let wanted: i32 = managed_minimum(view);
                let left = machines
                    .iter()
                    .filter(|m| matches!(m.origin, Origin::Api(_)) && m.is_paid())
                    .count();
                (usize::try_from(wanted) != Ok(left))
                    .then(|| format!("{left} machines are left, {wanted} expected"))
            }),
            Expectation::NoLeakedMachines => {
                let leaked: Vec<_> = machines
                    .iter()
                    .filter(|m| matches!(m.origin, Origin::Api(_)) && m.is_paid())
                    .filter(|m| !is_recorded(m, view))
                    .map(|m| m.hostname.clone())
                    .collect();
                (!leaked.is_empty())
                    .then(|| format!("no VPSieNode names the machines {}", leaked.join(", ")))
            }
            Expectation::NoMachineBoughtTwice => {
                let (bought, recorded) = (bought(machines), self.recorded.len());
                (bought > recorded)
                    .then(|| format!("{bought} machines were bought for {recorded} VPSieNodes"))
            }
            Expectation::MachinesBoughtAtLeast(least) => {
                let bought = bought(machines);
                (bought < *least)
                    .then(|| format!("{bought} machines were bought, {least} at least expected"))
            }
            Expectation::GroupGone(group) => {
                let there = view.groups.contains_key(group)
                    || view.vpsie_nodes.values().any(|node| node.group == *group);
                there.then(|| format!("NodeGroup {group} is not gone"))
            }
            Expectation::EventSeen(reason) => {
                let heard = self.said.iter().any(|(heard, _)| heard == reason);
                (!heard).then(|| format!("no Event with the reason {reason} was heard"))
            }
            Expectation::EventSays { reason, text } => {
                let mut said = self.said.iter();
                let heard = said.any(|(heard, said)| heard == reason && said.contains(text));
                (!heard).then(|| format!("no Event {reason} that says {text:?} was heard"))
            }
            Expectation::NodesInService(wanted) => {
                let serves =
                    |row: &&NodeRow| row.ready && !row.unschedulable && row.group.is_some();
                let found = view.nodes.values().filter(serves).count();
                (found != *wanted)
                    .then(|| format!("{found} nodes are in service, {wanted} expected"))
            }
            Expectation::MachinesLeft(wanted) => {
                let left = machines.iter().filter(|machine| machine.is_paid()).count();
                (left != *wanted).then(|| format!("{left} machines are left, {wanted} expected"))
            }
            Expectation::SavedPerHourAtLeast(wanted) => {
                let saved = self.saved();
                (saved < *wanted)
                    .then(|| format!("{saved} USD/h are saved, {wanted} at least expected"))
            }
            Expectation::AvailableAtLeast { pods, count } => {
                let ready = available(view, pods);
                (ready < *count)
                    .then(|| format!("{ready} pods {pods}* are Ready, {count} at least expected"))
            }
            Expectation::PodsUndisturbed(prefix) => {
                let there = view.pods.keys().any(|key| key.starts_with(prefix.as_str()));
                (!there).then(|| format!("there are no pods {prefix}*"))
            }
            Expectation::Condition {
                group,
                kind,
                status,
            } => {
                let found = view
                    .groups
                    .get(group)
                    .and_then(|group| group.conditions.get(kind))
                    .map(|(status, _)| status.as_str());
                (found != Some(status.as_str()))
                    .then(|| format!("{group}: condition {kind} is {found:?}, {status} expected"))
            }
            Expectation::Phases(wanted) => {
                let mut phases: BTreeMap<String, usize> = BTreeMap::new();
                for node in view.vpsie_nodes.values() {
                    *phases.entry(node.phase.clone()).or_default() += 1;
                }
                (phases != *wanted)
                    .then(|| format!("VPSieNodes are {phases:?}, {wanted:?} expected"))
            }
            // Noted on the way.
            Expectation::MachinesBoughtAtMost(_)
            | Expectation::MachinesAtOnceAtMost(_)
            | Expectation::HumanMachinesKept => None,
        }
    }

    fn saved(&self) -> Decimal {
        self.most_per_hour - self.world.cloud.ledger().hourly_now
    }

    fn progress(&self, view: &View) -> Progress {
        let ledger = self.world.cloud.ledger();
        let mut phases = view.phases();
        let groups = view
            .groups
            .iter()
            .map(|(key, group)| {
                let progress = GroupProgress {
                    min: group.min,
                    max: group.max,
                    phases: phases.remove(key).unwrap_or_default(),
                };
                (key.clone(), progress)
            })
            .collect();
        Progress {
            at: self.world.clock.now(),
            elapsed_seconds: self.elapsed().as_secs(),
            counts: view.counts(),
            groups,
            machines: ledger.machines_now,
            per_hour: ledger.hourly_now,
            cost: ledger.cost,
            last_step: self.last_step.clone(),
            decisions: view.decisions.iter().take(DECISIONS).cloned().collect(),
        }
    }

    fn verdict(self, view: &View, machines: &[Machine]) -> Verdict {
        let mut failures = self.failures.clone();
        let undone = self.scenario.steps.len() - self.done;
        if undone > 0 {
            failures.push(format!("{undone} steps were never reached"));
        }
        failures.extend(self.broken.iter().cloned());
        failures.extend(self.unmet(view, machines));
        Verdict {
            scenario: self.scenario.name.clone(),
            passed: failures.is_empty(),
            failures,
            elapsed_seconds: self.elapsed().as_secs(),
            all_pods_running_after_seconds: self.all_running.map(|at| at.as_secs()),
            pods_running_at_most: self.most_running,
            machines_bought: bought(machines),
            machines_at_once: self.most_machines,
            machines_left: machines.iter().filter(|machine| machine.is_paid()).count(),
            cost: self.world.cloud.ledger().cost,
            saved_per_hour: self.saved(),
            cloud_requests: self.world.cloud.journal().len(),
        }
    }
}

/// An object of the core group, as far as its metadata goes.
fn object(kind: &str, metadata: &Value) -> Value {
    json!({"apiVersion": "v1", "kind": kind, "metadata": metadata})
}

/// Ready pods whose keys begin so.
fn available(view: &View, prefix: &str) -> usize {
    let pods = view.pods.iter().filter(|(key, pod)| {
        key.starts_with(prefix) && pod.phase == "Running" && pod.ready && !pod.deleting
    });
    pods.count()
}

/// Notes where pods run whose keys begin so; a pod of before that is gone, going or elsewhere.
fn undisturbed(ran: &mut BTreeMap<String, String>, prefix: &str, view: &View) -> Option<String> {
    for (key, pod) in view.pods.iter().filter(|(key, _)| key.starts_with(prefix)) {
        if let Some(node) = pod.node.clone().filter(|_| pod.phase == "Running") {
            ran.entry(key.clone()).or_insert(node);
        }
    }
    let disturbed = |(key, node): (&String, &String)| {
        let pod = view.pods.get(key);
        let stays = pod.is_some_and(|pod| !pod.deleting && pod.node.as_ref() == Some(node));
        (key.starts_with(prefix) && !stays).then(|| format!("pod {key} had to leave {node}"))
    };
    ran.iter().find_map(disturbed)
}

/// Workers of the world's cluster, oldest first.
fn workers<K>(world: &World<K>) -> Vec<Machine> {
    let mut machines = world.cloud.machines();
    machines.retain(|machine| {
        machine.role == Role::Worker && machine.cluster.as_deref() == Some(&world.cluster)
    });
    machines.sort_by_key(|machine| (machine.created_at, machine.id));
    machines
}

fn bought(machines: &[Machine]) -> usize {
    machines
        .iter()
        .filter(|machine| matches!(machine.origin, Origin::Api(_)))
        .count()
}

/// Whether a VPSieNode names the machine, by its UUID or by its Node.
fn is_recorded(machine: &Machine, view: &View) -> bool {
    view.vpsie_nodes.values().any(|node| {
        let by_uuid = node.machine.as_ref();
        by_uuid.is_some_and(|uuid| uuid.eq_ignore_ascii_case(&machine.uuid))
            || node.node.as_deref() == Some(&machine.node_name)
    })
}

fn managed_minimum(view: &View) -> i32 {
    view.groups
        .values()
        .filter(|group| group.managed)
        .map(|group| group.min)
        .sum()
}

fn at_minimum(view: &View) -> Result<(), String> {
    for (key, group) in view.groups.iter().filter(|(_, group)| group.managed) {
        let nodes: Vec<_> = view
            .vpsie_nodes
            .values()
            .filter(|node| node.group == *key)
            .collect();
        let ready = nodes
            .iter()
            .all(|node| node.phase == "Ready" && !node.deleting);
        if usize::try_from(group.min) != Ok(nodes.len()) || !ready {
            let phases: Vec<_> = nodes.iter().map(|node| node.phase.as_str()).collect();
            return Err(format!(
                "{key} has nodes [{}], {} Ready ones expected",
                phases.join(", "),
                group.min
            ));
        }
    }
    Ok(())
}

fn has_come(moment: Moment, view: &View) -> bool {
    let counts = view.counts();
    match moment {
        Moment::AllPodsRunning => counts.running > 0 && counts.pending == 0,
        Moment::NoPods => counts.running + counts.pending == 0,
        Moment::GroupsAtMinimum => at_minimum(view).is_ok(),
        Moment::PodsRunning(pods) => counts.running == pods && counts.pending == 0,
        Moment::Draining => drained(view).is_some(),
    }
}

/// A worker of a NodeGroup that is cordoned.
fn drained(view: &View) -> Option<&str> {
    let mut nodes = view.nodes.iter();
    nodes
        .find_map(|(name, row)| (row.group.is_some() && row.unschedulable).then_some(name.as_str()))
}

fn annotated(node: &str, annotations: &BTreeMap<String, String>) -> Value {
    object("Node", &json!({"name": node, "annotations": annotations}))
}

fn summary(action: &Action) -> String {
    match action {
        Action::CreateDeployment {
            name,
            replicas,
            cpu,
            memory,
            ..
        } => {
            format!("deployed {name}: {replicas} pods of {cpu} CPU, {memory} memory")
        }
        Action::Scale { name, replicas, .. } => format!("scaled {name} to {replicas}"),
        Action::Delete { kind, name, .. } => format!("deleted {kind} {name}"),
        Action::Apply { manifest } => {
            let text = |value: &Value| value.as_str().unwrap_or("?").to_owned();
            format!(
                "applied {} {}",
                text(&manifest["kind"]),
                text(&manifest["metadata"]["name"])
            )
        }
        Action::Node { of, cordoned, .. } => match cordoned {
            Some(true) => format!("a person cordoned the node of {of}"),
            Some(false) => format!("a person uncordoned the node of {of}"),
            None => format!("a person wrote on the node of {of}"),
        },
        Action::DrainedNode { .. } => "a person wrote on the node that is drained".to_owned(),
        Action::Annotate { pods, .. } => format!("a person wrote on the pods {pods}"),
        Action::Fault(rule) => format!("armed a fault: {:?}", rule.fault),
        Action::ClearFaults => "disarmed the faults".to_owned(),
        Action::HumanAdd { size } => format!("a person added a worker of size {size}"),
        Action::HumanDelete { .. } => "a person deleted a worker".to_owned(),
        Action::WorkerCap { cap: Some(cap) } => format!("the cluster may have {cap} workers"),
        Action::WorkerCap { cap: None } => "the cluster may have any number of workers".to_owned(),
        Action::SoldOut {
            size,
            sold_out: true,
        } => format!("size {size} is sold out"),
        Action::SoldOut { size, .. } => format!("size {size} is available again"),
        Action::ExpireTokens => "every token expired".to_owned(),
    }
}

/// An error with its causes.
fn described(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
