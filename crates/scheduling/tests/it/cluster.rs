//! Small clusters, written down in a few words.

use std::sync::Arc;

use model::{
    HostPort, InclusionPolicy, LabelSelector, Labels, Namespaces, Node, NodeName, NodeSelectorTerm,
    NodeShape, Operator, PodTerm, Protocol, Requirement, Resources, SchedulingClass,
    SpreadConstraint, Surroundings,
    storage::{AccessMode, Claim, ClaimUse, StorageClass, Volume, VolumeHandle},
};
use scheduling::{ClassId, Failure, Filter, NodeId, PlacedPods, Snapshot};

pub(crate) const HOSTNAME: &str = "kubernetes.io/hostname";
pub(crate) const ZONE: &str = "topology.kubernetes.io/zone";

/// Labels from `key=value` words.
pub(crate) fn labels(words: &str) -> Labels {
    words
        .split_whitespace()
        .map(|word| word.split_once('=').unwrap())
        .map(|(key, value)| (Arc::from(key), Arc::from(value)))
        .collect()
}

pub(crate) fn requirement(key: &str, operator: Operator, values: &[&str]) -> Requirement {
    Requirement {
        key: key.into(),
        operator,
        values: values.iter().map(|value| Arc::from(*value)).collect(),
    }
}

/// A selector from `key=value` words; none is the empty selector.
pub(crate) fn selector(words: &str) -> LabelSelector {
    LabelSelector {
        requirements: labels(words)
            .iter()
            .map(|(key, value)| requirement(key, Operator::In, &[value]))
            .collect(),
    }
}

/// A node with room for everything.
pub(crate) fn node(name: &str, words: &str) -> Node {
    node_with(name, words, |_| {})
}

pub(crate) fn node_with(name: &str, words: &str, change: impl FnOnce(&mut NodeShape)) -> Node {
    let mut shape = NodeShape {
        labels: labels(words),
        allocatable: Resources {
            cpu_milli: 64_000,
            memory: 64 << 30,
            ephemeral: 100 << 30,
            pods: 110,
            ..Resources::default()
        },
        ..NodeShape::default()
    };
    change(&mut shape);
    Node {
        name: NodeName::new(name),
        uid: None,
        shape: Arc::new(shape),
        ready: true,
        created_at: None,
        defect: None,
    }
}

/// A pod that asks for nothing.
pub(crate) fn pod(
    namespace: &str,
    words: &str,
    change: impl FnOnce(&mut SchedulingClass),
) -> SchedulingClass {
    let mut class = SchedulingClass {
        namespace: namespace.into(),
        labels: labels(words),
        requests: Resources {
            pods: 1,
            ..Resources::default()
        },
        ..SchedulingClass::default()
    };
    change(&mut class);
    class
}

/// A term about pods of these labels in these namespaces.
pub(crate) fn term(words: &str, namespaces: &[&str], key: &str) -> PodTerm {
    PodTerm {
        selector: Some(selector(words)),
        namespaces: Namespaces {
            names: namespaces.iter().map(|name| Arc::from(*name)).collect(),
            selector: None,
        },
        topology_key: key.into(),
    }
}

pub(crate) fn spread(key: &str, words: &str) -> SpreadConstraint {
    SpreadConstraint {
        topology_key: key.into(),
        max_skew: 1,
        min_domains: 1,
        selector: Some(selector(words)),
        node_affinity_policy: InclusionPolicy::Honor,
        node_taints_policy: InclusionPolicy::Ignore,
    }
}

pub(crate) fn port(protocol: Protocol, address: &str, port: u16) -> HostPort {
    HostPort {
        protocol,
        address: address.into(),
        port,
    }
}

pub(crate) fn expressions(requirements: Vec<Requirement>) -> NodeSelectorTerm {
    NodeSelectorTerm {
        match_expressions: requirements,
        match_fields: Vec::new(),
    }
}

pub(crate) fn claim_use(name: &str) -> ClaimUse {
    ClaimUse {
        name: name.into(),
        owner: None,
    }
}

/// A cluster to be put together and asked.
#[derive(Default)]
pub(crate) struct Cluster {
    nodes: Vec<Node>,
    pods: Vec<PlacedPods>,
    pub(crate) surroundings: Surroundings,
}

impl Cluster {
    pub(crate) fn of(nodes: impl IntoIterator<Item = Node>) -> Self {
        Self {
            nodes: nodes.into_iter().collect(),
            ..Self::default()
        }
    }

