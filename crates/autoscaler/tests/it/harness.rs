//! A world, replicas of the product in it, and the hand that crashes them.

use std::{
    cell::RefCell,
    collections::BTreeSet,
    fmt::Debug,
    future::Future,
    sync::{
        Arc, Mutex, Once,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use clap::Parser as _;
use futures::future::BoxFuture;
use history::{History, Note, Violation};
use http::{Method, Request, Response};
use jiff::Timestamp;
use kube::{Client, client::Body};
use runtime::{Clock, Randomness, Tasks};
use serde_json::{Value, json};
use sim::{View, World, WorldConfig};
use tokio::sync::Notify;
use tracing::{
    Event, Level, Subscriber,
    field::{Field, Visit},
};
use tracing_subscriber::{
    Layer,
    filter::dynamic_filter_fn,
    layer::{self, SubscriberExt as _},
};
use vpsie::{Transport, TransportError};
use vpsie_autoscaler::{Args, Replica, RunArgs, Seams, demo::InProcess};

/// Runs `scenario` in virtual time on one thread, on a thread of its own so that nothing leaks
/// from one run to the next.
pub fn virtually<T: Send + 'static, F: Future<Output = T>>(
    scenario: impl FnOnce() -> F + Send + 'static,
) -> T {
    std::thread::Builder::new()
        .stack_size(8 << 20)
        .spawn(move || {
            tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .start_paused(true)
                .build()
                .unwrap()
                .block_on(scenario())
        })
        .unwrap()
        .join()
        .unwrap()
}

/// Where in a write the crash comes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Moment {
    Before,
    AfterSending,
    AfterAnswer,
}

/// Counts the writes of a replica, to Kubernetes and to the cloud, and stops the replica dead at
/// one of them. Lease renewals and Events are not counted: they carry no state of the product.
#[derive(Default)]
pub struct Tripwire {
    count: AtomicU64,
    plan: Mutex<Option<(u64, Moment)>>,
    tripped: AtomicBool,
    notify: Notify,
    paused: AtomicBool,
    resumed: Notify,
}

impl Tripwire {
    /// Holds every request of the replica, those to the lease too, as if its process slept.
    pub fn pause(&self) {
        self.paused.store(true, Ordering::SeqCst);
    }

    /// Lets the held requests go on.
    pub fn resume(&self) {
        self.paused.store(false, Ordering::SeqCst);
        self.resumed.notify_waiters();
    }

    async fn awake(&self) {
        while self.paused.load(Ordering::SeqCst) {
            let resumed = self.resumed.notified();
            if self.paused.load(Ordering::SeqCst) {
                resumed.await;
            }
        }
    }

    pub fn at(write: u64, moment: Moment) -> Arc<Self> {
        Arc::new(Self {
            plan: Mutex::new(Some((write, moment))),
            ..Self::default()
        })
    }

    pub fn writes(&self) -> u64 {
        self.count.load(Ordering::SeqCst)
    }

    pub fn has_tripped(&self) -> bool {
        self.tripped.load(Ordering::SeqCst)
    }

    pub async fn tripped(&self) {
        while !self.has_tripped() {
            self.notify.notified().await;
        }
    }

    fn step(&self) -> Option<Moment> {
        let number = self.count.fetch_add(1, Ordering::SeqCst) + 1;
        let plan = self.plan.lock().unwrap();
        plan.filter(|(write, _)| *write == number)
            .map(|(_, moment)| moment)
    }

    fn trip(&self) {
        self.tripped.store(true, Ordering::SeqCst);
        self.notify.notify_one();
    }

    async fn guard<T>(self: &Arc<Self>, counts: bool, send: impl Future<Output = T>) -> T {
        let moment = if counts { self.step() } else { None };
        if self.has_tripped() {
            std::future::pending::<()>().await;
        }
        if moment == Some(Moment::Before) {
            self.trip();
            std::future::pending::<()>().await;
        }
        self.awake().await;
        let answer = send.await;
        self.awake().await;
        match moment {
            Some(Moment::AfterSending) => {
                self.trip();
                std::future::pending::<()>().await;
            }
            Some(Moment::AfterAnswer) => self.trip(),
            _ => {}
        }
        answer
    }
}

#[derive(Clone)]
struct Wired {
    inner: Client,
    tripwire: Arc<Tripwire>,
}

