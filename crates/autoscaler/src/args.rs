//! Flags and environment variables: the predecessor's, with its defaults,
//! and those of what is new. Switches take `=true` and `=false`, as the predecessor's do.

use std::{collections::BTreeSet, net::SocketAddr, path::PathBuf, time::Duration};

use clap::{Parser, Subcommand, ValueEnum};
use jiff::SignedDuration;

/// A Kubernetes node autoscaler for the VPSie cloud.
#[derive(Parser, Debug)]
#[command(
    name = "vpsie-autoscaler",
    version,
    args_conflicts_with_subcommands = true
)]
pub struct Args {
    /// What to do; `run` where nothing is said.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// Flags of `run`, for callers that say no subcommand.
    #[command(flatten)]
    pub run: RunArgs,
}

/// What to do.
#[derive(Subcommand, Debug)]
pub enum Command {
    /// Scale the cluster (the default).
    Run(Box<RunArgs>),
    /// Say for each node and each machine that could be bought why it does not take a pod.
    Explain(crate::explain::ExplainArgs),
    /// Say what would be bought for the pods that wait, or if the cluster were another.
    Simulate(crate::simulate::SimulateArgs),
    /// Play a story on an embedded cluster and cloud.
    #[cfg(feature = "demo")]
    Demo(crate::demo::DemoArgs),
    /// Print the CustomResourceDefinitions.
    Crds,
    /// Print the version.
    Version,
}

/// How logs look.
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub enum LogFormat {
    /// One JSON object a line.
    Json,
    /// For people.
    Console,
}

/// How much is logged.
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub enum LogLevel {
    /// Everything.
    Debug,
    /// Decisions and changes.
    Info,
    /// What should be looked at.
    Warn,
    /// What went wrong.
    Error,
}

/// How requests to the cloud prove who asks.
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub enum AuthMode {
    /// By what the Secret holds.
    Auto,
    /// Static token in `Vpsie-Auth`.
    VpsieAuth,
    /// Static token as bearer.
    Bearer,
    /// Client id and secret.
    ClientCredentials,
}

/// A duration as Go writes it (`10m`, `1h30m`, `90s`); never negative.
fn duration(text: &str) -> Result<Duration, String> {
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    let signed: SignedDuration = text
        .parse()
        .map_err(|_| "a duration such as 30s, 10m or 1h30m is expected".to_owned())?;
    Duration::try_from(signed).map_err(|_| "it must not be negative".to_owned())
}

/// A listen address; the predecessor's `:8080` means every interface.
/// A time zone by its name in the IANA database.
fn time_zone(name: &str) -> Result<jiff::tz::TimeZone, String> {
    jiff::tz::TimeZone::get(name).map_err(|error| error.to_string())
}

fn address(text: &str) -> Result<SocketAddr, String> {
    let full = if text.starts_with(':') {
        format!("0.0.0.0{text}")
    } else {
        text.to_owned()
    };
    full.parse()
        .map_err(|_| "an address such as :8080 or 127.0.0.1:8080 is expected".to_owned())
}

