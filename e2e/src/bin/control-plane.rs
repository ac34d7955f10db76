//! A control plane for a developer: the real components with this repository's definitions and
//! rights, until Ctrl-C; with `--with-cloud` also the simulated cloud and its machines' kubelets.

use std::{path::PathBuf, process::ExitCode, time::Duration};

use anyhow::Context as _;
use clap::Parser;
use e2e::{ControlPlane, Settings, Stage};
use runtime::Clock;
use sim::Scenario;
use tokio::signal::unix::{SignalKind, signal};

/// How often it is looked whether everything still runs.
const LOOK: Duration = Duration::from_secs(1);
/// The world that `--with-cloud` makes unless another is named.
const SCENARIO: &str = include_str!("../../../scenarios/default.yaml");

/// Runs a real Kubernetes control plane on loopback until Ctrl-C.
#[derive(Parser)]
struct Args {
    /// Also run the VPSie simulator and simulated kubelets, and apply the NodeGroups of a scenario.
    #[arg(long)]
    with_cloud: bool,
    /// The scenario whose world and NodeGroups those are; its steps are not played.
    #[arg(long, requires = "with_cloud")]
    scenario: Option<PathBuf>,
    /// Leave logs and data behind.
    #[arg(long)]
    keep: bool,
}

#[tokio::main]
async fn main() -> ExitCode {
    let mut interrupt = std::pin::pin!(interrupted());
    // Dropped at an interrupt, a start leaves nothing behind either.
    let outcome = tokio::select! {
        biased;
        outcome = &mut interrupt => outcome,
        outcome = run(Args::parse()) => outcome,
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn interrupted() -> anyhow::Result<()> {
    let listen = |kind| signal(kind).context("listening for signals");
    let mut interrupt = listen(SignalKind::interrupt())?;
    let mut terminate = listen(SignalKind::terminate())?;
    tokio::select! {
        biased;
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    eprintln!("stopping");
    Ok(())
}

async fn run(args: Args) -> anyhow::Result<()> {
    let mut settings = Settings::default();
    settings.keep |= args.keep;
    let mut plane = ControlPlane::start(settings).await?;
    plane
        .install()
        .await
        .context("installing what the product needs")?;
    let product = plane
        .service_account_kubeconfig("kube-system", "vpsie-autoscaler")
        .await?;
    println!("A control plane runs; Ctrl-C stops it.");
    println!("  logs       {}", plane.directory().join("logs").display());
    println!("  audit log  {}", plane.audit().path().display());
    println!("As administrator:");
    println!("  export KUBECONFIG={}", plane.kubeconfig().display());
    println!("The product, with the rights of deploy/manifests:");
    println!(
        "  vpsie-autoscaler run --vpsie-allow-loopback-http --kubeconfig {}",
        product.display()
    );
    let _cloud = if args.with_cloud {
        Some(with_cloud(&plane, args.scenario).await?)
    } else {
        None
    };
    let clock = Clock::system();
    loop {
        clock.sleep(LOOK).await;
        plane.check()?;
    }
}

async fn with_cloud(plane: &ControlPlane, scenario: Option<PathBuf>) -> anyhow::Result<Stage> {
    let text = match &scenario {
        None => SCENARIO.to_owned(),
        Some(path) => {
            std::fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?
        }
    };
    let scenario = Scenario::from_yaml(&text)?;
    let stage = Stage::set(plane, scenario.world, scenario.seed).await?;
    for object in &scenario.manifests {
        plane.apply(&object.to_string()).await?;
    }
    println!("The simulated cloud, with its Secret and the NodeGroups of a scenario:");
    println!("  {}", stage.cloud_url);
    Ok(stage)
}
