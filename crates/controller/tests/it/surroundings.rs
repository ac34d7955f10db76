//! Namespaces and volumes from their watches; what happens where they may not be read.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use controller::cluster_state::{Kind, Versions};
use intake::PodView;
use k8s_openapi::{
    NamespaceResourceScope,
    api::core::v1::{Namespace, PersistentVolumeClaim},
};
use kube::{
    Api, Resource,
    api::{DeleteParams, Patch, PatchParams},
};
use kube_sim::{Effect, Match, Rule};
use model::UnevaluatedRule;
use serde_json::{Value, json};

use crate::{
    cluster_state::World,
    server::{Server, pod},
};

fn claim(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"accessModes": ["ReadWriteOnce"], "storageClassName": "fast",
            "resources": {"requests": {"storage": "1Gi"}}}})
}

fn pod_with_claim(name: &str) -> Value {
    let mut pod = pod(name, None);
    pod["metadata"]["labels"] = json!({"app": "db"});
    pod["spec"]["volumes"] =
        json!([{"name": "data", "persistentVolumeClaim": {"claimName": "data"}}]);
    pod
}

/// One object of each kind of the surroundings.
fn one_of_each() -> Vec<Value> {
    let storage = "storage.k8s.io/v1";
    vec![
        json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "team-a"}}),
        claim("data"),
        json!({"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": "pv"},
            "spec": {"capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"],
                "csi": {"driver": "csi.example.com", "volumeHandle": "h"}}}),
        json!({"apiVersion": storage, "kind": "StorageClass", "metadata": {"name": "fast"},
            "provisioner": "csi.example.com"}),
        json!({"apiVersion": storage, "kind": "CSINode", "metadata": {"name": "n1"},
            "spec": {"drivers": [{"name": "csi.example.com", "nodeID": "n1"}]}}),
        json!({"apiVersion": storage, "kind": "CSIDriver", "metadata": {"name": "csi.example.com"},
            "spec": {"storageCapacity": true}}),
        json!({"apiVersion": storage, "kind": "CSIStorageCapacity",
            "metadata": {"name": "c", "namespace": "default"},
            "storageClassName": "fast", "capacity": "5Gi"}),
        json!({"apiVersion": storage, "kind": "VolumeAttachment", "metadata": {"name": "va"},
            "spec": {"attacher": "csi.example.com", "nodeName": "n1",
                "source": {"persistentVolumeName": "pv"}}}),
    ]
}

fn kinds() -> impl Iterator<Item = Kind> {
    Kind::ALL
        .into_iter()
        .filter(|kind| kind.is_of_surroundings())
}

fn versions(world: &World) -> Versions {
    *world.state.changes().borrow()
}

/// The rules of the one pod that waits that are not evaluated.
fn unevaluated(world: &World) -> BTreeSet<UnevaluatedRule> {
    let cluster = world.state.cluster();
    assert_eq!(cluster.waiting.len(), 1);
    cluster.waiting[0].class.unevaluated.clone()
}

/// Those that never are, whatever is known.
fn never(pod: &Value) -> BTreeSet<UnevaluatedRule> {
    let view: PodView = serde_json::from_value(pod.clone()).unwrap();
    view.class().unevaluated
}

fn never_and(pod: &Value, rules: &[UnevaluatedRule]) -> BTreeSet<UnevaluatedRule> {
    let mut all = never(pod);
    all.extend(rules);
    all
}

/// A running pod that keeps pods with a claim away, of namespaces that it selects.
fn keeps_away() -> Value {
    let mut pod = pod("keeps-away", Some("n1"));
    pod["spec"]["affinity"]["podAntiAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"] = json!([{"topologyKey": "zone", "labelSelector": {"matchLabels": {"app": "db"}},
            "namespaceSelector": {"matchLabels": {"team": "a"}}}]);
    pod
}

