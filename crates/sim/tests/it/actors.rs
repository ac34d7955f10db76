//! Each actor does its part.

use std::time::Duration;

use serde_json::json;
use sim::{DeploymentOptions, WorldConfig};
use vpsie_sim::{Fault, Rule};

use crate::{read, until, with_workers, world};

#[tokio::test(start_paused = true)]
async fn a_deployment_that_fits_runs_and_reports_itself_available() {
    let (world, _tasks) = world(1, with_workers(&["a", "b"])).await;
    let plain = DeploymentOptions::default();
    world
        .create_deployment("default", "web", 6, "500m", "128Mi", &plain)
        .await
        .unwrap();
    until(&world, "all pods ready", |view| view.counts().ready == 6).await;
    world.clock.sleep(Duration::from_secs(2)).await;
    let deployment = read(&world, "/apis/apps/v1/namespaces/default/deployments/web").await;
    assert_eq!(deployment["status"]["availableReplicas"], 6);
    assert_eq!(
        deployment["status"]["observedGeneration"],
        deployment["metadata"]["generation"]
    );
    let conditions = deployment["status"]["conditions"].as_array().unwrap();
    assert!(
        conditions
            .iter()
            .any(|c| c["type"] == "Available" && c["status"] == "True")
    );
    // Spread over both nodes.
    let on_a = world.look(|view| {
        let pods = view.pods.values().filter(|pod| !pod.daemon);
        pods.filter(|pod| pod.node.as_deref() == Some("a")).count()
    });
    assert_eq!(on_a, 3);
}

