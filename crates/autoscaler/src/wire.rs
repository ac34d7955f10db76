//! All wiring, top to bottom. Production, the demo and the simulated world build a replica here,
//! from the same parts; only the seams differ.

use std::{process::ExitCode, sync::Arc, time::Duration};

use controller::{
    cloud_state::{CloudState, Pace},
    cluster_state::{self, ClusterState},
    context::Context,
    controllers::groups::Defaults,
    effects::Effects,
    events,
    leader::{self, Leader, Leadership},
    metrics::Metrics,
    pulse::{self, Pulse, Standstill},
};
use kube::Client;
use model::ClusterId;
use runtime::watch;
use runtime::{Clock, Randomness, Tasks};
use tokio::net::TcpListener;
use vpsie::{Transport, Vpsie};

use crate::{
    admin::{self, Admin},
    args::RunArgs,
    credentials::Follower,
    logs, term,
};

/// What differs between production, the demo and the simulated world.
#[derive(Clone)]
pub struct Seams {
    /// Time.
    pub clock: Clock,
    /// Randomness.
    pub random: Randomness,
    /// A client that does not retry by itself.
    pub client: Client,
    /// The way to the cloud.
    pub transport: Arc<dyn Transport>,
}

/// One running replica of the product.
pub struct Replica {
    tasks: Tasks,
    clock: Clock,
    leadership: watch::Receiver<Leadership>,
    campaign: tokio_util::sync::CancellationToken,
    campaigning: Tasks,
    metrics: Metrics,
    state: ClusterState,
    pulse: Pulse,
}

impl std::fmt::Debug for Replica {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Replica").finish_non_exhaustive()
    }
}

/// How long a replica may take to stop acting.
const SAFE_POINT: Duration = Duration::from_secs(5);

impl Replica {
    /// Starts a replica. `listeners` are for metrics and health, where they are served.
    #[must_use]
    pub fn start(
        args: &RunArgs,
        seams: Seams,
        listeners: Option<(TcpListener, TcpListener)>,
    ) -> Self {
        let Seams {
            clock,
            random,
            client,
            transport,
        } = seams;
        let tasks = Tasks::new();
        let metrics = Metrics::new();
        let pulse = Pulse::new(clock.clone());
        let identity = if args.identity.is_empty() {
            format!("vpsie-autoscaler-{}", random.fork("identity").uuid())
        } else {
            args.identity.clone()
        };

        // The cluster.
        let state = ClusterState::new(
            clock.clone(),
            random.fork("watches"),
            cluster_state::Options::default(),
        );
        state.spawn(&client, &tasks, &pulse);

        // The cloud.
        let provider = Vpsie::new(
            args.provider(),
            transport,
            clock.clone(),
            random.fork("provider"),
            Arc::new(Observed(metrics.clone())),
        );
        let (defaults, follow_defaults) = watch::channel(Defaults {
            cluster: Some(args.resource_identifier.as_str())
                .filter(|id| !id.is_empty())
                .map(ClusterId::new),
        });
        let cloud = CloudState::new(
            Arc::clone(&provider) as Arc<dyn cloud::CloudProvider>,
            clock.clone(),
            random.fork("calls"),
            Pace::default(),
        );

        // Leadership: campaigns on tasks of its own, released last.
        let leader = Leader::new(
            client.clone(),
            clock.clone(),
            random.fork("election"),
            leader::Options {
                enabled: args.elects(),
                namespace: args.leader_election_namespace.clone(),
                name: args.leader_election_id.clone(),
                identity: identity.clone(),
                times: args.election_times(),
            },
        );
        let leadership = leader.subscribe();
        // Events, credentials, health.
        let (events, writer) = events::channel(
            clock.clone(),
            random.fork("events"),
            metrics.clone(),
            identity,
        );
        let leads = leadership.clone();
        let event_client = client.clone();
        let dry_run = args.dry_run;
        let beat = pulse.begin("events");
        tasks.spawn("events", async move {
            let leading = || !dry_run && matches!(&*leads.borrow(), Leadership::Leading(_));
            writer.run(event_client, leading, beat).await;
        });
        let follower = Follower {
            client: client.clone(),
            clock: clock.clone(),
            provider: Arc::clone(&provider),
            cloud: cloud.clone(),
            events: events.clone(),
            defaults,
            args: args.clone(),
            leadership: leadership.clone(),
            beat: pulse.begin("credentials"),
        };
        tasks.spawn("credentials", until(&tasks, follower.run()));
        // Campaigns after the Secret was first asked for: there is little to lead without it.
        let campaigning = Tasks::new();
        let campaign = campaigning.stop_token();
        let stop_campaign = campaign.clone();
        // Without an election nothing is repeated.
        let elects = args.elects();
        let (elections, limit) = (
            pulse.clone(),
            pulse::LIMIT + args.leader_election_lease_duration,
        );
        campaigning.spawn("election", async move {
            if elects {
                let run = Box::pin(leader.run(stop_campaign));
                elections.periodic("election", limit, run).await;
            } else {
                leader.run(stop_campaign).await;
            }
        });
        let admin = Admin::new(
            clock.clone(),
            state.clone(),
            metrics.clone(),
            pulse.clone(),
            &tasks,
        );
        if let Some((metrics_listener, health_listener)) = listeners {
            admin::serve(&tasks, "metrics", metrics_listener, admin.metrics());
            admin::serve(&tasks, "health", health_listener, admin.health());
        }
        let beat = pulse.begin("figures");
        tasks.spawn(
            "figures",
            until(&tasks, async move { admin.figures(&beat).await }),
        );

        // The loops, while leading.
        let context = Context::new(
            state.clone(),
            cloud.clone(),
            client.clone(),
            clock.clone(),
            random.fork("loops"),
            args.options(),
            metrics.clone(),
            events,
            follow_defaults,
        );
        let loops = Loops {
            context,
            client,
            provider: Arc::clone(&provider) as Arc<dyn cloud::CloudProvider>,
            cloud,
            clock: clock.clone(),
            metrics: metrics.clone(),
            pulse: pulse.clone(),
        };
        let terms = leadership.clone();
        let stop = tasks.stop_token();
        tasks.spawn("terms", async move { loops.run(terms, stop).await });

        Self {
            tasks,
            clock,
            leadership,
            campaign,
            campaigning,
            metrics,
            state,
            pulse,
        }
    }

