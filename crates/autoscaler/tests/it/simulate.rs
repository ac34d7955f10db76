//! `simulate` as a user meets it: a cluster and changes to it in, advice and JSON out.

use std::io::Write as _;

use serde_json::{Value, json};

use crate::offline::answer;

const DOCUMENT: &str = include_str!("../../../../docs/simulate.md");

fn file(name: &str) -> String {
    format!("{}/tests/it/simulate/{name}", env!("CARGO_MANIFEST_DIR"))
}

/// Status, standard output and standard error.
fn simulate(arguments: &[&str], input: &str) -> (i32, String, String) {
    answer(&["simulate"], arguments, input)
}

/// The answer on the small cluster, which has nothing wrong with it; `manifest` is what is added.
fn on_cluster(arguments: &[&str], manifest: Option<&str>) -> String {
    let (path, offerings) = (file("cluster.yaml"), file("offerings.yaml"));
    let mut all = vec!["--from-file", &path, "--offerings", &offerings];
    all.extend(arguments);
    if manifest.is_some() {
        all.extend(["--add-pods", "-"]);
    }
    let (code, out, err) = simulate(&all, manifest.unwrap_or_default());
    assert_eq!((code, err.as_str()), (0, ""), "{out}");
    out
}

fn read(answer: &str) -> Value {
    serde_json::from_str(answer).unwrap()
}

/// The JSON for a dump of these objects, with what went to standard error.
fn on(items: &[Value], arguments: &[&str]) -> (Value, String) {
    let mut dump = tempfile::NamedTempFile::new().unwrap();
    let list = json!({"apiVersion": "v1", "kind": "List", "items": items});
    write!(dump, "{list}").unwrap();
    let (path, offerings) = (dump.path().to_str().unwrap(), file("offerings.yaml"));
    let given = ["-o", "json", "--from-file", path, "--offerings", &offerings];
    let (_, out, err) = simulate(&[&given[..], arguments].concat(), "");
    assert!(!out.is_empty(), "{err}");
    (read(&out), err)
}

fn node(name: &str, cpu: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name},
        "status": {"allocatable": {"cpu": cpu, "memory": "3Gi", "pods": "110"},
            "conditions": [{"type": "Ready", "status": "True"}]}})
}

fn pod(name: &str, cpu: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": "a"},
        "spec": {"containers": [{"name": "c", "resources": {"requests": {"cpu": cpu}}}]}})
}

fn bound(name: &str, cpu: &str, node: &str) -> Value {
    let mut pod = pod(name, cpu);
    pod["spec"]["nodeName"] = json!(node);
    pod
}

fn group(min: u32, max: u32) -> Value {
    json!({"apiVersion": "autoscaler.vpsie.com/v1alpha1", "kind": "NodeGroup",
        "metadata": {"name": "g", "namespace": "n",
            "labels": {"autoscaler.vpsie.com/managed": "true"}},
        "spec": {"minNodes": min, "maxNodes": max, "datacenterID": "us-east-1",
            "offeringIDs": ["small-2cpu-4gb"]}})
}

fn machine(name: &str, status: &Value) -> Value {
    json!({"apiVersion": "autoscaler.vpsie.com/v1alpha1", "kind": "VPSieNode",
        "metadata": {"name": name, "namespace": "n"},
        "spec": {"nodeGroupName": "g", "instanceType": "small-2cpu-4gb",
            "datacenterID": "us-east-1"},
        "status": status})
}

/// How many machines are bought, and how many pods get a place.
fn bought_and_placed(answer: &Value) -> (u64, u64) {
    let buy = answer["buy"].as_array().unwrap().iter();
    let count = buy.map(|row| row["count"].as_u64().unwrap()).sum();
    (count, answer["placed"].as_u64().unwrap())
}

fn pending(answer: &Value) -> Vec<&str> {
    let pending = answer["pending"].as_array().unwrap().iter();
    pending.map(|row| row["pod"].as_str().unwrap()).collect()
}

