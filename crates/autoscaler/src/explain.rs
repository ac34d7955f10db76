//! `explain`: why a pod is pending, from a dump or a live cluster; nothing is ever written there.
//!
//! Every node, and every machine a group could get, is asked by the engine that decides live. This
//! file is what a user calls: arguments, sources, exit status. [`cluster`] judges, [`answer`] writes
//! JSON and [`advice`] text.

mod advice;
mod answer;
mod ask;
mod cluster;
mod live;
mod offerings;
mod words;

use std::{
    error::Error as _,
    fs::File,
    io::{self, BufRead, BufReader, BufWriter, Read, Write},
    process::ExitCode,
};

use clap::{Parser, ValueEnum};
use intake::dump::{Dump, DumpError, MOST_BYTES};
use serde::Serialize;

use ask::{Question, Unanswerable};
use cluster::Cluster;
use offerings::{Catalogue, OfferingsError};

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
    /// A file cannot be opened.
    #[error("{name} cannot be opened")]
    Open {
        name: String,
        #[source]
        source: io::Error,
    },
    /// A file cannot be read on.
    #[error("{name} cannot be read")]
    Read {
        name: String,
        #[source]
        source: io::Error,
    },
    /// A dump cannot be taken apart.
    #[error("{name}")]
    Dump {
        name: String,
        #[source]
        source: DumpError,
    },
    /// The offerings cannot be read.
    #[error("--offerings {name}")]
    Offerings {
        name: String,
        #[source]
        source: OfferingsError,
    },
    /// The cluster cannot be read.
    #[error("the cluster cannot be read: {0}")]
    Live(String),
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

/// Notes on one dump beyond these are counted.
const MOST_NOTES: usize = 20;

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

/// An error with what is behind it.
fn in_one_line(error: &dyn std::error::Error) -> String {
    let mut line = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        line.push_str(": ");
        line.push_str(&error.to_string());
        source = error.source();
    }
    line.replace(['\n', '\r'], " ")
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
    let catalogue = args.offerings.as_deref().map(catalogue).transpose()?;
    let question = Question::new(args.pod.as_deref());
    if args.jsonl {
        let name = args.from_file.as_deref().unwrap_or("-");
        return answer_lines(
            &question,
            catalogue.as_ref(),
            BufReader::new(open(name)?),
            out,
        );
    }
    let (name, dump) = if let Some(path) = &args.from_file {
        (called(path), Dump::read(open(path)?))
    } else {
        let text =
            live::read(&args.kubeconfig, &mut |line| note(&line)).map_err(ExplainError::Live)?;
        ("the cluster".to_owned(), Dump::from_slice(&text))
    };
    let dump = dump.map_err(|source| ExplainError::Dump {
        name: name.clone(),
        source,
    })?;
    let asked = question.select(&dump);
    note_problems(&name, &dump, asked.as_ref().err());
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
        let length = read.map_err(|source| ExplainError::Read {
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
    let dump = Dump::from_slice(line).map_err(|source| ExplainError::Dump {
        name: name(),
        source,
    })?;
    let asked = question.select(&dump);
    note_problems(&name(), &dump, asked.as_ref().err());
    let asked = asked.map_err(|source| ExplainError::Unanswerable {
        name: name(),
        source,
    })?;
    let mut cluster = Cluster::new(dump, &asked, catalogue);
    answer::write(&mut cluster, &asked, out).map_err(ExplainError::Write)?;
    Ok(ask::any_judged(&asked))
}

fn catalogue(name: &str) -> Result<Catalogue, ExplainError> {
    let mut text = String::new();
    open(name)?
        .read_to_string(&mut text)
        .map_err(|source| ExplainError::Read {
            name: called(name),
            source,
        })?;
    Catalogue::read(&text).map_err(|source| ExplainError::Offerings {
        name: called(name),
        source,
    })
}

fn called(path: &str) -> String {
    if path == "-" {
        "standard input".to_owned()
    } else {
        path.to_owned()
    }
}

fn open(path: &str) -> Result<Box<dyn Read>, ExplainError> {
    if path == "-" {
        return Ok(Box::new(io::stdin().lock()));
    }
    let opened = File::open(path).map_err(|source| ExplainError::Open {
        name: called(path),
        source,
    })?;
    Ok(Box::new(opened))
}

/// Says on standard error what was left out or could not be understood; `said` is said otherwise.
fn note_problems(name: &str, dump: &Dump, said: Option<&Unanswerable>) {
    let said = said.and_then(Unanswerable::problem);
    let mut notes = dump
        .problems
        .iter()
        .filter(|problem| Some(*problem) != said);
    for problem in notes.by_ref().take(MOST_NOTES) {
        note(&format!("{name}: {problem}"));
    }
    let more = notes.count() + dump.further_problems;
    if more > 0 {
        note(&format!("{name}: and {more} more such objects"));
    }
    for (kind, count) in &dump.ignored {
        note(&format!("{name}: {count} of kind {kind} are not looked at"));
    }
}

fn note(line: &str) {
    eprintln!("note: {}", line.replace(['\n', '\r'], " "));
}
