//! A simulated cloud with a provider in front of it, in virtual time.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, Once},
    time::Duration,
};

use bytes::Bytes;
use cloud::{
    Call, CloudProvider, Scope,
    contract::{Disturbance, Harness, Target, Truth},
};
use http::{Request, Response};
use jiff::Timestamp;
use model::{ClusterId, DatacenterId, Hostname, InstanceId, PoolId, SizeId};
use runtime::{Clock, Randomness, Tasks};
use tracing_subscriber::layer::SubscriberExt as _;
use vpsie::{
    Allowed, AuthMode, BoxFuture, Credentials, Observer, Options, Transport, TransportError, Vpsie,
};
use vpsie_sim::{Config, Fault, Match, RetryAfter, Role, Route, Rule, Span, Timings, VpsieSim};

pub fn epoch() -> Timestamp {
    "2026-03-01T12:00:00Z".parse().unwrap()
}

/// How the Secret is filled.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Login {
    StaticToken,
    Bearer,
    Client,
}

/// Machines that come and go quickly, so that scaled runs are short.
pub fn quick() -> Config {
    Config {
        timings: Timings {
            queued: Span::seconds(1, 3),
            creating: Span::seconds(5, 10),
            deleting: Span::seconds(5, 10),
            ..Timings::default()
        },
        ..Config::default()
    }
}

/// The data of a Secret that the simulator accepts.
pub fn secret(config: &Config, login: Login) -> BTreeMap<String, Vec<u8>> {
    let credentials = config.credentials.clone();
    let pairs = match login {
        Login::StaticToken | Login::Bearer => vec![("token", credentials.token)],
        Login::Client => vec![
            ("clientId", credentials.client_id),
            ("clientSecret", credentials.client_secret),
        ],
    };
    pairs
        .into_iter()
        .map(|(key, value)| (key.to_owned(), value.unwrap().into_bytes()))
        .collect()
}

pub fn credentials(config: &Config, login: Login) -> Credentials {
    let mode = match login {
        Login::Bearer => AuthMode::Bearer,
        Login::StaticToken | Login::Client => AuthMode::Auto,
    };
    Credentials::from_secret(&secret(config, login), mode, &Allowed::default()).unwrap()
}

/// A call with time enough.
pub fn a_call() -> Call {
    call_within(Duration::from_mins(1))
}

pub fn call_within(timeout: Duration) -> Call {
    Call {
        request_id: Arc::from("test-call"),
        timeout,
        permit: cloud::Permit::default(),
    }
}

/// Method, route, status and class of error.
pub type Report = (String, &'static str, Option<u16>, Option<&'static str>);

/// What was reported.
#[derive(Default)]
pub struct Reports {
    pub requests: Mutex<Vec<Report>>,
    pub breaker: Mutex<Vec<(&'static str, &'static str)>>,
    pub waits: Mutex<Vec<Duration>>,
}

impl Observer for Reports {
    fn request(
        &self,
        method: &str,
        route: &'static str,
        status: Option<u16>,
        _: Duration,
        error: Option<&'static str>,
    ) {
        let report = (method.to_owned(), route, status, error);
        self.requests.lock().unwrap().push(report);
    }

    fn breaker(&self, from: &'static str, to: &'static str) {
        self.breaker.lock().unwrap().push((from, to));
    }

    fn waited(&self, _: &str, duration: Duration) {
        self.waits.lock().unwrap().push(duration);
    }
}

/// The simulator without a network.
pub struct InProcess(pub VpsieSim);

impl Transport for InProcess {
    fn send(
        &self,
        request: Request<Bytes>,
    ) -> BoxFuture<'_, Result<Response<Bytes>, TransportError>> {
        Box::pin(async move {
            self.0
                .handle(request)
                .await
                .map_err(|lost| TransportError::Broken(lost.to_string()))
        })
    }
}

pub struct Cloud {
    pub sim: VpsieSim,
    pub clock: Clock,
    pub provider: Arc<Vpsie>,
    pub reports: Arc<Reports>,
    pub config: Config,
    pub login: Login,
    pub tasks: Tasks,
}

/// Whoever comes first to a log line settles, for the whole process, whether anybody may listen to
/// it; where nobody listens at that moment, nobody ever will. So somebody does, and hears nothing.
fn let_log_lines_be_heard() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let deaf = tracing_subscriber::filter::dynamic_filter_fn(|_, _| false);
        let listener = tracing_subscriber::registry().with(deaf);
        tracing::subscriber::set_global_default(listener).unwrap();
    });
}

impl Cloud {
    pub fn new(config: Config, login: Login) -> Self {
        let clock = Clock::starting_at(epoch(), 1.0);
        let cloud = Self::without_credentials(config, login, clock, |sim| Arc::new(InProcess(sim)));
        let credentials = credentials(&cloud.config, login);
        cloud.provider.set_credentials(Some(&credentials));
        cloud
    }

    pub fn without_credentials(
        config: Config,
        login: Login,
        clock: Clock,
        transport: impl FnOnce(VpsieSim) -> Arc<dyn Transport>,
    ) -> Self {
        let_log_lines_be_heard();
        let random = Randomness::seeded(7);
        let tasks = Tasks::new();
        let sim = VpsieSim::new(
            config.clone(),
            clock.clone(),
            random.fork("cloud"),
            tasks.clone(),
        );
        let reports = Arc::new(Reports::default());
        let provider = Vpsie::new(
            Options::default(),
            transport(sim.clone()),
            clock.clone(),
            random.fork("provider"),
            Arc::clone(&reports) as Arc<dyn Observer>,
        );
        Self {
            sim,
            clock,
            provider,
            reports,
            config,
            login,
            tasks,
        }
    }

