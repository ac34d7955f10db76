//! Claims, volumes, classes and what CSI drivers say, as far as they decide where a pod can run.
//!
//! Where something cannot be read, the row has what fits no pod or node instead, and what is wrong
//! is said beside it.

mod attachment;
mod claim;
mod class;
mod csi;
mod in_tree;
#[cfg(test)]
mod tests;
mod volume;

use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use model::{LabelSelector, Operator, Requirement, storage::AccessMode};
use serde::Deserialize;

use crate::{
    amounts::Amount,
    metadata::{annotation, filled},
};
pub use attachment::{Attachment, AttachmentView, attached};
pub use claim::ClaimView;
pub use class::ClassView;
pub use csi::{CapacityView, CsiNodeView, DriverView};
pub use in_tree::driver_of_provisioner;
pub use volume::VolumeView;

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

#[derive(Deserialize, Clone, Debug, Default)]
#[serde(default)]
struct PhaseView {
    phase: Option<String>,
}

/// A selector that selects nothing.
pub(crate) fn unmet() -> LabelSelector {
    LabelSelector {
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
