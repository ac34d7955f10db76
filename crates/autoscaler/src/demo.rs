//! The embedded world around the product: `demo` plays a story in it over real sockets, tests use
//! its parts in virtual time.
//!
//! The product is wired as `run` wires it: its Kubernetes client speaks HTTP to the simulated API
//! server, its provider HTTP to the simulated cloud. Only the clock runs faster.

mod in_process;
mod plain;
mod screen;

use std::{
    io::IsTerminal as _,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
    time::Duration,
};

use clap::{Parser, ValueEnum};
use jiff::Timestamp;
use runtime::{Clock, Randomness, Tasks};
use sim::{Progress, Scenario, Verdict, World};
use tokio::{net::TcpListener, sync::mpsc};

pub use in_process::InProcess;

use crate::{
    Replica, RunArgs, Seams,
    args::{Args, LogFormat, LogLevel},
    logs, wire,
};

/// How the demo tells what happens.
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub enum Output {
    /// As it happens; a screen where there is a terminal, else lines.
    Text,
    /// One JSON object at the end.
    Json,
}

/// Flags of `demo`.
#[derive(Parser, Debug)]
pub struct DemoArgs {
    /// Stay up after the story, for kubectl.
    #[arg(long)]
    pub keep: bool,
    /// How many times faster than real time.
    #[arg(long, default_value_t = 40.0, value_parser = speed)]
    pub speed: f64,
    /// The seed of everything random; the scenario's where absent.
    #[arg(long)]
    pub seed: Option<u64>,
    /// A scenario file; the default story where absent.
    #[arg(long)]
    pub scenario: Option<PathBuf>,
    /// How to tell what happens.
    #[arg(long, value_enum, default_value = "text")]
    pub output: Output,
    /// Show the product's logs on standard error.
    #[arg(long)]
    pub logs: bool,
}

fn speed(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(speed) if (1.0..=60.0).contains(&speed) => Ok(speed),
        _ => Err("a number from 1 to 60 is expected".into()),
    }
}

const DEFAULT: &str = include_str!("../../../scenarios/default.yaml");

/// How often, in the world's time, the state is shown.
const EVERY: Duration = Duration::from_secs(10);

/// Plays the story; status 1 when it does not end as it must.
pub(crate) fn main(args: &DemoArgs) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build();
    let outcome = match runtime {
        Ok(runtime) => runtime.block_on(run(args)),
        Err(error) => Err(format!("the runtime could not be started: {error}")),
    };
    match outcome {
        Ok(verdict) if verdict.passed => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(crate::USAGE)
        }
    }
}

fn scenario(args: &DemoArgs) -> Result<Scenario, String> {
    let text = match &args.scenario {
        Some(path) => std::fs::read_to_string(path)
            .map_err(|error| format!("--scenario {}: {error}", path.display()))?,
        None => DEFAULT.to_owned(),
    };
    let mut scenario = Scenario::from_yaml(&text).map_err(|error| match &args.scenario {
        Some(path) => format!("--scenario {}: {error}", path.display()),
        None => error.to_string(),
    })?;
    if let Some(seed) = args.seed {
        scenario.seed = seed;
    }
    Ok(scenario)
}

async fn run(args: &DemoArgs) -> Result<Verdict, String> {
    let mut scenario = scenario(args)?;
    let clock = Clock::starting_at(wall_clock(), args.speed);
    let random = Randomness::seeded(scenario.seed);
    let tasks = Tasks::new();
    let (kube_listener, kube_port) = listen().await?;
    let (cloud_listener, cloud_port) = listen().await?;
    // The Secret names the simulated cloud instead of the real one.
    scenario.world.cloud_url = Some(format!("http://127.0.0.1:{cloud_port}/apps/v2"));
    let world = World::start(
        scenario.world.clone(),
        clock.clone(),
        random.fork("world"),
        &tasks,
    )
    .await
    .map_err(|error| format!("the world could not be made: {error}"))?;
    serve(&world, &tasks, kube_listener, cloud_listener);
    let kubeconfig = write_kubeconfig(kube_port)?;

    let run_args = product_args(&kubeconfig, args.speed, &scenario)?;
    if args.logs {
        logs::install(&run_args);
    }
    let transport = vpsie::ReqwestTransport::new()
        .map_err(|error| format!("the HTTP client could not be built: {error}"))?;
    let seams = Seams {
        clock: clock.clone(),
        random: random.fork("product"),
        client: wire::client(&run_args.kubeconfig).await?,
        transport: Arc::new(transport),
    };
    let (metrics, metrics_port) = listen().await?;
    let (health, _) = listen().await?;
    let mut replica = Replica::start(&run_args, seams.clone(), Some((metrics, health)));

    let story = tell(args, &world, &scenario, &tasks);
    tokio::pin!(story);
    let verdict = loop {
        tokio::select! {
            biased;
            verdict = &mut story => break verdict,
            // As the kubelet would: a process that lost its lease is started again.
            () = replica.lost() => {
                replica.stop().await;
                replica = Replica::start(&run_args, seams.clone(), None);
            }
        }
    };
    match args.output {
        Output::Json => println!("{}", serde_json::to_string(&verdict).unwrap_or_default()),
        Output::Text => plain::verdict(&verdict),
    }
    if args.keep {
        eprintln!(
            "the world stays up until Ctrl-C:\n  export KUBECONFIG={}\n  kubectl get ng,vn,nodes,pods -A\nmetrics: http://127.0.0.1:{metrics_port}/metrics",
            kubeconfig.display()
        );
        wire::signalled().await;
    }
    replica.stop().await;
    tasks.stop();
    tasks.abort();
    // The file names ports that nobody serves any more.
    let _ = std::fs::remove_file(&kubeconfig);
    Ok(verdict)
}

