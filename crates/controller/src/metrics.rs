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
    "unowned_machines" unowned_machines
        "Workers of our clusters that belong to no VPSieNode"
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

    #[test]
    fn no_figure_of_a_group_that_is_gone_is_left() {
        let (metrics, group) = (Metrics::new(), GroupKey::new("kube-system", "general"));
        metrics.group(&group, GroupFigures::default());
        for phase in Phase::ALL {
            metrics.phase(&group, phase, 1);
        }
        metrics.scale_down_blocked(&group, "AtMinimum", 1);
        assert!(metrics.render().contains("general"));
        metrics.forget_group(&group);
        metrics.forget_scale_down_blocked(&group, "AtMinimum");
        assert!(
            !metrics.render().contains("general"),
            "{}",
            metrics.render()
        );
    }
}
