//! `explain` as a user meets it: files in, advice and JSON out.

mod groups;
mod nodes;

use std::{io::Write as _, process::Command};

use oracle::{Recorded, Verdicts, corpus};
use serde_json::{Value, json};

use crate::offline::answer;

const CLUSTER: &str = include_str!("explain/cluster.yaml");
const DOCUMENT: &str = include_str!("../../../../docs/explain.md");

fn file(name: &str) -> String {
    format!("{}/tests/it/explain/{name}", env!("CARGO_MANIFEST_DIR"))
}

/// Status, standard output and standard error.
fn explain(arguments: &[&str], input: &str) -> (i32, String, String) {
    answer(&["explain", "pod"], arguments, input)
}

fn explain_group(arguments: &[&str]) -> (i32, String, String) {
    answer(&["explain", "group"], arguments, "")
}

/// The pieces of the document in this language, each with its line ends.
fn examples(language: &str) -> impl Iterator<Item = &'static str> {
    let begin = format!("```{language}\n");
    let pieces: Vec<&str> = DOCUMENT.split(&*begin).skip(1).collect();
    let pieces = pieces.into_iter();
    pieces.filter_map(|piece| piece.split("```").next())
}

/// The answer on the small cluster; nothing is wrong with it.
fn on_cluster(arguments: &[&str]) -> String {
    let (path, offerings) = (file("cluster.yaml"), file("offerings.yaml"));
    let mut all = vec!["--from-file", &path, "--offerings", &offerings];
    all.extend(arguments);
    let (code, out, err) = explain(&all, "");
    assert_eq!((code, err.as_str()), (0, ""), "{out}");
    out
}

fn json_on_cluster(arguments: &[&str]) -> Value {
    let mut all = vec!["-o", "json"];
    all.extend(arguments);
    serde_json::from_str(&on_cluster(&all)).unwrap()
}

fn list(items: &[Value]) -> String {
    json!({"apiVersion": "v1", "kind": "List", "items": items}).to_string()
}

fn node(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name},
        "status": {"allocatable": {"cpu": "1", "pods": "10"}}})
}

fn pod(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": "a"},
        "spec": {"containers": [{"name": "c"}]}})
}

#[test]
fn advice_on_all_pods_is_as_recorded() {
    let recorded = include_str!("explain/advice.txt");
    assert_eq!(on_cluster(&[]), recorded);
    assert_eq!(on_cluster(&["--all-pending"]), recorded);
}

#[test]
fn the_documented_examples_are_what_is_answered() {
    let advice = on_cluster(&["shop/web-1"]);
    assert_eq!(examples("text").next().unwrap(), advice);
    let (path, offerings) = (file("cluster.yaml"), file("offerings.yaml"));
    let given = ["--from-file", &path, "--offerings", &offerings];
    assert!(DOCUMENT.contains(include_str!("explain/offerings.yaml")));
    let (_, answer, _) = explain(&[&given[..], &["shop/quorum-1", "-o", "json"]].concat(), "");
    let example: Value = serde_json::from_str(examples("json").next().unwrap()).unwrap();
    let answer: Value = serde_json::from_str(&answer).unwrap();
    assert_eq!(answer, example, "{answer:#}");
}

#[test]
fn every_node_and_every_offering_of_every_group_is_judged_with_filter_and_detail() {
    let answer = json_on_cluster(&["shop/web-1"]);
    assert_eq!(answer["version"], 1);
    let pods = answer["pods"].as_array().unwrap();
    assert_eq!(pods.len(), 1);
    assert_eq!(pods[0]["pod"], "shop/web-1");
    let insufficient = |detail: &str| json!([{"filter": "NodeResourcesFit", "reason": "InsufficientResource", "detail": detail}]);
    let taint = |taint: &str| {
        json!([{"filter": "TaintToleration", "reason": "UntoleratedTaint",
            "detail": format!("taint {taint} is not tolerated")}])
    };
    assert_eq!(
        pods[0]["nodes"],
        json!([
            {"node": "database-1", "fits": false, "filters": ["TaintToleration"],
                "reasons": taint("dedicated=db:NoSchedule")},
            {"node": "worker-1", "fits": false, "filters": ["NodeResourcesFit"],
                "reasons": insufficient("insufficient cpu: 1 asked, 900m free")},
            {"node": "worker-2", "fits": false, "filters": ["NodeResourcesFit"],
                "reasons": insufficient("insufficient cpu: 1 asked, 400m free")},
        ])
    );
    let unknown = "spec.offeringIDs names huge-64cpu, which is not sold in us-east-1";
    assert_eq!(
        pods[0]["groups"],
        json!([
            {"group": "kube-system/batch", "offering": "medium-4cpu-8gb", "fits": false,
                "filters": ["TaintToleration"], "reasons": taint("batch=true:NoSchedule")},
            {"group": "kube-system/batch", "offering": "huge-64cpu", "fits": false, "filters": [],
                "reasons": [{"filter": "", "reason": "OfferingUnknown", "detail": unknown}]},
            // 1900m are left of two CPUs, and the DaemonSet's pod takes 950m of them.
            {"group": "kube-system/general", "offering": "small-2cpu-4gb", "fits": false,
                "filters": ["NodeResourcesFit"],
                "reasons": insufficient("insufficient cpu: 1 asked, 950m free")},
            {"group": "kube-system/general", "offering": "medium-4cpu-8gb", "fits": true,
                "filters": [], "reasons": []},
        ])
    );
}

