//! Watches through kube's own client, and the faults laid on requests and watches.

use std::time::Duration;

use futures::{StreamExt as _, TryStreamExt as _};
use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use kube::{
    Api, ResourceExt as _,
    api::{Patch, PatchParams, PostParams, WatchEvent, WatchParams},
    runtime::{WatchStreamExt as _, watcher},
};
use kube_sim::{Effect, Match, Rule};
use serde_json::json;

use crate::support::*;

fn api(cluster: &Cluster) -> Api<ConfigMap> {
    Api::default_namespaced(cluster.sim.client("reader", "default"))
}

fn text(event: &WatchEvent<ConfigMap>) -> String {
    match event {
        WatchEvent::Added(o) => format!("+{}", o.name_any()),
        WatchEvent::Modified(o) => format!("~{}", o.name_any()),
        WatchEvent::Deleted(o) => format!("-{}", o.name_any()),
        WatchEvent::Bookmark(b) => format!(
            "={}",
            b.metadata
                .annotations
                .contains_key("k8s.io/initial-events-end")
        ),
        WatchEvent::Error(e) => format!("!{}", e.code),
    }
}

async fn watch(cluster: &Cluster, params: &WatchParams, rv: &str) -> Vec<String> {
    let stream = api(cluster).watch(params, rv).await.unwrap();
    stream
        .map(|event| event.map_or_else(|error| format!("{error}"), |event| text(&event)))
        .collect()
        .await
}

#[tokio::test(start_paused = true)]
async fn a_watch_delivers_each_change_once_and_in_order() {
    let cluster = Cluster::new();
    cluster.ok("POST", MAPS, &config_map("a"));
    let rv = cluster.sim.resource_version().to_string();
    cluster.ok("POST", MAPS, &config_map("b"));
    cluster.ok("MERGE", &format!("{MAPS}/a"), &json!({"data": {"a": "2"}}));
    cluster.delete(&format!("{MAPS}/b"));
    let params = WatchParams::default().timeout(10).disable_bookmarks();
    assert_eq!(watch(&cluster, &params, &rv).await, ["+b", "~a", "-b"]);
    assert_eq!(
        watch(&cluster, &params, "0").await,
        ["+a"],
        "version 0 begins with what is there"
    );
    let mut live = api(&cluster)
        .watch(&params, &cluster.sim.resource_version().to_string())
        .await
        .unwrap()
        .boxed();
    cluster.ok("POST", MAPS, &config_map("c"));
    assert_eq!(text(&live.try_next().await.unwrap().unwrap()), "+c");
}

#[tokio::test(start_paused = true)]
async fn an_object_that_leaves_the_selector_looks_deleted() {
    let cluster = Cluster::new();
    let rv = cluster.sim.resource_version().to_string();
    cluster.ok("POST", MAPS, &config_map("a"));
    cluster.ok(
        "MERGE",
        &format!("{MAPS}/a"),
        &json!({"metadata": {"labels": {"on": "yes"}}}),
    );
    cluster.ok(
        "MERGE",
        &format!("{MAPS}/a"),
        &json!({"metadata": {"labels": {"on": "no"}}}),
    );
    let params = WatchParams::default()
        .labels("on=yes")
        .timeout(5)
        .disable_bookmarks();
    let stream = api(&cluster).watch(&params, &rv).await.unwrap();
    let events: Vec<_> = stream.try_collect().await.unwrap();
    assert_eq!(events.iter().map(text).collect::<Vec<_>>(), ["+a", "-a"]);
    let WatchEvent::Deleted(last) = &events[1] else {
        panic!()
    };
    assert_eq!(last.labels()["on"], "yes", "the last state that matched");
    assert_eq!(
        last.resource_version().unwrap(),
        cluster.sim.resource_version().to_string()
    );
}

#[tokio::test(start_paused = true)]
async fn bookmarks_come_each_minute_and_close_streamed_lists() {
    let cluster = Cluster::new();
    cluster.ok("POST", MAPS, &config_map("a"));
    let params = WatchParams::default().timeout(150);
    assert_eq!(
        watch(&cluster, &params, "0").await,
        ["+a", "=false", "=false"]
    );
    let params = WatchParams::default().initial_events().timeout(5);
    assert_eq!(watch(&cluster, &params, "0").await, ["+a", "=true"]);
    cluster
        .sim
        .faults()
        .add(Rule::always(Match::default(), Effect::NoBookmarks));
    assert_eq!(
        watch(&cluster, &WatchParams::default().timeout(150), "0").await,
        ["+a"]
    );
}