/// Flags of `run`.
#[derive(Parser, Debug, Clone)]
#[allow(clippy::struct_excessive_bools)] // one field a flag
pub struct RunArgs {
    /// The kubeconfig; in-cluster where absent.
    #[arg(long, default_value = "", hide_default_value = true)]
    pub kubeconfig: String,
    /// Where metrics are served.
    #[arg(long, default_value = ":8080", value_parser = address)]
    pub metrics_addr: SocketAddr,
    /// Where health is served.
    #[arg(long, default_value = ":8081", value_parser = address)]
    pub health_addr: SocketAddr,
    /// Whether replicas elect a leader.
    #[arg(long, default_value_t = true, num_args = 0..=1, require_equals = true, default_missing_value = "true", action = clap::ArgAction::Set)]
    pub leader_election: bool,
    /// The Lease's name.
    #[arg(long, default_value = "vpsie-autoscaler-leader")]
    pub leader_election_id: String,
    /// The Lease's namespace.
    #[arg(long, default_value = "kube-system")]
    pub leader_election_namespace: String,
    /// A lease that is not renewed for so long is free.
    #[arg(long, default_value = "15s", value_parser = duration)]
    pub leader_election_lease_duration: Duration,
    /// A leader that cannot renew for so long stops; shorter than the lease's duration.
    #[arg(long, default_value = "10s", value_parser = duration)]
    pub leader_election_renew_deadline: Duration,
    /// How often leaders renew and candidates look.
    #[arg(long, default_value = "2s", value_parser = duration)]
    pub leader_election_retry_period: Duration,
    /// Accepted for compatibility: loops follow changes and need no period.
    #[arg(long, default_value = "10m", value_parser = duration)]
    pub sync_period: Duration,
    /// The Secret with the cloud's credentials.
    #[arg(long, alias = "vpsie-secret", default_value = "vpsie-secret")]
    pub vpsie_secret_name: String,
    /// The Secret's namespace.
    #[arg(long, alias = "vpsie-namespace", default_value = "kube-system")]
    pub vpsie_secret_namespace: String,
    /// The Secret to use where that one does not exist.
    #[arg(long, default_value = "vpsie-credentials")]
    pub vpsie_secret_fallback: String,
    /// How requests to the cloud prove who asks.
    #[arg(long, value_enum, default_value = "auto")]
    pub vpsie_auth_mode: AuthMode,
    /// Hosts the Secret may name besides api.vpsie.com.
    #[arg(long, value_delimiter = ',')]
    pub vpsie_allowed_hosts: Vec<String>,
    /// Whether the Secret may name http://127.0.0.1 (for simulators).
    #[arg(long, default_value_t = false, hide_default_value = true, num_args = 0..=1, require_equals = true, default_missing_value = "true", action = clap::ArgAction::Set)]
    pub vpsie_allow_loopback_http: bool,
    /// Requests to the cloud in any minute.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
    pub vpsie_rate_limit: u32,
    /// Whether the account's API deletes workers by identity; without it nothing is removed.
    #[arg(long, default_value_t = true, num_args = 0..=1, require_equals = true, default_missing_value = "true", action = clap::ArgAction::Set)]
    pub vpsie_targeted_delete: bool,
    /// Namespaces in which NodeGroups count.
    #[arg(long, value_delimiter = ',', default_value = "kube-system")]
    pub namespaces: Vec<String>,
    /// The VPSie Kubernetes cluster (UUID) of groups that name none.
    #[arg(long, default_value = "", hide_default_value = true)]
    pub resource_identifier: String,
    /// For dynamic NodeGroups (read from a later version on).
    #[arg(long, default_value = "", hide_default_value = true)]
    pub default_datacenter_id: String,
    /// For dynamic NodeGroups (read from a later version on).
    #[arg(long, value_delimiter = ',')]
    pub default_offering_ids: Vec<String>,
    /// For dynamic NodeGroups (read from a later version on).
    #[arg(long, default_value = "", hide_default_value = true)]
    pub kubernetes_version: String,
    /// For dynamic NodeGroups (read from a later version on).
    #[arg(long, default_value_t = 0)]
    pub kube_size_id: i64,
    /// How much is logged; the audit log is told at every level.
    #[arg(long, value_enum, default_value = "info")]
    pub log_level: LogLevel,
    /// How logs look.
    #[arg(long, value_enum, default_value = "json")]
    pub log_format: LogFormat,
    /// Console logs at debug level.
    #[arg(long, default_value_t = false, hide_default_value = true, num_args = 0..=1, require_equals = true, default_missing_value = "true", action = clap::ArgAction::Set)]
    pub development: bool,
    /// How long the evidence of a failed machine is kept; 0 keeps it for ever.
    #[arg(long, default_value = "30m", value_parser = duration)]
    pub failed_vpsienode_ttl: Duration,
    /// How long a machine may take until it runs.
    #[arg(long, default_value = "10m", value_parser = duration)]
    pub provisioning_timeout: Duration,
    /// How long a running machine may take until its Node is Ready.
    #[arg(long, default_value = "15m", value_parser = duration)]
    pub joining_timeout: Duration,
    /// How long an unanswered create may still take effect.
    #[arg(long, default_value = "300s", value_parser = duration)]
    pub create_quarantine: Duration,
    /// Most workers of all groups together; 0 is no limit.
    #[arg(long, default_value_t = 0)]
    pub max_cluster_workers: u32,
    /// How long a pod must be unschedulable before machines are bought for it.
    #[arg(long, default_value = "0s", value_parser = duration)]
    pub unschedulable_pod_grace_period: Duration,
    /// Pods of lower priority buy nothing.
    #[arg(long, default_value_t = -10, allow_negative_numbers = true)]
    pub expendable_pods_priority_cutoff: i32,
    /// CPU the system keeps of a machine that has not shown yet what is left, in millicores.
    #[arg(long, default_value_t = 100)]
    pub reserved_cpu_millis: u32,
    /// Memory the system keeps, in MiB, besides a twentieth of all.
    #[arg(long, default_value_t = 256)]
    pub reserved_memory_mib: u32,
    /// Everything is decided and told in the log and the metrics; nothing is changed, neither in the
    /// cluster (no lease, no Event) nor at the cloud.
    #[arg(long, default_value_t = false, hide_default_value = true, num_args = 0..=1, require_equals = true, default_missing_value = "true", action = clap::ArgAction::Set)]
    pub dry_run: bool,
    /// How many nodes may be on their way out at once, over the whole cluster.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    pub max_concurrent_scale_downs: u32,
    /// Free CPU and memory on the nodes that stay, in percent of what the pods that have to move ask
    /// for.
    #[arg(long, default_value_t = 120, value_parser = clap::value_parser!(u32).range(100..))]
    pub scale_down_capacity_buffer: u32,
    /// Pods of controllers with fewer replicas keep their node.
    #[arg(long, default_value_t = 0)]
    pub scale_down_min_replicas: u32,
    /// Pods with data on their node (hostPath, emptyDir) keep it.
    #[arg(long, default_value_t = true, num_args = 0..=1, require_equals = true, default_missing_value = "true", action = clap::ArgAction::Set)]
    pub scale_down_keeps_local_storage: bool,
    /// Pods of kube-system that no budget covers keep their node.
    #[arg(long, default_value_t = true, num_args = 0..=1, require_equals = true, default_missing_value = "true", action = clap::ArgAction::Set)]
    pub scale_down_keeps_system_pods: bool,
    /// Pods without a controller keep their node.
    #[arg(long, default_value_t = true, num_args = 0..=1, require_equals = true, default_missing_value = "true", action = clap::ArgAction::Set)]
    pub scale_down_keeps_bare_pods: bool,
    /// Time zone of allowed hours that name none, as `Europe/Helsinki`.
    #[arg(long, default_value = "UTC", value_parser = time_zone)]
    pub scale_down_time_zone: jiff::tz::TimeZone,
    /// How long a drain that nobody ordered may take; then it is taken back.
    #[arg(long, default_value = "15m", value_parser = duration)]
    pub drain_timeout: Duration,
    /// How long a node may be missing or not Ready before its machine is replaced.
    #[arg(long, default_value = "15m", value_parser = duration)]
    pub unhealthy_timeout: Duration,
    /// How long a node may keep startup taints before its machine is replaced.
    #[arg(long, default_value = "30m", value_parser = duration)]
    pub startup_timeout: Duration,
    /// Accepted for compatibility: this version serves no webhook and says so when it starts; the
    /// rules are in the CRDs.
    #[arg(long, default_value_t = false, hide_default_value = true, num_args = 0..=1, require_equals = true, default_missing_value = "true", action = clap::ArgAction::Set)]
    pub enable_webhook: bool,
    /// Accepted for compatibility.
    #[arg(long, default_value = ":9443")]
    pub webhook_addr: String,
    /// Accepted for compatibility.
    #[arg(long, default_value = "/var/run/webhook-certs")]
    pub webhook_cert_dir: PathBuf,
    /// Accepted for compatibility.
    #[arg(long, default_value = "tls.crt")]
    pub webhook_cert_file: String,
    /// Accepted for compatibility.
    #[arg(long, default_value = "tls.key")]
    pub webhook_key_file: String,
    /// Accepted for compatibility: errors are not sent anywhere by this version.
    #[arg(
        long,
        env = "SENTRY_DSN",
        hide_env_values = true,
        default_value = "",
        hide_default_value = true
    )]
    pub sentry_dsn: String,
    /// Accepted for compatibility.
    #[arg(long, env = "SENTRY_ENVIRONMENT", default_value = "development")]
    pub sentry_environment: String,
    /// Accepted for compatibility.
    #[arg(long, default_value_t = 0.1)]
    pub sentry_traces_sample_rate: f64,
    /// Accepted for compatibility.
    #[arg(long, default_value_t = 1.0)]
    pub sentry_error_sample_rate: f64,
    /// This replica's name; unique among replicas.
    #[arg(long, env = "POD_NAME", default_value = "")]
    pub identity: String,
    /// The namespace of this replica's pod.
    #[arg(long, env = "POD_NAMESPACE", default_value = "kube-system")]
    pub pod_namespace: String,
}

