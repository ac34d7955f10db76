//! The subresources with rules of their own: pod eviction and binding, and scale.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::{
    apply::{Writer, track_update},
    error::{ApiError, ApiResult},
    object::{at, is_deleting, meta_mut, meta_str, set_at, str_at},
    registry::{KindInfo, ScalePaths},
    selector::LabelSelector,
    store::{Store, Stored},
    write::{DeleteOptions, WriteContext, Written, commit, delete},
};

fn success(code: u16) -> Value {
    json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": code})
}

/// Evicts a pod if its disruption budget allows.
///
/// Rules of the eviction REST storage: pods that do not run yet or any more bypass budgets; more
/// than one budget is a server error; an unready pod follows `unhealthyPodEvictionPolicy`.
pub(crate) fn evict(
    store: &mut Store,
    ctx: &WriteContext<'_>,
    kind: &Arc<KindInfo>,
    namespace: &str,
    name: &str,
    body: &Value,
) -> ApiResult<Written> {
    let sent = meta_str(body, "name");
    if !sent.is_empty() && sent != name {
        return Err(ApiError::bad_request(
            "name in URL does not match name in Eviction object",
        ));
    }
    let mut options = DeleteOptions::from_body(&body["deleteOptions"])?;
    options.dry_run |= ctx.dry_run;
    let stored = store
        .get(kind, namespace, name)
        .ok_or_else(|| ApiError::not_found(kind, name))?;
    let pod = stored.value();
    let phase = str_at(&pod, &["status", "phase"]);
    let bypass = matches!(phase, "Pending" | "Succeeded" | "Failed") || stored.deleting;
    // A budget is spent before preconditions are looked at, as the server does it.
    if !bypass {
        spend_budget(store, ctx, &stored, &pod, options.dry_run)?;
    }
    let deleted = delete(store, ctx, kind, namespace, name, &options)?;
    Ok(Written {
        code: 201,
        object: success(201),
        ..deleted
    })
}

/// Takes one disruption from the pod's budget, or refuses.
fn spend_budget(
    store: &mut Store,
    ctx: &WriteContext<'_>,
    stored: &Stored,
    pod: &Value,
    dry_run: bool,
) -> ApiResult<()> {
    let Some(kind) = store
        .registry
        .get("policy", "v1", "poddisruptionbudgets")
        .cloned()
    else {
        return Ok(());
    };
    let budgets: Vec<Value> = store
        .resources
        .get(&kind.storage)
        .into_iter()
        .flat_map(|resource| resource.objects.values())
        .filter(|budget| budget.namespace == stored.namespace)
        .map(|budget| budget.value())
        .filter(|budget| {
            // A missing selector selects nothing, an empty one everything (policy/v1).
            at(budget, &["spec", "selector"]).is_some_and(|selector| {
                !selector.is_null() && LabelSelector::from_object(selector).matches(&stored.labels)
            })
        })
        .collect();
    let before = budgets.first().cloned().unwrap_or_default();
    let mut budget = match budgets.as_slice() {
        [] => return Ok(()),
        [one] => one.clone(),
        _ => {
            return Err(ApiError::new(
                500,
                "",
                "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support.",
            ));
        }
    };
    let number = |field: &str| {
        at(&budget, &["status", field])
            .and_then(Value::as_i64)
            .unwrap_or_default()
    };
    let (allowed, healthy, desired) = (
        number("disruptionsAllowed"),
        number("currentHealthy"),
        number("desiredHealthy"),
    );
    if !is_ready(pod) {
        let always = str_at(&budget, &["spec", "unhealthyPodEvictionPolicy"]) == "AlwaysAllow";
        if always || (healthy >= desired && desired > 0) {
            return Ok(());
        }
    }
    let name = meta_str(&budget, "name").to_owned();
    if number("observedGeneration") < crate::object::generation(&budget) {
        let why = format!("The disruption budget {name} is still being processed by the server.");
        return Err(too_many(&why, Some(10)));
    }
    if allowed < 0 {
        return Err(ApiError::forbidden(
            &kind,
            &name,
            "pdb disruptions allowed is negative",
        ));
    }
    let disrupted = at(&budget, &["status", "disruptedPods"])
        .and_then(Value::as_object)
        .map_or(0, serde_json::Map::len);
    if disrupted > 2000 {
        return Err(ApiError::forbidden(
            &kind,
            &name,
            "DisruptedPods map too big - too many evictions not confirmed by PDB controller",
        ));
    }
    if allowed == 0 {
        let why = if healthy > desired {
            format!("The disruption budget {name} does not allow evicting pods currently")
        } else {
            format!(
                "The disruption budget {name} needs {desired} healthy pods and has {healthy} currently"
            )
        };
        return Err(too_many(&why, None));
    }
    if dry_run {
        return Ok(());
    }
    let time = crate::object::time(ctx.now);
    set_at(
        &mut budget,
        &["status", "disruptionsAllowed"],
        json!(allowed - 1),
    );
    set_at(
        &mut budget,
        &["status", "disruptedPods", stored.name.as_str()],
        json!(time),
    );
    let generation = crate::object::generation(&budget);
    if allowed == 1 {
        for condition in budget["status"]["conditions"]
            .as_array_mut()
            .into_iter()
            .flatten()
        {
            if condition["type"] == "DisruptionAllowed" {
                condition["status"] = json!("False");
                condition["reason"] = json!("InsufficientPods");
                condition["lastTransitionTime"] = json!(time);
                condition["observedGeneration"] = json!(generation);
            }
        }
    }
    let writer = Writer {
        manager: "kube-apiserver",
        subresource: "status",
        time: &time,
    };
    track_update(&kind, Some(&before), &mut budget, &writer);
    commit(store, &kind, budget);
    Ok(())
}

