//! What a schema does to objects: pruning, defaults, structural validation, CEL rules.

#![allow(clippy::needless_pass_by_value)] // cases hand their JSON over

use std::{fs, path::Path};

use kube_sim::schema::{ListKind, Schema};
use serde_json::{Value, json};

fn object(spec: Value) -> Value {
    json!({"type": "object", "properties": {"spec": spec, "status": {
        "type": "object", "x-kubernetes-preserve-unknown-fields": true}}})
}

fn property(schema: Value) -> Schema {
    Schema::compile(&object(
        json!({"type": "object", "properties": {"x": schema}}),
    ))
    .unwrap()
}

fn said(schema: &Schema, object: &Value, old: Option<&Value>) -> Vec<String> {
    schema
        .validate(object, old)
        .iter()
        .map(|cause| format!("{}: {}", cause.field, cause.message))
        .collect()
}

fn verdict(schema: Value, x: Value) -> Vec<String> {
    said(&property(schema), &json!({"spec": {"x": x}}), None)
}

#[test]
fn unknown_fields_are_pruned_and_named() {
    let schema = Schema::compile(&object(json!({"type": "object", "properties": {
        "list": {"type": "array", "items": {"type": "object", "properties": {"a": {"type": "string"}}}},
        "map": {"type": "object", "additionalProperties": {"type": "object", "properties": {"a": {"type": "string"}}}},
        "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": true,
                 "properties": {"typed": {"type": "object", "properties": {}}}},
    }})))
    .unwrap();
    let mut value = json!({
        "apiVersion": "v1", "kind": "X", "metadata": {"name": "n"}, "other": 1,
        "spec": {"list": [{"a": "1"}, {"b": 1}], "map": {"k": {"a": "1", "c": 2}},
                 "free": {"anything": {"at": "all"}, "typed": {"no": 1}}, "foo": 1},
    });
    let mut removed = schema.prune(&mut value);
    removed.sort();
    assert_eq!(
        removed,
        [
            "other",
            "spec.foo",
            "spec.free.typed.no",
            "spec.list[1].b",
            "spec.map.k.c"
        ]
    );
    assert_eq!(
        value,
        json!({
            "apiVersion": "v1", "kind": "X", "metadata": {"name": "n"},
            "spec": {"list": [{"a": "1"}, {}], "map": {"k": {"a": "1"}},
                     "free": {"anything": {"at": "all"}, "typed": {}}},
        })
    );
}

#[test]
fn defaults_fill_what_is_absent_or_null_and_leave_false_and_zero() {
    let schema = Schema::compile(&object(json!({"type": "object", "properties": {
        "on": {"type": "boolean", "default": true},
        "count": {"type": "integer", "default": 3},
        "null": {"type": "string", "default": "x"},
        "may": {"type": "string", "default": "x", "nullable": true},
        "bare": {"type": "string"},
        "deep": {"type": "object", "default": {}, "properties": {"a": {"type": "integer", "default": 1}}},
        "items": {"type": "array", "items": {"type": "object", "properties": {"p": {"type": "string", "default": "TCP"}}}},
    }})))
    .unwrap();
    let mut value = json!({"spec": {"on": false, "count": 0, "null": null, "may": null, "bare": null, "items": [{}]}});
    schema.default(&mut value);
    assert_eq!(
        value,
        json!({"spec": {"on": false, "count": 0, "null": "x", "may": null, "deep": {"a": 1}, "items": [{"p": "TCP"}]}})
    );
    let mut no_spec = json!({});
    schema.default(&mut no_spec);
    assert_eq!(
        no_spec,
        json!({}),
        "a default below an absent parent must not make the parent"
    );
}

