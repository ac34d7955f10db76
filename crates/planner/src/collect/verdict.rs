//! What a worker without an owner can be, and the words for it.

use std::fmt::{self, Write as _};

use model::{GroupKey, NodeName};

/// What a worker that no VPSieNode owns is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// There is no proof that it is ours: it is reported and never touched.
    NotOurs(NotOurs),
    /// It may yet turn out to be ours, or to be gone: nothing is said of it.
    Awaited(Awaited),
    /// It is ours, and its VPSieNode is gone.
    Orphan(Orphan),
}

/// Why a worker counts as somebody else's.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum NotOurs {
    /// No Node carries its identity.
    NoNode,
    /// The cloud does not say that it is a worker.
    RoleUnknown,
    /// The Node that carries its identity lacks others of our marks.
    MarksIncomplete {
        /// The Node.
        node: NodeName,
    },
    /// Two Nodes carry its identity.
    ClaimedTwice {
        /// One.
        node: NodeName,
        /// The other.
        other: NodeName,
    },
    /// The Node that carries its identity runs on another machine.
    NodeContradicts {
        /// The Node.
        node: NodeName,
        /// What says so.
        detail: String,
    },
    /// The VPSieNode that its Node names exists, and owns another machine or none.
    RecordExists {
        /// `namespace/name`.
        record: String,
    },
    /// The NodeGroup that its Node names does not exist any more.
    GroupGone {
        /// The group.
        group: GroupKey,
    },
    /// The NodeGroup that its Node names is not managed (any more).
    GroupNotManaged {
        /// The group.
        group: GroupKey,
    },
}

/// Why nothing is said of a worker yet.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Awaited {
    /// A VPSieNode that has no machine yet may come to own it.
    OpenRequest {
        /// `namespace/name`.
        record: String,
    },
    /// It was not seen often enough.
    Young {
        /// How often.
        sightings: u32,
    },
}

/// A worker of ours without its VPSieNode, and what that is to be again.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Orphan {
    /// The VPSieNode's name.
    pub record: String,
    /// Its group.
    pub group: GroupKey,
    /// Its Node.
    pub node: NodeName,
    /// The offering, as a label has it.
    pub offering: String,
    /// Why it does not get its VPSieNode again now, in words.
    pub held: Option<String>,
    /// It has been without an owner for long enough, and was seen often enough.
    pub ripe: bool,
}

impl Verdict {
    /// The kind, as the metric has it.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::NotOurs(_) => "foreign",
            Self::Awaited(_) => "awaited",
            Self::Orphan(_) => "orphan",
        }
    }

    /// Every kind.
    pub const KINDS: [&'static str; 3] = ["foreign", "orphan", "awaited"];

    /// The name of the reason.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::NotOurs(why) => why.name(),
            Self::Awaited(why) => why.name(),
            Self::Orphan(_) => "Orphan",
        }
    }

    /// One of each.
    #[must_use]
    pub fn examples() -> Vec<Self> {
        let node = || NodeName::new("worker-1");
        let group = || GroupKey::new("kube-system", "general");
        let not_ours = [
            NotOurs::NoNode,
            NotOurs::RoleUnknown,
            NotOurs::MarksIncomplete { node: node() },
            NotOurs::ClaimedTwice {
                node: node(),
                other: NodeName::new("worker-2"),
            },
            NotOurs::NodeContradicts {
                node: node(),
                detail: "its host name is worker-2".into(),
            },
            NotOurs::RecordExists {
                record: "kube-system/general-1".into(),
            },
            NotOurs::GroupGone { group: group() },
            NotOurs::GroupNotManaged { group: group() },
        ];
        let awaited = [
            Awaited::OpenRequest {
                record: "kube-system/general-1".into(),
            },
            Awaited::Young { sightings: 1 },
        ];
        not_ours
            .into_iter()
            .map(Self::NotOurs)
            .chain(awaited.into_iter().map(Self::Awaited))
            .chain([Self::Orphan(Orphan {
                record: "general-1".into(),
                group: group(),
                node: node(),
                offering: "s-2vcpu-4gb".into(),
                held: None,
                ripe: false,
            })])
            .collect()
    }

    /// What a user does about it.
    #[must_use]
    pub const fn advice(&self) -> &'static str {
        match self {
            Self::NotOurs(NotOurs::NoNode | NotOurs::RoleUnknown) => {
                "nothing, if it was made by hand; else delete it at the cloud"
            }
            Self::NotOurs(NotOurs::MarksIncomplete { .. }) => {
                "put the missing labels on the Node, or drain it and delete the machine"
            }
            Self::NotOurs(NotOurs::ClaimedTwice { .. } | NotOurs::NodeContradicts { .. }) => {
                "take the annotation `autoscaler.vpsie.com/vps-id` off the Node it does not belong to"
            }
            Self::NotOurs(NotOurs::RecordExists { .. }) => {
                "drain the Node and delete the machine: its VPSieNode stands for another one"
            }
            Self::NotOurs(NotOurs::GroupGone { .. } | NotOurs::GroupNotManaged { .. }) => {
                "make the group again, label it managed, or drain the Node and delete the machine"
            }
            Self::Awaited(_) => "nothing",
            Self::Orphan(_) => {
                "nothing: it gets its VPSieNode again; `kubectl delete vn` removes it after that"
            }
        }
    }
}

