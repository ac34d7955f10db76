//! Reads: one object, a page of a list, a watch; what selects them, and where a paged list goes on.

use std::{
    sync::{Arc, atomic::AtomicBool},
    time::Duration,
};

use serde_json::{Value, json};

use super::{Answer, Server};
use crate::{
    body::SimBody,
    error::{ApiError, ApiResult, Cause},
    faults::Verdict,
    registry::KindInfo,
    represent::{Form, ListMeta, view},
    request::RequestInfo,
    selector::{FieldSelector, LabelSelector},
    store::Selection,
    subresource,
    watch::{Start, Watch},
};

impl Server {
    pub(super) fn get(
        &self,
        info: &RequestInfo,
        kind: &Arc<KindInfo>,
        form: Form,
        verdict: &Verdict,
    ) -> ApiResult<Answer> {
        let asked = parse_version(info.param("resourceVersion")).map_err(|mut error| {
            error.message = format!("invalid resource version: {}", error.message);
            error
        })?;
        let stored = {
            let store = self.lock();
            if let Some(rv) = asked.filter(|rv| *rv > store.rv) {
                return Err(ApiError::too_large(rv, store.rv));
            }
            if verdict.stale > 0 {
                let rv = store.rv.saturating_sub(verdict.stale);
                let selection = Selection {
                    namespace: info.namespace.clone(),
                    fields: FieldSelector::parse(
                        &format!("metadata.name={}", info.name),
                        kind,
                        kind,
                    )?,
                    ..Selection::default()
                };
                store
                    .page(&kind.storage, &selection, rv, None, 1)
                    .and_then(|page| page.items.first().cloned())
            } else {
                store.get(kind, &info.namespace, &info.name)
            }
        };
        let stored = stored.ok_or_else(|| ApiError::not_found(kind, &info.name))?;
        let object = view(kind, &stored);
        let value = match (&kind.scale, info.subresource.as_str()) {
            (Some(paths), "scale") => subresource::scale_of(paths, &object),
            _ => form.single(kind, object, self.clock.now()),
        };
        Ok(Answer::Object {
            code: 200,
            value,
            rv: None,
            name: None,
            warnings: Vec::new(),
        })
    }

    pub(super) fn selection(
        &self,
        info: &RequestInfo,
        kind: &Arc<KindInfo>,
    ) -> ApiResult<Selection> {
        let stored_as = self.lock().storage_kind(kind);
        Ok(Selection {
            namespace: info.namespace.clone(),
            labels: LabelSelector::parse(info.param("labelSelector"))?,
            fields: FieldSelector::parse(info.param("fieldSelector"), kind, &stored_as)?,
        })
    }

    pub(super) fn list(
        &self,
        info: &RequestInfo,
        kind: &Arc<KindInfo>,
        form: Form,
        verdict: &Verdict,
    ) -> ApiResult<Answer> {
        let selection = self.selection(info, kind)?;
        let limit = match info.param("limit") {
            "" | "0" => usize::MAX,
            text => match text.parse::<i64>() {
                Ok(limit) => usize::try_from(limit).unwrap_or(usize::MAX),
                Err(_) => {
                    return Err(ApiError::bad_request(format!(
                        "strconv.ParseInt: parsing {text:?}: invalid syntax"
                    )));
                }
            },
        };
        if !info.param("sendInitialEvents").is_empty() {
            return Err(ApiError::invalid_options(
                "ListOptions",
                &[Cause::forbidden(
                    "sendInitialEvents",
                    "sendInitialEvents is forbidden for list",
                )],
            ));
        }
        let store = self.lock();
        let token = match info.param("continue") {
            "" => None,
            text => Some(ContinueToken::decode(text)?),
        };
        let matching = info.param("resourceVersionMatch");
        if !matching.is_empty() {
            check_match(info, token.is_some())?;
        }
        let asked = parse_version(info.param("resourceVersion")).map_err(|mut error| {
            error.message = format!("invalid resource version: {}", error.message);
            error
        })?;
        if token.is_some() && asked.is_some_and(|rv| rv > 0) {
            return Err(ApiError::bad_request(
                "specifying resource version is not allowed when using continue",
            ));
        }
        let rv = match &token {
            Some(token) if token.rv == 0 => store.rv,
            Some(token) => token.rv,
            None if verdict.stale > 0 => store.rv.saturating_sub(verdict.stale),
            None => match asked {
                Some(rv) if rv > store.rv => return Err(ApiError::too_large(rv, store.rv)),
                Some(rv) if matching == "Exact" => rv,
                _ => store.rv,
            },
        };
        let start = token.as_ref().map(|token| token.last.as_str());
        let Some(page) = store.page(&kind.storage, &selection, rv, start, limit) else {
            return Err(match &token {
                None => ApiError::expired(format!(
                    "The resourceVersion for the provided list is too old: {rv}"
                )),
                Some(token) => {
                    let mut error = ApiError::expired(
                        "The provided continue parameter is too old to display a consistent list result. You can start a new list without the continue parameter, or use the continue token in this response to retrieve the remainder of the results. Continuing with the provided token results in an inconsistent list - objects that were created, modified, or deleted between the time the first chunk was returned and now may show up in the list.",
                    );
                    error.continue_token = Some(
                        ContinueToken {
                            rv: 0,
                            last: token.last.clone(),
                            remaining: None,
                        }
                        .encode(),
                    );
                    error
                }
            });
        };
        let mut meta = ListMeta {
            rv,
            ..ListMeta::default()
        };
        if let Some(last) = page.last {
            // Kubernetes counts the rest only when no selector hides some of it.
            let remaining = if selection.is_selective() {
                None
            } else {
                match &token {
                    Some(ContinueToken {
                        remaining: Some(rest),
                        rv,
                        ..
                    }) if *rv > 0 => Some(rest.saturating_sub(page.items.len())),
                    _ => store
                        .page(&kind.storage, &selection, rv, Some(&last), usize::MAX)
                        .map(|rest| rest.items.len()),
                }
            };
            meta.remaining = remaining;
            meta.continue_token = Some(
                ContinueToken {
                    rv,
                    last,
                    remaining,
                }
                .encode(),
            );
        }
        drop(store);
        let items = page.items.iter().map(AsRef::as_ref);
        Ok(Answer::Bytes(form.list(
            kind,
            items,
            &meta,
            self.clock.now(),
        )))
    }

