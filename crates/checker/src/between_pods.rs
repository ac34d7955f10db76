//! Pods near each other and apart.

use model::{LabelSelector, Labels, Node, PodTerm, SchedulingClass};

use crate::world::{Place, World};

pub(crate) fn holds(world: &World, class: &SchedulingClass, place: Place) -> bool {
    let node = &world.spots[place.0].node;
    is_near(world, class, node) && is_apart(world, class, node) && is_let_in(world, class, node)
}

fn domain<'a>(node: &'a Node, term: &PodTerm) -> Option<&'a str> {
    node.shape
        .labels
        .get(&*term.topology_key)
        .map(AsRef::as_ref)
}

/// Whether a term is about pods of `class`, given the labels of their namespace.
fn selects(term: &PodTerm, class: &SchedulingClass, namespace: &Labels) -> bool {
    let by_label = |selector: &LabelSelector| selector.matches(namespace);
    term.selector
        .as_ref()
        .is_some_and(|selector| selector.matches(&class.labels))
        && (term.namespaces.names.contains(&class.namespace)
            || term.namespaces.selector.as_ref().is_some_and(by_label))
}

/// Whether a term of a pod that is there is about pods of `class`.
fn is_about(world: &World, term: &PodTerm, class: &SchedulingClass) -> bool {
    let unknown = Labels::new();
    let labels = world.surroundings.namespaces.get(&class.namespace);
    selects(term, class, labels.unwrap_or(&unknown))
}

/// Whether a term of the pod that is to come is. The scheduler asks it of a namespace without labels,
/// too (`mergeAffinityTermNamespacesIfNotEmpty` works on a copy): what selects that selects every one.
fn is_about_to_come(world: &World, term: &PodTerm, class: &SchedulingClass) -> bool {
    is_about(world, term, class) || selects(term, class, &Labels::new())
}

/// The nodes where pods are whose class is one of `these`; each class is asked once.
fn nodes_with(
    world: &World,
    these: impl Fn(&SchedulingClass) -> bool,
) -> impl Iterator<Item = &Node> {
    let classes = world.classes.iter().enumerate();
    classes
        .filter(move |(_, class)| these(class))
        .flat_map(|(number, _)| world.spots_of(number))
        .map(|spot| &spot.node)
}

/// For each term, a pod that matches *all* of them is in the node's domain. The first of its kind
/// may begin where the node has all the keys.
fn is_near(world: &World, class: &SchedulingClass, node: &Node) -> bool {
    if class.affinity.is_empty() {
        return true;
    }
    let matches_all = |other: &SchedulingClass| {
        class
            .affinity
            .iter()
            .all(|term| is_about_to_come(world, term, other))
    };
    let friends: Vec<&Node> = nodes_with(world, matches_all).collect();
    let has_keys = class
        .affinity
        .iter()
        .all(|term| domain(node, term).is_some());
    let near = class.affinity.iter().all(|term| {
        friends.iter().any(|friend| {
            domain(friend, term).is_some() && domain(friend, term) == domain(node, term)
        })
    });
    let unknown = !friends.iter().any(|friend| {
        class
            .affinity
            .iter()
            .any(|term| domain(friend, term).is_some())
    });
    has_keys && (near || (unknown && matches_all(class)))
}

/// No pod that a term is about is in the node's domain.
fn is_apart(world: &World, class: &SchedulingClass, node: &Node) -> bool {
    class.anti_affinity.iter().all(|term| {
        let here = domain(node, term);
        here.is_none()
            || !nodes_with(world, |other| is_about_to_come(world, term, other))
                .any(|other| domain(other, term) == here)
    })
}

/// No pod in the node's domain wants to be apart from this one.
fn is_let_in(world: &World, class: &SchedulingClass, node: &Node) -> bool {
    !world.apart.iter().any(|number| {
        let terms = &world.classes[*number].anti_affinity;
        terms.iter().any(|term| {
            let here = domain(node, term);
            here.is_some()
                && is_about(world, term, class)
                && world
                    .spots_of(*number)
                    .any(|spot| domain(&spot.node, term) == here)
        })
    })
}
