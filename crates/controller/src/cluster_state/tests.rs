//! The index without any stream: views in, rows out.

use api::VPSieNode;
use intake::storage::{AttachmentView, ClaimView, VolumeView};
use k8s_openapi::api::core::v1::Node as KubeNode;
use kube::core::DeserializeGuard;
use model::{NodeName, PodKey, PodRole, PodState, UnevaluatedRule};
use serde_json::{Value, json};

use super::{
    Kind,
    index::Index,
    node_row::NodeRow,
    views::{DaemonSetView, NodeView, PodView},
};

fn of<T: serde::de::DeserializeOwned>(value: Value) -> T {
    serde_json::from_value(value).unwrap()
}

/// Later entries of `more` replace those of `base`, object by object.
fn merged(mut base: Value, more: Value) -> Value {
    match (&mut base, more) {
        (Value::Object(base), Value::Object(more)) => {
            for (key, value) in more {
                let under = base.remove(&key).unwrap_or(Value::Null);
                base.insert(key, merged(under, value));
            }
        }
        (base, more) => *base = more,
    }
    base
}

fn pod(name: &str, more: Value) -> PodView {
    let base = json!({
        "metadata": {"name": name, "namespace": "default", "uid": format!("uid-{name}"),
            "resourceVersion": "1", "managedFields": [{"manager": "x", "fieldsV1": {"f:spec": {}}}]},
        "spec": {"containers": [{"name": "c", "resources": {"requests": {"cpu": "500m", "memory": "1Gi"}}}]},
    });
    of(merged(base, more))
}

fn unschedulable(name: &str, more: Value) -> PodView {
    let condition = json!({"status": {"phase": "Pending", "conditions": [{
        "type": "PodScheduled", "status": "False", "reason": "Unschedulable",
        "lastTransitionTime": "2026-01-01T00:00:00Z"}]}});
    pod(name, merged(condition, more))
}

fn node(name: &str, version: u64, more: Value) -> Value {
    let base = json!({
        "metadata": {"name": name, "uid": format!("uid-{name}"), "resourceVersion": version.to_string(),
            "labels": {"kubernetes.io/hostname": name}},
        "status": {"allocatable": {"cpu": "2", "memory": "4Gi", "pods": "110"},
            "conditions": [{"type": "Ready", "status": "True",
                "lastTransitionTime": "2026-01-01T00:00:00Z", "lastHeartbeatTime": "2026-01-01T00:00:00Z"}]},
    });
    merged(base, more)
}

fn machine(name: &str, uid: &str, version: u64) -> VPSieNode {
    of(
        json!({"apiVersion": "autoscaler.vpsie.com/v1alpha1", "kind": "VPSieNode",
        "metadata": {"name": name, "namespace": "default", "uid": uid,
            "resourceVersion": version.to_string(), "finalizers": ["autoscaler.vpsie.com/machine"]},
        "spec": {"instanceType": "s", "nodeGroupName": "g", "datacenterID": "d"}}),
    )
}

fn class_of(view: &PodView) -> model::SchedulingClass {
    view.class()
}

// === Pods ===

#[test]
fn equal_pods_share_one_class() {
    let mut index = Index::default();
    for name in ["a", "b", "c"] {
        index.put_pod(&pod(name, json!({"spec": {"nodeName": "n"}})));
    }
    let pods = index.pods_on(&NodeName::new("n"));
    assert_eq!(pods.len(), 3);
    assert!(std::sync::Arc::ptr_eq(&pods[0].class, &pods[2].class));
    assert_eq!(index.stats().classes, 1);
}

#[test]
fn classes_nothing_uses_any_more_are_forgotten_without_a_list() {
    let mut index = Index::default();
    for number in 0..20_000 {
        let own = json!({"spec": {"nodeSelector": {"job": number.to_string()}}});
        let view = pod(&format!("p{number}"), own);
        index.put_pod(&view);
        index.remove_pod(&view);
    }
    assert!(index.stats().classes < 5000, "{}", index.stats().classes);
}

