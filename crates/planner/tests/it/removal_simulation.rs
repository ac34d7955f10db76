//! The joint simulation of removals: what it promises, held against the independent checker and
//! against trying everything.

pub(crate) mod exhaustive;
mod laws;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use checker::World;
use jiff::Timestamp;
use model::{
    Cluster, GroupKey, HourlyPrice, LabelSelector, Labels, Namespaces, Node, NodeName, NodeShape,
    Operator, Pod, PodKey, PodRole, PodState, PodTerm, Requirement, Resources, SchedulingClass,
    Uid, UnevaluatedRule,
};
use planner::removal::simulation::{
    Budget, Candidate, Group, Input, Limits, Plan, Reason, Scan, Verdict, choose, judge, scan,
};
use rust_decimal::Decimal;
use scheduling::Filter;

const HOSTNAME: &str = "kubernetes.io/hostname";

/// A cluster and all that is asked of it, to be changed as a test needs it.
#[derive(Clone, Debug)]
struct Case {
    cluster: Cluster,
    prices: BTreeMap<NodeName, Option<i64>>,
    leaving: BTreeSet<NodeName>,
    group: Group,
    budgets: Vec<Budget>,
    limits: Limits,
}

impl Case {
    /// Nodes by name, CPU (milli) and price (hundredths).
    fn of(nodes: &[(&str, i64, i64)]) -> Self {
        let mut case = Self {
            cluster: Cluster::default(),
            prices: BTreeMap::new(),
            leaving: BTreeSet::new(),
            group: Group {
                ready_nodes: 100,
                min_nodes: 0,
                at_once: u32::MAX,
            },
            budgets: vec![],
            limits: Limits::NONE,
        };
        for (name, cpu, cents) in nodes {
            let node = node(name, *cpu);
            case.prices.insert(node.name.clone(), Some(*cents));
            case.cluster.nodes.insert(node.name.clone(), node);
        }
        case
    }

    fn change_node(mut self, name: &str, change: impl FnOnce(&mut Node)) -> Self {
        change(self.cluster.nodes.get_mut(&NodeName::from(name)).unwrap());
        self
    }

    /// It is no candidate.
    fn stays(mut self, name: &str) -> Self {
        self.prices.remove(&NodeName::from(name));
        self
    }

    fn runs(self, pod: &str, node: &str, cpu: i64) -> Self {
        self.runs_with(pod, node, cpu, |_| {})
    }

    fn runs_with(
        mut self,
        name: &str,
        node: &str,
        cpu: i64,
        change: impl FnOnce(&mut SchedulingClass),
    ) -> Self {
        let mut pod = pod(name, PodState::Bound(node.into()));
        pod.class = Arc::new(class(cpu, change));
        self.cluster.bound.push(Arc::new(pod));
        self
    }

    /// The last pod that runs is different.
    fn but(mut self, change: impl FnOnce(&mut Pod)) -> Self {
        change(Arc::get_mut(self.cluster.bound.last_mut().unwrap()).unwrap());
        self
    }

    fn waits(mut self, name: &str, cpu: i64) -> Self {
        let mut pod = pod(name, PodState::Waiting);
        pod.class = Arc::new(class(cpu, |_| {}));
        self.cluster.waiting.push(Arc::new(pod));
        self
    }

    fn budget(mut self, app: &str, allowed: u32) -> Self {
        self.budgets.push(Budget {
            namespace: "a".into(),
            name: format!("budget-{}", self.budgets.len()).into(),
            selector: selector(app),
            allowed,
            healthy: false,
            unhealthy_always: false,
        });
        self
    }

