//! Which nodes pods that wait are about to use: as the scheduler will place them once it looks
//! again, which after an outage or a back-off takes it a while.
//!
//! Each pod holds one node at most, and nodes with pods on them are filled first, so that as few
//! empty ones as possible are held. Every filter is asked, beside all pods that run.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use model::{
    Cluster, Node, NodeName, Pod, PodKey, PodRole, PodState, SchedulingClass, UnevaluatedRule,
};
use scheduling::{ClassId, NodeId, Snapshot};

/// In this order nodes are filled.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Rank {
    /// It stays anyway.
    Staying,
    /// It might be taken away.
    Empty,
    /// Its removal has begun and can be taken back.
    Removing,
}

/// The nodes that the cluster's waiting pods are going to use, and the first pod that wants each.
/// Nodes of which `ranks` does not speak stay; those that are `leaving` get nothing.
#[must_use]
pub fn awaited(
    cluster: &Cluster,
    leaving: &BTreeSet<NodeName>,
    ranks: &BTreeMap<NodeName, Rank>,
) -> BTreeMap<NodeName, PodKey> {
    let mut snapshot = Snapshot::of(cluster);
    let mut hosts: Vec<(Rank, NodeId)> = (cluster.nodes.values())
        .filter(|node| is_host(node) && !leaving.contains(&node.name))
        .filter_map(|node| {
            let rank = ranks.get(&node.name).copied().unwrap_or(Rank::Staying);
            Some((rank, snapshot.node(&node.name)?))
        })
        .collect();
    // Nodes have their ids in the order of their names.
    hosts.sort();
    let hosts: Vec<NodeId> = hosts.into_iter().map(|(_, node)| node).collect();
    let mut awaited = BTreeMap::new();
    for (node, pod) in settle(&mut snapshot, &hosts, &cluster.waiting) {
        awaited.entry(node.clone()).or_insert_with(|| pod.clone());
    }
    awaited
}

/// Whether a node takes pods at all, now or as soon as what is temporary on it has ended.
pub(super) fn is_host(node: &Node) -> bool {
    node.ready && node.defect.is_none()
}

/// Places the pods that are placed soon, filling `hosts` in this order: who goes where. A pod that
/// the scheduler makes room for goes where it does, whatever is there.
pub(super) fn settle<'a>(
    snapshot: &mut Snapshot,
    hosts: &[NodeId],
    waiting: &'a [Arc<Pod>],
) -> Vec<(NodeName, &'a PodKey)> {
    let mut settled = Vec::new();
    let mut classes: BTreeMap<&Arc<SchedulingClass>, Vec<&'a Arc<Pod>>> = BTreeMap::new();
    for pod in waiting.iter().filter(|pod| is_placed_soon(pod)) {
        match &pod.nominated {
            Some(name) => {
                if let Some(node) = snapshot.node(name) {
                    let class = snapshot.class(&pod.class);
                    snapshot.place(node, class, false);
                }
                settled.push((name.clone(), &pod.key));
            }
            None => classes.entry(&pod.class).or_default().push(pod),
        }
    }
    let asked: Vec<Arc<SchedulingClass>> = classes.keys().map(|class| lenient(class)).collect();
    let asked = snapshot.classes(&asked);
    for (class, pods) in asked.into_iter().zip(classes.into_values()) {
        fill(snapshot, hosts, class, &pods, &mut settled);
    }
    settled
}

