//! Disks that Kubernetes once knew itself, as the CSI drivers that took their place know them.
//!
//! Follows csi-translation-lib for what the scheduler translates: EBS, GCE, Azure disk, Cinder and
//! Portworx.

use std::sync::Arc;

use model::{
    Labels, NodeSelectorTerm, Operator, Requirement,
    storage::{InTree, VolumeHandle, drivers, ebs_volume},
};
use serde::Deserialize;

use super::volume::VolumeSpecView;

const ZONE: &str = "topology.kubernetes.io/zone";
const REGION: &str = "topology.kubernetes.io/region";
const BETA_ZONE: &str = "failure-domain.beta.kubernetes.io/zone";
const BETA_REGION: &str = "failure-domain.beta.kubernetes.io/region";

/// The fields of all kinds; each kind has one of them.
#[derive(Deserialize, Clone, Debug, Default)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct SourceView {
    #[serde(rename = "volumeID")]
    volume_id: String,
    pd_name: String,
    #[serde(rename = "diskURI")]
    disk_uri: String,
    kind: Option<String>,
}

/// Which kind.
#[derive(Clone, Copy)]
enum Kind {
    Ebs,
    Gce,
    AzureDisk,
    Cinder,
    Portworx,
}

impl Kind {
    const ALL: [Self; 5] = [
        Self::Ebs,
        Self::Gce,
        Self::AzureDisk,
        Self::Cinder,
        Self::Portworx,
    ];

    const fn plugin(self) -> &'static str {
        match self {
            Self::Ebs => "kubernetes.io/aws-ebs",
            Self::Gce => "kubernetes.io/gce-pd",
            Self::AzureDisk => "kubernetes.io/azure-disk",
            Self::Cinder => "kubernetes.io/cinder",
            Self::Portworx => "kubernetes.io/portworx-volume",
        }
    }

    const fn driver(self) -> &'static str {
        match self {
            Self::Ebs => drivers::EBS,
            Self::Gce => drivers::GCE,
            Self::AzureDisk => drivers::AZURE_DISK,
            Self::Cinder => drivers::CINDER,
            Self::Portworx => drivers::PORTWORX,
        }
    }

    /// The driver's own label of a node's zone, where zones are translated.
    const fn zone_label(self) -> Option<&'static str> {
        match self {
            Self::Ebs => Some("topology.ebs.csi.aws.com/zone"),
            Self::Gce => Some("topology.gke.io/zone"),
            Self::Cinder => Some("topology.cinder.csi.openstack.org/zone"),
            Self::AzureDisk | Self::Portworx => None,
        }
    }
}

/// The driver for which the attach limits count a volume that this provisioner will make; `None`
/// where they do not count it (kube-scheduler `getCSIDriverInfoFromSC`).
#[must_use]
pub fn driver_of_provisioner(provisioner: &str) -> Option<&str> {
    match provisioner {
        "" | "kubernetes.io/azure-file" | "kubernetes.io/vsphere-volume" => None,
        other => Kind::ALL
            .into_iter()
            .find(|kind| kind.plugin() == other)
            .map_or(Some(other), |kind| Some(kind.driver())),
    }
}

/// What a volume's source is to its driver, and its node affinity on nodes that moved to it.
pub(super) fn translate(
    spec: &VolumeSpecView,
    labels: &Labels,
    affinity: Option<&[NodeSelectorTerm]>,
) -> (Option<VolumeHandle>, Option<InTree>) {
    let sources = [
        (&spec.aws_elastic_block_store, Kind::Ebs),
        (&spec.gce_persistent_disk, Kind::Gce),
        (&spec.azure_disk, Kind::AzureDisk),
        (&spec.cinder, Kind::Cinder),
        (&spec.portworx_volume, Kind::Portworx),
    ];
    let found = sources
        .into_iter()
        .find_map(|(source, kind)| Some((source.as_ref()?, kind)));
    let Some((source, kind)) = found else {
        return (None, None);
    };
    let handle = name(source, kind, labels);
    let node_affinity = match &handle {
        // What cannot be translated fits no node that needs it to be.
        None => Some(Vec::new()),
        Some(_) => translated(kind, labels, affinity),
    };
    let in_tree = InTree {
        plugin: Arc::from(kind.plugin()),
        node_affinity,
    };
    let handle = handle
        .filter(|name| !name.is_empty())
        .map(|name| VolumeHandle {
            driver: Arc::from(kind.driver()),
            handle: Arc::from(name),
        });
    (handle, Some(in_tree))
}

