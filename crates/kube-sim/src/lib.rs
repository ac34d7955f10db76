//! An in-memory Kubernetes API server.
//!
//! [`KubeSim`] answers the Kubernetes API from memory: in process through a `kube::Client` (no
//! sockets, virtual time) and over HTTP for `kubectl`. A request is committed synchronously the
//! moment it arrives, so dropping a client never takes a write back. It holds what clients can
//! observe (resourceVersions, conflicts, watches, patches, ownership, eviction, finalizers,
//! collection by owner) and injects legal faults; it does not authenticate and runs no scheduler,
//! kubelet or workload controller.

mod apply;
mod body;
mod collect;
mod defaults;
mod definitions;
pub mod discovery;
mod error;
mod event_view;
mod faults;
mod fields;
mod journal;
mod lists;
mod names;
mod object;
pub mod openapi;
mod patch;
mod protobuf;
pub mod registry;
mod represent;
mod request;
pub mod schema;
mod selector;
mod server;
mod service;
mod store;
mod subresource;
pub mod table;
mod typed;
mod validate;
mod watch;
mod write;

use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response};
use runtime::{Clock, Randomness, Tasks};
use serde_json::{Value, json};
use tokio::net::TcpListener;

pub use body::{ConnectionReset, SimBody};
pub use error::{ApiError, ApiResult, Cause};
pub use faults::{Effect, Faults, Match, Rule, RuleId};
pub use journal::{Asked, Commit, Entry, Journal, Keeps, Order, Read, RequestRecord};
pub use registry::{KindInfo, Registry, ScalePaths};
pub use service::KubeService;

use crate::{
    object::{meta_mut, meta_str},
    server::Server,
};

/// A simulated API server; clones share it.
#[derive(Clone, Debug)]
pub struct KubeSim {
    server: Arc<Server>,
}

impl KubeSim {
    /// An empty cluster with the built-in kinds and the four namespaces every cluster has.
    #[allow(clippy::needless_pass_by_value)] // the stream becomes the server's own
    pub fn new(clock: Clock, random: Randomness) -> Self {
        let sim = Self {
            server: Arc::new(Server::new(clock, &random)),
        };
        for name in ["default", "kube-system", "kube-public", "kube-node-lease"] {
            let namespace =
                json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
            if let Err(error) = sim.insert(namespace) {
                tracing::error!(name, %error, "namespace not created");
            }
        }
        sim
    }

    /// Answers one request without faults; a write is committed when this returns.
    #[allow(clippy::needless_pass_by_value)] // a request is handed over, as to every server
    pub fn handle(&self, actor: &str, request: Request<Bytes>) -> Response<SimBody> {
        self.server
            .handle(actor, &request, &faults::Verdict::default())
    }

    /// A client of this server for one actor; no sockets are involved.
    pub fn client(&self, actor: &str, default_namespace: &str) -> kube::Client {
        kube::Client::new(self.service(actor), default_namespace)
    }

    /// The service under [`KubeSim::client`], for callers that put layers around it.
    pub fn service(&self, actor: &str) -> KubeService {
        KubeService {
            server: Arc::clone(&self.server),
            actor: actor.into(),
        }
    }

    /// Serves HTTP/1.1 on `listener` until `tasks` are stopped.
    ///
    /// The actor is the header `x-sim-actor`, or the user agent up to its first `/` or blank.
    pub async fn serve(&self, listener: TcpListener, tasks: &Tasks) {
        Arc::clone(&self.server).serve(listener, tasks).await;
    }

    /// The fault knobs.
    pub fn faults(&self) -> &Faults {
        &self.server.faults
    }

    /// The journal of answered requests.
    pub fn journal(&self) -> &Journal {
        &self.server.journal
    }

    /// From now on keeps every commit and read of the resources that `keeps` names (by API group,
    /// resource and namespace), numbered by `order`.
    pub fn record(&self, order: Order, keeps: Keeps) {
        let clock = self.server.clock.clone();
        self.server.tape.start(order, keeps, clock);
    }

    /// What was kept since [`Self::record`].
    pub fn recorded(&self) -> Vec<Entry> {
        self.server.tape.entries()
    }

    /// The newest resourceVersion.
    pub fn resource_version(&self) -> u64 {
        self.server.lock().rv
    }

    /// Forgets all watch history, as an etcd compaction does: older watches and continue tokens
    /// are answered with 410.
    pub fn compact(&self) {
        self.server.lock().compact();
    }

    /// How many events each resource keeps for watches (default 10,000).
    pub fn set_history_limit(&self, events: usize) {
        self.server.lock().history_limit = events.max(1);
    }

    /// All objects as `{resource.group: [objects]}`, sorted by resource and name.
    pub fn dump(&self) -> Value {
        let store = self.server.lock();
        let mut out = serde_json::Map::new();
        for (storage, resource) in &store.resources {
            if resource.objects.is_empty() {
                continue;
            }
            let name = match storage.split_once('/') {
                Some(("", plural)) => plural.to_owned(),
                Some((group, plural)) => format!("{plural}.{group}"),
                None => storage.clone(),
            };
            let objects = resource.objects.values().map(|stored| stored.value());
            out.insert(name, objects.collect());
        }
        Value::Object(out)
    }

    /// One stored object, by apiVersion, kind, namespace (empty for cluster scope) and name.
    pub fn get(&self, api_version: &str, kind: &str, namespace: &str, name: &str) -> Option<Value> {
        let store = self.server.lock();
        let kind = store.registry.by_kind(api_version, kind)?;
        Some(represent::view(kind, &*store.get(kind, namespace, name)?))
    }

    /// Plants an object as it is: no defaults, no validation, status kept. Missing server
    /// metadata is added; an object of the same name is replaced.
    pub fn insert(&self, mut object: Value) -> ApiResult<()> {
        let api_version = object["apiVersion"].as_str().unwrap_or_default().to_owned();
        let kind_name = object["kind"].as_str().unwrap_or_default().to_owned();
        let now = object::time(self.server.clock.now());
        let mut store = self.server.lock();
        let kind = store
            .registry
            .by_kind(&api_version, &kind_name)
            .cloned()
            .ok_or_else(|| {
                ApiError::bad_request(format!(
                    "no kind {kind_name:?} is registered for version {api_version:?}"
                ))
            })?;
        let name = meta_str(&object, "name").to_owned();
        if name.is_empty() || kind.namespaced == meta_str(&object, "namespace").is_empty() {
            return Err(ApiError::bad_request(format!(
                "{kind_name} {name:?}: name or namespace missing or out of place"
            )));
        }
        if event_view::is_view(&kind) {
            object = event_view::to_core(object);
        }
        if kind.builtin && kind.kind == "Namespace" {
            defaults::on_create(&kind, &mut object, &now);
            let labels = object::child_mut(meta_mut(&mut object), "labels");
            labels.insert("kubernetes.io/metadata.name".to_owned(), json!(name));
        }
        let uid = self.server.random.uuid().to_string();
        let meta = meta_mut(&mut object);
        meta.entry("uid").or_insert(json!(uid));
        meta.entry("creationTimestamp").or_insert(json!(now));
        if write::counts_generation(&kind) {
            meta.entry("generation").or_insert(json!(1));
        }
        if definitions::is_definition(&kind) {
            definitions::default(&mut object);
            definitions::establish(&mut object, &now);
            let kinds = definitions::kinds(&object)
                .map_err(|causes| ApiError::invalid(&kind, &name, &causes))?;
            definitions::register(&mut store.registry, &object, kinds);
        }
        store.put(&kind, object);
        Ok(())
    }
}