/// Places equal pods. A rule between them may close a node now and open it again once another has
/// got one; so the nodes are gone over until nothing more is placed.
fn fill<'a>(
    snapshot: &mut Snapshot,
    hosts: &[NodeId],
    class: ClassId,
    pods: &[&'a Arc<Pod>],
    settled: &mut Vec<(NodeName, &'a PodKey)>,
) {
    let mut left = pods.iter();
    loop {
        let before = left.len();
        for &host in hosts {
            let most = u32::try_from(left.len()).unwrap_or(u32::MAX);
            if most == 0 {
                return;
            }
            let count = snapshot.how_many(class, host, most);
            if count == 0 {
                continue;
            }
            snapshot.place_many(host, class, false, count);
            if let Some(name) = snapshot.name(host) {
                let taken = left.by_ref().take(count as usize);
                settled.extend(taken.map(|pod| (name.clone(), &pod.key)));
            }
        }
        if left.len() == before {
            return;
        }
    }
}

/// A rule that is not evaluated counts as one that is met: a node is held rather than missed.
fn lenient(class: &Arc<SchedulingClass>) -> Arc<SchedulingClass> {
    if !class.unevaluated.contains(&UnevaluatedRule::ResourceClaims) {
        return Arc::clone(class);
    }
    let mut class = SchedulingClass::clone(class);
    class.unevaluated.clear();
    Arc::new(class)
}

fn is_placed_soon(pod: &Pod) -> bool {
    pod.role == PodRole::Ordinary
        && pod.terminating.is_none()
        && pod.class.defect.is_none()
        && matches!(pod.state, PodState::Unschedulable(_) | PodState::Waiting)
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use model::{
        InclusionPolicy, LabelSelector, Labels, Namespaces, NodeShape, Operator, PodTerm,
        Requirement, Resources, SpreadConstraint, Uid,
    };

    use super::*;

    const HOSTNAME: &str = "kubernetes.io/hostname";

    fn node(name: &str, cpu_milli: i64) -> Node {
        Node {
            name: name.into(),
            uid: None,
            shape: Arc::new(NodeShape {
                allocatable: resources(cpu_milli, 110),
                labels: Labels::from([(HOSTNAME.into(), name.into())]),
                ..NodeShape::default()
            }),
            ready: true,
            created_at: None,
            defect: None,
        }
    }

    fn resources(cpu_milli: i64, pods: i64) -> Resources {
        Resources {
            cpu_milli,
            pods,
            ..Resources::default()
        }
    }

    fn pod(name: &str, cpu_milli: i64, state: PodState) -> Pod {
        Pod {
            key: PodKey::new("default", name),
            uid: Uid::new(name),
            class: Arc::new(SchedulingClass {
                namespace: "default".into(),
                requests: resources(cpu_milli, 1),
                ..SchedulingClass::default()
            }),
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

    /// A pod of `app=a` with a rule about its own kind.
    fn ruled(name: &str, state: PodState, rule: impl Fn(&mut SchedulingClass)) -> Pod {
        let mut pod = pod(name, 10, state);
        let mut class = SchedulingClass::clone(&pod.class);
        class.labels = Labels::from([("app".into(), "a".into())]);
        rule(&mut class);
        pod.class = Arc::new(class);
        pod
    }

    fn own_kind() -> LabelSelector {
        LabelSelector {
            requirements: vec![Requirement {
                key: "app".into(),
                operator: Operator::In,
                values: vec!["a".into()],
            }],
        }
    }

    fn apart(class: &mut SchedulingClass) {
        class.anti_affinity = vec![PodTerm {
            selector: Some(own_kind()),
            namespaces: Namespaces {
                names: ["default".into()].into(),
                selector: None,
            },
            topology_key: HOSTNAME.into(),
        }];
    }

    fn held(nodes: &[(&Node, Rank)], pods: &[Pod]) -> Vec<(String, String)> {
        let pods = pods.iter().cloned().map(Arc::new);
        let (bound, waiting) = pods.partition(|pod| pod.node().is_some());
        let cluster = Cluster {
            nodes: (nodes.iter())
                .map(|(node, _)| (node.name.clone(), (*node).clone()))
                .collect(),
            bound,
            waiting,
            ..Cluster::default()
        };
        let ranks = (nodes.iter())
            .map(|(node, rank)| (node.name.clone(), *rank))
            .collect();
        awaited(&cluster, &BTreeSet::new(), &ranks)
            .into_iter()
            .map(|(node, pod)| (node.to_string(), pod.name.to_string()))
            .collect()
    }

    fn pair(node: &str, pod: &str) -> (String, String) {
        (node.into(), pod.into())
    }

    #[test]
    fn a_pod_holds_one_node_and_rather_one_that_stays_than_an_empty_one() {
        let (a, b, c) = (node("a", 1000), node("b", 1000), node("c", 1000));
        let nodes = [(&a, Rank::Removing), (&b, Rank::Empty), (&c, Rank::Staying)];
        let waiting = |count: usize| -> Vec<Pod> {
            (0..count)
                .map(|index| pod(&format!("p{index}"), 1000, PodState::Waiting))
                .collect()
        };
        assert_eq!(held(&nodes, &waiting(1)), [pair("c", "p0")]);
        assert_eq!(
            held(&nodes, &waiting(2)),
            [pair("b", "p1"), pair("c", "p0")]
        );
        assert_eq!(
            held(&nodes, &waiting(4)).len(),
            3,
            "the fourth fits nowhere"
        );
    }

    #[test]
    fn what_the_scheduler_does_not_look_at_holds_nothing() {
        let a = node("a", 1000);
        let mut leaving = pod("leaving", 100, PodState::Waiting);
        leaving.terminating = Some(Timestamp::UNIX_EPOCH);
        let mut daemon = pod("daemon", 100, PodState::Waiting);
        daemon.role = PodRole::DaemonSet;
        let gated = pod("gated", 100, PodState::Gated);
        let large = pod("large", 1001, PodState::Waiting);
        let pods = [leaving, daemon, gated, large];
        assert_eq!(held(&[(&a, Rank::Empty)], &pods), []);
    }

    #[test]
    fn a_nominated_pod_holds_its_node_and_takes_its_room() {
        let (a, b) = (node("a", 1000), node("b", 1000));
        let mut nominated = pod("nominated", 800, PodState::Waiting);
        nominated.nominated = Some("a".into());
        let pods = [nominated, pod("other", 300, PodState::Waiting)];
        let nodes = [(&a, Rank::Empty), (&b, Rank::Empty)];
        let expected = [pair("a", "nominated"), pair("b", "other")];
        assert_eq!(held(&nodes, &pods), expected);
    }

    #[test]
    fn a_pod_that_the_running_ones_keep_away_holds_another_node() {
        let (a, b) = (node("a", 1000), node("b", 1000));
        let nodes = [(&a, Rank::Staying), (&b, Rank::Empty)];
        let running = ruled("running", PodState::Bound("a".into()), apart);
        let waiting = ruled("waiting", PodState::Waiting, apart);
        assert_eq!(held(&nodes, &[running, waiting]), [pair("b", "waiting")]);
    }

    #[test]
    fn pods_that_are_spread_fill_nodes_in_turns() {
        let spread = |class: &mut SchedulingClass| {
            class.spread = vec![SpreadConstraint {
                topology_key: "zone".into(),
                max_skew: 1,
                min_domains: 1,
                selector: Some(own_kind()),
                node_affinity_policy: InclusionPolicy::Honor,
                node_taints_policy: InclusionPolicy::Ignore,
            }];
        };
        let zoned = |name: &str, cpu_milli| {
            let mut node = node(name, cpu_milli);
            let labels = &mut Arc::make_mut(&mut node.shape).labels;
            labels.insert("zone".into(), name.into());
            node
        };
        let (a, b, c) = (zoned("a", 20), zoned("b", 10), node("c", 1000));
        let nodes = [(&a, Rank::Staying), (&b, Rank::Staying), (&c, Rank::Empty)];
        let mut pods: Vec<Pod> = (0..3)
            .map(|index| ruled(&format!("p{index}"), PodState::Waiting, spread))
            .collect();
        let both = [pair("a", "p0"), pair("b", "p1")];
        assert_eq!(held(&nodes, &pods), both);
        // The third of them has taken what is left on the first node.
        let labels = Labels::from([("app".into(), "b".into())]);
        pods.push(ruled("q", PodState::Waiting, |class| {
            class.labels = labels.clone();
        }));
        assert_eq!(held(&nodes, &pods)[2..], [pair("c", "q")]);
    }

    #[test]
    fn a_pod_whose_rule_is_not_evaluated_holds_a_node_all_the_same() {
        let (a, b) = (node("a", 1000), node("b", 1000));
        let nodes = [(&a, Rank::Empty), (&b, Rank::Removing)];
        let device = ruled("device", PodState::Waiting, |class| {
            class.unevaluated = [UnevaluatedRule::ResourceClaims].into();
        });
        assert_eq!(held(&nodes, &[device]), [pair("a", "device")]);
    }

    #[test]
    fn what_leaves_for_certain_is_held_by_nobody() {
        let a = node("a", 1000);
        let cluster = Cluster {
            nodes: [(a.name.clone(), a)].into(),
            waiting: vec![Arc::new(pod("p", 100, PodState::Waiting))],
            ..Cluster::default()
        };
        let leaving = BTreeSet::from([NodeName::from("a")]);
        assert_eq!(
            awaited(&cluster, &leaving, &BTreeMap::new()),
            BTreeMap::new()
        );
    }
}
