//! One watch per kind, applied to the index as its events come.
//!
//! kube's `watcher` lists, watches and recovers; around it stands what it lacks: a back-off drawn
//! from our own randomness, and the watchdog that lists a kind anew when nothing was heard of it
//! for too long or its watch can no longer be started.

mod apply;

use std::{fmt::Debug, time::Duration};

use futures::StreamExt as _;
use intake::{
    BudgetView, ConfigView, NamespaceView, WorkloadView,
    storage::{
        AttachmentView, CapacityView, ClaimView, ClassView, CsiNodeView, DriverView, VolumeView,
    },
};
use k8s_openapi::api::{
    apps::v1::{ReplicaSet, StatefulSet},
    batch::v1::Job,
    core::v1::ReplicationController,
};
use kube::{
    Api, Client, Resource,
    api::ListParams,
    core::DeserializeGuard,
    runtime::{
        WatchStreamExt as _,
        utils::Backoff,
        watcher::{self, Event, watcher},
    },
};
use runtime::{Randomness, Tasks};
use serde::de::DeserializeOwned;

use super::{ClusterState, Kind, disruption::Fact, surroundings::Entry, views};
use crate::pulse::{Beat, Pulse};
use apply::{
    Apply, OfDaemonSets, OfDisruption, OfNodeGroups, OfNodes, OfPods, OfSurroundings, OfVPSieNodes,
};

/// Doubles from 0.5 s to 30 s, with jitter.
#[derive(Clone, Debug)]
struct Patience {
    random: Randomness,
    next: Duration,
    clock_speed: f64,
}

const FIRST: Duration = Duration::from_millis(500);
const LONGEST: Duration = Duration::from_secs(30);

impl Patience {
    /// `clock_speed` divides the waits for a sleeper that is not on product time (kube's).
    const fn new(random: Randomness, clock_speed: f64) -> Self {
        Self {
            random,
            next: FIRST,
            clock_speed,
        }
    }

    fn draw(&mut self) -> Duration {
        let wait = self.random.between(self.next / 2, self.next);
        self.next = (self.next * 2).min(LONGEST);
        wait.div_f64(self.clock_speed)
    }
}

impl Iterator for Patience {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        Some(self.draw())
    }
}

impl Backoff for Patience {
    fn reset(&mut self) {
        self.next = FIRST;
    }
}

pub(super) fn spawn(state: &ClusterState, client: &Client, tasks: &Tasks, pulse: &Pulse) {
    let pods = Api::<views::PodView>::all(client.clone());
    let unfinished = "status.phase!=Succeeded,status.phase!=Failed";
    run(
        state,
        tasks,
        pulse.begin("watch pods"),
        Kind::Pods,
        pods,
        Some(unfinished),
        OfPods,
    );
    let nodes = Api::<views::NodeView>::all(client.clone());
    run(
        state,
        tasks,
        pulse.begin("watch nodes"),
        Kind::Nodes,
        nodes,
        None,
        OfNodes,
    );
    let sets = Api::<views::DaemonSetView>::all(client.clone());
    run(
        state,
        tasks,
        pulse.begin("watch daemonsets"),
        Kind::DaemonSets,
        sets,
        None,
        OfDaemonSets,
    );
    let groups = Api::<DeserializeGuard<api::NodeGroup>>::all(client.clone());
    run(
        state,
        tasks,
        pulse.begin("watch nodegroups"),
        Kind::NodeGroups,
        groups,
        None,
        OfNodeGroups,
    );
    let machines = Api::<DeserializeGuard<api::VPSieNode>>::all(client.clone());
    run(
        state,
        tasks,
        pulse.begin("watch vpsienodes"),
        Kind::VPSieNodes,
        machines,
        None,
        OfVPSieNodes,
    );
    let begin = |name| pulse.begin(name);
    surrounding::<NamespaceView>(state, client, tasks, begin("watch namespaces"));
    surrounding::<VolumeView>(state, client, tasks, begin("watch persistentvolumes"));
    surrounding::<ClaimView>(state, client, tasks, begin("watch persistentvolumeclaims"));
    surrounding::<ClassView>(state, client, tasks, begin("watch storageclasses"));
    surrounding::<CsiNodeView>(state, client, tasks, begin("watch csinodes"));
    surrounding::<DriverView>(state, client, tasks, begin("watch csidrivers"));
    surrounding::<CapacityView>(state, client, tasks, begin("watch csistoragecapacities"));
    surrounding::<AttachmentView>(state, client, tasks, begin("watch volumeattachments"));
    fact::<BudgetView>(state, client, tasks, begin("watch poddisruptionbudgets"));
    fact::<WorkloadView<ReplicaSet>>(state, client, tasks, begin("watch replicasets"));
    let beat = begin("watch replicationcontrollers");
    fact::<WorkloadView<ReplicationController>>(state, client, tasks, beat);
    fact::<WorkloadView<StatefulSet>>(state, client, tasks, begin("watch statefulsets"));
    fact::<WorkloadView<Job>>(state, client, tasks, begin("watch jobs"));
    fact::<ConfigView>(state, client, tasks, begin("watch autoscalerconfigs"));
}

