//! Nodes, real ones and templates of those to come.

use std::{collections::BTreeSet, sync::Arc};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{
    NodeName, Resources, Uid,
    selector::{Labels, Taint},
};

/// What decides which pods a node can take.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct NodeShape {
    /// Labels.
    pub labels: Labels,
    /// Taints.
    pub taints: Vec<Taint>,
    /// `spec.unschedulable`.
    pub unschedulable: bool,
    /// What pods may use.
    pub allocatable: Resources,
    /// `status.declaredFeatures`.
    pub features: BTreeSet<Arc<str>>,
}

/// One node.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Node {
    /// Its name.
    pub name: NodeName,
    /// Its identity; `None` for a template.
    pub uid: Option<Uid>,
    /// What decides which pods it can take.
    pub shape: Arc<NodeShape>,
    /// Its Ready condition is True.
    pub ready: bool,
    /// When it was created.
    pub created_at: Option<Timestamp>,
    /// Something in it cannot be understood (no capacity, an unreadable quantity): what. Nothing
    /// is placed on such a node.
    pub defect: Option<Arc<str>>,
}
