//! Answers that the simulator does not give: contradictions within and between them.

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use cloud::{CloudError, CloudProvider as _, DeleteOutcome, DeleteTarget, ErrorClass, Scope};
use http::{Request, Response};
use model::{Hostname, Observation, Role};
use runtime::{Clock, Randomness};
use serde_json::{Value, json};
use vpsie::{
    Allowed, AuthMode, BoxFuture, Credentials, Options, Silent, Transport, TransportError, Vpsie,
};

use crate::harness::{a_call, epoch};

const CLUSTER: &str = "0a7c9f5e-3d52-4c3e-8a43-49ab00000001";

/// Answers by method, path and query.
struct Scripted(BTreeMap<String, Value>);

impl Transport for Scripted {
    fn send(
        &self,
        request: Request<Bytes>,
    ) -> BoxFuture<'_, Result<Response<Bytes>, TransportError>> {
        let path = request.uri().path_and_query().unwrap().as_str();
        let key = format!(
            "{} {}",
            request.method(),
            path.trim_start_matches("/apps/v2")
        );
        let body = self
            .0
            .get(&key)
            .cloned()
            .unwrap_or(json!({"error": true, "message": key}));
        Box::pin(async move { Ok(Response::new(Bytes::from(body.to_string()))) })
    }
}

fn provider(answers: &[(&str, Value)]) -> Arc<Vpsie> {
    let answers = answers
        .iter()
        .map(|(key, body)| (key.replace("{cluster}", CLUSTER), body.clone()))
        .collect();
    let provider = Vpsie::new(
        Options::default(),
        Arc::new(Scripted(answers)),
        Clock::starting_at(epoch(), 1.0),
        Randomness::seeded(1),
        Arc::new(Silent),
    );
    let secret = [("token".to_owned(), b"token".to_vec())].into();
    let credentials = Credentials::from_secret(&secret, AuthMode::Auto, &Allowed::default());
    provider.set_credentials(Some(&credentials.unwrap()));
    provider
}

const NODES: &str = "GET /k8s/cluster/byId/{cluster}";
const GROUPS: &str = "GET /k8s/node/groups/byClusterId/{cluster}";
const STORAGES: &str = "GET /storages/vms";

fn worker(n: u32) -> Value {
    json!({
        "identifier": format!("uuid-{n}"), "hostname": format!("HEL-Kubernetes-49ab-slave-{n}"),
        "ip": format!("10.0.0.{n}"), "role": "slave", "status": "running",
    })
}

fn group(id: i64, count: u32) -> Value {
    json!({"id": id, "group_name": "g", "boxsize_id": 100 + id, "nodes_count": count})
}

async fn observe(answers: &[(&str, Value)]) -> Result<Observation, CloudError> {
    let scope = Scope::Cluster(CLUSTER.into());
    provider(answers).observe(&a_call(), &scope).await
}

fn answer(data: &Value) -> Value {
    json!({"error": false, "data": data})
}

#[tokio::test(start_paused = true)]
async fn the_answer_of_another_cluster_is_not_taken_for_ours() {
    let other = answer(&json!({"identifier": "another", "nodes": [worker(1)]}));
    let error = observe(&[(NODES, other), (GROUPS, answer(&json!([])))])
        .await
        .unwrap_err();
    assert_eq!(error.class, ErrorClass::ContractDrift);
    let ours = answer(&json!({"identifier": CLUSTER.to_uppercase(), "nodes": [worker(1)]}));
    let seen = observe(&[(NODES, ours), (GROUPS, answer(&json!([])))])
        .await
        .unwrap();
    assert!(seen.complete, "{:?}", seen.defects);
}

