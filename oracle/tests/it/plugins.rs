//! The real plugins, on clusters whose answers are known.

use std::cell::RefCell;

use oracle::{Comparison, OracleError, Scheduler};
use serde_json::{Value, json};

fn list(items: &[Value]) -> Value {
    json!({"apiVersion": "v1", "kind": "List", "items": items})
}

fn node(name: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Node", "metadata": {"name": name},
        "status": {"allocatable": {"cpu": "1", "memory": "1Gi", "pods": "3"}},
    })
}

fn pod(name: &str, spec: &Value) -> Value {
    let mut pod = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": "a"},
        "spec": {"containers": [{"name": "c", "image": "i"}]},
    });
    for (field, value) in spec.as_object().unwrap() {
        pod["spec"][field] = value.clone();
    }
    pod
}

/// What refuses a pod, node by node.
fn refusals(scheduler: &mut Scheduler, items: &[Value]) -> Vec<Vec<String>> {
    let verdicts = scheduler.ask(&list(items)).unwrap();
    assert_eq!(verdicts.pods.len(), 1);
    let nodes = verdicts.pods.into_iter().flat_map(|pod| pod.nodes);
    nodes.map(|node| node.filters).collect()
}

#[test]
#[ignore = "needs Go: oracle/README.md"]
fn every_filter_that_refuses_is_named_and_none_hides_another() {
    let mut scheduler = Scheduler::start(true).unwrap();
    let ask = |cpu: &str| {
        let resources = json!({"requests": {"cpu": cpu}});
        json!({"containers": [{"name": "c", "image": "i", "resources": resources}]})
    };

    let exact = refusals(&mut scheduler, &[node("n1"), pod("p", &ask("1"))]);
    assert_eq!(exact, [Vec::<String>::new()]);
    let more = refusals(&mut scheduler, &[node("n1"), pod("p", &ask("1001m"))]);
    assert_eq!(more, [["NodeResourcesFit"]]);

    let mut cordoned = node("n2");
    cordoned["spec"] = json!({
        "unschedulable": true, "taints": [{"key": "gpu", "effect": "NoExecute"}],
    });
    let mut picky = pod("p", &ask("2"));
    picky["spec"]["nodeSelector"] = json!({"disk": "ssd"});
    picky["spec"]["volumes"] = json!([{"name": "v", "persistentVolumeClaim": {"claimName": "x"}}]);
    let volumes = [
        "NodeVolumeLimits",
        "VolumeBinding",
        "VolumeRestrictions",
        "VolumeZone",
    ];
    let first = ["NodeAffinity", "NodeResourcesFit"];
    let both = refusals(&mut scheduler, &[cordoned, node("n1"), picky]);
    assert_eq!(both[0], [&first[..], &volumes].concat());
    let second = ["NodeAffinity", "NodeResourcesFit", "NodeUnschedulable"];
    let mut expected = [&second[..], &volumes, &["TaintToleration"]].concat();
    expected.sort_unstable();
    assert_eq!(both[1], expected);
}

#[test]
#[ignore = "needs Go: oracle/README.md"]
fn running_pods_count_and_finished_ones_and_those_on_unknown_nodes_do_not() {
    let mut scheduler = Scheduler::start(true).unwrap();
    let port = json!({"containers": [
        {"name": "c", "image": "i", "ports": [{"containerPort": 80, "hostPort": 80}]},
    ]});
    let running = |node: &str, phase: &str| {
        let mut pod = pod("r", &port);
        pod["spec"]["nodeName"] = json!(node);
        pod["status"] = json!({"phase": phase});
        pod
    };
    for (node_name, phase, expected) in [
        ("n1", "Running", vec!["NodePorts"]),
        ("n1", "Pending", vec!["NodePorts"]),
        ("n1", "Succeeded", vec![]),
        ("gone", "Running", vec![]),
    ] {
        let items = [node("n1"), running(node_name, phase), pod("p", &port)];
        assert_eq!(refusals(&mut scheduler, &items), [expected]);
    }
}

