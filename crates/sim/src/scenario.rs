//! A story as a file: a world, what is done to it and when, and what must come of it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{config::Span, config::WorldConfig, world::DeploymentOptions};

/// A story.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Scenario {
    /// Its name.
    pub name: String,
    /// What it shows.
    #[serde(default)]
    pub description: String,
    /// The seed, unless another is given.
    #[serde(default = "one")]
    pub seed: u64,
    /// The world it is played in.
    #[serde(default)]
    pub world: WorldConfig,
    /// Flags of the product's `run` that the story needs.
    #[serde(default)]
    pub flags: Vec<String>,
    /// Objects applied when the story begins, in this order: the NodeGroups.
    #[serde(default)]
    pub manifests: Vec<Value>,
    /// What happens.
    #[serde(default)]
    pub steps: Vec<Step>,
    /// What must come of it.
    pub expect: Vec<Expectation>,
    /// When it is over at the latest.
    pub limit: Span,
    /// For how long everything expected must hold before the story is over.
    #[serde(default = "settle")]
    pub settle: Span,
}

fn one() -> u64 {
    1
}

fn settle() -> Span {
    Span(std::time::Duration::from_secs(30))
}

/// A scenario file could not be used.
#[derive(Debug, thiserror::Error)]
pub enum ScenarioError {
    /// It is not YAML of the right shape.
    #[error("not a scenario: {0}")]
    Unreadable(String),
    /// A step refers to what cannot be.
    #[error("scenario {name:?}: {problem}")]
    Impossible {
        /// The scenario.
        name: String,
        /// What is wrong.
        problem: String,
    },
}

impl Scenario {
    /// Reads a scenario file's content.
    pub fn from_yaml(yaml: &str) -> Result<Self, ScenarioError> {
        let scenario: Self = serde_saphyr::from_str(yaml)
            .map_err(|error| ScenarioError::Unreadable(error.to_string()))?;
        scenario.check()?;
        Ok(scenario)
    }

    fn check(&self) -> Result<(), ScenarioError> {
        let impossible = |problem: String| {
            Err(ScenarioError::Impossible {
                name: self.name.clone(),
                problem,
            })
        };
        if self.expect.is_empty() {
            return impossible("expects nothing, so it cannot fail".to_owned());
        }
        let mut former = Span::default();
        for (number, step) in self.steps.iter().enumerate() {
            if step.once.is_some() {
                former = Span::default();
            }
            if step.at < former {
                return impossible(format!("step {} is before the one above it", number + 1));
            }
            former = step.at;
        }
        Ok(())
    }
}

/// Something that happens.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Step {
    /// When: from the beginning, or from the last moment that was waited for with `once`.
    #[serde(default)]
    pub at: Span,
    /// Waits for this first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub once: Option<Moment>,
    /// What.
    #[serde(rename = "do")]
    pub action: Action,
}

/// A moment that a step can wait for.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub enum Moment {
    /// There are pods (DaemonSets' apart) and all of them run.
    AllPodsRunning,
    /// There are no pods but those of DaemonSets.
    NoPods,
    /// Each managed NodeGroup has exactly its minimum of VPSieNodes, all Ready.
    GroupsAtMinimum,
    /// So many pods (DaemonSets' apart) run, and none waits.
    PodsRunning(usize),
    /// A worker of a NodeGroup is cordoned.
    Draining,
}

/// What can be done to a world.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(
    rename_all = "camelCase",
    rename_all_fields = "camelCase",
    deny_unknown_fields
)]
pub enum Action {
    /// Makes a Deployment.
    CreateDeployment {
        /// Its namespace.
        #[serde(default = "default_namespace")]
        namespace: String,
        /// Its name.
        name: String,
        /// How many pods.
        replicas: u32,
        /// CPU request of each.
        cpu: String,
        /// Memory request of each.
        memory: String,
        /// Everything else.
        #[serde(default)]
        options: DeploymentOptions,
    },
    /// Scales a Deployment.
    Scale {
        /// Its namespace.
        #[serde(default = "default_namespace")]
        namespace: String,
        /// Its name.
        name: String,
        /// How many pods.
        replicas: u32,
    },
    /// Deletes an object.
    Delete {
        /// Its group and version.
        api_version: String,
        /// Its kind.
        kind: String,
        /// Its namespace; empty for cluster-scoped objects.
        #[serde(default = "default_namespace")]
        namespace: String,
        /// Its name.
        name: String,
    },
    /// Applies an object.
    Apply {
        /// The object.
        manifest: Value,
    },
    /// A person cordons the node on which a pod runs, or uncordons it, and writes on it.
    Node {
        /// How `namespace/name` of the pod begins.
        of: String,
        /// Cordoned from now on, or not any more.
        #[serde(default)]
        cordoned: Option<bool>,
        /// What is written: those of before are taken away.
        #[serde(default)]
        annotations: Option<BTreeMap<String, String>>,
    },
    /// A person writes on the worker of a NodeGroup that is cordoned, as [`Moment::Draining`] has it:
    /// while it is drained its pods are on others, too, and do not tell which it is.
    DrainedNode {
        /// What is written: those of before are taken away.
        annotations: BTreeMap<String, String>,
    },
    /// A person writes on pods.
    Annotate {
        /// How `namespace/name` of the pods begin.
        pods: String,
        /// What is written: those of before are taken away.
        annotations: BTreeMap<String, String>,
    },
    /// Arms a fault of the cloud.
    Fault(vpsie_sim::Rule),
    /// Disarms every fault of the cloud.
    ClearFaults,
    /// A person adds a worker at the control panel.
    HumanAdd {
        /// The numeric id of its size; a group is made where there is none.
        size: i64,
    },
    /// A person deletes a worker at the control panel.
    HumanDelete {
        /// Which one.
        which: Victim,
    },
    /// The most workers the cluster may have at once; without a number any.
    WorkerCap {
        /// How many.
        cap: Option<u32>,
    },
    /// A size is sold out, or available again.
    SoldOut {
        /// The size's numeric id.
        size: i64,
        /// Whether it is.
        sold_out: bool,
    },
    /// Every token of the cloud expires.
    ExpireTokens,
}

