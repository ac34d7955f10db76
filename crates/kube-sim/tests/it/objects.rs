//! Create, get, update and delete: versions, conflicts, names, isolation, deletion marks.

use serde_json::{Value, json};

use crate::support::*;

#[tokio::test(start_paused = true)]
async fn a_created_object_carries_what_the_server_owns() {
    let cluster = Cluster::new();
    let (code, made) = cluster.post(MAPS, &config_map("a"));
    assert_eq!(code, 201);
    let meta = &made["metadata"];
    assert_eq!(meta["creationTimestamp"], "2025-01-01T00:00:00Z");
    assert_eq!(meta["namespace"], "default");
    assert_eq!(meta["uid"].as_str().unwrap().len(), 36);
    assert!(
        meta["resourceVersion"]
            .as_str()
            .unwrap()
            .parse::<u64>()
            .unwrap()
            > 0
    );
    assert_eq!(meta["managedFields"][0]["manager"], "test");
    let (code, again) = cluster.post(MAPS, &config_map("a"));
    assert_eq!((code, &again["reason"]), (409, &json!("AlreadyExists")));
    assert_eq!(again["message"], "configmaps \"a\" already exists");
}

#[tokio::test(start_paused = true)]
async fn what_is_missing_is_named_as_kubernetes_names_it() {
    let cluster = Cluster::new();
    let (code, error) = cluster.get(&format!("{PODS}/x"));
    assert_eq!(code, 404);
    assert_eq!(error["message"], "pods \"x\" not found");
    assert_eq!(error["details"], json!({"name": "x", "kind": "pods"}));
    let (_, error) = cluster.get(&format!("{DEPLOYMENTS}/x"));
    assert_eq!(error["message"], "deployments.apps \"x\" not found");
    assert_eq!(error["details"]["group"], "apps");
    assert_eq!(cluster.get("/apis/nowhere/v1/things").0, 404);
    assert_eq!(cluster.call("PUT", PODS, &pod("x")).0, 405);
    let (code, error) = cluster.post("/api/v1/namespaces/none/pods", &pod("x"));
    assert_eq!(
        (code, error["message"].as_str().unwrap()),
        (404, "namespaces \"none\" not found")
    );
}

