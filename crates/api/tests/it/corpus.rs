//! Objects as the predecessor's users wrote them and as its controller stored them: the types must
//! neither lose nor invent a field.

use std::{fs, path::Path};

use api::{AutoscalerConfig, NodeGroup, VPSieNode};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

fn round_trip<T: Serialize + DeserializeOwned>(text: &str) -> (Value, Value) {
    let mut stored: Value = serde_saphyr::from_str(text).unwrap();
    let typed: T = serde_json::from_value(stored.clone()).unwrap();
    drop_nulls(&mut stored);
    (stored, serde_json::to_value(typed).unwrap())
}

/// As the API server does for fields that are not `nullable`, ours all: a `null` means absent.
fn drop_nulls(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.retain(|_, field| !field.is_null());
            fields.values_mut().for_each(drop_nulls);
        }
        Value::Array(items) => items.iter_mut().for_each(drop_nulls),
        _ => {}
    }
}

#[test]
fn stored_objects_round_trip_without_losing_or_inventing_a_field() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus");
    let mut seen = 0;
    let mut paths: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    paths.sort();
    for path in paths {
        for text in fs::read_to_string(&path).unwrap().split("\n---\n") {
            let kind: Value = serde_saphyr::from_str(text).unwrap();
            let (stored, again) = match kind["kind"].as_str().unwrap() {
                "NodeGroup" => round_trip::<NodeGroup>(text),
                "VPSieNode" => round_trip::<VPSieNode>(text),
                "AutoscalerConfig" => round_trip::<AutoscalerConfig>(text),
                other => panic!("{}: unknown kind {other}", path.display()),
            };
            assert_eq!(stored, again, "{}", path.display());
            seen += 1;
        }
    }
    assert!(seen >= 20, "only {seen} objects in the corpus");
}

#[test]
fn a_users_false_and_zero_survive() {
    let group: NodeGroup = serde_saphyr::from_str(
        "apiVersion: autoscaler.vpsie.com/v1alpha1\nkind: NodeGroup\nmetadata: {name: a}\nspec: \
         {minNodes: 0, maxNodes: 1, datacenterID: d, offeringIDs: [o], allowMixedInstances: false, \
         scaleDownPolicy: {enabled: false, cooldownSeconds: 0}}\n",
    )
    .unwrap();
    let stored = serde_json::to_value(&group).unwrap();
    assert_eq!(stored["spec"]["allowMixedInstances"], Value::Bool(false));
    assert_eq!(
        stored["spec"]["scaleDownPolicy"]["enabled"],
        Value::Bool(false)
    );
    assert_eq!(stored["spec"]["scaleDownPolicy"]["cooldownSeconds"], 0);
    assert!(
        stored["spec"]["scaleDownPolicy"]
            .get("cpuThreshold")
            .is_none()
    );
    let policy = group.spec.scale_down_policy.unwrap();
    assert!(!policy.is_enabled());
    assert!(policy.cooldown().is_zero());
}
