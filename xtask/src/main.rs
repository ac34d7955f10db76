//! Generated files: `cargo run -p xtask -- generate [--check]`.

use std::{fs, path::Path, process::ExitCode};

use anyhow::{Context as _, bail};
use clap::Parser;

#[derive(Parser)]
#[command(about = "Writes the files that are generated from the code")]
enum Task {
    /// Write them, or with --check fail when one differs.
    Generate {
        /// Only compare.
        #[arg(long)]
        check: bool,
    },
}

fn main() -> ExitCode {
    match run(&Task::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Every generated file: its path from the root of the repository, and its content.
fn files() -> Vec<(String, String)> {
    let mut files: Vec<(String, String)> = api::crds::files()
        .into_iter()
        .map(|(name, text)| (format!("deploy/crds/{name}"), text))
        .collect();
    files.push(("docs/lifecycle.md".into(), lifecycle()));
    files
}

fn lifecycle() -> String {
    format!(
        "# The life of a machine\n\n\
         Generated from `crates/planner/src/lifecycle/table.rs` by `cargo run -p xtask -- \
         generate`; do not edit.\n\n\
         A row is what one step does. Situations that change nothing are left out: the step waits \
         and looks again.\n\n{}",
        planner::lifecycle::markdown()
    )
}

fn run(task: &Task) -> anyhow::Result<()> {
    let Task::Generate { check } = task;
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut stale = Vec::new();
    for (name, text) in files() {
        let path = root.join(&name);
        if fs::read_to_string(&path).is_ok_and(|found| found == text) {
            continue;
        }
        if *check {
            stale.push(name);
        } else {
            if let Some(folder) = path.parent() {
                fs::create_dir_all(folder)
                    .with_context(|| format!("making {}", folder.display()))?;
            }
            fs::write(&path, text).with_context(|| format!("writing {name}"))?;
            println!("wrote {name}");
        }
    }
    if !stale.is_empty() {
        bail!(
            "stale: {}; run `cargo run -p xtask -- generate`",
            stale.join(", ")
        );
    }
    Ok(())
}
