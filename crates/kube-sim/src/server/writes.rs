//! Writes: which one a request is, and what it commits.

use std::sync::Arc;

use bytes::Bytes;
use http::{Request, header};
use serde_json::{Value, json};

use super::{
    Server,
    body::{
        check_options, decoded, delete_options, header_text, incoming, parse_applied, parse_body,
        refused_patch,
    },
};
use crate::{
    apply::{self, Writer},
    error::{ApiError, ApiResult, Cause},
    event_view,
    object::{map_mut, meta_mut, meta_str},
    patch::{self, PatchType},
    registry::KindInfo,
    represent::view,
    request::RequestInfo,
    store::Store,
    subresource, typed,
    write::{self, Ownership, WriteContext, Written},
};

impl Server {
    pub(super) fn write(
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
            return Err(ApiError::invalid_options(
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
