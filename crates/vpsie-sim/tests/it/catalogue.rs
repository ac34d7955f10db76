use http::{Method, Request, StatusCode};
use rust_decimal::Decimal;
use serde_json::json;
use vpsie_sim::{Config, Datacenter, PriceEncoding};

use crate::client::{DATACENTER, TOKEN, caller, caller_with, request};

#[tokio::test(start_paused = true)]
async fn offers_are_priced_in_the_configured_encoding() {
    for (encoding, price, hourly) in [
        (PriceEncoding::Int, json!(24), json!(0.034)),
        (PriceEncoding::Float, json!(24.5), json!(0.034)),
        (PriceEncoding::String, json!("24.5"), json!("0.034")),
    ] {
        let caller = caller_with(|config| {
            config.price_encoding = encoding;
            let size = &mut config.datacenters[0].sizes[0];
            size.price = "24.50".parse().unwrap();
            size.hourly_price = Some("0.034".parse().unwrap());
        });
        let (_, answer) = caller
            .post("/k8s/offers", json!({"dcIdentifier": DATACENTER}))
            .await;
        let offer = &answer["data"][0];
        assert_eq!((&offer["price"], &offer["hourly_price"]), (&price, &hourly));
        assert_eq!((&offer["id"], &offer["ram"]), (&json!(101), &json!(4096)));
        assert!(answer["data"][1].get("hourly_price").is_none());
    }
}

#[tokio::test(start_paused = true)]
async fn offers_of_an_unknown_datacenter_are_an_empty_list() {
    let caller = caller();
    let (_, answer) = caller
        .post("/k8s/offers", json!({"dcIdentifier": "x"}))
        .await;
    assert_eq!(answer["data"], json!([]));
    assert_eq!(
        caller.post("/k8s/offers", json!({})).await.0,
        StatusCode::BAD_REQUEST
    );
}

#[tokio::test(start_paused = true)]
async fn resources_are_asked_for_with_a_form() {
    let caller = caller();
    let form = Request::post("https://api.vpsie.com/apps/v2/resources")
        .header("vpsie-auth", TOKEN)
        .header("content-type", "application/x-www-form-urlencoded")
        .body(format!("dcIdentifier={DATACENTER}&isCustom=0").into())
        .unwrap();
    let response = caller.send(form).await.unwrap();
    let answer: serde_json::Value = serde_json::from_slice(response.body()).unwrap();
    assert_eq!(answer["data"][0]["nickname"], "small-2cpu-4gb");
    assert!(answer["data"][0]["identifier"].is_string());
    let json = json!({"dcIdentifier": DATACENTER});
    assert_eq!(
        caller.post("/resources", json).await.0,
        StatusCode::BAD_REQUEST
    );
}

#[tokio::test(start_paused = true)]
async fn datacenters_are_paged_by_records_and_total_has_a_trailing_blank() {
    let caller = caller_with(|config| {
        for id in 0..3 {
            config.datacenters.push(Datacenter {
                identifier: format!("dc-{id}"),
                active: false,
                ..Datacenter::default()
            });
        }
    });
    let answer = caller.get("/datacenter?offset=1&limit=2").await;
    assert_eq!(answer["total "], 4);
    assert!(answer.get("total").is_none());
    let rows = answer["data"].as_array().unwrap();
    assert_eq!(rows.len(), 2);
    assert_eq!(
        (&rows[0]["identifier"], &rows[0]["is_active"]),
        (&json!("dc-0"), &json!(0))
    );
}

#[tokio::test(start_paused = true)]
async fn the_rest_of_the_account_can_be_read_under_both_prefixes() {
    let caller = caller();
    let projects = caller.get("/projects").await;
    assert_eq!(projects["data"]["count"], 1);
    assert_eq!(projects["data"]["rows"][0]["name"], "default");
    assert!(caller.get("/profile/user").await["data"]["id"].is_i64());
    assert_eq!(caller.get("/custom/images").await["data"], json!([]));
    assert_eq!(caller.get("/plans/category").await["data"][0]["name"], "A");
    let mut other = request(Method::GET, "", None);
    *other.uri_mut() = "https://api.vpsie.com/api/v2/plans/category"
        .parse()
        .unwrap();
    assert_eq!(caller.send(other).await.unwrap().status(), StatusCode::OK);
}