#[test]
fn limits_are_refused_in_the_words_of_kubernetes() {
    for (schema, value, words) in [
        (
            json!({"type": "integer", "minimum": 0.0}),
            json!(-1),
            "spec.x: Invalid value: -1: spec.x in body should be greater than or equal to 0",
        ),
        (
            json!({"type": "integer", "maximum": 100.0}),
            json!(101),
            "spec.x: Invalid value: 101: spec.x in body should be less than or equal to 100",
        ),
        (
            json!({"type": "number", "minimum": 0.5, "exclusiveMinimum": true}),
            json!(0.5),
            "spec.x: Invalid value: 0.5: spec.x in body should be greater than 0.5",
        ),
        (
            json!({"type": "number", "maximum": 1, "exclusiveMaximum": true}),
            json!(1),
            "spec.x: Invalid value: 1: spec.x in body should be less than 1",
        ),
        (
            json!({"type": "integer", "multipleOf": 5}),
            json!(7),
            "spec.x: Invalid value: 7: spec.x in body should be a multiple of 5",
        ),
        (
            json!({"type": "integer"}),
            json!("1"),
            "spec.x: Invalid value: \"string\": spec.x in body must be of type integer: \"string\"",
        ),
        (
            json!({"type": "string"}),
            json!(1),
            "spec.x: Invalid value: \"integer\": spec.x in body must be of type string: \"integer\"",
        ),
        (
            json!({"type": "string"}),
            json!(null),
            "spec.x: Invalid value: \"null\": spec.x in body must be of type string: \"null\"",
        ),
        (
            json!({"x-kubernetes-int-or-string": true}),
            json!(true),
            "spec.x: Invalid value: \"boolean\": spec.x in body must be of type integer,string: \"boolean\"",
        ),
        (
            json!({"type": "string", "enum": ["a", "b"]}),
            json!("c"),
            "spec.x: Unsupported value: \"c\": supported values: \"a\", \"b\"",
        ),
        (
            json!({"type": "string", "pattern": "^a+$"}),
            json!("b"),
            "spec.x: Invalid value: \"b\": spec.x in body should match '^a+$'",
        ),
        (
            json!({"type": "string", "maxLength": 2}),
            json!("abc"),
            "spec.x: Too long: may not be more than 2 bytes",
        ),
        (
            json!({"type": "string", "minLength": 2}),
            json!("a"),
            "spec.x: Invalid value: \"a\": spec.x in body should be at least 2 chars long",
        ),
        (
            json!({"type": "string", "format": "date-time"}),
            json!("soon"),
            "spec.x: Invalid value: \"soon\": spec.x in body must be of type date-time: \"soon\"",
        ),
        (
            json!({"type": "array", "maxItems": 1, "items": {"type": "string"}}),
            json!(["a", "b"]),
            "spec.x: Too many: 2: must have at most 1 item",
        ),
        (
            json!({"type": "array", "minItems": 1, "items": {"type": "string"}}),
            json!([]),
            "spec.x: Invalid value: 0: spec.x in body should have at least 1 items",
        ),
        (
            json!({"type": "array", "items": {"type": "string"}, "x-kubernetes-list-type": "set"}),
            json!(["a", "b", "a"]),
            "spec.x[2]: Duplicate value: \"a\"",
        ),
        (
            json!({"type": "array", "items": {"type": "object", "properties": {"k": {"type": "string"}}}, "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["k"]}),
            json!([{"k": "a"}, {"k": "a"}]),
            "spec.x[1]: Duplicate value: {\"k\":\"a\"}",
        ),
        (
            json!({"type": "object", "required": ["a"], "properties": {"a": {"type": "string"}}}),
            json!({}),
            "spec.x.a: Required value",
        ),
        (
            json!({"type": "object", "additionalProperties": {"type": "integer"}}),
            json!({"k": "v"}),
            "spec.x.k: Invalid value: \"string\": spec.x.k in body must be of type integer: \"string\"",
        ),
        (
            json!({"type": "object", "maxProperties": 1, "additionalProperties": {"type": "integer"}}),
            json!({"a": 1, "b": 2}),
            "spec.x: Too many: 2: must have at most 1 item",
        ),
        (
            json!({"type": "string", "not": {"enum": ["a"]}}),
            json!("a"),
            "spec.x: Invalid value: \"a\": \"spec.x\" must not validate the schema (not)",
        ),
        (
            json!({"type": "string", "anyOf": [{"pattern": "^a"}, {"pattern": "^b"}]}),
            json!("c"),
            "spec.x: Invalid value: \"c\": \"spec.x\" must validate at least one schema (anyOf)",
        ),
    ] {
        assert_eq!(verdict(schema.clone(), value), [words], "{schema}");
    }
}

#[test]
fn values_at_the_limits_are_accepted() {
    for (schema, value) in [
        (
            json!({"type": "integer", "minimum": 0, "maximum": 2}),
            json!(2),
        ),
        (json!({"type": "integer"}), json!(2.0)),
        (json!({"type": "number"}), json!(2)),
        (json!({"type": "string", "nullable": true}), json!(null)),
        (json!({"x-kubernetes-int-or-string": true}), json!("50%")),
        (json!({"type": "string", "maxLength": 2}), json!("éé")),
        (
            json!({"x-kubernetes-preserve-unknown-fields": true}),
            json!([1, "a"]),
        ),
        (
            json!({"type": "string", "oneOf": [{"pattern": "^a"}, {"pattern": "^b"}]}),
            json!("b"),
        ),
    ] {
        assert_eq!(verdict(schema.clone(), value), [""; 0], "{schema}");
    }
}

#[test]
fn what_was_wrong_before_and_has_not_changed_is_tolerated() {
    let schema = Schema::compile(&object(json!({"type": "object", "properties": {
        "a": {"type": "integer", "minimum": 1}, "b": {"type": "string"},
    }})))
    .unwrap();
    let old = json!({"spec": {"a": 0, "b": "x"}});
    let changed_elsewhere = json!({"spec": {"a": 0, "b": "y"}});
    assert_eq!(said(&schema, &changed_elsewhere, Some(&old)), [""; 0]);
    let changed_here = json!({"spec": {"a": -1, "b": "x"}});
    assert_eq!(said(&schema, &changed_here, Some(&old)).len(), 1);
}

fn rule(schema: Value, rules: Value) -> Schema {
    let mut schema = schema;
    schema["x-kubernetes-validations"] = rules;
    Schema::compile(&object(schema)).unwrap()
}

fn spec() -> Value {
    json!({"type": "object", "properties": {
        "min": {"type": "integer"}, "max": {"type": "integer"}, "share": {"type": "number"},
        "name": {"type": "string"}, "namespace": {"type": "string"}, "a-b": {"type": "string"},
        "list": {"type": "array", "items": {"type": "string"}},
        "labels": {"type": "object", "additionalProperties": {"type": "string"}},
    }})
}

#[test]
fn rules_are_evaluated_with_message_reason_and_field_path() {
    let schema = rule(
        spec(),
        json!([
            {"rule": "self.min <= self.max", "message": "min must not be above max", "fieldPath": ".min"},
            {"rule": "has(self.name)", "message": "name is needed", "reason": "FieldValueRequired", "fieldPath": ".name"},
            {"rule": "self.max < 10", "messageExpression": "'max is ' + string(self.max)", "message": "unused"},
            {"rule": "self.min != 7"},
        ]),
    );
    assert_eq!(
        said(&schema, &json!({"spec": {"min": 12, "max": 11}}), None),
        [
            "spec.min: Invalid value: min must not be above max",
            "spec.name: Required value: name is needed",
            "spec: Invalid value: max is 11",
        ]
    );
    assert_eq!(
        said(
            &schema,
            &json!({"spec": {"min": 7, "max": 8, "name": "n"}}),
            None
        ),
        ["spec: Invalid value: failed rule: self.min != 7"]
    );
    assert_eq!(
        said(&schema, &json!({"spec": {"min": 7}}), None)[0],
        "spec: Invalid value: \"object\": no such key: max evaluating rule: min must not be above max"
    );
}

#[test]
fn the_library_that_rules_use_works() {
    for (text, holds) in [
        ("self.list.all(one, size(one) > 0)", true),
        ("self.list.exists(one, one == 'b')", true),
        ("self.list.exists_one(one, one.startsWith('b'))", true),
        ("self.list.filter(one, one.endsWith('c')).size() == 1", true),
        ("self.list.map(one, one + '!')[0] == 'a!'", true),
        ("'b' in self.list", true),
        ("'k' in self.labels", true),
        ("self.labels['k'] == 'v'", true),
        (
            "self.labels.all(key, self.labels[key].matches('^[a-z]+$'))",
            true,
        ),
        ("self.name.contains('ell')", true),
        ("self.name.lowerAscii() == 'hello'", true),
        (
            "self.__namespace__ == 'ns' && self.a__dash__b == 'ab'",
            true,
        ),
        ("self.share > 0.5", true),
        ("self.min + 1 == 2 && double(self.min) == 1.0", true),
        ("has(self.max) ? self.max > 0 : true", true),
        ("!('z' in self.list)", true),
        ("self.list.exists(one, one == 'z')", false),
    ] {
        let schema = rule(spec(), json!([{"rule": text, "message": "no"}]));
        let value = json!({"spec": {
            "min": 1, "share": 1, "name": "Hello", "namespace": "ns", "a-b": "ab",
            "list": ["a", "b", "c"], "labels": {"k": "v"},
        }});
        let expected: &[&str] = if holds {
            &[]
        } else {
            &["spec: Invalid value: no"]
        };
        assert_eq!(said(&schema, &value, None), expected, "{text}");
    }
}

#[test]
fn transition_rules_wait_for_an_old_value() {
    let schema = rule(
        spec(),
        json!([{"rule": "self.name == oldSelf.name", "message": "name is immutable"}]),
    );
    let old = json!({"spec": {"name": "a"}});
    let new = json!({"spec": {"name": "b"}});
    assert_eq!(said(&schema, &new, None), [""; 0]);
    assert_eq!(said(&schema, &old, Some(&old)), [""; 0]);
    assert_eq!(
        said(&schema, &new, Some(&old)),
        ["spec: Invalid value: name is immutable"]
    );
    let optional = rule(
        spec(),
        json!([{"rule": "oldSelf.hasValue() || self.min > 0", "message": "starts above zero", "optionalOldSelf": true}]),
    );
    assert_eq!(said(&optional, &json!({"spec": {"min": 0}}), None).len(), 1);
    assert_eq!(
        said(&optional, &json!({"spec": {"min": 0}}), Some(&old)),
        [""; 0]
    );
}

#[test]
fn items_of_a_list_with_keys_are_compared_with_their_old_selves() {
    let schema = Schema::compile(&object(json!({"type": "object", "properties": {"x": {
        "type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["k"],
        "items": {"type": "object", "required": ["k"],
            "properties": {"k": {"type": "string"}, "v": {"type": "integer"}},
            "x-kubernetes-validations": [{"rule": "self.v >= oldSelf.v", "message": "only up"}]},
    }}})))
    .unwrap();
    let old = json!({"spec": {"x": [{"k": "a", "v": 2}, {"k": "b", "v": 2}]}});
    let new = json!({"spec": {"x": [{"k": "b", "v": 1}, {"k": "a", "v": 3}, {"k": "c", "v": 0}]}});
    assert_eq!(
        said(&schema, &new, Some(&old)),
        ["spec.x[0]: Invalid value: only up"]
    );
    assert_eq!(
        schema.list_kind(&["spec", "x"]),
        ListKind::Map(vec!["k".to_owned()])
    );
    assert_eq!(schema.list_kind(&["spec", "x", "v"]), ListKind::Atomic);
}

#[test]
fn rules_are_not_checked_while_the_shape_is_wrong() {
    let schema = rule(
        spec(),
        json!([{"rule": "self.min <= self.max", "message": "no"}]),
    );
    let said = said(&schema, &json!({"spec": {"min": "1", "max": 0}}), None);
    assert_eq!(said.len(), 2);
    assert!(
        said[1].starts_with("<nil>: Invalid value: null: some validation rules were not checked")
    );
}

#[test]
fn rules_that_cannot_work_are_refused_with_the_schema() {
    for (text, why) in [
        ("self.min <=", "compilation failed"),
        ("self.minn <= 1", "undefined field 'minn'"),
        ("self.name.first", "does not support field selection"),
        (
            "self.list.all(one, one.x == 1)",
            "does not support field selection",
        ),
        ("other > 1", "undeclared reference to 'other'"),
        ("isNice(self.name)", "undeclared reference to 'isNice'"),
    ] {
        let mut schema = spec();
        schema["x-kubernetes-validations"] = json!([{"rule": text}]);
        let error = Schema::compile(&object(schema)).unwrap_err();
        assert_eq!(
            error.field, "properties[spec].x-kubernetes-validations[0].rule",
            "{text}"
        );
        assert!(error.detail.contains(why), "{text}: {error}");
    }
    let error = Schema::compile(&object(json!({"type": "strnig"}))).unwrap_err();
    assert_eq!(error.field, "properties[spec].type");
    let error = Schema::compile(&object(json!({"type": "string", "pattern": "("}))).unwrap_err();
    assert_eq!(error.field, "properties[spec].pattern");
}

fn product() -> Vec<(String, Schema)> {
    api::crds::crds()
        .iter()
        .map(|crd| {
            let version = &crd.spec.versions[0];
            let document = version.schema.as_ref().unwrap().open_api_v3_schema.as_ref();
            let document = serde_json::to_value(document.unwrap()).unwrap();
            (
                crd.spec.names.kind.clone(),
                Schema::compile(&document).unwrap(),
            )
        })
        .collect()
}

fn documents(path: &str) -> Vec<Value> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../api/tests")
        .join(path);
    fs::read_to_string(path)
        .unwrap()
        .split("\n---\n")
        .map(|text| serde_saphyr::from_str(text).unwrap())
        .collect()
}

fn schema_of<'a>(schemas: &'a [(String, Schema)], object: &Value) -> &'a Schema {
    let kind = object["kind"].as_str().unwrap();
    &schemas.iter().find(|(name, _)| name == kind).unwrap().1
}