/// The demo begins at the wall clock's time, so that ages in kubectl make sense.
#[allow(clippy::disallowed_methods)]
fn wall_clock() -> Timestamp {
    Timestamp::now()
}

async fn listen() -> Result<(TcpListener, u16), String> {
    let listener = TcpListener::bind(("127.0.0.1", 0))
        .await
        .map_err(|error| format!("no loopback port: {error}"))?;
    let port = listener
        .local_addr()
        .map_err(|error| format!("no loopback port: {error}"))?
        .port();
    Ok((listener, port))
}

fn serve(world: &World, tasks: &Tasks, kube: TcpListener, cloud: TcpListener) {
    let server = world.cloud.clone();
    tasks.spawn("cloud", async move { server.serve(cloud).await });
    let (server, connections) = (world.kube.clone(), tasks.clone());
    tasks.spawn("kubernetes", async move {
        server.serve(kube, &connections).await;
    });
}

fn write_kubeconfig(port: u16) -> Result<PathBuf, String> {
    let path = std::env::temp_dir().join(format!("vpsie-autoscaler-demo-{port}.kubeconfig"));
    let text = format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: demo\nclusters:\n- name: demo\n  cluster: {{server: 'http://127.0.0.1:{port}'}}\ncontexts:\n- name: demo\n  context: {{cluster: demo, user: demo}}\nusers:\n- name: demo\n  user: {{}}\n"
    );
    std::fs::write(&path, text).map_err(|error| format!("{}: {error}", path.display()))?;
    Ok(path)
}

/// The product's own command line, as a user would write it against this world.
///
/// Its election times are those of `run` in real time: on a busy machine a lease that ran out in a
/// thirtieth of a second would be lost for no reason of the product's.
fn product_args(kubeconfig: &Path, speed: f64, scenario: &Scenario) -> Result<RunArgs, String> {
    let real = |seconds: f64| format!("{}s", (seconds * speed).ceil());
    let flags = [
        "vpsie-autoscaler".to_owned(),
        format!("--kubeconfig={}", kubeconfig.display()),
        "--vpsie-allow-loopback-http".to_owned(),
        format!("--leader-election-lease-duration={}", real(15.0)),
        format!("--leader-election-renew-deadline={}", real(10.0)),
        format!("--leader-election-retry-period={}", real(2.0)),
    ];
    let mut args = Args::try_parse_from(flags.iter().chain(&scenario.flags))
        .map_err(|error| format!("scenario {:?}: {error}", scenario.name))?
        .run;
    args.log_format = LogFormat::Console;
    args.log_level = LogLevel::Info;
    Ok(args)
}

/// Plays the story and shows it.
async fn tell(args: &DemoArgs, world: &World, scenario: &Scenario, tasks: &Tasks) -> Verdict {
    let (sender, mut receiver) = mpsc::unbounded_channel::<Progress>();
    let terminal = args.output == Output::Text && std::io::stdout().is_terminal() && !args.logs;
    let (shown, done) = tokio::sync::oneshot::channel();
    let quiet = args.output == Output::Json;
    let title = scenario.name.clone();
    tasks.spawn("show", async move {
        let mut screen = if terminal {
            screen::Screen::open()
        } else {
            None
        };
        let mut lines = plain::Lines::default();
        while let Some(progress) = receiver.recv().await {
            match &mut screen {
                Some(screen) => screen.draw(&title, &progress),
                None if quiet => {}
                None => lines.show(&progress),
            }
        }
        drop(screen);
        let _ = shown.send(());
    });
    let verdict = sim::story::play(world, scenario, Some(&sender), EVERY).await;
    drop(sender);
    let _ = done.await;
    verdict
}
