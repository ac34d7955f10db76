//! The server: takes one request, decides what it is, and commits it synchronously.
//!
//! Everything happens under the store's lock inside [`Server::handle`]; faults and latency are
//! laid around it by `dispatch`.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError, atomic::AtomicBool},
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response, StatusCode, header};
use runtime::{Clock, Randomness, Tasks};
use serde_json::{Value, json};

use crate::{
    apply::{self, Writer},
    body::SimBody,
    collect::Collector,
    error::{ApiError, ApiResult},
    event_view,
    faults::{Faults, Verdict},
    journal::{Journal, RequestRecord},
    object::{map_mut, meta_mut, meta_str},
    patch::{self, PatchType},
    registry::KindInfo,
    represent::{Form, ListMeta, as_kind, view},
    request::RequestInfo,
    selector::{FieldSelector, LabelSelector},
    store::{Selection, Store},
    subresource,
    watch::{Start, Watch},
    write::{self, DeleteOptions, Ownership, WriteContext, Written},
};

/// Everything one simulated API server consists of.
#[derive(Debug)]
pub(crate) struct Server {
    store: Mutex<Store>,
    pub(crate) clock: Clock,
    pub(crate) random: Randomness,
    pub(crate) tasks: Tasks,
    pub(crate) faults: Faults,
    pub(crate) journal: Journal,
    pub(crate) collector: Collector,
}

/// What a handled request answers, before it is a response.
enum Answer {
    Object {
        code: u16,
        value: Value,
        rv: Option<u64>,
        name: Option<String>,
        warnings: Vec<String>,
    },
    Bytes(Bytes),
    Stream(SimBody),
}