#[tokio::test(start_paused = true)]
async fn generated_names_are_five_seeded_characters() {
    let cluster = Cluster::new();
    let body = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"generateName": "x-"}});
    let name = |cluster: &Cluster| {
        cluster.ok("POST", MAPS, &body)["metadata"]["name"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    let first = name(&cluster);
    assert_eq!(first.len(), 7);
    assert_ne!(first, name(&cluster));
    assert_eq!(first, name(&Cluster::new()), "one seed gives one name");
}

#[tokio::test(start_paused = true)]
async fn a_stale_update_conflicts_and_an_equal_one_changes_nothing() {
    let cluster = Cluster::new();
    let path = format!("{MAPS}/a");
    let first = cluster.ok("POST", MAPS, &config_map("a"));
    let mut next = first.clone();
    next["data"]["a"] = json!("2");
    let second = cluster.ok("PUT", &path, &next);
    assert_ne!(
        first["metadata"]["resourceVersion"],
        second["metadata"]["resourceVersion"]
    );
    let (code, error) = cluster.call("PUT", &path, &first);
    assert_eq!((code, &error["reason"]), (409, &json!("Conflict")));
    assert_eq!(
        error["message"],
        "Operation cannot be fulfilled on configmaps \"a\": the object has been modified; please apply your changes to the latest version and try again"
    );
    let third = cluster.ok("PUT", &path, &second);
    assert_eq!(
        second["metadata"]["resourceVersion"],
        third["metadata"]["resourceVersion"]
    );
    let mut alien = second.clone();
    alien["metadata"]["uid"] = json!("00000000-0000-0000-0000-000000000000");
    assert_eq!(cluster.call("PUT", &path, &alien).0, 409);
    let mut unversioned = second;
    unversioned["metadata"]
        .as_object_mut()
        .unwrap()
        .remove("resourceVersion");
    unversioned["data"]["a"] = json!("3");
    assert_eq!(cluster.call("PUT", &path, &unversioned).0, 200);
}

#[tokio::test(start_paused = true)]
async fn leases_must_be_replaced_by_version_and_may_be_created_by_put() {
    let cluster = Cluster::new();
    let leases = "/apis/coordination.k8s.io/v1/namespaces/default/leases";
    let lease = json!({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
        "metadata": {"name": "l"}, "spec": {"holderIdentity": "a", "leaseDurationSeconds": 15}});
    assert_eq!(cluster.call("PUT", &format!("{leases}/l"), &lease).0, 201);
    let (code, error) = cluster.call("PUT", &format!("{leases}/l"), &lease);
    assert_eq!(code, 422);
    assert_eq!(
        error["details"]["causes"][0]["field"],
        "metadata.resourceVersion"
    );
    let held = cluster.get(&format!("{leases}/l")).1;
    cluster.ok("DELETE", &format!("{leases}/l"), &Value::Null);
    assert_eq!(
        cluster.call("PUT", &format!("{leases}/l"), &held).0,
        409,
        "uid of the dead lease"
    );
}

#[tokio::test(start_paused = true)]
async fn status_and_spec_are_isolated_from_each_other_and_only_spec_counts_generations() {
    let cluster = Cluster::new();
    cluster.ok("POST", DEPLOYMENTS, &deployment("d", 1));
    let path = format!("{DEPLOYMENTS}/d");
    let mut both = cluster.get(&path).1;
    assert_eq!(both["metadata"]["generation"], 1);
    both["status"] = json!({"replicas": 9});
    both["spec"]["replicas"] = json!(2);
    let out = cluster.ok("PUT", &path, &both);
    assert_eq!(
        (&out["spec"]["replicas"], &out["metadata"]["generation"]),
        (&json!(2), &json!(2))
    );
    assert_ne!(out["status"]["replicas"], 9);
    let mut both = out;
    both["status"] = json!({"replicas": 9});
    both["spec"]["replicas"] = json!(5);
    let out = cluster.ok("PUT", &format!("{path}/status"), &both);
    assert_eq!(
        (&out["spec"]["replicas"], &out["status"]["replicas"]),
        (&json!(2), &json!(9))
    );
    assert_eq!(out["metadata"]["generation"], 2);
    let out = cluster.ok("MERGE", &path, &json!({"metadata": {"labels": {"x": "y"}}}));
    assert_eq!(out["metadata"]["generation"], 2);
}

#[tokio::test(start_paused = true)]
async fn a_dry_run_answers_and_stores_nothing() {
    let cluster = Cluster::new();
    assert_eq!(
        cluster
            .post(&format!("{MAPS}?dryRun=All"), &config_map("a"))
            .0,
        201
    );
    assert_eq!(cluster.get(&format!("{MAPS}/a")).0, 404);
    cluster.ok("POST", MAPS, &config_map("a"));
    cluster.ok("DELETE", &format!("{MAPS}/a?dryRun=All"), &Value::Null);
    assert_eq!(cluster.get(&format!("{MAPS}/a")).0, 200);
    assert_eq!(
        cluster
            .post(&format!("{MAPS}?dryRun=some"), &config_map("b"))
            .0,
        422
    );
}

#[tokio::test(start_paused = true)]
async fn invalid_objects_are_refused_with_a_cause_per_field() {
    let cluster = Cluster::new();
    let (code, error) = cluster.post(MAPS, &config_map("Not_Good"));
    assert_eq!((code, &error["reason"]), (422, &json!("Invalid")));
    assert_eq!(error["details"]["causes"][0]["field"], "metadata.name");
    let mut bad = deployment("d", -1);
    bad["spec"]["template"]["metadata"]["labels"] = json!({"app": "other"});
    let (_, error) = cluster.post(DEPLOYMENTS, &bad);
    let fields: Vec<&str> = error["details"]["causes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|cause| cause["field"].as_str().unwrap())
        .collect();
    assert_eq!(fields, ["spec.replicas", "spec.template.metadata.labels"]);
    let mut absurd = pod("p");
    absurd["spec"]["containers"][0]["resources"] = json!({"requests": {"cpu": "lots"}});
    let (code, error) = cluster.post(PODS, &absurd);
    assert_eq!(code, 400, "no such value can be decoded");
    let message = error["message"].as_str().unwrap();
    assert!(message.contains("quantities must match"), "{message}");
    cluster.sim.faults().set_lenient(true);
    assert_eq!(cluster.post(PODS, &absurd).0, 201);
}

#[tokio::test(start_paused = true)]
async fn pods_get_the_defaults_their_readers_rely_on() {
    let cluster = Cluster::new();
    let mut wanted = pod("p");
    wanted["spec"]["containers"][0]["resources"] = json!({"limits": {"cpu": "1"}});
    let made = cluster.ok("POST", PODS, &wanted);
    assert_eq!(made["status"]["phase"], "Pending");
    assert_eq!(made["spec"]["terminationGracePeriodSeconds"], 30);
    assert_eq!(made["spec"]["schedulerName"], "default-scheduler");
    assert_eq!(
        made["spec"]["containers"][0]["resources"]["requests"]["cpu"],
        "1"
    );
    assert_eq!(made["spec"]["tolerations"].as_array().unwrap().len(), 2);
    let mut moved = made;
    moved["spec"]["nodeName"] = json!("n1");
    assert_eq!(cluster.call("PUT", &format!("{PODS}/p"), &moved).0, 422);
}

#[tokio::test(start_paused = true)]
async fn finalizers_keep_a_deleted_object_until_they_are_gone() {
    let cluster = Cluster::new();
    let mut body = config_map("a");
    body["metadata"]["finalizers"] = json!(["example.com/hold"]);
    cluster.ok("POST", MAPS, &body);
    let path = format!("{MAPS}/a");
    let marked = cluster.ok("DELETE", &path, &Value::Null);
    assert_eq!(
        marked["metadata"]["deletionTimestamp"],
        "2025-01-01T00:00:00Z"
    );
    let (code, error) = cluster.call(
        "MERGE",
        &path,
        &json!({"metadata": {"finalizers": ["example.com/hold", "example.com/more"]}}),
    );
    assert_eq!(code, 422);
    assert_eq!(
        error["details"]["causes"][0]["field"],
        "metadata.finalizers"
    );
    cluster.ok("MERGE", &path, &json!({"metadata": {"finalizers": null}}));
    assert_eq!(cluster.get(&path).0, 404);
}

#[tokio::test(start_paused = true)]
async fn deletes_obey_uid_and_version_preconditions() {
    let cluster = Cluster::new();
    let made = cluster.ok("POST", PODS, &pod("p"));
    let path = format!("{PODS}/p");
    let (code, error) = cluster.call("DELETE", &path, &json!({"preconditions": {"uid": "other"}}));
    assert_eq!((code, &error["reason"]), (409, &json!("Conflict")));
    assert!(
        error["message"]
            .as_str()
            .unwrap()
            .contains("the UID in the precondition (other) does not match")
    );
    let (code, _) = cluster.call(
        "DELETE",
        &path,
        &json!({"preconditions": {"resourceVersion": "1"}}),
    );
    assert_eq!(code, 409);
    cluster.ok(
        "DELETE",
        &path,
        &json!({"preconditions": {"uid": made["metadata"]["uid"]}}),
    );
}

#[tokio::test(start_paused = true)]
async fn a_running_pod_is_marked_and_goes_with_the_kubelets_last_delete() {
    let cluster = Cluster::new();
    cluster.ok("POST", PODS, &pod("unbound"));
    cluster.delete(&format!("{PODS}/unbound"));
    assert_eq!(
        cluster.get(&format!("{PODS}/unbound")).0,
        404,
        "it ran nowhere"
    );
    running(&cluster, "p", true);
    let path = format!("{PODS}/p");
    let marked = cluster.ok("DELETE", &path, &Value::Null);
    assert_eq!(marked["metadata"]["deletionGracePeriodSeconds"], 30);
    assert_eq!(
        marked["metadata"]["deletionTimestamp"],
        "2025-01-01T00:00:30Z"
    );
    let longer = cluster.ok("DELETE", &path, &json!({"gracePeriodSeconds": 60}));
    assert_eq!(longer["metadata"]["deletionGracePeriodSeconds"], 30);
    let shorter = cluster.ok("DELETE", &path, &json!({"gracePeriodSeconds": 5}));
    assert_eq!(shorter["metadata"]["deletionGracePeriodSeconds"], 5);
    cluster.ok("DELETE", &path, &json!({"gracePeriodSeconds": 0}));
    assert_eq!(cluster.get(&path).0, 404);
}

#[tokio::test(start_paused = true)]
async fn events_are_one_store_with_two_forms() {
    let cluster = Cluster::new();
    let event = json!({"apiVersion": "events.k8s.io/v1", "kind": "Event", "metadata": {"name": "e"},
        "eventTime": "2025-01-01T00:00:00.000000Z", "reportingController": "c", "reportingInstance": "i",
        "action": "A", "reason": "R", "type": "Normal", "note": "hello",
        "regarding": {"kind": "Pod", "namespace": "default", "name": "p"}});
    let new = "/apis/events.k8s.io/v1/namespaces/default/events";
    let answer = cluster.ok("POST", new, &event);
    assert_eq!(
        (&answer["note"], &answer["apiVersion"]),
        (&json!("hello"), &json!("events.k8s.io/v1"))
    );
    let old = "/api/v1/namespaces/default/events";
    let core = cluster.ok("GET", &format!("{old}/e"), &Value::Null);
    assert_eq!(
        (&core["message"], &core["involvedObject"]["name"]),
        (&json!("hello"), &json!("p"))
    );
    assert_eq!(
        cluster.names(&format!("{old}?fieldSelector=involvedObject.name%3Dp")),
        ["e"]
    );
    assert_eq!(
        cluster.names(&format!(
            "{new}?fieldSelector=regarding.name%3Dp,type%3DNormal"
        )),
        ["e"]
    );
    assert!(
        cluster
            .names(&format!("{old}?fieldSelector=involvedObject.name%3Dq"))
            .is_empty()
    );
}

#[tokio::test(start_paused = true)]
async fn secrets_encode_string_data_and_reviews_always_allow() {
    let cluster = Cluster::new();
    let secret = cluster.ok("POST", "/api/v1/namespaces/default/secrets",
        &json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, "stringData": {"k": "v"}}));
    assert_eq!(
        (&secret["data"]["k"], &secret["type"]),
        (&json!("dg=="), &json!("Opaque"))
    );
    assert!(secret.get("stringData").is_none());
    let review = cluster.ok("POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews",
        &json!({"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview", "spec": {}}));
    assert_eq!(review["status"]["allowed"], true);
}
