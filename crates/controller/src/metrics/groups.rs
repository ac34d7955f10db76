//! What is recorded of groups: how many machines are in which state, and what became of decisions.

use model::GroupKey;
use planner::lifecycle::Phase;
use prometheus_client::metrics::{family::Family, gauge::Gauge};

use super::{
    Metrics,
    labels::{
        GroupLabels, PhaseLabels, StateLabels, TransitionLabels, group_labels, reason_labels,
    },
};

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

impl Metrics {
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
}

#[cfg(test)]
mod tests {
    use super::*;

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
