//! The simulated machines and their kubelets beside real components, and the developer's program.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use e2e::{ControlPlane, Settings, Stage};
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::{Api, api::ListParams};
use sim::{StaticNode, WorldConfig};

use crate::{deployment, until};

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Go and minutes: e2e/README.md"]
async fn real_components_run_pods_on_simulated_nodes() {
    let plane = ControlPlane::start(Settings::default()).await.unwrap();
    let config = WorldConfig {
        nodes: vec![StaticNode {
            name: "room".into(),
            ..StaticNode::default()
        }],
        ..WorldConfig::default()
    };
    let _stage = Stage::set(&plane, config, 1).await.unwrap();
    plane
        .apply(&deployment("web", 3).to_string())
        .await
        .unwrap();
    let client = plane.client().await.unwrap();
    let pods: Api<Pod> = Api::default_namespaced(client.clone());
    until("three pods run and are ready", async || {
        let all = pods.list(&ListParams::default()).await.unwrap().items;
        let ready = all.iter().filter(|pod| {
            let status = pod.status.as_ref().unwrap();
            let conditions = status.conditions.iter().flatten();
            status.phase.as_deref() == Some("Running")
                && conditions
                    .filter(|c| c.type_ == "Ready" && c.status == "True")
                    .count()
                    == 1
        });
        (ready.count() == 3).then_some(())
    })
    .await;
    // The node and the cluster's master; the real controllers have taken their taints away.
    let nodes: Api<Node> = Api::all(client);
    let mut untainted = 0;
    for node in nodes.list(&ListParams::default()).await.unwrap() {
        let taints = node.spec.unwrap().taints.unwrap_or_default();
        untainted += usize::from(taints.is_empty());
    }
    assert_eq!(untainted, 1);
    plane
        .kubectl(&["scale", "deployment/web", "--replicas=0"])
        .await
        .unwrap();
    until("the pods have ended", async || {
        let all = pods.list(&ListParams::default()).await.unwrap().items;
        all.is_empty().then_some(())
    })
    .await;
}

/// The processes whose arguments name `folder`.
fn processes(folder: &Path) -> Vec<PathBuf> {
    let folder = folder.display().to_string();
    let all = fs::read_dir("/proc").unwrap();
    all.filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|process| {
            // Another process may end meanwhile.
            let arguments = fs::read(process.join("cmdline")).unwrap_or_default();
            String::from_utf8_lossy(&arguments).contains(&folder)
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Go and minutes: e2e/README.md"]
async fn no_component_outlives_an_owner_that_was_killed() {
    // Built before, so that its start is all that is waited for.
    ControlPlane::build().unwrap();
    let mut owner = Command::new(env!("CARGO_BIN_EXE_control-plane"))
        .arg("--with-cloud")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = BufReader::new(owner.stdout.take().unwrap()).lines();
    let folder = loop {
        let line = said.next().expect("it said where its logs are").unwrap();
        if let Some((_, logs)) = line.split_once("logs ") {
            break Path::new(logs.trim()).parent().unwrap().to_owned();
        }
    };
    // The last thing that it says.
    let ready = said.any(|line| line.unwrap().contains("/apps/v2"));
    assert!(ready);
    let groups = Command::new(ControlPlane::build().unwrap())
        .args(["kubectl", "get", "nodegroups", "-A", "-o", "name"])
        .env("KUBECONFIG", folder.join("kubeconfigs").join("admin.json"))
        .env("HOME", folder.join("home"))
        .output()
        .unwrap();
    let groups = String::from_utf8(groups.stdout).unwrap();
    assert_eq!(groups.lines().count(), 3, "{groups}");
    assert_eq!(processes(&folder).len(), 4);
    owner.kill().unwrap();
    owner.wait().unwrap();
    until("its components have ended", async || {
        processes(&folder).is_empty().then_some(())
    })
    .await;
    fs::remove_dir_all(&folder).unwrap();
}