#[test]
fn the_documented_examples_are_what_is_answered() {
    let mut blocks = DOCUMENT.split("```text\n").skip(1);
    let mut next = || blocks.next().unwrap().split("```").next().unwrap();
    assert_eq!(on_cluster(&[], None), next());
    let manifest = DOCUMENT.split("```yaml\n").nth(1).unwrap();
    let manifest = manifest.split("```").next().unwrap();
    let moved = on_cluster(&["--remove-node", "worker-1"], Some(manifest));
    assert_eq!(moved, next());
    let example = DOCUMENT.split("```json\n").nth(1).unwrap();
    let example = read(example.split("```").next().unwrap());
    let answer = read(&on_cluster(&["-o", "json"], None));
    assert_eq!(answer, example, "{answer:#}");
}

#[test]
fn one_question_has_one_answer_byte_for_byte() {
    let (path, offerings) = (file("cluster.yaml"), file("offerings.yaml"));
    let given = [
        "-o",
        "json",
        "--from-file",
        &path,
        "--offerings",
        &offerings,
    ];
    assert_eq!(simulate(&given, ""), simulate(&given, ""));
}

#[test]
fn machines_in_flight_and_pods_of_daemon_sets_take_their_share() {
    let logs = |cpu: &str| {
        json!({"apiVersion": "apps/v1", "kind": "DaemonSet",
            "metadata": {"name": "logs", "namespace": "a"},
            "spec": {"template": {"spec": {"containers": [
                {"name": "c", "resources": {"requests": {"cpu": cpu}}}]}}}})
    };
    let in_flight = machine("m", &json!({"phase": "Provisioning"}));
    // 1900m are left to pods of each machine.
    let (one, two) = (pod("one", "900m"), pod("two", "900m"));
    let pods = [group(0, 9), one, two];
    let with = |more: &[Value]| on(&[&pods[..], more].concat(), &[]).0;
    assert_eq!(bought_and_placed(&with(&[])), (1, 2));
    assert_eq!(bought_and_placed(&with(&[logs("200m")])), (2, 2));
    assert_eq!(
        bought_and_placed(&with(std::slice::from_ref(&in_flight))),
        (0, 2)
    );
    assert_eq!(bought_and_placed(&with(&[in_flight, logs("200m")])), (1, 2));
}

#[test]
fn minimums_are_bought_for_and_counted_in_price_and_bound() {
    let (answer, _) = on(&[group(2, 9)], &[]);
    assert_eq!(
        answer,
        json!({"version": 1, "placed": 0, "pending": [], "hourlyPrice": "0.0274",
            "lowerBound": "0.0274", "buy": [{"group": "n/g", "offering": "small-2cpu-4gb",
                "count": 2, "hourlyPrice": "0.0137"}]})
    );
    let there = machine("m", &json!({"phase": "Provisioning"}));
    let (answer, _) = on(&[group(2, 9), there], &[]);
    assert_eq!(bought_and_placed(&answer), (1, 0));
}

#[test]
fn a_minimum_that_cannot_be_reached_is_told() {
    let list = |items: &[Value]| json!({"kind": "List", "items": items}).to_string();
    let mut unknown = group(2, 9);
    unknown["spec"]["offeringIDs"] = json!(["huge"]);
    let offerings = file("offerings.yaml");
    let given = ["--from-file", "-", "--offerings", &offerings];
    let (_, text, _) = simulate(&given, &list(&[unknown]));
    assert!(
        text.contains("n/g would have 0 of the 2 nodes that its minNodes asks for."),
        "{text}"
    );
    assert!(text.contains("names huge, which is not sold"), "{text}");
    let (_, text, _) = simulate(&given, &list(&[pod("p", "1")]));
    assert!(text.contains("There is no managed NodeGroup"), "{text}");
    let (_, text, _) = simulate(&given, &list(&[group(0, 9)]));
    let nothing = "Nothing would be bought: no pod is pending, and every group has its minimum.\n";
    assert_eq!(text, nothing);
}