    pub(super) fn watch(
        self: &Arc<Self>,
        actor: &str,
        info: &RequestInfo,
        kind: &Arc<KindInfo>,
        form: Form,
        verdict: &Verdict,
    ) -> ApiResult<Answer> {
        let selection = self.selection(info, kind)?;
        let asked = parse_version(info.param("resourceVersion"))
            .map_err(|error| ApiError::new(500, "", error.message))?;
        let send_initial = info.param("sendInitialEvents");
        let bookmarks = info.flag("allowWatchBookmarks") && !verdict.no_bookmarks;
        if send_initial.is_empty() && !info.param("resourceVersionMatch").is_empty() {
            return Err(ApiError::invalid_options(
                "ListOptions",
                &[Cause::forbidden(
                    "resourceVersionMatch",
                    "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided",
                )],
            ));
        }
        if !send_initial.is_empty() && info.param("resourceVersionMatch") != "NotOlderThan" {
            return Err(ApiError::invalid_options(
                "ListOptions",
                &[Cause::forbidden(
                    "resourceVersionMatch",
                    "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan",
                )],
            ));
        }
        let start = match (send_initial, asked) {
            ("true", _) => Start::Present {
                end_bookmark: bookmarks,
            },
            (_, None | Some(0)) if send_initial != "false" => Start::Present {
                end_bookmark: false,
            },
            (_, None | Some(0)) => Start::After(self.lock().rv),
            (_, Some(rv)) => Start::After(rv),
        };
        let timeout = match info.param("timeoutSeconds").parse::<u64>() {
            Ok(seconds) if seconds > 0 => Duration::from_secs(seconds),
            // Kubernetes draws between 30 and 60 minutes.
            _ => self
                .random
                .between(Duration::from_mins(30), Duration::from_hours(1)),
        };
        let watch = Watch {
            server: Arc::clone(self),
            actor: actor.to_owned(),
            info: info.clone(),
            kind: Arc::clone(kind),
            selection,
            form,
            start,
            bookmarks,
            timeout,
            slow: verdict.slow_watch,
            end: verdict.end_watch,
            columns_sent: AtomicBool::new(false),
        };
        match watch.into_stream() {
            Ok(stream) => Ok(Answer::Stream(SimBody::stream(stream))),
            // Kubernetes reports lost history inside a stream that it has begun.
            Err(error) => {
                let line = crate::watch::line_of("ERROR", &error.to_status());
                Ok(Answer::Stream(SimBody::full(line)))
            }
        }
    }
}

fn parse_version(text: &str) -> ApiResult<Option<u64>> {
    if text.is_empty() {
        return Ok(None);
    }
    text.parse().map(Some).map_err(|_| {
        ApiError::bad_request(format!(
            "resourceVersion: Invalid value: {text:?}: strconv.ParseUint: parsing {text:?}: invalid syntax"
        ))
    })
}

fn check_match(info: &RequestInfo, continues: bool) -> ApiResult<()> {
    let field = "resourceVersionMatch";
    let version = info.param("resourceVersion");
    let mut causes = Vec::new();
    if version.is_empty() {
        let why = "resourceVersionMatch is forbidden unless resourceVersion is provided";
        causes.push(Cause::forbidden(field, why));
    }
    if continues {
        let why = "resourceVersionMatch is forbidden when continue is provided";
        causes.push(Cause::forbidden(field, why));
    }
    let matching = info.param(field);
    if !matches!(matching, "Exact" | "NotOlderThan") {
        let known = ["Exact", "NotOlderThan", ""];
        causes.push(Cause::unsupported(field, &json!(matching), &known));
    }
    if matching == "Exact" && version == "0" {
        let why = "resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\"";
        causes.push(Cause::forbidden(field, why));
    }
    if causes.is_empty() {
        Ok(())
    } else {
        Err(ApiError::invalid_options("ListOptions", &causes))
    }
}

/// Where a paged list goes on.
struct ContinueToken {
    /// Version of the first page; 0 for "whatever is newest".
    rv: u64,
    last: String,
    remaining: Option<usize>,
}

impl ContinueToken {
    fn encode(&self) -> String {
        use base64::Engine as _;
        let token = json!({"v": "meta.k8s.io/v1", "rv": self.rv, "start": self.last, "rest": self.remaining});
        base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(token.to_string())
    }

    fn decode(text: &str) -> ApiResult<Self> {
        use base64::Engine as _;
        let parsed: Option<Value> = base64::engine::general_purpose::URL_SAFE_NO_PAD
            .decode(text)
            .ok()
            .and_then(|bytes| serde_json::from_slice(&bytes).ok());
        let token = parsed.unwrap_or_default();
        match (token["rv"].as_u64(), token["start"].as_str()) {
            (Some(rv), Some(last)) => Ok(Self {
                rv,
                last: last.to_owned(),
                remaining: token["rest"]
                    .as_u64()
                    .and_then(|rest| usize::try_from(rest).ok()),
            }),
            _ => Err(ApiError::bad_request(
                "invalid continue token: continue key is not valid",
            )),
        }
    }
}