impl NotOurs {
    /// The name of the reason.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::NoNode => "NoNode",
            Self::RoleUnknown => "RoleUnknown",
            Self::MarksIncomplete { .. } => "MarksIncomplete",
            Self::ClaimedTwice { .. } => "ClaimedTwice",
            Self::NodeContradicts { .. } => "NodeContradicts",
            Self::RecordExists { .. } => "RecordExists",
            Self::GroupGone { .. } => "GroupGone",
            Self::GroupNotManaged { .. } => "GroupNotManaged",
        }
    }
}

impl Awaited {
    /// The name of the reason.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::OpenRequest { .. } => "OpenRequest",
            Self::Young { .. } => "Young",
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotOurs(why) => write!(f, "not ours, left alone: {why}"),
            Self::Awaited(why) => why.fmt(f),
            Self::Orphan(orphan) => orphan.fmt(f),
        }
    }
}

impl fmt::Display for NotOurs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoNode => f.write_str("no Node carries its identity"),
            Self::RoleUnknown => f.write_str("the cloud does not say that it is a worker"),
            Self::MarksIncomplete { node } => {
                write!(f, "its Node {node} does not carry all of our labels")
            }
            Self::ClaimedTwice { node, other } => {
                write!(f, "the Nodes {node} and {other} both carry its identity")
            }
            Self::NodeContradicts { node, detail } => {
                write!(f, "Node {node} carries its identity, but {detail}")
            }
            Self::RecordExists { record } => {
                write!(
                    f,
                    "its Node names VPSieNode {record}, which does not own it"
                )
            }
            Self::GroupGone { group } => {
                write!(f, "its Node names NodeGroup {group}, which does not exist")
            }
            Self::GroupNotManaged { group } => {
                write!(f, "its Node names NodeGroup {group}, which is not managed")
            }
        }
    }
}

impl fmt::Display for Awaited {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OpenRequest { record } => write!(f, "VPSieNode {record} may come to own it"),
            Self::Young { sightings } => write!(f, "it was seen {sightings} times only"),
        }
    }
}

impl fmt::Display for Orphan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            record,
            group,
            node,
            held,
            ..
        } = self;
        write!(
            f,
            "ours, of NodeGroup {group}: it runs Node {node}, and VPSieNode {record} is gone"
        )?;
        match held {
            Some(why) => write!(f, "; it does not come back yet: {why}"),
            None => f.write_str("; that is made again"),
        }
    }
}

/// Every verdict as Markdown: its kind, its name, what it means, what a user does.
#[must_use]
pub fn markdown() -> String {
    let mut text = String::from(
        "| Kind | Name | Meaning (an example) | What to do |\n| --- | --- | --- | --- |\n",
    );
    for verdict in Verdict::examples() {
        let _ = writeln!(
            text,
            "| {} | {} | {verdict} | {} |",
            verdict.kind(),
            verdict.name(),
            verdict.advice()
        );
    }
    text
}
