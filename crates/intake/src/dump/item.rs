//! One object of a dump: found by its kind, decoded straight into its view.

use std::fmt;

use api::{NodeGroup, VPSieNode};
use model::WorkloadKind;
use serde::{
    Deserialize, Deserializer,
    de::{
        DeserializeOwned, DeserializeSeed, IgnoredAny, IntoDeserializer, MapAccess, Visitor, value,
    },
};

use crate::{
    BudgetView, ConfigView, DaemonSetView, NamespaceView, NodeMetricsView, NodeView, PodView,
    Workload,
    storage::{
        AttachmentView, CapacityView, ClaimView, ClassView, CsiNodeView, DriverView, VolumeView,
    },
};

/// A kind that is looked at.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    Node,
    Pod,
    Namespace,
    DaemonSet,
    Claim,
    Volume,
    Class,
    CsiNode,
    Driver,
    Capacity,
    Attachment,
    NodeGroup,
    VPSieNode,
    Config,
    Budget,
    Workload(WorkloadKind),
    Metrics,
}

/// The kind of an object, where it is looked at; an `apiVersion` that is missing fits every kind.
pub(super) fn known(api_version: Option<&str>, kind: &str) -> Option<Kind> {
    let of = |group: &str| {
        api_version.is_none_or(|version| match version.split_once('/') {
            Some((named, _)) => named == group,
            None => group.is_empty(),
        })
    };
    let storage = of("storage.k8s.io");
    let own = of("autoscaler.vpsie.com");
    Some(match kind {
        "Node" if of("") => Kind::Node,
        "Pod" if of("") => Kind::Pod,
        "Namespace" if of("") => Kind::Namespace,
        "PersistentVolumeClaim" if of("") => Kind::Claim,
        "PersistentVolume" if of("") => Kind::Volume,
        "DaemonSet" if of("apps") => Kind::DaemonSet,
        "StorageClass" if storage => Kind::Class,
        "CSINode" if storage => Kind::CsiNode,
        "CSIDriver" if storage => Kind::Driver,
        "CSIStorageCapacity" if storage => Kind::Capacity,
        "VolumeAttachment" if storage => Kind::Attachment,
        "NodeGroup" if own => Kind::NodeGroup,
        "VPSieNode" if own => Kind::VPSieNode,
        "AutoscalerConfig" if own => Kind::Config,
        "PodDisruptionBudget" if of("policy") => Kind::Budget,
        "ReplicaSet" if of("apps") => Kind::Workload(WorkloadKind::ReplicaSet),
        "StatefulSet" if of("apps") => Kind::Workload(WorkloadKind::StatefulSet),
        "Job" if of("batch") => Kind::Workload(WorkloadKind::Job),
        "ReplicationController" if of("") => Kind::Workload(WorkloadKind::ReplicationController),
        "NodeMetrics" if of("metrics.k8s.io") => Kind::Metrics,
        _ => return None,
    })
}

/// One object.
#[derive(Debug)]
pub(super) enum Item {
    Node(Box<NodeView>),
    Pod(Box<PodView>),
    Namespace(Box<NamespaceView>),
    DaemonSet(Box<DaemonSetView>),
    Claim(Box<ClaimView>),
    Volume(Box<VolumeView>),
    Class(Box<ClassView>),
    CsiNode(Box<CsiNodeView>),
    Driver(Box<DriverView>),
    Capacity(Box<CapacityView>),
    Attachment(Box<AttachmentView>),
    NodeGroup(Box<NodeGroup>),
    VPSieNode(Box<VPSieNode>),
    Config(Box<ConfigView>),
    Budget(Box<BudgetView>),
    Workload(WorkloadKind, Box<Workload>),
    Metrics(Box<NodeMetricsView>),
    /// Of a kind that is not known.
    Unknown(String),
    /// Its kind does not stand first: it has to be looked for.
    Unordered,
}