#[tokio::test(start_paused = true)]
async fn what_does_not_fit_is_told_so_in_the_schedulers_words() {
    let (world, _tasks) = world(1, with_workers(&["a"])).await;
    let plain = DeploymentOptions::default();
    world
        .create_deployment("default", "big", 2, "3", "128Mi", &plain)
        .await
        .unwrap();
    until(&world, "one runs and one does not", |view| {
        let counts = view.counts();
        counts.ready == 1 && counts.unschedulable == 1
    })
    .await;
    let events = read(&world, "/api/v1/namespaces/default/events").await;
    let event = events["items"]
        .as_array()
        .unwrap()
        .iter()
        .find(|event| event["reason"] == "FailedScheduling")
        .unwrap();
    let message = event["message"].as_str().unwrap();
    assert!(message.contains("1 Insufficient cpu"), "{message}");
    assert!(message.contains("untolerated taint"), "{message}");
    // Room comes: the first one goes, the second gets its place.
    world.scale("default", "big", 1).await.unwrap();
    until(&world, "the one that is left runs", |view| {
        let counts = view.counts();
        (counts.ready, counts.pending) == (1, 0)
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn scaling_to_nothing_removes_every_pod() {
    let (world, _tasks) = world(1, with_workers(&["a"])).await;
    let plain = DeploymentOptions::default();
    world
        .create_deployment("default", "web", 3, "100m", "64Mi", &plain)
        .await
        .unwrap();
    until(&world, "all pods ready", |view| view.counts().ready == 3).await;
    world.scale("default", "web", 0).await.unwrap();
    until(&world, "no pods", |view| {
        view.pods.values().all(|pod| pod.daemon)
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn deleting_a_deployment_takes_its_sets_and_pods_along() {
    let (world, _tasks) = world(1, with_workers(&["a"])).await;
    let plain = DeploymentOptions::default();
    world
        .create_deployment("default", "web", 3, "100m", "64Mi", &plain)
        .await
        .unwrap();
    until(&world, "all pods ready", |view| view.counts().ready == 3).await;
    world
        .delete("apps/v1", "Deployment", "default", "web")
        .await
        .unwrap();
    until(&world, "no pods", |view| {
        view.pods.values().all(|pod| pod.daemon)
    })
    .await;
    let sets = read(&world, "/apis/apps/v1/replicasets").await;
    assert_eq!(sets["items"].as_array().map(Vec::len), Some(0));
}

#[tokio::test(start_paused = true)]
async fn every_node_gets_its_daemon_and_a_new_one_gets_one_too() {
    let (world, _tasks) = world(1, with_workers(&["a"])).await;
    let on = |view: &sim::View, node: &str| {
        let mut daemons = view.pods.values().filter(|pod| pod.daemon && pod.ready);
        daemons.any(|pod| pod.node.as_deref() == Some(node))
    };
    until(&world, "a daemon on a", |view| on(view, "a")).await;
    let pool = world
        .cloud
        .human_add_group(&world.cluster, "by-hand", 101)
        .unwrap();
    let machine = world.cloud.human_add_worker(&world.cluster, pool).unwrap();
    until(&world, "a daemon on the new node", |view| {
        on(view, &machine.node_name)
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_machine_joins_under_its_host_name_in_lower_case_and_becomes_ready() {
    let (world, _tasks) = world(1, WorldConfig::default()).await;
    let pool = world
        .cloud
        .human_add_group(&world.cluster, "by-hand", 101)
        .unwrap();
    let machine = world.cloud.human_add_worker(&world.cluster, pool).unwrap();
    until(&world, "the node is ready", |view| {
        view.nodes
            .get(&machine.node_name)
            .is_some_and(|node| node.ready)
    })
    .await;
    world.clock.sleep(Duration::from_secs(5)).await;
    let node = read(&world, &format!("/api/v1/nodes/{}", machine.node_name)).await;
    assert_eq!(machine.node_name, machine.hostname.to_lowercase());
    assert_eq!(node["spec"]["providerID"], serde_json::Value::Null);
    assert_eq!(node["spec"]["taints"].as_array().map_or(0, Vec::len), 0);
    assert_eq!(
        node["metadata"]["labels"]["kubernetes.io/hostname"],
        json!(machine.node_name)
    );
    assert_eq!(node["status"]["capacity"]["cpu"], "2");
    assert_eq!(node["status"]["allocatable"]["cpu"], "1940m");
    let addresses = node["status"]["addresses"].as_array().unwrap();
    assert!(
        addresses
            .iter()
            .any(|address| address["address"] == json!(machine.private_ip))
    );
}

#[tokio::test(start_paused = true)]
async fn a_machine_that_never_joins_makes_no_node() {
    let (world, _tasks) = world(1, WorldConfig::default()).await;
    let pool = world
        .cloud
        .human_add_group(&world.cluster, "by-hand", 101)
        .unwrap();
    // Faults strike requests of the API: buy through it.
    world
        .cloud
        .faults()
        .add(Rule::on(vpsie_sim::Route::AddWorker, Fault::NeverJoins));
    let token = world.cloud.config().credentials.token.unwrap();
    let path = format!(
        "/apps/v2/k8s/cluster/byId/{}/add/slave/group/{pool}",
        world.cluster
    );
    let request = http::Request::post(path)
        .header("Vpsie-Auth", token)
        .header("content-type", "application/json")
        .body(bytes::Bytes::from_static(b"{}"))
        .unwrap();
    let response = world.cloud.handle(request).await.unwrap();
    assert_eq!(response.status(), 200, "{:?}", response.body());
    world.clock.sleep(Duration::from_hours(1)).await;
    let workers = world.look(|view| {
        view.nodes
            .values()
            .filter(|node| !node.control_plane)
            .count()
    });
    assert_eq!(workers, 0);
}

#[tokio::test(start_paused = true)]
async fn a_deleted_machine_leaves_its_node_which_becomes_unknown() {
    let (world, _tasks) = world(1, WorldConfig::default()).await;
    let pool = world
        .cloud
        .human_add_group(&world.cluster, "by-hand", 101)
        .unwrap();
    let machine = world.cloud.human_add_worker(&world.cluster, pool).unwrap();
    let ready = |view: &sim::View| view.nodes.get(&machine.node_name).map(|node| node.ready);
    until(&world, "the node is ready", |view| {
        ready(view) == Some(true)
    })
    .await;
    assert!(world.cloud.human_delete(&machine.uuid));
    until(&world, "the node is not ready", |view| {
        ready(view) == Some(false)
    })
    .await;
    let node = read(&world, &format!("/api/v1/nodes/{}", machine.node_name)).await;
    let conditions = node["status"]["conditions"].as_array().unwrap();
    assert!(
        conditions
            .iter()
            .any(|c| c["type"] == "Ready" && c["status"] == "Unknown")
    );
    world.clock.sleep(Duration::from_hours(1)).await;
    assert_eq!(world.look(ready), Some(false), "nobody here deletes a Node");
}

#[tokio::test(start_paused = true)]
async fn an_idle_node_stays_ready_for_hours() {
    let (world, _tasks) = world(1, with_workers(&["a"])).await;
    until(&world, "ready", |view| {
        view.nodes.get("a").is_some_and(|node| node.ready)
    })
    .await;
    for _ in 0..8 {
        world.clock.sleep(Duration::from_mins(30)).await;
        assert!(world.look(|view| view.nodes["a"].ready));
    }
}

#[tokio::test(start_paused = true)]
async fn a_cordon_keeps_new_pods_away_and_lets_the_old_ones_be() {
    let (world, _tasks) = world(1, with_workers(&["a"])).await;
    let plain = DeploymentOptions::default();
    world
        .create_deployment("default", "web", 1, "100m", "64Mi", &plain)
        .await
        .unwrap();
    until(&world, "it runs", |view| view.counts().ready == 1).await;
    world.cordon("a", true).await.unwrap();
    world.scale("default", "web", 2).await.unwrap();
    until(&world, "the second waits", |view| {
        view.counts().unschedulable == 1
    })
    .await;
    assert_eq!(world.counts().ready, 1);
    world.cordon("a", false).await.unwrap();
    until(&world, "both run", |view| view.counts().ready == 2).await;
}

#[tokio::test(start_paused = true)]
async fn pods_of_a_deleted_node_are_removed_and_made_anew_elsewhere() {
    let (world, _tasks) = world(1, with_workers(&["a", "b"])).await;
    let plain = DeploymentOptions::default();
    world
        .create_deployment("default", "web", 4, "100m", "64Mi", &plain)
        .await
        .unwrap();
    until(&world, "all run", |view| view.counts().ready == 4).await;
    world.delete("v1", "Node", "", "a").await.unwrap();
    until(&world, "all run on b", |view| {
        let mut pods = view.pods.values().filter(|pod| !pod.daemon);
        view.counts().ready == 4 && pods.all(|pod| pod.node.as_deref() == Some("b"))
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_budget_counts_healthy_pods_and_what_may_be_disrupted() {
    let (world, _tasks) = world(1, with_workers(&["a"])).await;
    let plain = DeploymentOptions::default();
    world
        .create_deployment("default", "web", 4, "100m", "64Mi", &plain)
        .await
        .unwrap();
    world
        .set_budget("default", "web", &json!({"minAvailable": "50%"}))
        .await
        .unwrap();
    until(&world, "all run", |view| view.counts().ready == 4).await;
    world.clock.sleep(Duration::from_secs(5)).await;
    let path = "/apis/policy/v1/namespaces/default/poddisruptionbudgets/web";
    let status = read(&world, path).await["status"].clone();
    assert_eq!(status["expectedPods"], 4);
    assert_eq!(status["currentHealthy"], 4);
    assert_eq!(status["desiredHealthy"], 2);
    assert_eq!(status["disruptionsAllowed"], 2);
}

#[tokio::test(start_paused = true)]
async fn a_job_runs_to_its_completions() {
    let (world, _tasks) = world(1, with_workers(&["a"])).await;
    let job = json!({
        "apiVersion": "batch/v1", "kind": "Job",
        "metadata": {"name": "sum", "namespace": "default"},
        "spec": {"parallelism": 2, "completions": 3, "template": {
            "metadata": {"annotations": {sim::RUN_SECONDS: "5"}},
            "spec": {"restartPolicy": "Never", "containers": [{"name": "main", "image": "i"}]}}},
    });
    world.apply(&job).await.unwrap();
    until(&world, "three have ended", |view| {
        view.counts().finished == 3
    })
    .await;
    world.clock.sleep(Duration::from_secs(2)).await;
    let job = read(&world, "/apis/batch/v1/namespaces/default/jobs/sum").await;
    assert_eq!(job["status"]["succeeded"], 3);
    assert!(job["status"]["completionTime"].is_string());
}

#[tokio::test(start_paused = true)]
async fn a_stateful_set_makes_its_pods_in_order() {
    let (world, _tasks) = world(1, with_workers(&["a"])).await;
    let set = json!({
        "apiVersion": "apps/v1", "kind": "StatefulSet",
        "metadata": {"name": "db", "namespace": "default"},
        "spec": {"replicas": 3, "serviceName": "db", "selector": {"matchLabels": {"app": "db"}},
            "template": {"metadata": {"labels": {"app": "db"}},
                "spec": {"containers": [{"name": "main", "image": "i"}]}}},
    });
    world.apply(&set).await.unwrap();
    until(&world, "the first is ready", |view| {
        view.pods.get("default/db-0").is_some_and(|pod| pod.ready)
    })
    .await;
    assert!(world.look(|view| !view.pods.contains_key("default/db-2")));
    until(&world, "the last is ready", |view| {
        view.pods.get("default/db-2").is_some_and(|pod| pod.ready)
    })
    .await;
}