#[test]
fn only_a_change_of_the_set_of_unschedulable_pods_is_news_of_it() {
    let mut index = Index::default();
    index.put_pod(&pod("waiting", json!({})));
    assert!(!index.take_unschedulable_changed());
    index.put_pod(&unschedulable("a", json!({})));
    assert!(index.take_unschedulable_changed());
    assert_eq!(index.unschedulable(), 1);

    let nominated = json!({"status": {"nominatedNodeName": "n"}});
    assert!(index.put_pod(&unschedulable("a", nominated)));
    assert!(!index.take_unschedulable_changed(), "it waits as before");

    index.begin(Kind::Pods);
    index.put_pod(&unschedulable("a", json!({})));
    index.put_pod(&pod("waiting", json!({})));
    index.sweep(Kind::Pods);
    assert!(
        !index.take_unschedulable_changed(),
        "the list changed nothing"
    );

    index.put_pod(&unschedulable("a", json!({"spec": {"nodeName": "n"}})));
    assert!(index.take_unschedulable_changed());
    assert_eq!(index.unschedulable(), 0);

    index.put_pod(&unschedulable("b", json!({})));
    index.take_unschedulable_changed();
    let anew = json!({"metadata": {"uid": "another"}});
    index.put_pod(&unschedulable("b", anew));
    assert!(
        index.take_unschedulable_changed(),
        "another pod of this name"
    );
    index.begin(Kind::Pods);
    index.sweep(Kind::Pods);
    assert!(index.take_unschedulable_changed());
}

#[test]
fn a_gated_pod_waits_and_is_not_unschedulable() {
    let gated = json!({"status": {"conditions": [{"type": "PodScheduled", "status": "False",
        "reason": "SchedulingGated"}]}});
    let mut index = Index::default();
    index.put_pod(&pod("a", gated));
    assert_eq!(index.unschedulable(), 0);
    assert_eq!(index.cluster().waiting[0].state, PodState::Gated);
}

#[test]
fn a_pod_that_finished_frees_its_node() {
    let mut index = Index::default();
    index.put_pod(&pod("a", json!({"spec": {"nodeName": "n"}})));
    let done = json!({"spec": {"nodeName": "n"}, "status": {"phase": "Succeeded"}});
    assert!(index.put_pod(&pod("a", done)));
    assert!(index.pods_on(&NodeName::new("n")).is_empty());
    assert_eq!(index.rows(Kind::Pods), 0);
}

#[test]
fn late_news_of_a_deleted_pod_leaves_its_successor_alone() {
    let mut index = Index::default();
    let (first, second) = (
        pod("db-0", json!({"metadata": {"uid": "first"}})),
        pod("db-0", json!({"metadata": {"uid": "second"}})),
    );
    index.put_pod(&second);
    assert!(!index.remove_pod(&first));
    assert_eq!(index.rows(Kind::Pods), 1);
}

#[test]
fn who_looks_after_a_pod_is_told_by_its_controller_and_the_mirror_annotation() {
    let owner = |kind: &str, controller: bool| {
        json!({"metadata": {"ownerReferences": [{"apiVersion": "apps/v1", "kind": kind,
            "name": "o", "uid": "u", "controller": controller}]}})
    };
    let role = |more| {
        let view = pod("a", more);
        let (class, upkeep) = (class_of(&view).into(), view.upkeep().into());
        view.pod(PodKey::new("default", "a"), class, upkeep).role
    };
    assert_eq!(role(json!({})), PodRole::Ordinary);
    assert_eq!(role(owner("ReplicaSet", true)), PodRole::Ordinary);
    assert_eq!(role(owner("DaemonSet", true)), PodRole::DaemonSet);
    assert_eq!(role(owner("DaemonSet", false)), PodRole::Ordinary);
    let mirror = json!({"metadata": {"annotations": {"kubernetes.io/config.mirror": "hash"}}});
    assert_eq!(role(mirror), PodRole::Mirror);
}

#[test]
fn a_pod_asks_for_the_larger_of_its_start_and_its_run_plus_overhead() {
    let view = pod(
        "a",
        json!({"spec": {
            "overhead": {"cpu": "10m"},
            "containers": [
                {"resources": {"requests": {"cpu": "200m", "memory": "1Gi"}}},
                {"resources": {"requests": {"cpu": "300m"}}},
            ],
            "initContainers": [
                {"resources": {"requests": {"cpu": "100m"}}, "restartPolicy": "Always"},
                {"resources": {"requests": {"cpu": 1, "memory": "512Mi"}}},
            ],
        }}),
    );
    let requests = class_of(&view).requests;
    // Start-up: the sidecar's 100m and the init container's 1000m; running: 600m.
    assert_eq!(requests.cpu_milli, 1110);
    assert_eq!(requests.memory, 1 << 30);
    assert_eq!(requests.pods, 1);
}