fn default_namespace() -> String {
    "default".to_owned()
}

/// Which worker.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub enum Victim {
    /// The one that was bought first.
    Oldest,
    /// The one that was bought last.
    Newest,
}

/// What must come of a story. Unless it says otherwise, it must hold at the end.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq)]
#[serde(
    rename_all = "camelCase",
    rename_all_fields = "camelCase",
    deny_unknown_fields
)]
pub enum Expectation {
    /// At some moment up to this one there were pods and all of them ran.
    AllPodsRunningBy(Span),
    /// All pods run (there may be none).
    AllPodsRunning,
    /// So many pods are pending.
    PodsPending(usize),
    /// Each managed NodeGroup has exactly its minimum of VPSieNodes, all Ready, and the cloud has
    /// as many workers bought through its API.
    GroupsAtMinimum,
    /// Every worker bought through the API and not deleted yet has a VPSieNode.
    NoLeakedMachines,
    /// No more workers were bought through the API than there were VPSieNodes to buy them for.
    NoMachineBoughtTwice,
    /// Never more workers were bought through the API in total. Checked all along.
    MachinesBoughtAtMost(usize),
    /// So many workers were bought through the API at least.
    MachinesBoughtAtLeast(usize),
    /// Never more workers were there at once, however they came. Checked all along.
    MachinesAtOnceAtMost(usize),
    /// The NodeGroup (`namespace/name`) and its VPSieNodes are gone.
    GroupGone(String),
    /// No node's worker was deleted that a person had added.
    HumanMachinesKept,
    /// An Event with this reason was heard at some time.
    EventSeen(String),
    /// A NodeGroup has a condition.
    Condition {
        /// `namespace/name`.
        group: String,
        /// The condition's type.
        #[serde(rename = "type")]
        kind: String,
        /// Its status.
        status: String,
    },
    /// So many VPSieNodes are in each of these phases.
    Phases(BTreeMap<String, usize>),
    /// So many nodes of NodeGroups are Ready and take pods.
    NodesInService(usize),
    /// So many workers are paid.
    MachinesLeft(usize),
    /// Pods whose `namespace/name` begins so are where they are, once they run: none is asked to
    /// leave. Checked all along.
    PodsUndisturbed(String),
    /// Once so many pods whose `namespace/name` begins so were Ready, it is never fewer. Checked all
    /// along.
    AvailableAtLeast {
        /// How the pods' keys begin.
        pods: String,
        /// How many.
        count: usize,
    },
    /// An Event with this reason said this among other things.
    EventSays {
        /// The reason.
        reason: String,
        /// Part of the message.
        text: String,
    },
    /// At the end an hour costs so many dollars less than it did when it cost most.
    SavedPerHourAtLeast(rust_decimal::Decimal),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scenario_that_expects_nothing_is_refused() {
        let error = Scenario::from_yaml("{name: x, expect: [], limit: 1m}").unwrap_err();
        assert!(error.to_string().contains("cannot fail"), "{error}");
    }

    #[test]
    fn an_unknown_field_is_named() {
        let error =
            Scenario::from_yaml("{name: x, expect: [allPodsRunning], limit: 1m, limmit: 2m}")
                .unwrap_err();
        assert!(error.to_string().contains("limmit"), "{error}");
    }

    #[test]
    fn steps_out_of_order_are_refused() {
        let yaml = "
name: x
limit: 1m
expect: [allPodsRunning]
steps:
  - {at: 20s, do: clearFaults}
  - {at: 10s, do: {workerCap: {cap: 1}}}
";
        let error = Scenario::from_yaml(yaml).unwrap_err();
        assert!(error.to_string().contains("step 2"), "{error}");
    }
}
