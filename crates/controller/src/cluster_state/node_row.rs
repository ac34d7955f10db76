//! What is remembered of a Node.

use std::sync::Arc;

use intake::NodeFacts;
use jiff::Timestamp;
use model::{Labels, Node, Taint, Uid};

use super::views;

/// What is remembered of a Node.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NodeRow {
    /// What decisions need.
    pub node: Node,
    /// Its version, for compare-and-swap writes.
    pub resource_version: String,
    /// Annotations.
    pub annotations: Labels,
    /// Every taint as the API has it, so that a write keeps those of others whole.
    pub taints: Vec<views::TaintView>,
    /// The `kubernetes.io/hostname` label.
    pub hostname: Option<Arc<str>>,
    /// Internal and external addresses.
    pub addresses: Vec<Arc<str>>,
    /// `spec.providerID`.
    pub provider_id: Option<Arc<str>>,
    /// Carries a control-plane label or taint.
    pub control_plane: bool,
    /// Since when Ready is what it is.
    pub ready_since: Option<Timestamp>,
    /// Its deletion was asked for.
    pub deleting: bool,
}

impl NodeRow {
    /// Its identity.
    #[must_use]
    pub fn uid(&self) -> Uid {
        self.node.uid.clone().unwrap_or_else(|| Uid::new(""))
    }

    /// The labels.
    #[must_use]
    pub fn labels(&self) -> &Labels {
        &self.node.shape.labels
    }

    /// One label.
    #[must_use]
    pub fn label(&self, key: &str) -> Option<&str> {
        self.labels().get(key).map(AsRef::as_ref)
    }

    /// One annotation.
    #[must_use]
    pub fn annotation(&self, key: &str) -> Option<&str> {
        self.annotations.get(key).map(AsRef::as_ref)
    }

    /// The taints decisions look at.
    #[must_use]
    pub fn model_taints(&self) -> &[Taint] {
        &self.node.shape.taints
    }

    /// Everything but the version, which changes with every heartbeat.
    pub(super) fn same_facts(&self, other: &Self) -> bool {
        let strip = |row: &Self| Self {
            resource_version: String::new(),
            ..row.clone()
        };
        strip(self) == strip(other)
    }

    /// From what is read of a Node.
    #[must_use]
    pub fn new(node: Node, facts: NodeFacts) -> Self {
        Self {
            hostname: node.shape.labels.get(api::labels::HOSTNAME).cloned(),
            resource_version: facts.resource_version,
            annotations: facts.annotations,
            taints: facts.taints,
            addresses: facts.addresses,
            provider_id: facts.provider_id,
            control_plane: facts.control_plane,
            ready_since: facts.ready_since,
            deleting: facts.deleting,
            node,
        }
    }

    pub(super) fn of(view: &views::NodeView) -> Self {
        Self::new(view.node(), view.facts())
    }
}
