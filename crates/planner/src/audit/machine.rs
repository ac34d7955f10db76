//! What a bought machine will be like and whether its pods may run there, worked out in the
//! plainest way: no code of the planner, of its templates or of the filters is used.

use std::collections::BTreeMap;

use model::{Labels, Operator, Requirement, Resources, SchedulingClass, Taint, TaintEffect};

use crate::scale_up::{Choice, Group, Input};

/// Label keys whose values this check does not work out: a pod that asks for one of them is not
/// judged by it. The name of a machine to come is known to nobody.
const OWN: [&str; 10] = [
    "autoscaler.vpsie.com/managed",
    "autoscaler.vpsie.com/nodegroup",
    "autoscaler.vpsie.com/nodegroup-namespace",
    "autoscaler.vpsie.com/datacenter",
    "autoscaler.vpsie.com/offering",
    "kubernetes.io/os",
    "kubernetes.io/arch",
    "node.kubernetes.io/instance-type",
    "topology.kubernetes.io/region",
    "topology.kubernetes.io/zone",
];

/// Which of the group's rules keeps a pod off its machines, if one does.
pub(super) fn kept_off(class: &SchedulingClass, group: &Group) -> Option<&'static str> {
    if class.node_name.is_some() {
        return Some("it asks for another node by name");
    }
    if group.taints.iter().any(|taint| repelled(class, taint)) {
        return Some("it does not tolerate the group's taints");
    }
    let labels = &group.labels;
    if !class.node_selector.iter().all(|r| may_hold(r, labels)) {
        return Some("its node selector asks for other labels");
    }
    let terms = class.required_terms.as_ref()?;
    let some = terms.iter().any(|term| {
        let names_a_node = term
            .match_fields
            .iter()
            .any(|field| field.operator == Operator::In);
        let empty = term.match_expressions.is_empty() && term.match_fields.is_empty();
        !empty && !names_a_node && term.match_expressions.iter().all(|r| may_hold(r, labels))
    });
    (!some).then_some("its affinity asks for other labels")
}

/// Whether nothing this check does not work out decides about `class`.
fn is_plain(class: &SchedulingClass) -> bool {
    let plain =
        |r: &Requirement| !OWN.contains(&&*r.key) && r.key.as_ref() != "kubernetes.io/hostname";
    // A requirement with too many or too few values makes its term match nothing.
    let sensible = |r: &Requirement| match r.operator {
        Operator::Exists | Operator::DoesNotExist => r.values.is_empty(),
        Operator::In | Operator::NotIn => !r.values.is_empty(),
        Operator::Gt | Operator::Lt => r.values.len() == 1,
    };
    let terms = || class.required_terms.iter().flatten();
    class.node_selector.iter().all(plain)
        && terms().all(|term| term.match_fields.is_empty())
        && terms()
            .flat_map(|term| &term.match_expressions)
            .all(|r| plain(r) && sensible(r))
}

fn repelled(class: &SchedulingClass, taint: &Taint) -> bool {
    if taint.effect == TaintEffect::PreferNoSchedule {
        return false;
    }
    for toleration in &class.tolerations {
        let effect = match toleration.effect {
            None => true,
            Some(effect) => effect == taint.effect,
        };
        let every_key = toleration.key.is_empty() && toleration.exists;
        let this_key = !toleration.key.is_empty()
            && toleration.key == taint.key
            && (toleration.exists || toleration.value == taint.value);
        if effect && (every_key || this_key) {
            return false;
        }
    }
    true
}

fn may_hold(requirement: &Requirement, labels: &Labels) -> bool {
    let key = &*requirement.key;
    let Some(value) = labels.get(key) else {
        // What the group does not say is known only for keys nobody else sets.
        return OWN.contains(&key)
            || matches!(
                requirement.operator,
                Operator::NotIn | Operator::DoesNotExist
            )
            || (key == "kubernetes.io/hostname" && requirement.operator == Operator::Exists);
    };
    if OWN.contains(&key) {
        return true;
    }
    let listed = requirement.values.contains(value);
    let numbers = || match &requirement.values[..] {
        [bound] => Some((value.parse::<i64>().ok()?, bound.parse::<i64>().ok()?)),
        _ => None,
    };
    match requirement.operator {
        Operator::In => listed,
        Operator::NotIn => !listed,
        Operator::Exists => true,
        Operator::DoesNotExist => false,
        Operator::Gt => numbers().is_some_and(|(value, bound)| value > bound),
        Operator::Lt => numbers().is_some_and(|(value, bound)| value < bound),
    }
}

/// The pods of DaemonSets that run on the group's machines for certain.
pub(super) fn daemons<'a>(input: &'a Input, group: &Group) -> Vec<&'a SchedulingClass> {
    let classes = input.daemon_sets.iter().map(AsRef::as_ref);
    classes
        .filter(|class| is_plain(class) && kept_off(class, group).is_none())
        .collect()
}

/// The first resource of which these pods, so many of each class, with those of DaemonSets ask for
/// more than a machine of this choice has.
pub(super) fn overfull(
    input: &Input,
    choice: &Choice,
    daemons: &[&SchedulingClass],
    pods: &[(&SchedulingClass, usize)],
) -> Option<String> {
    let mut asked: BTreeMap<String, i128> = BTreeMap::new();
    let mut asked_for_by_pods: BTreeMap<String, bool> = BTreeMap::new();
    let daemons = daemons.iter().map(|class| (*class, 1, true));
    for (class, times, is_daemon) in
        daemons.chain(pods.iter().map(|(class, times)| (*class, *times, false)))
    {
        for (name, amount) in amounts(&class.requests) {
            let times = i128::try_from(times).unwrap_or(i128::MAX);
            *asked.entry(name.clone()).or_default() += i128::from(amount).saturating_mul(times);
            *asked_for_by_pods.entry(name).or_default() |= !is_daemon && amount > 0;
        }
    }
    let has = room(input, choice);
    asked
        .into_iter()
        .find(|(name, amount)| {
            asked_for_by_pods[name] && *amount > has.get(name).copied().unwrap_or_default()
        })
        .map(|(name, _)| name)
}

fn amounts(of: &Resources) -> Vec<(String, i64)> {
    let mut all = vec![
        ("cpu".to_owned(), of.cpu_milli),
        ("memory".to_owned(), of.memory),
        ("ephemeral-storage".to_owned(), of.ephemeral),
        ("pods".to_owned(), of.pods),
    ];
    for (name, amount) in &of.extended {
        all.push((name.to_string(), *amount));
    }
    all
}

fn room(input: &Input, choice: &Choice) -> BTreeMap<String, i128> {
    if let Some(learned) = &choice.learned {
        return amounts(&learned.allocatable)
            .into_iter()
            .map(|(name, amount)| (name, i128::from(amount)))
            .collect();
    }
    // Bare capacity less what is always kept; the percentages only make it less.
    let offering = &choice.offering;
    let kept = &input.limits.reserve;
    BTreeMap::from([
        (
            "cpu".to_owned(),
            i128::from(offering.cpus) * 1000 - i128::from(kept.cpu_milli),
        ),
        (
            "memory".to_owned(),
            i128::from(offering.memory_mib) * 1024 * 1024 - i128::from(kept.memory),
        ),
        (
            "ephemeral-storage".to_owned(),
            i128::from(offering.disk_gib) * 1024 * 1024 * 1024,
        ),
        ("pods".to_owned(), i128::from(kept.pods)),
    ])
}
