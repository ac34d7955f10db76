use std::sync::Arc;

use model::{
    Labels, Node, NodeName, NodeSelectorTerm, NodeShape, Operator, Requirement, Resources,
    SchedulingClass, Taint, TaintEffect, Toleration,
};

use crate::{Failure, Filter, failures, fits};

fn resources(cpu_milli: i64, memory: i64, pods: i64) -> Resources {
    Resources {
        cpu_milli,
        memory,
        pods,
        ..Resources::default()
    }
}

fn node(change: impl FnOnce(&mut NodeShape)) -> Node {
    let mut shape = NodeShape {
        labels: Labels::from([("zone".into(), "a".into())]),
        allocatable: resources(2000, 4 << 30, 110),
        ..NodeShape::default()
    };
    change(&mut shape);
    Node {
        name: NodeName::new("n1"),
        uid: None,
        shape: Arc::new(shape),
        ready: true,
        created_at: None,
        defect: None,
    }
}

fn class(change: impl FnOnce(&mut SchedulingClass)) -> SchedulingClass {
    let mut class = SchedulingClass {
        requests: resources(500, 1 << 30, 1),
        ..SchedulingClass::default()
    };
    change(&mut class);
    class
}

fn filters(class: &SchedulingClass, node: &Node, requested: &Resources) -> Vec<Filter> {
    let found: Vec<Filter> = failures(class, node, requested)
        .iter()
        .map(Failure::filter)
        .collect();
    assert_eq!(found.is_empty(), fits(class, node, requested), "fast path");
    found
}

fn requirement(operator: Operator, values: &[&str]) -> Requirement {
    Requirement {
        key: "zone".into(),
        operator,
        values: values.iter().map(|v| Arc::from(*v)).collect(),
    }
}

#[test]
fn an_ordinary_pod_fits_an_ordinary_node() {
    assert!(filters(&class(|_| {}), &node(|_| {}), &Resources::default()).is_empty());
}

#[test]
fn all_failing_filters_are_named_not_only_the_first() {
    let node = node(|shape| {
        shape.unschedulable = true;
        shape.taints = vec![Taint {
            key: "dedicated".into(),
            value: "web".into(),
            effect: TaintEffect::NoExecute,
        }];
    });
    let class = class(|class| {
        class.node_name = Some(NodeName::new("other"));
        class.node_selector = vec![requirement(Operator::In, &["b"])];
        class.requests = resources(5000, 1, 1);
    });
    assert_eq!(
        filters(&class, &node, &Resources::default()),
        [
            Filter::NodeUnschedulable,
            Filter::NodeName,
            Filter::TaintToleration,
            Filter::NodeAffinity,
            Filter::NodeResourcesFit
        ]
    );
}

#[test]
fn a_cordoned_node_takes_pods_that_tolerate_its_taint() {
    let node = node(|shape| shape.unschedulable = true);
    let tolerant = class(|class| {
        class.tolerations = vec![Toleration {
            key: "node.kubernetes.io/unschedulable".into(),
            exists: true,
            value: "".into(),
            effect: Some(TaintEffect::NoSchedule),
        }];
    });
    assert!(filters(&tolerant, &node, &Resources::default()).is_empty());
}

#[test]
fn a_preferred_taint_keeps_nobody_away() {
    let node = node(|shape| {
        shape.taints = vec![Taint {
            key: "k".into(),
            value: "".into(),
            effect: TaintEffect::PreferNoSchedule,
        }];
    });
    assert!(filters(&class(|_| {}), &node, &Resources::default()).is_empty());
}

#[test]
fn selector_and_affinity_must_both_match_and_terms_are_alternatives() {
    let term = |operator, values: &[&str]| NodeSelectorTerm {
        match_expressions: vec![requirement(operator, values)],
        ..NodeSelectorTerm::default()
    };
    let with = |terms| class(|class| class.required_terms = Some(terms));
    let node = node(|_| {});
    let none = Resources::default();
    let either = with(vec![
        term(Operator::In, &["b"]),
        term(Operator::Exists, &[]),
    ]);
    assert!(filters(&either, &node, &none).is_empty());
    let both = class(|class| {
        class.node_selector = vec![requirement(Operator::In, &["b"])];
        class.required_terms = Some(vec![term(Operator::Exists, &[])]);
    });
    assert_eq!(filters(&both, &node, &none), [Filter::NodeAffinity]);
    assert_eq!(filters(&with(vec![]), &node, &none), [Filter::NodeAffinity]);
    let empty = with(vec![NodeSelectorTerm::default()]);
    assert_eq!(filters(&empty, &node, &none), [Filter::NodeAffinity]);
}

#[test]
fn exactly_what_is_left_fits_and_one_more_does_not() {
    let node = node(|_| {});
    let pod = class(|_| {});
    assert!(filters(&pod, &node, &resources(1500, 3 << 30, 109)).is_empty());
    assert_eq!(
        filters(&pod, &node, &resources(1501, 0, 0)),
        [Filter::NodeResourcesFit]
    );
    assert_eq!(
        filters(&pod, &node, &resources(0, 0, 110)),
        [Filter::NodeResourcesFit]
    );
}

#[test]
fn what_is_not_asked_for_does_not_count_even_when_overcommitted() {
    let node = node(|_| {});
    let best_effort = class(|class| class.requests = resources(0, 0, 1));
    assert!(filters(&best_effort, &node, &resources(9999, 9 << 30, 5)).is_empty());
}

#[test]
fn an_extended_resource_a_node_does_not_have_is_insufficient() {
    let gpu = class(|class| {
        class.requests.extended.insert("example.com/gpu".into(), 1);
    });
    let failures = failures(&gpu, &node(|_| {}), &Resources::default());
    assert!(matches!(
        &failures[..],
        [Failure::InsufficientResource { resource, exceeds_capacity: true, .. }]
            if resource == "example.com/gpu"
    ));
}
