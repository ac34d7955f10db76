//! The world: both servers, the actors between them, and the hands that change it.

use std::{
    borrow::Borrow,
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use kube::Client;
use kube_sim::KubeSim;
use runtime::watch;
use runtime::{Clock, Randomness, Tasks};
use serde_json::{Value, json};
use tokio::sync::mpsc::UnboundedSender;
use vpsie_sim::{Phase, VpsieSim};

use crate::{
    actors::{
        daemon_sets::DaemonSets,
        deployments::Deployments,
        disruption::Disruption,
        jobs::Jobs,
        kubelet::{Kubelet, Order},
        machines::{Machines, static_node},
        node_lifecycle::NodeLifecycle,
        play,
        replica_sets::ReplicaSets,
        scheduler::Scheduler,
        stateful_sets::StatefulSets,
    },
    config::{DaemonSetConfig, WorldConfig},
    matching::Toleration,
    objects::Key,
    observe::{Change, Kind, Observer, Shared, lock},
    record::Recorder,
    requests::{
        BUDGETS, CRDS, DAEMON_SETS, DEPLOYMENTS, NAMESPACES, NODES, SECRETS, Writer, absent,
        conflict,
    },
    view::{Counts, Tally, View},
};

/// The name of the actor behind [`World`]'s own writes: people and their tools.
pub const PEOPLE: &str = "people";

/// Something could not be done to the world.
#[derive(Debug, thiserror::Error)]
pub enum WorldError {
    /// The API server refused an object.
    #[error("could not {verb} {object}")]
    Refused {
        /// What was tried.
        verb: &'static str,
        /// With what.
        object: String,
        /// The answer.
        #[source]
        source: Box<kube::Error>,
    },
    /// The API server took a definition and does not serve it.
    #[error("{0} is not established")]
    NotEstablished(String),
    /// A manifest that names no kind, or cannot be read.
    #[error("not a Kubernetes object: {0}")]
    NoObject(String),
}

/// What a Deployment of [`World::create_deployment`] is like beyond its size.
#[derive(Clone, Debug, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct DeploymentOptions {
    /// Labels the nodes must have.
    pub node_selector: BTreeMap<String, String>,
    /// Tolerations, as in a pod.
    pub tolerations: Vec<Value>,
    /// Further labels of the pods (`app: <name>` they have in any case).
    pub labels: BTreeMap<String, String>,
    /// Annotations of the pods.
    pub annotations: BTreeMap<String, String>,
    /// Merged into the pods' spec.
    pub pod_spec: Option<Value>,
}

/// An API server that a world can be built around.
pub trait ApiServer {
    /// A client of it for `actor`, with this default namespace.
    fn client(&self, actor: &str, namespace: &str) -> Client;
}

impl ApiServer for KubeSim {
    fn client(&self, actor: &str, namespace: &str) -> Client {
        Self::client(self, actor, namespace)
    }
}

/// A real control plane, behind one client for all actors.
#[derive(Clone)]
pub struct Remote(pub Client);

impl ApiServer for Remote {
    fn client(&self, _: &str, _: &str) -> Client {
        self.0.clone()
    }
}

/// A world around an API server, which is simulated unless it is said otherwise.
pub struct World<K = KubeSim> {
    /// The Kubernetes API server.
    pub kube: K,
    /// The cloud.
    pub cloud: VpsieSim,
    /// Its time.
    pub clock: Clock,
    /// UUID of the cloud's cluster that the Kubernetes cluster runs on.
    pub cluster: String,
    view: Shared<View>,
    changed: Arc<watch::Sender<u64>>,
    writer: Writer,
    /// To the kubelets, where there are any.
    orders: Option<UnboundedSender<Change>>,
    /// What is kept of all that happens, where it is.
    pub(crate) recorder: Option<Recorder>,
}