fn too_many(why: &str, retry_after: Option<u64>) -> ApiError {
    let mut error = ApiError::new(
        429,
        "TooManyRequests",
        "Cannot evict pod as it would violate the pod's disruption budget.",
    );
    error.details = json!({"causes": [{"reason": "DisruptionBudget", "message": why}]});
    if let Some(seconds) = retry_after {
        error.details["retryAfterSeconds"] = json!(seconds);
    }
    error
}

fn is_ready(pod: &Value) -> bool {
    at(pod, &["status", "conditions"])
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .any(|condition| condition["type"] == "Ready" && condition["status"] == "True")
}

/// Binds a pod to the node that the Binding's target names.
pub(crate) fn bind(
    store: &mut Store,
    ctx: &WriteContext<'_>,
    kind: &Arc<KindInfo>,
    namespace: &str,
    name: &str,
    body: &Value,
) -> ApiResult<Written> {
    let stored = store
        .get(kind, namespace, name)
        .ok_or_else(|| ApiError::not_found(kind, name))?;
    let sent = meta_str(body, "name");
    if !sent.is_empty() && sent != name {
        return Err(ApiError::bad_request(
            "name in URL does not match name in Binding object",
        ));
    }
    let node = str_at(body, &["target", "name"]);
    let target_kind = str_at(body, &["target", "kind"]);
    if !matches!(target_kind, "" | "Node") {
        let why = format!(
            "target.kind: Unsupported value: {target_kind:?}: supported values: \"Node\", \"<empty>\""
        );
        return Err(ApiError::new(500, "", why));
    }
    if node.is_empty() {
        return Err(ApiError::new(500, "", "target.name: Required value"));
    }
    let uid = meta_str(body, "uid");
    if !uid.is_empty() && uid != stored.uid {
        return Err(ApiError::conflict(
            kind,
            name,
            &format!(
                "StorageError: invalid object, Code: 4, Key: /registry/pods/{namespace}/{name}, ResourceVersion: 0, AdditionalErrorMsg: Precondition failed: UID in precondition: {uid}, UID in object meta: {}",
                stored.uid
            ),
        ));
    }
    let mut pod = stored.value();
    let refuse = |why: String| {
        let mut error = ApiError::conflict(kind, name, &why);
        error.message = format!("Operation cannot be fulfilled on pods/binding {name:?}: {why}");
        error.details["kind"] = json!("pods/binding");
        Err(error)
    };
    if is_deleting(&pod) {
        return refuse(format!(
            "pod {name} is being deleted, cannot be assigned to a host"
        ));
    }
    let bound = str_at(&pod, &["spec", "nodeName"]);
    if !bound.is_empty() {
        return refuse(format!("pod {name} is already assigned to node {bound:?}"));
    }
    let gated = at(&pod, &["spec", "schedulingGates"])
        .and_then(Value::as_array)
        .is_some_and(|gates| !gates.is_empty());
    if gated {
        return refuse(format!("pod {name} has non-empty .spec.schedulingGates"));
    }
    set_at(&mut pod, &["spec", "nodeName"], json!(node));
    if let Some(annotations) = at(body, &["metadata", "annotations"]).and_then(Value::as_object) {
        let own = crate::object::child_mut(meta_mut(&mut pod), "annotations");
        for (key, value) in annotations {
            own.insert(key.clone(), value.clone());
        }
    }
    let status = crate::object::child_mut(crate::object::map_mut(&mut pod), "status");
    status.remove("nominatedNodeName");
    let conditions = status.entry("conditions").or_insert_with(|| json!([]));
    let scheduled = json!({
        "type": "PodScheduled", "status": "True", "lastProbeTime": null,
        "lastTransitionTime": crate::object::time(ctx.now),
    });
    if let Value::Array(list) = conditions {
        list.retain(|condition| condition["type"] != "PodScheduled");
        list.push(scheduled);
    }
    if ctx.dry_run {
        return Ok(Written {
            code: 201,
            object: success(201),
            rv: None,
            warnings: Vec::new(),
        });
    }
    let stored = commit(store, kind, pod);
    Ok(Written {
        code: 201,
        object: success(201),
        rv: Some(stored.rv),
        warnings: Vec::new(),
    })
}

