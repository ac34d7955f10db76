//! What removals look at: budgets, the controllers of pods, usage, what pauses the cluster.

use super::{Assembly, Fault, Item, key, name, put};

impl Assembly {
    /// Adds an object of one of these kinds.
    pub(super) fn disruption(&mut self, item: Item) {
        match item {
            Item::Budget(view) => {
                let named = ("PodDisruptionBudget", &view.metadata);
                if self.has_name(named) {
                    let (budget, defect) = view.budget();
                    let kept = put(&mut self.budgets, key(&view.metadata), budget);
                    self.kept(kept, named);
                    self.defect(named, defect.as_deref());
                }
            }
            Item::Workload(kind, object) => {
                let named = (kind.name(), &object.metadata);
                if self.has_name(named) {
                    let kept = self.workloads.insert((kind, key(&object.metadata)));
                    if kept {
                        let of_kind = self.dump.disruption.workloads.entry(kind).or_default();
                        of_kind.complete = true;
                        of_kind.replicas.insert(object.uid(), object.replicas());
                    }
                    self.kept(kept, named);
                }
            }
            Item::Metrics(view) => {
                let named = ("NodeMetrics", &view.metadata);
                if self.has_name(named) {
                    match view.usage() {
                        Ok(usage) => {
                            let kept = put(&mut self.dump.disruption.usage, view.node(), usage);
                            self.kept(kept, named);
                        }
                        Err(what) => {
                            let path = String::new();
                            self.fault(named, Fault::Undecodable { path, what });
                        }
                    }
                }
            }
            Item::Config(view) => {
                let named = ("AutoscalerConfig", &view.metadata);
                if self.has_name(named) {
                    let kept = self.configs.insert(name(&view.metadata));
                    if kept && let Some(paused) = view.paused() {
                        self.dump.paused = Some(paused);
                    }
                    self.kept(kept, named);
                }
            }
            _ => {}
        }
    }
}
