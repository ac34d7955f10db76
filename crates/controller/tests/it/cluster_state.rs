//! The index behind kube's watcher: pages, recovery, the watchdog, repeatability.

use std::time::Duration;

use api::VPSieNode;
use controller::{
    cluster_state::{ClusterState, Kind, Options},
    pulse::Pulse,
};
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::{
    Api,
    api::{DeleteParams, PatchParams, PostParams},
};
use kube_sim::{Effect, Match, Rule};
use model::NodeName;
use runtime::{Randomness, Tasks};
use serde_json::json;

use crate::server::{Server, machine, node, pod};

pub(crate) struct World {
    pub(crate) server: Server,
    pub(crate) state: ClusterState,
    tasks: Tasks,
}

impl World {
    pub(crate) fn begin(server: Server) -> Self {
        let (random, tasks) = (Randomness::seeded(3), Tasks::new());
        let state = ClusterState::new(server.clock.clone(), random, Options::default());
        let pulse = Pulse::new(server.clock.clone());
        state.spawn(&server.client("controller"), &tasks, &pulse);
        Self {
            server,
            state,
            tasks,
        }
    }

    pub(crate) async fn synced(server: Server) -> Self {
        let world = Self::begin(server);
        world.state.wait_synced().await;
        world
    }

    pub(crate) async fn sleep(&self, seconds: u64) {
        self.server.clock.sleep(Duration::from_secs(seconds)).await;
    }

    fn pods(&self) -> usize {
        self.state.stats().rows[&Kind::Pods]
    }

    pub(crate) fn rebuilds(&self, kind: Kind) -> u64 {
        self.state
            .stats()
            .rebuilds
            .get(&kind)
            .copied()
            .unwrap_or_default()
    }
}

#[tokio::test(start_paused = true)]
async fn every_kind_is_listed_in_small_pages_and_then_followed() {
    let server = Server::new();
    server.sim.insert(node("n1")).unwrap();
    for number in 0..120 {
        server.pod(&format!("p{number}"), Some("n1"));
    }
    let world = World::begin(server);
    assert!(!world.state.synced());
    world.state.wait_synced().await;
    assert_eq!(world.pods(), 120);
    assert_eq!(world.server.requests("controller", "list", "pods"), 3);
    assert_eq!(world.state.pods_on(&NodeName::new("n1")).len(), 120);

    let mut changes = world.state.changes();
    changes.mark_unchanged();
    let api: Api<Pod> = Api::default_namespaced(world.server.client("user"));
    let new = serde_json::from_value(pod("new", None)).unwrap();
    api.create(&PostParams::default(), &new).await.unwrap();
    changes.changed().await.unwrap();
    assert_eq!(world.state.cluster().waiting.len(), 1);

    api.delete("new", &DeleteParams::default()).await.unwrap();
    changes.changed().await.unwrap();
    assert_eq!(world.pods(), 120);
    assert_eq!(world.server.requests("controller", "list", "pods"), 3);
}

#[tokio::test(start_paused = true)]
async fn finished_pods_are_neither_listed_nor_kept() {
    let server = Server::new();
    let mut done = pod("done", Some("n1"));
    done["status"] = json!({"phase": "Succeeded"});
    server.sim.insert(done).unwrap();
    let api: Api<Pod> = Api::default_namespaced(server.client("kubelet"));
    let running = serde_json::from_value(pod("running", Some("n1"))).unwrap();
    api.create(&PostParams::default(), &running).await.unwrap();
    let world = World::synced(server).await;
    assert_eq!(world.pods(), 1);

    let failed = kube::api::Patch::Merge(json!({"status": {"phase": "Failed"}}));
    api.patch_status("running", &PatchParams::default(), &failed)
        .await
        .unwrap();
    world.sleep(1).await;
    assert_eq!(world.pods(), 0);
}

