//! Dumps, good and bad.

#![allow(clippy::needless_pass_by_value)] // JSON literals

use model::{Uid, WorkloadKind};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

fn read(text: &str) -> Dump {
    Dump::from_slice(text.as_bytes()).unwrap()
}

fn list(items: Value) -> Dump {
    read(&json!({"apiVersion": "v1", "items": items, "kind": "List"}).to_string())
}

fn error(text: &str) -> String {
    Dump::from_slice(text.as_bytes()).unwrap_err().to_string()
}

fn problems(dump: &Dump) -> Vec<String> {
    dump.problems.iter().map(ToString::to_string).collect()
}

fn object(api_version: &str, kind: &str, name: &str, more: Value) -> Value {
    let mut object = json!({"apiVersion": api_version, "kind": kind, "metadata": {"name": name}});
    for (key, value) in more.as_object().into_iter().flatten() {
        if key == "metadata" {
            for (key, value) in value.as_object().into_iter().flatten() {
                object["metadata"][key] = value.clone();
            }
        } else {
            object[key] = value.clone();
        }
    }
    object
}

fn node(name: &str) -> Value {
    let allocatable = json!({"cpu": "2", "memory": "4Gi", "pods": "110"});
    object(
        "v1",
        "Node",
        name,
        json!({"status": {"allocatable": allocatable}}),
    )
}

fn pod(name: &str, on: Option<&str>) -> Value {
    let containers = json!([{"name": "c", "resources": {"requests": {"cpu": "500m"}}}]);
    let more = json!({"metadata": {"namespace": "shop", "uid": name},
        "spec": {"nodeName": on, "containers": containers}});
    object("v1", "Pod", name, more)
}

fn workload(uid: &str, replicas: u32) -> Value {
    json!({"metadata": {"namespace": "shop", "uid": uid}, "spec": {"replicas": replicas}})
}

/// One object of every kind that is looked at.
fn everything() -> Value {
    let storage = "storage.k8s.io/v1";
    let own = "autoscaler.vpsie.com/v1alpha1";
    json!([
        node("n1"),
        pod("bound", Some("n1")),
        pod("waiting", None),
        object(
            "v1",
            "Namespace",
            "shop",
            json!({"metadata": {"labels": {"team": "x"}}})
        ),
        object(
            "v1",
            "PersistentVolumeClaim",
            "c",
            json!({"metadata": {"namespace": "shop"},
            "spec": {"volumeName": "v"}})
        ),
        object(
            "v1",
            "PersistentVolume",
            "v",
            json!({
            "spec": {"csi": {"driver": "d", "volumeHandle": "h"}}})
        ),
        object(storage, "StorageClass", "s", json!({"provisioner": "d"})),
        object(
            storage,
            "CSINode",
            "n1",
            json!({"spec": {"drivers": [
            {"name": "d", "allocatable": {"count": 3}}]}})
        ),
        object(
            storage,
            "CSIDriver",
            "d",
            json!({"spec": {"storageCapacity": true}})
        ),
        object(
            storage,
            "CSIStorageCapacity",
            "cap",
            json!({"storageClassName": "s",
            "nodeTopology": {}, "capacity": "1Gi"})
        ),
        object(
            storage,
            "VolumeAttachment",
            "a",
            json!({"spec": {"attacher": "d",
            "nodeName": "n1", "source": {"persistentVolumeName": "v"}}})
        ),
        object(
            "apps/v1",
            "DaemonSet",
            "agent",
            json!({"metadata": {"namespace": "shop"},
            "spec": {"template": {"spec": {"containers": []}}}})
        ),
        object(
            own,
            "NodeGroup",
            "g",
            json!({"metadata": {"namespace": "shop"},
            "spec": {"minNodes": 1, "maxNodes": 3, "datacenterID": "dc", "offeringIDs": ["o"]}})
        ),
        object(
            own,
            "VPSieNode",
            "m",
            json!({"metadata": {"namespace": "shop"},
            "spec": {"instanceType": "s", "nodeGroupName": "g", "datacenterID": "dc"}})
        ),
        object(
            "policy/v1",
            "PodDisruptionBudget",
            "b",
            json!({"metadata": {"namespace": "shop"}, "spec": {"selector": {}},
            "status": {"disruptionsAllowed": 2}})
        ),
        object("apps/v1", "ReplicaSet", "r", workload("r", 3)),
        object("apps/v1", "StatefulSet", "s", workload("s", 2)),
        object("v1", "ReplicationController", "c", workload("c", 1)),
        object(
            "batch/v1",
            "Job",
            "j",
            json!({"metadata": {"namespace": "shop", "uid": "j"}, "spec": {"parallelism": 5}})
        ),
        object(
            "metrics.k8s.io/v1beta1",
            "NodeMetrics",
            "n1",
            json!({"timestamp": "2026-01-01T00:00:00Z", "window": "20s",
            "usage": {"cpu": "250m", "memory": "1Gi"}})
        ),
        object(
            own,
            "AutoscalerConfig",
            "default",
            json!({"metadata": {"annotations": {"autoscaler.vpsie.com/paused": "true"}},
            "spec": {}})
        ),
        object("v1", "ConfigMap", "x", json!({"data": {"kind": "Pod"}})),
    ])
}