impl World {
    /// Makes a world and sets it going; the actors are tasks of `tasks`.
    pub async fn start(
        config: WorldConfig,
        clock: Clock,
        random: Randomness,
        tasks: &Tasks,
    ) -> Result<Self, WorldError> {
        let kube = KubeSim::new(clock.clone(), random.fork("kube-sim"));
        if !config.recorded {
            return Self::around(kube, config, clock, random, tasks).await;
        }
        let recorder = Recorder::default();
        recorder.begin(&kube);
        let mut world = Self::around(kube, config, clock, random, tasks).await?;
        recorder.listen(&world.cloud);
        world.recorder = Some(recorder);
        Ok(world)
    }

    /// All that happened so far, to be judged; `ours` are the actors that are the product. Empty
    /// where [`WorldConfig::recorded`] was not asked for.
    #[must_use]
    pub fn history(&self, ours: BTreeSet<String>) -> history::History {
        let recorder = self.recorder.as_ref();
        recorder.map_or_else(history::History::default, |recorder| {
            recorder.history(&self.kube, &self.cloud, self.clock.now(), ours)
        })
    }

    /// Puts into the history what was done to a replica, or to the world.
    pub fn note(&self, actor: &str, note: history::Note) {
        if let Some(recorder) = &self.recorder {
            recorder.note(self.clock.now(), actor, note);
        }
    }

    /// Everything that changed, in order: the writes to Kubernetes and what happened at the cloud,
    /// a line each, and the digest of what is there. Equal for equal seeds.
    #[must_use]
    pub fn trace(&self) -> String {
        crate::trace::merged(self)
    }
}

impl<K: ApiServer> World<K> {
    /// Makes a world around this API server; `config.actors` says which of its actors play. A real
    /// control plane brings its own scheduler and controllers.
    pub async fn around(
        kube: K,
        config: WorldConfig,
        clock: Clock,
        random: Randomness,
        tasks: &Tasks,
    ) -> Result<Self, WorldError> {
        let cloud = VpsieSim::new(
            config.cloud.clone(),
            clock.clone(),
            random.fork("vpsie-sim"),
            tasks.clone(),
        );
        let mut world = Self {
            orders: None,
            recorder: None,
            writer: Writer::new(kube.client(PEOPLE, "default")),
            kube,
            cloud,
            clock,
            cluster: cluster_of(&config),
            view: Shared::default(),
            changed: Arc::new(watch::Sender::new(0)),
        };
        world.furnish(&config).await?;
        world.orders = world.people_it(&config, &random, tasks);
        Ok(world)
    }

    /// What is there before anybody acts.
    async fn furnish(&self, config: &WorldConfig) -> Result<(), WorldError> {
        for crd in api::crds::crds() {
            let crd = serde_json::to_value(crd).unwrap_or_default();
            match self.writer.create(CRDS, "", &crd).await {
                Ok(_) => {}
                // Somebody has installed it.
                Err(error) if conflict(&error) => {}
                Err(source) => return Err(refused("create", &crd, source)),
            }
            self.established(&crd).await?;
        }
        let mut secret = config.secret.clone().unwrap_or_else(|| self.credentials());
        if !secret.is_empty() {
            let url = config.cloud_url.iter().cloned();
            secret.extend(url.map(|url| ("url".to_owned(), url)));
            let secret = json!({"apiVersion": "v1", "kind": "Secret", "type": "Opaque",
                "metadata": {"name": "vpsie-secret", "namespace": "kube-system"},
                "stringData": secret});
            self.create(SECRETS, "kube-system", &secret).await?;
        }
        for set in &config.daemon_sets {
            self.create(DAEMON_SETS, "kube-system", &daemon_set(set))
                .await?;
        }
        for object in &config.objects {
            self.apply(object).await?;
        }
        Ok(())
    }

    /// Waits until objects of this definition can be stored.
    async fn established(&self, crd: &Value) -> Result<(), WorldError> {
        let key = Key::new("", crd["metadata"]["name"].as_str().unwrap_or_default());
        for _ in 0..100 {
            let stored: Value = match self.writer.get(CRDS, &key).await {
                Ok(stored) => stored,
                Err(source) => return Err(refused("read", crd, source)),
            };
            let conditions = stored["status"]["conditions"].as_array();
            if conditions.into_iter().flatten().any(|condition| {
                condition["type"] == "Established" && condition["status"] == "True"
            }) {
                return Ok(());
            }
            self.clock.sleep(Duration::from_millis(100)).await;
        }
        Err(WorldError::NotEstablished(named(crd)))
    }

