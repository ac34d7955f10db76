//! The journal of answered requests, in the order in which they were committed.

mod tape;

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use jiff::Timestamp;
use runtime::watch;

pub use tape::{Asked, Commit, Entry, Keeps, Order, Read};
pub(crate) use tape::{Shown, Tape, conditions};

/// How many records are kept; the oldest are dropped first.
const KEPT: usize = 200_000;

/// One request the server answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestRecord {
    /// Position in the journal, from 1.
    pub seq: u64,
    /// When it was answered.
    pub at: Timestamp,
    /// Who asked.
    pub actor: String,
    /// Kubernetes verb.
    pub verb: &'static str,
    /// API group; empty for core.
    pub group: String,
    /// Resource, e.g. `pods`.
    pub resource: String,
    /// Subresource; empty for none.
    pub subresource: String,
    /// Namespace; empty for cluster scope.
    pub namespace: String,
    /// Object name; empty for collections.
    pub name: String,
    /// HTTP status of the answer.
    pub code: u16,
    /// The resourceVersion this request committed; `None` when it changed nothing.
    pub resource_version: Option<u64>,
    /// True for `dryRun=All`.
    pub dry_run: bool,
}

impl RequestRecord {
    /// True when the verb may change something.
    pub fn is_write(&self) -> bool {
        !matches!(self.verb, "get" | "list" | "watch")
    }
}

impl std::fmt::Display for RequestRecord {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{} {} {} {}",
            self.at, self.actor, self.verb, self.resource
        )?;
        if !self.group.is_empty() {
            write!(f, ".{}", self.group)?;
        }
        if !self.subresource.is_empty() {
            write!(f, "/{}", self.subresource)?;
        }
        write!(f, " {}/{} {}", self.namespace, self.name, self.code)?;
        if let Some(rv) = self.resource_version {
            write!(f, " rv={rv}")?;
        }
        if self.dry_run {
            f.write_str(" dry-run")?;
        }
        Ok(())
    }
}

/// The journal; clones share it.
#[derive(Clone, Debug)]
pub struct Journal(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    records: Mutex<Records>,
    changed: watch::Sender<u64>,
}

#[derive(Debug)]
struct Records {
    list: VecDeque<RequestRecord>,
    next: u64,
}

impl Journal {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Inner {
            records: Mutex::new(Records {
                list: VecDeque::new(),
                next: 1,
            }),
            changed: watch::Sender::new(0),
        }))
    }

    fn lock(&self) -> MutexGuard<'_, Records> {
        self.0
            .records
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn push(&self, mut record: RequestRecord) {
        let seq = {
            let mut records = self.lock();
            record.seq = records.next;
            records.next += 1;
            records.list.push_back(record);
            while records.list.len() > KEPT {
                records.list.pop_front();
            }
            records.next - 1
        };
        self.0.changed.send_replace(seq);
    }

    /// All kept records.
    pub fn records(&self) -> Vec<RequestRecord> {
        self.lock().list.iter().cloned().collect()
    }

    /// The kept records after `seq`.
    pub fn since(&self, seq: u64) -> Vec<RequestRecord> {
        let records = self.lock();
        let start = records.list.partition_point(|record| record.seq <= seq);
        records.list.range(start..).cloned().collect()
    }

    /// Empties the journal and returns what it held; sequence numbers go on.
    pub fn take(&self) -> Vec<RequestRecord> {
        std::mem::take(&mut self.lock().list).into()
    }

    /// Sequence number of the newest record.
    pub fn last(&self) -> u64 {
        self.lock().next - 1
    }

    /// Tells the sequence number of the newest record whenever it changes.
    pub fn subscribe(&self) -> watch::Receiver<u64> {
        self.0.changed.subscribe()
    }

    /// Number of requests that committed a change, dry runs and refusals left out.
    pub fn committed_writes(&self, actor: &str) -> usize {
        self.lock()
            .list
            .iter()
            .filter(|record| record.resource_version.is_some() && record.actor == actor)
            .count()
    }
}
