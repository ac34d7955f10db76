//! A Kubernetes control plane of real components, each run on free loopback ports in a directory of
//! its own: etcd, API server, scheduler and controller manager.
//!
//! It starts them in order and waits until each answers, stops and starts any of them again with
//! what etcd holds kept, and leaves no process behind: a dropped control plane has exited, and one
//! whose owner was killed ends with it (see `controlplane/main.go`). It never changes what the
//! components do beyond [`Settings`].

mod access;
mod audit;
mod flags;
pub(crate) mod process;
mod settings;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    time::Duration,
};

use k8s_openapi::api::core::v1::{Namespace, ServiceAccount};
use kube::{Api, Client};
use runtime::{Clock, Randomness};

pub use access::Output;
pub use audit::{Audit, AuditEntry};
pub use settings::{Lifecycle, Settings, User};

use process::Process;

/// Between two looks at something that is awaited.
const POLL: Duration = Duration::from_millis(100);
/// No single probe takes longer.
const PROBE: Duration = Duration::from_secs(5);
/// With how many sets of ports a start is tried: another process may take one in between.
const ATTEMPTS: usize = 3;

/// A part of the control plane.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Component {
    /// The store.
    Etcd,
    /// kube-apiserver.
    ApiServer,
    /// kube-scheduler.
    Scheduler,
    /// kube-controller-manager.
    ControllerManager,
}

impl Component {
    /// All of them, in the order in which they are started.
    pub const ALL: [Self; 4] = [
        Self::Etcd,
        Self::ApiServer,
        Self::Scheduler,
        Self::ControllerManager,
    ];

    /// What it is called, as the binary's first argument and in messages.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Etcd => "etcd",
            Self::ApiServer => "kube-apiserver",
            Self::Scheduler => "kube-scheduler",
            Self::ControllerManager => "kube-controller-manager",
        }
    }
}

