//! What CSI drivers say: how many volumes a node takes, and how much room is left where.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use k8s_openapi::{
    api::storage::v1::{
        CSIDriver as KubeDriver, CSINode as KubeCsiNode, CSIStorageCapacity as KubeCapacity,
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kube::Resource;
use model::storage::StorageCapacity;
use serde::Deserialize;

use super::{Read, bytes};
use crate::{
    amounts::Amount,
    metadata::{annotation, metadata, object, or_default},
    selector::LabelSelectorView,
};

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