    /// The Secret's content that the cloud accepts.
    fn credentials(&self) -> BTreeMap<String, String> {
        let credentials = self.cloud.config().credentials;
        let mut secret = BTreeMap::from([("resourceIdentifier".to_owned(), self.cluster.clone())]);
        if let (Some(id), Some(key)) = (credentials.client_id, credentials.client_secret) {
            secret.insert("clientId".to_owned(), id);
            secret.insert("clientSecret".to_owned(), key);
        } else if let Some(token) = credentials.token {
            secret.insert("token".to_owned(), token);
        }
        secret
    }

    /// Returns where the kubelets take orders.
    fn people_it(
        &self,
        config: &WorldConfig,
        random: &Randomness,
        tasks: &Tasks,
    ) -> Option<UnboundedSender<Change>> {
        let actors = config.actors;
        let client = |name: &str| Writer::new(self.kube.client(name, "default"));
        let stream = |name: &str| random.fork(name);
        let mut observer = Observer::new(
            self.kube.client("observer", "default"),
            self.clock.clone(),
            stream("observer"),
        );
        let clock = || self.clock.clone();
        if actors.tally {
            use Kind::{Event, Node, NodeGroup, Pod, VPSieNode};
            let (_, news) = observer.listen(&[Pod, Node, NodeGroup, VPSieNode, Event]);
            let tally = Tally {
                view: Arc::clone(&self.view),
                changed: Arc::clone(&self.changed),
                clock: clock(),
            };
            play("tally", tally, news, &self.clock, tasks);
        }
        if actors.workloads {
            let name = "kube-controller-manager";
            let latency = config.controllers;
            let (_, news) = observer.listen(&[Kind::Deployment, Kind::ReplicaSet]);
            let actor = Deployments::new(client(name), clock(), stream("deployments"), latency);
            play("deployments", actor, news, &self.clock, tasks);
            let (_, news) = observer.listen(&[Kind::ReplicaSet, Kind::Pod]);
            let actor = ReplicaSets::new(client(name), stream("replicasets"), latency);
            play("replicasets", actor, news, &self.clock, tasks);
            let (_, news) = observer.listen(&[Kind::StatefulSet, Kind::Pod]);
            let actor = StatefulSets::new(client(name), stream("statefulsets"), latency);
            play("statefulsets", actor, news, &self.clock, tasks);
            let (_, news) = observer.listen(&[Kind::Job, Kind::Pod]);
            let actor = Jobs::new(client(name), clock(), stream("jobs"), latency);
            play("jobs", actor, news, &self.clock, tasks);
            let (_, news) = observer.listen(&[Kind::DaemonSet, Kind::Node, Kind::Pod]);
            let actor = DaemonSets::new(client(name), stream("daemonsets"), latency);
            play("daemonsets", actor, news, &self.clock, tasks);
        }
        if actors.scheduler {
            let (_, news) = observer.listen(&[Kind::Namespace, Kind::Node, Kind::Pod]);
            let scheduler = Scheduler::new(
                client("kube-scheduler"),
                clock(),
                stream("scheduler"),
                config.scheduling,
            );
            play("scheduler", scheduler, news, &self.clock, tasks);
        }
        if actors.disruption {
            let (_, news) =
                observer.listen(&[Kind::Budget, Kind::ReplicaSet, Kind::StatefulSet, Kind::Pod]);
            let disruption = Disruption::new(
                client("kube-controller-manager"),
                clock(),
                stream("disruption"),
                config.controllers,
            );
            play("disruption", disruption, news, &self.clock, tasks);
        }
        if actors.node_lifecycle {
            let (_, news) = observer.listen(&[Kind::Node, Kind::Lease, Kind::Pod]);
            let judge = NodeLifecycle::new(
                client("kube-controller-manager"),
                clock(),
                config.node_lifecycle,
            );
            play("node-lifecycle", judge, news, &self.clock, tasks);
        }
        let orders = actors.kubelet.then(|| {
            kubelets(
                &mut observer,
                self.kube.client("kubelet", "default"),
                &self.cloud,
                config,
                random,
                tasks,
            )
        });
        observer.start(tasks);
        orders
    }