#[tokio::test(start_paused = true)]
async fn lost_history_is_an_error_event_and_by_knob_a_status() {
    let cluster = Cluster::new();
    let rv = cluster.sim.resource_version().to_string();
    cluster.sim.set_history_limit(2);
    for name in ["a", "b", "c"] {
        cluster.ok("POST", MAPS, &config_map(name));
    }
    let params = WatchParams::default().timeout(5);
    assert_eq!(watch(&cluster, &params, &rv).await, ["!410"]);
    cluster.sim.faults().add(Rule::once(
        Match::resource("configmaps").verb("watch"),
        Effect::Gone,
    ));
    let error = api(&cluster).watch(&params, "0").await.err().unwrap();
    assert!(matches!(error, kube::Error::Api(status) if status.code == 410));
}

#[tokio::test(start_paused = true)]
async fn running_watches_can_be_cut_expired_held_and_slowed() {
    let cluster = Cluster::new();
    let faults = cluster.sim.faults().clone();
    let params = WatchParams::default().timeout(200).disable_bookmarks();
    let mut cut = api(&cluster).watch(&params, "0").await.unwrap().boxed();
    let mut expired = api(&cluster).watch(&params, "0").await.unwrap().boxed();
    faults.cut_watches(Match::actor("nobody"));
    faults.hold_watches("configmaps");
    cluster.ok("POST", MAPS, &config_map("a"));
    let held = cluster
        .clock
        .timeout(Duration::from_mins(1), cut.next())
        .await;
    assert!(held.is_err(), "held back");
    faults.release_watches("configmaps");
    assert_eq!(text(&cut.next().await.unwrap().unwrap()), "+a");
    assert_eq!(text(&expired.next().await.unwrap().unwrap()), "+a");
    faults.expire_watches(Match::resource("configmaps"));
    assert_eq!(text(&expired.next().await.unwrap().unwrap()), "!410");
    assert_eq!(text(&cut.next().await.unwrap().unwrap()), "!410");
    faults.add(Rule::always(
        Match::default(),
        Effect::SlowWatch(Duration::from_secs(7)),
    ));
    let began = cluster.clock.monotonic();
    let mut slow = api(&cluster).watch(&params, "0").await.unwrap().boxed();
    slow.next().await.unwrap().unwrap();
    assert_eq!(cluster.clock.monotonic(), began + Duration::from_secs(7));
}

#[tokio::test(start_paused = true)]
async fn kubes_watcher_follows_through_cuts_and_lost_history() {
    let cluster = Cluster::new();
    let client = cluster.sim.client("informer", "default");
    let pods: Api<Pod> = Api::default_namespaced(client);
    let mut seen = Box::pin(
        watcher(pods, watcher::Config::default().page_size(2))
            .default_backoff()
            .applied_objects(),
    );
    for index in 0..5 {
        cluster.ok("POST", PODS, &pod(&format!("p{index}")));
    }
    for index in 0..5 {
        assert_eq!(
            seen.next().await.unwrap().unwrap().name_any(),
            format!("p{index}")
        );
    }
    cluster
        .sim
        .faults()
        .expire_watches(Match::actor("informer"));
    cluster.ok("POST", PODS, &pod("p9"));
    let found = async {
        while let Some(next) = seen.next().await {
            if next.is_ok_and(|pod| pod.name_any() == "p9") {
                return true;
            }
        }
        false
    };
    assert!(
        cluster
            .clock
            .timeout(Duration::from_mins(5), found)
            .await
            .unwrap()
    );
}

#[tokio::test(start_paused = true)]
async fn a_lost_response_and_a_dropped_client_leave_the_write_in_place() {
    let cluster = Cluster::new();
    let api: Api<ConfigMap> = Api::default_namespaced(cluster.sim.client("writer", "default"));
    let map = |name: &str| -> ConfigMap { serde_json::from_value(config_map(name)).unwrap() };
    let faults = cluster.sim.faults();
    let rule = faults.add(Rule::once(
        Match::actor("writer").verb("create"),
        Effect::LoseResponse,
    ));
    assert!(
        api.create(&PostParams::default(), &map("lost"))
            .await
            .is_err()
    );
    assert_eq!(faults.acted(rule), 1);
    assert_eq!(cluster.get(&format!("{MAPS}/lost")).0, 200);
    faults.add(Rule::once(
        Match::actor("writer").verb("create"),
        Effect::DropRequest,
    ));
    assert!(
        api.create(&PostParams::default(), &map("never"))
            .await
            .is_err()
    );
    assert_eq!(cluster.get(&format!("{MAPS}/never")).0, 404);
    faults.add(Rule::once(
        Match::actor("writer").verb("create"),
        Effect::Delay(Duration::from_secs(5)),
    ));
    let params = PostParams::default();
    let owned = map("abandoned");
    let hasty = cluster
        .clock
        .timeout(Duration::from_secs(1), api.create(&params, &owned))
        .await;
    assert!(hasty.is_err());
    assert_eq!(cluster.get(&format!("{MAPS}/abandoned")).0, 404);
    cluster.clock.sleep(Duration::from_secs(10)).await;
    assert_eq!(
        cluster.get(&format!("{MAPS}/abandoned")).0,
        200,
        "the server owned the request"
    );
    faults.add(Rule::once(Match::actor("writer"), Effect::TruncateResponse));
    assert!(api.get("lost").await.is_err());
}

