//! Why a machine may be deleted. Values of [`Proof`] can be made only in `removal`.

use crate::lifecycle::{NodeState, Record};

/// The right to delete one Node and its machine. There is no other way to get one than to have
/// been through the removal's steps: the constructors are private to this module's parent.
///
/// ```compile_fail,E0624
/// // The constructors are private: nobody else can claim that a machine has vanished.
/// let forged = planner::removal::Proof::vanished();
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Proof {
    kind: Kind,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    Drained,
    Unreachable,
    Forced,
    NeverJoined,
    Vanished,
}

impl Proof {
    /// The node is cordoned and, by a read made for this step, holds nothing but DaemonSet and
    /// mirror pods.
    pub(super) fn drained(node: &NodeState) -> Result<Self, String> {
        if !node.fresh {
            return Err("the node's pods were not read anew".into());
        }
        if node.cordon.is_open() {
            return Err("the node is not cordoned".into());
        }
        match node.pods.first() {
            Some(pod) => Err(format!("pod {} is on the node", pod.key)),
            None => Ok(Self {
                kind: Kind::Drained,
            }),
        }
    }

    /// The node is cordoned, its kubelet does not answer, and every pod on it should have ended:
    /// only the end of the machine ends them. The machine goes before its Node then, so that no
    /// pod runs twice.
    pub(super) fn unreachable(node: &NodeState) -> Option<Self> {
        let lost = node.fresh
            && !node.ready
            && !node.cordon.is_open()
            && node.pods.iter().all(|pod| pod.overdue);
        lost.then_some(Self {
            kind: Kind::Unreachable,
        })
    }

    /// Whoever deleted the object ordered that the machine goes by now, whatever is on it, and the
    /// record says since when.
    pub(super) fn forced(record: &Record) -> Option<Self> {
        let removal = record.removal.as_ref()?;
        (record.deletion_requested && removal.forced_at.is_some())
            .then_some(Self { kind: Kind::Forced })
    }

    /// The machine itself is proven gone: what its Node says has no meaning any more.
    pub(super) const fn vanished() -> Self {
        Self {
            kind: Kind::Vanished,
        }
    }

    /// No Node object belongs to the machine (confirmed by the caller with a fresh read): it was
    /// deleted by us after draining, never joined, or somebody deleted it.
    pub(super) const fn without_node(record: &Record) -> Self {
        let kind = if record.node.is_none() {
            Kind::NeverJoined
        } else if record.terminating_at.is_some() {
            Kind::Drained
        } else {
            Kind::Vanished
        };
        Self { kind }
    }

    /// The name, for logs and the audit record.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self.kind {
            Kind::Drained => "Drained",
            Kind::Unreachable => "Unreachable",
            Kind::Forced => "Forced",
            Kind::NeverJoined => "NeverJoined",
            Kind::Vanished => "Vanished",
        }
    }
}
