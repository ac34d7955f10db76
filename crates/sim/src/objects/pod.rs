//! Pods: what they ask for, and where they stand.

use std::{collections::BTreeMap, sync::Arc};

use k8s_openapi::{api::core::v1::Pod as KubePod, apimachinery::pkg::apis::meta::v1::ObjectMeta};
use kube::Resource;
use model::SchedulingClass;
use serde::{Deserialize, Deserializer, Serialize, de::Error as _};
use serde_json::Value;

use super::{Condition, condition};
use crate::{
    amounts::{self, Amounts},
    matching::{Labels, NodeSelector, Toleration},
};

#[derive(Resource, Clone, Debug)]
#[resource(inherit = KubePod)]
pub(crate) struct Pod {
    pub(crate) metadata: ObjectMeta,
    pub(crate) spec: PodSpec,
    pub(crate) status: PodStatus,
    /// What `checker` judges it by; `None` where that cannot be read.
    pub(crate) class: Option<Arc<SchedulingClass>>,
}

impl<'de> Deserialize<'de> for Pod {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        struct Plain {
            metadata: ObjectMeta,
            #[serde(default)]
            spec: PodSpec,
            #[serde(default)]
            status: PodStatus,
        }
        let object = Value::deserialize(deserializer)?;
        let plain = Plain::deserialize(&object).map_err(D::Error::custom)?;
        Ok(Self {
            metadata: plain.metadata,
            spec: plain.spec,
            status: plain.status,
            class: class_of(&object),
        })
    }
}

/// Nothing here provides volumes, so no pod waits for one.
fn class_of(pod: &Value) -> Option<Arc<SchedulingClass>> {
    let mut class = intake::PodView::deserialize(pod).ok()?.class();
    class.claims.clear();
    class.disks.clear();
    Some(Arc::new(class))
}

#[derive(Deserialize, Clone, Debug, Default)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct PodSpec {
    pub(crate) node_name: Option<String>,
    pub(crate) node_selector: Labels,
    affinity: Option<Affinity>,
    pub(crate) tolerations: Vec<Toleration>,
    pub(crate) containers: Vec<Container>,
    init_containers: Vec<Container>,
    overhead: BTreeMap<String, Value>,
    resources: Option<Requirements>,
    pub(crate) priority: Option<i64>,
    pub(crate) scheduler_name: Option<String>,
    pub(crate) scheduling_gates: Vec<Value>,
    pub(crate) restart_policy: Option<String>,
    pub(crate) host_network: bool,
}

#[derive(Deserialize, Clone, Debug, Default)]
#[serde(rename_all = "camelCase", default)]
struct Affinity {
    node_affinity: Option<NodeAffinity>,
}

#[derive(Deserialize, Clone, Debug, Default)]
#[serde(rename_all = "camelCase", default)]
struct NodeAffinity {
    #[serde(rename = "requiredDuringSchedulingIgnoredDuringExecution")]
    required: Option<NodeSelector>,
}

#[derive(Deserialize, Clone, Debug, Default)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Container {
    pub(crate) name: String,
    pub(crate) image: String,
    resources: Option<Requirements>,
    restart_policy: Option<String>,
    ports: Vec<Port>,
}

impl Container {
    /// An init container that goes on running beside the others.
    fn is_sidecar(&self) -> bool {
        self.restart_policy.as_deref() == Some("Always")
    }
}

#[derive(Deserialize, Clone, Debug, Default)]
#[serde(default)]
struct Requirements {
    requests: BTreeMap<String, Value>,
}

#[derive(Deserialize, Clone, Debug, Default)]
#[serde(rename_all = "camelCase", default)]
struct Port {
    #[serde(rename = "hostPort")]
    of_host: Option<i64>,
    protocol: Option<String>,
    #[serde(rename = "hostIP")]
    host_ip: Option<String>,
}

/// A port that a pod takes of its node.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(crate) struct HostPort {
    pub(crate) number: i64,
    pub(crate) protocol: String,
    /// `None` is every address.
    pub(crate) address: Option<String>,
}

impl HostPort {
    pub(crate) fn clashes(&self, other: &Self) -> bool {
        (self.number, &self.protocol) == (other.number, &other.protocol)
            && (self.address.is_none() || other.address.is_none() || self.address == other.address)
    }
}

