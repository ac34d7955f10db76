//! Why pods of a class are left, group by group and offering by offering.

use std::sync::Arc;

use model::SchedulingClass;
use scheduling::{Failure, Filter};

use super::{
    Report,
    by_rules::Waiting,
    ground::Ground,
    kinds::{self, Budget, Kind},
};
use crate::reason::{GroupReason, GroupRefusal, PodReason};

/// The reasons against every kind, given what is left of the limits.
pub(super) fn of(
    ground: &mut Ground<'_>,
    waiting: &Waiting,
    budget: &Budget,
    report: &mut Report,
) -> PodReason {
    let (input, kinds) = (ground.input, ground.kinds);
    if input.groups.is_empty() {
        return PodReason::NoNodeGroup;
    }
    let mut groups: Vec<GroupReason> = Vec::new();
    for group in input.groups.iter().filter(|g| g.choices.is_empty()) {
        groups.push(GroupReason {
            group: group.key.clone(),
            offering: None,
            refusal: GroupRefusal::Invalid {
                detail: group
                    .invalid
                    .clone()
                    .unwrap_or_else(|| "it may buy no offering".into()),
            },
        });
    }
    // What depends on other pods and on volumes is the same for every offering of a group.
    let mut of_group: Vec<Option<Vec<Failure>>> = vec![None; input.groups.len()];
    for (index, kind) in kinds.iter().enumerate() {
        let mut failures = of_kind(&waiting.source, kind);
        let others = of_group[kind.group].get_or_insert_with(|| {
            let class = waiting.class;
            let all = ground.if_open(index, |engine, node| engine.failures(class, node));
            all.into_iter().filter(is_of_the_group).collect()
        });
        failures.extend(others.iter().cloned());
        let refusal = if failures.is_empty() {
            kinds::barred(input, kind, false)
                .or_else(|| kinds::exhausted(input, budget, kind.group))
        } else {
            Some(GroupRefusal::Filters(failures))
        };
        let Some(refusal) = refusal else { continue };
        if let GroupRefusal::BackingOff { until, .. } = &refusal {
            report.look_again(*until);
        }
        let group = &input.groups[kind.group];
        groups.push(GroupReason {
            group: group.key.clone(),
            offering: Some(group.choices[kind.choice].offering.id.clone()),
            refusal,
        });
    }
    groups.sort_by(|a, b| (&a.group, &a.offering).cmp(&(&b.group, &b.offering)));
    PodReason::NoNodeGroupFits {
        groups: Arc::from(groups),
    }
}

fn of_kind(class: &SchedulingClass, kind: &Kind) -> Vec<Failure> {
    scheduling::failures(class, &kind.node, &kind.requested)
}

/// Whether it is one that the kind by itself does not show.
fn is_of_the_group(failure: &Failure) -> bool {
    matches!(
        failure.filter(),
        Filter::NodePorts
            | Filter::VolumeRestrictions
            | Filter::NodeVolumeLimits
            | Filter::VolumeBinding
            | Filter::VolumeZone
            | Filter::PodTopologySpread
            | Filter::InterPodAffinity
    )
}
