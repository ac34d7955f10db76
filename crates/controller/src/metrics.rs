//! Every metric the process exports, and nothing that no code sets.
//!
//! Names keep the predecessor's prefix. Counters get `_total` from the exposition format.

mod groups;
mod labels;
mod process;

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use prometheus_client::{
    encoding::text::encode,
    metrics::{
        counter::Counter,
        family::Family,
        gauge::Gauge,
        histogram::{Histogram, exponential_buckets},
    },
    registry::Registry,
};

pub use self::groups::GroupFigures;
use self::labels::{
    BreakerChangeLabels, BreakerLabels, ControllerErrorLabels, ControllerLabels, ErrorLabels,
    EventLabels, GroupLabels, KindLabels, MethodLabels, PhaseLabels, ReasonLabels, RequestLabels,
    ResultLabels, RuleLabels, ScopeLabels, StateLabels, TransitionLabels, UnownedLabels,
};

/// The prefix of every metric.
pub const PREFIX: &str = "vpsie_autoscaler";
/// All metrics; clones share them.
#[derive(Clone)]
pub struct Metrics {
    registry: Arc<Mutex<Registry>>,
    nodegroup_nodes: Family<StateLabels, Gauge>,
    nodegroup_desired: Family<GroupLabels, Gauge>,
    nodegroup_current: Family<GroupLabels, Gauge>,
    nodegroup_ready: Family<GroupLabels, Gauge>,
    nodegroup_min: Family<GroupLabels, Gauge>,
    nodegroup_max: Family<GroupLabels, Gauge>,
    phases: Family<PhaseLabels, Gauge>,
    transitions: Family<TransitionLabels, Counter>,
    scale_up: Family<GroupLabels, Counter>,
    scale_up_nodes: Family<GroupLabels, Counter>,
    scale_up_failures: Family<ReasonLabels, Counter>,
    scale_down: Family<GroupLabels, Counter>,
    scale_down_failures: Family<ReasonLabels, Counter>,
    scale_down_refused: Family<ReasonLabels, Counter>,
    scale_down_blocked: Family<ReasonLabels, Gauge>,
    unschedulable_pods: Gauge,
    api_requests: Family<RequestLabels, Counter>,
    api_latency: Family<MethodLabels, Histogram>,
    api_duration: Family<MethodLabels, Histogram>,
    api_errors: Family<ErrorLabels, Counter>,
    api_rate_limited: Family<MethodLabels, Counter>,
    api_limiter_wait: Family<MethodLabels, Histogram>,
    api_breaker: Family<BreakerLabels, Gauge>,
    api_breaker_changes: Family<BreakerChangeLabels, Counter>,
    api_breaker_opened: Counter,
    reconcile_duration: Family<ControllerLabels, Histogram>,
    reconcile: Family<ResultLabels, Counter>,
    reconcile_errors: Family<ControllerErrorLabels, Counter>,
    events: Family<EventLabels, Counter>,
    events_dropped: Counter,
    effects_refused: Counter,
    plans_refused: Family<RuleLabels, Counter>,
    withheld: Counter,
    unowned_machines: Family<UnownedLabels, Gauge>,
    removals_stopped: Family<ScopeLabels, Gauge>,
    leading: Gauge,
    index_rows: Family<KindLabels, Gauge>,
    informer_age: Family<KindLabels, Gauge>,
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

/// 1 ms to about 33 s.
fn fast() -> Histogram {
    Histogram::new(exponential_buckets(0.001, 2.0, 15))
}

/// 10 ms to about 41 s.
fn request() -> Histogram {
    Histogram::new(exponential_buckets(0.01, 2.0, 12))
}

macro_rules! exported {
    ($($name:literal $field:ident $help:literal)+) => {
        /// The name of every family, without [`PREFIX`] and the `_total` of counters.
        pub const FAMILIES: &[&str] = &[$($name),+];

        impl Metrics {
            fn register(&self) {
                let mut registry = Registry::with_prefix(PREFIX);
                $(registry.register($name, $help, self.$field.clone());)+
                *self.registry.lock().unwrap_or_else(PoisonError::into_inner) = registry;
            }
        }
    };
}

exported! {
    "nodegroup_nodes" nodegroup_nodes
        "Machines of a group by state"
    "nodegroup_desired_nodes" nodegroup_desired
        "Machines wanted"
    "nodegroup_current_nodes" nodegroup_current
        "Machines that exist or may exist"
    "nodegroup_ready_nodes" nodegroup_ready
        "Nodes that are Ready"
    "nodegroup_min_nodes" nodegroup_min
        "Lower bound of the group"
    "nodegroup_max_nodes" nodegroup_max
        "Upper bound of the group"
    "vpsienode_phase" phases
        "VPSieNodes by phase"
    "vpsienode_phase_transitions" transitions
        "Phase changes of VPSieNodes"
    "scale_up" scale_up
        "Scale-up decisions carried out"
    "scale_up_nodes" scale_up_nodes
        "Machines asked for by scale-ups"
    "scale_up_failures" scale_up_failures
        "Machines that were given up before they served"
    "scale_down" scale_down
        "Nodes taken away"
    "scale_down_failures" scale_down_failures
        "Removals that were taken back"
    "scale_down_blocked" scale_down_refused
        "Times a reason began to keep a node"
    "scale_down_blocked_nodes" scale_down_blocked
        "Nodes that stay now, by reason"
    "unschedulable_pods" unschedulable_pods
        "Pods the scheduler could not place"
    "vpsie_api_requests" api_requests
        "Requests to the VPSie API"
    "vpsie_api_latency_seconds" api_latency
        "Latency of answered VPSie API requests"
    "vpsie_api_request_duration_seconds" api_duration
        "Duration of VPSie API requests, unanswered ones included"
    "vpsie_api_errors" api_errors
        "Failed VPSie API requests by class"
    "vpsie_api_rate_limited" api_rate_limited
        "VPSie API requests that waited for the client-side rate limit"
    "vpsie_api_rate_limit_wait_duration_seconds" api_limiter_wait
        "Waiting for the client-side rate limit"
    "vpsie_api_circuit_breaker_state" api_breaker
        "1 for the state the breaker is in"
    "vpsie_api_circuit_breaker_state_changes" api_breaker_changes
        "Changes of the breaker's state"
    "vpsie_api_circuit_breaker_opened" api_breaker_opened
        "Times the breaker opened"
    "controller_reconcile_duration_seconds" reconcile_duration
        "Duration of reconciles"
    "controller_reconcile" reconcile
        "Reconciles by result"
    "controller_reconcile_errors" reconcile_errors
        "Failed reconciles by error"
    "events_emitted" events
        "Kubernetes Events written"
    "events_dropped" events_dropped
        "Kubernetes Events not written because too many were waiting"
    "effects_refused" effects_refused
        "Writes refused because this replica does not lead"
    "plans_refused" plans_refused
        "Decisions that the audit refused, by the rule they would break"
    "dry_run_withheld" withheld
        "Changes that were decided on and not made, because this is a dry run"
    "unowned_machines" unowned_machines
        "Workers of a VPSie cluster that belong to no VPSieNode, by what they are"
    "removals_stopped" removals_stopped
        "1 while nothing is removed in a VPSie cluster, because a deletion took another machine"
    "leader" leading
        "1 while this replica leads"
    "index_rows" index_rows
        "Objects in the cluster index"
    "informer_age_seconds" informer_age
        "Time since the API server was last heard of a kind"
}

impl Metrics {
    /// Registers everything.
    #[must_use]
    pub fn new() -> Self {
        let metrics = Self {
            registry: Arc::default(),
            nodegroup_nodes: Family::default(),
            nodegroup_desired: Family::default(),
            nodegroup_current: Family::default(),
            nodegroup_ready: Family::default(),
            nodegroup_min: Family::default(),
            nodegroup_max: Family::default(),
            phases: Family::default(),
            transitions: Family::default(),
            scale_up: Family::default(),
            scale_up_nodes: Family::default(),
            scale_up_failures: Family::default(),
            scale_down: Family::default(),
            scale_down_failures: Family::default(),
            scale_down_refused: Family::default(),
            scale_down_blocked: Family::default(),
            unschedulable_pods: Gauge::default(),
            api_requests: Family::default(),
            api_latency: Family::new_with_constructor(request),
            api_duration: Family::new_with_constructor(request),
            api_errors: Family::default(),
            api_rate_limited: Family::default(),
            api_limiter_wait: Family::new_with_constructor(fast),
            api_breaker: Family::default(),
            api_breaker_changes: Family::default(),
            api_breaker_opened: Counter::default(),
            reconcile_duration: Family::new_with_constructor(fast),
            reconcile: Family::default(),
            reconcile_errors: Family::default(),
            events: Family::default(),
            events_dropped: Counter::default(),
            effects_refused: Counter::default(),
            plans_refused: Family::default(),
            withheld: Counter::default(),
            unowned_machines: Family::default(),
            removals_stopped: Family::default(),
            leading: Gauge::default(),
            index_rows: Family::default(),
            informer_age: Family::default(),
        };
        metrics.register();
        let state = "closed".into();
        metrics
            .api_breaker
            .get_or_create(&BreakerLabels { state })
            .set(1);
        metrics
    }

    /// The exposition text.
    #[must_use]
    pub fn render(&self) -> String {
        let mut text = String::new();
        let registry = self.registry.lock().unwrap_or_else(PoisonError::into_inner);
        // Writing to a String cannot fail.
        let _ = encode(&mut text, &registry);
        text
    }
}

#[cfg(test)]
mod tests {
    use model::GroupKey;

    use super::*;

    #[test]
    fn counters_carry_the_prefix_and_the_total_suffix() {
        let metrics = Metrics::new();
        metrics.scaled_up(&GroupKey::new("kube-system", "general"), 3);
        let text = metrics.render();
        assert!(text.contains(
            "vpsie_autoscaler_scale_up_total{nodegroup=\"general\",namespace=\"kube-system\"} 1"
        ));
        assert!(text.contains("vpsie_autoscaler_unschedulable_pods 0"));
    }
}
