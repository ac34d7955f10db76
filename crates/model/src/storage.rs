//! Volumes, as far as they decide where a pod can run.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use serde::{Deserialize, Serialize};

use crate::{Labels, NodeName, NodeSelectorTerm, Requirement, Uid, topology::LabelSelector};

/// A claim that a pod uses.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct ClaimUse {
    /// The PersistentVolumeClaim's name, in the pod's namespace.
    pub name: Arc<str>,
    /// It was generated for this pod (generic ephemeral volume) and must be owned by it.
    pub owner: Option<Uid>,
}

/// A disk that a pod mounts without a claim, of the kinds that nodes can refuse.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct InlineDisk {
    /// Which.
    pub id: DiskId,
    /// `readOnly`.
    pub read_only: bool,
}

/// What makes two mounts the same disk.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub enum DiskId {
    /// AWS EBS, by `volumeID`.
    Ebs(Arc<str>),
    /// GCE persistent disk, by `pdName`.
    Gce(Arc<str>),
    /// Azure disk, by `diskURI`.
    AzureDisk(Arc<str>),
    /// OpenStack Cinder, by `volumeID`.
    Cinder(Arc<str>),
    /// Portworx, by `volumeID`.
    Portworx(Arc<str>),
    /// iSCSI, by its IQN.
    Iscsi(Arc<str>),
    /// Ceph RBD: any common monitor, the same pool and image.
    Rbd {
        /// `monitors`.
        monitors: Vec<Arc<str>>,
        /// `pool`.
        pool: Arc<str>,
        /// `image`.
        image: Arc<str>,
    },
}

/// Modes in which a volume may be used.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub enum AccessMode {
    /// `ReadWriteOnce`.
    ReadWriteOnce,
    /// `ReadOnlyMany`.
    ReadOnlyMany,
    /// `ReadWriteMany`.
    ReadWriteMany,
    /// `ReadWriteOncePod`.
    ReadWriteOncePod,
}

/// A PersistentVolumeClaim.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Claim {
    /// `spec.volumeName`.
    pub volume: Option<Arc<str>>,
    /// Annotation `pv.kubernetes.io/bind-completed`: with `volume`, it is bound.
    pub bind_completed: bool,
    /// `spec.storageClassName`, or the beta annotation; `None` and empty are no class.
    pub class: Option<Arc<str>>,
    /// `status.phase` is `Lost`.
    pub lost: bool,
    /// Its deletion was asked for.
    pub deleting: bool,
    /// Annotation `volume.kubernetes.io/selected-node`.
    pub selected_node: Option<NodeName>,
    /// `spec.resources.requests.storage`, in bytes.
    pub requested: i64,
    /// `spec.accessModes`.
    pub access_modes: Vec<AccessMode>,
    /// `spec.volumeMode` is `Block`.
    pub block: bool,
    /// `spec.selector`; `None` takes any volume.
    pub selector: Option<LabelSelector>,
    /// `spec.volumeAttributesClassName`.
    pub attributes_class: Option<Arc<str>>,
    /// The UID of the pod it was generated for, where it was.
    pub owner: Option<Uid>,
    /// Its own UID.
    pub uid: Option<Uid>,
}

impl Claim {
    /// It has its volume for good.
    #[must_use]
    pub const fn is_bound(&self) -> bool {
        self.volume.is_some() && self.bind_completed
    }
}

/// What stores a volume, as the attach limits count it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct VolumeHandle {
    /// The CSI driver; of an in-tree disk, the driver that took its place.
    pub driver: Arc<str>,
    /// The volume at the driver.
    pub handle: Arc<str>,
}

/// The claim that a volume is bound to or kept for.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ClaimRef {
    /// The claim's namespace.
    pub namespace: Arc<str>,
    /// Its name.
    pub name: Arc<str>,
    /// Its UID; `None` while it is only kept for one of that name.
    pub uid: Option<Uid>,
}

/// A PersistentVolume.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Volume {
    /// Labels, of which zones and regions bind it.
    pub labels: Labels,
    /// `spec.capacity.storage`, in bytes.
    pub capacity: i64,
    /// `spec.accessModes`.
    pub access_modes: Vec<AccessMode>,
    /// `spec.volumeMode` is `Block`.
    pub block: bool,
    /// `spec.storageClassName`, or the beta annotation.
    pub class: Option<Arc<str>>,
    /// `spec.nodeAffinity.required`: one of these terms; `None` is any node.
    pub node_affinity: Option<Vec<NodeSelectorTerm>>,
    /// `spec.claimRef`.
    pub claim: Option<ClaimRef>,
    /// `status.phase` is `Available`, or there is none yet.
    pub available: bool,
    /// Its deletion was asked for.
    pub deleting: bool,
    /// `spec.volumeAttributesClassName`.
    pub attributes_class: Option<Arc<str>>,
    /// What stores it, where attach limits count it.
    pub handle: Option<VolumeHandle>,
}

/// A StorageClass.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct StorageClass {
    /// `provisioner`.
    pub provisioner: Arc<str>,
    /// `volumeBindingMode` is `WaitForFirstConsumer`.
    pub waits_for_consumer: bool,
    /// `allowedTopologies`: one of these terms; each requirement is an `In`. Empty is every node.
    pub allowed_topologies: Vec<Vec<Requirement>>,
}

/// A CSIStorageCapacity.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct StorageCapacity {
    /// `storageClassName`.
    pub class: Arc<str>,
    /// `nodeTopology`; `None` is no node.
    pub nodes: Option<LabelSelector>,
    /// `capacity`, in bytes; `None` where unknown.
    pub capacity: Option<i64>,
    /// `maximumVolumeSize`, in bytes.
    pub maximum_volume_size: Option<i64>,
}

/// Everything about volumes that pods' rules refer to.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Storage {
    /// By namespace and name.
    pub claims: BTreeMap<(Arc<str>, Arc<str>), Claim>,
    /// By name.
    pub volumes: BTreeMap<Arc<str>, Volume>,
    /// By name.
    pub classes: BTreeMap<Arc<str>, StorageClass>,
    /// CSIDrivers that publish their capacity (`spec.storageCapacity`), by name.
    pub publishing_drivers: BTreeSet<Arc<str>>,
    /// What they published.
    pub capacities: Vec<StorageCapacity>,
    /// How many volumes of each driver a node takes (CSINode); a driver without a count has no
    /// limit.
    pub limits: BTreeMap<NodeName, BTreeMap<Arc<str>, Option<i64>>>,
    /// VolumeAttachments: what is attached where, whether or not a pod uses it.
    pub attached: BTreeMap<NodeName, BTreeSet<VolumeHandle>>,
}
