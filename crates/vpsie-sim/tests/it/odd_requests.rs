use bytes::Bytes;
use http::{Method, Request};
use vpsie_sim::{Outcome, Route};

use crate::client::{CLUSTER, SMALL, TOKEN, caller, caller_with};

/// Every route once, with values that exist.
fn requests(group: i64, uuid: &str) -> Vec<(Method, String)> {
    let in_cluster = |tail: &str| format!("/k8s/cluster/byId/{CLUSTER}{tail}");
    vec![
        (Method::POST, "/auth/from/api".into()),
        (Method::GET, "/k8s/cluster/all".into()),
        (Method::GET, in_cluster("")),
        (
            Method::GET,
            format!("/k8s/node/groups/byClusterId/{CLUSTER}"),
        ),
        (Method::POST, "/k8s/cluster/add/group".into()),
        (Method::DELETE, format!("/k8s/cluster/delete/group/{uuid}")),
        (
            Method::POST,
            in_cluster(&format!("/add/slave/group/{group}")),
        ),
        (
            Method::POST,
            in_cluster("/add/slave/group/99999999999999999999"),
        ),
        (Method::POST, in_cluster("/add/slave")),
        (Method::DELETE, in_cluster("/delete/slave")),
        (Method::DELETE, in_cluster("/reduce/slave")),
        (Method::DELETE, in_cluster("/reduce")),
        (Method::POST, "/k8s/offers".into()),
        (Method::GET, "/vm".into()),
        (Method::GET, "/vm/pending".into()),
        (Method::GET, "/vm/some".into()),
        (Method::POST, "/vm".into()),
        (Method::DELETE, "/vm".into()),
        (Method::GET, "/storages/vms".into()),
        (Method::POST, "/resources".into()),
        (Method::GET, "/plans/category".into()),
        (Method::GET, "/datacenter?offset=-1&limit=many".into()),
        (Method::GET, "/projects".into()),
        (Method::GET, "/profile/user".into()),
        (Method::GET, "/custom/images".into()),
    ]
}

#[tokio::test(start_paused = true)]
async fn no_body_however_odd_breaks_a_route() {
    let deep = "[".repeat(100_000);
    let bodies: [&[u8]; 9] = [
        b"",
        b"null",
        b"[]",
        b"{\"identifier\": 7, \"groupId\": \"x\", \"deleteStatistic\": []}",
        b"{\"KubeSizeID\": 1e400}",
        b"{\"tags\": {}, \"hostname\": [\"a\"]}",
        b"\xff\xfe",
        b"%%%=%&=&a",
        deep.as_bytes(),
    ];
    for strict in [false, true] {
        let caller = caller_with(|config| config.strict = strict);
        let group = caller
            .sim
            .human_add_group(CLUSTER, "general", SMALL)
            .unwrap();
        let uuid = caller.sim.pools(CLUSTER)[0].identifier.clone();
        for (method, path) in requests(group, &uuid) {
            for body in bodies {
                for kind in ["application/json", "application/x-www-form-urlencoded", "x"] {
                    let request = Request::builder()
                        .method(method.clone())
                        .uri(format!("https://api.vpsie.com/apps/v2{path}"))
                        .header("vpsie-auth", TOKEN)
                        .header("content-type", kind)
                        .body(Bytes::copy_from_slice(body))
                        .unwrap();
                    let response = caller.send(request).await.unwrap();
                    let answer = serde_json::from_slice::<serde_json::Value>(response.body());
                    assert!(answer.unwrap()["error"].is_boolean(), "{method} {path}");
                }
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn every_route_can_be_reached_and_is_journalled_under_its_name() {
    let caller = caller();
    for (method, path) in requests(1, "x") {
        caller.call(method, &path, None).await;
    }
    let journal = caller.sim.journal();
    assert!(
        journal
            .iter()
            .all(|request| request.outcome == Outcome::Answered)
    );
    let reached: std::collections::BTreeSet<_> = journal.iter().map(|r| r.route).collect();
    assert_eq!(reached, Route::ALL.iter().copied().collect());
}
