//! Records what the real API server answers to the script that `kube-sim` is held to.
//!
//! `cargo run -p e2e --bin conformance -- record` writes `crates/kube-sim/tests/conformance/recorded`;
//! the test `conformance` of `kube-sim` replays the script and compares.

use std::{path::Path, process::ExitCode};

use anyhow::Context as _;
use clap::Parser;
use conformance::{Chapter, Controllers};
use e2e::{Component, ControlPlane, Settings};
use runtime::Clock;

/// Records the real API server's answers.
#[derive(Parser)]
enum Args {
    /// Plays the script on a real API server and stores its answers.
    Record {
        /// Only chapters whose name contains one of these.
        chapters: Vec<String>,
    },
}

#[tokio::main]
async fn main() -> ExitCode {
    let Args::Record { chapters } = Args::parse();
    match record(&chapters).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn record(wanted: &[String]) -> anyhow::Result<()> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("..")
        .join(conformance::FOLDER);
    let mut chapters = conformance::chapters(&folder)?;
    let named = |chapter: &Chapter| wanted.iter().any(|part| chapter.name.contains(part));
    chapters.retain(|chapter| wanted.is_empty() || named(chapter));
    let clock = Clock::system();
    let started = clock.monotonic();
    let mut plane = ControlPlane::start(Settings::default()).await?;
    // Nobody may change what the script made.
    plane.stop(Component::Scheduler);
    plane.stop(Component::ControllerManager);
    let client = plane.client().await?;
    conformance::prepare(&client, &clock).await?;
    let mut requests = 0;
    for chapter in &chapters {
        match chapter.controllers {
            Controllers::Running => {
                plane.start_component(Component::ControllerManager).await?;
            }
            Controllers::Stopped => plane.stop(Component::ControllerManager),
        }
        let entries = conformance::play(&client, &clock, chapter)
            .await
            .with_context(|| format!("chapter {}", chapter.name))?;
        conformance::store(&conformance::recording(&folder, chapter), &entries)?;
        println!("{:28} {:4} requests", chapter.name, entries.len());
        requests += entries.len();
    }
    let seconds = clock.monotonic().saturating_sub(started).as_secs();
    println!("{requests} requests recorded in {seconds} s");
    Ok(())
}
