//! What every loop shares: state, seams, settings. Reads only; writes go through `effects`.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use api::VPSieNode;
use cloud::Scope;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Node as KubeNode;
use kube::{Api, Client, api::ListParams};
use model::{GroupKey, NodeName, Pod, PodKey, Pool, SizeId, Usage};
use planner::{removal::gate::Gate, scale_up::Unplaced};
use planted::Bug;
use runtime::{Clock, Randomness, watch};

use crate::{
    cloud_state::CloudState,
    cluster_state::{
        ClusterState, NodeRow, Versions,
        usage::{self, UsageError},
        views,
    },
    controllers::{
        collector::Unowned,
        groups::{self, Defaults, Group},
    },
    effects::Error,
    events::Events,
    metrics::Metrics,
};

/// Settings of the loops. The first three follow the flags; the others are fixed.
#[derive(Clone, Debug)]
pub struct Options {
    /// Namespaces in which NodeGroups count.
    pub namespaces: BTreeSet<String>,
    /// Deadlines of the lifecycle.
    pub lifecycle: planner::lifecycle::Policy,
    /// Limits of scale-up.
    pub limits: planner::scale_up::Limits,
    /// A scale-up is planned when nothing new became unschedulable for this long…
    pub batch_idle: Duration,
    /// …or this long after the first pod did.
    pub batch_max: Duration,
    /// The first back-off of an offering that failed; doubles with each failure.
    pub backoff: Duration,
    /// The longest back-off.
    pub backoff_max: Duration,
    /// Steps of VPSieNodes taken at once.
    pub concurrency: usize,
    /// What the user set about removals.
    pub removals: planner::removal::plan::Settings,
    /// The pod of this replica: its node is not removed.
    pub own_pod: Option<PodKey>,
    /// Everything is decided and nothing is done.
    pub dry_run: bool,
    /// Nothing is destroyed in the first so long of a term: a full period of the lease, so that the
    /// leader of before has noticed, and a watch that lags has caught up.
    pub warm_up: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            namespaces: BTreeSet::from(["kube-system".to_owned()]),
            lifecycle: planner::lifecycle::Policy::default(),
            limits: planner::scale_up::Limits::default(),
            batch_idle: Duration::from_secs(1),
            batch_max: Duration::from_secs(10),
            backoff: Duration::from_mins(5),
            backoff_max: Duration::from_mins(30),
            concurrency: 16,
            removals: planner::removal::plan::Settings::default(),
            own_pod: None,
            dry_run: false,
            warm_up: Duration::from_secs(15),
        }
    }
}

/// A term of leadership.
#[derive(Clone, Copy, Debug)]
struct Term {
    since: Timestamp,
    /// Nobody led for a while before it.
    unwatched: bool,
}

/// Without a leader for this long, nobody knows what nodes were used for meanwhile.
const UNWATCHED: Duration = Duration::from_mins(1);

/// Shared by the loops of one term.
pub struct Context {
    /// The cluster.
    pub state: ClusterState,
    /// The cloud.
    pub cloud: CloudState,
    /// Reads that must be fresh.
    client: Client,
    /// Time.
    pub clock: Clock,
    /// Randomness.
    pub random: Randomness,
    /// Settings.
    pub options: Options,
    /// Metrics.
    pub metrics: Metrics,
    /// Events.
    pub events: Events,
    /// What the Secret and the flags say of the cloud; follows the Secret.
    pub defaults: runtime::watch::Receiver<Defaults>,
    /// What each group refused of the pods that the latest plan left.
    pub unplaced: watch::Sender<BTreeMap<GroupKey, Unplaced>>,
    /// The workers of each observed scope that no VPSieNode owns; `None`: there are none.
    pub unowned: watch::Sender<BTreeMap<Scope, Option<Unowned>>>,
    /// Held while a machine is given to an object.
    pub binding: tokio::sync::Mutex<()>,
    /// Held while a pool is made.
    pub pools: tokio::sync::Mutex<()>,
    /// When this replica began to watch.
    pub since: Timestamp,
    /// Its present term of leadership.
    term: Mutex<Option<Term>>,
    /// The health gate of this state of the index: every step of a removal asks for it.
    gate: Mutex<Option<(Versions, Arc<Gate>)>>,
    /// Pools made, and when: an observation that began later knows better.
    made: Mutex<BTreeMap<(Scope, SizeId), (Timestamp, Pool)>>,
}

impl std::fmt::Debug for Context {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Context").finish_non_exhaustive()
    }
}

/// No fresh read takes longer.
const READ_TIMEOUT: Duration = Duration::from_secs(10);

impl Context {
    /// A context for the loops of one term.
    #[must_use]
    #[allow(clippy::too_many_arguments)] // wiring: each part is named once, in `term`
    pub fn new(
        state: ClusterState,
        cloud: CloudState,
        client: Client,
        clock: Clock,
        random: Randomness,
        options: Options,
        metrics: Metrics,
        events: Events,
        defaults: runtime::watch::Receiver<Defaults>,
    ) -> Self {
        Self {
            since: clock.now(),
            state,
            cloud,
            client,
            clock,
            random,
            options,
            metrics,
            events,
            defaults,
            unplaced: watch::Sender::new(BTreeMap::new()),
            unowned: watch::Sender::new(BTreeMap::new()),
            binding: tokio::sync::Mutex::default(),
            pools: tokio::sync::Mutex::default(),
            made: Mutex::default(),
            term: Mutex::default(),
            gate: Mutex::default(),
        }
    }