impl RunArgs {
    /// What the flags say to nothing in particular but to each other; the flag is named.
    pub fn check(&self) -> Result<(), String> {
        if self.metrics_addr == self.health_addr && self.metrics_addr.port() != 0 {
            return Err(format!(
                "--metrics-addr and --health-addr are both {}",
                self.metrics_addr
            ));
        }
        self.election_times()
            .validate()
            .map_err(|error| format!("--leader-election-*: {error}"))?;
        if self.namespaces.iter().any(String::is_empty) {
            return Err("--namespaces holds an empty name".into());
        }
        for (flag, rate) in [
            ("traces", self.sentry_traces_sample_rate),
            ("error", self.sentry_error_sample_rate),
        ] {
            if !(0.0..=1.0).contains(&rate) {
                return Err(format!(
                    "--sentry-{flag}-sample-rate is {rate}, not between 0 and 1"
                ));
            }
        }
        Ok(())
    }

    /// What is accepted and has no effect although it was asked for; the flag is named.
    #[must_use]
    pub fn warnings(&self) -> Vec<&'static str> {
        let webhook = "--enable-webhook: the webhook is not served by this version; its rules are \
                       in the CustomResourceDefinitions";
        self.enable_webhook.then_some(webhook).into_iter().collect()
    }

    /// The times of the election.
    #[must_use]
    pub fn election_times(&self) -> controller::leader::election::Times {
        controller::leader::election::Times {
            lease_duration: self.leader_election_lease_duration,
            renew_deadline: self.leader_election_renew_deadline,
            retry_period: self.leader_election_retry_period,
        }
    }

    /// The settings of the loops.
    #[must_use]
    pub fn options(&self) -> controller::context::Options {
        let defaults = controller::context::Options::default();
        let mut limits = defaults.limits.clone();
        limits.max_workers = Some(self.max_cluster_workers).filter(|limit| *limit > 0);
        limits.grace = self.unschedulable_pod_grace_period;
        limits.priority_cutoff = self.expendable_pods_priority_cutoff;
        limits.reserve.cpu_milli = i64::from(self.reserved_cpu_millis);
        limits.reserve.memory = i64::from(self.reserved_memory_mib) << 20;
        controller::context::Options {
            namespaces: self.namespaces.iter().cloned().collect::<BTreeSet<_>>(),
            lifecycle: planner::lifecycle::Policy {
                provisioning_timeout: self.provisioning_timeout,
                joining_timeout: self.joining_timeout,
                quarantine: self.create_quarantine,
                drain_timeout: self.drain_timeout,
                unhealthy_timeout: self.unhealthy_timeout,
                startup_timeout: self.startup_timeout,
                failed_ttl: Some(self.failed_vpsienode_ttl).filter(|ttl| !ttl.is_zero()),
                ..planner::lifecycle::Policy::default()
            },
            limits,
            removals: planner::removal::plan::Settings {
                at_once: self.max_concurrent_scale_downs,
                buffer_percent: self.scale_down_capacity_buffer,
                min_replicas: self.scale_down_min_replicas,
                respect_local_storage: self.scale_down_keeps_local_storage,
                respect_kube_system: self.scale_down_keeps_system_pods,
                respect_bare_pods: self.scale_down_keeps_bare_pods,
                time_zone: self.scale_down_time_zone.clone(),
                ..planner::removal::plan::Settings::default()
            },
            own_pod: (!self.identity.is_empty())
                .then(|| model::PodKey::new(self.pod_namespace.as_str(), self.identity.as_str())),
            dry_run: self.dry_run,
            // Without an election there is no leader of before.
            warm_up: if self.elects() {
                self.leader_election_lease_duration
            } else {
                defaults.warm_up
            },
            ..defaults
        }
    }

    /// Whether the replica campaigns for the lease. A dry run writes none.
    #[must_use]
    pub const fn elects(&self) -> bool {
        self.leader_election && !self.dry_run
    }

    /// How the cloud is talked to.
    #[must_use]
    pub fn provider(&self) -> vpsie::Options {
        vpsie::Options {
            requests_per_minute: self.vpsie_rate_limit,
            targeted_delete: self.vpsie_targeted_delete,
            ..vpsie::Options::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_predecessors_command_line_parses_with_its_defaults() {
        let args = Args::try_parse_from([
            "vpsie-autoscaler",
            "--kubeconfig=/etc/k",
            "--metrics-addr=:9090",
            "--leader-election=false",
            "--sync-period=30s",
            "--development=false",
            "--enable-webhook=false",
            "--vpsie-secret=x",
            "--vpsie-namespace=y",
            "--failed-vpsienode-ttl=0",
            "--log-format=console",
            "--sentry-traces-sample-rate=0.5",
        ])
        .unwrap();
        assert_eq!(args.run.vpsie_secret_name, "x");
        assert_eq!(args.run.vpsie_secret_namespace, "y");
        assert_eq!(args.run.health_addr.port(), 8081);
        assert!(!args.run.leader_election && !args.run.enable_webhook);
        assert!(args.run.options().lifecycle.failed_ttl.is_none());
        args.run.check().unwrap();
    }

    #[test]
    fn the_predecessors_webhook_is_accepted_and_warned_of_by_its_flag() {
        let parse = |flag| {
            Args::try_parse_from(["vpsie-autoscaler", flag])
                .unwrap()
                .run
        };
        for flag in ["--enable-webhook=true", "--enable-webhook"] {
            let args = parse(flag);
            args.check().unwrap();
            let warnings = args.warnings();
            assert_eq!(warnings.len(), 1);
            assert!(warnings[0].starts_with("--enable-webhook: "));
        }
        assert!(parse("--enable-webhook=false").warnings().is_empty());
    }

    #[test]
    fn bad_values_name_the_flag_and_the_value() {
        for (flag, value) in [
            ("--failed-vpsienode-ttl", "-5m"),
            ("--metrics-addr", "nowhere"),
            ("--log-level", "loud"),
            ("--vpsie-rate-limit", "0"),
            ("--create-quarantine", "7"),
        ] {
            let error = Args::try_parse_from(["x", &format!("{flag}={value}")]).unwrap_err();
            let text = error.to_string();
            let line = text.lines().next().unwrap();
            assert!(line.contains(flag) && line.contains(value), "{line}");
        }
    }
}
