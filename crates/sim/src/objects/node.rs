//! Nodes and their leases.

use std::{collections::BTreeMap, sync::Arc};

use k8s_openapi::{
    api::{coordination::v1::Lease as KubeLease, core::v1::Node as KubeNode},
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kube::Resource;
use model::NodeShape;
use serde::{Deserialize, Deserializer, de::Error as _};
use serde_json::Value;

use super::{Condition, condition};
use crate::matching::Taint;

#[derive(Resource, Clone, Debug)]
#[resource(inherit = KubeNode)]
pub(crate) struct Node {
    pub(crate) metadata: ObjectMeta,
    pub(crate) spec: NodeSpec,
    pub(crate) status: NodeStatus,
    /// What `checker` judges it by; `None` where that cannot be read.
    pub(crate) shape: Option<Arc<NodeShape>>,
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        struct Plain {
            metadata: ObjectMeta,
            #[serde(default)]
            spec: NodeSpec,
            #[serde(default)]
            status: NodeStatus,
        }
        let object = Value::deserialize(deserializer)?;
        let plain = Plain::deserialize(&object).map_err(D::Error::custom)?;
        let view = intake::NodeView::deserialize(&object).ok();
        Ok(Self {
            metadata: plain.metadata,
            spec: plain.spec,
            status: plain.status,
            shape: view.map(|view| view.node().shape),
        })
    }
}

#[derive(Deserialize, Clone, Debug, Default)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct NodeSpec {
    pub(crate) taints: Vec<Taint>,
    pub(crate) unschedulable: bool,
}

#[derive(Deserialize, Clone, Debug, Default)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct NodeStatus {
    pub(crate) allocatable: BTreeMap<String, Value>,
    pub(crate) conditions: Vec<Condition>,
}

impl Node {
    pub(crate) fn ready(&self) -> bool {
        self.ready_status() == Some("True")
    }

    pub(crate) fn ready_status(&self) -> Option<&str> {
        condition(&self.status.conditions, "Ready").map(|ready| ready.status.as_str())
    }
}

#[derive(Resource, Deserialize, Clone, Debug)]
#[resource(inherit = KubeLease)]
pub(crate) struct Lease {
    pub(crate) metadata: ObjectMeta,
    #[serde(default)]
    pub(crate) spec: LeaseSpec,
}

#[derive(Deserialize, Clone, Debug, Default)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct LeaseSpec {
    pub(crate) renew_time: Option<String>,
}
