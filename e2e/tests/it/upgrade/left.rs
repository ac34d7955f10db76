//! What the predecessor wrote into a cluster, field for field: a NodeGroup with its status,
//! VPSieNodes in every phase, their Nodes' labels. The tests of both worlds leave the same behind.

use api::{NodeGroup, VPSieNode, conditions::seconds, labels};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Node;
use kube::{
    Api, Client,
    api::{DeleteParams, Patch, PatchParams, PostParams},
};
use serde_json::{Value, json};
use vpsie_sim::{Machine, Phase};

const API: &str = "autoscaler.vpsie.com/v1alpha1";
const VERSION: &str = "v1.33.2";
/// The one group.
pub(super) const GROUP: &str = "complete";

/// Workers that run from the start: those of the first five fields of [`Machines`].
pub(super) const WORKERS: u32 = 5;
/// How long before the upgrade the create was sent of which the predecessor never heard again.
pub(super) const UNHEARD: SignedDuration = SignedDuration::from_mins(13);

/// The machines that there are, by what the predecessor has written of them.
pub(super) struct Machines {
    /// In service, and known by its UUID.
    pub(super) ready: Machine,
    /// In service, and known by its Node's name only.
    pub(super) named: Machine,
    /// Its Node is there and was not seen yet.
    pub(super) joining: Machine,
    /// Given up, and then its Node joined.
    pub(super) failed: Machine,
    /// Being taken away; unknown to the predecessor until then.
    pub(super) terminating: Machine,
    /// Runs, and its Node is not there yet.
    pub(super) provisioned: Machine,
    /// Is being made.
    pub(super) building: Machine,
}

impl Machines {
    /// What becomes nodes in service: VPSieNodes and their machines.
    pub(super) fn serving(&self) -> [(&'static str, &Machine); 5] {
        [
            ("complete-ready", &self.ready),
            ("complete-named", &self.named),
            ("complete-joining", &self.joining),
            ("complete-provisioned", &self.provisioned),
            ("complete-building", &self.building),
        ]
    }

    /// The one of `complete-deleting`, which is in no listing any more.
    pub(super) fn vanished(&self) -> Machine {
        let hostname = "HEL-Kubernetes-49ab-slave-gone";
        Machine {
            uuid: "3f2b0a7e-0000-4000-8000-000000000005".into(),
            hostname: hostname.into(),
            node_name: hostname.to_lowercase(),
            ..self.ready.clone()
        }
    }

    /// Leaves a VPSieNode in every phase but the two that [`Machines::leave_decided`] leaves.
    pub(super) async fn leave(&self, client: &Client, place: &Place, group: &str) {
        let hour = SignedDuration::from_hours(1);
        let moment = SignedDuration::from_secs(30);
        let vanished = self.vanished();
        for (name, phase, machine, age, requested) in [
            (
                "complete-ready",
                "Ready",
                Known::Identity(&self.ready),
                hour,
                false,
            ),
            (
                "complete-named",
                "Ready",
                Known::Name(&self.named),
                hour,
                true,
            ),
            (
                "complete-joining",
                "Joining",
                Known::Identity(&self.joining),
                moment,
                true,
            ),
            (
                "complete-provisioned",
                "Provisioned",
                Known::Identity(&self.provisioned),
                moment,
                true,
            ),
            (
                "complete-building",
                "Provisioning",
                Known::Identity(&self.building),
                moment,
                true,
            ),
            (
                "complete-unheard",
                "Provisioning",
                Known::Nothing,
                UNHEARD,
                true,
            ),
            (
                "complete-deleting",
                "Deleting",
                Known::Identity(&vanished),
                hour,
                true,
            ),
            (
                "complete-failed",
                "Failed",
                Known::Name(&self.failed),
                moment,
                true,
            ),
        ] {
            let left = Left {
                name,
                phase,
                machine,
                age,
                requested,
            };
            place.leave(client, group, &left).await;
        }
        for (name, machine) in [
            ("complete-ready", &self.ready),
            ("complete-named", &self.named),
        ] {
            label(client, &machine.node_name, name).await;
        }
    }

    /// Leaves one machine that is decided upon and one that is to go.
    pub(super) async fn leave_decided(&self, client: &Client, place: &Place, group: &str) {
        let (pending, terminating) = ("complete-pending", "complete-terminating");
        label(client, &self.terminating.node_name, terminating).await;
        for (name, phase, machine) in [
            (pending, "Pending", Known::Nothing),
            (
                terminating,
                "Terminating",
                Known::Identity(&self.terminating),
            ),
        ] {
            let age = SignedDuration::from_hours(1);
            let left = Left {
                name,
                phase,
                machine,
                age,
                requested: false,
            };
            place.leave(client, group, &left).await;
        }
    }
}

/// The cluster at the cloud that everything is in.
pub(super) struct Place {
    /// Its UUID.
    pub(super) cluster: String,
    /// The numeric id of its node group of the one size.
    pub(super) pool: i64,
    /// The moment of the upgrade.
    pub(super) now: Timestamp,
}

/// How much the predecessor had learned of a machine.
#[derive(Clone, Copy)]
enum Known<'a> {
    /// Nothing.
    Nothing,
    /// Its Node's name: all there is where the cloud answered a create with a bare `true`.
    Name(&'a Machine),
    /// Its UUID too.
    Identity(&'a Machine),
}

/// What it wrote of one machine.
struct Left<'a> {
    /// The VPSieNode.
    name: &'a str,
    /// Its phase.
    phase: &'a str,
    /// Which machine.
    machine: Known<'a>,
    /// How long ago it was asked for, or given up.
    age: SignedDuration,
    /// The guard against a second purchase.
    requested: bool,
}

impl Place {
    fn ago(&self, age: SignedDuration) -> String {
        seconds(self.now - age)
    }

