//! Laws that hold for every cluster: tentative changes leave no trace, numbers kept up to date are
//! those counted anew, the quick answers are the slow ones.

use std::{collections::BTreeMap, sync::Arc};

use model::{
    InclusionPolicy, Node, NodeName, NodeSelectorTerm, NodeShape, Operator, PodTerm, Protocol,
    SchedulingClass, Surroundings, Taint, TaintEffect, Toleration,
    storage::{AccessMode, DiskId, InlineDisk},
};
use proptest::prelude::*;
use scheduling::{Failure, NodeId, PlacedPods, Snapshot};

use crate::cluster::{
    Cluster, HOSTNAME, ZONE, claim_use, expressions, labels, node, node_with, pod, port,
    requirement, selector, spread, term,
};

const NODES: usize = 6;
const CLASSES: usize = 8;
const SHAPES: usize = 5;

/// A few kinds of nodes; the hostname label comes with the name.
fn shaped(name: &str, kind: usize) -> Node {
    let host = format!("{HOSTNAME}={name}");
    match kind {
        0 => node(name, &format!("{host} {ZONE}=a rack=r1")),
        1 => node(name, &format!("{host} {ZONE}=b rack=r1")),
        2 => node_with(name, &format!("{host} {ZONE}=b"), |shape| {
            shape.taints = vec![Taint {
                key: "dedicated".into(),
                value: "".into(),
                effect: TaintEffect::NoSchedule,
            }];
            shape.allocatable.pods = 3;
        }),
        3 => node_with(name, "rack=r2", |shape| {
            shape.allocatable.extended.insert("gpu".into(), 2);
        }),
        _ => node_with(name, &format!("{host} {ZONE}=c rack=r2"), |shape| {
            shape.allocatable.cpu_milli = 500;
            shape.unschedulable = true;
        }),
    }
}

fn surroundings() -> Surroundings {
    let mut cluster = Cluster::default()
        .namespace("a", "team=r")
        .claim("bound", |claim| {
            claim.volume = Some("v1".into());
            claim.bind_completed = true;
        })
        .claim("alone", |claim| {
            claim.volume = Some("v2".into());
            claim.bind_completed = true;
            claim.access_modes = vec![AccessMode::ReadWriteOncePod];
        })
        .claim("waiting", |claim| claim.class = Some("wait".into()))
        .class("wait", |_| {})
        .volume("v1", |volume| {
            volume.node_affinity = Some(vec![expressions(vec![requirement(
                HOSTNAME,
                Operator::In,
                &["n0", "n1"],
            )])]);
        })
        .volume("v2", |volume| {
            volume.labels = labels(&format!("{ZONE}=a__b"));
        });
    for name in 0..NODES {
        cluster = cluster.limit(&format!("n{name}"), Some(1));
    }
    cluster.surroundings
}

fn any_term() -> impl Strategy<Value = PodTerm> {
    let words = prop::sample::select(vec!["", "app=x", "app=y", "app=x tier=f"]);
    let key = prop::sample::select(vec![HOSTNAME, ZONE, "rack", "nowhere"]);
    let scope = 0..5;
    (words, key, scope).prop_map(|(words, key, scope)| {
        let mut term = term(words, &["a"], key);
        match scope {
            0 => term.namespaces.names = ["b".into()].into(),
            1 => term.namespaces.selector = Some(selector("")),
            2 => term.namespaces.selector = Some(selector("team=r")),
            3 => {
                let mut selector = selector("");
                selector
                    .requirements
                    .push(requirement("team", Operator::NotIn, &["r"]));
                term.namespaces.selector = Some(selector);
            }
            _ => {}
        }
        term
    })
}

fn any_spread() -> impl Strategy<Value = model::SpreadConstraint> {
    let key = prop::sample::select(vec![HOSTNAME, ZONE, "rack"]);
    let words = prop::sample::select(vec!["", "app=x", "app=y"]);
    (key, words, 1..3_i32, 1..4_i32, any::<[bool; 3]>()).prop_map(
        |(key, words, max_skew, min_domains, [affinity, taints, absent])| {
            let mut constraint = spread(key, words);
            constraint.max_skew = max_skew;
            constraint.min_domains = min_domains;
            if affinity {
                constraint.node_affinity_policy = InclusionPolicy::Ignore;
            }
            if taints {
                constraint.node_taints_policy = InclusionPolicy::Honor;
            }
            if absent && words.is_empty() {
                constraint.selector = None;
            }
            constraint
        },
    )
}

