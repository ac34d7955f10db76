//! What is asked about, and when a dump has no answer.

use std::{collections::BTreeSet, fmt, sync::Arc};

use intake::dump::{Dump, Fault, Problem};
use model::{GroupKey, NodeName, Pod, PodKey};

use crate::offline::sources;

/// Others that are named where one that is not there is asked for.
const A_FEW: usize = 5;

/// What is asked.
#[derive(Clone, Copy)]
pub(super) enum Question<'a> {
    /// About every pending pod.
    AllPending,
    /// About this one.
    Pod { namespace: &'a str, name: &'a str },
    /// About these nodes; about all where none is named.
    Nodes(&'a [String]),
    /// About these groups; about all where none is named.
    Groups(&'a [String]),
}

/// Why a dump has no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unanswerable {
    /// The pod has a node.
    #[error("pod {pod} is not pending: it is on node {node}")]
    Bound {
        /// The pod.
        pod: String,
        /// Its node.
        node: NodeName,
    },
    /// There is no such object.
    #[error("there is no {what} {name}; {others}")]
    NotThere {
        /// What kind of object.
        what: &'static str,
        /// As it was asked for.
        name: String,
        /// Which there are.
        others: Others,
    },
    /// What would be asked about cannot be read.
    #[error("{0}")]
    Unreadable(Box<Problem>),
}

/// What else could be asked about, in short.
#[derive(Debug)]
pub(super) struct Others {
    /// What is said before them.
    are: &'static str,
    /// What is said where there are none.
    none: &'static str,
    few: Vec<String>,
    more: usize,
}

impl Others {
    fn of<T: ToString>(
        all: impl ExactSizeIterator<Item = T>,
        are: &'static str,
        none: &'static str,
    ) -> Self {
        Self {
            are,
            none,
            more: all.len().saturating_sub(A_FEW),
            few: all.take(A_FEW).map(|one| one.to_string()).collect(),
        }
    }
}

impl fmt::Display for Others {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.few.is_empty() {
            return f.write_str(self.none);
        }
        write!(f, "{}: {}", self.are, self.few.join(", "))?;
        if self.more > 0 {
            write!(f, " and {} more", self.more)?;
        }
        Ok(())
    }
}

impl Unanswerable {
    /// The object's problem that it consists in.
    pub(super) fn problem(&self) -> Option<&Problem> {
        match self {
            Self::Unreadable(problem) => Some(problem),
            Self::Bound { .. } | Self::NotThere { .. } => None,
        }
    }
}

impl<'a> Question<'a> {
    /// About the pod `namespace/name`, where the namespace may be left out for `default`; without a
    /// name, about all that are pending.
    pub(super) fn pod(pod: Option<&'a str>) -> Self {
        let Some(pod) = pod else {
            return Self::AllPending;
        };
        let (namespace, name) = pod.split_once('/').unwrap_or(("default", pod));
        Self::Pod { namespace, name }
    }

    /// The pods that are asked about, by namespace and name.
    pub(super) fn pods(&self, dump: &Dump) -> Result<Vec<Arc<Pod>>, Unanswerable> {
        match *self {
            Self::Nodes(_) | Self::Groups(_) => Ok(Vec::new()),
            Self::AllPending => match sources::lost(dump) {
                Some(problem) => Err(Unanswerable::Unreadable(Box::new(problem.clone()))),
                None => Ok(dump.waiting.clone()),
            },
            Self::Pod { namespace, name } => {
                let is_it = |key: &PodKey| &*key.namespace == namespace && &*key.name == name;
                if let Some(pod) = dump.waiting.iter().find(|pod| is_it(&pod.key)) {
                    return Ok(vec![Arc::clone(pod)]);
                }
                let pod = format!("{namespace}/{name}");
                if let Some(bound) = dump.bound.iter().find(|pod| is_it(&pod.key))
                    && let Some(node) = bound.node()
                {
                    let node = node.clone();
                    return Err(Unanswerable::Bound { pod, node });
                }
                unreadable(dump, "Pod", |problem| {
                    problem.namespace == namespace && problem.name == name
                })?;
                let keys = dump.waiting.iter().map(|pod| &pod.key);
                Err(Unanswerable::NotThere {
                    what: "pending pod",
                    name: pod,
                    others: Others::of(keys, "pending", "no pod is pending"),
                })
            }
        }
    }
}

