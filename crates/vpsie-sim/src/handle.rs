//! One request, from its arrival to its answer or its loss.

use bytes::Bytes;
use http::{HeaderValue, Request as HttpRequest, Response, StatusCode};
use serde_json::{Value, json};
use tokio::sync::oneshot;

use crate::{Fault, Outcome, VpsieSim, routes::Route, world};

/// The connection broke: no answer came.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the connection broke")]
pub struct ConnectionLost;

/// An answer before it is sent.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) body: Bytes,
    pub(crate) html: bool,
    pub(crate) retry_after: Option<String>,
}

impl Answer {
    pub(crate) fn ok(body: Value) -> Self {
        Self::json(StatusCode::OK, &body)
    }

    pub(crate) fn data(data: Value) -> Self {
        Self::ok(json!({ "error": false, "data": data }))
    }

    pub(crate) fn error(status: StatusCode, message: &str) -> Self {
        Self::json(
            status,
            &json!({ "error": true, "code": status.as_u16(), "message": message, "type": false }),
        )
    }

    fn json(status: StatusCode, body: &Value) -> Self {
        Self {
            status,
            body: Bytes::from(body.to_string()),
            html: false,
            retry_after: None,
        }
    }

    fn page(status: StatusCode) -> Self {
        Self {
            status,
            body: Bytes::from_static(b"<html><body><h1>Bad Gateway</h1></body></html>"),
            html: true,
            retry_after: None,
        }
    }
}

impl VpsieSim {
    /// Answers one request. The server owns it: dropping the future cancels nothing.
    pub async fn handle(&self, request: HttpRequest<Bytes>) -> Result<Response<Bytes>, ConnectionLost> {
        let (sender, receiver) = oneshot::channel();
        let sim = self.clone();
        self.tasks.spawn("api request", async move {
            // Nobody waits any more: that is the caller's loss.
            let _ = sender.send(sim.serve_one(request).await);
        });
        receiver.await.unwrap_or(Err(ConnectionLost))
    }

    async fn serve_one(&self, request: HttpRequest<Bytes>) -> Result<Response<Bytes>, ConnectionLost> {
        let (low, high) = self.config.timings.latency_millis;
        let latency = self.random.between(
            std::time::Duration::from_millis(low),
            std::time::Duration::from_millis(high),
        );
        self.clock.sleep(latency).await;
        let route = Route::of(&request);
        let fault = self.faults.strike(route.name());
        let seq = self.arrived(&request, &route);
        if fault == Some(Fault::Reset) {
            self.ended(seq, StatusCode::OK, Outcome::Reset);
            return Err(ConnectionLost);
        }
        if let Some(Fault::LateCommit(seconds)) = fault {
            // The caller has given up long before; the effect comes all the same.
            self.clock.sleep(std::time::Duration::from_secs(seconds)).await;
        }
        let answer = self.answer(&request, &route, seq, fault.as_ref());
        if let Some(Fault::Slow(seconds)) = fault {
            self.clock.sleep(std::time::Duration::from_secs(seconds)).await;
        }
        let outcome = match fault {
            Some(Fault::LostResponse | Fault::LateCommit(_)) => Outcome::Lost,
            Some(Fault::Truncated) => Outcome::Truncated,
            _ => Outcome::Answered,
        };
        self.ended(seq, answer.status, outcome);
        if outcome == Outcome::Lost {
            // The connection hangs; it does not even break.
            self.clock.sleep(std::time::Duration::from_secs(120)).await;
            return Err(ConnectionLost);
        }
        Ok(self.respond(answer, &request, outcome))
    }

