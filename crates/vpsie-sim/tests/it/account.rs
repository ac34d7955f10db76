use http::{HeaderMap, Method, Request, StatusCode};
use jiff::Timestamp;
use serde_json::{Value, json};
use vpsie_sim::{Credentials, Fault, LoginEncoding, LoginShape, RateLimit, RetryAfter, Route};

use crate::client::{Caller, TOKEN, caller, caller_with, request};

const URL: &str = "https://api.vpsie.com/apps/v2";

async fn login(caller: &Caller, content_type: &str, body: &str) -> (StatusCode, Value) {
    let request = Request::post(format!("{URL}/auth/from/api"))
        .header("content-type", content_type)
        .body(body.to_owned().into())
        .unwrap();
    let response = caller.send(request).await.unwrap();
    (
        response.status(),
        serde_json::from_slice(response.body()).unwrap(),
    )
}

async fn form(caller: &Caller) -> (StatusCode, Value) {
    let body = "clientId=simulated-client&clientSecret=simulated%2Dclient-secret";
    login(caller, "application/x-www-form-urlencoded", body).await
}

async fn json_login(caller: &Caller) -> (StatusCode, Value) {
    let body = r#"{"clientId":"simulated-client","clientSecret":"simulated-client-secret"}"#;
    login(caller, "application/json", body).await
}

/// The status of a read with these headers.
async fn read(caller: &Caller, headers: &[(&str, &str)]) -> StatusCode {
    let mut request = Request::get(format!("{URL}/profile/user"));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(bytes::Bytes::new()).unwrap();
    caller.send(request).await.unwrap().status()
}

#[tokio::test(start_paused = true)]
async fn the_static_token_is_taken_in_either_header() {
    let caller = caller();
    assert_eq!(
        read(&caller, &[("Vpsie-Auth", TOKEN)]).await,
        StatusCode::OK
    );
    let bearer = format!("Bearer {TOKEN}");
    assert_eq!(
        read(&caller, &[("Authorization", &bearer)]).await,
        StatusCode::OK
    );
    for wrong in [
        ("Vpsie-Auth", "x"),
        ("Authorization", "Bearer x"),
        ("Authorization", TOKEN),
    ] {
        assert_eq!(read(&caller, &[wrong]).await, StatusCode::UNAUTHORIZED);
    }
    let mut anonymous = request(Method::GET, "/profile/user", None);
    *anonymous.headers_mut() = HeaderMap::new();
    let response = caller.send(anonymous).await.unwrap();
    let body: Value = serde_json::from_slice(response.body()).unwrap();
    assert_eq!(
        body,
        json!({"error": true, "code": 401, "message": "Please authenticate"})
    );
}

#[tokio::test(start_paused = true)]
async fn a_login_gives_a_token_that_ends_when_it_says() {
    let caller = caller();
    let (_, answer) = form(&caller).await;
    let token = answer["accessToken"]["token"].as_str().unwrap();
    let expires: Timestamp = answer["accessToken"]["expires"]
        .as_str()
        .unwrap()
        .parse()
        .unwrap();
    assert_eq!((expires - caller.clock.now()).get_seconds(), 3600);
    let bearer = format!("Bearer {token}");
    caller.pass(3599).await;
    assert_eq!(
        read(&caller, &[("Authorization", &bearer)]).await,
        StatusCode::OK
    );
    caller.pass(1).await;
    assert_eq!(
        read(&caller, &[("Authorization", &bearer)]).await,
        StatusCode::UNAUTHORIZED
    );
}

#[tokio::test(start_paused = true)]
async fn the_login_speaks_the_encodings_and_shapes_it_is_told_to() {
    for (encoding, form_works, json_works) in [
        (LoginEncoding::Form, true, false),
        (LoginEncoding::Json, false, true),
        (LoginEncoding::Both, true, true),
    ] {
        let caller = caller_with(|config| config.login.encoding = encoding);
        assert_eq!(form(&caller).await.0.is_success(), form_works);
        assert_eq!(json_login(&caller).await.0.is_success(), json_works);
    }
    for (shape, nested, path) in [
        (LoginShape::AccessToken, false, "/accessToken/token"),
        (LoginShape::AccessToken, true, "/data/accessToken/token"),
        (LoginShape::Token, false, "/token/access/token"),
        (LoginShape::Token, true, "/data/token/access/token"),
    ] {
        let caller = caller_with(|config| {
            config.login.shape = shape;
            config.login.nested = nested;
        });
        let (_, answer) = json_login(&caller).await;
        assert!(
            answer.pointer(path).is_some_and(Value::is_string),
            "{answer}"
        );
        assert_eq!(answer["error"], false);
        caller.fault(Route::Login, Fault::AuthShapeChange);
        let (_, changed) = json_login(&caller).await;
        assert!(changed.pointer(path).is_none(), "{changed}");
        let (_, back) = json_login(&caller).await;
        assert!(back.pointer(path).is_some());
    }
}

#[tokio::test(start_paused = true)]
async fn a_wrong_secret_gets_no_token() {
    let caller = caller();
    let body = r#"{"clientId":"simulated-client","clientSecret":"guess"}"#;
    assert_eq!(
        login(&caller, "application/json", body).await.0,
        StatusCode::UNAUTHORIZED
    );
    assert_eq!(
        login(&caller, "application/json", "{").await.0,
        StatusCode::UNAUTHORIZED
    );
    assert_eq!(
        login(&caller, "text/plain", body).await.0,
        StatusCode::UNAUTHORIZED
    );
}

