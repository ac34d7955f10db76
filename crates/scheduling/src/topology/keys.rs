//! Topology keys: labels whose values are the domains that pods are counted by.
//!
//! Each key that a rule goes by has a column that gives a node's domain as a small number. Domains
//! are numbered by key, in the order they are first seen, and never forgotten.

use std::{collections::BTreeMap, sync::Arc};

use crate::view::{HOSTNAME, View};

/// A topology key.
pub(crate) type KeyId = u32;
/// A value of a topology key.
pub(crate) type Domain = u32;
/// No such label.
const NONE: Domain = Domain::MAX;

/// All keys.
#[derive(Clone, Debug, Default)]
pub(crate) struct Keys {
    by_name: BTreeMap<Arc<str>, KeyId>,
    all: Vec<Key>,
}

#[derive(Clone, Debug)]
struct Key {
    name: Arc<str>,
    by_value: BTreeMap<Arc<str>, Domain>,
    values: Vec<Arc<str>>,
    /// By node.
    of_node: Vec<Domain>,
    /// By shape; hostnames, which shapes do not have, are looked up by node.
    of_shape: Vec<Option<Domain>>,
}

impl Key {
    fn domain(&mut self, value: &str) -> Domain {
        if let Some(&domain) = self.by_value.get(value) {
            return domain;
        }
        let domain = self.values.len() as Domain;
        let value: Arc<str> = Arc::from(value);
        self.values.push(Arc::clone(&value));
        self.by_value.insert(value, domain);
        domain
    }

    fn of_view(&mut self, view: View<'_>) -> Domain {
        match view.label(&self.name) {
            Some(value) => self.domain(value),
            None => NONE,
        }
    }
}

impl Keys {
    /// The key of this name; true where it is new and its nodes are not known yet.
    pub(crate) fn intern(&mut self, name: &Arc<str>) -> (KeyId, bool) {
        if let Some(&id) = self.by_name.get(name) {
            return (id, false);
        }
        let id = self.all.len() as KeyId;
        self.by_name.insert(Arc::clone(name), id);
        self.all.push(Key {
            name: Arc::clone(name),
            by_value: BTreeMap::new(),
            values: Vec::new(),
            of_node: Vec::new(),
            of_shape: Vec::new(),
        });
        (id, true)
    }

    /// The node's domain.
    pub(crate) fn of(&self, key: KeyId, node: usize) -> Option<Domain> {
        self.all[key as usize]
            .of_node
            .get(node)
            .copied()
            .filter(|&domain| domain != NONE)
    }

    pub(crate) fn name(&self, key: KeyId) -> &Arc<str> {
        &self.all[key as usize].name
    }

    /// How many values were ever seen.
    pub(crate) fn domains(&self, key: KeyId) -> usize {
        self.all[key as usize].values.len()
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.by_name.contains_key(name)
    }

    pub(crate) fn value(&self, key: KeyId, domain: Domain) -> &Arc<str> {
        &self.all[key as usize].values[domain as usize]
    }

    /// Learns the node's domains of every key.
    pub(crate) fn attach(&mut self, node: usize, shape: usize, view: View<'_>) {
        for key in &mut self.all {
            learn(key, node, shape, view);
        }
    }

    /// Learns the node's domain of one key.
    pub(crate) fn attach_key(&mut self, key: KeyId, node: usize, shape: usize, view: View<'_>) {
        learn(&mut self.all[key as usize], node, shape, view);
    }

    pub(crate) fn detach(&mut self, node: usize) {
        for key in &mut self.all {
            if let Some(domain) = key.of_node.get_mut(node) {
                *domain = NONE;
            }
        }
    }
}

fn learn(key: &mut Key, node: usize, shape: usize, view: View<'_>) {
    let domain = if &*key.name == HOSTNAME {
        key.of_view(view)
    } else {
        let known = key.of_shape.get(shape).copied().flatten();
        known.unwrap_or_else(|| {
            let domain = key.of_view(view);
            if key.of_shape.len() <= shape {
                key.of_shape.resize(shape + 1, None);
            }
            key.of_shape[shape] = Some(domain);
            domain
        })
    };
    if key.of_node.len() <= node {
        key.of_node.resize(node + 1, NONE);
    }
    key.of_node[node] = domain;
}