#[tokio::test(start_paused = true)]
async fn lists_that_contradict_counts_or_themselves_are_not_complete() {
    let none: Vec<Value> = vec![];
    let two = vec![worker(1), worker(2)];
    let twice = vec![worker(1), worker(1)];
    let odd = vec![worker(1), json!({"identifier": "uuid-2"})];
    for (what, nodes, managers, workers, groups, complete) in [
        ("all agrees", &two, 0, 2, vec![group(1, 2)], true),
        ("no counts", &two, 0, 0, vec![], true),
        ("counts lag behind", &two, 0, 1, vec![group(1, 0)], true),
        ("one is on its way", &two, 0, 3, vec![group(1, 3)], true),
        ("nothing and nothing expected", &none, 0, 0, vec![], true),
        (
            "a control plane that is not listed",
            &none,
            1,
            0,
            vec![],
            false,
        ),
        ("the cluster counts more", &two, 0, 4, vec![], false),
        (
            "the groups count more",
            &two,
            0,
            2,
            vec![group(1, 2), group(2, 2)],
            false,
        ),
        ("one machine twice", &twice, 0, 2, vec![], false),
        ("a row without host name", &odd, 0, 2, vec![], false),
    ] {
        let cluster = json!({"managerCount": managers, "slaveCount": workers, "nodes": nodes});
        let seen = observe(&[(NODES, answer(&cluster)), (GROUPS, answer(&json!(groups)))])
            .await
            .unwrap();
        assert_eq!(seen.complete, complete, "{what}: {:?}", seen.defects);
        assert_eq!(seen.complete, seen.defects.is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn a_host_name_that_two_machines_have_gives_neither_identity() {
    let nameless = |n: u32| {
        let mut row = worker(n);
        row.as_object_mut().unwrap().remove("identifier");
        row
    };
    let known = |name: &str, uuid: &str| json!({"hostname": name, "identifier": uuid});
    let name = "hel-kubernetes-49ab-slave-1";
    for (nodes, storages) in [
        // Known twice.
        (vec![nameless(1)], vec![known(name, "a"), known(name, "b")]),
        // Listed twice.
        (vec![nameless(1), nameless(1)], vec![known(name, "a")]),
        // Not known.
        (vec![nameless(1)], vec![known("another", "a")]),
    ] {
        let seen = observe(&[
            (NODES, answer(&json!({"nodes": nodes}))),
            (GROUPS, answer(&json!([]))),
            (STORAGES, answer(&json!(storages))),
        ])
        .await
        .unwrap();
        assert!(!seen.complete, "{:?}", seen.instances);
    }
}

#[tokio::test(start_paused = true)]
async fn any_sign_of_the_control_plane_keeps_a_machine_from_being_deleted() {
    let mut disguised = worker(1);
    disguised["hostname"] = json!("HEL-Kubernetes-49ab-master-main.6.k8s.vpsie.net");
    let mut unclear = worker(2);
    unclear["role"] = json!("etcd");
    let provider = provider(&[(NODES, answer(&json!({"nodes": [disguised, unclear]})))]);
    let scope = Scope::Cluster(CLUSTER.into());
    for (id, name) in [
        ("uuid-1", "hel-kubernetes-49ab-master-main.6.k8s.vpsie.net"),
        ("uuid-2", "hel-kubernetes-49ab-slave-2"),
    ] {
        let target = DeleteTarget {
            scope: scope.clone(),
            instance: id.into(),
            hostname: Hostname::new(name),
        };
        let outcome = provider.delete(&a_call(), &target).await;
        assert!(
            matches!(&outcome, DeleteOutcome::Rejected(error)
                if error.class == ErrorClass::Conflict),
            "{id}: {outcome:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn machines_on_their_way_out_say_so_in_any_of_the_known_ways() {
    for sign in ["is_deleted", "is_terminated"] {
        let mut leaving = worker(1);
        leaving[sign] = json!(1);
        let seen = observe(&[
            (NODES, answer(&json!({"nodes": [leaving]}))),
            (GROUPS, answer(&json!([]))),
        ])
        .await
        .unwrap();
        assert_eq!(seen.instances[0].role, Role::Worker);
        assert_eq!(
            seen.instances[0].phase,
            model::InstancePhase::Deleting,
            "{sign}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn groups_that_are_deleted_are_no_pools_and_odd_ones_no_list() {
    let nodes = (NODES, answer(&json!({"nodes": []})));
    let mut deleted = group(1, 0);
    deleted["is_deleted"] = json!("1");
    let mut dropped = group(2, 0);
    dropped["dropped_on"] = json!("2026-01-01");
    let rows = json!([deleted, dropped, group(3, 0)]);
    let seen = observe(&[nodes.clone(), (GROUPS, answer(&rows))])
        .await
        .unwrap();
    assert_eq!(seen.pools.len(), 1);
    let odd = json!([{"group_name": "no id"}]);
    let seen = observe(&[nodes, (GROUPS, answer(&odd))]).await.unwrap();
    assert!(!seen.complete);
}

#[tokio::test(start_paused = true)]
async fn datacenters_are_read_to_the_last_page() {
    let page = |ids: std::ops::Range<u32>, total: u32| {
        let rows: Vec<Value> = ids
            .map(|n| json!({"identifier": format!("dc-{n}"), "dc_name": "x", "is_active": 1}))
            .collect();
        json!({"error": false, "data": rows, "total ": total})
    };
    let provider = provider(&[
        ("GET /datacenter?offset=0&limit=1000", page(0..20, 45)),
        ("GET /datacenter?offset=20&limit=1000", page(20..40, 45)),
        ("GET /datacenter?offset=40&limit=1000", page(40..45, 45)),
    ]);
    assert_eq!(provider.datacenters(&a_call()).await.unwrap().len(), 45);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_ignores_the_offset_does_not_keep_us() {
    let rows = json!([{"identifier": "dc-1", "dc_name": "x"}]);
    let body = json!({"error": false, "data": rows, "total": 99});
    let provider = provider(&[
        ("GET /datacenter?offset=0&limit=1000", body.clone()),
        ("GET /datacenter?offset=1&limit=1000", body),
    ]);
    assert_eq!(provider.datacenters(&a_call()).await.unwrap().len(), 1);
}
