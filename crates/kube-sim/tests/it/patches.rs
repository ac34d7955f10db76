//! Patches of every type, and who owns which field afterwards.

use serde_json::{Value, json};

use crate::support::*;

fn managers(object: &Value) -> Vec<(String, String)> {
    object["metadata"]["managedFields"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| {
            (
                entry["manager"].as_str().unwrap().to_owned(),
                entry["operation"].as_str().unwrap().to_owned(),
            )
        })
        .collect()
}

#[tokio::test(start_paused = true)]
async fn json_merge_and_strategic_patches_change_what_they_name() {
    let cluster = Cluster::new();
    cluster.ok("POST", DEPLOYMENTS, &deployment("d", 1));
    let path = format!("{DEPLOYMENTS}/d");
    let out = cluster.ok("JSON", &path, &json!([{"op": "test", "path": "/spec/replicas", "value": 1}, {"op": "replace", "path": "/spec/replicas", "value": 3}]));
    assert_eq!(out["spec"]["replicas"], 3);
    assert_eq!(
        cluster
            .call(
                "JSON",
                &path,
                &json!([{"op": "test", "path": "/spec/replicas", "value": 1}])
            )
            .0,
        422
    );
    let out = cluster.ok(
        "MERGE",
        &path,
        &json!({"metadata": {"labels": {"a": "b"}}, "spec": {"paused": true}}),
    );
    assert_eq!(
        (&out["metadata"]["labels"]["a"], &out["spec"]["paused"]),
        (&json!("b"), &json!(true))
    );
    let out = cluster.ok("STRATEGIC", &path, &json!({"spec": {"template": {"spec": {"containers": [{"name": "side", "image": "x:1"}]}}}}));
    let names: Vec<&str> = out["spec"]["template"]["spec"]["containers"]
        .as_array()
        .unwrap()
        .iter()
        .map(|c| c["name"].as_str().unwrap())
        .collect();
    assert_eq!(names.len(), 2, "{names:?}");
    assert_eq!(cluster.call("PATCH", &path, &json!({})).0, 415);
    assert_eq!(
        cluster
            .call(
                "MERGE",
                &path,
                &json!({"metadata": {"resourceVersion": "1"}})
            )
            .0,
        409
    );
    assert_eq!(
        cluster
            .call("MERGE", &format!("{DEPLOYMENTS}/none"), &json!({}))
            .0,
        404
    );
}

#[tokio::test(start_paused = true)]
async fn apply_creates_merges_takes_away_and_conflicts() {
    let cluster = Cluster::new();
    let path = format!("{DEPLOYMENTS}/d");
    let (code, made) = cluster.call(
        "APPLY",
        &format!("{path}?fieldManager=one"),
        &deployment("d", 2),
    );
    assert_eq!(
        (code, managers(&made)),
        (201, vec![("one".to_owned(), "Apply".to_owned())])
    );
    let same = cluster.ok(
        "APPLY",
        &format!("{path}?fieldManager=one"),
        &deployment("d", 2),
    );
    assert_eq!(
        made["metadata"]["resourceVersion"], same["metadata"]["resourceVersion"],
        "no change, no write"
    );
    let scale = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d"}, "spec": {"replicas": 5}});
    let (code, error) = cluster.call("APPLY", &format!("{path}?fieldManager=two"), &scale);
    assert_eq!(code, 409);
    assert_eq!(
        error["message"],
        "Apply failed with 1 conflict: conflict with \"one\": .spec.replicas"
    );
    assert_eq!(
        error["details"]["causes"][0],
        json!({"reason": "FieldManagerConflict", "message": "conflict with \"one\"", "field": ".spec.replicas"})
    );
    let forced = cluster.ok(
        "APPLY",
        &format!("{path}?fieldManager=two&force=true"),
        &scale,
    );
    assert_eq!(forced["spec"]["replicas"], 5);
    // One no longer owns replicas: leaving it out now removes nothing.
    let mut without = deployment("d", 2);
    without["spec"].as_object_mut().unwrap().remove("replicas");
    without["metadata"]["labels"] = json!({"x": "y"});
    let out = cluster.ok("APPLY", &format!("{path}?fieldManager=one"), &without);
    assert_eq!(
        (&out["spec"]["replicas"], &out["metadata"]["labels"]["x"]),
        (&json!(5), &json!("y"))
    );
    without["metadata"]
        .as_object_mut()
        .unwrap()
        .remove("labels");
    let out = cluster.ok("APPLY", &format!("{path}?fieldManager=one"), &without);
    assert!(
        out["metadata"].get("labels").is_none(),
        "given up by its only owner"
    );
    assert_eq!(
        cluster.call("APPLY", &path, &without).0,
        422,
        "a field manager is required"
    );
}

#[tokio::test(start_paused = true)]
async fn an_apply_of_a_version_or_to_a_missing_status_is_refused() {
    let cluster = Cluster::new();
    let path = format!("{MAPS}/a?fieldManager=m");
    let mut map = config_map("a");
    map["metadata"]["uid"] = json!("11111111-2222-3333-4444-555555555555");
    assert_eq!(
        cluster.call("APPLY", &path, &map).0,
        409,
        "absent, yet a uid is named"
    );
    map["metadata"] = json!({"name": "a", "resourceVersion": "1"});
    cluster.ok("POST", MAPS, &config_map("a"));
    assert_eq!(cluster.call("APPLY", &path, &map).0, 409, "another version");
    cluster.ok(
        "POST",
        "/apis/apiextensions.k8s.io/v1/customresourcedefinitions",
        &widget_definition(),
    );
    assert_eq!(
        cluster
            .call(
                "APPLY",
                &format!("{WIDGETS}/w/status?fieldManager=m"),
                &widget("w", 1)
            )
            .0,
        404
    );
}

