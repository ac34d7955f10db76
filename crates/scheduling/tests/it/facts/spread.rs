//! PodTopologySpread.

use model::{InclusionPolicy, Operator, SchedulingClass, Taint, TaintEffect};
use scheduling::{Failure, Filter};

use crate::cluster::{Cluster, HOSTNAME, ZONE, node, node_with, pod, requirement, spread};

/// One node a zone.
fn zones(words: &str) -> Cluster {
    let nodes = words.split_whitespace().map(|zone| {
        node(
            &format!("n-{zone}"),
            &format!("{ZONE}={zone} {HOSTNAME}=n-{zone}"),
        )
    });
    Cluster::of(nodes.collect::<Vec<_>>())
}

fn spreading(change: impl FnOnce(&mut SchedulingClass)) -> SchedulingClass {
    pod("a", "app=x", |class| {
        class.spread = vec![spread(ZONE, "app=x")];
        change(class);
    })
}

fn web() -> SchedulingClass {
    pod("a", "app=x", |_| {})
}

#[test]
fn a_fuller_domain_is_refused_and_the_emptiest_taken() {
    let cluster = zones("a b").runs("n-a", web());
    assert_eq!(cluster.hosts(spreading(|_| {})), ["n-b"]);
    assert_eq!(
        cluster.reasons(spreading(|_| {}), "n-a"),
        [Failure::UnevenSpread {
            key: ZONE.into(),
            domain: "a".into(),
            pods: 1,
            minimum: 0,
            max_skew: 1
        }]
    );
}

#[test]
fn f01_an_empty_selector_never_blocks_nor_does_none_but_exists_does() {
    let cluster = zones("a b").runs("n-a", web()).runs("n-a", web());
    let with = |change: &dyn Fn(&mut model::SpreadConstraint)| {
        cluster.hosts(spreading(|class| change(&mut class.spread[0])))
    };
    assert_eq!(
        with(&|constraint| constraint.selector.as_mut().unwrap().requirements.clear()),
        ["n-a", "n-b"]
    );
    assert_eq!(
        with(&|constraint| constraint.selector = None),
        ["n-a", "n-b"]
    );
    let exists = requirement("app", Operator::Exists, &[]);
    assert_eq!(
        with(&|c| c.selector.as_mut().unwrap().requirements = vec![exists.clone()]),
        ["n-b"]
    );
}

#[test]
fn f02_only_nodes_with_the_keys_of_all_constraints_count_for_any() {
    // The third zone is empty, but its node lacks the rack.
    let cluster = Cluster::of([
        node("n1", &format!("{ZONE}=a rack=r1")),
        node("n2", &format!("{ZONE}=b rack=r2")),
        node("n3", &format!("{ZONE}=c")),
    ])
    .runs("n1", web())
    .runs("n2", web());
    let both = spreading(|class| class.spread.push(spread("rack", "app=y")));
    assert_eq!(cluster.hosts(both.clone()), ["n1", "n2"]);
    assert_eq!(cluster.hosts(spreading(|_| {})), ["n3"]);
    assert_eq!(
        cluster.reasons(both, "n3"),
        [Failure::MissingSpreadKey { key: "rack".into() }]
    );
    // Of a constraint that is only preferred the key does not matter.
    let preferred = spreading(|class| class.preferences.spread.push(spread("rack", "app=y")));
    assert_eq!(cluster.hosts(preferred), ["n3"]);
}

#[test]
fn f03_min_domains_counts_domains_that_the_policies_leave_in() {
    let cluster = zones("a b").runs("n-a", web()).runs("n-b", web());
    let least = |domains, zones: &'static [&'static str]| {
        spreading(|class| {
            class.spread[0].min_domains = domains;
            class.node_selector = vec![requirement(ZONE, Operator::In, zones)];
        })
    };
    assert_eq!(cluster.hosts(least(2, &["a", "b"])), ["n-a", "n-b"]);
    assert!(cluster.hosts(least(3, &["a", "b"])).is_empty());
    assert!(cluster.hosts(least(2, &["a"])).is_empty());
    let ignoring = spreading(|class| {
        class.spread[0].min_domains = 2;
        class.spread[0].node_affinity_policy = InclusionPolicy::Ignore;
        class.node_selector = vec![requirement(ZONE, Operator::In, &["a"])];
    });
    assert_eq!(cluster.hosts(ignoring), ["n-a"]);
}

#[test]
fn f03_a_node_that_does_not_count_is_judged_by_what_its_domain_counts() {
    // The affinity leaves zone b out: its pods do not count, its domain is at none.
    let cluster = zones("a b")
        .runs("n-a", web())
        .runs("n-b", web())
        .runs("n-b", web());
    let picky = spreading(|class| {
        class.node_selector = vec![requirement(ZONE, Operator::In, &["a"])];
    });
    assert_eq!(
        cluster.refusals(picky),
        [vec![], vec![Filter::NodeAffinity]]
    );
}

#[test]
fn f04_taints_policy_looks_at_hard_taints_and_not_at_cordons() {
    let tainted = |effect| {
        let full = node("n1", &format!("{ZONE}=a"));
        let empty = node_with("n2", &format!("{ZONE}=b"), |shape| {
            shape.unschedulable = true;
            if let Some(effect) = effect {
                shape.taints = vec![Taint {
                    key: "k".into(),
                    value: "".into(),
                    effect,
                }];
            }
        });
        let honouring =
            spreading(|class| class.spread[0].node_taints_policy = InclusionPolicy::Honor);
        let refusals = Cluster::of([full, empty])
            .runs("n1", web())
            .refusals(honouring);
        refusals[0].is_empty()
    };
    assert!(!tainted(None), "a cordoned node is still an empty domain");
    assert!(!tainted(Some(TaintEffect::PreferNoSchedule)));
    assert!(tainted(Some(TaintEffect::NoSchedule)));
    assert!(tainted(Some(TaintEffect::NoExecute)));
}

#[test]
fn f05_pods_that_end_do_not_count() {
    let cluster = zones("a b").ends("n-a", web());
    assert_eq!(cluster.hosts(spreading(|_| {})), ["n-a", "n-b"]);
}

#[test]
fn only_pods_of_the_own_namespace_count_and_itself_only_if_it_matches() {
    let other = pod("b", "app=x", |_| {});
    let cluster = zones("a b").runs("n-a", other);
    assert_eq!(cluster.hosts(spreading(|_| {})), ["n-a", "n-b"]);
    let cluster = zones("a b").runs("n-a", web());
    let stranger = pod("a", "app=y", |class| {
        class.spread = vec![spread(ZONE, "app=x")];
    });
    assert_eq!(cluster.hosts(stranger), ["n-a", "n-b"]);
}
