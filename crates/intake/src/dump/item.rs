//! One object of a dump: found by its kind, decoded straight into its view.

use std::fmt;

use api::{NodeGroup, VPSieNode};
use serde::{
    Deserialize, Deserializer,
    de::{
        DeserializeOwned, DeserializeSeed, IgnoredAny, IntoDeserializer, MapAccess, Visitor, value,
    },
};

use crate::{
    DaemonSetView, NamespaceView, NodeView, PodView,
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
}

/// What is known of a kind by its name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Known {
    /// It is looked at.
    Yes(Kind),
    /// A dump is expected to have it, though nothing here needs it.
    Expected,
    /// Nothing.
    No,
}

/// The kind of an object; an `apiVersion` that is missing fits every kind.
pub(super) fn known(api_version: Option<&str>, kind: &str) -> Known {
    let of = |group: &str| {
        api_version.is_none_or(|version| match version.split_once('/') {
            Some((named, _)) => named == group,
            None => group.is_empty(),
        })
    };
    let storage = of("storage.k8s.io");
    let own = of("autoscaler.vpsie.com");
    match kind {
        "Node" if of("") => Known::Yes(Kind::Node),
        "Pod" if of("") => Known::Yes(Kind::Pod),
        "Namespace" if of("") => Known::Yes(Kind::Namespace),
        "PersistentVolumeClaim" if of("") => Known::Yes(Kind::Claim),
        "PersistentVolume" if of("") => Known::Yes(Kind::Volume),
        "DaemonSet" if of("apps") => Known::Yes(Kind::DaemonSet),
        "StorageClass" if storage => Known::Yes(Kind::Class),
        "CSINode" if storage => Known::Yes(Kind::CsiNode),
        "CSIDriver" if storage => Known::Yes(Kind::Driver),
        "CSIStorageCapacity" if storage => Known::Yes(Kind::Capacity),
        "VolumeAttachment" if storage => Known::Yes(Kind::Attachment),
        "NodeGroup" if own => Known::Yes(Kind::NodeGroup),
        "VPSieNode" if own => Known::Yes(Kind::VPSieNode),
        "PodDisruptionBudget" if of("policy") => Known::Expected,
        "ReplicaSet" | "StatefulSet" if of("apps") => Known::Expected,
        "Job" if of("batch") => Known::Expected,
        _ => Known::No,
    }
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
    /// Of a kind that nothing here needs, though a dump is expected to have it.
    Expected,
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
                        Known::Yes(kind) => {
                            let rest = Rest { pending, map };
                            return Item::of(kind, value::MapAccessDeserializer::new(rest));
                        }
                        Known::Expected => Item::Expected,
                        Known::No => Item::Unknown(kind.clone()),
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