    fn answer(
        &self,
        request: &HttpRequest<Bytes>,
        route: &Route,
        seq: u64,
        fault: Option<&Fault>,
    ) -> Answer {
        match fault {
            Some(Fault::RateLimited(after)) => {
                let mut answer = Answer::error(StatusCode::TOO_MANY_REQUESTS, "Too many requests");
                answer.retry_after.clone_from(after);
                return answer;
            }
            Some(Fault::Html500) => return Answer::page(StatusCode::INTERNAL_SERVER_ERROR),
            Some(Fault::Business500(message)) => {
                return Answer::error(StatusCode::INTERNAL_SERVER_ERROR, message);
            }
            Some(Fault::ErrorTrue200(message)) => {
                return Answer::ok(json!({ "error": true, "message": message }));
            }
            Some(Fault::Unauthorized) => {
                return Answer::error(StatusCode::UNAUTHORIZED, "Please authenticate");
            }
            Some(Fault::TokensExpire) => self.expire_tokens(),
            Some(Fault::AbsurdBody) => {
                let mut answer = Answer::ok(Value::Null);
                answer.body = Bytes::from("[".repeat(200_000));
                return answer;
            }
            Some(Fault::WrongTypes) => {
                return Answer::ok(json!({ "error": "no", "data": { "nodes": 7, "identifier": [] } }));
            }
            _ => {}
        }
        if let Some(limited) = self.over_the_limit() {
            return limited;
        }
        if matches!(route, Route::Login) {
            return self.exchange(request.headers(), request.body());
        }
        if !self.authenticated(request.headers()) {
            return Answer::error(StatusCode::UNAUTHORIZED, "Please authenticate");
        }
        let answer = self.dispatch(route, request.body(), seq, fault);
        match fault {
            Some(Fault::Html502AfterCommit) => Answer::page(StatusCode::BAD_GATEWAY),
            _ => answer,
        }
    }

    fn over_the_limit(&self) -> Option<Answer> {
        let limit = usize::try_from(self.config.requests_per_minute?).ok()?;
        let mut world = self.lock();
        let now = self.clock.now();
        let minute_ago = now
            .checked_sub(std::time::Duration::from_secs(60))
            .unwrap_or(now);
        while world.recent.front().is_some_and(|at| *at <= minute_ago) {
            world.recent.pop_front();
        }
        if world.recent.len() >= limit {
            let mut answer = Answer::error(StatusCode::TOO_MANY_REQUESTS, "Too many requests");
            answer.retry_after = Some("10".into());
            return Some(answer);
        }
        world.recent.push_back(now);
        None
    }

    fn arrived(&self, request: &HttpRequest<Bytes>, route: &Route) -> u64 {
        let mut world = self.lock();
        let seq = world.journal.len() as u64 + 1;
        let at = self.clock.now();
        let entry = world::Request {
            seq,
            at,
            method: request.method().to_string(),
            route: route.name(),
            path: request.uri().path().to_owned(),
            request_id: request
                .headers()
                .get("x-request-id")
                .and_then(|value| value.to_str().ok())
                .map(ToOwned::to_owned),
            status: 0,
            outcome: Outcome::Reset,
        };
        world.note(at, format!("api {} {}", entry.method, entry.path));
        world.journal.push(entry);
        seq
    }

    fn ended(&self, seq: u64, status: StatusCode, outcome: Outcome) {
        let mut world = self.lock();
        let at = usize::try_from(seq - 1).unwrap_or_default();
        if let Some(entry) = world.journal.get_mut(at) {
            entry.status = status.as_u16();
            entry.outcome = outcome;
        }
        world.note(self.clock.now(), format!("api {seq} {} {outcome:?}", status.as_u16()));
    }

    fn respond(
        &self,
        answer: Answer,
        request: &HttpRequest<Bytes>,
        outcome: Outcome,
    ) -> Response<Bytes> {
        let body = if outcome == Outcome::Truncated {
            answer.body.slice(..answer.body.len() / 2)
        } else {
            answer.body
        };
        let mut response = Response::new(body);
        *response.status_mut() = answer.status;
        let headers = response.headers_mut();
        let kind = if answer.html { "text/html" } else { "application/json" };
        headers.insert("content-type", HeaderValue::from_static(kind));
        let date = self
            .clock
            .now()
            .strftime("%a, %d %b %Y %H:%M:%S GMT")
            .to_string();
        if let Ok(date) = HeaderValue::from_str(&date) {
            headers.insert("date", date);
        }
        if let Some(after) = answer.retry_after.and_then(|a| HeaderValue::from_str(&a).ok()) {
            headers.insert("retry-after", after);
        }
        if let Some(id) = request.headers().get("x-request-id") {
            headers.insert("x-request-id", id.clone());
        }
        response
    }
}

