//! The server: takes one request, decides what it is, and commits it synchronously.
//!
//! Everything happens under the store's lock inside [`Server::handle`]; faults and latency are
//! laid around it by `dispatch`.

mod body;
mod reads;
mod writes;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use http::{Request, Response, StatusCode, header};
use runtime::{Clock, Randomness, Tasks};
use serde_json::{Value, json};

use crate::{
    body::SimBody,
    collect::Collector,
    error::{ApiError, ApiResult},
    faults::{Faults, Verdict},
    journal::{Asked, Journal, RequestRecord, Shown, Tape, conditions},
    object::meta_str,
    represent::{Form, as_kind},
    request::RequestInfo,
    store::Store,
};

pub(crate) use body::header_text;
use body::parse_body;

/// Everything one simulated API server consists of.
#[derive(Debug)]
pub(crate) struct Server {
    store: Mutex<Store>,
    pub(crate) clock: Clock,
    pub(crate) random: Randomness,
    pub(crate) tasks: Tasks,
    pub(crate) faults: Faults,
    pub(crate) journal: Journal,
    pub(crate) tape: Tape,
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
        let store = Store::new();
        Self {
            tape: store.tape.clone(),
            store: Mutex::new(store),
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
            None => self.taped(actor, &info, request, verdict),
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

    /// Answers, and tells the tape who asked, where one runs.
    fn taped(
        self: &Arc<Self>,
        actor: &str,
        info: &RequestInfo,
        request: &Request<Bytes>,
        verdict: &Verdict,
    ) -> ApiResult<Answer> {
        let Some(number) = self.tape.number() else {
            return self.answer(actor, info, request, verdict);
        };
        let now = self.clock.now();
        let reads = matches!(info.verb, "get" | "list" | "watch");
        let (by_uid, by_version) = if reads {
            (false, false)
        } else {
            conditions(request.body())
        };
        let asked = Asked {
            number,
            sent: verdict.arrived.unwrap_or(now),
            actor: actor.to_owned(),
            verb: info.verb,
            subresource: info.subresource.clone(),
            by_uid,
            by_version,
        };
        if reads {
            let answer = self.answer(actor, info, request, verdict);
            let code = answer.as_ref().map_or_else(|error| error.code, |_| 200);
            let current = verdict.stale == 0;
            self.tape.read(info, asked, now, Shown { current, code });
            return answer;
        }
        self.tape.asks(Arc::new(asked), now);
        let answer = self.answer(actor, info, request, verdict);
        self.tape.done();
        answer
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
