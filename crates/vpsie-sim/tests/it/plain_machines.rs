use http::{Method, StatusCode};
use serde_json::{Value, json};
use vpsie_sim::{Config, Phase, Role};

use crate::client::{Caller, DATACENTER, caller};

fn order(hostname: &str) -> Value {
    json!({
        "resourceIdentifier": Config::default().datacenters[0].sizes[0].identifier,
        "osIdentifier": "image-uuid",
        "dcIdentifier": DATACENTER,
        "hostname": hostname,
        "projectId": Config::default().projects[0].identifier,
        "addPublicIpV4": "1",
        "notes": "owner=a",
        "tags": ["pool-a"],
        "userData": "I2Nsb3VkLWNvbmZpZw==",
        "processId": "op-1",
    })
}

fn statistic() -> Value {
    json!({"reason": "scale-down", "note": ""})
}

fn only(caller: &Caller) -> vpsie_sim::Machine {
    let mut machines = caller.sim.machines();
    machines.retain(|machine| machine.role == Role::Plain);
    assert_eq!(machines.len(), 1);
    machines.remove(0)
}

#[tokio::test(start_paused = true)]
async fn an_order_is_pending_then_listed_then_runs_and_answers_no_id() {
    let caller = caller();
    let (_, answer) = caller.post("/vm", order("pool-a-1")).await;
    assert_eq!(answer, json!({"error": false, "data": true}));
    let pending = caller.get("/vm/pending").await;
    assert_eq!(pending["data"][0]["data"]["hostname"], "pool-a-1");
    assert_eq!(pending["data"][0]["data"]["processId"], "op-1");
    assert_eq!(pending["data"][0]["data"]["addPublicIpV4"], true);
    assert_eq!(caller.get("/vm").await["data"], json!([]));

    caller.pass(31).await;
    assert_eq!(caller.get("/vm/pending").await["data"], json!([]));
    let row = caller.get("/vm").await["data"][0].clone();
    assert_eq!(
        (&row["is_active"], &row["default_ip"]),
        (&json!(0), &Value::Null)
    );

    caller.pass(240).await;
    let row = caller.get("/vm").await["data"][0].clone();
    assert_eq!((&row["is_active"], &row["power"]), (&json!(1), &json!(1)));
    assert!(row["default_ip"].is_string());
    assert_eq!(row["state"], "Uusimaa", "a place, not a status");
    assert!(row["initial_password"].is_string());
    let uuid = row["identifier"].as_str().unwrap();
    let one = caller.get(&format!("/vm/{uuid}")).await;
    assert_eq!(one["data"]["vmData"]["hostname"], "pool-a-1");
    assert_eq!(one["data"]["vmTags"], json!(["pool-a"]));
    let machine = only(&caller);
    assert_eq!(
        machine.order.unwrap().user_data.as_deref(),
        Some("I2Nsb3VkLWNvbmZpZw==")
    );
}

#[tokio::test(start_paused = true)]
async fn numbers_where_strings_are_expected_are_ignored_or_refused() {
    let caller = caller();
    let mut numeric = order("a");
    numeric["projectId"] = json!(31);
    assert_eq!(caller.post("/vm", numeric).await.0, StatusCode::BAD_REQUEST);
    let mut numeric = order("a");
    numeric["addPublicIpV4"] = json!(1);
    assert_eq!(caller.post("/vm", numeric).await.0, StatusCode::OK);
    caller.pass(300).await;
    let row = caller.get("/vm").await["data"][0].clone();
    assert_eq!(
        row["default_ip"],
        Value::Null,
        "asked for in a way that is not heard"
    );
    assert!(row["private_ip"].is_string());
}

#[tokio::test(start_paused = true)]
async fn an_order_needs_its_fields_and_a_known_size() {
    let caller = caller();
    for field in [
        "resourceIdentifier",
        "osIdentifier",
        "dcIdentifier",
        "hostname",
    ] {
        let mut lacking = order("a");
        lacking.as_object_mut().unwrap().remove(field);
        assert_eq!(
            caller.post("/vm", lacking).await.1["error"],
            true,
            "{field}"
        );
    }
    let mut unknown = order("a");
    unknown["resourceIdentifier"] = json!("nothing");
    assert_eq!(caller.post("/vm", unknown).await.1["error"], true);
    assert!(
        caller
            .sim
            .machines()
            .iter()
            .all(|machine| machine.role != Role::Plain)
    );
}

#[tokio::test(start_paused = true)]
async fn deletion_wants_the_account_password_and_says_200_without_it() {
    let caller = caller();
    caller.post("/vm", order("a")).await;
    let uuid = only(&caller).uuid;
    let wrong = json!({"error": true, "message": "You entered the wrong password"});
    for body in [
        json!({"vmIdentifier": uuid, "deleteStatistic": statistic()}),
        json!({"vmIdentifier": uuid, "deleteStatistic": statistic(), "password": "guess"}),
    ] {
        assert_eq!(
            caller.remove("/vm", body).await,
            (StatusCode::OK, wrong.clone())
        );
    }
    let password = "simulated-account-password";
    let body = json!({"vmIdentifier": uuid, "password": password});
    assert_eq!(
        caller.remove("/vm", body).await.0,
        StatusCode::INTERNAL_SERVER_ERROR
    );
    assert!(only(&caller).is_paid());

    let body = json!({"vmIdentifier": uuid, "password": password, "deleteStatistic": statistic()});
    assert_eq!(caller.remove("/vm", body.clone()).await.1["error"], false);
    assert!(!only(&caller).is_paid());
    assert_eq!(
        caller.remove("/vm", body).await.1["message"],
        "VM not found"
    );
    caller.pass(91).await;
    assert_eq!(only(&caller).phase, Phase::Gone);
    let gone = caller.get(&format!("/vm/{uuid}")).await;
    assert_eq!(gone["data"], false);
}

#[tokio::test(start_paused = true)]
async fn a_managed_worker_is_not_deleted_as_a_plain_machine() {
    let caller = caller();
    let group = caller.group("general", crate::client::SMALL).await;
    caller.add(group).await;
    let body = json!({
        "vmIdentifier": caller.workers()[0].uuid,
        "password": "simulated-account-password",
        "deleteStatistic": statistic(),
    });
    let (_, answer) = caller.call(Method::DELETE, "/vm", Some(body)).await;
    assert_eq!(answer["message"], "VM not found");
    assert_eq!(caller.live(), 1);
}
