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

#[test]
fn a_failure_reads_like_advice() {
    let class = class(|class| {
        class.requests = resources(2500, 9 << 30, 1);
        class.requests.extended.insert("example.com/gpu".into(), 2);
        class
            .requests
            .extended
            .insert("hugepages-2Mi".into(), 64 << 20);
    });
    let texts: Vec<String> = failures(&class, &node(|_| {}), &resources(500, 1 << 29, 3))
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(
        texts,
        [
            "insufficient cpu: 2500m asked, 1500m free (more than the node has altogether)",
            "insufficient memory: 9Gi asked, 3584Mi free (more than the node has altogether)",
            "insufficient example.com/gpu: 2 asked, 0 free (more than the node has altogether)",
            "insufficient hugepages-2Mi: 64Mi asked, 0 free (more than the node has altogether)",
        ]
    );
    let short = failures(&self::class(|_| {}), &node(|_| {}), &resources(2000, 0, 0));
    assert_eq!(short[0].to_string(), "insufficient cpu: 500m asked, 0 free");
}

#[test]
fn the_first_taint_that_is_not_tolerated_is_named_and_no_execute_counts() {
    let taint = |key: &str, effect| Taint {
        key: key.into(),
        value: "".into(),
        effect,
    };
    let node = node(|shape| {
        shape.taints = vec![
            taint("soft", TaintEffect::PreferNoSchedule),
            taint("a", TaintEffect::NoSchedule),
            taint("b", TaintEffect::NoExecute),
        ];
    });
    let tolerating = |keys: &[&str]| {
        let tolerations = keys
            .iter()
            .map(|key| Toleration {
                key: Arc::from(*key),
                exists: false,
                value: "".into(),
                effect: None,
            })
            .collect();
        class(|class| class.tolerations = tolerations)
    };
    let none = Resources::default();
    let named = |class: &SchedulingClass| match &failures(class, &node, &none)[..] {
        [Failure::UntoleratedTaint { taint }] => taint.clone(),
        other => panic!("{other:?}"),
    };
    assert_eq!(named(&tolerating(&[])), "a=:NoSchedule");
    assert_eq!(named(&tolerating(&["a"])), "b=:NoExecute");
    // Equal with an empty value tolerates a taint without a value.
    assert!(filters(&tolerating(&["a", "b"]), &node, &none).is_empty());
}

#[test]
fn a_toleration_of_another_effect_does_not_open_a_cordoned_node() {
    let node = node(|shape| shape.unschedulable = true);
    for (effect, open) in [
        (Some(TaintEffect::NoExecute), false),
        (Some(TaintEffect::NoSchedule), true),
        (None, true),
    ] {
        let class = class(|class| {
            class.tolerations = vec![Toleration {
                key: "node.kubernetes.io/unschedulable".into(),
                exists: true,
                value: "".into(),
                effect,
            }];
        });
        let found = filters(&class, &node, &Resources::default());
        assert_eq!(found.is_empty(), open, "{effect:?}");
    }
}

#[test]
fn labels_compare_as_sixty_four_bit_integers() {
    let with = |value: &str, operator, bound: &str| {
        let node = node(|shape| {
            shape.labels = Labels::from([("zone".into(), value.into())]);
        });
        let class = class(|class| {
            class.required_terms = Some(vec![NodeSelectorTerm {
                match_expressions: vec![requirement(operator, &[bound])],
                ..NodeSelectorTerm::default()
            }]);
        });
        filters(&class, &node, &Resources::default()).is_empty()
    };
    assert!(with("05", Operator::Gt, "4"), "05 is 5");
    assert!(!with("05", Operator::Gt, "5"));
    assert!(with("5", Operator::Lt, "6"));
    for label in ["3.5", "abc", "", "9223372036854775808"] {
        assert!(!with(label, Operator::Gt, "1"), "{label:?}");
        assert!(!with(label, Operator::Lt, "100"), "{label:?}");
    }
    assert!(
        !with("5", Operator::Gt, "abc"),
        "a bound that is no integer"
    );
}

#[test]
fn a_term_that_cannot_match_leaves_the_others_their_say() {
    let node = node(|_| {});
    let term = |expression: Requirement| NodeSelectorTerm {
        match_expressions: vec![expression],
        ..NodeSelectorTerm::default()
    };
    let class = class(|class| {
        class.required_terms = Some(vec![
            term(requirement(Operator::Gt, &["abc"])),
            NodeSelectorTerm::default(),
            term(requirement(Operator::In, &["a"])),
        ]);
    });
    assert!(filters(&class, &node, &Resources::default()).is_empty());
}

#[test]
fn expressions_and_fields_of_one_term_must_both_hold() {
    let field = |name: &str| Requirement {
        key: "metadata.name".into(),
        operator: Operator::In,
        values: vec![name.into()],
    };
    let class_for = |zone: &str, name: &str| {
        class(|class| {
            class.required_terms = Some(vec![NodeSelectorTerm {
                match_expressions: vec![requirement(Operator::In, &[zone])],
                match_fields: vec![field(name)],
            }]);
        })
    };
    let none = Resources::default();
    let node = node(|_| {});
    assert!(filters(&class_for("a", "n1"), &node, &none).is_empty());
    for (zone, name) in [("b", "n1"), ("a", "n2")] {
        assert_eq!(
            filters(&class_for(zone, name), &node, &none),
            [Filter::NodeAffinity]
        );
    }
}

#[test]
fn a_node_that_reports_no_pods_takes_none() {
    let node = node(|shape| shape.allocatable = resources(4000, 8 << 30, 0));
    let failures = failures(
        &class(|class| class.requests = resources(0, 0, 1)),
        &node,
        &Resources::default(),
    );
    assert!(matches!(
        &failures[..],
        [Failure::InsufficientResource { resource, .. }] if resource == "pods"
    ));
}

#[test]
fn an_extended_resource_asked_for_as_zero_is_not_asked_for() {
    let class = class(|class| {
        class.requests.extended.insert("example.com/gpu".into(), 0);
    });
    assert!(filters(&class, &node(|_| {}), &Resources::default()).is_empty());
}

proptest::proptest! {
    /// The quick count is what asking one by one gives.
    #[test]
    fn counting_at_once_equals_asking_one_by_one(
        asked in (0..900_i64, 0..900_i64, 0..3_i64, 0..4_i64),
        has in (0..4000_i64, 0..4000_i64, 0..12_i64, 0..9_i64),
        used in (0..5000_i64, 0..5000_i64, 0..14_i64, 0..11_i64),
        most in 0..30_u32,
    ) {
        let amounts = |(cpu, memory, pods, gpus)| {
            let mut amounts = resources(cpu, memory, pods);
            amounts.extended.insert("example.com/gpu".into(), gpus);
            amounts
        };
        let class = class(|class| class.requests = amounts(asked));
        let node = node(|shape| shape.allocatable = amounts(has));
        let mut requested = amounts(used);
        let counted = crate::how_many(&class, &node, &requested, most);
        let mut asked_one_by_one = 0;
        while asked_one_by_one < most && fits(&class, &node, &requested) {
            requested.add(&class.requests);
            asked_one_by_one += 1;
        }
        proptest::prop_assert_eq!(counted, asked_one_by_one);
    }
}