    /// The health gate, counted anew only when the index has changed.
    pub fn gate(&self, count: impl FnOnce() -> Gate) -> Arc<Gate> {
        let versions = *self.state.changes().borrow();
        let mut known = self.gate.lock().unwrap_or_else(PoisonError::into_inner);
        match &*known {
            Some((of, gate)) if *of == versions => Arc::clone(gate),
            _ => {
                let gate = Arc::new(count());
                *known = Some((versions, Arc::clone(&gate)));
                gate
            }
        }
    }

    /// This replica leads from now on; somebody did until `watched_until`, as far as is known.
    pub fn begin_term(&self, watched_until: Option<Timestamp>) {
        let now = self.clock.now();
        let unwatched = watched_until.is_none_or(|until| {
            Duration::try_from(now.duration_since(until)).is_ok_and(|gap| gap > UNWATCHED)
        });
        let mut term = self.term.lock().unwrap_or_else(PoisonError::into_inner);
        *term = Some(Term {
            since: now,
            unwatched,
        });
    }

    fn term(&self) -> Option<Term> {
        *self.term.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Windows that began before this were not watched all the time: they prove nothing.
    #[must_use]
    pub fn windows_count_from(&self) -> Option<Timestamp> {
        let term = self.term().filter(|term| term.unwatched)?;
        // They are recorded in whole seconds.
        Timestamp::from_second(term.since.as_second()).ok()
    }

    /// Since when this replica leads; the beginning of the process before it ever did.
    #[must_use]
    pub fn led_since(&self) -> Timestamp {
        self.term().map_or(self.since, |term| term.since)
    }

    /// What the Secret and the flags say of the cloud.
    #[must_use]
    pub fn defaults(&self) -> Defaults {
        self.defaults.borrow().clone()
    }

    /// The managed groups, resolved, by key.
    #[must_use]
    pub fn groups(&self) -> Vec<Group> {
        let defaults = self.defaults();
        self.state
            .node_groups()
            .into_iter()
            .filter(|group| groups::is_ours(group, &self.options.namespaces))
            .map(|group| groups::resolve(group, &self.cloud, &defaults))
            .collect()
    }

    /// The managed group of this key.
    #[must_use]
    pub fn group(&self, key: &GroupKey) -> Option<Group> {
        let object = self.state.node_group(key)?;
        groups::is_ours(&object, &self.options.namespaces)
            .then(|| groups::resolve(object, &self.cloud, &self.defaults()))
    }

    /// A group of this key exists, managed or not.
    #[must_use]
    pub fn group_exists(&self, key: &GroupKey) -> bool {
        self.state.node_group(key).is_some()
    }

    /// The pool of a size, observed or just made.
    #[must_use]
    pub fn pool_of(&self, scope: &Scope, size: &SizeId) -> Option<Pool> {
        let latest = self.cloud.latest(scope);
        if let Some(latest) = &latest
            && let Some(pool) = latest.pools.iter().find(|pool| &pool.size == size)
        {
            return Some(pool.clone());
        }
        let made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        let (at, pool) = made.get(&(scope.clone(), size.clone()))?;
        latest
            .is_none_or(|latest| latest.started_at <= *at)
            .then(|| pool.clone())
    }

    /// A pool was made or found.
    pub fn note_pool(&self, scope: &Scope, pool: Pool) {
        self.made
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert((scope.clone(), pool.size.clone()), (self.clock.now(), pool));
    }

    /// The newest version of `object` that the index has.
    #[must_use]
    pub fn newest(&self, object: &Arc<VPSieNode>) -> Arc<VPSieNode> {
        let meta = &object.metadata;
        self.state
            .vpsie_node(
                meta.namespace.as_deref().unwrap_or_default(),
                meta.name.as_deref().unwrap_or_default(),
            )
            .filter(|newest| newest.metadata.uid == meta.uid)
            .unwrap_or_else(|| Arc::clone(object))
    }

    /// Reads a Node from the API server (a quorum read, not a cached one).
    pub async fn fresh_node(&self, name: &NodeName) -> Result<Option<NodeRow>, Error> {
        if planted::is(Bug::TrustTheCache) {
            return Ok(self.state.node(name).map(|row| NodeRow::clone(&row)));
        }
        let api: Api<KubeNode> = Api::all(self.client.clone());
        let found = self
            .read(format!("reading node {name}"), api.get_opt(name.as_str()))
            .await?;
        Ok(found.map(views::fresh::node))
    }

    /// Reads the pods bound to a node from the API server; finished ones are left out.
    pub async fn fresh_pods(&self, node: &NodeName) -> Result<Vec<Pod>, Error> {
        if planted::is(Bug::TrustTheCache) {
            let known = self.state.pods_on(node);
            return Ok(known.iter().map(|pod| Pod::clone(pod)).collect());
        }
        let api: Api<views::PodView> = Api::all(self.client.clone());
        let params = ListParams::default().fields(&format!("spec.nodeName={node}"));
        let found = self
            .read(
                format!("reading the pods of node {node}"),
                api.list(&params),
            )
            .await?;
        Ok(found.items.iter().filter_map(views::fresh::pod).collect())
    }

    /// Asks metrics-server what nodes have in use.
    pub async fn read_usage(&self) -> Result<BTreeMap<NodeName, Usage>, UsageError> {
        usage::read_usage(&self.client, &self.clock).await
    }

    async fn read<T>(
        &self,
        operation: String,
        call: impl Future<Output = Result<T, kube::Error>>,
    ) -> Result<T, Error> {
        match self.clock.timeout(READ_TIMEOUT, call).await {
            Err(_) => Err(Error::Timeout {
                operation,
                limit: READ_TIMEOUT,
            }),
            Ok(Err(source)) => Err(Error::Kubernetes {
                operation,
                source: Box::new(source),
            }),
            Ok(Ok(value)) => Ok(value),
        }
    }
}
