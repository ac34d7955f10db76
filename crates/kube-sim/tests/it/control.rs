//! CRDs, eviction, binding, and what the control plane does after a delete.

use serde_json::{Value, json};

use crate::support::*;

const CRDS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
const BUDGETS: &str = "/apis/policy/v1/namespaces/default/poddisruptionbudgets";

#[tokio::test(start_paused = true)]
async fn a_definition_serves_its_kind_and_takes_it_away_again() {
    let cluster = Cluster::new();
    assert_eq!(cluster.post(WIDGETS, &widget("w", 1)).0, 404);
    let made = cluster.ok("POST", CRDS, &widget_definition());
    let conditions: Vec<&str> = made["status"]["conditions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|c| c["type"].as_str().unwrap())
        .collect();
    assert_eq!(conditions, ["NamesAccepted", "Established"]);
    let w = cluster.ok("POST", WIDGETS, &widget("w", 1));
    assert_eq!(
        (&w["spec"]["colour"], &w["metadata"]["generation"]),
        (&json!("red"), &json!(1))
    );
    cluster.ok(
        "DELETE",
        &format!("{CRDS}/widgets.example.com"),
        &Value::Null,
    );
    cluster.settle().await;
    assert_eq!(cluster.get(WIDGETS).0, 404);
    assert_eq!(cluster.get(&format!("{CRDS}/widgets.example.com")).0, 404);
    cluster.ok("POST", CRDS, &widget_definition());
    assert!(cluster.names(WIDGETS).is_empty());
}

#[tokio::test(start_paused = true)]
async fn custom_resources_are_held_to_their_schema() {
    let cluster = Cluster::new();
    cluster.ok("POST", CRDS, &widget_definition());
    let (code, error) = cluster.post(WIDGETS, &widget("w", -1));
    assert_eq!(code, 422);
    assert_eq!(
        error["message"],
        "Widget.example.com \"w\" is invalid: [spec.size: Invalid value: -1: spec.size in body should be greater than or equal to 0, .spec.size: Invalid value: -1: should be a non-negative integer]"
    );
    let mut odd = widget("w", 1);
    odd["spec"]["strange"] = json!(1);
    let (code, error) = cluster.post(&format!("{WIDGETS}?fieldValidation=Strict"), &odd);
    assert_eq!(
        (code, error["message"].as_str().unwrap()),
        (
            400,
            "Widget in version \"v1\" cannot be handled as a Widget: strict decoding error: unknown field \"spec.strange\""
        )
    );
    let pruned = cluster.ok("POST", WIDGETS, &odd);
    assert!(pruned["spec"].get("strange").is_none());
    let mut unversioned = pruned.clone();
    unversioned["metadata"]
        .as_object_mut()
        .unwrap()
        .remove("resourceVersion");
    assert_eq!(
        cluster.call("PUT", &format!("{WIDGETS}/w"), &unversioned).0,
        422
    );
    let out = cluster.ok(
        "MERGE",
        &format!("{WIDGETS}/w/status"),
        &json!({"status": {"size": 1}, "spec": {"size": 9}, "metadata": {"labels": {"no": "no"}}}),
    );
    assert_eq!(
        (&out["spec"]["size"], &out["status"]["size"]),
        (&json!(1), &json!(1))
    );
    assert!(out["metadata"].get("labels").is_none());
    assert_eq!(out["metadata"]["generation"], 1);
    assert_eq!(
        cluster.ok(
            "MERGE",
            &format!("{WIDGETS}/w"),
            &json!({"spec": {"size": 3}})
        )["metadata"]["generation"],
        2
    );
}

fn budget(cluster: &Cluster, name: &str, allowed: i64) {
    cluster.ok("POST", BUDGETS, &json!({"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": name},
        "spec": {"minAvailable": 1, "selector": {"matchLabels": {"app": "web"}}}}));
    cluster.ok("MERGE", &format!("{BUDGETS}/{name}/status"), &json!({"status": {"observedGeneration": 1,
        "disruptionsAllowed": allowed, "currentHealthy": 2, "desiredHealthy": 1, "expectedPods": 2}}));
}