/// What a class has besides rules between pods.
fn equip(class: &mut SchedulingClass, extra: u32) {
    match extra {
        0 => class.node_selector = vec![requirement(ZONE, Operator::In, &["b"])],
        1 => {
            class.required_terms = Some(vec![
                NodeSelectorTerm {
                    match_expressions: Vec::new(),
                    match_fields: vec![requirement("metadata.name", Operator::In, &["n1"])],
                },
                expressions(vec![requirement(HOSTNAME, Operator::In, &["n2", "n3"])]),
            ]);
        }
        2 => {
            class.tolerations = vec![Toleration {
                key: "".into(),
                exists: true,
                value: "".into(),
                effect: None,
            }];
        }
        3 => class.host_ports = vec![port(Protocol::Tcp, "0.0.0.0", 80)],
        4 => class.claims = vec![claim_use("bound")],
        5 => class.claims = vec![claim_use("alone")],
        6 => class.claims = vec![claim_use("waiting")],
        7 => {
            class.disks = vec![InlineDisk {
                id: DiskId::Gce("disk".into()),
                read_only: class.labels.is_empty(),
            }];
        }
        8 => {
            class.requests.extended.insert("gpu".into(), 1);
        }
        9 => class.claims = vec![claim_use("missing")],
        _ => {}
    }
}

fn any_class() -> impl Strategy<Value = Arc<SchedulingClass>> {
    (
        prop::sample::select(vec!["a", "b", "c"]),
        prop::sample::select(vec!["", "app=x", "app=y", "app=x tier=f"]),
        0..300_i64,
        0..14_u32,
        prop::collection::vec(any_spread(), 0..3),
        prop::collection::vec(any_term(), 0..3),
        prop::collection::vec(any_term(), 0..3),
        0..4_u32,
    )
        .prop_map(
            |(namespace, words, cpu, extra, spread, near, apart, rules)| {
                Arc::new(pod(namespace, words, |class| {
                    class.requests.cpu_milli = cpu;
                    equip(class, extra);
                    match rules {
                        0 => class.spread = spread,
                        1 => class.affinity = near,
                        2 => class.anti_affinity = apart,
                        _ => (class.spread, class.anti_affinity) = (spread, apart),
                    }
                }))
            },
        )
}

#[derive(Clone, Debug)]
enum Change {
    Place(usize, usize, bool, u32),
    Displace(usize, usize, bool),
    Add(usize, usize),
    Copy(usize, usize),
    Remove(usize),
    Reshape(usize, usize),
    Fork,
    Commit,
    Revert,
}

/// A change that sets and takes no mark.
fn plain() -> impl Strategy<Value = Change> {
    prop_oneof![
        6 => (0..NODES, 0..CLASSES, any::<bool>(), 1..4_u32)
            .prop_map(|(n, c, ends, count)| Change::Place(n, c, ends && count == 1, count)),
        3 => (0..NODES, 0..CLASSES, any::<bool>())
            .prop_map(|(n, c, ends)| Change::Displace(n, c, ends)),
        2 => (0..NODES, 0..SHAPES).prop_map(|(n, s)| Change::Add(n, s)),
        2 => (0..NODES, 0..SHAPES).prop_map(|(n, s)| Change::Copy(n, s)),
        2 => (0..NODES).prop_map(Change::Remove),
        1 => (0..NODES, 0..SHAPES).prop_map(|(n, s)| Change::Reshape(n, s)),
    ]
}

fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        12 => plain(),
        1 => Just(Change::Fork),
        1 => Just(Change::Commit),
        1 => Just(Change::Revert),
    ]
}

/// A snapshot, and beside it what it should hold, kept the plain way.
struct Pair {
    snapshot: Snapshot,
    classes: Vec<Arc<SchedulingClass>>,
}

impl Pair {
    fn new(classes: &[Arc<SchedulingClass>]) -> Self {
        let nodes = (0..3).map(|index| shaped(&format!("n{index}"), index));
        let mut snapshot = Snapshot::new(nodes, [], Arc::new(surroundings()));
        // Half of the classes come later, when pods are placed already.
        snapshot.classes(&classes[..classes.len() / 2]);
        Self {
            snapshot,
            classes: classes.to_vec(),
        }
    }

    fn node(&self, index: usize) -> Option<NodeId> {
        self.snapshot.node(&NodeName::new(format!("n{index}")))
    }

    fn apply(&mut self, change: &Change) {
        let name = |index: &usize| format!("n{index}");
        match change {
            Change::Place(node, class, terminating, count) => {
                let class = self.snapshot.class(&self.classes[*class]);
                if let Some(node) = self.node(*node) {
                    self.snapshot.place_many(node, class, *terminating, *count);
                }
            }
            Change::Displace(node, class, terminating) => {
                let class = self.snapshot.class(&self.classes[*class]);
                if let Some(node) = self.node(*node) {
                    self.snapshot.displace(node, class, *terminating);
                }
            }
            Change::Add(node, kind) => {
                self.snapshot.add_node(shaped(&name(node), *kind));
            }
            Change::Copy(node, kind) => {
                // All nodes take equally many volumes.
                let origin = shaped("n0", *kind);
                self.snapshot.add_copy(&origin, NodeName::new(name(node)));
            }
            Change::Remove(node) => {
                if let Some(node) = self.node(*node) {
                    self.snapshot.remove_node(node);
                }
            }
            Change::Reshape(node, kind) => {
                if let Some(id) = self.node(*node) {
                    let shape = shaped(&name(node), *kind).shape;
                    self.snapshot.set_shape(id, shape);
                }
            }
            Change::Fork => self.snapshot.fork(),
            Change::Commit => self.snapshot.commit(),
            Change::Revert => self.snapshot.revert(),
        }
    }

