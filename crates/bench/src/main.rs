//! The workloads of the peers' benchmarks, and some of our own, each one line of JSON:
//! `docs/benchmarks.md`.

mod backlogs;
mod budgets;
mod draws;
mod engine;
mod first_fit;
mod fixture;
mod fixtures;
mod layout;
mod memory;
mod objects;
mod outcome;
mod removals;
mod steps;
mod stopwatch;
#[cfg(test)]
mod tests;

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
};

use anyhow::{Context, Result, ensure};
use clap::{Parser, Subcommand};
use serde::Serialize;

use crate::{fixture::Fixture, fixtures::Sizes, outcome::Timed};

// The product's own.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Measures the planner and the engine.
#[derive(Parser, Debug)]
struct Args {
    #[command(subcommand)]
    what: Workload,
    #[command(flatten)]
    settings: Settings,
    /// Another cluster instead of the workload's own, as `kubectl get … -o json` gives it.
    #[arg(long, global = true)]
    fixture: Option<PathBuf>,
    /// What can be bought for it, as `simulate --offerings` takes it.
    #[arg(long, global = true, requires = "fixture")]
    offerings: Option<PathBuf>,
}

/// How it is measured.
#[derive(clap::Args, Clone, Copy, Debug)]
struct Settings {
    /// How often: the median and the shortest time are told.
    #[arg(long, global = true, default_value_t = 5)]
    repeats: usize,
    /// Do not look the plan over.
    #[arg(long, global = true)]
    no_check: bool,
}

#[derive(Subcommand, Clone, Debug)]
enum Workload {
    /// Diverse pods on 400 instance types in three zones.
    #[command(name = "W1")]
    Diverse {
        /// How many.
        #[arg(long, default_value_t = 10_000)]
        pods: usize,
    },
    /// Pods with preferences that cannot all be met.
    #[command(name = "W2")]
    Preferring {
        /// How many.
        #[arg(long, default_value_t = 4000)]
        pods: usize,
    },
    /// 51,000 pods of two shapes.
    #[command(name = "W3")]
    TwoShapes,
    /// 50,000 pods without a controller: the plan and its audit.
    #[command(name = "W4")]
    Lone,
    /// Nodes of which 60 % could go: choosing them.
    #[command(name = "W5")]
    EvenlyIdle {
        /// How many.
        #[arg(long, default_value_t = 2000)]
        nodes: usize,
    },
    /// Pods that wait beside nodes that are there.
    #[command(name = "W6")]
    Waiting {
        /// How many nodes: 200 with 60,000 pods or 1,000 with 12,000; both where absent.
        #[arg(long)]
        nodes: Option<usize>,
        /// Pods of many workloads, many of which fit, and not the peer's, which fit nowhere.
        #[arg(long)]
        mixed: bool,
    },
    /// The only node on which a pod fits, the last of thousands.
    #[command(name = "W7")]
    LastFits {
        /// How many.
        #[arg(long, default_value_t = 5001)]
        nodes: usize,
    },
    /// Forking, adding a node with pods, and reverting.
    #[command(name = "W8")]
    Forked {
        /// How many nodes there are.
        #[arg(long, default_value_t = 1000)]
        nodes: usize,
    },
    /// Nodes filled to all degrees: judging each, and choosing those that go together.
    #[command(name = "W9")]
    Mixed {
        /// How many.
        #[arg(long, default_value_t = 1000)]
        nodes: usize,
    },
    /// A backlog in a cluster of the size that the product is made for.
    Cluster(#[command(flatten)] Sizes),
    /// Random backlogs: the price beside its lower bound and beside first fit's.
    Backlogs {
        /// How many.
        #[arg(long, default_value_t = 200)]
        count: u64,
        /// The seed of the first.
        #[arg(long, default_value_t = 1)]
        seed: u64,
    },
    /// All of them, each in a process of its own.
    All,
    /// Writes the fixtures into a directory.
    Export {
        /// The directory.
        directory: PathBuf,
    },
}

fn main() -> ExitCode {
    let args = Args::parse();
    match run(&args) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("bench: {error:#}");
            ExitCode::from(2)
        }
    }
}

