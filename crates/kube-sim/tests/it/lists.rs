//! Lists: pages of one snapshot, selectors, versions.

use serde_json::{Value, json};

use crate::support::*;

#[tokio::test(start_paused = true)]
async fn pages_show_one_snapshot_while_objects_come_and_go() {
    let cluster = Cluster::new();
    for name in ["a", "b", "c", "d", "e"] {
        cluster.ok("POST", MAPS, &config_map(name));
    }
    let first = cluster.ok("GET", &format!("{MAPS}?limit=2"), &Value::Null);
    assert_eq!(first["metadata"]["remainingItemCount"], 3);
    cluster.delete(&format!("{MAPS}/c"));
    cluster.ok("POST", MAPS, &config_map("bb"));
    cluster.ok(
        "MERGE",
        &format!("{MAPS}/d"),
        &json!({"data": {"a": "changed"}}),
    );
    let mut names = Vec::new();
    let mut token = first["metadata"]["continue"].as_str().unwrap().to_owned();
    while !token.is_empty() {
        let page = cluster.ok(
            "GET",
            &format!("{MAPS}?limit=2&continue={token}"),
            &Value::Null,
        );
        assert_eq!(
            page["metadata"]["resourceVersion"],
            first["metadata"]["resourceVersion"]
        );
        for item in page["items"].as_array().unwrap() {
            assert_eq!(item["data"]["a"], "1", "as it was at the first page");
            names.push(item["metadata"]["name"].as_str().unwrap().to_owned());
        }
        token = page["metadata"]["continue"]
            .as_str()
            .unwrap_or_default()
            .to_owned();
    }
    assert_eq!(names, ["c", "d", "e"]);
}

#[tokio::test(start_paused = true)]
async fn a_token_older_than_the_history_expires_with_a_way_to_go_on() {
    let cluster = Cluster::new();
    for name in ["a", "b", "c"] {
        cluster.ok("POST", MAPS, &config_map(name));
    }
    let first = cluster.ok("GET", &format!("{MAPS}?limit=1"), &Value::Null);
    cluster.ok("POST", MAPS, &config_map("d"));
    cluster.sim.compact();
    let token = first["metadata"]["continue"].as_str().unwrap();
    let (code, error) = cluster.get(&format!("{MAPS}?limit=9&continue={token}"));
    assert_eq!((code, &error["reason"]), (410, &json!("Expired")));
    let token = error["metadata"]["continue"].as_str().unwrap();
    assert_eq!(
        cluster.names(&format!("{MAPS}?limit=9&continue={token}")),
        ["b", "c", "d"]
    );
    assert_eq!(cluster.get(&format!("{MAPS}?continue=nonsense")).0, 400);
}

#[tokio::test(start_paused = true)]
async fn selectors_select_by_label_and_by_field() {
    let cluster = Cluster::new();
    running(&cluster, "p1", true);
    cluster.ok("POST", PODS, &pod("p2"));
    cluster.ok(
        "MERGE",
        &format!("{PODS}/p2"),
        &json!({"metadata": {"labels": {"tier": "back"}}}),
    );
    for (query, expected) in [
        ("fieldSelector=spec.nodeName%3Dn1", vec!["p1"]),
        ("fieldSelector=spec.nodeName%3D", vec!["p2"]),
        ("fieldSelector=status.phase%21%3DRunning", vec!["p2"]),
        ("fieldSelector=metadata.name%3Dp1", vec!["p1"]),
        ("labelSelector=tier", vec!["p2"]),
        ("labelSelector=%21tier", vec!["p1"]),
        (
            "labelSelector=app+in+(web,db),tier+notin+(back)",
            vec!["p1"],
        ),
        ("labelSelector=app%3Dnone", vec![]),
    ] {
        assert_eq!(
            cluster.names(&format!("{PODS}?{query}")),
            expected,
            "{query}"
        );
    }
    let (code, error) = cluster.get(&format!("{PODS}?fieldSelector=spec.hostname%3Dx"));
    assert_eq!(code, 400);
    assert!(
        error["message"]
            .as_str()
            .unwrap()
            .ends_with("field label not supported: spec.hostname")
    );
    let node = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n"}});
    cluster.ok("POST", "/api/v1/nodes", &node);
    assert_eq!(
        cluster.names("/api/v1/nodes?fieldSelector=spec.unschedulable%3Dfalse"),
        ["n"]
    );
}

#[tokio::test(start_paused = true)]
async fn lists_obey_resource_version_match() {
    let cluster = Cluster::new();
    cluster.ok("POST", MAPS, &config_map("a"));
    let rv = cluster.sim.resource_version();
    cluster.ok("POST", MAPS, &config_map("b"));
    let exact = format!("{MAPS}?resourceVersion={rv}&resourceVersionMatch=Exact");
    assert_eq!(cluster.names(&exact), ["a"]);
    let newer = format!("{MAPS}?resourceVersion={rv}&resourceVersionMatch=NotOlderThan");
    assert_eq!(cluster.names(&newer), ["a", "b"]);
    assert_eq!(cluster.get(&format!("{MAPS}?resourceVersion=99999")).0, 504);
    assert_eq!(
        cluster.get(&format!("{MAPS}?resourceVersionMatch=Exact")).0,
        422
    );
    cluster.sim.compact();
    assert_eq!(cluster.get(&exact).0, 410);
}

#[tokio::test(start_paused = true)]
async fn metadata_only_lists_carry_no_spec() {
    let cluster = Cluster::new();
    cluster.ok("POST", MAPS, &config_map("a"));
    let api: kube::Api<k8s_openapi::api::core::v1::ConfigMap> =
        kube::Api::default_namespaced(cluster.sim.client("test", "default"));
    let list = api
        .list_metadata(&kube::api::ListParams::default())
        .await
        .unwrap();
    assert_eq!(list.items[0].metadata.name.as_deref(), Some("a"));
}

#[tokio::test(start_paused = true)]
async fn deleting_a_collection_deletes_what_the_selector_names() {
    let cluster = Cluster::new();
    for name in ["a", "b"] {
        let mut map = config_map(name);
        map["metadata"]["labels"] = json!({"which": name});
        cluster.ok("POST", MAPS, &map);
    }
    let listed = cluster.ok(
        "DELETE",
        &format!("{MAPS}?labelSelector=which%3Da"),
        &Value::Null,
    );
    assert_eq!(listed["items"].as_array().unwrap().len(), 1);
    assert_eq!(cluster.names(MAPS), ["b"]);
}