    /// How often a route was asked for.
    pub fn asked(&self, route: Route) -> usize {
        self.sim
            .journal()
            .iter()
            .filter(|request| request.route == route)
            .count()
    }

    pub fn strike(&self, route: impl Into<Match>, fault: Fault, times: u64) {
        self.sim.faults().add(Rule::on(route, fault).times(times));
    }

    pub async fn pool(&self, size: &str) -> model::Pool {
        let request = cloud::PoolRequest {
            scope: self.scope(),
            name: format!("pool-{size}"),
            size: size.into(),
        };
        let call = a_call();
        self.provider.ensure_pool(&call, &request).await.unwrap()
    }

    pub fn intent(&self, pool: &model::Pool) -> cloud::CreateIntent {
        cloud::CreateIntent {
            operation: "operation".into(),
            scope: self.scope(),
            pool: pool.id,
            size: pool.size.clone(),
            hostname: None,
            user_data: None,
            settings: BTreeMap::new(),
        }
    }

    pub async fn observe(&self) -> Result<model::Observation, cloud::CloudError> {
        let (call, scope) = (a_call(), self.scope());
        self.provider.observe(&call, &scope).await
    }
}

const FOR_EVER: Duration = Duration::from_hours(1);

impl Harness for Cloud {
    fn provider(&self) -> Arc<dyn CloudProvider> {
        Arc::clone(&self.provider) as Arc<dyn CloudProvider>
    }

    fn clock(&self) -> Clock {
        self.clock.clone()
    }

    fn scope(&self) -> Scope {
        Scope::Cluster(ClusterId::new(&self.config.clusters[0].identifier))
    }

    fn missing_scope(&self) -> Scope {
        Scope::Cluster(ClusterId::new("ffffffff-0000-4000-8000-000000000000"))
    }

    fn datacenter(&self) -> DatacenterId {
        DatacenterId::new(&self.config.datacenters[0].identifier)
    }

    fn sizes(&self) -> [SizeId; 2] {
        let sizes = &self.config.datacenters[0].sizes;
        [
            SizeId::new(sizes[0].id.to_string()),
            SizeId::new(sizes[1].id.to_string()),
        ]
    }

    fn disturb(&self, target: Target, what: Disturbance, times: u32) -> bool {
        let routes: Vec<Match> = match target {
            Target::Observe => vec![
                Route::GetCluster.into(),
                Route::ListGroups.into(),
                Route::ListStorageVms.into(),
            ],
            Target::Catalogue => vec![Route::ListOffers.into(), Route::ListDatacenters.into()],
            Target::Create => vec![Route::AddWorker.into()],
            Target::Delete => vec![Route::DeleteWorker.into()],
            Target::MakePool => vec![Route::AddGroup.into()],
            Target::Everything => vec![Match::Any],
        };
        let fault = match what {
            Disturbance::AnswerLost => Fault::LostResponseAfterCommit,
            Disturbance::ConnectionReset => Fault::ResetBeforeCommit,
            Disturbance::ServerError => Fault::Html502 {
                after_commit: false,
            },
            Disturbance::ServerErrorAfterEffect => Fault::Html502 { after_commit: true },
            Disturbance::Hangs => Fault::Slow {
                by: FOR_EVER,
                after_commit: false,
            },
            Disturbance::RateLimited => Fault::RateLimited {
                retry_after: RetryAfter::Seconds(5),
            },
            Disturbance::Unauthorized => Fault::Unauthorized,
            Disturbance::Truncated => Fault::Truncated,
            Disturbance::EmptyLists => Fault::EmptyListAlthough,
            Disturbance::EchoesCredentials => Fault::ErrorTrue200 {
                message: format!("refused {}", Harness::secrets(self).join(" and ")),
            },
        };
        for route in routes {
            let rule = Rule::on(route, fault.clone());
            self.sim.faults().add(if times == u32::MAX {
                rule.always()
            } else {
                rule.times(u64::from(times))
            });
        }
        true
    }

    fn sell_out(&self, size: &SizeId) -> bool {
        self.sim.set_sold_out(size.as_str().parse().unwrap(), true);
        true
    }

    fn cap_workers(&self, limit: u32) -> bool {
        let cluster = self.config.clusters[0].identifier.clone();
        self.sim.set_worker_cap(&cluster, Some(limit));
        true
    }

    fn human_adds(&self, pool: PoolId) -> bool {
        let cluster = self.config.clusters[0].identifier.clone();
        self.sim.human_add_worker(&cluster, pool.0).is_some()
    }

    fn machines(&self) -> Vec<Truth> {
        self.sim
            .machines()
            .into_iter()
            .filter(|machine| machine.is_paid() && machine.cluster.is_some())
            .map(|machine| Truth {
                id: InstanceId::from(machine.uuid),
                hostname: Hostname::new(machine.hostname),
                control_plane: machine.role == Role::Master,
            })
            .collect()
    }

    fn create_requests(&self) -> usize {
        self.asked(Route::AddWorker) + self.asked(Route::AddWorkerToDefault)
    }

    fn requests(&self) -> usize {
        self.sim.journal().len()
    }

    fn secrets(&self) -> Vec<String> {
        // Those that the provider was given: it cannot know others.
        secret(&self.config, self.login)
            .into_values()
            .map(|value| String::from_utf8(value).unwrap())
            .collect()
    }

    fn settle_time(&self) -> Duration {
        let timings = &self.config.timings;
        timings.queued.high + timings.creating.high + timings.deleting.high
    }
}