fn is_everything(dump: &Dump) {
    assert_eq!(problems(dump), [""; 0]);
    let names = |pods: &[Arc<Pod>]| pods.iter().map(|p| p.key.to_string()).collect::<Vec<_>>();
    assert_eq!(dump.nodes[0].name.as_str(), "n1");
    assert_eq!(names(&dump.bound), ["shop/bound"]);
    assert_eq!(names(&dump.waiting), ["shop/waiting"]);
    let Surroundings {
        namespaces,
        storage,
    } = &dump.surroundings;
    assert_eq!(namespaces["shop"]["team"].as_ref(), "x");
    assert_eq!((storage.claims.len(), storage.volumes.len()), (1, 1));
    assert_eq!((storage.classes.len(), storage.capacities.len()), (1, 1));
    assert_eq!(storage.publishing_drivers.len(), 1);
    let n1 = model::NodeName::new("n1");
    assert_eq!(storage.limits[&n1]["d"], Some(3));
    assert_eq!(storage.attached[&n1].len(), 1);
    assert_eq!(dump.daemon_sets.len(), 1);
    assert_eq!(dump.node_groups[0].metadata.name.as_deref(), Some("g"));
    assert_eq!(dump.vpsie_nodes[0].metadata.name.as_deref(), Some("m"));
    let disruption = &dump.disruption;
    let budgets: Vec<_> = disruption.budgets.iter().flatten().collect();
    assert_eq!((budgets.len(), budgets[0].allowed), (1, 2));
    for (kind, uid, replicas) in [
        (WorkloadKind::ReplicaSet, "r", 3),
        (WorkloadKind::StatefulSet, "s", 2),
        (WorkloadKind::ReplicationController, "c", 1),
        (WorkloadKind::Job, "j", 5),
    ] {
        let known = &disruption.workloads[&kind];
        assert!(known.complete);
        assert_eq!(known.replicas, [(Uid::new(uid), replicas)].into());
    }
    assert_eq!(disruption.usage[&n1].cpu_milli, 250);
    assert!(dump.paused.is_some());
    assert_eq!(dump.node_facts.keys().collect::<Vec<_>>(), [&n1]);
    let ignored: Vec<(&str, usize)> = dump.ignored.iter().map(|(k, n)| (&**k, *n)).collect();
    assert_eq!(ignored, [("ConfigMap", 1)]);
}

#[test]
fn a_list_is_read_as_json_compact_or_not() {
    let whole = json!({"apiVersion": "v1", "items": everything(), "kind": "List", "metadata": {}});
    is_everything(&read(&whole.to_string()));
    is_everything(&read(&format!("\u{feff} {whole:#}\n")));
    let bytes = whole.to_string().into_bytes();
    is_everything(&Dump::read(bytes.as_slice()).unwrap());
}

#[test]
fn a_list_is_read_as_yaml() {
    let whole = json!({"apiVersion": "v1", "items": everything(), "kind": "List"});
    is_everything(&read(&serde_saphyr::to_string(&whole).unwrap()));
}

