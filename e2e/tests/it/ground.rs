//! What the measured tests stand on: a control plane, a cloud with known timings, and the product
//! kept running as a kubelet keeps a container. It watches on the way that no machine is deleted
//! under pods.

use std::{collections::BTreeSet, path::PathBuf, time::Duration};

use e2e::{ControlPlane, Product, Settings, Stage};
use serde_json::{Value, json};
use sim::{DeploymentOptions, View, WorldConfig};
use tokio::sync::mpsc::UnboundedReceiver;
use vpsie_sim::{Machine, MachineEvent, Origin, Request, Role, Route};

/// Between two looks.
const LOOK: Duration = Duration::from_millis(50);
/// Between the end of a process and the start of the next.
const AGAIN: Duration = Duration::from_secs(2);
/// Of `small-2cpu-4gb`: what the kubelet and the DaemonSet leave, in millicores.
pub(crate) const SMALL: u32 = 2000 - 60 - 50;

pub(crate) struct Ground {
    // In the order in which they end.
    product: Option<Product>,
    pub(crate) stage: Stage,
    pub(crate) plane: ControlPlane,
    binary: PathBuf,
    kubeconfig: PathBuf,
    flags: Vec<String>,
    start_at: Duration,
    /// Whether an ended process is followed by another.
    pub(crate) keeping: bool,
    /// How often a process ended by itself.
    pub(crate) ends: u32,
    events: UnboundedReceiver<MachineEvent>,
    /// Machines that were deleted under pods.
    pub(crate) unsafe_deletions: Vec<String>,
}

/// A world whose machines take these times, in milliseconds, from least to most.
pub(crate) fn world(
    creating: (u64, u64),
    joining: (u64, u64),
    readying: (u64, u64),
) -> WorldConfig {
    let span =
        |(low, high): (u64, u64)| json!({"low": format!("{low}ms"), "high": format!("{high}ms")});
    let range =
        |least: u64, most: u64| json!({"least": format!("{least}ms"), "most": format!("{most}ms")});
    serde_json::from_value(json!({
        "kubelet": {"admit": range(50, 200), "start": range(300, 1000), "terminate": range(200, 1000)},
        "cloud": {"timings": {
            "queued": span((500, 500)), "creating": span(creating), "joining": span(joining),
            "readying": span(readying), "deleting": span((500, 2000)),
        }},
    }))
    .unwrap()
}

/// A group that buys one size, with what is given merged into its spec.
pub(crate) fn group(name: &str, offering: &str, max: u32, more: &Value) -> Value {
    let mut group = json!({
        "apiVersion": "autoscaler.vpsie.com/v1alpha1", "kind": "NodeGroup",
        "metadata": {
            "name": name, "namespace": "kube-system",
            "labels": {api::labels::MANAGED: "true"},
        },
        "spec": {
            "minNodes": 0, "maxNodes": max, "datacenterID": "HEL", "offeringIDs": [offering],
            "labels": {"pool": name},
        },
    });
    for (field, value) in more.as_object().into_iter().flatten() {
        group["spec"][field] = value.clone();
    }
    group
}

impl Ground {
    /// Without the product: [`Ground::start`] starts it.
    pub(crate) async fn set(config: WorldConfig, seed: u64, flags: &[&str]) -> Self {
        let binary = Product::build().unwrap();
        let plane = ControlPlane::start(Settings::default()).await.unwrap();
        let stage = Stage::set(&plane, config, seed).await.unwrap();
        let kubeconfig = Product::kubeconfig(&plane).await.unwrap();
        Self {
            product: None,
            events: stage.world.cloud.subscribe(),
            stage,
            plane,
            binary,
            kubeconfig,
            flags: flags.iter().map(ToString::to_string).collect(),
            start_at: Duration::ZERO,
            keeping: false,
            ends: 0,
            unsafe_deletions: Vec::new(),
        }
    }

    /// Starts the product, and keeps it running.
    pub(crate) fn start(&mut self) {
        let started =
            Product::start_as(&self.plane, &self.binary, &self.kubeconfig, &self.flags).unwrap();
        self.product = Some(started);
        self.keeping = true;
    }

    /// `kill -9`: it ends between two of its instructions.
    pub(crate) fn kill(&mut self) {
        self.keeping = false;
        self.product = None;
    }

    pub(crate) fn now(&self) -> Duration {
        self.stage.world.clock.monotonic()
    }

    pub(crate) async fn sleep(&mut self, duration: Duration) {
        let until = self.now() + duration;
        while self.now() < until {
            self.look();
            let left = until.saturating_sub(self.now());
            self.stage.world.clock.sleep(LOOK.min(left)).await;
        }
    }