#[test]
fn an_unreadable_quantity_is_a_defect_of_its_pod_and_stops_nothing_else() {
    for bad in [
        json!("lots"),
        json!({"a": 1}),
        json!([1]),
        json!(null),
        json!(true),
    ] {
        let spec = json!({"spec": {"containers": [{"resources": {"requests": {"cpu": bad}}}]}});
        let class = class_of(&pod("a", spec));
        let defect = class.defect.as_deref().unwrap_or_default();
        assert!(defect.starts_with("cpu: "), "{defect}");
        assert_eq!(class.requests.pods, 1, "it still takes a place");
    }
    let number = json!({"spec": {"containers": [{"resources": {"requests": {"cpu": 0.5}}}]}});
    assert_eq!(class_of(&pod("a", number)).requests.cpu_milli, 500);
}

#[test]
fn claims_for_devices_are_not_evaluated_and_every_other_rule_is() {
    let class = |spec: Value| class_of(&pod("a", json!({"spec": spec})));
    let device = class(json!({"resourceClaims": [{"name": "gpu"}]}));
    let rules: Vec<_> = device.unevaluated.into_iter().collect();
    assert_eq!(rules, [UnevaluatedRule::ResourceClaims]);
    let apart = json!([{"topologyKey": "kubernetes.io/hostname", "labelSelector": {}}]);
    let key = "requiredDuringSchedulingIgnoredDuringExecution";
    let all = class(json!({
        "affinity": {"podAntiAffinity": {key: apart}},
        "topologySpreadConstraints": [{"whenUnsatisfiable": "DoNotSchedule", "maxSkew": 1,
            "topologyKey": "zone"}],
        "containers": [{"ports": [{"containerPort": 80, "hostPort": 80}]}],
        "volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": "c"}},
            {"name": "n", "nfs": {}}],
    }));
    assert_eq!(all.defect, None);
    assert!(all.unevaluated.is_empty());
    let known = (
        all.anti_affinity.len(),
        all.spread.len(),
        all.host_ports.len(),
        all.claims.len(),
    );
    assert_eq!(known, (1, 1, 1, 1));
}

// === DaemonSets ===

#[test]
fn pods_of_a_daemon_set_tolerate_what_its_controller_lets_them() {
    let class = |host: bool| {
        let view: DaemonSetView = of(
            json!({"metadata": {"name": "d", "namespace": "kube-system"},
            "spec": {"template": {"spec": {"hostNetwork": host, "containers": []}}}}),
        );
        view.class()
    };
    let tolerates = |class: &model::SchedulingClass, key: &str| {
        class.tolerations.iter().any(|t| &*t.key == key && t.exists)
    };
    assert!(tolerates(&class(false), "node.kubernetes.io/unschedulable"));
    let network = "node.kubernetes.io/network-unavailable";
    assert!(!tolerates(&class(false), network) && tolerates(&class(true), network));
}

// === Nodes ===

fn view(value: Value) -> NodeView {
    of(value)
}

#[test]
fn a_heartbeat_is_no_news_but_its_version_is_kept() {
    let mut index = Index::default();
    assert!(index.note_node(&view(node("a", 1, json!({})))));
    let beat = json!({"status": {"conditions": [{"type": "Ready", "status": "True",
        "lastTransitionTime": "2026-01-01T00:00:00Z", "lastHeartbeatTime": "2026-01-01T00:05:00Z"}]}});
    assert!(!index.note_node(&view(node("a", 2, beat))));
    let row = index.node(&NodeName::new("a")).unwrap();
    assert_eq!(row.resource_version, "2");
    let tainted = json!({"spec": {"taints": [{"key": "k", "effect": "NoSchedule"}]}});
    assert!(index.note_node(&view(node("a", 3, tainted))));
}

