//! What is recorded of the process: its requests to the cloud, its reconciles, Events and leadership,
//! and what its views of the cluster and the cloud hold.

use std::time::Duration;

use super::{
    Metrics,
    labels::{
        BreakerChangeLabels, BreakerLabels, ControllerErrorLabels, ControllerLabels, ErrorLabels,
        EventLabels, KindLabels, MethodLabels, RequestLabels, ResultLabels, RuleLabels,
        ScopeLabels, UnownedLabels, sanitize,
    },
};

impl Metrics {
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

    /// Something was decided and not done: this is a dry run.
    pub fn withheld(&self) {
        self.withheld.inc();
    }

    /// What was decided breaks this rule and was not done.
    pub fn plan_refused(&self, rule: &str) {
        self.plans_refused
            .get_or_create(&RuleLabels { rule: rule.into() })
            .inc();
    }

    /// A write was refused for want of leadership.
    pub fn effect_refused(&self) {
        self.effects_refused.inc();
    }

    /// How many workers of a scope belong to no VPSieNode and are of this kind.
    pub fn unowned(&self, scope: &str, kind: &str, machines: usize) {
        self.unowned_machines
            .get_or_create(&UnownedLabels {
                scope: sanitize(scope),
                kind: sanitize(kind),
            })
            .set(i64::try_from(machines).unwrap_or(i64::MAX));
    }

    /// Whether all removals of a scope are stopped.
    pub fn removals_stopped(&self, scope: &str, stopped: bool) {
        self.removals_stopped
            .get_or_create(&ScopeLabels {
                scope: sanitize(scope),
            })
            .set(i64::from(stopped));
    }

    /// A scope is nobody's any more: its figures go. `kinds` are those of its workers.
    pub fn forget_scope(&self, scope: &str, kinds: &[&str]) {
        let scope = sanitize(scope);
        for kind in kinds {
            self.unowned_machines.remove(&UnownedLabels {
                scope: scope.clone(),
                kind: sanitize(kind),
            });
        }
        self.removals_stopped.remove(&ScopeLabels { scope });
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