#[test]
#[ignore = "needs Go: oracle/README.md"]
fn objects_are_defaulted_before_they_are_judged() {
    let mut scheduler = Scheduler::start(true).unwrap();
    let limits = json!({"containers": [
        {"name": "c", "image": "i", "resources": {"limits": {"cpu": "2"}}},
    ]});
    let refused = refusals(&mut scheduler, &[node("n1"), pod("p", &limits)]);
    assert_eq!(refused, [["NodeResourcesFit"]]);
}

#[test]
#[ignore = "needs Go: oracle/README.md"]
fn a_line_that_cannot_be_judged_gets_an_error_and_the_next_an_answer() {
    let mut scheduler = Scheduler::start(true).unwrap();
    for (line, part) in [
        ("{\"kind\":\"List\"", "no List"),
        ("{\"kind\":\"Pod\"}", "is not List"),
        (
            &list(&[node("n1"), node("n1")]).to_string(),
            "Node /n1 is given twice",
        ),
        (
            &list(&[pod("p", &json!({"nodeSelctor": {"a": "b"}}))]).to_string(),
            "unknown field \"spec.nodeSelctor\"",
        ),
        (
            &list(&[pod(
                "p",
                &json!({"tolerations": [{"key": "k", "operator": "Lt"}]}),
            )])
            .to_string(),
            "spec.tolerations[0].operator",
        ),
    ] {
        let answer: Value = serde_json::from_str(&scheduler.ask_line(line).unwrap()).unwrap();
        let error = answer["error"]
            .as_str()
            .unwrap_or_else(|| panic!("{answer}"));
        assert!(error.contains(part), "{error}");
    }
    assert!(scheduler.ask(&list(&[])).unwrap().pods.is_empty());
    let unknown = scheduler.ask(&json!({"kind": "Pod"}));
    assert!(matches!(unknown, Err(OracleError::Refused(_))));
}

#[test]
#[ignore = "needs Go: oracle/README.md"]
fn a_planted_fault_is_found_and_cut_down_to_what_it_needs() {
    // Says what the scheduler says, but for host ports.
    let scheduler = RefCell::new(Scheduler::start(true).unwrap());
    let blind = |cluster: &Value| {
        let mut verdicts = scheduler
            .borrow_mut()
            .ask(cluster)
            .map_err(|error| error.to_string())?;
        for node in verdicts.pods.iter_mut().flat_map(|pod| &mut pod.nodes) {
            node.filters.retain(|filter| filter != "NodePorts");
            node.fits = node.filters.is_empty();
        }
        Ok(verdicts)
    };
    let found = Comparison::start(&blind).unwrap().seeds(0..100).unwrap();
    assert!(!found.is_empty());
    for mismatch in found {
        let items = mismatch.case.cluster["items"].as_array().unwrap();
        let kinds: Vec<_> = items.iter().map(|item| &item["kind"]).collect();
        assert_eq!(kinds, ["Node", "Pod", "Pod"], "{:#}", mismatch.case.cluster);
        assert_eq!(mismatch.differences.len(), 1, "{:?}", mismatch.differences);
        assert!(mismatch.differences[0].starts_with("NodePorts refuses"));
    }
}

#[test]
#[ignore = "needs Go: oracle/README.md"]
fn what_is_made_is_accepted_and_answered_alike_whatever_its_order() {
    let scheduler = RefCell::new(Scheduler::start(true).unwrap());
    let backwards = |cluster: &Value| {
        let mut cluster = cluster.clone();
        cluster["items"].as_array_mut().unwrap().reverse();
        scheduler
            .borrow_mut()
            .ask(&cluster)
            .map_err(|error| error.to_string())
    };
    let found = Comparison::start(&backwards)
        .unwrap()
        .seeds(0..2000)
        .unwrap();
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
#[ignore = "needs Go: oracle/README.md"]
fn the_corpus_holds_what_the_plugins_say() {
    let mut scheduler = Scheduler::start(true).unwrap();
    for recorded in oracle::corpus().unwrap() {
        let recorded = recorded.unwrap();
        let verdicts = scheduler.ask(&recorded.cluster).unwrap();
        assert_eq!(verdicts, recorded.verdicts, "seed {}", recorded.seed);
    }
}
