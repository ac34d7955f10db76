//! One watch per kind for all actors: each object is decoded once and handed to every actor that
//! asked for its kind, in the order the API server told it.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Debug,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures::StreamExt as _;
use intake::NamespaceView;
use k8s_openapi::NamespaceResourceScope;
use kube::{
    Api, Client, Resource,
    core::DeserializeGuard,
    runtime::{
        WatchStreamExt as _,
        utils::Backoff,
        watcher::{self, Event, watcher},
    },
};
use runtime::{Clock, Randomness, Tasks};
use serde::de::DeserializeOwned;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::{
    actors::kubelet::Order,
    objects::{
        Budget, DaemonSet, Deployment, Job, Key, Lease, Node, Note, Object, Pod, ReplicaSet,
        StatefulSet,
    },
};

/// An object as it is now, or as it was last.
#[derive(Debug)]
pub(crate) enum Seen<K> {
    Put(Arc<K>),
    Gone(Arc<K>),
}

impl<K> Clone for Seen<K> {
    fn clone(&self) -> Self {
        match self {
            Self::Put(object) => Self::Put(Arc::clone(object)),
            Self::Gone(object) => Self::Gone(Arc::clone(object)),
        }
    }
}

impl<K> Seen<K> {
    pub(crate) fn object(&self) -> &Arc<K> {
        match self {
            Self::Put(object) | Self::Gone(object) => object,
        }
    }
}

/// News for an actor.
#[derive(Clone, Debug)]
pub(crate) enum Change {
    Pod(Seen<Pod>),
    Node(Seen<Node>),
    Namespace(Seen<NamespaceView>),
    Lease(Seen<Lease>),
    Deployment(Seen<Deployment>),
    ReplicaSet(Seen<ReplicaSet>),
    StatefulSet(Seen<StatefulSet>),
    DaemonSet(Seen<DaemonSet>),
    Job(Seen<Job>),
    Budget(Seen<Budget>),
    Event(Seen<Note>),
    NodeGroup(Seen<api::NodeGroup>),
    VPSieNode(Seen<api::VPSieNode>),
    /// To the kubelets: a machine starts or stops one.
    Order(Order),
}

/// The kinds that can be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    Pod,
    Node,
    Namespace,
    Lease,
    Deployment,
    ReplicaSet,
    StatefulSet,
    DaemonSet,
    Job,
    Budget,
    Event,
    NodeGroup,
    VPSieNode,
}

type Listener = (BTreeSet<Kind>, UnboundedSender<Change>);

/// Watches what the actors ask for.
pub(crate) struct Observer {
    pub(crate) client: Client,
    pub(crate) clock: Clock,
    pub(crate) random: Randomness,
    listeners: Vec<Listener>,
}

impl Observer {
    pub(crate) fn new(client: Client, clock: Clock, random: Randomness) -> Self {
        Self {
            client,
            clock,
            random,
            listeners: Vec::new(),
        }
    }

    /// News of `kinds`, from the moment [`Observer::start`] is called.
    pub(crate) fn listen(
        &mut self,
        kinds: &[Kind],
    ) -> (UnboundedSender<Change>, UnboundedReceiver<Change>) {
        let (sender, receiver) = unbounded_channel();
        self.listeners
            .push((kinds.iter().copied().collect(), sender.clone()));
        (sender, receiver)
    }

    /// Starts one watch for each kind that somebody listens to.
    pub(crate) fn start(self, tasks: &Tasks) {
        self.watch::<Pod>(Kind::Pod, Change::Pod, tasks);
        self.watch::<Node>(Kind::Node, Change::Node, tasks);
        self.watch::<NamespaceView>(Kind::Namespace, Change::Namespace, tasks);
        self.watch::<Deployment>(Kind::Deployment, Change::Deployment, tasks);
        self.watch::<ReplicaSet>(Kind::ReplicaSet, Change::ReplicaSet, tasks);
        self.watch::<StatefulSet>(Kind::StatefulSet, Change::StatefulSet, tasks);
        self.watch::<DaemonSet>(Kind::DaemonSet, Change::DaemonSet, tasks);
        self.watch::<Job>(Kind::Job, Change::Job, tasks);
        self.watch::<Budget>(Kind::Budget, Change::Budget, tasks);
        self.watch::<Note>(Kind::Event, Change::Event, tasks);
        self.watch::<api::NodeGroup>(Kind::NodeGroup, Change::NodeGroup, tasks);
        self.watch::<api::VPSieNode>(Kind::VPSieNode, Change::VPSieNode, tasks);
        let leases = in_namespace::<Lease>(self.client.clone(), "kube-node-lease");
        self.follow(Kind::Lease, leases, Change::Lease, tasks);
    }

    fn watch<K>(&self, kind: Kind, change: fn(Seen<K>) -> Change, tasks: &Tasks)
    where
        K: Resource<DynamicType = ()>
            + Object
            + Clone
            + DeserializeOwned
            + Debug
            + Send
            + Sync
            + 'static,
    {
        self.follow(kind, Api::all(self.client.clone()), change, tasks);
    }

