//! The running program of the scheduler's plugins (`scheduler/`), asked one cluster after another.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    path::Path,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

use serde::Deserialize;
use serde_json::Value;

use crate::{OracleError, Verdicts};

/// How many clusters are sent before their answers are read: their answers fit in a pipe.
const AHEAD: usize = 8;

/// kube-scheduler's own filter plugins, with default gates and arguments.
pub struct Scheduler {
    child: Child,
    questions: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Answer {
    Error { error: String },
    Verdicts(Verdicts),
}

impl Scheduler {
    /// Builds the program where that was not done yet (minutes), and starts it. A `strict` one
    /// refuses clusters with objects that no API server would have accepted.
    pub fn start(strict: bool) -> Result<Self, OracleError> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("scheduler");
        let program = go_module::built(&folder, "scheduler-plugins")?;
        let mut command = Command::new(program);
        if strict {
            command.arg("-strict");
        }
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| OracleError::Program("start", error))?;
        let questions = child.stdin.take();
        let answers = child.stdout.take().ok_or(OracleError::Ended)?;
        Ok(Self {
            child,
            questions,
            answers: BufReader::new(answers),
        })
    }

    /// What the plugins say about one cluster.
    pub fn ask(&mut self, cluster: &Value) -> Result<Verdicts, OracleError> {
        self.send(cluster)?;
        self.receive()
    }

    /// What the plugins say about each of these.
    pub fn ask_all(&mut self, clusters: &[Value]) -> Result<Vec<Verdicts>, OracleError> {
        let mut verdicts = Vec::with_capacity(clusters.len());
        for some in clusters.chunks(AHEAD) {
            for cluster in some {
                self.send(cluster)?;
            }
            for _ in some {
                verdicts.push(self.receive());
            }
        }
        // Every answer is read before an error ends this: the next question gets its own.
        verdicts.into_iter().collect()
    }

    /// Sends one line as it is, and gives the line that comes back.
    pub fn ask_line(&mut self, line: &str) -> Result<String, OracleError> {
        self.write(line.as_bytes())?;
        self.read()
    }

    fn send(&mut self, cluster: &Value) -> Result<(), OracleError> {
        self.write(cluster.to_string().as_bytes())
    }

    fn write(&mut self, line: &[u8]) -> Result<(), OracleError> {
        let questions = self.questions.as_mut().ok_or(OracleError::Ended)?;
        questions
            .write_all(line)
            .and_then(|()| questions.write_all(b"\n"))
            .map_err(|error| OracleError::Program("ask", error))
    }

    fn read(&mut self) -> Result<String, OracleError> {
        let mut line = String::new();
        let read = self
            .answers
            .read_line(&mut line)
            .map_err(|error| OracleError::Program("hear", error))?;
        if read == 0 {
            return Err(OracleError::Ended);
        }
        Ok(line)
    }

    fn receive(&mut self) -> Result<Verdicts, OracleError> {
        let line = self.read()?;
        let answer = serde_json::from_str(&line).map_err(|source| OracleError::Json {
            what: format!("the answer {}", line.trim_end()),
            source,
        })?;
        match answer {
            Answer::Verdicts(verdicts) => Ok(verdicts),
            Answer::Error { error } => Err(OracleError::Refused(error)),
        }
    }
}

impl Drop for Scheduler {
    fn drop(&mut self) {
        // It ends with its input.
        self.questions = None;
        let _ = self.child.wait();
    }
}
