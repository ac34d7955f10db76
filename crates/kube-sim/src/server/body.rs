//! What a request carries: its body in the form it is stored in, and the options of a write.

use bytes::Bytes;
use http::{Request, header};
use serde_json::{Value, json};

use crate::{
    error::{ApiError, ApiResult, Cause},
    event_view,
    registry::KindInfo,
    request::RequestInfo,
    typed,
    write::{self, DeleteOptions},
};

/// A body in the form it is stored in, checked to be of the URL's kind, and what to warn of.
pub(super) fn incoming(
    kind: &KindInfo,
    info: &RequestInfo,
    request: &Request<Bytes>,
    lenient: bool,
) -> ApiResult<(Value, Vec<String>)> {
    let body = parse_body(&kind.kind, request)?;
    if !kind.builtin && body["kind"].as_str().unwrap_or_default().is_empty() {
        return Err(ApiError::bad_request(format!(
            "the object provided is unrecognized (must be of type {}): Object 'Kind' is missing in '{body}' ({})",
            kind.kind,
            snippet(request.body())
        )));
    }
    let twice = typed::repeated(request.body());
    decoded(kind, info, body, twice, lenient)
}

/// A body after typed decoding; unknown and repeated fields are refused, warned of or ignored.
pub(super) fn decoded(
    kind: &KindInfo,
    info: &RequestInfo,
    mut body: Value,
    twice: Vec<String>,
    lenient: bool,
) -> ApiResult<(Value, Vec<String>)> {
    write::check_type(kind, &mut body)?;
    let refuse = |why: String| {
        ApiError::bad_request(format!(
            "{0} in version {1:?} cannot be handled as a {0}: {why}",
            kind.kind, kind.version
        ))
    };
    let mut unknown = typed::decode(kind, &mut body, lenient).map_err(refuse)?;
    if let Some(schema) = &kind.schema {
        let mut pruned: Vec<String> = schema
            .prune(&mut body)
            .iter()
            .map(|path| path.trim_start_matches('.').to_owned())
            .collect();
        pruned.sort();
        unknown.extend(pruned);
    }
    let twice = twice
        .into_iter()
        .map(|path| format!("duplicate field \"{path}\""));
    let unknown = unknown
        .into_iter()
        .map(|path| format!("unknown field \"{path}\""));
    let mut found: Vec<String> = twice.chain(unknown).collect();
    match info.param("fieldValidation") {
        "Ignore" => found.clear(),
        "Strict" if !found.is_empty() => {
            return Err(refuse(format!(
                "strict decoding error: {}",
                found.join(", ")
            )));
        }
        _ => {}
    }
    let body = if event_view::is_view(kind) {
        event_view::to_core(body)
    } else {
        body
    };
    Ok((body, found))
}

/// What a patch makes cannot be decoded: an error of the patch.
pub(super) fn refused_patch(error: &ApiError, patched: &Value) -> ApiError {
    let why = error
        .message
        .split_once(" cannot be handled as a ")
        .and_then(|(_, rest)| rest.split_once(": "))
        .map_or(error.message.as_str(), |(_, why)| why);
    let cause = Cause::invalid("patch", &json!(patched.to_string()), why);
    let mut refused = ApiError::new(
        422,
        "Invalid",
        format!(" \"\" is invalid: patch: {}", cause.message),
    );
    refused.details = json!({"causes": [cause.to_json()]});
    refused
}

pub(crate) fn header_text<'a>(request: &'a Request<Bytes>, name: &header::HeaderName) -> &'a str {
    request
        .headers()
        .get(name)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default()
}

