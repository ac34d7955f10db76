//! A node as the filters see it that look at nothing but the node: name, labels, taints, features.

use model::{Node, NodeShape};

/// The label that tells nodes apart.
pub(crate) const HOSTNAME: &str = "kubernetes.io/hostname";

/// A node by itself.
#[derive(Clone, Copy)]
pub(crate) struct View<'a> {
    pub(crate) name: &'a str,
    pub(crate) shape: &'a NodeShape,
    /// Stands for the shape's hostname label: copies of one node share their shape.
    pub(crate) hostname: Option<&'a str>,
}

impl<'a> View<'a> {
    pub(crate) fn of(node: &'a Node) -> Self {
        Self {
            name: node.name.as_str(),
            shape: &node.shape,
            hostname: None,
        }
    }

    /// The value of a label.
    pub(crate) fn label(&self, key: &str) -> Option<&'a str> {
        match self.hostname {
            Some(hostname) if key == HOSTNAME => Some(hostname),
            _ => self.shape.labels.get(key).map(AsRef::as_ref),
        }
    }
}
