//! Rules between pods: label selectors, inter-pod (anti-)affinity and topology spread.

use std::{collections::BTreeSet, sync::Arc};

use serde::{Deserialize, Serialize};

use crate::{Labels, NodeSelectorTerm, Requirement};

/// A selector on labels: all its requirements must hold. Without any it selects everything; what
/// an absent selector means, who holds it says.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize)]
pub struct LabelSelector {
    /// `matchLabels` as `In` with one value, and `matchExpressions`; sorted, each once.
    pub requirements: Vec<Requirement>,
}

impl LabelSelector {
    /// Whether it selects what carries `labels`.
    #[must_use]
    pub fn matches(&self, labels: &Labels) -> bool {
        self.requirements
            .iter()
            .all(|r| r.matches(labels.get(&*r.key).map(AsRef::as_ref)))
    }

    /// As [`Self::matches`], for labels that are looked up.
    #[must_use]
    pub fn matches_by<'a>(&self, label: impl Fn(&str) -> Option<&'a str>) -> bool {
        self.requirements.iter().all(|r| r.matches(label(&r.key)))
    }
}

/// The namespaces whose pods a term is about: those named and those selected together.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize)]
pub struct Namespaces {
    /// By name. Where the API has neither names nor a selector, the pod's own.
    pub names: BTreeSet<Arc<str>>,
    /// By their labels; the empty selector is every namespace, `None` none.
    pub selector: Option<LabelSelector>,
}

/// A term of inter-pod affinity or anti-affinity.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize)]
pub struct PodTerm {
    /// Which pods; `None` matches none.
    pub selector: Option<LabelSelector>,
    /// In which namespaces.
    pub namespaces: Namespaces,
    /// Nodes with the same value of this label are one domain.
    pub topology_key: Arc<str>,
}

/// Whether nodes that the pod cannot use count as domains.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub enum InclusionPolicy {
    /// They do not.
    Honor,
    /// They do.
    Ignore,
}

/// A topology spread constraint.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct SpreadConstraint {
    /// Nodes with the same value of this label are one domain.
    pub topology_key: Arc<str>,
    /// How many more pods than the emptiest domain one may have; at least 1.
    pub max_skew: i32,
    /// With fewer domains than this the emptiest counts as empty; at least 1.
    pub min_domains: i32,
    /// Which pods of the pod's own namespace count, `matchLabelKeys` merged in; `None` counts none.
    /// The *empty* selector counts no running pod, yet the pod itself (scheduler plugin
    /// `podtopologyspread`, `countPodsMatchSelector` and `podLabelsMatchSpreadConstraints`).
    pub selector: Option<LabelSelector>,
    /// About the pod's node selector and required node affinity; `Honor` by default.
    pub node_affinity_policy: InclusionPolicy,
    /// About taints that the pod does not tolerate; `Ignore` by default.
    pub node_taints_policy: InclusionPolicy,
}

/// Rules that are better met, each with its weight (1 to 100). They forbid nothing.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize)]
pub struct Preferences {
    /// Preferred node affinity.
    pub nodes: Vec<(i32, NodeSelectorTerm)>,
    /// Preferred pod affinity.
    pub near: Vec<(i32, PodTerm)>,
    /// Preferred pod anti-affinity.
    pub apart: Vec<(i32, PodTerm)>,
    /// Spread constraints with `ScheduleAnyway`.
    pub spread: Vec<SpreadConstraint>,
}

impl Preferences {
    /// Nothing is preferred.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.nodes.is_empty()
            && self.near.is_empty()
            && self.apart.is_empty()
            && self.spread.is_empty()
    }
}
