//! A fixture: a cluster as `kubectl get … -o json` gives it, and what can be bought.
//!
//! Built-in ones and those from files take the same way into the planner, the one that `explain` and
//! `simulate` take; what is timed begins with the values in memory.

use std::{fs, path::Path};

use anyhow::{Context, Result, ensure};
use intake::dump::Dump;
use planner::scale_up::Input;
use serde_json::Value;
use vpsie_autoscaler::offline::{self, Catalogue};

/// A dump and offerings, as text.
#[derive(Clone, Debug)]
pub(crate) struct Fixture {
    /// What it is called: the workload and its size.
    pub(crate) name: String,
    /// A `List`.
    pub(crate) dump: Vec<u8>,
    /// What can be bought, in the form that `--offerings` takes; `None` where nothing is bought.
    pub(crate) offerings: Option<String>,
}

/// Writes a `List` object by object, so that no more than its text is held.
pub(crate) struct List {
    text: Vec<u8>,
    empty: bool,
}

impl List {
    /// One without objects.
    pub(crate) fn new() -> Self {
        Self {
            text: br#"{"apiVersion":"v1","kind":"List","items":["#.to_vec(),
            empty: true,
        }
    }

    /// Adds an object.
    pub(crate) fn push(&mut self, object: &Value) {
        if !self.empty {
            self.text.push(b',');
        }
        self.empty = false;
        self.text.push(b'\n');
        self.text.extend_from_slice(object.to_string().as_bytes());
    }

    /// Adds objects.
    pub(crate) fn extend(&mut self, objects: impl IntoIterator<Item = Value>) {
        for object in objects {
            self.push(&object);
        }
    }

    /// The text.
    fn finish(mut self) -> Vec<u8> {
        self.text.extend_from_slice(b"\n]}\n");
        self.text
    }
}

impl Fixture {
    /// The fixture of these objects.
    pub(crate) fn new(name: impl Into<String>, list: List, offerings: Option<&[Value]>) -> Self {
        Self {
            name: name.into(),
            dump: list.finish(),
            offerings: offerings.map(|all| {
                let lines: Vec<String> = all.iter().map(Value::to_string).collect();
                format!("[\n{}\n]\n", lines.join(",\n"))
            }),
        }
    }

    /// The fixture of these files.
    pub(crate) fn read(dump: &Path, offerings: Option<&Path>) -> Result<Self> {
        let named = |path: &Path| format!("cannot read {}", path.display());
        let name = dump.file_stem().unwrap_or_default().to_string_lossy();
        Ok(Self {
            name: name.into_owned(),
            dump: fs::read(dump).with_context(|| named(dump))?,
            offerings: match offerings {
                Some(path) => Some(fs::read_to_string(path).with_context(|| named(path))?),
                None => None,
            },
        })
    }

    /// Writes it into a directory: `NAME.json` and `NAME.offerings.json`.
    pub(crate) fn write(&self, directory: &Path) -> Result<()> {
        let write = |suffix: &str, text: &[u8]| {
            let path = directory.join(format!("{}{suffix}", self.name));
            fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))
        };
        write(".json", &self.dump)?;
        if let Some(offerings) = &self.offerings {
            write(".offerings.json", offerings.as_bytes())?;
        }
        Ok(())
    }

    /// The values of the dump. One with anything wrong in it measures nothing.
    pub(crate) fn values(&self) -> Result<Dump> {
        let dump = Dump::from_slice(&self.dump).with_context(|| self.name.clone())?;
        let first = dump.problems.first();
        ensure!(
            first.is_none(),
            "{}: {} problems, the first: {:?}",
            self.name,
            dump.problems.len() + dump.further_problems,
            first
        );
        Ok(dump)
    }

    /// What the planner gets.
    pub(crate) fn input(&self) -> Result<Input> {
        let dump = self.values()?;
        let catalogue = match &self.offerings {
            Some(text) => {
                Some(Catalogue::read(text).with_context(|| format!("{}: offerings", self.name))?)
            }
            None => None,
        };
        Ok(offline::input(dump, catalogue.as_ref()))
    }
}
