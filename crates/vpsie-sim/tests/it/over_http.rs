use std::time::Duration;

use http::StatusCode;
use jiff::Timestamp;
use runtime::{Clock, Randomness, Tasks};
use serde_json::{Value, json};
use vpsie_sim::{Config, Fault, Match, Outcome, Route, Rule, VpsieSim};

use crate::client::{CLUSTER, SMALL, TOKEN};

struct Server {
    sim: VpsieSim,
    url: String,
    tasks: Tasks,
    client: reqwest::Client,
}

/// A server on a free port whose clock runs 100 times as fast as the wall.
async fn server() -> Server {
    // reqwest wants one although nothing here is encrypted; a second installation is refused.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let clock = Clock::starting_at(Timestamp::UNIX_EPOCH, 100.0);
    let tasks = Tasks::new();
    let sim = VpsieSim::new(
        Config::default(),
        clock,
        Randomness::seeded(1),
        tasks.clone(),
    );
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/apps/v2", listener.local_addr().unwrap());
    let serving = sim.clone();
    tasks.spawn("vpsie server", async move { serving.serve(listener).await });
    Server {
        sim,
        url,
        tasks,
        client: reqwest::Client::builder().no_proxy().build().unwrap(),
    }
}

impl Server {
    async fn get(&self, path: &str) -> Result<reqwest::Response, reqwest::Error> {
        let request = self.client.get(format!("{}{path}", self.url));
        request.header("Vpsie-Auth", TOKEN).send().await
    }

    async fn add(&self, group: i64) -> Result<reqwest::Response, reqwest::Error> {
        let path = format!("/k8s/cluster/byId/{CLUSTER}/add/slave/group/{group}");
        let request = self.client.post(format!("{}{path}", self.url));
        request.header("Vpsie-Auth", TOKEN).send().await
    }
}

#[tokio::test]
async fn a_worker_is_bought_over_http() {
    let server = server().await;
    let group = server
        .sim
        .human_add_group(CLUSTER, "general", SMALL)
        .unwrap();
    let answer: Value = server.add(group).await.unwrap().json().await.unwrap();
    assert_eq!(answer, json!({"error": false, "data": true}));
    assert_eq!(server.sim.machines().len(), 2);
    let read = server.get("/vm").await.unwrap();
    assert_eq!(
        read.headers()["content-type"],
        "application/json; charset=utf-8"
    );
    assert!(read.headers()["date"].to_str().unwrap().contains("1970"));
    assert_eq!(server.sim.journal().len(), 2);
}

#[tokio::test]
async fn a_lost_response_is_a_closed_connection_after_the_purchase() {
    let server = server().await;
    let group = server
        .sim
        .human_add_group(CLUSTER, "general", SMALL)
        .unwrap();
    let faults = server.sim.faults();
    faults.add(Rule::on(Route::AddWorker, Fault::LostResponseAfterCommit));
    let error = server.add(group).await.unwrap_err();
    assert!(error.is_request(), "{error:?}");
    assert_eq!(server.sim.machines().len(), 2);
    assert_eq!(server.sim.journal()[0].outcome, Outcome::Lost);
    assert_eq!(server.get("/vm").await.unwrap().status(), StatusCode::OK);
}

#[tokio::test]
async fn a_truncated_answer_ends_short_of_its_length() {
    let server = server().await;
    server
        .sim
        .faults()
        .add(Rule::on(Match::Any, Fault::Truncated));
    let response = server.get("/datacenter").await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    let promised = response.content_length().unwrap();
    assert!(promised > 100);
    assert!(response.bytes().await.is_err());
    assert!(
        server
            .get("/datacenter")
            .await
            .unwrap()
            .bytes()
            .await
            .is_ok()
    );
}

#[tokio::test]
async fn a_caller_that_gives_up_undoes_nothing() {
    let server = server().await;
    let group = server
        .sim
        .human_add_group(CLUSTER, "general", SMALL)
        .unwrap();
    // 30 s on the simulator's clock are 0.3 s here.
    let by = Duration::from_secs(30);
    let slow = Fault::Slow {
        by,
        after_commit: false,
    };
    server.sim.faults().add(Rule::on(Route::AddWorker, slow));
    let path = format!("/k8s/cluster/byId/{CLUSTER}/add/slave/group/{group}");
    let request = server.client.post(format!("{}{path}", server.url));
    let request = request
        .header("Vpsie-Auth", TOKEN)
        .timeout(Duration::from_millis(50));
    assert!(request.send().await.unwrap_err().is_timeout());
    assert_eq!(server.sim.machines().len(), 1, "not yet");
    for _ in 0..100 {
        if server.sim.machines().len() == 2 {
            return;
        }
        Clock::system().sleep(Duration::from_millis(20)).await;
    }
    panic!("the purchase was undone");
}

#[tokio::test]
async fn a_stopped_server_takes_no_more_connections() {
    let server = server().await;
    assert!(server.get("/vm").await.is_ok());
    server.tasks.stop();
    server.tasks.join().await;
    assert!(server.get("/vm").await.is_err());
}