#[test]
fn prices_that_are_not_known_are_null() {
    let dump = json!({"kind": "List", "items": [group(1, 1)]}).to_string();
    let mut offerings = tempfile::NamedTempFile::new().unwrap();
    write!(offerings, "- {{id: small-2cpu-4gb, capacity: {{cpu: 2}}}}").unwrap();
    let offerings = offerings.path().to_str().unwrap();
    let given = ["--from-file", "-", "--offerings", offerings];
    let (_, out, _) = simulate(&[&given[..], &["-o", "json"]].concat(), &dump);
    let answer = read(&out);
    assert_eq!(answer["hourlyPrice"], Value::Null);
    assert_eq!(answer["lowerBound"], Value::Null);
    assert_eq!(answer["buy"][0]["hourlyPrice"], Value::Null);
    let (_, text, _) = simulate(&given, &dump);
    assert!(text.contains("a price that is not known"), "{text}");
}

#[test]
fn without_offerings_nothing_is_bought_and_the_text_says_how_to_give_them() {
    let path = file("cluster.yaml");
    let (code, text, _) = simulate(&["--from-file", &path], "");
    assert_eq!(code, 0);
    assert!(text.starts_with("Nothing would be bought"), "{text}");
    assert!(text.contains("--offerings FILE"), "{text}");
}

#[test]
fn the_pods_of_a_node_that_is_gone_wait_but_those_that_leave_with_it() {
    let owned = |name: &str| {
        let mut pod = bound(name, "100m", "n1");
        pod["metadata"]["ownerReferences"] = json!([{"apiVersion": "apps/v1",
            "kind": "DaemonSet", "name": "d", "uid": "1", "controller": true}]);
        pod
    };
    let mut mirror = bound("mirror", "100m", "n1");
    mirror["metadata"]["annotations"] = json!({"kubernetes.io/config.mirror": "x"});
    let mut ending = bound("ending", "100m", "n1");
    ending["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
    let items = [
        group(2, 9),
        node("n1", "2"),
        node("n2", "2"),
        bound("a", "1", "n1"),
        bound("b", "1", "n1"),
        bound("c", "500m", "n2"),
        owned("d"),
        mirror,
        ending,
        machine("m1", &json!({"phase": "Ready", "nodeName": "n1"})),
        machine("m2", &json!({"phase": "Ready", "nodeName": "n2"})),
    ];
    let (before, _) = on(&items, &[]);
    assert_eq!(bought_and_placed(&before), (0, 0));
    // One of them finds room on the other node, the machine of the node no longer counts for the
    // minimum, and the machine for that takes the second.
    let (after, err) = on(&items, &["--remove-node", "n1"]);
    assert_eq!((bought_and_placed(&after), err.as_str()), ((1, 2), ""));
    let (after, _) = on(&items, &["--remove-node", "n1", "--remove-node", "n2"]);
    assert_eq!(after["placed"], 3);
    assert_eq!(pending(&after), Vec::<&str>::new());
}

#[test]
fn pods_of_every_kind_of_workload_are_added() {
    let spec =
        |cpu: &str| json!({"containers": [{"name": "c", "resources": {"requests": {"cpu": cpu}}}]});
    let workload = |version: &str, kind: &str, fields: Value| {
        let mut spec_of = json!({"template": {"metadata": {"labels": {"app": "x"}},
            "spec": spec("1")}});
        for (field, value) in fields.as_object().unwrap() {
            spec_of[field] = value.clone();
        }
        json!({"apiVersion": version, "kind": kind, "metadata": {"name": "x"}, "spec": spec_of})
    };
    let bare = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "x"},
        "spec": spec("1")});
    for (manifest, placed) in [
        (bare.clone(), 1),
        (workload("apps/v1", "Deployment", json!({})), 1),
        (workload("apps/v1", "Deployment", json!({"replicas": 3})), 3),
        (workload("apps/v1", "Deployment", json!({"replicas": 0})), 0),
        (workload("apps/v1", "ReplicaSet", json!({"replicas": 2})), 2),
        (
            workload("apps/v1", "StatefulSet", json!({"replicas": 2})),
            2,
        ),
        (workload("batch/v1", "Job", json!({})), 1),
        (
            workload(
                "batch/v1",
                "Job",
                json!({"parallelism": 3, "completions": 2}),
            ),
            2,
        ),
        (
            workload(
                "batch/v1",
                "Job",
                json!({"parallelism": 3, "completions": 9}),
            ),
            3,
        ),
        (
            json!({"apiVersion": "v1", "kind": "List", "items": [
            bare.clone(), workload("apps/v1", "Deployment", json!({"replicas": 2}))]}),
            3,
        ),
        (
            json!({"apiVersion": "v1", "kind": "PodList", "items": [
            {"metadata": {"name": "y"}, "spec": spec("1")}]}),
            1,
        ),
        (
            json!({"apiVersion": "apps/v1", "kind": "DeploymentList", "items": [
                {"metadata": {"name": "y"}, "spec": {"replicas": 2, "template": {"spec": spec("1")}}}
            ]}),
            2,
        ),
    ] {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        write!(file, "{manifest}").unwrap();
        let path = file.path().to_str().unwrap();
        let (answer, err) = on(&[group(0, 9)], &["--add-pods", path]);
        // One of them fits on each machine.
        let expected = (placed, placed);
        assert_eq!(
            (bought_and_placed(&answer), err.as_str()),
            (expected, ""),
            "{manifest}"
        );
    }
}

