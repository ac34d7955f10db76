//! Which pods are asked about, and when a dump has no answer.

use std::{fmt, sync::Arc};

use intake::dump::{Dump, Problem};
use model::{NodeName, Pod, PodKey};

use crate::offline::sources;

/// Pending pods that are named where another is asked for.
const A_FEW: usize = 5;

/// What is asked.
pub(super) enum Question<'a> {
    /// About every pending pod.
    AllPending,
    /// About this one.
    Pod { namespace: &'a str, name: &'a str },
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
    /// No such pod waits.
    #[error("there is no pending pod {pod}; {pending}")]
    NoSuchPod {
        /// The pod.
        pod: String,
        /// Which there are.
        pending: Pending,
    },
    /// What would be asked about cannot be read.
    #[error("{0}")]
    Unreadable(Box<Problem>),
}

/// The pods that wait, in short.
#[derive(Debug)]
pub(super) struct Pending {
    few: Vec<PodKey>,
    more: usize,
}

impl fmt::Display for Pending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.few.is_empty() {
            return f.write_str("no pod is pending");
        }
        let few: Vec<String> = self.few.iter().map(ToString::to_string).collect();
        write!(f, "pending: {}", few.join(", "))?;
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
            Self::Bound { .. } | Self::NoSuchPod { .. } => None,
        }
    }
}

impl<'a> Question<'a> {
    /// About `namespace/name`, where the namespace may be left out for `default`; without a name,
    /// about all.
    pub(super) fn new(pod: Option<&'a str>) -> Self {
        let Some(pod) = pod else {
            return Self::AllPending;
        };
        let (namespace, name) = pod.split_once('/').unwrap_or(("default", pod));
        Self::Pod { namespace, name }
    }

    /// The pods that are asked about, by namespace and name.
    pub(super) fn select(&self, dump: &Dump) -> Result<Vec<Arc<Pod>>, Unanswerable> {
        match *self {
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
                let broken = dump.problems.iter().find(|problem| {
                    problem.kind == "Pod"
                        && problem.namespace == namespace
                        && problem.name == name
                        && problem.fault.leaves_out()
                });
                if let Some(problem) = broken {
                    return Err(Unanswerable::Unreadable(Box::new(problem.clone())));
                }
                let keys = dump.waiting.iter().map(|pod| pod.key.clone());
                let pending = Pending {
                    few: keys.take(A_FEW).collect(),
                    more: dump.waiting.len().saturating_sub(A_FEW),
                };
                Err(Unanswerable::NoSuchPod { pod, pending })
            }
        }
    }
}

/// Whether anything can be said about any of these pods: one with a defect cannot be judged.
pub(super) fn any_judged(asked: &[Arc<Pod>]) -> bool {
    asked.is_empty() || asked.iter().any(|pod| pod.class.defect.is_none())
}
