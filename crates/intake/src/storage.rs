//! Claims, volumes, classes and what CSI drivers say, as far as they decide where a pod can run.

mod in_tree;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use k8s_openapi::{
    api::{
        core::v1::{PersistentVolume as KubeVolume, PersistentVolumeClaim as KubeClaim},
        storage::v1::{
            CSIDriver as KubeDriver, CSINode as KubeCsiNode, CSIStorageCapacity as KubeCapacity,
            StorageClass as KubeClass, VolumeAttachment as KubeAttachment,
        },
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kube::Resource;
use model::{
    NodeName, NodeSelectorTerm, Operator, Requirement, Uid,
    storage::{AccessMode, Claim, ClaimRef, StorageCapacity, StorageClass, Volume, VolumeHandle},
};
use serde::Deserialize;

use crate::{
    amounts::Amount,
    metadata::{annotation, controller, filled, labels, metadata, object, or_default},
    selector::{LabelSelectorView, NodeSelectorView, TermView},
};
use in_tree::SourceView;
pub use in_tree::driver_of_provisioner;

/// A row, and what in it cannot be read and is left at nothing.
type Read<T> = (T, Option<String>);

fn text(text: Option<&String>) -> Option<Arc<str>> {
    filled(text).map(Arc::from)
}

/// The class of a claim or volume: the beta annotation goes first (component-helpers
/// `GetPersistentVolumeClaimClass`); an empty name is no class.
fn class_name(meta: &ObjectMeta, spec: Option<&String>) -> Option<Arc<str>> {
    match annotation(meta, "volume.beta.kubernetes.io/storage-class") {
        Some(class) => Some(class),
        None => spec.map(String::as_str),
    }
    .filter(|class| !class.is_empty())
    .map(Arc::from)
}

fn access_modes(modes: Option<&Vec<String>>) -> Vec<AccessMode> {
    modes
        .into_iter()
        .flatten()
        .filter_map(|mode| {
            Some(match mode.as_str() {
                "ReadWriteOnce" => AccessMode::ReadWriteOnce,
                "ReadOnlyMany" => AccessMode::ReadOnlyMany,
                "ReadWriteMany" => AccessMode::ReadWriteMany,
                "ReadWriteOncePod" => AccessMode::ReadWriteOncePod,
                _ => return None,
            })
        })
        .collect()
}

/// Bytes, and what is wrong with them.
fn bytes(amount: Option<&Amount>, what: &str) -> Read<Option<i64>> {
    match amount.map(Amount::quantity) {
        None => (None, None),
        Some(Ok(quantity)) => (Some(quantity.value_ceil()), None),
        Some(Err(error)) => (None, Some(format!("{what}: {error}"))),
    }
}

#[derive(Deserialize, Clone, Debug, Default)]
#[serde(default)]
struct StorageAmount {
    storage: Option<Amount>,
}

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

#[derive(Deserialize, Clone, Debug, Default)]
#[serde(default)]
struct PhaseView {
    phase: Option<String>,
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
            selected_node: annotation(meta, "volume.kubernetes.io/selected-node")
                .filter(|node| !node.is_empty())
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

/// A selector that selects nothing.
fn unmet() -> model::LabelSelector {
    model::LabelSelector {
        requirements: vec![never()],
    }
}

/// A requirement that nothing meets.
fn never() -> Requirement {
    Requirement {
        key: Arc::from(""),
        operator: Operator::In,
        values: Vec::new(),
    }
}

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
struct VolumeSpecView {
    #[serde(deserialize_with = "or_default")]
    capacity: StorageAmount,
    access_modes: Option<Vec<String>>,
    volume_mode: Option<String>,
    storage_class_name: Option<String>,
    volume_attributes_class_name: Option<String>,
    node_affinity: Option<VolumeAffinityView>,
    claim_ref: Option<ClaimRefView>,
    csi: Option<CsiView>,
    aws_elastic_block_store: Option<SourceView>,
    gce_persistent_disk: Option<SourceView>,
    azure_disk: Option<SourceView>,
    cinder: Option<SourceView>,
    portworx_volume: Option<SourceView>,
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
            available: matches!(self.status.phase.as_deref(), None | Some("" | "Available")),
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

/// What is decoded of a StorageClass.
#[derive(Resource, Deserialize, Clone, Debug)]
#[resource(inherit = KubeClass)]
#[serde(rename_all = "camelCase")]
pub struct ClassView {
    /// Metadata, without `managedFields`.
    #[serde(deserialize_with = "metadata")]
    pub metadata: ObjectMeta,
    #[serde(default, deserialize_with = "or_default")]
    provisioner: String,
    volume_binding_mode: Option<String>,
    allowed_topologies: Option<Vec<TopologyTermView>>,
}

#[derive(Deserialize, Clone, Debug, Default)]
#[serde(rename_all = "camelCase", default)]
struct TopologyTermView {
    match_label_expressions: Option<Vec<TopologyRequirementView>>,
}

#[derive(Deserialize, Clone, Debug, Default)]
#[serde(default)]
struct TopologyRequirementView {
    key: String,
    values: Option<Vec<String>>,
}

impl ClassView {
    /// The class.
    #[must_use]
    pub fn class(&self) -> StorageClass {
        let term = |view: &TopologyTermView| {
            let requirements: Vec<Requirement> = view
                .match_label_expressions
                .iter()
                .flatten()
                .map(|requirement| Requirement {
                    key: Arc::from(requirement.key.as_str()),
                    operator: Operator::In,
                    values: requirement
                        .values
                        .iter()
                        .flatten()
                        .map(|value| Arc::from(value.as_str()))
                        .collect(),
                })
                .collect();
            // An empty term matches no node (component-helpers `MatchTopologySelectorTerms`).
            if requirements.is_empty() {
                vec![never()]
            } else {
                requirements
            }
        };
        StorageClass {
            provisioner: Arc::from(self.provisioner.as_str()),
            waits_for_consumer: self.volume_binding_mode.as_deref() == Some("WaitForFirstConsumer"),
            allowed_topologies: self.allowed_topologies.iter().flatten().map(term).collect(),
            driver: driver_of_provisioner(&self.provisioner).map(Arc::from),
        }
    }
}

/// What is decoded of a CSINode.
#[derive(Resource, Deserialize, Clone, Debug)]
#[resource(inherit = KubeCsiNode)]
pub struct CsiNodeView {
    /// Metadata, without `managedFields`.
    #[serde(deserialize_with = "metadata")]
    pub metadata: ObjectMeta,
    #[serde(default, deserialize_with = "object")]
    spec: CsiNodeSpecView,
}

#[derive(Deserialize, Clone, Debug, Default)]
#[serde(default)]
struct CsiNodeSpecView {
    #[serde(deserialize_with = "or_default")]
    drivers: Vec<CsiNodeDriverView>,
}

#[derive(Deserialize, Clone, Debug, Default)]
#[serde(default)]
struct CsiNodeDriverView {
    name: String,
    allocatable: Option<CountView>,
}

#[derive(Deserialize, Clone, Debug, Default)]
#[serde(default)]
struct CountView {
    count: Option<i64>,
}

impl CsiNodeView {
    /// How many volumes of each driver the node takes.
    #[must_use]
    pub fn limits(&self) -> BTreeMap<Arc<str>, Option<i64>> {
        self.spec
            .drivers
            .iter()
            .map(|driver| {
                let count = driver.allocatable.as_ref().and_then(|a| a.count);
                (Arc::from(driver.name.as_str()), count)
            })
            .collect()
    }

    /// In-tree plugins that have moved to CSI on the node.
    #[must_use]
    pub fn migrated(&self) -> BTreeSet<Arc<str>> {
        annotation(
            &self.metadata,
            "storage.alpha.kubernetes.io/migrated-plugins",
        )
        .into_iter()
        .flat_map(|plugins| plugins.split(','))
        .filter(|plugin| !plugin.is_empty())
        .map(Arc::from)
        .collect()
    }
}

/// What is decoded of a CSIDriver.
#[derive(Resource, Deserialize, Clone, Debug)]
#[resource(inherit = KubeDriver)]
pub struct DriverView {
    /// Metadata, without `managedFields`.
    #[serde(deserialize_with = "metadata")]
    pub metadata: ObjectMeta,
    #[serde(default, deserialize_with = "object")]
    spec: DriverSpecView,
}

#[derive(Deserialize, Clone, Debug, Default)]
#[serde(rename_all = "camelCase", default)]
struct DriverSpecView {
    storage_capacity: Option<bool>,
}

impl DriverView {
    /// It says how much room is left where.
    #[must_use]
    pub fn publishes_capacity(&self) -> bool {
        self.spec.storage_capacity == Some(true)
    }
}

/// What is decoded of a CSIStorageCapacity.
#[derive(Resource, Deserialize, Clone, Debug)]
#[resource(inherit = KubeCapacity)]
#[serde(rename_all = "camelCase")]
pub struct CapacityView {
    /// Metadata, without `managedFields`.
    #[serde(deserialize_with = "metadata")]
    pub metadata: ObjectMeta,
    #[serde(default, deserialize_with = "or_default")]
    storage_class_name: String,
    node_topology: Option<LabelSelectorView>,
    capacity: Option<Amount>,
    maximum_volume_size: Option<Amount>,
}

impl CapacityView {
    /// What was published.
    #[must_use]
    pub fn capacity(&self) -> Read<StorageCapacity> {
        let (capacity, mut defect) = bytes(self.capacity.as_ref(), "capacity");
        let (maximum_volume_size, unreadable) =
            bytes(self.maximum_volume_size.as_ref(), "maximumVolumeSize");
        let maximum_volume_size = match unreadable {
            None => maximum_volume_size,
            Some(error) => {
                defect.get_or_insert(error);
                // No volume fits what cannot be read.
                Some(0)
            }
        };
        let nodes = match self.node_topology.as_ref().map(LabelSelectorView::model) {
            None => None,
            Some(Ok(selector)) => Some(selector),
            Some(Err(error)) => {
                defect.get_or_insert(format!("nodeTopology: {error}"));
                None
            }
        };
        let row = StorageCapacity {
            class: Arc::from(self.storage_class_name.as_str()),
            nodes,
            capacity,
            maximum_volume_size,
        };
        (row, defect)
    }
}

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