impl tower::Service<Request<Body>> for Wired {
    type Response = Response<Body>;
    type Error = tower::BoxError;
    type Future = BoxFuture<'static, Result<Self::Response, Self::Error>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let path = request.uri().path();
        let counts = *request.method() != Method::GET
            && !path.contains("/leases")
            && !path.contains("/events");
        let (client, tripwire) = (self.inner.clone(), Arc::clone(&self.tripwire));
        Box::pin(async move {
            tripwire
                .guard(counts, async move { Ok(client.send(request).await?) })
                .await
        })
    }
}

struct WiredCloud {
    actor: String,
    inner: InProcess,
    tripwire: Arc<Tripwire>,
    hidden: Hidden,
}

/// UUIDs of machines that the cloud's listing lacks.
type Hidden = Arc<Mutex<BTreeSet<String>>>;

/// The answer without the rows of hidden machines.
fn without(hidden: &Hidden, mut answer: Response<Bytes>) -> Response<Bytes> {
    let hidden = hidden.lock().unwrap();
    if hidden.is_empty() {
        return answer;
    }
    if let Ok(mut body) = serde_json::from_slice::<Value>(answer.body())
        && let Some(Value::Array(rows)) = body.pointer_mut("/data/nodes")
    {
        rows.retain(|row| {
            !row["identifier"]
                .as_str()
                .is_some_and(|id| hidden.contains(id))
        });
        *answer.body_mut() = Bytes::from(body.to_string());
    }
    answer
}

impl Transport for WiredCloud {
    fn send(
        &self,
        mut request: Request<Bytes>,
    ) -> vpsie::BoxFuture<'_, Result<Response<Bytes>, TransportError>> {
        if let Ok(actor) = self.actor.parse() {
            request.headers_mut().insert("x-sim-actor", actor);
        }
        let path = request.uri().path();
        let counts = path.contains("/add/") || path.contains("/delete/");
        Box::pin(async move {
            let sent = self.tripwire.guard(counts, self.inner.send(request));
            Ok(without(&self.hidden, sent.await?))
        })
    }
}

/// A world with the product's groups to be put in.
pub struct Harness {
    pub world: World,
    pub clock: Clock,
    pub random: Randomness,
    /// The world's actors: they live as long as the harness.
    _tasks: Tasks,
    pub args: RunArgs,
    started: AtomicU64,
    hidden: Hidden,
    /// Under which names replicas were started.
    actors: Mutex<BTreeSet<String>>,
    /// Rules that the history need not keep, and why.
    excused: Mutex<Vec<(&'static str, &'static str)>>,
    judged: AtomicBool,
}

thread_local! {
    /// What the audit refused in the world of this thread.
    static REFUSED: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

/// Hears where the audit refuses a plan or a step.
struct Refusals;

impl<S: Subscriber> Layer<S> for Refusals {
    fn on_event(&self, event: &Event<'_>, _: layer::Context<'_, S>) {
        struct Text(String);
        impl Visit for Text {
            fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
                self.0 += &format!("{}: {value:?}; ", field.name());
            }
        }
        let mut text = Text(String::new());
        event.record(&mut text);
        if text.0.contains("breaks a rule and is refused") {
            REFUSED.with_borrow_mut(|refused| refused.push(text.0));
        }
    }
}

/// Whoever comes first to a log line settles, for the whole process, whether anybody may listen to
/// it; where nobody listens at that moment, nobody ever will. So somebody does, and hears errors.
fn let_log_lines_be_heard() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let errors = dynamic_filter_fn(|metadata, _| *metadata.level() == Level::ERROR);
        let listener = tracing_subscriber::registry().with(Refusals.with_filter(errors));
        tracing::subscriber::set_global_default(listener).unwrap();
    });
}

impl Harness {
    pub async fn new(seed: u64) -> Self {
        Self::with(seed, WorldConfig::default(), &[]).await
    }

