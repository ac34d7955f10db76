use std::{fs, path::Path};

#[test]
fn the_checked_in_definitions_are_what_the_types_generate() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/crds");
    for (name, expected) in api::crds::files() {
        let found = fs::read_to_string(folder.join(&name)).unwrap_or_default();
        assert!(
            found == expected,
            "deploy/crds/{name} is stale: run `cargo run -p xtask -- generate`"
        );
    }
}

#[test]
fn every_definition_is_structural() {
    fn check(path: &str, schema: &serde_json::Value) {
        let Some(object) = schema.as_object() else {
            return;
        };
        for forbidden in ["$ref", "oneOf", "anyOf", "definitions", "$schema"] {
            assert!(
                !object.contains_key(forbidden),
                "{path} carries {forbidden}: {schema}"
            );
        }
        if let Some(properties) = object.get("properties").and_then(|p| p.as_object()) {
            for (name, property) in properties {
                assert!(
                    property.get("type").is_some()
                        || property
                            .get("x-kubernetes-preserve-unknown-fields")
                            .is_some(),
                    "{path}.{name} has no type: {property}"
                );
                check(&format!("{path}.{name}"), property);
            }
        }
        if let Some(items) = object.get("items") {
            check(&format!("{path}[]"), items);
        }
        if let Some(values) = object.get("additionalProperties") {
            check(&format!("{path}{{}}"), values);
        }
    }
    for crd in api::crds::crds() {
        let crd = serde_json::to_value(crd).unwrap();
        let name = crd["spec"]["names"]["kind"].as_str().unwrap().to_owned();
        check(
            &name,
            &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"],
        );
    }
}

#[test]
fn the_printed_stream_reads_back_as_the_definitions() {
    let stream = api::crds::yaml();
    let read: Vec<serde_json::Value> = stream
        .split("---\n")
        .filter(|text| !text.is_empty())
        .map(|text| serde_saphyr::from_str(text).unwrap())
        .collect();
    let names: Vec<&str> = read
        .iter()
        .map(|crd| crd["metadata"]["name"].as_str().unwrap())
        .collect();
    assert_eq!(
        names,
        [
            "autoscalerconfigs.autoscaler.vpsie.com",
            "nodegroups.autoscaler.vpsie.com",
            "vpsienodes.autoscaler.vpsie.com",
        ]
    );
    for (read, crd) in read.into_iter().zip(api::crds::crds()) {
        let read: k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition =
            serde_json::from_value(read).unwrap();
        assert_eq!(read, crd);
    }
}