#[test]
fn several_documents_and_several_manifests_add_up() {
    let documents = "---\n\
        apiVersion: v1\nkind: Pod\nmetadata: {name: a, namespace: b}\nspec: {containers: []}\n\
        ---\n---\n\
        apiVersion: v1\nkind: Pod\nmetadata: {name: a, namespace: c}\nspec: {containers: []}\n\
        ---\n\
        apiVersion: v1\nkind: Service\nmetadata: {name: a}\n";
    let mut file = tempfile::NamedTempFile::new().unwrap();
    write!(file, "{documents}").unwrap();
    let mut more = tempfile::NamedTempFile::new().unwrap();
    let one = json!({"kind": "Pod", "metadata": {"generateName": "a-"}, "spec": {}});
    let other = json!({"kind": "Pod", "metadata": {"name": "b"}, "spec": {}});
    write!(more, "{one}\n{other}").unwrap();
    let (path, more) = (file.path().to_str().unwrap(), more.path().to_str().unwrap());
    let (answer, err) = on(&[node("n", "1")], &["--add-pods", path, "--add-pods", more]);
    assert_eq!(answer["placed"], 4);
    assert_eq!(
        err,
        format!("note: {path}: 1 of kind Service are not looked at\n")
    );
}

#[test]
fn a_new_daemon_set_runs_on_every_node_it_fits_and_on_every_new_machine() {
    let set = json!({"apiVersion": "apps/v1", "kind": "DaemonSet",
        "metadata": {"name": "d", "namespace": "a"},
        "spec": {"template": {"spec": {"nodeSelector": {"kubernetes.io/os": "linux"},
            "containers": [{"name": "c", "resources": {"requests": {"cpu": "1"}}}]}}}});
    let mut file = tempfile::NamedTempFile::new().unwrap();
    write!(file, "{set}").unwrap();
    let path = file.path().to_str().unwrap();
    let linux = |name: &str, cpu: &str| {
        let mut node = node(name, cpu);
        node["metadata"]["labels"] = json!({"kubernetes.io/os": "linux"});
        node
    };
    let items = [
        group(0, 9),
        linux("roomy", "2"),
        linux("full", "1500m"),
        node("other", "500m"),
        bound("there", "1", "full"),
        pod("first", "1"),
        pod("second", "1"),
    ];
    let (before, _) = on(&items, &[]);
    assert_eq!(bought_and_placed(&before), (0, 2));
    let (after, err) = on(&items, &["--add-pods", path]);
    assert_eq!(err, "");
    // The set leaves room for one of the two on the roomy node, and none on a new machine.
    assert_eq!(bought_and_placed(&after), (0, 1));
    assert_eq!(pending(&after), ["a/d-full", "a/second"]);
    assert_eq!(after["pending"][0]["reasons"][0]["reason"], "DaemonSetPod");
}

