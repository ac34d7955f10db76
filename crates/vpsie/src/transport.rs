//! Bytes to the cloud and back. The one seam under the client: the network, or a simulator.

use std::{future::Future, pin::Pin, time::Duration};

use bytes::{Bytes, BytesMut};
use http::{Request, Response};

use crate::base_url;

/// A boxed future, so that the trait stays object safe.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// No answer came.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum TransportError {
    /// Nothing was sent: no connection.
    #[error("no connection: {0}")]
    Connect(String),
    /// Sent, perhaps; the answer did not come or broke off.
    #[error("no answer: {0}")]
    Broken(String),
    /// The answer is larger than any real one.
    #[error("the answer is larger than {} MiB", MAX_BODY >> 20)]
    TooLarge,
}

/// Sends one request.
pub trait Transport: Send + Sync + 'static {
    /// The answer, whatever its status. Redirects are answers.
    fn send(
        &self,
        request: Request<Bytes>,
    ) -> BoxFuture<'_, Result<Response<Bytes>, TransportError>>;
}

/// No answer of the cloud is larger.
pub(crate) const MAX_BODY: usize = 10 << 20;

/// The network.
#[derive(Debug)]
pub struct ReqwestTransport {
    client: reqwest::Client,
}

impl ReqwestTransport {
    /// A client with TLS 1.2 or newer, without redirects, cookies or proxies from the environment:
    /// whoever could set one of those could send the credentials elsewhere.
    ///
    /// It repeats nothing by itself: a create is one request on the wire.
    pub fn new() -> Result<Self, TransportError> {
        // The TLS implementation is the process's choice; where none was made yet, it is ours.
        // `Err` means that one was made in between.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .no_proxy()
            .connect_timeout(Duration::from_secs(5))
            .pool_idle_timeout(Duration::from_mins(1))
            .build()
            .map_err(|error| TransportError::Connect(error.to_string()))?;
        Ok(Self { client })
    }
}

impl Transport for ReqwestTransport {
    fn send(
        &self,
        request: Request<Bytes>,
    ) -> BoxFuture<'_, Result<Response<Bytes>, TransportError>> {
        Box::pin(async move {
            let host = request.uri().host().unwrap_or_default();
            let plain = request.uri().scheme_str() != Some("https");
            if plain && !base_url::is_loopback(host) {
                return Err(TransportError::Connect(
                    "credentials are not sent over plain HTTP".into(),
                ));
            }
            let request = reqwest::Request::try_from(request)
                .map_err(|error| TransportError::Connect(cause(&error)))?;
            let mut answer = self.client.execute(request).await.map_err(|error| {
                if error.is_connect() || error.is_builder() {
                    TransportError::Connect(cause(&error))
                } else {
                    TransportError::Broken(cause(&error))
                }
            })?;
            let mut response = Response::new(Bytes::new());
            *response.status_mut() = answer.status();
            *response.headers_mut() = answer.headers().clone();
            let mut body = BytesMut::new();
            while let Some(chunk) = answer
                .chunk()
                .await
                .map_err(|error| TransportError::Broken(cause(&error)))?
            {
                if body.len() + chunk.len() > MAX_BODY {
                    return Err(TransportError::TooLarge);
                }
                body.extend_from_slice(&chunk);
            }
            *response.body_mut() = body.freeze();
            Ok(response)
        })
    }
}

/// What went wrong, without the URL (paths carry identifiers, queries could carry more).
fn cause(error: &reqwest::Error) -> String {
    let mut source: Option<&dyn std::error::Error> = std::error::Error::source(error);
    let mut last = None;
    while let Some(inner) = source {
        last = Some(inner.to_string());
        source = inner.source();
    }
    last.unwrap_or_else(|| {
        if error.is_timeout() {
            "timed out".into()
        } else {
            "failed".into()
        }
    })
}
