use http::{Method, StatusCode};
use serde_json::json;

use crate::client::{CLUSTER, MEDIUM, SMALL, caller};

fn wish(name: &str, size: i64) -> serde_json::Value {
    json!({"clusterIdentifier": CLUSTER, "groupName": name, "KubeSizeID": size})
}

#[tokio::test(start_paused = true)]
async fn a_size_belongs_to_one_group() {
    let caller = caller();
    caller.group("GRP-Advanced-c745", SMALL).await;
    let (_, answer) = caller
        .post("/k8s/cluster/add/group", wish("mine", SMALL))
        .await;
    assert_eq!(
        answer["message"],
        "Group GRP-Advanced-c745 has same selected Size, please select another size"
    );
    assert_eq!(answer["error"], true);
    caller.group("mine", MEDIUM).await;
    let names: Vec<_> = caller.groups().await;
    assert_eq!(names.len(), 2);
    assert_eq!(names[0]["boxsize_id"], SMALL);
    assert!(names[0]["id"].is_i64() && names[0]["identifier"].is_string());
}

#[tokio::test(start_paused = true)]
async fn a_deleted_group_stays_listed_frees_its_size_and_takes_its_workers_along() {
    let caller = caller();
    let group = caller.group("general", SMALL).await;
    caller.add(group).await;
    let uuid = caller.sim.pools(CLUSTER)[0].identifier.clone();
    let path = format!("/k8s/cluster/delete/group/{uuid}");
    let (status, _) = caller.call(Method::DELETE, &path, None).await;
    assert_eq!(
        status,
        StatusCode::INTERNAL_SERVER_ERROR,
        "deleteStatistic is missing"
    );
    assert_eq!(caller.live(), 1);

    let statistic = json!({"deleteStatistic": {"reason": "gone", "note": ""}});
    assert_eq!(
        caller.remove(&path, statistic.clone()).await.1["error"],
        false
    );
    assert_eq!(caller.live(), 0);
    let rows = caller.groups().await;
    assert_eq!(
        (&rows[0]["is_deleted"], &rows[0]["is_active"]),
        (&json!(1), &json!(0))
    );
    assert!(rows[0]["dropped_on"].is_string());
    assert_eq!(caller.add(group).await.1["message"], "Group not found");
    assert_eq!(
        caller.remove(&path, statistic).await.1["message"],
        "Group not found"
    );

    caller.group("again", SMALL).await;
    assert_eq!(caller.groups().await.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_group_needs_a_known_cluster_a_known_size_and_a_numeric_size_id() {
    let caller = caller();
    for body in [
        wish("g", 999),
        json!({"clusterIdentifier": "x", "groupName": "g", "KubeSizeID": SMALL}),
        json!({"clusterIdentifier": CLUSTER, "groupName": "g", "KubeSizeID": "101"}),
        json!({"clusterIdentifier": CLUSTER, "groupName": "", "KubeSizeID": SMALL}),
        json!({}),
    ] {
        let (_, answer) = caller.post("/k8s/cluster/add/group", body).await;
        assert_eq!(answer["error"], true, "{answer}");
    }
    assert_eq!(caller.sim.pools(CLUSTER), []);
}

#[tokio::test(start_paused = true)]
async fn groups_of_an_unknown_cluster_are_an_empty_list() {
    let caller = caller();
    caller.group("general", SMALL).await;
    let answer = caller.get("/k8s/node/groups/byClusterId/unknown").await;
    assert_eq!(answer["data"], json!([]));
}