/// Whether everything that was looked over was right.
fn run(args: &Args) -> Result<bool> {
    let settings = args.settings;
    let other = || -> Result<Option<Fixture>> {
        let read = |path: &PathBuf| Fixture::read(path, args.offerings.as_deref());
        args.fixture.as_ref().map(read).transpose()
    };
    let scale_up = |own: &dyn Fn() -> Fixture, what: Timed| -> Result<bool> {
        let (name, input) = {
            let fixture = other()?.unwrap_or_else(own);
            (fixture.name.clone(), fixture.input()?)
        };
        let line = outcome::run(&name, &input, what, settings);
        print(&line)?;
        Ok(line.checker.passes())
    };
    let removal = |own: &dyn Fn() -> Fixture, what: removals::Timed| -> Result<bool> {
        let line = removals::run(&other()?.unwrap_or_else(own), what, settings)?;
        print(&line)?;
        Ok(line.checker.passes())
    };
    match &args.what {
        Workload::Diverse { pods } => scale_up(&|| fixtures::diverse(*pods), Timed::Plan),
        Workload::Preferring { pods } => {
            scale_up(&|| fixtures::preferring(*pods), Timed::BothPreferences)
        }
        Workload::TwoShapes => scale_up(&|| fixtures::two_shapes(1000), Timed::Plan),
        Workload::Lone => scale_up(&|| fixtures::lone(1000), Timed::Decision),
        Workload::EvenlyIdle { nodes } => {
            removal(&|| fixtures::evenly_idle(*nodes), removals::Timed::Choose)
        }
        Workload::Mixed { nodes } => removal(&|| fixtures::mixed(*nodes), removals::Timed::Scan),
        Workload::Waiting { nodes, mixed } => {
            let sizes = [(200, 60_000), (1000, 12_000)];
            let asked = sizes.into_iter();
            let asked = asked.filter(|(size, _)| nodes.is_none_or(|nodes| nodes == *size));
            let mut right = true;
            for (nodes, pods) in asked {
                let own = || match mixed {
                    true => fixtures::mixed_backlog(nodes, pods),
                    false => fixtures::hopeless(nodes, pods),
                };
                right &= scale_up(&own, Timed::Placing)?;
            }
            Ok(right)
        }
        Workload::Cluster(sizes) => scale_up(&|| fixtures::cluster(*sizes), Timed::Plan),
        Workload::LastFits { nodes } => {
            let fixture = other()?.unwrap_or_else(|| fixtures::last_fits(*nodes));
            let found = engine::first_fit(&fixture, settings.repeats)?;
            print(&found)?;
            Ok(found.on.is_some())
        }
        Workload::Forked { nodes } => {
            let fixture = other()?.unwrap_or_else(|| fixtures::forked(*nodes));
            let forked = engine::fork_revert(&fixture, settings.repeats)?;
            print(&forked)?;
            Ok(forked.digest_equal)
        }
        Workload::Backlogs { count, seed } => {
            let mut right = true;
            for plain in [true, false] {
                let summary = backlogs::run(*seed, *count, plain, settings.no_check)?;
                print(&summary)?;
                right &= summary.above_first_fit.is_empty() && summary.checker.passes();
            }
            Ok(right)
        }
        Workload::All => all(settings),
        Workload::Export { directory } => {
            fs::create_dir_all(directory)
                .with_context(|| format!("cannot make {}", directory.display()))?;
            export(directory)?;
            Ok(true)
        }
    }
}

fn print(line: &impl Serialize) -> Result<()> {
    println!("{}", serde_json::to_string(line)?);
    Ok(())
}

/// What `all` runs.
const ALL: [&[&str]; 21] = [
    &["W1", "--pods", "1000"],
    &["W1", "--pods", "5000"],
    &["W1", "--pods", "10000"],
    &["W1", "--pods", "20000"],
    &["W2"],
    &["W3"],
    &["W4"],
    &["W5"],
    &["W6", "--nodes", "200"],
    &["W6", "--nodes", "1000"],
    &["W6", "--nodes", "200", "--mixed"],
    &["W6", "--nodes", "1000", "--mixed"],
    &["W7"],
    &["W8", "--nodes", "1000"],
    &["W8", "--nodes", "10000"],
    &["W8", "--nodes", "100000"],
    &["W9", "--nodes", "300"],
    &["W9", "--nodes", "700"],
    &["W9", "--nodes", "1000"],
    &["cluster"],
    &["backlogs"],
];

/// One process each: what one leaves behind in memory is not the next one's peak.
fn all(settings: Settings) -> Result<bool> {
    let program = std::env::current_exe().context("where is this program?")?;
    let mut right = true;
    for workload in ALL {
        let mut command = Command::new(&program);
        command.args(workload);
        command.args(["--repeats", &settings.repeats.to_string()]);
        command.args(settings.no_check.then_some("--no-check"));
        let status = command.status().context("cannot start a process")?;
        ensure!(status.code() != Some(2), "{} failed", workload.join(" "));
        right &= status.success();
    }
    Ok(right)
}

fn export(directory: &Path) -> Result<()> {
    for pods in [1000, 5000, 10_000, 20_000] {
        fixtures::diverse(pods).write(directory)?;
    }
    fixtures::preferring(4000).write(directory)?;
    fixtures::two_shapes(1000).write(directory)?;
    fixtures::lone(1000).write(directory)?;
    fixtures::evenly_idle(2000).write(directory)?;
    for (nodes, pods) in [(200, 60_000), (1000, 12_000)] {
        fixtures::hopeless(nodes, pods).write(directory)?;
        fixtures::mixed_backlog(nodes, pods).write(directory)?;
    }
    fixtures::last_fits(5001).write(directory)?;
    fixtures::forked(1000).write(directory)?;
    for nodes in [300, 700, 1000] {
        fixtures::mixed(nodes).write(directory)?;
    }
    Ok(())
}
