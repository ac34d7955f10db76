//! VolumeAttachments: what is attached where, whether or not a pod uses it.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use k8s_openapi::{
    api::storage::v1::VolumeAttachment as KubeAttachment,
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kube::Resource;
use model::{
    NodeName,
    storage::{Volume, VolumeHandle},
};
use serde::Deserialize;

use crate::metadata::{filled, metadata, object, or_default};

/// What is decoded of a VolumeAttachment.
#[derive(Resource, Deserialize, Clone, Debug)]
#[resource(inherit = KubeAttachment)]
pub struct AttachmentView {
    /// Metadata, without `managedFields`.
    #[serde(deserialize_with = "metadata")]
    pub metadata: ObjectMeta,
    #[serde(default, deserialize_with = "object")]
    spec: AttachmentSpecView,
}

#[derive(Deserialize, Clone, Debug, Default)]
#[serde(rename_all = "camelCase", default)]
struct AttachmentSpecView {
    #[serde(deserialize_with = "or_default")]
    attacher: String,
    #[serde(deserialize_with = "or_default")]
    node_name: String,
    #[serde(deserialize_with = "or_default")]
    source: AttachmentSourceView,
}

#[derive(Deserialize, Clone, Debug, Default)]
#[serde(rename_all = "camelCase", default)]
struct AttachmentSourceView {
    persistent_volume_name: Option<String>,
}

/// A VolumeAttachment: which volume is attached where, and by whom.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Attachment {
    /// Where.
    pub node: NodeName,
    /// The driver that attached it.
    pub attacher: Arc<str>,
    /// The PersistentVolume.
    pub volume: Arc<str>,
}

impl AttachmentView {
    /// The attachment; `None` where it names no driver or no PersistentVolume, which the attach
    /// limits do not count.
    #[must_use]
    pub fn attachment(&self) -> Option<Attachment> {
        let spec = &self.spec;
        let volume = filled(spec.source.persistent_volume_name.as_ref())?;
        (!spec.attacher.is_empty()).then(|| Attachment {
            node: NodeName::new(&spec.node_name),
            attacher: Arc::from(spec.attacher.as_str()),
            volume: Arc::from(volume),
        })
    }
}

/// What is attached where: the handles of the volumes that attachments name. Only volumes that a
/// CSI driver made count; one of a kind that moved to CSI later does not (kube-scheduler
/// `getNodeVolumeAttachmentInfo`).
#[must_use]
pub fn attached<'a>(
    attachments: impl IntoIterator<Item = &'a Attachment>,
    volumes: &BTreeMap<Arc<str>, Volume>,
) -> BTreeMap<NodeName, BTreeSet<VolumeHandle>> {
    let mut all: BTreeMap<NodeName, BTreeSet<VolumeHandle>> = BTreeMap::new();
    for attachment in attachments {
        let volume = volumes.get(&attachment.volume);
        if let Some(volume) = volume.filter(|volume| volume.in_tree.is_none())
            && let Some(handle) = &volume.handle
        {
            let handle = VolumeHandle {
                driver: Arc::clone(&attachment.attacher),
                handle: Arc::clone(&handle.handle),
            };
            let node = all.entry(attachment.node.clone()).or_default();
            node.insert(handle);
        }
    }
    all
}
