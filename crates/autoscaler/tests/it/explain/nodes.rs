//! `explain node`: each node of a cluster in which each is kept by something else.

use serde_json::{Value, json};

use super::{examples, file, list};
use crate::offline::answer;

const CLUSTER: &str = include_str!("nodes.yaml");
const NOON: &str = "2026-01-01T12:00:00Z";

/// Status, standard output and standard error.
fn explain(arguments: &[&str], input: &str) -> (i32, String, String) {
    answer(&["explain", "node"], arguments, input)
}

/// The answer on the cluster of the file, at noon; nothing is wrong with it.
pub(super) fn on_cluster(topic: &str, arguments: &[&str]) -> String {
    let (path, offerings) = (file("nodes.yaml"), file("offerings.yaml"));
    let mut all = vec![
        "--from-file",
        &path,
        "--offerings",
        &offerings,
        "--at",
        NOON,
    ];
    all.extend(arguments);
    let (code, out, err) = answer(&["explain", topic], &all, "");
    assert_eq!((code, err.as_str()), (0, ""), "{out}");
    out
}

pub(super) fn parsed(out: &str) -> Value {
    assert_eq!(out.lines().count(), 1, "{out}");
    serde_json::from_str(out).unwrap()
}

fn names(rows: &Value) -> Vec<&str> {
    let rows = rows.as_array().unwrap().iter();
    rows.map(|row| row["reason"].as_str().unwrap()).collect()
}

/// The answer on some objects, by the rules of safety alone, at noon.
fn safety(items: &[Value], arguments: &[&str]) -> Vec<Value> {
    let given = ["--from-file", "-", "-o", "json", "--at", NOON];
    let (code, out, err) = explain(&[&given[..], arguments].concat(), &list(items));
    assert_eq!(code, 0, "{err}");
    let Value::Array(nodes) = parsed(&out)["nodes"].take() else {
        panic!("{out}")
    };
    nodes
}

fn group(window: u32) -> Value {
    json!({"apiVersion": "autoscaler.vpsie.com/v1alpha1", "kind": "NodeGroup",
        "metadata": {"name": "g", "namespace": "a",
            "labels": {"autoscaler.vpsie.com/managed": "true"}},
        "spec": {"minNodes": 0, "maxNodes": 9, "datacenterID": "hel", "offeringIDs": ["small"],
            "scaleDownPolicy": {"stabilizationWindowSeconds": window, "cooldownSeconds": window}},
        "status": {"lastScaleTime": "2026-01-01T11:00:00Z"}})
}

/// A node of the group and its machine, Ready and unneeded since eleven.
fn worker(name: &str) -> [Value; 2] {
    [
        json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name},
            "status": {"allocatable": {"cpu": "1", "memory": "1Gi", "pods": "10"},
                "conditions": [{"type": "Ready", "status": "True"}]}}),
        json!({"apiVersion": "autoscaler.vpsie.com/v1alpha1", "kind": "VPSieNode",
            "metadata": {"name": name, "namespace": "a"},
            "spec": {"nodeGroupName": "g", "instanceType": "small", "datacenterID": "hel"},
            "status": {"phase": "Ready", "nodeName": name, "readyAt": "2026-01-01T11:00:00Z",
                "unneededSince": "2026-01-01T11:00:00Z"}}),
    ]
}

fn pod(name: &str, node: &str, cpu: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name, "namespace": "a", "ownerReferences": [{"apiVersion": "apps/v1",
            "kind": "ReplicaSet", "name": "web", "uid": "web", "controller": true}]},
        "spec": {"nodeName": node,
            "containers": [{"name": "c", "resources": {"requests": {"cpu": cpu}}}]},
        "status": {"phase": "Running"}})
}

