//! The rights that `deploy/manifests` grants, beside those that the audit log shows to be used.

use std::{collections::BTreeSet, fmt, path::Path};

use serde::Deserialize;

use crate::{AuditEntry, ControlPlaneError, product::USER};

/// One verb on one resource.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Right {
    /// API group; empty for core.
    pub group: String,
    /// The plural, with its subresource after a slash.
    pub resource: String,
    /// In RBAC's words.
    pub verb: String,
}

impl fmt::Display for Right {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let dot = if self.group.is_empty() { "" } else { "." };
        write!(f, "{} {}{dot}{}", self.verb, self.resource, self.group)
    }
}

#[derive(Deserialize)]
struct Manifest {
    kind: String,
    #[serde(default)]
    rules: Vec<Rule>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Rule {
    api_groups: Vec<String>,
    resources: Vec<String>,
    verbs: Vec<String>,
}

/// What the repository's roles grant.
pub fn granted() -> Result<BTreeSet<Right>, ControlPlaneError> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/manifests/rbac.yaml");
    let text = std::fs::read_to_string(&path).map_err(|source| ControlPlaneError::File {
        verb: "read",
        path: path.clone(),
        source,
    })?;
    let mut rights = BTreeSet::new();
    for document in text.split("\n---\n") {
        let manifest: Manifest =
            serde_saphyr::from_str(document).map_err(|error| ControlPlaneError::Kubeconfig {
                path: path.clone(),
                reason: error.to_string(),
            })?;
        if !manifest.kind.ends_with("Role") {
            continue;
        }
        for rule in manifest.rules {
            for group in &rule.api_groups {
                for resource in &rule.resources {
                    for verb in &rule.verbs {
                        rights.insert(Right {
                            group: group.clone(),
                            resource: resource.clone(),
                            verb: verb.clone(),
                        });
                    }
                }
            }
        }
    }
    Ok(rights)
}

/// What the product asked for, and of that what it was refused for want of a right.
#[must_use]
pub fn used(entries: &[AuditEntry]) -> (BTreeSet<Right>, BTreeSet<Right>) {
    let mut used = BTreeSet::new();
    let mut refused = BTreeSet::new();
    let ours = entries.iter().filter(|entry| entry.user == USER);
    for entry in ours.filter(|entry| !entry.resource.is_empty()) {
        let slash = if entry.subresource.is_empty() {
            ""
        } else {
            "/"
        };
        let right = Right {
            group: entry.group.clone(),
            resource: format!("{}{slash}{}", entry.resource, entry.subresource),
            verb: entry.verb.clone(),
        };
        if entry.decision == "forbid" || entry.code == 403 {
            refused.insert(right.clone());
        }
        used.insert(right);
    }
    (used, refused)
}
