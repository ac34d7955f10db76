//! The way to the simulated cloud without sockets, for virtual time.

use bytes::Bytes;
use http::{Request, Response};
use vpsie::{BoxFuture, Transport, TransportError};
use vpsie_sim::VpsieSim;

/// Requests go straight into the simulator.
#[derive(Clone, Debug)]
pub struct InProcess(VpsieSim);

impl InProcess {
    /// A transport to `cloud`.
    #[must_use]
    pub const fn new(cloud: VpsieSim) -> Self {
        Self(cloud)
    }
}

impl Transport for InProcess {
    fn send(
        &self,
        request: Request<Bytes>,
    ) -> BoxFuture<'_, Result<Response<Bytes>, TransportError>> {
        Box::pin(async move {
            self.0
                .handle(request)
                .await
                .map_err(|lost| TransportError::Broken(lost.to_string()))
        })
    }
}
