//! What can go wrong at the cloud, and what each class means to the caller.

use std::time::Duration;

/// How an error is to be treated. Closed: a new class is a decision, not a default.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Hash)]
pub enum ErrorClass {
    /// Asked too often; wait at least this long where the cloud said so.
    RateLimited {
        /// From `Retry-After`, capped.
        after: Option<Duration>,
    },
    /// Transport trouble or a server error on a read: try again later.
    Transient,
    /// Credentials missing, wrong or expired beyond one renewal.
    Auth,
    /// The object does not exist.
    NotFound,
    /// The request contradicts the present state (for example a second pool of one size).
    Conflict,
    /// The plan allows no more; the limit where the message names it.
    Quota {
        /// How many are allowed.
        limit: Option<u32>,
    },
    /// This size is not to be had here now.
    OutOfStock,
    /// Our request is wrong; repeating it is useless.
    InvalidRequest,
    /// A write got no answer that proves anything.
    Ambiguous,
    /// The answer does not have the shape the contract promises (unknown route, undecodable
    /// body).
    ContractDrift,
    /// Our own breaker is open: nothing was sent.
    CircuitOpen,
    /// The caller's permit ended before the request was sent: nothing was.
    Withheld,
    /// The provider cannot do this at all (for example delete by identity).
    Unsupported,
}

impl ErrorClass {
    /// The name used in reasons, metrics and events.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::RateLimited { .. } => "RateLimited",
            Self::Transient => "Transient",
            Self::Auth => "Auth",
            Self::NotFound => "NotFound",
            Self::Conflict => "Conflict",
            Self::Quota { .. } => "Quota",
            Self::OutOfStock => "OutOfStock",
            Self::InvalidRequest => "InvalidRequest",
            Self::Ambiguous => "Ambiguous",
            Self::ContractDrift => "ContractDrift",
            Self::CircuitOpen => "CircuitOpen",
            Self::Withheld => "Withheld",
            Self::Unsupported => "Unsupported",
        }
    }
}

/// A failed call: which operation on which object, its class, and the cloud's own words, cut to a
/// line and cleaned of control characters (they are untrusted text).
#[derive(Clone, Debug, thiserror::Error)]
#[error("{operation}: {message}")]
pub struct CloudError {
    /// What was tried, naming the object: `adding a worker to pool 12 of cluster …`.
    pub operation: String,
    /// How to treat it.
    pub class: ErrorClass,
    /// What the cloud, or the transport, said.
    pub message: String,
    /// The HTTP status, where there was one.
    pub status: Option<u16>,
    /// The cloud's request id, where it sent one.
    pub request_id: Option<String>,
}

impl CloudError {
    /// The longest message kept, in characters.
    pub const MAX_MESSAGE: usize = 300;

    /// An error of `class`; `message` is cleaned and cut.
    #[must_use]
    pub fn new(operation: impl Into<String>, class: ErrorClass, message: &str) -> Self {
        let message = message
            .chars()
            .map(|c| if c.is_control() { ' ' } else { c })
            .take(Self::MAX_MESSAGE)
            .collect();
        Self {
            operation: operation.into(),
            class,
            message,
            status: None,
            request_id: None,
        }
    }
}
