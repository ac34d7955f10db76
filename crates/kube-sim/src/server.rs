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
    error::{ApiError, ApiResult, Cause},
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
    subresource, typed,
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
                if error == ApiError::no_such_resource() && !self.serves_types_of(&info) {
                    not_found_page()
                } else {
                    error_response(&error)
                }
            }
        };
        tracing::debug!(actor, verb = info.verb, resource = %info.resource, name = %record.name, code = record.code, "request");
        self.journal.push(record);
        self.start_collecting();
        response
    }

    /// True when the group is one of Kubernetes' own; where it is not,
    /// nobody is there to answer with a Status.
    fn serves_types_of(&self, info: &RequestInfo) -> bool {
        self.lock()
            .registry
            .iter()
            .any(|kind| kind.builtin && kind.group == info.group)
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
            return Err(if kind.builtin {
                ApiError::no_such_resource()
            } else {
                ApiError::not_found(&kind, &info.name)
            });
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
        if !kind.namespaced && !info.namespace.is_empty() {
            return Err(ApiError::no_such_resource());
        }
        if info.verb == "create" && sub.is_empty() && !info.name.is_empty()
            || info.verb == "deletecollection" && kind.namespaced && info.namespace.is_empty()
        {
            return Err(ApiError::method_not_allowed());
        }
        if kind.namespaced && info.namespace.is_empty() && !matches!(info.verb, "list" | "watch") {
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
        let body = parse_body("Binding", request)?;
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
            return Err(invalid_options(
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

    fn watch(
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
            return Err(invalid_options(
                "ListOptions",
                &[Cause::forbidden(
                    "resourceVersionMatch",
                    "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided",
                )],
            ));
        }
        if !send_initial.is_empty() && info.param("resourceVersionMatch") != "NotOlderThan" {
            return Err(invalid_options(
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

    fn write(
        &self,
        actor: &str,
        info: &RequestInfo,
        kind: &Arc<KindInfo>,
        request: &Request<Bytes>,
    ) -> ApiResult<Written> {
        check_options(info, request)?;
        let ctx = WriteContext {
            manager: info.manager(actor),
            subresource: &info.subresource,
            now: self.clock.now(),
            random: &self.random,
            dry_run: info.dry_run()?,
            lenient: self.faults.lenient(),
        };
        let (namespace, name) = (info.namespace.as_str(), info.name.as_str());
        let mut store = self.lock();
        match (info.verb, info.subresource.as_str()) {
            ("create", "") => {
                let (mut body, warnings) = incoming(kind, info, request, self.faults.lenient())?;
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
                    if meta_str(&body, "namespace").is_empty() {
                        meta_mut(&mut body).insert("namespace".to_owned(), json!(namespace));
                    }
                    let causes = event_view::check_new(&event_view::from_core(body.clone()));
                    if !causes.is_empty() {
                        let kind = store.storage_kind(kind);
                        return Err(ApiError::invalid(&kind, meta_str(&body, "name"), &causes));
                    }
                }
                write::create(&mut store, &ctx, kind, namespace, body, Ownership::Tracked)
                    .map(|written| written.warning(warnings))
            }
            ("create", "eviction") => subresource::evict(
                &mut store,
                &ctx,
                kind,
                namespace,
                name,
                &write::of_kind("policy/v1", "Eviction", parse_body("Eviction", request)?)?,
            ),
            ("create", "binding") => subresource::bind(
                &mut store,
                &ctx,
                kind,
                namespace,
                name,
                &write::of_kind("v1", "Binding", parse_body("Binding", request)?)?,
            ),
            ("update" | "patch", "scale") => Self::scale(&mut store, &ctx, info, kind, request),
            ("update", _) => {
                let (body, warnings) = incoming(kind, info, request, self.faults.lenient())?;
                if meta_str(&body, "name").is_empty() {
                    return Err(ApiError::bad_request(format!(
                        "the name of the object ({name} based on URL) was undeterminable: name must be provided"
                    )));
                }
                write::update(
                    &mut store,
                    &ctx,
                    kind,
                    namespace,
                    name,
                    body,
                    Ownership::Tracked,
                )
                .map(|written| written.warning(warnings))
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
                patch::merge(&mut scale, &parse_body("Scale", request)?);
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
            parse_body("Scale", request)?
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
        let (mut patched, warnings) = decoded(kind, info, patched.clone(), Vec::new(), ctx.lenient)
            .map_err(|error| refused_patch(&error, &patched))?;
        let uid = meta_str(&patched, "uid");
        if !uid.is_empty() && uid != stored.uid {
            let causes = [Cause::invalid(
                "metadata.uid",
                &json!(uid),
                "field is immutable",
            )];
            return Err(ApiError::invalid(kind, name, &causes));
        }
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
        .map(|written| written.warning(warnings))
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
            return Err(invalid_options(
                "PatchOptions",
                &[Cause::required(
                    "fieldManager",
                    "is required for apply patch",
                )],
            ));
        }
        let mut applied = parse_applied(kind, request)?;
        let text = |field: &str| applied[field].as_str().unwrap_or_default().to_owned();
        let (sent_version, sent_kind) = (text("apiVersion"), text("kind"));
        if sent_version.is_empty() || sent_kind.is_empty() {
            return Err(ApiError::bad_request(format!(
                "invalid object type: /{sent_version}, Kind={sent_kind}"
            )));
        }
        write::check_type(kind, &mut applied)?;
        let mut known = applied.clone();
        let mut unknown = typed::decode(kind, &mut known, ctx.lenient).map_err(|why| {
            let id = format!("{name}; {sent_version}, Kind={sent_kind}");
            ApiError::new(
                500,
                "",
                format!("failed to create typed patch object ({id}): {why}"),
            )
        })?;
        if let Some(schema) = &kind.schema {
            unknown.extend(schema.prune(&mut known));
        }
        if let Some(first) = unknown.first() {
            let version = if sent_version.contains('/') {
                sent_version
            } else {
                format!("/{sent_version}")
            };
            return Err(ApiError::new(
                500,
                "",
                format!(
                    "failed to create typed patch object ({}/{name}; {version}, Kind={sent_kind}): .{}: field not declared in schema",
                    meta_str(&applied, "namespace"),
                    first.trim_start_matches('.')
                ),
            ));
        }
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
        } else if !uid.is_empty() {
            // A uid says that the object was there.
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
            let mut item = view(kind, item);
            if kind.builtin {
                // Items of typed lists do not repeat what the list says.
                let map = map_mut(&mut item);
                map.remove("apiVersion");
                map.remove("kind");
            }
            listed.push(item);
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

/// A body in the form it is stored in, checked to be of the URL's kind, and what to warn of.
fn incoming(
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
fn decoded(
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
fn refused_patch(error: &ApiError, patched: &Value) -> ApiError {
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
    refused.details = json!({"causes": [{
        "reason": cause.reason, "message": cause.message, "field": cause.field,
    }]});
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
fn parse_body(kind: &str, request: &Request<Bytes>) -> ApiResult<Value> {
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
fn parse_applied(kind: &KindInfo, request: &Request<Bytes>) -> ApiResult<Value> {
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
fn snippet(body: &[u8]) -> String {
    const QUOTED: usize = 30;
    let text = String::from_utf8_lossy(body);
    match text.char_indices().nth(QUOTED) {
        _ if text.is_empty() => "<empty>".to_owned(),
        Some((at, _)) => format!("{} ...", &text[..at]),
        None => text.into_owned(),
    }
}

/// The options of a write that stand in its query.
fn check_options(info: &RequestInfo, request: &Request<Bytes>) -> ApiResult<()> {
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
        Err(invalid_options(kind, &causes))
    }
}

fn delete_options(info: &RequestInfo, request: &Request<Bytes>) -> ApiResult<DeleteOptions> {
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

/// 422 about the options of a request.
pub(crate) fn invalid_options(kind: &str, causes: &[Cause]) -> ApiError {
    let lines: Vec<String> = causes
        .iter()
        .map(|cause| format!("{}: {}", cause.field, cause.message))
        .collect();
    let text = match lines.as_slice() {
        [one] => one.clone(),
        many => format!("[{}]", many.join(", ")),
    };
    let message = format!("{kind}.meta.k8s.io \"\" is invalid: {text}");
    let mut error = ApiError::new(422, "Invalid", message);
    let causes: Vec<Value> = causes
        .iter()
        .map(
            |cause| json!({"reason": cause.reason, "message": cause.message, "field": cause.field}),
        )
        .collect();
    error.details = json!({"group": "meta.k8s.io", "kind": kind, "causes": causes});
    error
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
        Err(invalid_options("ListOptions", &causes))
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