#[test]
fn an_older_version_of_a_node_is_ignored_and_another_identity_replaces() {
    let mut index = Index::default();
    let cordoned = json!({"spec": {"unschedulable": true}});
    index.note_node(&NodeView::from(of::<KubeNode>(node("a", 9, cordoned))));
    assert!(!index.note_node(&view(node("a", 8, json!({})))));
    let name = NodeName::new("a");
    assert!(index.node(&name).unwrap().node.shape.unschedulable);

    let anew = json!({"metadata": {"uid": "another"}});
    assert!(index.note_node(&view(node("a", 3, anew))));
    assert_eq!(index.node(&name).unwrap().uid().as_str(), "another");
}

#[test]
fn the_late_answer_of_a_write_does_not_bring_a_deleted_node_back() {
    let mut index = Index::default();
    let object = node("a", 1, json!({}));
    index.note_node(&view(object.clone()));
    assert!(index.remove_node(&view(object)));
    assert!(!index.note_node(&view(node("a", 2, json!({})))));
    assert_eq!(index.rows(Kind::Nodes), 0);
}

#[test]
fn a_node_without_capacity_or_with_an_unreadable_one_is_kept_and_takes_nothing() {
    let bare = json!({"metadata": {"name": "bare", "uid": "u"}});
    let row = NodeRow::of(&view(bare));
    assert!(row.node.defect.is_some());
    assert_eq!(row.node.shape.allocatable, model::Resources::default());

    let bad = json!({"status": {"allocatable": {"memory": "much"}}});
    let row = NodeRow::of(&view(node("bad", 1, bad)));
    let defect = row.node.defect.as_deref().unwrap_or_default();
    assert!(defect.starts_with("memory: "), "{defect}");
}

#[test]
fn nodes_whose_names_differ_only_by_case_are_two_rows() {
    let mut index = Index::default();
    index.note_node(&view(node("worker-1", 1, json!({}))));
    index.note_node(&view(node("Worker-1", 2, json!({}))));
    assert_eq!(index.nodes().len(), 2);
}

#[test]
fn taints_of_an_unknown_effect_are_kept_for_writes_and_left_out_of_decisions() {
    let odd = json!({"spec": {"taints": [{"key": "k", "effect": "Sometimes"}]}});
    let row = NodeRow::of(&view(node("a", 1, odd)));
    assert_eq!(row.taints.len(), 1);
    assert!(row.model_taints().is_empty());
}

// === Objects of ours ===

fn guarded(object: VPSieNode) -> DeserializeGuard<VPSieNode> {
    DeserializeGuard(Ok(object))
}

#[test]
fn older_news_than_the_own_write_is_ignored() {
    let mut index = Index::default();
    index.vpsie_nodes.note(machine("a", "u", 9));
    assert!(!index.vpsie_nodes.put(guarded(machine("a", "u", 8))));
    let stored = index.vpsie_nodes.get("default", "a").unwrap();
    assert_eq!(stored.metadata.resource_version.as_deref(), Some("9"));
    assert!(index.vpsie_nodes.put(guarded(machine("a", "new", 3))));
}

#[test]
fn an_object_created_while_a_list_runs_survives_it() {
    let mut index = Index::default();
    index.vpsie_nodes.note(machine("before", "u1", 1));
    index.begin(Kind::VPSieNodes);
    index.vpsie_nodes.note(machine("during", "u2", 5));
    index.sweep(Kind::VPSieNodes);
    assert!(index.vpsie_nodes.get("default", "before").is_none());
    assert!(index.vpsie_nodes.get("default", "during").is_some());
}

#[test]
fn the_late_answer_of_a_write_does_not_bring_a_deleted_object_back() {
    let mut index = Index::default();
    index.vpsie_nodes.note(machine("a", "u", 1));
    assert!(index.vpsie_nodes.remove(&guarded(machine("a", "u", 2))));
    index.vpsie_nodes.note(machine("a", "u", 3));
    assert!(index.vpsie_nodes.get("default", "a").is_none());
}

