//! Our definitions as the real API server applies them, held to the data that `api`'s own tests are
//! held to: the corpus is accepted, and each rule refuses what it is there for, with the field named.

use std::{collections::BTreeSet, fs, path::Path};

use e2e::{ControlPlane, Settings};
use http::{Method, Request};
use kube::{Client, core::response::StatusCause};
use serde_json::{Value, json};

async fn plane() -> ControlPlane {
    ControlPlane::start(Settings::default()).await.unwrap()
}

fn documents(file: &str) -> Vec<Value> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/api/tests");
    let text = fs::read_to_string(folder.join(file)).unwrap();
    text.split("\n---\n")
        .map(|document| serde_saphyr::from_str(document).unwrap())
        .collect()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap()
}

/// Where objects like this one are created.
fn collection(object: &Value) -> String {
    let version = text(&object["apiVersion"]);
    let plural = format!("{}s", text(&object["kind"]).to_lowercase());
    match object["metadata"]["namespace"].as_str() {
        Some(namespace) => format!("/apis/{version}/namespaces/{namespace}/{plural}"),
        None => format!("/apis/{version}/{plural}"),
    }
}

async fn ask(
    client: &Client,
    method: Method,
    path: &str,
    body: &Value,
) -> Result<Value, kube::Error> {
    let patch = method == Method::PATCH;
    let kind = if patch {
        "application/merge-patch+json"
    } else {
        "application/json"
    };
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header("content-type", kind)
        .body(body.to_string().into_bytes())
        .unwrap();
    client.request(request).await
}

/// An object as somebody sends it: without what only a stored one has.
fn sent(object: &Value) -> Value {
    let mut object = object.clone();
    let metadata = object["metadata"].as_object_mut().unwrap();
    for field in ["uid", "resourceVersion", "creationTimestamp", "generation"] {
        metadata.remove(field);
    }
    object
}

async fn make_namespaces(client: &Client, objects: &[Value]) {
    let all = objects
        .iter()
        .filter_map(|object| object["metadata"]["namespace"].as_str());
    for name in all.collect::<BTreeSet<_>>() {
        let namespace = json!({"metadata": {"name": name}});
        // Some are there already.
        let _ = ask(client, Method::POST, "/api/v1/namespaces", &namespace).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Go and minutes: e2e/README.md"]
async fn the_definitions_and_rights_are_taken_without_a_warning() {
    let plane = plane().await;
    let output = plane.install().await.unwrap();
    assert_eq!(output.stderr, "", "warnings of the API server");
    for name in [
        "nodegroups",
        "vpsienodes",
        "autoscalerconfigs",
        "serviceaccount",
    ] {
        assert!(output.stdout.contains(name), "{name}: {}", output.stdout);
    }
    // A second time changes nothing.
    plane.install().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Go and minutes: e2e/README.md"]
async fn every_object_of_the_corpus_is_accepted_as_it_is() {
    let plane = plane().await;
    plane.install().await.unwrap();
    let client = plane.client().await.unwrap();
    // The first is the minimal example that must work as it is.
    let mut objects = Vec::new();
    for file in [
        "node_groups",
        "vpsie_nodes",
        "autoscaler_configs",
        "null_fields",
    ] {
        objects.extend(documents(&format!("corpus/{file}.yaml")));
    }
    assert!(objects.len() >= 20, "only {} objects", objects.len());
    make_namespaces(&client, &objects).await;
    for object in objects {
        let name = text(&object["metadata"]["name"]);
        let path = collection(&object);
        // Strict: what the definition does not know is refused, not dropped.
        let strict = format!("{path}?fieldValidation=Strict");
        let object = sent(&object);
        let created = ask(&client, Method::POST, &strict, &object).await;
        let created = created.unwrap_or_else(|error| panic!("{path}/{name}: {error}"));
        assert_eq!(created["metadata"]["name"], name);
        let path = format!("{path}/{name}");
        if let Some(status) = object.get("status") {
            let status = json!({ "status": status });
            let status_path = format!("{path}/status?fieldValidation=Strict");
            let written = ask(&client, Method::PATCH, &status_path, &status).await;
            written.unwrap_or_else(|error| panic!("{status_path}: {error}"));
        }
        // Others of the corpus have the same name, and finalizers that nobody will take away.
        let finalizers = json!({"metadata": {"finalizers": []}});
        ask(&client, Method::PATCH, &path, &finalizers)
            .await
            .unwrap();
        ask(&client, Method::DELETE, &path, &json!({}))
            .await
            .unwrap();
    }
}

/// What the server says to a case of `rules/cases.yaml`; nothing where it accepts it.
async fn causes(client: &Client, case: &Value) -> Vec<StatusCause> {
    let object = &case["object"];
    let path = collection(object);
    let own = format!("{path}/{}", text(&object["metadata"]["name"]));
    let bare = |object: &Value| {
        let mut object = object.clone();
        object.as_object_mut().unwrap().remove("status");
        object
    };
    let stored = case.get("stored");
    let mut created = false;
    if stored.is_some() || object.get("status").is_some() {
        // A status is only ever written to an object that is there.
        let first = stored.unwrap_or(object);
        ask(client, Method::POST, &path, &bare(first))
            .await
            .unwrap();
        created = true;
    }
    let status = |object: &Value| json!({ "status": object["status"] });
    let answer = if let Some(stored) = stored {
        if stored.get("status").is_some() {
            let path = format!("{own}/status");
            ask(client, Method::PATCH, &path, &status(stored))
                .await
                .unwrap();
        }
        let there = ask(client, Method::GET, &own, &Value::Null).await.unwrap();
        let mut update = object.clone();
        update["metadata"]["resourceVersion"] = there["metadata"]["resourceVersion"].clone();
        ask(client, Method::PUT, &own, &update).await
    } else if created {
        let path = format!("{own}/status");
        ask(client, Method::PATCH, &path, &status(object)).await
    } else {
        let dry = format!("{path}?dryRun=All");
        ask(client, Method::POST, &dry, object).await
    };
    if created {
        ask(client, Method::DELETE, &own, &json!({})).await.unwrap();
    }
    match answer {
        Ok(_) => Vec::new(),
        Err(kube::Error::Api(refusal)) => refusal.details.map_or(Vec::new(), |told| told.causes),
        Err(error) => panic!("{own}: {error}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Go and minutes: e2e/README.md"]
async fn each_rule_refuses_what_it_is_there_for_and_names_the_field() {
    let plane = plane().await;
    plane.install().await.unwrap();
    let client = plane.client().await.unwrap();
    let mut wrong = Vec::new();
    let mut refused = 0;
    for case in documents("rules/cases.yaml") {
        let name = text(&case["object"]["metadata"]["name"]).to_owned();
        let mut told = causes(&client, &case).await;
        // After a wrong type or bound the server also says that it left the rules out.
        told.retain(|cause| {
            !cause
                .message
                .contains("some validation rules were not checked")
        });
        let good = match (case.get("refused"), told.as_slice()) {
            (None, []) => true,
            (Some(expected), [cause]) => {
                refused += 1;
                expected["field"] == cause.field.as_str()
                    && cause.message.contains(text(&expected["message"]))
            }
            _ => false,
        };
        if !good {
            wrong.push(format!("{name}: {told:?}, expected {:?}", case["refused"]));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(refused >= 20, "only {refused} cases were refused");
}
