//! What people do: cordon and uncordon, delete Nodes, VPSieNodes and machines, protect, pause, change
//! bounds, add machines by hand.

use std::collections::BTreeSet;

use runtime::Randomness;
use serde_json::{Value, json};

use super::chaos::{GROUPS, disturb};
use crate::harness::Harness;

const OURS: &str = "autoscaler.vpsie.com/v1alpha1";

pub(super) struct People<'a> {
    harness: &'a Harness,
    random: Randomness,
    cordoned: BTreeSet<String>,
    protected: BTreeSet<String>,
    silenced: bool,
}

impl<'a> People<'a> {
    pub(super) fn new(harness: &'a Harness, random: Randomness) -> Self {
        Self {
            harness,
            random,
            cordoned: BTreeSet::new(),
            protected: BTreeSet::new(),
            silenced: false,
        }
    }

    fn pick<T: Clone>(&self, from: &[T]) -> Option<T> {
        let index = self.random.below(from.len() as u64) as usize;
        from.get(index).cloned()
    }

    fn workers(&self) -> Vec<String> {
        self.harness.world.look(|view| {
            let workers = view.nodes.iter().filter(|(_, row)| !row.control_plane);
            workers.map(|(name, _)| name.clone()).collect()
        })
    }

    pub(super) async fn act(&mut self) {
        let Some(node) = self.pick(&self.workers()) else {
            return;
        };
        let what = match self.random.below(20) {
            0..3 => {
                self.cordon(&node, true).await;
                self.cordoned.insert(node.clone());
                format!("a person cordons {node}")
            }
            3..5 => {
                self.cordon(&node, false).await;
                format!("a person uncordons {node}")
            }
            5 => {
                let gone = self.harness.world.delete("v1", "Node", "", &node);
                gone.await.unwrap();
                format!("a person deletes node {node}")
            }
            6..8 => self.delete_record().await,
            8 => self.delete_machine(),
            9..12 => {
                self.protect(&node, true).await;
                format!("a person protects {node}")
            }
            12 => {
                self.make_unprotected().await;
                self.release().await;
                "nothing is protected any more".to_owned()
            }
            13..15 => self.pause().await,
            15..18 => self.bounds().await,
            18 if !self.silenced => {
                self.silenced = true;
                self.harness.world.silence(&node);
                format!("{node} falls silent")
            }
            _ => self.add_machine(),
        };
        disturb(self.harness, what);
    }

    /// The node may be gone by now.
    async fn cordon(&self, node: &str, cordoned: bool) {
        let _ = self.harness.world.cordon(node, cordoned).await;
    }

    async fn delete_record(&self) -> String {
        let records: Vec<String> = self
            .harness
            .world
            .look(|view| view.vpsie_nodes.keys().cloned().collect());
        let Some(key) = self.pick(&records) else {
            return "nothing to delete".to_owned();
        };
        let (namespace, name) = key.split_once('/').unwrap();
        let gone = self
            .harness
            .world
            .delete(OURS, "VPSieNode", namespace, name);
        gone.await.unwrap();
        format!("a person deletes {key}")
    }

    fn delete_machine(&self) -> String {
        let machines = self.harness.world.cloud.machines();
        let workers: Vec<String> = machines
            .iter()
            .filter(|machine| machine.is_paid() && machine.role == vpsie_sim::Role::Worker)
            .map(|machine| machine.uuid.clone())
            .collect();
        let Some(uuid) = self.pick(&workers) else {
            return "no machine to delete".to_owned();
        };
        self.harness.world.cloud.human_delete(&uuid);
        format!("a person deletes machine {uuid}")
    }

    async fn protect(&mut self, node: &str, protected: bool) {
        let value = if protected {
            json!("true")
        } else {
            Value::Null
        };
        let change = json!({"metadata": {"annotations": {
            "autoscaler.vpsie.com/protected": value}}});
        self.protected.insert(node.to_owned());
        // The node may be gone by now.
        let patched = self.harness.world.patch("v1", "Node", "", node, change);
        let _ = patched.await;
    }

    async fn make_unprotected(&mut self) {
        for node in std::mem::take(&mut self.protected) {
            self.protect(&node, false).await;
        }
        self.protected.clear();
    }

    fn group(&self) -> (&'static str, u32, u32) {
        let (name, min, max, _) = GROUPS[self.random.below(GROUPS.len() as u64) as usize];
        (name, min, max)
    }

    async fn change_group(&self, name: &str, change: Value) {
        let world = &self.harness.world;
        let patched = world.patch(OURS, "NodeGroup", "kube-system", name, change);
        patched.await.unwrap();
    }

    async fn pause(&self) -> String {
        let (name, ..) = self.group();
        let value = if self.random.chance(0.4) {
            json!("true")
        } else {
            Value::Null
        };
        let change = json!({"metadata": {"annotations": {"autoscaler.vpsie.com/paused": value}}});
        self.change_group(name, change).await;
        format!("pause of {name}: {value}")
    }

    async fn bounds(&self) -> String {
        let (name, min, max) = self.group();
        let least = self.random.below(u64::from(min) + 2);
        let most = (least + 1).max(u64::from(max) - self.random.below(3));
        let change = json!({"spec": {"minNodes": least, "maxNodes": most}});
        self.change_group(name, change).await;
        format!("{name} shall have {least} to {most}")
    }

    fn add_machine(&self) -> String {
        let world = &self.harness.world;
        let pools = world.cloud.pools(&world.cluster);
        let pools: Vec<i64> = pools.iter().map(|pool| pool.id).collect();
        let Some(pool) = self.pick(&pools) else {
            return "no pool to add to".to_owned();
        };
        world.cloud.human_add_worker(&world.cluster, pool);
        format!("a person adds a machine to pool {pool}")
    }

    /// A person has looked why removals were stopped, and lets them go on.
    pub(super) async fn release(&self) {
        for (name, ..) in GROUPS {
            let change = json!({"metadata": {"annotations": {
                "autoscaler.vpsie.com/removals-stopped": null}}});
            self.change_group(name, change).await;
        }
    }

    /// Takes back what would stand in the way for ever.
    pub(super) async fn make_good(&mut self) {
        for node in std::mem::take(&mut self.cordoned) {
            self.cordon(&node, false).await;
        }
        self.make_unprotected().await;
        self.release().await;
        for (name, min, max, _) in GROUPS {
            let change = json!({
                "metadata": {"annotations": {"autoscaler.vpsie.com/paused": null}},
                "spec": {"minNodes": min, "maxNodes": max},
            });
            self.change_group(name, change).await;
        }
    }
}
