//! Following the Secret: a changed one is in force within half a minute, without a restart.
//!
//! Read by name, never listed or watched cluster-wide: the process needs `get` on the named
//! Secrets only. A Secret that is missing or malformed takes the credentials away and says so in
//! an Event; the process goes on and picks up the mended one.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use controller::{
    cloud_state::CloudState,
    controllers::groups::Defaults,
    events::{About, Events},
    leader::Leadership,
    pulse::Beat,
};
use k8s_openapi::api::core::v1::Secret;
use kube::{Api, Client};
use model::ClusterId;
use runtime::Clock;
use runtime::watch;
use vpsie::{Allowed, AuthMode, Credentials, CredentialsError, Vpsie};

use crate::args::{self, RunArgs};

/// How often the Secret is read.
const PERIOD: Duration = Duration::from_secs(30);
/// While there are no usable credentials.
const IMPATIENT: Duration = Duration::from_secs(5);
/// No read takes longer.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Follows the Secret.
pub(crate) struct Follower {
    pub(crate) client: Client,
    pub(crate) clock: Clock,
    pub(crate) provider: Arc<Vpsie>,
    /// Asks again as soon as there are credentials.
    pub(crate) cloud: CloudState,
    pub(crate) events: Events,
    pub(crate) defaults: watch::Sender<Defaults>,
    pub(crate) args: RunArgs,
    /// Only the leader's Events are written: what is wrong is told once this replica leads.
    pub(crate) leadership: watch::Receiver<Leadership>,
    pub(crate) beat: Beat,
}

impl Follower {
    /// Runs until dropped.
    pub(crate) async fn run(self) {
        let mut present: Option<Credentials> = None;
        let (mut logged, mut told) = (String::new(), String::new());
        loop {
            match self.read().await {
                Ok(credentials) => {
                    if present.as_ref() != Some(&credentials) {
                        tracing::info!("credentials of the cloud are in force");
                        self.provider.set_credentials(Some(&credentials));
                        self.set_defaults(credentials.cluster.as_deref());
                        self.cloud.note_credentials(true);
                        present = Some(credentials);
                    }
                    logged.clear();
                    told.clear();
                }
                // An API server that does not answer says nothing about the Secret.
                Err(ReadError::Unreachable(error)) => {
                    tracing::warn!(%error, "the Secret could not be read");
                }
                Err(error) => {
                    if present.take().is_some() {
                        self.provider.set_credentials(None);
                        self.cloud.note_credentials(false);
                    }
                    let text = error.to_string();
                    if logged != text {
                        tracing::error!(error = text, "no usable credentials of the cloud");
                        logged.clone_from(&text);
                    }
                    let leads = matches!(&*self.leadership.borrow(), Leadership::Leading(_));
                    if leads && told != text {
                        self.events
                            .warning(self.about(), "CredentialsInvalid", text.clone());
                        told = text;
                    }
                }
            }
            let pause = if present.is_some() { PERIOD } else { IMPATIENT };
            self.beat.waiting(self.clock.sleep(pause)).await;
        }
    }

    fn about(&self) -> About {
        About {
            api_version: "v1".into(),
            kind: "Secret".into(),
            namespace: self.args.vpsie_secret_namespace.clone(),
            name: self.args.vpsie_secret_name.clone(),
            uid: String::new(),
        }
    }

    fn set_defaults(&self, cluster: Option<&str>) {
        let flag = self.args.resource_identifier.as_str();
        let cluster = Some(flag).filter(|flag| !flag.is_empty()).or(cluster);
        self.defaults.send_replace(Defaults {
            cluster: cluster.map(ClusterId::new),
        });
    }

    async fn read(&self) -> Result<Credentials, ReadError> {
        let namespace = &self.args.vpsie_secret_namespace;
        let api: Api<Secret> = Api::namespaced(self.client.clone(), namespace);
        for name in [
            &self.args.vpsie_secret_name,
            &self.args.vpsie_secret_fallback,
        ] {
            let found = match self.clock.timeout(TIMEOUT, api.get_opt(name)).await {
                Ok(Ok(found)) => found,
                Ok(Err(error)) => return Err(ReadError::Unreachable(error.to_string())),
                Err(elapsed) => return Err(ReadError::Unreachable(elapsed.to_string())),
            };
            let Some(secret) = found else { continue };
            let data: BTreeMap<String, Vec<u8>> = secret
                .data
                .unwrap_or_default()
                .into_iter()
                .map(|(key, value)| (key, value.0))
                .collect();
            return Credentials::from_secret(&data, self.mode(), &self.allowed()).map_err(
                |source| ReadError::Invalid {
                    name: format!("{namespace}/{name}"),
                    source,
                },
            );
        }
        Err(ReadError::Missing(format!(
            "{namespace}/{}",
            self.args.vpsie_secret_name
        )))
    }

    fn mode(&self) -> AuthMode {
        match self.args.vpsie_auth_mode {
            args::AuthMode::Auto => AuthMode::Auto,
            args::AuthMode::VpsieAuth => AuthMode::VpsieAuth,
            args::AuthMode::Bearer => AuthMode::Bearer,
            args::AuthMode::ClientCredentials => AuthMode::ClientCredentials,
        }
    }

    fn allowed(&self) -> Allowed {
        Allowed {
            hosts: self.args.vpsie_allowed_hosts.clone(),
            loopback_http: self.args.vpsie_allow_loopback_http,
        }
    }
}

#[derive(Debug, thiserror::Error)]
enum ReadError {
    #[error("Secret {0} does not exist")]
    Missing(String),
    #[error("Secret {name}: {source}")]
    Invalid {
        name: String,
        source: CredentialsError,
    },
    #[error("the Secret could not be read: {0}")]
    Unreachable(String),
}