    /// Leaves the group, and gives its UID.
    pub(super) async fn leave_group(&self, client: &Client) -> String {
        let (group, status) = self.group();
        let api: Api<NodeGroup> = Api::namespaced(client.clone(), "kube-system");
        let group = serde_json::from_value(group).unwrap();
        let made = api.create(&PostParams::default(), &group).await.unwrap();
        let patch = Patch::Merge(json!({ "status": status }));
        let how = PatchParams::default();
        api.patch_status(GROUP, &how, &patch).await.unwrap();
        made.metadata.uid.unwrap()
    }

    /// Leaves one VPSieNode; what is being taken away is marked as deleted.
    async fn leave(&self, client: &Client, group: &str, left: &Left<'_>) {
        let (object, status) = self.vpsie_node(group, left);
        let api: Api<VPSieNode> = Api::namespaced(client.clone(), "kube-system");
        let object = serde_json::from_value(object).unwrap();
        api.create(&PostParams::default(), &object).await.unwrap();
        let patch = Patch::Merge(json!({ "status": status }));
        let how = PatchParams::default();
        api.patch_status(left.name, &how, &patch).await.unwrap();
        if matches!(left.phase, "Terminating" | "Deleting") {
            let how = DeleteParams::default();
            api.delete(left.name, &how).await.unwrap();
        }
    }

    /// The group; its status counts what was never there.
    fn group(&self) -> (Value, Value) {
        let group = json!({
            "apiVersion": API, "kind": "NodeGroup",
            "metadata": {
                "name": GROUP, "namespace": "kube-system",
                "labels": {labels::MANAGED: "true", "app.kubernetes.io/managed-by": "Helm"},
                "finalizers": [labels::NODE_GROUP_FINALIZER],
            },
            "spec": {
                "minNodes": 1, "maxNodes": 20, "datacenterID": "HEL", "offeringIDs": ["a"],
                "resourceIdentifier": self.cluster, "project": "", "kubeSizeID": 101,
                "kubernetesVersion": VERSION, "labels": {"tier": "web"},
                "allowMixedInstances": true,
                "scaleUpPolicy": {
                    "stabilizationWindowSeconds": 60, "cpuThreshold": 80, "memoryThreshold": 80,
                    "enabled": true,
                },
                "scaleDownPolicy": {
                    "stabilizationWindowSeconds": 600, "cpuThreshold": 50, "memoryThreshold": 50,
                    "enabled": true, "cooldownSeconds": 600,
                },
            },
        });
        let hour = self.ago(SignedDuration::from_hours(1));
        let scaled = self.ago(SignedDuration::from_mins(20));
        let status = json!({
            "currentNodes": 9, "desiredNodes": 9, "readyNodes": 1, "vpsieGroupID": self.pool,
            "nodes": [{"nodeName": "complete-1a2b3c4d", "vpsID": 12345, "instanceType": "a",
                "status": "Provisioning"}],
            "conditions": [
                {"type": "Ready", "status": "False", "lastTransitionTime": hour,
                    "lastUpdateTime": hour, "reason": "Reconciling", "message": "1/9 nodes ready"},
                {"type": "Scaling", "status": "True", "reason": "ScalingUp", "message": "scaling",
                    "lastTransitionTime": hour},
                {"type": "AtMinCapacity", "status": "False"},
            ],
            "lastScaleTime": scaled, "lastScaleUpTime": scaled, "observedGeneration": 7,
        });
        (group, status)
    }

