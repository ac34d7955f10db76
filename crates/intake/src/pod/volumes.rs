//! Volumes of a pod: claims, disks that nodes can refuse, and what is lost with the node.

use std::{fmt, sync::Arc};

use model::{
    Uid,
    storage::{ClaimUse, DiskId, InlineDisk},
};
use serde::{
    Deserialize, Deserializer,
    de::{IgnoredAny, MapAccess, Visitor},
};

/// One volume, as far as it decides anything.
#[derive(Clone, Debug, Default)]
pub(super) struct VolumeView {
    name: String,
    source: Source,
    /// Its data is on the node itself.
    local: bool,
}

#[derive(Clone, Debug, Default)]
enum Source {
    /// The same on every node.
    #[default]
    Anywhere,
    Claim(String),
    /// A claim made for the pod, named after both.
    Ephemeral,
    Disk(InlineDisk),
    /// An Azure disk of a kind that no driver takes over.
    UnmanagedAzureDisk,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct EmptySource {
    medium: Option<String>,
}

impl EmptySource {
    /// In memory its data ends with its pod wherever that runs.
    fn is_on_disk(&self) -> bool {
        let medium = self.medium.as_deref().unwrap_or_default();
        medium != "Memory" && !medium.starts_with("HugePages")
    }
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct ClaimSource {
    claim_name: String,
}

/// The fields of all kinds of disks; each kind has some.
#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct DiskSource {
    #[serde(rename = "volumeID")]
    volume_id: String,
    pd_name: String,
    #[serde(rename = "diskURI")]
    disk_uri: String,
    kind: Option<String>,
    iqn: String,
    monitors: Option<Vec<String>>,
    pool: Option<String>,
    image: String,
    read_only: Option<bool>,
}

impl DiskSource {
    fn of(self, kind: &str) -> Source {
        let text = |text: String| Arc::<str>::from(text);
        let id = match kind {
            "awsElasticBlockStore" => DiskId::Ebs(text(self.volume_id)),
            "gcePersistentDisk" => DiskId::Gce(text(self.pd_name)),
            "cinder" => DiskId::Cinder(text(self.volume_id)),
            "portworxVolume" => DiskId::Portworx(text(self.volume_id)),
            "iscsi" => DiskId::Iscsi(text(self.iqn)),
            "rbd" => DiskId::Rbd {
                monitors: self.monitors.into_iter().flatten().map(text).collect(),
                pool: text(self.pool.unwrap_or_else(|| "rbd".into())),
                image: text(self.image),
            },
            // The kind is "Shared" where none is given (core/v1 defaults).
            _ => match self.kind {
                Some(kind) if kind.eq_ignore_ascii_case("Managed") => {
                    DiskId::AzureDisk(text(self.disk_uri))
                }
                _ => return Source::UnmanagedAzureDisk,
            },
        };
        Source::Disk(InlineDisk {
            id,
            read_only: self.read_only.unwrap_or_default(),
        })
    }
}

impl<'de> Deserialize<'de> for VolumeView {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Fields;

        impl<'de> Visitor<'de> for Fields {
            type Value = VolumeView;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a volume")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<VolumeView, A::Error> {
                let mut view = VolumeView::default();
                while let Some(field) = map.next_key::<String>()? {
                    match field.as_str() {
                        "name" => view.name = map.next_value()?,
                        "persistentVolumeClaim" => {
                            if let Some(claim) = map.next_value::<Option<ClaimSource>>()? {
                                view.source = Source::Claim(claim.claim_name);
                            }
                        }
                        "ephemeral" => {
                            if map.next_value::<Option<IgnoredAny>>()?.is_some() {
                                view.source = Source::Ephemeral;
                            }
                        }
                        kind @ ("awsElasticBlockStore"
                        | "gcePersistentDisk"
                        | "azureDisk"
                        | "cinder"
                        | "portworxVolume"
                        | "iscsi"
                        | "rbd") => {
                            if let Some(disk) = map.next_value::<Option<DiskSource>>()? {
                                view.source = disk.of(kind);
                            }
                        }
                        "hostPath" => {
                            view.local |= map.next_value::<Option<IgnoredAny>>()?.is_some();
                        }
                        "emptyDir" => {
                            let source = map.next_value::<Option<EmptySource>>()?;
                            view.local |= source.is_some_and(|source| source.is_on_disk());
                        }
                        // Nothing looks at any other kind.
                        _ => {
                            map.next_value::<IgnoredAny>()?;
                        }
                    }
                }
                Ok(view)
            }
        }

        deserializer.deserialize_map(Fields)
    }
}

impl VolumeView {
    /// The claim it is, for the pod of this name and UID; a template's generated claims have no
    /// name yet.
    pub(super) fn claim(&self, pod: Option<(&str, &str)>) -> Option<ClaimUse> {
        match &self.source {
            Source::Claim(name) => Some(ClaimUse {
                name: Arc::from(name.as_str()),
                owner: None,
            }),
            Source::Ephemeral => pod.map(|(name, uid)| ClaimUse {
                name: Arc::from(format!("{name}-{}", self.name)),
                owner: Some(Uid::new(uid)),
            }),
            Source::Anywhere | Source::Disk(_) | Source::UnmanagedAzureDisk => None,
        }
    }

    /// Its name, where its data is on the node itself.
    pub(super) fn local(&self) -> Option<&str> {
        self.local.then_some(self.name.as_str())
    }

    /// The disk it is.
    pub(super) fn disk(&self) -> Option<&InlineDisk> {
        match &self.source {
            Source::Disk(disk) => Some(disk),
            _ => None,
        }
    }

    /// What is wrong with it, for every node (csi-translation-lib: its translation fails).
    pub(super) fn defect(&self) -> Option<String> {
        match &self.source {
            Source::UnmanagedAzureDisk => Some(format!(
                "volume {}: an Azure disk that is not managed cannot be attached",
                self.name
            )),
            _ => None,
        }
    }
}
