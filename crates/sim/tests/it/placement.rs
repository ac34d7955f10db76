//! The scheduler keeps the rules between pods, and gives those that wait another turn when it may
//! help.

use std::{collections::BTreeMap, time::Duration};

use serde_json::{Value, json};
use sim::{DeploymentOptions, World, WorldConfig};

use crate::{read, until, with_workers, world};

async fn deploy(world: &World, name: &str, replicas: u32, pod_spec: Value) {
    let options = DeploymentOptions {
        pod_spec: Some(pod_spec),
        ..DeploymentOptions::default()
    };
    world
        .create_deployment("default", name, replicas, "100m", "64Mi", &options)
        .await
        .unwrap();
}

fn hostname_apart(from: &str) -> Value {
    let terms = json!([{"topologyKey": "kubernetes.io/hostname",
        "labelSelector": {"matchLabels": {"app": from}}}]);
    json!({"affinity": {"podAntiAffinity":
        {"requiredDuringSchedulingIgnoredDuringExecution": terms}}})
}

/// How many pods of the Deployment are on each node, and how many on none.
fn placed(world: &World, name: &str) -> (BTreeMap<String, usize>, usize) {
    let (mut on, mut nowhere) = (BTreeMap::new(), 0);
    let prefix = format!("default/{name}-");
    world.look(|view| {
        for (_, pod) in view.pods.iter().filter(|(key, _)| key.starts_with(&prefix)) {
            match &pod.node {
                Some(node) => *on.entry(node.clone()).or_default() += 1,
                None => nowhere += 1,
            }
        }
    });
    (on, nowhere)
}

fn each(nodes: &[(&str, usize)]) -> BTreeMap<String, usize> {
    let nodes = nodes.iter();
    nodes
        .map(|(node, pods)| ((*node).to_owned(), *pods))
        .collect()
}

/// What the pods that wait are told.
async fn verdicts(world: &World) -> String {
    let pods = read(world, "/api/v1/namespaces/default/pods").await;
    let conditions = pods["items"].as_array().into_iter().flatten();
    conditions
        .flat_map(|pod| pod["status"]["conditions"].as_array().into_iter().flatten())
        .filter(|condition| {
            condition["type"] == "PodScheduled"
                && condition["status"] == "False"
                && condition["reason"] == "Unschedulable"
        })
        .map(|condition| condition["message"].as_str().unwrap().to_owned())
        .collect::<Vec<_>>()
        .join("\n")
}

const SOON: Duration = Duration::from_secs(20);

#[tokio::test(start_paused = true)]
async fn pods_that_want_to_be_apart_are_and_the_rest_is_told_why_it_waits() {
    let (world, _tasks) = world(1, with_workers(&["a", "b"])).await;
    deploy(&world, "web", 3, hostname_apart("web")).await;
    world.clock.sleep(SOON).await;
    assert_eq!(placed(&world, "web"), (each(&[("a", 1), ("b", 1)]), 1));
    let told = verdicts(&world).await;
    let why = "2 node(s) didn't match pod affinity/anti-affinity rules";
    assert!(told.contains(why), "{told}");
    // One goes, and the one that waited takes its place.
    world.scale("default", "web", 2).await.unwrap();
    world.clock.sleep(SOON).await;
    assert_eq!(placed(&world, "web").1, 0);
}

#[tokio::test(start_paused = true)]
async fn a_pod_that_is_there_keeps_those_away_that_have_no_rule_of_their_own() {
    let (world, _tasks) = world(1, with_workers(&["a", "b"])).await;
    deploy(&world, "loner", 1, hostname_apart("web")).await;
    until(&world, "the loner runs", |view| view.counts().ready == 1).await;
    deploy(&world, "web", 4, json!({})).await;
    until(&world, "all run", |view| view.counts().ready == 5).await;
    let (loner, _) = placed(&world, "loner");
    let (web, _) = placed(&world, "web");
    assert_eq!(web.len(), 1);
    assert_ne!(loner.keys().next(), web.keys().next());
}

#[tokio::test(start_paused = true)]
async fn namespaces_are_selected_by_the_labels_they_have_now() {
    let (world, _tasks) = world(1, with_workers(&["a"])).await;
    let mut apart = hostname_apart("web");
    let terms =
        &mut apart["affinity"]["podAntiAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"];
    terms[0]["namespaceSelector"] = json!({"matchLabels": {"crowded": "true"}});
    terms[0]["namespaces"] = json!(["nobody"]);
    let labelled = |value: &str| {
        json!({"apiVersion": "v1", "kind": "Namespace",
            "metadata": {"name": "default", "labels": {"crowded": value}}})
    };
    world.apply(&labelled("true")).await.unwrap();
    deploy(&world, "web", 2, apart).await;
    world.clock.sleep(SOON).await;
    assert_eq!(placed(&world, "web"), (each(&[("a", 1)]), 1));
    world.apply(&labelled("false")).await.unwrap();
    world.clock.sleep(SOON).await;
    assert_eq!(placed(&world, "web"), (each(&[("a", 2)]), 0));
}