#[test]
fn an_object_whose_last_finalizer_was_taken_off_is_gone_with_the_answer() {
    let mut index = Index::default();
    index.vpsie_nodes.note(machine("a", "u", 1));
    let mut last = machine("a", "u", 2);
    last.metadata.finalizers = None;
    last.metadata.deletion_timestamp = Some(of(json!("2026-01-01T00:00:00Z")));
    index.vpsie_nodes.note(last);
    assert!(index.vpsie_nodes.get("default", "a").is_none());
    // What the watch still has to tell of it comes too late to matter.
    assert!(!index.vpsie_nodes.put(guarded(machine("a", "u", 1))));
}

#[test]
fn an_object_that_cannot_be_decoded_is_named_and_recovers_when_mended() {
    let broken: DeserializeGuard<VPSieNode> = of(json!({
        "apiVersion": "autoscaler.vpsie.com/v1alpha1", "kind": "VPSieNode",
        "metadata": {"name": "a", "namespace": "default", "uid": "u", "resourceVersion": "1"},
        "spec": {"instanceType": 7}}));
    let mut index = Index::default();
    assert!(index.vpsie_nodes.put(broken));
    assert!(index.vpsie_nodes.get("default", "a").is_none());
    let malformed = index.vpsie_nodes.malformed("VPSieNode");
    assert_eq!(
        malformed.keys().collect::<Vec<_>>(),
        ["VPSieNode default/a"]
    );
    assert!(index.vpsie_nodes.put(guarded(machine("a", "u", 2))));
    assert!(index.vpsie_nodes.malformed("VPSieNode").is_empty());
}

// === Size ===

/// Resident memory of this process, in bytes.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    let kib: u64 = line
        .and_then(|line| line.split_whitespace().nth(1))
        .and_then(|kib| kib.parse().ok())
        .unwrap();
    kib * 1024
}

/// A pod with what clusters put into it: 9 kB of JSON, most of it nothing decisions need.
fn large_pod(number: usize) -> String {
    let app = number % 300;
    let environment: Vec<Value> = (0..20)
        .map(|i| json!({"name": format!("SETTING_{i}"), "value": "x".repeat(100)}))
        .collect();
    let fields: serde_json::Map<String, Value> = (0..120)
        .map(|i| (format!("f:field-{i}"), json!({".": {}})))
        .collect();
    let own = json!({
        "metadata": {
            "labels": {"app": format!("app-{app}"), "pod-template-hash": "5d4f8c7b9"},
            "ownerReferences": [{"apiVersion": "apps/v1", "kind": "ReplicaSet", "controller": true,
                "name": format!("app-{app}-5d4f8c7b9"), "uid": format!("{app:036}")}],
            "uid": format!("{number:036}"),
            "managedFields": [{"manager": "kubelet", "fieldsV1": fields}],
        },
        "spec": {
            "nodeName": format!("hel-kubernetes-worker-{:04}", number % 1000),
            "containers": [{"name": "c", "image": "registry/image:1", "env": environment,
                "resources": {"requests": {"cpu": format!("{}m", 50 + app), "memory": "128Mi"}}}],
            "tolerations": [{"key": "node.kubernetes.io/not-ready", "operator": "Exists",
                "effect": "NoExecute", "tolerationSeconds": 300}],
        },
        "status": {"phase": "Running", "podIP": "10.0.0.1"},
    });
    let base = json!({"metadata": {"name": format!("app-{app}-5d4f8c7b9-{number:05}"),
        "namespace": format!("team-{}", app % 20)}});
    merged(base, own).to_string()
}

/// Run alone: `cargo test -p controller --lib -- --ignored --nocapture the_index_of`.
#[test]
#[ignore = "measures resident memory, which is the whole process's: run alone"]
fn the_index_of_30_000_pods_on_1_000_nodes_takes_less_than_25_mib() {
    let mut index = Index::default();
    let before = resident();
    for number in 0..1000 {
        let mut labels = serde_json::Map::new();
        for i in 0..20 {
            labels.insert(format!("example.com/label-{i}"), json!(format!("v{i}")));
        }
        let name = format!("hel-kubernetes-worker-{number:04}");
        let own = json!({"metadata": {"labels": labels}});
        index.note_node(&view(node(&name, number + 1, own)));
    }
    let nodes = resident();
    for number in 0..30_000 {
        let text = large_pod(number);
        index.put_pod(&serde_json::from_str(&text).unwrap());
    }
    let after = resident();
    let clock = runtime::Clock::system();
    let cluster = index.cluster();
    let took = clock.monotonic();
    println!(
        "nodes {} B each, pods {} B each, {} classes, all {} KiB; reading them takes {took:?}",
        (nodes - before) / 1000,
        (after - nodes) / 30_000,
        index.stats().classes,
        (after - before) / 1024,
    );
    assert_eq!(cluster.nodes.len(), 1000);
    assert!(after - before < 25 << 20);
}

