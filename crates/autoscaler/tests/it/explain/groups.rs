//! `explain group`: how each group stands.

use serde_json::{Value, json};

use super::{
    examples, file,
    nodes::{on_cluster, parsed},
};
use crate::offline::answer;

fn json_on_cluster(arguments: &[&str]) -> Value {
    let given = [&["--assume-unneeded", "-o", "json"], arguments].concat();
    parsed(&on_cluster("group", &given))
}

#[test]
fn the_documented_advice_and_json_are_what_is_answered() {
    let advice = on_cluster("group", &["kube-system/growing", "--assume-unneeded"]);
    assert!(
        examples("text").any(|example| example == advice),
        "{advice}"
    );
    let answer = json_on_cluster(&["kube-system/growing"]);
    let mut documented = examples("json").map(|text| serde_json::from_str::<Value>(text).unwrap());
    assert!(documented.any(|example| example == answer), "{answer:#}");
}

#[test]
fn every_group_stands_as_its_objects_say() {
    let answer = json_on_cluster(&["--all"]);
    assert_eq!(answer["version"], 1);
    let groups = answer["groups"].as_array().unwrap();
    let field = |name: &str| {
        let of = |group: &Value| (group["group"].clone(), group[name].clone());
        groups.iter().map(of).collect::<Vec<_>>()
    };
    let expect = |name: &str, expected: [Value; 8]| {
        let keys = [
            "fixed", "general", "growing", "least", "paused", "starting", "stopped", "theirs",
        ];
        let keys = keys.map(|key| json!(format!("kube-system/{key}")));
        let expected: Vec<(Value, Value)> = keys.into_iter().zip(expected).collect();
        assert_eq!(field(name), expected, "{name}");
    };
    let (no, yes) = (json!(false), json!(true));
    let only = |index: usize, one: Value, others: Value| {
        let mut all = [(); 8].map(|()| others.clone());
        all[index] = one;
        all
    };
    expect("managed", only(7, no.clone(), yes.clone()));
    expect("paused", only(4, yes.clone(), no.clone()));
    let why = json!("machine b vanished while a was deleted");
    expect("stopped", only(6, why, Value::Null));
    expect("inFlight", only(2, json!(["vn-new"]), json!([])));
    // Neither the one that is not Ready nor the one that goes.
    expect("ready", only(1, json!(22), json!(1)));
    let mut scaled = only(0, no.clone(), yes);
    scaled[7] = no;
    expect("scaleDown", scaled);
    expect("savings", only(1, json!("0.0274"), json!("0")));
    expect("problems", [(); 8].map(|()| json!([])));
    let minimum = [0, 1, 0, 1, 0, 0, 0, 0].map(|minimum| json!(minimum));
    expect("minNodes", minimum);
    let nodes = groups
        .iter()
        .map(|group| group["nodes"].as_array().unwrap().len());
    assert_eq!(nodes.collect::<Vec<_>>(), [1, 24, 1, 1, 1, 1, 1, 1]);
    let alone = parsed(&on_cluster("node", &["--assume-unneeded", "-o", "json"]));
    let general = groups[1]["nodes"].as_array().unwrap();
    for row in general {
        let mut all = alone["nodes"].as_array().unwrap().iter();
        assert!(all.any(|one| one == row), "as of the node itself: {row}");
    }
}

