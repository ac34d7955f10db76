//! What manifests come to, before the planner sees it.

use model::storage::{Claim, StorageClass};
use serde_json::json;

use super::*;

fn storage() -> Storage {
    let class = |waits_for_consumer| StorageClass {
        waits_for_consumer,
        ..StorageClass::default()
    };
    let mut storage = Storage::default();
    storage.classes.insert("local".into(), class(true));
    storage.classes.insert("network".into(), class(false));
    let name = ("shop".into(), "data-db-1".into());
    storage.claims.insert(name, Claim::default());
    storage
}

/// The names of the claims that are added, and of those that the pods mount.
fn claims(added: &Added) -> (Vec<String>, Vec<String>) {
    let is_claim = |item: &&Value| text(item, "/kind") == "PersistentVolumeClaim";
    let made = added.items.iter().filter(is_claim);
    let mounted = added.items.iter().flat_map(|item| {
        let volumes = item.pointer("/spec/volumes").and_then(Value::as_array);
        volumes.into_iter().flatten()
    });
    (
        made.map(|claim| text(claim, "/metadata/name").to_owned())
            .collect(),
        mounted
            .map(
                |volume| match text(volume, "/persistentVolumeClaim/claimName") {
                    "" => text(volume, "/name").to_owned(),
                    claim => claim.to_owned(),
                },
            )
            .collect(),
    )
}

fn stateful_set(class: &str) -> Value {
    json!({"apiVersion": "apps/v1", "kind": "StatefulSet",
        "metadata": {"name": "db", "namespace": "shop"},
        "spec": {"replicas": 2, "ordinals": {"start": 1},
            "volumeClaimTemplates": [{"metadata": {"name": "data"},
                "spec": {"storageClassName": class}}],
            "template": {"spec": {"containers": [], "volumes": [
                {"name": "data", "emptyDir": {}}, {"name": "config", "configMap": {}}]}}}})
}

#[test]
fn a_claim_that_waits_for_its_pod_is_made_with_it_unless_it_is_there() {
    let added = expand(&[stateful_set("local")], &storage()).unwrap();
    let (made, mounted) = claims(&added);
    assert_eq!(made, ["data-db-2"]);
    assert_eq!(mounted, ["config", "data-db-1", "config", "data-db-2"]);
    assert!(added.notes.is_empty(), "{:?}", added.notes);
    let pods: Vec<String> = added.origins.keys().map(ToString::to_string).collect();
    assert_eq!(pods, ["shop/db-1", "shop/db-2"]);
}

#[test]
fn a_claim_that_is_bound_at_once_holds_no_pod_back() {
    for class in ["network", "unknown"] {
        let added = expand(&[stateful_set(class)], &storage()).unwrap();
        let (made, mounted) = claims(&added);
        assert_eq!(made, Vec::<String>::new());
        assert_eq!(mounted, ["config", "data-db-1", "config"]);
        assert_eq!(added.notes.len(), 1, "{:?}", added.notes);
        assert!(added.notes[0].starts_with("StatefulSet shop/db: claims"));
    }
}

#[test]
fn claims_of_ephemeral_volumes_belong_to_their_pods() {
    let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"},
        "spec": {"containers": [], "volumes": [{"name": "scratch", "ephemeral":
            {"volumeClaimTemplate": {"spec": {"storageClassName": "local"}}}}]}});
    let added = expand(&[pod], &storage()).unwrap();
    assert_eq!(claims(&added).0, ["p-scratch"]);
    let uid = |pointer: &str| {
        let mut uids = added.items.iter().map(|item| text(item, pointer));
        uids.find(|uid| !uid.is_empty()).unwrap().to_owned()
    };
    assert_eq!(uid("/metadata/ownerReferences/0/uid"), uid("/metadata/uid"));
}

#[test]
fn pods_of_a_new_deployment_are_of_a_revision_of_their_own() {
    let deployment = json!({"apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": "web"}, "spec": {"template": {"metadata":
            {"labels": {"app": "web"}}, "spec": {"nodeName": "n"}}}});
    let added = expand(&[deployment], &storage()).unwrap();
    let labels = added.items[0].pointer("/metadata/labels").unwrap();
    assert_eq!(
        labels,
        &json!({"app": "web", "pod-template-hash": "simulated"})
    );
    let key = PodKey::new("default", "web-0");
    assert_eq!(added.bound.get(&key).map(String::as_str), Some("n"));
}