#[tokio::test(start_paused = true)]
async fn what_is_there_and_what_comes_is_known_and_told() {
    let server = Server::new();
    let objects = one_of_each();
    let (early, late) = objects.split_at(4);
    for object in early {
        server.sim.insert(object.clone()).unwrap();
    }
    let world = World::synced(server).await;
    let first = world.state.surroundings();
    assert_eq!(first.storage.claims.len(), 1);
    assert!(first.namespaces.contains_key("team-a"));
    assert!(first.storage.attached.is_empty());

    let before = versions(&world);
    for object in late {
        world.server.sim.insert(object.clone()).unwrap();
    }
    world.sleep(1).await;
    let after = versions(&world);
    assert_eq!(after.storage, before.storage + 4);
    let expected = Versions {
        storage: after.storage,
        ..before
    };
    assert_eq!(after, expected, "and nothing else");
    let value = world.state.surroundings();
    assert_eq!(value.storage.limits.len(), 1);
    assert_eq!(value.storage.publishing_drivers.len(), 1);
    assert_eq!(value.storage.capacities.len(), 1);
    assert_eq!(value.storage.attached.len(), 1);
    assert_eq!(world.state.cluster().surroundings, value);
    assert!(Arc::ptr_eq(&value, &world.state.surroundings()));
    assert_eq!(world.state.unknown_kinds(), []);
}

#[tokio::test(start_paused = true)]
async fn labels_of_a_namespace_and_what_binds_a_claim_are_followed_to_the_end() {
    let server = Server::new();
    for object in one_of_each() {
        server.sim.insert(object).unwrap();
    }
    let world = World::synced(server).await;
    let before = versions(&world);
    let namespaces: Api<Namespace> = Api::all(world.server.client("user"));
    let labels = json!({"metadata": {"labels": {"tier": "web"}}});
    namespaces
        .patch("team-a", &PatchParams::default(), &Patch::Merge(labels))
        .await
        .unwrap();
    let claims: Api<PersistentVolumeClaim> = Api::default_namespaced(world.server.client("user"));
    let bound = json!({"spec": {"volumeName": "pv"},
        "metadata": {"annotations": {"pv.kubernetes.io/bind-completed": "yes"}}});
    claims
        .patch("data", &PatchParams::default(), &Patch::Merge(bound))
        .await
        .unwrap();
    world.sleep(1).await;
    let after = versions(&world);
    assert_eq!(after.namespaces, before.namespaces + 1);
    assert_eq!(after.storage, before.storage + 1);
    let value = world.state.surroundings();
    assert_eq!(value.namespaces["team-a"]["tier"].as_ref(), "web");
    assert!(
        value
            .storage
            .claims
            .values()
            .all(model::storage::Claim::is_bound)
    );

    end(&claims, "data").await;
    world.sleep(1).await;
    let gone = world.state.surroundings();
    assert!(gone.storage.claims.is_empty());
    assert_eq!(value.storage.claims.len(), 1, "a reader keeps what it has");
    assert!(versions(&world).storage > after.storage);
}