    /// One look: an ended process is started again, and deletions are judged.
    fn look(&mut self) {
        let now = self.now();
        if let Some(product) = &mut self.product
            && product.check().is_err()
        {
            assert!(self.keeping);
            self.product = None;
            self.ends += 1;
            self.start_at = now + AGAIN;
        }
        if self.keeping && self.product.is_none() && now >= self.start_at {
            self.start();
        }
        while let Ok(event) = self.events.try_recv() {
            let MachineEvent::Deleting(machine) = event else {
                continue;
            };
            let pods = self.stage.world.look(|view| {
                let on = view.pods.iter().filter(|(_, pod)| {
                    pod.node.as_deref() == Some(&machine.node_name)
                        && !pod.daemon
                        && !matches!(pod.phase.as_str(), "Succeeded" | "Failed")
                });
                on.map(|(name, _)| name.clone()).collect::<Vec<_>>()
            });
            if !pods.is_empty() {
                let told = format!("{} had {}", machine.node_name, pods.join(", "));
                self.unsafe_deletions.push(told);
            }
        }
    }

    /// Looks until it holds.
    pub(crate) async fn until(
        &mut self,
        what: &str,
        limit: u64,
        holds: impl Fn(&Self, &View) -> bool,
    ) {
        let deadline = self.now() + Duration::from_secs(limit);
        loop {
            self.look();
            let view = self.stage.world.view();
            if holds(self, &view) {
                return;
            }
            assert!(
                self.now() < deadline,
                "not in {limit} s: {what}; {:?}, {} machines, {:#?}, {:?}",
                view.counts(),
                self.paid().len(),
                view.vpsie_nodes,
                view.decisions.iter().take(12).collect::<Vec<_>>(),
            );
            self.stage.world.clock.sleep(LOOK).await;
        }
    }

    /// Waits until this many pods run, and no more are there.
    pub(crate) async fn all_run(&mut self, pods: usize, limit: u64) {
        self.until(&format!("{pods} pods run"), limit, |_, view| {
            let counts = view.counts();
            (counts.running, counts.pending) == (pods, 0)
        })
        .await;
    }

    /// Waits until the product has said something about a group.
    pub(crate) async fn group_is_known(&mut self, name: &str) {
        let key = format!("kube-system/{name}");
        self.until("the group is known", 60, |_, view| {
            let group = view.groups.get(&key);
            group.is_some_and(|group| group.conditions.contains_key("Ready"))
        })
        .await;
    }

    pub(crate) async fn deploy(
        &self,
        name: &str,
        replicas: u32,
        cpu: &str,
        options: &DeploymentOptions,
    ) {
        let world = &self.stage.world;
        let made = world.create_deployment("default", name, replicas, cpu, "128Mi", options);
        made.await.unwrap();
    }

    pub(crate) async fn scale(&self, name: &str, replicas: u32) {
        let scaled = self.stage.world.scale("default", name, replicas);
        scaled.await.unwrap();
    }

    pub(crate) async fn apply(&self, object: &Value) {
        self.plane.apply(&object.to_string()).await.unwrap();
    }

    /// Workers that were bought through the API, whatever became of them.
    pub(crate) fn bought(&self) -> Vec<Machine> {
        let mut machines = self.stage.world.cloud.machines();
        machines.retain(|m| m.role == Role::Worker && matches!(m.origin, Origin::Api(_)));
        machines
    }

    /// Those that are paid for.
    pub(crate) fn paid(&self) -> Vec<Machine> {
        let mut machines = self.bought();
        machines.retain(Machine::is_paid);
        machines
    }

    /// Requests to this route.
    pub(crate) fn requests(&self, route: Route) -> Vec<Request> {
        let mut all = self.stage.world.cloud.journal();
        all.retain(|request| request.route == route);
        all
    }

    /// Every paid machine is named by one VPSieNode, and every VPSieNode names one of them; but for
    /// those that were given up before anything came of them, which are kept as evidence.
    pub(crate) fn assert_owned(&self) {
        let view = self.stage.world.view();
        let named: Vec<String> = view
            .vpsie_nodes
            .values()
            .filter_map(|node| node.machine.as_ref())
            .map(|uuid| uuid.to_lowercase())
            .collect();
        let once: BTreeSet<&String> = named.iter().collect();
        assert_eq!(once.len(), named.len(), "a machine is named twice");
        let mut nameless = view
            .vpsie_nodes
            .values()
            .filter(|node| node.machine.is_none());
        assert!(
            nameless.all(|node| node.phase == "Failed"),
            "one names no machine"
        );
        let paid: BTreeSet<String> = self.paid().iter().map(|m| m.uuid.to_lowercase()).collect();
        assert_eq!(paid.iter().collect::<BTreeSet<_>>(), once);
    }
}