#[tokio::test(start_paused = true)]
async fn unknown_routes_say_not_found() {
    let caller = caller();
    for (method, path) in [
        (Method::GET, "/offerings"),
        (Method::PUT, "/vm"),
        (Method::GET, ""),
    ] {
        let (status, answer) = caller.call(method, path, None).await;
        assert_eq!(
            (status, &answer["message"]),
            (StatusCode::NOT_FOUND, &json!("Not found"))
        );
    }
    let mut elsewhere = request(Method::GET, "", None);
    *elsewhere.uri_mut() = "https://api.vpsie.com/v2/k8s/cluster/all".parse().unwrap();
    assert_eq!(
        caller.send(elsewhere).await.unwrap().status(),
        StatusCode::NOT_FOUND
    );
}

#[test]
fn a_scenario_names_only_what_matters_to_it() {
    let config: Config = serde_json::from_value(json!({
        "clusters": [{"name": "FRA-Kubernetes-0001", "workerCap": 5}],
        "datacenters": [{"sizes": [
            {"id": 7, "name": "tiny", "identifier": "u", "cpu": 1, "ramMb": 1024, "diskGb": 20,
             "price": 4.99, "hourlyPrice": "0.0068"},
        ]}],
        "timings": {"queued": {"low": "1s", "high": "2m"}},
        "rateLimit": {"perMinute": 100, "retryAfter": "missing"},
        "faults": [{"route": "add-worker", "nth": 2, "fault": "lostResponseAfterCommit"}],
    }))
    .unwrap();
    assert_eq!(config.clusters[0].worker_cap, Some(5));
    let size = &config.datacenters[0].sizes[0];
    assert_eq!(size.price, "4.99".parse::<Decimal>().unwrap());
    assert_eq!(size.per_hour(), "0.0068".parse::<Decimal>().unwrap());
    let text = serde_json::to_string(&config).unwrap();
    let again: Config = serde_json::from_str(&text).unwrap();
    assert_eq!(serde_json::to_string(&again).unwrap(), text);
    assert!(serde_json::from_value::<Config>(json!({"cluster": []})).is_err());
}

#[test]
fn a_scenario_is_written_in_yaml_by_hand() {
    let text = "
clusters:
  - name: FRA-Kubernetes-0001
    groups: [{name: base, size: 101, workers: 2}]
datacenters:
  - name: FRA
    sizes:
      - {id: 101, name: a, identifier: u, cpu: 2, ramMb: 4096, diskGb: 80, price: 24}
      - {id: 102, name: b, identifier: v, cpu: 2, ramMb: 4096, diskGb: 80, price: 24.5}
      - {id: 103, name: c, identifier: w, cpu: 2, ramMb: 4096, diskGb: 80, price: '24.50'}
login: {lifetime: 10m, encoding: form}
staleness: {lag: {low: 0s, high: 30s}, monotonic: false}
faults:
  - {route: add-worker, nth: 2, fault: lostResponseAfterCommit}
  - {route: reads, times: null, probability: 0.05, fault: html500}
  - {route: '*', fault: {clockSkew: {by: -5m}}}
  - {route: add-worker, fault: {rateLimited: {retryAfter: {seconds: 7}}}}
  - {route: get-cluster, fault: {rateLimited: {}}}
  - {route: delete-worker, times: 3, fault: {slow: {by: 1m 30s}}}
";
    let config: Config = serde_saphyr::from_str(text).unwrap();
    assert_eq!(config.faults.len(), 6);
    let prices = config.datacenters[0].sizes.iter();
    let prices: Vec<_> = prices.map(|size| size.price.to_string()).collect();
    assert_eq!(prices, ["24", "24.5", "24.50"]);
    assert_eq!(config.login.lifetime.as_secs(), 600);
    assert!(serde_saphyr::from_str::<Config>("faults: [{route: add, fault: truncated}]").is_err());
}
