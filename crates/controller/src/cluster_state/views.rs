//! What is decoded of Pods, Nodes and DaemonSets, and what it means in the model.
//!
//! Fields that are not named here are never allocated. Quantities are read once, here; what cannot
//! be read becomes a defect of the row, never a panic and never a silent zero.

mod daemon_set;
mod node;
mod pod;

use std::{collections::BTreeMap, fmt, sync::Arc};

use jiff::Timestamp;
use k8s_openapi::{
    api::core::v1::Node as KubeNode,
    apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference, Time},
};
use model::{Labels, Quantity, Resources};
use serde::{
    Deserialize, Deserializer,
    de::{IgnoredAny, MapAccess, SeqAccess, Visitor},
};

pub use daemon_set::DaemonSetView;
pub use node::{NodeView, TaintView};
pub use pod::PodView;

/// Labels or annotations as the model has them.
pub(super) fn labels(map: Option<&BTreeMap<String, String>>) -> Labels {
    map.into_iter()
        .flatten()
        .map(|(key, value)| (Arc::from(key.as_str()), Arc::from(value.as_str())))
        .collect()
}

type Amounts = BTreeMap<String, Amount>;

/// A quantity as the API writes it; some writers use numbers.
///
/// Decoding it never fails: one bad quantity must not make a whole list unreadable.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Amount(Box<str>);

impl Amount {
    fn quantity(&self) -> Result<Quantity, String> {
        Quantity::parse(&self.0).map_err(|error| error.to_string())
    }
}

impl<'de> Deserialize<'de> for Amount {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct AnyScalar;

        impl<'de> Visitor<'de> for AnyScalar {
            type Value = Amount;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a quantity")
            }

            fn visit_str<E>(self, text: &str) -> Result<Amount, E> {
                Ok(Amount(text.into()))
            }

            fn visit_i64<E>(self, number: i64) -> Result<Amount, E> {
                Ok(Amount(number.to_string().into()))
            }

            fn visit_u64<E>(self, number: u64) -> Result<Amount, E> {
                Ok(Amount(number.to_string().into()))
            }

            fn visit_f64<E>(self, number: f64) -> Result<Amount, E> {
                Ok(Amount(number.to_string().into()))
            }

            fn visit_bool<E>(self, value: bool) -> Result<Amount, E> {
                Ok(Amount(value.to_string().into()))
            }

            fn visit_unit<E>(self) -> Result<Amount, E> {
                Ok(Amount("null".into()))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Amount, A::Error> {
                while list.next_element::<IgnoredAny>()?.is_some() {}
                Ok(Amount("a list".into()))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Amount, A::Error> {
                while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                Ok(Amount("an object".into()))
            }
        }

        deserializer.deserialize_any(AnyScalar)
    }
}

/// Metadata without `managedFields`, which is most of it and never looked at.
fn metadata<'de, D: Deserializer<'de>>(deserializer: D) -> Result<ObjectMeta, D::Error> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Narrow {
        name: Option<String>,
        namespace: Option<String>,
        uid: Option<String>,
        resource_version: Option<String>,
        creation_timestamp: Option<Time>,
        deletion_timestamp: Option<Time>,
        labels: Option<BTreeMap<String, String>>,
        annotations: Option<BTreeMap<String, String>>,
        owner_references: Option<Vec<OwnerReference>>,
    }
    let narrow = Narrow::deserialize(deserializer)?;
    Ok(ObjectMeta {
        name: narrow.name,
        namespace: narrow.namespace,
        uid: narrow.uid,
        resource_version: narrow.resource_version,
        creation_timestamp: narrow.creation_timestamp,
        deletion_timestamp: narrow.deletion_timestamp,
        labels: narrow.labels,
        annotations: narrow.annotations,
        owner_references: narrow.owner_references,
        ..ObjectMeta::default()
    })
}

/// Amounts by resource; the first one that cannot be read is named.
fn resources(amounts: &Amounts) -> Result<Resources, String> {
    let mut resources = Resources::default();
    for (name, amount) in amounts {
        let quantity = amount
            .quantity()
            .map_err(|error| format!("{name}: {error}"))?;
        match name.as_str() {
            "cpu" => resources.cpu_milli = quantity.milli_ceil(),
            "memory" => resources.memory = quantity.value_ceil(),
            "ephemeral-storage" => resources.ephemeral = quantity.value_ceil(),
            "pods" => resources.pods = quantity.value_ceil(),
            other => {
                resources
                    .extended
                    .insert(Arc::from(other), quantity.value_ceil());
            }
        }
    }
    Ok(resources)
}

#[derive(Deserialize, Clone, Debug, Default)]
#[serde(rename_all = "camelCase", default)]
pub(in crate::cluster_state) struct ConditionView {
    #[serde(rename = "type")]
    pub(in crate::cluster_state) type_: String,
    pub(in crate::cluster_state) status: String,
    pub(in crate::cluster_state) reason: Option<String>,
    pub(in crate::cluster_state) last_transition_time: Option<Timestamp>,
}

/// A Node or a pod list read anew, as rows.
pub mod fresh {
    use super::{KubeNode, NodeView, PodView};
    use crate::cluster_state::NodeRow;

    /// The row of a Node that was just read.
    #[must_use]
    pub fn node(node: KubeNode) -> NodeRow {
        NodeRow::of(&NodeView::from(node))
    }

    /// What of a pod that was just read counts as being on its node.
    #[must_use]
    pub fn pod(view: &PodView) -> Option<model::Pod> {
        if view.finished() {
            return None;
        }
        let key = model::PodKey::new(
            view.metadata.namespace.as_deref().unwrap_or_default(),
            view.metadata.name.as_deref().unwrap_or_default(),
        );
        Some(view.pod(key, std::sync::Arc::new(view.class())))
    }
}
