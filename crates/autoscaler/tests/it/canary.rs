//! No secret of the account is ever in a log line, an Event, an object or a metric.

use std::{
    io,
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response};
use serde_json::{Value, json};
use sim::WorldConfig;
use tracing_subscriber::fmt::MakeWriter;
use vpsie::{Transport, TransportError};
use vpsie_autoscaler::{Replica, Seams, demo::InProcess};
use vpsie_sim::{Fault, Match, Rule};

use crate::harness::{Harness, all_running, settled, virtually};

/// Everything that was logged.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

/// Remembers what requests proved themselves with: the tokens the cloud has handed out.
struct Overheard {
    inner: InProcess,
    tokens: Arc<Mutex<Vec<String>>>,
}

impl Transport for Overheard {
    fn send(
        &self,
        request: Request<Bytes>,
    ) -> vpsie::BoxFuture<'_, Result<Response<Bytes>, TransportError>> {
        for header in ["authorization", "vpsie-auth"] {
            if let Some(value) = request.headers().get(header) {
                let text = value.to_str().unwrap();
                let token = text.strip_prefix("Bearer ").unwrap_or(text).to_owned();
                let mut tokens = self.tokens.lock().unwrap();
                if !tokens.contains(&token) {
                    tokens.push(token);
                }
            }
        }
        self.inner.send(request)
    }
}

const TOKEN: &str = "canary-static-token-7f3a";
const ID: &str = "canary-client-id-51c9";
const SECRET: &str = "canary-client-secret-e04d";
const PASSWORD: &str = "canary-account-password-88b2";

/// A run in which tokens expire, are refused and revoked, with `secret` in the Secret.
fn keeps_its_secrets(seed: u64, secret: Value, several_tokens: bool) {
    virtually(move || async move {
        let log = Log::default();
        let subscriber = tracing_subscriber::fmt()
            .with_max_level(tracing::Level::TRACE)
            .with_writer(log.clone())
            .finish();
        let logging = tracing::subscriber::set_default(subscriber);

        let mut config = WorldConfig::default();
        config.cloud.credentials = vpsie_sim::Credentials {
            token: Some(TOKEN.into()),
            client_id: Some(ID.into()),
            client_secret: Some(SECRET.into()),
            account_password: PASSWORD.into(),
        };
        config.cloud.login.lifetime = Duration::from_mins(10);
        let mut data: std::collections::BTreeMap<String, String> =
            serde_json::from_value(secret).unwrap();
        data.insert(
            "resourceIdentifier".into(),
            config.cloud.clusters[0].identifier.clone(),
        );
        config.secret = Some(data);
        let harness = Harness::with(seed, config, &[]).await;
        let cloud = &harness.world.cloud;
        let good = cloud.config().credentials;
        harness.group("general", 1, 4, json!({})).await;
        let tokens: Arc<Mutex<Vec<String>>> = Arc::default();
        let replica = Replica::start(
            &harness.args,
            Seams {
                clock: harness.clock.clone(),
                random: harness.random.fork("replica"),
                client: harness.world.kube.client("vpsie-autoscaler", "kube-system"),
                transport: Arc::new(Overheard {
                    inner: InProcess::new(cloud.clone()),
                    tokens: Arc::clone(&tokens),
                }),
            },
            None,
        );
        harness.deployment("web", 3, "800m", None).await;
        harness.wait(20, "all pods run", all_running(3)).await;
        for fault in [
            Fault::TokenExpiresNow,
            Fault::Unauthorized,
            Fault::Truncated,
        ] {
            cloud.faults().add(Rule::on(Match::Any, fault).times(5));
            harness.minutes(12).await;
        }
        cloud.revoke_credentials();
        harness.minutes(15).await;
        cloud.rotate_credentials(good);
        harness.world.scale("default", "web", 0).await.unwrap();
        harness.wait(120, "back to the minimum", settled(1)).await;

        let metrics = replica.metrics();
        let mut objects = harness.world.kube.dump();
        let secrets = objects.as_object_mut().unwrap().remove("secrets");
        assert!(secrets.is_some(), "the Secret itself was there");
        let objects = objects.to_string();
        let debug = format!("{replica:?}");
        replica.stop().await;
        drop(logging);
        let log = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
        assert!(
            log.contains("TRACE") && log.contains("vpsie"),
            "the log was caught"
        );
        assert!(objects.contains("Error") && metrics.contains("vpsie"));

        let mut canaries = tokens.lock().unwrap().clone();
        assert_eq!(
            canaries.len() > 2,
            several_tokens,
            "{} tokens",
            canaries.len()
        );
        canaries.extend([TOKEN, ID, SECRET, PASSWORD].map(str::to_owned));
        for canary in canaries {
            for (place, text) in [
                ("log", &log),
                ("objects", &objects),
                ("metrics", &metrics),
                ("debug", &debug),
            ] {
                if let Some(at) = text.find(&canary) {
                    let from = text[..at]
                        .rfind('\n')
                        .map_or(at.saturating_sub(300), |n| n + 1);
                    panic!("{canary} is in the {place}: {}", &text[from..at]);
                }
            }
        }
    });
}

#[test]
fn a_client_secret_and_the_tokens_it_was_exchanged_for_are_nowhere() {
    keeps_its_secrets(221, json!({ "clientId": ID, "clientSecret": SECRET }), true);
}

#[test]
fn a_static_token_is_nowhere() {
    keeps_its_secrets(222, json!({ "token": TOKEN }), false);
}