    /// Everything it says, by node and class.
    fn answers(&mut self) -> Answers {
        let ids = self.snapshot.classes(&self.classes);
        let snapshot = &self.snapshot;
        let mut answers = Answers::new();
        for node in snapshot.nodes() {
            for (index, &class) in ids.iter().enumerate() {
                let failures = snapshot.failures(class, node);
                assert_eq!(
                    failures.is_empty(),
                    snapshot.fits(class, node),
                    "{failures:?}"
                );
                let name = snapshot.name(node).unwrap().clone();
                let count = snapshot.how_many(class, node, 9);
                answers.insert((name, index), (failures, count));
            }
        }
        answers
    }

    /// The same cluster, put together from scratch.
    fn anew(&self) -> Self {
        let mut nodes = Vec::new();
        let mut pods = Vec::new();
        for id in self.snapshot.nodes() {
            let origin = self.snapshot.origin(id).unwrap();
            let mut shape = NodeShape::clone(&origin.shape);
            if let Some(hostname) = self.snapshot.label(id, HOSTNAME) {
                shape.labels.insert(HOSTNAME.into(), hostname.into());
            }
            nodes.push(Node {
                shape: Arc::new(shape),
                ..origin.clone()
            });
            for placed in self.snapshot.pods(id) {
                pods.push(PlacedPods {
                    node: origin.name.clone(),
                    class: Arc::clone(self.snapshot.source(placed.class).unwrap()),
                    terminating: placed.terminating,
                    count: placed.count,
                });
            }
        }
        // In another order, so that other numbers are given.
        nodes.reverse();
        pods.reverse();
        let surroundings = Arc::clone(self.snapshot.surroundings());
        Self {
            snapshot: Snapshot::new(nodes, pods, surroundings),
            classes: self.classes.clone(),
        }
    }
}

type Answers = BTreeMap<(NodeName, usize), (Vec<Failure>, u32)>;

/// Reasons in an order of their own: counters are numbered differently from scratch.
fn sorted(mut answers: Answers) -> Answers {
    for (failures, _) in answers.values_mut() {
        failures.sort();
    }
    answers
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn a_tentative_change_that_is_taken_back_leaves_no_trace(
        classes in prop::collection::vec(any_class(), CLASSES),
        before in prop::collection::vec(change(), 0..25),
        tentative in prop::collection::vec(plain(), 0..25),
    ) {
        let mut pair = Pair::new(&classes);
        for change in &before {
            pair.apply(change);
        }
        let answers = pair.answers();
        let digest = pair.snapshot.digest();
        let nodes: Vec<NodeId> = pair.snapshot.nodes().collect();
        pair.snapshot.fork();
        for change in &tentative {
            pair.apply(change);
        }
        pair.snapshot.revert();
        prop_assert_eq!(pair.snapshot.digest(), digest);
        prop_assert_eq!(pair.snapshot.nodes().collect::<Vec<_>>(), nodes);
        prop_assert_eq!(pair.answers(), answers);
    }

    #[test]
    fn what_is_kept_up_to_date_is_what_is_counted_anew(
        classes in prop::collection::vec(any_class(), CLASSES),
        changes in prop::collection::vec(change(), 0..40),
    ) {
        let mut pair = Pair::new(&classes);
        for change in &changes {
            pair.apply(change);
        }
        let mut anew = pair.anew();
        prop_assert_eq!(sorted(pair.answers()), sorted(anew.answers()));
    }

    #[test]
    fn a_committed_inner_change_is_still_taken_back_by_the_outer_revert(
        classes in prop::collection::vec(any_class(), CLASSES),
        outer in prop::collection::vec(plain(), 0..12),
        inner in prop::collection::vec(plain(), 0..12),
    ) {
        let mut pair = Pair::new(&classes);
        let before = pair.answers();
        pair.snapshot.fork();
        for change in &outer {
            pair.apply(change);
        }
        pair.snapshot.fork();
        for change in &inner {
            pair.apply(change);
        }
        let changed = pair.answers();
        pair.snapshot.commit();
        prop_assert_eq!(pair.answers(), changed);
        pair.snapshot.revert();
        prop_assert_eq!(pair.answers(), before);
    }

    #[test]
    fn counting_at_once_is_asking_one_by_one(
        classes in prop::collection::vec(any_class(), CLASSES),
        changes in prop::collection::vec(plain(), 0..30),
    ) {
        let mut pair = Pair::new(&classes);
        for change in &changes {
            pair.apply(change);
        }
        let ids = pair.snapshot.classes(&classes);
        let nodes: Vec<NodeId> = pair.snapshot.nodes().collect();
        for node in nodes {
            for &class in &ids {
                let counted = pair.snapshot.how_many(class, node, 9);
                pair.snapshot.fork();
                let mut one_by_one = 0;
                while one_by_one < 9 && pair.snapshot.fits(class, node) {
                    pair.snapshot.place(node, class, false);
                    one_by_one += 1;
                }
                pair.snapshot.revert();
                prop_assert_eq!(counted, one_by_one);
            }
        }
    }
}