impl Item {
    /// Decodes an object of this kind.
    pub(super) fn of<'de, D: Deserializer<'de>>(kind: Kind, from: D) -> Result<Self, D::Error> {
        fn view<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
            from: D,
        ) -> Result<Box<T>, D::Error> {
            T::deserialize(from).map(Box::new)
        }
        Ok(match kind {
            Kind::Node => Self::Node(view(from)?),
            Kind::Pod => Self::Pod(view(from)?),
            Kind::Namespace => Self::Namespace(view(from)?),
            Kind::DaemonSet => Self::DaemonSet(view(from)?),
            Kind::Claim => Self::Claim(view(from)?),
            Kind::Volume => Self::Volume(view(from)?),
            Kind::Class => Self::Class(view(from)?),
            Kind::CsiNode => Self::CsiNode(view(from)?),
            Kind::Driver => Self::Driver(view(from)?),
            Kind::Capacity => Self::Capacity(view(from)?),
            Kind::Attachment => Self::Attachment(view(from)?),
            Kind::NodeGroup => Self::NodeGroup(view(from)?),
            Kind::VPSieNode => Self::VPSieNode(view(from)?),
            Kind::Config => Self::Config(view(from)?),
            Kind::Budget => Self::Budget(view(from)?),
            Kind::Workload(kind) => Self::Workload(kind, view(from)?),
            Kind::Metrics => Self::Metrics(view(from)?),
        })
    }
}

/// Decodes an object whose kind stands first, as every API server and kubectl writes it.
impl<'de> Deserialize<'de> for Item {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Ordered;

        impl<'de> Visitor<'de> for Ordered {
            type Value = Item;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a Kubernetes object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Item, A::Error> {
                let mut api_version: Option<String> = None;
                let mut kind: Option<String> = None;
                let mut pending = None;
                while let Some(key) = map.next_key::<String>()? {
                    match key.as_str() {
                        "apiVersion" => api_version = map.next_value()?,
                        "kind" => kind = map.next_value()?,
                        _ => {
                            pending = Some(key);
                            break;
                        }
                    }
                }
                let item = match &kind {
                    Some(kind) => match known(api_version.as_deref(), kind) {
                        Some(kind) => {
                            let rest = Rest { pending, map };
                            return Item::of(kind, value::MapAccessDeserializer::new(rest));
                        }
                        None => Item::Unknown(kind.clone()),
                    },
                    None => Item::Unordered,
                };
                if pending.is_some() {
                    map.next_value::<IgnoredAny>()?;
                    while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                }
                Ok(item)
            }
        }

        deserializer.deserialize_map(Ordered)
    }
}

/// An object without what was read of it; the key that was read last goes first.
struct Rest<A> {
    pending: Option<String>,
    map: A,
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for Rest<A> {
    type Error = A::Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, A::Error> {
        match self.pending.take() {
            Some(key) => seed.deserialize(key.into_deserializer()).map(Some),
            None => self.map.next_key_seed(seed),
        }
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, A::Error> {
        self.map.next_value_seed(seed)
    }
}

/// Who an object is, read from whatever it is.
#[derive(Default, Debug)]
pub(super) struct Identity {
    pub(super) api_version: Option<String>,
    pub(super) kind: Option<String>,
    pub(super) namespace: String,
    pub(super) name: String,
}

impl<'de> Deserialize<'de> for Identity {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize, Default)]
        #[serde(rename_all = "camelCase", default)]
        struct Head {
            api_version: Lenient<String>,
            kind: Lenient<String>,
            metadata: Lenient<Meta>,
        }

        #[derive(Deserialize, Default)]
        #[serde(default)]
        struct Meta {
            namespace: Lenient<String>,
            name: Lenient<String>,
        }

        let head = Head::deserialize(deserializer)?;
        let meta = head.metadata.0.unwrap_or_default();
        Ok(Self {
            api_version: head.api_version.0,
            kind: head.kind.0.filter(|kind| !kind.is_empty()),
            namespace: meta.namespace.0.unwrap_or_default(),
            name: meta.name.0.unwrap_or_default(),
        })
    }
}

/// A value, or nothing where it is of another type.
struct Lenient<T>(Option<T>);

impl<T> Default for Lenient<T> {
    fn default() -> Self {
        Self(None)
    }
}

impl<'de, T: DeserializeOwned> Deserialize<'de> for Lenient<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // Small or rare: only names and what stands where names are expected.
        let value = serde_json::Value::deserialize(deserializer)?;
        Ok(Self(serde_json::from_value(value).ok()))
    }
}
