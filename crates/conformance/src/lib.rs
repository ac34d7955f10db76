//! One script of requests for two API servers: the real one, whose answers are recorded, and
//! `kube-sim`, which must answer the same.
//!
//! A [`Chapter`] is data (`crates/kube-sim/tests/conformance/script`); [`play`] sends it through any
//! client and makes the answers comparable; [`differences`] says where two answers differ. Nothing
//! here knows which server it talks to.

mod compare;
mod normal;
mod play;
mod script;

use std::path::{Path, PathBuf};

pub use compare::{Difference, differences};
pub use play::{Entry, play, prepare};
pub use script::{Chapter, Controllers, Step};

/// A chapter could not be read, played or stored.
#[derive(Debug, thiserror::Error)]
pub enum ConformanceError {
    /// A file or folder.
    #[error("could not {verb} {}", path.display())]
    File {
        /// What was tried.
        verb: &'static str,
        /// With what.
        path: PathBuf,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// A script is not as it should be.
    #[error("{}: {reason}", path.display())]
    Script {
        /// Which.
        path: PathBuf,
        /// Why not.
        reason: String,
    },
    /// A step cannot be sent.
    #[error("step {step:?}: {reason}")]
    Step {
        /// Which.
        step: String,
        /// Why not.
        reason: String,
    },
    /// The server did not answer.
    #[error("step {step:?} was not answered")]
    Answer {
        /// Which.
        step: String,
        /// Why not.
        #[source]
        source: Box<kube::Error>,
    },
    /// An answer was awaited in vain.
    #[error("step {step:?}: what was awaited did not come; the last answer: {last}")]
    NotInTime {
        /// Which.
        step: String,
        /// The last answer.
        last: String,
    },
}

/// Where scripts and recordings lie, from the root of the workspace.
pub const FOLDER: &str = "crates/kube-sim/tests/conformance";

/// The chapters in `folder/script`, in the order of their names.
pub fn chapters(folder: &Path) -> Result<Vec<Chapter>, ConformanceError> {
    let folder = folder.join("script");
    let wrong = |source| ConformanceError::File {
        verb: "list",
        path: folder.clone(),
        source,
    };
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(&folder).map_err(wrong)? {
        let path = entry.map_err(wrong)?.path();
        if path
            .extension()
            .is_some_and(|extension| extension == "yaml")
        {
            paths.push(path);
        }
    }
    paths.sort();
    paths.iter().map(|path| Chapter::read(path)).collect()
}

/// Where the recorded answers of a chapter lie.
#[must_use]
pub fn recording(folder: &Path, chapter: &Chapter) -> PathBuf {
    folder
        .join("recorded")
        .join(format!("{}.jsonl", chapter.name))
}

/// Stores the answers of a chapter, one line each.
pub fn store(path: &Path, entries: &[Entry]) -> Result<(), ConformanceError> {
    let mut lines = String::new();
    for entry in entries {
        lines.push_str(&entry.to_json().to_string());
        lines.push('\n');
    }
    std::fs::write(path, lines).map_err(|source| ConformanceError::File {
        verb: "write",
        path: path.to_owned(),
        source,
    })
}

/// Reads what [`store`] wrote.
pub fn load(path: &Path) -> Result<Vec<Entry>, ConformanceError> {
    let text = std::fs::read_to_string(path).map_err(|source| ConformanceError::File {
        verb: "read",
        path: path.to_owned(),
        source,
    })?;
    text.lines()
        .map(|line| {
            Entry::from_json(line).ok_or_else(|| ConformanceError::Script {
                path: path.to_owned(),
                reason: format!("no recorded answer: {line}"),
            })
        })
        .collect()
}
