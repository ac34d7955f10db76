//! `explain`: why a pod is pending, from a dump or a live cluster; nothing is ever written there.
//!
//! Every node, and every machine a group could get, is asked by the engine that decides live. This
//! file is what a user calls: arguments, sources, exit status. [`cluster`] judges, [`answer`] writes
//! JSON and [`advice`] text.

mod advice;
mod answer;
mod ask;
mod cluster;
pub(crate) mod words;

use std::{
    error::Error as _,
    io::{self, BufRead, BufReader, BufWriter, Read as _, Write},
    process::ExitCode,
};

use clap::{Parser, ValueEnum};
use intake::dump::{Dump, MOST_BYTES};
use serde::Serialize;

use crate::offline::{
    Catalogue,
    sources::{self, SourceError, in_one_line},
};
use ask::{Question, Unanswerable};
use cluster::Cluster;

/// What can be explained.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Topic {
    /// Why pods are pending.
    Pod,
}

fn topic(text: &str) -> Result<Topic, &'static str> {
    match text {
        "pod" | "pods" => Ok(Topic::Pod),
        _ => Err("only pods can be explained: explain pod NAMESPACE/NAME"),
    }
}

/// How the answer looks.
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub enum Output {
    /// For people.
    Text,
    /// For programs: docs/explain.md describes it.
    Json,
}

/// Flags of `explain`.
#[derive(Parser, Debug, Clone)]
pub struct ExplainArgs {
    /// What to explain.
    #[arg(value_parser = topic, default_value = "pod", hide_default_value = true)]
    pub topic: Topic,
    /// A pending pod; every one where none is named.
    #[arg(value_name = "NAMESPACE/NAME")]
    pub pod: Option<String>,
    /// Every pending pod.
    #[arg(long, conflicts_with = "pod")]
    pub all_pending: bool,
    /// What `kubectl get nodes,pods,… -A -o json` (or yaml) gave; `-` is standard input. Without it
    /// the cluster itself is read.
    #[arg(long, value_name = "DUMP", conflicts_with = "kubeconfig")]
    pub from_file: Option<String>,
    /// The kubeconfig of the cluster to read; by default the one kubectl would use.
    #[arg(long, default_value = "", hide_default_value = true)]
    pub kubeconfig: String,
    /// What can be bought, JSON or YAML (docs/explain.md); without it no new machine is judged.
    #[arg(long, value_name = "FILE")]
    pub offerings: Option<String>,
    /// How the answer looks [default: text].
    #[arg(short, long, value_enum)]
    pub output: Option<Output>,
    /// The input (by default standard input) has a dump a line; each is answered by a line of JSON.
    #[arg(long, conflicts_with = "kubeconfig")]
    pub jsonl: bool,
}

