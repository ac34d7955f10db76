//! PersistentVolumes.

use std::sync::Arc;

use k8s_openapi::{
    api::core::v1::PersistentVolume as KubeVolume, apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kube::Resource;
use model::{
    NodeSelectorTerm, Uid,
    storage::{ClaimRef, Volume, VolumeHandle},
};
use serde::Deserialize;

use super::{
    PhaseView, Read, StorageAmount, access_modes, bytes, class_name,
    in_tree::{self, SourceView},
    text,
};
use crate::{
    metadata::{filled, labels, metadata, object, or_default},
    selector::{NodeSelectorView, TermView},
};

/// What is decoded of a PersistentVolume.
#[derive(Resource, Deserialize, Clone, Debug)]
#[resource(inherit = KubeVolume)]
pub struct VolumeView {
    /// Metadata, without `managedFields`.
    #[serde(deserialize_with = "metadata")]
    pub metadata: ObjectMeta,
    #[serde(default, deserialize_with = "object")]
    spec: VolumeSpecView,
    #[serde(default, deserialize_with = "object")]
    status: PhaseView,
}

#[derive(Deserialize, Clone, Debug, Default)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct VolumeSpecView {
    #[serde(deserialize_with = "or_default")]
    capacity: StorageAmount,
    access_modes: Option<Vec<String>>,
    volume_mode: Option<String>,
    storage_class_name: Option<String>,
    volume_attributes_class_name: Option<String>,
    node_affinity: Option<VolumeAffinityView>,
    claim_ref: Option<ClaimRefView>,
    csi: Option<CsiView>,
    pub(super) aws_elastic_block_store: Option<SourceView>,
    pub(super) gce_persistent_disk: Option<SourceView>,
    pub(super) azure_disk: Option<SourceView>,
    pub(super) cinder: Option<SourceView>,
    pub(super) portworx_volume: Option<SourceView>,
}

#[derive(Deserialize, Clone, Debug, Default)]
#[serde(default)]
struct VolumeAffinityView {
    required: Option<NodeSelectorView>,
}

#[derive(Deserialize, Clone, Debug, Default)]
#[serde(default)]
struct ClaimRefView {
    namespace: Option<String>,
    name: Option<String>,
    uid: Option<String>,
}

#[derive(Deserialize, Clone, Debug, Default)]
#[serde(rename_all = "camelCase", default)]
struct CsiView {
    driver: String,
    volume_handle: String,
}

impl VolumeView {
    /// The volume.
    #[must_use]
    pub fn volume(&self) -> Read<Volume> {
        let (meta, spec) = (&self.metadata, &self.spec);
        let (capacity, mut defect) = bytes(spec.capacity.storage.as_ref(), "capacity");
        let (node_affinity, unreadable) = self.node_affinity();
        if defect.is_none() {
            defect = unreadable;
        }
        let labels = labels(meta.labels.as_ref());
        let (handle, in_tree) = match &spec.csi {
            Some(csi) => {
                let handle = VolumeHandle {
                    driver: Arc::from(csi.driver.as_str()),
                    handle: Arc::from(csi.volume_handle.as_str()),
                };
                let named = !csi.driver.is_empty() && !csi.volume_handle.is_empty();
                (named.then_some(handle), None)
            }
            None => in_tree::translate(spec, &labels, node_affinity.as_deref()),
        };
        let volume = Volume {
            labels,
            capacity: capacity.unwrap_or_default(),
            access_modes: access_modes(spec.access_modes.as_ref()),
            block: spec.volume_mode.as_deref() == Some("Block"),
            class: class_name(meta, spec.storage_class_name.as_ref()),
            node_affinity,
            claim: spec.claim_ref.as_ref().map(|claim| ClaimRef {
                namespace: Arc::from(claim.namespace.as_deref().unwrap_or_default()),
                name: Arc::from(claim.name.as_deref().unwrap_or_default()),
                uid: filled(claim.uid.as_ref()).map(Uid::new),
            }),
            // Without a phase it is Pending (core/v1 defaults).
            available: self.status.phase.as_deref() == Some("Available"),
            deleting: meta.deletion_timestamp.is_some(),
            attributes_class: text(spec.volume_attributes_class_name.as_ref()),
            handle,
            in_tree,
        };
        (volume, defect)
    }

    /// Only labels decide: the scheduler asks about a node without a name, which meets every
    /// requirement on fields (component-helpers `CheckNodeAffinity`). A term that cannot be read
    /// matches no node.
    fn node_affinity(&self) -> Read<Option<Vec<NodeSelectorTerm>>> {
        let affinity = self.spec.node_affinity.as_ref();
        let Some(required) = affinity.and_then(|affinity| affinity.required.as_ref()) else {
            return (None, None);
        };
        let mut defect = None;
        let mut terms = Vec::new();
        for term in required.node_selector_terms.iter().map(TermView::model) {
            match term {
                Ok(term) if term.match_fields.is_empty() => terms.push(term),
                Ok(term) if term.match_expressions.is_empty() => return (None, defect),
                Ok(term) => terms.push(NodeSelectorTerm {
                    match_fields: Vec::new(),
                    ..term
                }),
                Err(error) => defect = Some(format!("node affinity: {error}")),
            }
        }
        (Some(terms), defect)
    }
}