    fn follow<K>(
        &self,
        kind: Kind,
        api: Api<DeserializeGuard<K>>,
        change: fn(Seen<K>) -> Change,
        tasks: &Tasks,
    ) where
        K: Resource<DynamicType = ()>
            + Object
            + Clone
            + DeserializeOwned
            + Debug
            + Send
            + Sync
            + 'static,
    {
        let told: Vec<_> = self
            .listeners
            .iter()
            .filter(|(kinds, _)| kinds.contains(&kind))
            .map(|(_, sender)| sender.clone())
            .collect();
        if told.is_empty() {
            return;
        }
        let mut patience = Patience {
            random: self.random.fork(K::plural(&()).as_ref()),
            next: FIRST,
            speed: self.clock.speed(),
        };
        tasks.spawn("observe", async move {
            let mut mirror = Mirror {
                kind,
                change,
                told,
                known: BTreeMap::new(),
                listed: BTreeSet::new(),
            };
            loop {
                let config = watcher::Config::default().page_size(500);
                let events = watcher(api.clone(), config).backoff(patience.clone());
                let mut events = Box::pin(events);
                while let Some(event) = events.next().await {
                    match event {
                        Ok(event) => mirror.hear(event),
                        Err(watcher::Error::WatchStartFailed(kube::Error::Api(status)))
                            if status.code == 410 =>
                        {
                            // The watcher would ask for the same version again, for ever.
                            break;
                        }
                        Err(error) => tracing::debug!(?kind, %error, "watch interrupted"),
                    }
                }
                patience.reset();
            }
        });
    }
}

fn in_namespace<K>(client: Client, namespace: &str) -> Api<DeserializeGuard<K>>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
{
    Api::namespaced(client, namespace)
}

/// The objects of a kind as last told.
struct Mirror<K> {
    kind: Kind,
    change: fn(Seen<K>) -> Change,
    told: Vec<UnboundedSender<Change>>,
    known: BTreeMap<Key, Arc<K>>,
    listed: BTreeSet<Key>,
}

impl<K: Object + Debug> Mirror<K> {
    fn hear(&mut self, event: Event<DeserializeGuard<K>>) {
        match event {
            Event::Init => self.listed.clear(),
            Event::InitApply(object) => {
                if let Some(key) = self.put(object) {
                    self.listed.insert(key);
                }
            }
            Event::InitDone => {
                let gone: Vec<_> = self
                    .known
                    .keys()
                    .filter(|key| !self.listed.contains(key))
                    .cloned()
                    .collect();
                for key in gone {
                    self.forget(&key);
                }
                self.listed.clear();
            }
            Event::Apply(object) => {
                self.put(object);
            }
            Event::Delete(object) => match object.0 {
                Ok(object) => self.forget(&object.key()),
                Err(invalid) => self.forget(&Key {
                    namespace: invalid.metadata.namespace.unwrap_or_default(),
                    name: invalid.metadata.name.unwrap_or_default(),
                }),
            },
        }
    }

    fn put(&mut self, object: DeserializeGuard<K>) -> Option<Key> {
        let object = match object.0 {
            Ok(object) => Arc::new(object),
            Err(invalid) => {
                let name = invalid.metadata.name.unwrap_or_default();
                tracing::warn!(kind = ?self.kind, name, error = %invalid.error, "unreadable object");
                return None;
            }
        };
        let key = object.key();
        match self.known.get(&key) {
            Some(known) if known.uid() != object.uid() => self.forget(&key),
            // A list tells again what is known.
            Some(known) if known.resource_version() == object.resource_version() => {
                return Some(key);
            }
            _ => {}
        }
        self.known.insert(key.clone(), Arc::clone(&object));
        self.tell(&(self.change)(Seen::Put(object)));
        Some(key)
    }

    fn forget(&mut self, key: &Key) {
        if let Some(object) = self.known.remove(key) {
            self.tell(&(self.change)(Seen::Gone(object)));
        }
    }

    fn tell(&self, change: &Change) {
        for listener in &self.told {
            // An actor that has ended needs no news.
            let _ = listener.send(change.clone());
        }
    }
}

const FIRST: Duration = Duration::from_millis(200);
const LONGEST: Duration = Duration::from_secs(10);

/// Doubles from [`FIRST`] to [`LONGEST`], with jitter from the world's seed.
#[derive(Clone, Debug)]
struct Patience {
    random: Randomness,
    next: Duration,
    speed: f64,
}

impl Iterator for Patience {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        let wait = self.random.between(self.next / 2, self.next);
        self.next = (self.next * 2).min(LONGEST);
        // kube sleeps on tokio's clock, not on product time.
        Some(wait.div_f64(self.speed))
    }
}

impl Backoff for Patience {
    fn reset(&mut self) {
        self.next = FIRST;
    }
}

/// A value that several parts look at.
pub(crate) type Shared<T> = Arc<Mutex<T>>;

/// Locks; a panic of another holder leaves the value usable.
pub(crate) fn lock<T>(shared: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}
