//! Measures the product at the size of a large cluster and prints the figures as one JSON object.
//!
//! A simulated API server with the cluster in it and a simulated cloud are served over loopback by
//! this process; the product runs as a process of its own (this program again, as `run`), so that
//! its memory and CPU are its alone. What each figure means: `docs/figures.md`.

mod cluster;
mod idle_hour;
mod process;

use std::{path::PathBuf, process::ExitCode, time::Duration};

use clap::Parser;
use http::Request;
use runtime::{Clock, Randomness, Tasks};
use serde_json::{Value, json};
use sim::{ActorsConfig, World, WorldConfig};
use tokio::net::TcpListener;
use vpsie_sim::{Phase, Role, Route, Span, Timings};

use crate::process::Product;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// What is measured.
#[derive(Parser, Debug)]
struct Figures {
    /// Nodes of the cluster.
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..))]
    nodes: u32,
    /// Running pods, about 9 KB each, spread evenly.
    #[arg(long, default_value_t = 30_000)]
    pods: u32,
    /// Pods that fit nowhere, one after the other.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
    shortages: u32,
    /// Seconds over which idle CPU is measured.
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..))]
    idle_seconds: u64,
    /// The product's executable; this program itself where absent.
    #[arg(long)]
    product: Option<PathBuf>,
}

