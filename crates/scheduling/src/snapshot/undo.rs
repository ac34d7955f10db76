//! Tentative changes: the log of what to do to take each back.

use std::sync::Arc;

use model::NodeShape;

use super::{ClassId, Detail, NodeId, Slot, Snapshot};

/// How to take a change back.
#[derive(Clone, Debug)]
pub(super) enum Undo {
    Displace {
        node: NodeId,
        class: ClassId,
        terminating: bool,
        count: u32,
    },
    Place {
        node: NodeId,
        class: ClassId,
        terminating: bool,
        count: u32,
    },
    Remove {
        node: NodeId,
        /// Its slot came with it.
        is_new: bool,
    },
    Restore(NodeId, Box<(Slot, Box<Detail>)>),
    Shape(NodeId, Arc<NodeShape>, Option<Arc<str>>),
}

impl Snapshot {
    /// Begins a tentative change. Forks nest.
    pub fn fork(&mut self) {
        self.marks.push(self.undo.len());
    }

    /// Keeps what was changed since the last [`Snapshot::fork`]; an outer revert still takes it back.
    pub fn commit(&mut self) {
        self.marks.pop();
        if self.marks.is_empty() {
            self.undo.clear();
        }
    }

    /// Takes back what was changed since the last [`Snapshot::fork`]; without one, nothing.
    pub fn revert(&mut self) {
        let Some(mark) = self.marks.pop() else {
            return;
        };
        while self.undo.len() > mark {
            match self.undo.pop() {
                Some(Undo::Displace {
                    node,
                    class,
                    terminating,
                    count,
                }) => {
                    self.take(node, class, terminating, count);
                }
                Some(Undo::Place {
                    node,
                    class,
                    terminating,
                    count,
                }) => self.put(node, class, terminating, count),
                Some(Undo::Remove { node, is_new }) => self.forget(node, is_new),
                Some(Undo::Restore(node, state)) => self.restore(node, *state),
                Some(Undo::Shape(node, shape, hostname)) => {
                    self.reshape(node, shape, hostname);
                }
                None => break,
            }
        }
    }

    pub(super) fn note(&mut self, undo: Undo) {
        if !self.marks.is_empty() {
            self.undo.push(undo);
        }
    }
}