    /// A VPSieNode of the group with this UID.
    fn vpsie_node(&self, group: &str, left: &Left<'_>) -> (Value, Value) {
        let mut object = json!({
            "apiVersion": API, "kind": "VPSieNode",
            "metadata": {
                "name": left.name, "namespace": "kube-system",
                "labels": {labels::MANAGED: "true", labels::NODE_GROUP: GROUP},
                "finalizers": [labels::VPSIE_NODE_FINALIZER],
                "ownerReferences": [{
                    "apiVersion": API, "kind": "NodeGroup", "name": GROUP, "uid": group,
                    "controller": true, "blockOwnerDeletion": true,
                }],
            },
            "spec": {
                "vpsieInstanceID": 0, "instanceType": "a", "nodeGroupName": GROUP,
                "datacenterID": "HEL", "resourceIdentifier": self.cluster, "project": "",
                "kubernetesVersion": VERSION, "vpsieGroupID": self.pool,
            },
        });
        if left.requested {
            object["metadata"]["annotations"] = json!({labels::CREATION_REQUESTED: "true"});
        }
        let at = self.ago(left.age);
        let mut status = json!({"phase": left.phase, "observedGeneration": 2});
        if left.phase != "Pending" {
            status["createdAt"] = json!(at);
        }
        let machine = match left.machine {
            Known::Nothing => None,
            Known::Name(machine) => Some(machine),
            Known::Identity(machine) => {
                object["spec"]["vpsieNodeIdentifier"] = json!(machine.uuid);
                status["hostname"] = json!(machine.hostname);
                Some(machine)
            }
        };
        if let Some(machine) = machine.filter(|machine| machine.phase == Phase::Running) {
            object["spec"]["ipAddress"] = json!(machine.default_ip);
            object["spec"]["nodeName"] = json!(machine.node_name);
            status["vpsieStatus"] = json!("running");
            status["resources"] =
                json!({"cpu": 2, "memoryMB": 4096, "diskGB": 80, "bandwidthGB": 0});
            status["provisionedAt"] = json!(at);
        }
        if matches!(left.phase, "Ready" | "Terminating" | "Deleting") {
            status["nodeName"] = json!(machine.map(|machine| &machine.node_name));
            status["joinedAt"] = json!(at);
            status["readyAt"] = json!(at);
        }
        let mut conditions = vec![json!({
            "type": "VPSReady", "status": "True", "reason": left.phase,
            "lastTransitionTime": at, "lastUpdateTime": at,
        })];
        if left.phase == "Failed" {
            status["lastError"] = json!("no node within 15m0s");
            conditions.push(json!({
                "type": "Error", "status": "True", "reason": "JoiningTimeout",
                "message": "no node", "lastTransitionTime": at,
            }));
        }
        status["conditions"] = json!(conditions);
        (object, status)
    }
}

/// Puts on a Node what the predecessor put on that of this VPSieNode.
async fn label(client: &Client, node: &str, vpsie_node: &str) {
    let patch = json!({"metadata": {
        "labels": {
            labels::MANAGED: "true", labels::NODE_GROUP: GROUP, labels::VPSIE_NODE: vpsie_node,
            labels::DATACENTER: "HEL", "tier": "web",
        },
        // Of a drain that was given up.
        "annotations": {
            "autoscaler.vpsie.com/drain-start-time": "2025-12-01T08:00:00Z",
            "autoscaler.vpsie.com/drain-status": "failed",
        },
    }});
    let nodes: Api<Node> = Api::all(client.clone());
    let (how, patch) = (PatchParams::default(), Patch::Merge(patch));
    nodes.patch(node, &how, &patch).await.unwrap();
}