#[derive(Deserialize, Clone, Debug, Default)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct PodStatus {
    pub(crate) phase: Option<String>,
    pub(crate) conditions: Vec<Condition>,
}

impl PodSpec {
    /// The node selector of the required node affinity.
    pub(crate) fn required_nodes(&self) -> Option<&NodeSelector> {
        self.affinity
            .as_ref()
            .and_then(|affinity| affinity.node_affinity.as_ref())
            .and_then(|affinity| affinity.required.as_ref())
    }

    /// What the pod reserves on its node, one piece of `pods` included: the larger of what the
    /// containers and sidecars need together and what any init container needs beside the
    /// sidecars started before it, plus the overhead. Pod-level requests stand above those of the
    /// containers.
    pub(crate) fn requests(&self) -> Result<Amounts, String> {
        let of = |container: &Container| {
            container
                .resources
                .as_ref()
                .map_or_else(|| Ok(Amounts::new()), |r| amounts::read(&r.requests))
        };
        let (mut sidecars, mut peak) = (Amounts::new(), Amounts::new());
        for container in &self.init_containers {
            let mut need = of(container)?;
            amounts::add(&mut need, &sidecars);
            if container.is_sidecar() {
                sidecars.clone_from(&need);
            }
            amounts::raise(&mut peak, &need);
        }
        let mut total = sidecars;
        for container in &self.containers {
            amounts::add(&mut total, &of(container)?);
        }
        amounts::raise(&mut total, &peak);
        if let Some(pod_level) = &self.resources {
            total.extend(amounts::read(&pod_level.requests)?);
        }
        amounts::add(&mut total, &amounts::read(&self.overhead)?);
        total.insert("pods".to_owned(), 1000);
        total.retain(|_, amount| *amount != 0);
        Ok(total)
    }

    /// The ports that the containers and sidecars take of the node.
    pub(crate) fn host_ports(&self) -> Vec<HostPort> {
        let sidecars = self.init_containers.iter().filter(|c| c.is_sidecar());
        let containers = self.containers.iter().chain(sidecars);
        let mut taken: Vec<_> = containers
            .flat_map(|container| &container.ports)
            .filter_map(|port| {
                let address = port.host_ip.clone();
                Some(HostPort {
                    number: port.of_host.filter(|number| *number > 0)?,
                    protocol: port.protocol.clone().unwrap_or_else(|| "TCP".to_owned()),
                    address: address.filter(|ip| !ip.is_empty() && ip != "0.0.0.0"),
                })
            })
            .collect();
        taken.sort();
        taken.dedup();
        taken
    }
}

impl Pod {
    pub(crate) fn phase(&self) -> &str {
        self.status.phase.as_deref().unwrap_or("Pending")
    }

    pub(crate) fn finished(&self) -> bool {
        matches!(self.phase(), "Succeeded" | "Failed")
    }

    pub(crate) fn ready(&self) -> bool {
        condition(&self.status.conditions, "Ready").is_some_and(|ready| ready.status == "True")
    }

    pub(crate) fn node(&self) -> Option<&str> {
        self.spec
            .node_name
            .as_deref()
            .filter(|name| !name.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_sidecar_counts_beside_the_containers_and_beside_later_init_containers() {
        let spec: PodSpec = serde_json::from_value(json!({
            "initContainers": [
                {"name": "sidecar", "restartPolicy": "Always", "resources": {"requests": {"cpu": "100m"}}},
                {"name": "init", "resources": {"requests": {"cpu": "1"}}}],
            "containers": [{"name": "main", "resources": {"requests": {"cpu": "500m"}}}],
            "overhead": {"cpu": "50m"},
        }))
        .unwrap();
        let requests = spec.requests().unwrap();
        assert_eq!(requests.get("cpu"), Some(&1150));
        assert_eq!(requests.get("pods"), Some(&1000));
    }

    #[test]
    fn a_request_that_cannot_be_read_is_named() {
        let spec: PodSpec = serde_json::from_value(
            json!({"containers": [{"name": "main", "resources": {"requests": {"cpu": "lots"}}}]}),
        )
        .unwrap();
        assert_eq!(spec.requests(), Err("cpu".to_owned()));
    }
}
