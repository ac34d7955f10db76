//! The patch types that compute a new object from the live one: JSON patch, merge patch and
//! strategic merge patch. Apply patch, which also decides ownership, is in `apply`.

mod strategic;

use json_patch::{AddOperation, PatchOperation};
use serde_json::Value;

use crate::{
    error::{ApiError, ApiResult},
    object::map_mut,
    registry::KindInfo,
};

/// A patch type by its content type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PatchType {
    Json,
    Merge,
    Strategic,
    Apply,
}

impl PatchType {
    pub(crate) fn parse(content_type: &str) -> ApiResult<Self> {
        match content_type.split(';').next().unwrap_or_default().trim() {
            "application/json-patch+json" => Ok(Self::Json),
            "application/merge-patch+json" => Ok(Self::Merge),
            "application/strategic-merge-patch+json" => Ok(Self::Strategic),
            "application/apply-patch+yaml" | "application/apply-patch+json" => Ok(Self::Apply),
            _ => {
                let mut refused = ApiError::unsupported_media("415: Unsupported Media Type");
                refused.details = serde_json::json!({});
                Err(refused)
            }
        }
    }
}

/// The live object with the patch applied.
pub(crate) fn apply(
    patch_type: PatchType,
    kind: &KindInfo,
    live: &Value,
    body: &[u8],
) -> ApiResult<Value> {
    let parse = |body: &[u8]| -> ApiResult<Value> {
        serde_json::from_slice(body).map_err(|error| undecodable(&error))
    };
    match patch_type {
        PatchType::Json => {
            let steps = parse(body)?;
            if !steps.is_array() {
                let why = "error decoding patch: json: cannot unmarshal object into Go value of type []handlers.jsonPatchOp";
                return Err(ApiError::bad_request(why));
            }
            let patch: json_patch::Patch =
                serde_json::from_value(steps).map_err(|_| unworkable())?;
            let mut object = live.clone();
            for operation in &patch.0 {
                let operation = [replacing(&object, operation)];
                json_patch::patch(&mut object, &operation).map_err(|_| unworkable())?;
            }
            Ok(object)
        }
        PatchType::Merge => {
            let patch = require_map(parse(body)?)?;
            let mut object = live.clone();
            merge(&mut object, &patch);
            Ok(object)
        }
        PatchType::Strategic if !kind.builtin => Err(ApiError::unsupported_media(
            "the body of the request was in an unknown format - accepted media types include: application/json-patch+json, application/merge-patch+json, application/apply-patch+yaml",
        )),
        PatchType::Strategic => {
            let patch = require_map(parse(body)?)?;
            let mut object = live.clone();
            strategic::merge(kind, &mut object, &patch)?;
            Ok(object)
        }
        PatchType::Apply => Err(ApiError::internal("apply patches have their own path")),
    }
}

fn undecodable(error: &serde_json::Error) -> ApiError {
    if error.is_eof() {
        ApiError::bad_request("error decoding patch: unexpected end of JSON input")
    } else {
        ApiError::bad_request(format!("error decoding patch: {error}"))
    }
}

/// 422 of a JSON patch that does not fit its object.
fn unworkable() -> ApiError {
    let mut refused = ApiError::new(
        422,
        "Invalid",
        "the server rejected our request due to an error in our request",
    );
    refused.details = serde_json::json!({});
    refused
}

/// The API server's library takes the replacing of a member that is not there for an adding.
fn replacing(object: &Value, operation: &PatchOperation) -> PatchOperation {
    match operation {
        PatchOperation::Replace(replace)
            if object.pointer(replace.path.as_str()).is_none()
                && parent(object, replace.path.as_str()).is_some_and(Value::is_object) =>
        {
            PatchOperation::Add(AddOperation {
                path: replace.path.clone(),
                value: replace.value.clone(),
            })
        }
        other => other.clone(),
    }
}

fn parent<'a>(object: &'a Value, path: &str) -> Option<&'a Value> {
    object.pointer(path.rsplit_once('/')?.0)
}

fn require_map(patch: Value) -> ApiResult<Value> {
    if patch.is_object() {
        Ok(patch)
    } else {
        Err(ApiError::bad_request(
            "error decoding patch: json: cannot unmarshal array into Go value of type map[string]interface {}",
        ))
    }
}

/// RFC 7386.
pub(crate) fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(fields) = patch else {
        *target = patch.clone();
        return;
    };
    let target = map_mut(target);
    for (key, value) in fields {
        if value.is_null() {
            target.remove(key);
        } else {
            merge(target.entry(key.clone()).or_insert(Value::Null), value);
        }
    }
}
