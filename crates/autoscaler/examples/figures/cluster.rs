//! What stands in the simulated cluster: full nodes, pods of a real pod's size, two groups.

use jiff::Timestamp;
use serde_json::{Value, json};
use sim::World;
use vpsie_sim::Machine;

/// Size of a planted pod as JSON.
pub(crate) const POD_BYTES: usize = 9_000;

/// Workers each group has at least.
const MIN_NODES: usize = 2;

/// The groups and the size each buys; the first is the cheapest that holds a shortage's pod.
const GROUPS: [(&str, &str); 2] = [("general", "medium-4cpu-8gb"), ("large", "large-8cpu-16gb")];

/// Workers that the groups have together at least.
pub(crate) const FIRST_WORKERS: usize = GROUPS.len() * MIN_NODES;

/// Applies the groups, in the cloud's first datacenter.
pub(crate) async fn apply_groups(world: &World) -> Result<(), String> {
    let datacenters = world.cloud.config().datacenters;
    let datacenter = datacenters.first().ok_or("the cloud has no datacenter")?;
    for (name, size) in GROUPS {
        world
            .apply(&group(name, &datacenter.identifier, size))
            .await
            .map_err(|error| format!("group {name}: {error}"))?;
    }
    Ok(())
}

/// A managed group with room for every shortage.
fn group(name: &str, datacenter: &str, size: &str) -> Value {
    json!({
        "apiVersion": "autoscaler.vpsie.com/v1alpha1", "kind": "NodeGroup",
        "metadata": {"name": name, "namespace": "kube-system",
            "labels": {"autoscaler.vpsie.com/managed": "true"}},
        "spec": {"minNodes": MIN_NODES, "maxNodes": 1000, "datacenterID": datacenter,
            "offeringIDs": [size], "labels": {"pool": name}},
    })
}

pub(crate) fn insert(world: &World, object: Value) -> Result<(), String> {
    world
        .kube
        .insert(object)
        .map_err(|error| format!("planting: {error}"))
}

/// Plants `nodes` nodes and `pods` pods on them; their requests leave no node room for 3 CPUs.
pub(crate) fn plant(world: &World, nodes: u32, pods: u32) -> Result<(), String> {
    for number in 0..nodes {
        let name = format!("node-{number:04}");
        let address = format!("10.1.{}.{}", number / 250, 1 + number % 250);
        insert(world, node(&name, &[&address], 4))?;
    }
    // What is taken of each node's four CPUs, shared among its pods.
    let each = 3_600 / pods.div_ceil(nodes).max(1);
    for number in 0..pods {
        let on = format!("node-{:04}", number % nodes);
        insert(world, pod(number, &on, &format!("{each}m")))?;
    }
    Ok(())
}

/// Makes `machine` a Ready Node that is as full as the others.
pub(crate) fn join(world: &World, machine: &Machine, number: usize) -> Result<(), String> {
    let addresses = [machine.private_ip.as_str(), machine.default_ip.as_str()];
    let known: Vec<&str> = addresses.into_iter().filter(|a| !a.is_empty()).collect();
    insert(world, node(&machine.node_name, &known, machine.cpu))?;
    let taken = format!("{}m", machine.cpu * 1000 - 400);
    let number = 1_000_000 + u32::try_from(number).unwrap_or_default();
    insert(world, pod(number, &machine.node_name, &taken))
}

fn node(name: &str, addresses: &[&str], cpus: u32) -> Value {
    let mut listed = vec![json!({"type": "Hostname", "address": name})];
    for address in addresses {
        listed.push(json!({"type": "InternalIP", "address": address}));
    }
    let room = json!({"cpu": cpus.to_string(), "memory": format!("{}Gi", cpus * 2), "pods": "110",
        "ephemeral-storage": "80Gi"});
    let images: Vec<Value> = (0..30)
        .map(|number| {
            json!({"names": [format!("registry.example.com/team/service-{number}@sha256:{number:064x}"),
                format!("registry.example.com/team/service-{number}:v1.{number}.0")],
                "sizeBytes": 104_857_600 + number})
        })
        .collect();
    json!({
        "apiVersion": "v1", "kind": "Node",
        "metadata": {"name": name, "labels": {
            "kubernetes.io/hostname": name, "kubernetes.io/os": "linux",
            "kubernetes.io/arch": "amd64", "topology.kubernetes.io/region": "eu"}},
        "spec": {},
        "status": {
            "capacity": room, "allocatable": room, "addresses": listed, "images": images,
            "conditions": [{"type": "Ready", "status": "True", "reason": "KubeletReady"}],
            "nodeInfo": {"kubeletVersion": "v1.34.1", "operatingSystem": "linux",
                "architecture": "amd64"},
        },
    })
}

