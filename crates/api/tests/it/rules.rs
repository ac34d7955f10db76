//! The definitions as an API server applies them: the corpus is accepted and comes out with the
//! defaults, and each rule refuses what it is there for, with the field named.

use std::{collections::BTreeMap, fs, path::Path};

use kube_sim::{Cause, schema::Schema};
use serde_json::Value;

fn schemas() -> BTreeMap<String, Schema> {
    api::crds::crds()
        .into_iter()
        .map(|crd| {
            let crd = serde_json::to_value(crd).unwrap();
            let kind = crd["spec"]["names"]["kind"].as_str().unwrap().to_owned();
            let root = &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
            (kind, Schema::compile(root).unwrap())
        })
        .collect()
}

fn documents(folder: &str) -> Vec<Value> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let mut paths: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    paths.sort();
    paths
        .iter()
        .flat_map(|path| {
            fs::read_to_string(path)
                .unwrap()
                .split("\n---\n")
                .map(|text| serde_saphyr::from_str(text).unwrap())
                .collect::<Vec<Value>>()
        })
        .collect()
}

/// What the server stores of `object`; refuses what it would drop.
fn admitted(schemas: &BTreeMap<String, Schema>, object: &Value) -> (String, Value) {
    let kind = object["kind"].as_str().unwrap().to_owned();
    let mut stored = object.clone();
    let pruned = schemas[&kind].prune(&mut stored);
    assert!(pruned.is_empty(), "{kind}: unknown fields {pruned:?}");
    schemas[&kind].default(&mut stored);
    (kind, stored)
}

#[test]
fn the_definitions_accept_the_whole_corpus() {
    let schemas = schemas();
    let objects = documents("tests/corpus");
    assert!(objects.len() >= 20, "only {} objects", objects.len());
    for object in objects {
        let (kind, stored) = admitted(&schemas, &object);
        let errors = schemas[&kind].validate(&stored, None);
        assert!(errors.is_empty(), "{}: {errors:#?}", object["metadata"]);
        let errors = schemas[&kind].validate(&stored, Some(&stored));
        assert!(errors.is_empty(), "{}: {errors:#?}", object["metadata"]);
    }
}

#[test]
fn each_rule_refuses_what_it_is_there_for_and_names_the_field() {
    let schemas = schemas();
    let mut refused = 0;
    for case in documents("tests/rules") {
        let before = case.get("stored").map(|old| admitted(&schemas, old).1);
        let (kind, object) = admitted(&schemas, &case["object"]);
        let name = &object["metadata"]["name"];
        let errors = schemas[&kind].validate(&object, before.as_ref());
        let Some(expected) = case.get("refused") else {
            assert!(errors.is_empty(), "{name}: {errors:#?}");
            continue;
        };
        // After a wrong type or bound the server also says that it left the rules out.
        let left_out = |e: &&Cause| e.message.contains("some validation rules were not checked");
        let named: Vec<_> = errors.iter().filter(|e| !left_out(e)).collect();
        let [error] = named.as_slice() else {
            panic!("{name} is refused once, for one field, not so: {errors:#?}");
        };
        assert_eq!(error.field, expected["field"], "{name}: {error:?}");
        let message = expected["message"].as_str().unwrap();
        assert!(error.message.contains(message), "{name}: {error:?}");
        refused += 1;
    }
    assert!(refused >= 20, "only {refused} cases were refused");
}

#[test]
fn a_users_false_is_stored_next_to_the_defaults() {
    let schemas = schemas();
    let group = documents("tests/corpus")
        .into_iter()
        .find(|object| object["metadata"]["name"] == "disabled")
        .unwrap();
    let (_, stored) = admitted(&schemas, &group);
    let policy = &stored["spec"]["scaleDownPolicy"];
    assert_eq!(policy["enabled"], false);
    assert_eq!(policy["cooldownSeconds"], 600);
    assert!(stored["spec"].get("scaleUpPolicy").is_none());
}

#[test]
fn a_null_is_stored_as_the_default_or_not_at_all() {
    let schemas = schemas();
    let group = documents("tests/corpus")
        .into_iter()
        .find(|object| object["metadata"]["name"] == "nulls")
        .unwrap();
    let (_, stored) = admitted(&schemas, &group);
    assert_eq!(stored["spec"]["allowMixedInstances"], true);
    assert_eq!(stored["spec"]["scaleDownPolicy"]["cpuThreshold"], 50);
    assert_eq!(stored["spec"]["scaleDownPolicy"]["enabled"], false);
    assert!(stored["spec"].get("taints").is_none());
}
