//! The same simulator over HTTP/1.1: a lost response closes the connection, a truncated one ends it
//! short of its `Content-Length`.

use std::{io, pin::Pin, task};

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use http_body_util::{BodyExt as _, Limited};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};

use crate::server::{BreaksOff, ConnectionLost, VpsieSim};

/// No request of this API comes near it.
const LARGEST_REQUEST: usize = 1 << 20;

impl VpsieSim {
    /// Serves connections of `listener` until the simulator's tasks are stopped.
    pub async fn serve(&self, listener: TcpListener) {
        loop {
            let accepted = tokio::select! {
                biased;
                () = self.tasks().stopped() => return,
                accepted = listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, _)) => {
                    let sim = self.clone();
                    self.tasks().spawn("vpsie connection", async move {
                        tokio::select! {
                            biased;
                            () = sim.tasks().stopped() => {}
                            () = sim.converse(stream) => {}
                        }
                    });
                }
                // Transient: the peer went away between its connect and our accept.
                Err(error) => tracing::debug!(%error, "could not accept a connection"),
            }
        }
    }

    async fn converse(&self, stream: TcpStream) {
        let service = service_fn(|request: http::Request<Incoming>| async move {
            let (parts, body) = request.into_parts();
            let body = Limited::new(body, LARGEST_REQUEST).collect().await;
            let body = body.map_err(|_| ConnectionLost)?.to_bytes();
            let response = self.handle(http::Request::from_parts(parts, body)).await?;
            let breaks_off = response.extensions().get::<BreaksOff>().is_some();
            Ok::<_, ConnectionLost>(response.map(|data| Answer::new(data, breaks_off)))
        });
        let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
        if let Err(error) = connection.await {
            tracing::debug!(%error, "a connection ended");
        }
    }
}

/// A response body that arrives whole, or breaks off after its data.
struct Answer {
    data: Option<Bytes>,
    breaks_off: bool,
    flushed: bool,
}

impl Answer {
    fn new(data: Bytes, breaks_off: bool) -> Self {
        Self {
            data: Some(data).filter(|data| !data.is_empty()),
            breaks_off,
            flushed: false,
        }
    }
}

impl http_body::Body for Answer {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut task::Context<'_>,
    ) -> task::Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        if let Some(data) = self.data.take() {
            return task::Poll::Ready(Some(Ok(Frame::data(data))));
        }
        if self.breaks_off && !self.flushed {
            // What was sent so far leaves before the connection breaks.
            self.flushed = true;
            context.waker().wake_by_ref();
            return task::Poll::Pending;
        }
        task::Poll::Ready(self.breaks_off.then(|| {
            Err(io::Error::new(
                io::ErrorKind::ConnectionAborted,
                "the answer breaks off",
            ))
        }))
    }

    fn is_end_stream(&self) -> bool {
        self.data.is_none() && !self.breaks_off
    }

    fn size_hint(&self) -> SizeHint {
        match &self.data {
            Some(data) if !self.breaks_off => SizeHint::with_exact(data.len() as u64),
            None if !self.breaks_off => SizeHint::with_exact(0),
            _ => SizeHint::default(),
        }
    }
}
