//! What stands in the way of a pod, told apart by what could remove it: so that a search over many
//! nodes need not look twice at those that are lost to a pod, nor at all of a domain that is.

use super::{ClassId, NodeId, Snapshot};
use crate::{
    class::Class,
    filters::pod_topology_spread,
    topology::{
        counters::CounterId,
        keys::{Domain, KeyId},
    },
    view::HOSTNAME,
};

/// A label whose values are domains.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct TopologyKey(KeyId);

/// What stands in the way.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Obstacle {
    /// The node itself, or what is on it. More pods anywhere make it no better.
    Node,
    /// A rule between pods, for every node of the domain alike.
    Domain(TopologyKey),
}

impl Snapshot {
    /// Why a pod of the class does not fit on the node; `None` where it does.
    #[must_use]
    pub fn obstacle(&self, class: ClassId, node: NodeId) -> Option<Obstacle> {
        if self.fits(class, node) {
            return None;
        }
        let by_rule = self.classes.get(class.index()).and_then(|class_of| {
            let key = self.blocked_by(class_of, node.index())?;
            let others_agree = self.has_room(class_of, node)
                && self.admits(class, node)
                && self.passes_mounts(class_of, node.index());
            others_agree.then_some(Obstacle::Domain(TopologyKey(key)))
        });
        Some(by_rule.unwrap_or(Obstacle::Node))
    }

    /// The label by which a rule between pods says no, where the node has it.
    fn blocked_by(&self, class: &Class, node: usize) -> Option<KeyId> {
        let (keys, counters) = (&self.topology.keys, &self.topology.counters);
        let at = |counter: CounterId| counters.at(keys, counter, node);
        let refused_by = &self.topology.identities.get(class.identity).refused_by;
        let mut forbidding = class.forbids.iter().chain(refused_by);
        if let Some(&counter) = forbidding.find(|&&counter| at(counter) > 0) {
            return Some(counters.key(counter));
        }
        let near = class.near.iter().flat_map(|near| &near.counters);
        let mut absent = near.filter(|&&counter| at(counter) == 0);
        if !crate::filters::inter_pod_affinity::passes(self, class, node)
            && let Some(&counter) = absent.next()
        {
            let key = counters.key(counter);
            return keys.of(key, node).map(|_| key);
        }
        pod_topology_spread::blocked_by(self, class, node)
    }

    /// The labels that the class's rules between pods go by, ascending, each once.
    #[must_use]
    pub fn topology_keys(&self, class: ClassId) -> Vec<TopologyKey> {
        let Some(class) = self.classes.get(class.index()) else {
            return Vec::new();
        };
        let topology = &self.topology;
        let refused_by = &topology.identities.get(class.identity).refused_by;
        let near = class.near.iter().flat_map(|near| &near.counters);
        let counters = class.forbids.iter().chain(refused_by).chain(near);
        let mut keys: Vec<TopologyKey> = counters
            .map(|&counter| TopologyKey(topology.counters.key(counter)))
            .chain(class.spread.iter().map(|spread| {
                let group = topology.groups.get(spread.group);
                TopologyKey(topology.territories.get(group.territory()).key())
            }))
            .collect();
        keys.sort_unstable();
        keys.dedup();
        keys
    }

    /// The node's domain: a number, the same for nodes with the same value of the label.
    #[must_use]
    pub fn domain(&self, node: NodeId, key: TopologyKey) -> Option<Domain> {
        self.topology.keys.of(key.0, node.index())
    }

    /// How many values of the label were ever seen.
    #[must_use]
    pub fn domains(&self, key: TopologyKey) -> usize {
        self.topology.keys.domains(key.0)
    }

    /// Each node is a domain of its own.
    #[must_use]
    pub fn is_hostname(&self, key: TopologyKey) -> bool {
        &**self.topology.keys.name(key.0) == HOSTNAME
    }

    /// Some rule between pods goes by this label.
    #[must_use]
    pub fn goes_by(&self, label: &str) -> bool {
        self.topology.keys.has(label)
    }

    /// A number that is another one whenever a domain that was closed to the class may be open
    /// again: the emptiest domain has more pods, or a pod it wants to be near has come.
    #[must_use]
    pub fn tide(&self, class: ClassId) -> u64 {
        let Some(class) = self.classes.get(class.index()) else {
            return 0;
        };
        let near = class.near.iter().flat_map(|near| &near.counters);
        let totals = near.map(|&counter| self.topology.counters.total(counter));
        let minimums = pod_topology_spread::minimums(self, class).map(u64::from);
        totals
            .chain(minimums)
            .fold(0_u64, |mix, number| mix.rotate_left(17) ^ number)
    }

    /// No rule between pods, no port and no volume concerns the class: where its pods run is a
    /// matter of each node alone, and changes nothing for others but their room.
    #[must_use]
    pub fn is_independent(&self, class: ClassId) -> bool {
        self.classes.get(class.index()).is_some_and(|class| {
            let identity = self.topology.identities.get(class.identity);
            !class.looks_at_pods && identity.matchers().is_empty()
        })
    }

    /// Its pods come one to a domain, or one to a node.
    #[must_use]
    pub fn comes_alone(&self, class: ClassId) -> bool {
        self.classes
            .get(class.index())
            .is_some_and(|class| !class.apart_by.is_empty() || !class.source.host_ports.is_empty())
    }

    /// Its required affinity is for its own kind, so that its first pod may run anywhere.
    #[must_use]
    pub fn may_come_first(&self, class: ClassId) -> bool {
        self.classes
            .get(class.index())
            .is_some_and(|class| class.near.as_ref().is_none_or(|near| near.matches_itself))
    }

    fn has_room(&self, class: &Class, node: NodeId) -> bool {
        let extended = self.detail(node).map_or(&[][..], |detail| &detail.extended);
        let slot = self.slots.get(node.index()).filter(|slot| slot.alive);
        slot.is_some_and(|slot| class.request.fits(&slot.free, extended))
    }
}