    /// The metrics, as text.
    #[must_use]
    pub fn metrics(&self) -> String {
        self.metrics.render()
    }

    /// The index is complete.
    #[must_use]
    pub fn synced(&self) -> bool {
        self.state.synced()
    }

    /// The loops that run, by name.
    #[must_use]
    pub fn loops(&self) -> Vec<&'static str> {
        self.pulse.running()
    }

    /// A loop that stands still, if one does: what fails `/healthz`.
    #[must_use]
    pub fn standstill(&self) -> Option<Standstill> {
        self.pulse.standstill()
    }

    /// This replica leads.
    #[must_use]
    pub fn leads(&self) -> bool {
        matches!(&*self.leadership.borrow(), Leadership::Leading(_))
    }

    /// Resolves when leadership was lost: the process should end.
    pub async fn lost(&self) {
        let mut leadership = self.leadership.clone();
        loop {
            if matches!(&*leadership.borrow_and_update(), Leadership::Lost) {
                return;
            }
            if leadership.changed().await.is_err() {
                return std::future::pending().await;
            }
        }
    }

    /// Stops acting, then gives the lease away.
    pub async fn stop(self) {
        self.tasks.stop();
        // After this nothing of ours acts.
        if self
            .clock
            .timeout(SAFE_POINT, self.tasks.join())
            .await
            .is_err()
        {
            self.tasks.abort();
        }
        self.campaign.cancel();
        let released = self
            .clock
            .timeout(SAFE_POINT, self.campaigning.join())
            .await;
        if released.is_err() {
            self.campaigning.abort();
        }
    }

    /// Dies as by `kill -9`: every task disappears where it stands, nothing is released.
    pub fn crash(self) {
        self.tasks.abort();
        self.campaigning.abort();
    }
}

/// A task without a safe point of its own: it ends where it stands once `tasks` are to stop.
fn until(
    tasks: &Tasks,
    task: impl Future<Output = ()> + Send + 'static,
) -> impl Future<Output = ()> + Send + 'static {
    let stop = tasks.stop_token();
    async move {
        let _ = stop.run_until_cancelled_owned(task).await;
    }
}

struct Loops {
    context: Context,
    client: Client,
    provider: Arc<dyn cloud::CloudProvider>,
    cloud: CloudState,
    clock: Clock,
    metrics: Metrics,
    pulse: Pulse,
}

