//! A whole simulated world around an autoscaler: the Kubernetes API server of `kube-sim`, the
//! cloud of `vpsie-sim`, and between them everything else a cluster does by itself: scheduling,
//! workload controllers, kubelets, machines that boot and join, node health and budgets.
//!
//! The actors speak to Kubernetes only through a `kube::Client` and learn of machines only from
//! the cloud's machine events, so they play the same parts around a real API server. All time and
//! all chance come from `runtime`; one seed gives one trace, byte for byte.

mod actors;
mod agenda;
mod amounts;
mod config;
mod matching;
mod objects;
mod observe;
mod record;
mod requests;
pub mod scenario;
pub mod story;
mod trace;
mod view;
mod world;

pub use actors::kubelet::RUN_SECONDS;
pub use config::{
    ActorsConfig, DaemonSetConfig, KubeletConfig, MachinesConfig, NodeLifecycleConfig, Range, Span,
    StaticNode, WorldConfig,
};
pub use scenario::{Scenario, ScenarioError};
pub use story::{Progress, Verdict};
pub use view::{Counts, Decision, GroupRow, NodeRow, PodRow, VPSieNodeRow, View};
pub use world::{ApiServer, DeploymentOptions, PEOPLE, Remote, World, WorldError};
