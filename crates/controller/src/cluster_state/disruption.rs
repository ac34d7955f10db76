//! What removals look at besides the cluster, as rows: budgets, the controllers of pods, usage, and
//! what pauses the whole cluster.
//!
//! As with the surroundings, the rows are the value that readers get: it is changed in place, and
//! copied only where a reader still holds it.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use intake::{BudgetView, ConfigView, WorkloadObject, WorkloadView};
use kube::Resource;
use model::{Budget, Disruption, NodeName, Uid, Usage, WorkloadKind};

use super::Kind;

#[cfg(test)]
mod tests;

/// Namespace and name; of workloads, nothing and the identity.
type Key = (Arc<str>, Arc<str>);

#[derive(Debug, Default)]
pub(super) struct Rows {
    value: Arc<Disruption>,
    budgets: BTreeMap<Key, Budget>,
    /// All budgets are known.
    budgets_known: bool,
    /// `value` does not have the budgets yet as they are.
    behind: bool,
    /// What each AutoscalerConfig pauses by.
    configs: BTreeMap<Key, Option<Arc<str>>>,
    /// What the lists that run have told of, by kind.
    listing: BTreeMap<Kind, BTreeSet<Key>>,
}

/// Whether a row changed, and what of the object cannot be read.
type Entered = (bool, Option<String>);

/// A kind that becomes rows here.
pub(super) trait Fact: Resource<DynamicType = ()> {
    const KIND: Kind;

    /// What tells it from others.
    fn key(&self) -> Key {
        let meta = self.meta();
        (
            Arc::from(meta.namespace.as_deref().unwrap_or_default()),
            Arc::from(meta.name.as_deref().unwrap_or_default()),
        )
    }

    fn enter(&self, key: Key, rows: &mut Rows) -> Entered;
}

/// Which controllers a kind holds.
const fn workload(kind: Kind) -> Option<WorkloadKind> {
    match kind {
        Kind::ReplicaSets => Some(WorkloadKind::ReplicaSet),
        Kind::ReplicationControllers => Some(WorkloadKind::ReplicationController),
        Kind::StatefulSets => Some(WorkloadKind::StatefulSet),
        Kind::Jobs => Some(WorkloadKind::Job),
        _ => None,
    }
}

impl Rows {
    pub(super) fn begin(&mut self, kind: Kind) {
        self.listing.insert(kind, BTreeSet::new());
    }

    pub(super) fn put<F: Fact>(&mut self, view: &F) -> bool {
        let key = view.key();
        if let Some(seen) = self.listing.get_mut(&F::KIND) {
            seen.insert(key.clone());
        }
        let (changed, defect) = view.enter(key, self);
        if changed && let Some(defect) = defect {
            let (kind, meta) = (F::KIND.plural(), view.meta());
            let (namespace, name) = (meta.namespace.as_deref(), meta.name.as_deref());
            tracing::warn!(kind, namespace, name, defect, "not all of it can be read");
        }
        changed
    }

    pub(super) fn remove<F: Fact>(&mut self, view: &F) -> bool {
        let key = view.key();
        match F::KIND {
            Kind::PodDisruptionBudgets => {
                self.behind = true;
                self.budgets.remove(&key).is_some()
            }
            Kind::AutoscalerConfigs => self.configs.remove(&key).flatten().is_some(),
            kind => {
                let Some(kind) = workload(kind) else {
                    return false;
                };
                let known = self.edit().workloads.get_mut(&kind);
                known.is_some_and(|all| all.replicas.remove(&Uid::from(key.1)).is_some())
            }
        }
    }

    /// The list of this kind is complete: what it did not tell of is gone.
    pub(super) fn sweep(&mut self, kind: Kind) {
        let seen = self.listing.remove(&kind).unwrap_or_default();
        match kind {
            Kind::PodDisruptionBudgets => {
                self.budgets.retain(|key, _| seen.contains(key));
                self.budgets_known = true;
                self.behind = true;
            }
            Kind::AutoscalerConfigs => self.configs.retain(|key, _| seen.contains(key)),
            kind => {
                if let Some(kind) = workload(kind) {
                    let seen: BTreeSet<Uid> =
                        seen.into_iter().map(|(_, uid)| Uid::from(uid)).collect();
                    let all = self.edit().workloads.entry(kind).or_default();
                    // Built anew: what came in any order leaves the nodes of a tree half empty.
                    all.replicas = std::mem::take(&mut all.replicas)
                        .into_iter()
                        .filter(|(uid, _)| seen.contains(uid))
                        .collect();
                    all.complete = true;
                }
            }
        }
    }