#[test]
fn a_new_machine_is_judged_beside_the_pods_that_run_in_its_zone() {
    let answer = json_on_cluster(&["shop/quorum-1"]);
    for machine in answer["pods"][0]["groups"].as_array().unwrap() {
        let expected = match machine["offering"].as_str().unwrap() {
            "huge-64cpu" => json!([]),
            _ if machine["group"] == "kube-system/batch" => {
                json!(["InterPodAffinity", "TaintToleration"])
            }
            _ => json!(["InterPodAffinity"]),
        };
        assert_eq!(machine["filters"], expected, "{machine}");
    }
}

#[test]
fn a_pod_that_cannot_be_judged_says_so_by_a_reason() {
    let answer = json_on_cluster(&["lab/train"]);
    for row in answer["pods"][0]["nodes"].as_array().unwrap() {
        assert_eq!(row["fits"], false);
        let mut filters = row["filters"].as_array().unwrap().iter();
        assert!(filters.any(|filter| filter == "DynamicResources"), "{row}");
    }
    let mut broken = pod("broken");
    broken["spec"]["containers"][0]["resources"] = json!({"requests": {"cpu": "much"}});
    let dump = list(&[node("n"), broken]);
    let (code, out, err) = explain(&["--from-file", "-", "-o", "json"], &dump);
    assert_eq!(code, 2, "nothing could be answered: {out}");
    assert_eq!(err.lines().count(), 1, "{err}");
    assert!(
        err.contains("Pod a/broken: ") && err.contains("much"),
        "{err}"
    );
    let answer: Value = serde_json::from_str(&out).unwrap();
    let row = &answer["pods"][0]["nodes"][0];
    assert_eq!((&row["fits"], &row["filters"]), (&json!(false), &json!([])));
    assert_eq!(row["reasons"][0]["reason"], "PodInvalid");
    assert_eq!(row["reasons"][0]["filter"], "");
}

#[test]
fn without_offerings_groups_are_listed_and_the_text_says_how_to_give_them() {
    let path = file("cluster.yaml");
    let given = ["shop/web-1", "--from-file", &path];
    let (code, text, _) = explain(&given, "");
    assert_eq!(code, 0);
    assert!(text.contains("--offerings FILE"), "{text}");
    let (_, out, _) = explain(&[&given[..], &["-o", "json"]].concat(), "");
    let answer: Value = serde_json::from_str(&out).unwrap();
    let machines = answer["pods"][0]["groups"].as_array().unwrap();
    assert_eq!(machines.len(), 4);
    for machine in machines {
        assert_eq!(machine["fits"], false);
        assert_eq!(machine["filters"], json!([]));
        let reasons = machine["reasons"].as_array().unwrap();
        assert_eq!(reasons.len(), 1);
        assert_eq!(reasons[0]["reason"], "OfferingsUnknown");
    }
}