#[test]
fn every_node_is_kept_by_what_it_is_called_and_by_nothing_else() {
    let answer = parsed(&on_cluster("node", &["--assume-unneeded", "-o", "json"]));
    assert_eq!(answer["version"], 1);
    let expected = [
        ("bad-hours", "HoursNotUnderstood", ""),
        ("bare", "BarePod BarePod", "shop/another shop/tool"),
        ("budget", "BudgetAllowsNone", "shop/queue-1"),
        ("budgets", "SeveralBudgets", "shop/vote-1"),
        ("cluster-autoscaler", "PodProtected", "shop/ca-1"),
        ("completion", "OnCompletion", "shop/batch-1"),
        ("control-plane", "ControlPlane", ""),
        ("cordoned", "HumanCordon", "shop/left-1"),
        ("empty", "", ""),
        ("fixed", "ScaleDownDisabled", ""),
        ("for-a-while", "PodProtected", "shop/while-1"),
        ("foreign", "NoVPSieNode GroupUnmanaged", ""),
        ("going", "BeingRemoved", ""),
        ("growing", "ScaleUpInProgress", ""),
        ("hardly", "", ""),
        ("hours", "OutsideAllowedHours", ""),
        ("karpenter", "PodProtected", "shop/k-1"),
        ("local", "LocalStorage", "shop/cache-1"),
        ("minimum", "AtMinimum", ""),
        ("no-place", "NoPlace", "shop/fast-1"),
        ("nominated", "NominatedPod", "shop/soon"),
        ("nonsense", "AnnotationNotUnderstood", "shop/odd-1"),
        ("not-ready", "NotReady", ""),
        ("orphan", "ControllerGone", "shop/orphan-1"),
        ("own-words", "PodProtected", "shop/own-1"),
        ("paused", "GroupPaused", ""),
        ("pinned", "PinnedVolume NoPlace", "shop/data-1 shop/data-1"),
        ("protected", "Protected", ""),
        ("starting", "StartupTaints", ""),
        ("stopped", "RemovalsStopped", ""),
        ("system", "KubeSystemPod", "kube-system/dns-1"),
        ("unmanaged", "GroupUnmanaged", ""),
    ];
    let nodes = answer["nodes"].as_array().unwrap();
    let said: Vec<(&str, String, String)> = nodes
        .iter()
        .map(|row| {
            let pods = row["reasons"].as_array().unwrap().iter();
            let pods: Vec<&str> = pods.filter_map(|row| row["pod"].as_str()).collect();
            let node = row["node"].as_str().unwrap();
            (node, names(&row["reasons"]).join(" "), pods.join(" "))
        })
        .collect();
    let expected: Vec<(&str, String, String)> = expected
        .iter()
        .map(|(node, reasons, pods)| (*node, (*reasons).to_owned(), (*pods).to_owned()))
        .collect();
    assert_eq!(said, expected);
    for row in nodes {
        let removable = row["removable"].as_bool().unwrap();
        assert_eq!(removable, row["reasons"] == json!([]), "{row}");
        let ours = !matches!(row["node"].as_str(), Some("foreign" | "unmanaged"));
        assert_eq!(row["group"].is_string(), ours, "{row}");
        assert_eq!(row["savings"] == "0.0137", ours, "{row}");
        let details = row["reasons"].as_array().unwrap().iter();
        for detail in details.map(|row| row["detail"].as_str().unwrap()) {
            assert!(!detail.is_empty(), "{row}");
        }
    }
}

#[test]
fn every_pod_that_would_move_is_named_with_its_place_and_only_where_the_node_could_go() {
    let given = ["--assume-unneeded", "-o", "json"];
    let answer = parsed(&on_cluster("node", &given));
    for row in answer["nodes"].as_array().unwrap() {
        let moves = row["moves"].as_array().unwrap();
        let pods: Vec<&str> = moves
            .iter()
            .map(|one| one["pod"].as_str().unwrap())
            .collect();
        if row["node"] == "hardly" {
            assert_eq!(
                pods,
                ["shop/web-1", "shop/web-2"],
                "not that of the DaemonSet"
            );
            for one in moves {
                assert!(!matches!(
                    one["node"].as_str(),
                    None | Some("hardly" | "going")
                ));
            }
        } else {
            assert!(pods.is_empty(), "{row}");
        }
    }
}

#[test]
fn the_documented_advice_and_json_are_what_is_answered() {
    let given = ["hardly", "bare", "foreign", "--assume-unneeded"];
    let advice = on_cluster("node", &given);
    assert!(
        examples("text").any(|example| example == advice),
        "{advice}"
    );
    let given = ["pinned", "hardly", "--assume-unneeded", "-o", "json"];
    let answer = parsed(&on_cluster("node", &given));
    let mut documented = examples("json").map(|text| serde_json::from_str::<Value>(text).unwrap());
    assert!(documented.any(|example| example == answer), "{answer:#}");
}