    pub(crate) fn runs(mut self, node: &str, class: SchedulingClass) -> Self {
        self.pods.push(PlacedPods {
            node: NodeName::new(node),
            class: Arc::new(class),
            terminating: false,
            count: 1,
        });
        self
    }

    pub(crate) fn ends(mut self, node: &str, class: SchedulingClass) -> Self {
        self = self.runs(node, class);
        self.pods.last_mut().unwrap().terminating = true;
        self
    }

    pub(crate) fn namespace(mut self, name: &str, words: &str) -> Self {
        let namespaces = &mut self.surroundings.namespaces;
        namespaces.insert(name.into(), labels(words));
        self
    }

    /// A claim in namespace `a`.
    pub(crate) fn claim(mut self, name: &str, change: impl FnOnce(&mut Claim)) -> Self {
        let mut claim = Claim {
            requested: 1 << 30,
            access_modes: vec![AccessMode::ReadWriteOnce],
            ..Claim::default()
        };
        change(&mut claim);
        let claims = &mut self.surroundings.storage.claims;
        claims.insert(("a".into(), name.into()), claim);
        self
    }

    /// A free volume.
    pub(crate) fn volume(mut self, name: &str, change: impl FnOnce(&mut Volume)) -> Self {
        let mut volume = Volume {
            capacity: 1 << 30,
            access_modes: vec![AccessMode::ReadWriteOnce],
            available: true,
            handle: Some(VolumeHandle {
                driver: "csi.a.io".into(),
                handle: name.into(),
            }),
            ..Volume::default()
        };
        change(&mut volume);
        let volumes = &mut self.surroundings.storage.volumes;
        volumes.insert(name.into(), volume);
        self
    }

    /// A class of storage; it waits for the pod unless told otherwise.
    pub(crate) fn class(mut self, name: &str, change: impl FnOnce(&mut StorageClass)) -> Self {
        let mut class = StorageClass {
            provisioner: "csi.a.io".into(),
            waits_for_consumer: true,
            driver: Some("csi.a.io".into()),
            ..StorageClass::default()
        };
        change(&mut class);
        let classes = &mut self.surroundings.storage.classes;
        classes.insert(name.into(), class);
        self
    }

    /// How many volumes of `csi.a.io` a node takes.
    pub(crate) fn limit(mut self, node: &str, limit: Option<i64>) -> Self {
        let limits = &mut self.surroundings.storage.limits;
        limits
            .entry(NodeName::new(node))
            .or_default()
            .insert("csi.a.io".into(), limit);
        self
    }

    pub(crate) fn snapshot(&self) -> Snapshot {
        Snapshot::new(
            self.nodes.clone(),
            self.pods.clone(),
            Arc::new(self.surroundings.clone()),
        )
    }

    /// Which filters refuse the pod on each node, by name in the order of the nodes.
    pub(crate) fn refusals(&self, class: SchedulingClass) -> Vec<Vec<Filter>> {
        let mut snapshot = self.snapshot();
        let class = snapshot.class(&Arc::new(class));
        snapshot
            .nodes()
            .map(|node| filters(&snapshot, class, node))
            .collect()
    }

    /// On which nodes the pod fits.
    pub(crate) fn hosts(&self, class: SchedulingClass) -> Vec<String> {
        let mut snapshot = self.snapshot();
        let class = snapshot.class(&Arc::new(class));
        snapshot
            .fitting(class)
            .map(|node| snapshot.name(node).unwrap().to_string())
            .collect()
    }

    /// Every reason against the pod on one node.
    pub(crate) fn reasons(&self, class: SchedulingClass, node: &str) -> Vec<Failure> {
        let mut snapshot = self.snapshot();
        let class = snapshot.class(&Arc::new(class));
        let node = snapshot.node(&NodeName::new(node)).unwrap();
        snapshot.failures(class, node)
    }
}

/// The filters that refuse, each once; what `fits` says must agree.
fn filters(snapshot: &Snapshot, class: ClassId, node: NodeId) -> Vec<Filter> {
    let mut filters: Vec<Filter> = snapshot
        .failures(class, node)
        .iter()
        .map(Failure::filter)
        .collect();
    filters.dedup();
    assert_eq!(filters.is_empty(), snapshot.fits(class, node), "fast path");
    filters
}