    pub async fn with(seed: u64, config: WorldConfig, flags: &[&str]) -> Self {
        let_log_lines_be_heard();
        REFUSED.take();
        let epoch: Timestamp = "2026-01-05T08:00:00Z".parse().unwrap();
        let clock = Clock::starting_at(epoch, 1.0);
        let random = Randomness::seeded(seed);
        let tasks = Tasks::new();
        let config = WorldConfig {
            recorded: true,
            ..config
        };
        let world = World::start(config, clock.clone(), random.fork("world"), &tasks)
            .await
            .unwrap();
        let args = Args::try_parse_from(["vpsie-autoscaler"].iter().chain(flags.iter()))
            .unwrap()
            .run;
        Self {
            world,
            clock,
            random,
            _tasks: tasks,
            args,
            started: AtomicU64::new(0),
            hidden: Hidden::default(),
            actors: Mutex::default(),
            excused: Mutex::default(),
            judged: AtomicBool::new(false),
        }
    }

    pub fn start(&self) -> Replica {
        self.start_with(&Arc::default())
    }

    pub fn start_with(&self, tripwire: &Arc<Tripwire>) -> Replica {
        self.start_as("vpsie-autoscaler", tripwire)
    }

    /// A replica whose requests stand in the API server's journal under the name `actor`.
    pub fn start_as(&self, actor: &str, tripwire: &Arc<Tripwire>) -> Replica {
        let number = self.started.fetch_add(1, Ordering::SeqCst);
        self.actors.lock().unwrap().insert(actor.to_owned());
        self.world.note(actor, Note::Started);
        let client = Client::new(
            Wired {
                inner: self.world.kube.client(actor, "kube-system"),
                tripwire: Arc::clone(tripwire),
            },
            "kube-system",
        );
        Replica::start(
            &self.args,
            Seams {
                clock: self.clock.clone(),
                random: self.random.fork(&format!("replica {number}")),
                client,
                transport: Arc::new(WiredCloud {
                    actor: actor.to_owned(),
                    inner: InProcess::new(self.world.cloud.clone()),
                    tripwire: Arc::clone(tripwire),
                    hidden: Arc::clone(&self.hidden),
                }),
            },
            None,
        )
    }

    /// Applies a managed NodeGroup of one small size; `change` edits its spec.
    pub async fn group(&self, name: &str, min: u32, max: u32, change: Value) {
        let mut spec = json!({
            "minNodes": min, "maxNodes": max,
            "datacenterID": self.datacenter(),
            "offeringIDs": [self.size(0)],
            "labels": { "pool": name },
            "scaleDownPolicy": { "stabilizationWindowSeconds": 60, "cooldownSeconds": 30 },
        });
        if let (Some(spec), Some(change)) = (spec.as_object_mut(), change.as_object()) {
            for (key, value) in change {
                spec.insert(key.clone(), value.clone());
            }
        }
        self.world
            .apply(&json!({
                "apiVersion": "autoscaler.vpsie.com/v1alpha1", "kind": "NodeGroup",
                "metadata": {
                    "name": name, "namespace": "kube-system",
                    "labels": { "autoscaler.vpsie.com/managed": "true" },
                },
                "spec": spec,
            }))
            .await
            .unwrap();
    }

    /// Puts the pause on the group `general`, or takes it away.
    pub async fn pause_group(&self, paused: bool) {
        let value = paused.then_some("true");
        let change = json!({"metadata": {"annotations": {api::labels::PAUSED: value}}});
        self.world
            .patch(
                "autoscaler.vpsie.com/v1alpha1",
                "NodeGroup",
                "kube-system",
                "general",
                change,
            )
            .await
            .unwrap();
    }

    pub fn datacenter(&self) -> String {
        self.world.cloud.config().datacenters[0].identifier.clone()
    }

    pub fn size(&self, index: usize) -> String {
        self.world.cloud.config().datacenters[0].sizes[index]
            .name
            .clone()
    }

    /// Pods that ask for `cpu` each and may run on the workers of `group`.
    pub async fn deployment(&self, name: &str, replicas: u32, cpu: &str, group: Option<&str>) {
        let mut options = sim::DeploymentOptions::default();
        if let Some(group) = group {
            options.node_selector.insert("pool".into(), group.into());
        }
        self.world
            .create_deployment("default", name, replicas, cpu, "64Mi", &options)
            .await
            .unwrap();
    }

    pub async fn wait(&self, minutes: u64, what: &str, holds: impl Fn(&View) -> bool) {
        let held = self
            .world
            .wait_until(Duration::from_secs(minutes * 60), holds)
            .await;
        assert!(
            held,
            "{what}: not within {minutes} minutes\n{}",
            self.picture()
        );
    }

    pub async fn minutes(&self, minutes: u64) {
        self.clock.sleep(Duration::from_secs(minutes * 60)).await;
    }