#[test]
fn documents_in_a_row_are_read_as_json_and_as_yaml() {
    let everything = everything();
    let objects = everything.as_array().unwrap();
    let json: Vec<String> = objects.iter().map(|object| format!("{object:#}")).collect();
    is_everything(&read(&json.join("\n")));
    let yaml: Vec<String> = objects
        .iter()
        .map(|object| serde_saphyr::to_string(object).unwrap())
        .collect();
    is_everything(&read(&yaml.join("\n---\n")));
    is_everything(&read(&format!("---\n{}\n---\n", yaml.join("\n---\n"))));
}

#[test]
fn the_kind_may_stand_last() {
    let last = r#"{"metadata": {"name": "n1"}, "status": {"allocatable": {"cpu": "1"}},
        "kind": "Node", "apiVersion": "v1"}"#;
    for text in [last.to_owned(), format!(r#"{{"items": [{last}]}}"#)] {
        let dump = read(&text);
        assert_eq!(dump.nodes[0].shape.allocatable.cpu_milli, 1000);
        assert_eq!(problems(&dump), [""; 0]);
    }
}

#[test]
fn items_of_a_list_of_one_kind_need_not_name_it() {
    let bare = r#"{"metadata": {"name": "n1"}, "status": {"allocatable": {"cpu": "1"}}}"#;
    for text in [
        format!(r#"{{"items": [{bare}], "kind": "NodeList", "apiVersion": "v1"}}"#),
        format!(
            r#"{{"kind": "NodeList", "apiVersion": "v1", "metadata": {{}}, "items": [{bare}]}}"#
        ),
        format!("kind: NodeList\napiVersion: v1\nitems: [{bare}]"),
        format!("items: [{bare}]\nkind: NodeList\napiVersion: v1"),
    ] {
        assert_eq!(read(&text).nodes.len(), 1, "{text}");
    }
    let unknown = read(&format!(r#"{{"items": [{bare}], "kind": "List"}}"#));
    assert_eq!(problems(&unknown), ["an object n1: it names no kind"]);
}

#[test]
fn a_kind_of_another_group_is_another_kind() {
    let dump = list(json!([object("example.com/v1", "Node", "n1", json!({}))]));
    assert!(dump.nodes.is_empty() && problems(&dump).is_empty());
    assert_eq!(dump.ignored["Node"], 1);
}

#[test]
fn missing_kinds_are_empty() {
    let dump = list(json!([]));
    assert!(dump.nodes.is_empty() && dump.waiting.is_empty() && dump.problems.is_empty());
    assert_eq!(dump.disruption.budgets, Some(vec![]));
    // Their absence would say of every pod that nobody makes it anew.
    assert!(dump.disruption.workloads.is_empty() && dump.paused.is_none());
}

#[test]
fn what_is_wrong_with_what_removals_look_at_is_named() {
    let shop = json!({"metadata": {"namespace": "shop"}});
    let with = |spec: Value| json!({"metadata": {"namespace": "shop"}, "spec": spec});
    let odd = json!({"selector": {"matchExpressions": [{"key": "app", "operator": "Is"}]}});
    let metrics = "metrics.k8s.io/v1beta1";
    let dump = list(json!([
        object("policy/v1", "PodDisruptionBudget", "odd", with(odd)),
        object("policy/v1", "PodDisruptionBudget", "b", shop.clone()),
        object("policy/v1", "PodDisruptionBudget", "b", shop.clone()),
        object("apps/v1", "ReplicaSet", "", shop.clone()),
        object("apps/v1", "ReplicaSet", "r", with(json!({"replicas": "3"}))),
        object("apps/v1", "StatefulSet", "s", shop.clone()),
        object("apps/v1", "StatefulSet", "s", shop),
        object(metrics, "NodeMetrics", "n", json!({"usage": {"cpu": "1"}})),
    ]));
    assert_eq!(
        problems(&dump),
        [
            "PodDisruptionBudget shop/odd: selector: app: unknown operator \"Is\"",
            "PodDisruptionBudget shop/b: it is given twice; the first counts",
            "ReplicaSet shop/: it has no name",
            "ReplicaSet shop/r: spec.replicas: invalid type: string \"3\", expected i64",
            "StatefulSet shop/s: it is given twice; the first counts",
            "NodeMetrics n: it has no timestamp",
        ]
    );
    let names = dump.disruption.budgets.iter().flatten().map(|b| &*b.name);
    assert_eq!(names.collect::<Vec<_>>(), ["b", "odd"]);
    assert!(dump.disruption.usage.is_empty());
}

#[test]
fn equal_pods_share_what_their_removal_looks_at() {
    let owned = |name: &str| {
        let mut pod = pod(name, Some("n1"));
        pod["metadata"]["ownerReferences"] = json!([{"apiVersion": "apps/v1",
            "kind": "ReplicaSet", "name": "web", "uid": "u", "controller": true}]);
        pod
    };
    let dump = list(json!([
        node("n1"),
        owned("a"),
        owned("b"),
        pod("bare", Some("n1"))
    ]));
    let upkeep = |at: usize| &dump.bound[at].upkeep;
    assert!(Arc::ptr_eq(upkeep(0), upkeep(1)));
    assert_eq!(upkeep(0).controller.as_ref().map(|c| &*c.name), Some("web"));
    assert_eq!(upkeep(2).controller, None);
}

// === Bad dumps ===

#[test]
fn json_that_is_cut_off_is_an_error_with_its_place() {
    let whole = format!(
        "{:#}",
        json!({"apiVersion": "v1", "items": everything(), "kind": "List"})
    );
    let lines: Vec<&str> = whole.lines().collect();
    let cut = lines[..40].join("\n");
    let column = lines[39].len() + 1;
    let expected =
        format!("it is cut off: it ends at line 40, column {column}, in the middle of an object");
    assert_eq!(error(&cut), expected);
    let text = whole.as_bytes();
    for end in 1..text.len() {
        let cut = Dump::from_slice(&text[..end]);
        let is_cut_off = matches!(cut, Err(DumpError::Truncated { .. } | DumpError::Empty));
        assert!(is_cut_off, "{end}: {cut:?}");
    }
}

#[test]
fn text_that_is_not_json_is_an_error_with_its_place() {
    let text = "{\"items\": [\n  {\"kind\": \"Pod\", \"metadata\": {\"name\": nope}}\n]}";
    let expected = "it is not JSON at line 2, column 41: expected ident";
    assert_eq!(error(text), expected);
    assert_eq!(
        error("{\"items\": [{} {}]}"),
        "it is not JSON at line 1, column 15: expected `,`"
    );
}

#[test]
fn what_is_no_object_is_an_error() {
    for (text, what) in [
        ("", "it is empty"),
        ("  \n", "it is empty"),
        (
            "[1]",
            "it holds a sequence where a Kubernetes object is expected",
        ),
        (
            "hello",
            "it holds text where a Kubernetes object is expected",
        ),
        (
            "{} 7",
            "it holds something where a Kubernetes object is expected",
        ),
    ] {
        assert_eq!(error(text), what, "{text:?}");
    }
    let dump = read("{}");
    assert_eq!(problems(&dump), ["an object: it names no kind"]);
}

#[test]
fn yaml_that_makes_no_sense_is_an_error() {
    let text = error("a: [1\nb: {");
    assert!(text.starts_with("it is not YAML: "), "{text}");
    assert!(!text.contains('\n'), "{text}");
}

#[test]
fn a_node_given_twice_is_an_error_that_names_it() {
    let twice = json!({"items": [node("n1"), node("n2"), node("n1")]}).to_string();
    assert_eq!(error(&twice), "Node n1 is given twice");
}

#[test]
fn others_given_twice_are_named_and_the_first_counts() {
    let first = object(
        "v1",
        "Namespace",
        "a",
        json!({"metadata": {"labels": {"x": "1"}}}),
    );
    let dump = list(json!([
        node("n"),
        pod("p", Some("n")),
        pod("p", None),
        first,
        object("v1", "Namespace", "a", json!({})),
    ]));
    assert_eq!(
        problems(&dump),
        [
            "Pod shop/p: it is given twice; the first counts",
            "Namespace a: it is given twice; the first counts",
        ]
    );
    assert_eq!((dump.bound.len(), dump.waiting.len()), (1, 0));
    assert_eq!(&*dump.surroundings.namespaces["a"]["x"], "1");
}

#[test]
fn an_object_of_a_wrong_type_is_named_with_its_field_and_the_others_count() {
    let mut bad = pod("bad", None);
    bad["spec"]["containers"][0]["ports"] = json!([{"hostPort": "http"}]);
    let text = json!({"items": [pod("a", None), bad, pod("b", None), 7, {"kind": 5}]});
    let in_json = read(&text.to_string());
    let path = "spec.containers[0].ports[0].hostPort";
    let named = format!("Pod shop/bad: {path}: invalid type: string \"http\", expected i32");
    let found = problems(&in_json);
    assert_eq!(found[0], named);
    assert!(
        found[1].starts_with("an object: invalid type: integer `7`"),
        "{}",
        found[1]
    );
    assert_eq!(found.len(), 3);
    assert_eq!(in_json.waiting.len(), 2);
    let in_yaml = read(&serde_saphyr::to_string(&text).unwrap());
    assert_eq!(problems(&in_yaml)[0], named);
    assert_eq!((in_yaml.problems.len(), in_yaml.waiting.len()), (3, 2));
}

#[test]
fn a_list_is_not_taken_for_an_object() {
    let mut bad = pod("bad", None);
    bad["spec"] = json!(["n1"]);
    let dump = list(json!([bad]));
    let expected = "Pod shop/bad: spec: invalid type: sequence, expected an object";
    assert_eq!(problems(&dump), [expected]);
}

#[test]
fn quantities_that_do_not_parse_are_named_and_their_objects_count() {
    let mut bad = pod("bad", None);
    bad["spec"]["containers"][0]["resources"]["requests"]["cpu"] = json!("lots");
    let mut short = node("n");
    short["status"]["allocatable"]["memory"] = json!("4 GB");
    let claim = object(
        "v1",
        "PersistentVolumeClaim",
        "c",
        json!({"metadata": {"namespace": "shop"},
        "spec": {"resources": {"requests": {"storage": {}}}}}),
    );
    let dump = list(json!([bad, short, claim]));
    assert_eq!(
        problems(&dump),
        [
            "Pod shop/bad: cpu: \"lots\" is not a quantity",
            "Node n: memory: \"4 GB\" is not a quantity",
            "PersistentVolumeClaim shop/c: storage: an object is not a quantity",
        ]
    );
    assert_eq!((dump.waiting.len(), dump.nodes.len()), (1, 1));
}

#[test]
fn pods_on_unknown_nodes_do_not_exist_and_are_named() {
    let mut done = pod("done", Some("gone"));
    done["status"] = json!({"phase": "Succeeded"});
    let dump = list(json!([pod("p", Some("gone")), done, node("n")]));
    let expected = "Pod shop/p: it is bound to node gone, which is not in the dump";
    assert_eq!(problems(&dump), [expected]);
    assert!(dump.bound.is_empty() && dump.waiting.is_empty());
}

#[test]
fn an_object_without_a_name_is_left_out() {
    let dump = list(json!([object("v1", "Node", "", json!({}))]));
    assert_eq!(problems(&dump), ["Node: it has no name"]);
}

#[test]
fn more_bytes_than_allowed_are_not_read() {
    let text = json!({"items": [node("n1")]}).to_string();
    let size = text.len() as u64;
    assert!(Dump::read_at_most(text.as_bytes(), size).is_ok());
    let error = Dump::read_at_most(text.as_bytes(), size - 1).unwrap_err();
    assert!(matches!(error, DumpError::TooLarge { .. }));
}

#[test]
fn problems_are_kept_up_to_a_number_and_then_counted() {
    let pods: Vec<Value> = (0..MOST_PROBLEMS + 5)
        .map(|number| pod(&format!("p{number}"), Some("gone")))
        .collect();
    let dump = list(json!(pods));
    assert_eq!(dump.problems.len(), MOST_PROBLEMS);
    assert_eq!(dump.further_problems, 5);
}

#[test]
fn values_nested_beyond_reason_are_an_error_and_not_the_end_of_the_stack() {
    let deep = format!(
        r#"{{"items": [{{"kind": "Pod", "spec": {}"#,
        "[".repeat(100_000)
    );
    assert!(Dump::from_slice(deep.as_bytes()).is_err());
    let yaml = format!("items:\n- spec: {}", "[".repeat(100_000));
    assert!(Dump::from_slice(yaml.as_bytes()).is_err());
}

// === Whatever it is ===

/// JSON made of what dumps are made of.
fn anything() -> impl Strategy<Value = Value> {
    let word = prop::sample::select(vec![
        "apiVersion",
        "kind",
        "items",
        "metadata",
        "name",
        "namespace",
        "labels",
        "annotations",
        "spec",
        "status",
        "containers",
        "resources",
        "requests",
        "cpu",
        "memory",
        "allocatable",
        "affinity",
        "podAffinity",
        "requiredDuringSchedulingIgnoredDuringExecution",
        "labelSelector",
        "matchLabels",
        "matchExpressions",
        "topologyKey",
        "key",
        "operator",
        "values",
        "volumes",
        "persistentVolumeClaim",
        "claimName",
        "taints",
        "template",
        "csi",
        "capacity",
        "storage",
        "topologySpreadConstraints",
        "ports",
        "hostPort",
        "v1",
        "apps/v1",
        "storage.k8s.io/v1",
        "autoscaler.vpsie.com/v1alpha1",
        "Pod",
        "Node",
        "List",
        "PodList",
        "Namespace",
        "PersistentVolume",
        "StorageClass",
        "PersistentVolumeClaim",
        "CSINode",
        "VolumeAttachment",
        "DaemonSet",
        "NodeGroup",
        "VPSieNode",
        "PodDisruptionBudget",
        "ReplicaSet",
        "selector",
        "replicas",
        "policy/v1",
        "emptyDir",
        "100m",
        "1Gi",
        "In",
        "Exists",
        "",
    ]);
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        word.clone().prop_map(Value::from),
        ".{0,8}".prop_map(Value::from),
    ];
    leaf.prop_recursive(6, 60, 8, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::vec((word.clone(), inner), 0..8).prop_map(|fields| {
                fields
                    .into_iter()
                    .map(|(key, value)| (key.to_owned(), value))
                    .collect()
            }),
        ]
    })
}

