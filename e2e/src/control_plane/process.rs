//! One child process: its output in a file, its input held open so that it ends with us, killed and
//! waited for when dropped.

use std::{
    fs::{self, File, OpenOptions},
    io::{Read as _, Seek as _, SeekFrom},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
};

use super::{ControlPlaneError, file};

/// How much of a log is read for an error, in bytes.
const TAIL: u64 = 16_384;
/// How many lines of it the error quotes, and how much of each.
const LINES: usize = 8;
const COLUMNS: usize = 300;

pub(crate) struct Process {
    name: String,
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts `program` with an environment of nothing but a path and a home; its output is
    /// appended to `log`.
    pub(crate) fn start(
        name: &str,
        program: &Path,
        arguments: &[String],
        home: &Path,
        log: &Path,
    ) -> Result<Self, ControlPlaneError> {
        let out = append(log)?;
        let err = out
            .try_clone()
            .map_err(|source| file("open", log.to_owned(), source))?;
        let child = bare(program, home)
            .args(arguments)
            // Never written to, and closed only with this value or with this process.
            .stdin(Stdio::piped())
            .stdout(out)
            .stderr(err)
            .spawn()
            .map_err(|source| ControlPlaneError::Spawn {
                what: name.to_owned(),
                source,
            })?;
        Ok(Self {
            name: name.to_owned(),
            child,
            log: log.to_owned(),
        })
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// An error when it has ended.
    pub(crate) fn check(&mut self) -> Result<(), ControlPlaneError> {
        match self.ended()? {
            None => Ok(()),
            Some(status) => Err(ControlPlaneError::Ended {
                what: self.name.clone(),
                status: status.to_string(),
                tail: tail(&self.log),
            }),
        }
    }

    /// Asks it to end, as a kubelet asks a container.
    pub(crate) fn terminate(&self) -> Result<(), ControlPlaneError> {
        let asked = Command::new("kill")
            .arg("-TERM")
            .arg(self.id().to_string())
            .status();
        match asked {
            Ok(_) => Ok(()),
            Err(source) => Err(ControlPlaneError::Spawn {
                what: "kill".into(),
                source,
            }),
        }
    }

    /// How it ended, where it did.
    pub(crate) fn ended(&mut self) -> Result<Option<ExitStatus>, ControlPlaneError> {
        self.child
            .try_wait()
            .map_err(|source| ControlPlaneError::Spawn {
                what: self.name.clone(),
                source,
            })
    }

    /// Resident memory in bytes; 0 where it cannot be told.
    pub(crate) fn memory(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.id())).unwrap_or_default();
        let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = resident.and_then(|text| text.trim().trim_end_matches(" kB").parse().ok());
        kib.unwrap_or(0_u64) * 1024
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Both fail only where it has been waited for already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A command that inherits nothing of whoever runs the tests: no proxies, no kubeconfig, no home.
pub(crate) fn bare(program: &Path, home: &Path) -> Command {
    let mut command = Command::new(program);
    command.env_clear().env("HOME", home).current_dir(home);
    if let Some(path) = std::env::var_os("PATH") {
        command.env("PATH", path);
    }
    command
}

pub(crate) fn append(path: &Path) -> Result<File, ControlPlaneError> {
    OpenOptions::new()
        .create(true)
        .append(true)
        .open(path)
        .map_err(|source| file("open", path.to_owned(), source))
}

/// The last lines of a log; empty where there is none.
pub(crate) fn tail(log: &Path) -> String {
    let mut text = Vec::new();
    if let Ok(mut open) = File::open(log) {
        let length = open.metadata().map_or(0, |metadata| metadata.len());
        // What cannot be read cannot be quoted.
        let _ = open
            .seek(SeekFrom::Start(length.saturating_sub(TAIL)))
            .and_then(|_| open.read_to_end(&mut text));
    }
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<String> = text
        .lines()
        .filter(|line| !line.trim().is_empty())
        .map(|line| line.chars().take(COLUMNS).collect())
        .collect();
    lines[lines.len().saturating_sub(LINES)..].join("\n")
}