    // === Looking ===

    /// A client of the API server for `actor`.
    #[must_use]
    pub fn client(&self, actor: &str) -> Client {
        self.kube.client(actor, "default")
    }

    /// The state of the world's objects, as last told to the actors.
    #[must_use]
    pub fn view(&self) -> View {
        lock(&self.view).clone()
    }

    /// Looks at the [`View`] without a copy.
    pub fn look<R>(&self, look: impl FnOnce(&View) -> R) -> R {
        look(&lock(&self.view))
    }

    /// Pods by phase and workers by readiness.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.look(View::counts)
    }

    /// Waits until `holds`, at most `limit`; whether it came to hold.
    pub async fn wait_until(&self, limit: Duration, holds: impl Fn(&View) -> bool) -> bool {
        let mut changed = self.changed.subscribe();
        let deadline = self.clock.monotonic() + limit;
        loop {
            changed.borrow_and_update();
            if self.look(&holds) {
                return true;
            }
            let left = deadline.saturating_sub(self.clock.monotonic());
            if left.is_zero() {
                return false;
            }
            if self.clock.timeout(left, changed.changed()).await.is_err() {
                return self.look(&holds);
            }
        }
    }

    // === Changing ===

    async fn create(
        &self,
        place: crate::requests::Place,
        namespace: &str,
        object: &Value,
    ) -> Result<(), WorldError> {
        match self.writer.create(place, namespace, object).await {
            Ok(_) => Ok(()),
            Err(source) => Err(refused("create", object, source)),
        }
    }

    /// Applies one object, whatever its kind, as `kubectl apply --server-side` does.
    pub async fn apply(&self, object: &Value) -> Result<(), WorldError> {
        let path = path_of(object).ok_or_else(|| WorldError::NoObject(named(object)))?;
        match self.writer.apply(&path, object).await {
            Ok(_) => Ok(()),
            Err(source) => Err(refused("apply", object, source)),
        }
    }

    /// Changes one object, whatever its kind, as `kubectl patch --type=merge` does.
    pub async fn patch(
        &self,
        api_version: &str,
        kind: &str,
        namespace: &str,
        name: &str,
        change: impl Borrow<Value>,
    ) -> Result<(), WorldError> {
        let object = json!({"apiVersion": api_version, "kind": kind,
            "metadata": {"namespace": namespace, "name": name}});
        let path = path_of(&object).ok_or_else(|| WorldError::NoObject(named(&object)))?;
        match self.writer.merge_path(path, change.borrow()).await {
            Ok(_) => Ok(()),
            Err(source) => Err(refused("patch", &object, source)),
        }
    }

    /// Makes a namespace, where it is not there already.
    pub async fn create_namespace(&self, name: &str) -> Result<(), WorldError> {
        let namespace =
            json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
        match self.writer.create(NAMESPACES, "", &namespace).await {
            Err(error) if conflict(&error) => Ok(()),
            Err(error) => Err(refused("create", &namespace, error)),
            Ok(_) => Ok(()),
        }
    }

    /// Makes a Deployment of `replicas` pods with these requests.
    pub async fn create_deployment(
        &self,
        namespace: &str,
        name: &str,
        replicas: u32,
        cpu: &str,
        memory: &str,
        options: &DeploymentOptions,
    ) -> Result<(), WorldError> {
        let mut labels = options.labels.clone();
        labels.insert("app".to_owned(), name.to_owned());
        let mut spec = json!({
            "containers": [{
                "name": "main", "image": "registry.example/app:1",
                "resources": {"requests": {"cpu": cpu, "memory": memory}},
            }],
            "nodeSelector": options.node_selector, "tolerations": options.tolerations,
        });
        if let Some(Value::Object(more)) = &options.pod_spec {
            for (field, value) in more {
                spec[field] = value.clone();
            }
        }
        let deployment = json!({
            "apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {"name": name, "namespace": namespace, "labels": {"app": name}},
            "spec": {
                "replicas": replicas, "selector": {"matchLabels": {"app": name}},
                "template": {
                    "metadata": {"labels": labels, "annotations": options.annotations},
                    "spec": spec,
                },
            },
        });
        self.create(DEPLOYMENTS, namespace, &deployment).await
    }

    /// Scales a Deployment.
    pub async fn scale(
        &self,
        namespace: &str,
        name: &str,
        replicas: u32,
    ) -> Result<(), WorldError> {
        let key = Key::new(namespace, name);
        let patch = json!({"spec": {"replicas": replicas}});
        match self.writer.merge(DEPLOYMENTS, &key, &patch).await {
            Ok(_) => Ok(()),
            Err(source) => Err(refused(
                "scale",
                &json!({"kind": "Deployment",
                "metadata": {"namespace": namespace, "name": name}}),
                source,
            )),
        }
    }

    /// Deletes an object of any kind; one that is not there is no error.
    pub async fn delete(
        &self,
        api_version: &str,
        kind: &str,
        namespace: &str,
        name: &str,
    ) -> Result<(), WorldError> {
        let object = json!({"apiVersion": api_version, "kind": kind,
            "metadata": {"namespace": namespace, "name": name}});
        let path = path_of(&object).ok_or_else(|| WorldError::NoObject(named(&object)))?;
        match self.writer.delete_at(&path).await {
            Ok(_) => Ok(()),
            Err(error) if absent(&error) => Ok(()),
            Err(error) => Err(refused("delete", &object, error)),
        }
    }

    /// Makes or changes a PodDisruptionBudget over the pods `app: <app>`; exactly one of
    /// `minAvailable` and `maxUnavailable` in `limit`.
    pub async fn set_budget(
        &self,
        namespace: &str,
        app: &str,
        limit: &Value,
    ) -> Result<(), WorldError> {
        let mut budget = json!({
            "apiVersion": "policy/v1", "kind": "PodDisruptionBudget",
            "metadata": {"name": app, "namespace": namespace},
            "spec": {"selector": {"matchLabels": {"app": app}}},
        });
        for (field, value) in limit.as_object().into_iter().flatten() {
            budget["spec"][field] = value.clone();
        }
        let key = Key::new(namespace, app);
        if self.writer.get(BUDGETS, &key).await.is_ok() {
            return self.apply(&budget).await;
        }
        self.create(BUDGETS, namespace, &budget).await
    }

    /// The kubelet of this node falls silent for ever, as one that crashed or was cut off: its
    /// machine runs on, its Node and its pods stay as they are.
    pub fn silence(&self, node: &str) {
        if let Some(orders) = &self.orders {
            // Without a receiver there are no kubelets any more.
            let _ = orders.send(Change::Order(Order::Stop(node.to_owned())));
        }
    }

    /// Cordons or uncordons a node.
    pub async fn cordon(&self, node: &str, cordoned: bool) -> Result<(), WorldError> {
        let patch = json!({"spec": {"unschedulable": cordoned}});
        match self.writer.merge(NODES, &Key::new("", node), &patch).await {
            Ok(_) => Ok(()),
            Err(source) => Err(refused(
                "cordon",
                &json!({"kind": "Node", "metadata": {"name": node}}),
                source,
            )),
        }
    }
}

