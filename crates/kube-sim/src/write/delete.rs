//! Deleting an object: at once, or marked while finalizers or a grace period keep it.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{
    Work, WriteContext, Written,
    commit::{commit, holds_namespace, remove},
};
use crate::{
    definitions,
    error::{ApiError, ApiResult, Cause},
    object::{at, finalizers, generation, meta_mut, meta_str, set_finalizers, str_at},
    registry::KindInfo,
    store::{Store, Stored},
};

/// Options of a delete.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct DeleteOptions {
    pub(crate) grace: Option<i64>,
    pub(crate) policy: Option<String>,
    pub(crate) uid: Option<String>,
    pub(crate) rv: Option<String>,
    pub(crate) dry_run: bool,
}

impl DeleteOptions {
    /// Reads a `DeleteOptions` body; null and absent fields are unset.
    pub(crate) fn from_body(body: &Value) -> ApiResult<Self> {
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let policy = match text(&body["propagationPolicy"]) {
            Some(policy) if !["Background", "Foreground", "Orphan"].contains(&policy.as_str()) => {
                let known = ["Foreground", "Background", "Orphan", "nil"];
                let cause = Cause::unsupported("propagationPolicy", &json!(policy), &known);
                return Err(ApiError::invalid_options("DeleteOptions", &[cause]));
            }
            Some(policy) if !body["orphanDependents"].is_null() => {
                let why = "orphanDependents and deletionPropagation cannot be both set";
                let cause = Cause::invalid("propagationPolicy", &json!(policy), why);
                return Err(ApiError::invalid_options("DeleteOptions", &[cause]));
            }
            None if body["orphanDependents"] == json!(true) => Some("Orphan".to_owned()),
            policy => policy,
        };
        Ok(Self {
            grace: body["gracePeriodSeconds"].as_i64(),
            policy,
            uid: text(&body["preconditions"]["uid"]),
            rv: text(&body["preconditions"]["resourceVersion"]),
            dry_run: body["dryRun"]
                .as_array()
                .is_some_and(|list| list.contains(&json!("All"))),
        })
    }
}

/// Refuses when a precondition does not hold.
fn check_preconditions(kind: &KindInfo, stored: &Stored, options: &DeleteOptions) -> ApiResult<()> {
    if let Some(uid) = &options.uid
        && *uid != stored.uid
    {
        return Err(ApiError::precondition(
            kind,
            &stored.name,
            &format!(
                "the UID in the precondition ({uid}) does not match the UID in record ({}). The object might have been deleted and then recreated",
                stored.uid
            ),
        ));
    }
    if let Some(rv) = &options.rv
        && *rv != stored.rv.to_string()
    {
        return Err(ApiError::precondition(
            kind,
            &stored.name,
            &format!(
                "the ResourceVersion in the precondition ({rv}) does not match the ResourceVersion in record ({}). The object might have been modified",
                stored.rv
            ),
        ));
    }
    Ok(())
}

/// Seconds a pod gets to stop: none when it runs nowhere.
fn pod_grace(pod: &Value, options: &DeleteOptions) -> i64 {
    let phase = str_at(pod, &["status", "phase"]);
    if str_at(pod, &["spec", "nodeName"]).is_empty() || phase == "Succeeded" || phase == "Failed" {
        return 0;
    }
    let wanted = options
        .grace
        .or_else(|| at(pod, &["spec", "terminationGracePeriodSeconds"])?.as_i64())
        .unwrap_or(30);
    // Negative values mean "at once", as Kubernetes treats them.
    if wanted < 0 { 1 } else { wanted }
}

