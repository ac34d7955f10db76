//! What people run: Deployments, StatefulSets, Jobs and bare pods of several kinds, under budgets of
//! several kinds.

use runtime::Randomness;
use serde_json::{Value, json};

use super::chaos::{GROUPS, disturb};
use crate::harness::Harness;

/// Deployments: name, CPU of a pod, most pods.
const DEPLOYMENTS: [(&str, &str, u64); 5] = [
    ("web", "300m", 18),
    ("api", "700m", 8),
    ("cache", "150m", 20),
    ("apart", "200m", 6),
    ("spread", "250m", 9),
];

pub(super) struct Load<'a> {
    harness: &'a Harness,
    random: Randomness,
    made: u64,
}

impl<'a> Load<'a> {
    pub(super) fn new(harness: &'a Harness, random: Randomness) -> Self {
        Self {
            harness,
            random,
            made: 0,
        }
    }

    pub(super) async fn begin(&mut self) {
        for (name, cpu, most) in DEPLOYMENTS {
            let options = sim::DeploymentOptions {
                pod_spec: Some(self.spec(name)),
                ..sim::DeploymentOptions::default()
            };
            let replicas = self.random.below(most + 1) as u32;
            let made = self
                .harness
                .world
                .create_deployment("default", name, replicas, cpu, "64Mi", &options);
            made.await.unwrap();
        }
        self.stateful_set("db", 2).await;
    }

    /// What is peculiar to a workload's pods.
    fn spec(&self, name: &str) -> Value {
        let labels = json!({"matchLabels": {"app": name}});
        match name {
            "apart" => json!({"affinity": {"podAntiAffinity": {
                "requiredDuringSchedulingIgnoredDuringExecution": [
                    {"labelSelector": labels, "topologyKey": "kubernetes.io/hostname"}]}}}),
            "spread" => json!({"topologySpreadConstraints": [{"maxSkew": 2,
                "topologyKey": "kubernetes.io/hostname", "whenUnsatisfiable": "DoNotSchedule",
                "labelSelector": labels}]}),
            "cache" if self.random.chance(0.3) => {
                json!({"volumes": [{"name": "scratch", "emptyDir": {}}]})
            }
            _ => json!({}),
        }
    }

    async fn stateful_set(&self, name: &str, replicas: u64) {
        let set = json!({
            "apiVersion": "apps/v1", "kind": "StatefulSet",
            "metadata": {"name": name, "namespace": "default"},
            "spec": {"replicas": replicas, "serviceName": name,
                "selector": {"matchLabels": {"app": name}},
                "template": {"metadata": {"labels": {"app": name}}, "spec": pod_spec("400m")}},
        });
        self.harness.world.apply(&set).await.unwrap();
    }

    pub(super) async fn change(&mut self) {
        let world = &self.harness.world;
        self.made += 1;
        let number = self.made;
        let what = match self.random.below(20) {
            0..9 => {
                let index = self.random.below(DEPLOYMENTS.len() as u64) as usize;
                let (name, _, most) = DEPLOYMENTS[index];
                let replicas = if self.random.chance(0.3) {
                    0
                } else {
                    self.random.below(most + 1)
                };
                world.scale("default", name, replicas as u32).await.unwrap();
                format!("{name} shall have {replicas}")
            }
            9..11 => {
                let replicas = self.random.below(5);
                self.stateful_set("db", replicas).await;
                format!("db shall have {replicas}")
            }
            11..14 => {
                let count = 1 + self.random.below(4);
                let job = json!({
                    "apiVersion": "batch/v1", "kind": "Job",
                    "metadata": {"name": format!("job-{number}"), "namespace": "default"},
                    "spec": {"completions": count, "parallelism": count,
                        "template": {"metadata": {"labels": {"app": "job"}},
                            "spec": pod_spec("350m")}},
                });
                // Its pods end by themselves.
                world.apply(&job).await.unwrap();
                format!("job-{number} of {count}")
            }
            14..16 => {
                let mut spec = pod_spec("200m");
                spec["nodeSelector"] = json!({"pool": self.pool()});
                let pod = json!({"apiVersion": "v1", "kind": "Pod",
                    "metadata": {"name": format!("bare-{number}"), "namespace": "default",
                        "labels": {"app": "bare"}},
                    "spec": spec});
                world.apply(&pod).await.unwrap();
                format!("bare-{number}")
            }
            16 => {
                self.delete_bare().await;
                "bare pods go".to_owned()
            }
            _ => self.budget().await,
        };
        disturb(self.harness, what);
    }

    fn pool(&self) -> &'static str {
        GROUPS[self.random.below(GROUPS.len() as u64) as usize].0
    }

    async fn budget(&self) -> String {
        let names = ["web", "api", "cache", "db", "bare"];
        let name = names[self.random.below(names.len() as u64) as usize];
        let limit = match self.random.below(6) {
            0 => json!({"maxUnavailable": 0}),
            1 => json!({"maxUnavailable": 1}),
            2 => json!({"maxUnavailable": "30%"}),
            3 => json!({"minAvailable": 1}),
            4 => json!({"minAvailable": "80%"}),
            _ => {
                self.delete("policy/v1", "PodDisruptionBudget", name).await;
                return format!("no budget for {name}");
            }
        };
        let world = &self.harness.world;
        // Of minAvailable and maxUnavailable a budget has one: it is made anew.
        self.delete("policy/v1", "PodDisruptionBudget", name).await;
        world.set_budget("default", name, &limit).await.unwrap();
        if self.random.chance(0.1) {
            let second = json!({
                "apiVersion": "policy/v1", "kind": "PodDisruptionBudget",
                "metadata": {"name": "second", "namespace": "default"},
                "spec": {"maxUnavailable": 1, "selector": {"matchLabels": {"app": name}}},
            });
            world.apply(&second).await.unwrap();
        }
        format!("budget for {name}: {limit}")
    }

    async fn delete(&self, version: &str, kind: &str, name: &str) {
        let gone = self.harness.world.delete(version, kind, "default", name);
        gone.await.unwrap();
    }

    async fn delete_bare(&self) {
        let view = self.harness.world.view();
        for key in view.pods.keys() {
            if let Some(name) = key.strip_prefix("default/bare-") {
                self.delete("v1", "Pod", &format!("bare-{name}")).await;
            }
        }
    }

    /// A load that fits, and budgets that allow something.
    pub(super) async fn settle(&self) {
        for name in ["web", "api", "cache", "db", "bare", "second"] {
            self.delete("policy/v1", "PodDisruptionBudget", name).await;
        }
        self.delete_bare().await;
        for (name, _, most) in DEPLOYMENTS {
            let replicas = self.random.below(most / 2) as u32;
            let scaled = self.harness.world.scale("default", name, replicas);
            scaled.await.unwrap();
        }
        self.stateful_set("db", 2).await;
    }
}

fn pod_spec(cpu: &str) -> Value {
    json!({
        "containers": [{"name": "main", "image": "registry.example/app:1",
            "resources": {"requests": {"cpu": cpu, "memory": "64Mi"}}}],
    })
}