/// Why there is no answer at all.
#[derive(Debug, thiserror::Error)]
enum ExplainError {
    /// Flags that exclude each other.
    #[error("{0}")]
    Usage(&'static str),
    /// What it is to be answered from.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// The dump has no answer to what is asked.
    #[error("{name}")]
    Unanswerable {
        name: String,
        #[source]
        source: Unanswerable,
    },
    /// The answer cannot be written.
    #[error("the answer cannot be written")]
    Write(#[source] io::Error),
}

/// What a line of `--jsonl` is answered that cannot be used.
#[derive(Serialize)]
struct Refused<'a> {
    version: u32,
    error: &'a str,
}

/// Explains, and exits with 2 where nothing could be answered.
pub(crate) fn main(args: &ExplainArgs) -> ExitCode {
    let mut out = BufWriter::new(io::stdout().lock());
    let told = run(args, &mut out).and_then(|complete| {
        out.flush().map_err(ExplainError::Write)?;
        Ok(complete)
    });
    match told {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(crate::USAGE),
        // Nobody reads any more.
        Err(ExplainError::Write(error)) if error.kind() == io::ErrorKind::BrokenPipe => {
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("error: {}", in_one_line(&error));
            ExitCode::from(crate::USAGE)
        }
    }
}

/// Whether everything that was asked got an answer.
fn run(args: &ExplainArgs, out: &mut impl Write) -> Result<bool, ExplainError> {
    if args.jsonl && args.output == Some(Output::Text) {
        return Err(ExplainError::Usage("--jsonl answers in JSON, not in text"));
    }
    let is_stdin = args.from_file.as_deref().is_some_and(|name| name == "-")
        || args.jsonl && args.from_file.is_none();
    if is_stdin && args.offerings.as_deref() == Some("-") {
        return Err(ExplainError::Usage(
            "standard input is either the dump or the offerings",
        ));
    }
    let offerings = args.offerings.as_deref();
    let catalogue = offerings.map(sources::catalogue).transpose()?;
    let question = Question::new(args.pod.as_deref());
    if args.jsonl {
        let name = args.from_file.as_deref().unwrap_or("-");
        return answer_lines(
            &question,
            catalogue.as_ref(),
            BufReader::new(sources::open(name)?),
            out,
        );
    }
    let (name, dump) = sources::dump(args.from_file.as_deref(), &args.kubeconfig)?;
    let asked = question.select(&dump);
    let said = asked.as_ref().err().and_then(Unanswerable::problem);
    sources::note_problems(&name, &dump, said);
    let asked = asked.map_err(|source| ExplainError::Unanswerable { name, source })?;
    let mut cluster = Cluster::new(dump, &asked, catalogue.as_ref());
    match args.output {
        Some(Output::Json) => answer::write(&mut cluster, &asked, out),
        Some(Output::Text) | None => advice::write(&mut cluster, &asked, out),
    }
    .map_err(ExplainError::Write)?;
    Ok(ask::any_judged(&asked))
}

/// Answers a dump a line.
fn answer_lines(
    question: &Question<'_>,
    catalogue: Option<&Catalogue>,
    mut lines: impl BufRead,
    out: &mut impl Write,
) -> Result<bool, ExplainError> {
    let mut complete = true;
    let mut line = Vec::new();
    for number in 1_u64.. {
        line.clear();
        let read = lines.by_ref().take(MOST_BYTES).read_until(b'\n', &mut line);
        let length = read.map_err(|source| SourceError::Read {
            name: format!("line {number}"),
            source,
        })?;
        if length == 0 {
            break;
        }
        if line.iter().all(u8::is_ascii_whitespace) {
            continue;
        }
        match answer_line(question, catalogue, number, &line, out) {
            Ok(judged) => complete &= judged,
            Err(error @ ExplainError::Write(_)) => return Err(error),
            Err(error) => {
                complete = false;
                let refused = Refused {
                    version: answer::VERSION,
                    error: &error
                        .source()
                        .map_or_else(|| error.to_string(), in_one_line),
                };
                serde_json::to_writer(&mut *out, &refused)
                    .map_err(|error| ExplainError::Write(error.into()))?;
                out.write_all(b"\n").map_err(ExplainError::Write)?;
            }
        }
        // Whoever asks line by line waits for each answer.
        out.flush().map_err(ExplainError::Write)?;
    }
    Ok(complete)
}

fn answer_line(
    question: &Question<'_>,
    catalogue: Option<&Catalogue>,
    number: u64,
    line: &[u8],
    out: &mut impl Write,
) -> Result<bool, ExplainError> {
    let name = || format!("line {number}");
    let dump = Dump::from_slice(line).map_err(|source| SourceError::Dump {
        name: name(),
        source,
    })?;
    let asked = question.select(&dump);
    let said = asked.as_ref().err().and_then(Unanswerable::problem);
    sources::note_problems(&name(), &dump, said);
    let asked = asked.map_err(|source| ExplainError::Unanswerable {
        name: name(),
        source,
    })?;
    let mut cluster = Cluster::new(dump, &asked, catalogue);
    answer::write(&mut cluster, &asked, out).map_err(ExplainError::Write)?;
    Ok(ask::any_judged(&asked))
}
