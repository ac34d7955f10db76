//! What nodes have in use, as metrics-server tells it (`metrics.k8s.io/v1beta1`).

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use model::{NodeName, Usage};
use serde::Deserialize;

use crate::{
    amounts::{Amounts, Exact, Name},
    metadata::{identity, or_default},
};

/// What is decoded of a NodeMetrics.
#[derive(Deserialize, Clone, Debug)]
pub struct NodeMetricsView {
    /// Who it is: the node's name.
    #[serde(deserialize_with = "identity")]
    pub metadata: ObjectMeta,
    timestamp: Option<Timestamp>,
    usage: Option<Amounts>,
}

/// What is decoded of a list of them.
#[derive(Deserialize, Clone, Debug, Default)]
#[serde(default)]
pub struct NodeMetricsList {
    /// One a node.
    #[serde(deserialize_with = "or_default")]
    pub items: Vec<NodeMetricsView>,
}

impl NodeMetricsView {
    /// The node.
    #[must_use]
    pub fn node(&self) -> NodeName {
        NodeName::new(self.metadata.name.as_deref().unwrap_or_default())
    }

    /// What it has in use, or why that is not known.
    pub fn usage(&self) -> Result<Usage, String> {
        let at = self.timestamp.ok_or("it has no timestamp")?;
        let exact = Exact::read(self.usage.as_ref())?;
        for (resource, name) in [(Name::Cpu, "cpu"), (Name::Memory, "memory")] {
            if !exact.names().any(|named| *named == resource) {
                return Err(format!("{name}: it is not told"));
            }
        }
        let used = exact.resources();
        Ok(Usage {
            cpu_milli: used.cpu_milli,
            memory: used.memory,
            at,
        })
    }
}

#[cfg(test)]
#[allow(clippy::needless_pass_by_value)] // JSON literals
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn usage(timestamp: Value, usage: Value) -> Result<Usage, String> {
        let metadata = json!({"name": "n", "labels": {"a": "b"}});
        let value = json!({"metadata": metadata, "timestamp": timestamp, "window": "20s",
            "usage": usage});
        let view: NodeMetricsView = serde_json::from_value(value).unwrap();
        assert_eq!(view.node().as_str(), "n");
        view.usage()
    }

    #[test]
    fn usage_is_read_in_milli_and_bytes_with_its_time_and_nothing_is_made_up() {
        let at = "2026-01-01T00:00:00Z";
        let read = usage(json!(at), json!({"cpu": "156340002n", "memory": "2Ki"})).unwrap();
        assert_eq!((read.cpu_milli, read.memory), (157, 2048));
        assert_eq!(read.at, at.parse().unwrap());
        for (timestamp, amounts, wrong) in [
            (
                json!(null),
                json!({"cpu": "1", "memory": "1"}),
                "it has no timestamp",
            ),
            (json!(at), json!({"cpu": "1"}), "memory: it is not told"),
            (json!(at), json!(null), "cpu: it is not told"),
            (
                json!(at),
                json!({"cpu": "x", "memory": "1"}),
                "cpu: \"x\" is not a quantity",
            ),
        ] {
            assert_eq!(usage(timestamp, amounts).unwrap_err(), wrong);
        }
    }
}