#[test]
fn pods_that_do_not_wait_for_a_machine_are_told_apart() {
    let mut gated = pod("gated", "1");
    gated["spec"]["schedulingGates"] = json!([{"name": "x"}]);
    let bound = bound("bound", "1", "n");
    let list = json!({"kind": "List", "items": [gated, bound, pod("other", "1")]});
    let mut file = tempfile::NamedTempFile::new().unwrap();
    write!(file, "{list}").unwrap();
    let path = file.path().to_str().unwrap();
    let (answer, _) = on(&[node("n", "1")], &["--add-pods", path]);
    // One takes the node, so that the other stays; the third is not looked at.
    assert_eq!(bought_and_placed(&answer), (0, 0));
    assert_eq!(pending(&answer), ["a/other"]);
    assert_eq!(answer["pending"][0]["reasons"][0]["reason"], "NoNodeGroup");
}

#[test]
fn a_priority_is_read_off_the_class_where_that_is_known() {
    let with = |class: &str, more: Value| {
        let mut pod = pod("p", "1");
        pod["spec"]["priorityClassName"] = json!(class);
        let mut file = tempfile::NamedTempFile::new().unwrap();
        write!(file, "{}", json!({"kind": "List", "items": [pod, more]})).unwrap();
        let path = file.path().to_str().unwrap();
        let (answer, err) = on(&[group(0, 9)], &["--add-pods", path]);
        let reason = &answer["pending"][0]["reasons"][0]["reason"];
        (reason.as_str().map(ToOwned::to_owned), err)
    };
    let class = json!({"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass",
        "metadata": {"name": "low"}, "value": -100});
    let (reason, err) = with("low", class.clone());
    assert_eq!(reason.as_deref(), Some("PriorityBelowCutoff"));
    assert_eq!(err, "");
    assert_eq!(
        with("system-node-critical", class.clone()),
        (None, String::new())
    );
    let (reason, err) = with("other", class);
    assert_eq!(reason, None);
    assert!(
        err.contains("the priority of the class other is not known"),
        "{err}"
    );
}

