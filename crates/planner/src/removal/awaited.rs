//! Which nodes pods that wait are about to use: as the scheduler will place them once it looks
//! again, which after an outage or a back-off takes it a while.
//!
//! Each pod holds one node at most, and nodes with pods on them are filled first, so that as few
//! empty ones as possible are held.

use std::{collections::BTreeMap, sync::Arc};

use model::{Node, NodeName, Pod, PodKey, PodRole, PodState, Resources, SchedulingClass};

/// A node that takes pods, now or as soon as what is temporary on it has ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Host<'a> {
    /// The node, without what is temporary.
    pub node: &'a Node,
    /// What the pods on it ask for.
    pub requested: Resources,
    /// How willingly it is held; the lowest first.
    pub rank: Rank,
}

/// In this order hosts are filled.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Rank {
    /// It stays anyway.
    Staying,
    /// It might be taken away.
    Empty,
    /// Its removal has begun and can be taken back.
    Removing,
}

/// The nodes that `waiting` pods are going to use, and the first pod that wants each.
#[must_use]
pub fn awaited(mut hosts: Vec<Host<'_>>, waiting: &[Arc<Pod>]) -> BTreeMap<NodeName, PodKey> {
    let mut awaited = BTreeMap::new();
    let mut classes: BTreeMap<&Arc<SchedulingClass>, Vec<&Arc<Pod>>> = BTreeMap::new();
    for pod in waiting.iter().filter(|pod| is_placed_soon(pod)) {
        match &pod.nominated {
            // The scheduler makes room for it there; what it asks for is taken.
            Some(node) => {
                if let Some(host) = hosts.iter_mut().find(|host| host.node.name == *node) {
                    host.requested.add(&pod.class.requests);
                }
                awaited
                    .entry(node.clone())
                    .or_insert_with(|| pod.key.clone());
            }
            None => classes.entry(&pod.class).or_default().push(pod),
        }
    }
    hosts.sort_by(|a, b| (a.rank, &a.node.name).cmp(&(b.rank, &b.node.name)));
    for (class, pods) in classes {
        let mut pods = pods.into_iter();
        for host in &mut hosts {
            let left = u32::try_from(pods.len()).unwrap_or(u32::MAX);
            if left == 0 {
                break;
            }
            let count = scheduling::how_many(class, host.node, &host.requested, left);
            if count == 0 || !scheduling::admits(class, host.node) {
                continue;
            }
            for pod in pods.by_ref().take(count as usize) {
                host.requested.add(&class.requests);
                awaited
                    .entry(host.node.name.clone())
                    .or_insert_with(|| pod.key.clone());
            }
        }
    }
    awaited
}

/// A rule that is not evaluated counts as one that is met: a node is held rather than missed.
fn is_placed_soon(pod: &Pod) -> bool {
    pod.role == PodRole::Ordinary
        && pod.terminating.is_none()
        && pod.class.defect.is_none()
        && matches!(pod.state, PodState::Unschedulable(_) | PodState::Waiting)
}

#[cfg(test)]
mod tests {
    use model::{NodeShape, Uid};

    use super::*;

    fn node(name: &str, cpu_milli: i64) -> Node {
        Node {
            name: name.into(),
            uid: None,
            shape: Arc::new(NodeShape {
                allocatable: resources(cpu_milli, 110),
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
                requests: resources(cpu_milli, 1),
                ..SchedulingClass::default()
            }),
            state,
            role: PodRole::Ordinary,
            terminating: None,
            nominated: None,
            created_at: None,
        }
    }

    fn held(nodes: &[(&Node, Rank)], pods: &[Pod]) -> Vec<(String, String)> {
        let hosts = nodes.iter().map(|(node, rank)| Host {
            node,
            requested: Resources::default(),
            rank: *rank,
        });
        let pods: Vec<Arc<Pod>> = pods.iter().cloned().map(Arc::new).collect();
        awaited(hosts.collect(), &pods)
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
        leaving.terminating = Some(jiff::Timestamp::UNIX_EPOCH);
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
}