    /// From now on the cloud's listing lacks exactly these machines.
    pub fn hide(&self, machines: &[&str]) {
        let machines = machines.iter().map(|&uuid| uuid.to_owned());
        *self.hidden.lock().unwrap() = machines.collect();
    }

    /// Machines that are paid now.
    pub fn paid(&self) -> usize {
        self.world.cloud.ledger().machines_now
    }

    /// Machines that were ever bought.
    pub fn bought(&self) -> usize {
        self.world.cloud.ledger().machines.len()
    }

    /// Under which names replicas were started.
    pub fn actors(&self) -> BTreeSet<String> {
        self.actors.lock().unwrap().clone()
    }

    /// The history of this world so far, of all replicas that were started in it.
    pub fn history(&self) -> History {
        let mut history = self.world.history(self.actors());
        let at_once = self.args.max_concurrent_scale_downs;
        history.limits.removals_at_once = usize::try_from(at_once).unwrap_or(usize::MAX);
        history
    }

    /// This story breaks a rule by what it does to the world, not by what the product does.
    pub fn excuse(&self, rule: &'static str, why: &'static str) {
        self.excused.lock().unwrap().push((rule, why));
    }

    /// Holds all rules against the history; a world that is dropped is judged in any case.
    pub fn judge(&self, history: &History) -> Vec<Violation> {
        self.judged.store(true, Ordering::SeqCst);
        let excused = self.excused.lock().unwrap();
        let mut found = history::check(history);
        found.retain(|violation| excused.iter().all(|(rule, _)| *rule != violation.rule));
        // What is right is never refused: where the audit has to, what it looks at went wrong.
        let last = history.events.last();
        found.extend(REFUSED.take().into_iter().map(|detail| Violation {
            rule: "audit",
            seq: last.map_or(0, |event| event.seq),
            at: self.clock.now(),
            detail,
        }));
        found
    }

    /// What to look at when something went wrong.
    pub fn picture(&self) -> String {
        let view = self.world.view();
        let mut text = format!("{:?}\n", view.counts());
        for (name, node) in &view.vpsie_nodes {
            text += &format!("{name}: {node:?}\n");
        }
        for (name, group) in &view.groups {
            text += &format!("{name}: {group:?}\n");
        }
        for machine in self.world.cloud.machines() {
            text += &format!("{machine:?}\n");
        }
        for decision in view.decisions.iter().take(30) {
            text += &format!(
                "{} {} {} {}\n",
                decision.at, decision.object, decision.reason, decision.message
            );
        }
        text
    }
}

impl Drop for Harness {
    /// No story may break a rule on its way to whatever it is about.
    fn drop(&mut self) {
        if std::thread::panicking() || self.judged.load(Ordering::SeqCst) {
            return;
        }
        let history = self.history();
        let found = self.judge(&history);
        assert!(found.is_empty(), "{}", report(&history, &found));
    }
}

/// A number that the environment asks for by this name.
pub fn asked_number<T: std::str::FromStr>(name: &str) -> Option<T> {
    std::env::var(name).ok()?.parse().ok()
}

/// What was broken, and what happened right before the first of it.
pub fn report(history: &History, found: &[Violation]) -> String {
    let mut text = String::new();
    for violation in found.iter().take(20) {
        text += &format!("{violation}\n");
    }
    if let Some(first) = found.first() {
        text += &format!("before it:\n{}\n", history.around(first, 40));
    }
    // Everything about one object, for whoever looks into it.
    if let Ok(name) = std::env::var("ABOUT") {
        let lines = history.events.iter().map(ToString::to_string);
        let lines: Vec<String> = lines.filter(|line| line.contains(&name)).collect();
        text += &format!("about {name}:\n{}\n", lines.join("\n"));
    }
    text
}

/// All pods run.
pub fn all_running(pods: usize) -> impl Fn(&View) -> bool {
    move |view| {
        let counts = view.counts();
        counts.running == pods && counts.pending == 0
    }
}

/// Nothing of ours is left, or exactly this many nodes, all Ready and none on its way out.
pub fn settled(nodes: usize) -> impl Fn(&View) -> bool {
    move |view| {
        view.vpsie_nodes.len() == nodes
            && view
                .vpsie_nodes
                .values()
                .all(|node| node.phase == "Ready" && !node.deleting)
    }
}
