//! Creating an object: its name, what the server sets, and what only a new object is asked.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{
    Ownership, Work, WriteContext, Written,
    check::{admit, compiled, place},
    counts_generation,
};
use crate::{
    apply::track_update,
    defaults, definitions,
    error::{ApiError, ApiResult},
    names,
    object::{at, meta_mut, meta_str, str_at},
    registry::KindInfo,
    store::Store,
};

/// Creates an object. `body` is in stored form; `managedFields` of an apply are kept.
pub(crate) fn create(
    store: &mut Store,
    ctx: &WriteContext<'_>,
    kind: &Arc<KindInfo>,
    namespace: &str,
    mut body: Value,
    ownership: Ownership,
) -> ApiResult<Written> {
    place(kind, namespace, &mut body)?;
    let generated = meta_str(&body, "name").is_empty();
    let name = match meta_str(&body, "name") {
        "" => {
            let base: String = meta_str(&body, "generateName").chars().take(58).collect();
            if base.is_empty() {
                String::new()
            } else {
                format!("{base}{}", names::random_suffix(ctx.random))
            }
        }
        name => name.to_owned(),
    };
    check_namespace(store, kind, namespace, &name)?;
    if !matches!(meta_str(&body, "resourceVersion"), "" | "0") {
        return Err(ApiError::new(
            500,
            "",
            "resourceVersion should not be set on objects to be created",
        ));
    }
    let given = at(&body, &["metadata", "managedFields"]).cloned();
    let meta = meta_mut(&mut body);
    for field in [
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
        "selfLink",
        "resourceVersion",
        "generation",
        "managedFields",
    ] {
        meta.remove(field);
    }
    if !name.is_empty() {
        meta.insert("name".to_owned(), json!(name));
    }
    meta.insert("uid".to_owned(), json!(ctx.random.uuid().to_string()));
    meta.insert("creationTimestamp".to_owned(), json!(ctx.time()));
    if counts_generation(kind) {
        meta.insert("generation".to_owned(), json!(1));
    }
    // A kubelet registers its Node with a status; every other status belongs to a controller.
    if kind.status
        && kind.kind != "Node"
        && let Some(map) = body.as_object_mut()
    {
        map.remove("status");
    }
    if let Err(mut error) = admit(ctx, kind, &mut body, None) {
        // Who asked for a made-up name did not choose it.
        if generated
            && name.is_empty()
            && let Some(details) = error.details.as_object_mut()
        {
            details.remove("name");
        }
        return Err(error);
    }
    if let Some(existing) = store.get(kind, namespace, &name) {
        let mut error = ApiError::already_exists(kind, &name);
        if existing.deleting {
            error.message = format!("object is being deleted: {}", error.message);
        }
        return Err(error);
    }
    if definitions::is_definition(kind) {
        definitions::establish(&mut body, &ctx.time());
    }
    if kind.builtin && kind.kind == "Namespace" {
        let labels = crate::object::child_mut(meta_mut(&mut body), "labels");
        labels.insert("kubernetes.io/metadata.name".to_owned(), json!(name));
    }
    if let (Ownership::Given, Some(fields)) = (ownership, given) {
        meta_mut(&mut body).insert("managedFields".to_owned(), fields);
    } else {
        // The status belongs to another endpoint; a Node keeps it, unowned.
        let status = kind
            .status
            .then(|| crate::object::map_mut(&mut body).remove("status"))
            .flatten();
        track_update(kind, None, &mut body, &ctx.writer(&ctx.time()));
        if let Some(status) = status {
            crate::object::map_mut(&mut body).insert("status".to_owned(), status);
        }
    }
    if kind.builtin {
        priority(store, kind, &mut body)?;
        defaults::on_create(kind, &mut body, &ctx.time());
    }
    let kinds = compiled(kind, &body)?;
    if ctx.dry_run {
        return Ok(Written::new(201, body, None));
    }
    if let Some(kinds) = kinds {
        definitions::register(&mut store.registry, &body, kinds);
    }
    let stored = store.put(kind, body);
    if stored
        .owners
        .iter()
        .any(|uid| !store.by_uid.contains_key(uid))
    {
        store
            .work
            .push(Work::Owners(kind.storage.clone(), stored.key.clone()));
    }
    Ok(Written::new(201, stored.value(), Some(stored.rv)))
}

/// Refuses objects in a namespace that is missing or terminating.
fn check_namespace(store: &Store, kind: &KindInfo, namespace: &str, name: &str) -> ApiResult<()> {
    if !kind.namespaced {
        return Ok(());
    }
    let Some(namespaces) = store.registry.get("", "v1", "namespaces") else {
        return Ok(());
    };
    let Some(found) = store.get(namespaces, "", namespace) else {
        return Err(ApiError::not_found(namespaces, namespace));
    };
    if found.deleting {
        let mut error = ApiError::forbidden(
            kind,
            name,
            &format!(
                "unable to create new content in namespace {namespace} because it is being terminated"
            ),
        );
        error.details["causes"] = json!([{
            "reason": "NamespaceTerminating",
            "message": format!("namespace {namespace} is being terminated"),
            "field": "metadata.namespace",
        }]);
        return Err(error);
    }
    Ok(())
}

/// Resolves the priority class of a new pod.
fn priority(store: &Store, kind: &KindInfo, pod: &mut Value) -> ApiResult<()> {
    let class = str_at(pod, &["spec", "priorityClassName"]).to_owned();
    if !kind.group.is_empty() || kind.kind != "Pod" || class.is_empty() {
        return Ok(());
    }
    let (value, preemption) = match class.as_str() {
        "system-cluster-critical" => (json!(2_000_000_000), None),
        "system-node-critical" => (json!(2_000_001_000), None),
        _ => {
            let classes = store
                .registry
                .get("scheduling.k8s.io", "v1", "priorityclasses");
            let Some(found) = classes.and_then(|classes| store.get(classes, "", &class)) else {
                let why = format!("no PriorityClass with name {class} was found");
                return Err(ApiError::forbidden(kind, meta_str(pod, "name"), &why));
            };
            let found = found.value();
            let preemption = found.get("preemptionPolicy").cloned();
            (found["value"].clone(), preemption)
        }
    };
    crate::object::set_at(pod, &["spec", "priority"], value);
    if let Some(policy) = preemption {
        crate::object::set_at(pod, &["spec", "preemptionPolicy"], policy);
    }
    Ok(())
}
