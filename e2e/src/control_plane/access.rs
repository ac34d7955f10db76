//! The ways to the API server: kubeconfigs, clients, tokens of ServiceAccounts, and `kubectl` (the
//! one of the same release, so that none needs to be installed).

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use k8s_openapi::api::{
    authentication::v1::{TokenRequest, TokenRequestSpec},
    core::v1::ServiceAccount,
};
use kube::{
    Api, Client, Config,
    api::PostParams,
    config::{KubeConfigOptions, Kubeconfig},
};
use serde_json::{Value, json};

use super::{ControlPlane, ControlPlaneError, POLL, User, file, process};

/// The longest that one `kubectl` may take.
const KUBECTL: Duration = Duration::from_mins(2);

/// What a command printed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Output {
    /// On standard output.
    pub stdout: String,
    /// On standard error: warnings of the API server among others.
    pub stderr: String,
}

pub(super) fn kubeconfig_path(root: &Path, user: &str) -> PathBuf {
    let name = user.replace(':', "-");
    root.join("kubeconfigs").join(format!("{name}.json"))
}

impl ControlPlane {
    /// The address of the API server; stays the same over restarts.
    #[must_use]
    pub fn server(&self) -> String {
        format!("https://127.0.0.1:{}", self.ports.api_server)
    }

    /// The administrator's kubeconfig.
    #[must_use]
    pub fn kubeconfig(&self) -> PathBuf {
        self.kubeconfig_of(User::ADMIN)
    }

    /// The kubeconfig of one of [`super::Settings::users`].
    #[must_use]
    pub fn kubeconfig_of(&self, user: &str) -> PathBuf {
        kubeconfig_path(&self.root, user)
    }

    pub(super) fn write_kubeconfig(
        &self,
        user: &str,
        token: &str,
    ) -> Result<PathBuf, ControlPlaneError> {
        let path = self.kubeconfig_of(user);
        let certificate = self.root.join("kube-apiserver").join("apiserver.crt");
        let config = kubeconfig(&self.server(), Some(&certificate), Some(token));
        fs::write(&path, config.to_string())
            .map_err(|source| file("write", path.clone(), source))?;
        Ok(path)
    }

    /// The administrator's client. Works again by itself after the API server was restarted.
    pub async fn client(&self) -> Result<Client, ControlPlaneError> {
        self.client_with(&self.kubeconfig()).await
    }

    /// The client of one of [`super::Settings::users`].
    pub async fn client_of(&self, user: &str) -> Result<Client, ControlPlaneError> {
        self.client_with(&self.kubeconfig_of(user)).await
    }

    /// A client by kubeconfig. It asks once: what is refused is the caller's to see.
    pub async fn client_with(&self, kubeconfig: &Path) -> Result<Client, ControlPlaneError> {
        let wrong = |reason: String| ControlPlaneError::Kubeconfig {
            path: kubeconfig.to_owned(),
            reason,
        };
        let text = fs::read_to_string(kubeconfig)
            .map_err(|source| file("read", kubeconfig.to_owned(), source))?;
        let value = serde_json::from_str(&text).map_err(|error| wrong(error.to_string()))?;
        client(value).await.map_err(wrong)
    }

    /// A client without a token.
    pub(super) async fn bare_client(
        server: &str,
        certificate: Option<&Path>,
    ) -> Result<Client, String> {
        client(kubeconfig(server, certificate, None)).await
    }

    /// A token of a ServiceAccount, from the TokenRequest API. The server grants no less than ten
    /// minutes.
    pub async fn service_account_token(
        &self,
        namespace: &str,
        name: &str,
        lifetime: Duration,
    ) -> Result<String, ControlPlaneError> {
        let accounts: Api<ServiceAccount> = Api::namespaced(self.client().await?, namespace);
        let request = TokenRequest {
            spec: TokenRequestSpec {
                expiration_seconds: Some(lifetime.as_secs() as i64),
                ..TokenRequestSpec::default()
            },
            ..TokenRequest::default()
        };
        let answer = accounts
            .create_token_request(name, &PostParams::default(), &request)
            .await;
        let answer = answer.map_err(|source| {
            ControlPlaneError::Request(
                format!("get a token of the ServiceAccount {namespace}/{name}"),
                Box::new(source),
            )
        })?;
        Ok(answer.status.map(|status| status.token).unwrap_or_default())
    }

    /// A kubeconfig with a token of a ServiceAccount, valid for a day.
    pub async fn service_account_kubeconfig(
        &self,
        namespace: &str,
        name: &str,
    ) -> Result<PathBuf, ControlPlaneError> {
        let token = self
            .service_account_token(namespace, name, Duration::from_hours(24))
            .await?;
        self.write_kubeconfig(&format!("serviceaccount:{namespace}:{name}"), &token)
    }

    // === kubectl ===

    /// Runs `kubectl` as administrator; an error where it fails.
    pub async fn kubectl(&self, arguments: &[&str]) -> Result<Output, ControlPlaneError> {
        self.kubectl_with(&self.kubeconfig(), arguments).await
    }

    /// Runs `kubectl` with a kubeconfig; an error where it fails.
    pub async fn kubectl_with(
        &self,
        kubeconfig: &Path,
        arguments: &[&str],
    ) -> Result<Output, ControlPlaneError> {
        let flag = format!("--kubeconfig={}", kubeconfig.display());
        let mut all = vec!["kubectl", &flag];
        all.extend_from_slice(arguments);
        self.run("kubectl", &all).await
    }