#[test]
fn pods_that_no_machine_of_a_group_would_take_are_named_with_the_reason_of_each_offering() {
    let (path, offerings) = (file("cluster.yaml"), file("offerings.yaml"));
    let given = ["--from-file", &path, "--offerings", &offerings];
    let (code, out, err) = answer(
        &["explain", "group"],
        &[&given[..], &["-o", "json"]].concat(),
        "",
    );
    assert_eq!(code, 0, "{err}");
    let answer = parsed(&out);
    let pending = |group: usize| {
        let rows = answer["groups"][group]["pending"].as_array().unwrap();
        let pods = rows.iter().map(|row| row["pod"].as_str().unwrap());
        pods.collect::<Vec<_>>()
    };
    assert_eq!(answer["groups"][0]["group"], "kube-system/batch");
    assert_eq!(
        pending(0),
        ["lab/train", "shop/quorum-1", "shop/web-1", "shop/web-2"]
    );
    assert_eq!(
        pending(1),
        ["lab/train", "shop/quorum-1"],
        "the larger one takes the others"
    );
    let web = &answer["groups"][0]["pending"][2]["offerings"];
    let taint = "taint batch=true:NoSchedule is not tolerated";
    assert_eq!(
        web[0],
        json!({"offering": "medium-4cpu-8gb", "fits": false, "filters": ["TaintToleration"],
            "reasons": [{"filter": "TaintToleration", "reason": "UntoleratedTaint", "detail": taint}]})
    );
    assert_eq!(web[1]["reasons"][0]["reason"], "OfferingUnknown");
    assert_eq!(
        answer["groups"][0]["problems"][0]["reason"],
        "OfferingUnknown"
    );
    let (_, text, _) = super::explain_group(&given);
    let huge = "spec.offeringIDs names huge-64cpu, which is not sold in us-east-1";
    assert!(
        text.contains(&format!(
            "  shop/web-1 and shop/web-2:\n    huge-64cpu: {huge}\n    medium-4cpu-8gb: {taint}\n"
        )),
        "{text}"
    );
}

#[test]
fn without_offerings_nothing_is_said_of_pending_pods_but_how_to_ask() {
    let path = file("cluster.yaml");
    let (code, text, _) = super::explain_group(&["--from-file", &path]);
    assert_eq!(code, 0);
    assert_eq!(text.matches("--offerings FILE").count(), 2, "{text}");
    assert!(!text.contains("Mind:"), "{text}");
    let (_, out, _) = super::explain_group(&["--from-file", &path, "-o", "json"]);
    for group in parsed(&out)["groups"].as_array().unwrap() {
        assert_eq!(group["pending"], json!([]));
        assert_eq!(group["problems"][0]["reason"], "CatalogueUnavailable");
    }
}

#[test]
fn a_group_is_found_by_its_name_alone_and_one_that_is_not_there_is_refused() {
    let groups = json_on_cluster(&["least", "kube-system/paused", "least"]);
    let groups = groups["groups"].as_array().unwrap().iter();
    let keys: Vec<&str> = groups
        .map(|group| group["group"].as_str().unwrap())
        .collect();
    assert_eq!(keys, ["kube-system/least", "kube-system/paused"]);
    let path = file("nodes.yaml");
    for name in ["nope", "default/least"] {
        let (code, out, err) = super::explain_group(&[name, "--from-file", &path]);
        assert_eq!(
            (code, out.as_str(), err.lines().count()),
            (2, "", 1),
            "{err}"
        );
        assert!(
            err.contains(&format!("there is no NodeGroup {name}; groups: ")),
            "{err}"
        );
    }
}

#[test]
fn a_cooldown_that_runs_is_told_with_its_end() {
    let items = super::list(&[json!({"apiVersion": "autoscaler.vpsie.com/v1alpha1",
        "kind": "NodeGroup", "metadata": {"name": "g", "namespace": "a",
            "labels": {"autoscaler.vpsie.com/managed": "true"}},
        "spec": {"minNodes": 0, "maxNodes": 9, "datacenterID": "hel", "offeringIDs": []},
        "status": {"lastScaleTime": "2026-01-01T11:55:00Z"}})]);
    let until = |at: &str| {
        let given = ["--from-file", "-", "-o", "json", "--at", at];
        let (_, out, _) = answer(&["explain", "group"], &given, &items);
        parsed(&out)["groups"][0]["cooldownUntil"].take()
    };
    assert_eq!(until("2026-01-01T12:04:59Z"), "2026-01-01T12:05:00Z");
    assert_eq!(until("2026-01-01T12:05:00Z"), Value::Null);
}