    fn limited(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    fn grouped(mut self, ready_nodes: u32, min_nodes: u32, at_once: u32) -> Self {
        self.group = Group {
            ready_nodes,
            min_nodes,
            at_once,
        };
        self
    }

    fn ask<T>(&self, what: impl FnOnce(&Input<'_>) -> T) -> T {
        let group = GroupKey::new("default", "workers");
        what(&Input {
            cluster: &self.cluster,
            candidates: (self.prices.iter())
                .map(|(node, cents)| Candidate {
                    node: node.clone(),
                    group: group.clone(),
                    price: cents.map(|cents| HourlyPrice::new(Decimal::new(cents, 2))),
                })
                .collect(),
            leaving: &self.leaving,
            groups: [(group, self.group)].into(),
            budgets: self.budgets.clone(),
            limits: self.limits,
        })
    }

    /// What [`scan`] says, after a look at everything that must be true of it.
    fn scan(&self) -> Scan {
        let found = self.ask(scan);
        self.check(&found.plan);
        for (node, verdict) in &found.alone {
            assert_eq!(self.ask(|input| judge(input, node)).as_ref(), Some(verdict));
            if let Verdict::Removable { moves, savings } = verdict {
                let alone = Plan {
                    removals: vec![planner::removal::simulation::Removal {
                        node: node.clone(),
                        moves: moves.clone(),
                        savings: *savings,
                    }],
                    left: BTreeMap::new(),
                };
                self.check_moves(&alone);
            }
        }
        let names =
            |keys: Vec<&NodeName>| -> BTreeSet<NodeName> { keys.into_iter().cloned().collect() };
        let removed = names(found.plan.removals.iter().map(|one| &one.node).collect());
        let left = names(found.plan.left.keys().collect());
        assert!(removed.is_disjoint(&left));
        let all: BTreeSet<NodeName> = removed.union(&left).cloned().collect();
        assert_eq!(
            all,
            names(self.prices.keys().collect()),
            "each has an answer"
        );
        found
    }

    fn removed(&self) -> Vec<String> {
        let plan = self.scan().plan;
        plan.removals
            .iter()
            .map(|one| one.node.to_string())
            .collect()
    }

    fn left(&self, node: &str) -> Vec<Reason> {
        self.scan()
            .plan
            .left
            .remove(&NodeName::from(node))
            .unwrap_or_default()
    }

    /// Limits, budgets and every single move.
    fn check(&self, plan: &Plan) {
        let count = u32::try_from(plan.removals.len()).unwrap();
        assert!(count <= self.limits.at_once.min(self.group.at_once));
        assert!(self.group.ready_nodes.saturating_sub(count) >= self.group.min_nodes || count == 0);
        for budget in &self.budgets {
            let pods = self.cluster.bound.iter();
            let under: BTreeSet<&PodKey> = pods
                .filter(|pod| budget.namespace == pod.class.namespace)
                .filter(|pod| budget.selector.matches(&pod.class.labels))
                .map(|pod| &pod.key)
                .collect();
            let moves = plan.removals.iter().flat_map(|one| &one.moves);
            let evicted = moves.filter(|(pod, _)| under.contains(pod)).count();
            assert!(evicted == 0 || budget.allowed > 0);
            assert!(count == 1 || evicted <= budget.allowed as usize);
        }
        let removed: BTreeSet<&NodeName> = plan.removals.iter().map(|one| &one.node).collect();
        let [free, asked] = self.room_beside(&removed);
        let wanted = asked * i64::from(self.limits.buffer_percent);
        assert!(
            wanted <= free * 100,
            "{wanted} % of what moves, {free} free"
        );
        self.check_moves(plan);
    }

    /// CPU that is free on the nodes that stay and take pods, and what the pods of the others ask
    /// for. Pods that wait have their place there, too, but only where there is one.
    fn room_beside(&self, removed: &BTreeSet<&NodeName>) -> [i64; 2] {
        let (mut free, mut asked) = (0, 0);
        for node in self.cluster.nodes.values() {
            let pods = || {
                self.cluster
                    .bound
                    .iter()
                    .filter(|pod| pod.node() == Some(&node.name))
            };
            if removed.contains(&node.name) {
                let moving = pods().filter(|pod| pod.role == PodRole::Ordinary);
                let moving = moving.filter(|pod| pod.terminating.is_none());
                asked += moving.map(|pod| pod.class.requests.cpu_milli).sum::<i64>();
            } else if node.ready && !node.shape.unschedulable && !self.leaving.contains(&node.name)
            {
                let used: i64 = pods().map(|pod| pod.class.requests.cpu_milli).sum();
                free += (node.shape.allocatable.cpu_milli - used).max(0);
            }
        }
        [free, asked]
    }

    /// Plays the removals one after the other: each node goes with what is on it, then each of its
    /// pods must be accepted by the checker where the plan puts it.
    fn check_moves(&self, plan: &Plan) {
        let removed: BTreeSet<&NodeName> = plan.removals.iter().map(|one| &one.node).collect();
        let mut gone = BTreeSet::new();
        let mut at: BTreeMap<&PodKey, (&Arc<Pod>, &NodeName)> = (self.cluster.bound.iter())
            .map(|pod| (&pod.key, (pod, pod.node().unwrap())))
            .collect();
        for removal in &plan.removals {
            gone.insert(&removal.node);
            let expected: BTreeSet<&PodKey> = (self.cluster.bound.iter())
                .filter(|pod| pod.node() == Some(&removal.node))
                .filter(|pod| pod.role == PodRole::Ordinary && pod.terminating.is_none())
                .map(|pod| &pod.key)
                .collect();
            let moved: BTreeSet<&PodKey> = removal.moves.iter().map(|(pod, _)| pod).collect();
            assert_eq!(moved, expected, "exactly its pods are moved");
            assert_eq!(moved.len(), removal.moves.len(), "each once");
            at.retain(|_, (_, node)| *node != &removal.node);
            let mut world = World::new(Arc::clone(&self.cluster.surroundings));
            let nodes = self.cluster.nodes.values();
            for node in nodes.filter(|node| !gone.contains(&node.name)) {
                world.add(node.clone());
            }
            for (pod, node) in at.values() {
                let place = world.find(node).unwrap();
                world.put(&pod.class, place, pod.terminating.is_some());
            }
            for (pod, to) in &removal.moves {
                assert!(!removed.contains(to), "{pod} is moved to {to}, which goes");
                let node = &self.cluster.nodes[to];
                assert!(node.ready && node.defect.is_none() && !node.shape.unschedulable);
                assert!(!self.leaving.contains(to));
                let pod = self
                    .cluster
                    .bound
                    .iter()
                    .find(|one| one.key == *pod)
                    .unwrap();
                let place = world.find(to).unwrap();
                let broken = world.broken(&pod.class, place);
                assert_eq!(broken, [], "{} on {to}", pod.key);
                world.put(&pod.class, place, false);
                at.insert(&pod.key, (pod, to));
            }
        }
    }
}

pub(crate) fn node(name: &str, cpu_milli: i64) -> Node {
    Node {
        name: name.into(),
        uid: None,
        shape: Arc::new(NodeShape {
            labels: Labels::from([(HOSTNAME.into(), name.into())]),
            allocatable: Resources {
                cpu_milli,
                memory: 16 << 30,
                pods: 110,
                ..Resources::default()
            },
            ..NodeShape::default()
        }),
        ready: true,
        created_at: None,
        defect: None,
    }
}

fn pod(name: &str, state: PodState) -> Pod {
    Pod {
        key: PodKey::new("a", name),
        uid: Uid::new(name),
        class: Arc::default(),
        state,
        role: PodRole::Ordinary,
        terminating: None,
        nominated: None,
        created_at: None,
        started_at: None,
        health: model::PodHealth::Ready,
        upkeep: Arc::default(),
    }
}

fn class(cpu_milli: i64, change: impl FnOnce(&mut SchedulingClass)) -> SchedulingClass {
    let mut class = SchedulingClass {
        namespace: "a".into(),
        requests: Resources {
            cpu_milli,
            pods: 1,
            ..Resources::default()
        },
        ..SchedulingClass::default()
    };
    change(&mut class);
    class
}

fn selector(app: &str) -> LabelSelector {
    LabelSelector {
        requirements: vec![requirement("app", app)],
    }
}

fn requirement(key: &str, value: &str) -> Requirement {
    Requirement {
        key: key.into(),
        operator: Operator::In,
        values: vec![value.into()],
    }
}

fn app(name: &str) -> impl Fn(&mut SchedulingClass) {
    let labels = Labels::from([("app".into(), name.into())]);
    move |class| class.labels = labels.clone()
}

fn term(app: &str, key: &str) -> PodTerm {
    PodTerm {
        selector: Some(selector(app)),
        namespaces: Namespaces {
            names: ["a".into()].into(),
            selector: None,
        },
        topology_key: key.into(),
    }
}

fn names(reasons: &[Reason]) -> Vec<&'static str> {
    reasons.iter().map(Reason::name).collect()
}

#[test]
fn two_nodes_never_count_on_the_same_room() {
    let case = Case::of(&[("a", 1000, 10), ("b", 1000, 10), ("c", 1000, 10)])
        .stays("c")
        .runs("p", "a", 600)
        .runs("q", "b", 600);
    let found = case.scan();
    assert!(found.alone.values().all(Verdict::is_removable));
    assert_eq!(case.removed(), ["a"]);
    let Some([Reason::RoomTaken { pod, refusing }]) =
        found.plan.left.get(&NodeName::from("b")).map(Vec::as_slice)
    else {
        panic!("{:?}", found.plan.left);
    };
    assert_eq!(*pod, PodKey::new("a", "q"));
    assert_eq!(refusing.filters, [(Filter::NodeResourcesFit, 1)]);
    assert_eq!(
        found.plan.left[&NodeName::from("b")][0].to_string(),
        "nodes that go before it take the room that pod a/q needs: 0 of 1 nodes: \
         NodeResourcesFit on 1"
    );
}

#[test]
fn empty_nodes_go_first_and_then_those_that_save_most_for_each_pod_that_moves() {
    let mut case = Case::of(&[
        ("a", 1000, 90),
        ("b", 1000, 5),
        ("c", 1000, 20),
        ("d", 9000, 1),
    ])
    .stays("d")
    .runs("a1", "a", 10)
    .runs("a2", "a", 10)
    .runs("c1", "c", 10)
    .runs("d1", "d", 10);
    assert_eq!(case.removed(), ["b", "a", "c"]);
    // A price that is not known counts as none.
    case.prices.insert("a".into(), None);
    assert_eq!(case.removed(), ["b", "c", "a"]);
    assert_eq!(
        case.scan().plan.savings(),
        HourlyPrice::new(Decimal::new(25, 2))
    );
    let case = case.limited(Limits {
        at_once: 2,
        ..Limits::NONE
    });
    assert_eq!(case.removed(), ["b", "c"]);
    assert_eq!(case.left("a"), [Reason::EnoughAtOnce { most: 2 }]);
}

#[test]
fn a_pod_is_moved_once_though_the_node_that_first_took_it_goes_too() {
    // Every node is a candidate; the little ones can all go to the largest.
    let mut case = Case::of(&[
        ("a", 1000, 10),
        ("b", 1000, 10),
        ("c", 1000, 10),
        ("d", 1000, 10),
    ]);
    for node in ["a", "b", "c", "d"] {
        case = case.runs(&format!("p-{node}"), node, 250);
    }
    assert_eq!(case.removed(), ["a", "b", "c"]);
    assert_eq!(case.scan().plan.disruptions(), 3);
}

#[test]
fn pods_go_straight_to_a_node_that_stays_past_one_that_goes_later() {
    // More nodes than every set is tried of; all but three are full of pods that go nowhere else.
    let own = |name: &str| {
        let name = name.to_owned();
        move |class: &mut SchedulingClass| class.node_selector = vec![requirement(HOSTNAME, &name)]
    };
    let mut case = Case::of(&[("a", 1000, 9), ("y", 1000, 1), ("z", 1000, 1)]);
    for index in 0..8 {
        let name = format!("full-{index}");
        case.cluster
            .nodes
            .insert(NodeName::new(&name), node(&name, 1000));
        case.prices.insert(NodeName::new(&name), Some(1));
        case = case.runs_with(&format!("on-{name}"), &name, 1000, own(&name));
    }
    let case = case
        .runs("p", "a", 10)
        .runs_with("q", "y", 900, own("y"))
        .runs("r", "z", 5)
        .runs("s", "z", 5);
    // The last in turn is the first to take pods: p would go to z, and with z to y.
    let plan = case.ask(choose);
    case.check(&plan);
    let removed: Vec<&str> = plan.removals.iter().map(|one| one.node.as_str()).collect();
    assert_eq!(removed, ["a", "z"]);
    assert_eq!(
        plan.removals[0].moves,
        [(PodKey::new("a", "p"), "y".into())]
    );
}

#[test]
fn the_capacity_buffer_holds_over_the_whole_set() {
    let case = Case::of(&[("a", 1000, 10), ("b", 1000, 10), ("c", 1000, 10)])
        .stays("c")
        .runs("p", "a", 450)
        .runs("q", "b", 450)
        .limited(Limits {
            at_once: 9,
            buffer_percent: 120,
        });
    assert_eq!(case.removed(), ["a"]);
    assert_eq!(names(&case.left("b")), ["CapacityBuffer"]);
}

#[test]
fn what_belongs_to_the_node_leaves_with_it() {
    let case = Case::of(&[("a", 1000, 10), ("b", 1000, 10)])
        .stays("b")
        .runs("daemon", "a", 900)
        .but(|pod| pod.role = PodRole::DaemonSet)
        .runs("mirror", "a", 100)
        .but(|pod| pod.role = PodRole::Mirror)
        .runs("ending", "a", 0)
        .but(|pod| pod.terminating = Some(Timestamp::UNIX_EPOCH))
        .runs("full", "b", 1000);
    assert_eq!(case.removed(), ["a"]);
    assert_eq!(case.scan().plan.disruptions(), 0);
}

#[test]
fn pods_go_only_to_ready_open_nodes_that_stay() {
    let case = Case::of(&[("a", 1000, 10), ("b", 1000, 10)])
        .stays("b")
        .runs_with("p", "a", 100, |class| {
            // Tolerating everything is no reason to be put onto a cordoned node.
            class.tolerations = vec![model::Toleration {
                key: "".into(),
                exists: true,
                value: "".into(),
                effect: None,
            }];
        });
    assert_eq!(case.removed(), ["a"]);
    let refused = |case: Case| {
        let Reason::NoPlace { pod, refusing } = &case.left("a")[0] else {
            panic!("{:?}", case.left("a"));
        };
        assert_eq!((pod.name.as_ref(), refusing.nodes), ("p", 0));
    };
    refused(case.clone().change_node("b", |node| node.ready = false));
    refused(
        case.clone()
            .change_node("b", |node| node.defect = Some("no capacity".into())),
    );
    refused(case.clone().change_node("b", |node| {
        Arc::make_mut(&mut node.shape).unschedulable = true;
    }));
    let mut leaving = case;
    leaving.leaving.insert("b".into());
    refused(leaving);
}

#[test]
fn a_pod_that_cannot_be_judged_keeps_its_node() {
    let case = Case::of(&[("a", 1000, 10), ("b", 1000, 10)])
        .stays("b")
        .runs_with("p", "a", 100, |class| class.defect = Some("cpu: 1x".into()))
        .runs_with("q", "a", 100, |class| {
            class.unevaluated = [UnevaluatedRule::ResourceClaims].into();
        });
    let left = case.left("a");
    assert_eq!(names(&left), ["PodInvalid", "RuleNotEvaluated", "NoPlace"]);
    assert_eq!(left[0].to_string(), "pod a/p cannot be understood: cpu: 1x");
    assert_eq!(left[1].pod(), Some(&PodKey::new("a", "q")));
    assert_eq!(case.ask(choose).left[&NodeName::from("a")].len(), 2);
}

#[test]
fn a_node_whose_pods_find_no_place_says_which_and_what_refuses_it() {
    let case = Case::of(&[
        ("a", 1000, 10),
        ("b", 100, 10),
        ("c", 1000, 10),
        ("d", 1000, 10),
    ])
    .stays("b")
    .stays("c")
    .stays("d")
    .change_node("d", |node| {
        let labels = &mut Arc::make_mut(&mut node.shape).labels;
        labels.insert("pool".into(), "x".into());
    })
    .runs("small", "a", 50)
    .runs_with("large", "a", 500, |class| {
        app("web")(class);
        class.node_selector = vec![requirement("pool", "x")];
        class.anti_affinity = vec![term("web", HOSTNAME)];
    })
    .runs_with("other", "d", 10, app("web"));
    let [Reason::NoPlace { pod, refusing }] = &case.left("a")[..] else {
        panic!("{:?}", case.left("a"));
    };
    assert_eq!(*pod, PodKey::new("a", "large"));
    assert_eq!(
        refusing.to_string(),
        "0 of 3 nodes: NodeAffinity on 2, InterPodAffinity on 1"
    );
}

#[test]
fn minimums_of_groups_hold_over_the_whole_set() {
    let case = Case::of(&[("a", 1000, 10), ("b", 1000, 10), ("c", 1000, 10)]).grouped(3, 2, 9);
    assert_eq!(case.removed(), ["a"]);
    assert_eq!(case.left("b"), [Reason::AtMinimum { min_nodes: 2 }]);
    let case = case.grouped(2, 2, 9);
    assert_eq!(case.removed(), [""; 0]);
    assert!(!case.scan().alone[&NodeName::from("a")].is_removable());
    let case = case.grouped(3, 0, 2);
    assert_eq!(case.removed(), ["a", "b"]);
    assert_eq!(case.left("c"), [Reason::EnoughAtOnce { most: 2 }]);
}

#[test]
fn what_a_budget_allows_holds_over_the_whole_set() {
    let case = |allowed| {
        Case::of(&[("a", 1000, 10), ("b", 1000, 10), ("c", 1000, 10)])
            .stays("c")
            .runs_with("p", "a", 100, app("web"))
            .runs_with("q", "b", 100, app("web"))
            .budget("web", allowed)
    };
    assert_eq!(case(2).removed(), ["a", "b"]);
    assert_eq!(case(1).removed(), ["a"]);
    let budget = || "a/budget-0".to_owned();
    let spent = Reason::BudgetSpent {
        budget: budget(),
        allowed: 1,
    };
    assert_eq!(case(1).left("b"), [spent]);
    let none = |name: &str| Reason::BudgetAllowsNone {
        pod: PodKey::new("a", name),
        budget: budget(),
    };
    assert_eq!(case(0).left("a"), [none("p")]);
    assert_eq!(case(0).left("b"), [none("q")]);
    let several = case(2).budget("web", 2);
    assert_eq!(names(&several.left("a")), ["SeveralBudgets"]);
}

#[test]
fn a_node_with_more_pods_than_a_budget_allows_at_once_goes_alone() {
    let case = Case::of(&[("a", 1000, 90), ("b", 1000, 10), ("c", 1000, 10)])
        .stays("c")
        .runs_with("p", "a", 100, app("web"))
        .runs_with("q", "a", 100, app("web"))
        .runs("r", "b", 100)
        .budget("web", 1);
    let found = case.scan();
    assert!(found.alone.values().all(Verdict::is_removable));
    // It saves more than the other.
    assert_eq!(case.removed(), ["a"]);
    let mut cheap = case.clone();
    cheap.prices.insert("a".into(), Some(5));
    assert_eq!(cheap.removed(), ["b"]);
    assert_eq!(names(&cheap.left("a")), ["DrainedAlone"]);
}

#[test]
fn the_capacity_buffer_passes_where_it_is_met_exactly() {
    let case = |free| {
        Case::of(&[("a", 1000, 10), ("b", free, 10)])
            .stays("b")
            .runs("p", "a", 500)
            .limited(Limits {
                at_once: 9,
                buffer_percent: 120,
            })
    };
    assert_eq!(case(600).removed(), ["a"]);
    let lacking = Reason::CapacityBuffer {
        resource: "cpu".into(),
        wanted: 600,
        free: 599,
    };
    assert_eq!(case(599).left("a"), [lacking]);
}

#[test]
fn room_that_waiting_pods_are_about_to_use_is_not_counted_on() {
    let case = Case::of(&[("a", 1000, 10), ("b", 1000, 10)])
        .stays("b")
        .runs("p", "a", 600);
    assert_eq!(case.removed(), ["a"]);
    assert_eq!(names(&case.clone().waits("w", 500).left("a")), ["NoPlace"]);
    // Where it needs the node itself that is the reason.
    let left = case.clone().runs("q", "b", 900).waits("w", 400).left("a");
    assert_eq!(left[0], Reason::NominatedPod(PodKey::new("a", "w")));
}

#[test]
fn a_node_that_is_not_there_and_one_of_no_group_stay() {
    let mut case = Case::of(&[("a", 1000, 10)]);
    case.prices.insert("gone".into(), None);
    assert_eq!(case.left("gone"), [Reason::NodeNotFound]);
    let unmanaged = case.ask(|input| {
        let mut input = input.clone();
        input.groups.clear();
        scan(&input)
    });
    let reasons = &unmanaged.plan.left[&NodeName::from("a")];
    assert_eq!(reasons, &[Reason::GroupUnmanaged]);
}

#[test]
fn what_is_found_can_be_written_down_and_read_again() {
    let case = Case::of(&[("a", 1000, 10), ("b", 1000, 10), ("c", 1000, 10)])
        .stays("c")
        .runs("p", "a", 600)
        .runs("q", "b", 600);
    let found = case.scan();
    let text = serde_json::to_string(&found).unwrap();
    assert_eq!(serde_json::from_str::<Scan>(&text).unwrap(), found);
}
