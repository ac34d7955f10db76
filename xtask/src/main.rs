//! Generated files: `cargo run -p xtask -- generate [--check]`; a control plane for a developer:
//! `control-plane [--with-cloud]`; filters held against the real scheduler's: `oracle fresh`; and
//! wrong lines that those must find: `plant`.

mod plant;

use std::{
    fs,
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
};

use anyhow::{Context as _, bail};
use clap::Parser;

#[derive(Parser)]
#[command(about = "Chores of this repository")]
enum Task {
    /// Write the files that are generated from the code, or with --check fail when one differs.
    Generate {
        /// Only compare.
        #[arg(long)]
        check: bool,
    },
    /// Run a real Kubernetes control plane until Ctrl-C (see e2e/README.md).
    #[command(disable_help_flag = true)]
    ControlPlane {
        /// Its arguments; --help lists them.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Plant wrong lines in a copy of the engine and see how soon the oracle's recorded clusters find
    /// them (see docs/oracle-plants.md).
    Plant {
        /// Only in files whose path holds this.
        #[arg(long)]
        only: Option<String>,
        /// Write the table to this file instead of printing it.
        #[arg(long)]
        into: Option<PathBuf>,
    },
    /// Compare filters with the real scheduler's (see oracle/README.md).
    #[command(disable_help_flag = true)]
    Oracle {
        /// Its arguments; --help lists them.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
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
    files.push(("docs/scale-down.md".into(), scale_down()));
    files
}

/// The document as it is, with the table of refusals as it has to be.
fn scale_down() -> String {
    const BEGIN: &str = "<!-- generated from `crates/planner/src/removal/refusal/table.rs` -->\n";
    const END: &str = "<!-- end -->\n";
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/scale-down.md");
    let text = fs::read_to_string(path).unwrap_or_default();
    let (before, rest) = text.split_once(BEGIN).unwrap_or((&text, END));
    let (_, after) = rest.split_once(END).unwrap_or_default();
    let table = planner::removal::refusal::markdown();
    format!("{before}{BEGIN}\n{table}\n{END}{after}")
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
    match task {
        Task::Generate { check } => generate(*check),
        Task::ControlPlane { arguments } => program("e2e", "control-plane", arguments),
        Task::Plant { only, into } => {
            let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
            plant::plant(&root, only.as_deref(), into.as_deref())
        }
        Task::Oracle { arguments } => program("oracle", "oracle", arguments),
    }
}

/// Becomes the program of another crate, which is built only here: this one stays quick to build.
fn program(package: &str, name: &str, arguments: &[String]) -> anyhow::Result<()> {
    let error = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args(["run", "--quiet", "--package", package, "--bin", name, "--"])
        .args(arguments)
        .exec();
    Err(error).context("running cargo")
}

fn generate(check: bool) -> anyhow::Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut stale = Vec::new();
    for (name, text) in files() {
        let path = root.join(&name);
        if fs::read_to_string(&path).is_ok_and(|found| found == text) {
            continue;
        }
        if check {
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Names of all functions of the Rust files below `folder`.
    fn functions(folder: &Path, names: &mut Vec<String>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                functions(&path, names);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).unwrap();
                let named = text.split("fn ").skip(1);
                names
                    .extend(named.filter_map(|rest| rest.split('(').next().map(ToOwned::to_owned)));
            }
        }
    }

    #[test]
    fn generated_files_are_as_the_code_says() {
        generate(true).unwrap();
    }

    #[test]
    fn documents_name_only_what_exists() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let mut names = Vec::new();
        functions(&root.join("crates"), &mut names);
        functions(&root.join("xtask"), &mut names);
        let is_test = |quoted: &str| {
            quoted.matches('_').count() >= 3
                && quoted
                    .chars()
                    .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
        };
        let folders = ["crates/", "deploy/", "docs/", "scenarios/", "xtask/"];
        let mut looked_up = 0;
        for document in [
            "README.md",
            "ARCHITECTURE.md",
            "CONTRIBUTING.md",
            "docs/explain.md",
            "docs/figures.md",
            "docs/oracle-plants.md",
        ] {
            let text = fs::read_to_string(root.join(document)).unwrap();
            // What stands between two backticks of one line.
            for quoted in text
                .lines()
                .flat_map(|line| line.split('`').skip(1).step_by(2))
            {
                if is_test(quoted) {
                    assert!(names.iter().any(|n| n == quoted), "{document}: {quoted}");
                } else if folders.iter().any(|folder| quoted.starts_with(folder)) {
                    assert!(root.join(quoted).exists(), "{document}: {quoted}");
                } else {
                    continue;
                }
                looked_up += 1;
            }
        }
        assert!(looked_up > 30, "{looked_up}");
    }
}
