//! A caller of the simulator in virtual time, and the fixtures of the default configuration.

use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use jiff::Timestamp;
use runtime::{Clock, Randomness, Tasks};
use serde_json::{Value, json};
use vpsie_sim::{
    Config, ConnectionLost, Fault, Machine, MachineEvent, Role, Route, Rule, VpsieSim,
};

pub(crate) const CLUSTER: &str = "0a7c9f5e-3d52-4c3e-8a43-49ab00000001";
pub(crate) const DATACENTER: &str = "5a1c1e0e-0d3c-4b7e-9f0a-1f6f00000001";
pub(crate) const TOKEN: &str = "simulated-static-token";
pub(crate) const SMALL: i64 = 101;
pub(crate) const MEDIUM: i64 = 102;

/// A simulator on virtual time, and a caller with the static token.
pub(crate) struct Caller {
    pub(crate) sim: VpsieSim,
    pub(crate) clock: Clock,
    pub(crate) tasks: Tasks,
}

/// The default account.
pub(crate) fn caller() -> Caller {
    caller_with(|_| {})
}

/// The default account, changed.
pub(crate) fn caller_with(change: impl FnOnce(&mut Config)) -> Caller {
    seeded(1, change)
}

pub(crate) fn seeded(seed: u64, change: impl FnOnce(&mut Config)) -> Caller {
    let mut config = Config::default();
    change(&mut config);
    let clock = Clock::starting_at("2026-01-01T00:00:00Z".parse::<Timestamp>().unwrap(), 1.0);
    let tasks = Tasks::new();
    let sim = VpsieSim::new(
        config,
        clock.clone(),
        Randomness::seeded(seed),
        tasks.clone(),
    );
    Caller { sim, clock, tasks }
}

pub(crate) fn request(method: Method, path: &str, body: Option<Value>) -> Request<Bytes> {
    let mut request = Request::builder()
        .method(method)
        .uri(format!("https://api.vpsie.com/apps/v2{path}"))
        .header("user-agent", "test")
        .header("vpsie-auth", TOKEN);
    let body = match body {
        Some(body) => {
            request = request.header("content-type", "application/json");
            Bytes::from(body.to_string())
        }
        None => Bytes::new(),
    };
    request.body(body).unwrap()
}

impl Caller {
    pub(crate) async fn send(
        &self,
        request: Request<Bytes>,
    ) -> Result<Response<Bytes>, ConnectionLost> {
        self.sim.handle(request).await
    }

    /// Status and decoded body.
    pub(crate) async fn call(
        &self,
        method: Method,
        path: &str,
        body: Option<Value>,
    ) -> (StatusCode, Value) {
        let response = self.send(request(method, path, body)).await.unwrap();
        let body = serde_json::from_slice(response.body()).unwrap();
        (response.status(), body)
    }

    pub(crate) async fn get(&self, path: &str) -> Value {
        let (status, body) = self.call(Method::GET, path, None).await;
        assert_eq!(status, StatusCode::OK, "{body}");
        body
    }

    pub(crate) async fn post(&self, path: &str, body: Value) -> (StatusCode, Value) {
        self.call(Method::POST, path, Some(body)).await
    }

    pub(crate) async fn remove(&self, path: &str, body: Value) -> (StatusCode, Value) {
        self.call(Method::DELETE, path, Some(body)).await
    }

    /// Makes a group through the API and answers its numeric id.
    pub(crate) async fn group(&self, name: &str, size: i64) -> i64 {
        let wish = json!({"clusterIdentifier": CLUSTER, "groupName": name, "KubeSizeID": size});
        let (status, answer) = self.post("/k8s/cluster/add/group", wish).await;
        assert_eq!(
            (status, &answer["data"]),
            (StatusCode::OK, &json!(true)),
            "{answer}"
        );
        let pools = self.sim.pools(CLUSTER);
        pools.iter().find(|pool| pool.name == name).unwrap().id
    }

    pub(crate) async fn add(&self, group: i64) -> (StatusCode, Value) {
        let path = format!("/k8s/cluster/byId/{CLUSTER}/add/slave/group/{group}");
        self.call(Method::POST, &path, None).await
    }

    pub(crate) async fn delete(&self, uuid: &str) -> (StatusCode, Value) {
        let path = format!("/k8s/cluster/byId/{CLUSTER}/delete/slave");
        self.remove(&path, json!({"identifier": uuid})).await
    }

    /// The `nodes[]` of the cluster.
    pub(crate) async fn nodes(&self) -> Vec<Value> {
        let cluster = self.get(&format!("/k8s/cluster/byId/{CLUSTER}")).await;
        cluster["data"]["nodes"].as_array().unwrap().clone()
    }

    pub(crate) async fn groups(&self) -> Vec<Value> {
        let list = self
            .get(&format!("/k8s/node/groups/byClusterId/{CLUSTER}"))
            .await;
        list["data"].as_array().unwrap().clone()
    }

    pub(crate) async fn pass(&self, seconds: u64) {
        self.clock.sleep(Duration::from_secs(seconds)).await;
    }

    pub(crate) fn workers(&self) -> Vec<Machine> {
        let mut machines = self.sim.machines();
        machines.retain(|machine| machine.role == Role::Worker);
        machines
    }

    /// Live workers, by the truth.
    pub(crate) fn live(&self) -> usize {
        self.workers()
            .iter()
            .filter(|machine| machine.is_paid())
            .count()
    }

    pub(crate) fn fault(&self, route: Route, fault: Fault) {
        self.sim.faults().add(Rule::on(route, fault));
    }
}

/// The events that are there by now.
pub(crate) fn drain(
    events: &mut tokio::sync::mpsc::UnboundedReceiver<MachineEvent>,
) -> Vec<MachineEvent> {
    std::iter::from_fn(|| events.try_recv().ok()).collect()
}