#[test]
fn the_products_definitions_judge_every_case_as_written_down() {
    let schemas = product();
    let mut refused = 0;
    for case in documents("rules/cases.yaml") {
        let schema = schema_of(&schemas, &case["object"]);
        let mut object = case["object"].clone();
        schema.prune(&mut object);
        schema.default(&mut object);
        let old = case.get("stored").map(|stored| {
            let mut stored = stored.clone();
            schema.default(&mut stored);
            stored
        });
        let said = schema.validate(&object, old.as_ref());
        if let Some(wanted) = case.get("refused") {
            let (field, message) = (
                wanted["field"].as_str().unwrap(),
                wanted["message"].as_str().unwrap(),
            );
            assert!(
                said.iter()
                    .any(|cause| cause.field == field && cause.message.contains(message)),
                "{}: {said:?}",
                object["metadata"]["name"]
            );
            refused += 1;
        } else {
            assert!(said.is_empty(), "{}: {said:?}", object["metadata"]["name"]);
        }
    }
    assert!(refused > 10, "only {refused} refused cases");
}

#[test]
fn the_corpus_of_stored_objects_is_valid() {
    let schemas = product();
    for file in [
        "node_groups",
        "null_fields",
        "vpsie_nodes",
        "autoscaler_configs",
    ] {
        for mut object in documents(&format!("corpus/{file}.yaml")) {
            let schema = schema_of(&schemas, &object);
            let name = object["metadata"]["name"].clone();
            assert_eq!(schema.prune(&mut object), [""; 0], "{file} {name}");
            schema.default(&mut object);
            let said = schema.validate(&object, None);
            assert!(said.is_empty(), "{file} {name}: {said:?}");
        }
    }
}
