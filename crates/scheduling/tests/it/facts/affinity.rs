//! InterPodAffinity.

use model::{Operator, PodTerm, SchedulingClass};
use scheduling::Failure;

use crate::cluster::{Cluster, HOSTNAME, ZONE, node, pod, requirement, selector, term};

fn two_zones() -> Cluster {
    Cluster::of([
        node("n1", &format!("{ZONE}=a {HOSTNAME}=n1")),
        node("n2", &format!("{ZONE}=b {HOSTNAME}=n2")),
    ])
}

fn near(words: &str, terms: Vec<PodTerm>) -> SchedulingClass {
    pod("a", words, |class| class.affinity = terms)
}

fn apart(namespace: &str, words: &str, terms: Vec<PodTerm>) -> SchedulingClass {
    pod(namespace, words, |class| class.anti_affinity = terms)
}

#[test]
fn f06_a_pod_helps_only_if_it_matches_all_terms_but_forbids_by_any() {
    let terms = || vec![term("app=x", &["a"], ZONE), term("tier=f", &["a"], ZONE)];
    let cluster = two_zones()
        .runs("n1", pod("a", "app=x", |_| {}))
        .runs("n1", pod("a", "tier=f", |_| {}))
        .runs("n2", pod("a", "app=x tier=f", |_| {}));
    assert_eq!(cluster.hosts(near("app=y", terms())), ["n2"]);
    assert_eq!(
        cluster.reasons(near("app=y", terms()), "n1"),
        [Failure::NoAffinePod {
            key: ZONE.into(),
            domain: "a".into()
        }]
    );
    let cluster = two_zones().runs("n1", pod("a", "tier=f", |_| {}));
    assert_eq!(cluster.hosts(apart("a", "app=y", terms())), ["n2"]);
}

#[test]
fn f07_a_matching_pod_on_a_node_without_the_key_does_not_exist() {
    let cluster = Cluster::of([node("bare", ""), node("n1", &format!("{ZONE}=a"))])
        .runs("bare", pod("a", "app=x", |_| {}));
    let own_kind = near("app=x", vec![term("app=x", &["a"], ZONE)]);
    assert_eq!(
        cluster.hosts(own_kind),
        ["n1"],
        "it is the first of its group"
    );
    let another = near("app=y", vec![term("app=x", &["a"], ZONE)]);
    assert!(cluster.hosts(another).is_empty());
}

#[test]
fn f08_the_first_of_a_group_may_run_wherever_all_keys_are() {
    let own_kind = |namespace: &str| {
        near(
            "app=x",
            vec![
                term("app=x", &[namespace], ZONE),
                term("app=x", &[namespace], HOSTNAME),
            ],
        )
    };
    let cluster = Cluster::of([
        node("n1", &format!("{ZONE}=a {HOSTNAME}=n1")),
        node("n2", &format!("{ZONE}=a")),
    ]);
    assert_eq!(cluster.hosts(own_kind("a")), ["n1"]);
    assert_eq!(
        cluster.reasons(own_kind("a"), "n2"),
        [
            Failure::MissingAffinityKey {
                key: HOSTNAME.into()
            },
            Failure::NoAffinePod {
                key: ZONE.into(),
                domain: "a".into()
            }
        ]
    );
    assert!(cluster.hosts(own_kind("b")).is_empty(), "not of its group");
    // With a second one anywhere it is not the first.
    let cluster = two_zones().runs("n2", pod("a", "app=x", |_| {}));
    assert_eq!(cluster.hosts(own_kind("a")), ["n2"]);
}

#[test]
fn f09_a_running_pods_rule_is_asked_with_the_labels_of_the_new_pods_namespace() {
    let mut of_team = term("app=x", &[], ZONE);
    of_team.namespaces.selector = Some(selector("team=r"));
    let cluster = two_zones()
        .namespace("r", "team=r")
        .namespace("s", "team=s")
        .runs("n1", apart("a", "", vec![of_team]));
    let hosts = |namespace| cluster.hosts(pod(namespace, "app=x", |_| {}));
    assert_eq!(hosts("r"), ["n2"]);
    assert_eq!(hosts("s"), ["n1", "n2"]);
    assert_eq!(
        cluster.reasons(pod("r", "app=x", |_| {}), "n1"),
        [Failure::ForbiddenByPod {
            key: ZONE.into(),
            domain: "a".into()
        }]
    );
}

