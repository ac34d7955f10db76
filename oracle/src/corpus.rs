//! Clusters with what the scheduler said about them, recorded in `corpus/`.
//!
//! `*.jsonl.gz` are made by one command and hold a cluster a line; each `*.json` is one on which an
//! implementation once differed. Read one by one: all at once they take hundreds of megabytes.

use std::{
    fs::{self, File},
    io::{BufRead as _, BufReader, Lines, Write as _},
    path::{Path, PathBuf},
};

use flate2::{Compression, GzBuilder, read::GzDecoder};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{OracleError, Scheduler, Verdicts};

/// How many clusters one file holds.
const PER_FILE: u64 = 1000;

/// A cluster, and the scheduler's verdicts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Recorded {
    /// What it was made from.
    pub seed: u64,
    /// A `List`.
    pub cluster: Value,
    /// What the scheduler's plugins said.
    pub verdicts: Verdicts,
}

impl Recorded {
    /// Stores it as a file of its own, named by its seed; gives its path.
    pub fn store(&self, folder: &Path) -> Result<PathBuf, OracleError> {
        let path = folder.join(format!("seed-{}.json", self.seed));
        let mut text = serde_json::to_string_pretty(self).map_err(|source| OracleError::Json {
            what: format!("the case of seed {}", self.seed),
            source,
        })?;
        text.push('\n');
        fs::create_dir_all(folder).map_err(|source| file("make", folder.to_owned(), source))?;
        fs::write(&path, text).map_err(|source| file("write", path.clone(), source))?;
        Ok(path)
    }
}

/// The recorded clusters, one by one.
pub struct Corpus {
    files: std::vec::IntoIter<PathBuf>,
    open: Option<(PathBuf, Lines<BufReader<GzDecoder<File>>>)>,
}

/// Everything recorded in this repository, in the same order each time.
pub fn corpus() -> Result<Corpus, OracleError> {
    Corpus::open(&folder())
}

/// Where the corpus is.
pub(crate) fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus")
}

impl Corpus {
    /// What is recorded in `folder`.
    pub fn open(folder: &Path) -> Result<Self, OracleError> {
        let listed = |source| file("list", folder.to_owned(), source);
        let mut files = Vec::new();
        for entry in fs::read_dir(folder).map_err(listed)? {
            let path = entry.map_err(listed)?.path();
            let ending = path.extension().and_then(|ending| ending.to_str());
            if matches!(ending, Some("gz" | "json")) {
                files.push(path);
            }
        }
        files.sort();
        Ok(Self {
            files: files.into_iter(),
            open: None,
        })
    }

    fn line(&mut self) -> Option<Result<Recorded, OracleError>> {
        loop {
            if let Some((path, lines)) = &mut self.open {
                match lines.next() {
                    Some(Ok(line)) => return Some(parsed(path, &line)),
                    Some(Err(source)) => return Some(Err(file("read", path.clone(), source))),
                    None => self.open = None,
                }
            }
            let path = self.files.next()?;
            if path.extension().is_some_and(|ending| ending == "json") {
                let text = fs::read_to_string(&path);
                return Some(match text {
                    Ok(text) => parsed(&path, &text),
                    Err(source) => Err(file("read", path, source)),
                });
            }
            match File::open(&path) {
                Ok(opened) => {
                    let lines = BufReader::new(GzDecoder::new(opened)).lines();
                    self.open = Some((path, lines));
                }
                Err(source) => return Some(Err(file("open", path, source))),
            }
        }
    }
}

impl Iterator for Corpus {
    type Item = Result<Recorded, OracleError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.line()
    }
}

fn parsed(path: &Path, text: &str) -> Result<Recorded, OracleError> {
    serde_json::from_str(text).map_err(|source| OracleError::Json {
        what: format!("a case of {}", path.display()),
        source,
    })
}

/// Records the clusters of the seeds from 0 on, in place of those recorded before; cases stay. The
/// same clusters and verdicts give the same bytes.
pub fn record(count: u64, into: &Path) -> Result<(), OracleError> {
    let mut scheduler = Scheduler::start(true)?;
    fs::create_dir_all(into).map_err(|source| file("make", into.to_owned(), source))?;
    for entry in fs::read_dir(into).map_err(|source| file("list", into.to_owned(), source))? {
        let path = entry
            .map_err(|source| file("list", into.to_owned(), source))?
            .path();
        if path.extension().is_some_and(|ending| ending == "gz") {
            fs::remove_file(&path).map_err(|source| file("remove", path, source))?;
        }
    }
    for first in (0..count).step_by(PER_FILE as usize) {
        let path = into.join(format!("{:02}.jsonl.gz", first / PER_FILE));
        let opened = File::create(&path).map_err(|source| file("write", path.clone(), source))?;
        // No time and no name in the header.
        let mut packed = GzBuilder::new().write(opened, Compression::best());
        for seed in first..count.min(first + PER_FILE) {
            let cluster = crate::cluster(seed).cluster;
            let verdicts = scheduler.ask(&cluster)?;
            let recorded = Recorded {
                seed,
                cluster,
                verdicts,
            };
            let mut line = serde_json::to_vec(&recorded).map_err(|source| OracleError::Json {
                what: format!("the case of seed {seed}"),
                source,
            })?;
            line.push(b'\n');
            packed
                .write_all(&line)
                .map_err(|source| file("write", path.clone(), source))?;
        }
        packed
            .finish()
            .map_err(|source| file("write", path, source))?;
    }
    Ok(())
}

fn file(verb: &'static str, path: PathBuf, source: std::io::Error) -> OracleError {
    OracleError::File { verb, path, source }
}
