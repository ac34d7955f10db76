//! Every metric the process exports, and nothing that no code sets.
//!
//! Names keep the predecessor's prefix. Counters get `_total` from the exposition format.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use model::GroupKey;
use planner::lifecycle::Phase;
use prometheus_client::{
    encoding::{EncodeLabelSet, text::encode},
    metrics::{
        counter::Counter,
        family::Family,
        gauge::Gauge,
        histogram::{Histogram, exponential_buckets},
    },
    registry::Registry,
};

/// The prefix of every metric.
pub const PREFIX: &str = "vpsie_autoscaler";
/// Longer label values are cut.
const MAX_LABEL: usize = 100;

/// A label value: `[A-Za-z0-9_.-]`, anything else becomes `_`, at most 100 characters, never
/// empty.
#[must_use]
pub fn sanitize(value: &str) -> String {
    let clean: String = value
        .chars()
        .take(MAX_LABEL)
        .map(|c| match c {
            'A'..='Z' | 'a'..='z' | '0'..='9' | '_' | '.' | '-' => c,
            _ => '_',
        })
        .collect();
    if clean.is_empty() {
        "unknown".into()
    } else {
        clean
    }
}

macro_rules! labels {
    ($($name:ident { $($field:ident),+ })+) => {$(
        #[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
        struct $name { $($field: String),+ }
    )+};
}

labels! {
    GroupLabels { nodegroup, namespace }
    StateLabels { nodegroup, namespace, state }
    PhaseLabels { phase, nodegroup, namespace }
    ReasonLabels { nodegroup, namespace, reason }
    RequestLabels { method, status }
    MethodLabels { method }
    ErrorLabels { method, error_type }
    ControllerLabels { controller }
    ResultLabels { controller, result }
    ControllerErrorLabels { controller, error_type }
    BreakerLabels { state }
    BreakerChangeLabels { from_state, to_state }
    TransitionLabels { from_phase, to_phase, nodegroup, namespace }
    EventLabels { event_type, reason }
    KindLabels { kind }
}

fn group_labels(group: &GroupKey) -> GroupLabels {
    GroupLabels {
        nodegroup: sanitize(&group.name),
        namespace: sanitize(&group.namespace),
    }
}

