//! PersistentVolumeClaims.

use k8s_openapi::{
    api::core::v1::PersistentVolumeClaim as KubeClaim,
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kube::Resource;
use model::{NodeName, Uid, storage::Claim};
use serde::Deserialize;

use super::{PhaseView, Read, StorageAmount, access_modes, bytes, class_name, text, unmet};
use crate::{
    metadata::{annotation, controller, metadata, object, or_default},
    selector::LabelSelectorView,
};

/// What is decoded of a PersistentVolumeClaim.
#[derive(Resource, Deserialize, Clone, Debug)]
#[resource(inherit = KubeClaim)]
pub struct ClaimView {
    /// Metadata, without `managedFields`.
    #[serde(deserialize_with = "metadata")]
    pub metadata: ObjectMeta,
    #[serde(default, deserialize_with = "object")]
    spec: ClaimSpecView,
    #[serde(default, deserialize_with = "object")]
    status: PhaseView,
}

#[derive(Deserialize, Clone, Debug, Default)]
#[serde(rename_all = "camelCase", default)]
struct ClaimSpecView {
    volume_name: Option<String>,
    storage_class_name: Option<String>,
    volume_attributes_class_name: Option<String>,
    access_modes: Option<Vec<String>>,
    volume_mode: Option<String>,
    selector: Option<LabelSelectorView>,
    #[serde(deserialize_with = "or_default")]
    resources: ClaimResourcesView,
}

#[derive(Deserialize, Clone, Debug, Default)]
#[serde(default)]
struct ClaimResourcesView {
    #[serde(deserialize_with = "or_default")]
    requests: StorageAmount,
}

impl ClaimView {
    /// The claim.
    #[must_use]
    pub fn claim(&self) -> Read<Claim> {
        let (meta, spec) = (&self.metadata, &self.spec);
        let (requested, mut defect) = bytes(spec.resources.requests.storage.as_ref(), "storage");
        let selector = match spec.selector.as_ref().map(LabelSelectorView::model) {
            None => None,
            Some(Ok(selector)) => Some(selector),
            Some(Err(error)) => {
                defect = Some(format!("selector: {error}"));
                Some(unmet())
            }
        };
        let claim = Claim {
            volume: text(spec.volume_name.as_ref()),
            bind_completed: annotation(meta, "pv.kubernetes.io/bind-completed").is_some(),
            class: class_name(meta, spec.storage_class_name.as_ref()),
            lost: self.status.phase.as_deref() == Some("Lost"),
            deleting: meta.deletion_timestamp.is_some(),
            // An empty name is that of no node.
            selected_node: annotation(meta, "volume.kubernetes.io/selected-node")
                .map(NodeName::new),
            // What cannot be read is more than any volume has.
            requested: match &defect {
                Some(_) if requested.is_none() => i64::MAX,
                _ => requested.unwrap_or_default(),
            },
            access_modes: access_modes(spec.access_modes.as_ref()),
            block: spec.volume_mode.as_deref() == Some("Block"),
            selector,
            attributes_class: text(spec.volume_attributes_class_name.as_ref()),
            owner: controller(meta).map(|owner| Uid::new(&owner.uid)),
            uid: meta.uid.as_deref().map(Uid::new),
        };
        (claim, defect)
    }
}
