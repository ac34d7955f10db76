//! The cluster of a dump, changed: nodes that are gone, pods that are there besides.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use controller::controllers::vpsie_node::read_record;
use intake::dump::{Dump, DumpError, Fault, Problem};
use model::{NodeName, Pod, PodKey, PodRole, PodState, SchedulingClass, Uid};
use scheduling::{Failure, Snapshot};
use serde_json::json;

use super::manifest::Added;
use crate::explain::words::listed;

/// Nodes that are named where another is asked for.
const A_FEW: usize = 5;

/// Why the cluster cannot be changed so.
#[derive(Debug, thiserror::Error)]
pub(super) enum ChangeError {
    /// No such node.
    #[error("there is no node {node}; {there}")]
    NoSuchNode {
        /// The node.
        node: String,
        /// Which there are.
        there: String,
    },
    /// What was added cannot be put into the form of a dump.
    #[error("its objects cannot be written")]
    Write(#[source] serde_json::Error),
    /// What was added cannot be taken apart.
    #[error("its objects cannot be read")]
    Read(#[source] DumpError),
    /// An object cannot be used.
    #[error("{0}")]
    Object(String),
    /// A pod is there already.
    #[error("Pod {pod}{origin} is in the cluster already")]
    PodTwice {
        /// The pod.
        pod: PodKey,
        /// What adds it, where that is not itself.
        origin: String,
    },
    /// A DaemonSet is there already.
    #[error("DaemonSet {0} is in the cluster already")]
    DaemonSetTwice(PodKey),
}

/// Takes nodes away, with their machines: their pods wait, but those that leave with their node.
pub(super) fn remove_nodes(dump: &mut Dump, names: &[String]) -> Result<(), ChangeError> {
    let gone: BTreeSet<NodeName> = names.iter().map(NodeName::new).collect();
    let there: BTreeSet<&NodeName> = dump.nodes.iter().map(|node| &node.name).collect();
    if let Some(node) = gone.iter().find(|name| !there.contains(name)) {
        let nodes: Vec<&NodeName> = there.into_iter().collect();
        return Err(ChangeError::NoSuchNode {
            node: node.to_string(),
            there: if nodes.is_empty() {
                "there is none at all".to_owned()
            } else {
                format!("nodes: {}", listed(&nodes, A_FEW))
            },
        });
    }
    if gone.is_empty() {
        return Ok(());
    }
    dump.nodes.retain(|node| !gone.contains(&node.name));
    let machine = |name: Option<NodeName>| name.is_some_and(|name| gone.contains(&name));
    dump.vpsie_nodes
        .retain(|object| !machine(read_record(object).node));
    for node in &gone {
        dump.surroundings.storage.attached.remove(node);
    }
    let (lost, bound): (Vec<_>, Vec<_>) = std::mem::take(&mut dump.bound)
        .into_iter()
        .partition(|pod| pod.node().is_some_and(|node| gone.contains(node)));
    dump.bound = bound;
    let waits = |pod: &&Arc<Pod>| pod.role == PodRole::Ordinary && pod.terminating.is_none();
    dump.waiting.extend(lost.iter().filter(waits).map(|pod| {
        Arc::new(Pod {
            state: PodState::Waiting,
            nominated: None,
            ..Pod::clone(pod)
        })
    }));
    dump.waiting.sort_by(|a, b| a.key.cmp(&b.key));
    Ok(())
}

/// Adds what a manifest comes to.
pub(super) fn add(dump: &mut Dump, added: &Added) -> Result<(), ChangeError> {
    let list = json!({"apiVersion": "v1", "kind": "List", "items": added.items});
    let text = serde_json::to_vec(&list).map_err(ChangeError::Write)?;
    let read = Dump::from_slice(&text).map_err(ChangeError::Read)?;
    if let Some(problem) = read.problems.first() {
        return Err(ChangeError::Object(told(problem, &added.origins)));
    }
    let bound = dump.bound.iter().map(|pod| &pod.key);
    let there: BTreeSet<&PodKey> = bound
        .chain(dump.waiting.iter().map(|pod| &pod.key))
        .collect();
    if let Some(pod) = read.waiting.iter().find(|pod| there.contains(&pod.key)) {
        let itself = format!("Pod {}", pod.key);
        let origin = added
            .origins
            .get(&pod.key)
            .filter(|origin| **origin != itself);
        return Err(ChangeError::PodTwice {
            pod: pod.key.clone(),
            origin: origin
                .map(|origin| format!(" of {origin}"))
                .unwrap_or_default(),
        });
    }
    let storage = &mut dump.surroundings.storage;
    for (name, claim) in read.surroundings.storage.claims {
        storage.claims.entry(name).or_insert(claim);
    }
    for pod in read.waiting {
        match added.bound.get(&pod.key) {
            None => dump.waiting.push(pod),
            Some(node) => dump.bound.push(on_its_node(dump, &pod, node)?),
        }
    }
    run_daemon_sets(dump, read.daemon_sets)?;
    dump.waiting.sort_by(|a, b| a.key.cmp(&b.key));
    dump.bound.sort_by(|a, b| a.key.cmp(&b.key));
    Ok(())
}

/// A pod that names its node itself: no scheduler is asked.
fn on_its_node(dump: &Dump, pod: &Pod, node: &str) -> Result<Arc<Pod>, ChangeError> {
    let node = NodeName::new(node);
    if !dump.nodes.iter().any(|there| there.name == node) {
        let key = &pod.key;
        return Err(ChangeError::Object(format!(
            "Pod {key}: spec.nodeName is {node}, which is not there"
        )));
    }
    Ok(Arc::new(Pod {
        state: PodState::Bound(node),
        ..pod.clone()
    }))
}

/// What is wrong with a pod, said of the object it comes from.
fn told(problem: &Problem, origins: &BTreeMap<PodKey, String>) -> String {
    let key = PodKey::new(&*problem.namespace, &*problem.name);
    match origins.get(&key) {
        Some(origin) if problem.kind == "Pod" && !origin.starts_with("Pod ") => {
            let within = match &problem.fault {
                Fault::Undecodable { path, .. } if !path.is_empty() => "spec.template.",
                _ => "",
            };
            format!("{origin}: {within}{}", problem.fault)
        }
        _ => problem.to_string(),
    }
}

/// Puts a pod of each new DaemonSet on every node that takes it. Where only room is lacking, it
/// waits.
fn run_daemon_sets(
    dump: &mut Dump,
    sets: BTreeMap<PodKey, Arc<SchedulingClass>>,
) -> Result<(), ChangeError> {
    if let Some(key) = sets.keys().find(|key| dump.daemon_sets.contains_key(key)) {
        return Err(ChangeError::DaemonSetTwice(key.clone()));
    }
    if sets.is_empty() {
        return Ok(());
    }
    let mut snapshot = Snapshot::empty(Arc::new(dump.surroundings.clone()));
    let sound = dump.nodes.iter().filter(|node| node.defect.is_none());
    let nodes: Vec<_> = sound.map(|node| snapshot.add_node(node.clone())).collect();
    let new = snapshot.classes(sets.values());
    let ids = snapshot.classes(dump.bound.iter().map(|pod| &pod.class));
    for (pod, class) in dump.bound.iter().zip(ids) {
        if let Some(node) = pod.node().and_then(|name| snapshot.node(name)) {
            snapshot.place(node, class, pod.terminating.is_some());
        }
    }
    for ((key, class), id) in sets.iter().zip(new) {
        for &node in &nodes {
            let failures = snapshot.failures(id, node);
            let Some(name) = snapshot.name(node).cloned() else {
                continue;
            };
            let only_room =
                |failure: &Failure| matches!(failure, Failure::InsufficientResource { .. });
            if !failures.iter().all(only_room) {
                continue;
            }
            let pod = PodKey::new(&*key.namespace, &*format!("{}-{name}", key.name));
            let runs = failures.is_empty();
            let pod = Arc::new(Pod {
                uid: Uid::new(format!("simulated/{pod}")),
                key: pod,
                class: Arc::clone(class),
                state: if runs {
                    PodState::Bound(name)
                } else {
                    PodState::Waiting
                },
                role: PodRole::DaemonSet,
                terminating: None,
                nominated: None,
                created_at: None,
                started_at: None,
                health: model::PodHealth::Ready,
                upkeep: Arc::default(),
            });
            if runs {
                snapshot.place(node, id, false);
                dump.bound.push(pod);
            } else {
                dump.waiting.push(pod);
            }
        }
    }
    dump.daemon_sets.extend(sets);
    Ok(())
}
