//! Where dumps and offerings come from: files, standard input, a live cluster; and what is said of
//! objects that could not be used.

use std::{
    fs::{self, File},
    io::{self, Read},
};

use intake::dump::{Dump, DumpError, Fault, MOST_BYTES, Problem};

use super::{Catalogue, OfferingsError, live};

/// Why a source cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SourceError {
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
}

/// Notes on one dump beyond these are counted.
const MOST_NOTES: usize = 20;

/// The dump of a file, or of the cluster of `kubeconfig` where none is named; and what to call it.
pub(crate) fn dump(file: Option<&str>, kubeconfig: &str) -> Result<(String, Dump), SourceError> {
    let (name, dump) = if let Some(path) = file {
        (called(path), read(path)?)
    } else {
        let listed = live::read(kubeconfig, &mut |line| note(&line)).map_err(SourceError::Live)?;
        let dump = Dump::from_slice(&listed.text).map(|mut dump| {
            if !listed.budgets {
                dump.disruption.budgets = None;
            }
            dump
        });
        ("the cluster".to_owned(), dump)
    };
    match dump {
        Ok(dump) => Ok((name, dump)),
        Err(source) => Err(SourceError::Dump { name, source }),
    }
}

/// A dump of a file. One of known length is read into memory at once, that never moves: it may be
/// large.
fn read(path: &str) -> Result<Result<Dump, DumpError>, SourceError> {
    let length = (path != "-").then(|| fs::metadata(path).ok()).flatten();
    let length = length.map_or(0, |meta| meta.len().min(MOST_BYTES));
    let mut bytes = Vec::with_capacity(usize::try_from(length).unwrap_or_default());
    let read = open(path)?.take(MOST_BYTES + 1).read_to_end(&mut bytes);
    Ok(match read {
        Err(error) => Err(DumpError::Read(error)),
        Ok(_) if bytes.len() as u64 > MOST_BYTES => Err(DumpError::TooLarge { limit: MOST_BYTES }),
        Ok(_) => Dump::from_slice(&bytes),
    })
}

/// The offerings of a file.
pub(crate) fn catalogue(path: &str) -> Result<Catalogue, SourceError> {
    Catalogue::read(&text(path)?).map_err(|source| SourceError::Offerings {
        name: called(path),
        source,
    })
}

/// The text of a file.
pub(crate) fn text(path: &str) -> Result<String, SourceError> {
    let mut text = String::new();
    let read = open(path)?.read_to_string(&mut text);
    read.map_err(|source| SourceError::Read {
        name: called(path),
        source,
    })?;
    Ok(text)
}

/// A file, for whoever reads of it.
pub(crate) fn called(path: &str) -> String {
    if path == "-" {
        "standard input".to_owned()
    } else {
        path.to_owned()
    }
}

/// A file, `-` being standard input.
pub(crate) fn open(path: &str) -> Result<Box<dyn Read>, SourceError> {
    if path == "-" {
        return Ok(Box::new(io::stdin().lock()));
    }
    let opened = File::open(path).map_err(|source| SourceError::Open {
        name: called(path),
        source,
    })?;
    Ok(Box::new(opened))
}

/// An error with what is behind it.
pub(crate) fn in_one_line(error: &dyn std::error::Error) -> String {
    let mut line = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        line.push_str(": ");
        line.push_str(&error.to_string());
        source = error.source();
    }
    line.replace(['\n', '\r'], " ")
}

/// What makes a dump say nothing of the pods that wait: such an object is not there, and may be
/// all that was asked about.
pub(crate) fn lost(dump: &Dump) -> Option<&Problem> {
    let nowhere = dump.nodes.is_empty() && dump.node_groups.is_empty();
    dump.problems.iter().find(|problem| {
        let lost = matches!(
            problem.fault,
            Fault::Undecodable { .. } | Fault::NoKind | Fault::NoName
        );
        let may_be_pod = matches!(problem.kind.as_str(), "" | "Pod");
        lost && (nowhere || may_be_pod && dump.waiting.is_empty())
    })
}

/// Says on standard error what was left out or could not be understood; `said` is said otherwise.
pub(crate) fn note_problems(name: &str, dump: &Dump, said: Option<&Problem>) {
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

/// One line on standard error.
pub(crate) fn note(line: &str) {
    eprintln!("note: {}", line.replace(['\n', '\r'], " "));
}
