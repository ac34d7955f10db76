//! Volumes that Kubernetes once drove itself, and drives through CSI now.

use serde_json::{Value, json};

use super::EBS;

/// A kind of volume that Kubernetes once drove itself, and drives through CSI now.
#[derive(Clone, Copy)]
pub(super) struct InTree {
    pub(super) driver: &'static str,
    pub(super) provisioner: &'static str,
    pub(super) source: &'static str,
    id: &'static str,
}

pub(super) const IN_TREE: [InTree; 5] = [
    InTree {
        driver: EBS,
        provisioner: "kubernetes.io/aws-ebs",
        source: "awsElasticBlockStore",
        id: "volumeID",
    },
    InTree {
        driver: "pd.csi.storage.gke.io",
        provisioner: "kubernetes.io/gce-pd",
        source: "gcePersistentDisk",
        id: "pdName",
    },
    InTree {
        driver: "disk.csi.azure.com",
        provisioner: "kubernetes.io/azure-disk",
        source: "azureDisk",
        id: "diskURI",
    },
    InTree {
        driver: "cinder.csi.openstack.org",
        provisioner: "kubernetes.io/cinder",
        source: "cinder",
        id: "volumeID",
    },
    InTree {
        driver: "pxd.portworx.com",
        provisioner: "kubernetes.io/portworx-volume",
        source: "portworxVolume",
        id: "volumeID",
    },
];

impl InTree {
    /// The volume with that identity.
    pub(super) fn volume(self, name: &str) -> Value {
        let name = if self.source == "azureDisk" {
            format!("/subscriptions/s/{name}")
        } else {
            name.to_owned()
        };
        let mut source = json!({});
        source[self.id] = json!(name);
        if self.source == "azureDisk" {
            source["diskName"] = json!("d");
            source["kind"] = json!("Managed");
        }
        source
    }
}
