//! The same over sockets: a real server on this machine, and servers that misbehave below HTTP.

use std::{sync::Arc, time::Duration};

use cloud::{
    Call, CloudProvider as _, CreateOutcome, ErrorClass,
    contract::{Harness as _, Verdict, cases},
};
use runtime::{Clock, Randomness, Tasks};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};
use vpsie::{
    Allowed, AuthMode, Credentials, Options, ReqwestTransport, Silent, Transport as _,
    TransportError, Vpsie,
};

use crate::harness::{Cloud, Login, epoch, quick, secret};

/// How much faster than the wall the clock runs.
const SPEED: f64 = 40.0;

async fn over_sockets(login: Login) -> Cloud {
    let clock = Clock::starting_at(epoch(), SPEED);
    let cloud = Cloud::without_credentials(quick(), login, clock, |_| {
        Arc::new(ReqwestTransport::new().unwrap())
    });
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let sim = cloud.sim.clone();
    cloud
        .tasks
        .spawn("server", async move { sim.serve(listener).await });
    let credentials = at(port, &secret(&cloud.config, login));
    cloud.provider.set_credentials(Some(&credentials));
    cloud
}

fn at(port: u16, secret: &std::collections::BTreeMap<String, Vec<u8>>) -> Credentials {
    let mut secret = secret.clone();
    let url = format!("http://127.0.0.1:{port}/apps/v2");
    secret.insert("url".into(), url.into_bytes());
    let allowed = Allowed {
        hosts: vec![],
        loopback_http: true,
    };
    Credentials::from_secret(&secret, AuthMode::Auto, &allowed).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_contract_holds_over_sockets() {
    // Not those that wait for a day.
    for name in [
        "an_undisturbed_observation_is_complete_sorted_and_without_duplicates",
        "an_observation_survives_one_passing_failure",
        "a_truncated_answer_is_never_a_complete_observation",
        "a_create_buys_one_machine_with_one_request",
        "a_create_whose_answer_is_lost_is_unknown_and_never_sent_again",
        "a_create_whose_connection_breaks_is_unknown_and_never_sent_again",
        "a_create_whose_answer_is_cut_is_not_taken_for_refused",
        "a_create_ends_within_its_timeout_and_is_then_unknown",
        "a_delete_removes_exactly_the_machine_named",
        "no_error_carries_a_secret",
    ] {
        let case = cases().into_iter().find(|case| case.name == name).unwrap();
        let cloud = over_sockets(Login::Client).await;
        assert_eq!(case.run(&cloud).await, Ok(Verdict::Held));
        cloud.tasks.abort();
    }
}

/// A server that sends `answer` to whoever connects.
async fn raw(answer: Vec<u8>) -> (u16, Tasks) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let tasks = Tasks::new();
    tasks.spawn("raw server", async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut head = [0; 4096];
            let _ = stream.read(&mut head).await;
            // The client may hang up in the middle; that is what is tested.
            let _ = stream.write_all(&answer).await;
        }
    });
    (port, tasks)
}

fn request(port: u16) -> http::Request<bytes::Bytes> {
    http::Request::get(format!("http://127.0.0.1:{port}/apps/v2/profile/user"))
        .header("vpsie-auth", "hush")
        .body(bytes::Bytes::new())
        .unwrap()
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let answer =
        b"HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n";
    let (port, _tasks) = raw(answer.to_vec()).await;
    let transport = ReqwestTransport::new().unwrap();
    let response = transport.send(request(port)).await.unwrap();
    assert_eq!(response.status(), 302);
}

#[tokio::test]
async fn a_body_beyond_ten_mebibytes_is_refused_while_it_is_read() {
    let mut answer = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n".to_vec();
    for _ in 0..11 {
        answer.extend_from_slice(b"100000\r\n");
        answer.extend_from_slice(&vec![b' '; 1 << 20]);
        answer.extend_from_slice(b"\r\n");
    }
    // No end: only the limit can end it.
    let (port, _tasks) = raw(answer).await;
    let transport = ReqwestTransport::new().unwrap();
    assert_eq!(
        transport.send(request(port)).await.unwrap_err(),
        TransportError::TooLarge
    );
}

#[tokio::test]
async fn credentials_never_leave_this_machine_over_plain_http() {
    let transport = ReqwestTransport::new().unwrap();
    for host in ["api.vpsie.com", "10.0.0.1", "127.0.0.1.example.com"] {
        let mut request = request(1);
        *request.uri_mut() = format!("http://{host}/apps/v2/vm").parse().unwrap();
        let error = transport.send(request).await.unwrap_err();
        assert!(error.to_string().contains("plain HTTP"), "{error}");
    }
}

#[tokio::test]
async fn a_create_without_a_connection_is_refused_because_nothing_was_sent() {
    // A port that was free a moment ago and is closed again.
    let port = {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        listener.local_addr().unwrap().port()
    };
    let provider = Vpsie::new(
        Options::default(),
        Arc::new(ReqwestTransport::new().unwrap()),
        Clock::system(),
        Randomness::seeded(1),
        Arc::new(Silent),
    );
    let credentials = at(port, &secret(&quick(), Login::StaticToken));
    provider.set_credentials(Some(&credentials));
    let call = Call {
        request_id: "no-connection".into(),
        timeout: Duration::from_secs(10),
        permit: cloud::Permit::default(),
    };
    let intent = cloud::CreateIntent {
        operation: "operation".into(),
        scope: cloud::Scope::Cluster("cluster".into()),
        pool: model::PoolId(1),
        size: "101".into(),
        hostname: None,
        user_data: None,
        settings: std::collections::BTreeMap::new(),
    };
    let outcome = provider.create(&call, &intent).await;
    assert!(
        matches!(&outcome, CreateOutcome::Rejected(error) if error.class == ErrorClass::Transient),
        "{outcome:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_seen_over_sockets_is_what_there_is() {
    let cloud = over_sockets(Login::StaticToken).await;
    let pool = cloud.pool("102").await;
    assert!(cloud.human_adds(pool.id));
    cloud.clock.sleep(Duration::from_mins(1)).await;
    let seen = cloud.observe().await.unwrap();
    assert_eq!(seen.instances.len(), cloud.machines().len());
    cloud.tasks.abort();
}
