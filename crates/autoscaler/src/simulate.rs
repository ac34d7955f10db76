//! `simulate`: what would be bought for a cluster, and what if it were another; nothing is ever
//! written there.
//!
//! The plan is the one the loop that buys would make: same input, same planner, same audit. This
//! file is what a user calls: arguments, sources, exit status. [`change`] changes the cluster,
//! [`manifest`] reads what is added, [`outcome`] sums up, [`answer`] writes JSON and [`advice`] text.

mod advice;
mod answer;
mod change;
mod manifest;
mod outcome;

use std::{
    io::{self, BufWriter, Write},
    process::ExitCode,
};

use clap::Parser;
use intake::dump::Problem;
use planner::{audit, scale_up};

use crate::{
    explain::Output,
    offline::{
        self,
        sources::{self, SourceError, in_one_line},
    },
};
use change::ChangeError;
use manifest::ManifestError;
use outcome::Outcome;

/// Flags of `simulate`.
#[derive(Parser, Debug, Clone)]
pub struct SimulateArgs {
    /// What `kubectl get nodes,pods,… -A -o json` (or yaml) gave; `-` is standard input. Without it
    /// the cluster itself is read.
    #[arg(long, value_name = "DUMP", conflicts_with = "kubeconfig")]
    pub from_file: Option<String>,
    /// Pods and workloads that there are besides, JSON or YAML; `-` is standard input. May be
    /// given several times.
    #[arg(long, value_name = "MANIFEST")]
    pub add_pods: Vec<String>,
    /// A node that is gone: its pods wait. May be given several times.
    #[arg(long, value_name = "NODE")]
    pub remove_node: Vec<String>,
    /// What can be bought, JSON or YAML (docs/explain.md); without it nothing is.
    #[arg(long, value_name = "FILE")]
    pub offerings: Option<String>,
    /// The kubeconfig of the cluster to read; by default the one kubectl would use.
    #[arg(long, default_value = "", hide_default_value = true)]
    pub kubeconfig: String,
    /// How the answer looks: docs/simulate.md describes the JSON.
    #[arg(short, long, value_enum, default_value = "text")]
    pub output: Output,
}

/// Why there is no answer at all.
#[derive(Debug, thiserror::Error)]
enum SimulateError {
    /// Standard input is named more than once.
    #[error("standard input is only one of the dump, the manifest and the offerings")]
    OneInput,
    /// What it is to be answered from.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// What would be asked about cannot be read.
    #[error("{name}: {problem}")]
    Unreadable { name: String, problem: Box<Problem> },
    /// A node cannot be removed.
    #[error("--remove-node")]
    Remove(#[source] ChangeError),
    /// A manifest cannot be used.
    #[error("--add-pods {name}")]
    Manifest {
        name: String,
        #[source]
        source: ManifestError,
    },
    /// What it describes cannot be added.
    #[error("--add-pods {name}")]
    Add {
        name: String,
        #[source]
        source: ChangeError,
    },
    /// The plan is not one that would be carried out.
    #[error("the plan breaks a rule and would not be carried out: {0}")]
    Audit(String),
    /// The answer cannot be written.
    #[error("the answer cannot be written")]
    Write(#[source] io::Error),
}

/// Simulates, and exits with 2 where nothing could be answered.
pub(crate) fn main(args: &SimulateArgs) -> ExitCode {
    let mut out = BufWriter::new(io::stdout().lock());
    let told = run(args, &mut out).and_then(|complete| {
        out.flush().map_err(SimulateError::Write)?;
        Ok(complete)
    });
    match told {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(crate::USAGE),
        // Nobody reads any more.
        Err(SimulateError::Write(error)) if error.kind() == io::ErrorKind::BrokenPipe => {
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("error: {}", in_one_line(&error));
            ExitCode::from(crate::USAGE)
        }
    }
}

/// Whether anything could be said about any of the pods.
fn run(args: &SimulateArgs, out: &mut impl Write) -> Result<bool, SimulateError> {
    let files = args.from_file.iter().chain(&args.add_pods);
    if files
        .chain(&args.offerings)
        .filter(|name| *name == "-")
        .count()
        > 1
    {
        return Err(SimulateError::OneInput);
    }
    let offerings = args.offerings.as_deref();
    let catalogue = offerings.map(sources::catalogue).transpose()?;
    let mut manifests = Vec::new();
    for path in &args.add_pods {
        let (name, text) = (sources::called(path), sources::text(path)?);
        match manifest::read(&text) {
            Ok(objects) => manifests.push((name, objects)),
            Err(source) => return Err(SimulateError::Manifest { name, source }),
        }
    }
    let (name, mut dump) = sources::dump(args.from_file.as_deref(), &args.kubeconfig)?;
    change::remove_nodes(&mut dump, &args.remove_node).map_err(SimulateError::Remove)?;
    for (name, objects) in manifests {
        let added = manifest::expand(&objects, &dump.surroundings.storage);
        let added = match added {
            Ok(added) => added,
            Err(source) => return Err(SimulateError::Manifest { name, source }),
        };
        for line in &added.notes {
            sources::note(&format!("{name}: {line}"));
        }
        if let Err(source) = change::add(&mut dump, &added) {
            return Err(SimulateError::Add { name, source });
        }
    }
    let lost = sources::lost(&dump).cloned();
    sources::note_problems(&name, &dump, lost.as_ref());
    if let Some(problem) = lost.map(Box::new) {
        return Err(SimulateError::Unreadable { name, problem });
    }

    let groups = offline::groups(&dump, catalogue.as_ref());
    let input = offline::input(dump, catalogue.as_ref());
    let (plan, report) = scale_up::plan(&input);
    if let Some(violation) = audit::scale_up(&input, &plan).first() {
        return Err(SimulateError::Audit(violation.to_string()));
    }
    let outcome = Outcome::new(&plan, &report);
    match args.output {
        Output::Json => answer::write(&outcome, out),
        Output::Text => {
            let managed = groups.iter().filter(|group| group.object.is_managed());
            advice::write(
                &outcome,
                &managed.collect::<Vec<_>>(),
                catalogue.is_some(),
                out,
            )
        }
    }
    .map_err(SimulateError::Write)?;
    let mut waiting = input.cluster.waiting.iter().peekable();
    let nothing_asked = waiting.peek().is_none() || !outcome.buy.is_empty();
    Ok(nothing_asked || waiting.any(|pod| pod.class.defect.is_none()))
}