fn kubelets(
    observer: &mut Observer,
    client: Client,
    cloud: &VpsieSim,
    config: &WorldConfig,
    random: &Randomness,
    tasks: &Tasks,
) -> UnboundedSender<Change> {
    let clock = observer.clock.clone();
    let (orders, news) = observer.listen(&[Kind::Node, Kind::Pod]);
    for (number, node) in config.nodes.iter().enumerate() {
        // The receiver is right here.
        let _ = orders.send(Change::Order(static_node(node, number, &config.machines)));
    }
    let kubelet = Kubelet::new(
        Writer::new(client),
        clock.clone(),
        random.fork("kubelet"),
        config.kubelet.clone(),
    );
    play("kubelet", kubelet, news, &clock, tasks);
    if config.actors.machines {
        let events = cloud.subscribe();
        let mut present = cloud.machines();
        present.retain(|machine| machine.phase == Phase::Running);
        let machines = Machines {
            cluster: cluster_of(config),
            config: config.machines.clone(),
            kubelet: orders.clone(),
            clock,
        };
        machines.play(present, events, tasks);
    }
    orders
}

/// The cloud's cluster that the world's Kubernetes runs on.
fn cluster_of(config: &WorldConfig) -> String {
    let first = config.cloud.clusters.first();
    config
        .cluster
        .clone()
        .or_else(|| first.map(|cluster| cluster.identifier.clone()))
        .unwrap_or_default()
}

