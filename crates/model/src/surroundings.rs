//! What scheduling looks at besides nodes and pods: namespaces and volumes.

use std::{collections::BTreeMap, sync::Arc};

use serde::{Deserialize, Serialize};

use crate::{Labels, Storage};

/// Objects that rules refer to and that no placement changes.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Surroundings {
    /// Labels of namespaces, by name.
    pub namespaces: BTreeMap<Arc<str>, Labels>,
    /// Volumes, claims and classes.
    pub storage: Storage,
}
