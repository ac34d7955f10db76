//! What is asked of every object that is to be stored: that it is of the kind and in the namespace
//! of its URL, and passes the rules of its kind.

use serde_json::{Value, json};

use super::WriteContext;
use crate::{
    defaults, definitions,
    error::{ApiError, ApiResult, Cause},
    event_view,
    object::{at, drop_nulls, meta_mut, meta_str},
    registry::KindInfo,
    typed, validate,
};

/// Checks that a body is of the kind that the URL names and fills the two fields when absent.
pub(crate) fn check_type(kind: &KindInfo, object: &mut Value) -> ApiResult<()> {
    if !object.is_object() {
        return Err(ApiError::bad_request(
            "the object provided is unrecognized (must be of type map)",
        ));
    }
    let api_version = kind.api_version();
    let version = object["apiVersion"].as_str().unwrap_or_default().to_owned();
    let sent = object["kind"].as_str().unwrap_or_default().to_owned();
    let other_version = !version.is_empty() && version != api_version;
    let other_kind = !sent.is_empty() && sent != kind.kind;
    if kind.builtin && (other_version || other_kind) {
        return Err(other_type(&version, &sent, &api_version, &kind.kind));
    }
    if other_version {
        return Err(ApiError::bad_request(format!(
            "the API version in the data ({version}) does not match the expected API version ({api_version})"
        )));
    }
    if other_kind {
        let why = format!("must be {}", kind.kind);
        let causes = [Cause::invalid("kind", &json!(sent), &why)];
        let mut error = ApiError::invalid(kind, meta_str(object, "name"), &causes);
        error.message = error.message.replacen(&kind.kind, &sent, 1);
        error.details["kind"] = json!(sent);
        return Err(error);
    }
    object["apiVersion"] = json!(api_version);
    object["kind"] = json!(kind.kind);
    if !object
        .get("metadata")
        .is_none_or(|meta| meta.is_object() || meta.is_null())
    {
        return Err(ApiError::bad_request("metadata must be an object"));
    }
    meta_mut(object);
    Ok(())
}

fn other_type(version: &str, kind: &str, wanted_version: &str, wanted: &str) -> ApiError {
    let version = if version.is_empty() {
        wanted_version
    } else {
        version
    };
    let kind = if kind.is_empty() { wanted } else { kind };
    let short = version.rsplit('/').next().unwrap_or(version);
    ApiError::bad_request(format!(
        "{kind} in version {short:?} cannot be handled as a {wanted}: no kind {kind:?} is registered for version {version:?} in scheme \"pkg/runtime/scheme.go:111\""
    ))
}

/// A body that must be of a kind which is not the URL's own, such as an Eviction.
pub(crate) fn of_kind(api_version: &str, kind: &str, body: Value) -> ApiResult<Value> {
    let version = body["apiVersion"].as_str().unwrap_or_default();
    let sent = body["kind"].as_str().unwrap_or_default();
    if !matches!(sent, "") && sent != kind {
        return Err(other_type(version, sent, api_version, kind));
    }
    Ok(body)
}

/// Puts the object into the namespace of the URL, refusing a contradiction.
pub(super) fn place(kind: &KindInfo, namespace: &str, body: &mut Value) -> ApiResult<()> {
    let sent = meta_str(body, "namespace");
    if !kind.namespaced {
        if !sent.is_empty() {
            meta_mut(body).remove("namespace");
        }
        return Ok(());
    }
    if namespace.is_empty() {
        return Err(ApiError::bad_request(
            "an empty namespace may not be set during creation",
        ));
    }
    if !sent.is_empty() && sent != namespace {
        return Err(ApiError::bad_request(
            "the namespace of the provided object does not match the namespace sent on the request",
        ));
    }
    meta_mut(body).insert("namespace".to_owned(), json!(namespace));
    Ok(())
}

/// Prunes, defaults and validates; refuses with every cause at once.
pub(super) fn admit(
    ctx: &WriteContext<'_>,
    kind: &KindInfo,
    object: &mut Value,
    old: Option<&Value>,
) -> ApiResult<()> {
    if kind.builtin {
        drop_nulls(object);
        if kind.kind == "Secret" {
            encode_string_data(object);
        }
        if definitions::is_definition(kind) {
            definitions::default(object);
        }
        defaults::fill(kind, object);
        typed::fill_always(kind, object);
    }
    let mut causes = validate::check(kind, object, old, ctx.lenient);
    if let Some(schema) = &kind.schema {
        schema.prune(object);
        schema.default(object);
        causes.extend(schema.validate(object, old));
        if let Some(paths) = &kind.scale {
            let names: Vec<&str> = paths.spec_replicas.iter().map(String::as_str).collect();
            if let Some(count) =
                at(object, &names).filter(|it| it.as_i64().is_some_and(|it| it < 0))
            {
                let path = format!(".{}", names.join("."));
                causes.push(Cause::invalid(
                    path,
                    count,
                    "should be a non-negative integer",
                ));
            }
        }
    }
    if causes.is_empty() {
        Ok(())
    } else {
        let mut error = ApiError::invalid(kind, meta_str(object, "name"), &causes);
        if event_view::is_view(kind) {
            // An event is wrong as what it is stored as.
            error.message = error.message.replacen(".events.k8s.io", "", 1);
            if let Some(details) = error.details.as_object_mut() {
                details.remove("group");
            }
        }
        Err(error)
    }
}

fn encode_string_data(secret: &mut Value) {
    use base64::Engine as _;
    let Some(Value::Object(plain)) = crate::object::map_mut(secret).remove("stringData") else {
        return;
    };
    let data = crate::object::child_mut(crate::object::map_mut(secret), "data");
    for (key, value) in plain {
        let text = value.as_str().unwrap_or_default();
        let encoded = base64::engine::general_purpose::STANDARD.encode(text);
        data.insert(key, json!(encoded));
    }
}

/// The kinds of a CRD about to be stored; `None` for every other object.
pub(super) fn compiled(kind: &KindInfo, object: &Value) -> ApiResult<Option<Vec<KindInfo>>> {
    if !definitions::is_definition(kind) {
        return Ok(None);
    }
    definitions::kinds(object)
        .map(Some)
        .map_err(|causes| ApiError::invalid(kind, meta_str(object, "name"), &causes))
}
