//! Classes are compiled: strings become numbers, rules the counters they read.

use std::sync::Arc;

use model::{
    InclusionPolicy, NodeSelectorTerm, Requirement, SchedulingClass, SpreadConstraint,
    topology::PodTerm,
};

use super::{ClassId, NodeId, ResourceId, Snapshot};
use crate::{
    class::{Class, Near, Spread},
    filters::node_resources_fit::Request,
    topology::{
        Side,
        counters::CounterId,
        identities::IdentityId,
        keys::KeyId,
        territories::{Rule, TerritoryId},
    },
    view::HOSTNAME,
};

impl Snapshot {
    /// The class's id. What is placed is counted for the rules it brings, and its pods for the
    /// rules there are.
    pub fn class(&mut self, class: &Arc<SchedulingClass>) -> ClassId {
        let (counters, groups) = (self.topology.counters.len(), self.topology.groups.len());
        let id = self.intern(class);
        self.count_anew(counters, groups);
        id
    }

    /// The ids of many classes; what is placed is counted once for all of them.
    pub fn classes<'a>(
        &mut self,
        classes: impl IntoIterator<Item = &'a Arc<SchedulingClass>>,
    ) -> Vec<ClassId> {
        let (counters, groups) = (self.topology.counters.len(), self.topology.groups.len());
        let ids = classes
            .into_iter()
            .map(|class| self.intern(class))
            .collect();
        self.count_anew(counters, groups);
        ids
    }

    pub(super) fn resource(&mut self, name: &Arc<str>) -> ResourceId {
        if let Some(&id) = self.resources.get(name) {
            return id;
        }
        let id = self.resources.len() as ResourceId;
        self.resources.insert(Arc::clone(name), id);
        id
    }

    fn intern(&mut self, source: &Arc<SchedulingClass>) -> ClassId {
        let address = Arc::as_ptr(source).addr();
        if let Some(&id) = self.class_addresses.get(&address) {
            return id;
        }
        if let Some(&id) = self.class_ids.get(source) {
            return id;
        }
        let id = ClassId(self.classes.len() as u32);
        let class = self.compile(source);
        self.classes.push(class);
        self.class_ids.insert(Arc::clone(source), id);
        self.class_addresses.insert(address, id);
        id
    }

    fn compile(&mut self, source: &Arc<SchedulingClass>) -> Class {
        let extended = source
            .requests
            .extended
            .iter()
            .map(|(name, amount)| (self.resource(name), *amount))
            .collect();
        let request = Request::new(&source.requests, extended);
        let identity = self.topology.identity(source);
        let near = self.near(source, identity);
        let (mut forbids, mut owns, mut apart_by) = (Vec::new(), Vec::new(), Vec::new());
        for term in &source.anti_affinity {
            let key = self.key(&term.topology_key);
            let incoming = self.matcher(term, Side::Incoming);
            let running = self.matcher(term, Side::Running);
            forbids.push(self.topology.matching(vec![incoming], key));
            owns.push(self.topology.owners(running, key));
            let own = self.topology.identities.get(identity);
            if own.is_matched_by(incoming) || own.is_matched_by(running) {
                apart_by.push(key);
            }
        }
        for list in [&mut forbids, &mut owns, &mut apart_by] {
            list.sort_unstable();
            list.dedup();
        }
        let spread = self.spread(source);
        let claims = self.attachments.compile(source, &self.surroundings.storage);
        let named = self.is_named(source);
        Class {
            looks_at_pods: near.is_some()
                || !forbids.is_empty()
                || !spread.is_empty()
                || claims.is_some()
                || !source.host_ports.is_empty(),
            source: Arc::clone(source),
            identity,
            request,
            named,
            near,
            forbids,
            owns,
            apart_by,
            spread,
            claims,
            weighed: None,
        }
    }

    fn near(&mut self, source: &SchedulingClass, identity: IdentityId) -> Option<Near> {
        if source.affinity.is_empty() {
            return None;
        }
        let mut matchers = Vec::new();
        let mut keys = Vec::new();
        for term in &source.affinity {
            matchers.push(self.matcher(term, Side::Incoming));
            keys.push(self.key(&term.topology_key));
        }
        keys.sort_unstable();
        keys.dedup();
        let counters: Vec<CounterId> = keys
            .iter()
            .map(|&key| self.topology.matching(matchers.clone(), key))
            .collect();
        let own = self.topology.identities.get(identity);
        Some(Near {
            counters,
            matches_itself: matchers.iter().all(|&matcher| own.is_matched_by(matcher)),
        })
    }

    pub(super) fn matcher(&mut self, term: &PodTerm, side: Side) -> u32 {
        let namespaces = &self.surroundings.namespaces;
        self.topology.matcher(term, side, namespaces)
    }

    fn spread(&mut self, source: &SchedulingClass) -> Vec<Spread> {
        let mut keys: Vec<KeyId> = Vec::new();
        for constraint in &source.spread {
            keys.push(self.key(&constraint.topology_key));
        }
        keys.sort_unstable();
        keys.dedup();
        source
            .spread
            .iter()
            .map(|constraint| self.constraint(source, constraint, &keys))
            .collect()
    }

    pub(super) fn constraint(
        &mut self,
        source: &SchedulingClass,
        constraint: &SpreadConstraint,
        keys: &[KeyId],
    ) -> Spread {
        let selector = source.node_selector.clone();
        let terms = source.required_terms.clone();
        let is_restricted = !selector.is_empty() || terms.is_some();
        let honours = |policy| policy == InclusionPolicy::Honor;
        let affinity = (honours(constraint.node_affinity_policy) && is_restricted)
            .then_some((selector, terms));
        let tolerations =
            honours(constraint.node_taints_policy).then(|| source.tolerations.clone());
        let rule = Rule {
            key: self.key(&constraint.topology_key),
            keys: keys.to_vec(),
            named: affinity
                .as_ref()
                .is_some_and(|(selector, terms)| mentions_names(selector, terms.as_deref())),
            affinity,
            tolerations,
        };
        let territory = self.territory(rule);
        let selector = constraint.selector.as_ref();
        let group = self.topology.group(territory, &source.namespace, selector);
        let matches_itself = selector.is_some_and(|selector| selector.matches(&source.labels));
        let counts = selector.is_some_and(|selector| !selector.requirements.is_empty());
        Spread {
            group,
            max_skew: constraint.max_skew,
            min_domains: constraint.min_domains,
            matches_itself,
            counts_itself: matches_itself && counts,
        }
    }

    fn territory(&mut self, rule: Rule) -> TerritoryId {
        let (id, new) = self.topology.territories.intern(rule);
        if new {
            for (node, detail) in self.details.iter().enumerate() {
                if let Some(detail) = detail {
                    let shape = self.slots[node].shape as usize;
                    let (keys, territories) = (&self.topology.keys, &mut self.topology.territories);
                    territories.attach_to(id, keys, node, shape, detail.view());
                }
            }
        }
        id
    }

    pub(super) fn key(&mut self, name: &Arc<str>) -> KeyId {
        let (key, new) = self.topology.keys.intern(name);
        if new {
            for (node, detail) in self.details.iter().enumerate() {
                if let Some(detail) = detail {
                    let shape = self.slots[node].shape as usize;
                    self.topology
                        .keys
                        .attach_key(key, node, shape, detail.view());
                }
            }
        }
        key
    }

    /// Counts what is placed, for counters and groups from these on.
    pub(super) fn count_anew(&mut self, counters: u32, groups: u32) {
        if (counters, groups) == (self.topology.counters.len(), self.topology.groups.len()) {
            return;
        }
        for index in 0..self.details.len() {
            for pods in self.pods(NodeId(index as u32)).to_vec() {
                let class = &self.classes[pods.class.index()];
                self.topology
                    .add_since((counters, groups), index, class, pods);
            }
        }
    }

    /// Whether any rule that a shape decides looks at names or hostnames.
    fn is_named(&self, source: &SchedulingClass) -> bool {
        source.node_name.is_some()
            || mentions_names(&source.node_selector, source.required_terms.as_deref())
            || source.claims.iter().any(|used| {
                let storage = &self.surroundings.storage;
                storage
                    .claim(&source.namespace, &used.name)
                    .is_some_and(|claim| {
                        self.free_volumes.mention_names(
                            storage,
                            &source.namespace,
                            &used.name,
                            claim,
                        )
                    })
            })
    }
}

fn mentions_names(selector: &[Requirement], terms: Option<&[NodeSelectorTerm]>) -> bool {
    let by_hostname =
        |requirements: &[Requirement]| requirements.iter().any(|r| &*r.key == HOSTNAME);
    by_hostname(selector)
        || terms
            .unwrap_or_default()
            .iter()
            .any(|term| !term.match_fields.is_empty() || by_hostname(&term.match_expressions))
}