#[tokio::test(start_paused = true)]
async fn conditions_are_merged_by_type_between_managers() {
    let cluster = Cluster::new();
    let node = |kind: &str, status: &str| {
        json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n"},
        "status": {"conditions": [{"type": kind, "status": status}]}})
    };
    cluster.ok(
        "POST",
        "/api/v1/nodes",
        &json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n"}}),
    );
    cluster.ok(
        "APPLY",
        "/api/v1/nodes/n/status?fieldManager=one",
        &node("Ready", "True"),
    );
    cluster.ok(
        "APPLY",
        "/api/v1/nodes/n/status?fieldManager=two",
        &node("Mine", "True"),
    );
    cluster.ok(
        "APPLY",
        "/api/v1/nodes/n/status?fieldManager=one",
        &node("Ready", "False"),
    );
    let out = cluster.get("/api/v1/nodes/n").1;
    assert_eq!(
        out["status"]["conditions"],
        json!([
            {"type": "Ready", "status": "False", "lastHeartbeatTime": null, "lastTransitionTime": null},
            {"type": "Mine", "status": "True", "lastHeartbeatTime": null, "lastTransitionTime": null},
        ])
    );
    let fields = &out["metadata"]["managedFields"];
    let one = fields
        .as_array()
        .unwrap()
        .iter()
        .find(|entry| entry["manager"] == "one")
        .unwrap();
    assert_eq!(one["subresource"], "status");
    assert_eq!(
        one["fieldsV1"],
        json!({"f:status": {"f:conditions": {"k:{\"type\":\"Ready\"}": {".": {}, "f:status": {}, "f:type": {}}}}})
    );
}

#[tokio::test(start_paused = true)]
async fn lists_of_custom_resources_merge_by_their_schemas_keys() {
    let cluster = Cluster::new();
    cluster.ok(
        "POST",
        "/apis/apiextensions.k8s.io/v1/customresourcedefinitions",
        &widget_definition(),
    );
    let part = |name: &str, weight: i64| {
        let mut w = widget("w", 1);
        w["spec"]["parts"] = json!([{"name": name, "weight": weight}]);
        w
    };
    cluster.ok(
        "APPLY",
        &format!("{WIDGETS}/w?fieldManager=one"),
        &part("a", 1),
    );
    let mut two = part("b", 2);
    two["spec"].as_object_mut().unwrap().remove("size");
    cluster.ok("APPLY", &format!("{WIDGETS}/w?fieldManager=two"), &two);
    let out = cluster.get(&format!("{WIDGETS}/w")).1;
    assert_eq!(
        out["spec"]["parts"],
        json!([{"name": "a", "weight": 1}, {"name": "b", "weight": 2}])
    );
    assert_eq!(
        cluster
            .call("STRATEGIC", &format!("{WIDGETS}/w"), &json!({}))
            .0,
        415
    );
}

#[tokio::test(start_paused = true)]
async fn an_update_takes_ownership_of_what_it_changed() {
    let cluster = Cluster::new();
    cluster.ok(
        "POST",
        &format!("{MAPS}?fieldManager=maker"),
        &config_map("a"),
    );
    let out = cluster.ok(
        "MERGE",
        &format!("{MAPS}/a?fieldManager=changer"),
        &json!({"data": {"b": "2"}}),
    );
    assert_eq!(managers(&out).len(), 2);
    let changer = out["metadata"]["managedFields"]
        .as_array()
        .unwrap()
        .iter()
        .find(|entry| entry["manager"] == "changer")
        .unwrap();
    assert_eq!(changer["fieldsV1"], json!({"f:data": {"f:b": {}}}));
}

#[tokio::test(start_paused = true)]
async fn scale_is_read_and_written_through_its_own_resource() {
    let cluster = Cluster::new();
    cluster.ok("POST", DEPLOYMENTS, &deployment("d", 2));
    let path = format!("{DEPLOYMENTS}/d/scale");
    let scale = cluster.get(&path).1;
    assert_eq!(
        (
            &scale["kind"],
            &scale["spec"]["replicas"],
            &scale["status"]["selector"]
        ),
        (&json!("Scale"), &json!(2), &json!("app=d"))
    );
    cluster.ok("MERGE", &path, &json!({"spec": {"replicas": 4}}));
    let mut scale = cluster.get(&path).1;
    assert_eq!(scale["spec"]["replicas"], 4);
    scale["spec"]["replicas"] = json!(1);
    cluster.ok("PUT", &path, &scale);
    assert_eq!(
        cluster.call("PUT", &path, &scale).0,
        409,
        "its version is old now"
    );
    assert_eq!(
        cluster
            .call("MERGE", &path, &json!({"spec": {"replicas": -1}}))
            .0,
        422
    );
    cluster.ok(
        "POST",
        "/apis/apiextensions.k8s.io/v1/customresourcedefinitions",
        &widget_definition(),
    );
    cluster.ok("POST", WIDGETS, &widget("w", 2));
    cluster.ok(
        "MERGE",
        &format!("{WIDGETS}/w/scale"),
        &json!({"spec": {"replicas": 7}}),
    );
    assert_eq!(cluster.get(&format!("{WIDGETS}/w")).1["spec"]["size"], 7);
    assert_eq!(cluster.get(&format!("{MAPS}/a/scale")).0, 404);
}
