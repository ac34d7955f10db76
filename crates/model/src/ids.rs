//! Identities, each its own type, so that a node name can never be passed for a machine's id.

use std::{fmt, sync::Arc};

use serde::{Deserialize, Serialize};

macro_rules! string_ids {
    ($($(#[$doc:meta])* $name:ident),+ $(,)?) => {$(
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Wraps `text` as it is.
            #[must_use]
            pub fn new(text: impl AsRef<str>) -> Self {
                Self(Arc::from(text.as_ref()))
            }

            /// The identity as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&self.0, f)
            }
        }

        impl From<&str> for $name {
            fn from(text: &str) -> Self {
                Self::new(text)
            }
        }

        impl From<String> for $name {
            fn from(text: String) -> Self {
                Self(Arc::from(text))
            }
        }

        impl From<Arc<str>> for $name {
            fn from(text: Arc<str>) -> Self {
                Self(text)
            }
        }
    )+};
}

string_ids! {
    /// A VPSie Kubernetes cluster's UUID (`resourceIdentifier`).
    ClusterId,
    /// A VPSie datacenter (`datacenterID`), as the user writes it.
    DatacenterId,
    /// What the user calls a machine size (`offeringIDs[]`).
    OfferingId,
    /// The cloud's own id of a machine size (managed mode: the numeric `KubeSizeID`).
    SizeId,
    /// The cloud's durable id of one machine (a UUID).
    InstanceId,
    /// The name of a Kubernetes Node.
    NodeName,
    /// A Kubernetes object's UID.
    Uid,
    /// One intent to create a machine: the UID of its VPSieNode and the attempt.
    OperationId,
}

/// A host name, compared without case: the cloud answers `HEL-Kubernetes-…`, the kubelet
/// registers `hel-kubernetes-…` (RFC 1123 names are lower case).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub struct Hostname(Arc<str>);

impl Hostname {
    /// Lower-cases `text`.
    #[must_use]
    pub fn new(text: impl AsRef<str>) -> Self {
        Self(Arc::from(text.as_ref().trim().to_ascii_lowercase()))
    }

    /// The name in lower case.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Hostname {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Hostname {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl From<String> for Hostname {
    fn from(text: String) -> Self {
        Self::new(text)
    }
}

impl From<Hostname> for String {
    fn from(name: Hostname) -> Self {
        name.0.to_string()
    }
}

/// A NodeGroup: the same name in two namespaces is two groups.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct GroupKey {
    /// The NodeGroup's namespace.
    pub namespace: Arc<str>,
    /// The NodeGroup's name.
    pub name: Arc<str>,
}

impl GroupKey {
    /// The group `namespace/name`.
    #[must_use]
    pub fn new(namespace: impl AsRef<str>, name: impl AsRef<str>) -> Self {
        Self {
            namespace: Arc::from(namespace.as_ref()),
            name: Arc::from(name.as_ref()),
        }
    }
}

impl fmt::Display for GroupKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// A pod by name.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct PodKey {
    /// The pod's namespace.
    pub namespace: Arc<str>,
    /// The pod's name.
    pub name: Arc<str>,
}

impl PodKey {
    /// The pod `namespace/name`.
    #[must_use]
    pub fn new(namespace: impl AsRef<str>, name: impl AsRef<str>) -> Self {
        Self {
            namespace: Arc::from(namespace.as_ref()),
            name: Arc::from(name.as_ref()),
        }
    }
}

impl fmt::Display for PodKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostnames_that_differ_only_by_case_are_equal() {
        assert_eq!(
            Hostname::new("HEL-Kubernetes-49ab-slave-11cc"),
            Hostname::new("hel-kubernetes-49ab-slave-11cc ")
        );
    }
}