/// What the driver calls the disk; `None` where it cannot be translated.
fn name(source: &SourceView, kind: Kind, labels: &Labels) -> Option<String> {
    Some(match kind {
        Kind::Ebs => ebs_volume(&source.volume_id)?.to_owned(),
        Kind::Gce => {
            let named = |key: &str| labels.get(key).filter(|zones| !zones.is_empty());
            let zones = named(BETA_ZONE).or_else(|| named(ZONE));
            let place = match zones {
                None => "zones/UNSPECIFIED".to_owned(),
                Some(zones) if zones.contains("__") => format!("regions/{}", region(zones)?),
                Some(zone) => format!("zones/{zone}"),
            };
            format!("projects/UNSPECIFIED/{place}/disks/{}", source.pd_name)
        }
        Kind::AzureDisk => {
            // The kind is "Shared" where none is given (core/v1 defaults).
            let managed = source.kind.as_deref()?.eq_ignore_ascii_case("Managed");
            managed.then(|| source.disk_uri.clone())?
        }
        Kind::Cinder | Kind::Portworx => source.volume_id.clone(),
    })
}

/// The one region of zones like `europe-west1-b__europe-west1-c`.
fn region(zones: &str) -> Option<&str> {
    let mut regions = zones.split("__").map(|zone| {
        let (region, _) = zone.rsplit_once('-')?;
        (region.matches('-').count() == 1).then_some(region)
    });
    let first = regions.next()??;
    regions.all(|region| region == Some(first)).then_some(first)
}

/// Node affinity in the driver's own label: the keys of zones renamed, or, where it has none, the
/// zones of the volume's labels added to each term (csi-translation-lib
/// `translateTopologyFromInTreeToCSI`).
fn translated(
    kind: Kind,
    labels: &Labels,
    affinity: Option<&[NodeSelectorTerm]>,
) -> Option<Vec<NodeSelectorTerm>> {
    let mut terms = affinity.map(<[_]>::to_vec);
    let Some(own) = kind.zone_label() else {
        return terms;
    };
    let has = |key: &str| {
        affinity
            .into_iter()
            .flatten()
            .flat_map(|term| &term.match_expressions)
            .any(|requirement| &*requirement.key == key)
    };
    let beta = !has(ZONE)
        && (has(BETA_ZONE) || !labels.contains_key(ZONE) && labels.contains_key(BETA_ZONE));
    let zone = if beta { BETA_ZONE } else { ZONE };
    let rename = |terms: &mut Option<Vec<NodeSelectorTerm>>, from: &str, to: &str| {
        let requirements = terms.iter_mut().flatten();
        let requirements = requirements.flat_map(|term| &mut term.match_expressions);
        for requirement in requirements.filter(|requirement| &*requirement.key == from) {
            requirement.key = Arc::from(to);
        }
    };
    let has_values = |key: &str| {
        affinity
            .into_iter()
            .flatten()
            .flat_map(|term| &term.match_expressions)
            .any(|requirement| &*requirement.key == key && !requirement.values.is_empty())
    };
    if has_values(zone) {
        rename(&mut terms, zone, own);
    } else if let Some(zones) = labels.get(zone) {
        let mut values: Vec<Arc<str>> = zones
            .split("__")
            .map(str::trim)
            .filter(|zone| !zone.is_empty())
            .map(Arc::from)
            .collect();
        values.sort();
        values.dedup();
        if !values.is_empty() {
            let terms = terms.get_or_insert_default();
            if terms.is_empty() {
                terms.push(NodeSelectorTerm::default());
            }
            for term in terms {
                term.match_expressions.push(Requirement {
                    key: Arc::from(own),
                    operator: Operator::In,
                    values: values.clone(),
                });
            }
        }
    }
    if beta && has_values(BETA_REGION) {
        rename(&mut terms, BETA_REGION, REGION);
    }
    terms
}
