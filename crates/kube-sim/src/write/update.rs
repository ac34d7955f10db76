//! Updating an object: on which version, which part of it may change, and what counts as a change.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{
    Ownership, WriteContext, Written,
    check::{admit, compiled, place},
    commit::{commit, ends, remove},
    counts_generation, create,
};
use crate::{
    apply::track_update,
    definitions,
    error::{ApiError, ApiResult, Cause},
    object::{at, generation, is_deleting, key_of, meta_mut, meta_str},
    registry::KindInfo,
    store::Store,
};

/// Kinds whose update must name the resourceVersion it is based on.
fn needs_version(kind: &KindInfo) -> bool {
    !kind.builtin
        || matches!(
            kind.kind.as_str(),
            "Lease" | "CustomResourceDefinition" | "PodDisruptionBudget"
        )
        || kind.group == "admissionregistration.k8s.io"
}

/// Kinds that an update creates when absent.
fn creates_on_update(kind: &KindInfo) -> bool {
    kind.builtin
        && (matches!(
            kind.kind.as_str(),
            "Lease" | "Event" | "Endpoints" | "PriorityClass"
        ) || kind.group == "rbac.authorization.k8s.io")
}

/// Replaces an object by `incoming`, as far as the (sub)resource may change it.
pub(crate) fn update(
    store: &mut Store,
    ctx: &WriteContext<'_>,
    kind: &Arc<KindInfo>,
    namespace: &str,
    name: &str,
    mut incoming: Value,
    ownership: Ownership,
) -> ApiResult<Written> {
    match meta_str(&incoming, "name") {
        "" => {
            meta_mut(&mut incoming).insert("name".to_owned(), json!(name));
        }
        sent if sent != name => {
            return Err(ApiError::bad_request(format!(
                "the name of the object ({sent}) does not match the name on the URL ({name})"
            )));
        }
        _ => {}
    }
    place(kind, namespace, &mut incoming)?;
    let Some(stored) = store.get(kind, namespace, name) else {
        if !creates_on_update(kind) || !ctx.subresource.is_empty() {
            return Err(ApiError::not_found(kind, name));
        }
        let uid = meta_str(&incoming, "uid");
        if !uid.is_empty() {
            return Err(stale_uid(kind, namespace, name, uid, ""));
        }
        meta_mut(&mut incoming).remove("resourceVersion");
        return create(store, ctx, kind, namespace, incoming, ownership);
    };
    let old = stored.value();
    let uid = meta_str(&incoming, "uid");
    if !uid.is_empty() && uid != stored.uid {
        return Err(stale_uid(kind, namespace, name, uid, &stored.uid));
    }
    match meta_str(&incoming, "resourceVersion") {
        "" | "0" if needs_version(kind) => {
            return Err(unversioned(kind, name));
        }
        "" | "0" => {}
        version => {
            if version.parse::<u64>().is_err() {
                return Err(ApiError::new(
                    500,
                    "",
                    format!("strconv.ParseUint: parsing {version:?}: invalid syntax"),
                ));
            }
            if version.parse() != Ok(stored.rv) {
                return Err(ApiError::modified(kind, name));
            }
        }
    }
    let marked = meta_str(&incoming, "deletionTimestamp");
    if !marked.is_empty() && marked != meta_str(&old, "deletionTimestamp") {
        let path = "metadata.deletionTimestamp";
        let causes = [Cause::invalid(path, &json!(marked), "field is immutable")];
        return Err(ApiError::invalid(kind, name, &causes));
    }
    let mut new = isolate(ctx, kind, &old, incoming);
    restore_server_metadata(&old, &mut new, ownership);
    admit(ctx, kind, &mut new, Some(&old))?;
    if definitions::is_definition(kind) && !is_deleting(&old) {
        definitions::establish(&mut new, &ctx.time());
    }
    if counts_generation(kind) && wants_change(kind, &old, &new) {
        let next = generation(&old) + 1;
        meta_mut(&mut new).insert("generation".to_owned(), json!(next));
    }
    if ownership == Ownership::Tracked {
        // Who scales owns the count without a time.
        let time = match ctx.subresource {
            "scale" => String::new(),
            _ => ctx.time(),
        };
        track_update(kind, Some(&old), &mut new, &ctx.writer(&time));
    }
    let kinds = compiled(kind, &new)?;
    if new == old {
        return Ok(Written::new(200, old, None));
    }
    if ctx.dry_run {
        return Ok(Written::new(200, new, None));
    }
    if let Some(kinds) = kinds {
        definitions::register(&mut store.registry, &new, kinds);
    }
    if ends(kind, &new) {
        // Nothing is written but the removal of what was stored: watches see that, the writer
        // what it asked for, under the version before.
        let removed = remove(store, kind, old);
        return Ok(Written::new(200, new, Some(removed.rv)));
    }
    let stored = commit(store, kind, new);
    Ok(Written::new(200, stored.value(), Some(stored.rv)))
}

