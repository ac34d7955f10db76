//! NodeUnschedulable, NodeName, TaintToleration, NodeAffinity, NodeDeclaredFeatures.

use model::{
    NodeName, NodeSelectorTerm, NodeShape, Operator, SchedulingClass, Taint, TaintEffect,
    Toleration, UnevaluatedRule,
};
use scheduling::{Failure, Filter};

use crate::cluster::{Cluster, HOSTNAME, expressions, node, node_with, pod, requirement};

fn tolerating(key: &str, effect: Option<TaintEffect>) -> SchedulingClass {
    pod("a", "", |class| {
        class.tolerations = vec![Toleration {
            key: key.into(),
            exists: false,
            value: "".into(),
            effect,
        }];
    })
}

fn changed(change: impl FnOnce(&mut NodeShape)) -> Cluster {
    Cluster::of([node_with("n1", "", change)])
}

#[test]
fn f17_labels_compare_as_whole_numbers_of_64_bits() {
    let fits = |label: &str, operator, bound: &str| {
        let affine = pod("a", "", |class| {
            let broken = expressions(vec![requirement("gen", Operator::Gt, &["abc"])]);
            let term = expressions(vec![requirement("gen", operator, &[bound])]);
            class.required_terms = Some(vec![broken, term]);
        });
        let cluster = Cluster::of([node("n1", &format!("gen={label}"))]);
        !cluster.hosts(affine).is_empty()
    };
    assert!(fits("05", Operator::Gt, "4"));
    assert!(!fits("05", Operator::Gt, "5"));
    assert!(fits("5", Operator::Lt, "6"), "the other term still works");
    for label in ["3.5", "abc", "9223372036854775808"] {
        assert!(!fits(label, Operator::Gt, "1"), "{label}");
        assert!(!fits(label, Operator::Lt, "9"), "{label}");
    }
}

#[test]
fn f18_equal_with_an_empty_value_tolerates_a_taint_without_one() {
    let cluster = changed(|shape| {
        shape.taints = vec![Taint {
            key: "k".into(),
            value: "".into(),
            effect: TaintEffect::NoExecute,
        }];
    });
    assert_eq!(cluster.hosts(tolerating("k", None)), ["n1"]);
    let alike = Cluster::of([
        node("n1", ""),
        node_with("n2", "", |shape| {
            shape.taints = vec![Taint {
                key: "k".into(),
                value: "".into(),
                effect: TaintEffect::NoSchedule,
            }];
        }),
    ]);
    assert_eq!(alike.hosts(pod("a", "", |_| {})), ["n1"]);
    assert_eq!(
        cluster.refusals(tolerating("k", Some(TaintEffect::NoSchedule))),
        [[Filter::TaintToleration]]
    );
}

#[test]
fn f18_a_cordon_asks_for_a_toleration_of_no_schedule() {
    const KEY: &str = "node.kubernetes.io/unschedulable";
    let cluster = changed(|shape| shape.unschedulable = true);
    assert_eq!(cluster.hosts(tolerating(KEY, None)), ["n1"]);
    assert_eq!(
        cluster.hosts(tolerating(KEY, Some(TaintEffect::NoSchedule))),
        ["n1"]
    );
    assert_eq!(
        cluster.refusals(tolerating(KEY, Some(TaintEffect::NoExecute))),
        [[Filter::NodeUnschedulable]]
    );
}

#[test]
fn f19_a_node_that_is_not_ready_takes_pods_as_long_as_no_taint_says_so() {
    let mut node = node("n1", "");
    node.ready = false;
    assert_eq!(Cluster::of([node]).hosts(pod("a", "", |_| {})), ["n1"]);
}

#[test]
fn f20_a_feature_must_be_declared() {
    let needy = || {
        pod("a", "", |class| {
            class.features = ["RestartAllContainersOnContainerExits".into()].into();
        })
    };
    assert_eq!(
        changed(|_| {}).reasons(needy(), "n1"),
        [Failure::MissingFeature {
            feature: "RestartAllContainersOnContainerExits".into()
        }]
    );
    let declaring = changed(|shape| {
        shape.features = ["RestartAllContainersOnContainerExits".into()].into();
    });
    assert_eq!(declaring.hosts(needy()), ["n1"]);
    // Nodes that are alike in everything else.
    let both = Cluster::of([
        node("n1", ""),
        node_with("n2", "", |shape| {
            shape.features = ["RestartAllContainersOnContainerExits".into()].into();
        }),
    ]);
    assert_eq!(both.hosts(needy()), ["n2"]);
}

#[test]
fn names_and_hostnames_are_asked_node_by_node_though_shapes_are_equal() {
    let nodes = ["n1", "n2", "n3"].map(|name| node(name, &format!("{HOSTNAME}={name} pool=p")));
    let cluster = Cluster::of(nodes);
    let by_name = |name: &str| {
        pod("a", "", |class| {
            class.required_terms = Some(vec![NodeSelectorTerm {
                match_expressions: vec![requirement("pool", Operator::Exists, &[])],
                match_fields: vec![requirement("metadata.name", Operator::In, &[name])],
            }]);
        })
    };
    assert_eq!(cluster.hosts(by_name("n2")), ["n2"]);
    let by_hostname = pod("a", "", |class| {
        class.node_selector = vec![requirement(HOSTNAME, Operator::In, &["n3"])];
    });
    assert_eq!(cluster.hosts(by_hostname.clone()), ["n3"]);
    let by_term = pod("a", "", |class| {
        let term = requirement(HOSTNAME, Operator::NotIn, &["n3"]);
        class.required_terms = Some(vec![expressions(vec![term])]);
    });
    assert_eq!(cluster.hosts(by_term), ["n1", "n2"]);
    let by_node_name = pod("a", "", |class| class.node_name = Some(NodeName::new("n1")));
    assert_eq!(cluster.hosts(by_node_name), ["n1"]);
    assert_eq!(
        cluster.reasons(by_hostname, "n1"),
        [Failure::SelectorMismatch {
            wanted: format!("{HOSTNAME}=n3"),
            found: Some("n1".into())
        }]
    );
}

#[test]
fn a_copy_of_a_node_has_its_name_for_a_hostname() {
    let mut snapshot = Cluster::default().snapshot();
    let origin = node("template", &format!("{HOSTNAME}=template pool=p"));
    let by_hostname = |name: &str| {
        std::sync::Arc::new(pod("a", "", |class| {
            class.node_selector = vec![requirement(HOSTNAME, Operator::In, &[name])];
        }))
    };
    let wanted = snapshot.class(&by_hostname("copy-2"));
    let first = snapshot.add_copy(&origin, NodeName::new("copy-1"));
    let second = snapshot.add_copy(&origin, NodeName::new("copy-2"));
    assert!(!snapshot.fits(wanted, first) && snapshot.fits(wanted, second));
    assert_eq!(snapshot.label(second, HOSTNAME), Some("copy-2"));
    assert_eq!(snapshot.label(second, "pool"), Some("p"));
}

#[test]
fn a_rule_that_is_not_evaluated_is_refused_everywhere() {
    let claiming = pod("a", "", |class| {
        class.unevaluated = [UnevaluatedRule::ResourceClaims].into();
    });
    assert_eq!(
        changed(|_| {}).refusals(claiming),
        [[Filter::DynamicResources]]
    );
}