/// A running pod of a Deployment, as large as pods with managedFields are.
fn pod(number: u32, node: &str, cpu: &str) -> Value {
    let (service, namespace) = (number % 200, format!("team-{}", number % 20));
    let mut pod = template(&format!("service-{service}-{number:08}"), service, cpu);
    pod["metadata"]["namespace"] = json!(namespace);
    pod["spec"]["nodeName"] = json!(node);
    pod["status"] = json!({
        "phase": "Running", "qosClass": "Burstable", "hostIP": "10.1.0.1", "podIP": "10.2.0.1",
        "startTime": "2026-01-05T08:00:00Z",
        "conditions": [
            {"type": "PodScheduled", "status": "True", "lastTransitionTime": "2026-01-05T08:00:00Z"},
            {"type": "Initialized", "status": "True", "lastTransitionTime": "2026-01-05T08:00:00Z"},
            {"type": "ContainersReady", "status": "True", "lastTransitionTime": "2026-01-05T08:00:03Z"},
            {"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-05T08:00:03Z"},
        ],
        "containerStatuses": [{"name": "main", "ready": true, "started": true, "restartCount": 0,
            "image": "registry.example.com/team/service:v1", "state":
            {"running": {"startedAt": "2026-01-05T08:00:02Z"}}}],
    });
    // The rest is what field managers write into every object.
    let missing = POD_BYTES.saturating_sub(pod.to_string().len());
    let mut fields = serde_json::Map::new();
    for field in 0..missing / 60 {
        fields.insert(
            format!("k:{{\"name\":\"FIELD_OWNED_BY_MANAGER_{field:04}\"}}"),
            json!({".": {}}),
        );
    }
    pod["metadata"]["managedFields"] = json!([{"manager": "kubelet", "operation": "Update",
        "apiVersion": "v1", "fieldsType": "FieldsV1", "fieldsV1": fields}]);
    pod
}

/// A pod that the scheduler found no node for: it wants more than any node has left.
pub(crate) fn unschedulable(number: u32, now: Timestamp) -> Value {
    let mut pod = template(&format!("shortage-{number:04}"), 999, "3");
    let now = now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    pod["metadata"]["namespace"] = json!("default");
    pod["metadata"]["creationTimestamp"] = json!(now);
    pod["status"] = json!({"phase": "Pending", "conditions": [
        {"type": "PodScheduled", "status": "False", "reason": "Unschedulable",
            "message": "0/1000 nodes are available: 1000 Insufficient cpu.",
            "lastTransitionTime": now}]});
    pod
}

fn template(name: &str, service: u32, cpu: &str) -> Value {
    let env: Vec<Value> = (0..20)
        .map(|number| json!({"name": format!("SETTING_{number}"), "value": format!("value-{service}-{number}")}))
        .collect();
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name,
            "labels": {"app": format!("service-{service}"), "pod-template-hash": "7d4b9c6f58"},
            "ownerReferences": [{"apiVersion": "apps/v1", "kind": "ReplicaSet", "controller": true,
                "name": format!("service-{service}-7d4b9c6f58"),
                "uid": format!("00000000-0000-4000-8000-{service:012}")}]},
        "spec": {
            "schedulerName": "default-scheduler", "priority": 0, "restartPolicy": "Always",
            "serviceAccountName": "default", "dnsPolicy": "ClusterFirst",
            "containers": [{"name": "main", "image": "registry.example.com/team/service:v1",
                "env": env,
                "resources": {"requests": {"cpu": cpu, "memory": "64Mi"},
                    "limits": {"memory": "128Mi"}}}],
            "tolerations": [
                {"key": "node.kubernetes.io/not-ready", "operator": "Exists",
                    "effect": "NoExecute", "tolerationSeconds": 300},
                {"key": "node.kubernetes.io/unreachable", "operator": "Exists",
                    "effect": "NoExecute", "tolerationSeconds": 300}],
        },
    })
}