    /// This kind may not be read any more. A pause that was known stays: it was meant.
    pub(super) fn refused(&mut self, kind: Kind) {
        self.listing.remove(&kind);
        if kind == Kind::PodDisruptionBudgets {
            self.budgets.clear();
            self.budgets_known = false;
            self.behind = true;
        }
        if let Some(kind) = workload(kind)
            && self.value.workloads.contains_key(&kind)
        {
            self.edit().workloads.remove(&kind);
        }
    }

    /// What nodes have in use now, all of them.
    pub(super) fn note_usage(&mut self, usage: BTreeMap<NodeName, Usage>) {
        if self.value.usage != usage {
            self.edit().usage = usage;
        }
    }

    /// How many rows this kind has.
    pub(super) fn count(&self, kind: Kind) -> usize {
        match kind {
            Kind::PodDisruptionBudgets => self.budgets.len(),
            Kind::AutoscalerConfigs => self.configs.len(),
            kind => workload(kind)
                .and_then(|kind| self.value.workloads.get(&kind))
                .map_or(0, |all| all.replicas.len()),
        }
    }

    /// What pauses the whole cluster.
    pub(super) fn paused(&self) -> Option<String> {
        let mut pauses = self.configs.values().flatten();
        pauses.next().map(ToString::to_string)
    }

    fn edit(&mut self) -> &mut Disruption {
        Arc::make_mut(&mut self.value)
    }

    /// The value as it is now; the same one as long as nothing changed.
    pub(super) fn read(&mut self) -> Arc<Disruption> {
        if std::mem::take(&mut self.behind) {
            let budgets = self
                .budgets_known
                .then(|| self.budgets.values().cloned().collect());
            if self.value.budgets != budgets {
                self.edit().budgets = budgets;
            }
        }
        Arc::clone(&self.value)
    }
}

impl Fact for BudgetView {
    const KIND: Kind = Kind::PodDisruptionBudgets;

    fn enter(&self, key: Key, rows: &mut Rows) -> Entered {
        let (budget, defect) = self.budget();
        let changed = rows.budgets.get(&key) != Some(&budget);
        if changed {
            rows.behind = true;
            rows.budgets.insert(key, budget);
        }
        (changed, defect)
    }
}

impl<K: WorkloadObject> Fact for WorkloadView<K> {
    const KIND: Kind = match K::KIND {
        WorkloadKind::ReplicaSet => Kind::ReplicaSets,
        WorkloadKind::ReplicationController => Kind::ReplicationControllers,
        WorkloadKind::StatefulSet => Kind::StatefulSets,
        WorkloadKind::Job => Kind::Jobs,
    };

    /// One that was made anew under the same name is another one.
    fn key(&self) -> Key {
        let uid = self.meta().uid.as_deref().unwrap_or_default();
        (Arc::from(""), Arc::from(uid))
    }

    fn enter(&self, (_, uid): Key, rows: &mut Rows) -> Entered {
        let (uid, replicas) = (Uid::from(uid), self.object.replicas());
        let known = rows.value.workloads.get(&K::KIND);
        let changed = known.and_then(|all| all.replicas.get(&uid)) != Some(&replicas);
        if changed {
            let all = rows.edit().workloads.entry(K::KIND).or_default();
            all.replicas.insert(uid, replicas);
        }
        (changed, None)
    }
}

impl Fact for ConfigView {
    const KIND: Kind = Kind::AutoscalerConfigs;

    fn enter(&self, key: Key, rows: &mut Rows) -> Entered {
        let paused: Option<Arc<str>> = self.paused().map(Arc::from);
        let before = rows.configs.insert(key, paused.clone());
        (before.flatten() != paused, None)
    }
}