fn many_objects<E: super::surroundings::Entry + serde::de::DeserializeOwned>(
    index: &mut Index,
    count: usize,
    object: impl Fn(usize) -> Value,
) {
    index.begin(E::KIND);
    for number in 0..count {
        let mut object = object(number);
        let fields: serde_json::Map<String, Value> = (0..30)
            .map(|i| (format!("f:field-{i}"), json!({".": {}})))
            .collect();
        object["metadata"]["managedFields"] = json!([{"manager": "x", "fieldsV1": fields}]);
        let text = object.to_string();
        drop(object);
        index.put_surrounding(&serde_json::from_str::<E>(&text).unwrap());
    }
    index.sweep(E::KIND);
}

/// So many claims with their volumes and attachments, on 1,000 nodes.
fn volumes_in_use(index: &mut Index, count: usize) {
    let uid = |number: usize| format!("0f0f0f0f-{number:027}");
    let volume = |number: usize| format!("pvc-{}", uid(number));
    let claim = |number: usize| format!("data-db-{number}");
    let namespace = |number: usize| format!("team-{}", number % 20);
    let node = |number: usize| format!("hel-kubernetes-worker-{:04}", number % 1000);
    many_objects::<ClaimView>(index, count, |number| {
        json!({
            "metadata": {"name": claim(number), "namespace": namespace(number), "uid": uid(number),
                "labels": {"app": "db"}, "annotations": {
                    "pv.kubernetes.io/bind-completed": "yes",
                    "volume.kubernetes.io/selected-node": node(number)}},
            "spec": {"accessModes": ["ReadWriteOnce"], "storageClassName": "fast",
                "volumeMode": "Filesystem", "volumeName": volume(number),
                "resources": {"requests": {"storage": "10Gi"}}},
            "status": {"phase": "Bound"}})
    });
    many_objects::<VolumeView>(index, count, |number| {
        json!({
            "metadata": {"name": volume(number), "uid": format!("v{}", uid(number)),
                "annotations": {"pv.kubernetes.io/provisioned-by": "csi.example.com"}},
            "spec": {"accessModes": ["ReadWriteOnce"], "capacity": {"storage": "10Gi"},
                "claimRef": {"kind": "PersistentVolumeClaim", "namespace": namespace(number),
                    "name": claim(number), "uid": uid(number)},
                "csi": {"driver": "csi.example.com", "volumeHandle": uid(number),
                    "volumeAttributes": {"x": "y"}},
                "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [
                    {"key": "topology.kubernetes.io/zone", "operator": "In",
                        "values": [format!("zone-{}", number % 3)]}]}]}},
                "storageClassName": "fast", "volumeMode": "Filesystem"},
            "status": {"phase": "Bound"}})
    });
    many_objects::<AttachmentView>(index, count, |number| {
        json!({
            "metadata": {"name": format!("csi-{number:064}")},
            "spec": {"attacher": "csi.example.com", "nodeName": node(number),
                "source": {"persistentVolumeName": volume(number)}},
            "status": {"attached": true}})
    });
}

/// Run alone, as the one above.
#[test]
#[ignore = "measures resident memory, which is the whole process's: run alone"]
fn the_index_of_3_000_claims_with_their_volumes_takes_less_than_5_mib() {
    // What decoding needs by the way is there before and after.
    volumes_in_use(&mut Index::default(), 10);
    let before = resident();
    let mut index = Index::default();
    volumes_in_use(&mut index, 3000);
    let surroundings = index.surroundings();
    let after = resident();
    println!(
        "{} B for a claim with its volume and attachment, all {} KiB",
        (after - before) / 3000,
        (after - before) / 1024
    );
    assert_eq!(surroundings.storage.attached.len(), 1000);
    assert!(after - before < 5 << 20);
}
