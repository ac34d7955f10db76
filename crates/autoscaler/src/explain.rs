//! `explain`: why a pod is pending, why a node is still there, and how a group stands; from a dump or
//! a live cluster, where nothing is ever written.
//!
//! Everything is judged by what decides live. This file is what a user calls: arguments, sources, exit
//! status. Of pods, [`cluster`] judges, [`answer`] writes JSON and [`advice`] text; of nodes, [`fate`]
//! judges and [`nodes`] writes; [`groups`] has both of them.

mod advice;
mod answer;
mod ask;
mod cluster;
mod fate;
mod groups;
mod nodes;
pub(crate) mod words;

use std::{
    error::Error as _,
    io::{self, BufRead, BufReader, BufWriter, Read as _, Write},
    process::ExitCode,
};

use clap::{Parser, ValueEnum};
use intake::dump::{Dump, MOST_BYTES};
use jiff::Timestamp;
use serde::Serialize;

use crate::offline::{
    self, Catalogue,
    sources::{self, SourceError, in_one_line},
};
use ask::{Question, Unanswerable};
use cluster::Cluster;
use fate::{Evidence, Fates};

/// What can be explained.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Topic {
    /// Why pods are pending.
    Pod,
    /// Why nodes are still there.
    Node,
    /// How groups stand.
    Group,
}

fn topic(text: &str) -> Result<Topic, &'static str> {
    match text {
        "pod" | "pods" => Ok(Topic::Pod),
        "node" | "nodes" => Ok(Topic::Node),
        "group" | "groups" | "nodegroup" | "nodegroups" | "ng" => Ok(Topic::Group),
        _ => Err(
            "say what to explain: explain pod NAMESPACE/NAME, explain node NAME or explain \
                  group NAMESPACE/NAME",
        ),
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
    /// A pending pod, nodes, or groups; all of them where none is named.
    #[arg(value_name = "NAME")]
    pub names: Vec<String>,
    /// Every pending pod.
    #[arg(long, conflicts_with = "names")]
    pub all_pending: bool,
    /// All of them.
    #[arg(long, conflicts_with = "names")]
    pub all: bool,
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
    /// Of nodes and groups: windows, cooldowns and what is in use are taken as given, so that the
    /// rules of safety alone answer.
    #[arg(long)]
    pub assume_unneeded: bool,
    /// Of nodes and groups: the instant to judge by, for an older dump [default: that of the dump's
    /// newest measurement, else now].
    #[arg(long, value_name = "TIME", conflicts_with = "kubeconfig")]
    pub at: Option<Timestamp>,
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
        source: Box<Unanswerable>,
    },
    /// The answer cannot be written.
    #[error("the answer cannot be written")]
    Write(#[source] io::Error),
}

/// What is asked, and what is given besides the dump.
struct Asker<'a> {
    question: Question<'a>,
    catalogue: Option<Catalogue>,
    evidence: Evidence,
    /// The cluster itself is read.
    is_live: bool,
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
    let asker = Asker {
        question: question(args)?,
        catalogue: offerings.map(sources::catalogue).transpose()?,
        evidence: Evidence {
            at: args.at,
            is_assumed: args.assume_unneeded,
        },
        is_live: !args.jsonl && args.from_file.is_none(),
    };
    if args.jsonl {
        let name = args.from_file.as_deref().unwrap_or("-");
        return answer_lines(&asker, BufReader::new(sources::open(name)?), out);
    }
    let (name, dump) = sources::dump(args.from_file.as_deref(), &args.kubeconfig)?;
    let form = args.output.unwrap_or(Output::Text);
    asker.answer(&name, dump, form, out)
}

/// What is asked.
fn question(args: &ExplainArgs) -> Result<Question<'_>, ExplainError> {
    let of_removals = args.assume_unneeded || args.at.is_some();
    match args.topic {
        Topic::Pod if of_removals => Err(ExplainError::Usage(
            "--assume-unneeded and --at are about nodes and groups, not about pods",
        )),
        Topic::Pod => match args.names.as_slice() {
            [] => Ok(Question::pod(None)),
            [name] => Ok(Question::pod(Some(name))),
            _ => Err(ExplainError::Usage(
                "one pod at a time: explain pod NAMESPACE/NAME",
            )),
        },
        Topic::Node | Topic::Group if args.all_pending => {
            Err(ExplainError::Usage("--all-pending is about pods"))
        }
        Topic::Node => Ok(Question::Nodes(&args.names)),
        Topic::Group => Ok(Question::Groups(&args.names)),
    }
}

impl Asker<'_> {
    /// Answers from one dump; whether everything that was asked got an answer.
    fn answer(
        &self,
        name: &str,
        dump: Dump,
        form: Output,
        out: &mut impl Write,
    ) -> Result<bool, ExplainError> {
        match self.question {
            Question::AllPending | Question::Pod { .. } => {
                let asked = found(name, &dump, self.question.pods(&dump))?;
                let mut cluster = Cluster::new(dump, &asked, self.catalogue.as_ref());
                match form {
                    Output::Json => answer::write(&mut cluster, &asked, out),
                    Output::Text => advice::write(&mut cluster, &asked, out),
                }
                .map_err(ExplainError::Write)?;
                Ok(ask::any_judged(&asked))
            }
            Question::Nodes(names) => {
                let asked = found(name, &dump, ask::nodes(names, &dump))?;
                let groups = offline::groups(&dump, self.catalogue.as_ref());
                let fates = Fates::new(dump, &groups, self.evidence, self.is_live);
                match form {
                    Output::Json => nodes::write(&fates, &asked, out),
                    Output::Text => nodes::advise(&fates, &asked, out),
                }
                .map_err(ExplainError::Write)?;
                Ok(true)
            }
            Question::Groups(names) => {
                let asked = found(name, &dump, ask::groups(names, &dump))?;
                let mut groups =
                    groups::Groups::new(dump, self.catalogue.as_ref(), self.evidence, self.is_live);
                match form {
                    Output::Json => groups.write(&asked, out),
                    Output::Text => groups.advise(&asked, out),
                }
                .map_err(ExplainError::Write)?;
                Ok(true)
            }
        }
    }
}

/// What was asked about, once what is wrong in the dump has been said.
fn found<T>(name: &str, dump: &Dump, found: Result<T, Unanswerable>) -> Result<T, ExplainError> {
    let said = found.as_ref().err().and_then(Unanswerable::problem);
    sources::note_problems(name, dump, said);
    found.map_err(|source| ExplainError::Unanswerable {
        name: name.to_owned(),
        source: Box::new(source),
    })
}

/// Answers a dump a line.
fn answer_lines(
    asker: &Asker<'_>,
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
        match answer_line(asker, number, &line, out) {
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
    asker: &Asker<'_>,
    number: u64,
    line: &[u8],
    out: &mut impl Write,
) -> Result<bool, ExplainError> {
    let name = format!("line {number}");
    match Dump::from_slice(line) {
        Ok(dump) => asker.answer(&name, dump, Output::Json, out),
        Err(source) => Err(SourceError::Dump { name, source }.into()),
    }
}
