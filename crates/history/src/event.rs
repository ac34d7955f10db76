//! What happens.

use std::{collections::BTreeSet, fmt};

use bytes::Bytes;
use jiff::Timestamp;

/// Something that happened.
#[derive(Clone, Debug)]
pub struct Event {
    /// Its place: greater than that of all before it.
    pub seq: u64,
    /// When.
    pub at: Timestamp,
    /// Who did it.
    pub actor: String,
    /// What.
    pub kind: Kind,
}

/// What happened.
#[derive(Clone, Debug)]
pub enum Kind {
    /// A Kubernetes object changed.
    Commit(Commit),
    /// A Kubernetes object, or a list of them, was read.
    Read(Read),
    /// The cloud was asked to change something.
    Cloud(CloudRequest),
    /// Something became of a machine.
    Machine(Machine),
    /// Something was done to a replica, or to the world around it.
    Note(Note),
}

/// How a change was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// The request: changes with one number were made by one request.
    pub request: u64,
    /// When it reached the server, which may have begun on it later.
    pub sent: Timestamp,
    /// Kubernetes verb.
    pub verb: &'static str,
    /// Subresource; empty for none.
    pub subresource: String,
    /// It named the identity it was meant for.
    pub by_uid: bool,
    /// It named the version it was meant for.
    pub by_version: bool,
}

/// A change of a Kubernetes object.
#[derive(Clone, Debug)]
pub struct Commit {
    /// How it was asked for; `None` for the API server's own work.
    pub asked: Option<Asked>,
    /// API group; empty for core.
    pub group: String,
    /// Resource, e.g. `pods`.
    pub resource: String,
    /// Namespace; empty for cluster scope.
    pub namespace: String,
    /// Name.
    pub name: String,
    /// UID.
    pub uid: String,
    /// The object before, as JSON.
    pub before: Option<Bytes>,
    /// The object after, as JSON; `None` when it is gone.
    pub after: Option<Bytes>,
}

/// A read of Kubernetes objects.
#[derive(Clone, Debug)]
pub struct Read {
    /// `get`, `list` or `watch`.
    pub verb: &'static str,
    /// Resource, e.g. `pods`.
    pub resource: String,
    /// Name; empty for lists and watches.
    pub name: String,
    /// Field selector; empty for none.
    pub fields: String,
    /// It showed the present state.
    pub current: bool,
    /// HTTP status.
    pub code: u16,
}

/// A request to the cloud that may change something, as it arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CloudRequest {
    /// Its number at the cloud.
    pub number: u64,
    /// What for.
    pub errand: Errand,
}

/// What the cloud is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Errand {
    /// A machine in this pool.
    Create {
        /// The pool's number.
        pool: i64,
    },
    /// The end of a machine.
    Delete {
        /// Its UUID; `None` where the request names none.
        machine: Option<String>,
    },
    /// The end of some machine, which the cloud picks.
    DeleteAny,
    /// Anything else, by its name.
    Other(&'static str),
}

/// Who brought something about at the cloud.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The request with this number.
    Request(u64),
    /// A person at the control panel.
    Person,
    /// It was so from the start, or came by itself.
    Nobody,
}

/// Something became of a machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Machine {
    /// UUID.
    pub uuid: String,
    /// The name of its Node.
    pub node: String,
    /// Its pool's number.
    pub pool: Option<i64>,
    /// Who bought it.
    pub bought_by: Origin,
    /// What became of it.
    pub fate: Fate,
}

/// What became of a machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It was bought, and is paid from here.
    Bought,
    /// It boots.
    Runs,
    /// Its deletion took effect: it is paid no more.
    Deleted(Origin),
    /// It is gone.
    Gone,
}

/// What was done to a replica, or to the world.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Note {
    /// The actor, a replica, began.
    Started,
    /// It ended, well or badly.
    Ended,
    /// Something disturbs, or has ceased to.
    Disturbance(String),
}

impl Event {
    /// Worth telling when something went wrong: what the product did, and what was done to it.
    pub(crate) fn tells(&self, ours: &BTreeSet<String>) -> bool {
        match &self.kind {
            Kind::Commit(commit) => {
                (ours.contains(&self.actor) && commit.resource != "leases")
                    || matches!(
                        commit.resource.as_str(),
                        "nodegroups" | "vpsienodes" | "poddisruptionbudgets"
                    )
                    || (commit.resource == "nodes" && commit.after.is_none())
                    || commit
                        .asked
                        .as_ref()
                        .is_some_and(|asked| asked.subresource == "binding")
            }
            Kind::Read(_) => false,
            Kind::Cloud(_) | Kind::Machine(_) | Kind::Note(_) => true,
        }
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {} ", self.seq, self.at, self.actor)?;
        match &self.kind {
            Kind::Commit(commit) => {
                let verb = commit.asked.as_ref().map_or("changes", |asked| asked.verb);
                write!(f, "{verb} {}", commit.resource)?;
                if let Some(asked) = &commit.asked
                    && !asked.subresource.is_empty()
                {
                    write!(f, "/{}", asked.subresource)?;
                }
                write!(f, " {}/{}", commit.namespace, commit.name)?;
                let gist = crate::facts::gist(commit);
                if !gist.is_empty() {
                    write!(f, " {gist}")?;
                }
                Ok(())
            }
            Kind::Read(read) => {
                let name = &read.name;
                write!(f, "{} {} {name}{}", read.verb, read.resource, read.fields)
            }
            Kind::Cloud(request) => write!(f, "asks the cloud: {:?}", request.errand),
            Kind::Machine(machine) => {
                write!(
                    f,
                    "machine {} ({}): {:?}",
                    machine.uuid, machine.node, machine.fate
                )
            }
            Kind::Note(note) => write!(f, "{note:?}"),
        }
    }
}
