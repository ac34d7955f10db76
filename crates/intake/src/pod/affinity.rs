//! Node affinity, and affinity and anti-affinity between pods.

use std::{collections::BTreeSet, sync::Arc};

use model::{Labels, Namespaces, NodeSelectorTerm, Operator, PodTerm};
use serde::Deserialize;

use crate::{
    metadata::or_default,
    selector::{LabelSelectorView, NodeSelectorView, TermView, merge},
};

#[derive(Deserialize, Clone, Debug, Default)]
#[serde(rename_all = "camelCase", default)]
#[allow(clippy::struct_field_names)] // the API's names
pub(super) struct AffinityView {
    node_affinity: Option<NodeAffinityView>,
    pod_affinity: Option<PodAffinityView>,
    pod_anti_affinity: Option<PodAffinityView>,
}

#[derive(Deserialize, Clone, Debug, Default)]
#[serde(default)]
struct NodeAffinityView {
    #[serde(rename = "requiredDuringSchedulingIgnoredDuringExecution")]
    required: Option<NodeSelectorView>,
    #[serde(rename = "preferredDuringSchedulingIgnoredDuringExecution")]
    preferred: Option<Vec<PreferredNodeView>>,
}

#[derive(Deserialize, Clone, Debug, Default)]
#[serde(default)]
struct PreferredNodeView {
    weight: i32,
    #[serde(deserialize_with = "or_default")]
    preference: TermView,
}

#[derive(Deserialize, Clone, Debug, Default)]
#[serde(default)]
struct PodAffinityView {
    #[serde(rename = "requiredDuringSchedulingIgnoredDuringExecution")]
    required: Option<Vec<PodTermView>>,
    #[serde(rename = "preferredDuringSchedulingIgnoredDuringExecution")]
    preferred: Option<Vec<PreferredPodView>>,
}

#[derive(Deserialize, Clone, Debug, Default)]
#[serde(rename_all = "camelCase", default)]
struct PreferredPodView {
    weight: i32,
    #[serde(deserialize_with = "or_default")]
    pod_affinity_term: PodTermView,
}

#[derive(Deserialize, Clone, Debug, Default)]
#[serde(rename_all = "camelCase", default)]
struct PodTermView {
    label_selector: Option<LabelSelectorView>,
    namespaces: Option<Vec<String>>,
    namespace_selector: Option<LabelSelectorView>,
    topology_key: String,
    match_label_keys: Option<Vec<String>>,
    mismatch_label_keys: Option<Vec<String>>,
}

impl PodTermView {
    /// The term of a pod of this namespace with these labels (kube-scheduler `newAffinityTerm`).
    fn model(&self, namespace: &str, own: &Labels) -> Result<PodTerm, String> {
        let named = |error: String| format!("pod affinity over {}: {error}", self.topology_key);
        let read = |view: &Option<LabelSelectorView>| {
            view.as_ref()
                .map(LabelSelectorView::model)
                .transpose()
                .map_err(named)
        };
        let mut selector = read(&self.label_selector)?;
        if let Some(selector) = &mut selector {
            let (same, other) = (&self.match_label_keys, &self.mismatch_label_keys);
            merge(selector, same.as_ref(), Operator::In, own);
            merge(selector, other.as_ref(), Operator::NotIn, own);
        }
        let mut names: BTreeSet<Arc<str>> = self
            .namespaces
            .iter()
            .flatten()
            .map(|name| Arc::from(name.as_str()))
            .collect();
        if names.is_empty() && self.namespace_selector.is_none() {
            names.insert(Arc::from(namespace));
        }
        Ok(PodTerm {
            selector,
            namespaces: Namespaces {
                names,
                selector: read(&self.namespace_selector)?,
            },
            topology_key: Arc::from(self.topology_key.as_str()),
        })
    }
}

/// Terms and what is wrong with those that are left out.
type Read<T> = (Vec<T>, Option<String>);

fn all<V, T>(views: impl Iterator<Item = V>, read: impl Fn(V) -> Result<T, String>) -> Read<T> {
    let mut defect = None;
    let mut terms = Vec::new();
    for view in views {
        match read(view) {
            Ok(term) => terms.push(term),
            Err(error) => {
                defect.get_or_insert(error);
            }
        }
    }
    (terms, defect)
}

impl AffinityView {
    /// Required node affinity: one of these terms.
    pub(super) fn required_nodes(&self) -> Option<Read<NodeSelectorTerm>> {
        let affinity = self.node_affinity.as_ref()?;
        let terms = &affinity.required.as_ref()?.node_selector_terms;
        Some(all(terms.iter(), TermView::model))
    }

    /// Preferred node affinity. A term that weighs or selects nothing is left out, as is one that
    /// cannot be read.
    pub(super) fn preferred_nodes(&self) -> Vec<(i32, NodeSelectorTerm)> {
        let affinity = self.node_affinity.as_ref();
        affinity
            .iter()
            .flat_map(|affinity| affinity.preferred.iter().flatten())
            .filter(|preferred| preferred.weight != 0)
            .filter_map(|preferred| Some((preferred.weight, preferred.preference.model().ok()?)))
            .filter(|(_, term)| {
                !(term.match_expressions.is_empty() && term.match_fields.is_empty())
            })
            .collect()
    }

    /// Required affinity to pods.
    pub(super) fn required_near(&self, namespace: &str, own: &Labels) -> Read<PodTerm> {
        required(self.pod_affinity.as_ref(), namespace, own)
    }

    /// Required anti-affinity to pods.
    pub(super) fn required_apart(&self, namespace: &str, own: &Labels) -> Read<PodTerm> {
        required(self.pod_anti_affinity.as_ref(), namespace, own)
    }

    /// Preferred affinity to pods.
    pub(super) fn preferred_near(&self, namespace: &str, own: &Labels) -> Vec<(i32, PodTerm)> {
        preferred(self.pod_affinity.as_ref(), namespace, own)
    }

    /// Preferred anti-affinity to pods.
    pub(super) fn preferred_apart(&self, namespace: &str, own: &Labels) -> Vec<(i32, PodTerm)> {
        preferred(self.pod_anti_affinity.as_ref(), namespace, own)
    }
}

fn required(view: Option<&PodAffinityView>, namespace: &str, own: &Labels) -> Read<PodTerm> {
    let terms = view.into_iter().flat_map(|v| v.required.iter().flatten());
    all(terms, |term| term.model(namespace, own))
}

fn preferred(view: Option<&PodAffinityView>, namespace: &str, own: &Labels) -> Vec<(i32, PodTerm)> {
    view.into_iter()
        .flat_map(|view| view.preferred.iter().flatten())
        .filter(|preferred| preferred.weight != 0)
        .filter_map(|preferred| {
            let term = preferred.pod_affinity_term.model(namespace, own).ok()?;
            Some((preferred.weight, term))
        })
        .collect()
}