#[test]
fn a_manifest_that_cannot_be_used_is_refused_in_one_line() {
    let cluster = file("cluster.yaml");
    let named = "metadata: {name: x, namespace: shop}";
    for (manifest, words) in [
        (String::new(), "it has no pod and no workload"),
        ("{\"kind\": \"Pod\"".to_owned(), "it is not JSON"),
        ("a: [".to_owned(), "it is not YAML"),
        (
            "[]".to_owned(),
            "it holds a list where a Kubernetes object is expected",
        ),
        ("text".to_owned(), "it holds a single value"),
        ("a: b".to_owned(), "names no kind"),
        (
            format!("kind: Service\n{named}"),
            "no pod and no workload, only 1 of kind Service",
        ),
        // Another group's kind of the same name.
        (
            format!("apiVersion: x/v1\nkind: Deployment\n{named}"),
            "1 of kind Deployment",
        ),
        (
            "kind: Deployment\nspec: {}".to_owned(),
            "Deployment: it has no name",
        ),
        (format!("kind: Pod\n{named}"), "Pod shop/x: spec is missing"),
        (
            format!("kind: Deployment\n{named}\nspec: {{replicas: 2}}"),
            "Deployment shop/x: spec.template.spec is missing",
        ),
        (
            format!(
                "kind: StatefulSet\n{named}\nspec: {{replicas: many, template: {{spec: {{}}}}}}"
            ),
            "StatefulSet shop/x: spec.replicas is \"many\", not a number of pods",
        ),
        (
            format!("kind: Job\n{named}\nspec: {{parallelism: -1, template: {{spec: {{}}}}}}"),
            "Job shop/x: spec.parallelism is -1",
        ),
        (
            format!(
                "kind: ReplicaSet\n{named}\nspec: {{replicas: 2000000, template: {{spec: {{}}}}}}"
            ),
            "ReplicaSet shop/x: there would be more than 1000000 pods",
        ),
        (
            format!("kind: Deployment\n{named}\nspec: {{template: {{spec: {{containers: 7}}}}}}"),
            "Deployment shop/x: spec.template.spec.containers: ",
        ),
        (
            format!(
                "kind: Pod\n{named}\nspec: {{containers: [{{name: c, resources: \
                 {{requests: {{cpu: much}}}}}}]}}"
            ),
            "Pod shop/x: ",
        ),
        (
            format!("kind: Pod\n{named}\nspec: {{nodeName: gone}}"),
            "Pod shop/x: spec.nodeName is gone, which is not there",
        ),
        (
            "kind: Pod\nmetadata: {name: web-1, namespace: shop}\nspec: {}".to_owned(),
            "Pod shop/web-1 is in the cluster already",
        ),
        (
            "kind: StatefulSet\nmetadata: {name: web, namespace: shop}\n\
             spec: {replicas: 1, template: {spec: {}}}"
                .to_owned(),
            "Pod shop/web-0 of StatefulSet shop/web is in the cluster already",
        ),
        (
            format!(
                "kind: ReplicaSet\n{named}\nspec: {{template: {{spec: {{}}}}}}\n---\n\
                 kind: Job\n{named}\nspec: {{template: {{spec: {{}}}}}}"
            ),
            "Pod shop/x-0 is given twice: by ReplicaSet shop/x and by Job shop/x",
        ),
        (
            "kind: DaemonSet\nmetadata: {name: logs, namespace: kube-system}\n\
             spec: {template: {spec: {}}}"
                .to_owned(),
            "DaemonSet kube-system/logs is in the cluster already",
        ),
    ] {
        let given = ["--from-file", &cluster, "--add-pods", "-"];
        let (code, out, err) = simulate(&given, &manifest);
        assert_eq!((code, out.as_str()), (2, ""), "{manifest}");
        assert_eq!(err.lines().count(), 1, "{manifest}: {err}");
        assert!(
            err.starts_with("error: --add-pods standard input: "),
            "{err}"
        );
        assert!(err.contains(words), "{manifest}: {err}");
    }
}