#[test]
fn advice_says_what_keeps_a_node_and_what_to_do_about_it() {
    let advice = on_cluster("node", &["--assume-unneeded", "budget", "local", "going"]);
    assert_eq!(
        advice,
        "As of 2026-01-01T12:00:00Z; windows, cooldowns and what is in use are taken as given.\n\
         \n\
         Node budget of kube-system/general stays.\n  \
           Unneeded since 2026-01-01T09:00:00Z. Without it 0.0137 USD an hour (10.00 USD a month \
           of 730 hours) would be saved.\n  \
           BudgetAllowsNone: budget shop/queue lets no pod be evicted now, pod shop/queue-1 among \
           them\n    \
             What to do: wait until more of them are healthy; or loosen the budget.\n\
         \n\
         Node going of kube-system/general is on the way out.\n  \
           Unneeded since 2026-01-01T09:00:00Z. Without it 0.0137 USD an hour (10.00 USD a month \
           of 730 hours) would be saved.\n  \
           BeingRemoved: it is being removed (Empty, Settling)\n    \
             What to do: look at the status of its VPSieNode.\n\
         \n\
         Node local of kube-system/general stays.\n  \
           Unneeded since 2026-01-01T09:00:00Z. Without it 0.0137 USD an hour (10.00 USD a month \
           of 730 hours) would be saved.\n  \
           LocalStorage: pod shop/cache-1 has data on the node: scratch\n    \
             What to do: name such volumes in \
             `cluster-autoscaler.kubernetes.io/safe-to-evict-local-volumes`, or allow it with \
             `safe-to-evict: \"true\"`.\n"
    );
}

#[test]
fn windows_cooldowns_and_use_count_unless_they_are_taken_as_given() {
    let said = |window: u32, assumed: &[&str]| {
        let mut items = vec![group(window)];
        items.extend(worker("busy"));
        items.extend(worker("idle"));
        items.push(pod("p", "busy", "600m"));
        let nodes = safety(&items, assumed);
        let said = nodes.iter().map(|row| names(&row["reasons"]).join(" "));
        said.collect::<Vec<_>>()
    };
    let waits = "NodeTooYoung CooldownActive WindowNotOver";
    let in_use = "NodeTooYoung CooldownActive NotUnderutilized";
    assert_eq!(said(3601, &[]), [in_use, waits]);
    assert_eq!(said(3600, &[]), ["NotUnderutilized", ""]);
    assert_eq!(said(3601, &["--assume-unneeded"]), ["", ""]);
}

#[test]
fn a_node_of_which_nobody_knows_since_when_it_is_ready_is_young_unless_that_is_taken_as_given() {
    let mut items = vec![group(600)];
    items.extend(worker("n"));
    items[2]["status"]["readyAt"] = Value::Null;
    items[2]["status"]["unneededSince"] = Value::Null;
    let nodes = safety(&items, &[]);
    assert_eq!(
        names(&nodes[0]["reasons"]),
        ["NodeTooYoung", "WindowNotOver"]
    );
    assert_eq!(nodes[0]["unneededSince"], Value::Null);
    let nodes = safety(&items, &["--assume-unneeded"]);
    assert_eq!(nodes[0]["removable"], true, "{}", nodes[0]);
}

#[test]
fn without_a_time_it_is_that_of_the_newest_measurement() {
    let mut items = vec![group(3600)];
    items.extend(worker("busy"));
    items.push(pod("p", "busy", "100m"));
    items.push(
        json!({"apiVersion": "metrics.k8s.io/v1beta1", "kind": "NodeMetrics",
        "metadata": {"name": "busy"}, "timestamp": "2026-01-01T11:30:00Z", "window": "20s",
        "usage": {"cpu": "700m", "memory": "1Mi"}}),
    );
    let (_, out, err) = explain(&["--from-file", "-"], &list(&items));
    assert!(
        out.starts_with("As of 2026-01-01T11:30:00Z.\n"),
        "{out}{err}"
    );
    assert!(
        out.contains("NotUnderutilized: 70 % of its cpu are in use"),
        "{out}"
    );
    assert!(
        out.contains("--offerings FILE"),
        "what is saved is not known: {out}"
    );
}

#[test]
fn nodes_that_could_go_alone_but_not_together_are_removable_and_say_what_they_wait_for() {
    let mut items = vec![group(600)];
    for name in ["n1", "n2", "n3"] {
        items.extend(worker(name));
        items.push(pod(&format!("p-{name}"), name, "450m"));
    }
    let nodes = safety(&items, &[]);
    let removable: Vec<&Value> = nodes.iter().map(|row| &row["removable"]).collect();
    assert_eq!(removable, [true, true, true]);
    let waiting = nodes.iter().filter(|row| row["waits"] != json!([]));
    let waiting: Vec<&Value> = waiting.collect();
    assert_eq!(waiting.len(), 2, "one can go: {nodes:#?}");
    for row in waiting {
        for name in names(&row["waits"]) {
            assert!(
                matches!(name, "RoomTaken" | "TakesPods" | "CapacityBuffer"),
                "{row}"
            );
        }
        assert_eq!(row["moves"].as_array().unwrap().len(), 1, "{row}");
    }
    let (_, out, _) = explain(&["--from-file", "-", "--at", NOON], &list(&items));
    assert_eq!(out.matches(" could go.\n").count(), 3, "{out}");
    assert_eq!(out.matches("Others go before it, ").count(), 2, "{out}");
}