/// An update without the version that it is based on.
fn unversioned(kind: &KindInfo, name: &str) -> ApiError {
    let cause = |shown: &str| {
        Cause::new(
            "FieldValueInvalid",
            "metadata.resourceVersion",
            format!("Invalid value: {shown}: must be specified for an update"),
        )
    };
    let mut error = ApiError::invalid(kind, name, &[cause("0")]);
    // Objects are named by their resource here.
    let resource = kind.qualified_resource();
    error.message = error.message.replacen(&kind.qualified_kind(), &resource, 1);
    error.details["kind"] = json!(kind.plural);
    error
}

fn stale_uid(kind: &KindInfo, namespace: &str, name: &str, sent: &str, actual: &str) -> ApiError {
    ApiError::conflict(
        kind,
        name,
        &format!(
            "StorageError: invalid object, Code: 4, Key: /registry/{}/{}, ResourceVersion: 0, AdditionalErrorMsg: Precondition failed: UID in precondition: {sent}, UID in object meta: {actual}",
            kind.plural,
            key_of(namespace, name)
        ),
    )
}

/// What of `incoming` this (sub)resource may change; the rest is the old object's.
fn isolate(ctx: &WriteContext<'_>, kind: &KindInfo, old: &Value, incoming: Value) -> Value {
    let carry = |new: &mut Value, from: &Value, field: &str| {
        let map = crate::object::map_mut(new);
        match from.get(field) {
            Some(value) => map.insert(field.to_owned(), value.clone()),
            None => map.remove(field),
        };
    };
    match ctx.subresource {
        "status" => {
            let mut new = old.clone();
            carry(&mut new, &incoming, "status");
            if kind.builtin {
                carry(&mut new, &incoming, "metadata");
                let owners = at(old, &["metadata", "ownerReferences"]).cloned();
                match owners {
                    Some(owners) => {
                        meta_mut(&mut new).insert("ownerReferences".to_owned(), owners);
                    }
                    None => {
                        meta_mut(&mut new).remove("ownerReferences");
                    }
                }
            }
            // An apply has computed ownership on the whole object.
            if let Some(fields) = at(&incoming, &["metadata", "managedFields"]) {
                meta_mut(&mut new).insert("managedFields".to_owned(), fields.clone());
            }
            new
        }
        "finalize" => {
            let mut new = old.clone();
            carry(&mut new, &incoming, "spec");
            new
        }
        _ => {
            let mut new = incoming;
            if kind.status {
                carry(&mut new, old, "status");
            }
            new
        }
    }
}

/// Puts back what clients cannot change in metadata.
fn restore_server_metadata(old: &Value, new: &mut Value, ownership: Ownership) {
    let fields: &[&str] = match ownership {
        Ownership::Given => &[],
        Ownership::Tracked => &["managedFields"],
    };
    let emptied = at(new, &["metadata", "managedFields"])
        .and_then(Value::as_array)
        .is_some_and(|list| list.is_empty() || list.iter().all(|entry| *entry == json!({})));
    let old_meta = old.get("metadata").cloned().unwrap_or_default();
    let meta = meta_mut(new);
    for field in [
        "name",
        "namespace",
        "uid",
        "creationTimestamp",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
        "generation",
        "resourceVersion",
        "selfLink",
    ]
    .iter()
    .chain(fields)
    {
        if *field == "managedFields" && emptied {
            continue;
        }
        match old_meta.get(*field) {
            Some(value) => {
                meta.insert((*field).to_owned(), value.clone());
            }
            None => {
                meta.remove(*field);
            }
        }
    }
    if !meta.contains_key("generateName")
        && let Some(base) = old_meta.get("generateName")
    {
        meta.insert("generateName".to_owned(), base.clone());
    }
    for field in ["labels", "annotations", "finalizers", "ownerReferences"] {
        let empty = match meta.get(field) {
            Some(Value::Object(map)) => map.is_empty(),
            Some(Value::Array(list)) => list.is_empty(),
            Some(Value::Null) => true,
            _ => false,
        };
        if empty {
            meta.remove(field);
        }
    }
}

/// True when what is wanted changed: the spec of built-ins, everything but metadata (and an
/// isolated status) of custom resources.
fn wants_change(kind: &KindInfo, old: &Value, new: &Value) -> bool {
    if kind.builtin {
        let annotations = |object: &Value| at(object, &["metadata", "annotations"]).cloned();
        return old.get("spec") != new.get("spec")
            || kind.kind == "Deployment" && annotations(old) != annotations(new)
            || kind.group == "admissionregistration.k8s.io"
                && old.get("webhooks") != new.get("webhooks");
    }
    let wanted = |object: &Value| {
        let mut object = object.clone();
        if let Some(map) = object.as_object_mut() {
            map.remove("metadata");
            if kind.status {
                map.remove("status");
            }
        }
        object
    };
    wanted(old) != wanted(new)
}
