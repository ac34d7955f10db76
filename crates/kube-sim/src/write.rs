//! Create, update and delete: the rules every write goes through before it is committed.
//!
//! Decides, from the stored object and what was sent, what is stored next; holds the store's lock
//! all the time, so that a write is one step. Patches end here too, as updates.

mod check;
mod commit;
mod create;
mod delete;
mod update;

use runtime::Randomness;
use serde_json::Value;

pub(crate) use self::{
    check::{check_type, of_kind},
    commit::commit,
    create::create,
    delete::{DeleteOptions, delete},
    update::update,
};
use crate::{apply, registry::KindInfo};

/// Asynchronous work that a write leaves for the collector.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Work {
    /// The owner with this uid is gone.
    OwnerGone(String),
    /// The owner with this uid waits for its dependents (foreground) or for losing them (orphan).
    Dependents(String),
    /// A new object names owners that may not exist.
    Owners(String, String),
    /// A namespace is terminating.
    Namespace(String),
    /// A CRD is terminating.
    Definition(String),
}

/// What a write works with.
pub(crate) struct WriteContext<'a> {
    pub(crate) manager: &'a str,
    pub(crate) subresource: &'a str,
    pub(crate) now: jiff::Timestamp,
    pub(crate) random: &'a Randomness,
    pub(crate) dry_run: bool,
    pub(crate) lenient: bool,
}

impl WriteContext<'_> {
    fn time(&self) -> String {
        crate::object::time(self.now)
    }

    /// Who owns what this write sets, from `time` on.
    fn writer<'a>(&'a self, time: &'a str) -> apply::Writer<'a> {
        apply::Writer {
            manager: self.manager,
            subresource: self.subresource,
            time,
        }
    }
}

/// What a write resulted in.
#[derive(Debug)]
pub(crate) struct Written {
    pub(crate) code: u16,
    pub(crate) object: Value,
    /// The version this write committed.
    pub(crate) rv: Option<u64>,
    pub(crate) warnings: Vec<String>,
}

impl Written {
    /// With warnings in front of its own.
    pub(crate) fn warning(mut self, mut warnings: Vec<String>) -> Self {
        warnings.append(&mut self.warnings);
        Self { warnings, ..self }
    }

    fn new(code: u16, object: Value, rv: Option<u64>) -> Self {
        Self {
            code,
            object,
            rv,
            warnings: Vec::new(),
        }
    }
}

/// How `metadata.managedFields` of an update come about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ownership {
    /// Derived from what changed.
    Tracked,
    /// Already written by an apply.
    Given,
}

/// Kinds whose `metadata.generation` counts changes of what is wanted.
pub(crate) fn counts_generation(kind: &KindInfo) -> bool {
    if !kind.builtin {
        return true;
    }
    match kind.group.as_str() {
        "" => matches!(kind.kind.as_str(), "Pod" | "ReplicationController"),
        "apps" => kind.kind != "ControllerRevision",
        "batch"
        | "policy"
        | "apiextensions.k8s.io"
        | "discovery.k8s.io"
        | "admissionregistration.k8s.io"
        | "scheduling.k8s.io" => true,
        _ => false,
    }
}
