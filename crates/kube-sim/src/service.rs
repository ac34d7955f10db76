//! How requests reach the server: in process as a `tower::Service`, or over HTTP/1.1.
//!
//! A request is the server's from the moment it arrives: without injected latency it is committed
//! inside `call`, with latency in a task of the server's own. A caller that goes away loses the
//! answer, never the effect.

use std::{
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use futures::{
    FutureExt as _,
    future::{BoxFuture, ready},
};
use http::{Request, Response, header};
use http_body_util::BodyExt as _;
use hyper_util::rt::TokioIo;
use kube::client::Body;
use runtime::Tasks;
use tokio::{net::TcpListener, sync::oneshot};

use crate::{
    body::{ConnectionReset, SimBody},
    faults::Verdict,
    request::RequestInfo,
    server::{Server, error_response, header_text},
};

/// The server as one actor sees it; clones share it.
#[derive(Clone, Debug)]
pub struct KubeService {
    pub(crate) server: Arc<Server>,
    pub(crate) actor: Arc<str>,
}

impl tower::Service<Request<Body>> for KubeService {
    type Response = Response<SimBody>;
    type Error = ConnectionReset;
    type Future = BoxFuture<'static, Result<Response<SimBody>, ConnectionReset>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), ConnectionReset>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let (head, body) = request.into_parts();
        let mut collecting = Box::pin(body.collect_bytes());
        // kube's request bodies are in memory: the request is taken over before `call` returns.
        match (&mut collecting).now_or_never() {
            Some(Ok(bytes)) => self
                .server
                .dispatch(&self.actor, Request::from_parts(head, bytes)),
            Some(Err(_)) => ready(Err(ConnectionReset)).boxed(),
            None => {
                let service = self.clone();
                async move {
                    let bytes = collecting.await.map_err(|_| ConnectionReset)?;
                    service
                        .server
                        .dispatch(&service.actor, Request::from_parts(head, bytes))
                        .await
                }
                .boxed()
            }
        }
    }
}

impl Server {
    /// Answers a request with the faults that its actor deserves.
    pub(crate) fn dispatch(
        self: &Arc<Self>,
        actor: &str,
        request: Request<Bytes>,
    ) -> BoxFuture<'static, Result<Response<SimBody>, ConnectionReset>> {
        if self.faults.stopped() {
            return ready(Err(ConnectionReset)).boxed();
        }
        let uri = request.uri();
        let info = RequestInfo::parse(
            request.method(),
            uri.path(),
            uri.query().unwrap_or_default(),
        );
        let mut verdict = match info {
            Ok(Some(info)) => self.faults.judge(actor, &info),
            Ok(None) => Verdict::default(),
            Err(error) => return ready(Ok(error_response(&error))).boxed(),
        };
        if verdict.drop_request {
            return ready(Err(ConnectionReset)).boxed();
        }
        if verdict.delay.is_zero() {
            let response = self.handle(actor, &request, &verdict);
            return self.deliver(response, &verdict);
        }
        verdict.arrived = Some(self.clock.now());
        let (sender, receiver) = oneshot::channel();
        let server = Arc::clone(self);
        let actor = actor.to_owned();
        self.tasks.spawn("request", async move {
            server.clock.sleep(verdict.delay).await;
            let answer = if server.faults.stopped() {
                Err(ConnectionReset)
            } else {
                let response = server.handle(&actor, &request, &verdict);
                server.deliver(response, &verdict).await
            };
            // The caller may be gone; what was committed stays committed.
            let _ = sender.send(answer);
        });
        receiver
            .map(|answer| answer.unwrap_or(Err(ConnectionReset)))
            .boxed()
    }

    fn deliver(
        self: &Arc<Self>,
        response: Response<SimBody>,
        verdict: &Verdict,
    ) -> BoxFuture<'static, Result<Response<SimBody>, ConnectionReset>> {
        let answer = if verdict.lose_response {
            Err(ConnectionReset)
        } else if verdict.truncate {
            Ok(response.map(SimBody::truncated))
        } else {
            Ok(response)
        };
        if verdict.delay_response.is_zero() {
            return ready(answer).boxed();
        }
        let (server, delay) = (Arc::clone(self), verdict.delay_response);
        async move {
            server.clock.sleep(delay).await;
            answer
        }
        .boxed()
    }

    /// Serves HTTP/1.1 until `tasks` are stopped or aborted.
    pub(crate) async fn serve(self: Arc<Self>, listener: TcpListener, tasks: &Tasks) {
        let stop = tasks.stop_token();
        loop {
            let accepted = tokio::select! {
                biased;
                () = stop.cancelled() => return,
                accepted = listener.accept() => accepted,
            };
            let stream = match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    tracing::warn!(%error, "accept failed");
                    self.clock.sleep(std::time::Duration::from_millis(50)).await;
                    continue;
                }
            };
            if self.faults.stopped() {
                continue; // dropping the stream resets the connection
            }
            let _ = stream.set_nodelay(true);
            let server = Arc::clone(&self);
            let stop = stop.clone();
            tasks.spawn("connection", async move {
                let service = hyper::service::service_fn(move |request| {
                    let server = Arc::clone(&server);
                    async move { server.over_http(request).await }
                });
                let connection = hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), service);
                tokio::select! {
                    biased;
                    () = stop.cancelled() => {}
                    ended = connection => {
                        if let Err(error) = ended {
                            tracing::debug!(%error, "connection ended");
                        }
                    }
                }
            });
        }
    }

    async fn over_http(
        self: Arc<Self>,
        request: Request<hyper::body::Incoming>,
    ) -> Result<Response<SimBody>, ConnectionReset> {
        let (head, body) = request.into_parts();
        let bytes = body
            .collect()
            .await
            .map_err(|_| ConnectionReset)?
            .to_bytes();
        let request = Request::from_parts(head, bytes);
        let actor = actor_of(&request);
        // hyper drops this future when the client hangs up; the request has been taken over.
        self.dispatch(&actor, request).await
    }
}

/// `x-sim-actor`, or the first word of the user agent up to its slash.
fn actor_of(request: &Request<Bytes>) -> String {
    let named = request
        .headers()
        .get("x-sim-actor")
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    if !named.is_empty() {
        return named.to_owned();
    }
    let agent = header_text(request, &header::USER_AGENT);
    let agent = agent.split(['/', ' ']).next().unwrap_or_default();
    if agent.is_empty() {
        "unknown".to_owned()
    } else {
        agent.to_owned()
    }
}