/// The `autoscaling/v1` Scale of an object.
pub(crate) fn scale_of(paths: &ScalePaths, object: &Value) -> Value {
    let count = |path: &[String]| {
        let names: Vec<&str> = path.iter().map(String::as_str).collect();
        at(object, &names)
            .and_then(Value::as_i64)
            .unwrap_or_default()
    };
    let selector = paths.selector.as_ref().map(|path| {
        let names: Vec<&str> = path.iter().map(String::as_str).collect();
        match at(object, &names) {
            Some(Value::String(text)) => text.clone(),
            Some(selector) => selector_text(selector),
            None => String::new(),
        }
    });
    let mut metadata = json!({});
    for field in [
        "name",
        "namespace",
        "uid",
        "resourceVersion",
        "creationTimestamp",
    ] {
        let value = meta_str(object, field);
        if !value.is_empty() {
            metadata[field] = json!(value);
        }
    }
    let mut scale = json!({
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": metadata,
        "spec": {"replicas": count(&paths.spec_replicas)},
        "status": {"replicas": count(&paths.status_replicas)},
    });
    if let Some(selector) = selector.filter(|text| !text.is_empty()) {
        scale["status"]["selector"] = json!(selector);
    }
    scale
}

/// A label selector object in its query form.
fn selector_text(selector: &Value) -> String {
    let mut parts: Vec<String> = selector["matchLabels"]
        .as_object()
        .into_iter()
        .flatten()
        .map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default()))
        .collect();
    for item in selector["matchExpressions"]
        .as_array()
        .into_iter()
        .flatten()
    {
        let key = item["key"].as_str().unwrap_or_default();
        let values: Vec<&str> = item["values"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .collect();
        parts.push(match item["operator"].as_str().unwrap_or_default() {
            "In" => format!("{key} in ({})", values.join(",")),
            "NotIn" => format!("{key} notin ({})", values.join(",")),
            "DoesNotExist" => format!("!{key}"),
            _ => key.to_owned(),
        });
    }
    parts.join(",")
}

/// The parent object with the replicas of a changed Scale.
pub(crate) fn with_scale(paths: &ScalePaths, parent: &Value, scale: &Value) -> ApiResult<Value> {
    let replicas = at(scale, &["spec", "replicas"])
        .and_then(Value::as_i64)
        .unwrap_or_default();
    if replicas < 0 {
        let mut error = ApiError::new(
            422,
            "Invalid",
            format!(
                "Scale.autoscaling {:?} is invalid: spec.replicas: Invalid value: {replicas}: must be greater than or equal to 0",
                meta_str(scale, "name")
            ),
        );
        error.details = json!({"name": meta_str(scale, "name"), "group": "autoscaling", "kind": "Scale", "causes": [{
            "reason": "FieldValueInvalid",
            "message": format!("Invalid value: {replicas}: must be greater than or equal to 0"),
            "field": "spec.replicas",
        }]});
        return Err(error);
    }
    let mut object = parent.clone();
    set_at(&mut object, &paths.spec_replicas, json!(replicas));
    let meta = meta_mut(&mut object);
    match meta_str(scale, "resourceVersion") {
        "" => {}
        version => {
            meta.insert("resourceVersion".to_owned(), json!(version));
        }
    }
    Ok(object)
}
