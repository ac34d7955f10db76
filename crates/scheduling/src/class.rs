//! A scheduling class compiled for one snapshot: numbers instead of strings, and which counters
//! its rules read.

use std::sync::Arc;

use model::{SchedulingClass, storage::ClaimUse};

use crate::{
    attachments::{ClaimId, HandleId},
    filters::node_resources_fit::Request,
    snapshot::preferences::Weighed,
    topology::{counters::CounterId, identities::IdentityId, keys::KeyId, spread::GroupId},
};

/// A compiled class.
#[derive(Clone, Debug)]
pub(crate) struct Class {
    pub(crate) source: Arc<SchedulingClass>,
    pub(crate) identity: IdentityId,
    pub(crate) request: Request,
    /// Names of nodes play a part: what holds for a shape need not hold for each of its nodes.
    pub(crate) named: bool,
    /// Filters that read what is placed have something to look at.
    pub(crate) looks_at_pods: bool,
    /// Required affinity.
    pub(crate) near: Option<Near>,
    /// Pods that its anti-affinity forbids.
    pub(crate) forbids: Vec<CounterId>,
    /// It counts here as one whose anti-affinity forbids others.
    pub(crate) owns: Vec<CounterId>,
    /// It forbids its own kind, by these keys.
    pub(crate) apart_by: Vec<KeyId>,
    /// Spread constraints.
    pub(crate) spread: Vec<Spread>,
    pub(crate) claims: Option<Box<Claims>>,
    /// What it would rather have, once somebody asked.
    pub(crate) weighed: Option<Box<Weighed>>,
}

/// Required affinity: all terms at once.
#[derive(Clone, Debug)]
pub(crate) struct Near {
    /// One for each topology key.
    pub(crate) counters: Vec<CounterId>,
    pub(crate) matches_itself: bool,
}

/// A spread constraint.
#[derive(Clone, Debug)]
pub(crate) struct Spread {
    pub(crate) group: GroupId,
    pub(crate) max_skew: i32,
    pub(crate) min_domains: i32,
    /// The pod adds to the skew.
    pub(crate) matches_itself: bool,
    /// And, once it runs, to the count; an empty selector makes the difference.
    pub(crate) counts_itself: bool,
}

/// The claims and disks of a class.
#[derive(Clone, Debug, Default)]
pub(crate) struct Claims {
    /// Those that do not exist.
    pub(crate) missing: Vec<ClaimUse>,
    /// Names of those that were generated for another pod.
    pub(crate) foreign: Vec<Arc<str>>,
    /// Those it uses by name.
    pub(crate) uses: Vec<ClaimId>,
    /// Of these, those that only one pod may use.
    pub(crate) exclusive: Vec<(ClaimId, Arc<str>)>,
    /// What has to be attached; ascending, each once.
    pub(crate) attaches: Vec<HandleId>,
}
