//! Who asks: the exchange, its renewal, its variants, and the change of credentials.

use std::time::Duration;

use cloud::{
    CloudProvider as _, CreateOutcome, ErrorClass,
    contract::{Disturbance, Harness as _, Target},
};
use futures::future::join_all;
use runtime::Clock;
use vpsie_sim::{Config, Credentials as Accepted, Fault, LoginEncoding, LoginShape, Route};

use crate::harness::{Cloud, InProcess, Login, a_call, credentials, epoch, quick};

#[tokio::test(start_paused = true)]
async fn without_credentials_every_call_is_an_auth_error_and_nothing_is_sent() {
    let clock = Clock::starting_at(epoch(), 1.0);
    let cloud = Cloud::without_credentials(quick(), Login::StaticToken, clock, |sim| {
        std::sync::Arc::new(InProcess(sim))
    });
    let error = cloud.observe().await.unwrap_err();
    assert_eq!(error.class, ErrorClass::Auth);
    assert!(error.message.contains("no credentials"), "{error}");
    assert!(cloud.sim.journal().is_empty());
}

#[tokio::test(start_paused = true)]
async fn callers_at_once_share_one_login() {
    let cloud = Cloud::new(quick(), Login::Client);
    let call = a_call();
    let answers = join_all((0..20).map(|_| cloud.provider.health(&call))).await;
    assert!(answers.iter().all(Result::is_ok));
    assert_eq!(cloud.asked(Route::Login), 1);
}

#[tokio::test(start_paused = true)]
async fn a_token_is_renewed_before_it_ends_and_not_sooner() {
    let cloud = Cloud::new(quick(), Login::Client);
    let call = a_call();
    cloud.provider.health(&call).await.unwrap();
    cloud.clock.sleep(Duration::from_mins(54)).await;
    cloud.provider.health(&call).await.unwrap();
    assert_eq!(cloud.asked(Route::Login), 1);
    cloud.clock.sleep(Duration::from_mins(2)).await;
    cloud.provider.health(&call).await.unwrap();
    assert_eq!(cloud.asked(Route::Login), 2);
    // No request ever met an ended token.
    assert!(
        cloud
            .sim
            .journal()
            .iter()
            .all(|request| request.status == Some(200))
    );
}

