//! What the NodeGroups mean: which are ours, what each may buy, and what is wrong with the rest.
//!
//! Pure but for the catalogue it looks up; every loop sees groups only through this.

mod input;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use api::{NodeGroup, VPSieNode, labels};
use cloud::Scope;
use model::{ClusterId, DatacenterId, GroupKey, HourlyPrice, Offering, OfferingId};
use planted::Bug;

use crate::cloud_state::CloudState;

pub use input::input;

/// What is wrong with a group. Each has its own name in conditions and Events.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Problem {
    /// `minNodes` above `maxNodes` (possible where the CRD's rules were not enforced).
    MinAboveMax {
        /// `spec.minNodes`.
        min: i32,
        /// `spec.maxNodes`.
        max: i32,
    },
    /// Neither the group nor the Secret nor a flag names the VPSie cluster.
    NoCluster,
    /// The group asks for plain machines.
    MachineModeUnsupported,
    /// No offering of this name is sold in the datacenter.
    OfferingUnknown {
        /// As the user wrote it.
        offering: String,
        /// As the user wrote it.
        datacenter: String,
    },
    /// The cloud has no such datacenter.
    DatacenterUnknown(String),
    /// The catalogue could not be read yet.
    CatalogueUnavailable(String),
    /// Something the cloud cannot do is asked for; the group works without it.
    FeatureUnsupported(&'static str),
}

impl Problem {
    /// The name.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::MinAboveMax { .. } => "MinNodesAboveMaxNodes",
            Self::NoCluster => "ResourceIdentifierMissing",
            Self::MachineModeUnsupported => "ProvisioningModeUnsupported",
            Self::OfferingUnknown { .. } => "OfferingUnknown",
            Self::DatacenterUnknown(_) => "DatacenterUnknown",
            Self::CatalogueUnavailable(_) => "CatalogueUnavailable",
            Self::FeatureUnsupported(_) => "FeatureUnsupported",
        }
    }

    /// The group cannot be bought for. An unknown offering only shortens its choice.
    #[must_use]
    pub const fn is_fatal(&self) -> bool {
        !matches!(
            self,
            Self::OfferingUnknown { .. } | Self::FeatureUnsupported(_)
        )
    }
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::MinAboveMax { min, max } => {
                write!(f, "spec.minNodes ({min}) is above spec.maxNodes ({max})")
            }
            Self::NoCluster => f.write_str(
                "spec.resourceIdentifier is empty and neither the Secret nor \
                 --resource-identifier names the VPSie cluster",
            ),
            Self::MachineModeUnsupported => f.write_str(
                "spec.provisioningMode is vm: this version adds workers to managed clusters only",
            ),
            Self::OfferingUnknown {
                offering,
                datacenter,
            } => write!(
                f,
                "spec.offeringIDs names {offering}, which is not sold in {datacenter}"
            ),
            Self::DatacenterUnknown(datacenter) => {
                write!(f, "spec.datacenterID is {datacenter}, which does not exist")
            }
            Self::CatalogueUnavailable(why) => {
                write!(f, "the catalogue could not be read: {why}")
            }
            Self::FeatureUnsupported(feature) => {
                write!(
                    f,
                    "{feature} is not available on this cloud and has no effect"
                )
            }
        }
    }
}

/// What the process was told about the cloud, besides the groups.
#[derive(Clone, Debug, Default)]
pub struct Defaults {
    /// `--resource-identifier`, or the Secret's key.
    pub cluster: Option<ClusterId>,
}

/// A managed NodeGroup and what it resolves to.
#[derive(Clone, Debug)]
pub struct Group {
    /// Its key.
    pub key: GroupKey,
    /// The object.
    pub object: Arc<NodeGroup>,
    /// Where its machines live.
    pub scope: Option<Scope>,
    /// What it may buy, in the user's order.
    pub offerings: Vec<Offering>,
    /// What is wrong with it.
    pub problems: Vec<Problem>,
}

impl Group {
    /// It can be bought for.
    #[must_use]
    pub fn usable(&self) -> bool {
        !self.deleting()
            && self.scope.is_some()
            && !self.offerings.is_empty()
            && !self.problems.iter().any(Problem::is_fatal)
    }

    /// Its deletion was asked for.
    #[must_use]
    pub fn deleting(&self) -> bool {
        self.object.metadata.deletion_timestamp.is_some()
    }

    /// Why nothing is removed in its VPSie cluster until a person says so, as its annotation tells.
    #[must_use]
    pub fn stop(&self) -> Option<&String> {
        let annotations = self.object.metadata.annotations.as_ref()?;
        annotations.get(labels::REMOVALS_STOPPED)
    }

    /// The offering of this name.
    #[must_use]
    pub fn offering(&self, id: &str) -> Option<&Offering> {
        self.offerings
            .iter()
            .find(|offering| offering.id.as_str() == id)
    }

    /// The price of the offering of this name.
    #[must_use]
    pub fn price(&self, id: &str) -> Option<HourlyPrice> {
        self.offering(id).and_then(|offering| offering.price)
    }
}