fn evict(cluster: &Cluster, name: &str) -> (u16, Value) {
    cluster.post(
        &format!("{PODS}/{name}/eviction"),
        &json!({"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name}}),
    )
}

#[tokio::test(start_paused = true)]
async fn an_eviction_spends_the_budget_and_is_refused_when_it_is_spent() {
    let cluster = Cluster::new();
    running(&cluster, "p1", true);
    running(&cluster, "p2", true);
    budget(&cluster, "b", 1);
    let (code, status) = evict(&cluster, "p1");
    assert_eq!((code, &status["status"]), (201, &json!("Success")));
    assert!(cluster.get(&format!("{PODS}/p1")).1["metadata"]["deletionTimestamp"].is_string());
    let held = cluster.get(&format!("{BUDGETS}/b")).1;
    assert_eq!(held["status"]["disruptionsAllowed"], 0);
    assert!(held["status"]["disruptedPods"]["p1"].is_string());
    let (code, error) = evict(&cluster, "p2");
    assert_eq!((code, &error["reason"]), (429, &json!("TooManyRequests")));
    assert_eq!(
        error["message"],
        "Cannot evict pod as it would violate the pod's disruption budget."
    );
    assert_eq!(
        error["details"]["causes"][0],
        json!({"reason": "DisruptionBudget", "message": "The disruption budget b does not allow evicting pods currently"})
    );
}

#[tokio::test(start_paused = true)]
async fn two_budgets_are_an_error_and_a_stale_budget_waits() {
    let cluster = Cluster::new();
    running(&cluster, "p1", true);
    budget(&cluster, "b1", 1);
    cluster.ok(
        "MERGE",
        &format!("{BUDGETS}/b1"),
        &json!({"spec": {"minAvailable": 2}}),
    );
    let (code, error) = evict(&cluster, "p1");
    assert_eq!(
        (code, &error["details"]["retryAfterSeconds"]),
        (429, &json!(10)),
        "generation 2, observed 1"
    );
    budget(&cluster, "b2", 1);
    let (code, error) = evict(&cluster, "p1");
    assert_eq!(code, 500);
    assert!(
        error["message"]
            .as_str()
            .unwrap()
            .contains("more than one PodDisruptionBudget")
    );
}

#[tokio::test(start_paused = true)]
async fn pods_that_do_not_run_and_unready_pods_follow_their_own_rules() {
    let cluster = Cluster::new();
    budget(&cluster, "b", 0);
    cluster.ok("POST", PODS, &pod("pending"));
    assert_eq!(evict(&cluster, "pending").0, 201);
    running(&cluster, "unready", false);
    assert_eq!(
        evict(&cluster, "unready").0,
        201,
        "the budget is healthy without it"
    );
    cluster.ok(
        "MERGE",
        &format!("{BUDGETS}/b/status"),
        &json!({"status": {"currentHealthy": 0}}),
    );
    running(&cluster, "unready2", false);
    assert_eq!(evict(&cluster, "unready2").0, 429);
    cluster.ok(
        "MERGE",
        &format!("{BUDGETS}/b"),
        &json!({"spec": {"unhealthyPodEvictionPolicy": "AlwaysAllow"}}),
    );
    assert_eq!(evict(&cluster, "unready2").0, 201);
    let wrong = json!({"deleteOptions": {"preconditions": {"uid": "other"}}});
    running(&cluster, "p", true);
    cluster.ok(
        "MERGE",
        &format!("{BUDGETS}/b/status"),
        &json!({"status": {"disruptionsAllowed": 1, "observedGeneration": 2}}),
    );
    assert_eq!(cluster.post(&format!("{PODS}/p/eviction"), &wrong).0, 409);
    let spent = cluster.get(&format!("{BUDGETS}/b")).1;
    assert_eq!(
        spent["status"]["disruptionsAllowed"], 0,
        "the budget is spent before the uid is looked at"
    );
    assert_eq!(evict(&cluster, "gone").0, 404);
}

#[tokio::test(start_paused = true)]
async fn a_pod_is_bound_once() {
    let cluster = Cluster::new();
    running(&cluster, "p", true);
    let bound = cluster.get(&format!("{PODS}/p")).1;
    assert_eq!(bound["spec"]["nodeName"], "n1");
    let again = json!({"apiVersion": "v1", "kind": "Binding", "metadata": {"name": "p"}, "target": {"kind": "Node", "name": "n2"}});
    let (code, error) = cluster.post(&format!("{PODS}/p/binding"), &again);
    assert_eq!(code, 409);
    assert!(
        error["message"]
            .as_str()
            .unwrap()
            .contains("already assigned to node \"n1\"")
    );
    cluster.ok("POST", PODS, &pod("q"));
    let mut legacy = again;
    legacy["metadata"]["name"] = json!("q");
    assert_eq!(
        cluster
            .post("/api/v1/namespaces/default/bindings", &legacy)
            .0,
        201
    );
    let q = cluster.get(&format!("{PODS}/q")).1;
    assert_eq!(q["status"]["conditions"][0]["type"], "PodScheduled");
}

fn owned(name: &str, owner: &Value, block: bool) -> Value {
    let mut map = config_map(name);
    map["metadata"]["ownerReferences"] = json!([{"apiVersion": "v1", "kind": "ConfigMap", "name": owner["metadata"]["name"],
        "uid": owner["metadata"]["uid"], "blockOwnerDeletion": block}]);
    map
}

#[tokio::test(start_paused = true)]
async fn dependents_go_after_their_owner_in_the_background() {
    let cluster = Cluster::new();
    let owner = cluster.ok("POST", MAPS, &config_map("owner"));
    let child = cluster.ok("POST", MAPS, &owned("child", &owner, false));
    cluster.ok("POST", MAPS, &owned("grandchild", &child, false));
    cluster.delete(&format!("{MAPS}/owner"));
    assert_eq!(
        cluster.names(MAPS),
        ["child", "grandchild"],
        "a moment later, not at once"
    );
    cluster.settle().await;
    assert!(cluster.names(MAPS).is_empty());
    cluster.ok("POST", MAPS, &owned("orphan", &owner, false));
    cluster.settle().await;
    assert!(cluster.names(MAPS).is_empty(), "its owner never existed");
}

#[tokio::test(start_paused = true)]
async fn foreground_waits_for_dependents_and_orphan_lets_them_be() {
    let cluster = Cluster::new();
    let owner = cluster.ok("POST", MAPS, &config_map("owner"));
    let mut child = owned("child", &owner, true);
    child["metadata"]["finalizers"] = json!(["example.com/hold"]);
    cluster.ok("POST", MAPS, &child);
    cluster.ok(
        "DELETE",
        &format!("{MAPS}/owner"),
        &json!({"propagationPolicy": "Foreground"}),
    );
    cluster.settle().await;
    assert_eq!(cluster.names(MAPS), ["child", "owner"]);
    cluster.ok(
        "MERGE",
        &format!("{MAPS}/child"),
        &json!({"metadata": {"finalizers": null}}),
    );
    cluster.settle().await;
    assert!(cluster.names(MAPS).is_empty());
    let owner = cluster.ok("POST", MAPS, &config_map("owner"));
    cluster.ok("POST", MAPS, &owned("child", &owner, true));
    cluster.ok(
        "DELETE",
        &format!("{MAPS}/owner?propagationPolicy=Orphan"),
        &Value::Null,
    );
    cluster.settle().await;
    assert_eq!(cluster.names(MAPS), ["child"]);
    assert!(
        cluster.get(&format!("{MAPS}/child")).1["metadata"]
            .get("ownerReferences")
            .is_none()
    );
}

#[tokio::test(start_paused = true)]
async fn a_deleted_namespace_takes_its_content_and_accepts_no_more() {
    let cluster = Cluster::new();
    cluster.ok(
        "POST",
        "/api/v1/namespaces",
        &json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "x"}}),
    );
    let mut held = config_map("held");
    held["metadata"]["finalizers"] = json!(["example.com/hold"]);
    cluster.ok("POST", "/api/v1/namespaces/x/configmaps", &held);
    cluster.ok(
        "POST",
        "/api/v1/namespaces/x/configmaps",
        &config_map("free"),
    );
    let marked = cluster.ok("DELETE", "/api/v1/namespaces/x", &Value::Null);
    assert_eq!(marked["status"]["phase"], "Terminating");
    let (code, error) = cluster.post("/api/v1/namespaces/x/configmaps", &config_map("late"));
    assert_eq!(
        (code, &error["details"]["causes"][0]["reason"]),
        (403, &json!("NamespaceTerminating"))
    );
    cluster.settle().await;
    assert_eq!(cluster.names("/api/v1/namespaces/x/configmaps"), ["held"]);
    cluster.ok(
        "MERGE",
        "/api/v1/namespaces/x/configmaps/held",
        &json!({"metadata": {"finalizers": null}}),
    );
    cluster.settle().await;
    assert_eq!(cluster.get("/api/v1/namespaces/x").0, 404);
}