/// Deletes an object, or marks it when finalizers or a grace period keep it.
pub(crate) fn delete(
    store: &mut Store,
    ctx: &WriteContext<'_>,
    kind: &Arc<KindInfo>,
    namespace: &str,
    name: &str,
    options: &DeleteOptions,
) -> ApiResult<Written> {
    let dry_run = ctx.dry_run || options.dry_run;
    let Some(stored) = store.get(kind, namespace, name) else {
        return Err(ApiError::not_found(kind, name));
    };
    let system = ["default", "kube-system", "kube-public"].contains(&name);
    if kind.group.is_empty() && kind.kind == "Namespace" && system {
        let why = "this namespace may not be deleted";
        return Err(ApiError::forbidden(kind, name, why));
    }
    check_preconditions(kind, &stored, options)?;
    let old = stored.value();
    let mut new = old.clone();
    let mut list = finalizers(&new);
    if let Some(policy) = options.policy.as_deref() {
        list.retain(|name| name != "foregroundDeletion" && name != "orphan");
        match policy {
            "Foreground" => list.push("foregroundDeletion".to_owned()),
            "Orphan" => list.push("orphan".to_owned()),
            _ => {}
        }
        set_finalizers(&mut new, &list);
    }
    let is_pod = kind.group.is_empty() && kind.kind == "Pod";
    let grace = if is_pod { pod_grace(&new, options) } else { 0 };
    let keeps = !list.is_empty() || grace > 0 || holds_namespace(kind, &new);
    if !keeps {
        if dry_run {
            return Ok(deleted(kind, is_pod, &old, None));
        }
        if is_pod {
            meta_mut(&mut new).insert("deletionGracePeriodSeconds".to_owned(), json!(0));
            if !stored.deleting {
                let next = generation(&new) + 1;
                meta_mut(&mut new).insert("generation".to_owned(), json!(next));
            }
            let time = ctx.time();
            meta_mut(&mut new)
                .entry("deletionTimestamp")
                .or_insert(json!(time));
        }
        let last = remove(store, kind, new);
        return Ok(deleted(kind, is_pod, &last.value(), Some(last.rv)));
    }
    let before = at(&old, &["metadata", "deletionGracePeriodSeconds"]).and_then(Value::as_i64);
    // Asking again can only shorten the time a pod has left.
    let mark = !stored.deleting
        || (is_pod && options.grace.is_some() && before.is_some_and(|before| grace < before));
    if mark {
        let at = ctx
            .now
            .saturating_add(jiff::SignedDuration::from_secs(grace))
            .unwrap_or(ctx.now);
        let next = generation(&new) + 1;
        let had_generation = generation(&new) > 0;
        let meta = meta_mut(&mut new);
        meta.insert(
            "deletionTimestamp".to_owned(),
            json!(crate::object::time(at)),
        );
        if !(kind.group.is_empty() && kind.kind == "Namespace") {
            meta.insert("deletionGracePeriodSeconds".to_owned(), json!(grace));
        }
        if had_generation && !stored.deleting {
            meta.insert("generation".to_owned(), json!(next));
        }
        if kind.group.is_empty() && kind.kind == "Namespace" {
            crate::object::set_at(&mut new, &["status", "phase"], json!("Terminating"));
        }
    }
    if dry_run || new == old {
        return Ok(Written::new(200, new, None));
    }
    let stored = commit(store, kind, new);
    if kind.group.is_empty() && kind.kind == "Namespace" {
        store.work.push(Work::Namespace(stored.name.clone()));
    }
    if definitions::is_definition(kind) {
        store.work.push(Work::Definition(stored.name.clone()));
    }
    Ok(Written::new(200, stored.value(), Some(stored.rv)))
}

/// The answer to a completed delete: the object of pods, a Status of everything else.
fn deleted(kind: &KindInfo, returns_object: bool, last: &Value, rv: Option<u64>) -> Written {
    if returns_object || kind.kind == "ServiceAccount" || kind.kind == "PersistentVolumeClaim" {
        return Written::new(200, last.clone(), rv);
    }
    let mut details = json!({
        "name": meta_str(last, "name"),
        "kind": kind.plural,
        "uid": meta_str(last, "uid"),
    });
    if !kind.group.is_empty() {
        details["group"] = json!(kind.group);
    }
    let status = json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details,
    });
    Written::new(200, status, rv)
}