#[tokio::test(start_paused = true)]
async fn an_idle_hour_writes_nothing_and_lists_nothing_again() {
    let server = Server::new();
    server.pod("p", Some("n1"));
    server.sim.insert(node("n1")).unwrap();
    let world = World::synced(server).await;
    world.server.sim.journal().take();
    let before = *world.state.changes().borrow();
    world.sleep(3600).await;

    let records = world.server.sim.journal().records();
    assert!(!records.iter().any(kube_sim::RequestRecord::is_write));
    assert!(!records.iter().any(|record| record.verb == "list"));
    // A watch of each kind every four minutes.
    let watches = Kind::ALL.len() * 16;
    assert!(records.len() <= watches, "{} reads", records.len());
    assert_eq!(*world.state.changes().borrow(), before, "nothing happened");
    for (kind, (age, _)) in world.state.ages() {
        assert!(age <= Duration::from_mins(2), "{kind}: {age:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_frozen_watch_is_found_within_five_minutes_and_only_its_kind_is_listed_anew() {
    let world = World::synced(Server::new()).await;
    world.sleep(90).await;
    world.server.sim.faults().hold_watches("pods");
    world.server.pod("unheard", None);
    world.sleep(200).await;
    assert_eq!(world.pods(), 0);
    world.sleep(100).await;
    assert_eq!(world.pods(), 1);
    assert_eq!(world.rebuilds(Kind::Pods), 1);
    assert_eq!(world.rebuilds(Kind::Nodes), 0);
    assert_eq!(world.rebuilds(Kind::VPSieNodes), 0);
}

#[tokio::test(start_paused = true)]
async fn a_watch_refused_as_expired_is_built_anew_from_a_list() {
    let world = World::synced(Server::new()).await;
    let watches = Match::resource("pods").verb("watch");
    let faults = world.server.sim.faults().clone();
    faults.add(Rule::times(watches.clone(), Effect::Gone, 3));
    faults.cut_watches(watches);
    world.sleep(30).await;
    world.server.pod("later", None);
    world.sleep(1).await;
    assert_eq!(world.pods(), 1);
    assert_eq!(world.rebuilds(Kind::Pods), 3);
}

#[tokio::test(start_paused = true)]
async fn where_every_watch_is_refused_lists_keep_the_index_fresh_without_a_storm() {
    let world = World::synced(Server::new()).await;
    let watches = Match::resource("pods").verb("watch");
    let faults = world.server.sim.faults().clone();
    faults.add(Rule::always(watches.clone(), Effect::Gone));
    faults.cut_watches(watches);
    world.sleep(300).await;
    world.server.pod("later", None);
    world.sleep(31).await;
    assert_eq!(world.pods(), 1);
    let lists = world.server.requests("controller", "list", "pods");
    assert!(lists < 40, "{lists} lists in five and a half minutes");
}

#[tokio::test(start_paused = true)]
async fn what_was_deleted_while_nobody_listened_is_swept_by_the_next_list() {
    let server = Server::new();
    server.pod("stays", None);
    server.pod("goes", None);
    let world = World::synced(server).await;
    let faults = world.server.sim.faults().clone();
    faults.hold_watches("pods");
    let api: Api<Pod> = Api::default_namespaced(world.server.client("user"));
    api.delete("goes", &DeleteParams::default()).await.unwrap();
    world.sleep(1).await;
    assert_eq!(world.pods(), 2);
    faults.expire_watches(Match::resource("pods"));
    faults.release_watches("pods");
    world.sleep(5).await;
    assert_eq!(world.pods(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_outage_of_the_server_ends_with_a_complete_index() {
    let server = Server::new();
    server.pod("before", None);
    let world = World::synced(server).await;
    world.server.sim.faults().stop();
    world.sleep(600).await;
    assert_eq!(world.pods(), 1, "what is known is kept");
    assert!(world.state.ages()["pods"].0 >= Duration::from_mins(5));
    world.server.sim.faults().restart();
    world.server.pod("after", None);
    world.sleep(60).await;
    assert_eq!(world.pods(), 2);
}

#[tokio::test(start_paused = true)]
async fn lists_that_break_half_way_do_not_lose_rows_or_sync_early() {
    let server = Server::new();
    for number in 0..120 {
        server.pod(&format!("p{number}"), None);
    }
    let second_page = Rule::once(
        Match::resource("pods").verb("list"),
        Effect::TruncateResponse,
    );
    server.sim.faults().add(second_page.after(1));
    let world = World::synced(server).await;
    assert_eq!(world.pods(), 120);
    assert_eq!(world.server.requests("controller", "list", "pods"), 5);
}

#[tokio::test(start_paused = true)]
async fn a_bad_quantity_spoils_only_its_own_row() {
    let server = Server::new();
    server.sim.faults().set_lenient(true);
    let mut bad = pod("bad", None);
    bad["spec"]["containers"][0]["resources"]["requests"]["cpu"] = json!("lots");
    server.sim.insert(bad).unwrap();
    server.pod("good", None);
    let mut small = node("small");
    small["status"]["allocatable"]["memory"] = json!("4 elephants");
    server.sim.insert(small).unwrap();
    let bare = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "bare"}});
    server.sim.insert(bare).unwrap();
    server.sim.insert(node("whole")).unwrap();

    let world = World::synced(server).await;
    let cluster = world.state.cluster();
    let defects: Vec<bool> = cluster
        .waiting
        .iter()
        .map(|pod| pod.class.defect.is_some())
        .collect();
    assert_eq!(defects, [true, false]);
    let defects: Vec<(String, bool)> = cluster
        .nodes
        .values()
        .map(|node| (node.name.to_string(), node.defect.is_some()))
        .collect();
    let expected = [("bare", true), ("small", true), ("whole", false)];
    assert_eq!(defects, expected.map(|(name, bad)| (name.to_owned(), bad)));
}

#[tokio::test(start_paused = true)]
async fn an_own_write_is_read_at_once_and_older_news_does_not_undo_it() {
    let world = World::synced(Server::new()).await;
    let faults = world.server.sim.faults().clone();
    faults.hold_watches("vpsienodes");
    let api: Api<VPSieNode> = Api::default_namespaced(world.server.client("controller"));
    let new = serde_json::from_value(machine("m")).unwrap();
    let created = api.create(&PostParams::default(), &new).await.unwrap();
    world.state.note_vpsie_node(created.clone());
    let mut changed = created;
    changed.spec.node_name = Some("n1".into());
    let changed = api
        .replace("m", &PostParams::default(), &changed)
        .await
        .unwrap();
    world.state.note_vpsie_node(changed);
    let named = || {
        let stored = world.state.vpsie_node("default", "m").unwrap();
        stored.spec.node_name.clone()
    };
    assert_eq!(named().as_deref(), Some("n1"));
    faults.release_watches("vpsienodes");
    world.sleep(5).await;
    assert_eq!(named().as_deref(), Some("n1"));
}

#[tokio::test(start_paused = true)]
async fn a_deleted_machine_does_not_come_back_with_the_answer_of_its_last_write() {
    let world = World::synced(Server::new()).await;
    let api: Api<VPSieNode> = Api::default_namespaced(world.server.client("controller"));
    let mut new: VPSieNode = serde_json::from_value(machine("m")).unwrap();
    new.metadata.finalizers = Some(vec!["autoscaler.vpsie.com/machine".into()]);
    let created = api.create(&PostParams::default(), &new).await.unwrap();
    api.delete("m", &DeleteParams::default()).await.unwrap();
    world.sleep(1).await;
    let mut last = api.get("m").await.unwrap();
    last.metadata.finalizers = None;
    let answer = api
        .replace("m", &PostParams::default(), &last)
        .await
        .unwrap();
    world.sleep(1).await;
    assert!(world.state.vpsie_node("default", "m").is_none());
    world.state.note_vpsie_node(answer);
    world.state.note_vpsie_node(created);
    assert!(world.state.vpsie_node("default", "m").is_none());
}

#[tokio::test(start_paused = true)]
async fn heartbeats_of_nodes_wake_nobody() {
    let server = Server::new();
    server.sim.insert(node("n1")).unwrap();
    let world = World::synced(server).await;
    world.sleep(1).await;
    let before = *world.state.changes().borrow();
    let api: Api<Node> = Api::all(world.server.client("kubelet"));
    for second in 10..20 {
        let beat = kube::api::Patch::Strategic(json!({"status": {"conditions": [
            {"type": "Ready", "status": "True", "reason": "KubeletReady", "message": "",
                "lastTransitionTime": "2026-01-01T00:00:05Z",
                "lastHeartbeatTime": format!("2026-01-01T00:00:{second}Z")}]}}));
        api.patch_status("n1", &PatchParams::default(), &beat)
            .await
            .unwrap();
        world.sleep(1).await;
    }
    let after = *world.state.changes().borrow();
    assert_eq!(after.nodes, before.nodes + 1, "it became Ready once");
}

#[tokio::test(start_paused = true)]
async fn watches_end_when_they_are_asked_to_stop() {
    let world = World::synced(Server::new()).await;
    world.tasks.stop();
    world.tasks.join().await;
}

#[test]
fn one_seed_gives_one_course_of_requests() {
    async fn course() -> Vec<String> {
        let world = World::synced(Server::new()).await;
        let faults = world.server.sim.faults().clone();
        let any = Match::actor("controller");
        for (kind, broken) in [("pods", 7), ("nodes", 5), ("vpsienodes", 9)] {
            let some = Rule::times(Match::resource(kind), Effect::DropRequest, broken);
            faults.add(some.after(3));
        }
        for number in 0..20 {
            world.server.pod(&format!("p{number}"), None);
            faults.expire_watches(any.clone());
            world.sleep(7).await;
        }
        let records = world.server.sim.journal().records();
        // The kinds are independent: in which order they ask within one instant says nothing.
        let mut lines: Vec<String> = records.iter().map(ToString::to_string).collect();
        lines.sort();
        lines
    }
    // Each in a runtime of its own: which of two timers of one instant comes first depends on when
    // the runtime began.
    let alone = || {
        tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap()
            .block_on(course())
    };
    let (first, second) = (alone(), alone());
    let differs = first.iter().zip(&second).find(|(a, b)| a != b);
    assert_eq!((first.len(), differs), (second.len(), None));
}
