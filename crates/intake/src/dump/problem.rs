//! What can be wrong with an object of a dump.

use std::fmt;

/// Something wrong with one object. The rest of the dump still counts.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Problem {
    /// Its kind; empty where it names none.
    pub kind: String,
    /// Its namespace; empty where it has none.
    pub namespace: String,
    /// Its name; empty where it has none.
    pub name: String,
    /// What is wrong.
    pub fault: Fault,
}

/// What is wrong with an object.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Fault {
    /// It cannot be decoded, and is left out.
    Undecodable {
        /// The field, like `spec.containers[0].ports`; empty where that is not known.
        path: String,
        /// What is wrong there.
        what: String,
    },
    /// It names no kind, and is left out.
    NoKind,
    /// It has no name, and is left out.
    NoName,
    /// Something in it cannot be understood (a quantity, an operator). It counts, with a defect.
    Defect(String),
    /// A pod is bound to a node that is not there, and is left out: for the scheduler it does not
    /// exist.
    UnknownNode(String),
    /// There was another of this name before, which counts.
    Twice,
}

impl Fault {
    /// A field that is wrong; the root has no path.
    pub(super) fn undecodable(path: &str, what: String) -> Self {
        Self::Undecodable {
            path: if path == "." { "" } else { path }.to_owned(),
            what,
        }
    }

    /// The object is not in the dump.
    #[must_use]
    pub const fn leaves_out(&self) -> bool {
        match self {
            Self::Undecodable { .. }
            | Self::NoKind
            | Self::NoName
            | Self::UnknownNode(_)
            | Self::Twice => true,
            Self::Defect(_) => false,
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = if self.kind.is_empty() {
            "an object"
        } else {
            &self.kind
        };
        f.write_str(kind)?;
        match (self.namespace.as_str(), self.name.as_str()) {
            ("", "") => {}
            ("", name) => write!(f, " {name}")?,
            (namespace, name) => write!(f, " {namespace}/{name}")?,
        }
        write!(f, ": {}", self.fault)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Undecodable { path, what } if path.is_empty() => f.write_str(what),
            Self::Undecodable { path, what } => write!(f, "{path}: {what}"),
            Self::NoKind => f.write_str("it names no kind"),
            Self::NoName => f.write_str("it has no name"),
            Self::Defect(what) => f.write_str(what),
            Self::UnknownNode(node) => {
                write!(f, "it is bound to node {node}, which is not in the dump")
            }
            Self::Twice => f.write_str("it is given twice; the first counts"),
        }
    }
}