/// Figures of one group.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GroupFigures {
    /// `spec.minNodes`.
    pub min: i64,
    /// `spec.maxNodes`.
    pub max: i64,
    /// Machines wanted.
    pub desired: i64,
    /// Machines that exist or may.
    pub current: i64,
    /// Nodes that are Ready.
    pub ready: i64,
    /// On their way.
    pub in_flight: i64,
    /// Being removed.
    pub removing: i64,
    /// Given up.
    pub failed: i64,
}

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
    unowned_machines: Gauge,
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
            unowned_machines: Gauge::default(),
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

    #[rustfmt::skip] // a table
    fn register(&self) {
        let mut registry = Registry::with_prefix(PREFIX);
        let r = &mut registry;
        r.register("nodegroup_nodes", "Machines of a group by state", self.nodegroup_nodes.clone());
        r.register("nodegroup_desired_nodes", "Machines wanted", self.nodegroup_desired.clone());
        r.register("nodegroup_current_nodes", "Machines that exist or may exist", self.nodegroup_current.clone());
        r.register("nodegroup_ready_nodes", "Nodes that are Ready", self.nodegroup_ready.clone());
        r.register("nodegroup_min_nodes", "Lower bound of the group", self.nodegroup_min.clone());
        r.register("nodegroup_max_nodes", "Upper bound of the group", self.nodegroup_max.clone());
        r.register("vpsienode_phase", "VPSieNodes by phase", self.phases.clone());
        r.register("vpsienode_phase_transitions", "Phase changes of VPSieNodes", self.transitions.clone());
        r.register("scale_up", "Scale-up decisions carried out", self.scale_up.clone());
        r.register("scale_up_nodes", "Machines asked for by scale-ups", self.scale_up_nodes.clone());
        r.register("scale_up_failures", "Machines that were given up before they served", self.scale_up_failures.clone());
        r.register("scale_down", "Nodes taken away", self.scale_down.clone());
        r.register("scale_down_failures", "Removals that were taken back", self.scale_down_failures.clone());
        r.register("scale_down_blocked", "Times a reason began to keep a node", self.scale_down_refused.clone());
        r.register("scale_down_blocked_nodes", "Nodes that stay now, by reason", self.scale_down_blocked.clone());
        r.register("unschedulable_pods", "Pods the scheduler could not place", self.unschedulable_pods.clone());
        r.register("vpsie_api_requests", "Requests to the VPSie API", self.api_requests.clone());
        r.register("vpsie_api_latency_seconds", "Latency of answered VPSie API requests", self.api_latency.clone());
        r.register("vpsie_api_request_duration_seconds", "Duration of VPSie API requests, unanswered ones included", self.api_duration.clone());
        r.register("vpsie_api_errors", "Failed VPSie API requests by class", self.api_errors.clone());
        r.register("vpsie_api_rate_limited", "VPSie API requests that waited for the client-side rate limit", self.api_rate_limited.clone());
        r.register("vpsie_api_rate_limit_wait_duration_seconds", "Waiting for the client-side rate limit", self.api_limiter_wait.clone());
        r.register("vpsie_api_circuit_breaker_state", "1 for the state the breaker is in", self.api_breaker.clone());
        r.register("vpsie_api_circuit_breaker_state_changes", "Changes of the breaker's state", self.api_breaker_changes.clone());
        r.register("vpsie_api_circuit_breaker_opened", "Times the breaker opened", self.api_breaker_opened.clone());
        r.register("controller_reconcile_duration_seconds", "Duration of reconciles", self.reconcile_duration.clone());
        r.register("controller_reconcile", "Reconciles by result", self.reconcile.clone());
        r.register("controller_reconcile_errors", "Failed reconciles by error", self.reconcile_errors.clone());
        r.register("events_emitted", "Kubernetes Events written", self.events.clone());
        r.register("events_dropped", "Kubernetes Events not written because too many were waiting", self.events_dropped.clone());
        r.register("effects_refused", "Writes refused because this replica does not lead", self.effects_refused.clone());
        r.register("unowned_machines", "Workers of our clusters that belong to no VPSieNode", self.unowned_machines.clone());
        r.register("leader", "1 while this replica leads", self.leading.clone());
        r.register("index_rows", "Objects in the cluster index", self.index_rows.clone());
        r.register("informer_age_seconds", "Time since the API server was last heard of a kind", self.informer_age.clone());
        *self.registry.lock().unwrap_or_else(PoisonError::into_inner) = registry;
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

    /// The figures of a group.
    pub fn group(&self, group: &GroupKey, figures: GroupFigures) {
        let labels = group_labels(group);
        let set = |family: &Family<GroupLabels, Gauge>, value: i64| {
            family.get_or_create(&labels).set(value);
        };
        set(&self.nodegroup_desired, figures.desired);
        set(&self.nodegroup_current, figures.current);
        set(&self.nodegroup_ready, figures.ready);
        set(&self.nodegroup_min, figures.min);
        set(&self.nodegroup_max, figures.max);
        for (state, value) in [
            ("ready", figures.ready),
            ("in-flight", figures.in_flight),
            ("removing", figures.removing),
            ("failed", figures.failed),
        ] {
            self.nodegroup_nodes
                .get_or_create(&StateLabels {
                    nodegroup: labels.nodegroup.clone(),
                    namespace: labels.namespace.clone(),
                    state: state.into(),
                })
                .set(value);
        }
    }

    /// Forgets a group that is gone.
    pub fn forget_group(&self, group: &GroupKey) {
        let labels = group_labels(group);
        for family in [
            &self.nodegroup_desired,
            &self.nodegroup_current,
            &self.nodegroup_ready,
            &self.nodegroup_min,
            &self.nodegroup_max,
        ] {
            family.remove(&labels);
        }
        for state in ["ready", "in-flight", "removing", "failed"] {
            self.nodegroup_nodes.remove(&StateLabels {
                nodegroup: labels.nodegroup.clone(),
                namespace: labels.namespace.clone(),
                state: state.into(),
            });
        }
        for phase in Phase::ALL {
            self.phases.remove(&PhaseLabels {
                phase: phase.name().into(),
                nodegroup: labels.nodegroup.clone(),
                namespace: labels.namespace.clone(),
            });
        }
    }

    /// How many VPSieNodes of a group are in a phase.
    pub fn phase(&self, group: &GroupKey, phase: Phase, count: i64) {
        let labels = group_labels(group);
        self.phases
            .get_or_create(&PhaseLabels {
                phase: phase.name().into(),
                nodegroup: labels.nodegroup,
                namespace: labels.namespace,
            })
            .set(count);
    }

    /// A VPSieNode changed its phase.
    pub fn phase_changed(&self, group: &GroupKey, from: &str, to: &str) {
        let labels = group_labels(group);
        self.transitions
            .get_or_create(&TransitionLabels {
                from_phase: from.into(),
                to_phase: to.into(),
                nodegroup: labels.nodegroup,
                namespace: labels.namespace,
            })
            .inc();
    }

    /// A scale-up of `nodes` machines was carried out.
    pub fn scaled_up(&self, group: &GroupKey, nodes: u64) {
        let labels = group_labels(group);
        self.scale_up.get_or_create(&labels).inc();
        self.scale_up_nodes.get_or_create(&labels).inc_by(nodes);
    }

    /// A machine was given up before it served.
    pub fn scale_up_failed(&self, group: &GroupKey, reason: &str) {
        self.scale_up_failures
            .get_or_create(&reason_labels(group, reason))
            .inc();
    }

    /// A node was taken away.
    pub fn scaled_down(&self, group: &GroupKey) {
        self.scale_down.get_or_create(&group_labels(group)).inc();
    }

    /// A removal was taken back.
    pub fn scale_down_failed(&self, group: &GroupKey, reason: &str) {
        self.scale_down_failures
            .get_or_create(&reason_labels(group, reason))
            .inc();
    }

    /// A node of a group stays for `reason` from now on.
    pub fn scale_down_refused(&self, group: &GroupKey, reason: &str) {
        self.scale_down_refused
            .get_or_create(&reason_labels(group, reason))
            .inc();
    }

    /// How many nodes of a group stay for `reason`.
    pub fn scale_down_blocked(&self, group: &GroupKey, reason: &str, nodes: i64) {
        self.scale_down_blocked
            .get_or_create(&reason_labels(group, reason))
            .set(nodes);
    }

    /// Forgets how many nodes of a group that is gone stay for `reason`.
    pub fn forget_scale_down_blocked(&self, group: &GroupKey, reason: &str) {
        self.scale_down_blocked
            .remove(&reason_labels(group, reason));
    }

    /// How many pods the scheduler could not place.
    pub fn unschedulable(&self, pods: usize) {
        self.unschedulable_pods
            .set(i64::try_from(pods).unwrap_or(i64::MAX));
    }

    /// A request to the VPSie API ended; `status` is `None` without an answer.
    pub fn api_request(
        &self,
        method: &str,
        status: Option<u16>,
        duration: Duration,
        error_class: Option<&str>,
    ) {
        let method_labels = MethodLabels {
            method: sanitize(method),
        };
        self.api_requests
            .get_or_create(&RequestLabels {
                method: sanitize(method),
                status: status.map_or_else(|| "none".into(), |status| status.to_string()),
            })
            .inc();
        if status.is_some() {
            self.api_latency
                .get_or_create(&method_labels)
                .observe(duration.as_secs_f64());
        }
        self.api_duration
            .get_or_create(&method_labels)
            .observe(duration.as_secs_f64());
        if let Some(class) = error_class {
            self.api_errors
                .get_or_create(&ErrorLabels {
                    method: sanitize(method),
                    error_type: sanitize(class),
                })
                .inc();
        }
    }

    /// A request waited for the client-side limit.
    pub fn api_waited(&self, method: &str, duration: Duration) {
        let labels = MethodLabels {
            method: sanitize(method),
        };
        self.api_rate_limited.get_or_create(&labels).inc();
        self.api_limiter_wait
            .get_or_create(&labels)
            .observe(duration.as_secs_f64());
    }

    /// The breaker changed its state.
    pub fn breaker(&self, from: &str, to: &str) {
        for (state, value) in [(from, 0), (to, 1)] {
            self.api_breaker
                .get_or_create(&BreakerLabels {
                    state: sanitize(state),
                })
                .set(value);
        }
        if to == "open" {
            self.api_breaker_opened.inc();
        }
        self.api_breaker_changes
            .get_or_create(&BreakerChangeLabels {
                from_state: sanitize(from),
                to_state: sanitize(to),
            })
            .inc();
    }

    /// A reconcile ended; `error` names what failed.
    pub fn reconciled(&self, controller: &str, duration: Duration, error: Option<&str>) {
        self.reconcile_duration
            .get_or_create(&ControllerLabels {
                controller: controller.into(),
            })
            .observe(duration.as_secs_f64());
        self.reconcile
            .get_or_create(&ResultLabels {
                controller: controller.into(),
                result: if error.is_some() { "error" } else { "success" }.into(),
            })
            .inc();
        if let Some(error) = error {
            self.reconcile_errors
                .get_or_create(&ControllerErrorLabels {
                    controller: controller.into(),
                    error_type: sanitize(error),
                })
                .inc();
        }
    }

    /// An Event was written.
    pub fn event(&self, event_type: &str, reason: &str) {
        self.events
            .get_or_create(&EventLabels {
                event_type: event_type.into(),
                reason: sanitize(reason),
            })
            .inc();
    }

    /// An Event was dropped.
    pub fn event_dropped(&self) {
        self.events_dropped.inc();
    }

    /// A write was refused for want of leadership.
    pub fn effect_refused(&self) {
        self.effects_refused.inc();
    }

    /// How many workers belong to no VPSieNode.
    pub fn unowned(&self, machines: usize) {
        self.unowned_machines
            .set(i64::try_from(machines).unwrap_or(i64::MAX));
    }

    /// Whether this replica leads.
    pub fn leading(&self, leading: bool) {
        self.leading.set(i64::from(leading));
    }

    /// Size and age of one kind's index.
    pub fn index(&self, kind: &str, rows: usize, age: Duration) {
        let labels = KindLabels { kind: kind.into() };
        self.index_rows
            .get_or_create(&labels)
            .set(i64::try_from(rows).unwrap_or(i64::MAX));
        self.informer_age
            .get_or_create(&labels)
            .set(i64::try_from(age.as_secs()).unwrap_or(i64::MAX));
    }
}

fn reason_labels(group: &GroupKey, reason: &str) -> ReasonLabels {
    ReasonLabels {
        nodegroup: sanitize(&group.name),
        namespace: sanitize(&group.namespace),
        reason: sanitize(reason),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn label_values_are_sanitized_and_bounded() {
        assert_eq!(sanitize("kube-system/ng é"), "kube-system_ng__");
        assert_eq!(sanitize(""), "unknown");
        assert_eq!(sanitize(&"x".repeat(300)).len(), 100);
    }

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
