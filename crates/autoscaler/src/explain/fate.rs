//! What becomes of each node: whether it could go, judged alone, and which nodes would go together.

use std::collections::BTreeMap;

use intake::dump::Dump;
use jiff::Timestamp;
use model::{GroupKey, HourlyPrice, NodeName, PodKey};
use planner::removal::{
    plan::{self, Many, Settings},
    refusal::Refusal,
};
use runtime::Clock;
use serde::Serialize;

use crate::offline::{ReadGroup, Removals, measured_at};

/// What is taken as given.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Evidence {
    /// The instant to judge by.
    pub(super) at: Option<Timestamp>,
    /// Windows and cooldowns are over, and nothing is in use.
    pub(super) is_assumed: bool,
}

/// What becomes of one node.
pub(super) struct Fate {
    /// The group whose machine it runs on, managed or not.
    pub(super) owner: Option<GroupKey>,
    /// The group is managed: the node is ours.
    pub(super) is_ours: bool,
    /// It serves: Ready and not on its way out.
    pub(super) serves: bool,
    /// Everything that keeps it; nothing where it could go.
    pub(super) refusals: Vec<Refusal>,
    /// What makes it wait for others, where it could go alone.
    pub(super) waits: Vec<Refusal>,
    /// Where its pods would go, where it could.
    pub(super) moves: Vec<(PodKey, NodeName)>,
    /// What it costs, where known.
    pub(super) price: Option<HourlyPrice>,
    /// The start of the unbroken window.
    pub(super) unneeded_since: Option<Timestamp>,
}

impl Fate {
    /// It could go.
    pub(super) fn is_removable(&self) -> bool {
        self.refusals.is_empty()
    }

    /// Its removal has begun.
    pub(super) fn is_going(&self) -> bool {
        matches!(self.refusals.as_slice(), [Refusal::BeingRemoved { .. }])
    }
}

/// What becomes of all nodes.
pub(super) struct Fates {
    /// The instant of the answer.
    pub(super) at: Timestamp,
    /// What was taken as given.
    pub(super) evidence: Evidence,
    /// By name.
    pub(super) nodes: BTreeMap<NodeName, Fate>,
    /// Those that would go together, by name, and what each saves.
    pub(super) together: BTreeMap<NodeName, Option<HourlyPrice>>,
    /// So many look removable at once that another window is waited for.
    pub(super) many: Option<Many>,
    /// The managed groups as the choice sees them.
    pub(super) groups: BTreeMap<GroupKey, plan::Group>,
    /// Groups whose removals are stopped, and why.
    pub(super) stopped: BTreeMap<GroupKey, String>,
}

impl Fates {
    /// Judges the nodes of a dump with these groups. How many may go at once is a flag of `run`, and
    /// keeps no node here.
    pub(super) fn new(dump: Dump, groups: &[ReadGroup], evidence: Evidence, is_live: bool) -> Self {
        let measured = measured_at(&dump).filter(|_| !is_live);
        let at = evidence.at.or(measured);
        let at = at.unwrap_or_else(this_second);
        let mut removals = Removals::new(dump, groups, at);
        if evidence.is_assumed {
            removals = removals.settled();
        }
        let settings = Settings {
            assume_unneeded: evidence.is_assumed,
            ..Settings::default()
        };
        let input = removals.input(&settings);
        let mut told = plan::explain(&input);
        let cluster = &removals.expected.cluster;
        let mut nodes = BTreeMap::new();
        for candidate in input.candidates {
            let name = candidate.node;
            let said = told.nodes.remove(&name).unwrap_or_default();
            let is_going = candidate.removal.is_some() || input.leaving.contains(&name);
            let fate = Fate {
                owner: candidate.group,
                is_ours: candidate.managed,
                serves: !is_going && cluster.nodes.get(&name).is_some_and(|node| node.ready),
                refusals: said.refusals,
                waits: said.waits,
                moves: said.moves,
                price: candidate.savings,
                unneeded_since: candidate.unneeded_since,
            };
            nodes.insert(name, fate);
        }
        Self {
            at,
            evidence,
            nodes,
            together: told.together,
            many: told.many,
            groups: input.groups,
            stopped: input.brakes.stopped,
        }
    }
}

/// The present, as exactly as anybody wants to read it.
fn this_second() -> Timestamp {
    let now = Clock::system().now();
    Timestamp::from_second(now.as_second()).unwrap_or(now)
}

/// A refusal in JSON.
#[derive(Serialize)]
pub(super) struct RefusalRow {
    reason: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pod: Option<String>,
    detail: String,
}

impl From<&Refusal> for RefusalRow {
    fn from(refusal: &Refusal) -> Self {
        Self {
            reason: refusal.name(),
            pod: refusal.pod().map(ToString::to_string),
            detail: refusal.to_string(),
        }
    }
}