impl Loops {
    async fn run(
        self,
        mut leadership: watch::Receiver<Leadership>,
        stop: tokio_util::sync::CancellationToken,
    ) {
        let beat = self.pulse.begin("terms");
        loop {
            let now = leadership.borrow_and_update().clone();
            self.metrics.leading(matches!(now, Leadership::Leading(_)));
            let Leadership::Leading(guard) = now else {
                let goes_on = beat.waiting(async {
                    tokio::select! {
                        biased;
                        () = stop.cancelled() => false,
                        changed = leadership.changed() => changed.is_ok(),
                    }
                });
                if goes_on.await {
                    continue;
                }
                return;
            };
            self.context.begin_term(guard.watched_until());
            let effects = Effects::new(
                self.client.clone(),
                Arc::clone(&self.provider),
                self.cloud.clone(),
                guard,
                self.clock.clone(),
                self.metrics.clone(),
                self.context.options.dry_run,
            );
            let stopped = beat.waiting(async {
                tokio::select! {
                    biased;
                    _ = leadership.changed() => false,
                    () = term::run(&self.context, &effects, &self.pulse, &stop) => true,
                }
            });
            if stopped.await {
                return;
            }
        }
    }
}

/// Tells the metrics about requests to the cloud.
struct Observed(Metrics);

impl vpsie::Observer for Observed {
    fn request(
        &self,
        method: &str,
        _route: &'static str,
        status: Option<u16>,
        duration: Duration,
        error: Option<&'static str>,
    ) {
        self.0.api_request(method, status, duration, error);
    }

    fn breaker(&self, from: &'static str, to: &'static str) {
        self.0.breaker(from, to);
    }

    fn waited(&self, method: &str, duration: Duration) {
        self.0.api_waited(method, duration);
    }
}

/// `run`: a replica on the real clock, network and cluster.
pub(crate) fn main(args: RunArgs) -> ExitCode {
    if let Err(error) = args.check() {
        eprintln!("error: {error}");
        return ExitCode::from(crate::USAGE);
    }
    logs::install(&args);
    for warning in args.warnings() {
        tracing::warn!("{warning}");
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build();
    match runtime {
        Ok(runtime) => runtime.block_on(run(args)),
        Err(error) => {
            eprintln!("error: the runtime could not be started: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(args: RunArgs) -> ExitCode {
    let prepared = async {
        let client = client(&args.kubeconfig).await?;
        let transport = vpsie::ReqwestTransport::new()
            .map_err(|error| format!("the HTTP client could not be built: {error}"))?;
        let listen = |flag: &'static str, address| async move {
            TcpListener::bind(address)
                .await
                .map_err(|error| format!("{flag} {address}: {error}"))
        };
        let metrics = listen("--metrics-addr", args.metrics_addr).await?;
        let health = listen("--health-addr", args.health_addr).await?;
        Ok::<_, String>((client, transport, metrics, health))
    };
    let (client, transport, metrics, health) = match prepared.await {
        Ok(prepared) => prepared,
        Err(error) => {
            eprintln!("error: {error}");
            return ExitCode::from(crate::USAGE);
        }
    };
    let replica = Replica::start(
        &args,
        Seams {
            clock: Clock::system(),
            random: Randomness::from_os(),
            client,
            transport: Arc::new(transport),
        },
        Some((metrics, health)),
    );
    tokio::select! {
        biased;
        () = signalled() => {
            tracing::info!("stopping");
            replica.stop().await;
            ExitCode::SUCCESS
        }
        // A restart is the reset: nothing is carried over from the lost term.
        () = replica.lost() => ExitCode::FAILURE,
    }
}

/// A client that does not retry by itself: every deadline is ours.
pub(crate) async fn client(path: &str) -> Result<Client, String> {
    let mut config = if path.is_empty() {
        kube::Config::infer()
            .await
            .map_err(|error| format!("no cluster is configured: {error}"))?
    } else {
        let kubeconfig = kube::config::Kubeconfig::read_from(path)
            .map_err(|error| format!("--kubeconfig {path}: {error}"))?;
        kube::Config::from_custom_kubeconfig(
            kubeconfig,
            &kube::config::KubeConfigOptions::default(),
        )
        .await
        .map_err(|error| format!("--kubeconfig {path}: {error}"))?
    };
    config.default_retry = false;
    Client::try_from(config).map_err(|error| format!("the Kubernetes client: {error}"))
}

/// Resolves at the first SIGTERM, SIGINT or SIGQUIT.
pub(crate) async fn signalled() {
    use tokio::signal::unix::{SignalKind, signal};
    let wait = |kind: SignalKind| async move {
        match signal(kind) {
            Ok(mut signals) => {
                signals.recv().await;
            }
            Err(error) => {
                tracing::error!(%error, "a signal cannot be waited for");
                std::future::pending::<()>().await;
            }
        }
    };
    tokio::select! {
        biased;
        () = wait(SignalKind::terminate()) => {}
        () = wait(SignalKind::interrupt()) => {}
        () = wait(SignalKind::quit()) => {}
    }
}