/// An object of a kind that is looked at, with anything in it.
fn anything_named() -> impl Strategy<Value = Value> {
    let all = everything();
    (
        prop::sample::select(all.as_array().unwrap().clone()),
        anything(),
        anything(),
    )
        .prop_map(|(mut object, spec, status)| {
            object["spec"] = spec;
            object["status"] = status;
            object
        })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn no_json_makes_a_dump_panic(
        items in prop::collection::vec(prop_oneof![anything(), anything_named()], 0..6),
        cut in 0.0..1.2_f64,
    ) {
        let text = json!({"kind": "List", "items": items}).to_string();
        let whole = Dump::from_slice(text.as_bytes());
        prop_assert!(matches!(whole, Ok(_) | Err(DumpError::NodeTwice { .. })), "{whole:?}");
        let cut = (text.len() as f64 * cut) as usize;
        let _ = Dump::from_slice(text.as_bytes().get(..cut).unwrap_or(text.as_bytes()));
        let _ = Dump::from_slice(items.first().unwrap_or(&Value::Null).to_string().as_bytes());
    }

    #[test]
    fn no_text_makes_a_dump_panic(text in ".{0,200}", bytes in prop::collection::vec(any::<u8>(), 0..100)) {
        let _ = Dump::from_slice(text.as_bytes());
        let _ = Dump::from_slice(&bytes);
        let _ = Dump::from_slice(format!("{{{text}").as_bytes());
    }

    #[test]
    fn json_and_yaml_of_one_dump_mean_the_same(items in prop::collection::vec(anything_named(), 0..4)) {
        let whole = json!({"kind": "List", "items": items});
        let yaml = serde_saphyr::to_string(&whole).unwrap();
        let (json, yaml) = (Dump::from_slice(whole.to_string().as_bytes()), Dump::from_slice(yaml.as_bytes()));
        if let (Ok(json), Ok(yaml)) = (json, yaml) {
            prop_assert_eq!(&json.nodes, &yaml.nodes);
            prop_assert_eq!(&json.waiting, &yaml.waiting);
            prop_assert_eq!(&json.surroundings, &yaml.surroundings);
            prop_assert_eq!(&json.disruption, &yaml.disruption);
            prop_assert_eq!(&json.node_facts, &yaml.node_facts);
            prop_assert_eq!(json.problems.len(), yaml.problems.len());
        }
    }
}