#[test]
fn how_many_go_at_once_keeps_no_node_but_many_at_once_wait_for_another_window() {
    let mut items = vec![group(600)];
    for name in ["n1", "n2", "n3"] {
        items.extend(worker(name));
    }
    for row in safety(&items, &[]) {
        assert_eq!(
            (&row["removable"], &row["waits"]),
            (&json!(true), &json!([]))
        );
    }
    items.extend(worker("n4"));
    for row in safety(&items, &[]) {
        assert_eq!(row["removable"], true);
        assert_eq!(names(&row["waits"]), ["ManyRemovable"]);
    }
    let (_, out, _) = explain(&["--from-file", "-", "--at", NOON], &list(&items));
    assert!(
        out.contains("4 of 4 Ready nodes look removable at once"),
        "{out}"
    );
}

#[test]
fn a_paused_cluster_keeps_every_node() {
    let mut items = vec![group(600)];
    items.extend(worker("n"));
    items.push(
        json!({"apiVersion": "autoscaler.vpsie.com/v1alpha1", "kind": "AutoscalerConfig",
        "metadata": {"name": "default", "annotations": {"autoscaler.vpsie.com/paused": "true"}}}),
    );
    let nodes = safety(&items, &[]);
    assert_eq!(names(&nodes[0]["reasons"]), ["ClusterPaused"]);
}

#[test]
fn nodes_that_are_kept_alike_are_told_of_once() {
    let items: Vec<Value> = (1..=9)
        .map(|n| worker(&format!("n{n}"))[0].clone())
        .collect();
    let (_, out, _) = explain(&["--from-file", "-", "--at", NOON], &list(&items));
    assert!(
        out.contains("\nNodes n1, n2, n3, n4, n5 and 4 more stay, not being ours.\n"),
        "{out}"
    );
    assert_eq!(out.matches("NoVPSieNode").count(), 1, "{out}");
    assert!(!out.contains("--offerings"), "none of them is ours: {out}");
}

#[test]
fn a_name_that_is_not_there_is_refused_with_those_that_are() {
    for (names, words) in [
        (
            vec!["empty", "nope"],
            "there is no node nope; nodes: bad-hours, bare, budget, budgets, cluster-autoscaler \
             and 27 more",
        ),
        (
            vec!["kube-system/empty"],
            "there is no node kube-system/empty; ",
        ),
    ] {
        let given = [&["--from-file", "-"][..], &names].concat();
        let (code, out, err) = explain(&given, CLUSTER);
        assert_eq!(
            (code, out.as_str(), err.lines().count()),
            (2, "", 1),
            "{err}"
        );
        assert!(err.starts_with("error: standard input: "), "{err}");
        assert!(err.contains(words), "{err}");
    }
    let mut broken = worker("n").to_vec();
    broken[0]["spec"] = json!("x");
    for given in [
        &["n", "--from-file", "-"][..],
        &["--all", "--from-file", "-"],
    ] {
        let (code, out, err) = explain(given, &list(&broken));
        assert_eq!(
            (code, out.as_str(), err.lines().count()),
            (2, "", 1),
            "{err}"
        );
        assert!(err.contains("Node n: spec"), "{err}");
    }
    let (code, out, _) = explain(&["--from-file", "-", "--at", NOON], &list(&[group(1)]));
    assert_eq!(
        (code, out.as_str()),
        (0, "As of 2026-01-01T12:00:00Z.\n\nThere is no node.\n")
    );
}

#[test]
fn dumps_a_line_each_are_answered_a_line_each_in_their_order() {
    let with = |name: &str| {
        let mut items = vec![group(600)];
        items.extend(worker(name));
        list(&items)
    };
    let input = format!("{}\n[]\n\n{}\n", with("first"), with("second"));
    let given = ["--all", "--jsonl", "--assume-unneeded", "--at", NOON];
    let (code, out, _) = explain(&given, &input);
    assert_eq!(code, 2, "one line cannot be used");
    let answers: Vec<Value> = out
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(answers.len(), 3, "{out}");
    for (answer, name) in [(&answers[0], "first"), (&answers[2], "second")] {
        assert_eq!(answer["nodes"][0]["node"], name);
        assert_eq!(answer["nodes"][0]["removable"], true);
    }
    assert!(answers[1]["error"].is_string() && answers[1].get("nodes").is_none());
}

#[test]
fn flags_about_pods_are_refused() {
    for arguments in [&["--all-pending"][..], &["n", "--all"], &["--at", "noon"]] {
        let (code, out, err) = explain(arguments, "");
        assert_eq!(
            (code, out.as_str(), err.lines().count()),
            (2, "", 1),
            "{err}"
        );
    }
}