/// The groups in whose VPSie cluster nothing is removed until a person says so, and why.
#[must_use]
pub fn stopped(managed: &[Group]) -> BTreeMap<GroupKey, String> {
    if planted::is(Bug::IgnoreStop) {
        return BTreeMap::new();
    }
    let why = |group: &Group| {
        let mut same = managed.iter().filter(|other| other.scope == group.scope);
        same.find_map(Group::stop).cloned()
    };
    managed
        .iter()
        .filter_map(|group| Some((group.key.clone(), why(group)?)))
        .collect()
}

/// A group is ours when its label says exactly `managed=true` and its namespace is allowed.
#[must_use]
pub fn is_ours(group: &NodeGroup, namespaces: &BTreeSet<String>) -> bool {
    group.is_managed()
        && group
            .metadata
            .namespace
            .as_ref()
            .is_some_and(|namespace| namespaces.contains(namespace))
}

/// `object` stands for a machine of the group `key`.
#[must_use]
pub fn has(key: &GroupKey, object: &VPSieNode) -> bool {
    object.metadata.namespace.as_deref() == Some(&*key.namespace)
        && object.spec.node_group_name == *key.name
}

/// Resolves one managed group.
#[must_use]
pub fn resolve(object: Arc<NodeGroup>, cloud: &CloudState, defaults: &Defaults) -> Group {
    let datacenter = DatacenterId::new(&object.spec.datacenter_id);
    let catalogue = cloud.catalogue(&datacenter);
    let sold = match &catalogue {
        Some(catalogue) => Ok(catalogue.offerings.as_slice()),
        None => Err(match cloud.catalogue_error(&datacenter) {
            Some(error) if error.class == cloud::ErrorClass::NotFound => {
                Problem::DatacenterUnknown(object.spec.datacenter_id.clone())
            }
            Some(error) => Problem::CatalogueUnavailable(error.to_string()),
            None => Problem::CatalogueUnavailable("not read yet".into()),
        }),
    };
    read(object, sold, defaults)
}

/// What a group means, given what is sold in its datacenter, or why that is not known.
#[must_use]
pub fn read(
    object: Arc<NodeGroup>,
    sold: Result<&[Offering], Problem>,
    defaults: &Defaults,
) -> Group {
    let spec = &object.spec;
    let key = GroupKey::new(
        object.metadata.namespace.as_deref().unwrap_or_default(),
        object.metadata.name.as_deref().unwrap_or_default(),
    );
    let mut problems = Vec::new();
    if spec.min_nodes > spec.max_nodes {
        problems.push(Problem::MinAboveMax {
            min: spec.min_nodes,
            max: spec.max_nodes,
        });
    }
    if spec.is_vm_mode() {
        problems.push(Problem::MachineModeUnsupported);
    }
    if spec
        .spot_config
        .as_ref()
        .is_some_and(|spot| spot.enabled == Some(true))
    {
        problems.push(Problem::FeatureUnsupported("spotConfig.enabled"));
    }
    if spec
        .multi_region
        .as_ref()
        .is_some_and(|multi| multi.enabled == Some(true))
    {
        problems.push(Problem::FeatureUnsupported(
            "multiRegion.enabled (managed clusters live in one datacenter)",
        ));
    }
    let cluster = spec
        .resource_identifier
        .as_deref()
        .filter(|id| !id.is_empty())
        .map(ClusterId::new)
        .or_else(|| defaults.cluster.clone());
    if cluster.is_none() && !spec.is_vm_mode() {
        problems.push(Problem::NoCluster);
    }
    let offerings = match sold {
        Ok(sold) => choose(&object, sold, &mut problems),
        Err(problem) => {
            problems.push(problem);
            Vec::new()
        }
    };
    Group {
        key,
        scope: cluster.map(Scope::Cluster),
        offerings,
        problems,
        object,
    }
}

/// What of `sold` the group asks for, in its order.
fn choose(object: &NodeGroup, sold: &[Offering], problems: &mut Vec<Problem>) -> Vec<Offering> {
    let spec = &object.spec;
    let mut found: Vec<Offering> = Vec::new();
    for asked in &spec.offering_ids {
        let by_name = sold.iter().find(|offering| {
            offering.id.as_str().eq_ignore_ascii_case(asked) || offering.size.as_str() == asked
        });
        // The predecessor bought by `kubeSizeID` whatever the offering was called: where a group
        // names one offering the catalogue does not know, that number still says which size.
        let sold_as = by_name.or_else(|| {
            let size = spec.kube_size_id?.to_string();
            (spec.offering_ids.len() == 1)
                .then(|| sold.iter().find(|o| o.size.as_str() == size))
                .flatten()
        });
        match sold_as {
            Some(offering) => found.push(Offering {
                id: OfferingId::new(asked),
                ..offering.clone()
            }),
            None => problems.push(Problem::OfferingUnknown {
                offering: asked.clone(),
                datacenter: spec.datacenter_id.clone(),
            }),
        }
    }
    found
}

/// `allowMixedInstances: false` buys the preferred offering, else the first.
#[must_use]
pub fn allowed_offerings(group: &Group) -> Vec<Offering> {
    let spec = &group.object.spec;
    if spec.mixes_instances() {
        return group.offerings.clone();
    }
    let preferred = spec
        .preferred_instance_type
        .as_deref()
        .and_then(|id| group.offering(id));
    preferred
        .or_else(|| group.offerings.first())
        .cloned()
        .into_iter()
        .collect()
}
