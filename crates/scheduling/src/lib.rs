//! kube-scheduler's filters over the model: would this pod be put on that node?
//!
//! Pure. A [`Snapshot`] holds a whole cluster and answers for it: [`Snapshot::fits`] fast,
//! [`Snapshot::failures`] with every filter that says no and why. The functions of this module ask
//! the filters that need no other pods about a single node.
//! One file per filter, named as the scheduler's plugin, in `filters`.
//!
//! ```
//! use std::sync::Arc;
//!
//! use model::{Node, NodeName, NodeShape, Resources, SchedulingClass, Surroundings};
//! use scheduling::Snapshot;
//!
//! let amounts = |cpu_milli, pods| Resources { cpu_milli, pods, ..Resources::default() };
//! let node = Node {
//!     name: NodeName::new("n1"),
//!     uid: None,
//!     shape: Arc::new(NodeShape { allocatable: amounts(1000, 110), ..NodeShape::default() }),
//!     ready: true,
//!     created_at: None,
//!     defect: None,
//! };
//! let mut cluster = Snapshot::new([node], [], Arc::new(Surroundings::default()));
//! let web = cluster.class(&Arc::new(SchedulingClass {
//!     requests: amounts(400, 1),
//!     ..SchedulingClass::default()
//! }));
//! let node = cluster.first_fit(web, cluster.nodes().next().unwrap()).unwrap();
//! assert_eq!(cluster.how_many(web, node, 10), 2);
//!
//! // What if two ran there?
//! cluster.fork();
//! cluster.place_many(node, web, false, 2);
//! assert_eq!(
//!     cluster.failures(web, node)[0].to_string(),
//!     "insufficient cpu: 400m asked, 200m free",
//! );
//! cluster.revert();
//! assert!(cluster.fits(web, node));
//! ```

mod amounts;
mod attachments;
mod class;
mod failure;
mod filters;
mod shapes;
mod snapshot;
mod topology;
mod view;
mod volumes;

use model::{Node, Resources, SchedulingClass};

pub use failure::{ClaimProblem, Failure, Filter};
pub use snapshot::{ClassId, NodeId, Obstacle, PlacedPods, PodsOnNode, Snapshot, TopologyKey};

use filters::{check_node, node_declared_features, node_resources_fit};
use view::View;

/// Whether the scheduler would put a pod of `class` on `node`, of which `requested` is taken, as
/// far as no other pod and no volume plays a part.
#[must_use]
pub fn fits(class: &SchedulingClass, node: &Node, requested: &Resources) -> bool {
    node_resources_fit::fits(class, node, requested) && admits(class, node)
}

/// As [`fits`], but for the resources: what does not change while a node fills up.
#[must_use]
pub fn admits(class: &SchedulingClass, node: &Node) -> bool {
    let view = View::of(node);
    check_node(class, view).is_empty() && node_declared_features::check(class, view).is_none()
}

/// How many pods of `class`, at most `most`, the resources of `node` take beside `requested`. The
/// other filters are not asked: see [`admits`].
#[must_use]
pub fn how_many(class: &SchedulingClass, node: &Node, requested: &Resources, most: u32) -> u32 {
    node_resources_fit::how_many(class, node, requested, most)
}

/// Every reason against it, of the filters that [`fits`] asks.
#[must_use]
pub fn failures(class: &SchedulingClass, node: &Node, requested: &Resources) -> Vec<Failure> {
    let view = View::of(node);
    let has = &node.shape.allocatable;
    let mut free = has.clone();
    free.sub(requested);
    let mut failures = check_node(class, view);
    failures.extend(node_resources_fit::check(class, has, &free));
    failures.extend(node_declared_features::check(class, view));
    failures
}

#[cfg(test)]
mod tests;