fn refused(verb: &'static str, object: &Value, source: kube::Error) -> WorldError {
    WorldError::Refused {
        verb,
        object: named(object),
        source: Box::new(source),
    }
}

fn named(object: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap_or("?").to_owned();
    let namespace = object["metadata"]["namespace"].as_str();
    let place = namespace.map_or_else(String::new, |namespace| format!("{namespace}/"));
    format!(
        "{} {place}{}",
        text(&object["kind"]),
        text(&object["metadata"]["name"])
    )
}

/// Where an object lives, by the rule that Kubernetes' and our kinds follow: the plural is the
/// kind in lower case with an `s` (`ies` for `y`, `es` after `s`).
fn path_of(object: &Value) -> Option<String> {
    const CLUSTER: [&str; 8] = [
        "Node",
        "Namespace",
        "AutoscalerConfig",
        "CustomResourceDefinition",
        "PriorityClass",
        "ClusterRole",
        "ClusterRoleBinding",
        "StorageClass",
    ];
    let version = object["apiVersion"].as_str()?;
    let kind = object["kind"].as_str()?;
    let name = object["metadata"]["name"].as_str()?;
    let prefix = if version.contains('/') {
        "/apis"
    } else {
        "/api"
    };
    let lower = kind.to_lowercase();
    let plural = match lower.strip_suffix('y') {
        Some(stem) => format!("{stem}ies"),
        None if lower.ends_with('s') => format!("{lower}es"),
        None => format!("{lower}s"),
    };
    if CLUSTER.contains(&kind) {
        return Some(format!("{prefix}/{version}/{plural}/{name}"));
    }
    let namespace = object["metadata"]["namespace"]
        .as_str()
        .unwrap_or("default");
    Some(format!(
        "{prefix}/{version}/namespaces/{namespace}/{plural}/{name}"
    ))
}

fn daemon_set(config: &DaemonSetConfig) -> Value {
    let everything: Vec<Toleration> = vec![Toleration::everything()];
    json!({
        "apiVersion": "apps/v1", "kind": "DaemonSet",
        "metadata": {"name": config.name, "namespace": "kube-system"},
        "spec": {
            "selector": {"matchLabels": {"app": config.name}},
            "template": {
                "metadata": {"labels": {"app": config.name}},
                "spec": {
                    "tolerations": everything, "hostNetwork": true,
                    "containers": [{
                        "name": "agent", "image": "registry.example/agent:1",
                        "resources": {"requests": {"cpu": config.cpu, "memory": config.memory}},
                    }],
                },
            },
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_is_found_by_its_kind() {
        let path = |object: Value| path_of(&object).unwrap();
        assert_eq!(
            path(json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "a"}})),
            "/apis/apps/v1/namespaces/default/deployments/a"
        );
        assert_eq!(
            path(json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "a"}})),
            "/api/v1/nodes/a"
        );
        assert_eq!(
            path(
                json!({"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "metadata": {"name": "a"}})
            ),
            "/apis/scheduling.k8s.io/v1/priorityclasses/a"
        );
    }
}