fn main() -> ExitCode {
    let product = std::env::args().nth(1).is_some_and(|first| first == "run");
    if product {
        if rustls::crypto::ring::default_provider()
            .install_default()
            .is_err()
        {
            return ExitCode::FAILURE;
        }
        return match vpsie_autoscaler::Args::try_parse() {
            Ok(args) => vpsie_autoscaler::run(args),
            Err(error) => vpsie_autoscaler::refuse(&error),
        };
    }
    let figures = Figures::parse();
    let measured = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|error| format!("the runtime could not be started: {error}"))
        .and_then(|runtime| runtime.block_on(measure(&figures)))
        .and_then(|mut measured| {
            measured["idleHourWritesBesidesLease"] = json!(idle_hour::writes()?);
            Ok(measured)
        });
    match measured {
        Ok(measured) => {
            println!("{measured:#}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn measure(figures: &Figures) -> Result<Value, String> {
    let clock = Clock::system();
    let tasks = Tasks::new();
    let (kube, kube_port) = listen().await?;
    let (cloud, cloud_port) = listen().await?;
    let world = world(cloud_port, &clock, &tasks).await?;
    cluster::plant(&world, figures.nodes, figures.pods)?;
    let (server, connections) = (world.kube.clone(), tasks.clone());
    tasks.spawn("kubernetes", async move {
        server.serve(kube, &connections).await;
    });
    let server = world.cloud.clone();
    tasks.spawn("cloud", async move { server.serve(cloud).await });

    eprintln!("cluster planted; the product starts");
    let started = clock.monotonic();
    let product = Product::start(figures.product.as_deref(), kube_port).await?;
    let limit = Duration::from_mins(5);
    let ready = || async { Ok(product.is_ready().await) };
    until(&clock, limit, "the product is ready", &product, ready).await?;
    let ready_after = clock.monotonic().saturating_sub(started);
    join_first_machines(&world, &product).await?;

    clock.sleep(Duration::from_secs(15)).await;
    eprintln!("idle for {} s", figures.idle_seconds);
    let (cpu_before, from) = (product.cpu()?, clock.monotonic());
    clock.sleep(Duration::from_secs(figures.idle_seconds)).await;
    let spent = product.cpu()?.saturating_sub(cpu_before).as_secs_f64();
    let idle_millicores = spent * 1000.0 / clock.monotonic().saturating_sub(from).as_secs_f64();
    let idle = product.memory()?;

    let mut times = Vec::new();
    let cpu_before = product.cpu()?;
    for number in 0..figures.shortages {
        times.push(shortage(&world, &product, number).await?);
    }
    let busy = product.cpu()?.saturating_sub(cpu_before);
    times.sort_unstable();
    let after = product.memory()?;
    product.end();
    tasks.stop();
    Ok(json!({
        "nodes": figures.nodes,
        "pods": figures.pods,
        "shortages": figures.shortages,
        "podBytes": cluster::POD_BYTES,
        "readySeconds": rounded(ready_after.as_secs_f64()),
        "rssMiB": rounded(idle.resident),
        "rssAnonMiB": rounded(idle.anonymous),
        "rssAfterShortagesMiB": rounded(after.resident),
        "hwmMiB": rounded(after.peak),
        "idleCpuMillicores": rounded(idle_millicores),
        "cpuMillisecondsPerShortage": rounded(busy.as_secs_f64() * 1000.0 / f64::from(figures.shortages)),
        "shortageToPostSeconds": {
            "p50": rounded(percentile(&times, 50).as_secs_f64()),
            "p95": rounded(percentile(&times, 95).as_secs_f64()),
            "max": rounded(percentile(&times, 100).as_secs_f64()),
        },
        "optimized": !cfg!(debug_assertions),
    }))
}

/// A world without actors: nobody but this program and the product changes anything.
async fn world(cloud_port: u16, clock: &Clock, tasks: &Tasks) -> Result<World, String> {
    let mut config = WorldConfig {
        actors: ActorsConfig {
            scheduler: false,
            workloads: false,
            kubelet: false,
            machines: false,
            node_lifecycle: false,
            disruption: false,
            tally: false,
        },
        ..WorldConfig::default()
    };
    // The groups' first machines run at once.
    config.cloud.timings = Timings {
        queued: Span::seconds(0, 0),
        creating: Span::seconds(1, 1),
        ..Timings::default()
    };
    config.cloud_url = Some(format!("http://127.0.0.1:{cloud_port}/apps/v2"));
    let world = World::start(config, clock.clone(), Randomness::seeded(1), tasks)
        .await
        .map_err(|error| format!("the world could not be made: {error}"))?;
    cluster::apply_groups(&world).await?;
    Ok(world)
}

async fn listen() -> Result<(TcpListener, u16), String> {
    let refused = |error: std::io::Error| format!("no loopback port: {error}");
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.map_err(refused)?;
    let port = listener.local_addr().map_err(refused)?.port();
    Ok((listener, port))
}

/// Waits until `holds`; an error when it does not within `limit`, or the product ends.
async fn until<F: Future<Output = Result<bool, String>>>(
    clock: &Clock,
    limit: Duration,
    what: &str,
    product: &Product,
    holds: impl Fn() -> F,
) -> Result<(), String> {
    let deadline = clock.monotonic() + limit;
    while !holds().await? {
        if clock.monotonic() > deadline {
            return Err(format!(
                "{what}: not within {limit:?}; the product's log: {}",
                product.log().display()
            ));
        }
        clock.sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}

/// The machines of the groups' minima become full, Ready Nodes; later ones take their time.
async fn join_first_machines(world: &World, product: &Product) -> Result<(), String> {
    let client = world.client("figures");
    let limit = Duration::from_mins(3);
    let workers = || {
        let machines = world.cloud.machines().into_iter();
        machines.filter(|machine| machine.role == Role::Worker)
    };
    let run = || async {
        let running = workers().filter(|machine| machine.phase == Phase::Running);
        Ok(running.count() == cluster::FIRST_WORKERS)
    };
    until(&world.clock, limit, "first machines", product, run).await?;
    world
        .cloud
        .reconfigure(|config| config.timings = Timings::default());
    for (number, machine) in workers().enumerate() {
        cluster::join(world, &machine, number)?;
    }
    let ready = || async {
        let request = Request::get("/apis/autoscaler.vpsie.com/v1alpha1/vpsienodes")
            .body(Vec::new())
            .map_err(|error| error.to_string())?;
        let list: Value = client
            .request(request)
            .await
            .map_err(|error| format!("VPSieNodes: {error}"))?;
        let items = list["items"].as_array().map_or(&[][..], Vec::as_slice);
        let ready = items
            .iter()
            .filter(|item| item["status"]["phase"] == "Ready");
        Ok(ready.count() == cluster::FIRST_WORKERS)
    };
    until(&world.clock, limit, "first nodes Ready", product, ready).await
}

/// The time from a pod's becoming unschedulable to the purchase's arrival at the cloud.
///
/// The pod stays, so that the machine on its way is spoken for and the next pod needs another.
async fn shortage(world: &World, product: &Product, number: u32) -> Result<Duration, String> {
    let purchases = || {
        let journal = world.cloud.journal().into_iter();
        journal.filter(|request| request.route == Route::AddWorker)
    };
    let before = purchases().count();
    // Nothing ties the moment of the shortage to the product's own timers.
    let pause = Duration::from_millis(100 + u64::from(number) * 37 % 400);
    world.clock.sleep(pause).await;
    let began = world.clock.now();
    cluster::insert(world, cluster::unschedulable(number, began))?;
    let limit = Duration::from_mins(1);
    let bought = || async { Ok(purchases().count() > before) };
    until(&world.clock, limit, "a purchase", product, bought).await?;
    let arrived = purchases().nth(before).ok_or("the journal shrank")?.at;
    Duration::try_from(arrived.duration_since(began)).map_err(|error| error.to_string())
}

/// The smallest of the sorted `times` that so many percent of them do not exceed.
fn percentile(times: &[Duration], percent: usize) -> Duration {
    let rank = (times.len() * percent).div_ceil(100).max(1);
    times.get(rank - 1).copied().unwrap_or_default()
}

fn rounded(value: f64) -> f64 {
    (value * 1000.0).round() / 1000.0
}