#[test]
fn f09_an_empty_namespace_selector_is_every_namespace_and_no_label_selector_no_pod() {
    let mut everywhere = term("app=x", &[], ZONE);
    everywhere.namespaces.selector = Some(selector(""));
    let cluster = two_zones().runs("n1", pod("elsewhere", "app=x", |_| {}));
    assert_eq!(
        cluster.hosts(apart("a", "", vec![everywhere.clone()])),
        ["n2"]
    );
    everywhere.selector = None;
    assert_eq!(
        cluster.hosts(apart("a", "", vec![everywhere])),
        ["n1", "n2"]
    );
    let own = term("app=x", &["a"], ZONE);
    assert_eq!(cluster.hosts(apart("a", "", vec![own])), ["n1", "n2"]);
}

#[test]
fn a_namespace_that_is_not_there_has_no_labels() {
    let mut not_team = term("app=x", &[], ZONE);
    let without = requirement("team", Operator::DoesNotExist, &[]);
    not_team.namespaces.selector = Some(model::LabelSelector {
        requirements: vec![without],
    });
    let cluster = two_zones()
        .namespace("r", "team=r")
        .runs("n1", apart("a", "", vec![not_team]));
    assert_eq!(cluster.hosts(pod("r", "app=x", |_| {})), ["n1", "n2"]);
    assert_eq!(cluster.hosts(pod("gone", "app=x", |_| {})), ["n2"]);
}

#[test]
fn an_own_term_whose_namespace_selector_matches_no_labels_matches_every_namespace() {
    // The scheduler forgets to forget the selector once it has listed the namespaces.
    let mut not_team = term("app=x", &[], ZONE);
    let without = requirement("team", Operator::DoesNotExist, &[]);
    not_team.namespaces.selector = Some(model::LabelSelector {
        requirements: vec![without],
    });
    let cluster = two_zones()
        .namespace("r", "team=r")
        .runs("n1", pod("r", "app=x", |_| {}));
    assert_eq!(cluster.hosts(apart("a", "", vec![not_team])), ["n2"]);
}

#[test]
fn f05_pods_that_end_count_between_pods() {
    let cluster = two_zones().ends("n1", pod("a", "app=x", |_| {}));
    let terms = || vec![term("app=x", &["a"], ZONE)];
    assert_eq!(cluster.hosts(apart("a", "", terms())), ["n2"]);
    assert_eq!(cluster.hosts(near("", terms())), ["n1"]);
    let cluster = two_zones().ends("n1", apart("a", "", terms()));
    assert_eq!(cluster.hosts(pod("a", "app=x", |_| {})), ["n2"]);
}

#[test]
fn f27_two_nodes_with_one_hostname_label_are_one_domain() {
    let cluster = Cluster::of([
        node("n1", &format!("{HOSTNAME}=same")),
        node("n2", &format!("{HOSTNAME}=same")),
        node("n3", &format!("{HOSTNAME}=n3")),
    ])
    .runs("n1", pod("a", "app=x", |_| {}));
    let alone = apart("a", "app=x", vec![term("app=x", &["a"], HOSTNAME)]);
    assert_eq!(cluster.hosts(alone), ["n3"]);
}

#[test]
fn anti_affinity_does_not_reach_nodes_without_the_key() {
    let cluster = Cluster::of([node("bare", ""), node("n1", &format!("{ZONE}=a"))])
        .runs("bare", pod("a", "app=x", |_| {}))
        .runs("bare", apart("a", "", vec![term("app=y", &["a"], ZONE)]));
    let terms = vec![term("app=x", &["a"], ZONE)];
    assert_eq!(cluster.hosts(apart("a", "app=y", terms)), ["bare", "n1"]);
}
