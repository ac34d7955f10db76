//! Rules that look at the node and what is on it, and at no other node.

use std::sync::Arc;

use model::{HostPort, Node, Resources, SchedulingClass, Taint, TaintEffect};

use crate::{Rule, world::Spot};

pub(crate) fn broken(
    class: &SchedulingClass,
    spot: &Spot,
    classes: &[Arc<SchedulingClass>],
) -> impl Iterator<Item = Rule> {
    let node = &spot.node;
    let shape = &node.shape;
    let on_it = || spot.pods.keys().map(|(number, _)| &classes[*number]);
    let ports_clash = on_it().any(|other| {
        let theirs = &other.host_ports;
        class
            .host_ports
            .iter()
            .any(|mine| theirs.iter().any(|port| clash(mine, port)))
    });
    let named_another = class
        .node_name
        .as_ref()
        .is_some_and(|name| *name != node.name);
    [
        (
            Rule::NodeUnschedulable,
            !shape.unschedulable || tolerates_cordon(class),
        ),
        (Rule::NodeName, !named_another),
        (Rule::TaintToleration, tolerates_all(class, node)),
        (Rule::NodeAffinity, selects(class, node)),
        (Rule::NodePorts, !ports_clash),
        (
            Rule::NodeResourcesFit,
            has_room(class, &shape.allocatable, &spot.requested),
        ),
        (
            Rule::NodeDeclaredFeatures,
            class.features.is_subset(&shape.features),
        ),
    ]
    .into_iter()
    .filter_map(|(rule, holds)| (!holds).then_some(rule))
}

/// Kubernetes gives a cordoned node a taint, but not at once.
fn tolerates_cordon(class: &SchedulingClass) -> bool {
    let taint = Taint {
        key: "node.kubernetes.io/unschedulable".into(),
        value: "".into(),
        effect: TaintEffect::NoSchedule,
    };
    tolerates(class, &taint)
}

fn tolerates(class: &SchedulingClass, taint: &Taint) -> bool {
    class
        .tolerations
        .iter()
        .any(|toleration| toleration.tolerates(taint))
}

/// Taints that only ask to stay away keep nobody out.
pub(crate) fn tolerates_all(class: &SchedulingClass, node: &Node) -> bool {
    let taints = node.shape.taints.iter();
    taints
        .filter(|taint| taint.effect != TaintEffect::PreferNoSchedule)
        .all(|taint| tolerates(class, taint))
}

/// Node selector, and required node affinity.
pub(crate) fn selects(class: &SchedulingClass, node: &Node) -> bool {
    let labels = &node.shape.labels;
    let value = |key: &str| labels.get(key).map(AsRef::as_ref);
    class
        .node_selector
        .iter()
        .all(|wanted| wanted.matches(value(&wanted.key)))
        && class.required_terms.as_ref().is_none_or(|terms| {
            terms
                .iter()
                .any(|term| term.matches(node.name.as_str(), labels))
        })
}

/// The pod count always; of the rest only what the pod asks for.
fn has_room(class: &SchedulingClass, has: &Resources, used: &Resources) -> bool {
    let asked = &class.requests;
    let names = ["cpu", "memory", "ephemeral-storage"].into_iter();
    let all = names.chain(asked.extended.keys().map(AsRef::as_ref));
    let fits = |name: &str| {
        let sum = i128::from(used.get(name)) + i128::from(asked.get(name));
        sum <= i128::from(has.get(name))
    };
    used.pods < has.pods && all.filter(|name| asked.get(name) > 0).all(fits)
}

fn clash(a: &HostPort, b: &HostPort) -> bool {
    const ANY: &str = "0.0.0.0";
    let same = a.address == b.address || &*a.address == ANY || &*b.address == ANY;
    a.protocol == b.protocol && a.port == b.port && same
}