#[tokio::test(start_paused = true)]
async fn a_pod_that_waits_for_company_runs_beside_it_once_it_comes() {
    let (world, _tasks) = world(1, with_workers(&["a", "b"])).await;
    let terms = json!([{"topologyKey": "kubernetes.io/hostname",
        "labelSelector": {"matchLabels": {"app": "cache"}}}]);
    let beside = json!({"affinity": {"podAffinity":
        {"requiredDuringSchedulingIgnoredDuringExecution": terms}}});
    deploy(&world, "web", 3, beside).await;
    world.clock.sleep(SOON).await;
    assert_eq!(placed(&world, "web"), (BTreeMap::new(), 3));
    deploy(&world, "cache", 1, json!({})).await;
    world.clock.sleep(SOON).await;
    let (cache, _) = placed(&world, "cache");
    let node = cache.keys().next().unwrap();
    assert_eq!(placed(&world, "web"), (each(&[(node, 3)]), 0));
}

/// Over the workers: the control plane's node is a domain like any other to who may not run there
/// for its taint only.
fn spread() -> Value {
    json!({"nodeSelector": {"pool": "workers"}, "topologySpreadConstraints": [{"maxSkew": 1,
        "topologyKey": "kubernetes.io/hostname", "whenUnsatisfiable": "DoNotSchedule",
        "labelSelector": {"matchLabels": {"app": "web"}}}]})
}

fn labelled_workers() -> WorldConfig {
    let mut config = with_workers(&["a", "b"]);
    for node in &mut config.nodes {
        node.labels.insert("pool".to_owned(), "workers".to_owned());
    }
    config
}

#[tokio::test(start_paused = true)]
async fn pods_are_spread_even_where_one_node_would_have_room_for_more() {
    let (world, _tasks) = world(1, labelled_workers()).await;
    until(&world, "the nodes are there", |view| {
        view.counts().nodes_ready == 2
    })
    .await;
    // A cordoned node is a domain all the same, unless the constraint says otherwise.
    world.cordon("b", true).await.unwrap();
    deploy(&world, "web", 5, spread()).await;
    world.clock.sleep(SOON).await;
    assert_eq!(placed(&world, "web"), (each(&[("a", 1)]), 4));
    let told = verdicts(&world).await;
    let why = "1 node(s) didn't match pod topology spread constraints";
    assert!(told.contains(why), "{told}");
    world.cordon("b", false).await.unwrap();
    world.clock.sleep(SOON).await;
    let (on, nowhere) = placed(&world, "web");
    let mut numbers: Vec<usize> = on.into_values().collect();
    numbers.sort_unstable();
    assert_eq!((numbers, nowhere), (vec![2, 3], 0));
}

#[tokio::test(start_paused = true)]
async fn a_pod_that_is_ending_is_spread_no_more() {
    let mut config = labelled_workers();
    // Its place is free for counting long before it is empty.
    config.kubelet.terminate =
        serde_json::from_value(json!({"least": "25s", "most": "25s"})).unwrap();
    let (world, _tasks) = world(1, config).await;
    until(&world, "the nodes are there", |view| {
        view.counts().nodes_ready == 2
    })
    .await;
    world.cordon("b", true).await.unwrap();
    deploy(&world, "web", 1, spread()).await;
    until(&world, "the first runs", |view| view.counts().ready == 1).await;
    let first = world.look(|view| {
        let mut pods = view
            .pods
            .keys()
            .filter(|key| key.starts_with("default/web-"));
        pods.next().unwrap().clone()
    });
    let name = first.strip_prefix("default/").unwrap();
    world.delete("v1", "Pod", "default", name).await.unwrap();
    world.clock.sleep(Duration::from_secs(5)).await;
    assert_eq!(placed(&world, "web"), (each(&[("a", 2)]), 0));
}

#[tokio::test(start_paused = true)]
async fn a_port_of_the_host_is_had_by_one_pod_a_node_and_an_address_of_it_by_one() {
    let (world, _tasks) = world(1, with_workers(&["a", "b"])).await;
    let on = |address: &str| {
        json!({"containers": [{"name": "main", "image": "registry.example/app:1",
            "ports": [{"containerPort": 80, "hostPort": 8080, "hostIP": address}]}]})
    };
    deploy(&world, "edge", 3, on("")).await;
    world.clock.sleep(SOON).await;
    assert_eq!(placed(&world, "edge"), (each(&[("a", 1), ("b", 1)]), 1));
    let told = verdicts(&world).await;
    let why = "2 node(s) didn't have free ports for the requested pod ports";
    assert!(told.contains(why), "{told}");
    world.scale("default", "edge", 0).await.unwrap();
    until(&world, "all are gone", |view| view.counts().running == 0).await;
    deploy(&world, "one", 2, on("10.0.0.1")).await;
    deploy(&world, "two", 2, on("10.0.0.2")).await;
    world.clock.sleep(SOON).await;
    for name in ["one", "two"] {
        assert_eq!(placed(&world, name), (each(&[("a", 1), ("b", 1)]), 0));
    }
}