#[test]
fn a_group_that_may_not_grow_does_not_take_a_pod_that_its_machine_would() {
    let with = |field: &str, value: Value| {
        let mut group = json!({"apiVersion": "autoscaler.vpsie.com/v1alpha1", "kind": "NodeGroup",
            "metadata": {"name": "g", "namespace": "kube-system",
                "labels": {"autoscaler.vpsie.com/managed": "true"}},
            "spec": {"minNodes": 0, "maxNodes": 1, "datacenterID": "us-east-1",
                "offeringIDs": ["small-2cpu-4gb"]}});
        *group.pointer_mut(field).unwrap() = value;
        let dump = list(&[node("n"), pod("p"), group]);
        let offerings = file("offerings.yaml");
        let given = ["--from-file", "-", "--offerings", &offerings, "-o", "json"];
        let (_, out, _) = explain(&given, &dump);
        let answer: Value = serde_json::from_str(&out).unwrap();
        let machine = &answer["pods"][0]["groups"][0];
        assert_eq!(machine["filters"], json!([]), "{machine}");
        let reasons = machine["reasons"].as_array().unwrap().iter();
        let names = reasons.map(|reason| reason["reason"].as_str().unwrap().to_owned());
        (
            machine["fits"].as_bool().unwrap(),
            names.collect::<Vec<_>>(),
        )
    };
    assert_eq!(with("/spec/maxNodes", json!(1)), (true, vec![]));
    for (field, value, reason) in [
        ("/spec/maxNodes", json!(0), "MaxNodesReached"),
        ("/spec/minNodes", json!(2), "Invalid"),
        ("/metadata/labels", json!({}), "NotManaged"),
        ("/spec/datacenterID", json!("hel"), "OfferingUnknown"),
    ] {
        assert_eq!(with(field, value), (false, vec![reason.to_owned()]));
    }
}

#[test]
fn recorded_clusters_a_line_each_are_answered_as_the_scheduler_did() {
    // All of them are for the engine's own tests.
    let recorded: Vec<Recorded> = corpus().unwrap().step_by(4).map(Result::unwrap).collect();
    assert!(recorded.len() > 1000);
    let mut input = tempfile::NamedTempFile::new().unwrap();
    for case in &recorded {
        writeln!(input, "{}", case.cluster).unwrap();
    }
    let path = input.path().to_str().unwrap();
    let (code, out, err) = explain(&["--from-file", path, "--jsonl"], "");
    assert_eq!(code, 0, "{err}");
    let answers: Vec<Verdicts> = out
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(answers.len(), recorded.len());
    for (case, ours) in recorded.iter().zip(&answers) {
        let differences = case.verdicts.differences(ours);
        assert!(
            differences.is_empty(),
            "seed {}: {differences:?}",
            case.seed
        );
    }
}

#[test]
fn a_bad_line_is_answered_in_its_place_and_the_others_go_on() {
    let good = list(&[node("n"), pod("p")]);
    let input = format!("{good}\n{{\"kind\": \"List\", \"items\": [\n\n[]\n{good}");
    let (code, out, _) = explain(&["--jsonl"], &input);
    assert_eq!(code, 2);
    let answers: Vec<Value> = out
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let fits = |answer: &Value| answer["pods"][0]["nodes"][0]["fits"] == true;
    assert_eq!(answers.len(), 4, "{out}");
    assert!(fits(&answers[0]) && fits(&answers[3]), "{out}");
    for (answer, words) in [
        (&answers[1], "cut off"),
        (&answers[2], "where a Kubernetes object is expected"),
    ] {
        assert_eq!(answer["version"], 1);
        assert!(
            answer["error"].as_str().unwrap().contains(words),
            "{answer}"
        );
        assert!(answer.get("pods").is_none());
    }
}

#[test]
fn a_bad_dump_gets_one_line_and_status_2_where_nothing_can_be_answered() {
    let mut number = pod("number");
    number["spec"]["containers"] = json!(7);
    let mut bad_node = node("bad");
    bad_node["spec"] = json!("x");
    for (dump, words) in [
        (list(&[node("n"), pod("p")])[..90].to_owned(), "cut off"),
        ("items: [".to_owned(), "YAML"),
        (String::new(), "empty"),
        (
            list(&[node("n"), node("n"), pod("p")]),
            "Node n is given twice",
        ),
        (list(&[node("n"), number]), "Pod a/number: spec.containers"),
        (list(&[bad_node, pod("p")]), "Node bad: spec"),
    ] {
        let (code, out, err) = explain(&["--from-file", "-"], &dump);
        assert_eq!((code, out.as_str()), (2, ""), "{dump}");
        assert_eq!(err.lines().count(), 1, "{dump}: {err}");
        assert!(err.starts_with("error: standard input: "), "{err}");
        assert!(err.contains(words), "{dump}: {err}");
    }
    let (code, _, err) = explain(&["--from-file", "/does/not/exist"], "");
    assert_eq!((code, err.lines().count()), (2, 1));
    assert!(err.contains("/does/not/exist"), "{err}");
}