impl Server {
    pub(crate) fn new(clock: Clock, random: &Randomness) -> Self {
        Self {
            store: Mutex::new(Store::new()),
            faults: Faults::new(random.fork("kube-sim/faults")),
            random: random.fork("kube-sim"),
            clock,
            tasks: Tasks::new(),
            journal: Journal::new(),
            collector: Collector::default(),
        }
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, Store> {
        self.store.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Answers one request. A write is committed when this returns.
    pub(crate) fn handle(
        self: &Arc<Self>,
        actor: &str,
        request: &Request<Bytes>,
        verdict: &Verdict,
    ) -> Response<SimBody> {
        let uri = request.uri();
        let info = RequestInfo::parse(
            request.method(),
            uri.path(),
            uri.query().unwrap_or_default(),
        );
        let info = match info {
            Ok(Some(info)) => info,
            Ok(None) => return self.meta(request),
            Err(error) => return error_response(&error),
        };
        let mut record = RequestRecord {
            seq: 0,
            at: self.clock.now(),
            actor: actor.to_owned(),
            verb: info.verb,
            group: info.group.clone(),
            resource: info.resource.clone(),
            subresource: info.subresource.clone(),
            namespace: info.namespace.clone(),
            name: info.name.clone(),
            code: 200,
            resource_version: None,
            dry_run: info.dry_run().unwrap_or_default(),
        };
        let answer = match &verdict.refuse {
            Some(error) => Err(error.clone()),
            None => self.answer(actor, &info, request, verdict),
        };
        let response = match answer {
            Ok(Answer::Object {
                code,
                value,
                rv,
                name,
                warnings,
            }) => {
                record.code = code;
                record.resource_version = rv;
                if let Some(name) = name {
                    record.name = name;
                }
                let mut response = json_response(code, Bytes::from(value.to_string()));
                for warning in warnings {
                    if let Ok(text) = format!("299 - {warning:?}").parse() {
                        response.headers_mut().append(header::WARNING, text);
                    }
                }
                response
            }
            Ok(Answer::Bytes(bytes)) => json_response(200, bytes),
            Ok(Answer::Stream(body)) => {
                let mut response = json_response(200, Bytes::new());
                *response.body_mut() = body;
                response
            }
            Err(error) => {
                record.code = error.code;
                error_response(&error)
            }
        };
        tracing::debug!(actor, verb = info.verb, resource = %info.resource, name = %record.name, code = record.code, "request");
        self.journal.push(record);
        self.start_collecting();
        response
    }

    /// Requests that name no resource: discovery, OpenAPI, version, health.
    fn meta(&self, request: &Request<Bytes>) -> Response<SimBody> {
        let accept = header_text(request, &header::ACCEPT);
        let path = request.uri().path();
        let store = self.lock();
        crate::discovery::respond(&store.registry, path, accept)
            .or_else(|| crate::openapi::respond(&store.registry, path, accept))
            .map_or_else(not_found_page, |response| response.map(SimBody::full))
    }

    fn answer(
        self: &Arc<Self>,
        actor: &str,
        info: &RequestInfo,
        request: &Request<Bytes>,
        verdict: &Verdict,
    ) -> ApiResult<Answer> {
        let found = self
            .lock()
            .registry
            .get(&info.group, &info.version, &info.resource)
            .cloned();
        let Some(kind) = found else {
            // The legacy binding collection: POST …/bindings names the pod in its body.
            if info.resource == "bindings" && info.verb == "create" {
                return self.legacy_binding(actor, info, request, verdict);
            }
            return Err(ApiError::no_such_resource());
        };
        let sub = info.subresource.as_str();
        let known = match sub {
            "" => true,
            "status" => kind.status,
            "scale" => kind.scale.is_some(),
            other => kind.subresources.iter().any(|known| known == other),
        };
        if !known {
            return Err(ApiError::no_such_resource());
        }
        let served = match sub {
            "" => kind.verbs.iter().any(|verb| verb == info.verb),
            "status" | "scale" => matches!(info.verb, "get" | "update" | "patch"),
            "finalize" => info.verb == "update",
            _ => info.verb == "create",
        };
        if !served {
            return Err(ApiError::method_not_allowed());
        }
        if kind.namespaced
            && info.namespace.is_empty()
            && !matches!(info.verb, "list" | "watch" | "deletecollection")
        {
            return Err(if info.verb == "create" && info.name.is_empty() {
                ApiError::method_not_allowed()
            } else {
                ApiError::no_such_resource()
            });
        }
        let form = Form::parse(
            header_text(request, &header::ACCEPT),
            info.param("includeObject"),
        )?;
        match info.verb {
            "get" => self.get(info, &kind, form, verdict),
            "list" => self.list(info, &kind, form, verdict),
            "watch" => self.watch(actor, info, &kind, form, verdict),
            _ => {
                let written = self.write(actor, info, &kind, request)?;
                let name = meta_str(&written.object, "name").to_owned();
                let status = written.object["kind"] == json!("Status") && kind.kind != "Status";
                let value =
                    if status || !info.subresource.is_empty() && info.subresource != "status" {
                        written.object
                    } else {
                        form.single(&kind, as_kind(&kind, written.object), self.clock.now())
                    };
                Ok(Answer::Object {
                    code: written.code,
                    value,
                    rv: written.rv,
                    name: (info.name.is_empty() && !name.is_empty()).then_some(name),
                    warnings: written.warnings,
                })
            }
        }
    }

    fn legacy_binding(
        self: &Arc<Self>,
        actor: &str,
        info: &RequestInfo,
        request: &Request<Bytes>,
        verdict: &Verdict,
    ) -> ApiResult<Answer> {
        let body = parse_body(request)?;
        let info = RequestInfo {
            resource: "pods".to_owned(),
            subresource: "binding".to_owned(),
            name: meta_str(&body, "name").to_owned(),
            ..info.clone()
        };
        self.answer(actor, &info, request, verdict)
    }

    fn get(
        &self,
        info: &RequestInfo,
        kind: &Arc<KindInfo>,
        form: Form,
        verdict: &Verdict,
    ) -> ApiResult<Answer> {
        let stored = {
            let store = self.lock();
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

    fn selection(&self, info: &RequestInfo, kind: &Arc<KindInfo>) -> ApiResult<Selection> {
        let stored_as = self.lock().storage_kind(kind);
        Ok(Selection {
            namespace: info.namespace.clone(),
            labels: LabelSelector::parse(info.param("labelSelector"))?,
            fields: FieldSelector::parse(info.param("fieldSelector"), kind, &stored_as)?,
        })
    }

    fn list(
        &self,
        info: &RequestInfo,
        kind: &Arc<KindInfo>,
        form: Form,
        verdict: &Verdict,
    ) -> ApiResult<Answer> {
        let selection = self.selection(info, kind)?;
        let limit = match info.param("limit") {
            "" | "0" => usize::MAX,
            text => text.parse().map_err(|_| {
                ApiError::bad_request(format!(
                    "strconv.ParseInt: parsing {text:?}: invalid syntax"
                ))
            })?,
        };
        let store = self.lock();
        let token = match info.param("continue") {
            "" => None,
            text => Some(ContinueToken::decode(text)?),
        };
        let asked = parse_version(info.param("resourceVersion"))?;
        let matching = info.param("resourceVersionMatch");
        if !matching.is_empty() {
            check_match(info, asked, token.is_some())?;
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

    fn watch(
        self: &Arc<Self>,
        actor: &str,
        info: &RequestInfo,
        kind: &Arc<KindInfo>,
        form: Form,
        verdict: &Verdict,
    ) -> ApiResult<Answer> {
        let selection = self.selection(info, kind)?;
        let asked = parse_version(info.param("resourceVersion"))?;
        let send_initial = info.param("sendInitialEvents");
        let bookmarks = info.flag("allowWatchBookmarks") && !verdict.no_bookmarks;
        if !send_initial.is_empty() && info.param("resourceVersionMatch") != "NotOlderThan" {
            return Err(invalid_options(
                "resourceVersionMatch",
                "Forbidden: sendInitialEvents requires setting resourceVersionMatch to NotOlderThan",
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
        if let Some(rv) = asked {
            let current = self.lock().rv;
            if rv > current {
                return Err(ApiError::too_large(rv, current));
            }
        }
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

    fn write(
        &self,
        actor: &str,
        info: &RequestInfo,
        kind: &Arc<KindInfo>,
        request: &Request<Bytes>,
    ) -> ApiResult<Written> {
        let ctx = WriteContext {
            manager: info.manager(actor),
            subresource: &info.subresource,
            now: self.clock.now(),
            random: &self.random,
            dry_run: info.dry_run()?,
            lenient: self.faults.lenient(),
            field_validation: match info.param("fieldValidation") {
                mode @ ("" | "Ignore" | "Warn" | "Strict") => mode,
                other => {
                    return Err(invalid_options(
                        "fieldValidation",
                        &format!(
                            "Unsupported value: {other:?}: supported values: \"Ignore\", \"Strict\", \"Warn\""
                        ),
                    ));
                }
            },
        };
        let (namespace, name) = (info.namespace.as_str(), info.name.as_str());
        let mut store = self.lock();
        match (info.verb, info.subresource.as_str()) {
            ("create", "") => {
                let mut body = incoming(kind, parse_body(request)?)?;
                if kind.is_review() {
                    body["status"] = json!({"allowed": true});
                    return Ok(Written {
                        code: 201,
                        object: body,
                        rv: None,
                        warnings: Vec::new(),
                    });
                }
                if event_view::is_view(kind) {
                    let causes = event_view::check_new(&event_view::from_core(body.clone()));
                    if !causes.is_empty() {
                        return Err(ApiError::invalid(kind, meta_str(&body, "name"), &causes));
                    }
                }
                write::create(&mut store, &ctx, kind, namespace, body, Ownership::Tracked)
            }
            ("create", "eviction") => subresource::evict(
                &mut store,
                &ctx,
                kind,
                namespace,
                name,
                &parse_body(request)?,
            ),
            ("create", "binding") => subresource::bind(
                &mut store,
                &ctx,
                kind,
                namespace,
                name,
                &parse_body(request)?,
            ),
            ("update" | "patch", "scale") => Self::scale(&mut store, &ctx, info, kind, request),
            ("update", _) => {
                let body = incoming(kind, parse_body(request)?)?;
                write::update(
                    &mut store,
                    &ctx,
                    kind,
                    namespace,
                    name,
                    body,
                    Ownership::Tracked,
                )
            }
            ("patch", _) => Self::patch(&mut store, &ctx, info, kind, request),
            ("delete", "") => {
                let options = delete_options(info, request)?;
                write::delete(&mut store, &ctx, kind, namespace, name, &options)
            }
            ("deletecollection", "") => {
                drop(store);
                self.delete_collection(&ctx, info, kind, request)
            }
            _ => Err(ApiError::method_not_allowed()),
        }
    }

    fn scale(
        store: &mut Store,
        ctx: &WriteContext<'_>,
        info: &RequestInfo,
        kind: &Arc<KindInfo>,
        request: &Request<Bytes>,
    ) -> ApiResult<Written> {
        let paths = kind
            .scale
            .as_ref()
            .ok_or_else(ApiError::method_not_allowed)?;
        let stored = store
            .get(kind, &info.namespace, &info.name)
            .ok_or_else(|| ApiError::not_found(kind, &info.name))?;
        let parent = stored.value();
        let scale = if info.verb == "patch" {
            let patch_type = PatchType::parse(header_text(request, &header::CONTENT_TYPE))?;
            if patch_type == PatchType::Apply {
                let mut scale = subresource::scale_of(paths, &parent);
                patch::merge(&mut scale, &parse_body(request)?);
                scale
            } else {
                let mut scale = subresource::scale_of(paths, &parent);
                map_mut(&mut scale).remove("status");
                patch::apply(patch_type, kind, &scale, request.body()).or_else(|error| {
                    // Scale is a built-in kind even where the parent is not.
                    if error.code == 415 && patch_type == PatchType::Strategic {
                        patch::apply(PatchType::Merge, kind, &scale, request.body())
                    } else {
                        Err(error)
                    }
                })?
            }
        } else {
            parse_body(request)?
        };
        let mut wanted = subresource::with_scale(paths, &parent, &scale)?;
        if info.verb == "update" && meta_str(&scale, "resourceVersion").is_empty() {
            let rv = stored.rv.to_string();
            meta_mut(&mut wanted).insert("resourceVersion".to_owned(), json!(rv));
        }
        let ctx = WriteContext {
            manager: ctx.manager,
            subresource: "scale",
            ..*ctx
        };
        let written = write::update(
            store,
            &ctx,
            kind,
            &info.namespace,
            &info.name,
            wanted,
            Ownership::Tracked,
        )?;
        Ok(Written {
            object: subresource::scale_of(paths, &written.object),
            ..written
        })
    }

    fn patch(
        store: &mut Store,
        ctx: &WriteContext<'_>,
        info: &RequestInfo,
        kind: &Arc<KindInfo>,
        request: &Request<Bytes>,
    ) -> ApiResult<Written> {
        let patch_type = PatchType::parse(header_text(request, &header::CONTENT_TYPE))?;
        let (namespace, name) = (info.namespace.as_str(), info.name.as_str());
        if patch_type == PatchType::Apply {
            return Self::apply(store, ctx, info, kind, request);
        }
        let stored = store
            .get(kind, namespace, name)
            .ok_or_else(|| ApiError::not_found(kind, name))?;
        let live = view(kind, &stored);
        let patched = patch::apply(patch_type, kind, &live, request.body())?;
        let mut patched = incoming(kind, patched)?;
        if meta_str(&patched, "resourceVersion").is_empty() {
            let rv = stored.rv.to_string();
            meta_mut(&mut patched).insert("resourceVersion".to_owned(), json!(rv));
        }
        write::update(
            store,
            ctx,
            kind,
            namespace,
            name,
            patched,
            Ownership::Tracked,
        )
    }

    fn apply(
        store: &mut Store,
        ctx: &WriteContext<'_>,
        info: &RequestInfo,
        kind: &Arc<KindInfo>,
        request: &Request<Bytes>,
    ) -> ApiResult<Written> {
        let (namespace, name) = (info.namespace.as_str(), info.name.as_str());
        let manager = info.param("fieldManager");
        if manager.is_empty() {
            return Err(ApiError::new(
                422,
                "Invalid",
                "PatchOptions.meta.k8s.io \"\" is invalid: fieldManager: Required value: is required for apply patch",
            ));
        }
        let mut applied = parse_body(request)?;
        write::check_type(kind, &mut applied)?;
        match meta_str(&applied, "name") {
            "" => {
                meta_mut(&mut applied).insert("name".to_owned(), json!(name));
            }
            sent if sent != name => {
                return Err(ApiError::bad_request(format!(
                    "the name of the object ({sent}) does not match the name on the URL ({name})"
                )));
            }
            _ => {}
        }
        if applied["metadata"]
            .get("managedFields")
            .and_then(Value::as_array)
            .is_some_and(|fields| !fields.is_empty())
        {
            return Err(ApiError::bad_request("metadata.managedFields must be nil"));
        }
        let stored = store.get(kind, namespace, name);
        let version = meta_str(&applied, "resourceVersion").to_owned();
        let uid = meta_str(&applied, "uid").to_owned();
        if let Some(stored) = &stored {
            if !version.is_empty() && version != stored.rv.to_string() {
                return Err(ApiError::modified(kind, name));
            }
        } else if !info.subresource.is_empty() {
            return Err(ApiError::not_found(kind, name));
        } else if !version.is_empty() || !uid.is_empty() {
            // A version or uid says that the object was there.
            return Err(ApiError::conflict(
                kind,
                name,
                &format!(
                    "uid mismatch: the provided object specified uid {uid}, and no existing object was found"
                ),
            ));
        }
        let mut applied = if event_view::is_view(kind) {
            event_view::to_core(applied)
        } else {
            applied
        };
        // Fields of the other endpoint are reset before ownership is decided.
        if let Value::Object(map) = &mut applied {
            if info.subresource == "status" {
                map.retain(|key, _| {
                    matches!(key.as_str(), "apiVersion" | "kind" | "status" | "metadata")
                });
                if !kind.builtin {
                    map.insert("metadata".to_owned(), json!({"name": name}));
                }
            } else if kind.status {
                map.remove("status");
            }
        }
        crate::object::drop_nulls(&mut applied);
        let meta = meta_mut(&mut applied);
        for field in [
            "resourceVersion",
            "uid",
            "managedFields",
            "creationTimestamp",
            "generation",
        ] {
            meta.remove(field);
        }
        let time = crate::object::time(ctx.now);
        let writer = Writer {
            manager,
            subresource: &info.subresource,
            time: &time,
        };
        let live = stored.as_ref().map(|stored| view(kind, stored));
        let live = live.map(|live| {
            if event_view::is_view(kind) {
                event_view::to_core(live)
            } else {
                live
            }
        });
        let merged = apply::apply(kind, live.as_ref(), &applied, &writer, info.flag("force"))?;
        match stored {
            None => write::create(store, ctx, kind, namespace, merged, Ownership::Given),
            Some(_) => write::update(store, ctx, kind, namespace, name, merged, Ownership::Given),
        }
    }

    fn delete_collection(
        &self,
        ctx: &WriteContext<'_>,
        info: &RequestInfo,
        kind: &Arc<KindInfo>,
        request: &Request<Bytes>,
    ) -> ApiResult<Written> {
        let options = delete_options(info, request)?;
        let selection = self.selection(info, kind)?;
        let mut store = self.lock();
        let rv = store.rv;
        let items = store
            .page(&kind.storage, &selection, rv, None, usize::MAX)
            .map(|page| page.items)
            .unwrap_or_default();
        let mut listed = Vec::with_capacity(items.len());
        let mut committed = None;
        for item in &items {
            let written =
                write::delete(&mut store, ctx, kind, &item.namespace, &item.name, &options)?;
            committed = written.rv.or(committed);
            listed.push(view(kind, item));
        }
        let object = json!({
            "apiVersion": kind.api_version(),
            "kind": kind.list_kind,
            "metadata": {"resourceVersion": rv.to_string()},
            "items": listed,
        });
        Ok(Written {
            code: 200,
            object,
            rv: committed,
            warnings: Vec::new(),
        })
    }
}

/// A body in the form it is stored in, checked to be of the URL's kind.
fn incoming(kind: &KindInfo, mut body: Value) -> ApiResult<Value> {
    write::check_type(kind, &mut body)?;
    Ok(if event_view::is_view(kind) {
        event_view::to_core(body)
    } else {
        body
    })
}

pub(crate) fn header_text<'a>(request: &'a Request<Bytes>, name: &header::HeaderName) -> &'a str {
    request
        .headers()
        .get(name)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default()
}

/// The body as JSON, or as YAML where the content type says so.
fn parse_body(request: &Request<Bytes>) -> ApiResult<Value> {
    let content_type = header_text(request, &header::CONTENT_TYPE);
    if content_type.contains("protobuf") {
        return crate::protobuf::decode(request.body())
            .map_err(|error| ApiError::unsupported_media(error.to_string()));
    }
    match serde_json::from_slice(request.body()) {
        Ok(value) => Ok(value),
        Err(_) if content_type.contains("yaml") => {
            let text = String::from_utf8_lossy(request.body());
            serde_saphyr::from_str(&text)
                .map_err(|error| ApiError::bad_request(format!("error decoding YAML: {error}")))
        }
        Err(error) => Err(ApiError::bad_request(format!(
            "the object provided is unrecognized (must be of type JSON): {error}"
        ))),
    }
}

fn delete_options(info: &RequestInfo, request: &Request<Bytes>) -> ApiResult<DeleteOptions> {
    let mut body = if request.body().is_empty() {
        json!({})
    } else {
        parse_body(request)?
    };
    if !body.is_object() {
        body = json!({});
    }
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

fn parse_version(text: &str) -> ApiResult<Option<u64>> {
    if text.is_empty() {
        return Ok(None);
    }
    text.parse().map(Some).map_err(|_| {
        ApiError::bad_request(format!(
            "Invalid value: {text:?}: strconv.ParseUint: parsing {text:?}: invalid syntax"
        ))
    })
}

fn invalid_options(field: &str, why: &str) -> ApiError {
    let mut error = ApiError::new(
        422,
        "Invalid",
        format!("ListOptions.meta.k8s.io \"\" is invalid: {field}: {why}"),
    );
    error.details = json!({"group": "meta.k8s.io", "kind": "ListOptions"});
    error
}

fn check_match(info: &RequestInfo, asked: Option<u64>, continues: bool) -> ApiResult<()> {
    let field = "resourceVersionMatch";
    match info.param(field) {
        _ if continues => Err(invalid_options(
            field,
            "Forbidden: resourceVersionMatch is forbidden when continue is provided",
        )),
        _ if asked.is_none() => Err(invalid_options(
            field,
            "Forbidden: resourceVersionMatch is forbidden unless resourceVersion is provided",
        )),
        "Exact" if asked == Some(0) => Err(invalid_options(
            field,
            "Forbidden: resourceVersionMatch \"Exact\" is forbidden for resourceVersion \"0\"",
        )),
        "Exact" | "NotOlderThan" => Ok(()),
        other => Err(invalid_options(
            field,
            &format!(
                "Unsupported value: {other:?}: supported values: \"Exact\", \"NotOlderThan\", \"\""
            ),
        )),
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
            _ => Err(ApiError::bad_request("continue key is not valid")),
        }
    }
}

fn json_response(code: u16, bytes: Bytes) -> Response<SimBody> {
    let mut response = Response::new(SimBody::full(bytes));
    *response.status_mut() =
        StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        header::HeaderValue::from_static("application/json"),
    );
    response
}

pub(crate) fn error_response(error: &ApiError) -> Response<SimBody> {
    let mut response = json_response(error.code, Bytes::from(error.to_status().to_string()));
    if let Some(seconds) = error.retry_after()
        && matches!(error.code, 429 | 503 | 504)
    {
        response
            .headers_mut()
            .insert(header::RETRY_AFTER, header::HeaderValue::from(seconds));
    }
    response
}

fn not_found_page() -> Response<SimBody> {
    let mut response = Response::new(SimBody::full("404 page not found\n"));
    *response.status_mut() = StatusCode::NOT_FOUND;
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        header::HeaderValue::from_static("text/plain; charset=utf-8"),
    );
    response
}
