//! The same server over HTTP/1.1, on whatever listener it is given.

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

use crate::{ConnectionLost, VpsieSim};

/// No client sends more.
const MAX_BODY: usize = 1 << 20;

impl VpsieSim {
    /// Serves until the tasks of the simulator are stopped.
    pub async fn serve(&self, listener: TcpListener) {
        loop {
            let accepted = tokio::select! {
                biased;
                () = self.tasks.stopped() => return,
                accepted = listener.accept() => accepted,
            };
            let Ok((stream, _)) = accepted else { continue };
            let sim = self.clone();
            self.tasks.spawn("api connection", async move {
                let service = service_fn(|request| sim.over_http(request));
                // A broken connection is what some faults are about.
                let _ = http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), service)
                    .await;
            });
        }
    }

    async fn over_http(
        &self,
        request: Request<Incoming>,
    ) -> Result<Response<Full<Bytes>>, ConnectionLost> {
        let (head, body) = request.into_parts();
        let body = match Limited::new(body, MAX_BODY).collect().await {
            Ok(body) => body.to_bytes(),
            Err(_) => return Err(ConnectionLost),
        };
        let response = self.handle(Request::from_parts(head, body)).await?;
        Ok(response.map(Full::new))
    }
}