#[test]
fn what_is_wrong_with_other_objects_is_noted_and_the_rest_is_answered() {
    let mut lost = pod("lost");
    lost["spec"]["nodeName"] = json!("gone");
    let mut odd_node = node("odd");
    odd_node["status"]["allocatable"]["cpu"] = json!("much");
    for (wrong, words) in [
        (
            lost,
            "Pod a/lost: it is bound to node gone, which is not in the dump",
        ),
        (pod("p"), "Pod a/p: it is given twice; the first counts"),
        (odd_node, "Node odd: "),
        (
            json!({"apiVersion": "v1", "kind": "Secret"}),
            "1 of kind Secret are not looked at",
        ),
    ] {
        let dump = list(&[node("n"), pod("p"), wrong]);
        let (code, out, err) = explain(&["a/p", "--from-file", "-", "-o", "json"], &dump);
        assert_eq!((code, err.lines().count()), (0, 1), "{err}");
        assert!(err.starts_with("note: standard input: "), "{err}");
        assert!(err.contains(words), "{err}");
        let answer: Value = serde_json::from_str(&out).unwrap();
        assert_eq!(answer["pods"][0]["nodes"][0]["fits"], true, "{out}");
    }
}

#[test]
fn a_pod_that_is_not_pending_is_refused_with_those_that_are() {
    for (name, words) in [
        (
            "shop/web-0",
            "pod shop/web-0 is not pending: it is on node worker-1",
        ),
        (
            "shop/web",
            "no pending pod shop/web; pending: lab/train, shop/quorum-1, shop/web-1, shop/web-2",
        ),
        ("web", "no pending pod default/web; "),
    ] {
        let (code, out, err) = explain(&[name, "--from-file", "-"], CLUSTER);
        assert_eq!(
            (code, out.as_str(), err.lines().count()),
            (2, "", 1),
            "{err}"
        );
        assert!(err.contains(words), "{err}");
    }
    let (code, out, _) = explain(&["--from-file", "-"], &list(&[node("n")]));
    assert_eq!((code, out.as_str()), (0, "No pod is pending.\n"));
}

#[test]
fn bad_offerings_name_the_offering_and_what_is_wrong() {
    for (text, words) in [
        ("[{\"id\": \"a\"}]", "capacity"),
        (
            "- {id: a, capacity: {cpu: much}}",
            "offering a: capacity.cpu: \"much\"",
        ),
        (
            "- {id: a, capacity: {cpu: -1}}",
            "offering a: capacity.cpu: -1 is below zero",
        ),
        (
            "[{\"id\":\"a\",\"capacity\":{}},{\"id\":\"A\",\"capacity\":{}}]",
            "A is given twice",
        ),
        (
            "[{\"id\":\"a\",\"capacity\":{},\"hourlyPrice\":\"cheap\"}]",
            "cheap",
        ),
        ("what: ever", "no list of offerings"),
    ] {
        let path = file("cluster.yaml");
        let (code, out, err) = explain(&["--from-file", &path, "--offerings", "-"], text);
        assert_eq!(
            (code, out.as_str(), err.lines().count()),
            (2, "", 1),
            "{err}"
        );
        assert!(err.contains("--offerings standard input: "), "{err}");
        assert!(err.contains(words), "{text}: {err}");
    }
}

#[test]
fn a_forgotten_topic_is_said_in_one_line() {
    let output = Command::new(env!("CARGO_BIN_EXE_vpsie-autoscaler"))
        .args(["explain", "shop/web-1"])
        .output()
        .unwrap();
    let err = String::from_utf8(output.stderr).unwrap();
    assert_eq!((output.status.code(), err.lines().count()), (Some(2), 1));
    assert!(err.contains("explain pod NAMESPACE/NAME"), "{err}");
}

#[test]
fn flags_that_exclude_each_other_are_refused() {
    for arguments in [
        &["--from-file", "-", "--kubeconfig", "x"][..],
        &["--jsonl", "--kubeconfig", "x"],
        &["--jsonl", "-o", "text"],
        &["a/b", "--all-pending"],
        &["a/b", "--all"],
        &["a/b", "a/c"],
        &["--assume-unneeded"],
        &["--at", "2026-01-01T00:00:00Z"],
        &["--from-file", "-", "--offerings", "-"],
    ] {
        let (code, out, err) = explain(arguments, "");
        assert_eq!(
            (code, out.as_str(), err.lines().count()),
            (2, "", 1),
            "{err}"
        );
    }
}