    /// Applies manifests (YAML) as administrator, on the server's side.
    pub async fn apply(&self, manifests: &str) -> Result<Output, ControlPlaneError> {
        let name = format!("manifests-{}.yaml", self.random.uuid());
        self.write(&name, manifests)?;
        let path = self.root.join(name);
        let path = path.display().to_string();
        self.kubectl(&["apply", "--server-side", "-f", &path]).await
    }

    /// Applies what the product needs in a cluster, from this repository: its definitions, its
    /// ServiceAccount and its rights. Waits until the definitions are served.
    pub async fn install(&self) -> Result<Output, ControlPlaneError> {
        let mut output = self.apply(&api::crds::yaml()).await?;
        let manifests = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/manifests");
        let manifests = format!("--filename={}", manifests.display());
        let rights = self
            .kubectl(&["apply", "--server-side", &manifests])
            .await?;
        output.stdout.push_str(&rights.stdout);
        output.stderr.push_str(&rights.stderr);
        for crd in api::crds::crds() {
            let name = format!("crd/{}", crd.metadata.name.unwrap_or_default());
            self.kubectl(&["wait", "--for=condition=Established", &name])
                .await?;
        }
        Ok(output)
    }

    /// Runs the control plane's binary to its end; an error where it fails.
    pub(super) async fn run(
        &self,
        what: &str,
        arguments: &[&str],
    ) -> Result<Output, ControlPlaneError> {
        let wrong = |source| file("make a file in", self.root.clone(), source);
        let streams = tempfile::Builder::new()
            .prefix(what)
            .tempdir_in(&self.root)
            .map_err(wrong)?;
        let (out, err) = (streams.path().join("out"), streams.path().join("err"));
        let mut child = process::bare(&self.binary, &self.root.join("home"))
            .args(arguments)
            .stdin(std::process::Stdio::null())
            .stdout(process::append(&out)?)
            .stderr(process::append(&err)?)
            .spawn()
            .map_err(|source| ControlPlaneError::Spawn {
                what: what.to_owned(),
                source,
            })?;
        let deadline = self.clock.monotonic() + KUBECTL;
        let status = loop {
            let ended = child
                .try_wait()
                .map_err(|source| ControlPlaneError::Spawn {
                    what: what.to_owned(),
                    source,
                })?;
            if ended.is_some() {
                break ended;
            }
            if self.clock.monotonic() > deadline {
                let _ = child.kill();
                let _ = child.wait();
                break None;
            }
            self.clock.sleep(POLL / 4).await;
        };
        let read = |path: &Path| {
            fs::read(path)
                .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
                .map_err(|source| file("read", path.to_owned(), source))
        };
        let output = Output {
            stdout: read(&out)?,
            stderr: read(&err)?,
        };
        match status {
            Some(status) if status.success() => Ok(output),
            Some(_) => Err(ControlPlaneError::Kubectl {
                command: arguments.get(2..).unwrap_or_default().join(" "),
                stderr: output.stderr.trim().to_owned(),
            }),
            None => Err(ControlPlaneError::NotInTime {
                what: format!("{} ends", arguments.join(" ")),
                seconds: KUBECTL.as_secs(),
                last: output.stdout,
                tail: output.stderr,
            }),
        }
    }

    /// Makes etcd forget all history, so that a watch from an older version is answered 410 by a
    /// server that does not hold it in memory (restart the API server to empty that as well).
    pub async fn compact(&self) -> Result<(), ControlPlaneError> {
        let wrong = |source: kube::Error| {
            ControlPlaneError::Request("compact etcd's history".into(), Box::new(source))
        };
        let etcd = Self::bare_client(&self.etcd_url(), None)
            .await
            .map_err(|reason| ControlPlaneError::Kubeconfig {
                path: self.etcd_url().into(),
                reason,
            })?;
        let ask = async |path: &str, body: Value| {
            let request = http::Request::post(path)
                .body(body.to_string().into_bytes())
                .map_err(kube::Error::HttpError)?;
            etcd.request::<Value>(request).await
        };
        // Any key: the answer's header tells the present revision.
        let key = json!({"key": "AA==", "keys_only": true});
        let answer = ask("/v3/kv/range", key).await.map_err(wrong)?;
        let revision = &answer["header"]["revision"];
        let all = json!({"revision": revision, "physical": true});
        ask("/v3/kv/compaction", all).await.map_err(wrong)?;
        Ok(())
    }
}

fn kubeconfig(server: &str, certificate: Option<&Path>, token: Option<&str>) -> Value {
    let mut cluster = json!({ "server": server });
    if let Some(certificate) = certificate {
        cluster["certificate-authority"] = json!(certificate);
    }
    let user = token.map_or_else(|| json!({}), |token| json!({ "token": token }));
    json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "e2e",
        "clusters": [{"name": "e2e", "cluster": cluster}],
        "users": [{"name": "e2e", "user": user}],
        "contexts": [{"name": "e2e", "context": {"cluster": "e2e", "user": "e2e"}}],
    })
}

async fn client(kubeconfig: Value) -> Result<Client, String> {
    let kubeconfig: Kubeconfig =
        serde_json::from_value(kubeconfig).map_err(|error| error.to_string())?;
    let mut config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default())
        .await
        .map_err(|error| error.to_string())?;
    // Loopback is reached directly, whatever the environment says.
    config.proxy_url = None;
    config.default_retry = false;
    Client::try_from(config).map_err(|error| error.to_string())
}
