//! Response bodies: whole bytes, or a stream of watch lines that may end in a reset connection.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use futures::{Stream, stream::BoxStream};
use http_body::{Body, Frame, SizeHint};

/// The connection broke: the server is stopped, or a fault lost the request or its response.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("connection reset by the simulated API server")]
pub struct ConnectionReset;

/// A response body.
pub struct SimBody(Inner);

enum Inner {
    Full(Option<Bytes>),
    /// These bytes, then a reset connection.
    Truncated(Option<Bytes>),
    Stream(BoxStream<'static, Result<Bytes, ConnectionReset>>),
}

impl std::fmt::Debug for SimBody {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self.0 {
            Inner::Full(_) => "SimBody::Full",
            Inner::Truncated(_) => "SimBody::Truncated",
            Inner::Stream(_) => "SimBody::Stream",
        })
    }
}

impl SimBody {
    /// A body of known bytes.
    pub fn full(bytes: impl Into<Bytes>) -> Self {
        Self(Inner::Full(Some(bytes.into())))
    }

    /// The first half of the bytes, then a reset connection. A stream is left as it is.
    pub(crate) fn truncated(self) -> Self {
        match self.0 {
            Inner::Full(Some(bytes)) => {
                Self(Inner::Truncated(Some(bytes.slice(..bytes.len() / 2))))
            }
            other => Self(other),
        }
    }

    pub(crate) fn stream<S>(stream: S) -> Self
    where
        S: Stream<Item = Result<Bytes, ConnectionReset>> + Send + 'static,
    {
        Self(Inner::Stream(Box::pin(stream)))
    }

    /// The whole body when it is no stream.
    pub fn bytes(&self) -> Option<&Bytes> {
        match &self.0 {
            Inner::Full(bytes) => bytes.as_ref(),
            _ => None,
        }
    }
}

impl Body for SimBody {
    type Data = Bytes;
    type Error = ConnectionReset;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, ConnectionReset>>> {
        match &mut self.0 {
            Inner::Full(bytes) => Poll::Ready(
                bytes
                    .take()
                    .filter(|bytes| !bytes.is_empty())
                    .map(|bytes| Ok(Frame::data(bytes))),
            ),
            Inner::Truncated(bytes) => Poll::Ready(match bytes.take() {
                Some(bytes) => Some(Ok(Frame::data(bytes))),
                None => Some(Err(ConnectionReset)),
            }),
            Inner::Stream(stream) => stream
                .as_mut()
                .poll_next(cx)
                .map(|item| item.map(|line| line.map(Frame::data))),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Inner::Full(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, Bytes::len) as u64),
            _ => SizeHint::default(),
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(&self.0, Inner::Full(bytes) if bytes.as_ref().is_none_or(Bytes::is_empty))
    }
}