#[tokio::test(start_paused = true)]
async fn every_encoding_and_shape_of_the_exchange_is_spoken_and_the_encoding_remembered() {
    for encoding in [
        LoginEncoding::Json,
        LoginEncoding::Form,
        LoginEncoding::Both,
    ] {
        for shape in [LoginShape::AccessToken, LoginShape::Token] {
            for nested in [false, true] {
                let mut config = quick();
                config.login.encoding = encoding;
                config.login.shape = shape;
                config.login.nested = nested;
                let cloud = Cloud::new(config, Login::Client);
                let call = a_call();
                let variant = format!("{encoding:?} {shape:?} {nested}");
                cloud.provider.health(&call).await.expect(&variant);
                let logins = cloud.asked(Route::Login);
                cloud.sim.expire_tokens();
                cloud.provider.health(&call).await.expect(&variant);
                assert_eq!(cloud.asked(Route::Login), logins + 1, "{variant}");
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_token_that_ends_during_a_create_is_renewed_and_one_machine_is_bought() {
    let cloud = Cloud::new(quick(), Login::Client);
    let pool = cloud.pool("101").await;
    cloud.strike(Route::AddWorker, Fault::TokenExpiresNow, 1);
    let (call, intent) = (a_call(), cloud.intent(&pool));
    let outcome = cloud.provider.create(&call, &intent).await;
    assert!(matches!(outcome, CreateOutcome::Accepted(_)), "{outcome:?}");
    // The refused one, which bought nothing, and the one after the renewal.
    let requests: Vec<_> = cloud
        .sim
        .journal()
        .into_iter()
        .filter(|request| request.route == Route::AddWorker)
        .map(|request| (request.status, request.committed.is_empty()))
        .collect();
    assert_eq!(requests, [(Some(401), true), (Some(200), false)]);
    assert_eq!(cloud.asked(Route::Login), 2);
}

#[tokio::test(start_paused = true)]
async fn a_token_that_is_refused_again_after_its_renewal_is_an_auth_error() {
    let cloud = Cloud::new(quick(), Login::Client);
    cloud.strike(Route::GetCluster, Fault::Unauthorized, 9);
    let error = cloud.observe().await.unwrap_err();
    assert_eq!(error.class, ErrorClass::Auth);
    assert_eq!(cloud.asked(Route::GetCluster), 2);
    assert_eq!(cloud.asked(Route::Login), 2);
}

#[tokio::test(start_paused = true)]
async fn callers_whose_token_ended_together_share_one_renewal() {
    let cloud = Cloud::new(quick(), Login::Client);
    let call = a_call();
    cloud.provider.health(&call).await.unwrap();
    cloud.sim.expire_tokens();
    let answers = join_all((0..20).map(|_| cloud.provider.health(&call))).await;
    assert!(answers.iter().all(Result::is_ok));
    assert_eq!(cloud.asked(Route::Login), 2);
}

#[tokio::test(start_paused = true)]
async fn refused_credentials_do_not_cause_a_storm_of_logins() {
    let cloud = Cloud::new(quick(), Login::Client);
    cloud.sim.revoke_credentials();
    let call = a_call();
    for _ in 0..10 {
        let error = cloud.provider.health(&call).await.unwrap_err();
        assert_eq!(error.class, ErrorClass::Auth);
    }
    // Both encodings once.
    assert_eq!(cloud.asked(Route::Login), 2);
    cloud.clock.sleep(Duration::from_secs(16)).await;
    assert!(cloud.provider.health(&call).await.is_err());
    assert_eq!(cloud.asked(Route::Login), 4);
}

#[tokio::test(start_paused = true)]
async fn changed_credentials_are_used_from_the_next_request_on() {
    for login in [Login::StaticToken, Login::Client] {
        let cloud = Cloud::new(quick(), login);
        let call = a_call();
        cloud.provider.health(&call).await.unwrap();
        let rotated = Accepted {
            token: Some("another-token".into()),
            client_id: Some("another-client".into()),
            client_secret: Some("another-secret".into()),
            ..Accepted::default()
        };
        cloud.sim.rotate_credentials(rotated.clone());
        let error = cloud.provider.health(&call).await.unwrap_err();
        assert_eq!(error.class, ErrorClass::Auth);
        let config = Config {
            credentials: rotated,
            ..quick()
        };
        let changed = credentials(&config, login);
        cloud.provider.set_credentials(Some(&changed));
        cloud.provider.health(&call).await.unwrap();
        cloud.provider.set_credentials(None);
        assert!(cloud.provider.health(&call).await.is_err());
    }
}

#[tokio::test(start_paused = true)]
async fn the_same_credentials_again_keep_the_token() {
    let cloud = Cloud::new(quick(), Login::Client);
    let call = a_call();
    cloud.provider.health(&call).await.unwrap();
    let same = credentials(&cloud.config, Login::Client);
    cloud.provider.set_credentials(Some(&same));
    cloud.provider.health(&call).await.unwrap();
    assert_eq!(cloud.asked(Route::Login), 1);
}

/// Collects what is logged.
#[derive(Clone, Default)]
struct Lines(std::sync::Arc<std::sync::Mutex<Vec<u8>>>);

impl std::io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn no_log_line_carries_a_secret_even_if_the_cloud_repeats_it() {
    for login in [Login::StaticToken, Login::Bearer, Login::Client] {
        let lines = Lines::default();
        let writer = lines.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_max_level(tracing::Level::TRACE)
            .with_writer(move || writer.clone())
            .finish();
        let guard = tracing::subscriber::set_default(subscriber);
        let cloud = Cloud::new(quick(), login);
        let (call, pool) = (a_call(), cloud.pool("101").await);
        cloud.disturb(Target::Everything, Disturbance::EchoesCredentials, 6);
        let outcome = cloud.provider.create(&call, &cloud.intent(&pool)).await;
        let observed = cloud.observe().await;
        tracing::info!(?outcome, ?observed, provider = ?cloud.provider, "all of it");
        let same = credentials(&cloud.config, login);
        tracing::info!(credentials = ?same, "the credentials");
        drop(guard);
        let logged = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
        assert!(logged.contains("the cloud refused or failed"), "{logged}");
        assert!(logged.contains("[redacted]"));
        for secret in cloud.secrets() {
            assert!(!logged.contains(&secret), "{login:?}");
        }
        assert!(!logged.contains("Bearer "));
    }
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_is_ahead_is_measured_and_does_not_shorten_tokens() {
    let cloud = Cloud::new(quick(), Login::Client);
    let ahead = jiff::SignedDuration::from_mins(20);
    cloud.strike(vpsie_sim::Match::Any, Fault::ClockSkew { by: ahead }, 50);
    let call = a_call();
    let health = cloud.provider.health(&call).await.unwrap();
    assert_eq!(health.clock_skew_seconds, Some(20 * 60));
    cloud.clock.sleep(Duration::from_mins(54)).await;
    cloud.provider.health(&call).await.unwrap();
    assert_eq!(cloud.asked(Route::Login), 1);
}