impl std::fmt::Display for Component {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// The control plane could not be built, started, stopped or asked.
#[derive(Debug, thiserror::Error)]
pub enum ControlPlaneError {
    /// The program that holds the components could not be built.
    #[error("the components are not there to be run")]
    Build(#[from] go_module::BuildError),
    /// A file or folder.
    #[error("could not {verb} {}", path.display())]
    File {
        /// What was tried.
        verb: &'static str,
        /// With what.
        path: PathBuf,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// No free ports.
    #[error("no free loopback ports were found")]
    Ports,
    /// A process could not be started.
    #[error("could not start {what}")]
    Spawn {
        /// Which.
        what: String,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// A component ended by itself.
    #[error("{what} ended ({status}); its last words:\n{tail}")]
    Ended {
        /// Which.
        what: String,
        /// How.
        status: String,
        /// The end of its log.
        tail: String,
    },
    /// Something did not come true in time.
    #[error("{what} not after {seconds} s: {last}; the last words of its log:\n{tail}")]
    NotInTime {
        /// What was awaited.
        what: String,
        /// How long.
        seconds: u64,
        /// What the last look saw.
        last: String,
        /// The end of the log of the component.
        tail: String,
    },
    /// The world around it could not be made.
    #[error("the world could not be made")]
    World(#[from] sim::WorldError),
    /// The API server refused a request.
    #[error("could not {0}")]
    Request(String, #[source] Box<kube::Error>),
    /// A kubeconfig could not be used.
    #[error("the kubeconfig {} cannot be used: {reason}", path.display())]
    Kubeconfig {
        /// Which.
        path: PathBuf,
        /// Why not.
        reason: String,
    },
    /// `kubectl` failed.
    #[error("kubectl {command} failed: {stderr}")]
    Kubectl {
        /// Its arguments.
        command: String,
        /// What it said.
        stderr: String,
    },
    /// The audit log holds something else than audit events.
    #[error("line {line} of the audit log is no audit event")]
    Audit {
        /// Counted from 1.
        line: usize,
        /// Why not.
        #[source]
        source: serde_json::Error,
    },
}

/// One loopback port for each thing that listens.
#[derive(Clone, Copy, Debug)]
struct Ports {
    etcd: u16,
    etcd_peers: u16,
    api_server: u16,
    scheduler: u16,
    controller_manager: u16,
}

/// A running control plane. Dropped, it is stopped and its directory removed, unless
/// [`Settings::keep`] or a panic says to leave the logs.
pub struct ControlPlane {
    settings: Settings,
    binary: PathBuf,
    clock: Clock,
    random: Randomness,
    ports: Ports,
    running: BTreeMap<Component, Process>,
    /// Last, so that it outlives the processes.
    directory: Option<tempfile::TempDir>,
    root: PathBuf,
}

impl ControlPlane {
    /// Builds it where that was not done yet (minutes), starts all components and waits until they
    /// work: the API server is ready, its system namespaces and the default ServiceAccount exist,
    /// scheduler and controllers are healthy.
    pub async fn start(settings: Settings) -> Result<Self, ControlPlaneError> {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let clock = Clock::system();
        let binary = Self::build()?;
        let mut attempt = 1;
        loop {
            let mut plane = Self::prepare(settings.clone(), binary.clone(), clock.clone()).await?;
            match plane.start_all().await {
                Ok(()) => return Ok(plane),
                Err(ControlPlaneError::Ended { tail, .. })
                    if attempt < ATTEMPTS && tail.contains("address already in use") =>
                {
                    attempt += 1;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Builds the components, where that was not done yet, and says where the binary is.
    pub fn build() -> Result<PathBuf, ControlPlaneError> {
        let module = Path::new(env!("CARGO_MANIFEST_DIR")).join("controlplane");
        Ok(go_module::built(&module, "controlplane")?)
    }

    async fn prepare(
        settings: Settings,
        binary: PathBuf,
        clock: Clock,
    ) -> Result<Self, ControlPlaneError> {
        let directory = tempfile::Builder::new()
            .prefix("vpsie-e2e-")
            .tempdir()
            .map_err(|source| file("make a folder in", std::env::temp_dir(), source))?;
        let random = Randomness::from_os();
        let plane = Self {
            ports: ports(&random)?,
            root: directory.path().to_owned(),
            directory: Some(directory),
            settings,
            binary,
            clock,
            random,
            running: BTreeMap::new(),
        };
        plane.furnish().await?;
        Ok(plane)
    }

    /// The files that the components read, and the kubeconfigs.
    async fn furnish(&self) -> Result<(), ControlPlaneError> {
        for folder in ["logs", "kubeconfigs", "home"] {
            let path = self.root.join(folder);
            std::fs::create_dir(&path).map_err(|source| file("make", path, source))?;
        }
        let key = self
            .run("service-account-key", &["service-account-key"])
            .await?;
        self.write("service-account.key", &key.stdout)?;
        self.write("audit-policy.yaml", audit::POLICY)?;
        let mut tokens = Vec::new();
        for user in self.settings.everybody() {
            let token = self.random.uuid().to_string();
            let groups = user.groups.join(",");
            tokens.push(format!("{token},{0},{0},\"{groups}\"\n", user.name));
            self.write_kubeconfig(&user.name, &token)?;
        }
        self.write("tokens.csv", &tokens.concat())
    }

    /// The folder of this run: logs, certificates, data.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.root
    }

    /// Where a component's output goes.
    #[must_use]
    pub fn log(&self, component: Component) -> PathBuf {
        self.root.join("logs").join(format!("{component}.log"))
    }

    /// The processes that run now.
    #[must_use]
    pub fn pids(&self) -> BTreeMap<Component, u32> {
        self.running
            .iter()
            .map(|(component, process)| (*component, process.id()))
            .collect()
    }

    /// Requests to the API server, by whom and how they were answered.
    #[must_use]
    pub fn audit(&self) -> Audit {
        Audit::of(self.root.join("audit.log"))
    }

    // === Starting and stopping ===

    /// Starts what does not run, in order, and waits until everything works.
    pub async fn start_all(&mut self) -> Result<(), ControlPlaneError> {
        for component in Component::ALL {
            self.spawn(component)?;
            // Each needs the one before; the last two start side by side.
            if matches!(component, Component::Etcd | Component::ApiServer) {
                self.wait_ready(component).await?;
            }
        }
        self.wait_ready(Component::Scheduler).await?;
        self.wait_ready(Component::ControllerManager).await
    }

    /// Kills everything, last started first, and waits until it has exited; etcd's data stay.
    pub fn stop_all(&mut self) {
        for component in Component::ALL.iter().rev() {
            self.stop(*component);
        }
    }

    /// Starts one component where it does not run, and waits until it works.
    pub async fn start_component(&mut self, component: Component) -> Result<(), ControlPlaneError> {
        self.spawn(component)?;
        self.wait_ready(component).await
    }

    /// Kills one component and waits until it has exited.
    pub fn stop(&mut self, component: Component) {
        // Dropped, a process has exited.
        self.running.remove(&component);
    }

    /// [`ControlPlane::stop`], then [`ControlPlane::start_component`].
    pub async fn restart(&mut self, component: Component) -> Result<(), ControlPlaneError> {
        self.stop(component);
        self.start_component(component).await
    }

    fn spawn(&mut self, component: Component) -> Result<(), ControlPlaneError> {
        if self.running.contains_key(&component) {
            return Ok(());
        }
        let arguments = flags::of(component, &self.settings, &self.root, self.ports);
        let process = Process::start(
            component.name(),
            &self.binary,
            &arguments,
            &self.root.join("home"),
            &self.log(component),
        )?;
        self.running.insert(component, process);
        Ok(())
    }

    /// An error when a component has ended by itself.
    pub fn check(&mut self) -> Result<(), ControlPlaneError> {
        self.running.values_mut().try_for_each(Process::check)
    }

    async fn wait_ready(&mut self, component: Component) -> Result<(), ControlPlaneError> {
        let limit = self.settings.start_within;
        let deadline = self.clock.monotonic() + limit;
        loop {
            self.check()?;
            let probe = self.clock.timeout(PROBE, self.probe(component)).await;
            let last = match probe {
                Ok(Ok(())) => return Ok(()),
                Ok(Err(seen)) => seen,
                Err(elapsed) => elapsed.to_string(),
            };
            if self.clock.monotonic() >= deadline {
                return Err(ControlPlaneError::NotInTime {
                    what: format!("{component} works"),
                    seconds: limit.as_secs(),
                    last,
                    tail: process::tail(&self.log(component)),
                });
            }
            self.clock.sleep(POLL).await;
        }
    }

    /// Whether a component works; if not, what was seen.
    async fn probe(&self, component: Component) -> Result<(), String> {
        let seen = |error: kube::Error| error.to_string();
        match component {
            Component::Etcd => {
                let client = Self::bare_client(&self.etcd_url(), None).await?;
                get(&client, "/health").await.map_err(seen)
            }
            Component::ApiServer => {
                let client = self.client().await.map_err(|error| error.to_string())?;
                get(&client, "/readyz").await.map_err(seen)?;
                let namespaces: Api<Namespace> = Api::all(client);
                for name in ["default", "kube-system", "kube-node-lease"] {
                    namespaces.get(name).await.map_err(seen)?;
                }
                Ok(())
            }
            Component::Scheduler => {
                let client = self
                    .component_client(component, self.ports.scheduler)
                    .await?;
                get(&client, "/healthz").await.map_err(seen)
            }
            Component::ControllerManager => {
                let port = self.ports.controller_manager;
                let client = self.component_client(component, port).await?;
                get(&client, "/healthz").await.map_err(seen)?;
                let client = self.client().await.map_err(|error| error.to_string())?;
                let accounts: Api<ServiceAccount> = Api::default_namespaced(client);
                accounts.get("default").await.map(|_| ()).map_err(seen)
            }
        }
    }

    async fn component_client(&self, component: Component, port: u16) -> Result<Client, String> {
        let certificate = self
            .root
            .join(component.name())
            .join(format!("{component}.crt"));
        Self::bare_client(&format!("https://127.0.0.1:{port}"), Some(&certificate)).await
    }

    fn etcd_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.ports.etcd)
    }

    /// The resident memory of the components, together, in bytes (Linux).
    #[must_use]
    pub fn memory(&self) -> u64 {
        self.running.values().map(Process::memory).sum()
    }

    fn write(&self, name: &str, text: &str) -> Result<(), ControlPlaneError> {
        let path = self.root.join(name);
        std::fs::write(&path, text).map_err(|source| file("write", path, source))
    }
}

impl Drop for ControlPlane {
    fn drop(&mut self) {
        self.stop_all();
        if (self.settings.keep || std::thread::panicking())
            && let Some(directory) = self.directory.take()
        {
            let path = directory.keep();
            eprintln!("the control plane's files are left in {}", path.display());
        }
    }
}

/// Answers nothing but whether the answer was a good one.
async fn get(client: &Client, path: &str) -> Result<(), kube::Error> {
    let request = http::Request::get(path)
        .body(Vec::new())
        .map_err(kube::Error::HttpError)?;
    client.request_text(request).await.map(|_| ())
}

fn file(verb: &'static str, path: PathBuf, source: std::io::Error) -> ControlPlaneError {
    ControlPlaneError::File { verb, path, source }
}

/// Ports that nobody listens on, from below those that systems give to outgoing connections: so
/// none is taken while a component is stopped.
fn ports(random: &Randomness) -> Result<Ports, ControlPlaneError> {
    let mut free = BTreeSet::new();
    for _ in 0..1000 {
        let port = 20_000 + random.below(10_000) as u16;
        if std::net::TcpListener::bind(("127.0.0.1", port)).is_ok() {
            free.insert(port);
        }
        if free.len() == 5 {
            break;
        }
    }
    let mut free = free.into_iter();
    let mut next = || free.next().ok_or(ControlPlaneError::Ports);
    Ok(Ports {
        etcd: next()?,
        etcd_peers: next()?,
        api_server: next()?,
        scheduler: next()?,
        controller_manager: next()?,
    })
}