/// The nodes of these names, sorted; all of them where none is named.
pub(super) fn nodes(names: &[String], dump: &Dump) -> Result<Vec<NodeName>, Unanswerable> {
    let all = || dump.nodes.iter().map(|node| &node.name);
    if names.is_empty() {
        all_lost(dump, "Node", dump.nodes.is_empty())?;
        return Ok(all().cloned().collect());
    }
    let names: BTreeSet<&str> = names.iter().map(String::as_str).collect();
    let mut found = Vec::new();
    for name in names {
        if let Some(node) = all().find(|node| node.as_str() == name) {
            found.push(node.clone());
            continue;
        }
        unreadable(dump, "Node", |problem| problem.name == name)?;
        return Err(Unanswerable::NotThere {
            what: "node",
            name: name.to_owned(),
            others: Others::of(all(), "nodes", "no node is"),
        });
    }
    Ok(found)
}

/// The groups of these names, sorted; all of them where none is named. A name without a namespace
/// means the groups of that name in every namespace.
pub(super) fn groups(names: &[String], dump: &Dump) -> Result<Vec<GroupKey>, Unanswerable> {
    let keys: Vec<GroupKey> = dump
        .node_groups
        .iter()
        .map(|group| {
            let (namespace, name) = group.key();
            GroupKey::new(namespace, name)
        })
        .collect();
    if names.is_empty() {
        all_lost(dump, "NodeGroup", keys.is_empty())?;
        return Ok(keys);
    }
    let mut found = BTreeSet::new();
    for asked in names {
        let (namespace, name) = match asked.split_once('/') {
            Some((namespace, name)) => (Some(namespace), name),
            None => (None, asked.as_str()),
        };
        let is_in = |one: &str| namespace.is_none_or(|namespace| namespace == one);
        let same = |key: &&GroupKey| &*key.name == name && is_in(&key.namespace);
        let before = found.len();
        found.extend(keys.iter().filter(same).cloned());
        if found.len() > before || keys.iter().any(|key| same(&key)) {
            continue;
        }
        unreadable(dump, "NodeGroup", |problem| {
            problem.name == name && is_in(&problem.namespace)
        })?;
        return Err(Unanswerable::NotThere {
            what: "NodeGroup",
            name: asked.clone(),
            others: Others::of(keys.iter(), "groups", "no NodeGroup is"),
        });
    }
    Ok(found.into_iter().collect())
}

/// An object that is asked about is there, but cannot be read.
fn unreadable(
    dump: &Dump,
    kind: &str,
    is_it: impl Fn(&Problem) -> bool,
) -> Result<(), Unanswerable> {
    let broken = dump
        .problems
        .iter()
        .find(|problem| problem.kind == kind && is_it(problem) && problem.fault.leaves_out());
    match broken {
        Some(problem) => Err(Unanswerable::Unreadable(Box::new(problem.clone()))),
        None => Ok(()),
    }
}

/// There is nothing of a kind, and what cannot be read may have been it.
fn all_lost(dump: &Dump, kind: &str, none: bool) -> Result<(), Unanswerable> {
    let lost = dump.problems.iter().find(|problem| {
        let lost = matches!(
            problem.fault,
            Fault::Undecodable { .. } | Fault::NoKind | Fault::NoName
        );
        lost && (problem.kind.is_empty() || problem.kind == kind)
    });
    match lost.filter(|_| none) {
        Some(problem) => Err(Unanswerable::Unreadable(Box::new(problem.clone()))),
        None => Ok(()),
    }
}

/// Whether anything can be said about any of these pods: one with a defect cannot be judged.
pub(super) fn any_judged(asked: &[Arc<Pod>]) -> bool {
    asked.is_empty() || asked.iter().any(|pod| pod.class.defect.is_none())
}