/// Deletes an object, finalizers and all.
async fn end<K>(api: &Api<K>, name: &str)
where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>
        + Clone
        + std::fmt::Debug
        + serde::de::DeserializeOwned,
{
    let free = Patch::Merge(json!({"metadata": {"finalizers": null}}));
    api.patch(name, &PatchParams::default(), &free)
        .await
        .unwrap();
    api.delete(name, &DeleteParams::default()).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn kinds_that_may_not_be_read_or_do_not_exist_hold_nothing_up_and_are_named() {
    for code in [403, 404] {
        let server = Server::new();
        let waits = pod_with_claim("waits");
        for object in [waits.clone(), claim("data"), keeps_away()] {
            server.sim.insert(object).unwrap();
        }
        let faults = server.sim.faults().clone();
        for kind in kinds() {
            let lists = Match::resource(kind.plural()).of_actor("controller");
            faults.add(Rule::always(
                lists,
                Effect::Refuse {
                    code,
                    retry_after: None,
                },
            ));
        }
        let begun = server.clock.monotonic();
        let world = World::synced(server).await;
        let took = world.server.clock.monotonic().saturating_sub(begun);
        assert!(took < Duration::from_secs(5), "{took:?}");
        assert_eq!(world.state.unknown_kinds(), kinds().collect::<Vec<_>>());
        let rules = [UnevaluatedRule::Volumes, UnevaluatedRule::InterPodAffinity];
        assert_eq!(unevaluated(&world), never_and(&waits, &rules));

        // The right is granted while the product runs.
        world.sleep(600).await;
        let before = versions(&world);
        faults.clear();
        world.sleep(31).await;
        assert_eq!(world.state.unknown_kinds(), []);
        assert_eq!(unevaluated(&world), never(&waits));
        assert_eq!(world.state.surroundings().storage.claims.len(), 1);
        let after = versions(&world);
        assert!(after.storage > before.storage, "who waits for it is woken");
        assert!(after.namespaces > before.namespaces);
    }
}

#[tokio::test(start_paused = true)]
async fn a_kind_that_is_refused_is_asked_for_seldom_and_one_that_must_be_read_holds_start_up_up() {
    let server = Server::new();
    let faults = server.sim.faults().clone();
    let refuse = Effect::Refuse {
        code: 403,
        retry_after: None,
    };
    faults.add(Rule::always(Match::resource("csinodes"), refuse.clone()));
    let pods = faults.add(Rule::always(Match::resource("pods"), refuse));
    let world = World::begin(server);
    world.sleep(600).await;
    assert!(!world.state.synced(), "nothing is decided without pods");
    faults.remove(pods);
    world.sleep(31).await;
    assert!(world.state.synced());
    assert_eq!(world.state.unknown_kinds(), [Kind::CSINodes]);
    let asked = world.server.requests("controller", "list", "csinodes");
    assert!((20..50).contains(&asked), "{asked} in ten minutes");
    assert_eq!(world.rebuilds(Kind::CSINodes), 0);
}

#[tokio::test(start_paused = true)]
async fn a_right_that_is_taken_away_leaves_pods_with_such_rules_alone_within_minutes() {
    let server = Server::new();
    for object in one_of_each() {
        server.sim.insert(object).unwrap();
    }
    let waits = pod_with_claim("waits");
    server.sim.insert(waits.clone()).unwrap();
    let world = World::synced(server).await;
    assert_eq!(unevaluated(&world), never(&waits));
    let faults = world.server.sim.faults().clone();
    let refused = Match::resource("persistentvolumes").of_actor("controller");
    let code = 403;
    faults.add(Rule::always(
        refused,
        Effect::Refuse {
            code,
            retry_after: None,
        },
    ));
    // The watch that runs goes on until its time is up.
    world.sleep(300).await;
    assert_eq!(world.state.unknown_kinds(), [Kind::PersistentVolumes]);
    let rules = [UnevaluatedRule::Volumes];
    assert_eq!(unevaluated(&world), never_and(&waits, &rules));
    faults.clear();
    world.sleep(31).await;
    assert_eq!(world.state.unknown_kinds(), []);
    assert_eq!(unevaluated(&world), never(&waits));
}

#[tokio::test(start_paused = true)]
async fn where_only_the_watch_is_refused_lists_keep_the_kind_known() {
    let world = World::synced(Server::new()).await;
    let faults = world.server.sim.faults().clone();
    let watches = Match::resource("persistentvolumeclaims").verb("watch");
    let code = 403;
    faults.add(Rule::always(
        watches.clone(),
        Effect::Refuse {
            code,
            retry_after: None,
        },
    ));
    faults.cut_watches(watches);
    world.sleep(120).await;
    world.server.sim.insert(claim("later")).unwrap();
    world.sleep(31).await;
    assert_eq!(world.state.unknown_kinds(), []);
    assert_eq!(world.state.surroundings().storage.claims.len(), 1);
}