#[tokio::test(start_paused = true)]
async fn refusals_staleness_and_outages_are_seen_by_the_named_actor_only() {
    let cluster = Cluster::new();
    cluster.ok("POST", MAPS, &config_map("a"));
    let faults = cluster.sim.faults();
    let refuse = |code| Effect::Refuse {
        code,
        retry_after: None,
    };
    faults.add(Rule::times(Match::actor("victim").verb("write"), refuse(409), 1).after(1));
    let victim: Api<ConfigMap> = Api::default_namespaced(cluster.sim.client("victim", "default"));
    let other: Api<ConfigMap> = Api::default_namespaced(cluster.sim.client("other", "default"));
    let patch = |value: &str| Patch::Merge(json!({"data": {"a": value}}));
    assert!(
        victim
            .patch("a", &PatchParams::default(), &patch("2"))
            .await
            .is_ok(),
        "the first is spared"
    );
    assert!(
        other
            .patch("a", &PatchParams::default(), &patch("3"))
            .await
            .is_ok()
    );
    let error = victim
        .patch("a", &PatchParams::default(), &patch("4"))
        .await
        .err()
        .unwrap();
    assert!(matches!(error, kube::Error::Api(status) if status.code == 409));
    faults.add(Rule::once(
        Match::actor("victim").verb("get"),
        Effect::Stale(1),
    ));
    let data = |map: ConfigMap| map.data.unwrap()["a"].clone();
    assert_eq!(data(victim.get("a").await.unwrap()), "2");
    assert_eq!(data(victim.get("a").await.unwrap()), "3");
    let mut open = other
        .watch(&WatchParams::default(), "0")
        .await
        .unwrap()
        .boxed();
    open.next().await.unwrap().unwrap();
    faults.stop();
    assert!(
        open.next().await.is_none_or(|item| item.is_err()),
        "the stream breaks"
    );
    assert!(other.get("a").await.is_err());
    faults.restart();
    assert!(other.get("a").await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn the_journal_tells_who_did_what_and_repeats_for_one_seed() {
    let story = || async {
        let cluster = Cluster::new();
        let api: Api<ConfigMap> = Api::default_namespaced(cluster.sim.client("actor", "default"));
        let map: ConfigMap = serde_json::from_value(config_map("a")).unwrap();
        api.create(&PostParams::default(), &map).await.unwrap();
        api.get("a").await.unwrap();
        cluster.delete(&format!("{MAPS}/a"));
        let lines: Vec<String> = cluster
            .sim
            .journal()
            .records()
            .iter()
            .map(ToString::to_string)
            .collect();
        (
            lines,
            cluster.sim.journal().committed_writes("actor"),
            cluster.sim.dump().to_string(),
        )
    };
    let (lines, writes, dump) = story().await;
    assert_eq!(writes, 1);
    assert_eq!(lines.len(), 3);
    assert!(
        lines[0].contains("actor create configmaps default/a 201 rv="),
        "{}",
        lines[0]
    );
    assert_eq!((lines, writes, dump), story().await);
}

#[tokio::test]
async fn thirty_thousand_pods_are_listed_page_by_page_in_time() {
    let cluster = Cluster::new();
    let padding = "x".repeat(8_000);
    for index in 0..30_000 {
        let mut planted = pod(&format!("p{index:05}"));
        planted["metadata"]["namespace"] = json!("default");
        planted["metadata"]["annotations"] = json!({"padding": padding});
        planted["status"] = json!({"phase": "Running"});
        cluster.sim.insert(planted).unwrap();
    }
    let clock = runtime::Clock::system();
    let began = clock.monotonic();
    let (mut pages, mut token) = (0, String::new());
    loop {
        let url =
            format!("{PODS}?limit=50&fieldSelector=status.phase%21%3DSucceeded&continue={token}");
        let request = http::Request::get(url).body(bytes::Bytes::new()).unwrap();
        let response = cluster.sim.handle("reader", request);
        let bytes = response.body().bytes().unwrap().clone();
        assert!(bytes.len() > 400_000);
        let head = std::str::from_utf8(&bytes[..400]).unwrap();
        pages += 1;
        let Some((_, rest)) = head.split_once("\"continue\":\"") else {
            break;
        };
        rest.split('"').next().unwrap().clone_into(&mut token);
    }
    assert_eq!(pages, 600);
    let took = clock.monotonic().checked_sub(began).unwrap();
    assert!(took < Duration::from_secs(20), "{took:?}");
}