fn surrounding<E>(state: &ClusterState, client: &Client, tasks: &Tasks, beat: Beat)
where
    E: Entry + Clone + DeserializeOwned + Debug + Send + 'static,
{
    let api = Api::<E>::all(client.clone());
    run(state, tasks, beat, E::KIND, api, None, OfSurroundings);
}

fn fact<F>(state: &ClusterState, client: &Client, tasks: &Tasks, beat: Beat)
where
    F: Fact + Clone + DeserializeOwned + Debug + Send + 'static,
{
    let api = Api::<F>::all(client.clone());
    run(state, tasks, beat, F::KIND, api, None, OfDisruption);
}

fn run<K, A>(
    state: &ClusterState,
    tasks: &Tasks,
    beat: Beat,
    kind: Kind,
    api: Api<K>,
    fields: Option<&'static str>,
    apply: A,
) where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug + Send + 'static,
    A: Apply<K>,
{
    let state = state.clone();
    let stop = tasks.stop_token();
    tasks.spawn(beat.name(), async move {
        tokio::select! {
            biased;
            () = stop.cancelled() => {}
            () = keep(&state, kind, &api, fields, apply, &beat) => {}
        }
    });
}

/// Why a watch has to be built anew.
enum End {
    /// It came to nothing.
    Lost(&'static str),
    /// The kind may not be read, or the server does not have it.
    Refused(u16),
}

/// Follows a kind for ever: builds its watch anew whenever that has come to nothing.
async fn keep<K, A>(
    state: &ClusterState,
    kind: Kind,
    api: &Api<K>,
    fields: Option<&'static str>,
    apply: A,
    beat: &Beat,
) where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug + Send + 'static,
    A: Apply<K>,
{
    let random = state.random.fork(kind.plural());
    let mut patience = Patience::new(random.clone(), 1.0);
    loop {
        let begun = state.clock.monotonic();
        let end = follow(state, kind, api.clone(), fields, apply, &random, beat).await;
        // Where every watch is refused as expired, lists must not follow each other in a hot loop.
        if state.clock.monotonic().saturating_sub(begun) > LONGEST * 2 {
            patience.reset();
        }
        match end {
            End::Lost(why) => {
                tracing::warn!(kind = kind.plural(), why, "listing this kind anew");
                state.lock().rebuilt(kind);
                beat.waiting(state.clock.sleep(patience.draw())).await;
            }
            End::Refused(code) => {
                tracing::warn!(
                    kind = kind.plural(),
                    code,
                    so = kind.without(),
                    "this kind cannot be read"
                );
                wait_until_readable(state, kind, api, &mut patience, beat).await;
                tracing::info!(kind = kind.plural(), "this kind can be read");
            }
        }
    }
}

/// Asks for one object from time to time until the answer is no refusal. (A watcher would do as
/// well, and log each refusal.)
async fn wait_until_readable<K>(
    state: &ClusterState,
    kind: Kind,
    api: &Api<K>,
    patience: &mut Patience,
    beat: &Beat,
) where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug,
{
    let one = ListParams::default().limit(1);
    loop {
        beat.waiting(state.clock.sleep(patience.draw())).await;
        let answer = state.clock.timeout(LONGEST, api.list(&one));
        match beat.waiting(answer).await {
            Ok(Ok(_)) => return,
            Ok(Err(error)) => tracing::debug!(kind = kind.plural(), %error, "still not readable"),
            Err(_) => tracing::debug!(kind = kind.plural(), "no answer"),
        }
    }
}

/// Follows one watch until it has to be built anew; says why.
async fn follow<K, A>(
    state: &ClusterState,
    kind: Kind,
    api: Api<K>,
    fields: Option<&'static str>,
    apply: A,
    random: &Randomness,
    beat: &Beat,
) -> End
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug + Send + 'static,
    A: Apply<K>,
{
    let mut config = watcher::Config::default()
        .page_size(state.options.page_size)
        .timeout(u32::try_from(state.options.watch_timeout.as_secs()).unwrap_or(240));
    if let Some(fields) = fields {
        config = config.fields(fields);
    }
    let patience = Patience::new(random.clone(), state.clock.speed());
    let mut events = Box::pin(watcher(api, config).backoff(patience));
    let begun = state.clock.monotonic();
    loop {
        let now = state.clock.monotonic();
        let silent = state.heard.age(kind).min(now.saturating_sub(begun));
        let left = state.options.stale_after.saturating_sub(silent);
        if left.is_zero() {
            return End::Lost("nothing was heard of it");
        }
        let next = state.clock.timeout(left, events.next());
        let event = match beat.waiting(next).await {
            Ok(Some(event)) => event,
            Ok(None) => return End::Lost("its watch ended"),
            Err(_) => continue,
        };
        match event {
            Ok(event) => apply_event(state, event, apply),
            Err(error) => {
                tracing::debug!(kind = kind.plural(), %error, "watch interrupted");
                if is_expired(&error) {
                    // The watcher would ask for the same version again, for ever.
                    return End::Lost("its watch cannot be started from the version listed");
                }
                match refusal(&error) {
                    Some(Refusal::List(code)) if kind.without().is_some() => {
                        if state.lock().refused(kind) {
                            state.bump(|versions| apply.bump(versions));
                        }
                        return End::Refused(code);
                    }
                    // Lists keep it fresh, or tell that it may not be read at all.
                    Some(Refusal::Watch) if kind.without().is_some() => {
                        return End::Lost("its watch was refused");
                    }
                    _ => {}
                }
            }
        }
    }
}

/// A watch that could not be *started* because its version is too old (HTTP 410).
fn is_expired(error: &watcher::Error) -> bool {
    matches!(
        error,
        watcher::Error::WatchStartFailed(kube::Error::Api(status)) if status.code == 410
    )
}

/// What may not be done with a kind, or cannot be because there is none such.
enum Refusal {
    /// With this status.
    List(u16),
    Watch,
}

fn refusal(error: &watcher::Error) -> Option<Refusal> {
    let code = |error: &kube::Error| match error {
        kube::Error::Api(status) if matches!(status.code, 403 | 404) => Some(status.code),
        _ => None,
    };
    match error {
        watcher::Error::InitialListFailed(error) => code(error).map(Refusal::List),
        watcher::Error::WatchStartFailed(error) => code(error).map(|_| Refusal::Watch),
        _ => None,
    }
}

fn apply_event<K, A: Apply<K>>(state: &ClusterState, event: Event<K>, apply: A) {
    let mut index = state.lock();
    let changed = match event {
        Event::Init => {
            apply.begin(&mut index);
            false
        }
        Event::InitApply(object) | Event::Apply(object) => apply.put(&mut index, object),
        Event::Delete(object) => apply.remove(&mut index, object),
        Event::InitDone => apply.done(&mut index),
    };
    let unschedulable = index.take_unschedulable_changed();
    drop(index);
    if changed {
        state.bump(|versions| {
            apply.bump(versions);
            versions.unschedulable += u64::from(unschedulable);
        });
    }
}