/// The body as JSON, or as YAML where the content type says so.
pub(super) fn parse_body(kind: &str, request: &Request<Bytes>) -> ApiResult<Value> {
    let content_type = header_text(request, &header::CONTENT_TYPE);
    if content_type.contains("protobuf") {
        return crate::protobuf::decode(request.body())
            .map_err(|error| ApiError::unsupported_media(error.to_string()));
    }
    let wrong = |why: &str| {
        ApiError::bad_request(format!(
            "the object provided is unrecognized (must be of type {kind}): couldn't get version/kind; json parse error: {why} ({})",
            snippet(request.body())
        ))
    };
    match serde_json::from_slice::<Value>(request.body()) {
        Ok(value) if value.is_object() => Ok(value),
        Ok(_) => Err(wrong("json: cannot unmarshal into Go value of type struct")),
        Err(_) if content_type.contains("yaml") => {
            let text = String::from_utf8_lossy(request.body());
            serde_saphyr::from_str(&text)
                .map_err(|error| ApiError::bad_request(format!("error decoding YAML: {error}")))
        }
        Err(_) if request.body().is_empty() => Err(wrong("unexpected end of JSON input")),
        Err(error) => Err(wrong(&error.to_string())),
    }
}

/// The configuration of an apply: YAML, whose repeated keys the last one wins.
pub(super) fn parse_applied(kind: &KindInfo, request: &Request<Bytes>) -> ApiResult<Value> {
    if header_text(request, &header::CONTENT_TYPE).contains("protobuf") {
        return parse_body(&kind.kind, request);
    }
    if let Ok(value) = serde_json::from_slice(request.body()) {
        return Ok(value);
    }
    let text = String::from_utf8_lossy(request.body());
    let mut options = serde_saphyr::Options::default();
    options.duplicate_keys = serde_saphyr::options::DuplicateKeyPolicy::LastWins;
    serde_saphyr::from_str_with_options(&text, options)
        .map_err(|error| ApiError::bad_request(format!("error decoding YAML: {error}")))
}

/// The beginning of a body, as errors quote it.
pub(super) fn snippet(body: &[u8]) -> String {
    const QUOTED: usize = 30;
    let text = String::from_utf8_lossy(body);
    match text.char_indices().nth(QUOTED) {
        _ if text.is_empty() => "<empty>".to_owned(),
        Some((at, _)) => format!("{} ...", &text[..at]),
        None => text.into_owned(),
    }
}

/// The options of a write that stand in its query.
pub(super) fn check_options(info: &RequestInfo, request: &Request<Bytes>) -> ApiResult<()> {
    let kind = match info.verb {
        "create" => "CreateOptions",
        "update" => "UpdateOptions",
        "patch" => "PatchOptions",
        _ => "DeleteOptions",
    };
    let mut causes = Vec::new();
    let apply = header_text(request, &header::CONTENT_TYPE).contains("apply-patch");
    if kind == "PatchOptions" && info.flag("force") && !apply {
        let why = "may not be specified for non-apply patch";
        causes.push(Cause::forbidden("force", why));
    }
    if info.param("fieldManager").len() > 128 {
        causes.push(Cause::new(
            "FieldValueTooLong",
            "fieldManager",
            "Too long: may not be more than 128 bytes",
        ));
    }
    let dry_run = info.param("dryRun");
    if !matches!(dry_run, "" | "All") {
        causes.push(Cause::unsupported("dryRun", &json!([dry_run]), &["All"]));
    }
    let validation = info.param("fieldValidation");
    if !matches!(validation, "" | "Ignore" | "Strict" | "Warn") {
        let known = ["", "Ignore", "Strict", "Warn"];
        causes.push(Cause::unsupported(
            "fieldValidation",
            &json!(validation),
            &known,
        ));
    }
    if causes.is_empty() {
        Ok(())
    } else {
        Err(ApiError::invalid_options(kind, &causes))
    }
}

pub(super) fn delete_options(
    info: &RequestInfo,
    request: &Request<Bytes>,
) -> ApiResult<DeleteOptions> {
    let mut body = if request.body().is_empty() {
        json!({})
    } else {
        parse_body("DeleteOptions", request)?
    };
    if let Ok(grace) = info.param("gracePeriodSeconds").parse::<i64>() {
        body["gracePeriodSeconds"] = json!(grace);
    }
    if !info.param("propagationPolicy").is_empty() {
        body["propagationPolicy"] = json!(info.param("propagationPolicy"));
    }
    if info.flag("orphanDependents") {
        body["orphanDependents"] = json!(true);
    }
    DeleteOptions::from_body(&body)
}