#[test]
fn a_bad_dump_gets_one_line_and_status_2_where_nothing_can_be_answered() {
    let list = |items: &[Value]| json!({"kind": "List", "items": items}).to_string();
    let mut number = pod("number", "1");
    number["spec"]["containers"] = json!(7);
    let mut bad_node = node("bad", "1");
    bad_node["spec"] = json!("x");
    for (dump, words) in [
        (
            list(&[node("n", "1"), pod("p", "1")])[..90].to_owned(),
            "cut off",
        ),
        (String::new(), "empty"),
        (
            list(&[node("n", "1"), node("n", "1")]),
            "Node n is given twice",
        ),
        (
            list(&[node("n", "1"), number.clone()]),
            "Pod a/number: spec.containers",
        ),
        (list(&[bad_node, pod("p", "1")]), "Node bad: spec"),
    ] {
        let (code, out, err) = simulate(&["--from-file", "-"], &dump);
        assert_eq!((code, out.as_str()), (2, ""), "{dump}");
        assert_eq!(err.lines().count(), 1, "{dump}: {err}");
        assert!(err.starts_with("error: standard input: "), "{err}");
        assert!(err.contains(words), "{dump}: {err}");
    }
    // What can be answered is, with a note on the rest.
    let dump = list(&[node("n", "1"), number, pod("p", "1")]);
    let (code, out, err) = simulate(&["--from-file", "-", "-o", "json"], &dump);
    assert_eq!((code, err.lines().count()), (0, 1), "{err}");
    assert!(
        err.starts_with("note: standard input: Pod a/number: "),
        "{err}"
    );
    assert_eq!(read(&out)["placed"], 1);
    // All that waits cannot be understood.
    let mut odd = pod("odd", "1");
    odd["spec"]["containers"][0]["resources"]["requests"]["cpu"] = json!("much");
    let dump = list(&[node("n", "1"), odd]);
    let (code, out, _) = simulate(&["--from-file", "-", "-o", "json"], &dump);
    assert_eq!(code, 2);
    let reason = &read(&out)["pending"][0]["reasons"][0]["reason"];
    assert_eq!(*reason, "PodInvalid");
}

#[test]
fn a_node_that_is_not_there_is_refused_with_those_that_are() {
    let path = file("cluster.yaml");
    let given = ["--from-file", &path, "--remove-node", "worker-9"];
    let (code, out, err) = simulate(&given, "");
    assert_eq!((code, out.as_str()), (2, ""));
    let expected =
        "error: --remove-node: there is no node worker-9; nodes: worker-1 and worker-2\n";
    assert_eq!(err, expected);
}

#[test]
fn flags_that_exclude_each_other_are_refused() {
    for arguments in [
        &["--from-file", "-", "--kubeconfig", "x"][..],
        &["--from-file", "-", "--offerings", "-"],
        &["--from-file", "-", "--add-pods", "-"],
        &["--from-file", "x", "--add-pods", "-", "--add-pods", "-"],
        &["-o", "yaml"],
        &["--remove-node"],
    ] {
        let (code, out, err) = simulate(arguments, "");
        let lines = err.lines().count();
        assert_eq!((code, out.as_str(), lines), (2, "", 1), "{err}");
    }
}

#[test]
fn the_claims_of_an_added_stateful_set_decide_where_its_pods_go() {
    let class = json!({"apiVersion": "storage.k8s.io/v1", "kind": "StorageClass",
        "metadata": {"name": "local"}, "provisioner": "x",
        "volumeBindingMode": "WaitForFirstConsumer",
        "allowedTopologies": [{"matchLabelExpressions": [{"key": "zone", "values": ["a"]}]}]});
    let set = json!({"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": "db"},
        "spec": {"replicas": 2, "template": {"spec": {"containers": []}},
            "volumeClaimTemplates": [{"metadata": {"name": "data"}, "spec": {
                "storageClassName": "local", "accessModes": ["ReadWriteOnce"],
                "resources": {"requests": {"storage": "1Gi"}}}}]}});
    let mut file = tempfile::NamedTempFile::new().unwrap();
    write!(file, "{set}").unwrap();
    let path = file.path().to_str().unwrap();
    for (zone, placed) in [("a", 2), ("b", 0)] {
        let mut node = node("n", "1");
        node["metadata"]["labels"] = json!({"zone": zone});
        let (answer, err) = on(&[class.clone(), node], &["--add-pods", path]);
        assert_eq!(
            (bought_and_placed(&answer), err.as_str()),
            ((0, placed), "")
        );
    }
}

#[test]
fn a_pod_that_was_created_last_counts_although_the_scheduler_has_not_judged_it() {
    let mut late = pod("late", "1");
    late["metadata"]["creationTimestamp"] = json!("2030-01-01T00:00:00Z");
    assert_eq!(on(&[node("n", "1"), late], &[]).0["placed"], 1);
}
