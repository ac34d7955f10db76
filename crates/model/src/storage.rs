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

/// The CSI drivers that took the place of disks Kubernetes once knew itself.
pub mod drivers {
    /// AWS EBS.
    pub const EBS: &str = "ebs.csi.aws.com";
    /// GCE persistent disk.
    pub const GCE: &str = "pd.csi.storage.gke.io";
    /// Azure disk.
    pub const AZURE_DISK: &str = "disk.csi.azure.com";
    /// OpenStack Cinder.
    pub const CINDER: &str = "cinder.csi.openstack.org";
    /// Portworx.
    pub const PORTWORX: &str = "pxd.portworx.com";
}

impl DiskId {
    /// What the attach limits count a pod's own mount of it as (csi-translation-lib,
    /// `TranslateInTreeInlineVolumeToCSI`); `None` where they do not, or where its name is none
    /// that can be translated.
    #[must_use]
    pub fn handle(&self) -> Option<VolumeHandle> {
        let (driver, handle) = match self {
            Self::Ebs(id) => (drivers::EBS, Arc::from(ebs_volume(id)?)),
            Self::Gce(name) => {
                let path = format!("projects/UNSPECIFIED/zones/UNSPECIFIED/disks/{name}");
                (drivers::GCE, Arc::from(path))
            }
            Self::AzureDisk(uri) => (drivers::AZURE_DISK, Arc::clone(uri)),
            Self::Cinder(id) => (drivers::CINDER, Arc::clone(id)),
            Self::Portworx(id) => (drivers::PORTWORX, Arc::clone(id)),
            Self::Iscsi(_) | Self::Rbd { .. } => return None,
        };
        Some(VolumeHandle {
            driver: Arc::from(driver),
            handle,
        })
    }
}

/// The id of an EBS volume in what Kubernetes calls it: itself, or the end of
/// `aws://zone/vol-…` (csi-translation-lib, `KubernetesVolumeIDToEBSVolumeID`).
#[must_use]
pub fn ebs_volume(id: &str) -> Option<&str> {
    let Some(rest) = id.strip_prefix("aws://") else {
        return Some(id);
    };
    let (_, path) = rest.split_once('/')?;
    let volume = path.trim_matches('/');
    (volume.starts_with("vol-") && !volume.contains('/')).then_some(volume)
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
    /// It is of a kind that Kubernetes once knew itself.
    pub in_tree: Option<InTree>,
}

/// What a volume of a kind that Kubernetes once knew itself is on nodes whose plugin for it has
/// moved to CSI ([`Storage::migrated`]).
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct InTree {
    /// The plugin, `kubernetes.io/aws-ebs` and its like.
    pub plugin: Arc<str>,
    /// Its node affinity there, instead of [`Volume::node_affinity`]; an empty list is no node.
    pub node_affinity: Option<Vec<NodeSelectorTerm>>,
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
    /// The driver for which attach limits count a volume that is not there yet: the provisioner,
    /// or the driver that took its place; `None` counts for none.
    pub driver: Option<Arc<str>>,
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
    /// Plugins that have moved to CSI on a node (CSINode's annotation
    /// `storage.alpha.kubernetes.io/migrated-plugins`).
    pub migrated: BTreeMap<NodeName, BTreeSet<Arc<str>>>,
    /// VolumeAttachments: what is attached where, whether or not a pod uses it.
    pub attached: BTreeMap<NodeName, BTreeSet<VolumeHandle>>,
}

impl Storage {
    /// The claim of this name.
    #[must_use]
    pub fn claim(&self, namespace: &Arc<str>, name: &Arc<str>) -> Option<&Claim> {
        self.claims.get(&(Arc::clone(namespace), Arc::clone(name)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_counts_as_what_its_driver_calls_it() {
        let handle = |disk: DiskId| {
            disk.handle()
                .map(|handle| format!("{} {}", handle.driver, handle.handle))
        };
        for (id, expected) in [
            ("vol-1", Some("ebs.csi.aws.com vol-1")),
            ("aws://eu-1a/vol-1", Some("ebs.csi.aws.com vol-1")),
            ("aws:///vol-1/", Some("ebs.csi.aws.com vol-1")),
            ("aws://eu-1a/disk", None),
            ("aws://vol-1", None),
            ("aws://a/b/vol-1", None),
        ] {
            assert_eq!(handle(DiskId::Ebs(id.into())).as_deref(), expected, "{id}");
        }
        assert_eq!(
            handle(DiskId::Gce("d".into())).as_deref(),
            Some("pd.csi.storage.gke.io projects/UNSPECIFIED/zones/UNSPECIFIED/disks/d")
        );
        assert_eq!(handle(DiskId::Iscsi("iqn".into())), None);
    }
}