#[tokio::test(start_paused = true)]
async fn an_account_without_a_client_id_takes_no_login_without_one() {
    let caller = caller_with(|config| {
        config.credentials.client_id = None;
        config.credentials.client_secret = None;
    });
    assert_eq!(
        login(&caller, "application/json", "{}").await.0,
        StatusCode::UNAUTHORIZED
    );
}

#[tokio::test(start_paused = true)]
async fn tokens_expire_on_demand_and_credentials_rotate() {
    let caller = caller();
    let (_, answer) = form(&caller).await;
    let bearer = format!(
        "Bearer {}",
        answer["accessToken"]["token"].as_str().unwrap()
    );
    caller.sim.expire_tokens();
    assert_eq!(
        read(&caller, &[("Authorization", &bearer)]).await,
        StatusCode::UNAUTHORIZED
    );
    assert_eq!(
        read(&caller, &[("Vpsie-Auth", TOKEN)]).await,
        StatusCode::OK
    );

    caller.sim.rotate_credentials(Credentials {
        token: Some("new".into()),
        ..Credentials::default()
    });
    assert_eq!(
        read(&caller, &[("Vpsie-Auth", TOKEN)]).await,
        StatusCode::UNAUTHORIZED
    );
    assert_eq!(
        read(&caller, &[("Vpsie-Auth", "new")]).await,
        StatusCode::OK
    );
    caller.sim.revoke_credentials();
    assert_eq!(
        read(&caller, &[("Vpsie-Auth", "new")]).await,
        StatusCode::UNAUTHORIZED
    );
    assert_eq!(form(&caller).await.0, StatusCode::UNAUTHORIZED);
}

#[tokio::test(start_paused = true)]
async fn a_token_can_expire_under_a_request() {
    let caller = caller();
    let (_, answer) = form(&caller).await;
    let bearer = format!(
        "Bearer {}",
        answer["accessToken"]["token"].as_str().unwrap()
    );
    caller.fault(Route::GetProfile, Fault::TokenExpiresNow);
    assert_eq!(
        read(&caller, &[("Authorization", &bearer)]).await,
        StatusCode::UNAUTHORIZED
    );
    assert_eq!(
        read(&caller, &[("Authorization", &bearer)]).await,
        StatusCode::UNAUTHORIZED
    );
    // Once, with the token unharmed.
    caller.fault(Route::GetProfile, Fault::Unauthorized);
    assert_eq!(
        read(&caller, &[("Vpsie-Auth", TOKEN)]).await,
        StatusCode::UNAUTHORIZED
    );
    assert_eq!(
        read(&caller, &[("Vpsie-Auth", TOKEN)]).await,
        StatusCode::OK
    );
}

#[tokio::test(start_paused = true)]
async fn more_requests_than_the_limit_in_any_minute_are_refused() {
    let caller = caller_with(|config| {
        config.rate_limit = Some(RateLimit {
            per_minute: 3,
            retry_after: RetryAfter::Seconds(0),
        });
    });
    for _ in 0..3 {
        caller.pass(10).await;
        assert_eq!(
            read(&caller, &[("Vpsie-Auth", TOKEN)]).await,
            StatusCode::OK
        );
    }
    caller.pass(5).await;
    let refused = caller
        .send(request(Method::GET, "/profile/user", None))
        .await
        .unwrap();
    assert_eq!(refused.status(), StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(refused.headers()["retry-after"], "35");
    caller.pass(35).await;
    assert_eq!(
        read(&caller, &[("Vpsie-Auth", TOKEN)]).await,
        StatusCode::OK
    );
    assert_eq!(
        read(&caller, &[("Vpsie-Auth", TOKEN)]).await,
        StatusCode::TOO_MANY_REQUESTS
    );
}

#[tokio::test(start_paused = true)]
async fn answers_carry_the_date_of_the_clock_and_the_callers_request_id() {
    let caller = caller();
    caller.pass(90).await;
    let mut asked = request(Method::GET, "/profile/user", None);
    asked
        .headers_mut()
        .insert("x-request-id", "r-17".parse().unwrap());
    let response = caller.send(asked).await.unwrap();
    assert_eq!(response.headers()["date"], "Thu, 01 Jan 2026 00:01:30 GMT");
    assert_eq!(response.headers()["x-request-id"], "r-17");
    let journal = caller.sim.journal();
    assert_eq!(journal[0].request_id.as_deref(), Some("r-17"));
    assert_eq!(
        (journal[0].actor.as_str(), journal[0].status),
        ("test", Some(200))
    );
}

#[tokio::test(start_paused = true)]
async fn no_secret_is_in_the_trace_or_in_debug_output() {
    let caller = caller();
    form(&caller).await;
    caller.get("/vm").await;
    let seen = format!(
        "{:?}{:?}{:?}",
        caller.sim.trace(),
        caller.sim.journal(),
        Credentials::default()
    );
    for secret in [
        TOKEN,
        "simulated-client-secret",
        "simulated-account-password",
    ] {
        assert!(!seen.contains(secret), "{secret}");
    }
}
